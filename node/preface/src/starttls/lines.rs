//! Protocols of lines: SMTP, IMAP, POP3, ManageSieve, FTP.

use super::{Conversation, Manners, Reason, Side, Sides, Step, Who};
use crate::limits::{CLEAR_COMMANDS_MAX, LINE_BYTES_MAX, SAID_BYTES_MAX};

/// What a line of a client means before TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// Start TLS.
    StartTls,
    /// What can be done here?
    Capability,
    /// Changes nothing that matters once TLS stands.
    Harmless,
    /// The end.
    Quit,
    /// More than its line follows without waiting for an answer.
    Literal,
    /// Whatever needs the server.
    Other,
    /// Not the protocol's, or not with these arguments.
    Malformed,
}

/// How a server greets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Greeted {
    /// As it should.
    Ready,
    /// It serves nobody now.
    Refused,
    /// Not as the protocol starts, or as if the client were known already.
    Strange,
}

/// What becomes of a line under the protection of TLS.
pub(super) enum Inside {
    /// The upstream has no part in it.
    Answer(Vec<u8>),
    /// The upstream answers.
    Ask,
    /// This and all that follows is the upstream's.
    Pass,
}

/// Whether a greeting says that TLS can be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    /// It says so.
    StartTls,
    /// It promises nothing.
    Nothing,
}

/// What one of these protocols has of its own. Lines come without their end.
pub(super) trait Dialect: Send {
    /// Our greeting; empty if the protocol's server speaks again once TLS stands.
    fn greeting(&self, host: &str, offer: Offer) -> String;
    /// What a client's line means.
    fn command(&mut self, line: &[u8]) -> Command;
    /// Our answer to it where nothing but TLS is allowed, or where TLS starts.
    fn answer(&self, command: Command, line: &[u8], host: &str) -> String;
    /// Says why the connection sides.
    fn farewell(&self, text: &str) -> String;

    /// Length of the server's greeting, if it is complete.
    fn greeting_end(&self, said: &[u8]) -> Option<usize>;
    /// What the greeting means.
    fn greeted(&self, greeting: &[u8]) -> Greeted;
    /// Length of the server's answer to the last command, if it is complete.
    fn reply_end(&self, said: &[u8]) -> Option<usize>;
    /// A greeting or an answer about capabilities, with the start of TLS among them.
    fn with_starttls(&self, reply: &[u8], host: &str) -> Vec<u8>;
    /// The server greets anew once TLS stands, and clients expect it.
    fn greets_again(&self) -> bool {
        false
    }
    /// What becomes of a client's line once TLS stands.
    fn inside(&self, _line: &[u8]) -> Inside {
        Inside::Pass
    }

    /// Asks a server what it can do; none if its greeting says so, or nothing does.
    fn ask(&mut self, host: &str) -> Option<String>;
    /// Whether its answer, or without a question its greeting, offers TLS.
    fn offers_starttls(&self, reply: &[u8]) -> bool;
    /// Asks a server to start TLS.
    fn ask_starttls(&mut self) -> String;
    /// Whether a server agrees.
    fn agrees(&self, reply: &[u8]) -> bool;
}

/// Removes and gives the first line, without its end.
fn take_line(said: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = said.iter().position(|byte| *byte == b'\n')?;
    let line: Vec<u8> = said.drain(..=end).take(end).collect();
    Some(without_end(&line).to_vec())
}

/// A line without a carriage return at its end.
fn without_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Removes and gives so many bytes.
pub(super) fn take(said: &mut Vec<u8>, count: usize) -> Vec<u8> {
    said.drain(..count.min(said.len())).collect()
}

/// The first word of a line and the rest.
pub(super) fn first_word(line: &[u8]) -> (&[u8], &[u8]) {
    let line = line.trim_ascii();
    let mut parts = line.splitn(2, |byte| *byte == b' ');
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default().trim_ascii())
}

/// Whether a word is one of these, whatever its case.
pub(super) fn is_one_of(word: &[u8], words: &[&str]) -> bool {
    words.iter().any(|one| word.eq_ignore_ascii_case(one.as_bytes()))
}

/// The lines of a text with their sides, those that are complete.
pub(super) fn whole_lines(said: &[u8]) -> impl Iterator<Item = &[u8]> {
    said.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"))
}

/// Length up to and with the first line that is the last of an answer.
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

/// A request of HTTP, which scripts of web pages send to ports of other protocols.
fn is_http(line: &[u8]) -> bool {
    let methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "PATCH", "TRACE"];
    is_one_of(first_word(line).0, &methods) && line.windows(6).any(|part| part == b" HTTP/")
}

/// Where the conversation with a client stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nobody has spoken.
    Start,
    /// The upstream's greeting is awaited, to be shown.
    Greeting,
    /// The client's next command.
    Command,
    /// The upstream's answer to it.
    Asked(Command),
    /// TLS stands; the upstream's greeting is awaited, to be swallowed.
    Joining,
    /// The client's next command under TLS.
    Inside,
    /// The upstream's answer to it.
    InsideAsked,
}

/// The conversation with a client. Where TLS is required the upstream has no part in it; else
/// the client sees the upstream's own greeting and answers, with the start of TLS among its
/// capabilities, until it says something that TLS cannot follow any more.
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
            // TLS cannot be started after it; the upstream knows what it does.
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
            // Such bytes stand in no command that means what it seems to mean.
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
            // A try to start TLS that goes wrong must leave room for the next.
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
            // Whatever follows belongs to the command; it shall not be taken for others.
            return Some(self.close(client, Reason::Malformed, "TLS must be started first"));
        }
        self.say_answer(command, line, client);
        (command == Command::Quit).then_some(Step::Close(Reason::Ended))
    }

    fn asked(&mut self, command: Command, sides: &mut Sides) -> Option<Step> {
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
        // Looked at where it stands: a client may say thousands of lines at once.
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

/// Where the conversation with a remote server stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Its greeting is awaited.
    Greeting,
    /// Its answer about what it can do.
    Asked,
    /// Its answer to the command that starts TLS.
    Starting,
    /// TLS stands.
    Secure,
}

/// The conversation with a remote server. It ends in TLS or not at all: who takes the offer away
/// on the way gets nothing in the clear (RFC 3207 §6, RFC 8314 §4). The client is greeted by us
/// once TLS stands, because what the server said before may be anybody's.
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

    /// The server's next answer, if it is whole; nothing may stand behind it.
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
