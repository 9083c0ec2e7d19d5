//! The files of a source: from the objects of a bare git repository, without a work tree, or from a directory.
//!
//! A git tree may be hostile: entries named `..` or `.git`, and duplicate entries, are refused here, so that later code
//! cannot be led out of the build context.

mod addresses;
mod dockerignore;
mod submodules;
mod walk;

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    hash::{Hash, Hasher},
    io::{self, BufRead, Read, Write},
    ops::Range,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::PermissionsExt,
    },
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use dockerignore::DockerIgnore;
use git2::{Oid, Repository};
use rustix::fs::{Mode, OFlags};
use walk::Walk;

#[cfg(any(test, fuzzing))]
use crate::work::Limits;
use crate::{
    Error, Result,
    error::SourceError,
    exec::{Bounds, Conversation},
    model::{CommitId, property},
    work::{Work, bytes, over},
};

/// The largest file that is read as a manifest, in bytes.
const READ_LIMIT: u64 = 1 << 20;

/// The largest file that is read if a buildpack asks for it by name, in bytes: lock files can be this large.
pub const NAMED_LIMIT: u64 = 32 << 20;

/// How many symbolic links are followed for one file.
const LINK_LIMIT: usize = 8;

/// Files of more than this many bytes are read piece by piece, where that costs nothing.
const LARGE: u64 = 1 << 20;

/// Files of at least this many bytes are read piece by piece, even if that takes a child process of git.
const STREAMED: u64 = 8 << 20;

