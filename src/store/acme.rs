use rusqlite::{Row, params};

use super::{Tables, corrupt};
use crate::{
    Error, Result, clock,
    model::{Actor, AppId, Domain, Trouble, property},
};

/// How the last try for a name went that brought no certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeName {
    /// The name.
    pub name: Domain,
    /// How many tries in a row brought none.
    pub failures: u32,
    /// When the last one was, in milliseconds since 1970.
    pub tried_at: i64,
    /// When the next one is due.
    pub next_at: i64,
    /// When the authority last looked in vain: it counts that.
    pub refused_at: Option<i64>,
    /// The time before that.
    pub refused_before: Option<i64>,
    /// What was wrong.
    pub trouble: Option<Trouble>,
    /// What was said of it.
    pub reason: Option<String>,
}

/// An account at an authority.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcmeAccount {
    /// Whom the authority writes to.
    pub contact: String,
    /// How many times in a row the account or the authority was the trouble.
    pub failures: u32,
    /// Until when nothing is asked of the authority, in milliseconds since 1970.
    pub next_at: i64,
    /// Why.
    pub trouble: Option<Trouble>,
    /// What was said of it.
    pub reason: Option<String>,
}

/// An order whose certificate was asked for, and has not come here yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeOrder {
    /// Its URL.
    pub url: String,
    /// The names.
    pub names: Vec<Domain>,
    /// Its private key, as PEM; none while the instance's key is missing.
    pub key: Option<String>,
}

fn secret_of_account(directory: &str) -> String {
    format!("account {directory}")
}

fn secret_of_order(url: &str) -> String {
    format!("order {url}")
}

impl Tables<'_> {
    /// For which apps it was said whether an authority is asked; none: for all of them.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn acme_switches(&self) -> Result<Vec<(Option<AppId>, String)>> {
        let of = &property::CERTS_ACME;
        self.all(
            "SELECT app_id, value FROM properties WHERE noun = ?1 AND name = ?2",
            [of.noun.as_str(), of.name],
            |row| Ok((row.get("app_id")?, row.get("value")?)),
        )
    }

    /// How the last tries went, for the names whose last one brought nothing.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn acme_names(&self) -> Result<Vec<AcmeName>> {
        self.all("SELECT * FROM acme_names ORDER BY name", [], acme_name)
    }

    /// Writes how the last try for a name went.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn set_acme_name(&self, name: &AcmeName) -> Result<()> {
        self.execute(
            "INSERT OR REPLACE INTO acme_names
                 (name, failures, tried_at, next_at, refused_at, refused_before, trouble, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                name.name.to_string(),
                name.failures,
                name.tried_at,
                name.next_at,
                name.refused_at,
                name.refused_before,
                name.trouble,
                name.reason
            ],
        )
        .map(drop)
    }

    /// Forgets how the tries for a name went: it has a certificate, or nobody wants one any more.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn forget_acme_name(&self, name: &Domain) -> Result<()> {
        self.execute("DELETE FROM acme_names WHERE name = ?1", [name.to_string()]).map(drop)
    }

    /// The account at an authority, as far as one was ever asked for.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn acme_account(&self, directory: &str) -> Result<AcmeAccount> {
        let found = self.maybe_one("SELECT * FROM acme_accounts WHERE directory = ?1", [directory], |row| {
            Ok(AcmeAccount {
                contact: row.get("contact")?,
                failures: row.get("failures")?,
                next_at: row.get("next_at")?,
                trouble: row.get("trouble")?,
                reason: row.get("reason")?,
            })
        })?;
        Ok(found.unwrap_or_default())
    }

    /// Writes how things stand with an authority.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn set_acme_account(&self, directory: &str, account: &AcmeAccount) -> Result<()> {
        self.execute(
            "INSERT OR REPLACE INTO acme_accounts (directory, contact, failures, next_at, trouble, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![directory, account.contact, account.failures, account.next_at, account.trouble, account.reason],
        )
        .map(drop)
    }

    /// The credentials of the account at an authority; none where there is no account, and while the instance's key is
    /// missing.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn acme_credentials(&self, directory: &str) -> Result<Option<String>> {
        self.certs_secret(&secret_of_account(directory))
    }

    /// Whether there are credentials for an authority, whether they can be opened or not.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn has_acme_credentials(&self, directory: &str) -> Result<bool> {
        self.has_certs_secret(&secret_of_account(directory))
    }

    /// Keeps the credentials of the account at an authority, sealed; none forgets them.
    ///
    /// # Errors
    /// `StoreError::NoKey` where nothing can be sealed; [`crate::Error::Store`].
    pub fn set_acme_credentials(&self, directory: &str, credentials: Option<&str>) -> Result<()> {
        let name = secret_of_account(directory);
        match credentials {
            Some(credentials) => self.set_certs_secret(None, &name, credentials, &Actor::Daemon),
            None => self.forget_certs_secret(&name),
        }
    }

    /// Writes down an order whose certificate is about to be asked for, with the private key of it.
    ///
    /// # Errors
    /// `StoreError::NoKey` where nothing can be sealed; [`crate::Error::Store`].
    pub fn open_acme_order(&self, directory: &str, url: &str, names: &[Domain], key: &str) -> Result<()> {
        let names: Vec<String> = names.iter().map(Domain::to_string).collect();
        self.execute(
            "INSERT OR REPLACE INTO acme_orders (url, directory, names, created_at) VALUES (?1, ?2, ?3, ?4)",
            params![url, directory, serde_json::to_string(&names).map_err(Error::bug)?, clock::now()],
        )?;
        self.set_certs_secret(None, &secret_of_order(url), key, &Actor::Daemon)
    }

    /// The orders at an authority whose certificates have not come here yet.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn acme_orders(&self, directory: &str) -> Result<Vec<AcmeOrder>> {
        let rows = self.all(
            "SELECT url, names FROM acme_orders WHERE directory = ?1 ORDER BY created_at",
            [directory],
            |row| Ok((row.get::<_, String>("url")?, row.get::<_, String>("names")?)),
        )?;
        let order = |(url, names): (String, String)| {
            let names: Vec<String> = serde_json::from_str(&names).map_err(Error::bug)?;
            let names = names.iter().map(|name| Ok(name.parse()?)).collect::<Result<_>>()?;
            let key = self.certs_secret(&secret_of_order(&url))?;
            Ok(AcmeOrder { url, names, key })
        };
        rows.into_iter().map(order).collect()
    }

    /// Forgets an order: its certificate is here, or will never be.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn forget_acme_order(&self, url: &str) -> Result<()> {
        self.forget_certs_secret(&secret_of_order(url))?;
        self.execute("DELETE FROM acme_orders WHERE url = ?1", [url]).map(drop)
    }

    /// What is to be answered below `/.well-known/acme-challenge/`: tokens, each with its answer.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn acme_challenges(&self) -> Result<Vec<(String, String)>> {
        self.all("SELECT token, answer FROM acme_challenges ORDER BY token", [], |row| {
            Ok((row.get("token")?, row.get("answer")?))
        })
    }

    /// Adds what is to be answered for a token.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn add_acme_challenge(&self, token: &str, answer: &str) -> Result<()> {
        self.execute(
            "INSERT OR REPLACE INTO acme_challenges (token, answer, created_at) VALUES (?1, ?2, ?3)",
            params![token, answer, clock::now()],
        )
        .map(drop)
    }

    /// Nothing is to be answered any more: one process at a time asks the authority.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn forget_acme_challenges(&self) -> Result<()> {
        self.execute("DELETE FROM acme_challenges", []).map(drop)
    }

    /// Notes that it was said of a certificate that it ends within so many days; says whether it had not been.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn note_certificate_warning(&self, certificate: i64, days: i64) -> Result<bool> {
        self.execute(
            "INSERT OR IGNORE INTO certificate_warnings (certificate_id, days) VALUES (?1, ?2)",
            [certificate, days],
        )
        .map(|added| added > 0)
    }
}

