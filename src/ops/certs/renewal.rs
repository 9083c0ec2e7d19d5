//! Certificates that end: those of the authority are renewed, and of the others it is said in time.

use serde::Serialize;

use super::DAY;
use crate::{
    Error, Kind, Result, acme, clock,
    context::Context,
    exec,
    instance::Instance,
    model::{Actor, AppName, Caller, CertificateKind, Change, Domain, Outcome, Subject, Trouble},
    settings::{ACTOR_VARIABLE, Settings, Tls},
    store::{NewEvent, StoredCertificate, Tables},
    ui::{Show, Text},
};

/// How many days before its end it is said of a certificate that it ends: once each.
const WARNED: [i64; 3] = [21, 7, 1];
/// How many days before its end one of an authority's is late: it should have been renewed long before.
const LATE: i64 = 10;

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
            tables.add_event(&NewEvent {
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
