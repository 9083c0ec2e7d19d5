//! The files of a source: from the objects of a bare git repository, without a work tree, or from a directory.
//!
//! A git tree may be hostile: entries named `..` or `.git`, and duplicate entries, are refused here, so that later code
//! cannot be led out of the build context.

mod dockerignore;
mod submodules;

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    io::{self, Read, Write},
    ops::Range,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::PermissionsExt,
    },
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use dockerignore::DockerIgnore;
use git2::{ObjectType, Oid, Repository};
pub use submodules::{Submodules, fetch};

use crate::{Error, Result, error::SourceError, model::CommitId};

/// The largest file that is read as a manifest, in bytes.
const READ_LIMIT: u64 = 1 << 20;

/// The largest file that is read if a buildpack asks for it by name, in bytes: lock files can be this large.
pub const NAMED_LIMIT: u64 = 32 << 20;

/// How many symbolic links are followed for one file.
const LINK_LIMIT: usize = 8;

/// Files of at least this many bytes are read piece by piece.
const LARGE: u64 = 1 << 20;

/// The files of a source, sorted by path.
#[derive(Debug)]
pub struct Tree {
    entries: Vec<Entry>,
    source: Arc<Source>,
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

/// A file of the build context beside those of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Added {
    /// With this content.
    Content(Vec<u8>),
    /// A file of the source, a second time. It is not read before the context is written.
    Copy(PathBuf),
}

/// Where the content is.
enum Source {
    /// In these repositories: the app's own first, then those of its submodules.
    Git { repositories: Vec<Mutex<Repository>>, time: u64 },
    /// Below this directory.
    Directory(PathBuf),
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
    /// The files of a commit, and of its submodules as [`fetch`] found them.
    ///
    /// # Errors
    /// `SourceError::Unreadable` if the repository is damaged or the tree hostile; `SourceError::Submodule` if one is
    /// missing.
    pub fn commit(repository: &Path, commit: CommitId, submodules: &Submodules) -> Result<Tree> {
        let main = open(repository)?;
        let time = main.find_commit(commit.oid()).map_err(unreadable)?.time().seconds();
        let mut walk = GitWalk { entries: Vec::new(), repositories: vec![main], submodules };
        walk.commit(0, commit.oid(), Path::new(""))?;
        let GitWalk { mut entries, repositories, .. } = walk;
        entries.sort_by(|left, right| left.path.cmp(&right.path));
        for pair in entries.windows(2) {
            // `a` and `a/b`, or `a` twice: a file below a link would be written to where the link points.
            if pair[1].path.starts_with(&pair[0].path) {
                return Err(Error::Source(SourceError::Unreadable {
                    reason: format!("the commit contains {:?} twice", pair[0].path),
                }));
            }
        }
        let repositories = repositories.into_iter().map(Mutex::new).collect();
        let time = u64::try_from(time).unwrap_or(0);
        Ok(Tree { entries, source: Arc::new(Source::Git { repositories, time }) })
    }

