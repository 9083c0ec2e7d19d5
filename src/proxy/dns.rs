//! The names by which Caddy asks the edge where a request goes: a small part of DNS over UDP (RFC 1035, SRV of RFC 2782).
//!
//! `HOST.https.paas.` and `HOST.http.paas.` have an SRV record for each healthy web container of the app that the host
//! leads to, with the container's port and, because an SRV target must be a name, a name that spells the address:
//! `10-213-0-7.paas.`. A host that leads nowhere, or where the edge itself has something to say, has the edge's page
//! instead (`page.paas.`): an empty answer would make Caddy fall back to an address that may be another app's by now.
//! `HOST.http-8080.paas.` is the same for a port of HTTP beside the proxy's own (`ports:add`).
//! `7.route.paas.` has one for each target of a route that is well, for the Caddy behind the first.
//! `web.APP.paas.` is the same by the app's name: for our own questions, and for the Caddyfile of 0.1.0.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr, SocketAddrV4, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, RData, Record, RecordType, rdata},
};

use super::{
    caddyfile::reachable,
    routed::{spelled, unspelled},
    table::{Scheme, Table, Target},
};
use crate::{
    model::{AppName, RouteId},
    settings::Settings,
};

/// The longest answer to a query that names no size of its own (RFC 1035).
const PLAIN_ANSWER_MAX: usize = 512;
/// The size of answer that our own questions allow: all that fits in a datagram on loopback.
const OWN_ANSWER_MAX: u16 = 65_000;
/// How long the edge may take to answer one of our own questions.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks the edge where an app's requests go: empty where they go to the page.
///
/// # Errors
/// An I/O error where it does not answer in time, or not in a form that is ours.
pub async fn ask(edge: SocketAddr, app: &AppName, patience: Duration) -> io::Result<BTreeSet<SocketAddrV4>> {
    let edge = reachable(edge);
    let mut question = Message::query();
    let name = Name::from_ascii(format!("web.{app}.paas.")).map_err(io::Error::other)?;
    question.add_query(Query::query(name, RecordType::SRV));
    let mut edns = Edns::new();
    edns.set_max_payload(OWN_ANSWER_MAX);
    question.set_edns(edns);
    let bytes = question.to_vec().map_err(io::Error::other)?;

    let talk = async {
        let local: SocketAddr = if edge.is_ipv4() { ([127, 0, 0, 1], 0).into() } else { ([0; 16], 0).into() };
        let socket = tokio::net::UdpSocket::bind(local).await?;
        socket.connect(edge).await?;
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

/// Whether the edge answers.
pub async fn edge_answers(settings: &Settings) -> bool {
    let Ok(any) = "unknown".parse() else { return true };
    ask(settings.resolver_listen, &any, PATIENCE).await.is_ok()
}

/// The upstream as Caddy names it where it learnt of it from the edge.
pub(super) fn upstream_name(upstream: SocketAddrV4) -> String {
    format!("{}.paas.:{}", spelled(IpAddr::V4(*upstream.ip())), upstream.port())
}

/// What a name asks for.
enum Asked {
    /// `HOST.https.paas.`: where the requests for a host go, in lower case; `HOST.http-8080.paas.`: at that port.
    Host(String, Scheme, Option<u16>),
    /// `web.APP.paas.`: where an app's requests go. No app: none can have that name.
    Web(Option<AppName>),
    /// `7.route.paas.`: where the targets of a route are.
    Route(RouteId),
    /// `10-213-0-7.paas.`: the address it spells.
    Address(IpAddr),
    /// `page.paas.`: the edge's page.
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
            [ref host @ .., site, "paas"] if !host.is_empty() && Scheme::of_site(site).is_some() => {
                let (scheme, port) = Scheme::of_site(site).unwrap_or((Scheme::Http, None));
                Asked::Host(host.join("."), scheme, port)
            }
            ["web", app, "paas"] => Asked::Web(app.parse().ok()),
            [id, "route", "paas"] => id.parse().map_or(Asked::Unknown, |id| Asked::Route(RouteId(id))),
            ["page", "paas"] => Asked::Page,
            [address, "paas"] => unspelled(address).map_or(Asked::Unknown, Asked::Address),
            _ => Asked::Unknown,
        }
    }
}

