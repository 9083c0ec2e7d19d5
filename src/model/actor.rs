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
            // It is a word of lines that people read.
            _ if text.contains(char::is_control) => {
                Err(Invalid { what: "actor", value: text.to_owned(), rule: "it has no control characters".to_owned() })
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_read_as_it_is_written_and_is_in_one_line() {
        for text in ["local:root", "local:j.doe", "key:ann laptop", "key:a:b", "daemon", "guest"] {
            assert_eq!(text.parse::<Actor>().unwrap().to_string(), text);
        }
        for text in ["", "root", "web:ann", "local:root\0", "key:a\nb", "key:\u{1b}[31m", "daemon\n"] {
            assert!(text.parse::<Actor>().is_err(), "{text:?}");
        }
    }
}
