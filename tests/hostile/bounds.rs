//! Work that a stranger's repository causes on the host, outside any container, meets a limit, or the end that somebody
//! gave it, while other apps serve and deploy.

use std::{
    os::unix::fs::symlink,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    harness::{PAAS, Ran, Repository, Server, docker, run, run_with_input, try_get},
    processes,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// Requests to an app, one after the other, until they are counted.
struct Requests {
    stop: Arc<AtomicBool>,
    client: thread::JoinHandle<(u32, Vec<String>)>,
}

impl Requests {
    fn start(server: &Server, app: &str) -> Requests {
        let stop = Arc::new(AtomicBool::new(false));
        let (until, port, host) = (Arc::clone(&stop), server.port(3), format!("{app}.localhost"));
        let client = thread::spawn(move || {
            let (mut answered, mut lost) = (0, Vec::new());
            while !until.load(Ordering::Relaxed) {
                match try_get(port, &host, "/") {
                    Ok(answer) if answer.status == 200 => answered += 1,
                    other => lost.push(format!("{other:?}")),
                }
                thread::sleep(Duration::from_millis(10));
            }
            (answered, lost)
        });
        Requests { stop, client }
    }

    /// Fails the test if one was not answered as it should be.
    fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        let (answered, lost) = self.client.join().unwrap();
        assert!(answered > 0 && lost.is_empty(), "{answered} answered, lost: {lost:?}");
    }
}

/// The output of a git command in the clone.
fn git(repository: &Repository, arguments: &[&str], input: &str) -> String {
    run_with_input(&mut repository.git_command(arguments), input).expect_success().stdout.trim().to_owned()
}

/// Commits a tree that git's own commands would not make, beside a Dockerfile.
fn commit_tree(repository: &Repository, tree: &str) {
    let dockerfile = git(repository, &["hash-object", "-w", "--stdin"], "FROM busybox:stable\n");
    let root = format!("100644 blob {dockerfile}\tDockerfile\n040000 tree {tree}\td\n");
    let root = git(repository, &["mktree"], &root);
    let commit = git(repository, &["commit-tree", "-m", "x", &root], "");
    repository.git(&["update-ref", "refs/heads/main", &commit]).expect_success();
}

/// Ten times a tree of ten times a tree, and so on.
pub(super) fn bomb(repository: &Repository, levels: usize) {
    let blob = git(repository, &["hash-object", "-w", "--stdin"], "");
    let of = |kind: &str, id: &str| {
        let lines: String = (0..10).map(|number| format!("{kind} {id}\tn{number}\n")).collect();
        git(repository, &["mktree"], &lines)
    };
    let tree = (1..levels).fold(of("100644 blob", &blob), |tree, _| of("040000 tree", &tree));
    commit_tree(repository, &tree);
}

/// A repository with a buildpack of its own: more of its `buildpack.toml`, and its template.
pub(super) fn own_buildpack(write: &dyn Fn(&str, &str), more: &str, template: &str) {
    write("paas.toml", "[build]\nbuildpack = \"./bp\"\n");
    write(
        "bp/buildpack.toml",
        &format!(
            "title = \"Own\"\norder = 1\ndetect = [{{ file = \"paas.toml\" }}]\n{more}\n\
             [[processes]]\nname = \"web\"\ncommand = \"httpd -f -p $PORT\"\nsource = \"the buildpack\"\n"
        ),
    );
    write("bp/Dockerfile.tera", template);
}

pub(super) fn write(repository: &Repository, path: &str, text: &str) {
    repository.write(path, text);
}

/// Loops that write nothing: nobody but the kernel can end them.
pub(super) const ENDLESS: &str = "{% for i in range(end=100000) %}{% for j in range(end=100000) %}{% for k in range(end=100000) %}\
                       {% endfor %}{% endfor %}{% endfor %}";
const LONG: &str = "FROM busybox\n{% for i in range(end=100000) %}{% for j in range(end=100000) %}xxxxxxxxxxxxxxxx\
                    {% endfor %}{% endfor %}";
const LARGE: &str = "{% set x = 'xxxxxxxxxxxxxxxx' %}{% for i in range(end=40) %}{% set_global x = x ~ x %}{% endfor %}\
                     {{ x | length }}";

