//! Every business action, a file a noun: what the command line, SSH and HTTP all call.

pub mod apps;
pub mod cleanup;
pub mod config;
pub mod deploys;
pub mod disk;
pub mod keys;
pub mod logs;
pub mod processes;
pub mod push;
