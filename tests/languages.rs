//! Each tool of each language: an app with real packages is built and serves, a change of its source installs nothing
//! again, and its image has nothing but what runs.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::harness::{Ran, Repository, Server, docker, run};

/// An app and what is true of it.
pub struct App {
    /// The folder in tests/apps.
    pub fixture: &'static str,
    /// What it answers in its first version.
    pub hello: &'static str,
    /// The file that says `v1`.
    pub version: &'static str,
    /// What the step that installs the dependencies runs.
    pub install: &'static str,
    /// What the image must not have, as a path in it.
    pub absent: &'static [&'static str],
}

impl App {
    /// Pushes it, and pushes a change of one line.
    pub fn serves(self) -> (Server, Repository) {
        let server = Server::start();
        let repository = server.repository(self.fixture, "app");
        self.serves_from(server, repository)
    }

    pub fn serves_from(self, server: Server, repository: Repository) -> (Server, Repository) {
        let (server, repository, second) = self.pushes_twice(server, repository);
        // The engine now and then loses what builds that ran side by side have cached: then each step of the second build
        // runs, and none of the third. Steps in a wrong order run each time.
        if !self.is_cached(&second) {
            eprintln!("{}: the second build found nothing cached, a third one is asked", self.fixture);
            repository.replace(self.version, "v2", "v3").commit("third");
            let third = repository.push().expect_success();
            assert!(self.is_cached(&third), "it is installed again: {second}\nand again: {third}");
            repository.replace(self.version, "v3", "v2").commit("second again");
            repository.push().expect_success();
        }

        self.is_clean(&server);
        (server, repository)
    }

    /// Whether a build took the step that installs the dependencies from the cache.
    fn is_cached(&self, built: &Ran) -> bool {
        let talk = built.talk();
        let installs: Vec<&str> = talk.lines().filter(|line| line.contains(self.install)).collect();
        assert!(!installs.is_empty(), "no step has {:?}: {built}", self.install);
        installs.iter().all(|line| line.ends_with("(cached)"))
    }

    /// As [`App::serves`], for what installs nothing in a step of its own.
    pub fn serves_whatever_is_cached(self) -> (Server, Repository) {
        let server = Server::start();
        let repository = server.repository(self.fixture, "app");
        let (server, repository, _) = self.pushes_twice(server, repository);
        self.is_clean(&server);
        (server, repository)
    }

    fn pushes_twice(&self, server: Server, repository: Repository) -> (Server, Repository, Ran) {
        repository.push().expect_success();
        assert_eq!(server.get("app", "/").body, self.hello);

        repository.replace(self.version, "v1", "v2").commit("second");
        let second = repository.push().expect_success();
        assert_eq!(server.get("app", "/").body, self.hello.replace("v1", "v2"));
        (server, repository, second)
    }

    /// The container runs as nobody in particular, and has no compilers and none of what is only for the build.
    pub fn is_clean(&self, server: &Server) {
        let containers = server.containers();
        let container = containers.iter().find(|name| name.contains("web")).unwrap_or_else(|| panic!("{containers:?}"));
        let inside = |script: &str| run(docker().args(["exec", container, "sh", "-c", script]));
        assert_eq!(inside("id -u").expect_success().stdout, "1000\n");
        assert_eq!(inside("command -v gcc cc g++ make; true").expect_success().stdout, "", "{}", self.fixture);
        for path in self.absent {
            let found = inside(&format!("ls -d {path} 2>/dev/null; true")).expect_success();
            assert_eq!(found.stdout, "", "{} in the image of {}", path, self.fixture);
        }
    }
}

/// A text that no other run of the tests has: what one with it builds is in no cache.
pub fn unique() -> String {
    format!("at {}", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos())
}

