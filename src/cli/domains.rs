use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;

use super::{
    arguments::{APP_WORD, AppArgument},
    completions::{app_names, domain_names, global_names},
};
use crate::{
    Result,
    context::Context,
    error::DomainError,
    model::{Access, AppName, Finding, Right, TypedDomain},
    ops::{
        domains::{self, DomainsChanged, GlobalDomains, NameInfo},
        edit::Outcome,
        resolution,
    },
    ui::Ui,
};

/// Domains: the names under which apps are reached
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "domains:report")]
    Report(Report),
    #[command(name = "domains:add")]
    Add(Add),
    #[command(name = "domains:check")]
    Check(Check),
    #[command(name = "domains:remove")]
    Remove(Remove),
    #[command(name = "domains:set")]
    Set(Set),
    #[command(name = "domains:clear")]
    Clear(Clear),
    #[command(name = "domains:reset")]
    Reset(Reset),
    #[command(name = "domains:enable")]
    Enable(Enable),
    #[command(name = "domains:disable")]
    Disable(Disable),
    #[command(name = "domains:add-global")]
    AddGlobal(AddGlobal),
    #[command(name = "domains:remove-global")]
    RemoveGlobal(RemoveGlobal),
    #[command(name = "domains:set-global")]
    SetGlobal(SetGlobal),
    #[command(name = "domains:clear-global")]
    ClearGlobal(ClearGlobal),
    #[command(name = "urls")]
    Urls(Urls),
    #[command(name = "url")]
    Url(Url),
}

impl Command {
    pub(super) fn access(&self) -> Access<'_> {
        match self {
            Command::Report(Report { app: Some(app), global: false }) => Access::App(app, Right::See),
            Command::Report(_) => Access::Server(Right::See),
            Command::Add(it) => Access::App(&it.app.app, Right::Change),
            Command::Check(it) => Access::App(&it.app.app, Right::See),
            Command::Remove(it) => Access::App(&it.app.app, Right::Change),
            Command::Set(it) => Access::App(&it.app.app, Right::Change),
            Command::Clear(it) => Access::App(&it.app.app, Right::Change),
            Command::Reset(it) => Access::App(&it.app.app, Right::Change),
            Command::Enable(it) => Access::App(&it.app.app, Right::Change),
            Command::Disable(it) => Access::App(&it.app.app, Right::Change),
            Command::AddGlobal(_) | Command::RemoveGlobal(_) | Command::SetGlobal(_) | Command::ClearGlobal(_) => {
                Access::Server(Right::Administer)
            }
            Command::Urls(it) => Access::App(&it.app.app, Right::See),
            Command::Url(it) => Access::App(&it.app.app, Right::See),
        }
    }

    pub(super) async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        match self {
            Command::Report(it) => it.run(context, ui),
            Command::Add(it) => it.run(context, ui).await,
            Command::Check(it) => it.run(context, ui).await,
            Command::Remove(it) => changed(ui, &domains::remove(context, &it.app.app, &it.domains).await?),
            Command::Set(it) => it.run(context, ui).await,
            Command::Clear(it) => changed(ui, &domains::clear(context, &it.app.app).await?),
            Command::Reset(it) => changed(ui, &domains::reset(context, &it.app.app).await?),
            Command::Enable(it) => changed(ui, &domains::enable(context, &it.app.app, true).await?),
            Command::Disable(it) => changed(ui, &domains::enable(context, &it.app.app, false).await?),
            Command::AddGlobal(it) => changed_global(ui, &domains::add_global(context, &it.domains).await?),
            Command::RemoveGlobal(it) => changed_global(ui, &domains::remove_global(context, &it.domains).await?),
            Command::SetGlobal(it) => changed_global(ui, &domains::set_global(context, &it.domains).await?),
            Command::ClearGlobal(ClearGlobal {}) => changed_global(ui, &domains::set_global(context, &[]).await?),
            Command::Urls(it) => ui.show(&domains::urls(context, &it.app.app)?),
            Command::Url(it) => ui.show(&domains::url(context, &it.app.app)?),
        }
    }
}

