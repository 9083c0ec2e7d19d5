//! One connection: who it is, what it may ask for, and when it ends.
//!
//! Everything that is not a login by public key, a command or a terminal for it is refused: other methods, variables,
//! subsystems, and all forwarding. What russh refuses by itself where a handler is silent is not repeated here.

use std::{
    collections::HashMap,
    net::SocketAddr,
    os::fd::AsFd,
    sync::{Arc, Weak},
    time::Duration,
};

use russh::{
    Channel, ChannelId, ChannelOpenFailure, ChannelWriteHalf, Disconnect, Pty,
    keys::{Algorithm, PublicKey},
    server::{self, Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey},
};
use rustix::net::sockopt;
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

use super::{
    Patience, Shared, WINDOW,
    bridge::{self, Outlet},
    door::{Place, Stage},
    gate::{Chunk, Gate, Gated},
    peer::Peer,
    terminal::{Size, Terminal},
};
use crate::{
    Kind, Result, clock, exec, git,
    model::Actor,
    public_key,
    settings::{ACTOR_VARIABLE, ADDRESS_VARIABLE, command_variables},
    store::StoredKey,
};

/// The user names there are: Dokku's habit, and git's.
const USERS: [&str; 2] = ["paas", "git"];

/// The longest command, in bytes. OpenSSH's client sends up to 256 kB, and a packet can be no longer.
const LONGEST_COMMAND: usize = 250_000;

/// How many channels a connection may have open.
const MAX_CHANNELS: usize = 16;

/// How long a connection may be without a channel.
const IDLE_LIMIT: Duration = Duration::from_secs(30 * 60);

/// How often the key of a connection is looked up again.
pub(super) const KEY_CHECK_EVERY: Duration = Duration::from_secs(1);

/// How long one of a crowd has to wait that says nothing, until it is greeted.
const HESITATION: Duration = Duration::from_millis(50);

/// How long a client may take to go after it was told to.
const FAREWELL: Duration = Duration::from_secs(2);

