/// A public key that was read and found good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// Its type and itself, as in a public key file, without a comment.
    pub line: String,
    /// Its fingerprint as `ssh-keygen -l` shows it, `SHA256:...`.
    pub fingerprint: String,
}
