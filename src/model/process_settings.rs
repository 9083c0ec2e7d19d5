use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Check, CheckMode, HttpProbe, ProcessType};
use super::{Invalid, Probe, Result};

/// A setting of a process type. A source sets it (`paas.toml`, `app.json`) and so does the server (`checks:set`,
/// `ps:set`), in the same words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setting {
    /// What is asked of it: `http`, `tcp`, `command` or `up`.
    CheckType,
    /// The path asked for over HTTP.
    CheckPath,
    /// The port asked.
    CheckPort,
    /// The HTTP status that is healthy.
    CheckStatus,
    /// What the answer must contain.
    CheckText,
    /// Headers of the question.
    CheckHeaders,
    /// A command inside the container.
    CheckCommand,
    /// Time to become healthy.
    CheckTimeout,
    /// Time of one try.
    CheckTryTimeout,
    /// Time before the first try.
    CheckInitialDelay,
    /// Time between checks of a container that serves.
    CheckInterval,
    /// Failures in a row that make one unhealthy.
    CheckAttempts,
    /// Enabled, skipped or disabled.
    CheckMode,
    /// Time between SIGTERM and SIGKILL.
    StopTimeout,
    /// Time for requests in flight and streams to end, before SIGTERM.
    DrainTimeout,
    /// Whether a container that ended is started again.
    Restart,
    /// Memory limit.
    Memory,
    /// CPU limit.
    Cpus,
}

/// Which command and which table of `paas.toml` a setting belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingGroup {
    /// `checks:set`, `[checks]`.
    Checks,
    /// `ps:set`, `[processes.TYPE]`.
    Processes,
}

/// The longest time a setting can say, in seconds.
const LONGEST: u32 = 3600;

impl Setting {
    /// All of them.
    pub const ALL: [Setting; 18] = [
        Setting::CheckType,
        Setting::CheckPath,
        Setting::CheckPort,
        Setting::CheckStatus,
        Setting::CheckText,
        Setting::CheckHeaders,
        Setting::CheckCommand,
        Setting::CheckTimeout,
        Setting::CheckTryTimeout,
        Setting::CheckInitialDelay,
        Setting::CheckInterval,
        Setting::CheckAttempts,
        Setting::CheckMode,
        Setting::StopTimeout,
        Setting::DrainTimeout,
        Setting::Restart,
        Setting::Memory,
        Setting::Cpus,
    ];

    /// The group it belongs to.
    pub fn group(self) -> SettingGroup {
        match self {
            Setting::StopTimeout | Setting::DrainTimeout | Setting::Restart | Setting::Memory | Setting::Cpus => {
                SettingGroup::Processes
            }
            _ => SettingGroup::Checks,
        }
    }

    /// Its name within its group, as typed after `checks:set` and `ps:set`; `paas.toml` takes `_` for `-` too.
    pub fn name(self) -> &'static str {
        match self {
            Setting::CheckType => "type",
            Setting::CheckPath => "path",
            Setting::CheckPort => "port",
            Setting::CheckStatus => "status",
            Setting::CheckText => "text",
            Setting::CheckHeaders => "headers",
            Setting::CheckCommand => "command",
            Setting::CheckTimeout => "timeout",
            Setting::CheckTryTimeout => "try-timeout",
            Setting::CheckInitialDelay => "initial-delay",
            Setting::CheckInterval => "interval",
            Setting::CheckAttempts => "attempts",
            Setting::CheckMode => "mode",
            Setting::StopTimeout => "stop-timeout",
            Setting::DrainTimeout => "drain-timeout",
            Setting::Restart => "restart",
            Setting::Memory => "memory",
            Setting::Cpus => "cpus",
        }
    }

    /// What it means and what it takes, for the reference.
    pub fn about(self) -> &'static str {
        match self {
            Setting::CheckType => "what is asked: http, tcp (a connection), command, or up (that it stays up)",
            Setting::CheckPath => "the path asked for over HTTP; one that is set must answer 2xx",
            Setting::CheckPort => "the port asked; by default the one the web process listens on",
            Setting::CheckStatus => "the HTTP status that is healthy, such as 401",
            Setting::CheckText => "a text that the answer must contain",
            Setting::CheckHeaders => "headers of the question: `Name: value; Other: value`",
            Setting::CheckCommand => "a command line run inside the container that exits with 0",
            Setting::CheckTimeout => "how long a new container may take to become healthy (60s)",
            Setting::CheckTryTimeout => "how long one try may take (5s)",
            Setting::CheckInitialDelay => "how long a new container is left alone before the first try (0s)",
            Setting::CheckInterval => "the time between checks of a container that serves (10s)",
            Setting::CheckAttempts => "how many checks in a row fail before it is unhealthy (3)",
            Setting::CheckMode => {
                "enabled; skipped: new containers get traffic unproven; disabled: the old are stopped before the new start"
            }
            Setting::StopTimeout => "the time between SIGTERM and SIGKILL (10s)",
            Setting::DrainTimeout => "how long requests in flight and streams may go on before SIGTERM (30s)",
            Setting::Restart => "whether a container that ended is started again: always, on-failure[:TIMES], no",
            Setting::Memory => "the memory a container may use, such as 512m or 2g; unlimited if not set",
            Setting::Cpus => "the CPUs a container may use, such as 0.5 or 2; unlimited if not set",
        }
    }

    /// The setting of a group by its name.
    pub fn find(group: SettingGroup, name: &str) -> Option<Setting> {
        let name = name.replace('_', "-");
        Setting::ALL.into_iter().find(|setting| setting.group() == group && setting.name() == name)
    }

    /// The names of a group's settings.
    pub fn names(group: SettingGroup) -> Vec<&'static str> {
        Setting::ALL.into_iter().filter(|setting| setting.group() == group).map(Setting::name).collect()
    }

    /// The word it is stored under.
    pub fn stored(self) -> String {
        match self.group() {
            SettingGroup::Checks => format!("check-{}", self.name()),
            SettingGroup::Processes => self.name().to_owned(),
        }
    }

    /// Reads the word it is stored under.
    ///
    /// # Errors
    /// [`Invalid`] where paas does not write such a word.
    pub fn parse_stored(word: &str) -> Result<Setting> {
        Setting::ALL
            .into_iter()
            .find(|setting| setting.stored() == word)
            .ok_or_else(|| Invalid::stored("process setting", word))
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// A setting that the server was told, over what the source says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// The process type it is for; none: for all.
    pub process: Option<ProcessType>,
    /// The setting.
    pub setting: Setting,
    /// Its value, as typed.
    pub value: String,
}

