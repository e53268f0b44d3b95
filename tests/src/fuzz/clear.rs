//! What stands before TLS: conversations that start it, and PROXY headers.

use std::collections::VecDeque;

use conclave_preface::{
    limits::{PROXY_HEADER_BYTES_MAX, SAID_BYTES_MAX},
    proxy_protocol::{HeaderError, parse as parse_proxy_header},
    starttls::{
        Conversation, ListenerProtocol, Manners, Reason, Sides, Step, Who, with_client, with_server,
    },
};

/// Protocols by the low half of an input's first byte.
const PROTOCOLS: [ListenerProtocol; 9] = [
    ListenerProtocol::Smtp,
    ListenerProtocol::Imap,
    ListenerProtocol::Pop3,
    ListenerProtocol::Sieve,
    ListenerProtocol::Ftp,
    ListenerProtocol::XmppClient,
    ListenerProtocol::XmppServer,
    ListenerProtocol::Ldap,
    ListenerProtocol::Postgres,
];
/// Partners by the high half.
const PARTNERS: [With; 3] = [With::ClientForTls, With::Client, With::Server];
/// Stands between the pieces in which something is said: a change of the bytes around it leaves
/// the other pieces as they are.
const BETWEEN: [u8; 2] = [0xff, 0xfe];
/// Bytes that one step may say: answers to all that was said at once.
const TELL_BYTES_MAX: usize = 8 * SAID_BYTES_MAX;
/// Inputs up to this size are also said byte by byte.
const SLOW_BYTES_MAX: usize = 2048;
/// Bytes of the fixed part of a PROXY header of version 2.
const FIXED_BYTES: usize = 16;

/// With whom a conversation is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum With {
    /// A client where nothing but TLS is allowed.
    ClientForTls,
    /// A client that may go on without.
    Client,
    /// A remote server.
    Server,
}

impl With {
    fn conversation(self, protocol: ListenerProtocol) -> Box<dyn Conversation> {
        let host = "mx.example".to_owned();
        let requires_tls = self == With::ClientForTls;
        match self {
            With::Server => with_server(protocol, &host).unwrap(),
            _ => with_client(protocol, Manners { host, requires_tls, stream_id: [7; 16] }).unwrap(),
        }
    }
}

/// A conversation and all that was said in it.
struct Held {
    conversation: Box<dyn Conversation>,
    sides: Sides,
    to_client: Vec<u8>,
    to_upstream: Vec<u8>,
    /// All bytes that each side has sent, consumed or not.
    by_client: VecDeque<u8>,
    by_upstream: VecDeque<u8>,
}

impl Held {
    fn new(protocol: ListenerProtocol, with: With) -> Held {
        Held {
            conversation: with.conversation(protocol),
            sides: Sides::default(),
            to_client: Vec::new(),
            to_upstream: Vec::new(),
            by_client: VecDeque::new(),
            by_upstream: VecDeque::new(),
        }
    }

    fn step(&mut self) -> Step {
        let step = self.conversation.step(&mut self.sides);
        let (client, upstream) = (&mut self.sides.client.tell, &mut self.sides.upstream.tell);
        assert!(client.len() <= TELL_BYTES_MAX && upstream.len() <= TELL_BYTES_MAX);
        self.to_client.append(client);
        self.to_upstream.append(upstream);
        step
    }

    /// Goes on while `say` has something to say for the side that is awaited; gives the last step.
    fn go_on(&mut self, mut say: impl FnMut(Who) -> Option<Vec<u8>>) -> Step {
        loop {
            let step = self.step();
            let Step::Read(who) = step else { return step };
            let told = (self.to_client.len(), self.to_upstream.len());
            assert_eq!(self.step(), step, "nothing new was said");
            assert_eq!((self.to_client.len(), self.to_upstream.len()), told);
            let (side, all) = match who {
                Who::Client => (&mut self.sides.client, &mut self.by_client),
                Who::Upstream => (&mut self.sides.upstream, &mut self.by_upstream),
            };
            // The node gives up then.
            let room = SAID_BYTES_MAX.saturating_sub(side.said.len());
            let Some(mut piece) = say(who).filter(|_| room > 0) else { return step };
            piece.truncate(room);
            all.extend(&piece);
            side.said.extend(piece);
        }
    }
}

/// A conversation of one of the protocols. One byte: which protocol, with whom; then pieces, each
/// said by the side that is awaited, before TLS and under it.
pub fn conversation(input: &[u8]) {
    let Some((head, rest)) = input.split_first() else { return };
    let protocol = PROTOCOLS.get(usize::from(head & 0x0f));
    let with = PARTNERS.get(usize::from(head >> 4));
    let (Some(protocol), Some(with)) = (protocol.copied(), with.copied()) else { return };
    let mut pieces = pieces(rest).into_iter();
    let mut held = Held::new(protocol, with);
    let step = held.go_on(|_| pieces.next().map(<[u8]>::to_vec));
    let words = held.conversation.farewell("too slow");
    assert!(words.len() < 1024);
    if rest.len() <= SLOW_BYTES_MAX {
        byte_by_byte(protocol, with, &held, &step);
    }
    if step == Step::StartTls {
        under_tls(protocol, with, held, pieces.as_slice());
    }
}

