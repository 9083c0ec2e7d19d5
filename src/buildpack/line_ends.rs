//! Scripts that cannot run as their files are written: with the line endings of Windows, or a byte order mark before
//! `#!`. The kernel and the shells then say that there is no such file, which misleads everybody.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{dockerfile::instructions, document::refused};
use crate::{
    Result,
    model::ProcessSpec,
    tree::{DockerIgnore, Entry, EntryKind, Tree},
};

/// How many bytes of a script are looked at.
const LOOKED_AT: usize = 64 * 1024;
/// What is between a program and the one that it starts, with its own options.
const WRAPPERS: [&str; 16] = [
    "exec",
    "env",
    "nohup",
    "time",
    "command",
    "nice",
    "if",
    "then",
    "else",
    "do",
    "while",
    "until",
    "!",
    "{",
    "tini",
    "dumb-init",
];
/// Programs that read a script of lines.
const SHELLS: [&str; 7] = ["sh", "bash", "dash", "ash", "zsh", "ksh", "mksh"];
/// The use of a script by the build.
const BUILD: &str = "build";

/// A script that cannot run as its file is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FlawedScript {
    /// Its path in the repository.
    pub file: String,
    /// What is wrong with it, as the end of a sentence that begins with the file.
    pub flaw: &'static str,
    /// What to do about it.
    pub hint: String,
    /// The process types whose commands run it; `release`, and `build` for the build.
    pub used_by: BTreeSet<String>,
}

impl FlawedScript {
    /// What is wrong, in a sentence for the log: `bin/serve, which web runs, has ...`.
    pub(super) fn warning(&self) -> String {
        let users: Vec<&str> = self.used_by.iter().map(String::as_str).collect();
        let users = match users.as_slice() {
            [BUILD] => "the build runs".to_owned(),
            [one] => format!("{one} runs"),
            several => format!("{} run", several.join(" and ")),
        };
        format!("{}, which {users}, {}: {}", self.file, self.flaw, self.hint)
    }
}

/// What is wrong with the content of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    Crlf,
    Mark,
    Wide,
}

impl Flaw {
    fn words(self) -> &'static str {
        match self {
            Flaw::Crlf => "has Windows line endings (CRLF), with which it cannot run",
            Flaw::Mark => "begins with a byte order mark (BOM), so its first line is not read as `#!`",
            Flaw::Wide => "is UTF-16 text, which no shell can read",
        }
    }

    fn hint(self, file: &str) -> String {
        match self {
            Flaw::Crlf => "write `* text=auto eol=lf` (or `*.sh text eol=lf`) in a file named .gitattributes, then \
                           `git add --renormalize .`, commit and push again"
                .to_owned(),
            Flaw::Mark => {
                format!("`sed -i '1s/^\\xEF\\xBB\\xBF//' {}`, commit and push again", shell_words::quote(file))
            }
            Flaw::Wide => "save it as UTF-8 without a byte order mark, commit and push again".to_owned(),
        }
    }

    /// What keeps a script from running: from the shell that is given it, or from the kernel.
    fn of(head: &[u8], by_shell: bool) -> Option<Flaw> {
        let first_line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) {
            Some(Flaw::Wide)
        } else if head.contains(&0) {
            // A program, and no text.
            None
        } else if head.starts_with(b"\xef\xbb\xbf#!") && !by_shell {
            Some(Flaw::Mark)
        } else if first_line.ends_with(b"\r") || (by_shell && head.windows(2).any(|pair| pair == b"\r\n")) {
            Some(Flaw::Crlf)
        } else {
            None
        }
    }
}

/// A file that a command runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    path: String,
    /// Whether a shell reads it, and not the kernel.
    by_shell: bool,
}

/// What is to be looked through for scripts.
pub(super) struct Commands<'a> {
    pub processes: &'a [ProcessSpec],
    /// The commands that run once, with their names.
    pub tasks: Vec<(&'a str, &'a str)>,
    pub dockerfile: &'a str,
    /// Whether the Dockerfile is the repository's own.
    pub is_own: bool,
}

