//! The database as a file: a copy of it while it is in use, and a copy put back.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{
    Error, Result,
    context::Context,
    error::{HostError, StoreError},
    files,
    instance::{self, Instance},
    lock::{self, Holder},
    model::{self, Actor, Change, Subject},
    settings::{Paths, Settings},
    store::{self, Store},
    ui::{Show, Text, or_dash},
};

/// How much of a database is its header, by which it is known for one.
const HEADER: usize = 100;

/// A copy of the database.
#[derive(Clone, Debug, Serialize)]
pub struct Saved {
    /// Where it is; none where it went to standard output.
    pub file: Option<PathBuf>,
    /// The instance that it is of.
    pub instance: String,
    /// How many apps it has.
    pub apps: u32,
    /// Its size.
    pub size_bytes: u64,
    /// What an instance has beside it, and a backup needs too.
    pub not_in_it: Vec<PathBuf>,
}

impl Show for Saved {
    fn text(&self) -> Text {
        // On standard output is the copy itself.
        let Some(file) = &self.file else { return Text::Nothing };
        let not_in_it: Vec<String> = self.not_in_it.iter().map(|path| path.display().to_string()).collect();
        Text::facts(vec![
            ("file", file.display().to_string()),
            ("instance", self.instance.clone()),
            ("apps", self.apps.to_string()),
            ("size", model::bytes(self.size_bytes)),
            ("not in it", not_in_it.join("\n")),
        ])
    }
}

/// Copies the database while it is in use, checks the copy, and writes it to `out`.
///
/// `file`: the path of `out`, if it is a file.
///
/// # Errors
/// [`crate::Error::Store`], `StoreError::NotWhole` included; [`Error::Host`].
pub fn save(context: &Context<'_>, file: Option<&Path>, mut out: Target<'_>) -> Result<Saved> {
    let paths = &context.instance.settings.paths;
    context.change(&Change::new("backup-db", Subject::Server), |_| Ok(()))?;
    let directory = directory(paths)?;
    let copy = directory.path().join("paas.db");
    let copied = store::save_to(&paths.database(), &copy)?;
    let bytes = std::fs::read(&copy).map_err(Error::io(format!("read {}", copy.display())))?;
    out.write(&bytes).map_err(Error::io("write the copy"))?;
    Ok(Saved {
        file: file.map(Path::to_owned),
        instance: copied.instance,
        apps: copied.apps,
        size_bytes: copied.bytes,
        not_in_it: vec![paths.secret_key(), paths.host_key(), paths.repositories()],
    })
}

/// Where a copy goes.
pub enum Target<'a> {
    /// A file.
    File(&'a File),
    /// Whoever reads it.
    Stream(&'a mut dyn Write),
}

impl Target<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Target::File(file) => {
                // The header last: what was cut off is taken for no database by anybody.
                let (header, rest) = bytes.split_at(HEADER.min(bytes.len()));
                file.set_len(0)?;
                file.seek(SeekFrom::Start(header.len() as u64))?;
                file.write_all(rest)?;
                file.sync_all()?;
                file.seek(SeekFrom::Start(0))?;
                file.write_all(header)?;
                file.sync_all()
            }
            Target::Stream(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }
}

/// A database that was put back.
#[derive(Clone, Debug, Serialize)]
pub struct Restored {
    /// The instance that it is of.
    pub instance: String,
    /// How many apps it has.
    pub apps: u32,
    /// Where the one is now that was in its place, if there was one.
    pub former: Option<PathBuf>,
    /// Why what is sealed in it cannot be opened, if that is so.
    pub key_problem: Option<String>,
}

impl Show for Restored {
    fn text(&self) -> Text {
        Text::facts(vec![
            ("instance", self.instance.clone()),
            ("apps", self.apps.to_string()),
            ("the one before", or_dash(self.former.as_ref().map(|path| path.display()))),
            ("secret.key", self.key_problem.clone().unwrap_or_else(|| "opens what is sealed".to_owned())),
        ])
    }
}

/// Puts a copy of the database in its place, while no daemon runs. What was there is kept beside it.
///
/// `called`: the name of the copy.
///
/// # Errors
/// `HostError::AlreadyServing`; what is wrong with the copy: nothing has changed then; [`Error::Host`].
pub fn restore(settings: &Settings, called: &Path, mut copy: impl Read) -> Result<Restored> {
    let paths = &settings.paths;
    instance::make_directories(paths)?;
    let holder = Holder::new("restore-db", &Actor::Daemon);
    let Ok(_lock) = lock::try_lock(&paths.daemon_lock(), &holder)? else {
        return Err(Error::Host(HostError::AlreadyServing { root: paths.root().to_owned() }));
    };
    let directory = directory(paths)?;
    let draft = directory.path().join("paas.db");
    let mut file = files::create(&draft)?;
    std::io::copy(&mut copy, &mut file)
        .and_then(|_| file.sync_all())
        .map_err(Error::io(format!("write {}", draft.display())))?;
    let (restored, former) = store::restore(&draft, &paths.database()).map_err(|error| match error {
        Error::Store(StoreError::TooNew { found, known, by, .. }) => {
            StoreError::TooNew { path: called.to_owned(), found, known, by }.into()
        }
        Error::Store(StoreError::NotWhole { reason, .. }) => {
            StoreError::NotWhole { path: called.to_owned(), reason }.into()
        }
        Error::Store(StoreError::NotOurs { .. }) => {
            StoreError::NotWhole { path: called.to_owned(), reason: "another program wrote it".to_owned() }.into()
        }
        Error::Store(StoreError::Failed { source, .. }) => {
            StoreError::NotWhole { path: called.to_owned(), reason: source.to_string() }.into()
        }
        error => error,
    })?;
    // Known from now on by the database that was put back.
    files::clear(&paths.instance_id())?;
    let opened = Instance::open(settings.clone())?;
    let key = opened.read(|tables| opened.secrets.require_key(tables));
    Ok(Restored {
        instance: restored.instance,
        apps: restored.apps,
        former,
        key_problem: key.err().map(|error| error.one_line()),
    })
}

/// A directory of one's own on the disk of the database.
fn directory(paths: &Paths) -> Result<tempfile::TempDir> {
    files::make_private_directory(&paths.temporary())?;
    tempfile::Builder::new()
        .prefix("database-")
        .tempdir_in(paths.temporary())
        .map_err(Error::io(format!("make a directory in {}", paths.temporary().display())))
}

/// What the database takes on the disk, for who looks at the server.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Database {
    /// The size of the file.
    pub file_bytes: u64,
    /// The size of its log, of what was written and is not in the file yet.
    pub log_bytes: u64,
}

/// Looks at the database.
///
/// # Errors
/// What is wrong with it.
pub fn look(paths: &Paths) -> Result<Database> {
    Store::reopen(&paths.database())?.read(|tables| tables.row_counts())?;
    let mut log = paths.database().into_os_string();
    log.push("-wal");
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    Ok(Database { file_bytes: size(&paths.database()), log_bytes: size(Path::new(&log)) })
}