/// What a template does that may not, and what is said of it.
const TEMPLATES: [(&str, &str, &str, [&str; 2]); 5] = [
    ("endless", "", ENDLESS, ["takes too long: the limit is 1 seconds of processor time", "template_max_time"]),
    (
        "long",
        "",
        LONG,
        ["the template ./bp/Dockerfile.tera writes too much: the limit is 1 MiB", "template_max_output"],
    ),
    ("large", "", LARGE, ["takes too much memory: the limit is 64 MiB", "template_max_memory"]),
    (
        "image",
        "[images]\nbuild = \"{% for i in range(end=100000) %}{% for j in range(end=100000) %}{% endfor %}{% endfor %}\"",
        "FROM busybox",
        ["rendering the template images.build takes too long", "template_max_time"],
    ),
    (
        "outside",
        "[files]\n\"../../../x\" = \"Dockerfile.tera\"",
        "FROM busybox\n# .paas/../../../x",
        ["adds the file \"../../../x\", which is not a path in the build context", "buildpack.toml"],
    ),
];

const TEMPLATE_SETTINGS: [(&str, &str); 2] = [("PAAS_TEMPLATE_MAX_TIME", "1s"), ("PAAS_TEMPLATE_MAX_MEMORY", "64m")];

fn plan(directory: &Path) -> Ran {
    let mut command = crate::harness::command(PAAS);
    command.envs(TEMPLATE_SETTINGS).arg("plan").arg(directory);
    run(&mut command)
}

#[test]
fn a_template_of_the_repository_does_only_so_much() {
    for (name, more, template, says) in TEMPLATES {
        let directory = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        own_buildpack(&write, more, template);
        let ran = plan(directory.path()).expect_code(1);
        says.into_iter().fold(ran, |ran, text| ran.says(text));
        // One that keeps to the limits is rendered, and knows what the others know.
        own_buildpack(
            &write,
            "[images]\nrun = \"busybox:{{ 'stable' }}\"",
            "FROM {{ image.run }}\nRUN echo {{ directory }}\n",
        );
        let planned = plan(directory.path()).expect_success();
        assert!(planned.stdout.contains("FROM busybox:stable\nRUN echo .paas\n"), "{name}: {planned}");
        write("bp/Dockerfile.tera", "FROM {{ nothing.at.all }}");
        plan(directory.path()).expect_code(1).says("the template ./bp/Dockerfile.tera is malformed");
    }
}

#[test]
fn a_plan_opens_no_pipe_and_no_device() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("index.html"), "x").unwrap();
    for name in ["Procfile", "paas.toml", "app.json", "Dockerfile", "package.json", ".dockerignore", ".gitmodules"] {
        run(crate::harness::command("mkfifo").arg(path(name))).expect_success();
    }
    symlink("/dev/zero", path("requirements.txt")).unwrap();
    assert!(plan(directory.path()).expect_success().stdout.contains("static"));
    run(crate::harness::command("mkfifo").arg(path(".gitignore"))).expect_success();
    plan(directory.path()).expect_code(1).says(".gitignore: it is not a regular file");
}

