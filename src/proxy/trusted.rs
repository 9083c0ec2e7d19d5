//! Other proxies in front of this one, whose word is taken for who a client is.

use crate::{
    Result, files,
    instance::value_of,
    model::{self, Network, property},
    settings::Settings,
    store::Tables,
};

/// Those that are set. A file that cannot be read adds none: what is not known is not trusted.
///
/// # Errors
/// [`crate::Error::Store`].
pub fn read(tables: &Tables<'_>, settings: &Settings) -> Result<Vec<Network>> {
    let value = value_of(settings, tables, &property::TRUSTED_PROXIES, None)?;
    let Some(property::Value::Text(text)) = value else { return Ok(Vec::new()) };
    let (mut all, lists) = model::trusted_proxies(&text).unwrap_or_default();
    for path in lists {
        let listed = files::read_kept(&path).ok().flatten().ok_or_else(|| "it cannot be read".to_owned());
        match listed.and_then(|text| model::network_lines(&text)) {
            Ok(listed) => all.extend(listed),
            Err(reason) => tracing::warn!("trusted_proxies: {}: {reason}", path.display()),
        }
    }
    Ok(all)
}

/// Whether a Caddy of a version tells, of the addresses that other proxies name, the one that only they can have added from
/// what the client itself said (`trusted_proxies_strict`, from 2.8 on).
pub fn tells_them_apart(version: &str) -> bool {
    is_at_least(version, [2, 8, 0])
}

/// Whether a version, such as `2.6.2`, is this one or a later one.
pub(super) fn is_at_least(version: &str, wanted: [u32; 3]) -> bool {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    [(); 3].map(|()| parts.next().unwrap_or(0)) >= wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, does) in
            [("2.6.2", false), ("2.7.6", false), ("2.8.0", true), ("2.11.7", true), ("3.0", true), ("", false)]
        {
            assert_eq!(tells_them_apart(version), does, "{version}");
        }
        for (version, is) in [("2.6.2", false), ("2.6.3", true), ("2.10.0", true), ("2.6", false), ("", false)] {
            assert_eq!(is_at_least(version, [2, 6, 3]), is, "{version}");
        }
    }
}
