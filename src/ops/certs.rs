//! Certificates: those that somebody adds, those that are made here, and those that an authority gives out. No release
//! knows of them, and the edge answers with a change at once.

mod renewal;
mod report;

use serde::Serialize;

pub use self::{
    renewal::{due_at, failed, renew, warnings, work},
    report::{CertificateInfo, report, report_all, report_server},
};
use crate::{
    Error, Result,
    certificate::{Authority, Certificate, Pair, self_signed},
    clock,
    context::Context,
    error::Thing,
    model::{AppId, AppName, CertificateKind, Change, Domain, Hostname, Subject},
    proxy,
    settings::{Settings, Tls},
    store::{NewCertificate, StoredCertificate, Tables, serving},
    ui::{Show, Text},
};

/// A day, in milliseconds.
const DAY: i64 = 24 * 3_600_000;

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
    Ok(hosts.into_iter().filter(|(_, owner)| owner.as_ref() == Some(app)).map(|(domain, _)| domain).collect())
}

/// The names of an app that a certificate serves.
fn served(all: &[StoredCertificate], app: AppId, hosts: &[Domain], id: i64) -> Vec<String> {
    let now = clock::now();
    let is_served = |host: &Hostname| serving(all, Some(app), host, now).is_some_and(|one| one.id == id);
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
                    one.is_for(Some(app.id)) && (one.app.is_some() || !served(&all, app.id, &hosts, one.id).is_empty())
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
