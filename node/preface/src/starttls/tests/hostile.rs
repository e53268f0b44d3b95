//! Hostile clients.

use super::*;
use crate::{
    limits::{CLEAR_COMMANDS_MAX, LINE_BYTES_MAX},
    starttls::Reason,
};

/// Returns the greeting of an upstream, and the bytes by which a client starts TLS.
fn dialogue(protocol: ListenerProtocol) -> (&'static [u8], Vec<u8>) {
    use ListenerProtocol::*;
    let stream = "<stream:stream to='shop.example' version='1.0'>";
    let starttls = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
    let text = |text: &str| text.as_bytes().to_vec();
    match protocol {
        Smtp => (b"220 hi\r\n", text("STARTTLS\r\n")),
        Imap => (b"* OK hi\r\n", text("a STARTTLS\r\n")),
        Pop3 => (b"+OK hi\r\n", text("STLS\r\n")),
        Sieve => (b"\"SASL\" \"\"\r\nOK\r\n", text("STARTTLS\r\n")),
        Ftp => (b"220 hi\r\n", text("AUTH TLS\r\n")),
        XmppClient | XmppServer => (
            b"<stream:stream version='1.0'><stream:features></stream:features>",
            text(&format!("{stream}{starttls}")),
        ),
        Ldap => (b"", text("\x30\x1d\x02\x01\x01\x77\x18\u{0}\x161.3.6.1.4.1.1466.20037")),
        Postgres => (b"", b"\0\0\0\x08\x04\xd2\x16\x2f".to_vec()),
        Tls | OutgoingTls | Dtls => unreachable!(),
    }
}

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

/// Sends all of `said`; the upstream repeats its greeting whenever it is read. Returns the last
/// step.
fn say(protocol: ListenerProtocol, requires_tls: bool, said: &[u8]) -> (Step, Sides) {
    let upstream = dialogue(protocol).0;
    let mut conversation = with_client(protocol, manners(requires_tls)).unwrap();
    let mut sides = Sides::default();
    let mut said = Some(said);
    for _ in 0..CLEAR_COMMANDS_MAX + 8 {
        let step = conversation.step(&mut sides);
        match step {
            Step::Read(Who::Client) => match said.take() {
                Some(said) => sides.client.said.extend_from_slice(said),
                None => return (step, sides),
            },
            Step::Read(Who::Upstream) if sides.upstream.said.len() > 4096 => return (step, sides),
            Step::Read(Who::Upstream) if upstream.is_empty() => return (step, sides),
            Step::Read(Who::Upstream) => sides.upstream.said.extend_from_slice(upstream),
            _ => return (step, sides),
        }
    }
    panic!("{protocol:?} goes on for ever");
}

/// Returns a client's bytes for starting TLS.
fn starts(protocol: ListenerProtocol) -> Vec<u8> {
    let mut said = dialogue(protocol).1;
    if protocol == ListenerProtocol::Ldap {
        // This byte alone is not valid UTF-8, so the text above cannot contain it.
        said[7] = 0x80;
    }
    said
}

#[test]
fn commands_behind_the_start_of_tls_are_never_taken() {
    for protocol in PROTOCOLS {
        for requires_tls in [true, false] {
            let said = starts(protocol);
            let (step, sides) = say(protocol, requires_tls, &said);
            assert_eq!(step, Step::StartTls, "{protocol:?}");
            let before = sides.client.tell;
            for behind in [&b"x"[..], b"\r\n", b"RSET\r\n", &[22, 3, 1, 0, 1], &said] {
                let (step, sides) = say(protocol, requires_tls, &[&said, behind].concat());
                assert_eq!(step, Step::Close(Reason::Injected), "{protocol:?} {behind:?}");
                assert!(sides.client.said.is_empty(), "{protocol:?}: nothing is left of it");
                assert_ne!(sides.client.tell, before, "{protocol:?}: TLS is not agreed to");
                assert!(!sides.client.tell.is_empty(), "{protocol:?}: the client is told");
            }
        }
    }
}

/// Replaces, omits and doubles every byte of a conversation. TLS either starts with no bytes after
/// the command, or does not start.
#[test]
fn garbage_never_leads_to_tls_with_something_behind_it() {
    let bytes = b"\0\n\r <>{}'\"/*+-1aZ\x30\x80\x84\xff";
    let mut started = 0_u32;
    for protocol in PROTOCOLS {
        let said = [&starts(protocol)[..], b"NOOP\r\n"].concat();
        for at in 0..said.len() {
            let (before, rest) = said.split_at(at);
            let mut variants: Vec<Vec<u8>> = vec![before.to_vec(), [before, &rest[1..]].concat()];
            variants.push([before, &rest[..1], rest].concat());
            let replaced = bytes.iter().map(|byte| [before, &[*byte], &rest[1..]].concat());
            variants.extend(replaced);
            for variant in variants {
                for requires_tls in [true, false] {
                    let (step, sides) = say(protocol, requires_tls, &variant);
                    if step == Step::StartTls {
                        started += 1;
                        assert!(sides.client.said.is_empty(), "{protocol:?} {variant:?}");
                    }
                    assert!(sides.client.tell.len() < 8192, "{protocol:?}");
                }
            }
        }
    }
    assert!(started > 0, "some variants are only cut off behind the command");
}

