//! The commands of README, book and help, read as the program reads them. The suite `transcripts`
//! runs every line of a ```console block; here each other one must at least be a command, and a
//! block that nobody runs needs a reason.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use clap::{Command, error::ErrorKind};

use crate::args;

mod shell;

use shell::{commands_of, is_run};

/// Commands in blocks that no test runs: the document, how the line begins, and why.
const NOT_RUN: &[(&str, &str, &str)] = &[
    (
        "docs/backup.md",
        "conclave backup create --recipient age1… --out-dir /var/backups/conclave",
        "a line of a unit of systemd; the page runs the same command before",
    ),
    (
        "docs/install.md",
        "conclave cluster init --name prod",
        "follows the installation of a package, which cli/package/try does",
    ),
    (
        "docs/smime.md",
        "conclave smime filter --to",
        "a line of the script of Postfix, which tests/suites/smime/delivery.rs runs",
    ),
];

/// Where the examples of the help are run.
const EXAMPLES: &str = "tests/fixtures/help_examples.md";

/// Examples of the help that are not run, by how they begin, and why.
const EXAMPLES_APART: &[(&str, &str)] = &[
    ("conclave demo", "it makes a cluster of its own; .ci/run runs it"),
    ("conclave server run", "every node of every suite is started by it"),
    ("conclave config init | sudo tee", "it writes where only root may; the part before is run"),
    ("conclave config check /etc", "it restarts the service of this machine; the check is run"),
    ("conclave cluster init --name prod --address", "the same with another address"),
    ("conclave cluster recover --dry-run", "docs/recover.md runs it with --config"),
    ("ssh node-1", "it needs two machines; both parts are run"),
    ("conclave doctor", "without --config it looks at the service of this machine"),
    ("conclave audit tail --follow", "it has no end; without --follow it is run"),
    ("conclave events", "it has no end without --count, with which it is run"),
    (
        "conclave account login",
        "it needs a certificate that the machine trusts; tests/suites/smime/owners.rs runs it",
    ),
    ("conclave man .", "man is not everywhere; the pages are made"),
];

/// Commands that no document runs, and why.
const NEVER_RUN: &[(&str, &str)] = &[
    ("conclave demo", "it makes a cluster of its own; .ci/run runs it"),
    ("conclave server run", "every node of every suite is started by it"),
];

/// Words among words that stand for others.
const PLACEHOLDERS: &[(&str, &str)] = &[
    ("NUMBER", "5000"),
    ("VERSION", "5"),
    ("ROLE", "viewer"),
    ("PROTOCOL", "smtp"),
    ("COMMAND", "status"),
];

/// Where a command stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a block that the suite runs.
    Console,
    /// In another block.
    Block,
    /// Among words.
    Span,
}

/// A command of a document.
struct Found {
    document: String,
    place: Place,
    words: Vec<String>,
}

impl Found {
    fn line(&self) -> String {
        self.words.join(" ")
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// README.md and the book without what is generated.
fn documents() -> Vec<String> {
    let (mut found, mut dirs) = (vec!["README.md".to_owned()], vec!["docs".to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(root().join(&dir)).unwrap().map(Result::unwrap) {
            let name = format!("{dir}/{}", entry.file_name().to_str().unwrap());
            if entry.path().is_dir() {
                dirs.push(name);
            } else if name.ends_with(".md") {
                found.push(name);
            }
        }
    }
    found.retain(|name| !name.starts_with("docs/reference/"));
    found.sort_unstable();
    found
}

/// Every command in a document.
fn commands_in(document: &str, text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    let mut add = |place, line: &str| {
        let document = document.to_owned();
        found.extend(commands_of(line).into_iter().map(|words| Found {
            document: document.clone(),
            place,
            words,
        }));
    };
    let mut block = None;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            let is_end = block.is_some();
            let place = if is_run(language) { Place::Console } else { Place::Block };
            block = (!is_end).then_some(place);
            continue;
        }
        let Some(place) = block.or(line.starts_with("    ").then_some(Place::Block)) else {
            let spans = line.split('`').skip(1).step_by(2);
            for span in spans.filter(|span| span.starts_with("conclave ")) {
                let words = span.split(' ').map(|word| {
                    let found = PLACEHOLDERS.iter().find(|(placeholder, _)| *placeholder == word);
                    found.map_or(word, |(_, meant)| meant)
                });
                add(Place::Span, &words.collect::<Vec<_>>().join(" "));
            }
            continue;
        };
        let typed = shell::typed(line);
        if place == Place::Console && typed.is_none() {
            continue;
        }
        let mut whole = typed.unwrap_or(line.trim()).to_owned();
        while whole.ends_with('\\') {
            whole.pop();
            whole.push_str(lines.next().unwrap_or_default());
        }
        add(place, &whole);
    }
    found
}

/// Every command of README and book.
fn all() -> Vec<Found> {
    let read = |name: &String| commands_in(name, &fs::read_to_string(root().join(name)).unwrap());
    documents().iter().flat_map(read).collect()
}

/// Why the program does not understand the words; none if it does.
fn refusal(words: &[String], is_whole: bool) -> Option<String> {
    let error = args::command().try_get_matches_from(words).err()?;
    let is_fine = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
        ErrorKind::MissingRequiredArgument
        | ErrorKind::MissingSubcommand
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => !is_whole,
        _ => false,
    };
    (!is_fine).then(|| error.to_string())
}

