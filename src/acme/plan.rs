use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Result,
    instance::value_of,
    model::{App, AppId, AppName, Domain, Hostname, Trouble, property},
    settings::{Settings, Tls},
    store::{AcmeName, StoredCertificate, Tables},
};

/// The most names of one certificate.
const MOST_NAMES: usize = 50;
/// Within which time the authority may look for a name in vain twice: Let's Encrypt allows five times.
const HOUR: i64 = 3_600_000;
/// Endings of names that no public authority vouches for (RFC 6761, RFC 6762, RFC 8375, RFC 9476 and what is in use).
const PRIVATE: [&str; 12] = [
    "local",
    "internal",
    "intranet",
    "lan",
    "home",
    "corp",
    "private",
    "home.arpa",
    "onion",
    "test",
    "example",
    "invalid",
];

/// How an authority is shown that a name leads here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Challenge {
    /// By an answer over HTTP.
    Http,
    /// By a record in DNS.
    Dns,
}

/// A name that is to have a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub name: Domain,
    /// Whose it is; none: the server's.
    pub app: Option<AppName>,
    pub by: Challenge,
}

/// What is to be done now, and when there is more.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub due: Vec<Wanted>,
    /// When the next name is due; none where none ever is.
    pub next_at: Option<i64>,
    /// Names that were asked for and may not be tried yet, and when.
    pub held: Vec<(Domain, i64)>,
}

/// Everything that the plan depends on.
pub(super) struct Basis {
    pub apps: Vec<App>,
    /// Each with the app whose it is; none: it is that of routes.
    pub hosts: Vec<(Domain, Option<AppName>)>,
    /// The names below which each app has a default name.
    pub server: Vec<Hostname>,
    /// The newest first.
    pub certificates: Vec<StoredCertificate>,
    pub tried: BTreeMap<Domain, AcmeName>,
    /// The apps whose names are left alone; none: the hosts of routes.
    pub off: BTreeSet<Option<AppName>>,
    /// Whether there is a command that sets records in DNS.
    pub dns: bool,
    /// Whether the authority is one of the administrator's own, which may vouch for private names.
    pub private: bool,
}

impl Basis {
    /// Reads it; nothing where no authority is to be asked.
    pub fn read(tables: &Tables<'_>, settings: &Settings) -> Result<Option<Basis>> {
        if settings.tls != Tls::Acme {
            return Ok(None);
        }
        let is_set = |property| value_of(settings, tables, property, None).map(|value| value.is_some());
        let apps = tables.apps()?;
        let switches = tables.acme_switches()?;
        let switched = |id| switches.iter().find(|(app, _)| *app == id).map(|(_, value)| value.as_str());
        let is_off = |id: Option<AppId>| {
            let value = switched(id).or_else(|| switched(None)).unwrap_or("true");
            !matches!(property::CERTS_ACME.value(value), Ok(property::Value::Switch(true)))
        };
        let off = apps.iter().filter(|app| is_off(Some(app.id))).map(|app| Some(app.name.clone()));
        let global = tables.global_domains()?.into_iter().map(|(name, _)| name);
        Ok(Some(Basis {
            off: off.chain(is_off(None).then_some(None)).collect(),
            hosts: tables.secured(&settings.domain)?,
            server: std::iter::once(settings.domain.clone()).chain(global).collect(),
            certificates: tables.certificates()?,
            tried: tables.acme_names()?.into_iter().map(|tried| (tried.name.clone(), tried)).collect(),
            dns: is_set(&property::ACME_DNS_COMMAND)?,
            private: is_set(&property::ACME_ROOT)?,
            apps,
        }))
    }