fn acme_name(row: &Row<'_>) -> rusqlite::Result<AcmeName> {
    Ok(AcmeName {
        name: row.get::<_, String>("name")?.parse().map_err(corrupt)?,
        failures: row.get("failures")?,
        tried_at: row.get("tried_at")?,
        next_at: row.get("next_at")?,
        refused_at: row.get("refused_at")?,
        refused_before: row.get("refused_before")?,
        trouble: row.get("trouble")?,
        reason: row.get("reason")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{secrets::Secrets, store::Store};

    #[test]
    fn accounts_and_orders_keep_their_keys_sealed() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&directory.path().join("db")).unwrap();
        let secrets = Secrets::open(&directory.path().join("key"), &mut store).unwrap();
        let mut store = store.with_secrets(secrets);
        let authority = "https://ca.example/directory";
        store
            .write(|tables| {
                assert_eq!(tables.acme_account(authority)?, AcmeAccount::default());
                tables.set_acme_credentials(authority, Some("credentials"))?;
                assert_eq!(tables.acme_credentials(authority)?.as_deref(), Some("credentials"));
                assert_eq!(tables.acme_credentials("https://other.example/")?, None);
                let names: Vec<Domain> = vec!["a.example".parse()?, "*.b.example".parse()?];
                tables.open_acme_order(authority, "https://ca.example/order/1", &names, "key")?;
                let orders = tables.acme_orders(authority)?;
                assert_eq!((orders.len(), &orders[0].names, orders[0].key.as_deref()), (1, &names, Some("key")));
                tables.forget_acme_order(&orders[0].url)?;
                assert!(tables.acme_orders(authority)?.is_empty());
                assert!(!tables.has_certs_secret("order https://ca.example/order/1")?);
                tables.add_acme_challenge("token", "answer")?;
                assert_eq!(tables.acme_challenges()?, [("token".to_owned(), "answer".to_owned())]);
                tables.forget_acme_challenges()?;
                assert!(tables.acme_challenges()?.is_empty());
                Ok(())
            })
            .unwrap();
    }
}
