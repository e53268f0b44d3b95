//! Resumption: tickets and their contexts.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use openssl::ssl::{SslContext, SslSession};

use super::{
    client::{Client, client_context},
    context_with, door,
    forge::{Identity, Kind},
    link::{Server, meet},
    ticket_key,
};
use crate::{
    ClientPolicy, Context, Refused, State, TicketKeys, Wrong,
    terms::{Policy, Terms},
};

struct Scene {
    root: Identity,
    shop: Identity,
    authority: Identity,
}

impl Scene {
    fn new() -> Scene {
        let root = Identity::authority("root");
        let shop = Identity::issue("shop.example", Kind::P256, &root, 90);
        Scene { root, shop, authority: Identity::authority("authority") }
    }

    fn open(&self, binding: &[u8]) -> Context {
        context_with(&[&self.shop], ClientPolicy::None, binding)
    }

    fn required(&self, binding: &[u8]) -> Context {
        let decision = Arc::new(|_: &[Vec<u8>]| Ok(()));
        let authorities = vec![self.authority.subject()];
        context_with(&[&self.shop], ClientPolicy::Required { authorities, decision }, binding)
    }

    fn client(&self, with: Option<&Identity>) -> SslContext {
        client_context(&self.root, |builder| {
            if let Some(with) = with {
                builder.set_certificate(with.x509()).unwrap();
                builder.set_private_key(with.pkey()).unwrap();
            }
        })
    }
}

fn keys(seal: u8, open: &[u8]) -> Arc<TicketKeys> {
    let open = open.iter().map(|byte| ticket_key(*byte)).collect();
    Arc::new(TicketKeys { seal: Some(ticket_key(seal)), open })
}

/// Performs a handshake. Returns the session and whether it was resumed, or none after a failure.
fn visit(
    client: &SslContext,
    context: &Context,
    tickets: Option<Arc<TicketKeys>>,
    offer: Option<&SslSession>,
) -> Option<(SslSession, bool)> {
    let door = door();
    let server = Server::new(&door, context);
    let mut server = match tickets {
        Some(tickets) => server.with_tickets(tickets),
        None => server,
    };
    let mut client = Client::resuming(client, "shop.example", 1400, offer);
    meet(&mut client, &mut server);
    let session = server.session.as_ref().unwrap();
    let Some(facts) = session.facts() else {
        println!("{:?}", session.state());
        return None;
    };
    assert!(client.is_established);
    assert_eq!(facts.is_resumed, client.is_resumed());
    client.close(); // else OpenSSL discards the session
    Some((client.session(), facts.is_resumed))
}

#[test]
fn a_ticket_resumes_on_every_node_that_has_its_key() {
    let scene = Scene::new();
    let client = scene.client(None);
    let (ticket, _) = visit(&client, &scene.open(b"shop"), Some(keys(1, &[])), None).unwrap();
    for (tickets, is_resumed) in [
        (Some(keys(1, &[])), true),
        (Some(keys(2, &[1])), true),
        (Some(keys(2, &[])), false),
        (None, false),
    ] {
        // Another context with the same settings, as on another node.
        let again = visit(&client, &scene.open(b"shop"), tickets, Some(&ticket)).unwrap();
        assert_eq!(again.1, is_resumed);
    }
}

#[test]
fn without_a_sealing_key_no_tickets_are_given() {
    let scene = Scene::new();
    let client = scene.client(None);
    for tickets in [None, Some(Arc::new(TicketKeys { seal: None, open: vec![ticket_key(1)] }))] {
        let context = scene.open(b"shop");
        let (session, _) = visit(&client, &context, tickets, None).unwrap();
        let again = visit(&client, &context, Some(keys(1, &[])), Some(&session)).unwrap();
        assert!(!again.1);
    }
}