#[test]
fn lines_and_commands_have_an_end() {
    use ListenerProtocol::{Ftp, Imap, Pop3, Sieve, Smtp};
    for protocol in [Smtp, Imap, Pop3, Sieve, Ftp] {
        for requires_tls in [true, false] {
            let long = vec![b'a'; LINE_BYTES_MAX + 1];
            let (step, sides) = say(protocol, requires_tls, &long);
            assert_eq!(step, Step::Close(Reason::TooMuch), "{protocol:?}");
            assert!(!sides.client.tell.is_empty(), "{protocol:?}");
            let (step, _) = say(protocol, requires_tls, b"GET / HTTP/1.1\r\n");
            assert_eq!(step, Step::Close(Reason::Malformed), "{protocol:?}");
        }
        let many = b"x y\r\n".repeat(CLEAR_COMMANDS_MAX + 1);
        let (step, _) = say(protocol, true, &many);
        assert_eq!(step, Step::Close(Reason::TooMuch), "{protocol:?}");
    }
    let (step, _) = say(ListenerProtocol::Ldap, true, b"\x30\x84\x7f\xff\xff\xff");
    assert_eq!(step, Step::Close(Reason::Malformed), "a length beyond all bounds");
    let (step, _) = say(ListenerProtocol::Postgres, true, &[0x7f, 0xff, 0xff, 0xff]);
    assert_eq!(step, Step::Close(Reason::Malformed), "a length beyond all bounds");
}

#[test]
fn injections_are_refused_in_whole_reads() {
    let fatal = b"421 4.7.0 data behind the command that starts TLS\r\n";
    let check = |protocol, upstream: &[u8], said: &[u8], shown: &[u8]| {
        hold(
            with_client(protocol, manners(false)).unwrap().as_mut(),
            &[Upstream(upstream), ToClient(upstream), Client(said), ToClient(shown), Over],
            usize::MAX,
        );
    };
    check(ListenerProtocol::Smtp, b"220 hi\r\n", b"STARTTLS\r\nRSET\r\n", fatal);
    at_once(
        ListenerProtocol::Postgres,
        &[
            Client(b"\0\0\0\x08\x04\xd2\x16\x2f\0"),
            ToClient(
                b"E\0\0\0\x54SFATAL\0VFATAL\0C08P01\0Mreceived unencrypted data after a request \
                  for encryption\0\0",
            ),
            Over,
        ],
    );
    outgoing_at_once(
        ListenerProtocol::Postgres,
        &[ToUpstream(b"\0\0\0\x08\x04\xd2\x16\x2f"), Upstream(b"S"), StartTls, AwaitsClient],
    );
}

/// Text before a tag of the stream is refused, however the reads split it.
#[test]
fn text_between_the_tags_of_a_stream_is_refused() {
    let (stream, end) = ("<stream:stream to='shop.example' version='1.0'>", "</stream:stream>");
    let declared = "<?xml version='1.0'?>";
    for said in [
        format!("x{stream}"),
        format!("{declared}x{stream}"),
        format!("{stream}x{end}"),
        format!("{declared} {stream} x{end}"),
    ] {
        for piece in [usize::MAX, 1] {
            let mut conversation =
                with_client(ListenerProtocol::XmppClient, manners(true)).unwrap();
            let mut sides = Sides::default();
            let mut steps = said.as_bytes().chunks(piece).map(|part| {
                sides.client.said.extend_from_slice(part);
                conversation.step(&mut sides)
            });
            let found = steps.find(|step| matches!(step, Step::Close(_)));
            assert_eq!(found, Some(Step::Close(Reason::Malformed)), "{said}");
        }
    }
}

/// The code of a reply is in its first line, not in its first bytes.
#[test]
fn a_short_line_of_a_server_of_ftp_is_a_reply() {
    let mut conversation = with_client(ListenerProtocol::Ftp, manners(false)).unwrap();
    let mut sides = Sides::default();
    assert_eq!(conversation.step(&mut sides), Step::Read(Who::Upstream));
    sides.upstream.said.extend_from_slice(b")\n2-x\n");
    assert_eq!(conversation.step(&mut sides), Step::Pass, "no greeting of FTP");
    assert_eq!(
        (shown(&sides.client.tell), shown(&sides.upstream.said)),
        (shown(b")\n"), shown(b"2-x\n"))
    );
}
