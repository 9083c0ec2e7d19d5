use clap::{Args, Subcommand};

use super::{
    arguments::{AppArgument, OptionalApp},
    exchange::{Bounds, Exchange, Input, Wanted},
    properties::{OptionalReporter, Reporter, Setter},
};
use crate::{
    Error, Result,
    context::Context,
    model::{Access, Noun, PathPrefix, PathTarget, Right, WebUser},
    ops::{
        self,
        edit::Outcome,
        proxy::{self, RulesChanged},
    },
    ui::Ui,
};

/// The proxy's rules for an app: passwords, headers, sizes, addresses, paths
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "proxy:report")]
    Report(Report),
    #[command(name = "proxy:set")]
    Set(Set),
    #[command(name = "proxy:enable")]
    Enable(Enable),
    #[command(name = "proxy:disable")]
    Disable(Disable),
    #[command(name = "proxy:auth-add")]
    AuthAdd(AuthAdd),
    #[command(name = "proxy:auth-remove")]
    AuthRemove(AuthRemove),
    #[command(name = "proxy:path-add")]
    PathAdd(PathAdd),
    #[command(name = "proxy:path-remove")]
    PathRemove(PathRemove),
    #[command(name = "proxy:snippet-set")]
    SnippetSet(SnippetSet),
    #[command(name = "proxy:snippet-show")]
    SnippetShow(SnippetShow),
    #[command(name = "proxy:snippet-clear")]
    SnippetClear(SnippetClear),
    #[command(name = "proxy:show-config")]
    ShowConfig(ShowConfig),
    #[command(name = "proxy:test")]
    Test(Test),
}

impl Command {
    pub(super) fn access(&self) -> Access<'_> {
        match self {
            Command::Report(it) => it.reporter.access(),
            Command::Set(it) => it.setter.access(Noun::Proxy),
            Command::Enable(it) => Access::App(&it.app.app, Right::Change),
            Command::Disable(it) => Access::App(&it.app.app, Right::Change),
            Command::AuthAdd(it) => Access::App(&it.app.app, Right::Change),
            Command::AuthRemove(it) => Access::App(&it.app.app, Right::Change),
            Command::PathAdd(it) => Access::App(&it.app.app, Right::Change),
            Command::PathRemove(it) => Access::App(&it.app.app, Right::Change),
            // What Caddy can do reaches files and addresses of the server.
            Command::SnippetSet(_) | Command::SnippetClear(_) => Access::Server(Right::Administer),
            Command::SnippetShow(it) => Access::App(&it.app.app, Right::Reveal),
            Command::ShowConfig(ShowConfig { app: OptionalApp { app: Some(app) } }) => Access::App(app, Right::Reveal),
            Command::ShowConfig(_) => Access::Server(Right::Administer),
            Command::Test(_) => Access::Server(Right::See),
        }
    }

    /// What it reads where it was typed.
    pub(super) fn exchange(&mut self) -> Exchange<'_> {
        match self {
            Command::AuthAdd(it) if !it.generate => Exchange::Input(it.wanted()),
            Command::SnippetSet(it) => Exchange::Input(it.wanted()),
            Command::AuthAdd(_)
            | Command::Report(_)
            | Command::Set(_)
            | Command::Enable(_)
            | Command::Disable(_)
            | Command::AuthRemove(_)
            | Command::PathAdd(_)
            | Command::PathRemove(_)
            | Command::SnippetShow(_)
            | Command::SnippetClear(_)
            | Command::ShowConfig(_)
            | Command::Test(_) => Exchange::Nothing,
        }
    }

    pub(super) async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        match self {
            Command::Report(it) => it.run(context, ui),
            Command::Set(it) => {
                proxy::check_addresses(context, &it.setter.words()?).await?;
                it.setter.run(context, ui, Noun::Proxy).await
            }
            Command::Enable(it) => changed(ui, &proxy::enable(context, &it.app.app, true).await?),
            Command::Disable(it) => changed(ui, &proxy::enable(context, &it.app.app, false).await?),
            Command::AuthAdd(it) => it.run(context, ui).await,
            Command::AuthRemove(it) => changed(ui, &proxy::remove_user(context, &it.app.app, &it.user).await?),
            Command::PathAdd(it) => {
                changed(ui, &proxy::add_path(context, &it.app.app, &it.prefix, &it.target, it.strip).await?)
            }
            Command::PathRemove(it) => changed(ui, &proxy::remove_path(context, &it.app.app, &it.prefix).await?),
            Command::SnippetSet(it) => it.run(context, ui).await,
            Command::SnippetShow(it) => ui.show(&proxy::snippet(context, &it.app.app)?),
            Command::SnippetClear(it) => changed(ui, &proxy::clear_snippet(context, &it.app.app).await?),
            Command::ShowConfig(it) => ui.show(&proxy::configuration(context, it.app.app.as_ref()).await?),
            Command::Test(it) => ui.show(&proxy::test(context, &it.url)?),
        }
    }
}

