//! The scripting languages: an app of each is built and serves, a change of its source installs nothing again, and its
//! image has nothing but what runs.

use std::fs;

use crate::{
    harness::{Repository, Server, docker, run},
    languages::App,
};

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
