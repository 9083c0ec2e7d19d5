//! Moves what a busy connection says from socket to socket by a pipe, without a copy of it in this process (splice(2)): for
//! less than half of the processor time.

use std::{io, os::fd::OwnedFd};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::{
    io::Interest,
    net::TcpStream,
    sync::{Semaphore, SemaphorePermit},
};

/// How much a pipe holds, in bytes.
const SIZE: usize = 256 << 10;
/// How many there may be at once. All of them hold a quarter of what Linux lets a user have in pipes (pipe(7)).
pub(super) const MOST: usize = 64;

static PLACES: Semaphore = Semaphore::const_new(MOST);

/// A pipe, for one direction of one connection.
#[derive(Debug)]
pub(super) struct Pipe {
    into: OwnedFd,
    out_of: OwnedFd,
    _place: SemaphorePermit<'static>,
}

impl Pipe {
    /// Makes a pipe, unless there are too many, or the machine has none to give.
    pub(super) fn new() -> Option<Pipe> {
        let place = PLACES.try_acquire().ok()?;
        let (out_of, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // A small one does it, too.
        let _ = fcntl_setpipe_size(&into, SIZE);
        Some(Pipe { into, out_of, _place: place })
    }

    /// Moves what is there to be moved; returns how much: none at the end of what is said.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if there is nothing now; what the sockets say.
    pub(super) async fn move_some(&self, from: &TcpStream, to: &TcpStream) -> io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let read = from.try_io(Interest::READABLE, || Ok(splice(from, None, &self.into, None, SIZE, flags)?))?;
        let mut left = read;
        while left > 0 {
            to.writable().await?;
            match to.try_io(Interest::WRITABLE, || Ok(splice(&self.out_of, None, to, None, left, flags)?)) {
                Ok(written) => left = left.saturating_sub(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }
}
