//! Maintenance: requests are answered with 503 while the app runs on.

use serde::Serialize;

use super::domains::tell_the_edge;
use crate::{
    Error, Result, clock,
    context::Context,
    deploy, git,
    model::{self, App, AppName, Change, Network, Subject},
    store::{Maintenance, StoredMaintenance},
    ui::{Show, Text, lines_or_dash, or_dash},
};

/// The longest message, in bytes.
const LONGEST_MESSAGE: usize = 1000;
/// The largest page, in bytes.
const LARGEST_PAGE: usize = 256 * 1024;
/// The most networks whose requests go on to the app.
const MOST_ALLOWED: usize = 100;

/// Whether an app is under maintenance, and how it is answered.
#[derive(Clone, Debug, Serialize)]
pub struct MaintenanceInfo {
    /// The app.
    pub app: AppName,
    /// Whether it is.
    pub enabled: bool,
    /// What the page says.
    pub message: Option<String>,
    /// The file of the repository that is the page.
    pub page: Option<String>,
    /// How large that page is.
    pub page_bytes: Option<usize>,
    /// The addresses whose requests go on to the app.
    pub allow: Vec<String>,
    /// Since when, in RFC 3339.
    pub since_at: Option<String>,
    /// Who turned it on.
    pub by: Option<String>,
}

impl MaintenanceInfo {
    fn of(app: &AppName, stored: Option<&StoredMaintenance>) -> MaintenanceInfo {
        let page = stored.and_then(|stored| stored.maintenance.page.as_ref());
        let allow = stored.map(|stored| stored.maintenance.allow.as_slice()).unwrap_or_default();
        MaintenanceInfo {
            app: app.clone(),
            enabled: stored.is_some(),
            message: stored.and_then(|stored| stored.maintenance.message.clone()),
            page: page.map(|(path, _)| path.clone()),
            page_bytes: page.map(|(_, content)| content.len()),
            allow: allow.iter().map(ToString::to_string).collect(),
            since_at: stored.map(|stored| clock::rfc3339(stored.since)),
            by: stored.map(|stored| stored.actor.to_string()),
        }
    }
}

impl Show for MaintenanceInfo {
    fn text(&self) -> Text {
        Text::facts(vec![
            ("app", self.app.to_string()),
            ("maintenance", if self.enabled { "on" } else { "off" }.to_owned()),
            ("since", or_dash(self.since_at.as_ref())),
            ("by", or_dash(self.by.as_ref())),
            ("message", or_dash(self.message.as_ref())),
            ("page", or_dash(self.page.as_ref())),
            ("allowed", lines_or_dash(self.allow.iter().cloned())),
        ])
    }
}

/// The apps under maintenance.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct MaintenanceList(pub Vec<MaintenanceInfo>);

impl Show for MaintenanceList {
    fn text(&self) -> Text {
        Text::table(
            ["APP", "SINCE", "BY", "SAYS"],
            self.0.iter().map(|it| {
                let says = it.message.as_ref().or(it.page.as_ref());
                [it.app.to_string(), or_dash(it.since_at.as_ref()), or_dash(it.by.as_ref()), or_dash(says)]
            }),
        )
    }
}

/// A change of an app's maintenance.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct MaintenanceChanged(pub MaintenanceInfo);

impl Show for MaintenanceChanged {
    fn text(&self) -> Text {
        Text::Nothing
    }
}

/// Whether an app is under maintenance.
///
/// # Errors
/// [`Error::NotFound`].
pub fn report(context: &Context<'_>, app: &AppName) -> Result<MaintenanceInfo> {
    context.instance.read(|tables| {
        let app = tables.app(app)?;
        Ok(MaintenanceInfo::of(&app.name, tables.maintenance(Some(app.id))?.first()))
    })
}

