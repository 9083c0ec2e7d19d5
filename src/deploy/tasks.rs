//! The commands that run once around a deploy, each in a container of its own: the release command, and the scripts of
//! app.json.

use std::{collections::VecDeque, time::Duration};

use futures_util::StreamExt;

use super::{
    container::{self, Program},
    deployment::ActiveDeploy,
    release::Prepared,
};
use crate::{
    Error, Result,
    buildpack::{FlawedScript, Scripts, culprit, diagnose_start},
    clock,
    engine::Status,
    error::{DeployError, LikelyCause},
    model::{self, AppName, Config, ProcessSettings, ProcessType, Release, RestartPolicy, RunSettings},
    store::{Container, NewContainer},
};

/// How many of the last lines of a command are looked at for the cause of its failure.
const LAST_LINES: usize = 50;
/// How long a script that follows the switch may take: the app's next deploy waits for it, and nothing can cancel it.
const POSTDEPLOY_TIMEOUT: Duration = Duration::from_secs(600);
/// Keeps a container running, for a command that is to see what the container does not keep.
const IDLE: &str = "while sleep 3600; do :; done";

/// What is known of the scripts of a source.
#[derive(Default)]
pub(super) struct Tasks {
    /// Those that app.json names.
    pub scripts: Scripts,
    /// Files that cannot run as they are written.
    pub flawed: Vec<FlawedScript>,
}

/// What runs after the switch.
pub(super) struct After {
    release: Release,
    config: Config,
    tasks: Tasks,
}

impl After {
    pub(super) fn new(prepared: &Prepared, tasks: Tasks) -> After {
        After { release: prepared.release.clone(), config: prepared.config.clone(), tasks }
    }

    /// What is known of the scripts.
    pub(super) fn tasks(&self) -> &Tasks {
        &self.tasks
    }
}

impl Tasks {
    /// The same error with its likely cause, if it is that a container did not start well and its cause is known.
    pub(super) fn why(&self, app: &AppName, error: Error) -> Error {
        match error {
            Error::Deploy(failure @ (DeployError::AppExited { .. } | DeployError::NeverHealthy(_))) => {
                self.explained(app, failure, "", "").into()
            }
            other => other,
        }
    }

    /// The same failure with its likely cause: a script that `used_by` runs or that it `said`, or what its last lines
    /// are known to mean.
    pub(super) fn explained(&self, app: &AppName, failure: DeployError, used_by: &str, said: &str) -> DeployError {
        let (container, output) = match &failure {
            DeployError::AppExited { container, output, .. } => (container.as_str(), output.as_str()),
            DeployError::NeverHealthy(it) => (it.container.as_str(), it.output.as_str()),
            _ => (used_by, said),
        };
        let used_by = container.split('.').next().filter(|_| used_by.is_empty()).unwrap_or(used_by);
        let of_script = culprit(&self.flawed, used_by, output)
            .map(|script| LikelyCause { cause: format!("{} {}", script.file, script.flaw), hint: script.hint.clone() });
        // One that listens where it should not, or on nothing, has advice of its own.
        let has_ended = !matches!(failure, DeployError::NeverHealthy(_));
        let likely = of_script.or_else(|| {
            let found = diagnose_start(output).filter(|_| has_ended)?;
            let hint = found.hint.replace(" APP ", &format!(" {app} "));
            Some(LikelyCause { cause: found.cause, hint })
        });
        match likely {
            Some(likely) => DeployError::Explained { failure: Box::new(failure), likely },
            None => failure,
        }
    }
}

/// Runs `scripts.dokku.predeploy` in a container of the release's image, and makes what it wrote a part of the image.
/// The container itself has none of the release's config, so the image gets none of it.
///
/// # Errors
/// `DeployError::Script` where it exits other than with 0.
pub(super) async fn predeploy(deploy: &ActiveDeploy<'_>, mut prepared: Prepared, tasks: &Tasks) -> Result<Prepared> {
    const NAME: &str = "scripts.dokku.predeploy";
    let Some(command) = &tasks.scripts.predeploy else { return Ok(prepared) };
    deploy.log.step(&format!("Running {NAME} of app.json"));
    let begun = clock::instant();
    let (instance, engine) = (deploy.instance, &deploy.engine);
    let (row, run) = row(deploy, &prepared.release).await?;
    let program = |arguments| Program {
        release: &prepared.release,
        config: &prepared.config,
        run: &run,
        arguments: Some(Vec::from(arguments)),
        restart: RestartPolicy::No,
    };
    let mut spec = container::spec(instance, &row, &program(model::shell_arguments(IDLE)))?;
    // The image is to have the labels of a built one, which are these.
    spec.labels = deploy.image_labels();
    // What it writes is what it is for.
    if let Some(containment) = &mut spec.containment {
        containment.read_only = false;
    }
    let environment = std::mem::take(&mut spec.environment);
    let row = container::start(instance, engine, row, spec).await?;
    let mut said = String::new();
    let code = engine.exec_lines(&row.name, model::shell_arguments(command), &environment, |line| {
        deploy.log.detail(line);
        said.push_str(line);
        said.push('\n');
    });
    let code = match code.await {
        Ok(code) => code,
        // An image without a shell, for example.
        Err(error) => match engine.status(&row.name).await? {
            Status::Exited(code) => {
                deploy.log.detail(&engine.last_output(&row.name, 1).await);
                code
            }
            _ => return Err(error),
        },
    };
    if code != 0 {
        let failure = DeployError::Script { name: NAME.to_owned(), code };
        return Err(tasks.explained(&deploy.app.name, failure, NAME, &said).into());
    }
    let image = engine.commit(&row.name, &prepared.release.image, &deploy.image_tag).await?;
    container::remove(engine, &row.name).await?;
    prepared.release = instance.write(|tables| {
        tables.remove_container(row.id)?;
        tables.set_release_image(prepared.release.id, &image)
    })?;
    deploy.log.detail(&format!("done in {}", model::seconds(begun.elapsed())));
    Ok(prepared)
}

