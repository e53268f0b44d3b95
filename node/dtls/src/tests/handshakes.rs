//! Handshakes: the certificates shown, and the data passed afterwards.

use openssl::ssl::SslVersion;

use super::{
    client::{Client, client_context},
    context, door,
    forge::{Identity, Kind},
    link::{Server, meet},
    settings,
};
use crate::{
    Alert, Answer, Connector, Context, ContextError, Credential, Reason, SendError, Session,
    Settings, State, limits,
};

fn check(kind: Kind, cipher_begins: &str) {
    let root = Identity::authority("root");
    let shop = Identity::issue("shop.example", kind, &root, 90);
    let (door, context) = (door(), context(&[&shop]));
    let mut server = Server::new(&door, &context);
    let mut client = Client::new(&client_context(&root, |_| {}), "Shop.Example", 1400);
    meet(&mut client, &mut server);
    assert!(client.is_established, "{kind:?}: {:?}", client.failure);
    assert_eq!(client.server_chain(), shop.chain);
    let session = server.session.as_mut().unwrap();
    let facts = session.facts().unwrap();
    assert_eq!(facts.version, "DTLSv1.2");
    assert!(facts.cipher.starts_with(cipher_begins), "{}", facts.cipher);
    assert_eq!(facts.server_name.as_deref(), Some("shop.example"));
    assert!(!facts.is_resumed && facts.peer_chain.is_empty() && facts.alpn.is_none());
    assert_eq!(session.next_timer(), None, "nothing is to be repeated");
}

#[test]
fn every_allowed_key_completes_a_handshake() {
    check(Kind::P256, "TLS_ECDHE_ECDSA_WITH_");
    check(Kind::P384, "TLS_ECDHE_ECDSA_WITH_");
    check(Kind::Rsa(2048), "TLS_ECDHE_RSA_WITH_");
    check(Kind::Rsa(4096), "TLS_ECDHE_RSA_WITH_");
}

#[test]
fn plaintext_goes_both_ways_and_close_notify_ends_it() {
    let root = Identity::authority("root");
    let shop = Identity::issue("shop.example", Kind::P256, &root, 90);
    let (door, context) = (door(), context(&[&shop]));
    let mut server = Server::new(&door, &context);
    let mut client = Client::new(&client_context(&root, |_| {}), "shop.example", 1400);
    meet(&mut client, &mut server);
    let large = vec![b'x'; limits::PLAINTEXT_BYTES_MAX];
    for plaintext in [&b"one"[..], b"two", &large] {
        client.send(plaintext);
    }
    meet(&mut client, &mut server);
    let session = server.session.as_mut().unwrap();
    for plaintext in [&b"one"[..], b"two", &large] {
        assert_eq!(session.next_plaintext().as_deref(), Some(plaintext));
        session.send(plaintext).unwrap();
    }
    assert_eq!(session.next_plaintext(), None);
    let long = session.send(&vec![0; limits::PLAINTEXT_BYTES_MAX + 1]);
    assert!(matches!(long, Err(SendError::TooLong { .. })));
    meet(&mut client, &mut server);
    assert_eq!(client.plaintext, [&b"one"[..], b"two", &large]);
    client.send(b"three");
    client.send(b"four");
    server.datagram(&client.outgoing().concat()); // two records in one datagram
    let session = server.session.as_mut().unwrap();
    assert_eq!(session.next_plaintext().as_deref(), Some(&b"three"[..]));
    assert_eq!(session.next_plaintext().as_deref(), Some(&b"four"[..]));
    client.close();
    meet(&mut client, &mut server);
    assert_eq!(server.reason(), Some(Reason::Peer));
    let session = server.session.as_mut().unwrap();
    assert_eq!(session.send(b"late"), Err(SendError::NotEstablished));
}

#[test]
fn a_closed_session_says_close_notify() {
    let root = Identity::authority("root");
    let shop = Identity::issue("shop.example", Kind::P256, &root, 90);
    let (door, context) = (door(), context(&[&shop]));
    let mut server = Server::new(&door, &context);
    let mut client = Client::new(&client_context(&root, |_| {}), "shop.example", 1400);
    meet(&mut client, &mut server);
    server.session.as_mut().unwrap().close();
    assert_eq!(server.reason(), Some(Reason::Node));
    meet(&mut client, &mut server);
    assert!(client.is_closed);
}

