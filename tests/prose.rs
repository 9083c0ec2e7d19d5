//! What people read is plain English: none of the patterns below, each of which made native readers stumble. A failure
//! names the place, the words and what to write instead.

use std::{
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;

/// A pattern that readers stumble over. A blank also matches the end of a line within a paragraph.
struct Ban {
    pattern: &'static str,
    /// What to write.
    instead: &'static str,
    /// Words that it must find.
    finds: &'static str,
    /// Words that it must not find: a match that contains one of these is passed over.
    fine: &'static [&'static str],
}

/// The only pattern that does not apply to comments, where such a clause describes the item below.
const FREE_CLAUSE: &str = r"(^|[.:;!] )What ((is|are|was|were|has|had|no|it|they|an?|the|only|runs|cannot|can|may|must|should|nobody|needs|does|makes) )[^.?|\n]*(\n[^.?|\n]+)?[.;]";

const BANS: &[Ban] = &[
    Ban {
        pattern: r"(\w+ )?\b(is|are|was|were|be|been) no [a-z]+",
        instead: "\"is not a ...\"",
        finds: "a tag is no deploy",
        fine: &["there is no", "there are no", "there was no", "there were no", "is no longer", "are no longer"],
    },
    Ban {
        pattern: r"\b(is|are|was|were|be|been|being) (said|told)\b",
        instead: "\"is set\", \"is reported\", \"is shown\", or who says it as the subject",
        finds: "what runs is said by paas.toml",
        fine: &[],
    },
    Ban {
        pattern: r"\b(unless|if|when|where|as) (not )?(said|told)\b|\bsays otherwise\b",
        instead: "\"unless set\", or the default: \"Default: ...\"",
        finds: "always, if not said",
        fine: &[],
    },
    Ban {
        pattern: r"\btells (whether|which|how|what|where|when|who)\b",
        instead: "\"shows\" or \"see\"",
        finds: "`git fsck` tells whether it is whole",
        fine: &[],
    },
    Ban {
        pattern: r"\b(nothing|none|nobody|also|only|except|missing) where\b",
        instead: "\"if\", \"when\"",
        finds: "the newest of an app; nothing where no app is given",
        fine: &[],
    },
    Ban {
        pattern: r"\bwhere (nothing|nobody|none|neither|no|somebody|someone|there|not|it can|it has|it does|they can|they do|one (is|can))\b",
        instead: "\"if\", \"when\"",
        finds: "from the distribution where there is none",
        fine: &[],
    },
    Ban {
        pattern: r"\bshall\b",
        instead: "\"must\", \"should\" or the plain verb",
        finds: "what shall run",
        fine: &[],
    },
    Ban {
        pattern: r"\b(go|goes|going|went|gone) on\b",
        instead: "\"continue\", \"keep\"",
        finds: "a container that goes on serving",
        fine: &[],
    },
    Ban {
        pattern: r"\b(take|takes|took|taken|taking) up\b",
        instead: "\"start\", \"resume\", \"continue\"",
        finds: "the next deploy takes up the work",
        fine: &[],
    },
    Ban {
        pattern: r"\b(take|takes|taken|taking) (it|them|this|that|these|`[^`]*`|the line) out\b",
        instead: "\"remove\"",
        finds: "correct the key, or take it out",
        fine: &[],
    },
    Ban {
        pattern: r"\b(take|takes|taking) an? [a-z]+ back\b",
        instead: "\"resets\", \"undoes\"",
        finds: "an empty value takes a setting back",
        fine: &[],
    },
    Ban {
        pattern: r"\b(take|takes|took|in) (the )?place of\b",
        instead: "\"replaces\", \"instead of\"",
        finds: "a newer push takes the place of one that waits",
        fine: &[],
    },
    Ban {
        pattern: r"\b[Ww]hoever\b|\bwhosoever\b",
        instead: "a person: \"the user who\", \"other users\"",
        finds: "those of whoever runs this",
        fine: &[],
    },
    Ban {
        pattern: r"\b[Ww]hatever (is|are|was|has|have|else|it|they|the|a|an|that)\b",
        instead: "\"everything that\", \"parts that\", \"any\"",
        finds: "Whatever is down is said to be",
        fine: &[],
    },
    Ban {
        pattern: FREE_CLAUSE,
        instead: "a noun as the subject: \"Files that ...\", \"Parts that ...\"",
        finds: "What is unknown is refused with those that are known;",
        fine: &[],
    },
    Ban {
        pattern: r"\bof which\b",
        instead: "two sentences, or \"its\", \"whose\"",
        finds: "deploys, of which two wait",
        fine: &[],
    },
    Ban {
        pattern: r"\bso (often|long|many|much|late|soon) as\b|\bas often (in a row )?as it may\b",
        instead: "\"as often as\", or the number",
        finds: "fails its check so often in a row as it may; so often as",
        fine: &[],
    },
    Ban {
        pattern: r"\bso (often|many times) in a row\b",
        instead: "the number: \"`attempts` checks in a row\"",
        finds: "fails so often in a row",
        fine: &[],
    },
    Ban {
        pattern: r"\b([Tt]he|[Tt]his|[Aa]n|[Yy]our|whole|same|its) engine\b|\bengine's\b",
        instead: "\"Docker\"",
        finds: "the build cache of the whole engine",
        fine: &[],
    },
    Ban { pattern: r"\banew\b", instead: "\"again\"", finds: "the file is written anew", fine: &[] },
    Ban {
        pattern: r"\b(all|nothing|none|everything|any|anything|keys|those|ones) but (for |those |what |that |the )",
        instead: "\"except\", \"only\"",
        finds: "all but those that are too many",
        fine: &[],
    },
    Ban { pattern: r"\bbut for\b", instead: "\"except\"", finds: "each file but for one", fine: &[] },
    Ban {
        pattern: r"\b(can|could|to|cannot|may) (not )?be had\b",
        instead: "\"cannot get\", \"available\"",
        finds: "the base image could not be had",
        fine: &[],
    },
    Ban {
        pattern: r"\b(is|are|was|were) not there\b",
        instead: "\"is missing\", \"does not exist\", \"was not found\"",
        finds: "the module is not there",
        fine: &[],
    },
    Ban {
        pattern: r"\b(it is|they are|that is) (so )?already\b",
        instead: "\"already is\", \"these values are already set\"",
        finds: "nothing to change: it is so already",
        fine: &[],
    },
    Ban { pattern: r"\bsee that\b", instead: "\"check that\"", finds: "see that it is committed", fine: &[] },
    Ban {
        pattern: r"\bif it stays\b",
        instead: "\"if it keeps failing\"",
        finds: "push again; if it stays",
        fine: &[],
    },
    Ban {
        pattern: r"\b[Nn]othing of (it|them|this|that|the|a)\b",
        instead: "\"no part of\", \"none of\"",
        finds: "Nothing of it answers requests.",
        fine: &[],
    },
    Ban {
        pattern: r"\b(go|goes) by (itself|themselves)\b",
        instead: "\"is removed automatically\"",
        finds: "old images go by themselves",
        fine: &[],
    },
    Ban {
        pattern: r"(\byou )?\bwants? (a|an|the|another|to|some)\b",
        instead: "\"needs\", \"requires\"",
        finds: "a build that wants a database",
        fine: &["you want to"],
    },
    Ban {
        pattern: r"\bone that (waits|is there)\b|\bthose that (wait|are there|are too many)\b",
        instead: "\"a waiting deploy\", \"live containers\", \"surplus containers\"",
        finds: "a newer push replaces one that waits",
        fine: &[],
    },
    Ban {
        pattern: r"\b(as it is|as they are) (is|are|was|so)\b|\bgood (JSON|TOML)\b",
        instead: "\"unchanged\", \"valid JSON\"",
        finds: "it is not good JSON",
        fine: &[],
    },
    Ban {
        pattern: r"\b[Aa] (line|folder|row|table|entry) an? [a-z]+( [a-z]+)?[,;:.]",
        instead: "\"one line for each ...\"",
        finds: "a line a process type;",
        fine: &[],
    },
    Ban {
        pattern: r"\bthe [a-z]+ there (is|are)\b",
        instead: "\"lists the apps\"",
        finds: "`paas apps:list` shows the apps there are",
        fine: &[],
    },
    Ban {
        pattern: r"\b[Ww]here the (app|deploy|container|process|file|daemon|server) (is|runs|serves|has)\b|\bwhere (it|they|one) (fails?|do not|does not|is not|are not|serves?)\b",
        instead: "\"if\"",
        finds: "Where the app runs, it gets new containers",
        fine: &[],
    },
    Ban {
        pattern: r"\b[Ww]hat (runs|ran|serves|served)\b",
        instead: "\"the running containers\", \"the live release\", \"processes\"",
        finds: "its build ends, what ran before continues",
        fine: &[],
    },
    Ban {
        pattern: r"\bthe one that (serves?|served|waits|is there)\b",
        instead: "\"the live release\", \"the previous one\"",
        finds: "the one that served before",
        fine: &[],
    },
    Ban {
        pattern: r"\bproven\b|\bunproven\b|\bProve new\b",
        instead: "\"checked\", \"healthy\"",
        finds: "new containers get traffic unproven",
        fine: &[],
    },
    Ban {
        pattern: r"\btakes? (the|this|that|it|them)( [a-z]+)? up\b",
        instead: "\"applies\", \"uses\"",
        finds: "the next deploy takes them up",
        fine: &[],
    },
    Ban { pattern: r"\bin one look\b", instead: "\"at a glance\"", finds: "the server in one look", fine: &[] },
    Ban {
        pattern: r"\b(localhost|Dockerfile|tag|tools|tests|user|platform|dependencies|name|builds) alone\b",
        instead: "\"only\"",
        finds: "the Dockerfile alone",
        fine: &[],
    },
    Ban { pattern: r"\bcut off\b", instead: "\"interrupted\"", finds: "builds that were cut off", fine: &[] },
    Ban {
        pattern: r"\bin reach\b|\bas at first\b",
        instead: "the plain words",
        finds: "no release in reach",
        fine: &[],
    },
];

