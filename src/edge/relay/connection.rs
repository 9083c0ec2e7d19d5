//! One connection: to which container it goes, and what is said on it in both directions.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustix::net::{Shutdown, sockopt};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{super::reader::Shared, header::header, pipe::Pipe};
use crate::{clock, model::ProxyProtocol};

/// How long a container is looked for that takes a connection.
const REACH: Duration = Duration::from_secs(5);
/// How long one may take to answer.
const REACH_ONE: Duration = Duration::from_secs(1);
/// How long to wait before all are tried again.
const REACH_AGAIN: Duration = Duration::from_millis(50);
/// How much is copied at a time, in bytes. Where there is as much, a pipe is used from then on.
const AT_A_TIME: usize = 64 << 10;
/// How long a connection may have nothing to move, and keep its pipe.
const BUSY: Duration = Duration::from_secs(1);
/// How often in a row something is moved before others have their turn.
const TURN: u32 = 16;
/// How long a peer may say nothing before it is asked whether it is there, how often, and how many times.
const ALIVE_AFTER: Duration = Duration::from_secs(60);
const ALIVE_EVERY: Duration = Duration::from_secs(15);
const ALIVE_TIMES: u32 = 4;

thread_local! {
    /// What is moved passes through it. It is empty again whenever a task waits.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; AT_A_TIME].into_boxed_slice());
}

/// How many connections each container has, to be fair to all.
#[derive(Debug, Default)]
pub(super) struct Load {
    connections: Mutex<HashMap<SocketAddr, usize>>,
    turn: AtomicUsize,
}

impl Load {
    /// Containers, those with the fewest connections first, and by turns where they have as many.
    fn order(&self, containers: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut order = containers.to_vec();
        if order.len() > 1 {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % order.len();
            order.rotate_left(turn);
            let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
            order.sort_by_key(|container| connections.get(container).copied().unwrap_or(0));
        }
        order
    }

    fn begin(&self, container: SocketAddr) -> Counted<'_> {
        *self.connections.lock().unwrap_or_else(PoisonError::into_inner).entry(container).or_default() += 1;
        Counted { load: self, container }
    }
}

/// A connection that counts as long as this is there.
struct Counted<'a> {
    load: &'a Load,
    container: SocketAddr,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let mut connections = self.load.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = connections.get_mut(&self.container) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&self.container);
            }
        }
    }
}

/// Passes a connection at a port on to a container, until it has ended. Where no container takes it, it is closed.
pub(super) async fn relay(client: TcpStream, from: SocketAddr, port: u16, shared: &Shared, load: &Load) {
    let Some((mut container, address, protocol)) = reach(port, shared, load).await else { return };
    let _counted = load.begin(address);
    for stream in [&client, &container] {
        // Without these it is a connection all the same.
        let _ = stream.set_nodelay(true);
        let _ = keep_alive(stream);
    }
    let told = match (protocol, client.local_addr()) {
        (Some(version), Ok(to)) => container.write_all(&header(version, from, to)).await,
        (Some(_), Err(error)) => Err(error),
        (None, _) => Ok(()),
    };
    let moved = async {
        told?;
        tokio::try_join!(pump(&client, &container), pump(&container, &client))
    };
    if moved.await.is_err() {
        // One that broke off does so for the other side, too: it is not a proper end of what was said.
        for stream in [&client, &container] {
            let _ = sockopt::set_socket_linger(stream, Some(Duration::ZERO));
        }
    }
}

/// Connects to a container that the table has for a port.
async fn reach(port: u16, shared: &Shared, load: &Load) -> Option<(TcpStream, SocketAddr, Option<ProxyProtocol>)> {
    let deadline = clock::instant() + REACH;
    loop {
        // Read anew each time: a deploy may switch meanwhile.
        let table = shared.table();
        let relayed = table.ports().get(&port)?;
        if !relayed.runs {
            return None;
        }
        for address in load.order(&relayed.upstreams) {
            if let Ok(Ok(stream)) = timeout(REACH_ONE, TcpStream::connect(address)).await {
                return Some((stream, address, relayed.proxy_protocol));
            }
        }
        if clock::instant() >= deadline {
            return None;
        }
        sleep(REACH_AGAIN).await;
    }
}

