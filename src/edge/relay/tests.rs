use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
};

use super::*;
use crate::{model::ProxyProtocol, proxy::RelayedPort};

/// A port that nobody listens on.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A table in which a port leads to a port of this machine, as if a container had it.
fn leading(host: u16, container: u16, proxy_protocol: Option<ProxyProtocol>) -> Table {
    table(vec![relayed(host, container, proxy_protocol)])
}

fn table(ports: Vec<(u16, RelayedPort)>) -> Table {
    Table::of(Vec::new(), "127.0.0.1:1".parse().unwrap()).with_ports(ports)
}

fn relayed(host: u16, container: u16, proxy_protocol: Option<ProxyProtocol>) -> (u16, RelayedPort) {
    (host, RelayedPort { upstreams: vec![(Ipv4Addr::LOCALHOST, container).into()], proxy_protocol, runs: true })
}

fn relay(table: Table) -> (Relay, Shared) {
    let shared = Shared::new(table);
    let relay = Relay::new(shared.clone());
    relay.follow(&shared.table(), Vec::new());
    (relay, shared)
}

/// A program that says again what it hears, until its client has no more to say.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut buffer = [0; 8192];
                let mut stream = stream;
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    stream.write_all(&buffer[..read]).unwrap();
                }
            });
        }
    });
    port
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(stream)
}

/// Says something on a connection, and hears it again.
fn hears_itself(stream: &mut TcpStream) -> bool {
    let mut back = [0; 5];
    stream.write_all(b"hello").is_ok() && stream.read_exact(&mut back).is_ok() && back == *b"hello"
}

fn refused(port: u16) -> bool {
    connect(port).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[test]
fn all_that_is_said_arrives_in_both_directions_and_its_end_too() {
    let port = free_port();
    let (relay, _) = relay(leading(port, echo(), None));
    let mut client = connect(port).unwrap();
    assert!(hears_itself(&mut client));
    assert_eq!(relay.connections(), 2, "one, and the place of the next");
    let data: Vec<u8> = (0..8 << 20).map(|index: u32| (index % 251) as u8).collect();
    let (mut writer, sent) = (client.try_clone().unwrap(), data.clone());
    let writing = std::thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    client.read_to_end(&mut back).unwrap();
    writing.join().unwrap();
    assert!(back == data, "{} of {} bytes came back", back.len(), data.len());
}

#[test]
fn many_busy_connections_at_once_get_all_of_theirs() {
    let port = free_port();
    let (relay, _) = relay(leading(port, echo(), None));
    // More directions than there are pipes, and readers that are slower than what is written to them.
    let clients: Vec<_> = (0..pipe::MOST)
        .map(|number| {
            std::thread::spawn(move || {
                let mut client = connect(port).unwrap();
                let data: Vec<u8> = (0..1 << 20).map(|index: u32| (index % 251) as u8 ^ number as u8).collect();
                let (mut writer, sent) = (client.try_clone().unwrap(), data.clone());
                let writing = std::thread::spawn(move || {
                    writer.write_all(&sent).unwrap();
                    writer.shutdown(std::net::Shutdown::Write).unwrap();
                });
                std::thread::sleep(Duration::from_millis(300));
                let mut back = Vec::new();
                client.read_to_end(&mut back).unwrap();
                writing.join().unwrap();
                assert!(back == data, "{} of {} bytes came back", back.len(), data.len());
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    drop(relay);
}

#[test]
fn what_a_container_is_told_of_a_client_comes_first() {
    let port = free_port();
    let (_relay, _) = relay(leading(port, echo(), Some(ProxyProtocol::V1)));
    let mut client = connect(port).unwrap();
    let own = client.local_addr().unwrap().port();
    let expected = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {own} {port}\r\n");
    let mut header = vec![0; expected.len()];
    client.read_exact(&mut header).unwrap();
    assert_eq!(String::from_utf8(header).unwrap(), expected);
    assert!(hears_itself(&mut client));
}

#[test]
fn a_connection_that_breaks_off_does_so_on_the_other_side_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free_port();
    let (_relay, _) = relay(leading(port, listener.local_addr().unwrap().port(), None));
    let mut client = connect(port).unwrap();
    let (mut container, _) = listener.accept().unwrap();
    client.write_all(b"x").unwrap();
    container.read_exact(&mut [0; 1]).unwrap();
    sockopt::set_socket_linger(&container, Some(Duration::ZERO)).unwrap();
    drop(container);
    assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_port_that_leads_nowhere_is_closed_whoever_has_its_socket_and_can_be_opened_again() {
    let port = free_port();
    let container = echo();
    let (relay, shared) = relay(leading(port, container, None));
    let mut there = connect(port).unwrap();
    assert!(hears_itself(&mut there));
    // The daemon's.
    let held = relay.listeners().unwrap();
    shared.set(table(Vec::new()));
    relay.follow(&shared.table(), Vec::new());
    assert!(refused(port) && !listens(&held[0]));
    assert!(hears_itself(&mut there), "it goes on");
    shared.set(leading(port, container, None));
    // One that does not listen any more is of no use.
    relay.follow(&shared.table(), held);
    assert!(hears_itself(&mut connect(port).unwrap()));
}

#[test]
fn another_edge_goes_on_with_the_sockets_and_the_connections_stay() {
    let port = free_port();
    let container = echo();
    let (former, _) = relay(leading(port, container, None));
    let mut there = connect(port).unwrap();
    assert!(hears_itself(&mut there));
    let sockets = former.stop();
    assert_eq!(former.connections(), 1);
    // Nobody takes it, and it is not refused.
    let mut waiting = connect(port).unwrap();
    former.follow(&former.shared.table(), Vec::new());
    assert!(former.listeners().unwrap().is_empty(), "it is over for that one");

    let next = Relay::new(Shared::new(leading(port, container, None)));
    next.follow(&next.shared.table(), sockets);
    assert!(hears_itself(&mut waiting) && hears_itself(&mut there));
    drop(there);
    former.wait_for_end(Duration::from_secs(20));
    assert_eq!(former.connections(), 0);
}

#[test]
fn connections_wait_a_while_for_an_app_that_is_to_run_and_not_for_one_that_is_stopped() {
    let port = free_port();
    let container = echo();
    let nobody = |runs| (port, RelayedPort { upstreams: Vec::new(), proxy_protocol: None, runs });
    let (_relay, shared) = relay(table(vec![nobody(true)]));
    let mut waiting = connect(port).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    shared.set(leading(port, container, None));
    assert!(hears_itself(&mut waiting));

    shared.set(table(vec![nobody(false)]));
    assert_eq!(connect(port).unwrap().read(&mut [0; 1]).unwrap(), 0, "it is closed");
}

#[test]
fn a_port_that_is_taken_is_tried_again() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let (relay, _) = relay(leading(port, echo(), None));
    assert!(relay.listeners().unwrap().is_empty());
    drop(taken);
    relay.try_again();
    assert!(hears_itself(&mut connect(port).unwrap()));
}
