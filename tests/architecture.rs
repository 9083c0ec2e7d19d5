//! What src/lib.rs says holds everywhere, held by the text of the source. Tests inside of it may do as they like.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A word of code, and the only modules that may have it.
const RULES: [(&str, &[&str]); 17] = [
    ("rusqlite", &["store"]),
    ("bollard", &["engine"]),
    ("russh", &["ssh", "public_key"]),
    ("axum", &["http"]),
    ("hickory_resolver", &["dns"]),
    ("Command::new(", &["exec"]),
    ("println!", &["ui"]),
    ("print!", &["ui"]),
    ("eprintln!", &["ui"]),
    ("eprint!", &["ui"]),
    ("io::stderr()", &["ui"]),
    ("env::var", &["settings"]),
    ("env::set_var", &[]),
    ("SystemTime::now", &["clock"]),
    ("Instant::now", &["clock"]),
    ("Utc::now", &["clock"]),
    ("Local::now", &["clock"]),
];

/// What has the engine start, stop or remove a container, beside the engine's own module.
const CONTAINER_ORDERS: [&str; 8] = [
    ".start_new(",
    ".start_attached(",
    ".start_again(",
    ".stop_container(",
    ".restart_container(",
    ".destroy(",
    ".set_restart(",
    ".signal_container(",
];
/// The only file that gives the engine these orders.
const ONE_CONTAINER: &str = "src/deploy/container.rs";
/// The only file that passes them on to it.
const SCHEDULER: &str = "src/deploy/scheduler.rs";

/// What does input or output, and has no place in `model`.
const INPUT_OUTPUT: [&str; 8] =
    ["std::fs", "std::net::Tcp", "std::net::Udp", "std::process", "std::io", "std::env", "tokio", "rustix"];

/// What is a buildpack's to know, beside the names of the buildpacks: tools, files and frameworks of languages.
const OF_BUILDPACKS: [&str; 34] = [
    "npm",
    "pnpm",
    "yarn",
    "corepack",
    "package.json",
    "pip",
    "poetry",
    "pyproject",
    "requirements.txt",
    "django",
    "flask",
    "golang",
    "go.mod",
    "cargo.toml",
    "maven",
    "gradle",
    "pom.xml",
    "spring",
    "bundler",
    "gemfile",
    "rails",
    "composer",
    "laravel",
    "mix.exs",
    "phoenix",
    "dotnet",
    "csproj",
    "sbt",
    "clojure",
    "kotlin",
    "haskell",
    "cmake",
    "meson",
    "crystal",
];
/// Buildpacks whose names are words of every day.
const COMMON_WORDS: [&str; 6] = ["c", "dockerfile", "go", "shared", "shell", "static"];

/// Modules, in layers: none names one of a layer above its own.
const LAYERS: [&[&str]; 10] = [
    // Compiled for tests/fuzz only; it reaches every parser.
    &["fuzzing"],
    &["cli", "ssh", "supervisor"],
    &["http", "edge"],
    &["ops"],
    &["deploy"],
    &["acme", "proxy", "buildpack", "sweep", "context"],
    &["instance"],
    &[
        "engine",
        "cgroup",
        "firewall",
        "store",
        "git",
        "tree",
        "exec",
        "files",
        "secrets",
        "certificate",
        "lock",
        "settings",
        "disk",
        "dns",
        "clock",
        "tcp",
        "ui",
        "public_key",
        "work",
    ],
    &["error"],
    &["model"],
];

/// A file of the source, without its tests and its comments.
struct SourceFile {
    path: String,
    /// `proxy` for both src/proxy.rs and src/proxy/caddy.rs.
    module: String,
    lines: Vec<(usize, String)>,
}

