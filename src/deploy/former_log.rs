//! What containers printed that are gone: their last lines, in a bounded file of the app.

use std::{io::Write, path::Path};

use tracing::warn;

use crate::{
    Error, Result,
    engine::{Engine, LogLine},
    files,
    instance::{Instance, number_of},
    model::{MaskedStream, Masker, Override, property},
    store::Container,
    sweep,
};

/// Keeps the last lines of a container that goes, for `paas logs`. A log that cannot be kept is no reason to keep the
/// container.
pub(super) async fn keep_log_of(instance: &Instance, engine: &Engine, container: &Container) {
    let kept = async {
        let (settings, app_id) = (instance.settings.clone(), Some(container.app_id));
        let release_id = container.release_id;
        let read = instance.reading(move |tables| {
            let number = |property| number_of(&settings, tables, property, app_id);
            let numbers = (number(&property::KEEP_FORMER_LINES)?, number(&property::KEEP_FORMER_LOG)?);
            Ok((numbers, tables.release(release_id)?, tables.sealed_config(release_id)?))
        });
        let ((lines, bound), release, sealed) = read.await?;
        // What cannot be masked is not kept.
        let mut secrets = Masker::default();
        secrets.add(instance.secrets.unseal_config(&sealed)?.values());
        secrets.add(release.overrides.iter().flat_map(Override::secrets));
        let mut lines = engine.last_lines(&container.name, u32::try_from(lines).unwrap_or(u32::MAX)).await?;
        let mut stream = MaskedStream::new(secrets);
        for line in &mut lines {
            line.text = stream.line(&line.text, line.is_ended);
        }
        if let Some(last) = lines.last_mut() {
            last.text.push_str(&stream.line("", true));
        }
        keep(&instance.settings.paths.former_logs(&container.app), &container.label(), &lines, bound)
    };
    if let Err(error) = kept.await {
        warn!("the log of {} is lost: {}", container.name, error.one_line());
    }
}

/// Appends lines of a container to the file of former lines, and drops that file's older half where it is larger than
/// `bound`, in bytes.
fn keep(path: &Path, label: &str, lines: &[LogLine], bound: u64) -> Result<()> {
    let action = || format!("write {}", path.display());
    let text: String = lines.iter().map(|line| line.of(label) + "\n").collect();
    files::append(path)?.write_all(text.as_bytes()).map_err(Error::io(action()))?;
    sweep::shorten(path, bound).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn former_lines_are_kept_within_bounds() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let path = directory.path().join("app/former.log");
        let lines: Vec<LogLine> = (0..3000)
            .map(|number| LogLine {
                time: format!("2026-01-01T00:00:00.{number:09}Z"),
                text: "x".repeat(1000),
                is_ended: true,
            })
            .collect();
        keep(&path, "web.1", &lines, 4_000_000)?;
        keep(&path, "worker.1", &lines, 4_000_000)?;
        let text = std::fs::read_to_string(&path).map_err(Error::io("read"))?;
        assert!((text.len() as u64) < 4_000_000, "{}", text.len());
        let is_whole = |line: &str| line.starts_with("2026-01-01T00:00:00.") && line.ends_with('x');
        assert!(text.lines().all(is_whole), "a line is cut");
        assert!(text.lines().filter(|line| line.contains(" app[worker.1]: ")).count() > 1000);
        assert!(text.ends_with(&(lines[2999].of("worker.1") + "\n")), "the newest lines are the ones that stay");
        Ok(())
    }
}
