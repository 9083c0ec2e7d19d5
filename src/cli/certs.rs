use std::{io::Read, path::PathBuf};

use clap::{Args, Subcommand};

use super::{
    arguments::AppArgument,
    exchange::{Bounds, Exchange, cannot_read, open},
    properties::{OptionalReporter, Reporter, Setter, Target},
};
use crate::{
    Error, Result,
    certificate::LARGEST,
    context::Context,
    model::{Access, AppName, Domain, Door, Noun, Right},
    ops::{self, certs},
    ui::Ui,
};

/// Certificates: HTTPS for an app's names
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "certs:add")]
    Add(Add),
    #[command(name = "certs:generate")]
    Generate(Generate),
    #[command(name = "certs:renew")]
    Renew(Renew),
    #[command(name = "certs:report")]
    Report(Report),
    #[command(name = "certs:show")]
    Show(Show),
    #[command(name = "certs:remove")]
    Remove(Remove),
    #[command(name = "certs:set")]
    Set(Set),
}

impl Command {
    pub(super) fn access(&self) -> Access<'_> {
        match self {
            Command::Add(it) => it.target.access(Right::Change),
            Command::Generate(it) => Access::App(&it.app.app, Right::Change),
            Command::Renew(it) => Access::App(&it.app.app, Right::Change),
            Command::Report(it) => it.reporter.access(),
            Command::Show(it) => it.access(),
            Command::Remove(it) => it.target.access(Right::Change),
            Command::Set(it) => it.setter.access(Noun::Certs),
        }
    }

    /// What it reads where it was typed.
    pub(super) fn exchange(&mut self) -> Exchange<'_> {
        match self {
            Command::Add(it) => Exchange::Certificate(it),
            Command::Generate(_)
            | Command::Renew(_)
            | Command::Report(_)
            | Command::Show(_)
            | Command::Remove(_)
            | Command::Set(_) => Exchange::Nothing,
        }
    }

    pub(super) async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        match self {
            Command::Add(it) => it.run(context, ui).await,
            Command::Generate(it) => it.run(context, ui).await,
            Command::Renew(it) => it.run(context, ui).await,
            Command::Report(it) => it.run(context, ui),
            Command::Show(it) => it.run(context, ui),
            Command::Remove(it) => it.run(context, ui).await,
            Command::Set(it) => it.setter.run(context, ui, Noun::Certs).await,
        }
    }
}

/// Add a certificate of your own, for an app or for all
///
/// CRT is a PEM file with the certificate of the host first, then those that lead to its authority; KEY is its private key.
/// They are files on the machine where you type. Without them, a tar with both is read from standard input:
/// `tar c chain.crt my.key | ssh -p 2222 paas@HOST certs:add blog`. The key is sealed.
///
/// The next connection sees it. It goes before one that an authority gave out, and a newer one for the
/// same names replaces an older one. Wrong, expired and mismatched files are refused, and nothing has changed then.
#[derive(Debug, Args)]
pub(super) struct Add {
    #[command(flatten)]
    target: Target,
    /// The file of the certificate, and that of its key; nothing for a tar on standard input
    #[arg(value_name = "CRT KEY", value_hint = clap::ValueHint::FilePath)]
    files: Vec<String>,
    /// What was read of both.
    #[arg(skip)]
    read: Option<Given>,
}

/// What was read, before anybody has looked at it.
#[derive(Debug)]
enum Given {
    /// The file of the certificate and that of the key.
    Files(Vec<u8>, Vec<u8>),
    /// A tar of both.
    Tar(Vec<u8>),
}

/// The most that a tar of both files may have, with what a tar has around them.
const LARGEST_TAR: u64 = 4 * LARGEST as u64;

impl Add {
    /// The paths of both files; none where they come on standard input.
    fn paths(&self) -> Result<Option<[PathBuf; 2]>> {
        let (_, words) = self.target.split(&self.files)?;
        match words.as_slice() {
            [] => Ok(None),
            [word] if word == "-" => Ok(None),
            [certificate, key] => Ok(Some([PathBuf::from(certificate), PathBuf::from(key)])),
            _ => Err(Error::usage(
                "this takes the file of a certificate and that of its key",
                "`paas certs:add APP chain.crt my.key`, or a tar of both on standard input",
            )),
        }
    }

    pub(super) fn read(&mut self, door: Door, ui: Ui) -> Result<()> {
        self.read = Some(match self.paths()? {
            // The client's paths mean nothing on this machine, and this machine's files are not the client's to read.
            Some([certificate, key]) if door != Door::Local => {
                let files = shell_words::join([certificate.display().to_string(), key.display().to_string()]);
                let app = self.target.split(&[])?.0.map_or("--global".to_owned(), |app| app.to_string());
                return Err(Error::usage(
                    "these are files of your machine, and this command runs on the server",
                    format!("give them as a tar on standard input: `tar c {files} | ssh ... certs:add {app}`"),
                ));
            }
            Some([certificate, key]) => {
                let bounds = Bounds {
                    what: "a file of a certificate or a key",
                    limit: LARGEST as u64,
                    hint: "give the one file, not a bundle of all authorities",
                };
                let read = |path: &PathBuf| bounds.read_all(open(path).map_err(|reason| cannot_read(path, &reason))?);
                Given::Files(read(&certificate)?, read(&key)?)
            }
            None => {
                let bounds = Bounds {
                    what: "a tar of a certificate and its key",
                    limit: LARGEST_TAR,
                    hint: "put the two files into it, and nothing else",
                };
                Given::Tar(bounds.read_stdin("Give a tar of the certificate and its key:", ui)?)
            }
        });
        Ok(())
    }

