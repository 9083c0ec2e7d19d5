//! The streams of a program in a container, byte by byte: what it prints as it comes, and what is typed for it.
//!
//! bollard looks for lines in what a program prints and for headers in what a terminal shows, so that a terminal on which
//! a program writes a byte 0, 1 or 2 first would show nothing more. The connection is therefore made here.

use std::time::Duration;

use bollard::{
    models::{ExecConfig, ExecStartConfig},
    query_parameters as query,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, StatusCode,
    client::conn::http1,
    header,
    upgrade::{self, Upgraded},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    net::{TcpStream, UnixStream},
};

use super::{ContainerSpec, Engine, fault::failed, is_status};
use crate::{
    Error, Result,
    error::{BoxError, EngineError},
};

/// How much is read at once: as much as a pipe holds.
const CHUNK: usize = 64 * 1024;
/// What a frame of three pipes begins with: the stream, three zeros, the length (Docker's API, "attach").
const HEADER: usize = 8;
/// The stream of standard error.
const STDERR: u8 = 2;
/// The longest frame that is believed.
const LONGEST_FRAME: usize = 64 << 20;
/// Keys after which the engine would let go of a terminal. Nobody types them, and the first is one that shows nothing while
/// the engine waits for the next; its own choice would hold back each Ctrl-P.
const DETACH_KEYS: &str = "ctrl-@,ctrl-^,ctrl-@,ctrl-^,ctrl-@,ctrl-^";
/// What is asked of the engine, for its errors.
const ACTION: &str = "attach to a program in a container";
/// How long the engine may take to notice that a program has ended whose streams are at their end.
const EXEC_ENDS: Duration = Duration::from_millis(200);
/// How often it is asked.
const EXEC_POLL: Duration = Duration::from_millis(20);

/// Something a program printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// On standard output, or on its terminal.
    Stdout(Vec<u8>),
    /// On standard error.
    Stderr(Vec<u8>),
}

/// The way to and from a program.
#[derive(Debug)]
pub struct Attached {
    /// What it prints.
    pub output: Output,
    /// What it reads.
    pub input: Input,
}

/// What a program prints.
#[derive(Debug)]
pub struct Output {
    source: ReadHalf<TokioIo<Upgraded>>,
    frames: Frames,
}

/// What the engine sends of what a program prints, in pieces of any length.
#[derive(Debug, Default)]
struct Frames {
    /// Whether there are no frames, but the bytes of a terminal.
    tty: bool,
    /// What has come and is not given on yet.
    held: Vec<u8>,
    /// How much of a frame is still to come, and of which stream.
    open: Option<(u8, usize)>,
}

/// What a program reads.
#[derive(Debug)]
pub struct Input(WriteHalf<TokioIo<Upgraded>>);

impl Input {
    /// Gives it some bytes.
    ///
    /// # Errors
    /// Where it reads no more.
    pub async fn give(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes).await?;
        self.0.flush().await
    }

    /// Tells it that there is no more.
    pub async fn end(&mut self) {
        // One that reads no more has no use for an end.
        drop(self.0.shutdown().await);
    }
}

impl Output {
    fn new(source: ReadHalf<TokioIo<Upgraded>>, tty: bool) -> Output {
        Output { source, frames: Frames { tty, ..Frames::default() } }
    }

    /// What it prints next; nothing at the end.
    ///
    /// # Errors
    /// `EngineError::Failed` where the engine goes away.
    pub async fn next(&mut self) -> Result<Option<Chunk>> {
        loop {
            if let Some(chunk) = self.frames.take()? {
                return Ok(Some(chunk));
            }
            let mut buffer = vec![0; CHUNK];
            let count = self.source.read(&mut buffer).await.map_err(lost)?;
            if count == 0 {
                return Ok(None);
            }
            buffer.truncate(count);
            self.frames.add(buffer);
        }
    }
}

impl Frames {
    fn add(&mut self, bytes: Vec<u8>) {
        if self.held.is_empty() {
            self.held = bytes;
        } else {
            self.held.extend_from_slice(&bytes);
        }
    }

    /// What can be given on of what has come.
    fn take(&mut self) -> Result<Option<Chunk>> {
        if self.tty {
            return Ok(Some(std::mem::take(&mut self.held)).filter(|held| !held.is_empty()).map(Chunk::Stdout));
        }
        loop {
            if let Some((stream, length)) = self.open {
                if self.held.is_empty() && length > 0 {
                    return Ok(None);
                }
                let rest = self.held.split_off(length.min(self.held.len()));
                let bytes = std::mem::replace(&mut self.held, rest);
                self.open = Some((stream, length - bytes.len())).filter(|(_, left)| *left > 0);
                if !bytes.is_empty() {
                    return Ok(Some(if stream == STDERR { Chunk::Stderr(bytes) } else { Chunk::Stdout(bytes) }));
                }
            }
            if self.held.len() < HEADER {
                return Ok(None);
            }
            let rest = self.held.split_off(HEADER);
            let header = std::mem::replace(&mut self.held, rest);
            let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
            if header[0] > STDERR || length > LONGEST_FRAME {
                return Err(lost("a frame is malformed"));
            }
            self.open = Some((header[0], length));
        }
    }
}

