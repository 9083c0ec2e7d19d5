//! What the edge answers over HTTP: certificates to Caddy, redirects and pages to everybody. The only module that knows axum.

mod forward;
mod page;
mod pause;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    Router,
    extract::{Path, Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{MethodRouter, any},
};
use serde::Deserialize;
use tokio::{net::TcpListener, sync::watch};

use self::{
    page::Page,
    pause::{Held, Pauses},
};
use crate::{
    Error, Result,
    edge::Reader,
    model::{Caller, Needed, Refusal, allow},
    proxy::{AppEntry, Lead, Table},
    store::StoredMaintenance,
};

/// Serves until `stop` turns true, and then until requests under way are answered.
///
/// # Errors
/// [`Error::Host`].
pub async fn serve(
    listener: std::net::TcpListener,
    reader: Arc<Reader>,
    mut stop: watch::Receiver<bool>,
) -> Result<()> {
    let listener = TcpListener::from_std(listener).map_err(Error::io("answer HTTP"))?;
    let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
    let served = axum::serve(listener, router(reader)).with_graceful_shutdown(stopped);
    served.await.map_err(Error::io("answer HTTP"))
}

/// What requests are answered with.
#[derive(Clone, Debug)]
struct Answering {
    reader: Arc<Reader>,
    pauses: Pauses,
}

/// Every route there is, each with who may use it.
fn router(reader: Arc<Reader>) -> Router {
    let edge = Answering { reader, pauses: Pauses::default() };
    Router::new()
        .route("/-/ask", guarded(Needed::Anybody, any(ask)))
        .route("/-/certificate/{token}", guarded(Needed::Anybody, any(certificate)))
        .route("/-/read/{token}", guarded(Needed::Anybody, any(read)))
        .route("/.well-known/acme-challenge/{token}", guarded(Needed::Anybody, any(challenge)))
        .fallback_service(guarded(Needed::Anybody, any(show)).with_state(edge.clone()))
        .with_state(edge)
}

/// A route that asks the policy before anything else. Nobody says who they are yet: all are guests.
fn guarded(needed: Needed, route: MethodRouter<Answering>) -> MethodRouter<Answering> {
    route.layer(from_fn(move |request: Request, next: Next| {
        let allowed = allow(&Caller::guest(None), &needed);
        async move {
            match allowed {
                Ok(()) => next.run(request).await,
                // Which of the two it is, is nobody's to know.
                Err(Refusal::Hidden(_) | Refusal::OnlyHere | Refusal::Lacks { .. }) => {
                    StatusCode::NOT_FOUND.into_response()
                }
            }
        }
    }))
}

/// Anything else: a redirect, what is said during maintenance, or why the app at that host takes no requests. What an app
/// is to have all the same is passed on to it.
async fn show(State(edge): State<Answering>, request: Request) -> Response {
    let table = edge.reader.shared().table();
    let headers = request.headers();
    let host = host(headers);
    let is_plain = headers.get("x-forwarded-proto").is_none_or(|proto| proto == "http");
    let port = port(headers);
    match table.lead(&host) {
        None => Page::unknown(&host).into_response_for(headers),
        Some(Lead::Redirect(redirect)) => {
            let to = redirect.to.as_str();
            redirected(&table, redirect.code.number(), to, !is_plain || table.is_secure(to), request.uri())
        }
        Some(Lead::App(_) | Lead::Routes(_)) if is_plain && port.is_none() && table.is_redirected_to_https(&host) => {
            redirected(&table, 308, &host, true, request.uri())
        }
        Some(Lead::Routes(_)) if port.is_some() => Page::unknown(&host).into_response_for(headers),
        Some(Lead::Routes(entry)) => match entry.host.route(request.uri().path()) {
            None if entry.host.enabled().next().is_none() => Page::route_disabled(&host).into_response_for(headers),
            None => Page::no_route(&host).into_response_for(headers),
            Some(route) if route.upstreams().is_empty() || entry.ways.is_empty() => {
                Page::route_down(&host).into_response_for(headers)
            }
            // One that came a moment before its target was well.
            Some(_) => {
                let ways = entry.ways.clone();
                drop(table);
                forward::forward(&ways, request).await
            }
        },
        Some(Lead::App(entry)) if port.is_some_and(|port| table.upstreams_at(entry.id, port).is_none()) => {
            Page::unknown(&host).into_response_for(headers)
        }
        Some(Lead::App(entry)) => {
            let entry = Arc::clone(entry);
            drop(table);
            of_app(&edge, &host, entry, request).await
        }
    }
}