    pub(super) fn packed(&mut self, ui: Ui) -> Result<Option<(Vec<String>, Vec<u8>)>> {
        if self.paths()?.is_none() {
            return Ok(None);
        }
        self.read(Door::Local, ui)?;
        let Some(Given::Files(certificate, key)) = &self.read else { return Ok(None) };
        let mut words = vec!["certs:add".to_owned()];
        words.push(self.target.split(&[])?.0.map_or("--global".to_owned(), |app| app.to_string()));
        Ok(Some((words, tarred(certificate, key)?)))
    }

    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let (app, _) = self.target.split(&self.files)?;
        let (certificate, key) = match self.read {
            Some(Given::Files(certificate, key)) => (certificate, key),
            Some(Given::Tar(bytes)) => untarred(&bytes)?,
            None => return Err(Error::bug("a certificate that was not read")),
        };
        let added = certs::add(context, app.as_ref(), &certificate, &key).await?;
        say(ui, &added);
        ui.show(&added)
    }
}

fn say(ui: Ui, added: &certs::Added) {
    let certificate = &added.certificate;
    let signed = if certificate.self_signed { "self-signed" } else { &certificate.issuer };
    ui.talk(&format!(
        "certificate {} ({signed}) for {}, until {}",
        certificate.id,
        certificate.names.join(", "),
        certificate.until_at
    ));
    for warning in &added.warnings {
        ui.talk(&format!(" !     {warning}"));
    }
}

/// The names that the files have in a tar of ours.
const TARRED: [&str; 2] = ["chain.crt", "private.key"];

fn tarred(certificate: &[u8], key: &[u8]) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in TARRED.into_iter().zip([certificate, key]) {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        tar.append_data(&mut header, name, content).map_err(Error::io("pack the certificate"))?;
    }
    tar.into_inner().map_err(Error::io("pack the certificate"))
}

/// The certificate and the key of a tar: by their endings, else by what is in them.
fn untarred(bytes: &[u8]) -> Result<(Vec<u8>, Vec<u8>)> {
    let bad = |message: &str| Error::usage(message, "`tar c chain.crt my.key | ... certs:add APP` makes the right one");
    if bytes.is_empty() {
        return Err(bad("standard input is empty, and a tar of a certificate and its key was to come"));
    }
    let (mut certificate, mut key) = (None, None);
    let mut archive = tar::Archive::new(bytes);
    let no_tar = |_| bad("standard input is not a tar of a certificate and its key");
    for entry in archive.entries().map_err(no_tar)? {
        let mut entry = entry.map_err(no_tar)?;
        let path = entry.path().map_err(no_tar)?.into_owned();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // What tar of macOS puts beside each file.
        if !entry.header().entry_type().is_file() || name.starts_with("._") {
            continue;
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(no_tar)?;
        const MARK: &[u8] = b"PRIVATE KEY-----";
        let is_key = name.ends_with(".key") || content.windows(MARK.len()).any(|part| part == MARK);
        let place = if is_key { &mut key } else { &mut certificate };
        if place.replace(content).is_some() {
            let what = if is_key { "keys" } else { "certificates" };
            return Err(bad(&format!(
                "the tar holds several files that are {what}: put the whole chain into one file"
            )));
        }
    }
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok((certificate, key)),
        (None, Some(_)) => Err(bad("the tar holds no certificate")),
        (Some(_), None) => Err(bad("the tar holds no key")),
        (None, None) => Err(bad("the tar holds no file")),
    }
}

/// Make a certificate for an app that is signed by itself
///
/// For tests, and for servers that only a few machines know: clients trust it if somebody tells them to. Without names it is
/// for all that the app has.
#[derive(Debug, Args)]
pub(super) struct Generate {
    #[command(flatten)]
    app: AppArgument,
    /// The names, such as example.com or *.example.com
    #[arg(value_name = "DOMAIN")]
    names: Vec<Domain>,
}

impl Generate {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let made = certs::generate(context, &self.app.app, &self.names).await?;
        say(ui, &made);
        ui.show(&made)
    }
}

/// Ask the authority for an app's certificates now
///
/// It is asked by itself when a name is new, and again when a third of a certificate's life is left; what fails is tried
/// again with growing pauses. This does not wait for a pause to end, but the authority's own limits hold: it looks in vain
/// twice an hour for a name at most. Exits with 1 where a name has no certificate.
#[derive(Debug, Args)]
pub(super) struct Renew {
    #[command(flatten)]
    app: AppArgument,
}

