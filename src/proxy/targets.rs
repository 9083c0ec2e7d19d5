//! Where the targets of routes are, and whether they are well: looked at from here, as their requests come from here.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::Empty;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{
    dns,
    engine::Engine,
    model::{Domain, HostHeader, RouteHealth, RouteOptions, RouteSource, RouteTarget, TargetPlace},
};

/// How long a target may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many addresses of a name are used.
const MOST_ADDRESSES: usize = 16;

/// What is known of a target that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Its addresses that are well.
    pub addresses: Vec<IpAddr>,
    /// Why there is none, or not all.
    pub failing: Option<String>,
}

impl Look {
    fn failing(reason: impl Into<String>) -> Look {
        Look { addresses: Vec::new(), failing: Some(reason.into()) }
    }
}

/// Looks at a target of a route. None: nobody can say where it is, because the engine does not answer.
///
/// `targets`: all of the route.
pub async fn look(
    engine: Option<&Engine>,
    source: &RouteSource,
    options: &RouteOptions,
    targets: &[RouteTarget],
    target: &RouteTarget,
) -> Option<Look> {
    let addresses = match &target.place {
        TargetPlace::Address(address) => vec![*address],
        TargetPlace::Name(name) => match timeout(PATIENCE, dns::addresses_of(name)).await {
            Ok(Ok(found)) if !found.is_empty() => found,
            Ok(Ok(_)) => return Some(Look::failing(format!("{name} has no address"))),
            Ok(Err(error)) => return Some(Look::failing(format!("{name} has no address: {error}"))),
            Err(_) => return Some(Look::failing(format!("no name server says in time where {name} is"))),
        },
        TargetPlace::Container(name) => match engine?.place_of(name.as_str()).await.ok()? {
            None => return Some(Look::failing(format!("there is no container {name}"))),
            Some(place) if !place.is_running => {
                return Some(Look::failing(format!("the container {name} does not run")));
            }
            Some(place) if place.addresses.is_empty() => {
                return Some(Look::failing(format!("the container {name} is on no network that this machine reaches")));
            }
            Some(place) => place.addresses,
        },
    };
    let addresses: Vec<IpAddr> = addresses.into_iter().take(MOST_ADDRESSES).collect();
    let asked = addresses.iter().map(|address| {
        let question = Question { source, options, targets, target, address: *address };
        async move { (*address, question.ask().await) }
    });
    let mut look = Look { addresses: Vec::new(), failing: None };
    let answers = join_all(asked).await;
    look.addresses.extend(answers.iter().filter(|(_, answer)| answer.is_ok()).map(|(address, _)| *address));
    for (address, answer) in answers {
        // A name may have addresses of a kind that nobody serves, or that this machine has no way to.
        let is_of_use =
            look.addresses.is_empty() || look.addresses.iter().any(|well| well.is_ipv4() == address.is_ipv4());
        if let (Err(reason), true) = (answer, is_of_use) {
            look.failing = Some(if addresses.len() > 1 { format!("{address}: {reason}") } else { reason });
        }
    }
    Some(look)
}

/// What is asked of an address of a target.
struct Question<'a> {
    source: &'a RouteSource,
    options: &'a RouteOptions,
    targets: &'a [RouteTarget],
    target: &'a RouteTarget,
    address: IpAddr,
}

impl Question<'_> {
    /// Asks it.
    async fn ask(&self) -> Result<(), String> {
        if self.options.health == RouteHealth::Off {
            return Ok(());
        }
        timeout(PATIENCE, self.connect())
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
    }

    async fn connect(&self) -> Result<(), String> {
        let port = self.target.port;
        let stream = TcpStream::connect(SocketAddr::new(self.address, port))
            .await
            .map_err(|error| format!("port {port} takes no connection: {error}"))?;
        if !self.target.secure {
            return self.talk(stream).await;
        }
        let name = self.server_name().map_err(|error| format!("there is no certificate for such a name: {error}"))?;
        let connector = TlsConnector::from(tls(self.options.tls_verify)?);
        let stream = connector.connect(name, stream).await.map_err(|error| format!("TLS fails: {error}"))?;
        self.talk(stream).await
    }

    /// What the certificate of the target is to be for.
    fn server_name(&self) -> Result<ServerName<'static>, String> {
        let name = match self.options.host_header_of(self.targets) {
            HostHeader::Name(name) => Some(name.to_string()),
            HostHeader::Target | HostHeader::Keep => self.target.own_name(),
        };
        let name = name.unwrap_or_else(|| self.address.to_string());
        let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
        ServerName::try_from(name).map_err(|error| error.to_string())
    }

    /// As which host it is asked.
    fn host(&self) -> String {
        let own = || self.target.own_name().unwrap_or_else(|| self.address.to_string());
        match self.options.host_header_of(self.targets) {
            HostHeader::Name(name) => name.to_string(),
            HostHeader::Target => own(),
            HostHeader::Keep => match self.source.host() {
                Some(Domain::Exact(name)) => name.to_string(),
                _ => own(),
            },
        }
    }

    async fn talk(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<(), String> {
        let RouteHealth::Path(path) = &self.options.health else { return Ok(()) };
        let said = |error: hyper::Error| format!("GET {path}: {error}");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(said)?;
        let connection = tokio::spawn(connection);
        let request = Request::get(path)
            .header(header::HOST, self.host())
            .header(header::USER_AGENT, "paas-check")
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| format!("GET {path}: {error}"))?;
        let answer = sender.send_request(request).await.map_err(said);
        connection.abort();
        match answer?.status().as_u16() {
            200..=399 => Ok(()),
            status => Err(format!("GET {path} answered {status}")),
        }
    }
}

/// How targets are spoken to over TLS: with the certificates of the authorities that this machine trusts, as Caddy has them.
/// Made once, because they are many.
fn tls(verify: bool) -> Result<Arc<ClientConfig>, String> {
    static VERIFIED: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    static ANY: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let made = if verify { &VERIFIED } else { &ANY };
    if let Some(config) = made.get() {
        return Ok(Arc::clone(config));
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let config = if verify {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        builder.with_root_certificates(roots).with_no_client_auth()
    } else {
        let any = Arc::new(Any(ring::default_provider()));
        builder.dangerous().with_custom_certificate_verifier(any).with_no_client_auth()
    };
    Ok(Arc::clone(made.get_or_init(|| Arc::new(config))))
}

/// Takes any certificate, for routes that say so (`tls-verify=off`).
#[derive(Debug)]
struct Any(CryptoProvider);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
