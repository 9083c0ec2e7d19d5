//! The whole way of a request, with a real Caddy: its own instance, ports and upstreams on loopback addresses.

use std::{
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpStream, UnixListener},
    sync::watch,
    task::JoinHandle,
};

use super::*;
use crate::{
    edge::Edge,
    error::{HostError, ProxyError, UsageError},
    model::{
        Actor, AppId, AppState, Caller, DeployId, DeploymentKind, ImageId, ProcessSettings, ProcessType, ReleaseId,
    },
    settings::Settings,
    store::{ContainerState, NewContainer, NewDeployment, NewRelease},
};

/// An instance with its daemon's parts running.
struct Rig {
    instance: Arc<Instance>,
    edge: Option<Edge>,
    stop: watch::Sender<bool>,
    supervisor: JoinHandle<Result<()>>,
    _directory: tempfile::TempDir,
}

impl Rig {
    async fn start(more: &str) -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let settings = format!(
            "root = {:?}\nsubnet = \"127.77.0.0/16\"\nproxy_http_port = {}\nproxy_https_port = {}\n\
             http_listen = \"127.0.0.1:{}\"\nresolver_listen = \"127.0.0.1:{}\"\n{more}",
            directory.path().join("root").display().to_string(),
            free_port(),
            free_port(),
            free_port(),
            UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(),
        );
        let instance = Arc::new(Instance::open(Settings::of_text(&settings).unwrap()).unwrap());
        let (stop, stopped) = watch::channel(false);
        instance.write(crate::certificate::Authority::make).unwrap();
        let edge = Some(Edge::start(&instance.settings).unwrap());
        let supervisor = tokio::spawn(supervise(Arc::clone(&instance), stopped));
        let rig = Rig { instance, edge, stop, supervisor, _directory: directory };
        ready(&rig.instance.settings).await.unwrap();
        rig
    }

    fn app(&self, name: &str) -> (AppName, AppId) {
        let name: AppName = name.parse().unwrap();
        let id = self.instance.write(|tables| tables.create_app(&name)).unwrap().id;
        (name, id)
    }

    /// Makes a container of a new release and starts something that answers there; it is a candidate yet.
    async fn candidate(&self, app_id: AppId, body: &'static str) -> (DeployId, ReleaseId, Upstream) {
        let port = free_port();
        let (deployment, release, address) = self
            .instance
            .write(|tables| {
                let new = NewDeployment {
                    kind: DeploymentKind::Push,
                    action: "git:push",
                    caller: &Caller::daemon(),
                    branch: None,
                    commit: None,
                };
                let deployment = tables.open_deployment(&tables.app_by_id(app_id)?, &new)?;
                let release = tables.cut_release(
                    app_id,
                    &NewRelease {
                        image: &ImageId("sha256:0".to_owned()),
                        sealed_config: b"",
                        processes: &[],
                        crons: &[],
                        overrides: &[],
                        port,
                        declared_port: None,
                        commit: None,
                        reason: "test",
                        actor: &Actor::Daemon,
                    },
                )?;
                let container = tables.add_container(
                    self.instance.settings.subnet,
                    &NewContainer {
                        app_id,
                        release_id: release.id,
                        deployment_id: deployment,
                        process: &ProcessType::web(),
                        run: &ProcessSettings::default().resolve(&ProcessType::web())?,
                        position: 1,
                        name: &format!("c{deployment}"),
                        port,
                    },
                )?;
                Ok((deployment, release.id, container.address))
            })
            .unwrap();
        (deployment, release, Upstream::start(SocketAddrV4::new(address, port), body).await)
    }

    /// The commit of the switch.
    fn switch(&self, app_id: AppId, deployment: DeployId, release: ReleaseId) {
        self.instance
            .write(|tables| {
                tables.switch_containers(app_id, deployment, &[])?;
                tables.set_current_release(app_id, release)
            })
            .unwrap();
    }

    async fn deploy(&self, app: &(AppName, AppId), body: &'static str) -> Upstream {
        let (deployment, release, upstream) = self.candidate(app.1, body).await;
        self.switch(app.1, deployment, release);
        publish(&self.instance, &app.0).await.unwrap();
        upstream
    }

    async fn get(&self, host: &str) -> (u16, String) {
        request(self.instance.settings.proxy_http_port, host, "/", "").await
    }

    /// The processes that run from this instance's Caddyfile.
    fn caddys(&self) -> Vec<i32> {
        let caddyfile = self.instance.settings.paths.caddyfile().display().to_string();
        let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let entry = entry.ok()?;
            let line = std::fs::read_to_string(entry.path().join("cmdline")).ok()?;
            line.contains(&caddyfile).then(|| entry.file_name().to_str()?.parse().ok())?
        });
        processes.collect()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        self.supervisor.abort();
        for caddy in self.caddys() {
            let _ = rustix::process::kill_process(
                rustix::process::Pid::from_raw(caddy).unwrap(),
                rustix::process::Signal::KILL,
            );
        }
    }
}

