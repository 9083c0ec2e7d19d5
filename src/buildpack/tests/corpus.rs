//! The share of right plans over repositories like those that people publish: each file in tests/apps/corpus is one,
//! with what a person would call right. It was written without a look at what the buildpacks do.

use std::{fs, path::Path};

use regex::Regex;

use super::*;

/// A repository and what is right for it.
///
/// `# ...` says what it is like, `# wrong today: REASON` that its plan is known to be wrong; `-- PATH` begins a file
/// (`-- PATH repeated to N bytes` one whose lines are repeated), `== right` the lines `KEY: PATTERN`, which all hold.
struct Repository {
    name: String,
    known_wrong: bool,
    files: Vec<(String, String)>,
    right: Vec<(String, String)>,
}

impl Repository {
    fn read(path: &Path) -> Repository {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(path).unwrap();
        assert!(text.len() <= 4000, "{name}: {} bytes", text.len());
        let (source, right) = text.split_once("== right\n").unwrap_or_else(|| panic!("{name}: nothing is right"));
        let mut repository = Repository { name, known_wrong: false, files: Vec::new(), right: Vec::new() };
        for line in source.lines() {
            match (line.strip_prefix("-- "), repository.files.last_mut()) {
                (Some(path), _) => repository.files.push((path.to_owned(), String::new())),
                (None, Some((_, content))) => content.push_str(&format!("{line}\n")),
                (None, None) => {
                    assert!(line.starts_with("# "), "{}: {line:?} is in no file", repository.name);
                    repository.known_wrong |= line.starts_with("# wrong today: ");
                }
            }
        }
        for (path, content) in &mut repository.files {
            if let Some((name, size)) = path.split_once(" repeated to ") {
                let size: usize = size.strip_suffix(" bytes").unwrap().parse().unwrap();
                *content = content.repeat(size.div_ceil(content.len()));
                *path = name.to_owned();
            }
        }
        for line in right.lines() {
            let (key, value) = line.split_once(": ").unwrap_or_else(|| panic!("{}: {line:?}", repository.name));
            repository.right.push((key.to_owned(), value.to_owned()));
        }
        assert!(!repository.right.is_empty(), "{}: nothing is right", repository.name);
        repository
    }

    /// What is not as it should be.
    fn misses(&self) -> Vec<String> {
        let files: Vec<_> = self.files.iter().map(|(path, content)| (path.as_str(), content.as_str())).collect();
        let plan = match try_plan(&files) {
            Ok(plan) => plan,
            Err(error) => {
                let said = error_text(&error);
                let missed = self.right.iter().filter(|(key, value)| key != "refused" || !found(value, &said));
                let missed: Vec<String> = missed.map(|(key, value)| format!("{key}: {value}")).collect();
                let said = (!missed.is_empty()).then(|| format!("refused: {}", said.replace('\n', " | ")));
                return missed.into_iter().chain(said).collect();
            }
        };
        let all = shown(&plan, &files);
        self.right.iter().filter_map(|(key, value)| miss(&plan, &all, key, value)).collect()
    }
}

