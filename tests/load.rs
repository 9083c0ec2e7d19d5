//! Load on an app through Caddy: requests of five kinds at once, each checked, none ever sent again, every failure
//! counted and told with its time.
//!
//! A request is lost when its answer is not the whole of the right one: another status, another body, a connection
//! that ends or is refused, no answer in time. A connection that the proxy closes between two requests loses nothing;
//! it is counted beside them.

use std::{
    fmt::{self, Display, Formatter},
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::{http1, http2},
    header,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsConnector;

/// When an answer that does not come is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a client that lost a request waits before its next, so that an outage is not counted by the million.
const AFTER_LOSS: Duration = Duration::from_millis(20);
/// How much a POST carries.
const POSTED: usize = 10_000;
/// How many requests at once an HTTP/2 connection carries.
const STREAMS: u64 = 8;
/// How many lost requests are told one by one.
const TOLD: usize = 20;
/// Threads of the client.
const THREADS: usize = 2;

/// What a client does, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A GET on the connection it has.
    KeepAlive,
    /// A GET on a connection of its own.
    NewConnection,
    /// A POST of 10 kB, which are to come back.
    Post,
    /// A GET that is answered after 0.5 to 2 s.
    Slow,
    /// Eight GETs at once on the HTTP/2 connection it has; over TLS only.
    Http2,
}

impl Kind {
    /// All of them, in the order they are told in.
    pub const ALL: [Kind; 5] = [Kind::KeepAlive, Kind::NewConnection, Kind::Post, Kind::Slow, Kind::Http2];

    fn name(self) -> &'static str {
        match self {
            Kind::KeepAlive => "keep-alive GET",
            Kind::NewConnection => "new connection",
            Kind::Post => "POST 10 kB",
            Kind::Slow => "slow response",
            Kind::Http2 => "HTTP/2 GET",
        }
    }
}

/// Where the requests go.
#[derive(Clone, Debug)]
pub struct Target {
    /// Caddy.
    pub address: SocketAddr,
    /// The app's host: an app made from `tests/apps/under-load`.
    pub host: String,
    /// The certificate of Caddy's own authority, where it is asked over TLS.
    pub authority: Option<PathBuf>,
}

/// Clients of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Clients {
    /// What they do.
    pub kind: Kind,
    /// How many they are.
    pub count: usize,
    /// How long each waits between an answer and its next request.
    pub pause: Duration,
}

/// Clients at work, until [`Load::finish`].
pub struct Load {
    begun: Instant,
    shared: Arc<Shared>,
    clients: Vec<(Kind, JoinHandle<Counts>)>,
    runtime: tokio::runtime::Runtime,
}

/// What came of all requests of a kind.
#[derive(Debug, Default)]
pub struct Counts {
    /// Requests that were begun.
    pub sent: u64,
    /// Those that were not answered as they should.
    pub lost: Vec<Lost>,
    /// Connections that were opened anew, because the proxy closed one.
    pub reopened: u64,
    /// The time each good answer took, in microseconds.
    took: Vec<u32>,
    /// The longest of them, and when it was begun.
    slowest: (Duration, Duration),
}

/// A request that was lost.
#[derive(Clone, Debug)]
pub struct Lost {
    /// When it was begun, since the load was.
    pub at: Duration,
    /// How long it took to get lost.
    pub took: Duration,
    /// What happened instead of an answer.
    pub what: String,
}

/// What came of all requests.
#[derive(Debug)]
pub struct Report {
    /// By kind, those kinds that there were clients of.
    pub kinds: Vec<(Kind, Counts)>,
    /// From the first request to the last answer.
    pub lasted: Duration,
}

struct Shared {
    target: Target,
    tls: Option<TlsConnector>,
    begun: Instant,
    stop: AtomicBool,
    answered: AtomicU64,
}

