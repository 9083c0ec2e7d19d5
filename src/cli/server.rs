//! Commands about the server as a whole.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, IsTerminal},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};

use super::{
    exchange::{self, Exchange},
    operations::{Detach, operate},
};
use crate::{
    Error, Result, clock,
    context::Context,
    error::HostError,
    model::{Access, Age, AppName, Door, EventFilter, Outcome, Right},
    ops::{
        self,
        database::{self, Target},
        operations::Action,
    },
    settings::Settings,
    ui::{Format, Ui},
};

/// The server: its state, its disk, who changed what
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "report")]
    Report(Report),
    #[command(name = "events")]
    Events(Events),
    #[command(name = "disk")]
    Disk(Disk),
    #[command(name = "cleanup")]
    Cleanup(Cleanup),
    #[command(name = "backup-db")]
    BackupDb(BackupDb),
}

impl Command {
    pub(super) fn access(&self) -> Access<'_> {
        match self {
            Command::Report(_) => Access::Server(Right::See),
            Command::Events(_) => Access::Server(Right::See),
            Command::Disk(_) => Access::Server(Right::See),
            Command::Cleanup(_) | Command::BackupDb(_) => Access::Server(Right::Administer),
        }
    }

    /// What it writes where it was typed.
    pub(super) fn exchange(&mut self) -> Exchange<'_> {
        match self {
            Command::BackupDb(it) => Exchange::Output(it),
            Command::Report(_) | Command::Events(_) | Command::Disk(_) | Command::Cleanup(_) => Exchange::Nothing,
        }
    }

    pub(super) async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        match self {
            Command::Report(Report {}) => ui.show(&ops::report::report(context).await?),
            Command::Events(it) => it.run(context, ui).await,
            Command::Disk(Disk {}) => disk(context, ui).await,
            Command::Cleanup(it) => it.run(context, ui).await,
            Command::BackupDb(it) => it.run(context, ui),
        }
    }
}

/// Show the server at a glance: versions, services, free space, builds
///
/// Parts that do not answer are listed as down; the rest is still shown.
#[derive(Debug, Args)]
pub(super) struct Report {}

/// Show who changed what, when, and by which door
///
/// Lists every change and every refusal: what was done, to what, by whom, by which door (local, ssh, git, daemon), from
/// which address, and the outcome.
#[derive(Debug, Args)]
pub(super) struct Events {
    /// Only events of this app
    #[arg(long = "of", value_name = "APP")]
    of: Option<AppName>,
    /// Only what this actor did, as the list shows it: key:ann, local:root
    #[arg(long, value_name = "ACTOR")]
    by: Option<String>,
    /// Only this action, or all of a noun: config:set, config
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Only events with this outcome: done, failed, canceled, denied
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<Outcome>,
    /// Only events newer than this: 90s, 15m, 12h, 7d
    #[arg(long, value_name = "TIME")]
    since: Option<Age>,
    /// How many
    #[arg(short, long, default_value_t = 50, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    number: u32,
    /// Follow new events
    #[arg(short, long)]
    follow: bool,
}

impl Events {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let filter = EventFilter {
            app: self.of,
            actor: self.by,
            action: self.action,
            outcome: self.outcome,
            since: self.since.map(|Age(since)| clock::now() - i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
            after: None,
        };
        if !self.follow {
            return ui.show(&ops::events::list(context, &filter, self.number)?);
        }
        let print = |event: &ops::events::EventInfo| match ui.format {
            Format::Text => ui.log_line(&event.line()),
            Format::Json => ui.record(event),
        };
        ops::events::follow(context, &filter, self.number, print, || ui.is_read()).await
    }
}

/// Show what takes space on the server, and how much is left
///
/// By app: its images (space unique to its images, and layers shared with others, stored once), what its containers have
/// written, their logs, its repository, the logs of its deploys and of its former containers. The build cache is shared
/// by everybody who builds on this Docker engine.
#[derive(Debug, Args)]
pub(super) struct Disk {}

async fn disk(context: &Context<'_>, ui: Ui) -> Result<()> {
    let report = ops::disk::report(context).await?;
    ui.show(&report)?;
    if let Some(error) = &report.engine_error {
        ui.talk(&format!("the size of images and containers is unknown: {}", error.one_line()));
    }
    ui.talk("`paas cleanup` removes what no app needs; `paas cleanup --build-cache` also empties Docker's build cache");
    Ok(())
}

/// Free space: remove what no app needs any more
///
/// Removes what exceeds the `keep.*` properties (images of former releases, logs of deploys and of former containers, old
/// releases, deploys and events), leftovers of interrupted builds, containers and networks that no deploy knows, and
/// temporary files more than a day old. Most of this also happens after each deploy. Other instances and programs are
/// not touched, and deploys may run meanwhile.
///
/// The build cache makes the next builds quick and is shared by everybody who builds on this Docker engine, so it is
/// emptied only with --build-cache.
#[derive(Debug, Args)]
pub(super) struct Cleanup {
    /// Also empty Docker's build cache, shared by all users of this Docker engine: their next builds start from nothing
    #[arg(long)]
    build_cache: bool,
    #[command(flatten)]
    detach: Detach,
}