/// The part of a file that is read.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    /// All of it.
    All,
    /// A document without its generated parts.
    Written,
    /// The generated parts of a document: help, settings, exit codes.
    Generated,
    /// The comments of a source.
    Comments,
    /// The quoted texts of a source, without those of its tests: messages and hints. One may span several lines.
    Texts,
}

/// The texts that are read; `*` stands for all files below a folder.
const READ: &[(&str, Part)] = &[
    ("README.md", Part::All),
    ("CHANGELOG.md", Part::All),
    ("docs/architecture.md", Part::All),
    ("docs/reference.md", Part::Written),
    ("docs/reference.md", Part::Generated),
    ("buildpacks/README.md", Part::All),
    ("buildpacks/*", Part::All),
    ("install.sh", Part::All),
    ("src/buildpack.rs", Part::Comments),
    ("src/buildpack/*", Part::Comments),
    ("src/tree.rs", Part::Comments),
    ("src/tree/*", Part::Comments),
    ("src/*", Part::Texts),
    ("tests/errors.txt", Part::All),
];

#[test]
fn what_people_read_is_plain_english() {
    let bans: Vec<(Regex, &Ban)> = BANS.iter().map(|ban| (expression(ban), ban)).collect();
    let mut found = Vec::new();
    let mut read = 0;
    for (pattern, part) in READ {
        for path in files(pattern) {
            let text = part_of(&fs::read_to_string(root().join(&path)).unwrap(), *part);
            read += text.len();
            for (regex, ban) in bans.iter().filter(|(_, ban)| *part != Part::Comments || ban.pattern != FREE_CLAUSE) {
                for words in regex.find_iter(&text).filter(|words| !is_fine(ban, words.as_str())) {
                    let line = text[..words.start()].matches('\n').count() + 1;
                    let words = words.as_str().split_whitespace().collect::<Vec<_>>().join(" ");
                    found.push(format!("{path}:{line}: \"{words}\": write {}", ban.instead));
                }
            }
        }
    }
    assert!(found.is_empty(), "{} places:\n{}", found.len(), found.join("\n"));
    assert!(read > 100_000, "only {read} bytes were read");
}