/// Settings of a process type, as somebody wrote them; each was checked when it was set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProcessSettings(BTreeMap<Setting, String>);

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
    pub fn set(&mut self, setting: Setting, value: &str) -> Result<()> {
        let value = value.trim();
        parse(setting, value)?;
        self.0.insert(setting, value.to_owned());
        Ok(())
    }

    /// The value that was set.
    pub fn get(&self, setting: Setting) -> Option<&str> {
        self.0.get(&setting).map(String::as_str)
    }

    /// What was set, by setting.
    pub fn iter(&self) -> impl Iterator<Item = (Setting, &str)> {
        self.0.iter().map(|(setting, value)| (*setting, value.as_str()))
    }

    /// These where they are set, else those below.
    #[must_use]
    pub fn over(&self, below: &ProcessSettings) -> ProcessSettings {
        let mut settings = below.0.clone();
        settings.extend(self.0.clone());
        ProcessSettings(settings)
    }

    /// What the server was told for a process type: for it alone, over what is for all.
    pub fn of_overrides(overrides: &[Override], process: &ProcessType) -> ProcessSettings {
        let mut settings = BTreeMap::new();
        for of_all in [true, false] {
            for entry in overrides {
                let is_meant = match &entry.process {
                    None => of_all,
                    Some(own) => !of_all && own == process,
                };
                if is_meant {
                    settings.insert(entry.setting, entry.value.clone());
                }
            }
        }
        ProcessSettings(settings)
    }

    /// Fills in the defaults of a process type.
    ///
    /// # Errors
    /// [`Invalid`] where settings do not fit together.
    pub fn resolve(&self, process: &ProcessType) -> Result<RunSettings> {
        let number = |setting: Setting, default: u32| match self.get(setting) {
            Some(value) => parse(setting, value).map(Parsed::number),
            None => Ok(default),
        };
        let maybe_number = |setting: Setting| -> Result<Option<u32>> {
            self.get(setting).map(|value| parse(setting, value).map(Parsed::number)).transpose()
        };
        let short = |setting: Setting| -> Result<Option<u16>> {
            Ok(maybe_number(setting)?.and_then(|number| u16::try_from(number).ok()))
        };
        let text = |setting: Setting| self.get(setting).map(str::to_owned);
        let mode = match self.get(Setting::CheckMode) {
            Some("skipped") => CheckMode::Skipped,
            Some("disabled") => CheckMode::Disabled,
            _ => CheckMode::Enabled,
        };
        let port = short(Setting::CheckPort)?;
        let command = text(Setting::CheckCommand);
        let asks_http = process.is_web()
            || port.is_some()
            || [Setting::CheckPath, Setting::CheckStatus, Setting::CheckText].iter().any(|it| self.get(*it).is_some());
        let kind = match self.get(Setting::CheckType) {
            Some(kind) => kind,
            None if command.is_some() => "command",
            None if asks_http => "http",
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
                path: text(Setting::CheckPath),
                port,
                status: short(Setting::CheckStatus)?,
                text: text(Setting::CheckText),
                headers: self.get(Setting::CheckHeaders).map(parse_headers).transpose()?.unwrap_or_default(),
            }),
        };
        let restart = match self.get(Setting::Restart) {
            Some(value) => value.parse()?,
            None => RestartPolicy::Always,
        };
        Ok(RunSettings {
            check: Check {
                mode,
                probe,
                timeout_seconds: number(Setting::CheckTimeout, 60)?,
                try_timeout_seconds: number(Setting::CheckTryTimeout, 5)?,
                initial_delay_seconds: number(Setting::CheckInitialDelay, 0)?,
                interval_seconds: number(Setting::CheckInterval, 10)?,
                attempts: number(Setting::CheckAttempts, 3)?,
            },
            stop_timeout_seconds: number(Setting::StopTimeout, 10)?,
            drain_timeout_seconds: number(Setting::DrainTimeout, 30)?,
            restart,
            memory_mib: maybe_number(Setting::Memory)?,
            cpu_millis: maybe_number(Setting::Cpus)?,
        })
    }
}

