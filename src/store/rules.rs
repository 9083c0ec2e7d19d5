use std::collections::BTreeSet;

use rusqlite::{Row, params};

use super::{Tables, corrupt};
use crate::{
    Result, clock,
    model::{Actor, AppId, AppName, Noun, Override, PathPrefix, PathTarget, RouteId, WebUser},
};

/// The rules of the proxy for one app.
#[derive(Clone, Debug)]
pub struct AppRules {
    /// The app.
    pub id: AppId,
    /// Its name.
    pub name: AppName,
    /// What is set for it and for all apps, the nearest last.
    pub properties: Vec<Override>,
    /// Who may see it by a password, and the hash of that; everybody where there is none.
    pub users: Vec<(WebUser, String)>,
    /// Where the requests for some paths go, the longest first.
    pub paths: Vec<PathRule>,
    /// Routes in Caddy's own words, as JSON.
    pub snippet: Option<String>,
}

/// Where the requests for a path go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathRule {
    /// The beginning of the path.
    pub prefix: PathPrefix,
    /// Where they go.
    pub target: PathTarget,
    /// Whether the beginning is left out.
    pub strip: bool,
}

/// A text in Caddy's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    /// As it was given.
    pub text: String,
    /// Who set it.
    pub actor: Actor,
    /// When, in milliseconds since 1970.
    pub set_at: i64,
}

/// What becomes of a Caddy behind the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InnerState {
    /// It does not answer yet.
    Starting,
    /// Requests go to it.
    Serving,
    /// It finishes what it began.
    Draining,
}

impl InnerState {
    const ALL: [InnerState; 3] = [InnerState::Starting, InnerState::Serving, InnerState::Draining];

    /// The word for it, as stored.
    pub fn as_str(self) -> &'static str {
        match self {
            InnerState::Starting => "starting",
            InnerState::Serving => "serving",
            InnerState::Draining => "draining",
        }
    }
}

/// A Caddy behind the first.
#[derive(Clone, Debug)]
pub struct InnerProxy {
    /// Its number.
    pub id: i64,
    /// Its port, at the address of each app.
    pub port: u16,
    /// What becomes of it.
    pub state: InnerState,
    /// What its configuration is made of, as a hash.
    pub digest: String,
    /// The apps that it has rules of.
    pub apps: BTreeSet<AppId>,
    /// The routes that it has.
    pub routes: BTreeSet<RouteId>,
    /// Since when it is in this state, in milliseconds since 1970.
    pub since: i64,
}