/// Says what a plan has instead of what is right.
fn miss(plan: &BuildPlan, all: &str, key: &str, value: &str) -> Option<String> {
    let (noun, name) = key.split_once(' ').unwrap_or((key, ""));
    let is: Vec<String> = match noun {
        "buildpack" => vec![plan.buildpack.clone()],
        "version" => {
            let of_it = plan
                .versions
                .iter()
                .filter(|version| version.name.eq_ignore_ascii_case(name) || version.what.eq_ignore_ascii_case(name));
            of_it.map(|version| version.version.clone()).collect()
        }
        "choice" => {
            plan.choices.iter().filter(|choice| choice.what == name).map(|choice| choice.option.clone()).collect()
        }
        "web" => vec![command_of(plan, "web")],
        "process" => vec![command_of(plan, name)],
        "build" => plan.commands.iter().map(|command| command.command.clone()).chain(runs_of(plan)).collect(),
        "output" => outputs(plan),
        "warning" => {
            let of_versions = plan.versions.iter().flat_map(|version| &version.warnings);
            plan.warnings.iter().chain(of_versions).cloned().collect()
        }
        "says" => vec![all.to_owned()],
        "refused" => Vec::new(),
        _ => panic!("{key:?} is not a key"),
    };
    let holds = is.iter().any(|text| match noun {
        "buildpack" => text == value,
        "choice" => found(&format!("^(?:{value})$"), text),
        "version" => found(&format!("^(?:{value})(?:[.-]|$)"), text),
        "output" => found(&format!("^(?:{value})$"), text),
        "web" if value == STATIC => text == STATIC,
        _ => found(value, text),
    });
    let is = if noun == "says" { "not said".to_owned() } else { is.join(" | ") };
    (!holds).then(|| format!("{key}: {value}\n      is {is}"))
}

const STATIC: &str = "(static)";

/// The command of a process type, `(static)` if it is the image's web server.
fn command_of(plan: &BuildPlan, process: &str) -> String {
    let Some(spec) = plan.processes.iter().find(|spec| spec.process.as_str() == process) else {
        return "(none)".to_owned();
    };
    let has_server = plan.extra_files.iter().any(|(path, _)| path.ends_with("Caddyfile"));
    let image = if has_server { STATIC } else { "(image)" };
    // How a word is quoted does not matter here.
    spec.command.as_ref().map_or_else(|| image.to_owned(), |command| command.replace('\'', ""))
}

/// The lines of the Dockerfile that run something in the build.
fn runs_of(plan: &BuildPlan) -> impl Iterator<Item = String> {
    plan.dockerfile.lines().filter(|line| !line.starts_with("CMD")).map(str::to_owned)
}

/// The folders that may be served: what the build collects, or what the image copies.
fn outputs(plan: &BuildPlan) -> Vec<String> {
    let collect = plan.commands.iter().filter(|command| command.name == "collect");
    let words = collect.flat_map(|command| command.command.split_whitespace());
    let collected = words.map(str::to_owned);
    let copied = plan.dockerfile.lines().filter_map(|line| line.strip_prefix("COPY "));
    let copied = copied.flat_map(|line| line.split(['"', '[', ']', ',', ' ']).map(str::to_owned).collect::<Vec<_>>());
    let folder =
        |path: String| path.trim_start_matches("./").trim_end_matches('/').trim_matches(['\'', '(', ')']).to_owned();
    collected.chain(copied).map(folder).filter(|path| !path.is_empty()).collect()
}

fn found(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).unwrap_or_else(|error| panic!("{error}")).is_match(text)
}

/// The misses are exactly those that say `# wrong today: REASON`; that line goes when a plan becomes right. At least 95 of
/// 100 plans are right.
#[test]
fn the_corpus_is_planned_right_but_for_what_is_known_to_be_wrong() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps/corpus");
    let mut paths: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 150, "{} repositories", paths.len());
    let repositories: Vec<_> = paths.iter().map(|path| Repository::read(path)).collect();
    let (mut missed, mut unexpected) = (String::new(), String::new());
    let mut right = 0;
    for repository in &repositories {
        let misses = repository.misses();
        let text = format!("{}:\n    {}\n", repository.name, misses.join("\n    "));
        match (misses.is_empty(), repository.known_wrong) {
            (true, true) => unexpected.push_str(&format!("{}: right now, but said to be wrong\n", repository.name)),
            (false, false) => unexpected.push_str(&text),
            _ => {}
        }
        right += usize::from(misses.is_empty());
        missed.push_str(if misses.is_empty() { "" } else { &text });
    }
    assert!(unexpected.is_empty(), "{right} of {}:\n{unexpected}", repositories.len());
    assert!(right * 100 >= repositories.len() * 95, "{right} of {}:\n{missed}", repositories.len());
}
