//! The forms that a config is written in for others, and read back from.

use std::{collections::BTreeMap, fmt};

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::{ConfigMap, EnvKey, env_file, names::words, parse_env_file, write_env_file};

words! {
    /// A form that a config is written in. All say every value to the byte, but for one, which refuses what it cannot say.
    ConfigFormat, "format", {
        /// `export KEY='value'` lines, for a shell to read.
        Exports = "exports",
        /// An env file, as `config:import` and `config:set --stdin` read it.
        EnvFile = "envfile",
        /// `KEY='value'` words on a line, for a shell to put before a command.
        Shell = "shell",
        /// `--env=KEY='value'` words on a line, for a shell to put after `docker run`.
        DockerArguments = "docker-args",
        /// `--env=KEY` words on a line: `docker run` takes the values from its own environment.
        DockerKeys = "docker-args-keys",
        /// The file of `docker run --env-file`, which has no quotes.
        DockerEnvFile = "docker-envfile",
        /// A JSON object.
        Json = "json",
        /// A JSON array of objects with `name` and `value`.
        JsonList = "json-list",
    }
}

words! {
    /// A form that a config is read from.
    ImportFormat, "format", {
        /// An env file.
        EnvFile = "envfile",
        /// A JSON object, or an array of objects with `name` and `value`.
        Json = "json",
    }
}

/// A value that a format has no way to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the format {format} cannot say the value of {key}: {why}")]
pub struct Unsayable {
    /// The format.
    pub format: ConfigFormat,
    /// The variable.
    pub key: EnvKey,
    /// What stands in the way.
    pub why: &'static str,
}

/// Why a text is no config. What stands in it may be secret, and is not repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is no env file.
    #[error(transparent)]
    EnvFile(#[from] env_file::Malformed),
    /// It is no JSON of variables.
    #[error("the JSON document: {0}")]
    Json(String),
}

/// Docker reads its env files by lines of less than 64 KiB.
const LONGEST_DOCKER_LINE: usize = (64 << 10) - 2;

impl ConfigFormat {
    /// Writes variables, with an end of line after the last.
    ///
    /// # Errors
    /// [`Unsayable`].
    pub fn write(self, variables: &ConfigMap) -> Result<String, Unsayable> {
        let lines = |line: &dyn Fn(&EnvKey, &str) -> String| {
            variables.iter().map(|(key, value)| format!("{}\n", line(key, value))).collect::<String>()
        };
        let words = |word: &dyn Fn(&EnvKey, &str) -> String| {
            let words: Vec<String> = variables.iter().map(|(key, value)| word(key, value)).collect();
            if words.is_empty() { String::new() } else { format!("{}\n", words.join(" ")) }
        };
        Ok(match self {
            ConfigFormat::Exports => lines(&|key, value| format!("export {key}={}", quoted(value))),
            ConfigFormat::EnvFile => write_env_file(variables.iter().map(|(key, value)| (key, value.as_str()))),
            ConfigFormat::Shell => words(&|key, value| format!("{key}={}", quoted(value))),
            ConfigFormat::DockerArguments => words(&|key, value| format!("--env={key}={}", quoted(value))),
            ConfigFormat::DockerKeys => words(&|key, _| format!("--env={key}")),
            ConfigFormat::DockerEnvFile => {
                for (key, value) in variables {
                    let why = if value.contains('\n') {
                        "it has several lines"
                    } else if value.ends_with('\r') {
                        "it ends with a carriage return"
                    } else if key.as_str().len() + 1 + value.len() > LONGEST_DOCKER_LINE {
                        "it is longer than a line that Docker reads"
                    } else {
                        continue;
                    };
                    return Err(Unsayable { format: self, key: key.clone(), why });
                }
                lines(&|key, value| format!("{key}={value}"))
            }
            ConfigFormat::Json => format!("{:#}\n", serde_json::json!(by_name(variables))),
            ConfigFormat::JsonList => {
                let pair = |(key, value)| serde_json::json!({ "name": key, "value": value });
                format!("{:#}\n", serde_json::Value::from_iter(by_name(variables).into_iter().map(pair)))
            }
        })
    }
}

fn by_name(variables: &ConfigMap) -> BTreeMap<&str, &str> {
    variables.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// A value as a word of a shell: nothing in it means anything to one (POSIX, XCU 2.2.2).
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// Reads base64, with or without padding, in lines or not; nothing if it is none.
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    let bare: String = text.chars().filter(|character| !character.is_ascii_whitespace()).collect();
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&STANDARD, lenient).decode(bare).ok()
}

/// Reads variables. Without a format what begins with a brace or a bracket is JSON, which no env file does.
///
/// # Errors
/// [`Unreadable`].
pub fn read_config(bytes: &[u8], format: Option<ImportFormat>) -> Result<Vec<(EnvKey, String)>, Unreadable> {
    let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let begins_json = matches!(text.trim_ascii_start().first(), Some(b'{' | b'['));
    match format {
        Some(ImportFormat::EnvFile) => Ok(parse_env_file(bytes)?),
        None if !begins_json => Ok(parse_env_file(bytes)?),
        Some(ImportFormat::Json) | None => read_json(text),
    }
}

