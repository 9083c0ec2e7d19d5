//! The helper container: this same program, as root in a short-lived container that holds nothing else. The daemon has
//! no root, so what needs it, on the machine's own files, is done there.

use std::{collections::BTreeSet, pin::Pin, time::Duration};

use bollard::{
    body_full,
    container::LogOutput,
    models::{ContainerCreateBody, HostConfig, HostConfigCgroupnsModeEnum},
    query_parameters as query,
};
use futures_util::{StreamExt, TryStreamExt};
use tokio::io::AsyncWrite;

use super::{Engine, fault::failed, has_role, is_status, label_filter, spec};
use crate::{Error, Result, clock, error::EngineError};

/// What [`spec::ROLE_LABEL`] says on the image.
const IMAGE_ROLE: &str = "helper";

/// What a helper container does, and what it may.
#[derive(Clone, Debug)]
pub(super) struct HelperSpec {
    /// What [`spec::ROLE_LABEL`] says on it, a part of its name: the hidden command that it runs.
    pub role: &'static str,
    /// The arguments of that command.
    pub arguments: Vec<String>,
    /// What it sees of the machine, as `HOST:CONTAINER`.
    pub mounts: Vec<String>,
    /// Linux capabilities, such as `NET_ADMIN`: it is root, and has no others.
    pub capabilities: Vec<String>,
    /// Whether it sees cgroups by the paths that the machine knows them by.
    pub sees_cgroups: bool,
    /// Whether it is on the machine's own network, and not on none.
    pub sees_network: bool,
    /// The line that it prints when it has done what is waited for.
    pub ready: &'static str,
    /// How long it may take to print it.
    pub ready_timeout: Duration,
}

/// A helper container that runs until this is dropped, or this process dies.
pub(super) struct Helper {
    /// Its standard input: it ends with it.
    _input: Pin<Box<dyn AsyncWrite + Send>>,
}

