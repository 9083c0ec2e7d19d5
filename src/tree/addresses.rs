//! Where a submodule may come from. Its address is the pusher's, and the server fetches it: so only network protocols are
//! allowed, no part of it can become an option of git or ssh, and it does not lead to this machine or its network, unless
//! a setting allows that. A name is resolved once, here, and git gets what came of it, so that it cannot lead
//! elsewhere a moment later.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs},
    path::Path,
};

use url::Url;

use crate::{
    Error, Result,
    error::SourceError,
    model::{Property, is_public, property},
    work::Work,
};

/// An address with one of the network protocols.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// As it was written, or as a server redirected to it.
    pub text: String,
    protocol: Protocol,
    host: String,
    port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// `http` and `https`.
    Http,
    Git,
    Ssh,
}

/// An address as git gets it.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub address: String,
    /// Settings of git: `-c` and a value each.
    pub settings: Vec<String>,
    pub variables: Vec<(&'static str, String)>,
}

/// The options that ssh always has. No part of it comes from outside.
const SSH: &str = "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o ConnectTimeout=15";

impl Address {
    /// Reads the address of the submodule at `path`.
    ///
    /// # Errors
    /// `SourceError::Submodule`.
    pub fn parse(path: &Path, address: &str) -> Result<Address> {
        let name = path.display();
        let refused = |reason: &str| {
            Err(Error::Source(SourceError::Submodule {
                path: name.to_string(),
                reason: format!("{} {reason}", without_password(address)),
                hint: format!(
                    "write its full https:// or ssh:// address: `git submodule set-url {name} \
                     https://HOST/OWNER/NAME.git`, then commit .gitmodules and push again"
                ),
            }))
        };
        if address.chars().any(|character| character.is_control() || character == ' ') {
            return refused("is not a valid address");
        }
        if address.starts_with("./") || address.starts_with("../") {
            return refused("is relative, and the server does not know what it is relative to");
        }
        if let Some((scheme, rest)) = address.split_once("://") {
            let (protocol, usual) = match scheme {
                "https" => (Protocol::Http, 443),
                "http" => (Protocol::Http, 80),
                "git" => (Protocol::Git, 9418),
                "ssh" => (Protocol::Ssh, 22),
                _ => return refused("does not use https, http, git or ssh"),
            };
            let url = Url::parse(address).ok().filter(|_| !rest.starts_with('-'));
            return match url.as_ref().and_then(|url| Some((url, url.host_str().filter(|host| is_host(host))?))) {
                Some((url, host)) => Ok(Address {
                    // As we read it, so that git cannot read it otherwise.
                    text: if protocol == Protocol::Http { url.to_string() } else { address.to_owned() },
                    protocol,
                    host: host.trim_matches(['[', ']']).to_owned(),
                    port: url.port().unwrap_or(usual),
                }),
                None => refused("is not a valid address"),
            };
        }
        // The short form of ssh: user@host:path.
        if let Some((host, rest)) = address.split_once(':')
            && !rest.starts_with(':')
        {
            let (user, host) = host.split_once('@').unwrap_or(("git", host));
            if is_word(user) && is_word(host) && !rest.is_empty() && !rest.starts_with('-') {
                let (text, protocol, host) = (address.to_owned(), Protocol::Ssh, host.to_owned());
                return Ok(Address { text, protocol, host, port: 22 });
            }
        }
        refused("does not use https, http, git or ssh")
    }

    /// Where a server redirects to that git asked for this address: its answer names the file that git asks for first.
    /// What identifies us there is passed on to the same host only.
    pub fn redirected(&self, path: &Path, location: &str) -> Result<Address> {
        let refused = || {
            Error::Source(SourceError::Submodule {
                path: path.display().to_string(),
                reason: format!("{} redirects to something other than a repository", without_password(&self.text)),
                hint: format!("write the address that it has now: `git submodule set-url {} URL`", path.display()),
            })
        };
        let from = Url::parse(&format!("{}/info/refs", self.text.trim_end_matches('/'))).map_err(|_| refused())?;
        let mut to = from.join(location).map_err(|_| refused())?;
        to.set_query(None);
        let base = to.path().strip_suffix("/info/refs").map(str::to_owned).ok_or_else(refused)?;
        to.set_path(&base);
        let is_same = (to.scheme(), to.host_str(), to.port()) == (from.scheme(), from.host_str(), from.port());
        let (user, password) = if is_same { (from.username(), from.password()) } else { ("", None) };
        to.set_username(user).and_then(|()| to.set_password(password)).map_err(|()| refused())?;
        if !["http", "https"].contains(&to.scheme()) {
            return Err(refused());
        }
        Address::parse(path, to.as_str())
    }

