//! The processes of this machine, those in containers too: to see that they are there, and to kill them.

use std::path::Path;

use crate::harness::{Server, command, run};

/// The processes whose arguments or environment satisfy a condition.
pub fn processes(mut condition: impl FnMut(&str, &str) -> bool) -> Vec<u32> {
    let read = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            condition(&read(&entry.path().join("cmdline")), &read(&entry.path().join("environ"))).then_some(id)
        })
        .collect()
}

/// The processes that deploy: git started one as its hook, or a user as a command.
pub fn deploying(server: &Server) -> Vec<u32> {
    let root = server.root().display().to_string();
    processes(|arguments, environment| {
        let mut words = arguments.split('\0');
        let program = words.next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        let is_daemon = words.next().is_some_and(|word| ["serve", "edge", "resolver"].contains(&word));
        ["paas", "proc-receive"].contains(&program) && !is_daemon && environment.contains(&root)
    })
}

/// The process that answers what Caddy asks.
pub fn edge(server: &Server) -> Vec<u32> {
    let root = server.root().display().to_string();
    processes(|arguments, environment| arguments.contains("\0edge\0--adopt\0") && environment.contains(&root))
}

/// Caddy.
pub fn caddy(server: &Server) -> Vec<u32> {
    let caddyfile = server.root().join("caddy/Caddyfile").display().to_string();
    processes(|arguments, _| arguments.contains("\0run\0") && arguments.contains(&caddyfile))
}

/// Kills processes with -9; there must be some.
pub fn kill(processes: &[u32]) {
    assert!(!processes.is_empty(), "there is nothing to kill");
    let ids: Vec<String> = processes.iter().map(u32::to_string).collect();
    run(command("kill").arg("-9").args(ids)).expect_success();
}

/// An argument for `sleep` that no other process on this machine has.
pub fn unique_seconds(server: &Server) -> String {
    format!("9{}{:03}", std::process::id(), server.slot)
}

/// Whether a `sleep` with this argument runs anywhere on this machine, in a container or not.
pub fn sleeps(seconds: &str) -> bool {
    !processes(|arguments, _| arguments == format!("sleep\0{seconds}\0")).is_empty()
}
