//! Places: what a reader's addresses and paths stand for in a test.

/// Pairs of what a document shows and what it is here.
#[derive(Clone, Default)]
pub(super) struct Places(Vec<(String, String)>);

impl Places {
    /// Adds a pair.
    pub(super) fn add(&mut self, shown: &str, real: &str) {
        self.0.retain(|(other, _)| other != shown);
        self.0.push((shown.to_owned(), real.to_owned()));
    }

    /// Text of a document as it is meant here.
    pub(super) fn real(&self, text: &str) -> String {
        let pairs = self.0.iter().map(|(shown, real)| (shown.as_str(), real.as_str()));
        replaced(text, pairs, Columns::Ignored)
    }

    /// What is printed here, as a document shows it.
    pub(super) fn shown(&self, text: &str) -> String {
        let pairs = self.0.iter().map(|(shown, real)| (real.as_str(), shown.as_str()));
        replaced(text, pairs, Columns::Kept)
    }
}

/// Whether what follows two spaces stays where it was.
#[derive(PartialEq, Eq)]
enum Columns {
    Kept,
    Ignored,
}

/// Replaces whole words in one pass; the longest that fits wins.
fn replaced<'a>(
    text: &str,
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
    columns: Columns,
) -> String {
    let mut pairs: Vec<(&str, &str)> = pairs.collect();
    pairs.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
    let mut made = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let is_begin = !made.chars().next_back().is_some_and(char::is_alphanumeric);
        let found = pairs.iter().find(|(from, _)| {
            let after = rest.strip_prefix(from).map(|rest| rest.chars().next());
            is_begin && after.is_some_and(|next| !next.is_some_and(|c| c.is_ascii_digit()))
        });
        match found {
            Some((from, to)) => {
                made.push_str(to);
                rest = &rest[from.len()..];
                if columns == Columns::Kept && rest.starts_with("  ") {
                    made.push_str(&" ".repeat(from.len().saturating_sub(to.len())));
                }
            }
            None => {
                made.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    made
}

#[test]
fn addresses_and_paths_are_put_in_their_place_and_back() {
    let mut places = Places::default();
    places.add("10.0.0.1", "127.0.0.1");
    places.add("10.0.0.1:7444", "127.0.0.1:41234");
    places.add(":443", ":45678");
    places.add("/etc/conclave/", "/tmp/x/node-1/");
    for (shown, real) in [
        ("cluster join 10.0.0.1:7444", "cluster join 127.0.0.1:41234"),
        ("--bind :443", "--bind :45678"),
        ("shop.example:443", "shop.example:443"),
        ("10.0.0.11", "10.0.0.11"),
        ("cat /etc/conclave/a", "cat /tmp/x/node-1/a"),
    ] {
        assert_eq!(places.real(shown), real);
        assert_eq!(places.shown(real), shown);
    }
    assert_eq!(places.shown(":45678  a"), ":443    a");
}
