//! Who may do what: one policy, asked by every door (the command line, SSH, git, HTTP) before anything is done.
//!
//! Closed by default: a command states its [`Access`] beside what it does, and [`allow`] has no wildcard arms, so that
//! a new right or role does not compile until it is decided here.

use std::{fmt, net::IpAddr};

use super::{Actor, AppName, names::words};

words! {
    /// What a user is on the server, or for one app.
    Role, "role", {
        /// Sees everything but secrets, and changes nothing.
        Viewer = "viewer",
        /// Deploys and changes apps, and reads their secrets.
        Deployer = "deployer",
        /// May do everything.
        Admin = "admin",
    }
}

words! {
    /// What a command needs. Each is asked for the server or for one app.
    Right, "right", {
        /// Look at it: state, logs, history. Without it, it does not exist for the user.
        See = "see",
        /// Read what is confidential: the values of its secrets, its source. Whoever runs a program with them can.
        Reveal = "reveal",
        /// Bring out a version: push, roll back, restart, cancel.
        Deploy = "deploy",
        /// Change how it is run: config, properties, scale, lock.
        Change = "change",
        /// End it, rename it, say who may use it.
        Own = "own",
        /// Make a new app.
        Create = "create",
        /// Run the server: settings, keys, cleanup, the audit.
        Administer = "administer",
    }
}

words! {
    /// The way a request came in.
    Door, "door", {
        /// A shell on the server itself.
        Local = "local",
        /// The SSH server: a command.
        Ssh = "ssh",
        /// A git service, and the hooks that it runs.
        Git = "git",
        /// The HTTP listener.
        Http = "http",
        /// The daemon, by itself.
        Daemon = "daemon",
    }
}

impl Role {
    /// Whether the role has a right where it is held: on the server, or for one app.
    pub fn has(self, right: Right) -> bool {
        match (self, right) {
            (Role::Viewer | Role::Deployer | Role::Admin, Right::See)
            | (Role::Deployer | Role::Admin, Right::Reveal | Right::Deploy | Right::Change | Right::Create)
            | (Role::Admin, Right::Own | Right::Administer) => true,
            (Role::Viewer, Right::Reveal | Right::Deploy | Right::Change | Right::Create)
            | (Role::Viewer | Role::Deployer, Right::Own | Right::Administer) => false,
        }
    }
}

impl Right {
    /// What it is, for docs/reference.md.
    pub fn about(self) -> &'static str {
        match self {
            Right::See => "see it: status, logs, history; without this right, it is hidden from the user",
            Right::Reveal => {
                "read confidential data: the values of its secrets, its source; run programs that have them"
            }
            Right::Deploy => "deploy a version: push, roll back, restart, cancel",
            Right::Change => "change how it runs: config, properties, scale, lock",
            Right::Own => "destroy it",
            Right::Create => "create a new app",
            Right::Administer => "run the server: settings, keys, cleanup, events of the server",
        }
    }

    /// Whether the right is about an app, so that a role granted for one app can give it.
    pub fn is_of_an_app(self) -> bool {
        match self {
            Right::See | Right::Reveal | Right::Deploy | Right::Change | Right::Own => true,
            Right::Create | Right::Administer => false,
        }
    }
}

/// A role that holds for one app only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The app.
    pub app: AppName,
    /// What the user is for it.
    pub role: Role,
}

/// Who asks, by which door, and what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub actor: Actor,
    /// By which door.
    pub door: Door,
    /// From where, if the door is one of the network's.
    pub address: Option<IpAddr>,
    /// What they are on the server; none: only what they are granted for single apps.
    pub role: Option<Role>,
    /// What they are for single apps.
    pub grants: Vec<Grant>,
}

impl Caller {
    /// The owner of the server: a user of the machine who may run `paas` as the owner of its root directory.
    pub fn owner(name: impl Into<String>) -> Caller {
        Caller {
            actor: Actor::Local(name.into()),
            door: Door::Local,
            address: None,
            role: Some(Role::Admin),
            grants: Vec::new(),
        }
    }

    /// Somebody who has not said who they are, over HTTP.
    pub fn guest(address: Option<IpAddr>) -> Caller {
        Caller { actor: Actor::Guest, door: Door::Http, address, role: None, grants: Vec::new() }
    }

    /// The daemon, by itself.
    pub fn daemon() -> Caller {
        Caller { actor: Actor::Daemon, door: Door::Daemon, address: None, role: Some(Role::Admin), grants: Vec::new() }
    }

    /// Whether the caller has a right on the server as a whole.
    pub fn may(&self, right: Right) -> bool {
        self.role.is_some_and(|role| role.has(right))
    }

    /// Whether the caller has a right for an app.
    pub fn may_for(&self, app: &AppName, right: Right) -> bool {
        let granted =
            self.grants.iter().any(|grant| grant.app == *app && right.is_of_an_app() && grant.role.has(right));
        self.may(right) || granted
    }
}

