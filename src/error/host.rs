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
    /// Something is in the place of a file or a directory that only a backup has again.
    #[error("{path} is {found} and should be {wanted}", path = .path.display())]
    InTheWay {
        /// Its path.
        path: PathBuf,
        /// What is there.
        found: &'static str,
        /// What should be there.
        wanted: &'static str,
    },
    /// The files of an instance that was here, whose database is missing.
    #[error("{root} has {found} of an instance, but {missing}", root = .root.display())]
    FormerInstance {
        /// The root directory.
        root: PathBuf,
        /// What was found of it.
        found: String,
        /// What is wrong with its database.
        missing: String,
    },
    /// There is an instance where a new one is to begin.
    #[error("there is an instance in {root}, and all is well with its database", root = .root.display())]
    InstanceThere {
        /// The root directory.
        root: PathBuf,
    },
    /// A file that is there already is to be written.
    #[error("{path} is there already", path = .path.display())]
    WouldOverwrite {
        /// Its path.
        path: PathBuf,
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
            HostError::InTheWay { path, found, .. } => {
                let path = path.display();
                let mend = match *found {
                    "a link that leads nowhere" => format!(
                        "mount what it leads to; or, if that is gone, `rm {path}` and put back what a backup has of it"
                    ),
                    _ => format!("`mv {path} {path}.aside`, and put back what a backup has of it"),
                };
                Advice::new(Kind::Conflict, mend)
            }
            HostError::FormerInstance { root, .. } => Advice::new(
                Kind::Conflict,
                format!(
                    "`paas restore-db FILE` puts a backup of the database in its place; `{}/backups` may have one of before \
                     an upgrade. Without any, `paas serve --new-instance` starts a new instance and keeps the files of \
                     this one in a directory of their own",
                    root.display()
                ),
            ),
            HostError::InstanceThere { .. } => {
                Advice::new(Kind::Conflict, "leave out --new-instance; or set PAAS_ROOT to run a second one elsewhere")
            }
            HostError::WouldOverwrite { .. } => Advice::new(Kind::Conflict, "give another name; --force overwrites it"),
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
