//! The one binary of Conclave: command line and node.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the command line talks to people")]

mod advice;
mod args;
mod commands;
mod output;
mod progress;
#[cfg(test)]
mod reference;

use std::process::ExitCode;

use clap::Parser;
use conclave_api::problem::masked;

fn main() -> ExitCode {
    let args = args::Args::try_parse().unwrap_or_else(|refused| {
        let said = refused.to_string();
        let shown = masked(said.clone());
        if shown == said {
            refused.exit();
        }
        // An argument contained a private key. Print only the masked text.
        eprint!("{shown}");
        std::process::exit(refused.exit_code())
    });
    let global = args.global.clone();
    match commands::run(args) {
        Ok(code) => ExitCode::from(code),
        Err(problem) => {
            output::problem(&global, &problem);
            ExitCode::from(problem.exit_code)
        }
    }
}
