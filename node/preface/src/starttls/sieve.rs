//! STARTTLS of ManageSieve (RFC 5804 §2.2).

use super::lines::{Command, Dialect, Greeted, Offer, end_of, first_word, is_one_of, whole_lines};

/// Line rules of ManageSieve.
pub(super) struct Sieve;

fn own_capabilities(host: &str, offer: Offer) -> String {
    let starttls = if offer == Offer::StartTls { "\"STARTTLS\"\r\n" } else { "" };
    // List no SASL mechanisms, so that no client sends a password in plaintext.
    format!(
        "\"IMPLEMENTATION\" \"Conclave\"\r\n\"SASL\" \"\"\r\n\"SIEVE\" \"\"\r\n{starttls}\
         \"VERSION\" \"1.0\"\r\nOK \"{host}\"\r\n"
    )
}

fn is_last(line: &[u8]) -> bool {
    let word = line.split(|byte| matches!(byte, b' ' | b'\r' | b'\n')).next().unwrap_or_default();
    is_one_of(word, &["OK", "NO", "BYE"])
}

/// Returns the length of the literal announced by a server's line (RFC 5804 §4, literal-s2c).
fn literal(line: &[u8]) -> Option<usize> {
    let line = line.trim_ascii_end().strip_suffix(b"}")?;
    let start = line.iter().rposition(|byte| *byte == b'{')? + 1;
    std::str::from_utf8(line.get(start..)?).ok()?.parse().ok()
}

/// Returns the length of a reply, and skips over its literals.
fn reply_end(said: &[u8]) -> Option<usize> {
    let (mut start, mut is_final) = (0_usize, false);
    loop {
        let rest = said.get(start..)?;
        let length = end_of(rest, |_| true)?;
        let line = rest.get(..length)?;
        is_final |= is_last(line);
        start = start.checked_add(length)?;
        match literal(line) {
            // Parse the rest of the line after the literal like a line of its own.
            Some(octets) => start = start.checked_add(octets)?,
            None if is_final => return Some(start),
            None => {}
        }
    }
}

impl Dialect for Sieve {
    fn greeting(&self, host: &str, offer: Offer) -> String {
        match offer {
            Offer::StartTls => own_capabilities(host, offer),
            // The server's own capabilities follow at once.
            Offer::Nothing => String::new(),
        }
    }

    fn command(&mut self, line: &[u8]) -> Command {
        let (verb, rest) = first_word(line);
        match verb {
            b"" => Command::Malformed,
            _ if line.ends_with(b"+}") => Command::Literal,
            verb if is_one_of(verb, &["STARTTLS"]) && rest.is_empty() => Command::StartTls,
            verb if is_one_of(verb, &["STARTTLS"]) => Command::Malformed,
            verb if is_one_of(verb, &["CAPABILITY"]) => Command::Capability,
            verb if is_one_of(verb, &["NOOP"]) => Command::Harmless,
            verb if is_one_of(verb, &["LOGOUT"]) => Command::Quit,
            _ => Command::Other,
        }
    }

    fn answer(&self, command: Command, line: &[u8], host: &str) -> String {
        match command {
            Command::StartTls => "OK \"Begin TLS negotiation now\"\r\n".to_owned(),
            Command::Capability => own_capabilities(host, Offer::StartTls),
            Command::Harmless => noop(first_word(line).1),
            Command::Quit => "OK \"Bye\"\r\n".to_owned(),
            Command::Malformed => "NO \"Wrong arguments\"\r\n".to_owned(),
            // RFC 5804 §1.3.
            Command::Other | Command::Literal => {
                "NO (ENCRYPT-NEEDED) \"Must issue a STARTTLS command first\"\r\n".to_owned()
            }
        }
    }

    fn farewell(&self, text: &str) -> String {
        format!("BYE \"{text}\"\r\n")
    }

    fn greeting_end(&self, said: &[u8]) -> Option<usize> {
        reply_end(said)
    }

    fn greeted(&self, greeting: &[u8]) -> Greeted {
        match whole_lines(greeting).find(|line| is_last(line)) {
            Some(last) if is_one_of(last.get(..2).unwrap_or_default(), &["OK"]) => Greeted::Ready,
            Some(_) => Greeted::Refused,
            None => Greeted::Strange,
        }
    }

    fn reply_end(&self, said: &[u8]) -> Option<usize> {
        reply_end(said)
    }

    fn with_starttls(&self, reply: &[u8], _host: &str) -> Vec<u8> {
        if self.offers_starttls(reply) || self.greeted(reply) != Greeted::Ready {
            return reply.to_vec();
        }
        // Insert at the beginning, because the last line may contain literals.
        [b"\"STARTTLS\"\r\n", reply].concat()
    }

    fn greets_again(&self) -> bool {
        true
    }

    fn ask(&mut self, _host: &str) -> Option<String> {
        None
    }

    fn offers_starttls(&self, reply: &[u8]) -> bool {
        whole_lines(reply).any(|line| is_one_of(line.trim_ascii(), &["\"STARTTLS\""]))
    }

    fn ask_starttls(&mut self) -> String {
        "STARTTLS\r\n".to_owned()
    }

    fn agrees(&self, reply: &[u8]) -> bool {
        self.greeted(reply) == Greeted::Ready
    }
}

/// Answers NOOP. RFC 5804 §2.13: the reply echoes the argument.
fn noop(argument: &[u8]) -> String {
    let is_plain = |text: &&str| {
        let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        inner.is_some_and(|inner| inner.chars().all(|c| c.is_ascii_alphanumeric() || c == ' '))
    };
    match std::str::from_utf8(argument).ok().filter(is_plain) {
        Some(tag) => format!("OK (TAG {tag}) \"Done\"\r\n"),
        None => "OK \"Done\"\r\n".to_owned(),
    }
}
