//! What the edge answers over HTTP: certificates to Caddy, redirects and pages to everybody. The only module that knows axum.

mod page;

use std::{net::IpAddr, sync::Arc};

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

use self::page::Page;
use crate::{
    Error, Result,
    edge::Reader,
    model::{Caller, Needed, Refusal, allow},
    proxy::Table,
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

/// Every route there is, each with who may use it.
fn router(reader: Arc<Reader>) -> Router {
    Router::new()
        .route("/-/ask", guarded(Needed::Anybody, any(ask)))
        .route("/-/certificate/{token}", guarded(Needed::Anybody, any(certificate)))
        .route("/-/read/{token}", guarded(Needed::Anybody, any(read)))
        .fallback_service(guarded(Needed::Anybody, any(show)).with_state(Arc::clone(&reader)))
        .with_state(reader)
}

/// A route that asks the policy before anything else. Nobody says who they are yet: all are guests.
fn guarded(needed: Needed, route: MethodRouter<Arc<Reader>>) -> MethodRouter<Arc<Reader>> {
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

/// Anything else: a redirect to HTTPS, or why the app at that host takes no requests.
async fn show(State(reader): State<Arc<Reader>>, headers: HeaderMap, uri: Uri) -> Response {
    let table = reader.shared().table();
    let host = host(&headers);
    let is_plain = headers.get("x-forwarded-proto").is_some_and(|proto| proto == "http");
    if is_plain && table.is_redirected_to_https(&host) {
        return to_https(&host, table.https_port(), &uri);
    }
    let page = match table.app_at(&host) {
        Some(entry) => Page::of_app(&entry.name, entry.standing),
        None => Page::unknown(&host),
    };
    page.into_response_for(&headers)
}

/// The same by HTTPS (RFC 9110, 15.4.9: with the same method and body).
fn to_https(host: &str, port: Option<u16>, uri: &Uri) -> Response {
    let port = match port {
        None | Some(443) => String::new(),
        Some(port) => format!(":{port}"),
    };
    let rest = uri.path_and_query().map_or("/", |rest| rest.as_str());
    match HeaderValue::try_from(format!("https://{host}{port}{rest}")) {
        Ok(location) => (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, location)]).into_response(),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// Caddy's question whether it may have a certificate made for a host: never, they are all ours.
async fn ask(State(reader): State<Arc<Reader>>, headers: HeaderMap, uri: Uri) -> Response {
    if is_from_caddy_itself(&headers) {
        return StatusCode::NOT_FOUND.into_response();
    }
    show(State(reader), headers, uri).await
}

/// The host that a handshake is for.
#[derive(Debug, Deserialize)]
struct Handshake {
    server_name: Option<String>,
}

/// `GET /-/certificate/TOKEN?server_name=HOST`: the chain and the private key for a handshake in PEM, or 204 where there is
/// none (`tls.get_certificate.http` of Caddy; on any other answer newer ones end the handshake with an error of their own).
async fn certificate(
    State(reader): State<Arc<Reader>>,
    Path(token): Path<String>,
    asked: Result<Query<Handshake>, QueryRejection>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let table = reader.shared().table();
    if !is_secret(&table, &token, &headers) {
        return show(State(reader), headers, uri).await;
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
async fn read(State(reader): State<Arc<Reader>>, Path(token): Path<String>, headers: HeaderMap, uri: Uri) -> Response {
    if !is_secret(&reader.shared().table(), &token, &headers) {
        return show(State(reader), headers, uri).await;
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
        let port = host.parse::<std::net::SocketAddr>().map(|address| address.ip()).or_else(|_| host.parse::<IpAddr>());
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
