//! A small proxy: passes a request on to an app as Caddy does, with its bodies and upgrades as streams. Used only for what
//! cannot be told by DNS, which knows no client and holds no request.

use std::{net::SocketAddr, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    response::Response,
};
use hyper::{
    client::conn::http1,
    upgrade::{self, OnUpgrade},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::page::Page;
use crate::clock;

/// How long a container may take to take a connection, how long one is looked for, and the pause between two rounds: as
/// in the Caddyfile.
const CONNECT: Duration = Duration::from_millis(500);
const LOOK_FOR: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

/// Headers that are about a connection, not about a request (RFC 9110, 7.6.1).
const OF_CONNECTIONS: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::UPGRADE,
];

/// Passes a request on to the first of these that takes it, and its answer back.
pub(super) async fn forward(upstreams: &[SocketAddr], mut request: Request) -> Response {
    let asked = request.headers().clone();
    let silent = || Page::silent().into_response_for(&asked);
    let Some(stream) = connect(upstreams).await else { return silent() };
    let Ok((mut sender, connection)) = http1::handshake(TokioIo::new(stream)).await else { return silent() };
    tokio::spawn(connection.with_upgrades());

    let protocol = without_connection(request.headers_mut());
    let client = protocol.is_some().then(|| upgrade::on(&mut request));
    if let Some(path) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = Uri::from(path);
    }
    let Ok(mut response) = sender.send_request(request).await else { return silent() };
    let app = (response.status() == StatusCode::SWITCHING_PROTOCOLS).then(|| upgrade::on(&mut response));
    without_connection(response.headers_mut());
    if let (Some(client), Some(app)) = (client, app) {
        tokio::spawn(join(client, app));
    }
    response.map(Body::new)
}

/// A connection to the first that takes one. Many that were held come at once, more than a small server has a queue for.
async fn connect(upstreams: &[SocketAddr]) -> Option<TcpStream> {
    let begun = clock::instant();
    while begun.elapsed() < LOOK_FOR {
        for upstream in upstreams {
            if let Ok(Ok(stream)) = tokio::time::timeout(CONNECT, TcpStream::connect(upstream)).await {
                return Some(stream);
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    None
}

/// Removes what is about the connection, but for another protocol that is asked for or granted, which is returned.
fn without_connection(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let protocol = named.contains(&header::UPGRADE).then(|| headers.get(header::UPGRADE).cloned()).flatten();
    for name in OF_CONNECTIONS.iter().chain(&named) {
        headers.remove(name);
    }
    if let Some(protocol) = &protocol {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol.clone());
    }
    protocol
}

/// Passes on what both sides of an upgraded connection say, until both have ended.
async fn join(client: OnUpgrade, app: OnUpgrade) {
    if let Ok((client, app)) = tokio::try_join!(client, app) {
        // That one of them is gone is no news.
        drop(tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(app)).await);
    }
}
