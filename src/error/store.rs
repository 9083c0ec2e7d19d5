use super::{Advice, BoxError, Kind, advice::MAKE_ROOM};

/// What cannot be had from the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("the database cannot {action}")]
    Failed {
        /// What was tried, as a verb phrase.
        action: &'static str,
        /// Of what kind the cause is, which decides what helps.
        fault: StoreFault,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The database was written by a newer paas.
    #[error("the database is of version {found}, this paas knows versions up to {known}")]
    TooNew {
        /// Its version.
        found: i64,
        /// The newest this binary knows.
        known: i64,
    },
    /// Sealed data that the secret key does not open.
    #[error("a sealed value cannot be opened: {reason}")]
    Sealed {
        /// Why.
        reason: String,
    },
}

/// What keeps a database from working.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// Another process has held it for longer than anybody should.
    Busy,
    /// It may not be opened, or not be written.
    ReadOnly,
    /// The disk is full.
    DiskFull,
    /// The disk fails.
    Disk,
    /// The file is damaged, or is no database.
    Damaged,
    /// Anything else, such as a stored value that this program does not understand.
    Other,
}

impl StoreFault {
    fn hint(self) -> &'static str {
        match self {
            StoreFault::Busy => "this command changed nothing: try again in a moment",
            StoreFault::ReadOnly => {
                "paas.db in the root directory must belong to the user of the daemon: `ls -l` shows its owner; `findmnt -T` \
                 on it shows whether its file system is read-only"
            }
            StoreFault::DiskFull => MAKE_ROOM,
            StoreFault::Disk => "`dmesg` shows what the disk reports; this command changed nothing",
            StoreFault::Damaged => {
                "stop the daemon, move paas.db, paas.db-wal and paas.db-shm out of the root directory, and put a backup in \
                 their place; `backups` in the root directory has the databases of before upgrades"
            }
            StoreFault::Other => "this command changed nothing; please report it as a bug of paas with what you did",
        }
    }
}

impl StoreError {
    pub(super) fn advice(&self) -> Advice {
        match self {
            StoreError::Failed { fault, .. } => Advice::new(Kind::Unavailable, fault.hint()),
            StoreError::TooNew { .. } => Advice::new(Kind::Conflict, "use the newer paas binary that wrote it"),
            StoreError::Sealed { .. } => Advice::new(
                Kind::Unavailable,
                "secret.key in the root directory is not the one that sealed these values: restore it from a backup",
            ),
        }
    }
}
