use rusqlite::{Row, params};

use super::{Tables, corrupt};
use crate::{
    Result, clock,
    model::{AppId, AppName, Domain, Hostname},
};

/// A domain of an app's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDomain {
    /// The name.
    pub domain: Domain,
    /// Whose it is.
    pub app: AppName,
    /// As it was typed.
    pub typed: String,
    /// When it was added, in milliseconds since 1970.
    pub added_at: i64,
}

/// Under which names an app is reached, beside its own domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamesOfApp {
    /// Whether it is reached at all.
    pub enabled: bool,
    /// Whether it is reached at its default names: its own name below the server's domain, and below each global one.
    pub default: bool,
}

const SELECT: &str = "SELECT domains.name, apps.name AS app, domains.typed, domains.added_at
                      FROM domains JOIN apps ON apps.id = domains.app_id";

impl Tables<'_> {
    /// The domains of an app, or of all, by name.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn domains(&self, app: Option<AppId>) -> Result<Vec<StoredDomain>> {
        self.all(
            &format!("{SELECT} WHERE ?1 IS NULL OR domains.app_id = ?1 ORDER BY domains.name"),
            [app],
            stored_domain,
        )
    }

    /// Whose a domain is, if it is anybody's.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn find_domain(&self, domain: &Domain) -> Result<Option<StoredDomain>> {
        self.maybe_one(&format!("{SELECT} WHERE domains.name = ?1"), [domain.to_string()], stored_domain)
    }

    /// Gives an app a domain that is nobody's, or moves it from another app.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn set_domain(&self, app: AppId, domain: &Domain, typed: &str) -> Result<()> {
        self.execute(
            "INSERT INTO domains (name, app_id, typed, added_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (name) DO UPDATE SET app_id = excluded.app_id, typed = excluded.typed, added_at = excluded.added_at",
            params![domain.to_string(), app, typed, clock::now()],
        )
        .map(drop)
    }

    /// Takes a domain from an app; says whether it had it.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn remove_domain(&self, app: AppId, domain: &Domain) -> Result<bool> {
        self.execute("DELETE FROM domains WHERE app_id = ?1 AND name = ?2", params![app, domain.to_string()])
            .map(|removed| removed > 0)
    }

    /// The names below which each app has a default name, beside the server's own domain; each with what was typed.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn global_domains(&self) -> Result<Vec<(Hostname, String)>> {
        self.all("SELECT name, typed FROM global_domains ORDER BY name", [], |row| {
            Ok((row.get::<_, String>("name")?.parse().map_err(corrupt)?, row.get("typed")?))
        })
    }

    /// Makes a name one below which each app has a default name; says whether it was none.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn add_global_domain(&self, name: &Hostname, typed: &str) -> Result<bool> {
        self.execute(
            "INSERT OR IGNORE INTO global_domains (name, typed, added_at) VALUES (?1, ?2, ?3)",
            params![name.as_str(), typed, clock::now()],
        )
        .map(|added| added > 0)
    }

    /// Takes back what [`Tables::add_global_domain`] did; says whether there was something.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn remove_global_domain(&self, name: &Hostname) -> Result<bool> {
        self.execute("DELETE FROM global_domains WHERE name = ?1", [name.as_str()]).map(|removed| removed > 0)
    }

    /// Under which names an app is reached, beside its own domains.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn names_of_app(&self, app: AppId) -> Result<NamesOfApp> {
        self.one("SELECT domains_enabled, default_domains FROM apps WHERE id = ?1", [app], |row| {
            Ok(NamesOfApp { enabled: row.get("domains_enabled")?, default: row.get("default_domains")? })
        })
    }

    /// Says under which names an app is reached, beside its own domains.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn set_names_of_app(&self, app: AppId, names: NamesOfApp) -> Result<()> {
        self.execute(
            "UPDATE apps SET domains_enabled = ?2, default_domains = ?3 WHERE id = ?1",
            params![app, names.enabled, names.default],
        )
        .map(drop)
    }

    /// Every name that leads to an app, with that app: the default ones, below the server's domain and the global ones, and
    /// their own domains. No name is there twice. Those of apps that are not reached at all are not among them.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn hosts(&self, server: &Hostname) -> Result<Vec<(Domain, AppName)>> {
        let apps: Vec<AppName> =
            self.all("SELECT name FROM apps WHERE domains_enabled AND default_domains ORDER BY name", [], |row| {
                row.get("name")
            })?;
        let below: Vec<Hostname> =
            std::iter::once(server.clone()).chain(self.global_domains()?.into_iter().map(|(name, _)| name)).collect();
        let mut hosts = std::collections::BTreeMap::new();
        let own = self.all(&format!("{SELECT} WHERE apps.domains_enabled ORDER BY domains.name"), [], stored_domain)?;
        hosts.extend(own.into_iter().map(|stored| (stored.domain, stored.app)));
        // The default names go first: nobody takes one by a domain of his own.
        for app in apps {
            for name in &below {
                if let Ok(name) = format!("{app}.{name}").parse() {
                    hosts.insert(Domain::Exact(name), app.clone());
                }
            }
        }
        Ok(hosts.into_iter().collect())
    }
}

fn stored_domain(row: &Row<'_>) -> rusqlite::Result<StoredDomain> {
    Ok(StoredDomain {
        domain: row.get::<_, String>("name")?.parse().map_err(corrupt)?,
        app: row.get("app")?,
        typed: row.get("typed")?,
        added_at: row.get("added_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn names_lead_to_apps_and_each_to_one() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&directory.path().join("db")).unwrap();
        let hosts = store.write(|tables| {
            let blog = tables.create_app(&"blog".parse()?)?.id;
            let shop = tables.create_app(&"shop".parse()?)?.id;
            for typed in ["Example.com", "*.example.com", "_", "shop.apps.example"] {
                tables.set_domain(blog, &typed.parse()?, typed)?;
            }
            assert!(tables.add_global_domain(&"more.example".parse()?, "more.example")?);
            tables.set_domain(shop, &"shop.example".parse()?, "shop.example")?;
            assert_eq!(tables.domains(Some(shop))?.len(), 1);
            assert!(!tables.remove_domain(shop, &"example.com".parse()?)?);
            let named = tables.names_of_app(blog)?;
            tables.set_names_of_app(blog, NamesOfApp { default: false, ..named })?;
            let hosts = tables.hosts(&"apps.example".parse()?)?;
            tables.set_names_of_app(blog, NamesOfApp { enabled: false, ..named })?;
            assert_eq!(tables.hosts(&"apps.example".parse()?)?.len(), 3);
            Ok(hosts)
        });
        let shown: Vec<String> = hosts.unwrap().iter().map(|(domain, app)| format!("{domain} {app}")).collect();
        let expected = [
            "example.com blog",
            "shop.apps.example shop",
            "shop.example shop",
            "shop.more.example shop",
            "*.example.com blog",
            "_ blog",
        ];
        assert_eq!(shown, expected);
    }
}