    /// The names that are to have a certificate of the authority's, each once.
    pub fn wanted(&self, now: i64) -> Vec<Wanted> {
        let mut wanted: BTreeMap<Domain, Wanted> = BTreeMap::new();
        for (domain, app) in &self.hosts {
            if self.off.contains(app) {
                continue;
            }
            let mut want = |name: Domain, app: &Option<AppName>, by| {
                wanted.entry(name.clone()).or_insert_with(|| Wanted { name, app: app.clone(), by });
            };
            match domain {
                // Only by a record in DNS can one show that one has them all.
                Domain::Below(name) if self.dns && self.is_public(name) => {
                    want(domain.clone(), app, Challenge::Dns);
                }
                Domain::Any | Domain::Below(_) => {}
                Domain::Exact(name) if !self.is_public(name) || self.is_chosen(app.as_ref(), name, now) => {}
                Domain::Exact(name) => {
                    let wildcard = self.wildcard_for(name);
                    // Where that cannot be had, the names are to be had one by one.
                    if wildcard.as_ref().is_none_or(|wildcard| self.tried.contains_key(wildcard)) {
                        want(domain.clone(), app, Challenge::Http);
                    }
                    if let Some(wildcard) = wildcard {
                        want(wildcard, &None, Challenge::Dns);
                    }
                }
            }
        }
        wanted.into_values().collect()
    }

    /// The wildcard that is to serve a default name, where there is a command that can have it.
    fn wildcard_for(&self, name: &Hostname) -> Option<Domain> {
        let above = self.server.iter().find(|above| Domain::Below((*above).clone()).covers(name))?;
        self.dns.then(|| Domain::Below(above.clone()))
    }

    /// Whether an authority could vouch for a name.
    fn is_public(&self, name: &Hostname) -> bool {
        let ends_in = |ending: &str| {
            name.as_str().strip_suffix(ending).is_some_and(|before| before.is_empty() || before.ends_with('.'))
        };
        !ends_in("localhost") && (self.private || (name.as_str().contains('.') && !PRIVATE.into_iter().any(ends_in)))
    }

    /// Whether somebody chose a certificate for a name, that is valid: then it serves.
    fn is_chosen(&self, app: Option<&AppName>, name: &Hostname, now: i64) -> bool {
        let app = app.and_then(|app| self.apps.iter().find(|known| known.name == *app));
        crate::store::serving(&self.certificates, app.map(|app| app.id), name, now)
            .is_some_and(StoredCertificate::is_chosen)
    }

    /// When a name is due for a new certificate, apart from what went wrong before: when a third of the life of the last one
    /// is left.
    fn renewal(&self, name: &Domain) -> i64 {
        let has = |certificate: &&StoredCertificate| {
            let covers = match name {
                Domain::Exact(host) => certificate.covers(host),
                wildcard => certificate.names.contains(wildcard),
            };
            !certificate.is_chosen() && covers
        };
        let last = self.certificates.iter().filter(has).max_by_key(|certificate| certificate.not_after);
        last.map_or(0, |last| last.not_after - (last.not_after - last.not_before) / 3)
    }

    /// What is to be done now.
    ///
    /// `only`: names of this app alone, and those that failed not long ago too.
    pub fn plan(&self, now: i64, only: Option<&AppName>) -> Plan {
        let mut plan = Plan::default();
        for wanted in self.wanted(now) {
            let forced = match only {
                Some(only) => {
                    let serves = |(domain, app): &(Domain, Option<AppName>)| {
                        app.as_ref() == Some(only)
                            && match domain {
                                Domain::Exact(host) => wanted.name.covers(host),
                                other => *other == wanted.name,
                            }
                    };
                    if !self.hosts.iter().any(serves) {
                        continue;
                    }
                    true
                }
                None => false,
            };
            let tried = self.tried.get(&wanted.name);
            let mut at = self.renewal(&wanted.name);
            if let Some(tried) = tried {
                // The authority counts, whoever is in a hurry.
                let counted = tried.refused_before.map_or(0, |before| before + HOUR);
                let again = if forced { counted } else { tried.next_at.max(counted) };
                if at <= now && again > now && forced {
                    plan.held.push((wanted.name.clone(), again));
                }
                at = at.max(again);
            }
            if at <= now {
                plan.due.push(wanted);
            } else {
                plan.next_at = Some(plan.next_at.map_or(at, |next| next.min(at)));
            }
        }
        plan
    }
}

