//! Rules for the policies of listeners.

use std::collections::BTreeMap;

use super::*;
use crate::command::PutListener;

fn https(port: u16) -> Listener {
    Listener {
        name: ListenerName::parse("https").unwrap(),
        protocol: ListenerProtocol::Tls,
        address: None,
        port,
        upstreams: vec!["127.0.0.1:8080".to_owned()],
        domain_upstreams: BTreeMap::new(),
        requires_tls: false,
        alpn: Vec::new(),
        proxy_from: Vec::new(),
        proxy_to: None,
        outgoing: None,
    }
}

const STRICT: ListenerPolicy =
    ListenerPolicy { requires_client_certificate: true, takes_server_certificates: false };

fn put(port: u16, policy: ListenerPolicy, is_new: bool) -> Action {
    Action::PutListener(Box::new(PutListener { listener: https(port), policy, is_new }))
}

#[test]
fn a_policy_lives_and_ends_with_its_listener() {
    let mut scene = Scene::founded();
    scene.done(Action::SetLevel(LEVEL_MAX));
    let name = https(443).name;
    let row = RowKey::ListenerPolicy(name.clone());
    assert_eq!(put(443, STRICT, true).level(), 2);
    let unknown = Rejection::ListenerUnknown(name.clone());
    assert_eq!(scene.rejected(put(443, STRICT, false)), unknown);
    scene.done(put(443, STRICT, true));
    assert_eq!(scene.state.listener_policy(&name), STRICT);
    let exists = Rejection::ListenerExists(name.clone());
    assert_eq!(scene.rejected(put(443, STRICT, true)), exists);
    // Settings without a policy leave it.
    scene.done(Action::SetListener(Box::new(https(8443))));
    assert_eq!(scene.state.listener_policy(&name), STRICT);
    // The default has no row.
    scene.done(put(8443, ListenerPolicy::default(), false));
    assert!(scene.state.row(&row).is_none());
    scene.done(put(8443, STRICT, false));
    assert_eq!(scene.state.listener(&name).unwrap().port, 8443);
    scene.done(Action::RemoveListener(name.clone()));
    assert!(scene.state.row(&row).is_none(), "a later listener does not inherit it");
    scene.done(Action::AddListener(https(443)));
    assert_eq!(scene.state.listener_policy(&name), ListenerPolicy::default());
}