    /// The files below a directory that git would add: not those that a `.gitignore` lists.
    ///
    /// # Errors
    /// `SourceError::Unreadable` if it cannot be read.
    pub fn directory(directory: &Path) -> Result<Tree> {
        let mut entries = Vec::new();
        let walk = ignore::WalkBuilder::new(directory)
            .hidden(false)
            .ignore(false)
            .filter_entry(|entry| !is_dot_git(entry.file_name().as_bytes()))
            .build();
        for entry in walk {
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
            entries.push(Entry { path: path.to_owned(), kind, object: None });
        }
        entries.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(Tree { entries, source: Arc::new(Source::Directory(directory.to_owned())) })
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
        Tree { entries: below.collect(), source }
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

    /// The content of a file of at most `limit` bytes, for manifests; links that stay within the source are followed.
    /// Nothing if there is none.
    ///
    /// # Errors
    /// `SourceError::File` if it is larger, `SourceError::Unreadable` if it cannot be read.
    fn read(&self, path: impl AsRef<Path>, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(entry) = self.resolve(path.as_ref())? else { return Ok(None) };
        let size = self.size(entry)?;
        if size > limit {
            return Err(Error::Source(SourceError::File {
                file: entry.path.display().to_string(),
                line: None,
                message: format!("it has {size} bytes, more than the limit of {limit} for such a file"),
                hint:
                    "check that it is the right file; if the app does not need it, remove it from the repository, and \
                       otherwise make it smaller"
                        .to_owned(),
            }));
        }
        self.content(entry).map(Some)
    }

    /// The content of a text file: in UTF-8, or in UTF-16 with a byte order mark, which some editors and shells write.
    /// The mark is removed, and bytes that are not UTF-8 are replaced.
    ///
    /// # Errors
    /// As [`Tree::read_text`].
    pub fn read_text(&self, path: impl AsRef<Path>) -> Result<Option<String>> {
        self.read_text_within(path, READ_LIMIT)
    }

    /// As [`Tree::read_text`], with another limit.
    ///
    /// # Errors
    /// As [`Tree::read_text`].
    pub fn read_text_within(&self, path: impl AsRef<Path>, limit: u64) -> Result<Option<String>> {
        Ok(self.read(path, limit)?.map(|bytes| text_of(&bytes)))
    }

    /// The first bytes of a file, at most `limit`; links that stay within the source are followed. Nothing if there is
    /// none, or if it is too large to be a script or a manifest.
    ///
    /// # Errors
    /// `SourceError::Unreadable` if it cannot be read.
    pub fn read_head(&self, path: impl AsRef<Path>, limit: usize) -> Result<Option<Vec<u8>>> {
        let Some(entry) = self.resolve(path.as_ref())? else { return Ok(None) };
        if self.size(entry)? > READ_LIMIT {
            return Ok(None);
        }
        let mut head = self.content(entry)?;
        head.truncate(limit);
        Ok(Some(head))
    }

    /// Whether a file has a size within a range and begins with one of these bytes. Only files of such a size are read.
    ///
    /// # Errors
    /// `SourceError::Unreadable` if it cannot be read.
    pub fn begins_with(&self, entry: &Entry, sizes: &Range<u64>, beginnings: &[&[u8]]) -> Result<bool> {
        if entry.kind == EntryKind::Symlink || !sizes.contains(&self.size(entry)?) {
            return Ok(false);
        }
        let content = self.content(entry)?;
        Ok(beginnings.iter().any(|beginning| content.starts_with(beginning)))
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

    /// Writes the files as a tar, with the `extra` files first; these replace files of the same path. Only one file is
    /// in memory at a time. The same commit makes the same bytes. The files have the time of the commit, which Docker's
    /// cache ignores and web servers use for `ETag`.
    ///
    /// # Errors
    /// `SourceError::Unreadable` if an object cannot be read, [`Error::Host`] if `out` cannot be written.
    pub fn write_tar(&self, out: impl Write, extra: &[(String, Added)], ignore: &DockerIgnore) -> Result<()> {
        let written = Error::io("write the build context");
        let mut tar = TarWriter { builder: tar::Builder::new(out), directories: BTreeSet::new(), time: 0 };
        if let Source::Git { time, .. } = *self.source {
            tar.time = time;
        }
        let result: io::Result<Result<()>> = (|| {
            for (path, added) in extra {
                let path = Path::new(path);
                let written = match added {
                    Added::Content(content) => Ok(tar.file(path, content.len() as u64, content.as_slice(), 0o644)),
                    Added::Copy(from) => self.resolve(from).and_then(|entry| {
                        let entry =
                            entry.ok_or_else(|| Error::bug("a file is copied that the source does not have"))?;
                        self.read_file(entry, |size, file| tar.file(path, size, file, 0o644))
                    }),
                };
                match written {
                    Ok(written) => written?,
                    Err(error) => return Ok(Err(error)),
                }
            }
            let mut matcher = ignore.matcher();
            let replaced: BTreeSet<&Path> = extra.iter().map(|(path, _)| Path::new(path)).collect();
            for entry in &self.entries {
                if matcher.excludes(&entry.path) || replaced.contains(entry.path.as_path()) {
                    continue;
                }
                let written = match entry.kind {
                    EntryKind::File => self.read_file(entry, |size, file| tar.file(&entry.path, size, file, 0o644)),
                    EntryKind::Executable => {
                        self.read_file(entry, |size, file| tar.file(&entry.path, size, file, 0o755))
                    }
                    EntryKind::Symlink => self.content(entry).map(|target| tar.symlink(&entry.path, &target)),
                };
                match written {
                    Ok(written) => written?,
                    Err(error) => return Ok(Err(error)),
                }
            }
            tar.builder.finish()?;
            tar.builder.get_mut().flush()?;
            Ok(Ok(()))
        })();
        result.map_err(written)?
    }

    /// The entry at a path, with links followed as long as they stay within the source.
    fn resolve(&self, path: &Path) -> Result<Option<&Entry>> {
        let mut path = path.to_owned();
        for _ in 0..LINK_LIMIT {
            let Ok(index) = self.entries.binary_search_by(|entry| entry.path.as_path().cmp(&path)) else {
                return Ok(None);
            };
            let entry = &self.entries[index];
            if entry.kind != EntryKind::Symlink {
                return Ok(Some(entry));
            }
            let target = self.content(entry)?;
            let parent = path.parent().unwrap_or(Path::new(""));
            let Some(target) = within(parent, Path::new(OsStr::from_bytes(&target))) else { return Ok(None) };
            path = target;
        }
        Ok(None)
    }

    fn size(&self, entry: &Entry) -> Result<u64> {
        match (&*self.source, entry.object) {
            (Source::Git { repositories, .. }, Some((repository, oid))) => {
                let repository = locked(&repositories[repository]);
                let odb = repository.odb().map_err(unreadable)?;
                odb.read_header(oid).map(|(size, _)| size as u64).map_err(unreadable)
            }
            (Source::Directory(root), _) => {
                let path = root.join(&entry.path);
                fs::symlink_metadata(&path)
                    .map(|metadata| metadata.len())
                    .map_err(|error| unreadable_file(&path, &error))
            }
            (Source::Git { .. }, None) => Err(Error::bug("an entry of a commit without an object")),
        }
    }

    /// Passes the size of a file and its bytes to `work`. A large file is read piece by piece, if git has it as a loose
    /// object and not in a pack.
    fn read_file<T>(&self, entry: &Entry, work: impl FnOnce(u64, &mut dyn Read) -> T) -> Result<T> {
        let (Source::Git { repositories, .. }, Some((repository, oid))) = (&*self.source, entry.object) else {
            let content = self.content(entry)?;
            return Ok(work(content.len() as u64, &mut content.as_slice()));
        };
        let large = self.size(entry)? > LARGE;
        let repository = locked(&repositories[repository]);
        let odb = repository.odb().map_err(unreadable)?;
        if large && let Ok((mut reader, size, _)) = odb.reader(oid) {
            return Ok(work(size as u64, &mut reader));
        }
        let object = odb.read(oid).map_err(unreadable)?;
        Ok(work(object.len() as u64, &mut object.data()))
    }

    /// The bytes of a file, or the target of a link.
    fn content(&self, entry: &Entry) -> Result<Vec<u8>> {
        match (&*self.source, entry.object) {
            (Source::Git { repositories, .. }, Some((repository, oid))) => {
                let repository = locked(&repositories[repository]);
                let odb = repository.odb().map_err(unreadable)?;
                odb.read(oid).map(|object| object.data().to_vec()).map_err(unreadable)
            }
            (Source::Directory(root), _) => {
                let path = root.join(&entry.path);
                let content = match entry.kind {
                    EntryKind::Symlink => fs::read_link(&path).map(|target| target.into_os_string().into_vec()),
                    EntryKind::File | EntryKind::Executable => fs::read(&path),
                };
                content.map_err(|error| unreadable_file(&path, &error))
            }
            (Source::Git { .. }, None) => Err(Error::bug("an entry of a commit without an object")),
        }
    }
}

/// Walks the trees of a commit and of its submodules.
struct GitWalk<'a> {
    entries: Vec<Entry>,
    repositories: Vec<Repository>,
    submodules: &'a Submodules,
}

impl GitWalk<'_> {
    fn commit(&mut self, repository: usize, commit: Oid, prefix: &Path) -> Result<()> {
        let tree = self.repositories[repository].find_commit(commit).map_err(unreadable)?.tree_id();
        // A stack rather than recursion: a hostile tree can be nested deeper than the thread's stack.
        let mut pending = vec![(tree, prefix.to_owned())];
        let mut modules = Vec::new();
        while let Some((tree, directory)) = pending.pop() {
            if directory.components().count() > 200 {
                return Err(Error::Source(SourceError::Unreadable {
                    reason: format!("the directory {directory:?} is nested too deeply"),
                }));
            }
            let tree = self.repositories[repository].find_tree(tree).map_err(unreadable)?;
            for entry in tree.iter() {
                let path = directory.join(checked_name(entry.name_bytes())?);
                let kind = match entry.filemode_raw() & 0o170_000 {
                    0o040_000 => {
                        pending.push((entry.id(), path));
                        continue;
                    }
                    0o160_000 => {
                        modules.push((path, entry.id()));
                        continue;
                    }
                    0o120_000 => EntryKind::Symlink,
                    _ if entry.filemode_raw() & 0o111 != 0 => EntryKind::Executable,
                    _ => EntryKind::File,
                };
                self.entries.push(Entry { path, kind, object: Some((repository, entry.id())) });
            }
        }
        for (path, commit) in modules {
            let module = self
                .submodules
                .find(&path, commit)
                .ok_or_else(|| Error::bug(format!("the submodule {} was not fetched", path.display())))?;
            self.repositories.push(open(&module.repository)?);
            self.commit(self.repositories.len() - 1, commit, &path)?;
        }
        Ok(())
    }
}

