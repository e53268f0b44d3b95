//! STARTTLS in an XMPP stream (RFC 6120 §5).

use conclave_store::record::ListenerProtocol;

use super::{Conversation, Manners, Reason, Sides, Step, Who, lines::take};
use crate::limits::STREAM_TO_BYTES_MAX;

const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
const CLOSE: &str = "</stream:stream>";

/// An XML tag of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tag {
    /// Name without its prefix.
    name: String,
    kind: Kind,
    attributes: Vec<(String, String)>,
    /// Position after the tag in the received bytes.
    end: usize,
    /// Position of the tag.
    start: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Open,
    Close,
    Empty,
}

/// Result of parsing a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Read {
    Tag(Tag),
    Incomplete,
    Malformed,
}

impl Tag {
    /// Parses the next tag of the stream. Only the XML declaration and white space may precede it.
    fn first(bytes: &[u8]) -> Read {
        let declaration = bytes.starts_with(b"<?xml ").then(|| {
            let end = bytes.windows(2).position(|pair| pair == b"?>")?;
            bytes.get(end + 2..)
        });
        let rest = declaration.flatten().unwrap_or(bytes);
        match rest.trim_ascii_start().first() {
            Some(b'<') | None => Tag::read(bytes, 0),
            Some(_) => Read::Malformed,
        }
    }

    /// Parses the next tag after `from`. Skips the XML declaration, white space and text before it.
    /// Rejects comments, processing instructions and document types, which RFC 6120 §11.1 forbids.
    fn read(bytes: &[u8], from: usize) -> Read {
        let Some(rest) = bytes.get(from..) else { return Read::Incomplete };
        let Some(open) = rest.iter().position(|byte| *byte == b'<') else {
            return Read::Incomplete;
        };
        let start = from + open;
        let mut quote = None;
        let mut end = None;
        for (at, byte) in bytes.iter().enumerate().skip(start + 1) {
            match (quote, byte) {
                (Some(open), close) if open == *close => quote = None,
                (None, b'\'' | b'"') => quote = Some(*byte),
                (_, b'<') => return Read::Malformed,
                (None, b'>') => {
                    end = Some(at);
                    break;
                }
                _ => {}
            }
        }
        let Some(end) = end else { return Read::Incomplete };
        let inner = bytes.get(start + 1..end).and_then(|inner| std::str::from_utf8(inner).ok());
        let Some(inner) = inner else { return Read::Malformed };
        if inner.starts_with("?xml ") && inner.ends_with('?') && start == 0 {
            return Tag::read(bytes, end + 1);
        }
        Tag::parse(inner, start, end + 1).map_or(Read::Malformed, Read::Tag)
    }

    fn parse(inner: &str, start: usize, end: usize) -> Option<Tag> {
        let (inner, kind) = if let Some(inner) = inner.strip_prefix('/') {
            (inner, Kind::Close)
        } else if let Some(inner) = inner.strip_suffix('/') {
            (inner, Kind::Empty)
        } else {
            (inner, Kind::Open)
        };
        let split = inner.find(|c: char| c.is_ascii_whitespace()).unwrap_or(inner.len());
        let (name, mut rest) = inner.split_at(split);
        let is_name = |name: &str| {
            !name.is_empty()
                && name.chars().all(|c| c.is_alphanumeric() || matches!(c, ':' | '-' | '_' | '.'))
        };
        if !is_name(name) {
            return None;
        }
        let mut attributes = Vec::new();
        loop {
            rest = rest.trim_ascii_start();
            if rest.is_empty() {
                break;
            }
            let (key, behind) = rest.split_once('=')?;
            let behind = behind.trim_ascii_start();
            let quote = behind.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
            let (value, behind) = behind.get(1..)?.split_once(quote)?;
            let key = key.trim_ascii_end();
            if !is_name(key) {
                return None;
            }
            attributes.push((key.to_owned(), value.to_owned()));
            rest = behind;
        }
        let name = name.rsplit(':').next().unwrap_or_default().to_owned();
        Some(Tag { name, kind, attributes, end, start })
    }

    fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    fn is_starttls(&self, name: &str) -> bool {
        self.name == name && self.attribute("xmlns") == Some(TLS)
    }
}

