//! What strangers send, given to the code that reads it: the body of each target in tests/fuzz. Compiled for those only;
//! `tests/fuzz/run` runs them.
//!
//! A target fails where something panics, takes too long or too much memory, or breaks what it promises, which is
//! asserted here.

#![expect(clippy::missing_panics_doc, reason = "to panic is how a target fails")]

pub use crate::{
    buildpack::fuzzing::{manifests, plan, versions},
    cli::fuzzing::{command_line, session},
    engine::fuzzing::output,
    git::fuzzing::git,
    model::fuzzing::{cron, env_file, mask},
    proxy::fuzzing::dns,
    ssh::fuzzing::ssh,
};
use crate::{
    model::{
        self, Actor, AppName, BranchName, CommitId, EnvKey, Hostname, Noun, OperationId, ProcessType, ReleaseVersion,
        Subnet, property,
    },
    public_key,
    ui::escapes,
};

/// What is typed as a word: names, numbers, addresses, and the values of all properties. What is taken is written back as
/// it was read, in one line.
pub fn words(text: &str) {
    fn same<T: std::str::FromStr + std::fmt::Display>(text: &str) {
        let Ok(value) = text.parse::<T>() else { return };
        let shown = value.to_string();
        assert!(!shown.contains(char::is_control), "{shown:?}");
        let again = shown.parse::<T>().map(|value| value.to_string());
        assert_eq!(again.ok(), Some(shown));
    }
    same::<AppName>(text);
    same::<BranchName>(text);
    same::<EnvKey>(text);
    same::<ProcessType>(text);
    same::<ReleaseVersion>(text);
    same::<OperationId>(text);
    same::<CommitId>(text);
    same::<Hostname>(text);
    same::<Subnet>(text);
    same::<Actor>(text);
    let _ = text.parse::<model::Age>();
    for property in property::ALL {
        let _ = property.value(text);
        let _ = (property.right)(text);
    }
    let words: Vec<String> = text.split('\n').map(str::to_owned).collect();
    for noun in Noun::ALL {
        let _ = property::parse_words(noun, &words);
        let _ = property::right_to_set(noun, &words);
    }
}

/// A public key, as it is given to `ssh-keys:add`: what is kept of it is one line, and the same key.
pub fn keys(bytes: &[u8]) {
    if let Ok(key) = public_key::read(bytes) {
        assert!(!key.line.contains(char::is_control), "{key:?}");
        assert_eq!(public_key::read(key.line.as_bytes()).ok(), Some(key));
    }
}

/// What an app, a build or a repository says, as it reaches a terminal: of escape sequences only colours are left.
pub fn terminal(text: &str) {
    let shown = escapes::harmless(text);
    let is_of_colour = |character: char| character.is_ascii_digit() || ";:".contains(character);
    for sequence in shown.split('\u{1b}').skip(1) {
        let rest = sequence.strip_prefix('[').map(|rest| rest.trim_start_matches(is_of_colour));
        assert!(rest.is_some_and(|rest| rest.starts_with('m')), "{shown:?}");
    }
    assert!(!escapes::plain(text).contains('\u{1b}'), "{text:?}");
}
