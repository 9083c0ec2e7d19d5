use super::*;
use crate::{
    engine::Engine,
    model::{AppId, AppName},
};

/// A future that a server may run on any of its threads. It is never run here.
fn assert_send<T: Send>(_: T) {}

/// A deploy may be run by an HTTP handler or a spawned task, which want it to be `Send`. That it compiles is the test.
#[test]
fn the_futures_of_a_deploy_are_send() {
    #[expect(dead_code, reason = "it is compiled, and never run")]
    fn all(context: &Context<'_>, engine: &Engine, app: &AppName, action: &Action, log: &DeployLog) {
        assert_send(run(context, app, action, log));
        assert_send(hold(context, app, "", |_| {}));
        let instance = context.instance;
        assert_send(recover(instance, engine));
        assert_send(apps_to_retire(instance));
        assert_send(retire_app(instance, engine, AppId(0)));
        assert_send(prune_images(instance, engine));
    }
}
