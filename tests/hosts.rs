//! Requests by host, through Caddy and the edge: domains, redirects, maintenance, pauses, certificates.

use std::time::{Duration, Instant};

use crate::{
    harness::{Ran, Repository, Server, command, run},
    untouched::wait_until_over,
};

/// How long anything here may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn site(settings: &[(&str, &str)]) -> (Server, Repository) {
    let server = Server::start_with(settings);
    let repository = server.repository("dockerfile", "blog");
    repository.push().expect_success();
    wait_until_over(&server, "blog");
    (server, repository)
}

/// Asks for a URL at a host, by name, of this server; with what curl is told beside.
fn curl(server: &Server, url: &str, more: &[&str]) -> Ran {
    let mut curl = command("curl");
    curl.args(["-sS", "--max-time", "90", "-o", "-", "-w", "\n%{http_code} %{redirect_url}"]);
    for port in [server.port(3), server.port(4)] {
        curl.args(["--connect-to", &format!(":{port}:127.0.0.1:{port}")]);
    }
    run(curl.args(more).arg(url))
}

/// The last line: the status, and where it leads.
fn status(ran: &Ran) -> &str {
    ran.stdout.lines().last().unwrap_or_default()
}

fn leads(server: &Server, host: &str, expected: u16) {
    let port = server.port(3);
    server.wait_for(&format!("{host}: {expected}"), PATIENCE, || {
        let ran = curl(server, &format!("http://{host}:{port}/"), &[]);
        status(&ran).starts_with(&expected.to_string())
    });
}

/// What Caddy loaded last.
fn loaded(server: &Server) -> Vec<u8> {
    std::fs::read(server.root().join("caddy/Caddyfile.loaded")).unwrap()
}

#[test]
fn an_app_is_reached_at_its_domains_and_nothing_is_loaded() {
    let (server, _repository) = site(&[]);
    let before = loaded(&server);
    leads(&server, "example.com", 404);
    server.paas(&["domains:add", "blog", "Example.com", "*.example.org", "b\u{fc}cher.example"]).expect_success();
    for host in ["example.com", "EXAMPLE.com", "example.com.", "any.example.org", "xn--bcher-kva.example"] {
        leads(&server, host, 200);
    }
    leads(&server, "a.b.example.org", 404);
    server.paas(&["domains:add", "blog", "_"]).expect_success();
    leads(&server, "a.b.example.org", 200);
    server.paas(&["domains:remove", "blog", "_", "example.com"]).expect_success();
    leads(&server, "example.com", 404);
    server.paas(&["domains:disable", "blog"]).expect_success();
    leads(&server, "blog.localhost", 404);
    leads(&server, "any.example.org", 404);
    server.paas(&["domains:enable", "blog"]).expect_success();
    leads(&server, "any.example.org", 200);
    server.paas(&["domains:add-global", "apps.example"]).expect_success();
    leads(&server, "blog.apps.example", 200);
    server.paas(&["domains:clear", "blog"]).expect_success();
    leads(&server, "blog.localhost", 404);
    server.paas(&["domains:reset", "blog"]).expect_success();
    leads(&server, "blog.localhost", 200);
    assert_eq!(loaded(&server), before, "Caddy was told nothing");
}

#[test]
fn redirects_and_maintenance_are_answered_for_the_app() {
    let (server, _repository) = site(&[]);
    let before = loaded(&server);
    let port = server.port(3);
    server.paas(&["redirects:add", "blog", "old.example", "example.com", "--code", "308"]).expect_success();
    let to = format!("308 http://example.com:{port}/a?b=c");
    server.wait_for("the redirect", PATIENCE, || {
        status(&curl(&server, &format!("http://old.example:{port}/a?b=c"), &[])) == to
    });

    server.paas(&["maintenance:on", "blog", "--message", "back at ten"]).expect_success();
    leads(&server, "blog.localhost", 503);
    let url = format!("http://blog.localhost:{port}/");
    let ran = curl(&server, &url, &["-i"]);
    assert!(ran.stdout.contains("back at ten") && ran.stdout.to_lowercase().contains("retry-after: "), "{ran}");
    // What the client says of itself is not believed.
    let ran = curl(&server, &url, &["-H", "X-Forwarded-For: 203.0.113.7"]);
    assert!(status(&ran).starts_with("503"), "{ran}");
    server.paas(&["maintenance:on", "blog", "--allow", "127.0.0.1"]).expect_success();
    leads(&server, "blog.localhost", 200);
    let posted = curl(&server, &url, &["-d", "some words"]);
    assert!(!posted.stdout.contains("maintenance"), "{posted}");
    // A load balancer asks for what the health check asks for.
    let check = format!("http://blog.localhost:{port}/index.html?a");
    server.paas(&["maintenance:off", "blog"]).expect_success();
    server.paas(&["maintenance:on", "blog"]).expect_success();
    leads(&server, "blog.localhost", 503);
    assert!(status(&curl(&server, &check, &[])).starts_with("503"));
    server.paas(&["checks:set", "blog", "path=/index.html"]).expect_success();
    server.wait_for("the check's path", PATIENCE, || status(&curl(&server, &check, &[])).starts_with("200"));
    leads(&server, "blog.localhost", 503);
    server.paas(&["maintenance:off", "blog"]).expect_success();
    leads(&server, "blog.localhost", 200);
    assert_eq!(loaded(&server), before, "Caddy was told nothing");
}

