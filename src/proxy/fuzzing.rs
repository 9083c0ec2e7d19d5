//! What comes to the edge, for the fuzz targets.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use super::{dns::answer, table::Table};

/// A packet: what is answered is no longer than was asked for, and can be read.
pub fn dns(packet: &[u8]) {
    let upstreams = (1..200).map(|last| SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, last), 5000)).collect();
    let host = ("blog.example".parse().expect("a domain"), "blog".parse().expect("a name"), upstreams);
    let table = Table::of(vec![host], SocketAddr::from(([127, 0, 0, 1], 80)));
    for turn in 0..3 {
        if let Some(answer) = answer(packet, &table, turn) {
            assert!(answer.len() <= usize::from(u16::MAX));
            hickory_proto::op::Message::from_vec(&answer).expect("an answer can be read");
        }
    }
}
