//! A child process on a channel: its three pipes or its terminal, its end, and what becomes of it when the client goes.
//!
//! The child is never killed. When the client goes, its pipes or its terminal are closed and it finds out when it reads
//! or writes: a deploy goes on without a viewer, everything else ends.

use std::{
    os::unix::process::ExitStatusExt,
    pin::pin,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use russh::{ChannelWriteHalf, Sig, server};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::unix::pipe,
    process::{Child, Command},
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    time::timeout,
};

use super::{
    gate::{Chunk, Gate},
    terminal::Terminal,
};
use crate::{Kind, exec};

/// How much of a child's output is read at once: what OpenSSH takes in a packet.
const CHUNK: usize = 32 * 1024;

/// How long output may wait to be taken before it counts as waiting for a window grant.
const PATIENCE: Duration = Duration::from_millis(20);

/// The extended data type of standard error (RFC 4254, section 5.2).
const STDERR: u32 = 1;

/// The exit status of a child that could not be started, as a shell has it.
const CANNOT_START: u32 = 126;

/// The signals of Ctrl-C and of Ctrl-\.
const INTERRUPT: i32 = 2;
const QUIT: i32 = 3;

/// What a shell adds to the number of a signal for an exit status.
const SIGNAL_EXIT: u32 = 128;

/// What is shown on a terminal, and what is typed on it.
type Ends = (pipe::Receiver, pipe::Sender);

/// The way out of a session: the channel the output goes to, and the connection around it.
pub(super) struct Outlet {
    /// The channel.
    pub(super) channel: ChannelWriteHalf<server::Msg>,
    /// Its connection.
    pub(super) connection: server::Handle,
    /// Its connection's gate.
    pub(super) gate: Arc<Gate>,
    /// Its place among the channels of its connection.
    pub(super) _place: OwnedSemaphorePermit,
}

/// Starts a child and carries its input and output to its end.
///
/// `terminal`: what it runs on; without one it has three pipes.
/// `input`: what the client sends; closed at its end of file.
/// `gone`: completes when the client has closed the channel or the connection.
pub(super) async fn run(
    mut command: Command,
    terminal: Option<Arc<Terminal>>,
    input: mpsc::UnboundedReceiver<Chunk>,
    gone: oneshot::Receiver<()>,
    outlet: Outlet,
) {
    let (mut child, ends) = match spawn(&mut command, terminal.as_deref()) {
        Ok(spawned) => spawned,
        // Its own environment is too large for this machine (execve(2)).
        Err(source) if source.kind() == std::io::ErrorKind::ArgumentListTooLong => {
            let said = "the command is too long for a process of this machine\n\nhint: give long values on standard input: \
                        `config:set APP --from-file KEY=-`, or `config:set APP --stdin`";
            say_and_close(&outlet, said, Kind::Usage.exit_code().into()).await;
            return;
        }
        Err(source) => {
            let error = exec::missing(&command, source);
            tracing::error!("ssh: {}", error.one_line());
            say_and_close(&outlet, &error.one_line(), CANNOT_START).await;
            return;
        }
    };
    // It holds the child's end of the terminal, which would then never be at its end.
    drop(command);
    let attend = async {
        match (&terminal, ends) {
            (Some(terminal), Some(ends)) => attend_terminal(&mut child, terminal, ends, input, &outlet).await,
            _ => attend_pipes(&mut child, input, &outlet).await,
        }
    };
    let ended = tokio::select! {
        status = attend => Some(status),
        _ = gone => None,
    };
    match ended {
        Some(Ok(status)) => close(&outlet, status, terminal.is_some()).await,
        Some(Err(error)) => {
            tracing::error!("ssh: cannot wait for a child: {error}");
            close(&outlet, ExitStatus::from_raw(i32::from(u8::MAX) << 8), false).await;
        }
        None => {
            drop(terminal);
            // Its pipes are ours until `attend` has taken them, which it may not have begun to.
            drop((child.stdin.take(), child.stdout.take(), child.stderr.take()));
            drop(outlet);
            // Nobody waits for its status any more, but it must not stay behind as a zombie.
            drop(child.wait().await);
        }
    }
}

/// Says an error to a client whose command was not started, and closes the channel.
pub(super) async fn say_and_close(outlet: &Outlet, message: &str, status: u32) {
    drop(outlet.channel.extended_data_bytes(STDERR, format!("error: {message}\n")).await);
    drop(outlet.channel.eof().await);
    drop(outlet.channel.exit_status(status).await);
    drop(outlet.channel.close().await);
}

/// Starts a child on the terminal, of which it returns the ends, or with three pipes.
fn spawn(command: &mut Command, terminal: Option<&Terminal>) -> std::io::Result<(Child, Option<Ends>)> {
    let Some(terminal) = terminal else {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        return Ok((command.spawn()?, None));
    };
    let ends = terminal.ends()?;
    let end = terminal.child_end()?;
    command.stdin(end.try_clone()?).stdout(end.try_clone()?).stderr(end).env("TERM", terminal.kind());
    Ok((command.spawn()?, Some(ends)))
}

