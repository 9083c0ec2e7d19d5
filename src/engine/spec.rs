//! What a container is made from: a plain value, and its translation for the engine.

use std::{collections::HashMap, net::Ipv4Addr};

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, NetworkingConfig, RestartPolicy as EnginePolicy,
    RestartPolicyNameEnum,
};

use crate::model::{AppName, Containment, DeployId, ImageId, ProcessType, ReleaseVersion, RestartPolicy};

/// The label that tells this instance's things from another's.
pub(super) const INSTANCE_LABEL: &str = "paas.instance";
/// The label that says of which app a thing is.
pub(super) const APP_LABEL: &str = "paas.app";
/// The label that says which deployment made a thing.
pub(super) const DEPLOYMENT_LABEL: &str = "paas.deployment";

/// The label of a container that serves builds, and of its image: what it does.
pub(super) const ROLE_LABEL: &str = "paas.role";

/// How many processes and threads a container may have whose release says nothing of it.
const PIDS_LIMIT: u32 = 4096;
/// What of a read-only container can be written: in memory, with programs, because some unpack theirs there.
const WRITABLE: (&str, &str) = ("/tmp", "rw,exec,nosuid,nodev,mode=1777");

/// In how many files the engine keeps a container's log, the newest among them.
pub(super) const LOG_FILES: u32 = 3;

/// The name of an instance's network.
pub(super) fn network_name(instance: &str) -> String {
    format!("paas-{instance}")
}

/// Whose a container or an image is. Everything we make in the engine carries it.
#[derive(Clone, Debug)]
pub struct Labels {
    /// The instance's id.
    pub instance: String,
    /// The app.
    pub app: AppName,
    /// The release; none for an image, which is built before its release is cut.
    pub release: Option<ReleaseVersion>,
    /// The deployment; none for a run.
    pub deployment: Option<DeployId>,
    /// The process type and position; none for an image.
    pub process: Option<(ProcessType, u32)>,
}

impl Labels {
    pub(super) fn to_map(&self) -> HashMap<String, String> {
        let mut map = HashMap::from([
            (INSTANCE_LABEL.to_owned(), self.instance.clone()),
            (APP_LABEL.to_owned(), self.app.to_string()),
        ]);
        if let Some(deployment) = self.deployment {
            map.insert(DEPLOYMENT_LABEL.to_owned(), deployment.to_string());
        }
        if let Some(release) = self.release {
            map.insert("paas.release".to_owned(), release.to_string());
        }
        if let Some((process, position)) = &self.process {
            map.insert("paas.process".to_owned(), process.to_string());
            map.insert("paas.index".to_owned(), position.to_string());
        }
        map
    }
}

/// The labels of what serves builds.
pub(super) fn role_labels(instance: &str, role: &str) -> HashMap<String, String> {
    HashMap::from([(INSTANCE_LABEL.to_owned(), instance.to_owned()), (ROLE_LABEL.to_owned(), role.to_owned())])
}

/// The engine's words for a restart policy. What is always restarted also is after a reboot.
pub(super) fn restart_policy(policy: RestartPolicy) -> EnginePolicy {
    let (name, times) = match policy {
        RestartPolicy::Always => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
        RestartPolicy::OnFailure(times) => (RestartPolicyNameEnum::ON_FAILURE, times),
        RestartPolicy::No => (RestartPolicyNameEnum::NO, None),
    };
    EnginePolicy { name: Some(name), maximum_retry_count: times.map(i64::from) }
}

/// What a program that somebody is attached to has in place of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    /// Whether that is a terminal; else it is three pipes.
    pub tty: bool,
}

/// A container to be made.
#[derive(Clone, Debug)]
pub struct ContainerSpec {
    /// Its name in the engine.
    pub name: String,
    /// Whose it is.
    pub labels: Labels,
    /// What it runs.
    pub image: ImageId,
    /// The arguments that start its command; none: the image's own command.
    pub arguments: Option<Vec<String>>,
    /// Its environment, in clear.
    pub environment: Vec<(String, String)>,
    /// Its address in the instance's network.
    pub address: Ipv4Addr,
    /// Whether the engine starts it again.
    pub restart: RestartPolicy,
    /// Memory limit in MiB; none: unlimited.
    pub memory_mib: Option<u32>,
    /// CPU limit in thousandths of a CPU; none: unlimited.
    pub cpu_millis: Option<u32>,
    /// What keeps it apart from others; none: what Docker does by itself.
    pub containment: Option<Containment>,
    /// How somebody is attached to its program; none: nobody is.
    pub attached: Option<Streams>,
    /// Whether the engine keeps what it prints.
    pub keeps_log: bool,
}

