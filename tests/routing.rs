//! Routing: what a client of an app sees through Caddy, while it is deployed, stopped, unknown, and in between.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::harness::{Ran, Server, command, run};

/// For what takes as long as the machine is busy.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn where_no_app_answers_there_is_a_page_that_says_why() {
    let server = Server::start();
    let text = server.get_host("nobody.localhost", "/some/path");
    assert_eq!(text.status, 404);
    assert!(text.head.to_lowercase().contains("content-type: text/plain"), "{}", text.head);
    assert_eq!(
        text.body,
        "There is no app at nobody.localhost. The address may be mistyped, or the app was removed.\n"
    );
    for host in ["nobody.localhost", "localhost", "127.0.0.1", "a.b.localhost", "example.test"] {
        let page = Client::new(&server).get(host, "/", "Accept: text/html,application/xhtml+xml\r\n").unwrap();
        assert_eq!(page.status, 404, "{host}");
        assert!(page.head.to_lowercase().contains("content-type: text/html"), "{host}: {}", page.head);
        assert!(page.body.contains("<!doctype html>") && page.body.contains("There is no app"), "{}", page.body);
    }

    server.paas(&["apps:create", "blog"]).expect_success();
    server.wait_for("the page of the new app", PATIENCE, || server.get("blog", "/").status == 503);
    assert_eq!(server.get("blog", "/").body, "blog is not deployed yet. It answers here after its first deploy.\n");

    server.repository("dockerfile", "blog").push().expect_success();
    assert_eq!(server.get("blog", "/").status, 200);
    // Names are the same in any case, and the port in the header means nothing.
    assert_eq!(server.get_host("BLOG.LocalHost", "/").status, 200);
    assert_eq!(server.get_host("blog.localhost:1234", "/").status, 200);
    assert_eq!(server.get("blog", "/missing").status, 404);

    server.paas(&["ps:stop", "blog"]).expect_success();
    server.wait_for("the page of the stopped app", PATIENCE, || server.get("blog", "/").status == 503);
    assert_eq!(server.get("blog", "/").body, "blog is stopped. It was stopped on purpose.\n");
    let page = Client::new(&server).get("blog.localhost", "/", "Accept: text/html\r\n").unwrap();
    assert!(page.body.contains("blog is stopped"), "{}", page.body);
    // The page is said to one who asks in any way.
    let posted = Client::new(&server)
        .send(b"POST / HTTP/1.1\r\nHost: blog.localhost\r\nContent-Length: 5\r\n\r\nhello")
        .unwrap();
    assert_eq!(posted.status, 503);

    server.ssh("ps:start blog").expect_success();
    server.wait_for("the app that was started again", PATIENCE, || server.get("blog", "/").status == 200);
    server.paas(&["ps:restart", "blog"]).expect_success();
    assert_eq!(server.get("blog", "/").status, 200);

    server.paas(&["apps:destroy", "blog", "--force"]).expect_success();
    server.wait_for("the page of the app that is gone", PATIENCE, || server.get("blog", "/").status == 404);
    assert!(server.containers().is_empty());
    assert!(server.images().is_empty());
}

#[test]
fn streams_and_web_sockets_pass() {
    let server = Server::start();
    server.repository("node-express", "chat").push().expect_success();

    // A stream that would take minutes, of which the first lines are here at once.
    let mut client = Client::new(&server);
    client.write(b"GET /stream?n=1000&ms=250 HTTP/1.1\r\nHost: chat.localhost\r\n\r\n").unwrap();
    assert!(client.head().unwrap().starts_with("HTTP/1.1 200"));
    let lines: Vec<String> =
        client.0.by_ref().lines().map_while(Result::ok).filter(|line| line.starts_with("line")).take(3).collect();
    assert_eq!(lines, ["line 1 v1", "line 2 v1", "line 3 v1"]);
    drop(client);

    let mut socket = Client::web_socket(&server, "chat.localhost");
    for message in ["hello", "and again"] {
        assert_eq!(echo(&mut socket, message), message);
    }
}

