use std::{
    collections::BTreeMap,
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
};

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use tera::{Context, Kwargs, State, Tera};

use super::{Buildpacks, scope::Scope, wrong_folder};
use crate::{
    Error, Result,
    exec::{self, Bounds, Conversation},
    model::{EnvKey, property, shell_arguments},
    work::{Work, bytes, over},
};

/// How much more is read of a child than its template may write, in bytes: why it could not render, after a zero.
const REASON_LIMIT: u64 = 1 << 16;

/// Renders a template of a buildpack, by its name: `python/Dockerfile.tera`. It can include any other.
///
/// # Errors
/// [`Error::Source`] if the template is malformed, or does more than it may.
pub(super) fn render(
    buildpacks: &Buildpacks,
    scope: &Scope<'_>,
    name: &str,
    context: &impl Serialize,
) -> Result<String> {
    let templates = needed(name, &buildpacks.templates().collect());
    if is_hostile(scope) {
        let templates = templates.into_iter().map(|(name, text)| (name, text.to_owned())).collect();
        return in_child(scope.tree.work(), name, templates, context);
    }
    let context = Context::from_serialize(context).map_err(Error::bug)?;
    let tera = parse(templates.into_iter()).map_err(|error| malformed(name, &error))?;
    tera.render(name, &context).map_err(|error| malformed(name, &error))
}

/// A template, and those that it can include, because it names them: to parse all takes longer than the rest of a plan.
fn needed<'a>(name: &str, all: &BTreeMap<String, &'a str>) -> BTreeMap<String, &'a str> {
    let mut needed = BTreeMap::new();
    let mut pending = vec![name];
    while let Some(name) = pending.pop() {
        if let Some((name, text)) = all.get_key_value(name)
            && needed.insert(name.clone(), *text).is_none()
        {
            pending.extend(all.keys().map(String::as_str).filter(|other| text.contains(other)));
        }
    }
    needed
}

/// Whether the templates are a stranger's. In unit tests and fuzz targets there is no program to start.
fn is_hostile(scope: &Scope<'_>) -> bool {
    scope.manifest.is_own && !cfg!(any(test, fuzzing))
}

/// What a child is given to render.
#[derive(Serialize, Deserialize)]
struct Request {
    name: String,
    templates: BTreeMap<String, String>,
    context: serde_json::Value,
}

/// Renders a template in a child of its own. Tera bounds neither how often loops within each other run, nor what is kept
/// in variables, and a thread that runs one cannot be ended; the kernel ends a child.
fn in_child(work: &Work, name: &str, templates: BTreeMap<String, String>, context: &impl Serialize) -> Result<String> {
    work.check()?;
    let limits = work.limits();
    let context = serde_json::to_value(context).map_err(Error::bug)?;
    let request = serde_json::to_vec(&Request { name: name.to_owned(), templates, context }).map_err(Error::bug)?;
    let mut command = exec::command(exec::own_binary()?);
    command.arg("render").current_dir("/");
    let bounds = Bounds { time: Some(limits.rendering), memory: Some(limits.rendering_memory), file: Some(0) };
    let mut child = Conversation::start(command, bounds, work)?;
    // Where it has ended already, its end says why.
    drop(child.say(&request));
    child.finish();
    let mut text = Vec::new();
    let most = limits.output + REASON_LIMIT;
    child.output().take(most).read_to_end(&mut text).map_err(Error::io("read what a template wrote"))?;
    let reason_from = text.iter().position(|byte| *byte == 0);
    if reason_from.unwrap_or(text.len()) as u64 > limits.output {
        let what = format!("the template {name} writes too much");
        return Err(over(what, bytes(limits.output), &property::TEMPLATE_MAX_OUTPUT));
    }
    let status = child.wait()?;
    if let Some(start) = reason_from {
        return Err(malformed(name, &String::from_utf8_lossy(&text[start + 1..])));
    }
    if status.success() {
        return String::from_utf8(text).map_err(Error::bug);
    }
    work.check()?;
    match status.signal().map(Signal::try_from) {
        Some(Ok(Signal::SIGXCPU | Signal::SIGKILL)) => Err(over(
            format!("rendering the template {name} takes too long"),
            format!("{} seconds of processor time", limits.rendering),
            &property::TEMPLATE_MAX_TIME,
        )),
        Some(_) => Err(over(
            format!("rendering the template {name} takes too much memory"),
            bytes(limits.rendering_memory),
            &property::TEMPLATE_MAX_MEMORY,
        )),
        None => Err(malformed(name, &"it cannot be rendered")),
    }
}

