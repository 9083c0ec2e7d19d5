//! Version ranges as people write them: npm's (`^20 || >=22.1 <25`, `22.x`, `18 - 20`), Python's (`>=3.11,<3.14`,
//! `~=3.12`, `!=3.13.*`), Ruby's and Elixir's (`~> 3.2`, `~> 1.17 or ~> 1.18`), Composer's (`^8.2|^8.3`) and Maven's
//! (`[21,26)`), all over versions of one to three numbers.

use std::cmp::Ordering;

/// A version of three numbers.
type Triple = [u64; 3];

/// From the first version up to, but not including, the second.
type Interval = (Triple, Triple);

const END: Triple = [u64::MAX, 0, 0];
const EVERYTHING: Interval = ([0; 3], END);

/// A set of versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range(Vec<Interval>);

/// How well a line of versions, such as `22`, fits a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// None of its versions is in the range.
    None,
    /// Some are, but its newest is not.
    Older,
    /// Its newest is.
    Newest,
}

impl Range {
    /// Reads a range; nothing if it is not one. A bare version means all versions that begin with it.
    pub fn parse(text: &str) -> Option<Range> {
        if text.len() > 200 {
            return None;
        }
        let text = text.trim();
        if let Some(intervals) = in_brackets(text) {
            return Some(Range(intervals));
        }
        // Some files have each bound in quotes of its own.
        let text = text.replace(['"', '\''], " ").replace(" or ", "||").replace(" and ", ",").replace("||", "|");
        let mut intervals = Vec::new();
        for alternative in text.split('|') {
            intervals.extend(conjunction(alternative)?);
        }
        Some(Range(intervals))
    }

    /// All versions from this one.
    pub fn from(text: &str) -> Option<Range> {
        Some(Range(vec![(version(text.trim())?.0, END)]))
    }

    /// How well the versions that begin with `line` fit.
    pub fn fit(&self, line: &str) -> Fit {
        let Some((first, count)) = version(line).filter(|(_, count)| *count > 0) else { return Fit::None };
        let end = next(first, count);
        let fits = self.0.iter().map(|(low, high)| {
            if *low.max(&first) >= *high.min(&end) {
                Fit::None
            } else if *high >= end {
                Fit::Newest
            } else {
                Fit::Older
            }
        });
        fits.max().unwrap_or(Fit::None)
    }
}

/// Whether a text is a plain version of one to three numbers.
pub(super) fn is_version(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit())
        && version(text).is_some_and(|(_, count)| count > 0)
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// Compares two versions; a text that is not a version is older than any.
pub(super) fn compare(left: &str, right: &str) -> Ordering {
    version(left).cmp(&version(right))
}

/// Comparators that must all hold.
fn conjunction(text: &str) -> Option<Vec<Interval>> {
    let text = text.replace(',', " ");
    if let Some((low, high)) = text.split_once(" - ") {
        let (low, _) = version(low.trim())?;
        let (high, count) = version(high.trim())?;
        return Some(vec![(low, if count == 0 { END } else { next(high, count) })]);
    }
    let mut intervals = vec![EVERYTHING];
    let mut words = text.split_whitespace();
    let mut some = false;
    while let Some(word) = words.next() {
        let number = word.trim_start_matches(|character: char| "<>=^~!".contains(character));
        let operator = &word[..word.len() - number.len()];
        // `>= 18` has a space in it.
        let number = if number.is_empty() { words.next()? } else { number };
        intervals = intersection(&intervals, &comparator(operator, number)?);
        some = true;
    }
    // An empty range means `*` in npm. In a file of one line it is a mistake, which is caught earlier.
    some.then_some(intervals)
}

fn comparator(operator: &str, number: &str) -> Option<Vec<Interval>> {
    let (first, count) = version(number)?;
    if count == 0 {
        return (operator.is_empty() || ["=", "==", ">=", "^", "~"].contains(&operator)).then(|| vec![EVERYTHING]);
    }
    Some(match operator {
        "" | "=" | "==" | "===" => vec![(first, next(first, count))],
        ">=" => vec![(first, END)],
        ">" => vec![(next(first, count), END)],
        "<" => vec![([0; 3], first)],
        "<=" => vec![([0; 3], next(first, count))],
        // Up to the next version of the first number that is not zero.
        "^" => {
            let leading = first.iter().take(count).position(|number| *number > 0).map_or(count, |index| index + 1);
            vec![(first, next(first, leading))]
        }
        "~" => vec![(first, next(first, count.min(2)))],
        "~=" | "~>" => vec![(first, next(first, count.saturating_sub(1).max(1)))],
        // A line of versions stays the same without one of its patches.
        "!=" if count == 3 => vec![EVERYTHING],
        "!=" => vec![([0; 3], first), (next(first, count), END)],
        _ => return None,
    })
}

/// `[17,21)`, `[21,)`, `(,17]`, `[21]`; nothing if the text has another form.
fn in_brackets(text: &str) -> Option<Vec<Interval>> {
    let inside = text.strip_prefix(['[', '('])?.strip_suffix([']', ')'])?;
    let bound = |text: &str| if text.trim().is_empty() { Some(None) } else { version(text.trim()).map(Some) };
    let (low, high) = match inside.split_once(',') {
        Some((low, high)) => (bound(low)?, bound(high)?),
        None => (bound(inside)?, bound(inside)?),
    };
    let low = match low {
        Some((first, count)) if text.starts_with('(') => next(first, count),
        Some((first, _)) => first,
        None => [0; 3],
    };
    let high = match high {
        Some((first, count)) if text.ends_with(']') => next(first, count),
        Some((first, _)) => first,
        None => END,
    };
    Some(vec![(low, high)])
}

