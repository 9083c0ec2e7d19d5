//! Who may do what: every command, as every role, through the real SSH server; and that no command asks for less than
//! what it changes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use paas::{AccessRow, Right, Role, access_table};

use crate::harness::{Ran, Server, command, run, run_with_input};

/// Tables that only people change, and the rights that let them: one of them must be what the command asks for.
const CHANGED_BY_PEOPLE: [(&str, &[Right]); 17] = [
    ("apps", &[Right::Deploy, Right::Change, Right::Own, Right::Create]),
    ("secrets", &[Right::Change, Right::Own, Right::Deploy, Right::Administer]),
    ("properties", &[Right::Change, Right::Own, Right::Deploy, Right::Administer]),
    ("runs", &[Right::Reveal, Right::Deploy, Right::Own]),
    ("formation", &[Right::Change, Right::Own]),
    ("domains", &[Right::Change, Right::Own]),
    ("redirects", &[Right::Change, Right::Own]),
    ("maintenance", &[Right::Change, Right::Own]),
    ("ports", &[Right::Change, Right::Own]),
    ("crons", &[Right::Change, Right::Own]),
    ("cron_switches", &[Right::Change, Right::Own]),
    ("proxy_users", &[Right::Change, Right::Own]),
    ("proxy_paths", &[Right::Change, Right::Own]),
    ("proxy_snippets", &[Right::Administer, Right::Own]),
    ("global_domains", &[Right::Administer]),
    ("ssh_keys", &[Right::Administer]),
    ("key_grants", &[Right::Administer, Right::Create, Right::Own]),
];

/// A key that may log in, with a role on the server, or for the app blog alone.
fn key(server: &Server, name: &str, role: Option<Role>, of_blog: Option<Role>) -> PathBuf {
    let path = server.directory.path().join(name);
    run(command("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path)).expect_success();
    server.paas(&["ssh-keys:add", name, &format!("{}.pub", path.display())]).expect_success();
    // No command sets a role yet: all keys are admin until there are users.
    let database = rusqlite::Connection::open(server.root().join("paas.db")).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    let role = role.map(Role::as_str);
    database.execute("UPDATE ssh_keys SET role = ?2 WHERE name = ?1", rusqlite::params![name, role]).unwrap();
    if let Some(role) = of_blog {
        let grant = "INSERT INTO key_grants (key_id, app_id, role)
                     SELECT ssh_keys.id, apps.id, ?2 FROM ssh_keys, apps WHERE ssh_keys.name = ?1 AND apps.name = 'blog'";
        assert_eq!(database.execute(grant, rusqlite::params![name, role.as_str()]).unwrap(), 1);
    }
    path
}

fn ssh(server: &Server, key: &Path, row: &AccessRow) -> Ran {
    run_with_input(server.ssh_command(key).arg(row.example.join(" ")), "")
}

/// What a command should come to for somebody.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    OnlyHere,
    Hidden,
    Denied,
    Allowed,
}

fn expected(row: &AccessRow, role: Option<Role>, of_blog: Option<Role>) -> Expected {
    let Some(right) = row.right else { return Expected::OnlyHere };
    let has = |role: Option<Role>| role.is_some_and(|role| role.has(right));
    let sees = [role, of_blog].into_iter().flatten().next().is_some();
    match row.is_of_an_app {
        true if has(role) || has(of_blog) => Expected::Allowed,
        true if sees => Expected::Denied,
        true => Expected::Hidden,
        // Those who see one app may ask for lists, and get that app.
        false if has(role) || (right == Right::See && of_blog.is_some()) => Expected::Allowed,
        false => Expected::Denied,
    }
}

#[test]
fn every_command_asks_every_role_for_its_right() {
    let server = Server::start();
    server.paas(&["apps:create", "blog"]).expect_success();
    server.paas(&["apps:create", "shop"]).expect_success();
    let table = access_table().unwrap();
    assert!(table.len() > 40, "{table:?}");
    let roles = [
        ("nobody", None, None),
        ("viewer", Some(Role::Viewer), None),
        ("deployer", Some(Role::Deployer), None),
        ("viewer-of-blog", None, Some(Role::Viewer)),
        ("deployer-of-blog", None, Some(Role::Deployer)),
    ];
    for (name, role, of_blog) in roles {
        let key = key(&server, name, role, of_blog);
        for row in &table {
            // What may be done is done by the test below; here only what changes nothing.
            let expected = expected(row, role, of_blog);
            if expected == Expected::Allowed && row.right != Some(Right::See) {
                continue;
            }
            let ran = ssh(&server, &key, row);
            let case = format!("{name}: {}: {ran}", row.command);
            // There is no operation yet, of which app it would be is asked only if there is one.
            if row.example.last().is_some_and(|word| word == "1") && expected == Expected::Hidden {
                assert_eq!((ran.code, ran.stdout.as_str()), (5, ""), "{case}");
                continue;
            }
            match expected {
                Expected::OnlyHere => {
                    assert_eq!(ran.code, 2, "{case}");
                    assert!(ran.stderr.contains("works on the server itself"), "{case}");
                }
                Expected::Hidden => {
                    assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{case}");
                    assert!(ran.stderr.contains("there is no app named blog"), "{case}");
                }
                Expected::Denied => {
                    assert_eq!((ran.code, ran.stdout.as_str()), (5, ""), "{case}");
                    assert!(ran.stderr.contains("may not do this") && ran.stderr.contains("hint: "), "{case}");
                }
                Expected::Allowed => assert_ne!(ran.code, 5, "{case}"),
            }
        }
    }

    // What one may not see is not in a list either.
    let of_blog = server.directory.path().join("viewer-of-blog");
    let list = run(server.ssh_command(&of_blog).arg("apps:list")).expect_success();
    assert!(list.stdout.contains("blog") && !list.stdout.contains("shop"), "{list}");
    let hidden = run(server.ssh_command(&of_blog).arg("apps:info shop")).expect_code(3);
    let missing = run(server.ssh_command(&of_blog).arg("apps:info none")).expect_code(3);
    assert_eq!(hidden.stderr.replace("shop", "none"), missing.stderr);

    // The git services ask too, for an app that is there and for one that a push would make.
    for (key, app, code) in [("viewer", "blog", 5), ("viewer", "new", 5), ("viewer-of-blog", "shop", 3)] {
        let key = server.directory.path().join(key);
        let ran = run(server.ssh_command(&key).arg(format!("git-receive-pack '{app}'")));
        assert_eq!(ran.code, code, "{ran}");
    }
    assert!(!server.paas(&["apps:list"]).stdout.contains("new"));

    // A refusal is an event, with who and from where.
    let denied = server.json(&["events", "--outcome", "denied", "--by", "key:viewer", "-n", "500"]);
    let denied = denied.as_array().unwrap();
    assert!(
        denied.iter().any(|event| event["action"] == "apps:destroy" && event["subject"] == "app:blog"),
        "{denied:?}"
    );
    assert!(denied.iter().all(|event| event["address"] == "127.0.0.1" && event["door"] != "local"), "{denied:?}");
}

/// The rows of the tables that only people change.
fn contents(server: &Server) -> BTreeMap<&'static str, Vec<String>> {
    let database = rusqlite::Connection::open(server.root().join("paas.db")).unwrap();
    let rows = |table: &str| {
        let mut statement = database.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = statement.column_count();
        let row = |row: &rusqlite::Row<'_>| {
            (0..columns)
                .map(|column| row.get_ref(column).map(|value| format!("{value:?}")))
                .collect::<Result<String, _>>()
        };
        statement.query_map([], row).unwrap().map(Result::unwrap).collect::<Vec<_>>()
    };
    CHANGED_BY_PEOPLE.iter().map(|(table, _)| (*table, rows(table))).collect()
}

