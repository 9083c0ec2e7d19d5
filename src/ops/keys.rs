//! SSH keys: who may log in.

use serde::Serialize;

use crate::{
    Error, Result, clock,
    context::Context,
    error::Thing,
    model::{Change, KeyName, PublicKey, Role, Subject},
    store::StoredKey,
    ui::{Show, Text, or_dash},
};

/// How [`remove`] is told which key.
#[derive(Clone, Debug)]
pub enum KeyChoice {
    /// By its name here.
    Name(KeyName),
    /// By its fingerprint, `SHA256:...`.
    Fingerprint(String),
}

/// A public key that may log in.
#[derive(Clone, Debug, Serialize)]
pub struct KeyInfo {
    /// What it is called here.
    pub name: KeyName,
    /// `SHA256:...`, as `ssh-keygen -l` shows it.
    pub fingerprint: String,
    /// The key in OpenSSH's format, without a comment.
    pub public_key: String,
    /// What its holder is on the server; none: only what they are granted for single apps.
    pub role: Option<Role>,
    /// When it was added, in RFC 3339.
    pub added_at: String,
}

impl KeyInfo {
    fn of(key: &StoredKey) -> KeyInfo {
        KeyInfo {
            name: key.name.clone(),
            fingerprint: key.fingerprint.clone(),
            public_key: key.public_key.clone(),
            role: key.role,
            added_at: clock::rfc3339(key.created_at),
        }
    }
}

/// A list of keys.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct KeyList(pub Vec<KeyInfo>);

impl Show for KeyList {
    fn text(&self) -> Text {
        Text::table(
            ["NAME", "FINGERPRINT", "ROLE", "ADDED"],
            self.0
                .iter()
                .map(|key| [key.name.to_string(), key.fingerprint.clone(), or_dash(key.role), key.added_at.clone()]),
        )
    }
}

/// A key that was added or removed.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct KeyChanged(pub KeyInfo);

impl Show for KeyChanged {
    fn text(&self) -> Text {
        Text::Nothing
    }
}

/// Lets the holder of a public key log in, as admin.
///
/// # Errors
/// [`Error::Exists`] where the name or the key is here already; [`Error::Store`].
pub fn add(context: &Context<'_>, name: &KeyName, key: &PublicKey) -> Result<KeyChanged> {
    let change = Change::new("ssh-keys:add", Subject::Key(name.clone())).with(&key.fingerprint);
    let added = context.change(&change, |tables| tables.add_key(name, &key.fingerprint, &key.line, Role::Admin))?;
    Ok(KeyChanged(KeyInfo::of(&added)))
}

/// The keys that may log in, by name.
///
/// # Errors
/// [`Error::Store`].
#[expect(clippy::redundant_closure_for_method_calls, reason = "the method itself is not general over its lifetime")]
pub fn list(context: &Context<'_>) -> Result<KeyList> {
    let keys = context.instance.read(|tables| tables.keys())?;
    Ok(KeyList(keys.iter().map(KeyInfo::of).collect()))
}

/// Takes a key's access away; the daemon ends its open sessions within a second or two.
///
/// Returns the key that was removed.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Store`].
pub fn remove(context: &Context<'_>, choice: &KeyChoice) -> Result<KeyChanged> {
    let key = context.instance.read(|tables| {
        let (key, thing, name) = match choice {
            KeyChoice::Name(name) => (tables.find_key(name)?, Thing::Key, name.to_string()),
            KeyChoice::Fingerprint(fingerprint) => {
                (tables.find_key_by_fingerprint(fingerprint)?, Thing::Fingerprint, fingerprint.clone())
            }
        };
        key.ok_or(Error::NotFound(thing, name))
    })?;
    let change = Change::new("ssh-keys:remove", Subject::Key(key.name.clone())).with(&key.fingerprint);
    context.change(&change, |tables| tables.remove_key(key.id))?;
    Ok(KeyChanged(KeyInfo::of(&key)))
}
