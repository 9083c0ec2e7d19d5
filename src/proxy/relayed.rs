//! Connections that are relayed to a container, as the kernel lists them: those of an edge that is gone from its place, and
//! lives on for them, count as well.

use std::{collections::BTreeSet, net::Ipv4Addr};

use super::sockets_of_caddy;
use crate::{
    Result,
    instance::{Instance, on_pool},
    tcp::{self, State},
};

/// How many connections there are to a container at these ports. `of_caddy`: Caddy may have some of its own to them, which
/// it keeps though nothing is in flight.
///
/// # Errors
/// [`crate::Error::Bug`].
pub async fn relayed(instance: &Instance, container: Ipv4Addr, ports: BTreeSet<u16>, of_caddy: bool) -> Result<usize> {
    let settings = instance.settings.clone();
    on_pool(move || {
        let mut sockets = tcp::sockets();
        sockets.retain(|socket| {
            socket.state == State::Connected
                && socket.inode != 0
                && socket.remote.ip() == container
                && ports.contains(&socket.remote.port())
        });
        if of_caddy && !sockets.is_empty() {
            let of_caddy = sockets_of_caddy(&settings);
            sockets.retain(|socket| !of_caddy.contains(&socket.inode));
        }
        sockets.len()
    })
    .await
}
