//! The rules of the proxy for one app, through both Caddys: each as soon as it is set, and none of them anything else than
//! what it says.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    time::Duration,
};

use crate::{
    harness::{Ran, Server, command, run},
    processes::kill,
    untouched::wait_until_over,
};

/// How long anything here may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn site(settings: &[(&str, &str)]) -> Server {
    let server = Server::start_with(settings);
    server.repository("dockerfile", "blog").push().expect_success();
    wait_until_over(&server, "blog");
    server
}

/// What blog answers: the head, an empty line, the body.
fn ask(server: &Server, path: &str, more: &[&str]) -> String {
    let mut curl = command("curl");
    curl.args(["-sS", "-i", "--max-time", "60", "--resolve", &format!("blog.localhost:{}:127.0.0.1", server.port(3))]);
    let url = format!("http://blog.localhost:{}{path}", server.port(3));
    run(curl.args(more).arg(url)).expect_success().stdout.to_lowercase()
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}

fn set(server: &Server, words: &[&str]) -> Ran {
    server.paas(&[&["proxy:set", "blog"], words].concat())
}

/// The Caddys behind the first.
fn inner_caddys(server: &Server) -> Vec<u32> {
    let folder = server.root().join("caddy/inner");
    let pattern = format!("run --config {}", folder.display());
    let ran = run(command("pgrep").args(["-f", &pattern]));
    ran.stdout.lines().map(|line| line.parse().unwrap()).collect()
}

/// A server of another kind, which answers with the head of the request. Returns its port.
fn mirror() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut head = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while !head.ends_with("\r\n\r\n") {
                    if reader.read_line(&mut head).unwrap_or(0) == 0 {
                        return;
                    }
                }
                if head.starts_with("GET /never ") {
                    std::thread::sleep(PATIENCE);
                }
                let answer =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{head}", head.len());
                drop(stream.write_all(answer.as_bytes()));
            });
        }
    });
    port
}

