//! Files of a source as documents (JSON, TOML), and errors in files of a source, with their lines.

use std::path::Path;

use jsonc_parser::{ParseOptions, parse_to_serde_value};

use crate::{
    Error, Result,
    error::SourceError,
    tree::{NAMED_LIMIT, Tree},
};

/// An error in a file of the source, and the line it is in, if that is known.
pub(super) fn refused(
    file: &str,
    line: impl Into<Option<usize>>,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> Error {
    let (file, line) = (file.to_owned(), line.into());
    Error::Source(SourceError::File { file, line, message: message.into(), hint: hint.into() })
}

/// An error in a file of a directory, with the file's path in the repository.
pub(super) fn in_directory(error: Error, directory: &str) -> Error {
    match error {
        Error::Source(SourceError::File { file, line, message, hint }) if !directory.is_empty() => {
            let path = format!("{directory}/{file}");
            Error::Source(SourceError::File { hint: hint.replace(&file, &path), file: path, line, message })
        }
        other => other,
    }
}

/// A JSON file, or nothing if there is none. A file whose name ends in `.jsonc` may have comments and trailing commas;
/// JSON5 and YAML are read too.
pub(super) fn json(tree: &Tree, file: &str) -> Result<Option<serde_json::Value>> {
    let Some(text) = text(tree, file)? else { return Ok(None) };
    let (what, parsed) = match Path::new(file).extension().and_then(|extension| extension.to_str()) {
        Some("jsonc") => ("JSON", with_comments(&text)),
        Some("json5") => ("JSON5", json5(&text)),
        Some("yaml" | "yml") => ("YAML", yaml(&text)),
        _ => ("JSON", plain(&text)),
    };
    parsed.map(Some).map_err(|(line, message)| {
        refused(file, line, format!("invalid {what}: {message}"), format!("correct {file}, commit and push again"))
    })
}

/// The text of a document that the tools of the build read too, or nothing if there is none.
///
/// # Errors
/// `SourceError::File` if it is in UTF-16: we could read it, they cannot.
fn text(tree: &Tree, file: &str) -> Result<Option<String>> {
    if let Some([0xff, 0xfe] | [0xfe, 0xff]) = tree.read_head(file, 2)?.as_deref() {
        return Err(refused(file, None, "it is UTF-16 text", "save it as UTF-8, commit and push again"));
    }
    tree.read_text_within(file, NAMED_LIMIT)
}

/// The line at which a document cannot be read, if known, and why.
type Fault = (Option<usize>, String);

fn plain(text: &str) -> Result<serde_json::Value, Fault> {
    serde_json::from_str(text).map_err(|error| {
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or(&message).to_owned();
        (Some(error.line()).filter(|line| *line > 0), message)
    })
}

/// The parser could accept much more than comments and trailing commas, but the tools that read these files do not.
fn with_comments(text: &str) -> Result<serde_json::Value, Fault> {
    let options = ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    relaxed(text, &options)
}

fn json5(text: &str) -> Result<serde_json::Value, Fault> {
    let options = ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: true,
        allow_missing_commas: false,
        allow_single_quoted_strings: true,
        allow_hexadecimal_numbers: true,
        allow_unary_plus_numbers: true,
        allow_bare_decimal_point_numbers: true,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: true,
    };
    relaxed(text, &options)
}

fn yaml(text: &str) -> Result<serde_json::Value, Fault> {
    serde_yaml_ng::from_str(text).map_err(|error| {
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or(&message).to_owned();
        (error.location().map(|location| location.line()), message)
    })
}

fn relaxed(text: &str, options: &ParseOptions) -> Result<serde_json::Value, Fault> {
    let document: Option<serde_json::Value> = parse_to_serde_value(text, options)
        .map_err(|error| (Some(error.line_display()), error.kind().to_string().to_lowercase()))?;
    document.ok_or_else(|| (None, "the file is empty".to_owned()))
}

/// A TOML file, or nothing if there is none.
pub(super) fn toml(tree: &Tree, file: &str) -> Result<Option<toml::Table>> {
    let Some(text) = text(tree, file)? else { return Ok(None) };
    text.parse().map(Some).map_err(|error: toml::de::Error| {
        let line = error.span().map(|span| line_of(&text, span.start));
        refused(
            file,
            line,
            format!("invalid TOML: {}", error.message()),
            format!("correct {file}, commit and push again"),
        )
    })
}

/// The value at a dotted key.
pub(super) fn toml_key<'a>(document: &'a toml::Table, key: &str) -> Option<&'a toml::Value> {
    let mut keys = key.split('.');
    let mut value = document.get(keys.next()?)?;
    for key in keys {
        value = value.get(key)?;
    }
    Some(value)
}

/// The value at a JSON pointer. Beside keys, a part of it can be `[KEY=TEXT]`: the object itself if its `KEY` is `TEXT`,
/// or the first such object of a list; or `[0]`: the first item of a list, or a value that is not a list. Many manifests
/// accept both one object and a list of them.
pub(super) fn pointed<'a>(document: &'a serde_json::Value, pointer: &str) -> Option<&'a serde_json::Value> {
    let mut value = document;
    for part in pointer.split('/').skip(1) {
        let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        value = match part.strip_prefix('[').and_then(|part| part.strip_suffix(']')) {
            Some("0") => items.first()?,
            Some(condition) => {
                let (key, text) = condition.split_once('=')?;
                items.iter().find(|item| item.get(key).and_then(serde_json::Value::as_str) == Some(text))?
            }
            None => value.get(part.replace("~1", "/").replace("~0", "~"))?,
        };
    }
    Some(value)
}