impl HelperSpec {
    /// The engine's words for it.
    fn body(&self, instance: &str, image: &HelperImage) -> ContainerCreateBody {
        let mut command = image.command.clone();
        command.push(self.role.to_owned());
        command.extend(self.arguments.iter().cloned());
        ContainerCreateBody {
            image: Some(image.tag.clone()),
            entrypoint: Some(command),
            labels: Some(spec::role_labels(instance, self.role)),
            open_stdin: Some(true),
            stdin_once: Some(true),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            host_config: Some(HostConfig {
                auto_remove: Some(true),
                binds: Some(self.mounts.clone()),
                cgroupns_mode: self.sees_cgroups.then_some(HostConfigCgroupnsModeEnum::HOST),
                network_mode: Some(if self.sees_network { "host" } else { "none" }.to_owned()),
                readonly_rootfs: Some(true),
                // It is root: what its files allow root it may without any of them.
                cap_drop: Some(vec!["ALL".to_owned()]),
                cap_add: Some(self.capabilities.clone()).filter(|added| !added.is_empty()),
                security_opt: Some(vec!["no-new-privileges".to_owned(), "label=disable".to_owned()]),
                pids_limit: Some(32),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        }
    }
}

impl Engine {
    /// Starts a helper container, and waits until it is ready.
    ///
    /// # Errors
    /// `EngineError::Unsupported` with what the engine or the container says.
    pub(super) async fn start_helper(&self, instance: &str, helper: &HelperSpec) -> Result<Helper> {
        let image = self.helper_image(instance).await?;
        let started = tokio::time::timeout(helper.ready_timeout, self.start_helper_of(&image, instance, helper));
        started.await.unwrap_or_else(|_| {
            let reason = format!("the container of {} does not answer", helper.role);
            Err(EngineError::Unsupported { reason }.into())
        })
    }

    async fn start_helper_of(&self, image: &HelperImage, instance: &str, helper: &HelperSpec) -> Result<Helper> {
        let unsupported = |error: bollard::errors::Error| EngineError::Unsupported { reason: error.to_string() };
        let name = format!("paas-{instance}-{}-{}-{}", helper.role, std::process::id(), clock::now());
        let options = query::CreateContainerOptions { name: Some(name.clone()), ..Default::default() };
        self.docker.create_container(Some(options), helper.body(instance, image)).await.map_err(unsupported)?;
        let attach = query::AttachContainerOptions {
            stream: true,
            stdin: true,
            stdout: true,
            stderr: true,
            ..Default::default()
        };
        let attached = self.docker.attach_container(&name, Some(attach)).await.map_err(unsupported)?;
        let started = self.docker.start_container(&name, None::<query::StartContainerOptions>).await;
        if let Err(error) = started {
            // One that never ran is not removed by itself.
            self.destroy(&name).await?;
            return Err(unsupported(error).into());
        }
        let mut output = attached.output;
        let mut printed = String::new();
        while let Some(piece) = output.next().await {
            let (LogOutput::StdOut { message } | LogOutput::StdErr { message } | LogOutput::Console { message }) =
                piece.map_err(unsupported)?
            else {
                continue;
            };
            printed.push_str(&String::from_utf8_lossy(&message));
            if printed.lines().any(|line| line == helper.ready) {
                return Ok(Helper { _input: attached.input });
            }
        }
        let reason =
            printed.trim().trim_start_matches("error: ").lines().next().unwrap_or("it ended at once").to_owned();
        Err(EngineError::Unsupported { reason }.into())
    }

    /// The image that holds this program and the libraries it is linked with, made where it is missing: the engine may
    /// have no other image, may pull none, and may not see this machine's files.
    async fn helper_image(&self, instance: &str) -> Result<HelperImage> {
        use std::os::unix::fs::MetadataExt;
        let running = "/proc/self/exe";
        let metadata = std::fs::metadata(running).map_err(Error::io("look at the running paas"))?;
        // Another build of this program is of another size or time.
        let (repository, version) =
            (format!("paas-{instance}/{IMAGE_ROLE}"), format!("{:x}-{:x}", metadata.size(), metadata.mtime()));
        let tag = format!("{repository}:{version}");
        let libraries = libraries()?;
        let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
        let (loaders, others): (Vec<String>, Vec<String>) =
            libraries.iter().map(|path| format!("/lib/{}", name(path))).partition(|path| path.starts_with("/lib/ld-"));
        let mut command: Vec<String> = loaders.into_iter().take(1).collect();
        if !command.is_empty() {
            // By path, because the names of the files are not those that the program asks for.
            command.extend(["--preload".to_owned(), others.join(":")]);
        }
        command.push("/paas".to_owned());
        match self.docker.inspect_image(&tag).await {
            Ok(_) => return Ok(HelperImage { tag, command }),
            Err(error) if is_status(&error, 404) => {}
            Err(error) => return Err(failed(format!("inspect the image {tag}"))(error)),
        }
        let mut archive = tar::Builder::new(Vec::new());
        let packed = || -> std::io::Result<Vec<u8>> {
            let mut add = |path: String, from: &str| {
                let content = std::fs::read(from)?;
                let mut header = tar::Header::new_gnu();
                header.set_mode(0o755);
                header.set_size(content.len() as u64);
                archive.append_data(&mut header, path, content.as_slice())
            };
            add("paas".to_owned(), running)?;
            for path in &libraries {
                add(format!("lib/{}", name(path)), path)?;
            }
            archive.into_inner()
        };
        let packed = packed().map_err(Error::io("pack the running paas"))?;
        let labels: Vec<String> =
            spec::role_labels(instance, IMAGE_ROLE).iter().map(|(name, value)| format!("{name}={value}")).collect();
        let options = query::CreateImageOptions {
            from_src: Some("-".to_owned()),
            repo: Some(repository),
            tag: Some(version),
            changes: vec![format!("LABEL {}", labels.join(" "))],
            ..Default::default()
        };
        self.docker
            .create_image(Some(options), Some(body_full(packed.into())), None)
            .try_for_each(|_| async { Ok(()) })
            .await
            .map_err(failed(format!("make the image {tag}")))?;
        self.remove_former_helpers(instance, &tag).await?;
        Ok(HelperImage { tag, command })
    }

    async fn remove_former_helpers(&self, instance: &str, current: &str) -> Result<()> {
        let labels = [(spec::INSTANCE_LABEL, instance)];
        let options = query::ListImagesOptions { filters: Some(label_filter(&labels)), ..Default::default() };
        let images = self.docker.list_images(Some(options)).await.map_err(failed("list images"))?;
        let helpers = images.iter().filter(|image| has_role(&image.labels));
        for tag in helpers.flat_map(|image| &image.repo_tags).filter(|tag| *tag != current) {
            self.remove_image(tag).await?;
        }
        Ok(())
    }
}

/// The image of this program.
struct HelperImage {
    tag: String,
    /// What starts it in the image.
    command: Vec<String>,
}

/// The libraries that this process is linked with, by path.
fn libraries() -> Result<BTreeSet<String>> {
    let maps = std::fs::read_to_string("/proc/self/maps").map_err(Error::io("read /proc/self/maps"))?;
    let paths = maps.lines().filter_map(|line| line.find('/').map(|start| &line[start..]));
    // After an upgrade of a library the new one is at the same place.
    let paths = paths.map(|path| path.strip_suffix(" (deleted)").unwrap_or(path));
    Ok(paths.filter(|path| path.contains(".so")).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_may_do_what_it_asks_for_and_no_more() {
        let image = HelperImage { tag: "paas-0/helper:1".to_owned(), command: vec!["/paas".to_owned()] };
        let helper = |capabilities: &[&str]| {
            let spec = HelperSpec {
                role: "build-caps",
                arguments: vec!["--cpus=2".to_owned()],
                mounts: vec!["/sys/fs/cgroup:/cgroup".to_owned()],
                capabilities: capabilities.iter().map(|name| (*name).to_owned()).collect(),
                sees_cgroups: false,
                sees_network: !capabilities.is_empty(),
                ready: "in force",
                ready_timeout: Duration::from_secs(1),
            };
            spec.body("0", &image)
        };
        let body = helper(&[]);
        assert_eq!(body.entrypoint.unwrap(), ["/paas", "build-caps", "--cpus=2"]);
        let host = body.host_config.unwrap();
        assert_eq!(host.binds.unwrap(), ["/sys/fs/cgroup:/cgroup"]);
        assert_eq!((host.cap_drop.unwrap(), host.cap_add), (vec!["ALL".to_owned()], None));
        assert_eq!((host.network_mode.as_deref(), host.readonly_rootfs), (Some("none"), Some(true)));
        let host = helper(&["NET_ADMIN"]).host_config.unwrap();
        assert_eq!((host.cap_add.unwrap(), host.network_mode.as_deref()), (vec!["NET_ADMIN".to_owned()], Some("host")));
    }
}