/// Returns the domain of a stream header: A-labels, or U-labels as RFC 7622 §3.2 has them. Rejects
/// references and characters that end an attribute.
fn domain(header: &Tag) -> Option<String> {
    let to = header.attribute("to")?;
    // Combining marks are no letters, and many scripts need them.
    let is_plain = |c: char| {
        c.is_ascii_alphanumeric()
            || matches!(c, '.' | '-' | ':' | '[' | ']' | '_')
            || !(c.is_ascii() || c.is_control() || c.is_whitespace())
    };
    let is_short = (1..=STREAM_TO_BYTES_MAX).contains(&to.len());
    (is_short && to.chars().all(is_plain)).then(|| to.to_owned())
}

fn stream_error(condition: &str) -> String {
    format!(
        "<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>\
         {CLOSE}"
    )
}

/// Result of parsing the features of a stream.
enum Features {
    Incomplete,
    Malformed,
    /// The server sent no features: its protocol is older than XMPP 1.0 (RFC 6120 §4.7.5).
    None,
    /// All features: the position of the first, whether STARTTLS is among them, and their end.
    Found {
        first: usize,
        has_starttls: bool,
        end: usize,
    },
}

fn features(said: &[u8]) -> Features {
    let mut at = 0;
    let mut first = None;
    let mut has_starttls = false;
    let mut is_header_read = false;
    loop {
        let tag = match Tag::read(said, at) {
            Read::Tag(tag) => tag,
            Read::Incomplete => return Features::Incomplete,
            Read::Malformed => return Features::Malformed,
        };
        at = tag.end;
        match (first, tag.name.as_str(), tag.kind) {
            _ if !is_header_read && tag.name == "stream" && tag.kind == Kind::Open => {
                is_header_read = true;
                if tag.attribute("version").is_none() {
                    return Features::None;
                }
            }
            _ if !is_header_read => return Features::Malformed,
            (None, "features", Kind::Open) => first = Some(tag.end),
            (None, "features", Kind::Empty) => {
                return Features::Found { first: tag.end, has_starttls: false, end: tag.end };
            }
            // The server sent an error instead of features.
            (None, _, _) => return Features::None,
            (Some(first), "features", Kind::Close) => {
                return Features::Found { first, has_starttls, end: tag.end };
            }
            (Some(_), _, Kind::Open | Kind::Empty) => has_starttls |= tag.is_starttls("starttls"),
            _ => {}
        }
    }
}

/// State of the conversation with a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Waiting for the client's stream header.
    Header,
    /// Waiting for the upstream's header and features, if TLS is optional.
    Features,
    /// Waiting for the client's choice.
    Choice,
    /// Waiting for the end tag of that choice.
    ChoiceEnd,
    /// TLS has started.
    Secure,
}

/// The conversation with the initiator of a stream: a client, or a server of another domain.
pub(super) struct WithClient {
    namespace: &'static str,
    manners: Manners,
    stage: Stage,
    to: Option<String>,
}

fn namespace(protocol: ListenerProtocol) -> &'static str {
    match protocol {
        ListenerProtocol::XmppServer => "jabber:server",
        _ => "jabber:client",
    }
}

impl WithClient {
    pub(super) fn new(protocol: ListenerProtocol, manners: Manners) -> WithClient {
        let namespace = namespace(protocol);
        WithClient { namespace, manners, stage: Stage::Header, to: None }
    }

    fn our_header(&self) -> String {
        let id = u128::from_be_bytes(self.manners.stream_id);
        let from = self.to.as_deref().unwrap_or(&self.manners.host);
        format!(
            "<?xml version='1.0'?><stream:stream xmlns='{}' \
             xmlns:stream='http://etherx.jabber.org/streams' id='{id:032x}' from='{from}' \
             xml:lang='en' version='1.0'>",
            self.namespace
        )
    }

    fn error(&self, sides: &mut Sides, condition: &str, reason: Reason) -> Step {
        if self.stage == Stage::Header {
            sides.client.tell.extend(self.our_header().into_bytes());
        }
        sides.client.tell.extend(stream_error(condition).into_bytes());
        Step::Close(reason)
    }

