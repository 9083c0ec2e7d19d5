use std::io;

use clap::{Args, Subcommand};

use crate::{
    Error, Result,
    context::Context,
    git::{ProcReceive, read_updates},
    model::{AppName, Needed, Right},
    ops::{self, access::check},
    ui::{DeployLog, Ui},
};

/// Run as a git hook, in the repository of an app
#[derive(Debug, Args)]
pub(super) struct Hook {
    #[command(subcommand)]
    hook: Name,
}

#[derive(Debug, Subcommand)]
enum Name {
    /// Refuse what cannot be a deploy
    PreReceive,
    /// Deploy what was pushed
    ProcReceive,
}

impl Hook {
    pub(super) async fn run(self, context: &Context<'_>) -> Result<()> {
        let app = app_of_directory()?;
        check(context, "git", &Needed::App(app.clone(), Right::Deploy))?;
        match self.hook {
            Name::PreReceive => pre_receive(context, &app),
            Name::ProcReceive => proc_receive(context, &app).await,
        }
    }
}

/// Git runs hooks in the repository.
fn app_of_directory() -> Result<AppName> {
    let directory = std::env::current_dir().map_err(Error::io("find the repository of the hook"))?;
    let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    Ok(name.strip_suffix(".git").unwrap_or(name).parse()?)
}

fn pre_receive(context: &Context<'_>, app: &AppName) -> Result<()> {
    let updates = read_updates(io::stdin().lock())?;
    ops::push::check(context.instance, app, &updates).map_err(|error| {
        let log = DeployLog::to_stderr(Ui::default());
        log.error(&error);
        log.flush();
        error.told()
    })
}

async fn proc_receive(context: &Context<'_>, app: &AppName) -> Result<()> {
    let mut conversation = ProcReceive::begin(io::stdin(), io::stdout())?;
    let log = DeployLog::to_stderr(Ui::default());
    let updates = conversation.updates.clone();
    for update in &updates {
        let deployed = match ops::push::deployable(context.instance, app, &updates, update) {
            Ok(None) => {
                drop(conversation.fall_through(&update.name));
                continue;
            }
            Ok(Some(branch)) => {
                ops::push::deploy(context, app, &branch, &conversation.options, &log).await.map(|_| branch)
            }
            Err(error) => Err(error),
        };
        // The deploy is over, and its outcome stands, whether or not anybody is left to hear of it.
        drop(match deployed {
            Ok(branch) if branch == *update => conversation.ok(&update.name),
            Ok(branch) => conversation.ok_as(&update.name, &branch),
            Err(error) => {
                if !error.is_told() {
                    log.error(&error);
                    log.flush();
                }
                let serves = match ops::apps::current_release(context, app) {
                    Some(release) => format!("{release} still serves"),
                    None => {
                        log.detail(&format!(
                            "the app {app} was created and has no release yet: push again, or remove it with \
                                 `paas apps:destroy {app}`"
                        ));
                        log.flush();
                        format!("nothing was deployed to {app}")
                    }
                };
                conversation.refuse(&update.name, &format!("{}: {serves}", error.short()))
            }
        });
    }
    drop(conversation.end());
    Ok(())
}