#[test]
fn each_rule_holds_when_the_command_returns_and_nothing_is_loaded() {
    let server = site(&[]);
    let loaded = || std::fs::read(server.root().join("caddy/Caddyfile.loaded")).unwrap();
    let before = loaded();
    assert_eq!(status(&ask(&server, "/", &[])), 200);
    assert!(inner_caddys(&server).is_empty());
    let mirror = mirror();
    server.paas(&["proxy:path-add", "blog", "/mirror/", &format!("127.0.0.1:{mirror}"), "--strip"]).says("in force");

    // Headers, and what is in braces is text.
    let request = "X-One: a {http.request.host} {env.HOME} \\{x}\n-X-Two\n+X-Three: b";
    set(&server, &[&format!("request-headers={request}")]).expect_success();
    let seen = ask(&server, "/mirror/path?and=query", &["-H", "X-Two: 2", "-H", "X-Three: a"]);
    assert!(seen.contains("get /path?and=query http/1.1"), "{seen}");
    assert!(seen.contains("x-one: a {http.request.host} {env.home} \\{x}\r\n"), "{seen}");
    assert!(!seen.contains("x-two") && seen.contains("x-three: a\r\n") && seen.contains("x-three: b\r\n"), "{seen}");
    // Who the client is, as an app without rules is told.
    assert!(seen.contains("x-forwarded-for: 127.0.0.1\r\n") && seen.contains("x-forwarded-proto: http\r\n"), "{seen}");
    let spoofed = ask(&server, "/mirror", &["-H", "X-Forwarded-For: 203.0.113.9", "-H", "X-Forwarded-Proto: https"]);
    assert!(spoofed.contains("x-forwarded-for: 127.0.0.1\r\n") && spoofed.contains("x-forwarded-proto: http\r\n"));
    set(&server, &["response-headers=X-Frame-Options: {http.request.host}\n-Last-Modified", "compression=on"])
        .expect_success();
    let seen = ask(&server, "/", &[]);
    assert!(seen.contains("x-frame-options: {http.request.host}\r\n") && !seen.contains("last-modified"), "{seen}");

    // Sizes and times.
    set(&server, &["body-size=1m", "read-timeout=1s"]).expect_success();
    let large = server.directory.path().join("large");
    std::fs::write(&large, vec![b'x'; (1 << 20) + 1]).unwrap();
    let body = format!("@{}", large.display());
    assert_eq!(status(&ask(&server, "/mirror", &["--data-binary", &body, "-H", "Expect:"])), 413);
    assert_eq!(status(&ask(&server, "/mirror", &["--data-binary", "small"])), 200);
    assert_eq!(status(&ask(&server, "/mirror/never", &[])), 504);

    // Addresses.
    set(&server, &["allow=203.0.113.0/24"]).expect_success();
    assert_eq!(status(&ask(&server, "/", &["-H", "X-Forwarded-For: 203.0.113.9"])), 403);
    set(&server, &["allow=203.0.113.0/24, 127.0.0.0/8"]).expect_success();
    assert_eq!(status(&ask(&server, "/", &[])), 200);
    set(&server, &["deny=127.0.0.1"]).expect_success();
    assert_eq!(status(&ask(&server, "/", &[])), 403);
    set(&server, &["deny=", "allow="]).expect_success();

    // Passwords.
    let added = server.paas_with_input(&["proxy:auth-add", "blog", "ann"], "secret word\n").says("in force");
    assert!(!added.talk().contains("secret word"));
    let asked = ask(&server, "/", &[]);
    assert!(status(&asked) == 401 && asked.contains("www-authenticate: basic realm=\"blog\""), "{asked}");
    assert_eq!(status(&ask(&server, "/", &["-u", "ann:secret word"])), 200);
    assert_eq!(status(&ask(&server, "/", &["-u", "ann:secret"])), 401);
    let bob = server.paas(&["proxy:auth-add", "blog", "bob", "--generate"]).expect_success().stdout;
    assert_eq!(status(&ask(&server, "/mirror", &["-u", &format!("bob:{}", bob.trim())])), 200);
    server.paas(&["proxy:auth-remove", "blog", "ann"]).expect_success();
    assert_eq!(status(&ask(&server, "/", &["-u", "ann:secret word"])), 401);
    server.paas(&["proxy:auth-remove", "blog", "ann"]).expect_code(3);
    server.paas(&["proxy:auth-remove", "blog", "bob"]).expect_success();

    // Another app's answers, a snippet, and what is said of it all.
    server.repository("dockerfile", "shop").push().expect_success();
    server.paas(&["proxy:path-add", "blog", "/shop", "shop", "--strip"]).expect_success();
    assert!(ask(&server, "/shop/", &[]).contains("hello from a dockerfile"));
    let snippet = "respond /health \"well {http.request.method}\" 299\n";
    server.paas_with_input(&["proxy:snippet-set", "blog"], snippet).says("in force");
    let seen = ask(&server, "/health", &[]);
    assert!(status(&seen) == 299 && seen.ends_with("well get"), "{seen}");
    assert_eq!(server.paas(&["proxy:snippet-show", "blog"]).expect_success().stdout, snippet);
    let report = server.json(&["proxy:report", "blog"]);
    assert_eq!(report["ruled"], true, "{report}");
    assert_eq!(report["paths"].as_array().unwrap().len(), 2, "{report}");
    let tried = server.json(&["proxy:test", &format!("http://blog.localhost:{}/shop/a", server.port(3))]);
    assert_eq!((&tried["answered_by"], &tried["path"]["target"]), (&"path".into(), &"shop".into()), "{tried}");
    let tried = server.json(&["proxy:test", "blog.localhost/"]);
    assert_eq!((&tried["answered_by"], &tried["release"]), (&"app".into(), &1.into()), "{tried}");
    assert_eq!(server.json(&["proxy:test", "nobody.localhost"])["app"], serde_json::Value::Null);
    let shown = server.paas(&["proxy:show-config", "blog"]).expect_success().stdout;
    assert!(serde_json::from_str::<serde_json::Value>(&shown).is_ok(), "{shown}");
    assert!(server.paas(&["proxy:show-config"]).expect_success().stdout.contains("(dynamic)"));

    // For all apps, and one of its own wins.
    server.paas(&["proxy:set", "--global", "response-headers=X-All: yes"]).expect_success();
    assert!(server.get("shop", "/").head.to_lowercase().contains("x-all: yes"));
    assert!(!ask(&server, "/", &[]).contains("x-all"));
    server.paas(&["proxy:set", "--global", "response-headers="]).expect_success();

    // Off and on, and without rules nothing is left.
    server.paas(&["proxy:disable", "blog"]).expect_success();
    server.wait_for("it to be off", PATIENCE, || status(&ask(&server, "/", &[])) == 503);
    server.paas(&["proxy:enable", "blog"]).expect_success();
    server.wait_for("it to be on", PATIENCE, || status(&ask(&server, "/", &[])) == 200);
    server.paas(&["proxy:snippet-clear", "blog"]).expect_success();
    for path in ["/shop", "/mirror"] {
        server.paas(&["proxy:path-remove", "blog", path]).expect_success();
    }
    set(&server, &["request-headers=", "response-headers=", "compression=", "body-size=", "read-timeout="])
        .expect_success();
    assert!(!ask(&server, "/", &[]).contains("x-frame-options"));
    server.wait_for("the Caddys behind the first to end", PATIENCE, || inner_caddys(&server).is_empty());
    server.wait_for("what they have left to be removed", PATIENCE, || {
        let left = std::fs::read_dir(server.root().join("caddy/inner")).unwrap();
        let mut left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        left.all(|name| matches!(name.as_str(), "log" | "start.log"))
    });
    assert_eq!(loaded(), before, "the first Caddy was told nothing");
}

