//! What a git push comes to: the refusals that need no object, and the deploy.

use crate::{
    Error, Result,
    context::Context,
    deploy::{self, Deployed, Push},
    error::PushError,
    git::RefUpdate,
    instance::Instance,
    model::{App, AppName},
    ui::DeployLog,
};

/// The push option that fails at once where another action holds the app.
const NO_WAIT: &str = "no-wait";

/// Refuses what cannot be a deploy, before git takes the objects in.
///
/// # Errors
/// `PushError::Refused`, `PushError::WrongBranch`, `HostError::DiskFull`.
pub fn check(instance: &Instance, app: &AppName, updates: &[RefUpdate]) -> Result<()> {
    let app = instance.read(|tables| tables.app(app))?;
    check_updates(&app, updates)?;
    deploy::refuse_locked(&app)?;
    deploy::check_disk(instance)
}

/// Refuses a disk that is too full for a deploy.
///
/// # Errors
/// `HostError::DiskFull`.
pub fn check_disk(instance: &Instance) -> Result<()> {
    deploy::check_disk(instance)
}

/// Deploys the one branch of a push.
///
/// # Errors
/// Whatever fails; nothing has changed then.
pub async fn deploy(
    context: &Context<'_>,
    app: &AppName,
    update: &RefUpdate,
    options: &[String],
    log: &DeployLog,
) -> Result<Deployed> {
    for option in options.iter().filter(|option| *option != NO_WAIT) {
        log.warn(&format!("unknown push option {option:?}: the only one is {NO_WAIT}"));
    }
    let branch = update.branch().ok_or_else(|| Error::bug(format!("{} is not a branch", update.name)))?;
    let push = Push {
        branch,
        commit: update.new,
        old_commit: (!update.old.is_zero()).then_some(update.old),
        wait: !options.iter().any(|option| option == NO_WAIT),
    };
    deploy::run(context, app, &deploy::Action::Push(push), log).await
}

fn check_updates(app: &App, updates: &[RefUpdate]) -> Result<()> {
    let deploy_branch = app.deploy_branch.as_ref().map_or("main", |branch| branch.as_str());
    let branches: Vec<&RefUpdate> = updates.iter().filter(|update| update.name.starts_with("refs/heads/")).collect();
    let refused = |message: String, hint: String| Err(Error::Push(PushError::Refused { message, hint }));
    if let Some(other) =
        updates.iter().find(|update| !update.name.starts_with("refs/heads/") && !update.name.starts_with("refs/tags/"))
    {
        return refused(
            format!("{} is neither a branch nor a tag", other.name),
            format!("push the deploy branch: `git push paas {deploy_branch}`"),
        );
    }
    if let Some(deleted) = branches.iter().find(|update| update.new.is_zero()) {
        return refused(
            format!("a branch of {} cannot be deleted: {}", app.name, short(&deleted.name)),
            format!("`paas ps:stop {0}` stops the app, `paas apps:destroy {0}` removes it", app.name),
        );
    }
    match branches.as_slice() {
        [] => {
            let tag = updates.first().map_or("TAG", |update| short(&update.name));
            refused(
                format!("pushing a tag does not deploy: {} deploys from a branch", app.name),
                format!(
                    "to deploy what {tag} points to: `git push paas '{tag}^{{commit}}:refs/heads/{deploy_branch}'`"
                ),
            )
        }
        [update] => {
            let Some(branch) = update.branch() else {
                return refused(
                    format!("{:?} is not a branch name", short(&update.name)),
                    format!("`git push paas HEAD:{deploy_branch}`"),
                );
            };
            match &app.deploy_branch {
                Some(deploy_branch) if *deploy_branch != branch => Err(Error::Push(PushError::WrongBranch {
                    app: app.name.clone(),
                    deploy_branch: deploy_branch.to_string(),
                    pushed: branch.to_string(),
                })),
                _ => Ok(()),
            }
        }
        several => {
            let names: Vec<&str> = several.iter().map(|update| short(&update.name)).collect();
            refused(
                format!("a push deploys one branch, and this one has {}: {}", names.len(), names.join(", ")),
                format!("push the deploy branch: `git push paas {deploy_branch}`"),
            )
        }
    }
}

fn short(name: &str) -> &str {
    name.strip_prefix("refs/heads/").or_else(|| name.strip_prefix("refs/tags/")).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AppId, AppState};

    fn refusal(deploy_branch: Option<&str>, updates: &[(&str, &str)]) -> String {
        let app = App {
            id: AppId(1),
            name: "blog".parse().unwrap(),
            state: AppState::New,
            deploy_branch: deploy_branch.map(|branch| branch.parse().unwrap()),
            current_release: None,
            lock: None,
            created_at: 0,
        };
        let updates: Vec<RefUpdate> = updates
            .iter()
            .map(|(name, digit)| RefUpdate {
                old: "0".repeat(40).parse().unwrap(),
                new: digit.repeat(40).parse().unwrap(),
                name: (*name).to_owned(),
            })
            .collect();
        match check_updates(&app, &updates) {
            Ok(()) => "taken".to_owned(),
            Err(error) => format!("{error}\n{}", error.hint().unwrap_or_default()),
        }
    }

    #[test]
    fn one_branch_is_a_deploy_and_may_bring_tags() {
        assert_eq!(refusal(None, &[("refs/heads/main", "1")]), "taken");
        assert_eq!(refusal(Some("main"), &[("refs/heads/main", "1"), ("refs/tags/v1", "2")]), "taken");
    }

    #[test]
    fn everything_else_is_refused_with_what_to_type() {
        insta::assert_snapshot!(refusal(Some("main"), &[("refs/heads/dev", "1")]), @r"
        blog deploys from main, not from dev
        `git push paas HEAD:main` deploys what you have checked out once; `paas apps:set blog deploy-branch dev` makes it the deploy branch
        ");
        insta::assert_snapshot!(refusal(None, &[("refs/tags/v1", "1")]), @r"
        pushing a tag does not deploy: blog deploys from a branch
        to deploy what v1 points to: `git push paas 'v1^{commit}:refs/heads/main'`
        ");
        insta::assert_snapshot!(refusal(None, &[("refs/heads/a", "1"), ("refs/heads/b", "1")]), @r"
        a push deploys one branch, and this one has 2: a, b
        push the deploy branch: `git push paas main`
        ");
        insta::assert_snapshot!(refusal(Some("main"), &[("refs/heads/main", "0")]), @r"
        a branch of blog cannot be deleted: main
        `paas ps:stop blog` stops the app, `paas apps:destroy blog` removes it
        ");
        insta::assert_snapshot!(refusal(Some("main"), &[("refs/notes/x", "1")]), @r"
        refs/notes/x is neither a branch nor a tag
        push the deploy branch: `git push paas main`
        ");
    }
}
