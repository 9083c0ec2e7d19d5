//! How long a deploy takes, and how soon a death is seen, among 1, 100 and 1,000 other apps that serve.
//!
//! The others are copies of one app: in the database, in the Caddyfile and in Caddy, and, because a thousand containers
//! are more than this is about, in an engine that says they run: [`Engine`], which passes everything else on to the
//! real one. At their addresses, all of them on loopback, something answers.

use std::{
    convert::Infallible,
    io::{Read, Write},
    net::TcpListener,
    path::PathBuf,
};

use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};

use crate::{
    harness::{Repository, Server},
    measure::{PATIENCE, kill_container, median, until_live},
    processes::{kill, processes},
};

/// How many others there are.
const OTHERS: [usize; 3] = [1, 100, 1000];
/// What the names of containers that are not there begin with.
const FAKE: &str = "fake-";

/// Deploys among each number of others, in turns, and prints how long it took.
pub fn measure(rounds: usize) {
    println!("\n== many: push until live, among other apps");
    let machines: Vec<Crowd> = OTHERS.iter().map(|others| Crowd::start(*others)).collect();
    let mut live = vec![Vec::new(); machines.len()];
    let mut out = vec![Vec::new(); machines.len()];
    for round in 1..=rounds {
        // Who goes first changes.
        for index in (0..machines.len()).map(|index| (index + round) % machines.len()) {
            let (server, seconds) = (&machines[index].server, machines[index].deploy(round));
            let (dead, _) = kill_container(server, "shop", &machines[index].container());
            println!("round {round:2}: among {:4} others live {seconds:.3} s, dead one out {dead:.3} s", OTHERS[index]);
            live[index].push(seconds);
            out[index].push(dead);
        }
    }
    let medians: Vec<f64> = live.into_iter().map(median).collect();
    for (others, (live, out)) in OTHERS.iter().zip(medians.iter().zip(&out)) {
        let longest = out.iter().copied().fold(f64::MIN, f64::max);
        let out = median(out.clone());
        println!("median among {others:4} others: live {live:.3} s, dead one out {out:.3} s (at most {longest:.3} s)");
    }
    let most = medians.iter().copied().fold(f64::MIN, f64::max);
    let least = medians.iter().copied().fold(f64::MAX, f64::min);
    println!("live: {:.3} s apart (aim: 0.3 s)", most - least);
}

/// An instance with many apps, one of which is deployed.
pub struct Crowd {
    pub server: Server,
    repository: Repository,
    _engine: Engine,
}

impl Crowd {
    pub fn start(others: usize) -> Crowd {
        let engine = Engine::start();
        let mut server = Server::start_with(&[("DOCKER_HOST", &engine.address())]);
        let repository = server.repository("under-load", "shop");
        repository.push().expect_success();
        server.wait_for("the deploy", PATIENCE, || server.deploy_state("shop") == "succeeded");
        let port = answer_everywhere();
        server.stop_daemon().expect_success();
        let connection = Connection::open(server.root().join("paas.db")).unwrap();
        connection.execute_batch("PRAGMA foreign_keys = OFF; BEGIN").unwrap();
        for number in 0..others {
            copy_app(&connection, number, port);
        }
        connection.execute_batch("COMMIT").unwrap();
        // A Caddy that starts now has all of them in its Caddyfile.
        let caddyfile = server.root().join("caddy/Caddyfile").display().to_string();
        kill(&processes(|arguments, _| arguments.contains("run\0") && arguments.contains(&caddyfile)));
        server.start_daemon();
        server.wait_for("the last of the others", PATIENCE, || {
            server.try_get(&format!("other-{}.localhost", others - 1), "/").is_ok_and(|answer| answer.status == 200)
        });
        let text = std::fs::read_to_string(&caddyfile).unwrap();
        // In the map of hosts, and in that of apps.
        assert_eq!(text.matches("\t\t\tother-").count(), 2 * others, "the others are in the Caddyfile");
        Crowd { server, repository, _engine: engine }
    }

    /// The one container that is there.
    fn container(&self) -> String {
        self.server.containers().remove(0)
    }

    /// Pushes a change of one line; returns the seconds until it is live.
    fn deploy(&self, round: usize) -> f64 {
        let (old, new) = (format!("v{round}"), format!("v{}", round + 1));
        self.repository.replace("version", &old, &new).commit(&new);
        let (live, _) =
            until_live(self.server.port(3), "shop.localhost", &new, || drop(self.repository.push().expect_success()));
        let server = &self.server;
        server.wait_for("the drain", PATIENCE, || server.deploy_state("shop") == "succeeded");
        live
    }
}

