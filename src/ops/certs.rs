//! Certificates: those that somebody adds, those that are made here, and those that an authority gives out. No release
//! knows of them, and the edge answers with a change at once.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    Error, Kind, Result, acme,
    certificate::{Authority, Certificate, Pair, self_signed},
    clock,
    context::Context,
    error::Thing,
    exec,
    instance::Instance,
    model::{
        Actor, App, AppId, AppName, Caller, CertificateKind, Change, Domain, Hostname, Outcome, Subject, Trouble,
        property,
    },
    proxy,
    settings::{ACTOR_VARIABLE, Settings, Tls},
    store::{AcmeAccount, AcmeName, NewCertificate, StoredCertificate, Tables, serving},
    ui::{Show, Text, or_dash},
};

const DAY: i64 = 24 * 3_600_000;
/// How many days before its end it is said of a certificate that it ends: once each.
const WARNED: [i64; 3] = [21, 7, 1];
/// How many days before its end one of an authority's is late: it should have been renewed long before.
const LATE: i64 = 10;

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
    fn of(stored: &StoredCertificate, now: i64) -> Result<CertificateInfo> {
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

/// A certificate that was added or made.
#[derive(Clone, Debug, Serialize)]
pub struct Added {
    /// The app; none: all of them.
    pub app: Option<AppName>,
    /// The certificate.
    #[serde(flatten)]
    pub certificate: CertificateInfo,
    /// The numbers of those that it took the place of.
    pub replaced: Vec<i64>,
    /// What is to be looked at.
    pub warnings: Vec<String>,
}

impl Show for Added {
    fn text(&self) -> Text {
        Text::Nothing
    }
}

/// Certificates that are gone.
#[derive(Clone, Debug, Serialize)]
pub struct Removed {
    /// Their numbers.
    pub removed: Vec<i64>,
}

impl Show for Removed {
    fn text(&self) -> Text {
        Text::Nothing
    }
}

/// Adds a certificate that somebody has, for an app or for all of them.
///
/// # Errors
/// `CertificateError`, whichever is wrong with it; [`Error::NotFound`].
pub async fn add(context: &Context<'_>, app: Option<&AppName>, chain: &[u8], key: &[u8]) -> Result<Added> {
    let pair = Pair::check(chain, key)?;
    keep(context, app, CertificateKind::Own, pair, "certs:add").await
}

/// Makes a certificate that is signed by its own key, for names of an app; none: all names that it has.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Usage`] where there is no name.
pub async fn generate(context: &Context<'_>, app: &AppName, names: &[Domain]) -> Result<Added> {
    let names = match names {
        [] => context.instance.read(|tables| {
            tables.app(app)?;
            Ok(hosts(tables, &context.instance.settings, app)?
                .into_iter()
                .filter(|name| *name != Domain::Any)
                .collect())
        })?,
        names => names.to_vec(),
    };
    if names.is_empty() || names.contains(&Domain::Any) {
        return Err(Error::usage("a certificate is for names", format!("`paas certs:generate {app} example.com`")));
    }
    let (chain, key) = self_signed(&names)?;
    let pair = Pair::check(chain.as_bytes(), key.as_bytes())?;
    keep(context, Some(app), CertificateKind::SelfSigned, pair, "certs:generate").await
}

/// What is said where nobody can use a certificate.
const TLS_IS_OFF: &str = "it serves nobody yet, because HTTPS is off (`tls = \"off\"`); set `tls` to \"acme\" or \"internal\" in \
                          config.toml and start the daemon again";

async fn keep(
    context: &Context<'_>,
    app: Option<&AppName>,
    kind: CertificateKind,
    pair: Pair,
    action: &str,
) -> Result<Added> {
    let instance = context.instance;
    let Pair { certificate, chain, key, mut warnings } = pair;
    let subject = app.map_or(Subject::Server, |app| Subject::App(app.clone()));
    let shown: Vec<String> = certificate.names.iter().map(Domain::to_string).collect();
    let until = clock::rfc3339(certificate.not_after);
    let change =
        Change::new(action, subject).with(format!("{} by {}, until {until}", shown.join(", "), certificate.issuer));
    let added = context.change(&change, |tables| {
        let app_id = app.map(|app| tables.app(app)).transpose()?.map(|app| app.id);
        // A newer one for the same names takes the place of an older one.
        let is_replaced = |old: &StoredCertificate| {
            old.app == app_id && old.is_chosen() && old.names.iter().all(|name| certificate.names.contains(name))
        };
        let replaced: Vec<i64> =
            tables.certificates()?.iter().filter(|old| is_replaced(old)).map(|old| old.id).collect();
        replaced.iter().try_for_each(|id| tables.remove_certificate(*id).map(drop))?;
        let new = NewCertificate {
            kind,
            app: app_id,
            names: &certificate.names,
            chain: &chain,
            key: &key,
            not_before: certificate.not_before,
            not_after: certificate.not_after,
        };
        let id = tables.add_certificate(new, context.actor())?;
        let all = tables.certificates()?;
        let stored =
            all.iter().find(|one| one.id == id).ok_or_else(|| Error::bug("a certificate that was added is gone"))?;
        let mut info = CertificateInfo::of(stored, clock::now())?;
        if let (Some(app), Some(app_id)) = (app, app_id) {
            let hosts = hosts(tables, &instance.settings, app)?;
            warnings.extend(warnings_of_names(app, &certificate, &hosts));
            info.serves = served(&all, app_id, &hosts, id);
        }
        if instance.settings.tls == Tls::Off {
            warnings.push(TLS_IS_OFF.to_owned());
        }
        Ok(Added { app: app.cloned(), certificate: info, replaced, warnings: warnings.clone() })
    })?;
    proxy::tell(instance).await;
    Ok(added)
}

/// What is to be said of a certificate's names beside those of its app.
fn warnings_of_names(app: &AppName, certificate: &Certificate, hosts: &[Domain]) -> Vec<String> {
    let is_served = |name: &&Domain| {
        hosts.iter().any(|host| match host {
            Domain::Exact(host) => name.covers(host),
            Domain::Below(_) => host == *name || name.hostname().is_some_and(|name| host.covers(name)),
            Domain::Any => true,
        })
    };
    let strangers: Vec<String> =
        certificate.names.iter().filter(|name| !is_served(name)).map(Domain::to_string).collect();
    let lacking: Vec<String> = hosts
        .iter()
        .filter(|host| matches!(host, Domain::Exact(host) if !certificate.covers(host)))
        .map(Domain::to_string)
        .collect();
    let mut warnings = Vec::new();
    if !strangers.is_empty() {
        warnings.push(format!(
            "no name of {app}: {}; `paas domains:add {app} {}` makes it one",
            strangers.join(", "),
            strangers[0]
        ));
    }
    if !lacking.is_empty() && lacking.len() < hosts.len() {
        warnings.push(format!("it is not one for {}", lacking.join(", ")));
    } else if !lacking.is_empty() {
        warnings.push(format!("it is one for no name of {app}, which has {}", lacking.join(", ")));
    }
    warnings
}

/// The names of an app that are to be there by HTTPS.
fn hosts(tables: &Tables<'_>, settings: &Settings, app: &AppName) -> Result<Vec<Domain>> {
    let hosts = tables.secured(&settings.domain)?;
    Ok(hosts.into_iter().filter(|(_, owner)| owner == app).map(|(domain, _)| domain).collect())
}

/// The names of an app that a certificate serves.
fn served(all: &[StoredCertificate], app: AppId, hosts: &[Domain], id: i64) -> Vec<String> {
    let now = clock::now();
    let is_served = |host: &Hostname| serving(all, app, host, now).is_some_and(|one| one.id == id);
    let exact = hosts.iter().filter(|host| matches!(host, Domain::Exact(host) if is_served(host)));
    exact.map(Domain::to_string).collect()
}

/// Removes certificates that somebody chose for an app, or for all of them: the one of that number, else all.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn remove(context: &Context<'_>, app: Option<&AppName>, id: Option<i64>) -> Result<Removed> {
    let subject = app.map_or(Subject::Server, |app| Subject::App(app.clone()));
    let change = Change::new("certs:remove", subject);
    let change = match id {
        Some(id) => change.with(format!("certificate {id}")),
        None => change,
    };
    let removed = context.change(&change, |tables| {
        let app_id = app.map(|app| tables.app(app)).transpose()?.map(|app| app.id);
        let is_meant = |one: &StoredCertificate| one.app == app_id && id.map_or(one.is_chosen(), |id| one.id == id);
        let meant: Vec<i64> = tables.certificates()?.iter().filter(|one| is_meant(one)).map(|one| one.id).collect();
        if meant.is_empty() {
            let whose = if app.is_some() { "of its own" } else { "of the server" };
            let named = id.map_or_else(|| whose.to_owned(), |id| id.to_string());
            return Err(Error::NotFound(Thing::Certificate(app.cloned()), named));
        }
        meant.iter().try_for_each(|id| tables.remove_certificate(*id).map(drop))?;
        Ok(meant)
    })?;
    proxy::tell(context.instance).await;
    Ok(Removed { removed })
}