#[test]
fn no_command_changes_more_than_its_right_allows() {
    let server = Server::start();
    server.repository("dockerfile", "blog").push().expect_success();
    let mut changing = 0;
    for row in access_table().unwrap().iter().filter(|row| row.right.is_some()) {
        let before = contents(&server);
        let ran = ssh(&server, &server.key(), row);
        assert_ne!(ran.code, 70, "{}: {ran}", row.command);
        // A run that it began ends by itself.
        server.wait_for("runs to end", std::time::Duration::from_secs(60), || {
            let database = rusqlite::Connection::open(server.root().join("paas.db")).unwrap();
            let under_way = "SELECT count(*) FROM runs WHERE ended_at IS NULL";
            database.query_row(under_way, [], |row| row.get::<_, u32>(0)).unwrap() == 0
        });
        let after = contents(&server);
        for (table, rights) in CHANGED_BY_PEOPLE {
            if before[table] != after[table] {
                changing += 1;
                let right = row.right.unwrap();
                assert!(rights.contains(&right), "{} asks for {right} and changes {table}", row.command);
            }
        }
    }
    assert!(changing > 8, "only {changing} commands changed something");
}

#[test]
fn an_actor_that_cannot_be_read_is_refused_and_never_the_owner() {
    let server = Server::prepare(&[]);
    server.paas(&["apps:create", "blog"]).expect_success();
    for actor in ["", "nonsense", "key:", "key:gone", "guest", "local", "root:root", "KEY:tester"] {
        let ran = run(server.command(crate::harness::PAAS).env("PAAS_ACTOR", actor).args(["apps:info", "blog"]));
        assert_eq!((ran.code, ran.stdout.as_str()), (5, ""), "{actor:?}: {ran}");
        assert!(ran.stderr.contains("is not somebody that this server knows"), "{actor:?}: {ran}");
    }
    let ran = run(server.command(crate::harness::PAAS).env("PAAS_ACTOR", "key:tester").args(["apps:info", "blog"]));
    ran.expect_success();
}