/// Writes entries of a tar with headers that depend only on the source.
struct TarWriter<W: Write> {
    builder: tar::Builder<W>,
    directories: BTreeSet<PathBuf>,
    time: u64,
}

impl<W: Write> TarWriter<W> {
    fn file(&mut self, path: &Path, size: u64, content: impl Read, mode: u32) -> io::Result<()> {
        self.parents(path)?;
        let mut header = self.header(tar::EntryType::Regular, mode);
        header.set_size(size);
        self.builder.append_data(&mut header, path, content)
    }

    fn symlink(&mut self, path: &Path, target: &[u8]) -> io::Result<()> {
        self.parents(path)?;
        let mut header = self.header(tar::EntryType::Symlink, 0o777);
        self.builder.append_link(&mut header, path, OsStr::from_bytes(target))
    }

    /// Writes the directories above a path: Docker would create them with a mode of its own.
    fn parents(&mut self, path: &Path) -> io::Result<()> {
        let parents: Vec<_> = path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()).collect();
        for parent in parents.into_iter().rev() {
            if self.directories.insert(parent.to_owned()) {
                let mut header = self.header(tar::EntryType::Directory, 0o755);
                self.builder.append_data(&mut header, parent, io::empty())?;
            }
        }
        Ok(())
    }

    fn header(&self, kind: tar::EntryType, mode: u32) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.time);
        header.set_size(0);
        header
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

