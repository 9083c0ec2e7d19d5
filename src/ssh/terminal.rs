//! A pseudo terminal, for a client that asks for one: the child runs on it, and the client sees and types what a
//! terminal shows and takes.
//!
//! When the client goes, the terminal is closed, which the child notices as it notices closed pipes: it reads the end of
//! its input, and writing fails. The signal that comes with it does not end a child of ours ([`exec::outlive_terminal`]).
//!
//! [`exec::outlive_terminal`]: crate::exec::outlive_terminal

use std::{io, os::fd::OwnedFd};

use russh::Pty;
use rustix::{
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{
        InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios, Winsize, tcgetattr, tcsetattr,
        tcsetwinsize,
    },
};
use tokio::net::unix::pipe;

/// The longest name of a kind of terminal. Those there are have less than half of it.
const MAX_KIND: usize = 64;

/// What a terminal is called whose own name is missing or not to be believed: one that only shows text.
const PLAIN: &str = "dumb";

/// How many columns and rows a terminal has at most. No screen has as many, and who draws a line for each column or
/// row must not have to draw four billions.
const MAX_CELLS: u32 = 4096;

/// A pseudo terminal.
#[derive(Debug)]
pub(super) struct Terminal {
    master: OwnedFd,
    kind: String,
}

/// How large a terminal is, in the numbers of a client (RFC 4254, section 6.2). 0 is unknown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// Characters in a row.
    pub(super) columns: u32,
    /// Rows.
    pub(super) rows: u32,
    /// Pixels in a row.
    pub(super) width: u32,
    /// Pixels in a column.
    pub(super) height: u32,
}

impl Terminal {
    /// Opens a terminal as the client describes its own.
    ///
    /// `kind`: its name in the terminal database. `modes`: how it is set; what does not exist here is passed over.
    ///
    /// # Errors
    /// Those of the system, which has a limit on terminals and on open files.
    pub(super) fn open(kind: &str, size: Size, modes: &[(Pty, u32)]) -> io::Result<Terminal> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        unlockpt(&master)?;
        rustix::io::ioctl_fionbio(&master, true)?;
        let mut settings = tcgetattr(&master)?;
        // The child's locale is in UTF-8, so that erasing a character has to erase all its bytes.
        settings.input_modes |= InputModes::IUTF8;
        for &(mode, value) in modes {
            apply(&mut settings, mode, value);
        }
        tcsetattr(&master, OptionalActions::Now, &settings)?;
        tcsetwinsize(&master, size.clamped())?;
        let kind = if is_kind(kind) { kind } else { PLAIN };
        Ok(Terminal { master, kind: kind.to_owned() })
    }

    /// The name of its kind, for the variable `TERM`.
    pub(super) fn kind(&self) -> &str {
        &self.kind
    }

    /// The end that a child has as its standard input, output and error.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn child_end(&self) -> io::Result<OwnedFd> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        Ok(ioctl_tiocgptpeer(&self.master, flags)?)
    }

    /// Gives it another size, of which the child is told by a signal.
    pub(super) fn resize(&self, size: Size) {
        if let Err(error) = tcsetwinsize(&self.master, size.clamped()) {
            tracing::debug!("ssh: cannot resize a terminal: {error}");
        }
    }

    /// What is shown on it, to be read, and what is typed on it, to be written. Reading ends, with an error, when no
    /// process has it open any more.
    ///
    /// tokio reads and writes by these whatever the system can wait for, pipe or not; its type for everything else cannot
    /// be had in safe code.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn ends(&self) -> io::Result<(pipe::Receiver, pipe::Sender)> {
        let shown = pipe::Receiver::from_owned_fd_unchecked(self.master.try_clone()?)?;
        Ok((shown, pipe::Sender::from_owned_fd_unchecked(self.master.try_clone()?)?))
    }

    /// What to type to end its input, where the client's input was a file that is at its end: what the terminal takes
    /// for the end, once for the line that was begun, if one was, and once for the end itself. To a child that reads
    /// single characters there is no such thing.
    pub(super) fn end_of_input(&self) -> Vec<u8> {
        let Ok(settings) = tcgetattr(&self.master) else { return Vec::new() };
        let end = settings.special_codes[SpecialCodeIndex::VEOF];
        let reads_lines = settings.local_modes.contains(LocalModes::ICANON) && end != 0;
        if reads_lines { vec![end; 2] } else { Vec::new() }
    }
}