/// Carries what is shown and what is typed until no process has the terminal open any more and the child is dead.
async fn attend_terminal(
    child: &mut Child,
    terminal: &Terminal,
    (shown, typed): Ends,
    input: mpsc::UnboundedReceiver<Chunk>,
    outlet: &Outlet,
) -> std::io::Result<ExitStatus> {
    let showing = async {
        carry(Some(shown), None, outlet).await;
        child.wait().await
    };
    let typing = async {
        if let Some(mut typed) = feed(Some(typed), input).await {
            // Where that fails the child has closed the terminal, and asks for no more.
            drop(typed.write_all(&terminal.end_of_input()).await);
        }
    };
    both(showing, typing).await
}

/// Carries input and output until both outputs are at their end and the child is dead.
async fn attend_pipes(
    child: &mut Child,
    input: mpsc::UnboundedReceiver<Chunk>,
    outlet: &Outlet,
) -> std::io::Result<ExitStatus> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let outputs = async {
        tokio::join!(carry(stdout, None, outlet), carry(stderr, Some(STDERR), outlet));
        child.wait().await
    };
    // At the end of its input what is fed to is closed.
    both(outputs, async { drop(feed(stdin, input).await) }).await
}

/// Carries in both directions until the output is at its end, whatever input may still come.
async fn both(
    output: impl Future<Output = std::io::Result<ExitStatus>>,
    input: impl Future<Output = ()>,
) -> std::io::Result<ExitStatus> {
    let (mut output, mut input) = (pin!(output), pin!(input));
    tokio::select! {
        status = &mut output => return status,
        () = &mut input => {}
    }
    output.await
}

/// Gives the client's input to the child, and returns the way to it at the end, where it still reads.
async fn feed<W: AsyncWrite + Unpin>(way: Option<W>, mut input: mpsc::UnboundedReceiver<Chunk>) -> Option<W> {
    let mut way = way?;
    while let Some(chunk) = input.recv().await {
        // A child that reads no more: what still comes is dropped with the receiver.
        way.write_all(&chunk.bytes).await.ok()?;
    }
    Some(way)
}

/// Takes a child's output to the client as the client's window allows.
async fn carry(source: Option<impl AsyncRead + Unpin>, extended: Option<u32>, outlet: &Outlet) {
    let Some(mut source) = source else { return };
    let mut buffer = vec![0; CHUNK];
    while let Ok(count @ 1..) = source.read(&mut buffer).await {
        if !send(outlet, extended, &buffer[..count]).await {
            return;
        }
    }
}

/// Sends output to the client when its window allows; says whether there still is a client.
async fn send(outlet: &Outlet, extended: Option<u32>, bytes: &[u8]) -> bool {
    let bytes = bytes.to_vec();
    let sending = async {
        match extended {
            None => outlet.channel.data_bytes(bytes).await,
            Some(code) => outlet.channel.extended_data_bytes(code, bytes).await,
        }
    };
    let mut sending = pin!(sending);
    let sent = match timeout(PATIENCE, &mut sending).await {
        Ok(sent) => sent,
        Err(_) => {
            let _stalled = outlet.gate.stalled();
            sending.await
        }
    };
    sent.is_ok()
}

/// Tells the client how the child ended, and closes the channel.
///
/// `at_terminal`: what ended by a key that was typed has the exit code that a shell gives it, as on a terminal of the
/// client's own machine. Of a signal, OpenSSH's client would make 255.
async fn close(outlet: &Outlet, status: ExitStatus, at_terminal: bool) {
    drop(outlet.channel.eof().await);
    let signal = status.signal();
    if let Some(signal @ (INTERRUPT | QUIT)) = signal
        && at_terminal
    {
        drop(outlet.channel.exit_status(SIGNAL_EXIT + signal.unsigned_abs()).await);
    } else if let Some(signal) = signal {
        let (id, core) = (outlet.channel.id(), status.core_dumped());
        let text = format!("killed by {status}");
        let told = outlet.connection.exit_signal_request(id, signal_name(signal), core, text, String::new()).await;
        if told.is_err() {
            return;
        }
    } else {
        let code = status.code().and_then(|code| u32::try_from(code).ok()).unwrap_or(u32::from(u8::MAX));
        drop(outlet.channel.exit_status(code).await);
    }
    drop(outlet.channel.close().await);
}

/// A signal's name as SSH has it (RFC 4254, section 6.10).
fn signal_name(number: i32) -> Sig {
    match number {
        1 => Sig::HUP,
        2 => Sig::INT,
        3 => Sig::QUIT,
        4 => Sig::ILL,
        6 => Sig::ABRT,
        8 => Sig::FPE,
        9 => Sig::KILL,
        10 => Sig::USR1,
        11 => Sig::SEGV,
        13 => Sig::PIPE,
        14 => Sig::ALRM,
        15 => Sig::TERM,
        other => Sig::Custom(format!("{other}@paas")),
    }
}
