//! Files and parts of documents that are generated and committed are up to date: completions, the manual, parts of the
//! reference, the README's table of buildpacks. `UPDATE=1 cargo test generated` writes them again.

use std::{collections::BTreeSet, fs, path::Path};

/// The documents with generated parts.
const DOCUMENTS: [&str; 2] = ["docs/reference.md", "README.md"];

#[test]
fn generated_files_are_fresh() {
    let update = std::env::var_os("UPDATE").is_some();
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let generated = paas::cli::generated().unwrap();
    let mut files = generated.files;

    let mut documents = DOCUMENTS.map(|path| (path.to_owned(), fs::read_to_string(source.join(path)).unwrap()));
    for (name, text) in &generated.reference {
        let (begin, end) = (format!("<!-- generated: {name} -->\n"), format!("<!-- end of: {name} -->"));
        let document = documents.iter_mut().find(|(_, document)| document.contains(&begin));
        let (path, document) = document.unwrap_or_else(|| panic!("no document has {begin}"));
        let (head, rest) = document.split_once(&begin).unwrap();
        let (_, tail) = rest.split_once(&end).unwrap_or_else(|| panic!("{path} does not have {end}"));
        *document = format!("{head}{begin}\n{}\n\n{end}{tail}", text.trim());
    }
    files.extend(documents);

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
