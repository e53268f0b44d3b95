//! Line-based protocols: SMTP, IMAP, POP3, ManageSieve, FTP.

use super::{Conversation, Manners, Reason, Side, Sides, Step, Who};
use crate::limits::{CLEAR_COMMANDS_MAX, LINE_BYTES_MAX, SAID_BYTES_MAX};

/// Meaning of a client's line before TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// Starts TLS.
    StartTls,
    /// Requests the capabilities.
    Capability,
    /// Changes no state of importance after the start of TLS.
    Harmless,
    /// Ends the session.
    Quit,
    /// Announces a non-synchronising literal: its bytes follow without waiting for an answer.
    Literal,
    /// Needs the server.
    Other,
    /// Is not a command of the protocol, or has invalid arguments.
    Malformed,
}

/// Meaning of a server's greeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Greeted {
    /// The server is ready.
    Ready,
    /// The server accepts no clients now.
    Refused,
    /// Not a greeting of the protocol, or one for a client that is already authenticated.
    Strange,
}

/// Handling of a client's line under TLS.
pub(super) enum Inside {
    /// Answer it here, without the upstream.
    Answer(Vec<u8>),
    /// Pass it to the upstream, and return the answer.
    Ask,
    /// Forward this line and everything after it.
    Pass,
}

/// Whether our greeting offers TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    /// It offers TLS.
    StartTls,
    /// It does not.
    Nothing,
}

/// Protocol-specific rules. Lines come without their CRLF.
pub(super) trait Dialect: Send {
    /// Returns our greeting. For [`Offer::Nothing`] it is empty if the server greets again under
    /// TLS.
    fn greeting(&self, host: &str, offer: Offer) -> String;
    /// Parses a client's line.
    fn command(&mut self, line: &[u8]) -> Command;
    /// Returns our answer to a line where TLS is required, or to the line that starts TLS.
    fn answer(&self, command: Command, line: &[u8], host: &str) -> String;
    /// Returns a message about the end of the connection.
    fn farewell(&self, text: &str) -> String;

    /// Returns the length of the server's greeting, if it is complete.
    fn greeting_end(&self, said: &[u8]) -> Option<usize>;
    /// Parses a greeting.
    fn greeted(&self, greeting: &[u8]) -> Greeted;
    /// Returns the length of the server's reply to the last command, if it is complete.
    fn reply_end(&self, said: &[u8]) -> Option<usize>;
    /// Returns whether this begin of a reply may be a whole reply or the begin of a list.
    fn may_list(&self, _said: &[u8]) -> bool {
        false
    }
    /// Adds STARTTLS to the capabilities in a greeting or reply.
    fn with_starttls(&self, reply: &[u8], host: &str) -> Vec<u8>;
    /// Returns whether the server greets again after the start of TLS, as clients expect.
    fn greets_again(&self) -> bool {
        false
    }
    /// Decides about a client's line under TLS.
    fn inside(&self, _line: &[u8]) -> Inside {
        Inside::Pass
    }

    /// Returns the request for a server's capabilities. None if the greeting lists them, or if the
    /// protocol has no list.
    fn ask(&mut self, host: &str) -> Option<String>;
    /// Returns whether the reply to that request, or else the greeting, offers TLS.
    fn offers_starttls(&self, reply: &[u8]) -> bool;
    /// Returns the command for starting TLS.
    fn ask_starttls(&mut self) -> String;
    /// Returns whether a server's reply agrees to start TLS.
    fn agrees(&self, reply: &[u8]) -> bool;
}

/// Removes the first line and returns it without its end.
fn take_line(said: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = said.iter().position(|byte| *byte == b'\n')?;
    let line: Vec<u8> = said.drain(..=end).take(end).collect();
    Some(without_end(&line).to_vec())
}

/// Strips a carriage return from the end of a line.
fn without_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Removes and returns the first `count` bytes.
pub(super) fn take(said: &mut Vec<u8>, count: usize) -> Vec<u8> {
    said.drain(..count.min(said.len())).collect()
}

/// Splits a line into its first word and the rest.
pub(super) fn first_word(line: &[u8]) -> (&[u8], &[u8]) {
    let line = line.trim_ascii();
    let mut parts = line.splitn(2, |byte| *byte == b' ');
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default().trim_ascii())
}

/// Returns whether a word is one of `words`, ignoring case.
pub(super) fn is_one_of(word: &[u8], words: &[&str]) -> bool {
    words.iter().any(|one| word.eq_ignore_ascii_case(one.as_bytes()))
}

