//! STLS of POP3 (RFC 2595 §4).

use super::lines::{Command, Dialect, Greeted, Offer, end_of, first_word, is_one_of, whole_lines};

/// Line rules of POP3.
#[derive(Default)]
pub(super) struct Pop3 {
    /// Reply to the last command.
    reply: Reply,
}

/// Form of a reply.
#[derive(Default, PartialEq, Eq)]
enum Reply {
    /// One line.
    #[default]
    Line,
    /// The list of capabilities.
    Capabilities,
    /// A list from some servers, one line from others.
    Perhaps,
}

const OWN_CAPABILITIES: &str = "+OK\r\nSTLS\r\n.\r\n";

impl Dialect for Pop3 {
    /// Greets without a timestamp. The mailbox's server makes its own, so an APOP digest of ours
    /// would be useless (RFC 1939 §7).
    fn greeting(&self, host: &str, _offer: Offer) -> String {
        format!("+OK {host} POP3\r\n")
    }

    fn command(&mut self, line: &[u8]) -> Command {
        let (verb, rest) = first_word(line);
        let command = match verb {
            b"" => Command::Malformed,
            verb if is_one_of(verb, &["STLS"]) && rest.is_empty() => Command::StartTls,
            verb if is_one_of(verb, &["STLS"]) => Command::Malformed,
            verb if is_one_of(verb, &["CAPA"]) => Command::Capability,
            // RFC 1734 and RFC 5034 §4, RFC 6856 §3.2: without an argument these list mechanisms or
            // languages. Outlook asks for the mechanisms before it starts TLS.
            verb if is_one_of(verb, &["AUTH", "LANG"]) && rest.is_empty() => Command::Harmless,
            verb if is_one_of(verb, &["NOOP"]) => Command::Harmless,
            verb if is_one_of(verb, &["QUIT"]) => Command::Quit,
            _ => Command::Other,
        };
        self.reply = match command {
            Command::Capability => Reply::Capabilities,
            _ if is_one_of(verb, &["AUTH", "LANG"]) => Reply::Perhaps,
            _ => Reply::Line,
        };
        command
    }

    fn answer(&self, command: Command, line: &[u8], _host: &str) -> String {
        match command {
            Command::Harmless if is_one_of(first_word(line).0, &["NOOP"]) => "+OK\r\n",
            Command::StartTls => "+OK Begin TLS\r\n",
            Command::Capability => OWN_CAPABILITIES,
            Command::Quit => "+OK Bye\r\n",
            Command::Malformed => "-ERR Syntax error\r\n",
            Command::Harmless | Command::Other | Command::Literal => {
                "-ERR Must issue a STLS command first\r\n"
            }
        }
        .to_owned()
    }

    fn farewell(&self, text: &str) -> String {
        format!("-ERR {text}\r\n")
    }

    fn greeting_end(&self, said: &[u8]) -> Option<usize> {
        end_of(said, |_| true)
    }

    fn greeted(&self, greeting: &[u8]) -> Greeted {
        match greeting {
            greeting if greeting.starts_with(b"+OK") => Greeted::Ready,
            greeting if greeting.starts_with(b"-ERR") => Greeted::Refused,
            _ => Greeted::Strange,
        }
    }

    fn reply_end(&self, said: &[u8]) -> Option<usize> {
        let is_long = self.reply != Reply::Line && said.starts_with(b"+");
        end_of(said, |line| !is_long || line.trim_ascii_end() == b".")
    }

    fn may_list(&self, said: &[u8]) -> bool {
        self.reply == Reply::Perhaps && said.starts_with(b"+OK") && said.contains(&b'\n')
    }

    fn with_starttls(&self, reply: &[u8], _host: &str) -> Vec<u8> {
        if self.reply != Reply::Capabilities || self.offers_starttls(reply) {
            return reply.to_vec();
        }
        let mut lines: Vec<&[u8]> = whole_lines(reply).collect();
        match lines.pop() {
            Some(dot) if reply.starts_with(b"+OK") => {
                [&lines.concat()[..], b"STLS\r\n", dot].concat()
            }
            // The server does not know CAPA.
            _ => OWN_CAPABILITIES.as_bytes().to_vec(),
        }
    }

    fn ask(&mut self, _host: &str) -> Option<String> {
        self.reply = Reply::Capabilities;
        Some("CAPA\r\n".to_owned())
    }

    fn offers_starttls(&self, reply: &[u8]) -> bool {
        let offers = |line: &[u8]| is_one_of(line.trim_ascii(), &["STLS"]);
        reply.starts_with(b"+OK") && whole_lines(reply).skip(1).any(offers)
    }

    fn ask_starttls(&mut self) -> String {
        self.reply = Reply::Line;
        "STLS\r\n".to_owned()
    }

    fn agrees(&self, reply: &[u8]) -> bool {
        reply.starts_with(b"+OK")
    }
}
