//! The git services of an SSH session: they run git itself on an app's repository.

use crate::{
    Error, Kind, Result, deploy, exec,
    instance::Instance,
    model::{AppName, property},
    ops,
    settings::ACTOR_VARIABLE,
    ui::{self, Ui},
};

/// What git clients ask for (git-receive-pack(1), git-upload-pack(1), git-upload-archive(1)).
const SERVICES: [&str; 3] = ["git-receive-pack", "git-upload-pack", "git-upload-archive"];

/// Whether the first word of a session's command is a git service.
pub(super) fn is_service(word: &str) -> bool {
    SERVICES.contains(&word)
}

/// Becomes the git service for the app at `path`: `blog`, `/blog`, `blog.git`. A push creates an app that is not there.
pub(super) async fn serve(instance: &Instance, service: &str, path: &str) -> Result<()> {
    let name = path.trim_start_matches("~/").trim_matches('/');
    let app: AppName = name.strip_suffix(".git").unwrap_or(name).parse()?;
    let mut created = false;
    if instance.read(|tables| tables.find_app(&app))?.is_none() {
        if service != "git-receive-pack" {
            return Err(Error::AppNotFound(app));
        }
        if !instance.is_on(&property::CREATE_ON_PUSH)? {
            return Err(Error::AppNotCreatedOnPush(app));
        }
        match ops::apps::create(instance, &app).await {
            Ok(_) => {
                Ui::default().talk(&format!("-----> Created the app {app}"));
                created = true;
            }
            // Two first pushes at once.
            Err(Error::AppExists(_)) => {}
            Err(error) => return Err(error),
        }
    }
    if service == "git-receive-pack"
        && let Err(error @ Error::DiskFull { free: 0, .. }) = deploy::check_disk(instance)
    {
        // Git could not even take the objects in, to have them refused by the hook.
        crate::git::refuse_service(std::io::stdout(), ui::error_text(&error).trim_start_matches("error: "))?;
        return Err(error.told());
    }
    let repository = instance.settings.paths.repository(&app);
    // An app made by a process that died before it made the repository.
    crate::git::create_repository(&instance.settings.paths, &app)?;
    let mut command = exec::command("git");
    command
        .arg(service.strip_prefix("git-").unwrap_or(service))
        .arg(&repository)
        .envs(instance.settings.child_environment())
        .env(ACTOR_VARIABLE, instance.actor.to_string());
    if !created {
        return Err(exec::replace(command, std::process::Stdio::inherit()));
    }
    // Git asks the server before it knows whether it has anything to push.
    let status = exec::attached(command).await?;
    if ops::apps::remove_unused(instance, &app).await? {
        Ui::default().talk(&format!("-----> Removed the app {app} again: nothing was deployed"));
    }
    if status.success() { Ok(()) } else { Err(Error::Silent(Kind::App)) }
}
