//! The reference in the book, made from the program itself. With `CONCLAVE_REFERENCE=write` the
//! files are written; otherwise each must be what the program says.

use std::{fmt::Write, path::Path};

use clap::{Command, CommandFactory};
use conclave_api::problem::Code;

use crate::{advice, args::Args};

/// Width of the help texts.
const WIDTH: usize = 100;

fn check(file: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference").join(file);
    if std::env::var("CONCLAVE_REFERENCE").is_ok_and(|wish| wish == "write") {
        std::fs::write(&path, made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "{} is not what the program says: CONCLAVE_REFERENCE=write cargo test --workspace --bin conclave",
        path.display()
    );
}

#[test]
fn every_command_stands_in_the_reference() {
    let mut text =
        "# Commands\n\nMade from the program. `conclave COMMAND --help` says the same.\n"
            .to_owned();
    let mut all = Args::command().term_width(WIDTH);
    all.build();
    write_commands(&all, "conclave", &mut text);
    let global = Command::new("conclave").disable_help_flag(true).args(
        all.get_arguments()
            .filter(|arg| arg.is_global_set())
            .map(|arg| arg.clone().global(false).hide_env_values(true)),
    );
    let options = global.term_width(WIDTH).render_help().to_string();
    let options: Vec<&str> = options.lines().skip_while(|line| *line != "Options:").collect();
    let options = options.join("\n");
    write!(text, "\n## Options of every command\n\n```\n{}\n```\n", options.trim()).unwrap();
    check("commands.md", &text);
}

fn write_commands(command: &Command, path: &str, text: &mut String) {
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let path = format!("{path} {}", sub.get_name());
        if sub.get_subcommands().next().is_some() {
            let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
            write!(text, "\n## {path}\n\n{about}\n").unwrap();
            write_commands(sub, &path, text);
            continue;
        }
        // The options of every command stand once, at the end.
        let own = sub.clone().mut_args(|arg| match arg.is_global_set() {
            true => arg.hide(true),
            false => arg,
        });
        let help = own.term_width(WIDTH).render_help().to_string();
        let own: Vec<&str> = help.lines().map(str::trim_end).collect();
        write!(text, "\n### {path}\n\n```\n{}\n```\n", own.join("\n").trim()).unwrap();
    }
}

#[test]
fn every_setting_stands_in_the_reference() {
    let text = format!(
        "# Configuration\n\nOne TOML file for each node: `conclave server run --config FILE`. `conclave config init` \
         prints this file, every setting with its default:\n\n```toml\n{}```\n",
        advice::CONFIG
    );
    check("configuration.md", &text);
}

#[test]
fn every_code_stands_in_the_reference() {
    let mut text = "# Codes\n\nEvery error has a code, in the command line and in the API. \
                    `conclave explain CODE` says the same.\n\n\
                    | code | exit | HTTP | what it means |\n|---|---|---|---|\n"
        .to_owned();
    let mut codes = Code::ALL.to_vec();
    codes.sort_by_key(|code| code.as_str());
    for code in codes {
        let (exit, status) = (code.exit_code(), code.status());
        let explained = advice::explain(code).replace('|', "\\|");
        writeln!(text, "| {} | {exit} | {status} | {explained} |", code.as_str()).unwrap();
    }
    check("codes.md", &text);
}
