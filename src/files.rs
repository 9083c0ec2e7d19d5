//! The files of an instance: the one place that reads and writes them. They are their owner's alone, they are never
//! seen half written, and what somebody put in the place of one is no trouble: other bytes, a directory, a pipe, a
//! socket, a link to nowhere. Nothing is waited for, and what is not ours to begin with is not followed.
//!
//! There are two kinds. What we can write again is *ours* ([`read_ours`], [`write_whole`], [`create`], [`append`],
//! [`open_shared`], [`make_private_directory`]): where it is spoilt, it counts as not there, and is written anew. What
//! only a backup has again is *kept* ([`read_kept`], [`require_file`], [`make_kept_directory`]): where it is spoilt,
//! that is an error which says what to do.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::{Error, Result, clock, error::HostError};

/// The most that is read of a file of ours: more than we ever write.
const READ_MAX: u64 = 64 * 1024 * 1024;
/// How often a file is opened again that somebody replaces at the same time.
const TRIES: u32 = 10;

/// Keeps all files that this process and its children make from others, whatever umask it was started with.
pub fn keep_from_others() {
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
}

/// Opens a file for reading; nothing if it is not there, or if something else is in its place.
///
/// # Errors
/// [`Error::Host`].
pub fn open_optional(path: &Path) -> Result<Option<File>> {
    match open(path, OpenOptions::new().read(true)) {
        Ok(Opened::File(file)) => Ok(Some(file)),
        Ok(Opened::Missing | Opened::Other) => Ok(None),
        Err(error) => Err(Error::io(format!("read {}", path.display()))(error)),
    }
}

/// Reads a text of ours; nothing if it is not there, or if what is there cannot be a text of ours. Bytes that are no text
/// are replaced, so that it is not equal to what should be there.
///
/// # Errors
/// [`Error::Host`].
pub fn read_ours(path: &Path) -> Result<Option<String>> {
    let Some(file) = open_optional(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(READ_MAX + 1).read_to_end(&mut bytes).map_err(Error::io(format!("read {}", path.display())))?;
    Ok((bytes.len() as u64 <= READ_MAX).then(|| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Reads the text of a file that only a backup has again; nothing if it is not there. Bytes that are no text are
/// replaced: whoever reads it refuses them.
///
/// # Errors
/// [`Error::Host`]; `HostError::InTheWay` where something else is in its place.
pub fn read_kept(path: &Path) -> Result<Option<String>> {
    Ok(if require_file(path)? { read_ours(path)? } else { None })
}

/// Refuses a path that has something else than a file. Returns whether there is a file.
///
/// # Errors
/// `HostError::InTheWay`.
pub fn require_file(path: &Path) -> Result<bool> {
    match what_is(path) {
        None => Ok(false),
        Some(What::File) => Ok(true),
        Some(found) => {
            Err(Error::Host(HostError::InTheWay { path: path.to_owned(), found: found.words(), wanted: "a file" }))
        }
    }
}

/// What is at a path. A link is what it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    File,
    Directory,
    /// A link that leads nowhere, or in a circle.
    Dangling,
    Pipe,
    Socket,
    Device,
}

impl What {
    fn words(self) -> &'static str {
        match self {
            What::File => "a file",
            What::Directory => "a directory",
            What::Dangling => "a link that leads nowhere",
            What::Pipe => "a pipe",
            What::Socket => "a socket",
            What::Device => "a device",
        }
    }
}

fn what_is(path: &Path) -> Option<What> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        // One that is no link has come to be meanwhile.
        Err(_) => fs::symlink_metadata(path).ok()?,
    };
    if metadata.is_symlink() {
        return Some(What::Dangling);
    }
    let kind = metadata.file_type();
    Some(match kind {
        _ if kind.is_file() => What::File,
        _ if kind.is_dir() => What::Directory,
        _ if kind.is_fifo() => What::Pipe,
        _ if kind.is_socket() => What::Socket,
        _ => What::Device,
    })
}

