use clap::Args;

use crate::{
    Result,
    instance::Instance,
    model, ops,
    sweep::Freed,
    ui::{Format, Ui},
};

/// Free space: remove what no app needs any more
///
/// Removes what the properties `keep.*` say is too much (images of former releases, logs of deploys and of former
/// containers, old releases and deploys), leftovers of interrupted builds, containers and networks that no deploy knows,
/// and temporary files more than a day old. Every deploy does most of it by itself. Nothing of another instance or
/// program is touched, and deploys may run meanwhile.
///
/// The build cache makes the next builds quick and belongs to the whole engine, whoever built, so it goes only with
/// --build-cache.
#[derive(Debug, Args)]
pub(super) struct Cleanup {
    /// Also empty the build cache of the whole engine: the next builds of everybody who uses it start from nothing
    #[arg(long)]
    build_cache: bool,
    #[command(flatten)]
    output: super::Output,
}

impl Cleanup {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        let cleaned = ops::cleanup::run(instance, self.build_cache).await?;
        let words = |freed: Freed| match freed {
            Freed { removed: 0, .. } => "nothing to remove".to_owned(),
            Freed { removed, bytes } => format!("{removed} removed, {} freed", model::bytes(bytes)),
        };
        let files = cleaned.files;
        let mut facts = vec![
            ("deploy logs", words(files.deploy_logs)),
            ("former logs", words(files.former_logs)),
            ("temporary files", words(files.temporary_files)),
            ("releases", format!("{} removed", cleaned.rows.releases)),
            ("deploys", format!("{} removed", cleaned.rows.operations)),
        ];
        if let Some(in_engine) = cleaned.in_engine {
            facts.push(("images", words(in_engine.images)));
            facts.push(("containers", words(in_engine.containers)));
            facts.push(("networks", words(in_engine.networks)));
            facts.extend(in_engine.build_cache.map(|bytes| ("build cache", format!("{} freed", model::bytes(bytes)))));
        }
        self.output.ui().facts(&facts, &cleaned)?;
        if let Some(error) = cleaned.engine_error {
            return Err(error);
        }
        if self.output.format == Format::Text && !self.build_cache {
            Ui::default().talk(
                "`paas cleanup --build-cache` also empties the build cache, of the whole engine; \
                 `paas disk` shows what takes how much",
            );
        }
        Ok(())
    }
}
