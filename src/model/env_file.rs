//! Env files: `KEY=VALUE` a line, as `.env` files have it, read to the byte.
//!
//! - Empty lines and lines that begin with `#` say nothing. `export` before the name is passed over.
//! - A value without quotes goes to the end of its line, without blanks at its ends, and without a comment: a `#` after a
//!   blank. Nothing else in it means anything.
//! - In single quotes everything is as it stands, line ends too, up to the next single quote.
//! - In double quotes too, but for `\n`, `\r`, `\t`, `\"`, `\$` and `\\`. Any other `\` stands for itself.
//! - No variable is put in place of its name.

use super::EnvKey;

/// Why a text is no env file. What stands in it may be secret, and is not repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the env file: {rule}")]
pub struct Malformed {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub rule: String,
}

/// Reads an env file.
///
/// # Errors
/// [`Malformed`], for a name that is there twice too.
pub fn parse_env_file(bytes: &[u8]) -> Result<Vec<(EnvKey, String)>, Malformed> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        malformed(1 + before.iter().filter(|byte| **byte == b'\n').count(), "it is not valid UTF-8")
    })?;
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = 1;
    let mut found: Vec<(EnvKey, String)> = Vec::new();
    while !rest.is_empty() {
        let this = rest.split('\n').next().unwrap_or_default();
        let trimmed = this.trim_start_matches(BLANKS).trim_end_matches('\r');
        if trimmed.trim_end_matches(BLANKS).is_empty() || trimmed.starts_with('#') {
            rest = after_line(rest);
            line += 1;
            continue;
        }
        let (name, _) = this.split_once('=').ok_or_else(|| malformed(line, "it is not KEY=VALUE"))?;
        let value = &rest[name.len() + 1..];
        let name = name.trim_matches(BLANKS);
        let name = match name.strip_prefix("export") {
            Some(after) if after.starts_with(BLANKS) => after.trim_start_matches(BLANKS),
            _ => name,
        };
        let key: EnvKey = name.parse().map_err(|error: super::Invalid| {
            malformed(line, &format!("the word before the = is not a variable name: {}", error.rule))
        })?;
        if found.iter().any(|(known, _)| *known == key) {
            return Err(malformed(line, "its variable is there twice"));
        }
        let (value, lines, after) = read_value(value).map_err(|rule| malformed(line, rule))?;
        found.push((key, value));
        line += lines;
        rest = after;
    }
    Ok(found)
}

/// Writes an env file that reads as these variables.
pub fn write_env_file<'a>(variables: impl IntoIterator<Item = (&'a EnvKey, &'a str)>) -> String {
    let mut text = String::new();
    for (key, value) in variables {
        let quoted = if value.contains('\'') {
            // Other readers put variables in place of what follows a dollar.
            format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$"))
        } else {
            format!("'{value}'")
        };
        text.push_str(&format!("{key}={quoted}\n"));
    }
    text
}

/// A variable that an example of an env file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExampleVariable {
    /// Its name.
    pub name: EnvKey,
    /// Whether it has a value there.
    pub has_value: bool,
    /// What the comment above it says, in a line.
    pub comment: Option<String>,
}

/// The most characters that are taken of a comment.
const LONGEST_COMMENT: usize = 100;

/// Reads an example of an env file, such as `.env.example`, for the names in it. It is written for people, so a line that
/// says nothing is passed over.
pub fn example_variables(text: &str) -> Vec<ExampleVariable> {
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut found, mut comment) = (Vec::<ExampleVariable>::new(), Vec::new());
    while !rest.is_empty() {
        let this = rest.split('\n').next().unwrap_or_default();
        let line = this.trim();
        let said = (!comment.is_empty()).then(|| comment.join(" ").chars().take(LONGEST_COMMENT).collect::<String>());
        if let Some(words) = line.strip_prefix('#') {
            let words = words.trim_start_matches('#').trim();
            comment.extend((!words.is_empty()).then(|| words.to_owned()));
            rest = after_line(rest);
            continue;
        }
        comment.clear();
        let Some((name, _)) = this.split_once('=') else {
            rest = after_line(rest);
            continue;
        };
        let after = &rest[name.len() + 1..];
        let name = name.trim();
        let name = name.strip_prefix("export ").map_or(name, str::trim_start);
        let (value, next) = match read_value(after) {
            Ok((value, _, next)) => (value, next),
            Err(_) => (String::new(), after_line(rest)),
        };
        if let Ok(name) = name.parse::<EnvKey>()
            && !found.iter().any(|known| known.name == name)
        {
            found.push(ExampleVariable { name, has_value: !value.is_empty(), comment: said });
        }
        rest = next;
    }
    found
}