/// Says what became of an app's names.
fn changed(ui: Ui, changed: &DomainsChanged) -> Result<()> {
    for line in &changed.said {
        ui.talk(line);
    }
    match (&changed.now.url, changed.outcome) {
        (_, Outcome::Unchanged) => ui.talk(&format!("nothing to change: {} has these names already", changed.now.app)),
        (Some(url), _) => {
            let app = &changed.now.app;
            let more = match changed.now.domains.len() {
                0 | 1 => String::new(),
                names => format!(", the first of {names} names: `paas domains:report {app}` lists them"),
            };
            ui.talk(&format!("{app} is at {url}{more}"));
        }
        (None, _) => {}
    }
    ui.show(changed)
}

/// Says what became of the global domains.
fn changed_global(ui: Ui, changed: &GlobalDomains) -> Result<()> {
    match changed.outcome {
        Some(Outcome::Unchanged) => ui.talk("nothing to change: these are the global domains already"),
        _ if changed.global.is_empty() => {
            ui.talk(&format!("there is no global domain; apps are at APP.{}", changed.domain));
        }
        _ => {
            let names: Vec<String> = changed.global.iter().map(|name| format!("APP.{}", name.shown)).collect();
            ui.talk(&format!("apps are at APP.{}, {}", changed.domain, names.join(", ")));
        }
    }
    ui.show(changed)
}

/// Show the names of an app, or of all apps
///
/// `paas domains:report --global` shows the names below which each app has one.
#[derive(Debug, Args)]
pub(super) struct Report {
    /// The app [default: that of the clone, of --app or of PAAS_APP; else all apps]
    #[arg(id = APP_WORD, value_name = "APP", add = ArgValueCandidates::new(app_names))]
    app: Option<AppName>,
    /// Show the server's domain and the global ones
    #[arg(long)]
    global: bool,
}

impl Report {
    fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        match self.app {
            _ if self.global => ui.show(&domains::report_global(context)?),
            Some(app) => ui.show(&domains::report(context, &app)?),
            None => ui.show(&domains::report_all(context)?),
        }
    }
}

/// What takes a domain from the app that has it.
#[derive(Debug, Args)]
struct Moving {
    /// Take also what is a domain of another app, if you may change that app too
    #[arg(long = "move")]
    moves: bool,
}

/// Have an app reached at more names
///
/// `example.com` is one name, `*.example.com` each name one label below it that is nobody's, and `_` every name that leads
/// nowhere else. Case and a final dot do not matter; names in any letters are kept as punycode. All names of a command are
/// taken, or none. A release knows no domains, so a deploy or a rollback changes none. Below the server's domain and the
/// global ones, an app has its default names only, unless an administrator gives it others. Each name is looked up: whether
/// it leads to this server, and which record to set if not.
#[derive(Debug, Args)]
pub(super) struct Add {
    #[command(flatten)]
    app: AppArgument,
    /// The names, or one of its default names to turn these on
    #[arg(value_name = "DOMAIN", required = true)]
    domains: Vec<TypedDomain>,
    #[command(flatten)]
    moving: Moving,
}

impl Add {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let added = domains::add(context, &self.app.app, &self.domains, self.moving.moves).await?;
        changed(ui, &added)?;
        say_where_they_lead(context, ui, &added, &self.domains).await
    }
}

/// Says where names lead that an app was given. It is talk: nothing depends on it.
async fn say_where_they_lead(
    context: &Context<'_>,
    ui: Ui,
    given: &DomainsChanged,
    domains: &[TypedDomain],
) -> Result<()> {
    if !ui.talks() {
        return Ok(());
    }
    let is_given = |name: &NameInfo| domains.iter().any(|given| given.domain.to_string() == name.domain);
    let found = resolution::look_up(context, &given.now, is_given).await?;
    for domain in found.domains.iter().filter(|domain| domain.finding != Finding::NotLookedUp) {
        for line in &domain.said {
            ui.talk(line);
        }
    }
    if found.domains.iter().any(|domain| !domain.is_good()) {
        ui.talk(&format!("`paas domains:check {}` looks again", given.now.app));
    }
    Ok(())
}

