//! Proving a new container healthy: from outside of it, over the network its requests will come by.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Deploying;
use crate::{
    Error, Result, clock,
    model::{self, Check, CheckKind, ProcessSpec},
    store::Container,
};

/// How long a process without a port must stay up.
const STAY_UP: Duration = Duration::from_secs(3);
/// How long one try may take.
const TRY: Duration = Duration::from_secs(5);
/// The time between the first tries; it doubles up to [`SLOWEST`].
const FASTEST: Duration = Duration::from_millis(25);
/// The longest time between tries.
const SLOWEST: Duration = Duration::from_secs(1);
/// When somebody who waits for a check is told why it does not pass yet.
const EXPLAIN_AFTER: Duration = Duration::from_secs(5);
/// How many of a failed container's last lines are shown.
const OUTPUT_LINES: u32 = 30;

/// Waits until a container is healthy, and says what proved it.
///
/// # Errors
/// [`Error::AppExited`] at once where it ends; [`Error::NeverHealthy`] after its check's timeout.
pub(super) async fn prove(deploying: &Deploying<'_>, container: &Container, process: &ProcessSpec) -> Result<String> {
    let begun = clock::instant();
    let proof = async {
        if process.process.is_web() {
            web(deploying, container, &process.check).await
        } else {
            tokio::time::sleep(STAY_UP).await;
            Ok(format!("it stayed up for {}", model::seconds(STAY_UP)))
        }
    };
    tokio::select! {
        proof = proof => proof,
        code = deploying.engine.wait(&container.name) => Err(Error::AppExited {
            process: container.label(),
            code: code?,
            after: model::seconds(begun.elapsed()),
            output: deploying.engine.last_output(&container.name, OUTPUT_LINES).await,
        }),
    }
}

async fn web(deploying: &Deploying<'_>, container: &Container, check: &Check) -> Result<String> {
    let settings = &deploying.instance.settings;
    let host = format!("{}.{}", deploying.app.name, settings.domain);
    let https = settings.tls != crate::settings::Tls::Off;
    let timeout = Duration::from_secs(check.timeout_seconds.into());
    let begun = clock::instant();
    let mut pause = FASTEST;
    let mut explained = false;
    loop {
        let tried = match check.kind {
            CheckKind::Http => {
                let asked = ask(container.address, container.port, &host, https, check);
                tokio::time::timeout(TRY, asked).await.unwrap_or_else(|_| Err("no answer within 5 s".to_owned()))
            }
            CheckKind::Tcp => connect(container.address, container.port)
                .await
                .map(|_| format!("port {} takes connections", container.port)),
        };
        let reason = match tried {
            Ok(proof) => return Ok(proof),
            Err(reason) => reason,
        };
        if begun.elapsed() >= timeout {
            let (reason, hint) = explain(deploying, container, check, reason).await;
            return Err(Error::NeverHealthy {
                process: container.label(),
                timeout: model::seconds(timeout),
                reason,
                hint,
                output: deploying.engine.last_output(&container.name, OUTPUT_LINES).await,
            });
        }
        if !explained && begun.elapsed() >= EXPLAIN_AFTER {
            explained = true;
            let (reason, _) = explain(deploying, container, check, reason).await;
            deploying.log.detail(&format!(
                "{} is not healthy yet, waiting up to {}: {reason}",
                container.label(),
                model::seconds(timeout)
            ));
        }
        tokio::time::sleep(pause.min(timeout.saturating_sub(begun.elapsed()))).await;
        pause = (pause * 3 / 2).min(SLOWEST);
    }
}

/// Why a container does not pass, and what to do about it, as far as the host can see.
async fn explain(deploying: &Deploying<'_>, container: &Container, check: &Check, reason: String) -> (String, String) {
    let port = container.port;
    let listening = deploying.engine.listening(&container.name).await;
    if let Some(description) = listening.as_ref().and_then(|listening| listening.describe(port)) {
        let other = listening.as_ref().and_then(|listening| listening.reachable.first());
        let hint = match other {
            Some(other) => format!(
                "listen on 0.0.0.0 and on the port in the variable PORT ({port}), or say where it does listen, with \
                 `port = {other}` in paas.toml or `paas config:set {} PORT={other} --no-restart`, and push again",
                deploying.app.name
            ),
            None => format!("listen on 0.0.0.0 and on the port in the variable PORT ({port})"),
        };
        return (description, hint);
    }
    let hint = match &check.path {
        Some(path) => format!("the check asks for {path}: see `[checks]` in paas.toml"),
        None => "make / answer with a status below 500, or set a path that does: `path` under `[checks]` in paas.toml"
            .to_owned(),
    };
    (reason, hint)
}

async fn connect(address: Ipv4Addr, port: u16) -> Result<TcpStream, String> {
    match tokio::time::timeout(TRY, TcpStream::connect(SocketAddr::from((address, port)))).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Err(format!("port {port} refuses connections"))
        }
        Ok(Err(error)) => Err(format!("port {port}: {error}")),
        Err(_) => Err(format!("port {port} does not answer")),
    }
}

/// Asks once over HTTP. The answer's body is not read.
async fn ask(address: Ipv4Addr, port: u16, host: &str, https: bool, check: &Check) -> Result<String, String> {
    let stream = connect(address, port).await?;
    let no_http = |error: hyper::Error| format!("port {port} does not speak HTTP: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(no_http)?;
    let connection = tokio::spawn(connection);
    let path = check.path.as_deref().unwrap_or("/");
    let request = Request::get(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, "paas-check")
        .header(header::CONNECTION, "close")
        .header("X-Forwarded-Proto", if https { "https" } else { "http" })
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("the path {path} cannot be asked for: {error}"))?;
    let answer = sender.send_request(request).await;
    connection.abort();
    let status = answer.map_err(no_http)?.status();
    if is_healthy(status, check) {
        Ok(format!("GET {path} answered {}", status.as_u16()))
    } else {
        Err(format!("GET {path} answered {}", status.as_u16()))
    }
}

/// A path of the user's must answer as they said, 2xx where they did not; else anything below 500 is a sign of life.
fn is_healthy(status: StatusCode, check: &Check) -> bool {
    match (check.status, &check.path) {
        (Some(expected), _) => status.as_u16() == expected,
        (None, Some(_)) => status.is_success(),
        (None, None) => status.as_u16() < 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_as_healthy_depends_on_who_chose_the_path() {
        let any = Check::default();
        assert!(is_healthy(StatusCode::NOT_FOUND, &any));
        assert!(is_healthy(StatusCode::FOUND, &any));
        assert!(!is_healthy(StatusCode::BAD_GATEWAY, &any));
        let path = Check { path: Some("/up".to_owned()), ..Check::default() };
        assert!(is_healthy(StatusCode::NO_CONTENT, &path));
        assert!(!is_healthy(StatusCode::FOUND, &path));
        let exact = Check { status: Some(401), ..path };
        assert!(is_healthy(StatusCode::UNAUTHORIZED, &exact));
        assert!(!is_healthy(StatusCode::OK, &exact));
    }
}
