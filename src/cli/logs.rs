use clap::Args;

use crate::{
    Result,
    instance::Instance,
    model::{AppName, ProcessType},
    ops::{self, logs::Selection},
    ui::Ui,
};

/// Print what an app's processes print
///
/// The lines of containers that are gone are kept, up to a bound, so that a log goes on across deploys.
#[derive(Debug, Args)]
pub(super) struct Logs {
    /// The app
    app: AppName,
    /// Go on with what is printed from now on
    #[arg(short, long)]
    follow: bool,
    /// How many lines of the past
    #[arg(short = 'n', long = "number", default_value_t = 100, value_name = "LINES")]
    lines: u32,
    /// Only this process type
    #[arg(short, long, value_name = "TYPE")]
    process: Option<ProcessType>,
}

impl Logs {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        let app = instance.read(|tables| tables.app(&self.app))?;
        let ui = Ui::default();
        let selection = Selection { lines: self.lines, follow: self.follow, process: self.process };
        ops::logs::show(instance, &app, &selection, |line| ui.log_line(line)).await
    }
}
