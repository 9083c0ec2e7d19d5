//! The edge as a process of its own, and the daemon that looks after it. It holds a lock while it runs, whose text says its
//! version, process id and mark: what tells whether it is of the same binary and settings as the daemon.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    net::TcpListener,
    os::{
        fd::OwnedFd,
        unix::{fs::MetadataExt, net::UnixDatagram},
    },
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use tokio::{io::unix::AsyncFd, process::Child, sync::watch, time::sleep};

use super::{
    Edge,
    reader::Become,
    relay,
    sockets::{PORT_TAKEN, Sockets},
};
use crate::{
    Error, Result, clock,
    error::HostError,
    exec,
    instance::{Instance, on_pool},
    lock::{self, Holder, Lock},
    model::Actor,
    proxy,
    settings::{Paths, Settings},
};

/// How often the daemon looks whether it runs.
const LOOK: Duration = Duration::from_millis(200);
/// How often the daemon asks it something, in looks.
const ASK_EVERY: u32 = 10;
/// After how many questions without an answer it is taken to hang.
const SILENCES: u32 = 3;
/// How long a new one waits for the lock of the one it follows.
const FOLLOW: Duration = Duration::from_secs(5);
/// How long one of another version may take to become one of this.
const BECOME: Duration = Duration::from_secs(2);
/// How often it looks whether its threads are well.
const WELL: Duration = Duration::from_millis(500);
/// How long an edge lives on for the connections that it relays, when another one has taken its place.
const LINGER: Duration = Duration::from_secs(24 * 3600);
/// How often the edge is asked for sockets of ports that it does not have.
const PORTS_AGAIN: Duration = Duration::from_secs(2);
/// The mark of one that was told none.
const UNMARKED: &str = "-";

/// Runs the edge in this process until it is killed, has lost a thread to a bug, or is ordered to become another binary's.
///
/// `adopt`: its sockets come over the standard input. `mark`: what its lock says of it.
///
/// # Errors
/// `HostError::Listen` where an address is taken; [`Error::Host`]; [`Error::Store`]; [`Error::Bug`] where it ended by itself.
pub fn run(settings: &Settings, adopt: bool, mark: Option<&str>) -> Result<()> {
    relay::allow_files()?;
    // One that adopts answers first: questions may be waiting, each with Caddy's lock held.
    let adopted = if adopt { Some(Edge::start_on(settings, of_these_settings(settings)?)?) } else { None };
    let Some(lock) = take_lock(settings, mark.unwrap_or(UNMARKED))? else { return Ok(()) };
    let mut edge = match adopted {
        Some(edge) => edge,
        None => Edge::start_on(settings, Sockets::bind(settings)?)?,
    };
    let mut former = Vec::new();
    loop {
        let Some(Become { binary, mark }) = edge.ordered_to_become(WELL) else {
            if edge.is_running() {
                lock.say_again();
                continue;
            }
            drop(lock);
            return Err(Error::bug("a thread of the edge ended"));
        };
        let (sockets, relay) = edge.give_up()?;
        let mut command = exec::command(binary);
        command.args(["edge", "--adopt"]).envs(settings.child_environment());
        command.args(mark.map(|mark| format!("--mark={mark}")));
        let input = sockets.to_input().map_err(Error::io("hand over the edge's sockets"))?;
        let error = if relay.connections() == 0 {
            exec::replace(command, input)
        } else {
            // In the same process they would be cut.
            match exec::start(command, input) {
                Ok(()) => {
                    drop((lock, sockets));
                    relay.wait_for_end(LINGER);
                    return Ok(());
                }
                Err(error) => error,
            }
        };
        former.push(relay);
        // Nothing is lost but the upgrade.
        tracing::error!("the edge stays what it is: {}", error.one_line());
        edge = Edge::start_on(settings, sockets)?;
    }
}

