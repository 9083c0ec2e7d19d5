//! The only place that makes child processes: an argument vector each, never a shell, with a cleared environment.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, ExitStatus, Stdio},
};

use nix::sys::signal::{SigHandler, Signal, signal};
use rustix::process::{Resource, Rlimit, set_parent_process_death_signal, setrlimit};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::{
    Error, Result,
    error::HostError,
    settings,
    work::{Held, Work},
};

/// How much of a failed program's standard error goes into the error, in bytes.
const STDERR_TAIL: usize = 2000;

/// A command with nothing in its environment but `PATH`, the C locale in UTF-8, and certificate locations if set.
/// It is in a session of its own, so that a signal to our terminal does not reach it. Where its standard input is a
/// terminal that belongs to no session yet, the terminal becomes that of its session: Ctrl-C typed there is a signal to it.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", settings::search_path()).env("LANG", "C.UTF-8").env("HOME", "/nonexistent");
    command.envs(settings::certificate_variables());
    command.stdin(Stdio::null());
    // Made here, because the first use of it may allocate, which must not happen between fork and exec.
    let stdin = std::io::stdin();
    // SAFETY: setsid(2), ioctl(2) and sigaction(2) are system calls that touch no memory of ours and take no lock.
    #[expect(unsafe_code, reason = "a session of its own can only be had between fork and exec")]
    unsafe {
        command.pre_exec(move || {
            match rustix::process::setsid() {
                // It leads a session already: it replaces a process that was started so.
                Ok(_) | Err(rustix::io::Errno::PERM) => {}
                Err(error) => return Err(error.into()),
            }
            // A shell that starts us in the background has these ignored, and a child would inherit that: what a user
            // types at its terminal would not reach it.
            for number in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP] {
                let _ = signal(number, SigHandler::SigDfl);
            }
            // The error says that it is no terminal, or somebody else's.
            let _ = rustix::process::ioctl_tiocsctty(stdin.as_fd());
            Ok(())
        });
    }
    command
}

/// A command of the user's own, in the user's own environment and session: ssh needs its agent and its terminal.
pub fn command_of_user(program: &str) -> Command {
    Command::new(program)
}

/// Runs a command to its end and returns its standard output.
///
/// # Errors
/// `HostError::ProgramMissing` where it cannot be started, `HostError::Program` where it exits other than with 0.
pub async fn output(mut command: Command) -> Result<Vec<u8>> {
    run(&mut command, "").await
}

/// As [`output`], with a text on its standard input.
///
/// # Errors
/// As [`output`].
pub async fn output_of_input(mut command: Command, input: &str) -> Result<Vec<u8>> {
    command.stdin(Stdio::piped());
    run(&mut command, input).await
}

async fn run(command: &mut Command, input: &str) -> Result<Vec<u8>> {
    let name = describe(command);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|source| missing(command, source))?;
    let given = child.stdin.take();
    let give = async {
        if let Some(mut given) = given {
            // One that does not read it to its end says why when it ends.
            let _ = given.write_all(input.as_bytes()).await;
        }
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), give);
    let output = output.map_err(|source| missing(command, source))?;
    if output.status.success() { Ok(output.stdout) } else { Err(failed(name, output.status, &output.stderr)) }
}

/// As [`output`], for a child that deals with a stranger's input: it may write no file larger than `file` bytes, and all
/// that it starts is killed with it where `work` ends or nobody waits for it any more.
///
/// # Errors
/// As [`output`].
pub async fn output_bounded(mut command: Command, file: u64, work: &Work) -> Result<Vec<u8>> {
    let name = describe(&command);
    limit(&mut command, Bounds { file: Some(file), ..Bounds::default() });
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn();
    let child = child.map_err(|source| missing(&command, source))?;
    let ends = work.until_dropped();
    let held = child.id().map(|id| work.hold(id));
    let output = child.wait_with_output().await.map_err(Error::io(format!("run {name}")))?;
    drop(held);
    std::mem::forget(ends);
    if output.status.success() { Ok(output.stdout) } else { Err(failed(name, output.status, &output.stderr)) }
}

