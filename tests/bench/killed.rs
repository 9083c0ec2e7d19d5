//! What is lost when Caddy is killed, or all three processes that serve.

use std::time::{Duration, Instant};

use crate::{
    harness::Server,
    load::{Clients, Kind, Load, Target},
    measure::median,
    processes::{caddy, edge, kill},
};

/// Few enough that the machine has time to start something.
const CLIENTS: [(Kind, usize); 3] = [(Kind::KeepAlive, 8), (Kind::NewConnection, 4), (Kind::Post, 4)];
const PAUSE: Duration = Duration::from_millis(5);
/// How long systemd waits until it starts the daemon again (templates/paas.service).
const RESTART: Duration = Duration::from_millis(250);

/// What is killed with -9.
#[derive(Clone, Copy, Debug)]
enum Victims {
    /// Caddy, that the daemon itself has started.
    Child,
    /// Caddy, that a former daemon has started.
    Adopted,
    /// Caddy, the daemon and the edge.
    All,
}

/// Kills them under load, and tells how many requests are lost, and for how long.
pub fn measure(server: &mut Server, target: &Target, rounds: usize) {
    for victims in [Victims::Child, Victims::Adopted, Victims::All] {
        let (mut lost, mut seconds) = (Vec::new(), Vec::new());
        for round in 1..=rounds {
            match victims {
                Victims::Child if round == 1 => kill(&caddy(server)),
                Victims::Adopted => {
                    server.stop_daemon();
                    server.start_daemon();
                }
                Victims::Child | Victims::All => {}
            }
            // Until Caddy has been well for long enough to be started again at once, and has been adopted.
            std::thread::sleep(Duration::from_secs(6));
            let load = Load::start(target.clone(), &CLIENTS.map(|(kind, count)| Clients { kind, count, pause: PAUSE }));
            let begun = Instant::now();
            std::thread::sleep(Duration::from_secs(2));
            let killed = begun.elapsed();
            kill(&caddy(server));
            if matches!(victims, Victims::All) {
                kill(&edge(server));
                server.kill_daemon();
                std::thread::sleep(RESTART);
                server.start_daemon();
            }
            std::thread::sleep(Duration::from_secs(4));
            let report = load.finish();
            let all: Vec<_> = report.kinds.iter().flat_map(|(_, counts)| &counts.lost).collect();
            // What the dead Caddy had in its hands, and what came when nobody listened.
            let refused = all.iter().filter(|lost| lost.what.contains("refused")).count();
            let last = all.iter().map(|lost| lost.at + lost.took).max().unwrap_or(killed);
            let span = last.saturating_sub(killed).as_secs_f64();
            println!(
                "{victims:?}, round {round}: {} lost in {span:.3} s, {refused} of them refused a connection",
                all.len()
            );
            lost.push(all.len() as f64);
            seconds.push(span);
        }
        println!("{victims:?}: median {} lost in {:.3} s", median(lost), median(seconds));
    }
}
