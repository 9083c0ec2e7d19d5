//! The files of a source as the tar that a build begins with.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    io::{self, Read, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{DockerIgnore, EntryKind, Source, Tree};
use crate::{
    Error, Result,
    model::property,
    work::{bytes, over},
};

/// A file of the build context beside those of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Added {
    /// With this content.
    Content(Vec<u8>),
    /// A file of the source, a second time. It is not read before the context is written.
    Copy(PathBuf),
}

impl Tree {
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