/// Iterates over the complete lines of a text, with their ends.
pub(super) fn whole_lines(said: &[u8]) -> impl Iterator<Item = &[u8]> {
    said.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"))
}

/// Returns the length up to the end of the first line for which `is_last` holds.
pub(super) fn end_of(said: &[u8], is_last: impl Fn(&[u8]) -> bool) -> Option<usize> {
    let mut length = 0;
    for line in whole_lines(said) {
        length += line.len();
        if is_last(line) {
            return Some(length);
        }
    }
    None
}

/// Returns whether a line is an HTTP request. Scripts in web pages send these to other ports.
fn is_http(line: &[u8]) -> bool {
    let methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "PATCH", "TRACE"];
    is_one_of(first_word(line).0, &methods) && line.windows(6).any(|part| part == b" HTTP/")
}

/// State of the conversation with a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing has been sent yet.
    Start,
    /// Waiting for the upstream's greeting, to show it to the client.
    Greeting,
    /// Waiting for the client's next command.
    Command,
    /// Waiting for the upstream's reply to that command.
    Asked(Command),
    /// Relaying a list of the upstream, which servers without a list leave out.
    Listing,
    /// Under TLS, waiting for the upstream's greeting, which the client must not see.
    Joining,
    /// Under TLS, waiting for the client's next command.
    Inside,
    /// Under TLS, waiting for the upstream's reply to that command.
    InsideAsked,
}

/// The conversation with a client. If TLS is required, the upstream has no part in it. Otherwise
/// the client sees the upstream's own greeting and replies, with STARTTLS added to the
/// capabilities. This ends at the first command after which TLS could no longer be started.
pub(super) struct WithClient<D> {
    dialect: D,
    manners: Manners,
    stage: Stage,
    commands: usize,
}

impl<D: Dialect> WithClient<D> {
    pub(super) fn new(dialect: D, manners: Manners) -> WithClient<D> {
        WithClient { dialect, manners, stage: Stage::Start, commands: 0 }
    }

    fn close(&self, client: &mut Side, reason: Reason, words: &str) -> Step {
        client.tell.extend_from_slice(self.dialect.farewell(words).as_bytes());
        Step::Close(reason)
    }

    fn greeting(&mut self, sides: &mut Sides) -> Option<Step> {
        let Some(end) = self.dialect.greeting_end(&sides.upstream.said) else {
            return Some(Step::Read(Who::Upstream));
        };
        let greeting = take(&mut sides.upstream.said, end);
        if self.dialect.greeted(&greeting) != Greeted::Ready {
            // TLS cannot start after such a greeting, so leave the client to the upstream.
            sides.client.tell.extend(greeting);
            return Some(Step::Pass);
        }
        let greeting = self.dialect.with_starttls(&greeting, &self.manners.host);
        sides.client.tell.extend(greeting);
        self.stage = Stage::Command;
        None
    }

    fn command(&mut self, sides: &mut Sides) -> Option<Step> {
        let client = &mut sides.client;
        let end = client.said.iter().position(|byte| *byte == b'\n');
        if end.unwrap_or(client.said.len()) > LINE_BYTES_MAX {
            return Some(self.close(client, Reason::TooMuch, "line too long"));
        }
        if end.is_none() {
            return Some(Step::Read(Who::Client));
        }
        self.commands += 1;
        if self.commands > CLEAR_COMMANDS_MAX {
            return Some(self.close(client, Reason::TooMuch, "too many commands"));
        }
        let before = client.said.clone();
        let line = take_line(&mut client.said).unwrap_or_default();
        let command = match self.dialect.command(&line) {
            _ if is_http(&line) => return Some(self.close(client, Reason::Malformed, "not HTTP")),
            // No valid command has these bytes. Parsers that treat them differently could disagree
            // on it.
            _ if line.iter().any(|byte| matches!(byte, b'\0' | b'\r')) => Command::Malformed,
            command => command,
        };
        match command {
            Command::StartTls if client.said.is_empty() => {
                self.say_answer(command, &line, client);
                self.stage = Stage::Joining;
                Some(Step::StartTls)
            }
            Command::StartTls => {
                client.said.clear();
                let words = "data behind the command that starts TLS";
                Some(self.close(client, Reason::Injected, words))
            }
            _ if self.manners.requires_tls => self.refuse(command, &line, client),
            // Answer a failed attempt here, so that the client can still start TLS.
            Command::Malformed => {
                self.say_answer(command, &line, client);
                None
            }
            Command::Capability | Command::Harmless => {
                sides.upstream.tell.extend_from_slice(&line);
                sides.upstream.tell.extend_from_slice(b"\r\n");
                self.stage = Stage::Asked(command);
                None
            }
            _ => {
                client.said = before;
                Some(Step::Pass)
            }
        }
    }

