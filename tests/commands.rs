//! The command tree: the same behind each door, with exit codes and output that programs can rely on.

use std::{process::Stdio, time::Duration};

use serde_json::Value;

use crate::{
    harness::{PAAS, Ran, Server, command, run, run_with_input},
    machine::Machine,
};

/// Every command that `paas --help` lists, with what it says of it.
fn listed(help: &str) -> Vec<(String, String)> {
    help.lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("  -"))
        .map(|line| {
            let (name, about) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
            (name.to_owned(), about.trim().to_owned())
        })
        .collect()
}

/// What an object's keys are, in order.
fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn every_command_explains_itself_behind_both_doors() {
    let server = Server::start();
    let help = server.paas(&["--help"]).expect_success();
    assert_eq!(help.stderr, "");
    let commands = listed(&help.stdout);
    assert!(commands.len() > 20, "{commands:?}");
    for hidden in ["hook", "edge"] {
        assert!(!commands.iter().any(|(name, _)| name == hidden), "{hidden} is nobody's to type");
    }
    for (name, about) in &commands {
        assert!(about.len() > 10, "{name}: {about:?}");
        let ran = server.paas(&[name, "--help"]).expect_success();
        assert!(ran.stdout.contains("Usage: paas ") && ran.stderr.is_empty(), "{ran}");
    }
    assert!(server.paas(&["--version"]).expect_success().stdout.starts_with("paas 0."));

    // However somebody asks, a noun and a command have one page each, at each door.
    let ask = |line: &str| {
        let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
        let here = server.paas(&words).expect_success();
        // What begins with a dash would be an option of ssh's.
        for typed in [line.to_owned(), format!("paas {line}")] {
            let there = run(server.ssh_command(&server.key()).args(["--", typed.trim()])).expect_success();
            assert_eq!((&there.stdout, &there.stderr), (&here.stdout, &here.stderr), "{typed}");
        }
        assert_eq!(here.stderr, "", "{line}");
        here.stdout
    };
    for line in ["", "help", "-h", "--help", "help --help"] {
        assert_eq!(ask(line), help.stdout, "{line:?}");
    }
    let page = ask("apps");
    let of_apps: Vec<_> = commands.iter().filter(|(name, _)| name.starts_with("apps:")).cloned().collect();
    assert_eq!(listed(&page), of_apps);
    assert!(page.starts_with("Apps: "), "{page}");
    for line in ["help apps", "apps --help"] {
        assert_eq!(ask(line), page, "{line}");
    }
    let page = ask("apps:create --help");
    assert!(page.contains("Usage: paas apps:create "), "{page}");
    assert_eq!(ask("help apps:create"), page);
    // A noun that is a command is that command, whose page comes by asking.
    assert_eq!(ask("help logs"), ask("logs --help"));

    for (typed, meant) in [
        ("app:list", "'apps:list'"),
        ("apps:crate", "did you mean 'apps:create'"),
        ("apps create", "did you mean 'apps:create'"),
        ("config:sett", "did you mean 'config:set'"),
        ("help apps:crate", "did you mean 'apps:create'"),
        ("list", "did you mean 'apps:list', "),
        ("app", "did you mean 'apps'"),
        ("resolvr", "hint: `paas help` lists the commands"),
    ] {
        let words: Vec<&str> = typed.split(' ').collect();
        let here = server.paas(&words).expect_code(2).says(meant).says("hint: ");
        let there = server.ssh(typed).expect_code(2);
        assert_eq!((&here.stdout, &here.stderr), (&String::new(), &there.stderr), "{typed}");
    }
}

