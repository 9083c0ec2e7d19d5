//! Freeing space: what the sweeper does after each deploy, and more, at any time.

use serde::Serialize;

use crate::{
    Error, Result,
    engine::Engine,
    instance::Instance,
    sweep::{self, Files, InEngine, Rows},
};

/// What was removed.
#[derive(Debug, Serialize)]
pub struct Cleaned {
    /// Files below ROOT.
    #[serde(flatten)]
    pub files: Files,
    /// Rows of the database.
    #[serde(flatten)]
    pub rows: Rows,
    /// In the engine; none where it does not answer.
    #[serde(flatten)]
    pub in_engine: Option<InEngine>,
    /// Why nothing was removed in the engine.
    #[serde(skip)]
    pub engine_error: Option<Error>,
}

/// Removes what no app needs. With `build_cache` also the build cache, which belongs to all users of the engine.
///
/// # Errors
/// [`Error::Io`], [`Error::Database`]; what the engine says is part of the result.
pub async fn run(instance: &Instance, build_cache: bool) -> Result<Cleaned> {
    // The files first: a full disk may be what keeps the engine from answering.
    let files = sweep::files(instance)?;
    let in_engine = async {
        let engine = Engine::connect(&instance.settings).await?;
        sweep::engine(instance, &engine, build_cache).await
    };
    // The rows last: a release whose image is gone is only listed.
    let in_engine = in_engine.await;
    let rows = sweep::rows(instance)?;
    let (in_engine, engine_error) = match in_engine {
        Ok(in_engine) => (Some(in_engine), None),
        Err(error) => (None, Some(error)),
    };
    Ok(Cleaned { files, rows, in_engine, engine_error })
}
