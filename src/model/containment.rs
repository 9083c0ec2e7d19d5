use serde::{Deserialize, Serialize};

use super::{Invalid, Result, names::words};

/// How many processes and threads a container may have where nobody says another number.
pub const PIDS: u32 = 1024;

words! {
    /// A right of root's that Docker gives containers and we take away: hardly an app needs it, and with it one that was
    /// taken over can do harm to others.
    Capability, "capability", {
        /// To make packets of any kind: to pretend to be another container.
        NetRaw = "NET_RAW",
        /// To make device files.
        Mknod = "MKNOD",
        /// To write to the kernel's audit log.
        AuditWrite = "AUDIT_WRITE",
        /// To give programs rights of root's.
        Setfcap = "SETFCAP",
    }
}

impl Capability {
    /// Reads a list with commas, such as `NET_RAW,SETFCAP`, in any case and with or without `CAP_`; or none.
    ///
    /// # Errors
    /// [`Invalid`].
    pub fn parse_list(text: &str) -> Result<Vec<Capability>> {
        if text.eq_ignore_ascii_case("none") {
            return Ok(Vec::new());
        }
        let mut found = text
            .split(',')
            .map(|word| {
                let word = word.trim().to_ascii_uppercase();
                word.strip_prefix("CAP_").unwrap_or(&word).parse().map_err(|invalid: Invalid| Invalid {
                    rule: format!("{}; several are divided by commas", invalid.rule),
                    ..invalid
                })
            })
            .collect::<Result<Vec<Capability>>>()?;
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }
}

/// What keeps a container apart from the machine and from others, beside what Docker does by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Containment {
    /// The capabilities that it has all the same.
    pub capabilities: Vec<Capability>,
    /// How many processes and threads it may have.
    pub pids: u32,
    /// Whether it cannot write but to `/tmp`.
    pub read_only: bool,
}

impl Containment {
    /// The capabilities that it does not have.
    pub fn dropped(&self) -> impl Iterator<Item = Capability> {
        Capability::ALL.into_iter().filter(|capability| !self.capabilities.contains(capability))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_as_people_write_them() -> Result<()> {
        assert_eq!(Capability::parse_list("cap_setfcap, NET_RAW,net_raw")?, [Capability::NetRaw, Capability::Setfcap]);
        assert_eq!(Capability::parse_list("none")?, []);
        for bad in ["", "ALL", "SYS_ADMIN", "NET_RAW,", "NET_ADMIN"] {
            assert!(Capability::parse_list(bad).is_err(), "{bad:?}");
        }
        Ok(())
    }

    #[test]
    fn what_is_not_brought_back_is_dropped() {
        let with = |capabilities| Containment { capabilities, pids: PIDS, read_only: false };
        assert_eq!(with(Vec::new()).dropped().count(), 4);
        let words: Vec<_> = with(vec![Capability::NetRaw]).dropped().map(Capability::as_str).collect();
        assert_eq!(words, ["MKNOD", "AUDIT_WRITE", "SETFCAP"]);
    }
}
