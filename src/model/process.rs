use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Result;
use super::{
    ImageCheck, Invalid, Override, Probe, ProcessSettings, RunSettings,
    command_line::shell_arguments,
    names::{checked_string, digits, is_dns_label},
};

checked_string! {
    /// A process type, such as `web` or `worker`: a DNS label, because it becomes one in a name that the edge answers.
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

    /// How many containers a type has that nobody gave a number. Other types than `web` may be tasks that somebody starts
    /// by hand, so they wait for one, as on Dokku and Heroku.
    pub fn usual_count(&self) -> u32 {
        u32::from(self.is_web())
    }
}

/// A process type, or one of its containers, as somebody names it: `worker` or `worker.1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Which {
    /// The process type.
    pub process: ProcessType,
    /// The container's number within its type; none: all of them.
    pub position: Option<u32>,
}

impl FromStr for Which {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Which> {
        let Some((process, position)) = text.split_once('.') else {
            return Ok(Which { process: text.parse()?, position: None });
        };
        let position = digits(position).filter(|position| *position > 0).ok_or_else(|| Invalid {
            what: "container",
            value: text.to_owned(),
            rule: "it is TYPE.NUMBER, such as worker.1".to_owned(),
        })?;
        Ok(Which { process: process.parse()?, position: Some(position) })
    }
}

impl fmt::Display for Which {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some(position) => write!(formatter, "{}.{position}", self.process),
            None => write!(formatter, "{}", self.process),
        }
    }
}

/// A process type of a release: what it runs, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// The type.
    pub process: ProcessType,
    /// A command line for `/bin/sh -c` inside the container; none: the image's own command.
    pub command: Option<String>,
    /// How many containers the source asks for, where nobody scaled the type.
    pub quantity: Option<u32>,
    /// What the source says about how it runs.
    pub declared: ProcessSettings,
    /// How the image checks itself, where it is the web process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_check: Option<ImageCheck>,
    /// How it runs: what the server was told, over what the source says, over what the image says, over the defaults.
    pub run: RunSettings,
}

impl ProcessSpec {
    /// A process type as its source describes it.
    ///
    /// # Errors
    /// `Invalid` where a setting does not fit the type, such as an HTTP check of a worker without
    /// a port.
    pub fn new(
        process: ProcessType,
        command: Option<String>,
        quantity: Option<u32>,
        declared: ProcessSettings,
    ) -> Result<ProcessSpec> {
        let run = declared.resolve(&process)?;
        Ok(ProcessSpec { process, command, quantity, declared, image_check: None, run })
    }

    /// The same, run as the server was told now.
    ///
    /// # Errors
    /// As [`ProcessSpec::new`].
    pub fn with_overrides(&self, overrides: &[Override]) -> Result<ProcessSpec> {
        let told = ProcessSettings::of_overrides(overrides, &self.process);
        let settings = told.over(&self.declared);
        let mut run = settings.resolve(&self.process)?;
        if let Some(image) = &self.image_check
            && self.process.is_web()
            && !settings.say_what_is_asked()
        {
            image.fill(&mut run.check, &settings);
        }
        Ok(ProcessSpec { run, ..self.clone() })
    }

    /// Has it checked by a connection to a port that is relayed, unless it was said how it is checked, or its image says it.
    /// `port`: none for that of the web process.
    pub fn check_connections(&mut self, port: Option<u16>, overrides: &[Override]) {
        let told = ProcessSettings::of_overrides(overrides, &self.process);
        let is_of_image = matches!(self.run.check.probe, Probe::Image(_));
        if !is_of_image && !told.over(&self.declared).say_what_is_asked() {
            self.run.check.probe = Probe::Tcp { port };
        }
    }

    /// The same for people and for tables that anybody may read: values that may be secret are masked.
    #[must_use]
    pub fn masked(&self) -> ProcessSpec {
        let run = RunSettings { check: self.run.check.masked(), ..self.run.clone() };
        ProcessSpec { declared: self.declared.masked(), run, ..self.clone() }
    }

    /// How many containers it is meant to have: as many as it is scaled to, as many as its source asks for if nobody
    /// scaled it; else `web` has one, and any other type none. The first entry of a type counts.
    pub fn count(&self, scaled: &[(ProcessType, u32)]) -> u32 {
        self.asked(scaled).unwrap_or_else(|| self.process.usual_count())
    }

    /// How many containers somebody asked for, on the server or in the source.
    pub fn asked(&self, scaled: &[(ProcessType, u32)]) -> Option<u32> {
        let scaled = scaled.iter().find(|(process, _)| *process == self.process);
        scaled.map(|(_, count)| *count).or(self.quantity)
    }

    /// The arguments that start its command inside the container; none: the image's own command.
    pub fn arguments(&self) -> Option<[String; 3]> {
        self.command.as_deref().map(shell_arguments)
    }

    /// Whether a container of `self` serves for `other` too, so that nothing needs to be started.
    pub fn runs_like(&self, other: &ProcessSpec) -> bool {
        let RunSettings { memory_mib, cpu_millis, .. } = self.run;
        self.process == other.process
            && self.command == other.command
            && memory_mib == other.run.memory_mib
            && cpu_millis == other.run.cpu_millis
            && self.run.containment == other.run.containment
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Probe, Scope, property};