fn read_json(text: &[u8]) -> Result<Vec<(EnvKey, String)>, Unreadable> {
    let bad = |rule: String| Unreadable::Json(rule);
    // Of a value that is no text, the parser's own words would repeat it.
    let Pairs(pairs) = serde_json::from_slice(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => bad(OF_TEXTS.to_owned()),
        _ => bad(format!("it is not JSON, at line {}, column {}", error.line(), error.column())),
    })?;
    let mut found: Vec<(EnvKey, String)> = Vec::new();
    for (place, (name, value)) in pairs.into_iter().enumerate() {
        let key: EnvKey = name.parse().map_err(|error: super::Invalid| {
            bad(format!("the name of its variable {} is not a variable name: {}", place + 1, error.rule))
        })?;
        let value = value.ok_or_else(|| bad(format!("the value of {key} is not a text in quotes")))?;
        if found.iter().any(|(known, _)| *known == key) {
            return Err(bad(format!("{key} is there twice")));
        }
        found.push((key, value));
    }
    Ok(found)
}

/// What a document must be.
const OF_TEXTS: &str = "it is not an object of names and texts, such as {\"KEY\": \"value\"}";

/// The names and values of a document, each as often as it is there; a value that is no text is none.
struct Pairs(Vec<(String, Option<String>)>);

impl<'de> serde::Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Document;

        impl<'de> Visitor<'de> for Document {
            type Value = Pairs;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(OF_TEXTS)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, serde_json::Value>()? {
                    pairs.push((name, text_of(value)));
                }
                Ok(Pairs(pairs))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(entry) = sequence.next_element::<serde_json::Map<String, serde_json::Value>>()? {
                    let field = |name: &str| entry.get(name).cloned();
                    let name = field("name").and_then(text_of).ok_or_else(|| A::Error::custom(OF_TEXTS))?;
                    pairs.push((name, field("value").and_then(text_of)));
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_any(Document)
    }
}

