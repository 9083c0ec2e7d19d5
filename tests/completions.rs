//! Tab, in the shells themselves: a line is typed with its Tab keys at a terminal, and then run.

use std::path::{Path, PathBuf};

use crate::harness::{PAAS, Ran, Server, command, run, run_with_input};

const SOURCE: &str = env!("CARGO_MANIFEST_DIR");

/// A server that runs no daemon, with two apps.
fn server() -> Server {
    let server = Server::prepare(&[]);
    for app in ["blog", "shop"] {
        server.paas(&["apps:create", app]).expect_success();
    }
    server
}

fn search_path() -> String {
    let directory = Path::new(PAAS).parent().unwrap().display().to_string();
    format!("{directory}:{}", std::env::var("PATH").unwrap())
}

/// Types lines at a terminal in which a shell runs.
fn type_into(server: &Server, shell: &str, lines: &str) -> Ran {
    let mut command = server.command("script");
    command.args(["--quiet", "--return", "--command", shell, "/dev/null"]);
    command.env("PATH", search_path()).env("TERM", "dumb").env("LANG", "C.UTF-8").current_dir(SOURCE);
    run_with_input(&mut command, lines)
}

/// What is typed is a command, an app and the value of an option, each begun and then left to Tab. The answers are
/// those of the commands that come out.
fn types_and_runs(server: &Server, shell: &str, begin: &str) {
    let typed = "paas apps:exi\tbl\t\necho code=$?\npaas apps:inf\tsh\t--form\tjs\t\nexit\n";
    let ran = type_into(server, shell, &format!("{begin}\n{typed}")).expect_success();
    assert!(ran.stdout.contains("code=0"), "{ran}");
    assert!(ran.stdout.contains(r#""app": "shop""#), "{ran}");
}

#[test]
fn bash_completes_commands_apps_and_values() {
    let server = server();
    let begin = "bind 'set bell-style none'\nsource completions/paas.bash";
    types_and_runs(&server, "bash --norc --noprofile -i", begin);
    // Where a colon breaks no word, and after an option with its value in one word.
    types_and_runs(&server, "bash --norc --noprofile -i", &format!("COMP_WORDBREAKS=' '\n{begin}"));
    let typed = "paas apps:info shop --format=js\t\nexit\n";
    let ran = type_into(&server, "bash --norc --noprofile -i", &format!("{begin}\n{typed}")).expect_success();
    assert!(ran.stdout.contains(r#""app": "shop""#), "{ran}");
}

#[test]
fn zsh_completes_commands_apps_and_values() {
    // By its name from the search path of functions, as installed; and sourced.
    let server = server();
    types_and_runs(&server, "zsh -f -i", "fpath=($PWD/completions $fpath); autoload -U compinit; compinit -u -D");
    types_and_runs(&server, "zsh -f -i", "autoload -U compinit; compinit -u -D; source <(paas completions zsh)");
}

#[test]
fn fish_completes_commands_apps_and_values() {
    let server = server();
    let complete = |line: &str| {
        let mut command = server.command("fish");
        command.env("PATH", search_path()).current_dir(SOURCE);
        let script = format!("source completions/paas.fish; complete --do-complete '{line}'");
        run(command.args(["--no-config", "--command", &script])).expect_success().stdout
    };
    assert_eq!(complete("paas apps:inf"), "apps:info\tShow an app: its address, release, containers and status\n");
    assert_eq!(complete("paas apps:info "), "blog\nshop\n");
    assert_eq!(complete("paas config:get sh"), "shop\n");
    assert_eq!(complete("paas apps:create bl"), "");
    assert_eq!(complete("paas apps:info shop --format "), "text\tFor people\njson\tFor programs\n");
    assert!(complete("paas --conf").starts_with("--config\t"));
}

#[test]
fn tab_makes_no_instance_and_no_noise() {
    let directory = tempfile::tempdir().unwrap();
    let root: PathBuf = directory.path().join("root");
    let answer = |config: &str| {
        let mut command = command(PAAS);
        command.env_clear().env("COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "2");
        command.env("PAAS_ROOT", &root).env("PAAS_CONFIG", config);
        run(command.args(["--", "paas", "apps:info", "b"])).expect_success()
    };
    std::fs::write(directory.path().join("good.toml"), "").unwrap();
    std::fs::write(directory.path().join("bad.toml"), "= nonsense").unwrap();
    for config in ["good.toml", "bad.toml", "missing.toml"] {
        let ran = answer(&directory.path().join(config).display().to_string());
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    }
    assert!(!root.exists());
}