/// The apps under maintenance that the caller sees.
///
/// # Errors
/// [`Error::Store`].
pub fn report_all(context: &Context<'_>) -> Result<MaintenanceList> {
    let all = context.instance.read(|tables| tables.maintenance(None))?;
    let seen = all.iter().filter(|stored| context.sees(&stored.app));
    Ok(MaintenanceList(seen.map(|stored| MaintenanceInfo::of(&stored.app, Some(stored))).collect()))
}

/// Has requests for an app answered with 503, or changes what is answered. `page`: a file of the commit that is deployed,
/// as it is now.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Usage`]; `DeployError::NeverDeployed` for a page of an app that has no commit.
pub async fn on(
    context: &Context<'_>,
    app: &AppName,
    message: Option<String>,
    page: Option<&str>,
    allow: &[Network],
) -> Result<MaintenanceChanged> {
    let is_not_text = |letter: char| letter.is_control() && letter != '\n';
    if let Some(message) = &message
        && (message.trim().is_empty() || message.len() > LONGEST_MESSAGE || message.chars().any(is_not_text))
    {
        return Err(Error::usage(
            format!("the message has 1 to {LONGEST_MESSAGE} bytes of text, without control characters"),
            "say in a line or two why the app is away, or leave --message out",
        ));
    }
    if allow.len() > MOST_ALLOWED {
        return Err(Error::usage(
            format!("{} addresses are too many: {MOST_ALLOWED} are the most", allow.len()),
            "name networks, such as 203.0.113.0/24",
        ));
    }
    let found = context.instance.read(|tables| tables.app(app))?;
    let page = page.map(|path| Ok::<_, Error>((path.to_owned(), page_of(context, &found, path)?))).transpose()?;
    let mut networks: Vec<Network> = Vec::new();
    for network in allow {
        if !networks.contains(network) {
            networks.push(*network);
        }
    }
    let detail = page.as_ref().map(|(path, _)| path.clone()).or_else(|| message.clone());
    let maintenance = Maintenance { message, page, allow: networks };
    let mut change = Change::new("maintenance:on", Subject::App(app.clone()));
    change.detail = detail;
    let changed = context.change(&change, |tables| {
        let app = tables.app(app)?;
        deploy::refuse_locked(&app)?;
        tables.set_maintenance(app.id, &maintenance, context.actor())?;
        Ok(MaintenanceInfo::of(&app.name, tables.maintenance(Some(app.id))?.first()))
    })?;
    tell_the_edge(context.instance).await;
    Ok(MaintenanceChanged(changed))
}

/// A page of the commit that is deployed.
fn page_of(context: &Context<'_>, app: &App, path: &str) -> Result<Vec<u8>> {
    let release = context.instance.read(|tables| tables.serving(app))?;
    let no_file = |message: String| {
        Error::usage(message, "give the path of a file in the repository, such as public/503.html, and push it first")
    };
    let commit = release.commit.ok_or_else(|| no_file(format!("{} was not deployed from a commit", app.name)))?;
    let repository = context.instance.settings.paths.repository(&app.name);
    match git::file_of(&repository, commit, path, LARGEST_PAGE)? {
        git::FileOf::Content(content) => Ok(content),
        git::FileOf::Missing => Err(no_file(format!("there is no file {path:?} in the commit {}", commit.short()))),
        git::FileOf::TooLarge(size) => {
            Err(no_file(format!("{path:?} has {size} bytes, and {LARGEST_PAGE} are the most for a page")))
        }
    }
}

/// Has requests go on to an app again; says whether they did not.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn off(context: &Context<'_>, app: &AppName) -> Result<(MaintenanceChanged, bool)> {
    let ended = context.instance.write(|tables| {
        let app = tables.app(app)?;
        deploy::refuse_locked(&app)?;
        let ended = tables.end_maintenance(app.id)?;
        if ended {
            let change = Change::new("maintenance:off", Subject::App(app.name.clone()));
            context.note(tables, &change, model::Outcome::Done)?;
        }
        Ok(ended)
    })?;
    tell_the_edge(context.instance).await;
    Ok((MaintenanceChanged(MaintenanceInfo::of(app, None)), ended))
}