impl Tables<'_> {
    /// The rules of an app.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn rules(&self, id: AppId, name: &AppName) -> Result<AppRules> {
        let of_proxy = |set: &Override| set.property.noun == Noun::Proxy;
        Ok(AppRules {
            id,
            name: name.clone(),
            properties: self.properties(Some(id))?.into_iter().map(|row| row.set).filter(of_proxy).collect(),
            users: self.all("SELECT name, hash FROM proxy_users WHERE app_id = ?1 ORDER BY name", [id], |row| {
                Ok((row.get::<_, String>("name")?.parse().map_err(corrupt)?, row.get("hash")?))
            })?,
            paths: self.all(
                "SELECT prefix, target, strip FROM proxy_paths WHERE app_id = ?1 ORDER BY length(prefix) DESC, prefix",
                [id],
                path_rule,
            )?,
            snippet: self.maybe_one("SELECT routes FROM proxy_snippets WHERE app_id = ?1", [id], |row| row.get(0))?,
        })
    }

    /// The rules of all apps that may have some, by number.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn all_rules(&self) -> Result<Vec<AppRules>> {
        let apps: Vec<(AppId, AppName)> = self.all(
            "SELECT id, name FROM apps
             WHERE EXISTS (SELECT 1 FROM properties WHERE noun = 'proxy' AND coalesce(app_id, apps.id) = apps.id)
                OR EXISTS (SELECT 1 FROM proxy_users WHERE app_id = apps.id)
                OR EXISTS (SELECT 1 FROM proxy_paths WHERE app_id = apps.id)
                OR EXISTS (SELECT 1 FROM proxy_snippets WHERE app_id = apps.id)
             ORDER BY id",
            [],
            |row| Ok((row.get("id")?, row.get("name")?)),
        )?;
        apps.iter().map(|(id, name)| self.rules(*id, name)).collect()
    }

    /// Whether there is any rule, or a Caddy that has had one: cheaper to ask than [`Tables::all_rules`].
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn may_have_rules(&self) -> Result<bool> {
        let found = self.maybe_one(
            "SELECT EXISTS (SELECT 1 FROM properties WHERE noun = 'proxy') OR EXISTS (SELECT 1 FROM proxy_users)
                 OR EXISTS (SELECT 1 FROM proxy_paths) OR EXISTS (SELECT 1 FROM proxy_snippets)
                 OR EXISTS (SELECT 1 FROM inner_proxies) OR EXISTS (SELECT 1 FROM routes WHERE host IS NOT NULL)",
            [],
            |row| row.get(0),
        )?;
        Ok(found.unwrap_or(false))
    }

    /// Lets a user see an app by a password, or gives one another password; says whether it was another user.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn set_proxy_user(&self, app: AppId, name: &WebUser, hash: &str) -> Result<()> {
        self.execute(
            "INSERT INTO proxy_users (app_id, name, hash, added_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (app_id, name) DO UPDATE SET hash = excluded.hash",
            params![app, name.as_str(), hash, clock::now()],
        )
        .map(drop)
    }

    /// Removes a user; says whether there was one.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn remove_proxy_user(&self, app: AppId, name: &WebUser) -> Result<bool> {
        self.execute("DELETE FROM proxy_users WHERE app_id = ?1 AND name = ?2", params![app, name.as_str()])
            .map(|removed| removed > 0)
    }

    /// Has the requests for a path go elsewhere.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn set_proxy_path(&self, app: AppId, rule: &PathRule) -> Result<()> {
        self.execute(
            "INSERT INTO proxy_paths (app_id, prefix, target, strip, added_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (app_id, prefix) DO UPDATE SET target = excluded.target, strip = excluded.strip",
            params![app, rule.prefix.as_str(), rule.target.to_string(), rule.strip, clock::now()],
        )
        .map(drop)
    }

    /// Has the requests for a path go to the app again; says whether they did not.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn remove_proxy_path(&self, app: AppId, prefix: &PathPrefix) -> Result<bool> {
        self.execute("DELETE FROM proxy_paths WHERE app_id = ?1 AND prefix = ?2", params![app, prefix.as_str()])
            .map(|removed| removed > 0)
    }

    /// The text in Caddy's own words of an app.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn proxy_snippet(&self, app: AppId) -> Result<Option<Snippet>> {
        self.maybe_one("SELECT text, actor, set_at FROM proxy_snippets WHERE app_id = ?1", [app], |row| {
            Ok(Snippet { text: row.get("text")?, actor: row.get("actor")?, set_at: row.get("set_at")? })
        })
    }

    /// Sets it, with the routes that Caddy makes of it.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn set_proxy_snippet(&self, app: AppId, text: &str, routes: &str, actor: &Actor) -> Result<()> {
        self.execute(
            "INSERT INTO proxy_snippets (app_id, text, routes, actor, set_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (app_id) DO UPDATE SET text = excluded.text, routes = excluded.routes,
                                                actor = excluded.actor, set_at = excluded.set_at",
            params![app, text, routes, actor, clock::now()],
        )
        .map(drop)
    }

    /// Removes it; says whether there was one.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn clear_proxy_snippet(&self, app: AppId) -> Result<bool> {
        self.execute("DELETE FROM proxy_snippets WHERE app_id = ?1", [app]).map(|removed| removed > 0)
    }

    /// The Caddys behind the first, the oldest first.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn inner_proxies(&self) -> Result<Vec<InnerProxy>> {
        self.all("SELECT * FROM inner_proxies ORDER BY id", [], inner_proxy)
    }

    /// The one that requests go to.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn serving_inner_proxy(&self) -> Result<Option<InnerProxy>> {
        self.maybe_one("SELECT * FROM inner_proxies WHERE state = 'serving'", [], inner_proxy)
    }

    /// Notes that one is about to be started; returns its number.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn add_inner_proxy(
        &self,
        port: u16,
        digest: &str,
        apps: &BTreeSet<AppId>,
        routes: &BTreeSet<RouteId>,
    ) -> Result<i64> {
        let apps = serde_json::to_string(apps).map_err(crate::Error::bug)?;
        let routes = serde_json::to_string(routes).map_err(crate::Error::bug)?;
        self.one(
            "INSERT INTO inner_proxies (port, state, digest, apps, routes, since)
             VALUES (?1, 'starting', ?2, ?3, ?4, ?5) RETURNING id",
            params![port, digest, apps, routes, clock::now()],
            |row| row.get(0),
        )
    }

    /// Has requests go to one, or to none; the one before finishes what it began.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn switch_inner_proxy(&self, id: Option<i64>) -> Result<()> {
        self.execute(
            "UPDATE inner_proxies SET state = 'draining', since = ?1 WHERE state = 'serving'",
            [clock::now()],
        )?;
        self.execute("UPDATE inner_proxies SET state = 'serving', since = ?2 WHERE id = ?1", params![id, clock::now()])
            .map(drop)
    }

    /// Forgets one that is gone.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn forget_inner_proxy(&self, id: i64) -> Result<()> {
        self.execute("DELETE FROM inner_proxies WHERE id = ?1", [id]).map(drop)
    }
}

