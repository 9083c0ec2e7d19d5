//! Submodules: each commit that a repository links to is fetched into a bare repository of its own, once, and the tree
//! is then read from there. Their addresses come from the pusher: `addresses` says which are allowed.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use git2::{Oid, Repository};
use sha2::{Digest, Sha256};
use tokio::process::Command;

use super::{
    addresses::{Address, Told, without_password},
    walk::{GITMODULES, Links},
};
use crate::{
    Error, Result,
    error::{HostError, SourceError},
    exec,
    model::{CommitId, property},
    work::{Work, bytes, over},
};

/// How deeply submodules may be nested.
const DEPTH_LIMIT: usize = 5;

/// How many submodules a source may have in total.
const COUNT_LIMIT: usize = 100;

/// How many times a server may redirect to another address.
const REDIRECTS: usize = 5;

/// The largest `.gitmodules` that is read, in bytes.
const GITMODULES_LIMIT: usize = 1 << 20;

/// How much of what git reports about a connection is read, in bytes.
const TRACE_LIMIT: u64 = 1 << 20;

/// The signal that ends a program that writes too large a file.
const SIGXFSZ: i32 = nix::libc::SIGXFSZ;

/// What git and ssh say of every failure, and what says nothing of its cause.
const BOILERPLATE: [&str; 4] = [
    "fatal: Could not read from remote repository.",
    "Please make sure you have the correct access rights",
    "and the repository exists.",
    "Warning: Permanently added",
];

/// A link to a commit of another repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Submodule {
    /// Its path from the root of the source.
    pub path: PathBuf,
    /// The linked commit.
    pub commit: CommitId,
    address: Address,
}

/// Refuses a submodule that is nested too deeply, or one too many.
pub(super) fn check_number(path: &Path, depth: usize, fetched: usize) -> Result<()> {
    if depth < DEPTH_LIMIT && fetched < COUNT_LIMIT {
        return Ok(());
    }
    Err(Error::Source(SourceError::Submodule {
        path: path.display().to_string(),
        reason: format!("submodules are nested deeper than {DEPTH_LIMIT}, or more than {COUNT_LIMIT}"),
        hint: "check whether a submodule contains itself".to_owned(),
    }))
}

/// The submodules of a commit, with the addresses that its `.gitmodules` has for them.
pub(super) async fn of(repository: &Path, prefix: &Path, links: Links, work: &Work) -> Result<Vec<Submodule>> {
    if links.found.is_empty() {
        return Ok(Vec::new());
    }
    let addresses = match links.addresses {
        Some(file) => addresses(repository, file, work).await?,
        None => BTreeMap::new(),
    };
    let found = links.found.into_iter().map(|(path, commit)| {
        let own = path.strip_prefix(prefix).unwrap_or(&path);
        match addresses.get(own) {
            Some(url) => Ok(Submodule { address: Address::parse(&path, url)?, commit: commit.into(), path }),
            None => Err(Error::Source(SourceError::Submodule {
                path: path.display().to_string(),
                reason: "it is a link to a commit of another repository, and .gitmodules has no url for it".to_owned(),
                hint: format!(
                    "`git submodule add URL {path}` makes it a submodule; \
                     `git rm --cached {path}` and `git add {path}/.` take its files in",
                    path = own.display()
                ),
            })),
        }
    });
    found.collect()
}

