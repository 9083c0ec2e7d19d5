//! What containers and steps of builds may reach of the machine that they are on.

use std::collections::BTreeSet;

use crate::{
    Result,
    engine::{Bridge, Engine},
    firewall::{Fence, Rules},
    instance::{self, Instance},
    model::property::{self, Value},
};

/// The rules that are to be in force now; without a fence where that is turned off.
///
/// A container of a release that was made before there were such rules is not fenced off, so that an upgrade takes nothing
/// from it. Nor is a container of somebody else's that is on the network of the builds.
///
/// # Errors
/// What the engine says; [`crate::Error::Store`].
pub async fn fence(instance: &Instance, engine: &Engine) -> Result<Rules> {
    let settings = instance.settings.clone();
    let read = instance.reading(move |tables| {
        let value = |property| instance::value_of(&settings, tables, property, None);
        let is_on = value(&property::CONTAIN_NETWORK)? == Some(Value::Switch(true));
        let ports = match value(&property::HOST_PORTS)? {
            Some(Value::Text(text)) => property::ports(&text).unwrap_or_default(),
            _ => BTreeSet::new(),
        };
        Ok((is_on, ports, tables.uncontained_addresses()?))
    });
    let (is_on, ports, uncontained) = read.await?;
    let settings = &instance.settings;
    let doors = BTreeSet::from([settings.proxy_http_port, settings.proxy_https_port, settings.ssh_listen.port()]);
    let mut rules = Rules { instance: instance.id.clone(), fences: Vec::new(), ports, doors };
    if is_on {
        let fence = |bridge: Bridge, exempt| Fence { bridge: bridge.name, gateway: bridge.gateway, exempt };
        let of_apps = engine.bridge_of_apps(&instance.id).await?;
        rules.fences.extend(of_apps.map(|bridge| fence(bridge, uncontained)));
        let of_builds = engine.bridge_of_builds().await?;
        rules.fences.extend(of_builds.map(|mut bridge| {
            let others = std::mem::take(&mut bridge.containers);
            fence(bridge, others)
        }));
    }
    Ok(rules)
}