/// How bytes are cut into reads changes nothing, but that what stands behind the start of TLS can
/// come too late to be refused there.
fn byte_by_byte(protocol: ListenerProtocol, with: With, whole: &Held, end: &Step) {
    if *end == Step::Close(Reason::Injected) {
        return;
    }
    let (mut client, mut upstream) = (whole.by_client.clone(), whole.by_upstream.clone());
    let mut held = Held::new(protocol, with);
    let step = held.go_on(|who| match who {
        Who::Client => client.pop_front().map(|byte| vec![byte]),
        Who::Upstream => upstream.pop_front().map(|byte| vec![byte]),
    });
    // Who spoke first decides then.
    if [&step, end].contains(&&Step::ReadAny) {
        return;
    }
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    assert_eq!(step, *end, "{protocol:?} {with:?}");
    assert_eq!(text(&held.to_client), text(&whole.to_client), "{protocol:?} {with:?}");
    assert_eq!(text(&held.to_upstream), text(&whole.to_upstream), "{protocol:?} {with:?}");
    if step == Step::Pass {
        held.sides.client.said.extend(client);
        assert_eq!(text(&held.sides.client.said), text(&whole.sides.client.said));
    }
}

/// Under TLS everything is as if nothing had been said before it: a conversation that got there
/// by the shortest way goes on in the same way.
fn under_tls(protocol: ListenerProtocol, with: With, mut held: Held, pieces: &[&[u8]]) {
    let mut shortest = Held::new(protocol, with);
    let mut opening = opening(protocol, with).into_iter();
    assert_eq!(shortest.go_on(|_| opening.next()), Step::StartTls, "{protocol:?} {with:?}");
    match with {
        With::ClientForTls | With::Client => {
            assert_eq!(held.sides.client.said, b"", "{protocol:?}: behind the start of TLS");
            // The connection to the upstream is another one from here on.
            held.sides = Sides::default();
            shortest.sides = Sides::default();
        }
        With::Server => {
            assert_eq!(held.sides.upstream.said, b"", "{protocol:?}: behind the start of TLS");
            shortest.sides.client.said.clone_from(&held.sides.client.said);
        }
    }
    let go_on = |held: &mut Held| {
        (held.to_client, held.to_upstream) = (Vec::new(), Vec::new());
        let mut pieces = pieces.iter();
        held.go_on(|_| pieces.next().map(|piece| piece.to_vec()))
    };
    assert_eq!(go_on(&mut held), go_on(&mut shortest), "{protocol:?} {with:?}");
    assert_eq!(held.to_client, shortest.to_client, "{protocol:?} {with:?}");
    assert_eq!(held.sides.client.said, shortest.sides.client.said, "{protocol:?} {with:?}");
    assert_eq!(held.sides.upstream.said, shortest.sides.upstream.said, "{protocol:?} {with:?}");
    // A server of XMPP is told the client's own header once more.
    let is_xmpp = matches!(protocol, ListenerProtocol::XmppClient | ListenerProtocol::XmppServer);
    if !(is_xmpp && with == With::Server) {
        assert_eq!(held.to_upstream, shortest.to_upstream, "{protocol:?} {with:?}");
    }
}

/// The pieces that lead to TLS on the shortest way.
fn opening(protocol: ListenerProtocol, with: With) -> Vec<Vec<u8>> {
    use ListenerProtocol::*;
    let stream = "<?xml version='1.0'?><stream:stream to='shop.example' version='1.0'>";
    let starttls = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
    let features = format!("{stream}<stream:features>{starttls}</stream:features>");
    let proceed = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
    let start_tls = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
    let success = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00";
    let pieces: &[&[u8]] = match (protocol, with) {
        (Smtp, With::ClientForTls) => &[b"STARTTLS\r\n"],
        (Smtp, With::Client) => &[b"220 hi\r\n", b"STARTTLS\r\n"],
        (Smtp, With::Server) => &[b"220 hi\r\n", b"250-hi\r\n250 STARTTLS\r\n", b"220 go\r\n"],
        (Imap, With::ClientForTls) => &[b"a STARTTLS\r\n"],
        (Imap, With::Client) => &[b"* OK hi\r\n", b"a STARTTLS\r\n"],
        (Imap, With::Server) => {
            &[b"* OK hi\r\n", b"* CAPABILITY IMAP4rev1 STARTTLS\r\nc1 OK done\r\n", b"c2 OK go\r\n"]
        }
        (Pop3, With::ClientForTls) => &[b"STLS\r\n"],
        (Pop3, With::Client) => &[b"+OK hi\r\n", b"STLS\r\n"],
        (Pop3, With::Server) => &[b"+OK hi\r\n", b"+OK\r\nSTLS\r\n.\r\n", b"+OK go\r\n"],
        (Sieve, With::ClientForTls) => &[b"STARTTLS\r\n"],
        (Sieve, With::Client) => &[b"\"SASL\" \"\"\r\nOK\r\n", b"STARTTLS\r\n"],
        (Sieve, With::Server) => &[b"\"STARTTLS\"\r\nOK\r\n", b"OK go\r\n"],
        (Ftp, With::ClientForTls) => &[b"AUTH TLS\r\n"],
        (Ftp, With::Client) => &[b"220 hi\r\n", b"AUTH TLS\r\n"],
        (Ftp, With::Server) => &[b"220 hi\r\n", b"234 go\r\n"],
        (XmppClient | XmppServer, With::ClientForTls) => &[stream.as_bytes(), starttls.as_bytes()],
        (XmppClient | XmppServer, With::Client) => {
            &[stream.as_bytes(), features.as_bytes(), starttls.as_bytes()]
        }
        (XmppClient | XmppServer, With::Server) => {
            &[stream.as_bytes(), features.as_bytes(), proceed.as_bytes()]
        }
        (Ldap, With::Server) => &[success],
        (Ldap, _) => &[start_tls],
        (Postgres, With::Server) => &[b"S"],
        (Postgres, _) => &[b"\0\0\0\x08\x04\xd2\x16\x2f"],
        (Tls | OutgoingTls | Dtls, _) => &[],
    };
    pieces.iter().map(|piece| piece.to_vec()).collect()
}