/// Says what became of a change of an app's rules.
fn changed(ui: Ui, changed: &RulesChanged) -> Result<()> {
    match changed.outcome {
        Outcome::Unchanged => ui.talk("nothing to change"),
        Outcome::Saved | Outcome::Deployed if changed.in_force => ui.talk("in force"),
        Outcome::Saved | Outcome::Deployed => ui.talk("saved; it is in force as soon as `paas serve` runs"),
    }
    ui.show(changed)
}

/// Show the rules of the proxy for an app, or which apps have some
#[derive(Debug, Args)]
pub(super) struct Report {
    #[command(flatten)]
    reporter: OptionalReporter,
}

impl Report {
    fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        if self.reporter.is_of_all() {
            return ui.show(&proxy::report_all(context)?);
        }
        let reporter = Reporter::from(self.reporter);
        match reporter.whole_app()? {
            Some(app) => ui.show(&proxy::report(context, &app)?),
            None => reporter.run(context, ui, Noun::Proxy),
        }
    }
}

/// Set rules of the proxy for an app, or for all apps
///
/// `paas proxy:set blog body-size=20m hsts=on`. Several headers are lines of one value:
/// `paas proxy:set blog response-headers=$'X-Frame-Options: DENY\n-Server'`.
///
/// A change is in force when the command returns. No request is lost by it, no connection of another app is cut, and no
/// container is restarted. An app with rules is reached through a second Caddy behind the first.
#[derive(Debug, Args)]
#[command(after_help = ops::properties::help(Noun::Proxy))]
pub(super) struct Set {
    #[command(flatten)]
    setter: Setter,
}

/// Pass requests to an app again
#[derive(Debug, Args)]
pub(super) struct Enable {
    #[command(flatten)]
    app: AppArgument,
}

/// Pass no requests to an app: its names answer 503 while it runs on
#[derive(Debug, Args)]
pub(super) struct Disable {
    #[command(flatten)]
    app: AppArgument,
}

/// Let a user see an app by a password
///
/// As soon as there is one user, everybody is asked for a name and a password (HTTP basic authentication). The password is
/// read from standard input or a file, and only a hash of it is kept. For a user who is there already, it is replaced.
#[derive(Debug, Args)]
pub(super) struct AuthAdd {
    #[command(flatten)]
    app: AppArgument,
    /// The name that the user types
    user: WebUser,
    /// A file with the password; `-` for standard input
    #[arg(long, value_name = "PATH", default_value = "-", value_hint = clap::ValueHint::FilePath)]
    from_file: Input,
    /// Make a password up, and print it
    #[arg(long, conflicts_with = "from_file")]
    generate: bool,
}

