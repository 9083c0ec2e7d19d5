//! What the documents say is true: their commands run, their outputs come out, their examples are read.

use std::{collections::BTreeSet, fs, path::Path};

use regex::Regex;

use crate::harness::{PAAS, Server, command, run, ssh_options};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The fenced blocks below a heading, up to the next: language and text.
fn blocks(document: &str, heading: &str) -> Vec<(String, String)> {
    let (_, section) = document.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let level = format!("\n{} ", heading.split(' ').next().unwrap());
    let section = section.split(&level).next().unwrap();
    let fences: Vec<&str> = section.split("```").collect();
    let inside = fences.iter().skip(1).step_by(2);
    inside.map(|block| block.split_once('\n').unwrap()).map(|(language, text)| (language.into(), text.into())).collect()
}

/// A line without what differs each time: times, commits, ports, and the blanks that git adds.
fn timeless(line: &str) -> String {
    let line = Regex::new(r"(\d+ min \d+|\d+\.\d) s").unwrap().replace_all(line, "N s").into_owned();
    let line = Regex::new(r"\([0-9a-f]{7}\)").unwrap().replace_all(&line, "(COMMIT)").into_owned();
    Regex::new(r"(localhost|127\.0\.0\.1):\d+").unwrap().replace_all(&line, "localhost").trim_end().to_owned()
}

#[test]
fn the_first_app_of_the_readme_is_live_after_its_five_lines() {
    let server = Server::start();
    let section = blocks(&read("README.md"), "## A first app");
    let scripts: Vec<&String> = section.iter().filter(|(language, _)| language == "sh").map(|(_, text)| text).collect();
    let [(_, shown)] = section.iter().filter(|(language, _)| language == "text").collect::<Vec<_>>()[..] else {
        panic!("one output is shown");
    };
    let [first, fetch, further] = scripts[..] else { panic!("there are three blocks of commands") };
    assert_eq!(first.lines().count(), 5);

    let bash = |directory: &Path, script: &str| {
        let mut command = server.command("bash");
        let binaries = Path::new(PAAS).parent().unwrap().display();
        command.env("PATH", format!("{binaries}:{}", std::env::var("PATH").unwrap()));
        command.env("GIT_SSH_COMMAND", format!("ssh {}", ssh_options(&server.key()).join(" ")));
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "Test").env(format!("GIT_{role}_EMAIL"), "test@example.test");
        }
        // The ports of this server are its own.
        let script = script.replace("localhost:2222", &format!("127.0.0.1:{}", server.port(0)));
        let script = script.replace("http://hello.localhost", &format!("http://hello.localhost:{}", server.port(3)));
        run(command.current_dir(directory).args(["-e", "-c", &script])).expect_success()
    };

    let pushed = bash(server.directory.path(), first);
    let mut lines = pushed.stderr.lines().map(timeless);
    for line in shown.lines().filter(|line| *line != "...") {
        let line = timeless(line);
        assert!(lines.any(|other| other == line), "the push does not say, or not in this order, {line:?}:\n{pushed}");
    }
    let clone = server.directory.path().join("hello");
    assert_eq!(bash(&clone, fetch).stdout, "<h1>Hello</h1>\n");
    // A test has no terminal to type at; tests/terminals.rs has.
    let typed = "config:set hello --prompt API_TOKEN";
    assert!(further.contains(typed));
    let ran = bash(&clone, &further.replace(typed, "config:set hello --from-file API_TOKEN=- <<< a-token"));
    for expected in ["release:       v1", "FROM caddy:2", "succeeded  v1"] {
        assert!(ran.stdout.contains(expected), "{expected}: {ran}");
    }
}