/// Runs the release command, if there is one, with the release's config. What it prints goes to the log as it comes.
///
/// # Errors
/// `DeployError::ReleaseCommand` where it exits other than with 0.
pub(super) async fn release_command(deploy: &ActiveDeploy<'_>, prepared: Prepared, tasks: &Tasks) -> Result<Prepared> {
    let Some(command) = &prepared.release_command else { return Ok(prepared) };
    deploy.log.step("Running the release command");
    let ended = run(deploy, &prepared.release, &prepared.config, command, None).await?;
    if let Some((code, said)) = ended
        && code != 0
    {
        return Err(tasks
            .explained(&deploy.app.name, DeployError::ReleaseCommand { code }, ProcessType::RELEASE, &said)
            .into());
    }
    Ok(prepared)
}

/// Runs the scripts that follow the switch. The release serves already: one that fails is said, and changes nothing.
pub(super) async fn after_switch(deploy: &ActiveDeploy<'_>, after: &After) {
    let Scripts { postdeploy, first_postdeploy, .. } = &after.tasks.scripts;
    let first = first_postdeploy.as_ref().filter(|_| deploy.app.current_release.is_none());
    for (name, command) in [("scripts.postdeploy", first), ("scripts.dokku.postdeploy", postdeploy.as_ref())] {
        let Some(command) = command else { continue };
        deploy.log.step(&format!("Running {name} of app.json"));
        let ran = run(deploy, &after.release, &after.config, command, Some(POSTDEPLOY_TIMEOUT)).await;
        let why = match ran {
            Ok(Some((0, _))) => continue,
            Ok(None) => format!("{name} of app.json was ended after {}", model::seconds(POSTDEPLOY_TIMEOUT)),
            Ok(Some((code, said))) => {
                let failure = DeployError::Script { name: name.to_owned(), code };
                after.tasks.explained(&deploy.app.name, failure, name, &said).to_string()
            }
            Err(error) => format!("{name} of app.json did not run to its end: {}", error.one_line()),
        };
        deploy.log.warn(&format!("{why}; {} serves all the same", after.release.version));
    }
}

/// Runs a command to its end in a container of a release. Returns its exit code and the last that it printed; nothing if
/// it did not end within `limit`.
async fn run(
    deploy: &ActiveDeploy<'_>,
    release: &Release,
    config: &Config,
    command: &str,
    limit: Option<Duration>,
) -> Result<Option<(i64, String)>> {
    let begun = clock::instant();
    let (row, run) = row(deploy, release).await?;
    let (id, name) = (row.id, row.name.clone());
    let arguments = Some(model::shell_arguments(command).to_vec());
    let program = Program { release, config, run: &run, arguments, restart: RestartPolicy::No };
    let running = run_in(deploy, row, &program);
    let ended = match limit {
        Some(limit) => tokio::time::timeout(limit, running).await.ok().transpose(),
        None => running.await.map(Some),
    };
    container::remove(&deploy.engine, &name).await?;
    deploy.instance.write(|tables| tables.remove_container(id))?;
    if let Ok(Some((0, _))) = ended {
        deploy.log.detail(&format!("done in {}", model::seconds(begun.elapsed())));
    }
    ended
}

async fn run_in(deploy: &ActiveDeploy<'_>, row: Container, program: &Program<'_>) -> Result<(i64, String)> {
    let spec = container::spec(deploy.instance, &row, program)?;
    let row = container::start(deploy.instance, &deploy.engine, row, spec).await?;
    let mut lines = std::pin::pin!(deploy.engine.logs(&row.name, None, true));
    let mut last = VecDeque::new();
    let mut said = |text: String| {
        deploy.log.detail(&text);
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(text);
    };
    let mut stream = deploy.log.masked_stream();
    while let Some(line) = lines.next().await {
        let line = line?;
        said(stream.line(&line.text, line.is_ended));
    }
    // What was kept back of a last line that nobody ended.
    Some(stream.line("", true)).filter(|rest| !rest.is_empty()).into_iter().for_each(&mut said);
    let code = deploy.engine.wait(&row.name).await?;
    Ok((code, Vec::from(last).join("\n")))
}

/// Writes the row of a container that runs a command once. They run one after the other, so all have the same place.
async fn row(deploy: &ActiveDeploy<'_>, release: &Release) -> Result<(Container, RunSettings)> {
    let instance = deploy.instance;
    deploy.engine.ensure_network(&instance.id, instance.settings.subnet).await?;
    let process: ProcessType = ProcessType::RELEASE.parse()?;
    let name = container::name(deploy, &process, 1);
    let run = ProcessSettings::of_overrides(&release.overrides, &process).resolve(&process)?;
    let row = instance.write(|tables| {
        let new = NewContainer {
            app_id: deploy.app.id,
            release_id: release.id,
            deployment_id: deploy.id,
            process: &process,
            run: &run,
            position: 1,
            name: &name,
            port: release.port,
        };
        tables.add_container(instance.settings.subnet, &new)
    })?;
    Ok((row, run))
}