#[test]
fn a_ticket_of_one_domain_never_opens_another() {
    let scene = Scene::new();
    let stranger = scene.client(None);
    let keys = || Some(keys(1, &[]));
    let (ticket, _) = visit(&stranger, &scene.open(b"open"), keys(), None).unwrap();
    // A context with another binding: a full handshake.
    let other = visit(&stranger, &scene.open(b"other"), keys(), Some(&ticket)).unwrap();
    assert!(!other.1);
    // A domain that requires a certificate, which this client does not have: no session.
    let closed = visit(&stranger, &scene.required(b"closed"), keys(), Some(&ticket));
    assert!(closed.is_none(), "the ticket stood in for a client certificate");
}

#[test]
fn a_changed_policy_of_the_same_domain_asks_anew() {
    let scene = Scene::new();
    let good = Identity::issue("client", Kind::P256, &scene.authority, 90);
    let client = scene.client(Some(&good));
    let keys = || Some(keys(1, &[]));
    let (ticket, _) = visit(&client, &scene.required(b"shop 1"), keys(), None).unwrap();
    let same = visit(&client, &scene.required(b"shop 1"), keys(), Some(&ticket)).unwrap();
    assert!(same.1);
    let changed = visit(&client, &scene.required(b"shop 2"), keys(), Some(&ticket)).unwrap();
    assert!(!changed.1);
}

#[test]
fn a_resumed_session_still_names_its_client() {
    let scene = Scene::new();
    let good = Identity::issue("client", Kind::P256, &scene.authority, 90);
    let client = scene.client(Some(&good));
    let context = scene.required(b"shop");
    let (ticket, _) = visit(&client, &context, Some(keys(1, &[])), None).unwrap();
    let door = door();
    let mut server = Server::new(&door, &context).with_tickets(keys(1, &[]));
    let mut client = Client::resuming(&client, "shop.example", 1400, Some(&ticket));
    meet(&mut client, &mut server);
    let facts = server.session.as_ref().unwrap().facts().unwrap().clone();
    assert!(facts.is_resumed);
    assert_eq!(facts.peer_chain, good.chain[..1]);
}

#[test]
fn a_ticket_does_not_outlive_its_client_certificate() {
    let scene = Scene::new();
    // This test's decision accepts the certificate, although it has expired.
    let expired = Identity::issue("client", Kind::P256, &scene.authority, -1);
    let client = scene.client(Some(&expired));
    let context = scene.required(b"shop");
    let (ticket, _) = visit(&client, &context, Some(keys(1, &[])), None).unwrap();
    let again = visit(&client, &context, Some(keys(1, &[])), Some(&ticket)).unwrap();
    assert!(!again.1);
}

/// A certificate, or a list above it, that has expired since: the ticket cannot know.
#[test]
fn a_client_that_is_refused_now_does_not_resume() {
    let scene = Scene::new();
    let good = Identity::issue("client", Kind::P256, &scene.authority, 90);
    let client = scene.client(Some(&good));
    let is_refused = Arc::new(AtomicBool::new(false));
    let refuses = Arc::clone(&is_refused);
    let decision = Arc::new(move |_: &[Vec<u8>]| match refuses.load(Ordering::Relaxed) {
        true => Err(Refused { reason: "expired", detail: "its list has expired".to_owned() }),
        false => Ok(()),
    });
    let policy = ClientPolicy::Required { authorities: vec![], decision };
    let context = context_with(&[&scene.shop], policy, b"shop");
    let (ticket, _) = visit(&client, &context, Some(keys(1, &[])), None).unwrap();
    assert!(visit(&client, &context, Some(keys(1, &[])), Some(&ticket)).unwrap().1);
    is_refused.store(true, Ordering::Relaxed);
    assert!(visit(&client, &context, Some(keys(1, &[])), Some(&ticket)).is_none());
}

