//! Pushes that fail by the fault of what is pushed: each says what, why and what to type, and changes nothing.

use crate::{
    harness::{Ran, Repository, Server},
    untouched::{Untouched, assert_refused},
};

/// An app of which v1 serves, and a clone to break it from.
struct Served {
    server: Server,
    repository: Repository,
    before: Untouched,
}

impl Served {
    fn start() -> Served {
        let server = Server::start();
        let repository = server.repository("dockerfile", "blog");
        repository.push().expect_success();
        assert!(server.get("blog", "/").body.contains("v1"));
        let before = Untouched::before(&server, &repository, "blog");
        Served { server, repository, before }
    }

    /// Pushes files in place of those of v1.
    fn push(&self, files: &[(&str, &str)]) -> Ran {
        self.repository.git(&["rm", "-qr", "--ignore-unmatch", "."]).expect_success();
        for (path, text) in files {
            self.repository.write(path, text);
        }
        self.repository.commit("broken");
        self.repository.push()
    }

    /// Pushes a fixture in place of v1.
    fn push_fixture(&self, fixture: &str) -> Ran {
        self.repository.become_fixture(fixture).commit(fixture);
        self.repository.push()
    }

    /// Nothing has changed, and the log that is kept says what the pusher was told, once.
    #[track_caller]
    fn unchanged(&self, said: &str) {
        self.before.check(&self.server, &self.repository);
        let deploy = self.server.json(&["deploys:info", "blog"]);
        assert_eq!(deploy["state"], "failed");
        let error = deploy["error"].as_str().unwrap();
        assert!(error.contains(said), "{error:?} does not contain {said:?}");
        let kept = self.server.ssh("deploys:output blog").expect_success().stdout;
        assert_eq!(kept.matches(said).count(), 1, "{said:?} in the log that is kept:\n{kept}");
    }
}

const WITHOUT_CAUSE: &str = "FROM busybox:stable\nCMD [\"httpd\", \"-f\", \"-p\", \"5000\"]\n";

#[test]
fn what_cannot_be_built_changes_nothing() {
    let served = Served::start();

    let pushed = served
        .push_fixture("broken-build")
        .says("       [2/2] RUN echo")
        .says("         error: cannot find the frobnicator");
    let hint = "the lines above come from the builder; fix the failed step and push again";
    let pushed = assert_refused(pushed, "build failed: v1 still serves", hint);
    assert_eq!(pushed.talk().matches("exited with code 3").count(), 1, "{pushed}");
    served.unchanged("exited with code 3");

    let hint = "add one of the files above, or a Dockerfile; `paas plan` shows on your machine what would be built";
    let pushed = served.push_fixture("broken-nothing").says("no buildpack matches this repository");
    assert_refused(
        pushed.says("package.json").says("found: README.md, shopping.txt"),
        "nothing to build: v1 still serves",
        hint,
    );
    served.unchanged("no buildpack matches this repository");

    let said = "Procfile, line 2: \"worker sleep 1000\" has no colon after the process type";
    let pushed = served.push_fixture("broken-procfile");
    assert_refused(pushed, &format!("{said}: v1 still serves"), "write `worker: sleep 1000`");
    served.unchanged(said);

    let said = "paas.toml, line 2: invalid basic string, expected `\"`";
    let hint = "docs/reference.md describes the file; check it on your machine with `paas plan`";
    assert_refused(served.push_fixture("broken-toml"), &format!("{said}: v1 still serves"), hint);
    served.unchanged(said);

    // Nobody listens on port 1: no registry is asked.
    let image = "127.0.0.1:1/no-such-image:1";
    let pushed = served.push(&[("Dockerfile", &format!("FROM {image}\n"))]);
    let said = format!("cannot pull the image {image}");
    let hint = format!("check the image's name, and that this server can reach its registry: `docker pull {image}`");
    assert_refused(pushed, &format!("{said}: v1 still serves"), &hint);
    served.unchanged(&said);
}

