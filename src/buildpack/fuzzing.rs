//! What a repository holds, for the fuzz targets.

use std::{fs, sync::LazyLock};

use super::{Buildpacks, app_json, manifest::Manifest, paas_toml, plan as plan_of, procfile, range::Range, word::Word};
use crate::tree::{DockerIgnore, Tree};

static BUILDPACKS: LazyLock<Buildpacks> = LazyLock::new(|| Buildpacks::load(None).expect("ours are well formed"));

/// The files that we define or read as a whole.
pub fn manifests(text: &str) {
    let _ = paas_toml::parse(text);
    let _ = app_json::parse(text);
    for (process, command) in procfile::parse("Procfile", text).unwrap_or_default() {
        assert!(!command.contains('\n'), "{process}: {command:?}");
    }
    if let Ok(ignore) = DockerIgnore::parse(".dockerignore", text) {
        for path in ["a", "a/b.c", "node_modules/x/y", ".git/config"] {
            let _ = ignore.excludes(path.as_ref());
        }
    }
    if let Ok(manifest) = toml::from_str::<Manifest>(text) {
        let _ = manifest.check(&std::collections::BTreeMap::new());
    }
}

/// A version, a word for one or a range, in each language.
pub fn versions(text: &str) {
    let _ = Word::parse(text);
    let _ = Range::parse(text);
    for buildpack in &BUILDPACKS.list {
        for rule in &buildpack.manifest.versions {
            let Ok(version) = rule.read_alone(text, "2026-11-21") else { continue };
            let is_plain = |character: char| character.is_ascii_alphanumeric() || "._-+".contains(character);
            assert!(version.chars().all(is_plain), "{}: {version:?}", buildpack.name);
        }
    }
}

/// A source: files, each a path, a line break, its content, and a zero byte. What comes of it is the same each time.
pub fn plan(bytes: &[u8]) {
    let directory = tempfile::tempdir().expect("a directory");
    for file in bytes.split(|byte| *byte == 0).take(20) {
        let mut halves = file.splitn(2, |byte| *byte == b'\n');
        let (Some(path), Some(content)) = (halves.next(), halves.next()) else { continue };
        let Ok(path) = std::str::from_utf8(path) else { continue };
        let is_inside = !path.is_empty() && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
        if !is_inside || path.len() > 100 {
            continue;
        }
        let path = directory.path().join(path);
        if path.parent().is_some_and(|parent| fs::create_dir_all(parent).is_ok()) {
            let _ = fs::write(path, content);
        }
    }
    let Ok(tree) = Tree::directory(directory.path()) else { return };
    let Ok(plan) = plan_of(&tree, &BUILDPACKS) else { return };
    let again = plan_of(&tree, &BUILDPACKS).expect("it was planned before");
    assert_eq!(plan.describe(), again.describe());
}
