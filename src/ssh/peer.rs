//! Whether a client is still there, told by its socket, though nothing of what it sent is read.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::Duration,
};

use nix::libc;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::net::TcpStream;

/// The other end of a connection.
#[derive(Debug)]
pub(super) struct Peer(OwnedFd);

impl Peer {
    /// The other end of this stream.
    ///
    /// # Errors
    /// Where there are no file descriptors left.
    pub(super) fn of(stream: &TcpStream) -> io::Result<Peer> {
        stream.as_fd().try_clone_to_owned().map(Peer)
    }

    /// Whether the connection was reset, or the kernel gave it up: nothing more can come or go.
    pub(super) fn is_lost(&self) -> bool {
        self.shows(PollFlags::HUP | PollFlags::ERR)
    }

    /// Whether it has said that it sends no more. What it has sent before may still wait to be read.
    pub(super) fn has_ended(&self) -> bool {
        self.shows(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)
    }

    /// Whether it owes an answer, and has not even shown that it is there for this long. Who is only slow, or stopped,
    /// still answers: its kernel does.
    pub(super) fn is_silent_for(&self, limit: Duration) -> bool {
        tcp_info(&self.0).is_ok_and(|info| {
            let owes = info.tcpi_retransmits > 0 || info.tcpi_probes > 0;
            owes && Duration::from_millis(info.tcpi_last_ack_recv.into()) > limit
        })
    }

    fn shows(&self, wanted: PollFlags) -> bool {
        let mut polled = [PollFd::new(&self.0, PollFlags::RDHUP)];
        poll(&mut polled, Some(&Timespec::default())).is_ok() && polled[0].revents().intersects(wanted)
    }
}

/// What the kernel knows about a connection (tcp(7)).
fn tcp_info(socket: &OwnedFd) -> io::Result<libc::tcp_info> {
    // SAFETY: it is made of numbers, all of which may be 0.
    #[expect(unsafe_code, reason = "no library of ours reads TCP_INFO")]
    let mut info = unsafe { std::mem::zeroed::<libc::tcp_info>() };
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes no more than `length` bytes to `info`, and both outlive the call.
    #[expect(unsafe_code, reason = "no library of ours reads TCP_INFO")]
    let got = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut info).cast(), &raw mut length)
    };
    if got == 0 { Ok(info) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use rustix::net::sockopt;
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn an_end_and_a_reset_are_seen_behind_bytes_that_nobody_reads() {
        let (mut client, stream) = pair().await;
        let peer = Peer::of(&stream).unwrap();
        client.write_all(&[0; 1000]).await.unwrap();
        assert!(!peer.has_ended() && !peer.is_lost());
        client.shutdown().await.unwrap();
        while !peer.has_ended() {
            tokio::task::yield_now().await;
        }
        assert!(!peer.is_lost(), "it still reads");

        let (mut client, stream) = pair().await;
        let peer = Peer::of(&stream).unwrap();
        client.write_all(&[0; 1000]).await.unwrap();
        sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
        drop(client);
        while !peer.is_lost() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn who_is_only_slow_is_there() {
        let (client, mut stream) = pair().await;
        let peer = Peer::of(&stream).unwrap();
        // Until its window is full, and the kernel asks whether there is room again.
        let full = tokio::time::timeout(Duration::from_millis(500), async {
            while stream.write_all(&[0; 1 << 16]).await.is_ok() {}
        });
        assert!(full.await.is_err());
        assert!(!peer.is_silent_for(Duration::ZERO));
        assert!(!peer.has_ended());
        drop(client);
    }
}
