//! The book as a reader meets it: every line of its ```console blocks is run, and what it prints
//! is compared with the document.
//!
//! A document begins with the cluster that it needs: `<!-- cluster: 3 nodes -->`, `<!-- cluster: 3
//! nodes, not founded -->`, or `<!-- cluster: none -->`. `$ ` begins a line for the machine of
//! node-1, `node-2$ ` one for that of node-2. In a document `…` stands for anything. Comments
//! stage what a reader has already: see `script.rs`.
//!
//! `CONCLAVE_REFERENCE=write` writes down what is printed; what differs from run to run is `…`.

mod line;
mod places;
mod script;
mod stage;

use std::{
    fs,
    path::{Path, PathBuf},
};

use conclave_tests::{has_program, wait_for};

use line::{fits, lasting};
use script::{Part, parse};
use stage::{Kind, Stage};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A test for each document.
macro_rules! documents {
    ($($name:ident: $path:literal,)*) => {
        const DOCUMENTS: &[&str] = &["docs/transcripts.md", $($path),*];
        $(
            #[test]
            fn $name() {
                check($path);
            }
        )*
    };
}

documents! {
    the_readme_shows_what_is_printed: "README.md",
    a_cluster_is_set_up_as_shown: "docs/cluster.md",
    access_is_given_as_shown: "docs/access.md",
    an_upgrade_goes_as_shown: "docs/upgrade.md",
    backups_are_made_and_restored_as_shown: "docs/backup.md",
    certificates_are_imported_as_shown: "docs/pki/certificate.md",
    certbot_gives_its_files_as_shown: "docs/migrate/certbot.md",
    chains_are_set_as_shown: "docs/pki/chain.md",
    clients_are_asked_for_certificates_as_shown: "docs/pki/clients.md",
    communigate_pro_gives_its_settings_as_shown: "docs/migrate/communigate.md",
    disasters_end_as_shown: "docs/disaster.md",
    domains_are_made_as_shown: "docs/pki/domain.md",
    dtls_is_opened_as_shown: "docs/dtls.md",
    events_and_contexts_are_as_shown: "docs/api.md",
    haproxy_gives_its_files_as_shown: "docs/migrate/haproxy.md",
    keys_are_made_and_imported_as_shown: "docs/pki/key.md",
    lost_nodes_are_recovered_as_shown: "docs/recover.md",
    nodes_are_unlocked_as_shown: "docs/unlock.md",
    operation_is_as_shown: "docs/operate.md",
    probes_answer_as_shown: "docs/monitoring.md",
    requests_are_signed_as_shown: "docs/pki/request.md",
    security_is_looked_at_as_shown: "docs/security.md",
    smime_is_used_as_shown: "docs/smime.md",
    starttls_is_opened_as_shown: "docs/starttls.md",
    symptoms_lead_to_codes_as_shown: "docs/troubleshoot.md",
    the_start_is_as_shown: "docs/start.md",
    tls_is_set_as_shown: "docs/pki/tls.md",
    trust_is_given_as_shown: "docs/pki/trust.md",
    vault_signs_as_shown: "docs/migrate/vault.md",
}

#[test]
fn commands_print_what_the_document_shows() {
    check("docs/transcripts.md");
}

#[test]
fn the_examples_of_the_help_do_what_they_say() {
    check("tests/fixtures/help_examples.md");
}

/// Runs a document, and compares it with what is printed, or writes that down.
fn check(name: &str) {
    if !has_program("openssl") || !has_program("curl") {
        return;
    }
    let path = root().join(name);
    let document = fs::read_to_string(&path).unwrap();
    let (written, wrong) = perform(&document);
    if std::env::var("CONCLAVE_REFERENCE").is_ok_and(|value| value == "write") {
        fs::write(path, written).unwrap();
        return;
    }
    assert!(wrong.is_empty(), "not as {name} has it:\n{}", wrong.join("\n\n"));
}

