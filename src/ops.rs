//! Every business action, a file a noun: what the command line, SSH and HTTP all call.

pub mod access;
pub mod apps;
pub mod buildpacks;
pub mod checks;
pub mod cleanup;
pub mod config;
pub mod database;
pub mod deploys;
pub mod disk;
pub mod domains;
pub mod edit;
pub mod events;
pub mod jobs;
pub mod keys;
pub mod logs;
pub mod maintenance;
pub mod operations;
pub mod processes;
pub mod properties;
pub mod push;
pub mod redirects;
pub mod releases;
pub mod report;
pub mod resolution;
pub mod secrets;
mod seen;
pub mod settings;
