//! What it means for a name that DNS says something of it: whether requests for it come to this server.

use std::{
    fmt::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::Serialize;

use super::{Hostname, names::words};

/// What DNS says of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookedUp {
    /// Its addresses.
    pub answer: Answer,
    /// Where the last CNAME record on the way points to.
    pub alias: Option<String>,
    /// The authorities that may issue certificates for it, by the nearest CAA records that say so; none: all may.
    pub issuers: Option<Vec<String>>,
}

/// The addresses of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// These.
    Addresses(Vec<IpAddr>),
    /// The name is there, but has none.
    NoAddress,
    /// There is no such name.
    NoSuchName,
    /// No name server gave an answer.
    Silent(String),
}

/// The addresses of this server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnAddresses {
    /// Those at which the internet reaches it.
    pub public: Vec<IpAddr>,
    /// Those of networks of its own.
    pub private: Vec<IpAddr>,
}

words! {
    /// Whether requests for a name come to this server.
    Finding, "finding", {
        /// They do.
        Here = "here",
        /// Some do, and some go elsewhere.
        Partly = "partly",
        /// They go elsewhere.
        Elsewhere = "elsewhere",
        /// There is no such name.
        Missing = "missing",
        /// The name has no address.
        NoAddress = "no_address",
        /// No name server answered.
        Silent = "silent",
        /// This server does not know its public address.
        Unknown = "unknown",
        /// The name is not looked up: it is none of the public DNS, or takes in many.
        NotLookedUp = "not_looked_up",
    }
}

/// A record to be set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DnsRecord {
    /// `A` or `AAAA`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The name.
    pub name: String,
    /// The address.
    pub value: String,
}

/// What a name's answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Whether requests come here.
    pub finding: Finding,
    /// In words: what was found, and what to do.
    pub said: Vec<String>,
    /// The records to be set.
    pub records: Vec<DnsRecord>,
    /// Whether the authority may issue a certificate.
    pub may_issue: bool,
}

/// Ends of names that the public DNS does not have (RFC 6761, 6762, 8375, 9476; ICANN's `.internal`).
const PRIVATE_ENDS: [&str; 12] = [
    "localhost",
    "local",
    "internal",
    "test",
    "home.arpa",
    "invalid",
    "onion",
    "alt",
    "lan",
    "intranet",
    "home",
    "corp",
];

/// Whether a name is one of the public DNS.
pub fn is_public_name(name: &Hostname) -> bool {
    let name = name.as_str();
    let ends = |end: &&str| name.strip_suffix(*end).is_some_and(|before| before.is_empty() || before.ends_with('.'));
    name.contains('.') && !PRIVATE_ENDS.iter().any(ends)
}

/// Judges the answer for a name. `shown`: the name for people. `authority`: the one that is to issue a certificate, as CAA
/// records name it.
pub fn judge(
    shown: &str,
    name: &Hostname,
    looked_up: &LookedUp,
    own: &OwnAddresses,
    authority: Option<&str>,
) -> Judged {
    let is_own = |address: &IpAddr| own.public.contains(address) || own.private.contains(address);
    let through =
        looked_up.alias.as_ref().map(|alias| format!(", through its CNAME record {alias}")).unwrap_or_default();
    let mut judged = Judged { finding: Finding::Here, said: Vec::new(), records: Vec::new(), may_issue: true };
    let set_records = |judged: &mut Judged, finding: Finding, found: String| {
        judged.finding = finding;
        judged.records = records(name, own);
        let instead =
            if looked_up.alias.is_some() && !own.public.is_empty() { ", instead of the CNAME record" } else { "" };
        judged.said.push(format!("{found}: {}{instead}", to_set(&judged.records, own)));
    };
    match &looked_up.answer {
        Answer::Silent(reason) => {
            judged.finding = Finding::Silent;
            judged.said.push(format!("no name server gave an answer for {shown} ({reason})"));
        }
        Answer::NoSuchName => set_records(&mut judged, Finding::Missing, format!("{shown} is not in the DNS yet")),
        Answer::NoAddress => {
            set_records(&mut judged, Finding::NoAddress, format!("{shown} is in the DNS, but has no address{through}"));
        }
        Answer::Addresses(found) => {
            let (here, elsewhere): (Vec<&IpAddr>, Vec<&IpAddr>) = found.iter().partition(|address| is_own(address));
            match (here.is_empty(), elsewhere.is_empty()) {
                (true, _) if own.public.is_empty() => {
                    judged.finding = Finding::Unknown;
                    judged.said.push(format!(
                        "{shown} resolves to {}{through}; whether that is this server is not known: {}",
                        list(found),
                        name_the_address(own)
                    ));
                }
                (true, _) => set_records(
                    &mut judged,
                    Finding::Elsewhere,
                    format!("{shown} resolves to {}{through}, which is not this server", list(&elsewhere)),
                ),
                (false, false) => {
                    let kind = if elsewhere.iter().all(|address| address.is_ipv6()) { "AAAA record" } else { "record" };
                    judged.finding = Finding::Partly;
                    judged.said.push(format!(
                        "{shown} resolves to this server ({}), and also to {}{through}, which is not: remove that {kind}",
                        list(&here),
                        list(&elsewhere)
                    ));
                }
                (false, true) => {
                    judged.said.push(format!("{shown} resolves to this server ({}){through}", list(found)));
                    if found.iter().all(IpAddr::is_ipv6)
                        && let Some(address) = own.public.iter().find(|address| address.is_ipv4())
                    {
                        judged.records = vec![record(name, address)];
                        judged.said.push(format!(
                            "{shown} has no IPv4 address, and not everybody has IPv6: add an A record: {name} -> {address}"
                        ));
                    }
                }
            }
        }
    }
    if let (Some(issuers), Some(authority)) = (&looked_up.issuers, authority)
        && !issuers.iter().any(|issuer| issuer.eq_ignore_ascii_case(authority))
    {
        judged.may_issue = false;
        let who = if issuers.is_empty() { "nobody".to_owned() } else { format!("only {}", issuers.join(", ")) };
        judged.said.push(format!(
            "the CAA records of {shown} let {who} issue certificates: add a CAA record: {name} -> 0 issue \"{authority}\""
        ));
    }
    judged
}

