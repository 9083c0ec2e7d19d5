use clap::Args;

use super::disk::disk_lines;
use crate::{
    Result,
    instance::Instance,
    model::{self, BuildCaps},
    ops::{
        self,
        report::{Answer, Builds},
    },
};

/// Show the server in one look: versions, what answers, room, builds
///
/// Whatever is down is said to be; the rest is told all the same.
#[derive(Debug, Args)]
pub(super) struct Report {
    #[command(flatten)]
    output: super::Output,
}

impl Report {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        let report = ops::report::report(instance).await?;
        let engine = words(&report.engine, |engine| {
            format!(
                "Docker {}, API {}\nimages in {}, cgroups v{} by {}\n{} processors, {} of memory",
                engine.version,
                engine.api_version,
                engine.image_store,
                engine.cgroup_version,
                engine.cgroup_driver,
                engine.processors,
                model::bytes(engine.memory),
            )
        });
        let caddy = match (&report.caddy_version, &report.caddy) {
            (version, Answer::Said(())) => format!("{}, answers", words(version, String::clone)),
            (version, Answer::Silent(reason)) => {
                format!("{}, does not answer: {reason}", words(version, String::clone))
            }
        };
        let daemon = match &report.daemon_since {
            Some(since) => format!("runs since {since}"),
            None => "does not run: no push gets in; `systemctl start paas` or `paas serve` starts it".to_owned(),
        };
        let containers = report.containers;
        let facts = [
            (
                "paas",
                format!(
                    "{}, instance {} in {}",
                    report.paas,
                    report.instance,
                    instance.settings.paths.root().display()
                ),
            ),
            ("daemon", daemon),
            ("resolver", if report.resolver { "answers" } else { "does not answer" }.to_owned()),
            ("caddy", caddy),
            ("engine", engine),
            ("git", words(&report.git, String::clone)),
            ("disks", disk_lines(&report.disks)),
            ("builds", builds(&report.builds)),
            ("apps", format!("{}, {} of them running", report.apps.all, report.apps.running)),
            (
                "containers",
                format!(
                    "{} serve, {} of them down; {} come or go",
                    containers.live, containers.unhealthy, containers.others
                ),
            ),
        ];
        self.output.ui().facts(&facts, &report)
    }
}

fn words<T>(answer: &Answer<T>, said: impl FnOnce(&T) -> String) -> String {
    match answer {
        Answer::Said(value) => said(value),
        Answer::Silent(reason) => format!("not known: {reason}"),
    }
}

fn builds(builds: &Builds) -> String {
    let caps = BuildCaps { memory: builds.memory, cpus: builds.cpus }.describe();
    let caps = match &builds.capped {
        None => "no cap on memory and processors (build_memory_mb, build_cpus)".to_owned(),
        Some(Answer::Said(())) => format!("capped at {caps}: in force"),
        Some(Answer::Silent(reason)) => format!("capped at {caps}: NOT in force: {reason}"),
    };
    format!("{} at a time, {} now\n{caps}", builds.concurrency, builds.running)
}