impl AuthAdd {
    fn wanted(&mut self) -> Wanted<'_> {
        Wanted {
            input: &mut self.from_file,
            bounds: Bounds { what: "a password", limit: 1000, hint: "a password has 72 bytes at most" },
            prompt: "Password:",
            secret: true,
        }
    }

    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let password = if self.generate {
            proxy::made_up_password()?
        } else {
            let text = String::from_utf8(self.from_file.bytes().to_vec())
                .map_err(|_| Error::usage("the password is not text (UTF-8)", "type another one"))?;
            text.strip_suffix('\n').map_or(text.as_str(), |line| line.trim_end_matches('\r')).to_owned()
        };
        let done = proxy::add_user(context, &self.app.app, &self.user, &password).await?;
        if self.generate {
            ui.talk(&format!("the password of {}, which is shown this once:", self.user));
            return ui.show(&proxy::Generated { app: self.app.app, user: self.user.to_string(), password });
        }
        changed(ui, &done)
    }
}

/// Take a user from an app; without users, everybody may see it
#[derive(Debug, Args)]
pub(super) struct AuthRemove {
    #[command(flatten)]
    app: AppArgument,
    /// The name of the user
    user: WebUser,
}

/// Send the requests for a path elsewhere: to an app or an address
///
/// `paas proxy:path-add shop /blog blog --strip` sends `/blog/a` of the app shop to the app blog as `/a`. The longest path
/// that takes a request in decides. Passwords, allowed addresses and headers of the app hold for its paths, too; those of
/// the other app do not. Another app is one that you may change; addresses are an admin's to give.
#[derive(Debug, Args)]
pub(super) struct PathAdd {
    #[command(flatten)]
    app: AppArgument,
    /// The beginning of the path, such as /api: it takes in /api and /api/users, not /apis
    #[arg(value_name = "PATH")]
    prefix: PathPrefix,
    /// An app, or an address such as 10.0.0.7:8080
    #[arg(value_name = "APP|ADDRESS")]
    target: PathTarget,
    /// Leave the beginning of the path out
    #[arg(long)]
    strip: bool,
}

/// Send the requests for a path to the app itself again
#[derive(Debug, Args)]
pub(super) struct PathRemove {
    #[command(flatten)]
    app: AppArgument,
    /// The beginning of the path
    #[arg(value_name = "PATH")]
    prefix: PathPrefix,
}

/// Add directives of a Caddyfile to the rules of an app
///
/// They are read from standard input, or from a file, and are those of one site: `echo 'respond /health 200' | paas
/// proxy:snippet-set blog`. Caddy reads them alone before they are taken. They come after passwords, addresses and headers,
/// and before paths and the app itself.
#[derive(Debug, Args)]
pub(super) struct SnippetSet {
    #[command(flatten)]
    app: AppArgument,
    /// The file; `-` for standard input
    #[arg(default_value = "-", value_hint = clap::ValueHint::FilePath)]
    file: Input,
}

impl SnippetSet {
    fn wanted(&mut self) -> Wanted<'_> {
        let bounds =
            Bounds { what: "a snippet", limit: proxy::LONGEST_SNIPPET as u64, hint: "give the directives of one app" };
        let prompt = "Type directives of a Caddyfile, then press Ctrl-D on a line of its own:";
        Wanted { input: &mut self.file, bounds, prompt, secret: false }
    }

    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let text = String::from_utf8(self.file.bytes().to_vec())
            .map_err(|_| Error::usage("the snippet is not text (UTF-8)", "give directives of a Caddyfile"))?;
        changed(ui, &proxy::set_snippet(context, &self.app.app, &text).await?)
    }
}

/// Print the directives that were added to the rules of an app
#[derive(Debug, Args)]
pub(super) struct SnippetShow {
    #[command(flatten)]
    app: AppArgument,
}

/// Remove the directives that were added to the rules of an app
#[derive(Debug, Args)]
pub(super) struct SnippetClear {
    #[command(flatten)]
    app: AppArgument,
}

/// Print Caddy's configuration: an app's rules, or the server's Caddyfile
#[derive(Debug, Args)]
pub(super) struct ShowConfig {
    #[command(flatten)]
    app: OptionalApp,
}

/// Explain what would answer a URL, and why
///
/// Which app, rule, release, container and certificate. No request is sent: this reads the same table that the edge reads.
#[derive(Debug, Args)]
pub(super) struct Test {
    /// The URL, such as `https://blog.example.com/path`
    url: String,
}
