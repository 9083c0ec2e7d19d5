use rusqlite::{Row, params};

use super::Tables;
use crate::{
    Error, Result, clock,
    error::Thing,
    model::{Actor, AppId, Grant, KeyName, Role},
};

/// A public key that may log in.
#[derive(Clone, Debug)]
pub struct StoredKey {
    /// Its row.
    pub id: i64,
    /// What it is called here.
    pub name: KeyName,
    /// `SHA256:...`, as `ssh-keygen -l` shows it.
    pub fingerprint: String,
    /// The key in OpenSSH's format, without a comment.
    pub public_key: String,
    /// What its holder is on the server; none: only what they are granted for single apps.
    pub role: Option<Role>,
    /// When it was added, in milliseconds since 1970.
    pub created_at: i64,
}

const COLUMNS: &str = "id, name, fingerprint, public_key, role, created_at";

impl Tables<'_> {
    /// Adds a key, and what its holder is on the server.
    ///
    /// # Errors
    /// [`Error::Exists`] where the name or the key is taken.
    pub fn add_key(&self, name: &KeyName, fingerprint: &str, public_key: &str, role: Role) -> Result<StoredKey> {
        if let Some(key) = self.find_key_by_fingerprint(fingerprint)? {
            return Err(Error::Exists(Thing::Fingerprint, format!("{fingerprint}, named {}", key.name)));
        }
        if self.find_key(name)?.is_some() {
            return Err(Error::Exists(Thing::Key, name.to_string()));
        }
        self.execute(
            "INSERT INTO ssh_keys (name, fingerprint, public_key, role, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![name, fingerprint, public_key, role, clock::now()],
        )?;
        self.find_key(name)?.ok_or_else(|| Error::bug("a key that was added is missing"))
    }

    /// What the holder of a key is for single apps.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn grants_of_key(&self, id: i64) -> Result<Vec<Grant>> {
        self.all(
            "SELECT apps.name, key_grants.role FROM key_grants JOIN apps ON apps.id = key_grants.app_id
             WHERE key_grants.key_id = ?1",
            [id],
            |row| Ok(Grant { app: row.get("name")?, role: row.get("role")? }),
        )
    }

    /// Makes whoever made an app its owner. Only the holder of a key can be somebody who is not one already.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn grant_ownership(&self, actor: &Actor, app_id: AppId) -> Result<()> {
        let Actor::Key(name) = actor else { return Ok(()) };
        self.execute(
            "INSERT INTO key_grants (key_id, app_id, role) SELECT id, ?2, 'admin' FROM ssh_keys WHERE name = ?1",
            params![name, app_id],
        )
        .map(drop)
    }

    /// All keys, by name.
    pub fn keys(&self) -> Result<Vec<StoredKey>> {
        self.all(&format!("SELECT {COLUMNS} FROM ssh_keys ORDER BY name"), [], key)
    }

    /// The key of that name, if there is one.
    pub fn find_key(&self, name: &KeyName) -> Result<Option<StoredKey>> {
        self.maybe_one(&format!("SELECT {COLUMNS} FROM ssh_keys WHERE name = ?1"), [name], key)
    }

    /// The key of that fingerprint (`SHA256:...`), if there is one.
    pub fn find_key_by_fingerprint(&self, fingerprint: &str) -> Result<Option<StoredKey>> {
        self.maybe_one(&format!("SELECT {COLUMNS} FROM ssh_keys WHERE fingerprint = ?1"), [fingerprint], key)
    }

    /// Removes a key by its row.
    pub fn remove_key(&self, id: i64) -> Result<()> {
        self.execute("DELETE FROM ssh_keys WHERE id = ?1", [id]).map(drop)
    }
}

fn key(row: &Row<'_>) -> rusqlite::Result<StoredKey> {
    Ok(StoredKey {
        id: row.get("id")?,
        name: row.get("name")?,
        fingerprint: row.get("fingerprint")?,
        public_key: row.get("public_key")?,
        role: row.get("role")?,
        created_at: row.get("created_at")?,
    })
}