#[test]
fn over_tls_browsers_are_told_to_stay_there() {
    let server = site(&[("PAAS_TLS", "internal")]);
    set(&server, &["hsts=365d; includeSubDomains; preload", "compression=on"]).expect_success();
    let mut curl = command("curl");
    curl.args(["-sS", "-k", "-i", "--http2", "--connect-to", &format!("::127.0.0.1:{}", server.port(4))]);
    let seen = run(curl.arg(format!("https://blog.localhost:{}/", server.port(4)))).expect_success().stdout;
    assert!(seen.contains("max-age=31536000; includeSubDomains; preload"), "{seen}");
}

#[test]
fn a_snippet_is_of_one_site_and_is_tried_alone() {
    let server = site(&[]);
    let canary = server.directory.path().join("canary");
    for bad in [
        "no_such_directive",
        "respond 200\n}\nhttp://other.example {\nrespond 200",
        "}\n{\nadmin off\n}\nhttp://snippet.invalid {",
        "tls internal",
        "log {\noutput file /tmp/x\n}",
        "respond \"unclosed",
        "",
    ] {
        let refused = server.paas_with_input(&["proxy:snippet-set", "blog"], bad).expect_code(2);
        assert!(refused.talk().contains("hint: "), "{bad}: {refused}");
        assert_eq!(server.paas(&["proxy:snippet-show", "blog"]).expect_success().stdout.trim(), "");
    }
    assert!(inner_caddys(&server).is_empty() && !canary.exists());
}