impl Engine {
    /// Makes a container, attaches to its program, and starts it: nothing that it prints is lost.
    ///
    /// # Errors
    /// As [`Engine::start_new`].
    pub async fn start_attached(&self, spec: &ContainerSpec, tty: bool) -> Result<Attached> {
        self.make(spec).await?;
        let keys = DETACH_KEYS.replace('@', "%40").replace('^', "%5E");
        let path = format!("/containers/{}/attach?stream=1&stdin=1&stdout=1&stderr=1&detachKeys={keys}", spec.name);
        let attached = self.upgraded(&path, None, tty).await?;
        self.start_made(spec).await?;
        Ok(attached)
    }

    /// Sends a container's program a signal, by its name. One that has ended is fine.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn signal_container(&self, name: &str, signal: &str) -> Result<()> {
        let options = query::KillContainerOptions { signal: signal.to_owned() };
        match self.docker.kill_container(name, Some(options)).await {
            Err(error) if !is_status(&error, 404) && !is_status(&error, 409) => {
                Err(failed(format!("send {signal} to the container {name}"))(error))
            }
            _ => Ok(()),
        }
    }

    /// Gives a container's terminal another size.
    ///
    /// # Errors
    /// [`Error::Engine`], for example where it has ended.
    pub async fn resize_container(&self, name: &str, (rows, columns): (u16, u16)) -> Result<()> {
        let options = query::ResizeContainerTTYOptions { h: rows.into(), w: columns.into() };
        let done = self.docker.resize_container_tty(name, options).await;
        done.map_err(failed(format!("resize the terminal of {name}")))
    }

    /// Makes a program ready to be started in a running container, and returns its number.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn make_exec(
        &self,
        name: &str,
        arguments: &[String],
        environment: &[(String, String)],
        tty: bool,
    ) -> Result<String> {
        let config = ExecConfig {
            cmd: Some(arguments.to_vec()),
            env: Some(environment.iter().map(|(key, value)| format!("{key}={value}")).collect()),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            detach_keys: Some(DETACH_KEYS.to_owned()),
            tty: Some(tty),
            ..ExecConfig::default()
        };
        let made = self.docker.create_exec(name, config).await;
        made.map(|made| made.id).map_err(failed(format!("run a command in the container {name}")))
    }

    /// Starts a program that was made ready.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn start_exec(&self, id: &str, tty: bool) -> Result<Attached> {
        let config = ExecStartConfig { detach: Some(false), tty: Some(tty), ..ExecStartConfig::default() };
        let body = serde_json::to_vec(&config).map_err(Error::bug)?;
        self.upgraded(&format!("/exec/{id}/start"), Some(body), tty).await
    }

    /// Gives the terminal of a program in a running container another size.
    ///
    /// # Errors
    /// [`Error::Engine`], for example where it has ended.
    pub async fn resize_exec(&self, id: &str, (rows, columns): (u16, u16)) -> Result<()> {
        let options = query::ResizeExecOptions { h: rows.into(), w: columns.into() };
        self.docker.resize_exec(id, options).await.map_err(failed("resize the terminal of a command"))
    }

    /// The exit code of a program in a running container; none while it is at work, and where the engine does not know it
    /// any more.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn exec_status(&self, id: &str) -> Result<ExecStatus> {
        match self.docker.inspect_exec(id).await {
            Ok(inspected) if inspected.running == Some(true) => Ok(ExecStatus::Running),
            Ok(inspected) => Ok(inspected.exit_code.map_or(ExecStatus::Running, ExecStatus::Exited)),
            Err(error) if is_status(&error, 404) => Ok(ExecStatus::Missing),
            Err(error) => Err(failed("look at a command in a container")(error)),
        }
    }

    /// The exit code of a program in a running container that is about to end, which is waited for a moment.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn wait_exec(&self, id: &str) -> Result<ExecStatus> {
        let ended = async {
            loop {
                match self.exec_status(id).await? {
                    ExecStatus::Running => tokio::time::sleep(EXEC_POLL).await,
                    ended => return Ok::<_, Error>(ended),
                }
            }
        };
        // It may have closed its streams and go on.
        tokio::time::timeout(EXEC_ENDS, ended).await.unwrap_or(Ok(ExecStatus::Running))
    }

    /// The environment of a container, as it was made.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn environment(&self, name: &str) -> Result<Vec<(String, String)>> {
        let inspected = self.docker.inspect_container(name, None::<query::InspectContainerOptions>).await;
        let inspected = inspected.map_err(failed(format!("inspect the container {name}")))?;
        let variables = inspected.config.and_then(|config| config.env).unwrap_or_default();
        let pair = |variable: String| variable.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        Ok(variables.into_iter().filter_map(pair).collect())
    }

    /// Asks for something that makes a connection of its own of the one that asks.
    async fn upgraded(&self, path: &str, body: Option<Vec<u8>>, tty: bool) -> Result<Attached> {
        let (host, path) = (self.address.as_str(), format!("/v{}{path}", self.docker.client_version()));
        let unavailable = |source: std::io::Error| {
            Error::Engine(EngineError::Unavailable { address: host.to_owned(), source: source.into() })
        };
        let upgraded = if let Some(path_of_socket) = host.strip_prefix("unix://") {
            exchange(UnixStream::connect(path_of_socket).await.map_err(unavailable)?, &path, body).await?
        } else {
            let place = host.split_once("://").map_or(host, |(_, place)| place).trim_end_matches('/');
            exchange(TcpStream::connect(place).await.map_err(unavailable)?, &path, body).await?
        };
        let (source, sink) = tokio::io::split(TokioIo::new(upgraded));
        Ok(Attached { output: Output::new(source, tty), input: Input(sink) })
    }
}

