//! The files of a source: from the objects of a bare git repository, without a work tree, or from a directory.
//!
//! A git tree may be hostile: entries named `..` or `.git`, and duplicate entries, are refused here, so that later code
//! cannot be led out of the build context.

mod addresses;
mod content;
mod context;
mod directory;
mod dockerignore;
mod submodules;
mod walk;

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

pub use context::Added;
pub use dockerignore::DockerIgnore;
use git2::{Oid, Repository};
use walk::Walk;

#[cfg(any(test, fuzzing))]
use crate::work::Limits;
use crate::{Error, Result, error::SourceError, exec::Conversation, model::CommitId, work::Work};

/// The largest file that is read as a manifest, in bytes.
const READ_LIMIT: u64 = 1 << 20;

/// The largest file that is read if a buildpack asks for it by name, in bytes: lock files can be this large.
pub const NAMED_LIMIT: u64 = 32 << 20;

/// The files of a source, sorted by path.
#[derive(Debug)]
pub struct Tree {
    entries: Vec<Entry>,
    source: Arc<Source>,
    work: Work,
}

/// A file of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path from the root of the source, without `.` and `..`.
    pub path: PathBuf,
    /// Its kind.
    pub kind: EntryKind,
    object: Option<(usize, Oid)>,
}

/// The kind of an entry. Directories appear only in paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File,
    /// An executable file.
    Executable,
    /// A symbolic link.
    Symlink,
}

/// Where the content is.
enum Source {
    /// In these repositories: the app's own first, then those of its submodules.
    Git { repositories: Vec<Mutex<Objects>>, time: u64 },
    /// Below this directory.
    Directory(PathBuf),
}

/// The objects of a repository.
struct Objects {
    path: PathBuf,
    repository: Repository,
    /// A child of git that gives large objects piece by piece, once one was needed.
    stream: Option<Conversation>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Git { repositories, .. } => write!(formatter, "Git({})", repositories.len()),
            Source::Directory(path) => write!(formatter, "Directory({})", path.display()),
        }
    }
}

impl Tree {
    /// The files of a commit and of its submodules, which are fetched into bare repositories below `cache`; those that
    /// are already there are not fetched again.
    ///
    /// # Errors
    /// `SourceError::Unreadable` if the repository is damaged or the tree hostile; `SourceError::Limit` if it has more
    /// than it may; `SourceError::Submodule` with the submodule that cannot be fetched and why.
    pub async fn commit(repository: &Path, commit: CommitId, cache: &Path, work: &Work) -> Result<Tree> {
        let mut walk = Walk::new(work.clone());
        let mut time = None;
        let mut fetched = 0;
        let mut pending = vec![(repository.to_owned(), commit, PathBuf::new(), 0)];
        while let Some((repository, commit, prefix, depth)) = pending.pop() {
            let below = prefix.clone();
            let path = repository.clone();
            let walked = work.aside(move || {
                let (time, links) = walk.add(&path, commit.oid(), &below)?;
                Ok((walk, time, links))
            });
            let (found, found_time, links) = walked.await?;
            walk = found;
            time.get_or_insert(found_time);
            for module in submodules::of(&repository, &prefix, links, work).await? {
                submodules::check_number(&module.path, depth, fetched)?;
                fetched += 1;
                let target = submodules::fetch(&module, cache, work).await?;
                pending.push((target, module.commit, module.path, depth + 1));
            }
        }
        let there = work.clone();
        work.aside(move || Tree::of_walk(walk, time.unwrap_or(0), there)).await
    }

    fn of_walk(mut walk: Walk, time: i64, work: Work) -> Result<Tree> {
        let entries = walk.sorted()?;
        let repositories = walk
            .repositories
            .into_iter()
            .map(|(path, repository)| Mutex::new(Objects { path, repository, stream: None }))
            .collect();
        let time = u64::try_from(time).unwrap_or(0);
        Ok(Tree { entries, source: Arc::new(Source::Git { repositories, time }), work })
    }

    /// [`Tree::directory`] within the usual limits.
    #[cfg(any(test, fuzzing))]
    pub fn usual(directory: &Path) -> Result<Tree> {
        Tree::directory(directory, &Work::new(Limits::usual()?))
    }

    /// The files below a directory, as a source of their own: their paths begin there, and links that lead out of it are
    /// not followed.
    pub fn below(&self, directory: &str) -> Tree {
        let start = self.entries.partition_point(|entry| entry.path.as_path() < Path::new(directory));
        let below = self.entries[start..].iter().take_while(|entry| entry.path.starts_with(directory));
        let below = below.filter_map(|entry| {
            let path = entry.path.strip_prefix(directory).ok()?.to_owned();
            (!path.as_os_str().is_empty()).then(|| Entry { path, ..entry.clone() })
        });
        let source = match &*self.source {
            Source::Directory(root) => Arc::new(Source::Directory(root.join(directory))),
            Source::Git { .. } => Arc::clone(&self.source),
        };
        Tree { entries: below.collect(), source, work: self.work.clone() }
    }

    /// The work that it is read for.
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// All files, sorted by path.
    pub fn files(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether there is a file at a path. Links that stay within the source are followed.
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        matches!(self.resolve(path.as_ref()), Ok(Some(_)))
    }

    /// Whether there is a directory at a path.
    pub fn has_directory(&self, path: impl AsRef<Path>) -> bool {
        let path = path.as_ref();
        let start = self.entries.partition_point(|entry| entry.path.as_path() < path);
        self.entries[start..].iter().take(2).any(|entry| entry.path != path && entry.path.starts_with(path))
    }

    /// The names at the root, directories with a slash at the end.
    pub fn top_level(&self) -> Vec<String> {
        let mut names = BTreeSet::new();
        for entry in &self.entries {
            let mut components = entry.path.components();
            if let Some(first) = components.next() {
                let slash = if components.next().is_some() { "/" } else { "" };
                names.insert(format!("{}{slash}", first.as_os_str().display()));
            }
        }
        names.into_iter().collect()
    }
}

/// The name of an entry of a git tree, if it is one that git itself would check out.
fn checked_name(name: &[u8]) -> Result<&OsStr> {
    let hostile = name.is_empty()
        || name == b"."
        || name == b".."
        || name.contains(&b'/')
        || name.contains(&0)
        || is_dot_git(name);
    if hostile {
        return Err(Error::Source(SourceError::Unreadable {
            reason: format!("the commit contains a file named {:?}", String::from_utf8_lossy(name)),
        }));
    }
    Ok(OsStr::from_bytes(name))
}

fn is_dot_git(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b".git")
}

fn open(repository: &Path) -> Result<Repository> {
    Repository::open_bare(repository).map_err(unreadable)
}

#[expect(clippy::needless_pass_by_value, reason = "it is passed to map_err")]
fn unreadable(error: git2::Error) -> Error {
    Error::Source(SourceError::Unreadable { reason: error.message().to_owned() })
}

fn unreadable_file(path: &Path, error: &io::Error) -> Error {
    Error::Source(SourceError::Unreadable { reason: format!("{}: {error}", path.display()) })
}

#[cfg(test)]
mod tests;