/// What opening a path gave.
enum Opened {
    /// A file, which is its owner's alone now.
    File(File),
    /// Nothing is there.
    Missing,
    /// Something else is there.
    Other,
}

/// Opens a file. Never waits, as for the other end of a pipe, and makes nothing.
fn open(path: &Path, options: &OpenOptions) -> io::Result<Opened> {
    match what_is(path) {
        None => return Ok(Opened::Missing),
        Some(What::File) => {}
        Some(_) => return Ok(Opened::Other),
    }
    let mut options = options.clone();
    options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let opened = match options.open(path) {
        // Its owner can always have it back.
        Err(error) if error.kind() == ErrorKind::PermissionDenied && set_private(path).is_ok() => options.open(path),
        opened => opened,
    };
    match opened {
        Ok(file) if file.metadata()?.is_file() => {
            keep_private(&file);
            Ok(Opened::File(file))
        }
        Ok(_) => Ok(Opened::Other),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Opened::Missing),
        Err(error) if error.kind() == ErrorKind::IsADirectory => Ok(Opened::Other),
        Err(error) => Err(error),
    }
}

/// Opens a file of ours, made where there is none, in place of whatever else is there.
fn open_or_make(path: &Path, options: &OpenOptions) -> io::Result<File> {
    let mut last = io::Error::from(ErrorKind::AlreadyExists);
    for _ in 0..TRIES {
        match open(path, options)? {
            Opened::File(file) => return Ok(file),
            Opened::Missing => {}
            Opened::Other => make_way(path)?,
        }
        // What came there in the meantime is not followed.
        match options.clone().create_new(true).mode(0o600).open(path) {
            Ok(file) => {
                keep_private(&file);
                return Ok(file);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

/// Opens a file that several processes have at once, for locks and the texts in them; makes it where there is none.
///
/// # Errors
/// An I/O error.
pub fn open_shared(path: &Path) -> io::Result<File> {
    open_or_make(path, OpenOptions::new().read(true).write(true))
}

/// Whether what was opened is still what others find at its path.
pub fn is_still_at(file: &File, path: &Path) -> bool {
    let place = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    file.metadata().is_ok_and(|own| fs::metadata(path).is_ok_and(|there| place(own) == place(there)))
}

/// Opens a file to append to, made where there is none, in a directory that is made where there is none.
///
/// # Errors
/// [`Error::Host`].
pub fn append(path: &Path) -> Result<File> {
    make_directory_of(path)?;
    open_or_make(path, OpenOptions::new().append(true)).map_err(Error::io(format!("write {}", path.display())))
}

/// Makes a file, empty, in the place of what is there, in a directory that is made where there is none.
///
/// # Errors
/// [`Error::Host`].
pub fn create(path: &Path) -> Result<File> {
    make_directory_of(path)?;
    let make = || -> io::Result<File> {
        let file = open_or_make(path, OpenOptions::new().write(true))?;
        file.set_len(0)?;
        Ok(file)
    };
    make().map_err(Error::io(format!("write {}", path.display())))
}

fn make_directory_of(path: &Path) -> Result<()> {
    path.parent().map_or(Ok(()), make_private_directory)
}

/// Takes what is no file out of the place of one. What can hold nothing is removed; a directory that holds something is
/// moved aside. One process at a time does so, or it could remove what another has just made.
fn make_way(path: &Path) -> io::Result<()> {
    let parent = File::open(path.parent().unwrap_or(Path::new("/")))?;
    rustix::io::retry_on_intr(|| flock(&parent, FlockOperation::LockExclusive))?;
    match what_is(path) {
        None | Some(What::File) => Ok(()),
        Some(found) => {
            tracing::warn!("{} is {}: it is written again", path.display(), found.words());
            remove_or_move_aside(path)
        }
    }
}

/// Takes away whatever is at a path: for what is no file, a socket or a link of ours.
///
/// # Errors
/// [`Error::Host`].
pub fn clear(path: &Path) -> Result<()> {
    remove_or_move_aside(path).map_err(Error::io(format!("remove {}", path.display())))
}

fn remove_or_move_aside(path: &Path) -> io::Result<()> {
    let is_directory = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let removed = if is_directory { fs::remove_dir(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => move_aside(path).map(drop),
        removed => removed,
    }
}

/// Gives what is at a path another name beside it, and returns that.
///
/// # Errors
/// An I/O error.
pub fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let time = clock::rfc3339(clock::now()).replace([':', '-'], "");
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{time}.{}.aside", std::process::id()));
    let aside = PathBuf::from(aside);
    fs::rename(path, &aside)?;
    tracing::warn!("{} was in the way, and is now {}", path.display(), aside.display());
    Ok(aside)
}

/// Writes a file so that at any moment, and after any crash, it is whole: the old one or the new one. One process at a
/// time may do this to a path; what a killed one leaves is [`draft`], and the next writes over it.
///
/// # Errors
/// [`Error::Host`].
pub fn write_whole(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let write = || -> io::Result<()> {
        let draft = draft(path);
        write_synced(&draft, content, mode)?;
        replace(&draft, path)
    };
    write().map_err(Error::io(format!("write {}", path.display())))
}

/// Gives a file that is whole its name, in the place of whatever has it.
fn replace(from: &Path, path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
        make_way(path)?;
    }
    fs::rename(from, path)?;
    sync_directory_of(path)
}

/// Makes a link whole, in the place of whatever has its name.
///
/// # Errors
/// [`Error::Host`].
pub fn link(target: &Path, path: &Path) -> Result<()> {
    let mut own = path.as_os_str().to_owned();
    own.push(format!(".{}", std::process::id()));
    let own = PathBuf::from(own);
    let link = || -> io::Result<()> {
        remove_or_move_aside(&own)?;
        std::os::unix::fs::symlink(target, &own)?;
        if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
            remove_or_move_aside(path)?;
        }
        fs::rename(&own, path)
    };
    link().map_err(Error::io(format!("link {}", path.display())))
}

/// Writes a file that is not there yet, whole. If several processes do this at once, the first one's file stays, and
/// all of them succeed.
///
/// # Errors
/// [`Error::Host`].
pub fn write_once(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let mut own = draft(path).into_os_string();
    own.push(format!(".{}", std::process::id()));
    let own = PathBuf::from(own);
    let write = || -> io::Result<()> {
        write_synced(&own, content, mode)?;
        match fs::hard_link(&own, path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => sync_directory_of(path),
        }
    };
    let written = write();
    remove_if_there(&own)?;
    written.map_err(Error::io(format!("write {}", path.display())))
}

/// Makes an empty file that only its owner may read, whatever the umask, if there is none. A file that is there is not
/// opened, and becomes its owner's alone.
///
/// # Errors
/// [`Error::Host`].
pub fn make_private_file(path: &Path) -> Result<()> {
    let make = || -> io::Result<()> {
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            Ok(_) => set_private(path),
            Err(_) => match fs::metadata(path)?.permissions().mode() & 0o777 {
                0o600 => Ok(()),
                _ => set_private(path),
            },
        }
    };
    make().map_err(Error::io(format!("make {} private", path.display())))
}

fn set_private(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}

/// Takes all rights to a file but its owner's away, if they are ours to take.
fn keep_private(file: &File) {
    if file.metadata().is_ok_and(|metadata| metadata.mode() & 0o777 != 0o600) {
        let _ = file.set_permissions(fs::Permissions::from_mode(0o600));
    }
}

/// The names of directories below which others than we keep the rights of files: git, Caddy, users.
const OTHERS: [&str; 8] = ["repos", "submodules", "storage", "data", "config", "volumes", "buildpacks", "tmp"];

/// Takes the rights of others away from all files below a directory that are ours. What is gone by now, or belongs to
/// somebody else, is left.
pub fn keep_all_private(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(metadata) = fs::symlink_metadata(entry.path()) else { continue };
        let (is_directory, is_file) = (metadata.is_dir(), metadata.is_file());
        if (is_directory || is_file) && metadata.mode() & 0o077 != 0 {
            let _ = fs::set_permissions(entry.path(), fs::Permissions::from_mode(metadata.mode() & 0o700));
        }
        if is_directory && !OTHERS.iter().any(|name| entry.file_name() == *name) {
            keep_all_private(&entry.path());
        }
    }
}

