//! The resolver: a small DNS server over UDP that tells Caddy where each app lives now.
//!
//! `web.APP.paas.` has an SRV record for each healthy web container of a running app, with the container's port and,
//! because an SRV target must be a name, a name that spells the address: `10-213-0-7.paas.`. An app that takes no
//! requests, or does not exist, has the daemon's page instead (`page.paas.`): an empty answer would make Caddy fall
//! back to an address that may be another app's by now.
//!
//! Two threads. One answers, from a table in memory, and never waits for anything else: Caddy holds a lock while it
//! asks. The other rebuilds the table when it is nudged, or when it sees that the database changed. It also takes the
//! order to make place for another binary: the socket goes over to that one, with the questions that wait on it.

use std::{
    collections::{BTreeSet, HashMap},
    ffi::OsStr,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt},
        net::UnixDatagram,
    },
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, RData, Record, RecordType, rdata},
};

use super::{admin::check_socket_path, caddyfile::reachable};
use crate::{
    Error, Result, clock,
    error::HostError,
    files,
    model::AppName,
    settings::Settings,
    store::{Route, Store},
};

/// How often the database is looked at without a nudge.
const LOOK: Duration = Duration::from_millis(250);
/// How long a port that is taken is waited for, and how often it is tried.
pub(super) const PORT_TAKEN: Duration = Duration::from_secs(4);
const PORT_AGAIN: Duration = Duration::from_millis(100);
/// Within how many milliseconds two writes may have the same time.
const CLOCK_STEP_MS: i64 = 100;
/// The longest answer to a query that names no size of its own (RFC 1035).
const PLAIN_ANSWER_MAX: usize = 512;
/// The size of answer that our own questions allow: all that fits in a datagram on loopback.
const OWN_ANSWER_MAX: u16 = 65_000;
/// What a datagram to the nudge socket begins with that is no nudge but an order: to become the binary at the path
/// which follows.
const BECOME: u8 = b'x';
/// The longest path, and the byte before it.
const ORDER_MAX: usize = 4097;

/// A running resolver; it ends when this is dropped.
#[derive(Debug)]
pub struct Resolver {
    stop: Arc<AtomicBool>,
    address: SocketAddr,
    socket: UdpSocket,
    orders: mpsc::Receiver<PathBuf>,
    threads: Vec<JoinHandle<()>>,
}

/// Starts the resolver of an instance, and listens for nudges.
///
/// # Errors
/// `HostError::Listen` where its address is taken; [`Error::Host`], `UsageError::Settings` for the nudge socket;
/// [`Error::Store`].
pub fn start(settings: &Settings) -> Result<Resolver> {
    let listen = settings.resolver_listen;
    let deadline = clock::instant() + PORT_TAKEN;
    loop {
        match UdpSocket::bind(listen) {
            Ok(socket) => return start_on(settings, socket),
            // As the source of somebody's question it is free again in a moment.
            Err(source) if source.kind() == io::ErrorKind::AddrInUse && clock::instant() < deadline => {
                std::thread::sleep(PORT_AGAIN);
            }
            Err(source) => {
                return Err(Error::Host(HostError::Listen {
                    address: format!("udp/{listen}"),
                    what: "the resolver",
                    setting: "PAAS_RESOLVER_LISTEN",
                    source,
                }));
            }
        }
    }
}