/// The document with what is printed now, and the lines that are not as it has them.
fn perform(document: &str) -> (String, Vec<String>) {
    let kind = Kind::of(document).expect("a comment that names the cluster");
    let mut stage = Stage::set(kind);
    let (mut written, mut wrong) = (String::new(), Vec::new());
    for part in parse(document) {
        match part {
            Part::Text(line) => written.push_str(&format!("{line}\n")),
            Part::Staged { lines, what } => {
                lines.iter().for_each(|line| written.push_str(&format!("{line}\n")));
                direct(&mut stage, what);
            }
            Part::Command { lines, node, words, documented, is_quiet } => {
                let all = stage.run(node, &words);
                let mut printed: Vec<&str> = all.lines().collect();
                if is_quiet {
                    printed.retain(|line| line.starts_with("(exit code "));
                }
                let is_same = documented.len() == printed.len()
                    && documented.iter().zip(&printed).all(|(one, other)| fits(one, other));
                let shown: Vec<String> = match is_same {
                    true => documented.iter().map(|line| (*line).to_owned()).collect(),
                    false => printed.iter().map(|line| lasting(line)).collect(),
                };
                lines.iter().for_each(|line| written.push_str(&format!("{line}\n")));
                shown.iter().for_each(|line| written.push_str(&format!("{}\n", line.trim_end())));
                if !is_same {
                    wrong.push(format!("{}\n{all}", lines.join("\n")));
                }
            }
        }
    }
    (written, wrong)
}

/// Does what a comment says.
fn direct(stage: &mut Stage, what: script::Direction<'_>) {
    use script::Direction::{Kill, Lose, Place, Run, Until};
    match what {
        Run(words) => {
            let (code, text) = stage.prepare(&words);
            assert_eq!(code, 0, "{words}\n{text}");
        }
        Until(words) => wait_for(words, || (stage.prepare(words).0 == 0).then_some(())),
        Place(word, words) => {
            let (code, text) = stage.prepare(words);
            assert_eq!(code, 0, "{words}\n{text}");
            stage.place(word, text.trim());
        }
        Kill(node) => stage.kill(node),
        Lose(node) => stage.lose(node),
    }
}

/// Every document with a block to run has a test here, and every test such a document.
#[test]
fn every_document_that_shows_a_session_is_run() {
    let mut found: Vec<String> = documents();
    found.retain(|name| {
        let text = fs::read_to_string(root().join(name)).unwrap();
        text.lines().any(|line| line == script::BEGIN)
    });
    let mut named: Vec<&str> = DOCUMENTS.to_vec();
    named.sort_unstable();
    assert_eq!(found, named);
}

/// README.md and all of the book, by their paths from the root.
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
    found.sort_unstable();
    found
}

/// A link to a chapter that was moved, or to a heading that was renamed, misleads.
#[test]
fn every_link_of_the_book_leads_to_a_file_and_a_heading() {
    let mut broken = Vec::new();
    for name in documents() {
        let text = fs::read_to_string(root().join(&name)).unwrap();
        let here = root().join(&name);
        for target in links(&text) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => here.clone(),
                other => here.parent().unwrap().join(other),
            };
            let Ok(led_to) = fs::read_to_string(&file) else {
                if !file.exists() {
                    broken.push(format!("{name}: {target}"));
                }
                continue;
            };
            if !heading.is_empty() && !headings(&led_to).contains(&heading.to_owned()) {
                broken.push(format!("{name}: {target}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Targets of links that are not addresses of the net.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let targets = targets.map(|(target, _)| target);
    targets.filter(|target| !target.contains("://") && !target.contains(' ')).collect()
}

/// Headings as links name them.
fn headings(text: &str) -> Vec<String> {
    let titles = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().replace(' ', "-")
    };
    titles.map(anchor).collect()
}

/// A chapter that the table of contents does not have is found by nobody.
#[test]
fn every_chapter_stands_in_the_table_of_contents() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let listed = links(&summary);
    for name in documents().iter().filter_map(|name| name.strip_prefix("docs/")) {
        assert!(name == "SUMMARY.md" || listed.contains(&name), "docs/SUMMARY.md lacks {name}");
    }
}