/// Makes a directory, and those above it, that only its owner may enter, if there is none. What is there instead is
/// moved aside.
///
/// # Errors
/// [`Error::Host`].
pub fn make_private_directory(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let make = || -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        let Err(error) = builder.create(path) else { return Ok(()) };
        // The first from above that is there and is no directory.
        let mut above: Vec<(&Path, What)> =
            path.ancestors().filter_map(|path| what_is(path).map(|what| (path, what))).collect();
        above.reverse();
        match above.into_iter().find(|(_, what)| *what != What::Directory) {
            // A link above it may lead to a disk that is not mounted yet.
            Some((found, What::Dangling)) if found != path => return Err(error),
            Some((found, _)) => move_aside(found)?,
            None if path.is_dir() => return Ok(()),
            None => return Err(error),
        };
        builder.create(path)
    };
    make().map_err(Error::io(format!("make {}", path.display())))
}

/// [`make_private_directory`] for one whose content only a backup has again: what is there instead stays.
///
/// # Errors
/// [`Error::Host`]; `HostError::InTheWay`.
pub fn make_kept_directory(path: &Path) -> Result<()> {
    match what_is(path) {
        None => make_private_directory(path),
        Some(What::Directory) => Ok(()),
        Some(found) => {
            Err(Error::Host(HostError::InTheWay { path: path.to_owned(), found: found.words(), wanted: "a directory" }))
        }
    }
}

