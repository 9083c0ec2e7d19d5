//! One check of one container, from outside of it, over the network its requests come by.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::{
    engine::{Engine, Status},
    instance::Instance,
    model::{Check, HttpProbe, Probe, property, shell_arguments},
    store::Container,
};

/// How much of an answer is searched for a text, in bytes.
const BODY: usize = property::CHECKED_BODY;

/// What is checked.
#[derive(Clone, Debug)]
pub struct Target {
    /// The container's name in the engine.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// The port of a web process.
    pub port: u16,
    /// The app's own domain, for the `Host` header.
    pub host: String,
    /// Whether its users come over HTTPS.
    pub https: bool,
}

impl Target {
    /// The target that a container is.
    pub fn of(instance: &Instance, container: &Container) -> Target {
        Target {
            name: container.name.clone(),
            address: container.address,
            port: container.port,
            host: format!("{}.{}", container.app, instance.settings.domain),
            https: instance.settings.tls != crate::settings::Tls::Off,
        }
    }
}

/// Checks a container once, and says what proves it healthy; else why it is not.
///
/// # Errors
/// Why it is not healthy, in words.
pub async fn probe(engine: &Engine, target: &Target, check: &Check) -> Result<String, String> {
    let timeout = Duration::from_secs(check.try_timeout_seconds.into());
    let tried = async {
        match &check.probe {
            Probe::Http(question) => ask(target, question).await,
            Probe::Tcp { port } => {
                let port = port.unwrap_or(target.port);
                connect(target.address, port).await.map(|_| format!("port {port} takes connections"))
            }
            Probe::Command(line) => {
                run(engine, target, &shell_arguments(line)).await.map(|()| "its check command exited with 0".to_owned())
            }
            // The command asks from the inside, where an address is reachable that is not from here.
            Probe::Image(arguments) => {
                connect(target.address, target.port).await?;
                let said = run(engine, target, arguments).await;
                said.map(|()| format!("the HEALTHCHECK of its image exited with 0, and port {} is open", target.port))
                    .map_err(|reason| reason.replacen("its check command", "the HEALTHCHECK of its image", 1))
            }
            Probe::Up => match engine.status(&target.name).await {
                Ok(Status::Running) => Ok("it is up".to_owned()),
                Ok(status) => Err(format!("it is {}", status.word())),
                Err(error) => Err(error.one_line()),
            },
        }
    };
    let late = || Err(format!("no answer within {} s", check.try_timeout_seconds));
    tokio::time::timeout(timeout, tried).await.unwrap_or_else(|_| late())
}

/// Connects to a port of a container.
pub(super) async fn connect(address: Ipv4Addr, port: u16) -> Result<TcpStream, String> {
    match TcpStream::connect(SocketAddr::from((address, port))).await {
        Ok(stream) => Ok(stream),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Err(format!("port {port} refuses connections"))
        }
        Err(error) => Err(format!("port {port}: {error}")),
    }
}

/// Asks once over HTTP. No redirect is followed; the body is read only where a text is looked for.
async fn ask(target: &Target, question: &HttpProbe) -> Result<String, String> {
    let port = question.port.unwrap_or(target.port);
    let stream = connect(target.address, port).await?;
    let no_http = |error: hyper::Error| format!("port {port} does not speak HTTP: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(no_http)?;
    let connection = AbortOnDrop(tokio::spawn(connection));
    let path = question.path();
    let mut request = Request::get(path)
        .header(header::USER_AGENT, "paas-check")
        .header(header::CONNECTION, "close")
        .header("X-Forwarded-Proto", if target.https { "https" } else { "http" });
    if !question.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header(header::HOST, &target.host);
    }
    for (name, value) in &question.headers {
        request = request.header(name, value);
    }
    let request =
        request.body(Empty::<Bytes>::new()).map_err(|error| format!("the path {path} cannot be asked for: {error}"))?;
    let answer = sender.send_request(request).await.map_err(no_http)?;
    let status = answer.status().as_u16();
    let said = format!("GET {path} answered {status}");
    if !question.accepts(status) {
        return Err(said);
    }
    if let Some(text) = &question.text {
        let body = Limited::new(answer.into_body(), BODY).collect().await;
        let body = body.map_err(|error| format!("{said}, and its body broke off: {error}"))?.to_bytes();
        if !String::from_utf8_lossy(&body).contains(text.as_str()) {
            return Err(format!("{said} without {text:?} in it"));
        }
    }
    drop(connection);
    Ok(said)
}

/// Runs a command in a container that is to exit with 0.
async fn run(engine: &Engine, target: &Target, arguments: &[String]) -> Result<(), String> {
    match engine.exec(&target.name, arguments).await {
        Ok((0, _)) => Ok(()),
        Ok((code, output)) => {
            let last = output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
            let said = if last.is_empty() { String::new() } else { format!(": {}", last.trim()) };
            Err(format!("its check command exited with {code}{said}"))
        }
        Err(error) => Err(error.one_line()),
    }
}

/// The task that drives a connection, which ends with the question.
struct AbortOnDrop(tokio::task::JoinHandle<hyper::Result<()>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::property::CHECK_PATH;

    #[test]
    fn every_path_that_is_taken_can_be_asked_for() {
        for byte in 0..=127_u8 {
            let path = format!("/a{}b", char::from(byte));
            let request = Request::get(&path).body(Empty::<Bytes>::new());
            let is_asked =
                request.is_ok_and(|request| request.uri().path_and_query().is_some_and(|it| it.as_str() == path));
            assert!(is_asked || CHECK_PATH.value(&path).is_err(), "{path:?}");
        }
    }
}
