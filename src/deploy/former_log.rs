//! What containers printed that are gone: their last lines, in a bounded file of the app.

use std::{fs::OpenOptions, io::Write, path::Path};

use futures_util::StreamExt;
use tracing::warn;

use crate::{
    Error, Result,
    engine::{Engine, LogLine},
    files,
    instance::Instance,
    store::Container,
};

/// How many of a container's last lines are kept when it goes.
pub const FORMER_LINES: u32 = 2000;
/// How large the file of former lines may become, in bytes, before its older half is dropped.
const FORMER_BYTES: u64 = 4_000_000;

/// Keeps the last lines of a container that goes, for `paas logs`. A log that cannot be kept is no reason to keep the
/// container.
pub(super) async fn keep_log_of(instance: &Instance, engine: &Engine, container: &Container) {
    let lines = engine.logs(&container.name, Some(FORMER_LINES), false);
    let lines: Vec<_> = lines.filter_map(|line| async { line.ok() }).collect().await;
    if let Err(error) = keep(&instance.settings.paths.former_logs(&container.app), &container.label(), &lines) {
        warn!("the log of {} is lost: {}", container.name, error.one_line());
    }
}

/// Appends lines of a container to the file of former lines, and keeps that file within bounds.
fn keep(path: &Path, label: &str, lines: &[LogLine]) -> Result<()> {
    let action = || format!("write {}", path.display());
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(Error::io(action()))?;
    }
    let text: String = lines.iter().map(|line| line.of(label) + "\n").collect();
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
        let text = std::fs::read_to_string(&path).map_err(Error::io("read"))?;
        assert!((text.len() as u64) < FORMER_BYTES, "{}", text.len());
        let is_whole = |line: &str| line.starts_with("2026-01-01T00:00:00.") && line.ends_with('x');
        assert!(text.lines().all(is_whole), "a line is cut");
        assert!(text.lines().filter(|line| line.contains(" app[worker.1]: ")).count() > 1000);
        assert!(text.ends_with(&(lines[2999].of("worker.1") + "\n")), "the newest lines are the ones that stay");
        Ok(())
    }
}
