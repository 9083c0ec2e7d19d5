//! What the daemon does by time, and a daemon that dies as it does it.

use std::{os::unix::process::ExitStatusExt, process::Stdio, time::Duration};

use crate::{
    harness::{PAAS, Server},
    sound::query,
};

/// How long anything here may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A job as `jobs:list` shows it.
fn job(server: &Server, name: &str) -> serde_json::Value {
    let jobs = server.json(&["jobs:list"]);
    jobs.as_array().unwrap().iter().find(|job| job["job"] == name).unwrap().clone()
}

/// The runs of a job that began: state and attempt, in order.
fn runs(server: &Server, name: &str) -> Vec<(String, u32)> {
    let sql = format!("SELECT state, attempt FROM jobs WHERE name = '{name}' AND state <> 'waiting' ORDER BY id");
    query(server, &sql, |row| Ok((row.get("state")?, row.get("attempt")?)))
}

/// A server whose daemon has died as it began a job, and was started again.
fn died_in(name: &str) -> Server {
    let mut server = Server::prepare(&[]);
    let mut command = server.command(PAAS);
    command.arg("serve").env("PAAS_TEST_DIE_ON", format!("job:{name}"));
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.signal(), Some(9), "{status}");
    assert_eq!(runs(&server, name), [("running".to_owned(), 1)]);
    server.start_daemon();
    server
}

/// Waits until every other job has had its turn: what was to be repeated has been by then.
fn wait_for_the_others(server: &Server, name: &str) {
    for other in ["prune-images", "remove-files", "checkpoint", "forget-jobs"].into_iter().filter(|job| *job != name) {
        // One that had begun beside it died with it, and may be left for its next time.
        server.wait_for(other, PATIENCE, || {
            ["done", "interrupted"].iter().any(|state| job(server, other)["state"] == *state)
        });
    }
}

#[test]
fn a_job_that_was_cut_short_is_shown_and_left_for_its_next_time() {
    let mut server = died_in("prune-images");
    wait_for_the_others(&server, "prune-images");
    assert_eq!(runs(&server, "prune-images"), [("interrupted".to_owned(), 1)]);
    let shown = job(&server, "prune-images");
    assert_eq!(shown["state"], "interrupted", "{shown}");
    assert_eq!(shown["outcome"], "the daemon ended meanwhile", "{shown}");
    assert!(shown["due_at"].as_str() > shown["started_at"].as_str(), "{shown}");
    let list = server.paas(&["jobs:list"]).expect_success();
    let line =
        list.stdout.lines().find(|line| line.starts_with("prune-images  - ")).unwrap_or_else(|| panic!("{list}"));
    assert!(line.contains("  interrupted  the daemon ended meanwhile  "), "{list}");

    // A restart runs nothing that had its time, and leaves the log of the database empty.
    let before = runs(&server, "remove-files");
    assert_eq!(server.stop_daemon().code, 0);
    let log = std::fs::metadata(server.root().join("paas.db-wal")).map_or(0, |metadata| metadata.len());
    assert_eq!(log, 0);
    server.start_daemon();
    server.wait_for("the daemon to plan", PATIENCE, || !job(&server, "remove-files")["due_at"].is_null());
    assert_eq!(runs(&server, "remove-files"), before);
    assert_eq!(runs(&server, "prune-images"), [("interrupted".to_owned(), 1)]);
}

#[test]
fn a_job_that_says_so_is_repeated() {
    let server = died_in("remove-files");
    wait_for_the_others(&server, "remove-files");
    server.wait_for("the second attempt", PATIENCE, || job(&server, "remove-files")["state"] == "done");
    assert_eq!(runs(&server, "remove-files"), [("interrupted".to_owned(), 1), ("done".to_owned(), 2)]);
    assert_eq!(job(&server, "remove-files")["attempt"], 2);
}
