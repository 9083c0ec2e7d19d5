//! How the values of properties are written. Each function reads one, or returns the rule that it breaks.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    time::Duration,
};

use super::{BranchName, RestartPolicy, config, names::digits, property::Value};

/// The longest time a property can say, in seconds.
const LONGEST: u64 = 3600;

/// The longest time of a run, in seconds: 30 days.
const LONGEST_RUN: u64 = 30 * 86_400;

/// The longest path of a check, in bytes: what the usual servers take of the first line of a request.
const LONGEST_PATH: usize = 8000;

/// The longest headers of a check together, in bytes: more than any server takes.
const LONGEST_HEADERS: usize = 32 << 10;

/// The longest list of names, in bytes.
const LONGEST_LIST: usize = 8000;

/// The largest number where nothing else bounds it: a petabyte in megabytes.
pub(super) const LARGEST: u64 = 1_000_000_000;

/// Any text but an empty one, and none that is too long to be used.
pub(super) fn text(text: &str, longest: usize) -> Result<Value, String> {
    if text.is_empty() || text.contains('\0') {
        return Err("it is a text, and not empty".to_owned());
    }
    not_longer(text, longest)?;
    Ok(Value::Text(text.to_owned()))
}

/// Refuses what is longer than anything that could work.
fn not_longer(text: &str, longest: usize) -> Result<(), String> {
    match text.len() {
        length if length > longest => Err(format!("it has {length} bytes, and {longest} are the most")),
        _ => Ok(()),
    }
}

/// Reads a number with a fraction, written in digits and one point at most.
fn decimal(text: &str) -> Option<f64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
}

/// A whole number within bounds.
pub(super) fn number(text: &str, bounds: RangeInclusive<u64>) -> Result<Value, String> {
    let number = digits(text).filter(|number| bounds.contains(number));
    number.map(Value::Number).ok_or_else(|| format!("it is a number from {} to {}", bounds.start(), bounds.end()))
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

/// Addresses in a list with commas, or none.
pub fn addresses(text: &str) -> Result<Vec<IpAddr>, String> {
    list_or_none(text, |word| word.parse().ok())
        .ok_or_else(|| "it is none, or addresses such as 203.0.113.7,2001:db8::7, up to 100".to_owned())
}

/// Name servers in a list with commas, each an address, perhaps with a port; or none.
pub fn name_servers(text: &str) -> Result<Vec<SocketAddr>, String> {
    let server = |word: &str| word.parse().ok().or_else(|| Some(SocketAddr::new(word.parse().ok()?, 53)));
    list_or_none(text, server)
        .ok_or_else(|| "it is none, or addresses such as 9.9.9.9,127.0.0.1:5353, up to 100".to_owned())
}

fn list_or_none<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    if text == "none" {
        return Some(Vec::new());
    }
    let all: Option<Vec<T>> = text.split(',').map(|word| read(word.trim())).collect();
    all.filter(|all| all.len() <= 100)
}

/// `true` or `false`, and the other words that people have for these.
pub(super) fn switch(text: &str) -> Result<Value, String> {
    match text {
        "true" | "yes" | "on" => Ok(Value::Switch(true)),
        "false" | "no" | "off" => Ok(Value::Switch(false)),
        _ => Err("it is true or false".to_owned()),
    }
}

/// An address of the web that is kept from others on the way.
pub(super) fn https_url(text: &str) -> Result<Value, String> {
    match url::Url::parse(text) {
        Ok(url) if url.scheme() == "https" && url.has_host() && url.password().is_none() => {
            Ok(Value::Text(text.to_owned()))
        }
        _ => Err("it is a URL that begins with https://".to_owned()),
    }
}

/// A mail address, as far as it can be told.
pub(super) fn mail_address(text: &str) -> Result<Value, String> {
    let (name, domain) = text.split_once('@').unwrap_or_default();
    let is_plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>,;@\"".contains(&byte))
    };
    if is_plain(name) && is_plain(domain) && text.len() <= 254 {
        Ok(Value::Text(text.to_owned()))
    } else {
        Err("it is a mail address, such as ops@example.com".to_owned())
    }
}

/// A program by its whole path, and its arguments, as a shell would split them.
pub(super) fn program(text: &str) -> Result<Value, String> {
    match shell_words::split(text) {
        Ok(words) if words.first().is_some_and(|program| program.starts_with('/')) => Ok(Value::Text(text.to_owned())),
        Ok(_) => Err("it is the whole path of a program, with its arguments".to_owned()),
        Err(_) => Err("a quote is not closed".to_owned()),
    }
}

