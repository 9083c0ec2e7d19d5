//! Terminals: what a client with `-t` has, typed on a terminal of the test's own.

use std::{
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex},
};

use russh::{ChannelMsg, Pty, client, keys::PrivateKeyWithHashAlg, keys::load_secret_key};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::pipe,
};

use super::{Fixture, eventually, exists, noise, sha256, stderr, stdout, with_input};
use crate::{
    exec,
    ssh::terminal::{Size, Terminal},
};

/// OpenSSH's client on a terminal, and who sits at it.
struct Typist<'a> {
    server: &'a Fixture,
    terminal: Terminal,
    typed: pipe::Sender,
    shown: Arc<Mutex<Vec<u8>>>,
    client: tokio::process::Child,
}

fn size(columns: u32, rows: u32) -> Size {
    Size { columns, rows, width: 0, height: 0 }
}

impl<'a> Typist<'a> {
    fn new(server: &'a Fixture, options: &[&str], command: &str) -> Typist<'a> {
        let _context = server.runtime.enter();
        let terminal = Terminal::open("xterm-256color", size(80, 24), &[]).unwrap();
        let (mut reader, typed) = terminal.ends().unwrap();
        let end = terminal.child_end().unwrap();
        let mut ssh = exec::command("ssh");
        ssh.args(server.ssh(options, command).get_args()).env("TERM", terminal.kind());
        ssh.stdin(end.try_clone().unwrap()).stdout(end.try_clone().unwrap()).stderr(end);
        let client = ssh.spawn().unwrap();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let screen = Arc::clone(&shown);
        server.runtime.spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer).await {
                screen.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Typist { server, terminal, typed, shown, client }
    }

    fn types(&mut self, text: &str) {
        self.server.runtime.block_on(self.typed.write_all(text.as_bytes())).unwrap();
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    fn sees(&self, text: &str) {
        eventually(&format!("{text:?} on the screen"), || self.screen().contains(text));
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.server.runtime.block_on(self.client.wait()).unwrap().code()
    }
}

#[test]
fn the_child_has_the_terminal_that_the_client_insists_on() {
    let server = Fixture::new();
    // A client without a terminal of its own knows neither a name nor a size.
    let output = server.run(&["-tt"], "test -t 0 && test -t 1 && test -t 2 && echo $TERM && stty size; tty -s; exit 7");
    assert_eq!(stdout(&output), "dumb\r\n0 0\r\n", "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(7));
    let output = server.run(&["-tt"], "");
    assert_eq!(stdout(&output), "shell for key:laptop\r\n", "{}", stderr(&output));
    // One `-t` at no terminal asks for none, and nothing is a terminal unasked.
    for options in [&["-t"][..], &[]] {
        let output = server.run(options, "test -t 0 || test -t 1 || test -t 2 || echo ${TERM:-no name}");
        assert_eq!(stdout(&output), "no name\n", "{}", stderr(&output));
    }
}

#[test]
fn what_is_typed_arrives_and_a_resize_is_seen() {
    let server = Fixture::new();
    let command = "trap 'stty size' WINCH; echo $TERM; stty size; read line; echo \"<$line>\"; read line; echo bye";
    let mut typist = Typist::new(&server, &["-t"], command);
    typist.sees("xterm-256color\r\n24 80\r\n");
    typist.types("hellp\u{7f}o\r");
    typist.sees("<hello>");
    typist.terminal.resize(size(132, 43));
    typist.sees("43 132");
    typist.types("\u{4}");
    typist.sees("bye");
    assert_eq!(typist.exit_code(), Some(0));
}

#[test]
fn a_client_at_a_terminal_without_a_command_gets_one_by_itself() {
    let server = Fixture::new();
    let mut typist = Typist::new(&server, &[], "");
    assert_eq!(typist.exit_code(), Some(0));
    typist.sees("shell for key:laptop\r\n");
}

#[test]
fn a_typed_interrupt_reaches_the_child_and_its_exit_code_comes_back() {
    let server = Fixture::new();
    let caught = "trap 'echo caught; exit 9' INT; echo begun; while :; do sleep 0.1; done";
    for (command, key, code) in [
        ("echo begun; exec sleep 60", "\u{3}", 130),
        ("echo begun; exec sleep 60", "\u{1c}", 131),
        (caught, "\u{3}", 9),
    ] {
        let mut typist = Typist::new(&server, &["-t"], command);
        typist.sees("begun");
        typist.types(key);
        assert_eq!(typist.exit_code(), Some(code), "{command}");
    }
    // A signal that nobody typed is one.
    let mut typist = Typist::new(&server, &["-t"], "kill -9 $$");
    assert_eq!(typist.exit_code(), Some(255));
}

#[test]
fn input_that_ends_ends_and_nothing_is_lost_in_either_direction() {
    let server = Fixture::new();
    let read = |input: &[u8]| {
        let client = server.ssh(&["-tt"], "stty -echo; echo ready; cat; echo end").stdin(Stdio::piped()).spawn();
        stdout(&with_input(client.unwrap(), input.to_vec()))
    };
    assert!(read(b"").ends_with("ready\r\nend\r\n"));
    assert!(read(b"one\ntwo and no newline").ends_with("two and no newlineend\r\n"));

    let output = server.run(&["-tt"], "stty -opost; head -c 5000000 /dev/zero | tr '\\0' x; exit 3");
    assert_eq!((output.stdout.len(), output.status.code()), (5_000_000, Some(3)));
    let bytes = noise(3_000_000);
    // What the child reads before it is ready would be taken for lines.
    let command = "stty raw -echo; echo ready; head -c 3000000 | sha256sum";
    // Without an escape character, or the client would take some of the noise for orders to itself.
    let mut client = server.ssh(&["-tt", "-e", "none"], command).stdin(Stdio::piped()).spawn().unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"ready\n") {
        let mut byte = [0];
        std::io::Read::read_exact(client.stdout.as_mut().unwrap(), &mut byte).unwrap();
        seen.push(byte[0]);
    }
    let sum = sha256(&bytes);
    assert_eq!(stdout(&with_input(client, bytes)).trim(), format!("{sum}  -"));
}

#[test]
fn a_child_outlives_its_client_and_finds_its_terminal_gone() {
    let server = Fixture::new();
    let (begun, ended) = (server.path("begun"), server.path("ended"));
    let command = format!(
        "trap '' HUP; touch {begun}; cat > /dev/null; while echo late 2> /dev/null; do sleep 0.05; done; touch {ended}",
        begun = begun.display(),
        ended = ended.display()
    );
    let mut typist = Typist::new(&server, &["-t"], &command);
    eventually("the command runs", || exists(&begun));
    typist.client.start_kill().unwrap();
    typist.exit_code();
    eventually("the child sees its input at an end and its output broken", || exists(&ended));

    // A child that does not say that it goes on ends with its terminal, and leaves no zombie.
    let pid = server.path("pid");
    let command = format!("echo $$ > {pid}.new; mv {pid}.new {pid}; sleep 60", pid = pid.display());
    let mut typist = Typist::new(&server, &["-t"], &command);
    eventually("the command runs", || exists(&pid));
    typist.client.start_kill().unwrap();
    let process = PathBuf::from(format!("/proc/{}", std::fs::read_to_string(&pid).unwrap().trim()));
    eventually("the child is gone", || !exists(&process));
}

#[test]
fn a_git_service_has_no_terminal_though_the_client_insists() {
    let server = Fixture::new();
    for service in ["git-upload-pack", "'git-receive-pack'", " git-upload-archive"] {
        let command = format!("{service} --nonsense 2> /dev/null; test -t 0 || test -t 1 || echo pipes");
        let output = server.run(&["-tt"], &command);
        assert!(stdout(&output).ends_with("pipes\n"), "{service}: {}", stdout(&output));
        assert!(!stdout(&output).contains('\r'), "{service}");
    }
}

/// Takes any server for the right one.
struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _key: &russh::keys::PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

/// What OpenSSH's client would never ask for.
#[test]
fn a_second_terminal_is_refused_and_odd_ones_are_made_even() {
    let server = Fixture::new();
    let shown = server.runtime.block_on(async {
        let mut session = client::connect(Arc::default(), server.address, Trusting).await.unwrap();
        let key = PrivateKeyWithHashAlg::new(Arc::new(load_secret_key(server.path("laptop"), None).unwrap()), None);
        assert!(session.authenticate_publickey("paas", key).await.unwrap().success());
        let mut channel = session.channel_open_session().await.unwrap();
        let modes = [(Pty::VERASE, u32::MAX), (Pty::XCASE, 1), (Pty::CS7, 1), (Pty::TTY_OP_OSPEED, 0)];
        for wanted in [true, false] {
            channel.request_pty(true, "../../x", u32::MAX, 0, u32::MAX, 7, &modes).await.unwrap();
            let answer = channel.wait().await.unwrap();
            assert_eq!(matches!(answer, ChannelMsg::Success), wanted, "{answer:?}");
        }
        channel.exec(true, "echo $TERM; stty size; read line; stty size").await.unwrap();
        assert!(matches!(channel.wait().await.unwrap(), ChannelMsg::Success));
        let mut shown = Vec::new();
        let mut code = None;
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Data { data } => shown.extend_from_slice(&data),
                ChannelMsg::ExitStatus { exit_status } => code = Some(exit_status),
                ChannelMsg::Failure => shown.extend_from_slice(b"refused\n"),
                _ => continue,
            }
            if shown.ends_with(b"0 4096\r\n") {
                // Neither a terminal for what runs already, nor a flood of sizes, does anything to it.
                channel.request_pty(true, "xterm", 80, 24, 0, 0, &[]).await.unwrap();
                for rows in 0..1000 {
                    channel.window_change(u32::MAX - rows, rows, 0, 0).await.unwrap();
                }
                channel.data_bytes(&b"\r"[..]).await.unwrap();
            }
        }
        assert_eq!(code, Some(0));
        String::from_utf8(shown).unwrap()
    });
    assert_eq!(shown, "dumb\r\n0 4096\r\nrefused\n\r\n999 4096\r\n");
}
