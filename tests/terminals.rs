//! `ssh -t`: OpenSSH's client on a terminal of the test's own. What a terminal is to a child stands in src/ssh/tests.

use std::{
    fs::File,
    io::{Read, Write},
    process::{Child, Command},
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::{
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::{
    harness::{PAAS, Server, command, run, ssh_options},
    processes::processes,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// What only a terminal is sent: an order to change colours or to move the cursor.
const ESCAPE: &str = "\u{1b}[";

/// A program on a terminal, and who sits at it.
pub struct Typist {
    master: File,
    shown: Arc<Mutex<Vec<u8>>>,
    pub program: Child,
}

impl Typist {
    pub fn new(mut command: Command) -> Typist {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        unlockpt(&master).unwrap();
        tcsetwinsize(&master, Winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let end = || File::from(ioctl_tiocgptpeer(&master, flags).unwrap());
        command.env("TERM", "xterm-256color").stdin(end()).stdout(end()).stderr(end());
        let program = command.spawn().unwrap();
        // It holds the program's end of the terminal.
        drop(command);
        let master = File::from(master);
        let (shown, mut reader) = (Arc::new(Mutex::new(Vec::new())), master.try_clone().unwrap());
        let screen = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                screen.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Typist { master, shown, program }
    }

    pub fn over_ssh(server: &Server, words: &[&str]) -> Typist {
        let mut ssh = server.command("ssh");
        ssh.args(ssh_options(&server.key())).args(["-p", &server.port(0).to_string(), "-t", "paas@127.0.0.1"]);
        ssh.args(words);
        Typist::new(ssh)
    }

    pub fn types(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Gives the terminal another size, and says so to its program, as a window does.
    pub fn resize(&mut self, rows: u16, columns: u16) {
        tcsetwinsize(&self.master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let id = self.program.id().to_string();
        run(command("kill").args(["-WINCH", &id])).expect_success();
    }

    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    pub fn sees(&self, server: &Server, text: &str) {
        server.wait_for(&format!("{text:?} on the screen"), PATIENCE, || self.screen().contains(text));
    }

    /// The exit code, and all that was shown.
    pub fn finish(mut self) -> (Option<i32>, String) {
        let code = self.program.wait().unwrap().code();
        // The last of the output is still on its way to the screen.
        std::thread::sleep(Duration::from_millis(300));
        (code, self.screen())
    }
}

#[test]
fn a_terminal_over_ssh_is_as_one_on_the_server() {
    let server = Server::start();
    server.paas(&["apps:create", "blog"]).expect_success();

    // Without a command, the help, with colours that nothing but a terminal gets.
    let (code, shown) = Typist::over_ssh(&server, &[]).finish();
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("apps:create") && shown.contains(ESCAPE), "{shown}");
    let piped = server.ssh("").expect_success();
    assert!(piped.stdout.contains("apps:create") && !piped.stdout.contains(ESCAPE), "{piped}");

    // The exit code is the command's own.
    for (command, code) in [("apps:exists blog", 0), ("apps:exists nope", 3), ("apps:info Not_A_Name", 2)] {
        let (got, shown) = Typist::over_ssh(&server, &[command]).finish();
        assert_eq!(got, Some(code), "{command}: {shown}");
    }

    // A question is asked and answered, and one that nobody answers changes nothing.
    let destroy = || {
        let typist = Typist::over_ssh(&server, &["apps:destroy blog"]);
        typist.sees(&server, "Type the app's name");
        typist
    };
    for (answer, code) in [("no\r", 2), ("\u{4}", 2), ("\u{3}", 130)] {
        let mut typist = destroy();
        typist.types(answer);
        let (got, shown) = typist.finish();
        assert_eq!(got, Some(code), "{answer:?}: {shown}");
    }
    let mut typist = destroy();
    typist.program.kill().unwrap();
    typist.program.wait().unwrap();
    server.wait_for("the question to end", PATIENCE, || sessions(&server, "apps:destroy blog") == 0);
    server.paas(&["apps:exists", "blog"]).expect_success();
    let mut typist = destroy();
    typist.types("blog\r");
    let (code, shown) = typist.finish();
    assert_eq!(code, Some(0), "{shown}");
    server.paas(&["apps:exists", "blog"]).expect_code(3);

    // What is piped in ends although it goes over a terminal.
    server.paas(&["apps:create", "blog"]).expect_success();
    let mut insisting = server.command("ssh");
    insisting.args(ssh_options(&server.key())).args(["-p", &server.port(0).to_string(), "-tt", "paas@127.0.0.1"]);
    run(insisting.arg("apps:destroy blog")).expect_code(2);
}

#[test]
fn a_deploy_outlives_its_terminal_and_ctrl_c_stops_what_is_watched() {
    let server = Server::start();
    let repository = server.repository("dockerfile", "web");
    let dockerfile = "FROM busybox:stable\nRUN mkdir /www && echo slow > /www/index.html\nEXPOSE 3000\n\
                      CMD [\"sh\", \"-c\", \"echo starting; sleep 4; exec httpd -f -p 3000 -h /www\"]\n";
    repository.write("Dockerfile", dockerfile).commit("slow");
    // Git has pipes, however much its ssh insists.
    let mut push = repository.git_command(&["push", "paas", "main"]);
    push.env("GIT_SSH_COMMAND", format!("ssh -tt {}", ssh_options(&server.key()).join(" ")));
    let ran = run(&mut push).expect_success();
    assert!(ran.talk().contains("-----> ") && !ran.stderr.contains(ESCAPE), "{ran}");

    // The spinner turns on a terminal, and there alone.
    let restart = || {
        let typist = Typist::over_ssh(&server, &["ps:restart web"]);
        typist.sees(&server, "-----> ");
        server.wait_for("the check", PATIENCE, || server.deploy_state("web") == "checking");
        typist
    };
    let (code, shown) = restart().finish();
    assert!(code == Some(0) && shown.contains(ESCAPE) && shown.contains("s)"), "{shown}");
    let piped = server.ssh("ps:restart web").expect_success();
    assert!(!piped.stderr.contains('\u{1b}'), "{piped}");

    // Ctrl-C is for the deploy, as on the server itself; the one that served goes on.
    let mut typist = restart();
    typist.types("\u{3}");
    let (code, shown) = typist.finish();
    assert_eq!(code, Some(130), "{shown}");
    assert_ne!(server.deploy_state("web"), "succeeded");
    assert_eq!(server.get("web", "/").body, "slow\n");

    // The end of the client is not: nobody asked the deploy to stop.
    let mut typist = restart();
    typist.program.kill().unwrap();
    typist.program.wait().unwrap();
    drop(typist);
    server.wait_for("the deploy to end", PATIENCE, || server.deploy_state("web") == "succeeded");

    // A log is followed until somebody types Ctrl-C, or goes.
    let follow = || {
        let typist = Typist::over_ssh(&server, &["logs web -f"]);
        typist.sees(&server, "app[web.1]: starting");
        typist
    };
    let mut typist = follow();
    typist.types("\u{3}");
    assert_eq!(typist.finish().0, Some(130));
    let mut typist = follow();
    assert_eq!(sessions(&server, "logs web -f"), 1);
    typist.program.kill().unwrap();
    typist.program.wait().unwrap();
    server.wait_for("the log to end", PATIENCE, || sessions(&server, "logs web -f") == 0);
}

/// How many processes of the server run a command for an SSH session.
fn sessions(server: &Server, command: &str) -> usize {
    let variables = [format!("PAAS_ROOT={}", server.root().display()), format!("PAAS_SSH_COMMAND={command}")];
    let ours =
        processes(|_, environment| variables.iter().all(|wanted| environment.split('\0').any(|it| it == wanted)));
    ours.len()
}

#[test]
fn a_value_that_is_asked_for_is_not_shown() {
    let server = Server::start();
    server.paas(&["apps:create", "blog"]).expect_success();
    let mut local = server.command(PAAS);
    local.args(["config:set", "blog", "--prompt", "LOCAL", "--prompt", "SECOND", "PLAIN=1"]);
    let over_ssh = Typist::over_ssh(&server, &["config:set", "blog", "--prompt", "OVER_SSH"]);
    for (mut typist, keys) in [(Typist::new(local), &["LOCAL", "SECOND"][..]), (over_ssh, &["OVER_SSH"])] {
        for key in keys {
            typist.sees(&server, &format!("Value of {key}:"));
            typist.types(&format!("hunterX\u{7f}2 of {key} \r"));
        }
        let (code, shown) = typist.finish();
        assert_eq!(code, Some(0), "{shown}");
        assert!(!shown.contains("hunter"), "{shown}");
        for key in keys {
            assert_eq!(server.json(&["config:get", "blog", key])[*key], format!("hunter2 of {key} "));
        }
    }
    // Ctrl-C sets nothing.
    let mut typist = Typist::over_ssh(&server, &["config:set", "blog", "--prompt", "NEVER"]);
    typist.sees(&server, "Value of NEVER:");
    typist.types("hunter2\u{3}");
    assert_eq!(typist.finish().0, Some(130));
    server.paas(&["config:get", "blog", "NEVER"]).expect_code(3);
}
