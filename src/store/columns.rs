//! How the model's types are kept in columns: ids as numbers, all others as the text they are parsed from.

use rusqlite::{
    ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef},
};

use super::ContainerState;
use crate::model::{
    Actor, AppId, AppName, AppState, BranchName, CertificateKind, CommitId, ContainerId, CronName, DeployState,
    DeploymentKind, Door, EnvKey, ImageId, JobName, JobState, KeyName, OperationId, OperationKind, OperationState,
    Outcome, PortScheme, ProcessType, ProxyProtocol, ReleaseId, ReleaseStatus, ReleaseVersion, RestartPolicy, Role,
    RouteId, RunEnd, RunId, RunKind, RunState, Trouble,
};

/// Keeps a newtype as what it is made of.
macro_rules! as_its_content {
    ($($name:ident)*) => {$(
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                self.0.to_sql()
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                FromSql::column_result(value).map($name)
            }
        }
    )*};
}

as_its_content! { AppId ReleaseId ContainerId OperationId RouteId RunId ReleaseVersion ImageId }

/// Keeps a type as the text that it is shown as and parsed from.
macro_rules! as_its_text {
    ($($name:ident)*) => {$(
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.to_string().into())
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                value.as_str()?.parse::<$name>().map_err(FromSqlError::other)
            }
        }
    )*};
}

as_its_text! {
    Actor AppName AppState BranchName CertificateKind CommitId ContainerState CronName DeployState DeploymentKind Door EnvKey JobName JobState
    KeyName OperationKind OperationState Outcome PortScheme ProcessType ProxyProtocol ReleaseStatus Role RestartPolicy RunEnd RunKind RunState Trouble
}