/// Serves one connection to its end.
///
/// `place`: its place among those that have not logged in; given back when it does.
/// `stop`: becomes true, or closed, when the server ends.
pub(super) async fn serve(
    shared: Arc<Shared>,
    stream: TcpStream,
    peer: SocketAddr,
    place: Arc<Place>,
    mut stop: watch::Receiver<bool>,
) {
    if place.is_in_a_crowd() {
        // Of a crowd most are sent away before anything is done for them. Who speaks is served at once.
        tokio::select! {
            biased;
            () = place.sent_away() => return,
            () = stopped(&mut stop) => return,
            readable = stream.readable() => drop(readable),
            () = tokio::time::sleep(HESITATION) => {}
        }
    }
    set_socket_options(&stream, peer);
    let Patience { login: login_grace, gone } = shared.patience;
    let deadline = Instant::from(clock::instant()) + login_grace;
    let other_end = match Peer::of(&stream) {
        Ok(other_end) => other_end,
        Err(error) => return tracing::warn!("ssh: {peer}: refused: {error}"),
    };
    let gate = Arc::new(Gate::default());
    let (login, mut logged_in) = watch::channel(None);
    let places = Arc::new(Semaphore::new(MAX_CHANNELS));
    let handler = Connection {
        shared: Arc::clone(&shared),
        peer,
        gate: Arc::clone(&gate),
        login,
        place: Arc::clone(&place),
        places: Arc::clone(&places),
        channels: HashMap::new(),
    };
    let gated = Gated { stream, gate: Arc::clone(&gate), silent: Some(Arc::clone(&place)) };
    let starting = timeout(login_grace, server::run_stream(Arc::clone(&shared.config), gated, handler));
    let mut session = tokio::select! {
        started = starting => match started {
            Ok(Ok(session)) => session,
            Ok(Err(error)) => return tracing::debug!("ssh: {peer}: {error}"),
            Err(_) => return tracing::debug!("ssh: {peer}: sent nothing"),
        },
        () = place.sent_away() => return,
        () = stopped(&mut stop) => return,
    };

    let connection = session.handle();
    let (mut is_unknown, mut key) = (true, None);
    // How much had been taken of what it sent, and when that was seen first.
    let mut moved = (0, Instant::from(clock::instant()));
    let mut tick = interval(KEY_CHECK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last_busy = Instant::from(clock::instant());
    let farewell = loop {
        tokio::select! {
            ended = &mut session => {
                match ended {
                    Ok(()) => tracing::debug!("ssh: {peer}: ended"),
                    Err(error) => tracing::debug!("ssh: {peer}: {error}"),
                }
                if is_unknown {
                    tracing::info!("ssh: {peer}: left without logging in");
                }
                return;
            }
            // An error is the end of the session, which the branch above sees.
            Ok(()) = logged_in.changed(), if is_unknown => is_unknown = false,
            () = place.sent_away(), if is_unknown && logged_in.borrow().is_none() => return gate.shut(),
            () = sleep_until(deadline), if is_unknown => break "it took too long to log in",
            () = stopped(&mut stop) => break "the server is stopping",
            _ = tick.tick() => {
                if is_unknown {
                    continue;
                }
                let now = Instant::from(clock::instant());
                if gate.taken() != moved.0 || !gate.is_closed() {
                    moved = (gate.taken(), now);
                }
                // While nothing is read, nobody else would see it.
                let ends = gate.is_closed() && other_end.has_ended() && now.duration_since(moved.1) >= gone;
                if ends || (gate.is_closed() && other_end.is_lost()) || other_end.is_silent_for(gone) {
                    tracing::info!("ssh: {peer}: it is gone");
                    return gate.shut();
                }
                key = key.or_else(|| logged_in.borrow_and_update().clone());
                if let Some(key) = &key
                    && !shared.still_valid(key).await
                {
                    break "its key was removed";
                }
                if places.available_permits() < MAX_CHANNELS {
                    last_busy = Instant::from(clock::instant());
                } else if last_busy.elapsed() > IDLE_LIMIT {
                    break "it was idle";
                }
            }
        }
    };
    tracing::info!("ssh: {peer}: ended by the server: {farewell}");
    // A client that takes nothing any more cannot be told either, and must not keep us.
    let told = connection.disconnect(Disconnect::ByApplication, format!("paas: {farewell}"), String::new());
    if timeout(FAREWELL, async { drop(told.await) }).await.is_ok() {
        drop(timeout(FAREWELL, &mut session).await);
    }
    gate.shut();
}

/// Waits until the server ends.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it whoever ran the server.
    drop(stop.wait_for(|stop| *stop).await);
}

/// Small writes go at once, and the kernel finds out about machines that are gone.
fn set_socket_options(stream: &TcpStream, peer: SocketAddr) {
    let socket = stream.as_fd();
    let set = sockopt::set_tcp_nodelay(socket, true)
        .and_then(|()| sockopt::set_tcp_keepidle(socket, Duration::from_secs(20)))
        .and_then(|()| sockopt::set_tcp_keepintvl(socket, Duration::from_secs(10)))
        .and_then(|()| sockopt::set_tcp_keepcnt(socket, 3))
        .and_then(|()| sockopt::set_socket_keepalive(socket, true));
    if let Err(error) = set {
        tracing::debug!("ssh: {peer}: cannot set the socket's options: {error}");
    }
}

/// What one client asks for, one request at a time.
struct Connection {
    shared: Arc<Shared>,
    peer: SocketAddr,
    gate: Arc<Gate>,
    /// Who logged in, for the task that watches the connection.
    login: watch::Sender<Option<StoredKey>>,
    /// Its place among those that have not logged in.
    place: Arc<Place>,
    /// A permit for every channel there may be.
    places: Arc<Semaphore>,
    channels: HashMap<ChannelId, State>,
}

