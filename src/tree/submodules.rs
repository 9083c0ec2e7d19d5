//! Submodules: each commit that a repository links to is fetched into a bare repository of its own, once, and the tree
//! is then read from there. Their addresses come from the pusher, so only network protocols are allowed, and no part of
//! an address can become an option of git.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use git2::{Oid, Repository};
use sha2::{Digest, Sha256};
use tokio::process::Command;
use url::Url;

use super::{blob, checked_name, open, unreadable};
use crate::{
    Error, Result,
    error::{HostError, SourceError},
    exec,
    model::CommitId,
};

/// How deeply submodules may be nested.
const DEPTH_LIMIT: usize = 5;

/// How many submodules a source may have in total.
const COUNT_LIMIT: usize = 100;

/// The submodules of a commit, and where their objects are.
#[derive(Clone, Debug, Default)]
pub struct Submodules(Vec<Submodule>);

/// A fetched submodule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submodule {
    /// Its path from the root of the source.
    pub path: PathBuf,
    /// The linked commit.
    pub commit: CommitId,
    /// The bare repository that has the commit.
    pub repository: PathBuf,
}

impl Submodules {
    /// All of them, outer ones before those within.
    #[cfg(test)]
    pub fn all(&self) -> &[Submodule] {
        &self.0
    }

    pub(super) fn find(&self, path: &Path, commit: Oid) -> Option<&Submodule> {
        self.0.iter().find(|module| module.path == path && module.commit.oid() == commit)
    }
}

/// Fetches the submodules of a commit, and theirs, into bare repositories below `cache`; those that are already there
/// are not fetched again.
///
/// # Errors
/// `SourceError::Submodule` with the submodule that cannot be fetched and why; `SourceError::Unreadable` if the
/// repository is damaged.
pub async fn fetch(repository: &Path, commit: CommitId, cache: &Path) -> Result<Submodules> {
    let mut found = Vec::new();
    let mut pending = vec![(repository.to_owned(), commit, PathBuf::new(), 0)];
    while let Some((repository, commit, prefix, depth)) = pending.pop() {
        for link in links(&repository, commit, &prefix)? {
            let name = link.path.display().to_string();
            if depth == DEPTH_LIMIT || found.len() == COUNT_LIMIT {
                return Err(Error::Source(SourceError::Submodule {
                    path: name,
                    reason: format!("submodules are nested deeper than {DEPTH_LIMIT}, or more than {COUNT_LIMIT}"),
                    hint: "check whether a submodule contains itself".to_owned(),
                }));
            }
            let address = checked_address(&name, &link.url)?;
            let key: String = Sha256::digest(&address).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
            let target = cache.join(format!("{key}.git"));
            fetch_one(&name, &address, link.commit, &target).await?;
            pending.push((target.clone(), link.commit, link.path.clone(), depth + 1));
            found.push(Submodule { path: link.path, commit: link.commit, repository: target });
        }
    }
    Ok(Submodules(found))
}

/// A link to a commit of another repository.
#[derive(Debug, PartialEq, Eq)]
struct Link {
    path: PathBuf,
    url: String,
    commit: CommitId,
}

/// The links of a commit, with the addresses that its `.gitmodules` has for them.
fn links(repository: &Path, commit: CommitId, prefix: &Path) -> Result<Vec<Link>> {
    let repository = open(repository)?;
    let root = repository.find_commit(commit.oid()).map_err(unreadable)?.tree().map_err(unreadable)?;
    let mut gitlinks = Vec::new();
    let mut pending = vec![(root.id(), PathBuf::new())];
    while let Some((tree, directory)) = pending.pop() {
        if directory.components().count() > 200 {
            return Err(Error::Source(SourceError::Unreadable {
                reason: format!("the directory {directory:?} is nested too deeply"),
            }));
        }
        for entry in repository.find_tree(tree).map_err(unreadable)?.iter() {
            match entry.filemode_raw() & 0o170_000 {
                0o040_000 => pending.push((entry.id(), directory.join(checked_name(entry.name_bytes())?))),
                0o160_000 => gitlinks.push((directory.join(checked_name(entry.name_bytes())?), entry.id())),
                _ => {}
            }
        }
    }
    if gitlinks.is_empty() {
        return Ok(Vec::new());
    }
    let addresses = match root.get_name(".gitmodules") {
        Some(entry) => addresses(&repository, entry.id())?,
        None => BTreeMap::new(),
    };
    gitlinks
        .into_iter()
        .map(|(path, commit)| {
            let full = prefix.join(&path);
            match addresses.get(&path) {
                Some(url) => Ok(Link { path: full, url: url.clone(), commit: commit.into() }),
                None => Err(Error::Source(SourceError::Submodule {
                    path: full.display().to_string(),
                    reason: "it is a link to a commit of another repository, and .gitmodules has no url for it"
                        .to_owned(),
                    hint: format!(
                        "`git submodule add URL {path}` makes it a submodule; \
                         `git rm --cached {path}` and `git add {path}/.` take its files in",
                        path = path.display()
                    ),
                })),
            }
        })
        .collect()
}