/// A value that was read: a number where the setting is one.
enum Parsed {
    Number(u32),
    Text,
}

impl Parsed {
    fn number(self) -> u32 {
        match self {
            Parsed::Number(number) => number,
            Parsed::Text => 0,
        }
    }
}

/// Reads a value of a setting; times in seconds, memory in MiB, CPUs in thousandths.
fn parse(setting: Setting, value: &str) -> Result<Parsed> {
    let invalid = |rule: &str| Invalid { what: setting.name(), value: value.to_owned(), rule: rule.to_owned() };
    let number = |range: std::ops::RangeInclusive<u32>, rule: &str| {
        value.parse().ok().filter(|number| range.contains(number)).map(Parsed::Number).ok_or_else(|| invalid(rule))
    };
    let time = |shortest: u32| {
        parse_seconds(value)
            .filter(|seconds| (shortest..=LONGEST).contains(seconds))
            .map(Parsed::Number)
            .ok_or_else(|| invalid(&format!("it is a time from {shortest}s to 1h, such as 90s or 2m")))
    };
    let one_of = |words: &[&str]| {
        if words.contains(&value) { Ok(Parsed::Text) } else { Err(invalid(&format!("it is {}", either(words)))) }
    };
    match setting {
        Setting::CheckType => one_of(&["http", "tcp", "command", "up"]),
        Setting::CheckPath => {
            if value.starts_with('/') && value.bytes().all(|byte| byte.is_ascii_graphic()) {
                Ok(Parsed::Text)
            } else {
                Err(invalid("it is a path such as /health"))
            }
        }
        Setting::CheckPort => number(1..=65_535, "it is a number from 1 to 65535"),
        Setting::CheckStatus => number(100..=599, "it is an HTTP status such as 200"),
        Setting::CheckText | Setting::CheckCommand => {
            if value.is_empty() || value.contains('\0') {
                return Err(invalid("it is a text, and not empty"));
            }
            Ok(Parsed::Text)
        }
        Setting::CheckHeaders => parse_headers(value).map(|_| Parsed::Text),
        Setting::CheckTimeout | Setting::CheckTryTimeout | Setting::CheckInterval => time(1),
        Setting::CheckInitialDelay | Setting::StopTimeout | Setting::DrainTimeout => time(0),
        Setting::CheckAttempts => number(1..=100, "it is a number from 1 to 100"),
        Setting::CheckMode => one_of(&["enabled", "skipped", "disabled"]),
        Setting::Restart => value.parse::<RestartPolicy>().map(|_| Parsed::Text),
        Setting::Memory => parse_memory_mib(value)
            .filter(|mebibytes| *mebibytes >= 6)
            .map(Parsed::Number)
            .ok_or_else(|| invalid("it is an amount of memory such as 512m or 2g, at least 6m")),
        Setting::Cpus => value
            .parse::<f64>()
            .ok()
            .filter(|cpus| (0.01..=1024.0).contains(cpus))
            .map(|cpus| Parsed::Number((cpus * 1000.0).round() as u32))
            .ok_or_else(|| invalid("it is a number of CPUs such as 0.5 or 2")),
    }
}