/// How a program in a running container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecStatus {
    /// At work.
    Running,
    /// Ended with this exit code.
    Exited(i64),
    /// The engine knows none of that number.
    Missing,
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    path: &str,
    body: Option<Vec<u8>>,
) -> Result<Upgraded> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
    tokio::spawn(connection.with_upgrades());
    let request = Request::post(path)
        .header(header::HOST, "docker")
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "tcp")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.unwrap_or_default())))
        .map_err(Error::bug)?;
    let response = sender.send_request(request).await.map_err(lost)?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return upgrade::on(response).await.map_err(lost);
    }
    let status = response.status();
    let said = response.into_body().collect().await.map_err(lost)?.to_bytes();
    let said = serde_json::from_slice::<serde_json::Value>(&said).ok();
    let message = said.and_then(|said| said["message"].as_str().map(str::to_owned));
    let source = message.unwrap_or_else(|| format!("it answered {status}")).into();
    Err(EngineError::Failed { action: ACTION.to_owned(), source }.into())
}

fn lost(source: impl Into<BoxError>) -> Error {
    EngineError::Lost { action: ACTION.to_owned(), source: source.into() }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, text: &[u8]) -> Vec<u8> {
        let length = u32::try_from(text.len()).unwrap_or_default().to_be_bytes();
        [&[stream, 0, 0, 0][..], &length, text].concat()
    }

    /// What is read of some bytes that come in pieces of a length.
    fn read(tty: bool, bytes: &[u8], piece: usize) -> Result<(Vec<u8>, Vec<u8>)> {
        let mut frames = Frames { tty, ..Frames::default() };
        let (mut out, mut error) = (Vec::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            frames.add(piece.to_vec());
            while let Some(chunk) = frames.take()? {
                match chunk {
                    Chunk::Stdout(bytes) => out.extend(bytes),
                    Chunk::Stderr(bytes) => error.extend(bytes),
                }
            }
        }
        Ok((out, error))
    }

    #[test]
    fn frames_are_read_in_whatever_pieces_they_come() -> Result<()> {
        let bytes = [frame(1, b"one"), frame(2, b"\x01\0"), frame(1, b""), frame(1, b"\x02two")].concat();
        for piece in 1..=bytes.len() {
            assert_eq!(read(false, &bytes, piece)?, (b"one\x02two".to_vec(), b"\x01\0".to_vec()), "{piece}");
        }
        for bad in [frame(3, b"x"), frame(255, b"x"), vec![1, 0, 0, 0, 255, 255, 255, 255]] {
            assert!(read(false, &bad, bad.len()).is_err(), "{bad:?}");
        }
        Ok(())
    }

    #[test]
    fn a_terminal_shows_every_byte() -> Result<()> {
        for bytes in [&b"\x01\x02\0 without a newline"[..], b"\0", b"\xff\n\n"] {
            assert_eq!(read(true, bytes, 2)?, (bytes.to_vec(), Vec::new()));
        }
        Ok(())
    }
}
