//! The end-to-end tests: real Docker, Caddy, git and ssh, through the doors a user has. A module a noun; each test has
//! an instance of its own, with its own root, ports and subnet, so that they run side by side.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a test may panic, and say why")]

mod harness;
mod machine;
mod processes;
mod site;
mod sound;
mod untouched;

mod apps;
mod architecture;
mod commands;
mod completions;
mod config;
mod crashes;
mod failures;
mod generated;
mod install;
mod interruptions;
mod keys;
mod outages;
mod plan;
mod push;
mod readme;
mod routing;
mod secrets;
mod serve;