#[test]
fn each_pattern_of_the_prose_finds_what_it_is_for() {
    for ban in BANS {
        let regex = expression(ban);
        let found = regex.find(ban.finds).unwrap_or_else(|| panic!("{} does not find {:?}", ban.pattern, ban.finds));
        assert!(!is_fine(ban, found.as_str()), "{} passes over {:?}", ban.pattern, ban.finds);
        for fine in ban.fine {
            let sentence = format!("because {fine} file");
            assert!(regex.find_iter(&sentence).all(|words| is_fine(ban, words.as_str())), "{}: {fine}", ban.pattern);
        }
    }
}

#[test]
fn the_parts_of_a_file_are_told_apart() {
    let document = "a\n<!-- generated: x -->\nb\n<!-- end of: x -->\nc";
    assert_eq!(part_of(document, Part::Written), "a\n\n\n\nc");
    assert_eq!(part_of(document, Part::Generated), "\n\nb\n\n");
    let source = "//! one\nfn f() {\n    say(\"two \\\" three\"); // four\n}\n#[cfg(test)]\n\"five\"";
    assert_eq!(part_of(source, Part::Comments), "one\n\nfour\n\n\n");
    assert_eq!(part_of(source, Part::Texts), "\n\ntwo \\\" three\n\n\n");
    let spanning = "let text = \"one \\\n    two \\\n    three\"; // four\nsay(\"five\", \"six\");";
    assert_eq!(part_of(spanning, Part::Texts), "one \ntwo \nthree\nfive | six");
    assert_eq!(part_of("# one\ntwo", Part::All), "one\ntwo");
}

