//! The relay: ports of this machine that lead to apps over TCP. It listens on what the table says, and passes each
//! connection on to a container that the table has at that moment. So a switch needs nothing but another table: new
//! connections go to the new containers, and those that there are stay where they are.

mod connection;
mod header;
mod pipe;

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use connection::Load;
use rustix::{
    net::{AddressFamily, Shutdown, SocketFlags, SocketType, sockopt},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use tokio::{
    runtime::Runtime,
    sync::Semaphore,
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::reader::Shared;
use crate::{Error, Result, clock, proxy::Table};

/// How many connections may wait to be taken at a port.
const BACKLOG: i32 = 4096;
/// The most threads that relay.
const THREADS: usize = 4;
/// How many open files are left to all else that the edge does, and to pipes, which take two each.
const OTHER_FILES: u64 = 384 + 2 * pipe::MOST as u64;
/// How long to wait before another connection is taken where the machine has no place for one.
const NO_PLACE: Duration = Duration::from_millis(50);
/// How often it is looked whether the last connection has ended.
const LOOK: Duration = Duration::from_millis(200);

/// The ports that lead to apps, and the connections to them.
#[derive(Debug)]
pub(super) struct Relay {
    shared: Shared,
    load: Arc<Load>,
    /// A permit for each connection that there may be: each takes two open files.
    places: Arc<Semaphore>,
    all_places: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Started with the first port.
    runtime: Option<Runtime>,
    open: BTreeMap<u16, Port>,
    /// Ports that are to be open and cannot be, and why.
    failed: BTreeMap<u16, io::ErrorKind>,
    /// Whether another edge has the ports now.
    has_ended: bool,
}

/// A port that is listened on.
#[derive(Debug)]
struct Port {
    listener: TcpListener,
    accepting: JoinHandle<()>,
}

impl Relay {
    /// A relay that takes its connections to where the shared table says. It listens on nothing yet: see [`Relay::follow`].
    pub(super) fn new(shared: Shared) -> Relay {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let places = files.saturating_sub(OTHER_FILES).max(OTHER_FILES) / 2;
        let all_places = usize::try_from(places).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let places = Arc::new(Semaphore::new(all_places));
        Relay { shared, load: Arc::default(), places, all_places, state: Mutex::default() }
    }

    /// Listens on the ports of a table, and on no others. `there`: sockets that listen already; those that the table does
    /// not have are closed.
    pub(super) fn follow(&self, table: &Table, there: Vec<TcpListener>) {
        let mut state = self.lock();
        if state.has_ended {
            return;
        }
        let is_open = |port: u16, listener: &TcpListener| table.ports().contains_key(&port) && listens(listener);
        let (open, closed) =
            std::mem::take(&mut state.open).into_iter().partition(|(port, it)| is_open(*port, &it.listener));
        state.open = open;
        let closed: BTreeMap<u16, Port> = closed;
        for Port { listener, accepting } in closed.into_values() {
            accepting.abort();
            close(&listener);
        }
        let mut there: BTreeMap<u16, TcpListener> =
            there.into_iter().filter_map(|listener| Some((port_of(&listener)?, listener))).collect();
        let mut failed = BTreeMap::new();
        for port in table.ports().keys().filter(|port| !state.open.contains_key(port)).copied().collect::<Vec<_>>() {
            let listener = there.remove(&port).filter(listens).map_or_else(|| listen(port), Ok);
            if let Err(error) = listener.and_then(|listener| self.open(&mut state, port, listener)) {
                // Once, not four times a second for as long as it lasts.
                if !state.failed.contains_key(&port) {
                    tracing::warn!("connections to port {port} do not reach its app: {error}");
                }
                failed.insert(port, error.kind());
            }
        }
        state.failed = failed;
        there.values().for_each(close);
    }

    /// Tries ports again that could not be listened on.
    pub(super) fn try_again(&self) {
        if !self.lock().failed.is_empty() {
            self.follow(&self.shared.table(), Vec::new());
        }
    }

    fn open(&self, state: &mut State, port: u16, listener: TcpListener) -> io::Result<()> {
        let runtime = match state.runtime.take() {
            Some(runtime) => runtime,
            None => start_runtime()?,
        };
        let runtime = state.runtime.insert(runtime);
        listener.set_nonblocking(true)?;
        let copy = listener.try_clone()?;
        let accepting = {
            let _entered = runtime.enter();
            let copy = tokio::net::TcpListener::from_std(copy)?;
            let (shared, load, places) = (self.shared.clone(), Arc::clone(&self.load), Arc::clone(&self.places));
            runtime.spawn(accept(copy, port, shared, load, places))
        };
        state.open.insert(port, Port { listener, accepting });
        Ok(())
    }

    /// The sockets that it listens on, once more.
    ///
    /// # Errors
    /// An I/O error.
    pub(super) fn listeners(&self) -> io::Result<Vec<TcpListener>> {
        self.lock().open.values().map(|port| port.listener.try_clone()).collect()
    }

    /// How many connections it relays.
    pub(super) fn connections(&self) -> usize {
        self.all_places - self.places.available_permits()
    }

    /// Takes no connection any more, and returns the sockets for another edge. The connections that there are go on.
    pub(super) fn stop(&self) -> Vec<TcpListener> {
        let mut state = self.lock();
        state.has_ended = true;
        let open = std::mem::take(&mut state.open);
        open.values().for_each(|port| port.accepting.abort());
        // One may just have been taken, which is ours then.
        while open.values().any(|port| !port.accepting.is_finished()) {
            std::thread::sleep(Duration::from_millis(1));
        }
        open.into_values().map(|port| port.listener).collect()
    }

    /// Waits until the last connection has ended, but not for ever.
    pub(super) fn wait_for_end(&self, patience: Duration) {
        let deadline = clock::instant() + patience;
        while self.connections() > 0 && clock::instant() < deadline {
            std::thread::sleep(LOOK);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // What drops it may be a task of another runtime, which must not wait.
        if let Some(runtime) = self.lock().runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn start_runtime() -> io::Result<Runtime> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
    tokio::runtime::Builder::new_multi_thread().thread_name("edge-relay").worker_threads(threads).enable_all().build()
}

/// Lets this process have as many files open as it may: each connection takes two.
///
/// # Errors
/// [`Error::Host`].
pub(super) fn allow_files() -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .map_err(|error| Error::io("allow more open files")(error.into()))
}

/// Takes connections at a port, for ever.
async fn accept(listener: tokio::net::TcpListener, port: u16, shared: Shared, load: Arc<Load>, places: Arc<Semaphore>) {
    let mut said_at: Option<Instant> = None;
    loop {
        // Before it is taken: what cannot be relayed yet waits in the kernel.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((client, from)) => {
                let (shared, load) = (shared.clone(), Arc::clone(&load));
                tokio::spawn(async move {
                    connection::relay(client, from, port, &shared, &load).await;
                    drop(place);
                });
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if said_at.is_none_or(|at| at.elapsed() > Duration::from_secs(60)) {
                    tracing::warn!("cannot take a connection at port {port}: {error}");
                    said_at = Some(tokio_now());
                }
                sleep(NO_PLACE).await;
            }
        }
    }
}

fn tokio_now() -> Instant {
    clock::instant().into()
}

/// The port that a socket listens on.
pub(super) fn port_of(listener: &TcpListener) -> Option<u16> {
    listener.local_addr().ok().map(|address| address.port())
}

/// Whether a socket still listens: one that another process has shut down does not, though we have it, too.
pub(super) fn listens(listener: &TcpListener) -> bool {
    sockopt::socket_acceptconn(listener).unwrap_or(false)
}

/// Has a socket listen no more, whoever has it.
fn close(listener: &TcpListener) {
    // One that does not listen is no more to be closed.
    let _ = rustix::net::shutdown(listener, Shutdown::Read);
}

/// Listens on a port at all addresses of this machine.
fn listen(port: u16) -> io::Result<TcpListener> {
    let listen_at = |address: SocketAddr| -> rustix::io::Result<OwnedFd> {
        let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
        let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, false)?;
        }
        rustix::net::bind(&socket, &address)?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(socket)
    };
    // An IPv6 socket takes IPv4 too; where there is no IPv6, there is no such socket.
    let socket = match listen_at((Ipv6Addr::UNSPECIFIED, port).into()) {
        Err(rustix::io::Errno::AFNOSUPPORT | rustix::io::Errno::ADDRNOTAVAIL) => {
            listen_at((Ipv4Addr::UNSPECIFIED, port).into())
        }
        other => other,
    };
    Ok(socket?.into())
}

#[cfg(test)]
mod tests;
