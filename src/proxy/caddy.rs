//! Caddy as a process: the daemon adopts the one that runs, starts one where none does, and starts it again when it
//! dies. It outlives the daemon, so that an upgrade of paas loses no request.

use std::{
    ffi::OsStr,
    io::{Read, Seek, SeekFrom},
    net::SocketAddr,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Deserialize;
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::TcpListener,
    process::{Child, Command},
    sync::watch,
    time::sleep,
};

use super::{admin::Admin, apply, content, dns, loaded_variant, lock, restore, write_checked_by_program};
use crate::{
    Error, Result, clock,
    error::{HostError, ProxyError},
    exec, files,
    instance::Instance,
    proxy::caddyfile::{self, Variant},
    settings::{Paths, ProxyMode, Settings, Tls},
};

/// How often Caddy is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// After how many looks a Caddy that runs and that nobody can talk to is started anew: it is not heard for a moment while
/// it loads a Caddyfile.
const DEAF: u32 = 6;
/// How often a Caddyfile on the disk is compared with what it should be, in looks.
const COMPARE: u32 = 20;
/// How long a Caddy that is to be started anew may take to answer what it was asked.
const END: Duration = Duration::from_secs(10);
/// How long whoever has Caddy's ports may take to leave, when the daemon starts.
const LEAVING: Duration = Duration::from_secs(3);
/// How long a Caddy may take to start.
const START: Duration = Duration::from_secs(10);
/// A Caddy that lived this long was well; one that did not is started again more and more slowly.
const WELL: Duration = Duration::from_secs(5);
/// The longest pause between two starts.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How much of a dead Caddy's last words is said.
const LAST_WORDS: u64 = 4000;

/// The Caddy program, with everything it keeps below the root directory.
pub(super) fn command(settings: &Settings) -> Command {
    let caddy = settings.paths.caddy();
    let mut command = exec::command(&settings.caddy);
    command
        .env("HOME", &caddy)
        .env("XDG_DATA_HOME", caddy.join("data"))
        .env("XDG_CONFIG_HOME", caddy.join("config"))
        .current_dir(&caddy);
    command
}

/// The version of the Caddy program.
///
/// # Errors
/// `HostError::ProgramMissing`, `HostError::Program`.
pub async fn version(settings: &Settings) -> Result<String> {
    let mut command = command(settings);
    command.arg("version");
    let said = String::from_utf8_lossy(&exec::output(command).await?).into_owned();
    // Some builds add a hash of themselves.
    Ok(said.split_whitespace().next().unwrap_or_default().trim_start_matches('v').to_owned())
}

/// Refuses to go on without what a managed Caddy needs.
///
/// # Errors
/// `HostError::ProgramMissing`; `UsageError::Settings` where the root directory's path is too long for Caddy's socket.
pub fn check_program(settings: &Settings) -> Result<()> {
    Admin::new(&settings.paths)?;
    if settings.proxy_mode == ProxyMode::Managed && !exec::exists(&settings.caddy) {
        return Err(exec::missing(&command(settings), std::io::ErrorKind::NotFound.into()));
    }
    Ok(())
}

