use std::io::{self, BufWriter};

use clap::Args;

use crate::{Result, buildpack};

/// Render a template of a repository, within limits that its parent has set
#[derive(Debug, Args)]
pub(super) struct Render {}

impl Render {
    pub(super) fn run(self) -> Result<()> {
        let Render {} = self;
        buildpack::render(io::stdin().lock(), BufWriter::new(io::stdout().lock()))
    }
}