#[test]
fn a_script_that_cannot_run_is_named() {
    let served = Served::start();
    let script = "#!/bin/sh\r\nexec httpd -f -p $PORT\r\n";
    let dockerfile = |rest: &str| format!("FROM busybox:stable\nCOPY run /opt/run\nRUN chmod +x /opt/run\n{rest}\n");
    let hint = "write `* text=auto eol=lf` (or `*.sh text eol=lf`) in a file named .gitattributes, then `git add \
                --renormalize .`, commit and push again";
    let flaw = "run has Windows line endings (CRLF), with which it cannot run";
    let mut step = "web.1 exited with code 127, ".to_owned();
    for rest in [
        "CMD [\"/opt/run\"]",
        "ENTRYPOINT [\"/opt/run\"]",
        "CMD exec /opt/run",
        "CMD [\"sh\", \"/opt/run\"]",
        "CMD [\"httpd\", \"-f\", \"-p\", \"5000\"]",
    ] {
        let mut files = vec![("Dockerfile", dockerfile(rest)), ("run", script.to_owned())];
        if rest.contains("httpd") {
            files.push(("Procfile", "release: /opt/run\nweb: httpd -f -p $PORT\n".to_owned()));
            step = "the release command exited with code 127: ".to_owned();
        }
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let pushed = served.push(&files).expect_code(1).says(flaw).says(&format!("hint: {hint}"));
        assert!(rest.contains("sh\"") || pushed.talk().contains(&step), "{rest}: {pushed}");
        served.before.check(&served.server, &served.repository);
    }
    // A step of the build, and a script that another one runs.
    let dockerfile = dockerfile("RUN /opt/run");
    served.push(&[("Dockerfile", &dockerfile), ("run", script)]).expect_code(1).says(flaw).says(hint);
    let dockerfile = "FROM busybox:stable\nCOPY . /app\nRUN chmod +x /app/*\nWORKDIR /app\nCMD [\"/app/start\"]\n";
    let start = "#!/bin/sh\nset -e\n./inner\n";
    served
        .push(&[("Dockerfile", dockerfile), ("start", start), ("inner", script)])
        .expect_code(1)
        .says("inner has Windows line endings (CRLF)");
    served.unchanged("inner has Windows line endings (CRLF)");
}

#[test]
fn what_does_not_start_changes_nothing() {
    let served = Served::start();

    let pushed = served.push_fixture("broken-exit").says("web.1 exited with code 1");
    let pushed = pushed.says("the app needs the variable DATABASE_URL, which is not set");
    let hint = "`paas config:set blog DATABASE_URL=VALUE`, then push again";
    let pushed = assert_refused(pushed, "the app exited: v1 still serves", hint);
    assert_eq!(pushed.talk().matches("fatal: DATABASE_URL is not set").count(), 1, "{pushed}");
    served.unchanged("web.1 exited with code 1");

    let files =
        [("Dockerfile", WITHOUT_CAUSE), ("Procfile", "web: httpd -f -p 5000\nrelease: echo migrating; exit 3\n")];
    let pushed = served.push(&files).says("       migrating").says("the release command exited with code 3");
    assert_refused(pushed, "the release command failed: v1 still serves", "its output is above; fix it and push again");
    served.unchanged("the release command exited with code 3");

    // A file that is no program, to the release command and to the start.
    let no_program = "FROM busybox:stable\nRUN printf '\\177ELF\\002' > /run-it && chmod +x /run-it\n";
    let cause = "the program that it starts is for another processor";
    for rest in ["", "release: /run-it\n"] {
        let web = if rest.is_empty() { "web: /run-it\n" } else { "web: httpd -f -p 5000\n" };
        let files = [("Dockerfile", no_program), ("Procfile", &format!("{web}{rest}") as &str)];
        served.push(&files).expect_code(1).says(cause);
        served.before.check(&served.server, &served.repository);
    }

    // A worker that ends fails the deploy, though web is well.
    let hint = "the process must stay in the foreground; run the same command on your machine, fix it and push again";
    let files = [
        ("Dockerfile", WITHOUT_CAUSE),
        ("Procfile", "web: httpd -f -p 5000\nworker: echo no queue; exit 4\n"),
        ("paas.toml", "[processes.worker]\nscale = 1\n"),
    ];
    let pushed = served.push(&files).says("worker.1 exited with code 4").says("no queue");
    let kept_out = format!("{hint}; a task that is started by hand is kept out by `paas ps:scale APP worker=0`");
    assert_refused(pushed, "the app exited: v1 still serves", &kept_out);
    served.unchanged("worker.1 exited with code 4");

    // A command that is not in the image.
    let files = [("Dockerfile", "FROM busybox:stable\nCMD [\"no-such-program\"]\n")];
    let pushed = served.push(&files).says("no-such-program");
    let pushed = pushed.says("there is no program no-such-program in the image");
    let hint = "add what has it to the dependencies of the app, or correct the command of the process in Procfile, paas.toml or Dockerfile";
    assert_refused(pushed, "the app exited: v1 still serves", hint);
    served.unchanged("web.1 exited with code 127");
}