/// What [`write_whole`] writes before it gets its name.
pub fn draft(path: &Path) -> PathBuf {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".draft");
    draft.into()
}

/// Removes a file, a link, or a directory with all that is in it, and returns whether it was there.
///
/// # Errors
/// [`Error::Host`].
pub fn remove_if_there(path: &Path) -> Result<bool> {
    let is_directory = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let removed = if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    if_there(removed, || format!("remove {}", path.display())).map(|removed| removed.is_some())
}

/// The paths in a directory, in no order; none if there is no directory.
///
/// # Errors
/// [`Error::Host`].
pub fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let action = || format!("list {}", directory.display());
    let listed = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotADirectory => return Ok(Vec::new()),
        listed => if_there(listed, action)?,
    };
    listed.into_iter().flatten().map(|entry| entry.map(|entry| entry.path()).map_err(Error::io(action()))).collect()
}

/// What an operation gave; nothing if the file was not there.
fn if_there<T>(result: io::Result<T>, action: impl FnOnce() -> String) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(action())(error)),
    }
}

fn write_synced(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    remove_or_move_aside(path)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// A new name is on the disk only once its directory is.
fn sync_directory_of(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// A file that is in memory only and has no name for others, with its content, to be read from its beginning.
///
/// # Errors
/// [`Error::Host`].
pub fn in_memory(what: &str, content: &[u8]) -> Result<File> {
    let action = || format!("keep the {what} in memory");
    let file = rustix::fs::memfd_create(what, rustix::fs::MemfdFlags::CLOEXEC);
    let mut file = File::from(file.map_err(|errno| Error::io(action())(errno.into()))?);
    file.write_all(content).and_then(|()| file.rewind()).map_err(Error::io(action()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// The ways in which a file is spoilt, and what has the name of the way then.
    type Spoil = fn(&Path);
    const WAYS: [(&str, Spoil); 12] = [
        ("removed", |_| {}),
        ("empty", |path| fs::write(path, "").unwrap()),
        ("zeros", |path| fs::write(path, [0; 5000]).unwrap()),
        ("not a text", |path| fs::write(path, (0..=255).cycle().take(3000).collect::<Vec<u8>>()).unwrap()),
        ("huge", |path| File::create(path).unwrap().set_len(READ_MAX + 1).unwrap()),
        ("closed and open to all", |path| {
            fs::write(path, "x").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
        }),
        ("a directory", |path| fs::create_dir(path).unwrap()),
        ("a full directory", |path| {
            fs::create_dir(path).unwrap();
            fs::write(path.join("somebody's"), "x").unwrap();
        }),
        ("a pipe", |path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap()),
        ("a socket", |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap())),
        ("a link to nowhere", |path| symlink(path.with_file_name("nowhere"), path).unwrap()),
        ("a link in a circle", |path| symlink(path, path).unwrap()),
    ];

    /// Does something to a file that is spoilt in each way.
    fn spoilt(work: impl Fn(&str, &Path)) {
        for (way, spoil) in WAYS {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("file");
            spoil(&path);
            work(way, &path);
            assert!(!directory.path().join("nowhere").exists(), "{way}: a link was followed");
            let aside = entries(directory.path()).unwrap();
            let aside = aside.iter().filter(|path| path.extension().is_some_and(|end| end == "aside"));
            let kept = aside.map(|path| fs::read_to_string(path.join("somebody's")).unwrap()).collect::<Vec<_>>();
            let there = path.join("somebody's").exists();
            assert_eq!(kept == ["x"] || there, way == "a full directory", "{way}: what somebody has is lost");
        }
    }

    fn is_private(path: &Path) -> bool {
        let metadata = fs::symlink_metadata(path).unwrap();
        metadata.is_file() && metadata.mode() & 0o777 == 0o600
    }

    #[test]
    fn what_is_ours_is_read_written_and_locked_whatever_is_in_its_place() {
        spoilt(|way, path| assert_ne!(read_ours(path).unwrap().as_deref(), Some("ours"), "{way}"));
        spoilt(|way, path| {
            write_whole(path, b"ours", 0o600).unwrap();
            assert!(is_private(path), "{way}");
            assert_eq!(read_ours(path).unwrap().as_deref(), Some("ours"), "{way}");
        });
        spoilt(|way, path| {
            // Also what a killed process left half written.
            let draft = draft(path);
            fs::rename(path, &draft).or_else(|_| fs::create_dir(&draft)).unwrap();
            write_whole(path, b"ours", 0o600).unwrap();
            assert_eq!(read_ours(path).unwrap().as_deref(), Some("ours"), "{way}");
        });
        spoilt(|way, path| {
            create(path).unwrap().write_all(b"ours").unwrap();
            assert!(is_private(path), "{way}");
            assert_eq!(read_ours(path).unwrap().as_deref(), Some("ours"), "{way}");
        });
        spoilt(|way, path| {
            append(path).unwrap().write_all(b"ours").unwrap();
            assert!(is_private(path), "{way}");
            assert!(fs::read(path).unwrap().ends_with(b"ours"), "{way}");
        });
        spoilt(|way, path| {
            let file = open_shared(path).unwrap();
            assert!(is_still_at(&file, path) && is_private(path), "{way}");
        });
        spoilt(|way, path| {
            link(Path::new("/bin/true"), path).unwrap();
            assert_eq!(fs::read_link(path).unwrap(), Path::new("/bin/true"), "{way}");
        });
        spoilt(|way, path| {
            let there = open_optional(path).unwrap();
            assert_eq!(there.is_some(), path.is_file(), "{way}");
        });
    }

    #[test]
    fn a_directory_of_ours_is_made_in_place_of_a_file_which_is_kept() {
        for (way, spoil) in WAYS {
            let root = tempfile::tempdir().unwrap();
            let path = root.path().join("locks");
            spoil(&path);
            make_private_directory(&path.join("more")).map_or_else(
                // A link above may be one to a disk that is away.
                |_| assert!(way.starts_with("a link"), "{way}"),
                |()| assert!(path.join("more").is_dir(), "{way}"),
            );
            make_private_directory(&path).unwrap();
            assert!(path.is_dir(), "{way}");
            let content = |path: &PathBuf| path.is_file().then(|| fs::metadata(path).unwrap().len());
            let found = entries(root.path()).unwrap().iter().filter_map(content).collect::<Vec<_>>();
            assert_eq!(
                found.len(),
                usize::from(["empty", "zeros", "not a text", "huge"].contains(&way) || way.starts_with("closed")),
                "{way}"
            );
        }
    }

    #[test]
    fn what_only_a_backup_has_again_is_left_and_named() {
        spoilt(|way, path| {
            let read = read_kept(path);
            match way {
                "removed" => assert_eq!(read.unwrap(), None),
                "huge" | "empty" | "zeros" | "not a text" | "closed and open to all" => assert!(read.is_ok(), "{way}"),
                _ => {
                    let said = read.unwrap_err().to_string();
                    let words = way
                        .replace("full ", "")
                        .replace("to nowhere", "that leads nowhere")
                        .replace("in a circle", "that leads nowhere");
                    assert!(said.contains(&words) && said.contains("should be a file"), "{way}: {said}");
                    let directory = make_kept_directory(path).map_err(|error| error.to_string());
                    assert_eq!(directory.is_ok(), way.ends_with("directory"), "{way}: {directory:?}");
                }
            }
        });
    }

    #[test]
    fn two_who_heal_a_file_at_once_have_the_same_one() {
        for (way, spoil) in WAYS {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("file");
            spoil(&path);
            let files: Vec<File> = std::thread::scope(|scope| {
                let opening: Vec<_> = (0..8).map(|_| scope.spawn(|| open_shared(&path).unwrap())).collect();
                opening.into_iter().map(|opening| opening.join().unwrap()).collect()
            });
            assert!(files.iter().all(|file| is_still_at(file, &path)), "{way}");
        }
    }

    #[test]
    fn what_is_not_there_is_nothing_and_what_cannot_be_read_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        assert_eq!(read_ours(&missing).unwrap(), None);
        assert!(open_optional(&missing).unwrap().is_none());
        assert!(entries(&missing).unwrap().is_empty());
        assert!(!remove_if_there(&missing).unwrap());
        assert!(read_kept(directory.path()).is_err());
    }

    #[test]
    fn a_file_is_replaced_whole_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(draft(&path), "what a killed process left, which is longer").unwrap();
        write_whole(&path, b"old", 0o600).unwrap();
        let old = File::open(&path).unwrap();
        write_whole(&path, b"new", 0o600).unwrap();
        assert_eq!(read_ours(&path).unwrap().as_deref(), Some("new"));
        assert_eq!(io::read_to_string(old).unwrap(), "old", "who reads the old file is not disturbed");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(entries(directory.path()).unwrap(), [path]);
    }

    #[test]
    fn a_file_written_once_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        write_once(&path, b"first", 0o600).unwrap();
        write_once(&path, b"second", 0o600).unwrap();
        assert_eq!(read_ours(&path).unwrap().as_deref(), Some("first"));
        assert_eq!(entries(directory.path()).unwrap(), [path]);
    }

    #[test]
    fn a_link_is_removed_and_what_it_names_stays() {
        let directory = tempfile::tempdir().unwrap();
        let kept = directory.path().join("kept");
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "").unwrap();
        let link = directory.path().join("link");
        symlink(&kept, &link).unwrap();
        assert!(remove_if_there(&link).unwrap());
        assert!(kept.join("file").exists() && !link.exists());
        assert!(remove_if_there(&kept).unwrap());
        assert!(!kept.exists());
    }
}
