//! Locks between processes: flock(2) on a file that is never unlinked, because an unlinked lock has two holders. The
//! kernel frees a lock at any death of its holder. The file's text says who holds it, for what, since when.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::fcntl::{FcntlArg, fcntl};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, clock, files, model::Actor};

/// The longest text in a lock file.
const TEXT_MAX: u64 = 4096;
/// How often a waiting process tries again.
const RETRY: Duration = Duration::from_millis(50);

/// A lock that is held until this value is dropped, or its process ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
    text: String,
}

impl Lock {
    fn new(file: File, text: String) -> Lock {
        Lock { file, text }
    }

    /// Writes who holds it once more, if the file does not say so any more: for those who hold it for days.
    pub fn say_again(&self) {
        if text_of(&self.file).is_ok_and(|text| text != self.text) {
            self.say();
        }
    }

    fn say(&self) {
        // The text is only for those who wait: a full disk must not keep anybody from locking.
        drop(self.file.set_len(0).and_then(|()| self.file.write_all_at(self.text.as_bytes(), 0)));
    }
}

/// Who holds a lock, for what, since when.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Holder {
    /// What for: `the deploy of main (1a2b3c4)`.
    pub what: String,
    /// Who.
    pub actor: String,
    /// Since when, in milliseconds since 1970.
    pub since: i64,
}

impl Holder {
    /// Somebody who takes a lock now.
    pub fn new(what: impl Into<String>, actor: &Actor) -> Holder {
        Holder { what: what.into(), actor: actor.to_string(), since: clock::now() }
    }

    /// In words that do not change while it is held: `the deploy of main (1a2b3c4) by key:ann, begun at 11:22:27 UTC`.
    pub fn describe_since(&self) -> String {
        format!("{} by {}, begun at {} UTC", self.what, self.actor, clock::time_of_day(self.since))
    }

    /// In words: `the deploy of main (1a2b3c4) by key:ann, since 12 s ago`.
    pub fn describe(&self) -> String {
        format!("{} by {}, begun {}", self.what, self.actor, clock::ago(self.since))
    }
}

/// Takes the lock at `path` if it is free; else returns who holds it, where that can be read.
///
/// # Errors
/// [`Error::Host`].
pub fn try_lock(path: &Path, holder: &Holder) -> Result<Result<Lock, Option<Holder>>> {
    let action = || format!("lock {}", path.display());
    let file = loop {
        let file = open(path).map_err(Error::io(action()))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if files::is_still_at(&file, path) => break file,
            // Somebody has removed the file, or put another in its place, in this moment.
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Ok(Err(serde_json::from_str(&text_of(&file).map_err(Error::io(action()))?).ok()));
            }
            Err(error) => return Err(Error::io(action())(error.into())),
        }
    };
    let lock = Lock::new(file, serde_json::to_string(holder).map_err(Error::bug)?);
    lock.say();
    Ok(Ok(lock))
}

/// What a lock file says, as far as it can be a text of ours.
fn text_of(file: &File) -> std::io::Result<String> {
    let mut bytes = vec![0; TEXT_MAX as usize];
    let length = file.read_at(&mut bytes, 0)?;
    bytes.truncate(length);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Takes the lock at `path`, and holds up the thread until it is free: for what takes a moment and needs no name.
///
/// # Errors
/// [`Error::Host`].
pub fn wait(path: &Path) -> Result<Lock> {
    let take = || -> std::io::Result<File> {
        loop {
            let file = open(path)?;
            rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))?;
            if files::is_still_at(&file, path) {
                return Ok(file);
            }
        }
    };
    take().map(|file| Lock::new(file, String::new())).map_err(Error::io(format!("lock {}", path.display())))
}

/// Who holds the lock at `path`; none where nobody does, or the holder has not said yet.
///
/// # Errors
/// [`Error::Host`].
pub fn holder(path: &Path) -> Result<Option<Holder>> {
    let action = || format!("look at the lock {}", path.display());
    let Some(file) = files::open_optional(path)? else { return Ok(None) };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => return Ok(None),
        Err(rustix::io::Errno::WOULDBLOCK) => {}
        Err(error) => return Err(Error::io(action())(error.into())),
    }
    Ok(serde_json::from_str(&text_of(&file).map_err(Error::io(action()))?).ok())
}

/// Takes the lock at `path`, and waits for it as long as it takes. `waiting` is told, once for each holder, who it is.
///
/// # Errors
/// [`Error::Host`].
pub async fn lock(path: &Path, holder: &Holder, waiting: impl FnMut(&str)) -> Result<Lock> {
    lock_one_of(&[path.to_owned()], holder, waiting).await
}

