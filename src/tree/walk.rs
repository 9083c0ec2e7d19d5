//! The walk through the trees of a commit and of its submodules. Each tree object is read once, however often it appears,
//! and what is below it is counted before any path is made: a tree of ten times the same tree, ten levels deep, has 10^10
//! paths and is refused after eleven objects.

use std::{
    collections::HashMap,
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    rc::Rc,
};

use git2::{ObjectType, Odb, Oid, Repository};

use super::{Entry, EntryKind, checked_name, open, unreadable};
use crate::{
    Error, Result,
    error::SourceError,
    model::property,
    work::{Work, bytes, over},
};

/// What an entry of a tree object takes beside its name: a mode, a space, a zero and an id.
const ENTRY_OVERHEAD: u64 = 28;
/// The largest commit object, in bytes: its message is not of use to us.
const COMMIT_LIMIT: usize = 16 << 20;
/// The file that has the addresses of submodules.
pub(super) const GITMODULES: &str = ".gitmodules";

/// What was found so far: of the app's own repository, then of its submodules.
pub(super) struct Walk {
    pub entries: Vec<Entry>,
    pub repositories: Vec<(PathBuf, Repository)>,
    work: Work,
    /// Files and directories.
    files: u64,
    /// The length of their paths.
    paths: u64,
}

/// The links of a commit to commits of other repositories.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// The path of each from the root of the source, and the commit.
    pub found: Vec<(PathBuf, Oid)>,
    /// The file with their addresses, if there is one.
    pub addresses: Option<Oid>,
}

/// A tree object.
struct Known {
    items: Rc<[Item]>,
    /// How many files and directories are below it; nothing until that is counted.
    counted: Option<Counted>,
}

/// What is below a tree, with paths that begin there.
#[derive(Clone, Copy, Default)]
struct Counted {
    files: u64,
    paths: u64,
    depth: u64,
}

struct Item {
    name: Box<OsStr>,
    kind: ItemKind,
    oid: Oid,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ItemKind {
    Tree,
    Module,
    Entry(EntryKind),
}

impl Walk {
    pub fn new(work: Work) -> Walk {
        Walk { entries: Vec::new(), repositories: Vec::new(), work, files: 0, paths: 0 }
    }

    /// Adds what a commit of a repository has, below `prefix`. Returns its time and its links.
    pub fn add(&mut self, path: &Path, commit: Oid, prefix: &Path) -> Result<(i64, Links)> {
        let repository = open(path)?;
        let (time, root) = {
            let odb = repository.odb().map_err(unreadable)?;
            if odb.read_header(commit).map_err(unreadable)?.0 > COMMIT_LIMIT {
                return Err(Error::Source(SourceError::Unreadable {
                    reason: format!("the commit object {commit} is larger than {}", bytes(COMMIT_LIMIT as u64)),
                }));
            }
            let commit = repository.find_commit(commit).map_err(unreadable)?;
            (commit.time().seconds(), commit.tree_id())
        };
        let known = self.count(&repository, root, prefix)?;
        let index = self.repositories.len();
        let links = self.expand(&known, root, prefix, index)?;
        self.repositories.push((path.to_owned(), repository));
        Ok((time, links))
    }

    /// Reads all tree objects once, and refuses more than the limits allow.
    fn count(&mut self, repository: &Repository, root: Oid, prefix: &Path) -> Result<HashMap<Oid, Known>> {
        let limits = *self.work.limits();
        let odb = repository.odb().map_err(unreadable)?;
        let mut known: HashMap<Oid, Known> = HashMap::new();
        let mut distinct = 0;
        let depth = prefix.components().count() as u64;
        // A stack rather than recursion: a hostile tree can be nested deeper than the thread's stack.
        let mut pending = vec![(root, depth)];
        while let Some(&(oid, depth)) = pending.last() {
            match known.get(&oid) {
                Some(Known { counted: Some(_), .. }) => drop(pending.pop()),
                Some(Known { items, counted: None }) => {
                    let counted = counted(items, &known);
                    if let Some(found) = known.get_mut(&oid) {
                        found.counted = Some(counted);
                    }
                    pending.pop();
                }
                None => {
                    self.work.check()?;
                    if depth > limits.depth {
                        return Err(too_deep(limits.depth));
                    }
                    let items = self.read_tree(repository, &odb, oid)?;
                    distinct += items.len() as u64;
                    if self.files.saturating_add(distinct) > limits.files {
                        return Err(too_many(None, limits.files));
                    }
                    let below = items.iter().filter(|item| item.kind == ItemKind::Tree);
                    pending.extend(below.map(|item| (item.oid, depth + 1)));
                    known.insert(oid, Known { items, counted: None });
                }
            }
        }
        let all = known.get(&root).and_then(|root| root.counted).unwrap_or_default();
        self.files = self.files.saturating_add(all.files);
        let of_prefix = all.files.saturating_mul(prefix.as_os_str().len() as u64 + 1);
        self.paths = self.paths.saturating_add(all.paths).saturating_add(of_prefix);
        if self.files > limits.files {
            return Err(too_many(Some(self.files), limits.files));
        }
        if self.paths > limits.paths {
            let what = format!("the paths of the commit are {} bytes long together", self.paths);
            return Err(over(what, bytes(limits.paths), &property::SOURCE_MAX_PATHS));
        }
        if depth + all.depth > limits.depth {
            return Err(too_deep(limits.depth));
        }
        Ok(known)
    }

