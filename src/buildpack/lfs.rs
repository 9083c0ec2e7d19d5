//! Pointers of Git LFS (<https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>): small text files that stand for
//! large ones. The content is not in the repository, and is not served here, so what would be deployed is the pointers.

use std::path::Path;

use super::paas_toml::PaasToml;
use crate::{
    Error, Result,
    error::SourceError,
    tree::{DockerIgnore, Tree},
};

/// How a pointer begins; older ones name the version by another address.
const BEGINNINGS: [&[u8]; 2] =
    [b"version https://git-lfs.github.com/spec/", b"version https://hawser.github.com/spec/"];
/// How many bytes a pointer has: at least its version, a hash and a size; less than this by the specification.
const SIZES: std::ops::Range<u64> = 100..1024;
/// How many are named.
const NAMED: usize = 5;

/// Refuses pointers among the files that would be built in, unless `paas.toml` takes them as they are. Returns a note
/// about those that it takes.
///
/// # Errors
/// `SourceError::Unbuildable` with the names of the first files.
pub(super) fn check(tree: &Tree, ignore: &DockerIgnore, paas_toml: &PaasToml) -> Result<Option<String>> {
    let mut ignored = ignore.matcher();
    let mut pointers: Vec<&Path> = Vec::new();
    for entry in tree.files() {
        if tree.begins_with(entry, &SIZES, &BEGINNINGS)? && !ignored.excludes(&entry.path) {
            pointers.push(&entry.path);
        }
    }
    let mut names: Vec<String> = pointers.iter().take(NAMED).map(|path| path.display().to_string()).collect();
    if pointers.len() > NAMED {
        names.push(format!("and {} more", pointers.len() - NAMED));
    }
    let names = names.join(", ");
    if paas_toml.build.ignores_lfs && !pointers.is_empty() {
        return Ok(Some(format!("Git LFS: these are deployed as pointers, as paas.toml says: {names}")));
    }
    let message = match pointers.as_slice() {
        [] => return Ok(None),
        [_] => {
            format!("{names} is a pointer of Git LFS: its content is not in the repository, and paas cannot fetch it")
        }
        several => format!(
            "{} files are pointers of Git LFS: their content is not in the repository, and paas cannot fetch it: {names}",
            several.len()
        ),
    };
    let hint = "to put the content into the commits: `git lfs migrate export --everything --include=\"PATTERN\"`; to leave \
                the files out: list them in .dockerignore; to deploy the pointers: `lfs = \"ignore\"` under [build] in \
                paas.toml";
    Err(Error::Source(SourceError::Unbuildable { message, hint: hint.to_owned() }))
}