impl Load {
    /// Begins to send.
    pub fn start(target: Target, clients: &[Clients]) -> Load {
        let begun = Instant::now();
        let tls = target.authority.as_ref().map(|file| {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(file).unwrap()).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            TlsConnector::from(Arc::new(config))
        });
        let shared = Arc::new(Shared { target, tls, begun, stop: AtomicBool::new(false), answered: AtomicU64::new(0) });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build().unwrap();
        let mut number = 0;
        let mut tasks = Vec::new();
        for Clients { kind, count, pause } in clients.iter().copied() {
            assert!(kind != Kind::Http2 || shared.tls.is_some(), "HTTP/2 goes over TLS");
            for _ in 0..count {
                number += 1;
                let client = Client { shared: Arc::clone(&shared), kind, number, pause };
                tasks.push((kind, runtime.spawn(client.run())));
            }
        }
        Load { begun, shared, clients: tasks, runtime }
    }

    /// How many requests were answered as they should, up to now.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Waits for the answers to all requests that were sent, and counts them.
    pub fn finish(mut self) -> Report {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut kinds: Vec<(Kind, Counts)> = Vec::new();
        for (kind, client) in std::mem::take(&mut self.clients) {
            let counts = self.runtime.block_on(client).unwrap();
            match kinds.last_mut() {
                Some((last, sum)) if *last == kind => sum.add(counts),
                _ => kinds.push((kind, counts)),
            }
        }
        Report { kinds, lasted: self.begun.elapsed() }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl Counts {
    fn add(&mut self, other: Counts) {
        self.sent += other.sent;
        self.lost.extend(other.lost);
        self.reopened += other.reopened;
        self.took.extend(other.took);
        self.slowest = self.slowest.max(other.slowest);
    }

    /// The time, in milliseconds, within which this part of the good answers came.
    fn percentile(&self, part: f64) -> f64 {
        let mut took = self.took.clone();
        took.sort_unstable();
        let index = (took.len() as f64 * part) as usize;
        took.get(index.min(took.len().saturating_sub(1))).map_or(0.0, |took| f64::from(*took) / 1000.0)
    }
}

impl Report {
    /// How many requests were sent.
    pub fn sent(&self) -> u64 {
        self.kinds.iter().map(|(_, counts)| counts.sent).sum()
    }

    /// How many requests were lost.
    pub fn lost(&self) -> usize {
        self.kinds.iter().map(|(_, counts)| counts.lost.len()).sum()
    }

    /// Fails the test where a request was lost, or where a kind had fewer than so many.
    #[track_caller]
    pub fn expect_nothing_lost(&self, at_least: u64) {
        assert_eq!(self.lost(), 0, "requests were lost\n{self}");
        for (kind, counts) in &self.kinds {
            assert!(counts.sent >= at_least, "too few to prove anything: {}\n{self}", kind.name());
        }
    }
}

impl Display for Report {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{:<15} {:>9} {:>6} {:>8} {:>9} {:>8} {:>8} {:>10}",
            "", "sent", "lost", "reopened", "a second", "p50 ms", "p99 ms", "slowest ms"
        )?;
        for (kind, counts) in &self.kinds {
            let (slowest, at) = counts.slowest;
            writeln!(
                formatter,
                "{:<15} {:>9} {:>6} {:>8} {:>9.0} {:>8.1} {:>8.1} {:>10.1} (at {:.1} s)",
                kind.name(),
                counts.sent,
                counts.lost.len(),
                counts.reopened,
                counts.sent as f64 / self.lasted.as_secs_f64(),
                counts.percentile(0.5),
                counts.percentile(0.99),
                slowest.as_secs_f64() * 1000.0,
                at.as_secs_f64(),
            )?;
        }
        let (sent, lasted) = (self.sent(), self.lasted.as_secs_f64());
        writeln!(formatter, "{:<15} {sent:>9} {:>6} in {lasted:.1} s", "all", self.lost())?;
        let mut lost: Vec<(Kind, &Lost)> =
            self.kinds.iter().flat_map(|(kind, counts)| counts.lost.iter().map(|lost| (*kind, lost))).collect();
        lost.sort_by_key(|(_, lost)| lost.at);
        for (kind, lost) in lost.iter().take(TOLD) {
            let (at, took) = (lost.at.as_secs_f64(), lost.took.as_secs_f64());
            writeln!(formatter, "lost at {at:.3} s after {took:.3} s: {}: {}", kind.name(), lost.what)?;
        }
        if lost.len() > TOLD {
            writeln!(formatter, "and {} more", lost.len() - TOLD)?;
        }
        Ok(())
    }
}

