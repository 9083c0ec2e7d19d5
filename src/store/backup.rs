//! Copies of the database: made while it is in use, checked before anybody trusts one, and put back.

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, backup};

use super::{INSTANCE, Store, beside, database, failed, migrate, set_up};
use crate::{
    Error, Result, clock,
    error::{StoreError, StoreFault},
    files, lock,
};

/// Pages copied in one step: whoever copies reads no longer than that takes at a time.
const PAGES: std::ffi::c_int = 1000;
/// How often a copy is begun anew because somebody wrote meanwhile, before it is made in one step.
const AGAIN: u32 = 20;
/// How long a copy waits for a database that somebody holds alone.
const BUSY: (u32, Duration) = (200, Duration::from_millis(50));

/// A copy of a database.
#[derive(Clone, Debug)]
pub struct Copied {
    /// The id of the instance that it is of.
    pub instance: String,
    /// How many apps it has.
    pub apps: u32,
    /// Its size in bytes.
    pub bytes: u64,
}

/// What was in the place of a database that was put back: the path that it has now.
pub type Kept = Option<PathBuf>;

/// Whether there is no database at a path: no file, an empty one, or a database without a table.
pub(super) fn is_missing(path: &Path) -> Result<bool> {
    if std::fs::metadata(path).map_or(0, |metadata| metadata.len()) == 0 {
        return Ok(true);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(database("be opened"))?;
    set_up(&connection)?;
    Ok(migrate::standing(&connection)? == migrate::Standing::Empty)
}

/// Copies the database at `from` to a new file at `to`, while others read and write it, and checks the copy.
///
/// # Errors
/// [`Error::Store`]; `StoreError::NotWhole`.
pub fn save_to(from: &Path, to: &Path) -> Result<Copied> {
    let source = Store::reopen(from)?;
    files::make_private_file(to)?;
    let mut target = Connection::open(to).map_err(database("be saved"))?;
    copy(&source.connection, &mut target)?;
    finish(&target)?;
    target.close().map_err(|(_, error)| database("be saved")(error))?;
    check(to).map_err(|error| match error {
        // The copy is like what it is of.
        Error::Store(StoreError::NotWhole { reason, .. }) => {
            failed("be saved", StoreFault::Damaged, reason).in_database(from)
        }
        error => error,
    })
}

/// Copies one database into another, in steps.
///
/// # Errors
/// [`Error::Store`].
pub(super) fn copy(source: &Connection, target: &mut Connection) -> Result<()> {
    let backup = backup::Backup::new(source, target).map_err(database("be saved"))?;
    let (mut begun, mut waited, mut left) = (0, 0, std::ffi::c_int::MAX);
    loop {
        match backup.step(if begun < AGAIN { PAGES } else { -1 }).map_err(database("be saved"))? {
            backup::StepResult::Done => return Ok(()),
            backup::StepResult::More => {
                let remaining = backup.progress().remaining;
                if remaining >= left {
                    begun += 1;
                }
                left = remaining;
            }
            _ if waited < BUSY.0 => {
                waited += 1;
                std::thread::sleep(BUSY.1);
            }
            _ => return Err(failed("be saved", StoreFault::Busy, "somebody else holds it")),
        }
    }
}

/// Makes a copy one file that needs nothing beside it.
fn finish(copy: &Connection) -> Result<()> {
    copy.pragma_update(None, "journal_mode", "DELETE").map_err(database("be saved"))
}

/// Looks whether a copy is whole, and one of ours that this binary understands.
///
/// # Errors
/// `StoreError::NotWhole`, `StoreError::NotOurs`, `StoreError::TooNew`; [`Error::Store`].
fn check(path: &Path) -> Result<Copied> {
    let look = || {
        let connection = Connection::open(path).map_err(database("be read"))?;
        let problems: Vec<String> = connection
            .prepare("PRAGMA integrity_check(3)")
            .and_then(|mut check| check.query_map([], |row| row.get(0))?.collect())
            .map_err(database("be read"))?;
        if problems != ["ok"] {
            return Err(StoreError::NotWhole { path: path.to_owned(), reason: problems.join("; ") }.into());
        }
        match migrate::standing(&connection)? {
            migrate::Standing::Ours(found) => migrate::require_at_most(&connection, path, found)?,
            migrate::Standing::Empty | migrate::Standing::Other => {
                return Err(StoreError::NotOurs { path: path.to_owned() }.into());
            }
        }
        let (instance, apps) = connection
            .query_row("SELECT value, (SELECT count(*) FROM apps) FROM meta WHERE name = ?1", [INSTANCE], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .map_err(database("be read"))?;
        let bytes = std::fs::metadata(path).map_err(Error::io(format!("look at {}", path.display())))?.len();
        Ok(Copied { instance, apps, bytes })
    };
    look().map_err(|error: Error| error.in_database(path))
}

/// Puts a copy of a database in the place of the one at `path`. What was there is kept beside it. Only while no daemon
/// and no deploy runs.
///
/// `draft`: the copy, in the same directory as `path`; it is gone afterwards.
///
/// # Errors
/// As [`check`]: nothing has changed then. [`Error::Host`].
pub fn restore(draft: &Path, path: &Path) -> Result<(Copied, Kept)> {
    files::make_private_file(draft)?;
    let checked = check(draft)?;
    {
        let connection = Connection::open(draft).map_err(database("be read"))?;
        finish(&connection)?;
    }
    let _turn = lock::wait(&beside(path, ".lock"))?;
    let time = clock::rfc3339(clock::now()).replace([':', '-'], "");
    let kept = beside(path, &format!(".{time}.{}.aside", std::process::id()));
    let rename = |from: &Path, to: &Path| match std::fs::rename(from, to) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("move {} aside", from.display()))(error))
        }
        renamed => Ok(renamed.is_ok()),
    };
    // The log first: a database without its log is an older one, a log with another database is damage.
    for suffix in ["-wal", "-shm", "-journal"] {
        rename(&beside(path, suffix), &beside(&kept, suffix))?;
    }
    let was_there = rename(path, &kept)?;
    std::fs::rename(draft, path)
        .and_then(|()| File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all())
        .map_err(Error::io(format!("write {}", path.display())))?;
    Ok((checked, was_there.then_some(kept)))
}