    fn say_answer(&self, command: Command, line: &[u8], client: &mut Side) {
        let answer = self.dialect.answer(command, line, &self.manners.host);
        client.tell.extend_from_slice(answer.as_bytes());
    }

    fn refuse(&self, command: Command, line: &[u8], client: &mut Side) -> Option<Step> {
        if command == Command::Literal {
            // The bytes after this line are part of the command. They must not be parsed as
            // commands.
            return Some(self.close(client, Reason::Malformed, "TLS must be started first"));
        }
        self.say_answer(command, line, client);
        (command == Command::Quit).then_some(Step::Close(Reason::Ended))
    }

    fn asked(&mut self, command: Command, sides: &mut Sides) -> Option<Step> {
        if self.dialect.may_list(&sides.upstream.said) && sides.client.said.is_empty() {
            self.stage = Stage::Listing;
            return None;
        }
        let Some(end) = self.dialect.reply_end(&sides.upstream.said) else {
            return Some(Step::Read(Who::Upstream));
        };
        let reply = take(&mut sides.upstream.said, end);
        let reply = match command {
            Command::Capability => self.dialect.with_starttls(&reply, &self.manners.host),
            _ => reply,
        };
        sides.client.tell.extend(reply);
        self.stage = Stage::Command;
        None
    }

    /// Relays the lines of a list as they come. A client that goes on has got all that it waited
    /// for.
    fn listing(&mut self, sides: &mut Sides) -> Option<Step> {
        let said = &mut sides.upstream.said;
        let end = end_of(said, |line| line.trim_ascii_end() == b".");
        let lines: usize = whole_lines(said).map(<[u8]>::len).sum();
        sides.client.tell.extend(take(said, end.unwrap_or(lines)));
        if end.is_some() || !sides.client.said.is_empty() {
            self.stage = Stage::Command;
            return None;
        }
        Some(Step::ReadAny)
    }

    fn join(&mut self, sides: &mut Sides) -> Option<Step> {
        if self.dialect.greets_again() {
            return Some(Step::Pass);
        }
        let Some(end) = self.dialect.greeting_end(&sides.upstream.said) else {
            return Some(Step::Read(Who::Upstream));
        };
        let greeting = take(&mut sides.upstream.said, end);
        match self.dialect.greeted(&greeting) {
            Greeted::Ready => {
                self.stage = Stage::Inside;
                None
            }
            Greeted::Refused => {
                sides.client.tell.extend(greeting);
                Some(Step::Close(Reason::Refused("the upstream serves nobody now".to_owned())))
            }
            Greeted::Strange => {
                let reason = Reason::Refused("the upstream does not greet as it should".to_owned());
                Some(self.close(&mut sides.client, reason, "the server is not available"))
            }
        }
    }

    fn inside(&mut self, sides: &mut Sides) -> Option<Step> {
        if matches!(self.dialect.inside(b""), Inside::Pass) {
            return Some(Step::Pass);
        }
        let said = &mut sides.client.said;
        let Some(end) = said.iter().position(|byte| *byte == b'\n') else {
            let is_full = said.len() >= SAID_BYTES_MAX;
            return Some(if is_full { Step::Pass } else { Step::Read(Who::Client) });
        };
        // Parse the line in place: a client may send thousands of lines in one read.
        let line = without_end(said.get(..end).unwrap_or_default());
        match self.dialect.inside(line) {
            Inside::Answer(answer) => sides.client.tell.extend(answer),
            Inside::Ask => {
                sides.upstream.tell.extend_from_slice(line);
                sides.upstream.tell.extend_from_slice(b"\r\n");
                self.stage = Stage::InsideAsked;
            }
            Inside::Pass => return Some(Step::Pass),
        }
        said.drain(..=end);
        None
    }

    fn inside_asked(&mut self, sides: &mut Sides) -> Option<Step> {
        let Some(end) = self.dialect.reply_end(&sides.upstream.said) else {
            return Some(Step::Read(Who::Upstream));
        };
        sides.client.tell.extend(take(&mut sides.upstream.said, end));
        self.stage = Stage::Inside;
        None
    }
}

