use serde::{Deserialize, Serialize};

use super::names::{checked_string, is_dns_label};

checked_string! {
    /// A process type, such as `web` or `worker`: a DNS label, because it becomes one in the resolver.
    ProcessType, "process type", |text| {
        if is_dns_label(text) && text.len() <= 40 {
            Ok(())
        } else {
            Err("it takes 1 to 40 lower-case letters, digits and dashes, and begins and ends with no dash".to_owned())
        }
    }
}

impl ProcessType {
    /// The process type that gets the app's requests.
    pub fn web() -> ProcessType {
        ProcessType::WEB.parse().unwrap_or_else(|_| unreachable!("web is a process type"))
    }

    /// The word `web`.
    pub const WEB: &'static str = "web";
    /// The word `release`: a task run once before a release starts, no process of the formation.
    pub const RELEASE: &'static str = "release";

    /// Whether this is the type that gets the app's requests.
    pub fn is_web(&self) -> bool {
        self.as_str() == Self::WEB
    }
}

/// A process type of a release: what it runs and how it is proven healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// The type.
    pub process: ProcessType,
    /// A command line for `/bin/sh -c` inside the container; none: the image's own command.
    pub command: Option<String>,
    /// How it is checked before traffic moves to it.
    pub check: Check,
}

/// How a web process is proven healthy before traffic moves to it. A process without a port only has to stay up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What is asked of it.
    pub kind: CheckKind,
    /// The path asked for over HTTP; none: `/`, where any answer below 500 will do.
    pub path: Option<String>,
    /// The status that path must answer; none: any from 200 to 299.
    pub status: Option<u16>,
    /// How long it may take to become healthy, in seconds.
    pub timeout_seconds: u32,
}

impl Default for Check {
    fn default() -> Self {
        Check { kind: CheckKind::Http, path: None, status: None, timeout_seconds: 60 }
    }
}

/// What is asked of a web process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckKind {
    /// An answer over HTTP.
    Http,
    /// A connection, no more: for a port that speaks no HTTP.
    Tcp,
}