/// Takes whichever of the locks at `paths` is free first, and waits as long as it takes. `waiting` is told who holds
/// them, once for each such party.
///
/// # Errors
/// [`Error::Host`].
pub async fn lock_one_of(paths: &[PathBuf], holder: &Holder, mut waiting: impl FnMut(&str)) -> Result<Lock> {
    let mut told: Vec<(String, i64)> = Vec::new();
    loop {
        let mut others = Vec::new();
        for path in paths {
            match try_lock(path, holder)? {
                Ok(lock) => return Ok(lock),
                Err(other) => others.extend(other),
            }
        }
        let party: Vec<(String, i64)> = others.iter().map(|other| (other.what.clone(), other.since)).collect();
        // One that has not said who it is yet will have the next time.
        if party.len() == paths.len() && party != told {
            waiting(&others.iter().map(Holder::describe).collect::<Vec<_>>().join(", and for "));
            told = party;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Claims a number in the file at `path` for as long as the value returned lives, or its process does: a lock on the
/// byte of that number (fcntl(2), open file description locks), so that one file does for all numbers.
///
/// # Errors
/// [`Error::Host`], also where somebody else has claimed it.
pub fn claim(path: &Path, number: i64) -> Result<Lock> {
    let file = open_claims(path)?;
    fcntl(&file, FcntlArg::F_OFD_SETLK(&byte(number))).map_err(|errno| claim_error(path)(errno.into()))?;
    Ok(Lock::new(file, String::new()))
}

/// Whether a living process has claimed a number.
///
/// # Errors
/// [`Error::Host`].
pub fn is_claimed(path: &Path, number: i64) -> Result<bool> {
    let file = open_claims(path)?;
    let mut wanted = byte(number);
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut wanted)).map_err(|errno| claim_error(path)(errno.into()))?;
    Ok(i32::from(wanted.l_type) != nix::libc::F_UNLCK)
}

fn open_claims(path: &Path) -> Result<File> {
    open(path).map_err(claim_error(path))
}

fn open(path: &Path) -> std::io::Result<File> {
    files::open_shared(path)
}

fn claim_error(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    Error::io(format!("claim a number in {}", path.display()))
}

fn byte(number: i64) -> nix::libc::flock {
    nix::libc::flock {
        l_type: nix::libc::F_WRLCK as nix::libc::c_short,
        l_whence: nix::libc::SEEK_SET as nix::libc::c_short,
        l_start: number,
        l_len: 1,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_for_one_number_and_ends_with_its_holder() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let path = directory.path().join("deployments.lock");
        let seven = claim(&path, 7)?;
        assert!(claim(&path, 7).is_err());
        assert!(is_claimed(&path, 7)?);
        assert!(!is_claimed(&path, 8)?);
        drop(seven);
        assert!(!is_claimed(&path, 7)?);
        Ok(())
    }

    #[test]
    fn a_lock_has_one_holder_and_says_who() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let path = directory.path().join("1.lock");
        let holder = Holder::new("the deploy of main", &Actor::Key("ann".to_owned()));
        let first = try_lock(&path, &holder)?;
        assert!(first.is_ok());
        let Err(Some(other)) = try_lock(&path, &Holder::new("x", &Actor::Daemon))? else { panic!("locked twice") };
        assert_eq!(other.describe(), "the deploy of main by key:ann, begun 0 s ago");
        drop(first);
        assert!(try_lock(&path, &holder)?.is_ok());
        Ok(())
    }

    #[test]
    fn whatever_is_in_a_lock_file_it_locks_and_its_holder_says_who_it_is_again() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let path = directory.path().join("1.lock");
        let me = Holder::new("the deploy of main", &Actor::Daemon);
        for spoilt in [&b""[..], b"\xff\xfe\x00", &[b'x'; 100_000]] {
            let spoil = || std::fs::write(&path, spoilt).map_err(Error::io("write"));
            spoil()?;
            let Ok(lock) = try_lock(&path, &me)? else { panic!("nobody has it") };
            assert_eq!(holder(&path)?.map(|holder| holder.what), Some(me.what.clone()));
            spoil()?;
            assert!(matches!(try_lock(&path, &me)?, Err(None)), "it is locked all the same");
            assert!(holder(&path)?.is_none());
            lock.say_again();
            assert_eq!(holder(&path)?.map(|holder| holder.what), Some(me.what.clone()));
        }
        // A directory in its place, while nobody holds it.
        std::fs::remove_file(&path).and_then(|()| std::fs::create_dir(&path)).map_err(Error::io("spoil"))?;
        assert!(try_lock(&path, &me)?.is_ok());
        Ok(())
    }

    #[tokio::test]
    async fn one_of_several_locks_is_enough_and_all_holders_are_named() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let paths = [1, 2].map(|number| directory.path().join(format!("{number}.lock")));
        let holder = |what: &str| Holder::new(what, &Actor::Daemon);
        let first = lock_one_of(&paths, &holder("one"), |_| panic!("nobody is there")).await?;
        let _second = lock_one_of(&paths, &holder("two"), |_| panic!("one is free")).await?;
        let (mut first, mut said) = (Some(first), Vec::new());
        let third = holder("three");
        let waiting = lock_one_of(&paths, &third, |others| {
            said.push(others.to_owned());
            first = None;
        });
        waiting.await?;
        assert_eq!(said, ["one by daemon, begun 0 s ago, and for two by daemon, begun 0 s ago"]);
        Ok(())
    }
}
