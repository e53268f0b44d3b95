//! What a message says about a document that cannot be read.
//!
//! A private key may be in it by mistake. A parser's messages quote values, and messages end up in
//! logs, so what may be secret is not shown.

use std::{ops::Range, path::Path};

use conclave_api::problem::{Code, Location, Problem};
use conclave_client::Failure;

/// Longest line or message that is shown.
const SHOWN_BYTES_MAX: usize = 400;
/// Longest text of the base64 alphabet that is shown, if it is not hexadecimal.
const BASE64_BYTES_MAX: usize = 40;
/// Longest name of a field that is shown.
const FIELD_BYTES_MAX: usize = 32;

/// Where a parser stopped, and why.
#[derive(Default)]
pub(super) struct Mistake {
    pub(super) line: Option<usize>,
    /// Place in the text.
    pub(super) span: Option<Range<usize>>,
    /// Words of the parser.
    pub(super) why: String,
}

impl Mistake {
    pub(super) fn failure(self, path: &Path, text: &str) -> Failure {
        let Mistake { line, span, why } = self;
        let shown = line.and_then(|line| text.lines().nth(line.saturating_sub(1)));
        let is_secret =
            text.contains("BEGIN ") || may_be_secret(&why) || shown.is_some_and(may_be_secret);
        let title = format!("{} is not a document that can be applied", path.display());
        let problem = Problem::new(Code::Malformed, title);
        let problem = match is_secret {
            false => problem.detail(why),
            true => problem
                .detail(match span.and_then(|span| field(text, span)) {
                    Some(field) => format!("the field {field} is unknown or has a wrong value"),
                    None => "a field is unknown, or a value is wrong".to_owned(),
                })
                .why("the text is not shown, because it may hold a private key"),
        };
        let problem = problem.hint("conclave export    shows one, and docs/operate.md each field");
        Box::new(match line {
            Some(line) => problem.at(Location {
                file: path.display().to_string(),
                line: u64::try_from(line).unwrap_or(u64::MAX),
                text: shown.filter(|_| !is_secret).map(ToOwned::to_owned),
            }),
            None => problem,
        })
    }
}

/// Returns whether a text may hold a key or a passphrase, or is too long to tell.
fn may_be_secret(text: &str) -> bool {
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    let is_key =
        |run: &str| run.len() > BASE64_BYTES_MAX && !run.chars().all(|c| c.is_ascii_hexdigit());
    let lower = text.to_lowercase();
    text.len() > SHOWN_BYTES_MAX
        || ["passphrase", "password", "secret", "private"].iter().any(|word| lower.contains(word))
        || text.split(|c| !is_base64(c)).any(is_key)
}

/// Returns the name of the field at a place of TOML text, if it looks like one: that of the key
/// itself, or that of the key before a value.
fn field(text: &str, span: Range<usize>) -> Option<&str> {
    let is_field = |c: char| c.is_ascii_lowercase() || c == '_';
    let (inside, behind) = (text.get(span.clone())?, text.get(span.end..)?);
    let name = match behind.trim_start().starts_with('=') {
        true => inside,
        false => {
            let before = text.get(..span.start)?.trim_end().strip_suffix('=')?.trim_end();
            before.rsplit(|c| !is_field(c)).next()?
        }
    };
    let is_name = !name.is_empty() && name.len() <= FIELD_BYTES_MAX && name.chars().all(is_field);
    is_name.then_some(name)
}
