//! What an app's processes print: from the engine while their container is there, from a bounded file after.

use std::{
    collections::{HashMap, HashSet},
    io::Read,
    path::Path,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use serde::Serialize;

use crate::{
    Error, Result,
    context::Context,
    engine::{Engine, LogLine},
    files,
    instance::Instance,
    model::{App, AppName, ContainerId, ProcessType},
    store::Container,
};

/// How many frames of the past a follower asks for, to find where it stopped.
const FRAMES_BACK: u32 = 2000;
/// How often a follower looks for new containers.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What to show of an app's log.
#[derive(Clone, Debug)]
pub struct Selection {
    /// How many lines of the past.
    pub lines: u32,
    /// Whether to go on with what is printed from now on.
    pub follow: bool,
    /// One process type, or all.
    pub process: Option<ProcessType>,
}

/// A line of an app's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Printed {
    /// When it was printed, in RFC 3339 with nanoseconds.
    pub printed_at: String,
    /// The container: `web.1`.
    pub container: String,
    /// What it printed, as it is but for bytes that are not UTF-8.
    pub message: String,
}

impl Printed {
    fn new(line: LogLine, container: &Container) -> Printed {
        Printed { printed_at: line.time, container: container.label(), message: line.text }
    }

    /// Reads a line of the file of former lines, which [`LogLine::of`] wrote.
    fn parse(line: &str) -> Option<Printed> {
        let (time, rest) = line.split_once(' ')?;
        let (container, message) = rest.strip_prefix("app[")?.split_once("]: ")?;
        Some(Printed { printed_at: time.to_owned(), container: container.to_owned(), message: message.to_owned() })
    }

    /// As people see it: `2026-11-21T11:22:27.123456789Z app[web.1]: text`.
    pub fn line(&self) -> String {
        format!("{} app[{}]: {}", self.printed_at, self.container, self.message)
    }
}

/// Gives an app's log to `out`, line by line, oldest first; with `follow`, until `out` fails. `out` gets nothing from
/// time to time, to look whether anybody still reads.
///
/// # Errors
/// `EngineError::Unavailable`, [`Error::Host`], and what `out` returns.
pub async fn show(
    context: &Context<'_>,
    name: &AppName,
    selection: &Selection,
    mut out: impl FnMut(Option<&Printed>) -> Result<()>,
) -> Result<()> {
    let instance = context.instance;
    let app = &instance.read(|tables| tables.app(name))?;
    let engine = Engine::connect(&instance.settings).await?;
    let wanted = |container: &Container| selection.process.as_ref().is_none_or(|process| container.process == *process);
    let containers: Vec<Container> =
        instance.read(|tables| tables.containers_of_app(app.id))?.into_iter().filter(wanted).collect();

    let mut lines = former(&instance.settings.paths.former_logs(&app.name), selection.process.as_ref())?;
    let mut seen = HashMap::new();
    for container in &containers {
        // One that is gone by now said it all to the former ones.
        for line in engine.last_lines(&container.name, selection.lines.max(1)).await.unwrap_or_default() {
            // What follows has the whole of it.
            if selection.follow && !line.is_ended {
                continue;
            }
            seen.insert(container.id, line.time.clone());
            lines.push(Printed::new(line, container));
        }
    }
    // Times are of a form that sorts.
    lines.sort_by(|left, right| left.printed_at.cmp(&right.printed_at));
    let skip = lines.len().saturating_sub(selection.lines as usize);
    for line in &lines[skip..] {
        out(Some(line))?;
    }
    if selection.follow { follow(instance, &engine, app, wanted, seen, out).await } else { Ok(()) }
}

/// Follows all containers at once, and those that come after them. `seen`: the time of the last line that was read of
/// a container, where one was.
async fn follow(
    instance: &Instance,
    engine: &Engine,
    app: &App,
    wanted: impl Fn(&Container) -> bool,
    mut seen: HashMap<ContainerId, String>,
    mut out: impl FnMut(Option<&Printed>) -> Result<()>,
) -> Result<()> {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(64);
    let mut readers = FuturesUnordered::new();
    let mut reading = HashSet::new();
    let read = |container: Container, after: Option<String>| {
        let sender = sender.clone();
        async move {
            let mut last = after.clone();
            let mut stream = std::pin::pin!(engine.logs(&container.name, after.as_ref().map(|_| FRAMES_BACK), true));
            while let Some(Ok(line)) = stream.next().await {
                if after.as_ref().is_some_and(|after| line.time <= *after) {
                    continue;
                }
                last = Some(line.time.clone());
                if sender.send(Printed::new(line, &container)).await.is_err() {
                    break;
                }
            }
            (container.id, last)
        }
    };
    let mut look = tokio::time::interval(LOOK_AGAIN);
    loop {
        tokio::select! {
            Some(line) = receiver.recv() => out(Some(&line))?,
            // A log ends where its container does, and also where that was not made or not started yet: whatever is
            // still there is read on from where this ended.
            Some((id, last)) = readers.next() => {
                reading.remove(&id);
                if let Some(last) = last {
                    seen.insert(id, last);
                }
            }
            _ = look.tick() => {
                for container in instance.read(|tables| tables.containers_of_app(app.id))? {
                    if wanted(&container) && reading.insert(container.id) {
                        let after = seen.get(&container.id).cloned();
                        readers.push(read(container, after));
                    }
                }
                // Somebody who went away is noticed though the app is silent.
                out(None)?;
            }
        }
    }
}

fn former(path: &Path, process: Option<&ProcessType>) -> Result<Vec<Printed>> {
    let Some(mut file) = files::open_optional(path)? else { return Ok(Vec::new()) };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(Error::io(format!("read {}", path.display())))?;
    let of_process =
        |line: &Printed| process.is_none_or(|process| line.container.split('.').next() == Some(process.as_str()));
    Ok(String::from_utf8_lossy(&bytes).split('\n').filter_map(Printed::parse).filter(of_process).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn former_lines_are_those_of_the_process_type_that_is_asked_for() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let path = directory.path().join("former.log");
        assert!(former(&path, None)?.is_empty());
        let text = "2026-01-01T00:00:01Z app[web.1]: one\n2026-01-01T00:00:02Z app[worker.2]: two\n";
        std::fs::write(&path, text).map_err(Error::io("write"))?;
        assert_eq!(former(&path, None)?.len(), 2);
        let of_worker = former(&path, Some(&"worker".parse()?))?;
        let lines: Vec<_> = of_worker.iter().map(Printed::line).collect();
        assert_eq!(lines, ["2026-01-01T00:00:02Z app[worker.2]: two"]);
        assert!(former(&path, Some(&"work".parse()?))?.is_empty());
        Ok(())
    }
}