/// Refuses to go on where something else listens on the ports that Caddy is to have. One that is on its way out is waited
/// for.
///
/// # Errors
/// `HostError::Listen`.
pub async fn check_ports(instance: &Instance) -> Result<()> {
    let settings = &instance.settings;
    if settings.proxy_mode == ProxyMode::External {
        return Ok(());
    }
    let admin = Admin::new(&settings.paths)?;
    let deadline = clock::instant() + LEAVING;
    let ports = [
        (settings.proxy_http_port, "Caddy's HTTP", "PAAS_PROXY_HTTP_PORT"),
        (settings.proxy_https_port, "Caddy's HTTPS", "PAAS_PROXY_HTTPS_PORT"),
    ];
    let needed = if settings.tls == Tls::Off { 1 } else { 2 };
    for (port, what, setting) in ports.into_iter().take(needed) {
        let address = SocketAddr::from(([0, 0, 0, 0], port));
        // Where our own Caddy runs, the ports are its.
        while !admin.listens().await
            && running(settings).is_none()
            && let Err(source) = TcpListener::bind(address).await
        {
            if clock::instant() >= deadline {
                return Err(Error::Host(HostError::Listen { address: address.to_string(), what, setting, source }));
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}

/// Looks after Caddy until `stop` turns true, and then leaves it running. In external mode it
/// starts nothing, and only keeps the Caddyfile in force.
///
/// # Errors
/// Those of [`check_program`], at once. Whatever goes wrong later is logged and tried again.
pub async fn supervise(instance: Arc<Instance>, mut stop: watch::Receiver<bool>) -> Result<()> {
    check_program(&instance.settings)?;
    let admin = Admin::new(&instance.settings.paths)?;
    let mut child: Option<(Child, Instant)> = None;
    let mut pause = Duration::ZERO;
    // One that a former daemon started: its end is noticed as that of a child is.
    let mut adopted: Option<AsyncFd<OwnedFd>> = None;
    let mut has_ended = false;
    let (mut in_force, mut deaf, mut round) = (false, 0, 0);
    loop {
        let listens = admin.listens().await;
        // One that we started and that has not ended is busy, not dead.
        let starts = child.as_mut().is_some_and(|(child, _)| matches!(child.try_wait(), Ok(None)));
        let managed = instance.settings.proxy_mode == ProxyMode::Managed;
        // Where it has just ended, none runs: to look at all processes takes a moment, in which nobody listens.
        let none_runs = std::mem::take(&mut has_ended);
        let unheard = if listens || !managed || none_runs { None } else { running(&instance.settings) };
        deaf = if unheard.is_some() { deaf + 1 } else { 0 };
        round += 1;
        if listens {
            // Nobody but us writes it, but somebody may: Caddy reads it when it starts.
            in_force = keep_in_force(&instance, in_force && round % COMPARE != 0).await;
        } else if let Some(id) = unheard.filter(|_| deaf >= DEAF) {
            tracing::warn!(
                "Caddy runs, but its socket {} is gone: starting it again",
                instance.settings.paths.caddy_admin().display()
            );
            end(id, child.as_mut().map(|(child, _)| child)).await;
            deaf = 0;
            continue;
        } else if starts || unheard.is_some() {
            // It is loading a Caddyfile, or starting.
        } else if instance.settings.proxy_mode == ProxyMode::Managed {
            in_force = false;
            if let Some((mut dead, started)) = child.take() {
                let status = dead.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string());
                tracing::warn!("Caddy ended ({status}); its last words: {}", last_words(&instance));
                pause = if started.elapsed() < WELL { (pause * 2).clamp(LOOK, PAUSE_MAX) } else { Duration::ZERO };
            }
            tokio::select! {
                // First, so that a Caddy that ended because all is ending is not started again.
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                () = sleep(pause) => {}
            }
            match start(&instance, &admin).await {
                Ok(started) => child = started.map(|child| (child, clock::instant())),
                Err(error) => {
                    pause = (pause * 2).clamp(LOOK, PAUSE_MAX);
                    tracing::error!("cannot start Caddy: {}", error.one_line());
                }
            }
        } else {
            in_force = false;
            if round % COMPARE == 1 {
                write_for_user(&instance).await;
            }
        }
        if listens && managed && child.is_none() && adopted.is_none() {
            adopted = running(&instance.settings).and_then(watch_end_of);
        }
        let ended = async {
            match (&mut child, &adopted) {
                (Some((child, _)), _) => drop(child.wait().await),
                (None, Some(adopted)) => drop(adopted.readable().await),
                (None, None) => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep(LOOK) => {}
            () = ended => (adopted, has_ended) = (None, true),
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    Ok(())
}

/// The process id of the Caddy that runs with our Caddyfile, whether it can be talked to or not.
pub(super) fn running(settings: &Settings) -> Option<i32> {
    process_with(&settings.paths.caddyfile())
}

/// The process id of the Caddy that runs with a configuration.
pub(super) fn process_with(config: &Path) -> Option<i32> {
    let wanted = [OsStr::new("run"), OsStr::new("--config"), config.as_os_str()];
    let is_ours = |arguments: &[u8]| {
        let arguments: Vec<&[u8]> = arguments.split(|byte| *byte == 0).skip(1).collect();
        arguments.len() >= wanted.len() && arguments.iter().zip(wanted).all(|(is, wanted)| *is == wanted.as_bytes())
    };
    let ids = files::entries(Path::new("/proc")).ok()?.into_iter();
    let mut ids = ids.filter_map(|path| path.file_name()?.to_str()?.parse::<i32>().ok());
    // One that has ended and was not waited for has no arguments.
    ids.find(|id| std::fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|arguments| is_ours(&arguments)))
}

/// What becomes readable when a process ends that is no child of ours.
pub fn watch_end_of(id: i32) -> Option<AsyncFd<OwnedFd>> {
    let process = rustix::process::Pid::from_raw(id)?;
    let process = rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty()).ok()?;
    // SAFETY: it owns the descriptor, which nobody else closes.
    #[expect(unsafe_code, reason = "that the descriptor stays open is for the caller to know")]
    unsafe {
        AsyncFd::register_with_interest(process, Interest::READABLE).ok()
    }
}

/// Ends a Caddy: it answers what it was asked, for a while.
pub(super) async fn end(id: i32, mut child: Option<&mut Child>) {
    use nix::sys::signal::{Signal, kill};
    let id = nix::unistd::Pid::from_raw(id);
    let deadline = clock::instant() + END;
    let mut signal = Signal::SIGTERM;
    while kill(id, signal).is_ok() {
        if clock::instant() >= deadline {
            signal = Signal::SIGKILL;
        }
        sleep(Duration::from_millis(50)).await;
        if let Some(child) = &mut child
            && matches!(child.try_wait(), Ok(Some(_)) | Err(_))
        {
            return;
        }
    }
}

/// Writes the Caddyfile for a user who starts Caddy himself, if it is not as it should be.
async fn write_for_user(instance: &Instance) {
    match apply(instance, None).await {
        // That it is not running is no news.
        Ok(()) | Err(Error::Proxy(ProxyError::Unavailable { .. })) => {}
        Err(error) => tracing::warn!("the Caddyfile is not written: {}", error.one_line()),
    }
}

/// Sees to it that a running Caddy has our Caddyfile, and asks the edge where it answers.
async fn keep_in_force(instance: &Instance, in_force: bool) -> bool {
    let silent = || async {
        let Ok(any) = "unknown".parse() else { return true };
        dns::ask(instance.settings.resolver_listen, &any, super::ASK).await.is_err()
    };
    let result = if loaded_variant(&instance.settings.paths) == Some(Variant::Static) {
        if silent().await { return in_force } else { restore(instance).await }
    } else if in_force {
        return true;
    } else {
        apply(instance, None).await
    };
    result.inspect_err(|error| tracing::warn!("Caddy does not run with our Caddyfile: {}", error.one_line())).is_ok()
}

/// Starts Caddy from the Caddyfile as the database says it now, and waits until it answers; nothing where one runs.
pub(super) async fn start(instance: &Instance, admin: &Admin) -> Result<Option<Child>> {
    let paths = &instance.settings.paths;
    let _lock = lock(paths).await?;
    // While it loads a Caddyfile, which is done under the lock, Caddy opens its endpoint anew.
    if admin.listens().await {
        return Ok(None);
    }
    let content = content(instance, Variant::Dynamic).await?;
    let text = caddyfile::render(&instance.settings, &content, Variant::Dynamic)?;
    if files::read_ours(&paths.caddyfile())?.as_deref() != Some(&text) {
        write_checked_by_program(instance, &text).await?;
    }
    make_room_for(paths)?;
    let log = files::create(&start_log(&instance.settings))?;
    let log_too = log.try_clone().map_err(Error::io("write Caddy's log"))?;
    let mut command = command(&instance.settings);
    command.arg("run").arg("--config").arg(paths.caddyfile()).args(["--adapter", "caddyfile"]);
    let mut child = command.stdout(log).stderr(log_too).spawn().map_err(|source| exec::missing(&command, source))?;
    let deadline = clock::instant() + START;
    while let Err(error) = admin.ping().await {
        if let Ok(Some(status)) = child.try_wait() {
            let reason = format!("it ended at once ({status}): {}", last_words(instance));
            return Err(Error::Proxy(ProxyError::Unavailable { reason, caddyfile: None }));
        }
        if clock::instant() >= deadline {
            // It holds the ports: left alone it would be in the way of the next one.
            let _ = child.kill().await;
            return Err(error);
        }
        sleep(Duration::from_millis(20)).await;
    }
    files::write_whole(&paths.caddyfile_loaded(), text.as_bytes(), 0o600)?;
    tracing::info!(pid = child.id(), "Caddy runs");
    Ok(Some(child))
}

/// Takes out of Caddy's way what would keep it from starting.
fn make_room_for(paths: &Paths) -> Result<()> {
    // Nobody answers there: it is what a killed Caddy left.
    files::clear(&paths.caddy_admin())?;
    // Caddy would wait for whoever reads a pipe.
    files::append(&paths.caddy().join("caddy.log"))?;
    for directory in paths.caddy_storage() {
        files::make_private_directory(&directory)?;
    }
    Ok(())
}

/// What Caddy says before its own log, which it rolls itself, is open: why it does not start.
fn start_log(settings: &Settings) -> PathBuf {
    settings.paths.caddy().join("start.log")
}

/// Why Caddy ended, as far as it said: older ones say it to the terminal, newer ones in their log.
fn last_words(instance: &Instance) -> String {
    let said = tail(&start_log(&instance.settings)).unwrap_or_default();
    let plain: Vec<&str> = said.lines().filter(|line| !line.starts_with('{')).collect();
    if !plain.is_empty() {
        return plain.join("; ");
    }
    #[derive(Deserialize)]
    struct Line {
        level: String,
        msg: String,
    }
    let logged = tail(&instance.settings.paths.caddy().join("caddy.log")).unwrap_or_default();
    match logged.lines().last().and_then(|line| serde_json::from_str::<Line>(line).ok()) {
        Some(line) if line.level == "error" => line.msg,
        _ => said,
    }
}

/// The end of a file, from a whole line on.
fn tail(path: &Path) -> std::io::Result<String> {
    let Some(mut file) = files::open_optional(path).map_err(std::io::Error::other)? else { return Ok(String::new()) };
    let skipped = file.metadata()?.len().saturating_sub(LAST_WORDS);
    file.seek(SeekFrom::Start(skipped))?;
    let mut bytes = Vec::new();
    file.take(LAST_WORDS).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let whole = if skipped == 0 { &text } else { text.split_once('\n').map_or(&*text, |(_, rest)| rest) };
    Ok(whole.trim().to_owned())
}
