//! The laptop's door: in a clone with a remote named `paas`, and with no instance on this machine, a command line goes
//! to the server over SSH as it is.

use std::{ffi::OsString, io::Read, net::Ipv6Addr};

use url::Url;

use crate::{Error, Result, error::UsageError, exec, files, model::AppName, ui};

/// The longest command line that is a word for ssh. A word has 131,071 bytes at most (execve(2)), and OpenSSH sends no
/// request beyond 256 kB.
const LONGEST_LINE: usize = 100_000;
/// What is sent in place of a longer command line, with its length: the line itself comes on standard input.
const LINE_ON_STDIN: &str = "line-on-stdin";
/// The longest command line that is read from standard input: as long as the arguments of a process can be.
const LONGEST_READ: usize = 2 << 20;

/// Reads the command line that a client sent on standard input, if its words say so.
///
/// # Errors
/// [`Error::Usage`] where it is too long, is cut short, or is no text.
pub(super) fn line_on_stdin(words: &[String], stdin: impl Read) -> Result<Option<String>> {
    let length = match words {
        [word, length] if word == LINE_ON_STDIN => length.parse::<usize>().ok().filter(|it| *it <= LONGEST_READ),
        _ => return Ok(None),
    };
    let bad = |why: &str| {
        let (message, hint) = (format!("the command line {why}"), "`paas --help` lists the commands".to_owned());
        Error::Usage(UsageError::Command { message, hint })
    };
    let length = length.ok_or_else(|| bad(&format!("on standard input is longer than {LONGEST_READ} bytes")))?;
    let mut line = Vec::with_capacity(length);
    stdin.take(length as u64).read_to_end(&mut line).map_err(Error::io("read the command line"))?;
    if line.len() < length {
        return Err(bad("on standard input is cut short"));
    }
    String::from_utf8(line).map(Some).map_err(|_| bad("is not valid UTF-8"))
}

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

    /// Reads both of git's spellings: `ssh://paas@host:2222/blog` and `paas@host:blog` (git-clone(1), GIT URLS), with an
    /// address of IPv6 in brackets in place of the host, too.
    ///
    /// Whoever made the clone wrote it, and it becomes words for ssh: what is not plainly a user and a host is no server.
    fn parse(url: &str) -> Option<Server> {
        let (user, host, port, path) = if url.contains("://") {
            let url = Url::parse(url).ok().filter(|url| url.scheme() == "ssh" && url.password().is_none())?;
            let host = match url.host()? {
                url::Host::Ipv6(address) => address.to_string(),
                other => other.to_string(),
            };
            (url.username().to_owned(), host, url.port(), url.path().to_owned())
        } else {
            let (user, rest) = url.split_once('@')?;
            let (host, path) = match rest.strip_prefix('[') {
                Some(rest) => {
                    let (address, path) = rest.split_once("]:")?;
                    (address.parse::<Ipv6Addr>().ok()?.to_string(), path)
                }
                None => rest.split_once(':').map(|(host, path)| (host.to_owned(), path))?,
            };
            (user.to_owned(), host, None, path.to_owned())
        };
        if !is_plain(&user) || !(is_plain(&host) || host.parse::<Ipv6Addr>().is_ok()) {
            return None;
        }
        let name = path.trim_start_matches('/').trim_start_matches("~/").trim_matches('/');
        let app = name.strip_suffix(".git").unwrap_or(name).parse().ok();
        Some(Server { user, host, port, app })
    }

    /// Becomes ssh with the command line for the server. Returns only where there is no ssh.
    ///
    /// `input`: what the command reads in place of our own standard input.
    pub(super) fn run(&self, arguments: &[OsString], input: Option<std::fs::File>) -> Error {
        let mut command = exec::command_of_user("ssh");
        let typed = arguments.iter().skip(1).map(|word| word.to_string_lossy().into_owned());
        let mut line = shell_words::join(typed);
        let mut input = input;
        if line.len() > LONGEST_LINE && input.is_none() {
            let words = format!("{LINE_ON_STDIN} {}", line.len());
            input = match files::in_memory("command line", line.as_bytes()) {
                Ok(file) => Some(file),
                Err(error) => return error,
            };
            line = words;
        }
        // Over a terminal the streams are one: if one of them were a file or a pipe, it would get what is for the others.
        command.args(self.ssh_arguments(line, input.is_none() && ui::is_at_terminal()));
        exec::replace(command, input.map_or_else(std::process::Stdio::inherit, std::process::Stdio::from))
    }

    /// A command line for the server, given by its words after `paas`, over pipes.
    pub(super) fn command(&self, words: &[OsString]) -> tokio::process::Command {
        let mut command = exec::command_of_user("ssh");
        let line = shell_words::join(words.iter().map(|word| word.to_string_lossy().into_owned()));
        command.args(self.ssh_arguments(line, false));
        command
    }

    /// What ssh is called with. With a terminal, questions and the spinner are there as on the server.
    fn ssh_arguments(&self, line: String, terminal: bool) -> Vec<String> {
        let mut words = Vec::new();
        if terminal {
            // Without the second, ssh says at the end of each command that the connection is closed.
            words.extend(["-t", "-o", "LogLevel=ERROR"].map(str::to_owned));
        }
        if let Some(port) = self.port {
            words.extend(["-p".to_owned(), port.to_string()]);
        }
        words.extend([format!("{}@{}", self.user, self.host), "--".to_owned(), line]);
        words
    }
}

