//! STARTTLS of SMTP (RFC 3207).

use super::lines::{Command, Dialect, Greeted, Offer, end_of, first_word, is_one_of, whole_lines};

/// Line rules of SMTP.
pub(super) struct Smtp;

/// Returns whether a line is the last of a reply: it has no hyphen after its code (RFC 5321
/// §4.2.1).
pub(super) fn is_last(line: &[u8]) -> bool {
    line.get(3) != Some(&b'-')
}

/// Returns whether a reply has this code.
pub(super) fn has_code(reply: &[u8], code: &[u8]) -> bool {
    reply.starts_with(code) && reply.get(3).is_none_or(|byte| !byte.is_ascii_alphanumeric())
}

impl Dialect for Smtp {
    fn greeting(&self, host: &str, _offer: Offer) -> String {
        format!("220 {host} ESMTP\r\n")
    }

    fn command(&mut self, line: &[u8]) -> Command {
        let (verb, rest) = first_word(line);
        if is_one_of(verb, &["STARTTLS"]) {
            // RFC 3207 §4: no parameters.
            return if rest.is_empty() { Command::StartTls } else { Command::Malformed };
        }
        if is_one_of(verb, &["EHLO"]) {
            return if rest.is_empty() { Command::Malformed } else { Command::Capability };
        }
        match verb {
            b"" => Command::Malformed,
            verb if is_one_of(verb, &["HELO", "NOOP", "RSET", "HELP", "VRFY", "EXPN"]) => {
                Command::Harmless
            }
            verb if is_one_of(verb, &["QUIT"]) => Command::Quit,
            _ => Command::Other,
        }
    }

    fn answer(&self, command: Command, line: &[u8], host: &str) -> String {
        let verb = first_word(line).0;
        match command {
            Command::StartTls => "220 2.0.0 Ready to start TLS\r\n".to_owned(),
            // Offer no AUTH: it would invite a password in plaintext. The upstream lists the rest
            // under TLS.
            Command::Capability => {
                format!("250-{host}\r\n250-ENHANCEDSTATUSCODES\r\n250 STARTTLS\r\n")
            }
            Command::Harmless if is_one_of(verb, &["HELO"]) => format!("250 {host}\r\n"),
            Command::Harmless if is_one_of(verb, &["HELP"]) => {
                "214 2.0.0 Issue a STARTTLS command first\r\n".to_owned()
            }
            // These look into the mailboxes of the server.
            Command::Harmless if is_one_of(verb, &["VRFY", "EXPN"]) => {
                "530 5.7.0 Must issue a STARTTLS command first\r\n".to_owned()
            }
            Command::Harmless => "250 2.0.0 OK\r\n".to_owned(),
            Command::Quit => "221 2.0.0 Bye\r\n".to_owned(),
            Command::Malformed => "501 5.5.4 Syntax error\r\n".to_owned(),
            Command::Other | Command::Literal => {
                "530 5.7.0 Must issue a STARTTLS command first\r\n".to_owned()
            }
        }
    }

    fn farewell(&self, text: &str) -> String {
        format!("421 4.7.0 {text}\r\n")
    }

    fn greeting_end(&self, said: &[u8]) -> Option<usize> {
        end_of(said, is_last)
    }

    fn greeted(&self, greeting: &[u8]) -> Greeted {
        match greeting.first() {
            _ if has_code(greeting, b"220") => Greeted::Ready,
            Some(b'4' | b'5') => Greeted::Refused,
            _ => Greeted::Strange,
        }
    }

    fn reply_end(&self, said: &[u8]) -> Option<usize> {
        end_of(said, is_last)
    }

    fn with_starttls(&self, reply: &[u8], _host: &str) -> Vec<u8> {
        if !has_code(reply, b"250") || self.offers_starttls(reply) {
            return reply.to_vec();
        }
        // Insert after the first line, which names the server.
        let mut lines = whole_lines(reply);
        let first = lines.next().unwrap_or_default();
        let first = first.get(4..).unwrap_or_default();
        let rest: Vec<u8> = lines.flatten().copied().collect();
        let own: &[u8] = if rest.is_empty() { b"250 STARTTLS\r\n" } else { b"250-STARTTLS\r\n" };
        [b"250-", first, own, &rest].concat()
    }

    fn ask(&mut self, host: &str) -> Option<String> {
        Some(format!("EHLO {host}\r\n"))
    }

    fn offers_starttls(&self, reply: &[u8]) -> bool {
        let offers =
            |line: &[u8]| is_one_of(line.get(4..).unwrap_or_default().trim_ascii(), &["STARTTLS"]);
        has_code(reply, b"250") && whole_lines(reply).skip(1).any(offers)
    }

    fn ask_starttls(&mut self) -> String {
        "STARTTLS\r\n".to_owned()
    }

    fn agrees(&self, reply: &[u8]) -> bool {
        has_code(reply, b"220")
    }
}
