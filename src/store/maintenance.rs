use rusqlite::{Row, params};

use super::{Tables, corrupt};
use crate::{
    Result, clock,
    model::{Actor, AppId, AppName, Network},
};

/// What is answered in place of an app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maintenance {
    /// What the usual page says beside that the app is under maintenance.
    pub message: Option<String>,
    /// The path of a page in the repository, and what is in it: answered instead of the usual page.
    pub page: Option<(String, Vec<u8>)>,
    /// The networks whose requests go on to the app.
    pub allow: Vec<Network>,
}

/// An app under maintenance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMaintenance {
    /// The app.
    pub app: AppName,
    /// What is answered.
    pub maintenance: Maintenance,
    /// The path of the health check of its web process, where one was set: requests for it go on to the app, so that a load
    /// balancer in front does not take the server for dead.
    pub check_path: Option<String>,
    /// Who turned it on.
    pub actor: Actor,
    /// When, in milliseconds since 1970.
    pub since: i64,
}

impl Tables<'_> {
    /// The apps under maintenance, by name; or the one app, if it is.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn maintenance(&self, app: Option<AppId>) -> Result<Vec<StoredMaintenance>> {
        self.all(
            "SELECT apps.name AS app, message, page, path, allow, actor, since,
                    (SELECT json_extract(value, '$.run.check.probe.http.path')
                     FROM releases, json_each(releases.processes)
                     WHERE releases.id = apps.current_release_id AND json_extract(value, '$.process') = 'web')
                    AS check_path
             FROM maintenance JOIN apps ON apps.id = maintenance.app_id
             WHERE ?1 IS NULL OR app_id = ?1 ORDER BY apps.name",
            [app],
            stored_maintenance,
        )
    }

    /// Puts an app under maintenance, or changes what is answered. When it began, and by whom, stays.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn set_maintenance(&self, app: AppId, maintenance: &Maintenance, actor: &Actor) -> Result<()> {
        let allow: Vec<String> = maintenance.allow.iter().map(ToString::to_string).collect();
        let (path, page) = maintenance.page.as_ref().map(|(path, page)| (path, page)).unzip();
        self.execute(
            "INSERT INTO maintenance (app_id, message, page, path, allow, actor, since)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (app_id) DO UPDATE SET message = excluded.message, page = excluded.page,
                                                path = excluded.path, allow = excluded.allow",
            params![app, maintenance.message, page, path, allow.join(","), actor, clock::now()],
        )
        .map(drop)
    }

    /// Ends the maintenance of an app; says whether it was under it.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn end_maintenance(&self, app: AppId) -> Result<bool> {
        self.execute("DELETE FROM maintenance WHERE app_id = ?1", [app]).map(|ended| ended > 0)
    }
}

fn stored_maintenance(row: &Row<'_>) -> rusqlite::Result<StoredMaintenance> {
    let allow: String = row.get("allow")?;
    let networks = allow.split(',').filter(|text| !text.is_empty()).map(|text| text.parse().map_err(corrupt));
    let page: (Option<String>, Option<Vec<u8>>) = (row.get("path")?, row.get("page")?);
    Ok(StoredMaintenance {
        app: row.get("app")?,
        maintenance: Maintenance {
            message: row.get("message")?,
            page: page.0.zip(page.1),
            allow: networks.collect::<rusqlite::Result<_>>()?,
        },
        check_path: row.get("check_path")?,
        actor: row.get("actor")?,
        since: row.get("since")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn maintenance_is_kept_as_it_was_turned_on_and_ends_with_its_app() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&directory.path().join("db")).unwrap();
        let done: Result<()> = store.write(|tables| {
            let blog = tables.create_app(&"blog".parse()?)?.id;
            let shop = tables.create_app(&"shop".parse()?)?.id;
            let (ann, bob) = (Actor::Key("ann".to_owned()), Actor::Key("bob".to_owned()));
            let first = Maintenance { message: Some("back at 10".to_owned()), ..Maintenance::default() };
            tables.set_maintenance(blog, &first, &ann)?;
            tables.set_maintenance(shop, &first, &bob)?;
            let second = Maintenance {
                message: None,
                page: Some(("public/503.html".to_owned(), b"<h1>\0</h1>".to_vec())),
                allow: vec!["203.0.113.7".parse()?, "2001:db8::/32".parse()?],
            };
            tables.set_maintenance(blog, &second, &bob)?;
            let stored = tables.maintenance(Some(blog))?.remove(0);
            assert_eq!((&stored.maintenance, &stored.actor), (&second, &ann));
            assert_eq!(tables.maintenance(None)?.len(), 2);
            assert!(tables.end_maintenance(blog)? && !tables.end_maintenance(blog)?);
            tables.delete_app(shop)?;
            assert_eq!(tables.maintenance(None)?, []);
            Ok(())
        });
        done.unwrap();
    }
}
