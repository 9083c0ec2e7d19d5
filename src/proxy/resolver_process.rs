//! The resolver as a process of its own. Like Caddy it outlives the daemon, which adopts it again: a daemon that is
//! stopped, upgraded or killed then changes nothing for anybody's requests. (As a thread of the daemon it would leave
//! Caddy with the addresses written at its last load, some of which may be dead or another app's by then; and a query
//! that is lost with a dying socket holds every request for five seconds.)
//!
//! It holds a lock while it runs, whose text says its version and process id.

use std::{net::UdpSocket, os::fd::AsFd, path::Path, sync::Arc, time::Duration};

use tokio::{process::Child, sync::watch, time::sleep};

use super::resolver;
use crate::{
    Error, Result,
    error::HostError,
    exec,
    instance::Instance,
    lock::{self, Holder, Lock},
    model::Actor,
    settings::{Paths, Settings},
};

/// How often the daemon looks whether it runs.
const LOOK: Duration = Duration::from_millis(200);
/// How often the daemon asks it something.
const ASK_EVERY: u32 = 10;
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// After how many questions without an answer it is taken to hang.
const SILENCES: u32 = 3;
/// How long a new one waits for the lock of the one it follows.
const FOLLOW: Duration = Duration::from_secs(5);
/// How long one of another version may take to become one of this.
const BECOME: Duration = Duration::from_secs(2);
/// How often it looks whether its threads are well.
const WELL: Duration = Duration::from_millis(500);

/// Runs the resolver in this process until it is killed, has lost a thread to a bug, or is ordered to become another
/// binary's.
///
/// `adopt`: it is that other binary's, and its socket is the standard input.
///
/// # Errors
/// As [`resolver::start`]; [`Error::Bug`] where it ended by itself.
pub fn run(settings: &Settings, adopt: bool) -> Result<()> {
    // One that adopts answers first: questions may be waiting, each with Caddy's lock held.
    let adopted = if adopt { Some(resolver::start_on(settings, adopted_socket()?)?) } else { None };
    let Some(lock) = take_lock(settings)? else { return Ok(()) };
    let mut resolver = match adopted {
        Some(resolver) => resolver,
        None => resolver::start(settings)?,
    };
    loop {
        let Some(binary) = resolver.ordered_to_become(WELL) else {
            if resolver.is_running() {
                lock.say_again();
                continue;
            }
            drop(lock);
            return Err(Error::bug("a thread of the resolver ended"));
        };
        let socket = resolver.give_up_socket()?;
        let kept = socket.try_clone().map_err(Error::io("keep the resolver's socket"))?;
        let mut command = exec::command(binary);
        command.args(["resolver", "--adopt"]).envs(settings.child_environment());
        let error = exec::replace(command, std::os::fd::OwnedFd::from(socket));
        // Nothing is lost but the upgrade.
        tracing::error!("the resolver stays what it is: {}", error.one_line());
        resolver = resolver::start_on(settings, kept)?;
    }
}

/// The socket that the resolver before this one answered on.
fn adopted_socket() -> Result<UdpSocket> {
    let input = std::io::stdin().as_fd().try_clone_to_owned();
    input.map(UdpSocket::from).map_err(Error::io("take over the resolver's socket"))
}

