//! What an app's processes print: from the engine while their container is there, from a bounded file after.

use std::{
    collections::{HashMap, HashSet},
    io::Read,
    path::Path,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};

use crate::{
    Error, Result,
    context::Context,
    deploy::FORMER_LINES,
    engine::Engine,
    files,
    instance::Instance,
    model::{App, AppName, ContainerId, ProcessType},
    store::Container,
};

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
                    lines.push(line.of(&container.label()));
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
                if sender.send(line.of(&container.label())).await.is_err() {
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

fn time_of(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
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
        assert_eq!(former(&path, Some(&"worker".parse()?))?, ["2026-01-01T00:00:02Z app[worker.2]: two"]);
        assert!(former(&path, Some(&"work".parse()?))?.is_empty());
        Ok(())
    }
}
