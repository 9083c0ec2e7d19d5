use std::{io, path::PathBuf};

use super::{Advice, Kind, advice::MAKE_ROOM};

/// What this machine does not do for us: its disk, its files, its ports, its programs.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The disk is full, or nearly.
    #[error("the disk that holds {path} is full: {free} MB free, {floor} MB needed")]
    DiskFull {
        /// A path on the disk.
        path: PathBuf,
        /// MB (1e6 bytes) free.
        free: u64,
        /// MB (1e6 bytes) that must be free.
        floor: u64,
    },
    /// The root directory belongs to somebody else.
    #[error("{path} belongs to {owner}")]
    RootDenied {
        /// The root directory.
        path: PathBuf,
        /// Its owner.
        owner: String,
    },
    /// The SSH server's host key cannot be used.
    #[error("{path} holds no host key of OpenSSH's format: {reason}")]
    HostKey {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// There is no instance on this machine, and no clone that would name a server.
    #[error("there is no paas on this machine yet: {root} does not exist")]
    NoInstance {
        /// Where its root directory would be.
        root: PathBuf,
    },
    /// Another daemon runs on this root.
    #[error("paas serve is already running on {root}")]
    AlreadyServing {
        /// The root directory.
        root: PathBuf,
    },
    /// A port cannot be listened on.
    #[error("cannot listen on {address} for {what}")]
    Listen {
        /// The address.
        address: String,
        /// What it is for.
        what: &'static str,
        /// The setting that changes it.
        setting: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A program that is needed is not there.
    #[error("the program {program} cannot be started")]
    ProgramMissing {
        /// Its name.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A child process failed.
    #[error("{program} failed ({status}): {stderr}")]
    Program {
        /// Its name and first argument.
        program: String,
        /// Its exit status.
        status: String,
        /// The tail of its standard error.
        stderr: String,
    },
    /// A file or socket operation failed.
    #[error("cannot {action}")]
    Io {
        /// What was tried, as a verb phrase with the path.
        action: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl HostError {
    pub(super) fn advice(&self) -> Advice {
        match self {
            HostError::DiskFull { .. } => Advice::new(Kind::Unavailable, MAKE_ROOM).short("the disk is full"),
            HostError::RootDenied { path, owner } => Advice::new(
                Kind::Denied,
                format!(
                    "run it as root or as {owner}, over ssh, or set PAAS_ROOT to a directory of your own instead of {}",
                    path.display()
                ),
            ),
            HostError::HostKey { path, .. } => Advice::new(
                Kind::Conflict,
                format!(
                    "restore it from a backup; or `rm {}`: a new one is made, and every client will warn that it changed",
                    path.display()
                ),
            ),
            HostError::NoInstance { .. } => Advice::new(
                Kind::NotFound,
                "`paas serve` starts one for you; to use a server's, type it in a clone with a remote named paas: \
                 `git remote add paas ssh://paas@HOST:2222/APP`",
            ),
            HostError::AlreadyServing { .. } => {
                Advice::new(Kind::Conflict, "stop it first, or set PAAS_ROOT to run a second one")
            }
            HostError::Listen { setting, source, .. } => Advice::new(
                Kind::Unavailable,
                match source.kind() {
                    io::ErrorKind::PermissionDenied => {
                        format!("only root may use ports below 1024: set {setting} to a higher one")
                    }
                    _ => format!("something else listens there: set {setting} to a free address"),
                },
            ),
            HostError::ProgramMissing { program, .. } => {
                Advice::new(Kind::Unavailable, format!("install it: `apt-get install {program}`"))
            }
            HostError::Program { .. } => Advice::without_hint(Kind::Unavailable),
            HostError::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull => Advice::new(Kind::Unavailable, MAKE_ROOM),
                io::ErrorKind::PermissionDenied => {
                    Advice::new(Kind::Unavailable, "run it as the owner of the root directory")
                }
                _ => Advice::without_hint(Kind::Unavailable),
            },
        }
    }
}
