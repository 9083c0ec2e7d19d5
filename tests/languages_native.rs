//! Languages that are compiled: an app of each with real packages is built and serves, a change of its source compiles
//! or fetches no dependency again, and its image has nothing but what runs.

use crate::{
    harness::{Server, command, docker, run},
    languages::{App, unique, written_in},
};

// ---- Rust -----------------------------------------------------------------------------------------------------------

#[test]
fn rust_with_a_workspace() {
    let server = Server::start();
    let repository = server.repository("rust-workspace", "app");
    repository.replace("Cargo.toml", "[workspace]", &format!("# {}\n[workspace]", unique())).commit("unique");
    let (server, repository) = App {
        fixture: "rust-workspace",
        hello: "Hello from Rust v1, answer 42\n",
        version: "crates/greeting/src/lib.rs",
        install: "cargo build --release --locked || echo",
        absent: &["/app/target", "/app/.paas", "/usr/local/cargo", "/usr/local/bin/cargo"],
    }
    .serves_from(server, repository);
    // Where one dependency changes, the others are not compiled again.
    let mut cargo = command("cargo");
    for name in ["HOME", "CARGO_HOME", "RUSTUP_HOME", "CARGO_HTTP_CAINFO"] {
        cargo.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    run(cargo.args(["update", "itoa", "--precise", "1.0.11"]).current_dir(&repository.path)).expect_success();
    repository.commit("another itoa");
    let third = repository.push().expect_success();
    let talk = third.talk();
    let said = talk.lines().find_map(|line| line.trim().strip_suffix(" packages were compiled before"));
    assert!(said.is_some_and(|number| number.parse::<u32>().unwrap() >= 5), "{third}");
    assert_eq!(server.get("app", "/").body, "Hello from Rust v2, answer 42\n");
}

// ---- Java -----------------------------------------------------------------------------------------------------------

#[test]
fn java_with_modules_of_maven() {
    let (server, _) = App {
        fixture: "java-maven",
        hello: "Hello from Maven v1\n",
        version: "greeting/src/main/java/hello/Greeting.java",
        install: "maven --dependencies",
        absent: &["/app/.paas", "/app/site/target/test-classes", "/root/.m2", "/opt/java/openjdk/bin/javac"],
    }
    .serves();
    // The program itself gets the signals.
    let container = server.containers().into_iter().find(|name| name.contains("web")).unwrap();
    let list = "for process in /proc/[0-9]*; do tr '\\0' ' ' <$process/cmdline; echo; done";
    let processes = run(docker().args(["exec", &container, "sh", "-c", list])).expect_success().stdout;
    assert!(processes.lines().any(|line| line.starts_with("java -jar /app/site/target/site-1.0.jar")), "{processes}");
    assert!(!processes.lines().any(|line| line.starts_with("/bin/sh ")), "a shell is in between: {processes}");
    // The heap grows to three quarters of what the container may have.
    server.paas(&["ps:set", "app", "memory=256m"]).expect_success();
    let heap: u32 = server.get("app", "/memory").body.trim().parse().unwrap();
    assert!((150..=192).contains(&heap), "{heap} MiB of 256");
}

#[test]
fn java_with_the_wrapper_of_maven() {
    let server = Server::start();
    let repository = server.repository("java-maven", "app");
    let files = ["mvnw", ".mvn/wrapper/maven-wrapper.properties"];
    let write = "mvn -B -q -ntp -N wrapper:wrapper -Dmaven=3.9.9";
    written_in("maven:3-eclipse-temurin-17", &repository, &files, "mvn --version", write);
    repository.write("paas.toml", "[build.variables]\nMVNW_VERBOSE = \"true\"\n").commit("it says what it does");
    let (_server, repository) = App {
        fixture: "java-maven",
        hello: "Hello from Maven v1\n",
        version: "greeting/src/main/java/hello/Greeting.java",
        install: "maven --dependencies",
        absent: &["/app/.paas", "/root/.m2", "/opt/java/openjdk/bin/javac"],
    }
    .serves_from(server, repository);
    // A change of the manifest fetches Maven no second time.
    repository.replace("pom.xml", "</project>", &format!("<!-- {} -->\n</project>", unique())).commit("third");
    let third = repository.push().expect_success().says("found existing MAVEN_HOME");
    assert!(!third.talk().contains("Couldn't find MAVEN_HOME"), "{third}");
}

#[test]
fn java_with_spring_boot() {
    App {
        fixture: "java-spring-boot",
        hello: "Hello from Spring Boot v1\n",
        version: "src/main/java/hello/Application.java",
        install: "maven --dependencies",
        absent: &["/app/.paas", "/root/.m2", "/opt/java/openjdk/bin/javac"],
    }
    .serves();
}

#[test]
fn java_with_gradle() {
    App {
        fixture: "java-gradle",
        hello: "{\"hello\":\"from Gradle v1\"}",
        version: "src/main/java/hello/Main.java",
        install: "",
        absent: &["/app/.paas", "/app/.gradle", "/app/build/classes", "/root/.gradle", "/opt/java/openjdk/bin/javac"],
    }
    .serves_whatever_is_cached();
}

// ---- C and C++ ------------------------------------------------------------------------------------------------------

#[test]
fn cpp_with_cmake_and_a_library_of_its_own() {
    App {
        fixture: "cmake",
        hello: "Hello from CMake v1, 0\n",
        version: "greeting.cpp",
        install: "apt-get install",
        absent: &["/app/.paas", "/app/build/CMakeFiles", "/usr/bin/cmake", "/usr/include/fmt"],
    }
    .serves();
}

#[test]
fn c_with_meson() {
    App {
        fixture: "meson",
        hello: "{\"hello\":\"from Meson v1\"}",
        version: "server.c",
        install: "apt-get install",
        absent: &["/app/.paas", "/app/build/meson-private", "/usr/bin/meson"],
    }
    .serves();
}

#[test]
fn c_with_make_and_nothing_else() {
    let server = Server::start();
    let repository = server.empty_repository("app");
    // The build tells what it found, and says nothing where all of it is cached.
    let unique = unique();
    repository.write("Makefile", &format!("# {unique}\nserver: server.c\n\t$(CC) -O2 -o server server.c\n")).write(
        "server.c",
        "#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n\nint main(void) {\n  char port[16];\n  \
         snprintf(port, sizeof port, \"%s\", getenv(\"PORT\"));\n  execl(\"/app/serve\", \"serve\", port, NULL);\n  return 1;\n}\n",
    );
    // It is the image that is of interest here, so that what serves is perl, which Debian's image has.
    repository.write(
        "serve",
        "#!/usr/bin/perl\nuse IO::Socket::INET;\n$SIG{TERM} = sub { exit 0 };\n$SIG{PIPE} = 'IGNORE';\n\
         my $server = IO::Socket::INET->new(LocalPort => $ARGV[0], Listen => 16, ReuseAddr => 1) or die;\n\
         while (1) { my $client = $server->accept or next; while (<$client>) { last if /^\\r?\\n$/ }\n\
         print $client \"HTTP/1.0 200 OK\\r\\nContent-Length: 6\\r\\n\\r\\nmake!\\n\"; close $client }\n",
    );
    run(command("chmod").arg("+x").arg(repository.path.join("serve"))).expect_success();
    repository.commit("first");
    repository.push().expect_success().says("It starts with /app/bin/server");
    assert_eq!(server.get("app", "/").body, "make!\n");
}

// ---- Zig ------------------------------------------------------------------------------------------------------------

#[test]
fn zig_with_the_compiler_from_its_package() {
    let (_server, repository) = App {
        fixture: "zig",
        hello: "Hello from Zig v1\n",
        version: "src/main.zig",
        install: "ziglang==0.17",
        absent: &["/app/.paas", "/app/.zig-cache", "/opt/zig", "/usr/local/bin/zig"],
    }
    .serves();
    // Its runtime, which takes minutes to compile, is kept for the next build.
    let build = format!("echo {} && ls /cache/global/o | wc -l && exit 3", unique());
    repository.write("paas.toml", &format!("[build]\nbuild = \"{build}\"\n")).commit("third");
    let third = repository.push().expect_failure();
    let kept = third.talk().lines().find_map(|line| line.trim().parse::<u32>().ok());
    assert!(kept.is_some_and(|number| number > 0), "{third}");
}
