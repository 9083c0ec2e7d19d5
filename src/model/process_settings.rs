use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    Capability, Check, CheckMode, Containment, HttpProbe, Invalid, MASK, Override, Probe, ProcessType, Property,
    Result,
    names::digits,
    property::{self, Default, Value},
    value,
};

/// Settings of a process type, as somebody wrote them; each was checked when it was set.
#[derive(Clone, Debug, std::default::Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProcessSettings(BTreeMap<&'static Property, String>);

/// How a process type runs, all defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSettings {
    /// How it is proven healthy.
    pub check: Check,
    /// Seconds between SIGTERM and SIGKILL.
    pub stop_timeout_seconds: u32,
    /// Seconds that requests in flight may go on before SIGTERM.
    pub drain_timeout_seconds: u32,
    /// Whether a container that ended is started again.
    pub restart: RestartPolicy,
    /// Memory limit in MiB; none: unlimited.
    pub memory_mib: Option<u32>,
    /// CPU limit in thousandths of a CPU; none: unlimited.
    pub cpu_millis: Option<u32>,
    /// What keeps it apart from others; none: it is of a release that was made before there was anything of the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containment: Option<Containment>,
}

/// Whether a container that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum RestartPolicy {
    /// Whatever its exit code, also after a reboot.
    Always,
    /// After an exit code other than 0; at most so often in a row, where a number is given.
    OnFailure(Option<u32>),
    /// Never.
    No,
}

impl ProcessSettings {
    /// Sets one of them.
    ///
    /// # Errors
    /// [`Invalid`] with the rule.
    pub fn set(&mut self, property: &'static Property, value: &str) -> Result<()> {
        let value = value.trim();
        property.value(value)?;
        self.0.insert(property, value.to_owned());
        Ok(())
    }

    /// The value that was set.
    pub fn get(&self, property: &Property) -> Option<&str> {
        self.0.get(property).map(String::as_str)
    }

    /// These where they are set, else those below.
    #[must_use]
    pub fn over(&self, below: &ProcessSettings) -> ProcessSettings {
        let mut settings = below.0.clone();
        settings.extend(self.0.clone());
        ProcessSettings(settings)
    }

    /// The same for people: masked where it is secret.
    #[must_use]
    pub fn masked(&self) -> ProcessSettings {
        ProcessSettings(self.0.iter().map(|(property, value)| (*property, property.shown(value))).collect())
    }

    /// What is set on the server for a process type: of each property the nearest value.
    pub fn of_overrides(overrides: &[Override], process: &ProcessType) -> ProcessSettings {
        let nearest = overrides.iter().filter_map(|row| property::nearest(overrides, row.property, Some(process)));
        ProcessSettings(nearest.map(|row| (row.property, row.value.clone())).collect())
    }

    /// Whether they say what is asked of a container, and not only how long it may take.
    pub(super) fn say_what_is_asked(&self) -> bool {
        let asked = [
            &property::CHECK_TYPE,
            &property::CHECK_PATH,
            &property::CHECK_PORT,
            &property::CHECK_STATUS,
            &property::CHECK_TEXT,
            &property::CHECK_HEADERS,
            &property::CHECK_COMMAND,
        ];
        asked.iter().any(|property| self.get(property).is_some())
    }

