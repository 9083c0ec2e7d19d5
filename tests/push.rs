//! Pushes: each kind of project becomes an app that answers, the log says what happens, and what is no deploy is
//! refused with the command that helps.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use regex::Regex;

use crate::harness::{Ran, Repository, Server, command, docker, run};

/// For what takes as long as the machine is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A time as a log has it, however long it took.
const TIME: &str = r"(?:\d+ min \d+|\d+\.\d) s";

// ---- the fixtures ---------------------------------------------------------------------------------------------------

#[test]
fn a_node_app_with_packages() {
    let server = Server::start();
    let container = two_versions(&server, "node-express", "server.js", "Hello from Express v1\n");
    assert_runs_alone_and_unprivileged(&container, "node server.js");
    assert_image_holds(&container, "server.js");
    server.paas(&["config:set", "node-express", "GREETING=hello"]).expect_success();
    server.wait_for("the new config", PATIENCE, || {
        server.get("node-express", "/env").body == r#"{"GREETING":"hello","NODE_ENV":"production","PORT":"5000"}"#
    });
}

#[test]
fn a_python_app_with_packages() {
    let server = Server::start();
    let container = two_versions(&server, "python-flask", "app.py", "Hello from Flask v1\n");
    let processes = processes(&container);
    assert!(processes[1].1.contains("gunicorn app:app --bind 0.0.0.0:5000"), "{processes:?}");
    assert!(processes.iter().all(|(user, _)| user != "0"), "{processes:?}");
    assert!(!processes[1..].iter().any(|(_, command)| command.contains("/sh")), "{processes:?}");
    assert_image_holds(&container, "app.py");
    assert!(server.get("python-flask", "/env").body.contains("\"PORT\":\"5000\""));
}

#[test]
fn a_go_app_with_a_module() {
    let server = Server::start();
    let container = two_versions(&server, "go-module", "main.go", "Hello from Go v1, instance ");
    assert_runs_alone_and_unprivileged(&container, "/app/bin/web");
}

#[test]
fn a_static_site() {
    let server = Server::start();
    let container = two_versions(&server, "static-site", "index.html", "Hello from a static site, v1.");
    assert_runs_alone_and_unprivileged(&container, "/usr/local/bin/caddy run");
    assert_image_holds(&container, "index.html");
    assert!(server.get("static-site", "/guide/").body.contains("A page in a folder of its own."));
    assert!(server.get("static-site", "/css/style.css").head.contains("text/css"));
    let missing = server.get("static-site", "/nothing");
    assert_eq!(missing.status, 404);
    assert!(missing.body.contains("This page is the site's own."), "{}", missing.body);
}

#[test]
fn a_directory_is_deployed_without_the_rest() {
    let server = Server::start();
    let repository = server.empty_repository("site");
    repository.write("web/index.html", "first\n").write("web/a.txt", "a\n").write("api/package.json", "{}");
    repository.write(
        "web/Dockerfile",
        "FROM busybox:stable\nCOPY . /srv\nCMD [\"httpd\", \"-f\", \"-p\", \"5000\", \"-h\", \"/srv\"]\n",
    );
    repository.commit("two directories");
    let refused = repository.push().expect_failure();
    assert!(refused.talk().contains("directory = \"web\"` under [build] in paas.toml"), "{refused}");
    repository.write("paas.toml", "[build]\ndirectory = \"web\"\n").commit("one of them");
    let pushed = repository.push().expect_success();
    assert!(pushed.talk().contains("Directory: web, set in paas.toml"), "{pushed}");
    assert_eq!(server.get("site", "/").body, "first\n");
    let there = run(docker().args(["exec", &container_of(&server, "web"), "ls", "/srv"])).expect_success();
    assert_eq!(there.stdout, "Dockerfile\na.txt\nindex.html\n");
}