#[test]
fn what_is_never_healthy_changes_nothing_and_the_hints_are_true() {
    let served = Served::start();
    let timeout = "[checks]\ntimeout = \"2s\"\n";
    let push_fixture = |fixture: &str| {
        served.repository.become_fixture(fixture).write("paas.toml", timeout).commit(fixture);
        served.repository.push()
    };
    let refusal = "the app is not healthy: v1 still serves";

    let said = "web.1 did not become healthy within 2.0 s: GET / answered 500";
    let hint = "make / answer with a status below 500, or set a path that does: `path` under `[checks]` in paas.toml";
    let pushed = assert_refused(push_fixture("broken-health").says(said), refusal, hint);
    assert_eq!(pushed.talk().matches(said).count(), 1, "{pushed}");
    served.unchanged(said);

    let said = "it listens on 127.0.0.1:5000 only, which cannot be reached from outside its container";
    let hint = "listen on 0.0.0.0 and on the port in the variable PORT (5000)";
    assert_refused(push_fixture("broken-loopback"), refusal, hint);
    served.unchanged(said);

    let said = "it listens on port 8765, not on port 5000";
    let hint = "listen on 0.0.0.0 and on the port in the variable PORT (5000), or set the port where it listens, with \
                `port = 8765` in paas.toml or `paas config:set blog PORT=8765 --no-restart`, and push again";
    assert_refused(push_fixture("broken-port"), refusal, hint);
    served.unchanged(said);

    // What the hint says to type, typed.
    served.server.ssh("config:set blog PORT=8765 --no-restart").expect_success();
    served.before.check(&served.server, &served.repository);
    served.repository.push().expect_success().says("=====> http://blog.localhost");
    assert_eq!(served.server.get("blog", "/").status, 404, "this httpd has no files");
    served.server.ssh("config:unset blog PORT --no-restart").expect_success();
    served.repository.write("paas.toml", "port = 8765\n").commit("say the port");
    served.repository.push().expect_success();
}

#[test]
fn a_first_push_that_fails_leaves_an_app_that_says_so() {
    let server = Server::start();
    let repository = server.repository("broken-exit", "blog");
    let hint = "`paas config:set blog DATABASE_URL=VALUE`, then push again";
    assert_refused(repository.push(), "the app exited: nothing was deployed to blog", hint);
    assert_eq!(server.get("blog", "/").status, 503);
    assert_eq!(crate::untouched::heads(&repository), "");
    assert_eq!(crate::untouched::pins(&server, "blog"), "");
    assert_eq!(server.containers(), Vec::<String>::new());
    assert_eq!(server.images(), Vec::<String>::new());
    assert_eq!(server.json(&["apps:info", "blog"])["reason"], "never deployed");
    repository.become_fixture("dockerfile").commit("mended");
    repository.push().expect_success();
    assert_eq!(server.get("blog", "/").status, 200);
}
