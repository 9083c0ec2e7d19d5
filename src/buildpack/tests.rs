use std::{fs, path::Path, sync::LazyLock};

use super::{generate::BuildCommand, plan::WantedVariable, *};
use crate::{
    model::property,
    tree::{Added, Tree},
    ui::error_text,
};

mod corpus;

/// The buildpacks on a fixed day, so that it is known which versions get fixes.
pub(super) fn buildpacks() -> &'static Buildpacks {
    static BUILDPACKS: LazyLock<Buildpacks> =
        LazyLock::new(|| Buildpacks { today: "2026-11-21".to_owned(), ..Buildpacks::load(None).unwrap() });
    &BUILDPACKS
}

#[test]
fn the_buildpacks_of_the_binary_are_well_formed() {
    let mut places = BTreeMap::new();
    for buildpack in &buildpacks().list {
        assert_eq!(buildpack.manifest.check(&buildpack.templates), Ok(()), "{}", buildpack.name);
        let other = places.insert(buildpack.manifest.order, &buildpack.name);
        assert_eq!(other, None, "two buildpacks at one place: {}", buildpack.name);
    }
    for failure in &*buildpacks().failures {
        for expression in [&failure.output].into_iter().chain(&failure.also) {
            expression.compile().unwrap();
        }
    }
}

/// A source of these files, as if it were pushed.
pub(super) fn try_plan(files: &[(&str, &str)]) -> Result<BuildPlan> {
    try_plan_with(buildpacks(), files)
}

fn try_plan_with(buildpacks: &Buildpacks, files: &[(&str, &str)]) -> Result<BuildPlan> {
    let directory = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    plan(&Tree::usual(directory.path())?, buildpacks)
}

/// The content of a file beside those of the source.
fn content_of<'a>(added: &'a Added, files: &[(&str, &'a str)]) -> &'a [u8] {
    match added {
        Added::Content(content) => content,
        Added::Copy(from) => files.iter().find(|(path, _)| Path::new(path) == from).unwrap().1.as_bytes(),
    }
}

/// The log and the Dockerfile of a source, or the error.
fn planned(files: &[(&str, &str)]) -> String {
    try_plan(files).map_or_else(|error| error_text(&error), |plan| shown(&plan, files))
}

/// The log and the Dockerfile of a plan.
fn shown(plan: &BuildPlan, files: &[(&str, &str)]) -> String {
    let mut text = plan.describe().join("\n");
    text.extend(plan.warnings.iter().map(|warning| format!("\nwarning: {warning}")));
    text.extend(plan.commands.iter().map(|BuildCommand { name, command, .. }| format!("\n  {name}: {command}")));
    for spec in &plan.processes {
        text.push_str(&format!("\n  {}: {}", spec.process, spec.command.as_deref().unwrap_or("(image)")));
    }
    for (path, content) in &plan.extra_files {
        if *path != plan.dockerfile_path {
            text.push_str(&format!("\n  + {path} ({} bytes)", content_of(content, files).len()));
        }
    }
    text.push_str(&format!("\n\n# {}\n{}", plan.dockerfile_path, plan.dockerfile));
    text
}

/// Each file in tests/apps/plans is a source and its expected plan: `-- PATH` begins a file, `== plan` the plan. After
/// `-- PATH (CRLF)` the lines end as on Windows, and after `(BOM)` the file begins with a byte order mark.
/// `UPDATE=1 cargo test plans_of` writes the plans again; read what changed.
#[test]
fn the_plans_of_all_fixtures_are_as_they_were() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps/plans");
    let mut cases: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 80, "{} fixtures", cases.len());
    let mut changed = Vec::new();
    for case in &cases {
        let text = fs::read_to_string(case).unwrap();
        let (source, expected) = text.split_once("== plan\n").unwrap_or((&text, ""));
        let mut files: Vec<(&str, String)> = Vec::new();
        for line in source.lines() {
            match (line.strip_prefix("-- "), files.last_mut()) {
                (Some(path), _) => files.push((path, String::new())),
                (None, Some((_, content))) => content.push_str(&format!("{line}\n")),
                (None, None) => assert!(line.starts_with('#'), "{}: {line:?} is in no file", case.display()),
            }
        }
        for (path, content) in &mut files {
            if let Some(plain) = path.strip_suffix(" (CRLF)") {
                (*path, *content) = (plain, content.replace('\n', "\r\n"));
            } else if let Some(plain) = path.strip_suffix(" (BOM)") {
                (*path, *content) = (plain, format!("\u{feff}{content}"));
            }
        }
        let files: Vec<_> = files.iter().map(|(path, content)| (*path, content.as_str())).collect();
        let planned = format!("{}\n", planned(&files).trim_end());
        if planned != expected {
            changed.push(format!("{}:\n{}", case.display(), difference(expected, &planned)));
            if std::env::var_os("UPDATE").is_some() {
                fs::write(case, format!("{source}== plan\n{planned}")).unwrap();
            }
        }
    }
    let update = std::env::var_os("UPDATE").is_some();
    assert!(update || changed.is_empty(), "{}\nhint: UPDATE=1 cargo test plans_of", changed.join("\n\n"));
}

