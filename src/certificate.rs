//! Certificates: what is read of those that others made, and those that are made here. PEM (RFC 7468) and X.509
//! (RFC 5280); keys by `ring`.

mod authority;
mod pem;
#[cfg(test)]
mod tests;

pub use authority::{Authority, new_key, read_key, request, self_signed};
pub use rcgen::KeyPair;
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    prelude::FromDer,
    public_key::PublicKey,
    x509::{SubjectPublicKeyInfo, X509Name},
};

use self::pem::Section;
use crate::{
    Error, Result, clock,
    error::CertificateError,
    model::{Domain, Hostname},
};

/// The most that a file of a certificate or a key may have, in bytes.
pub const LARGEST: usize = 128 * 1024;
/// The most certificates of a chain.
const LONGEST_CHAIN: usize = 10;
/// The shortest RSA key that clients take.
const SHORTEST_RSA: usize = 2048;

/// What a host's certificate says, and what the chain behind it is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Whom it is for, in a few words.
    pub subject: String,
    /// Who signed it, in a few words.
    pub issuer: String,
    /// The host names that it is for.
    pub names: Vec<Domain>,
    /// What else it is for, such as addresses, as it is written there.
    pub other_names: Vec<String>,
    /// Since when it is valid, in milliseconds since 1970.
    pub not_before: i64,
    /// Until when.
    pub not_after: i64,
    /// Whether it is signed by its own key.
    pub is_self_signed: bool,
    /// Whether the chain leads to what signs itself, or to an authority that this machine knows.
    pub is_complete: bool,
}

/// A certificate that was checked, with its chain and its private key as PEM.
#[derive(Clone)]
pub struct Pair {
    /// What it says.
    pub certificate: Certificate,
    /// Its chain, with the host's own certificate first.
    pub chain: String,
    /// Its private key.
    pub key: String,
    /// What clients may stumble over.
    pub warnings: Vec<String>,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Pair").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Certificate {
    /// Reads a chain that was checked before.
    ///
    /// # Errors
    /// `CertificateError::File` where it is none.
    pub fn read(chain: &str) -> Result<Certificate> {
        let sections = pem::certificates(chain)?;
        let parsed = parsed(&sections)?;
        let first = parsed.first().ok_or_else(|| Error::bug("a chain without a certificate"))?;
        let (names, other_names) = names_of(first);
        Ok(Certificate {
            subject: subject_of(first),
            issuer: in_words(first.issuer()).unwrap_or_else(|| "nobody that it names".to_owned()),
            names,
            other_names,
            not_before: milliseconds(first.validity().not_before.timestamp()),
            not_after: milliseconds(first.validity().not_after.timestamp()),
            is_self_signed: is_signed_by(first, first),
            is_complete: is_complete(&parsed),
        })
    }

    /// Whether it is one for a host.
    pub fn covers(&self, host: &Hostname) -> bool {
        self.names.iter().any(|name| name.covers(host))
    }
}

impl Pair {
    /// Checks what somebody says is a certificate, with or without the ones that signed it, and its private key.
    ///
    /// # Errors
    /// [`CertificateError`], whichever is wrong.
    pub fn check(chain: &[u8], key: &[u8]) -> Result<Pair> {
        let (chain, key) = (pem::text("certificate", chain)?, pem::text("key", key)?);
        pem::refuse_swapped(&chain, &key)?;
        let sections = pem::certificates(&chain)?;
        let certificates = parsed(&sections)?;
        if certificates.len() > LONGEST_CHAIN {
            let reason = format!("it has {} certificates, and a chain has at most {LONGEST_CHAIN}", certificates.len());
            let hint = "give the certificate of the host and those that lead to its authority, not a bundle of all";
            return Err(CertificateError::File { part: "certificate", reason, hint: hint.to_owned() }.into());
        }
        let key = pem::private_key(&key)?;
        let first = of_key(&certificates, &key)?;
        let order = chain_from(&certificates, first);
        if order.iter().enumerate().any(|(place, index)| place != *index) {
            let right = order.iter().map(|index| subject_of(&certificates[*index])).collect();
            return Err(CertificateError::OutOfOrder { right }.into());
        }
        let kept: String = order.iter().map(|index| sections[*index].to_string()).collect();
        let certificate = Certificate::read(&kept)?;
        refuse_by_time(&certificate, clock::now())?;
        if certificate.names.is_empty() {
            return Err(CertificateError::NamesNoHost { subject: certificate.subject }.into());
        }
        let warnings = warnings(&certificate, &certificates, &order);
        Ok(Pair { certificate, chain: kept, key: key.to_string(), warnings })
    }
}

