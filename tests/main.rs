//! The end-to-end tests: real Docker, Caddy, git and ssh, through the doors a user has. A module a noun; each test has
//! an instance of its own, with its own root, ports and subnet, so that they run side by side.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a test may panic, and say why")]

mod browser;
mod chance;
mod harness;
mod load;
mod machine;
mod pebble;
mod private_engine;
mod processes;
mod site;
mod sound;
mod untouched;

mod app_json;
mod apps;
mod architecture;
mod arguments;
mod certs;
mod checks;
mod clients;
mod commands;
mod commit;
mod completions;
mod config;
mod crashes;
mod cron;
mod databases;
mod domains;
mod events;
mod failures;
mod generated;
mod hostile;
mod hosts;
mod housekeeping;
mod images;
mod install;
mod interruptions;
mod jobs;
mod json;
mod keys;
mod kills;
mod kills_of_rules;
mod languages;
mod languages_native;
mod languages_script;
mod logs;
mod operations;
mod outages;
mod plan;
mod ports;
mod properties;
mod prose;
mod proxy;
mod push;
mod queue;
mod readme;
mod reboots;
mod releases;
mod roles;
mod routes;
mod routing;
#[path = "run.rs"]
mod runs;
mod scaling;
mod secrets;
mod serve;
mod terminals;
mod under_load;
