//! All that must be true of a commit: `cargo verify`. Changes nothing.
//!
//! `--checks` leaves the tests out; `--fix` formats and takes clippy's suggestions first.

use std::process::{Command, ExitCode};

/// What is asked of the sources: words, and what the environment must say besides.
const CHECKS: [(&str, Option<(&str, &str)>); 4] = [
    ("fmt --all --check", None),
    ("clippy --workspace --all-targets -- -D warnings", None),
    ("doc --workspace --no-deps", Some(("RUSTDOCFLAGS", "-D warnings"))),
    // The whole workspace has every feature; users also build without them.
    ("clippy --package conclave -- -D warnings", None),
];
const FIXES: [&str; 2] =
    ["clippy --workspace --all-targets --fix --allow-dirty --allow-staged", "fmt --all"];
/// The suites start the real binary, so it is built first, by the same profile.
const TESTS: [&str; 2] = ["build --workspace --bins", "test --workspace"];

fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = asked.iter().find(|one| !["--checks", "--fix"].contains(&one.as_str())) {
        eprintln!("unknown: {unknown}\nusage: cargo verify [--checks] [--fix]");
        return ExitCode::from(2);
    }
    let has = |word: &str| asked.iter().any(|one| one == word);
    let fixed = !has("--fix") || FIXES.iter().all(|words| cargo(words, None));
    let checked = fixed && CHECKS.iter().all(|(words, variable)| cargo(words, *variable)) && deny();
    let tested = checked && (has("--checks") || TESTS.iter().all(|words| cargo(words, None)));
    if tested { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs cargo in the directory that the user is in; says what it runs.
fn cargo(words: &str, variable: Option<(&str, &str)>) -> bool {
    let shown = variable.map(|(name, value)| format!("{name}={value:?} ")).unwrap_or_default();
    eprintln!("verify: {shown}cargo {words}");
    let mut command = Command::new("cargo");
    command.args(words.split(' ')).envs(variable);
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("verify: cargo cannot be started: {error}");
            false
        }
    }
}

/// Licences, advisories and banned crates; skipped with a word where the tool is missing.
fn deny() -> bool {
    let version = Command::new("cargo").args(["deny", "--version"]).output();
    if version.is_ok_and(|output| output.status.success()) {
        return cargo("deny check", None);
    }
    eprintln!("SKIPPED: cargo deny is not installed (cargo install cargo-deny --locked)");
    true
}
