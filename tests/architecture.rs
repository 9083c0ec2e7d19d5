//! What src/lib.rs says holds everywhere, held by the text of the source. Tests inside of it may do as they like.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A word of code, and the only modules that may have it.
const RULES: [(&str, &[&str]); 16] = [
    ("rusqlite", &["store"]),
    ("bollard", &["engine"]),
    ("russh", &["ssh"]),
    ("axum", &["http"]),
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
const LAYERS: [&[&str]; 6] = [
    &["cli", "ssh", "http", "supervisor"],
    &["ops", "deploy"],
    &["proxy", "buildpack", "sweep", "instance"],
    &["engine", "cgroup", "store", "git", "tree", "exec", "secrets", "lock", "settings", "clock", "ui"],
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
