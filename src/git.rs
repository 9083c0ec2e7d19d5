//! Bare repositories, their references, and the hooks git runs in a push.

#[cfg(fuzzing)]
pub mod fuzzing;
mod incoming;
mod receive;

use std::path::Path;

pub use incoming::Incoming;
pub use receive::{ProcReceive, RefUpdate, read_updates, refuse_service};

use crate::{
    Error, Result,
    error::{SourceError, UsageError},
    exec, files,
    model::{AppName, BranchName, CommitId, DeployId},
    settings::Paths,
};

/// The names under which git runs this binary, as links in the hooks directory.
pub const HOOKS: [&str; 2] = ["pre-receive", "proc-receive"];

/// What git clients ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// git-receive-pack(1): a push.
    Receive,
    /// git-upload-pack(1): a fetch.
    Upload,
    /// git-upload-archive(1): an archive of a tree.
    Archive,
}

impl Service {
    /// The service that the first word of a session's command asks for, if it is one.
    pub fn of(word: &str) -> Option<Service> {
        match word {
            "git-receive-pack" => Some(Service::Receive),
            "git-upload-pack" => Some(Service::Upload),
            "git-upload-archive" => Some(Service::Archive),
            _ => None,
        }
    }

    /// The command of git that serves it.
    pub fn command(self) -> &'static str {
        match self {
            Service::Receive => "receive-pack",
            Service::Upload => "upload-pack",
            Service::Archive => "upload-archive",
        }
    }
}

/// The words by which Git LFS asks for large files over SSH (git-lfs-authenticate, and git-lfs-transfer in newer ones).
const LFS_WORDS: [&str; 2] = ["git-lfs-authenticate", "git-lfs-transfer"];

/// What is said to Git LFS in place of the service that it asks for, in the one line that it shows; nothing if the first
/// word of a session's command is another.
pub fn lfs_refusal(word: &str) -> Option<&'static str> {
    LFS_WORDS.contains(&word).then_some(
        "Git LFS is not served here: take the files out of it with `git lfs migrate export --everything \
         --include=PATTERN`, or list them in .dockerignore and push with `git push --no-verify`",
    )
}

/// How the repositories are set up: what they need to be bare ones, and what makes a push of a branch a deploy.
const CONFIG: [(&str, &str); 7] = [
    ("core.repositoryformatversion", "0"),
    ("core.bare", "true"),
    // The proc-receive hook moves the branches itself; git moves the rest.
    ("receive.procReceiveRefs", "refs/heads/"),
    ("receive.autogc", "false"),
    ("receive.advertisePushOptions", "true"),
    // Larger files git takes in and gives out piece by piece, and not as a whole in its memory.
    ("core.bigFileThreshold", "4m"),
    // What pins the commits of running deploys is nobody's business.
    ("transfer.hideRefs", "refs/paas"),
];

/// Makes an app's bare repository where it is missing, and sets right what is not as it should be in one that is there:
/// without its config, a push would not be a deploy.
///
/// # Errors
/// [`Error::Host`], `SourceError::Unreadable`.
pub fn create_repository(paths: &Paths, app: &AppName) -> Result<()> {
    install_hooks(paths)?;
    let path = paths.repository(app);
    let failed = |error: git2::Error| {
        Error::Source(SourceError::Unreadable { reason: format!("{}: {}", path.display(), error.message()) })
    };
    files::make_kept_directory(&path)?;
    let (head, config) = (path.join("HEAD"), path.join("config"));
    let is_head = |text: &str| text.starts_with("ref: refs/heads/") || text.trim().parse::<CommitId>().is_ok();
    if !files::read_ours(&head)?.is_some_and(|text| is_head(&text)) {
        files::clear(&head)?;
    }
    let hooks = paths.hooks();
    let hooks = hooks
        .to_str()
        .ok_or_else(|| Error::Usage(UsageError::Settings { message: "PAAS_ROOT is not UTF-8".to_owned() }))?;
    let set_up = || -> Result<(), git2::Error> {
        if !head.exists() || !config.exists() || git2::Repository::open_bare(&path).is_err() {
            let mut options = git2::RepositoryInitOptions::new();
            options.bare(true).external_template(false).initial_head("main");
            git2::Repository::init_opts(&path, &options)?;
        }
        let mut config = git2::Config::open(&config)?;
        for (name, value) in CONFIG.into_iter().chain([("core.hooksPath", hooks)]) {
            if !config.get_string(name).is_ok_and(|set| set == value) {
                config.set_str(name, value)?;
            }
        }
        Ok(())
    };
    let is_text = files::read_ours(&config)?.is_some_and(|text| !text.contains(['\0', char::REPLACEMENT_CHARACTER]));
    if !is_text || set_up().is_err() {
        // Its config is what can be spoilt, and is written anew.
        files::clear(&config)?;
        set_up().map_err(failed)?;
    }
    Ok(())
}