impl ContainerSpec {
    /// The engine's words for it.
    pub(super) fn body(&self) -> ContainerCreateBody {
        let contained = self.containment.as_ref();
        let read_only = contained.is_some_and(|contained| contained.read_only);
        let dropped = contained.map(|contained| contained.dropped().map(|it| it.as_str().to_owned()).collect());
        let hostname = self.labels.process.as_ref().map(|(process, position)| format!("{process}-{position}"));
        ContainerCreateBody {
            image: Some(self.image.0.clone()),
            hostname,
            // An entry point of the image would get the words of a process command as its arguments.
            entrypoint: self.arguments.as_ref().map(|_| Vec::new()),
            cmd: self.arguments.clone(),
            env: Some(self.environment.iter().map(|(key, value)| format!("{key}={value}")).collect()),
            labels: Some(self.labels.to_map()),
            tty: self.attached.map(|streams| streams.tty),
            open_stdin: self.attached.map(|_| true),
            stdin_once: self.attached.map(|_| true),
            attach_stdin: self.attached.map(|_| true),
            attach_stdout: self.attached.map(|_| true),
            attach_stderr: self.attached.map(|_| true),
            host_config: Some(HostConfig {
                init: Some(true),
                network_mode: Some(network_name(&self.labels.instance)),
                restart_policy: Some(restart_policy(self.restart)),
                // Swap would only hide that the limit is reached.
                memory: self.memory_mib.map(memory_bytes),
                memory_swap: self.memory_mib.map(memory_bytes),
                nano_cpus: self.cpu_millis.map(|millis| i64::from(millis) * 1_000_000),
                log_config: Some(log_config(self.keeps_log)),
                cap_drop: dropped.filter(|dropped: &Vec<String>| !dropped.is_empty()),
                pids_limit: Some(i64::from(contained.map_or(PIDS_LIMIT, |contained| contained.pids))),
                readonly_rootfs: read_only.then_some(true),
                tmpfs: read_only.then(|| HashMap::from([(WRITABLE.0.to_owned(), WRITABLE.1.to_owned())])),
                security_opt: Some(vec!["no-new-privileges".to_owned()]),
                ..HostConfig::default()
            }),
            networking_config: Some(NetworkingConfig {
                endpoints_config: Some(HashMap::from([(network_name(&self.labels.instance), self.endpoint())])),
            }),
            ..ContainerCreateBody::default()
        }
    }
}

fn log_config(keeps: bool) -> HostConfigLogConfig {
    if !keeps {
        return HostConfigLogConfig { typ: Some("none".to_owned()), config: None };
    }
    HostConfigLogConfig {
        typ: Some("json-file".to_owned()),
        config: Some(HashMap::from([
            ("max-size".to_owned(), "10m".to_owned()),
            ("max-file".to_owned(), LOG_FILES.to_string()),
        ])),
    }
}

fn memory_bytes(mebibytes: u32) -> i64 {
    i64::from(mebibytes) << 20
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Result,
        model::{Capability, shell_arguments},
    };

    #[test]
    fn a_command_line_runs_in_the_containers_own_shell() -> Result<()> {
        let spec = ContainerSpec {
            name: "paas-0-blog-1-web-1".to_owned(),
            labels: Labels {
                instance: "0".to_owned(),
                app: "blog".parse()?,
                release: Some(ReleaseVersion(3)),
                deployment: Some(crate::model::OperationId(1)),
                process: Some((ProcessType::web(), 1)),
            },
            image: ImageId("sha256:0".to_owned()),
            arguments: Some(shell_arguments("node server.js; $(x)").to_vec()),
            environment: vec![("PORT".to_owned(), "5000".to_owned())],
            address: Ipv4Addr::new(10, 213, 0, 2),
            restart: RestartPolicy::No,
            memory_mib: Some(512),
            cpu_millis: Some(1500),
            containment: Some(Containment { capabilities: vec![Capability::Setfcap], pids: 100, read_only: true }),
            attached: None,
            keeps_log: true,
        };
        let body = serde_json::to_string_pretty(&body_sorted(&spec)).map_err(crate::Error::bug)?;
        insta::assert_snapshot!(body, @r#"
        {
          "Cmd": [
            "/bin/sh",
            "-c",
            "node server.js; $(x)"
          ],
          "Entrypoint": [],
          "Env": [
            "PORT=5000"
          ],
          "HostConfig": {
            "CapDrop": [
              "NET_RAW",
              "MKNOD",
              "AUDIT_WRITE"
            ],
            "Init": true,
            "LogConfig": {
              "Config": {
                "max-file": "3",
                "max-size": "10m"
              },
              "Type": "json-file"
            },
            "Memory": 536870912,
            "MemorySwap": 536870912,
            "NanoCpus": 1500000000,
            "NetworkMode": "paas-0",
            "PidsLimit": 100,
            "ReadonlyRootfs": true,
            "RestartPolicy": {
              "Name": "no"
            },
            "SecurityOpt": [
              "no-new-privileges"
            ],
            "Tmpfs": {
              "/tmp": "rw,exec,nosuid,nodev,mode=1777"
            }
          },
          "Hostname": "web-1",
          "Image": "sha256:0",
          "Labels": {
            "paas.app": "blog",
            "paas.deployment": "1",
            "paas.index": "1",
            "paas.instance": "0",
            "paas.process": "web",
            "paas.release": "v3"
          },
          "NetworkingConfig": {
            "EndpointsConfig": {
              "paas-0": {
                "IPAMConfig": {
                  "IPv4Address": "10.213.0.2"
                }
              }
            }
          }
        }
        "#);
        Ok(())
    }

    /// A JSON value sorts its keys; the engine's own types keep no order in their maps.
    fn body_sorted(spec: &ContainerSpec) -> serde_json::Value {
        serde_json::to_value(spec.body()).unwrap()
    }
}