/// What a child may use.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// Seconds of processor time.
    pub time: Option<u64>,
    /// Bytes of memory of its own.
    pub memory: Option<u64>,
    /// The size of each file that it writes, in bytes.
    pub file: Option<u64>,
}

/// Has a child begin with limits, and end with the thread that starts it.
fn limit(command: &mut Command, bounds: Bounds) {
    let limits = [(Resource::Cpu, bounds.time), (Resource::Data, bounds.memory), (Resource::Fsize, bounds.file)];
    // SAFETY: prctl(2) and setrlimit(2) are system calls that touch no memory of ours and take no lock.
    #[expect(unsafe_code, reason = "a child's own limits can only be set between fork and exec")]
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            for (resource, most) in limits {
                if let Some(most) = most {
                    setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
                }
            }
            Ok(())
        });
    }
}

/// A child that is talked to over its standard input and output, on a thread that may wait. It is killed when it is
/// dropped, or its work ends.
#[derive(Debug)]
pub struct Conversation {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    held: Option<Held>,
}

impl Conversation {
    /// Starts it.
    ///
    /// # Errors
    /// `HostError::ProgramMissing`.
    pub fn start(mut command: Command, bounds: Bounds, work: &Work) -> Result<Conversation> {
        limit(&mut command, bounds);
        let mut started = command.into_std();
        started.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let name = started.get_program().to_string_lossy().into_owned();
        let mut child = started
            .spawn()
            .map_err(|source| Error::Host(HostError::ProgramMissing { program: name.clone(), source }))?;
        let held = Some(work.hold(child.id()));
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let output = output.ok_or_else(|| Error::bug(format!("{name} has no standard output")))?;
        Ok(Conversation { child, input, output: BufReader::new(output), held })
    }

    /// Says something to it.
    ///
    /// # Errors
    /// What writing says, also if it has ended.
    pub fn say(&mut self, text: &[u8]) -> std::io::Result<()> {
        self.input.as_mut().map_or(Ok(()), |input| input.write_all(text).and_then(|()| input.flush()))
    }

    /// Its standard output.
    pub fn output(&mut self) -> &mut impl BufRead {
        &mut self.output
    }

    /// Has nothing more to say to it.
    pub fn finish(&mut self) {
        self.input = None;
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.finish();
        let status = self.child.wait().map_err(Error::io("wait for a program"));
        // Its number may be another's from now on.
        self.held = None;
        status
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        if self.held.is_some() {
            // One that has ended already is only waited for.
            let _ = self.child.kill();
            drop(self.wait());
        }
    }
}

/// The error of a program that exited other than with 0, with the end of what it said.
fn failed(program: String, status: ExitStatus, stderr: &[u8]) -> Error {
    let stderr = String::from_utf8_lossy(stderr);
    let stderr = stderr.trim();
    let mut start = stderr.len().saturating_sub(STDERR_TAIL);
    while !stderr.is_char_boundary(start) {
        start += 1;
    }
    Error::Host(HostError::Program { program, status: status.to_string(), stderr: stderr[start..].to_owned() })
}

/// Becomes another program, with the command's arguments and environment, this standard input, and our own standard
/// output and error. Returns only where that fails.
pub fn replace(command: Command, input: impl Into<Stdio>) -> Error {
    use std::os::unix::process::CommandExt;
    let mut command = command.into_std();
    command.stdin(input);
    let source = command.exec();
    Error::Host(HostError::ProgramMissing { program: command.get_program().to_string_lossy().into_owned(), source })
}

/// Starts another program that lives on by itself, with this standard input, and with our own standard output and error.
///
/// # Errors
/// `HostError::ProgramMissing`.
pub fn start(command: Command, input: impl Into<Stdio>) -> Result<()> {
    let mut command = command.into_std();
    command.stdin(input);
    let started = command.spawn().map(drop);
    let program = || command.get_program().to_string_lossy().into_owned();
    started.map_err(|source| HostError::ProgramMissing { program: program(), source }.into())
}

/// Runs a command to its end with our own standard streams.
///
/// # Errors
/// `HostError::ProgramMissing` where it cannot be started.
pub async fn attached(mut command: Command) -> Result<ExitStatus> {
    command.stdin(Stdio::inherit()).status().await.map_err(|source| missing(&command, source))
}

