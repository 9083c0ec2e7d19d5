//! What is kept of what a program printed that ran once: its last lines, without the secrets that it was given.

use std::collections::VecDeque;

use futures_util::StreamExt;

use crate::{
    Result,
    engine::Engine,
    instance::Instance,
    model::{MaskedStream, Masker, Override, ReleaseId},
};

/// The last lines, within a bound.
#[derive(Debug)]
pub(super) struct Kept {
    lines: VecDeque<String>,
    length: usize,
    longest: usize,
    /// How much there was before them, in bytes.
    pub(super) dropped: u64,
}

impl Kept {
    /// At most so many bytes.
    fn new(longest: usize) -> Kept {
        Kept { lines: VecDeque::new(), length: 0, longest, dropped: 0 }
    }

    /// The last that a container printed, `longest` bytes at most. What cannot be masked is not kept.
    ///
    /// # Errors
    /// What the engine says.
    pub(super) async fn of(engine: &Engine, container: &str, secrets: Masker, longest: usize) -> Result<Kept> {
        let mut stream = MaskedStream::new(secrets);
        let mut kept = Kept::new(longest);
        let mut lines = std::pin::pin!(engine.logs(container, None, false));
        while let Some(line) = lines.next().await {
            let line = line?;
            kept.push(stream.line(&line.text, line.is_ended));
        }
        let rest = stream.line("", true);
        if !rest.is_empty() {
            kept.push(rest);
        }
        Ok(kept)
    }

    fn push(&mut self, mut line: String) {
        if line.len() > self.longest {
            let start =
                (line.len() - self.longest..line.len()).find(|at| line.is_char_boundary(*at)).unwrap_or(line.len());
            self.dropped += start as u64;
            line.drain(..start);
        }
        self.length += line.len() + 1;
        self.lines.push_back(line);
        while self.length > self.longest + 1
            && let Some(first) = self.lines.pop_front()
        {
            self.length -= first.len() + 1;
            self.dropped += first.len() as u64 + 1;
        }
    }

    /// The lines, without the end of the last one.
    pub(super) fn text(&self) -> String {
        let mut text = String::with_capacity(self.length);
        for (number, line) in self.lines.iter().enumerate() {
            if number > 0 {
                text.push('\n');
            }
            text.push_str(line);
        }
        text
    }
}

/// The secrets that each program of a release is given.
///
/// # Errors
/// [`crate::Error::Store`], [`crate::Error::Host`] where the config cannot be unsealed.
pub(super) async fn secrets_of(instance: &Instance, release: ReleaseId) -> Result<Masker> {
    let read = instance.reading(move |tables| Ok((tables.release(release)?, tables.sealed_config(release)?)));
    let (release, sealed) = read.await?;
    let mut secrets = Masker::default();
    secrets.add(instance.secrets.unseal_config(&sealed)?.values());
    secrets.add(release.overrides.iter().flat_map(Override::secrets));
    Ok(secrets)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: usize = 64 * 1024;

    #[test]
    fn the_last_lines_are_kept_and_the_rest_is_counted() {
        let mut kept = Kept::new(LONGEST);
        for number in 0..10_000 {
            kept.push(format!("{number:04} {}", "x".repeat(95)));
        }
        let text = kept.text();
        assert!(text.len() <= LONGEST && text.len() > LONGEST - 200, "{}", text.len());
        assert!(text.lines().all(|line| line.len() == 100) && text.contains("\n9999 "));
        assert_eq!(kept.dropped as usize + text.len() + 1, 10_000 * 101);
        let mut kept = Kept::new(LONGEST);
        kept.push(format!("{}end", "\u{e9}".repeat(LONGEST)));
        let text = kept.text();
        assert!(text.ends_with("end") && text.len() <= LONGEST, "{}", text.len());
        assert_eq!(kept.dropped as usize + text.len(), 2 * LONGEST + 3);
    }

    #[test]
    fn what_printed_nothing_has_no_output() {
        assert_eq!(Kept::new(LONGEST).text(), "");
    }
}
