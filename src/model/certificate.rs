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

words! {
    /// What keeps a name from having a certificate.
    Trouble, "trouble", {
        /// It has no address in DNS.
        Unresolved = "unresolved",
        /// Its address leads to another machine.
        Elsewhere = "elsewhere",
        /// Its IPv6 address does, and its IPv4 address may be right.
        Ipv6 = "ipv6",
        /// Nothing takes connections at its address on port 80.
        Refused = "refused",
        /// Nothing answers there.
        Silent = "silent",
        /// What answers there does not pass the question on to this server.
        OtherAnswer = "other-answer",
        /// A CAA record names other authorities.
        Caa = "caa",
        /// DNS itself fails for it.
        Dns = "dns",
        /// The administrator's command for DNS fails.
        DnsCommand = "dns-command",
        /// The authority has given out too many, or was asked too often.
        RateLimited = "rate-limited",
        /// The authority does not take the account.
        Account = "account",
        /// The authority gives no certificate for such a name.
        Rejected = "rejected",
        /// The authority does not answer, or fails.
        Authority = "authority",
        /// This server's own proxy does not answer as it should.
        Proxy = "proxy",
        /// Anything else.
        Other = "other",
    }
}

impl Trouble {
    /// What to do about it, for a name.
    pub fn mend(self, name: &str) -> String {
        match self {
            Trouble::Unresolved => format!("set an A record for {name} with this server's address"),
            Trouble::Elsewhere => format!(
                "set the A record of {name} to this server's address; if that is an address that is passed on to this \
                 server, `paas settings:set public_addresses ADDRESS` says so"
            ),
            Trouble::Ipv6 => format!("set the AAAA record of {name} to this server's IPv6 address, or remove it"),
            Trouble::Refused => {
                "open port 80 of this server to the internet, and forward it if there is a router".to_owned()
            }
            Trouble::Silent => "let port 80 through the firewall in front of this server".to_owned(),
            Trouble::OtherAnswer => format!(
                "have what answers for {name} (a CDN, a load balancer, another web server) pass \
                 /.well-known/acme-challenge/ on to port 80 of this server"
            ),
            Trouble::Caa => format!("let a CAA record of {name}, or of the domain above it, name the authority"),
            Trouble::Dns => format!("look at the name servers of {name}: they fail, or DNSSEC does"),
            Trouble::DnsCommand => {
                "run the command of acme_dns_command by hand with `present` and look at it".to_owned()
            }
            Trouble::RateLimited => "wait: it is tried again by itself".to_owned(),
            Trouble::Account => "look at acme_contact and acme_agree (`paas settings:list`)".to_owned(),
            Trouble::Rejected => {
                format!("add a certificate of your own for {name} (`paas certs:add`), or use another name")
            }
            Trouble::Authority => "it is tried again by itself; `paas certs:renew APP` tries now".to_owned(),
            Trouble::Proxy => "look whether the daemon and Caddy run: `paas report`".to_owned(),
            Trouble::Other => "`paas certs:renew APP` tries again".to_owned(),
        }
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
