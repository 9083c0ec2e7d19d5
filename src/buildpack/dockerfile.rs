//! The port that a user's own Dockerfile exposes. Only the builder reads the rest of it.

use std::collections::{BTreeMap, BTreeSet};

/// The TCP ports that the last stage exposes, including those of the stages it is built from.
pub(super) fn exposed_ports(dockerfile: &str) -> BTreeSet<u16> {
    let mut named: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
    let mut ports = BTreeSet::new();
    let mut name = None;
    for instruction in instructions(dockerfile) {
        let mut words = instruction.split_whitespace();
        match words.next().map(str::to_ascii_uppercase).as_deref() {
            Some("FROM") => {
                if let Some(name) = name.take() {
                    named.insert(name, std::mem::take(&mut ports));
                }
                let words: Vec<&str> = words.filter(|word| !word.starts_with("--")).collect();
                let base = words.first().map(|base| base.to_ascii_lowercase());
                ports = base.and_then(|base| named.get(&base).cloned()).unwrap_or_default();
                name = match words.as_slice() {
                    [_, word, name] if word.eq_ignore_ascii_case("as") => Some(name.to_ascii_lowercase()),
                    _ => None,
                };
            }
            Some("EXPOSE") => ports.extend(words.filter_map(|word| {
                let port = match word.split_once('/') {
                    Some((port, protocol)) => Some(port).filter(|_| protocol.eq_ignore_ascii_case("tcp"))?,
                    None => word,
                };
                port.parse::<u16>().ok().filter(|port| *port > 0)
            })),
            _ => {}
        }
    }
    ports
}

/// The instructions, with continued lines joined and comments left out.
pub(super) fn instructions(dockerfile: &str) -> Vec<String> {
    let mut instructions = Vec::new();
    let mut current = String::new();
    for line in dockerfile.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.strip_suffix('\\') {
            Some(continued) => {
                current.push_str(continued);
                current.push(' ');
            }
            None => {
                current.push_str(line);
                instructions.push(std::mem::take(&mut current));
            }
        }
    }
    instructions.push(current);
    instructions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ports_of_the_last_stage_count() {
        let ports = |text: &str| exposed_ports(text).into_iter().collect::<Vec<_>>();
        assert_eq!(ports("FROM a\nEXPOSE 3000"), [3000]);
        assert_eq!(ports("from a\nexpose 3000/tcp 53/udp"), [3000]);
        assert_eq!(ports("FROM a AS b\nEXPOSE 1\nFROM c\nEXPOSE 2"), [2]);
        assert_eq!(ports("FROM a AS Base\nEXPOSE 1\nFROM c\nEXPOSE 2\nFROM base"), [1]);
        assert_eq!(ports("FROM --platform=linux/amd64 a AS b\nEXPOSE 1\nFROM b"), [1]);
        assert_eq!(ports("FROM a\nEXPOSE 80 \\\n # comment\n 443"), [80, 443]);
        assert_eq!(ports("FROM a\nEXPOSE $PORT\nEXPOSE 0\nEXPOSE 8000-8010\n# EXPOSE 1"), [0_u16; 0]);
    }
}
