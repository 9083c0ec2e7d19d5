//! The `paas` binary: runs the library, returns its exit code.

fn main() -> std::process::ExitCode {
    paas::run(&std::env::args_os().collect::<Vec<_>>())
}
