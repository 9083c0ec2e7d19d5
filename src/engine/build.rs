//! Building an image with BuildKit: the context goes up as a tar stream, progress comes back as it happens.

use std::collections::{HashMap, HashSet};

use bollard::{
    body_try_stream,
    models::{BuildInfoAux, ImageId as ReportedImage},
    query_parameters::{BuildImageOptions, BuilderVersion},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use super::{
    Engine, Labels,
    fault::{self, failed},
    spec::ROLE_LABEL,
};
use crate::{
    Error, Result,
    error::{DeployError, EngineError},
    model::{EnvKey, ImageId},
};

/// The exit code of a step that was killed: 128 and SIGKILL.
const KILLED: i64 = 137;

/// A build to be made.
#[derive(Clone, Debug)]
pub struct BuildSpec {
    /// The image's tag.
    pub tag: String,
    /// Whose image it is.
    pub labels: Labels,
    /// The path of the Dockerfile in the context.
    pub dockerfile: String,
    /// A name that no other build of this engine has at this time.
    pub session: String,
    /// The arguments of the build, for a Dockerfile that declares them by `ARG`.
    pub arguments: Vec<(EnvKey, String)>,
}

/// The build's context: a tar archive in pieces.
pub type Context = std::pin::Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>;

/// What a build reports while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildEvent {
    /// A step began, or was found in the cache: `[2/5] RUN npm ci`.
    Step {
        /// The step, as BuildKit names it.
        name: String,
        /// Whether its result was there already.
        cached: bool,
    },
    /// A line that a step printed.
    Output(String),
}

impl Engine {
    /// Builds an image and returns its id. `report` is told what happens.
    ///
    /// Dropping the future stops the build in the engine.
    ///
    /// # Errors
    /// `DeployError::Build` where a step of the Dockerfile fails, `EngineError::ImagePull` where a base image cannot be had,
    /// [`Error::Engine`] where the engine does.
    pub async fn build(
        &self,
        spec: &BuildSpec,
        context: Context,
        mut report: impl FnMut(BuildEvent),
    ) -> Result<ImageId> {
        let mut labels = spec.labels.to_map();
        // What a Dockerfile says of itself does not make the image a part of ours.
        labels.entry(ROLE_LABEL.to_owned()).or_default();
        let options = BuildImageOptions {
            dockerfile: spec.dockerfile.clone(),
            t: Some(spec.tag.clone()),
            labels: Some(labels),
            version: BuilderVersion::BuilderBuildKit,
            session: Some(spec.session.clone()),
            buildargs: Some(spec.arguments.iter().map(|(key, value)| (key.to_string(), value.clone())).collect()),
            rm: true,
            forcerm: true,
            ..BuildImageOptions::default()
        };
        let mut progress = Progress::default();
        let mut image = None;
        let mut answers = self.docker.build_image(options, None, Some(body_try_stream(context)));
        let mut cut_short = None;
        while let Some(answer) = answers.next().await {
            let info = match answer {
                Ok(info) => info,
                // bollard takes the end of the last line, where it arrives by itself, for the beginning of another
                // line. Only the image tells whether the build came to its end.
                Err(error @ bollard::errors::Error::IOError { .. }) => {
                    cut_short = Some(error);
                    break;
                }
                Err(error) => return Err(progress.explain(error)),
            };
            match info.aux {
                Some(BuildInfoAux::BuildKit(status)) => progress.update(&status, &mut report),
                Some(BuildInfoAux::Default(ReportedImage { id: Some(id) })) => image = Some(ImageId(id)),
                _ => {}
            }
        }
        drop(answers);
        if let Some(image) = image {
            return Ok(image);
        }
        // Some engines do not say what they built, but they tagged it.
        match self.docker.inspect_image(&spec.tag).await {
            Ok(inspected) => inspected.id.map(ImageId).ok_or_else(|| Error::bug("an image without an id")),
            Err(error) => Err(failed("build the image")(cut_short.unwrap_or(error))),
        }
    }
}

type StatusResponse = bollard::moby::buildkit::v1::StatusResponse;

/// What is known of a running build: BuildKit reports every vertex again and again, we say each thing once.
#[derive(Debug, Default)]
struct Progress {
    told: HashSet<String>,
    partial: HashMap<String, String>,
    /// The steps that failed, and why: with the one that did, those that were cut short for it.
    errors: Vec<(String, String)>,
}

impl Progress {
    fn update(&mut self, status: &StatusResponse, report: &mut impl FnMut(BuildEvent)) {
        for vertex in &status.vertexes {
            let begun = vertex.started.is_some() || vertex.cached;
            // `[internal] load build definition` and the like are of no interest to anybody.
            let internal = vertex.name.starts_with("[internal]") || !vertex.name.starts_with('[');
            if begun
                && !internal
                && (vertex.cached || vertex.completed.is_some() || !self.told.contains(&vertex.digest))
                && self.told.insert(vertex.digest.clone())
            {
                report(BuildEvent::Step { name: vertex.name.clone(), cached: vertex.cached });
            }
            if !vertex.error.is_empty() {
                let error = (vertex.name.clone(), vertex.error.clone());
                if !self.errors.contains(&error) {
                    self.errors.push(error);
                }
            }
        }
        for log in &status.logs {
            let partial = self.partial.entry(log.vertex.clone()).or_default();
            partial.push_str(&String::from_utf8_lossy(&log.msg));
            while let Some(end) = partial.find('\n') {
                let line: String = partial.drain(..=end).collect();
                // What a progress bar repaints over is not worth keeping.
                let line = line.trim_end_matches(['\r', '\n']);
                report(BuildEvent::Output(line.rsplit('\r').next().unwrap_or(line).to_owned()));
            }
        }
        for vertex in status.vertexes.iter().filter(|vertex| vertex.completed.is_some()) {
            if let Some(rest) = self.partial.remove(&vertex.digest).filter(|rest| !rest.is_empty()) {
                report(BuildEvent::Output(rest));
            }
        }
    }

