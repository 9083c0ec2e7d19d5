use std::collections::BTreeMap;

use super::{did_you_mean, document::refused};
use crate::{
    Result,
    model::{Invalid, ProcessType},
};

/// The file's name.
pub(super) const PROCFILE: &str = "Procfile";

/// Reads a `Procfile`: `NAME: COMMAND` lines, blank lines and `#` comments.
///
/// # Errors
/// `SourceError::File` with the line.
pub(super) fn parse(path: &str, text: &str) -> Result<BTreeMap<ProcessType, String>> {
    let mut processes = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let malformed = |message: String, hint: String| refused(path, index + 1, message, hint);
        if is_merge_marker(line) {
            let message = format!("{line:?} is a marker of a merge that was not finished");
            let hint = "keep one of the two versions, remove the lines that git put around them, and commit";
            return Err(malformed(message, hint.to_owned()));
        }
        let Some((name, command)) = line.split_once(':') else {
            let hint = match line.split_once(char::is_whitespace) {
                Some((name, command)) => format!("write `{name}: {}`", command.trim()),
                None => "write `web: COMMAND`".to_owned(),
            };
            return Err(malformed(format!("{line:?} has no colon after the process type"), hint));
        };
        let process = process_type(name.trim_end()).map_err(|(message, hint)| malformed(message, hint))?;
        let command = command.trim();
        if command.is_empty() {
            return Err(malformed(format!("{process} has no command"), format!("write `{process}: COMMAND`")));
        }
        if command.contains('\0') {
            return Err(malformed(
                format!("the command of {process} contains a NUL character"),
                "remove it".to_owned(),
            ));
        }
        if processes.insert(process.clone(), command.to_owned()).is_some() {
            return Err(malformed(
                format!("{process} is defined twice"),
                format!("keep one, or give the other a different name, e.g. `{process}-2`"),
            ));
        }
    }
    Ok(processes)
}

/// Whether git wrote this line around a conflict.
fn is_merge_marker(line: &str) -> bool {
    ["<<<<<<<", "|||||||", "=======", ">>>>>>>"]
        .iter()
        .any(|marker| line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')))
}

/// Reads the name of a process type. The error is a message and a hint.
pub(super) fn process_type(name: &str) -> Result<ProcessType, (String, String)> {
    name.parse().map_err(|error: Invalid| {
        let better: String = name.to_ascii_lowercase().replace(['_', ' ', '.'], "-");
        let hint = match better.parse::<ProcessType>() {
            Ok(better) => format!("call it `{better}`"),
            Err(_) => "call it `web` or `worker`, for example".to_owned(),
        };
        (error.to_string(), hint)
    })
}

/// The hint for an unknown word.
pub(super) fn known_words(word: &str, known: &[&str]) -> String {
    match did_you_mean(word, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("known here: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_procfile_is_names_and_commands() -> Result<()> {
        let processes =
            parse(PROCFILE, "# comment\n\nweb: node web.js --url http://x:1 # no comment\r\nworker:  sleep 1\n")?;
        let lines: Vec<_> = processes.iter().map(|(name, command)| format!("{name}={command}")).collect();
        assert_eq!(lines, ["web=node web.js --url http://x:1 # no comment", "worker=sleep 1"]);
        Ok(())
    }

    #[test]
    fn a_marker_of_a_merge_is_called_one() {
        for (text, line) in [
            ("<<<<<<< HEAD\nweb: a\n=======\nweb: b\n>>>>>>> theirs\n", 1),
            ("web: a\n=======\nweb: b", 2),
            ("web: a\n||||||| 1234567", 2),
            ("web: a\n>>>>>>> 1234567 (say: so)\r\n", 2),
        ] {
            let error = parse(PROCFILE, text).unwrap_err();
            assert!(error.to_string().starts_with(&format!("Procfile, line {line}: \"")), "{error}");
            assert!(error.to_string().ends_with("is a marker of a merge that was not finished"), "{error}");
            assert!(error.hint().unwrap().starts_with("keep one of the two versions"));
        }
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, line, message, hint) in [
            (
                "web: a\nworker sleep 1",
                2,
                "\"worker sleep 1\" has no colon after the process type",
                "write `worker: sleep 1`",
            ),
            ("web: a\nweb: b", 2, "web is defined twice", "keep one, or give the other a different name, e.g. `web-2`"),
            ("web:", 1, "web has no command", "write `web: COMMAND`"),
            (
                "\nMy_Worker: a",
                2,
                "\"My_Worker\" is not a valid process type: it takes 1 to 40 lower-case letters, digits and dashes, and \
                 begins and ends with no dash",
                "call it `my-worker`",
            ),
        ] {
            let error = parse(PROCFILE, text).unwrap_err();
            assert_eq!(error.to_string(), format!("Procfile, line {line}: {message}"));
            assert_eq!(error.hint().unwrap(), hint);
        }
    }
}
