use std::borrow::Cow;

use super::Kind;

/// What to type if a disk is full.
pub(super) const MAKE_ROOM: &str = "`paas cleanup` removes what no app needs; `paas cleanup --build-cache` also \
                                    empties Docker's build cache; `paas disk` shows what uses the disk";

/// What an error means beside its message: its kind, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Advice {
    /// Its kind.
    pub kind: Kind,
    /// What to type or do next, if there is something.
    pub hint: Option<String>,
    /// What failed, in a few words; if not set, the message says it.
    pub short: Option<Cow<'static, str>>,
}

impl Advice {
    /// A kind and what to do.
    pub fn new(kind: Kind, hint: impl Into<String>) -> Advice {
        Advice { kind, hint: Some(hint.into()), short: None }
    }

    /// A kind alone: the message says what there is to do, or nothing can be done.
    pub fn without_hint(kind: Kind) -> Advice {
        Advice { kind, hint: None, short: None }
    }

    /// Adds what failed in a few words.
    pub fn short(self, words: impl Into<Cow<'static, str>>) -> Advice {
        Advice { short: Some(words.into()), ..self }
    }
}
