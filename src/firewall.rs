//! The machine's own services are not for apps: rules of its packet filter that keep containers from them.
//!
//! A container of an app, and a step of a build, reach this machine by the gateway of their bridge, and with it whatever
//! listens on all addresses. What comes from such a bridge for the machine itself goes through a chain of ours, which
//! refuses it, but for answers to what the machine asked (health checks, the proxy), for a name server, for the ports that
//! a setting names, and for the doors that are open to everybody at the machine's other addresses. What is forwarded, to
//! other machines and from them, is not looked at.
//!
//! The rules are set with the machine's own `iptables`, which Docker needs too, by a helper container of the engine's (see
//! `engine::firewall`), into which the machine's files are mounted.

use std::{collections::BTreeSet, fmt::Write, net::Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::{Error, Result, exec};

/// Where the machine's files are mounted in the container.
pub const MOUNT: &str = "/host";
/// What the container says once the rules are in force.
pub const READY: &str = "in force";

/// How long another program may hold the packet filter, in seconds.
const PATIENCE: &str = "10";
/// The port of name servers.
const NAMES: u16 = 53;

/// What is to be refused to whom. Without a fence, there are no rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// The instance whose rules these are.
    pub instance: String,
    /// The bridges that are fenced off.
    pub fences: Vec<Fence>,
    /// Ports of the machine that are open to all containers.
    pub ports: BTreeSet<u16>,
    /// Ports that are open to everybody, but not at a gateway.
    pub doors: BTreeSet<u16>,
}

/// A bridge that is fenced off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// The name of its interface.
    pub bridge: String,
    /// The machine's address on it.
    pub gateway: Ipv4Addr,
    /// The containers on it that are not fenced off.
    pub exempt: BTreeSet<Ipv4Addr>,
}

impl Rules {
    /// The beginning of the names of their chains.
    fn prefix(&self) -> String {
        format!("PAAS-{}-", self.instance)
    }

    /// What `iptables-restore` is to read, so that these rules are in force and none of former ones: all of it at once.
    ///
    /// `now`: what `iptables -S` says.
    fn script(&self, now: &str, refusal: &str) -> String {
        let prefix = self.prefix();
        let chain = |index: usize| format!("{prefix}{index}");
        let mut script = "*filter\n".to_owned();
        let mut line = |text: String| {
            // Writing to a string does not fail.
            let _ = writeln!(script, "{text}");
        };
        for (index, fence) in self.fences.iter().enumerate() {
            // This empties a chain that is there.
            line(format!(":{} - [0:0]", chain(index)));
            let mut add = |rule: String| line(format!("-A {} {rule}", chain(index)));
            add("-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN".to_owned());
            for address in &fence.exempt {
                add(format!("-s {address}/32 -j RETURN"));
            }
            for port in [NAMES].iter().chain(&self.ports) {
                add(format!("-p udp -m udp --dport {port} -j RETURN"));
                add(format!("-p tcp -m tcp --dport {port} -j RETURN"));
            }
            for port in &self.doors {
                add(format!("! -d {}/32 -p tcp -m tcp --dport {port} -j RETURN", fence.gateway));
            }
            add(format!("-j {refusal}"));
        }
        let jump = |index: usize, fence: &Fence| format!("INPUT -i {} -j {}", fence.bridge, chain(index));
        let wanted: Vec<String> = self.fences.iter().enumerate().map(|(index, fence)| jump(index, fence)).collect();
        let mut there = BTreeSet::new();
        for rule in now.lines().filter_map(|line| line.strip_prefix("-A ")) {
            let is_ours = rule
                .split_whitespace()
                .skip_while(|word| *word != "-j")
                .nth(1)
                .is_some_and(|to| to.starts_with(&prefix));
            // One is enough of each.
            if is_ours && !(wanted.iter().any(|wanted| wanted == rule) && there.insert(rule)) {
                line(format!("-D {rule}"));
            }
        }
        for rule in wanted.iter().filter(|rule| !there.contains(rule.as_str())) {
            let (input, rest) = rule.split_once(' ').unwrap_or((rule, ""));
            line(format!("-I {input} 1 {rest}"));
        }
        for name in now.lines().filter_map(|line| line.strip_prefix("-N ")).filter(|name| name.starts_with(&prefix)) {
            if !(0..self.fences.len()).any(|index| chain(index) == name) {
                line(format!("-F {name}"));
                line(format!("-X {name}"));
            }
        }
        line("COMMIT".to_owned());
        script
    }
}

