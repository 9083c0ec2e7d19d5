//! What the command lines of a source run: the commands that they consist of, without what only prepares them.

use super::{
    app_json::{self, APP_JSON},
    origin::Origin,
    paas_toml::{PAAS_TOML, PaasToml},
    procfile,
};
use crate::{model::ProcessType, tree::Tree};

/// How many scripts are followed, one from another.
const SCRIPTS: usize = 4;
/// Words in front of a command that say how it is run, or that belong to the shell.
const PREFIXES: [&str; 18] = [
    "exec", "env", "command", "nohup", "time", "nice", "setsid", "sudo", "then", "else", "do", "if", "while", "until",
    "!", "{", "(", "builtin",
];
/// Commands that only prepare another, or that stay until it ends.
const PREPARATIONS: [&str; 38] = [
    ".", ":", "[", "[[", "cat", "cd", "chmod", "cp", "date", "done", "echo", "elif", "esac", "exit", "export", "false",
    "fi", "for", "kill", "ln", "ls", "mkdir", "mv", "printf", "read", "return", "rm", "set", "shift", "sleep",
    "source", "test", "touch", "trap", "true", "ulimit", "unset", "wait",
];
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "ash", "zsh", "ksh"];

/// A command line that the source sets, and where.
#[derive(Clone, Debug)]
pub(super) struct Line {
    text: String,
    file: String,
    number: Option<usize>,
}

/// The command lines that a source sets itself.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// That of the web process.
    pub web: Option<Line>,
    /// Those of all processes, and the release command.
    pub processes: Vec<Line>,
    /// Those of the build.
    pub build: Vec<Line>,
}

impl Lines {
    /// Reads them. A file that does not parse counts as missing: the plan refuses it with a better message.
    pub fn read(tree: &Tree, paas_toml: &PaasToml) -> Lines {
        let mut lines = Lines::default();
        let web = ProcessType::web();
        let mut add = |process: &ProcessType, text: &str, file: &str, number| {
            let line = Line { text: text.to_owned(), file: file.to_owned(), number };
            if *process == web && lines.web.is_none() {
                lines.web = Some(line.clone());
            }
            lines.processes.push(line);
        };
        for (process, declared) in &paas_toml.processes {
            if let Some(command) = &declared.command {
                add(process, command, PAAS_TOML, None);
            }
        }
        let text = |file: &str| tree.read_text(file).ok().flatten();
        let procfile = paas_toml.procfile_path();
        if let Some(text) = text(procfile) {
            for (process, command) in procfile::parse(procfile, &text).unwrap_or_default() {
                let is_its_line = |line: &str| {
                    let parts = line.split_once(':');
                    parts.is_some_and(|(name, rest)| name.trim() == process.as_str() && rest.trim() == command)
                };
                add(&process, &command, procfile, text.lines().position(is_its_line).map(|index| index + 1));
            }
        }
        if let Some(text) = text(APP_JSON) {
            for (process, declared) in app_json::parse(&text).unwrap_or_default().processes {
                if let Some(command) = &declared.command {
                    add(&process, command, APP_JSON, None);
                }
            }
        }
        let set = [&paas_toml.build.install, &paas_toml.build.build].into_iter().flatten();
        let line = |(text, number): &(String, usize)| Line {
            text: text.clone(),
            file: PAAS_TOML.to_owned(),
            number: Some(*number),
        };
        lines.build = set.map(line).collect();
        lines
    }
}

impl Line {
    /// The command that stays: the last one that does not just prepare. Scripts of the source are followed.
    pub fn serving(&self, tree: &Tree) -> Option<String> {
        serving(&self.text, tree, SCRIPTS)
    }

    /// All of its commands that do not just prepare. Scripts of the source are followed.
    pub fn commands(&self, tree: &Tree) -> Vec<String> {
        let mut all = Vec::new();
        for command in commands(&self.text) {
            all.extend(followed(&command, tree, SCRIPTS));
            all.push(command);
        }
        all
    }

    /// For messages, and where it is: "`ruby app.rb` in Procfile, line 1".
    pub fn describe(&self, command: &str) -> (String, Origin) {
        let shown: String = command.chars().take(60).filter(|character| !character.is_control()).collect();
        let line = self.number.map(|number| format!(", line {number}")).unwrap_or_default();
        (format!("`{shown}` in {}{line}", self.file), Origin::of(self.file.clone(), self.number))
    }
}

fn serving(text: &str, tree: &Tree, depth: usize) -> Option<String> {
    let command = commands(text).pop()?;
    Some(followed(&command, tree, depth).unwrap_or(command))
}

/// What a script of the source runs, if the command is one.
fn followed(command: &str, tree: &Tree, depth: usize) -> Option<String> {
    let depth = depth.checked_sub(1)?;
    let words = shell_words::split(command).ok()?;
    let mut words = words.iter().map(String::as_str);
    let first = words.next()?;
    let is_shell = |program: &str| SHELLS.contains(&program.rsplit('/').next().unwrap_or(program));
    let file = if is_shell(first) {
        loop {
            match words.next()? {
                // Also in one word with others: `bash -lc`.
                option if option.starts_with('-') && option.ends_with('c') => {
                    return serving(words.next()?, tree, depth);
                }
                option if option.starts_with('-') => {}
                file => break file,
            }
        }
    } else {
        Some(first).filter(|first| first.contains('/'))?
    };
    // The source is in /app.
    let path = file.strip_prefix("/app/").unwrap_or(file).trim_start_matches("./");
    let text = tree.read_text(path).ok().flatten()?;
    let interpreter = text.lines().next().and_then(|line| line.strip_prefix("#!")).map(|line| {
        let words = line.split_whitespace().filter(|word| !word.ends_with("/env") && !word.starts_with('-'));
        words.map(|word| word.rsplit('/').next().unwrap_or(word)).next().unwrap_or_default().to_owned()
    });
    match interpreter {
        Some(program) if !is_shell(&program) && !program.is_empty() => Some(format!("{program} {path}")),
        None if !is_shell(first) => None,
        _ => serving(&text, tree, depth),
    }
}