#[test]
fn values_are_nothing_but_values() {
    let server = site(&[]);
    let canary = server.directory.path().join("canary");
    let touch = format!("touch {}", canary.display());
    let hostile: Vec<String> = [
        "}",
        "{",
        "{}",
        "}}",
        "{{",
        "{$HOME}",
        "{env.HOME}",
        "{env.PATH}",
        "{file./etc/passwd}",
        "{http.request.host}",
        "{http.vars.x}",
        "{system.hostname}",
        "{time.now}",
        "\\{",
        "\\}",
        "\\",
        "\\\\",
        "\"",
        "'",
        "`",
        "\"}",
        "'}",
        "`}",
        "#",
        "# x",
        " # x",
        ";",
        "; x",
        "$HOME",
        "${HOME}",
        "$(id)",
        "`id`",
        "|id",
        "&id",
        "&&id",
        "||id",
        "<",
        ">",
        "<script>",
        "%00",
        "%0a",
        "%0d%0aX: y",
        "\\n",
        "\\r\\n",
        "\\x00",
        "*",
        "?",
        "[a]",
        "~",
        "!",
        "@",
        "^",
        "=",
        "==",
        "a=b",
        "--",
        "-x",
        "--help",
        "/",
        "//",
        "..",
        "../..",
        "/etc/passwd",
        "file:///etc/passwd",
        "import /etc/passwd",
        "respond 200",
        "reverse_proxy x",
        "admin off",
        "{{.Env.HOME}}",
        "{{ 7 * 7 }}",
        "${{7*7}}",
        "<%= 1 %>",
        "{% x %}",
        "null",
        "true",
        "0",
        "-1",
        "1e9",
        "NaN",
        "\"}]}",
        "\"},{\"a\":\"b",
        "\\u0000",
        "\\\"",
        "a\tb",
        "tab\t{",
        "default",
        "unknown",
        "_",
        "(snippet)",
        "@matcher",
        "*.example.com",
        "localhost",
        "127.0.0.1",
        "[::1]",
        "http://x",
        "unix//x",
        "udp/x",
        "a,b",
        "a;b",
        "a b c",
        "{a} {b}",
        "\\{a\\}",
        "{\\}",
        "}{",
        "{{a}}",
        "~^x$",
        "(?i)x",
        ".*",
        "$1",
        "{re.name.1}",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([touch.clone(), format!("$({touch})"), format!("`{touch}`"), format!("; {touch}"), "a".repeat(3000)])
    .collect();
    assert!(hostile.len() >= 100, "{}", hostile.len());
    // Each comes back as it was given.
    let lines: Vec<String> =
        hostile.iter().enumerate().map(|(number, value)| format!("X-H{number}: {value}")).collect();
    set(&server, &[&format!("response-headers={}", lines.join("\n"))]).expect_success();
    let mut curl = command("curl");
    curl.args(["-sS", "-i", "--resolve", &format!("blog.localhost:{}:127.0.0.1", server.port(3))]);
    let seen = run(curl.arg(format!("http://blog.localhost:{}/", server.port(3)))).expect_success().stdout;
    for (number, value) in hostile.iter().enumerate() {
        let name = format!("X-H{number}: ");
        let line = seen.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_else(|| panic!("{value:?}"));
        assert_eq!(line.trim_end_matches('\r'), value.trim(), "{value:?}");
    }
    set(&server, &[&format!("request-headers={}", lines.join("\n"))]).expect_success();
    assert_eq!(server.get("blog", "/").status, 200);
    set(&server, &["request-headers=", "response-headers="]).expect_success();

    // As any other value each is refused where it is typed, or is what it says. Each property and command has its turn.
    let properties = ["body-size", "read-timeout", "compression", "hsts", "allow", "deny", "enabled"];
    for (number, value) in hostile.iter().enumerate() {
        let property = properties[number % properties.len()];
        let known = match property {
            "compression" | "enabled" => value == "true",
            "hsts" => matches!(value.as_str(), "true" | "0"),
            "allow" | "deny" => value == "127.0.0.1",
            _ => false,
        };
        if !known {
            set(&server, &[&format!("{property}={value}")]).expect_code(2);
        }
        let is_plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._@+".contains(&byte));
        let (words, good) = match number % 3 {
            0 => (["proxy:auth-add", "blog", "--", value].to_vec(), is_plain),
            1 => (["proxy:path-add", "blog", "--", value, "127.0.0.1:1"].to_vec(), false),
            _ => (["proxy:path-add", "blog", "--", "/a", value].to_vec(), false),
        };
        let ran = server.paas_with_input(&words, "password");
        assert!(ran.code == 0 && good || matches!(ran.code, 2 | 3), "{words:?}: {ran}");
    }
    server.paas_with_input(&["proxy:auth-add", "blog", "null"], "{env.HOME}").expect_success();
    assert_eq!(server.get("blog", "/").status, 401);
    assert_eq!(status(&ask(&server, "/", &["-u", "null:{env.HOME}"])), 200);
    assert!(!canary.exists());
}

#[test]
fn its_death_takes_only_its_hosts_and_it_is_back_at_once() {
    let mut server = site(&[]);
    server.repository("dockerfile", "shop").push().expect_success();
    set(&server, &["response-headers=X-Rule: yes"]).expect_success();
    for round in 0..3 {
        kill(&inner_caddys(&server));
        // The first Caddy tries again until there is another.
        let seen = ask(&server, "/", &[]);
        assert!(status(&seen) == 200 && seen.contains("x-rule: yes"), "{round}: {seen}");
        assert_eq!(server.get("shop", "/").status, 200);
    }
    // It outlives the daemon, and is taken over by the next one.
    let before = inner_caddys(&server);
    server.kill_daemon();
    assert!(ask(&server, "/", &[]).contains("x-rule: yes"));
    let saved = set(&server, &["response-headers=X-Rule: two"]).expect_success();
    assert!(saved.talk().contains("saved"), "{saved}");
    server.start_daemon();
    server.wait_for("the new rule", PATIENCE, || ask(&server, "/", &[]).contains("x-rule: two"));
    server.wait_for("the former one to end", PATIENCE, || inner_caddys(&server).iter().all(|id| !before.contains(id)));
    assert_eq!(inner_caddys(&server).len(), 1);
}

#[test]
fn a_trusted_proxy_says_who_a_client_is_and_nobody_else_does() {
    let server = site(&[]);
    let mirror = mirror();
    server.paas(&["proxy:path-add", "blog", "/mirror", &format!("127.0.0.1:{mirror}"), "--strip"]).expect_success();
    let list = server.directory.path().join("proxies");
    std::fs::write(&list, "# the load balancer\n127.0.0.3 # and its neighbour\n").unwrap();
    let trusted = format!("trusted_proxies=127.0.0.2/32,@{}", list.display());
    server.paas(&["settings:set", &trusted]).says("Caddy has reloaded its Caddyfile");
    let from = |address: &str, path: &str, client: &str| {
        let client = format!("X-Forwarded-For: {client}");
        let more =
            ["--interface", address, "-H", &client, "-H", "X-Forwarded-Proto: https", "-H", "X-Request-Id: bad id"];
        ask(&server, path, &more)
    };
    for proxy in ["127.0.0.2", "127.0.0.3"] {
        let seen = from(proxy, "/mirror", "203.0.113.9");
        assert!(seen.contains(&format!("x-forwarded-for: 203.0.113.9, {proxy}\r\n")), "{seen}");
        assert!(seen.contains("x-forwarded-proto: https\r\n"), "{seen}");
        assert!(!seen.contains("bad id"), "{seen}");
    }
    let spoofed = from("127.0.0.1", "/mirror", "203.0.113.9");
    assert!(spoofed.contains("x-forwarded-for: 127.0.0.1\r\n"), "{spoofed}");
    assert!(spoofed.contains("x-forwarded-proto: http\r\n"), "{spoofed}");

    // The client is the last one that no trusted proxy is.
    server.paas(&["maintenance:on", "blog", "--allow", "203.0.113.9"]).expect_success();
    for (address, client, expected) in [
        ("127.0.0.2", "203.0.113.9", 200),
        ("127.0.0.2", "198.51.100.1, 203.0.113.9, 127.0.0.3", 200),
        ("127.0.0.2", "203.0.113.9, 198.51.100.1", 503),
        ("127.0.0.1", "203.0.113.9", 503),
    ] {
        server.wait_for(&format!("{expected} for {client} by {address}"), PATIENCE, || {
            status(&from(address, "/", client)) == expected
        });
    }
    server.paas(&["maintenance:off", "blog"]).expect_success();

    // A request has a name, on the way in and on the way out.
    let seen = ask(&server, "/mirror", &["-H", "X-Request-Id: a-good-name.1"]);
    assert_eq!(seen.matches("x-request-id: a-good-name.1\r\n").count(), 2, "{seen}");
    let seen = ask(&server, "/mirror", &[]);
    let names: Vec<&str> = seen.lines().filter_map(|line| line.strip_prefix("x-request-id: ")).collect();
    assert!(names.len() == 2 && names[0] == names[1] && names[0].len() == 36, "{seen}");

    // What this Caddy cannot do is refused with the one that can.
    let version = run(command("caddy").arg("version")).expect_success().stdout;
    let numbers: Vec<u32> =
        version.trim_start_matches('v').split('.').take(2).map(|part| part.parse().unwrap()).collect();
    let allowed = set(&server, &["allow=203.0.113.0/24"]);
    if numbers < vec![2, 8] {
        assert!(allowed.expect_code(2).talk().contains("2.8"));
    } else {
        allowed.expect_success();
        for (address, client, expected) in [
            ("127.0.0.2", "203.0.113.9", 200),
            ("127.0.0.2", "203.0.113.9, 198.51.100.1", 403),
            ("127.0.0.1", "203.0.113.9", 403),
        ] {
            assert_eq!(status(&from(address, "/", client)), expected, "{client} by {address}");
        }
    }
    server.paas(&["settings:set", "trusted_proxies=203.0.113.0/33"]).expect_code(2);
    server.paas(&["settings:set", "trusted_proxies=@/nonexistent/list"]).expect_code(2);
    server.paas(&["settings:unset", "trusted_proxies"]).expect_success();
    assert!(
        from("127.0.0.2", "/mirror", "203.0.113.9").contains("x-forwarded-for: 127.0.0.2\r\n") || numbers >= vec![2, 8]
    );
}
