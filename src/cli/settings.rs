use clap::Args;

use super::Output;
use crate::{
    Result,
    instance::Instance,
    ops::{self, settings::Changed},
    ui::Ui,
};

/// List the server's settings, with where each value is from
///
/// A variable wins over the file, and the file over what `settings:set` stored in the database.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    output: Output,
}

impl List {
    pub(super) fn run(self, instance: &Instance) -> Result<()> {
        let lines = ops::settings::list(instance)?;
        let rows: Vec<[String; 4]> = lines
            .iter()
            .map(|line| {
                let by = match (&line.by, &line.set_at) {
                    (Some(by), Some(at)) => format!("{by}, {at}"),
                    _ => "-".to_owned(),
                };
                [line.name.to_owned(), line.value.clone(), line.source.clone(), by]
            })
            .collect();
        self.output.ui().table(["SETTING", "VALUE", "SOURCE", "BY"], &rows, &lines)
    }
}

/// Set a setting of the server, in its database
///
/// It holds at once, for the daemon too. Settings that the daemon reads when it starts, such as the domain, are set in
/// its file: the error says which line.
#[derive(Debug, Args)]
pub(super) struct Set {
    /// The setting
    name: String,
    /// Its new value
    value: String,
}

impl Set {
    pub(super) fn run(self, instance: &Instance) -> Result<()> {
        say(&ops::settings::set(instance, &self.name, Some(&self.value))?);
        Ok(())
    }
}

/// Reset a setting of the server to its default
#[derive(Debug, Args)]
pub(super) struct Unset {
    /// The setting
    name: String,
}

impl Unset {
    pub(super) fn run(self, instance: &Instance) -> Result<()> {
        say(&ops::settings::set(instance, &self.name, None)?);
        Ok(())
    }
}

fn say(changed: &Changed) {
    super::properties::say(&changed.outcome);
    if let Some(source) = &changed.hidden_by {
        Ui::default().talk(&format!("note: {} is also given by the {source}, which wins", changed.name));
    }
}
