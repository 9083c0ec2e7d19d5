use super::{Advice, BoxError, Kind};

/// What cannot be had from the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("the database cannot {action}")]
    Failed {
        /// What was tried, as a verb phrase.
        action: &'static str,
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

impl StoreError {
    pub(super) fn advice(&self) -> Advice {
        match self {
            StoreError::Failed { .. } => {
                Advice::new(Kind::Unavailable, "`df -h` shows whether the disk is full; this command changed nothing")
            }
            StoreError::TooNew { .. } => Advice::new(Kind::Conflict, "use the newer paas binary that wrote it"),
            StoreError::Sealed { .. } => Advice::new(
                Kind::Unavailable,
                "secret.key in the root directory is not the one that sealed these values: restore it from a backup",
            ),
        }
    }
}
