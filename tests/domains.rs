//! Domains: whose a name is, who may give it, and what is said of it; from this machine and over SSH.

use std::{
    collections::HashMap,
    net::{SocketAddr, UdpSocket},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use hickory_proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata},
};
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

/// A name server of the test's own, over UDP. It knows what it is told, and says of all else that there is no such name.
struct NameServer {
    address: SocketAddr,
    records: Arc<Mutex<HashMap<String, Vec<RData>>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A name of which nothing is ever heard.
const SILENT: &str = "silent.example.com";
/// A name whose servers fail.
const FAILING: &str = "failing.example.com";

impl NameServer {
    fn start() -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let address = socket.local_addr().unwrap();
        let records: Arc<Mutex<HashMap<String, Vec<RData>>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (known, stopped) = (Arc::clone(&records), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 2000];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                let Ok(question) = Message::from_vec(&buffer[..length]) else { continue };
                if let Some(answer) = answer(&question, &known.lock().unwrap()) {
                    socket.send_to(&answer.to_vec().unwrap(), from).unwrap();
                }
            }
        });
        NameServer { address, records, stop, thread: Some(thread) }
    }

    fn set(&self, name: &str, records: Vec<RData>) {
        self.records.lock().unwrap().insert(name.to_owned(), records);
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Answers as a server that asks others for its client does: aliases are followed.
fn answer(question: &Message, known: &HashMap<String, Vec<RData>>) -> Option<Message> {
    let query = question.queries.first()?.clone();
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    answer.metadata.message_type = MessageType::Response;
    answer.metadata.recursion_available = true;
    answer.add_query(query.clone());
    let mut name = query.name().to_ascii().trim_end_matches('.').to_lowercase();
    if name == SILENT {
        return None;
    }
    if name == FAILING {
        answer.metadata.response_code = ResponseCode::ServFail;
        return Some(answer);
    }
    loop {
        let Some(records) = known.get(&name) else {
            answer.metadata.response_code = ResponseCode::NXDomain;
            return Some(answer);
        };
        let owner = Name::from_ascii(format!("{name}.")).unwrap();
        let alias = records.iter().find_map(|data| match data {
            RData::CNAME(target) => Some(target.0.to_ascii().trim_end_matches('.').to_owned()),
            _ => None,
        });
        let wanted =
            |data: &&RData| data.record_type() == query.query_type() || data.record_type() == RecordType::CNAME;
        answer
            .add_answers(records.iter().filter(wanted).map(|data| Record::from_rdata(owner.clone(), 60, data.clone())));
        match alias {
            Some(alias) => name = alias,
            None => return Some(answer),
        }
    }
}

fn a(address: &str) -> RData {
    RData::A(rdata::A(address.parse().unwrap()))
}

fn aaaa(address: &str) -> RData {
    RData::AAAA(rdata::AAAA(address.parse().unwrap()))
}

fn cname(target: &str) -> RData {
    RData::CNAME(rdata::CNAME(Name::from_ascii(format!("{target}.")).unwrap()))
}

fn caa(authority: Option<&str>) -> RData {
    let authority = authority.map(|authority| Name::from_ascii(authority).unwrap());
    RData::CAA(rdata::CAA::new_issue(false, authority, Vec::new()))
}

#[test]
fn what_dns_says_of_a_domain_is_said_with_the_record_to_set() {
    let dns = NameServer::start();
    dns.set("here.example.com", vec![a("203.0.113.7"), aaaa("2001:db8::7")]);
    dns.set("away.example.com", vec![a("198.51.100.9")]);
    dns.set("both.example.com", vec![a("203.0.113.7"), aaaa("2001:db8::9")]);
    dns.set("six.example.com", vec![aaaa("2001:db8::7")]);
    dns.set("empty.example.com", Vec::new());
    dns.set("alias.example.com", vec![cname("far.example.net")]);
    dns.set("far.example.net", vec![cname("farther.example.org")]);
    dns.set("farther.example.org", vec![a("203.0.113.7")]);
    dns.set("caa.example.com", vec![a("203.0.113.7"), caa(Some("ca.example"))]);
    // The records of a name above count, where the name has none of its own.
    dns.set("guarded.example", vec![caa(None)]);
    dns.set("deep.guarded.example", vec![a("203.0.113.7")]);
    dns.set("allowed.guarded.example", vec![a("203.0.113.7"), caa(Some("letsencrypt.org"))]);
    let servers = dns.address.to_string();
    let server = Server::prepare(&[
        ("PAAS_DOMAIN", "apps.example.com"),
        ("PAAS_TLS", "acme"),
        ("PAAS_NAME_SERVERS", &servers),
        ("PAAS_PUBLIC_ADDRESSES", "203.0.113.7,2001:db8::7"),
    ]);
    server.paas(&["apps:create", "blog"]).expect_success();
    for (name, finding, said) in [
        ("here.example.com", "here", "here.example.com resolves to this server (203.0.113.7, 2001:db8::7)"),
        ("away.example.com", "elsewhere", "set an A record: away.example.com -> 203.0.113.7 and an AAAA record"),
        ("both.example.com", "partly", "also to 2001:db8::9, which is not: remove that AAAA record"),
        ("six.example.com", "here", "has no IPv4 address"),
        ("empty.example.com", "no_address", "is in the DNS, but has no address"),
        ("alias.example.com", "here", "through its CNAME record farther.example.org"),
        ("none.example.com", "missing", "none.example.com is not in the DNS yet: set an A record"),
        (FAILING, "silent", "no name server gave an answer for failing.example.com"),
        (SILENT, "silent", "no name server gave an answer for silent.example.com"),
        ("caa.example.com", "here", "let only ca.example issue certificates: add a CAA record"),
        ("deep.guarded.example", "here", "let nobody issue certificates"),
        ("allowed.guarded.example", "here", "allowed.guarded.example resolves to this server"),
    ] {
        // Whatever is found, the domain is the app's.
        server.paas(&["domains:add", "blog", name]).expect_success().says(said);
        let check = server.paas(&["domains:check", "blog", name, "--format", "json"]);
        let found: Value = serde_json::from_str(&check.stdout).unwrap_or_else(|error| panic!("{error}: {check}"));
        assert_eq!(found["domains"][0]["finding"], finding, "{found}");
        let is_good = finding == "here" && found["domains"][0]["may_issue"] == true;
        assert_eq!(check.code, i32::from(!is_good), "{check}");
        assert!(found.to_string().contains(said), "{found}");
    }
    let forbidden = server.paas(&["domains:check", "blog", "caa.example.com", "deep.guarded.example"]).expect_code(1);
    forbidden.says("2 of 2 domains do not resolve");

    // What the record says now counts, and data names it.
    dns.set("away.example.com", vec![a("203.0.113.7")]);
    server.paas(&["domains:check", "blog", "away.example.com"]).expect_success();
    let missing = server.paas(&["domains:check", "blog", "none.example.com", "--format", "json"]).expect_code(1);
    let found: Value = serde_json::from_str(&missing.stdout).unwrap();
    let record = json!({ "type": "A", "name": "none.example.com", "value": "203.0.113.7" });
    assert_eq!(found["domains"][0]["records"][0], record);
    server.paas(&["domains:check", "blog", "other.example.com"]).expect_code(3);

    // Private names and wildcards are not looked up, and nothing is said of them.
    let quiet = ["intranet", "nas.local", "db.internal", "x.test", "tv.home.arpa", "a.localhost", "*.wild.example"];
    let added = server.paas(&[&["domains:add", "blog"][..], &quiet].concat()).expect_success();
    assert!(!added.stderr.contains("resolve") && !added.stderr.contains("record"), "{added}");
    server.paas(&[&["domains:check", "blog"][..], &quiet].concat()).expect_success();

    // A server that knows no public address says what it found, and names the setting.
    server.paas(&["apps:create", "shop"]).expect_success();
    let mut unknown = server.command(PAAS);
    unknown.env("PAAS_PUBLIC_ADDRESSES", "none").args(["domains:add", "shop", "lost.example.com"]);
    run(&mut unknown).expect_success().says("`paas settings:set public_addresses ADDRESS`");
}

#[test]
fn many_domains_are_looked_up_at_once_and_a_dead_name_server_holds_nobody_up() {
    // It takes questions, and answers none.
    let dead = UdpSocket::bind("127.0.0.1:0").unwrap();
    let servers = dead.local_addr().unwrap().to_string();
    let server = Server::prepare(&[("PAAS_DOMAIN", "apps.example.com"), ("PAAS_NAME_SERVERS", &servers)]);
    server.paas(&["apps:create", "blog"]).expect_success();
    let names: Vec<String> = (0..60).map(|number| format!("name-{number}.example.com")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    server
        .paas(&[&["domains:add", "blog"][..], &names].concat())
        .expect_success()
        .says("no name server gave an answer");
}

#[test]
fn a_redirect_is_of_one_namespace_with_domains_and_never_leads_back() {
    let server = server();
    let redirects = |app: &str| -> Vec<String> {
        let list = server.json(&["redirects:list", app]);
        let shown =
            |it: &Value| format!("{} {} {}", it["from"].as_str().unwrap(), it["to"].as_str().unwrap(), it["code"]);
        list.as_array().unwrap().iter().map(shown).collect()
    };
    server.paas(&["redirects:add", "blog", "Old.example.", "Example.COM"]).expect_success();
    server.paas(&["redirects:add", "blog", "*.old.example", "example.com", "--code", "308"]).expect_success();
    assert_eq!(redirects("blog"), ["*.old.example example.com 308", "old.example example.com 301"]);
    server.paas(&["redirects:add", "blog", "old.example", "example.com"]).expect_success().says("nothing to change");
    server.paas(&["redirects:add", "blog", "old.example", "bücher.example", "--code", "302"]).expect_success();
    assert_eq!(redirects("blog")[1], "old.example xn--bcher-kva.example 302");
    // The default name of an app may be sent on to its domain.
    server.paas(&["redirects:add", "blog", "blog.apps.example.com", "example.com"]).expect_success();

    for (from, to) in [
        ("same.example", "same.example"),
        ("xn--bcher-kva.example", "old.example"),
        ("example.com", "x.old.example"),
        ("*.wild.example", "www.wild.example"),
    ] {
        let ran = server.paas(&["redirects:add", "blog", from, to]).expect_code(4);
        assert!(ran.stderr.contains("would come back to where it began"), "{ran}");
    }
    server.paas(&["redirects:add", "blog", "a.example", "b.example", "--code", "303"]).expect_code(2);
    server.paas(&["redirects:add", "blog", "a.example"]).expect_code(2);
    server.paas(&["redirects:add", "blog", "a.example", "*.b.example"]).expect_code(2);

    // One owner, whatever a name is used for; and the same names need an administrator.
    server.paas(&["domains:add", "shop", "old.example"]).expect_code(4).says("old.example is a domain of blog");
    server.paas(&["domains:add", "shop", "shop.example"]).expect_success();
    server.paas(&["redirects:add", "blog", "shop.example", "example.com"]).expect_code(4).says("is a domain of shop");
    server.paas(&["redirects:add", "blog", "shop.apps.example.com", "example.com"]).expect_code(4);
    key_of(&server, "ann", &["blog"]);
    as_key(&server, "ann", &["redirects:add", "blog", "www.apps.example.com", "example.com"]).expect_code(5);
    let hidden = as_key(&server, "ann", &["redirects:add", "blog", "shop.example", "example.com"]).expect_code(4);
    assert!(hidden.stderr.contains("shop.example is taken"), "{hidden}");
    server.paas(&["redirects:add", "shop", "secret.example", "shop.example"]).expect_success();
    let seen = as_key(&server, "ann", &["redirects:list"]).expect_success();
    assert!(seen.stdout.contains("old.example") && !seen.stdout.contains("secret"), "{seen}");
    // A name that moves is no longer sent on.
    server.paas(&["domains:add", "shop", "old.example", "--move"]).expect_success();
    assert!(!redirects("blog").iter().any(|it| it.starts_with("old.example")));
    // A name that is sent on may be a domain of the same app, too.
    server.paas(&["domains:add", "shop", "secret.example"]).expect_success();
    assert!(names(&server, "shop").contains(&"secret.example".to_owned()));
    server.paas(&["domains:add-global", "example"]).expect_code(4);

    // `www` to bare and the other way, in one word.
    server
        .paas(&["redirects:add", "shop", "--bare", "www.site.example"])
        .expect_success()
        .says("site.example is a domain");
    assert!(redirects("shop").contains(&"www.site.example site.example 301".to_owned()));
    assert!(names(&server, "shop").contains(&"site.example".to_owned()));
    server.paas(&["redirects:add", "shop", "--www", "site.example"]).expect_code(4);
    server.paas(&["redirects:remove", "shop", "WWW.site.example"]).expect_success();
    server.paas(&["redirects:add", "shop", "--www", "site.example", "--code", "307"]).expect_success();
    assert!(redirects("shop").contains(&"site.example www.site.example 307".to_owned()));
    server.paas(&["redirects:remove", "shop", "site.example", "none.example"]).expect_code(3);
    assert!(redirects("shop").contains(&"site.example www.site.example 307".to_owned()), "all, or none");
    let event = server.json(&["events", "--action", "redirects:add"]);
    assert!(event.to_string().contains("site.example -> www.site.example (307)"), "{event}");
}

#[test]
fn maintenance_is_turned_on_with_a_message_or_a_page_of_the_deployed_commit() {
    let server = Server::start();
    server.paas(&["apps:create", "shop"]).expect_success();
    server.ssh("maintenance:on shop -m 'back at ten' --allow 203.0.113.7 --allow 10.1.2.3/8").expect_success();
    let report = server.json(&["maintenance:report", "shop"]);
    assert_eq!((&report["enabled"], &report["message"]), (&json!(true), &json!("back at ten")));
    assert_eq!(report["allow"], json!(["203.0.113.7", "10.0.0.0/8"]));
    assert_eq!(report["by"], "key:tester");
    server.paas(&["maintenance:on", "shop", "--page", "503.html"]).expect_code(3).says("shop was never deployed");
    for message in ["", " ", "back at ten\u{1b}[31m", "a\rb"] {
        server
            .paas(&["maintenance:on", "shop", "--message", message])
            .expect_code(2)
            .says("without control characters");
    }
    server.paas(&["maintenance:on", "shop", "--allow", "somewhere"]).expect_code(2);

    let repository = server.repository("dockerfile", "blog");
    let large = "x".repeat(256 * 1024 + 1);
    repository.write("public/503.html", "<h1>soon</h1>").write("large.html", &large).commit("pages");
    std::os::unix::fs::symlink("/etc/passwd", repository.path.join("link.html")).unwrap();
    repository.commit("link");
    repository.push().expect_success();
    // What is only on the laptop is not what is deployed.
    repository.write("late.html", "late").commit("late");
    for (page, said) in [
        ("late.html", "there is no file \"late.html\" in the commit"),
        ("public", "there is no file \"public\""),
        ("link.html", "there is no file \"link.html\""),
        ("../503.html", "there is no file"),
        ("/etc/passwd", "there is no file"),
        ("large.html", "262144 are the most"),
    ] {
        let ran = server.paas(&["maintenance:on", "blog", "--page", page]).expect_code(2);
        assert!(ran.stderr.contains(said), "{page}: {ran}");
    }
    assert_eq!(server.json(&["maintenance:report", "blog"])["enabled"], false);
    server.paas(&["maintenance:on", "blog", "--page", "public/503.html"]).expect_success();
    let report = server.json(&["maintenance:report", "blog"]);
    assert_eq!((&report["page"], &report["page_bytes"]), (&json!("public/503.html"), &json!(13)));
    let database = rusqlite::Connection::open(server.root().join("paas.db")).unwrap();
    let page: Vec<u8> =
        database.query_row("SELECT page FROM maintenance WHERE page IS NOT NULL", [], |row| row.get(0)).unwrap();
    assert_eq!(page, b"<h1>soon</h1>");
    let all = server.paas(&["maintenance:report"]).expect_success();
    assert!(all.stdout.contains("blog") && all.stdout.contains("back at ten"), "{all}");
    server.ssh("maintenance:off blog").expect_success().says("blog is no longer under maintenance");
    server.paas(&["maintenance:off", "blog"]).expect_success().says("blog was not under maintenance");
    let events = server.json(&["events", "--of", "blog", "--action", "maintenance"]);
    assert_eq!(events.as_array().unwrap().len(), 2, "{events}");
}
