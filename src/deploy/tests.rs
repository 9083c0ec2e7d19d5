use super::*;
use crate::{engine::Engine, model::AppName};

/// A future that a server may run on any of its threads. It is never run here.
fn assert_send<T: Send>(_: T) {}

/// A deploy may be run by an HTTP handler or a spawned task, which want it to be `Send`. That it compiles is the test.
#[test]
fn the_futures_of_a_deploy_are_send() {
    #[expect(dead_code, reason = "it is compiled, and never run")]
    fn all(instance: &Instance, engine: &Engine, app: &AppName, push: &Push, edit: &Edit, log: &DeployLog) {
        assert_send(super::push(instance, push, log));
        assert_send(rebuild(instance, app, log));
        assert_send(super::edit(instance, app, edit, log));
        assert_send(rollback(instance, app, None, log));
        assert_send(scale(instance, app, &[], log));
        assert_send(restart(instance, app, None, log));
        assert_send(hold(instance, app, "", |_| {}));
        assert_send(recover(instance, engine));
        assert_send(apps_to_retire(instance));
        assert_send(retire_app(instance, engine, 0));
        assert_send(prune_images(instance, engine));
    }
}