fn text_of(value: serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn map(pairs: &[(&str, &str)]) -> ConfigMap {
        pairs.iter().map(|(key, value)| (key.parse().unwrap(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_config_is_written_in_the_words_of_dokku() {
        let variables = map(&[("A", "it's $1 \"x\" #"), ("B", ""), ("C", "two\nlines\n")]);
        for (format, written) in [
            ("exports", "export A='it'\\''s $1 \"x\" #'\nexport B=''\nexport C='two\nlines\n'\n"),
            ("envfile", "A=\"it's \\$1 \\\"x\\\" #\"\nB=''\nC='two\nlines\n'\n"),
            ("shell", "A='it'\\''s $1 \"x\" #' B='' C='two\nlines\n'\n"),
            ("docker-args", "--env=A='it'\\''s $1 \"x\" #' --env=B='' --env=C='two\nlines\n'\n"),
            ("docker-args-keys", "--env=A --env=B --env=C\n"),
        ] {
            assert_eq!(format.parse::<ConfigFormat>().unwrap().write(&variables).unwrap(), written, "{format}");
        }
        let json = ConfigFormat::Json.write(&variables).unwrap();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&json).unwrap(),
            serde_json::json!({ "A": "it's $1 \"x\" #", "B": "", "C": "two\nlines\n" })
        );
        let list = ConfigFormat::JsonList.write(&map(&[("A", "1")])).unwrap();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&list).unwrap(),
            serde_json::json!([{ "name": "A", "value": "1" }])
        );
        for format in ConfigFormat::ALL {
            let empty = format.write(&ConfigMap::new()).unwrap();
            let is_json = matches!(format, ConfigFormat::Json | ConfigFormat::JsonList);
            assert!(is_json || empty.is_empty(), "{format}: {empty:?}");
        }
    }

    #[test]
    fn what_a_file_of_dockers_cannot_say_is_refused_without_the_value() {
        let long = "x".repeat(LONGEST_DOCKER_LINE);
        for (value, why) in [
            ("a\nhunter2", "several lines"),
            ("hunter2\r", "ends with a carriage return"),
            (&*long, "longer than a line"),
        ] {
            let error = ConfigFormat::DockerEnvFile.write(&map(&[("OK", "1"), ("P", value)])).unwrap_err().to_string();
            assert!(error.contains("docker-envfile cannot say the value of P") && error.contains(why), "{error}");
            assert!(!error.contains("hunter2") && error.len() < 200, "{error}");
        }
        let fits = ConfigFormat::DockerEnvFile.write(&map(&[("A", " '$x' # \t"), ("B", "")])).unwrap();
        assert_eq!(fits, "A= '$x' # \t\nB=\n");
    }

    #[test]
    fn json_is_read_and_what_is_none_is_told_without_its_values() {
        let read = |text: &str| read_config(text.as_bytes(), None);
        let one = vec![("A".parse().unwrap(), "x\n".to_owned())];
        for text in [
            r#"{"A": "x\n"}"#,
            " \n[{\"name\": \"A\", \"value\": \"x\\n\"}]",
            "\u{feff}{\"A\":\"x\\n\"}",
            "A='x\n'\n",
            "\u{feff}A='x\n'\n",
        ] {
            assert_eq!(read(text), Ok(one.clone()), "{text:?}");
        }
        assert_eq!(read_config(b"{}", Some(ImportFormat::Json)), Ok(Vec::new()));
        assert!(read_config(b"{}", Some(ImportFormat::EnvFile)).is_err());
        assert!(read_config(b"A=1", Some(ImportFormat::Json)).is_err());
        for (text, said) in [
            ("{\"A\": hunter2}", "it is not JSON, at line 1"),
            ("{\"A\": \"hunter2\"", "it is not JSON, at line 1"),
            ("{\"A\": \"hunter2\"} hunter2", "it is not JSON, at line 1"),
            ("{\"9hunter2\": \"x\"}", "the name of its variable 1 is not a variable name"),
            ("{\"A\": {\"hunter2\": 1}}", "the value of A is not a text"),
            ("{\"A\": 42}", "the value of A is not a text"),
            ("{\"A\": null}", "the value of A is not a text"),
            ("{\"A\": \"1\", \"A\": \"hunter2\"}", "A is there twice"),
            ("[\"hunter2\"]", "not an object of names and texts"),
            ("[{\"value\": \"hunter2\"}]", "not an object of names and texts"),
            ("[{\"name\": \"A\"}]", "the value of A is not a text"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("hunter") && !error.contains("42"), "{text}: {error}");
        }
    }

    #[test]
    fn base64_may_be_in_lines_and_without_its_padding() {
        for text in ["aGVsbG8K", "aGVs\nbG8K\n", " aGVsbG8K "] {
            assert_eq!(from_base64(text).unwrap(), b"hello\n", "{text:?}");
        }
        assert_eq!((from_base64("YQ").unwrap(), from_base64("YQ==").unwrap()), (b"a".to_vec(), b"a".to_vec()));
        assert_eq!(
            (from_base64(""), from_base64("a!"), from_base64("YQ=")),
            (Some(Vec::new()), None, Some(b"a".to_vec()))
        );
    }

    fn variables() -> impl Strategy<Value = ConfigMap> {
        let key = "[A-Za-z_][A-Za-z0-9_]{0,9}".prop_map(|name| format!("T_{name}").parse::<EnvKey>().unwrap());
        prop::collection::btree_map(key, "(?s)([^\0]|[\\\\\"'#$`!=\n\r\t ~*]){0,60}", 0..6)
    }

    /// What a shell has in its environment after it read a text.
    fn environment(script: &str, text: &str) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        std::fs::write(&path, text).unwrap();
        let mut sh = Command::new("/bin/sh");
        let ran = sh.env_clear().env("FILE", &path).env("PATH", "/usr/bin:/bin").args(["-c", script]).output().unwrap();
        assert!(ran.status.success(), "{text:?}: {}", String::from_utf8_lossy(&ran.stderr));
        ran.stdout
    }

    fn assert_has_all(environment: &[u8], variables: &ConfigMap) {
        let found: Vec<&[u8]> = environment.split(|byte| *byte == 0).filter(|entry| entry.starts_with(b"T_")).collect();
        assert_eq!(found.len(), variables.len(), "{:?}", String::from_utf8_lossy(environment));
        for (key, value) in variables {
            let wanted = format!("{key}={value}");
            assert!(found.contains(&wanted.as_bytes()), "{wanted:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_shell_reads_what_was_written(variables in variables()) {
            let exports = ConfigFormat::Exports.write(&variables).unwrap();
            assert_has_all(&environment(". \"$FILE\"; env -0", &exports), &variables);
            let words = ConfigFormat::Shell.write(&variables).unwrap();
            assert_has_all(&environment("eval \"env $(cat \"$FILE\") env -0\"", &words), &variables);
            // As `docker run` would get them.
            let words = ConfigFormat::DockerArguments.write(&variables).unwrap();
            let arguments = environment("eval \"set -- $(cat \"$FILE\")\"; for a; do printf '%s\\0' \"${a#--env=}\"; done", &words);
            assert_has_all(&arguments, &variables);
        }

        #[test]
        fn what_was_written_is_imported_the_same(variables in variables()) {
            let wanted: Vec<(EnvKey, String)> = variables.clone().into_iter().collect();
            for format in [ConfigFormat::EnvFile, ConfigFormat::Json, ConfigFormat::JsonList] {
                let text = format.write(&variables).unwrap();
                prop_assert_eq!(read_config(text.as_bytes(), None), Ok(wanted.clone()), "{}", format);
            }
        }

        #[test]
        fn a_file_of_dockers_says_each_value_on_a_line_or_refuses(variables in variables()) {
            if let Ok(text) = ConfigFormat::DockerEnvFile.write(&variables) {
                let mut lines = text.lines();
                for (key, value) in &variables {
                    prop_assert_eq!(lines.next().unwrap(), format!("{key}={value}"));
                }
                prop_assert_eq!(lines.next(), None);
            }
        }

        #[test]
        fn no_bytes_are_too_odd_to_be_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_config(&bytes, None);
            let _ = read_config(&bytes, Some(ImportFormat::Json));
        }
    }
}
