//! What app.json says: variables, scripts around a deploy, numbers of containers.

use std::time::Duration;

use serde_json::json;

use crate::{
    harness::{Repository, Server, docker, run},
    processes::{deploying, kill},
};

/// For what takes as long as the machine is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A site whose image anybody may write to.
const DOCKERFILE: &str = "FROM busybox:stable\nWORKDIR /www\nENV KEPT=yes\nCOPY . .\nRUN chmod -R a+rwX /www\nUSER \
                          65534\nENTRYPOINT [\"httpd\"]\nCMD [\"-f\", \"-p\", \"5000\", \"-h\", \"/www\"]\n";

fn repository(server: &Server, app_json: &serde_json::Value) -> Repository {
    let repository = server.empty_repository("shop");
    repository.write("Dockerfile", DOCKERFILE).write("index.html", "one\n");
    write(&repository, app_json);
    repository
}

/// Writes app.json and commits.
fn write(repository: &Repository, app_json: &serde_json::Value) {
    repository.write("app.json", &app_json.to_string()).commit("app.json");
}

fn config(server: &Server, name: &str) -> Option<String> {
    let got = server.paas(&["config:get", "shop", name]);
    (got.code == 0).then(|| got.stdout.trim_end().to_owned())
}

/// The image of the live web container.
fn image(server: &Server) -> String {
    let name = server.containers().into_iter().find(|name| name.contains("-web-1")).unwrap();
    let inspected = run(docker().args(["inspect", "--format", "{{.Image}}", &name])).expect_success();
    inspected.stdout.trim().to_owned()
}

#[test]
fn variables_get_their_values_once() {
    let server = Server::start();
    let required = json!({"description": "of the mail service"});
    let env = json!({"KEY": {"generator": "secret"}, "MODE": "a", "TOKEN": required, "LEVEL": {"required": false}});
    let repository = repository(&server, &json!({ "env": env }));
    // Named with what it is for and the line that sets it, and before anything is built.
    let refused = repository.push().expect_failure();
    let refused = refused
        .says("app.json requires variables that have no value: TOKEN")
        .says("TOKEN: of the mail service")
        .says("hint: `paas config:set shop TOKEN=VALUE`, then push again");
    assert!(!refused.talk().contains("Building"), "{refused}");
    assert_eq!(config(&server, "MODE"), None, "a push that fails changes nothing");

    server.paas(&["config:set", "shop", "TOKEN=t"]).expect_success();
    let pushed = repository.push().expect_success().says("Variables, as app.json says: KEY made up, MODE set");
    let key = config(&server, "KEY").unwrap();
    assert!(key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key:?}");
    assert!(!pushed.talk().contains(&key), "{pushed}");
    assert_eq!((config(&server, "MODE").as_deref(), config(&server, "LEVEL")), (Some("a"), None));

    // Once: neither another default nor a value that was taken away comes back, and what a user set stays.
    server.paas(&["config:unset", "shop", "MODE"]).expect_success();
    let env = json!({"KEY": {"generator": "secret"}, "MODE": {"value": "b", "required": false}, "TOKEN": "u",
                     "LATE": "c", "SYNCED": {"value": "d", "sync": true}});
    write(&repository, &json!({ "env": env }));
    repository.push().expect_success().says("Variables, as app.json says: LATE set, SYNCED set");
    let now = ["KEY", "MODE", "TOKEN", "LATE", "SYNCED"].map(|name| config(&server, name));
    let now = now.each_ref().map(Option::as_deref);
    assert_eq!(now, [Some(key.as_str()), None, Some("t"), Some("c"), Some("d")]);
    server.paas(&["config:set", "shop", "SYNCED=e", "LATE=f"]).expect_success();
    repository.commit("again");
    repository.push().expect_success();
    assert_eq!((config(&server, "SYNCED").as_deref(), config(&server, "LATE").as_deref()), (Some("d"), Some("f")));

    // A release from before a variable takes it away, and the next push gives it again.
    server.paas(&["releases:rollback", "shop", "v1"]).expect_success();
    assert_eq!(config(&server, "LATE"), None);
    repository.commit("once more");
    repository.push().expect_success().says("LATE set");
    assert_eq!(config(&server, "LATE").as_deref(), Some("c"));
}