    fn read_tree(&self, repository: &Repository, odb: &Odb<'_>, oid: Oid) -> Result<Rc<[Item]>> {
        let limits = self.work.limits();
        let (size, kind) = odb.read_header(oid).map_err(unreadable)?;
        if kind != ObjectType::Tree {
            return Err(Error::Source(SourceError::Unreadable { reason: format!("the object {oid} is not a tree") }));
        }
        if size as u64 > limits.paths.saturating_add(limits.files.saturating_mul(ENTRY_OVERHEAD)) {
            let what = format!("a directory of the commit has a list of {size} bytes");
            return Err(over(what, bytes(limits.paths), &property::SOURCE_MAX_PATHS));
        }
        let tree = repository.find_tree(oid).map_err(unreadable)?;
        if tree.len() as u64 > limits.files {
            return Err(too_many(None, limits.files));
        }
        let mut items = Vec::with_capacity(tree.len());
        for entry in tree.iter() {
            let kind = match entry.filemode_raw() & 0o170_000 {
                0o040_000 => ItemKind::Tree,
                0o160_000 => ItemKind::Module,
                0o120_000 => ItemKind::Entry(EntryKind::Symlink),
                _ if entry.filemode_raw() & 0o111 != 0 => ItemKind::Entry(EntryKind::Executable),
                _ => ItemKind::Entry(EntryKind::File),
            };
            items.push(Item { name: checked_name(entry.name_bytes())?.into(), kind, oid: entry.id() });
        }
        Ok(items.into())
    }

    /// Makes the entries of what was counted.
    fn expand(&mut self, known: &HashMap<Oid, Known>, root: Oid, prefix: &Path, repository: usize) -> Result<Links> {
        let mut links = Links::default();
        let mut pending = vec![(root, prefix.to_owned())];
        while let Some((oid, directory)) = pending.pop() {
            self.work.check()?;
            let items = known.get(&oid).map(|tree| Rc::clone(&tree.items)).unwrap_or_default();
            for item in &*items {
                let path = directory.join(&*item.name);
                match item.kind {
                    ItemKind::Tree => pending.push((item.oid, path)),
                    ItemKind::Module => links.found.push((path, item.oid)),
                    ItemKind::Entry(kind) => {
                        if directory == prefix && item.name.as_bytes() == GITMODULES.as_bytes() {
                            // Git does not follow a link here either.
                            links.addresses = (kind != EntryKind::Symlink).then_some(item.oid);
                        }
                        self.entries.push(Entry { path, kind, object: Some((repository, item.oid)) });
                    }
                }
            }
        }
        Ok(links)
    }

    /// All entries, sorted by path.
    pub fn sorted(&mut self) -> Result<Vec<Entry>> {
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_by(|left, right| left.path.cmp(&right.path));
        for pair in entries.windows(2) {
            // `a` and `a/b`, or `a` twice: a file below a link would be written to where the link points.
            if pair[1].path.starts_with(&pair[0].path) {
                return Err(Error::Source(SourceError::Unreadable {
                    reason: format!("the commit contains {:?} twice", pair[0].path),
                }));
            }
        }
        Ok(entries)
    }
}

/// Counts what is below a tree, all of whose trees are counted.
fn counted(items: &[Item], known: &HashMap<Oid, Known>) -> Counted {
    let mut sum = Counted::default();
    for item in items {
        let name = item.name.len() as u64;
        sum.files = sum.files.saturating_add(1);
        sum.paths = sum.paths.saturating_add(name);
        if item.kind == ItemKind::Tree {
            let below = known.get(&item.oid).and_then(|tree| tree.counted).unwrap_or_default();
            sum.files = sum.files.saturating_add(below.files);
            sum.paths = sum.paths.saturating_add(below.paths).saturating_add(below.files.saturating_mul(name + 1));
            sum.depth = sum.depth.max(below.depth + 1);
        }
    }
    sum
}

fn too_many(found: Option<u64>, limit: u64) -> Error {
    let what = match found {
        Some(u64::MAX) | None => "the commit has too many files and directories".to_owned(),
        Some(found) => format!("the commit has {found} files and directories"),
    };
    over(what, limit.to_string(), &property::SOURCE_MAX_FILES)
}

fn too_deep(limit: u64) -> Error {
    over("the directories of the commit are nested too deeply", limit.to_string(), &property::SOURCE_MAX_DEPTH)
}
