//! The edge: the process that answers everything that Caddy, and strangers through it, ask of us. Where a host's requests
//! go (DNS), which certificate a handshake gets, redirects, and the pages for apps that take no requests.
//!
//! Like Caddy it outlives the daemon, which adopts it again: a daemon that is stopped, upgraded or killed then changes
//! nothing for anybody's requests. The daemon in turn holds its sockets: an edge that is killed is there again in a moment,
//! and what came meanwhile waits in them.
//!
//! It answers from a table in memory, always at once: Caddy holds a lock while it asks. Three threads: one for DNS, one for
//! HTTP, and one that reads the table anew; and where ports lead to apps, some that relay their connections.

mod process;
mod reader;
mod relay;
mod sockets;

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

pub use process::{Keeper, run, supervise, warn_of_port};
use reader::{Become, Nudges};
pub use reader::{Reader, Shared};
use relay::Relay;
use sockets::Sockets;
use tokio::sync::watch;

use crate::{Error, Result, http, proxy, settings::Settings};

/// How long requests under way may take to be answered when another binary takes over.
const END: Duration = Duration::from_secs(2);

/// A running edge; it ends when this is dropped.
#[derive(Debug)]
pub struct Edge {
    stop: Arc<AtomicBool>,
    stop_http: watch::Sender<bool>,
    address: SocketAddr,
    sockets: Sockets,
    relay: Arc<Relay>,
    orders: mpsc::Receiver<Become>,
    threads: Vec<JoinHandle<()>>,
}

impl Edge {
    /// Starts the edge of an instance, and listens for nudges.
    ///
    /// # Errors
    /// `HostError::Listen` where an address is taken; [`Error::Host`], `UsageError::Settings` for the nudge socket;
    /// [`Error::Store`].
    #[cfg(test)]
    pub fn start(settings: &Settings) -> Result<Edge> {
        Edge::start_on(settings, Sockets::bind(settings)?)
    }

    /// Starts the edge of an instance on sockets that another one may have answered on until now.
    fn start_on(settings: &Settings, sockets: Sockets) -> Result<Edge> {
        let set_up = || "set up the edge's sockets";
        sockets.dns.set_read_timeout(Some(reader::LOOK)).map_err(Error::io(set_up()))?;
        sockets.http.set_nonblocking(true).map_err(Error::io(set_up()))?;
        let nudges = Nudges::listen(settings.paths.nudge_socket())?;
        let (sockets, ports) = sockets.without_ports();
        let reader = Arc::new(Reader::new(settings, ports)?);
        let relay = Arc::clone(reader.relay());
        let stop = Arc::new(AtomicBool::new(false));
        let (stop_http, http_stops) = watch::channel(false);
        let (order, orders) = mpsc::channel();

        let copy = || sockets.try_clone().map_err(Error::io(set_up()));
        let Sockets { dns, http: listener, .. } = copy()?;
        let dns = {
            let (shared, stop) = (reader.shared().clone(), Arc::clone(&stop));
            spawn("edge-dns", move || proxy::answer_all(&dns, || shared.table(), &stop))?
        };
        let http = {
            let reader = Arc::clone(&reader);
            spawn("edge-http", move || answer_http(listener, reader, http_stops))?
        };
        let table = {
            let (stop, sockets) = (Arc::clone(&stop), copy()?);
            spawn("edge-table", move || reader::watch(nudges, &reader, &sockets, &order, &stop))?
        };
        let address = proxy::reachable(settings.resolver_listen);
        Ok(Edge { stop, stop_http, address, sockets, relay, orders, threads: vec![dns, http, table] })
    }

    /// Whether it still does its work; where not, a bug ended one of its threads, and it is to be started anew.
    fn is_running(&self) -> bool {
        !self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Waits a while for the order to make place for another binary.
    fn ordered_to_become(&self, patience: Duration) -> Option<Become> {
        self.orders.recv_timeout(patience).ok()
    }

    /// Ends it, but for its sockets, and for the connections that it relays: what else comes waits in the sockets until
    /// somebody answers on them.
    ///
    /// # Errors
    /// [`Error::Host`].
    fn give_up(self) -> Result<(Sockets, Arc<Relay>)> {
        let sockets = self.sockets.try_clone().map_err(Error::io("hand over the edge's sockets"))?;
        let ports = self.relay.stop();
        Ok((Sockets { ports, ..sockets }, Arc::clone(&self.relay)))
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.stop_http.send(true);
        // Anything that arrives wakes the answering thread; what does not parse is not answered.
        if let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)) {
            let _ = socket.send_to(b"", self.address);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Answers HTTP until told to stop, and what is under way then for a while.
fn answer_http(listener: std::net::TcpListener, reader: Arc<Reader>, mut stops: watch::Receiver<bool>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(2).build();
    let served = runtime.map_err(Error::io("start")).and_then(|runtime| {
        runtime.block_on(async {
            let mut serving = std::pin::pin!(http::serve(listener, reader, stops.clone()));
            tokio::select! {
                served = &mut serving => return served,
                _ = stops.wait_for(|stop| *stop) => {}
            }
            tokio::time::timeout(END, serving).await.unwrap_or(Ok(()))
        })
    });
    if let Err(error) = served {
        tracing::error!("the edge's HTTP ended: {}", error.one_line());
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(Error::io("start a thread"))
}
