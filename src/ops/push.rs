//! What a git push comes to: the refusals that need no object, and the deploy.

use crate::{
    Error, Result,
    context::Context,
    deploy::{self, Deployed, Push},
    error::PushError,
    git::{self, Incoming, RefUpdate},
    instance::Instance,
    model::{App, AppName, BranchName, CommitId},
    ui::DeployLog,
};

/// The push option that fails at once where another action holds the app.
const NO_WAIT: &str = "no-wait";

/// The branches that a tag of the same name stands for, as long as nothing says which branch deploys an app.
const USUAL_BRANCHES: [&str; 2] = ["main", "master"];

/// What a push brought, for the checks of it.
struct Brought<'a> {
    /// The commit that an object is or is a tag of, if it is one.
    commit_of: &'a dyn Fn(CommitId) -> Result<Option<CommitId>>,
    /// Whether the history of a commit ends where a shallow clone does.
    is_cut_off: &'a dyn Fn(CommitId) -> Result<bool>,
    /// Whether there is a branch of that name.
    has_branch: &'a dyn Fn(&BranchName) -> Result<bool>,
}

/// Refuses what cannot be a deploy, before git takes the objects in.
///
/// # Errors
/// `PushError::Refused`, `PushError::WrongBranch`, `HostError::DiskFull`.
pub fn check(instance: &Instance, app: &AppName, updates: &[RefUpdate]) -> Result<()> {
    let app = instance.read(|tables| tables.app(app))?;
    let incoming = Incoming::open()?;
    let repository = instance.settings.paths.repository(&app.name);
    let brought = Brought {
        commit_of: &|id| incoming.commit_of(id),
        is_cut_off: &|id| incoming.is_cut_off(id),
        has_branch: &|branch| git::has_branch(&repository, branch),
    };
    check_updates(&app, updates, &brought)?;
    deploy::refuse_locked(&app)?;
    deploy::check_disk(instance)
}

/// The tags that git hands to the proc-receive hook too: `git push paas v1:main` arrives as a tag named main where there
/// is no such branch yet, because the client then names it after what it pushes.
pub fn tags_for_branches(instance: &Instance, app: &AppName) -> Result<Vec<String>> {
    let app = instance.read(|tables| tables.app(app))?;
    Ok(branches_of_tags(&app).into_iter().map(|branch| format!("refs/tags/{branch}")).collect())
}

fn branches_of_tags(app: &App) -> Vec<&str> {
    app.deploy_branch.as_ref().map_or(USUAL_BRANCHES.to_vec(), |branch| vec![branch.as_str()])
}

