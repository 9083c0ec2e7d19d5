use clap::Args;
use serde::Serialize;

use crate::{
    Result,
    engine::Engine,
    instance::Instance,
    model,
    ops::{
        self,
        cleanup::{Files, Freed, InEngine},
    },
    ui::{Format, Ui},
};

/// Free space: remove what no app needs any more
///
/// Images that no release in reach needs (the setting images_kept says how many are), what builds that were cut off
/// left behind, containers and networks that no deploy knows, the logs of all but an app's last 100 deploys, and
/// temporary files more than a day old. Nothing of another instance or program is touched, and deploys may run
/// meanwhile.
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

#[derive(Serialize)]
struct Record {
    #[serde(flatten)]
    files: Files,
    #[serde(flatten)]
    in_engine: Option<InEngine>,
}

impl Cleanup {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        // The files first: a full disk may be what keeps the engine from answering.
        let files = ops::cleanup::files(instance)?;
        let engine = async {
            let engine = Engine::connect(&instance.settings).await?;
            ops::cleanup::engine(instance, &engine, self.build_cache).await
        };
        let (in_engine, failed) = match engine.await {
            Ok(in_engine) => (Some(in_engine), None),
            Err(error) => (None, Some(error)),
        };
        let words = |freed: Freed| match freed {
            Freed { removed: 0, .. } => "nothing to remove".to_owned(),
            Freed { removed, bytes } => format!("{removed} removed, {} freed", model::bytes(bytes)),
        };
        let mut facts =
            vec![("deploy logs", words(files.deploy_logs)), ("temporary files", words(files.temporary_files))];
        if let Some(in_engine) = in_engine {
            facts.push(("images", words(in_engine.images)));
            facts.push(("containers", words(in_engine.containers)));
            facts.push(("networks", words(in_engine.networks)));
            facts.extend(in_engine.build_cache.map(|bytes| ("build cache", format!("{} freed", model::bytes(bytes)))));
        }
        self.output.ui().facts(&facts, &Record { files, in_engine })?;
        if let Some(error) = failed {
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
