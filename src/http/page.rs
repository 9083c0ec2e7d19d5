use std::borrow::Cow;

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{
    model::AppName,
    store::{Maintenance, Standing},
};

const TEMPLATE: &str = include_str!("../../templates/page.html.tera");

/// A page that says why there is no answer of an app.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    status: StatusCode,
    title: String,
    text: Cow<'static, str>,
}

/// How many seconds a client may wait before it asks an app that is under maintenance again.
const MAINTENANCE_AGAIN: &str = "60";

/// What is answered in place of an app that is under maintenance: the page of its repository, or the usual one.
pub(super) fn of_maintenance(app: &AppName, maintenance: &Maintenance, request: &HeaderMap) -> Response {
    let mut response = match &maintenance.page {
        Some((path, page)) => {
            let kind = if path.ends_with(".txt") { "text/plain; charset=utf-8" } else { "text/html; charset=utf-8" };
            let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")];
            (StatusCode::SERVICE_UNAVAILABLE, headers, page.clone()).into_response()
        }
        None => {
            let text = maintenance.message.clone().unwrap_or_else(|| "It is back soon.".to_owned());
            let title = format!("{app} is under maintenance");
            Page { status: StatusCode::SERVICE_UNAVAILABLE, title, text: text.into() }.into_response_for(request)
        }
    };
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(MAINTENANCE_AGAIN));
    response
}

impl Page {
    /// An app was asked, and did not answer.
    pub(super) fn silent() -> Page {
        let title = "The app did not answer".to_owned();
        Page { status: StatusCode::BAD_GATEWAY, title, text: "Try again soon.".into() }
    }

    /// A request was held for as long as one may be.
    pub(super) fn held_too_long(app: &AppName) -> Page {
        let title = format!("{app} is paused");
        Page { status: StatusCode::GATEWAY_TIMEOUT, title, text: "It did not resume in time. Try again soon.".into() }
    }

    /// The proxy passes nothing to an app.
    pub(super) fn disabled(app: &AppName) -> Page {
        let title = format!("{app} is not served");
        Page { status: StatusCode::SERVICE_UNAVAILABLE, title, text: "Its proxy was disabled on purpose.".into() }
    }

    /// An app has rules of the proxy, which do not know the port of the container that it has here.
    pub(super) fn ruled(app: &AppName) -> Page {
        let title = format!("{app} is not served at this port");
        let text = "It has rules of the proxy, which are for the port of its web process only.".into();
        Page { status: StatusCode::SERVICE_UNAVAILABLE, title, text }
    }

    /// As many requests are held as may be.
    pub(super) fn too_many_held(app: &AppName) -> Page {
        let title = format!("{app} is paused");
        Page { status: StatusCode::SERVICE_UNAVAILABLE, title, text: "Too many wait for it. Try again soon.".into() }
    }

    /// A host whose routes are disabled.
    pub(super) fn route_disabled(host: &str) -> Page {
        let text = "Its route was disabled on purpose.".into();
        Page { status: StatusCode::SERVICE_UNAVAILABLE, title: format!("{host} is not served"), text }
    }

    /// No target of a route is well.
    pub(super) fn route_down(host: &str) -> Page {
        let title = format!("{host} is not answering");
        let text = "No target of its route is healthy. Try again soon.".into();
        Page { status: StatusCode::SERVICE_UNAVAILABLE, title, text }
    }

    /// A host that has routes, but none for a path.
    pub(super) fn no_route(host: &str) -> Page {
        let title = format!("There is nothing at this path of {host}");
        Page { status: StatusCode::NOT_FOUND, title, text: "The address may be mistyped.".into() }
    }

    /// Nothing is there.
    pub(super) fn unknown(host: &str) -> Page {
        let title =
            if host.is_empty() { "There is no app here".to_owned() } else { format!("There is no app at {host}") };
        let text = "The address may be mistyped, or the app was removed.".into();
        Page { status: StatusCode::NOT_FOUND, title, text }
    }

    /// An app is there, and takes no requests.
    pub(super) fn of_app(app: &AppName, standing: Standing) -> Page {
        let (title, text) = match standing {
            Standing::New => (format!("{app} is not deployed yet"), "It answers here after its first deploy."),
            Standing::Stopped => (format!("{app} is stopped"), "It was stopped on purpose."),
            Standing::WithoutWeb => (format!("{app} has no web process"), "It has no process that serves HTTP."),
            Standing::Unhealthy => (format!("{app} is not answering"), "Its containers are unhealthy. Try again soon."),
            Standing::Serving => (format!("{app} is starting"), "Try again in a second."),
        };
        Page { status: StatusCode::SERVICE_UNAVAILABLE, title, text: text.into() }
    }

    /// The page in the form that the client reads: HTML where it accepts that, else plain text.
    pub(super) fn into_response_for(self, request: &HeaderMap) -> Response {
        let mut accepted = request.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
        let (kind, body) = if accepted.any(|accept| accept.contains("text/html")) {
            ("text/html; charset=utf-8", self.html())
        } else {
            ("text/plain; charset=utf-8", self.plain())
        };
        let headers = [
            (header::CONTENT_TYPE, kind),
            (header::CACHE_CONTROL, "no-store"),
            (header::VARY, header::ACCEPT.as_str()),
        ];
        (self.status, headers, body).into_response()
    }

    fn plain(&self) -> String {
        format!("{}. {}\n", self.title, self.text)
    }

    fn html(&self) -> String {
        let mut context = tera::Context::new();
        context.insert("title", &self.title);
        context.insert("text", &self.text);
        tera::Tera::one_off(TEMPLATE, &context, true).unwrap_or_else(|_| self.plain())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_cannot_bring_its_own_markup() {
        let html = Page::unknown("<script>alert(1)</script>").html();
        assert!(!html.contains("<script>"), "{html}");
    }

    #[test]
    fn each_standing_has_its_own_words() {
        let app = "blog".parse().unwrap();
        assert_eq!(
            Page::unknown("x.localhost").plain(),
            "There is no app at x.localhost. The address may be mistyped, or the app was removed.\n"
        );
        assert_eq!(Page::of_app(&app, Standing::Stopped).plain(), "blog is stopped. It was stopped on purpose.\n");
        assert_eq!(Page::of_app(&app, Standing::New).status, StatusCode::SERVICE_UNAVAILABLE);
    }
}
