//! One check of one container, from outside of it, over the network its requests come by.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    engine::{Engine, Status},
    instance::Instance,
    model::{Check, HttpProbe, Probe, property, shell_arguments},
    store::Container,
};

/// How much of an answer is searched for a text, in bytes.
const BODY: usize = property::CHECKED_BODY;

/// How the reason of a check begins that was not answered.
const NO_ANSWER: &str = "no answer";
/// How much of the answer to a question is read of which only the first byte counts, in bytes.
const READ: usize = 64 << 10;
/// How long it is read.
const REST: Duration = Duration::from_millis(300);

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
    let late = || Err(format!("{NO_ANSWER} within {} s", check.try_timeout_seconds));
    tokio::time::timeout(timeout, tried).await.unwrap_or_else(|_| late())
}

/// Whether a check failed because there was no answer in time, as one of a server that is busy or frozen does.
pub fn is_silence(reason: &str) -> bool {
    reason.starts_with(NO_ANSWER)
}

/// What became of a question to a container that serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Life {
    /// There was a byte of an answer, or the container ended the connection: it does something.
    Answers,
    /// Nothing came in time. The kernel takes connections for a process that does nothing.
    Silent,
    /// There is no connection to be had, and why.
    Refused(String),
}

/// Asks a web process for a path over HTTP, and waits for the first byte of whatever it answers.
pub async fn life(target: &Target, path: &str, headers: &[(String, String)], patience: Duration) -> Life {
    let mut question = format!("GET {path} HTTP/1.1\r\nUser-Agent: paas-check\r\nConnection: close\r\n");
    question.push_str(if target.https { "X-Forwarded-Proto: https\r\n" } else { "X-Forwarded-Proto: http\r\n" });
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        question.push_str(&format!("Host: {}\r\n", target.host));
    }
    for (name, value) in headers {
        question.push_str(&format!("{name}: {value}\r\n"));
    }
    question.push_str("\r\n");
    let mut answer = [0; 4096];
    let asked = async {
        let mut stream = connect(target.address, target.port).await?;
        // One that ends the connection does something, whatever it thinks of the question.
        let goes_on = stream.write_all(question.as_bytes()).await.is_ok()
            && stream.read(&mut answer).await.is_ok_and(|read| read > 0);
        Ok(goes_on.then_some(stream))
    };
    match tokio::time::timeout(patience, asked).await {
        Err(_) => return Life::Silent,
        Ok(Err(reason)) => return Life::Refused(reason),
        Ok(Ok(None)) => {}
        Ok(Ok(Some(mut stream))) => {
            // Read on, because some servers complain of a client that is gone in the middle of an answer.
            let rest = async {
                let mut left = READ;
                while left > 0
                    && let Ok(read @ 1..) = stream.read(&mut answer).await
                {
                    left = left.saturating_sub(read);
                }
            };
            drop(tokio::time::timeout(REST, rest).await);
        }
    }
    Life::Answers
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
    use tokio::net::TcpListener;

    use super::*;
    use crate::model::property::CHECK_PATH;

    /// Asks something that does `what` with each connection.
    async fn asked<F: Future<Output = ()> + Send + 'static>(what: impl Fn(TcpStream) -> F + Send + 'static) -> Life {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = AbortOnDrop(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                what(stream).await;
            }
            Ok(())
        }));
        let life = life(&target(port), "/", &[], Duration::from_millis(300)).await;
        drop(serving);
        life
    }

    fn target(port: u16) -> Target {
        Target { name: String::new(), address: Ipv4Addr::LOCALHOST, port, host: "a.localhost".to_owned(), https: false }
    }

    async fn says(mut stream: TcpStream, text: &str) {
        let mut question = [0; 1024];
        let _ = stream.read(&mut question).await;
        let _ = stream.write_all(text.as_bytes()).await;
    }

    #[tokio::test]
    async fn whatever_comes_is_a_sign_of_life_and_nothing_is_none() {
        assert_eq!(asked(|stream| says(stream, "HTTP/1.1 500 Internal Server Error\r\n\r\n")).await, Life::Answers);
        assert_eq!(asked(|stream| says(stream, "SSH-2.0-x\r\n")).await, Life::Answers);
        assert_eq!(asked(|stream| says(stream, "")).await, Life::Answers, "it ends the connection");
        assert_eq!(asked(|stream| async { drop(stream) }).await, Life::Answers, "it ends it at once");
        // It is accepted, and nothing more.
        assert_eq!(
            asked(|stream| async {
                tokio::time::sleep(Duration::from_secs(5)).await;
                drop(stream);
            })
            .await,
            Life::Silent
        );
        // It is not even accepted: the kernel takes connections for it.
        let frozen = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = frozen.local_addr().unwrap().port();
        assert_eq!(life(&target(port), "/", &[], Duration::from_millis(200)).await, Life::Silent);
        drop(frozen);
        assert!(matches!(life(&target(port), "/", &[], Duration::from_millis(200)).await, Life::Refused(_)));
    }

    #[test]
    fn only_a_check_that_was_not_answered_is_silence() {
        assert!(is_silence("no answer within 5 s"));
        assert!(!is_silence("GET / answered 500") && !is_silence("port 5000 refuses connections"));
    }

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
