//! Sits at a program in a container: what is typed and what it prints, signals, the size of the terminal, and what ends it.

use std::{pin::Pin, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};

use crate::{
    Error, Result, clock, deploy,
    engine::{Attached, Chunk, Engine, Input, Output},
    instance::Instance,
    model::{Run, RunEnd},
    ui::streams::{self, Printer, Raw},
};

/// How often it is looked whether anybody is still there.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often a terminal is tried to be resized whose program has just been started.
const RESIZES: u32 = 20;
/// The pause between two tries.
const RESIZE_AGAIN: Duration = Duration::from_millis(25);
/// After how many signals to end a program that takes none is killed.
const PATIENCE: u32 = 3;

/// What sits at a program.
pub(super) struct Seat<'a> {
    pub instance: &'a Instance,
    pub engine: &'a Engine,
    pub run: &'a Run,
}

/// The signals that are passed on, by their names.
const PASSED_ON: [(SignalKind, &str); 6] = [
    (SignalKind::interrupt(), "SIGINT"),
    (SignalKind::terminate(), "SIGTERM"),
    (SignalKind::quit(), "SIGQUIT"),
    (SignalKind::hangup(), "SIGHUP"),
    (SignalKind::user_defined1(), "SIGUSR1"),
    (SignalKind::user_defined2(), "SIGUSR2"),
];

