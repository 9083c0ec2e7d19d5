//! Releases: look up.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{apps::IMAGE_COMMAND, processes::ProcessRun};
use crate::{
    Error, Result, clock,
    context::Context,
    engine::Engine,
    error::Thing,
    model::{App, AppName, Check, MASK, Override, Release, ReleaseVersion, Scope},
    ui::{Show, Text, lines_or_dash, or_dash},
};

/// A release, in short.
#[derive(Clone, Debug, Serialize)]
pub struct ReleaseSummary {
    /// Its number.
    pub release: u32,
    /// What became of it: pending, good, failed.
    pub state: &'static str,
    /// Whether it is the one that serves.
    pub current: bool,
    /// Whether its image is still there; null if the engine does not answer.
    pub has_image: Option<bool>,
    /// The image.
    pub image: String,
    /// The commit it was built from.
    pub commit: Option<String>,
    /// Why it was cut.
    pub reason: String,
    /// Who asked for it.
    pub actor: String,
    /// When, in RFC 3339.
    pub created_at: String,
    #[serde(skip)]
    created: i64,
}

impl ReleaseSummary {
    fn of(app: &App, release: &Release, has_image: Option<bool>) -> ReleaseSummary {
        ReleaseSummary {
            release: release.version.0,
            state: release.status.as_str(),
            current: app.current_release == Some(release.version),
            has_image,
            image: release.image.to_string(),
            commit: release.commit.map(|commit| commit.to_string()),
            reason: release.reason.clone(),
            actor: release.actor.to_string(),
            created_at: clock::rfc3339(release.created_at),
            created: release.created_at,
        }
    }

    /// What it is, and whether one can go back to it.
    fn status_words(&self) -> &'static str {
        match (self.current, self.state, self.has_image) {
            (true, _, _) => "current",
            (_, "good", Some(false)) => "image gone",
            (_, status, _) => status,
        }
    }

    fn commit_words(&self) -> String {
        or_dash(self.commit.as_ref().map(|commit| commit.chars().take(7).collect::<String>()))
    }
}

/// A list of releases.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct ReleaseList(pub Vec<ReleaseSummary>);

impl Show for ReleaseList {
    fn text(&self) -> Text {
        Text::table(
            ["RELEASE", "STATUS", "COMMIT", "REASON", "BY", "CREATED"],
            self.0.iter().map(|release| {
                [
                    format!("v{}", release.release),
                    release.status_words().to_owned(),
                    release.commit_words(),
                    release.reason.clone(),
                    release.actor.clone(),
                    clock::ago(release.created),
                ]
            }),
        )
    }
}

/// An app's newest releases, newest first.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Store`].
pub async fn list(context: &Context<'_>, name: &AppName, limit: u32) -> Result<ReleaseList> {
    let instance = context.instance;
    let (app, releases) = instance.read(|tables| {
        let app = tables.app(name)?;
        let releases = tables.releases(app.id, limit)?;
        Ok((app, releases))
    })?;
    let images = match Engine::connect(&instance.settings).await {
        Ok(engine) => engine.images(&instance.id).await.ok(),
        Err(_) => None,
    };
    let has_image = |release: &Release| Some(images.as_ref()?.iter().any(|image| image.id == release.image));
    let releases = releases.iter().map(|release| ReleaseSummary::of(&app, release, has_image(release)));
    Ok(ReleaseList(releases.collect()))
}

/// A release with all that it runs.
#[derive(Clone, Debug, Serialize)]
pub struct ReleaseInfo {
    /// Its app.
    pub app: AppName,
    /// The release, in short.
    #[serde(flatten)]
    pub release: ReleaseSummary,
    /// The port its web process listens on.
    pub port: u16,
    /// Its process types.
    pub processes: Vec<ProcessInfo>,
    /// Its config; the values are masked unless they were asked for.
    pub config: BTreeMap<String, String>,
    /// What the server had set over the source when it was cut.
    pub overrides: Vec<Override>,
}

/// A process type of a release.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessInfo {
    /// How it is run.
    #[serde(flatten)]
    pub run: ProcessRun,
    /// How it is checked.
    pub check: Check,
}

impl Show for ReleaseInfo {
    fn text(&self) -> Text {
        let processes = self.processes.iter().map(|process| {
            format!("{}: {}", process.run.process, process.run.command.as_deref().unwrap_or(IMAGE_COMMAND))
        });
        let overrides = self.overrides.iter().map(|entry| {
            let of = match &entry.scope {
                Scope::Process(process) => format!("{process}: "),
                Scope::App => String::new(),
                scope => format!("{}: ", scope.as_str()),
            };
            format!("{of}{}={}", entry.property, entry.value)
        });
        let status = match (self.release.current, self.release.state) {
            (true, _) => "current",
            (false, "good") => "good: it served",
            (false, status) => status,
        };
        Text::facts(vec![
            ("app", self.app.to_string()),
            ("release", format!("v{}", self.release.release)),
            ("status", status.to_owned()),
            ("reason", self.release.reason.clone()),
            ("by", self.release.actor.clone()),
            ("created", self.release.created_at.clone()),
            ("commit", or_dash(self.release.commit.as_ref())),
            ("image", self.release.image.clone()),
            ("port", self.port.to_string()),
            ("processes", lines_or_dash(processes)),
            ("settings", lines_or_dash(overrides)),
            ("config", lines_or_dash(self.config.iter().map(|(key, value)| format!("{key}={value}")))),
        ])
    }
}

/// Looks at a release of an app: that of a number, or the one that serves. `reveal`: whether the values of its config
/// are shown.
///
/// # Errors
/// [`Error::NotFound`], `DeployError::NeverDeployed`, [`Error::Store`].
pub fn info(
    context: &Context<'_>,
    name: &AppName,
    version: Option<ReleaseVersion>,
    reveal: bool,
) -> Result<ReleaseInfo> {
    let instance = context.instance;
    let (app, release, sealed) = instance.read(|tables| {
        let app = tables.app(name)?;
        let release = match version {
            Some(version) => tables
                .find_release(app.id, version)?
                .ok_or_else(|| Error::NotFound(Thing::Release(name.clone()), version.to_string()))?,
            None => tables.serving(&app)?,
        };
        let sealed = tables.sealed_config(release.id)?;
        Ok((app, release, sealed))
    })?;
    let config = instance.secrets.unseal_config(&sealed)?;
    let shown = |value: String| if reveal { value } else { MASK.to_owned() };
    Ok(ReleaseInfo {
        app: app.name.clone(),
        release: ReleaseSummary::of(&app, &release, None),
        port: release.port,
        processes: release
            .processes
            .iter()
            .map(|spec| ProcessInfo { run: spec.into(), check: spec.run.check.masked() })
            .collect(),
        config: config.variables().into_iter().map(|(key, value)| (key.to_string(), shown(value))).collect(),
        overrides: release.overrides.iter().map(Override::masked).collect(),
    })
}
