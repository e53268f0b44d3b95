//! Lines: whether one is as a document has it, and what of it lasts.

/// Whether a line is as the document has it, where `…` stands for anything. Columns may be wider.
pub(super) fn fits(documented: &str, printed: &str) -> bool {
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
pub(super) fn lasting(line: &str) -> String {
    let mut words = Vec::new();
    let all: Vec<&str> = line.split(' ').collect();
    for (at, word) in all.iter().enumerate() {
        let next = all.get(at + 1).copied();
        let before = at.checked_sub(1).and_then(|before| all.get(before)).copied();
        let core = word.trim_matches(|letter: char| "(),:;\"".contains(letter));
        if !differs(core) && !counts(core, before, &all[at + 1..], line) {
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

/// Whether a number is one of today: a measurement, a place in the log, a cell in a row of a node.
fn counts(word: &str, before: Option<&str>, rest: &[&str], line: &str) -> bool {
    if word == env!("CARGO_PKG_VERSION") {
        return true;
    }
    if word.parse::<f64>().is_err() {
        return false;
    }
    let next = rest.iter().find(|word| !word.is_empty()).copied().unwrap_or_default();
    let units = ["ms", "days", "GiB", "bytes", "rows", "built-in"];
    let names = ["term", "process", "limit", "index", "to"];
    let name = before.unwrap_or_default().trim_matches(|letter: char| !letter.is_alphanumeric());
    let is_node = line.starts_with("node-")
        && ["ready", "reach", "sealed"].iter().any(|state| line.contains(state));
    let is_entry = [" done", " denied", " failed"].iter().any(|result| line.contains(result));
    units.iter().any(|unit| next.starts_with(unit))
        || names.contains(&name)
        || is_node
        || is_entry && line.starts_with(word) && differs(next)
}

fn shown(word: &str) -> String {
    let kept =
        ["cvt_", "cvj_", "https://", "quic://"].into_iter().find(|kept| word.starts_with(kept));
    format!("{}…", kept.unwrap_or_default())
}

/// Times, hashes, secrets, addresses of this machine.
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
    let is_secret = word.len() >= 26
        && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    has_digit && (is_date && word.starts_with("20") || is_pairs || is_time || is_fraction)
        || is_hash
        || is_secret && has_digit
        || ["cvt_", "cvj_", "https://127", "/tmp/", "age1", "otpauth://"]
            .iter()
            .any(|begin| word.starts_with(begin))
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
    assert_eq!(lasting("node-1  leader  ready  0    25"), "node-1  leader  ready  …    …");
    assert_eq!(lasting("89 days left (term 7)"), "… days left (term …)");
}