/// Waits for the resolver's lock; none where another one runs, and goes on running.
fn take_lock(settings: &Settings) -> Result<Option<Lock>> {
    let what = format!("{} {}", env!("CARGO_PKG_VERSION"), std::process::id());
    let deadline = crate::clock::instant() + FOLLOW;
    loop {
        match lock::try_lock(&settings.paths.resolver_lock(), &Holder::new(what.clone(), &Actor::Daemon))? {
            Ok(lock) => return Ok(Some(lock)),
            // Another one runs, and is as good.
            Err(_) if crate::clock::instant() > deadline => return Ok(None),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Keeps a resolver of this version running until `stop` turns true, and then leaves it running.
///
/// # Errors
/// What keeps the first one from starting. Whatever goes wrong later is logged and tried again.
pub async fn supervise(instance: Arc<Instance>, mut stop: watch::Receiver<bool>) -> Result<()> {
    let mut child: Option<Child> = None;
    let mut rounds = 0;
    let mut silences = 0;
    loop {
        if let Err(error) = look(&instance, &mut child).await {
            tracing::error!("cannot start the resolver: {}", error.one_line());
        }
        rounds += 1;
        if rounds % ASK_EVERY == 0 {
            silences = if answers(&instance.settings).await { 0 } else { silences + 1 };
            if silences == SILENCES {
                tracing::warn!("the resolver does not answer: starting it again");
                end(&instance.settings.paths, nix::sys::signal::Signal::SIGKILL)?;
                silences = 0;
            }
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
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
             questions: the resolver cannot start while one has it; take a port outside of that range"
        );
    }
}

/// The range of ports, if a port is in it.
fn range_with(range: &str, port: u16) -> Option<(u16, u16)> {
    let (first, last) = range.trim().split_once(char::is_whitespace)?;
    let (first, last) = (first.parse().ok()?, last.trim().parse().ok()?);
    (first <= port && port <= last).then_some((first, last))
}

/// Starts a resolver, where none of this version runs, and waits until it answers.
///
/// # Errors
/// `HostError::Listen` where its port is taken; `HostError::ProgramMissing`.
pub async fn ensure(instance: &Instance) -> Result<()> {
    let mut child = None;
    look(instance, &mut child).await?;
    let deadline = crate::clock::instant() + FOLLOW + resolver::PORT_TAKEN;
    while !answers(&instance.settings).await {
        if crate::clock::instant() > deadline {
            // What it said is in the daemon's log; what is wrong is nearly always this.
            return Err(Error::Host(HostError::Listen {
                address: format!("udp/{}", instance.settings.resolver_listen),
                what: "the resolver",
                setting: "PAAS_RESOLVER_LISTEN",
                source: std::io::ErrorKind::AddrInUse.into(),
            }));
        }
        if let Some(child) = &mut child
            && matches!(child.try_wait(), Ok(Some(_)))
        {
            sleep(Duration::from_millis(100)).await;
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn look(instance: &Instance, child: &mut Option<Child>) -> Result<()> {
    let paths = &instance.settings.paths;
    // One that we started and that ended is reaped by the question.
    if let Some(running) = child
        && matches!(running.try_wait(), Ok(None))
    {
        return Ok(());
    }
    match holder(paths)? {
        Some((version, _)) if version == env!("CARGO_PKG_VERSION") => return Ok(()),
        Some(_) if becomes_ours(paths).await? => return Ok(()),
        // It ends, and the one that is started now takes its lock over.
        Some(_) => end(paths, nix::sys::signal::Signal::SIGTERM)?,
        None => {}
    }
    let mut command = exec::command(exec::own_binary()?);
    command.arg("resolver").envs(instance.settings.child_environment());
    command.stdout(std::process::Stdio::null());
    *child = Some(command.spawn().map_err(|source| exec::missing(&command, source))?);
    // Nobody starts a second one before the first had the time to take its lock.
    sleep(LOOK).await;
    Ok(())
}

/// Has a resolver of another version become one of this binary's, with the same socket, so that no question of Caddy's
/// goes unanswered. Says whether it did.
async fn becomes_ours(paths: &Paths) -> Result<bool> {
    if !resolver::order_to_become(&paths.nudge_socket(), &exec::own_binary()?) {
        return Ok(false);
    }
    let deadline = crate::clock::instant() + BECOME;
    while crate::clock::instant() < deadline {
        if holder(paths)?.is_some_and(|(version, _)| version == env!("CARGO_PKG_VERSION")) {
            return Ok(true);
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(false)
}

/// Whether the resolver answers.
pub async fn answers(settings: &Settings) -> bool {
    let Ok(any) = "unknown".parse() else { return true };
    resolver::ask(settings.resolver_listen, &any, PATIENCE).await.is_ok()
}

/// The version and process id of the resolver that runs, if one does.
fn holder(paths: &Paths) -> Result<Option<(String, i32)>> {
    let Some(holder) = lock::holder(&paths.resolver_lock())? else { return Ok(None) };
    let words = holder.what.split_once(' ').and_then(|(version, id)| Some((version.to_owned(), id.parse().ok()?)));
    Ok(words.filter(|(_, id)| Path::new(&format!("/proc/{id}")).exists()))
}

fn end(paths: &Paths, signal: nix::sys::signal::Signal) -> Result<()> {
    if let Some((_, id)) = holder(paths)? {
        match nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), signal) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
            Err(error) => return Err(Error::io("end the resolver")(error.into())),
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
