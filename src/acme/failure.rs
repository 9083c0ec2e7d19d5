use std::net::Ipv6Addr;

use instant_acme::{Identifier, Problem};

use crate::{
    clock,
    model::{Domain, Trouble},
};

/// Why there is no certificate for a name, or for any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub trouble: Trouble,
    /// What was said of it, in one line.
    pub reason: String,
    /// Whether no other name has better luck now.
    pub of_all: bool,
    /// Whether the authority has looked in vain, and counts it.
    pub counted: bool,
    /// When it may be tried again, where the authority said so, in milliseconds since 1970.
    pub until: Option<i64>,
}

impl Failure {
    pub fn new(trouble: Trouble, reason: impl Into<String>) -> Failure {
        let reason: String = reason.into();
        let reason = reason.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(500).collect();
        Failure { trouble, reason, of_all: false, counted: false, until: None }
    }

    pub fn of_all(self) -> Failure {
        Failure { of_all: true, ..self }
    }

    pub fn counted(self) -> Failure {
        Failure { counted: true, ..self }
    }

    /// Whether the authority does not know the account any more, or has ended it.
    pub fn is_of_unknown_account(&self) -> bool {
        let reason = self.reason.to_lowercase();
        let says = |words: &&str| reason.contains(*words);
        self.trouble == Trouble::Account
            && ["not found", "unable to find", "does not exist", "deactivated"].iter().any(says)
    }

