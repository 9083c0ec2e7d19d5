//! What need not be typed: the app, in its clone, with `--app` and with `PAAS_APP`; and options before the command.

use crate::harness::{PAAS, Ran, Server, run};

/// Runs `paas ARGUMENTS` in a clone.
fn in_clone(server: &Server, clone: &std::path::Path, arguments: &[&str]) -> Ran {
    run(server.command(PAAS).args(arguments).current_dir(clone))
}

#[test]
fn in_a_clone_the_app_is_known_and_no_other_word_is_taken_for_it() {
    let server = Server::prepare(&[]);
    for app in ["blog", "shop"] {
        server.paas(&["apps:create", app]).expect_success();
    }
    let clone = server.empty_repository("blog").path;
    let here = |arguments: &[&str]| in_clone(&server, &clone, arguments);
    assert!(here(&["apps:info"]).expect_success().stdout.contains("app:           blog\n"));
    here(&["config:set", "A=1", "B=blog", "--no-restart"]).expect_success();
    here(&["config:set", "blog", "C=3", "--no-restart"]).expect_success();
    assert_eq!(here(&["config:get", "A"]).expect_success().stdout, "1\n");
    assert_eq!(here(&["config:get", "blog", "C"]).expect_success().stdout, "3\n");
    assert_eq!(server.json(&["config:show", "blog", "--reveal"])["B"], "blog");
    // Another app is named as another, and only so.
    assert!(here(&["--app", "shop", "apps:info"]).expect_success().stdout.contains("shop"));
    assert!(here(&["apps:info", "--app=shop"]).expect_success().stdout.contains("shop"));
    here(&["apps:info", "shop"]).expect_code(2).says("'shop'").says("--app shop");
    here(&["apps:info", "shop", "--format", "json"]).expect_code(2).says("--app shop");
    // What ends an app is always told its name, and what lists apps lists all.
    here(&["apps:destroy", "--force"]).expect_code(2);
    assert!(here(&["apps:list"]).expect_success().stdout.contains("shop"));

    // In a folder of the clone, and with a variable, which wins over the clone.
    std::fs::create_dir(clone.join("folder")).unwrap();
    assert!(in_clone(&server, &clone.join("folder"), &["apps:info"]).expect_success().stdout.contains("blog"));
    let ran = run(server.command(PAAS).arg("apps:info").env("PAAS_APP", "shop").current_dir(&clone));
    assert!(ran.expect_success().stdout.contains("shop"));
    let ran = run(server.command(PAAS).args(["apps:info", "--app", "blog"]).env("PAAS_APP", "shop"));
    assert!(ran.expect_success().stdout.contains("blog"));
    run(server.command(PAAS).arg("apps:info").env("PAAS_APP", "Not_One")).expect_code(2).says("app name");
    // Nothing is known elsewhere.
    server.paas(&["apps:info"]).expect_code(2).says("APP");
}

#[test]
fn options_stand_before_the_command_too() {
    let server = Server::start();
    server.paas(&["apps:create", "blog"]).expect_success();
    server.paas(&["apps:create", "shop"]).expect_success();
    server.paas(&["--force", "apps:destroy", "shop"]).expect_success().says("shop is destroyed");
    server.ssh("paas --app blog apps:info").expect_success();
    assert_eq!(server.ssh("paas --quiet apps:create shop").expect_success().stderr, "");
    assert_eq!(server.paas(&["--format", "json", "--app", "blog", "apps:info"]).code, 0);
    // Over SSH no folder of the server counts as a clone.
    server.ssh("apps:info").expect_code(2);
}
