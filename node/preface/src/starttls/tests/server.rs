//! Conversations with remote servers: they end in TLS or fail.

use super::*;
use crate::starttls::Reason;

#[test]
fn lines_start_tls_with_the_server_and_greet_the_client_then() {
    outgoing(
        ListenerProtocol::Smtp,
        &[
            AwaitsUpstream,
            Upstream(b"220-mail.test ESMTP\r\n220 hi\r\n"),
            ToUpstream(b"EHLO mx.example\r\n"),
            Upstream(b"250-mail.test\r\n250-SIZE\r\n250 STARTTLS\r\n"),
            ToUpstream(b"STARTTLS\r\n"),
            Upstream(b"220 go\r\n"),
            StartTls,
            ToClient(b"220 mx.example ESMTP\r\n"),
            Pass(b"", b""),
        ],
    );
    outgoing(
        ListenerProtocol::Imap,
        &[
            Upstream(b"* OK [CAPABILITY IMAP4rev1] hi\r\n"),
            ToUpstream(b"c1 CAPABILITY\r\n"),
            Upstream(b"* CAPABILITY IMAP4rev1 STARTTLS\r\nc1 OK\r\n"),
            ToUpstream(b"c2 STARTTLS\r\n"),
            Upstream(b"c2 OK go\r\n"),
            StartTls,
            ToClient(b"* OK mx.example ready\r\n"),
            Pass(b"", b""),
        ],
    );
    outgoing(
        ListenerProtocol::Pop3,
        &[
            Upstream(b"+OK <1@mail.test>\r\n"),
            ToUpstream(b"CAPA\r\n"),
            Upstream(b"+OK\r\nSTLS\r\n.\r\n"),
            ToUpstream(b"STLS\r\n"),
            Upstream(b"+OK go\r\n"),
            StartTls,
            // The greeting omits the server's timestamp, so that the client does not use APOP.
            ToClient(b"+OK mx.example POP3\r\n"),
            Pass(b"", b""),
        ],
    );
    outgoing(
        ListenerProtocol::Sieve,
        &[
            Upstream(b"\"SASL\" \"\"\r\n\"STARTTLS\"\r\nOK\r\n"),
            ToUpstream(b"STARTTLS\r\n"),
            Upstream(b"OK\r\n"),
            StartTls,
            Pass(b"", b""),
        ],
    );
    outgoing(
        ListenerProtocol::Ftp,
        &[
            Upstream(b"220 hi\r\n"),
            ToUpstream(b"AUTH TLS\r\n"),
            Upstream(b"234 go\r\n"),
            StartTls,
            ToClient(b"220 mx.example FTP\r\n"),
            Pass(b"", b""),
        ],
    );
}

