//! Records in DNS, set by a command of the administrator's: the contract of lego's exec provider
//! (<https://go-acme.github.io/lego/dns/exec/>). It is called as `PROGRAM present FQDN VALUE`, and `cleanup` in the end.

use std::time::Duration;

use super::Failure;
use crate::{Error, Result, clock, dns::Resolver, error::HostError, exec, model::Trouble};

/// How long one call may take.
const CALL: Duration = Duration::from_secs(300);
/// How often it is looked whether a record is there.
const LOOK: Duration = Duration::from_secs(2);

/// The command.
pub(super) struct Setter {
    words: Vec<String>,
    wait: Duration,
}

impl Setter {
    /// `wait`: how long a record may take until it is seen, in seconds; none is waited for where that is 0.
    pub fn new(command: &str, wait: u64) -> Result<Setter> {
        let words = shell_words::split(command).map_err(Error::bug)?;
        Ok(Setter { words, wait: Duration::from_secs(wait) })
    }

    /// Sets a TXT record, and waits until name servers answer with it, where there are any to ask.
    pub async fn set(&self, name: &str, value: &str, resolver: Option<&Resolver>) -> Result<(), Failure> {
        self.call("present", name, value).await.map_err(|error| {
            let said = match &error {
                Error::Host(HostError::Program { stderr, .. }) if !stderr.trim().is_empty() => {
                    format!("{}: {}", error, stderr.trim())
                }
                error => error.one_line(),
            };
            Failure::new(Trouble::DnsCommand, format!("the command for DNS failed: {said}"))
        })?;
        let deadline = clock::instant() + self.wait;
        let Some(resolver) = resolver.filter(|_| !self.wait.is_zero()) else { return Ok(()) };
        while !resolver.has_text(name, value).await {
            if clock::instant() >= deadline {
                let reason = format!(
                    "the command for DNS succeeded, but its TXT record at {name} was not seen within {} s (acme_dns_wait)",
                    self.wait.as_secs()
                );
                return Err(Failure::new(Trouble::DnsCommand, reason));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Removes a record. One that stays harms nobody.
    pub async fn remove(&self, name: &str, value: &str) {
        if let Err(error) = self.call("cleanup", name, value).await {
            tracing::warn!("the command for DNS left the record at {name}: {}", error.one_line());
        }
    }

    async fn call(&self, action: &str, name: &str, value: &str) -> Result<()> {
        let Some((program, arguments)) = self.words.split_first() else { return Err(Error::bug("an empty command")) };
        let mut command = exec::command(program);
        command.args(arguments).args([action, name, value]).env("EXEC_PATH", program);
        match tokio::time::timeout(CALL, exec::output(command)).await {
            Ok(done) => done.map(drop),
            Err(_) => Err(Error::usage(format!("{program} ran for {} s", CALL.as_secs()), "look at the program")),
        }
    }
}