/// What is pushed, how it is made, and what is said of it.
type Case = (&'static str, fn(&Repository), &'static [&'static str]);

const PUSHES: [Case; 7] = [
    (
        "bomb-7",
        |it| bomb(it, 7),
        &["the commit has 11111112 files and directories: the limit is 1000000", "source_max_files"],
    ),
    ("bomb-10", |it| bomb(it, 10), &["the commit has 11111111112 files and directories", "source_max_files"]),
    (
        "deep",
        |it| {
            let blob = git(it, &["hash-object", "-w", "--stdin"], "");
            let first = git(it, &["mktree"], &format!("100644 blob {blob}\tf\n"));
            let tree = (0..30).fold(first, |tree, _| git(it, &["mktree"], &format!("040000 tree {tree}\td\n")));
            commit_tree(it, &tree);
        },
        &["the directories of the commit are nested too deeply: the limit is 20", "source_max_depth"],
    ),
    (
        "host",
        |it| submodule(it, "http://127.0.0.1:1/x"),
        &["http://127.0.0.1:1/x leads to 127.0.0.1", "settings:set submodule_private_addresses true"],
    ),
    ("metadata", |it| submodule(it, "http://169.254.169.254/latest/meta-data"), &["leads to 169.254.169.254"]),
    (
        "dockerignore",
        |it| {
            it.write("Dockerfile", "FROM busybox:stable\n").write(".dockerignore", &"a*b*c\n".repeat(10_001));
            it.commit("x");
        },
        &[".dockerignore: it has more than 10000 lines"],
    ),
    (
        "large-file",
        |it| {
            let file = std::fs::File::create(it.path.join("large")).unwrap();
            file.set_len(3 << 20).unwrap();
            it.write("Dockerfile", "FROM busybox:stable\n").commit("x");
        },
        &["the file large has 3145728 bytes: the limit is 2 MiB", "source_max_file"],
    ),
];

/// A commit with a submodule, whose `.gitmodules` includes a file of the host.
fn submodule(repository: &Repository, url: &str) {
    let modules = format!("[include]\n\tpath = /etc/shadow\n[submodule \"m\"]\n\tpath = m\n\turl = {url}\n");
    repository.write("Dockerfile", "FROM busybox:stable\n").write(".gitmodules", &modules).commit("x");
    let link = format!("160000,{},m", "1".repeat(40));
    repository.git(&["update-index", "--add", "--cacheinfo", &link]).expect_success();
    repository.git(&["commit", "-q", "-m", "y"]).expect_success();
}

#[test]
fn a_push_over_a_limit_is_refused_and_costs_nobody_a_request() {
    let mut settings =
        vec![("PAAS_SOURCE_MAX_DEPTH", "20"), ("PAAS_SOURCE_MAX_FILE", "2m"), ("PAAS_DEPLOY_MEMORY_MB", "256")];
    settings.extend(TEMPLATE_SETTINGS);
    let server = Server::start_with(&settings);
    let calm = server.repository("dockerfile", "calm");
    calm.push().expect_success();
    let requests = Requests::start(&server, "calm");
    for (name, make, says) in PUSHES {
        let repository = server.empty_repository(name);
        make(&repository);
        let ran = says.iter().fold(repository.push().expect_failure(), |ran, text| ran.says(text));
        ran.says(&format!("nothing was deployed to {name}"));
        assert_eq!(server.deploy_state(name), "failed");
    }
    // One of these at a time takes a processor; another app deploys meanwhile.
    for (name, more, template, says) in TEMPLATES {
        let repository = server.empty_repository(name);
        own_buildpack(&|path, text| write(&repository, path, text), more, template);
        repository.commit("x");
        let mut pushed = repository.begin_push();
        if name == "endless" {
            calm.write("www/more.html", "more").commit("more");
            calm.push().expect_success();
        }
        let ran = Ran::from({
            pushed.wait().unwrap();
            pushed.wait_with_output().unwrap()
        });
        says.into_iter().fold(ran.expect_failure(), |ran, text| ran.says(text));
    }
    assert_eq!(server.get("calm", "/more.html").body, "more");
    requests.finish();
}

/// The memory of what deploys is bounded, and the file is larger: it is never in it as a whole.
#[test]
fn a_file_larger_than_the_memory_of_a_deploy_is_built_in() {
    let server = Server::start_with(&[("PAAS_DEPLOY_MEMORY_MB", "256")]);
    let repository = server.repository("dockerfile", "large");
    std::fs::File::create(repository.path.join("large")).unwrap().set_len(400 << 20).unwrap();
    // With so many objects git keeps the push as a pack.
    for number in 0..120 {
        repository.write(&format!("many/{number}"), &number.to_string());
    }
    // What a Dockerfile says of its image does not make the image, or its container, a part of ours.
    repository.replace("Dockerfile", "EXPOSE", "LABEL paas.role=helper paas.app=other paas.instance=00000000\nEXPOSE");
    repository.commit("large");
    repository.push().expect_success();
    let packs = std::fs::read_dir(server.root().join("repos/large.git/objects/pack")).unwrap();
    assert!(packs.count() > 0, "it is not in a pack");
    let labels = |name: &str, kind: &str| {
        let format = "{{json .Config.Labels}}";
        let said = run(docker().args([kind, "inspect", "--format", format, name])).expect_success().stdout;
        serde_json::from_str::<serde_json::Value>(&said).unwrap()
    };
    for (name, kind) in [(&server.containers()[0], "container"), (&server.images()[0], "image")] {
        let labels = labels(name, kind);
        assert_eq!((labels["paas.role"].as_str(), labels["paas.app"].as_str()), (Some(""), Some("large")), "{labels}");
    }
    server.paas(&["apps:destroy", "large", "--force"]).expect_success();
    assert!(server.images().is_empty() && server.containers().is_empty());
}

/// A thread that nobody can end holds no lock.
#[test]
fn a_deploy_ends_where_nobody_else_could_end_its_work() {
    let server = Server::start_with(&[("PAAS_TEMPLATE_MAX_TIME", "10m"), ("PAAS_DEPLOY_MEMORY_MB", "1000")]);
    let repository = server.empty_repository("endless");
    own_buildpack(&|path, text| write(&repository, path, text), "", ENDLESS);
    repository.commit("x");
    let fetching = || server.wait_for("the template", PATIENCE, || renders(&server));
    let over = |pushed: std::process::Child| Ran::from(pushed.wait_with_output().unwrap()).expect_failure();

    let pushed = repository.begin_push();
    fetching();
    // What deals with strangers is limited; what serves everybody is as it was.
    let [child, deploy] = renderer(&server).unwrap();
    assert_eq!(guard_of(&child), ("500".to_owned(), (256 << 20).to_string()));
    assert_eq!(guard_of(&deploy), ("500".to_owned(), 1_000_000_000.to_string()));
    let own = guard_of(&std::process::id().to_string());
    for process in [server.daemon_id(), processes::caddy(&server)[0], processes::edge(&server)[0]] {
        assert_eq!(guard_of(&process.to_string()), own);
    }
    server.paas(&["deploys:cancel", "endless"]).expect_success();
    over(pushed).says("canceled by");
    assert_eq!(server.deploy_state("endless"), "canceled");
    server.wait_for("the end of the template", PATIENCE, || !renders(&server));

    // A newer push waits for its turn, and has it as soon as the one before is canceled.
    let pushed = repository.begin_push();
    fetching();
    own_buildpack(
        &|path, text| write(&repository, path, text),
        "",
        "FROM busybox:stable\nRUN mkdir -p /www && echo mended >/www/index.html\nWORKDIR /www\n",
    );
    repository.commit("mended");
    let waits = repository.begin_push();
    server.wait_for("the next push", PATIENCE, || {
        let all = server.json(&["deploys:list", "endless"]);
        all.as_array().unwrap().iter().any(|deploy| deploy["state"] == "queued")
    });
    server.paas(&["deploys:cancel", "2"]).expect_success();
    over(pushed);
    Ran::from(waits.wait_with_output().unwrap()).expect_success();
    assert_eq!(server.get("endless", "/").body.trim(), "mended");

    own_buildpack(&|path, text| write(&repository, path, text), "", ENDLESS);
    repository.commit("endless again");
    let pushed = repository.begin_push();
    fetching();
    server.paas(&["apps:destroy", "endless", "--force"]).expect_success();
    over(pushed);
    server.wait_for("the end of the template", PATIENCE, || !renders(&server));
    assert!(server.containers().is_empty());
}

/// Whether a template is rendered now.
pub(super) fn renders(server: &Server) -> bool {
    renderer(server).is_some()
}

/// The process that renders a template now, and its parent, the deploy. The child has nothing of the instance but that.
pub(super) fn renderer(server: &Server) -> Option<[String; 2]> {
    let root = server.root().display().to_string();
    std::fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let process = entry.file_name().to_str()?.to_owned();
        if !of_process(&process, "cmdline").ends_with("\0render\0") {
            return None;
        }
        let status = of_process(&process, "status");
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().to_owned();
        of_process(&parent, "environ").contains(&root).then_some([process, parent])
    })
}

fn of_process(process: &str, file: &str) -> String {
    String::from_utf8_lossy(&std::fs::read(Path::new("/proc").join(process).join(file)).unwrap_or_default())
        .into_owned()
}

/// How readily the kernel ends a process if memory runs out, and the memory of its own that it may have.
fn guard_of(process: &str) -> (String, String) {
    let limits = of_process(process, "limits");
    let memory = limits.lines().find_map(|line| line.strip_prefix("Max data size")).unwrap_or_default();
    let memory = memory.split_whitespace().next().unwrap_or_default().to_owned();
    (of_process(process, "oom_score_adj").trim().to_owned(), memory)
}