/// Blanks within a line.
const BLANKS: [char; 2] = [' ', '\t'];

fn malformed(line: usize, rule: &str) -> Malformed {
    Malformed { line, rule: rule.to_owned() }
}

fn after_line(text: &str) -> &str {
    text.split_once('\n').map_or("", |(_, after)| after)
}

/// Reads a value at the beginning of a text; returns it, how many lines it took, and what comes after its last line.
fn read_value(text: &str) -> Result<(String, usize, &str), &'static str> {
    let begun = text.trim_start_matches(BLANKS);
    let had_blank = begun.len() < text.len();
    let quote = match begun.chars().next() {
        Some(quote @ ('\'' | '"')) => quote,
        _ => {
            let line = begun.split('\n').next().unwrap_or_default();
            let line = line.strip_suffix('\r').unwrap_or(line);
            let comment = line
                .match_indices('#')
                .find(|(at, _)| if *at == 0 { had_blank } else { line[..*at].ends_with(BLANKS) })
                .map_or(line.len(), |(at, _)| at);
            return Ok((line[..comment].trim_end_matches(BLANKS).to_owned(), 1, after_line(begun)));
        }
    };
    let mut value = String::new();
    let mut characters = begun.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character == quote {
            let after = &begun[at + 1..];
            let trailing = after.split('\n').next().unwrap_or_default().trim_matches([' ', '\t', '\r']);
            if !trailing.is_empty() && !trailing.starts_with('#') {
                return Err("there is something after the closing quote");
            }
            let lines = begun[..at].matches('\n').count() + 1;
            return Ok((value, lines, after_line(after)));
        }
        let escaped = match (quote, character, characters.peek()) {
            ('"', '\\', Some((_, next))) => match next {
                'n' => Some('\n'),
                'r' => Some('\r'),
                't' => Some('\t'),
                '"' | '$' | '\\' => Some(*next),
                _ => None,
            },
            _ => None,
        };
        if escaped.is_some() {
            characters.next();
        }
        value.push(escaped.unwrap_or(character));
    }
    Err("a quote is not closed")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        let variables = parse_env_file(text.as_bytes()).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        variables.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
    }

    #[test]
    fn a_value_is_what_stands_there() {
        for (line, value) in [
            ("A=", ""),
            ("A=x", "x"),
            ("A =\t x \t", "x"),
            ("export A=x", "x"),
            ("  export\tA=x\r", "x"),
            ("A=a=b==", "a=b=="),
            ("A=a b # comment", "a b"),
            ("A=a#b", "a#b"),
            ("A=#b", "#b"),
            ("A= # comment", ""),
            ("A=it's \"so\" $HOME ${X} `id` \\n", "it's \"so\" $HOME ${X} `id` \\n"),
            ("A='  $x \\n \" # '", "  $x \\n \" # "),
            ("A='' # comment", ""),
            (r#"A="a\n\r\t\"\$\\ \x \' $b""#, "a\n\r\t\"$\\ \\x \\' $b"),
            ("A=\"one\r\n two\n\" # comment", "one\r\n two\n"),
            ("A='one\n\n#two\n'", "one\n\n#two\n"),
            ("A=\u{a0}x\u{a0}", "\u{a0}x\u{a0}"),
            ("A=Grüße \u{1f680}", "Grüße \u{1f680}"),
        ] {
            // Alone, without a line end, between others, and after the mark that some editors write.
            assert_eq!(read(line), [("A".to_owned(), value.to_owned())], "{line:?}");
            let among = read(&format!("\u{feff}# all\r\n\nB='1'\n{line}\nC=2\n"));
            assert_eq!(among[1], ("A".to_owned(), value.to_owned()), "{line:?}");
            assert_eq!(among.len(), 3, "{line:?}");
        }
        assert_eq!(read(""), []);
        assert_eq!(read("\n \t\r\n# A=x\n  #"), []);
    }

    #[test]
    fn what_is_wrong_is_told_by_its_line_and_never_repeated() {
        for (text, line, rule) in [
            ("A=1\nhunter2", 2, "it is not KEY=VALUE"),
            ("export hunter2\n", 1, "it is not KEY=VALUE"),
            ("A='1\n2'\n\n9hunter2=x", 4, "the word before the = is not a variable name"),
            ("hunter 2=x", 1, "the word before the = is not a variable name"),
            ("=hunter2", 1, "the word before the = is not a variable name"),
            ("A=1\nB='hunter2\nC=3\n", 2, "a quote is not closed"),
            ("A=\"hunter2\\\"", 1, "a quote is not closed"),
            ("A='a' hunter2", 1, "there is something after the closing quote"),
            ("A='a''hunter2'", 1, "there is something after the closing quote"),
            ("A=1\nB=2\nA=hunter2", 3, "its variable is there twice"),
        ] {
            let error = parse_env_file(text.as_bytes()).unwrap_err();
            assert!(error.line == line && error.rule.starts_with(rule), "{text:?}: {error}");
            assert!(!error.to_string().contains("hunter"), "{error}");
        }
        assert_eq!(parse_env_file(b"A=1\nB=\xff").unwrap_err().line, 2);
    }

    #[test]
    fn an_example_is_read_for_its_names() {
        let text = "# The database.\n# postgres://...\nDATABASE_URL=\n\nPORT=3000\nnonsense\n#OFF=1\n\
                    export KEY='a\nX=1\nb'\nKEY=again\n9X=1\nOPEN=\"never closed\nLAST=1";
        let found = example_variables(text);
        let seen: Vec<_> = found.iter().map(|it| (it.name.as_str(), it.has_value, it.comment.as_deref())).collect();
        assert_eq!(
            seen,
            [
                ("DATABASE_URL", false, Some("The database. postgres://...")),
                ("PORT", true, None),
                ("KEY", true, Some("OFF=1")),
                ("OPEN", false, None),
                ("LAST", true, None),
            ]
        );
    }

    fn key() -> impl Strategy<Value = EnvKey> {
        "[A-Za-z_][A-Za-z0-9_]{0,9}".prop_map(|text| text.parse().unwrap())
    }

    proptest! {
        #[test]
        fn what_was_written_reads_the_same(
            variables in prop::collection::btree_map(key(), "(?s)(.|[\\\\\"'#$\n\r\t =]){0,60}", 0..6),
        ) {
            let text = write_env_file(variables.iter().map(|(key, value)| (key, value.as_str())));
            let again = parse_env_file(text.as_bytes()).unwrap();
            prop_assert_eq!(again, variables.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn a_plain_value_needs_no_quotes(key in key(), value in "[!-~&&[^'\"#]][ -~&&[^#]]{0,60}") {
            let line = format!("{key}={value}\r\n");
            let trimmed = value.trim_end_matches(' ').to_owned();
            prop_assert_eq!(parse_env_file(line.as_bytes()).unwrap(), vec![(key, trimmed)]);
        }

        #[test]
        fn any_text_is_an_example(text in "(?s)(.|[\"'#=\n]){0,200}") {
            let found = example_variables(&text);
            prop_assert!(found.len() <= text.lines().count());
        }

        #[test]
        fn no_bytes_are_too_odd_to_be_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
            match parse_env_file(&bytes) {
                Ok(found) => prop_assert!(found.len() <= lines),
                Err(error) => prop_assert!((1..=lines).contains(&error.line)),
            }
        }
    }
}
