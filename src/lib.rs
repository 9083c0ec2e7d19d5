//! `paas`: `git push` to your own server.
//!
//! A map, in reading order. Calls go down only.
//!
//! - [`cli`]: the command tree; [`ssh`] and [`http`]: the daemon's doors; [`supervisor`]: the daemon.
//! - [`ops`]: every business action. [`deploy`]: the pipeline, to be read from top to bottom.
//! - [`proxy`]: Caddy and the resolver. [`buildpack`]: what a repository is and how it is built; [`tree`]: its files.
//! - [`engine`]: Docker. [`cgroup`]: caps on builds. [`store`]: SQLite. [`git`], [`exec`], [`files`], [`secrets`], [`lock`], [`settings`], [`disk`], [`clock`]: one
//!   concern each. [`ui`]: all that is printed.
//! - [`model`]: pure types and rules. [`error`]: what can fail, with kinds and hints.
//!
//! What holds everywhere: only `store` names rusqlite, only `engine` bollard, only `ssh` russh, only `http` axum, only
//! `exec` makes processes, only `ui` prints, only `settings` reads the environment, only `clock` asks the time; and
//! `model` does no I/O.

pub mod buildpack;
pub mod cgroup;
pub mod cli;
pub mod clock;
pub mod context;
pub mod deploy;
pub mod disk;
pub mod engine;
pub mod error;
pub mod exec;
pub mod files;
pub mod git;
pub mod http;
pub mod instance;
pub mod lock;
pub mod model;
pub mod ops;
pub mod proxy;
pub mod public_key;
pub mod secrets;
pub mod settings;
pub mod ssh;
pub mod store;
pub mod supervisor;
pub mod tree;
pub mod ui;

pub use error::{Error, Kind, Result};

/// Runs a command line, that of the process or that of the SSH session it was started for, and returns the exit code.
pub fn run(arguments: &[std::ffi::OsString]) -> std::process::ExitCode {
    cli::run(arguments).into()
}