/// What a command needs, stated beside the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access<'a> {
    /// It works on this machine, without an instance or as its daemon: anybody with a shell on it.
    Here,
    /// Programs of ours run it, and git: nobody types it, and it comes by no door of the network.
    Inside,
    /// A right on the server. [`Right::See`] is also had by those who see a single app: they get no more than that app.
    Server(Right),
    /// A right for an app.
    App(&'a AppName, Right),
    /// A right for the app of an operation, which is named by its number, by the app, or is the newest.
    Operation(Option<&'a str>, Right),
}

/// What [`Access`] comes to once it is known of which app an operation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Needed {
    /// Anybody who reaches the door: what it answers is public.
    Anybody,
    /// See [`Access::Here`].
    Here,
    /// See [`Access::Inside`].
    Inside,
    /// See [`Access::Server`].
    Server(Right),
    /// See [`Access::App`].
    App(AppName, Right),
}

/// Why a caller may not do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is done on the server itself, not over the network.
    OnlyHere,
    /// The caller may not see the app: for them there is none.
    Hidden(AppName),
    /// The caller lacks a right.
    Lacks {
        /// The right.
        right: Right,
        /// The app it is about; none: the server.
        app: Option<AppName>,
    },
}

/// Whether a caller may do what needs this.
///
/// # Errors
/// A [`Refusal`].
pub fn allow(caller: &Caller, needed: &Needed) -> Result<(), Refusal> {
    match needed {
        Needed::Anybody => Ok(()),
        Needed::Here | Needed::Inside => match caller.door {
            Door::Local | Door::Daemon => Ok(()),
            // A hook of git's is one of ours that runs inside; what it does is asked again, as the app's.
            Door::Git if *needed == Needed::Inside => Ok(()),
            Door::Git | Door::Ssh | Door::Http => Err(Refusal::OnlyHere),
        },
        Needed::Server(right) => {
            let sees_a_part = *right == Right::See && caller.grants.iter().any(|grant| grant.role.has(Right::See));
            if caller.may(*right) || sees_a_part { Ok(()) } else { Err(Refusal::Lacks { right: *right, app: None }) }
        }
        Needed::App(app, right) => {
            if !caller.may_for(app, Right::See) {
                Err(Refusal::Hidden(app.clone()))
            } else if !caller.may_for(app, *right) {
                Err(Refusal::Lacks { right: *right, app: Some(app.clone()) })
            } else {
                Ok(())
            }
        }
    }
}

impl fmt::Display for Access<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Access::Here | Access::Inside => formatter.write_str("a shell on the machine"),
            Access::Server(right) => write!(formatter, "{right}, on the server"),
            Access::App(_, right) | Access::Operation(_, right) => write!(formatter, "{right}, for the app"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(door: Door, role: Option<Role>, granted: Option<Role>) -> Caller {
        let grants = granted.map(|role| Grant { app: "blog".parse().unwrap(), role }).into_iter().collect();
        Caller { actor: Actor::Key("ann".to_owned()), door, address: None, role, grants }
    }

    /// Every role, on the server and for the app `blog`, against every right: `+` may, `-` may not, `0` does not see it.
    #[test]
    fn the_policy_as_a_table() {
        let mut table = String::new();
        let mut roles: Vec<(String, Option<Role>, Option<Role>)> = vec![("nobody".to_owned(), None, None)];
        roles.extend(Role::ALL.map(|role| (role.to_string(), Some(role), None)));
        roles.extend(Role::ALL.map(|role| (format!("{role} of blog"), None, Some(role))));
        for (name, role, granted) in roles {
            let caller = caller(Door::Ssh, role, granted);
            let mut line = format!("{name:<18}");
            for needed in [
                |right| Needed::Server(right),
                |right| Needed::App("blog".parse().unwrap(), right),
                |right| Needed::App("shop".parse().unwrap(), right),
            ] {
                for right in Right::ALL {
                    line.push(match allow(&caller, &needed(right)) {
                        Ok(()) => '+',
                        Err(Refusal::Hidden(_)) => '0',
                        Err(_) => '-',
                    });
                }
                line.push(' ');
            }
            table.push_str(line.trim_end());
            table.push('\n');
        }
        insta::assert_snapshot!(table, @r"
        nobody            ------- 0000000 0000000
        viewer            +------ +------ +------
        deployer          ++++-+- ++++-+- ++++-+-
        admin             +++++++ +++++++ +++++++
        viewer of blog    +------ +------ 0000000
        deployer of blog  +------ ++++--- 0000000
        admin of blog     +------ +++++-- 0000000
        ");
    }

    #[test]
    fn what_is_done_on_the_machine_comes_by_no_door_of_the_network() {
        for (door, here, inside) in [
            (Door::Local, true, true),
            (Door::Daemon, true, true),
            (Door::Git, false, true),
            (Door::Ssh, false, false),
            (Door::Http, false, false),
        ] {
            let caller = caller(door, Some(Role::Admin), None);
            assert_eq!(allow(&caller, &Needed::Here).is_ok(), here, "{door}");
            assert_eq!(allow(&caller, &Needed::Inside).is_ok(), inside, "{door}");
        }
    }
}
