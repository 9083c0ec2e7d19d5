//! The port that a user's own Dockerfile exposes. Only the builder reads the rest of it.

use std::collections::BTreeMap;

use crate::model::EnvKey;

/// The TCP ports that the last stage exposes, including those of the stages it is built from, in their order.
pub(super) fn exposed_ports(dockerfile: &str) -> Vec<u16> {
    let mut named: BTreeMap<String, Vec<u16>> = BTreeMap::new();
    let mut ports: Vec<u16> = Vec::new();
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
            Some("EXPOSE") => {
                for port in words.filter_map(exposed_port) {
                    if !ports.contains(&port) {
                        ports.push(port);
                    }
                }
            }
            _ => {}
        }
    }
    ports
}

/// A word of EXPOSE, if it is a TCP port.
fn exposed_port(word: &str) -> Option<u16> {
    let port = match word.split_once('/') {
        Some((port, protocol)) => Some(port).filter(|_| protocol.eq_ignore_ascii_case("tcp"))?,
        None => word,
    };
    port.parse().ok().filter(|port| *port > 0)
}

/// A generated Dockerfile with arguments of the build, declared where the source is there and commands follow. Above that
/// they would cost the cache of all that does not depend on the source.
pub(super) fn with_arguments(dockerfile: &str, names: &[EnvKey]) -> String {
    let names: Vec<&str> = names.iter().map(EnvKey::as_str).collect();
    let begins = |line: &str, word: &str| line.strip_prefix(word).is_some_and(|rest| rest.starts_with(' '));
    let takes_the_source = |line: &str| begins(line, "COPY") && line.ends_with(" .");
    let lines: Vec<&str> = dockerfile.lines().collect();
    let mut text = String::new();
    let mut is_declared = names.is_empty();
    for (index, line) in lines.iter().enumerate() {
        text.push_str(line);
        text.push('\n');
        if begins(line, "FROM") {
            is_declared = names.is_empty();
        }
        let mut rest = lines[index + 1..].iter().take_while(|line| !begins(line, "FROM"));
        if !is_declared && takes_the_source(line) && rest.any(|line| begins(line, "RUN")) {
            text.push_str(&format!("ARG {}\n", names.join(" ")));
            is_declared = true;
        }
    }
    text
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
        let ports = exposed_ports;
        assert_eq!(ports("FROM a\nEXPOSE 3000"), [3000]);
        assert_eq!(ports("from a\nexpose 3000/tcp 53/udp"), [3000]);
        assert_eq!(ports("FROM a AS b\nEXPOSE 1\nFROM c\nEXPOSE 2"), [2]);
        assert_eq!(ports("FROM a AS Base\nEXPOSE 1\nFROM c\nEXPOSE 2\nFROM base"), [1]);
        assert_eq!(ports("FROM --platform=linux/amd64 a AS b\nEXPOSE 1\nFROM b"), [1]);
        assert_eq!(ports("FROM a\nEXPOSE 443 \\\n # comment\n 80\nEXPOSE 443/tcp"), [443, 80]);
        assert_eq!(ports("FROM a\nEXPOSE $PORT\nEXPOSE 0\nEXPOSE 8000-8010\n# EXPOSE 1"), [0_u16; 0]);
    }

    #[test]
    fn arguments_are_declared_after_the_source_in_stages_that_build_it() {
        let text = "FROM a AS build\nCOPY [\"x\", \"./\"]\nRUN install\nCOPY --chown=1:1 . .\nRUN --mount=x \\\n    build\n\
                    COPY . .\nRUN more\n\nFROM b\nCOPY --from=build /src .\nUSER 1\n\nFROM c\nCOPY --from=build /app .\nRUN d\n";
        let keys: Vec<EnvKey> = ["A", "B"].iter().map(|name| name.parse().unwrap()).collect();
        let expected = text
            .replace("COPY --chown=1:1 . .\n", "COPY --chown=1:1 . .\nARG A B\n")
            .replace("/app .\n", "/app .\nARG A B\n");
        assert_eq!(with_arguments(text, &keys), expected);
        assert_eq!(with_arguments(text, &[]), text);
    }
}
