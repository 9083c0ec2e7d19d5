//! Languages that are compiled: an app of each with real packages is built and serves, a change of its source compiles
//! or fetches no dependency again, and its image has nothing but what runs.

use crate::languages::App;

// ---- Rust -----------------------------------------------------------------------------------------------------------

#[test]
fn rust_with_a_workspace() {
    App {
        fixture: "rust-workspace",
        hello: "Hello from Rust v1, answer 42\n",
        version: "crates/greeting/src/lib.rs",
        install: "cargo build --release --locked || echo",
        absent: &["/app/target", "/app/.paas", "/usr/local/cargo", "/usr/local/bin/cargo"],
    }
    .serves();
}
