//! The one binary of Conclave: command line and node.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the command line talks to people")]

mod advice;
mod args;
#[cfg(test)]
mod book;
mod commands;
mod context;
mod output;
mod progress;
#[cfg(test)]
mod reference;

use std::process::ExitCode;

use conclave_api::problem::{Code, Problem, masked};

/// Exit code after a panic, as Rust has it.
const PANICKED: u8 = 101;

fn main() -> ExitCode {
    let args = match args::Args::read() {
        Ok(args) => args,
        Err(refused) => return refuse(&refused),
    };
    conclave_node::harden();
    let global = args.global.clone();
    let run = std::panic::AssertUnwindSafe(|| commands::run(args));
    let Ok(mut done) = std::panic::catch_unwind(run) else {
        // The panic has been told. A mail server must keep its message all the same.
        return ExitCode::from(if is_filter() { commands::TEMPORARY } else { PANICKED });
    };
    if let (Ok(_), Some(failed)) = (&done, output::failed()) {
        done = Err(Box::new(failed));
    }
    match done {
        Ok(code) => ExitCode::from(code),
        Err(problem) => {
            output::problem(global.output, &problem);
            ExitCode::from(problem.exit_code)
        }
    }
}

/// Whether a mail server calls the filter. It would take the usual exit codes for a refusal of the
/// message.
fn is_filter() -> bool {
    let words: Vec<String> = std::env::args().skip(1).collect();
    words.windows(2).any(|pair| pair == ["smime", "filter"])
}

/// Prints why the arguments are wrong, or the help that was asked for.
fn refuse(refused: &clap::Error) -> ExitCode {
    let said = refused.to_string();
    let shown = masked(said.clone());
    let code = match refused.use_stderr() && is_filter() {
        true => commands::TEMPORARY,
        false => u8::try_from(refused.exit_code()).unwrap_or(2),
    };
    if let Some(form) = output::asked_form(std::env::args()).filter(|_| refused.use_stderr()) {
        let mut lines = shown.lines().map(str::trim).filter(|line| !line.is_empty());
        let title = lines.next().unwrap_or_default();
        let title = title.strip_prefix("error: ").unwrap_or(title);
        let problem = Problem::new(Code::Malformed, title);
        output::problem(form, &problem.detail(lines.collect::<Vec<_>>().join("; ")));
        return ExitCode::from(code);
    }
    if shown != said {
        // An argument contained a private key. Print only the masked text.
        eprint!("{shown}");
        return ExitCode::from(code);
    }
    match refused.print() {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            output::problem(args::Form::Table, &output::unwritten(&error));
            ExitCode::from(1)
        }
        _ => ExitCode::from(code),
    }
}
