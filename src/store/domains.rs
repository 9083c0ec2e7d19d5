use rusqlite::{Row, params};

use super::{Tables, corrupt};
use crate::{
    Result, clock,
    model::{AppId, AppName, Domain, Hostname, ServerNames, TypedDomain},
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

/// All names of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllNames {
    /// The app.
    pub app: AppName,
    /// Under which of them it is reached.
    pub names: NamesOfApp,
    /// Its own domains, in the order in which it got them.
    pub own: Vec<StoredDomain>,
    /// Its default names, whether they are on or not: that below the server's domain first.
    pub defaults: Vec<Hostname>,
}

impl AllNames {
    /// The default names that are on.
    pub fn defaults_on(&self) -> &[Hostname] {
        if self.names.default { &self.defaults } else { &[] }
    }

    /// The name that is the app's address for people: its first exact domain, else its first default name. None if it is
    /// reached at no single name.
    pub fn main(&self) -> Option<&Hostname> {
        let own = self.own.iter().find_map(|stored| match &stored.domain {
            Domain::Exact(name) => Some(name),
            Domain::Below(_) | Domain::Any => None,
        });
        own.or_else(|| self.defaults_on().first()).filter(|_| self.names.enabled)
    }
}

const SELECT: &str = "SELECT domains.name, apps.name AS app, domains.typed, domains.added_at
                      FROM domains JOIN apps ON apps.id = domains.app_id";

/// The names that are sent on, as if they were domains.
const SELECT_REDIRECTS: &str = "SELECT redirects.name, apps.name AS app, redirects.typed, redirects.added_at
                                FROM redirects JOIN apps ON apps.id = redirects.app_id";

impl Tables<'_> {
    /// The domains of an app, or of all, each app's in the order in which it got them.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn domains(&self, app: Option<AppId>) -> Result<Vec<StoredDomain>> {
        self.all(
            &format!("{SELECT} WHERE ?1 IS NULL OR domains.app_id = ?1 ORDER BY apps.name, domains.position"),
            [app],
            stored_domain,
        )
    }

    /// Whose a name is, as a domain or as one that is sent on, if it is anybody's.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn find_owner(&self, name: &Domain) -> Result<Option<StoredDomain>> {
        self.maybe_one(
            &format!("{SELECT} WHERE domains.name = ?1 UNION ALL {SELECT_REDIRECTS} WHERE redirects.name = ?1"),
            [name.to_string()],
            stored_domain,
        )
    }

    /// Gives an app a domain that is nobody's, or moves it from another app. It comes after those that the app has.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn set_domain(&self, app: AppId, domain: &TypedDomain) -> Result<()> {
        self.execute(
            "INSERT INTO domains (name, app_id, typed, position, added_at)
             VALUES (?1, ?2, ?3, (SELECT coalesce(max(position), 0) + 1 FROM domains WHERE app_id = ?2), ?4)
             ON CONFLICT (name) DO UPDATE SET app_id = excluded.app_id, typed = excluded.typed,
                                              position = excluded.position, added_at = excluded.added_at",
            params![domain.domain.to_string(), app, domain.typed, clock::now()],
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

    /// The names below which each app has a default name.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn server_names(&self, domain: &Hostname) -> Result<ServerNames> {
        let global = self.global_domains()?.into_iter().map(|(name, _)| name).collect();
        Ok(ServerNames { domain: domain.clone(), global })
    }

    /// All names of an app, or of each app, by the names of the apps.
    ///
    /// `domain`: the server's.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn all_names(&self, app: Option<AppId>, domain: &Hostname) -> Result<Vec<AllNames>> {
        let server = self.server_names(domain)?;
        let apps: Vec<(AppName, NamesOfApp)> = self.all(
            "SELECT name, domains_enabled, default_domains FROM apps WHERE ?1 IS NULL OR id = ?1 ORDER BY name",
            [app],
            |row| Ok((row.get("name")?, names_of_app(row)?)),
        )?;
        let mut own = self.domains(app)?.into_iter().peekable();
        let all = apps.into_iter().map(|(app, names)| {
            let own = std::iter::from_fn(|| own.next_if(|stored| stored.app == app)).collect();
            let defaults = server.defaults_of(&app).collect();
            AllNames { app, names, own, defaults }
        });
        Ok(all.collect())
    }

    /// The names of apps that are one label below a name, domains and those that are sent on: where that becomes a global
    /// domain, they would be default names.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn names_right_below(&self, name: &Hostname) -> Result<Vec<StoredDomain>> {
        let right_below = |table| {
            format!("WHERE substr({table}.name, instr({table}.name, '.') + 1) = ?1 AND instr({table}.name, '*') = 0")
        };
        self.all(
            &format!(
                "{SELECT} {} UNION ALL {SELECT_REDIRECTS} {} ORDER BY 1",
                right_below("domains"),
                right_below("redirects")
            ),
            [name.as_str()],
            stored_domain,
        )
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
        self.one("SELECT domains_enabled, default_domains FROM apps WHERE id = ?1", [app], names_of_app)
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

    /// Every name that is to be there by HTTPS, with the app whose it is: those that lead to an app, those that are sent
    /// on, as a browser meets the certificate before the redirect, and those of routes, which are no app's.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn secured(&self, server: &Hostname) -> Result<Vec<(Domain, Option<AppName>)>> {
        let mut names: std::collections::BTreeMap<Domain, Option<AppName>> =
            self.routes()?.iter().filter_map(|route| Some((route.source.host()?.clone(), None))).collect();
        names.extend(self.hosts(server)?.into_iter().map(|(domain, app)| (domain, Some(app))));
        names.extend(self.redirects_in_force()?.into_iter().map(|redirect| (redirect.from, Some(redirect.app))));
        Ok(names.into_iter().collect())
    }
}

