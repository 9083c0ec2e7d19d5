use super::{Advice, Kind};
use crate::model::{AppName, MOST_CRONS};

/// What keeps a cron from running, or from being changed.
#[derive(Debug, thiserror::Error)]
pub enum CronError {
    /// A run that somebody waited for did not end well.
    #[error("{name} of {app} failed: {outcome}")]
    Failed {
        /// The app.
        app: AppName,
        /// The cron.
        name: String,
        /// The number of the run.
        run: i64,
        /// What came of it.
        outcome: String,
    },
    /// A run that somebody asked for did not begin.
    #[error("{name} of {app} did not run: {outcome}")]
    NotRun {
        /// The app.
        app: AppName,
        /// The cron.
        name: String,
        /// The number of the run.
        run: i64,
        /// Why.
        outcome: String,
    },
    /// A cron whose runs do not overlap runs.
    #[error("{name} of {app} runs already: run {run} is under way")]
    UnderWay {
        /// The app.
        app: AppName,
        /// The cron.
        name: String,
        /// The number of the run.
        run: i64,
    },
    /// A cron that no command added cannot be removed by one.
    #[error("{name} is in the source of {app}")]
    OfSource {
        /// The app.
        app: AppName,
        /// The cron.
        name: String,
    },
    /// An app has as many crons as it may.
    #[error("{app} has {MOST_CRONS} crons, which is the most an app may have")]
    TooMany {
        /// The app.
        app: AppName,
    },
    /// Crons are run by the daemon, which does not run.
    #[error("crons are run by `paas serve`, which does not run")]
    NoDaemon,
}

impl CronError {
    pub(super) fn advice(&self) -> Advice {
        match self {
            CronError::Failed { app, run, .. } => {
                Advice::new(Kind::App, format!("`paas cron:history {app} --run {run}` shows what it printed"))
            }
            CronError::NotRun { app, .. } => {
                Advice::new(Kind::Conflict, format!("`paas cron:history {app}` lists the runs"))
            }
            CronError::UnderWay { app, .. } => Advice::new(
                Kind::Busy,
                format!(
                    "`paas cron:history {app}` shows when it began; with `overlap = \"allow\"` its runs may be beside each \
                     other"
                ),
            ),
            CronError::OfSource { app, name } => Advice::new(
                Kind::Conflict,
                format!("remove it from paas.toml or app.json and push; `paas cron:suspend {app} {name}` stops it now"),
            ),
            CronError::TooMany { app } => {
                Advice::new(Kind::Conflict, format!("`paas cron:remove {app} NAME` removes one"))
            }
            CronError::NoDaemon => Advice::new(Kind::Unavailable, "`systemctl start paas` starts it"),
        }
    }
}
