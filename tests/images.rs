//! The images that deploys leave in the engine: those that a release in reach needs stay, the others go. Images are
//! counted, not releases: a change of config costs no way back.

use std::{collections::BTreeSet, time::Duration};

use crate::harness::{Server, docker, run};

/// How many images of good releases an app keeps.
const KEPT: usize = 5;

#[test]
fn the_images_of_the_last_releases_stay_and_older_ones_go() {
    let server = Server::start();
    let repository = server.repository("dockerfile", "blog");
    let versions = KEPT + 2;
    for version in 1..=versions {
        let page = format!("<h1>page {version}</h1>\n");
        repository.write("www/index.html", &page).commit("another");
        repository.push().expect_success();
    }
    // One more release, of the image that is there.
    server.paas(&["config:set", "blog", "COLOR=red"]).expect_success();

    // Which releases have their image, newest first, says paas; and so says the engine.
    let releases = || server.json(&["releases:list", "blog"]).as_array().unwrap().clone();
    let has_image = || -> Vec<bool> {
        releases().iter().map(|release| release["has_image"].as_bool().expect("the engine answers")).collect()
    };
    let expected: Vec<bool> = (0..=versions).map(|age| age <= KEPT).collect();
    server.wait_for("the old images to go", Duration::from_secs(90), || has_image() == expected);
    let kept: BTreeSet<String> =
        releases().iter().take(KEPT + 1).map(|release| release["image"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kept.len(), KEPT);
    assert_eq!(server.images().len(), kept.len(), "{:?}", server.images());
    for image in &kept {
        run(docker().args(["image", "inspect", image])).expect_success();
    }
    for release in releases().iter().skip(KEPT + 1) {
        run(docker().args(["image", "inspect", release["image"].as_str().unwrap()])).expect_failure();
    }

    // The oldest in reach still runs; and nothing of the app stays when it goes.
    let oldest = format!("v{}", versions + 1 - KEPT);
    server.paas(&["releases:rollback", "blog", &oldest]).expect_success();
    assert_eq!(server.get("blog", "/").body, format!("<h1>page {}</h1>\n", versions + 1 - KEPT));
    server.paas(&["apps:destroy", "blog", "--force"]).expect_success();
    assert_eq!(server.images(), Vec::<String>::new());
    for image in &kept {
        run(docker().args(["image", "inspect", image])).expect_failure();
    }
}
