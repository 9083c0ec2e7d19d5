//! The scripting languages: an app of each is built and serves, a change of its source installs nothing again, and its
//! image has nothing but what runs.

use crate::languages::App;

// ---- Deno and Bun ---------------------------------------------------------------------------------------------------

#[test]
fn deno_with_a_package() {
    App {
        fixture: "deno-hono",
        hello: "Hello from Deno v1, built true\n",
        version: "main.ts",
        install: "deno install --frozen",
        absent: &[],
    }
    .serves();
}

#[test]
fn bun_that_runs_what_it_installs() {
    App {
        fixture: "bun-elysia",
        hello: "Hello from Bun v1 itself, built true\n",
        version: "src/index.ts",
        install: "bun install --frozen-lockfile --no-progress",
        absent: &["/app/node_modules/is-number", "/app/.paas", "/usr/local/bin/node", "/tmp/cache/*"],
    }
    .serves();
}
