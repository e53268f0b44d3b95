//! The reference in the book, made from the program itself. With `CONCLAVE_REFERENCE=write` the
//! files are written; otherwise each must be what the program says.

use std::{fmt::Write, path::Path};

use clap::Command;
use conclave_api::{openapi, problem::Code};

use crate::{advice, args};

/// Width of the help texts.
const WIDTH: usize = 100;

fn check(file: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
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
    let mut all = args::command().term_width(WIDTH);
    all.build();
    write_commands(&all, &all, "conclave", &mut text);
    let root = all.clone().term_width(WIDTH).render_help().to_string();
    let options = root.lines().skip_while(|line| !line.starts_with(args::EVERYWHERE));
    let options: Vec<&str> = options.take_while(|line| !line.is_empty()).collect();
    let options = options.join("\n");
    write!(text, "\n## Options of every command\n\n```\n{}\n```\n", options.trim()).unwrap();
    check("../docs/reference/commands.md", &text);
}

fn write_commands(root: &Command, command: &Command, path: &str, text: &mut String) {
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let path = format!("{path} {}", sub.get_name());
        if sub.get_subcommands().next().is_some() {
            let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
            write!(text, "\n## {path}\n\n{about}\n").unwrap();
            write_commands(root, sub, &path, text);
            continue;
        }
        // The options of every command have a section of their own. A few commands mean another
        // thing by one of them, and show it.
        let own = sub.clone().mut_args(|arg| {
            let same = |other: &&clap::Arg| other.get_id() == arg.get_id();
            let is_shared = root
                .get_arguments()
                .find(same)
                .is_some_and(|found| found.is_global_set() && found.get_help() == arg.get_help());
            if is_shared { arg.hide(true) } else { arg }
        });
        let help = own.term_width(WIDTH).render_help().to_string();
        let own: Vec<&str> = help.lines().map(str::trim_end).collect();
        write!(text, "\n### {path}\n\n```\n{}\n```\n", own.join("\n").trim()).unwrap();
    }
}

/// All help screens as they are seen, so that a change of one is read by a person.
#[test]
fn every_help_screen_is_as_it_was_read() {
    let mut all = args::command().term_width(WIDTH);
    all.build();
    let mut text = String::new();
    write_screens(&all, "conclave", &mut text);
    check("help.txt", &text);
}

fn write_screens(command: &Command, path: &str, text: &mut String) {
    let help = command.clone().term_width(WIDTH).render_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    writeln!(text, "$ {path} --help\n{}\n", lines.join("\n").trim_end()).unwrap();
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        write_screens(sub, &format!("{path} {}", sub.get_name()), text);
    }
}

#[test]
fn every_setting_stands_in_the_reference() {
    let text = format!(
        "# Configuration\n\nOne TOML file for each node: `conclave server run --config FILE`. `conclave config init` \
         prints this file, every setting with its default:\n\n```toml\n{}```\n",
        advice::CONFIG
    );
    check("../docs/reference/configuration.md", &text);
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
    check("../docs/reference/codes.md", &text);
}

#[test]
fn the_contract_of_the_api_stands_in_the_docs() {
    check("../docs/openapi.json", &format!("{:#}\n", openapi::document()));
}
