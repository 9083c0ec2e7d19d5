use rusqlite::{Row, params};

use super::{Tables, corrupt};
use crate::{
    Result, clock,
    model::{AppId, AppName, Domain, Hostname, RedirectCode, TypedDomain},
};

/// A name whose requests are sent on to another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRedirect {
    /// The name.
    pub from: Domain,
    /// Whose it is.
    pub app: AppName,
    /// As it was typed.
    pub typed: String,
    /// Where its requests are sent.
    pub to: Hostname,
    /// How.
    pub code: RedirectCode,
    /// When it was added, in milliseconds since 1970.
    pub added_at: i64,
}

const SELECT: &str = "SELECT redirects.name, apps.name AS app, redirects.typed, redirects.target, redirects.code,
                             redirects.added_at
                      FROM redirects JOIN apps ON apps.id = redirects.app_id";

impl Tables<'_> {
    /// The redirects of an app, or of all, by name.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn redirects(&self, app: Option<AppId>) -> Result<Vec<StoredRedirect>> {
        self.all(
            &format!("{SELECT} WHERE ?1 IS NULL OR redirects.app_id = ?1 ORDER BY apps.name, redirects.name"),
            [app],
            stored_redirect,
        )
    }

    /// The redirects that are answered: all but those of apps that are reached at no name.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn redirects_in_force(&self) -> Result<Vec<StoredRedirect>> {
        self.all(&format!("{SELECT} WHERE apps.domains_enabled ORDER BY redirects.name"), [], stored_redirect)
    }

    /// Sends the requests for a name on; in place of a redirect that it may have.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn set_redirect(&self, app: AppId, from: &TypedDomain, to: &Hostname, code: RedirectCode) -> Result<()> {
        self.execute(
            "INSERT INTO redirects (name, app_id, typed, target, code, added_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (name) DO UPDATE SET app_id = excluded.app_id, typed = excluded.typed,
                                              target = excluded.target, code = excluded.code,
                                              added_at = excluded.added_at",
            params![from.domain.to_string(), app, from.typed, to.as_str(), code.number(), clock::now()],
        )
        .map(drop)
    }

    /// Takes a redirect from an app; says whether it had it.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn remove_redirect(&self, app: AppId, from: &Domain) -> Result<bool> {
        self.execute("DELETE FROM redirects WHERE app_id = ?1 AND name = ?2", params![app, from.to_string()])
            .map(|removed| removed > 0)
    }
}

fn stored_redirect(row: &Row<'_>) -> rusqlite::Result<StoredRedirect> {
    Ok(StoredRedirect {
        from: row.get::<_, String>("name")?.parse().map_err(corrupt)?,
        app: row.get("app")?,
        typed: row.get("typed")?,
        to: row.get::<_, String>("target")?.parse().map_err(corrupt)?,
        code: row.get::<_, u16>("code")?.to_string().parse().map_err(corrupt)?,
        added_at: row.get("added_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{NamesOfApp, Store};

    #[test]
    fn a_name_has_one_redirect_which_ends_with_its_app() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&directory.path().join("db")).unwrap();
        let done: Result<()> = store.write(|tables| {
            let blog = tables.create_app(&"blog".parse()?)?.id;
            let shop = tables.create_app(&"shop".parse()?)?.id;
            let (www, wildcard): (TypedDomain, TypedDomain) = ("WWW.example.com".parse()?, "*.old.example".parse()?);
            let to: Hostname = "example.com".parse()?;
            tables.set_redirect(blog, &www, &to, RedirectCode::Found)?;
            tables.set_redirect(blog, &www, &to, RedirectCode::MovedPermanently)?;
            tables.set_redirect(shop, &wildcard, &to, RedirectCode::PermanentRedirect)?;
            let all = tables.redirects(None)?;
            let shown: Vec<_> =
                all.iter().map(|it| format!("{} {} {} {}", it.app, it.from, it.to, it.code.number())).collect();
            assert_eq!(shown, ["blog www.example.com example.com 301", "shop *.old.example example.com 308"]);
            assert_eq!(tables.redirects(Some(shop))?.len(), 1);
            assert_eq!(tables.find_owner(&www.domain)?.map(|stored| stored.app), Some("blog".parse()?));
            let named = tables.names_of_app(blog)?;
            tables.set_names_of_app(blog, NamesOfApp { enabled: false, ..named })?;
            assert_eq!((tables.redirects_in_force()?.len(), tables.redirects(None)?.len()), (1, 2));
            assert!(!tables.remove_redirect(shop, &www.domain)? && tables.remove_redirect(blog, &www.domain)?);
            tables.delete_app(shop)?;
            assert_eq!(tables.redirects(None)?, []);
            Ok(())
        });
        done.unwrap();
    }
}
