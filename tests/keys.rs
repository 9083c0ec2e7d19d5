//! SSH keys: who gets in, by what, how far, and how long.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::harness::{Ran, Server, command, docker_socket, run, run_with_input, ssh_options};

/// A new key pair in a server's directory: the path of the private one, and the text of the public one.
fn make_key(server: &Server, name: &str) -> (PathBuf, String) {
    let path = server.directory.path().join(name);
    run(command("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&path)).expect_success();
    let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
    (path, public)
}

/// What `ssh-keygen -l` says a key's fingerprint is.
fn fingerprint(private: &Path) -> String {
    let listed = run(command("ssh-keygen").arg("-lf").arg(private.with_extension("pub"))).expect_success();
    listed.stdout.split(' ').nth(1).unwrap().to_owned()
}

/// Whether a key opens the door.
fn logs_in(server: &Server, key: &Path) -> bool {
    match run(server.ssh_command(key).arg("apps:list")) {
        Ran { code: 0, .. } => true,
        Ran { code: 255, stderr, .. } if stderr.contains("Permission denied (publickey)") => false,
        other => panic!("{other}"),
    }
}

/// A client with options of its own, which win over the usual ones.
fn client(server: &Server, program: &str, options: &[&str]) -> Command {
    let mut command = server.command(program);
    command.args(options).args(ssh_options(&server.key()));
    command.arg("-oPort=".to_owned() + &server.port(0).to_string());
    command
}

#[test]
fn a_key_comes_in_by_every_door_and_goes_again() {
    let server = Server::start();
    let (by_file, _) = make_key(&server, "by-file");
    let (by_input, public_by_input) = make_key(&server, "by-input");
    let (by_dash, public_by_dash) = make_key(&server, "by-dash");
    let (by_ssh, public_by_ssh) = make_key(&server, "by-ssh");
    assert!(!logs_in(&server, &by_file), "a key that nobody added");

    let file = by_file.with_extension("pub").display().to_string();
    server.paas(&["ssh-keys:add", "by-file", &file]).expect_success().says(&fingerprint(&by_file));
    server.paas_with_input(&["ssh-keys:add", "by-input"], &public_by_input).expect_success();
    server.paas_with_input(&["ssh-keys:add", "by-dash", "-"], &public_by_dash).expect_success();
    run_with_input(server.ssh_command(&server.key()).arg("ssh-keys:add by-ssh"), &public_by_ssh).expect_success();
    // A path names a file of the client's machine, and must not open one of the server's.
    server
        .ssh(&format!("ssh-keys:add other {file}"))
        .expect_code(2)
        .says("is a file of your machine")
        .says("hint: give it on standard input: `ssh ... ssh-keys:add other - <");

    let listed = server.json(&["ssh-keys:list"]);
    let field = |name: &str| -> Vec<&str> {
        listed.as_array().unwrap().iter().map(|key| key[name].as_str().unwrap()).collect()
    };
    assert_eq!(field("name"), ["by-dash", "by-file", "by-input", "by-ssh", "tester"]);
    assert_eq!(
        field("fingerprint"),
        [&by_dash, &by_file, &by_input, &by_ssh, &server.key()].map(|key| fingerprint(key))
    );
    // The comment in a key's file is the client's business.
    assert!(field("public_key").iter().all(|key| key.split(' ').count() == 2));
    assert_eq!(server.paas(&["ssh-keys:list"]).stdout, server.ssh("ssh-keys:list").stdout);
    for key in [&by_file, &by_input, &by_dash, &by_ssh] {
        assert!(logs_in(&server, key), "{}", key.display());
    }

    server.paas(&["ssh-keys:remove", "by-file"]).expect_success().says("by-file may no longer log in");
    server.paas(&["ssh-keys:remove", "--fingerprint", &fingerprint(&by_input)]).expect_success();
    server.ssh("ssh-keys:remove by-dash").expect_success();
    for key in [&by_file, &by_input, &by_dash] {
        assert!(!logs_in(&server, key), "{}", key.display());
    }
    assert!(logs_in(&server, &by_ssh), "a key that stays");
    server.paas(&["ssh-keys:remove", "by-file"]).expect_code(3).says("no SSH key named by-file").says("ssh-keys:list");
    server.paas(&["ssh-keys:remove", "--fingerprint", "SHA256:nope"]).expect_code(3).says("SHA256:nope");
    server.paas(&["ssh-keys:remove"]).expect_code(2);
    server.paas(&["ssh-keys:remove", "by-ssh", "--fingerprint", &fingerprint(&by_ssh)]).expect_code(2);
    assert!(logs_in(&server, &by_ssh), "a key that no command named alone");
}

#[test]
fn what_is_not_one_new_public_key_is_refused_with_the_reason() {
    let server = Server::prepare(&[]);
    let (private, public) = make_key(&server, "other");
    let private_text = std::fs::read_to_string(&private).unwrap();
    let before = server.json(&["ssh-keys:list"]);
    let plain = public.trim();
    let hint = "hint: give the one line of a public key file";
    for (text, reason, hint) in [
        (private_text.as_str(), "this is a private key", "hint: give the public half, the file that ends in .pub"),
        (&format!("command=\"rm -rf /\" {plain}\n"), "options stand before the key", hint),
        (&format!("restrict,pty {plain}\n"), "options stand before the key", hint),
        (&format!("{plain}\n{plain}\n"), "it has several lines", hint),
        ("", "it is empty", hint),
        ("hello, world\n", "it does not begin with a key type", hint),
        ("ssh-ed25519\n", "the key itself is missing", hint),
        (&plain[..plain.len() / 2], "it is damaged", hint),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "it is in the PEM format", hint),
        (&"x".repeat(100_000), "too long", hint),
    ] {
        let ran = server.paas_with_input(&["ssh-keys:add", "other"], text);
        let ran = ran.expect_code(2).says("error: this is ").says(reason).says(hint);
        assert_eq!(ran.stdout, "");
        assert!(!ran.stderr.contains("PRIVATE KEY"), "{ran}");
    }
    let file = private.display().to_string();
    server.paas(&["ssh-keys:add", "other", &file]).expect_code(2).says("this is a private key");
    server.paas(&["ssh-keys:add", "other", "/nonexistent.pub"]).expect_code(2).says("/nonexistent.pub").says("hint: ");
    server.paas(&["ssh-keys:add", "other", "/tmp"]).expect_code(2).says("/tmp").says("hint: ");
    for bad in ["", "a b", "a/b", "a\nb", "-a", &"a".repeat(65)] {
        server.paas_with_input(&["ssh-keys:add", "--", bad], &public).expect_code(2).says("letters, digits");
    }
    assert_eq!(server.json(&["ssh-keys:list"]), before, "a refused key changed something");

    server.paas_with_input(&["ssh-keys:add", "other"], &public).expect_success();
    let (_, third) = make_key(&server, "third");
    let twice = server.paas_with_input(&["ssh-keys:add", "other"], &third).expect_code(4);
    twice.says("other").says("hint: `paas ssh-keys:list`");
    // The same key under another name and with another comment: it says which one that is.
    let again = format!("{} somebody@else\n", plain.split(' ').take(2).collect::<Vec<_>>().join(" "));
    server.paas_with_input(&["ssh-keys:add", "again"], &again).expect_code(4).says("other");
    assert_eq!(server.json(&["ssh-keys:list"]).as_array().unwrap().len(), 2);
}

#[test]
fn the_door_opens_to_a_key_and_to_nothing_else() {
    let mut server = Server::start();
    let host = "paas@127.0.0.1";

    // No password is asked for, in either of the two ways.
    for method in ["password", "keyboard-interactive"] {
        let preferred = format!("-oPreferredAuthentications={method}");
        let ran = run(client(&server, "ssh", &["-oPubkeyAuthentication=no", &preferred]).args([host, "apps:list"]));
        ran.expect_code(255).says("Permission denied (publickey)");
    }
    for user in ["root", "admin", "Paas", "paas "] {
        let ran = run(client(&server, "ssh", &["-l", user]).args(["127.0.0.1", "apps:list"]));
        ran.expect_code(255).says("Permission denied (publickey)");
    }
    run(client(&server, "ssh", &["-l", "git"]).args(["127.0.0.1", "apps:list"])).expect_success();

    // What else a client asks for is refused, and its command runs without.
    let loud = ["-oLogLevel=INFO"];
    let mut x11 = client(&server, "ssh", &loud);
    x11.args(["-Y", host, "apps:list"]).env("DISPLAY", "127.0.0.1:99");
    run(&mut x11).expect_success().says("X11 forwarding request failed");
    let mut agent = server.command("ssh-agent");
    agent.arg("ssh").args(["-v", "-A"]).args(ssh_options(&server.key()));
    agent.args(["-p", &server.port(0).to_string(), host, "apps:list"]);
    let ran = run(&mut agent).expect_success();
    assert!(!ran.stderr.contains("ctype auth-agent@openssh.com"), "a channel to the agent was opened: {ran}");

    // Forwarding, by the requests that -L, -D and -W, -R, and a unix socket's forwarding make.
    let inside = format!("127.0.0.1:{}", server.port(1));
    let ran = run(client(&server, "ssh", &["-W", &inside]).arg(host)).expect_code(255);
    assert_eq!(ran.stdout, "");
    let docker = format!("/tmp/never.sock:{}", docker_socket().display());
    let listener = server.directory.path().join("local.sock");
    let local = format!("{}:{}", listener.display(), docker_socket().display());
    let mut tunnel = client(&server, "ssh", &["-N", "-L", &local]).arg(host).stderr(Stdio::null()).spawn().unwrap();
    server.wait_for("the tunnel's near end", Duration::from_secs(20), || listener.exists());
    let ran =
        run(command("curl").args(["-sS", "--max-time", "20", "--unix-socket"]).arg(&listener).arg("http://d/_ping"));
    tunnel.kill().unwrap();
    tunnel.wait().unwrap();
    assert_eq!(ran.expect_failure().stdout, "");
    for remote in [format!("{}:{inside}", server.port(5)), docker] {
        let ran = run(client(&server, "ssh", &["-N", "-oExitOnForwardFailure=yes", "-R", &remote]).arg(host));
        ran.expect_code(255).says("forwarding failed");
    }

    // Subsystems: sftp is one, and today's scp uses it; the older scp is a command that is not there.
    run(client(&server, "sftp", &["-b", "/dev/null"]).arg(host)).expect_failure().says("subsystem request failed");
    let stolen = server.directory.path().join("stolen");
    let source = format!("{host}:/etc/passwd");
    run(client(&server, "scp", &[]).arg(&source).arg(&stolen)).expect_failure();
    run(client(&server, "scp", &["-O"]).arg(&source).arg(&stolen)).expect_failure();
    assert!(!stolen.exists());
    for command in ["sh", "bash -c id", "cat /etc/passwd", "git-shell", "apps:list; id", "git-upload-pack ../../etc"] {
        let ran = server.ssh(command).expect_failure();
        assert_eq!((ran.stdout.as_str(), ran.code), ("", 2), "{command}: {ran}");
    }

    // The host's own key: made once, for its owner alone.
    let path = server.root().join("ssh_host_ed25519_key");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let scan = |server: &Server| {
        let ran = run(command("ssh-keyscan").args(["-p", &server.port(0).to_string(), "127.0.0.1"]));
        ran.expect_success().stdout
    };
    let before = scan(&server);
    let public = run(command("ssh-keygen").arg("-yf").arg(&path)).expect_success().stdout;
    assert!(before.contains(public.trim()), "{before}{public}");
    server.stop_daemon();
    server.start_daemon();
    assert_eq!(scan(&server), before);
}

#[test]
fn a_client_cannot_say_who_it_is_and_goes_with_its_key() {
    let server = Server::start();
    let (mallory, _) = make_key(&server, "mallory");
    let public = mallory.with_extension("pub").display().to_string();
    server.paas(&["ssh-keys:add", "mallory", &public]).expect_success();

    // Variables that the server itself uses between its processes.
    let lies = "PAAS_ACTOR=local:root PAAS_ROOT=/tmp/elsewhere PAAS_SSH_COMMAND=apps:list GIT_DIR=/tmp/elsewhere";
    let options = [format!("-oSetEnv={lies}"), "-oSendEnv=PAAS_*".to_owned()];
    let repository = server.repository("dockerfile", "web");
    let mut push = repository.git_command(&["push", "paas", "main"]);
    let words: Vec<String> = options.iter().cloned().chain(ssh_options(&mallory)).collect();
    let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    push.env("GIT_SSH_COMMAND", format!("ssh {}", words.join(" "))).env("PAAS_ACTOR", "local:root");
    run(&mut push).expect_success();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let mut set = server.command("ssh");
    set.args(options).args(ssh_options(&mallory)).args(["-p", &server.port(0).to_string()]);
    run(set.args(["paas@127.0.0.1", "config:set web A=1"])).expect_success();
    let deploys = server.json(&["deploys:list", "web"]);
    let actors: Vec<&str> =
        deploys.as_array().unwrap().iter().map(|deploy| deploy["actor"].as_str().unwrap()).collect();
    assert_eq!(actors, ["key:mallory", "key:mallory"]);
    assert!(!Path::new("/tmp/elsewhere").exists());

    let watch = |key: &Path| -> Child {
        let mut command = server.ssh_command(key);
        command.arg("logs web -f").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let (mut hers, mut ours) = (watch(&mallory), watch(&server.key()));
    server.wait_for("both sessions to run", Duration::from_secs(20), || {
        let log = server.daemon_output();
        ["key:mallory", "key:tester"].iter().all(|actor| log.contains(&format!("{actor} runs a command")))
            && sessions(&server) == 2
    });
    server.paas(&["ssh-keys:remove", "mallory"]).expect_success();
    server.wait_for("her session to end", Duration::from_secs(20), || hers.try_wait().unwrap().is_some());
    let ran: Ran = hers.wait_with_output().unwrap().into();
    ran.expect_code(255).says("its key was removed");
    server.wait_for("her command to end on the server", Duration::from_secs(20), || sessions(&server) == 1);
    assert!(ours.try_wait().unwrap().is_none(), "somebody else's session ended, too");
    ours.kill().unwrap();
    ours.wait().unwrap();
    assert!(!logs_in(&server, &mallory));
    // The same key under another name is another key.
    server.paas(&["ssh-keys:add", "reformed", &public]).expect_success();
    assert!(logs_in(&server, &mallory));
}

/// How many processes of the server follow a log for an SSH session.
fn sessions(server: &Server) -> usize {
    let (root, command) = (format!("PAAS_ROOT={}", server.root().display()), "PAAS_SSH_COMMAND=logs web -f");
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| std::fs::read(process.path().join("environ")).ok())
        .map(|environment| String::from_utf8_lossy(&environment).into_owned())
        .filter(|environment| {
            [root.as_str(), command].iter().all(|wanted| environment.split('\0').any(|it| it == *wanted))
        })
        .count()
}