/// What the child does: reads what to render, and writes what comes of it.
///
/// # Errors
/// [`Error::Bug`] if it was asked for what is none; [`Error::Host`]. A template that cannot be rendered is none: why
/// follows what it wrote, after a zero.
pub fn serve(input: impl Read, mut output: impl Write) -> Result<()> {
    let Request { name, templates, context } = serde_json::from_reader(input).map_err(Error::bug)?;
    let context = Context::from_serialize(&context).map_err(Error::bug)?;
    let rendered = parse(templates.iter().map(|(name, text)| (name.clone(), text.as_str())))
        .and_then(|tera| tera.render_to(&name, &context, &mut output).map_err(|error| error.to_string()));
    let written = match rendered {
        Ok(()) => output.flush(),
        Err(reason) => write!(output, "\0{reason}").and_then(|()| output.flush()),
    };
    // A parent that stopped reading has enough.
    drop(written);
    Ok(())
}

/// Reads all templates, by their names.
///
/// # Errors
/// A message that names the malformed template.
pub(super) fn parse<'a>(templates: impl Iterator<Item = (String, &'a str)>) -> Result<Tera, String> {
    let mut tera = Tera::new();
    tera.autoescape_on(Vec::<&str>::new());
    tera.register_filter("then", |first: &str, arguments: Kwargs, _: &State<'_>| {
        arguments.must_get("next").map(|next| then(first, next))
    });
    tera.add_raw_templates(templates.collect::<Vec<_>>()).map_err(|error| error.to_string())?;
    Ok(tera)
}

/// Renders a short template that is a value of a `buildpack.toml`.
///
/// # Errors
/// [`Error::Source`] if it is malformed, or does more than it may.
pub(super) fn one_off(scope: &Scope<'_>, place: &str, template: &str, context: &impl Serialize) -> Result<String> {
    if is_hostile(scope) {
        let templates = BTreeMap::from([(place.to_owned(), template.to_owned())]);
        return in_child(scope.tree.work(), place, templates, context);
    }
    one(place, template, context)
}

fn one(place: &str, template: &str, context: &impl Serialize) -> Result<String> {
    let context = Context::from_serialize(context).map_err(Error::bug)?;
    Tera::one_off(template, &context, false).map_err(|error| malformed(place, &error))
}

fn malformed(place: &str, error: &impl std::fmt::Display) -> Error {
    wrong_folder(format!("the template {place} is malformed: {error}"))
}

/// The text before a command line in the forms of [`shell_form`] and [`chain_form`].
const SHELL_FORM: &str = r#"["/bin/sh", "-ec", "#;
const CHAIN_FORM: &str = r#"["/bin/sh", "-c", "#;

/// A command line of a user as the arguments of `RUN`, in a form that every builder reads the same. It can have several
/// lines; the first that fails ends it.
pub(super) fn shell_form(line: &str) -> String {
    format!("{SHELL_FORM}{}]", quoted(line))
}

/// A command line of a buildpack, with values in it, as the arguments of `RUN`: others can follow it after `&&`.
pub(super) fn chain_form(line: &str) -> String {
    format!("{CHAIN_FORM}{}]", quoted(line))
}

/// The arguments of one `RUN` for two commands; the second runs if the first succeeds. This is the filter `then` of the
/// templates. It saves a layer, and each layer takes some tenths of a second, however short its command.
///
/// Each is as templates write it: plain, or in one of the two forms. A user's command gets a shell of its own, so that
/// `-e` works in it, and its `cd`, `exit` and variables do not affect the next command.
fn then(first: &str, next: &str) -> String {
    let line = |command: &str, form: &str| -> Option<String> {
        serde_json::from_str(command.strip_prefix(form)?.strip_suffix(']')?).ok()
    };
    let part = |command: &str| {
        let own_shell = || Some(format!("sh -ec {}", shell_words::quote(&line(command, SHELL_FORM)?)));
        line(command, CHAIN_FORM).or_else(own_shell)
    };
    match (part(first), part(next)) {
        (None, None) => format!("{first} && {}", grouped(next)),
        (first_part, next_part) => {
            let (first, next) = (first_part.as_deref().unwrap_or(first), next_part.as_deref().unwrap_or(next));
            chain_form(&format!("{first} && {}", grouped(next)))
        }
    }
}