impl<D: Dialect> Conversation for WithClient<D> {
    fn step(&mut self, sides: &mut Sides) -> Step {
        loop {
            let step = match self.stage {
                Stage::Start if self.manners.requires_tls => {
                    let greeting = self.dialect.greeting(&self.manners.host, Offer::StartTls);
                    sides.client.tell.extend_from_slice(greeting.as_bytes());
                    self.stage = Stage::Command;
                    None
                }
                Stage::Start => {
                    self.stage = Stage::Greeting;
                    None
                }
                Stage::Greeting => self.greeting(sides),
                Stage::Command => self.command(sides),
                Stage::Asked(command) => self.asked(command, sides),
                Stage::Listing => self.listing(sides),
                Stage::Joining => self.join(sides),
                Stage::Inside => self.inside(sides),
                Stage::InsideAsked => self.inside_asked(sides),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn farewell(&self, text: &str) -> Vec<u8> {
        self.dialect.farewell(text).into_bytes()
    }
}

/// State of the conversation with a remote server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Waiting for the greeting.
    Greeting,
    /// Waiting for the reply about capabilities.
    Asked,
    /// Waiting for the reply to the command that starts TLS.
    Starting,
    /// TLS has started.
    Secure,
}

/// The conversation with a remote server. It ends in TLS or fails: an attacker removing the offer
/// of TLS gets no plaintext (RFC 3207 §6, RFC 8314 §4). The client gets our own greeting after the
/// start of TLS, because the server's first greeting was not authenticated.
pub(super) struct WithServer<D> {
    dialect: D,
    host: String,
    way: Way,
}

impl<D: Dialect> WithServer<D> {
    pub(super) fn new(dialect: D, host: String) -> WithServer<D> {
        WithServer { dialect, host, way: Way::Greeting }
    }

    fn fail(&self, sides: &mut Sides, reason: Reason) -> Step {
        let words = self.dialect.farewell("no TLS with the server");
        sides.client.tell.extend_from_slice(words.as_bytes());
        Step::Close(reason)
    }

    /// Takes the server's next reply, if it is complete. Bytes after it are an injection.
    fn reply(&self, sides: &mut Sides) -> Result<Vec<u8>, Step> {
        let said = &mut sides.upstream.said;
        let end = match self.way {
            Way::Greeting => self.dialect.greeting_end(said),
            _ => self.dialect.reply_end(said),
        };
        let Some(end) = end else { return Err(Step::Read(Who::Upstream)) };
        let reply = take(said, end);
        if said.is_empty() { Ok(reply) } else { Err(self.fail(sides, Reason::Injected)) }
    }

    fn refused(&self, sides: &mut Sides, what: &str) -> Step {
        self.fail(sides, Reason::Refused(format!("the server {what}")))
    }

    fn on(&mut self, sides: &mut Sides) -> Result<(), Step> {
        let reply = match self.way {
            Way::Secure => {
                let greeting = self.dialect.greeting(&self.host, Offer::Nothing);
                sides.client.tell.extend_from_slice(greeting.as_bytes());
                return Err(Step::Pass);
            }
            _ => self.reply(sides)?,
        };
        let tell = &mut sides.upstream.tell;
        match self.way {
            Way::Greeting if self.dialect.greeted(&reply) != Greeted::Ready => {
                let said = String::from_utf8_lossy(&reply);
                let said: String = said.trim_end().chars().take(80).collect();
                let what = format!("greets with {said:?}: TLS cannot be started");
                return Err(self.refused(sides, &what));
            }
            Way::Greeting => match self.dialect.ask(&self.host) {
                Some(question) => {
                    tell.extend_from_slice(question.as_bytes());
                    self.way = Way::Asked;
                }
                None if !self.dialect.offers_starttls(&reply) => {
                    return Err(self.refused(sides, "offers no TLS"));
                }
                None => {
                    tell.extend_from_slice(self.dialect.ask_starttls().as_bytes());
                    self.way = Way::Starting;
                }
            },
            Way::Asked if !self.dialect.offers_starttls(&reply) => {
                return Err(self.refused(sides, "offers no TLS"));
            }
            Way::Asked => {
                tell.extend_from_slice(self.dialect.ask_starttls().as_bytes());
                self.way = Way::Starting;
            }
            Way::Starting if !self.dialect.agrees(&reply) => {
                return Err(self.refused(sides, "does not start TLS"));
            }
            Way::Starting => {
                self.way = Way::Secure;
                return Err(Step::StartTls);
            }
            Way::Secure => {}
        }
        Ok(())
    }
}

impl<D: Dialect> Conversation for WithServer<D> {
    fn step(&mut self, sides: &mut Sides) -> Step {
        loop {
            if let Err(step) = self.on(sides) {
                return step;
            }
        }
    }

    fn farewell(&self, text: &str) -> Vec<u8> {
        self.dialect.farewell(text).into_bytes()
    }
}
