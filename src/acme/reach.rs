//! Whether a name leads to this server: looked at before the authority is asked to look, which counts what it does in vain.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Failure;
use crate::{
    Result, clock,
    dns::Resolver,
    instance::{Instance, value_of},
    model::{Answer, Hostname, Trouble, property},
};

/// The port that an authority asks.
const AUTHORITY_PORT: u16 = 80;
/// How long an address may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long our own proxy may take to answer with what is new.
const OWN: Duration = Duration::from_secs(10);
/// The longest answer that is read.
const ANSWER_MAX: usize = 4096;

/// What is known of where this server is.
pub(super) struct Here {
    /// Whom to ask where names lead; none where nobody is to be asked.
    pub resolver: Option<Resolver>,
    public: Vec<IpAddr>,
    http_port: u16,
}

impl Here {
    pub fn read(instance: &Instance) -> Result<Here> {
        let text = |property| {
            let value = instance.read(|tables| value_of(&instance.settings, tables, property, None))?;
            Ok::<_, crate::Error>(match value {
                Some(property::Value::Text(text)) => Some(text),
                _ => None,
            })
        };
        let servers = text(&property::NAME_SERVERS)?.and_then(|text| property::name_servers(&text).ok());
        let public = text(&property::PUBLIC_ADDRESSES)?.and_then(|text| property::addresses(&text).ok());
        let resolver = match servers.as_deref() {
            Some([]) => None,
            servers => Some(Resolver::new(servers.unwrap_or_default())?),
        };
        Ok(Here { resolver, public: public.unwrap_or_default(), http_port: instance.settings.proxy_http_port })
    }

    /// Waits until our own proxy answers a question of an authority's as it should.
    pub async fn answers_itself(&self, host: &str, token: &str, answer: &str) -> Result<(), Failure> {
        let deadline = clock::instant() + OWN;
        let own = SocketAddr::from(([127, 0, 0, 1], self.http_port));
        loop {
            let said = match ask(own, host, token).await {
                Ok((200, body)) if body.trim_end() == answer => return Ok(()),
                Ok((status, _)) => format!("answers {status}"),
                Err(reason) => reason,
            };
            if clock::instant() >= deadline {
                let reason = format!("this server's own proxy does not answer the authority's question: {said}");
                return Err(Failure::new(Trouble::Proxy, reason).of_all());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whether a name leads here. Addresses that are ours are not asked; any other one must answer as ours do: it may be a
    /// router's, or that of a proxy in front. Where there is nobody to ask, only the authority looks.
    pub async fn leads_here(&self, host: &Hostname, token: &str, answer: &str) -> Result<(), Failure> {
        let Some(resolver) = &self.resolver else { return Ok(()) };
        let found = match resolver.look_up(host).await.answer {
            Answer::Addresses(found) => found,
            Answer::NoSuchName => {
                return Err(Failure::new(Trouble::Unresolved, format!("{host} is not known in DNS")));
            }
            Answer::NoAddress => {
                return Err(Failure::new(Trouble::Unresolved, format!("{host} has no address in DNS")));
            }
            Answer::Silent(reason) => {
                return Err(Failure::new(Trouble::Dns, format!("the name servers do not answer for {host}: {reason}")));
            }
        };
        let is_ours = |address: IpAddr| self.public.contains(&address) || is_of_machine(address);
        let any_is_ours = found.iter().copied().any(is_ours);
        for address in found.iter().copied().filter(|address| !is_ours(*address)) {
            let (trouble, reason) = match ask((address, AUTHORITY_PORT).into(), host.as_str(), token).await {
                Ok((200, body)) if body.trim_end() == answer => continue,
                Ok((status, _)) => (Trouble::Elsewhere, format!("another server answers there, with {status}")),
                Err(reason) => (Trouble::Elsewhere, reason),
            };
            let trouble = if address.is_ipv6() && (any_is_ours || found.iter().any(IpAddr::is_ipv4)) {
                Trouble::Ipv6
            } else {
                trouble
            };
            let reason = format!("{host} leads to {address}, which is not this server: {reason}");
            return Err(Failure::new(trouble, reason));
        }
        Ok(())
    }
}

/// Whether an address is one of this machine's.
fn is_of_machine(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// Asks a server what an authority would ask, and returns its status and its answer.
async fn ask(server: SocketAddr, host: &str, token: &str) -> Result<(u16, String), String> {
    let asked = async {
        let stream = TcpStream::connect(server).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::ConnectionRefused => format!("port {} refuses connections", server.port()),
            _ => format!("port {}: {error}", server.port()),
        })?;
        let no_http = |error: hyper::Error| format!("port {} does not speak HTTP: {error}", server.port());
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(no_http)?;
        let request = Request::get(format!("/.well-known/acme-challenge/{token}"))
            .header(header::HOST, host)
            .header(header::USER_AGENT, "paas-acme")
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        let talk = async {
            let answer = sender.send_request(request).await.map_err(no_http)?;
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
            let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            Ok((status, String::from_utf8_lossy(&body).into_owned()))
        };
        let mut talk = std::pin::pin!(talk);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            said = &mut talk => said,
            _ = &mut connection => talk.await,
        }
    };
    let late = || Err(format!("port {} does not answer", server.port()));
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| late())
}
