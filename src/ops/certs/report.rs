//! What certificates there are, and how each name of an app stands.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{DAY, served};
use crate::{
    Error, Result, acme,
    certificate::Certificate,
    clock,
    context::Context,
    instance,
    model::{App, AppName, CertificateKind, Domain, Trouble, property},
    settings::{Settings, Tls},
    store::{AcmeAccount, AcmeName, StoredCertificate, Tables, serving},
    ui::{Show, Text, or_dash},
};

/// A certificate, for people.
#[derive(Clone, Debug, Serialize)]
pub struct CertificateInfo {
    /// Its number.
    pub id: i64,
    /// Where it comes from.
    pub kind: CertificateKind,
    /// Whom it is for, in a few words.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The host names that it is for.
    pub names: Vec<String>,
    /// What else it is for.
    pub other_names: Vec<String>,
    /// Since when it is valid, in RFC 3339.
    pub from_at: String,
    /// Until when.
    pub until_at: String,
    /// How many days are left; negative where it is over.
    pub days_left: i64,
    /// Whether the chain leads to an authority.
    pub chain_complete: bool,
    /// Whether it is signed by its own key.
    pub self_signed: bool,
    /// The names of the app that it serves.
    pub serves: Vec<String>,
}

impl CertificateInfo {
    pub(super) fn of(stored: &StoredCertificate, now: i64) -> Result<CertificateInfo> {
        let read = Certificate::read(&stored.chain)?;
        Ok(CertificateInfo {
            id: stored.id,
            kind: stored.kind,
            subject: read.subject,
            issuer: read.issuer,
            names: read.names.iter().map(Domain::to_string).collect(),
            other_names: read.other_names,
            from_at: clock::rfc3339(stored.not_before),
            until_at: clock::rfc3339(stored.not_after),
            days_left: (stored.not_after - now).div_euclid(DAY),
            chain_complete: read.is_complete,
            self_signed: read.is_self_signed,
            serves: Vec::new(),
        })
    }

    fn cells(&self) -> [String; 7] {
        let chain = match (self.self_signed, self.chain_complete) {
            (true, _) => "self-signed",
            (false, true) => "complete",
            (false, false) => "INCOMPLETE",
        };
        let until = match self.days_left {
            left if left < 0 => format!("{} EXPIRED", self.until_at),
            left => format!("{} ({left} days)", self.until_at),
        };
        [
            self.id.to_string(),
            self.kind.to_string(),
            self.issuer.clone(),
            until,
            chain.to_owned(),
            self.names.iter().chain(&self.other_names).cloned().collect::<Vec<_>>().join(" "),
            or_dash((!self.serves.is_empty()).then(|| self.serves.join(" "))),
        ]
    }
}

fn table(certificates: &[CertificateInfo]) -> Text {
    Text::table(
        ["ID", "KIND", "ISSUER", "UNTIL", "CHAIN", "NAMES", "SERVES"],
        certificates.iter().map(CertificateInfo::cells),
    )
}

/// A name of an app, and how it is served over HTTPS.
#[derive(Clone, Debug, Serialize)]
pub struct NameInfo {
    /// The name.
    pub domain: String,
    /// The number of the certificate that serves it, if one does.
    pub certificate: Option<i64>,
    /// How it stands, in a few words.
    pub state: String,
    /// What keeps an authority's certificate from it, if anything does.
    pub trouble: Option<Trouble>,
    /// What the authority, or a look from here, said of it.
    pub reason: Option<String>,
    /// What to do about it.
    pub mend: Option<String>,
    /// When it was last tried in vain, in RFC 3339.
    pub tried_at: Option<String>,
    /// When it is tried next.
    pub next_at: Option<String>,
}

/// The certificates of an app, and its names.
#[derive(Clone, Debug, Serialize)]
pub struct AppCertificates {
    /// The app.
    pub app: AppName,
    /// Whether certificates are obtained for its names.
    pub acme: bool,
    /// Whether plain HTTP is sent on to HTTPS.
    pub https_redirect: bool,
    /// Its certificates, and those of the server that serve it.
    pub certificates: Vec<CertificateInfo>,
    /// Its names.
    pub names: Vec<NameInfo>,
}

