//! The laptop's door: in a clone with a remote named `paas`, and with no instance on this machine, a command line goes
//! to the server over SSH as it is.

use std::ffi::OsString;

use crate::{Error, exec, model::AppName};

/// The server behind the remote `paas` of the clone we are in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Server {
    user: String,
    host: String,
    port: Option<u16>,
    /// The app that the clone is pushed to.
    pub(super) app: Option<AppName>,
}

impl Server {
    /// The server of the clone in the current directory, if it is one and has such a remote.
    pub(super) fn of_this_clone() -> Option<Server> {
        let repository = git2::Repository::discover(".").ok()?;
        let remote = repository.find_remote("paas").ok()?;
        Server::parse(remote.url().ok()?)
    }

    /// Reads both of git's spellings: `ssh://paas@host:2222/blog` and `paas@host:blog` (git-clone(1), GIT URLS).
    fn parse(url: &str) -> Option<Server> {
        let (authority, port, path) = match url.strip_prefix("ssh://") {
            Some(rest) => {
                let (authority, path) = rest.split_once('/')?;
                match authority.rsplit_once(':') {
                    Some((authority, port)) => (authority, Some(port.parse().ok()?), path),
                    None => (authority, None, path),
                }
            }
            None if url.contains("://") => return None,
            None => {
                let (authority, path) = url.split_once(':')?;
                (authority, None, path)
            }
        };
        let name = path.trim_matches('/');
        let app = name.strip_suffix(".git").unwrap_or(name).parse().ok();
        let (user, host) = authority.split_once('@')?;
        // ssh would take either for an option.
        let plain = |text: &str| !text.is_empty() && !text.starts_with('-') && !text.contains(char::is_whitespace);
        (plain(user) && plain(host)).then(|| Server { user: user.to_owned(), host: host.to_owned(), port, app })
    }

    /// Becomes ssh with the command line for the server. Returns only where there is no ssh.
    pub(super) fn run(&self, arguments: &[OsString], input: Option<std::fs::File>) -> Error {
        let words = arguments.iter().skip(1).map(|word| word.to_string_lossy().into_owned());
        let mut command = exec::command_of_user("ssh");
        if let Some(port) = self.port {
            command.arg("-p").arg(port.to_string());
        }
        command.arg(format!("{}@{}", self.user, self.host)).arg("--").arg(shell_words::join(words));
        exec::replace(command, input.map_or_else(std::process::Stdio::inherit, std::process::Stdio::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_git_are_read() {
        let server = |host: &str, port| Server {
            user: "paas".to_owned(),
            host: host.to_owned(),
            port,
            app: "blog".parse().ok(),
        };
        assert_eq!(Server::parse("ssh://paas@example.com:2222/blog"), Some(server("example.com", Some(2222))));
        assert_eq!(Server::parse("ssh://paas@example.com/blog"), Some(server("example.com", None)));
        assert_eq!(Server::parse("paas@example.com:blog"), Some(server("example.com", None)));
        for bad in
            ["https://example.com/blog", "/srv/blog.git", "ssh://-oProxyCommand=x@h/blog", "paas@-h:blog", "blog"]
        {
            assert_eq!(Server::parse(bad), None, "{bad}");
        }
    }
}
