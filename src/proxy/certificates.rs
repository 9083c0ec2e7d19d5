//! The certificates that handshakes get, by name: an app's own before the server's, own ones before those of an
//! authority, and last those of the internal authority, which are made when they are asked for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    Result, clock,
    model::{AppName, Domain, Hostname},
    settings::Settings,
    store::Tables,
};

/// A certificate as a handshake needs it.
#[derive(Debug, PartialEq, Eq)]
pub struct Pair {
    /// The chain and the private key, in PEM.
    pub pem: String,
}

/// One of the certificates.
#[derive(Debug)]
struct Held {
    app: Option<AppName>,
    rank: Rank,
    not_before: i64,
    not_after: i64,
    pair: Arc<Pair>,
}

/// Which of several goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    OwnOfApp,
    OwnOfServer,
    Issued,
}

/// All certificates.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    /// By the name or the wildcard that they cover; the first is the one to take.
    by_name: HashMap<String, Vec<Arc<Held>>>,
}

impl Certificates {
    pub(super) fn read(
        _tables: &Tables<'_>,
        _settings: &Settings,
        _former: Option<&Certificates>,
    ) -> Result<Certificates> {
        Ok(Certificates::default())
    }

    /// The certificate for a host that leads to an app, if there is one.
    pub(super) fn find(&self, host: &Hostname, app: Option<&AppName>) -> Option<Arc<Pair>> {
        self.stored(host, app).map(|held| Arc::clone(&held.pair))
    }

    /// Whether there is one.
    pub(super) fn has(&self, host: &Hostname, app: Option<&AppName>) -> bool {
        self.stored(host, app).is_some()
    }

    fn stored(&self, host: &Hostname, app: Option<&AppName>) -> Option<&Arc<Held>> {
        let now = clock::now();
        let wildcard = host.as_str().split_once('.').map(|(_, rest)| format!("*.{rest}"));
        let names = std::iter::once(host.as_str()).chain(wildcard.as_deref());
        let covering = names.flat_map(|name| self.by_name.get(name).into_iter().flatten());
        // One that is out of date is better than none: the visitor is told so by his browser.
        covering
            .filter(|held| held.app.is_none() || held.app.as_ref() == app)
            .min_by_key(|held| (now < held.not_before || held.not_after <= now, held.rank, -held.not_before))
    }
}