/// A shell line as one command that can follow `&&`.
fn grouped(line: &str) -> String {
    if line.contains("||") || line.contains(';') { format!("{{ {line}; }}") } else { line.to_owned() }
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

/// Variables as the words of `ENV`: `A="x" B="y"`. Their values have one line, which the parser of `paas.toml` ensures.
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

/// The instruction that starts a command line as a deploy does: inside the container, with a shell.
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
    fn two_commands_are_one_instruction() {
        assert_eq!(then("a", "b && c"), "a && b && c");
        assert_eq!(then("a || b", "c; d"), "a || b && { c; d; }");
        assert_eq!(
            then(&chain_form("sh collect 'dist/a b'"), "c"),
            r#"["/bin/sh", "-c", "sh collect 'dist/a b' && c"]"#
        );
        let both = then(&shell_form("it's\nfalse # x"), &shell_form("b; c"));
        assert_eq!(both, r#"["/bin/sh", "-c", "sh -ec 'it'\\''s\u000afalse # x' && { sh -ec 'b; c'; }"]"#);
        assert_eq!(then(&both, "d"), both.replace("]", "").trim_end_matches('"').to_owned() + r#" && d"]"#);
    }

    /// If both were lines of one shell, `-e` would not work in the first of two commands joined by `&&`.
    #[test]
    fn what_a_user_wrote_succeeds_and_fails_by_itself() {
        for (first, next, status, said) in [
            ("true", "echo b", 0, "b\n"),
            ("false\necho a", "echo b", 1, ""),
            ("echo a; exit 3", "echo b", 3, "a\n"),
            ("echo a", "false\necho b", 1, "a\n"),
            ("echo 'a\nb' # it's", "echo $((1 << 2))", 0, "a\nb\n4\n"),
            ("cd / && X=1", "pwd; echo $X", 0, "/tmp\n\n"),
            ("exec true", "echo b", 0, "b\n"),
            ("exit 0", "echo b", 0, "b\n"),
        ] {
            for joined in [
                then(&shell_form(first), &shell_form(next)),
                then(&then("true", &shell_form(first)), &shell_form(next)),
            ] {
                let words: Vec<String> = serde_json::from_str(&joined).unwrap();
                let output =
                    std::process::Command::new(&words[0]).args(&words[1..]).current_dir("/tmp").output().unwrap();
                assert_eq!(output.status.code(), Some(status), "{joined}");
                assert_eq!(String::from_utf8_lossy(&output.stdout), said, "{joined}");
            }
        }
    }

    #[test]
    fn only_the_templates_that_a_template_names_are_read() -> Result<()> {
        let all = [
            ("a/x", "{% include \"a/y\" %}"),
            ("a/y", "y{% include \"b/z\" %}"),
            ("b/z", "z{# a/x #}"),
            ("b/malformed", "{% if"),
        ];
        let all = all.map(|(name, text)| (name.to_owned(), text)).into();
        let names = |name| needed(name, &all).into_keys().collect::<Vec<_>>();
        assert_eq!(names("a/x"), ["a/x", "a/y", "b/z"]);
        assert_eq!(names("b/malformed"), ["b/malformed"]);
        assert_eq!(names("none"), [""; 0]);
        let tera = parse(needed("a/x", &all).into_iter()).map_err(Error::bug)?;
        assert_eq!(tera.render("a/x", &Context::new()).map_err(Error::bug)?, "yz");
        Ok(())
    }

    #[test]
    fn a_value_is_not_read_as_a_template() -> Result<()> {
        let context = serde_json::json!({ "value": quoted("{{ 7 * 7 }}") });
        assert_eq!(one("x", "RUN [{{ value }}]", &context)?, r#"RUN ["{{ 7 * 7 }}"]"#);
        Ok(())
    }
}