/// Look whether an app's names lead to this server, and which records to set
///
/// A, AAAA and CAA records are looked up. Exits with 1 if a name does not lead here. Wildcards and names that the public
/// DNS does not have, such as those below .local, are not looked up. If the server is behind NAT, name its public addresses
/// in the setting public_addresses.
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    app: AppArgument,
    /// Only these names of the app
    #[arg(value_name = "DOMAIN", add = ArgValueCandidates::new(domain_names))]
    domains: Vec<TypedDomain>,
}

impl Check {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let found = resolution::check(context, &self.app.app, &self.domains).await?;
        ui.show(&found)?;
        let failed = found.domains.iter().filter(|domain| !domain.is_good()).count();
        if failed > 0 {
            return Err(DomainError::NotHere { failed, total: found.domains.len() }.into());
        }
        Ok(())
    }
}

/// Take names from an app
///
/// One of its default names turns all default names off; `paas domains:reset` turns them on.
#[derive(Debug, Args)]
pub(super) struct Remove {
    #[command(flatten)]
    app: AppArgument,
    /// The names
    #[arg(value_name = "DOMAIN", required = true, add = ArgValueCandidates::new(domain_names))]
    domains: Vec<TypedDomain>,
}

/// Replace all names of an app
///
/// Its other domains are taken from it, and its default names are off, unless one of them is among the new ones.
#[derive(Debug, Args)]
pub(super) struct Set {
    #[command(flatten)]
    app: AppArgument,
    /// The names
    #[arg(value_name = "DOMAIN", required = true)]
    domains: Vec<TypedDomain>,
    #[command(flatten)]
    moving: Moving,
}

impl Set {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let set = domains::set(context, &self.app.app, &self.domains, self.moving.moves).await?;
        changed(ui, &set)?;
        say_where_they_lead(context, ui, &set, &self.domains).await
    }
}

/// Take all names from an app, its default names too: it is reached at none
#[derive(Debug, Args)]
pub(super) struct Clear {
    #[command(flatten)]
    app: AppArgument,
}

/// Give an app its default names and no others
#[derive(Debug, Args)]
pub(super) struct Reset {
    #[command(flatten)]
    app: AppArgument,
}

/// Have an app reached at its names again
#[derive(Debug, Args)]
pub(super) struct Enable {
    #[command(flatten)]
    app: AppArgument,
}

/// Have an app reached at no name; it keeps all that it has
#[derive(Debug, Args)]
pub(super) struct Disable {
    #[command(flatten)]
    app: AppArgument,
}

/// Give each app a name below more names: APP.DOMAIN
#[derive(Debug, Args)]
pub(super) struct AddGlobal {
    /// The names
    #[arg(value_name = "DOMAIN", required = true)]
    domains: Vec<TypedDomain>,
}

/// Take from each app its name below some names
#[derive(Debug, Args)]
pub(super) struct RemoveGlobal {
    /// The names
    #[arg(value_name = "DOMAIN", required = true, add = ArgValueCandidates::new(global_names))]
    domains: Vec<TypedDomain>,
}

/// Replace the global domains
#[derive(Debug, Args)]
pub(super) struct SetGlobal {
    /// The names
    #[arg(value_name = "DOMAIN", required = true)]
    domains: Vec<TypedDomain>,
}

/// Have no global domains: apps keep their names below the server's domain
#[derive(Debug, Args)]
pub(super) struct ClearGlobal {}

/// Print all addresses of an app, a line each
#[derive(Debug, Args)]
pub(super) struct Urls {
    #[command(flatten)]
    app: AppArgument,
}

/// Print the address of an app: its first own domain, else its default name
///
/// Exits with 3 if it is reached at no name.
#[derive(Debug, Args)]
pub(super) struct Url {
    #[command(flatten)]
    app: AppArgument,
}