#[test]
fn a_handshake_can_be_given_up() {
    let root = Identity::authority("root");
    let shop = Identity::issue("shop.example", Kind::P256, &root, 90);
    let (door, context) = (door(), context(&[&shop]));
    let mut server = Server::new(&door, &context);
    let mut client = Client::new(&client_context(&root, |_| {}), "shop.example", 1400);
    let reply = server.datagram(&client.outgoing()[0]).remove(0);
    client.datagram(&reply);
    let flight = server.datagram(&client.outgoing()[0]);
    let session = server.session.as_mut().unwrap();
    session.close();
    assert_eq!((session.state(), session.next_timer()), (&State::Closed(Reason::Node), None));
    flight.iter().for_each(|datagram| client.datagram(datagram));
    meet(&mut client, &mut server); // late datagrams have no receiver
    assert!(!client.is_established && server.session.unwrap().facts().is_none());
}

#[test]
fn contexts_are_shared_by_threads_and_sessions_move_between_them() {
    fn is_shared<T: Send + Sync>() {}
    fn moves<T: Send>() {}
    is_shared::<Context>();
    is_shared::<crate::Door>();
    is_shared::<Connector>();
    moves::<Box<dyn Session>>();
}

#[test]
fn each_client_is_shown_the_certificate_that_it_can_verify() {
    let root = Identity::authority("root");
    let ec = Identity::issue("shop.example", Kind::P256, &root, 90);
    let other_root = Identity::authority("other root");
    let rsa = Identity::issue("shop.example", Kind::Rsa(2048), &other_root, 90);
    let (door, context) = (door(), context(&[&ec, &rsa]));
    for (ciphers, root, shown) in [
        ("ECDHE-ECDSA-AES128-GCM-SHA256", &root, &ec),
        ("ECDHE-RSA-AES128-GCM-SHA256", &other_root, &rsa),
    ] {
        let mut server = Server::new(&door, &context);
        let client = client_context(root, |builder| builder.set_cipher_list(ciphers).unwrap());
        let mut client = Client::new(&client, "shop.example", 1400);
        meet(&mut client, &mut server);
        assert!(client.is_established, "{:?}", client.failure);
        assert_eq!(client.server_chain(), shown.chain, "each with its own chain");
    }
}

#[test]
fn ed25519_is_refused_by_name() {
    let root = Identity::authority("root");
    let shop = Identity::issue("shop.example", Kind::Ed25519, &root, 90);
    let credentials = [Credential { chain: &shop.chain, key: &shop.key }];
    let refused = Context::new(settings(&credentials)).err().unwrap();
    assert!(matches!(refused, ContextError::Ed25519), "{refused}");
}