fn intersection(left: &[Interval], right: &[Interval]) -> Vec<Interval> {
    let pairs = left.iter().flat_map(|left| right.iter().map(move |right| (left.0.max(right.0), left.1.min(right.1))));
    pairs.filter(|(low, high)| low < high).collect()
}

/// The numbers of a version and how many there are: `v22.x` is one, `*` none.
fn version(text: &str) -> Option<(Triple, usize)> {
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    // A pre-release or build counts as its version.
    let text = text.split(['-', '+']).next().unwrap_or(text);
    let mut numbers = [0; 3];
    let mut count = 0;
    let mut wild = false;
    for part in text.split('.') {
        if ["*", "x", "X"].contains(&part) {
            wild = true;
            continue;
        }
        let digits = part.trim_end_matches(|character: char| character.is_ascii_lowercase());
        // The last number of `3.15.0rc1` and `3.4.0b` ends with a word.
        let digits = digits.split(|character: char| character.is_ascii_lowercase()).next().unwrap_or(digits);
        let good = !digits.is_empty() && digits.len() <= 9 && digits.bytes().all(|byte| byte.is_ascii_digit());
        if wild || count == 3 || !good || part.len() > digits.len() + 8 {
            return None;
        }
        numbers[count] = digits.parse().ok()?;
        count += 1;
    }
    Some((numbers, count))
}

/// The first version after those that share the first `count` numbers.
fn next(mut version: Triple, count: usize) -> Triple {
    version[count.max(1) - 1] += 1;
    version[count.max(1)..].fill(0);
    version
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newest<'a>(range: &str, lines: &[&'a str]) -> Option<&'a str> {
        let range = Range::parse(range)?;
        let best = lines.iter().map(|line| range.fit(line)).max().filter(|fit| *fit != Fit::None)?;
        lines.iter().rev().find(|line| range.fit(line) == best).copied()
    }

    #[test]
    fn npm_ranges_resolve() {
        for (range, expected) in [
            ("22", "22"),
            ("v20.11.1", "20"),
            ("20.x", "20"),
            ("20.*", "20"),
            ("^18.17.0", "18"),
            ("~18.17", "18"),
            (">=18", "24"),
            (">= 18", "24"),
            (">18", "24"),
            (">=18 <21", "20"),
            (">=18.0.0 <=20", "20"),
            ("<22", "20"),
            ("18 || 20", "20"),
            ("^18.0.0 || >=20.0.0", "24"),
            ("18 - 20", "20"),
            ("*", "24"),
            ("x", "24"),
            ("<20.5", "18"),
            ("=20", "20"),
        ] {
            assert_eq!(newest(range, &["18", "20", "22", "24"]), Some(expected), "{range}");
        }
        for range in ["19", ">=25", "<18", "", "latest", "^", "a.b", "1.2.3.4", "22; RUN x", "22\nRUN x", "|| ||"] {
            assert_eq!(newest(range, &["18", "20", "22", "24"]), None, "{range}");
        }
    }

    #[test]
    fn python_and_ruby_ranges_resolve() {
        for (range, expected) in [
            ("3.13.1", "3.13"),
            (">=3.11,<3.13", "3.12"),
            (">=3.11", "3.13"),
            ("~=3.11", "3.13"),
            ("~=3.11.4", "3.11"),
            ("~> 3.12", "3.13"),
            ("==3.12.*", "3.12"),
            (">=3.9,!=3.9.7", "3.13"),
            ("^3.11", "3.13"),
            ("3", "3.13"),
            (">=3.11,!=3.13.*", "3.12"),
            (">=3.11,!=3.13", "3.12"),
            ("~> 3.11.0 or ~> 3.12.1", "3.12"),
            (">= 3.11 and < 3.13", "3.12"),
            ("^3.11|^3.12", "3.13"),
            ("[3.11,3.13)", "3.12"),
            ("[3.11,)", "3.13"),
            ("(,3.12]", "3.12"),
            ("3.13.0rc1", "3.13"),
        ] {
            assert_eq!(newest(range, &["3.11", "3.12", "3.13"]), Some(expected), "{range}");
        }
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let mut versions = ["3.10", "3.9", "22", "3.9.1", "none"];
        versions.sort_by(|left, right| compare(left, right));
        assert_eq!(versions, ["none", "3.9", "3.9.1", "3.10", "22"]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_it(text in r"[0-9a-z.*^~<>=!|,\[\]() -]{0,24}", line in r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}") {
            if let Some(range) = Range::parse(&text) {
                range.fit(&line);
            }
        }
    }

    #[test]
    fn a_minimum_has_no_end() {
        let range = Range::from("1.21").unwrap();
        assert_eq!(range.fit("1.26"), Fit::Newest);
        assert_eq!(range.fit("1.20"), Fit::None);
        assert_eq!(Range::from("x;y"), None);
    }
}