fn names_of_app(row: &Row<'_>) -> rusqlite::Result<NamesOfApp> {
    Ok(NamesOfApp { enabled: row.get("domains_enabled")?, default: row.get("default_domains")? })
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
    fn the_address_of_an_app_is_its_first_exact_domain_else_its_default_name() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&directory.path().join("db")).unwrap();
        let server: Hostname = "apps.example".parse().unwrap();
        let main = |tables: &Tables<'_>, app: AppId| -> Result<String> {
            let all = tables.all_names(Some(app), &server)?.remove(0);
            Ok(all.main().map_or_else(String::new, ToString::to_string))
        };
        let done: Result<()> = store.write(|tables| {
            let blog = tables.create_app(&"blog".parse()?)?.id;
            let shop = tables.create_app(&"shop".parse()?)?.id;
            assert_eq!(main(tables, blog)?, "blog.apps.example");
            for typed in ["*.z.example", "_", "z.example", "a.example"] {
                tables.set_domain(blog, &typed.parse()?)?;
            }
            assert_eq!(main(tables, blog)?, "z.example");
            // A domain that moves comes after those that are there.
            tables.set_domain(shop, &"b.example".parse()?)?;
            tables.set_domain(shop, &"z.example".parse()?)?;
            assert_eq!((main(tables, blog)?, main(tables, shop)?), ("a.example".to_owned(), "b.example".to_owned()));
            let all = tables.all_names(None, &server)?;
            assert_eq!(all.iter().map(|names| names.own.len()).collect::<Vec<_>>(), [3, 2]);
            assert!(tables.remove_domain(blog, &"a.example".parse()?)?);
            assert_eq!(main(tables, blog)?, "blog.apps.example");
            let named = tables.names_of_app(blog)?;
            tables.set_names_of_app(blog, NamesOfApp { default: false, ..named })?;
            assert_eq!(main(tables, blog)?, "");
            tables.set_names_of_app(shop, NamesOfApp { enabled: false, ..named })?;
            assert_eq!(main(tables, shop)?, "");
            // What is destroyed frees its names.
            tables.delete_app(shop)?;
            assert_eq!(tables.find_owner(&"z.example".parse()?)?, None);
            Ok(())
        });
        done.unwrap();
    }

    #[test]
    fn names_lead_to_apps_and_each_to_one() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&directory.path().join("db")).unwrap();
        let hosts = store.write(|tables| {
            let blog = tables.create_app(&"blog".parse()?)?.id;
            let shop = tables.create_app(&"shop".parse()?)?.id;
            for typed in ["Example.com", "*.example.com", "_", "shop.apps.example"] {
                tables.set_domain(blog, &typed.parse()?)?;
            }
            assert!(tables.add_global_domain(&"more.example".parse()?, "more.example")?);
            tables.set_domain(shop, &"shop.example".parse()?)?;
            let below = |name: &str| -> Result<Vec<String>> {
                let found = tables.names_right_below(&name.parse()?)?;
                Ok(found.iter().map(|stored| stored.domain.to_string()).collect())
            };
            assert_eq!(below("example")?, ["shop.example"]);
            assert_eq!(below("apps.example")?, ["shop.apps.example"]);
            assert_eq!((below("com")?, below("example.com")?), (vec!["example.com".to_owned()], Vec::new()));
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
