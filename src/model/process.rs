use serde::{Deserialize, Serialize};

use super::Result;
use super::{
    Override, ProcessSettings, RunSettings,
    command_line::shell_arguments,
    names::{checked_string, is_dns_label},
};

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
    /// How it runs: what the server was told, over what the source says, over the defaults.
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
        Ok(ProcessSpec { process, command, quantity, declared, run })
    }

    /// The same, run as the server was told now.
    ///
    /// # Errors
    /// As [`ProcessSpec::new`].
    pub fn with_overrides(&self, overrides: &[Override]) -> Result<ProcessSpec> {
        let told = ProcessSettings::of_overrides(overrides, &self.process);
        let run = told.over(&self.declared).resolve(&self.process)?;
        Ok(ProcessSpec { run, ..self.clone() })
    }

    /// The same for people and for tables that anybody may read: values that may be secret are masked.
    #[must_use]
    pub fn masked(&self) -> ProcessSpec {
        let run = RunSettings { check: self.run.check.masked(), ..self.run.clone() };
        ProcessSpec { declared: self.declared.masked(), run, ..self.clone() }
    }

    /// How many containers it is meant to have: as many as it is scaled to, as many as its source asks for if nobody
    /// scaled it, or one. The first entry of a type counts.
    pub fn count(&self, scaled: &[(ProcessType, u32)]) -> u32 {
        let scaled = scaled.iter().find(|(process, _)| *process == self.process);
        scaled.map(|(_, count)| *count).or(self.quantity).unwrap_or(1)
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_has_as_many_containers_as_it_is_scaled_to_then_as_its_source_asks_for() -> Result<()> {
        let worker: ProcessType = "worker".parse()?;
        let spec = |quantity| ProcessSpec::new(worker.clone(), None, quantity, ProcessSettings::default());
        assert_eq!(spec(None)?.count(&[]), 1);
        assert_eq!(spec(Some(3))?.count(&[(ProcessType::web(), 2)]), 3);
        assert_eq!(spec(Some(3))?.count(&[(worker.clone(), 0)]), 0);
        Ok(())
    }
}
