//! The way of a request to an app: routes in the database, the Caddyfile made of them, the edge that tells Caddy
//! where each app lives now, and Caddy itself.
//!
//! A deploy never reloads Caddy, because a reload loses requests. It commits, nudges the edge, and asks it
//! until it answers with what was committed: [`publish`]. The Caddyfile is rewritten at every change all the same
//! ([`sync`]), so that a Caddy that starts by itself finds the truth; it is loaded only when its structure changed.

mod admin;
mod caddy;
mod caddyfile;
mod certificates;
mod dns;
#[cfg(fuzzing)]
pub mod fuzzing;
mod inner;
mod relayed;
mod routed;
mod table;
mod targets;
#[cfg(test)]
mod tests;
mod trusted;

use std::{
    collections::{BTreeSet, HashSet},
    io::{self, BufRead, Read},
    net::SocketAddrV4,
    path::PathBuf,
    time::Duration,
};

pub use admin::check_socket_path;
pub use caddy::{check_ports, check_program, supervise, version as caddy_version, watch_end_of};
pub use caddyfile::{http_ports, reachable};
pub use dns::{answer_all, edge_answers};
pub use inner::{adapted, enforce, is_enabled, shown as inner_configuration, supervise as supervise_inner};
pub use relayed::relayed;
#[cfg(test)]
pub use table::RelayedPort;
pub use table::{AppEntry, Lead, RouteEntry, Table};
pub use targets::look as look_at_target;
pub use trusted::{read as trusted_proxies, tells_them_apart};

use self::{
    admin::Admin,
    caddyfile::{Content, Variant},
};
use crate::{
    Error, Result, clock,
    error::{HostError, ProxyError},
    exec, files,
    instance::Instance,
    lock::Lock,
    model::AppName,
    settings::{Paths, ProxyMode, Settings},
    tcp,
};

/// How long a Caddy that is being restarted is waited for.
const READY: Duration = Duration::from_secs(3);
/// How long the edge may take to answer with what was committed.
const PUBLISH: Duration = Duration::from_secs(2);
/// How long one question to the edge may take.
const ASK: Duration = Duration::from_millis(250);

/// The longest first line of a Caddyfile of ours.
const FIRST_LINE_MAX: u64 = 1000;

/// By which way a change became known to Caddy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The edge answers with it: Caddy asks again within 100 ms.
    Dynamic,
    /// The edge is silent; Caddy has loaded a Caddyfile that does not need it.
    Static,
}

/// Waits until Caddy answers: the daemon may be restarting it.
///
/// # Errors
/// `ProxyError::Unavailable` where it does not within three seconds.
pub async fn ready(settings: &Settings) -> Result<()> {
    let admin = Admin::new(&settings.paths)?;
    let deadline = clock::instant() + READY;
    loop {
        match admin.ping().await {
            Err(Error::Proxy(ProxyError::Unavailable { .. })) if clock::instant() < deadline => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(Error::Proxy(ProxyError::Unavailable { reason, .. })) if settings.proxy_mode == ProxyMode::External => {
                return Err(Error::Proxy(ProxyError::Unavailable {
                    reason,
                    caddyfile: Some(settings.paths.caddyfile()),
                }));
            }
            result => return result,
        }
    }
}

/// Writes the Caddyfile anew, and has Caddy load it where its structure changed. A Caddyfile that Caddy refuses
/// replaces nothing, neither in Caddy nor on disk.
///
/// # Errors
/// `ProxyError::Refused`; `ProxyError::Unavailable` where it is written but could not be loaded; [`Error::Host`],
/// [`Error::Store`].
pub async fn sync(instance: &Instance) -> Result<()> {
    apply(instance, None).await
}

