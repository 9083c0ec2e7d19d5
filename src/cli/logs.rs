use clap::Args;

use super::arguments::AppArgument;
use crate::{
    Result,
    context::Context,
    model::{Access, ProcessType, Right},
    ops::{
        self,
        logs::{Printed, Selection},
    },
    ui::{Format, Ui},
};

/// Print what an app's processes print
///
/// The lines of containers that are gone are kept, up to a limit, so logs span deploys. A line longer than 1 MiB is cut.
/// Control characters and escape sequences, except colours, are shown as text (`^[` for ESC) unless the output goes to a
/// file. With `--format json`, each line is a document, with the text as it was printed.
#[derive(Debug, Args)]
pub(super) struct Logs {
    #[command(flatten)]
    app: AppArgument,
    /// Follow new output
    #[arg(short, long)]
    follow: bool,
    /// How many past lines to print
    #[arg(short = 'n', long = "number", default_value_t = 100, value_name = "LINES")]
    lines: u32,
    /// Only this process type
    #[arg(short, long, value_name = "TYPE")]
    process: Option<ProcessType>,
}

impl Logs {
    pub(super) fn access(&self) -> Access<'_> {
        Access::App(&self.app.app, Right::See)
    }

    pub(super) async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let selection = Selection { lines: self.lines, follow: self.follow, process: self.process };
        let print = |line: Option<&Printed>| match line {
            Some(line) if ui.format == Format::Json => ui.record(line),
            Some(line) => ui.log_line(&line.line()),
            None => ui.is_read(),
        };
        ops::logs::show(context, &self.app.app, &selection, print).await
    }
}
