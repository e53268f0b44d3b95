//! The transcripts of docs/transcripts.md: what commands print, as a reader sees it.
//!
//! `CONCLAVE_REFERENCE=write` writes down what is printed; what differs from run to run is `…`.

use std::{fs, path::Path, process::Command};

use conclave_tests::{Cluster, Pair, binary, echo_upstream, has_program, openssl};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/transcripts.md");
const BEGIN: &str = "```console";
const END: &str = "```";

/// The shell of a reader: its directory, and what the document's words stand for.
struct Shell<'a> {
    dir: &'a Path,
    variables: Vec<(String, String)>,
}

impl Shell<'_> {
    /// Runs a line, and gives what it prints on the terminal.
    fn run(&self, line: &str) -> String {
        let programs = binary("conclave").parent().unwrap().display().to_string();
        let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec 2>&1; {line}")]).current_dir(self.dir);
        command.env("PATH", path).env("HOME", self.dir).env_remove("XDG_CONFIG_HOME");
        command.env_remove("CONCLAVE_CONTEXT").env_remove("CONCLAVE_TOKEN_FILE");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let output = command.output().unwrap();
        let mut text = String::from_utf8(output.stdout).unwrap();
        for (name, value) in self.variables.iter().filter(|(name, _)| name == "PORT") {
            text = text.replace(value, &format!("${name}"));
        }
        // The reader is root.
        let uid = rustix::process::getuid().as_raw();
        let text = text.replace(&format!("uid {uid}"), "uid 0");
        // What is printed if an answer takes longer than a second.
        let is_wait = |line: &&str| !line.ends_with(" ...");
        let text: String = text.lines().filter(is_wait).map(|line| format!("{line}\n")).collect();
        match output.status.code().unwrap() {
            0 => text,
            code => format!("{text}(exit code {code})\n"),
        }
    }
}

/// Whether a line is as the document has it, where `…` stands for anything. Columns may be wider.
fn fits(documented: &str, printed: &str) -> bool {
    let (documented, printed) = (narrow(documented), narrow(printed));
    let pieces: Vec<&str> = documented.split('…').collect();
    let Some((first, others)) = pieces.split_first() else { return false };
    let Some(mut rest) = printed.strip_prefix(first) else { return false };
    for (at, piece) in others.iter().enumerate() {
        let is_last = at + 1 == others.len();
        let found = if is_last && piece.is_empty() { Some(rest.len()) } else { rest.find(piece) };
        let place = match found {
            Some(_) if is_last && rest.ends_with(piece) => rest.len() - piece.len(),
            Some(place) if !is_last => place,
            _ => return false,
        };
        rest = &rest[place + piece.len()..];
    }
    rest.is_empty()
}

/// Columns have two spaces between them, whatever their width.
fn narrow(line: &str) -> String {
    let mut narrow = String::new();
    let mut spaces = 0;
    for letter in line.trim_end().chars() {
        spaces = if letter == ' ' { spaces + 1 } else { 0 };
        if spaces <= 2 || narrow.trim().is_empty() {
            narrow.push(letter);
        }
    }
    narrow
}

/// What a reader of another day would see in its place. Columns stay where they are.
fn lasting(line: &str) -> String {
    let mut words = Vec::new();
    let all: Vec<&str> = line.split(' ').collect();
    for (at, word) in all.iter().enumerate() {
        let next = all.get(at + 1).copied();
        let core = word.trim_matches(|letter: char| "(),;\"".contains(letter));
        let is_count =
            next.is_some_and(|next| next.starts_with("ms")) && core.parse::<f64>().is_ok();
        if !differs(core) && !is_count {
            words.push((*word).to_owned());
            continue;
        }
        let mut short = word.replace(core, &shown(core));
        if next == Some("") {
            let gone = word.chars().count().saturating_sub(short.chars().count());
            short.push_str(&" ".repeat(gone));
        }
        words.push(short);
    }
    words.join(" ")
}

fn shown(word: &str) -> String {
    let kept =
        ["cvt_", "cvj_", "https://", "quic://"].into_iter().find(|kept| word.starts_with(kept));
    format!("{}…", kept.unwrap_or_default())
}

