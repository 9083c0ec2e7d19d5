//! The daemon's own HTTP: the page that Caddy shows where an app takes no requests, and the answer to Caddy's question
//! whether a host name may have a certificate. The only module that knows axum.

mod page;

use std::{net::IpAddr, sync::Arc};

use axum::{
    Router,
    extract::{Query, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{MethodRouter, any},
};
use serde::Deserialize;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use self::page::Page;
use crate::{
    Error, Result,
    error::HostError,
    instance::Instance,
    model::{AppName, Caller, Needed, Refusal, allow},
    settings::Settings,
};

/// Listens at once, and serves until `stop` turns true; requests under way are answered.
///
/// # Errors
/// `HostError::Listen` where the address is taken.
pub async fn start(instance: Arc<Instance>, mut stop: watch::Receiver<bool>) -> Result<JoinHandle<()>> {
    let address = instance.settings.http_listen;
    let listener = TcpListener::bind(address).await.map_err(|source| {
        Error::Host(HostError::Listen {
            address: address.to_string(),
            what: "the pages for apps that take no requests",
            setting: "PAAS_HTTP_LISTEN",
            source,
        })
    })?;
    let router = router(instance);
    Ok(tokio::spawn(async move {
        let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
            tracing::error!("HTTP at {address} ended: {error}");
        }
    }))
}

/// Every route there is, each with who may use it.
fn router(instance: Arc<Instance>) -> Router {
    Router::new()
        .route("/-/ask", guarded(Needed::Anybody, any(ask)))
        .fallback_service(guarded(Needed::Anybody, any(show)).with_state(Arc::clone(&instance)))
        .with_state(instance)
}

/// A route that asks the policy before anything else. Nobody says who they are yet: all are guests.
fn guarded(needed: Needed, route: MethodRouter<Arc<Instance>>) -> MethodRouter<Arc<Instance>> {
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

/// Anything else: says why the app at that host takes no requests.
async fn show(State(instance): State<Arc<Instance>>, headers: HeaderMap) -> Response {
    let host = host(&headers);
    let standing = match app_at(&host, &instance.settings) {
        Some(app) => {
            let read = instance.reading(move |tables| Ok(tables.standing(&app)?.map(|standing| (app, standing))));
            read.await
        }
        None => Ok(None),
    };
    let page = match standing {
        Ok(Some((app, standing))) => Page::of_app(&app, standing),
        Ok(None) => Page::unknown(&host),
        Err(error) => {
            tracing::error!("no page for {host:?}: {}", error.one_line());
            Page::trouble()
        }
    };
    page.into_response_for(&headers)
}

/// The question of [`ask`].
#[derive(Debug, Deserialize)]
struct Asked {
    domain: String,
}

/// `GET /-/ask?domain=HOST`: 200 where the host is an app's and may have a certificate, 404 where not. To be asked by
/// Caddy itself only: a request that came through a proxy, or by another name than a loopback address, gets the page.
async fn ask(
    State(instance): State<Arc<Instance>>,
    headers: HeaderMap,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let own = headers.get(header::HOST).and_then(|host| host.to_str().ok()).is_some_and(|host| is_own(host, &instance));
    let proxied = ["x-forwarded-for", "forwarded", "via"].iter().any(|name| headers.contains_key(*name));
    if !own || proxied {
        return show(State(instance), headers).await;
    }
    let Ok(Query(Asked { domain })) = asked else { return StatusCode::BAD_REQUEST.into_response() };
    let Some(app) = app_at(&normalized(&domain), &instance.settings) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match instance.reading(move |tables| tables.find_app(&app)).await {
        Ok(Some(_)) => StatusCode::OK.into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => {
            tracing::error!("no answer about {domain:?}: {}", error.one_line());
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

/// Whether a `Host` names this listener by its address, as no app's client does.
fn is_own(host: &str, instance: &Instance) -> bool {
    let address = host.parse::<std::net::SocketAddr>().map(|address| address.ip()).or_else(|_| host.parse::<IpAddr>());
    address.is_ok_and(|ip| ip.is_loopback() || ip == instance.settings.http_listen.ip())
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

/// The name an app at that host would have, if the host is one an app can have.
fn app_at(host: &str, settings: &Settings) -> Option<AppName> {
    host.strip_suffix(settings.domain.as_str())?.strip_suffix('.')?.parse().ok()
}