/// Whether a text is a user's or a host's name and nothing else: ssh would take a dash for an option, and makes a command
/// line of both where its settings say so.
fn is_plain(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !text.is_empty() && !text.starts_with('-') && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_git_are_read() {
        for (url, host, port, app) in [
            ("ssh://paas@example.com:2222/blog", "example.com", Some(2222), Some("blog")),
            ("ssh://paas@example.com/blog", "example.com", None, Some("blog")),
            ("ssh://paas@example.com/~/blog.git/", "example.com", None, Some("blog")),
            ("ssh://paas@192.0.2.1:22/blog", "192.0.2.1", Some(22), Some("blog")),
            ("ssh://paas@[::1]:2222/blog", "::1", Some(2222), Some("blog")),
            ("ssh://paas@[2001:DB8:0::1]/blog", "2001:db8::1", None, Some("blog")),
            ("ssh://paas@my_box.local/deep/blog", "my_box.local", None, None),
            ("ssh://paas@example.com", "example.com", None, None),
            ("paas@example.com:blog", "example.com", None, Some("blog")),
            ("paas@example.com:/blog.git", "example.com", None, Some("blog")),
            ("paas@example.com:~/blog", "example.com", None, Some("blog")),
            ("paas@[::1]:blog", "::1", None, Some("blog")),
            ("paas@box:", "box", None, None),
            ("paas@box:No_Name", "box", None, None),
        ] {
            let wanted = Server {
                user: "paas".to_owned(),
                host: host.to_owned(),
                port,
                app: app.map(|app| app.parse().unwrap()),
            };
            assert_eq!(Server::parse(url), Some(wanted), "{url}");
        }
    }

    #[test]
    fn what_is_not_plainly_a_user_and_a_host_is_no_server() {
        for bad in [
            "",
            "blog",
            "/srv/blog.git",
            "./paas@host:blog",
            "host:blog",
            "https://paas@example.com/blog",
            "file:///srv/blog",
            "ssh:///blog",
            "ssh://example.com/blog",
            "ssh://paas:secret@example.com/blog",
            "ssh://paas@example.com:70000/blog",
            "ssh://-oProxyCommand=x@h/blog",
            "ssh://paas@-oProxyCommand=x/blog",
            "ssh://paas@-h/blog",
            "ssh://paas@[::1/blog",
            "ssh://paas@[::1%25eth0]/blog",
            "ssh://pa%20as@host/blog",
            "ssh://paas@ho%24st/blog",
            "ssh://paas@ho`id`st/blog",
            "ssh://paas@ho$(id)st/blog",
            "ssh://paas@ho;st/blog",
            "paas@-h:blog",
            "-l@host:blog",
            "paas@ho st:blog",
            "pa as@host:blog",
            "paas@ho\u{7}st:blog",
            "paas@ho\nst:blog",
            "paas@%h:blog",
            "paas@`id`:blog",
            "paas@$(id):blog",
            "paas@a@b:blog",
            "paas@[-h]:blog",
            "paas@[::1]blog",
            "paas@[fe80::1%eth0]:blog",
            "paas@h\u{f6}st:blog",
            "@host:blog",
            "paas@:blog",
        ] {
            assert_eq!(Server::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn ssh_is_given_words_and_a_terminal_where_somebody_sits_at_one() {
        let line = shell_words::join(["config:set", "A=it's \"so\" $HOME"]);
        assert_eq!(line, r#"config:set 'A=it'\''s "so" $HOME'"#);
        let by_url = Server::parse("ssh://paas@[::1]:2222/blog").unwrap();
        assert_eq!(by_url.ssh_arguments(line.clone(), false), ["-p", "2222", "paas@::1", "--", &line]);
        let by_name = Server::parse("paas@box:blog").unwrap();
        assert_eq!(by_name.ssh_arguments(line.clone(), true), ["-t", "-o", "LogLevel=ERROR", "paas@box", "--", &line]);
    }

    #[test]
    fn a_long_command_line_is_read_from_standard_input_and_the_rest_is_left_there() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let mut stdin = "config:set blog A=1 and the rest".as_bytes();
        let line = line_on_stdin(&words(&[LINE_ON_STDIN, "19"]), &mut stdin).unwrap();
        assert_eq!((line.as_deref(), stdin), (Some("config:set blog A=1"), " and the rest".as_bytes()));
        assert_eq!(line_on_stdin(&words(&["apps:list"]), stdin).unwrap(), None);
        for (length, said) in [("40", "cut short"), ("4000000", "longer than"), ("x", "longer than")] {
            let error = line_on_stdin(&words(&[LINE_ON_STDIN, length]), "short".as_bytes()).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
        assert!(line_on_stdin(&words(&[LINE_ON_STDIN, "1"]), &[0xff][..]).is_err());
    }
}