fn pieces(mut rest: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let Some(at) = rest.windows(BETWEEN.len()).position(|pair| pair == BETWEEN) {
        pieces.push(&rest[..at]);
        rest = &rest[at + BETWEEN.len()..];
    }
    pieces.push(rest);
    pieces
}

/// The beginning of a connection from a proxy.
pub fn proxy(input: &[u8]) {
    let found = parse_proxy_header(input);
    let text = || input.escape_ascii().to_string();
    let (decided, header) = match &found {
        // More is read then, up to the bound.
        Ok(None) => {
            assert!(input.len() < FIXED_BYTES + PROXY_HEADER_BYTES_MAX, "{}", text());
            return;
        }
        Ok(Some(header)) => (header.bytes, Some(header)),
        Err(_) => (input.len(), None),
    };
    assert!(
        0 < decided && decided <= input.len().min(FIXED_BYTES + PROXY_HEADER_BYTES_MAX)
            || header.is_none()
    );
    // Only the bytes of the header count, and not one of them less.
    if let Some(header) = header {
        assert_eq!(parse_proxy_header(&input[..decided]), Ok(Some(*header)), "{}", text());
        for fewer in [decided - 1, decided / 2, 1] {
            assert_eq!(parse_proxy_header(&input[..fewer]), Ok(None), "{fewer} of {}", text());
        }
    }
    // What has been refused stays refused whatever follows.
    if let Err(error) = &found {
        let longer = parse_proxy_header(&[input, b"\r\n"].concat());
        let is_line = matches!(error, HeaderError::TooLarge(_));
        assert!(longer.is_err() && (is_line || longer == found), "{}", text());
    }
}

/// What fuzzing begins with, by target and name.
pub fn clear_seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for (place, protocol) in PROTOCOLS.into_iter().enumerate() {
        for (partner, with) in PARTNERS.into_iter().enumerate() {
            let head = u8::try_from(partner << 4 | place).unwrap();
            let inside: [&[u8]; 3] =
                [b"220 hi\r\n", b"PBSZ 0\r\nPROT P\r\nUSER ann\r\n", b"331 hi\r\n"];
            let pieces = opening(protocol, with).into_iter();
            let all: Vec<Vec<u8>> = pieces.chain(inside.map(<[u8]>::to_vec)).collect();
            let input = [vec![head], all.join(&BETWEEN[..])].concat();
            seeds.push(("conversation", format!("{}-{partner}", protocol.as_str()), input));
        }
    }
    let binary = |command: u8, family: u8, body: &[u8]| {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &length, body].concat()
    };
    let v4 = [192, 0, 2, 1, 192, 0, 2, 2, 0x30, 0x39, 0x01, 0xbb];
    let fields = [&v4[..], &[4, 0, 2, 0, 0, 0x20, 0, 5, 7, 0, 0, 0, 0]].concat();
    let headers = [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n".to_vec(),
        b"PROXY UNKNOWN whatever\r\n".to_vec(),
        binary(0x20, 0, b""),
        binary(0x21, 0x11, &fields),
        binary(0x21, 0x21, &[0x20; 36]),
        binary(0x21, 0x31, &[0; 216]),
        // The checksum of this header is right.
        binary(0x21, 0x11, &[&v4[..], &[3, 0, 4, 0x3e, 0xe8, 0x86, 0xa1]].concat()),
    ];
    let named = headers.into_iter().enumerate();
    seeds.extend(named.map(|(place, header)| ("proxy", place.to_string(), header)));
    seeds
}