/// Has a tool in a container write files of a clone that name the registry, which is not ours to name: a lock file.
pub fn written_in(image: &str, repository: &Repository, files: &[&str], install: &str, write: &str) {
    let dockerfile = format!("FROM {image}\nRUN {install}\nWORKDIR /lock\nCOPY . .\nRUN {write}\n");
    let path = repository.path.join("Dockerfile.lock");
    fs::write(&path, dockerfile).unwrap();
    let mut build = docker();
    build.env("DOCKER_BUILDKIT", "1").args(["build", "--quiet", "--file"]).arg(&path).arg(&repository.path);
    let image = run(&mut build).expect_success().stdout.trim().to_owned();
    for file in files {
        let read = run(docker().args(["run", "--rm", &image, "cat", &format!("/lock/{file}")])).expect_success();
        repository.write(file, &read.stdout);
    }
    run(docker().args(["rmi", &image]));
    fs::remove_file(path).unwrap();
    repository.commit("written");
}

// ---- Node -----------------------------------------------------------------------------------------------------------

#[test]
fn node_with_yarn_1() {
    App {
        fixture: "node-yarn-1",
        hello: "Hello from yarn-1 v1, built true, id of 8\n",
        version: "server.js",
        install: "yarn install --frozen-lockfile --non-interactive --production=false",
        absent: &["/app/node_modules/is-number", "/app/.paas", "/app/.cache", "/tmp/cache/*"],
    }
    .serves();
}

#[test]
fn node_with_yarn_berry() {
    App {
        fixture: "node-yarn-berry",
        hello: "Hello from yarn-berry v1, built true, id of 8\n",
        version: "server.js",
        install: "yarn install --immutable",
        absent: &["/app/node_modules/is-number", "/app/.paas", "/app/.pnp.*", "/tmp/cache/*"],
    }
    .serves();
}

#[test]
fn node_with_packages_from_bun() {
    App {
        fixture: "node-bun",
        hello: "Hello from bun v1, built true, id of 8\n",
        version: "server.js",
        install: "bun install --frozen-lockfile",
        absent: &["/app/node_modules/is-number", "/app/.paas", "/usr/local/bin/bun", "/tmp/cache/*"],
    }
    .serves();
}

#[test]
fn node_with_a_workspace_of_pnpm() {
    App {
        fixture: "node-pnpm-workspace",
        hello: "Hello from a workspace of pnpm v1, built true, id of 8\n",
        version: "apps/web/server.js",
        install: "pnpm install --frozen-lockfile --prod=false",
        absent: &["/app/apps/web/node_modules/is-number", "/app/.paas", "/usr/local/bin/pnpm", "/tmp/cache/*"],
    }
    .serves();
}

#[test]
fn node_with_an_adapter_that_is_put_in() {
    App {
        fixture: "node-sveltekit",
        hello: "Hello from SvelteKit v1\n",
        version: "src/routes/+server.js",
        install: "@sveltejs/adapter-node@5",
        absent: &[
            "/app/node_modules/vite",
            "/app/node_modules/@sveltejs/kit",
            "/app/.paas",
            "/tmp/adapter",
            "/tmp/cache/*",
        ],
    }
    .serves();
}

#[test]
fn node_that_builds_a_page() {
    let server = Server::start();
    let repository = server.repository("node-vite", "page");
    repository.push().expect_success();
    let page = server.get("page", "/");
    assert!(page.body.contains("<title>Vite v1</title>"), "{}", page.body);
    // The page of the application answers for what is no file; what looks like a file and is none is missing.
    let elsewhere = server.get("page", "/some/where");
    assert_eq!((elsewhere.status, elsewhere.body), (200, page.body.clone()));
    assert_eq!(server.get("page", "/assets/nothing.js").status, 404);
    assert_eq!(server.get("page", "/.env").status, 404);
    assert_eq!(server.get("page", "/robots.txt").body, "User-agent: *\n");
    let script = page.body.split("src=\"").nth(1).unwrap().split('"').next().unwrap();
    let script = server.get("page", script);
    assert!(script.head.contains("javascript") && script.body.contains("a $5 \"page\""), "{}", script.body);
    let second = {
        repository.replace("index.html", "v1", "v2").commit("second");
        repository.push()
    }
    .expect_success();
    assert!(server.get("page", "/").body.contains("<title>Vite v2</title>"));
    assert!(second.talk().lines().any(|line| line.contains("npm ci") && line.ends_with("(cached)")), "{second}");
    App {
        fixture: "node-vite",
        hello: "",
        version: "",
        install: "",
        absent: &["/srv/node_modules", "/usr/local/bin/node"],
    }
    .is_clean(&server);
}