/// All scripts with a flaw: those that the commands run, and those that these may run in turn.
///
/// # Errors
/// `SourceError::File` for one that the commands run in an image which is not built from a Dockerfile of the repository:
/// such a Dockerfile could still mend it.
pub(super) fn check(tree: &Tree, ignore: &DockerIgnore, commands: &Commands<'_>) -> Result<Vec<FlawedScript>> {
    // A Dockerfile that mentions carriage returns is about to mend the files.
    if ["dos2unix", "\\r", "\\015", "\\x0d"].iter().any(|word| commands.dockerfile.contains(word)) {
        return Ok(Vec::new());
    }
    let image = Image::of(commands.dockerfile);
    let mut uses: Vec<(&str, Run)> = image.build_runs.iter().map(|run| (BUILD, run.clone())).collect();
    let lines = commands.processes.iter().map(|spec| (spec.process.as_str(), spec.command.as_deref()));
    for (name, line) in lines.chain(commands.tasks.iter().map(|(name, line)| (*name, Some(*line)))) {
        let runs = line.map_or_else(|| image.last.runs(), |line| image.last.placed(runs_of(line)));
        uses.extend(runs.into_iter().map(|run| (name, run)));
    }
    let mut found: BTreeMap<PathBuf, (Flaw, BTreeSet<String>)> = BTreeMap::new();
    for (name, run) in uses {
        let Some(file) = image.source(tree, &run.path) else { continue };
        let Some(head) = tree.read_head(&file, LOOKED_AT)? else { continue };
        if let Some(flaw) = Flaw::of(&head, run.by_shell) {
            found.entry(file).or_insert((flaw, BTreeSet::new())).1.insert(name.to_owned());
        }
    }
    if let Some((file, (flaw, _))) = found.first_key_value().filter(|_| !commands.is_own) {
        let file = file.display().to_string();
        return Err(refused(&file, None, format!("it {}", flaw.words()), flaw.hint(&file)));
    }
    let mut ignored = ignore.matcher();
    for entry in tree.files().iter().filter(|entry| may_be_script(entry)) {
        if found.contains_key(&entry.path) || ignored.excludes(&entry.path) {
            continue;
        }
        let head = tree.read_head(&entry.path, LOOKED_AT)?.unwrap_or_default();
        let begins = head.starts_with(b"#!") || head.starts_with(b"\xef\xbb\xbf#!");
        if let Some(flaw) = Flaw::of(&head, false).filter(|_| begins) {
            found.insert(entry.path.clone(), (flaw, BTreeSet::new()));
        }
    }
    let flawed = found.into_iter().map(|(file, (flaw, used_by))| {
        let file = file.display().to_string();
        FlawedScript { flaw: flaw.words(), hint: flaw.hint(&file), file, used_by }
    });
    Ok(flawed.collect())
}

/// The script that most likely kept something from running: one that its command runs, or one that its last words name.
pub fn culprit<'a>(scripts: &'a [FlawedScript], used_by: &str, said: &str) -> Option<&'a FlawedScript> {
    let names = |script: &&FlawedScript| {
        let name = script.file.rsplit('/').next().unwrap_or(&script.file);
        let is_part = |character: char| character.is_alphanumeric() || "_-.".contains(character);
        said.match_indices(name)
            .any(|(start, _)| !said[..start].ends_with(is_part) && !said[start + name.len()..].starts_with(is_part))
    };
    scripts.iter().find(|script| script.used_by.contains(used_by)).or_else(|| scripts.iter().find(names))
}

/// Whether a file may be one that another script runs: by its mode, which a clone on Windows does not keep, or its name.
fn may_be_script(entry: &Entry) -> bool {
    let extension = entry.path.extension().and_then(|extension| extension.to_str());
    match entry.kind {
        EntryKind::Executable => true,
        EntryKind::File => extension.is_none_or(|extension| SHELLS.contains(&extension)),
        EntryKind::Symlink => false,
    }
}

