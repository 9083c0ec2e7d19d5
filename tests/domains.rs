//! Domains: whose a name is, who may give it, and what is said of it; from this machine and over SSH.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{PAAS, Ran, Server, command, run};

/// A server with the apps blog and shop that looks nothing up. No daemon runs: all of it is data.
fn server() -> Server {
    let server = Server::prepare(&[("PAAS_DOMAIN", "apps.example.com"), ("PAAS_TLS", "off")]);
    for app in ["blog", "shop"] {
        server.paas(&["apps:create", app]).expect_success();
    }
    server
}

/// The names that lead to an app, as DNS has them.
fn names(server: &Server, app: &str) -> Vec<String> {
    let report = server.json(&["domains:report", app]);
    let names = report["domains"].as_array().unwrap().iter();
    names.map(|name| name["domain"].as_str().unwrap().to_owned()).collect()
}

/// A key that may log in, as deployer of some apps only.
fn key_of(server: &Server, name: &str, apps: &[&str]) -> PathBuf {
    let path = server.directory.path().join(name);
    run(command("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path)).expect_success();
    server.paas(&["ssh-keys:add", name, &format!("{}.pub", path.display())]).expect_success();
    let database = rusqlite::Connection::open(server.root().join("paas.db")).unwrap();
    database.execute("UPDATE ssh_keys SET role = NULL WHERE name = ?1", [name]).unwrap();
    for app in apps {
        let grant = "INSERT INTO key_grants (key_id, app_id, role) SELECT ssh_keys.id, apps.id, 'deployer'
                     FROM ssh_keys, apps WHERE ssh_keys.name = ?1 AND apps.name = ?2";
        assert_eq!(database.execute(grant, [name, app]).unwrap(), 1);
    }
    path
}

/// Runs a command as the holder of a key, as the SSH server does.
fn as_key(server: &Server, name: &str, arguments: &[&str]) -> Ran {
    run(server.command(PAAS).env("PAAS_ACTOR", format!("key:{name}")).args(arguments))
}

#[test]
fn names_are_added_removed_replaced_and_reset_by_both_doors() {
    let mut server = server();
    server.start_daemon();
    let port = server.port(3);
    let default = format!("http://blog.apps.example.com:{port}");
    assert_eq!(server.paas(&["url", "blog"]).expect_success().stdout, format!("{default}\n"));

    server.ssh("domains:add blog Example.COM. www.example.com *.example.com").expect_success();
    server.paas(&["domains:add", "blog", "bücher.example", "_"]).expect_success();
    let all =
        ["example.com", "www.example.com", "*.example.com", "xn--bcher-kva.example", "_", "blog.apps.example.com"];
    assert_eq!(names(&server, "blog"), all);
    let report = server.paas(&["domains:report", "blog"]).expect_success();
    assert_eq!(report.stdout, server.ssh("domains:report blog").expect_success().stdout);
    for shown in ["bücher.example", "*.example.com", "blog.apps.example.com  (default)"] {
        assert!(report.stdout.contains(shown), "{report}");
    }
    // The first one is the address for people, wherever it is shown.
    let url = format!("http://example.com:{port}");
    assert_eq!(server.ssh("url blog").expect_success().stdout, format!("{url}\n"));
    assert_eq!(server.json(&["url", "blog"]), json!({ "app": "blog", "url": url }));
    assert_eq!(server.json(&["apps:info", "blog"])["url"], json!(url));
    assert_eq!(server.json(&["apps:list"])[0]["url"], json!(url));
    let urls = server.paas(&["urls", "blog"]).expect_success().stdout;
    let expected = ["example.com", "www.example.com", "xn--bcher-kva.example", "blog.apps.example.com"];
    assert_eq!(urls, expected.map(|host| format!("http://{host}:{port}\n")).concat());

    // What is there already changes nothing, and is no event.
    let events = server.json(&["events", "--action", "domains:add"]).as_array().unwrap().len();
    server.paas(&["domains:add", "blog", "EXAMPLE.com"]).expect_success().says("nothing to change");
    assert_eq!(server.json(&["events", "--action", "domains:add"]).as_array().unwrap().len(), events);
    assert_eq!(server.json(&["domains:add", "blog", "example.com"])["outcome"], "unchanged");

    server.ssh("domains:remove blog _ WWW.example.com.").expect_success();
    server
        .paas(&["domains:remove", "blog", "www.example.com"])
        .expect_code(3)
        .says("blog has no domain www.example.com");
    // All names of a command, or none.
    server.paas(&["domains:remove", "blog", "example.com", "none.example"]).expect_code(3);
    assert_eq!(
        names(&server, "blog"),
        ["example.com", "*.example.com", "xn--bcher-kva.example", "blog.apps.example.com"]
    );

    server.paas(&["domains:remove", "blog", "blog.apps.example.com"]).expect_success().says("are off");
    assert_eq!(names(&server, "blog"), ["example.com", "*.example.com", "xn--bcher-kva.example"]);
    server.paas(&["domains:add", "blog", "blog.apps.example.com"]).expect_success().says("are on");
    server
        .ssh("domains:set blog new.example '*.example.com'")
        .expect_success()
        .says("the default names of blog are off");
    assert_eq!(names(&server, "blog"), ["*.example.com", "new.example"]);
    server.paas(&["domains:set", "blog", "new.example", "blog.apps.example.com"]).expect_success();
    assert_eq!(names(&server, "blog"), ["new.example", "blog.apps.example.com"]);

    // At no name: it says so, and what brings it back.
    let cleared = server.paas(&["domains:clear", "blog"]).expect_success();
    cleared.says("blog is reached at no name now").says("`paas domains:reset blog` its default names");
    assert_eq!(names(&server, "blog"), [""; 0]);
    server.paas(&["url", "blog"]).expect_code(3).says("blog is reached at no name");
    assert_eq!(server.paas(&["urls", "blog"]).expect_success().stdout, "");
    assert_eq!(server.json(&["apps:info", "blog"])["url"], Value::Null);
    server.paas(&["domains:add", "blog", "*.wild.example"]).expect_success();
    server.paas(&["url", "blog"]).expect_code(3).says("wildcards only");
    server.ssh("domains:reset blog").expect_success().says(&format!("blog is at {default}"));
    assert_eq!(names(&server, "blog"), ["blog.apps.example.com"]);

    server.paas(&["domains:add", "blog", "example.com"]).expect_success();
    server.ssh("domains:disable blog").expect_success().says("`paas domains:enable blog`");
    assert_eq!(server.json(&["domains:report", "blog"])["enabled"], false);
    server.paas(&["url", "blog"]).expect_code(3);
    server.paas(&["domains:enable", "blog"]).expect_success().says(&url);

    // What is locked is not changed, and what is destroyed frees its names.
    server.paas(&["apps:lock", "blog"]).expect_success();
    server.paas(&["domains:add", "blog", "locked.example"]).expect_code(6);
    server.paas(&["domains:add", "shop", "example.com", "--move"]).expect_code(6);
    server.paas(&["apps:unlock", "blog"]).expect_success();
    server.paas(&["apps:destroy", "blog", "--force"]).expect_success();
    server.paas(&["domains:add", "shop", "example.com"]).expect_success();
}

#[test]
fn a_name_that_cannot_be_is_refused_with_the_rule() {
    let server = server();
    for (name, said) in [
        ("10.0.0.1", "it is an address"),
        ("https://example.com", "without a scheme"),
        ("example.com/x", "without a scheme and a path"),
        ("example.com:8080", "without a port"),
        ("a..b", "it takes labels"),
        ("a b.com", "it takes labels"),
        ("*.*.com", "it takes labels"),
        ("a.*.com", "it takes labels"),
        ("a_b.com", "it takes labels"),
        ("xn--a.com", "it takes labels"),
        ("", "it takes labels"),
        ("paas.apps.example.com", "the name is reserved"),
    ] {
        let ran = server.paas(&["domains:add", "blog", "fine.example", name]).expect_code(2);
        assert!(ran.stderr.contains(said), "{name}: {ran}");
    }
    server.paas(&["domains:add", "blog"]).expect_code(2);
    server.paas(&["domains:add-global", "*.example"]).expect_code(2).says("it is one name");
    assert_eq!(names(&server, "blog"), ["blog.apps.example.com"], "one bad name and none is taken");

    server.paas(&["settings:set", "max_domains", "3"]).expect_success();
    server.paas(&["domains:add", "blog", "a.example", "b.example", "c.example"]).expect_success();
    server.paas(&["domains:add", "blog", "d.example"]).expect_code(2).says("the setting max_domains");
    // To replace them is not to have more.
    server.paas(&["domains:set", "blog", "d.example", "e.example", "f.example"]).expect_success();
}

#[test]
fn a_domain_belongs_to_one_app_and_moves_in_one_step() {
    let server = server();
    server.paas(&["domains:add", "blog", "example.com", "*.example.com"]).expect_success();
    let clash = server.paas(&["domains:add", "shop", "free.example", "EXAMPLE.com"]).expect_code(4);
    clash.says("example.com is a domain of blog").says("`paas domains:add shop example.com --move`");
    assert_eq!(names(&server, "shop"), ["shop.apps.example.com"]);

    // Who may not see the other app is not told of it.
    key_of(&server, "ann", &["shop"]);
    let hidden = as_key(&server, "ann", &["domains:add", "shop", "example.com"]).expect_code(4);
    assert!(hidden.stderr.contains("example.com is taken") && !hidden.stderr.contains("blog"), "{hidden}");
    let hidden = as_key(&server, "ann", &["domains:add", "shop", "example.com", "--move"]).expect_code(4);
    assert!(hidden.stderr.contains("example.com is taken") && !hidden.stderr.contains("blog"), "{hidden}");
    // A name that a wildcard of it takes in is its own, too.
    let hidden = as_key(&server, "ann", &["domains:add", "shop", "www.example.com"]).expect_code(4);
    assert!(hidden.stderr.contains("www.example.com is taken") && !hidden.stderr.contains("blog"), "{hidden}");
    as_key(&server, "ann", &["domains:add", "shop", "a.www.example.com", "other.example"]).expect_success();
    let all = as_key(&server, "ann", &["domains:report"]).expect_success();
    assert!(all.stdout.contains("other.example") && !all.stdout.contains("blog"), "{all}");

    key_of(&server, "bob", &["shop", "blog"]);
    as_key(&server, "bob", &["domains:add", "shop", "www.example.com"]).expect_success();
    let moved = as_key(&server, "bob", &["domains:add", "shop", "example.com", "--move"]).expect_success();
    moved.says("example.com has moved to shop");
    assert_eq!(names(&server, "blog"), ["*.example.com", "blog.apps.example.com"]);
    assert!(names(&server, "shop").contains(&"example.com".to_owned()));
    // Both apps have an event of it.
    for (app, action) in [("blog", "domains:remove"), ("shop", "domains:add")] {
        let events = server.json(&["events", "--of", app, "--action", action]);
        let last = events.as_array().unwrap().last().unwrap();
        assert!(last["detail"].as_str().unwrap().contains("example.com"), "{last}");
        assert_eq!(last["actor"], "key:bob", "{last}");
    }
    server.paas(&["domains:set", "blog", "example.com", "--move"]).expect_success();
    assert_eq!(names(&server, "blog"), ["example.com"]);
}

#[test]
fn of_two_that_add_a_name_at_once_one_has_it_and_the_other_is_told() {
    let server = server();
    for round in 0..5 {
        let name = format!("round-{round}.example");
        let begin = |app: &str| {
            let mut command = server.command(PAAS);
            command.args(["domains:add", app, &name]).stderr(std::process::Stdio::piped());
            command.stdout(std::process::Stdio::piped()).spawn().unwrap()
        };
        let both = ["blog", "shop"].map(|app| (app, begin(app)));
        let ended = both.map(|(app, child)| (app, child.wait_with_output().unwrap()));
        let codes: Vec<_> = ended.iter().map(|(_, output)| output.status.code().unwrap()).collect();
        assert!(codes == [0, 4] || codes == [4, 0], "{ended:?}");
        let (winner, loser) = if codes[0] == 0 { (&ended[0], &ended[1]) } else { (&ended[1], &ended[0]) };
        let said = String::from_utf8_lossy(&loser.1.stderr);
        assert!(said.contains(&format!("{name} is a domain of {}", winner.0)), "{said}");
        assert!(names(&server, winner.0).contains(&name) && !names(&server, loser.0).contains(&name));
    }
}

#[test]
fn below_the_names_of_the_server_only_an_administrator_gives_other_names() {
    let server = server();
    key_of(&server, "ann", &["blog", "shop"]);
    for name in [
        "www.apps.example.com",
        "x.y.apps.example.com",
        "apps.example.com",
        "*.apps.example.com",
        "*.blog.apps.example.com",
        "*.example.com",
        "*.com",
        "_",
        // Of an app to come, and of one that is there: the same answer.
        "future.apps.example.com",
        "shop.apps.example.com",
    ] {
        let ran = as_key(&server, "ann", &["domains:add", "blog", name]).expect_code(5);
        assert!(ran.stderr.contains(&format!("{name} belongs to the server")), "{ran}");
    }
    let denied = server.json(&["events", "--outcome", "denied", "--action", "domains:add"]);
    assert_eq!(denied.as_array().unwrap().len(), 10, "{denied}");
    as_key(&server, "ann", &["domains:add", "blog", "paas.apps.example.com"]).expect_code(2).says("reserved");
    server.paas(&["domains:add", "blog", "paas.apps.example.com"]).expect_code(2).says("reserved");

    let names_of_server =
        ["www.apps.example.com", "x.y.apps.example.com", "apps.example.com", "*.apps.example.com", "_"];
    server.paas(&[&["domains:add", "blog"][..], &names_of_server].concat()).expect_success();
    let taken = server.paas(&["domains:add", "blog", "shop.apps.example.com"]).expect_code(4);
    taken.says("shop.apps.example.com is the default name of shop");
    // No app can be made whose default name is another app's domain, by a push neither.
    server.paas(&["apps:create", "www"]).expect_code(4).says("www.apps.example.com is a domain of another app");
    server.paas(&["domains:remove", "blog", "www.apps.example.com"]).expect_success();
    server.paas(&["apps:create", "www"]).expect_success();

    // While an app's default names are off, an administrator may give one away, and then they cannot be turned on.
    server.paas(&["domains:set", "shop", "shop.example"]).expect_success();
    server.paas(&["domains:add", "blog", "shop.apps.example.com"]).expect_success();
    server.paas(&["domains:reset", "shop"]).expect_code(4).says("shop.apps.example.com is a domain of blog");
    assert_eq!(names(&server, "shop"), ["shop.example"]);
}

#[test]
fn a_global_domain_gives_each_app_a_name() {
    let server = server();
    server.paas(&["domains:add", "blog", "www.mine.example", "blog.ours.example", "x.y.ours.example"]).expect_success();
    let refused = server.paas(&["domains:add-global", "more.example", "mine.example"]).expect_code(4);
    refused.says("mine.example cannot be a global domain: www.mine.example is a domain of blog");
    assert_eq!(server.json(&["domains:report", "--global"])["global"], json!([]));
    server.paas(&["domains:add-global", "apps.example.com"]).expect_code(2).says("is the server's domain already");

    let added = server.paas(&["domains:add-global", "More.example.", "ours.example"]).expect_success();
    added.says("apps are at APP.apps.example.com, APP.more.example, APP.ours.example");
    assert_eq!(names(&server, "shop"), ["shop.apps.example.com", "shop.more.example", "shop.ours.example"]);
    server.paas(&["domains:add-global", "more.example"]).expect_success().says("nothing to change");
    assert_eq!(
        server.json(&["domains:report", "--global"])["global"][0],
        json!({
            "domain": "more.example", "shown": "more.example"
        })
    );
    // Its names are the server's now.
    key_of(&server, "ann", &["shop"]);
    as_key(&server, "ann", &["domains:add", "shop", "www.more.example"]).expect_code(5);
    as_key(&server, "ann", &["domains:add-global", "evil.example"]).expect_code(5);

    server.paas(&["domains:set-global", "other.example"]).expect_success();
    assert_eq!(names(&server, "shop"), ["shop.apps.example.com", "shop.other.example"]);
    server
        .paas(&["domains:remove-global", "more.example"])
        .expect_code(3)
        .says("there is no global domain more.example");
    server.paas(&["domains:remove-global", "apps.example.com"]).expect_code(2).says("is the server's domain");
    server.paas(&["domains:remove-global", "other.example"]).expect_success().says("there is no global domain;");
    server.paas(&["domains:add-global", "other.example"]).expect_success();
    server.paas(&["domains:clear-global"]).expect_success();
    assert_eq!(names(&server, "shop"), ["shop.apps.example.com"]);
}

#[test]
fn a_rollback_changes_no_domain_and_a_push_ends_with_the_address() {
    let server = Server::start();
    let repository = server.repository("dockerfile", "blog");
    repository.push().expect_success().says(&format!("http://blog.localhost:{}", server.port(3)));
    server.paas(&["domains:set", "blog", "example.com"]).expect_success();
    repository.write("www/new.html", "new").commit("second");
    repository.push().expect_success().says(&format!("=====> http://example.com:{}", server.port(3)));
    server.paas(&["domains:add", "blog", "late.example"]).expect_success();
    server.paas(&["releases:rollback", "blog"]).expect_success().says("http://example.com:");
    assert_eq!(names(&server, "blog"), ["example.com", "late.example"]);
    server.paas(&["domains:clear", "blog"]).expect_success();
    server.paas(&["ps:restart", "blog"]).expect_success().says("blog has no URL");
}
