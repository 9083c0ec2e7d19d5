//! `paas plan`: what a push would build, shown where there is no server; and buildpacks of the server's own.

use std::path::{Path, PathBuf};

use crate::harness::{PAAS, Ran, Server, command, run};

/// `paas plan` as somebody types it on a laptop.
fn plan(arguments: &[&str]) -> Ran {
    let home = tempfile::tempdir().unwrap();
    let mut command = command(PAAS);
    command.env("HOME", home.path()).env("PAAS_ROOT", home.path().join("root"));
    let ran = run(command.current_dir(fixture("node-express")).arg("plan").args(arguments));
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "it leaves nothing in the home directory");
    ran
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps").join(name)
}

fn plan_of(name: &str, format: &str) -> Ran {
    match format {
        "dockerfile" => plan(&[fixture(name).to_str().unwrap(), "--dockerfile"]),
        _ => plan(&[fixture(name).to_str().unwrap(), "--format", format]),
    }
}

#[test]
fn each_app_of_a_repository_has_a_plan() {
    let directory = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("package.json", r#"{ "workspaces": ["apps/*"] }"#);
    write("apps/api/package.json", r#"{ "name": "@x/api", "scripts": { "start": "node api.js" } }"#);
    write("apps/web/package.json", r#"{ "scripts": { "start": "node web.js" } }"#);
    let root = directory.path().to_str().unwrap().to_owned();
    let several = plan(&[&root]).expect_failure();
    assert!(several.stderr.contains("    apps/api  Node, named @x/api\n    apps/web  Node, named web\n"), "{several}");
    assert!(several.stderr.contains("`directory = \"apps/api\"` under [build] in paas.toml"), "{several}");
    let all = plan(&[&root, "--all"]).expect_success().stdout;
    let table = all.split("\n\n").next().unwrap_or_default();
    insta::assert_snapshot!(table, @r"
    DIRECTORY  NAME    BUILDPACK  WEB
    apps/api   @x/api  Node       node api.js
    apps/web   web     Node       node web.js
    ");
    assert_eq!(all.matches("# .paas/Dockerfile").count(), 2, "{all}");
    let json: serde_json::Value =
        serde_json::from_str(&plan(&[&root, "--all", "--format", "json"]).expect_success().stdout).unwrap();
    assert_eq!(json[1]["plan"]["directory"]["path"], "apps/web");
    write("paas.toml", "[build]\ndirectory = \"@x/api\"\n");
    let text = plan(&[&root]).expect_success().stdout;
    assert!(text.contains("apps/api (@x/api)  set in paas.toml"), "{text}");
}

#[test]
fn a_plan_needs_no_server() {
    let text = plan(&[]).expect_success().stdout;
    insta::assert_snapshot!(text, @r#"
    WHAT             IS    FROM                                              TO CHANGE IT, IN paas.toml
    Buildpack        node  package.json found                                [build] buildpack = "NAME"
    Package manager  npm   package-lock.json found                           [build.tools] manager = "pnpm"
    Port             5000  default; PORT in the app's config changes it too  port = NUMBER

    VERSION OF  IS  FROM             ASKED FOR  TO CHANGE IT, IN paas.toml
    Node        22  .node-version:1  22         [build.versions] node = "26"

    STEP     COMMAND                                 TO CHANGE IT, IN paas.toml
    install  npm ci --omit=dev --no-audit --no-fund  [build] install = "COMMAND"

    PROCESS  COMMAND         FROM                                TO CHANGE IT, IN paas.toml
    web      node server.js  the start script in package.json:6  [processes] web = "COMMAND"

    # .paas/Dockerfile
    FROM node:22-slim
    ENV NODE_ENV=production HOME=/app PATH=/app/node_modules/.bin:node_modules/.bin:$PATH CI=true NPM_CONFIG_UPDATE_NOTIFIER=false NPM_CONFIG_LOGS_MAX=0
    ENV NPM_CONFIG_CACHE=/tmp/cache
    USER 1000:1000
    WORKDIR /app
    COPY --chown=1000:1000 ["package-lock.json", "package.json", "./"]
    RUN --mount=type=cache,id=paas-npm,target=/tmp/cache,uid=1000,gid=1000 \
        npm ci --omit=dev --no-audit --no-fund
    COPY --chown=1000:1000 . .
    CMD ["/bin/sh", "-c", "exec node server.js"]
    "#);
    assert_eq!(plan_of("node-express", "text").expect_success().stdout, text);
}

#[test]
fn a_plan_is_for_programs_too() {
    for (name, buildpack, version) in [
        ("node-express", "node", Some("22")),
        ("python-flask", "python", Some("3.13")),
        ("go-module", "go", Some("1.26")),
        ("static-site", "static", None),
        ("dockerfile", "dockerfile", None),
        ("web-worker", "node", Some("22")),
    ] {
        let json: serde_json::Value = serde_json::from_str(&plan_of(name, "json").expect_success().stdout).unwrap();
        assert_eq!(json["buildpack"], buildpack);
        assert_eq!(json["versions"][0]["version"].as_str(), version, "{json:#}");
        assert_eq!(json["processes"][0]["process"], "web");
        assert_eq!(json["origin"]["change"], "[build] buildpack = \"NAME\"");
        assert_eq!(json["dockerfile"].as_str().unwrap(), plan_of(name, "dockerfile").expect_success().stdout);
    }
    let own = std::fs::read_to_string(fixture("dockerfile").join("Dockerfile")).unwrap();
    assert_eq!(plan_of("dockerfile", "dockerfile").stdout, own);
}

#[test]
fn a_plan_that_cannot_be_says_why() {
    let nothing = plan_of("broken-nothing", "text").expect_code(1);
    let nothing = nothing.says("error: no buildpack matches this repository").says("looked for:").says("package.json");
    nothing.says("found: README.md, shopping.txt").says("hint: add one of the files above, or a Dockerfile");
    plan(&["nowhere"]).expect_code(2).says("there is no directory nowhere");
    plan_of("broken-procfile", "json").expect_code(1).says("Procfile, line 2");
    plan_of("broken-toml", "json").expect_code(1).says("paas.toml, line 2");
}

#[test]
fn a_server_has_buildpacks_of_its_own() {
    let server = Server::start();
    let folder = |name: &str, manifest: &str, template: &str| {
        let folder = server.root().join("buildpacks").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("buildpack.toml"), manifest).unwrap();
        std::fs::write(folder.join("Dockerfile.tera"), template).unwrap();
    };
    // One in the place of an embedded one.
    folder(
        "static",
        "title = \"Our static sites\"\norder = 90\ndetect = [{ file = \"index.html\" }]\n\
         [[processes]]\nname = \"web\"\ncommand = \"httpd -f -p $PORT -h /www\"\nsource = \"our web server\"\n",
        "FROM busybox:stable\nCOPY . /www/\nUSER 65534\n",
    );
    let repository = server.repository("static-site", "site");
    let pushed = repository.push().expect_success();
    pushed.says("-----> Our static sites: index.html found").says("Processes: web, from our web server");
    assert!(server.get("site", "/").body.contains("Hello from a static site, v1."));
    assert!(!server.get("site", "/nothing").body.contains("This page is the site's own."), "busybox has no such page");
    let planned = server.paas(&["plan", repository.path.to_str().unwrap()]).expect_success();
    assert!(planned.stdout.contains("FROM busybox:stable") && planned.stdout.contains("our web server"), "{planned}");

    // One more, for a language that nobody knows here.
    folder(
        "shell",
        "title = \"Shell\"\norder = 20\ndetect = [{ file = \"serve.sh\" }]\n\
         [[processes]]\nname = \"web\"\ncommand = \"sh serve.sh\"\nsource = \"serve.sh\"\n",
        "FROM busybox:stable\nWORKDIR /app\nCOPY . .\nUSER 65534\n",
    );
    let repository = server.empty_repository("shell");
    repository.write("serve.sh", "exec httpd -f -p $PORT -h /app\n").write("index.html", "from a shell script");
    repository.commit("first");
    repository.push().expect_success().says("-----> Shell: serve.sh found");
    assert_eq!(server.get("shell", "/").body, "from a shell script");

    // A malformed one is named, and nothing is deployed.
    folder("shell", "title = 1\n", "");
    repository.replace("index.html", "from", "by").commit("second");
    let refused = repository.push().expect_failure().says("buildpacks/shell is malformed");
    refused.says("hint: correct the buildpack's folder, or remove it");
    assert_eq!(server.get("shell", "/").body, "from a shell script");
}