/// The content of `.gitmodules`: paths and addresses. Git reads it, and reads nothing else: no file that it includes.
async fn addresses(repository: &Path, file: Oid, work: &Work) -> Result<BTreeMap<PathBuf, String>> {
    let malformed = |message: String| {
        Error::Source(SourceError::File {
            file: GITMODULES.to_owned(),
            line: None,
            message,
            hint: "check it with `git submodule status`, which reads the same file".to_owned(),
        })
    };
    let path = repository.to_owned();
    let size = work.aside(move || {
        let repository = super::open(&path)?;
        let odb = repository.odb().map_err(super::unreadable)?;
        odb.read_header(file).map(|(size, _)| size).map_err(super::unreadable)
    });
    if size.await? > GITMODULES_LIMIT {
        return Err(malformed(format!("it has more than {GITMODULES_LIMIT} bytes, the limit for such a file")));
    }
    let mut command = git(repository);
    command.args(["config", "--no-includes", "--blob", &file.to_string(), "--list", "-z"]);
    let listed = exec::output_bounded(command, 0, work).await.map_err(|error| match error {
        Error::Host(HostError::Program { stderr, .. }) => {
            let said = stderr.replace(&format!("blob {file}"), GITMODULES);
            malformed(said.trim_start_matches("fatal: ").trim_start_matches("error: ").to_owned())
        }
        other => other,
    })?;
    let mut paths = BTreeMap::new();
    let mut urls = BTreeMap::new();
    for entry in String::from_utf8_lossy(&listed).split('\0') {
        let Some((name, value)) = entry.split_once('\n') else { continue };
        let Some(name) = name.strip_prefix("submodule.") else { continue };
        if let Some(name) = name.strip_suffix(".path") {
            paths.insert(name.to_owned(), PathBuf::from(value.trim_end_matches('/')));
        } else if let Some(name) = name.strip_suffix(".url") {
            urls.insert(name.to_owned(), value.to_owned());
        }
    }
    Ok(paths.into_iter().filter_map(|(name, path)| Some((path, urls.remove(&name)?))).collect())
}

/// Fetches a submodule into a bare repository below `cache`, if its commit is missing there; returns where.
pub(super) async fn fetch(module: &Submodule, cache: &Path, work: &Work) -> Result<PathBuf> {
    let key: String = Sha256::digest(&module.address.text).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let target = cache.join(format!("{key}.git"));
    if has_commit(&target, module.commit) {
        return Ok(target);
    }
    let seconds = work.limits().fetching;
    let fetched = tokio::time::timeout(Duration::from_secs(seconds), fetch_to(module, &target, work)).await;
    fetched.map_err(|_| {
        let what = format!("fetching the submodule {} takes too long", module.path.display());
        over(what, format!("{seconds} seconds"), &property::SUBMODULE_MAX_TIME)
    })??;
    Ok(target)
}