/// Something that answers 200 with its own words and the length of the request's body, until dropped.
struct Upstream {
    address: SocketAddrV4,
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Upstream {
    async fn start(address: SocketAddrV4, body: &'static str) -> Upstream {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut stopped = stopped.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = answer(stream, body) => {}
                        _ = stopped.wait_for(|stop| *stop) => {}
                    }
                });
            }
        });
        Upstream { address, task, stop }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // All at once, as a process that exits on SIGTERM: the listener and every connection.
        self.task.abort();
        let _ = self.stop.send(true);
    }
}

async fn answer(stream: TcpStream, body: &str) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (head, length) = read_head(&mut stream).await?;
        let mut sent = vec![0; length];
        stream.read_exact(&mut sent).await?;
        if head.contains("/slow") {
            tokio::time::sleep(Duration::from_millis(600)).await;
        }
        if head.contains("/stream") {
            let stream = stream.get_mut();
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").await?;
            tokio::time::sleep(Duration::from_secs(6)).await;
            stream.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await?;
            continue;
        }
        if head.to_ascii_lowercase().contains("upgrade: websocket") {
            let switching = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            stream.get_mut().write_all(switching).await?;
            let mut echo = [0; 4];
            loop {
                stream.read_exact(&mut echo).await?;
                stream.get_mut().write_all(&echo).await?;
            }
        }
        let text = format!("{body} {length}");
        let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        stream.get_mut().write_all(reply.as_bytes()).await?;
    }
}

