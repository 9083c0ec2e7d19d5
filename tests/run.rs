//! `run`, `run:detached` and `enter`: programs in an app's containers, at pipes, at a terminal, by themselves, and what is
//! left of them when something dies.

use std::{
    io::{Read, Write},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    harness::{PAAS, Repository, Server, command, run},
    machine::Machine,
    private_engine::with_private_engine,
    terminals::Typist,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A server with the app `blog`: busybox, a web process, a worker, a secret in its config.
fn site(settings: &[(&str, &str)]) -> (Server, Repository) {
    let server = Server::start_with(settings);
    server.paas(&["apps:create", "blog"]).expect_success();
    server.paas(&["config:set", "blog", "GREETING=hello there", "TOKEN=s3cret-token-value"]).expect_success();
    let repository = server.repository("dockerfile", "blog");
    let procfile = "web: httpd -f -p $PORT -h /www\nworker: echo working as $PAAS_PROCESS; exit 7\n";
    let _ = repository.write("Procfile", procfile).commit("processes");
    repository.push().expect_success();
    (server, repository)
}

/// Runs a command with these bytes on its standard input, and returns what it printed, in bytes.
fn piped(command: &mut Command, input: &[u8]) -> std::process::Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn paas(server: &Server, words: &[&str]) -> Command {
    let mut command = server.command(PAAS);
    command.args(words);
    command
}

fn runs(server: &Server) -> Vec<Value> {
    server.json(&["run:list", "blog"]).as_array().unwrap().clone()
}

/// The newest run.
fn newest(server: &Server) -> Value {
    runs(server).into_iter().next().unwrap()
}

/// The containers of runs that the engine has.
fn containers(server: &Server) -> Vec<String> {
    server.containers().into_iter().filter(|name| name.contains("-run.")).collect()
}

fn spawn(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Reads a child's output until it has said something.
fn hears(child: &mut Child, text: &str) {
    let mut heard = String::new();
    let mut byte = [0];
    while !heard.contains(text) {
        let count = child.stdout.as_mut().unwrap().read(&mut byte).unwrap();
        assert!(count > 0, "{text:?} was not said: {heard:?}");
        heard.push(char::from(byte[0]));
    }
}

#[test]
fn a_program_has_the_image_and_the_config_of_the_release_and_its_exit_code_is_ours() {
    let (server, _repository) = site(&[]);
    let run_in = |words: &[&str]| server.paas(&[&["run", "blog"], words].concat());
    let line = "echo \"$GREETING|$PAAS_APP|$PAAS_RELEASE|$PAAS_PROCESS\"; echo oops >&2; exit 3";
    let ran = run_in(&[line]).expect_code(3);
    assert_eq!(ran.stdout, "hello there|blog|v1|run.1\n");
    assert_eq!(ran.stderr, "oops\n", "a program's own output is all there is");
    // Words are arguments as they are, whatever is in them.
    for words in [&["echo", "$HOME;", "id", "--help"][..], &["echo", "a  b", "`id`", "-e"], &["echo", "--app", "x"]] {
        assert_eq!(run_in(words).expect_success().stdout, format!("{}\n", words[1..].join(" ")));
    }
    for code in [0, 1, 2, 5, 69, 127, 130, 255] {
        run_in(&["sh", "-c", &format!("exit {code}")]).expect_code(code);
    }
    run_in(&["sh", "-c", "kill -9 $$"]).expect_code(137);
    run_in(&["no-such-program"]).expect_code(127);
    // A process type is its line, with more words after it.
    assert_eq!(run_in(&["worker"]).expect_code(7).stdout, format!("working as run.{}\n", runs(&server).len()));
    let given = run_in(&["-e", "GREETING=good bye", "-e", "NEW=a=b\nc", "env"]).expect_success().stdout;
    assert!(given.contains("GREETING=good bye\n") && given.contains("NEW=a=b\nc\n"), "{given}");
    let limit = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true";
    assert_eq!(run_in(&["--memory", "64m", limit]).expect_success().stdout.trim(), "67108864");
    assert_eq!(run_in(&["--size", "32m", limit]).expect_success().stdout.trim(), "33554432");
    run_in(&[]).expect_code(2);
    run_in(&["-e", "PAAS_APP=x", "env"]).expect_code(2);
    run_in(&["--time-limit", "31d", "env"]).expect_code(2);
    server.paas(&["run", "shop", "env"]).expect_code(3);
    server.paas(&["apps:create", "empty"]).expect_success();
    server.paas(&["run", "empty", "env"]).expect_code(3).says("never deployed");

    // Nothing is left, and all is on record, without the secret.
    assert_eq!(containers(&server), Vec::<String>::new());
    run_in(&["echo", "s3cret-token-value"]).expect_success();
    let list = server.paas(&["run:list", "blog", "-n", "100"]).expect_success().stdout;
    assert!(list.contains("echo ********") && !list.contains("s3cret-token-value"), "{list}");
    let all = server.json(&["run:list", "blog", "-n", "100"]);
    let first = all.as_array().unwrap().last().unwrap();
    let events = server.paas(&["events", "--app", "blog", "-n", "200"]).expect_success().stdout;
    assert!(events.contains("run:ended") && events.contains("run.1 ended with exit code 3"), "{events}");
    assert!(!events.contains("s3cret-token-value"), "{events}");
    assert_eq!((&first["run"], &first["state"], &first["exit_code"]), (&1.into(), &"ended".into(), &3.into()));
}

#[test]
fn what_is_piped_in_and_out_is_the_same_bytes() {
    let (server, _repository) = site(&[]);
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for mut command in [paas(&server, &["run", "blog", "cat"]), {
        let mut ssh = server.ssh_command(&server.key());
        ssh.args(["run", "blog", "cat"]);
        ssh
    }] {
        let output = piped(&mut command, &bytes);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout == bytes, "{} of {} bytes", output.stdout.len(), bytes.len());
    }
    // The end of the input is one, and both outputs are apart.
    let output = piped(&mut paas(&server, &["run", "blog", "wc -c; echo apart >&2"]), b"12345");
    assert_eq!((output.stdout, output.stderr), (b"5\n".to_vec(), b"apart\n".to_vec()));

    // Who reads slowly gets all of it, and who reads no more ends it.
    let slow = "head -c 3000000 /dev/zero";
    let mut child = spawn(&mut paas(&server, &["run", "blog", slow]));
    drop(child.stdin.take());
    std::thread::sleep(Duration::from_secs(6));
    let mut read = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut read).unwrap();
    assert_eq!((read.len(), child.wait().unwrap().code()), (3_000_000, Some(0)));
    let mut child = spawn(&mut paas(&server, &["run", "blog", "yes"]));
    hears(&mut child, "y\n");
    drop(child.stdout.take());
    let begun = Instant::now();
    child.wait().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(newest(&server)["end"], "client-gone");
    server.wait_for("the container to go", PATIENCE, || containers(&server).is_empty());
}

