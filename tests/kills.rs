//! A loop of deploys in which anything is killed with -9 at any moment, and started again: the app answers, each deploy
//! is made whole or not at all, and nothing is left over.

use std::{
    process::{Child, Stdio},
    thread::sleep,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    processes::{caddy, deploying, resolver},
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
    Resolver,
    Caddy,
    Deploy,
}

/// Numbers by chance (xorshift64): the same from the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }
}

/// What is done in a round: `PAAS_TEST_SEED` brings the rounds of a test that failed back, as far as time allows.
#[derive(Debug)]
struct Round {
    kind: Kind,
    over_ssh: bool,
    /// Who is killed, and how many milliseconds after the one before.
    kills: Vec<(Victim, u64)>,
    /// How long there is no daemon, in milliseconds.
    pause: u64,
}

impl Round {
    fn by(chance: &mut Chance) -> Round {
        let kinds = [Kind::Push, Kind::Push, Kind::Config, Kind::Rollback, Kind::Scale, Kind::Restart, Kind::Rebuild];
        let victims = [Victim::Daemon, Victim::Daemon, Victim::Resolver, Victim::Caddy, Victim::Deploy];
        let kind = chance.one_of(&kinds);
        let over_ssh = chance.below(2) == 0;
        let kills = (0..=chance.below(3)).map(|_| (chance.one_of(&victims), chance.below(LATEST))).collect();
        Round { kind, over_ssh, kills, pause: chance.below(1000) }
    }
}

#[test]
fn whatever_is_killed_at_any_moment_the_app_answers_again_and_every_deploy_is_made_whole_or_not_at_all() {
    let seed: Option<u64> = std::env::var("PAAS_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into());
    let mut chance = Chance(seed | 1);
    let mut site = Site::start();
    let former = site.facts();
    let (mut config, _) = site.change(Kind::Config, &former);
    assert!(config.status().unwrap().success());
    site.settle();
    for number in 1..=ROUNDS {
        let round = Round::by(&mut chance);
        let case = format!("PAAS_TEST_SEED={seed}, round {number}: {round:?}");
        eprintln!("{case}");
        run(&mut site, &round, &case);
    }
    let before = site.facts();
    let (_, after) = site.change(Kind::Push, &before);
    site.repository.push().expect_success();
    site.settle();
    assert_eq!(site.facts(), after, "PAAS_TEST_SEED={seed}");
}

fn run(site: &mut Site, round: &Round, case: &str) {
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
            Victim::Resolver => resolver(&site.server),
            Victim::Caddy => caddy(&site.server),
            Victim::Deploy => deploying(&site.server),
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
        let killed = site.visitor.seen();
        site.server.wait_for(&format!("an answer after {case}"), PATIENCE, || site.visitor.sees(killed, &pages));
    }
    site.server.wait_for("the end of the command", PATIENCE, || deploy.try_wait().unwrap().is_some());
    site.settle();
    let newest = site.newest();
    let committed = newest.id > former && newest.state == "succeeded";
    assert_eq!(site.facts(), if committed { after } else { before }, "{case}: {newest:?}");
}
