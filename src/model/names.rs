use std::{fmt, str::FromStr};

use super::{Invalid, Result};

/// Writes the boilerplate of a newtype over `String` whose rule is a function `fn(&str) -> Result<(), String>`.
macro_rules! checked_string {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::model::Invalid;

            fn from_str(text: &str) -> $crate::model::Result<Self> {
                let rule: fn(&str) -> std::result::Result<(), String> = $rule;
                match rule(text) {
                    Ok(()) => Ok($name(text.to_owned())),
                    Err(rule) => Err($crate::model::Invalid { what: $what, value: text.to_owned(), rule }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::model::Invalid;

            fn try_from(text: String) -> $crate::model::Result<Self> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}
pub(super) use checked_string;

/// Writes a closed set of words as an enum: the words are what is stored, shown, serialised and parsed.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal, { $($(#[$word_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$word_doc])* $variant,)*
        }

        impl $name {
            /// All of them, in order.
            pub const ALL: [$name; [$($word),*].len()] = [$($name::$variant),*];

            /// The word for it, as stored and shown.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)*
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::model::Invalid;

            fn from_str(word: &str) -> std::result::Result<Self, $crate::model::Invalid> {
                $name::ALL.into_iter().find(|one| one.as_str() == word).ok_or_else(|| $crate::model::Invalid {
                    what: $what,
                    value: word.to_owned(),
                    rule: format!("it is one of {}", [$($word),*].join(", ")),
                })
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                let word = <String as serde::Deserialize>::deserialize(deserializer)?;
                word.parse().map_err(serde::de::Error::custom)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}
pub(crate) use words;

/// Reads a whole number that is written in digits alone, without a sign.
pub(super) fn digits<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether `text` is of `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`: a DNS label (RFC 1123) in lower case.
pub(super) fn is_dns_label(text: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes.len() <= 63
        && bytes.iter().all(|byte| plain(byte) || *byte == b'-')
        && bytes.first().is_some_and(plain)
        && bytes.last().is_some_and(plain)
}

checked_string! {
    /// The name of an SSH key: 1 to 64 letters, digits and `._@+-`, beginning with a letter or a digit.
    KeyName, "key name", |text| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte);
        let begins_well = text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
        if text.len() <= 64 && begins_well && text.bytes().all(allowed) {
            Ok(())
        } else {
            Err("it takes 1 to 64 letters, digits and ._@+-, beginning with a letter or a digit".to_owned())
        }
    }
}

checked_string! {
    /// The name of a git branch, without `refs/heads/`, of the form that git-check-ref-format(1) allows, and without those
    /// control characters that git allows: some terminals obey them.
    BranchName, "branch name", |text| {
        // Git keeps it in a file of that name, and writes it as NAME.lock.
        if text.split('/').any(|part| part.len() > 250) || text.len() > 1000 {
            Err("it is too long for a file: 250 bytes are the most, between two slashes too".to_owned())
        } else if text == "HEAD" {
            Err("git has HEAD for something else".to_owned())
        } else if text.contains(char::is_control) {
            Err("it has no control characters".to_owned())
        } else if git2::Reference::is_valid_name(&format!("refs/heads/{text}")) && !text.starts_with('-') {
            Ok(())
        } else {
            Err("git-check-ref-format(1) has the rules".to_owned())
        }
    }
}

impl BranchName {
    /// The full name of the reference: `refs/heads/NAME`.
    pub fn reference(&self) -> String {
        format!("refs/heads/{self}")
    }
}

/// The id of a git commit: 40 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(git2::Oid);

impl TryFrom<String> for CommitId {
    type Error = Invalid;

    fn try_from(text: String) -> Result<CommitId> {
        text.parse()
    }
}

impl From<CommitId> for String {
    fn from(commit: CommitId) -> String {
        commit.to_string()
    }
}

impl CommitId {
    /// The id as git2 knows it.
    pub fn oid(self) -> git2::Oid {
        self.0
    }

    /// The first seven digits, as git shows them.
    pub fn short(self) -> String {
        self.to_string().chars().take(7).collect()
    }

    /// Whether this is the null id, which git sends for a reference that does not exist.
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl From<git2::Oid> for CommitId {
    fn from(oid: git2::Oid) -> Self {
        CommitId(oid)
    }
}

impl FromStr for CommitId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self> {
        if text.len() == 40
            && let Ok(oid) = git2::Oid::from_str(text)
        {
            return Ok(CommitId(oid));
        }
        Err(Invalid { what: "commit id", value: text.to_owned(), rule: "it has 40 hexadecimal digits".to_owned() })
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_name_begins_with_a_letter_or_digit() {
        assert!("alice@laptop".parse::<KeyName>().is_ok());
        for bad in ["", "-x", "a b", "a\nb", &"a".repeat(65)] {
            assert!(bad.parse::<KeyName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_branch_name_follows_git() {
        assert!("feature/x".parse::<BranchName>().is_ok());
        for bad in
            ["", "a..b", "-x", "a b", "a~1", "x.lock", "HEAD", "a\u{9b}31mb", &"a".repeat(251), &"a/".repeat(600)]
        {
            assert!(bad.parse::<BranchName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_commit_id_has_forty_digits() {
        assert!("0123456789012345678901234567890123456789".parse::<CommitId>().is_ok());
        assert!("0123".parse::<CommitId>().is_err());
        assert!("g123456789012345678901234567890123456789".parse::<CommitId>().is_err());
    }
}
