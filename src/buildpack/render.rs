use std::collections::BTreeMap;

use serde::Serialize;
use tera::{Context, Tera};

use super::Buildpacks;
use crate::{
    Error, Result,
    model::{EnvKey, shell_arguments},
};

/// Renders a template of a buildpack, by its name: `python/Dockerfile.tera`. It can include any other.
///
/// # Errors
/// [`Error::Buildpack`] where the template is malformed.
pub(super) fn render(buildpacks: &Buildpacks, name: &str, context: &impl Serialize) -> Result<String> {
    let context = Context::from_serialize(context).map_err(Error::bug)?;
    buildpacks.tera.render(name, &context).map_err(|error| malformed(name, &error))
}

/// Reads all templates, by their names.
///
/// # Errors
/// The one that is malformed, in words.
pub(super) fn parse<'a>(templates: impl Iterator<Item = (String, &'a str)>) -> Result<Tera, String> {
    let mut tera = Tera::new();
    tera.autoescape_on(Vec::<&str>::new());
    tera.add_raw_templates(templates.collect::<Vec<_>>()).map_err(|error| error.to_string())?;
    Ok(tera)
}

/// Renders a short template that is a value of a `buildpack.toml`.
///
/// # Errors
/// [`Error::Buildpack`] where it is malformed.
pub(super) fn one_off(place: &str, template: &str, context: &impl Serialize) -> Result<String> {
    let context = Context::from_serialize(context).map_err(Error::bug)?;
    Tera::one_off(template, &context, false).map_err(|error| malformed(place, &error))
}

fn malformed(place: &str, error: &tera::Error) -> Error {
    Error::Buildpack(
        format!("the template {place} is malformed: {error}"),
        "correct the buildpack's folder, or remove it".to_owned(),
    )
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

/// Variables as the words of `ENV`: `A="x" B="y"`. Their values have one line, which `paas.toml` sees to.
pub(super) fn quoted_variables(variables: &BTreeMap<EnvKey, String>) -> String {
    let words = variables.iter().map(|(key, value)| {
        let mut word = format!("{}=\"", key.as_str());
        for character in value.chars().filter(|character| !character.is_control()) {
            if ['"', '\\', '$'].contains(&character) {
                word.push('\\');
            }
            word.push(character);
        }
        word.push('"');
        word
    });
    words.collect::<Vec<_>>().join(" ")
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
        assert_eq!(one_off("x", "RUN [{{ value }}]", &context)?, r#"RUN ["{{ 7 * 7 }}"]"#);
        Ok(())
    }
}
