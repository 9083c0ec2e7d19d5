//! A child process on a channel: its three pipes, its end, and what becomes of it when the client goes.
//!
//! The child is never killed. When the client goes, its pipes are closed and it finds out when it reads or writes: a
//! deploy goes on without a viewer, everything else ends.

use std::{os::unix::process::ExitStatusExt, pin::pin, process::ExitStatus, sync::Arc, time::Duration};

use russh::{ChannelWriteHalf, Sig, server};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, Command},
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    time::timeout,
};

use super::gate::{Chunk, Gate};
use crate::exec;

/// How much of a child's output is read at once: what OpenSSH takes in a packet.
const CHUNK: usize = 32 * 1024;

/// How long output may wait to be taken before it counts as waiting for a window grant.
const PATIENCE: Duration = Duration::from_millis(20);

/// The extended data type of standard error (RFC 4254, section 5.2).
const STDERR: u32 = 1;

/// The exit status of a child that could not be started, as a shell has it.
const CANNOT_START: u32 = 126;

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
/// `input`: what the client sends; closed at its end of file.
/// `gone`: completes when the client has closed the channel or the connection.
pub(super) async fn run(
    mut command: Command,
    input: mpsc::UnboundedReceiver<Chunk>,
    gone: oneshot::Receiver<()>,
    outlet: Outlet,
) {
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(source) => {
            let error = exec::missing(&command, source);
            tracing::error!("ssh: {}", error.one_line());
            say_and_close(&outlet, &error.one_line(), CANNOT_START).await;
            return;
        }
    };
    drop(command);
    let ended = tokio::select! {
        status = attend(&mut child, input, &outlet) => Some(status),
        _ = gone => None,
    };
    match ended {
        Some(Ok(status)) => close(&outlet, status).await,
        Some(Err(error)) => {
            tracing::error!("ssh: cannot wait for a child: {error}");
            close(&outlet, ExitStatus::from_raw(i32::from(u8::MAX) << 8)).await;
        }
        None => {
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

/// Carries input and output until both outputs are at their end and the child is dead.
async fn attend(
    child: &mut Child,
    input: mpsc::UnboundedReceiver<Chunk>,
    outlet: &Outlet,
) -> std::io::Result<ExitStatus> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let outputs = async {
        tokio::join!(carry(stdout, None, outlet), carry(stderr, Some(STDERR), outlet));
        child.wait().await
    };
    let (mut outputs, mut feeding) = (pin!(outputs), pin!(feed(stdin, input)));
    tokio::select! {
        status = &mut outputs => return status,
        () = &mut feeding => {}
    }
    outputs.await
}

/// Gives the client's input to the child, and closes it at the end.
async fn feed(stdin: Option<ChildStdin>, mut input: mpsc::UnboundedReceiver<Chunk>) {
    let Some(mut stdin) = stdin else { return };
    while let Some(chunk) = input.recv().await {
        if stdin.write_all(&chunk.bytes).await.is_err() {
            // The child reads no more: what still comes is dropped with the receiver.
            return;
        }
    }
}

/// Takes a child's output to the client as the client's window allows.
async fn carry(source: Option<impl AsyncRead + Unpin>, extended: Option<u32>, outlet: &Outlet) {
    let Some(mut source) = source else { return };
    let mut buffer = vec![0; CHUNK];
    while let Ok(count @ 1..) = source.read(&mut buffer).await {
        let bytes = buffer[..count].to_vec();
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
        if sent.is_err() {
            return;
        }
    }
}

/// Tells the client how the child ended, and closes the channel.
async fn close(outlet: &Outlet, status: ExitStatus) {
    drop(outlet.channel.eof().await);
    if let Some(signal) = status.signal() {
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
