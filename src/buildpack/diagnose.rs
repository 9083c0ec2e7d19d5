use serde::Deserialize;

use super::{Buildpacks, pattern::Expression};
use crate::ui::escapes;

/// What a line that a failed build printed means.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FailureRule {
    /// What the line looks like.
    pub output: Expression,
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
    /// The likely cause of a failed build, from the last lines it printed. The rules of its own buildpack are tried
    /// first, then the shared ones, then those of the other buildpacks: a Dockerfile can run anything.
    pub fn diagnose(&self, buildpack: &str, output: &[String]) -> Option<Diagnosis> {
        let (own, others): (Vec<_>, Vec<_>) = self.list.iter().partition(|other| other.name == buildpack);
        let own = own.into_iter().flat_map(|buildpack| &buildpack.manifest.failures);
        let others = others.into_iter().flat_map(|buildpack| &buildpack.manifest.failures);
        // Colours are no part of what a tool says.
        let lines: Vec<_> = output.iter().map(|line| escapes::plain(line)).collect();
        for rule in own.chain(self.failures.iter()).chain(others) {
            let Ok(regex) = rule.output.compile() else { continue };
            for line in lines.iter().rev() {
                let Some(captures) = regex.captures(line) else { continue };
                let group = captures.iter().skip(1).flatten().next().map_or("", |group| group.as_str());
                let found: String = group.chars().take(80).collect();
                let told = |text: &str| text.replace("{1}", found.trim());
                return Some(Diagnosis { cause: told(&rule.cause), hint: told(&rule.hint) });
            }
        }
        None
    }
}
