//! Taking known secrets out of what an app prints before it is kept.
//!
//! A value is found as it is, as JSON and most languages quote it, and, if it has several lines, also line by line:
//! between two of them a log may put a time or a margin. A value that was changed in another way, such as by base64, is
//! not found.

use std::{borrow::Cow, collections::BTreeSet};

use aho_corasick::{AhoCorasick, Input, MatchKind};

use super::MASK;

/// The fewest bytes of a value, or of a line of one, that is masked. Shorter ones are in half of all words.
const SHORTEST_MASKED: usize = 8;

/// What many configs hold, and is no secret.
const EVERYDAY: [&str; 5] = ["production", "development", "localhost", "127.0.0.1", "********"];

/// Knows secrets and takes them out of texts.
#[derive(Clone, Debug, Default)]
pub struct Masker {
    /// What is looked for.
    patterns: BTreeSet<String>,
    /// Finds them; none where there is nothing to be found.
    found_by: Option<AhoCorasick>,
}

impl Masker {
    /// Looks for these values too.
    pub fn add<'a>(&mut self, values: impl IntoIterator<Item = &'a str>) {
        let before = self.patterns.len();
        for value in values {
            let quoted = serde_json::Value::from(value).to_string();
            let quoted = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(value);
            let whole = value.trim_end_matches(['\r', '\n']);
            let returned = whole.replace('\n', "\r\n");
            for text in [whole, quoted, &returned].into_iter().chain(value.lines()) {
                if text.len() >= SHORTEST_MASKED && !EVERYDAY.contains(&text) && !text.trim().is_empty() {
                    self.patterns.insert(text.to_owned());
                }
            }
        }
        if self.patterns.len() > before {
            // It can only fail where the patterns have gigabytes; a config has two megabytes at most.
            self.found_by = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&self.patterns).ok();
        }
    }

    /// The text without the secrets.
    pub fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match &self.found_by {
            Some(finder) if finder.is_match(text) => {
                let mut masked = String::with_capacity(text.len());
                finder.replace_all_with(text, &mut masked, |_, _, masked| {
                    masked.push_str(MASK);
                    true
                });
                Cow::Owned(masked)
            }
            _ => Cow::Borrowed(text),
        }
    }

    /// Where the end of some bytes may be the beginning of a secret, seen from `start`; their end if nowhere.
    fn may_begin(&self, bytes: &[u8], start: usize) -> usize {
        let longest = self.patterns.iter().map(String::len).max().unwrap_or_default();
        let from = start.max((bytes.len() + 1).saturating_sub(longest));
        let is_beginning =
            |tail: &[u8]| self.patterns.iter().any(|it| it.len() > tail.len() && it.as_bytes().starts_with(tail));
        (from..bytes.len()).find(|at| is_beginning(&bytes[*at..])).unwrap_or(bytes.len())
    }
}

/// Masks what comes in pieces, wherever these are cut. What may be the beginning of a secret is kept back until it is
/// known not to be one.
#[derive(Clone, Debug, Default)]
pub struct MaskedStream {
    masker: Masker,
    held: Vec<u8>,
}

impl MaskedStream {
    /// A stream without these secrets.
    pub fn new(masker: Masker) -> MaskedStream {
        MaskedStream { masker, held: Vec::new() }
    }