/// The table of two languages in the reference: each row has a fixture, and the fixture builds as the row says.
#[test]
fn each_row_of_the_table_of_two_languages_has_a_fixture() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let reference = fs::read_to_string(root.join("docs/reference.md")).unwrap();
    let mut rows = std::collections::BTreeSet::new();
    for row in reference.lines().filter(|line| line.contains("| `pair-")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [_, _, builds, name] = cells[..] else { panic!("{row}") };
        let name = name.trim_matches('`');
        let fixture = fs::read_to_string(root.join(format!("tests/apps/plans/{name}.txt"))).unwrap();
        let (_, plan) = fixture.split_once("== plan\n").unwrap();
        let (title, tool) = builds.split_once(", with ").unwrap_or((builds, ""));
        assert!(plan.starts_with(&format!("{title}: ")), "{row}\n{plan}");
        assert!(plan.contains(&format!("Build tool: {}", tool.to_lowercase())) || tool.is_empty(), "{row}\n{plan}");
        assert!(rows.insert(name.to_owned()), "{name} is in two rows");
    }
    assert!(rows.len() >= 30, "{rows:?}");
    for entry in fs::read_dir(root.join("tests/apps/plans")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let name = name.trim_end_matches(".txt");
        assert!(!name.starts_with("pair-") || rows.contains(name), "{name} is in no row");
    }
}

/// Each file in tests/apps/failures is the output of a failed build and its expected cause. `== built by NAME` at its
/// head: the buildpack that built it, in place of a user's own Dockerfile; `nobody: a start` is a program that was
/// built and ended right after its start.
/// `UPDATE=1 cargo test failures_mean` writes the causes again.
#[test]
fn the_outputs_of_failures_mean_what_they_did() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps/failures");
    let mut changed = Vec::new();
    let mut causes = std::collections::BTreeSet::new();
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let (output, expected) = text.split_once("== cause\n").unwrap_or((&text, ""));
        // A user's own Dockerfile can run anything, so no buildpack's rules come first.
        let (head, output) = match output.strip_prefix("== built by ").and_then(|rest| rest.split_once('\n')) {
            Some((name, output)) => (Some(name), output),
            None => (None, output),
        };
        let lines: Vec<String> = output.lines().map(str::to_owned).collect();
        let diagnosis = match head {
            Some("nobody: a start") => diagnose_start(output),
            head => buildpacks().diagnose(head.unwrap_or("dockerfile"), &lines),
        };
        if let Some(name) = head.filter(|name| *name != "nobody: a start") {
            assert!(buildpacks().list.iter().any(|buildpack| buildpack.name == name), "{name}");
        }
        let head = head.map(|name| format!("== built by {name}\n")).unwrap_or_default();
        let said = diagnosis.map_or("nothing\n".to_owned(), |found| format!("{}\n{}\n", found.cause, found.hint));
        causes.insert(said.lines().next().unwrap().to_owned());
        if said != expected {
            changed.push(format!("{}:\n{}", path.display(), difference(expected, &said)));
            if std::env::var_os("UPDATE").is_some() {
                fs::write(&path, format!("{head}{}\n== cause\n{said}", output.trim_end())).unwrap();
            }
        }
    }
    let update = std::env::var_os("UPDATE").is_some();
    assert!(update || changed.is_empty(), "{}\nhint: UPDATE=1 cargo test failures_mean", changed.join("\n\n"));
    assert!(causes.len() >= 20, "{causes:#?}");
    let nothing = buildpacks().diagnose("node", &["all is well".to_owned()]);
    assert_eq!(nothing, None);
}

/// The lines that are only in one of two texts.
fn difference(before: &str, after: &str) -> String {
    let gone = before.lines().filter(|line| !after.lines().any(|other| other == *line)).map(|line| format!("- {line}"));
    let come = after.lines().filter(|line| !before.lines().any(|other| other == *line)).map(|line| format!("+ {line}"));
    gone.chain(come).collect::<Vec<_>>().join("\n")
}

