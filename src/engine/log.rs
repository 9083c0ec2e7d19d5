//! What containers print, in lines. The engine sends it in frames of at most 16 KB, so a longer line comes in several: all
//! but the last end without a newline, and all have the time of the first.

use std::collections::VecDeque;

use bollard::{container::LogOutput, query_parameters as query};
use futures_util::{Stream, StreamExt, future, stream};

use super::{Engine, fault::failed};
use crate::Result;

/// How much of a line is kept, in bytes: what comes after it is dropped, and the line says so.
const LONGEST_LINE: usize = 1024 * 1024;
/// What stands at the end of a line that was cut.
const CUT: &str = " [cut after 1 MiB]";
/// How many frames more than lines are asked for at first.
const MORE_FRAMES: u32 = 64;

/// A line of a container's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When, in RFC 3339 with nanoseconds.
    pub time: String,
    /// What.
    pub text: String,
    /// Whether its newline was there: if not, more of it may come.
    pub is_ended: bool,
}

impl LogLine {
    /// As people see it: `2026-11-21T11:22:27.123456789Z app[web.1]: text`.
    pub fn of(&self, label: &str) -> String {
        format!("{} app[{label}]: {}", self.time, self.text)
    }
}

/// Makes lines of frames.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The line that has no newline yet, of stdout and of stderr.
    begun: [Option<Begun>; 2],
}

#[derive(Debug)]
struct Begun {
    time: String,
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Lines {
    /// Takes a frame, and gives the lines that it ends.
    pub(super) fn take(&mut self, frame: &LogOutput) -> Vec<LogLine> {
        let begun = &mut self.begun[usize::from(matches!(frame, LogOutput::StdErr { .. }))];
        let message: &[u8] = frame.as_ref();
        let time = time_of(frame);
        let text = message.get(time.len() + 1..).unwrap_or_default();
        let mut lines = Vec::new();
        // A program that ended within a line does not go on with it after its restart.
        if begun.as_ref().is_some_and(|begun| begun.time != time) {
            lines.extend(begun.take().map(|begun| begun.into_line(false)));
        }
        let line = begun.get_or_insert_with(|| Begun { time, bytes: Vec::new(), is_cut: false });
        let room = LONGEST_LINE - line.bytes.len();
        let content = text.strip_suffix(b"\n").unwrap_or(text);
        line.bytes.extend_from_slice(&content[..content.len().min(room)]);
        line.is_cut |= content.len() > room;
        if message.ends_with(b"\n") {
            lines.extend(begun.take().map(|begun| begun.into_line(true)));
        }
        lines
    }

    /// What has no newline at the end of the log.
    pub(super) fn rest(&mut self) -> Vec<LogLine> {
        self.begun.iter_mut().filter_map(Option::take).map(|begun| begun.into_line(false)).collect()
    }
}

/// When a frame was printed: what it begins with.
fn time_of(frame: &LogOutput) -> String {
    let message: &[u8] = frame.as_ref();
    let time = message.iter().take_while(|byte| byte.is_ascii_graphic()).map(|byte| char::from(*byte));
    time.collect()
}

impl Begun {
    fn into_line(self, is_ended: bool) -> LogLine {
        let mut text = String::from_utf8_lossy(&self.bytes).into_owned();
        if self.is_cut {
            // The cut may have gone through a character.
            text.truncate(text.trim_end_matches('\u{fffd}').len());
            text.push_str(CUT);
        } else {
            text.truncate(text.trim_end_matches('\r').len());
        }
        LogLine { time: self.time, text, is_ended }
    }
}

impl Engine {
    /// A container's output: all of it, or what is in its last frames; then what follows if `follow`.
    pub fn logs(&self, name: &str, frames: Option<u32>, follow: bool) -> impl Stream<Item = Result<LogLine>> + use<> {
        self.frames(name, frames, follow)
            .map(Some)
            .chain(stream::iter([None]))
            .scan(Lines::default(), |lines, frame| {
                future::ready(Some(match frame {
                    Some(Ok(frame)) => lines.take(&frame).into_iter().map(Ok).collect::<Vec<_>>(),
                    Some(Err(error)) => vec![Err(error)],
                    None => lines.rest().into_iter().map(Ok).collect(),
                }))
            })
            .flat_map(stream::iter)
    }

    /// The last lines of a container's output, oldest first.
    ///
    /// # Errors
    /// [`crate::Error::Engine`], for example where the container is gone.
    pub async fn last_lines(&self, name: &str, count: u32) -> Result<Vec<LogLine>> {
        let mut asked = count.saturating_add(MORE_FRAMES);
        loop {
            let mut frames = std::pin::pin!(self.frames(name, Some(asked), false));
            let (mut lines, mut found) = (Lines::default(), VecDeque::new());
            let (mut seen, mut first) = (0, String::new());
            while let Some(frame) = frames.next().await {
                let frame = match frame {
                    Ok(frame) => frame,
                    Err(error) if seen == 0 => return Err(error),
                    // It went while it was read.
                    Err(_) => break,
                };
                if seen == 0 {
                    first = time_of(&frame);
                }
                seen += 1;
                found.extend(lines.take(&frame));
            }
            found.extend(lines.rest());
            if let Some(found) = last_whole(found, count, Some(first.as_str()).filter(|_| seen >= asked)) {
                return Ok(found);
            }
            asked = asked.saturating_mul(4);
        }
    }

