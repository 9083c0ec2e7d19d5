use std::{fmt, net::IpAddr, net::Ipv4Addr, str::FromStr};

use super::{
    Actor, AppId, AppName, Door, EnvKey, Invalid, ReleaseId, ReleaseVersion, RunId,
    names::{digits, words},
};

words! {
    /// How a program is run that somebody asked for.
    RunKind, "kind of run", {
        /// In a container of its own, at somebody's terminal or pipes.
        Attached = "attached",
        /// In a container of its own, by itself.
        Detached = "detached",
        /// In a container that is there already.
        Enter = "enter",
    }
}

words! {
    /// Where a run stands.
    RunState, "state of a run", {
        /// Its container is being made.
        Starting = "starting",
        /// Its program is at work.
        Running = "running",
        /// It is over.
        Ended = "ended",
    }
}

words! {
    /// Why a run ended, or is about to, other than that its program did by itself.
    RunEnd, "end of a run", {
        /// Somebody stopped it.
        Stopped = "stopped",
        /// Its time was over.
        TimeLimit = "time-limit",
        /// Nobody was there any more who had begun it.
        ClientGone = "client-gone",
        /// Its app was destroyed.
        AppGone = "app-gone",
        /// It never began.
        NotStarted = "not-started",
        /// Its container went away, and its exit code with it.
        Lost = "lost",
    }
}

impl RunEnd {
    /// In words that follow "it".
    pub fn words(self) -> &'static str {
        match self {
            RunEnd::Stopped => "was stopped",
            RunEnd::TimeLimit => "reached its time limit",
            RunEnd::ClientGone => "ended, because its connection was lost",
            RunEnd::AppGone => "ended with its app",
            RunEnd::NotStarted => "did not begin",
            RunEnd::Lost => "is lost: its container went away",
        }
    }
}

/// A program that somebody has run, or runs, in a container of an app, as the database has it.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its number.
    pub id: RunId,
    /// How it is run.
    pub kind: RunKind,
    /// Its app.
    pub app_id: AppId,
    /// Its app's name.
    pub app: AppName,
    /// The release whose image and config it has.
    pub release_id: ReleaseId,
    /// That release's number.
    pub release: ReleaseVersion,
    /// The name of its container in the engine.
    pub container: String,
    /// The container that it was started in, as people see it; none: one of its own.
    pub inside: Option<String>,
    /// Its container's address; none where that is not its own, or is gone.
    pub address: Option<Ipv4Addr>,
    /// The engine's number of a program in a container that is there already.
    pub exec: Option<String>,
    /// What it runs, for people: without known secrets.
    pub command: String,
    /// The variables that it was given beside the config. Their values are not kept.
    pub given: Vec<EnvKey>,
    /// Who asked for it.
    pub actor: Actor,
    /// By which door.
    pub door: Door,
    /// From where, if the door is one of the network's.
    pub caller_address: Option<IpAddr>,
    /// Whether it goes on when nobody is there any more who had begun it.
    pub goes_on: bool,
    /// Whether its program has a terminal.
    pub tty: bool,
    /// Seconds that it may take.
    pub time_limit: u32,
    /// Seconds between SIGTERM and SIGKILL.
    pub stop_timeout: u32,
    /// Where it stands.
    pub state: RunState,
    /// Why it ended, other than by itself.
    pub end: Option<RunEnd>,
    /// The exit code of its program.
    pub exit_code: Option<i64>,
    /// When it was asked for, in milliseconds since 1970.
    pub created_at: i64,
    /// When it ended.
    pub ended_at: Option<i64>,
}

impl Run {
    /// As people see it: `run.7`.
    pub fn label(&self) -> String {
        self.id.label()
    }

    /// Whether nobody sits at it.
    pub fn is_detached(&self) -> bool {
        self.kind == RunKind::Detached
    }

    /// Whether it has a container of its own.
    pub fn has_container(&self) -> bool {
        self.kind != RunKind::Enter
    }

    /// Whether what it prints is kept.
    pub fn keeps_output(&self) -> bool {
        self.has_container() && self.goes_on
    }

