//! What an app's processes print: from the engine while their container is there, from a bounded file after.

use std::{
    collections::{HashMap, HashSet},
    fs::OpenOptions,
    io::{Read, Write},
    path::Path,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};

use crate::{
    Error, Result,
    context::Context,
    engine::{Engine, LogLine},
    files,
    instance::Instance,
    model::{App, AppName, ContainerId, ProcessType},
    store::Container,
};

/// How many of a container's last lines are kept when it goes.
pub const FORMER_LINES: u32 = 2000;
/// How large the file of former lines may become, in bytes, before its older half is dropped.
const FORMER_BYTES: u64 = 4_000_000;
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

/// Gives an app's log to `out`, line by line, oldest first; with `follow`, until `out` fails.
///
/// # Errors
/// `EngineError::Unavailable`, [`Error::Host`], and what `out` returns.
pub async fn show(
    context: &Context<'_>,
    name: &AppName,
    selection: &Selection,
    mut out: impl FnMut(&str) -> Result<()>,
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
        let mut stream = std::pin::pin!(engine.logs(&container.name, Some(selection.lines.max(1)), false));
        while let Some(line) = stream.next().await {
            match line {
                Ok(line) => {
                    lines.push(format(&container.label(), &line));
                    seen.insert(container.id, line.time);
                }
                // It went while it was read: what it said is with the former ones next time.
                Err(_) => break,
            }
        }
    }
    // Each line begins with its time, in a form that sorts.
    lines.sort_by(|left, right| time_of(left).cmp(time_of(right)));
    let skip = lines.len().saturating_sub(selection.lines as usize);
    for line in &lines[skip..] {
        out(line)?;
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
    mut out: impl FnMut(&str) -> Result<()>,
) -> Result<()> {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(64);
    let mut readers = FuturesUnordered::new();
    let mut reading = HashSet::new();
    let read = |container: Container, after: Option<String>| {
        let sender = sender.clone();
        async move {
            let mut last = after.clone();
            let mut stream = std::pin::pin!(engine.logs(&container.name, after.as_ref().map(|_| FORMER_LINES), true));
            while let Some(Ok(line)) = stream.next().await {
                if after.as_ref().is_some_and(|after| line.time <= *after) {
                    continue;
                }
                last = Some(line.time.clone());
                if sender.send(format(&container.label(), &line)).await.is_err() {
                    break;
                }
            }
            (container.id, last)
        }
    };
    let mut look = tokio::time::interval(LOOK_AGAIN);
    loop {
        tokio::select! {
            Some(line) = receiver.recv() => out(&line)?,
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
                out("")?;
            }
        }
    }
}

/// Appends the last lines of a container that goes to the file of former lines, and keeps that file within bounds.
///
/// # Errors
/// [`Error::Host`].
pub fn keep(path: &Path, label: &str, lines: &[LogLine]) -> Result<()> {
    let action = || format!("write {}", path.display());
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(Error::io(action()))?;
    }
    let text: String = lines.iter().map(|line| format(label, line) + "\n").collect();
    let mut file = OpenOptions::new().append(true).create(true).open(path).map_err(Error::io(action()))?;
    file.write_all(text.as_bytes()).map_err(Error::io(action()))?;
    if file.metadata().map_err(Error::io(action()))?.len() > FORMER_BYTES {
        let text = std::fs::read_to_string(path).map_err(Error::io(action()))?;
        let half = text.char_indices().map(|(index, _)| index).find(|index| *index >= text.len() / 2).unwrap_or(0);
        let start = text[half..].find('\n').map_or(0, |offset| half + offset + 1);
        files::write_whole(path, &text.as_bytes()[start..], 0o600)?;
    }
    Ok(())
}

fn former(path: &Path, process: Option<&ProcessType>) -> Result<Vec<String>> {
    let Some(mut file) = files::open_optional(path)? else { return Ok(Vec::new()) };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(Error::io(format!("read {}", path.display())))?;
    let text = String::from_utf8_lossy(&bytes);
    let of_process = |line: &&str| {
        process.is_none_or(|process| {
            line.split(' ').nth(1).is_some_and(|label| {
                label.strip_prefix("app[").and_then(|label| label.split('.').next()) == Some(process.as_str())
            })
        })
    };
    Ok(text.lines().filter(of_process).map(str::to_owned).collect())
}

/// A line for people: `2026-11-21T11:22:27.123456789Z app[web.1]: text`.
fn format(label: &str, line: &LogLine) -> String {
    format!("{} app[{label}]: {}", line.time, line.text)
}

fn time_of(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn former_lines_are_kept_within_bounds() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let path = directory.path().join("app/former.log");
        let lines: Vec<LogLine> = (0..3000)
            .map(|number| LogLine { time: format!("2026-01-01T00:00:00.{number:09}Z"), text: "x".repeat(1000) })
            .collect();
        keep(&path, "web.1", &lines)?;
        keep(&path, "worker.1", &lines)?;
        let size = std::fs::metadata(&path).map_err(Error::io("stat"))?.len();
        assert!(size < FORMER_BYTES, "{size}");
        let all = former(&path, None)?;
        assert!(all.iter().all(|line| line.starts_with("2026-01-01T00:00:00.")));
        assert!(former(&path, Some(&"worker".parse()?))?.len() > 2000);
        assert!(former(&path, Some(&"work".parse()?))?.is_empty());
        Ok(())
    }
}
