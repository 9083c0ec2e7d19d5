use std::{fs, path::Path};

use super::*;
use crate::{model::Setting, tree::Tree, ui::error_text};

/// A source of these files, as if it were pushed.
fn try_plan(files: &[(&str, &str)]) -> Result<BuildPlan> {
    let directory = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    plan(&Tree::directory(directory.path())?, &Buildpacks::load(None)?)
}

/// What the log says of a source, and its Dockerfile; or the error.
fn planned(files: &[(&str, &str)]) -> String {
    match try_plan(files) {
        Ok(plan) => {
            let mut text = plan.describe().join("\n");
            for spec in &plan.processes {
                text.push_str(&format!("\n  {}: {}", spec.process, spec.command.as_deref().unwrap_or("(image)")));
            }
            text.push_str(&format!("\n\n# {}\n{}", plan.dockerfile_path, plan.dockerfile));
            text
        }
        Err(error) => error_text(&error),
    }
}

const PACKAGE: (&str, &str) = ("package.json", r#"{ "scripts": { "start": "node server.js" } }"#);

#[test]
fn node_with_a_lock_file() {
    insta::assert_snapshot!(planned(&[PACKAGE, ("package-lock.json", "{}"), (".node-version", "20.11.1\n")]), @r#"
    Node: package.json found
    Node 20, from .node-version (20.11.1)
    Processes: web, from the start script in package.json
      web: node server.js

    # .paas/Dockerfile
    FROM node:20-slim
    RUN install -d -o 1000 -g 1000 /app
    ENV NODE_ENV=production HOME=/app PATH=/app/node_modules/.bin:$PATH NPM_CONFIG_UPDATE_NOTIFIER=false NPM_CONFIG_LOGS_MAX=0
    WORKDIR /app
    USER 1000:1000
    COPY --chown=1000:1000 package*.json npm-shrinkwrap*.json .npmrc* ./
    RUN --mount=type=cache,id=paas-npm,target=/tmp/npm,uid=1000,gid=1000 \
        npm ci --omit=dev --no-audit --no-fund --cache /tmp/npm
    COPY --chown=1000:1000 . .
    CMD ["/bin/sh", "-c", "exec node server.js"]
    "#);
}

#[test]
fn node_with_a_build() {
    let package = r#"{ "engines": { "node": ">=18 <21" }, "main": "lib/it's.js", "scripts": { "build": "tsc" } }"#;
    insta::assert_snapshot!(planned(&[("package.json", package), ("package-lock.json", "{}")]), @r#"
    Node: package.json found
    Node 20, from engines.node in package.json (>=18 <21)
    Processes: web, from main in package.json
      web: node 'lib/it'\''s.js'

    # .paas/Dockerfile
    FROM node:20-slim AS build
    RUN install -d -o 1000 -g 1000 /app
    ENV NODE_ENV=production HOME=/app PATH=/app/node_modules/.bin:$PATH NPM_CONFIG_UPDATE_NOTIFIER=false NPM_CONFIG_LOGS_MAX=0
    WORKDIR /app
    USER 1000:1000
    COPY --chown=1000:1000 package*.json npm-shrinkwrap*.json .npmrc* ./
    RUN --mount=type=cache,id=paas-npm,target=/tmp/npm,uid=1000,gid=1000 \
        npm ci --include=dev --no-audit --no-fund --cache /tmp/npm
    COPY --chown=1000:1000 . .
    RUN npm run build
    RUN npm prune --omit=dev --ignore-scripts --no-audit --no-fund --cache /tmp/npm-prune && rm -rf /tmp/npm-prune

    FROM node:20-slim
    RUN install -d -o 1000 -g 1000 /app
    ENV NODE_ENV=production HOME=/app PATH=/app/node_modules/.bin:$PATH NPM_CONFIG_UPDATE_NOTIFIER=false NPM_CONFIG_LOGS_MAX=0
    WORKDIR /app
    USER 1000:1000
    COPY --from=build --chown=1000:1000 /app /app
    CMD ["/bin/sh", "-c", "exec node 'lib/it'\\''s.js'"]
    "#);
}

#[test]
fn node_with_scripts_that_run_while_it_installs() {
    let package = r#"{ "scripts": { "postinstall": "prisma generate", "prestart": "a; b", "start": "next start" } }"#;
    insta::assert_snapshot!(planned(&[("package.json", package), ("yarn.lock", "")]), @r#"
    Node: package.json found
    Node 22, the default
    Processes: web, from the start script in package.json
    Only npm's lock file is read: `npm install --package-lock-only` makes one, so that the same versions are installed each time
      web: (a; b) || exit; next start

    # .paas/Dockerfile
    FROM node:22-slim AS build
    RUN install -d -o 1000 -g 1000 /app
    ENV NODE_ENV=production HOME=/app PATH=/app/node_modules/.bin:$PATH NPM_CONFIG_UPDATE_NOTIFIER=false NPM_CONFIG_LOGS_MAX=0
    WORKDIR /app
    USER 1000:1000
    COPY --chown=1000:1000 . .
    RUN --mount=type=cache,id=paas-npm,target=/tmp/npm,uid=1000,gid=1000 \
        npm install --no-package-lock --include=dev --no-audit --no-fund --cache /tmp/npm
    RUN npm prune --omit=dev --ignore-scripts --no-package-lock --no-audit --no-fund --cache /tmp/npm-prune && rm -rf /tmp/npm-prune

    FROM node:22-slim
    RUN install -d -o 1000 -g 1000 /app
    ENV NODE_ENV=production HOME=/app PATH=/app/node_modules/.bin:$PATH NPM_CONFIG_UPDATE_NOTIFIER=false NPM_CONFIG_LOGS_MAX=0
    WORKDIR /app
    USER 1000:1000
    COPY --from=build --chown=1000:1000 /app /app
    CMD ["/bin/sh", "-c", "(a; b) || exit; next start"]
    "#);
}

#[test]
fn node_versions() {
    let mut said = String::new();
    for (file, text) in [
        (".node-version", "v22\n"),
        (".nvmrc", "lts/iron\n"),
        (".nvmrc", "lts/*\n"),
        (".node-version", "21\n"),
        (".node-version", "twenty\n"),
        (".node-version", "22-slim\nRUN rm -rf /\n"),
        (".node-version", "22 AS x\n"),
        (".node-version", "{{ 7 * 7 }}\n"),
    ] {
        let line = match try_plan(&[PACKAGE, (file, text)]) {
            Ok(plan) => plan.versions[0].describe(),
            Err(error) => format!("{error} / {}", error.hint().unwrap()),
        };
        said.push_str(&line);
        said.push('\n');
    }
    insta::assert_snapshot!(said, @r#"
    Node 22, from .node-version (v22)
    Node 20, from .nvmrc (lts/iron)
    Node 24, from .nvmrc (lts/*)
    .node-version, line 1: there is no base image for Node 21 / paas knows Node 18, 20, 22, 24: write one of these
    .node-version, line 1: "twenty" is not a version of Node / paas knows Node 18, 20, 22, 24: write one of these
    Node 22, from .node-version (22-slim)
    .node-version, line 1: "22 AS x" is not a version of Node / paas knows Node 18, 20, 22, 24: write one of these
    .node-version, line 1: "{{ 7 * 7 }}" is not a version of Node / paas knows Node 18, 20, 22, 24: write one of these
    "#);
}

#[test]
fn python_with_a_procfile() {
    let procfile = ("Procfile", "web: gunicorn app:app\nrelease: flask db upgrade\nworker: celery worker\n");
    insta::assert_snapshot!(planned(&[("requirements.txt", "flask\n"), ("app.py", ""), ("runtime.txt", "python-3.11.9\n"), procfile]), @r#"
    Python: requirements.txt found
    Python 3.11, from runtime.txt (3.11.9)
    Processes: web, worker, from Procfile
    Release command: runs before the new release starts
      web: gunicorn app:app
      worker: celery worker

    # .paas/Dockerfile
    FROM python:3.11-slim
    RUN python3 -m venv /opt/venv && install -d -o 1000 -g 1000 /app
    ENV PATH=/opt/venv/bin:$PATH HOME=/app PYTHONUNBUFFERED=1 PIP_DISABLE_PIP_VERSION_CHECK=1
    WORKDIR /app
    COPY requirements.txt ./
    RUN --mount=type=cache,id=paas-pip,target=/root/.cache/pip \
        pip install --cache-dir /root/.cache/pip -r requirements.txt
    COPY --chown=1000:1000 . .
    USER 1000:1000
    CMD ["/bin/sh", "-c", "exec gunicorn app:app"]
    "#);
}

#[test]
fn python_says_what_it_starts() {
    let mut said = String::new();
    for files in [
        &[("requirements.txt", "flask\ngunicorn\n"), ("app.py", "from flask import Flask\napp = Flask(__name__)\n")][..],
        &[("requirements.txt", "flask\n"), ("app.py", "app = Flask(__name__)\n")],
        &[("requirements.txt", "fastapi\nuvicorn\n"), ("main.py", "app = FastAPI()\n")],
        &[("requirements.txt", "django\ngunicorn\n"), ("manage.py", ""), ("shop/wsgi.py", "")],
        &[("requirements.txt", "django\n"), ("manage.py", ""), ("shop/wsgi.py", "")],
        &[("main.py", "")],
        &[("requirements.txt", "flask\n")],
    ] {
        match try_plan(files) {
            Ok(plan) => said.push_str(plan.processes[0].command.as_deref().unwrap()),
            Err(error) => said.push_str(&error_text(&error)),
        }
        said.push('\n');
    }
    insta::assert_snapshot!(said, @r"
    gunicorn app:app --bind 0.0.0.0:$PORT
    flask --app app run --host 0.0.0.0 --port $PORT
    uvicorn main:app --host 0.0.0.0 --port $PORT
    gunicorn shop.wsgi --bind 0.0.0.0:$PORT
    python manage.py runserver --noreload 0.0.0.0:$PORT
    python main.py
    error: nothing to run: there is no manage.py, app.py or main.py to start

    hint: write a file named Procfile with a line such as `web: COMMAND`, where COMMAND listens on $PORT
    ");
}

#[test]
fn python_requirements_that_name_other_files() {
    insta::assert_snapshot!(planned(&[("requirements.txt", "-r base.txt\n"), ("base.txt", ""), ("main.py", "")]), @r#"
    Python: requirements.txt found
    Python 3.13, the default
    Processes: web, from main.py
      web: python main.py

    # .paas/Dockerfile
    FROM python:3.13-slim
    RUN python3 -m venv /opt/venv && install -d -o 1000 -g 1000 /app
    ENV PATH=/opt/venv/bin:$PATH HOME=/app PYTHONUNBUFFERED=1 PIP_DISABLE_PIP_VERSION_CHECK=1
    WORKDIR /app
    COPY --chown=1000:1000 . .
    RUN --mount=type=cache,id=paas-pip,target=/root/.cache/pip \
        pip install --cache-dir /root/.cache/pip -r requirements.txt
    USER 1000:1000
    CMD ["/bin/sh", "-c", "exec python main.py"]
    "#);
}

#[test]
fn go_at_the_root() {
    insta::assert_snapshot!(planned(&[("go.mod", "module x\n\ngo 1.22\n"), ("main.go", "package main\n")]), @r#"
    Go: go.mod found
    Go 1.26, from go.mod (1.22)
    Processes: web, from the package main at the root
      web: /app/bin/web

    # .paas/Dockerfile
    FROM golang:1.26 AS build
    ENV CGO_ENABLED=0
    WORKDIR /src
    COPY go.mod go.su[m] ./
    RUN --mount=type=cache,id=paas-go-modules,target=/go/pkg/mod go mod download
    COPY . .
    RUN --mount=type=cache,id=paas-go-modules,target=/go/pkg/mod \
        --mount=type=cache,id=paas-go-build,target=/root/.cache/go-build \
        go build -trimpath -ldflags="-s -w" -o /out/web .

    FROM debian:bookworm-slim
    COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
    RUN install -d -o 1000 -g 1000 /app
    ENV HOME=/app PATH=/app/bin:$PATH
    WORKDIR /app
    USER 1000:1000
    COPY --chown=1000:1000 . .
    COPY --from=build /out/ /app/bin/
    CMD ["/bin/sh", "-c", "exec /app/bin/web"]
    "#);
}

#[test]
fn go_below_cmd_with_modules_beside_it() {
    let module = "module x\n\ngo 1.21.0\ntoolchain go1.27.1\nreplace y => ./y\n";
    insta::assert_snapshot!(planned(&[("go.mod", module), ("cmd/my api/main.go", "package main\n")]), @r#"
    Go: go.mod found
    Go 1.27.1, from go.mod
    Processes: web, from the command below cmd/
      web: /app/bin/'my api'

    # .paas/Dockerfile
    FROM golang:1.27.1 AS build
    ENV CGO_ENABLED=0
    WORKDIR /src
    COPY . .
    RUN --mount=type=cache,id=paas-go-modules,target=/go/pkg/mod \
        --mount=type=cache,id=paas-go-build,target=/root/.cache/go-build \
        mkdir /out && go build -trimpath -ldflags="-s -w" -o /out/ ./...

    FROM debian:bookworm-slim
    COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
    RUN install -d -o 1000 -g 1000 /app
    ENV HOME=/app PATH=/app/bin:$PATH
    WORKDIR /app
    USER 1000:1000
    COPY --chown=1000:1000 . .
    COPY --from=build /out/ /app/bin/
    CMD ["/bin/sh", "-c", "/app/bin/'my api'"]
    "#);
}

#[test]
fn go_with_nothing_to_start_or_no_version() {
    insta::assert_snapshot!(planned(&[("go.mod", "module x\ngo 1.26\n"), ("x.go", "package x\n")]), @r"
    error: nothing to run: the repository has no single command to start: no package main at its root, and not exactly one below cmd/

    hint: write a file named Procfile with a line such as `web: COMMAND`, where COMMAND listens on $PORT
    ");
    let commands = [("go.mod", "module x\n"), ("cmd/a/main.go", "package main\n"), ("cmd/b/main.go", "package main\n")];
    assert!(matches!(try_plan(&commands), Err(Error::Buildpack(..))));
    insta::assert_snapshot!(planned(&[("go.mod", "module x\ngo 1.x;RUN\n"), ("x.go", "package main\n")]), @r#"
    error: go.mod, line 2: "1.x;RUN" is not a version of Go

    hint: paas knows Go 1.25, 1.26: write one of these
    "#);
}

#[test]
fn a_static_site() {
    insta::assert_snapshot!(planned(&[("index.html", "")]), @r#"
    Static site: index.html found
    Processes: web, from the web server of the image
      web: (image)

    # .paas/Dockerfile
    FROM caddy:2
    # A copy without the capability to bind low ports, with which it would not start where capabilities are dropped.
    RUN cp /usr/bin/caddy /usr/local/bin/caddy
    ENV PORT=5000 HOME=/tmp XDG_CONFIG_HOME=/tmp XDG_DATA_HOME=/tmp
    COPY .paas/Caddyfile /etc/caddy/Caddyfile
    WORKDIR /srv
    COPY . .
    USER 1000:1000
    CMD ["/usr/local/bin/caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]
    "#);
    let plan = try_plan(&[("index.html", "")]).unwrap();
    let names: Vec<_> = plan.extra_files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, [".paas/Dockerfile", ".paas/Caddyfile"]);
}

#[test]
fn generated_files_do_not_clash_with_the_repository() {
    assert_eq!(try_plan(&[("index.html", ""), (".paas", "")]).unwrap().dockerfile_path, ".paas-1/Dockerfile");
    assert_eq!(try_plan(&[("index.html", ""), (".paas/x", "")]).unwrap().dockerfile_path, ".paas-1/Dockerfile");
}

#[test]
fn a_dockerfile_is_built_as_it_is() {
    insta::assert_snapshot!(planned(&[("Dockerfile", "FROM x\nEXPOSE 3000\n"), PACKAGE]), @r"
    Dockerfile: Dockerfile found
    Processes: web, from the image's own command
    Port 3000, from EXPOSE in Dockerfile
      web: (image)

    # Dockerfile
    FROM x
    EXPOSE 3000
    ");
}

#[test]
fn paas_toml_has_the_last_word() {
    let paas_toml = r#"
port = 8000
[build]
dockerfile = "deploy/Dockerfile"
[processes]
web = "bin/web"
clock = "bin/clock"
[checks]
path = "/health"
"#;
    let procfile = ("Procfile", "web: old\nworker: bin/worker\n");
    let files = [("paas.toml", paas_toml), procfile, ("deploy/Dockerfile", "FROM x\nEXPOSE 3000\n"), PACKAGE];
    insta::assert_snapshot!(planned(&files), @r"
    Dockerfile: set in paas.toml
    Processes: web, clock, worker, from paas.toml and Procfile
    Port 8000, from paas.toml
      web: bin/web
      clock: bin/clock
      worker: bin/worker

    # deploy/Dockerfile
    FROM x
    EXPOSE 3000
    ");
    let plan = try_plan(&files).unwrap();
    assert_eq!(plan.processes[0].declared.get(Setting::CheckPath), Some("/health"));
    assert_eq!(plan.processes[1].declared.get(Setting::CheckPath), None);
}

#[test]
fn a_worker_alone_is_a_plan() {
    let plan = try_plan(&[("paas.toml", "[processes]\nworker = \"node worker.js\"\n"), PACKAGE]).unwrap();
    assert_eq!(plan.processes.len(), 1);
    assert!(!plan.processes[0].process.is_web());
}

#[test]
fn a_release_command_alone_leaves_the_default_process() {
    let plan = try_plan(&[("Procfile", "release: migrate\n"), PACKAGE]).unwrap();
    assert_eq!(plan.release_command.as_deref(), Some("migrate"));
    assert_eq!(plan.processes[0].command.as_deref(), Some("node server.js"));
}

#[test]
fn mistakes_say_what_to_do() {
    let mut said = String::new();
    for files in [
        &[][..],
        &[("README.md", ""), ("src/x.c", "")],
        &[("package.json", "{\n\"scripts\": {,}\n}")],
        &[("package.json", "{}")],
        &[("paas.toml", "[build]\nbuildpack = \"nod\"\n"), PACKAGE],
        &[("paas.toml", "[build]\nbuildpack = \"node\"\ndockerfile = \"x\"\n"), PACKAGE],
        &[("paas.toml", "[build]\ndockerfile = \"x\"\n"), PACKAGE],
        &[("paas.toml", "[build]\nbuildpack = \"dockerfile\"\n"), PACKAGE],
    ] {
        said.push_str(&planned(files));
        said.push_str("\n\n");
    }
    insta::assert_snapshot!(said, @r#"
    error: no buildpack matches this repository

    looked for:
        dockerfile  Dockerfile
        go          go.mod
        python      requirements.txt, or app.py or main.py or manage.py
        node        package.json
        static      index.html

    found: no files at all

    hint: add one of the files above, or a Dockerfile; `paas plan` shows on your machine what would be built

    error: no buildpack matches this repository

    looked for:
        dockerfile  Dockerfile
        go          go.mod
        python      requirements.txt, or app.py or main.py or manage.py
        node        package.json
        static      index.html

    found: README.md, src/

    hint: add one of the files above, or a Dockerfile; `paas plan` shows on your machine what would be built

    error: package.json, line 2: it is not good JSON: key must be a string

    hint: correct package.json, commit and push again

    error: nothing to run: package.json has no start script, and there is no server.js, index.js or other file that it names as main

    hint: write a file named Procfile with a line such as `web: COMMAND`, where COMMAND listens on $PORT

    error: paas.toml, line 2: there is no buildpack "nod"

    hint: did you mean `node`?

    error: paas.toml, line 3: the buildpack node makes its own Dockerfile

    hint: keep one of the two keys, `buildpack` or `dockerfile`

    error: paas.toml, line 2: there is no file "x" in the repository

    hint: write its path from the root of the repository, and see that it is committed

    error: there is no Dockerfile in the repository

    hint: add one, or take `buildpack` out of paas.toml
    "#);
}

#[test]
fn nothing_of_a_repository_becomes_an_instruction() {
    let nasty = "x\" \\ $HOME `id` {{ 7 * 7 }} # <<EOF\nRUN touch /hacked\n";
    let package = serde_json::json!({ "scripts": { "start": nasty }, "main": nasty }).to_string();
    let plan = try_plan(&[("package.json", &package)]).unwrap();
    insta::assert_snapshot!(plan.dockerfile.lines().last().unwrap(), @r#"CMD ["/bin/sh", "-c", "x\" \\ $HOME `id` {{ 7 * 7 }} # \u003c\u003cEOF\u000aRUN touch /hacked"]"#);
    assert!(!plan.dockerfile.lines().any(|line| line.starts_with("RUN touch")));
}

#[test]
fn a_folder_adds_a_buildpack_and_another_overrides_one() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, file: &str, text: &str| {
        fs::create_dir_all(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join(file), text).unwrap();
    };
    write(
        "shell",
        MANIFEST,
        "title = 'Shell'\norder = 80\ndetect = [{ file = 'run.sh' }]\n[[processes]]\nname = 'web'\ncommand = 'sh run.sh'\nsource = 'run.sh'\n",
    );
    write("shell", "Dockerfile.tera", "FROM debian:bookworm-slim\nCOPY . .\n");
    write(
        "node",
        MANIFEST,
        "title = 'My Node'\norder = 1\ndetect = [{ file = 'package.json' }]\n[[processes]]\nname = 'web'\nsource = 'x'\n",
    );
    write("node", "Dockerfile.tera", "FROM mine\n");
    let buildpacks = Buildpacks::load(Some(folder.path())).unwrap();
    assert_eq!(buildpacks.names(), ["node", "dockerfile", "go", "python", "shell", "static"]);

    write("shell", MANIFEST, "title = 'Shell'\norder = 80\ndetekt = []\n");
    let error = Buildpacks::load(Some(folder.path())).unwrap_err();
    assert!(error.to_string().contains("detekt"), "{error}");
    assert!(Buildpacks::load(Some(Path::new("/nonexistent"))).is_ok());
}

#[test]
fn a_word_is_guessed() {
    assert_eq!(did_you_mean("biuld", ["build", "checks"]), Some("build"));
    assert_eq!(did_you_mean("zzz", ["build", "checks"]), None);
}