/// Reads a head up to its empty line, and the length of the body that follows.
async fn read_head(stream: &mut BufReader<impl AsyncRead + Unpin>) -> io::Result<(String, usize)> {
    let mut head = String::new();
    let mut length = 0;
    loop {
        let start = head.len();
        if stream.read_line(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = head[start..].trim().to_ascii_lowercase();
        if line.is_empty() {
            return Ok((head, length));
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
}

/// Sends a request on an open connection and reads the answer, without trying again.
async fn exchange(stream: &mut BufReader<TcpStream>, host: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
    let method = if body.is_empty() { "GET" } else { "POST" };
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.get_mut().write_all(request.as_bytes()).await?;
    let (head, length) = read_head(stream).await?;
    let mut text = vec![0; length];
    stream.read_exact(&mut text).await?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    Ok((status, String::from_utf8_lossy(&text).into_owned()))
}

async fn request(port: u16, host: &str, path: &str, body: &str) -> (u16, String) {
    let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await.unwrap();
    exchange(&mut BufReader::new(stream), host, path, body).await.unwrap()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !check().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_answers_and_what_is_none_gets_a_page_at_once() {
    let rig = Rig::start("").await;
    let blog = rig.app("blog");
    rig.app("shop");
    nudge(&rig.instance).await;
    let standing = (503, "shop is not deployed yet. It answers here after its first deploy.\n".to_owned());
    eventually("the page", async || rig.get("shop.localhost:8080").await == standing).await;
    let started = Instant::now();
    assert_eq!(rig.get("unknown.localhost").await.0, 404);
    assert_eq!(rig.get("localhost").await.0, 404);
    assert_eq!(rig.get("a.b.localhost").await.0, 404);
    assert_eq!(
        rig.get("example.com:1").await,
        (404, "There is no app at example.com. The address may be mistyped, or the app was removed.\n".to_owned())
    );
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());

    let loaded = std::fs::read(rig.instance.settings.paths.caddyfile_loaded()).unwrap();
    let first = rig.deploy(&blog, "one").await;
    tokio::time::sleep(Duration::from_millis(120)).await;
    assert_eq!(rig.get("blog.localhost").await, (200, "one 0".to_owned()));
    assert_eq!(rig.get("BLOG.localhost:80").await, (200, "one 0".to_owned()));
    // Hosts as clients may write them: no app's is ever waited for, however odd it is.
    for host in ["blog.localhost.", "BLOG.LocalHost.:80", "blog.localhost:", "Blog.localhost.:8080"] {
        assert_eq!(rig.get(host).await, (200, "one 0".to_owned()), "{host}");
    }
    let long = "a".repeat(300);
    let odd = [
        "~",
        "*",
        "",
        "-",
        "-blog",
        "blog-",
        "b_log",
        "~blog",
        "bl og",
        "blog.",
        "blog..",
        ".blog",
        "x.blog",
        "%62log",
        "paas",
        "web",
        "b\u{f6}g",
        "127-0-0-1",
        &long,
        &long[..64],
        &long[..63],
    ];
    let started = Instant::now();
    for label in odd {
        for end in [".localhost", ".localhost.", ".LOCALHOST:80", ".localhost.:1"] {
            let (status, body) = rig.get(&format!("{label}{end}")).await;
            // Some of them no server of HTTP takes for a host.
            assert!(status == 404 || status == 400, "{label}{end}: {status} {body}");
        }
    }
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    let second = rig.deploy(&blog, "two").await;
    assert_ne!(first.address.port(), second.address.port());
    tokio::time::sleep(Duration::from_millis(120)).await;
    assert_eq!(rig.get("blog.localhost").await, (200, "two 0".to_owned()));

    sync(&rig.instance).await.unwrap();
    let written = std::fs::read_to_string(rig.instance.settings.paths.caddyfile()).unwrap();
    assert!(written.contains(&second.address.to_string()), "{written}");
    assert_eq!(std::fs::read(rig.instance.settings.paths.caddyfile_loaded()).unwrap(), loaded, "nothing was loaded");

    rig.instance.write(|tables| tables.set_app_state(blog.1, AppState::Stopped)).unwrap();
    assert_eq!(publish(&rig.instance, &blog.0).await.unwrap(), Published::Dynamic);
    tokio::time::sleep(Duration::from_millis(120)).await;
    assert_eq!(rig.get("blog.localhost").await, (503, "blog is stopped. It was stopped on purpose.\n".to_owned()));
    let ask = format!("127.0.0.1:{}", rig.instance.settings.http_listen.port());
    let (status, body) = request(rig.instance.settings.proxy_http_port, &ask, "/-/ask?domain=blog.localhost", "").await;
    assert_eq!((status, body.starts_with("There is no app")), (404, true), "{body}");
    let own = rig.instance.settings.http_listen.port();
    assert_eq!(request(own, &ask, "/-/ask?domain=blog.localhost", "").await, (404, String::new()), "Caddy makes none");
    // What holds private keys is for who knows the token, and asks from this machine.
    let token = rig.instance.read(|tables| tables.edge_token()).unwrap();
    for (token, port, expected) in [
        (token.as_str(), own, 204),
        ("0", own, 404),
        (&token[1..], own, 404),
        (token.as_str(), rig.instance.settings.proxy_http_port, 404),
    ] {
        let path = format!("/-/certificate/{token}?server_name=blog.localhost");
        assert_eq!(request(port, &ask, &path, "").await.0, expected, "{path}");
        assert_eq!(request(port, &ask, &format!("/-/read/{token}"), "x").await.0, expected);
    }
    assert_eq!(request(own, "blog.localhost", &format!("/-/read/{token}"), "x").await.0, 503, "by a name it is a page");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_and_web_sockets_pass_and_are_counted() {
    let rig = Rig::start("").await;
    let blog = rig.app("blog");
    let upstream = rig.deploy(&blog, "one").await;
    tokio::time::sleep(Duration::from_millis(120)).await;
    let connect = async || {
        BufReader::new(TcpStream::connect(("127.0.0.1", rig.instance.settings.proxy_http_port)).await.unwrap())
    };
    let mut stream = connect().await;
    let started = Instant::now();
    stream.get_mut().write_all(b"GET /stream HTTP/1.1\r\nHost: blog.localhost\r\n\r\n").await.unwrap();
    read_head(&mut stream).await.unwrap();
    let mut chunk = [0; 8];
    stream.read_exact(&mut chunk).await.unwrap();
    assert_eq!(&chunk, b"3\r\none\r\n");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(in_flight(&rig.instance, upstream.address).await.unwrap(), Some(1));
    drop(stream);
    eventually("the stream is over", async || in_flight(&rig.instance, upstream.address).await.unwrap() == Some(0))
        .await;

    let mut socket = connect().await;
    let request = b"GET / HTTP/1.1\r\nHost: blog.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    socket.get_mut().write_all(request).await.unwrap();
    assert!(read_head(&mut socket).await.unwrap().0.starts_with("HTTP/1.1 101"));
    let _next = rig.deploy(&blog, "two").await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    socket.get_mut().write_all(b"ping").await.unwrap();
    let mut echo = [0; 4];
    socket.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"ping", "it outlives the switch");
    assert_eq!(in_flight(&rig.instance, upstream.address).await.unwrap(), Some(1));
    drop(socket);
    eventually("it is counted no more", async || in_flight(&rig.instance, upstream.address).await.unwrap() == Some(0))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unhealthy_container_gets_nothing() {
    let rig = Rig::start("").await;
    let blog = rig.app("blog");
    let _upstream = rig.deploy(&blog, "one").await;
    let container = rig.instance.read(|tables| tables.containers_of_app(blog.1)).unwrap().remove(0).id;
    rig.instance.write(|tables| tables.set_healthy(container, false)).unwrap();
    publish(&rig.instance, &blog.0).await.unwrap();
    tokio::time::sleep(Duration::from_millis(120)).await;
    let (status, body) = rig.get("blog.localhost").await;
    assert_eq!(
        (status, body.as_str()),
        (503, "blog is not answering. Its containers are unhealthy. Try again soon.\n")
    );
    // Without a nudge, as after a write of a process that died before it could.
    rig.instance.write(|tables| tables.set_healthy(container, true)).unwrap();
    eventually("the change is seen", async || rig.get("blog.localhost").await.0 == 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_that_meets_a_dead_container_goes_whole_to_another() {
    let rig = Rig::start("").await;
    let blog = rig.app("blog");
    let (deployment, release, _alive) = rig.candidate(blog.1, "alive").await;
    let (other, _, dead) = rig.candidate(blog.1, "dead").await;
    drop(dead);
    rig.switch(blog.1, deployment, release);
    let container = rig.instance.read(|tables| tables.containers_of_deployment(other)).unwrap().remove(0).id;
    rig.instance.write(|tables| tables.set_container_state(container, ContainerState::Live)).unwrap();
    publish(&rig.instance, &blog.0).await.unwrap();
    assert_eq!(rig.instance.read(|tables| tables.upstreams(&blog.0)).unwrap().len(), 2);
    tokio::time::sleep(Duration::from_millis(120)).await;
    // Half of them meet the dead one first, and nobody has told Caddy that it is dead.
    let port = rig.instance.settings.proxy_http_port;
    for length in [1, 10_000, 99_999] {
        for _ in 0..8 {
            let answer = request(port, "blog.localhost", "/", &"x".repeat(length)).await;
            assert_eq!(answer, (200, format!("alive {length}")));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_come_at_once_while_the_table_is_rebuilt() {
    let rig = Rig::start("").await;
    let mut last = None;
    for number in 0..300 {
        let app = rig.app(&format!("app-{number}"));
        let (deployment, release, _) = rig.candidate(app.1, "").await;
        rig.switch(app.1, deployment, release);
        last = Some(app.0);
    }
    let app = last.unwrap();
    publish(&rig.instance, &app).await.unwrap();
    // Each rebuild reads 300 apps; a question that waited for all of them would not be answered in time.
    for _ in 0..400 {
        nudge(&rig.instance).await;
        dns::ask(rig.instance.settings.resolver_listen, &app, ASK).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_under_load_loses_nothing() {
    const SWITCHES: usize = 5;
    let rig = Rig::start("").await;
    let blog = rig.app("blog");
    let mut current = rig.deploy(&blog, "v").await;
    tokio::time::sleep(Duration::from_millis(120)).await;
    let port = rig.instance.settings.proxy_http_port;
    let ended = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicU64::new(0));
    let clients: Vec<JoinHandle<Vec<String>>> = (0..24)
        .map(|number| {
            let (ended, sent) = (Arc::clone(&ended), Arc::clone(&sent));
            tokio::spawn(async move {
                let body = if number % 3 == 1 { "x".repeat(10_000) } else { String::new() };
                let (path, expected) = (if number % 6 == 5 { "/slow" } else { "/" }, format!("v {}", body.len()));
                let mut lost = Vec::new();
                let mut kept = None;
                while !ended.load(Ordering::Relaxed) {
                    let mut stream = match kept.take() {
                        Some(stream) if number % 3 != 2 => stream,
                        _ => BufReader::new(TcpStream::connect(("127.0.0.1", port)).await.unwrap()),
                    };
                    sent.fetch_add(1, Ordering::Relaxed);
                    match exchange(&mut stream, "blog.localhost", path, &body).await {
                        Ok((200, text)) if text == expected => kept = Some(stream),
                        other => lost.push(format!("client {number}: {other:?}")),
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                lost
            })
        })
        .collect();
    let mut busy = false;
    for _ in 0..SWITCHES {
        let next = rig.deploy(&blog, "v").await;
        // As the supervisor drains: past the edge's refresh, then until nothing is in flight, three times.
        tokio::time::sleep(Duration::from_millis(250)).await;
        let mut idle = 0;
        while idle < 3 {
            match in_flight(&rig.instance, current.address).await.unwrap() {
                Some(0) => idle += 1,
                count => {
                    assert!(count.is_some(), "it can be told");
                    busy = true;
                    idle = 0;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        current = next;
    }
    assert!(busy, "slow requests were seen in flight to an upstream that had been switched away from");
    ended.store(true, Ordering::Relaxed);
    let mut lost = Vec::new();
    for client in clients {
        lost.append(&mut client.await.unwrap());
    }
    let sent = sent.load(Ordering::Relaxed);
    assert!(lost.is_empty(), "{} of {sent} lost: {:?}", lost.len(), &lost[..lost.len().min(5)]);
    assert!(sent > 500, "only {sent} requests");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_edge_the_fallback_serves_and_the_daemon_brings_it_back() {
    let mut rig = Rig::start("").await;
    let blog = rig.app("blog");
    let one = rig.deploy(&blog, "one").await;
    let paths = rig.instance.settings.paths.clone();
    sync(&rig.instance).await.unwrap();
    // As after a start of Caddy: the addresses it was given are those of now.
    let text = std::fs::read_to_string(paths.caddyfile()).unwrap();
    Admin::new(&paths).unwrap().load(&text).await.unwrap();

    drop(rig.edge.take());
    tokio::time::sleep(Duration::from_millis(120)).await;
    let started = Instant::now();
    assert_eq!(rig.get("blog.localhost").await, (200, "one 0".to_owned()));
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());

    // A deploy while it is away.
    let (deployment, release, two) = rig.candidate(blog.1, "two").await;
    rig.switch(blog.1, deployment, release);
    assert_eq!(publish(&rig.instance, &blog.0).await.unwrap(), Published::Static);
    drop(one);
    assert_eq!(rig.get("blog.localhost").await, (200, "two 0".to_owned()));
    assert_eq!(in_flight(&rig.instance, two.address).await.unwrap(), None);
    assert_eq!(loaded_variant(&paths), Some(Variant::Static));

    rig.edge = Some(Edge::start(&rig.instance.settings).unwrap());
    eventually("the dynamic Caddyfile is back", async || loaded_variant(&paths) == Some(Variant::Dynamic)).await;
    let three = rig.deploy(&blog, "three").await;
    tokio::time::sleep(Duration::from_millis(120)).await;
    assert_eq!(rig.get("blog.localhost").await, (200, "three 0".to_owned()));

    // A Caddyfile that Caddy refuses.
    let admin = Admin::new(&paths).unwrap();
    assert!(matches!(
        admin.load("http:// {\n\tno_such_directive\n}\n").await,
        Err(Error::Proxy(ProxyError::Refused { .. }))
    ));
    assert!(matches!(admin.adapt("{").await, Err(Error::Proxy(ProxyError::Refused { .. }))));
    let before = std::fs::read(paths.caddyfile()).unwrap();
    let refused = write_checked_by_program(&rig.instance, "http:// {\n\tno_such_directive\n}\n").await;
    assert!(matches!(refused, Err(Error::Proxy(ProxyError::Refused { .. }))), "{refused:?}");
    assert_eq!(std::fs::read(paths.caddyfile()).unwrap(), before);
    assert_eq!(rig.get("blog.localhost").await, (200, "three 0".to_owned()));

    // Caddy itself dies.
    let [caddy] = rig.caddys()[..] else { panic!("one Caddy runs") };
    rustix::process::kill_process(rustix::process::Pid::from_raw(caddy).unwrap(), rustix::process::Signal::KILL)
        .unwrap();
    ready(&rig.instance.settings).await.unwrap();
    eventually("Caddy serves again", async || {
        TcpStream::connect(("127.0.0.1", rig.instance.settings.proxy_http_port)).await.is_ok()
    })
    .await;
    assert_eq!(rig.get("blog.localhost").await, (200, "three 0".to_owned()));
    drop(three);

    // The daemon stops; Caddy stays, and the next daemon adopts it.
    let before = rig.caddys();
    rig.stop.send(true).unwrap();
    (&mut rig.supervisor).await.unwrap().unwrap();
    let (stop, stopped) = watch::channel(false);
    rig.stop = stop;
    rig.supervisor = tokio::spawn(supervise(Arc::clone(&rig.instance), stopped));
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(rig.caddys(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_edge_all_containers_are_known_those_first_that_were_well() {
    let mut rig = Rig::start("").await;
    let blog = rig.app("blog");
    let (deployment, release, one) = rig.candidate(blog.1, "one").await;
    let port = one.address.port();
    let more = |position: u32| {
        let written = rig.instance.write(|tables| {
            let new = NewContainer {
                app_id: blog.1,
                release_id: release,
                deployment_id: deployment,
                process: &ProcessType::web(),
                run: &ProcessSettings::default().resolve(&ProcessType::web())?,
                position,
                name: &format!("c{position}"),
                port,
            };
            tables.add_container(rig.instance.settings.subnet, &new)
        });
        written.unwrap()
    };
    let (two, three, four) = (more(2), more(3), more(4));
    rig.switch(blog.1, deployment, release);
    rig.instance
        .write(|tables| {
            tables.set_healthy(three.id, false)?;
            tables.set_failing(four.id, Some("it answers 500"))
        })
        .unwrap();
    let failing = Upstream::start(SocketAddrV4::new(four.address, port), "four").await;
    let second = Upstream::start(SocketAddrV4::new(two.address, port), "two").await;
    drop(rig.edge.take());
    assert_eq!(publish(&rig.instance, &blog.0).await.unwrap(), Published::Static);
    let line = |text: &str| text.lines().find(|line| line.trim().starts_with("blog ")).unwrap().trim().to_owned();
    let written = line(&std::fs::read_to_string(rig.instance.settings.paths.caddyfile()).unwrap());
    let (one_at, two_at, three_at) = (one.address.ip(), two.address, three.address);
    let expected = [one_at, &two_at, &three_at, one_at, &two_at, one_at, &two_at, one_at];
    let expected: Vec<String> = expected.iter().map(|address| format!("{address}:{port}")).collect();
    assert_eq!(written, format!("blog {}", expected.join(" ")));

    // One more goes, and nobody is there to notice.
    drop(one);
    for _ in 0..20 {
        assert_eq!(rig.get("blog.localhost").await, (200, "two 0".to_owned()));
    }
    // Where none is well, those that fail are better than none once Caddy has to start by itself.
    rig.instance
        .write(|tables| {
            tables.set_healthy(two.id, false)?;
            let first = tables.containers_of_app(blog.1)?[0].id;
            tables.set_healthy(first, false)
        })
        .unwrap();
    let all = rig.instance.read(|tables| tables.fallbacks()).unwrap();
    assert_eq!((all[0].upstreams.len(), all[0].healthy), (4, 0));
    assert_eq!(rig.instance.read(|tables| tables.all_upstreams()).unwrap(), []);
    drop((second, failing));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_on_a_public_domain_has_https() {
    let rig = Rig::start("domain = \"example.com\"\ntls = \"internal\"").await;
    let blog = rig.app("blog");
    let _upstream = rig.deploy(&blog, "secret").await;
    let (http, https) = (rig.instance.settings.proxy_http_port, rig.instance.settings.proxy_https_port);
    let curl = async |host: &str| {
        let mut command = exec::command("curl");
        command.args(["-sk", "--max-time", "10", "--resolve", &format!("{host}:{https}:127.0.0.1")]);
        command.arg(format!("https://{host}:{https}/"));
        exec::output(command).await.map(|bytes| String::from_utf8(bytes).unwrap())
    };
    eventually("a certificate", async || curl("blog.example.com").await.is_ok_and(|text| text == "secret 0")).await;
    assert!(curl("unknown.example.com").await.is_err(), "no certificate for what is no app");
    let stream = TcpStream::connect(("127.0.0.1", http)).await.unwrap();
    let mut stream = BufReader::new(stream);
    stream.get_mut().write_all(b"GET /a?b HTTP/1.1\r\nHost: blog.example.com\r\n\r\n").await.unwrap();
    let (head, _) = read_head(&mut stream).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 308"), "{head}");
    assert!(head.contains(&format!("Location: https://blog.example.com:{https}/a?b\r\n")), "{head}");
    assert_eq!(rig.get("example.com").await.0, 404);
    // A final dot is in no certificate.
    let mut dotted = BufReader::new(TcpStream::connect(("127.0.0.1", http)).await.unwrap());
    dotted.get_mut().write_all(b"GET /a?b HTTP/1.1\r\nHost: BLOG.example.com.:80\r\n\r\n").await.unwrap();
    let (head, _) = read_head(&mut dotted).await.unwrap();
    assert!(head.contains(&format!("Location: https://blog.example.com:{https}/a?b\r\n")), "{head}");
    assert_eq!(rig.get("~.example.com.").await.0, 404);
}

#[tokio::test]
async fn a_caddy_that_cannot_start_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let mut settings = Settings::of_text(&format!("root = {:?}", directory.path().join("root"))).unwrap();
    settings.proxy_http_port = taken.local_addr().unwrap().port();
    settings.proxy_https_port = free_port();
    let instance = Instance::open(settings).unwrap();
    let admin = Admin::new(&instance.settings.paths).unwrap();
    let error = caddy::start(&instance, &admin).await.map(drop).unwrap_err().one_line();
    assert!(error.contains("address already in use") && !error.contains("{\""), "{error}");
    assert!(error.len() < 600, "{error}");
}

/// Caddy says so for the moment between finding its ports taken and its end: too short for the real one to be met in it.
#[tokio::test]
async fn a_caddy_without_a_caddyfile_in_force_is_not_ready() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings::of_text(&format!("root = {:?}", directory.path().join("root"))).unwrap();
    let instance = Instance::open(settings).unwrap();
    let caddy = UnixListener::bind(instance.settings.paths.caddy_admin()).unwrap();
    let answer = async {
        let mut stream = BufReader::new(caddy.accept().await.unwrap().0);
        read_head(&mut stream).await.unwrap();
        stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nnull\n").await.unwrap();
    };
    let admin = Admin::new(&instance.settings.paths).unwrap();
    let (said, ()) = tokio::join!(admin.ping(), answer);
    assert!(said.unwrap_err().one_line().contains("no Caddyfile is in force"));
}

#[tokio::test]
async fn what_a_managed_caddy_needs_is_checked_at_once() {
    let check = |root: &str, caddy: &str| {
        let mut settings = Settings::of_text(&format!("root = {root:?}")).unwrap();
        settings.caddy = caddy.to_owned();
        check_program(&settings)
    };
    assert!(matches!(check("/r", "/no/such/caddy"), Err(Error::Host(HostError::ProgramMissing { .. }))));
    assert!(matches!(check(&format!("/{}", "x".repeat(100)), "caddy"), Err(Error::Usage(UsageError::Settings { .. }))));
    assert!(check("/r", "caddy").is_ok());
}
