//! Every business action, a file a noun: what the command line, SSH and HTTP all call.

pub mod keys;