/// A part of a certificate, as PEM.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    /// The number of the certificate; none: the internal authority's.
    pub certificate: Option<i64>,
    /// The PEM.
    pub pem: String,
}

impl Show for Shown {
    fn text(&self) -> Text {
        Text::Line(self.pem.clone())
    }
}

/// Shows the chain of a certificate, or its private key: of the one of that number, else of the newest that serves the
/// app, or that is the server's.
///
/// # Errors
/// [`Error::NotFound`]; `StoreError::NoKey`.
pub fn show(context: &Context<'_>, app: Option<&AppName>, id: Option<i64>, key: bool) -> Result<Shown> {
    let instance = context.instance;
    instance.read(|tables| {
        let found = app.map(|app| tables.app(app)).transpose()?;
        let all = tables.certificates()?;
        let chosen = match (&found, id) {
            (Some(app), id) => {
                let hosts = hosts(tables, &instance.settings, &app.name)?;
                let serves = |one: &&StoredCertificate| {
                    one.is_for(app.id) && (one.app.is_some() || !served(&all, app.id, &hosts, one.id).is_empty())
                };
                all.iter().filter(serves).find(|one| id.is_none_or(|id| one.id == id))
            }
            (None, Some(id)) => all.iter().find(|one| one.id == id),
            (None, None) => all.iter().find(|one| one.app.is_none()),
        };
        let named = || id.map_or_else(|| "of its own".to_owned(), |id| id.to_string());
        let chosen = chosen.ok_or_else(|| Error::NotFound(Thing::Certificate(app.cloned()), named()))?;
        let pem = if key {
            instance.secrets.require_key(tables)?;
            tables.certificate_key(chosen.id)?.ok_or_else(|| Error::bug("a certificate without a key"))?
        } else {
            chosen.chain.clone()
        };
        Ok(Shown { certificate: Some(chosen.id), pem })
    })
}