/// One of some words.
pub(super) fn one_of(text: &str, words: &[&str]) -> Result<Value, String> {
    if words.contains(&text) { Ok(Value::Text(text.to_owned())) } else { Err(format!("it is {}", either(words))) }
}

/// A time, in seconds.
pub(super) fn seconds(text: &str, shortest: u64) -> Result<Value, String> {
    duration(text, shortest).map(|time| Value::Number(time.as_secs()))
}

/// A time of whole seconds, an hour at most.
///
/// # Errors
/// What it is to be.
pub fn duration(text: &str, shortest: u64) -> Result<Duration, String> {
    let seconds = parse_seconds(text).filter(|seconds| (shortest..=LONGEST).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| format!("it is a time from {shortest}s to 1h, such as 90s or 2m"))
}

/// How long a run may take, in seconds: a time as any other, or of days.
pub(super) fn run_time(text: &str) -> Result<Value, String> {
    let days = text.strip_suffix('d').and_then(digits::<u64>);
    let seconds = days.map_or_else(|| parse_seconds(text), |days| days.checked_mul(86_400));
    let seconds = seconds.filter(|seconds| (1..=LONGEST_RUN).contains(seconds));
    seconds.map(Value::Number).ok_or_else(|| "it is a time from 1s to 30d, such as 90s, 30m, 24h or 2d".to_owned())
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
    let cpus = decimal(text).filter(|cpus| (least..=1024.0).contains(cpus));
    cpus.map(|cpus| Value::Number((cpus * 1000.0).round() as u64))
        .ok_or_else(|| format!("it is a number of CPUs such as 0.5 or 2, from {least} to 1024"))
}

/// A path of a URL.
pub(super) fn path(text: &str) -> Result<Value, String> {
    not_longer(text, LONGEST_PATH)?;
    // What is no character of a URL cannot be asked for, and what follows a # is never sent.
    let is_sent = |byte: u8| byte.is_ascii_graphic() && !b"#<>\\^`".contains(&byte);
    if text.starts_with('/') && text.bytes().all(is_sent) {
        Ok(Value::Text(text.to_owned()))
    } else {
        Err("it is a path such as /health, without blanks and # and what else no URL has".to_owned())
    }
}

/// An HTTP status.
pub(super) fn status(text: &str) -> Result<Value, String> {
    number(text, 200..=599).map_err(|_| "it is an HTTP status such as 200, from 200 to 599".to_owned())
}

/// The name of a branch.
pub(super) fn branch(text: &str) -> Result<Value, String> {
    if let Some(name) = text.strip_prefix("refs/heads/") {
        return Err(format!("write the name of the branch alone: {name}"));
    }
    if text.starts_with("refs/") {
        return Err("only branches deploy, and this is not the name of one".to_owned());
    }
    let branch = text.parse::<BranchName>();
    branch
        .map(|_| Value::Text(text.to_owned()))
        .map_err(|error| format!("it is a branch name such as main: {}", error.rule))
}

/// A file of a repository, by its path from the root.
pub(super) fn file(text: &str) -> Result<Value, String> {
    let path = text.strip_prefix("./").unwrap_or(text);
    // No file system holds a longer name.
    let good = |part: &str| {
        !part.is_empty() && part != "." && part != ".." && part.len() <= 255 && !part.chars().any(char::is_control)
    };
    if path.len() <= 1000 && path.split('/').all(good) {
        Ok(Value::Text(path.to_owned()))
    } else {
        Err("it is the path of a file from the root of the repository, such as deploy/Procfile".to_owned())
    }
}

/// Names of variables, in a list with commas, or none.
pub(super) fn variables(text: &str) -> Result<Value, String> {
    not_longer(text, LONGEST_LIST)?;
    match config::rev_names(text) {
        Ok(names) if names.len() < text.split(',').count() && !names.is_empty() => {
            Err("one of the names is there twice".to_owned())
        }
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
    not_longer(text, LONGEST_HEADERS)?;
    if text.split(';').all(|header| header.trim().is_empty()) {
        return Err(rule());
    }
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
    let number = text.trim_end_matches(|character: char| character.is_ascii_alphabetic() || character == ' ');
    let factor = match text[number.len()..].trim() {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    digits::<u64>(number)?.checked_mul(factor)
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
    let amount = decimal(digits)? * factor;
    (amount.is_finite() && amount >= 1.0 && amount <= f64::from(u32::MAX)).then_some(amount as u64)
}