#[test]
fn each_thing_is_in_its_one_module() {
    let mut broken = Vec::new();
    for file in source_files() {
        for (number, line) in &file.lines {
            for (word, modules) in RULES {
                if line.contains(word) && !modules.contains(&file.module.as_str()) {
                    broken.push(format!("{}:{number} has {word}, which is for {modules:?}", file.path));
                }
            }
            for word in INPUT_OUTPUT {
                if file.module == "model" && line.contains(word) {
                    broken.push(format!("{}:{number} has {word}, and the model does no I/O", file.path));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Whether a text has a word, with no letter or digit beside it.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    text.match_indices(word)
        .any(|(start, _)| !text[..start].ends_with(is_part) && !text[start + word.len()..].starts_with(is_part))
}

/// A language is a folder of data: the code knows none by name.
#[test]
fn no_language_is_named_in_the_code() {
    let folders = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("buildpacks")).unwrap();
    let mut words: Vec<String> = folders
        .map(Result::unwrap)
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| !COMMON_WORDS.contains(&name.as_str()))
        .collect();
    assert!(words.iter().any(|word| word == "python"), "{words:?}");
    words.extend(OF_BUILDPACKS.map(str::to_owned));
    let mut broken = Vec::new();
    for file in source_files() {
        for (number, line) in &file.lines {
            let line = line.to_lowercase();
            let found = words.iter().filter(|word| has_word(&line, word));
            broken.extend(found.map(|word| format!("{}:{number} names {word}, which is a buildpack's", file.path)));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(has_word("runs `npm ci`", "npm") && !has_word("pnpm ci", "npm"));
}

#[test]
fn calls_go_down_only() {
    let mut broken = Vec::new();
    let layer = |module: &str| LAYERS.iter().position(|layer| layer.contains(&module));
    for file in source_files() {
        let Some(own) = layer(&file.module) else {
            assert!(["lib", "main"].contains(&file.module.as_str()), "{} is in no layer", file.path);
            continue;
        };
        for (number, line) in &file.lines {
            for (above, modules) in LAYERS.iter().enumerate().take(own) {
                for module in *modules {
                    if names_module(&file.lines, *number, line, module) {
                        broken.push(format!("{}:{number} names {module}, which is {} above", file.path, own - above));
                    }
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Commands ask `ops`: what they do is then there for the API and the pages too.
#[test]
fn commands_reach_what_is_below_ops_through_it() {
    let files: Vec<SourceFile> = source_files().into_iter().filter(|file| file.module == "cli").collect();
    let mut broken = Vec::new();
    for file in &files {
        for (number, line) in &file.lines {
            for module in ["deploy", "store", "engine"] {
                if names_module(&file.lines, *number, line, module) || line.contains(&format!(" {module}::")) {
                    broken.push(format!("{}:{number} names {module}", file.path));
                }
            }
            if line.contains("tables") {
                broken.push(format!("{}:{number} names tables of the database", file.path));
            }
        }
    }
    assert!(files.len() > 10, "only {} files of the commands were read", files.len());
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// What else runs containers one day, such as Swarm, is then added in one place.
#[test]
fn only_one_file_has_the_engine_start_and_stop_containers() {
    let mut broken = Vec::new();
    let mut orders = BTreeSet::new();
    for file in source_files().iter().filter(|file| file.module != "engine") {
        for (number, line) in &file.lines {
            // The scheduler's own methods may have the same names.
            let line = line.replace("Scheduler::Local.", "").replace("scheduler.", "");
            for order in CONTAINER_ORDERS.into_iter().filter(|order| line.contains(order)) {
                orders.insert(order);
                if file.path != ONE_CONTAINER {
                    broken.push(format!("{}:{number} has {order}, which is for {ONE_CONTAINER}", file.path));
                }
            }
            if line.contains("container::remove(") && ![ONE_CONTAINER, SCHEDULER].contains(&file.path.as_str()) {
                assert_eq!(file.path, "src/deploy/tasks.rs", "{}:{number} goes past the scheduler", file.path);
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert_eq!(orders, BTreeSet::from(CONTAINER_ORDERS), "an order has another name now");
}

/// The files of the pipeline are read from top to bottom, so none uses one that uses it.
#[test]
fn no_files_of_deploy_use_each_other_in_a_circle() {
    let files = source_files();
    let files: BTreeMap<&str, &SourceFile> = files
        .iter()
        .filter_map(|file| Some((file.path.strip_prefix("src/deploy/")?.strip_suffix(".rs")?, file)))
        .collect();
    assert!(files.len() > 10, "the pipeline is not where it was");
    let uses: BTreeMap<&str, BTreeSet<&str>> = files
        .iter()
        .map(|(name, file)| {
            let text: String = file.lines.iter().map(|(_, line)| format!("{line}\n")).collect();
            (*name, files.keys().copied().filter(|other| uses_sibling(&text, other)).collect())
        })
        .collect();
    assert!(uses["queue"].contains("recover") && uses["rollout"].contains("release"), "{uses:?}");
    for name in uses.keys() {
        let mut reached = BTreeSet::new();
        let mut ahead: Vec<&str> = uses[name].iter().copied().collect();
        while let Some(other) = ahead.pop() {
            if reached.insert(other) {
                ahead.extend(&uses[other]);
            }
        }
        assert!(!reached.contains(name), "{name}.rs uses itself through others: {uses:#?}");
    }
}

/// Whether a file's text names a file beside it: `super::name` or `name` within `use super::{...}`.
fn uses_sibling(text: &str, name: &str) -> bool {
    let named = |(start, found): (usize, &str)| {
        let rest = &text[start + found.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            return has_word(rest.split(['.', ';', '(']).next().unwrap(), name);
        };
        let mut depth = 0_i32;
        let own: String = list
            .chars()
            .take_while(|character| {
                depth += i32::from(*character == '{') - i32::from(*character == '}');
                depth >= 0
            })
            .collect();
        own.split([',', '{', '}']).any(|word| word.trim().split("::").next() == Some(name))
    };
    text.match_indices("super::").any(named)
}

#[test]
fn files_have_names_that_say_something() {
    for path in rust_files(&source_directory()) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(
            !["utils", "util", "common", "types", "helpers", "misc", "mod"].contains(&name),
            "{} says nothing",
            path.display()
        );
    }
}

/// Whether a line names `crate::MODULE`, by its path or as a line of a `use crate::{...}`.
fn names_module(lines: &[(usize, String)], number: usize, line: &str, module: &str) -> bool {
    let begins_word = |text: &str| {
        text.strip_prefix(module)
            .is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_'))
    };
    if line.match_indices("crate::").any(|(start, found)| begins_word(&line[start + found.len()..])) {
        return true;
    }
    // The innermost `use` that is open here is `crate`'s own, one level deep.
    let before = lines.iter().take_while(|(other, _)| *other < number);
    let mut depth = 0_i32;
    let mut in_use = false;
    for (_, other) in before {
        if other.starts_with("use crate::{") || other.starts_with("pub use crate::{") {
            in_use = !other.contains("};");
            depth = 0;
        } else if in_use && other.starts_with("};") {
            in_use = false;
        } else if in_use {
            depth += other.matches('{').count() as i32 - other.matches('}').count() as i32;
        }
    }
    in_use && depth == 0 && line.split(", ").any(|word| begins_word(word.trim()))
}

fn source_files() -> Vec<SourceFile> {
    let directory = source_directory();
    let mut files = Vec::new();
    for path in rust_files(&directory) {
        let relative = path.strip_prefix(&directory).unwrap().to_str().unwrap().to_owned();
        if relative.ends_with("tests.rs") {
            continue;
        }
        let module = relative.split(['/', '.']).next().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let mut lines: Vec<(usize, String)> = Vec::new();
        let mut skip_attribute = false;
        for (index, line) in text.lines().enumerate() {
            if line.trim() == "#[cfg(test)]" {
                // `mod tests;` is one line; `mod tests {` is the rest of the file.
                skip_attribute = true;
                continue;
            }
            if skip_attribute && line.starts_with("mod tests {") {
                break;
            }
            if !std::mem::take(&mut skip_attribute) && !line.trim_start().starts_with("//") {
                lines.push((index + 1, line.to_owned()));
            }
        }
        files.push(SourceFile { path: format!("src/{relative}"), module, lines });
    }
    assert!(files.len() > 50, "the source is not where it was");
    files
}

fn source_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// What a test starts finds nothing of this machine's own instance: it is made by `harness::command`; and settings that a
/// unit test reads are a text of its own.
#[test]
fn tests_see_no_instance_of_this_machine() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for entry in fs::read_dir(tests).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name.ends_with(".rs") && !["harness.rs", "machine.rs", "architecture.rs"].contains(&name.as_str()) {
            let text = fs::read_to_string(entry.path()).unwrap();
            assert!(!text.contains("Command::new("), "tests/{name} starts a program by other means than the harness");
        }
    }
    for entry in ignore::Walk::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).flatten() {
        if entry.file_name().to_string_lossy().ends_with(".rs") {
            let text = fs::read_to_string(entry.path()).unwrap();
            let path = entry.path();
            let of_tests =
                if path.ends_with("tests.rs") { Some(&*text) } else { text.split("#[cfg(test)]\nmod").nth(1) };
            assert!(!of_tests.is_some_and(|text| text.contains("Settings::load(")), "{}", path.display());
        }
    }
}
