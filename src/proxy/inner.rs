//! The Caddys behind the first. What only Caddy can do for one app (passwords, headers, sizes, paths) is done by a second
//! one, to which the edge sends that app's requests. When the rules of any app change, another one is started with the new
//! ones, the edge sends requests there as soon as it answers, and the former one ends when it has finished what it began. So
//! no request is lost, no other app's connection is cut, and Caddy never loads a configuration while it serves.

mod config;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::{SocketAddrV4, TcpListener},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

pub(super) use config::address_of_route;
pub use config::is_enabled;
use config::{Rules, Surroundings, Wanted};
use tokio::{process::Child, sync::watch, time::sleep};

use super::{
    admin::Admin,
    caddy::{self, process_with},
    caddyfile::reachable,
    routed::{self, RoutedHost},
    tell, trusted,
};
use crate::{
    Error, Result, clock,
    error::ProxyError,
    exec, files,
    instance::Instance,
    model::{AppId, Network, RouteId},
    settings::Settings,
    store::{InnerProxy, InnerState, Tables},
};

/// How often it is looked whether rules have changed.
const LOOK: Duration = Duration::from_millis(150);
/// How long one may take to start.
const START: Duration = Duration::from_secs(10);
/// How long the first Caddy may still send requests to a former one: it asks the edge again within 100 ms, and a connection
/// that nothing is sent on is closed after a second.
const LEAVING: i64 = 1_500;
/// How long requests of a former one may last, in milliseconds.
const LONGEST_DRAIN: i64 = 3_600_000;
/// The longest pause between two starts that failed.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long a change of rules waits until it holds.
const ENFORCE: Duration = Duration::from_secs(15);

/// Where the requests of apps with rules go, by app.
///
/// # Errors
/// [`Error::Store`].
pub(super) fn addresses(tables: &Tables<'_>) -> Result<HashMap<AppId, SocketAddrV4>> {
    let Some(serving) = tables.serving_inner_proxy()? else { return Ok(HashMap::new()) };
    let at = |app: &AppId| (*app, SocketAddrV4::new(config::address(*app), serving.port));
    Ok(serving.apps.iter().map(at).collect())
}

/// The port of the one that requests go to, and the routes that it has; none if none serves.
///
/// # Errors
/// [`Error::Store`].
pub(super) fn routes(tables: &Tables<'_>) -> Result<Option<(u16, BTreeSet<RouteId>)>> {
    Ok(tables.serving_inner_proxy()?.map(|serving| (serving.port, serving.routes)))
}

/// What all Caddys behind the first are passing to an upstream now, by the name that it has there.
///
/// # Errors
/// [`Error::Store`]; one that does not answer passes nothing.
pub(super) async fn in_flight(instance: &Instance, upstream: &str) -> Result<u64> {
    let all = instance.reading(|tables| tables.inner_proxies()).await?;
    let mut count = 0;
    for inner in all {
        let admin = admin(&instance.settings, inner.id)?;
        let upstreams = admin.upstreams().await.unwrap_or_default();
        // Newer Caddys list an upstream twice.
        count += upstreams.iter().filter(|it| it.address == upstream).map(|it| it.num_requests).max().unwrap_or(0);
    }
    Ok(count)
}