/// The sockets that come over the standard input, unless the settings name other addresses by now.
fn of_these_settings(settings: &Settings) -> Result<Sockets> {
    let Sockets { dns, http, ports } = Sockets::from_input(settings)?;
    if dns.local_addr().is_ok_and(|is| is == settings.resolver_listen)
        && http.local_addr().is_ok_and(|is| is == settings.http_listen)
    {
        return Ok(Sockets { dns, http, ports });
    }
    drop((dns, http));
    Ok(Sockets { ports, ..Sockets::bind(settings)? })
}

/// Waits for the edge's lock; none where another one runs, and goes on running.
fn take_lock(settings: &Settings, mark: &str) -> Result<Option<Lock>> {
    let what = format!("{} {} {mark}", env!("CARGO_PKG_VERSION"), std::process::id());
    let deadline = clock::instant() + FOLLOW;
    loop {
        match lock::try_lock(&settings.paths.edge_lock(), &Holder::new(what.clone(), &Actor::Daemon))? {
            Ok(lock) => return Ok(Some(lock)),
            // Another one runs, and is as good.
            Err(_) if clock::instant() > deadline => return Ok(None),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// What tells one edge from another that answers otherwise: the binary, and the settings that it goes by.
fn mark_of(settings: &Settings) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    let binary = std::fs::metadata("/proc/self/exe").map_err(Error::io("look at the running paas"))?;
    (binary.size(), binary.mtime(), binary.mtime_nsec()).hash(&mut hasher);
    (settings.http_listen, settings.resolver_listen, settings.domain.as_str()).hash(&mut hasher);
    (settings.proxy_http_port, settings.proxy_https_port, format!("{:?}", settings.tls)).hash(&mut hasher);
    Ok(format!("{:016x}", hasher.finish()))
}

/// What the daemon has of the edge.
#[derive(Debug)]
pub struct Keeper {
    instance: Arc<Instance>,
    mark: String,
    /// So that nothing is refused while there is no edge.
    sockets: Option<Sockets>,
    /// One that this daemon started.
    child: Option<Child>,
    /// One that a former daemon started, by its process id: its end is noticed as that of a child is.
    adopted: Option<(i32, AsyncFd<OwnedFd>)>,
    /// Which ports led to apps when the edge was last asked for their sockets, and when that was.
    asked: Option<(BTreeSet<u16>, Instant)>,
}

impl Keeper {
    /// Takes over the edge that runs, or starts one, and waits until it answers.
    ///
    /// # Errors
    /// `HostError::Listen` where an address is taken; `HostError::ProgramMissing`; [`Error::Host`].
    pub async fn start(instance: Arc<Instance>) -> Result<Keeper> {
        let mark = mark_of(&instance.settings)?;
        let mut keeper = Keeper { instance, mark, sockets: None, child: None, adopted: None, asked: None };
        keeper.look().await?;
        let deadline = clock::instant() + FOLLOW + PORT_TAKEN;
        while !proxy::edge_answers(&keeper.instance.settings).await {
            if clock::instant() > deadline {
                // What it said is in the daemon's log; what is wrong is nearly always this.
                return Err(Error::Host(HostError::Listen {
                    address: format!("udp/{}", keeper.instance.settings.resolver_listen),
                    what: "the edge",
                    setting: "PAAS_RESOLVER_LISTEN",
                    source: std::io::ErrorKind::AddrInUse.into(),
                }));
            }
            // One that was there, or that was started, may have ended since.
            if keeper.child.as_mut().is_none_or(|child| matches!(child.try_wait(), Ok(Some(_)))) {
                sleep(Duration::from_millis(100)).await;
                keeper.look().await?;
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(keeper)
    }

    /// Starts an edge where none of this binary and these settings runs.
    async fn look(&mut self) -> Result<()> {
        // One that we started and that ended is reaped by the question.
        if self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None))) {
            return Ok(());
        }
        self.child = None;
        let paths = &self.instance.settings.paths;
        match holder(paths)? {
            Some(Running { id, mark, .. }) if mark.as_deref() == Some(&self.mark) => return self.adopt(id).await,
            Some(running) => match self.becomes_ours(&running).await? {
                Some(id) => return self.adopt(id).await,
                // It ends, and the one that is started now takes its lock over.
                None => end(paths, Signal::SIGTERM)?,
            },
            None => {}
        }
        self.adopted = None;
        let sockets = match self.sockets.take() {
            Some(sockets) => sockets,
            None => {
                let settings = self.instance.settings.clone();
                on_pool(move || Sockets::bind(&settings)).await??
            }
        };
        let mut command = exec::command(exec::own_binary()?);
        command.args(["edge", "--adopt", "--mark", &self.mark]).envs(self.instance.settings.child_environment());
        command.stdin(sockets.to_input().map_err(Error::io("hand over the edge's sockets"))?);
        command.stdout(std::process::Stdio::null());
        self.sockets = Some(sockets);
        self.child = Some(command.spawn().map_err(|source| exec::missing(&command, source))?);
        Ok(())
    }

    /// Holds the sockets of an edge that runs, and watches for its end.
    async fn adopt(&mut self, id: i32) -> Result<()> {
        if self.adopted.as_ref().is_none_or(|(adopted, _)| *adopted != id) {
            self.adopted = proxy::watch_end_of(id).map(|process| (id, process));
        }
        if self.sockets.is_none() {
            let nudge_socket = self.instance.settings.paths.nudge_socket();
            match on_pool(move || Sockets::of_running(&nudge_socket)).await? {
                Ok(sockets) => self.sockets = Some(sockets),
                Err(error) => tracing::warn!("the edge keeps its sockets to itself: {error}"),
            }
        }
        Ok(())
    }

    /// Has an edge of another binary or of other settings become ours, with the same sockets, so that no question of
    /// Caddy's goes unanswered. Returns its process id if it did.
    async fn becomes_ours(&self, running: &Running) -> Result<Option<i32>> {
        // The resolver of 0.1.0 takes all that follows for the path.
        let mark = running.mark.as_ref().map(|_| self.mark.clone());
        let order = Become { binary: exec::own_binary()?, mark }.to_bytes();
        let paths = &self.instance.settings.paths;
        if UnixDatagram::unbound().and_then(|socket| socket.send_to(&order, paths.nudge_socket())).is_err() {
            return Ok(None);
        }
        let deadline = clock::instant() + BECOME;
        while clock::instant() < deadline {
            match holder(paths)? {
                Some(now) if now.mark.as_deref() == Some(&self.mark) => return Ok(Some(now.id)),
                // One of ours now, which knows of marks.
                Some(now) if running.mark.is_none() && now.mark.is_some() => {
                    return Box::pin(self.becomes_ours(&now)).await;
                }
                _ => sleep(Duration::from_millis(10)).await,
            }
        }
        Ok(None)
    }

    /// Holds the sockets of the ports that lead to apps, as those of the edge itself: asks for those that it does not have.
    async fn hold_ports(&mut self) -> Result<()> {
        let wanted = self.instance.reading(|tables| tables.relayed_ports()).await?;
        let Some(sockets) = &mut self.sockets else { return Ok(()) };
        // The edge has closed those that lead nowhere, and may have opened another one since.
        let is_held = |listener: &TcpListener| {
            relay::port_of(listener).is_some_and(|port| wanted.contains(&port)) && relay::listens(listener)
        };
        sockets.ports.retain(is_held);
        let is_new = |(asked, at): &(BTreeSet<u16>, Instant)| *asked != wanted || at.elapsed() > PORTS_AGAIN;
        if sockets.ports.len() == wanted.len() || !self.asked.as_ref().is_none_or(is_new) {
            return Ok(());
        }
        self.asked = Some((wanted.clone(), clock::instant()));
        let nudge_socket = self.instance.settings.paths.nudge_socket();
        match on_pool(move || Sockets::of_running(&nudge_socket)).await? {
            Ok(of_edge) => {
                sockets.ports = of_edge.ports;
                sockets.ports.retain(|listener| relay::port_of(listener).is_some_and(|port| wanted.contains(&port)));
            }
            Err(error) => tracing::warn!("the edge keeps the sockets of ports to itself: {error}"),
        }
        Ok(())
    }

    /// Returns when the edge that runs has ended; never where there is none.
    async fn ended(&mut self) {
        match (&mut self.child, &self.adopted) {
            (Some(child), _) => drop(child.wait().await),
            (None, Some((_, adopted))) => {
                drop(adopted.readable().await);
                self.adopted = None;
            }
            (None, None) => std::future::pending().await,
        }
    }
}

/// Keeps an edge of this binary running until `stop` turns true, and then leaves it running.
///
/// # Errors
/// [`Error::Host`] where one that hangs cannot be ended. Whatever else goes wrong is logged and tried again.
pub async fn supervise(mut keeper: Keeper, mut stop: watch::Receiver<bool>) -> Result<()> {
    let mut rounds = 0;
    let mut silences = 0;
    loop {
        tokio::select! {
            // First, so that one that ended because all is ending is not started again.
            biased;
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            () = keeper.ended() => tracing::warn!("the edge ended: starting it again"),
            () = sleep(LOOK) => {}
        }
        if let Err(error) = keeper.look().await {
            tracing::error!("cannot start the edge: {}", error.one_line());
            sleep(LOOK).await;
        }
        if let Err(error) = keeper.hold_ports().await {
            tracing::warn!("the sockets of ports are the edge's alone: {}", error.one_line());
        }
        rounds += 1;
        if rounds % ASK_EVERY == 0 {
            silences = if proxy::edge_answers(&keeper.instance.settings).await { 0 } else { silences + 1 };
            if silences == SILENCES {
                tracing::warn!("the edge does not answer: starting it again");
                end(&keeper.instance.settings.paths, Signal::SIGKILL)?;
                silences = 0;
            }
        }
    }
}

/// Warns of a port that this machine may take for somebody's question at any time.
pub fn warn_of_port(settings: &Settings) {
    let Ok(range) = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range") else { return };
    let port = settings.resolver_listen.port();
    if let Some((first, last)) = range_with(&range, port) {
        tracing::warn!(
            "PAAS_RESOLVER_LISTEN has the port {port}, and this machine takes those from {first} to {last} for its own \
             questions: the edge cannot start while one has it; take a port outside of that range"
        );
    }
}

/// The range of ports, if a port is in it.
fn range_with(range: &str, port: u16) -> Option<(u16, u16)> {
    let (first, last) = range.trim().split_once(char::is_whitespace)?;
    let (first, last) = (first.parse().ok()?, last.trim().parse().ok()?);
    (first <= port && port <= last).then_some((first, last))
}

/// An edge that runs, or the resolver of 0.1.0.
struct Running {
    id: i32,
    /// None: it is that resolver.
    mark: Option<String>,
}

/// The edge that runs, if one does.
fn holder(paths: &Paths) -> Result<Option<Running>> {
    let Some(holder) = lock::holder(&paths.edge_lock())? else { return Ok(None) };
    let mut words = holder.what.split(' ').skip(1);
    let id = words.next().and_then(|id| id.parse().ok());
    let mark = words.next().map(str::to_owned);
    Ok(id.map(|id| Running { id, mark }).filter(|running| Path::new(&format!("/proc/{}", running.id)).exists()))
}

fn end(paths: &Paths, signal: Signal) -> Result<()> {
    if let Some(Running { id, .. }) = holder(paths)? {
        match nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), signal) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
            Err(error) => return Err(Error::io("end the edge")(error.into())),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_the_machine_takes_for_itself_is_known() {
        assert_eq!(range_with("32768\t60999\n", 41000), Some((32768, 60999)));
        assert_eq!(range_with("32768\t60999\n", 25353), None);
        assert_eq!(range_with("nonsense", 25353), None);
    }
}
