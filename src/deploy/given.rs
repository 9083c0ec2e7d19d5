//! What an app's source gives it once: the values of variables, and how many containers its process types have.

use std::collections::BTreeMap;

use super::deployment::ActiveDeploy;
use crate::{
    Error, Result,
    buildpack::Variable,
    error::DeployError,
    model::{self, EnvKey, ProcessSpec, ProcessType},
    secrets,
};

/// The variables that a deploy sets as app.json says, for its release and, with the switch, for the app.
#[derive(Default)]
pub(super) struct Given {
    /// Their values.
    pub values: Vec<(EnvKey, String)>,
    /// Those that are not set again.
    pub once: Vec<EnvKey>,
}

/// The values that the variables of app.json get now: each gets its value once, and keeps whatever is set after that.
///
/// # Errors
/// `DeployError::VariablesMissing` where one that is required has none.
pub(super) fn variables(deploy: &ActiveDeploy<'_>, variables: &[Variable]) -> Result<Given> {
    let mut given = Given::default();
    if variables.is_empty() {
        return Ok(given);
    }
    let config = deploy.instance.config(deploy.app.id)?.variables();
    let before = deploy.instance.read(|tables| tables.given_variables(deploy.app.id))?;
    let (mut said, mut missing) = (Vec::new(), Vec::new());
    for variable in variables {
        let Variable { name, value, is_generated, is_synced, .. } = variable;
        let set = config.get(name);
        let may_give = set.is_none() && !before.contains(name);
        match value {
            Some(value) if may_give || (*is_synced && set != Some(value)) => {
                given.values.push((name.clone(), value.clone()));
                said.push(format!("{name} set"));
            }
            None if may_give && *is_generated => {
                given.values.push((name.clone(), secrets::made_up()?));
                said.push(format!("{name} made up"));
            }
            _ if set.is_none() && variable.is_required => missing.push((name.clone(), variable.description.clone())),
            _ => {}
        }
    }
    if !missing.is_empty() {
        return Err(Error::Deploy(DeployError::VariablesMissing { app: deploy.app.name.clone(), missing }));
    }
    for (name, value) in &given.values {
        model::check_variable(name, value)?;
    }
    given.once = given.values.iter().map(|(name, _)| name.clone()).collect();
    if !said.is_empty() {
        deploy.log.detail(&format!("Variables, as app.json says: {}", said.join(", ")));
    }
    Ok(given)
}

/// The process types that get the number of containers which the source asks for, in place of that which `ps:scale` set
/// before: at the first deploy, and where the number in the source changed. Says which number holds.
pub(super) fn formation(
    deploy: &ActiveDeploy<'_>,
    processes: &[ProcessSpec],
    from: &BTreeMap<ProcessType, &'static str>,
) -> Result<Vec<(ProcessType, u32)>> {
    let (current, scaled) = deploy
        .instance
        .read(|tables| Ok((tables.current_release(deploy.app.id)?, tables.formation(deploy.app.id)?)))?;
    let mut changes = Vec::new();
    for ProcessSpec { process, quantity, .. } in processes {
        let (Some(quantity), Some(file)) = (*quantity, from.get(process)) else { continue };
        let scaled = scaled.iter().find(|(scaled, _)| scaled == process).map(|(_, number)| *number);
        let before = current.as_ref().and_then(|release| release.process(process)?.quantity);
        let app = &deploy.app.name;
        deploy.log.detail(&match scaled.filter(|number| *number != quantity) {
            None => format!("{process}={quantity}, as {file} says"),
            Some(number) if before == Some(quantity) => {
                format!("{process}={number}, as set with ps:scale, though {file} says {quantity}")
            }
            Some(number) => {
                changes.push((process.clone(), quantity));
                format!(
                    "{process}={quantity}, as {file} says now; it was {number}: `paas ps:scale {app} {process}={number}` \
                     sets that again"
                )
            }
        });
    }
    Ok(changes)
}