    /// Whether a server can redirect to another address.
    pub fn can_redirect(&self) -> bool {
        self.protocol == Protocol::Http
    }

    /// Finds out where it leads, and how git learns that.
    ///
    /// # Errors
    /// `SourceError::Submodule` if it leads to where it may not, or nowhere; as [`Work::aside`].
    pub async fn told(&self, path: &Path, work: &Work) -> Result<Told> {
        if work.limits().private_addresses {
            return Ok(Told { address: self.text.clone(), variables: self.ssh(None), ..Told::default() });
        }
        let (host, port) = (self.host.clone(), self.port);
        let resolve = move || Ok((host.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>));
        let failed = |reason: String, hint: String| {
            Error::Source(SourceError::Submodule { path: path.display().to_string(), reason, hint })
        };
        let check = "check its address in .gitmodules, then commit and push again".to_owned();
        let found: Vec<SocketAddr> = work
            .aside(resolve)
            .await?
            .map_err(|error| failed(format!("the host {} is not found: {error}", self.host), check.clone()))?;
        let setting: &Property = &property::SUBMODULE_PRIVATE_ADDRESSES;
        if let Some(closed) = found.iter().find(|address| !is_public(address.ip())) {
            return Err(failed(
                format!(
                    "{} leads to {}, and the setting {} does not allow an address of this machine or of a private network",
                    without_password(&self.text),
                    closed.ip(),
                    setting.name
                ),
                format!(
                    "use an address that everybody reaches; if the server may fetch from its own network for all who push, \
                     `paas settings:set {} true`",
                    setting.name
                ),
            ));
        }
        let Some(first) = found.first() else {
            return Err(failed(format!("the host {} has no address", self.host), check));
        };
        let plain = |ip: IpAddr| if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
        Ok(match self.protocol {
            Protocol::Http => {
                let all = found.iter().map(|address| plain(address.ip())).collect::<Vec<_>>().join(",");
                let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
                let settings = [
                    "http.followRedirects=false".to_owned(),
                    format!("http.curloptResolve={host}:{}:{all}", self.port),
                ];
                let settings = settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]).collect();
                Told { address: self.text.clone(), settings, variables: self.ssh(None) }
            }
            Protocol::Ssh => {
                Told { address: self.text.clone(), variables: self.ssh(Some(first.ip())), settings: Vec::new() }
            }
            Protocol::Git => {
                let rest = self.text.strip_prefix("git://").unwrap_or_default();
                let path = rest.find('/').map(|start| &rest[start..]).unwrap_or_default();
                let mut variables = self.ssh(None);
                // Servers have several hosts behind one address.
                variables.push(("GIT_OVERRIDE_VIRTUAL_HOST", format!("{}:{}", self.host, self.port)));
                Told {
                    address: format!("git://{}:{}{path}", plain(first.ip()), self.port),
                    settings: Vec::new(),
                    variables,
                }
            }
        })
    }

    /// The command by which git starts ssh. The key of the host is that of its name, wherever it leads.
    fn ssh(&self, to: Option<IpAddr>) -> Vec<(&'static str, String)> {
        let host = &self.host;
        let pinned = to.map(|ip| {
            let alias = if self.port == 22 { host.clone() } else { format!("[{host}]:{}", self.port) };
            format!(" -o HostName={ip} -o HostKeyAlias={}", shell_words::quote(&alias))
        });
        vec![("GIT_SSH_COMMAND", format!("{SSH}{}", pinned.unwrap_or_default()))]
    }
}

/// An address that is safe to show: a token in it is hidden.
pub(super) fn without_password(address: &str) -> String {
    match Url::parse(address) {
        Ok(mut url) if url.has_host() && !(url.username().is_empty() && url.password().is_none()) => {
            let cleared = url.set_username("").and_then(|()| url.set_password(None));
            cleared.map_or_else(|()| "its address".to_owned(), |()| url.to_string())
        }
        _ => address.to_owned(),
    }
}