impl Seat<'_> {
    /// Sits there until the program has ended and all that it printed was read; returns what `ended` does. Nothing if
    /// nobody is there any more and the program goes on. `ended` completes when the program has ended; it is given what
    /// is notified when the program's output is at its end.
    ///
    /// # Errors
    /// `EngineError::Lost` where the engine goes away; [`Error::Host`]; what `ended` returns.
    pub(super) async fn sit<T>(
        &self,
        attached: Attached,
        ended: impl AsyncFnOnce(&Notify) -> Result<T>,
    ) -> Result<Option<T>> {
        let raw = if self.run.tty { Some(Raw::begin()?) } else { None };
        let printer = Printer::begin();
        let at_end = Notify::new();
        let mut ended = std::pin::pin!(ended(&at_end));
        let left = self.attend(attached, &printer, &at_end, ended.as_mut()).await;
        drop(raw);
        match left? {
            Some(ended) => {
                printer.finish().await;
                Ok(Some(ended))
            }
            None if self.run.goes_on => Ok(None),
            // Whoever read the output wants no more of it, as `head`: a program on this machine would end now, too.
            None => {
                self.end(RunEnd::ClientGone).await?;
                ended.await.map(Some)
            }
        }
    }

    /// Carries what is typed and printed; returns nothing if nobody is there any more.
    async fn attend<T>(
        &self,
        Attached { output, input }: Attached,
        printer: &Printer,
        at_end: &Notify,
        mut ended: Pin<&mut impl Future<Output = Result<T>>>,
    ) -> Result<Option<T>> {
        let mut reading = std::pin::pin!(read(output, printer));
        // What is typed comes when the terminal has its size: a program that is told to look finds it.
        let sized = Notify::new();
        let typing = async {
            sized.notified().await;
            give(input).await;
        };
        let (mut typing, mut watching) = (std::pin::pin!(typing), std::pin::pin!(self.watch(&sized)));
        let (mut has_read, mut has_typed, mut code) = (false, false, None);
        loop {
            tokio::select! {
                read = &mut reading, if !has_read => {
                    if !read? {
                        return Ok(None);
                    }
                    // The engine may also close a terminal's output where its input is at its end.
                    has_read = true;
                    at_end.notify_one();
                }
                () = &mut typing, if !has_typed => has_typed = true,
                done = &mut watching => {
                    done?;
                    return Ok(None);
                }
                done = &mut ended, if code.is_none() => {
                    code = Some(done?);
                    // The engine gives up what nobody takes within two seconds of the end: that little is taken at once.
                    printer.take_all();
                }
            }
            if has_read && let Some(code) = code.take() {
                return Ok(Some(code));
            }
        }
    }

    /// Passes on signals and the size of the terminal, and ends the program when its time is over or nobody is left.
    /// Completes only if nobody is left and the program is to go on. `sized`: is notified when the terminal has its size.
    async fn watch(&self, sized: &Notify) -> Result<()> {
        let listen = |kind| signal(kind).map_err(Error::io("listen for signals"));
        let mut resized = listen(SignalKind::window_change())?;
        let mut signals =
            PASSED_ON.into_iter().map(|(kind, name)| Ok((listen(kind)?, name))).collect::<Result<Vec<_>>>()?;
        let left = self.run.deadline() - clock::now();
        let mut deadline = std::pin::pin!(tokio::time::sleep(Duration::from_millis(left.max(0).unsigned_abs())));
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut asked = 0;
        let mut is_over = false;
        self.resize().await;
        sized.notify_one();
        loop {
            tokio::select! {
                _ = resized.recv() => self.resize().await,
                name = next_of(&mut signals) => {
                    asked += u32::from(matches!(name, "SIGINT" | "SIGTERM"));
                    let name = if asked >= PATIENCE { "SIGKILL" } else { name };
                    self.signal(name).await;
                    if name == "SIGHUP" && !self.run.goes_on && !is_over {
                        is_over = true;
                        self.end(RunEnd::ClientGone).await?;
                    }
                }
                () = &mut deadline, if !is_over => {
                    is_over = true;
                    self.end(RunEnd::TimeLimit).await?;
                }
                _ = look.tick(), if !is_over => {
                    if streams::is_abandoned() {
                        if self.run.goes_on {
                            return Ok(());
                        }
                        is_over = true;
                        self.end(RunEnd::ClientGone).await?;
                    }
                }
            }
        }
    }

    async fn resize(&self) {
        let Some(size) = streams::terminal_size().filter(|_| self.run.tty) else { return };
        for _ in 0..RESIZES {
            let done = match &self.run.exec {
                Some(exec) => self.engine.resize_exec(exec, size).await,
                None => self.engine.resize_container(&self.run.container, size).await,
            };
            if done.is_ok() {
                return;
            }
            // It has not begun yet, or has ended.
            tokio::time::sleep(RESIZE_AGAIN).await;
        }
    }

    async fn signal(&self, name: &str) {
        if let Err(error) = deploy::signal_run(self.engine, self.run, name).await {
            tracing::warn!("{}", error.one_line());
        }
    }

    /// Has the program end, and says why in its row.
    async fn end(&self, end: RunEnd) -> Result<()> {
        let id = self.run.id;
        self.instance.writing(move |tables| tables.ask_run_to_end(id, end)).await?;
        deploy::stop_run(self.engine, self.run).await
    }
}

/// Prints what a program prints; returns whether somebody read it to its end.
async fn read(mut output: Output, printer: &Printer) -> Result<bool> {
    while let Some(chunk) = output.next().await? {
        let (is_error, bytes) = match chunk {
            Chunk::Stdout(bytes) => (false, bytes),
            Chunk::Stderr(bytes) => (true, bytes),
        };
        if !printer.print(is_error, bytes) {
            return Ok(false);
        }
        printer.has_room().await;
    }
    Ok(true)
}

/// Gives a program what is typed.
async fn give(mut input: Input) {
    let mut typed = streams::typed();
    while let Some(bytes) = typed.recv().await {
        if input.give(&bytes).await.is_err() {
            return;
        }
    }
    input.end().await;
}

async fn next_of(signals: &mut [(Signal, &'static str)]) -> &'static str {
    std::future::poll_fn(|context| {
        for (signal, name) in &mut *signals {
            if signal.poll_recv(context).is_ready() {
                return std::task::Poll::Ready(*name);
            }
        }
        std::task::Poll::Pending
    })
    .await
}
