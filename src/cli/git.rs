//! The git services of an SSH session: they run git itself on an app's repository.

pub(super) use crate::git::{Service, lfs_refusal};
use crate::{
    Error, Kind, Result,
    context::Context,
    error::{HostError, PushError},
    exec,
    model::{AppName, Needed, Right, property},
    ops::{self, access::check},
    settings::{ACTOR_VARIABLE, ADDRESS_VARIABLE},
    ui::{self, Ui},
    work::guard,
};

/// What a service needs for an app that exists.
fn right(service: Service) -> Right {
    match service {
        Service::Receive => Right::Deploy,
        Service::Upload | Service::Archive => Right::Reveal,
    }
}

/// Becomes the git service for the app at `path`: `blog`, `/blog`, `blog.git`. A push creates an app that is not there.
pub(super) async fn serve(context: &Context<'_>, service: Service, path: &str) -> Result<()> {
    let instance = context.instance;
    let name = path.trim_start_matches("~/").trim_matches('/');
    let app: AppName = name.strip_suffix(".git").unwrap_or(name).parse()?;
    let mut created = false;
    if ops::apps::is_there(instance, &app)? {
        check(context, "git", &Needed::App(app.clone(), right(service)))?;
    } else {
        // Who may not see what is there is not told what is not.
        if service != Service::Receive {
            check(context, "git", &Needed::Server(Right::See))?;
            return Err(Error::no_app(&app));
        }
        check(context, "git", &Needed::Server(Right::Create))?;
        if !instance.is_on(&property::CREATE_ON_PUSH)? {
            return Err(PushError::NoApp { app }.into());
        }
        match ops::apps::create(context, &app).await {
            Ok(_) => {
                Ui::default().talk(&format!("-----> Created the app {app}"));
                created = true;
            }
            // Two first pushes at once.
            Err(Error::Exists(..)) => {}
            Err(error) => return Err(error),
        }
    }
    if service == Service::Receive
        && let Err(error @ Error::Host(HostError::DiskFull { free: 0, .. })) = ops::push::check_disk(instance)
    {
        // Git could not even take the objects in, to have them refused by the hook.
        crate::git::refuse_service(std::io::stdout(), ui::error_text(&error).trim_start_matches("error: "))?;
        return Err(error.told());
    }
    let repository = instance.settings.paths.repository(&app);
    // An app made by a process that died before it made the repository.
    crate::git::create_repository(&instance.settings.paths, &app)?;
    let mut command = exec::command("git");
    if service == Service::Receive {
        // Git takes in what a stranger sends, and its hooks inherit this.
        guard(instance.number(&property::DEPLOY_MEMORY_MB, None)?.saturating_mul(1_000_000));
        // Git refuses a shallow push before any hook, in three words; our hook refuses it with what to do.
        command.args(["-c", "receive.shallowUpdate=true"]);
        for tag in ops::push::tags_for_branches(instance, &app)? {
            command.args(["-c", &format!("receive.procReceiveRefs=a:{tag}")]);
        }
    }
    command
        .arg(service.command())
        .arg(&repository)
        .envs(instance.settings.child_environment())
        .env(ACTOR_VARIABLE, context.actor().to_string());
    if let Some(address) = context.caller.address {
        command.env(ADDRESS_VARIABLE, address.to_string());
    }
    if !created {
        return Err(exec::replace(command, std::process::Stdio::inherit()));
    }
    // Git asks the server before it knows whether it has anything to push.
    let status = exec::attached(command).await?;
    if ops::apps::remove_unused(context, &app).await? {
        Ui::default().talk(&format!("-----> Removed the app {app} again: nothing was deployed"));
    }
    if status.success() { Ok(()) } else { Err(Error::Silent(Kind::App)) }
}