/// Runs a command to its end with our own standard input and error, and returns what it wrote to its standard output.
///
/// # Errors
/// `HostError::ProgramMissing` where it cannot be started; one with its exit code where that is not 0.
pub async fn captured(mut command: Command) -> Result<Vec<u8>> {
    command.stdin(Stdio::inherit()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let child = command.spawn().map_err(|source| missing(&command, source))?;
    let output = child.wait_with_output().await.map_err(|source| missing(&command, source))?;
    same_end(output.status).map(|()| output.stdout)
}

/// Runs a command to its end with this standard input, and with our own standard output and error.
///
/// # Errors
/// `HostError::ProgramMissing` where it cannot be started.
pub async fn with_input(mut command: Command, input: Stdio) -> Result<ExitStatus> {
    command.stdin(input).status().await.map_err(|source| missing(&command, source))
}

/// Ends as another program did, which has said why.
///
/// # Errors
/// [`Error::Exited`] with its exit code.
pub fn same_end(status: ExitStatus) -> Result<()> {
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => Err(Error::Exited(u8::try_from(code).unwrap_or(1))),
        None => Err(Error::Interrupted),
    }
}

/// Waits until this process is asked to end, or its terminal is gone. What is typed at the terminal is for a program that
/// we wait for, and does not end us.
pub async fn hung_up_or_ended() {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit()];
    let [Ok(mut terminate), Ok(mut hangup), Ok(_interrupt), Ok(_quit)] = signals.map(signal) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

/// Lets this process, with all threads that it starts from now on, outlive the terminal it was started on. It finds out
/// that the terminal is gone when it reads or writes, as from closed pipes.
pub fn outlive_terminal() {
    let mut hangup = nix::sys::signal::SigSet::empty();
    hangup.add(Signal::SIGHUP);
    if let Err(error) = hangup.thread_block() {
        tracing::warn!("cannot block the signal that a terminal sends when it goes: {error}");
    }
}

/// Waits until this process is asked to end: by Ctrl-C, or by SIGTERM, as when the machine shuts down.
pub async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(terminate) => terminate,
        // It then ends this process, as it does without us.
        Err(error) => {
            tracing::warn!("cannot listen for SIGTERM: {error}");
            return std::future::pending().await;
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// Has SIGTERM end this process at once from now on, for what can no longer be undone: the next process finishes it.
pub fn end_when_asked() {
    // SAFETY: the default action of a signal is no code of ours.
    #[expect(unsafe_code, reason = "what a signal does is set so")]
    let set = unsafe { signal(Signal::SIGTERM, SigHandler::SigDfl) };
    if let Err(error) = set {
        tracing::warn!("cannot have SIGTERM end this process: {error}");
    }
}

/// The error for a program that could not be started.
pub fn missing(command: &Command, source: std::io::Error) -> Error {
    Error::Host(HostError::ProgramMissing {
        program: command.as_std().get_program().to_string_lossy().into_owned(),
        source,
    })
}

/// The path of the running `paas` binary, good even after it was replaced by an upgrade.
///
/// # Errors
/// [`Error::Host`] where the kernel does not tell.
pub fn own_binary() -> Result<PathBuf> {
    let path = std::env::current_exe().map_err(Error::io("find the path of the running paas"))?;
    // After an upgrade the kernel says `/usr/bin/paas (deleted)`; the new binary is at the same place.
    let text = path.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map_or_else(|| path.clone(), PathBuf::from))
}

/// Whether a program is to be found, by path or in the search path.
pub fn exists(program: &str) -> bool {
    if program.contains('/') {
        return Path::new(program).is_file();
    }
    std::env::split_paths(&settings::search_path()).any(|directory| directory.join(program).is_file())
}

/// The program and its first argument that is no option, for messages.
fn describe(command: &Command) -> String {
    let command = command.as_std();
    let first = command.get_args().map(OsStr::to_string_lossy).find(|argument| !argument.starts_with('-'));
    let program = command.get_program().to_string_lossy();
    first.map_or_else(|| program.clone().into_owned(), |first| format!("{program} {first}"))
}