#[test]
fn scripts_run_around_a_deploy() {
    let server = Server::start();
    let scripts = json!({
        "dokku": {
            "predeploy": "echo predeploy of $PAAS_APP; echo $MODE > made.txt; touch $(echo empty)",
            "postdeploy": "echo postdeploy with $MODE and $(cat made.txt)",
        },
        "postdeploy": "echo seeding $MODE",
    });
    let app_json = json!({"env": {"MODE": "a-secret-value"}, "scripts": scripts, "cron": [{"command": "x", "schedule": "@yearly"}]});
    let repository = repository(&server, &app_json);
    let pushed = repository.push().expect_success();
    let talk = pushed.says("Crons: x (@yearly)").talk();
    let steps = [
        "Building",
        "Running scripts.dokku.predeploy of app.json",
        "predeploy of shop",
        "Starting web.1",
        "Running scripts.postdeploy of app.json",
        "seeding ********",
        "Running scripts.dokku.postdeploy of app.json",
        "postdeploy with ******** and ********",
        "shop v1 is live",
    ];
    let places: Vec<Option<usize>> = steps.iter().map(|step| talk.find(step)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}: {talk}");

    // What it wrote is in the image, and nothing of the config is; all else of the image is as it was built.
    assert_eq!(server.get("shop", "/made.txt").body, "a-secret-value\n");
    let format = "{{json .Config.Env}} {{json .Config.Entrypoint}} {{json .Config.Cmd}} {{.Config.User}} \
                  {{.Config.WorkingDir}} {{json .Config.Labels}}";
    let config = run(docker().args(["inspect", "--format", format, &image(&server)])).expect_success().stdout;
    assert!(config.contains("KEPT=yes") && !config.contains("MODE="), "{config}");
    assert!(config.contains(r#"["httpd"] ["-f","-p","5000","-h","/www"] 65534 /www {"#), "{config}");
    assert!(config.contains("paas.app") && !config.contains("paas.process"), "{config}");
    let history = run(docker().args(["history", "--no-trunc", &image(&server)])).expect_success().stdout;
    assert!(!history.contains("a-secret-value"), "{history}");
    server.wait_for("only web.1 to be left", PATIENCE, || server.containers().len() == 1);
    assert_eq!(server.images().len(), 1, "{:?}", server.images());

    // The one of Heroku's runs after the first deploy alone.
    repository.write("index.html", "two\n").commit("two");
    let pushed = repository.push().expect_success().says("postdeploy with").says("predeploy of shop");
    assert!(!pushed.talk().contains("seeding"), "{pushed}");
    assert_eq!(server.get("shop", "/made.txt").body, "a-secret-value\n");
    // Neither does a restart run any.
    let set = server.paas(&["config:set", "shop", "MODE=b"]).expect_success();
    assert!(!set.talk().contains("scripts."), "{set}");
}

#[test]
fn a_script_that_fails_before_the_switch_changes_nothing_and_one_after_it_is_said() {
    let server = Server::start();
    let repository = repository(&server, &json!({}));
    repository.push().expect_success();
    let images = server.images();
    write(&repository, &json!({"scripts": {"dokku": {"predeploy": "echo all is lost; exit 3"}}}));
    let refused = repository.push().expect_code(1);
    refused.says("all is lost").says("scripts.dokku.predeploy of app.json exited with code 3").says("v1 still serves");
    assert_eq!(server.get("shop", "/").body, "one\n");
    assert_eq!((server.containers().len(), server.images()), (1, images));

    write(&repository, &json!({"scripts": {"dokku": {"postdeploy": "exit 4"}}}));
    repository.write("index.html", "two\n").commit("two");
    let said = "scripts.dokku.postdeploy of app.json exited with code 4; v3 serves all the same";
    repository.push().expect_success().says(said);
    server.wait_for("the second version", PATIENCE, || server.get("shop", "/").body == "two\n");
    server.wait_for("only web.1 to be left", PATIENCE, || server.containers().len() == 1);
}

#[test]
fn the_number_in_the_file_holds_until_somebody_scales() {
    let server = Server::start();
    let of = |quantity: u32| json!({"formation": {"web": {"quantity": quantity}}});
    let repository = repository(&server, &of(2));
    let count = || server.json(&["ps:scale", "shop"])[0]["quantity"].as_u64().unwrap();
    server.paas(&["apps:create", "shop"]).expect_success();
    server.paas(&["ps:scale", "shop", "web=3"]).expect_success();
    repository.push().expect_success().says("web=2, as app.json says now; it was 3: `paas ps:scale shop web=3`");
    assert_eq!(count(), 2);
    server.paas(&["ps:scale", "shop", "web=1"]).expect_success();
    repository.commit("again");
    repository.push().expect_success().says("web=1, as set with ps:scale, though app.json says 2");
    assert_eq!(count(), 1);
    write(&repository, &of(3));
    repository.push().expect_success().says("web=3, as app.json says now; it was 1");
    assert_eq!(count(), 3);
    repository.write("paas.toml", "[processes.web]\ncommand = \"exec httpd -f -p $PORT -h /www\"\nscale = 1\n");
    repository.commit("paas.toml");
    repository.push().expect_success().says("web=1, as paas.toml says now; it was 3");
    assert_eq!(count(), 1);
}

#[test]
fn what_a_killed_deploy_left_of_its_scripts_is_removed() {
    let server = Server::start();
    let repository = repository(&server, &json!({}));
    repository.push().expect_success();
    for (script, page) in [("predeploy", "one\n"), ("postdeploy", "two\n")] {
        repository.write("index.html", "two\n");
        write(&repository, &json!({"scripts": {"dokku": {script: "echo begun; sleep 1000"}}}));
        let mut push = repository.begin_push();
        server.wait_for("the script", PATIENCE, || server.containers().iter().any(|name| name.contains("-release-1")));
        kill(&deploying(&server));
        push.wait().unwrap();
        server.wait_for("the recovery", PATIENCE, || {
            let names = server.containers();
            names.len() == 1 && names[0].contains("-web-1") && server.get("shop", "/").body == page
        });
        // The engine takes a moment for what nobody names any more.
        let images = if page == "one\n" { 1 } else { 2 };
        server.wait_for("the image of the killed deploy to go", PATIENCE, || server.images().len() == images);
    }
}
