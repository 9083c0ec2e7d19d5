//! Who may stand at the door: the connections that have not logged in.
//!
//! Nobody is refused for coming late. Where a place is wanted, one that stands there already goes: of the address that
//! takes the most places, of those that are quiet for the longest, one by chance. So who comes to log in gets in,
//! whoever else stands there and from wherever, and who holds many places holds each of them for a short time.
//!
//! A connection that has sent something never makes room for one that has not: each stage of a login has places of its
//! own. This is what OpenSSH does with `MaxStartups` and `PerSourceMaxStartups`, except that OpenSSH sends the newcomer
//! away.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::clock;

/// How many connections may be at one stage of a login.
const PLACES: usize = 128;

/// How many of them may come from one source.
const OF_A_SOURCE: usize = 64;

/// How long one may stand at a stage before it may be sent away though there are places left.
const LINGERS: Duration = Duration::from_secs(1);

/// What part of those that may be sent away are the oldest, of which one goes by chance: the first quarter.
const OLDEST: usize = 4;

/// How far a login is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Nothing has come from the client.
    Silent,
    /// Something has come.
    Spoke,
    /// It named a key that may log in, and has not proven yet that it has it.
    Known,
}

/// Where a connection comes from. A single user of IPv6 has a /64 of addresses (RFC 6177).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Source(IpAddr);

impl Source {
    fn of(address: IpAddr) -> Source {
        Source(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
            address => address,
        })
    }
}

/// The door.
#[derive(Debug)]
pub(super) struct Door(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Those that stand at the door; of each stage, who came to it first is before the others.
    standing: Vec<Standing>,
    /// The number of the next one.
    next: u64,
    /// The state of the dice.
    chance: u64,
    /// How many were sent away that were not told yet.
    sent_away: usize,
}

/// A connection that stands at the door.
#[derive(Debug)]
struct Standing {
    number: u64,
    source: Source,
    stage: Stage,
    since: Instant,
    away: Arc<Notify>,
}

/// A place at the door, given back when it is dropped, or [`Place::leave`] is called.
#[derive(Debug)]
pub(super) struct Place {
    door: Arc<Door>,
    number: u64,
    away: Arc<Notify>,
}

impl Door {
    /// A door where nobody stands. `seed`: what chance begins with.
    pub(super) fn new(seed: u64) -> Door {
        Door(Mutex::new(State { standing: Vec::new(), next: 0, chance: seed | 1, sent_away: 0 }))
    }

