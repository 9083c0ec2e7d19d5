//! The build: what kind of project it is, and its image.

use std::{
    collections::VecDeque,
    io::Write,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{deployment::ActiveDeploy, fence, source::Source};
use crate::{
    Error, Result,
    buildpack::{self, BuildPlan, Buildpacks},
    clock,
    engine::{BuildEvent, BuildSpec, Capped, ImageFacts},
    error::{DeployError, LikelyCause, SourceError},
    lock::{self, Holder, Lock},
    model::{self, AppName, CommitId, DeployState, EnvKey, ImageId, Override, Scope, property},
    tree::{Added, DockerIgnore, Tree},
};

/// How many bytes of the context travel to the engine at a time.
const CHUNK: usize = 128 * 1024;
/// How many such pieces wait for a slow engine.
const CHUNKS_WAITING: usize = 8;

/// How many of the last lines of a build are looked at for the cause of its failure.
const LAST_LINES: usize = 400;
/// Where the database says that builds were capped once: a cap outlives the setting.
const CAPPED: &str = "builds_capped";

/// A project and how to build it.
pub(super) struct Planned {
    tree: Tree,
    pub plan: BuildPlan,
    buildpacks: Buildpacks,
    /// The variables that hold the commit.
    commit: Vec<(EnvKey, String)>,
}

/// An image and what is to be run of it.
pub(super) struct Built {
    pub image: ImageId,
    pub facts: ImageFacts,
    pub plan: BuildPlan,
}

/// Buildpacks that are being read, on a thread: that takes as long as reading a small source, which is read meanwhile.
pub(super) struct Reading(thread::JoinHandle<Result<Buildpacks>>);

/// Begins to read the buildpacks.
///
/// # Errors
/// [`Error::Host`] where there is no thread for it.
pub(super) fn buildpacks(deploy: &ActiveDeploy<'_>) -> Result<Reading> {
    let of_user = deploy.instance.settings.paths.buildpacks();
    let thread = thread::Builder::new().name("buildpacks".to_owned()).spawn(move || Buildpacks::load(Some(&of_user)));
    Ok(Reading(thread.map_err(Error::io("start a thread"))?))
}

/// Finds out what kind of project it is. The files that configure the build are read here, and only here; on a thread of
/// their own, because they are a stranger's.
///
/// `commit`: what is built, which the build can read in its variables.
pub(super) async fn plan(
    deploy: &ActiveDeploy<'_>,
    source: Source,
    Reading(buildpacks): Reading,
    commit: CommitId,
) -> Result<Planned> {
    let rows = deploy.instance.read(|tables| tables.properties(Some(deploy.app.id)))?;
    let set: Vec<Override> = rows.into_iter().map(|row| row.set).collect();
    let commit = model::rev_variables(&set, Some(commit))?;
    let names: Vec<EnvKey> = commit.iter().map(|(key, _)| key.clone()).collect();
    let tree = source.tree;
    let work = tree.work().clone();
    let app = deploy.app.name.clone();
    let planned = work.aside(move || {
        let buildpacks = buildpacks.join().map_err(|_| Error::bug("a thread that reads buildpacks panicked"))??;
        let procfile = procfile(&app, &tree, &set)?;
        let plan = buildpack::plan_with_procfile(&tree, &buildpacks, &procfile);
        // What could not be read counts as missing in places.
        tree.work().check()?;
        Ok((tree, buildpacks, plan?.with_arguments(&names)))
    });
    let (tree, buildpacks, plan) = planned.await?;
    let types = u64::try_from(plan.processes.len()).unwrap_or(u64::MAX);
    let most = deploy.instance.number(&property::MAX_PROCESS_TYPES, None)?;
    if types > most {
        return Err(Error::Source(SourceError::Unbuildable {
            message: format!("the source has {types} process types, and an app may have {most}"),
            hint: "remove some, or have an administrator raise the setting max_process_types".to_owned(),
        }));
    }
    let mut lines = plan.describe().into_iter();
    if let Some(first) = lines.next() {
        deploy.log.step(&first);
    }
    for line in lines {
        deploy.log.detail(&line);
    }
    for warning in &plan.warnings {
        deploy.log.warn(warning);
    }
    let tree = match &plan.context {
        Some(directory) => tree.below(directory),
        None => tree,
    };
    Ok(Planned { tree, plan, buildpacks, commit })
}

/// The path of the Procfile. One that is set for the app must be there; one that is set for all apps may not be for each.
fn procfile(app: &AppName, tree: &Tree, set: &[Override]) -> Result<String> {
    let Some(row) = property::nearest(set, &property::PROCFILE_PATH, None) else {
        return Ok(property::PROCFILE_PATH.default.words().to_owned());
    };
    let path = row.value.strip_prefix("./").unwrap_or(&row.value);
    // It is a path from the directory of the app, which the plan finds.
    let is_there = tree.files().iter().any(|entry| entry.path.ends_with(path));
    if row.scope == Scope::App && !is_there {
        return Err(Error::Source(SourceError::Unbuildable {
            message: format!("there is no file {path} in the repository, which procfile-path names"),
            hint: format!("commit it, or `paas ps:set {app} procfile-path` reads the file Procfile again"),
        }));
    }
    Ok(path.to_owned())
}

/// Builds the image. What the build prints goes to the log as it comes.
pub(super) async fn image(deploy: &ActiveDeploy<'_>, planned: Planned) -> Result<Built> {
    let _turn = turn(deploy).await?;
    deploy.enter(DeployState::Building)?;
    deploy.log.step("Building");
    let begun = clock::instant();
    if let Err(error) = fence::renew(deploy.instance, &deploy.engine).await {
        // `report` says so too; without the setting nobody expects it.
        tracing::warn!("what steps of builds reach of this machine is not brought up to date: {}", error.one_line());
    }
    let Planned { tree, plan, buildpacks, commit } = planned;
    let spec = BuildSpec {
        tag: deploy.image_tag.clone(),
        labels: deploy.image_labels(),
        dockerfile: plan.dockerfile_path.clone(),
        session: format!("paas-{}-{}", deploy.instance.id, deploy.id),
        arguments: commit,
    };
    // The thread that writes the context ends with the build.
    let _ends = tree.work().until_dropped();
    let (context, fault) = context(tree, plan.extra_files.clone(), plan.ignore.clone());
    let mut output = VecDeque::new();
    let built = deploy.engine.build(&spec, context, |event| match event {
        BuildEvent::Step { name, cached: true } => deploy.log.detail(&format!("{name} (cached)")),
        BuildEvent::Step { name, cached: false } => deploy.log.detail(&name),
        BuildEvent::Output(line) => {
            deploy.log.detail(&format!("  {line}"));
            if output.len() == LAST_LINES {
                output.pop_front();
            }
            output.push_back(line);
        }
    });
    // What caps the build lives until both are done.
    let (built, _capped) = tokio::join!(built, cap(deploy));
    // The engine only sees that the context ends too soon.
    let built = match fault.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(fault) if built.is_err() => Err(fault),
        _ => built,
    };
    let image = match built {
        Err(Error::Deploy(DeployError::Build { message, is_killed, .. })) => {
            output.push_back(message.clone());
            let said = output.make_contiguous();
            // A script that cannot run says what misleads the rules.
            let script = buildpack::culprit(&plan.flawed_scripts, "", &said.join("\n"));
            let of_script = script.map(|script| LikelyCause {
                cause: format!("{} {}", script.file, script.flaw),
                hint: script.hint.clone(),
            });
            let likely = of_script.or_else(|| {
                let found = buildpacks.diagnose(&plan.buildpack, said)?;
                Some(LikelyCause { cause: found.cause, hint: found.hint })
            });
            return Err(Error::Deploy(DeployError::Build { message, is_killed, likely }));
        }
        built => built?,
    };
    deploy.log.detail(&format!("built in {}", model::seconds(begun.elapsed())));
    let facts = deploy.engine.image_facts(&image).await?;
    Ok(Built { image, facts, plan })
}