impl Size {
    fn clamped(self) -> Winsize {
        let clamp = |count: u32, most: u32| u16::try_from(count.min(most)).unwrap_or(u16::MAX);
        Winsize {
            ws_row: clamp(self.rows, MAX_CELLS),
            ws_col: clamp(self.columns, MAX_CELLS),
            ws_xpixel: clamp(self.width, u16::MAX.into()),
            ws_ypixel: clamp(self.height, u16::MAX.into()),
        }
    }
}

/// Whether a text may be the name of a kind of terminal: `xterm-256color`. It becomes the path of a file for whoever
/// looks it up.
fn is_kind(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._+".contains(&byte);
    (1..=MAX_KIND).contains(&text.len()) && text.as_bytes()[0].is_ascii_alphanumeric() && text.bytes().all(plain)
}

/// Sets what a client says of its terminal (RFC 4254, section 8), as far as it has a meaning without a wire.
fn apply(settings: &mut Termios, mode: Pty, value: u32) {
    if let Some(code) = special_code(mode) {
        // 255 says that there is none, which is 0 here. More is no character.
        if let Ok(byte) = u8::try_from(value) {
            settings.special_codes[code] = if byte == u8::MAX { 0 } else { byte };
        }
        return;
    }
    let on = value != 0;
    match mode {
        Pty::INLCR => settings.input_modes.set(InputModes::INLCR, on),
        Pty::IGNCR => settings.input_modes.set(InputModes::IGNCR, on),
        Pty::ICRNL => settings.input_modes.set(InputModes::ICRNL, on),
        Pty::IXON => settings.input_modes.set(InputModes::IXON, on),
        Pty::IXANY => settings.input_modes.set(InputModes::IXANY, on),
        Pty::IMAXBEL => settings.input_modes.set(InputModes::IMAXBEL, on),
        Pty::IUTF8 => settings.input_modes.set(InputModes::IUTF8, on),
        Pty::ISIG => settings.local_modes.set(LocalModes::ISIG, on),
        Pty::ICANON => settings.local_modes.set(LocalModes::ICANON, on),
        Pty::ECHO => settings.local_modes.set(LocalModes::ECHO, on),
        Pty::ECHOE => settings.local_modes.set(LocalModes::ECHOE, on),
        Pty::ECHOK => settings.local_modes.set(LocalModes::ECHOK, on),
        Pty::ECHONL => settings.local_modes.set(LocalModes::ECHONL, on),
        Pty::NOFLSH => settings.local_modes.set(LocalModes::NOFLSH, on),
        Pty::IEXTEN => settings.local_modes.set(LocalModes::IEXTEN, on),
        Pty::ECHOCTL => settings.local_modes.set(LocalModes::ECHOCTL, on),
        Pty::ECHOKE => settings.local_modes.set(LocalModes::ECHOKE, on),
        Pty::OPOST => settings.output_modes.set(OutputModes::OPOST, on),
        Pty::ONLCR => settings.output_modes.set(OutputModes::ONLCR, on),
        Pty::OCRNL => settings.output_modes.set(OutputModes::OCRNL, on),
        Pty::ONOCR => settings.output_modes.set(OutputModes::ONOCR, on),
        Pty::ONLRET => settings.output_modes.set(OutputModes::ONLRET, on),
        _ => {}
    }
}

