//! Freeing space: what the sweeper does after each deploy, and more, at any time.

use serde::Serialize;

use super::operations::Active;
use crate::{
    Error, Result,
    engine::Engine,
    instance::Instance,
    model,
    sweep::{self, Files, InEngine, Rows},
    ui::{Show, Text},
};

/// What a cleanup came to.
#[derive(Debug, Serialize)]
pub struct Cleaned {
    /// Of the files below ROOT.
    #[serde(flatten)]
    pub files: Files,
    /// Of the rows of the database.
    pub rows: Rows,
    /// In the engine; none where it does not answer.
    #[serde(flatten)]
    pub in_engine: Option<InEngine>,
    /// Why nothing was removed in the engine.
    #[serde(skip)]
    pub failed: Option<Error>,
}

impl Show for Cleaned {
    fn text(&self) -> Text {
        let Rows { releases, operations, events, runs } = self.rows;
        let mut facts = vec![
            ("deploy logs", self.files.deploy_logs.words()),
            ("former logs", self.files.former_logs.words()),
            ("run logs", self.files.run_logs.words()),
            ("temporary files", self.files.temporary_files.words()),
            ("rows", format!("{releases} releases, {operations} operations, {events} events, {runs} runs removed")),
        ];
        if let Some(in_engine) = self.in_engine {
            facts.push(("images", in_engine.images.words()));
            facts.push(("containers", in_engine.containers.words()));
            facts.push(("networks", in_engine.networks.words()));
            let cache = in_engine.build_cache_bytes;
            facts.extend(cache.map(|bytes| ("build cache", format!("{} freed", model::bytes(bytes)))));
        }
        Text::facts(facts)
    }
}

/// What was removed beside the rows.
pub(super) struct Room {
    files: Files,
    in_engine: Option<InEngine>,
    failed: Option<Error>,
}

/// Makes room on the disk, and writes nothing to the database: it may be full. `enter` is told each step.
///
/// # Errors
/// [`Error::Host`], [`Error::Store`], those of `enter`. What the engine says is in the answer, beside what was removed
/// all the same.
pub(super) async fn make_room(
    instance: &Instance,
    build_cache: bool,
    enter: impl Fn(&str) -> Result<()>,
) -> Result<Room> {
    // The files first: a full disk may be what keeps the engine from answering.
    enter("files")?;
    let files = sweep::old_files(instance).await?;
    enter("engine")?;
    let in_engine = async {
        let engine = Engine::connect(&instance.settings).await?;
        sweep::engine(instance, &engine, build_cache).await
    };
    let (in_engine, failed) = match in_engine.await {
        Ok(in_engine) => (Some(in_engine), None),
        Err(error) => (None, Some(error)),
    };
    Ok(Room { files, in_engine, failed })
}

/// Removes what no app needs any more, below ROOT and in the engine. With `build_cache` also the build cache, which
/// belongs to all users of the engine. `room`: what [`make_room`] has removed already.
///
/// # Errors
/// [`Error::Host`], [`Error::Store`].
pub(super) async fn run(active: &Active<'_>, build_cache: bool, room: Option<Room>) -> Result<Cleaned> {
    let instance = active.context.instance;
    let Room { files, in_engine, failed } = match room {
        Some(room) => room,
        None => make_room(instance, build_cache, |step| active.enter(step)).await?,
    };
    // The rows after the images: a release whose image is gone is only listed.
    active.enter("rows")?;
    let rows = sweep::rows(instance).await?;
    Ok(Cleaned { files, rows, in_engine, failed })
}
