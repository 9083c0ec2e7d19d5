use super::{Advice, Kind};

/// Why a certificate is not taken, or not had.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file is not what it should be.
    #[error("the {part} cannot be used: {reason}")]
    File {
        /// `certificate` or `key`.
        part: &'static str,
        /// What is wrong with it.
        reason: String,
        /// What to type.
        hint: String,
    },
    /// The private key is locked by a passphrase.
    #[error("the key is encrypted")]
    KeyEncrypted,
    /// The private key is another certificate's.
    #[error("the key does not match the certificate of {subject}")]
    KeyMismatch {
        /// Whom the first certificate is for.
        subject: String,
    },
    /// It is over.
    #[error("the certificate of {subject} expired at {at}")]
    Expired {
        /// Whom it is for.
        subject: String,
        /// When.
        at: String,
    },
    /// Its time has not come.
    #[error("the certificate of {subject} is valid from {at} on, which is not yet")]
    NotYetValid {
        /// Whom it is for.
        subject: String,
        /// When.
        at: String,
    },
    /// The certificates of the chain are not in the order in which they sign each other.
    #[error("the chain is out of order: each certificate is signed by the next, the host's own is the first")]
    OutOfOrder {
        /// Whom they are for, in the right order.
        right: Vec<String>,
    },
    /// The key is so short that clients refuse it.
    #[error("the key has {bits} bits, and clients refuse RSA keys below 2048")]
    Weak {
        /// How many.
        bits: usize,
    },
    /// It names no host.
    #[error("the certificate of {subject} names no host that this server could be")]
    NamesNoHost {
        /// Whom it is for.
        subject: String,
    },
}

impl CertificateError {
    pub(super) fn advice(&self) -> Advice {
        match self {
            CertificateError::File { hint, .. } => Advice::new(Kind::Usage, hint),
            CertificateError::KeyEncrypted => {
                Advice::new(Kind::Usage, "`openssl pkey -in KEY -out clear.key` writes it without its passphrase")
            }
            CertificateError::KeyMismatch { .. } => Advice::new(
                Kind::Usage,
                "`openssl x509 -in CRT -noout -pubkey` and `openssl pkey -in KEY -pubout` print the same for a pair",
            ),
            CertificateError::Expired { .. } => Advice::new(Kind::Usage, "get a new one from its issuer, and add that"),
            CertificateError::NotYetValid { .. } => Advice::new(
                Kind::Usage,
                "add it when its time has come; `date` shows whether this server's clock is right",
            ),
            CertificateError::OutOfOrder { right } => {
                let order: Vec<String> =
                    right.iter().enumerate().map(|(index, name)| format!("{}. {name}", index + 1)).collect();
                Advice::new(Kind::Usage, format!("put them in this order: {}", order.join(", ")))
            }
            CertificateError::Weak { .. } => Advice::new(
                Kind::Usage,
                "`openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out KEY` makes a key of today's kind; \
                 have the certificate issued for it",
            ),
            CertificateError::NamesNoHost { .. } => Advice::new(
                Kind::Usage,
                "have it issued with the names of the app as DNS entries of subjectAltName; clients look nowhere else",
            ),
        }
    }
}
