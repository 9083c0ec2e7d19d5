use std::collections::BTreeMap;

use super::names::checked_string;

checked_string! {
    /// The name of an environment variable: `^[A-Za-z_][A-Za-z0-9_]*$` (POSIX, XBD 8.1), at most 256 bytes.
    EnvKey, "variable name", |text| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let digit_first = text.as_bytes().first().is_none_or(u8::is_ascii_digit);
        if text.len() <= 256 && !digit_first && text.bytes().all(allowed) {
            Ok(())
        } else {
            Err("it takes letters, digits and underscores, and does not begin with a digit".to_owned())
        }
    }
}

/// What is shown in place of a secret value.
pub const MASK: &str = "********";

/// An app's config: variables and their values in clear. Never printed or logged as a whole.
pub type ConfigMap = BTreeMap<EnvKey, String>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_names_of_variables() {
        for good in ["A", "_x", "DATABASE_URL", "a1"] {
            assert!(good.parse::<EnvKey>().is_ok(), "{good:?}");
        }
        for bad in ["", "1A", "A-B", "A B", "A=B", "A\n"] {
            assert!(bad.parse::<EnvKey>().is_err(), "{bad:?}");
        }
    }
}