    /// Fills in the defaults of a process type.
    ///
    /// # Errors
    /// [`Invalid`] where settings do not fit together.
    pub fn resolve(&self, process: &ProcessType) -> Result<RunSettings> {
        let bug = |property: &Property, rule: &str| Invalid::new("property", property.to_string(), rule);
        let effective = |property: &'static Property| {
            self.get(property).or(match property.default {
                Default::Is(value) => Some(value),
                Default::Depends(_) => None,
            })
        };
        let maybe_number = |property: &'static Property| -> Result<Option<u32>> {
            match effective(property).map(|text| property.value(text)).transpose()? {
                Some(Value::Number(number)) => {
                    u32::try_from(number).map(Some).map_err(|_| bug(property, "it is too large"))
                }
                Some(Value::Switch(_) | Value::Text(_)) => Err(bug(property, "it is not a number")),
                None => Ok(None),
            }
        };
        let number =
            |property: &'static Property| maybe_number(property)?.ok_or_else(|| bug(property, "it has no default"));
        let short = |property: &'static Property| -> Result<Option<u16>> {
            Ok(maybe_number(property)?.and_then(|number| u16::try_from(number).ok()))
        };
        let text = |property: &Property| self.get(property).map(str::to_owned);
        let mode = match effective(&property::CHECK_MODE) {
            Some("skipped") => CheckMode::Skipped,
            Some("disabled") => CheckMode::Disabled,
            _ => CheckMode::Enabled,
        };
        let port = short(&property::CHECK_PORT)?;
        let command = text(&property::CHECK_COMMAND);
        let of_http = [&property::CHECK_PATH, &property::CHECK_STATUS, &property::CHECK_TEXT];
        let uses_http = process.is_web() || port.is_some() || of_http.iter().any(|it| self.get(it).is_some());
        let kind = match self.get(&property::CHECK_TYPE) {
            Some(kind) => kind,
            None if command.is_some() => "command",
            None if uses_http => "http",
            None => "up",
        };
        let invalid = |value: &str, rule: String| Invalid { what: "check", value: value.to_owned(), rule };
        let has_port = process.is_web() || port.is_some();
        if matches!(kind, "http" | "tcp") && !has_port {
            return Err(invalid(kind, format!("{process} has no port: set the check's port too")));
        }
        let probe = match kind {
            "tcp" => Probe::Tcp { port },
            "up" => Probe::Up,
            "command" => match command {
                Some(command) => Probe::Command(command),
                None => return Err(invalid(kind, "set the check's command too".to_owned())),
            },
            _ => Probe::Http(HttpProbe {
                path: text(&property::CHECK_PATH),
                port,
                status: short(&property::CHECK_STATUS)?,
                text: text(&property::CHECK_TEXT),
                headers: match self.get(&property::CHECK_HEADERS) {
                    Some(headers) => value::headers(headers).map_err(|rule| invalid(MASK, rule))?,
                    None => Vec::new(),
                },
            }),
        };
        let restart = effective(&property::RESTART).unwrap_or_default();
        Ok(RunSettings {
            check: Check {
                mode,
                probe,
                timeout_seconds: number(&property::CHECK_TIMEOUT)?,
                try_timeout_seconds: number(&property::CHECK_TRY_TIMEOUT)?,
                initial_delay_seconds: number(&property::CHECK_INITIAL_DELAY)?,
                interval_seconds: number(&property::CHECK_INTERVAL)?,
                attempts: number(&property::CHECK_ATTEMPTS)?,
            },
            stop_timeout_seconds: number(&property::STOP_TIMEOUT)?,
            drain_timeout_seconds: number(&property::DRAIN_TIMEOUT)?,
            restart: restart.parse()?,
            memory_mib: maybe_number(&property::MEMORY)?,
            cpu_millis: maybe_number(&property::CPUS)?,
            containment: Some(Containment {
                capabilities: Capability::parse_list(effective(&property::CAPABILITIES).unwrap_or("none"))?,
                pids: number(&property::PIDS)?,
                read_only: match effective(&property::READ_ONLY)
                    .map(|text| property::READ_ONLY.value(text))
                    .transpose()?
                {
                    Some(Value::Switch(read_only)) => read_only,
                    _ => false,
                },
            }),
        })
    }
}

impl From<RestartPolicy> for String {
    fn from(policy: RestartPolicy) -> String {
        policy.to_string()
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RestartPolicy::Always => formatter.pad("always"),
            RestartPolicy::OnFailure(None) => formatter.pad("on-failure"),
            RestartPolicy::OnFailure(Some(times)) => formatter.pad(&format!("on-failure:{times}")),
            RestartPolicy::No => formatter.pad("no"),
        }
    }
}