#[test]
fn a_web_process_and_a_worker() {
    let server = Server::start();
    let repository = server.repository("web-worker", "web-worker");
    repository.push().expect_success();
    assert_eq!(server.get("web-worker", "/").body, "Hello from web v1\n");

    let info = server.json(&["apps:info", "web-worker"]);
    let running: Vec<(&str, &str, &str)> = info["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|process| {
            let text = |key: &str| process[key].as_str().unwrap();
            (text("container"), text("status"), text("command"))
        })
        .collect();
    assert_eq!(running, [("web.1", "live", "node web.js"), ("worker.1", "live", "node worker.js")]);
    for (process, command) in [("web", "node web.js"), ("worker", "node worker.js")] {
        let container = container_of(&server, process);
        assert_runs_alone_and_unprivileged(&container, command);
        let environment = run(docker().args(["inspect", "--format", "{{join .Config.Env \"\\n\"}}", &container]));
        assert!(environment.stdout.lines().any(|line| line == "PORT=5000"), "{environment}");
    }

    let logs = |arguments: &[&str]| {
        let ran = server.paas(&[&["logs", "web-worker"], arguments].concat()).expect_success();
        ran.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    server.wait_for("a job", PATIENCE, || logs(&[]).iter().any(|line| line.ends_with("worker v1: job 2 done")));
    let line = Regex::new(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z app\[(web|worker)\.1\]: .+$").unwrap();
    assert!(logs(&[]).iter().all(|text| line.is_match(text)), "{:?}", logs(&[]));
    assert!(logs(&[]).iter().any(|text| text.ends_with("app[web.1]: GET /")));
    assert!(logs(&["-p", "worker"]).iter().all(|text| text.contains(" app[worker.1]: worker v1: ")));
    assert!(logs(&["-p", "web"]).iter().all(|text| text.contains(" app[web.1]: ")));
    assert_eq!(logs(&["-n", "2"]).len(), 2);
    assert_eq!(server.ssh("logs web-worker -p web -n 1").expect_success().stdout.lines().count(), 1);

    // Somebody who follows the log over SSH sees it go on across a deploy.
    let mut follower = server
        .ssh_command(&server.key())
        .arg("logs web-worker -f -n 1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let followed = gather(follower.stdout.take().unwrap());
    server.wait_for("the followed log", PATIENCE, || followed.lock().unwrap().contains("worker v1: job"));

    repository.replace("web.js", "v1", "v2").replace("worker.js", "v1", "v2").commit("second");
    repository.push().expect_success();
    server.wait_for("the followed log of the second release", PATIENCE, || {
        let followed = followed.lock().unwrap();
        followed.contains("worker v2: started") && followed.contains("worker v2: job 2 done")
    });
    follower.kill().unwrap();
    follower.wait().unwrap();
    server.wait_for("the old containers to go", PATIENCE, || server.containers().len() == 2);
    assert_eq!(server.get("web-worker", "/").body, "Hello from web v2\n");

    // What the first containers said is still there, up to their last word.
    let worker = logs(&["-p", "worker", "-n", "1000"]);
    let place = |text: &str| worker.iter().position(|line| line.contains(text));
    let said = [place("worker v1: started"), place("worker v1: stopped after"), place("worker v2: job 1 done")];
    assert!(said.iter().all(Option::is_some) && said[0] < said[1], "{said:?}: {worker:#?}");
    assert_eq!(worker.iter().filter(|line| line.contains("worker v1: started")).count(), 1);
    assert!(logs(&["-p", "web", "-n", "1000"]).iter().any(|line| line.ends_with("app[web.1]: GET /")));
    server.paas(&["logs", "nothing"]).expect_code(3);
}

#[test]
fn a_dockerfile_and_what_its_push_says() {
    let server = Server::start();
    let repository = server.repository("dockerfile", "blog");
    repository
        .write(".dockerignore", "# not for the image\nwww/*.txt\n!www/robots.txt\n")
        .write("www/secret.txt", "secret")
        .write("www/robots.txt", "robots")
        .write("www/page.html", "page");
    repository.commit("with files that are left out");
    let first = repository.push().expect_success();
    assert_eq!(server.get("blog", "/robots.txt").body, "robots");
    assert_eq!(server.get("blog", "/page.html").body, "page");
    assert_eq!(server.get("blog", "/secret.txt").status, 404);
    let container = container_of(&server, "web");
    assert_runs_alone_and_unprivileged(&container, "httpd -f -v -p 3000 -h /www");
    let everything = run(docker().args(["exec", &container, "find", "/", "-xdev", "-name", ".git*"]));
    assert_eq!(everything.stdout, "");

    repository.replace("www/index.html", "v1", "v2").commit("second");
    let second = repository.push().expect_success();
    let port = server.port(3);
    let expected = |number: u32| {
        format!(
            "\
-----> Deploying blog from main (COMMIT), deploy {number}
-----> Dockerfile: Dockerfile found
       Processes: web, from the image's own command
       Port 3000, from EXPOSE in Dockerfile
-----> Building
       BUILD
       built in TIME
-----> Releasing v{number}
-----> Starting web.1
       web.1 is healthy after TIME: GET / answered 200
       switched in TIME
=====> http://blog.localhost:{port}
       blog v{number} is live, deployed in TIME
"
        )
    };
    assert_eq!(without_chance(&remote(&first)), expected(1), "{first}");
    assert_eq!(without_chance(&remote(&second)), expected(2), "{second}");
    assert!(first.stderr.contains("-----> Created the app blog"), "{first}");
    assert!(!second.stderr.contains("Created"), "{second}");
    assert!(!first.stderr.contains('\u{1b}'), "no colours and no cursor movement: {first}");

    // What was said is kept.
    server.wait_for("the end of the drain", PATIENCE, || server.deploy_state("blog") == "succeeded");
    assert_eq!(server.paas(&["deploys:output", "1"]).expect_success().stdout, remote(&first));
    assert_eq!(server.ssh("deploys:output 2 --follow").expect_success().stdout, remote(&second));
    let list = server.json(&["deploys:list", "blog"]);
    let facts: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|deploy| (deploy["deploy"].as_i64(), deploy["state"].as_str(), deploy["release"].as_i64()))
        .collect();
    assert_eq!(facts, [(Some(2), Some("succeeded"), Some(2)), (Some(1), Some("succeeded"), Some(1))]);
    let info = server.json(&["deploys:info", "2"]);
    assert_eq!(info["commit"].as_str().unwrap(), repository.git(&["rev-parse", "HEAD"]).stdout.trim());
    assert_eq!(info["branch"], "main");
    let states: Vec<&str> =
        info["states"].as_array().unwrap().iter().map(|state| state["state"].as_str().unwrap()).collect();
    let all = "queued fetching building releasing starting checking switching draining succeeded";
    assert_eq!(states.join(" "), all);
    assert!(server.paas(&["deploys:info", "2"]).expect_success().stdout.contains("succeeded"));
    server.paas(&["deploys:cancel", "2"]).expect_code(4).says("cannot be canceled: its state is succeeded");
    server.paas(&["deploys:output", "77"]).expect_code(3).says("there is no deploy 77");
    server.paas(&["deploys:info", "77"]).expect_code(3).says("there is no deploy 77");

    let info = server.json(&["apps:info", "blog"]);
    assert_eq!(info["url"].as_str().unwrap(), format!("http://blog.localhost:{port}"));
    assert_eq!((info["release"].as_i64(), info["port"].as_i64()), (Some(2), Some(3000)));
    assert_eq!((&info["status"], &info["deploy_branch"]), (&"live".into(), &"main".into()));

    let again = repository.push().expect_success();
    assert!(again.stderr.contains("Everything up-to-date"), "{again}");
    assert_eq!(server.json(&["deploys:list", "blog"]).as_array().unwrap().len(), 2);
}

#[test]
fn a_deploy_is_followed_while_it_runs() {
    let server = Server::start();
    let repository = server.empty_repository("blog");
    // The nonce keeps the slow step out of the build cache.
    let nonce = server.directory.path().display().to_string();
    repository.write("nonce", &nonce).write(
        "Dockerfile",
        "FROM busybox:stable\nCOPY nonce /\nRUN for i in 1 2 3 4; do echo tick $i; sleep 1; done\n\
         EXPOSE 3000\nCMD [\"httpd\", \"-f\", \"-p\", \"3000\"]\n",
    );
    repository.commit("slow");
    let push = repository.begin_push();
    server.wait_for("the build", PATIENCE, || {
        run(server.command(crate::harness::PAAS).args(["deploys:output", "1"])).stdout.contains("tick 1")
    });
    assert_eq!(server.deploy_state("blog"), "building");
    let followed = server.ssh("deploys:follow blog").expect_success();
    let pushed: Ran = push.wait_with_output().unwrap().into();
    let pushed = pushed.expect_success();
    assert_eq!(followed.stdout, remote(&pushed), "{followed}");
    for line in ["         tick 1", "         tick 4", "       blog v1 is live, deployed in "] {
        assert!(remote(&pushed).lines().any(|said| said.contains(line)), "{line:?}: {pushed}");
    }
}

// ---- what is pushed -------------------------------------------------------------------------------------------------

#[test]
fn the_first_branch_deploys_and_another_is_refused_with_what_to_type() {
    let server = Server::start();
    let repository = server.repository("dockerfile", "blog");
    repository.git(&["branch", "-m", "trunk"]).expect_success();
    repository.git(&["push", "paas", "trunk"]).expect_success();
    assert_eq!(server.json(&["apps:info", "blog"])["deploy_branch"], "trunk");

    repository.git(&["checkout", "-q", "-b", "dev"]).expect_success();
    repository.replace("www/index.html", "v1", "v2").commit("second");
    let refused = repository.git(&["push", "paas", "dev"]).expect_failure();
    let refused = refused.says("blog deploys from trunk, not from dev").says("[remote rejected] dev -> dev");
    let commands = commands_in_hint(&refused);
    assert_eq!(
        commands,
        [["git", "push", "paas", "HEAD:trunk"].to_vec(), ["paas", "apps:set", "blog", "deploy-branch", "dev"].to_vec()]
    );
    assert_eq!(branches(&repository), ["refs/heads/trunk"]);
    assert!(server.get("blog", "/").body.contains("v1"));

    type_it(&server, &repository, &commands[0]).expect_success();
    server.wait_for("the second version", PATIENCE, || server.get("blog", "/").body.contains("v2"));
    assert_eq!(branches(&repository), ["refs/heads/trunk"]);

    type_it(&server, &repository, &commands[1]).expect_success();
    repository.replace("www/index.html", "v2", "v3").commit("third");
    repository.git(&["push", "paas", "dev"]).expect_success();
    server.wait_for("the third version", PATIENCE, || server.get("blog", "/").body.contains("v3"));
    repository.git(&["push", "paas", "dev:trunk"]).expect_failure().says("blog deploys from dev, not from trunk");
}

#[test]
fn tags_several_branches_and_deletions() {
    let server = Server::start();
    let repository = server.repository("dockerfile", "blog");
    repository.git(&["tag", "-a", "v1", "-m", "one"]).expect_success();
    let refused = repository.git(&["push", "paas", "v1"]).expect_failure();
    let refused =
        refused.says("pushing a tag does not deploy: blog deploys from a branch").says("[remote rejected] v1 -> v1");
    assert_eq!(branches(&repository), Vec::<String>::new());

    let twice = repository.git(&["push", "paas", "main", "main:dev"]).expect_failure();
    twice.says("a push deploys one branch, and this one has 2").says("hint: push the deploy branch");
    assert_eq!(branches(&repository), Vec::<String>::new());

    type_it(&server, &repository, &commands_in_hint(&refused)[0]).expect_success();
    assert!(server.get("blog", "/").body.contains("v1"));
    assert_eq!(branches(&repository), ["refs/heads/main"]);

    repository.replace("www/index.html", "v1", "v2").commit("second");
    repository.git(&["push", "paas", "main", "v1"]).expect_success();
    server.wait_for("the second version", PATIENCE, || server.get("blog", "/").body.contains("v2"));
    assert_eq!(branches(&repository), ["refs/heads/main", "refs/tags/v1"]);

    let deleted = repository.git(&["push", "paas", ":main"]).expect_failure();
    deleted.says("a branch of blog cannot be deleted: main");
    assert_eq!(branches(&repository), ["refs/heads/main", "refs/tags/v1"]);
    let notes = repository.git(&["push", "paas", "main:refs/notes/x"]).expect_failure();
    notes.says("refs/notes/x is neither a branch nor a tag");
    repository.git(&["push", "paas", "main:refs/paas/deploys/7"]).expect_failure();
    assert!(server.get("blog", "/").body.contains("v2"));

    // Whoever rewrote the branch says so, as everywhere.
    repository.replace("www/index.html", "v2", "v3");
    repository.git(&["commit", "-q", "-a", "--amend", "-m", "second, amended"]).expect_success();
    repository.push().expect_failure().says("[rejected]");
    repository.git(&["push", "--force", "paas", "main"]).expect_success();
    server.wait_for("the third version", PATIENCE, || server.get("blog", "/").body.contains("v3"));
}

#[test]
fn a_tag_that_is_pushed_to_a_branch_deploys_its_commit() {
    for annotated in [true, false] {
        let server = Server::start();
        let repository = server.repository("dockerfile", "blog");
        let tag: &[&str] = if annotated { &["tag", "-a", "-m", "one", "v1"] } else { &["tag", "v1"] };
        repository.git(tag).expect_success();
        let first = repository.git(&["rev-parse", "HEAD"]).expect_success().stdout;
        repository.replace("www/index.html", "v1", "v2").commit("second");
        let place =
            |name: &str| repository.git(&["ls-remote", "paas", name]).stdout.split('\t').next().unwrap().to_owned();

        // There is no branch main yet, so git sends a tag of that name.
        repository.git(&["push", "paas", "v1:main"]).expect_success().says("v1 is live");
        assert!(server.get("blog", "/").body.contains("v1"));
        assert_eq!(branches(&repository), ["refs/heads/main"]);
        assert_eq!(place("main"), first.trim());
        assert_eq!(server.json(&["releases:info", "blog"])["commit"], first.trim());
        repository.push().expect_success();
        server.wait_for("the second version", PATIENCE, || server.get("blog", "/").body.contains("v2"));

        // Now there is one, and what is pushed to it is the tag's own object, if it has one.
        repository.git(&["push", "--force", "paas", "v1:main"]).expect_success();
        server.wait_for("the first version", PATIENCE, || server.get("blog", "/").body.contains("v1"));
        assert_eq!(place("main"), first.trim());
        repository.git(&["push", "paas", "v1:refs/tags/main"]).expect_failure().says("pushing a tag does not deploy");
        repository.git(&["push", "paas", "main", "v1:refs/tags/main"]).expect_success();
        assert_eq!(branches(&repository), ["refs/heads/main", "refs/tags/main"]);
        server.wait_for("the second version", PATIENCE, || server.get("blog", "/").body.contains("v2"));
    }
}

#[test]
fn a_push_from_a_shallow_clone_says_how_to_get_the_rest() {
    let server = Server::start();
    let origin = server.repository("dockerfile", "blog");
    origin.replace("www/index.html", "v1", "v2").commit("second");
    let shallow = |depth: &str| {
        let clone = server.empty_repository("blog");
        let origin = format!("file://{}", origin.path.display());
        clone.git(&["remote", "add", "origin", &origin]).expect_success();
        clone.git(&["fetch", "-q", "--depth", depth, "origin", "main"]).expect_success();
        clone.git(&["reset", "-q", "--hard", "FETCH_HEAD"]).expect_success();
        clone
    };
    let refused = |clone: &Repository| {
        let refused = clone.push().expect_failure().says("this clone is shallow");
        assert_eq!(commands_in_hint(&refused)[0], ["git", "fetch", "--unshallow"]);
        refused
    };
    let clone = shallow("1");
    refused(&clone);
    assert_eq!(server.paas(&["apps:list"]).expect_success().stdout, "");
    clone.git(&["tag", "v2"]).expect_success();
    clone.git(&["push", "paas", "v2:main"]).expect_failure().says("git fetch --unshallow");
    clone.git(&["fetch", "--unshallow", "origin"]).expect_success();
    clone.push().expect_success();
    assert!(server.get("blog", "/").body.contains("v2"));

    // With an app that exists, and history between that it does not have.
    origin.replace("www/index.html", "v2", "v3").commit("third");
    origin.replace("www/index.html", "v3", "v4").commit("fourth");
    let clone = shallow("1");
    let said = clone.git(&["push", "--force", "paas", "main"]).expect_failure().says("git fetch --unshallow");
    assert!(said.talk().contains("[remote rejected]"), "{said}");
    assert!(server.get("blog", "/").body.contains("v2"));
    // What reaches back to what is there already lacks nothing.
    shallow("3").push().expect_success();
    server.wait_for("the fourth version", PATIENCE, || server.get("blog", "/").body.contains("v4"));
}

#[test]
fn git_lfs_is_told_that_it_is_not_served() {
    let server = Server::start();
    let repository = server.repository("dockerfile", "blog");
    for words in ["git-lfs-authenticate blog upload", "git-lfs-transfer 'blog' download"] {
        let refused = server.ssh(words).expect_code(4);
        assert_eq!(refused.stdout, "");
        let talk: Vec<&str> = refused.stderr.lines().collect();
        assert!(talk.len() == 1 && talk[0].starts_with("Git LFS is not served here: "), "{refused}");
    }
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n", "0".repeat(64));
    repository.write("www/a.jpg", &pointer).commit("a picture");
    repository.push().expect_failure().says("www/a.jpg is a pointer of Git LFS").says("lfs = \"ignore\"");
    repository.write("paas.toml", "[build]\nlfs = \"ignore\"\n").commit("as it is");
    repository.push().expect_success().says("Git LFS: these are deployed as pointers, as paas.toml says: www/a.jpg");
    assert_eq!(server.get("blog", "/a.jpg").body, pointer);
}

#[test]
fn an_empty_repository_leaves_nothing() {
    let server = Server::start();
    let repository = server.empty_repository("blog");
    repository.push().expect_failure().says("src refspec main does not match any");
    assert_eq!(server.paas(&["apps:list"]).expect_success().stdout, "");
    assert!(!server.root().join("repos/blog.git").exists());
    // Nor does a push that is refused before it could be a deploy.
    repository.write("README.md", "notes");
    repository.commit("first");
    repository.git(&["push", "paas", "main", "main:dev"]).expect_failure().says("a push deploys one branch");
    assert_eq!(server.paas(&["apps:list"]).expect_success().stdout, "");
    assert!(!server.root().join("repos/blog.git").exists());
    // An app that was there before stays.
    server.paas(&["apps:create", "blog"]).expect_success();
    repository.git(&["push", "paas", "main", "main:dev"]).expect_failure();
    assert!(server.paas(&["apps:list"]).expect_success().stdout.contains("blog"));
}

#[test]
fn apps_are_not_created_where_the_server_says_so() {
    let server = Server::start_with(&[("PAAS_CREATE_ON_PUSH", "false")]);
    let repository = server.repository("dockerfile", "blog");
    let refused = repository.push().expect_failure();
    let refused = refused.says("there is no app named blog, and this server does not create apps on push");
    assert_eq!(server.paas(&["apps:list"]).expect_success().stdout, "");
    assert!(!server.root().join("repos/blog.git").exists());
    type_it(&server, &repository, &commands_in_hint(&refused)[0]).expect_success();
    repository.push().expect_success();
    assert_eq!(server.get("blog", "/").status, 200);
}

#[test]
fn what_was_pushed_can_be_cloned() {
    let server = Server::start();
    let repository = server.repository("dockerfile", "blog");
    repository.push().expect_success();
    let commit = repository.git(&["rev-parse", "HEAD"]).stdout.trim().to_owned();
    // What a running deploy keeps its commit by.
    let bare = server.root().join("repos/blog.git");
    let pin = ["update-ref", "refs/paas/deploys/99", &commit];
    run(command("git").arg("--git-dir").arg(&bare).args(pin)).expect_success();

    let listed = repository.git(&["ls-remote", "paas"]).expect_success().stdout;
    assert_eq!(listed, format!("{commit}\tHEAD\n{commit}\trefs/heads/main\n"));
    let other = server.empty_repository("blog");
    other.git(&["fetch", "-q", "paas"]).expect_success();
    assert_eq!(other.git(&["rev-parse", "paas/main"]).expect_success().stdout.trim(), commit);
    let copy = server.directory.path().join("copy");
    let url = repository.git(&["remote", "get-url", "paas"]).stdout.trim().to_owned();
    repository.git(&["clone", "-q", &url, copy.to_str().unwrap()]).expect_success();
    assert_eq!(
        std::fs::read(copy.join("www/index.html")).unwrap(),
        std::fs::read(repository.path.join("www/index.html")).unwrap()
    );
    let archive = repository.git(&["archive", &format!("--remote={url}"), "--format=tar", "main", "Dockerfile"]);
    assert!(archive.expect_success().stdout.contains("FROM busybox:stable"));
    let unknown = repository.git(&["fetch", &url.replace("blog", "nothing")]).expect_failure();
    unknown.says("there is no app named nothing");
    assert_eq!(server.json(&["apps:list"]).as_array().unwrap().len(), 1);
}

#[test]
fn submodules_are_built_in() {
    let server = Server::start_with(&[("PAAS_SUBMODULE_PRIVATE_ADDRESSES", "true")]);
    let library = server.empty_repository("library");
    library.write("text.html", "from the submodule").commit("library");
    let bare = server.directory.path().join("served/library.git");
    std::fs::create_dir_all(bare.parent().unwrap()).unwrap();
    library.git(&["clone", "-q", "--bare", ".", bare.to_str().unwrap()]).expect_success();
    let url = serve_git(&server, bare.parent().unwrap());

    let repository = server.repository("dockerfile", "blog");
    repository.git(&["submodule", "--quiet", "add", &format!("{url}/library.git"), "www/library"]).expect_success();
    repository.commit("with a submodule");
    repository.push().expect_success();
    assert_eq!(server.get("blog", "/library/text.html").body, "from the submodule");
    assert_eq!(server.get("blog", "/library/.git").status, 404);

    // A commit that the submodule's own repository does not have.
    std::fs::write(repository.path.join("www/library/text.html"), "unpushed").unwrap();
    for arguments in [["add", "."].as_slice(), &["commit", "-q", "-m", "unpushed"]] {
        repository.git(&[&["-C", "www/library"], arguments].concat()).expect_success();
    }
    repository.commit("with a submodule's commit that nobody has");
    let missing = repository.push().expect_failure();
    missing.says("cannot fetch the submodule www/library").says("hint: ");
    assert_eq!(server.get("blog", "/library/text.html").body, "from the submodule");

    // An address that means something on the pusher's machine only.
    repository.replace(".gitmodules", &format!("{url}/library.git"), "../library.git").commit("relative");
    let relative = repository.push().expect_failure();
    let relative = relative.says("cannot fetch the submodule www/library: ../library.git is relative");
    assert_eq!(commands_in_hint(&relative)[0][..3], ["git", "submodule", "set-url"]);
    assert_eq!(server.get("blog", "/library/text.html").body, "from the submodule");
}

#[test]
fn a_large_repository() {
    const BYTES: u64 = 128_000_000;
    let server = Server::start();
    let repository = server.empty_repository("blog");
    repository.git(&["config", "core.compression", "0"]).expect_success();
    repository.write(
        "Dockerfile",
        "FROM busybox:stable\nCOPY . /www/\nEXPOSE 3000\nCMD [\"httpd\", \"-f\", \"-p\", \"3000\", \"-h\", \"/www\"]\n",
    );
    let mut random = std::fs::File::open("/dev/urandom").unwrap().take(BYTES);
    let mut large = std::fs::File::create(repository.path.join("large")).unwrap();
    std::io::copy(&mut random, &mut large).unwrap();
    repository.commit("large");
    repository.push().expect_success();
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.daemon_id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    // Half of it, and most of that is the program itself, which is large where it is not optimised.
    assert!(peak < 80_000, "the daemon took {peak} kB for a push of {BYTES} bytes");
    let sum = |command: &mut Command| run(command).expect_success().stdout[..32].to_owned();
    let container = container_of(&server, "web");
    assert_eq!(
        sum(docker().args(["exec", &container, "md5sum", "/www/large"])),
        sum(command("md5sum").arg(repository.path.join("large")))
    );
}

// ---- helpers --------------------------------------------------------------------------------------------------------

/// Pushes a fixture whose answer has `v1` in it, then with `v2` in `file`; sees that each answers, and that the old
/// container goes. Returns the container of the second.
fn two_versions(server: &Server, fixture: &str, file: &str, answer: &str) -> String {
    let repository = server.repository(fixture, fixture);
    let first = repository.push().expect_success();
    let body = server.get(fixture, "/").body;
    assert!(body.contains(answer), "{body}");
    let old = server.containers();
    assert_eq!(old.len(), 1, "{old:?}");

    repository.replace(file, "v1", "v2").commit("second");
    let second = repository.push().expect_success();
    let answer = answer.replace("v1", "v2");
    server.wait_for("the second version", PATIENCE, || server.get(fixture, "/").body.contains(&answer));
    server.wait_for("the old container to go", PATIENCE, || !server.containers().contains(&old[0]));
    assert_eq!(server.json(&["apps:info", fixture])["release"], 2);
    server.wait_for("the end of the drain", PATIENCE, || server.deploy_state(fixture) == "succeeded");

    let grammar = Regex::new(r"^(-----> \S.*|=====> http://\S+| {7}\S.*| {9,}.*|)$").unwrap();
    for (pushed, release) in [(first, "v1"), (second, "v2")] {
        let said = remote(&pushed);
        assert!(said.lines().all(|line| grammar.is_match(line)), "{pushed}");
        let last: Vec<&str> = said.lines().rev().take(2).collect();
        assert_eq!(last[1], format!("=====> http://{fixture}.localhost:{}", server.port(3)), "{pushed}");
        let ending = format!(r"^ {{7}}{fixture} {release} is live, deployed in {TIME}$");
        assert!(Regex::new(&ending).unwrap().is_match(last[0]), "{pushed}");
        for phase in [
            format!(r"(?m)^       built in {TIME}$"),
            format!(r"(?m)^       web\.1 is healthy after {TIME}: GET / answered"),
        ] {
            assert!(Regex::new(&phase).unwrap().is_match(&said), "{phase}: {pushed}");
        }
    }
    container_of(server, "web")
}

/// The one container of a process type.
fn container_of(server: &Server, process: &str) -> String {
    let end = format!("-{process}-1");
    let found: Vec<String> = server.containers().into_iter().filter(|name| name.ends_with(&end)).collect();
    assert_eq!(found.len(), 1, "{:?}", server.containers());
    found[0].clone()
}

/// The processes of a container, the engine's init first: user id and command line.
fn processes(container: &str) -> Vec<(String, String)> {
    let top = run(docker().args(["top", container, "-eo", "pid,uid,args", "--sort", "pid"])).expect_success().stdout;
    let line = Regex::new(r"^\s*\d+\s+(\d+)\s+(.*)$").unwrap();
    let found = top.lines().filter_map(|text| line.captures(text));
    let mut found: Vec<_> = found.map(|found| (found[1].to_owned(), found[2].trim().to_owned())).collect();
    // The numbers of processes begin anew some day, so a child may have the lower one.
    found.sort_by_key(|(_, command)| !command.contains("docker-init"));
    found
}

/// Sees that a container runs the engine's init and, right below it, the one process that was meant, and neither as
/// root.
fn assert_runs_alone_and_unprivileged(container: &str, command: &str) {
    let user = run(docker().args(["inspect", "--format", "{{.Config.User}}", container])).expect_success().stdout;
    assert!(Regex::new(r"^[1-9]\d*(:\d+)?\n$").unwrap().is_match(&user), "{user:?}");
    let processes = processes(container);
    assert_eq!(processes.len(), 2, "{processes:?}");
    assert!(processes.iter().all(|(user, _)| user != "0"), "{processes:?}");
    assert!(processes[0].1.contains("docker-init"), "{processes:?}");
    assert!(processes[1].1.starts_with(command), "{processes:?}");
}

/// Sees that a container's working directory has a file of the repository, and git's nothing.
fn assert_image_holds(container: &str, file: &str) {
    let listed = run(docker().args(["exec", container, "ls", "-A"])).expect_success().stdout;
    assert!(listed.lines().any(|name| name == file), "{listed}");
    assert!(!listed.lines().any(|name| name == ".git"), "{listed}");
}

/// What the server said in a push.
fn remote(pushed: &Ran) -> String {
    pushed
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("remote: "))
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

/// A log with its times, its commit and the steps of its build left out.
fn without_chance(log: &str) -> String {
    let time = Regex::new(&format!(r"\b{TIME}\b")).unwrap();
    let commit = Regex::new(r"\([0-9a-f]{7}\)").unwrap();
    let mut text = String::new();
    for line in log.lines() {
        let line = time.replace(line, "TIME");
        let line = commit.replace(&line, "(COMMIT)");
        let line = if line.starts_with("       [") { "       BUILD" } else { &line };
        if line != "       BUILD" || !text.ends_with("       BUILD\n") {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// The commands between backticks in the hint, word by word.
fn commands_in_hint(refused: &Ran) -> Vec<Vec<String>> {
    let talk = refused.talk();
    let hint = talk.split("hint: ").nth(1).unwrap_or_else(|| panic!("no hint: {refused}"));
    let hint = hint.split("\nTo ").next().unwrap();
    hint.split('`').skip(1).step_by(2).map(|command| shell_words::split(command).unwrap()).collect()
}

/// Types a command of a hint.
fn type_it(server: &Server, repository: &Repository, command: &[String]) -> Ran {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    match words[0] {
        "git" => repository.git(&words[1..]),
        "paas" => server.paas(&words[1..]),
        other => panic!("{other} is no command of ours"),
    }
}

/// The references that the server shows, but for HEAD.
fn branches(repository: &Repository) -> Vec<String> {
    let listed = repository.git(&["ls-remote", "--refs", "paas"]);
    let listed = if listed.code == 0 { listed.stdout } else { String::new() };
    listed.lines().map(|line| line.split('\t').nth(1).unwrap().to_owned()).collect()
}

/// Gathers what a process writes while it runs.
pub fn gather(mut output: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let gathered = Arc::new(Mutex::new(String::new()));
    let into = Arc::clone(&gathered);
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = output.read(&mut piece) {
            into.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..length]));
        }
    });
    gathered
}