/// The files that a line for a shell runs, as far as that can be read off it.
fn runs_of(line: &str) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut directory = PathBuf::new();
    for command in simple_commands(line) {
        let words = shell_words::split(&command).unwrap_or_default();
        if let [word, target] = words.as_slice()
            && word == "cd"
        {
            directory = directory.join(target);
            continue;
        }
        for run in runs_of_words(&words) {
            // A word without a slash is looked for on the search path, wherever that is.
            let is_path = run.by_shell || run.path.contains('/');
            let path = if is_path { directory.join(&run.path).display().to_string() } else { run.path };
            runs.push(Run { path, ..run });
        }
    }
    runs
}

/// The files that the words of one command run.
fn runs_of_words(words: &[String]) -> Vec<Run> {
    let is_assignment = |word: &String| {
        let (name, rest) = word.split_once('=').unwrap_or(("", ""));
        !name.is_empty()
            && !rest.starts_with('=')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let mut rest = words;
    let mut wrapped = false;
    while let [first, after @ ..] = rest {
        let is_wrapper = WRAPPERS.contains(&base_name(first));
        if is_wrapper || is_assignment(first) || (wrapped && first.starts_with('-')) {
            wrapped |= is_wrapper;
            rest = after;
        } else {
            break;
        }
    }
    let [program, arguments @ ..] = rest else { return Vec::new() };
    let mut runs = vec![Run { path: program.clone(), by_shell: false }];
    if SHELLS.contains(&base_name(program)) || program == "." || program == "source" {
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            if argument.starts_with("--") {
                continue;
            }
            match argument.strip_prefix('-') {
                Some(letters) if letters.contains('c') => {
                    runs.extend(arguments.next().map(|line| runs_of(line)).unwrap_or_default());
                    break;
                }
                Some(letters) if letters.contains('o') => drop(arguments.next()),
                Some(_) => {}
                None => {
                    runs.push(Run { path: argument.clone(), by_shell: true });
                    break;
                }
            }
        }
    } else if let Some(place) = arguments.iter().position(|argument| argument == "--") {
        // `wait-for database:5432 -- bin/serve`
        runs.extend(runs_of_words(&arguments[place + 1..]));
    }
    runs
}

/// The commands of a line, cut at what separates them outside of quotes.
fn simple_commands(line: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut current = String::new();
    let mut quote = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', None | Some('"')) => {
                current.push(character);
                current.extend(characters.next());
                continue;
            }
            ('\'' | '"', None) => quote = Some(character),
            (_, Some(open)) if open == character => quote = None,
            (';' | '&' | '|' | '\n' | '(' | ')', None) => {
                commands.push(std::mem::take(&mut current));
                continue;
            }
            _ => {}
        }
        current.push(character);
    }
    commands.push(current);
    commands
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// What a Dockerfile says about the files that run in its image.
#[derive(Default)]
struct Image {
    last: Stage,
    /// What its own steps run.
    build_runs: Vec<Run>,
    /// The files that are copied from the context, and where to.
    copies: Vec<(PathBuf, PathBuf)>,
}

#[derive(Clone, Default)]
struct Stage {
    directory: PathBuf,
    entry_point: Vec<Run>,
    command: Vec<Run>,
}

impl Image {
    fn of(dockerfile: &str) -> Image {
        let mut image = Image::default();
        let mut named: BTreeMap<String, Stage> = BTreeMap::new();
        let mut name = None;
        for instruction in instructions(dockerfile) {
            let (word, rest) = instruction.split_once(char::is_whitespace).unwrap_or((&instruction, ""));
            let rest = rest.trim();
            match word.to_ascii_uppercase().as_str() {
                "FROM" => {
                    let words: Vec<&str> = rest.split_whitespace().filter(|word| !word.starts_with("--")).collect();
                    let before = std::mem::take(&mut image.last);
                    named.extend(name.take().map(|name| (name, before)));
                    image.last =
                        words.first().and_then(|base| named.get(&base.to_lowercase())).cloned().unwrap_or_default();
                    name = words.get(2).map(|name| name.to_lowercase());
                }
                "WORKDIR" => image.last.directory = image.last.place(rest),
                "COPY" | "ADD" => {
                    let words = form(rest);
                    let Some((target, sources)) = words.split_last() else { continue };
                    let target = image.last.place(target);
                    for source in sources.iter().map(|source| plain(Path::new(source))) {
                        image.copies.push((source, target.clone()));
                    }
                }
                "RUN" => image.build_runs.extend(image.last.placed(runs_of_form(rest))),
                "ENTRYPOINT" => {
                    image.last.entry_point = image.last.placed(runs_of_form(rest));
                    // A command of the base image is not an argument of another entry point.
                    image.last.command.clear();
                }
                "CMD" => image.last.command = image.last.placed(runs_of_form(rest)),
                _ => {}
            }
        }
        image
    }

