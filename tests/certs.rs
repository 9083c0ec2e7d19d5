//! Certificates: those that somebody adds, and those that an authority gives out.

use std::{
    net::Ipv4Addr,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use rusqlite::Connection;

use crate::{
    harness::{PAAS, Server, run},
    pebble::{Answering, Pebble},
    sound::query,
};

fn fixture(name: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name).display().to_string()
}

/// Changes the database as time would.
fn change(server: &Server, sql: &str) {
    let connection = Connection::open(server.root().join("paas.db")).unwrap();
    connection.busy_timeout(Duration::from_secs(30)).unwrap();
    connection.execute_batch(sql).unwrap();
}

/// Adds domains to an app.
fn add_domains(server: &Server, app: &str, names: &[&str]) {
    for name in names {
        change(
            server,
            &format!(
                "INSERT INTO domains (name, app_id, typed, position, added_at) SELECT '{name}', id, '{name}', 0, 0 FROM apps WHERE name = '{app}'"
            ),
        );
    }
}

/// What a report says of the names of an app, by name.
fn names(server: &Server, app: &str) -> serde_json::Map<String, serde_json::Value> {
    let report = server.json(&["certs:report", app]);
    let names = report["names"].as_array().unwrap().iter();
    names.map(|name| (name["domain"].as_str().unwrap().to_owned(), name.clone())).collect()
}

/// The numbers of the certificates.
fn ids(server: &Server) -> Vec<i64> {
    query(server, "SELECT id FROM certificates ORDER BY id", |row| row.get(0))
}

#[test]
fn a_certificate_is_added_shown_and_removed_and_its_key_is_sealed() {
    let server = Server::prepare(&[("PAAS_DOMAIN", "rsa.example"), ("PAAS_TLS", "acme")]);
    server.paas(&["apps:create", "blog"]).expect_success();
    let (crt, key) = (fixture("rsa.crt"), fixture("rsa.key"));
    let added = server.paas(&["certs:add", "blog", &crt, &key]).expect_success();
    added.says("certificate 1 (self-signed) for rsa.example, *.rsa.example").says("no name of blog: rsa.example");
    let report = server.json(&["certs:report", "blog"]);
    let certificate = &report["certificates"][0];
    assert_eq!(certificate["serves"], serde_json::json!(["blog.rsa.example"]), "{report}");
    assert_eq!((&certificate["kind"], &certificate["self_signed"]), (&"own".into(), &true.into()), "{report}");
    assert_eq!(report["names"][0]["certificate"], 1, "{report}");
    server.paas(&["certs:report", "blog"]).expect_success();
    server.paas(&["certs:report"]).expect_success();

    let clear = std::fs::read_to_string(&key).unwrap();
    let shown = server.paas(&["certs:show", "blog", "key"]).expect_success().stdout;
    assert_eq!(shown, clear);
    let chain = server.paas(&["certs:show", "blog"]).expect_success().stdout;
    assert_eq!(chain, std::fs::read_to_string(&crt).unwrap());
    let part = clear.lines().nth(3).unwrap().as_bytes();
    for name in ["paas.db", "paas.db-wal"] {
        let bytes = std::fs::read(server.root().join(name)).unwrap_or_default();
        assert!(!bytes.windows(part.len()).any(|window| window == part), "{name} has the key in clear");
    }
    server.paas(&["secrets:rotate"]).expect_success();
    assert_eq!(server.paas(&["certs:show", "blog", "key"]).expect_success().stdout, clear);

    // A newer one for the same names takes its place; one that is wrong changes nothing.
    let again = server.json(&["certs:add", "blog", &crt, &key]);
    assert_eq!((&again["replaced"], ids(&server)), (&serde_json::json!([1]), vec![2]));
    for (crt, key, said) in [
        ("rsa.crt", "ed.key", "the key does not match"),
        ("rsa.crt", "encrypted.key", "the key is encrypted"),
        ("rsa.p12", "rsa.key", "PKCS#12"),
        ("weak.crt", "weak.key", "1024 bits"),
    ] {
        server.paas(&["certs:add", "blog", &fixture(crt), &fixture(key)]).expect_code(2).says(said).says("hint: ");
    }
    server.paas(&["certs:add", "blog", &crt]).expect_code(2).says("the file of a certificate and that of its key");
    server.paas(&["certs:add", "blog", "/nowhere", &key]).expect_code(2).says("cannot read /nowhere");
    server.paas(&["certs:add", "nobody", &crt, &key]).expect_code(3);
    assert_eq!(ids(&server), [2]);

    server.paas(&["certs:add", "--global", &crt, &key]).expect_success();
    assert_eq!(server.json(&["certs:report", "--global"])["certificates"][0]["id"], 3);
    server.paas(&["certs:remove", "blog"]).expect_success().says("removed: certificate 2");
    server.paas(&["certs:remove", "blog"]).expect_code(3).says("blog has no certificate of its own");
    assert_eq!(names(&server, "blog")["blog.rsa.example"]["certificate"], 3, "the server's is one for it, too");
    let actions: Vec<String> =
        query(&server, "SELECT action FROM events WHERE action LIKE 'certs:%' ORDER BY id", |row| row.get(0));
    assert_eq!(actions, ["certs:add", "certs:add", "certs:add", "certs:remove"]);
}

