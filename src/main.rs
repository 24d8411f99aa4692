//! `simpleton`: everything is in the library, so that tests can run the same server in-process.

fn main() -> std::process::ExitCode {
    simpleton::cli::main()
}