#[test]
fn signals_reach_the_program() {
    let (server, _repository) = site(&[]);
    for (signal, code) in [("INT", 42), ("TERM", 43), ("USR1", 44)] {
        let line = "trap 'exit 42' INT; trap 'exit 43' TERM; trap 'exit 44' USR1; echo ready; \
                    while :; do sleep 0.1; done";
        let mut child = spawn(&mut paas(&server, &["run", "blog", line]));
        hears(&mut child, "ready");
        run(command("kill").args([&format!("-{signal}"), &child.id().to_string()])).expect_success();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{signal}");
    }
    // One that takes no signal is killed by the third.
    let mut child = spawn(&mut paas(&server, &["run", "blog", "trap '' INT; echo ready; while :; do sleep 0.1; done"]));
    hears(&mut child, "ready");
    for _ in 0..3 {
        run(command("kill").args(["-INT", &child.id().to_string()])).expect_success();
        std::thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(child.wait().unwrap().code(), Some(137));
}

/// A terminal at which `paas run blog` or `paas enter blog` has a shell: on the server, or by `ssh -t`.
fn shell(server: &Server, over_ssh: bool, words: &[&str]) -> Typist {
    if over_ssh {
        return Typist::over_ssh(server, words);
    }
    Typist::new(paas(server, words))
}

#[test]
fn on_a_terminal_a_program_has_a_terminal_here_and_over_ssh() {
    let (server, _repository) = site(&[]);
    for over_ssh in [false, true] {
        let mut typist = shell(&server, over_ssh, &["run", "blog", "sh"]);
        typist.sees(&server, "-----> run of blog v1");
        typist.types("stty size; echo \"is $TERM\" $((40 + 2)); tty\r");
        typist.sees(&server, "is xterm-256color 42");
        typist.sees(&server, "24 100");
        typist.sees(&server, "/dev/");
        // Ctrl-C is for what runs there, not for us.
        typist.types("sleep 1000\r");
        server.wait_for("the program", PATIENCE, || typist.screen().contains("sleep 1000"));
        std::thread::sleep(Duration::from_millis(500));
        typist.types("\u{3}");
        typist.types("echo code $?\r");
        typist.sees(&server, "code 130");
        typist.resize(50, 132);
        server.wait_for("the new size", PATIENCE, || {
            typist.types("stty size\r");
            std::thread::sleep(Duration::from_millis(200));
            typist.screen().contains("50 132")
        });
        // A byte that the engine's own protocol begins with is only a byte.
        typist.types("printf '\\001\\002\\000'; echo $((80 + 8))after\r");
        typist.sees(&server, "88after");
        typist.types("exit 5\r");
        let (code, shown) = typist.finish();
        assert_eq!(code, Some(5), "{shown}");
    }
    // Ctrl-D ends a shell; a time limit ends what takes too long, and says so.
    let mut typist = shell(&server, true, &["run", "blog", "sh"]);
    typist.sees(&server, "$ ");
    typist.types("\u{4}");
    assert_eq!(typist.finish().0, Some(0));
    let (code, shown) = shell(&server, false, &["run", "--time-limit", "2s", "blog", "sh"]).finish();
    assert_ne!(code, Some(0));
    assert!(shown.contains("reached its time limit"), "{shown}");
    // Pipes even here, if they are asked for.
    let (code, shown) = shell(&server, false, &["run", "-T", "blog", "tty"]).finish();
    assert_eq!((code, shown.contains("not a tty")), (Some(1), true), "{shown}");
    assert_eq!(containers(&server), Vec::<String>::new());
}

#[test]
fn from_a_clone_on_a_laptop_it_is_the_same() {
    let (server, _repository) = site(&[]);
    let machine = Machine::laptop(&server);
    let home = machine.home("ann");
    let clone = home.join("clone");
    run(command("git").args(["init", "-q"]).arg(&clone)).expect_success();
    run(command("git").arg("-C").arg(&clone).args(["remote", "add", "paas", "paas@box:blog"])).expect_success();
    run(machine.command("chown").args(["-R", "ann:ann"]).arg(&home)).expect_success();
    let here = |words: &[&str]| {
        let mut command = machine.command_of("ann", "env");
        command.arg("-C").arg(&clone).arg(machine.paas()).args(words);
        command
    };
    let ran = run(&mut here(&["run", "echo", "--app", "it's $HOME", "a  b"])).expect_success();
    assert_eq!(ran.stdout, "--app it's $HOME a  b\n");
    run(&mut here(&["run", "blog", "-e", "A=$(id) 'x'", "test \"$A\" = \"\\$(id) 'x'\""])).expect_success();
    let output = piped(&mut here(&["run", "cat"]), b"\0\x01\xff\n");
    assert_eq!((output.stdout, output.status.code()), (b"\0\x01\xff\n".to_vec(), Some(0)));
    run(&mut here(&["run", "sh", "-c", "exit 9"])).expect_code(9);
    let mut typist = Typist::new(here(&["run", "sh"]));
    typist.sees(&server, "-----> run of blog");
    typist.types("echo $((40 + 2)); exit 4\r");
    let (code, shown) = typist.finish();
    assert!(code == Some(4) && shown.contains("42"), "{code:?} {shown}");
}

#[test]
fn a_detached_run_goes_on_by_itself_and_is_listed_read_and_stopped() {
    let (server, _repository) = site(&[("PAAS_KEEP_RUNS", "3")]);
    let detached = |words: &[&str]| {
        let ran = server.paas(&[&["run:detached", "blog"], words].concat()).expect_success();
        ran.stdout.trim().to_owned()
    };
    let line = "echo one; echo $TOKEN; echo $GIVEN; sleep 2; echo two >&2; exit 6";
    let label = detached(&["-e", "GIVEN=another-secret-value", line]);
    assert_eq!(label, "run.1");
    let followed = server.paas(&["run:logs", "blog", "-f"]).expect_success().stdout;
    assert_eq!(followed, "one\n********\n********\ntwo\n");
    server.wait_for("its end", PATIENCE, || newest(&server)["state"] == "ended");
    let run = newest(&server);
    assert_eq!((&run["exit_code"], &run["kind"], &run["end"]), (&6.into(), &"detached".into(), &Value::Null), "{run}");
    assert_eq!(server.paas(&["run:logs", "blog", "run.1"]).expect_success().stdout, followed);
    let kept = std::fs::read_to_string(server.root().join("apps/blog/runs/1.log")).unwrap();
    assert!(!kept.contains("secret"), "{kept}");
    assert_eq!(containers(&server), Vec::<String>::new());

    // It is stopped, and ends at its limit, whoever looks.
    let label = detached(&["sleep", "1000"]);
    let table = server.paas(&["run:list", "blog", "--running"]).expect_success().stdout;
    assert!(table.contains(&label) && table.contains("sleep 1000") && !table.contains("run.1 "), "{table}");
    let begun = Instant::now();
    server.paas(&["run:stop", "blog", &label]).expect_success();
    assert!(begun.elapsed() < Duration::from_secs(40));
    let run = newest(&server);
    assert_eq!((&run["end"], &run["exit_code"]), (&"stopped".into(), &143.into()), "{run}");
    detached(&["--time-limit", "1s", "trap '' TERM; while :; do sleep 0.1; done"]);
    server.wait_for("its end", PATIENCE, || newest(&server)["state"] == "ended");
    let run = newest(&server);
    assert_eq!((&run["end"], &run["exit_code"]), (&"time-limit".into(), &137.into()), "{run}");
    server.paas(&["run:stop", "blog", "run.99"]).expect_code(3).says("blog has no run run.99");
    server.paas(&["run:stop", "blog"]).expect_code(2);

    // So many are kept.
    detached(&["true"]);
    server.wait_for("its end", PATIENCE, || newest(&server)["state"] == "ended");
    server.paas(&["cleanup"]).expect_success();
    assert_eq!(runs(&server).len(), 3);
    assert!(!server.root().join("apps/blog/runs/1.log").exists());

    // An app takes its runs with it.
    detached(&["sleep", "1000"]);
    detached(&["sleep", "1000"]);
    server.paas(&["apps:destroy", "blog", "--force"]).expect_success();
    assert_eq!(containers(&server), Vec::<String>::new());
}

#[test]
fn many_at_once_are_bounded() {
    let (server, _repository) = site(&[]);
    server.paas(&["settings:set", "run_concurrency", "4"]).expect_success();
    let mut children: Vec<Child> =
        (0..12).map(|_| spawn(&mut paas(&server, &["run", "blog", "echo ready; sleep 5"]))).collect();
    children.iter_mut().for_each(|child| drop(child.stdin.take()));
    let outputs: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    let done = outputs.iter().filter(|output| output.status.code() == Some(0)).count();
    let refused: Vec<String> = outputs
        .iter()
        .filter(|output| output.status.code() == Some(6))
        .map(|output| String::from_utf8_lossy(&output.stderr).into_owned())
        .collect();
    assert_eq!(done + refused.len(), 12, "{outputs:?}");
    assert!(done >= 4 && !refused.is_empty(), "{done} ran, {} did not", refused.len());
    assert!(
        refused.iter().all(|text| text.contains("4 are the most") && text.contains("run_concurrency")),
        "{refused:?}"
    );
    assert_eq!(containers(&server), Vec::<String>::new());
}

#[test]
fn whoever_dies_the_container_ends_and_the_exit_code_is_on_record() {
    let (mut server, _repository) = site(&[]);
    let line = "echo ready; while :; do sleep 0.2; done";
    let ends_alone = |server: &Server, case: &str| {
        server.wait_for(case, PATIENCE, || newest(server)["state"] == "ended" && containers(server).is_empty());
        let run = newest(server);
        assert_eq!(run["end"], "client-gone", "{case}: {run}");
        assert!(run["exit_code"].is_i64(), "{case}: {run}");
    };
    // The client on the server.
    let mut child = spawn(&mut paas(&server, &["run", "blog", line]));
    hears(&mut child, "ready");
    child.kill().unwrap();
    child.wait().unwrap();
    ends_alone(&server, "the client is killed");
    // The ssh client, at pipes and at a terminal.
    let mut ssh = server.ssh_command(&server.key());
    let mut child = spawn(ssh.args(["run", "blog", &format!("'{line}'")]));
    hears(&mut child, "ready");
    child.kill().unwrap();
    child.wait().unwrap();
    ends_alone(&server, "ssh is killed");
    let mut typist = Typist::over_ssh(&server, &["run", "blog", "sh"]);
    typist.types("echo $((40 + 2))\r");
    typist.sees(&server, "42");
    typist.program.kill().unwrap();
    typist.program.wait().unwrap();
    ends_alone(&server, "ssh -t is killed");
    // The daemon: the program goes on, and its client with it.
    let mut child = spawn(&mut paas(&server, &["run", "blog", "echo ready; read line; echo \"got $line\"; exit 3"]));
    hears(&mut child, "ready");
    let detached = server.paas(&["run:detached", "blog", "sleep 3; exit 4"]).expect_success().stdout;
    server.kill_daemon();
    child.stdin.as_mut().unwrap().write_all(b"it\n").unwrap();
    hears(&mut child, "got it");
    assert_eq!(child.wait().unwrap().code(), Some(3));
    // The daemon and the client: the next daemon ends it, and takes up what ended meanwhile.
    let mut child = spawn(&mut paas(&server, &["run", "blog", line]));
    hears(&mut child, "ready");
    child.kill().unwrap();
    child.wait().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    server.start_daemon();
    ends_alone(&server, "the daemon and the client are killed");
    let all = runs(&server);
    let detached = all.iter().find(|run| detached.trim() == format!("run.{}", run["run"])).unwrap();
    assert_eq!((&detached["exit_code"], &detached["end"]), (&4.into(), &Value::Null), "{detached}");
    // One that was asked to go on does.
    let mut child =
        spawn(&mut paas(&server, &["run", "--keep-running", "blog", "echo ready; sleep 5; echo done; exit 8"]));
    hears(&mut child, "ready");
    child.kill().unwrap();
    child.wait().unwrap();
    server.wait_for("its end", PATIENCE, || newest(&server)["state"] == "ended");
    let run = newest(&server);
    assert_eq!((&run["exit_code"], &run["end"]), (&8.into(), &Value::Null), "{run}");
    assert_eq!(server.paas(&["run:logs", "blog"]).expect_success().stdout, "ready\ndone\n");
}

#[test]
fn when_the_engine_is_killed_runs_end_with_a_code_on_record() {
    with_private_engine("runs::when_the_engine_is_killed_runs_end_with_a_code_on_record", |mut engine| {
        let (server, _repository) = site(&[]);
        let mut child = spawn(&mut paas(&server, &["run", "blog", "echo ready; sleep 1000"]));
        hears(&mut child, "ready");
        let detached = server.paas(&["run:detached", "blog", "sleep 1000"]).expect_success().stdout;
        engine.kill();
        std::thread::sleep(Duration::from_secs(1));
        engine.start();
        server.wait_for("both to be over", PATIENCE, || runs(&server).iter().all(|run| run["state"] == "ended"));
        let code = child.wait().unwrap().code();
        for run in runs(&server) {
            assert!(run["exit_code"].is_i64(), "{detached}: {run}");
        }
        assert_eq!(code, runs(&server).last().unwrap()["exit_code"].as_i64().map(|code| (code & 0xff) as i32));
        assert_eq!(containers(&server), Vec::<String>::new());
        server.paas(&["run", "blog", "true"]).expect_success();
    });
}

#[test]
fn the_image_of_a_run_is_kept_as_long_as_it_is_at_work() {
    let (server, repository) = site(&[("PAAS_KEEP_IMAGES", "1")]);
    let image = server.images();
    let mut child = spawn(&mut paas(&server, &["run", "blog", "echo ready; read line; cat /www/index.html"]));
    hears(&mut child, "ready");
    for page in ["second", "third"] {
        repository.write("www/index.html", page).commit(page);
        repository.push().expect_success();
        crate::untouched::wait_until_over(&server, "blog");
    }
    server.paas(&["cleanup"]).expect_success();
    assert!(image.iter().all(|image| server.images().contains(image)), "{image:?} {:?}", server.images());
    child.stdin.as_mut().unwrap().write_all(b"go on\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(!String::from_utf8_lossy(&output.stdout).contains("third"), "it had the release that served");
    server.paas(&["cleanup"]).expect_success();
    assert_eq!(server.images().len(), 1, "{:?}", server.images());
}

#[test]
fn a_container_is_entered() {
    let (server, _repository) = site(&[]);
    server.paas(&["ps:scale", "blog", "web=2"]).expect_success();
    let enter = |words: &[&str]| server.paas(&[&["enter", "blog"], words].concat());
    assert_eq!(enter(&["sh", "-c", "echo $PAAS_PROCESS"]).expect_success().stdout, "web.1\n");
    assert_eq!(enter(&["web.2", "echo $PAAS_PROCESS"]).expect_success().stdout, "web.2\n");
    assert_eq!(enter(&["web", "echo $PAAS_PROCESS; exit 5"]).expect_code(5).stdout, "web.1\n");
    let ran = server.paas(&["enter", "-e", "A=b c", "blog", "web.1", "env"]).expect_success();
    assert!(ran.stdout.contains("A=b c\n"), "{ran}");
    enter(&["web.7", "true"]).expect_code(3).says("web.1, web.2");
    enter(&["worker", "true"]).expect_code(3);
    enter(&["no-such-program"]).expect_failure();
    let output = piped(&mut paas(&server, &["enter", "blog", "web.1", "cat"]), b"\0\x01\xff");
    assert_eq!((output.stdout, output.status.code()), (b"\0\x01\xff".to_vec(), Some(0)));
    // Without words a shell.
    let output = piped(&mut paas(&server, &["enter", "blog"]), b"echo $((40 + 2)); exit 3\n");
    assert_eq!((output.stdout, output.status.code()), (b"42\n".to_vec(), Some(3)));
    for over_ssh in [false, true] {
        let mut typist = shell(&server, over_ssh, &["enter", "blog"]);
        typist.sees(&server, "-----> enter web.1 of blog v1");
        typist.types("stty size; sleep 1000\r");
        typist.sees(&server, "24 100");
        std::thread::sleep(Duration::from_millis(500));
        typist.types("\u{3}");
        typist.types("exit 6\r");
        let (code, shown) = typist.finish();
        assert_eq!(code, Some(6), "{shown}");
    }

    // Signals reach what runs there, and what runs there ends with whoever was there.
    let begin = |line: &str| {
        let mut child = spawn(&mut paas(&server, &["enter", "blog", "web.1", line]));
        hears(&mut child, "ready");
        child
    };
    let mut child = begin("trap 'exit 44' USR1; echo ready; while :; do sleep 0.1; done");
    run(command("kill").args(["-USR1", &child.id().to_string()])).expect_success();
    assert_eq!(child.wait().unwrap().code(), Some(44));
    let mut child = begin("echo ready; sleep 98765");
    child.kill().unwrap();
    child.wait().unwrap();
    server.wait_for("its end", PATIENCE, || newest(&server)["state"] == "ended");
    assert_eq!(newest(&server)["end"], "client-gone");
    let left = enter(&["web.1", "ps | grep -c '[9]8765'"]);
    assert_eq!(left.stdout, "0\n", "{left}");
    let mut child = begin("echo ready; sleep 98765");
    server.paas(&["run:stop", "blog", "--all"]).expect_success();
    assert_ne!(child.wait().unwrap().code(), Some(0));
    assert_eq!(newest(&server)["end"], "stopped");
    assert_eq!(server.get("blog", "/").status, 200);
    server.paas(&["ps:stop", "blog"]).expect_success();
    enter(&["true"]).expect_code(4);
    // A stopped app can be run in all the same.
    server.paas(&["run", "blog", "true"]).expect_success();
}
