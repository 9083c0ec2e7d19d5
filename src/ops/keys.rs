//! SSH keys: who may log in.

use crate::{
    Error, Result,
    error::Thing,
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
/// [`Error::Exists`] where the name or the key is here already; [`Error::Store`].
pub fn add(instance: &Instance, name: &KeyName, key: &PublicKey) -> Result<()> {
    instance.write(|tables| tables.add_key(name, &key.fingerprint, &key.line))?;
    Ok(())
}

/// The keys that may log in, by name.
#[expect(clippy::redundant_closure_for_method_calls, reason = "the method itself is not general over its lifetime")]
pub fn list(instance: &Instance) -> Result<Vec<StoredKey>> {
    instance.read(|tables| tables.keys())
}

/// Takes a key's access away; the daemon ends its open sessions within a second or two.
///
/// Returns the key that was removed.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Store`].
pub fn remove(instance: &Instance, choice: &KeyChoice) -> Result<StoredKey> {
    instance.write(|tables| {
        let (key, thing, asked) = match choice {
            KeyChoice::Name(name) => (tables.find_key(name)?, Thing::Key, name.to_string()),
            KeyChoice::Fingerprint(fingerprint) => {
                (tables.find_key_by_fingerprint(fingerprint)?, Thing::Fingerprint, fingerprint.clone())
            }
        };
        let key = key.ok_or(Error::NotFound(thing, asked))?;
        tables.remove_key(key.id)?;
        Ok(key)
    })
}