/// The key of a terminal that a mode assigns.
fn special_code(mode: Pty) -> Option<SpecialCodeIndex> {
    Some(match mode {
        Pty::VINTR => SpecialCodeIndex::VINTR,
        Pty::VQUIT => SpecialCodeIndex::VQUIT,
        Pty::VERASE => SpecialCodeIndex::VERASE,
        Pty::VKILL => SpecialCodeIndex::VKILL,
        Pty::VEOF => SpecialCodeIndex::VEOF,
        Pty::VEOL => SpecialCodeIndex::VEOL,
        Pty::VEOL2 => SpecialCodeIndex::VEOL2,
        Pty::VSTART => SpecialCodeIndex::VSTART,
        Pty::VSTOP => SpecialCodeIndex::VSTOP,
        Pty::VSUSP => SpecialCodeIndex::VSUSP,
        Pty::VREPRINT => SpecialCodeIndex::VREPRINT,
        Pty::VWERASE => SpecialCodeIndex::VWERASE,
        Pty::VLNEXT => SpecialCodeIndex::VLNEXT,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn open(kind: &str, size: Size, modes: &[(Pty, u32)]) -> Terminal {
        Terminal::open(kind, size, modes).unwrap()
    }

    const USUAL: Size = Size { columns: 80, rows: 24, width: 0, height: 0 };

    #[tokio::test]
    async fn a_size_is_kept_within_what_can_be_drawn() {
        let seen = |terminal: &Terminal| {
            let size = rustix::termios::tcgetwinsize(terminal.child_end().unwrap()).unwrap();
            (size.ws_col, size.ws_row, size.ws_xpixel, size.ws_ypixel)
        };
        let huge = Size { columns: u32::MAX, rows: 70_000, width: u32::MAX, height: 65_536 };
        let terminal = open("xterm", huge, &[]);
        assert_eq!(seen(&terminal), (4096, 4096, u16::MAX, u16::MAX));
        terminal.resize(Size { columns: 132, rows: 43, width: 1, height: 2 });
        assert_eq!(seen(&terminal), (132, 43, 1, 2));
        terminal.resize(Size { columns: 0, rows: 0, width: 0, height: 0 });
        assert_eq!(seen(&terminal), (0, 0, 0, 0));
    }

    #[tokio::test]
    async fn only_a_name_can_be_the_kind_of_a_terminal() {
        for good in ["xterm-256color", "screen.xterm", "vt100", "xterm+256setaf", "tmux_direct", &"x".repeat(64)] {
            assert_eq!(open(good, USUAL, &[]).kind(), good);
        }
        for bad in ["", "../../etc/passwd", "a b", "x\u{1b}[2J", "x=y", "-x", "näme", "x\n", &"x".repeat(65)] {
            assert_eq!(open(bad, USUAL, &[]).kind(), "dumb", "{bad:?}");
        }
    }

    #[tokio::test]
    async fn modes_are_the_client_s_and_what_is_none_is_passed_over() {
        let modes = [
            (Pty::VINTR, 7),
            (Pty::VQUIT, 255),
            (Pty::VERASE, 70_000),
            (Pty::ECHO, 0),
            (Pty::ONLCR, 0),
            (Pty::ICANON, 12),
            (Pty::CS7, 1),
            (Pty::TTY_OP_ISPEED, u32::MAX),
        ];
        let settings = tcgetattr(open("xterm", USUAL, &modes).child_end().unwrap()).unwrap();
        let usual = tcgetattr(open("xterm", USUAL, &[]).child_end().unwrap()).unwrap();
        let code = |settings: &Termios, index| settings.special_codes[index];
        assert_eq!(code(&settings, SpecialCodeIndex::VINTR), 7);
        assert_eq!(code(&settings, SpecialCodeIndex::VQUIT), 0);
        assert_eq!(code(&settings, SpecialCodeIndex::VERASE), code(&usual, SpecialCodeIndex::VERASE));
        assert!(!settings.local_modes.contains(LocalModes::ECHO) && usual.local_modes.contains(LocalModes::ECHO));
        assert!(!settings.output_modes.contains(OutputModes::ONLCR) && usual.output_modes.contains(OutputModes::ONLCR));
        assert!(settings.local_modes.contains(LocalModes::ICANON | LocalModes::ISIG));
        assert!(usual.input_modes.contains(InputModes::IUTF8 | InputModes::ICRNL));
        assert_eq!(settings.control_modes, usual.control_modes);
    }

    #[tokio::test]
    async fn what_is_typed_is_read_and_its_end_is_an_end() {
        let terminal = open("xterm", USUAL, &[(Pty::ECHO, 0)]);
        let end = terminal.child_end().unwrap();
        let (mut shown, mut typed) = terminal.ends().unwrap();
        typed.write_all(b"one\nand a half").await.unwrap();
        typed.write_all(&terminal.end_of_input()).await.unwrap();
        let read = tokio::task::spawn_blocking(move || {
            let mut text = Vec::new();
            let mut buffer = [0; 64];
            while let count @ 1.. = rustix::io::read(&end, &mut buffer).unwrap() {
                text.extend_from_slice(&buffer[..count]);
            }
            rustix::io::write(&end, b"shown\n").unwrap();
            text
        });
        assert_eq!(read.await.unwrap(), b"one\nand a half");
        let mut text = Vec::new();
        let end = shown.read_to_end(&mut text).await.unwrap_err();
        assert_eq!(text, b"shown\r\n");
        assert_eq!(end.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()), "nobody has it open");
    }
}