/// The update of a branch that a pushed reference asks for, to a commit: a tag is followed to it, and a tag that stands
/// for a branch names it. Nothing where git itself is to move the reference.
///
/// # Errors
/// `PushError::Refused` where it is no commit.
pub fn deployable(
    instance: &Instance,
    app: &AppName,
    updates: &[RefUpdate],
    update: &RefUpdate,
) -> Result<Option<RefUpdate>> {
    let name = match update.tag() {
        Some(_) if updates.iter().any(|other| other.tag().is_none()) => return Ok(None),
        Some(tag) => format!("refs/heads/{tag}"),
        None => update.name.clone(),
    };
    let commit = git::commit_of(&instance.settings.paths.repository(app), update.new)?;
    let new = commit.ok_or_else(|| no_commit(update))?;
    Ok(Some(RefUpdate { old: update.old, new, name }))
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

fn no_commit(update: &RefUpdate) -> Error {
    Error::Push(PushError::Refused {
        message: format!("what was pushed to {} is not a commit", short(&update.name)),
        hint: "push a branch, or a tag of a commit: `git push paas HEAD:main`".to_owned(),
    })
}

fn check_updates(app: &App, updates: &[RefUpdate], brought: &Brought<'_>) -> Result<()> {
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
    // Tags too: git would take in a tag whose history is cut off, and be a shallow repository from then on.
    let take = |deploys: &RefUpdate| {
        (brought.commit_of)(deploys.new)?.ok_or_else(|| no_commit(deploys))?;
        for update in updates.iter().filter(|update| !update.new.is_zero()) {
            if let Some(commit) = (brought.commit_of)(update.new)?
                && (brought.is_cut_off)(commit)?
            {
                return refused(
                    "this clone is shallow: it does not have the whole history of what it pushes".to_owned(),
                    "`git fetch --unshallow`, then push again; in a CI job, have the checkout fetch all commits \
                     (`fetch-depth: 0`, `GIT_DEPTH: 0`)"
                        .to_owned(),
                );
            }
        }
        Ok(())
    };
    match branches.as_slice() {
        [] => {
            for update in updates {
                let stands_for = update.tag().filter(|tag| branches_of_tags(app).contains(tag));
                if let Some(branch) = stands_for.and_then(|tag| tag.parse::<BranchName>().ok())
                    && update.old.is_zero()
                    && !(brought.has_branch)(&branch)?
                {
                    return take(update);
                }
            }
            let Some(update) = updates.iter().find(|update| !update.new.is_zero()) else { return Ok(()) };
            let commit = (brought.commit_of)(update.new)?.ok_or_else(|| no_commit(update))?;
            refused(
                format!("pushing a tag does not deploy: {} deploys from a branch", app.name),
                // By its commit: what else is named like the tag in the clone may be another.
                format!(
                    "to deploy what {} points to: `git push paas {commit}:refs/heads/{deploy_branch}`",
                    short(&update.name)
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
                _ => take(update),
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
        // In these tests an object of nines is a tree, one of eights a tag of the commit of threes, and a history that
        // begins at sevens is cut off. There is a branch `old`.
        let id = |digit: &str| digit.repeat(40).parse::<CommitId>().unwrap();
        let brought = Brought {
            commit_of: &|object| {
                let commit = if object == id("8") { id("3") } else { object };
                Ok((object != id("9")).then_some(commit))
            },
            is_cut_off: &|commit| Ok(commit == id("7")),
            has_branch: &|branch| Ok(branch.as_str() == "old"),
        };
        match check_updates(&app, &updates, &brought) {
            Ok(()) => "taken".to_owned(),
            Err(error) => format!("{error}\n{}", error.hint().unwrap_or_default()),
        }
    }

    #[test]
    fn one_branch_is_a_deploy_and_may_bring_tags() {
        assert_eq!(refusal(None, &[("refs/heads/main", "1")]), "taken");
        assert_eq!(refusal(Some("main"), &[("refs/heads/main", "1"), ("refs/tags/v1", "2")]), "taken");
    }

    /// `git push paas v1:main` to an app that has no branch main.
    #[test]
    fn a_tag_that_is_named_like_the_branch_to_come_stands_for_it() {
        for (deploy_branch, tag) in [(None, "main"), (None, "master"), (Some("trunk"), "trunk")] {
            let name = format!("refs/tags/{tag}");
            assert_eq!(refusal(deploy_branch, &[(&name, "8")]), "taken");
            assert_eq!(refusal(deploy_branch, &[("refs/tags/v1", "8"), (&name, "8")]), "taken");
        }
        for (deploy_branch, tag) in [(None, "v1"), (Some("trunk"), "main"), (Some("old"), "old")] {
            let said = refusal(deploy_branch, &[(&format!("refs/tags/{tag}"), "8")]);
            assert!(said.starts_with("pushing a tag does not deploy"), "{said}");
        }
    }

    #[test]
    fn a_branch_takes_commits_and_tags_of_them_with_all_their_history() {
        assert_eq!(refusal(None, &[("refs/heads/main", "8")]), "taken");
        insta::assert_snapshot!(refusal(None, &[("refs/heads/main", "9")]), @r"
        what was pushed to main is not a commit
        push a branch, or a tag of a commit: `git push paas HEAD:main`
        ");
        let branch = ("refs/heads/main", "7");
        let with_tag = [("refs/heads/main", "1"), ("refs/tags/v0", "7")];
        for updates in [&[branch][..], &[("refs/tags/main", "7")], &with_tag] {
            insta::allow_duplicates! {
                insta::assert_snapshot!(refusal(None, updates), @r"
                this clone is shallow: it does not have the whole history of what it pushes
                `git fetch --unshallow`, then push again; in a CI job, have the checkout fetch all commits (`fetch-depth: 0`, `GIT_DEPTH: 0`)
                ");
            }
        }
    }

    #[test]
    fn everything_else_is_refused_with_what_to_type() {
        insta::assert_snapshot!(refusal(Some("main"), &[("refs/heads/dev", "1")]), @r"
        blog deploys from main, not from dev
        `git push paas HEAD:main` deploys what you have checked out once; `paas apps:set blog deploy-branch dev` makes it the deploy branch
        ");
        insta::assert_snapshot!(refusal(None, &[("refs/tags/v1", "8")]), @r"
        pushing a tag does not deploy: blog deploys from a branch
        to deploy what v1 points to: `git push paas 3333333333333333333333333333333333333333:refs/heads/main`
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