/// Puts rules in force in place of former ones, on the machine whose files are mounted at [`MOUNT`], and says so by `ready`.
///
/// # Errors
/// [`Error::Host`] with what the machine's `iptables` says.
pub async fn put_up(rules: &Rules, ready: impl FnOnce() -> Result<()>) -> Result<()> {
    std::os::unix::fs::chroot(MOUNT).map_err(Error::io("see the machine's programs"))?;
    std::env::set_current_dir("/").map_err(Error::io("see the machine's programs"))?;
    let mut list = exec::command("iptables");
    list.args(["-w", PATIENCE, "-S"]).env("PATH", PROGRAMS);
    let now = String::from_utf8_lossy(&exec::output(list).await?).into_owned();
    let restore = async |refusal: &str| {
        let mut restore = exec::command("iptables-restore");
        restore.args(["-w", PATIENCE, "--noflush"]).env("PATH", PROGRAMS);
        exec::output_of_input(restore, &rules.script(&now, refusal)).await
    };
    // A small kernel may not be able to say no.
    if let Err(error) = restore("REJECT --reject-with icmp-port-unreachable").await {
        restore("DROP").await.map_err(|_| error)?;
    }
    ready()
}

/// Where the machine has its `iptables`.
const PROGRAMS: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin:/run/current-system/sw/bin";

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(fences: &[(&str, &[&str])]) -> Rules {
        let fence = |(bridge, exempt): &(&str, &[&str])| Fence {
            bridge: (*bridge).to_owned(),
            gateway: Ipv4Addr::new(10, 213, 0, 1),
            exempt: exempt.iter().map(|address| address.parse().unwrap()).collect(),
        };
        Rules {
            instance: "0a".to_owned(),
            fences: fences.iter().map(fence).collect(),
            ports: BTreeSet::from([5432]),
            doors: BTreeSet::from([80, 2222]),
        }
    }

    #[test]
    fn rules_are_set_where_there_are_none() {
        let docker = "-P INPUT ACCEPT\n-N DOCKER\n-A FORWARD -j DOCKER\n";
        insta::assert_snapshot!(rules(&[("br-1", &["10.213.0.7"]), ("docker0", &[])]).script(docker, "DROP"), @r"
        *filter
        :PAAS-0a-0 - [0:0]
        -A PAAS-0a-0 -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN
        -A PAAS-0a-0 -s 10.213.0.7/32 -j RETURN
        -A PAAS-0a-0 -p udp -m udp --dport 53 -j RETURN
        -A PAAS-0a-0 -p tcp -m tcp --dport 53 -j RETURN
        -A PAAS-0a-0 -p udp -m udp --dport 5432 -j RETURN
        -A PAAS-0a-0 -p tcp -m tcp --dport 5432 -j RETURN
        -A PAAS-0a-0 ! -d 10.213.0.1/32 -p tcp -m tcp --dport 80 -j RETURN
        -A PAAS-0a-0 ! -d 10.213.0.1/32 -p tcp -m tcp --dport 2222 -j RETURN
        -A PAAS-0a-0 -j DROP
        :PAAS-0a-1 - [0:0]
        -A PAAS-0a-1 -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN
        -A PAAS-0a-1 -p udp -m udp --dport 53 -j RETURN
        -A PAAS-0a-1 -p tcp -m tcp --dport 53 -j RETURN
        -A PAAS-0a-1 -p udp -m udp --dport 5432 -j RETURN
        -A PAAS-0a-1 -p tcp -m tcp --dport 5432 -j RETURN
        -A PAAS-0a-1 ! -d 10.213.0.1/32 -p tcp -m tcp --dport 80 -j RETURN
        -A PAAS-0a-1 ! -d 10.213.0.1/32 -p tcp -m tcp --dport 2222 -j RETURN
        -A PAAS-0a-1 -j DROP
        -I INPUT 1 -i br-1 -j PAAS-0a-0
        -I INPUT 1 -i docker0 -j PAAS-0a-1
        COMMIT
        ");
    }

    #[test]
    fn rules_that_are_there_are_not_set_twice_and_former_ones_go() {
        let now = "-N DOCKER\n-N PAAS-0a-0\n-N PAAS-0a-1\n-N PAAS-0b-0\n-A INPUT -i br-1 -j PAAS-0a-0\n\
                   -A INPUT -i br-1 -j PAAS-0a-0\n-A INPUT -i br-9 -j PAAS-0a-0\n-A INPUT -i docker0 -j PAAS-0a-1\n\
                   -A INPUT -i br-2 -j PAAS-0b-0\n-A INPUT -i docker0 -p tcp -j ACCEPT\n-A PAAS-0a-0 -j DROP\n";
        let script = rules(&[("br-1", &[])]).script(now, "DROP");
        let changes: Vec<&str> = script.lines().filter(|line| !line.starts_with("-A ")).collect();
        let expected = [
            "*filter",
            ":PAAS-0a-0 - [0:0]",
            "-D INPUT -i br-1 -j PAAS-0a-0",
            "-D INPUT -i br-9 -j PAAS-0a-0",
            "-D INPUT -i docker0 -j PAAS-0a-1",
            "-F PAAS-0a-1",
            "-X PAAS-0a-1",
            "COMMIT",
        ];
        assert_eq!(changes, expected);
        let none = rules(&[]).script(now, "DROP");
        assert!(!none.contains("-I ") && none.contains("-X PAAS-0a-0\n") && !none.contains("0b"), "{none}");
    }
}