/// Which certificate a private key is of: one that is not the first is a chain out of order.
fn of_key(certificates: &[X509Certificate<'_>], key: &Section) -> Result<usize> {
    let Some(first) = certificates.first() else { return Err(Error::bug("a chain without a certificate")) };
    // Before the key, which cannot be read where it is too short.
    if let Ok(PublicKey::RSA(rsa)) = first.public_key().parsed() {
        let bits = rsa.modulus.iter().skip_while(|byte| **byte == 0).count() * 8;
        if bits < SHORTEST_RSA {
            return Err(CertificateError::Weak { bits }.into());
        }
    }
    let unusable = || {
        let reason = "it is of a kind that clients do not take, or damaged".to_owned();
        let hint = "use an RSA key of 2048 to 4096 bits, or an EC key on P-256 or P-384".to_owned();
        CertificateError::File { part: "key", reason, hint }
    };
    let der = key.private_key().ok_or_else(unusable)?;
    let signing = rustls::crypto::ring::sign::any_supported_type(&der).map_err(|_| unusable())?;
    let public = signing.public_key().ok_or_else(unusable)?;
    let (_, public) = SubjectPublicKeyInfo::from_der(public.as_ref()).map_err(|_| unusable())?;
    let is_of = |certificate: &X509Certificate<'_>| {
        certificate.public_key().subject_public_key.data == public.subject_public_key.data
    };
    certificates
        .iter()
        .position(is_of)
        .ok_or_else(|| CertificateError::KeyMismatch { subject: subject_of(first) }.into())
}