/// One client: its connection, and what it counted.
struct Client {
    shared: Arc<Shared>,
    kind: Kind,
    number: usize,
    pause: Duration,
}

/// A connection that requests can be sent on.
enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

impl Client {
    async fn run(self) -> Counts {
        let mut counts = Counts::default();
        let mut connection: Option<Sender> = None;
        let mut round = 0;
        while !self.shared.stop.load(Ordering::Relaxed) {
            round += 1;
            // Whether it still is one is asked before anything is sent on it.
            if let Some(open) = &mut connection
                && open.ready().await.is_err()
            {
                connection = None;
                counts.reopened += 1;
            }
            let at = self.shared.begun.elapsed();
            let lost_before = counts.lost.len();
            let mut sender = match connection.take() {
                Some(sender) => sender,
                None => match within(PATIENCE, self.shared.connect(self.kind)).await {
                    Ok(sender) => sender,
                    Err(what) => {
                        counts.sent += 1;
                        counts.lost.push(Lost { at, took: self.shared.begun.elapsed() - at, what });
                        tokio::time::sleep(AFTER_LOSS).await;
                        continue;
                    }
                },
            };
            let kept = match &mut sender {
                Sender::One(one) => {
                    let (request, expected) = self.request(round);
                    let answer = within(PATIENCE, async {
                        let answer = one.send_request(request).await.map_err(|error| chain(&error))?;
                        let closes = answer
                            .headers()
                            .get(header::CONNECTION)
                            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
                        check(answer, &expected).await.map(|()| !closes)
                    });
                    self.count(&mut counts, at, answer.await).unwrap_or(false)
                }
                Sender::Two(two) => {
                    let mut answers = JoinSet::new();
                    for stream in 0..STREAMS {
                        let (request, expected) = self.request(round * STREAMS + stream);
                        let mut two = two.clone();
                        answers.spawn(within(PATIENCE, async move {
                            let answer = two.send_request(request).await.map_err(|error| chain(&error))?;
                            check(answer, &expected).await
                        }));
                    }
                    let mut kept = true;
                    while let Some(answer) = answers.join_next().await {
                        kept &= self.count(&mut counts, at, answer.unwrap()).is_some();
                    }
                    kept
                }
            };
            if kept && self.kind != Kind::NewConnection {
                connection = Some(sender);
            } else if self.kind != Kind::NewConnection {
                counts.reopened += 1;
            }
            if counts.lost.len() > lost_before {
                tokio::time::sleep(AFTER_LOSS).await;
            }
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
        }
        counts
    }

    /// A request, and what the body of its answer is to begin with.
    fn request(&self, round: u64) -> (Request<Full<Bytes>>, Bytes) {
        let host = &self.shared.target.host;
        let (path, body) = match self.kind {
            Kind::Post => ("/echo".to_owned(), posted(self.number, round)),
            Kind::Slow => (format!("/slow?ms={}", 500 + (self.number as u64 * 331 + round * 577) % 1501), Bytes::new()),
            Kind::KeepAlive | Kind::NewConnection | Kind::Http2 => ("/".to_owned(), Bytes::new()),
        };
        let expected = match self.kind {
            Kind::Post => body.clone(),
            Kind::Slow => Bytes::from_static(b"slow v"),
            Kind::KeepAlive | Kind::NewConnection | Kind::Http2 => Bytes::from_static(b"hello v"),
        };
        let request = match self.kind {
            Kind::Http2 => Request::get(format!("https://{host}{path}")),
            Kind::Post => Request::builder().method(Method::POST).uri(path).header(header::HOST, host),
            Kind::KeepAlive | Kind::NewConnection | Kind::Slow => Request::get(path).header(header::HOST, host),
        };
        (request.body(Full::new(body)).unwrap(), expected)
    }