#[test]
fn both_doors_give_the_same_answer_and_the_same_exit_code() {
    let server = Server::start();
    server.ssh("apps:create blog").expect_success();
    server.paas(&["config:set", "blog", "A=1"]).expect_success();
    for (command, code) in [
        ("apps:list", 0),
        ("apps:list --format json", 0),
        ("apps:info blog", 0),
        ("apps:exists blog", 0),
        ("apps:exists nope", 3),
        ("apps:info nope", 3),
        ("apps:info Not_A_Name", 2),
        ("apps:info", 2),
        ("apps:list --colour", 2),
        ("apps:create blog", 4),
        ("apps:create paas", 2),
        ("config:show blog --reveal", 0),
        ("config:get blog A", 0),
        ("config:get blog B", 3),
        ("deploys:list blog", 0),
        ("deploys:info", 3),
        ("deploys:info 99", 3),
        ("deploys:info blog", 3),
        ("deploys:output 99", 3),
        ("deploys:cancel 99", 3),
        ("logs blog -p nope", 0),
        ("logs nope", 3),
        ("ps:restart blog", 3),
        ("ps:stop nope", 3),
        ("ssh-keys:list --format json", 0),
        ("jobs:list", 0),
        ("ssh-keys:remove nope", 3),
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        let (mut here, mut there) = (server.paas(&words), server.ssh(command));
        // A job may begin or end between the two calls. If the first answer comes once more, none did.
        for _ in 0..10 {
            let again = server.paas(&words);
            if again.stdout == here.stdout {
                break;
            }
            (here, there) = (again, server.ssh(command));
        }
        assert_eq!(here.code, code, "{command}: {here}");
        assert_eq!(
            (here.code, &here.stdout, &here.stderr),
            (there.code, &there.stdout, &there.stderr),
            "{command} differs over SSH"
        );
        // Data for the one, talk for the other; an error is no data, and says what to do.
        assert!(code == 0 || here.stdout.is_empty(), "{command}: {here}");
        assert!(
            code == 0 || here.stderr.starts_with("error: ") || command.starts_with("apps:exists"),
            "{command}: {here}"
        );
        assert!(code != 0 || !here.stderr.contains("error"), "{command}: {here}");
    }

    // A client's command line is split as a shell would, and no shell ever sees it.
    let quoted = r#"config:set blog 'A=b c' "B=it's \"x\"" C=\$HOME 'D=$(id);`id`|&' E= --no-restart"#;
    server.ssh(quoted).expect_success();
    for (key, value) in [("A", "b c"), ("B", "it's \"x\""), ("C", "$HOME"), ("D", "$(id);`id`|&"), ("E", "")] {
        assert_eq!(server.json(&["config:get", "blog", key])[key], value);
    }
    server.ssh("config:set blog 'A=open").expect_code(2).says("a quote is not closed");
    server.ssh("  apps:exists   blog  ").expect_success();

    // What is about the server's own machine is typed there.
    let file = server.directory.path().join("config.toml").display().to_string();
    for command in [
        "serve",
        "plan /etc",
        "plan",
        "hook pre-receive",
        "hook proc-receive",
        "edge",
        "completions bash",
        &format!("--config {file} apps:list"),
        &format!("apps:list --config={file}"),
    ] {
        // What begins with a dash would be an option of ssh's.
        let ran = run(server.ssh_command(&server.key()).args(["--", command])).expect_code(2);
        let ran = ran.says("this works on the server itself").says("hint: ");
        assert_eq!(ran.stdout, "", "{command}");
    }

    // A question over SSH is answered over SSH.
    let destroy = |answer| run_with_input(server.ssh_command(&server.key()).arg("apps:destroy blog"), answer);
    destroy("no\n").expect_code(2).says("blog was not destroyed").says("--force");
    destroy("").expect_code(2).says("blog was not destroyed");
    destroy("blog\n").expect_success().says("blog is destroyed");
}