    /// The file of the repository that is at a path of the image.
    fn source(&self, tree: &Tree, path: &str) -> Option<PathBuf> {
        let path = Path::new(path);
        let there = |file: PathBuf| tree.exists(&file).then_some(file);
        for (source, target) in self.copies.iter().rev() {
            let Ok(rest) = path.strip_prefix(target) else { continue };
            if rest.as_os_str().is_empty() {
                if let Some(file) = there(source.clone()) {
                    return Some(file);
                }
                continue;
            }
            let beside = source.parent().unwrap_or(Path::new("")).join(rest);
            if let Some(file) = there(source.join(rest)).or_else(|| there(beside)) {
                return Some(file);
            }
        }
        // What another stage, or a step, put there: most likely the file that is named so.
        let parts: Vec<_> = plain(path).iter().map(ToOwned::to_owned).collect();
        (0..parts.len()).find_map(|start| there(parts[start..].iter().collect()))
    }
}

impl Stage {
    /// A path of the image, from its root.
    fn place(&self, path: &str) -> PathBuf {
        Path::new("/").join(plain(&self.directory.join(path)))
    }

    /// The same with paths from the root of the image. A word without a slash is looked for on the search path, where
    /// a repository seldom puts something.
    fn placed(&self, runs: Vec<Run>) -> Vec<Run> {
        let is_path = |run: &Run| run.by_shell || run.path.contains('/');
        let place = |run: Run| Run { path: self.place(&run.path).display().to_string(), ..run };
        runs.into_iter().filter(is_path).map(place).collect()
    }

    /// What the image's own command runs.
    fn runs(&self) -> Vec<Run> {
        [self.entry_point.clone(), self.command.clone()].concat()
    }
}

/// The files that an instruction runs, in the form of a list or of a line.
fn runs_of_form(text: &str) -> Vec<Run> {
    let mut text = text;
    while let Some(rest) = text.strip_prefix("--") {
        text = rest.split_once(char::is_whitespace).map_or("", |(_, rest)| rest.trim_start());
    }
    match serde_json::from_str::<Vec<String>>(text) {
        Ok(words) => runs_of_words(&words),
        Err(_) => runs_of(text),
    }
}

/// The words of an instruction without its options; none for files that are not from the context.
fn form(text: &str) -> Vec<String> {
    let mut text = text;
    while let Some(rest) = text.strip_prefix("--") {
        if rest.starts_with("from=") {
            return Vec::new();
        }
        text = rest.split_once(char::is_whitespace).map_or("", |(_, rest)| rest.trim_start());
    }
    serde_json::from_str(text).unwrap_or_else(|_| text.split_whitespace().map(str::to_owned).collect())
}

