//! A client of Caddy's admin endpoint, which is a unix socket below the root directory.

use std::{io, os::unix::fs::FileTypeExt, path::PathBuf, time::Duration};

use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, StatusCode,
    body::Bytes,
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{net::UnixStream, time::timeout};

use crate::{
    Error, Result,
    error::{ProxyError, UsageError},
    settings::Paths,
};

/// How long a question may take.
const ASK: Duration = Duration::from_secs(2);
/// How long adapting a Caddyfile of thousands of apps may take.
const ADAPT: Duration = Duration::from_secs(10);
/// How long loading one may take.
const LOAD: Duration = Duration::from_secs(30);
/// The longest path of a unix socket (unix(7)), without its final zero.
const SOCKET_PATH_MAX: usize = 107;

/// The admin endpoint of an instance's Caddy. Nothing is kept open between two calls.
#[derive(Clone, Debug)]
pub struct Admin {
    socket: PathBuf,
}

/// How many requests an upstream is answering now.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Upstream {
    /// The upstream as Caddy names it: `10-213-0-7.paas.:5000`, or `{fallback1}`.
    pub address: String,
    /// Requests in flight.
    pub num_requests: u64,
}

impl Admin {
    /// The admin endpoint of the instance at `paths`.
    ///
    /// # Errors
    /// `UsageError::Settings` where the root directory's path is too long to have a socket below it.
    pub fn new(paths: &Paths) -> Result<Admin> {
        Admin::at(paths.caddy_admin())
    }

    /// That of any Caddy, by its socket.
    ///
    /// # Errors
    /// `UsageError::Settings` where the path is too long for a socket.
    pub fn at(socket: PathBuf) -> Result<Admin> {
        check_socket_path(&socket)?;
        Ok(Admin { socket })
    }

    /// Asks whether a Caddyfile is in force. While Caddy loads one, it answers only when that is done.
    ///
    /// # Errors
    /// `ProxyError::Unavailable`, also of a Caddy that answers but has none: its ports were taken, and it is about to
    /// end.
    pub async fn ping(&self) -> Result<()> {
        let (status, body) = self.request(Method::GET, "/config/admin", Bytes::new(), ASK).await?;
        if status.is_success() && body.trim_ascii() != b"null" {
            return Ok(());
        }
        Err(self.unavailable("it runs, but no Caddyfile is in force"))
    }

    /// Whether something holds the endpoint: also one that is too busy to answer.
    pub async fn listens(&self) -> bool {
        // Somebody may have put something else in its place.
        if !std::fs::metadata(&self.socket).is_ok_and(|found| found.file_type().is_socket()) {
            return false;
        }
        match timeout(ASK, UnixStream::connect(&self.socket)).await {
            Ok(Err(error)) => !matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound),
            Ok(Ok(_)) | Err(_) => true,
        }
    }

    /// Has a Caddyfile checked, as far as its grammar goes.
    ///
    /// # Errors
    /// `ProxyError::Refused` with Caddy's reason; `ProxyError::Unavailable`.
    pub async fn adapt(&self, text: &str) -> Result<()> {
        accepted(self.request(Method::POST, "/adapt", Bytes::copy_from_slice(text.as_bytes()), ADAPT).await?)
    }

    /// Puts a Caddyfile in force. A refused one leaves the one before in force.
    ///
    /// # Errors
    /// `ProxyError::Refused` with Caddy's reason; `ProxyError::Unavailable`.
    pub async fn load(&self, text: &str) -> Result<()> {
        accepted(self.request(Method::POST, "/load", Bytes::copy_from_slice(text.as_bytes()), LOAD).await?)
    }

    /// Counts the requests in flight, by upstream.
    ///
    /// # Errors
    /// `ProxyError::Unavailable`.
    pub async fn upstreams(&self) -> Result<Vec<Upstream>> {
        let (status, body) = self.request(Method::GET, "/reverse_proxy/upstreams", Bytes::new(), ASK).await?;
        // Where nothing was proxied yet, Caddy says `null`.
        serde_json::from_slice::<Option<Vec<Upstream>>>(&body)
            .map(Option::unwrap_or_default)
            .map_err(|error| self.unavailable(format!("it answered {status} and {error}")))
    }

    async fn request(
        &self,
        method: Method,
        path: &'static str,
        body: Bytes,
        limit: Duration,
    ) -> Result<(StatusCode, Bytes)> {
        let talk = async {
            let stream = UnixStream::connect(&self.socket).await.map_err(|error| error.to_string())?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
            let connection = tokio::spawn(connection);
            let request = Request::builder()
                .method(method)
                .uri(path)
                // Caddy 2.6 answers 403 on a unix socket unless the host is empty.
                .header(HOST, "")
                .header(CONTENT_TYPE, "text/caddyfile")
                .body(Full::new(body))
                .map_err(|error| error.to_string())?;
            let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let status = response.status();
            let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
            connection.abort();
            Ok((status, body))
        };
        match timeout(limit, talk).await {
            Ok(result) => result.map_err(|reason: String| self.unavailable(reason)),
            Err(_) => Err(self.unavailable(format!("no answer within {} s", limit.as_secs()))),
        }
    }

    fn unavailable(&self, reason: impl std::fmt::Display) -> Error {
        Error::Proxy(ProxyError::Unavailable {
            reason: format!("{}: {reason}", self.socket.display()),
            caddyfile: None,
        })
    }
}

/// Refuses a path that is too long for a unix socket.
///
/// # Errors
/// `UsageError::Settings`.
pub fn check_socket_path(path: &std::path::Path) -> Result<()> {
    let length = path.as_os_str().len();
    if length <= SOCKET_PATH_MAX {
        return Ok(());
    }
    Err(Error::Usage(UsageError::Settings {
        message: format!(
            "PAAS_ROOT: the path of the socket {} has {length} bytes, at most {SOCKET_PATH_MAX} fit: choose a shorter root",
            path.display()
        ),
    }))
}

/// Reads Caddy's answer to a Caddyfile.
fn accepted((status, body): (StatusCode, Bytes)) -> Result<()> {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    if status.is_success() {
        return Ok(());
    }
    let reason = serde_json::from_slice::<Refusal>(&body)
        .map_or_else(|_| format!("{status}: {}", String::from_utf8_lossy(&body)), |refusal| refusal.error);
    Err(Error::Proxy(ProxyError::Refused { reason }))
}