/// How far a channel is.
enum State {
    /// Nothing runs on it yet.
    Open {
        /// The way to the client.
        channel: ChannelWriteHalf<Msg>,
        /// Its place among the channels of the connection.
        place: OwnedSemaphorePermit,
        /// What the client asked for first, if it did.
        terminal: Option<Arc<Terminal>>,
    },
    /// A child runs on it.
    Running {
        /// Where its input goes; none after the end of file.
        input: Option<mpsc::UnboundedSender<Chunk>>,
        /// Dropped when the client closes the channel; closed when the child has ended.
        gone: oneshot::Sender<()>,
        /// The terminal it runs on, if it does, for as long as it runs.
        terminal: Weak<Terminal>,
    },
}

impl Connection {
    /// The key, if its holder may log in under that user name.
    async fn find_key(&self, user: &str, key: &PublicKey, algorithm: &Algorithm) -> Option<StoredKey> {
        let peer = self.peer;
        if !USERS.contains(&user) {
            tracing::info!("ssh: {peer}: refused: user {user:?}, which is not one of {USERS:?}");
            return None;
        }
        if *algorithm == (Algorithm::Rsa { hash: None }) {
            tracing::info!("ssh: {peer}: refused: a signature with SHA-1");
            return None;
        }
        let fingerprint = public_key::fingerprint(key);
        match self.shared.find_key(fingerprint.clone()).await {
            Ok(Some(key)) => Some(key),
            Ok(None) => {
                tracing::info!("ssh: {peer}: refused: unknown key {fingerprint}");
                None
            }
            Err(error) => {
                tracing::error!("ssh: {peer}: refused: {}", error.one_line());
                None
            }
        }
    }

    /// Runs our own binary on a channel, with what the client typed.
    async fn start(&mut self, id: ChannelId, typed: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        let Some(key) = self.login.borrow().clone() else {
            return session.channel_failure(id);
        };
        let (channel, place, terminal) = match self.channels.remove(&id) {
            Some(State::Open { channel, place, terminal }) => (channel, place, terminal),
            other => {
                // One command a channel (RFC 4254, section 6.5).
                self.channels.extend(other.map(|state| (id, state)));
                return session.channel_failure(id);
            }
        };
        if !self.shared.still_valid(&key).await {
            return session.disconnect(Disconnect::ByApplication, "paas: its key was removed", "");
        }
        session.channel_success(id)?;
        let (input, chunks) = mpsc::unbounded_channel();
        let (gone, client_gone) = oneshot::channel();
        let typed = read_command(typed);
        // A terminal changes bytes and makes one stream of two, which no git client understands.
        let terminal = terminal.filter(|_| !typed.as_ref().is_ok_and(|typed| is_git_service(typed)));
        let weak = terminal.as_ref().map_or_else(Weak::new, Arc::downgrade);
        self.channels.insert(id, State::Running { input: Some(input), gone, terminal: weak });
        let outlet = Outlet { channel, connection: session.handle(), gate: Arc::clone(&self.gate), _place: place };
        let typed = match typed {
            Ok(typed) => typed,
            Err(refusal) => {
                tokio::spawn(async move {
                    bridge::say_and_close(&outlet, &refusal, Kind::Usage.exit_code().into()).await;
                    drop(client_gone);
                });
                return Ok(());
            }
        };
        let actor = Actor::Key(key.name.to_string());
        tracing::info!("ssh: {}: {actor} runs a command", self.peer);
        let mut command = exec::command(&self.shared.program);
        command
            .envs(self.shared.instance.settings.child_environment())
            .env(ACTOR_VARIABLE, actor.to_string())
            .env(ADDRESS_VARIABLE, self.peer.ip().to_string())
            .envs(command_variables(typed));
        tokio::spawn(bridge::run(command, terminal, chunks, client_gone, outlet));
        Ok(())
    }
}

/// Reads a command as it was sent, or says why it is none: it has to fit in the environment of a process.
pub(super) fn read_command(bytes: &[u8]) -> Result<&str, String> {
    let typed = std::str::from_utf8(bytes).ok().filter(|typed| !typed.contains('\0'));
    let typed = typed.ok_or_else(|| "the command is not valid UTF-8".to_owned())?;
    let length = typed.len();
    if length <= LONGEST_COMMAND {
        return Ok(typed);
    }
    Err(format!(
        "the command is too long: it has {length} bytes, and over ssh {LONGEST_COMMAND} are the most\n\nhint: give long \
         values on standard input: `config:set APP --from-file KEY=-`, or `config:set APP --stdin`"
    ))
}