/// Serves the repositories of a directory over HTTP, through git's own CGI program, and returns the address.
fn serve_git(server: &Server, directory: &Path) -> String {
    let listener = TcpListener::bind(("127.0.0.1", server.port(5))).unwrap();
    let url = format!("http://127.0.0.1:{}", server.port(5));
    let directory = directory.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away is its own business.
            drop(answer_git(stream, &directory));
        }
    });
    url
}

fn answer_git(mut stream: TcpStream, directory: &PathBuf) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut words = request.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut backend = command("git");
    backend
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", directory)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or(0),
            "content-type" => drop(backend.env("CONTENT_TYPE", value)),
            "content-encoding" => drop(backend.env("HTTP_CONTENT_ENCODING", value)),
            "git-protocol" => drop(backend.env("GIT_PROTOCOL", value)),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut child =
        backend.env("CONTENT_LENGTH", length.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().unwrap().write_all(&body)?;
    let answer = child.wait_with_output()?.stdout;
    let status = answer.strip_prefix(b"Status: ").and_then(|rest| rest.split(|byte| *byte == b'\r').next());
    let status = status.map_or_else(|| "200 OK".to_owned(), |status| String::from_utf8_lossy(status).into_owned());
    stream.write_all(format!("HTTP/1.1 {status}\r\nConnection: close\r\n").as_bytes())?;
    stream.write_all(&answer)
}