impl Show for AppCertificates {
    fn text(&self) -> Text {
        let on = |on: bool| if on { "on" } else { "off" }.to_owned();
        let troubles = self.names.iter().filter_map(|name| {
            let mend = name.mend.as_ref().map(|mend| format!("\n  {mend}")).unwrap_or_default();
            Some(format!("{}: {}{mend}", name.domain, name.reason.as_ref()?))
        });
        let troubles: Vec<String> = troubles.collect();
        Text::Parts(vec![
            Text::facts(vec![
                ("app", self.app.to_string()),
                ("acme", on(self.acme)),
                ("https-redirect", on(self.https_redirect)),
            ]),
            table(&self.certificates),
            Text::table(
                ["DOMAIN", "CERTIFICATE", "STATE", "LAST TRY", "NEXT TRY"],
                self.names.iter().map(|name| {
                    [
                        name.domain.clone(),
                        or_dash(name.certificate),
                        name.state.clone(),
                        or_dash(name.tried_at.as_ref()),
                        or_dash(name.next_at.as_ref()),
                    ]
                }),
            ),
            if troubles.is_empty() { Text::Nothing } else { Text::Line(troubles.join("\n")) },
        ])
    }
}

/// The certificates of all apps that the caller sees.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct AllCertificates(pub Vec<AppCertificates>);

impl Show for AllCertificates {
    fn text(&self) -> Text {
        let rows = self.0.iter().flat_map(|app| {
            app.names
                .iter()
                .map(|name| [app.app.to_string(), name.domain.clone(), or_dash(name.certificate), name.state.clone()])
        });
        Text::table(["APP", "DOMAIN", "CERTIFICATE", "STATE"], rows)
    }
}

/// The certificates of the server.
#[derive(Clone, Debug, Serialize)]
pub struct ServerCertificates {
    /// Where certificates come from: off, internal, acme.
    pub tls: &'static str,
    /// The authority that is asked.
    pub directory: String,
    /// Until when nothing is asked of it, in RFC 3339.
    pub held_until_at: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// What to do about it.
    pub mend: Option<String>,
    /// The certificates.
    pub certificates: Vec<CertificateInfo>,
}

impl Show for ServerCertificates {
    fn text(&self) -> Text {
        let trouble = self.reason.as_ref().map(|reason| {
            let mend = self.mend.as_ref().map(|mend| format!("\n{mend}")).unwrap_or_default();
            format!("{reason}{mend}")
        });
        Text::Parts(vec![
            Text::facts(vec![
                ("tls", self.tls.to_owned()),
                ("authority", self.directory.clone()),
                ("waits until", or_dash(self.held_until_at.as_ref())),
                ("because", or_dash(trouble)),
            ]),
            table(&self.certificates),
        ])
    }
}

/// What is the same for all apps of a report.
struct Basis {
    all: Vec<StoredCertificate>,
    hosts: BTreeMap<AppName, Vec<Domain>>,
    wanted: BTreeSet<Domain>,
    tried: BTreeMap<Domain, AcmeName>,
    account: AcmeAccount,
    now: i64,
}

impl Basis {
    fn read(tables: &Tables<'_>, settings: &Settings) -> Result<Basis> {
        let mut hosts: BTreeMap<AppName, Vec<Domain>> = BTreeMap::new();
        for (domain, app) in tables.secured(&settings.domain)? {
            if let Some(app) = app {
                hosts.entry(app).or_default().push(domain);
            }
        }
        Ok(Basis {
            all: tables.certificates()?,
            hosts,
            wanted: acme::wanted(tables, settings)?,
            tried: tables.acme_names()?.into_iter().map(|tried| (tried.name.clone(), tried)).collect(),
            account: tables.acme_account(&acme::directory(tables, settings)?)?,
            now: clock::now(),
        })
    }

    fn app(&self, tables: &Tables<'_>, settings: &Settings, app: &App) -> Result<AppCertificates> {
        let is_on = |property| {
            let value = instance::value_of(settings, tables, property, Some(app.id))?;
            Ok::<_, Error>(value == Some(property::Value::Switch(true)))
        };
        let acme = is_on(&property::CERTS_ACME)?;
        let hosts = self.hosts.get(&app.name).map(Vec::as_slice).unwrap_or_default();
        let mut certificates = Vec::new();
        for stored in &self.all {
            let serves = served(&self.all, app.id, hosts, stored.id);
            if stored.app == Some(app.id) || !serves.is_empty() {
                certificates.push(CertificateInfo { serves, ..CertificateInfo::of(stored, self.now)? });
            }
        }
        let names = hosts.iter().map(|host| self.name(settings, app, host, acme)).collect();
        Ok(AppCertificates {
            app: app.name.clone(),
            acme,
            https_redirect: is_on(&property::HTTPS_REDIRECT)?,
            certificates,
            names,
        })
    }

