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
