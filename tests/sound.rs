//! Whether an instance is in order, whatever happened to it: the database, the engine, git, the files, the locks and the
//! processes say the same, and nothing is left over of what is over.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::fcntl::{FcntlArg, fcntl};
use rusqlite::{Connection, OpenFlags, Row};

use crate::{
    harness::{Server, docker, run},
    processes::processes,
    untouched::{files, files_but, held_locks, networks, pins},
};

/// How long an instance may take to get in order, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// How many good releases of an app keep their image.
const IMAGES_KEPT: usize = 5;

/// The files of an instance that is in order.
pub struct Sound {
    files: BTreeSet<PathBuf>,
}

impl Sound {
    /// Looks at an instance that has deployed every app it will have.
    pub fn of(server: &Server) -> Sound {
        let sound = Sound { files: files(&server.root()) };
        sound.wait(server);
        sound
    }

    /// Waits until everything is in order, and fails the test with what is not.
    #[track_caller]
    pub fn wait(&self, server: &Server) {
        let mut wrong = Vec::new();
        let begun = std::time::Instant::now();
        loop {
            let former = std::mem::replace(&mut wrong, self.wrongs(server));
            if wrong.is_empty() {
                return;
            }
            if begun.elapsed() > PATIENCE && former == wrong {
                panic!("after {PATIENCE:?} not in order: {wrong:#?}\nthe daemon said:\n{}", server.daemon_output());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// All that is not in order now.
    fn wrongs(&self, server: &Server) -> Vec<String> {
        let mut wrongs = database(server);
        // What is being done is not looked at closely.
        if wrongs.is_empty() {
            wrongs.extend(containers(server));
            wrongs.extend(images(server));
            wrongs.extend(repositories(server));
            wrongs.extend(self.left_files(server));
            wrongs.extend(caddyfile(server));
            wrongs.extend(left_processes(server));
        }
        wrongs
    }

    fn left_files(&self, server: &Server) -> Vec<String> {
        let mut wrongs = Vec::new();
        let is_known = |path: &Path| {
            let text = path.to_str().unwrap();
            self.files.contains(path)
                || ["repos/", "locks/"].iter().any(|known| text.starts_with(known))
                || text.ends_with("/former.log")
        };
        wrongs.extend(files(&server.root()).into_iter().filter(|path| !is_known(path)).map(|path| left("file", &path)));
        let temporary = server.temporary();
        wrongs.extend(files(&temporary).into_iter().map(|path| left("temporary file", &path)));
        wrongs.extend(held_locks(server).into_iter().map(|name| format!("{name} is held")));
        let claims = File::options().read(true).write(true).open(server.root().join("locks/deployments.lock")).unwrap();
        let mut all = nix::libc::flock {
            l_type: nix::libc::F_WRLCK as nix::libc::c_short,
            l_whence: nix::libc::SEEK_SET as nix::libc::c_short,
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        fcntl(&claims, FcntlArg::F_OFD_GETLK(&mut all)).unwrap();
        if i32::from(all.l_type) != nix::libc::F_UNLCK {
            wrongs.push(format!("deployment {} is claimed", all.l_start));
        }
        wrongs
    }
}

/// Reads the database.
pub fn query<T>(server: &Server, sql: &str, map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let connection = Connection::open_with_flags(server.root().join("paas.db"), flags).unwrap();
    connection.busy_timeout(Duration::from_secs(30)).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    statement.query_map([], map).unwrap().map(Result::unwrap).collect()
}

fn left(what: &str, path: &Path) -> String {
    format!("the {what} {} is left", path.display())
}

/// What the database says of itself.
fn database(server: &Server) -> Vec<String> {
    let mut wrongs = query(
        server,
        "SELECT 'deploy ' || id || ' is ' || state FROM deployments
         WHERE state NOT IN ('succeeded', 'failed', 'canceled', 'superseded')
         UNION ALL
         SELECT 'deploy ' || id || ' says ' || state || ' and its last event another' FROM deployments
         WHERE state <> (SELECT step FROM operation_steps WHERE operation_id = deployments.id
                         ORDER BY rowid DESC LIMIT 1)
         UNION ALL
         SELECT 'deploy ' || id || ' is over, and not said when' FROM deployments WHERE finished_at IS NULL
         UNION ALL
         SELECT 'deploy ' || id || ' failed, and not said why' FROM deployments WHERE state = 'failed' AND error IS NULL
         UNION ALL
         SELECT 'release v' || version || ' is pending' FROM releases WHERE status = 'pending'
         UNION ALL
         SELECT 'an app runs a release that is not good' FROM apps JOIN releases ON releases.id = current_release_id
         WHERE releases.status <> 'good'
         UNION ALL
         SELECT name || ' is ' || state FROM containers WHERE state <> 'live'
         UNION ALL
         SELECT name || ' is unhealthy' FROM containers WHERE NOT healthy AND NOT ended
         UNION ALL
         SELECT containers.name || ' is of another release' FROM containers JOIN apps ON apps.id = app_id
         WHERE release_id <> current_release_id
         UNION ALL
         SELECT containers.name || ' is of an app that does not run' FROM containers JOIN apps ON apps.id = app_id
         WHERE apps.state <> 'running'",
        |row| row.get(0),
    );
    wrongs.extend(
        query(server, "SELECT * FROM pragma_integrity_check", |row| row.get(0))
            .into_iter()
            .filter(|said: &String| said != "ok"),
    );
    wrongs.extend(query(
        server,
        "SELECT 'a row of ' || \"table\" || ' points nowhere' FROM pragma_foreign_key_check",
        |row| row.get(0),
    ));
    wrongs
}

/// Each container of the database is in the engine, runs and is started again as it should be, and there are no others.
fn containers(server: &Server) -> Vec<String> {
    let rows = query(server, "SELECT name, restart, ended, address FROM containers", |row| {
        let policy: String = row.get(1)?;
        let is = if row.get(2)? { "exited" } else { "running" };
        let policy = if policy == "always" { "unless-stopped".to_owned() } else { policy };
        Ok((row.get::<_, String>(0)?, format!("{is}, restart {policy}, at {}", row.get::<_, String>(3)?)))
    });
    let expected: BTreeMap<String, String> = rows.into_iter().collect();
    let mut found = BTreeMap::new();
    for name in server.containers() {
        let format = "{{.State.Status}}, restart {{.HostConfig.RestartPolicy.Name}}, at \
                      {{range .NetworkSettings.Networks}}{{.IPAMConfig.IPv4Address}}{{end}}";
        let said = run(docker().args(["inspect", "--format", format, &name]));
        found.insert(name, said.stdout.trim().to_owned());
    }
    let mut wrongs = Vec::new();
    if expected != found {
        wrongs.push(format!("the database has the containers {expected:?}, the engine {found:?}"));
    }
    let networks = networks(server);
    if networks != BTreeSet::from([format!("paas-{}", server.instance_id().unwrap())]) {
        wrongs.push(format!("networks: {networks:?}"));
    }
    wrongs
}

/// Each image is of a good release in reach, and each of these has its image.
fn images(server: &Server) -> Vec<String> {
    let releases = query(
        server,
        "SELECT app_id, image FROM releases WHERE status = 'good' ORDER BY app_id, version DESC",
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)),
    );
    let of_app = |app: i64| releases.iter().filter(move |(other, _)| *other == app).map(|(_, image)| image.clone());
    let apps: BTreeSet<i64> = releases.iter().map(|(app, _)| *app).collect();
    let in_reach: BTreeSet<String> = apps.iter().flat_map(|app| of_app(*app).take(IMAGES_KEPT)).collect();
    let good: BTreeSet<String> = releases.iter().map(|(_, image)| image.clone()).collect();
    let label = format!("label=paas.instance={}", server.instance_id().unwrap());
    let format = ["image", "ls", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}", "--filter", &label];
    let listed = run(docker().args(format)).expect_success().stdout;
    let images: BTreeMap<&str, &str> = listed.lines().filter_map(|line| line.split_once(' ')).collect();
    let mut wrongs = Vec::new();
    wrongs.extend(
        in_reach.iter().filter(|id| !images.contains_key(id.as_str())).map(|id| format!("there is no image {id}")),
    );
    // Those out of reach go with the next deploy.
    wrongs.extend(
        images
            .iter()
            .filter(|(id, _)| !good.contains(**id))
            .map(|(id, tag)| format!("the image {tag} {id} is of no release")),
    );
    wrongs
}

/// No reference and no file of a push that is over is left in the repositories.
fn repositories(server: &Server) -> Vec<String> {
    let mut wrongs = Vec::new();
    for app in query(server, "SELECT name FROM apps", |row| row.get::<_, String>(0)) {
        let repository = server.root().join(format!("repos/{app}.git"));
        let pins = pins(server, &app);
        if !pins.is_empty() {
            wrongs.push(format!("{app} has references of deploys that are over: {pins}"));
        }
        let is_temporary = |path: &&PathBuf| {
            path.components().any(|part| {
                let part = part.as_os_str().to_string_lossy();
                part.ends_with(".lock") || part.starts_with("tmp_") || part.starts_with("incoming-")
            })
        };
        let all = files_but(&repository, |_| false);
        wrongs.extend(all.iter().filter(is_temporary).map(|path| left("file of git", path)));
        let mut git = server.command("git");
        let checked = run(git.arg("-C").arg(&repository).args(["fsck", "--connectivity-only", "--no-dangling"]));
        if checked.code != 0 {
            wrongs.push(format!("{app}: {checked}"));
        }
    }
    wrongs
}

/// The Caddyfile has the addresses of today, for when the edge is away.
fn caddyfile(server: &Server) -> Vec<String> {
    let text = std::fs::read_to_string(server.root().join("caddy/Caddyfile")).unwrap_or_default();
    let live = query(
        server,
        "SELECT apps.name, address || ':' || port FROM containers JOIN apps ON apps.id = app_id
         WHERE process = 'web' ORDER BY apps.name",
        |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)),
    );
    let mut addresses: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (app, address) in live {
        addresses.entry(app).or_default().push(address);
    }
    // One is enough, where there are several.
    addresses.retain(|_, addresses| !addresses.iter().any(|address| text.contains(address)));
    addresses.into_iter().map(|(app, addresses)| format!("the Caddyfile lacks {app} at {addresses:?}")).collect()
}

/// The daemon, the edge and Caddy are all that runs.
fn left_processes(server: &Server) -> Vec<String> {
    let root = server.root().display().to_string();
    let mut found = Vec::new();
    processes(|arguments, environment| {
        let words: Vec<&str> = arguments.trim_end_matches('\0').split('\0').collect();
        let ours = environment.contains(&root) || arguments.contains(&root);
        let known = matches!(words.as_slice(), [_, "serve"] | [_, "edge", ..]) || words.contains(&"run");
        if ours && !known && !arguments.is_empty() {
            found.push(format!("the process {words:?} is left"));
        }
        false
    });
    found
}
