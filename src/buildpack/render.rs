use serde::Serialize;
use tera::{Context, Tera};

use crate::{Error, Result, model::shell_arguments};

/// Renders a template of a buildpack.
///
/// # Errors
/// [`Error::Buildpack`] where the template is malformed.
pub(super) fn render(place: &str, template: &str, context: &impl Serialize) -> Result<String> {
    let context = Context::from_serialize(context).map_err(Error::bug)?;
    let text = Tera::one_off(template, &context, false).map_err(|error| {
        Error::Buildpack(
            format!("the template {place} is malformed: {error}"),
            "correct the buildpack's folder, or remove it".to_owned(),
        )
    })?;
    Ok(text)
}

/// A text as a JSON string that any Dockerfile frontend reads as one word: no line break, and no `<` that could begin
/// a here-document.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '<' | '>' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// The instruction that starts a command line as the engine does: inside the container, with a shell.
pub(super) fn command_instruction(line: &str) -> String {
    let arguments = shell_arguments(line).map(|argument| quoted(&argument));
    format!("CMD [{}]\n", arguments.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_text_is_one_line_and_reads_back() -> Result<()> {
        for text in [
            "plain",
            "two\nlines\r\nRUN rm -rf /",
            r#"quotes " and ' and \ at the end \"#,
            "$HOME ${X} $(id) `id`",
            "{{ 7 * 7 }} {% raw %} {# x #}",
            "# comment",
            "cat <<EOF",
            "tab\tand\u{0}nul\u{2028}\u{85}",
            "ünïcödé",
        ] {
            let quoted = quoted(text);
            assert!(!quoted.chars().any(|character| character.is_control() || character == '<'), "{quoted}");
            assert_eq!(quoted.lines().count(), 1);
            assert_eq!(serde_json::from_str::<String>(&quoted).map_err(Error::bug)?, text);
        }
        Ok(())
    }

    #[test]
    fn a_value_is_not_read_as_a_template() -> Result<()> {
        let context = serde_json::json!({ "value": quoted("{{ 7 * 7 }}") });
        assert_eq!(render("x", "RUN [{{ value }}]", &context)?, r#"RUN ["{{ 7 * 7 }}"]"#);
        Ok(())
    }
}