/// The simple commands of a shell line or script that do not just prepare, each without the words in front of it.
fn commands(text: &str) -> Vec<String> {
    split(text).iter().filter_map(|part| command(part)).collect()
}

/// A command without what is in front of it; nothing if it only prepares.
fn command(part: &str) -> Option<String> {
    let mut rest = part.trim();
    loop {
        let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let is_variable = word.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        });
        if is_variable {
            // The value may have quotes with blanks inside.
            let quoted = ['"', '\''].into_iter().find(|quote| word.matches(*quote).count() % 2 == 1);
            rest = match quoted.and_then(|quote| after.split_once(quote)) {
                Some((_, after)) => after.trim_start(),
                None => after.trim_start(),
            };
        } else if PREFIXES.contains(&word) {
            rest = after.trim_start();
            while let Some(option) = rest.split_whitespace().next().filter(|word| word.starts_with('-')) {
                rest = rest[option.len()..].trim_start();
            }
        } else {
            return (!word.is_empty() && !PREPARATIONS.contains(&word)).then(|| rest.trim_end().to_owned());
        }
    }
}

/// A shell text at its separators; of a pipe, the first part. Quotes and comments are respected.
fn split(text: &str) -> Vec<String> {
    let text = text.replace("\\\r\n", " ").replace("\\\n", " ");
    let mut parts = vec![String::new()];
    let mut quote = None;
    let mut piped = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let before = parts.last().and_then(|part| part.chars().last());
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (None, '"' | '\'') => quote = Some(character),
            (None, '#') if before.is_none_or(char::is_whitespace) => {
                while characters.peek().is_some_and(|next| *next != '\n') {
                    characters.next();
                }
                continue;
            }
            // `2>&1` and `&>file` do not separate commands.
            (None, '&') if before == Some('>') || characters.peek() == Some(&'>') => {}
            (None, '|') if characters.peek() != Some(&'|') => {
                piped = true;
                continue;
            }
            (None, ';' | '&' | '|' | '\n') => {
                if characters.peek() == Some(&character) {
                    characters.next();
                }
                parts.push(String::new());
                piped = false;
                continue;
            }
            _ => {}
        }
        if !piped && let Some(part) = parts.last_mut() {
            part.push(character);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Tree) {
        let directory = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let tree = Tree::usual(directory.path()).unwrap();
        (directory, tree)
    }

    #[test]
    fn what_stays_is_found_behind_what_prepares_it() {
        let (_directory, tree) = tree(&[
            ("start.sh", "#!/bin/sh\nset -e\npython manage.py migrate\nexec gunicorn shop.wsgi # serve\n"),
            ("bin/web", "#!/usr/bin/env -S ruby -w\nputs 1\n"),
            ("bin/again", "#!/bin/bash\n./bin/web \\\n  --port $PORT\n"),
            ("loop.sh", "sh loop.sh\n"),
            ("bin/native", "\u{7f}ELF"),
        ]);
        for (line, expected) in [
            ("ruby app.rb", "ruby app.rb"),
            ("A=b C=\"d e\" exec ruby app.rb", "ruby app.rb"),
            ("env -i A=b ruby app.rb -p $PORT", "ruby app.rb -p $PORT"),
            ("cd api && export A=1; node x.js 2>&1 | pino", "node x.js 2>&1"),
            (
                "python manage.py migrate && gunicorn 'a;b' -b 0.0.0.0:$PORT || exit 1",
                "gunicorn 'a;b' -b 0.0.0.0:$PORT",
            ),
            ("node ssr.js & bundle exec puma & wait", "bundle exec puma"),
            ("bash -lc 'cd x && java -jar y.jar'", "java -jar y.jar"),
            ("sh start.sh", "gunicorn shop.wsgi"),
            ("./start.sh", "gunicorn shop.wsgi"),
            ("exec ./bin/web -p 1", "ruby bin/web"),
            ("bin/again", "ruby bin/web"),
            ("sh loop.sh", "sh loop.sh"),
            ("bin/native --serve", "bin/native --serve"),
            ("./bin/elsewhere", "./bin/elsewhere"),
            ("if [ -f x ]; then php a.php; fi", "php a.php"),
        ] {
            let line = Line { text: line.to_owned(), file: "Procfile".to_owned(), number: None };
            assert_eq!(line.serving(&tree).as_deref(), Some(expected), "{}", line.text);
        }
        for nothing in ["", "cd x", "echo 'a && b'", "# node x"] {
            let line = Line { text: nothing.to_owned(), file: "Procfile".to_owned(), number: None };
            assert_eq!(line.serving(&tree), None, "{nothing}");
        }
        let line = Line { text: "node a.js & sh start.sh".to_owned(), file: "Procfile".to_owned(), number: None };
        assert_eq!(line.commands(&tree), ["node a.js", "gunicorn shop.wsgi", "sh start.sh"]);
    }

    #[test]
    fn lines_say_where_they_are() {
        let (_directory, tree) = tree(&[("Procfile", "# x\nworker: node w.js\nweb: ruby app.rb\n")]);
        let lines = Lines::read(&tree, &PaasToml::default());
        let web = lines.web.unwrap();
        assert_eq!(web.describe("ruby app.rb").0, "`ruby app.rb` in Procfile, line 3");
        assert_eq!(lines.processes.len(), 2);
    }
}