impl Renew {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let waiting = || ui.talk("waiting for another process that asks the authority");
        let renewed = certs::renew(context, Some(&self.app.app), waiting).await?;
        ui.show(&renewed)?;
        certs::failed(&renewed)
    }
}

/// Show certificates, and how each name of an app stands
///
/// Of each certificate: who signed it, until when it is valid, whether its chain is complete, and which names it serves. Of
/// a name without one: what the authority said of it, what to do about it, and when it is tried again.
#[derive(Debug, Args)]
pub(super) struct Report {
    #[command(flatten)]
    reporter: OptionalReporter,
}

impl Report {
    fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        if self.reporter.is_of_all() {
            return ui.show(&certs::report_all(context)?);
        }
        if self.reporter.is_of_server() {
            return ui.show(&certs::report_server(context)?);
        }
        let reporter = Reporter::from(self.reporter);
        match reporter.whole_app()? {
            Some(app) => ui.show(&certs::report(context, &app)?),
            None => reporter.run(context, ui, Noun::Certs),
        }
    }
}

/// What is shown of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The certificate with its chain.
    Crt,
    /// Its private key.
    Key,
    /// The certificate of the server's own authority, which signs where the setting tls is internal.
    Authority,
}

/// Print a certificate or its private key, as PEM
///
/// Of an app it is the newest that serves its names; --id takes another one. `certs:show --global authority` prints
/// what clients are to trust where the setting tls is internal.
#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    target: Target,
    /// crt, key or authority [default: crt]
    #[arg(value_name = "PART")]
    part: Vec<String>,
    /// The number of the certificate
    #[arg(long, value_name = "NUMBER")]
    id: Option<i64>,
}

impl Show {
    fn parts(&self) -> Result<(Option<AppName>, Part)> {
        let (app, words) = self.target.split(&self.part)?;
        let bad = || Error::usage("this shows crt, key or authority", "`paas certs:show APP crt`");
        let part = match words.as_slice() {
            [] => Part::Crt,
            [word] => clap::ValueEnum::from_str(word, false).map_err(|_| bad())?,
            _ => return Err(bad()),
        };
        Ok((app, part))
    }

    fn access(&self) -> Access<'_> {
        match self.parts() {
            Ok((_, Part::Key)) => self.target.access(Right::Reveal),
            Ok((None, Part::Authority)) => Access::Server(Right::See),
            Ok(_) | Err(_) => self.target.access(Right::See),
        }
    }

    fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let (app, part) = self.parts()?;
        ui.show(&match part {
            Part::Authority => certs::show_authority(context)?,
            Part::Crt | Part::Key => certs::show(context, app.as_ref(), self.id, part == Part::Key)?,
        })
    }
}

/// Remove the certificates that were added or made for an app, or for all
///
/// The next connection sees it: then the names have certificates of the authority's again.
#[derive(Debug, Args)]
pub(super) struct Remove {
    #[command(flatten)]
    target: Target,
    /// Only the certificate of this number
    #[arg(long, value_name = "NUMBER")]
    id: Option<i64>,
}

impl Remove {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let (app, _) = self.target.split(&[])?;
        let removed = certs::remove(context, app.as_ref(), self.id).await?;
        let numbers: Vec<String> = removed.removed.iter().map(ToString::to_string).collect();
        ui.talk(&format!("removed: certificate {}", numbers.join(", ")));
        ui.show(&removed)
    }
}

/// Set how an app's names are served over HTTPS
///
/// `paas certs:set blog acme=off` leaves its names alone, `https-redirect=off` lets plain HTTP through.
#[derive(Debug, Args)]
#[command(after_help = ops::properties::help(Noun::Certs))]
pub(super) struct Set {
    #[command(flatten)]
    setter: Setter,
}

/// Ask the authority for the certificates that are due
#[derive(Debug, Args)]
pub(super) struct Obtain {}

impl Obtain {
    pub(super) async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        ui.line(&certs::renew(context, None, || ()).await?.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, name, *content).unwrap();
        }
        tar.into_inner().unwrap()
    }

    #[test]
    fn a_tar_holds_one_certificate_and_one_key() {
        let (crt, key) = (&b"-----BEGIN CERTIFICATE-----\n"[..], &b"-----BEGIN PRIVATE KEY-----\n"[..]);
        let right = (crt.to_vec(), key.to_vec());
        for files in [
            &[("server.crt", crt), ("server.key", key)][..],
            &[("live/fullchain.pem", crt), ("live/privkey.pem", key), ("._privkey.pem", b"x")],
            &[("b.key", key), ("a.crt", crt)],
        ] {
            assert_eq!(untarred(&tar(files)).unwrap(), right);
        }
        assert_eq!(untarred(&tarred(crt, key).unwrap()).unwrap(), right);
        for (bytes, said) in [
            (tar(&[("a.crt", crt)]), "no key"),
            (tar(&[("a.key", key)]), "no certificate"),
            (tar(&[("a.crt", crt), ("b.crt", crt), ("a.key", key)]), "several files that are certificates"),
            (tar(&[]), "no file"),
            (Vec::new(), "is empty"),
            (b"hello".repeat(300), "is not a tar"),
        ] {
            let error = untarred(&bytes).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
