use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use super::Certificate;
use crate::{
    Error, Result, clock,
    model::{Actor, Domain, Hostname},
    store::Tables,
};

/// How long a certificate of the internal authority is valid, in days.
pub const LEAF_DAYS: i64 = 7;
/// How long the internal authority itself is.
const AUTHORITY_DAYS: i64 = 3650;
/// How long before its end there is a new one.
const AUTHORITY_AHEAD_DAYS: i64 = 30;
/// How long a self-signed certificate is valid: what clients take that are told to trust it.
const SELF_SIGNED_DAYS: i64 = 365;
/// How far a certificate reaches back, for clients whose clock is behind.
const BACK: i64 = 3_600_000;
const DAY: i64 = 24 * 3_600_000;
/// Under which name it is sealed.
const SECRET: &str = "internal-authority";

/// The instance's own authority: it signs for names that no public authority can vouch for, and clients trust it when they
/// are told to.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    not_after: i64,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Authority").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes the instance's authority where there is none, or where its end is near. Within a transaction that writes.
    ///
    /// # Errors
    /// `StoreError::NoKey` where nothing can be sealed; [`Error::Store`].
    pub fn make(tables: &Tables<'_>) -> Result<()> {
        let ends = match Authority::read(tables)? {
            Some(authority) => authority.not_after,
            // While the instance's key is missing, so is what it opens.
            None if tables.has_certs_secret(SECRET)? => return Ok(()),
            None => 0,
        };
        if ends - clock::now() > AUTHORITY_AHEAD_DAYS * DAY {
            return Ok(());
        }
        let key = new_key()?;
        let name = format!("paas {} internal authority", tables.instance_id()?);
        let mut params = params(&name, clock::now() - BACK, clock::now() + AUTHORITY_DAYS * DAY);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).map_err(Error::bug)?;
        let both = format!("{}{}", certificate.pem(), key.serialize_pem());
        tables.set_certs_secret(None, SECRET, &both, &Actor::Daemon)
    }

    /// The instance's authority; none where none was made, and while the instance's key is missing.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn read(tables: &Tables<'_>) -> Result<Option<Authority>> {
        const KEY: &str = "-----BEGIN PRIVATE KEY-----";
        let Some(both) = tables.certs_secret(SECRET)? else { return Ok(None) };
        let at = both.find(KEY).ok_or_else(|| Error::bug("an authority without a key"))?;
        let (certificate, key) = both.split_at(at);
        let key = KeyPair::from_pem(key).map_err(Error::bug)?;
        let issuer = Issuer::from_ca_cert_pem(certificate, key).map_err(Error::bug)?;
        let not_after = Certificate::read(certificate)?.not_after;
        Ok(Some(Authority { issuer, certificate: certificate.to_owned(), not_after }))
    }

    /// Its certificate as PEM: what a client is to trust.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate for a host and its private key, both as PEM: valid for [`LEAF_DAYS`].
    ///
    /// # Errors
    /// [`Error::Bug`] where it cannot be signed.
    pub fn leaf(&self, host: &Hostname) -> Result<(String, String)> {
        let key = new_key()?;
        let now = clock::now();
        let mut params =
            of_host(&[Domain::Exact(host.clone())], now - BACK, (now + LEAF_DAYS * DAY).min(self.not_after))?;
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).map_err(Error::bug)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

/// A private key for a certificate: ECDSA on P-256.
///
/// # Errors
/// [`Error::Bug`] where there are no random numbers.
pub fn new_key() -> Result<KeyPair> {
    KeyPair::generate().map_err(Error::bug)
}

/// Reads a private key that [`new_key`] made.
///
/// # Errors
/// [`Error::Bug`] where it is none.
pub fn read_key(pem: &str) -> Result<KeyPair> {
    KeyPair::from_pem(pem).map_err(Error::bug)
}

/// What asks an authority for a certificate for these names (a CSR), in DER.
///
/// # Errors
/// [`Error::Bug`] where it cannot be signed.
pub fn request(names: &[Domain], key: &KeyPair) -> Result<Vec<u8>> {
    let names: Vec<String> = names.iter().map(Domain::to_string).collect();
    let mut params = CertificateParams::new(names).map_err(Error::bug)?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(key).map_err(Error::bug)?.der().to_vec())
}

/// A certificate for these names that is signed by its own key, and that key, both as PEM.
///
/// # Errors
/// [`Error::Bug`] where it cannot be signed.
pub fn self_signed(names: &[Domain]) -> Result<(String, String)> {
    let key = new_key()?;
    let now = clock::now();
    let certificate =
        of_host(names, now - BACK, now + SELF_SIGNED_DAYS * DAY)?.self_signed(&key).map_err(Error::bug)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// What a certificate of hosts says.
fn of_host(names: &[Domain], from: i64, until: i64) -> Result<CertificateParams> {
    let written: Vec<String> = names.iter().map(Domain::to_string).collect();
    // A common name has at most 64 letters.
    let common = written.iter().find(|name| name.len() <= 64).cloned().unwrap_or_else(|| "a host".to_owned());
    let of_names = CertificateParams::new(written).map_err(Error::bug)?;
    let mut params = params(&common, from, until);
    params.subject_alt_names = of_names.subject_alt_names;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn params(common_name: &str, from: i64, until: i64) -> CertificateParams {
    let at = |milliseconds: i64| {
        date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(milliseconds / 1000).unwrap_or(0))
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    (params.not_before, params.not_after) = (at(from), at(until));
    params
}
