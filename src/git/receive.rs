//! What git tells a receive hook and what it wants to hear: githooks(5), sections pre-receive and proc-receive, in the
//! packets of gitprotocol-common(5).

use std::io::{BufRead, Read, Write};

use crate::{
    Error, Result,
    model::{BranchName, CommitId},
};

/// A reference somebody pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefUpdate {
    /// Where it was; the null id where it is new.
    pub old: CommitId,
    /// Where it shall be; the null id where it shall go.
    pub new: CommitId,
    /// Its full name.
    pub name: String,
}

impl RefUpdate {
    /// The branch's name, if it is a branch.
    pub fn branch(&self) -> Option<BranchName> {
        self.name.strip_prefix("refs/heads/")?.parse().ok()
    }

    /// The tag's name, if it is a tag.
    pub fn tag(&self) -> Option<&str> {
        self.name.strip_prefix("refs/tags/")
    }

    fn parse(line: &str) -> Result<RefUpdate> {
        let mut words = line.trim_end_matches('\n').splitn(3, ' ');
        let mut next = || words.next().ok_or_else(|| Error::bug(format!("git sent {line:?}")));
        Ok(RefUpdate { old: next()?.parse()?, new: next()?.parse()?, name: next()?.to_owned() })
    }
}

/// Reads what a pre-receive hook is told: a line `OLD NEW NAME` a reference.
///
/// # Errors
/// [`Error::Host`], or [`Error::Bug`] where git speaks otherwise.
pub fn read_updates(input: impl BufRead) -> Result<Vec<RefUpdate>> {
    input.lines().map(|line| RefUpdate::parse(&line.map_err(Error::io("read from git"))?)).collect()
}

/// The conversation of a proc-receive hook.
#[derive(Debug)]
pub struct ProcReceive<R, W> {
    input: R,
    output: W,
    /// The references that were pushed and are ours to move.
    pub updates: Vec<RefUpdate>,
    /// The push options (`git push -o`).
    pub options: Vec<String>,
}

impl<R: Read, W: Write> ProcReceive<R, W> {
    /// Agrees on the version and reads what was pushed.
    ///
    /// # Errors
    /// [`Error::Host`], or [`Error::Bug`] where git speaks otherwise.
    pub fn begin(mut input: R, mut output: W) -> Result<Self> {
        let greeting = read_section(&mut input)?;
        let first = greeting.first().map(String::as_str).unwrap_or_default();
        let (version, features) = first.trim_end().split_once('\0').unwrap_or((first.trim_end(), ""));
        if version != "version=1" {
            return Err(Error::bug(format!("git speaks {version:?} to the proc-receive hook")));
        }
        let options_follow = features.split(' ').any(|feature| feature == "push-options");
        write_packet(&mut output, if options_follow { "version=1\0push-options\n" } else { "version=1\n" })?;
        flush(&mut output)?;
        let updates = read_section(&mut input)?.iter().map(|line| RefUpdate::parse(line)).collect::<Result<_>>()?;
        let options = if options_follow { read_section(&mut input)? } else { Vec::new() };
        let options = options.into_iter().map(|option| option.trim_end().to_owned()).collect();
        Ok(ProcReceive { input, output, updates, options })
    }

    /// Says that a reference was moved.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub fn ok(&mut self, name: &str) -> Result<()> {
        write_packet(&mut self.output, &format!("ok {name}\n"))
    }

    /// Says that in place of a reference that was pushed another was moved, or the same one to another object.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub fn ok_as(&mut self, name: &str, moved: &RefUpdate) -> Result<()> {
        self.ok(name)?;
        for option in
            [format!("refname {}", moved.name), format!("old-oid {}", moved.old), format!("new-oid {}", moved.new)]
        {
            write_packet(&mut self.output, &format!("option {option}\n"))?;
        }
        Ok(())
    }

    /// Leaves a reference to git.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub fn fall_through(&mut self, name: &str) -> Result<()> {
        self.ok(name)?;
        write_packet(&mut self.output, "option fall-through\n")
    }

    /// Says that a reference was not moved, and why, in one line.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub fn refuse(&mut self, name: &str, reason: &str) -> Result<()> {
        let reason: String = reason.chars().filter(|character| !character.is_control()).take(200).collect();
        write_packet(&mut self.output, &format!("ng {name} {reason}\n"))
    }

    /// Ends the conversation.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub fn end(mut self) -> Result<()> {
        drop(self.input);
        flush(&mut self.output)
    }
}

/// Says to a client, in place of a service, why there is none: `fatal: remote error: ...`.
///
/// # Errors
/// [`Error::Host`].
pub fn refuse_service(mut output: impl Write, reason: &str) -> Result<()> {
    write_packet(&mut output, &format!("ERR {reason}"))?;
    output.flush().map_err(Error::io("answer git"))
}

/// Reads packets up to a flush.
fn read_section(input: &mut impl Read) -> Result<Vec<String>> {
    let mut packets = Vec::new();
    loop {
        let mut digits = [0; 4];
        input.read_exact(&mut digits).map_err(Error::io("read from git"))?;
        let length = std::str::from_utf8(&digits)
            .ok()
            .and_then(|digits| usize::from_str_radix(digits, 16).ok())
            .ok_or_else(|| Error::bug("git sent a packet without a length"))?;
        match length {
            0 => return Ok(packets),
            1..4 => return Err(Error::bug("git sent a packet that is too short")),
            _ => {
                let mut packet = vec![0; length - 4];
                input.read_exact(&mut packet).map_err(Error::io("read from git"))?;
                packets.push(String::from_utf8_lossy(&packet).into_owned());
            }
        }
    }
}

fn write_packet(output: &mut impl Write, text: &str) -> Result<()> {
    write!(output, "{:04x}{text}", text.len() + 4).map_err(Error::io("answer git"))
}

fn flush(output: &mut impl Write) -> Result<()> {
    output.write_all(b"0000").and_then(|()| output.flush()).map_err(Error::io("answer git"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "0000000000000000000000000000000000000000";
    const NEW: &str = "1111111111111111111111111111111111111111";

    fn packet(text: &str) -> String {
        format!("{:04x}{text}", text.len() + 4)
    }

    #[test]
    fn a_push_with_options_is_read_and_answered() -> Result<()> {
        let input = [
            packet("version=1\0push-options atomic\n"),
            "0000".to_owned(),
            packet(&format!("{OLD} {NEW} refs/heads/main\n")),
            "0000".to_owned(),
            packet("no-wait\n"),
            "0000".to_owned(),
        ]
        .concat();
        let mut output = Vec::new();
        let mut conversation = ProcReceive::begin(input.as_bytes(), &mut output)?;
        assert_eq!(conversation.options, ["no-wait"]);
        assert_eq!(conversation.updates[0].branch(), Some("main".parse()?));
        assert!(conversation.updates[0].old.is_zero());
        conversation.ok("refs/heads/main")?;
        conversation.refuse("refs/heads/x", "two\nlines")?;
        conversation.fall_through("refs/tags/v1")?;
        conversation.end()?;
        let text = String::from_utf8(output).map_err(Error::bug)?;
        assert_eq!(
            text,
            "001bversion=1\0push-options\n00000017ok refs/heads/main\n001dng refs/heads/x twolines\n\
             0014ok refs/tags/v1\n0018option fall-through\n0000"
        );
        Ok(())
    }

    #[test]
    fn nonsense_is_an_error_and_no_panic() {
        for bad in ["", "zzzz", "0003", "0009abc", "000eversion=2\n0000"] {
            assert!(ProcReceive::begin(bad.as_bytes(), Vec::new()).is_err(), "{bad:?}");
        }
    }
}