/// The longest target of a link, in bytes: that of Linux.
const LONGEST_LINK: u64 = 4096;

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
        self.work.count_read(mark(entry), size)?;
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
        let size = self.size(entry)?;
        if size > READ_LIMIT {
            return Ok(None);
        }
        self.work.count_read(mark(entry), size)?;
        let mut head = self.content(entry)?;
        head.truncate(limit);
        Ok(Some(head))
    }

    /// Whether a file has a size within a range and begins with one of these bytes. Only files of such a size are read.
    ///
    /// # Errors
    /// `SourceError::Unreadable` if it cannot be read.
    pub fn begins_with(&self, entry: &Entry, sizes: &Range<u64>, beginnings: &[&[u8]]) -> Result<bool> {
        self.work.check()?;
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

    /// Writes the files as a tar, with the `extra` files first; these replace files of the same path. Small files are
    /// read as a whole, one at a time; larger ones piece by piece. The same commit makes the same bytes. The files have
    /// the time of the commit, which Docker's cache ignores and web servers use for `ETag`.
    ///
    /// # Errors
    /// `SourceError::Unreadable` if an object cannot be read, `SourceError::Limit` if a file or all together are too
    /// large, [`Error::Host`] if `out` cannot be written.
    pub fn write_tar(&self, out: impl Write, extra: &[(String, Added)], ignore: &DockerIgnore) -> Result<()> {
        let written = Error::io("write the build context");
        let mut tar = TarWriter { builder: tar::Builder::new(out), directories: BTreeSet::new(), time: 0 };
        if let Source::Git { time, .. } = *self.source {
            tar.time = time;
        }
        let mut all = 0;
        let limit = self.work.limits().size;
        let mut fits = |size: u64| {
            all += size;
            let what = "the files of the build context are too large together";
            if all > limit { Err(over(what, bytes(limit), &property::SOURCE_MAX_SIZE)) } else { Ok(()) }
        };
        let result: io::Result<Result<()>> = (|| {
            for (path, added) in extra {
                let path = Path::new(path);
                let written = match added {
                    Added::Content(content) => Ok(tar.file(path, content.len() as u64, content.as_slice(), 0o644)),
                    Added::Copy(from) => self.resolve(from).and_then(|entry| {
                        let entry =
                            entry.ok_or_else(|| Error::bug("a file is copied that the source does not have"))?;
                        self.read_file(entry, &mut fits, |size, file| tar.file(path, size, file, 0o644))
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
                if let Err(error) = self.work.check() {
                    return Ok(Err(error));
                }
                if matcher.excludes(&entry.path) || replaced.contains(entry.path.as_path()) {
                    continue;
                }
                let written = match entry.kind {
                    EntryKind::File => {
                        self.read_file(entry, &mut fits, |size, file| tar.file(&entry.path, size, file, 0o644))
                    }
                    EntryKind::Executable => {
                        self.read_file(entry, &mut fits, |size, file| tar.file(&entry.path, size, file, 0o755))
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
                let objects = locked(&repositories[repository]);
                let odb = objects.repository.odb().map_err(unreadable)?;
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

    /// Passes the size of a file and its bytes to `work`, once `fits` has agreed. A large file is read piece by piece:
    /// from a loose object here, from a pack by a child of git, because libgit2 would have all of it in memory.
    fn read_file<T>(
        &self,
        entry: &Entry,
        fits: &mut impl FnMut(u64) -> Result<()>,
        work: impl FnOnce(u64, &mut dyn Read) -> T,
    ) -> Result<T> {
        let size = self.size(entry)?;
        let limit = self.work.limits().file;
        if size > limit {
            let what = format!("the file {} has {size} bytes", entry.path.display());
            return Err(over(what, bytes(limit), &property::SOURCE_MAX_FILE));
        }
        fits(size)?;
        let (Source::Git { repositories, .. }, Some((repository, oid))) = (&*self.source, entry.object) else {
            let content = self.content(entry)?;
            return Ok(work(content.len() as u64, &mut content.as_slice()));
        };
        let mut objects = locked(&repositories[repository]);
        if size > LARGE {
            let odb = objects.repository.odb().map_err(unreadable)?;
            if let Ok((mut reader, size, _)) = odb.reader(oid) {
                return Ok(work(size as u64, &mut reader));
            }
        }
        if size >= STREAMED {
            return objects.stream(oid, size, &self.work, work);
        }
        let odb = objects.repository.odb().map_err(unreadable)?;
        let object = odb.read(oid).map_err(unreadable)?;
        Ok(work(object.len() as u64, &mut object.data()))
    }

    /// The bytes of a file, or the target of a link.
    fn content(&self, entry: &Entry) -> Result<Vec<u8>> {
        if entry.kind == EntryKind::Symlink && self.size(entry)? > LONGEST_LINK {
            return Err(Error::Source(SourceError::Unreadable {
                reason: format!("the link {} is longer than {LONGEST_LINK} bytes", entry.path.display()),
            }));
        }
        match (&*self.source, entry.object) {
            (Source::Git { repositories, .. }, Some((repository, oid))) => {
                let objects = locked(&repositories[repository]);
                let odb = objects.repository.odb().map_err(unreadable)?;
                odb.read(oid).map(|object| object.data().to_vec()).map_err(unreadable)
            }
            (Source::Directory(root), _) => {
                let path = root.join(&entry.path);
                let content = match entry.kind {
                    EntryKind::Symlink => fs::read_link(&path).map(|target| target.into_os_string().into_vec()),
                    EntryKind::File | EntryKind::Executable => read_regular(&path),
                };
                content.map_err(|error| unreadable_file(&path, &error))
            }
            (Source::Git { .. }, None) => Err(Error::bug("an entry of a commit without an object")),
        }
    }
}

impl Objects {
    /// Passes the bytes of an object to `work`, as git gives them.
    fn stream<T>(&mut self, oid: Oid, size: u64, of: &Work, work: impl FnOnce(u64, &mut dyn Read) -> T) -> Result<T> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let mut git = submodules::git(&self.path);
                // Git streams what is larger than this, and has all else in its memory.
                git.args(["-c", "core.bigFileThreshold=1m", "cat-file", "--batch"]);
                Conversation::start(git, Bounds::default(), of)?
            }
        };
        let failed = Error::io("read a large file from git");
        let answer = (|| {
            stream.say(format!("{oid}\n").as_bytes())?;
            let mut head = String::new();
            stream.output().take(1000).read_line(&mut head)?;
            Ok(head)
        })();
        let head: String = answer.map_err(failed)?;
        if head.trim_end() != format!("{oid} blob {size}") {
            let reason = format!("git says {:?} of an object of {size} bytes", head.trim_end());
            return Err(Error::Source(SourceError::Unreadable { reason }));
        }
        let mut content = stream.output().take(size);
        let done = work(size, &mut content);
        // Else the next answer would begin with the rest of this one.
        let is_whole = content.limit() == 0 && stream.output().read_exact(&mut [0]).is_ok();
        self.stream = is_whole.then_some(stream);
        Ok(done)
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

/// A number that tells a file from all others, by its object or its path.
fn mark(entry: &Entry) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    match entry.object {
        Some((_, oid)) => oid.hash(&mut hasher),
        None => entry.path.hash(&mut hasher),
    }
    hasher.finish()
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

fn locked(repository: &Mutex<Objects>) -> MutexGuard<'_, Objects> {
    repository.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::needless_pass_by_value, reason = "it is passed to map_err")]
fn unreadable(error: git2::Error) -> Error {
    Error::Source(SourceError::Unreadable { reason: error.message().to_owned() })
}

fn unreadable_file(path: &Path, error: &io::Error) -> Error {
    Error::Source(SourceError::Unreadable { reason: format!("{}: {error}", path.display()) })
}

/// The bytes of a file. Links, pipes and devices are not opened, or not waited for.
fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    Ok(content)
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

#[cfg(test)]
mod tests;