/// The records that lead a name here.
fn records(name: &Hostname, own: &OwnAddresses) -> Vec<DnsRecord> {
    own.public.iter().map(|address| record(name, address)).collect()
}

fn record(name: &Hostname, address: &IpAddr) -> DnsRecord {
    let kind = if address.is_ipv4() { "A" } else { "AAAA" };
    DnsRecord { kind, name: name.to_string(), value: address.to_string() }
}

fn to_set(records: &[DnsRecord], own: &OwnAddresses) -> String {
    if records.is_empty() {
        return name_the_address(own);
    }
    let mut words = String::new();
    for (index, DnsRecord { kind, name, value }) in records.iter().enumerate() {
        let before = if index == 0 { "set" } else { " and" };
        // Writing to memory does not fail.
        let _ = write!(words, "{before} an {kind} record: {name} -> {value}");
    }
    words
}

/// What to type where this server does not know its public address.
fn name_the_address(own: &OwnAddresses) -> String {
    let known = match own.private.as_slice() {
        [] => "this server has found no address of its own".to_owned(),
        private => format!("this server has found private addresses of its own only ({})", list(private)),
    };
    format!("{known}: `paas settings:set public_addresses ADDRESS` names its public one")
}

fn list(addresses: &[impl ToString]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Whether an address is one of the internet, and not of a machine or a network of its own.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [first, second, third, _] = ip.octets();
    let is_special = match (first, second, third) {
        // This network; those that operators share among customers; protocol assignments; benchmarks; not yet given out.
        (0 | 240..=255, ..) | (100, 64..=127, _) | (192, 0, 0) | (198, 18..=19, _) => true,
        _ => ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_documentation() || ip.is_multicast(),
    };
    !is_special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let parts = ip.segments();
    let within = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match parts {
        // Addresses that stand for one of IPv4: mapped, NAT64, 6to4.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => within(high, low),
        [0x2002, high, low, ..] => within(high, low),
        // Teredo and other assignments of protocols; documentation.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // What is given out.
        [first, ..] => (0x2000..=0x3fff).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(public: &[&str], private: &[&str]) -> OwnAddresses {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        OwnAddresses { public: parse(public), private: parse(private) }
    }

    fn judged(answer: Answer, alias: Option<&str>, issuers: Option<&[&str]>, own: &OwnAddresses) -> (Finding, String) {
        let issuers = issuers.map(|issuers| issuers.iter().map(|issuer| (*issuer).to_owned()).collect());
        let looked_up = LookedUp { answer, alias: alias.map(str::to_owned), issuers };
        let name = "example.com".parse().unwrap();
        let judged = judge("example.com", &name, &looked_up, own, Some("letsencrypt.org"));
        (judged.finding, judged.said.join("\n"))
    }

    #[test]
    fn each_answer_has_a_sentence_of_its_own() {
        let both = own(&["203.0.113.7", "2001:db8::7"], &[]);
        let only_v4 = own(&["203.0.113.7"], &["10.0.0.7"]);
        let behind_nat = own(&[], &["10.0.0.7"]);
        let at =
            |addresses: &[&str]| Answer::Addresses(addresses.iter().map(|address| address.parse().unwrap()).collect());
        let mut page = String::new();
        for (answer, alias, issuers, own) in [
            (at(&["203.0.113.7"]), None, None, &both),
            (at(&["203.0.113.7", "2001:db8::7"]), Some("web.example.net"), None, &both),
            (at(&["10.0.0.7"]), None, None, &behind_nat),
            (at(&["2001:db8::7"]), None, None, &both),
            (at(&["198.51.100.9"]), None, None, &only_v4),
            (at(&["198.51.100.9"]), Some("web.example.net"), None, &only_v4),
            (at(&["203.0.113.7", "2001:db8::9"]), None, None, &only_v4),
            (at(&["203.0.113.7", "198.51.100.9"]), None, None, &only_v4),
            (at(&["2001:db8::9"]), None, None, &only_v4),
            (at(&["198.51.100.9"]), None, None, &behind_nat),
            (Answer::NoSuchName, None, None, &both),
            (Answer::NoSuchName, None, None, &behind_nat),
            (Answer::NoSuchName, None, None, &own(&[], &[])),
            (Answer::NoAddress, None, None, &only_v4),
            (Answer::Silent("request timed out".to_owned()), None, None, &only_v4),
            (at(&["203.0.113.7"]), None, Some(&["ca.example", "LetsEncrypt.org"][..]), &both),
            (at(&["203.0.113.7"]), None, Some(&["ca.example"]), &both),
            (at(&["203.0.113.7"]), None, Some(&[]), &both),
        ] {
            let (finding, said) = judged(answer, alias, issuers, own);
            page.push_str(&format!("{finding}: {said}\n"));
        }
        insta::assert_snapshot!(page, @r#"
        here: example.com resolves to this server (203.0.113.7)
        here: example.com resolves to this server (203.0.113.7, 2001:db8::7), through its CNAME record web.example.net
        here: example.com resolves to this server (10.0.0.7)
        here: example.com resolves to this server (2001:db8::7)
        example.com has no IPv4 address, and not everybody has IPv6: add an A record: example.com -> 203.0.113.7
        elsewhere: example.com resolves to 198.51.100.9, which is not this server: set an A record: example.com -> 203.0.113.7
        elsewhere: example.com resolves to 198.51.100.9, through its CNAME record web.example.net, which is not this server: set an A record: example.com -> 203.0.113.7, instead of the CNAME record
        partly: example.com resolves to this server (203.0.113.7), and also to 2001:db8::9, which is not: remove that AAAA record
        partly: example.com resolves to this server (203.0.113.7), and also to 198.51.100.9, which is not: remove that record
        elsewhere: example.com resolves to 2001:db8::9, which is not this server: set an A record: example.com -> 203.0.113.7
        unknown: example.com resolves to 198.51.100.9; whether that is this server is not known: this server has found private addresses of its own only (10.0.0.7): `paas settings:set public_addresses ADDRESS` names its public one
        missing: example.com is not in the DNS yet: set an A record: example.com -> 203.0.113.7 and an AAAA record: example.com -> 2001:db8::7
        missing: example.com is not in the DNS yet: this server has found private addresses of its own only (10.0.0.7): `paas settings:set public_addresses ADDRESS` names its public one
        missing: example.com is not in the DNS yet: this server has found no address of its own: `paas settings:set public_addresses ADDRESS` names its public one
        no_address: example.com is in the DNS, but has no address: set an A record: example.com -> 203.0.113.7
        silent: no name server gave an answer for example.com (request timed out)
        here: example.com resolves to this server (203.0.113.7)
        here: example.com resolves to this server (203.0.113.7)
        the CAA records of example.com let only ca.example issue certificates: add a CAA record: example.com -> 0 issue "letsencrypt.org"
        here: example.com resolves to this server (203.0.113.7)
        the CAA records of example.com let nobody issue certificates: add a CAA record: example.com -> 0 issue "letsencrypt.org"
        "#);
    }

    #[test]
    fn names_of_no_public_dns_are_known() {
        for (name, public) in [
            ("example.com", true),
            ("xn--bcher-kva.example", true),
            ("localhost.example.com", true),
            ("mylocal", false),
            ("printer.mylocal", true),
            ("localhost", false),
            ("blog.localhost", false),
            ("nas.local", false),
            ("db.eu.internal", false),
            ("a.test", false),
            ("tv.home.arpa", false),
            ("arpa.home.arpa.example", true),
        ] {
            assert_eq!(is_public_name(&name.parse().unwrap()), public, "{name}");
        }
    }
}