/// The directory that a static site is taken from, by what its tool's configuration says.
#[test]
fn the_output_of_a_static_site_is_where_its_tool_says() {
    let build = |dependency: &str, script: &str| {
        serde_json::json!({ "scripts": { "build": script }, "devDependencies": { dependency: "1" } }).to_string()
    };
    let page = ("index.html", "");
    for (dependency, script, more, expected) in [
        ("vite", "vite build", [page, ("x", "")], "dist"),
        ("vite", "vite build", [page, ("vite.config.js", "build: { outDir: \"./site/html\" }")], "site/html"),
        ("vite", "vite build", [page, ("vite.config.ts", "outDir: resolve(__dirname, '../out')")], "../out"),
        ("vite", "vite build --outDir www", [page, ("vite.config.js", "outDir: 'other'")], "www"),
        ("vite", "vite build", [("src/index.html", ""), ("vite.config.js", "root: 'src', outDir: '../html'")], "html"),
        ("next", "next build", [page, ("next.config.mjs", "output: 'export', distDir: 'site'")], "site"),
        ("next", "next build", [page, ("next.config.ts", "output: \"export\"")], "out"),
        ("astro", "astro build", [page, ("astro.config.mjs", "outDir: './public_html'")], "public_html"),
        ("astro", "astro check && astro build", [page, ("astro.config.ts", "")], "dist"),
        ("@angular/core", "ng build", [page, ("angular.json", r#"{"outputPath": "dist/shop"}"#)], "dist/shop"),
        (
            "@angular/core",
            "ng build",
            [page, ("angular.json", r#"{"outputPath": {"base": "www", "browser": ""}}"#)],
            "www",
        ),
        ("@angular/core", "ng build --output-path=out", [page, ("angular.json", "{}")], "out"),
        ("@vue/cli-service", "vue-cli-service build", [page, ("vue.config.js", "outputDir: 'site'")], "site"),
        ("@vue/cli-service", "vue-cli-service build --dest public_html", [page, ("x", "")], "public_html"),
        ("react-scripts", "BUILD_PATH='./out' react-scripts build", [page, ("x", "")], "out"),
        ("react-scripts", "react-scripts build", [page, (".env", "PORT=3\nBUILD_PATH=./site\n")], "site"),
        ("react-scripts", "react-scripts build", [page, ("x", "")], "build"),
        ("gatsby", "gatsby build", [page, ("gatsby-config.js", "")], "public"),
        ("@docusaurus/core", "docusaurus build --out-dir=html", [page, ("x", "")], "html"),
        ("@docusaurus/core", "docusaurus build", [page, ("x", "")], "build"),
        ("@11ty/eleventy", "eleventy", [page, (".eleventy.js", "dir: { input: 'src', output: 'www' }")], "www"),
        ("@11ty/eleventy", "eleventy", [page, ("eleventy.config.js", "c.setOutputDirectory('web')")], "web"),
        ("@11ty/eleventy", "npx @11ty/eleventy --output=x", [page, ("y", "")], "x"),
        ("@11ty/eleventy", "eleventy", [page, ("x", "")], "_site"),
        ("parcel", "parcel build index.html --dist-dir site", [page, ("x", "")], "site"),
        (
            "html-webpack-plugin",
            "webpack",
            [("webpack.config.js", "path: path.resolve(__dirname, 'web')"), page],
            "web",
        ),
        ("html-webpack-plugin", "webpack --output-path=o", [("webpack.config.js", ""), page], "o"),
        ("vitepress", "vitepress build docs", [page, ("x", "")], "docs"),
        ("vitepress", "vitepress build", [page, (".vitepress/config.ts", "outDir: './out'")], "out"),
        ("@rspress/core", "rspress build", [page, ("x", "")], "doc_build"),
        ("@rsbuild/core", "rsbuild build", [page, ("rsbuild.config.ts", "distPath: { root: 'web' }")], "web"),
        ("hexo", "hexo generate", [page, ("_config.yml", "title: x\npublic_dir: html\n")], "html"),
        ("nuxt", "nuxt generate", [page, ("nuxt.config.ts", "publicDir: 'web'")], "web"),
        ("nuxt", "nuxi generate", [page, ("x", "")], ".output/public"),
        ("expo", "expo export -p web --output-dir web", [page, ("package-lock.json", "{}")], "web"),
        ("@sveltejs/kit", "vite build", [page, ("svelte.config.js", "adapter({ pages: 'html' })")], "html"),
    ] {
        let mut package = build(dependency, script);
        if dependency == "expo" {
            package = package.replace("\"1\"", "\"1\", \"react-native-web\": \"1\"");
        }
        if dependency == "@sveltejs/kit" {
            package = package.replace("\"1\"", "\"1\", \"@sveltejs/adapter-static\": \"1\"");
        }
        let plan = try_plan(&[("package.json", package.as_str()), more[0], more[1]]).unwrap();
        let collect = plan.commands.iter().find(|command| command.name == "collect");
        let collect = collect.map(|command| command.command.as_str()).unwrap_or_default();
        assert_eq!(collect, format!("sh .paas/collect {expected}"), "{package} {more:?}");
    }
}

/// The apps of a source, as `paas plan --all` lists them.
fn all(files: &[(&str, &str)]) -> String {
    let directory = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let tree = Tree::usual(directory.path()).unwrap();
    match plan_all(&tree, buildpacks()) {
        Ok(apps) => {
            let names = apps.iter().map(|app| format!("{:?} {:?}", app.directory, app.name.as_deref().unwrap_or("")));
            names.collect::<Vec<_>>().join(", ")
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn all_apps_of_a_repository_are_listed() {
    let root = ("package.json", r#"{ "workspaces": ["apps/*"] }"#);
    let web = ("apps/web/package.json", r#"{ "name": "web", "scripts": { "start": "node ." } }"#);
    let api = ("apps/api/package.json", r#"{ "name": "@x/api", "scripts": { "start": "node ." } }"#);
    let library = ("apps/lib/package.json", r#"{ "name": "lib", "main": "index.js" }"#);
    assert_eq!(all(&[root, web, api, library]), r#""apps/api" "@x/api", "apps/web" "web""#);
    // A choice does not hide the others.
    let chosen = ("paas.toml", "[build]\ndirectory = \"web\"\n");
    assert_eq!(all(&[root, web, api, chosen]), r#""apps/api" "@x/api", "apps/web" "web""#);
    let starts = ("package.json", r#"{ "workspaces": ["apps/*"], "scripts": { "start": "node ." } }"#);
    assert_eq!(all(&[starts, web]), r#""" "", "apps/web" "web""#);
    assert_eq!(all(&[("a/index.html", ""), ("b/c/package.json", web.1)]), r#""a" "", "b/c" """#);
    assert_eq!(all(&[PACKAGE]), r#""" """#);
    assert_eq!(all(&[("README.md", "")]), "no buildpack matches this repository");
    // Only one package is left that a guess can start.
    let small = [root, ("apps/web/package.json", "{}"), ("apps/web/index.js", "")];
    assert_eq!(try_plan(&small).unwrap().directory.unwrap().path, "apps/web");
}

#[test]
fn a_directory_without_a_workspace_is_the_build_context() {
    let files = [("paas.toml", "[build]\ndirectory = \"a/b\"\n"), ("a/b/index.html", "x"), ("index.html", "y")];
    let plan = try_plan(&files).unwrap();
    assert_eq!((plan.context.as_deref(), plan.buildpack.as_str()), (Some("a/b"), "static"));
    let member = [("package.json", r#"{ "workspaces": ["a/*"] }"#), ("a/b/package.json", PACKAGE.1)];
    assert_eq!(try_plan(&member).unwrap().context, None);
}

const PACKAGE: (&str, &str) = ("package.json", r#"{ "scripts": { "start": "node server.js" } }"#);

#[test]
fn generated_files_do_not_clash_with_the_repository() {
    assert_eq!(try_plan(&[("index.html", ""), (".paas", "")]).unwrap().dockerfile_path, ".paas-1/Dockerfile");
    assert_eq!(try_plan(&[("index.html", ""), (".paas/x", "")]).unwrap().dockerfile_path, ".paas-1/Dockerfile");
}

#[test]
fn paas_toml_has_the_last_word() {
    let paas_toml = r#"
port = 8000
[build]
dockerfile = "deploy/Dockerfile"
[processes]
web = "bin/web"
clock = "bin/clock"
[checks]
path = "/health"
"#;
    let procfile = ("Procfile", "web: old\nworker: bin/worker\n");
    let files = [("paas.toml", paas_toml), procfile, ("deploy/Dockerfile", "FROM x\nEXPOSE 3000\n"), PACKAGE];
    insta::assert_snapshot!(planned(&files), @r"
    Dockerfile: set in paas.toml
    Processes: web, clock, worker, from paas.toml and Procfile
    Port 8000, from paas.toml
      web: bin/web
      clock: bin/clock
      worker: bin/worker

    # deploy/Dockerfile
    FROM x
    EXPOSE 3000
    ");
    let plan = try_plan(&files).unwrap();
    assert_eq!(plan.processes[0].declared.get(&property::CHECK_PATH), Some("/health"));
    assert_eq!(plan.processes[1].declared.get(&property::CHECK_PATH), None);
}

#[test]
fn a_worker_alone_is_a_plan() {
    let plan = try_plan(&[("paas.toml", "[processes]\nworker = \"node worker.js\"\n"), PACKAGE]).unwrap();
    assert_eq!(plan.processes.len(), 1);
    assert!(!plan.processes[0].process.is_web());
}

#[test]
fn a_release_command_alone_leaves_the_default_process() {
    let plan = try_plan(&[("Procfile", "release: migrate\n"), PACKAGE]).unwrap();
    assert_eq!(plan.release_command.as_deref(), Some("migrate"));
    assert_eq!(plan.processes[0].command.as_deref(), Some("node server.js"));
}

#[test]
fn mistakes_say_what_to_do() {
    let mut said = String::new();
    for files in [
        &[][..],
        &[("README.md", ""), ("src/x.c", "")],
        &[("package.json", "{\n\"scripts\": {,}\n}")],
        &[("package.json", "{}")],
        &[("paas.toml", "[build]\nbuildpack = \"nod\"\n"), PACKAGE],
        &[("paas.toml", "[build]\nbuildpack = \"node\"\ndockerfile = \"x\"\n"), PACKAGE],
        &[("paas.toml", "[build]\ndockerfile = \"x\"\n"), PACKAGE],
        &[("paas.toml", "[build]\nbuildpack = \"dockerfile\"\n"), PACKAGE],
    ] {
        said.push_str(&planned(files));
        said.push_str("\n\n");
    }
    insta::assert_snapshot!(said, @r#"
    error: no buildpack matches this repository

    looked for:
        dockerfile  Dockerfile
        go          go.mod, go.work, main.go, .godir
        php         composer.json, index.php, public/index.php, artisan
        rust        Cargo.toml
        ruby        Gemfile, config.ru, app.rb, main.rb
        java        pom.xml, build.gradle, build.gradle.kts
        scala       build.sbt
        clojure     project.clj, deps.edn
        dotnet      *.sln, *.csproj, *.fsproj
        elixir      mix.exs
        gleam       gleam.toml
        dart        pubspec.yaml
        swift       Package.swift
        zig         build.zig
        python      requirements.txt, pyproject.toml, Pipfile, setup.py, manage.py, app.py, main.py
        crystal     shard.yml
        haskell     stack.yaml, *.cabal, cabal.project
        deno        deno.json, deno.jsonc, deno.lock
        bun         package.json with a start script that Bun runs, or a file with Bun.serve
        node        package.json
        c           CMakeLists.txt, meson.build, or a Makefile with C sources
        static      index.html, Staticfile, public/index.html
        shell       start.sh, run.sh, app.sh, main.sh, server.sh, entrypoint.sh

    found: no files at all

    hint: add one of the files above, or a Dockerfile; `paas plan` shows on your machine what would be built

    error: no buildpack matches this repository

    looked for:
        dockerfile  Dockerfile
        go          go.mod, go.work, main.go, .godir
        php         composer.json, index.php, public/index.php, artisan
        rust        Cargo.toml
        ruby        Gemfile, config.ru, app.rb, main.rb
        java        pom.xml, build.gradle, build.gradle.kts
        scala       build.sbt
        clojure     project.clj, deps.edn
        dotnet      *.sln, *.csproj, *.fsproj
        elixir      mix.exs
        gleam       gleam.toml
        dart        pubspec.yaml
        swift       Package.swift
        zig         build.zig
        python      requirements.txt, pyproject.toml, Pipfile, setup.py, manage.py, app.py, main.py
        crystal     shard.yml
        haskell     stack.yaml, *.cabal, cabal.project
        deno        deno.json, deno.jsonc, deno.lock
        bun         package.json with a start script that Bun runs, or a file with Bun.serve
        node        package.json
        c           CMakeLists.txt, meson.build, or a Makefile with C sources
        static      index.html, Staticfile, public/index.html
        shell       start.sh, run.sh, app.sh, main.sh, server.sh, entrypoint.sh

    found: README.md, src/

    hint: add one of the files above, or a Dockerfile; `paas plan` shows on your machine what would be built

    error: package.json, line 2: invalid JSON: key must be a string

    hint: correct package.json, commit and push again

    error: nothing to run: package.json has no start script and no main, and there is no server.js, index.js or similar file

    hint: write a file named Procfile with a line such as `web: COMMAND`, where COMMAND listens on $PORT

    error: paas.toml, line 2: there is no buildpack "nod"

    hint: did you mean `node`?

    error: paas.toml, line 3: the buildpack node makes its own Dockerfile

    hint: keep one of the two keys, `buildpack` or `dockerfile`

    error: paas.toml, line 2: there is no file "x" in the repository

    hint: write its path from the root of the repository, and check that it is committed

    error: there is no Dockerfile in the repository

    hint: add one, or remove `buildpack` from paas.toml
    "#);
}

/// What a plan decided: each with its file, its line, and the line that would change it.
fn origins(files: &[(&str, &str)]) -> Vec<String> {
    let plan = try_plan(files).unwrap();
    let mut all = vec![("buildpack".to_owned(), plan.buildpack, plan.origin)];
    all.extend(plan.versions.into_iter().map(|version| (version.name, version.version, version.origin)));
    all.extend(plan.choices.into_iter().map(|choice| (choice.what, choice.option, choice.origin)));
    all.extend(plan.commands.into_iter().map(|command| (command.name, command.command, command.origin)));
    let processes = plan.process_sources.into_iter();
    all.extend(processes.map(|source| (source.process.to_string(), source.source, source.origin)));
    all.push(("port".to_owned(), plan.port.unwrap_or(5000).to_string(), plan.port_origin));
    let line = |(what, is, Origin { file, line, change }): (String, String, Origin)| {
        let place = file.map_or("-".to_owned(), |file| line.map_or(file.clone(), |line| format!("{file}:{line}")));
        format!("{what} = {is} | {place} | {}", change.unwrap_or_default())
    };
    all.into_iter().map(line).collect()
}

#[test]
fn each_decision_says_its_file_its_line_and_what_would_change_it() {
    let package = "{\n  \"engines\": { \"node\": \"24\" },\n  \"scripts\": {\n    \"build\": \"next build\",\n    \
                   \"start\": \"next start\"\n  },\n  \"packageManager\": \"pnpm@10.1.0\",\n  \
                   \"dependencies\": {\n    \"next\": \"15\"\n  }\n}\n";
    let files = [("package.json", package), ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n")];
    insta::assert_snapshot!(origins(&files).join("\n"), @r#"
    buildpack = node | package.json | [build] buildpack = "NAME"
    node = 24 | package.json:2 | [build.versions] node = "26"
    pnpm = 10.1.0 | package.json:7 | [build.versions] pnpm = "12"
    Package manager = pnpm | package.json:7 | [build.tools] manager = "yarn"
    Framework = next | package.json:9 | [build.tools] framework = "nuxt"
    install = pnpm install --frozen-lockfile --prod=false --store-dir /tmp/cache | package.json:7 | [build] install = "COMMAND"
    build = pnpm run build | package.json:4 | [build] build = "COMMAND"
    prune = pnpm install --prod --ignore-scripts --offline --frozen-lockfile --store-dir /tmp/cache | package.json:7 | 
    web = the start script in package.json | package.json:5 | [processes] web = "COMMAND"
    port = 5000 | - | port = NUMBER
    "#);

    // Each of these lines does change it.
    let own = "port = 3000\n[build]\nbuild = \"make\"\ninstall = \"npm install\"\n[build.versions]\nnode = \"22\"\n\
               [build.tools]\nmanager = \"npm\"\n[processes]\nweb = \"node x.js\"\n[processes.job]\n\
               command = \"node job.js\"\n";
    let files = [("package.json", package), ("paas.toml", own), ("Procfile", "# ours\n\nqueue: node queue.js\n")];
    insta::assert_snapshot!(origins(&files).join("\n"), @r#"
    buildpack = node | package.json | [build] buildpack = "NAME"
    node = 22 | paas.toml:6 | [build.versions] node = "26"
    Package manager = npm | paas.toml:8 | [build.tools] manager = "pnpm"
    Framework = next | package.json:9 | [build.tools] framework = "nuxt"
    install = npm install | paas.toml:4 | [build] install = "COMMAND"
    build = make | paas.toml:3 | [build] build = "COMMAND"
    prune = npm prune --omit=dev --ignore-scripts --no-package-lock --no-audit --no-fund | paas.toml:8 | 
    web = paas.toml | paas.toml:10 | [processes] web = "COMMAND"
    job = paas.toml | paas.toml:11 | [processes] job = "COMMAND"
    queue = Procfile | Procfile:3 | [processes] queue = "COMMAND"
    port = 3000 | paas.toml:1 | port = NUMBER
    "#);
    let files = [("requirements.txt", "flask\nDjango\n"), ("manage.py", "# manage"), ("runtime.txt", "python-3.12\n")];
    insta::assert_snapshot!(origins(&files).join("\n"), @r#"
    buildpack = python | manage.py | [build] buildpack = "NAME"
    python = 3.12 | runtime.txt:1 | [build.versions] python = "3.15"
    Package manager = pip | requirements.txt | [build.tools] manager = "uv"
    Framework = django | manage.py | [build.tools] framework = "streamlit"
    install = pip install --cache-dir /root/.cache/pip -r requirements.txt | requirements.txt | [build] install = "COMMAND"
    web = manage.py | manage.py | [processes] web = "COMMAND"
    port = 5000 | - | port = NUMBER
    "#);
    let files =
        [("Dockerfile", "FROM busybox\n\nEXPOSE 8080\n"), ("paas.toml", "[build]\ndockerfile = \"Dockerfile\"\n")];
    insta::assert_snapshot!(origins(&files).join("\n"), @r#"
    buildpack = dockerfile | paas.toml:2 | [build] buildpack = "NAME"
    web = the image's own command | - | [processes] web = "COMMAND"
    port = 8080 | Dockerfile:3 | port = NUMBER
    "#);
}

#[test]
fn tools_that_the_buildpack_does_not_choose_are_refused() {
    let mut said = String::new();
    for tools in ["manager = \"pnp\"", "managr = \"pnpm\"", "manager = \"\"", "output = \"static\""] {
        let toml = format!("[build.tools]\n{tools}\n");
        let error = try_plan(&[("package.json", "{\"main\":\"x.js\"}"), ("paas.toml", &toml)]).unwrap_err();
        said.push_str(&format!("{}\n", error_text(&error)));
    }
    insta::assert_snapshot!(said, @r#"
    error: paas.toml, line 2: there is no manager "pnp"

    hint: did you mean `pnpm`?
    error: paas.toml, line 2: the buildpack node does not choose a "managr"

    hint: did you mean `manager`?
    error: paas.toml, line 2: there is no manager ""

    hint: known here: bun, npm, pnpm, yarn, yarn-berry
    error: paas.toml, line 2: the buildpack node does not choose a "output"

    hint: known here: manager, framework
    "#);
}

#[test]
fn nothing_of_a_repository_becomes_an_instruction() {
    let nasty = "x\" \\ $HOME `id` {{ 7 * 7 }} # <<EOF\nRUN touch /hacked\n";
    let package = serde_json::json!({ "scripts": { "start": nasty }, "main": nasty }).to_string();
    let plan = try_plan(&[("package.json", &package)]).unwrap();
    insta::assert_snapshot!(plan.dockerfile.lines().last().unwrap(), @r#"CMD ["/bin/sh", "-c", "x\" \\ $HOME `id` {{ 7 * 7 }} # \u003c\u003cEOF\u000aRUN touch /hacked"]"#);
    assert!(!plan.dockerfile.lines().any(|line| line.starts_with("RUN touch")));
}

#[test]
fn the_first_that_is_detected_is_the_one_that_builds() {
    let directory = tempfile::tempdir().unwrap();
    for (path, content) in [PACKAGE, ("app.rb", ""), ("Procfile", "web: cd . && exec ruby app.rb\n")] {
        fs::write(directory.path().join(path), content).unwrap();
    }
    let tree = Tree::usual(directory.path()).unwrap();
    let detected = buildpacks().detect(&tree).unwrap();
    assert_eq!(detected[0].name, "ruby");
    assert_eq!(detected[0].reason.as_deref(), Some("`ruby app.rb` in Procfile, line 1"));
    assert_eq!(plan(&tree, buildpacks()).unwrap().buildpack, "ruby");
    assert!(detected.iter().any(|other| other.name == "node" && other.reason.is_some()));
    assert_eq!(detected.len(), buildpacks().names().len());
}

#[test]
fn a_folder_adds_a_buildpack_and_another_overrides_one() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, file: &str, text: &str| {
        fs::create_dir_all(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join(file), text).unwrap();
    };
    write(
        "shell",
        MANIFEST,
        "title = 'Shell'\norder = 80\ndetect = [{ file = 'run.sh' }]\n[[processes]]\nname = 'web'\ncommand = 'sh run.sh'\nsource = 'run.sh'\n",
    );
    write("shell", "Dockerfile.tera", "FROM debian:bookworm-slim\nCOPY . .\n");
    write(
        "node",
        MANIFEST,
        "title = 'My Node'\norder = 1\ndetect = [{ file = 'package.json' }]\n[[processes]]\nname = 'web'\nsource = 'x'\n",
    );
    write("node", "Dockerfile.tera", "FROM mine\n");
    let buildpacks = Buildpacks::load(Some(folder.path())).unwrap();
    let names = buildpacks.names();
    assert_eq!(names.iter().filter(|name| **name == "node").count(), 1);
    assert_eq!((names[0], names.contains(&"shell")), ("node", true), "{names:?}");

    write("shell", MANIFEST, "title = 'Shell'\norder = 80\ndetekt = []\n");
    let error = Buildpacks::load(Some(folder.path())).unwrap_err();
    assert!(error.to_string().contains("detekt"), "{error}");
    assert!(Buildpacks::load(Some(Path::new("/nonexistent"))).is_ok());
}

#[test]
fn the_line_ends_of_windows_are_said() {
    let error = try_plan(&[("start.sh", "#!/bin/sh\r\necho x\r\n")]).unwrap_err();
    assert_eq!(error.to_string(), "start.sh: it has Windows line endings (CRLF), with which it cannot run");
    assert!(error.hint().is_some_and(|hint| hint.contains("`* text=auto eol=lf`")), "{:?}", error.hint());
    assert!(try_plan(&[("start.sh", "#!/bin/sh\necho x\n")]).is_ok());
}

#[test]
fn a_tool_in_the_repository_is_copied_unread_and_a_long_lock_file_is_read() {
    let release = "// Yarn\n".repeat(400_000);
    let lock = format!("{}\n__metadata:\n  version: 8\n", "# a long lock file\n".repeat(100_000));
    let files = [
        ("package.json", "{\"scripts\":{\"start\":\"node x.js\"}}"),
        ("yarn.lock", &lock),
        (".yarnrc.yml", "nodeLinker: node-modules\nyarnPath: .yarn/releases/yarn-4.9.2.cjs\n"),
        (".yarn/releases/yarn-4.9.2.cjs", &release),
        (".yarn/plugins/@yarnpkg/plugin-big.cjs", &release),
    ];
    let plan = try_plan(&files).unwrap();
    assert_eq!(plan.choices[0].option, "yarn-berry");
    assert_eq!(plan.versions[1].describe(), "Yarn 4.9.2, from .yarnrc.yml");
    let copied: Vec<_> = plan.extra_files.iter().filter(|(_, added)| matches!(added, Added::Copy(_))).collect();
    assert_eq!(copied.len(), files.len());

    // A limit there is, and it says what to do.
    let huge = format!("{{\"name\": \"x\", \"text\": \"{}\"}}", "y".repeat(33 << 20));
    let error = error_text(&try_plan(&[("package.json", &huge)]).unwrap_err());
    assert!(error.contains("package.json: it has 34603") && error.contains("hint: check that"), "{error}");
}

#[test]
fn files_are_found_by_their_neighbors_and_copied_without_their_content() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("units")).unwrap();
    let manifest = r#"
title = "Units"
order = 1
detect = [{ file = "units.toml" }]
[values]
one = [{ regex = { file = "*/unit.toml", regex = '^name = "(.*)"$', beside = ["main.unit"], unique = true } }]
given = [
    { given = { that = { file = "nowhere" }, find = { line = "units.toml" } } },
    { given = { that = { file = "units.toml" }, find = { line = "units.toml" } } },
]
[copies]
manifests = [{ files = ["units.toml", "*/unit.toml"] }, { files = ["**/main.unit", "units.toml"], content = "stub" }]
[[processes]]
name = "web"
command = "run {one} {given}"
source = "the one unit"
"#;
    fs::write(folder.path().join("units").join(MANIFEST), manifest).unwrap();
    fs::write(folder.path().join("units/Dockerfile.tera"), "FROM x\nCOPY [{{ copy.manifests }}, \"./\"]\n").unwrap();
    let buildpacks = Buildpacks::load(Some(folder.path())).unwrap();
    let tried = |files: &[(&str, &str)]| try_plan_with(&buildpacks, files);
    let root = ("units.toml", "# comment\nfirst\n");
    let library = ("a/unit.toml", "name = \"a\"\n");
    let program = ("b/unit.toml", "name = \"bee\"\n");
    let files = [root, library, program, ("b/main.unit", "secret")];
    let good = tried(&files).unwrap();
    assert_eq!(good.processes[0].command.as_deref(), Some("run bee first"));
    let copied: Vec<_> =
        good.extra_files.iter().skip(1).map(|(path, added)| (path.as_str(), content_of(added, &files))).collect();
    let expected: [(&str, &[u8]); 4] = [
        (".paas/manifests/a/unit.toml", b"name = \"a\"\n"),
        (".paas/manifests/b/main.unit", b"stub"),
        (".paas/manifests/b/unit.toml", b"name = \"bee\"\n"),
        (".paas/manifests/units.toml", b"# comment\nfirst\n"),
    ];
    assert_eq!(copied, expected);
    // Only one may be set.
    tried(&[root, library, program, ("a/main.unit", ""), ("b/main.unit", "")]).unwrap_err();
}

#[test]
fn a_word_is_guessed() {
    assert_eq!(did_you_mean("biuld", ["build", "checks"]), Some("build"));
    assert_eq!(did_you_mean("zzz", ["build", "checks"]), None);
}

/// The variables that a source is known to read, those first that can be made up.
#[test]
fn what_a_dependency_reads_is_known_to_its_buildpack() {
    let of = |files: &[(&str, &str)]| {
        let plan = try_plan(files).unwrap_or_else(|error| panic!("{files:?}: {}", error_text(&error)));
        let (made_up, asked): (Vec<_>, Vec<_>) = plan.wanted.into_iter().partition(|wanted| wanted.is_generated);
        assert!(made_up.iter().chain(&asked).all(|wanted| !wanted.reason.is_empty()));
        let names = |list: Vec<WantedVariable>| {
            let names: Vec<String> = list.into_iter().map(|wanted| wanted.name.to_string()).collect();
            names.join(" ")
        };
        (names(made_up), names(asked))
    };
    let package = |dependencies: &str| {
        format!("{{\"dependencies\": {{{dependencies}}}, \"scripts\": {{\"start\": \"node server.js\"}}}}")
    };
    let owned = |made_up: &str, asked: &str| (made_up.to_owned(), asked.to_owned());
    assert_eq!(of(&[("package.json", &package(""))]), owned("", ""));
    let text = package("\"@prisma/client\": \"5\", \"express-session\": \"1\", \"bullmq\": \"5\"");
    assert_eq!(of(&[("package.json", &text)]), owned("SESSION_SECRET", "DATABASE_URL REDIS_URL"));
    let requirements = "Django==5\npsycopg[binary]>=3\nsentry_sdk\n";
    assert_eq!(
        of(&[("requirements.txt", requirements), ("Procfile", "web: gunicorn x")]),
        owned("DJANGO_SECRET_KEY", "DATABASE_URL SENTRY_DSN")
    );
    let gemfile = "source 'https://rubygems.org'\ngem 'rails'\ngem 'pg'\n";
    assert_eq!(
        of(&[("Gemfile", gemfile), ("config.ru", ""), ("Procfile", "web: rails s")]),
        owned("SECRET_KEY_BASE", "DATABASE_URL")
    );
    let composer = "{\"require\": {\"symfony/framework-bundle\": \"7\", \"doctrine/dbal\": \"4\"}}";
    assert_eq!(of(&[("composer.json", composer), ("public/index.php", "<?php")]), owned("APP_SECRET", "DATABASE_URL"));
}
