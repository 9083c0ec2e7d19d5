//! What bollard's errors mean to us. Docker and bollard have no kind for a broken connection or a full disk, so that this
//! is decided here, once, and is a variant of [`EngineError`] from here on.

use std::io::ErrorKind;

use bollard::errors::Error as Fault;

use crate::{Error, error::EngineError};

/// Makes an error of Docker's with what was asked of it, as a verb phrase.
pub(super) fn failed<E: Into<Fault>>(action: impl Into<String>) -> impl Fn(E) -> Error {
    let action = action.into();
    move |fault| {
        let (action, fault) = (action.clone(), fault.into());
        let kind = match &fault {
            _ if is_lost(&fault) => EngineError::Lost { action, source: fault.into() },
            Fault::DockerStreamError { error: text } | Fault::DockerResponseServerError { message: text, .. }
                if is_full(text) =>
            {
                EngineError::NoSpace { action, source: fault.into() }
            }
            _ => EngineError::Failed { action, source: fault.into() },
        };
        Error::Engine(kind)
    }
}

/// Whether Docker says that its disk is full. It says so in the words of the operating system.
pub(super) fn is_full(message: &str) -> bool {
    message.contains("no space left on device")
}

/// Whether the connection ended before the answer did.
fn is_lost(fault: &Fault) -> bool {
    match fault {
        Fault::HyperResponseError { .. } | Fault::HyperLegacyError { .. } => true,
        // bollard makes this kind of what breaks the body of an answer.
        Fault::IOError { err } => matches!(
            err.kind(),
            ErrorKind::Other | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(fault: Fault) -> Error {
        failed("build the image")(fault)
    }

    #[test]
    fn a_full_disk_and_a_lost_connection_are_told_apart_from_other_errors() {
        let full = "write /x: no space left on device".to_owned();
        let error = kind_of(Fault::DockerStreamError { error: full.clone() });
        assert!(matches!(error, Error::Engine(EngineError::NoSpace { .. })), "{error:?}");
        let error = kind_of(Fault::DockerResponseServerError { status_code: 500, message: full });
        assert!(matches!(error, Error::Engine(EngineError::NoSpace { .. })), "{error:?}");
        let error = kind_of(std::io::Error::other("error reading a body from connection").into());
        assert!(matches!(error, Error::Engine(EngineError::Lost { .. })), "{error:?}");
        let error = kind_of(Fault::DockerResponseServerError { status_code: 500, message: "no".to_owned() });
        assert!(matches!(error, Error::Engine(EngineError::Failed { .. })), "{error:?}");
    }
}