// ---- Python ---------------------------------------------------------------------------------------------------------

#[test]
fn python_with_uv_and_a_package() {
    let server = Server::start();
    let repository = server.repository("python-uv", "app");
    written_in(
        "python:3.13-slim",
        &repository,
        &["uv.lock"],
        "python3 -m venv /t && /t/bin/pip install uv",
        "/t/bin/uv lock",
    );
    App {
        fixture: "python-uv",
        hello: "Hello from uv v1\n",
        version: "src/hello/__init__.py",
        install: "uv sync --locked --no-dev --no-install-project",
        absent: &["/opt/tools", "/opt/venv/lib/python3*/site-packages/iniconfig", "/root/.cache/*"],
    }
    .serves_from(server, repository);
}

#[test]
fn python_with_pdm() {
    App {
        fixture: "python-pdm",
        hello: "Hello from PDM v1\n",
        version: "wsgi.py",
        install: "pdm sync --prod",
        absent: &["/opt/tools", "/opt/venv/lib/python3*/site-packages/iniconfig", "/root/.cache/*"],
    }
    .serves();
}

#[test]
fn python_with_pipenv_and_a_factory() {
    let server = Server::start();
    let repository = server.repository("python-pipenv", "app");
    written_in(
        "python:3.13-slim",
        &repository,
        &["Pipfile.lock"],
        "python3 -m venv /t && /t/bin/pip install pipenv",
        "/t/bin/pipenv lock",
    );
    App {
        fixture: "python-pipenv",
        hello: "Hello from Pipenv v1\n",
        version: "blog/__init__.py",
        install: "pipenv install --deploy",
        absent: &["/opt/tools", "/opt/venv/lib/python3*/site-packages/iniconfig", "/root/.cache/*"],
    }
    .serves_from(server, repository);
}

#[test]
fn python_with_poetry_and_a_package() {
    let server = Server::start();
    let repository = server.repository("python-poetry", "app");
    // Not every mirror of the registry answers in the way that Poetry asks by default, but all do in pip's.
    let url = "$(/t/bin/python -c 'from pip._internal.models.index import PyPI; print(PyPI.simple_url)')";
    let poetry = format!("/t/bin/poetry source add --priority=primary registry {url} && /t/bin/poetry lock");
    written_in(
        "python:3.13-slim",
        &repository,
        &["pyproject.toml", "poetry.lock"],
        "python3 -m venv /t && /t/bin/pip install poetry",
        &poetry,
    );
    App {
        fixture: "python-poetry",
        hello: "Hello from Poetry v1\n",
        version: "hello/__init__.py",
        install: "poetry install --only main",
        absent: &["/opt/tools", "/opt/venv/lib/python3*/site-packages/iniconfig", "/root/.cache/*"],
    }
    .serves_from(server, repository);
}

#[test]
fn python_with_a_plain_pyproject() {
    App {
        fixture: "python-pyproject",
        hello: "Hello from a plain pyproject.toml v1\n",
        version: "server.py",
        install: "pip install --cache-dir",
        absent: &["/root/.cache/*"],
    }
    .serves();
}

#[test]
fn python_with_nothing_beside_it() {
    let server = Server::start();
    server.repository("python-none", "app").push().expect_success();
    assert_eq!(server.get("app", "/").body, "Hello from Python alone v1\n");
}

#[test]
fn python_with_a_package_that_is_compiled_here() {
    let server = Server::start();
    let repository = server.repository("python-none", "app");
    let main = fs::read_to_string(repository.path.join("main.py")).unwrap();
    repository.write("main.py", &format!("import psycopg2\n{main}"));
    // It is published as source alone, and needs the headers of Python and of PostgreSQL's library.
    repository.write("requirements.txt", "psycopg2==2.9.10\n").commit("a package in C");
    repository.push().expect_success();
    assert_eq!(server.get("app", "/").body, "Hello from Python alone v1\n");
    let containers = server.containers();
    let gcc = run(docker().args(["exec", &containers[0], "sh", "-c", "command -v gcc"]));
    assert_ne!(gcc.code, 0, "the compiler stays in the build: {gcc}");
}