/// A path without its root, `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::Normal(name) => plain.push(name),
            std::path::Component::ParentDir => drop(plain.pop()),
            _ => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(runs: &[Run]) -> Vec<String> {
        runs.iter().map(|run| format!("{}{}", run.path, if run.by_shell { " by a shell" } else { "" })).collect()
    }

    #[test]
    fn what_a_line_runs_is_read_off_it() {
        for (line, expected) in [
            ("bin/serve --port $PORT", &["bin/serve"][..]),
            ("exec ./bin/serve", &["./bin/serve"]),
            ("A=1 B='x y' exec env C=2 bin/serve", &["bin/serve"]),
            ("bin/migrate && bin/serve; bin/end", &["bin/migrate", "bin/serve", "bin/end"]),
            ("sh start.sh", &["sh", "start.sh by a shell"]),
            ("/bin/bash -eu -o pipefail bin/run x", &["/bin/bash", "bin/run by a shell"]),
            ("bash -c 'cd /x && ./run'", &["bash", "/x/./run"]),
            ("cd a; cd b && exec sh run && serve", &["sh", "a/b/run by a shell", "serve"]),
            (". ./env.sh; bin/serve", &[".", "./env.sh by a shell", "bin/serve"]),
            ("wait-for db:5432 -- bin/serve", &["wait-for", "bin/serve"]),
            ("if bin/check; then bin/serve; fi", &["bin/check", "bin/serve", "fi"]),
            ("echo 'a; b' \"c && d\"", &["echo"]),
            ("'unclosed", &[]),
        ] {
            assert_eq!(words(&runs_of(line)), expected, "{line}");
        }
    }

    #[test]
    fn a_dockerfile_says_where_files_are_and_what_runs() {
        let image = Image::of(
            "FROM a AS base\nWORKDIR /srv\nENTRYPOINT [\"/docker/entry\"]\nFROM b\nCMD [\"x\"]\nFROM base\n\
             COPY --chown=1:1 docker/ /docker/\nCOPY [\"run\", \"tools/*.sh\", \"./bin/\"]\nCOPY --from=b /y /z\n\
             RUN --mount=type=cache,target=/c ./bin/build.sh && sh bin/other.sh\nCMD ./bin/run --now\n",
        );
        assert_eq!(words(&image.last.runs()), ["/docker/entry", "/srv/bin/run"]);
        assert_eq!(words(&image.build_runs), ["/srv/bin/build.sh", "/srv/bin/other.sh by a shell"]);
        let directory = tempfile::tempdir().unwrap();
        for file in ["docker/entry", "run", "tools/build.sh", "deep/inner/else"] {
            let path = directory.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let tree = Tree::usual(directory.path()).unwrap();
        let source = |path: &str| image.source(&tree, path).map(|file| file.display().to_string());
        assert_eq!(source("/docker/entry").as_deref(), Some("docker/entry"));
        assert_eq!(source("/srv/bin/run").as_deref(), Some("run"));
        assert_eq!(source("/srv/bin/build.sh").as_deref(), Some("tools/build.sh"));
        assert_eq!(source("/opt/deep/inner/else").as_deref(), Some("deep/inner/else"));
        assert_eq!(source("/bin/sh"), None);
    }

    #[test]
    fn a_flaw_is_one_for_who_reads_the_file() {
        for (head, kernel, shell) in [
            ("#!/bin/sh\necho\n", None, None),
            ("#!/bin/sh\r\necho\r\n", Some(Flaw::Crlf), Some(Flaw::Crlf)),
            ("#!/bin/sh\necho\r\n", None, Some(Flaw::Crlf)),
            ("\u{feff}#!/bin/sh\necho\n", Some(Flaw::Mark), None),
            ("echo\r\n", Some(Flaw::Crlf), Some(Flaw::Crlf)),
            ("\x7fELF\0\r\n", None, None),
        ] {
            assert_eq!(Flaw::of(head.as_bytes(), false), kernel, "{head:?}");
            assert_eq!(Flaw::of(head.as_bytes(), true), shell, "{head:?}");
        }
        assert_eq!(Flaw::of(b"\xff\xfe#\0!\0", false), Some(Flaw::Wide));
    }

    #[test]
    fn the_culprit_is_what_runs_or_what_is_named() {
        let script = |file: &str, used_by: &[&str]| FlawedScript {
            file: file.to_owned(),
            flaw: Flaw::Crlf.words(),
            hint: String::new(),
            used_by: used_by.iter().map(|name| (*name).to_owned()).collect(),
        };
        let scripts = [script("bin/serve", &["web"]), script("bin/migrate", &[])];
        let file = |used_by: &str, said: &str| culprit(&scripts, used_by, said).map(|script| script.file.as_str());
        assert_eq!(file("web", ""), Some("bin/serve"));
        assert_eq!(file("worker", "sh: 1: bin/migrate: not found"), Some("bin/migrate"));
        assert_eq!(file("worker", "bin/migrate-all: not found, nor re-serve"), None);
    }
}
