//! Making an image of what a command does in a container.

use bollard::{
    exec::StartExecResults,
    models::{ContainerConfig, ExecConfig},
    query_parameters as query,
};
use futures_util::StreamExt;

use super::{Engine, fault::failed};
use crate::{Error, Result, model::ImageId};

impl Engine {
    /// Runs a command in a running container with these variables, which only the command sees: the container does not
    /// keep them. `report` is told each line that it prints. Returns its exit code.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn exec_lines(
        &self,
        name: &str,
        arguments: [String; 3],
        environment: &[(String, String)],
        mut report: impl FnMut(&str),
    ) -> Result<i64> {
        let failed = || failed(format!("run a command in the container {name}"));
        let config = ExecConfig {
            cmd: Some(arguments.to_vec()),
            env: Some(environment.iter().map(|(key, value)| format!("{key}={value}")).collect()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..ExecConfig::default()
        };
        let id = self.docker.create_exec(name, config).await.map_err(failed())?.id;
        if let StartExecResults::Attached { output: mut pieces, .. } =
            self.docker.start_exec(&id, None).await.map_err(failed())?
        {
            let mut begun = Vec::new();
            while let Some(piece) = pieces.next().await {
                begun.extend_from_slice(&piece.map_err(failed())?.into_bytes());
                while let Some(end) = begun.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = begun.drain(..=end).collect();
                    report(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']));
                }
            }
            if !begun.is_empty() {
                report(&String::from_utf8_lossy(&begun));
            }
        }
        Ok(self.docker.inspect_exec(&id).await.map_err(failed())?.exit_code.unwrap_or(-1))
    }

    /// Makes an image of the files of a container, which was made from `image`, and tags it. All but its files is as in
    /// that image: the container may have been started in another way.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn commit(&self, name: &str, image: &ImageId, tag: &str) -> Result<ImageId> {
        let failed = || failed(format!("make an image of the container {name}"));
        let inspected = self.docker.inspect_image(&image.0).await.map_err(failed())?;
        let config = serde_json::to_value(inspected.config.unwrap_or_default()).map_err(Error::bug)?;
        let config: ContainerConfig = serde_json::from_value(config).map_err(Error::bug)?;
        // Without one, the engine would take the container's.
        let entrypoint = config.entrypoint.or(Some(Vec::new()));
        let (repository, version) = tag.rsplit_once(':').unwrap_or((tag, "latest"));
        let options = query::CommitContainerOptions {
            container: Some(name.to_owned()),
            repo: Some(repository.to_owned()),
            tag: Some(version.to_owned()),
            pause: true,
            ..Default::default()
        };
        let committed = self.docker.commit_container(options, ContainerConfig { entrypoint, ..config }).await;
        Ok(ImageId(committed.map_err(failed())?.id))
    }
}