    /// How a name of an app stands.
    fn name(&self, settings: &Settings, app: &App, domain: &Domain, acme: bool) -> NameInfo {
        let serves = match domain {
            Domain::Exact(host) => serving(&self.all, Some(app.id), host, self.now),
            Domain::Below(_) => self.all.iter().find(|one| one.is_for(Some(app.id)) && one.names.contains(domain)),
            Domain::Any => None,
        };
        // The wildcard that would serve it counts, too.
        let tried = self.tried.get(domain).or_else(|| {
            let covers = |(name, _): &(&Domain, &AcmeName)| {
                matches!((name, domain), (Domain::Below(_), Domain::Exact(host)) if name.covers(host))
            };
            self.tried.iter().find(covers).map(|(_, tried)| tried)
        });
        let is_wanted = self.wanted.contains(domain)
            || matches!(domain, Domain::Exact(host) if self.wanted.iter().any(|wanted| wanted.covers(host)));
        let tried = tried.filter(|_| is_wanted);
        let held = is_wanted && self.account.trouble.is_some() && self.account.next_at > self.now;
        let trouble =
            tried.and_then(|tried| tried.trouble).or(self.account.trouble.filter(|_| held && serves.is_none()));
        let reason = tried.and_then(|tried| tried.reason.clone());
        let reason = reason.or_else(|| self.account.reason.clone().filter(|_| held && serves.is_none()));
        let state = match (serves, settings.tls) {
            (Some(serves), _) => format!("{}, until {}", serves.kind, clock::rfc3339(serves.not_after)),
            (None, Tls::Off) => "plain HTTP (tls = off)".to_owned(),
            (None, Tls::Internal) => "by the internal authority".to_owned(),
            (None, Tls::Acme) if !acme => "none: acme is off for the app".to_owned(),
            (None, Tls::Acme) if !is_wanted => match domain {
                Domain::Exact(_) => "none: no public authority vouches for such a name".to_owned(),
                Domain::Below(_) | Domain::Any => {
                    "only if a certificate covers the name: `paas certs:add`, or acme_dns_command".to_owned()
                }
            },
            (None, Tls::Acme) if trouble.is_some() => "none yet: it failed".to_owned(),
            (None, Tls::Acme) => "none yet: it is about to be asked for".to_owned(),
        };
        NameInfo {
            domain: domain.to_string(),
            certificate: serves.map(|serves| serves.id),
            state,
            trouble,
            mend: trouble.map(|trouble| trouble.mend(&domain.to_string())),
            reason,
            tried_at: tried.map(|tried| clock::rfc3339(tried.tried_at)),
            next_at: match tried {
                Some(tried) => Some(clock::rfc3339(tried.next_at.max(if held { self.account.next_at } else { 0 }))),
                None => held.then(|| clock::rfc3339(self.account.next_at)),
            },
        }
    }
}

/// The certificates of an app, and how its names stand.
///
/// # Errors
/// [`Error::NotFound`].
pub fn report(context: &Context<'_>, app: &AppName) -> Result<AppCertificates> {
    let settings = &context.instance.settings;
    context.instance.read(|tables| Basis::read(tables, settings)?.app(tables, settings, &tables.app(app)?))
}

/// The certificates of each app that the caller sees.
///
/// # Errors
/// [`Error::Store`].
pub fn report_all(context: &Context<'_>) -> Result<AllCertificates> {
    let settings = &context.instance.settings;
    context.instance.read(|tables| {
        let basis = Basis::read(tables, settings)?;
        let apps = tables.apps()?;
        let seen = apps.iter().filter(|app| context.sees(&app.name));
        Ok(AllCertificates(seen.map(|app| basis.app(tables, settings, app)).collect::<Result<_>>()?))
    })
}

/// The certificates of the server, and how things stand with the authority.
///
/// # Errors
/// [`Error::Store`].
pub fn report_server(context: &Context<'_>) -> Result<ServerCertificates> {
    let settings = &context.instance.settings;
    context.instance.read(|tables| {
        let now = clock::now();
        let directory = acme::directory(tables, settings)?;
        let account = tables.acme_account(&directory)?;
        let all = tables.certificates()?;
        let of_server = all.iter().filter(|one| one.app.is_none());
        Ok(ServerCertificates {
            tls: match settings.tls {
                Tls::Off => "off",
                Tls::Internal => "internal",
                Tls::Acme => "acme",
            },
            directory,
            held_until_at: (account.next_at > now).then(|| clock::rfc3339(account.next_at)),
            mend: account.trouble.map(|trouble| trouble.mend("the name")),
            reason: account.reason,
            certificates: of_server.map(|one| CertificateInfo::of(one, now)).collect::<Result<_>>()?,
        })
    })
}
