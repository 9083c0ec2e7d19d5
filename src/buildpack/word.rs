//! Versions that are named by a word instead of numbers: `latest`, `lts/*`, `system`, `nightly`. They mean the same for
//! every language; the code names of one language are among the aliases of its buildpack.

/// What a word stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// The newest version.
    Newest,
    /// The newest version with long-term support, or one of those before it.
    LongTerm(usize),
    /// The version with long-term support of this name.
    Named(String),
    /// No version of its own: the default.
    Default,
    /// The newest, before it is released.
    Early,
    /// What only the machine has that the file was written for: a path, a commit, a variable.
    Elsewhere,
}

const NEWEST: [&str; 6] = ["latest", "newest", "current", "stable", "release", "ga"];
const DEFAULT: [&str; 7] = ["system", "default", "auto", "installed", "local", "host", "any"];
const EARLY: [&str; 21] = [
    "nightly",
    "canary",
    "edge",
    "alpha",
    "beta",
    "rc",
    "pre",
    "preview",
    "prerelease",
    "dev",
    "devel",
    "develop",
    "next",
    "head",
    "main",
    "master",
    "trunk",
    "tip",
    "snapshot",
    "unstable",
    "experimental",
];
const LONG_TERM: &str = "lts";

impl Word {
    /// Reads a word; nothing if it is not one that the tools of any language know.
    pub fn parse(text: &str) -> Option<Word> {
        let text = text.trim().trim_start_matches("--").to_ascii_lowercase();
        let is_one_of = |words: &[&str]| words.contains(&text.as_str());
        if is_one_of(&NEWEST) {
            return Some(Word::Newest);
        }
        if is_one_of(&DEFAULT) {
            return Some(Word::Default);
        }
        if let Some(rest) = text.strip_prefix(LONG_TERM) {
            return long_term(rest);
        }
        let first = text.split(['-', ':', '/']).next().unwrap_or(&text);
        if EARLY.contains(&first)
            && text[first.len()..].bytes().all(|byte| byte.is_ascii_digit() || b"-:./".contains(&byte))
        {
            return Some(Word::Early);
        }
        let elsewhere = ["path:", "ref:", "tag:", "branch:", "rev:", "file:", "template:", "/", "./", "../", "~/"];
        let elsewhere = elsewhere.iter().any(|prefix| text.starts_with(prefix));
        elsewhere.then_some(Word::Elsewhere)
    }
}

/// What follows `lts`: `/*`, `-latest`, `/-1`, `/NAME`, `-NAME`.
fn long_term(rest: &str) -> Option<Word> {
    if rest.is_empty() {
        return Some(Word::LongTerm(0));
    }
    let name = rest.strip_prefix(['/', '-', ':', '@'])?;
    if ["*", "latest", "current", "newest"].contains(&name) {
        return Some(Word::LongTerm(0));
    }
    if let Some(back) = name.strip_prefix('-') {
        return back.parse().ok().filter(|back| *back < 20).map(Word::LongTerm);
    }
    let is_name = !name.is_empty() && name.len() <= 20 && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_name.then(|| Word::Named(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read() {
        for (text, word) in [
            ("latest", Some(Word::Newest)),
            ("Stable", Some(Word::Newest)),
            ("current", Some(Word::Newest)),
            ("lts", Some(Word::LongTerm(0))),
            ("lts/*", Some(Word::LongTerm(0))),
            ("LTS/*", Some(Word::LongTerm(0))),
            ("--lts", Some(Word::LongTerm(0))),
            ("lts-latest", Some(Word::LongTerm(0))),
            ("lts/-1", Some(Word::LongTerm(1))),
            ("lts/Jod", Some(Word::Named("jod".to_owned()))),
            ("lts-iron", Some(Word::Named("iron".to_owned()))),
            ("system", Some(Word::Default)),
            ("nightly", Some(Word::Early)),
            ("nightly-2026-05-01", Some(Word::Early)),
            ("canary", Some(Word::Early)),
            ("ref:main", Some(Word::Elsewhere)),
            ("path:~/own", Some(Word::Elsewhere)),
            ("template:{{ env.TOOL_VERSION }}", Some(Word::Elsewhere)),
            ("{{ 7 * 7 }}", None),
            ("ltsx", None),
            ("lts/", None),
            ("lts/a;b", None),
            ("lts/--1", None),
            ("nightly; RUN x", None),
            ("head-of-nothing", None),
            ("please-use-another", None),
            ("22", None),
            ("", None),
        ] {
            assert_eq!(Word::parse(text), word, "{text}");
        }
    }
}