/// Answers until told to stop.
///
/// `table`: the one to answer from now.
pub fn answer_all(socket: &UdpSocket, table: impl Fn() -> Arc<Table>, stop: &AtomicBool) {
    let mut buffer = [0; 4096];
    let mut turn = 0_usize;
    while !stop.load(Ordering::Relaxed) {
        match socket.recv_from(&mut buffer) {
            Ok((length, from)) => {
                let table = table();
                turn = turn.wrapping_add(1);
                if let Some(answer) = answer(&buffer[..length], &table, turn) {
                    // One who asked and is gone gets no answer.
                    let _ = socket.send_to(&answer, from);
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => {
                tracing::warn!("the edge cannot receive: {error}");
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
    let at = |address: SocketAddr| service(&format!("{}.paas.", spelled(address.ip())), address.port());
    let to = |target: Target<'_>| match (target, query.query_type()) {
        (Target::Foreign(upstreams), RecordType::SRV) => upstreams.iter().filter_map(|it| at(*it)).collect(),
        (Target::Foreign(upstreams), _) => upstreams.iter().flat_map(|it| host(it.ip())).collect(),
        (Target::Upstreams(upstreams), RecordType::SRV) => {
            upstreams.iter().filter_map(|upstream| at(SocketAddr::V4(*upstream))).collect()
        }
        (Target::Upstreams(upstreams), _) => {
            upstreams.iter().flat_map(|upstream| host(IpAddr::V4(*upstream.ip()))).collect()
        }
        (Target::Edge, RecordType::SRV) => service("page.paas.", table.page().port()).into_iter().collect(),
        (Target::Edge, _) => host(table.page().ip()),
    };
    Some(match Asked::parse(query.name()) {
        Asked::Unknown => return None,
        Asked::Page => host(table.page().ip()),
        Asked::Address(ip) => host(ip),
        Asked::Route(id) => to(match table.route(id)? {
            [] => Target::Edge,
            upstreams => Target::Foreign(upstreams),
        }),
        Asked::Web(app) => {
            let upstreams = app.and_then(|app| table.app(&app)).map_or(&[][..], |entry| &entry.upstreams);
            to(if upstreams.is_empty() { Target::Edge } else { Target::Upstreams(upstreams) })
        }
        Asked::Host(name, scheme, port) => to(table.target(&name, scheme, port)),
    })
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
            Asked::Address(IpAddr::V4(ip)) => {
                upstreams.insert(SocketAddrV4::new(ip, service.port));
            }
            Asked::Page => {}
            _ => return Err(odd()),
        }
    }
    Ok(upstreams)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(upstreams: &[(&str, &[&str])]) -> Table {
        let host = |(app, upstreams): &(&str, &[&str])| {
            let upstreams = upstreams.iter().map(|upstream| upstream.parse().unwrap()).collect();
            (format!("{app}.example").parse().unwrap(), app.parse().unwrap(), upstreams)
        };
        Table::of(upstreams.iter().map(host).collect(), "127.0.0.1:25080".parse().unwrap())
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
        for name in ["WEB.Blog.PAAS.", "blog.example.https.paas.", "Blog.Example.HTTP.paas."] {
            assert_eq!(asked(&table, name, srv), asked(&table, "web.blog.paas.", srv), "{name}");
        }
        assert_eq!(asked(&table, "blog.example.https.paas.", RecordType::A), "NoError 10.213.0.7, 10.213.0.8");
        assert_eq!(asked(&table, "web.blog.paas.", RecordType::A), "NoError 10.213.0.7, 10.213.0.8");
        assert_eq!(asked(&table, "web.blog.paas.", RecordType::AAAA), "NoError");
        assert_eq!(asked(&table, "10-213-0-7.paas.", RecordType::A), "NoError 10.213.0.7");
        assert_eq!(asked(&table, "10-213-0-7.paas.", RecordType::AAAA), "NoError");
    }

    #[test]
    fn what_takes_no_requests_is_at_the_page() {
        let table = table(&[("down", &[])]);
        let odd = "a_b.http.paas.";
        for name in ["web.shop.paas.", "web.no_app_has_this.paas.", "shop.example.https.paas.", "x.http.paas.", odd] {
            assert_eq!(asked(&table, name, RecordType::SRV), "NoError 0 0 25080 page.paas.", "{name}");
        }
        assert_eq!(asked(&table, "down.example.https.paas.", RecordType::SRV), "NoError 0 0 25080 page.paas.");
        assert_eq!(asked(&table, "shop.example.https.paas.", RecordType::A), "NoError 127.0.0.1");
        assert_eq!(asked(&table, "page.paas.", RecordType::A), "NoError 127.0.0.1");
        assert_eq!(asked(&table, "page.paas.", RecordType::AAAA), "NoError");
    }

    #[test]
    fn at_another_port_an_app_is_where_that_port_leads() {
        let table = table(&[("blog", &["10.213.0.7:5000"]), ("shop", &["10.213.0.8:5000"])]);
        let blog = table.app(&"blog".parse().unwrap()).unwrap().id;
        let table = table.with_http_port(blog, 8080, vec!["10.213.0.7:3000".parse().unwrap()]);
        let table = table.with_http_port(blog, 8081, Vec::new());
        let srv = |name: &str| asked(&table, name, RecordType::SRV);
        for name in ["blog.example.http-8080.paas.", "BLOG.Example.HTTPS-8080.paas."] {
            assert_eq!(srv(name), "NoError 0 0 3000 10-213-0-7.paas.", "{name}");
        }
        assert_eq!(srv("blog.example.http.paas."), "NoError 0 0 5000 10-213-0-7.paas.");
        let page = "NoError 0 0 25080 page.paas.";
        for name in ["blog.example.http-8081.paas.", "blog.example.http-9.paas.", "shop.example.http-8080.paas."] {
            assert_eq!(srv(name), page, "{name}");
        }
        for name in ["blog.example.http-0.paas.", "blog.example.http-x.paas.", "blog.example.http-65536.paas."] {
            assert_eq!(srv(name), "NXDomain", "{name}");
        }
    }

    #[test]
    fn other_names_do_not_exist() {
        for name in [
            "example.com.",
            "https.paas.",
            "blog.example.ftp.paas.",
            "paas.",
            "worker.blog.paas.",
            "10-213-0.paas.",
            "a.web.blog.paas.",
            ".",
        ] {
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