    #[test]
    fn a_type_has_as_many_containers_as_it_is_scaled_to_then_as_its_source_asks_for() -> Result<()> {
        let worker: ProcessType = "worker".parse()?;
        let spec = |quantity| ProcessSpec::new(worker.clone(), None, quantity, ProcessSettings::default());
        assert_eq!(spec(None)?.count(&[]), 0, "a type that nobody asked for may be a task");
        assert_eq!(spec(None)?.count(&[(worker.clone(), 2)]), 2);
        assert_eq!(ProcessSpec::new(ProcessType::web(), None, None, ProcessSettings::default())?.count(&[]), 1);
        assert_eq!(spec(Some(3))?.count(&[(ProcessType::web(), 2)]), 3);
        assert_eq!(spec(Some(3))?.count(&[(worker.clone(), 0)]), 0);
        Ok(())
    }

    #[test]
    fn a_type_or_one_of_its_containers_is_named() -> Result<()> {
        for text in ["web", "my-worker.12"] {
            assert_eq!(text.parse::<Which>()?.to_string(), text);
        }
        for bad in ["", "web.", "web.0", "web.x", ".1", "Web", "web.1.2"] {
            assert!(bad.parse::<Which>().is_err(), "{bad:?}");
        }
        Ok(())
    }

    #[test]
    fn the_image_says_how_web_is_checked_where_nobody_else_does() -> Result<()> {
        let image_check = Some(ImageCheck {
            arguments: vec!["up".to_owned()],
            interval_seconds: Some(20),
            timeout_seconds: None,
            start_seconds: Some(30),
            attempts: Some(5),
        });
        let spec = |process: &str| {
            let spec = ProcessSpec::new(process.parse()?, None, None, ProcessSettings::default())?;
            Ok(ProcessSpec { image_check: image_check.clone(), ..spec })
        };
        let set = |property, value: &str| {
            let scope = Scope::Process(ProcessType::web());
            [Override { scope, property, value: value.to_owned() }]
        };
        let image = Probe::Image(vec!["up".to_owned()]);
        let check = spec("web")?.with_overrides(&[])?.run.check;
        assert_eq!(check.probe, image);
        assert_eq!((check.timeout_seconds, check.try_timeout_seconds), (90, 5));
        assert_eq!((check.interval_seconds, check.attempts), (20, 5));
        assert_eq!(spec("worker")?.with_overrides(&[])?.run.check.probe, Probe::Up);
        let check = spec("web")?.with_overrides(&set(&property::CHECK_TIMEOUT, "10s"))?.run.check;
        assert_eq!((&check.probe, check.timeout_seconds), (&image, 10), "a time says nothing of what is asked");
        for (property, value) in [
            (&property::CHECK_TYPE, "http"),
            (&property::CHECK_PATH, "/up"),
            (&property::CHECK_PORT, "9000"),
            (&property::CHECK_COMMAND, "true"),
        ] {
            let check = spec("web")?.with_overrides(&set(property, value))?.run.check;
            assert!(!matches!(check.probe, Probe::Image(_)) && check.timeout_seconds == 60, "{property}");
        }
        Ok(())
    }

    #[test]
    fn a_port_of_its_own_is_checked_by_a_connection_unless_it_was_said_how() -> Result<()> {
        let checked = |process: &str, port: Option<u16>, overrides: &[Override]| -> Result<Probe> {
            let spec = ProcessSpec::new(process.parse()?, None, None, ProcessSettings::default())?;
            let mut spec = spec.with_overrides(overrides)?;
            spec.check_connections(port, overrides);
            Ok(spec.run.check.probe)
        };
        assert_eq!(checked("broker", Some(1883), &[])?, Probe::Tcp { port: Some(1883) });
        assert_eq!(checked("web", None, &[])?, Probe::Tcp { port: None });
        let set = |property, value: &str| {
            [Override { scope: Scope::Process(ProcessType::web()), property, value: value.to_owned() }]
        };
        assert_eq!(checked("web", None, &set(&property::CHECK_TIMEOUT, "10s"))?, Probe::Tcp { port: None });
        for (property, value) in [(&property::CHECK_TYPE, "http"), (&property::CHECK_PATH, "/up")] {
            assert!(matches!(checked("web", None, &set(property, value))?, Probe::Http(_)), "{property}");
        }
        let image = ImageCheck {
            arguments: vec!["up".to_owned()],
            interval_seconds: None,
            timeout_seconds: None,
            start_seconds: None,
            attempts: None,
        };
        let spec = ProcessSpec::new(ProcessType::web(), None, None, ProcessSettings::default())?;
        let mut spec = ProcessSpec { image_check: Some(image), ..spec }.with_overrides(&[])?;
        spec.check_connections(None, &[]);
        assert!(matches!(spec.run.check.probe, Probe::Image(_)));
        Ok(())
    }
}