#[test]
fn the_examples_of_the_reference_are_read_as_it_says() {
    let files = blocks(&read("docs/reference.md"), "## Files of a repository");
    let [(_, paas_toml), (_, procfile)] = &files[..] else { panic!("there are two examples") };
    let plan = |name: &str, text: &str| -> serde_json::Value {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("apps/web/deploy")).unwrap();
        fs::write(directory.path().join("apps/web/deploy/Dockerfile"), "FROM busybox:stable\n").unwrap();
        fs::write(directory.path().join("Dockerfile"), "FROM busybox:stable\n").unwrap();
        fs::write(directory.path().join(name), text).unwrap();
        let mut command = command(PAAS);
        let ran = run(command.arg("plan").arg(directory.path()).args(["--format", "json"])).expect_success();
        serde_json::from_str(&ran.stdout).unwrap()
    };
    let from_toml = plan("paas.toml", paas_toml);
    assert_eq!(from_toml["port"], 3000);
    assert_eq!(from_toml["dockerfile_path"], "deploy/Dockerfile");
    let web = &from_toml["processes"][0]["run"]["check"];
    assert_eq!(web["timeout_seconds"], 90);
    assert_eq!((&web["probe"]["http"]["status"], &web["probe"]["http"]["text"]), (&204.into(), &"ok".into()));
    let worker = &from_toml["processes"][1];
    assert_eq!((&worker["quantity"], &worker["run"]["memory_mib"]), (&2.into(), &512.into()));
    assert_eq!(worker["run"]["check"]["probe"]["command"], "test -e /tmp/alive");
    let from_procfile = plan("Procfile", procfile);
    for plan in [&from_toml, &from_procfile] {
        assert_eq!(plan["processes"][0]["command"], "bin/server --port $PORT");
        assert_eq!(plan["processes"][1]["command"], "bin/worker");
        assert_eq!(plan["release_command"], "bin/migrate");
    }
}

#[test]
fn every_command_that_is_named_anywhere_exists() {
    let mut commands: BTreeSet<String> = paas::command_names().into_iter().collect();
    // The hidden ones, which the architecture names.
    commands.extend(["edge", "hook", "build-caps", "firewall", "help", "obtain-certificates"].map(str::to_owned));
    // Events of what no command does.
    commands.extend(["certs:obtain", "certs:expiring", "run:ended"].map(str::to_owned));
    let nouns: BTreeSet<&str> = commands.iter().filter_map(|command| Some(command.split_once(':')?.0)).collect();
    // `paas WORD` where it is typed: in backticks, or at the beginning of a line of a block. And NOUN:VERB anywhere.
    let typed = Regex::new(r"(?m)(?:`|^|\$ )paas ([a-z][a-z:-]*)").unwrap();
    let colon = Regex::new(r"\b([a-z][a-z-]*):([a-z][a-z-]*)\b").unwrap();
    let mut named = 0;
    let mut check = |path: &str, text: &str, typed: &Regex| {
        for found in typed.captures_iter(text) {
            assert!(commands.contains(&found[1]), "{path} names `paas {}`, which does not exist", &found[1]);
            named += 1;
        }
        for found in colon.captures_iter(text).filter(|found| nouns.contains(&found[1])) {
            assert!(commands.contains(&found[0]), "{path} names {}, which does not exist", &found[0]);
            named += 1;
        }
    };
    for path in
        ["README.md", "CHANGELOG.md", "docs/architecture.md", "docs/reference.md", "install.sh", "tests/errors.txt"]
    {
        check(path, &read(path), &typed);
    }
    // In the source, hints and help: a line may begin with the words `paas serve` and be prose all the same.
    let typed = Regex::new(r"`paas ([a-z][a-z:-]*)").unwrap();
    for path in source_files(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").as_path()) {
        let text = fs::read_to_string(&path).unwrap();
        // Tests mistype some on purpose.
        check(&path, text.split("#[cfg(test)]\nmod ").next().unwrap(), &typed);
    }
    assert!(named > 100, "only {named} commands were found");
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)#:]+)\)").unwrap();
    for document in ["README.md", "docs/architecture.md", "docs/reference.md", "buildpacks/README.md"] {
        let directory = Path::new(document).parent().unwrap();
        for found in link.captures_iter(&read(document)) {
            let target = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory).join(&found[1]);
            assert!(target.exists(), "{document} links to {}", &found[1]);
        }
    }
}

fn source_files(directory: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(source_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path.display().to_string());
        }
    }
    files
}
