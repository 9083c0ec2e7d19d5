//! The end-to-end tests: real Docker, Caddy, git and ssh, through the doors a user has. A module a noun; each test has
//! an instance of its own, with its own root, ports and subnet, so that they run side by side.

mod harness;
mod machine;

mod apps;
mod commands;
mod config;
mod install;
mod keys;
mod serve;
