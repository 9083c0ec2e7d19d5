//! The targets of routes: where they are now and whether they are well, looked at for as long as the daemon runs. What changes
//! is written down, and the edge answers with it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use tracing::{info, warn};

use crate::{
    Result, clock,
    engine::Engine,
    instance::Instance,
    model::{RouteId, RouteTarget, TargetPlace},
    proxy,
    store::{StoredRoute, TargetState},
};

/// How often all targets are looked at. A container that was started again has another address.
const EVERY: Duration = Duration::from_secs(2);
/// How long after one that failed all are looked at again.
const AGAIN: Duration = Duration::from_millis(700);
/// How often in a row one fails before its requests go to others.
const FAILURES: u32 = 2;

/// Looks at them, for ever. The engine may be away: then nobody knows where containers are, and they stay where they were.
pub(super) async fn watch(instance: Arc<Instance>) {
    let mut watching = Watching::default();
    loop {
        let pause = match watching.round(&instance).await {
            Ok(true) => AGAIN,
            Ok(false) => EVERY,
            Err(error) => {
                warn!("the targets of routes are not looked at: {}", error.one_line());
                EVERY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// What is known from round to round.
#[derive(Default)]
struct Watching {
    /// How often in a row a target has failed.
    failures: HashMap<(RouteId, RouteTarget), u32>,
}

impl Watching {
    /// Looks at all targets once; says whether one has begun to fail.
    async fn round(&mut self, instance: &Instance) -> Result<bool> {
        let routes = instance.reading(|tables| tables.routes()).await?;
        let routes: Vec<StoredRoute> = routes.into_iter().filter(|route| route.enabled).collect();
        if routes.is_empty() {
            self.failures.clear();
            return Ok(false);
        }
        let is_container = |state: &TargetState| matches!(state.target.place, TargetPlace::Container(_));
        let has_containers = routes.iter().any(|route| route.targets.iter().any(is_container));
        let engine = if has_containers { Engine::connect(&instance.settings).await.ok() } else { None };
        let all = routes.iter().flat_map(|route| {
            let targets = route.typed_targets();
            let engine = engine.as_ref();
            route.targets.iter().map(move |state| {
                let targets = targets.clone();
                async move {
                    let (source, options) = (&route.source, &route.options);
                    let look = proxy::look_at_target(engine, source, options, &targets, &state.target).await;
                    (route, state, look)
                }
            })
        });
        let mut seen = HashSet::new();
        let mut begins_to_fail = false;
        let mut changed = Vec::new();
        for (route, state, look) in join_all(all).await {
            let key = (route.id, state.target.clone());
            seen.insert(key.clone());
            let Some(look) = look else { continue };
            let failures = self.failures.entry(key).or_default();
            *failures = if look.failing.is_some() { *failures + 1 } else { 0 };
            let is_as_before = look.addresses == state.addresses && look.failing == state.failing;
            // One that was well fails twice before that counts: but where it is, is true at once.
            let is_gone = look.addresses.is_empty() && !state.addresses.is_empty();
            if is_gone && *failures < FAILURES {
                begins_to_fail = true;
            } else if !is_as_before {
                changed.push((
                    route,
                    TargetState {
                        target: state.target.clone(),
                        addresses: look.addresses,
                        failing: look.failing,
                        since: clock::now(),
                    },
                ));
            }
        }
        self.failures.retain(|key, _| seen.contains(key));
        if changed.is_empty() {
            return Ok(begins_to_fail);
        }
        for (route, state) in &changed {
            match &state.failing {
                Some(reason) => warn!("route {}: {}: {reason}", route.source, state.target),
                None => info!("route {}: {} is well", route.source, state.target),
            }
        }
        let states: Vec<(RouteId, TargetState)> = changed.into_iter().map(|(route, state)| (route.id, state)).collect();
        instance
            .writing(move |tables| states.iter().try_for_each(|(id, state)| tables.note_target(*id, state).map(drop)))
            .await?;
        proxy::tell(instance).await;
        Ok(begins_to_fail)
    }
}