#[test]
fn programs_can_read_what_is_printed() {
    let server = Server::start();
    assert_eq!(server.json(&["apps:list"]), serde_json::json!([]));
    server.repository("dockerfile", "web").push().expect_success();
    server.paas(&["config:set", "web", "A=1"]).expect_success();

    let apps = server.json(&["apps:list"]);
    assert_eq!(keys(&apps[0]), ["app", "created_at", "reason", "release", "since_at", "status", "url"]);
    assert_eq!((&apps[0]["status"], &apps[0]["release"]), (&"live".into(), &2.into()));
    let app = server.json(&["apps:info", "web"]);
    assert_eq!(
        keys(&app),
        [
            "app",
            "commit",
            "containers",
            "created_at",
            "deploy_branch",
            "lock",
            "port",
            "reason",
            "release",
            "since_at",
            "status",
            "url"
        ]
    );
    assert_eq!(keys(&app["containers"][0]), ["address", "command", "container", "reason", "since_at", "status"]);
    assert_eq!((&app["port"], &app["deploy_branch"]), (&3000.into(), &"main".into()));

    let deploys = server.json(&["deploys:list", "web"]);
    let shape = [
        "actor",
        "app",
        "branch",
        "commit",
        "created_at",
        "deploy",
        "error",
        "kind",
        "release",
        "state",
        "took_seconds",
    ];
    assert_eq!(deploys.as_array().unwrap().iter().map(keys).collect::<Vec<_>>(), [shape, shape]);
    let (config, push) = (&deploys[0], &deploys[1]);
    assert_eq!((&push["kind"], &push["state"]), (&"push".into(), &"succeeded".into()));
    assert_eq!((&push["branch"], &push["actor"], &push["release"]), (&"main".into(), &"key:tester".into(), &1.into()));
    assert_eq!(push["commit"].as_str().unwrap().len(), 40);
    assert!(push["error"].is_null() && push["took_seconds"].as_f64().unwrap() > 0.0, "{push}");
    assert_eq!((&config["kind"], &config["branch"]), (&"config".into(), &Value::Null));
    assert_eq!(server.json(&["deploys:list", "web", "-n", "1"]).as_array().unwrap().len(), 1);

    let id = push["deploy"].to_string();
    let info = server.json(&["deploys:info", &id]);
    let states = info["states"].as_array().unwrap();
    assert_eq!(keys(&states[0]), ["after_seconds", "entered_at", "state"]);
    let names: Vec<&str> = states.iter().map(|state| state["state"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["queued", "fetching", "building", "releasing", "starting", "checking", "switching", "draining", "succeeded"]
    );
    for field in shape {
        assert_eq!(info[field], push[field], "{field}");
    }
    assert_eq!(keys(&server.json(&["ssh-keys:list"])[0]), ["added_at", "fingerprint", "name", "public_key", "role"]);

    // A reader that has read enough is nothing to complain about; `head` and `grep -q` do it all day.
    let json = ["apps:list", "--format", "json"];
    for arguments in [&["apps:list"][..], &json, &["--help"], &["config:show", "web"], &["deploys:output", "web"]] {
        let mut child = server.command(PAAS);
        let mut child = child.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ran: Ran = child.wait_with_output().unwrap().into();
        let cut = if arguments[0] == "deploys:output" { 130 } else { 0 };
        assert_eq!((ran.code, ran.stderr.as_str()), (cut, ""), "{arguments:?}");
    }

    // Docker away is another matter than the app's own fault, and the hint says where to look.
    let without = |arguments: &[&str]| {
        run(server.command(PAAS).args(arguments).env("DOCKER_HOST", "unix:///nonexistent/docker.sock"))
    };
    for command in [&["ps:restart", "web"][..], &["logs", "web"], &["config:set", "web", "A=2"]] {
        without(command)
            .expect_code(69)
            .says("Docker does not answer at unix:///nonexistent/docker.sock")
            .says("hint: ");
    }
    without(&["apps:list"]).expect_success();
    assert_eq!(server.get("web", "/").status, 200);
    server.wait_for("the first container to go", Duration::from_secs(60), || server.containers().len() == 1);
}

#[test]
fn a_laptop_has_the_same_commands_in_a_clone_with_a_remote() {
    let server = Server::start();
    server.paas(&["apps:create", "blog"]).expect_success();
    let machine = Machine::laptop(&server);
    let home = machine.home("ann");
    let owned = |path: &std::path::Path| {
        run(machine.command("chown").args(["-R", "ann:ann"]).arg(path)).expect_success();
    };

    let clone = |url: &str| {
        let path = tempfile::tempdir_in(&home).unwrap().keep();
        run(command("git").args(["init", "-q"]).arg(&path)).expect_success();
        run(command("git").arg("-C").arg(&path).args(["remote", "add", "paas", url])).expect_success();
        std::fs::create_dir(path.join("deep")).unwrap();
        owned(&path);
        path
    };
    let by_name = clone("paas@box:blog");
    let by_url = clone("ssh://paas@box/blog");
    let command = |directory: &std::path::Path| {
        let mut command = machine.command_of("ann", "env");
        command.arg("-C").arg(directory).arg(machine.paas());
        command
    };
    for directory in [&by_name, &by_url, &by_url.join("deep")] {
        let ran = run(command(directory).args(["apps:list"])).expect_success();
        assert_eq!(ran.stdout, server.paas(&["apps:list"]).stdout);
    }
    run(command(&by_name).args(["apps:exists", "nope"])).expect_code(3);
    run(command(&by_name).args(["config:set", "blog", "A=it's  \"so\" $HOME"])).expect_success();
    assert_eq!(server.json(&["config:get", "blog", "A"])["A"], "it's  \"so\" $HOME");
    // A line longer than a word for ssh, or a request of it, can be.
    let values = ["B", "C", "D"].map(|key| format!("{key}={}", "'".repeat(90_000)));
    run(command(&by_name).args(["config:set", "blog"]).args(&values)).expect_success();
    assert_eq!(server.json(&["config:get", "blog", "D"])["D"], "'".repeat(90_000));
    // Her files are read on her machine, and all values go there as standard input.
    let exact = "one\r\n'two' \"three\" \\n $HOME\n";
    for (name, text) in [("e", "E=1"), ("f", exact)] {
        std::fs::write(by_name.join(name), text).unwrap();
    }
    let words = ["config:set", "--from-file", "E=e", "G=it's", "--from-file", "F=f", "--stdin", "--quiet"];
    run_with_input(command(&by_name).args(words), "H='a\nb'\n").expect_success();
    let config = server.json(&["config:show", "blog", "--reveal"]);
    assert_eq!((&config["E"], &config["F"]), (&"E=1".into(), &exact.into()));
    assert_eq!((&config["G"], &config["H"]), (&"it's".into(), &"a\nb".into()));
    let words = ["config:set", "--from-file", "I=-", "--format", "json"];
    let ran = run_with_input(command(&by_name).args(words), exact).expect_success();
    assert!(ran.stdout.contains("\"outcome\": \"saved\""), "{ran}");
    assert_eq!(server.json(&["config:get", "blog", "I"])["I"], exact);
    run(command(&by_name).args(["config:set", "--from-file", "J=nope"])).expect_code(2).says("the file for J");
    run(command(&by_name).args(["config:set", "--prompt", "J"])).expect_code(2).says("there is no terminal");
    run_with_input(command(&by_name).args(["apps:destroy", "blog"]), "blog\n")
        .expect_success()
        .says("blog is destroyed");
    // What is about this machine stays on it.
    run(command(&by_name).arg("plan")).expect_code(1).says("no buildpack matches");
    // Elsewhere it says what is missing, and makes nothing.
    run(command(&home).arg("apps:list")).expect_code(3).says("no paas on this machine").says("git remote add paas");
    assert!(!home.join(".local").exists());
}
