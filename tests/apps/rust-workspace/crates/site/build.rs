//! A build script runs in the build, not where its dependencies are compiled.

fn main() {
    println!("cargo:rustc-env=BUILT=true");
}
