//! As much of the shell as documents use.

/// Whether a block of this language is run by the suite `transcripts`.
pub(super) fn is_run(language: &str) -> bool {
    ["console", "console quiet"].contains(&language.trim())
}

/// A line without its prompt, as `$ ` or `node-2$ `; none if it has no prompt.
pub(super) fn typed(line: &str) -> Option<&str> {
    let (prompt, words) = line.split_once("$ ")?;
    let is_prompt = prompt.is_empty()
        || prompt.strip_prefix("node-").is_some_and(|number| number.parse::<u32>().is_ok());
    is_prompt.then_some(words)
}

/// Stands for what another command prints.
const PRINTED: &str = "x";

/// The commands of Conclave in a line, as words.
pub(super) fn commands_of(line: &str) -> Vec<Vec<String>> {
    let (outer, inner) = without_substitutions(line);
    let mut found: Vec<Vec<String>> = inner.iter().flat_map(|inner| commands_of(inner)).collect();
    found.extend(simple(&outer).into_iter().filter_map(of_conclave));
    found
}

/// The line with [`PRINTED`] for each `$(…)`, and what stood there.
fn without_substitutions(line: &str) -> (String, Vec<String>) {
    let Some((before, rest)) = line.split_once("$(") else { return (line.to_owned(), Vec::new()) };
    let mut depth = 1;
    let end = rest.char_indices().find(|(_, letter)| {
        depth += match letter {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        depth == 0
    });
    let Some((end, _)) = end else { return (line.to_owned(), Vec::new()) };
    let (after, mut inner) = without_substitutions(&rest[end + 1..]);
    inner.insert(0, rest[..end].to_owned());
    (format!("{before}{PRINTED}{after}"), inner)
}

/// The words from `conclave` on, if that is what the command runs.
fn of_conclave(words: Vec<String>) -> Option<Vec<String>> {
    let mut before = "";
    for (at, word) in words.iter().enumerate() {
        let is_value = ["-u", "ssh", "-n"].contains(&before);
        let is_program = word == "conclave" || word.ends_with("bin/conclave");
        if is_program && !is_value {
            let mut found = vec!["conclave".to_owned()];
            found.extend_from_slice(&words[at + 1..]);
            // What xargs reads comes last.
            found.extend(words[..at].contains(&"xargs".to_owned()).then(|| PRINTED.to_owned()));
            return Some(found);
        }
        let is_prefix = ["sudo", "ssh", "xargs", "exec", "do"].contains(&word.as_str())
            || word.starts_with('-')
            || word.contains('=');
        if !is_prefix && !is_value {
            return None;
        }
        before = word;
    }
    None
}

/// The simple commands of a line, in words without quotes, redirections and comments.
fn simple(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut is_target = false;
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(letter),
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, ' ' | '|' | ';' | '&' | '>' | '<' | '(' | ')') => {
                let ended = word.take();
                if let (Some(ended), false) = (&ended, is_target) {
                    commands.last_mut().expect("never empty").push(ended.clone());
                }
                is_target = letter == '>' || letter == '<' || is_target && ended.is_none();
                if "|;&()".contains(letter) {
                    commands.push(Vec::new());
                    is_target = false;
                }
            }
            (None, '#') if word.is_none() => break,
            (None, _) => word.get_or_insert_default().push(letter),
        }
    }
    if let (Some(word), false) = (word, is_target) {
        commands.last_mut().expect("never empty").push(word);
    }
    commands
}

#[test]
fn lines_are_split_as_a_shell_does() {
    for (line, expected) in [
        ("conclave a 'b c' \"d\" > e", vec!["conclave a b c d"]),
        ("conclave a -o b | conclave c -", vec!["conclave a -o b", "conclave c -"]),
        ("sudo -u conclave conclave a", vec!["conclave a"]),
        ("ssh node-1 conclave -q a | conclave b", vec!["conclave -q a", "conclave b"]),
        ("conclave a < b; conclave c  # d", vec!["conclave a", "conclave c"]),
        ("list | xargs -n1 conclave a", vec!["conclave a x"]),
        ("conclave a $(conclave b | cut -c1) c", vec!["conclave b", "conclave a x c"]),
        ("A=b /usr/bin/conclave a \"\"", vec!["conclave a "]),
        ("ExecStart=/usr/bin/conclave a", vec!["conclave a"]),
        ("sudo systemctl restart conclave", vec![]),
        ("journalctl -u conclave -p warning", vec![]),
    ] {
        let found: Vec<String> = commands_of(line).iter().map(|words| words.join(" ")).collect();
        assert_eq!(found, expected, "{line}");
    }
}