    /// What an authority said of a name or of an order.
    pub fn of_problem(problem: &Problem) -> Failure {
        Failure::of_words(problem.r#type.as_deref(), problem.detail.as_deref())
    }

    /// What an authority said (RFC 8555, section 6.7), with what Let's Encrypt's words add to it.
    pub fn of_words(kind: Option<&str>, detail: Option<&str>) -> Failure {
        let kind = kind.unwrap_or_default();
        let kind = kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(kind);
        let detail = detail.unwrap_or("the authority gave no reason");
        let lower = detail.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        let (trouble, of_all) = match kind {
            "dns" if says(&["nxdomain", "no valid a records", "no valid ip addresses", "no such host"]) => {
                (Trouble::Unresolved, false)
            }
            "dns" => (Trouble::Dns, false),
            "connection" | "tls" if is_about_ipv6(detail) => (Trouble::Ipv6, false),
            "connection" if says(&["timeout", "timed out"]) => (Trouble::Silent, false),
            "connection" => (Trouble::Refused, false),
            "unauthorized" | "incorrectResponse" if is_about_ipv6(detail) => (Trouble::Ipv6, false),
            // Of an account, and not of what it looked at.
            "unauthorized" if says(&["account"]) && !says(&["key authorization", "http://", "https://"]) => {
                (Trouble::Account, true)
            }
            "unauthorized" | "incorrectResponse" => (Trouble::OtherAnswer, false),
            "caa" => (Trouble::Caa, false),
            "rateLimited" => {
                (Trouble::RateLimited, says(&["account", "new orders", "this ip", "service busy", "registrations"]))
            }
            "rejectedIdentifier" | "unsupportedIdentifier" => (Trouble::Rejected, false),
            "accountDoesNotExist"
            | "externalAccountRequired"
            | "userActionRequired"
            | "invalidContact"
            | "unsupportedContact"
            | "badSignatureAlgorithm"
            | "badPublicKey" => (Trouble::Account, true),
            "serverInternal" | "badNonce" => (Trouble::Authority, true),
            _ => (Trouble::Other, false),
        };
        Failure { of_all, until: retry_after(detail), ..Failure::new(trouble, detail) }
    }

    /// What went wrong between us and the authority.
    pub fn of_talk(error: &instant_acme::Error) -> Failure {
        match error {
            instant_acme::Error::Api(problem) => Failure::of_problem(problem),
            instant_acme::Error::Timeout(_) => {
                Failure::new(Trouble::Authority, "the authority has not finished in time").of_all()
            }
            error => {
                let mut reason = error.to_string();
                let mut cause = std::error::Error::source(error);
                while let Some(next) = cause {
                    let text = next.to_string();
                    if !reason.contains(&text) {
                        reason = format!("{reason}: {text}");
                    }
                    cause = next.source();
                }
                Failure::new(Trouble::Authority, format!("the authority cannot be asked: {reason}")).of_all()
            }
        }
    }
}

/// What a problem says of single names (RFC 8555, section 6.7.1).
pub(super) fn of_names(problem: &Problem, names: &[Domain]) -> Vec<(Domain, Failure)> {
    let of_name = |part: &instant_acme::Subproblem| {
        let Some(Identifier::Dns(value)) = &part.identifier else { return None };
        let name = names.iter().find(|name| name.to_string() == *value || name.to_string() == format!("*.{value}"))?;
        Some((name.clone(), Failure::of_words(part.r#type.as_deref(), part.detail.as_deref())))
    };
    problem.subproblems.iter().filter_map(of_name).collect()
}

/// Whether Let's Encrypt says of an IPv6 address that it was there: `2001:db8::1: Invalid response ...`.
fn is_about_ipv6(detail: &str) -> bool {
    detail.split_once(": ").is_some_and(|(address, _)| address.parse::<Ipv6Addr>().is_ok())
        || detail.split(['[', ']']).skip(1).step_by(2).any(|word| word.parse::<Ipv6Addr>().is_ok())
}

/// The time that Let's Encrypt names: `retry after 2026-11-27 14:00:00 UTC`.
fn retry_after(detail: &str) -> Option<i64> {
    let rest = detail.split("retry after ").nth(1)?;
    let (day, time) = (rest.get(..10)?, rest.get(11..19)?);
    clock::parse_rfc3339(&format!("{day}T{time}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Let's Encrypt's Boulder and Pebble word it.
    #[test]
    fn what_an_authority_says_becomes_plain() {
        for (kind, detail, trouble, of_all) in [
            (
                "dns",
                "DNS problem: NXDOMAIN looking up A for a.example - check that a DNS record exists",
                Trouble::Unresolved,
                false,
            ),
            ("dns", "no valid A records found for a.example; no valid AAAA records found", Trouble::Unresolved, false),
            (
                "dns",
                "DNS problem: SERVFAIL looking up CAA for a.example - the domain's nameservers may be malfunctioning",
                Trouble::Dns,
                false,
            ),
            (
                "connection",
                "203.0.113.7: Fetching http://a.example/.well-known/acme-challenge/x: Connection refused",
                Trouble::Refused,
                false,
            ),
            (
                "connection",
                "203.0.113.7: Fetching http://a.example/.well-known/acme-challenge/x: Timeout during connect (likely firewall problem)",
                Trouble::Silent,
                false,
            ),
            (
                "connection",
                "2001:db8::7: Fetching http://a.example/.well-known/acme-challenge/x: Timeout during connect",
                Trouble::Ipv6,
                false,
            ),
            (
                "unauthorized",
                "2001:db8::7: Invalid response from http://a.example/.well-known/acme-challenge/x: 404",
                Trouble::Ipv6,
                false,
            ),
            (
                "unauthorized",
                "203.0.113.7: Invalid response from http://a.example/.well-known/acme-challenge/x: 404",
                Trouble::OtherAnswer,
                false,
            ),
            (
                "unauthorized",
                "The key authorization file from the server did not match this challenge. Expected \"x\" (got \"y\")",
                Trouble::OtherAnswer,
                false,
            ),
            ("unauthorized", "Account is not valid, has status \"deactivated\"", Trouble::Account, true),
            ("caa", "CAA record for a.example prevents issuance", Trouble::Caa, false),
            (
                "rejectedIdentifier",
                "The ACME server refuses to issue a certificate for this domain name",
                Trouble::Rejected,
                false,
            ),
            (
                "rateLimited",
                "too many new orders (300) from this account in the last 3h0m0s, retry after 2026-11-27 14:00:00 UTC: see https://x",
                Trouble::RateLimited,
                true,
            ),
            (
                "rateLimited",
                "too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s, retry after 2026-11-27 14:00:00 UTC: see https://x",
                Trouble::RateLimited,
                false,
            ),
            ("accountDoesNotExist", "unable to find account", Trouble::Account, true),
            ("serverInternal", "the service is down for maintenance", Trouble::Authority, true),
            ("somethingNew", "words", Trouble::Other, false),
        ] {
            let failure = Failure::of_words(Some(&format!("urn:ietf:params:acme:error:{kind}")), Some(detail));
            assert_eq!((failure.trouble, failure.of_all), (trouble, of_all), "{detail}");
            let until = detail.contains("retry after").then_some(1_795_788_000_000);
            assert_eq!(failure.until, until, "{detail}");
        }
    }

    #[test]
    fn what_a_stranger_says_is_one_line_of_bounded_length() {
        let failure = Failure::of_words(None, Some(&"a\n\u{1b}[31m".repeat(500)));
        assert!(failure.reason.len() <= 500 && !failure.reason.chars().any(char::is_control));
    }
}