    /// The step that failed, by what the engine says of the whole build; not one that was cut short for it.
    fn cause(&self, message: &str) -> Option<&(String, String)> {
        let said = |(_, reason): &&(String, String)| message.contains(reason.as_str());
        let itself = |(_, reason): &&(String, String)| !reason.contains("context canceled");
        let errors = || self.errors.iter();
        errors().filter(itself).find(said).or_else(|| errors().find(itself)).or_else(|| errors().next_back())
    }

    /// The engine's error in the terms of the user: a failed step, a base image that is not to be had, or a fault.
    fn explain(&self, error: bollard::errors::Error) -> Error {
        let message = match &error {
            bollard::errors::Error::DockerStreamError { error } => error.clone(),
            bollard::errors::Error::DockerResponseServerError { message, .. } => message.clone(),
            _ => return failed("build the image")(error),
        };
        if let Some((step, reason)) = self.cause(&message) {
            if let Some(image) = base_image(step).filter(|_| step.contains("load metadata for")) {
                return Error::Engine(EngineError::ImagePull { image, source: reason.clone().into() });
            }
            let step = without_mounts(step);
            if let Some(code) = reason.rsplit("exit code: ").next().and_then(|code| code.trim().parse::<i64>().ok()) {
                let message = format!("{step} exited with code {code}");
                return Error::Deploy(DeployError::Build { message, is_killed: code == KILLED, likely: None });
            }
            if fault::is_full(reason) {
                return failed("build the image")(error);
            }
            return Error::Deploy(DeployError::Build {
                message: format!("{step}: {reason}"),
                is_killed: false,
                likely: None,
            });
        }
        if fault::is_full(&message) {
            return failed("build the image")(error);
        }
        Error::Deploy(DeployError::Build { message, is_killed: false, likely: None })
    }
}

/// A step without its cache mounts, which say nothing of why it failed, in a line.
fn without_mounts(step: &str) -> String {
    step.split_whitespace().filter(|word| !word.starts_with("--mount=")).collect::<Vec<_>>().join(" ")
}

/// The image named in a step such as `[internal] load metadata for docker.io/library/node:22-slim`.
fn base_image(step: &str) -> Option<String> {
    let name = step.split_whitespace().next_back()?;
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    Some(name.strip_prefix("library/").unwrap_or(name).to_owned())
}

#[cfg(test)]
mod tests {
    use bollard::moby::buildkit::v1::{Vertex, VertexLog};

    use super::*;

    fn vertex(name: &str) -> Vertex {
        Vertex {
            digest: name.to_owned(),
            name: name.to_owned(),
            started: Some(Default::default()),
            ..Default::default()
        }
    }

    #[test]
    fn a_step_is_said_once_and_lines_are_whole() {
        let mut progress = Progress::default();
        let mut said = Vec::new();
        let log = |text: &str| VertexLog { vertex: "[2/3] RUN x".to_owned(), msg: text.into(), ..Default::default() };
        let vertexes = vec![vertex("[internal] load metadata"), vertex("[2/3] RUN x")];
        for text in ["one\ntw", "o\n", "10%\r20%\r100%\n"] {
            let status = StatusResponse { vertexes: vertexes.clone(), logs: vec![log(text)], ..Default::default() };
            progress.update(&status, &mut |event| said.push(event));
        }
        let output = |text: &str| BuildEvent::Output(text.to_owned());
        let step = BuildEvent::Step { name: "[2/3] RUN x".to_owned(), cached: false };
        assert_eq!(said, [step, output("one"), output("two"), output("100%")]);
    }

    #[test]
    fn a_failed_step_is_named_with_its_code() {
        let mut progress = Progress::default();
        let reason = "process \"/bin/sh -c false\" did not complete successfully: exit code: 3";
        progress.errors.push(("[2/3] RUN false".to_owned(), reason.to_owned()));
        let error = progress.explain(bollard::errors::Error::DockerStreamError { error: reason.to_owned() });
        assert_eq!(error.to_string(), "build failed: [2/3] RUN false exited with code 3");
    }

    #[test]
    fn a_step_that_was_cut_short_is_not_the_cause() {
        let reason = "executor failed running [/bin/sh -c false]: exit code: 1";
        let steps = [
            ("[run 2/3] RUN sleep", "executor failed running [/bin/sh -c sleep]: context canceled"),
            ("[build 3/4] RUN --mount=type=cache,id=x,target=/cache     false", reason),
            ("[other 1/2] RUN sleep", "executor failed running [/bin/sh -c sleep]: exit code: 137"),
        ];
        let mut vertexes = steps.map(|(name, error)| Vertex { error: error.to_owned(), ..vertex(name) });
        for _ in 0..2 {
            vertexes.reverse();
            let mut progress = Progress::default();
            let status = StatusResponse { vertexes: vertexes.to_vec(), ..Default::default() };
            progress.update(&status, &mut |_| {});
            let error = progress.explain(bollard::errors::Error::DockerStreamError { error: reason.to_owned() });
            assert_eq!(error.to_string(), "build failed: [build 3/4] RUN false exited with code 1");
        }
    }

    #[test]
    fn a_missing_base_image_is_named() {
        let mut progress = Progress::default();
        let step = "[internal] load metadata for docker.io/library/nodex:22";
        progress.errors.push((step.to_owned(), "pull access denied".to_owned()));
        let error = progress.explain(bollard::errors::Error::DockerStreamError { error: "x".to_owned() });
        assert_eq!(error.one_line(), "cannot pull the image nodex:22: pull access denied");
    }
}
