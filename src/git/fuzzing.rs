//! What git says to its hooks, and what a client of git asks for, for the fuzz targets.

use super::{lfs_refusal, receive};

/// The conversation of both hooks, and the words of a session.
pub fn git(bytes: &[u8]) {
    if let Ok(updates) = receive::read_updates(bytes) {
        for update in updates {
            let _ = (update.branch(), update.tag());
        }
    }
    let mut said = Vec::new();
    if let Ok(mut hook) = receive::ProcReceive::begin(bytes, &mut said) {
        for update in std::mem::take(&mut hook.updates) {
            hook.refuse(&update.name, "a\nb").expect("a vector takes all");
        }
        hook.end().expect("a vector takes all");
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = (super::Service::of(text), lfs_refusal(text));
    }
}
