//! A loop of deploys in which anything is killed with -9 at any moment, and started again: the app answers, each deploy
//! is made whole or not at all, and nothing is left over.

use std::{
    process::{Child, Stdio},
    thread::sleep,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    chance::Chance,
    harness::Ran,
    private_engine::{PrivateEngine, with_private_engine},
    processes::{caddy, deploying, edge},
    site::{Kind, Site},
};

/// How long anything here may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// How many deploys there are.
const ROUNDS: u32 = 12;
/// The latest moment in a deploy at which something is killed, in milliseconds: it is over then, or nearly.
const LATEST: u64 = 2000;

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Daemon,
    Edge,
    Caddy,
    Deploy,
    Engine,
}

/// What may be killed on the machine's own engine.
const VICTIMS: [Victim; 5] = [Victim::Daemon, Victim::Daemon, Victim::Edge, Victim::Caddy, Victim::Deploy];

/// What is done in a round: `PAAS_TEST_SEED` brings the rounds of a test that failed back, as far as time allows.
#[derive(Debug)]
struct Round {
    kind: Kind,
    over_ssh: bool,
    /// Who is killed, and how many milliseconds after the one before.
    kills: Vec<(Victim, u64)>,
    /// How long there is no daemon or no engine, in milliseconds.
    pause: u64,
}

impl Round {
    fn by(chance: &mut Chance, victims: &[Victim]) -> Round {
        let kinds = [Kind::Push, Kind::Push, Kind::Config, Kind::Rollback, Kind::Scale, Kind::Restart, Kind::Rebuild];
        let kind = chance.one_of(&kinds);
        let over_ssh = chance.below(2) == 0;
        let kills = (0..=chance.below(3)).map(|_| (chance.one_of(victims), chance.below(LATEST))).collect();
        Round { kind, over_ssh, kills, pause: chance.below(1000) }
    }
}

#[test]
fn whatever_is_killed_at_any_moment_the_app_answers_again_and_every_deploy_is_made_whole_or_not_at_all() {
    kill_by_chance(ROUNDS, &VICTIMS, &mut None);
}

#[test]
fn whenever_the_engine_is_killed_the_app_answers_again_and_every_deploy_is_made_whole_or_not_at_all() {
    let name =
        "kills::whenever_the_engine_is_killed_the_app_answers_again_and_every_deploy_is_made_whole_or_not_at_all";
    with_private_engine(name, |engine| {
        let mut engine = Some(engine);
        kill_in_states(engine.as_mut().unwrap());
        kill_by_chance(ROUNDS / 2, &[Victim::Engine, Victim::Engine, Victim::Daemon], &mut engine);
    });
}

/// Kills the engine while the app is idle, and while a push is in each of some states.
fn kill_in_states(engine: &mut PrivateEngine) {
    let mut site = Site::start();
    site.server.paas(&["checks:set", "blog", "initial-delay=2s"]).expect_success();
    site.settle();
    for state in [None, Some("building"), Some("checking"), Some("draining")] {
        let case = format!("the engine is killed in {state:?}");
        let before = site.facts();
        let (mut push, after) = site.change(Kind::Push, &before);
        if state == Some("building") {
            let dockerfile = std::fs::read_to_string(site.repository.path.join("Dockerfile")).unwrap();
            site.repository.write("Dockerfile", &dockerfile.replace("CMD", "RUN sleep 3\nCMD")).commit("slow");
        }
        let pages = [before.page.as_str(), after.page.as_str()];
        let former = site.newest().id;
        let deploy = state.map(|state| {
            let deploy = push.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            site.server.wait_for(&case, PATIENCE, || site.newest().id > former && site.newest().state == state);
            deploy
        });
        let killed = site.visitor.seen();
        engine.kill();
        // What serves goes on without an engine, and who deploys is told that there is none.
        site.server.wait_for(&format!("an answer while {case}"), PATIENCE, || site.visitor.sees(killed, &pages));
        if let Some(deploy) = deploy {
            let ran: Ran = deploy.wait_with_output().unwrap().into();
            if state == Some("draining") {
                ran.expect_success();
            } else {
                let hint = "`systemctl status docker` shows why it ended; once it answers again, do this again";
                ran.expect_failure().says("Docker went away when it should ").says(&format!("hint: {hint}"));
            }
        }
        site.visitor.has_seen_only(&case, killed, &pages);
        engine.start();
        site.settle_as(if state == Some("draining") { &after } else { &before }, &case);
    }
}

fn kill_by_chance(rounds: u32, victims: &[Victim], engine: &mut Option<PrivateEngine>) {
    let seed: Option<u64> = std::env::var("PAAS_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into());
    let mut chance = Chance(seed | 1);
    let mut site = Site::start();
    let former = site.facts();
    let (mut config, _) = site.change(Kind::Config, &former);
    assert!(config.status().unwrap().success());
    site.settle();
    for number in 1..=rounds {
        let round = Round::by(&mut chance, victims);
        let case = format!("PAAS_TEST_SEED={seed}, round {number}: {round:?}");
        eprintln!("{case}");
        run(&mut site, engine.as_mut(), &round, &case);
    }
    let before = site.facts();
    let (_, after) = site.change(Kind::Push, &before);
    site.repository.push().expect_success();
    site.settle();
    assert_eq!(site.facts(), after, "PAAS_TEST_SEED={seed}");
}

fn run(site: &mut Site, mut engine: Option<&mut PrivateEngine>, round: &Round, case: &str) {
    let before = site.facts();
    let former = site.newest().id;
    let (mut command, after) = site.change(round.kind, &before);
    let pages = [before.page.as_str(), after.page.as_str()];
    let mut deploy: Child = match round.kind {
        Kind::Push if round.over_ssh => site.repository.begin_push(),
        _ => command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap(),
    };
    for (victim, delay) in &round.kills {
        sleep(Duration::from_millis(*delay));
        let ids = match victim {
            Victim::Daemon => vec![site.server.daemon_id()],
            Victim::Edge => edge(&site.server),
            Victim::Caddy => caddy(&site.server),
            Victim::Deploy => deploying(&site.server),
            Victim::Engine => Vec::new(),
        };
        for id in ids {
            // One that has ended by itself is as dead.
            let id = rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
            let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
        }
        if *victim == Victim::Daemon {
            site.run_daemon(false);
            sleep(Duration::from_millis(round.pause));
            site.run_daemon(true);
        }
        if *victim == Victim::Engine {
            let engine = engine.as_mut().expect("a private engine");
            engine.kill();
            sleep(Duration::from_millis(round.pause));
            engine.start();
        }
        let killed = site.visitor.seen();
        site.server.wait_for(&format!("an answer after {case}"), PATIENCE, || site.visitor.sees(killed, &pages));
    }
    site.server.wait_for("the end of the command", PATIENCE, || deploy.try_wait().unwrap().is_some());
    site.settle();
    let newest = site.newest();
    let committed = newest.id > former && newest.state == "succeeded";
    site.settle_as(if committed { &after } else { &before }, &format!("{case}: {newest:?}"));
}