#[test]
fn requests_are_held_while_an_app_is_paused() {
    let (server, _repository) = site(&[]);
    let url = format!("http://blog.localhost:{}/", server.port(3));
    server.paas(&["pause", "blog", "--for", "10m"]).expect_success().says("are held for");
    // Caddy asks again within a tenth of a second.
    std::thread::sleep(Duration::from_millis(500));
    let answers: Vec<(Ran, Duration)> = std::thread::scope(|scope| {
        let begun = Instant::now();
        let asked: Vec<_> = (0..20)
            .map(|_| {
                let (server, url) = (&server, &url);
                scope.spawn(move || (curl(server, url, &[]), begun.elapsed()))
            })
            .collect();
        std::thread::sleep(Duration::from_secs(2));
        server.paas(&["resume", "blog"]).expect_success();
        asked.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (ran, took) in &answers {
        assert!(status(ran).starts_with("200"), "{ran}");
        assert!(*took >= Duration::from_secs(2), "it was held: {took:?}");
    }
    server.paas(&["resume", "blog"]).expect_success().says("nothing to do");
    server.paas(&["pause", "blog", "--for", "2h"]).expect_code(2);
    server.paas(&["pause", "blog", "--for", "2s"]).expect_success();
    std::thread::sleep(Duration::from_millis(300));
    assert!(status(&curl(&server, &url, &[])).starts_with("200"), "it ends by itself");
}

#[test]
fn a_handshake_gets_the_certificate_of_its_name() {
    let (server, _repository) = site(&[("PAAS_DOMAIN", "apps.example"), ("PAAS_TLS", "internal")]);
    let before = loaded(&server);
    let authority = server.root().join("authority.crt").display().to_string();
    let (http, https) = (server.port(3), server.port(4));
    let get =
        |host: &str, authority: &str| curl(&server, &format!("https://{host}:{https}/"), &["--cacert", authority]);
    server.wait_for("the internal certificate", PATIENCE, || {
        status(&get("blog.apps.example", &authority)).starts_with("200")
    });
    assert_ne!(get("unknown.apps.example", &authority).code, 0, "there is none for what leads nowhere");
    let plain = curl(&server, &format!("http://blog.apps.example:{http}/x?y"), &[]);
    assert_eq!(status(&plain), format!("308 https://blog.apps.example:{https}/x?y"));

    server.paas(&["domains:add", "blog", "example.com"]).expect_success();
    server.wait_for("a domain's certificate", PATIENCE, || status(&get("example.com", &authority)).starts_with("200"));
    // One that was made for the name goes before it, at the next handshake, though Caddy has served the other.
    server.paas(&["certs:generate", "blog", "example.com"]).expect_success();
    let own = server.directory.path().join("own.crt");
    let shown = server.paas(&["certs:show", "crt", "blog"]);
    let shown = if shown.code == 0 { shown } else { server.paas(&["certs:show", "blog", "crt"]) };
    std::fs::write(&own, shown.expect_success().stdout).unwrap();
    let own = own.display().to_string();
    server.wait_for("the own certificate", PATIENCE, || status(&get("example.com", &own)).starts_with("200"));
    assert_ne!(get("example.com", &authority).code, 0);
    assert!(status(&get("blog.apps.example", &authority)).starts_with("200"));
    server.paas(&["redirects:add", "blog", "old.example", "example.com"]).expect_success();
    server.wait_for("a redirect over TLS", PATIENCE, || {
        status(&get("old.example", &authority)) == format!("301 https://example.com:{https}/")
    });
    server.paas(&["certs:set", "blog", "https-redirect=off"]).expect_success();
    server.wait_for("plain HTTP", PATIENCE, || {
        status(&curl(&server, &format!("http://example.com:{http}/"), &[])).starts_with("200")
    });
    assert_eq!(loaded(&server), before, "Caddy was told nothing");
}