#[test]
fn a_certificate_is_made_here_for_tests_and_intranets() {
    let server = Server::prepare(&[]);
    server.paas(&["apps:create", "blog"]).expect_success();
    let made = server.json(&["certs:generate", "blog"]);
    assert_eq!(
        (&made["kind"], &made["names"]),
        (&"self-signed".into(), &serde_json::json!(["blog.localhost"])),
        "{made}"
    );
    assert_eq!(made["serves"], serde_json::json!(["blog.localhost"]), "{made}");
    let other = server.paas(&["certs:generate", "blog", "*.Intern.lan", "intern.lan"]).expect_success();
    other.says("*.intern.lan, intern.lan").says("it is one for no name of blog, which has blog.localhost");
    server.paas(&["certs:generate", "blog", "_"]).expect_code(2);
    server.paas(&["certs:generate", "nobody"]).expect_code(3);
    let authority = server.paas(&["certs:show", "--global", "authority"]).expect_success().stdout;
    assert!(authority.starts_with("-----BEGIN CERTIFICATE-----\n"), "{authority}");
    assert_eq!(server.paas(&["certs:show", "--global", "authority"]).expect_success().stdout, authority);
    server.paas(&["certs:renew", "blog"]).expect_code(2).says("no authority is asked");
}

#[test]
fn over_ssh_a_tar_brings_both_files() {
    let server = Server::start_with(&[("PAAS_PROXY_MODE", "external")]);
    server.paas(&["apps:create", "blog"]).expect_success();
    let certificates = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/certificates");
    let tar = server.directory.path().join("both.tar");
    run(server.command("tar").arg("-C").arg(certificates).arg("-cf").arg(&tar).args(["rsa.crt", "rsa.key"]))
        .expect_success();
    let mut add = server.ssh_command(&server.key());
    add.arg("certs:add blog").stdin(std::fs::File::open(&tar).unwrap());
    let added = add.output().unwrap();
    assert!(added.status.success(), "{added:?}");
    assert_eq!(names(&server, "blog").len(), 1);
    assert_eq!(ids(&server), [1]);
    let refused = server.ssh("certs:add blog chain.crt my.key").expect_code(2);
    refused.says("files of your machine").says("tar c chain.crt my.key | ssh ... certs:add blog");
    server.ssh("certs:add blog").expect_code(2).says("standard input is empty");
}