/// What belongs into one certificate: the names of an app that are shown by the same way, up to a number; a wildcard alone.
pub(super) fn groups(due: Vec<Wanted>) -> Vec<Vec<Wanted>> {
    let mut of_app: BTreeMap<(Option<AppName>, Challenge), Vec<Wanted>> = BTreeMap::new();
    let mut groups = Vec::new();
    for wanted in due {
        match wanted.by {
            Challenge::Dns => groups.push(vec![wanted]),
            Challenge::Http => of_app.entry((wanted.app.clone(), wanted.by)).or_default().push(wanted),
        }
    }
    groups.extend(
        of_app.into_values().flat_map(|names| names.chunks(MOST_NAMES).map(<[Wanted]>::to_vec).collect::<Vec<_>>()),
    );
    groups
}

/// When a name is tried again after so many failures in a row: what the authority has counted comes twice an hour at most
/// and once a day in the end; what was only looked at here sooner.
pub(super) fn again(trouble: Trouble, counted: bool, failures: u32) -> i64 {
    const MINUTE: i64 = 60_000;
    let (first, longest) = match trouble {
        _ if counted => (30 * MINUTE, 24 * HOUR),
        Trouble::Account | Trouble::RateLimited | Trouble::Rejected => (HOUR, 24 * HOUR),
        Trouble::DnsCommand => (10 * MINUTE, 24 * HOUR),
        Trouble::Unresolved
        | Trouble::Elsewhere
        | Trouble::Ipv6
        | Trouble::Refused
        | Trouble::Silent
        | Trouble::OtherAnswer
        | Trouble::Caa
        | Trouble::Dns
        | Trouble::Authority
        | Trouble::Proxy
        | Trouble::Other => (MINUTE, HOUR),
    };
    (first << failures.saturating_sub(1).min(12)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::CertificateKind, store::Store};

    const DAY: i64 = 24 * HOUR;

    fn basis(dns: bool) -> Basis {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&directory.path().join("db")).unwrap();
        let settings = Settings::of_text("domain = \"apps.example.com\"\ntls = \"acme\"").unwrap();
        let read = store.write(|tables| {
            let blog = tables.create_app(&"blog".parse()?)?.id;
            tables.create_app(&"shop".parse()?)?;
            for typed in ["www.example.org", "*.example.org", "_", "intern.lan", "single"] {
                tables.set_domain(blog, &typed.parse()?)?;
            }
            Basis::read(tables, &settings)
        });
        Basis { dns, ..read.unwrap().unwrap() }
    }

    fn names(plan: &Plan) -> Vec<String> {
        plan.due.iter().map(|wanted| wanted.name.to_string()).collect()
    }

    fn certificate(kind: CertificateKind, name: &str, not_before: i64, not_after: i64) -> StoredCertificate {
        StoredCertificate {
            id: 1,
            kind,
            app: None,
            names: vec![name.parse().unwrap()],
            chain: String::new(),
            not_before,
            not_after,
            created_at: 0,
        }
    }

    fn failed(name: &str, next_at: i64) -> AcmeName {
        AcmeName {
            name: name.parse().unwrap(),
            failures: 1,
            tried_at: 0,
            next_at,
            refused_at: None,
            refused_before: None,
            trouble: Some(Trouble::Refused),
            reason: None,
        }
    }

    #[test]
    fn public_exact_names_are_wanted_and_no_others() {
        let mut basis = basis(false);
        let all = ["blog.apps.example.com", "shop.apps.example.com", "www.example.org"];
        assert_eq!(names(&basis.plan(1, None)), all);
        basis.off.insert(Some("shop".parse().unwrap()));
        assert_eq!(names(&basis.plan(1, None)), [all[0], all[2]]);
        assert_eq!(names(&basis.plan(1, Some(&"shop".parse().unwrap()))), [""; 0]);
        basis.private = true;
        assert_eq!(names(&basis.plan(1, None)), [all[0], "intern.lan", "single", all[2]]);
        basis.server = vec!["localhost".parse().unwrap()];
        basis.hosts = vec![(Domain::Exact("blog.localhost".parse().unwrap()), Some("blog".parse().unwrap()))];
        assert_eq!(names(&basis.plan(1, None)), [""; 0]);
    }

    #[test]
    fn with_a_command_for_dns_one_wildcard_serves_the_default_names() {
        let mut basis = basis(true);
        assert_eq!(names(&basis.plan(1, None)), ["www.example.org", "*.apps.example.com", "*.example.org"]);
        let shop: AppName = "shop".parse().unwrap();
        assert_eq!(names(&basis.plan(1, Some(&shop))), ["*.apps.example.com"]);
        // Where it cannot be had, the names are to be had one by one.
        let wildcard: Domain = "*.apps.example.com".parse().unwrap();
        basis.tried.insert(wildcard.clone(), failed("*.apps.example.com", 50));
        let without = ["blog.apps.example.com", "shop.apps.example.com", "www.example.org", "*.example.org"];
        assert_eq!(names(&basis.plan(1, None)), without);
    }

    #[test]
    fn a_name_is_due_when_a_third_is_left_and_not_while_another_certificate_was_chosen() {
        let mut basis = basis(false);
        basis.hosts.retain(|(domain, _)| domain.to_string() == "www.example.org");
        let own = |until| certificate(CertificateKind::Own, "*.example.org", 0, until);
        basis.certificates = vec![certificate(CertificateKind::Acme, "www.example.org", 0, 90 * DAY)];
        assert_eq!((basis.plan(59 * DAY, None).due.len(), basis.plan(59 * DAY, None).next_at), (0, Some(60 * DAY)));
        assert_eq!(basis.plan(60 * DAY, None).due.len(), 1);
        basis.certificates.insert(0, own(70 * DAY));
        assert_eq!(basis.plan(60 * DAY, None).due.len(), 0);
        assert_eq!(basis.plan(70 * DAY, None).due.len(), 1, "the one that was chosen is over");
    }

    #[test]
    fn what_failed_is_tried_again_later_and_never_more_often_than_the_authority_allows() {
        let mut basis = basis(false);
        basis.hosts.retain(|(domain, _)| domain.to_string() == "www.example.org");
        let blog: AppName = "blog".parse().unwrap();
        let name: Domain = "www.example.org".parse().unwrap();
        basis.tried.insert(name.clone(), failed("www.example.org", 50));
        assert_eq!((basis.plan(10, None).due.len(), basis.plan(10, None).next_at), (0, Some(50)));
        assert_eq!(basis.plan(10, Some(&blog)).due.len(), 1, "somebody asked for it");
        assert_eq!(basis.plan(50, None).due.len(), 1);
        basis.tried.insert(name.clone(), AcmeName { refused_before: Some(20), ..failed("www.example.org", 50) });
        let plan = basis.plan(50, Some(&blog));
        assert_eq!((plan.due.len(), plan.held), (0, vec![(name, 20 + HOUR)]));
    }

    #[test]
    fn pauses_grow() {
        let minutes = |trouble, counted| [1, 2, 3, 30].map(|failures| again(trouble, counted, failures) / 60_000);
        assert_eq!(minutes(Trouble::Refused, true), [30, 60, 120, 24 * 60]);
        assert_eq!(minutes(Trouble::Unresolved, false), [1, 2, 4, 60]);
    }

    #[test]
    fn an_app_shares_a_certificate_up_to_fifty_names() {
        let wanted = |app: &str, index: u32, by| Wanted {
            name: format!("n{index}.example.org").parse().unwrap(),
            app: Some(app.parse().unwrap()),
            by,
        };
        let mut due: Vec<Wanted> = (0..120).map(|index| wanted("blog", index, Challenge::Http)).collect();
        due.push(wanted("shop", 1, Challenge::Http));
        due.push(wanted("shop", 2, Challenge::Dns));
        let sizes: Vec<usize> = groups(due).iter().map(Vec::len).collect();
        assert_eq!(sizes, [1, 50, 50, 20, 1]);
    }
}