/// Whether what a client typed is a git service, read as the child will read it.
pub(super) fn is_git_service(typed: &str) -> bool {
    shell_words::split(typed).is_ok_and(|words| words.first().is_some_and(|word| git::Service::of(word).is_some()))
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, russh::Error> {
        let known = self.find_key(user, offer.public_key, offer.algorithm).await;
        if known.is_some() {
            self.place.reached(Stage::Known);
        }
        Ok(if known.is_some() { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        let Some(key) = self.find_key(user, key.public_key, key.algorithm).await else {
            return Ok(Auth::reject());
        };
        tracing::info!("ssh: {}: key {} logged in", self.peer, key.name);
        self.login.send_replace(Some(key));
        self.place.leave();
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        // Of channels that we close first, russh tells nothing more.
        self.channels.retain(|_, state| !matches!(state, State::Running { gone, .. } if gone.is_closed()));
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        };
        // The half that reads is let go: russh would stop the whole session when nobody takes from it, so that what
        // the client sends comes to `data` alone.
        let (_, outgoing) = channel.split();
        self.channels.insert(outgoing.id(), State::Open { channel: outgoing, place, terminal: None });
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(&mut self, id: ChannelId, typed: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        self.start(id, typed, session).await
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        self.start(id, b"", session).await
    }

    async fn data(&mut self, id: ChannelId, bytes: &[u8], _session: &mut Session) -> Result<(), russh::Error> {
        if let Some(State::Running { input: Some(input), .. }) = self.channels.get(&id) {
            // Where the child reads no more, the chunk comes back in the error and is dropped.
            drop(input.send(self.gate.chunk(bytes)));
        }
        Ok(())
    }

    fn adjust_window(&mut self, _id: ChannelId, _current: u32) -> u32 {
        self.gate.window(WINDOW)
    }

    async fn channel_eof(&mut self, id: ChannelId, _session: &mut Session) -> Result<(), russh::Error> {
        if let Some(State::Running { input, .. }) = self.channels.get_mut(&id) {
            *input = None;
        }
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _session: &mut Session) -> Result<(), russh::Error> {
        self.channels.remove(&id);
        Ok(())
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        kind: &str,
        columns: u32,
        rows: u32,
        width: u32,
        height: u32,
        modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        // One terminal a channel, before its command (RFC 4254, section 6.2).
        let Some(State::Open { terminal: terminal @ None, .. }) = self.channels.get_mut(&id) else {
            return session.channel_failure(id);
        };
        match Terminal::open(kind, Size { columns, rows, width, height }, modes) {
            Ok(opened) => *terminal = Some(Arc::new(opened)),
            Err(error) => {
                tracing::warn!("ssh: {}: cannot open a terminal: {error}", self.peer);
                return session.channel_failure(id);
            }
        }
        session.channel_success(id)
    }

    async fn window_change_request(
        &mut self,
        id: ChannelId,
        columns: u32,
        rows: u32,
        width: u32,
        height: u32,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        let terminal = match self.channels.get(&id) {
            Some(State::Open { terminal, .. }) => terminal.clone(),
            Some(State::Running { terminal, .. }) => terminal.upgrade(),
            None => None,
        };
        if let Some(terminal) = terminal {
            terminal.resize(Size { columns, rows, width, height });
        }
        // The client asks for no answer (RFC 4254, section 6.7).
        Ok(())
    }

    // Where these are silent russh sends no answer at all, and a client that asked for one waits.

    async fn env_request(
        &mut self,
        id: ChannelId,
        _name: &str,
        _value: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(id)
    }

    async fn x11_request(
        &mut self,
        id: ChannelId,
        _single: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(id)
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        _name: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(id)
    }
}
