//! Where names lead: asked of name servers over UDP (RFC 1035).

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

use hickory_proto::{
    op::{Edns, Message, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};

/// How long one server may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many times each is asked.
const ROUNDS: usize = 2;
/// The size of answer that passes all networks (RFC 9715).
const ANSWER_MAX: u16 = 1232;
/// Where this machine's name servers are written.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Why a name leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// There is no such name.
    NoName,
    /// The name servers fail, and how.
    Failed(String),
}

/// The name servers of this machine.
pub(super) fn servers_of_machine() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
    let addresses = text.lines().filter_map(|line| line.strip_prefix("nameserver")).filter_map(|rest| {
        // An address of the link has the name of its interface behind it, which only its own machine understands.
        rest.trim().parse::<IpAddr>().ok()
    });
    let servers: Vec<SocketAddr> = addresses.map(|address| (address, 53).into()).collect();
    if servers.is_empty() { vec![([127, 0, 0, 1], 53).into()] } else { servers }
}

/// The addresses of a name.
pub(super) async fn addresses(servers: &[SocketAddr], name: &str) -> Result<BTreeSet<IpAddr>, NoAnswer> {
    let (four, six) = tokio::join!(ask(servers, name, RecordType::A), ask(servers, name, RecordType::AAAA));
    let found: BTreeSet<IpAddr> = [&four, &six]
        .into_iter()
        .filter_map(|answer| answer.as_ref().ok())
        .flatten()
        .filter_map(|data| match data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        })
        .collect();
    if found.is_empty() {
        four?;
        six?;
    }
    Ok(found)
}

/// Whether a TXT record of a name has a value.
pub(super) async fn has_text(servers: &[SocketAddr], name: &str, value: &str) -> bool {
    let is_it = |data: &RData| match data {
        RData::TXT(text) => text.txt_data.concat() == value.as_bytes(),
        _ => false,
    };
    ask(servers, name, RecordType::TXT).await.is_ok_and(|found| found.iter().any(is_it))
}

/// Asks for records of a name, of one server after the other until one knows.
async fn ask(servers: &[SocketAddr], name: &str, kind: RecordType) -> Result<Vec<RData>, NoAnswer> {
    let mut failed = "there is no name server to ask".to_owned();
    for server in std::iter::repeat_n(servers, ROUNDS).flatten() {
        match tokio::time::timeout(PATIENCE, ask_one(*server, name, kind)).await {
            Ok(Ok(answer)) => match answer.metadata.response_code {
                ResponseCode::NoError => return Ok(answer.answers.into_iter().map(|record| record.data).collect()),
                ResponseCode::NXDomain => return Err(NoAnswer::NoName),
                code => failed = format!("the name server {server} says {code}"),
            },
            Ok(Err(error)) => failed = format!("the name server {server} cannot be asked: {error}"),
            Err(_) => failed = format!("the name server {server} does not answer"),
        }
    }
    Err(NoAnswer::Failed(failed))
}

async fn ask_one(server: SocketAddr, name: &str, kind: RecordType) -> io::Result<Message> {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    let name = Name::from_ascii(format!("{}.", name.trim_end_matches('.'))).map_err(io::Error::other)?;
    question.add_query(Query::query(name, kind));
    let mut edns = Edns::new();
    edns.set_max_payload(ANSWER_MAX);
    question.set_edns(edns);
    let bytes = question.to_vec().map_err(io::Error::other)?;
    let local: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
    let socket = tokio::net::UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    socket.send(&bytes).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match Message::from_vec(&buffer[..length]) {
            Ok(answer) if answer.metadata.id == question.metadata.id && answer.queries == question.queries => {
                return Ok(answer);
            }
            _ => {}
        }
    }
}

/// Whether an address is one of this machine's.
pub(super) fn is_of_machine(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}
