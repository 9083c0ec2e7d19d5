use std::path::{Path, PathBuf};

use crate::model::{AppId, AppName, DeployId, OperationId, RunId};

/// Where an instance keeps everything, all below its root directory.
#[derive(Clone, Debug)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    /// The places below `root`, an absolute path.
    pub fn new(root: PathBuf) -> Paths {
        Paths { root }
    }

    /// The root directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.root.join("paas.db")
    }

    /// The id of the instance, which the database has too: so that another database is noticed.
    pub fn instance_id(&self) -> PathBuf {
        self.root.join("instance")
    }

    /// The age identity that secrets are sealed to.
    pub fn secret_key(&self) -> PathBuf {
        self.root.join("secret.key")
    }

    /// The SSH server's host key.
    pub fn host_key(&self) -> PathBuf {
        self.root.join("ssh_host_ed25519_key")
    }

    /// The bare repositories.
    pub fn repositories(&self) -> PathBuf {
        self.root.join("repos")
    }

    /// An app's bare repository.
    pub fn repository(&self, app: &AppName) -> PathBuf {
        self.repositories().join(format!("{app}.git"))
    }

    /// The git hooks of all repositories.
    pub fn hooks(&self) -> PathBuf {
        self.root.join("hooks")
    }

    /// An app's logs and volumes.
    pub fn app(&self, app: &AppName) -> PathBuf {
        self.root.join("apps").join(app.as_str())
    }

    /// The log of a deployment.
    pub fn deploy_log(&self, app: &AppName, id: DeployId) -> PathBuf {
        self.deploy_logs(app).join(format!("{id}.log"))
    }

    /// The log of an operation that is no deployment.
    pub fn operation_log(&self, id: OperationId) -> PathBuf {
        self.operation_logs().join(format!("{id}.log"))
    }

    /// The logs of operations that are no deployments.
    pub fn operation_logs(&self) -> PathBuf {
        self.root.join("operations")
    }

    /// The logs of an app's deployments.
    pub fn deploy_logs(&self, app: &AppName) -> PathBuf {
        self.app(app).join("deploys")
    }

    /// The log lines of an app's former containers.
    pub fn former_logs(&self, app: &AppName) -> PathBuf {
        self.app(app).join("former.log")
    }

    /// The submodules fetched for an app.
    pub fn submodules(&self, app: &AppName) -> PathBuf {
        self.app(app).join("submodules")
    }

    /// The lock of an app, by number, so that a new app of an old name has another.
    pub fn app_lock(&self, app_id: AppId) -> PathBuf {
        self.root.join("locks").join(format!("{app_id}.lock"))
    }

    /// The file in which every process that somebody sits at, and that runs a program for them, has locked a byte.
    pub fn runs_lock(&self) -> PathBuf {
        self.root.join("locks/runs.lock")
    }

    /// What an app's detached runs printed.
    pub fn run_logs(&self, app: &AppName) -> PathBuf {
        self.app(app).join("runs")
    }

    /// What a detached run printed.
    pub fn run_log(&self, app: &AppName, id: RunId) -> PathBuf {
        self.run_logs(app).join(format!("{id}.log"))
    }

    /// The file in which every process that runs a deployment, or waits in line with one, has locked a byte.
    pub fn deployments_lock(&self) -> PathBuf {
        self.root.join("locks/deployments.lock")
    }

    /// The locks of those who build: as many as may do it at a time.
    pub fn build_locks(&self, builds: u16) -> Vec<PathBuf> {
        (1..=builds).map(|number| self.root.join("locks").join(format!("build.{number}.lock"))).collect()
    }

    /// The lock of the one process that asks an authority for certificates.
    pub fn acme_lock(&self) -> PathBuf {
        self.root.join("locks/acme.lock")
    }

    /// The lock around writing and loading the Caddyfile.
    pub fn proxy_lock(&self) -> PathBuf {
        self.root.join("locks/proxy.lock")
    }

    /// The lock the daemon holds while it runs.
    pub fn daemon_lock(&self) -> PathBuf {
        self.root.join("locks/daemon.lock")
    }

    /// The lock the edge holds while it runs; under the name that the resolver of 0.1.0 has it.
    pub fn edge_lock(&self) -> PathBuf {
        self.root.join("locks/resolver.lock")
    }

    /// Where temporary files go, if the daemon was told so (templates/paas.service).
    pub fn temporary(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// The socket on which the edge is told that the database changed.
    pub fn nudge_socket(&self) -> PathBuf {
        self.root.join("nudge.sock")
    }

    /// The certificate of the internal authority, for clients that are to trust it.
    pub fn authority(&self) -> PathBuf {
        self.root.join("authority.crt")
    }

    /// Caddy's directory.
    pub fn caddy(&self) -> PathBuf {
        self.root.join("caddy")
    }

    /// The Caddyfile.
    pub fn caddyfile(&self) -> PathBuf {
        self.caddy().join("Caddyfile")
    }

    /// The Caddyfile that Caddy loaded last.
    pub fn caddyfile_loaded(&self) -> PathBuf {
        self.caddy().join("Caddyfile.loaded")
    }

    /// Caddy's admin socket.
    pub fn caddy_admin(&self) -> PathBuf {
        self.caddy().join("admin.sock")
    }

    /// The directory of the Caddys behind the first.
    pub fn inner_caddys(&self) -> PathBuf {
        self.caddy().join("inner")
    }

    /// What Caddy keeps besides, certificates among it.
    pub fn caddy_storage(&self) -> [PathBuf; 3] {
        ["storage", "data", "config"].map(|name| self.caddy().join(name))
    }

    /// A user's own buildpacks, which override the embedded ones of the same name.
    pub fn buildpacks(&self) -> PathBuf {
        self.root.join("buildpacks")
    }
}
