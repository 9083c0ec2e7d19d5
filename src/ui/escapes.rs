//! Escape sequences and control characters in what others wrote: apps, builds, other users. To a terminal they are orders
//! (ECMA-48): move the cursor, name the window, type something.

use std::{borrow::Cow, fmt::Write};

const ESCAPE: char = '\u{1b}';
/// Back to the usual colours.
const RESET: &str = "\u{1b}[0m";

/// A text that gives a terminal no orders but colours, which end with their line. All others are shown: `^[` for ESC.
/// Tabs and newlines stay.
pub fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains(is_order) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + RESET.len());
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 {
            shown.push('\n');
        }
        harmless_line(line, &mut shown);
    }
    Cow::Owned(shown)
}

fn harmless_line(line: &str, shown: &mut String) {
    let mut coloured = false;
    let mut rest = line;
    while let Some(start) = rest.find(is_order) {
        shown.push_str(&rest[..start]);
        rest = &rest[start..];
        if let Some(length) = colour(rest) {
            coloured = true;
            shown.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        let Some(order) = rest.chars().next() else { break };
        rest = &rest[order.len_utf8()..];
        match u8::try_from(order) {
            // The caret notation of terminals: ^A is 1, ^? is 127.
            Ok(byte) if byte.is_ascii() => shown.extend(['^', char::from(byte ^ 0x40)]),
            _ => drop(write!(shown, "<{:02x}>", u32::from(order))),
        }
    }
    shown.push_str(rest);
    if coloured {
        shown.push_str(RESET);
    }
}

/// A line without escape sequences and control characters. Tabs stay.
pub fn plain(line: &str) -> Cow<'_, str> {
    if !line.contains(is_order) {
        return Cow::Borrowed(line);
    }
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find(is_order) {
        plain.push_str(&rest[..start]);
        rest = &rest[start..];
        rest = &rest[sequence(rest)..];
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

fn is_order(character: char) -> bool {
    character.is_control() && !matches!(character, '\t' | '\n')
}

/// The length of the sequence at the beginning of a text that sets colours and the like (SGR), if there is one. One that
/// hides text is none.
fn colour(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let end = parameters.find(|character: char| !character.is_ascii_digit() && !matches!(character, ';' | ':'))?;
    let is_colour = parameters[end..].starts_with('m') && !hides(&parameters[..end]);
    is_colour.then_some("\u{1b}[".len() + end + 1)
}

/// Whether parameters of SGR have the 8 that makes text invisible, where it is no part of a colour such as `38;5;8`.
fn hides(parameters: &str) -> bool {
    let mut parameters = parameters.split(';');
    while let Some(parameter) = parameters.next() {
        match parameter.trim_start_matches('0') {
            "8" => return true,
            "38" | "48" | "58" => {
                let skipped = if parameters.next() == Some("2") { 3 } else { 1 };
                parameters.by_ref().take(skipped).for_each(drop);
            }
            _ => {}
        }
    }
    false
}

/// The length of the control character or whole escape sequence at the beginning of a text.
fn sequence(text: &str) -> usize {
    let first = text.chars().next().map_or(0, char::len_utf8);
    let (body, introducer) = match text.strip_prefix(ESCAPE) {
        Some(rest) => (rest.get(1..).unwrap_or_default(), rest.chars().next()),
        None => return first,
    };
    let ended_by = |is_end: fn(char) -> bool| {
        body.char_indices().find(|(_, character)| is_end(*character)).map(|(at, end)| first + 1 + at + end.len_utf8())
    };
    match introducer {
        // Parameters and one letter.
        Some('[') => ended_by(|character| ('@'..='~').contains(&character)).unwrap_or(text.len()),
        // A text that BEL or ESC \ ends: what does not end on this line is only begun.
        Some(']' | 'P' | 'X' | '^' | '_') => match (body.find('\u{7}'), body.find("\u{1b}\\")) {
            (Some(bell), Some(end)) if end < bell => first + 1 + end + 2,
            (Some(bell), _) => first + 1 + bell + 1,
            (None, Some(end)) => first + 1 + end + 2,
            (None, None) => first + 1,
        },
        Some(other) if (' '..='~').contains(&other) => first + 1,
        _ => first,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn orders_are_shown_and_colours_stay_until_the_end_of_the_line() {
        for (text, shown) in [
            ("plain\ttext \u{e9}", "plain\ttext \u{e9}"),
            ("\u{1b}]0;taken\u{7} end", "^[]0;taken^G end"),
            ("a\u{1b}[2Jb", "a^[[2Jb"),
            ("10%\r20%", "10%^M20%"),
            ("\u{9b}2J\u{7f}\u{8}", "<9b>2J^?^H"),
            ("\u{1b}[31mred", "\u{1b}[31mred\u{1b}[0m"),
            ("\u{1b}[38;5;8mgrey\nnext", "\u{1b}[38;5;8mgrey\u{1b}[0m\nnext"),
            ("\u{1b}[38;2;8;8;8m\u{1b}[m", "\u{1b}[38;2;8;8;8m\u{1b}[m\u{1b}[0m"),
            ("\u{1b}[1;8mhidden", "^[[1;8mhidden"),
            ("\u{1b}[08mhidden", "^[[08mhidden"),
            ("\u{1b}[31", "^[[31"),
            ("\u{1b}", "^["),
            ("\u{1b}c\u{0}", "^[c^@"),
        ] {
            assert_eq!(harmless(text), shown, "{text:?}");
        }
    }

    #[test]
    fn sequences_go_as_a_whole() {
        for (text, plainly) in [
            ("one", "one"),
            ("\u{1b}[1;31merror\u{1b}[0m: x", "error: x"),
            ("\u{1b}]0;title\u{7}a", "a"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}]0;not ended", "0;not ended"),
            ("a\u{1b}[31", "a"),
            ("a\u{1b}c\u{1b}", "a"),
            ("a\u{1b}\u{e9}\u{7f}\tb", "a\u{e9}\tb"),
        ] {
            assert_eq!(plain(text), plainly, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_order_is_left(text in "(\\PC|\u{1b}|\\[|[\u{0}-\u{9f}]){0,40}") {
            let shown = harmless(&text);
            let without_colours = regex::Regex::new("\u{1b}\\[[0-9;:]*m").unwrap().replace_all(&shown, "").into_owned();
            prop_assert!(!without_colours.contains(is_order), "{shown:?}");
            let one_line = text.replace('\n', " ");
            prop_assert!(!plain(&one_line).contains(is_order), "{one_line:?}");
        }
    }
}