impl TryFrom<String> for RestartPolicy {
    type Error = Invalid;

    fn try_from(text: String) -> Result<RestartPolicy> {
        text.parse()
    }
}

impl FromStr for RestartPolicy {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<RestartPolicy> {
        let policy = match text.split_once(':') {
            None => match text {
                "always" | "unless-stopped" => Some(RestartPolicy::Always),
                "on-failure" => Some(RestartPolicy::OnFailure(None)),
                "no" | "never" => Some(RestartPolicy::No),
                _ => None,
            },
            Some(("on-failure", times)) => {
                digits(times).filter(|times| *times > 0).map(|times| RestartPolicy::OnFailure(Some(times)))
            }
            Some(_) => None,
        };
        policy.ok_or_else(|| Invalid {
            what: "restart policy",
            value: text.to_owned(),
            rule: "it is always, on-failure, on-failure:TIMES or no".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Error, Result,
        model::{ProcessSpec, Right, Scope},
    };

    fn settings(pairs: &[(&'static Property, &str)]) -> Result<ProcessSettings> {
        let mut settings = ProcessSettings::default();
        for (property, value) in pairs {
            settings.set(property, value)?;
        }
        Ok(settings)
    }

    #[test]
    fn defaults_depend_on_the_process_type() -> Result<()> {
        let web = ProcessSettings::default().resolve(&ProcessType::web())?;
        assert_eq!(web.check.probe, Probe::Http(HttpProbe::default()));
        assert_eq!((web.check.timeout_seconds, web.stop_timeout_seconds), (60, 10));
        let worker = ProcessSettings::default().resolve(&"worker".parse()?)?;
        assert_eq!(worker.check.probe, Probe::Up);
        Ok(())
    }

    #[test]
    fn values_are_read_as_people_write_them() -> Result<()> {
        let run = settings(&[
            (&property::CHECK_PATH, "/up"),
            (&property::CHECK_STATUS, "204"),
            (&property::CHECK_HEADERS, "X-Probe: yes; Authorization: Basic eDp5"),
            (&property::CHECK_TIMEOUT, "2m"),
            (&property::STOP_TIMEOUT, "90s"),
            (&property::RESTART, "on-failure:3"),
            (&property::MEMORY, "1.5g"),
            (&property::CPUS, "0.5"),
        ])?
        .resolve(&ProcessType::web())?;
        let Probe::Http(probe) = run.check.probe else { panic!("no HTTP probe") };
        assert_eq!(probe.headers.len(), 2);
        assert_eq!((probe.status, run.check.timeout_seconds, run.stop_timeout_seconds), (Some(204), 120, 90));
        assert_eq!(run.restart, RestartPolicy::OnFailure(Some(3)));
        assert_eq!((run.memory_mib, run.cpu_millis), (Some(1536), Some(500)));
        Ok(())
    }

    #[test]
    fn bad_values_are_refused() {
        for (property, value) in [
            (&property::CHECK_TYPE, "htp"),
            (&property::CHECK_PATH, "up"),
            (&property::CHECK_PATH, "/a b"),
            (&property::CHECK_PORT, "0"),
            (&property::CHECK_STATUS, "20"),
            (&property::CHECK_TEXT, ""),
            (&property::CHECK_HEADERS, "no colon"),
            (&property::CHECK_HEADERS, "X: a\r\nHost: b"),
            (&property::CHECK_TIMEOUT, "soon"),
            (&property::CHECK_TIMEOUT, "0"),
            (&property::CHECK_TIMEOUT, "2h"),
            (&property::CHECK_ATTEMPTS, "0"),
            (&property::STOP_TIMEOUT, "-1"),
            (&property::RESTART, "sometimes"),
            (&property::RESTART, "on-failure:0"),
            (&property::MEMORY, "512"),
            (&property::MEMORY, "1m"),
            (&property::CPUS, "0"),
            (&property::CPUS, "NaN"),
        ] {
            assert!(settings(&[(property, value)]).is_err(), "{property} {value:?}");
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused() -> Result<()> {
        let worker: ProcessType = "worker".parse()?;
        assert!(settings(&[(&property::CHECK_PATH, "/up")])?.resolve(&worker).is_err());
        assert!(settings(&[(&property::CHECK_PATH, "/up"), (&property::CHECK_PORT, "9000")])?.resolve(&worker).is_ok());
        assert!(settings(&[(&property::CHECK_TYPE, "command")])?.resolve(&worker).is_err());
        Ok(())
    }

    #[test]
    fn what_is_for_one_type_beats_what_is_for_all() -> Result<()> {
        let entry =
            |scope: Scope, value: &str| Override { scope, property: &property::MEMORY, value: value.to_owned() };
        let overrides = [entry(Scope::Process(ProcessType::web()), "1g"), entry(Scope::App, "512m")];
        let of = |process: &ProcessType| ProcessSettings::of_overrides(&overrides, process);
        assert_eq!(of(&ProcessType::web()).get(&property::MEMORY), Some("1g"));
        assert_eq!(of(&"worker".parse()?).get(&property::MEMORY), Some("512m"));
        Ok(())
    }

    #[test]
    fn a_process_is_contained_unless_its_release_is_older_than_that() -> Result<()> {
        let web = ProcessType::web();
        let run = ProcessSettings::default().resolve(&web)?;
        let expected = Containment { capabilities: Vec::new(), pids: 1024, read_only: false };
        assert_eq!(run.containment, Some(expected));
        let set = settings(&[
            (&property::CAPABILITIES, "cap_net_raw"),
            (&property::PIDS, "64"),
            (&property::READ_ONLY, "yes"),
        ])?;
        let expected = Containment { capabilities: vec![Capability::NetRaw], pids: 64, read_only: true };
        assert_eq!(set.resolve(&web)?.containment, Some(expected));
        let mut stored = serde_json::to_value(&run).map_err(Error::bug)?;
        assert_eq!(serde_json::from_value::<RunSettings>(stored.clone()).map_err(Error::bug)?, run);
        stored.as_object_mut().unwrap().remove("containment");
        let old: RunSettings = serde_json::from_value(stored).map_err(Error::bug)?;
        assert_eq!(old.containment, None);
        let spec = ProcessSpec::new(web, None, None, ProcessSettings::default())?;
        let former = ProcessSpec { run: old, ..spec.clone() };
        assert!(!spec.runs_like(&former) && former.runs_like(&former.clone()), "the next release contains it");
        Ok(())
    }

    #[test]
    fn more_rights_are_an_administrators_to_give() {
        let right = |property: &Property, value: &str| (property.right)(value);
        for (property, value) in
            [(&property::CAPABILITIES, "NET_RAW"), (&property::PIDS, "1025"), (&property::PIDS, "x")]
        {
            assert_eq!(right(property, value), Right::Administer, "{property} {value}");
        }
        for (property, value) in [
            (&property::CAPABILITIES, "none"),
            (&property::CAPABILITIES, ""),
            (&property::PIDS, "1024"),
            (&property::PIDS, ""),
            (&property::READ_ONLY, "true"),
        ] {
            assert_eq!(right(property, value), Right::Change, "{property} {value}");
        }
    }

    #[test]
    fn what_a_release_of_0_1_0_declares_is_understood() -> Result<()> {
        let stored = r#"{"check-path": "/up", "memory": "64m"}"#;
        let read: ProcessSettings = serde_json::from_str(stored).map_err(Error::bug)?;
        assert_eq!(read, settings(&[(&property::CHECK_PATH, "/up"), (&property::MEMORY, "64m")])?);
        let again = serde_json::to_string(&read).map_err(Error::bug)?;
        assert_eq!(serde_json::from_str::<ProcessSettings>(&again).map_err(Error::bug)?, read);
        Ok(())
    }
}
