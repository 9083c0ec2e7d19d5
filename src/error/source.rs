use super::{Advice, Kind};

/// What is wrong with the source of an app, or with the buildpack that is to build it.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The source cannot be read.
    #[error("cannot read the source: {reason}")]
    Unreadable {
        /// Why.
        reason: String,
    },
    /// A submodule that cannot be fetched.
    #[error("cannot fetch the submodule {path}: {reason}")]
    Submodule {
        /// Its path in the repository.
        path: String,
        /// Why.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// More than a limit allows.
    #[error("{what}: the limit is {limit}")]
    Limit {
        /// What met the limit.
        what: String,
        /// The limit.
        limit: String,
        /// The setting that says how much it is.
        setting: &'static str,
    },
    /// A file of the repository that does not parse.
    #[error("{file}{}: {message}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
    File {
        /// The file's path in the repository.
        file: String,
        /// The line, counted from 1, if it is known.
        line: Option<usize>,
        /// What is wrong with it.
        message: String,
        /// What to write instead.
        hint: String,
    },
    /// No buildpack matched.
    #[error("no buildpack matches this repository")]
    NothingDetected {
        /// What was looked for, a line a buildpack.
        looked_for: String,
        /// The files at the top of the repository.
        found: String,
    },
    /// The repository lacks something that its buildpack needs.
    #[error("{message}")]
    Unbuildable {
        /// What it lacks.
        message: String,
        /// What to add.
        hint: String,
    },
    /// Nothing says what to run.
    #[error("nothing to run: {why}")]
    NothingToRun {
        /// Where the buildpack looked.
        why: String,
    },
    /// Directories that can be built, and nothing says which.
    #[error("{message}")]
    SeveralApps {
        /// What is the matter.
        message: String,
        /// The directories, a line each.
        apps: String,
        /// The first of them.
        first: String,
    },
    /// A `buildpack.toml` that asks for what cannot be.
    #[error("{message}")]
    Buildpack {
        /// What is wrong with it.
        message: String,
    },
    /// A folder that cannot be read as a buildpack.
    #[error("{message}")]
    BuildpackFolder {
        /// What is wrong with it.
        message: String,
    },
}

impl SourceError {
    pub(super) fn advice(&self) -> Advice {
        match self {
            SourceError::Unreadable { .. } => {
                Advice::new(Kind::App, "push again; if it keeps failing, run `git fsck` in your repository")
            }
            SourceError::Limit { setting, .. } => Advice::new(
                Kind::App,
                format!(
                    "take out of the repository what the app does not need; `paas settings:set {setting} VALUE` sets \
                     another limit for the server"
                ),
            )
            .short("the repository is over a limit"),
            SourceError::Submodule { hint, .. } => {
                Advice::new(Kind::App, hint).short("a submodule cannot be fetched")
            }
            SourceError::File { hint, .. }
            | SourceError::Unbuildable { hint, .. } => Advice::new(Kind::App, hint),
            SourceError::NothingDetected { .. } => Advice::new(
                Kind::App,
                "add one of the files above, or a Dockerfile; `paas plan` shows on your machine what would be built",
            )
            .short("nothing to build"),
            SourceError::NothingToRun { .. } => Advice::new(
                Kind::App,
                "write a file named Procfile with a line such as `web: COMMAND`, where COMMAND listens on $PORT",
            ),
            SourceError::SeveralApps { first, .. } => Advice::new(
                Kind::App,
                format!(
                    "write `directory = \"{first}\"` under [build] in paas.toml, or another of these; `paas plan --all` \
                     shows each"
                ),
            )
            .short("nothing says which app to build"),
            SourceError::Buildpack { .. } => Advice::new(Kind::App, "correct the buildpack's buildpack.toml"),
            SourceError::BuildpackFolder { .. } => {
                Advice::new(Kind::App, "correct the buildpack's folder, or remove it")
            }
        }
    }

    pub(super) fn detail(&self) -> Option<String> {
        match self {
            SourceError::NothingDetected { looked_for, found } => {
                Some(format!("looked for:\n{looked_for}\n\nfound: {found}"))
            }
            SourceError::SeveralApps { apps, .. } => Some(apps.clone()),
            SourceError::Unreadable { .. }
            | SourceError::Submodule { .. }
            | SourceError::Limit { .. }
            | SourceError::File { .. }
            | SourceError::Unbuildable { .. }
            | SourceError::NothingToRun { .. }
            | SourceError::Buildpack { .. }
            | SourceError::BuildpackFolder { .. } => None,
        }
    }
}