/// Shows the certificate of the internal authority: what a client is to trust.
///
/// # Errors
/// `StoreError::NoKey`.
pub fn show_authority(context: &Context<'_>) -> Result<Shown> {
    let instance = context.instance;
    let authority = instance.write(|tables| {
        instance.secrets.require_key(tables)?;
        Authority::make(tables)?;
        Authority::read(tables)
    })?;
    let authority = authority.ok_or_else(|| Error::bug("the internal authority is missing"))?;
    Ok(Shown { certificate: None, pem: authority.certificate().to_owned() })
}

/// What is the same for all apps of a report.
struct Basis {
    all: Vec<StoredCertificate>,
    hosts: BTreeMap<AppName, Vec<Domain>>,
    wanted: std::collections::BTreeSet<Domain>,
    tried: BTreeMap<Domain, AcmeName>,
    account: AcmeAccount,
    now: i64,
}

impl Basis {
    fn read(tables: &Tables<'_>, settings: &Settings) -> Result<Basis> {
        let mut hosts: BTreeMap<AppName, Vec<Domain>> = BTreeMap::new();
        for (domain, app) in tables.secured(&settings.domain)? {
            hosts.entry(app).or_default().push(domain);
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
            let value = crate::instance::value_of(settings, tables, property, Some(app.id))?;
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
            Domain::Exact(host) => serving(&self.all, app.id, host, self.now),
            Domain::Below(_) => self.all.iter().find(|one| one.is_for(app.id) && one.names.contains(domain)),
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

/// What came of asking the authority.
#[derive(Clone, Debug, Serialize)]
pub struct Renewed {
    /// The names that have a new certificate.
    pub obtained: Vec<String>,
    /// Those that have none.
    pub failed: Vec<FailedName>,
    /// Those that may not be tried yet.
    pub held: Vec<HeldName>,
}

/// A name that has no new certificate.
#[derive(Clone, Debug, Serialize)]
pub struct FailedName {
    /// The name.
    pub domain: String,
    /// What kept it from it.
    pub trouble: Trouble,
    /// What was said of it.
    pub reason: String,
    /// What to do about it.
    pub mend: String,
}

/// A name that may not be tried yet.
#[derive(Clone, Debug, Serialize)]
pub struct HeldName {
    /// The name.
    pub domain: String,
    /// When it may be, in RFC 3339.
    pub next_at: String,
}

impl From<acme::Asked> for Renewed {
    fn from(asked: acme::Asked) -> Renewed {
        let failed = asked.failed.into_iter().map(|(name, trouble, reason)| FailedName {
            mend: trouble.mend(&name.to_string()),
            domain: name.to_string(),
            trouble,
            reason,
        });
        let held = asked.held.into_iter();
        Renewed {
            obtained: asked.obtained.iter().map(Domain::to_string).collect(),
            failed: failed.collect(),
            held: held.map(|(name, at)| HeldName { domain: name.to_string(), next_at: clock::rfc3339(at) }).collect(),
        }
    }
}

impl Renewed {
    /// What came of it, in one line.
    pub fn words(&self) -> String {
        let failed = self.failed.first().map(|name| format!(" ({}: {})", name.domain, name.reason)).unwrap_or_default();
        format!("{} names have a new certificate, {} have none{failed}", self.obtained.len(), self.failed.len())
    }
}

impl Show for Renewed {
    fn text(&self) -> Text {
        let obtained = self.obtained.iter().map(|name| format!("{name}: a new certificate"));
        let failed = self.failed.iter().map(|name| format!("{}: {}\n  {}", name.domain, name.reason, name.mend));
        let held = self.held.iter().map(|name| {
            format!("{}: the authority has looked twice in vain; not before {}", name.domain, name.next_at)
        });
        let lines: Vec<String> = obtained.chain(failed).chain(held).collect();
        Text::Line(if lines.is_empty() { "nothing is due".to_owned() } else { lines.join("\n") })
    }
}

/// Asks the authority for what is due: for the names of an app now, whatever their pause, else for all.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Silent`] where a name was asked for and has no certificate; [`Error::Store`].
pub async fn renew(context: &Context<'_>, app: Option<&AppName>, waiting: impl FnOnce()) -> Result<Renewed> {
    if let Some(app) = app {
        context.instance.read(|tables| tables.app(app))?;
        if context.instance.settings.tls != Tls::Acme {
            return Err(Error::usage(
                "no authority is asked for certificates here",
                "`paas settings:list` shows the setting tls: acme has them obtained",
            ));
        }
    }
    acme::ask(context, app, waiting).await.map(Renewed::from)
}

/// The error of a command that was to obtain certificates and has not.
pub fn failed(renewed: &Renewed) -> Result<()> {
    if renewed.failed.is_empty() && renewed.held.is_empty() { Ok(()) } else { Err(Error::Silent(Kind::App)) }
}

/// What is to be said of certificates that end soon, for the report of the server.
///
/// # Errors
/// [`Error::Store`].
pub fn warnings(tables: &Tables<'_>) -> Result<Vec<String>> {
    let now = clock::now();
    let mut warnings = Vec::new();
    for (certificate, days) in ending(tables, now)? {
        let names: Vec<String> = certificate.names.iter().map(Domain::to_string).collect();
        let until = clock::rfc3339(certificate.not_after);
        let mend = match certificate.kind {
            CertificateKind::Own => "`paas certs:add` takes a new one",
            CertificateKind::SelfSigned => "`paas certs:generate` makes a new one",
            CertificateKind::Acme => "`paas certs:report` says what keeps it from being renewed",
        };
        let ends = if days < 0 { "has ended" } else { "ends" };
        warnings.push(format!("the certificate {} of {} {ends} at {until}: {mend}", certificate.id, names.join(", ")));
    }
    Ok(warnings)
}

/// The certificates that end soon and are still what serves, with the days that they have left.
fn ending(tables: &Tables<'_>, now: i64) -> Result<Vec<(StoredCertificate, i64)>> {
    let all = tables.certificates()?;
    let is_replaced = |old: &StoredCertificate| {
        let replaces = |new: &StoredCertificate| {
            new.id > old.id
                && new.is_chosen() == old.is_chosen()
                && (new.app.is_none() || new.app == old.app)
                && old.names.iter().all(|name| new.names.contains(name))
        };
        all.iter().any(replaces)
    };
    let left = |one: &StoredCertificate| (one.not_after - now).div_euclid(DAY);
    let ends = |one: &StoredCertificate| {
        let days = if one.is_chosen() { WARNED[0] } else { LATE };
        // One for a few days is always near its end, and one that is long over is nobody's.
        let is_short = one.not_after - one.not_before < 2 * days * DAY;
        left(one) < days && left(one) >= -30 && !is_short && !is_replaced(one)
    };
    Ok(all.iter().filter(|one| ends(one)).map(|one| (one.clone(), left(one))).collect())
}

/// Writes an event for each certificate that has come nearer to its end than one of some numbers of days: once each.
/// Returns how many.
///
/// # Errors
/// [`Error::Store`].
async fn note_ending(instance: &Instance, caller: &Caller) -> Result<usize> {
    let now = clock::now();
    let caller = caller.clone();
    let due = instance.reading(move |tables| ending(tables, now)).await?;
    if due.is_empty() {
        return Ok(0);
    }
    let noted = instance.writing(move |tables| {
        let mut noted = 0;
        for (certificate, left) in due {
            // The nearest says it; those before it count as said.
            let passed: Vec<i64> = WARNED.into_iter().filter(|days| left < *days).collect();
            let mut is_new = false;
            for days in &passed {
                is_new |= tables.note_certificate_warning(certificate.id, *days)?;
            }
            if !is_new {
                continue;
            }
            noted += 1;
            let app = match certificate.app {
                Some(id) => tables.apps()?.into_iter().find(|app| app.id == id),
                None => None,
            };
            let subject = app.map_or(Subject::Server, |app| Subject::App(app.name));
            let names: Vec<String> = certificate.names.iter().map(Domain::to_string).collect();
            let until = clock::rfc3339(certificate.not_after);
            let change = Change::new("certs:expiring", subject).with(format!(
                "the certificate {} of {} ends at {until}",
                certificate.id,
                names.join(", ")
            ));
            tables.add_event(&crate::store::NewEvent {
                caller: &caller,
                change: &change,
                outcome: Outcome::Done,
                operation: None,
            })?;
        }
        Ok(noted)
    });
    noted.await
}

/// Whether a certificate is due to be asked for, and when; for who plans it.
///
/// # Errors
/// [`Error::Store`].
pub fn due_at(tables: &Tables<'_>, settings: &Settings, now: i64) -> Result<Option<i64>> {
    acme::due_at(tables, settings, now)
}

/// What the daemon's job does: says which certificates end soon, and has a process of its own ask the authority, so that
/// the daemon stays as small as it is. Returns what came of it, in one line.
///
/// # Errors
/// [`Error::Store`], [`Error::Host`].
pub async fn work(instance: &Instance) -> Result<String> {
    let noted = note_ending(instance, &Caller::daemon()).await?;
    let settings = instance.settings.clone();
    let now = clock::now();
    let due = instance.reading(move |tables| due_at(tables, &settings, now)).await?;
    let asked = match due {
        Some(at) if at <= now => {
            let mut command = exec::command(exec::own_binary()?);
            command
                .arg("obtain-certificates")
                .envs(instance.settings.child_environment())
                .env(ACTOR_VARIABLE, Actor::Daemon.to_string());
            String::from_utf8_lossy(&exec::output(command).await?).trim().to_owned()
        }
        _ => "nothing to ask the authority for".to_owned(),
    };
    Ok(if noted > 0 { format!("{asked}; {noted} certificates end soon") } else { asked })
}
