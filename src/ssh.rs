//! The embedded SSH server: a public key becomes an actor, a command line becomes a child process of ours.
//!
//! It knows no command. Whatever a client asks to run, it starts this same binary without arguments, with the actor
//! and the command line in two variables that only the server sets, and carries three pipes, or a terminal where the
//! client asks for one. The child lives in a session of its own: it outlives the client, the connection and the daemon.

mod bridge;
mod connection;
mod door;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gate;
mod host_key;
mod peer;
mod terminal;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use russh::{
    MethodKind, MethodSet, Preferred, SshId, compression, kex,
    keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKey},
    server::Config,
};
use rustix::net::RecvFlags;
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};

use door::{Door, Stage};

use crate::{Error, Result, error::HostError, exec, instance::Instance, store::StoredKey};

/// How long clients are waited for.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// How long one may take to log in.
    login: Duration,
    /// How long nothing may move of what one sent that is gone, and how long one may not show that it is there.
    gone: Duration,
}

/// The patience of a server that is no test's. `gone` is half a minute: what it ends is gone within a minute.
const PATIENCE: Patience = Patience { login: Duration::from_secs(20), gone: Duration::from_secs(30) };

/// How often it is said how many were sent away from the door.
const SAY_SENT_AWAY_EVERY: Duration = Duration::from_secs(10);

/// How many bytes a client may send on a channel before it is granted more: as OpenSSH has it. It costs no memory,
/// because [`gate`] bounds what is queued here.
const WINDOW: u32 = 2 << 20;

/// How many logins a client may try: six, as OpenSSH has it, and the `none` by which it asks for the methods.
const MAX_LOGIN_ATTEMPTS: usize = 7;

/// How long a refused login takes, whatever it was refused for.
const REFUSAL_TIME: Duration = Duration::from_millis(200);

/// How many connections may wait to be accepted; Linux has it as the most (`net.core.somaxconn`). Who comes when the line is
/// full is not heard, and comes again a second later.
const BACKLOG: u32 = 4096;

/// How long to wait after a connection could not be accepted, for want of file descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The SSH server, listening but not yet answering.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What all connections share.
struct Shared {
    instance: Arc<Instance>,
    config: Arc<Config>,
    /// The program of every session: our own binary, but for tests.
    program: PathBuf,
    /// How long clients are waited for: [`PATIENCE`], but for tests.
    patience: Patience,
}

impl Server {
    /// Listens on the address of the settings, with the instance's host key, which is made where there is none.
    ///
    /// # Errors
    /// `HostError::Listen`; `HostError::HostKey` and [`Error::Host`] where the host key cannot be read or made.
    pub async fn bind(instance: Arc<Instance>) -> Result<Server> {
        Server::bind_with(instance, exec::own_binary()?, PATIENCE).await
    }

    /// Listens, with what only tests change.
    async fn bind_with(instance: Arc<Instance>, program: PathBuf, patience: Patience) -> Result<Server> {
        let host_key = host_key::open(&instance.settings.paths.host_key())?;
        let wanted = instance.settings.ssh_listen;
        let listen = |source| {
            Error::Host(HostError::Listen {
                address: wanted.to_string(),
                what: "SSH",
                setting: "PAAS_SSH_LISTEN",
                source,
            })
        };
        let listener = bind(wanted).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let shared = Arc::new(Shared { instance, config: Arc::new(config(host_key, patience)), program, patience });
        Ok(Server { listener, address, shared })
    }

    /// Where it listens: the setting, with the port that was chosen where the setting says 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` becomes true or its sender is dropped, then ends all connections; their children live on.
    /// Returns when all connections have ended, which takes a few seconds at most.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let door = Arc::new(Door::new(seed()));
        let mut say_sent_away = interval(SAY_SENT_AWAY_EVERY);
        say_sent_away.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Each connection has a sender, so that the receiver ends with the last of them.
        let (alive, mut all_ended) = mpsc::channel::<()>(1);
        loop {
            let accepted = tokio::select! {
                () = connection::stopped(&mut stop) => break,
                accepted = self.listener.accept() => accepted,
                _ = say_sent_away.tick() => {
                    let count = door.sent_away();
                    if count > 0 {
                        tracing::info!("ssh: {count} connections that had not logged in were ended for others that came");
                    }
                    continue;
                }
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!("ssh: cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            tracing::debug!("ssh: {peer}: connected");
            // OpenSSH speaks first: what it says is often there already, and it is never among the silent.
            let spoke = rustix::net::recv(&stream, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
            let stage = if spoke.is_ok_and(|(count, _)| count > 0) { Stage::Spoke } else { Stage::Silent };
            let place = Arc::new(door.enter(peer.ip(), stage));
            let (shared, stop, alive) = (Arc::clone(&self.shared), stop.clone(), alive.clone());
            tokio::spawn(async move {
                connection::serve(shared, stream, peer, place, stop).await;
                drop(alive);
            });
        }
        drop((self.listener, alive));
        let _: Option<()> = all_ended.recv().await;
    }
}

impl Shared {
    /// The key of that fingerprint, if there is one.
    async fn find_key(&self, fingerprint: String) -> Result<Option<StoredKey>> {
        self.instance.reading(move |tables| tables.find_key_by_fingerprint(&fingerprint)).await
    }

    /// Whether a key that logged in is still there, under the same name. Where the database cannot tell, it is.
    async fn still_valid(&self, key: &StoredKey) -> bool {
        match self.find_key(key.fingerprint.clone()).await {
            Ok(found) => found.is_some_and(|found| found.id == key.id && found.name == key.name),
            Err(error) => {
                tracing::warn!("ssh: cannot look up a key: {}", error.one_line());
                true
            }
        }
    }
}

/// Listens on an address, also right after another server has: as [`TcpListener::bind`], but that a crowd has to be larger
/// to fill the line of those that nobody has accepted yet.
fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What chance begins with at the door.
fn seed() -> u64 {
    let mut bytes = [0; 8];
    // Without it, chance is the same each time, which is no harm.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u64::from_le_bytes(bytes)
}

/// How russh is to behave.
fn config(host_key: PrivateKey, patience: Patience) -> Config {
    Config {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-paas")),
        methods: MethodSet::from([MethodKind::PublicKey].as_slice()),
        auth_rejection_time: REFUSAL_TIME,
        auth_rejection_time_initial: Some(Duration::ZERO),
        max_auth_attempts: MAX_LOGIN_ATTEMPTS,
        keys: vec![host_key],
        window_size: WINDOW,
        maximum_packet_size: 32 * 1024,
        event_buffer_size: 8,
        preferred: Preferred {
            kex: Cow::Borrowed(&KEY_EXCHANGES),
            key: Cow::Borrowed(&SIGNATURES),
            // A compressor holds memory for every connection, and git compresses by itself.
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::DEFAULT
        },
        // A child may be silent for as long as it likes; `connection` has the other limits.
        inactivity_timeout: None,
        // A question that needs no answer, which may stand behind what a slow child has not read yet. But a machine whose
        // client is gone answers any byte with a reset, and one that is gone itself does not confirm it: `peer` sees both.
        keepalive_interval: Some(patience.gone / 2),
        keepalive_max: 0,
        ..Config::default()
    }
}

/// Elliptic curves only, which every client since 2014 knows: the big Diffie-Hellman groups cost an unknown client
/// little and us much.
const KEY_EXCHANGES: [kex::Name; 7] = [
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

/// The signatures that are taken: russh's own choice without SHA-1.
const SIGNATURES: [Algorithm; 8] = [
    Algorithm::Ed25519,
    Algorithm::SkEd25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::SkEcdsaSha2NistP256,
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];