/// Has the kernel find out about a peer that is gone without a word.
fn keep_alive(stream: &TcpStream) -> rustix::io::Result<()> {
    sockopt::set_tcp_keepidle(stream, ALIVE_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, ALIVE_EVERY)?;
    sockopt::set_tcp_keepcnt(stream, ALIVE_TIMES)?;
    sockopt::set_socket_keepalive(stream, true)
}

/// What became of what was there to be moved.
enum Moved {
    /// All of it was taken: this many bytes.
    All(usize),
    /// This part of it was not taken yet.
    But(Vec<u8>),
    /// There was nothing.
    Nothing,
    /// There will be no more.
    End,
}

/// Moves all that one side says to the other, and its end.
async fn pump(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    let mut pipe: Option<Pipe> = None;
    loop {
        if pipe.is_some() {
            match timeout(BUSY, from.readable()).await {
                Ok(readable) => readable?,
                // Others may need it.
                Err(_) => pipe = None,
            }
        } else {
            from.readable().await?;
        }
        let mut turn = 0;
        loop {
            let moved = match &pipe {
                Some(pipe) => match pipe.move_some(from, to).await {
                    Ok(0) => Moved::End,
                    Ok(moved) => Moved::All(moved),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Moved::Nothing,
                    Err(error) => return Err(error),
                },
                None => move_some(from, to)?,
            };
            match moved {
                Moved::All(moved) => {
                    if pipe.is_none() && moved == AT_A_TIME {
                        pipe = Pipe::new();
                    }
                    turn += 1;
                    if turn == TURN {
                        tokio::task::yield_now().await;
                        turn = 0;
                    }
                }
                Moved::But(rest) => write_all(to, &rest).await?,
                Moved::Nothing => break,
                Moved::End => {
                    return match rustix::net::shutdown(to, Shutdown::Write) {
                        // Its other side has ended it already.
                        Ok(()) | Err(rustix::io::Errno::NOTCONN) => Ok(()),
                        Err(error) => Err(error.into()),
                    };
                }
            }
        }
    }
}

/// Moves what is there now, without waiting.
fn move_some(from: &TcpStream, to: &TcpStream) -> io::Result<Moved> {
    SCRATCH.with_borrow_mut(|scratch| {
        let read = match from.try_read(scratch) {
            Ok(0) => return Ok(Moved::End),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Moved::Nothing),
            Err(error) => return Err(error),
        };
        let mut rest = scratch.get(..read).unwrap_or_default();
        while !rest.is_empty() {
            match to.try_write(rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Moved::But(rest.to_vec())),
                Err(error) => return Err(error),
            }
        }
        Ok(Moved::All(read))
    })
}

async fn write_all(to: &TcpStream, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        to.writable().await?;
        match to.try_write(rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_container_with_the_fewest_connections_is_next_and_each_has_its_turn() {
        let load = Load::default();
        let [one, two, three] = [1, 2, 3].map(|last| SocketAddr::from(([10, 222, 0, last], 80)));
        let firsts: Vec<SocketAddr> = (0..3).map(|_| load.order(&[one, two, three])[0]).collect();
        assert_eq!(firsts, [one, two, three]);
        let of_two = load.begin(two);
        let of_one = (load.begin(one), load.begin(one));
        assert_eq!(load.order(&[one, two, three]), [three, two, one]);
        drop(of_one);
        assert_eq!(load.order(&[one, two])[0], one);
        drop(of_two);
        assert!(load.connections.lock().unwrap().is_empty());
        assert!(load.order(&[]).is_empty());
    }
}
