//! Where the pipeline, recovery, the supervisor and the actions meet what runs the containers: each of their steps that
//! starts, proves or ends containers is a method here, with an answer for every scheduler.

use futures_util::future::try_join_all;

use super::{
    container::{self, Program},
    deployment::ActiveDeploy,
    former_log,
    health::{self, Proof},
};
use crate::{
    Error, Result,
    engine::Engine,
    instance::Instance,
    model::{Config, ProcessSpec, Release, RestartPolicy, Scheduler},
    store::Container,
};

impl Scheduler {
    /// Makes what containers need before the first of them starts.
    pub(super) async fn prepare(self, deploy: &ActiveDeploy<'_>) -> Result<()> {
        match self {
            Scheduler::Local => {
                deploy.engine.ensure_network(&deploy.instance.id, deploy.instance.settings.subnet).await
            }
        }
    }

    /// Starts containers of a release that have their rows, all at once. They are not started again when they end: that
    /// comes with [`Scheduler::keep_running`].
    pub(super) async fn start(
        self,
        deploy: &ActiveDeploy<'_>,
        (release, config): (&Release, &Config),
        rows: Vec<(Container, ProcessSpec)>,
    ) -> Result<Vec<(Container, ProcessSpec)>> {
        match self {
            Scheduler::Local => {
                let starts = rows.into_iter().map(|(container, process)| async move {
                    let program = Program {
                        release,
                        config,
                        run: &process.run,
                        arguments: process.arguments().map(Vec::from),
                        restart: RestartPolicy::No,
                    };
                    let spec = container::spec(deploy.instance, &container, &program)?;
                    let container = container::start(deploy.instance, &deploy.engine, container, spec).await?;
                    Ok::<_, Error>((container, process))
                });
                try_join_all(starts).await
            }
        }
    }

    /// Waits until a new container is healthy, and says what proved it.
    pub(super) async fn prove(
        self,
        deploy: &ActiveDeploy<'_>,
        container: &Container,
        process: &ProcessSpec,
    ) -> Result<Proof> {
        match self {
            Scheduler::Local => health::prove(deploy, container, process).await,
        }
    }

    /// Has a container that serves started again when it ends, as its process type says.
    pub(super) async fn keep_running(
        self,
        engine: &Engine,
        container: &Container,
        restart: RestartPolicy,
    ) -> Result<()> {
        match self {
            Scheduler::Local => container::set_restart(engine, container, restart).await,
        }
    }

    /// Stops a container for a new one beside which it cannot run, once it has answered what it was asked. It stays as
    /// it is, for [`Scheduler::resume`] if the new one fails. Its row says so already.
    pub(super) async fn suspend(self, instance: &Instance, engine: &Engine, container: &Container) -> Result<()> {
        match self {
            Scheduler::Local => container::stop(instance, engine, container).await,
        }
    }

    /// Starts a suspended container again, and gives it its requests back.
    pub(super) async fn resume(self, instance: &Instance, engine: &Engine, container: &Container) -> Result<()> {
        match self {
            Scheduler::Local => container::resume(instance, engine, container).await,
        }
    }

    /// Starts a container that runs a command once and has its row, and returns it as it is then.
    pub(super) async fn run_once(
        self,
        instance: &Instance,
        engine: &Engine,
        container: Container,
        program: &Program<'_>,
    ) -> Result<Container> {
        match self {
            Scheduler::Local => {
                let spec = container::spec(instance, &container, program)?;
                container::start(instance, engine, container, spec).await
            }
        }
    }

    /// Ends a container that runs a command once. It is still there then, with what it printed.
    pub(super) async fn end(self, engine: &Engine, container: &Container) -> Result<()> {
        match self {
            Scheduler::Local => container::end(engine, container).await,
        }
    }

    /// Ends a container that no longer serves, once it has answered what it was asked, and removes it. Its last lines
    /// are kept. Its row is the caller's.
    pub(super) async fn retire(self, instance: &Instance, engine: &Engine, container: &Container) -> Result<()> {
        match self {
            Scheduler::Local => {
                container::stop(instance, engine, container).await?;
                former_log::keep_log_of(instance, engine, container).await;
                container::remove(engine, &container.name).await
            }
        }
    }

    /// Starts a container that ended.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn start_again(self, engine: &Engine, container: &Container) -> Result<()> {
        match self {
            Scheduler::Local => container::start_again(engine, container).await,
        }
    }

    /// Stops a container that runs and starts it again.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn restart(self, engine: &Engine, container: &Container) -> Result<()> {
        match self {
            Scheduler::Local => container::restart(engine, container).await,
        }
    }

    /// Makes a live container anew that is lost, or cannot be started any more: of the same release, with the same
    /// name, and with the same address unless that is taken.
    ///
    /// # Errors
    /// What the engine says; [`Error::Store`].
    pub async fn remake(self, instance: &Instance, engine: &Engine, container: &Container) -> Result<()> {
        match self {
            Scheduler::Local => container::remake(instance, engine, container).await,
        }
    }

    /// Removes a container by its name in the engine, running or not, whether a row has it or not. One that is gone is
    /// fine.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn remove(self, engine: &Engine, name: &str) -> Result<()> {
        match self {
            Scheduler::Local => container::remove(engine, name).await,
        }
    }
}
