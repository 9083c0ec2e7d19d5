//! Programs that somebody runs in a container of an app: their limits, and the end of those whose client died.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tracing::warn;

use crate::{
    Result, clock,
    engine::Engine,
    instance::Instance,
    model::{Run, RunId},
    ops::runs::{self, Seen},
};

/// How long whoever sits at a run may take to put it away after its end, in milliseconds: what it printed may still be on
/// its way to them.
const PATIENCE_MS: i64 = 10_000;

/// The runs that are looked at: each in a task of its own, because to end one may take its time.
#[derive(Clone, Default)]
pub(super) struct Watching(Arc<Mutex<Watched>>);

#[derive(Default)]
struct Watched {
    busy: HashSet<RunId>,
    over_since: HashMap<RunId, i64>,
}

impl Watching {
    /// Looks at all runs that are not over.
    pub(super) async fn begin(&self, instance: &Arc<Instance>, engine: &Engine) -> Result<()> {
        let unfinished = instance.reading(|tables| tables.unfinished_runs(None)).await?;
        let known: HashSet<RunId> = unfinished.iter().map(|run| run.id).collect();
        self.lock().over_since.retain(|id, _| known.contains(id));
        for run in unfinished {
            if self.lock().busy.insert(run.id) {
                let (this, instance, engine) = (self.clone(), Arc::clone(instance), engine.clone());
                tokio::spawn(async move {
                    if let Err(error) = this.look(&instance, &engine, &run).await {
                        warn!("{} of {}: {}", run.label(), run.app, error.one_line());
                    }
                    this.lock().busy.remove(&run.id);
                });
            }
        }
        Ok(())
    }

    async fn look(&self, instance: &Instance, engine: &Engine, run: &Run) -> Result<()> {
        let over_since = self.lock().over_since.get(&run.id).copied();
        let patient = over_since.is_none_or(|since| clock::now() - since < PATIENCE_MS);
        if runs::look_after(instance, engine, run, patient).await? == Seen::Over {
            self.lock().over_since.entry(run.id).or_insert_with(clock::now);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
