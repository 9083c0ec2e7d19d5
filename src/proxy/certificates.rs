//! The certificates that handshakes get, by name: an app's own before the server's, own ones before those of an
//! authority, and last those of the internal authority, which are made when they are asked for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    Result,
    certificate::Authority,
    clock,
    model::{AppId, Hostname},
    settings::{Settings, Tls},
    store::{Rank, Tables},
};

/// How many certificates of the internal authority are kept.
const MADE_MAX: usize = 10_000;
/// How long one of them is used, in milliseconds: half of its life.
const MADE_FOR: i64 = 3 * 24 * 60 * 60 * 1000;

/// A certificate as a handshake needs it: the chain and the private key, in PEM.
#[derive(PartialEq, Eq)]
pub struct Bundle(String);

impl Bundle {
    fn new(chain: &str, key: &str) -> Bundle {
        Bundle(format!("{}\n{}\n", chain.trim_end(), key.trim_end()))
    }

    /// The chain and the private key, in PEM.
    pub fn pem(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Bundle")
    }
}

/// One of the certificates.
#[derive(Debug)]
struct Held {
    id: i64,
    /// The app that alone may have it.
    app: Option<AppId>,
    rank: Rank,
    not_before: i64,
    not_after: i64,
    bundle: Arc<Bundle>,
}

/// All certificates.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    /// By the name or the wildcard that they cover.
    by_name: HashMap<String, Vec<Arc<Held>>>,
    internal: Option<Arc<Internal>>,
}

/// The internal authority, with what it has made.
#[derive(Debug)]
struct Internal {
    authority: Authority,
    made: Mutex<HashMap<Hostname, (i64, Arc<Bundle>)>>,
}

impl Certificates {
    /// Reads them; without those whose private key cannot be opened now.
    ///
    /// `former`: what was read before, whose keys need not be opened again.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub(super) fn read(
        tables: &Tables<'_>,
        settings: &Settings,
        former: Option<&Certificates>,
    ) -> Result<Certificates> {
        if settings.tls == Tls::Off {
            return Ok(Certificates::default());
        }
        let known: HashMap<i64, &Arc<Bundle>> = former
            .iter()
            .flat_map(|former| former.by_name.values().flatten())
            .map(|held| (held.id, &held.bundle))
            .collect();
        let mut by_name: HashMap<String, Vec<Arc<Held>>> = HashMap::new();
        for stored in tables.certificates()? {
            let bundle = match known.get(&stored.id) {
                Some(bundle) => Arc::clone(bundle),
                None => match tables.certificate_key(stored.id)? {
                    Some(key) => Arc::new(Bundle::new(&stored.chain, &key)),
                    None => continue,
                },
            };
            let rank = stored.rank();
            // Whose a name is was proven to an authority by its way to this server, which it keeps in another app's hands.
            let app = stored.app.filter(|_| stored.is_chosen());
            let (not_before, not_after) = (stored.not_before, stored.not_after);
            let held = Arc::new(Held { id: stored.id, app, rank, not_before, not_after, bundle });
            for name in &stored.names {
                by_name.entry(name.to_string()).or_default().push(Arc::clone(&held));
            }
        }
        let former = former.and_then(|former| former.internal.clone());
        let internal = match (settings.tls, former) {
            (Tls::Off | Tls::Acme, _) => None,
            (Tls::Internal, Some(internal)) => Some(internal),
            (Tls::Internal, None) => {
                Authority::read(tables)?.map(|authority| Arc::new(Internal { authority, made: Mutex::default() }))
            }
        };
        Ok(Certificates { by_name, internal })
    }

    /// The certificate for a host. `leads`: whether it leads somewhere, and to which app, if it is one.
    pub(super) fn find(&self, host: &Hostname, leads: bool, app: Option<AppId>) -> Option<Arc<Bundle>> {
        let stored = self.stored(host, app).map(|held| Arc::clone(&held.bundle));
        stored.or_else(|| self.internal.as_ref().filter(|_| leads)?.leaf(host))
    }

    /// Whether there is one.
    pub(super) fn has(&self, host: &Hostname, app: Option<AppId>) -> bool {
        self.internal.is_some() || self.stored(host, app).is_some()
    }

    fn stored(&self, host: &Hostname, app: Option<AppId>) -> Option<&Arc<Held>> {
        let now = clock::now();
        let wildcard = host.as_str().split_once('.').map(|(_, rest)| format!("*.{rest}"));
        let names = std::iter::once(host.as_str()).chain(wildcard.as_deref());
        let covering = names.flat_map(|name| self.by_name.get(name).into_iter().flatten());
        // One that is out of date is better than none: the visitor is told so by his browser.
        covering
            .filter(|held| held.app.is_none() || held.app == app)
            .min_by_key(|held| (now < held.not_before || held.not_after <= now, held.rank, -held.id))
    }
}

impl Internal {
    fn leaf(&self, host: &Hostname) -> Option<Arc<Bundle>> {
        let now = clock::now();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, bundle)) = made.get(host)
            && (0..MADE_FOR).contains(&(now - at))
        {
            return Some(Arc::clone(bundle));
        }
        let (chain, key) = self
            .authority
            .leaf(host)
            .inspect_err(|error| tracing::error!("no certificate for {host}: {}", error.one_line()))
            .ok()?;
        let bundle = Arc::new(Bundle::new(&chain, &key));
        if made.len() >= MADE_MAX {
            made.clear();
        }
        made.insert(host.clone(), (now, Arc::clone(&bundle)));
        Some(bundle)
    }
}