/// The certificates that lead on from one, each signed by the next, as far as they are there.
fn chain_from(certificates: &[X509Certificate<'_>], first: usize) -> Vec<usize> {
    let mut order = vec![first];
    let mut last = first;
    while let Some(next) = (0..certificates.len())
        .find(|index| !order.contains(index) && is_signed_by(&certificates[last], &certificates[*index]))
    {
        order.push(next);
        last = next;
    }
    order
}

/// Whether one certificate is signed by the key of another. Where the way that it is signed is unknown here, the names say.
fn is_signed_by(certificate: &X509Certificate<'_>, signer: &X509Certificate<'_>) -> bool {
    certificate.issuer().as_raw() == signer.subject().as_raw()
        && !matches!(
            certificate.verify_signature(Some(signer.public_key())),
            Err(x509_parser::error::X509Error::SignatureVerificationError)
        )
}

/// Whether a chain leads to what signs itself, or to an authority that this machine knows.
fn is_complete(chain: &[X509Certificate<'_>]) -> bool {
    let Some(last) = chain.last() else { return false };
    last.issuer().as_raw() == last.subject().as_raw() || is_known(last).unwrap_or(chain.len() > 1)
}

/// Whether this machine knows the authority that signed a certificate; none where it knows no authority at all.
fn is_known(certificate: &X509Certificate<'_>) -> Option<bool> {
    let known = rustls_native_certs::load_native_certs().certs;
    let signed = |root: &rustls::pki_types::CertificateDer<'_>| {
        X509Certificate::from_der(root).is_ok_and(|(_, root)| is_signed_by(certificate, &root))
    };
    (!known.is_empty()).then(|| known.iter().any(signed))
}

fn refuse_by_time(certificate: &Certificate, now: i64) -> Result<()> {
    let subject = certificate.subject.clone();
    if certificate.not_after <= now {
        return Err(CertificateError::Expired { subject, at: clock::rfc3339(certificate.not_after) }.into());
    }
    if certificate.not_before > now {
        return Err(CertificateError::NotYetValid { subject, at: clock::rfc3339(certificate.not_before) }.into());
    }
    Ok(())
}

/// What clients may stumble over.
fn warnings(certificate: &Certificate, all: &[X509Certificate<'_>], order: &[usize]) -> Vec<String> {
    let mut warnings = Vec::new();
    if !certificate.is_complete {
        warnings.push(format!(
            "the chain is incomplete: the certificate of {} is not in it, so many clients will not trust it; its issuer \
             offers it as the chain, or as the intermediate certificate",
            order.last().and_then(|index| in_words(all[*index].issuer())).unwrap_or_default()
        ));
    }
    for (index, stray) in all.iter().enumerate().filter(|(index, _)| !order.contains(index)) {
        warnings.push(format!(
            "certificate {} ({}) is not part of the chain, and is left out",
            index + 1,
            subject_of(stray)
        ));
    }
    let own = &all[order[0]];
    if let Ok(Some(usage)) = own.extended_key_usage()
        && !usage.value.server_auth
        && !usage.value.any
    {
        warnings.push(
            "it is not made for servers (its extended key usage lacks serverAuth): clients will not trust it"
                .to_owned(),
        );
    }
    for index in &order[1..] {
        if milliseconds(all[*index].validity().not_after.timestamp()) < certificate.not_after {
            let at = clock::rfc3339(milliseconds(all[*index].validity().not_after.timestamp()));
            warnings.push(format!("{} in the chain ends before it, at {at}", subject_of(&all[*index])));
        }
    }
    warnings
}

/// The certificates of sections that hold them.
fn parsed(sections: &[Section]) -> Result<Vec<X509Certificate<'_>>> {
    sections.iter().map(Section::certificate).collect()
}

/// The host names that a certificate is for, and what else it is for.
fn names_of(certificate: &X509Certificate<'_>) -> (Vec<Domain>, Vec<String>) {
    let (mut names, mut others) = (Vec::new(), Vec::new());
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return (names, others) };
    for name in &extension.value.general_names {
        match name {
            GeneralName::DNSName(text) => match text.parse() {
                Ok(domain @ (Domain::Exact(_) | Domain::Below(_))) if !names.contains(&domain) => names.push(domain),
                Ok(Domain::Exact(_) | Domain::Below(_)) => {}
                _ => others.push(printable(text)),
            },
            GeneralName::IPAddress(bytes) => others.push(address(bytes)),
            other => others.push(printable(&other.to_string())),
        }
    }
    (names, others)
}

fn address(bytes: &[u8]) -> String {
    let four = <[u8; 4]>::try_from(bytes).map(std::net::IpAddr::from);
    let sixteen = <[u8; 16]>::try_from(bytes).map(std::net::IpAddr::from);
    four.or(sixteen).map_or_else(|_| "an address that is none".to_owned(), |address| address.to_string())
}

/// Whom a certificate is for, in a few words.
fn subject_of(certificate: &X509Certificate<'_>) -> String {
    let (names, others) = names_of(certificate);
    let first = || names.first().map(Domain::to_string).or_else(|| others.first().cloned());
    in_words(certificate.subject()).or_else(first).unwrap_or_else(|| "nobody".to_owned())
}

/// A name in a few words: the common name, else the organisation, else all of it.
fn in_words(name: &X509Name<'_>) -> Option<String> {
    let common = name.iter_common_name().next();
    let organisation = || name.iter_organization().next();
    let text = common.or_else(organisation).and_then(|attribute| attribute.as_str().ok().map(str::to_owned));
    text.or_else(|| Some(name.to_string())).map(|text| printable(&text)).filter(|text| !text.is_empty())
}

/// A text of a stranger's as one line of bounded length.
fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(200).collect()
}

fn milliseconds(seconds: i64) -> i64 {
    seconds.saturating_mul(1000)
}