/// Times, hashes, secrets, addresses.
fn differs(word: &str) -> bool {
    let is_hex = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
    let is_date = word.len() >= 10 && word.bytes().filter(|byte| *byte == b'-').count() == 2;
    let is_pairs =
        word.contains(':') && word.split(':').all(|pair| pair.len() <= 2 && is_hex(pair));
    let number = word.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = &word[number.len()..];
    let is_time = number.parse::<f64>().is_ok() && ["s", "m", "h", "d", "ms"].contains(&unit);
    let is_fraction = number.contains('.') && number.parse::<f64>().is_ok();
    let is_hash = word.len() >= 5
        && is_hex(word.trim_end_matches('…'))
        && (word.len() >= 12 || word.ends_with('…'));
    has_digit && (is_date && word.starts_with("20") || is_pairs || is_time || is_fraction)
        || is_hash
        || ["cvt_", "cvj_", "https://127", "127.", "/tmp/"]
            .iter()
            .any(|begin| word.starts_with(begin))
}

/// The document with what is printed now, and the lines that are not as it has them.
fn compare(document: &str, shell: &Shell<'_>) -> (String, Vec<String>) {
    let (mut written, mut wrong) = (String::new(), Vec::new());
    let mut lines = document.lines().peekable();
    while let Some(line) = lines.next() {
        written.push_str(&format!("{line}\n"));
        if line != BEGIN {
            continue;
        }
        while let Some(command) = lines.next_if(|line| *line != END) {
            let words = command.strip_prefix("$ ").expect(command);
            let mut documented = Vec::new();
            while let Some(line) = lines.next_if(|line| *line != END && !line.starts_with("$ ")) {
                documented.push(line);
            }
            let printed = shell.run(words);
            let printed: Vec<&str> = printed.lines().collect();
            let is_same = documented.len() == printed.len()
                && documented.iter().zip(&printed).all(|(one, other)| fits(one, other));
            written.push_str(&format!("{command}\n"));
            let lasting: Vec<String> = match is_same {
                true => documented.iter().map(|line| (*line).to_owned()).collect(),
                false => printed.iter().map(|line| lasting(line)).collect(),
            };
            lasting.iter().for_each(|line| written.push_str(&format!("{}\n", line.trim_end())));
            if !is_same {
                wrong.push(format!("{command}\n{}", printed.join("\n")));
            }
        }
    }
    (written, wrong)
}

#[test]
fn commands_print_what_the_document_shows() {
    if !has_program("openssl") {
        return;
    }
    let cluster = Cluster::unfounded(3);
    let dir = cluster.dir.path();
    let pair = Pair::with_days("shop.example", -1, 90);
    let file = |name: &str, text: &str| fs::write(dir.join(name), text).unwrap();
    file("fullchain.pem", &pair.bundle());
    file("privkey.pem", &pair.key);
    file("alice.password", "correct horse battery");
    let place = |name: &str| dir.join(name).display().to_string();
    let (from, to) = (place("privkey.pem"), place("encrypted.pem"));
    openssl(&["pkcs8", "-topk8", "-in", &from, "-passout", "pass:1234", "-out", &to]);
    let mut variables = vec![
        ("PORT".to_owned(), cluster.free_port().to_string()),
        ("UPSTREAM".to_owned(), echo_upstream().to_string()),
    ];
    for (at, node) in cluster.nodes.iter().enumerate() {
        let socket = format!("unix:{}", node.dir.join("admin.sock").display());
        if at == 0 {
            variables.push(("CONCLAVE_ADDRESS".to_owned(), socket.clone()));
        }
        variables.push((format!("NODE_{}", at + 1), socket));
        variables.push((format!("QUIC_{}", at + 1), node.quic.to_string()));
        variables.push((format!("ADDRESS_{}", at + 1), node.address.to_string()));
    }
    let shell = Shell { dir, variables };
    let document = fs::read_to_string(DOCUMENT).unwrap();
    let (written, wrong) = compare(&document, &shell);
    if std::env::var("CONCLAVE_REFERENCE").is_ok_and(|value| value == "write") {
        fs::write(DOCUMENT, written).unwrap();
        return;
    }
    assert!(wrong.is_empty(), "not as docs/transcripts.md has it:\n{}", wrong.join("\n\n"));
}

#[test]
fn a_line_fits_with_what_differs_left_out() {
    for (documented, printed, expected) in [
        ("a  b", "a     b", true),
        ("a b", "a  b", false),
        ("made … in … ms", "made x in 12 ms", true),
        ("made … in … ms", "made x in 12 s", false),
        ("… end", "the end", true),
        ("begin …", "begin", false),
        ("begin …", "begin now", true),
        ("same", "same thing", false),
    ] {
        assert_eq!(fits(documented, printed), expected, "{documented:?} {printed:?}");
    }
    assert_eq!(lasting("took 12ms (2026-11-29) cvt_ab12"), "took … (…) cvt_…");
    assert_eq!(lasting("3 of 3 nodes, version 4"), "3 of 3 nodes, version 4");
}