#[test]
fn a_deploy_under_load_loses_nothing_and_reloads_nothing() {
    let server = Server::start();
    let repository = server.repository("dockerfile", "blog");
    // One request a second is in flight whenever an old container is asked to go.
    repository
        .write("www/cgi-bin/slow", "#!/bin/sh\nsleep 1\nprintf 'Content-Type: text/plain\\r\\n\\r\\nslow v1\\n'\n")
        .replace("Dockerfile", "COPY www/ .\n", "COPY www/ .\nRUN chmod 755 cgi-bin/slow\n")
        .commit("with a slow page");
    repository.push().expect_success();
    let caddy = CaddySeen::now(&server);

    let stop = Arc::new(AtomicBool::new(false));
    let load = |path: &'static str, pause: Duration| {
        let (stop, mut client) = (Arc::clone(&stop), Client::new(&server));
        std::thread::spawn(move || {
            let mut seen: Vec<(String, usize)> = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let answer =
                    client.get("blog.localhost", path, "").map_err(|error| format!("after {seen:?}: {error}"))?;
                let version = answer.body.split(|letter: char| !letter.is_ascii_alphanumeric()).find(|word| {
                    word.strip_prefix('v')
                        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
                });
                let Some(version) = version.filter(|_| answer.status == 200) else {
                    return Err(format!("after {seen:?}: {answer:?}"));
                };
                match seen.last_mut() {
                    Some((last, count)) if last == version => *count += 1,
                    _ => seen.push((version.to_owned(), 1)),
                }
                // Caddy asks to use another connection; that is no lost request.
                if answer.head.to_lowercase().contains("connection: close") {
                    client = client.again().map_err(|error| error.to_string())?;
                }
                std::thread::sleep(pause);
            }
            Ok::<_, String>(seen)
        })
    };
    let clients = [
        load("/", Duration::from_millis(2)),
        load("/", Duration::from_millis(1)),
        load("/cgi-bin/slow", Duration::ZERO),
    ];

    for (old, new) in [("v1", "v2"), ("v2", "v3"), ("v3", "v4")] {
        repository.replace("www/index.html", old, new).replace("www/cgi-bin/slow", old, new);
        if new == "v3" {
            // Another port, too: Caddy learns of that as it learns of addresses.
            repository.replace("Dockerfile", "3000\"", "3001\"").replace("Dockerfile", "EXPOSE 3000", "EXPOSE 3001");
        }
        repository.commit(new);
        repository.push().expect_success();
        server.wait_for(new, PATIENCE, || server.get("blog", "/").body.contains(new));
        server.wait_for("the old container to go", PATIENCE, || server.containers().len() == 1);
    }
    assert_eq!(server.json(&["apps:info", "blog"])["port"], 3001);
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        let seen = client.join().unwrap().unwrap_or_else(|lost| panic!("a request was lost {lost}"));
        let versions: Vec<&str> = seen.iter().map(|(version, _)| version.as_str()).collect();
        assert_eq!(versions, ["v1", "v2", "v3", "v4"], "each in its time, and none comes back: {seen:?}");
    }
    // Nor do these change what Caddy has loaded.
    server.paas(&["config:set", "blog", "A=b"]).expect_success();
    server.paas(&["apps:create", "shop"]).expect_success();
    server.paas(&["ps:stop", "blog"]).expect_success();
    server.wait_for("the page of the stopped app", PATIENCE, || server.get("blog", "/").status == 503);
    assert_eq!(CaddySeen::now(&server), caddy);
    // While the file it would start from knows the truth.
    server.paas(&["ps:start", "blog"]).expect_success();
    let address = server.json(&["apps:info", "blog"])["containers"][0]["address"].as_str().unwrap().to_owned();
    server.wait_for("the Caddyfile", PATIENCE, || {
        let text = std::fs::read_to_string(server.root().join("caddy/Caddyfile")).unwrap();
        text.contains(&format!("blog {address}:3001"))
    });
    assert_eq!(CaddySeen::now(&server), caddy);
}

#[test]
fn a_public_domain_has_certificates_for_its_apps_and_for_nothing_else() {
    let server = Server::start_with(&[("PAAS_DOMAIN", "apps.example.test"), ("PAAS_TLS", "internal")]);
    let https = server.port(4);
    let ask = |host: &str, more: &[&str]| -> Ran {
        run(command("curl")
            .args(["--silent", "--show-error", "--insecure", "--include", "--max-time", "30", "--noproxy", "*"])
            .args(["--resolve", &format!("{host}:{https}:127.0.0.1")])
            .args(more)
            .arg(format!("https://{host}:{https}/page?x=1")))
    };
    let pushed = server.repository("dockerfile", "blog");
    pushed.write("www/page", "over TLS").commit("page");
    let pushed = pushed.push().expect_success();
    pushed.says(&format!("=====> https://blog.apps.example.test:{https}"));

    let answer = ask("blog.apps.example.test", &["--verbose"]).expect_success();
    assert!(answer.stdout.ends_with("over TLS"), "{answer}");
    assert!(answer.stderr.contains(" internal authority"), "{answer}");

    let redirected = server.get_host("blog.apps.example.test", "/page?x=1");
    assert_eq!(redirected.status, 308);
    let location = format!("location: https://blog.apps.example.test:{https}/page?x=1");
    assert!(redirected.head.to_lowercase().lines().any(|line| line == location), "{}", redirected.head);

    // An app that is there and not deployed has one, what is no app has none: curl's exit code for a failed handshake.
    server.paas(&["apps:create", "shop"]).expect_success();
    let new = ask("shop.apps.example.test", &[]).expect_success();
    assert!(new.stdout.contains(" 503") && new.stdout.contains("shop is not deployed yet"), "{new}");
    for host in ["nobody.apps.example.test", "a.blog.apps.example.test", "apps.example.test", "blog.example.test"] {
        ask(host, &[]).expect_code(35);
    }
    // The question that Caddy asks is nobody else's to ask.
    let asked = server.get_host("nobody.example.test", "/-/ask?domain=blog.apps.example.test");
    assert_eq!(asked.status, 404);
    assert!(asked.body.contains("There is no app at nobody.example.test"), "{}", asked.body);
}

