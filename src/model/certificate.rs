use super::{Domain, Hostname, names::words};

words! {
    /// Where a certificate comes from.
    CertificateKind, "kind of certificate", {
        /// Somebody added it.
        Own = "own",
        /// Made here on demand, and signed by itself.
        SelfSigned = "self-signed",
        /// Obtained from an authority that speaks ACME (RFC 8555).
        Acme = "acme",
    }
}

impl Domain {
    /// Whether a certificate for this name is one for that host: for the very name, or for one label below (RFC 6125).
    pub fn covers(&self, host: &Hostname) -> bool {
        match self {
            Domain::Exact(name) => name == host,
            Domain::Below(name) => host.as_str().split_once('.').is_some_and(|(_, above)| above == name.as_str()),
            Domain::Any => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_one_label() {
        for (name, host, covered) in [
            ("example.com", "example.com", true),
            ("example.com", "www.example.com", false),
            ("*.example.com", "www.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "a.b.example.com", false),
            ("*.example.com", "wwwexample.com", false),
            ("_", "example.com", false),
        ] {
            let (name, host): (Domain, Hostname) = (name.parse().unwrap(), host.parse().unwrap());
            assert_eq!(name.covers(&host), covered, "{name} {host}");
        }
    }
}
