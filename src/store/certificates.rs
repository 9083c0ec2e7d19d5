use rusqlite::{Row, params};

use super::{Tables, corrupt};
use crate::{
    Error, Result, clock,
    model::{Actor, AppId, CertificateKind, Domain, Hostname},
};

/// Under which noun private keys of certificates and accounts are sealed.
const NOUN: &str = "certs";

/// A certificate without its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCertificate {
    /// Its row: no number is used twice.
    pub id: i64,
    /// Where it comes from.
    pub kind: CertificateKind,
    /// Whose it is; none: the server's, and good for every host that it covers.
    pub app: Option<AppId>,
    /// The names that it is for: exact ones, and those with one label more.
    pub names: Vec<Domain>,
    /// Its chain as PEM, with the host's own certificate first.
    pub chain: String,
    /// Since when it is valid, in milliseconds since 1970.
    pub not_before: i64,
    /// Until when.
    pub not_after: i64,
    /// When it came here.
    pub created_at: i64,
}

impl StoredCertificate {
    /// Whether it is one for a host.
    pub fn covers(&self, host: &Hostname) -> bool {
        self.names.iter().any(|name| name.covers(host))
    }

    /// Whether somebody chose it for its names, and nobody asked an authority for it.
    pub fn is_chosen(&self) -> bool {
        match self.kind {
            CertificateKind::Own | CertificateKind::SelfSigned => true,
            CertificateKind::Acme => false,
        }
    }

    /// Which of several goes first.
    pub fn rank(&self) -> Rank {
        match (self.is_chosen(), self.app) {
            (true, Some(_)) => Rank::OfApp,
            (true, None) => Rank::OfServer,
            (false, _) => Rank::Issued,
        }
    }

    /// Whether it may serve the hosts of an app, or those of none: its own ones and the server's may.
    pub fn is_for(&self, app: Option<AppId>) -> bool {
        self.app.is_none() || self.app == app
    }
}

/// Which of several certificates for a host goes first. Within a rank it is the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// One that somebody chose for the app.
    OfApp,
    /// One that somebody chose for the server.
    OfServer,
    /// One that an authority gave out.
    Issued,
}

/// The valid certificate that serves a host of an app, or of no app, at a time: the newest that somebody chose for the app, else for the
/// server, else the newest that an authority gave out.
pub fn serving<'a>(
    all: &'a [StoredCertificate],
    app: Option<AppId>,
    host: &Hostname,
    now: i64,
) -> Option<&'a StoredCertificate> {
    let is_good = |certificate: &&StoredCertificate| {
        certificate.is_for(app)
            && certificate.covers(host)
            && (certificate.not_before..certificate.not_after).contains(&now)
    };
    all.iter().filter(is_good).min_by_key(|certificate| (certificate.rank(), -certificate.id))
}

/// A certificate to be kept.
#[derive(Clone, Copy, Debug)]
pub struct NewCertificate<'a> {
    /// Where it comes from.
    pub kind: CertificateKind,
    /// Whose it is; none: the server's.
    pub app: Option<AppId>,
    /// The names that it is for.
    pub names: &'a [Domain],
    /// Its chain as PEM, with the host's own certificate first.
    pub chain: &'a str,
    /// Its private key, as PEM.
    pub key: &'a str,
    /// Since when it is valid, in milliseconds since 1970.
    pub not_before: i64,
    /// Until when.
    pub not_after: i64,
}

impl Tables<'_> {
    /// Every certificate, the newest first.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn certificates(&self) -> Result<Vec<StoredCertificate>> {
        self.all("SELECT * FROM certificates ORDER BY id DESC", [], stored_certificate)
    }

    /// The private key of a certificate, as PEM; none where there is none, and while the instance's key is missing.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn certificate_key(&self, id: i64) -> Result<Option<String>> {
        self.certs_secret(&id.to_string())
    }

    /// Keeps a certificate with its private key, and returns its number.
    ///
    /// # Errors
    /// `StoreError::NoKey` where nothing can be sealed; [`crate::Error::Store`].
    pub fn add_certificate(&self, new: NewCertificate<'_>, actor: &Actor) -> Result<i64> {
        let names: Vec<String> = new.names.iter().map(Domain::to_string).collect();
        let id = self.insert(
            "INSERT INTO certificates (kind, app_id, names, chain, not_before, not_after, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                new.kind,
                new.app,
                serde_json::to_string(&names).map_err(Error::bug)?,
                new.chain,
                new.not_before,
                new.not_after,
                clock::now()
            ],
        )?;
        self.set_certs_secret(new.app, &id.to_string(), new.key, actor)?;
        Ok(id)
    }

    /// Removes a certificate and its private key; says whether there was one.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn remove_certificate(&self, id: i64) -> Result<bool> {
        self.forget_certs_secret(&id.to_string())?;
        self.execute("DELETE FROM certificates WHERE id = ?1", [id]).map(|removed| removed > 0)
    }

    /// What is kept sealed under a name beside the certificates; none where there is nothing, and while the instance's
    /// key is missing.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn certs_secret(&self, name: &str) -> Result<Option<String>> {
        let sealed: Option<Vec<u8>> =
            self.maybe_one("SELECT sealed FROM secrets WHERE noun = ?1 AND name = ?2", [NOUN, name], |row| row.get(0))?;
        self.unseal(sealed.as_deref())
    }

    /// Whether something is kept sealed under a name beside the certificates, whether it can be opened or not.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn has_certs_secret(&self, name: &str) -> Result<bool> {
        self.one("SELECT EXISTS (SELECT 1 FROM secrets WHERE noun = ?1 AND name = ?2)", [NOUN, name], |row| row.get(0))
    }

    /// Keeps something sealed under a name beside the certificates.
    ///
    /// # Errors
    /// `StoreError::NoKey` where nothing can be sealed; [`crate::Error::Store`].
    pub fn set_certs_secret(&self, app: Option<AppId>, name: &str, clear: &str, actor: &Actor) -> Result<()> {
        let sealed = self.seal(clear)?.ok_or_else(|| Error::bug("a private key is written without what seals it"))?;
        self.execute(
            "INSERT INTO secrets (scope, app_id, noun, name, sealed, actor, set_at)
             VALUES (iif(?1 IS NULL, 'global', 'app'), ?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (coalesce(app_id, 0), noun, name) DO UPDATE
             SET sealed = excluded.sealed, actor = excluded.actor, set_at = excluded.set_at",
            params![app, NOUN, name, sealed, actor, clock::now()],
        )
        .map(drop)
    }

    /// Keeps nothing under a name any more.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn forget_certs_secret(&self, name: &str) -> Result<()> {
        self.execute("DELETE FROM secrets WHERE noun = ?1 AND name = ?2", [NOUN, name]).map(drop)
    }
}

