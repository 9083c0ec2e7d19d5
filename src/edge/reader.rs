//! Keeps the table that is answered from as the database is: read anew at every nudge, and when the database changed.

use std::{
    ffi::OsStr,
    net::TcpListener,
    os::{
        fd::OwnedFd,
        unix::{
            ffi::OsStrExt,
            fs::{MetadataExt, PermissionsExt},
            net::UnixDatagram,
        },
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use super::{
    relay::Relay,
    sockets::{self, HAND_OVER, Sockets},
};
use crate::{
    Error, Result, clock, files,
    proxy::{Table, check_socket_path},
    secrets::Secrets,
    settings::Settings,
    store::Store,
};

/// How often the database is looked at without a nudge.
pub(super) const LOOK: Duration = Duration::from_millis(250);
/// Within how many milliseconds two writes may have the same time.
const CLOCK_STEP_MS: i64 = 100;
/// What a datagram to the nudge socket begins with that is an order: to become the binary at the path which follows.
pub(super) const BECOME: u8 = b'x';
/// The longest path, with the byte before it and the mark after it.
const ORDER_MAX: usize = 4200;

/// The table that is answered from now. It is exchanged whole.
#[derive(Clone, Debug)]
pub struct Shared(Arc<RwLock<Arc<Table>>>);

impl Shared {
    /// Shares a table.
    pub(super) fn new(table: Table) -> Shared {
        Shared(Arc::new(RwLock::new(Arc::new(table))))
    }

    /// The table now.
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Exchanges it.
    pub(super) fn set(&self, table: Table) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }
}

/// Reads the table, and has the relay follow it.
#[derive(Debug)]
pub struct Reader {
    settings: Settings,
    secrets: Secrets,
    shared: Shared,
    relay: Arc<Relay>,
    database: Mutex<Database>,
}

impl Reader {
    /// Reads it for the first time. `ports`: sockets of ports that lead to apps, which listen already.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(super) fn new(settings: &Settings, ports: Vec<TcpListener>) -> Result<Reader> {
        let secrets = Secrets::at(&settings.paths.secret_key());
        let mut database = Database::new(settings.paths.database());
        let table = database.read(settings, &secrets, None)?;
        let (shared, database) = (Shared::new(table), Mutex::new(database));
        let relay = Arc::new(Relay::new(shared.clone()));
        relay.follow(&shared.table(), ports);
        Ok(Reader { settings: settings.clone(), secrets, shared, relay, database })
    }

    /// The table that is answered from.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// What relays connections to ports.
    pub(super) fn relay(&self) -> &Arc<Relay> {
        &self.relay
    }

    /// Reads the table anew. When this returns, what was committed before it was called is answered.
    ///
    /// # Errors
    /// [`Error::Store`]: then all is answered as before.
    pub fn read(&self) -> Result<()> {
        let mut database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let table = database.read(&self.settings, &self.secrets, Some(&self.shared.table()))?;
        self.shared.set(table);
        self.relay.follow(&self.shared.table(), Vec::new());
        Ok(())
    }

    fn has_changed(&self) -> bool {
        self.database.lock().unwrap_or_else(PoisonError::into_inner).has_changed()
    }
}

/// The order to make place for another binary.
#[derive(Debug)]
pub(super) struct Become {
    /// The binary.
    pub binary: PathBuf,
    /// What it is to write into the lock; the resolver of 0.1.0 knows none.
    pub mark: Option<String>,
}

impl Become {
    /// As a datagram to the nudge socket.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [&[BECOME], self.binary.as_os_str().as_bytes()].concat();
        if let Some(mark) = &self.mark {
            bytes.push(0);
            bytes.extend_from_slice(mark.as_bytes());
        }
        bytes
    }

    fn parse(order: &[u8]) -> Become {
        let mut parts = order.splitn(2, |byte| *byte == 0);
        let binary = PathBuf::from(OsStr::from_bytes(parts.next().unwrap_or_default()));
        let mark = parts.next().and_then(|mark| String::from_utf8(mark.to_vec()).ok());
        Become { binary, mark }
    }
}

