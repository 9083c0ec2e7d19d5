use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;

use super::{
    arguments::{AppArgument, OptionalApp},
    completions::redirect_names,
};
use crate::{
    Error, Result,
    context::Context,
    model::{Access, RedirectCode, Right, TypedDomain},
    ops::{
        edit::Outcome,
        redirects::{self, RedirectsChanged, Wanted},
    },
    ui::Ui,
};

/// Redirects: names whose requests are sent on to another host
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "redirects:list")]
    List(List),
    #[command(name = "redirects:add")]
    Add(Box<Add>),
    #[command(name = "redirects:remove")]
    Remove(Remove),
}

impl Command {
    pub(super) fn access(&self) -> Access<'_> {
        match self {
            Command::List(List { app: OptionalApp { app: Some(app) } }) => Access::App(app, Right::See),
            Command::List(_) => Access::Server(Right::See),
            Command::Add(it) => Access::App(&it.app.app, Right::Change),
            Command::Remove(it) => Access::App(&it.app.app, Right::Change),
        }
    }

    pub(super) async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        match self {
            Command::List(it) => ui.show(&redirects::list(context, it.app.app.as_ref())?),
            Command::Add(it) => it.run(context, ui).await,
            Command::Remove(it) => changed(ui, &redirects::remove(context, &it.app.app, &it.names).await?),
        }
    }
}

/// Says what became of an app's redirects.
fn changed(ui: Ui, changed: &RedirectsChanged) -> Result<()> {
    for line in &changed.said {
        ui.talk(line);
    }
    if changed.outcome == Outcome::Unchanged {
        ui.talk("nothing to change: this redirect is there already");
    }
    for redirect in &changed.redirects.0 {
        ui.talk(&format!("{} is sent to {} ({})", redirect.shown, redirect.to, redirect.code));
    }
    ui.show(changed)
}

/// List the redirects of an app, or of all apps
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    app: OptionalApp,
}

/// Send the requests for a name on to another host
///
/// `paas redirects:add blog old.example example.com` sends `http://old.example/a?b` to `example.com/a?b`. `--bare
/// example.com` sends `www.example.com` to `example.com`, and `--www example.com` the other way; the host that they lead to
/// becomes a domain of the app. A name belongs to one app, as domains do, and need not be a domain of it. A redirect goes
/// before a domain of the same name.
#[derive(Debug, Args)]
pub(super) struct Add {
    #[command(flatten)]
    app: AppArgument,
    /// The name whose requests are sent on; `*.example.com` for each name one label below
    #[arg(value_name = "FROM-HOST", required_unless_present_any = ["bare", "www"], requires = "to")]
    from: Option<TypedDomain>,
    /// The host that they are sent to
    #[arg(value_name = "TO-HOST")]
    to: Option<TypedDomain>,
    /// Send www.DOMAIN to DOMAIN
    #[arg(long, value_name = "DOMAIN", conflicts_with_all = ["from", "www"])]
    bare: Option<TypedDomain>,
    /// Send DOMAIN to www.DOMAIN
    #[arg(long, value_name = "DOMAIN", conflicts_with = "from")]
    www: Option<TypedDomain>,
    /// 301 or 308: for good; 302 or 307: for now. 307 and 308 keep the method, so that a form stays a POST
    #[arg(long, default_value = "301", value_name = "CODE")]
    code: RedirectCode,
}

impl Add {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let wanted = match (self.from, self.to, self.bare, self.www) {
            (Some(from), Some(to), ..) => Wanted::Between(from, to),
            (_, _, Some(name), _) => Wanted::Bare(name),
            (.., Some(name)) => Wanted::Www(name),
            _ => return Err(Error::bug("clap let a redirect pass that leads nowhere")),
        };
        changed(ui, &redirects::add(context, &self.app.app, &wanted, self.code).await?)
    }
}

/// Send the requests for names on no more
#[derive(Debug, Args)]
pub(super) struct Remove {
    #[command(flatten)]
    app: AppArgument,
    /// The names whose requests are sent on
    #[arg(value_name = "FROM-HOST", required = true, add = ArgValueCandidates::new(redirect_names))]
    names: Vec<TypedDomain>,
}
