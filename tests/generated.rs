//! What is generated from the command tree and committed is fresh: completions, the manual, parts of the reference.
//! `UPDATE=1 cargo test generated` writes it anew.

use std::{collections::BTreeSet, fs, path::Path};

const REFERENCE: &str = "docs/reference.md";

#[test]
fn generated_files_are_fresh() {
    let update = std::env::var_os("UPDATE").is_some();
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let generated = paas::cli::generated().unwrap();
    let mut files = generated.files;

    let mut reference = fs::read_to_string(source.join(REFERENCE)).unwrap();
    for (name, text) in &generated.reference {
        let (begin, end) = (format!("<!-- generated: {name} -->\n"), format!("<!-- end of: {name} -->"));
        let (head, rest) = reference.split_once(&begin).unwrap_or_else(|| panic!("{REFERENCE} has no {begin}"));
        let (_, tail) = rest.split_once(&end).unwrap_or_else(|| panic!("{REFERENCE} has no {end}"));
        reference = format!("{head}{begin}\n{}\n\n{end}{tail}", text.trim());
    }
    files.push((REFERENCE.to_owned(), reference));

    let mut stale = Vec::new();
    for (path, text) in &files {
        if fs::read_to_string(source.join(path)).ok().as_ref() != Some(text) {
            stale.push(path.clone());
            if update {
                fs::create_dir_all(source.join(path).parent().unwrap()).unwrap();
                fs::write(source.join(path), text).unwrap();
            }
        }
    }
    // The page of a command that is gone.
    let known: BTreeSet<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
    for directory in ["completions", "man"] {
        for entry in fs::read_dir(source.join(directory)).into_iter().flatten() {
            let path = format!("{directory}/{}", entry.unwrap().file_name().to_str().unwrap());
            if !known.contains(path.as_str()) {
                if update {
                    fs::remove_file(source.join(&path)).unwrap();
                }
                stale.push(path);
            }
        }
    }
    assert!(update || stale.is_empty(), "stale: {}\nhint: UPDATE=1 cargo test generated", stale.join(", "));
}