/// The line of the value at a JSON pointer: that of its last key, behind the keys before it.
pub(super) fn line_of_pointer(text: &str, pointer: &str) -> Option<usize> {
    let mut offset = None;
    for part in pointer.split('/').skip(1).filter(|part| *part != "[0]") {
        let word = part.trim_end_matches(']').rsplit('=').next().filter(|_| part.starts_with('[')).unwrap_or(part);
        let word = format!("\"{}\"", word.replace("~1", "/"));
        let from = offset.unwrap_or(0);
        // Within an object the keys have no order, so what chooses it can come later.
        offset = text.get(from..).and_then(|rest| rest.find(&word)).map(|index| from + index).or(offset);
    }
    offset.map(|offset| line_of(text, offset))
}

/// A JSON pointer as people write it: `scripts.start`.
pub(super) fn dotted(pointer: &str) -> String {
    let keys = pointer.split('/').skip(1).filter(|part| !part.starts_with('['));
    keys.map(|key| key.replace("~1", "/")).collect::<Vec<_>>().join(".")
}

/// The number of the line that a byte is in, counted from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_chooses_among_one_object_or_a_list() {
        let list = serde_json::json!({ "r": [{ "name": "a", "v": 1 }, { "name": "b", "v": 2 }], "x/y": { "z": 3 } });
        let one = serde_json::json!({ "r": { "name": "a", "v": 1 } });
        let number = |document: &serde_json::Value, pointer| pointed(document, pointer).and_then(|v| v.as_u64());
        assert_eq!(number(&list, "/r/[name=b]/v"), Some(2));
        assert_eq!(number(&list, "/r/[name=a]/v"), Some(1));
        assert_eq!(number(&list, "/r/[0]/v"), Some(1));
        assert_eq!(number(&one, "/r/[0]/v"), Some(1));
        assert_eq!(number(&one, "/r/[name=a]/v"), Some(1));
        assert_eq!(number(&one, "/r/[name=b]/v"), None);
        assert_eq!(number(&list, "/x~1y/z"), Some(3));
        assert_eq!(number(&list, "/r/0/v"), None);
        assert_eq!(dotted("/r/[name=b]/v"), "r.v");
    }

    #[test]
    fn the_line_of_a_pointer_is_that_of_its_last_key() {
        let text = "{\n\"name\": 1,\n\"r\": [\n{ \"name\": \"a\",\n\"v\": 1 },\n{ \"name\": \"b\",\n\"v\": 2 }]}";
        for (pointer, line) in [("/name", 2), ("/r", 3), ("/r/[0]/name", 4), ("/r/[name=a]/v", 5), ("/r/[name=b]/v", 7)]
        {
            assert_eq!(line_of_pointer(text, pointer), Some(line), "{pointer}");
        }
        assert_eq!(line_of_pointer(text, "/nowhere"), None);
    }

    #[test]
    fn json_with_comments_is_read() {
        let text =
            "{ // one\n\"a\": \"// no \\\" /* comment */\", /* two\nlines */ \"b\": [1, 2, ],\r\n\"c\": 1.5e3,\n}";
        let expected = serde_json::json!({ "a": "// no \" /* comment */", "b": [1, 2], "c": 1500.0 });
        assert_eq!(with_comments(text), Ok(expected));
    }

    #[test]
    fn comments_and_trailing_commas_are_all_that_is_added_to_json() {
        for bad in [
            "",
            "// nothing",
            "{",
            "[1 2]",
            "[,]",
            "{'a': 1}",
            "{a: 1}",
            "[0x1]",
            "[+1]",
            "[.5]",
            "[NaN]",
            "[1e999]",
            "[\"\\x41\"]",
            "{} {}",
            "/* open",
        ] {
            assert!(with_comments(bad).is_err(), "{bad}");
            assert!(plain(bad).is_err(), "{bad}");
        }
        assert_eq!(with_comments("{\n\"a\": 1,\n\"b\" 2 }").map_err(|(line, _)| line), Err(Some(3)));
    }

    #[test]
    fn the_depth_of_a_document_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for read in [plain, with_comments] {
            assert!(read(&nested(100)).is_ok());
            assert!(read(&nested(100_000)).is_err());
            assert!(read(&"{\"a\":".repeat(100_000)).is_err());
        }
    }

    #[test]
    fn files_may_begin_with_a_byte_order_mark() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::bug)?;
        for file in ["a.json", "a.jsonc", "a.toml"] {
            let text = if file.ends_with("toml") { "b = 1" } else { "{ \"b\": 1 }" };
            std::fs::write(directory.path().join(file), format!("\u{feff}{text}")).map_err(Error::bug)?;
        }
        let tree = Tree::usual(directory.path())?;
        assert_eq!(json(&tree, "a.json")?, json(&tree, "a.jsonc")?);
        assert!(toml(&tree, "a.toml")?.is_some_and(|table| table.contains_key("b")));
        // As some shells write it. What only we read is read past it.
        let wide: Vec<u8> = "\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        std::fs::write(directory.path().join("b.json"), wide).map_err(Error::bug)?;
        let tree = Tree::usual(directory.path())?;
        assert!(json(&tree, "b.json").is_err_and(|error| error.to_string() == "b.json: it is UTF-16 text"));
        assert_eq!(tree.read_text("b.json")?.as_deref(), Some("{}"));
        Ok(())
    }
}
