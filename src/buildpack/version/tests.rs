//! Versions: which file decides, what the words mean, and which old versions run.

use super::*;
use crate::{
    buildpack::tests::{buildpacks, try_plan},
    ui::error_text,
};

/// A place that can name a version: its words in docs/versions.md, its file with what it adds to it, and the version
/// that follows.
type Rung<'a> = (&'a str, &'a str, &'a str, &'a str);

/// The files of some rungs: the parts of a JSON file are merged, those of any other file follow each other.
fn files_of(base: &[(&str, &str)], rungs: &[Rung<'_>]) -> Vec<(String, String)> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let parts = base.iter().copied().chain(rungs.iter().map(|(_, file, part, _)| (*file, *part)));
    for (file, part) in parts {
        let text = files.entry(file.to_owned()).or_default();
        if file.ends_with(".json") && !text.is_empty() {
            let mut whole: serde_json::Value = serde_json::from_str(text).unwrap();
            merge(&mut whole, &serde_json::from_str(part).unwrap());
            *text = whole.to_string();
        } else {
            text.push_str(part);
        }
    }
    files.into_iter().collect()
}

fn merge(whole: &mut serde_json::Value, part: &serde_json::Value) {
    for (key, value) in part.as_object().unwrap() {
        match whole.get_mut(key).filter(|there| there.is_object() && value.is_object()) {
            Some(there) => merge(there, value),
            None => whole[key] = value.clone(),
        }
    }
}

/// Goes down a row of the table in docs/versions.md: with all files there the first decides, without it the second.
fn each_decides_before_the_next(name: &str, base: &[(&str, &str)], rungs: &[Rung<'_>]) {
    let table = include_str!("../../../docs/versions.md");
    let row = table.lines().find(|line| line.starts_with(&format!("| {name} |"))).unwrap();
    let mut rest = row;
    for (index, (words, file, _, version)) in rungs.iter().enumerate() {
        let mut files = files_of(base, &rungs[index..]);
        if !files.iter().any(|(file, _)| file == "Procfile") {
            files.push(("Procfile".to_owned(), "web: run\n".to_owned()));
        }
        let files: Vec<_> = files.iter().map(|(file, text)| (file.as_str(), text.as_str())).collect();
        let plan = try_plan(&files).unwrap_or_else(|error| panic!("{name}, {words}: {}", error_text(&error)));
        let found = plan.versions.iter().find(|version| version.what == name).unwrap();
        assert_eq!(found.version, *version, "{name}, {words}: {}", found.describe());
        assert!(found.source.ends_with(file), "{name}, {words}: {}", found.source);
        rest = rest.split_once(words).unwrap_or_else(|| panic!("{words} is not at its place in: {row}")).1;
    }
}

const MANAGERS: &str = "version managers";

#[test]
fn the_first_place_that_names_a_version_decides() {
    let package = [("package.json", r#"{"scripts":{"start":"node x.js"}}"#)];
    each_decides_before_the_next(
        "Node",
        &package,
        &[
            ("", "paas.toml", "[build.versions]\nnode = \"26\"\n", "26"),
            (".node-version", ".node-version", "24", "24"),
            (".nvmrc", ".nvmrc", "22", "22"),
            ("volta.node", "package.json", r#"{"volta":{"node":"20.1.0"}}"#, "20"),
            (MANAGERS, "mise.toml", "[tools]\nnode = \"18\"\n", "18"),
            ("", ".tool-versions", "nodejs 16.1.0\n", "16"),
            ("", ".prototools", "node = \"14\"\n", "14"),
            (
                "devEngines.runtime",
                "package.json",
                r#"{"devEngines":{"runtime":[{"name":"bun","version":"1"},{"name":"node","version":"^12"}]}}"#,
                "12",
            ),
            ("useNodeVersion", "pnpm-workspace.yaml", "useNodeVersion: 10.24.1\n", "10"),
            ("use-node-version", ".npmrc", "use-node-version=8.17.0\n", "8"),
            ("engines.node", "package.json", r#"{"engines":{"node":"6.x"}}"#, "6"),
        ],
    );
    each_decides_before_the_next(
        "npm",
        &package,
        &[
            ("packageManager", "package.json", r#"{"packageManager":"npm@9.1.0"}"#, "9.1.0"),
            (
                "devEngines.packageManager",
                "package.json",
                r#"{"devEngines":{"packageManager":{"name":"npm","version":"8.1.0"}}}"#,
                "8.1.0",
            ),
            ("volta.npm", "package.json", r#"{"volta":{"npm":"7.1.0"}}"#, "7.1.0"),
            (MANAGERS, ".tool-versions", "npm 11.1.0\n", "11.1.0"),
            ("engines.npm", "package.json", r#"{"engines":{"npm":">=11 <12"}}"#, "11"),
        ],
    );
    let lock = "---\nlockfileVersion: '9.0'\n\nimporters:\n\n  .:\n    configDependencies: {}\n    \
                packageManagerDependencies:\n      '@pnpm/exe':\n        specifier: 11.0.3\n        version: \
                11.0.3\n      pnpm:\n        specifier: 11.0.3\n        version: 11.0.3\n\n---\nlockfileVersion: '9.0'\n";
    each_decides_before_the_next(
        "pnpm",
        &[package[0], ("pnpm-workspace.yaml", "packages: [x]\n")],
        &[
            ("packageManager", "package.json", r#"{"packageManager":"pnpm@10.1.0+sha512.abc"}"#, "10.1.0"),
            (
                "devEngines.packageManager",
                "package.json",
                r#"{"devEngines":{"packageManager":[{"name":"pnpm","version":"11.5.1"}]}}"#,
                "11.5.1",
            ),
            ("pnpm-lock.yaml", "pnpm-lock.yaml", lock, "11.0.3"),
            ("volta.pnpm", "package.json", r#"{"volta":{"pnpm":"8.1.0"}}"#, "8.1.0"),
            (MANAGERS, "mise.toml", "[tools]\n\"npm:pnpm\" = { version = \"7.1.0\" }\n", "7.1.0"),
            ("engines.pnpm", "package.json", r#"{"engines":{"pnpm":"^9"}}"#, "9"),
        ],
    );
    each_decides_before_the_next(
        "Yarn",
        &[package[0], ("yarn.lock", "__metadata:\n  version: 8\n")],
        &[
            (".yarnrc.yml", ".yarnrc.yml", "yarnPath: .yarn/releases/yarn-4.1.0.cjs\n", "4.1.0"),
            ("packageManager", "package.json", r#"{"packageManager":"yarn@4.2.0"}"#, "4.2.0"),
            (
                "devEngines.packageManager",
                "package.json",
                r#"{"devEngines":{"packageManager":{"name":"yarn","version":"4.3.0"}}}"#,
                "4.3.0",
            ),
            ("volta.yarn", "package.json", r#"{"volta":{"yarn":"4.4.0"}}"#, "4.4.0"),
            (MANAGERS, ".tool-versions", "yarn 4.5.0\n", "4.5.0"),
            ("engines.yarn", "package.json", r#"{"engines":{"yarn":"3.x"}}"#, "3"),
        ],
    );
    each_decides_before_the_next(
        "Bun",
        &[package[0], ("bun.lock", "{}")],
        &[
            ("packageManager", "package.json", r#"{"packageManager":"bun@1.1.1"}"#, "1.1.1"),
            (
                "devEngines.packageManager",
                "package.json",
                r#"{"devEngines":{"packageManager":{"name":"bun","version":"1.1.2"}}}"#,
                "1.1.2",
            ),
            (
                "devEngines.runtime",
                "package.json",
                r#"{"devEngines":{"runtime":{"name":"bun","version":"1.1.3"}}}"#,
                "1.1.3",
            ),
            (".bun-version", ".bun-version", "v1.1.4\n", "1.1.4"),
            (MANAGERS, ".tool-versions", "bun 1.1.5\n", "1.1.5"),
            ("engines.bun", "package.json", r#"{"engines":{"bun":"1.1.6"}}"#, "1.1.6"),
        ],
    );
    each_decides_before_the_next(
        "Deno",
        &[("deno.json", r#"{"tasks":{"start":"deno run x.ts"}}"#)],
        &[
            (".deno-version", ".deno-version", "2.1.4\n", "2.1.4"),
            (".dvmrc", ".dvmrc", "2.2.3\n", "2.2.3"),
            (MANAGERS, ".tool-versions", "deno 2.3.1\n", "2.3.1"),
        ],
    );
    each_decides_before_the_next(
        "Python",
        &[("requirements.txt", "flask\n"), ("Procfile", "web: python x.py\n")],
        &[
            (".python-version", ".python-version", "myproject\n3.14\n", "3.14"),
            ("runtime.txt", "runtime.txt", "python-3.13.1\n", "3.13"),
            (MANAGERS, ".tool-versions", "python system 3.12.1 3.11.1\n", "3.12"),
            ("python_full_version", "Pipfile", "requires.python_full_version = \"3.11.4\"\n", "3.11"),
            ("python_version", "Pipfile", "requires.python_version = \"3.10\"\n", "3.10"),
            ("project.requires-python", "pyproject.toml", "project.requires-python = \"==3.9.*\"\n", "3.9"),
            (
                "tool.poetry.dependencies.python",
                "pyproject.toml",
                "tool.poetry.dependencies.python = \"~3.8\"\n",
                "3.8",
            ),
            ("setup.cfg", "setup.cfg", "[options]\npython_requires = >=3.7,<3.8\n", "3.7"),
            ("setup.py", "setup.py", "setup(python_requires=\"==3.6.*\")\n", "3.6"),
        ],
    );
    each_decides_before_the_next(
        "Ruby",
        &[("config.ru", "run App\n"), ("Gemfile", "gem 'rack'\n")],
        &[
            (".ruby-version", ".ruby-version", "ruby-3.4.1@gems\n", "3.4.1"),
            (MANAGERS, "mise.toml", "[tools]\nruby = [\"3.3.2\", \"3.2\"]\n", "3.3.2"),
            ("Gemfile.lock", "Gemfile.lock", "RUBY VERSION\n   ruby 3.2.3p100\n", "3.2.3"),
            ("Gemfile", "Gemfile", "ruby '~> 2.7.0'\n", "2.7"),
        ],
    );
    each_decides_before_the_next(
        "PHP",
        &[("index.php", "<?php\n")],
        &[
            (".php-version", ".php-version", "php-8.5\n", "8.5"),
            (MANAGERS, ".tool-versions", "php 8.4.1\n", "8.4"),
            ("config.platform.php", "composer.json", r#"{"config":{"platform":{"php":"8.3.1"}}}"#, "8.3"),
            ("require.php", "composer.json", r#"{"require":{"php":"~8.2.0"}}"#, "8.2"),
            ("composer.lock", "composer.lock", r#"{"platform":{"php":"8.1.*"}}"#, "8.1"),
        ],
    );
    each_decides_before_the_next(
        "Go",
        &[("go.mod", "module x\n"), ("main.go", "package main\n")],
        &[
            (".go-version", ".go-version", "go1.25\n", "1.25"),
            (MANAGERS, ".tool-versions", "golang 1.24.1\n", "1.24"),
            ("toolchain", "go.mod", "toolchain go1.27.1\n", "1.27.1"),
            ("`go`", "go.mod", "go 1.27\n", "1.27"),
        ],
    );
    each_decides_before_the_next(
        "Java",
        &[("pom.xml", "<project>\n")],
        &[
            (".java-version", ".java-version", "temurin64-25.0.1\n", "25"),
            (MANAGERS, "mise.toml", "[tools]\njava = \"temurin-21\"\n", "21"),
            (".sdkmanrc", ".sdkmanrc", "java=17.0.9-tem # ours\n", "17"),
            ("system.properties", "system.properties", "java.runtime.version=11\n", "11"),
            ("compiles for", "pom.xml", "<java.version>1.8</java.version>\n", "8"),
        ],
    );
    each_decides_before_the_next(
        "Rust",
        &[("Cargo.toml", "[package]\nname = \"x\"\n"), ("src/main.rs", "")],
        &[
            ("rust-toolchain.toml", "rust-toolchain.toml", "[toolchain]\nchannel = \"1.80\"\n", "1.80"),
            ("rust-toolchain", "rust-toolchain", "1.79.0-x86_64-unknown-linux-gnu\n", "1.79.0"),
            (MANAGERS, ".tool-versions", "rust 1.78.0\n", "1.78.0"),
            ("Cargo.toml", "Cargo.toml", "rust-version = \"1.70\"\n", "1"),
        ],
    );
    each_decides_before_the_next(
        "Elixir",
        &[("mix.exs", "app: :x,\n")],
        &[
            (".elixir-version", ".elixir-version", "v1.18.1\n", "1.18"),
            (MANAGERS, ".tool-versions", "elixir 1.17.2-otp-27\n", "1.17"),
            ("elixir_buildpack.config", "elixir_buildpack.config", "elixir_version=1.16.0\n", "1.16"),
            ("mix.exs", "mix.exs", "elixir: \"~> 1.15.0\",\n", "1.15"),
        ],
    );
    each_decides_before_the_next(
        "Crystal",
        &[("shard.yml", "name: x\ntargets:\n  x:\n    main: src/x.cr\n"), ("src/x.cr", "")],
        &[
            (".crystal-version", ".crystal-version", "1.17.1\n", "1.17.1"),
            (MANAGERS, ".tool-versions", "crystal 1.16.0\n", "1.16.0"),
            ("shard.yml", "shard.yml", "crystal: '>= 1.10'\n", "1.18"),
        ],
    );
    each_decides_before_the_next(
        "Swift",
        &[("Package.swift", "import PackageDescription\n")],
        &[
            (".swift-version", ".swift-version", "5.10\n", "5.10"),
            (MANAGERS, ".tool-versions", "swift 6.1\n", "6.1"),
            ("Package.swift", "Package.swift", "// swift-tools-version:6.0\n", "6.2"),
        ],
    );
    each_decides_before_the_next(
        "Zig",
        &[("build.zig", "")],
        &[
            (".zigversion", ".zigversion", "0.16.0\n", "0.16"),
            (".zig-version", ".zig-version", "0.15.1\n", "0.15"),
            (MANAGERS, ".tool-versions", "zig 0.14.0\n", "0.14"),
            ("build.zig.zon", "build.zig.zon", ".{ \n.minimum_zig_version = \"0.13.0\",\n}\n", "0.13"),
        ],
    );
}

#[test]
fn mise_is_read_in_all_its_places() {
    for (file, text) in [
        ("mise.local.toml", "[tools]\nnode = \"20\"\n"),
        (".mise.toml", "[tools]\nnode = \"20\"\n"),
        (".mise/config.toml", "tools.node = \"20.1\"\n"),
        (".config/mise.toml", "[tools.node]\nversion = \"20\"\n"),
        (".config/mise/config.toml", "[tools]\nnode = [{ version = \"20\" }, \"18\"]\n"),
        (".config/mise/conf.d/node.toml", "[tools]\n\"core:node\" = \"prefix:20\"\n"),
        ("mise.toml", "[tools]\nnode = { prefix = \"20\", postinstall = \"x\" }\n"),
        ("mise.toml", "[tools]\nnodejs = 20\n"),
        (".tool-versions", "# ours\nruby 3.4\nnodejs   v20.1.0 18 # two\n"),
        (".tool-versions", "nodejs ref:main 20\n"),
    ] {
        let plan = try_plan(&[("package.json", r#"{"main":"x.js"}"#), (file, text)]).unwrap();
        assert_eq!(plan.versions[0].version, "20", "{file}: {text}");
        assert!(plan.versions[0].source.ends_with(file), "{}", plan.versions[0].source);
    }
    // A template, and a build of one's own, are not here.
    for (text, shown) in [
        ("node = \"{{ env.NODE }}\"", "template:{{ env.NODE }}"),
        ("node = { path = \"~/node\" }", "path:~/node"),
        ("node = { ref = \"main\" }", "ref:main"),
    ] {
        let mise = format!("[tools]\n{text}\n");
        let plan = try_plan(&[("package.json", r#"{"main":"x.js"}"#), ("mise.toml", &mise)]).unwrap();
        let expected = format!(
            "tools.node in mise.toml asks for Node {shown}, which is not in the repository: 22 is used instead"
        );
        assert_eq!(plan.warnings, [expected]);
    }
}

/// What a rule makes of a text.
fn chosen(rule: &VersionRule, text: &str) -> Result<String> {
    rule.read_alone(text, "2026-11-21")
}

#[test]
fn every_language_knows_the_words() {
    let buildpacks = buildpacks();
    let mut rules = 0;
    for buildpack in &buildpacks.list {
        for rule in &buildpack.manifest.versions {
            let name = format!("{}, {}", buildpack.name, rule.what);
            let all: Vec<&str> = rule.lines().into_iter().map(|(line, _)| line).collect();
            for word in [
                "latest",
                "stable",
                "current",
                "lts",
                "lts/*",
                "LTS",
                "system",
                "default",
                "nightly",
                "nightly-2026-05-01",
                "beta",
                "canary",
                "head",
                "*",
                "x",
                "\"latest\"",
                "path:/opt/own",
                "ref:main",
            ] {
                let version = chosen(rule, word).unwrap_or_else(|error| panic!("{name}, {word}: {error}"));
                assert!(all.contains(&version.as_str()) || version == rule.default, "{name}, {word}: {version}");
            }
            assert_eq!(chosen(rule, "system").unwrap(), rule.default, "{name}");
            for line in &all {
                for text in [
                    (*line).to_owned(),
                    format!("v{line}"),
                    format!("={line}"),
                    format!("{}-{line}", rule.name),
                    format!("{}@{line}", rule.name),
                    format!("{}{line}", rule.name),
                    format!("{} {line}", rule.what.to_uppercase()),
                    format!("latest:{line}"),
                ] {
                    assert_eq!(chosen(rule, &text).unwrap(), *line, "{name}, {text}");
                }
            }
            for text in ["please-use-another", "latestt", "lts/", "a.b", "22; RUN x", "{{ 7 * 7 }}", "$(id)", ""] {
                assert!(chosen(rule, text).is_err(), "{name}, {text}");
            }
            rules += 1;
        }
    }
    assert!(rules > 25, "{rules}");
}

#[test]
fn words_are_those_of_each_languages_tools() {
    let buildpacks = buildpacks();
    for (buildpack, what, text, expected) in [
        ("node", "Node", "lts/jod", "22"),
        ("node", "Node", "lts-iron", "20"),
        ("node", "Node", "lts/-1", "22"),
        ("node", "Node", "krypton", "24"),
        ("node", "Node", "node", "26"),
        ("node", "Node", "latest", "26"),
        ("node", "Node", "stable", "24"),
        ("node", "Node", "sub-1:latest", "25"),
        ("node", "Node", "sub-2:lts", "22"),
        ("node", "Node", "nodejs-22.3", "22"),
        ("node", "Node", "^20 || >=22 <24", "22"),
        ("elixir", "Node", "lts/hydrogen", "18"),
        ("python", "Python", "sub-0.1:latest", "3.14"),
        ("python", "Python", "cpython-3.12.1-linux-x86_64-gnu", "3.12"),
        ("python", "Python", "3.13t", "3.13"),
        ("python", "Python", "3.12.1/envs/mine", "3.12"),
        ("python", "Python", "2", "2.7"),
        ("ruby", "Ruby", "ruby-head", "4.0"),
        ("ruby", "Ruby", "3.3.0-p0", "3.3.0"),
        ("php", "PHP", "php@8.3", "8.3"),
        ("go", "Go", "go1.22.3", "1.22"),
        ("java", "Java", "openjdk64-11.0.2", "11"),
        ("java", "Java", "graalvm-community-21.0.2", "21"),
        ("java", "Java", "temurin-latest", "25"),
        ("java", "Java", "openjdk", "25"),
        ("java", "Java", "14.0.2", "17"),
        ("scala", "Java", "lts", "25"),
        ("dotnet", ".NET", "lts", "10.0"),
        ("rust", "Rust", "stable", "1"),
        ("zig", "Zig", "master", "0.17"),
        ("deno", "Deno", "canary", "2.9.6"),
        ("haskell", "GHC", "ghc-9.4.7", "9.4.7"),
        ("node", "pnpm", "latest-10", "10"),
        ("node", "pnpm", "next-11", "11"),
    ] {
        let manifest = &buildpacks.find(buildpack).unwrap().manifest;
        let rule = manifest.versions.iter().find(|rule| rule.what == what).unwrap();
        assert_eq!(chosen(rule, text).unwrap(), expected, "{what} {text}");
    }
}

#[test]
fn a_range_of_a_package_manager_stands_for_one_that_node_can_run() {
    for (node, engine, range, expected) in [
        ("20", "npm", ">=11", "11"),
        ("22", "npm", ">=9", "10"),
        ("16", "npm", ">=9", "9"),
        ("24", "npm", ">=8", "11"),
        ("16", "pnpm", ">=7", "8"),
        ("20", "pnpm", ">=9", "10"),
        ("20", "pnpm", "9.x", "9"),
    ] {
        let package = format!(r#"{{"main":"x.js","engines":{{"node":"{node}","{engine}":"{range}"}}}}"#);
        let plan = try_plan(&[("package.json", &package)]).unwrap();
        let version = plan.versions.iter().find(|version| version.name == engine).unwrap();
        assert_eq!(version.version, expected, "{node}, {engine} {range}");
    }
}

/// A version of `paas.toml`, some old values of it, a source, and the image that it builds from.
type OldVersions<'a> = (&'a str, &'a [&'a str], Vec<(&'a str, &'a str)>, &'a str);

#[test]
fn old_versions_run_with_a_warning() {
    let package = r#"{"scripts":{"start":"node x.js","build":"x"},"dependencies":{"bcrypt":"1"}}"#;
    let lock = ("package-lock.json", r#"{"lockfileVersion": 1}"#);
    let cases: [OldVersions<'_>; 8] = [
        (
            "python",
            &["2.7", "3.3", "3.4", "3.5", "3.6", "3.7", "3.8"],
            vec![("requirements.txt", "flask\n"), ("app.py", "")],
            "python:{}-slim",
        ),
        (
            "node",
            &["0.12", "4", "6", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17"],
            vec![("package.json", package), lock],
            "node:{}-slim",
        ),
        ("ruby", &["2.0", "2.3", "2.5", "2.7", "3.0"], vec![("config.ru", ""), ("Gemfile", "gem 'pg'\n")], "ruby:{}"),
        ("php", &["5.6", "7.0", "7.1", "7.2", "7.4", "8.0"], vec![("index.php", "")], "php:{}-apache"),
        (
            "go",
            &["1.10", "1.11", "1.12", "1.13", "1.16", "1.17", "1.20", "1.21"],
            vec![("go.mod", "module x\n"), ("main.go", "package main\n")],
            "golang:{}-",
        ),
        ("elixir", &["1.9", "1.11", "1.14"], vec![("mix.exs", "app: :x\n")], "elixir:{}"),
        (
            "dotnet",
            &["2.1", "3.1", "5.0", "6.0"],
            vec![("x.csproj", "Sdk=\"Microsoft.NET.Sdk.Web\"")],
            "dotnet/aspnet:{}",
        ),
        ("swift", &["5.2", "5.8"], vec![("Package.swift", "")], "swift:{}"),
    ];
    for (name, versions, files, image) in cases {
        for version in versions {
            let toml = format!("[build.versions]\n{name} = \"{version}\"\n[processes]\nweb = \"run\"\n");
            let mut files = files.clone();
            files.push(("paas.toml", &toml));
            let plan = try_plan(&files).unwrap_or_else(|error| panic!("{name} {version}: {}", error_text(&error)));
            assert!(plan.warnings[0].contains("has had no fixes since"), "{name} {version}: {:?}", plan.warnings);
            let image = image.replace("{}", version);
            assert!(plan.dockerfile.contains(&image), "{name} {version}: {}", plan.dockerfile);
            // What these bases cannot do.
            for (what, is_old) in [
                ("python3 -m venv", ["2.7", "3.3"].contains(version)),
                ("-trimpath", ["1.10", "1.11", "1.12"].contains(version)),
            ] {
                assert!(!is_old || !plan.dockerfile.contains(what), "{name} {version}: {}", plan.dockerfile);
            }
            if name == "node" && compare_major(version) < 15 {
                assert!(!plan.dockerfile.contains("--omit=dev") && !plan.dockerfile.contains("--include=dev"));
                assert!(plan.dockerfile.contains("archive.debian.org"), "{}", plan.dockerfile);
            }
        }
    }
}

fn compare_major(version: &str) -> u32 {
    version.split('.').next().unwrap().parse().unwrap()
}

#[test]
fn a_target_is_that_version_or_the_next_that_gets_fixes() {
    let rule = r#"
what = "Tool"
name = "tool"
default = "21"
known = { "8" = "", "11" = "", "12" = "2020-01-01", "17" = "", "21" = "" }
"#;
    let rule: VersionRule = toml::from_str(rule).unwrap();
    let target = |text: &str| {
        let found = Found { text: text.to_owned(), file: "x".to_owned(), line: None, place: "x".to_owned() };
        rule.choose(&Request { found, implied: false, kind: Kind::Target }, "21", None, "2026-11-21")
    };
    for (asked, expected) in [("6", "8"), ("8", "8"), ("9", "11"), ("12", "17"), ("17", "17"), ("18", "21")] {
        assert_eq!(target(asked).unwrap(), expected, "{asked}");
    }
    assert!(target("22").is_err());
    assert!(target("seven").is_err());
}
