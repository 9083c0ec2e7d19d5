use std::{fmt, str::FromStr};

use super::{Invalid, Result};

/// Who does something: said in locks, deployments and releases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A user of this machine, by name.
    Local(String),
    /// The holder of an SSH key, by the key's name.
    Key(String),
    /// The daemon itself.
    Daemon,
    /// Somebody who has not said who they are.
    Guest,
}

impl fmt::Display for Actor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::Local(user) => write!(formatter, "local:{user}"),
            Actor::Key(name) => write!(formatter, "key:{name}"),
            Actor::Daemon => formatter.write_str("daemon"),
            Actor::Guest => formatter.write_str("guest"),
        }
    }
}

impl FromStr for Actor {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some(("local", user)) => Ok(Actor::Local(user.to_owned())),
            Some(("key", name)) => Ok(Actor::Key(name.to_owned())),
            None if text == "daemon" => Ok(Actor::Daemon),
            None if text == "guest" => Ok(Actor::Guest),
            _ => Err(Invalid {
                what: "actor",
                value: text.to_owned(),
                rule: "it is local:USER, key:NAME, daemon or guest".to_owned(),
            }),
        }
    }
}
