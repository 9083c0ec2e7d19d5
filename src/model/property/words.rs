//! What is typed to set properties.

use super::{Noun, Property, Refused};
use crate::model::Right;

/// Reads what is typed after `NOUN:set APP`. The first word decides: with `=` in it all are KEY=VALUE; without it two
/// words are KEY VALUE, and one clears KEY. An empty value clears too.
///
/// # Errors
/// [`Refused`] for an unknown key, one that is there twice, words of neither form, and a value that breaks its rule.
pub fn parse_words(noun: Noun, words: &[String]) -> Result<Vec<(&'static Property, Option<String>)>, Refused> {
    let pairs: Vec<(&str, &str)> = match words {
        [] => return Err(neither("there is nothing to set")),
        [key] if !key.contains('=') => vec![(key, "")],
        [key, value] if !key.contains('=') => vec![(key, value)],
        [key, ..] if !key.contains('=') => {
            return Err(neither(&format!("{} words after {key} are not one value", words.len() - 1)));
        }
        pairs => pairs
            .iter()
            // A word that is no pair may be a part of a secret value: it is not repeated.
            .map(|word| word.split_once('=').ok_or_else(|| neither("a word after the first is not KEY=VALUE")))
            .collect::<Result<_, _>>()?,
    };
    let mut found: Vec<(&'static Property, Option<String>)> = Vec::new();
    for (key, value) in pairs {
        let property = Property::named(noun, key)?;
        if found.iter().any(|(known, _)| *known == property) {
            return Err(neither(&format!("{} is there twice", property.name)));
        }
        let value = value.trim();
        if !value.is_empty() {
            property.value(value)?;
        }
        found.push((property, (!value.is_empty()).then(|| value.to_owned())));
    }
    Ok(found)
}

/// What it takes to set this for an app: the most that any of the values needs.
pub fn right_to_set(noun: Noun, words: &[String]) -> Right {
    let pairs = parse_words(noun, words).unwrap_or_default();
    let rights = pairs.iter().map(|(property, value)| (property.right)(value.as_deref().unwrap_or_default()));
    let administer = rights.into_iter().any(|right| right == Right::Administer);
    if administer { Right::Administer } else { Right::Change }
}

fn neither(message: &str) -> Refused {
    Refused::Words {
        message: message.to_owned(),
        hint: "write KEY VALUE, or KEY=VALUE for one or several; KEY alone clears it; quote a value with spaces"
            .to_owned(),
    }
}
