//! What apps print, as `paas logs` shows it: whole lines that give a terminal no orders.

use std::{fs::File, process::Stdio, time::Duration};

use serde_json::Value;

use crate::{
    harness::{PAAS, Ran, Server},
    push::gather,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Prints a line of 40,002 bytes, names the window, prints in red, and serves.
const PRINTS: &str = r#"FROM busybox:stable
CMD ["sh", "-c", "printf 'A%040000dZ\\n' 0; printf '\\033]0;taken\\007 \\033[31mred\\n'; exec httpd -f -p 5000 -h /etc"]
"#;

#[test]
fn a_long_line_is_one_and_escape_sequences_reach_no_terminal() {
    let server = Server::start();
    let repository = server.empty_repository("blog");
    repository.write("Dockerfile", PRINTS).commit("first");
    repository.push().expect_success();

    let long = format!("A{}Z", "0".repeat(40_000));
    let (raw, shown) = ("\u{1b}]0;taken\u{7} \u{1b}[31mred", "^[]0;taken^G \u{1b}[31mred\u{1b}[0m");
    let texts = |ran: Ran| -> Vec<String> {
        let lines = ran.expect_success().stdout;
        lines.lines().map(|line| line.split_once("app[web.1]: ").unwrap().1.to_owned()).collect()
    };
    let logs = |arguments: &[&str]| server.paas(&[&["logs", "blog"], arguments].concat());
    assert_eq!(texts(logs(&[])), [long.as_str(), shown]);
    assert_eq!(texts(server.ssh("logs blog")), [long.as_str(), shown]);
    assert_eq!(texts(logs(&["-n", "1"])), [shown]);
    assert_eq!(texts(logs(&["-n", "2"])), [long.as_str(), shown]);

    // Programs and files get it as it was printed.
    let documents = |ran: Ran| -> Vec<Value> {
        ran.expect_success().stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let records = documents(logs(&["--format", "json"]));
    assert_eq!(records.iter().map(|record| record["message"].as_str().unwrap()).collect::<Vec<_>>(), [&long, raw]);
    assert_eq!(records[1]["container"], "web.1");
    assert!(records[0]["printed_at"].as_str().unwrap().ends_with('Z'));
    let path = server.temporary().join("log");
    let file = File::create(&path).unwrap();
    assert!(server.command(PAAS).args(["logs", "blog", "-n", "1"]).stdout(file).status().unwrap().success());
    assert!(std::fs::read_to_string(&path).unwrap().ends_with(&format!("app[web.1]: {raw}\n")));

    // A follower gets lines that are whole too, also those of a container that comes later.
    let mut follower =
        server.command(PAAS).args(["logs", "blog", "-f", "-n", "0"]).stdout(Stdio::piped()).spawn().unwrap();
    let followed = gather(follower.stdout.take().unwrap());
    server.paas(&["ps:restart", "blog"]).expect_success();
    server.wait_for("the line that is followed", PATIENCE, || followed.lock().unwrap().contains(shown));
    follower.kill().unwrap();
    follower.wait().unwrap();
    assert!(followed.lock().unwrap().contains(&format!("app[web.1]: {long}\n")));

    // What a container leaves behind is whole, and kept as it was printed.
    server.wait_for("the old container to go", PATIENCE, || server.containers().len() == 1);
    assert_eq!(texts(logs(&[])), [long.as_str(), shown, &long, shown]);
    let kept = std::fs::read_to_string(server.root().join("apps/blog/former.log")).unwrap();
    assert!(kept.contains(&format!("app[web.1]: {long}\n")) && kept.contains(raw), "{} bytes", kept.len());
}

#[test]
fn an_app_without_web_is_not_said_to_be_at_a_url() {
    let server = Server::start();
    let repository = server.empty_repository("crew");
    let dockerfile = "FROM busybox:stable\nCMD [\"sleep\", \"1000\"]\n";
    repository.write("Dockerfile", dockerfile).write("Procfile", "worker: exec sleep 1000\n").commit("first");
    let pushed = repository.push().expect_success().says("=====> crew has no web process");
    assert!(!pushed.talk().contains("=====> http"), "{pushed}");
    server.paas(&["ps:scale", "crew", "worker=1"]).expect_success();
    let info = server.json(&["apps:info", "crew"]);
    assert_eq!((&info["url"], &info["status"]), (&Value::Null, &"live".into()));
    assert_eq!(server.json(&["apps:list"])[0]["url"], Value::Null);

    let scaled = server.paas(&["ps:scale", "crew", "worker=0"]).expect_success();
    scaled.says("and no other runs: `paas ps:scale crew worker=1` starts one");
    for report in ["apps:info", "ps:report"] {
        assert_eq!(server.json(&[report, "crew"])["status"], "stopped", "{report}");
    }

    // With web it has one, for as long as any of it runs.
    repository.write("Procfile", "web: exec httpd -f -p 5000 -h /etc\n").commit("web");
    repository.push().expect_success().says("=====> http://crew.localhost");
    assert!(server.json(&["apps:info", "crew"])["url"].is_string());
    let scaled = server.paas(&["ps:scale", "crew", "web=0"]).expect_success();
    scaled.says("so nothing answers at http://crew.localhost").says("`paas ps:scale crew web=1` starts one");
    assert_eq!(server.json(&["apps:info", "crew"])["url"], Value::Null);
}

#[test]
fn names_that_people_give_their_apps_are_free() {
    let server = Server::start();
    for name in ["api", "www", "admin", "dashboard", "git"] {
        server.paas(&["apps:create", name]).expect_success();
    }
    let repository = server.empty_repository("git");
    repository.write("Dockerfile", PRINTS).commit("first");
    repository.push().expect_success();
    assert_eq!(server.get("git", "/hostname").status, 200);
    server.paas(&["apps:create", "paas"]).expect_code(2).says("the name is reserved");
}