    /// The last lines a container printed, as one text; empty where there are none or the container is gone.
    pub async fn last_output(&self, name: &str, count: u32) -> String {
        let lines = self.last_lines(name, count).await.unwrap_or_default();
        let lines: Vec<String> = lines.into_iter().map(|line| line.text).collect();
        lines.join("\n")
    }

    fn frames(&self, name: &str, tail: Option<u32>, follow: bool) -> impl Stream<Item = Result<LogOutput>> + use<> {
        let options = query::LogsOptions {
            follow,
            stdout: true,
            stderr: true,
            timestamps: true,
            tail: tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string()),
            ..Default::default()
        };
        let failed = failed(format!("read the log of {name}"));
        self.docker.logs(name, Some(options)).map(move |frame| frame.map_err(&failed))
    }
}

/// The last `count` of these lines. `cut`: when the first frame was printed, if there are others before it; what is not
/// newer may be the rest of a line that began there. None where more must be read.
fn last_whole(mut lines: VecDeque<LogLine>, count: u32, cut: Option<&str>) -> Option<Vec<LogLine>> {
    // What came over stderr and over stdout at nearly the same time is not always in order.
    lines.make_contiguous().sort_by(|left, right| left.time.cmp(&right.time));
    if let Some(cut) = cut {
        lines.retain(|line| line.time.as_str() > cut);
        if lines.len() < count as usize {
            return None;
        }
    }
    let surplus = lines.len().saturating_sub(count as usize);
    Some(lines.into_iter().skip(surplus).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(text: &[u8]) -> LogOutput {
        LogOutput::StdOut { message: text.to_vec().into() }
    }

    fn line(time: &str, text: &str) -> LogLine {
        LogLine { time: time.to_owned(), text: text.to_owned(), is_ended: true }
    }

    #[test]
    fn a_line_that_comes_in_frames_is_whole() {
        let mut lines = Lines::default();
        // One of two bytes is cut in the middle, and stderr comes between.
        assert_eq!(lines.take(&out(b"T1 one \xc3")), []);
        assert_eq!(lines.take(&LogOutput::StdErr { message: "T2 other\n".into() }), [line("T2", "other")]);
        assert_eq!(lines.take(&out(b"T1 \xa9 two")), []);
        assert_eq!(lines.take(&out(b"T1  three\r\n")), [line("T1", "one \u{e9} two three")]);
        assert_eq!(lines.take(&out(b"T3 \n")), [line("T3", "")]);
        assert_eq!(lines.rest(), []);
    }

    #[test]
    fn a_line_that_its_program_did_not_end_is_a_line_of_its_own() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(&out(b"T1 last words")), []);
        let last_words = LogLine { is_ended: false, ..line("T1", "last words") };
        assert_eq!(lines.take(&out(b"T2 again\n")), [last_words.clone(), line("T2", "again")]);
        lines.take(&out(b"T1 last words"));
        assert_eq!(lines.rest(), [last_words]);
    }

    #[test]
    fn an_endless_line_takes_a_bounded_memory_and_says_that_it_is_cut() {
        let mut lines = Lines::default();
        let frame = out(format!("T1 {}", "\u{e9}".repeat(8191) + "x").as_bytes());
        for _ in 0..100 {
            assert_eq!(lines.take(&frame), []);
        }
        let kept = lines.begun[0].as_ref().unwrap().bytes.len();
        assert_eq!(kept, LONGEST_LINE);
        let cut = lines.take(&out(b"T1 end\n")).remove(0).text;
        assert!(cut.len() <= LONGEST_LINE + CUT.len() && cut.ends_with(CUT), "{} bytes", cut.len());
        assert!(!cut.contains('\u{fffd}'));
        assert_eq!(lines.take(&out(b"T2 next\n")), [line("T2", "next")]);
    }

    #[test]
    fn the_last_lines_are_those_that_are_surely_whole() {
        let lines =
            || VecDeque::from([line("T2", "rest of a line"), line("T3", "a"), line("T1", "rest"), line("T4", "b")]);
        assert_eq!(last_whole(lines(), 2, Some("T2")), Some(vec![line("T3", "a"), line("T4", "b")]));
        assert_eq!(last_whole(lines(), 3, Some("T2")), None);
        assert_eq!(last_whole(lines(), 5, None).unwrap().len(), 4);
        assert_eq!(last_whole(lines(), 1, None), Some(vec![line("T4", "b")]));
        assert_eq!(last_whole(lines(), 0, Some("T2")), Some(Vec::new()));
        assert_eq!(last_whole(VecDeque::new(), 5, None), Some(Vec::new()));
    }
}
