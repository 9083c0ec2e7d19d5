//! Requests that are held while an app is paused. They wait with their bodies unread, and go on in the order in which they
//! came when it is resumed.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;

use crate::{
    edge::Shared,
    model::AppId,
    proxy::{AppEntry, Lead},
};

/// How many requests of an app are held at most.
const HELD_MAX: usize = 2_000;
/// How long a request is held at most.
const HELD_FOR: Duration = Duration::from_secs(60);
/// How often it is looked whether an app is paused still.
const LOOK: Duration = Duration::from_millis(10);

/// What became of a request that was held.
#[derive(Debug)]
pub(super) enum Held {
    /// The app goes on: this is what is known of it now.
    GoesOn(Arc<AppEntry>),
    /// It was held for as long as a request may be.
    TooLong,
    /// Too many are held already.
    TooMany,
    /// The name leads there no more.
    Gone,
}

/// The requests that are held, by app, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(super) struct Pauses(Arc<Mutex<HashMap<AppId, VecDeque<oneshot::Sender<()>>>>>);

impl Pauses {
    /// Holds a request for a host until its app is paused no more.
    pub(super) async fn hold(&self, shared: &Shared, app: AppId, host: &str) -> Held {
        let Some(turn) = self.take_turn(shared, app) else { return Held::TooMany };
        match tokio::time::timeout(HELD_FOR, turn).await {
            Err(_) => Held::TooLong,
            Ok(_) => match shared.table().lead(host) {
                Some(Lead::App(entry)) => Held::GoesOn(Arc::clone(entry)),
                Some(Lead::Redirect(_) | Lead::Routes(_)) | None => Held::Gone,
            },
        }
    }

    /// A place in the line of an app; none where it is full. The first to come has the line move when the app goes on.
    fn take_turn(&self, shared: &Shared, app: AppId) -> Option<oneshot::Receiver<()>> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = !lines.contains_key(&app);
        let line = lines.entry(app).or_default();
        // Those that were given up need no place.
        if line.len() >= HELD_MAX {
            line.retain(|waiting| !waiting.is_closed());
        }
        if line.len() >= HELD_MAX {
            return None;
        }
        let (go, turn) = oneshot::channel();
        line.push_back(go);
        if is_first {
            let (pauses, shared) = (self.clone(), shared.clone());
            tokio::spawn(async move { pauses.release(&shared, app).await });
        }
        Some(turn)
    }

    /// Lets the line of an app go on as soon as it is paused no more.
    async fn release(&self, shared: &Shared, app: AppId) {
        while shared.table().is_paused(app) {
            tokio::time::sleep(LOOK).await;
        }
        loop {
            let next = {
                let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                let next = lines.get_mut(&app).and_then(VecDeque::pop_front);
                if next.is_none() {
                    // Under the same lock, so that whoever comes now begins a line of his own.
                    lines.remove(&app);
                }
                next
            };
            let Some(next) = next else { return };
            // One that was given up is passed over.
            if next.send(()).is_ok() {
                // It begins before the next one does.
                tokio::task::yield_now().await;
            }
        }
    }
}