#[test]
fn cipher_suites_and_groups_are_those_that_the_settings_name() {
    let root = Identity::authority("root");
    let shop = Identity::issue("shop.example", Kind::P256, &root, 90);
    let credentials = [Credential { chain: &shop.chain, key: &shop.key }];
    let make = |suites: &[&str], groups: &[&str]| {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (cipher_suites, groups): (Vec<_>, Vec<_>) = (names(suites), names(groups));
        let settings = settings(&credentials);
        Context::new(Settings { cipher_suites: &cipher_suites, groups: &groups, ..settings })
    };
    // The server's first choice wins, whatever the client prefers. Names of TLS 1.3 are skipped.
    let wanted = [
        "TLS13_AES_128_GCM_SHA256",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    ];
    let (door, context) = (door(), make(&wanted, &["X25519MLKEM768", "secp384r1"]).unwrap());
    for (groups, is_established) in [("P-256:P-384", true), ("P-256", false)] {
        let client = client_context(&root, |builder| builder.set_groups_list(groups).unwrap());
        let mut server = Server::new(&door, &context);
        let mut client = Client::new(&client, "shop.example", 1400);
        meet(&mut client, &mut server);
        let facts = server.session.as_ref().unwrap().facts();
        assert_eq!(facts.map(|facts| facts.cipher.as_str()), is_established.then_some(wanted[1]));
    }
    for nothing in [make(&["TLS_RSA_WITH_AES_128_CBC_SHA"], &[]), make(&[], &["sect163k1"])] {
        assert!(matches!(nothing, Err(ContextError::NothingKnown { .. })));
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let root = Identity::authority("root");
    let shop = Identity::issue("shop.example", Kind::P256, &root, 90);
    let other = Identity::issue("shop.example", Kind::P256, &root, 90);
    let refuse =
        |credentials: &[Credential<'_>]| Context::new(settings(credentials)).err().unwrap();
    let mixed = refuse(&[Credential { chain: &shop.chain, key: &other.key }]);
    assert!(matches!(mixed, ContextError::Unusable(_)), "{mixed}");
    let shop = || Credential { chain: &shop.chain, key: &shop.key };
    let twice = refuse(&[shop(), shop()]);
    assert!(matches!(twice, ContextError::SameType), "{twice}");
    assert!(matches!(refuse(&[]), ContextError::NoCredential));
}

#[test]
fn application_protocols_are_chosen_or_refused() {
    let root = Identity::authority("root");
    let shop = Identity::issue("shop.example", Kind::P256, &root, 90);
    let (door, context) = (door(), context(&[&shop]));
    for (offer, chosen) in [(&b"\x02h2\x04coap"[..], Some(&b"coap"[..])), (b"\x02h2", None)] {
        let mut server = Server::new(&door, &context);
        let client = client_context(&root, |builder| builder.set_alpn_protos(offer).unwrap());
        let mut client = Client::new(&client, "shop.example", 1400);
        meet(&mut client, &mut server);
        let facts = server.session.as_ref().unwrap().facts();
        assert_eq!(facts.and_then(|facts| facts.alpn.as_deref()), chosen);
        let failure = client.failure.unwrap_or_default();
        assert_eq!(chosen.is_none(), failure.contains("no application protocol"), "{failure}");
    }
}

#[test]
fn dtls_1_0_is_refused_with_an_alert_once_the_address_is_proven() {
    let root = Identity::authority("root");
    let shop = Identity::issue("shop.example", Kind::P256, &root, 90);
    let (door, context) = (door(), context(&[&shop]));
    let mut server = Server::new(&door, &context);
    let client = client_context(&root, |builder| {
        builder.set_security_level(0);
        builder.set_cipher_list("ALL:@SECLEVEL=0").unwrap();
        builder.set_min_proto_version(Some(SslVersion::DTLS1)).unwrap();
        builder.set_max_proto_version(Some(SslVersion::DTLS1)).unwrap();
    });
    let mut client = Client::new(&client, "shop.example", 1400);
    meet(&mut client, &mut server);
    assert!(client.failure.unwrap().contains("protocol version"));
    assert!(matches!(server.reason(), Some(Reason::Protocol(why)) if why.contains("protocol")));
}

#[test]
fn a_hello_without_a_context_is_refused_with_an_alert() {
    let root = Identity::authority("root");
    let door = door();
    for (alert, words) in [
        (Alert::AccessDenied, "access denied"),
        (Alert::UnrecognisedName, "unrecognized name"),
        (Alert::InternalError, "internal error"),
    ] {
        let mut client = Client::new(&client_context(&root, |_| {}), "shop.example", 1400);
        let address = "192.0.2.1:40000".parse().unwrap();
        let Answer::Verify(reply) = door.answer(address, &client.outgoing()[0]) else { panic!() };
        client.datagram(&reply);
        let Answer::Proven(hello) = door.answer(address, &client.outgoing()[0]) else { panic!() };
        client.datagram(&hello.refuse(alert));
        let failure = client.failure.unwrap();
        assert!(failure.contains(words), "{failure}");
    }
}

#[test]
fn the_connector_shows_who_is_there() {
    let root = Identity::authority("root");
    let shop = Identity::issue("shop.example", Kind::P256, &root, 90);
    let (door, context) = (door(), context(&[&shop]));
    let mut server = Server::new(&door, &context);
    let now = std::time::Instant::now();
    let connector = Connector::new(&[]).unwrap();
    let mut client = connector.connect(Some("shop.example"), now, 1500).unwrap();
    let carry = |client: &mut Box<dyn Session>, server: &mut Server<'_>| {
        while let Some(datagram) = client.next_datagram() {
            server.datagram(&datagram).iter().for_each(|back| client.datagram(now, back));
        }
        server.outgoing().iter().for_each(|back| client.datagram(now, back));
    };
    carry(&mut client, &mut server);
    assert_eq!(client.facts().unwrap().peer_chain, shop.chain);
    client.send(b"ping").unwrap();
    carry(&mut client, &mut server);
    let session = server.session.as_mut().unwrap();
    assert_eq!(session.next_plaintext().as_deref(), Some(&b"ping"[..]));
    session.close();
    carry(&mut client, &mut server);
    assert_eq!(client.state(), &State::Closed(Reason::Peer));
}

#[test]
fn garbage_changes_nothing() {
    let root = Identity::authority("root");
    let shop = Identity::issue("shop.example", Kind::P256, &root, 90);
    let (door, context) = (door(), context(&[&shop]));
    let mut server = Server::new(&door, &context);
    let mut client = Client::new(&client_context(&root, |_| {}), "shop.example", 1400);
    meet(&mut client, &mut server);
    client.send(b"sealed");
    let sealed = client.outgoing().remove(0);
    let mut broken = sealed.clone();
    *broken.last_mut().unwrap() ^= 1;
    for garbage in [&b""[..], b"\x17", b"no record", &[0xFF; 1400], &sealed[..20], &broken] {
        assert!(server.datagram(garbage).is_empty());
        assert_eq!(server.state(), Some(&State::Established));
    }
    server.datagram(&sealed);
    server.datagram(&sealed); // a replay
    let session = server.session.as_mut().unwrap();
    assert_eq!(session.next_plaintext().as_deref(), Some(&b"sealed"[..]));
    assert_eq!(session.next_plaintext(), None);
}

#[test]
fn a_client_that_restarts_on_its_port_replaces_its_session_after_the_cookie() {
    let root = Identity::authority("root");
    let shop = Identity::issue("shop.example", Kind::P256, &root, 90);
    let (door, context) = (door(), context(&[&shop]));
    let mut server = Server::new(&door, &context);
    let client = client_context(&root, |_| {});
    let mut first = Client::new(&client, "shop.example", 1400);
    meet(&mut first, &mut server);
    let mut second = Client::new(&client, "shop.example", 1400);
    for datagram in second.outgoing() {
        let reply = server.datagram(&datagram);
        assert_eq!(server.sessions, 1, "an unproven hello disturbs nobody");
        reply.iter().for_each(|reply| second.datagram(reply));
    }
    meet(&mut second, &mut server);
    assert!(second.is_established && server.sessions == 2);
}

#[test]
fn the_answer_goes_on_from_the_record_number_of_the_hello() {
    let root = Identity::authority("root");
    let shop = Identity::issue("shop.example", Kind::P256, &root, 90);
    let (door, context) = (door(), context(&[&shop]));
    let mut server = Server::new(&door, &context);
    let mut client = Client::new(&client_context(&root, |_| {}), "shop.example", 1400);
    // The client retransmits its first hello twice before the first answer, and then sees three
    // answers. It must not take the ServerHello for a replay of one of them.
    let mut hellos = client.outgoing();
    while hellos.len() < 3 {
        let now = std::time::Instant::now();
        let due = client.next_timer(now).unwrap();
        std::thread::park_timeout(due.saturating_duration_since(now));
        client.timer();
        hellos.extend(client.outgoing());
    }
    for (number, hello) in (0..).zip(&hellos) {
        let reply = server.datagram(hello).remove(0);
        assert_eq!(reply[10], number, "the answer has the record number of its hello");
        client.datagram(&reply);
    }
    let proven = client.outgoing().remove(0);
    let flight = server.datagram(&proven);
    assert_eq!(flight[0][3..11], [0, 0, 0, 0, 0, 0, 0, 3], "RFC 6347 §4.2.1");
    flight.iter().for_each(|datagram| client.datagram(datagram));
    meet(&mut client, &mut server);
    assert!(client.is_established, "{:?}", client.failure);
}
