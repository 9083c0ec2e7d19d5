use std::str::FromStr;

use super::{Domain, Hostname, Invalid, Result};

/// How a redirect is answered (RFC 9110).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RedirectCode {
    /// 301: for good. Browsers ask with GET for what they had sent by POST.
    #[default]
    MovedPermanently,
    /// 302: for now, as 301 else.
    Found,
    /// 307: for now, with the same method and body.
    TemporaryRedirect,
    /// 308: for good, with the same method and body.
    PermanentRedirect,
}

impl RedirectCode {
    const ALL: [RedirectCode; 4] = [
        RedirectCode::MovedPermanently,
        RedirectCode::Found,
        RedirectCode::TemporaryRedirect,
        RedirectCode::PermanentRedirect,
    ];

    /// The status of the answer.
    pub fn number(self) -> u16 {
        match self {
            RedirectCode::MovedPermanently => 301,
            RedirectCode::Found => 302,
            RedirectCode::TemporaryRedirect => 307,
            RedirectCode::PermanentRedirect => 308,
        }
    }
}

impl FromStr for RedirectCode {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self> {
        let found = RedirectCode::ALL.into_iter().find(|code| code.number().to_string() == text);
        found.ok_or_else(|| Invalid::new("code of a redirect", text, "it is 301, 302, 307 or 308"))
    }
}

/// The hosts that a request would go through if a redirect was added, back to where it began; none if it ends somewhere.
///
/// `redirects`: those that there are, without the one that the new one takes the place of.
pub fn circle_of_redirects(redirects: &[(Domain, Hostname)], from: &Domain, to: &Hostname) -> Option<Vec<Hostname>> {
    let mut passed = vec![to.clone()];
    loop {
        let at = passed.last()?;
        // Of what takes a name in, an exact one goes before a wildcard, and that before all names.
        let all = redirects.iter().map(|(from, to)| (from, to)).chain([(from, to)]);
        let (_, next) = all.filter(|(from, _)| from.takes_in(at)).min_by_key(|(from, _)| from.breadth())?;
        if passed.contains(next) {
            passed.push(next.clone());
            return Some(passed);
        }
        passed.push(next.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_one_of_four() {
        for code in RedirectCode::ALL {
            assert_eq!(code.number().to_string().parse::<RedirectCode>().unwrap(), code);
        }
        for bad in ["", "300", "303", "0301", "permanent"] {
            assert!(bad.parse::<RedirectCode>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_redirect_that_leads_back_to_itself_is_found() {
        let circle = |there: &[(&str, &str)], from: &str, to: &str| {
            let there: Vec<(Domain, Hostname)> =
                there.iter().map(|(from, to)| (from.parse().unwrap(), to.parse().unwrap())).collect();
            let passed = circle_of_redirects(&there, &from.parse().unwrap(), &to.parse().unwrap())?;
            Some(passed.iter().map(Hostname::as_str).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(circle(&[], "a.example", "b.example"), None);
        assert_eq!(circle(&[("b.example", "c.example")], "a.example", "b.example"), None);
        assert_eq!(circle(&[], "a.example", "a.example").unwrap(), "a.example a.example");
        assert_eq!(
            circle(&[("b.example", "a.example")], "a.example", "b.example").unwrap(),
            "b.example a.example b.example"
        );
        let there = [("b.example", "c.example"), ("c.example", "a.example")];
        assert!(circle(&there, "a.example", "b.example").is_some());
        // Wildcards take in what no exact name is for.
        assert_eq!(circle(&[], "*.example", "example"), None);
        assert!(circle(&[], "*.example", "www.example").is_some());
        assert_eq!(circle(&[("www.example", "other.test")], "*.example", "www.example"), None);
        assert!(circle(&[("_", "a.example")], "a.example", "b.test").is_some());
        assert_eq!(circle(&[], "*.a.example", "x.y.a.example"), None);
    }
}