async fn fetch_to(module: &Submodule, target: &Path, work: &Work) -> Result<()> {
    let Submodule { path, commit, .. } = module;
    let mut address = module.address.clone();
    for _ in 0..=REDIRECTS {
        let told = address.told(path, work).await?;
        // Only now: what is refused leaves nothing behind.
        if !target.join("HEAD").is_file() {
            std::fs::create_dir_all(target).map_err(Error::io(format!("make {}", target.display())))?;
            let mut init = git(target);
            init.args(["init", "--quiet", "--bare", "."]);
            exec::output(init).await?;
        }
        let one = commit.to_string();
        match fetch_refs(target, &told, &["--depth=1"], &[&one], work).await {
            Ok(()) if has_commit(target, *commit) => return Ok(()),
            Err(error @ Error::Source(SourceError::Limit { .. })) => return Err(error),
            _ => {}
        }
        // Not every server lets clients fetch a commit by its id.
        let all = ["+refs/heads/*:refs/remotes/heads/*", "+refs/tags/*:refs/remotes/tags/*"];
        match fetch_refs(target, &told, &[], &all, work).await {
            Ok(()) if has_commit(target, *commit) => return Ok(()),
            Ok(()) => {
                return Err(Error::Source(SourceError::Submodule {
                    path: path.display().to_string(),
                    reason: format!("{} does not have the commit {}", without_password(&address.text), commit.short()),
                    hint: "push the commit in the submodule's own repository, then push again".to_owned(),
                }));
            }
            Err(Error::Host(HostError::Program { stderr, .. })) => {
                // Each address that a server redirects to is looked at as the first one was.
                let moved = address.can_redirect() && stderr.contains("returned error: 30");
                match if moved { location(target, &told, work).await? } else { None } {
                    Some(location) => address = address.redirected(path, &location)?,
                    None => return Err(failed(module, &told, &address, &stderr)),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Err(failed(module, &Told::default(), &address, &format!("it redirects more than {REDIRECTS} times")))
}

/// Runs `git fetch` with what it is to fetch.
pub(super) async fn fetch_refs(target: &Path, told: &Told, options: &[&str], what: &[&str], work: &Work) -> Result<()> {
    let mut fetch = git(target);
    fetch.args(&told.settings).envs(told.variables.iter().map(|(name, value)| (*name, value)));
    fetch.args(["fetch", "--quiet", "--no-tags", "--no-write-fetch-head"]).args(options);
    fetch.args(["--", &told.address]).args(what);
    let most = work.limits().size;
    exec::output_bounded(fetch, most, work).await.map(drop).map_err(|error| match error {
        Error::Host(HostError::Program { stderr, .. })
            if stderr.contains("File too large") || stderr.contains(&format!("died of signal {SIGXFSZ}")) =>
        {
            over("what a submodule's server sends is too large", bytes(most), &property::SOURCE_MAX_SIZE)
        }
        other => other,
    })
}

/// Where a server redirects to. Git does not say, but it reports the headers of answers if it is asked to.
pub(super) async fn location(target: &Path, told: &Told, work: &Work) -> Result<Option<String>> {
    let trace = tempfile::NamedTempFile::new_in(target).map_err(Error::io("make a temporary file"))?;
    let mut ask = git(target);
    ask.args(&told.settings).envs(told.variables.iter().map(|(name, value)| (*name, value)));
    ask.env("GIT_TRACE_CURL", trace.path()).env("GIT_TRACE_CURL_NO_DATA", "1");
    ask.args(["ls-remote", "--quiet", "--", &told.address]);
    match exec::output_bounded(ask, TRACE_LIMIT, work).await {
        Ok(_) | Err(Error::Host(HostError::Program { .. })) => {}
        Err(error) => return Err(error),
    }
    let text = std::fs::read(trace.path()).map_err(Error::io("read what git reports of a connection"))?;
    let text = String::from_utf8_lossy(&text);
    let headers = text.lines().filter_map(|line| line.split_once("Recv header: ")?.1.split_once(':'));
    let mut locations = headers.filter(|(name, _)| name.eq_ignore_ascii_case("location"));
    Ok(locations.next_back().map(|(_, location)| location.trim().to_owned()))
}

/// The error of a submodule, from what git said.
fn failed(module: &Submodule, told: &Told, address: &Address, stderr: &str) -> Error {
    let shown = without_password(&address.text);
    let said = stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    let said: Vec<&str> = said.filter(|line| !BOILERPLATE.iter().any(|words| line.starts_with(words))).collect();
    let first = said.iter().position(|line| line.starts_with("fatal: ") || line.starts_with("ERROR: ")).unwrap_or(0);
    let reason = said.get(first).copied().unwrap_or("git could not read from it, and did not say why");
    let mut reason = reason.trim_start_matches("fatal: ").replace(&address.text, &shown);
    if !told.address.is_empty() {
        reason = reason.replace(&told.address, &shown);
    }
    Error::Source(SourceError::Submodule {
        path: module.path.display().to_string(),
        reason,
        hint: format!(
            "check that commit {} was pushed to {shown} and that this server may read it; \
             a private repository can be reached with a deploy token in its https:// address",
            module.commit.short(),
        ),
    })
}

/// Whether a repository has a commit and its files.
fn has_commit(repository: &Path, commit: CommitId) -> bool {
    Repository::open_bare(repository)
        .is_ok_and(|repository| repository.find_commit(commit.oid()).and_then(|commit| commit.tree().map(drop)).is_ok())
}

/// git in a bare repository, without prompts and with network protocols only.
pub(super) fn git(repository: &Path) -> Command {
    let mut command = exec::command("git");
    command
        .current_dir(repository)
        .env("GIT_ALLOW_PROTOCOL", "https:http:git:ssh")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ASKPASS", "true")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .args(["-c", "credential.helper=", "-c", "gc.auto=0", "-c", "core.hooksPath=/dev/null"])
        // If the server stops sending, the fetch ends, so that the pusher does not wait forever.
        .args(["-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60"]);
    command
}