/// What is answered at a host of an app.
async fn of_app(edge: &Answering, host: &str, mut entry: Arc<AppEntry>, request: Request) -> Response {
    let headers = request.headers().clone();
    let client = client(&headers, &edge.reader.shared().table());
    let path = request.uri().path().to_owned();
    let is_kept_out = |entry: &AppEntry| {
        let is_let_in = |stored: &StoredMaintenance| {
            let allow = &stored.maintenance.allow;
            client.is_some_and(|client| allow.iter().any(|network| network.contains(client)))
                || stored.check_path.as_ref().is_some_and(|check| check.split('?').next() == Some(&path))
        };
        entry.maintenance.as_ref().is_some_and(|stored| !is_let_in(stored))
    };
    if entry.enabled && entry.is_paused() && !is_kept_out(&entry) {
        entry = match edge.pauses.hold(edge.reader.shared(), entry.id, host).await {
            Held::GoesOn(entry) => entry,
            Held::Gone => return Page::unknown(host).into_response_for(&headers),
            Held::TooLong => return Page::held_too_long(&entry.name).into_response_for(&headers),
            Held::TooMany => return Page::too_many_held(&entry.name).into_response_for(&headers),
        };
    }
    match &entry.maintenance {
        _ if !entry.enabled => Page::disabled(&entry.name).into_response_for(&headers),
        Some(stored) if is_kept_out(&entry) => page::of_maintenance(&entry.name, &stored.maintenance, &headers),
        _ => {
            let table = edge.reader.shared().table();
            let ways = match port(&headers) {
                Some(port) if entry.rules.is_some() => match table.ways_at(&entry, port) {
                    Some(ways) if ways.is_empty() => return Page::ruled(&entry.name).into_response_for(&headers),
                    ways => ways.unwrap_or_default(),
                },
                Some(port) => table.ways_at(&entry, port).unwrap_or_default(),
                None => entry.ways().to_vec(),
            };
            match &ways[..] {
                [] => Page::of_app(&entry.name, entry.standing).into_response_for(&headers),
                // Whoever comes here though the app serves came a moment before it did, or is let in.
                ways => {
                    let ways: Vec<SocketAddr> = ways.iter().copied().map(SocketAddr::V4).collect();
                    forward::forward(&ways, request).await
                }
            }
        }
    }
}

/// The port that Caddy says a request came in at, where it is not one of its own two. Somebody who says so himself gets what
/// he would get at that port.
fn port(headers: &HeaderMap) -> Option<u16> {
    headers.get("x-paas-port")?.to_str().ok()?.parse().ok()
}

/// The address that a request came from. Caddy passes on whom it has it from as the last one; what is before that is the word of
/// that one, which counts only of a proxy that is trusted.
fn client(headers: &HeaderMap, table: &Table) -> Option<IpAddr> {
    let all = headers.get_all("x-forwarded-for");
    let said: Vec<&str> =
        all.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim).collect();
    let mut from = None;
    for word in said.iter().rev() {
        let address = word.parse().ok()?;
        from = Some(address);
        if !table.trusts(address) {
            break;
        }
    }
    from
}