    fn header(&mut self, sides: &mut Sides) -> Option<Step> {
        let header = match Tag::first(&sides.client.said) {
            Read::Tag(tag) if tag.name == "stream" && tag.kind == Kind::Open => tag,
            Read::Incomplete => return Some(Step::Read(Who::Client)),
            _ => return Some(self.error(sides, "not-well-formed", Reason::Malformed)),
        };
        if header.attribute("to").is_some() && domain(&header).is_none() {
            return Some(self.error(sides, "improper-addressing", Reason::Malformed));
        }
        self.to = domain(&header);
        let said = take(&mut sides.client.said, header.end);
        if !self.manners.requires_tls {
            sides.upstream.tell.extend(said);
            self.stage = Stage::Features;
            return None;
        }
        let features = format!(
            "{}<stream:features><starttls xmlns='{TLS}'><required/></starttls></stream:features>",
            self.our_header()
        );
        sides.client.tell.extend(features.into_bytes());
        self.stage = Stage::Choice;
        None
    }

    /// Shows the upstream's features with STARTTLS added.
    fn features(&mut self, sides: &mut Sides) -> Option<Step> {
        let said = &mut sides.upstream.said;
        match features(said) {
            Features::Incomplete => return Some(Step::Read(Who::Upstream)),
            Features::None | Features::Malformed => return Some(Step::Pass),
            Features::Found { has_starttls: true, end, .. } => {
                sides.client.tell.extend(take(said, end));
            }
            Features::Found { first, end, .. } => {
                let shown = take(said, end);
                let (before, behind) = shown.split_at(first);
                // `<features/>` has no content: replace it by a start tag and an end tag.
                let (before, behind) = match before.strip_suffix(b"/>") {
                    Some(open) => ([open, b">"].concat(), &b"</stream:features>"[..]),
                    None => (before.to_vec(), behind),
                };
                let starttls = format!("<starttls xmlns='{TLS}'/>");
                sides.client.tell.extend([&before, starttls.as_bytes(), behind].concat());
            }
        }
        self.stage = Stage::Choice;
        None
    }

    fn choice(&mut self, sides: &mut Sides) -> Step {
        let client = &mut sides.client;
        let tag = match Tag::first(&client.said) {
            Read::Tag(tag) => tag,
            Read::Incomplete => return Step::Read(Who::Client),
            Read::Malformed => return self.error(sides, "not-well-formed", Reason::Malformed),
        };
        let is_end =
            self.stage == Stage::ChoiceEnd && tag.name == "starttls" && tag.kind == Kind::Close;
        if self.stage == Stage::Choice && tag.is_starttls("starttls") && tag.kind == Kind::Open {
            take(&mut client.said, tag.end);
            self.stage = Stage::ChoiceEnd;
            return self.choice(sides);
        }
        if is_end || (tag.is_starttls("starttls") && tag.kind == Kind::Empty) {
            take(&mut client.said, tag.end);
            if !client.said.is_empty() {
                client.said.clear();
                let failure = format!("<failure xmlns='{TLS}'/>{CLOSE}");
                client.tell.extend(failure.into_bytes());
                return Step::Close(Reason::Injected);
            }
            client.tell.extend(format!("<proceed xmlns='{TLS}'/>").into_bytes());
            self.stage = Stage::Secure;
            return Step::StartTls;
        }
        if tag.name == "stream" && tag.kind == Kind::Close {
            client.tell.extend(CLOSE.as_bytes());
            return Step::Close(Reason::Ended);
        }
        if self.manners.requires_tls || self.stage == Stage::ChoiceEnd {
            let reason = Reason::Refused("the client does not start TLS".to_owned());
            return self.error(sides, "policy-violation", reason);
        }
        Step::Pass
    }
}