impl Cleanup {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let action = Action::Cleanup { build_cache: self.build_cache };
        operate(context, ui, self.detach, &action, |_| None).await?;
        if !self.build_cache && !self.detach.is_set() {
            ui.talk(
                "`paas cleanup --build-cache` also empties Docker's build cache; \
                 `paas disk` shows what uses the disk",
            );
        }
        Ok(())
    }
}

/// Copy the database to a file, while it is in use
///
/// The copy is one file, for its owner alone, and is checked before this is done; apps, deploys and the daemon notice
/// nothing. It has the apps, their config (sealed), releases, settings, keys that may log in, operations and events. It does
/// not have ROOT/secret.key, without which no config opens, the SSH server's host key, and the repositories: copy these
/// too. `paas restore-db` puts it back.
///
/// `-` is standard output, over SSH always: `ssh -p 2222 paas@HOST backup-db - > paas.db`.
#[derive(Debug, Args)]
pub(super) struct BackupDb {
    /// The file to write; an existing one is overwritten only with --force; `-` for standard output
    #[arg(value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,
    #[arg(skip)]
    opened: Option<File>,
}

impl BackupDb {
    pub(super) fn open(&mut self, door: Door, force: bool) -> Result<()> {
        if self.is_stream() {
            if std::io::stdout().is_terminal() {
                return Err(Error::usage("a database is nothing for a terminal", "`paas backup-db - > paas.db`"));
            }
            return Ok(());
        }
        if door != Door::Local {
            return Err(Error::usage(
                format!("{} is a file of your machine, and this command runs on the server", self.file.display()),
                format!("take it from standard output: `ssh ... backup-db - > {}`", self.file.display()),
            ));
        }
        let failed = || Error::io(format!("write {}", self.file.display()));
        let new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.file);
        let file = match new {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists && self.file.is_file() && force => {
                OpenOptions::new().write(true).open(&self.file).map_err(failed())?
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(Error::Host(HostError::WouldOverwrite { path: self.file.clone() }));
            }
            Err(error) => return Err(failed()(error)),
        };
        // Whatever the umask, and whatever the rights of the file that was there.
        file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(failed())?;
        self.opened = Some(file);
        Ok(())
    }

    fn is_stream(&self) -> bool {
        self.file == Path::new("-")
    }

    fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let saved = match &self.opened {
            Some(file) => database::save(context, Some(&self.file), Target::File(file)),
            None => database::save(context, None, Target::Stream(&mut std::io::stdout().lock())),
        };
        if saved.is_err() && self.opened.as_ref().is_some_and(|file| file.metadata().is_ok_and(|it| it.len() == 0)) {
            // Nothing of it is there, and whoever comes next shall not take it for something.
            let _ = std::fs::remove_file(&self.file);
        }
        let saved = saved?;
        ui.talk("this is not all of a backup: copy what is named as `not in it` too, and keep it as safe");
        match saved.file {
            Some(_) => ui.show(&saved),
            None => Ok(()),
        }
    }
}

/// Put a copy of the database in its place, while the daemon is stopped
///
/// The copy is checked first. The database that was there is kept beside it, under another name. Afterwards start the daemon:
/// it makes the containers agree with the database. Its config opens only with the ROOT/secret.key of its time.
#[derive(Debug, Args)]
pub(super) struct RestoreDb {
    /// The copy that `paas backup-db` made, or one of ROOT/backups; `-` for standard input
    #[arg(value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,
}

impl RestoreDb {
    pub(super) fn run(self, settings: &Settings, ui: Ui) -> Result<()> {
        // Before root becomes somebody who may not read it.
        let restored = if self.file == Path::new("-") {
            super::become_owner(settings)?;
            database::restore(settings, Path::new("standard input"), std::io::stdin().lock())
        } else {
            let copy = exchange::open(&self.file).map_err(|reason| exchange::cannot_read(&self.file, &reason))?;
            super::become_owner(settings)?;
            database::restore(settings, &self.file, copy)
        }?;
        ui.show(&restored)?;
        ui.talk("start the daemon: `systemctl start paas`, or `paas serve`");
        if restored.key_problem.is_some() {
            ui.talk(&format!(
                "but put the secret.key of its time back first: `cp BACKUP {}`",
                settings.paths.secret_key().display()
            ));
        }
        Ok(())
    }
}

/// Shows the server though its database cannot be read.
pub(super) fn report_without_database(config: Option<PathBuf>, error: &Error, ui: Ui) -> Result<()> {
    let settings = Settings::load(config)?;
    let report = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::io("start"))?
        .block_on(ops::report::report_without_database(&settings, error))?;
    ui.show(&report)
}