/// The same path and query at a host.
fn redirected(table: &Table, code: u16, host: &str, is_secure: bool, uri: &Uri) -> Response {
    let (scheme, port, usual) = match table.https_port() {
        Some(port) if is_secure => ("https", port, 443),
        _ => ("http", table.http_port(), 80),
    };
    let port = if port == usual { String::new() } else { format!(":{port}") };
    let rest = uri.path_and_query().map_or("/", |rest| rest.as_str());
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::PERMANENT_REDIRECT);
    match HeaderValue::try_from(format!("{scheme}://{host}{port}{rest}")) {
        Ok(location) => (status, [(header::LOCATION, location)]).into_response(),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// `/.well-known/acme-challenge/TOKEN`: what proves to an authority that a host is this server's (RFC 8555, 8.3). Other
/// tokens are the app's own.
async fn challenge(State(edge): State<Answering>, Path(token): Path<String>, request: Request) -> Response {
    let table = edge.reader.shared().table();
    match table.challenge(&token) {
        Some(answer) => ([(header::CONTENT_TYPE, "application/octet-stream")], answer.to_owned()).into_response(),
        None => show(State(edge), request).await,
    }
}

/// Caddy's question whether it may have a certificate made for a host: never, they are all ours.
async fn ask(State(edge): State<Answering>, request: Request) -> Response {
    if is_from_caddy_itself(request.headers()) {
        return StatusCode::NOT_FOUND.into_response();
    }
    show(State(edge), request).await
}

/// The host that a handshake is for.
#[derive(Debug, Deserialize)]
struct Handshake {
    server_name: Option<String>,
}

/// `GET /-/certificate/TOKEN?server_name=HOST`: the chain and the private key for a handshake in PEM, or 204 where there is
/// none (`tls.get_certificate.http` of Caddy; on any other answer newer ones end the handshake with an error of their own).
async fn certificate(
    State(edge): State<Answering>,
    Path(token): Path<String>,
    asked: Result<Query<Handshake>, QueryRejection>,
    request: Request,
) -> Response {
    let table = edge.reader.shared().table();
    if !is_secret(&table, &token, request.headers()) {
        return show(State(edge), request).await;
    }
    let name = asked.ok().and_then(|Query(handshake)| handshake.server_name).unwrap_or_default();
    match table.certificate(&normalized(&name)) {
        Some(bundle) => {
            ([(header::CONTENT_TYPE, "application/pem-certificate-chain")], bundle.pem().to_owned()).into_response()
        }
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

/// `POST /-/read/TOKEN`: reads the table anew. When this is answered, what was committed before is answered with.
async fn read(State(edge): State<Answering>, Path(token): Path<String>, request: Request) -> Response {
    let reader = Arc::clone(&edge.reader);
    if !is_secret(&reader.shared().table(), &token, request.headers()) {
        return show(State(edge), request).await;
    }
    match tokio::task::spawn_blocking(move || reader.read()).await {
        Ok(Ok(())) => StatusCode::NO_CONTENT.into_response(),
        Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, error.one_line()).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Whether somebody on this machine asks who knows the token.
fn is_secret(table: &Table, token: &str, headers: &HeaderMap) -> bool {
    is_from_caddy_itself(headers) && table.has_token(token)
}

/// Whether nobody asks through a proxy, or by another name than a loopback address.
fn is_from_caddy_itself(headers: &HeaderMap) -> bool {
    let own = headers.get(header::HOST).and_then(|host| host.to_str().ok()).is_some_and(|host| {
        let port = host.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| host.parse::<IpAddr>());
        port.is_ok_and(|ip| ip.is_loopback())
    });
    own && !["x-forwarded-for", "forwarded", "via"].iter().any(|name| headers.contains_key(*name))
}

/// The host a request is for, in lower case, without port and final dot; empty where it names none.
fn host(headers: &HeaderMap) -> String {
    normalized(headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default())
}

fn normalized(host: &str) -> String {
    let without_port = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    without_port.trim_end_matches('.').to_ascii_lowercase()
}
