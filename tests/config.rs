//! Config: what may be set, what is shown to whom, and what a running app gets of it.

use std::{io::Write, process::Stdio};

use crate::{
    harness::{PAAS, Ran, Repository, Server, command, run, run_with_input},
    machine::Machine,
};

/// A page that says the app's environment, listening where `PORT` says; and an app that ends at once where told to.
const DOCKERFILE: &str = r#"FROM busybox:stable
COPY env.cgi /www/cgi-bin/env
RUN chmod 755 /www/cgi-bin/env
USER 65534
CMD ["sh", "-c", "[ -z \"$CRASH\" ] || { echo told to crash; exit 3; }; exec httpd -f -p \"$PORT\" -h /www"]
"#;
const PAGE: &str = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nenv | grep -v '^REMOTE_PORT='\n";

fn repository(server: &Server) -> Repository {
    let repository = server.empty_repository("web");
    repository.write("Dockerfile", DOCKERFILE).write("env.cgi", PAGE).commit("first");
    repository
}

/// What the running app's environment is.
fn environment(server: &Server) -> String {
    let answer = server.get("web", "/cgi-bin/env");
    assert_eq!(answer.status, 200, "{answer:?}");
    // Each request has a name of its own.
    let lines = answer.body.lines().filter(|line| !line.starts_with("HTTP_X_REQUEST_ID="));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Whether the running app has exactly this variable.
#[track_caller]
fn assert_has(environment: &str, variable: &str) {
    let wanted = format!("\n{variable}\n");
    assert!(format!("\n{environment}").contains(&wanted), "no {variable:?} in\n{environment}");
}

#[test]
fn values_are_kept_whole_and_shown_only_to_who_asks() {
    let server = Server::prepare(&[]);
    server.paas(&["apps:create", "web"]).expect_success();
    assert_eq!(server.paas(&["config:show", "web"]).expect_success().stdout, "");
    assert_eq!(server.json(&["config:show", "web"]), serde_json::json!({}));
    server
        .paas(&["config:get", "web", "A"])
        .expect_code(3)
        .says("web has no config variable A")
        .says("config:show web");

    // Whatever a value is made of, it comes back so: quotes, `=`, blanks at its ends, lines, nothing at all.
    let secret = "correct horse battery staple";
    let values = [
        ("SECRET", secret),
        ("URL", "postgres://u:p=w@h/db?a=b&c=d"),
        ("LINES", "first line\n  second line\n\nlast line"),
        ("BLANKS", "  two before, one after "),
        ("QUOTES", r#"it's "quoted" with $HOME and \n and `id`"#),
        ("EMPTY", ""),
        ("UNICODE", "Grüße, 世界 🚀"),
        ("_UNDERSCORED_9", "-x"),
    ];
    let pairs: Vec<String> = values.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut arguments = vec!["config:set", "web"];
    arguments.extend(pairs.iter().map(String::as_str));
    let ran = server.paas(&arguments).expect_success().says("saved; the next deploy or restart applies it");
    assert!(ran.stdout.is_empty() && !ran.stderr.contains(secret), "{ran}");
    for (key, value) in values {
        assert_eq!(server.paas(&["config:get", "web", key]).expect_success().stdout, format!("{value}\n"));
        assert_eq!(server.json(&["config:get", "web", key]), serde_json::json!({ key: value }));
    }

    let masked = server.paas(&["config:show", "web"]).expect_success().stdout;
    let masked_json = server.json(&["config:show", "web"]);
    for (key, value) in values {
        assert!(masked.contains(key), "{masked}");
        assert_eq!(masked_json[key], "********");
        assert!(value.is_empty() || !masked.contains(value.lines().next().unwrap()), "{key}: {masked}");
    }
    let revealed = server.paas(&["config:show", "web", "--reveal"]).expect_success().stdout;
    assert!(revealed.contains(secret) && revealed.contains("  second line"), "{revealed}");
    let revealed = server.json(&["config:show", "web", "--reveal"]);
    for (key, value) in values {
        assert_eq!(revealed[key], value);
    }

    // Sealed: it is in no file of the instance.
    let files = run(command("grep").args(["-raF", secret]).arg(server.root()));
    assert_eq!((files.code, files.stdout.as_str()), (1, ""), "{files}");

    server.paas(&["config:unset", "web", "EMPTY", "NOPE"]).expect_code(3).says("web has no config variable NOPE");
    assert_eq!(server.json(&["config:get", "web", "EMPTY"])["EMPTY"], "", "unset all or none");
    server.paas(&["config:unset", "web", "EMPTY", "UNICODE"]).expect_success();
    for key in ["EMPTY", "UNICODE"] {
        server.paas(&["config:get", "web", key]).expect_code(3);
    }
    for command in ["config:show nope", "config:get nope A", "config:set nope A=1", "config:unset nope A"] {
        let words: Vec<&str> = command.split(' ').collect();
        server.paas(&words).expect_code(3).says("there is no app named nope").says("hint: ");
    }
}

#[test]
fn what_no_variable_can_be_is_refused_and_nothing_is_set() {
    let server = Server::prepare(&[]);
    server.paas(&["apps:create", "web"]).expect_success();
    for (pair, reason) in [
        ("1A=x", "variable name"),
        ("A B=x", "variable name"),
        ("A-B=x", "variable name"),
        ("=x", "variable name"),
        ("Ä=x", "variable name"),
        ("A\nB=x", "variable name"),
        ("PORT=0", "from 1 to 65535"),
        ("PORT=65536", "from 1 to 65535"),
        ("PORT=http", "from 1 to 65535"),
        ("PORT=", "from 1 to 65535"),
        ("PORT= 80", "from 1 to 65535"),
        ("PAAS_APP=other", "paas sets it itself"),
    ] {
        let ran = server.paas(&["config:set", "web", "GOOD=1", pair]).expect_code(2).says(reason);
        assert_eq!(ran.stdout, "", "{pair:?}");
        assert_eq!(server.json(&["config:show", "web"]), serde_json::json!({}), "{pair:?} left something");
    }
    // What stands where KEY=VALUE should, or a name or a path, may be a secret.
    for words in [
        &["config:set", "web", "hunter2"][..],
        &["config:set", "web", "HUNTER2"],
        &["config:set", "web", "1A=hunter2"],
        &["config:set", "web", "9hunter2=x"],
        &["config:set", "web", "GOOD-hunter2"],
        &["config:set", "web", "PORT=hunter2"],
        &["config:set", "web", "PAAS_APP=hunter2"],
        &["config:set", "web", "A=1", "A=hunter2"],
        &["config:set", "web", "--from-file", "hunter2"],
        &["config:set", "web", "--from-file", "A=hunter2"],
        &["config:set", "web", "--from-file=9hunter2=/dev/null"],
        &["config:set", "web", "--prompt", "9hunter2"],
        &["config:set", "web", "--prompt", "A=hunter2"],
        &["config:get", "web", "9hunter2"],
        &["config:get", "web", "A=hunter2"],
        &["config:unset", "web", "A=hunter2"],
        &["config:unset", "web", "9-hunter2"],
    ] {
        for format in ["text", "json"] {
            let ran = server.paas(&[words, &["--format", format]].concat()).expect_code(2);
            assert!(!ran.stderr.to_lowercase().contains("hunter2") && ran.stdout.is_empty(), "{words:?}: {ran}");
        }
    }
    server.paas(&["config:set", "web", "KEY"]).expect_code(2).says("--prompt").says("--from-file").says("--stdin");
    server.paas(&["config:set", "web"]).expect_code(2);
    server.paas(&["config:get", "web", "A-B"]).expect_code(2);
    server.paas(&["config:unset", "web"]).expect_code(2);
    server.paas(&["config:set", "Web", "A=1"]).expect_code(2).says("app name");
}

#[test]
fn a_running_app_gets_a_change_as_a_release_without_a_build() {
    let server = Server::start();
    let repository = repository(&server);
    server.paas(&["apps:create", "web"]).expect_success();
    server.paas(&["config:set", "web", "GREETING=before the first push"]).expect_success();
    repository.push().expect_success();
    let first = environment(&server);
    for variable in ["GREETING=before the first push", "PORT=5000", "PAAS_APP=web", "PAAS_RELEASE=v1"] {
        assert_has(&first, variable);
    }
    let release = || server.json(&["apps:info", "web"])["release"].as_i64().unwrap();
    let images = server.images();

    // Over SSH, quoted for a shell; two at once are one release.
    let ran = server.ssh(
        r#"config:set web 'GREETING=hello  $USER' "LINES=one
two""#,
    );
    let ran = ran.expect_success().says("v2").says("http://web.localhost");
    assert!(!ran.stderr.contains("hello"), "a value is in the log: {ran}");
    let second = environment(&server);
    for variable in ["GREETING=hello  $USER", "LINES=one\ntwo", "PAAS_RELEASE=v2", "PORT=5000"] {
        assert_has(&second, variable);
    }
    assert_eq!(server.images(), images, "an image was built");
    let deploy = server.json(&["deploys:info", "web"]);
    assert_eq!((deploy["kind"].as_str(), deploy["actor"].as_str()), (Some("config"), Some("key:tester")));
    let states: Vec<&str> =
        deploy["states"].as_array().unwrap().iter().map(|state| state["state"].as_str().unwrap()).collect();
    assert!(states.contains(&"checking") && !states.contains(&"building"), "{states:?}");
    let log = server.paas(&["deploys:output", "web"]).expect_success().stdout;
    assert!(log.contains("config: set GREETING, LINES") && !log.contains("hello"), "{log}");

    // The same value again changes nothing that runs.
    let settled = |what: &str| {
        server.wait_for(what, std::time::Duration::from_secs(60), || server.containers().len() == 1);
        server.containers()
    };
    let before = settled("the old container to go");
    server.paas(&["config:set", "web", "GREETING=hello  $USER"]).expect_success().says("nothing to change");
    assert_eq!((server.containers(), release()), (before.clone(), 2));

    // Neither does what waits for the next release, which then takes up everything.
    server.paas(&["config:set", "web", "LATER=1", "--no-restart"]).expect_success().says("the next deploy");
    server.paas(&["config:unset", "web", "LINES", "--no-restart"]).expect_success().says("the next deploy");
    assert_eq!((server.containers(), release(), environment(&server)), (before.clone(), 2, second));
    server.paas(&["ps:restart", "web"]).expect_success().says("Releasing v3 (restart with what was set since)");
    let third = environment(&server);
    assert_has(&third, "LATER=1");
    assert!(third.contains("GREETING=") && !third.contains("LINES="), "{third}");
    server.paas(&["ps:restart", "web"]).expect_success();
    assert_eq!(release(), 3, "a restart that changes nothing makes no release");
    server.paas(&["config:unset", "web", "GREETING"]).expect_success().says("v4");
    assert!(!environment(&server).contains("GREETING="));

    // PORT is where the app is told to listen, and where the traffic goes.
    server.paas(&["config:set", "web", "PORT=8123"]).expect_success().says("v5");
    assert_has(&environment(&server), "PORT=8123");
    assert_eq!(server.json(&["apps:info", "web"])["port"], 8123);

    // A change that the app does not survive changes nothing, the config neither.
    let before = settled("the old container to go");
    let ran = server.paas(&["config:set", "web", "CRASH=1"]).expect_code(1);
    ran.says("web.1 exited with code 3").says("told to crash").says("hint: ");
    assert_eq!((server.containers(), release()), (before, 5));
    assert_has(&environment(&server), "PORT=8123");
    assert_eq!(server.deploy_state("web"), "failed");
    server.paas(&["config:get", "web", "CRASH"]).expect_code(3);

    // A stopped app is not started by it.
    server.paas(&["ps:stop", "web"]).expect_success();
    server.paas(&["config:set", "web", "ASLEEP=1"]).expect_success().says("the next deploy or restart applies it");
    assert_eq!(server.get("web", "/").status, 503);
}

#[test]
fn what_no_process_could_be_started_with_is_refused_when_it_is_set() {
    let server = Server::start();
    let repository = repository(&server);
    server.paas(&["apps:create", "web"]).expect_success();
    let value = |length: usize| "x".repeat(length);
    // More over ssh than one variable of the environment can hold.
    // Of the client's own words none may be longer than that either, so a value comes in pieces.
    let over_ssh = |words: &[String]| {
        run(server.ssh_command(&server.key()).args(["config:set", "web", "--no-restart"]).args(words))
    };
    let pair = |key: &str, length: usize| format!("{key}={}", value(length));
    over_ssh(&[pair("A", 80_000), pair("B", 80_000), pair("C", 80_000)]).expect_success().says("saved");
    assert_eq!(server.json(&["config:get", "web", "B"])["B"], value(80_000));
    let long = |length: usize| over_ssh(&[format!("LONG='{}", value(60_000)), format!("{}'", value(length - 60_001))]);
    let refused = long(131_067).expect_code(2);
    let refused = refused.says("\"LONG\" is not a valid variable of the config: it has 131072 bytes with its name");
    assert!(!refused.stderr.contains("xxx"), "a value is shown");
    long(131_066).expect_success();

    // As large as can be, and it starts; larger, and it is refused with the sizes.
    let keys: Vec<String> = (10..24).map(|index| format!("V{index}")).collect();
    for pair in keys.chunks(2) {
        let words: Vec<String> = pair.iter().map(|key| format!("{key}={}", value(120_000))).collect();
        over_ssh(&words).expect_success();
    }
    let most = 2_093_056
        - server
            .json(&["config:show", "web", "--reveal"])
            .as_object()
            .unwrap()
            .iter()
            .fold(0, |sum, (key, value)| sum + key.len() + value.as_str().unwrap().len() + 1 + 9);
    let set = |length: usize| server.paas(&["config:set", "web", &format!("LAST={}", value(length)), "--no-restart"]);
    let refused = set(most - 13).expect_code(2).says("2093057 bytes in 19 variables").says("2093056 at most");
    refused.says("the largest here: LONG with 131071, V23 with 120004");
    set(most - 14 - 1000).expect_success();
    repository.push().expect_success();
    assert_eq!(server.get("web", "/index.html").status, 404, "it runs");

    // A release is refused too, where its image or its command is what is too much.
    set(most - 14).expect_success();
    let before = server.json(&["releases:list", "web"]);
    repository.write("Procfile", &format!("web: : {}; exec httpd -f -p $PORT -h /www\n", value(3000))).commit("second");
    repository.push().expect_code(1).says("is not a valid environment").says("2093056 at most");
    assert_eq!(server.json(&["releases:list", "web"]), before);
    // What is too large becomes smaller step by step.
    server.paas(&["config:unset", "web", "LAST", "--no-restart"]).expect_success();
}

#[test]
fn values_are_read_from_files_and_from_standard_input_to_the_byte() {
    let server = Server::start();
    server.paas(&["apps:create", "web"]).expect_success();
    let value = |key: &str| server.json(&["config:get", "web", key])[key].as_str().unwrap().to_owned();
    let (exact, path) = ("-----BEGIN\r\n \"it's\" $HOME\\n\n\u{1f680}\n\n", server.temporary().join("a=b c"));
    std::fs::write(&path, exact).unwrap();
    let named = |key: &str| format!("{key}={}", path.display());

    server.paas(&["config:set", "web", "PLAIN=-", "--from-file", &named("FILE"), "--no-restart"]).expect_success();
    assert_eq!((value("FILE").as_str(), value("PLAIN").as_str()), (exact, "-"));
    server.paas_with_input(&["config:set", "web", "--from-file", "STDIN=-"], exact).expect_success();
    assert_eq!(value("STDIN"), exact);
    // Every kind at once; an env file has its own tests.
    let file = "# mine\nexport E1=\"a\\nb\"\r\nE2='x\ny' # two lines\n\nE3=z  \n";
    server.paas_with_input(&["config:set", "web", "P=1", "--stdin", "--from-file", &named("F")], file).expect_success();
    let found = ["E1", "E2", "E3", "P", "F"].map(value);
    assert_eq!(found, ["a\nb", "x\ny", "z", "1", exact]);
    let long = "x".repeat(120_000);
    server.paas_with_input(&["config:set", "web", "--from-file", "LONG=-"], &long).expect_success();
    assert_eq!(value("LONG"), long);

    // Over ssh: standard input is carried, and the server's files are not to be had.
    let over_ssh = |line: &str, input: &str| run_with_input(server.ssh_command(&server.key()).arg(line), input);
    over_ssh("config:set web --from-file OVER=-", exact).expect_success();
    over_ssh("config:set web --stdin Q=2", "OVER2='a  b'\n").expect_success();
    assert_eq!((value("OVER").as_str(), value("OVER2").as_str(), value("Q").as_str()), (exact, "a  b", "2"));
    over_ssh("config:set web --from-file X=/etc/hostname", "")
        .expect_code(2)
        .says("is on your machine")
        .says("--from-file X=- < FILE");

    for (words, input, said) in [
        (&["--stdin", "--from-file", "A=-"][..], "", "standard input can be used once"),
        (&["--from-file", "A=-", "--from-file", "B=-"], "", "standard input can be used once"),
        (&["--stdin", "--prompt", "A"], "", "standard input can be used once"),
        (&["--prompt", "A"], "secret\n", "there is no terminal to type the value on"),
        (&["--stdin"], "# nothing\n", "the env file sets nothing"),
        (&["--stdin"], "A=1\nB 2\n", "line 2 of the env file: it is not KEY=VALUE"),
        (&["--stdin", "A=1"], "A=2\n", "A is there twice"),
        (&["A=1", "--prompt", "A"], "", "A is there twice"),
        (&["A=1", "A=1"], "", "A is there twice"),
        (&["--from-file", "A=/nonexistent"], "", "cannot read the file for A: No such file"),
        (&["--from-file", "A=/"], "", "cannot read the file for A: is a directory"),
        (&["--from-file", "A="], "", "--from-file takes KEY=PATH"),
        (&["--from-file", "A=/dev/zero"], "", "this is too long"),
        (&["--from-file", "A=-"], "a\0b", "cannot hold a NUL"),
        (&["--from-file", "A=-"], &"x".repeat(140_000), "131071 are the most"),
    ] {
        server.paas_with_input(&[&["config:set", "web"], words].concat(), input).expect_code(2).says(said);
    }
    let mut bytes = server.command(PAAS);
    bytes.args(["config:set", "web", "--from-file", "A=/dev/stdin"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = bytes.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"\xff").unwrap();
    Ran::from(child.wait_with_output().unwrap()).expect_code(2).says("the value of A is not valid UTF-8");
    server.paas(&["config:get", "web", "A"]).expect_code(3);
}

/// Values of every kind that a door, a format or a shell could spoil.
const ODD: [(&str, &str); 9] = [
    ("DOLLAR", "$HOME ${X} $(id) `id` $$"),
    ("QUOTES", "it's \"so\" \\n \\\\ '\"'"),
    ("HASH", "# a #b =c= "),
    ("LINES", "\nfirst\r\n  second\n\nlast"),
    ("TRAILING", "ends\n\n"),
    ("EMPTY", ""),
    ("BLANKS", "\t two before, one after "),
    ("UNICODE", "Gr\u{fc}\u{df}e \u{1f680} \u{a0}\u{feff}"),
    ("JSON", "{\"a\": [1, \"x\"]}"),
];

fn values(server: &Server, app: &str) -> serde_json::Value {
    server.json(&["config:show", app, "--reveal"])
}

#[test]
fn every_door_and_every_format_says_each_value_to_the_byte() {
    let server = Server::start();
    server.paas(&["apps:create", "web"]).expect_success();
    server.paas(&["apps:create", "copy"]).expect_success();
    let wanted = serde_json::json!(std::collections::BTreeMap::from(ODD));
    let encoded = |value: &str| {
        let ran = run_with_input(command("base64").arg("-w20"), value).expect_success();
        ran.stdout
    };
    let clear = |app: &str| server.paas(&["config:clear", app]).expect_success();

    // Each way in: words, base64, an env file, JSON; here, over ssh, from a clone.
    let pairs: Vec<String> = ODD.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let words = |first: &[&str], pairs: &[String]| -> Vec<String> {
        first.iter().map(|word| (*word).to_owned()).chain(pairs.iter().cloned()).collect()
    };
    let here = |words: &[String]| server.paas(&words.iter().map(String::as_str).collect::<Vec<_>>());
    here(&words(&["config:set", "web"], &pairs)).expect_success();
    assert_eq!(values(&server, "web"), wanted);
    clear("web");
    assert_eq!(values(&server, "web"), serde_json::json!({}));
    let base64: Vec<String> = ODD.iter().map(|(key, value)| format!("{key}={}", encoded(value))).collect();
    here(&words(&["config:set", "web", "--encoded"], &base64)).expect_success();
    assert_eq!(values(&server, "web"), wanted);
    for (key, value) in ODD {
        let printed = server.paas(&["config:get", "web", key, "--encoded"]).expect_success().stdout;
        assert_eq!(printed.trim_end(), encoded(value).replace('\n', ""), "{key}");
    }
    clear("web");
    let line = |words: &[String]| shell_words(words);
    server.ssh(&line(&words(&["config:set", "web"], &pairs))).expect_success();
    assert_eq!(values(&server, "web"), wanted);
    clear("web");
    let laptop = Laptop::new(&server);
    let in_clone = |words: &[String], input: &str| run_with_input(laptop.paas(&[]).args(words), input);
    in_clone(&words(&["config:set"], &pairs), "").expect_success();
    assert_eq!(values(&server, "web"), wanted);

    // Each form is read again: by import here, over ssh and from a clone, from a file and from standard input.
    let exported = |format: &str| server.paas(&["config:export", "web", "--format", format]).expect_success().stdout;
    for format in ["envfile", "json", "json-list"] {
        let text = exported(format);
        assert_eq!(server.ssh(&format!("config:export web --format {format}")).expect_success().stdout, text);
        let path = laptop.clone.join("a config");
        std::fs::write(&path, &text).unwrap();
        laptop.own();
        let path = path.to_str().unwrap();
        server.paas(&["config:import", "copy", path]).expect_success();
        assert_eq!(values(&server, "copy"), wanted, "{format}");
        clear("copy");
        server.paas_with_input(&["config:import", "copy"], &text).expect_success();
        assert_eq!(values(&server, "copy"), wanted, "{format}");
        clear("copy");
        run_with_input(server.ssh_command(&server.key()).arg("config:import copy -"), &text).expect_success();
        assert_eq!(values(&server, "copy"), wanted, "{format}");
        clear("copy");
        in_clone(&words(&["--app", "copy", "config:import", path], &[]), "").expect_success();
        assert_eq!(values(&server, "copy"), wanted, "{format}");
        clear("copy");
        in_clone(&words(&["--app", "copy", "config:import"], &[]), &text).expect_success();
        assert_eq!(values(&server, "copy"), wanted, "{format}");
        clear("copy");
    }
    let file = server.ssh(&format!("config:import copy {}", "/etc/hostname")).expect_code(2);
    file.says("is a file of your machine").says("config:import APP < /etc/hostname");

    // And by others: a shell, `docker run`, a tar.
    let assert_all = |environment: &[u8]| {
        let found: Vec<&[u8]> = environment.split(|byte| *byte == 0).collect();
        for (key, value) in ODD {
            assert!(found.contains(&format!("{key}={value}").as_bytes()), "{key}: {found:?}");
        }
    };
    let sh = |script: &str| {
        let mut sh = server.command("sh");
        sh.args(["-ec", script]).env("PAAS", PAAS);
        let ran = sh.output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
        ran.stdout
    };
    assert_all(&sh("eval \"$($PAAS config:export web)\"; export LINES; env -0"));
    assert_all(&sh("eval \"env $($PAAS config:export web --format shell) env -0\""));
    let docker = "eval \"docker run --rm $($PAAS config:export web --format docker-args) busybox:stable cat /proc/self/environ\"";
    assert_all(&sh(docker));
    let refused = server.paas(&["config:export", "web", "--format", "docker-envfile"]).expect_code(2);
    refused.says("docker-envfile cannot say the value of LINES: it has several lines").says("--format docker-args");
    server.paas(&["config:unset", "web", "LINES", "TRAILING"]).expect_success();
    let file = server.temporary().join("docker.env");
    std::fs::write(&file, exported("docker-envfile")).unwrap();
    let script = format!("docker run --rm --env-file {} busybox:stable cat /proc/self/environ", file.display());
    let environment = sh(&script);
    for (key, value) in ODD.iter().filter(|(key, _)| !["LINES", "TRAILING"].contains(key)) {
        let found: Vec<&[u8]> = environment.split(|byte| *byte == 0).collect();
        assert!(found.contains(&format!("{key}={value}").as_bytes()), "{key}");
    }
    server.paas(&["config:import", "web", "--replace"]).expect_code(2).says("the file sets nothing");
    server.paas_with_input(&["config:import", "web", "--replace"], "{\"LINES\": \"a\\nb\\n\"}").expect_success();
    assert_eq!(values(&server, "web"), serde_json::json!({ "LINES": "a\nb\n" }));
    let directory = server.temporary().join("bundle");
    std::fs::create_dir(&directory).unwrap();
    sh(&format!("$PAAS config:bundle web | tar -x -C {}", directory.display()));
    assert_eq!(std::fs::read_to_string(directory.join("LINES")).unwrap(), "a\nb\n");
    assert_eq!(server.paas(&["config:keys", "web"]).expect_success().stdout, "LINES\n");

    // What is wrong is told, and never repeated.
    for (words, input, said) in [
        (&["config:set", "web", "--encoded", "A=hunter2!"][..], "", "the value of A is not base64"),
        (&["config:set", "web", "--encoded", "A=//79"], "", "the value of A is not valid UTF-8"),
        (&["config:import", "web"], "hunter2", "line 1 of the env file: it is not KEY=VALUE"),
        (&["config:import", "web"], "{\"A\": \"hunter2\", \"A\": \"\"}", "A is there twice"),
        (&["config:import", "web"], "{\"A\": {\"hunter2\": 1}}", "the value of A is not a text"),
        (&["config:import", "web", "--format", "json"], "A=hunter2", "it is not JSON"),
        (&["config:import", "web"], "PORT=hunter2", "from 1 to 65535"),
        (&["config:export", "web", "--format", "yaml"], "", "not a valid format"),
        (&["config:set", "A=hunter2"], "", "no app is known here"),
        (&["config:set", "web", "--restart", "A=hunter2"], "", "--restart goes with --global"),
        (&["config:unset", "web"], "", "no variable is named"),
        (&["config:get", "web"], "", "the name of one variable"),
    ] {
        let ran = server.paas_with_input(words, input).expect_code(2).says(said);
        assert!(!ran.stderr.contains("hunter2") && ran.stdout.is_empty(), "{words:?}: {ran}");
    }
    assert_eq!(values(&server, "web"), serde_json::json!({ "LINES": "a\nb\n" }));
}

/// A machine with no instance, whose user ann has a clone of the app `web`.
struct Laptop {
    machine: Machine,
    clone: std::path::PathBuf,
}

impl Laptop {
    fn new(server: &Server) -> Laptop {
        let machine = Machine::laptop(server);
        let home = machine.home("ann");
        let clone = home.join("clone");
        run(command("git").args(["init", "-q"]).arg(&clone)).expect_success();
        run(command("git").arg("-C").arg(&clone).args(["remote", "add", "paas", "paas@box:web"])).expect_success();
        let laptop = Laptop { machine, clone };
        laptop.own();
        laptop
    }

    /// Gives ann all that is in her home.
    fn own(&self) {
        run(self.machine.command("chown").args(["-R", "ann:ann"]).arg(self.machine.home("ann"))).expect_success();
    }

    /// `paas` in the clone, with variables before it.
    fn paas(&self, variables: &[&str]) -> std::process::Command {
        let mut command = self.machine.command_of("ann", "env");
        command.arg("-C").arg(&self.clone).args(variables).arg(self.machine.paas());
        command
    }
}

/// Words as a line for the server, which takes one layer of quotes away.
fn shell_words(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
    quoted.join(" ")
}

#[test]
fn the_nearest_scope_wins_and_what_is_set_for_all_restarts_nobody_unless_told() {
    let server = Server::start();
    let repository = repository(&server);
    server.paas(&["apps:create", "web"]).expect_success();
    server.paas(&["apps:create", "idle"]).expect_success();
    server.paas(&["config:set", "--global", "REGION=north", "SHARED=all"]).expect_success().says("saved");
    server.paas(&["config:set", "web", "SHARED=mine"]).expect_success();
    repository.push().expect_success();
    let first = environment(&server);
    assert_has(&first, "REGION=north");
    assert_has(&first, "SHARED=mine");
    let release = || server.json(&["apps:info", "web"])["release"].as_i64().unwrap();

    // Where each comes from is shown, and nobody's value without being asked for.
    assert_eq!(server.json(&["config:show", "web"]), serde_json::json!({ "SHARED": "********" }));
    assert_eq!(
        server.json(&["config:show", "web", "--merged", "--reveal"]),
        serde_json::json!({
            "REGION": { "value": "north", "scope": "global" }, "SHARED": { "value": "mine", "scope": "app" }
        })
    );
    assert_eq!(server.json(&["config:show", "--global", "--reveal"])["SHARED"], "all");
    assert_eq!(server.paas(&["config:keys", "web", "--merged"]).expect_success().stdout, "REGION\nSHARED\n");
    let hint = server.paas(&["config:get", "web", "REGION"]).expect_code(2).says("it is set for all apps");
    hint.says("--merged");
    assert_eq!(server.paas(&["config:get", "web", "REGION", "--merged"]).expect_success().stdout, "north\n");
    let export = server.paas(&["config:export", "web", "--merged"]).expect_success().stdout;
    assert_eq!(export, "export REGION='north'\nexport SHARED='mine'\n");

    // A change for all is pending where it is one.
    let pending = || {
        let report = server.json(&["config:report", "web"]);
        let pending = report[0]["pending"].as_array().unwrap().iter();
        pending
            .map(|one| format!("{}:{}", one["key"].as_str().unwrap(), one["scope"].as_str().unwrap()))
            .collect::<Vec<_>>()
    };
    assert!(pending().is_empty());
    server.paas(&["config:set", "--global", "SHARED=other"]).expect_success();
    assert!(pending().is_empty(), "its own goes before");
    let before = server.containers();
    let said = server.paas(&["config:set", "--global", "REGION=south"]).expect_success();
    let said = said.says("the next deploy or restart applies it to web");
    assert!(!said.stderr.contains("idle"), "{said}");
    server.paas(&["config:set", "web", "LATER=1", "--no-restart"]).expect_success();
    assert_eq!((pending(), release()), (vec!["LATER:app".to_owned(), "REGION:global".to_owned()], 1));
    let table = server.paas(&["config:report"]).expect_success().stdout;
    assert!(table.contains("LATER, REGION (global)") && table.contains("idle"), "{table}");
    assert_eq!((server.containers(), environment(&server)), (before, first));
    server.paas(&["config:set", "--global", "REGION=south", "--restart"]).expect_success().says("Restarting web");
    assert_has(&environment(&server), "REGION=south");
    assert_has(&environment(&server), "LATER=1");
    assert!(pending().is_empty() && release() == 2);

    // An app's own that says the same is saved, and changes nothing that runs.
    server.paas(&["config:set", "web", "REGION=south"]).expect_success().says("saved");
    assert_eq!(release(), 2);
    server.paas(&["config:unset", "web", "REGION"]).expect_success().says("saved");

    // A rollback brings back what is the app's; what is set for all is not.
    server.paas(&["releases:rollback", "web", "v1"]).expect_success();
    let third = environment(&server);
    assert_has(&third, "REGION=south");
    assert_has(&third, "SHARED=mine");
    assert!(!third.contains("LATER="), "{third}");
    assert_eq!(values(&server, "web"), serde_json::json!({ "SHARED": "mine" }));

    // Gone for all; and what is not there is told.
    server.paas(&["config:unset", "--global", "NOPE"]).expect_code(3).says("there is no config variable NOPE");
    server.paas(&["config:clear", "--global", "--restart"]).expect_success();
    assert!(!environment(&server).contains("REGION="));
    assert_eq!(server.json(&["config:show", "--global"]), serde_json::json!({}));
    server.paas(&["config:clear", "--global"]).expect_success().says("nothing to change");
    let events = server.json(&["events", "--action", "config"]);
    let said = events.to_string();
    assert!(said.contains("config:clear") && said.contains("config: set REGION"), "{said}");
    assert!(!said.contains("south") && !said.contains("mine"), "{said}");
}

#[test]
fn of_many_changes_at_once_each_lands_or_is_told() {
    let server = Server::start();
    server.paas(&["apps:create", "web"]).expect_success();
    let laptop = Laptop::new(&server);
    let spawn = |index: usize| {
        let pair = format!("KEY_{index}={index}");
        let mut changing = match index % 4 {
            0 => server.command(PAAS),
            1 => laptop.paas(&[]),
            _ => server.ssh_command(&server.key()),
        };
        let scope: &[&str] = if index.is_multiple_of(3) { &["--global"] } else { &["--no-restart", "web"] };
        changing.arg("config:set").args(scope).arg(&pair).stdin(Stdio::null());
        changing.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let all: Vec<_> = (0..16).map(spawn).collect();
    let codes: Vec<i32> = all.into_iter().map(|child| Ran::from(child.wait_with_output().unwrap()).code).collect();
    let config = server.json(&["config:show", "web", "--merged", "--reveal"]);
    for (index, code) in codes.iter().enumerate() {
        let value = config[format!("KEY_{index}")]["value"].as_str();
        match code {
            0 => assert_eq!(value, Some(&*index.to_string()), "{index} was said to be set"),
            6 => assert_eq!(value, None, "{index} was refused"),
            code => panic!("{index} ended with {code}"),
        }
    }
    assert!(codes.contains(&0), "{codes:?}");
}

#[test]
fn an_editor_changes_all_at_once_wherever_it_is_typed() {
    let server = Server::start();
    server.paas(&["apps:create", "web"]).expect_success();
    server.paas(&["config:set", "web", "KEEP=it's $1", "CHANGE=old", "GO=hunter2"]).expect_success();
    let laptop = Laptop::new(&server);
    let seen = laptop.clone.join("seen");
    std::fs::write(&seen, "").unwrap();
    run(command("chmod").arg("666").arg(&seen)).expect_success();
    let editor = |name: &str, script: &str| {
        let path = laptop.clone.join(name);
        let text = format!("#!/bin/sh\nset -e\nfor word; do echo \"$word\"; done >> {}\n{script}\n", seen.display());
        std::fs::write(&path, text).unwrap();
        run(command("chmod").arg("755").arg(&path)).expect_success();
        laptop.own();
        path.display().to_string()
    };
    let here = |editor: &str, words: &[&str]| {
        let mut paas = server.command(PAAS);
        run(paas.env("EDITOR", editor).args(["config:edit"]).args(words))
    };
    let there = |editor: &str| run(laptop.paas(&[&format!("EDITOR={editor}")]).arg("config:edit"));
    // The files that the editors were given, and the directories they were in, are gone.
    let assert_gone = || {
        let seen = std::fs::read_to_string(&seen).unwrap();
        let directories: Vec<_> = seen
            .lines()
            .filter(|word| word.ends_with("/config.env"))
            .map(|file| file.rsplit_once('/').unwrap().0)
            .collect();
        assert!(!directories.is_empty());
        directories.iter().for_each(|directory| assert!(!std::path::Path::new(directory).exists(), "{directory}"));
    };

    // The text is the user's alone, and the words for the editor may have options.
    let change = "test \"$(stat -c %a \"$1\")$(stat -c %a \"$(dirname \"$1\")\")\" = 600700
        grep -q GO \"$1\"
        sed -i -e 's/^CHANGE=.*/CHANGE=\"two\\nlines\"/' -e '/^GO=/d' \"$1\"; echo NEW= >> \"$1\"";
    let ran = there(&editor("change", change)).expect_success().says("saved");
    assert!(!ran.stderr.contains("hunter2"), "{ran}");
    let wanted = serde_json::json!({ "KEEP": "it's $1", "CHANGE": "two\nlines", "NEW": "" });
    assert_eq!(values(&server, "web"), wanted);
    here(&editor("add", "printf 'B=b\\n' >> \"$2\"").replace("add", "add --wait"), &["web"]).expect_success();
    assert_eq!(values(&server, "web")["B"], "b");
    server.paas(&["config:unset", "web", "B"]).expect_success();

    // What changes nothing, what fails and what cannot be read leave all as it was.
    let events = server.json(&["events"]);
    for (script, code, said) in [
        ("true", 0, "nothing to change"),
        ("touch \"$1\"; echo '# a remark' >> \"$1\"", 0, "nothing to change"),
        ("exit 3", 2, "the editor failed"),
        ("echo hunter2 >> \"$1\"", 2, "it is not KEY=VALUE"),
        ("echo KEEP=hunter2 >> \"$1\"", 2, "its variable is there twice"),
        ("kill -TERM $PPID; exec sleep 60", 130, ""),
    ] {
        let path = editor("odd", script);
        for ran in [here(&path, &["web"]), there(&path)] {
            assert!(!ran.stderr.contains("hunter2"), "{ran}");
            ran.expect_code(code).says(said);
        }
    }
    assert_eq!((values(&server, "web"), server.json(&["events"])), (wanted.clone(), events));
    assert_gone();

    // Who comes second is told, and what is set for all is edited alike.
    let meanwhile = format!(
        "PAAS_ROOT={} PAAS_CONFIG={} {PAAS} config:set web OTHER=1; echo LATE=1 >> \"$1\"",
        server.root().display(),
        server.directory.path().join("config.toml").display()
    );
    here(&editor("meanwhile", &meanwhile), &["web"]).expect_code(6).says("web was changed meanwhile");
    assert_eq!(values(&server, "web")["LATE"], serde_json::Value::Null);
    assert_eq!(values(&server, "web")["OTHER"], "1");
    here(&editor("global", "echo ALL=1 >> \"$1\""), &["--global"]).expect_success();
    assert_eq!(server.json(&["config:show", "--global", "--reveal"])["ALL"], "1");
    // Nothing left is nothing set.
    here(&editor("empty", ": > \"$1\""), &["web"]).expect_success();
    assert_eq!(values(&server, "web"), serde_json::json!({}));
    server.ssh("config:edit web").expect_code(2).says("config:import APP --replace");
    assert_gone();
}

#[test]
fn what_the_source_asks_for_is_suggested_with_the_reason() {
    let server = Server::start();
    let repository = repository(&server);
    repository
        .write(".env.example", "# The shop's door.\nSHOP_URL=https://hunter2\nSECRET_KEY=\nSET=1\nPORT=3000\nCLIENT_SECRET=\n")
        .write("app.json", r#"{"env": {"TOKEN": {"description": "for the bank", "required": false}, "SALT": {"generator": "secret", "required": false}}}"#)
        .commit("example");
    server.paas(&["apps:create", "web"]).expect_success();
    server.paas(&["config:suggest", "web"]).expect_code(3);
    server.paas(&["config:set", "--global", "SET=x"]).expect_success();
    repository.push().expect_success();
    // app.json makes up its own at the deploy.
    let config = server.json(&["config:show", "web", "--reveal"]);
    assert_eq!(config["SALT"].as_str().unwrap().len(), 64);
    let ran = server.paas(&["config:suggest", "web"]).expect_success();
    assert!(!ran.stdout.contains("hunter2") && !ran.stderr.contains("hunter2"), "{ran}");
    let suggested = server.json(&["config:suggest", "web"]);
    let suggested: Vec<(&str, bool, &str)> = suggested
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["key"].as_str().unwrap(), it["generated"] == true, it["why"][0].as_str().unwrap()))
        .collect();
    assert_eq!(
        suggested,
        [
            ("CLIENT_SECRET", false, ".env.example names it"),
            ("SECRET_KEY", true, ".env.example names it"),
            ("SHOP_URL", false, ".env.example names it: The shop's door."),
            ("TOKEN", false, "app.json names it: for the bank"),
        ]
    );

    let ran = server.paas(&["config:suggest", "web", "--generate"]).expect_success().says("made up: SECRET_KEY");
    let config = server.json(&["config:show", "web", "--reveal"]);
    let secret = config["SECRET_KEY"].as_str().unwrap();
    assert!(secret.len() == 64 && !ran.stderr.contains(secret) && config.get("TOKEN").is_none(), "{ran}");
    assert_has(&environment(&server), &format!("SECRET_KEY={secret}"));
    server.paas(&["config:suggest", "web", "--generate"]).expect_success().says("there is none to make up");
    assert_eq!(server.json(&["config:show", "web", "--reveal"]), config);
}

/// The lines of the guide that are commands of ours: in blocks of code, and in the first cells of tables.
#[test]
fn the_commands_of_the_guide_work() {
    let server = Server::start();
    let repository = repository(&server);
    server.paas(&["apps:create", "blog"]).expect_success();
    repository.git(&["remote", "set-url", "paas", &format!("ssh://paas@127.0.0.1:{}/blog", server.port(0))]);
    repository.push().expect_success();
    let directory = server.temporary().join("guide");
    std::fs::create_dir_all(directory.join("DIR")).unwrap();
    std::fs::write(directory.join(".env"), "A=1\nC='x y'\n").unwrap();
    std::fs::write(directory.join("key.pem"), "-----BEGIN\nkey\n").unwrap();
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/config.md")).unwrap();
    let cells = guide.lines().filter_map(|line| line.strip_prefix("| `")?.split("` | ").next().map(str::to_owned));
    let blocks = guide.split("```").skip(1).step_by(2).flat_map(str::lines).map(str::to_owned);
    let typed: Vec<String> = cells.chain(blocks).filter(|line| line.contains("paas config:")).collect();
    assert!(typed.len() > 18, "{typed:?}");
    for line in typed {
        // A terminal has a test of its own.
        if line.contains("--prompt") {
            continue;
        }
        let line = line.replace("\\|", "|").replace("IMAGE", "busybox:stable true").replace("bin/console", "true");
        let mut sh = server.command("bash");
        sh.args(["-ec", &format!("paas() {{ {PAAS} \"$@\"; }}\n{line}")]).env("EDITOR", "true");
        run(sh.current_dir(&directory)).expect_success();
    }
    assert_eq!(std::fs::read_to_string(directory.join("DIR/C")).unwrap(), "x y");
}
