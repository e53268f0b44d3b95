//! AUTH TLS on the control connection of FTP (RFC 4217).
//!
//! Data connections do not pass through this node, so it cannot protect them. Until the first data
//! connection is requested, the node accepts `PROT C` and refuses `PROT P`.

use super::{
    lines::{Command, Dialect, Greeted, Inside, Offer, end_of, first_word, is_one_of, whole_lines},
    smtp::has_code,
};

/// Line rules of FTP.
pub(super) struct Ftp;

/// Returns the length of a reply. It ends with a line of its code and a space (RFC 959 §4.2).
/// Preliminary replies (1yz) do not count as the end.
fn reply_end(said: &[u8]) -> Option<usize> {
    let mut start = 0;
    loop {
        let rest = said.get(start..)?;
        // Wait for a complete first line: a code never continues on the next one.
        let first = whole_lines(rest).next()?;
        let is_single = first.get(3) != Some(&b'-');
        let is_last = |line: &[u8]| {
            is_single || (line.get(..3) == first.get(..3) && line.get(3) == Some(&b' '))
        };
        start += end_of(rest, is_last)?;
        if !first.starts_with(b"1") {
            return Some(start);
        }
    }
}

impl Dialect for Ftp {
    fn greeting(&self, host: &str, _offer: Offer) -> String {
        format!("220 {host} FTP\r\n")
    }

    fn command(&mut self, line: &[u8]) -> Command {
        let (verb, rest) = first_word(line);
        match verb {
            b"" => Command::Malformed,
            verb if is_one_of(verb, &["AUTH"]) => match rest {
                // RFC 4217 §4: "TLS" and its synonym. "SSL" would mean protected data connections.
                rest if is_one_of(rest, &["TLS", "TLS-C"]) => Command::StartTls,
                _ => Command::Malformed,
            },
            // RFC 4217 §9 and §10: these are not allowed before AUTH.
            verb if is_one_of(verb, &["PBSZ", "PROT"]) => Command::Malformed,
            verb if is_one_of(verb, &["FEAT"]) => Command::Capability,
            verb if is_one_of(verb, &["NOOP", "SYST", "CLNT", "HELP"]) => Command::Harmless,
            verb if is_one_of(verb, &["QUIT"]) => Command::Quit,
            _ => Command::Other,
        }
    }

    fn answer(&self, command: Command, line: &[u8], _host: &str) -> String {
        let verb = first_word(line).0;
        let answer = match command {
            Command::StartTls => "234 AUTH TLS OK",
            Command::Capability => "211-Features:\r\n AUTH TLS\r\n PBSZ\r\n PROT\r\n211 End",
            Command::Harmless if is_one_of(verb, &["SYST"]) => "215 UNIX Type: L8",
            Command::Harmless if is_one_of(verb, &["HELP"]) => "214 Issue AUTH TLS first",
            Command::Harmless => "200 OK",
            Command::Quit => "221 Goodbye",
            Command::Malformed if is_one_of(verb, &["AUTH"]) => "504 Use AUTH TLS",
            Command::Malformed if verb.is_empty() => "501 Syntax error",
            Command::Malformed => "503 Issue AUTH TLS first",
            Command::Other | Command::Literal => "530 Issue AUTH TLS first",
        };
        format!("{answer}\r\n")
    }

    fn farewell(&self, text: &str) -> String {
        format!("421 {text}\r\n")
    }

    fn greeting_end(&self, said: &[u8]) -> Option<usize> {
        reply_end(said)
    }

    fn greeted(&self, greeting: &[u8]) -> Greeted {
        // A "120" reply may precede the greeting.
        let is_ready = |line: &[u8]| has_code(line, b"220");
        match greeting.first() {
            _ if whole_lines(greeting).last().is_some_and(is_ready) => Greeted::Ready,
            Some(b'4' | b'5') => Greeted::Refused,
            _ => Greeted::Strange,
        }
    }

    fn reply_end(&self, said: &[u8]) -> Option<usize> {
        reply_end(said)
    }

    fn with_starttls(&self, reply: &[u8], _host: &str) -> Vec<u8> {
        if !has_code(reply, b"211") {
            return reply.to_vec();
        }
        let named =
            |name: &str| whole_lines(reply).any(|line| is_one_of(line.trim_ascii(), &[name]));
        let names = ["AUTH TLS", "PBSZ", "PROT"].iter().filter(|name| !named(name));
        let names: String = names.map(|name| format!(" {name}\r\n")).collect();
        let lines: Vec<&[u8]> = whole_lines(reply).collect();
        match lines.split_last() {
            Some((last, rest)) if !rest.is_empty() => {
                [&rest.concat(), names.as_bytes(), last].concat()
            }
            _ => format!("211-Features:\r\n{names}211 End\r\n").into_bytes(),
        }
    }

    fn inside(&self, line: &[u8]) -> Inside {
        let (verb, rest) = first_word(line);
        let answer: &[u8] = match verb {
            verb if is_one_of(verb, &["PBSZ"]) => b"200 PBSZ=0\r\n",
            verb if is_one_of(verb, &["PROT"]) && is_one_of(rest, &["C"]) => b"200 PROT C\r\n",
            // RFC 2228 §3: the mechanism does not support this protection level.
            verb if is_one_of(verb, &["PROT"]) => {
                b"536 Data connections are not protected here\r\n"
            }
            verb if is_one_of(verb, &["AUTH"]) => b"503 TLS stands already\r\n",
            verb if is_one_of(verb, &["CCC"]) => b"534 The control connection stays protected\r\n",
            // The protection of data connections is settled before the first of these commands. All
            // other commands, such as PASS, have exactly one reply.
            verb if is_one_of(
                verb,
                &[
                    "PASV", "EPSV", "LPSV", "PORT", "EPRT", "LPRT", "RETR", "STOR", "STOU", "APPE",
                    "LIST", "NLST", "MLSD", "ABOR", "STAT", "QUIT", "REIN",
                ],
            ) =>
            {
                return Inside::Pass;
            }
            _ => return Inside::Ask,
        };
        Inside::Answer(answer.to_vec())
    }

    fn ask(&mut self, _host: &str) -> Option<String> {
        None
    }

    fn offers_starttls(&self, _greeting: &[u8]) -> bool {
        // FEAT need not list AUTH TLS (RFC 4217 §6). The reply to the command decides.
        true
    }

    fn ask_starttls(&mut self) -> String {
        "AUTH TLS\r\n".to_owned()
    }

    fn agrees(&self, reply: &[u8]) -> bool {
        has_code(reply, b"234")
    }
}
