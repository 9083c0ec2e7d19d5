//! How the values of properties are written. Each function reads one, or returns the rule that it breaks.

use std::{collections::BTreeSet, ops::RangeInclusive};

use super::{BranchName, RestartPolicy, config, property::Value};

/// The longest time a property can say, in seconds.
const LONGEST: u64 = 3600;

/// Any text but an empty one.
pub(super) fn text(text: &str) -> Result<Value, String> {
    if text.is_empty() || text.contains('\0') {
        return Err("it is a text, and not empty".to_owned());
    }
    Ok(Value::Text(text.to_owned()))
}

/// A whole number within bounds.
pub(super) fn number(text: &str, bounds: RangeInclusive<u64>) -> Result<Value, String> {
    let number = text.parse().ok().filter(|number| bounds.contains(number));
    number.map(Value::Number).ok_or_else(|| match *bounds.end() {
        u64::MAX => format!("it is a number from {}", bounds.start()),
        end => format!("it is a number from {} to {end}", bounds.start()),
    })
}

/// Ports in a list with commas, or none.
pub fn ports(text: &str) -> Result<BTreeSet<u16>, String> {
    if text == "none" {
        return Ok(BTreeSet::new());
    }
    let port = |word: &str| word.trim().parse().ok().filter(|port| *port > 0);
    let ports: Option<BTreeSet<u16>> = text.split(',').map(port).collect();
    ports
        .filter(|ports| ports.len() <= 100)
        .ok_or_else(|| "it is none, or ports such as 5432,6379, up to 100".to_owned())
}

/// `true` or `false`, and the other words that people have for these.
pub(super) fn switch(text: &str) -> Result<Value, String> {
    match text {
        "true" | "yes" | "on" => Ok(Value::Switch(true)),
        "false" | "no" | "off" => Ok(Value::Switch(false)),
        _ => Err("it is true or false".to_owned()),
    }
}

/// One of some words.
pub(super) fn one_of(text: &str, words: &[&str]) -> Result<Value, String> {
    if words.contains(&text) { Ok(Value::Text(text.to_owned())) } else { Err(format!("it is {}", either(words))) }
}

/// A time, in seconds.
pub(super) fn seconds(text: &str, shortest: u64) -> Result<Value, String> {
    let seconds = parse_seconds(text).filter(|seconds| (shortest..=LONGEST).contains(seconds));
    seconds.map(Value::Number).ok_or_else(|| format!("it is a time from {shortest}s to 1h, such as 90s or 2m"))
}

/// An amount of memory for a container, in MiB.
pub(super) fn memory(text: &str) -> Result<Value, String> {
    let mebibytes = parse_mebibytes(text).filter(|mebibytes| *mebibytes >= 6);
    mebibytes.map(Value::Number).ok_or_else(|| "it is an amount of memory such as 512m or 2g, at least 6m".to_owned())
}

/// An amount of data, in bytes.
pub(super) fn bytes(text: &str, least: u64) -> Result<Value, String> {
    let bytes = parse_mebibytes(text).map(|mebibytes| mebibytes << 20).filter(|bytes| *bytes >= least);
    bytes.map(Value::Number).ok_or_else(|| "it is an amount such as 4m or 1g, at least 1m".to_owned())
}

/// A number of CPUs, in thousandths.
pub(super) fn cpus(text: &str, least: f64) -> Result<Value, String> {
    let cpus = text.parse::<f64>().ok().filter(|cpus| (least..=1024.0).contains(cpus));
    cpus.map(|cpus| Value::Number((cpus * 1000.0).round() as u64))
        .ok_or_else(|| format!("it is a number of CPUs such as 0.5 or 2, from {least} to 1024"))
}

/// A path of a URL.
pub(super) fn path(text: &str) -> Result<Value, String> {
    if text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(Value::Text(text.to_owned()))
    } else {
        Err("it is a path such as /health".to_owned())
    }
}

/// An HTTP status.
pub(super) fn status(text: &str) -> Result<Value, String> {
    number(text, 100..=599).map_err(|_| "it is an HTTP status such as 200".to_owned())
}

/// The name of a branch.
pub(super) fn branch(text: &str) -> Result<Value, String> {
    let branch = text.parse::<BranchName>();
    branch.map(|_| Value::Text(text.to_owned())).map_err(|_| "it is a branch name such as main".to_owned())
}

/// A file of a repository, by its path from the root.
pub(super) fn file(text: &str) -> Result<Value, String> {
    let path = text.strip_prefix("./").unwrap_or(text);
    let good = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.chars().any(char::is_control);
    if path.len() <= 1000 && path.split('/').all(good) {
        Ok(Value::Text(path.to_owned()))
    } else {
        Err("it is the path of a file from the root of the repository, such as deploy/Procfile".to_owned())
    }
}

/// Names of variables, in a list with commas, or none.
pub(super) fn variables(text: &str) -> Result<Value, String> {
    match config::rev_names(text) {
        Ok(_) => Ok(Value::Text(text.to_owned())),
        Err(error) => Err(format!("it is one or more names of variables, such as GIT_REV, or none: {}", error.rule)),
    }
}

/// A restart policy.
pub(super) fn restart(text: &str) -> Result<Value, String> {
    let policy = text.parse::<RestartPolicy>();
    policy
        .map(|_| Value::Text(text.to_owned()))
        .map_err(|_| "it is always, on-failure, on-failure:TIMES or no".to_owned())
}

/// Headers: `Name: value; Other: value`.
pub(super) fn headers(text: &str) -> Result<Vec<(String, String)>, String> {
    let rule = || "it is a name, a colon and a value: `X-Probe: yes`; several are divided by `;`".to_owned();
    text.split(';')
        .map(str::trim)
        .filter(|header| !header.is_empty())
        .map(|header| {
            let (name, value) = header.split_once(':').ok_or_else(rule)?;
            let (name, value) = (name.trim(), value.trim());
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            let good = !name.is_empty()
                && name.bytes().all(is_name)
                && value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
            if good { Ok((name.to_owned(), value.to_owned())) } else { Err(rule()) }
        })
        .collect()
}

/// Words as people list what is allowed: `a, b or c`.
fn either(words: &[&str]) -> String {
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

/// Reads a time as people write it, `30`, `30s`, `2m`, `1h`, in seconds.
fn parse_seconds(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic() || character == ' ');
    let factor = match text[digits.len()..].trim() {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// Reads an amount of memory as Docker writes it, `512m`, `2g`, `1.5GB`, in MiB as Docker does.
fn parse_mebibytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|character: char| character.is_ascii_alphabetic() || character == ' ');
    let factor = match lower[digits.len()..].trim() {
        "m" | "mb" | "mi" | "mib" => 1.0,
        "g" | "gb" | "gi" | "gib" => 1024.0,
        _ => return None,
    };
    let amount = digits.parse::<f64>().ok()? * factor;
    (amount.is_finite() && amount >= 1.0 && amount <= f64::from(u32::MAX)).then_some(amount as u64)
}
