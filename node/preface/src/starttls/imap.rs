//! STARTTLS of IMAP (RFC 9051 §6.2.1, RFC 3501 §6.2.1).

use super::lines::{Command, Dialect, Greeted, Offer, end_of, first_word, is_one_of, whole_lines};

/// Line rules of IMAP.
#[derive(Default)]
pub(super) struct Imap {
    /// Tag of the last command.
    tag: String,
}

const OWN_CAPABILITIES: &str = "IMAP4rev1 STARTTLS LOGINDISABLED";

/// Parses a tag (RFC 9051 §9): no spaces, no special characters but `]`, no plus.
fn tag(word: &[u8]) -> Option<String> {
    let is_tag = |byte: &u8| byte.is_ascii_graphic() && !b"(){%*\"\\+".contains(byte);
    let text = std::str::from_utf8(word).ok()?;
    (!word.is_empty() && word.len() <= 64 && word.iter().all(is_tag)).then(|| text.to_owned())
}

/// Returns the capabilities in a line and the position of their end.
fn capabilities(line: &[u8]) -> Option<(&[u8], usize)> {
    let upper = line.to_ascii_uppercase();
    let (untagged, code) = (b"* CAPABILITY ", b" [CAPABILITY ");
    let start = match upper.starts_with(untagged) {
        true => untagged.len(),
        // A tag may have brackets too, so the code begins after a space.
        false => upper.windows(code.len()).position(|part| part == code)? + code.len(),
    };
    let rest = line.get(start..)?;
    let length = rest.iter().position(|byte| matches!(byte, b']' | b'\r' | b'\n'))?;
    Some((rest.get(..length)?, start + length))
}

fn has_starttls(list: &[u8]) -> bool {
    list.split(|byte| *byte == b' ').any(|word| is_one_of(word, &["STARTTLS"]))
}

impl Dialect for Imap {
    fn greeting(&self, host: &str, offer: Offer) -> String {
        match offer {
            Offer::StartTls => format!("* OK [CAPABILITY {OWN_CAPABILITIES}] {host} ready\r\n"),
            Offer::Nothing => format!("* OK {host} ready\r\n"),
        }
    }

    fn command(&mut self, line: &[u8]) -> Command {
        let (word, rest) = first_word(line);
        let (verb, rest) = first_word(rest);
        self.tag = tag(word).unwrap_or_default();
        match verb {
            _ if self.tag.is_empty() || verb.is_empty() => Command::Malformed,
            // RFC 7888 §4: the octets of such a literal follow without a continuation request.
            _ if line.ends_with(b"+}") => Command::Literal,
            verb if is_one_of(verb, &["STARTTLS"]) && rest.is_empty() => Command::StartTls,
            verb if is_one_of(verb, &["STARTTLS"]) => Command::Malformed,
            // The server asks for the octets of such a literal before it answers.
            _ if line.ends_with(b"}") => Command::Other,
            verb if is_one_of(verb, &["CAPABILITY"]) => Command::Capability,
            // RFC 2971 and RFC 5255 §3.2: mail programs identify themselves and choose a language
            // before they start TLS.
            verb if is_one_of(verb, &["NOOP", "ID", "LANGUAGE"]) => Command::Harmless,
            verb if is_one_of(verb, &["LOGOUT"]) => Command::Quit,
            _ => Command::Other,
        }
    }

    fn answer(&self, command: Command, line: &[u8], _host: &str) -> String {
        let tag = &self.tag;
        let verb = first_word(first_word(line).1).0;
        match command {
            Command::StartTls => format!("{tag} OK Begin TLS negotiation now\r\n"),
            Command::Capability => {
                format!("* CAPABILITY {OWN_CAPABILITIES}\r\n{tag} OK CAPABILITY completed\r\n")
            }
            // RFC 2971 §3.2: NIL tells nothing about the server.
            Command::Harmless if is_one_of(verb, &["ID"]) => {
                format!("* ID NIL\r\n{tag} OK ID completed\r\n")
            }
            Command::Harmless if is_one_of(verb, &["LANGUAGE"]) => {
                format!("{tag} NO Only i-default is available before TLS\r\n")
            }
            Command::Harmless => format!("{tag} OK completed\r\n"),
            Command::Quit => format!("* BYE Logging out\r\n{tag} OK LOGOUT completed\r\n"),
            Command::Malformed if tag.is_empty() => "* BAD Not a command\r\n".to_owned(),
            Command::Malformed => format!("{tag} BAD Wrong arguments\r\n"),
            // RFC 5530 §3. After this answer the client does not send a synchronising literal.
            Command::Other | Command::Literal => {
                format!("{tag} NO [PRIVACYREQUIRED] Must issue a STARTTLS command first\r\n")
            }
        }
    }

    fn farewell(&self, text: &str) -> String {
        format!("* BYE {text}\r\n")
    }

    fn greeting_end(&self, said: &[u8]) -> Option<usize> {
        end_of(said, |_| true)
    }

    /// Treats `* PREAUTH` as strange. The client would act under an identity of the server's
    /// choice, and TLS could no longer be started (CVE-2020-12398 and others).
    fn greeted(&self, greeting: &[u8]) -> Greeted {
        let (star, rest) = first_word(greeting);
        let kind = first_word(rest).0;
        match kind {
            kind if star == b"*" && is_one_of(kind, &["OK"]) => Greeted::Ready,
            kind if star == b"*" && is_one_of(kind, &["BYE"]) => Greeted::Refused,
            _ => Greeted::Strange,
        }
    }

    fn reply_end(&self, said: &[u8]) -> Option<usize> {
        end_of(said, |line| first_word(line).0 == self.tag.as_bytes())
    }

    fn with_starttls(&self, reply: &[u8], _host: &str) -> Vec<u8> {
        let added = whole_lines(reply).map(|line| match capabilities(line) {
            Some((list, end)) if !has_starttls(list) => {
                let (before, behind) = line.split_at(end);
                [before, b" STARTTLS", behind].concat()
            }
            _ => line.to_vec(),
        });
        added.flatten().collect()
    }

    fn ask(&mut self, _host: &str) -> Option<String> {
        self.tag = "c1".to_owned();
        Some("c1 CAPABILITY\r\n".to_owned())
    }

    fn offers_starttls(&self, reply: &[u8]) -> bool {
        whole_lines(reply).filter_map(capabilities).any(|(list, _)| has_starttls(list))
    }

    fn ask_starttls(&mut self) -> String {
        self.tag = "c2".to_owned();
        "c2 STARTTLS\r\n".to_owned()
    }

    fn agrees(&self, reply: &[u8]) -> bool {
        // Untagged lines before the tagged one do not matter (RFC 9051 §7).
        let tagged = whole_lines(reply).last().unwrap_or_default();
        let (tag, rest) = first_word(tagged);
        tag == self.tag.as_bytes() && is_one_of(first_word(rest).0, &["OK"])
    }
}
