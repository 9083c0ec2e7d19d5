use serde::{Deserialize, Serialize};

use super::names::{checked_string, is_dns_label};

checked_string! {
    /// A process type, such as `web` or `worker`: a DNS label, because it becomes one in the resolver.
    ProcessType, "process type", |text| {
        if is_dns_label(text) && text.len() <= 40 {
            Ok(())
        } else {
            Err("it takes 1 to 40 lower-case letters, digits and dashes, and begins and ends with no dash".to_owned())
        }
    }
}

impl ProcessType {
    /// The process type that gets the app's requests.
    pub fn web() -> ProcessType {
        ProcessType::WEB.parse().unwrap_or_else(|_| unreachable!("web is a process type"))
    }

    /// The word `web`.
    pub const WEB: &'static str = "web";
    /// The word `release`: a task run once before a release starts, no process of the formation.
    pub const RELEASE: &'static str = "release";

    /// Whether this is the type that gets the app's requests.
    pub fn is_web(&self) -> bool {
        self.as_str() == Self::WEB
    }
}

/// A process type of a release: what it runs and how it is proven healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// The type.
    pub process: ProcessType,
    /// A command line for `/bin/sh -c` inside the container; none: the image's own command.
    pub command: Option<String>,
    /// How it is checked before traffic moves to it.
    pub check: Check,
}

impl ProcessSpec {
    /// The arguments that start its command inside the container; none: the image's own command.
    pub fn arguments(&self) -> Option<[String; 3]> {
        self.command.as_deref().map(shell_arguments)
    }
}

/// The arguments that run a command line of the app inside its own container, and nowhere else.
///
/// Where the last command of the line is a plain one, the shell becomes that command: left in between, `sh` would take
/// SIGTERM for itself and end, and the app be killed before it could finish its work.
pub fn shell_arguments(line: &str) -> [String; 3] {
    let line = match last_plain_command(line) {
        Some(start) => format!("{}exec {}", &line[..start], &line[start..]),
        None => line.to_owned(),
    };
    ["/bin/sh".to_owned(), "-c".to_owned(), line]
}

/// Where the last command of a shell line begins, if a shell can become it: it is in no pipe, group or loop, it is no
/// builtin, and nothing follows. Whatever is not surely so has none.
fn last_plain_command(line: &str) -> Option<usize> {
    const BUILTINS: [&str; 30] = [
        ".", ":", "!", "[", "case", "cd", "done", "echo", "elif", "else", "esac", "eval", "exec", "exit", "export",
        "fi", "for", "if", "read", "return", "set", "source", "test", "then", "trap", "ulimit", "umask", "unset",
        "until", "while",
    ];
    let bytes = line.as_bytes();
    let mut start = 0;
    let mut depth = 0_usize;
    let mut quote = None;
    let mut index = 0;
    while index < bytes.len() {
        let byte = bytes[index];
        let next = bytes.get(index + 1).copied();
        match (quote, byte) {
            (Some(b'\''), b'\'') => quote = None,
            (Some(b'\''), _) => {}
            (_, b'\\') => index += 1,
            // A substitution may have quotes of its own within quotes: that is not for us to read.
            (Some(_), b'`') | (None, b'`') => return None,
            (Some(_), b'$') if next == Some(b'(') => return None,
            (Some(_), b'"') => quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, b'$') if next == Some(b'(') => {
                depth += 1;
                index += 1;
            }
            (None, b'(') if depth > 0 => depth += 1,
            (None, b')') if depth > 0 => depth -= 1,
            (None, _) if depth > 0 => {}
            (None, b'&' | b'|') if next == Some(byte) => {
                start = index + 2;
                index += 1;
            }
            (None, b';') => start = index + 1,
            (None, b'(' | b')' | b'{' | b'}') if bytes.get(index.wrapping_sub(1)) != Some(&b'$') && byte != b'}' => {
                return None;
            }
            (None, b'&') if index > 0 && matches!(bytes[index - 1], b'>' | b'<') => {}
            (None, b'&' | b'|' | b'\n' | b'#') => return None,
            (None, b'<') if next == Some(b'<') => return None,
            _ => {}
        }
        index += 1;
    }
    if quote.is_some() || depth > 0 {
        return None;
    }
    // Assignments stay in front: `A=b exec command`.
    let assignment = |word: &str| {
        word.split_once('=').is_some_and(|(name, value)| {
            let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            !name.is_empty() && name.bytes().all(letters) && !value.contains(['\'', '"', '\\', '$'])
        })
    };
    loop {
        start += line[start..].len() - line[start..].trim_start().len();
        let word = line[start..].split_whitespace().next()?;
        if assignment(word) {
            start += word.len();
            continue;
        }
        let plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_./+-@".contains(&byte));
        return (plain && !BUILTINS.contains(&word)).then_some(start);
    }
}

/// How a web process is proven healthy before traffic moves to it. A process without a port only has to stay up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What is asked of it.
    pub kind: CheckKind,
    /// The path asked for over HTTP; none: `/`, where any answer below 500 will do.
    pub path: Option<String>,
    /// The status that path must answer; none: any from 200 to 299.
    pub status: Option<u16>,
    /// How long it may take to become healthy, in seconds.
    pub timeout_seconds: u32,
}

impl Default for Check {
    fn default() -> Self {
        Check { kind: CheckKind::Http, path: None, status: None, timeout_seconds: 60 }
    }
}

/// What is asked of a web process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckKind {
    /// An answer over HTTP.
    Http,
    /// A connection, no more: for a port that speaks no HTTP.
    Tcp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_becomes_the_last_command() {
        for (line, expected) in [
            ("node server.js", "exec node server.js"),
            ("gunicorn app:app --bind 0.0.0.0:$PORT", "exec gunicorn app:app --bind 0.0.0.0:$PORT"),
            ("A=b C=d node x", "A=b C=d exec node x"),
            ("migrate && bin/web -p ${PORT:-3000}", "migrate && exec bin/web -p ${PORT:-3000}"),
            ("a; b || c 2>&1 >log", "a; b || exec c 2>&1 >log"),
            ("gunicorn -w $(nproc) app", "exec gunicorn -w $(nproc) app"),
            ("node -e 'a; b && c'", "exec node -e 'a; b && c'"),
            ("sh -c \"a | b\"", "exec sh -c \"a | b\""),
        ] {
            assert_eq!(shell_arguments(line)[2], expected);
        }
    }

    #[test]
    fn any_other_line_is_left_as_it_is() {
        for line in [
            "a | tee log",
            "a & b",
            "a && b &",
            "(a; b)",
            "{ a; b; }",
            "while true; do a; done",
            "if a; then b; fi",
            "exec node x",
            "cd x",
            "a; exit 3",
            "for x in 1 2; do a $x; done",
            "node x # comment",
            "cat <<EOF",
            "a 'b",
            "A='b c' node x",
            "echo \"$(cat \"x\")\"",
            "`a`",
            "$COMMAND x",
            "f() { a; }; f",
            "a\nb",
            "",
            "a;",
            "~/bin/x",
        ] {
            assert_eq!(shell_arguments(line)[2], line);
        }
    }
}