/// Whether a text is a host that neither ssh nor a shell can take for something else.
fn is_host(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    inner.map_or_else(|| is_word(host), |inner| inner.parse::<Ipv6Addr>().is_ok())
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && text.chars().all(|character| character.is_ascii_alphanumeric() || "._-".contains(character))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::Limits;

    fn work() -> Work {
        Work::new(Limits::usual().unwrap())
    }

    async fn told(address: &str) -> Result<Told> {
        Address::parse(Path::new("lib"), address)?.told(Path::new("lib"), &work()).await
    }

    #[tokio::test]
    async fn no_address_leads_to_this_machine_or_a_private_network() {
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "017700000001",
            "0.0.0.0",
            "localhost",
            "10.0.0.1",
            "172.16.9.9",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::1]",
            "[::]",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "[ff02::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b::a9fe:a9fe]",
            "[64:ff9b:1::a00:1]",
            "[2002:7f00:1::]",
            "[2002:a00:1::1]",
            "[2001:0:1::1]",
            "[::127.0.0.1]",
        ] {
            for address in [
                format!("http://{host}/x.git"),
                format!("https://user:secret@{host}:8443/x.git"),
                format!("git://{host}/x.git"),
                format!("ssh://git@{host}:2222/x.git"),
            ] {
                let error = told(&address).await.unwrap_err();
                assert!(!error.to_string().contains("secret"), "{error}");
                // Not every form is an address of every protocol.
                let said = ["submodule_private_addresses", "is not found", "is not a valid address"];
                assert!(said.iter().any(|said| error.to_string().contains(said)), "{address}: {error}");
            }
        }
        let error = told("git@127.0.0.1:x.git").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot fetch the submodule lib: git@127.0.0.1:x.git leads to 127.0.0.1, and the setting \
             submodule_private_addresses does not allow an address of this machine or of a private network"
        );
    }

    #[tokio::test]
    async fn git_is_told_where_an_address_leads() {
        let https = told("https://1.1.1.1/x.git").await.unwrap();
        assert_eq!(https.settings[3], "http.curloptResolve=1.1.1.1:443:1.1.1.1");
        let ipv6 = told("http://[2606:4700::1]:81/x.git").await.unwrap();
        assert_eq!(ipv6.settings[3], "http.curloptResolve=[2606:4700::1]:81:[2606:4700::1]");
        let git = told("git://1.1.1.1/a/b.git").await.unwrap();
        assert_eq!(git.address, "git://1.1.1.1:9418/a/b.git");
        let ssh = told("ssh://git@1.1.1.1:2222/x.git").await.unwrap();
        let command = &ssh.variables[0].1;
        assert!(command.ends_with(" -o HostName=1.1.1.1 -o HostKeyAlias='[1.1.1.1]:2222'"), "{command}");
        for mapped in ["http://[::ffff:1.1.1.1]/x", "http://[64:ff9b::101:101]/x", "http://[2002:101:101::]/x"] {
            told(mapped).await.unwrap();
        }
    }

    #[test]
    fn a_redirect_keeps_what_identifies_us_to_its_host() {
        let from = Address::parse(Path::new("lib"), "https://user:secret@example.com/a/b").unwrap();
        let to = |location: &str| from.redirected(Path::new("lib"), location).map(|address| address.text);
        let query = "info/refs?service=git-upload-pack";
        assert_eq!(to(&format!("/a/b.git/{query}")).unwrap(), "https://user:secret@example.com/a/b.git");
        assert_eq!(to(&format!("https://other.example/c.git/{query}")).unwrap(), "https://other.example/c.git");
        assert_eq!(to(&format!("http://example.com/c.git/{query}")).unwrap(), "http://example.com/c.git");
        for bad in ["https://example.com/login", "file:///etc/info/refs", "ssh://x/info/refs", "//"] {
            assert!(!to(bad).unwrap_err().to_string().contains("secret"), "{bad}");
        }
    }

    #[test]
    fn a_host_is_no_word_of_a_shell() {
        for bad in ["ssh://a;b/x", "ssh://$(id)/x", "ssh://a`b`/x", "ssh://a'b/x", "git://a&b/x", "ssh://a%24b/x"] {
            Address::parse(Path::new("lib"), bad).unwrap_err();
        }
    }
}
