use std::borrow::Cow;

/// A value that does not have its form, with the rule it broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{:?} is not a valid {what}: {rule}", shortened(value))]
pub struct Invalid {
    /// What the value should have been, e.g. `app name`.
    pub what: &'static str,
    /// The value as given.
    pub value: String,
    /// The rule, as a sentence without a period.
    pub rule: String,
}

/// The most characters of a value that an error repeats.
const MOST_SHOWN: usize = 100;

/// A value as an error repeats it: of one that is long, the beginning.
fn shortened(value: &str) -> Cow<'_, str> {
    match value.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => Cow::Owned(format!("{}...", &value[..end])),
        None => Cow::Borrowed(value),
    }
}

/// The result of reading a value.
pub type Result<T> = std::result::Result<T, Invalid>;

impl Invalid {
    /// Says what the value should have been, and the rule it broke.
    pub fn new(what: &'static str, value: impl Into<String>, rule: impl Into<String>) -> Invalid {
        Invalid { what, value: value.into(), rule: rule.into() }
    }

    /// Makes the error of a stored word that no version of paas writes.
    pub(super) fn stored(what: &'static str, word: &str) -> Invalid {
        Invalid::new(what, word, "paas does not write such a word")
    }
}
