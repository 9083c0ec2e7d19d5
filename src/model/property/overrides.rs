//! What is set on the server, over what the source of an app says.

use serde::{Deserialize, Serialize};

use super::{Property, Scope};
use crate::model::{Invalid, ProcessType};

/// A value that was set on the server, over what the source says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "StoredOverride", try_from = "StoredOverride")]
pub struct Override {
    /// Where it was set.
    pub scope: Scope,
    /// The property.
    pub property: &'static Property,
    /// Its value, as typed.
    pub value: String,
}

impl Override {
    /// The same for people: masked where it is secret.
    #[must_use]
    pub fn masked(&self) -> Override {
        Override { value: self.property.shown(&self.value), ..self.clone() }
    }
}

impl Override {
    /// What of it nobody shall see: its value, and the parts of it that may be one alone, such as that of a header.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let value = self.property.secret.then_some(self.value.as_str());
        value.into_iter().flat_map(|value| {
            let headers = value.split(';').filter_map(|header| header.split_once(':'));
            std::iter::once(value).chain(headers.map(|(_, value)| value.trim()))
        })
    }
}

/// An [`Override`] as a release keeps it. Releases of 0.1.0 have no scope, and `setting` for `property`.
#[derive(Serialize, Deserialize)]
struct StoredOverride {
    #[serde(default)]
    scope: Option<String>,
    process: Option<ProcessType>,
    #[serde(alias = "setting")]
    property: &'static Property,
    value: String,
}

impl From<Override> for StoredOverride {
    fn from(entry: Override) -> StoredOverride {
        StoredOverride {
            scope: Some(entry.scope.as_str().to_owned()),
            process: entry.scope.process().cloned(),
            property: entry.property,
            value: entry.value,
        }
    }
}

impl TryFrom<StoredOverride> for Override {
    type Error = Invalid;

    fn try_from(stored: StoredOverride) -> Result<Override, Invalid> {
        let scope = match (stored.scope, stored.process) {
            (Some(word), process) => Scope::parse(&word, process)?,
            (None, None) => Scope::App,
            (None, Some(process)) => Scope::Process(process),
        };
        Ok(Override { scope, property: stored.property, value: stored.value })
    }
}

/// A row of the database: a value, who set it, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyRow {
    /// The value, and where it was set.
    pub set: Override,
    /// Who set it; none: it was set before this was kept.
    pub actor: Option<String>,
    /// When, in milliseconds since 1970.
    pub set_at: Option<i64>,
}

/// A change: a value to be set, or a property to be cleared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PropertyChange {
    /// Where.
    pub scope: Scope,
    /// The property.
    pub property: &'static Property,
    /// Its new value; none clears it.
    pub value: Option<String>,
}

/// The value that holds for a process type, or for an app as a whole: the nearest one.
pub fn nearest<'a>(
    rows: impl IntoIterator<Item = &'a Override>,
    property: &Property,
    process: Option<&ProcessType>,
) -> Option<&'a Override> {
    let meant = rows.into_iter().filter(|row| *row.property == *property && row.scope.covers(process));
    meant.max_by(|left, right| left.scope.cmp(&right.scope))
}

/// What is set after some changes.
pub fn changed(mut rows: Vec<Override>, changes: &[PropertyChange]) -> Vec<Override> {
    for PropertyChange { scope, property, value } in changes {
        rows.retain(|row| (&row.scope, row.property) != (scope, property));
        if let Some(value) = value {
            rows.push(Override { scope: scope.clone(), property, value: value.clone() });
        }
    }
    rows.sort_by(|left, right| (&left.scope, left.property).cmp(&(&right.scope, right.property)));
    rows
}

/// The changes that make of some rows others.
pub fn changes_between(from: &[Override], to: &[Override]) -> Vec<PropertyChange> {
    let cleared = from.iter().filter(|row| !to.iter().any(|other| same_place(row, other)));
    let cleared = cleared.map(|row| PropertyChange { scope: row.scope.clone(), property: row.property, value: None });
    let set = to.iter().filter(|row| !from.contains(row)).map(|row| PropertyChange {
        scope: row.scope.clone(),
        property: row.property,
        value: Some(row.value.clone()),
    });
    cleared.chain(set).collect()
}

fn same_place(left: &Override, right: &Override) -> bool {
    (&left.scope, left.property) == (&right.scope, right.property)
}
