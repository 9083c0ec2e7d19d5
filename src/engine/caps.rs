//! Capping what builds take: `cgroup` writes to the machine's cgroups, as root, in a short-lived container of the engine's
//! that has nothing in it but this program. It ends with the build.

use std::{collections::BTreeSet, pin::Pin, time::Duration};

use bollard::{
    body_full,
    container::LogOutput,
    models::{ContainerCreateBody, HostConfig, HostConfigCgroupnsModeEnum},
    query_parameters as query,
};
use futures_util::{StreamExt, TryStreamExt};
use tokio::io::AsyncWrite;

use super::{Engine, fault::failed, is_status, label_filter, spec};
use crate::{Error, Result, cgroup, clock, error::EngineError, model::BuildCaps};

/// What [`spec::ROLE_LABEL`] says on the container and its image.
pub(super) const ROLE: &str = "build-caps";
/// How long the container may take to say that the caps are in force.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// Caps that are in force until this is dropped, or this process dies.
pub struct Capped {
    /// The container's standard input: it ends with it.
    _input: Pin<Box<dyn AsyncWrite + Send>>,
}

impl Engine {
    /// Caps what builds take of the memory and the processors of the engine's machine: all of this engine's, together.
    /// Without caps, takes back those that were set before.
    ///
    /// # Errors
    /// `EngineError::Unsupported` where this engine's builds cannot be capped, with the reason.
    pub async fn cap_builds(&self, instance: &str, caps: BuildCaps) -> Result<Capped> {
        let image = self.program_image(instance).await?;
        tokio::time::timeout(READY_TIMEOUT, self.start_capping(instance, &image, caps)).await.unwrap_or_else(|_| {
            Err(Error::Engine(EngineError::Unsupported {
                reason: "the container that caps builds does not answer".to_owned(),
            }))
        })
    }

    async fn start_capping(&self, instance: &str, image: &Program, caps: BuildCaps) -> Result<Capped> {
        let name = format!("paas-{instance}-{ROLE}-{}-{}", std::process::id(), clock::now());
        let mut command = image.command.clone();
        command.push(ROLE.to_owned());
        command.extend(caps.memory.map(|memory| format!("--memory={memory}")));
        command.extend(caps.cpus.map(|cpus| format!("--cpus={cpus}")));
        let body = ContainerCreateBody {
            image: Some(image.tag.clone()),
            entrypoint: Some(command),
            labels: Some(spec::role_labels(instance, ROLE)),
            open_stdin: Some(true),
            stdin_once: Some(true),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            host_config: Some(HostConfig {
                auto_remove: Some(true),
                binds: Some(vec![format!("/sys/fs/cgroup:{}", cgroup::MOUNT)]),
                // Paths as the machine has them, and the right to move processes between them.
                cgroupns_mode: Some(HostConfigCgroupnsModeEnum::HOST),
                network_mode: Some("none".to_owned()),
                readonly_rootfs: Some(true),
                // The files are root's, and it is root: it needs nothing more than that.
                cap_drop: Some(vec!["ALL".to_owned()]),
                security_opt: Some(vec!["no-new-privileges".to_owned(), "label=disable".to_owned()]),
                pids_limit: Some(32),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let unsupported =
            |error: bollard::errors::Error| Error::Engine(EngineError::Unsupported { reason: error.to_string() });
        let options = query::CreateContainerOptions { name: Some(name.clone()), ..Default::default() };
        self.docker.create_container(Some(options), body).await.map_err(unsupported)?;
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
            return Err(unsupported(error));
        }
        let mut output = attached.output;
        let mut said = String::new();
        while let Some(piece) = output.next().await {
            let (LogOutput::StdOut { message } | LogOutput::StdErr { message } | LogOutput::Console { message }) =
                piece.map_err(unsupported)?
            else {
                continue;
            };
            said.push_str(&String::from_utf8_lossy(&message));
            if said.lines().any(|line| line == cgroup::READY) {
                return Ok(Capped { _input: attached.input });
            }
        }
        let reason = said.trim().trim_start_matches("error: ").lines().next().unwrap_or("it ended at once").to_owned();
        Err(Error::Engine(EngineError::Unsupported { reason }))
    }

    /// The image that holds this program and the libraries it is linked with, made where it is missing: the engine may
    /// have no other image, may pull none, and may not see this machine's files.
    async fn program_image(&self, instance: &str) -> Result<Program> {
        use std::os::unix::fs::MetadataExt;
        let running = "/proc/self/exe";
        let metadata = std::fs::metadata(running).map_err(Error::io("look at the running paas"))?;
        // Another build of this program is of another size or time.
        let (repository, version) =
            (format!("paas-{instance}/{ROLE}"), format!("{:x}-{:x}", metadata.size(), metadata.mtime()));
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
            Ok(_) => return Ok(Program { tag, command }),
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
            spec::role_labels(instance, ROLE).iter().map(|(name, value)| format!("{name}={value}")).collect();
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
        self.remove_former_programs(instance, &tag).await?;
        Ok(Program { tag, command })
    }

    async fn remove_former_programs(&self, instance: &str, current: &str) -> Result<()> {
        let labels = [(spec::INSTANCE_LABEL, instance), (spec::ROLE_LABEL, ROLE)];
        let options = query::ListImagesOptions { filters: Some(label_filter(&labels)), ..Default::default() };
        let images = self.docker.list_images(Some(options)).await.map_err(failed("list images"))?;
        for tag in images.iter().flat_map(|image| &image.repo_tags).filter(|tag| *tag != current) {
            self.remove_image(tag).await?;
        }
        Ok(())
    }
}

/// The image of this program.
struct Program {
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