    /// Takes a piece, and returns what can be told already.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        self.told(false)
    }

    /// Returns the rest, after which the stream may go on with something else.
    pub fn finish(&mut self) -> Vec<u8> {
        self.told(true)
    }

    /// Takes a line, or a piece of one that is long, and returns what can be told already.
    pub fn line(&mut self, text: &str, is_ended: bool) -> String {
        let mut told = self.push(text.as_bytes());
        if is_ended {
            told.extend(self.finish());
        }
        String::from_utf8_lossy(&told).into_owned()
    }

    fn told(&mut self, is_end: bool) -> Vec<u8> {
        let mut told = Vec::with_capacity(self.held.len());
        let Some(finder) = &self.masker.found_by else { return std::mem::take(&mut self.held) };
        let mut at = 0;
        let mut open = if is_end { self.held.len() } else { self.masker.may_begin(&self.held, at) };
        while let Some(found) = finder.find(Input::new(&self.held).range(at..)) {
            // It may be the beginning of a longer one, or lie behind the beginning of another.
            if found.start() >= open {
                break;
            }
            told.extend_from_slice(&self.held[at..found.start()]);
            told.extend_from_slice(MASK.as_bytes());
            at = found.end();
            if open < at {
                open = self.masker.may_begin(&self.held, at);
            }
        }
        told.extend_from_slice(&self.held[at..open]);
        self.held.drain(..open);
        told
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masker(values: &[&str]) -> Masker {
        let mut masker = Masker::default();
        masker.add(values.iter().copied());
        masker
    }

    fn in_pieces(masker: &Masker, text: &str, cuts: &[usize]) -> String {
        let mut stream = MaskedStream::new(masker.clone());
        let mut told = Vec::new();
        let mut rest = text.as_bytes();
        for cut in cuts {
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            told.extend(stream.push(piece));
            rest = after;
        }
        told.extend(stream.push(rest));
        told.extend(stream.finish());
        String::from_utf8(told).unwrap()
    }

    #[test]
    fn a_value_is_found_as_it_is_as_it_is_quoted_and_line_by_line() {
        let key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nshort\n-----END KEY-----\n";
        let masker = masker(&["correct \"horse\"", key, "short", "production", "postgres://u:p@db", ""]);
        for (text, masked) in [
            ("it is correct \"horse\"!", "it is ********!"),
            (r#"{"A":"correct \"horse\""}"#, r#"{"A":"********"}"#),
            (key, "********\n"),
            (&key.replace('\n', "\r\n"), "********\r\n"),
            (&format!("KEY={}", key.replace('\n', "\\n")), "KEY=********"),
            ("12:00 MIIEvQIBADANBg\n12:01 short", "12:00 ********\n12:01 short"),
            ("postgres://u:p@db/postgres://u:p@db", "********/********"),
            ("NODE_ENV=production", "NODE_ENV=production"),
        ] {
            assert_eq!(masker.mask(text), masked, "{text:?}");
        }
        assert_eq!(Masker::default().mask("anything"), "anything");
    }

    #[test]
    fn of_two_that_begin_alike_the_longer_one_is_taken_out() {
        let masker = masker(&["password1", "password1234", "rd1234567890"]);
        for (text, masked) in [
            ("password123", "********23"),
            ("password1234", "********"),
            ("password1234567890", "********567890"),
            ("a password12", "a ********2"),
        ] {
            assert_eq!(masker.mask(text), masked);
            for cut in 0..text.len() {
                assert_eq!(in_pieces(&masker, text, &[cut]), masked, "{text:?} at {cut}");
            }
        }
    }

    #[test]
    fn what_cannot_be_the_beginning_of_a_secret_is_told_at_once() {
        let mut stream = MaskedStream::new(masker(&["password1"]));
        let mut told = |piece: &str| String::from_utf8(stream.push(piece.as_bytes())).unwrap();
        assert_eq!(told("type: pa"), "type: ");
        assert_eq!(told("ge\npass"), "page\n");
        assert_eq!(told("word1"), "********");
        assert_eq!(told(" p"), " ");
        assert_eq!(stream.finish(), b"p");
        assert_eq!(
            (stream.line("apass", false), stream.line("word1 pass", true)),
            ("a".to_owned(), "******** pass".to_owned())
        );
    }

    proptest! {
        #[test]
        fn no_value_is_left_however_the_stream_is_cut(
            values in prop::collection::vec("[ab\n]{8,12}", 1..5),
            around in prop::collection::vec("[ab\n]{0,9}", 1..6),
            order in prop::collection::vec(any::<prop::sample::Index>(), 5),
            cuts in prop::collection::vec(0_usize..9, 0..12),
        ) {
            let masker = masker(&values.iter().map(String::as_str).collect::<Vec<_>>());
            let mut text = String::new();
            for (place, part) in around.iter().enumerate() {
                text.push_str(part);
                text.push_str(order[place % order.len()].get(values.as_slice()).as_str());
            }
            let masked = masker.mask(&text);
            for value in values.iter().filter(|value| !value.trim().is_empty()) {
                let value = value.trim_end_matches('\n');
                prop_assert!(value.len() < SHORTEST_MASKED || !masked.contains(value), "{:?} in {:?}", value, masked);
            }
            prop_assert_eq!(in_pieces(&masker, &text, &cuts), masked);
        }
    }
}