/// Makes a change of an app that was just committed known to Caddy: nudges the edge, and asks it until it
/// answers with what the database says. Where it does not within two seconds, Caddy loads a Caddyfile without it; the
/// daemon brings the edge back when it is back itself.
///
/// The Caddyfile on disk is not written: call [`sync`] afterwards, when nobody waits any more.
///
/// # Errors
/// `ProxyError::Unavailable`, `ProxyError::Refused` where neither way was open; [`Error::Store`].
pub async fn publish(instance: &Instance, app: &AppName) -> Result<Published> {
    let deadline = clock::instant() + PUBLISH;
    let upstreams = async || {
        let app = app.clone();
        instance.reading(move |tables| tables.upstreams(&app)).await
    };
    let mut expected = BTreeSet::from_iter(upstreams().await?);
    nudge(instance).await;
    loop {
        let answered = dns::ask(instance.settings.resolver_listen, app, ASK).await;
        if answered.as_ref().is_ok_and(|upstreams| *upstreams == expected) {
            break;
        }
        if clock::instant() >= deadline {
            apply(instance, Some(Variant::Static)).await?;
            return Ok(Published::Static);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        // A container may have died since, and the edge may know of it.
        expected = BTreeSet::from_iter(upstreams().await?);
    }
    // The edge is back, but Caddy may still run without it.
    if loaded_variant(&instance.settings.paths) == Some(Variant::Static) {
        restore(instance).await?;
    }
    Ok(Published::Dynamic)
}

/// The sockets of the Caddy that runs with our Caddyfile.
pub fn sockets_of_caddy(settings: &Settings) -> HashSet<u64> {
    caddy::running(settings).map(tcp::inodes_of).unwrap_or_default()
}

/// How many requests Caddy is passing to a container now, streams included; nothing where that cannot be told,
/// because some requests go by the fallback, under whose name all of them are counted.
///
/// # Errors
/// `ProxyError::Unavailable`.
pub async fn in_flight(instance: &Instance, upstream: SocketAddrV4) -> Result<Option<u64>> {
    let upstreams = Admin::new(&instance.settings.paths)?.upstreams().await?;
    let is_fallback = |upstream: &admin::Upstream| upstream.address.starts_with(&format!("{{{}", caddyfile::FALLBACK));
    let by_fallback = upstreams.iter().any(|upstream| is_fallback(upstream) && upstream.num_requests > 0);
    if by_fallback || loaded_variant(&instance.settings.paths) == Some(Variant::Static) {
        return Ok(None);
    }
    let name = dns::upstream_name(upstream);
    // Newer Caddys list an upstream twice.
    let counts = upstreams.iter().filter(|upstream| upstream.address == name).map(|upstream| upstream.num_requests);
    Ok(Some(counts.max().unwrap_or(0) + inner::in_flight(instance, &name).await?))
}

/// Tells the edge that the database changed. Where no edge listens, nothing happens; where the nudge is lost, it finds out
/// by itself within 250 ms.
///
/// Says whether one listens.
pub async fn nudge(instance: &Instance) -> bool {
    let Ok(socket) = tokio::net::UnixDatagram::unbound() else { return false };
    let sent = socket.send_to(b"n", instance.settings.paths.nudge_socket());
    matches!(tokio::time::timeout(Duration::from_millis(50), sent).await, Ok(Ok(_)))
}

/// Has the edge read the database, and returns when it answers with what was committed before: Caddy asks again within
/// 100 ms. Says whether it did; one that is away does so when it is back.
pub async fn tell(instance: &Instance) -> bool {
    let told = async {
        let token = instance.reading(|tables| tables.edge_token()).await.ok()?;
        let edge = reachable(instance.settings.http_listen);
        let stream = tokio::net::TcpStream::connect(edge).await.ok()?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        let request = hyper::Request::post(format!("/-/read/{token}"))
            .header(hyper::header::HOST, edge.to_string())
            .body(http_body_util::Empty::<bytes::Bytes>::new())
            .ok()?;
        let answer = sender.send_request(request).await.ok()?;
        (answer.status() == hyper::StatusCode::NO_CONTENT).then_some(())
    };
    let told = tokio::time::timeout(PUBLISH, told).await.ok().flatten().is_some();
    if !told {
        nudge(instance).await;
    }
    told
}

/// Has Caddy ask the edge again, after a time without it.
async fn restore(instance: &Instance) -> Result<()> {
    apply(instance, Some(Variant::Dynamic)).await
}

/// Renders the Caddyfile from what the database says under the proxy's lock, loads it where that is due, writes it.
///
/// `variant`: none keeps the one that is loaded.
async fn apply(instance: &Instance, variant: Option<Variant>) -> Result<()> {
    let paths = &instance.settings.paths;
    let _lock = lock(paths).await?;
    let loaded = files::read_ours(&paths.caddyfile_loaded())?;
    let variant = variant.or_else(|| loaded.as_deref().map(Variant::of)).unwrap_or(Variant::Dynamic);
    // A dynamic one is read while the edge is away, whatever happened meanwhile. In a static one, an app of which no
    // container was well has the page.
    let content = content(instance, variant).await?;
    let text = caddyfile::render(&instance.settings, &content, variant)?;
    let due = match &loaded {
        None => true,
        // Without the edge the addresses in it are what Caddy goes by.
        Some(loaded) if variant == Variant::Static => *loaded != text,
        Some(loaded) => caddyfile::structure(loaded) != caddyfile::structure(&text),
    };
    let admin = Admin::new(paths)?;
    if due {
        // Loaded first and written then: what Caddy refuses never gets to the disk, and a death between the two is
        // healed by the next call, which finds that the loaded one on record differs.
        match admin.load(&text).await {
            Ok(()) => {
                tracing::info!(variant = variant.as_str(), "Caddy has loaded another Caddyfile");
                files::write_whole(&paths.caddyfile(), text.as_bytes(), 0o600)?;
                files::write_whole(&paths.caddyfile_loaded(), text.as_bytes(), 0o600)
            }
            Err(unavailable @ Error::Proxy(ProxyError::Unavailable { .. })) => {
                write_checked_by_program(instance, &text).await?;
                Err(unavailable)
            }
            Err(error) => Err(error),
        }
    } else if files::read_ours(&paths.caddyfile())?.as_deref() == Some(&text) {
        Ok(())
    } else {
        match admin.adapt(&text).await {
            Ok(()) => files::write_whole(&paths.caddyfile(), text.as_bytes(), 0o600),
            Err(Error::Proxy(ProxyError::Unavailable { .. })) => write_checked_by_program(instance, &text).await,
            Err(error) => Err(error),
        }
    }
}

/// What a Caddyfile is to hold.
async fn content(instance: &Instance, variant: Variant) -> Result<Content> {
    let settings = instance.settings.clone();
    let read = instance.reading(move |tables| Content::read(tables, &settings, variant == Variant::Static));
    let mut content = read.await?;
    if !content.ports.is_empty() {
        let settings = instance.settings.clone();
        // Caddy would take a Caddyfile as a whole or not at all: a port that somebody else has is to cost no other.
        let taken = crate::instance::on_pool(move || taken_ports(&settings)).await?;
        for at in content.ports.iter().filter(|at| taken.contains(&at.port)) {
            tracing::debug!("the proxy does not listen on port {}: another program has it", at.port);
        }
        content.ports.retain(|at| !taken.contains(&at.port));
    }
    Ok(content)
}

/// The ports on which others than Caddy listen.
fn taken_ports(settings: &Settings) -> HashSet<u16> {
    let of_caddy = sockets_of_caddy(settings);
    let mut sockets = tcp::sockets();
    sockets.retain(|socket| socket.state == tcp::State::Listens && !of_caddy.contains(&socket.inode));
    sockets.iter().map(|socket| socket.local.port()).collect()
}

/// Writes the Caddyfile while no Caddy runs, checked by the program itself.
async fn write_checked_by_program(instance: &Instance, text: &str) -> Result<()> {
    let paths = &instance.settings.paths;
    let candidate = candidate(paths);
    files::write_whole(&candidate, text.as_bytes(), 0o600)?;
    let mut command = caddy::command(&instance.settings);
    command.arg("adapt").arg("--config").arg(&candidate).args(["--adapter", "caddyfile"]);
    match exec::output(command).await {
        Ok(_) => files::write_whole(&paths.caddyfile(), text.as_bytes(), 0o600),
        Err(Error::Host(HostError::Program { stderr, .. })) => {
            Err(Error::Proxy(ProxyError::Refused { reason: stderr }))
        }
        Err(error) => Err(error),
    }
}

/// The Caddyfile as it was loaded last, without what nobody may see.
///
/// # Errors
/// [`Error::Store`], [`Error::Host`].
pub fn caddyfile_without_secrets(instance: &Instance) -> Result<String> {
    let text = files::read_ours(&instance.settings.paths.caddyfile_loaded())?.unwrap_or_default();
    let token = instance.read(|tables| tables.edge_token())?;
    Ok(text.replace(&token, crate::model::MASK))
}

/// The variant that Caddy loaded last, if any was.
fn loaded_variant(paths: &Paths) -> Option<Variant> {
    let file = files::open_optional(&paths.caddyfile_loaded()).ok()??;
    let mut first = Vec::new();
    io::BufReader::new(file.take(FIRST_LINE_MAX)).read_until(b'\n', &mut first).ok()?;
    Some(Variant::of(&String::from_utf8_lossy(&first)))
}

/// Waits for the lock around writing and loading the Caddyfile, and removes what its last holder did not come to use.
async fn lock(paths: &Paths) -> Result<Lock> {
    let path = paths.proxy_lock();
    let lock = crate::instance::on_pool(move || crate::lock::wait(&path)).await??;
    let candidate = candidate(paths);
    for left in
        [files::draft(&candidate), candidate, files::draft(&paths.caddyfile()), files::draft(&paths.caddyfile_loaded())]
    {
        // What cannot be removed now is written over, or removed by the next to come.
        let _ = files::clear(&left);
    }
    Ok(lock)
}

/// A Caddyfile that is to be checked.
fn candidate(paths: &Paths) -> PathBuf {
    paths.caddy().join("Caddyfile.candidate")
}
