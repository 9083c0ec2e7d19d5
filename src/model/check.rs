use serde::{Deserialize, Serialize};

use super::{MASK, ProcessSettings, property};

/// How a process is proven healthy: before traffic moves to it, and then for as long as it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What part it plays in a deploy.
    pub mode: CheckMode,
    /// What is asked of it.
    pub probe: Probe,
    /// How long it may take to become healthy, in seconds.
    pub timeout_seconds: u32,
    /// How long one try may take, in seconds.
    pub try_timeout_seconds: u32,
    /// How long to leave a new container alone before the first try, in seconds.
    pub initial_delay_seconds: u32,
    /// The time between two checks of a container that serves, in seconds.
    pub interval_seconds: u32,
    /// How many checks in a row fail before a container that serves counts as unhealthy.
    pub attempts: u32,
}

/// What part the check plays in a deploy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckMode {
    /// New containers are proven before traffic moves to them.
    Enabled,
    /// Nothing is checked: new containers get traffic as soon as they run.
    Skipped,
    /// The old containers are stopped before the new ones start, for an app of which two cannot run at once.
    Disabled,
}

impl Check {
    /// Whether it is one that [`Check::masked`] made, because what it says could not be opened.
    pub fn is_masked(&self) -> bool {
        matches!(&self.probe, Probe::Http(probe) if probe.headers.iter().any(|(_, value)| value == MASK))
    }

    /// The same for people: what its headers say is masked, because it may be a password.
    #[must_use]
    pub fn masked(&self) -> Check {
        let mut check = self.clone();
        if let Probe::Http(probe) = &mut check.probe {
            probe.headers.iter_mut().for_each(|(_, value)| *value = MASK.to_owned());
        }
        check
    }
}

impl CheckMode {
    /// The word for it, as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            CheckMode::Enabled => "enabled",
            CheckMode::Skipped => "skipped",
            CheckMode::Disabled => "disabled",
        }
    }
}

/// What is asked of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    /// An answer over HTTP.
    Http(HttpProbe),
    /// A connection, no more: for a port that speaks no HTTP.
    Tcp {
        /// The port; none: the one the web process listens on.
        port: Option<u16>,
    },
    /// A command line for `/bin/sh -c` inside the container that exits with 0.
    Command(String),
    /// The HEALTHCHECK of the image: arguments that are run inside the container and exit with 0. The port of the web
    /// process takes connections besides, because the command asks from the inside.
    Image(Vec<String>),
    /// That it stays up.
    Up,
}

/// The HEALTHCHECK of an image: how the web process is checked where nobody said it otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageCheck {
    /// What is run inside the container.
    pub arguments: Vec<String>,
    /// The time between two checks, in seconds, where the image says it; so for the others.
    pub interval_seconds: Option<u32>,
    /// How long one may take.
    pub timeout_seconds: Option<u32>,
    /// How long the program may take to start, before failures count.
    pub start_seconds: Option<u32>,
    /// How many failures in a row count.
    pub attempts: Option<u32>,
}

impl ImageCheck {
    /// What is run, in a line for people.
    pub fn words(arguments: &[String]) -> String {
        match arguments {
            [shell, option, line] if shell.ends_with("sh") && option == "-c" => line.clone(),
            arguments => shell_words::join(arguments),
        }
    }

    /// The check with what the image says, for all that nobody set.
    pub(super) fn fill(&self, check: &mut Check, set: &ProcessSettings) {
        let longest = |seconds: u32| seconds.min(3600);
        if set.get(&property::CHECK_TIMEOUT).is_none() {
            check.timeout_seconds = longest(check.timeout_seconds.saturating_add(self.start_seconds.unwrap_or(0)));
        }
        for (property, value, place) in [
            (&property::CHECK_TRY_TIMEOUT, self.timeout_seconds, &mut check.try_timeout_seconds),
            (&property::CHECK_INTERVAL, self.interval_seconds, &mut check.interval_seconds),
            (&property::CHECK_ATTEMPTS, self.attempts.map(|attempts| attempts.min(100)), &mut check.attempts),
        ] {
            if let (None, Some(value)) = (set.get(property), value) {
                *place = longest(value).max(1);
            }
        }
        check.probe = Probe::Image(self.arguments.clone());
    }
}

/// A question over HTTP, and the answer it should get.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpProbe {
    /// The path; none: `/`, where any answer below 500 will do.
    pub path: Option<String>,
    /// The port; none: the one the web process listens on.
    pub port: Option<u16>,
    /// The status it must answer; none: any from 200 to 299 of a path that was set.
    pub status: Option<u16>,
    /// What the answer's body must contain.
    pub text: Option<String>,
    /// Headers of the question, beside `Host` and `X-Forwarded-Proto`.
    pub headers: Vec<(String, String)>,
}

impl HttpProbe {
    /// The path that is asked for.
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or("/")
    }

    /// Whether a status will do: a path of the user's must answer as they said, 2xx where they did not; else anything
    /// below 500 is a sign of life.
    pub fn accepts(&self, status: u16) -> bool {
        match (self.status, &self.path) {
            (Some(expected), _) => status == expected,
            (None, Some(_)) => (200..300).contains(&status),
            (None, None) => status < 500,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_as_healthy_depends_on_who_chose_the_path() {
        let any = HttpProbe::default();
        assert!(any.accepts(404));
        assert!(any.accepts(302));
        assert!(!any.accepts(502));
        let path = HttpProbe { path: Some("/up".to_owned()), ..HttpProbe::default() };
        assert!(path.accepts(204));
        assert!(!path.accepts(302));
        let exact = HttpProbe { status: Some(401), ..path };
        assert!(exact.accepts(401));
        assert!(!exact.accepts(200));
    }
}
