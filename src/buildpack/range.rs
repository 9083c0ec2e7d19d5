//! Version ranges as people write them: npm's (`^20 || >=22.1 <25`, `22.x`, `18 - 20`), Python's (`>=3.11,<3.14`,
//! `~=3.12`, `==3.12.*`) and Ruby's (`~> 3.2`), all over versions of one to three numbers.

/// A version of three numbers.
type Triple = [u64; 3];

/// From the first version, to before the second.
type Interval = (Triple, Triple);

const END: Triple = [u64::MAX, 0, 0];

/// A set of versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range(Vec<Interval>);

/// How well a line of versions, such as `22`, fits a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// None of its versions is in the range.
    None,
    /// Some are, and its newest is not.
    Older,
    /// Its newest is.
    Newest,
}

impl Range {
    /// Reads a range; nothing where it is not one. A bare version is the versions that begin with it.
    pub fn parse(text: &str) -> Option<Range> {
        let alternatives: Option<Vec<Interval>> = text.split("||").map(conjunction).collect();
        alternatives.filter(|_| text.len() <= 200).map(Range)
    }

    /// All versions from the one named on.
    pub fn from(text: &str) -> Option<Range> {
        Some(Range(vec![(version(text)?.0, END)]))
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

/// Comparators that must all hold, as one interval.
fn conjunction(text: &str) -> Option<Interval> {
    let text = text.replace(',', " ");
    if let Some((low, high)) = text.split_once(" - ") {
        let (low, _) = version(low.trim())?;
        let (high, count) = version(high.trim())?;
        return Some((low, if count == 0 { END } else { next(high, count) }));
    }
    let mut interval = ([0; 3], END);
    let mut words = text.split_whitespace();
    let mut some = false;
    while let Some(word) = words.next() {
        let number = word.trim_start_matches(|character: char| "<>=^~!".contains(character));
        let operator = &word[..word.len() - number.len()];
        // `>= 18` has a space in it.
        let number = if number.is_empty() { words.next()? } else { number };
        let (low, high) = comparator(operator, number)?;
        interval = (interval.0.max(low), interval.1.min(high));
        some = true;
    }
    // Nothing at all is `*` in npm, and in a file of one line it is a mistake that is seen before this.
    some.then_some(interval)
}

fn comparator(operator: &str, number: &str) -> Option<Interval> {
    let (first, count) = version(number)?;
    let everything = ([0; 3], END);
    if count == 0 {
        return (operator.is_empty() || ["=", "==", ">=", "^", "~"].contains(&operator)).then_some(everything);
    }
    Some(match operator {
        "" | "=" | "==" | "===" => (first, next(first, count)),
        ">=" => (first, END),
        ">" => (next(first, count), END),
        "<" => ([0; 3], first),
        "<=" => ([0; 3], next(first, count)),
        // Up to the next version of the first number that is not zero.
        "^" => {
            let leading = first.iter().take(count).position(|number| *number > 0).map_or(count, |index| index + 1);
            (first, next(first, leading))
        }
        "~" => (first, next(first, count.min(2))),
        "~=" | "~>" => (first, next(first, count.saturating_sub(1).max(1))),
        // One version less makes no difference to a line of them.
        "!=" => everything,
        _ => return None,
    })
}

/// The numbers of a version and how many there are: `v22.x` is one, `*` none.
fn version(text: &str) -> Option<(Triple, usize)> {
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    // A pre-release or build is its version here.
    let text = text.split(['-', '+']).next().unwrap_or(text);
    let mut numbers = [0; 3];
    let mut count = 0;
    let mut wild = false;
    for part in text.split('.') {
        if ["*", "x", "X"].contains(&part) {
            wild = true;
        } else {
            let digits = !part.is_empty() && part.len() <= 9 && part.bytes().all(|byte| byte.is_ascii_digit());
            if wild || count == 3 || !digits {
                return None;
            }
            numbers[count] = part.parse().ok()?;
            count += 1;
        }
    }
    Some((numbers, count))
}

/// The first version after those that share the first `count` numbers.
fn next(mut version: Triple, count: usize) -> Triple {
    version[count - 1] += 1;
    version[count..].fill(0);
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
        ] {
            assert_eq!(newest(range, &["3.11", "3.12", "3.13"]), Some(expected), "{range}");
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