#[test]
fn names_have_certificates_of_the_authority_which_are_renewed() {
    let server = Server::prepare(&Pebble::settings());
    let _pebble = Pebble::start(&server);
    let _proxy = Answering::start(&server);
    for app in ["blog", "shop"] {
        server.paas(&["apps:create", app]).expect_success();
    }
    add_domains(&server, "blog", &["www.example.org", "example.org", "*.example.org", "_"]);
    // A browser meets the certificate before it is sent on.
    server.paas(&["redirects:add", "blog", "old.example.net", "example.org"]).expect_success();
    assert_eq!(names(&server, "blog")["example.org"]["state"], "none yet: it is about to be asked for");
    let asked = server.json(&["certs:renew", "blog"]);
    let mut obtained: Vec<&str> =
        asked["obtained"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    obtained.sort_unstable();
    assert_eq!(obtained, ["blog.apps.example.com", "example.org", "old.example.net", "www.example.org"], "{asked}");
    let found = names(&server, "blog");
    assert!(found["example.org"]["state"].as_str().unwrap().starts_with("acme, until 20"), "{found:?}");
    assert_eq!(found["example.org"]["certificate"], found["www.example.org"]["certificate"], "they share one");
    assert!(found["_"]["state"].as_str().unwrap().contains("only if a certificate covers the name"), "{found:?}");
    assert_eq!(found["*.example.org"]["certificate"], serde_json::Value::Null);
    assert_eq!(names(&server, "shop")["shop.apps.example.com"]["certificate"], serde_json::Value::Null);
    let certificate = &server.json(&["certs:report", "blog"])["certificates"][0];
    assert!(certificate["issuer"].as_str().unwrap().contains("Pebble"), "{certificate}");
    assert!(server.paas(&["certs:show", "blog", "key"]).expect_success().stdout.contains("PRIVATE KEY"));

    assert_eq!(server.paas(&["certs:renew", "blog"]).expect_success().stdout, "nothing is due\n");
    change(&server, "UPDATE certificates SET not_before = not_before - 5270400000, not_after = not_after - 5270400000");
    let renewed = server.json(&["certs:renew", "blog"]);
    assert_eq!(renewed["obtained"].as_array().unwrap().len(), 4, "{renewed}");
    assert_eq!(ids(&server).len(), 2);
    assert_eq!(names(&server, "blog")["example.org"]["certificate"], 2);

    // What the daemon's job runs takes the rest.
    let rest = server.paas(&["obtain-certificates"]).expect_success();
    assert_eq!(rest.stdout, "1 names have a new certificate, 0 have none\n");
    let left: Vec<i64> = query(&server, "SELECT count(*) FROM acme_challenges", |row| row.get(0));
    let orders: Vec<i64> = query(&server, "SELECT count(*) FROM acme_orders", |row| row.get(0));
    assert_eq!((left, orders), (vec![0], vec![0]));
    // A key of an account and of three certificates, and no more.
    let secrets: Vec<String> =
        query(&server, "SELECT name FROM secrets WHERE noun = 'certs' ORDER BY name", |row| row.get(0));
    assert_eq!(secrets.len(), 4, "{secrets:?}");
}

#[test]
fn each_reason_why_there_is_no_certificate_is_said_with_what_to_do() {
    let server = Server::prepare(&Pebble::settings());
    let pebble = Pebble::start(&server);
    let _proxy = Answering::start(&server);
    let _other = Answering::start_at(&server, Ipv4Addr::new(127, 0, 0, 3), false);
    server.paas(&["apps:create", "blog"]).expect_success();
    let good = ["good.example.org", "blog.apps.example.com", "blocked.example.com", "both.example.org"];
    for name in good {
        pebble.lead(name, &["127.0.0.1"]);
    }
    pebble.lead("both.example.org", &["127.0.0.1", "2001:db8::1"]);
    pebble.lead("refused.example.org", &["127.0.0.2"]);
    pebble.lead("answered.example.org", &["127.0.0.3"]);
    pebble.lead("elsewhere.example.org", &["240.0.0.1"]);
    pebble.fail("broken.example.org");
    pebble.lead_others_nowhere();
    add_domains(
        &server,
        "blog",
        &[
            "good.example.org",
            "blocked.example.com",
            "both.example.org",
            "refused.example.org",
            "answered.example.org",
            "elsewhere.example.org",
            "broken.example.org",
            "unknown.example.org",
            "intern.lan",
        ],
    );
    let asked = server.paas(&["certs:renew", "blog", "--format", "json"]).expect_code(1);
    let asked: serde_json::Value = serde_json::from_str(&asked.stdout).unwrap();
    let mut obtained: Vec<&str> =
        asked["obtained"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    obtained.sort_unstable();
    assert_eq!(
        obtained,
        ["blog.apps.example.com", "good.example.org"],
        "one bad name keeps no other from its own: {asked}"
    );
    let found = names(&server, "blog");
    for (name, trouble, mend) in [
        ("unknown.example.org", "unresolved", "set an A record for unknown.example.org"),
        ("elsewhere.example.org", "elsewhere", "set the A record of elsewhere.example.org to this server's address"),
        ("both.example.org", "ipv6", "set the AAAA record of both.example.org"),
        ("broken.example.org", "dns", "look at the name servers"),
        ("refused.example.org", "refused", "open port 80"),
        ("answered.example.org", "other-answer", "pass /.well-known/acme-challenge/ on to port 80"),
        ("blocked.example.com", "rejected", "add a certificate of your own for blocked.example.com"),
    ] {
        let one = &found[name];
        assert_eq!(one["trouble"], trouble, "{one}");
        assert!(one["mend"].as_str().unwrap().contains(mend), "{one}");
        assert!(one["next_at"].as_str() > one["tried_at"].as_str(), "{one}");
        assert!(!one["reason"].as_str().unwrap().is_empty(), "{one}");
    }
    assert_eq!(found["intern.lan"]["trouble"], "unresolved", "an authority of one's own may vouch for private names");
    let shown = server.paas(&["certs:report", "blog"]).expect_success().stdout;
    assert!(shown.contains("refused.example.org: ") && shown.contains("  open port 80"), "{shown}");

    // The authority counts what it looked for in vain: twice, and no more within the hour.
    server.paas(&["certs:renew", "blog"]).expect_code(1);
    let third = server.paas(&["certs:renew", "blog", "--format", "json"]).expect_code(1);
    let third: serde_json::Value = serde_json::from_str(&third.stdout).unwrap();
    let held: Vec<&str> =
        third["held"].as_array().unwrap().iter().map(|name| name["domain"].as_str().unwrap()).collect();
    assert_eq!(held, ["answered.example.org", "refused.example.org"], "{third}");
    // What was mended is had; the job does not try what waits.
    pebble.lead("unknown.example.org", &["127.0.0.1"]);
    assert!(server.paas(&["obtain-certificates"]).expect_success().stdout.starts_with("0 names"));
    let mended = server.paas(&["certs:renew", "blog", "--format", "json"]).expect_code(1);
    assert!(
        mended.stdout.contains("\"obtained\":[\"unknown.example.org\"]")
            || mended.stdout.contains("\"unknown.example.org\""),
        "{mended}"
    );
    assert_ne!(names(&server, "blog")["unknown.example.org"]["certificate"], serde_json::Value::Null);
}

#[test]
fn an_app_whose_names_are_left_alone_has_no_certificate() {
    let server = Server::prepare(&Pebble::settings());
    let _pebble = Pebble::start(&server);
    let _proxy = Answering::start(&server);
    server.paas(&["apps:create", "blog"]).expect_success();
    server.paas(&["certs:set", "blog", "acme=off"]).expect_success();
    assert_eq!(server.paas(&["certs:renew", "blog"]).expect_success().stdout, "nothing is due\n");
    assert_eq!(names(&server, "blog")["blog.apps.example.com"]["state"], "none: acme is off for the app");
    server.paas(&["certs:set", "blog", "acme="]).expect_success();
    // One of its own goes before, so nobody is asked.
    server.paas(&["certs:generate", "blog"]).expect_success();
    assert_eq!(server.paas(&["certs:renew", "blog"]).expect_success().stdout, "nothing is due\n");
    server.paas(&["certs:remove", "blog"]).expect_success();
    server.paas(&["settings:set", "acme_agree=false"]).expect_success();
    server.paas(&["certs:renew", "blog"]).expect_code(1);
    assert_eq!(names(&server, "blog")["blog.apps.example.com"]["trouble"], "account");
    server.paas(&["settings:set", "acme_agree=true"]).expect_success();
    server.paas(&["certs:renew", "blog"]).expect_success();
    assert_eq!(ids(&server).len(), 1);
}

#[test]
fn a_death_at_any_point_costs_no_certificate() {
    for point in ["acme-prepared", "acme-ready", "acme-signed"] {
        let server = Server::prepare(&Pebble::settings());
        let _pebble = Pebble::start(&server);
        let _proxy = Answering::start(&server);
        server.paas(&["apps:create", "blog"]).expect_success();
        let mut renew = server.command(PAAS);
        renew.args(["certs:renew", "blog"]).env("PAAS_TEST_DIE_ON", point);
        let died = renew.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert_eq!(died.signal(), Some(9), "{point}: {died}");
        let orders: Vec<String> = query(&server, "SELECT url FROM acme_orders", |row| row.get(0));
        assert_eq!(orders.len(), usize::from(point != "acme-prepared"), "{point}");
        assert!(ids(&server).is_empty());
        let renewed = server.json(&["certs:renew", "blog"]);
        assert_eq!(renewed["obtained"], serde_json::json!(["blog.apps.example.com"]), "{point}");
        assert_eq!(ids(&server).len(), 1, "{point}");
        for table in ["acme_orders", "acme_challenges", "acme_names"] {
            let rows: Vec<i64> = query(&server, &format!("SELECT count(*) FROM {table}"), |row| row.get(0));
            assert_eq!(rows, [0], "{point}: {table}");
        }
        let secrets: Vec<i64> = query(&server, "SELECT count(*) FROM secrets WHERE noun = 'certs'", |row| row.get(0));
        assert_eq!(secrets, [2], "{point}: that of the account and that of the certificate");
    }
}

#[test]
fn two_at_once_ask_one_after_the_other() {
    let server = Server::prepare(&Pebble::settings());
    let _pebble = Pebble::start(&server);
    let _proxy = Answering::start(&server);
    server.paas(&["apps:create", "blog"]).expect_success();
    let begin = || {
        let mut renew = server.command(PAAS);
        renew.args(["certs:renew", "blog"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        renew.spawn().unwrap()
    };
    let both = [begin(), begin()].map(|child| child.wait_with_output().unwrap());
    let mut said = both.map(|output| {
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    });
    said.sort();
    assert_eq!(said, ["blog.apps.example.com: a new certificate\n", "nothing is due\n"]);
    assert_eq!(ids(&server).len(), 1);
}

#[test]
fn an_authority_that_is_away_or_forgets_is_got_over() {
    let server = Server::prepare(&Pebble::settings());
    let mut pebble = Pebble::start(&server);
    let _proxy = Answering::start(&server);
    server.paas(&["apps:create", "blog"]).expect_success();
    pebble.stop();
    server.paas(&["certs:renew", "blog"]).expect_code(1);
    let away = names(&server, "blog")["blog.apps.example.com"].clone();
    assert_eq!(away["trouble"], "authority", "{away}");
    // The job waits; somebody who asks does not.
    assert!(
        server.paas(&["obtain-certificates"]).expect_success().stdout.starts_with("0 names have a new certificate, 0")
    );
    pebble.start_again();
    server.paas(&["certs:renew", "blog"]).expect_success();
    assert_eq!(names(&server, "blog")["blog.apps.example.com"]["trouble"], serde_json::Value::Null);
    pebble.forget_everything();
    server.paas(&["apps:create", "shop"]).expect_success();
    server.paas(&["settings:set", "acme_contact=other@example.com"]).expect_success();
    server.paas(&["certs:renew", "shop"]).expect_success();
    pebble.forget_everything();
    server.paas(&["apps:create", "third"]).expect_success();
    server.paas(&["certs:renew", "third"]).expect_success();
    assert_eq!(ids(&server).len(), 3);
}

#[test]
fn one_wildcard_serves_all_default_names_where_a_command_sets_records() {
    let server = Server::prepare(&Pebble::settings());
    let pebble = Pebble::start(&server);
    let _proxy = Answering::start(&server);
    for app in ["blog", "shop"] {
        server.paas(&["apps:create", app]).expect_success();
    }
    let script = server.directory.path().join("dns");
    let calls = server.directory.path().join("calls");
    let text = format!(
        "#!/bin/sh\necho \"$@\" >>{calls}\n[ \"$1\" = zone ] || exit 9\ncase $2 in\npresent) path=set-txt ;;\ncleanup) path=clear-txt ;;\nesac\n\
         curl -sf -d '{{\"host\":\"'\"$3\"'\",\"value\":\"'\"$4\"'\"}}' {}/$path\n",
        pebble.management(),
        calls = calls.display(),
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    // A command that fails takes nothing away: the names are had one by one.
    server.paas(&["settings:set", "acme_dns_command", &script.display().to_string()]).expect_success();
    server.paas(&["certs:renew", "blog"]).expect_code(1);
    assert_eq!(names(&server, "blog")["blog.apps.example.com"]["trouble"], "dns-command");
    server.paas(&["certs:renew", "blog"]).expect_code(1);
    assert_eq!(names(&server, "blog")["blog.apps.example.com"]["certificate"], 1);

    server.paas(&["settings:set", "acme_dns_command", &format!("{} zone", script.display())]).expect_success();
    let obtained = server.json(&["certs:renew", "shop"]);
    assert!(obtained["obtained"].as_array().unwrap().contains(&"*.apps.example.com".into()), "{obtained}");
    let wildcard = names(&server, "shop")["shop.apps.example.com"]["certificate"].clone();
    let calls = std::fs::read_to_string(calls).unwrap();
    assert!(calls.contains("zone present _acme-challenge.apps.example.com. "), "{calls}");
    assert!(
        calls.trim_end().lines().last().unwrap().starts_with("zone cleanup _acme-challenge.apps.example.com. "),
        "{calls}"
    );
    // An app that is new has it already.
    server.paas(&["apps:create", "new"]).expect_success();
    assert_eq!(server.paas(&["certs:renew", "new"]).expect_success().stdout, "nothing is due\n");
    assert_ne!(names(&server, "new")["new.apps.example.com"]["certificate"], serde_json::Value::Null, "{wildcard}");
}

#[test]
fn two_hundred_names_share_four_certificates() {
    let server = Server::prepare(&Pebble::settings());
    let pebble = Pebble::start(&server);
    let _proxy = Answering::start(&server);
    server.paas(&["apps:create", "blog"]).expect_success();
    let names: Vec<String> = (1..200).map(|number| format!("n{number}.example.org")).collect();
    add_domains(&server, "blog", &names.iter().map(String::as_str).collect::<Vec<_>>());
    // One among them that does not work out takes no other with it.
    pebble.lead("n77.example.org", &["127.0.0.2"]);
    let asked = server.paas(&["certs:renew", "blog", "--format", "json"]).expect_code(1);
    let asked: serde_json::Value = serde_json::from_str(&asked.stdout).unwrap();
    assert_eq!(asked["obtained"].as_array().unwrap().len(), 199, "{asked}");
    assert_eq!(asked["failed"][0]["domain"], "n77.example.org", "{asked}");
    assert_eq!(ids(&server).len(), 4);
}

#[test]
fn the_daemon_obtains_what_is_new_and_says_what_ends_soon() {
    let mut server = Server::prepare(&Pebble::settings_of_daemon());
    let _pebble = Pebble::start(&server);
    server.start_daemon();
    server.paas(&["apps:create", "blog"]).expect_success();
    let has = |app: &str| !names(&server, app)[&format!("{app}.apps.example.com")]["certificate"].is_null();
    server.wait_for("the first certificate", Duration::from_secs(60), || has("blog"));
    server.paas(&["apps:create", "shop"]).expect_success();
    server.wait_for("the second certificate", Duration::from_secs(60), || has("shop"));
    server.paas(&["certs:generate", "shop"]).expect_success();
    let soon = 20 * 24 * 3_600_000_i64;
    change(
        &server,
        &format!(
            "UPDATE certificates SET not_after = 1000 * unixepoch() + {soon} - 3600000, not_before = 0 WHERE kind = 'self-signed'"
        ),
    );
    // The job is due again when its time comes.
    let hurry = || {
        let waiting = "SELECT count(*) FROM jobs WHERE name = 'certificates' AND state = 'waiting'";
        server.wait_for("the plan", Duration::from_secs(60), || {
            query(&server, waiting, |row| row.get::<_, i64>(0)) == [1]
        });
        change(
            &server,
            "UPDATE jobs SET due_at = abs(random()) % 1000000 WHERE name = 'certificates' AND state = 'waiting'",
        );
    };
    hurry();
    let said = || -> Vec<String> {
        query(&server, "SELECT detail FROM events WHERE action = 'certs:expiring' ORDER BY id", |row| row.get(0))
    };
    server.wait_for("the warning", Duration::from_secs(60), || !said().is_empty());
    assert!(said()[0].contains("of shop.apps.example.com ends at "), "{:?}", said());
    let runs = || {
        query(&server, "SELECT count(*) FROM jobs WHERE name = 'certificates' AND state = 'done'", |row| {
            row.get::<_, i64>(0)
        })[0]
    };
    hurry();
    let before = runs();
    server.wait_for("another run", Duration::from_secs(60), || runs() > before);
    assert_eq!(said().len(), 1, "once each");
    let jobs = server.json(&["jobs:list"]);
    let job = jobs.as_array().unwrap().iter().find(|job| job["job"] == "certificates").unwrap();
    assert_eq!(job["state"], "done", "{job}");
    let report = server.json(&["report"]);
    let warnings = report["warnings"].as_array().unwrap();
    assert!(
        warnings.iter().any(|warning| warning.as_str().unwrap().contains("shop.apps.example.com ends at")),
        "{report}"
    );
}
