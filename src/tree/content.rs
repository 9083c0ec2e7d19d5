//! What is in the files of a source.

use std::{
    ffi::OsStr,
    fs,
    hash::{Hash, Hasher},
    io::{self, BufRead, Read},
    ops::Range,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Component, Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use git2::Oid;
use rustix::fs::{Mode, OFlags};

use super::{Entry, EntryKind, Objects, READ_LIMIT, Source, Tree, submodules, unreadable, unreadable_file};
use crate::{
    Error, Result,
    error::SourceError,
    exec::{Bounds, Conversation},
    model::property,
    work::{Work, bytes, over},
};

/// How many symbolic links are followed for one file.
const LINK_LIMIT: usize = 8;

/// Files of more than this many bytes are read piece by piece, where that costs nothing.
const LARGE: u64 = 1 << 20;

/// Files of at least this many bytes are read piece by piece, even if that takes a child process of git.
pub(super) const STREAMED: u64 = 8 << 20;

/// The longest target of a link, in bytes: that of Linux.
const LONGEST_LINK: u64 = 4096;

impl Tree {
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

    /// The entry at a path, with links followed as long as they stay within the source.
    pub(super) fn resolve(&self, path: &Path) -> Result<Option<&Entry>> {
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
    pub(super) fn read_file<T>(
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
    pub(super) fn content(&self, entry: &Entry) -> Result<Vec<u8>> {
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

fn locked(repository: &Mutex<Objects>) -> MutexGuard<'_, Objects> {
    repository.lock().unwrap_or_else(PoisonError::into_inner)
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