    /// Takes a place, for which another connection may have to go.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr, stage: Stage) -> Place {
        let away = Arc::new(Notify::new());
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        let (source, since) = (Source::of(address), clock::instant());
        state.standing.push(Standing { number, source, stage, since, away: Arc::clone(&away) });
        state.make_room(stage);
        Place { door: Arc::clone(self), number, away }
    }

    /// How many were sent away since this was asked last.
    pub(super) fn sent_away(&self) -> usize {
        std::mem::take(&mut self.lock().sent_away)
    }

    /// Checks what holds at any time, and counts those that stand there.
    #[cfg(fuzzing)]
    pub(super) fn check(&self) -> usize {
        let state = self.lock();
        for stage in [Stage::Silent, Stage::Spoke, Stage::Known] {
            let mut shares: HashMap<Source, usize> = HashMap::new();
            let at_it = state.standing.iter().filter(|it| it.stage == stage);
            at_it.for_each(|it| *shares.entry(it.source).or_default() += 1);
            assert!(shares.values().sum::<usize>() <= PLACES && shares.values().all(|share| *share <= OF_A_SOURCE));
        }
        state.standing.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Says that the login came further. What is not further is no news, or small talk would be as good as progress.
    pub(super) fn reached(&self, stage: Stage) {
        let mut state = self.door.lock();
        let Some(index) = state.standing.iter().position(|it| it.number == self.number) else { return };
        if state.standing[index].stage < stage {
            let standing = state.standing.remove(index);
            state.standing.push(Standing { stage, since: clock::instant(), ..standing });
            state.make_room(stage);
        }
    }

    /// Gives the place back: it has logged in, or is gone.
    pub(super) fn leave(&self) {
        self.door.lock().standing.retain(|it| it.number != self.number);
    }

    /// Whether so many stand at the same stage, or came from the same source, that some may have to go soon.
    pub(super) fn is_in_a_crowd(&self) -> bool {
        let state = self.door.lock();
        let Some(own) = state.standing.iter().find(|it| it.number == self.number) else { return true };
        let beside = || state.standing.iter().filter(|it| it.stage == own.stage);
        beside().count() > PLACES / 2 || beside().filter(|it| it.source == own.source).count() > OF_A_SOURCE / 2
    }

    /// Whether nobody else has got the place.
    #[cfg(any(test, fuzzing))]
    pub(super) fn stands(&self) -> bool {
        self.door.lock().standing.iter().any(|it| it.number == self.number)
    }

    /// Waits until another connection gets the place.
    pub(super) async fn sent_away(&self) {
        self.away.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

impl State {
    /// Sends one away where a newcomer, the last in the list, is one too many at its stage, or may soon be.
    fn make_room(&mut self, stage: Stage) {
        let Some((newcomer, others)) = self.standing.split_last() else { return };
        let all: Vec<usize> =
            others.iter().enumerate().filter(|(_, it)| it.stage == stage).map(|(index, _)| index).collect();
        let source_of = |index: usize| others[index].source;
        let of_source: Vec<usize> = all.iter().copied().filter(|index| source_of(*index) == newcomer.source).collect();
        let victims = if of_source.len() >= OF_A_SOURCE {
            of_source
        } else if all.len() >= PLACES {
            let mut shares: HashMap<Source, usize> = HashMap::new();
            for index in &all {
                *shares.entry(source_of(*index)).or_default() += 1;
            }
            let most = shares.values().max().copied();
            all.into_iter().filter(|index| shares.get(&source_of(*index)).copied() == most).collect()
        } else {
            // Early, with a chance that grows from none at half of the places to certainty at all of them.
            let of_one = of_source.len() > OF_A_SOURCE / 2;
            let (those, half) = if of_one { (of_source, OF_A_SOURCE / 2) } else { (all, PLACES / 2) };
            let now = clock::instant();
            let lingers = |index: &usize| now.duration_since(others[*index].since) >= LINGERS;
            let beyond = those.len().saturating_sub(half);
            let lingering: Vec<usize> = those.into_iter().filter(lingers).collect();
            if self.roll(half) >= beyond {
                return;
            }
            lingering
        };
        if victims.is_empty() {
            return;
        }
        let victim = victims[self.roll(victims.len().div_ceil(OLDEST))];
        self.standing.remove(victim).away.notify_one();
        self.sent_away += 1;
    }

    /// A number below `sides`, by chance (xorshift64; nothing secret hangs on it).
    fn roll(&mut self, sides: usize) -> usize {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        (self.chance % sides.max(1) as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(last: u32) -> IpAddr {
        Ipv4Addr::from(0x0a00_0000 + last).into()
    }

    #[test]
    fn one_source_is_an_address_of_ipv4_or_a_network_of_ipv6() {
        let same = |left: &str, right: &str| Source::of(left.parse().unwrap()) == Source::of(right.parse().unwrap());
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(same("192.0.2.1", "::ffff:192.0.2.1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
        assert!(!same("::ffff:192.0.2.1", "::ffff:192.0.2.2"));
    }

    #[test]
    fn the_newcomer_gets_a_place_and_one_of_the_quietest_of_its_source_goes() {
        let door = Arc::new(Door::new(1));
        let other = door.enter(address(2), Stage::Silent);
        let places: Vec<Place> = (0..1000).map(|_| door.enter(address(1), Stage::Silent)).collect();
        assert!(other.stands(), "another source has made room");
        assert!(places.last().unwrap().stands());
        let standing = places.iter().filter(|place| place.stands()).count();
        assert_eq!((standing, door.sent_away()), (OF_A_SOURCE, 1000 - OF_A_SOURCE));
        // The youngest are safe, and the old do not all go in order.
        assert!(places[1000 - OF_A_SOURCE / 2..].iter().all(Place::stands));
        assert!(places[..1000 - OF_A_SOURCE].iter().any(Place::stands), "there was no chance in it");
    }

    #[test]
    fn where_all_places_are_taken_the_source_with_the_most_makes_room() {
        let door = Arc::new(Door::new(1));
        let single: Vec<Place> = (10..60).map(|last| door.enter(address(last), Stage::Silent)).collect();
        let many: Vec<Place> = (0..OF_A_SOURCE).map(|_| door.enter(address(1), Stage::Silent)).collect();
        let more: Vec<Place> = (100..150).map(|last| door.enter(address(last), Stage::Silent)).collect();
        assert!(single.iter().chain(&more).all(Place::stands), "one with a single place has made room");
        assert_eq!(many.iter().filter(|place| place.stands()).count(), PLACES - 100);
        // Each address has one: then it is by age and chance.
        let crowd: Vec<Place> = (1000..9000).map(|last| door.enter(address(last), Stage::Silent)).collect();
        assert!(crowd.last().unwrap().stands() && !single.iter().any(Place::stands));
        assert_eq!(door.lock().standing.len(), PLACES);
    }

    #[test]
    fn who_spoke_makes_no_room_for_who_did_not_and_small_talk_is_no_progress() {
        let door = Arc::new(Door::new(1));
        let login = door.enter(address(1), Stage::Silent);
        login.reached(Stage::Spoke);
        let known = door.enter(address(1), Stage::Spoke);
        known.reached(Stage::Known);
        let silent: Vec<Place> = (0..5000).map(|_| door.enter(address(1), Stage::Silent)).collect();
        assert!(login.stands() && known.stands());
        let talkers: Vec<Place> = (0..OF_A_SOURCE - 1).map(|_| door.enter(address(1), Stage::Spoke)).collect();
        talkers[0].reached(Stage::Spoke);
        talkers[0].reached(Stage::Silent);
        assert!(login.stands());
        let crowd: Vec<Place> = (0..5000).map(|_| door.enter(address(1), Stage::Spoke)).collect();
        assert!(!talkers[0].stands() && !login.stands(), "what is old and quiet stays for ever");
        assert!(known.stands());
        drop((silent, talkers, crowd));
        assert_eq!(door.lock().standing.len(), 1);
        known.leave();
        assert_eq!(door.lock().standing.len(), 0);
    }

    #[test]
    fn before_all_places_are_taken_only_who_lingers_goes() {
        let door = Arc::new(Door::new(1));
        // Many at once who mean it: nobody goes, up to the last place.
        let burst: Vec<Place> = (0..OF_A_SOURCE).map(|_| door.enter(address(1), Stage::Spoke)).collect();
        assert!(burst.iter().all(Place::stands) && burst[0].is_in_a_crowd());
        let elsewhere = [door.enter(address(2), Stage::Spoke), door.enter(address(1), Stage::Silent)];
        assert!(!elsewhere[1].is_in_a_crowd(), "another stage is not crowded");
        drop(elsewhere);
        drop(burst);
        let silent: Vec<Place> = (0..OF_A_SOURCE / 2).map(|_| door.enter(address(1), Stage::Silent)).collect();
        for standing in &mut door.lock().standing {
            standing.since = clock::instant().checked_sub(LINGERS).unwrap();
        }
        let later: Vec<Place> = (0..OF_A_SOURCE / 2).map(|_| door.enter(address(1), Stage::Silent)).collect();
        let gone = silent.iter().filter(|place| !place.stands()).count();
        assert!((1..OF_A_SOURCE / 2).contains(&gone), "{gone} of {} went early", silent.len());
        assert!(later.iter().all(Place::stands));
    }
}