impl Conversation for WithClient {
    fn step(&mut self, sides: &mut Sides) -> Step {
        loop {
            let step = match self.stage {
                Stage::Header => self.header(sides),
                Stage::Features => self.features(sides),
                Stage::Choice | Stage::ChoiceEnd => Some(self.choice(sides)),
                Stage::Secure => Some(Step::Pass),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn farewell(&self, text: &str) -> Vec<u8> {
        let condition = match text {
            "too slow" => "connection-timeout",
            _ => "remote-connection-failed",
        };
        let header = match self.stage {
            Stage::Header | Stage::Features | Stage::Secure => self.our_header(),
            Stage::Choice | Stage::ChoiceEnd => String::new(),
        };
        (header + &stream_error(condition)).into_bytes()
    }

    fn stream_to(&self) -> Option<&str> {
        self.to.as_deref()
    }
}

/// State of the conversation with a remote server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Waiting for the client's header, to pass it on.
    Header,
    /// Waiting for the server's header and features.
    Features,
    /// Waiting for the server's reply to `<starttls/>`.
    Starting,
    /// TLS has started.
    Secure,
}

/// The conversation with a remote server. The client's header names the domain.
pub(super) struct WithServer {
    namespace: &'static str,
    way: Way,
    header: Vec<u8>,
}

impl WithServer {
    pub(super) fn new(protocol: ListenerProtocol) -> WithServer {
        WithServer { namespace: namespace(protocol), way: Way::Header, header: Vec::new() }
    }

    fn fail(&self, sides: &mut Sides, reason: Reason) -> Step {
        sides.client.tell.extend(self.farewell("no TLS"));
        Step::Close(reason)
    }

    fn header(&mut self, sides: &mut Sides) -> Result<(), Step> {
        match Tag::first(&sides.client.said) {
            Read::Tag(tag) if tag.name == "stream" && tag.kind == Kind::Open => {
                self.header = take(&mut sides.client.said, tag.end);
                sides.upstream.tell.extend_from_slice(&self.header);
                self.way = Way::Features;
                Ok(())
            }
            Read::Incomplete => Err(Step::Read(Who::Client)),
            _ => Err(self.fail(sides, Reason::Malformed)),
        }
    }

    fn features(&mut self, sides: &mut Sides) -> Result<(), Step> {
        let said = &mut sides.upstream.said;
        let reason = match features(said) {
            Features::Incomplete => return Err(Step::Read(Who::Upstream)),
            Features::Malformed => Reason::Malformed,
            Features::Found { has_starttls: true, end, .. } if end == said.len() => {
                said.clear();
                sides.upstream.tell.extend(format!("<starttls xmlns='{TLS}'/>").into_bytes());
                self.way = Way::Starting;
                return Ok(());
            }
            Features::Found { has_starttls: true, .. } => Reason::Injected,
            Features::Found { .. } | Features::None => {
                Reason::Refused("the server offers no TLS".to_owned())
            }
        };
        Err(self.fail(sides, reason))
    }

    fn starting(&mut self, sides: &mut Sides) -> Result<(), Step> {
        let said = &mut sides.upstream.said;
        let reason = match Tag::first(said) {
            Read::Incomplete => return Err(Step::Read(Who::Upstream)),
            Read::Tag(tag) if tag.is_starttls("proceed") && tag.kind == Kind::Empty => {
                if tag.end == said.len() {
                    said.clear();
                    self.way = Way::Secure;
                    return Err(Step::StartTls);
                }
                Reason::Injected
            }
            Read::Tag(_) => Reason::Refused("the server does not start TLS".to_owned()),
            Read::Malformed => Reason::Malformed,
        };
        Err(self.fail(sides, reason))
    }
}

impl Conversation for WithServer {
    fn step(&mut self, sides: &mut Sides) -> Step {
        loop {
            let on = match self.way {
                Way::Header => self.header(sides),
                Way::Features => self.features(sides),
                Way::Starting => self.starting(sides),
                Way::Secure => {
                    // Under TLS the stream starts again (RFC 6120 §5.4.3.3). The client does not
                    // know of the first stream, so its header is sent again here.
                    sides.upstream.tell.append(&mut self.header);
                    Err(Step::Pass)
                }
            };
            if let Err(step) = on {
                return step;
            }
        }
    }

    fn farewell(&self, _text: &str) -> Vec<u8> {
        let header = format!(
            "<?xml version='1.0'?><stream:stream xmlns='{}' \
             xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>",
            self.namespace
        );
        (header + &stream_error("remote-connection-failed")).into_bytes()
    }
}
