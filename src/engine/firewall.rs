//! Keeping containers from the machine's own services: `firewall` sets rules of the machine's packet filter, as root, in a
//! helper container. It ends when they are set; they stay.

use std::{collections::BTreeSet, net::Ipv4Addr, time::Duration};

use bollard::query_parameters as query;

use super::{
    Engine,
    fault::failed,
    helper::{Helper, HelperSpec},
    is_status, spec,
};
use crate::{
    Error, Result,
    firewall::{self, Rules},
};

/// The hidden command that sets the rules.
const COMMAND: &str = "firewall";
/// How long the container may take to say that they are in force.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// The network that steps of builds are in, by which the engine calls it.
const OF_BUILDS: &str = "bridge";

/// A bridge of the engine's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// The name of its interface on the machine.
    pub name: String,
    /// The machine's address on it.
    pub gateway: Ipv4Addr,
    /// The containers on it that the engine knows. Steps of builds are none.
    pub containers: BTreeSet<Ipv4Addr>,
}

impl Engine {
    /// The bridge of the instance's containers; none before the first of them.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn bridge_of_apps(&self, instance: &str) -> Result<Option<Bridge>> {
        self.bridge(&spec::network_name(instance)).await
    }

    /// The bridge of the steps of builds; none where the engine has none.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn bridge_of_builds(&self) -> Result<Option<Bridge>> {
        self.bridge(OF_BUILDS).await
    }

    async fn bridge(&self, network: &str) -> Result<Option<Bridge>> {
        let inspected = match self.docker.inspect_network(network, None::<query::InspectNetworkOptions>).await {
            Ok(inspected) => inspected,
            Err(error) if is_status(&error, 404) => return Ok(None),
            Err(error) => return Err(failed(format!("inspect the network {network}"))(error)),
        };
        let option = inspected.options.unwrap_or_default().remove("com.docker.network.bridge.name");
        let id = inspected.id.unwrap_or_default();
        let name = option.filter(|name| !name.is_empty()).or_else(|| Some(format!("br-{}", id.get(..12)?)));
        let configs = inspected.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
        let gateway = configs.into_iter().find_map(|config| config.gateway?.parse().ok());
        let users = inspected.containers.unwrap_or_default().into_iter();
        let containers = users.filter(|(id, _)| is_container(id)).filter_map(|(_, container)| {
            let address = container.ipv4_address?;
            address.split('/').next()?.parse().ok()
        });
        Ok(name.zip(gateway).map(|(name, gateway)| Bridge { name, gateway, containers: containers.collect() }))
    }

    /// Puts rules in force on the engine's machine, in place of former ones of the same instance.
    ///
    /// # Errors
    /// `EngineError::Unsupported` where that cannot be, with the reason.
    pub async fn put_up(&self, rules: &Rules) -> Result<()> {
        let helper = HelperSpec {
            role: COMMAND,
            arguments: vec![serde_json::to_string(rules).map_err(Error::bug)?],
            // Its programs, and the lock that they take, as Docker does.
            mounts: vec![format!("/:{}:ro", firewall::MOUNT), format!("/run:{}/run", firewall::MOUNT)],
            capabilities: ["NET_ADMIN", "NET_RAW", "SYS_CHROOT"].map(str::to_owned).to_vec(),
            sees_cgroups: false,
            sees_network: true,
            ready: firewall::READY,
            ready_timeout: READY_TIMEOUT,
        };
        self.start_helper(&rules.instance, &helper).await.map(|_: Helper| ())
    }
}

/// Whether what uses a network is a container, by its id: steps of builds are listed with them, by ids of BuildKit's.
fn is_container(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_a_build_is_no_container() {
        assert!(is_container("67bd4bf9007e67bd4bf9007e67bd4bf9007e67bd4bf9007e67bd4bf9007e0a1b"));
        assert!(!is_container("43wn8wnddvn06a10gmvswhsn3"));
    }
}
