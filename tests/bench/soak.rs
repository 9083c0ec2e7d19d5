//! A long time of everything at once: an app is changed again and again, well and badly, while processes are killed,
//! files are spoilt and containers are frozen and removed, by chance. Beside it an app that nobody touches serves
//! requests of five kinds all the time.
//!
//!     cargo bench --bench soak [minutes=30] [seed=N]
//!
//! What must hold is what docs/architecture.md promises, and is looked at after each round: the app answers, each change
//! is made whole or not at all, nothing is left over, the database is whole. The app that nobody touches loses nothing,
//! but where Caddy itself was killed: those requests are counted by themselves, by when they were sent.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench may panic, and prints"
)]

#[path = "../chance.rs"]
mod chance;
#[path = "../harness.rs"]
#[expect(dead_code, reason = "the bench needs only a part of the tests' builder")]
mod harness;
#[path = "../load.rs"]
#[expect(dead_code, reason = "the bench needs only a part of the tests' load")]
mod load;
#[path = "../processes.rs"]
#[expect(dead_code, reason = "the bench needs only a part of it")]
mod processes;
#[path = "../site.rs"]
#[expect(dead_code, reason = "the bench needs only a part of it")]
mod site;
#[path = "../sound.rs"]
mod sound;
#[path = "../untouched.rs"]
#[expect(dead_code, reason = "the bench needs only a part of it")]
mod untouched;

use std::{
    collections::BTreeMap,
    process::{ExitCode, Stdio},
    thread::sleep,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use chance::Chance;
use harness::{Ran, Server, docker, run};
use load::{Clients, Load, Target};
use processes::{caddy, deploying, edge};
use site::{Facts, Kind, Site};

/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(120);
/// The latest moment in a change at which damage is done, in milliseconds.
const LATEST: u64 = 2500;
/// The clients of the app that nobody touches: as many as leave the machine room to work.
const CLIENTS: [(load::Kind, usize); 4] =
    [(load::Kind::KeepAlive, 2), (load::Kind::NewConnection, 1), (load::Kind::Post, 1), (load::Kind::Slow, 2)];
/// How long each waits between two requests.
const PAUSE: Duration = Duration::from_millis(20);
/// How long requests may be lost around the kill of Caddy: those on their way, and those until it is back.
const CADDY_IS_BACK: Duration = Duration::from_secs(5);

/// What is done to the machine in the middle of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Damage {
    Nothing,
    KillDaemon,
    KillEdge,
    KillCaddy,
    KillDeploy,
    KillAll,
    StopDaemon,
    SpoilCaddyfile,
    SpoilLocks,
    SpoilLogs,
    FreezeContainer,
    RemoveContainer,
    KillContainer,
}

const DAMAGES: [Damage; 13] = [
    Damage::Nothing,
    Damage::KillDaemon,
    Damage::KillEdge,
    Damage::KillCaddy,
    Damage::KillDeploy,
    Damage::KillAll,
    Damage::StopDaemon,
    Damage::SpoilCaddyfile,
    Damage::SpoilLocks,
    Damage::SpoilLogs,
    Damage::FreezeContainer,
    Damage::RemoveContainer,
    Damage::KillContainer,
];

/// How the app is changed.
#[derive(Clone, Copy, Debug)]
enum Change {
    Good(Kind),
    /// A push that cannot become healthy.
    Bad,
}

const CHANGES: [Change; 9] = [
    Change::Good(Kind::Push),
    Change::Good(Kind::Push),
    Change::Good(Kind::Config),
    Change::Good(Kind::Settings),
    Change::Good(Kind::Rollback),
    Change::Good(Kind::Scale),
    Change::Good(Kind::Restart),
    Change::Good(Kind::Rebuild),
    Change::Bad,
];

fn main() -> ExitCode {
    let given: BTreeMap<String, u64> = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.split_once('=').map(|(name, value)| (name.to_owned(), value.parse().unwrap())))
        .collect();
    assert!(given.keys().all(|name| ["minutes", "seed"].contains(&name.as_str())), "minutes=N seed=N");
    let lasts = Duration::from_secs(60 * given.get("minutes").unwrap_or(&30));
    let by_clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into();
    let seed = given.get("seed").copied().unwrap_or_else(by_clock);
    let mut chance = Chance(seed | 1);
    println!("seed={seed}, for {} minutes", lasts.as_secs() / 60);

    let server = Server::start();
    server.repository("under-load", "still").push().expect_success();
    let mut site = Site::start_on(server);
    let mut first = site.change(Kind::Config, &site.facts()).0;
    assert!(first.status().unwrap().success());
    site.settle();
    let target = Target {
        address: ([127, 0, 0, 1], site.server.port(3)).into(),
        host: "still.localhost".to_owned(),
        authority: None,
    };
    let load = Load::start(target, &CLIENTS.map(|(kind, count)| Clients { kind, count, pause: PAUSE }));

    let begun = Instant::now();
    let mut rounds: BTreeMap<Damage, (u32, u32)> = BTreeMap::new();
    let mut caddy_killed = Vec::new();
    let mut number = 0;
    while begun.elapsed() < lasts {
        number += 1;
        let (damage, change) = (chance.one_of(&DAMAGES), chance.one_of(&CHANGES));
        let delay = Duration::from_millis(chance.below(LATEST));
        let case = format!("seed={seed}, round {number}: {damage:?} {} ms into {change:?}", delay.as_millis());
        eprintln!("{:7.1} s  {case}", begun.elapsed().as_secs_f64());
        let made = round(&mut site, change, damage, delay, &case, &mut || caddy_killed.push(begun.elapsed()));
        let (done, whole) = rounds.entry(damage).or_default();
        *done += 1;
        *whole += u32::from(made);
    }
    let report = load.finish();
    println!("\n{:<18} {:>7} {:>12}", "damage", "rounds", "change made");
    for (damage, (done, whole)) in &rounds {
        println!("{:<18} {done:>7} {whole:>12}", format!("{damage:?}"));
    }
    println!("\nThe app that nobody touches:\n{report}");
    let lost = report.kinds.iter().flat_map(|(_, counts)| &counts.lost);
    let (of_caddy, others): (Vec<_>, Vec<_>) = lost
        .partition(|lost| caddy_killed.iter().any(|at| lost.at + lost.took >= *at && lost.at <= *at + CADDY_IS_BACK));
    println!("{number} rounds, {} kills of Caddy with {} requests lost", caddy_killed.len(), of_caddy.len());
    println!("{} requests lost otherwise", others.len());
    if others.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One change with damage in the middle. Returns whether the change was made.
