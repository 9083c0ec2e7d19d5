use std::borrow::Cow;

use serde::Deserialize;

use super::{Buildpacks, Failures, SHARED, STARTS, embedded, pattern::Expression};
use crate::ui::escapes;

/// What a line that a failed build printed means.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FailureRule {
    /// What the line looks like.
    pub output: Expression,
    /// What another line must look like, for a line that alone says too little.
    pub also: Option<Expression>,
    /// Whether the rule is tried before the rules of buildpacks. Only for a shared rule: tools make much of a full disk.
    #[serde(default)]
    pub first: bool,
    /// What it means, where `{1}` stands for the first group that matches.
    pub cause: String,
    /// What to do about it, where `{1}` stands for the first group that matches.
    pub hint: String,
}

/// The likely cause of a failed build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// What happened, e.g. `package-lock.json is out of sync with package.json`.
    pub cause: String,
    /// What to do about it.
    pub hint: String,
}

impl Buildpacks {
    /// The likely cause of a failed build, from the last lines it printed. After the shared rules that come first, the
    /// rules of its own buildpack are tried, then the other shared ones, then those of the other buildpacks: a Dockerfile
    /// can run anything.
    pub fn diagnose(&self, buildpack: &str, output: &[String]) -> Option<Diagnosis> {
        let (own, others): (Vec<_>, Vec<_>) = self.list.iter().partition(|other| other.name == buildpack);
        let own = own.into_iter().flat_map(|buildpack| &buildpack.manifest.failures);
        let others = others.into_iter().flat_map(|buildpack| &buildpack.manifest.failures);
        let (first, shared): (Vec<_>, Vec<_>) = self.failures.iter().partition(|rule| rule.first);
        // Tools say the same with and without colours.
        let lines: Vec<_> = output.iter().map(|line| escapes::plain(line)).collect();
        first.into_iter().chain(own).chain(shared).chain(others).find_map(|rule| rule.meaning(&lines))
    }
}

/// The likely cause of the end of a program that was only just started, from the last lines it printed, whatever built
/// it.
pub fn diagnose_start(output: &str) -> Option<Diagnosis> {
    let Failures { failures } = toml::from_str(embedded().ok()?.get(SHARED)?.get(STARTS)?).ok()?;
    let lines: Vec<_> = output.lines().map(escapes::plain).collect();
    failures.iter().find_map(|rule| rule.meaning(&lines))
}

impl FailureRule {
    /// What it says of the last line that it matches, if there is one.
    fn meaning(&self, lines: &[Cow<'_, str>]) -> Option<Diagnosis> {
        let regex = self.output.compile().ok()?;
        let captures = lines.iter().rev().find_map(|line| regex.captures(line))?;
        if let Some(also) = &self.also {
            let also = also.compile().ok()?;
            lines.iter().find(|line| also.is_match(line))?;
        }
        let group = captures.iter().skip(1).flatten().next().map_or("", |group| group.as_str());
        let found: String = group.chars().take(80).collect();
        let told = |text: &str| text.replace("{1}", found.trim());
        Some(Diagnosis { cause: told(&self.cause), hint: told(&self.hint) })
    }
}
