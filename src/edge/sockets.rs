//! The sockets that the edge answers on. The daemon holds them too, so that what comes while an edge is killed waits in
//! them for the next one, instead of being refused.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::{TcpListener, UdpSocket},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixDatagram,
    },
    path::Path,
    time::Duration,
};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};

use crate::{Error, Result, clock, error::HostError, settings::Settings};

/// How long a port that is taken is waited for, and how often it is tried.
pub(super) const PORT_TAKEN: Duration = Duration::from_secs(4);
const PORT_AGAIN: Duration = Duration::from_millis(100);
/// How long an edge may take to hand out its sockets.
const HAND_OUT: Duration = Duration::from_secs(1);
/// What a datagram to the nudge socket begins with that asks for the sockets, to be sent to the socket that comes with it.
pub(super) const HAND_OVER: u8 = b's';
/// How many sockets there are at most: two, and those of the ports that lead to apps (`ops::ports::MOST`).
const MOST: usize = 250;

/// The sockets that the edge answers on.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// Where Caddy asks for names.
    pub dns: UdpSocket,
    /// Where all else is answered.
    pub http: TcpListener,
    /// The ports that lead to apps.
    pub ports: Vec<TcpListener>,
}

impl Sockets {
    /// Listens on the addresses of an instance. What is taken is waited for, for a while.
    ///
    /// # Errors
    /// `HostError::Listen`.
    pub fn bind(settings: &Settings) -> Result<Sockets> {
        let dns = patiently(|| UdpSocket::bind(settings.resolver_listen)).map_err(|source| {
            let address = format!("udp/{}", settings.resolver_listen);
            HostError::Listen { address, what: "the edge's names", setting: "PAAS_RESOLVER_LISTEN", source }
        })?;
        Ok(Sockets { dns, http: bind_http(settings)?, ports: Vec::new() })
    }

    /// Takes over the sockets that are sent over the standard input; from the resolver of 0.1.0, which is the standard
    /// input itself, the one that there is.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub fn from_input(settings: &Settings) -> Result<Sockets> {
        let take_over = || Error::io("take over the edge's sockets");
        let input = io::stdin().as_fd().try_clone_to_owned().map_err(take_over())?;
        let family = rustix::net::sockopt::socket_domain(&input).map_err(|error| take_over()(error.into()))?;
        if family == AddressFamily::UNIX {
            return Sockets::receive(&input).map_err(take_over());
        }
        Ok(Sockets { dns: UdpSocket::from(input), http: bind_http(settings)?, ports: Vec::new() })
    }

    /// These without the ports that lead to apps, and the latter.
    pub fn without_ports(self) -> (Sockets, Vec<TcpListener>) {
        let Sockets { dns, http, ports } = self;
        (Sockets { dns, http, ports: Vec::new() }, ports)
    }

    /// The same sockets once more.
    ///
    /// # Errors
    /// An I/O error.
    pub fn try_clone(&self) -> io::Result<Sockets> {
        let ports = self.ports.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?;
        Ok(Sockets { dns: self.dns.try_clone()?, http: self.http.try_clone()?, ports })
    }

    /// A socket from which another process receives these: to be its standard input.
    ///
    /// # Errors
    /// An I/O error.
    pub fn to_input(&self) -> io::Result<OwnedFd> {
        let (here, there) = UnixDatagram::pair()?;
        self.send(here)?;
        Ok(there.into())
    }

    /// Asks an edge that runs for its sockets.
    ///
    /// # Errors
    /// An I/O error, also where it does not answer in time.
    pub fn of_running(nudge_socket: &Path) -> io::Result<Sockets> {
        let (here, there) = UnixDatagram::pair()?;
        here.set_read_timeout(Some(HAND_OUT))?;
        let edge = UnixDatagram::unbound()?;
        edge.connect(nudge_socket)?;
        send(&edge, HAND_OVER, &[there.as_fd()])?;
        drop(there);
        Sockets::receive(here)
    }

    /// Sends them to whoever receives from the other end of a socket.
    ///
    /// # Errors
    /// An I/O error.
    pub fn send(&self, to: impl AsFd) -> io::Result<()> {
        let ports = self.ports.iter().map(AsFd::as_fd);
        let all: Vec<BorrowedFd<'_>> = [self.dns.as_fd(), self.http.as_fd()].into_iter().chain(ports).collect();
        send(to, HAND_OVER, &all)
    }

    fn receive(from: impl AsFd) -> io::Result<Sockets> {
        let (_, sockets) = receive(from, &mut [0; 1])?;
        let mut sockets = sockets.into_iter();
        let (Some(dns), Some(http)) = (sockets.next(), sockets.next()) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        Ok(Sockets { dns: dns.into(), http: http.into(), ports: sockets.map(TcpListener::from).collect() })
    }
}

fn bind_http(settings: &Settings) -> Result<TcpListener> {
    let address = settings.http_listen;
    patiently(|| TcpListener::bind(address)).map_err(|source| {
        let what = "the edge's pages and certificates";
        HostError::Listen { address: address.to_string(), what, setting: "PAAS_HTTP_LISTEN", source }.into()
    })
}

/// Tries again for a while what fails because somebody has the address: as the source of a question of his it is free
/// again in a moment.
fn patiently<T>(bind: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let deadline = clock::instant() + PORT_TAKEN;
    loop {
        match bind() {
            Err(source) if source.kind() == io::ErrorKind::AddrInUse && clock::instant() < deadline => {
                std::thread::sleep(PORT_AGAIN);
            }
            result => return result,
        }
    }
}

/// Sends a byte with sockets (unix(7), `SCM_RIGHTS`).
fn send(to: impl AsFd, byte: u8, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    rights.push(SendAncillaryMessage::ScmRights(sockets));
    rustix::net::sendmsg(to, &[IoSlice::new(&[byte])], &mut rights, SendFlags::empty())?;
    Ok(())
}

/// Receives bytes, and the sockets that come with them; returns how many bytes.
///
/// # Errors
/// An I/O error.
pub(super) fn receive(from: impl AsFd, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(from, &mut [IoSliceMut::new(bytes)], &mut rights, RecvFlags::CMSG_CLOEXEC)?;
    let mut sockets = Vec::new();
    for message in rights.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            sockets.extend(received);
        }
    }
    Ok((received.bytes, sockets))
}