fn stored_certificate(row: &Row<'_>) -> rusqlite::Result<StoredCertificate> {
    let names: Vec<String> = serde_json::from_str(&row.get::<_, String>("names")?).map_err(corrupt)?;
    Ok(StoredCertificate {
        id: row.get("id")?,
        kind: row.get("kind")?,
        app: row.get("app_id")?,
        names: names.iter().map(|name| name.parse().map_err(corrupt)).collect::<rusqlite::Result<_>>()?,
        chain: row.get("chain")?,
        not_before: row.get("not_before")?,
        not_after: row.get("not_after")?,
        created_at: row.get("created_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{secrets::Secrets, store::Store};

    #[test]
    fn what_somebody_chose_goes_before_what_an_authority_gave() {
        let (blog, shop) = (AppId(1), AppId(2));
        let certificate = |id, kind, app, name: &str, not_after| StoredCertificate {
            id,
            kind,
            app,
            names: vec![name.parse().unwrap()],
            chain: String::new(),
            not_before: 10,
            not_after,
            created_at: 0,
        };
        use CertificateKind::{Acme, Own, SelfSigned};
        let all = [
            certificate(7, Own, None, "a.example", 40),
            certificate(6, Acme, None, "a.example", 100),
            certificate(5, Own, Some(shop), "a.example", 100),
            certificate(4, SelfSigned, Some(blog), "a.example", 50),
            certificate(3, Own, None, "*.example", 100),
            certificate(2, Acme, None, "b.example", 100),
        ];
        let chosen = |app, host: &str, now| {
            serving(&all, Some(app), &host.parse().unwrap(), now).map(|certificate| certificate.id)
        };
        assert_eq!(chosen(blog, "a.example", 20), Some(4));
        assert_eq!(chosen(blog, "a.example", 60), Some(3), "the one of its own is over");
        assert_eq!(chosen(shop, "a.example", 60), Some(5));
        assert_eq!(chosen(shop, "b.example", 60), Some(3));
        assert_eq!(chosen(AppId(3), "a.example", 20), Some(7));
        assert_eq!(chosen(shop, "b.example", 100), None);
        assert_eq!(chosen(shop, "b.example", 5), None);
        assert_eq!(chosen(shop, "x.b.example", 60), None);
        let of_none = serving(&all, None, &"a.example".parse().unwrap(), 20);
        assert_eq!(of_none.map(|certificate| certificate.id), Some(7), "that of an app is not for a route");
    }

    #[test]
    fn a_private_key_is_sealed_and_goes_with_its_certificate_and_its_app() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let mut store = Store::open(&path).unwrap();
        let secrets = Secrets::open(&directory.path().join("key"), &mut store).unwrap();
        let mut store = store.with_secrets(secrets);
        let names = ["example.com".parse().unwrap(), "*.example.com".parse().unwrap()];
        let new = |app| NewCertificate {
            kind: CertificateKind::Own,
            app,
            names: &names,
            chain: "CHAIN",
            key: "very private",
            not_before: 1,
            not_after: 2,
        };
        store
            .write(|tables| {
                let app = tables.create_app(&"blog".parse()?)?.id;
                let first = tables.add_certificate(new(Some(app)), &Actor::Daemon)?;
                let second = tables.add_certificate(new(None), &Actor::Daemon)?;
                let found = tables.certificates()?;
                assert_eq!(
                    found.iter().map(|one| (one.id, one.app)).collect::<Vec<_>>(),
                    [(second, None), (first, Some(app))]
                );
                assert!(found[0].covers(&"www.example.com".parse()?) && !found[0].covers(&"example.org".parse()?));
                assert_eq!(tables.certificate_key(first)?.as_deref(), Some("very private"));
                let sealed = tables.one_sealed()?.unwrap_or_default();
                assert!(!sealed.windows(4).any(|window| window == b"priv"), "sealed at rest");
                tables.execute("DELETE FROM apps WHERE id = ?1", [app])?;
                assert_eq!(tables.certificate_key(first)?, None);
                assert!(tables.remove_certificate(second)? && !tables.remove_certificate(second)?);
                assert_eq!(tables.certificate_key(second)?, None);
                assert!(tables.add_certificate(new(None), &Actor::Daemon)? > second, "no number comes twice");
                Ok(())
            })
            .unwrap();
    }
}
