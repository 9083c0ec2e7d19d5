//! The files of a directory, as git would add them.

use std::{
    fs, io,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Entry, EntryKind, READ_LIMIT, Source, Tree, is_dot_git, unreadable_file};
use crate::{
    Error, Result,
    error::SourceError,
    model::property,
    work::{Work, bytes, over},
};

impl Tree {
    /// The files below a directory that git would add: not those that a `.gitignore` lists. Nothing but regular files
    /// is opened.
    ///
    /// # Errors
    /// `SourceError::Unreadable` if it cannot be read; `SourceError::Limit`.
    pub fn directory(directory: &Path, work: &Work) -> Result<Tree> {
        work.begin();
        let work = work.clone();
        let limits = *work.limits();
        let mut entries = Vec::new();
        let mut paths = 0;
        // What reads the directory opens each `.gitignore` on its way, even a pipe.
        for ancestor in std::path::absolute(directory).unwrap_or_default().ancestors() {
            check_gitignore(ancestor)?;
        }
        let odd = Arc::new(Mutex::new(Ok(())));
        let found_odd = Arc::clone(&odd);
        let walk = ignore::WalkBuilder::new(directory)
            .hidden(false)
            .ignore(false)
            .filter_entry(move |entry| {
                if is_dot_git(entry.file_name().as_bytes()) {
                    return false;
                }
                if !entry.file_type().is_some_and(|kind| kind.is_dir()) {
                    return true;
                }
                let checked = check_gitignore(entry.path());
                let good = checked.is_ok();
                if !good {
                    *found_odd.lock().unwrap_or_else(PoisonError::into_inner) = checked;
                }
                good
            })
            .build();
        for entry in walk {
            std::mem::replace(&mut *odd.lock().unwrap_or_else(PoisonError::into_inner), Ok(()))?;
            work.check()?;
            let entry = entry.map_err(|error| Error::Source(SourceError::Unreadable { reason: error.to_string() }))?;
            let Ok(path) = entry.path().strip_prefix(directory) else { continue };
            let Some(kind) = entry.file_type() else { continue };
            let kind = if kind.is_symlink() && entry.depth() > 0 {
                EntryKind::Symlink
            } else if kind.is_file() {
                let metadata = entry
                    .metadata()
                    .map_err(|error| Error::Source(SourceError::Unreadable { reason: error.to_string() }))?;
                if metadata.permissions().mode() & 0o111 == 0 { EntryKind::File } else { EntryKind::Executable }
            } else {
                continue;
            };
            paths += path.as_os_str().len() as u64;
            entries.push(Entry { path: path.to_owned(), kind, object: None });
            if entries.len() as u64 > limits.files {
                return Err(over(
                    "the directory has too many files",
                    limits.files.to_string(),
                    &property::SOURCE_MAX_FILES,
                ));
            }
            if paths > limits.paths {
                return Err(over(
                    "the paths of the directory are too long together",
                    bytes(limits.paths),
                    &property::SOURCE_MAX_PATHS,
                ));
            }
        }
        std::mem::replace(&mut *odd.lock().unwrap_or_else(PoisonError::into_inner), Ok(()))?;
        entries.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(Tree { entries, source: Arc::new(Source::Directory(directory.to_owned())), work })
    }
}

/// Refuses a `.gitignore` that is not a regular file: opening a pipe would wait for somebody to write to it.
fn check_gitignore(directory: &Path) -> Result<()> {
    let path = directory.join(".gitignore");
    match fs::metadata(&path) {
        Ok(metadata) if metadata.is_dir() || (metadata.is_file() && metadata.len() <= READ_LIMIT) => Ok(()),
        Ok(metadata) => {
            let why = if metadata.is_file() { "it is too large" } else { "it is not a regular file" };
            Err(unreadable_file(&path, &io::Error::other(why)))
        }
        Err(_) => Ok(()),
    }
}