/// Makes the links by which git finds this binary as its hooks, or sets them right after the binary moved.
///
/// # Errors
/// [`Error::Host`].
pub fn install_hooks(paths: &Paths) -> Result<()> {
    let binary = exec::own_binary()?;
    for name in HOOKS {
        let link = paths.hooks().join(name);
        if std::fs::read_link(&link).is_ok_and(|target| target == binary) {
            continue;
        }
        files::link(&binary, &link)?;
    }
    Ok(())
}

/// Keeps a deployment's commit from being collected, whatever happens to the branch.
///
/// # Errors
/// `SourceError::Unreadable`.
pub fn pin(repository: &Path, deployment: DeployId, commit: CommitId) -> Result<()> {
    set_reference(repository, &pin_name(deployment), commit)
}

/// Lets go of what [`pin`] kept. Only for who alone may do so.
///
/// # Errors
/// `SourceError::Unreadable`, [`Error::Host`].
pub fn unpin(repository: &Path, deployment: DeployId) -> Result<()> {
    free(repository, &pin_name(deployment))?;
    let repository = open(repository)?;
    let removed = repository.find_reference(&pin_name(deployment)).and_then(|mut reference| reference.delete());
    match removed {
        Err(error) if error.code() != git2::ErrorCode::NotFound => Err(failed(&error)),
        _ => Ok(()),
    }
}

/// Moves a branch to a commit that is in the repository, and makes it the one that a clone checks out. Only for who
/// holds the app's lock.
///
/// # Errors
/// `SourceError::Unreadable`, [`Error::Host`].
pub fn move_branch(path: &Path, branch: &BranchName, commit: CommitId) -> Result<()> {
    free(path, &branch.reference())?;
    free(path, "HEAD")?;
    set_reference(path, &branch.reference(), commit)?;
    open(path)?.set_head(&branch.reference()).map_err(|error| failed(&error))
}

/// Where a branch is, if somebody who knew it at `known` would undo what came since by moving it to `new`: a push that
/// waited for another one is judged by what that one left.
///
/// # Errors
/// `SourceError::Unreadable`.
pub fn moved_away(
    path: &Path,
    branch: &BranchName,
    known: Option<CommitId>,
    new: CommitId,
) -> Result<Option<CommitId>> {
    let repository = open(path)?;
    let current = match repository.refname_to_id(&branch.reference()) {
        Ok(oid) => CommitId::from(oid),
        Err(error) if error.code() == git2::ErrorCode::NotFound => return Ok(None),
        Err(error) => return Err(failed(&error)),
    };
    if known == Some(current) || current == new {
        return Ok(None);
    }
    let follows = repository.graph_descendant_of(new.oid(), current.oid()).map_err(|error| failed(&error))?;
    Ok((!follows).then_some(current))
}

/// The commit that an object is, or that it is a tag of; none where it is something else.
///
/// # Errors
/// `SourceError::Unreadable`.
pub fn commit_of(path: &Path, object: CommitId) -> Result<Option<CommitId>> {
    incoming::commit_of(&open(path)?, object)
}

/// A file of a commit.
#[derive(Debug)]
pub enum FileOf {
    /// What is in it.
    Content(Vec<u8>),
    /// There is none: nothing, a directory, a link or a submodule.
    Missing,
    /// It has more bytes than wanted: this many.
    TooLarge(usize),
}

/// Reads a file of a commit that has at most `limit` bytes.
///
/// # Errors
/// `SourceError::Unreadable`.
pub fn file_of(path: &Path, commit: CommitId, file: &str, limit: usize) -> Result<FileOf> {
    let repository = open(path)?;
    let read = || {
        // libgit2 takes such a path for an error of its caller.
        if !Path::new(file).components().all(|part| matches!(part, std::path::Component::Normal(_))) {
            return Ok(FileOf::Missing);
        }
        let tree = repository.find_commit(commit.oid())?.tree()?;
        let entry = match tree.get_path(Path::new(file)) {
            Ok(entry) => entry,
            Err(error) if error.code() == git2::ErrorCode::NotFound => return Ok(FileOf::Missing),
            Err(error) => return Err(error),
        };
        let is_file = matches!(entry.filemode(), 0o100_644 | 0o100_755 | 0o100_664);
        if !is_file {
            return Ok(FileOf::Missing);
        }
        let (size, _) = repository.odb()?.read_header(entry.id())?;
        if size > limit {
            return Ok(FileOf::TooLarge(size));
        }
        Ok(FileOf::Content(repository.find_blob(entry.id())?.content().to_vec()))
    };
    read().map_err(|error| failed(&error))
}

