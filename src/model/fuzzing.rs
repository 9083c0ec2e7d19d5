//! What may hold secrets, for the fuzz targets.

use super::{MaskedStream, Masker, parse_env_file, write_env_file};

/// An env file: what is read of it is written so that it reads the same, and what is wrong is on one of its lines.
pub fn env_file(bytes: &[u8]) {
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
    match parse_env_file(bytes) {
        Ok(found) => {
            assert!(found.len() <= lines, "{found:?}");
            let written = write_env_file(found.iter().map(|(key, value)| (key, value.as_str())));
            assert_eq!(parse_env_file(written.as_bytes()).ok(), Some(found));
        }
        Err(error) => assert!((1..=lines).contains(&error.line), "{error}"),
    }
}

/// Secrets, each ended by a zero byte, and what an app prints, where each byte of 1 is a place to cut: nothing of the
/// secrets is left, and cut or whole the same comes of it.
pub fn mask(text: &str) {
    let mut secrets: Vec<&str> = text.split('\0').collect();
    let printed = secrets.pop().unwrap_or_default();
    let pieces: Vec<&str> = printed.split('\u{1}').collect();
    let printed = pieces.concat();
    let mut masker = Masker::default();
    masker.add(secrets.iter().copied());
    let masked = masker.mask(&printed);
    for secret in secrets {
        let secret = secret.trim_end_matches(['\r', '\n']);
        // What a mask is made of may stand before or after one; the rest is too short, or what each config holds.
        let is_meant = secret.len() >= 8 && !secret.trim().is_empty() && !secret.contains('*');
        let is_everyday = ["production", "development", "localhost", "127.0.0.1"].contains(&secret);
        assert!(!is_meant || is_everyday || !masked.contains(secret), "{secret:?} is in {masked:?}");
    }
    let mut stream = MaskedStream::new(masker.clone());
    let mut told: Vec<u8> = pieces.iter().flat_map(|piece| stream.push(piece.as_bytes())).collect();
    told.extend(stream.finish());
    assert_eq!(String::from_utf8(told).as_deref(), Ok(&*masked));
}
