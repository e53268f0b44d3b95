//! The one binary of Conclave: words to people.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the command line talks to people")]

mod advice;
mod args;
mod commands;
mod output;
mod progress;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let global = args.global.clone();
    match commands::run(args) {
        Ok(code) => ExitCode::from(code),
        Err(problem) => {
            output::problem(&global, &problem);
            ExitCode::from(problem.exit_code)
        }
    }
}
