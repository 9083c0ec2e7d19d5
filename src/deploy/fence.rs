//! What containers and steps of builds may reach of the machine that they are on.

use std::collections::BTreeSet;

use crate::{
    Error, Result,
    engine::{Bridge, Engine},
    firewall::{Fence, Rules},
    instance::{self, Instance},
    model::property::{self, Value},
};

/// Where the database has the rules that were put in force last: they outlive the setting and the daemon.
const IN_FORCE: &str = "fence";

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
        let mut relayed = tables.relayed_ports()?;
        relayed.extend(tables.ports(None)?.iter().map(|stored| stored.mapping.host));
        Ok((is_on, ports, relayed, tables.uncontained_addresses()?))
    });
    let (is_on, ports, relayed, uncontained) = read.await?;
    let settings = &instance.settings;
    let mut doors = BTreeSet::from([settings.proxy_http_port, settings.proxy_https_port, settings.ssh_listen.port()]);
    doors.extend(relayed);
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

/// Puts rules in force in place of former ones.
///
/// # Errors
/// As [`Engine::put_up`]; [`crate::Error::Store`].
pub async fn put_up(instance: &Instance, engine: &Engine, rules: &Rules) -> Result<()> {
    engine.put_up(rules).await?;
    let text = serde_json::to_string(rules).map_err(Error::bug)?;
    instance.writing(move |tables| tables.set_meta(IN_FORCE, &text)).await
}

/// The rules that were put in force last. The machine forgets them when it is started; the daemon puts them up again when it
/// is.
///
/// # Errors
/// [`crate::Error::Store`].
pub async fn in_force(instance: &Instance) -> Result<Option<Rules>> {
    let text = instance.reading(|tables| tables.meta(IN_FORCE)).await?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Takes what is no longer true out of the rules before a build: the address of somebody's container that has ended, and
/// was not fenced off, may be that of the next step.
///
/// # Errors
/// As [`put_up`].
pub(super) async fn renew(instance: &Instance, engine: &Engine) -> Result<()> {
    let Some(former) = in_force(instance).await? else { return Ok(()) };
    if former.fences.iter().all(|fence| fence.exempt.is_empty()) {
        return Ok(());
    }
    let rules = fence(instance, engine).await?;
    if rules != former { put_up(instance, engine, &rules).await } else { Ok(()) }
}