fn path_rule(row: &Row<'_>) -> rusqlite::Result<PathRule> {
    Ok(PathRule {
        prefix: row.get::<_, String>("prefix")?.parse().map_err(corrupt)?,
        target: row.get::<_, String>("target")?.parse().map_err(corrupt)?,
        strip: row.get("strip")?,
    })
}

fn inner_proxy(row: &Row<'_>) -> rusqlite::Result<InnerProxy> {
    let state: String = row.get("state")?;
    let found = InnerState::ALL.into_iter().find(|known| known.as_str() == state);
    Ok(InnerProxy {
        id: row.get("id")?,
        port: row.get("port")?,
        state: found.ok_or_else(|| corrupt(crate::Error::bug(format!("there is no state {state}"))))?,
        digest: row.get("digest")?,
        apps: serde_json::from_str(&row.get::<_, String>("apps")?).map_err(corrupt)?,
        routes: serde_json::from_str(&row.get::<_, String>("routes")?).map_err(corrupt)?,
        since: row.get("since")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn rules_are_those_of_an_app_and_end_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&directory.path().join("db")).unwrap();
        let done: Result<()> = store.write(|tables| {
            let name: AppName = "blog".parse()?;
            let blog = tables.create_app(&name)?.id;
            tables.create_app(&"shop".parse()?)?;
            assert!(!tables.may_have_rules()? && tables.all_rules()?.is_empty());
            let ann: WebUser = "ann".parse()?;
            tables.set_proxy_user(blog, &ann, "one")?;
            tables.set_proxy_user(blog, &ann, "two")?;
            let rule = |prefix: &str| -> Result<PathRule> {
                Ok(PathRule { prefix: prefix.parse()?, target: "shop".parse()?, strip: true })
            };
            tables.set_proxy_path(blog, &rule("/a")?)?;
            tables.set_proxy_path(blog, &rule("/a/b")?)?;
            tables.set_proxy_snippet(blog, "respond 200", "[]", &Actor::Daemon)?;
            let all = tables.all_rules()?;
            assert_eq!(all.len(), 1);
            assert_eq!(all[0].users, [(ann.clone(), "two".to_owned())]);
            assert_eq!(all[0].paths, [rule("/a/b")?, rule("/a")?]);
            assert_eq!(all[0].snippet.as_deref(), Some("[]"));
            assert!(tables.remove_proxy_user(blog, &ann)? && !tables.remove_proxy_user(blog, &ann)?);
            assert!(
                tables.remove_proxy_path(blog, &"/a".parse()?)? && !tables.remove_proxy_path(blog, &"/a".parse()?)?
            );
            assert!(tables.clear_proxy_snippet(blog)? && !tables.clear_proxy_snippet(blog)?);
            tables.delete_app(blog)?;
            assert!(!tables.may_have_rules()?);
            Ok(())
        });
        done.unwrap();
    }

    #[test]
    fn of_the_caddys_behind_the_first_one_serves() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&directory.path().join("db")).unwrap();
        let done: Result<()> = store.write(|tables| {
            let apps = BTreeSet::from([AppId(1), AppId(7)]);
            let first = tables.add_inner_proxy(4000, "a", &apps, &BTreeSet::new())?;
            assert!(tables.serving_inner_proxy()?.is_none());
            tables.switch_inner_proxy(Some(first))?;
            let second = tables.add_inner_proxy(4001, "b", &apps, &BTreeSet::from([RouteId(3)]))?;
            tables.switch_inner_proxy(Some(second))?;
            let serving = tables.serving_inner_proxy()?.unwrap();
            assert_eq!((serving.id, serving.port, &serving.apps), (second, 4001, &apps));
            tables.switch_inner_proxy(None)?;
            let states: Vec<InnerState> = tables.inner_proxies()?.into_iter().map(|inner| inner.state).collect();
            assert_eq!(states, [InnerState::Draining, InnerState::Draining]);
            tables.forget_inner_proxy(first)?;
            assert_eq!(tables.inner_proxies()?.len(), 1);
            Ok(())
        });
        done.unwrap();
    }
}