    /// Counts a request; returns what came of a good one.
    fn count<T>(&self, counts: &mut Counts, at: Duration, answer: Result<T, String>) -> Option<T> {
        counts.sent += 1;
        let took = self.shared.begun.elapsed() - at;
        match answer {
            Ok(answer) => {
                self.shared.answered.fetch_add(1, Ordering::Relaxed);
                counts.took.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
                counts.slowest = counts.slowest.max((took, at));
                Some(answer)
            }
            Err(what) => {
                counts.lost.push(Lost { at, took, what });
                None
            }
        }
    }
}

impl Shared {
    async fn connect(&self, kind: Kind) -> Result<Sender, String> {
        let stream = TcpStream::connect(self.target.address).await.map_err(|error| format!("connecting: {error}"))?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let Some(tls) = &self.tls else { return handshake(stream, kind).await };
        let protocol: &[u8] = if kind == Kind::Http2 { b"h2" } else { b"http/1.1" };
        let name = ServerName::try_from(self.target.host.clone()).unwrap();
        let mut config = ClientConfig::clone(tls.config());
        config.alpn_protocols = vec![protocol.to_vec()];
        // A handshake each: what a client that was never here before does.
        config.resumption = rustls::client::Resumption::disabled();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        let stream = stream.map_err(|error| format!("TLS: {error}"))?;
        if stream.get_ref().1.alpn_protocol() != Some(protocol) {
            return Err("Caddy does not speak the protocol".to_owned());
        }
        handshake(stream, kind).await
    }
}

impl Sender {
    async fn ready(&mut self) -> hyper::Result<()> {
        match self {
            Sender::One(one) => one.ready().await,
            Sender::Two(two) => two.ready().await,
        }
    }
}

async fn handshake(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, kind: Kind) -> Result<Sender, String> {
    let stream = TokioIo::new(stream);
    if kind == Kind::Http2 {
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), stream).await.map_err(|error| chain(&error))?;
        // How it ends is told to the requests on it.
        tokio::spawn(async { drop(connection.await) });
        Ok(Sender::Two(sender))
    } else {
        let (sender, connection) = http1::handshake(stream).await.map_err(|error| chain(&error))?;
        tokio::spawn(async { drop(connection.await) });
        Ok(Sender::One(sender))
    }
}

/// Checks an answer to its last byte.
async fn check(answer: Response<Incoming>, expected: &Bytes) -> Result<(), String> {
    let status = answer.status();
    let body = answer.into_body().collect().await.map_err(|error| format!("{status}, then {}", chain(&error)))?;
    let body = body.to_bytes();
    // After the words the version follows, and nothing after what was posted.
    let whole = body.len() == expected.len() || body.ends_with(b"\n");
    if status == StatusCode::OK && body.starts_with(expected) && whole {
        return Ok(());
    }
    let shown = String::from_utf8_lossy(&body[..body.len().min(100)]).into_owned();
    Err(format!("{status}, {} bytes: {shown:?}", body.len()))
}

async fn within<T>(patience: Duration, work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    tokio::time::timeout(patience, work).await.unwrap_or_else(|_| Err(format!("no answer within {patience:?}")))
}

/// A body that no other request has.
fn posted(client: usize, round: u64) -> Bytes {
    let mut body = format!("{client}:{round}:").into_bytes();
    body.resize(POSTED, b'x');
    Bytes::from(body)
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
