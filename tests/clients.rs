//! What clients of several kinds see of what is said of an app's names: on the connection that they have, and at the next
//! handshake.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use crate::{
    browser::Browser,
    harness::{Server, command, docker, run},
    untouched::wait_until_over,
};

/// How long anything here may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);
const HOST: &str = "blog.apps.example";

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// A client of its own process with one connection, which it keeps until it is told otherwise.
struct Client {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What a client has seen.
#[derive(Debug)]
struct Seen {
    status: u16,
    /// How many connections it has had.
    connections: u32,
    /// Who issued the certificate.
    issuer: String,
}

impl Client {
    fn start(mut command: Command) -> Client {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (asks, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Client { child, asks, answers }
    }

    fn ask(&mut self, how: &str) -> Seen {
        writeln!(self.asks, "{how}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let mut words = line.trim_end().splitn(3, ' ');
        let mut word = || words.next().unwrap_or_else(|| panic!("{line:?}"));
        Seen { status: word().parse().unwrap(), connections: word().parse().unwrap(), issuer: word().to_owned() }
    }

    /// Asks until it sees a status, on the connection that it has.
    fn sees(&mut self, server: &Server, status: u16) {
        server.wait_for(&format!("status {status}"), PATIENCE, || {
            let seen = self.ask("GET");
            assert_eq!(seen.connections, 1, "{seen:?}");
            seen.status == status
        });
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The client in Go, in a container on the network of this machine.
fn go(arguments: &[&str]) -> Command {
    let dockerfile = "FROM golang:1.26\nWORKDIR /client\nCOPY client.go .\nRUN go mod init client && go build -o /bin/client\n\
                      ENTRYPOINT [\"/bin/client\"]\n";
    let mut build = docker();
    build.args(["build", "--quiet", "--file", "-"]).arg(sources()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut build = build.spawn().unwrap();
    build.stdin.take().unwrap().write_all(dockerfile.as_bytes()).unwrap();
    let built = build.wait_with_output().unwrap();
    assert!(built.status.success(), "{built:?}");
    let image = String::from_utf8(built.stdout).unwrap().trim().to_owned();
    let mut client = docker();
    client.args(["run", "--rm", "--interactive", "--network", "host", &image]).args(arguments);
    client
}

#[test]
fn a_connection_that_is_kept_sees_each_change_and_the_next_one_the_new_certificate() {
    let server = Server::start_with(&[("PAAS_DOMAIN", "apps.example"), ("PAAS_TLS", "internal")]);
    server.repository("dockerfile", "blog").push().expect_success();
    wait_until_over(&server, "blog");
    let authority = std::fs::read_to_string(server.root().join("authority.crt")).unwrap();
    let port = server.port(4).to_string();
    let arguments = [HOST, &port, &authority];
    let mut python = command("python3");
    python.arg(sources().join("client.py")).args(arguments);
    for client in [python, go(&arguments)] {
        let what = format!("{client:?}");
        let mut client = Client::start(client);
        let seen = client.ask("GET");
        assert_eq!((seen.status, seen.connections), (200, 1), "{what}");
        assert!(seen.issuer.ends_with(" internal authority"), "{what}: {seen:?}");

        server.paas(&["maintenance:on", "blog"]).expect_success();
        client.sees(&server, 503);
        server.paas(&["maintenance:off", "blog"]).expect_success();
        client.sees(&server, 200);
        server.paas(&["pause", "blog", "--for", "1s"]).expect_success();
        client.sees(&server, 200);
        server.paas(&["resume", "blog"]).expect_success();
        server.paas(&["ps:restart", "blog"]).expect_success();
        wait_until_over(&server, "blog");
        client.sees(&server, 200);

        // The connection keeps the certificate that it has; the next one gets the new one, which this client trusts as
        // little as any other that somebody made for himself.
        server.paas(&["certs:generate", "blog"]).expect_success();
        assert!(client.ask("GET").issuer.ends_with(" internal authority"), "{what}");
        server.paas(&["certs:remove", "blog"]).expect_success();
        let again = client.ask("NEW");
        assert_eq!((again.status, again.connections), (200, 2), "{what}: {again:?}");
    }
}

#[test]
fn openssl_and_curl_agree_on_names_certificates_and_protocols() {
    let server = Server::start_with(&[("PAAS_DOMAIN", "apps.example"), ("PAAS_TLS", "internal")]);
    server.repository("dockerfile", "blog").push().expect_success();
    wait_until_over(&server, "blog");
    let authority = server.root().join("authority.crt");
    let port = server.port(4);
    let handshake = |name: &str, more: &[&str]| {
        let mut openssl = command("openssl");
        openssl.args([
            "s_client",
            "-connect",
            &format!("127.0.0.1:{port}"),
            "-servername",
            name,
            "-verify_hostname",
            name,
        ]);
        openssl.args(["-verify_return_error", "-CAfile"]).arg(&authority).args(more).stdin(Stdio::null());
        run(&mut openssl)
    };
    let well = handshake(HOST, &["-alpn", "h2,http/1.1"]).expect_success();
    assert!(well.stdout.contains("Verify return code: 0 (ok)") && well.stdout.contains("ALPN protocol: h2"), "{well}");
    handshake(HOST, &["-tls1_2"]).expect_success();
    handshake("BLOG.apps.example", &[]).expect_success();
    handshake("unknown.apps.example", &[]).expect_failure();
    // One of an authority that it does not know is refused by it, not by us.
    server.paas(&["certs:generate", "blog"]).expect_success();
    let own = handshake(HOST, &[]).expect_failure();
    assert!(own.talk().contains("self-signed certificate"), "{own}");
    server.paas(&["certs:remove", "blog"]).expect_success();

    // Twice on one connection, by each protocol.
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let url = format!("https://{HOST}:{port}/");
        let mut curl = command("curl");
        curl.args(["-sS", option, "--connect-to", &format!("::127.0.0.1:{port}"), "--cacert"]).arg(&authority);
        curl.args(["-w", "%{http_version} %{response_code} %{num_connects}\n"]);
        curl.args(["-o", "/dev/null", "-o", "/dev/null", &url, &url]);
        let ran = run(&mut curl).expect_success();
        assert_eq!(ran.stdout, format!("{version} 200 1\n{version} 200 0\n"), "{ran}");
    }
}

/// The option by which Chromium takes the certificate that is served for a name now, and no other of its kind.
fn trusts(server: &Server, name: &str) -> String {
    let port = server.port(4);
    let script = format!(
        "openssl s_client -connect 127.0.0.1:{port} -servername {name} </dev/null 2>/dev/null | openssl x509 -pubkey -noout \
         | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64"
    );
    let hash = run(command("sh").args(["-c", &script])).expect_success().stdout;
    format!("--ignore-certificate-errors-spki-list={}", hash.trim())
}

#[test]
fn a_browser_sees_what_is_said_of_the_names_by_http_2_and_by_http_3() {
    let server = Server::start_with(&[("PAAS_DOMAIN", "apps.example"), ("PAAS_TLS", "internal")]);
    server.repository("dockerfile", "blog").push().expect_success();
    wait_until_over(&server, "blog");
    let (http, https) = (server.port(3), server.port(4));
    let url = format!("https://{HOST}:{https}/");
    let status = format!("fetch('{url}').then((answer) => answer.status, () => 0)");
    let trust = trusts(&server, HOST);
    for (protocol, option) in [("h2", "--disable-quic"), ("h3", &*format!("--origin-to-force-quic-on={HOST}:{https}"))]
    {
        let mut browser = Browser::start(&[trust.clone(), option.to_owned()]);
        let arrives = |browser: &mut Browser, url: &str| {
            browser.open(url).unwrap_or_else(|error| panic!("{url} by {protocol}: {error}"));
        };
        let sees = |browser: &mut Browser, expected: u16| {
            server.wait_for(&format!("{expected} by {protocol}"), PATIENCE, || browser.evaluate(&status) == expected);
        };
        arrives(&mut browser, &url);
        assert_eq!(browser.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol"), protocol);

        server.paas(&["maintenance:on", "blog", "--message", "Back at <noon>"]).expect_success();
        sees(&mut browser, 503);
        arrives(&mut browser, &url);
        let page = browser.evaluate("document.body.innerText");
        assert!(page.as_str().is_some_and(|page| page.contains("Back at <noon>")), "{protocol}: {page}");
        server.paas(&["maintenance:off", "blog"]).expect_success();
        sees(&mut browser, 200);

        server.paas(&["pause", "blog", "--for", "1s"]).expect_success();
        sees(&mut browser, 200);
        server.paas(&["resume", "blog"]).expect_success();
        server.paas(&["ps:restart", "blog"]).expect_success();
        wait_until_over(&server, "blog");
        sees(&mut browser, 200);

        // From another name, in plain HTTP, to where the app is.
        server.paas(&["redirects:add", "blog", "old.example", HOST]).expect_success();
        server.wait_for("the redirect", PATIENCE, || {
            arrives(&mut browser, &format!("http://old.example:{http}/path?and=query"));
            browser.evaluate("location.href") == format!("{url}path?and=query")
        });
        server.paas(&["redirects:remove", "blog", "old.example"]).expect_success();
    }

    // The next handshake has another certificate, which nobody trusts.
    server.paas(&["certs:generate", "blog"]).expect_success();
    let mut browser = Browser::start(&[trust]);
    assert_eq!(browser.open(&url), Err("net::ERR_CERT_AUTHORITY_INVALID".to_owned()));
}
