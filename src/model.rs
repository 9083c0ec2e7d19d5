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
mod key;
mod names;
mod process;
mod process_settings;
pub mod property;
mod release;
mod value;

pub use actor::Actor;
pub use app::{App, AppName, AppState, Freeze};
pub use caps::BuildCaps;
pub use check::{Check, CheckMode, HttpProbe, Probe};
pub use command_line::shell_arguments;
pub use config::{ConfigMap, EnvKey};
pub use deployment::{DeployId, DeployState, Deployment, DeploymentKind, Phase};
pub use format::{bytes, seconds};
pub use host::{Hostname, Subnet};
pub use key::PublicKey;
pub use names::{BranchName, CommitId, KeyName};
pub use process::{ProcessSpec, ProcessType};
pub use process_settings::{ProcessSettings, RestartPolicy, RunSettings};
pub use property::{Effect, MASK, Noun, Override, Property, PropertyChange, PropertyRow, Scope};
pub use release::{ImageId, Release, ReleaseStatus, ReleaseVersion};