#[test]
fn every_command_of_readme_and_book_is_one() {
    let mut wrong = Vec::new();
    for found in all() {
        if let Some(why) = refusal(&found.words, found.place != Place::Span) {
            wrong.push(format!("{}: {}\n{why}", found.document, found.line()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_block_of_commands_is_run_or_says_why_not() {
    let all = all();
    let blocks = || all.iter().filter(|found| found.place == Place::Block);
    let is_named = |found: &Found, (document, begin, _): &(&str, &str, &str)| {
        found.document == *document && found.line().starts_with(begin)
    };
    let unnamed: Vec<String> = blocks()
        .filter(|found| !NOT_RUN.iter().any(|named| is_named(found, named)))
        .map(|found| format!("{}: {}", found.document, found.line()))
        .collect();
    assert!(unnamed.is_empty(), "no test runs:\n{}", unnamed.join("\n"));
    for named in NOT_RUN {
        assert!(blocks().any(|found| is_named(found, named)), "{} has no {}", named.0, named.1);
        assert!(!named.2.is_empty());
    }
}

#[test]
fn every_example_of_the_help_is_a_command() {
    let mut wrong = Vec::new();
    let mut count = 0;
    let run = fs::read_to_string(root().join(EXAMPLES)).unwrap();
    let run: BTreeSet<&str> = run.lines().filter_map(shell::typed).collect();
    for (path, command) in leaves() {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = help.lines().filter(|line| line.starts_with("  "));
        for line in examples.map(str::trim) {
            count += 1;
            let commands = commands_of(line);
            let is_apart = EXAMPLES_APART.iter().any(|(begin, _)| line.starts_with(begin));
            if !is_apart && !run.contains(line) {
                wrong.push(format!("{path}: {EXAMPLES} does not run: {line}"));
            }
            let refused = commands.iter().filter_map(|words| refusal(words, true));
            wrong.extend(refused.map(|why| format!("{path}: {line}\n{why}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 100, "examples were not found: {count}");
}

#[test]
fn every_command_is_run_in_the_book() {
    let all = all();
    let run: BTreeSet<String> = all
        .iter()
        .filter(|found| found.place == Place::Console)
        .filter_map(|found| leaf_of(&found.words))
        .collect();
    let leaves: BTreeSet<String> = leaves().into_iter().map(|(path, _)| path).collect();
    let apart: BTreeSet<String> = NEVER_RUN.iter().map(|(path, _)| (*path).to_owned()).collect();
    let missing: Vec<&String> =
        leaves.iter().filter(|path| !run.contains(*path) && !apart.contains(*path)).collect();
    assert!(missing.is_empty(), "no document runs {missing:?}");
    let needless: Vec<&String> = apart.iter().filter(|path| run.contains(*path)).collect();
    assert!(needless.is_empty(), "a document runs {needless:?}");
}

/// The path of the command that the words mean, as `conclave domain list`.
fn leaf_of(words: &[String]) -> Option<String> {
    let matches = args::command().try_get_matches_from(words).ok()?;
    let mut path = "conclave".to_owned();
    let mut at = &matches;
    while let Some((name, inner)) = at.subcommand() {
        path = format!("{path} {name}");
        at = inner;
    }
    Some(path)
}

/// Every command that does something, with its path.
fn leaves() -> Vec<(String, Command)> {
    fn collect(command: &Command, path: &str, into: &mut Vec<(String, Command)>) {
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let path = format!("{path} {}", sub.get_name());
            match sub.get_subcommands().next() {
                Some(_) => collect(sub, &path, into),
                None => into.push((path, sub.clone())),
            }
        }
    }
    let mut all = args::command();
    all.build();
    let mut found = Vec::new();
    collect(&all, "conclave", &mut found);
    found
}

#[test]
fn commands_are_found_wherever_they_stand() {
    let text = "Say `conclave status`.\n\n```console\n$ sudo conclave node list | grep x\nno conclave here\n\
                node-2$ umask 077; conclave top\n```\n\n```\nconclave csr create a --san 'b c' \\\n  --out d   # e\n\
                systemctl restart conclave\n```\n";
    let found = commands_in("x", text);
    let shown: Vec<String> = found.iter().map(Found::line).collect();
    let expected = [
        "conclave status",
        "conclave node list",
        "conclave top",
        "conclave csr create a --san b c --out d",
    ];
    assert_eq!(shown, expected);
    let places: Vec<bool> = found.iter().map(|found| found.place == Place::Console).collect();
    assert_eq!(places, [false, true, true, false]);
}
