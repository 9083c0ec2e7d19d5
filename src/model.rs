//! Pure types and rules: what the words of this program mean. Nothing here does I/O or asks the time.
//!
//! A value from outside is parsed once into one of these types and is a raw string no more.

mod actor;
mod app;
mod caps;
mod check;
mod command_line;
mod config;
mod deployment;
mod format;
mod host;
mod ids;
mod key;
mod names;
mod process;
mod process_settings;
mod release;

pub use actor::Actor;
pub use app::{App, AppName, AppState, Freeze};
pub use caps::BuildCaps;
pub use check::{Check, CheckMode, HttpProbe, Probe};
pub use command_line::shell_arguments;
pub use config::{ConfigMap, EnvKey};
pub use deployment::{DeployState, Deployment, DeploymentKind, Phase};
pub use format::{bytes, seconds};
pub use host::{Hostname, Subnet};
pub use ids::{AppId, ContainerId, DeployId, ReleaseId};
pub use key::PublicKey;
pub(crate) use names::words;
pub use names::{BranchName, CommitId, KeyName};
pub use process::{ProcessSpec, ProcessType};
pub use process_settings::{Override, ProcessSettings, RestartPolicy, RunSettings, Setting, SettingGroup};
pub use release::{ImageId, Release, ReleaseStatus, ReleaseVersion};
