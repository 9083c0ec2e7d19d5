//! The end-to-end tests: real Docker, Caddy, git and ssh, through the doors a user has. A module a noun; each test has
//! an instance of its own, with its own root, ports and subnet, so that they run side by side.

mod harness;
mod machine;
mod untouched;

mod apps;
mod architecture;
mod completions;
mod config;
mod failures;
mod generated;
mod interruptions;
mod keys;
mod readme;
mod serve;
