//! SSH keys: who may log in.

use crate::{
    Error, Result,
    instance::Instance,
    model::{KeyName, PublicKey},
    store::StoredKey,
};

/// How [`remove`] is told which key.
#[derive(Clone, Debug)]
pub enum KeyChoice {
    /// By its name here.
    Name(KeyName),
    /// By its fingerprint, `SHA256:...`.
    Fingerprint(String),
}

/// Lets the holder of a public key log in.
///
/// # Errors
/// [`Error::KeyExists`] where the name or the key is here already; [`Error::Database`].
pub fn add(instance: &Instance, name: &KeyName, key: &PublicKey) -> Result<()> {
    instance.write(|tables| tables.add_key(name, &key.fingerprint, &key.line))?;
    Ok(())
}

/// The keys that may log in, by name.
///
/// # Errors
/// [`Error::Database`].
#[expect(clippy::redundant_closure_for_method_calls, reason = "the method itself is not general over its lifetime")]
pub fn list(instance: &Instance) -> Result<Vec<StoredKey>> {
    instance.read(|tables| tables.keys())
}

/// Takes a key's access away; the daemon ends its open sessions within a second or two.
///
/// Returns the key that was removed.
///
/// # Errors
/// [`Error::KeyNotFound`], [`Error::Database`].
pub fn remove(instance: &Instance, choice: &KeyChoice) -> Result<StoredKey> {
    instance.write(|tables| {
        let (key, asked) = match choice {
            KeyChoice::Name(name) => (tables.find_key(name)?, format!("named {name}")),
            KeyChoice::Fingerprint(fingerprint) => {
                (tables.find_key_by_fingerprint(fingerprint)?, format!("with the fingerprint {fingerprint}"))
            }
        };
        let key = key.ok_or(Error::KeyNotFound(asked))?;
        tables.remove_key(key.id)?;
        Ok(key)
    })
}