#[test]
fn binary_protocols_start_tls_with_the_server() {
    let request = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
    let agreed = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00";
    outgoing(
        ListenerProtocol::Ldap,
        &[ToUpstream(request), Upstream(agreed), StartTls, Pass(b"", b"")],
    );
    let ssl = b"\0\0\0\x08\x04\xd2\x16\x2f";
    let startup = b"\0\0\0\x08\0\x03\0\0";
    outgoing(
        ListenerProtocol::Postgres,
        &[
            ToUpstream(ssl),
            Upstream(b"S"),
            StartTls,
            AwaitsClient,
            // The client's own connection to this node has no TLS.
            Client(ssl),
            ToClient(b"N"),
            Client(startup),
            Pass(startup, b""),
        ],
    );
    let header: &[u8] = b"<stream:stream to='shop.example' version='1.0'>";
    let features: &[u8] = b"<stream:stream version='1.0'><stream:features>\
        <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>";
    outgoing(
        ListenerProtocol::XmppServer,
        &[
            AwaitsClient,
            Client(header),
            ToUpstream(header),
            Upstream(features),
            ToUpstream(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
            Upstream(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
            StartTls,
            ToUpstream(header),
            Pass(b"", b""),
        ],
    );
}

/// Sends the server's bytes in turn. The conversation must end in a refusal, and the client is
/// told.
fn fails(protocol: ListenerProtocol, said: &[&[u8]]) {
    for piece in [usize::MAX, 1] {
        let mut conversation = with_server(protocol, "mx.example").unwrap();
        let mut sides = Sides::default();
        let mut step = conversation.step(&mut sides);
        if step == Step::Read(Who::Client) {
            sides.client.said.extend_from_slice(b"<stream:stream to='shop.example'>");
            step = conversation.step(&mut sides);
        }
        for part in said.iter().flat_map(|said| said.chunks(piece)) {
            assert_eq!(step, Step::Read(Who::Upstream), "{said:?}");
            sides.upstream.said.extend_from_slice(part);
            step = conversation.step(&mut sides);
            if matches!(step, Step::Close(_)) {
                break;
            }
        }
        assert!(matches!(step, Step::Close(_)), "{protocol:?} {said:?}: {step:?}");
        assert!(!sides.client.tell.is_empty(), "{protocol:?}: the client is told");
    }
}

#[test]
fn a_server_that_offers_no_tls_gets_nothing() {
    use ListenerProtocol::{Ftp, Imap, Ldap, Pop3, Postgres, Sieve, Smtp, XmppClient};
    fails(Smtp, &[b"220 hi\r\n", b"250-mail.test\r\n250 SIZE\r\n"]);
    fails(Smtp, &[b"220 hi\r\n", b"502 what?\r\n"]);
    fails(Smtp, &[b"220 hi\r\n", b"250-m\r\n250 STARTTLS\r\n", b"454 not now\r\n"]);
    fails(Smtp, &[b"554 no\r\n"]);
    fails(Imap, &[b"* OK hi\r\n", b"* CAPABILITY IMAP4rev1\r\nc1 OK\r\n"]);
    fails(Imap, &[b"* OK hi\r\n", b"* CAPABILITY STARTTLS\r\nc1 OK\r\n", b"c2 BAD no\r\n"]);
    // The oldest attack: a session that is already authenticated (RFC 3501 §6.2.1).
    fails(Imap, &[b"* PREAUTH hi\r\n"]);
    fails(Pop3, &[b"+OK hi\r\n", b"-ERR what?\r\n"]);
    fails(Pop3, &[b"+OK hi\r\n", b"+OK\r\nSTLS\r\n.\r\n", b"-ERR no\r\n"]);
    fails(Sieve, &[b"\"SASL\" \"PLAIN\"\r\nOK\r\n"]);
    fails(Ftp, &[b"220 hi\r\n", b"502 no\r\n"]);
    fails(Ldap, &[b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\x00\x04\x00"]);
    fails(Ldap, &[b"\x30\x0c\x02\x01\x02\x78\x07\x0a\x01\x00\x04\x00\x04\x00"]);
    fails(Postgres, &[b"N"]);
    fails(Postgres, &[b"E"]);
    fails(XmppClient, &[b"<stream:stream version='1.0'><stream:features/>"]);
    fails(XmppClient, &[b"<stream:stream version='1.0'><stream:error/>"]);
}

#[test]
fn nothing_that_came_before_the_handshake_is_taken_for_the_servers() {
    use ListenerProtocol::{Ftp, Imap, Ldap, Pop3, Postgres, Sieve, Smtp, XmppClient};
    let check = |protocol, said: &[&[u8]]| {
        let mut conversation = with_server(protocol, "mx.example").unwrap();
        let mut sides = Sides::default();
        let mut step = conversation.step(&mut sides);
        if step == Step::Read(Who::Client) {
            sides.client.said.extend_from_slice(b"<stream:stream to='shop.example'>");
            step = conversation.step(&mut sides);
        }
        for said in said {
            assert_eq!(step, Step::Read(Who::Upstream));
            sides.upstream.said.extend_from_slice(said);
            step = conversation.step(&mut sides);
        }
        assert_eq!(step, Step::Close(Reason::Injected), "{protocol:?} {said:?}");
    };
    let offers: [&[u8]; 2] = [b"220 hi\r\n", b"250-m\r\n250 STARTTLS\r\n"];
    check(Smtp, &[offers[0], offers[1], b"220 go\r\n250 you said\r\n"]);
    check(Smtp, &[b"220 hi\r\n250-m\r\n250 STARTTLS\r\n220 go\r\n"]);
    let offers: [&[u8]; 2] = [b"* OK hi\r\n", b"* CAPABILITY STARTTLS\r\nc1 OK\r\n"];
    check(Imap, &[offers[0], offers[1], b"c2 OK go\r\n* OK more\r\n"]);
    check(Pop3, &[b"+OK hi\r\n", b"+OK\r\nSTLS\r\n.\r\n", b"+OK go\r\n+OK\r\n"]);
    check(Sieve, &[b"\"STARTTLS\"\r\nOK\r\n", b"OK\r\n\"SASL\" \"PLAIN\"\r\n"]);
    check(Ftp, &[b"220 hi\r\n", b"234 go\r\n230 in\r\n"]);
    check(Postgres, &[b"SR"]);
    check(Ldap, &[b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00\x30"]);
    let features = b"<stream:stream version='1.0'><stream:features>\
        <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>";
    check(XmppClient, &[features, b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><a/>"]);
}
