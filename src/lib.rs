//! `paas`: `git push` to your own server.
//!
//! A map, in reading order. Calls go down only.
//!
//! - [`cli`]: the command tree; [`ssh`] and [`http`]: the daemon's doors; [`supervisor`]: the daemon.
//! - [`ops`]: every business action. [`deploy`]: the pipeline, to be read from top to bottom.
//! - [`sweep`]: what is kept of what grows. [`proxy`]: Caddy, and what it is told. [`edge`]: the process that tells it.
//!   [`acme`]: certificates from an authority. [`buildpack`]: what a repository is and how
//!   it is built; [`tree`]: its files.
//! - [`engine`]: Docker. [`cgroup`]: caps on builds. [`firewall`]: what containers do not reach. [`store`]: SQLite. [`git`], [`exec`], [`files`], [`secrets`], [`certificate`], [`lock`], [`settings`], [`disk`], [`dns`], [`tcp`], [`clock`]: one
//!   concern each. [`work`]: work whose length a stranger decides. [`ui`]: all that is printed.
//! - [`model`]: pure types and rules. [`error`]: what can fail, with kinds and hints.
//!
//! What holds everywhere: only `store` names rusqlite, only `engine` bollard, only `ssh` russh, only `http` axum, only
//! `exec` makes processes, only `ui` prints, only `settings` reads the environment, only `clock` asks the time; and
//! `model` does no I/O.

mod acme;
mod buildpack;
mod certificate;
mod cgroup;
mod cli;
mod clock;
mod context;
mod deploy;
mod disk;
mod dns;
mod edge;
mod engine;
mod error;
mod exec;
mod files;
mod firewall;
#[cfg(fuzzing)]
pub mod fuzzing;
mod git;
mod http;
mod instance;
mod lock;
mod model;
mod ops;
mod proxy;
mod public_key;
mod secrets;
mod settings;
mod ssh;
mod store;
mod supervisor;
mod sweep;
mod tcp;
mod tree;
mod ui;
mod work;

pub use cli::{AccessRow, Generated, access_table, command_names, generated};
use error::{Error, Kind, Result};
pub use model::{Condition, Right, Role};

/// Runs a command line, that of the process or that of the SSH session it was started for, and returns the exit code.
pub fn run(arguments: &[std::ffi::OsString]) -> std::process::ExitCode {
    cli::run(arguments).into()
}
