//! Our own standard streams, for a program that runs elsewhere: what is typed goes there as it is, and what it prints
//! comes out as it is.
//!
//! Each direction has a thread of its own, which may wait for ever: nobody waits for the threads when this process ends.

use std::{
    io::{IsTerminal, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr},
    time::Timespec,
};
use tokio::sync::{Notify, mpsc};

use crate::{Error, Result};

/// How much is read of what is typed at once, in bytes.
const CHUNK: usize = 16 * 1024;
/// How much of what is typed waits until it is taken, in chunks.
const TYPED: usize = 16;
/// How much of what is printed waits until it is read, in bytes.
const PRINTED: usize = 1 << 20;

/// Whether somebody sits at both ends of a program: it may have a terminal.
pub fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// How large our terminal is: rows and columns; none where there is none.
pub fn terminal_size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// Our terminal, which hands on all that is typed as it is, Ctrl-C too, until this is dropped.
#[derive(Debug)]
pub struct Raw {
    former: Termios,
}

impl Raw {
    /// Makes it so.
    ///
    /// # Errors
    /// [`Error::Host`] where standard input is no terminal.
    pub fn begin() -> Result<Raw> {
        let stdin = std::io::stdin();
        let set = || {
            let former = tcgetattr(&stdin)?;
            let mut raw = former.clone();
            raw.make_raw();
            tcsetattr(&stdin, OptionalActions::Now, &raw)?;
            Ok::<_, rustix::io::Errno>(former)
        };
        let former = set().map_err(|errno| Error::io("set the terminal")(errno.into()))?;
        Ok(Raw { former })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Drain, &self.former);
    }
}

/// Begins to read what is typed; nothing more comes at its end.
pub fn typed() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(TYPED);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = vec![0; CHUNK];
        loop {
            match stdin.read(&mut buffer) {
                Ok(count @ 1..) => {
                    if sender.blocking_send(buffer[..count].to_vec()).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return,
            }
        }
    });
    receiver
}

/// What is printed on standard output and standard error.
#[derive(Debug)]
pub struct Printer {
    sender: mpsc::UnboundedSender<(bool, Vec<u8>)>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: AtomicUsize,
    is_unread: AtomicBool,
    is_done: AtomicBool,
    takes_all: AtomicBool,
    moved: Notify,
}

impl Printer {
    /// Begins to print.
    pub fn begin() -> Printer {
        let (sender, mut receiver) = mpsc::unbounded_channel::<(bool, Vec<u8>)>();
        let shared = Arc::new(Shared::default());
        let printed = Arc::clone(&shared);
        std::thread::spawn(move || {
            while let Some((is_error, bytes)) = receiver.blocking_recv() {
                let written = if is_error {
                    // Nobody to talk to is no reason to stop.
                    let _ = std::io::stderr().lock().write_all(&bytes);
                    Ok(())
                } else {
                    // Not by lines, which would hold back what is not ended.
                    let mut out = std::io::stdout().lock();
                    out.write_all(&bytes).and_then(|()| out.flush())
                };
                printed.waiting.fetch_sub(bytes.len(), Ordering::AcqRel);
                if written.is_err() {
                    printed.is_unread.store(true, Ordering::Release);
                    break;
                }
                printed.moved.notify_one();
            }
            printed.is_done.store(true, Ordering::Release);
            printed.moved.notify_one();
        });
        Printer { sender, shared }
    }

    /// Prints some bytes, and says whether anybody reads them.
    pub fn print(&self, is_error: bool, bytes: Vec<u8>) -> bool {
        self.shared.waiting.fetch_add(bytes.len(), Ordering::AcqRel);
        self.sender.send((is_error, bytes)).is_ok() && !self.shared.is_unread.load(Ordering::Acquire)
    }

    /// Has room for whatever comes from now on.
    pub fn take_all(&self) {
        self.shared.takes_all.store(true, Ordering::Release);
        self.shared.moved.notify_one();
    }

    /// Waits until there is room for more.
    pub async fn has_room(&self) {
        let is_open = |flag: &AtomicBool| flag.load(Ordering::Acquire);
        while self.shared.waiting.load(Ordering::Acquire) > PRINTED
            && !is_open(&self.shared.is_done)
            && !is_open(&self.shared.takes_all)
        {
            self.shared.moved.notified().await;
        }
    }

    /// Waits until all is printed, or nobody reads it any more.
    pub async fn finish(self) {
        let Printer { sender, shared } = self;
        drop(sender);
        while !shared.is_done.load(Ordering::Acquire) {
            shared.moved.notified().await;
        }
    }
}

/// Whether nobody is left at standard output and standard error: both are closed at the other end.
pub fn is_abandoned() -> bool {
    let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
    let mut polled = [PollFd::new(&stdout, PollFlags::empty()), PollFd::new(&stderr, PollFlags::empty())];
    let gone = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
    poll(&mut polled, Some(&Timespec::default())).is_ok() && polled.iter().all(|one| one.revents().intersects(gone))
}