/// Copies an app in the database: its row, its release, its deployment, and its container with an address on loopback.
fn copy_app(connection: &Connection, number: usize, port: u16) {
    let id = 1000 + i64::try_from(number).unwrap();
    let text = |text: String| format!("'{text}'");
    let address = format!("127.1.{}.{}", number / 250, 1 + number % 250);
    let copy = |table: &str, changed: &[(&str, String)]| {
        let mut statement = connection.prepare(&format!("SELECT name FROM pragma_table_info('{table}')")).unwrap();
        let columns: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let values: Vec<String> = columns
            .iter()
            .map(|column| {
                let changed = changed.iter().find(|(name, _)| name == column);
                changed.map_or_else(|| column.clone(), |(_, value)| value.clone())
            })
            .collect();
        let shop = "app_id = (SELECT id FROM apps WHERE name = 'shop')";
        let from = match table {
            "apps" => "name = 'shop'".to_owned(),
            "deployment_details" => format!("operation_id IN (SELECT id FROM operations WHERE {shop})"),
            _ => shop.to_owned(),
        };
        let (columns, values) = (columns.join(", "), values.join(", "));
        let statement = format!("INSERT INTO {table} ({columns}) SELECT {values} FROM {table} WHERE {from} LIMIT 1");
        assert_eq!(connection.execute(&statement, []).unwrap(), 1, "{statement}");
    };
    let of_app = ("app_id", id.to_string());
    copy(
        "apps",
        &[("id", id.to_string()), ("name", text(format!("other-{number}"))), ("current_release_id", id.to_string())],
    );
    copy("releases", &[("id", id.to_string()), of_app.clone()]);
    copy("operations", &[("id", id.to_string()), of_app.clone()]);
    copy("deployment_details", &[("operation_id", id.to_string()), ("release_id", id.to_string())]);
    copy(
        "containers",
        &[
            ("id", id.to_string()),
            of_app,
            ("release_id", id.to_string()),
            ("deployment_id", id.to_string()),
            ("name", text(format!("{FAKE}{number}"))),
            ("address", text(address)),
            ("port", port.to_string()),
        ],
    );
}

/// Answers every request to any address of this machine, on a port.
fn answer_everywhere() -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                // What is asked does not matter, and all of it comes at once.
                while stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                    if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nother\n").is_err() {
                        break;
                    }
                }
            });
        }
    });
    port
}

/// An engine that says of every container whose name begins with [`FAKE`] that it runs, and is the real one else.
struct Engine {
    directory: TempDir,
    _runtime: tokio::runtime::Runtime,
}

type Answer = Response<BoxBody<Bytes, hyper::Error>>;

impl Engine {
    fn start() -> Engine {
        let directory = tempfile::Builder::new().prefix("paas-engine-").tempdir_in("/tmp").unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(directory.path().join("docker.sock")).unwrap()
        };
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let served = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(answer))
                    .with_upgrades();
                tokio::spawn(served);
            }
        });
        Engine { directory, _runtime: runtime }
    }

    fn address(&self) -> String {
        format!("unix://{}", self.directory.path().join("docker.sock").display())
    }
}

async fn answer(request: Request<Incoming>) -> Result<Answer, Infallible> {
    // With or without the version of the API before it.
    let asked = request.uri().path().split_once("/containers/").and_then(|(_, rest)| rest.strip_suffix("/json"));
    if let Some(name) = asked.filter(|name| name.starts_with(FAKE)) {
        let said = serde_json::json!({
            "Id": name, "Name": format!("/{name}"), "State": { "Status": "running", "Running": true, "Pid": 1 },
        });
        return Ok(whole(StatusCode::OK, said.to_string()));
    }
    Ok(pass_on(request).await.unwrap_or_else(|error| whole(StatusCode::BAD_GATEWAY, error.to_string())))
}

fn whole(status: StatusCode, text: String) -> Answer {
    let body = Full::from(text).map_err(|never: Infallible| match never {}).boxed();
    Response::builder().status(status).header("Content-Type", "application/json").body(body).unwrap()
}

/// Asks the real engine, and carries what follows an upgrade both ways.
async fn pass_on(mut request: Request<Incoming>) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    let socket = PathBuf::from(host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock"));
    let stream = TokioIo::new(UnixStream::connect(socket).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    tokio::spawn(connection.with_upgrades());
    let client = hyper::upgrade::on(&mut request);
    let mut answer = sender.send_request(request).await?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let engine = hyper::upgrade::on(&mut answer);
        tokio::spawn(async move {
            if let (Ok(client), Ok(engine)) = (client.await, engine.await) {
                drop(tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(engine)).await);
            }
        });
    }
    Ok(answer.map(BodyExt::boxed))
}