/// Reads the table at every nudge and at every change of the database, and hands the sockets to whoever asks for them,
/// until told to stop or ordered to make place.
pub(super) fn watch(
    mut nudges: Nudges,
    reader: &Reader,
    sockets: &Sockets,
    order: &mpsc::Sender<Become>,
    stop: &AtomicBool,
) {
    let mut failed = false;
    let mut buffer = [0; ORDER_MAX];
    while !stop.load(Ordering::Relaxed) {
        let mut nudged = false;
        while let Ok((length, received)) = sockets::receive(&nudges.socket, &mut buffer) {
            match buffer[..length].split_first() {
                Some((&BECOME, rest)) => {
                    let _ = order.send(Become::parse(rest));
                    return;
                }
                Some((&HAND_OVER, _)) => hand_over(sockets, reader.relay(), received),
                // Those that came meanwhile are served by the same reading.
                _ => nudged = true,
            }
            let _ = nudges.socket.set_nonblocking(true);
        }
        let _ = nudges.socket.set_nonblocking(false);
        nudges.listen_again();
        if !nudged && !reader.has_changed() {
            reader.relay().try_again();
            continue;
        }
        match reader.read() {
            Ok(()) => failed = false,
            Err(error) => {
                // Once, not four times a second for as long as it lasts.
                if !failed {
                    tracing::warn!("the edge keeps what it knows: {}", error.one_line());
                }
                failed = true;
            }
        }
    }
}

fn hand_over(sockets: &Sockets, relay: &Relay, to: Vec<OwnedFd>) {
    for to in to {
        let all = sockets.try_clone().and_then(|sockets| Ok(Sockets { ports: relay.listeners()?, ..sockets }));
        if let Err(error) = all.and_then(|sockets| sockets.send(to)) {
            tracing::warn!("the edge's sockets are not handed over: {error}");
        }
    }
}

/// The database as the edge looks at it: opened to be read when it has changed, and closed again, so that nothing of
/// it is held by a process that runs for ever. Whoever stops the daemon finds one file with everything in it, and may put
/// another in its place.
#[derive(Debug)]
struct Database {
    path: PathBuf,
    seen: Option<Stamp>,
}

/// What tells that something was written: of the database and of its log which file it is, how long, and when it was
/// written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp([Option<FileStamp>; 2]);

/// A file's device, number, length, and when it was written, in seconds and nanoseconds.
type FileStamp = (u64, u64, u64, i64, i64);

impl Database {
    fn new(path: PathBuf) -> Database {
        Database { path, seen: None }
    }

    fn stamp(&self) -> Stamp {
        let of = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.dev(), metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
        };
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        Stamp([of(&self.path), of(Path::new(&log))])
    }

    /// Whether it may have been written since it was read.
    fn has_changed(&self) -> bool {
        self.seen.as_ref() != Some(&self.stamp())
    }

    fn read(&mut self, settings: &Settings, secrets: &Secrets, former: Option<&Table>) -> Result<Table> {
        // Taken before the rows, so that a change between the two is seen the next time. One whose time is that of the
        // last moment says nothing yet: the clock of the file system has a step.
        let stamp = self.stamp();
        let newest = stamp.0.iter().flatten().map(|(.., seconds, nanos)| seconds * 1000 + nanos / 1_000_000).max();
        let is_settled = newest.is_none_or(|at| (clock::now() - at).abs() > CLOCK_STEP_MS);
        let mut store = Store::reopen(&self.path)?.with_secrets(secrets.clone());
        let table = store.read(|tables| Table::read(tables, settings, former))?;
        self.seen = is_settled.then_some(stamp);
        Ok(table)
    }
}

/// The socket that nudges come to.
pub(super) struct Nudges {
    path: PathBuf,
    socket: UnixDatagram,
    /// Which one it is among the files.
    place: Option<(u64, u64)>,
}

impl Nudges {
    /// Listens in place of what a former edge left, or somebody put there.
    pub(super) fn listen(path: PathBuf) -> Result<Nudges> {
        check_socket_path(&path)?;
        let action = || format!("listen on {}", path.display());
        files::clear(&path)?;
        let socket = UnixDatagram::bind(&path).map_err(Error::io(action()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(Error::io(action()))?;
        socket.set_read_timeout(Some(LOOK)).map_err(Error::io(action()))?;
        let place = place(&path);
        Ok(Nudges { path, socket, place })
    }

    /// Listens again, where nobody finds the socket any more.
    pub(super) fn listen_again(&mut self) {
        if place(&self.path) == self.place {
            return;
        }
        match Nudges::listen(self.path.clone()) {
            Ok(again) => *self = again,
            Err(error) => tracing::warn!("nobody can nudge the edge: {}", error.one_line()),
        }
    }
}

fn place(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}
