use std::fmt;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::LARGEST;
use crate::{Error, Result, error::CertificateError};

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
/// What stands between the dashes of a certificate.
const CERTIFICATE: &str = "CERTIFICATE";

/// A section of a PEM file.
#[derive(Clone)]
pub(super) struct Section {
    label: String,
    /// Its lines of base64.
    lines: Vec<String>,
    /// Whether headers say that it is encrypted (RFC 1421).
    is_encrypted: bool,
    der: Vec<u8>,
}

impl fmt::Display for Section {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{BEGIN}{}{DASHES}", self.label)?;
        for line in &self.lines {
            writeln!(formatter, "{line}")?;
        }
        writeln!(formatter, "{END}{}{DASHES}", self.label)
    }
}

impl Section {
    fn is_private_key(&self) -> bool {
        self.label.ends_with("PRIVATE KEY")
    }

    /// The certificate that it is.
    pub(super) fn certificate(&self) -> Result<X509Certificate<'_>> {
        match X509Certificate::from_der(&self.der) {
            Ok(([], certificate)) => Ok(certificate),
            _ => Err(unusable("certificate", "a section of it is no X.509 certificate", WHAT_A_CHAIN_IS)),
        }
    }

    /// The private key that it is.
    pub(super) fn private_key(&self) -> Option<PrivateKeyDer<'_>> {
        let der = self.der.as_slice();
        match self.label.as_str() {
            "PRIVATE KEY" => Some(PrivatePkcs8KeyDer::from(der).into()),
            "RSA PRIVATE KEY" => Some(PrivatePkcs1KeyDer::from(der).into()),
            "EC PRIVATE KEY" => Some(PrivateSec1KeyDer::from(der).into()),
            _ => None,
        }
    }
}

const WHAT_A_CHAIN_IS: &str = "give a PEM file: sections between -----BEGIN CERTIFICATE----- and -----END \
                               CERTIFICATE-----, the host's own first, then those that lead to its authority";
const WHAT_A_KEY_IS: &str = "give the PEM file of the private key: it begins with -----BEGIN PRIVATE KEY-----";

fn unusable(part: &'static str, reason: impl Into<String>, hint: impl Into<String>) -> Error {
    CertificateError::File { part, reason: reason.into(), hint: hint.into() }.into()
}

/// The text of a file of a certificate or a key.
///
/// # Errors
/// `CertificateError::File` where it is too long, empty, or is not PEM: then it says what it seems to be.
pub(super) fn text(part: &'static str, bytes: &[u8]) -> Result<String> {
    if bytes.len() > LARGEST {
        let reason = format!("it has {} bytes, and {LARGEST} are the most", bytes.len());
        return Err(unusable(part, reason, "give the one file, not a bundle of all authorities"));
    }
    let looks_like_der = bytes.first() == Some(&0x30) && bytes.get(1).is_some_and(|length| *length >= 0x30);
    if looks_like_der && !bytes.starts_with(b"0-") {
        // A PKCS#12 file begins with the number of its version, which is 3.
        let is_pkcs12 = bytes
            .iter()
            .skip(1)
            .position(|byte| *byte == 0x02)
            .is_some_and(|at| at <= 5 && bytes.get(at + 2..at + 4) == Some(&[0x01, 0x03]));
        return Err(match (is_pkcs12, part) {
            (true, _) => unusable(
                part,
                "it is a PKCS#12 file (.p12, .pfx), and PEM is needed",
                "`openssl pkcs12 -in FILE -nokeys -out chain.crt` and `openssl pkcs12 -in FILE -nocerts -nodes -out \
                 clear.key` take it apart",
            ),
            (false, "key") => unusable(
                part,
                "it is DER, which is binary, and PEM is needed",
                "`openssl pkey -inform DER -in FILE -out clear.key` turns it into PEM",
            ),
            (false, _) => unusable(
                part,
                "it is DER, which is binary, and PEM is needed",
                "`openssl x509 -inform DER -in FILE -out chain.crt` turns it into PEM",
            ),
        });
    }
    let text = String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)).into_owned();
    if !text.contains(BEGIN) {
        let reason = if text.trim().is_empty() { "it is empty" } else { "it has no PEM section" };
        return Err(unusable(part, reason, if part == "key" { WHAT_A_KEY_IS } else { WHAT_A_CHAIN_IS }));
    }
    Ok(text)
}

/// Refuses files that were given the wrong way round.
pub(super) fn refuse_swapped(chain: &str, key: &str) -> Result<()> {
    let labels = |text: &str| -> Vec<String> { labels(text).map(str::to_owned).collect() };
    let (of_chain, of_key) = (labels(chain), labels(key));
    if of_chain.iter().all(|label| label.ends_with("PRIVATE KEY")) && of_key.iter().all(|label| label == CERTIFICATE) {
        return Err(unusable(
            "certificate",
            "it is a private key, and the key is a certificate",
            "give the certificate first, then the key",
        ));
    }
    Ok(())
}

