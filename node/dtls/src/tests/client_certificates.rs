//! Client certificates: accepted, refused and ignored.

use std::sync::Arc;

use super::{
    client::{Client, client_context},
    context_with, door,
    forge::{Identity, Kind},
    link::{Server, meet},
};
use crate::{ClientPolicy, Decision, Reason, Refused, State, Wrong};

struct Scene {
    root: Identity,
    shop: Identity,
    trusted: Identity,
}

fn refused(detail: &str) -> Refused {
    Refused { reason: "wrong", detail: detail.to_owned() }
}

impl Scene {
    fn new() -> Scene {
        let root = Identity::authority("root");
        let shop = Identity::issue("shop.example", Kind::P256, &root, 90);
        Scene { root, shop, trusted: Identity::authority("trusted") }
    }

    /// Accepts certificates of the trusted authority.
    fn decision(&self) -> Decision {
        let trusted = self.trusted.x509().clone();
        Arc::new(move |chain| {
            let [first, ..] = chain else { return Err(refused("nothing presented")) };
            let first = openssl::x509::X509::from_der(first).unwrap();
            let is_ours = first.verify(&trusted.public_key().unwrap()).unwrap();
            if is_ours { Ok(()) } else { Err(refused("not issued by a trusted authority")) }
        })
    }

    fn required(&self) -> ClientPolicy {
        let authorities = vec![self.trusted.subject()];
        ClientPolicy::Required { authorities, decision: self.decision() }
    }

    fn optional(&self, wrong: Wrong) -> ClientPolicy {
        let authorities = vec![self.trusted.subject()];
        ClientPolicy::Optional { authorities, decision: self.decision(), wrong }
    }

    /// Runs a handshake between a client with this certificate and a server with this policy.
    fn meet(
        &self,
        policy: ClientPolicy,
        with: Option<&Identity>,
        then: impl FnOnce(Client, Server<'_>),
    ) {
        let (door, context) = (door(), context_with(&[&self.shop], policy, b"x"));
        let mut server = Server::new(&door, &context);
        let client = client_context(&self.root, |builder| {
            if let Some(with) = with {
                builder.set_certificate(with.x509()).unwrap();
                builder.set_private_key(with.pkey()).unwrap();
                for der in &with.chain[1..] {
                    let x509 = openssl::x509::X509::from_der(der).unwrap();
                    builder.add_extra_chain_cert(x509).unwrap();
                }
            }
        });
        let mut client = Client::new(&client, "shop.example", 1400);
        meet(&mut client, &mut server);
        then(client, server);
    }
}

#[test]
fn a_trusted_certificate_opens_the_door_and_is_told_with_its_chain() {
    let scene = Scene::new();
    for kind in [Kind::P256, Kind::Rsa(2048)] {
        let good = Identity::issue("client", kind, &scene.trusted, 90);
        for policy in [scene.required(), scene.optional(Wrong::Aborts)] {
            scene.meet(policy, Some(&good), |client, server| {
                assert!(client.is_established, "{:?}", client.failure);
                let session = server.session.unwrap();
                assert_eq!(session.facts().unwrap().peer_chain, good.chain);
                assert_eq!(session.facts().unwrap().client_ignored, None);
            });
        }
    }
}

#[test]
fn without_a_required_certificate_there_is_no_session() {
    let scene = Scene::new();
    scene.meet(scene.required(), None, |client, server| {
        assert!(client.failure.is_some());
        let Some(Reason::Protocol(why)) = server.reason() else { panic!("{:?}", server.state()) };
        assert!(why.contains("did not return a certificate"), "{why}");
    });
    scene.meet(scene.optional(Wrong::Aborts), None, |client, server| {
        assert!(client.is_established);
        assert!(server.session.unwrap().facts().unwrap().peer_chain.is_empty());
    });
}

#[test]
fn a_wrong_certificate_is_refused_in_the_words_of_the_decision() {
    let scene = Scene::new();
    let stranger = Identity::authority("stranger");
    let wrong = Identity::issue("client", Kind::P256, &stranger, 90);
    for policy in [scene.required(), scene.optional(Wrong::Aborts)] {
        scene.meet(policy, Some(&wrong), |client, server| {
            assert!(client.failure.unwrap().contains("bad certificate"));
            let why = refused("not issued by a trusted authority");
            assert_eq!(server.reason(), Some(Reason::ClientCertificate(why)));
        });
    }
}

#[test]
fn a_wrong_certificate_that_is_ignored_counts_as_none() {
    let scene = Scene::new();
    let wrong = Identity::issue("client", Kind::P256, &Identity::authority("stranger"), 90);
    scene.meet(scene.optional(Wrong::IsIgnored), Some(&wrong), |client, server| {
        assert!(client.is_established, "{:?}", client.failure);
        let facts = server.session.as_ref().unwrap().facts().unwrap().clone();
        assert!(facts.peer_chain.is_empty());
        assert_eq!(facts.client_ignored, Some(refused("not issued by a trusted authority")));
    });
}

#[test]
fn a_decision_that_panics_refuses() {
    let scene = Scene::new();
    let good = Identity::issue("client", Kind::P256, &scene.trusted, 90);
    let decision: Decision = Arc::new(|_| panic!("a bug of the caller"));
    let policy = ClientPolicy::Required { authorities: vec![], decision };
    scene.meet(policy, Some(&good), |client, server| {
        assert!(client.failure.is_some() && !client.is_established);
        assert!(matches!(server.state(), Some(State::Closed(_))));
    });
}

#[test]
fn the_chain_is_told_as_the_client_sent_it() {
    let scene = Scene::new();
    // The certificates above the first are the client's claim. Only the decision judges them.
    let mut padded = Identity::issue("client", Kind::P256, &scene.trusted, 90);
    padded.chain.extend(scene.shop.chain.clone());
    scene.meet(scene.required(), Some(&padded), |client, server| {
        assert!(client.is_established);
        assert_eq!(server.session.unwrap().facts().unwrap().peer_chain, padded.chain);
    });
}
