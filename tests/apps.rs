//! Apps: made, listed, looked at, destroyed; from this machine and over SSH.

use crate::harness::Server;

#[test]
fn an_app_is_made_listed_and_destroyed_by_both_doors() {
    let server = Server::start();
    assert_eq!(server.paas(&["apps:create", "blog"]).expect_success().stdout, "blog\n");
    assert_eq!(server.ssh("apps:create shop").expect_success().stdout, "shop\n");
    server.paas(&["apps:create", "blog"]).expect_code(4).says("there is already an app named blog");
    let names: Vec<String> = server
        .json(&["apps:list"])
        .as_array()
        .unwrap()
        .iter()
        .map(|app| app["app"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["blog", "shop"]);
    assert_eq!(server.paas(&["apps:list"]).stdout, server.ssh("apps:list").stdout);
    server.paas(&["apps:exists", "blog"]).expect_success();
    server.ssh("apps:exists nope").expect_code(3);
    server.ssh("apps:info nope").expect_code(3).says("hint: `paas apps:list`");
    server.paas_with_input(&["apps:destroy", "blog"], "wrong\n").expect_code(2).says("was not destroyed");
    server.paas_with_input(&["apps:destroy", "blog"], "blog\n").expect_success();
    server.ssh("apps:destroy shop --force").expect_success();
    assert_eq!(server.paas(&["apps:list"]).stdout, "");
}