/// The certificates of a PEM file, which has nothing else.
///
/// # Errors
/// `CertificateError::File`.
pub(super) fn certificates(text: &str) -> Result<Vec<Section>> {
    const PART: &str = "certificate";
    if let Some(label) = labels(text).find(|label| *label != CERTIFICATE) {
        return Err(match label {
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => unusable(
                PART,
                "it is a request for a certificate (CSR)",
                "send it to an authority, and add the certificate that comes back",
            ),
            "PKCS7" | "CMS" => unusable(
                PART,
                format!("it is a {label} file, and certificates are needed"),
                "`openssl pkcs7 -print_certs -in FILE -out chain.crt` turns it into them",
            ),
            "TRUSTED CERTIFICATE" | "X509 CERTIFICATE" => unusable(
                PART,
                format!("it is a {label}, a form that only OpenSSL reads"),
                "`openssl x509 -in FILE -out chain.crt` writes it as a CERTIFICATE",
            ),
            label if label.ends_with("PRIVATE KEY") => unusable(
                PART,
                "it holds a private key too",
                "put the certificates into one file and the private key into another",
            ),
            label => unusable(PART, format!("it holds a section {label:?}"), WHAT_A_CHAIN_IS),
        });
    }
    sections(PART, text)
}

/// The one private key of a PEM file, which may have parameters of its curve beside it.
///
/// # Errors
/// `CertificateError::File`, `CertificateError::KeyEncrypted`.
pub(super) fn private_key(text: &str) -> Result<Section> {
    const PART: &str = "key";
    for label in labels(text) {
        match label {
            "EC PARAMETERS" | "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => {}
            "ENCRYPTED PRIVATE KEY" => return Err(CertificateError::KeyEncrypted.into()),
            "OPENSSH PRIVATE KEY" => {
                return Err(unusable(PART, "it is a key for SSH", WHAT_A_KEY_IS));
            }
            label if label.ends_with("PUBLIC KEY") => {
                return Err(unusable(PART, "it is a public key", WHAT_A_KEY_IS));
            }
            label => {
                let label: String = label.chars().take(40).collect();
                return Err(unusable(PART, format!("it holds a section {label:?}"), WHAT_A_KEY_IS));
            }
        }
    }
    let mut keys: Vec<Section> = sections(PART, text)?.into_iter().filter(Section::is_private_key).collect();
    match (keys.pop(), keys.len()) {
        (None, _) => Err(unusable(PART, "it holds no private key", WHAT_A_KEY_IS)),
        (Some(key), 0) if key.is_encrypted => Err(CertificateError::KeyEncrypted.into()),
        (Some(key), 0) => Ok(key),
        (Some(_), others) => Err(unusable(
            PART,
            format!("it holds {} private keys", others + 1),
            "give the one that is the certificate's",
        )),
    }
}

/// What stands between the dashes of each section.
fn labels(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.trim().strip_prefix(BEGIN)).map(|rest| rest.trim_end_matches('-'))
}

/// The sections of a PEM file; what is around them is for people.
fn sections(part: &'static str, text: &str) -> Result<Vec<Section>> {
    let damaged = |reason: &str| {
        let hint = "copy the whole file again, from the line -----BEGIN ...----- to the line -----END ...-----";
        unusable(part, reason, hint)
    };
    let mut sections = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(label) = line.strip_prefix(BEGIN) else { continue };
        let label = label.strip_suffix(DASHES).ok_or_else(|| damaged("a line that begins a section is incomplete"))?;
        let mut body = Vec::new();
        let mut is_encrypted = false;
        loop {
            let line = lines.next().ok_or_else(|| damaged("its end is missing"))?;
            if line.strip_prefix(END).and_then(|rest| rest.strip_suffix(DASHES)) == Some(label) {
                break;
            }
            if line.starts_with(DASHES) {
                return Err(damaged("a section does not end as it begins"));
            }
            is_encrypted |= line.starts_with("Proc-Type:") && line.contains("ENCRYPTED");
            // Headers have a colon, and base64 has none.
            if !line.is_empty() && !line.contains(':') {
                body.push(line.to_owned());
            }
        }
        let mut section = Section { label: label.to_owned(), lines: body, is_encrypted, der: Vec::new() };
        if !is_encrypted {
            let decoded = x509_parser::pem::parse_x509_pem(section.to_string().as_bytes()).map(|(_, pem)| pem.contents);
            section.der = decoded.map_err(|_| damaged("it is not base64 between its first and its last line"))?;
        }
        sections.push(section);
    }
    Ok(sections)
}