/// The content of `.gitmodules`: paths and addresses.
fn addresses(repository: &Repository, file: Oid) -> Result<BTreeMap<PathBuf, String>> {
    let malformed = |error: git2::Error| {
        Error::Source(SourceError::File {
            file: ".gitmodules".to_owned(),
            line: None,
            message: error.message().to_owned(),
            hint: "check it with `git submodule status`, which reads the same file".to_owned(),
        })
    };
    // libgit2 reads configuration only from files.
    let copy = tempfile::NamedTempFile::new().map_err(Error::io("make a temporary file"))?;
    std::fs::write(copy.path(), blob(repository, file)?).map_err(Error::io("write a temporary file"))?;
    let config = git2::Config::open(copy.path()).map_err(malformed)?;
    let mut paths = BTreeMap::new();
    let mut urls = BTreeMap::new();
    let mut entries = config.entries(Some("submodule\\..*")).map_err(malformed)?;
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(malformed)?;
        let (Ok(name), Ok(value)) = (entry.name(), entry.value()) else { continue };
        if let Some(name) = name.strip_suffix(".path") {
            paths.insert(name.to_owned(), PathBuf::from(value.trim_end_matches('/')));
        } else if let Some(name) = name.strip_suffix(".url") {
            urls.insert(name.to_owned(), value.to_owned());
        }
    }
    Ok(paths.into_iter().filter_map(|(name, path)| Some((path, urls.remove(&name)?))).collect())
}

/// An address with one of the network protocols.
fn checked_address(path: &str, address: &str) -> Result<String> {
    let refused = |reason: &str| {
        Err(Error::Source(SourceError::Submodule {
            path: path.to_owned(),
            reason: format!("{} {reason}", without_password(address)),
            hint: format!(
                "write its full https:// or ssh:// address: `git submodule set-url {path} https://HOST/OWNER/NAME.git`, \
                 then commit .gitmodules and push again"
            ),
        }))
    };
    if address.chars().any(|character| character.is_control() || character == ' ') {
        return refused("is not a valid address");
    }
    if address.starts_with("./") || address.starts_with("../") {
        return refused("is relative, and the server does not know what it is relative to");
    }
    if let Some((scheme, rest)) = address.split_once("://") {
        if !["https", "http", "git", "ssh"].contains(&scheme) {
            return refused("does not use https, http, git or ssh");
        }
        return match Url::parse(address) {
            // A host or user that begins with a dash would be read by ssh as an option.
            Ok(url) if url.host_str().is_some_and(|host| !host.starts_with('-')) && !rest.starts_with('-') => {
                Ok(address.to_owned())
            }
            _ => refused("is not a valid address"),
        };
    }
    // The short form of ssh: user@host:path.
    if let Some((host, rest)) = address.split_once(':')
        && !rest.starts_with(':')
    {
        let word = |text: &str| {
            !text.is_empty()
                && !text.starts_with('-')
                && text.chars().all(|character| character.is_ascii_alphanumeric() || "._-".contains(character))
        };
        let (user, host) = host.split_once('@').unwrap_or(("git", host));
        if word(user) && word(host) && !rest.is_empty() && !rest.starts_with('-') {
            return Ok(address.to_owned());
        }
    }
    refused("does not use https, http, git or ssh")
}

/// An address that is safe to show: a token in it is hidden.
fn without_password(address: &str) -> String {
    match Url::parse(address) {
        Ok(mut url) if url.has_host() && !(url.username().is_empty() && url.password().is_none()) => {
            let cleared = url.set_username("").and_then(|()| url.set_password(None));
            cleared.map_or_else(|()| "its address".to_owned(), |()| url.to_string())
        }
        _ => address.to_owned(),
    }
}

/// Fetches a commit into a bare repository, if it is missing.
async fn fetch_one(path: &str, address: &str, commit: CommitId, target: &Path) -> Result<()> {
    if has_commit(target, commit) {
        return Ok(());
    }
    let failed = |error: Error| match error {
        Error::Host(HostError::Program { stderr, .. }) => {
            let reason = stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("git failed");
            Error::Source(SourceError::Submodule {
                path: path.to_owned(),
                reason: reason.replace(address, &without_password(address)),
                hint: format!(
                    "check that commit {} was pushed to {} and that this server may read it; \
                     a private repository can be reached with a deploy token in its https:// address",
                    commit.short(),
                    without_password(address)
                ),
            })
        }
        other => other,
    };
    if !target.join("HEAD").is_file() {
        std::fs::create_dir_all(target).map_err(Error::io(format!("make {}", target.display())))?;
        let mut init = git(target);
        init.args(["init", "--quiet", "--bare", "."]);
        exec::output(init).await?;
    }
    let mut one = git(target);
    one.args(["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--depth=1", "--", address]);
    one.arg(commit.to_string());
    if exec::output(one).await.is_ok() && has_commit(target, commit) {
        return Ok(());
    }
    // Not every server lets clients fetch a commit by its id.
    let mut all = git(target);
    all.args(["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", address]);
    all.args(["+refs/heads/*:refs/remotes/heads/*", "+refs/tags/*:refs/remotes/tags/*"]);
    exec::output(all).await.map_err(failed)?;
    if has_commit(target, commit) {
        return Ok(());
    }
    Err(Error::Source(SourceError::Submodule {
        path: path.to_owned(),
        reason: format!("{} does not have the commit {}", without_password(address), commit.short()),
        hint: "push the commit in the submodule's own repository, then push again".to_owned(),
    }))
}

/// Whether a repository has a commit and its files.
fn has_commit(repository: &Path, commit: CommitId) -> bool {
    Repository::open_bare(repository)
        .is_ok_and(|repository| repository.find_commit(commit.oid()).and_then(|commit| commit.tree().map(drop)).is_ok())
}

/// git in a bare repository, without prompts and with network protocols only.
fn git(repository: &Path) -> Command {
    let mut command = exec::command("git");
    command
        .current_dir(repository)
        .env("GIT_ALLOW_PROTOCOL", "https:http:git:ssh")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ASKPASS", "true")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o ConnectTimeout=15")
        .args(["-c", "credential.helper=", "-c", "gc.auto=0", "-c", "core.hooksPath=/dev/null"])
        // If the server stops sending, the fetch ends, so that the pusher does not wait forever.
        .args(["-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60"]);
    command
}
