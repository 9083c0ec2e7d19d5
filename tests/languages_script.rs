//! The scripting languages: an app of each is built and serves, a change of its source installs nothing again, and its
//! image has nothing but what runs.

use std::fs;

use crate::{
    harness::{Repository, Server, docker, run},
    languages::{App, unique, written_in},
};

// ---- Deno and Bun ---------------------------------------------------------------------------------------------------

#[test]
fn deno_with_a_package() {
    let server = Server::start();
    let repository = server.repository("deno-hono", "app");
    repository.replace("deno.json", "// A task", &format!("// {}: a task", unique())).commit("unique");
    let (server, repository) = App {
        fixture: "deno-hono",
        hello: "Hello from Deno v1, built true\n",
        version: "main.ts",
        install: "deno install --frozen",
        absent: &[],
    }
    .serves_from(server, repository);
    // Where one dependency is added, the other is not downloaded again.
    let add = "deno add npm:is-odd@3.0.1";
    written_in("denoland/deno:2.9.6", &repository, &["deno.json", "deno.lock"], "deno --version", add);
    let third = repository.push().expect_success();
    let talk = third.talk();
    let mut installs = talk.lines().filter(|line| line.contains("deno install --frozen"));
    assert!(installs.next().is_some_and(|line| !line.ends_with("(cached)")), "{third}");
    assert!(!talk.contains("/hono/-/") && !talk.contains("All packages are downloaded"), "{third}");
    let packages = run(docker().args(["exec", &server.containers()[0], "sh", "-c", "ls /deno-dir/npm/*"]));
    assert_eq!(packages.expect_success().stdout, "hono\nis-number\nis-odd\n");
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

// ---- shell ----------------------------------------------------------------------------------------------------------

#[test]
fn a_shell_script() {
    App {
        fixture: "shell-socat",
        hello: "Hello from a shell script v1 of 5\n",
        version: "start.sh",
        install: "apt-get install --yes --no-install-recommends socat",
        absent: &["/var/lib/apt/lists/*"],
    }
    .serves();
}

// ---- Ruby -----------------------------------------------------------------------------------------------------------

/// Makes files for a clone in a container, in /made, and commits them.
fn make(repository: &Repository, dockerfile: &str) {
    let path = repository.path.join("Dockerfile.make");
    fs::write(&path, dockerfile).unwrap();
    let mut build = docker();
    build.env("DOCKER_BUILDKIT", "1").args(["build", "--quiet", "--file"]).arg(&path).arg(&repository.path);
    let image = run(&mut build).expect_success().stdout.trim().to_owned();
    fs::remove_file(path).unwrap();
    let container = run(docker().args(["create", &image, "true"])).expect_success().stdout.trim().to_owned();
    run(docker().args(["cp", &format!("{container}:/made/.")]).arg(&repository.path)).expect_success();
    run(docker().args(["rm", &container])).expect_success();
    run(docker().args(["rmi", &image]));
    repository.commit("made");
}

/// Debian's packages of gems, as gems in vendor/cache, and a Gemfile.lock for them: no registry of gems is needed.
const GEMS: &str = r#"
FROM ruby:3.3
RUN apt-get update && apt-get install --yes --no-install-recommends ruby-sinatra ruby-rackup ruby-webrick
WORKDIR /made
COPY Gemfile ./
COPY greet /greet
RUN mkdir -p vendor/cache && cd /greet && gem build --output /made/vendor/cache/greet-1.0.0.gem greet.gemspec
RUN ["ruby", "-rrubygems/package", "-rfileutils", "-e", "\
    wanted, specs = %w[sinatra rackup webrick rake], {}; \
    while (name = wanted.pop); \
      next if specs[name]; \
      spec = specs[name] = Gem::Specification.find_by_name(name); \
      wanted.concat(spec.runtime_dependencies.map(&:name)); \
    end; \
    specs.each_value do |spec| \
      next if spec.default_gem?; \
      system('cp', '-rL', spec.full_gem_path, '/tmp/gem', exception: true); \
      Dir.chdir('/tmp/gem') { \
        spec.files = Dir['**/*'].select { |file| File.file?(file) }; \
        spec.executables = spec.executables.select { |file| File.exist?(File.join(spec.bindir, file)) }; \
        gem = Gem::Package.build(spec, true); \
        FileUtils.mv(gem, '/made/vendor/cache'); \
      }; \
      FileUtils.rm_r('/tmp/gem'); \
    end"]
RUN bundle install --local --no-cache
"#;

#[test]
fn ruby_with_bundler_and_a_front_end() {
    let server = Server::start();
    let repository = server.repository("ruby-sinatra", "app");
    make(&repository, GEMS);
    let (server, _) = App {
        fixture: "ruby-sinatra",
        hello: "Hello from Ruby, in C, v1\n",
        version: "app.rb",
        install: "bundle install --jobs 4 --local",
        absent: &["/app/node_modules", "/usr/local/bin/node", "/app/vendor/cache/*", "/usr/local/bundle/ruby/*/cache"],
    }
    .serves_from(server, repository);
    assert_eq!(server.get("app", "/style.css").body, "body { color: navy; }\n");
    assert!(server.get("app", "/front-end.json").body.contains("nanoid"));
}

// ---- PHP ------------------------------------------------------------------------------------------------------------

#[test]
fn php_with_composer_and_a_front_end() {
    let server = Server::start();
    let repository = server.repository("php-composer", "app");
    repository.push().expect_success();
    let hello = "Hello from PHP v1, built true, 1180591620717411303424\n";
    assert_eq!(server.get("app", "/").body, hello);
    assert!(server.get("app", "/front-end.json").body.contains("nanoid"));
    server.paas(&["config:set", "app", "COLOR=navy"]).expect_success();
    assert_eq!(server.get("app", "/where").body, "/app/public production navy\n");
    assert_eq!(server.get("app", "/no/such/page").status, 404);
    assert_eq!(server.get("app", "/.env").status, 403);

    repository.replace("src/Page.php", "v1", "v2").commit("second");
    let second = repository.push().expect_success();
    assert_eq!(server.get("app", "/").body, hello.replace("v1", "v2"));
    let talk = second.talk();
    for install in ["install-php-extensions opcache gmp", "--no-scripts --no-autoloader", "npm ci"] {
        let steps: Vec<&str> = talk.lines().filter(|line| line.contains(install)).collect();
        assert!(!steps.is_empty() && steps.iter().all(|line| line.ends_with("(cached)")), "{install}: {second}");
    }
    // The official image has compilers of its own, and so have all that are made from it: they are not asked for here.
    let containers = server.containers();
    let container = containers.iter().find(|name| name.contains("web")).unwrap();
    let absent = "id -u; ls -d /app/node_modules /app/.paas /usr/local/bin/composer /usr/local/bin/node /tmp/* 2>/dev/null; true";
    let inside = run(docker().args(["exec", container, "sh", "-c", absent])).expect_success();
    assert_eq!(inside.stdout, "1000\n");
}

#[test]
fn php_alone() {
    let server = Server::start();
    let repository = server.empty_repository("app");
    repository.write("index.php", "<?php echo 'Hello from PHP alone ' . PHP_SAPI . \"\\n\";\n");
    repository.write("composer.json", "{}\n").write("Procfile.txt", "x\n").commit("first");
    repository.push().expect_success();
    assert_eq!(server.get("app", "/").body, "Hello from PHP alone apache2handler\n");
    assert_eq!(server.get("app", "/nothing").status, 404);
    assert_eq!(server.get("app", "/composer.json").status, 403);
    assert_eq!(server.get("app", "/.git/config").status, 403);
}

// ---- Elixir ---------------------------------------------------------------------------------------------------------

#[test]
fn elixir_with_a_release_and_a_front_end() {
    let (server, _) = App {
        fixture: "elixir-release",
        hello: "Hello from Elixir v1\n",
        version: "lib/hello.ex",
        install: "mix deps.get --only prod && mix deps.compile",
        absent: &["/usr/local/bin/node", "/usr/bin/elixir", "/app/mix.exs", "/src"],
    }
    .serves();
    assert_eq!(server.get("app", "/front-end.txt").body, "nanoid\n");
}

// ---- static sites ---------------------------------------------------------------------------------------------------

#[test]
fn a_site_does_what_its_staticfile_says() {
    let server = Server::start();
    let repository = server.empty_repository("page");
    repository.write("Staticfile", "root: site\npushstate: enabled\n").write("site/index.html", "home\n");
    repository.write("site/about.html", "about\n").write("index.html", "not this one\n").commit("first");
    repository.write("package.json", "{ \"devDependencies\": { \"prettier\": \"3\" } }\n").commit("tools");
    repository.push().expect_success();
    assert_eq!(server.get("page", "/").body, "home\n");
    assert_eq!(server.get("page", "/about").body, "about\n");
    let elsewhere = server.get("page", "/any/where");
    assert_eq!((elsewhere.status, elsewhere.body.as_str()), (200, "home\n"));
    assert_eq!(server.get("page", "/no/such.css").status, 404);

    repository.write("Staticfile", "root: site\n").commit("without the fallback");
    repository.push().expect_success();
    assert_eq!(server.get("page", "/any/where").status, 404);
}