/// Words as people list what is allowed: `a, b or c`.
fn either(words: &[&str]) -> String {
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

/// Reads a time as people write it, `30`, `30s`, `2m`, `1h`, in seconds.
fn parse_seconds(text: &str) -> Option<u32> {
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic() || character == ' ');
    let factor = match text[digits.len()..].trim() {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    digits.parse::<u32>().ok()?.checked_mul(factor)
}

/// Reads an amount of memory as Docker writes it, `512m`, `2g`, `1.5GB`, in MiB as Docker does.
fn parse_memory_mib(text: &str) -> Option<u32> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|character: char| character.is_ascii_alphabetic() || character == ' ');
    let factor = match lower[digits.len()..].trim() {
        "m" | "mb" | "mi" | "mib" => 1.0,
        "g" | "gb" | "gi" | "gib" => 1024.0,
        _ => return None,
    };
    let amount = digits.parse::<f64>().ok()? * factor;
    (amount.is_finite() && amount >= 1.0 && amount <= f64::from(u32::MAX)).then_some(amount as u32)
}

/// Reads `Name: value; Other: value`.
fn parse_headers(text: &str) -> Result<Vec<(String, String)>> {
    let invalid = |header: &str| Invalid {
        what: "header",
        value: header.to_owned(),
        rule: "it is a name, a colon and a value: `X-Probe: yes`; several are divided by `;`".to_owned(),
    };
    text.split(';')
        .map(str::trim)
        .filter(|header| !header.is_empty())
        .map(|header| {
            let (name, value) = header.split_once(':').ok_or_else(|| invalid(header))?;
            let (name, value) = (name.trim(), value.trim());
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            let good = !name.is_empty()
                && name.bytes().all(is_name)
                && value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
            if good { Ok((name.to_owned(), value.to_owned())) } else { Err(invalid(header)) }
        })
        .collect()
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
                times.parse().ok().filter(|times| *times > 0).map(|times| RestartPolicy::OnFailure(Some(times)))
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

    fn settings(pairs: &[(Setting, &str)]) -> Result<ProcessSettings> {
        let mut settings = ProcessSettings::default();
        for (setting, value) in pairs {
            settings.set(*setting, value)?;
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
            (Setting::CheckPath, "/up"),
            (Setting::CheckStatus, "204"),
            (Setting::CheckHeaders, "X-Probe: yes; Authorization: Basic eDp5"),
            (Setting::CheckTimeout, "2m"),
            (Setting::StopTimeout, "90s"),
            (Setting::Restart, "on-failure:3"),
            (Setting::Memory, "1.5g"),
            (Setting::Cpus, "0.5"),
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
        for (setting, value) in [
            (Setting::CheckType, "htp"),
            (Setting::CheckPath, "up"),
            (Setting::CheckPath, "/a b"),
            (Setting::CheckPort, "0"),
            (Setting::CheckStatus, "20"),
            (Setting::CheckText, ""),
            (Setting::CheckHeaders, "no colon"),
            (Setting::CheckHeaders, "X: a\r\nHost: b"),
            (Setting::CheckTimeout, "soon"),
            (Setting::CheckTimeout, "0"),
            (Setting::CheckTimeout, "2h"),
            (Setting::CheckAttempts, "0"),
            (Setting::StopTimeout, "-1"),
            (Setting::Restart, "sometimes"),
            (Setting::Restart, "on-failure:0"),
            (Setting::Memory, "512"),
            (Setting::Memory, "1m"),
            (Setting::Cpus, "0"),
            (Setting::Cpus, "NaN"),
        ] {
            assert!(settings(&[(setting, value)]).is_err(), "{setting} {value:?}");
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused() -> Result<()> {
        let worker: ProcessType = "worker".parse()?;
        assert!(settings(&[(Setting::CheckPath, "/up")])?.resolve(&worker).is_err());
        assert!(settings(&[(Setting::CheckPath, "/up"), (Setting::CheckPort, "9000")])?.resolve(&worker).is_ok());
        assert!(settings(&[(Setting::CheckType, "command")])?.resolve(&worker).is_err());
        Ok(())
    }

    #[test]
    fn what_is_for_one_type_beats_what_is_for_all() -> Result<()> {
        let entry = |process: Option<ProcessType>, value: &str| Override {
            process,
            setting: Setting::Memory,
            value: value.to_owned(),
        };
        let overrides = [entry(Some(ProcessType::web()), "1g"), entry(None, "512m")];
        let of = |process: &ProcessType| ProcessSettings::of_overrides(&overrides, process);
        assert_eq!(of(&ProcessType::web()).get(Setting::Memory), Some("1g"));
        assert_eq!(of(&"worker".parse()?).get(Setting::Memory), Some("512m"));
        Ok(())
    }

    #[test]
    fn names_are_found_again() -> Result<()> {
        for setting in Setting::ALL {
            assert_eq!(Setting::parse_stored(&setting.stored())?, setting);
            assert_eq!(Setting::find(setting.group(), &setting.name().replace('-', "_")), Some(setting));
        }
        Ok(())
    }
}
