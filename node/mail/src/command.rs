//! Commands of senders (RFC 2033 §4, RFC 5321 §4.1.1).

use crate::{limits::PARAMETERS_MAX, reply::Reply};

/// Command of a sender.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Lhlo(String),
    Mail(Envelope),
    Rcpt(Envelope),
    Data,
    Rset,
    Noop,
    Vrfy,
    Quit,
}

/// Argument of MAIL or RCPT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Envelope {
    /// Path between the angle brackets, as it came.
    pub(crate) path: String,
    pub(crate) parameters: Vec<Parameter>,
}

/// Parameter of MAIL or RCPT (RFC 5321 §4.1.2, esmtp-param).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parameter {
    /// Keyword in upper case.
    pub(crate) keyword: String,
    /// Value behind the `=`; empty: none.
    pub(crate) value: String,
}

impl Parameter {
    pub(crate) fn text(&self) -> String {
        match self.value.as_str() {
            "" => self.keyword.clone(),
            value => format!("{}={value}", self.keyword),
        }
    }
}

impl Envelope {
    pub(crate) fn parameter(&self, keyword: &str) -> Option<&str> {
        let mut parameters = self.parameters.iter();
        parameters.find(|one| one.keyword == keyword).map(|one| one.value.as_str())
    }
}

/// Parses a command line without its end. The error is the reply.
pub(crate) fn parse(line: &[u8]) -> Result<Command, Reply> {
    let syntax = || Reply::new(500, "5.5.2 Syntax error");
    let line = str::from_utf8(line).map_err(|_| syntax())?;
    if line.contains(char::is_control) {
        return Err(syntax());
    }
    let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
    let argument = argument.trim_matches(' ');
    let plain = |command: Command| match argument {
        "" => Ok(command),
        _ => Err(Reply::new(501, "5.5.4 No argument is possible here")),
    };
    match verb.to_ascii_uppercase().as_str() {
        "LHLO" => lhlo(argument),
        "MAIL" => envelope(argument, "FROM:").map(Command::Mail),
        "RCPT" => match envelope(argument, "TO:")? {
            Envelope { path, .. } if path.is_empty() => {
                Err(Reply::new(501, "5.1.3 A recipient has an address"))
            }
            to => Ok(Command::Rcpt(to)),
        },
        "DATA" => plain(Command::Data),
        "RSET" => plain(Command::Rset),
        "NOOP" => Ok(Command::Noop),
        "VRFY" => Ok(Command::Vrfy),
        "QUIT" => plain(Command::Quit),
        // RFC 2033 §4.1: not even to be mistaken for an SMTP server.
        "HELO" | "EHLO" => Err(Reply::new(500, "5.5.1 This is LMTP: LHLO")),
        _ => Err(Reply::new(500, "5.5.1 Unknown command")),
    }
}

fn lhlo(name: &str) -> Result<Command, Reply> {
    let is_possible = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    match !name.is_empty() && name.len() <= 255 && name.bytes().all(is_possible) {
        true => Ok(Command::Lhlo(name.to_owned())),
        false => Err(Reply::new(501, "5.5.4 LHLO needs a domain or an address in brackets")),
    }
}

fn envelope(argument: &str, word: &str) -> Result<Envelope, Reply> {
    let syntax = || Reply::new(501, format!("5.5.4 Expected {word}<ADDRESS> and parameters"));
    let (first, rest) = argument.split_at_checked(word.len()).ok_or_else(syntax)?;
    let rest = rest.trim_start_matches(' ').strip_prefix('<').ok_or_else(syntax)?;
    let end = path_end(rest).filter(|_| first.eq_ignore_ascii_case(word)).ok_or_else(syntax)?;
    let (path, rest) = (rest.get(..end).unwrap_or_default(), rest.get(end + 1..));
    let rest = rest.unwrap_or_default();
    if !rest.is_empty() && !rest.starts_with(' ') {
        return Err(syntax());
    }
    let mut parameters = Vec::new();
    for text in rest.split(' ').filter(|text| !text.is_empty()) {
        let (keyword, value) = text.split_once('=').unwrap_or((text, ""));
        let is_keyword = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let keyword = keyword.to_ascii_uppercase();
        let is_twice = parameters.iter().any(|one: &Parameter| one.keyword == keyword);
        let is_value = !value.is_empty() || !text.contains('=');
        if keyword.is_empty() || !keyword.bytes().all(is_keyword) || is_twice || !is_value {
            return Err(syntax());
        }
        parameters.push(Parameter { keyword, value: value.to_owned() });
    }
    match parameters.len() <= PARAMETERS_MAX {
        true => Ok(Envelope { path: path.to_owned(), parameters }),
        false => Err(syntax()),
    }
}

/// Returns where the `>` is that ends a path; one in quotes does not.
fn path_end(text: &str) -> Option<usize> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b'>' if !is_quoted => return Some(at),
            b'<' | b' ' if !is_quoted => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope_of(line: &str) -> Result<(String, Vec<String>), u16> {
        match parse(line.as_bytes()) {
            Ok(Command::Mail(one) | Command::Rcpt(one)) => {
                Ok((one.path, one.parameters.iter().map(Parameter::text).collect()))
            }
            Ok(other) => panic!("{other:?}"),
            Err(reply) => Err(reply.code()),
        }
    }

    #[test]
    fn envelopes_are_read_as_they_came() {
        let check = |line: &str, path: &str, parameters: &[&str]| {
            let parameters = parameters.iter().map(|one| (*one).to_owned()).collect();
            assert_eq!(envelope_of(line), Ok((path.to_owned(), parameters)), "{line}");
        };
        check("MAIL FROM:<>", "", &[]);
        check(
            "mail from:<a@b.example> size=5 BODY=8BITMIME",
            "a@b.example",
            &["SIZE=5", "BODY=8BITMIME"],
        );
        check("RCPT TO: <a@b.example>", "a@b.example", &[]);
        check(
            "RCPT TO:<\"a> b\\\"\"@b.example> NOTIFY=NEVER",
            "\"a> b\\\"\"@b.example",
            &["NOTIFY=NEVER"],
        );
        check("RCPT TO:<é@b.example>", "é@b.example", &[]);
    }

    #[test]
    fn what_is_no_command_is_refused() {
        let check = |line: &[u8], code: u16| {
            assert_eq!(parse(line).map_err(|reply| reply.code()), Err(code), "{line:?}");
        };
        check(b"EHLO x", 500);
        check(b"BDAT 5 LAST", 500);
        check(b"STARTTLS", 500);
        check(b"NOOP\rRSET", 500);
        check(b"NOOP\nRSET", 500);
        check(b"NOOP\0", 500);
        check(b"NOOP \xff", 500);
        check(b"LHLO", 501);
        check(b"LHLO a b", 501);
        check(b"DATA now", 501);
        check(b"RCPT TO:<>", 501);
        for line in [
            "MAIL FROM:a@b.example",
            "MAIL FROM:<a@b.example",
            "MAIL FROM:<a@b.example>SIZE=5",
            "MAIL FROM:<a@b.example> SIZE=",
            "MAIL FROM:<a@b.example> SIZE=1 SIZE=2",
            "MAIL FROM:<a@b.example> =5",
            "MAIL TO:<a@b.example>",
            "RCPT TO:<a@b.example> X\u{e9}=1",
            "MAIL",
        ] {
            check(line.as_bytes(), 501);
        }
        let many: String = (0..17).map(|n| format!(" X{n}")).collect();
        check(format!("MAIL FROM:<>{many}").as_bytes(), 501);
    }
}
