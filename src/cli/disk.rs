use clap::Args;

use crate::{
    Result,
    instance::Instance,
    model,
    ops::{self, disk::Report},
    ui::{Format, Ui},
};

/// Show what takes space on the server, and how much is left
///
/// By app: its images (what they have for themselves, and what they share with others, which is on the disk once), what
/// its containers have written, their logs, its repository, the logs of its deploys and of its former containers. The
/// build cache is that of the whole engine, whoever built.
#[derive(Debug, Args)]
pub(super) struct Disk {
    #[command(flatten)]
    output: super::Output,
}

impl Disk {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        let report = ops::disk::report(instance).await?;
        let ui = self.output.ui();
        if self.output.format == Format::Json {
            return ui.json(&report);
        }
        apps(ui, &report)?;
        if !report.apps.is_empty() {
            ui.line("\n")?;
        }
        let rows = format!("{} releases, {} deploys", report.rows.releases, report.rows.operations);
        let mut facts = vec![("database", format!("{}: {rows}", model::bytes(report.database)))];
        if let Some(engine) = report.engine {
            facts.push(("images", format!("{} in the whole engine", model::bytes(engine.images))));
            facts.push(("build cache", format!("{} in the whole engine", model::bytes(engine.build_cache))));
        }
        facts.push(("disks", disk_lines(&report.disks)));
        ui.facts(&facts, &report)?;
        if let Some(error) = &report.engine_error {
            ui.talk(&format!("what images and containers take is not known: {}", error.one_line()));
        }
        ui.talk(
            "`paas cleanup` frees what no app needs; `paas cleanup --build-cache` also the build cache, of the whole engine",
        );
        Ok(())
    }
}

/// A line a disk: how much is free, and what is on it.
pub(super) fn disk_lines(disks: &[ops::disk::Disk]) -> String {
    let lines = disks.iter().map(|disk| {
        let holds: Vec<String> = disk.holds.iter().map(|path| path.display().to_string()).collect();
        let (free, total) = (model::bytes(disk.space.free), model::bytes(disk.space.total));
        format!("{free} free of {total}: {}", holds.join(", "))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn apps(ui: Ui, report: &Report) -> Result<()> {
    let known = |size: Option<u64>| size.map_or_else(|| "-".to_owned(), model::bytes);
    let rows: Vec<[String; 9]> = report
        .apps
        .iter()
        .map(|app| {
            [
                app.app.to_string(),
                app.images.to_string(),
                known(app.images_unique),
                known(app.images_shared),
                model::bytes(app.containers),
                known(app.container_logs),
                model::bytes(app.repository),
                model::bytes(app.deploy_logs),
                model::bytes(app.former_logs),
            ]
        })
        .collect();
    let header = ["APP", "IMAGES", "OWN", "SHARED", "CONTAINERS", "LOGS", "REPOSITORY", "DEPLOY LOGS", "FORMER LOGS"];
    ui.table(header, &rows, &report.apps)
}
