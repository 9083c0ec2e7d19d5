//! The commit that an app is, in variables while it is built and while it runs; and the file that is its Procfile.

use crate::harness::{Repository, Server, docker, run};

const SERVE: &str = r#"const { GIT_REV, SOURCE_VERSION, REVISION } = process.env;
const built = require("fs").readFileSync("built", "utf8");
require("http").createServer((_, response) => response.end(JSON.stringify({ built, GIT_REV, SOURCE_VERSION, REVISION })))
  .listen(process.env.PORT);
"#;

fn repository(server: &Server) -> Repository {
    let repository = server.empty_repository("rev");
    let build = r#"node -e 'require(\"fs\").writeFileSync(\"built\", `${process.env.GIT_REV}`)'"#;
    repository
        .write("package.json", &format!(r#"{{"scripts": {{"build": "{build}", "start": "node serve.js"}}}}"#))
        .write("serve.js", SERVE)
        .write("package-lock.json", r#"{"lockfileVersion": 3, "packages": {"": {}}}"#);
    repository
}

fn says(server: &Server) -> serde_json::Value {
    serde_json::from_str(&server.get("rev", "/").body).unwrap()
}

#[test]
fn the_commit_is_in_the_build_and_in_the_app_and_goes_with_its_release() {
    let server = Server::start();
    let repository = repository(&server);
    let first = repository.commit("first");
    repository.push().expect_success();
    let of = |commit: &str| serde_json::json!({"built": commit, "GIT_REV": commit, "SOURCE_VERSION": commit});
    assert_eq!(says(&server), of(&first));

    // A config of one's own has the last word, and a change of the name is a release like any other.
    server.paas(&["config:set", "rev", "SOURCE_VERSION=mine"]).expect_success();
    assert_eq!(says(&server)["SOURCE_VERSION"], "mine");
    server.paas(&["apps:set", "rev", "rev-env-var", "REVISION"]).expect_success();
    let renamed = serde_json::json!({"built": first, "SOURCE_VERSION": "mine", "REVISION": first});
    assert_eq!(says(&server), renamed);

    // A commit that changes nothing of the image is another one all the same; and back is back.
    repository.git(&["commit", "--allow-empty", "-m", "second"]).expect_success();
    let second = repository.git(&["rev-parse", "HEAD"]).expect_success().stdout.trim().to_owned();
    repository.push().expect_success();
    let built = serde_json::json!({"built": "undefined", "SOURCE_VERSION": "mine", "REVISION": second});
    assert_eq!(says(&server), built, "the build has the variable by its name of now");
    server.paas(&["releases:rollback", "rev"]).expect_success();
    assert_eq!(says(&server), renamed);
    server.paas(&["ps:restart", "rev"]).expect_success();
    assert_eq!(says(&server), renamed);
    server.paas(&["releases:rollback", "rev", "v1"]).expect_success();
    assert_eq!(says(&server), of(&first), "the names are the release's too");

    server.paas(&["apps:set", "rev", "rev-env-var", "none"]).expect_success();
    assert_eq!(says(&server), serde_json::json!({"built": first}));
    for bad in ["1A", "A B", "PORT", "PAAS_APP"] {
        server.paas(&["apps:set", "rev", "rev-env-var", bad]).expect_code(2).says("names of variables");
    }
}

#[test]
fn a_rollback_between_commits_of_one_image_changes_the_commit() {
    let server = Server::start();
    let repository = server.empty_repository("rev");
    repository.write("Dockerfile", "FROM busybox:stable\nARG GIT_REV\nRUN mkdir /www && echo up > /www/index.html\n");
    repository.write("Procfile", "web: echo $GIT_REV > /www/rev; exec httpd -f -p $PORT -h /www\n");
    let first = repository.commit("first");
    repository.push().expect_success();
    repository.write("README", "more").commit("second");
    repository.push().expect_success();
    server.paas(&["releases:rollback", "rev"]).expect_success();
    assert_eq!(server.get("rev", "/rev").body.trim(), first);
}

#[test]
fn another_file_can_be_the_procfile() {
    let server = Server::start();
    let repository = server.empty_repository("shop");
    repository.write("Dockerfile", "FROM busybox:stable\nRUN mkdir /www && echo up > /www/index.html\n");
    repository.write("Procfile", "web: exit 3\n");
    repository.write("deploy/Procfile", "web: exec httpd -f -p $PORT -h /www\nclock: sleep 1000\n").commit("first");
    server.paas(&["apps:create", "shop"]).expect_success();
    for bad in ["/etc/passwd", "../x", "a/../b", "a//b", "."] {
        server.paas(&["ps:set", "shop", "procfile-path", bad]).expect_code(2).says("from the root of the repository");
    }
    server.paas(&["ps:set", "shop", "-p", "web", "procfile-path", "x"]).expect_code(2);
    server.paas(&["ps:set", "shop", "procfile-path", "deploy/Procfile"]).expect_success().says("the next build");
    repository.push().expect_success().says("Processes: web, clock, from deploy/Procfile");
    server.paas(&["ps:set", "shop", "procfile-path", "deploy/None"]).expect_success();
    repository.write("README", "").commit("second");
    let refused = repository.push().expect_code(1).says("there is no file deploy/None in the repository");
    refused.says("`paas ps:set shop procfile-path` reads the file Procfile again");
    // What holds for all apps need not be there in each.
    server.paas(&["ps:set", "shop", "procfile-path", ""]).expect_success();
    server.paas(&["ps:set", "--global", "procfile-path", "deploy/None"]).expect_success();
    repository.write("Dockerfile", "FROM busybox:stable\nCMD exec httpd -f -p $PORT -h /etc\n").commit("third");
    repository.push().expect_success();
    let format = "{{json .Config.Cmd}}";
    let web = server.containers().into_iter().find(|name| name.contains("-web-")).unwrap();
    assert!(run(docker().args(["inspect", "--format", format, &web])).stdout.contains("-h /etc"));
}
