//! Documents, read: text, lines to run, and comments that stage what a reader has already.
//!
//! | comment | does |
//! |---|---|
//! | `<!-- run: LINE -->`, or several lines from `<!-- run` to `-->` | runs them, with the functions of `stage.sh`; they must succeed |
//! | `<!-- until: LINE -->` | runs the line until it succeeds |
//! | `<!-- place: WORD = LINE -->` | the word stands for what the line prints |
//! | `<!-- kill: node-3 -->` | ends the node at once |
//! | `<!-- lose: node-3 -->` | the same, and its disk is gone |

/// Begin of a block whose lines are run.
pub(super) const BEGIN: &str = "```console";
/// Begin of a block of which only exit codes are documented.
pub(super) const QUIET: &str = "```console quiet";
const END: &str = "```";

/// A piece of a document.
pub(super) enum Part<'a> {
    /// A line for readers.
    Text(&'a str),
    /// A comment.
    Staged {
        /// As it stands in the document.
        lines: Vec<&'a str>,
        /// What it means.
        what: Direction<'a>,
    },
    /// A command, with what it is said to print.
    Command {
        /// As it stands in the document.
        lines: Vec<&'a str>,
        /// Number of the node at whose machine it is typed.
        node: usize,
        /// For the shell.
        words: String,
        /// What it prints.
        documented: Vec<&'a str>,
        /// Whether only its exit code counts.
        is_quiet: bool,
    },
}

/// What a comment means.
pub(super) enum Direction<'a> {
    /// Run it.
    Run(String),
    /// Run it until it succeeds.
    Until(&'a str),
    /// The word stands for what this prints.
    Place(&'a str, &'a str),
    /// Kill this node.
    Kill(usize),
    /// Kill this node and remove its data.
    Lose(usize),
}

/// A document in pieces.
pub(super) fn parse(document: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut lines = document.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "<!-- run" {
            let mut all = vec![line];
            for next in lines.by_ref() {
                all.push(next);
                if next == "-->" {
                    break;
                }
            }
            let what = Direction::Run(all[1..all.len() - 1].join("\n"));
            parts.push(Part::Staged { lines: all, what });
        } else if let Some(what) = direction(line) {
            parts.push(Part::Staged { lines: vec![line], what });
        } else {
            parts.push(Part::Text(line));
        }
        if line != BEGIN && line != QUIET {
            continue;
        }
        let is_quiet = line == QUIET;
        while let Some(first) = lines.next_if(|line| *line != END) {
            let mut all = vec![first];
            while all.last().unwrap().ends_with('\\') {
                all.push(lines.next().unwrap());
            }
            let mut documented = Vec::new();
            while let Some(line) = lines.next_if(|line| *line != END && prompt(line).is_none()) {
                documented.push(line);
            }
            let (node, _) = prompt(first).unwrap_or_else(|| panic!("no prompt: {first}"));
            let joined = all.join("\n");
            let (_, words) = prompt(&joined).unwrap();
            let words = words.to_owned();
            parts.push(Part::Command { lines: all, node, words, documented, is_quiet });
        }
    }
    parts
}

/// The node at whose machine a line is typed, and the line without its prompt.
pub(super) fn prompt(line: &str) -> Option<(usize, &str)> {
    if let Some(words) = line.strip_prefix("$ ") {
        return Some((1, words));
    }
    let (number, words) = line.strip_prefix("node-")?.split_once("$ ")?;
    Some((number.parse().ok()?, words))
}

fn direction(line: &str) -> Option<Direction<'_>> {
    let inside = line.strip_prefix("<!-- ")?.strip_suffix(" -->")?;
    let (name, value) = inside.split_once(": ")?;
    let node = || value.strip_prefix("node-")?.parse().ok();
    match name {
        "run" => Some(Direction::Run(value.to_owned())),
        "until" => Some(Direction::Until(value)),
        "place" => value.split_once(" = ").map(|(word, words)| Direction::Place(word, words)),
        "kill" => Some(Direction::Kill(node()?)),
        "lose" => Some(Direction::Lose(node()?)),
        _ => None,
    }
}

#[test]
fn a_document_is_read_in_pieces() {
    let document = "a\n<!-- run: b -->\n<!-- run\nc\n-->\n```console\n$ d \\\n  e\nf\nnode-2$ g\n```\n<!-- kill: node-3 -->";
    let shown: Vec<String> = parse(document)
        .iter()
        .map(|part| match part {
            Part::Text(line) => (*line).to_owned(),
            Part::Staged { what: Direction::Run(words), .. } => format!("run {words}"),
            Part::Staged { what: Direction::Kill(node), .. } => format!("kill {node}"),
            Part::Staged { .. } => "other".to_owned(),
            Part::Command { node, words, documented, .. } => {
                format!("{node}: {words} -> {documented:?}")
            }
        })
        .collect();
    let expected = [
        "a",
        "run b",
        "run c",
        "```console",
        "1: d \\\n  e -> [\"f\"]",
        "2: g -> []",
        "```",
        "kill 3",
    ];
    assert_eq!(shown, expected);
}