/// Starts the resolver of an instance on a socket that another one has answered on until now.
///
/// # Errors
/// As [`start`].
pub(super) fn start_on(settings: &Settings, socket: UdpSocket) -> Result<Resolver> {
    let set_up = || "set up the resolver's socket";
    socket.set_read_timeout(Some(LOOK)).map_err(Error::io(set_up()))?;
    let answered_on = socket.try_clone().map_err(Error::io(set_up()))?;
    let nudges = Nudges::listen(settings.paths.nudge_socket())?;
    let mut database = Database::new(settings.paths.database());
    let page = reachable(settings.http_listen);
    let table = database.read(page)?;
    let shared = Arc::new(RwLock::new(Arc::new(table)));
    let stop = Arc::new(AtomicBool::new(false));

    let answering = {
        let (shared, stop) = (Arc::clone(&shared), Arc::clone(&stop));
        spawn("resolver", move || answer_all(&answered_on, &shared, &stop))?
    };
    let (order, orders) = mpsc::channel();
    let watching = {
        let stop = Arc::clone(&stop);
        spawn("resolver-table", move || watch(nudges, &mut database, page, &shared, &order, &stop))?
    };
    let address = reachable(settings.resolver_listen);
    Ok(Resolver { stop, address, socket, orders, threads: vec![answering, watching] })
}

/// Orders the resolver that runs to make place for that of another binary. Says whether one took the order.
pub(super) fn order_to_become(nudge_socket: &Path, binary: &Path) -> bool {
    let order = [&[BECOME], binary.as_os_str().as_bytes()].concat();
    UnixDatagram::unbound().and_then(|socket| socket.send_to(&order, nudge_socket)).is_ok()
}

impl Resolver {
    /// Whether it still does its work; where not, a bug ended one of its threads, and it is to be started anew.
    pub fn is_running(&self) -> bool {
        !self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Waits a while for the order to make place for another binary.
    pub(super) fn ordered_to_become(&self, patience: Duration) -> Option<PathBuf> {
        self.orders.recv_timeout(patience).ok()
    }

    /// Ends it, but for its socket: questions wait there until somebody answers on it.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub(super) fn give_up_socket(self) -> Result<UdpSocket> {
        self.socket.try_clone().map_err(Error::io("hand over the resolver's socket"))
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Anything that arrives wakes the answering thread; what does not parse is not answered.
        if let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)) {
            let _ = socket.send_to(b"", self.address);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Asks a resolver where an app's requests go: empty where they go to the page.
///
/// # Errors
/// An I/O error where it does not answer in time, or not in a form that is ours.
pub async fn ask(resolver: SocketAddr, app: &AppName, patience: Duration) -> io::Result<BTreeSet<SocketAddrV4>> {
    let resolver = reachable(resolver);
    let mut question = Message::query();
    let name = Name::from_ascii(format!("web.{app}.paas.")).map_err(io::Error::other)?;
    question.add_query(Query::query(name, RecordType::SRV));
    let mut edns = Edns::new();
    edns.set_max_payload(OWN_ANSWER_MAX);
    question.set_edns(edns);
    let bytes = question.to_vec().map_err(io::Error::other)?;

    let talk = async {
        let local: SocketAddr = if resolver.is_ipv4() { ([127, 0, 0, 1], 0).into() } else { ([0; 16], 0).into() };
        let socket = tokio::net::UdpSocket::bind(local).await?;
        socket.connect(resolver).await?;
        socket.send(&bytes).await?;
        let mut buffer = vec![0; usize::from(u16::MAX)];
        loop {
            let length = socket.recv(&mut buffer).await?;
            match Message::from_vec(&buffer[..length]) {
                Ok(answer) if answer.metadata.id == question.metadata.id => return upstreams_of(&answer),
                _ => {}
            }
        }
    };
    tokio::time::timeout(patience, talk).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// The upstream as Caddy names it where it learnt of it from the resolver.
pub(super) fn upstream_name(upstream: SocketAddrV4) -> String {
    format!("{}.paas.:{}", spelled(*upstream.ip()), upstream.port())
}

/// What the resolver knows, never changed once made.
#[derive(Debug)]
pub(super) struct Table {
    page: SocketAddr,
    apps: HashMap<AppName, Vec<SocketAddrV4>>,
}

impl Table {
    pub(super) fn new(routes: Vec<Route>, page: SocketAddr) -> Table {
        Table { page, apps: routes.into_iter().map(|route| (route.app, route.upstreams)).collect() }
    }
}

/// The database as the resolver looks at it: opened to be read when it has changed, and closed again, so that nothing of
/// it is held by a process that runs for ever. Whoever stops the daemon finds one file with everything in it, and may put
/// another in its place.
struct Database {
    path: PathBuf,
    seen: Option<Stamp>,
}

/// What tells that something was written: of the database and of its log which file it is, how long, and when it was
/// written.
#[derive(Clone, PartialEq, Eq)]
struct Stamp([Option<FileStamp>; 2]);

/// A file's device, number, length, and when it was written, in seconds and nanoseconds.
type FileStamp = (u64, u64, u64, i64, i64);

impl Database {
    fn new(path: PathBuf) -> Database {
        Database { path, seen: None }
    }

    fn stamp(&self) -> Stamp {
        let of = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.dev(), metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
        };
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        Stamp([of(&self.path), of(Path::new(&log))])
    }

    /// Whether it may have been written since it was read.
    fn has_changed(&self) -> bool {
        self.seen.as_ref() != Some(&self.stamp())
    }

    fn read(&mut self, page: SocketAddr) -> Result<Table> {
        // Taken before the rows, so that a change between the two is seen the next time. One whose time is that of the
        // last moment says nothing yet: the clock of the file system has a step.
        let stamp = self.stamp();
        let newest = stamp.0.iter().flatten().map(|(.., seconds, nanos)| seconds * 1000 + nanos / 1_000_000).max();
        let is_settled = newest.is_none_or(|at| (clock::now() - at).abs() > CLOCK_STEP_MS);
        let routes = Store::reopen(&self.path)?.read(|tables| tables.routes())?;
        self.seen = is_settled.then_some(stamp);
        Ok(Table::new(routes, page))
    }
}

/// What a name asks for.
enum Asked {
    /// `web.APP.paas.`: where an app's requests go. No app: none can have that name.
    Web(Option<AppName>),
    /// `10-213-0-7.paas.`: the address it spells.
    Address(Ipv4Addr),
    /// `page.paas.`: the daemon's page.
    Page,
    /// Nothing of ours.
    Unknown,
}

impl Asked {
    fn parse(name: &Name) -> Asked {
        let labels: Option<Vec<String>> =
            name.iter().map(|label| std::str::from_utf8(label).ok().map(str::to_ascii_lowercase)).collect();
        let labels = labels.unwrap_or_default();
        match labels.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["web", app, "paas"] => Asked::Web(app.parse().ok()),
            ["page", "paas"] => Asked::Page,
            [address, "paas"] => address.replace('-', ".").parse().map_or(Asked::Unknown, Asked::Address),
            _ => Asked::Unknown,
        }
    }
}

