//! What a client does before anybody knows it, for the fuzz targets: not the protocol, which is russh's.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use russh::Pty;

use super::{
    connection,
    door::{Door, Place, Stage},
    gate::Gate,
    terminal::{Size, Terminal},
};
use crate::settings;

/// The first byte says what the rest is: who comes to the door and goes, what is queued of what somebody sends, a
/// command, or a terminal.
pub fn ssh(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    match kind % 4 {
        0 => door(rest),
        1 => gate(rest),
        2 => command(rest),
        _ => terminal(rest),
    }
}

/// Three bytes a step: what is done, by whom, how far he is.
fn door(bytes: &[u8]) {
    let door = Arc::new(Door::new(1));
    let mut places: Vec<Place> = Vec::new();
    let (mut came, mut left, mut sent_away) = (0, 0, 0);
    for step in bytes.chunks_exact(3).take(300) {
        let stage = [Stage::Silent, Stage::Spoke, Stage::Known][usize::from(step[2] % 3)];
        let address: IpAddr = match step[1] {
            last @ ..128 => Ipv4Addr::new(192, 0, 2, last).into(),
            // Of one network, and each of its own.
            last @ 128..192 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()).into(),
            last => Ipv6Addr::new(0x2001, 0xdb8, 0, last.into(), 0, 0, 0, 1).into(),
        };
        let index = usize::from(step[1]) * 7 % places.len().max(1);
        match (step[0] % 4, places.is_empty()) {
            (0 | 1, _) | (_, true) => {
                // One, or a crowd.
                for _ in 0..=step[0] / 4 % 16 {
                    let place = door.enter(address, stage);
                    assert!(place.stands(), "who came last was sent away");
                    places.push(place);
                    came += 1;
                }
            }
            (2, _) => {
                places[index].reached(stage);
            }
            _ => {
                left += usize::from(places.swap_remove(index).stands());
            }
        }
        sent_away += door.sent_away();
        let standing = door.check();
        assert_eq!(standing + left + sent_away, came);
    }
    assert_eq!(places.iter().filter(|place| place.stands()).count(), door.check());
    drop(places);
    assert_eq!(door.check(), 0);
}

/// What is queued counts until it is taken, in whatever order.
fn gate(bytes: &[u8]) {
    let gate = Arc::new(Gate::default());
    let (mut chunks, mut stalled) = (Vec::new(), Vec::new());
    for step in bytes.iter().take(1000) {
        match step % 4 {
            0 | 1 => chunks.push(gate.chunk(&vec![0; usize::from(*step) << 7])),
            2 if !chunks.is_empty() => drop(chunks.swap_remove(usize::from(*step) % chunks.len())),
            2 => {}
            _ if stalled.len() < 3 => stalled.push(gate.stalled()),
            _ => stalled.clear(),
        }
        assert!(gate.window(super::WINDOW) > 0, "a client with no window at all sends nothing any more");
        assert!(stalled.is_empty() || !gate.is_closed());
    }
    drop((chunks, stalled));
    assert!(!gate.is_closed());
    assert_eq!(gate.window(super::WINDOW), super::WINDOW);
}

/// A command: it is refused, or comes to the child as it was sent.
fn command(bytes: &[u8]) {
    let Ok(typed) = connection::read_command(bytes) else { return };
    let _ = connection::is_git_service(typed);
    let variables = settings::command_variables(typed);
    let variable = |name: &str| variables.iter().find(|(known, _)| known == name).map(|(_, piece)| (*piece).to_owned());
    assert_eq!(settings::command(variable).as_deref(), Some(typed));
    assert!(variables.iter().all(|(name, piece)| name.len() + piece.len() < 131_000 && !piece.contains('\0')));
}

/// A terminal: its size and modes, five bytes each as they are sent, and its name.
fn terminal(bytes: &[u8]) {
    let mut numbers = bytes.chunks(4).map(|four| four.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)));
    let mut next = || numbers.next().unwrap_or_default();
    let size = Size { columns: next(), rows: next(), width: next(), height: next() };
    let rest = bytes.get(16..).unwrap_or_default();
    let modes: Vec<(Pty, u32)> = rest
        .chunks_exact(5)
        .take(256)
        .filter_map(|mode| Some((Pty::from_u8(mode[0])?, u32::from_be_bytes([mode[1], mode[2], mode[3], mode[4]]))))
        .collect();
    let kind = String::from_utf8_lossy(rest);
    // The system may have no terminal left, which is no fault of what was asked for.
    let Ok(terminal) = Terminal::open(&kind, size, &modes) else { return };
    assert!(!terminal.kind().contains(['/', '\0', '\n']) && !terminal.kind().starts_with('.'), "{:?}", terminal.kind());
    assert!(terminal.end_of_input().len() <= 2);
    terminal.resize(size);
}
