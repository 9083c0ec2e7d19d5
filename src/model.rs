//! Pure types and rules: what the words of this program mean. Nothing here does I/O or asks the time.
//!
//! A value from outside is parsed once into one of these types and is a raw string no more.

mod access;
mod actor;
mod app;
mod caps;
mod certificate;
mod check;
mod command_line;
mod config;
mod config_format;
mod containment;
mod cron;
mod deployment;
mod domain;
mod edit;
mod env_file;
mod event;
mod format;
#[cfg(fuzzing)]
pub mod fuzzing;
mod host;
mod ids;
mod invalid;
mod job;
mod key;
mod mask;
mod names;
mod network;
mod operation;
mod port;
mod process;
mod process_settings;
pub mod property;
mod redirect;
mod release;
mod resolution;
mod route;
mod rules;
mod run;
mod scheduler;
mod status;
mod value;

pub use access::{Access, Caller, Door, Grant, Needed, Refusal, Right, Role, allow};
pub use actor::Actor;
pub use app::{App, AppLock, AppName, AppState};
pub use caps::BuildCaps;
pub use certificate::{CertificateKind, Trouble};
pub use check::{Check, CheckMode, HttpProbe, ImageCheck, Probe};
pub use command_line::shell_arguments;
pub use config::{
    Config, ConfigMap, EnvKey, MASK, check_environment, check_variable, config_digest, differing, edits_between,
    port_of, rev_names, rev_variables, size_of,
};
pub use config_format::{ConfigFormat, ImportFormat, from_base64, read_config};
pub use containment::{Capability, Containment};
pub use cron::{
    CronCommand, CronName, CronSchedule, CronSpec, CronTimes, Interrupted, MOST_CRONS, Missed, Overlap, Turn, ZoneName,
    counted, cron_jitter, cron_timeout,
};
pub use deployment::{DeployState, Deployment, DeploymentKind, Phase, Stop};
pub use domain::{Domain, Place, ServerNames, TypedDomain};
pub use edit::Edit;
pub use env_file::{example_variables, parse_env_file, write_env_file};
pub use event::{Change, Event, EventFilter, Outcome, Subject};
pub use format::{Age, bytes, seconds};
pub use host::{Hostname, Subnet};
pub use ids::{AppId, ContainerId, DeployId, OperationId, ReleaseId, RouteId, RunId};
pub use invalid::Invalid;
pub(crate) use invalid::Result;
pub use job::{JobName, JobState};
pub use key::PublicKey;
pub use mask::{MaskedStream, Masker};
pub(crate) use names::words;
pub use names::{BranchName, CommitId, KeyName};
pub use network::Network;
pub use operation::{Operation, OperationKind, OperationState};
pub use port::{PortChoice, PortMapping, PortScheme, ProxyProtocol, open_ports, port_ranges};
pub use process::{ProcessSpec, ProcessType, Which};
pub use process_settings::{ProcessSettings, RestartPolicy, RunSettings};
pub use property::{Effect, Noun, Override, Property, PropertyChange, PropertyRow, Scope};
pub use redirect::{RedirectCode, circle_of_redirects};
pub use release::{ImageId, Release, ReleaseStatus, ReleaseVersion, check_containers, formation, process_types};
pub use resolution::{Answer, DnsRecord, Finding, Judged, LookedUp, OwnAddresses, is_public, is_public_name, judge};
pub use route::{HostHeader, RouteHealth, RouteOptions, RouteSource, RouteTarget, TargetPlace, route_options};
pub use rules::{
    HeaderRule, Hsts, PathPrefix, PathTarget, WebUser, header_rules, network_lines, networks, trusted_proxies,
};
pub use run::{Run, RunEnd, RunKind, RunState, TypedProgram, line_with_words, program_of};
pub use scheduler::Scheduler;
pub use status::{Condition, Status, app_status};