    /// When its time is over, in milliseconds since 1970.
    pub fn deadline(&self) -> i64 {
        self.created_at + i64::from(self.time_limit) * 1000
    }
}

impl RunId {
    /// As people see it: `run.7`.
    pub fn label(self) -> String {
        format!("run.{self}")
    }
}

impl FromStr for RunId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<RunId, Invalid> {
        let number = digits(text.strip_prefix("run.").unwrap_or(text)).filter(|number| *number > 0);
        number.map(RunId).ok_or_else(|| Invalid {
            what: "run",
            value: text.to_owned(),
            rule: "it is a number, such as run.7 or 7".to_owned(),
        })
    }
}

/// What a container is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypedProgram {
    /// These arguments; none: the image's own command.
    Arguments(Option<Vec<String>>),
    /// A process type of the release, with more words after its own.
    Process(String, Vec<String>),
}

/// Reads the words of a command: a single one with a blank in it is a line for the container's shell, as on Heroku and Dokku;
/// one that may name a process type is asked for in `process`; all others are arguments as they are.
pub fn program_of(words: &[String], process: impl Fn(&str) -> bool) -> TypedProgram {
    match words {
        [first, rest @ ..] if process(first) => TypedProgram::Process(first.clone(), rest.to_vec()),
        [line] if line.contains(char::is_whitespace) => {
            TypedProgram::Arguments(Some(super::shell_arguments(line).to_vec()))
        }
        words => TypedProgram::Arguments(Some(words.to_vec())),
    }
}

/// The arguments that run a process type's line with more words after it, each as it is.
pub fn line_with_words(line: &str, process: &str, words: &[String]) -> Vec<String> {
    if words.is_empty() {
        return super::shell_arguments(line).to_vec();
    }
    let [shell, option, line] = super::shell_arguments(&format!("{line} \"$@\""));
    [shell, option, line, process.to_owned()].into_iter().chain(words.iter().cloned()).collect()
}

impl fmt::Display for Run {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.label(), self.command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn one_word_with_blanks_is_a_line_for_the_shell_and_all_others_are_arguments() {
        let of = |typed: &[&str]| program_of(&words(typed), |word| word == "worker");
        let arguments = |arguments: &[&str]| TypedProgram::Arguments(Some(words(arguments)));
        assert_eq!(of(&["ls"]), arguments(&["ls"]));
        assert_eq!(of(&["echo", "$HOME; id", "-x"]), arguments(&["echo", "$HOME; id", "-x"]));
        assert_eq!(of(&["echo $HOME"]), arguments(&["/bin/sh", "-c", "echo $HOME"]));
        assert_eq!(of(&["a\tb"]), arguments(&["/bin/sh", "-c", "exec a\tb"]));
        assert_eq!(of(&["worker"]), TypedProgram::Process("worker".to_owned(), Vec::new()));
        assert_eq!(of(&["worker", "-v"]), TypedProgram::Process("worker".to_owned(), words(&["-v"])));
        assert_eq!(of(&["worker x"]), arguments(&["/bin/sh", "-c", "exec worker x"]));
    }

    #[test]
    fn words_after_a_process_type_are_never_read_by_the_shell() {
        assert_eq!(line_with_words("bin/work -q", "worker", &[]), ["/bin/sh", "-c", "exec bin/work -q"]);
        assert_eq!(
            line_with_words("cd x && bin/work", "worker", &words(&["$(id)", "a b"])),
            ["/bin/sh", "-c", "cd x && exec bin/work \"$@\"", "worker", "$(id)", "a b"]
        );
    }

    #[test]
    fn a_run_is_named_by_its_number() -> Result<(), Invalid> {
        for text in ["7", "run.7"] {
            assert_eq!(text.parse::<RunId>()?, RunId(7));
        }
        for bad in ["", "run.", "run.0", "-1", "+7", "run.run.7", "web.1"] {
            assert!(bad.parse::<RunId>().is_err(), "{bad:?}");
        }
        Ok(())
    }
}
