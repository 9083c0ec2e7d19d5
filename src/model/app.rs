use serde::{Deserialize, Serialize};

use super::{
    AppId, BranchName, Invalid, ReleaseVersion, Result,
    names::{checked_string, is_dns_label, words},
};

checked_string! {
    /// The name of an app, which is also its label in the domain: `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`.
    AppName, "app name", |text| {
        if is_dns_label(text) {
            Ok(())
        } else {
            Err("it takes 1 to 63 lower-case letters, digits and dashes, and begins and ends with no dash".to_owned())
        }
    }
}

/// Names that are not free: `paas` is the host of our own pages, `unknown` is what the edge is asked to see that it
/// answers, and `localhost` would be the machine itself wherever an app is called by its name.
const RESERVED: [&str; 3] = ["paas", "localhost", "unknown"];

impl AppName {
    /// Refuses the names that no app may have, though they are of the form.
    ///
    /// # Errors
    /// [`Invalid`].
    pub fn check_not_reserved(&self) -> Result<()> {
        if RESERVED.contains(&self.as_str()) {
            return Err(Invalid::new("app name", self.as_str(), "the name is reserved; choose another"));
        }
        Ok(())
    }
}

words! {
    /// Whether an app is meant to run.
    AppState, "app state", {
        /// Never deployed.
        New = "new",
        /// Meant to run.
        Running = "running",
        /// Stopped on purpose.
        Stopped = "stopped",
    }
}

/// That somebody locked an app, so that nothing changes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppLock {
    /// Who locked it.
    pub actor: String,
    /// When, in milliseconds since 1970.
    pub since: i64,
    /// Why, in their words.
    pub message: Option<String>,
}

/// An app, as the database has it.
#[derive(Clone, Debug)]
pub struct App {
    /// Its number, never used again.
    pub id: AppId,
    /// Its name.
    pub name: AppName,
    /// Whether it is meant to run.
    pub state: AppState,
    /// The branch whose push deploys; set by the first push.
    pub deploy_branch: Option<BranchName>,
    /// The release that serves.
    pub current_release: Option<ReleaseVersion>,
    /// Who locked it, if somebody did.
    pub lock: Option<AppLock>,
    /// When it was made, in milliseconds since 1970.
    pub created_at: i64,
}

impl App {
    /// Whether it is meant to run.
    pub fn is_running(&self) -> bool {
        self.state == AppState::Running
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_names_are_dns_labels() {
        for good in ["a", "blog", "my-app-2", "0", &"a".repeat(63)] {
            assert!(good.parse::<AppName>().is_ok(), "{good:?}");
        }
        for bad in ["", "-a", "a-", "Blog", "a_b", "a.b", "a/b", "a b", "a\n", "é", &"a".repeat(64)] {
            assert!(bad.parse::<AppName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn some_names_are_reserved() -> Result<()> {
        for name in RESERVED {
            assert!(name.parse::<AppName>()?.check_not_reserved().is_err(), "{name}");
        }
        for name in ["blog", "api", "www", "admin", "dashboard", "git"] {
            name.parse::<AppName>()?.check_not_reserved()?;
        }
        Ok(())
    }
}