/// Waits until the rules that were committed hold. Says whether they do: without a daemon they hold when it is back.
///
/// # Errors
/// `ProxyError::Rules` where no Caddy starts with them; [`Error::Store`].
pub async fn enforce(instance: &Instance) -> Result<bool> {
    let is_nothing =
        instance.reading(|tables| Ok(wanted(tables)?.is_empty() && tables.serving_inner_proxy()?.is_none()));
    if is_nothing.await? {
        return Ok(tell(instance).await);
    }
    let version = caddy::version(&instance.settings).await?;
    let deadline = clock::instant() + ENFORCE;
    loop {
        let settings = instance.settings.clone();
        let version = version.clone();
        let holds = instance
            .reading(move |tables| {
                let wanted = wanted(tables)?;
                let serving = tables.serving_inner_proxy()?;
                let directory = settings.paths.inner_caddys();
                let trusted = trusted::read(tables, &settings)?;
                let digest = config::digest(&wanted, &around(&settings, &directory, &version, &trusted))?;
                Ok(if wanted.is_empty() { serving.is_none() } else { serving.is_some_and(|it| it.digest == digest) })
            })
            .await?;
        if holds {
            return Ok(tell(instance).await);
        }
        if clock::instant() >= deadline || !is_served(instance) {
            return match files::read_ours(&failure(&instance.settings))? {
                Some(reason) if is_served(instance) => Err(Error::Proxy(ProxyError::Rules { reason })),
                _ => Ok(false),
            };
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Whether a daemon runs.
fn is_served(instance: &Instance) -> bool {
    crate::lock::holder(&instance.settings.paths.daemon_lock()).is_ok_and(|holder| holder.is_some())
}

/// The configuration of an app's rules, or of all apps, as Caddy has it.
///
/// # Errors
/// [`Error::Store`], `HostError::ProgramMissing`.
pub async fn shown(instance: &Instance, app: Option<AppId>) -> Result<String> {
    let version = caddy::version(&instance.settings).await?;
    let settings = instance.settings.clone();
    instance
        .reading(move |tables| {
            let mut wanted = wanted(tables)?;
            if let Some(app) = app {
                wanted.rules.retain(|rules| rules.app().id == app);
                wanted.hosts.clear();
            }
            let serving = tables.serving_inner_proxy()?;
            let (id, port) = serving.map_or((0, 0), |serving| (serving.id, serving.port));
            let directory = settings.paths.inner_caddys();
            let trusted = trusted::read(tables, &settings)?;
            config::render(&wanted, &around(&settings, &directory, &version, &trusted), id, port)
        })
        .await
}

/// Has Caddy read a text in its own words, alone, and returns the routes that it makes of it, in JSON.
///
/// # Errors
/// `ProxyError::Snippet` where it refuses it, or where it is about more than the requests of one app.
pub async fn adapted(instance: &Instance, text: &str) -> Result<String> {
    let refused = |reason: &str| Error::Proxy(ProxyError::Snippet { reason: reason.to_owned() });
    const HOST: &str = "snippet.invalid";
    let file = tempfile::NamedTempFile::new().map_err(Error::io("write the snippet"))?;
    std::fs::write(file.path(), format!("http://{HOST} {{\n{text}\n}}\n")).map_err(Error::io("write the snippet"))?;
    let mut command = caddy::command(&instance.settings);
    command.arg("adapt").arg("--config").arg(file.path()).args(["--adapter", "caddyfile"]);
    let said = match exec::output(command).await {
        Ok(said) => said,
        Err(Error::Host(crate::error::HostError::Program { stderr, .. })) => {
            let plain = stderr.lines().filter(|line| !line.starts_with('{')).collect::<Vec<_>>().join("; ");
            let path = file.path().display().to_string();
            return Err(refused(&plain.replace(&path, "snippet").replace("Error: ", "")));
        }
        Err(error) => return Err(error),
    };
    let config: serde_json::Value = serde_json::from_slice(&said).map_err(Error::bug)?;
    // One server with one site, and nothing beside it: what closes the braces is about more than one app.
    let only = |value: &serde_json::Value, keys: &[&str]| {
        value.as_object().is_some_and(|map| map.keys().all(|key| keys.contains(&key.as_str())))
    };
    let servers = &config["apps"]["http"]["servers"];
    let server = &servers["srv0"];
    let site = &server["routes"][0];
    let is_one = only(&config, &["apps"])
        && only(&config["apps"], &["http"])
        && only(&config["apps"]["http"], &["servers"])
        && only(servers, &["srv0"])
        && only(server, &["listen", "routes"])
        && server["routes"].as_array().is_some_and(|routes| routes.len() == 1)
        && site["match"] == serde_json::json!([{ "host": [HOST] }])
        && only(site, &["match", "handle", "terminal"]);
    let routes = &site["handle"][0]["routes"];
    if !is_one || !routes.is_array() || site["handle"].as_array().is_some_and(|handlers| handlers.len() != 1) {
        return Err(refused(
            "it says more than what is done with the requests of one site: directives only, such as header or respond",
        ));
    }
    Ok(routes.to_string())
}

/// The rules that are to hold.
fn wanted(tables: &Tables<'_>) -> Result<Wanted> {
    let mut hosts = routed::hosts(tables.routes()?);
    hosts.retain(RoutedHost::needs_rules);
    Ok(Wanted { rules: tables.all_rules()?.into_iter().filter_map(Rules::of).collect(), hosts })
}

fn around<'a>(settings: &Settings, directory: &'a Path, version: &'a str, trusted: &'a [Network]) -> Surroundings<'a> {
    Surroundings { edge: reachable(settings.resolver_listen), directory, version, trusted }
}

fn admin(settings: &Settings, id: i64) -> Result<Admin> {
    Admin::at(config::admin_socket(&settings.paths.inner_caddys(), id))
}

/// The file of a configuration.
fn file(settings: &Settings, id: i64) -> PathBuf {
    settings.paths.inner_caddys().join(format!("{id}.json"))
}

/// Why the last one did not start.
fn failure(settings: &Settings) -> PathBuf {
    settings.paths.inner_caddys().join("failure")
}

/// Looks after the Caddys behind the first until `stop` turns true, and then leaves them running.
pub async fn supervise(instance: Arc<Instance>, mut stop: watch::Receiver<bool>) {
    let mut keeper = Keeper::default();
    loop {
        if let Err(error) = keeper.look(&instance).await {
            let reason = error.one_line();
            if keeper.said != reason {
                tracing::warn!("the rules of the proxy do not hold: {reason}");
                keeper.said = reason;
            }
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// What the daemon knows of them.
#[derive(Default)]
struct Keeper {
    /// Those that this daemon has started, by number.
    children: HashMap<i64, Child>,
    /// Those that are being ended.
    ending: Arc<Mutex<HashSet<i64>>>,
    version: Option<String>,
    failed: Option<(Instant, Duration)>,
    said: String,
}

impl Keeper {
    /// Compares what runs with what should.
    async fn look(&mut self, instance: &Arc<Instance>) -> Result<()> {
        self.children.retain(|_, child| matches!(child.try_wait(), Ok(None)));
        if !instance.reading(|tables| tables.may_have_rules()).await? {
            return Ok(());
        }
        let settings = &instance.settings;
        let copy = settings.clone();
        let read =
            move |tables: &Tables<'_>| Ok((wanted(tables)?, tables.inner_proxies()?, trusted::read(tables, &copy)?));
        let (wanted, all, trusted) = instance.reading(read).await?;
        if wanted.is_empty() && all.is_empty() {
            return Ok(());
        }
        let version = match &self.version {
            Some(version) => version.clone(),
            None => self.version.insert(caddy::version(settings).await?).clone(),
        };
        let directory = settings.paths.inner_caddys();
        let digest = config::digest(&wanted, &around(settings, &directory, &version, &trusted))?;
        let serving = all.iter().find(|inner| inner.state == InnerState::Serving);
        let is_well = match serving {
            Some(inner) if !wanted.is_empty() => inner.digest == digest && admin(settings, inner.id)?.listens().await,
            Some(_) => false,
            None => wanted.is_empty(),
        };
        if !is_well && wanted.is_empty() {
            instance.writing(|tables| tables.switch_inner_proxy(None)).await?;
            tell(instance).await;
        } else if !is_well && self.failed.is_none_or(|(at, pause)| at.elapsed() >= pause) {
            // Another program may have come since.
            let version = self.version.insert(caddy::version(settings).await?).clone();
            match self.start(instance, &wanted, &trusted, &version).await {
                Ok(()) => {
                    self.failed = None;
                    self.said.clear();
                    files::clear(&failure(settings))?;
                }
                Err(error) => {
                    let pause = self.failed.map_or(LOOK, |(_, pause)| (pause * 2).min(PAUSE_MAX));
                    self.failed = Some((clock::instant(), pause));
                    files::write_whole(&failure(settings), error.one_line().as_bytes(), 0o600)?;
                    return Err(error);
                }
            }
        }
        for inner in all {
            self.end_if_done(instance, &inner).await?;
        }
        Ok(())
    }

    /// Starts one, and has requests go to it.
    async fn start(
        &mut self,
        instance: &Arc<Instance>,
        wanted: &Wanted,
        trusted: &[Network],
        version: &str,
    ) -> Result<()> {
        let settings = &instance.settings;
        let directory = settings.paths.inner_caddys();
        files::make_private_directory(&directory)?;
        let around = around(settings, &directory, version, trusted);
        let (digest, apps, routes) = (config::digest(wanted, &around)?, wanted.apps(), wanted.routes());
        let port = free_port()?;
        let id = instance.writing(move |tables| tables.add_inner_proxy(port, &digest, &apps, &routes)).await?;
        let text = config::render(wanted, &around, id, port)?;
        files::write_whole(&file(settings, id), text.as_bytes(), 0o600)?;
        let admin = admin(settings, id)?;
        let started = async {
            let said = files::create(&directory.join("start.log"))?;
            let said_too = said.try_clone().map_err(Error::io("write Caddy's log"))?;
            let mut command = caddy::command(settings);
            command.arg("run").arg("--config").arg(file(settings, id));
            let mut child =
                command.stdout(said).stderr(said_too).spawn().map_err(|source| exec::missing(&command, source))?;
            let deadline = clock::instant() + START;
            while let Err(error) = admin.ping().await {
                if let Ok(Some(status)) = child.try_wait() {
                    let words = last_words(&directory.join("start.log"));
                    let reason = format!("it ended at once ({status}): {words}");
                    return Err(Error::Proxy(ProxyError::Unavailable { reason, caddyfile: None }));
                }
                if clock::instant() >= deadline {
                    let _ = child.kill().await;
                    return Err(error);
                }
                sleep(Duration::from_millis(10)).await;
            }
            Ok(child)
        };
        match started.await {
            Ok(child) => {
                tracing::info!(pid = child.id(), "Caddy number {id} runs for apps with rules of their own");
                self.children.insert(id, child);
                instance.writing(move |tables| tables.switch_inner_proxy(Some(id))).await?;
                tell(instance).await;
                Ok(())
            }
            Err(error) => {
                forget(instance, id).await?;
                Err(error)
            }
        }
    }

    /// Ends a former one that has nothing more to do, or one that a daemon was starting when it died.
    async fn end_if_done(&mut self, instance: &Arc<Instance>, inner: &InnerProxy) -> Result<()> {
        let settings = &instance.settings;
        let is_done = match inner.state {
            InnerState::Serving => false,
            InnerState::Starting => true,
            InnerState::Draining => {
                let age = clock::now().saturating_sub(inner.since);
                age >= LONGEST_DRAIN || (age >= LEAVING && is_idle(&admin(settings, inner.id)?).await)
            }
        };
        if !is_done || !lock(&self.ending).insert(inner.id) {
            return Ok(());
        }
        let (instance, ending, id) = (Arc::clone(instance), Arc::clone(&self.ending), inner.id);
        let mut child = self.children.remove(&id);
        tokio::spawn(async move {
            if let Some(process) = process_with(&file(&instance.settings, id)) {
                caddy::end(process, child.as_mut()).await;
            }
            if let Err(error) = forget(&instance, id).await {
                tracing::warn!("Caddy number {id} has ended, and is still on record: {}", error.one_line());
            }
            lock(&ending).remove(&id);
        });
        Ok(())
    }
}

fn lock(ending: &Mutex<HashSet<i64>>) -> std::sync::MutexGuard<'_, HashSet<i64>> {
    ending.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether one passes nothing on; also one that is dead.
async fn is_idle(admin: &Admin) -> bool {
    if !admin.listens().await {
        return true;
    }
    admin.upstreams().await.is_ok_and(|all| all.iter().all(|upstream| upstream.num_requests == 0))
}

/// Removes what one that is gone has left.
async fn forget(instance: &Instance, id: i64) -> Result<()> {
    let settings = &instance.settings;
    for left in [file(settings, id), config::admin_socket(&settings.paths.inner_caddys(), id)] {
        files::clear(&left)?;
    }
    instance.writing(move |tables| tables.forget_inner_proxy(id)).await
}

/// A port that nobody has now.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(Error::io("find a free port"))?;
    Ok(listener.local_addr().map_err(Error::io("find a free port"))?.port())
}

/// Why one ended: the last line that it said.
fn last_words(log: &Path) -> String {
    let said = files::read_ours(log).ok().flatten().unwrap_or_default();
    let plain = said.lines().rev().find(|line| !line.starts_with('{') && !line.trim().is_empty());
    let logged = || {
        let line: serde_json::Value = serde_json::from_str(said.lines().last()?).ok()?;
        Some(line["msg"].as_str()?.to_owned())
    };
    plain.map(str::to_owned).or_else(logged).unwrap_or_default()
}