/// The text of a file, without a byte order mark.
fn text_of(bytes: &[u8]) -> String {
    let units = |pair_of: fn([u8; 2]) -> u16| -> Vec<u16> {
        bytes[2..].as_chunks::<2>().0.iter().map(|pair| pair_of(*pair)).collect()
    };
    let text = match bytes {
        [0xff, 0xfe, ..] => String::from_utf16_lossy(&units(u16::from_le_bytes)),
        [0xfe, 0xff, ..] => String::from_utf16_lossy(&units(u16::from_be_bytes)),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    };
    text.trim_start_matches('\u{feff}').to_owned()
}

/// A link's target as a path from the root of the source, or nothing if it leads out of the source.
fn within(parent: &Path, target: &Path) -> Option<PathBuf> {
    let mut path = parent.to_owned();
    for component in target.components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir if path.pop() => {}
            _ => return None,
        }
    }
    Some(path)
}

fn open(repository: &Path) -> Result<Repository> {
    Repository::open_bare(repository).map_err(unreadable)
}

fn locked(repository: &Mutex<Repository>) -> MutexGuard<'_, Repository> {
    repository.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::needless_pass_by_value, reason = "it is passed to map_err")]
fn unreadable(error: git2::Error) -> Error {
    Error::Source(SourceError::Unreadable { reason: error.message().to_owned() })
}

fn unreadable_file(path: &Path, error: &io::Error) -> Error {
    Error::Source(SourceError::Unreadable { reason: format!("{}: {error}", path.display()) })
}

/// Reads the content of a blob, for [`submodules`].
fn blob(repository: &Repository, oid: Oid) -> Result<Vec<u8>> {
    let odb = repository.odb().map_err(unreadable)?;
    match odb.read_header(oid).map_err(unreadable)? {
        (size, ObjectType::Blob) if size as u64 <= READ_LIMIT => {
            odb.read(oid).map(|object| object.data().to_vec()).map_err(unreadable)
        }
        _ => Err(Error::Source(SourceError::Unreadable {
            reason: ".gitmodules is not a file, or far too large".to_owned(),
        })),
    }
}

#[cfg(test)]
mod tests;