/// Answers until told to stop.
fn answer_all(socket: &UdpSocket, shared: &RwLock<Arc<Table>>, stop: &AtomicBool) {
    let mut buffer = [0; 4096];
    let mut turn = 0_usize;
    while !stop.load(Ordering::Relaxed) {
        match socket.recv_from(&mut buffer) {
            Ok((length, from)) => {
                let table = Arc::clone(&shared.read().unwrap_or_else(PoisonError::into_inner));
                turn = turn.wrapping_add(1);
                if let Some(answer) = answer(&buffer[..length], &table, turn) {
                    // One who asked and is gone gets no answer.
                    let _ = socket.send_to(&answer, from);
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => {
                tracing::warn!("the resolver cannot receive: {error}");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// The answer to a packet; nothing for one that is no question.
///
/// `turn`: changes from call to call, so that of more upstreams than fit each gets its turn.
pub(super) fn answer(packet: &[u8], table: &Table, turn: usize) -> Option<Vec<u8>> {
    let question =
        Message::from_vec(packet).ok().filter(|message| message.metadata.message_type == MessageType::Query)?;
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    answer.metadata.authoritative = true;
    answer.metadata.recursion_desired = question.metadata.recursion_desired;
    let mut limit = PLAIN_ANSWER_MAX;
    if let Some(edns) = &question.edns {
        limit = limit.max(usize::from(edns.max_payload()));
        let mut own = Edns::new();
        own.set_max_payload(edns.max_payload());
        answer.set_edns(own);
    }
    let [query] = &question.queries[..] else {
        answer.metadata.response_code = ResponseCode::FormErr;
        return answer.to_vec().ok();
    };
    answer.add_query(query.clone());
    if question.metadata.op_code != OpCode::Query {
        answer.metadata.response_code = ResponseCode::NotImp;
        return answer.to_vec().ok();
    }
    match records(query, table) {
        Some(records) => {
            answer.add_answers(records);
        }
        None => answer.metadata.response_code = ResponseCode::NXDomain,
    }
    let mut bytes = answer.to_vec().ok()?;
    if bytes.len() > limit && !answer.answers.is_empty() {
        // A part of a large set, a different one each time, and no truncation bit: with it, Go's resolver asks again
        // over TCP, which Caddy turns into UDP, and then takes the app for unknown.
        let count = answer.answers.len();
        answer.answers.rotate_left(turn % count);
        answer.answers.truncate((count * limit / bytes.len()).max(1));
        bytes = answer.to_vec().ok()?;
        while bytes.len() > limit && answer.answers.len() > 1 {
            answer.answers.pop();
            bytes = answer.to_vec().ok()?;
        }
    }
    Some(bytes)
}

/// The records that answer a query; none where there is no such name.
fn records(query: &Query, table: &Table) -> Option<Vec<Record>> {
    if query.query_class() != DNSClass::IN {
        return None;
    }
    let record = |data: RData| Record::from_rdata(query.name().clone(), 0, data);
    let service = |target: &str, port: u16| {
        Name::from_ascii(target).ok().map(|target| record(RData::SRV(rdata::SRV::new(0, 0, port, target))))
    };
    let host = |ip: IpAddr| match (ip, query.query_type()) {
        (IpAddr::V4(ip), RecordType::A) => vec![record(RData::A(rdata::A(ip)))],
        (IpAddr::V6(ip), RecordType::AAAA) => vec![record(RData::AAAA(rdata::AAAA(ip)))],
        _ => Vec::new(),
    };
    Some(match Asked::parse(query.name()) {
        Asked::Unknown => return None,
        Asked::Page => host(table.page.ip()),
        Asked::Address(ip) => host(IpAddr::V4(ip)),
        Asked::Web(app) => match (app.and_then(|app| table.apps.get(&app)), query.query_type()) {
            (Some(upstreams), RecordType::SRV) => upstreams
                .iter()
                .filter_map(|upstream| service(&format!("{}.paas.", spelled(*upstream.ip())), upstream.port()))
                .collect(),
            (Some(upstreams), _) => upstreams.iter().flat_map(|upstream| host(IpAddr::V4(*upstream.ip()))).collect(),
            (None, RecordType::SRV) => service("page.paas.", table.page.port()).into_iter().collect(),
            (None, _) => host(table.page.ip()),
        },
    })
}

/// Rebuilds the table at every nudge and at every change of the database, until told to stop or ordered to make place.
fn watch(
    mut nudges: Nudges,
    database: &mut Database,
    page: SocketAddr,
    shared: &RwLock<Arc<Table>>,
    order: &mpsc::Sender<PathBuf>,
    stop: &AtomicBool,
) {
    let mut failed = false;
    let mut buffer = [0; ORDER_MAX];
    while !stop.load(Ordering::Relaxed) {
        let mut nudged = false;
        while let Ok(length) = nudges.socket.recv(&mut buffer) {
            if let Some((&BECOME, binary)) = buffer[..length].split_first() {
                let _ = order.send(PathBuf::from(OsStr::from_bytes(binary)));
                return;
            }
            // Those that came meanwhile are served by the same reading.
            nudged = true;
            let _ = nudges.socket.set_nonblocking(true);
        }
        let _ = nudges.socket.set_nonblocking(false);
        nudges.listen_again();
        if !nudged && !database.has_changed() {
            continue;
        }
        match database.read(page) {
            Ok(table) => {
                *shared.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
                failed = false;
            }
            Err(error) => {
                // Once, not four times a second for as long as it lasts.
                if !failed {
                    tracing::warn!("the resolver keeps what it knows: {}", error.one_line());
                }
                failed = true;
            }
        }
    }
}

/// The socket that nudges come to.
struct Nudges {
    path: PathBuf,
    socket: UnixDatagram,
    /// Which one it is among the files.
    place: Option<(u64, u64)>,
}

impl Nudges {
    /// Listens in place of what a former resolver left, or somebody put there.
    fn listen(path: PathBuf) -> Result<Nudges> {
        check_socket_path(&path)?;
        let action = || format!("listen on {}", path.display());
        files::clear(&path)?;
        let socket = UnixDatagram::bind(&path).map_err(Error::io(action()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(Error::io(action()))?;
        socket.set_read_timeout(Some(LOOK)).map_err(Error::io(action()))?;
        let place = place(&path);
        Ok(Nudges { path, socket, place })
    }

    /// Listens again, where nobody finds the socket any more.
    fn listen_again(&mut self) {
        if place(&self.path) == self.place {
            return;
        }
        match Nudges::listen(self.path.clone()) {
            Ok(again) => *self = again,
            Err(error) => tracing::warn!("nobody can nudge the resolver: {}", error.one_line()),
        }
    }
}

fn place(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Reads the upstreams out of an answer to [`ask`]'s question.
fn upstreams_of(answer: &Message) -> io::Result<BTreeSet<SocketAddrV4>> {
    let odd = || io::Error::from(io::ErrorKind::InvalidData);
    if answer.metadata.response_code != ResponseCode::NoError || answer.answers.is_empty() {
        return Err(odd());
    }
    let mut upstreams = BTreeSet::new();
    for record in &answer.answers {
        let RData::SRV(service) = &record.data else { return Err(odd()) };
        match Asked::parse(&service.target) {
            Asked::Address(ip) => {
                upstreams.insert(SocketAddrV4::new(ip, service.port));
            }
            Asked::Page => {}
            _ => return Err(odd()),
        }
    }
    Ok(upstreams)
}

/// An address as a label: `10-213-0-7`.
fn spelled(ip: Ipv4Addr) -> String {
    ip.to_string().replace('.', "-")
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(Error::io("start a thread"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(upstreams: &[(&str, &[&str])]) -> Table {
        let route = |(app, upstreams): &(&str, &[&str])| Route {
            app: app.parse().unwrap(),
            upstreams: upstreams.iter().map(|upstream| upstream.parse().unwrap()).collect(),
        };
        Table::new(upstreams.iter().map(route).collect(), "127.0.0.1:25080".parse().unwrap())
    }

    fn question(name: &str, kind: RecordType, size: Option<u16>) -> Vec<u8> {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        if let Some(size) = size {
            let mut edns = Edns::new();
            edns.set_max_payload(size);
            message.set_edns(edns);
        }
        message.to_vec().unwrap()
    }

    /// What is answered, as text: the code and the records' data.
    fn asked(table: &Table, name: &str, kind: RecordType) -> String {
        let answer = Message::from_vec(&answer(&question(name, kind, None), table, 0).unwrap()).unwrap();
        let data: Vec<String> = answer.answers.iter().map(|record| record.data.to_string()).collect();
        assert!(answer.answers.iter().all(|record| record.ttl == 0));
        format!("{:?} {}", answer.metadata.response_code, data.join(", ")).trim_end().to_owned()
    }

    #[test]
    fn an_app_is_where_its_containers_are() {
        let table = table(&[("blog", &["10.213.0.7:5000", "10.213.0.8:3000"])]);
        let srv = RecordType::SRV;
        assert_eq!(
            asked(&table, "web.blog.paas.", srv),
            "NoError 0 0 5000 10-213-0-7.paas., 0 0 3000 10-213-0-8.paas."
        );
        assert_eq!(asked(&table, "WEB.Blog.PAAS.", srv), asked(&table, "web.blog.paas.", srv));
        assert_eq!(asked(&table, "web.blog.paas.", RecordType::A), "NoError 10.213.0.7, 10.213.0.8");
        assert_eq!(asked(&table, "web.blog.paas.", RecordType::AAAA), "NoError");
        assert_eq!(asked(&table, "10-213-0-7.paas.", RecordType::A), "NoError 10.213.0.7");
        assert_eq!(asked(&table, "10-213-0-7.paas.", RecordType::AAAA), "NoError");
    }

    #[test]
    fn what_takes_no_requests_is_at_the_page() {
        let table = table(&[]);
        assert_eq!(asked(&table, "web.shop.paas.", RecordType::SRV), "NoError 0 0 25080 page.paas.");
        assert_eq!(asked(&table, "web.no_app_has_this.paas.", RecordType::SRV), "NoError 0 0 25080 page.paas.");
        assert_eq!(asked(&table, "page.paas.", RecordType::A), "NoError 127.0.0.1");
        assert_eq!(asked(&table, "page.paas.", RecordType::AAAA), "NoError");
    }

    #[test]
    fn other_names_do_not_exist() {
        for name in ["example.com.", "paas.", "worker.blog.paas.", "10-213-0.paas.", "a.web.blog.paas.", "."] {
            assert_eq!(asked(&table(&[]), name, RecordType::A), "NXDomain", "{name}");
        }
    }

    #[test]
    fn of_a_large_set_a_part_is_answered_and_each_has_its_turn() {
        let upstreams: Vec<String> = (1..=100).map(|last| format!("10.213.200.{last}:5000")).collect();
        let upstreams: Vec<&str> = upstreams.iter().map(String::as_str).collect();
        let table = table(&[("blog", &upstreams)]);
        let mut seen = BTreeSet::new();
        for turn in 0..100 {
            let bytes = answer(&question("web.blog.paas.", RecordType::SRV, Some(1232)), &table, turn).unwrap();
            assert!(bytes.len() <= 1232 && bytes.len() > 1100, "{}", bytes.len());
            let message = Message::from_vec(&bytes).unwrap();
            assert!(!message.metadata.truncation);
            seen.append(&mut upstreams_of(&message).unwrap());
        }
        assert_eq!(seen.len(), 100);
        let all = answer(&question("web.blog.paas.", RecordType::SRV, Some(OWN_ANSWER_MAX)), &table, 7).unwrap();
        assert_eq!(upstreams_of(&Message::from_vec(&all).unwrap()).unwrap().len(), 100);
        let plain = answer(&question("web.blog.paas.", RecordType::SRV, None), &table, 7).unwrap();
        assert!(plain.len() <= 512);
    }

    #[test]
    fn answers_and_noise_are_not_answered() {
        let table = table(&[]);
        let reply = answer(&question("page.paas.", RecordType::A, None), &table, 0).unwrap();
        assert!(answer(&reply, &table, 0).is_none());
        assert!(answer(b"", &table, 0).is_none());
    }

    proptest! {
        #[test]
        fn no_packet_is_too_strange(packet in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = answer(&packet, &table(&[("blog", &["10.213.0.7:5000"])]), 3);
        }

        #[test]
        fn no_damage_is_too_strange(place in 0_usize..60, byte: u8, length in 0_usize..60) {
            let mut packet = question("web.blog.paas.", RecordType::SRV, Some(1232));
            let end = packet.len();
            packet[place % end] = byte;
            packet.truncate(length.min(end));
            let _ = answer(&packet, &table(&[("blog", &["10.213.0.7:5000"])]), 3);
        }
    }
}