#[test]
fn django_with_a_front_end() {
    let server = Server::start();
    server.paas(&["apps:create", "app"]).expect_success();
    server.paas(&["config:set", "app", "SECRET_KEY=secret"]).expect_success();
    let repository = server.repository("python-django", "app");
    let (server, _) = App {
        fixture: "python-django",
        hello: "Hello from Django v1\n",
        version: "shop/urls.py",
        install: "pip install --cache-dir",
        absent: &["/app/node_modules", "/usr/local/bin/node", "/root/.cache/*"],
    }
    .serves_from(server, repository);
    assert_eq!(server.get("app", "/static/style.css").body, "body { color: navy; }\n");
    assert!(server.get("app", "/static/front-end.json").body.contains("nanoid"));
}

// ---- what goes wrong ------------------------------------------------------------------------------------------------

#[test]
fn a_failed_build_says_why_and_what_to_type() {
    let server = Server::start();
    let fails = |app: &str, files: &[(&str, &str)], cause: &str, hint: &str| -> Ran {
        let repository = server.empty_repository(app);
        for (path, text) in files {
            repository.write(path, text);
        }
        repository.commit("broken");
        let push = repository.push().expect_failure();
        push.says("build failed: ").says(cause).says(&format!("hint: {hint}"))
    };
    let package =
        r#"{ "scripts": { "start": "node x.js", "build": "node y.js" }, "dependencies": { "nanoid": "^3.0.0" } }"#;
    let empty_lock = r#"{ "name": "x", "lockfileVersion": 3, "packages": { "": { "name": "x" } } }"#;
    fails(
        "lock",
        &[("package.json", package), ("package-lock.json", empty_lock)],
        "package-lock.json is out of sync with package.json",
        "run `npm install`, then commit package-lock.json",
    );
    fails(
        "module",
        &[("package.json", r#"{ "scripts": { "start": "x", "build": "node y.js" } }"#)],
        "the module /app/y.js was not found",
        "check that the file is committed",
    );
    fails(
        "version",
        &[("requirements.txt", "flask==999\n"), ("app.py", "")],
        "no version for this Python matches flask==999",
        "correct it in the requirements",
    );
    fails(
        "compile",
        &[("go.mod", "module x\ngo 1.26\n"), ("main.go", "package main\n\nfunc main() { x }\n")],
        "the code does not compile",
        "see the errors above",
    );
    fails(
        "dockerfile",
        &[("Dockerfile", "FROM busybox:stable\nRUN nonsense --now\n")],
        "a command of the build was not found: nonsense",
        "add the package that provides it to the dependencies",
    );
    fails(
        "memory",
        &[("Dockerfile", "FROM busybox:stable\nRUN sh -c 'kill -9 $$'; exit $?\n")],
        "the build ran out of memory",
        "give the server more memory",
    );
}

// ---- every other Dockerfile -----------------------------------------------------------------------------------------

/// BuildKit reads every Dockerfile of the plans in tests/apps/plans: it fails to find a stage that no Dockerfile has, and
/// says so only once it has read the whole.
#[test]
fn every_planned_dockerfile_is_good() {
    let plans = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps/plans");
    let mut read = 0;
    let mut bad = Vec::new();
    for entry in fs::read_dir(plans).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let Some((_, dockerfile)) = text.split_once("\n# .paas") else { continue };
        let (_, dockerfile) = dockerfile.split_once("/Dockerfile\n").unwrap();
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("Dockerfile"), dockerfile).unwrap();
        let mut command: Command = docker();
        command.env("DOCKER_BUILDKIT", "1").args(["build", "--target", "no-such-stage"]).arg(directory.path());
        let ran = run(&mut command).expect_failure();
        // New ones put the name in quotes.
        if !ran.stderr.replace('"', "").contains("target stage no-such-stage could not be found") {
            bad.push(format!("{}:\n{ran}", path.display()));
        }
        read += 1;
    }
    assert!(read >= 60, "{read}");
    assert!(bad.is_empty(), "{}", bad.join("\n\n"));
}