/// Whether there is a branch of that name.
///
/// # Errors
/// `SourceError::Unreadable`.
pub fn has_branch(path: &Path, branch: &BranchName) -> Result<bool> {
    match open(path)?.refname_to_id(&branch.reference()) {
        Ok(_) => Ok(true),
        Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(false),
        Err(error) => Err(failed(&error)),
    }
}

fn pin_name(deployment: DeployId) -> String {
    format!("refs/paas/deploys/{deployment}")
}

fn set_reference(path: &Path, name: &str, commit: CommitId) -> Result<()> {
    let repository = open(path)?;
    repository.reference(name, commit.oid(), true, "paas").map(drop).map_err(|error| failed(&error))
}

/// Removes git's lock of a reference, which a process that was killed as it moved it left: nobody else would ever.
fn free(path: &Path, name: &str) -> Result<()> {
    files::remove_if_there(&path.join(format!("{name}.lock"))).map(drop)
}

fn open(path: &Path) -> Result<git2::Repository> {
    git2::Repository::open_bare(path).map_err(|error| failed(&error))
}

fn failed(error: &git2::Error) -> Error {
    Error::Source(SourceError::Unreadable { reason: error.message().to_owned() })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_repository_that_is_spoilt_or_half_made_is_set_right() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::new(directory.path().to_owned());
        let app: AppName = "blog".parse().unwrap();
        for made in [paths.hooks(), paths.repositories()] {
            fs::create_dir(made).unwrap();
        }
        create_repository(&paths, &app).unwrap();
        let path = paths.repository(&app);
        let branch = "0123456789012345678901234567890123456789\n";
        fs::write(path.join("refs/heads/trunk"), branch).unwrap();
        fs::write(path.join("HEAD"), "ref: refs/heads/trunk\n").unwrap();
        let whole = |case: &str| {
            create_repository(&paths, &app).unwrap_or_else(|error| panic!("{case}: {error}"));
            let repository = git2::Repository::open_bare(&path).unwrap_or_else(|error| panic!("{case}: {error}"));
            let config = repository.config().unwrap();
            assert_eq!(config.get_string("core.hooksPath").unwrap(), paths.hooks().to_str().unwrap(), "{case}");
            assert_eq!(config.get_string("receive.procReceiveRefs").unwrap(), "refs/heads/", "{case}");
            assert_eq!(fs::read_to_string(path.join("refs/heads/trunk")).unwrap(), branch, "{case}");
        };
        whole("nothing");
        assert_eq!(fs::read_to_string(path.join("HEAD")).unwrap(), "ref: refs/heads/trunk\n", "what is right stays");
        for file in ["HEAD", "config"] {
            let file = path.join(file);
            for bytes in [&b""[..], &[0; 100], b"\xff\xfe[core", b"[core]\n\tbare = false\n", b"nonsense"] {
                fs::write(&file, bytes).unwrap();
                whole(&format!("{}: {bytes:?}", file.display()));
            }
            fs::remove_file(&file).unwrap();
            whole(&format!("no {}", file.display()));
            fs::remove_file(&file).unwrap();
            fs::create_dir(&file).unwrap();
            whole(&format!("{} is a directory", file.display()));
            fs::remove_file(&file).unwrap();
            std::os::unix::fs::symlink("/nowhere", &file).unwrap();
            whole(&format!("{} is a link", file.display()));
        }
        fs::remove_dir_all(path.join("objects")).unwrap();
        whole("no objects");
        // A hook that is something else.
        fs::remove_file(paths.hooks().join("pre-receive")).unwrap();
        fs::create_dir(paths.hooks().join("pre-receive")).unwrap();
        whole("a hook is a directory");
        assert!(paths.hooks().join("pre-receive").is_symlink());
        // A link to a disk that is away is left.
        fs::remove_dir_all(&path).unwrap();
        std::os::unix::fs::symlink("/nowhere", &path).unwrap();
        let said = create_repository(&paths, &app).unwrap_err().to_string();
        assert!(said.contains("a link that leads nowhere"), "{said}");
    }
}
