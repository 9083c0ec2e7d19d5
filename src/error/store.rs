use std::path::{Path, PathBuf};

use super::{Advice, BoxError, Kind, advice::MAKE_ROOM};

/// What cannot be had from the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("the database cannot {action}")]
    Failed {
        /// Its path; empty where it is not known yet.
        path: PathBuf,
        /// What was tried, as a verb phrase.
        action: &'static str,
        /// Of what kind the cause is, which decides what helps.
        fault: StoreFault,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The database was written by a newer paas.
    #[error("{path} is a database of version {found}{}, and this paas knows versions up to {known}", written(.by), path = .path.display())]
    TooNew {
        /// Its path.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest this binary knows.
        known: i64,
        /// Which paas wrote it, where it says so.
        by: Option<String>,
    },
    /// A database of another program.
    #[error("{path} is a database, but none of paas", path = .path.display())]
    NotOurs {
        /// Its path.
        path: PathBuf,
    },
    /// There is no database where there was one.
    #[error("there is no database at {path}", path = .path.display())]
    Missing {
        /// Its path.
        path: PathBuf,
    },
    /// A copy of a database is not whole.
    #[error("{path} is not a whole database of paas: {reason}", path = .path.display())]
    NotWhole {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Sealed data that does not open, though the key is there.
    #[error("a sealed value cannot be opened: {reason}")]
    Sealed {
        /// Why.
        reason: String,
    },
    /// The key that opens what the database holds is not there.
    #[error("{path} {reason}: what is sealed cannot be opened", path = .path.display())]
    NoKey {
        /// The file of the key.
        path: PathBuf,
        /// What is wrong with it: `is missing`.
        reason: String,
        /// The public half of the key that is wanted, where it is known.
        wanted: Option<String>,
    },
}

fn written(by: &Option<String>) -> String {
    by.as_ref().map(|by| format!(" (written by paas {by})")).unwrap_or_default()
}

/// What keeps a database from working.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// Another process has held it for longer than anybody should.
    Busy,
    /// It may be read, but not be written.
    ReadOnly,
    /// It may not be opened.
    Denied,
    /// The disk is full.
    DiskFull,
    /// The disk fails.
    Disk,
    /// The file is damaged.
    Damaged,
    /// The file is no database.
    NoDatabase,
    /// Anything else, such as a stored value that this program does not understand.
    Other,
}

/// How a database comes back from a backup.
fn restore(path: &Path) -> String {
    let backups = path.with_file_name("backups");
    format!(
        "stop the daemon, and `paas restore-db FILE` puts a backup in its place (`paas backup-db` makes them; `{}` has those \
         of before upgrades)",
        backups.display()
    )
}

impl StoreFault {
    fn hint(self, path: &Path) -> String {
        let shown = if path.as_os_str().is_empty() { "paas.db" } else { &path.to_string_lossy() };
        let root = path.parent().unwrap_or(Path::new("."));
        match self {
            StoreFault::Busy => "this command changed nothing: try again in a moment".to_owned(),
            StoreFault::ReadOnly => format!(
                "`findmnt -T {shown}` shows whether its file system is read-only: `mount -o remount,rw` with its place makes \
                 it writable again; `lsattr {shown}` shows whether the file is"
            ),
            StoreFault::Denied => format!(
                "everything in the root directory must belong to its owner: \
                 `chown --recursive --reference={root} {root}` as root makes it so",
                root = root.display()
            ),
            StoreFault::DiskFull => MAKE_ROOM.to_owned(),
            StoreFault::Disk => "`dmesg` shows what the disk reports; this command changed nothing".to_owned(),
            // Not `.recover`, which not every sqlite3 has.
            StoreFault::Damaged => format!(
                "{}; without any, `sqlite3 {shown} .dump | sed 's/^ROLLBACK;.*/COMMIT;/' | sqlite3 saved.db` saves what can \
                 be read, for `paas restore-db saved.db`",
                restore(path)
            ),
            StoreFault::NoDatabase => restore(path),
            StoreFault::Other => {
                "this command changed nothing; please report it as a bug of paas with what you did".to_owned()
            }
        }
    }
}

impl StoreError {
    pub(super) fn advice(&self) -> Advice {
        match self {
            StoreError::Failed { fault, path, .. } => Advice::new(Kind::Unavailable, fault.hint(path)),
            StoreError::TooNew { path, by, .. } => {
                let newer =
                    by.as_ref().map_or("the newer paas that wrote it".to_owned(), |by| format!("paas {by} or newer"));
                Advice::new(Kind::Conflict, format!("install {newer}; or go back: {}", restore(path)))
            }
            StoreError::NotOurs { path } | StoreError::Missing { path } => Advice::new(Kind::Conflict, restore(path)),
            StoreError::NotWhole { .. } => Advice::new(Kind::Conflict, "nothing was changed: use another backup"),
            StoreError::Sealed { .. } => Advice::new(
                Kind::Unavailable,
                "the value is damaged: set it again (`paas config:set`), or go back to a backup of the database",
            ),
            StoreError::NoKey { path, wanted, .. } => {
                let which =
                    wanted.as_ref().map(|to| format!(" It is the one whose public half is {to}.")).unwrap_or_default();
                Advice::new(
                    Kind::Unavailable,
                    format!(
                        "`cp BACKUP {}` puts it back from a backup; it is never replaced while anything is sealed.{which} \
                         Running containers are not affected",
                        path.display()
                    ),
                )
            }
        }
    }
}
