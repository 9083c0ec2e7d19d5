use serde::Deserialize;

use super::{Buildpacks, extract::Expression};

/// What a line that a failed build printed means.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FailureRule {
    /// What the line looks like.
    pub output: Expression,
    /// What it means, in which `{1}` stands for the first group.
    pub cause: String,
    /// What to do about it, in which `{1}` stands for the first group.
    pub hint: String,
}

/// The likely cause of a failed build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// What happened, e.g. `package-lock.json is out of step with package.json`.
    pub cause: String,
    /// What to do about it.
    pub hint: String,
}

impl Buildpacks {
    /// The likely cause of a failed build, by the last lines it printed. The rules of its own buildpack are asked first,
    /// then those for all, then those of the others: a Dockerfile can run anything.
    pub fn diagnose(&self, buildpack: &str, output: &[String]) -> Option<Diagnosis> {
        let (own, others): (Vec<_>, Vec<_>) = self.list.iter().partition(|other| other.name == buildpack);
        let own = own.into_iter().flat_map(|buildpack| &buildpack.manifest.failures);
        let others = others.into_iter().flat_map(|buildpack| &buildpack.manifest.failures);
        for rule in own.chain(self.failures.iter()).chain(others) {
            let Ok(regex) = rule.output.compile() else { continue };
            for line in output.iter().rev() {
                let Some(captures) = regex.captures(line) else { continue };
                let found: String = captures.get(1).map_or("", |group| group.as_str()).chars().take(80).collect();
                let told = |text: &str| text.replace("{1}", found.trim());
                return Some(Diagnosis { cause: told(&rule.cause), hint: told(&rule.hint) });
            }
        }
        None
    }
}
