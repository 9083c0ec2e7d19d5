use rusqlite::{Row, params};

use super::Tables;
use crate::{Error, Result, clock, model::KeyName};

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
    /// When it was added, in milliseconds since 1970.
    pub created_at: i64,
}

const COLUMNS: &str = "id, name, fingerprint, public_key, created_at";

impl Tables<'_> {
    /// Adds a key.
    ///
    /// # Errors
    /// [`Error::KeyExists`] where the name or the key is taken.
    pub fn add_key(&self, name: &KeyName, fingerprint: &str, public_key: &str) -> Result<()> {
        if let Some(key) = self.find_key_by_fingerprint(fingerprint)? {
            return Err(Error::KeyExists(format!("this key is already here, named {}", key.name)));
        }
        if self.find_key(name)?.is_some() {
            return Err(Error::KeyExists(format!("there is already a key named {name}")));
        }
        self.execute(
            "INSERT INTO ssh_keys (name, fingerprint, public_key, created_at) VALUES (?1, ?2, ?3, ?4)",
            params![name, fingerprint, public_key, clock::now()],
        )
        .map(drop)
    }

    /// All keys, by name.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn keys(&self) -> Result<Vec<StoredKey>> {
        self.all(&format!("SELECT {COLUMNS} FROM ssh_keys ORDER BY name"), [], key)
    }

    /// The key of that name, if there is one.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn find_key(&self, name: &KeyName) -> Result<Option<StoredKey>> {
        self.maybe_one(&format!("SELECT {COLUMNS} FROM ssh_keys WHERE name = ?1"), [name], key)
    }

    /// The key of that fingerprint (`SHA256:...`), if there is one.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn find_key_by_fingerprint(&self, fingerprint: &str) -> Result<Option<StoredKey>> {
        self.maybe_one(&format!("SELECT {COLUMNS} FROM ssh_keys WHERE fingerprint = ?1"), [fingerprint], key)
    }

    /// Removes a key by its row.
    ///
    /// # Errors
    /// [`Error::Database`].
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
        created_at: row.get("created_at")?,
    })
}