fn expression(ban: &Ban) -> Regex {
    Regex::new(&format!("(?m){}", ban.pattern.replace(' ', r"(?:[ \t]+|[ \t]*\n[ \t]*)"))).unwrap()
}

fn is_fine(ban: &Ban, words: &str) -> bool {
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    ban.fine.iter().any(|fine| words.to_lowercase().contains(&fine.to_lowercase()))
}

/// The lines of a part of a file; all other lines are empty, so that the numbers of the lines stay.
fn part_of(text: &str, part: Part) -> String {
    let quoted = Regex::new(r#""((?:[^"\\]|\\.)*)""#).unwrap();
    let (mut generated, mut tests, mut open) = (false, false, false);
    let lines = text.lines().map(|line| {
        tests |= line.trim() == "#[cfg(test)]";
        let bare = line.trim_start().trim_start_matches(['#', '/', '!']).trim_start();
        if let Some(rest) = line.strip_prefix("<!-- ") {
            generated = rest.starts_with("generated: ");
            return String::new();
        }
        match part {
            // The output of other programs.
            Part::All if line.starts_with("output = ") => String::new(),
            Part::All => bare.to_owned(),
            Part::Written if !generated => bare.to_owned(),
            Part::Generated if generated => bare.to_owned(),
            Part::Comments if !tests => match line.split_once("//") {
                Some((code, comment)) if code.trim().is_empty() || code.ends_with(' ') => {
                    comment.trim_start_matches(['/', '!']).trim_start().to_owned()
                }
                _ => String::new(),
            },
            Part::Texts if !tests && !line.trim_start().starts_with("//") => {
                let mut line = if open { format!("\"{}", line.trim_start()) } else { line.to_owned() };
                open = line.ends_with('\\') && quoted.replace_all(&line, "").contains('"');
                if open {
                    line.pop();
                    line.push('"');
                }
                quoted.captures_iter(&line).map(|text| text[1].to_owned()).collect::<Vec<_>>().join(" | ")
            }
            _ => String::new(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The files of a pattern, as paths from the root of the source: itself, or all below a folder.
fn files(pattern: &str) -> Vec<String> {
    match pattern.strip_suffix("/*") {
        None => Some(pattern.to_owned()).filter(|path| root().join(path).exists()).into_iter().collect(),
        Some(folder) => {
            let mut files = Vec::new();
            let mut folders = vec![root().join(folder)];
            while let Some(folder) = folders.pop() {
                for entry in fs::read_dir(folder).unwrap() {
                    let path = entry.unwrap().path();
                    let is_read = path.extension().is_some_and(|kind| kind == "toml" || kind == "rs" || kind == "tera");
                    if path.is_dir() {
                        folders.push(path);
                    } else if is_read && !path.ends_with("tests.rs") {
                        files.push(path.strip_prefix(root()).unwrap().display().to_string());
                    }
                }
            }
            files.sort();
            files
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
