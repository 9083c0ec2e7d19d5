//! The log of a deployment: to its file first, then to whoever watches, in Dokku's line grammar.

use std::{
    fs::File,
    io::{IsTerminal, Write},
    path::Path,
    sync::{
        Mutex, PoisonError,
        mpsc::{self, SyncSender},
    },
    thread,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use super::{Ui, escapes};
use crate::{
    Error, Result, files,
    model::{MaskedStream, Masker, OperationId},
};

/// What a step begins with.
const STEP: &str = "-----> ";
/// How many lines wait for a viewer who is slow; what comes on top of them is in the file alone.
const VIEWER_QUEUE: usize = 10_000;
/// How long the end of a deployment waits for its viewer to take the last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Where a deployment says what it does. It never fails and never blocks: a deploy does not depend on being watched.
#[derive(Debug)]
pub struct DeployLog {
    file: Mutex<Option<File>>,
    secrets: Mutex<Masker>,
    viewer: Option<SyncSender<Message>>,
    on_open: Option<fn(OperationId)>,
}

#[derive(Debug)]
enum Message {
    Line(String),
    Flush(SyncSender<()>),
}

impl DeployLog {
    /// A log whose viewer is our stderr, if anybody is talked to there. It has no file until [`DeployLog::open_file`].
    pub fn to_stderr(ui: Ui) -> DeployLog {
        if !ui.talks() {
            return DeployLog::silent();
        }
        let (sender, receiver) = mpsc::sync_channel::<Message>(VIEWER_QUEUE);
        // The thread blocks where the viewer is stuck, and the deploy does not.
        let viewer = thread::Builder::new().name("viewer".to_owned()).spawn(move || {
            let spinner = std::io::stderr().is_terminal().then(spinner);
            let mut stderr = std::io::stderr();
            for message in receiver {
                match (message, &spinner) {
                    (Message::Line(line), None) => {
                        drop(stderr.write_all(line.as_bytes()).and_then(|()| stderr.flush()));
                    }
                    (Message::Line(line), Some(spinner)) => {
                        if let Some(step) = line.strip_prefix(STEP) {
                            spinner.set_message(step.trim_end().to_owned());
                        }
                        spinner.suspend(|| drop(stderr.write_all(line.as_bytes())));
                    }
                    (Message::Flush(done), _) => {
                        if let Some(spinner) = &spinner {
                            spinner.finish_and_clear();
                        }
                        let _ = done.send(());
                    }
                }
            }
        });
        DeployLog { viewer: viewer.is_ok().then_some(sender), ..DeployLog::silent() }
    }

    /// A log that nobody watches and no file keeps.
    pub fn silent() -> DeployLog {
        DeployLog { file: Mutex::new(None), secrets: Mutex::default(), viewer: None, on_open: None }
    }

    /// A log that nobody watches, of an operation in a process of its own. `on_open` is told its number once it has one.
    pub fn detached(on_open: fn(OperationId)) -> DeployLog {
        DeployLog { on_open: Some(on_open), ..DeployLog::silent() }
    }

    /// Says that the operation has its row, and so its number.
    pub fn opened(&self, id: OperationId) {
        if let Some(on_open) = self.on_open {
            on_open(id);
        }
    }

    /// Masks these values from now on, in all but our own words: steps and sections.
    pub fn hide<'a>(&self, values: impl IntoIterator<Item = &'a str>) {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner).add(values);
    }

    /// A text without the values that are hidden. They may be divided by what only a terminal heeds.
    pub fn masked(&self, text: &str) -> String {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let masked = secrets.mask(text);
        let plain = masked.split('\n').map(escapes::plain).collect::<Vec<_>>().join("\n");
        secrets.mask(&plain).into_owned()
    }

    /// Masks what comes in pieces, of the values that are hidden so far.
    pub fn masked_stream(&self) -> MaskedStream {
        MaskedStream::new(self.secrets.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Keeps all that follows in the file at `path`, made anew.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub fn open_file(&self, path: &Path) -> Result<()> {
        let file = files::create(path)?;
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        Ok(())
    }

    /// A step: `-----> Building`.
    pub fn step(&self, text: &str) {
        self.lines(STEP, "       ", text);
    }

    /// A section: `=====> http://...`.
    pub fn section(&self, text: &str) {
        self.lines("=====> ", "       ", text);
    }

    /// Detail below a step, indented by seven spaces.
    pub fn detail(&self, text: &str) {
        self.lines("       ", "       ", &self.masked(text));
    }

    /// A warning or an error: ` !     text`.
    pub fn warn(&self, text: &str) {
        self.lines(" !     ", " !     ", &self.masked(text));
    }

    /// An error with its causes, its output and its hint.
    pub fn error(&self, error: &Error) {
        let text = super::error_text(error);
        self.warn(text.strip_prefix("error: ").unwrap_or(&text));
    }

    /// Waits, not for long, until the viewer has the last line.
    pub fn flush(&self) {
        if let Some(viewer) = &self.viewer {
            let (done, finished) = mpsc::sync_channel(1);
            if viewer.try_send(Message::Flush(done)).is_ok() {
                let _ = finished.recv_timeout(LAST_LINES);
            }
        }
    }

    fn lines(&self, first: &str, next: &str, text: &str) {
        let mut block = String::new();
        for (number, line) in text.lines().enumerate() {
            let prefix = if number == 0 { first } else { next };
            // A carriage return or an escape sequence of a build must not repaint the viewer's terminal.
            block.push_str(format!("{prefix}{}", escapes::plain(line)).trim_end());
            block.push('\n');
        }
        if let Some(file) = self.file.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            // A full disk must not end a deploy that needs no room.
            drop(file.write_all(block.as_bytes()));
        }
        if let Some(viewer) = &self.viewer {
            drop(viewer.try_send(Message::Line(block)));
        }
    }
}

/// What a terminal shows below the log: the step that is running, and for how long.
fn spinner() -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_follow_the_grammar_and_hold_no_control_characters() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let path = directory.path().join("deploys/1.log");
        let log = DeployLog::silent();
        log.open_file(&path)?;
        log.step("Building");
        log.detail("one\ntwo \u{1b}[31mred");
        log.warn("failed");
        log.hide(["hunter2hunter2", "--KEY--\nsecond line\n"]);
        log.section("http://hunter2hunter2.localhost");
        log.detail("A=hunter2hunter2 hunter2\u{1b}[31mhunter2 hunter");
        log.detail("--KEY--\r\nsecond line");
        log.warn("said: second line");
        let text = std::fs::read_to_string(&path).map_err(Error::io("read the log"))?;
        assert_eq!(
            text,
            "-----> Building\n       one\n       two red\n !     failed\n=====> http://hunter2hunter2.localhost\n       \
             A=******** ******** hunter\n       ********\n !     said: ********\n"
        );
        Ok(())
    }
}