// ---- helpers --------------------------------------------------------------------------------------------------------

/// A client with one connection, which it never opens again by itself.
pub struct Client(pub BufReader<TcpStream>);

/// An answer with its length known, so that the connection can be used again.
#[derive(Debug)]
pub struct Kept {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Client {
    pub fn new(server: &Server) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", server.port(3))).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client(BufReader::new(stream))
    }

    /// A client whose connection has become a web socket, which echoes.
    pub fn web_socket(server: &Server, host: &str) -> Client {
        let mut socket = Client::new(server);
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        socket.write(request.as_bytes()).unwrap();
        let head = socket.head().unwrap();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        // The answer to that key in RFC 6455, section 1.3.
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        socket
    }

    fn again(&self) -> io::Result<Client> {
        let stream = TcpStream::connect(self.0.get_ref().peer_addr()?)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Client(BufReader::new(stream)))
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    fn get(&mut self, host: &str, path: &str, headers: &str) -> io::Result<Kept> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n").as_bytes())
    }

    pub fn send(&mut self, request: &[u8]) -> io::Result<Kept> {
        self.write(request)?;
        let head = self.head()?;
        let lower = head.to_lowercase();
        let header = |name: &str| lower.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let mut body = Vec::new();
        if header("transfer-encoding:") == Some("chunked") {
            loop {
                let size = self.line()?;
                let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
                let mut chunk = vec![0; size + 2];
                self.0.read_exact(&mut chunk)?;
                body.extend_from_slice(&chunk[..size]);
                if size == 0 {
                    break;
                }
            }
        } else {
            let length = header("content-length:").and_then(|length| length.parse().ok());
            body.resize(length.ok_or_else(|| io::Error::other(format!("an answer of no known length: {head}")))?, 0);
            self.0.read_exact(&mut body)?;
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Ok(Kept { status, head, body: String::from_utf8_lossy(&body).into_owned() })
    }

    /// Reads up to the blank line.
    pub fn head(&mut self) -> io::Result<String> {
        let mut head = String::new();
        loop {
            let line = self.line()?;
            if line == "\r\n" {
                return Ok(head);
            }
            head.push_str(&line);
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line),
        }
    }
}

/// Sends a text message over a web socket, and reads one: frames of RFC 6455, section 5.2, short ones.
pub fn echo(socket: &mut Client, message: &str) -> String {
    let mask = [1, 2, 3, 4];
    let mut frame = vec![0x81, 0x80 | u8::try_from(message.len()).unwrap()];
    frame.extend(mask);
    frame.extend(message.bytes().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    socket.write(&frame).unwrap();
    let mut head = [0; 2];
    socket.0.read_exact(&mut head).unwrap();
    assert_eq!(head[0], 0x81, "a whole text message");
    let mut text = vec![0; head[1].into()];
    socket.0.read_exact(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// A stream of numbered events that is never opened again (`GET /events` of `tests/apps/under-load`).
pub struct Events {
    client: Client,
    last: u64,
}

impl Events {
    pub fn open(server: &Server, host: &str) -> Events {
        let mut client = Client::new(server);
        client.write(format!("GET /events HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).unwrap();
        let head = client.head().unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        Events { client, last: 0 }
    }

    /// Reads on until there is an event that the app sent after the call.
    pub fn goes_on(&mut self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        loop {
            let mut line = String::new();
            let length = self.client.0.read_line(&mut line).unwrap();
            assert_ne!(length, 0, "the stream ended after event {}", self.last);
            let Some((number, sent)) = line.trim_end().strip_prefix("data: ").and_then(|event| event.split_once(' '))
            else {
                continue;
            };
            self.last += 1;
            assert_eq!(number, self.last.to_string(), "an event is missing");
            if sent.parse::<u128>().unwrap() > now.as_millis() {
                return;
            }
        }
    }
}

/// What changes when Caddy is loaded anew: its configuration has the apps' addresses in it, and so has our record of
/// it. And the process, which is another one when it was started anew.
#[derive(Debug, PartialEq, Eq)]
struct CaddySeen {
    configuration: String,
    loaded: String,
    process: i32,
}

impl CaddySeen {
    fn now(server: &Server) -> CaddySeen {
        let (configuration, process) = ask_caddy(server, "/config/");
        CaddySeen {
            configuration,
            loaded: std::fs::read_to_string(server.root().join("caddy/Caddyfile.loaded")).unwrap(),
            process,
        }
    }
}

/// Asks Caddy's own endpoint, and returns what it answers and its process id.
pub fn ask_caddy(server: &Server, path: &str) -> (String, i32) {
    let mut admin = UnixStream::connect(server.root().join("caddy/admin.sock")).unwrap();
    // In HTTP/1.0, where an answer has no chunks.
    admin.write_all(format!("GET {path} HTTP/1.0\r\nHost: \r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    admin.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(head.split(' ').nth(1), Some("200"), "{answer}");
    (body.to_owned(), rustix::net::sockopt::socket_peercred(&admin).unwrap().pid.as_raw_nonzero().get())
}