#[test]
fn a_ticket_brings_the_certificates_between_the_client_and_its_authority() {
    let scene = Scene::new();
    let between = Identity::issue("between", Kind::P256, &scene.authority, 90);
    let good = Identity::issue("client", Kind::P256, &between, 90);
    let client = client_context(&scene.root, |builder| {
        builder.set_certificate(good.x509()).unwrap();
        builder.set_private_key(good.pkey()).unwrap();
        builder.add_extra_chain_cert(between.x509().to_owned()).unwrap();
    });
    let sent = [good.chain[0].clone(), between.chain[0].clone()];
    let decision = Arc::new(move |chain: &[Vec<u8>]| match chain == sent {
        true => Ok(()),
        false => Err(Refused { reason: "issuer", detail: format!("{} of it", chain.len()) }),
    });
    let policy = ClientPolicy::Required { authorities: vec![], decision };
    let context = context_with(&[&scene.shop], policy, b"shop");
    let (ticket, _) = visit(&client, &context, Some(keys(1, &[])), None).unwrap();
    // The second one comes under another key, so the third resumes with a ticket of the second.
    let (ticket, is_resumed) =
        visit(&client, &context, Some(keys(2, &[1])), Some(&ticket)).unwrap();
    assert!(is_resumed);
    assert!(visit(&client, &context, Some(keys(2, &[])), Some(&ticket)).unwrap().1);
}

#[test]
fn a_session_resumes_for_no_longer_than_the_settings_say_now() {
    let terms = |ticket_seconds| Terms {
        policy: Arc::new(Policy {
            decision: None,
            wrong: Wrong::Aborts,
            binding: [0; 32],
            ticket_seconds,
        }),
        tickets: None,
        unix_seconds: 10_000,
        refusal: OnceLock::new(),
        is_expired: AtomicBool::new(false),
    };
    for (made, is_resumed) in [(6_400, true), (6_399, false), (10_000, true), (10_030, true)] {
        assert_eq!(terms(3_600).resume(made, &[]), is_resumed, "{made}");
    }
    assert!(!terms(60).resume(6_400, &[]), "it was longer when the ticket was made");
}

#[test]
fn an_ignored_certificate_is_not_remembered_by_a_ticket() {
    let scene = Scene::new();
    let wrong = Identity::issue("client", Kind::P256, &scene.authority, 90);
    let no = || Refused { reason: "wrong", detail: "no".to_owned() };
    let (decision, wrong_is) = (Arc::new(move |_: &[Vec<u8>]| Err(no())), Wrong::IsIgnored);
    let policy = ClientPolicy::Optional { authorities: vec![], decision, wrong: wrong_is };
    let context = context_with(&[&scene.shop], policy, b"shop");
    let client = scene.client(Some(&wrong));
    let (ticket, _) = visit(&client, &context, Some(keys(1, &[])), None).unwrap();
    let again = visit(&client, &context, Some(keys(1, &[])), Some(&ticket)).unwrap();
    assert!(!again.1);
}

#[test]
fn plaintext_that_overtakes_the_end_of_a_resumed_handshake_is_kept() {
    let scene = Scene::new();
    let client = scene.client(None);
    let context = scene.open(b"shop");
    let (ticket, _) = visit(&client, &context, Some(keys(1, &[])), None).unwrap();
    let door = door();
    let mut server = Server::new(&door, &context).with_tickets(keys(1, &[]));
    let mut client = Client::resuming(&client, "shop.example", 1400, Some(&ticket));
    while !client.is_established {
        let there = client.outgoing();
        let back: Vec<_> = there.iter().flat_map(|datagram| server.datagram(datagram)).collect();
        back.iter().for_each(|datagram| client.datagram(datagram));
    }
    client.send(b"early");
    for datagram in client.outgoing().iter().rev() {
        server.datagram(datagram);
    }
    let session = server.session.as_mut().unwrap();
    assert_eq!(session.state(), &State::Established);
    assert_eq!(session.next_plaintext().as_deref(), Some(&b"early"[..]));
}