/// Waits until fewer builds run than may: a small machine has the memory for one. The turn ends when the lock is dropped.
async fn turn(deploy: &ActiveDeploy<'_>) -> Result<Lock> {
    let holder = Holder::new(format!("the build of {}, deploy {},", deploy.app.name, deploy.id), &deploy.caller.actor);
    let locks = deploy.instance.build_locks()?;
    lock::lock_one_of(&locks, &holder, |others| deploy.log.step(&format!("Waiting for {others}"))).await
}

/// Caps what the build takes of the machine, where that is set; where it cannot be, the build goes on without, and says
/// so.
async fn cap(deploy: &ActiveDeploy<'_>) -> Option<Capped> {
    let instance = deploy.instance;
    let caps = match instance.build_caps() {
        Ok(caps) => caps,
        Err(error) => {
            deploy.log.warn(&format!("this build is not capped: {}", error.one_line()));
            return None;
        }
    };
    let capping = async {
        let were_set = instance.read(|tables| tables.meta(CAPPED))?.is_some_and(|value| value == "yes");
        if caps.is_empty() && !were_set {
            return Ok(None);
        }
        let capped = deploy.engine.cap_builds(&instance.id, caps).await?;
        if were_set == caps.is_empty() {
            instance.write(|tables| tables.set_meta(CAPPED, if caps.is_empty() { "no" } else { "yes" }))?;
        }
        Ok::<_, Error>(Some(capped))
    };
    capping.await.unwrap_or_else(|error| {
        deploy.log.warn(&format!("this build is not capped ({}): {}", caps.describe(), error.one_line()));
        None
    })
}

/// Why a context could not be written.
type Fault = Arc<Mutex<Option<Error>>>;

/// The context as a stream: a thread writes the tar archive from git's objects, as fast as the engine takes it.
/// Beside it, why it could not be written.
fn context(tree: Tree, extra: Vec<(String, Added)>, ignore: DockerIgnore) -> (crate::engine::Context, Fault) {
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
    let fault = Fault::default();
    let told = Arc::clone(&fault);
    let thread = thread::Builder::new().name("context".to_owned()).spawn({
        let sender = sender.clone();
        move || {
            let mut writer = std::io::BufWriter::with_capacity(CHUNK, Pieces { sender: sender.clone() });
            let written = tree
                .write_tar(&mut writer, &extra, &ignore)
                .and_then(|()| writer.flush().map_err(Error::io("send the build context")));
            if let Err(error) = written {
                let text = error.one_line();
                // Where the engine went away first, that is what is wrong.
                if !sender.is_closed() {
                    *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
                drop(sender.blocking_send(Err(std::io::Error::other(text))));
            }
        }
    });
    if let Err(error) = thread {
        drop(sender.try_send(Err(error)));
    }
    let pieces = futures_util::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    (Box::pin(pieces), fault)
}

struct Pieces {
    sender: mpsc::Sender<std::io::Result<Bytes>>,
}

impl Write for Pieces {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        self.sender
            .blocking_send(Ok(Bytes::copy_from_slice(buffer)))
            .map_err(|_| std::io::Error::from(std::io::ErrorKind::BrokenPipe))?;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