fn round(
    site: &mut Site,
    change: Change,
    damage: Damage,
    delay: Duration,
    case: &str,
    caddy_dies: &mut dyn FnMut(),
) -> bool {
    let before = site.facts();
    let former = site.newest().id;
    let (mut command, after) = match change {
        Change::Good(kind) => site.change(kind, &before),
        Change::Bad => (bad_push(site), before.clone()),
    };
    let mut changing = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    sleep(delay);
    let frozen = harm(site, damage, caddy_dies);
    let seen = site.visitor.seen();
    if frozen.is_none() {
        let pages = [before.page.as_str(), after.page.as_str()];
        site.server.wait_for(&format!("an answer after {case}"), PATIENCE, || site.visitor.sees(seen, &pages));
    }
    site.server
        .wait_for(&format!("the end of the command of {case}"), PATIENCE, || changing.try_wait().unwrap().is_some());
    if let Some(container) = frozen {
        // It may have been replaced meanwhile.
        run(docker().args(["unpause", &container]));
    }
    site.settle();
    let newest = site.newest();
    let made = newest.id > former && newest.state == "succeeded";
    let expected: &Facts = if made { &after } else { &before };
    if matches!(change, Change::Bad) {
        assert!(!made, "{case}: {newest:?}");
        // What was tried stays the newest commit of the clone only.
        site.repository.git(&["reset", "--quiet", "--hard", &before.head]).expect_success();
    }
    site.settle_as(expected, &format!("{case}: {newest:?}"));
    made
}

/// A push whose app ends at once.
fn bad_push(site: &Site) -> std::process::Command {
    site.repository.write("Dockerfile", "FROM busybox:stable\nCMD [\"sh\", \"-c\", \"exit 3\"]\n").commit("bad");
    site.push()
}

/// Does it. Returns the container that is frozen until the round is over.
fn harm(site: &mut Site, damage: Damage, caddy_dies: &mut dyn FnMut()) -> Option<String> {
    let kill = |ids: &[u32]| {
        for id in ids {
            // One that has ended by itself is as dead.
            let id = rustix::process::Pid::from_raw(i32::try_from(*id).unwrap()).unwrap();
            let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
        }
    };
    let again = |site: &mut Site| {
        site.run_daemon(false);
        sleep(Duration::from_millis(300));
        site.run_daemon(true);
    };
    let spoil = |path: &std::path::Path| {
        if path.is_file() {
            std::fs::write(path, [0xff, 0, b'{', 0xfe, b'\n', b'}'].repeat(500)).unwrap();
        }
    };
    let below = |directory: &str| -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(site.server.root().join(directory)).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let container = || -> Option<String> {
        let of_app = format!("paas-{}-blog-", site.server.instance_id()?);
        site.server.containers().into_iter().find(|name| name.starts_with(&of_app))
    };
    match damage {
        Damage::Nothing => {}
        Damage::KillDaemon => {
            kill(&[site.server.daemon_id()]);
            again(site);
        }
        Damage::KillEdge => kill(&edge(&site.server)),
        Damage::KillCaddy => {
            caddy_dies();
            kill(&caddy(&site.server));
        }
        Damage::KillDeploy => kill(&deploying(&site.server)),
        Damage::KillAll => {
            caddy_dies();
            let mut all = deploying(&site.server);
            all.push(site.server.daemon_id());
            all.extend(edge(&site.server));
            all.extend(caddy(&site.server));
            kill(&all);
            again(site);
        }
        Damage::StopDaemon => again(site),
        Damage::SpoilCaddyfile => spoil(&site.server.root().join("caddy/Caddyfile")),
        Damage::SpoilLocks => below("locks").iter().for_each(|path| spoil(path)),
        Damage::SpoilLogs => below("apps/blog/deploys").iter().for_each(|path| spoil(path)),
        Damage::FreezeContainer => {
            let container = container()?;
            let paused: Ran = run(docker().args(["pause", &container]));
            return (paused.code == 0).then_some(container);
        }
        Damage::RemoveContainer => {
            if let Some(container) = container() {
                run(docker().args(["rm", "--force", &container]));
            }
        }
        Damage::KillContainer => {
            if let Some(container) = container() {
                run(docker().args(["kill", &container]));
            }
        }
    }
    None
}
