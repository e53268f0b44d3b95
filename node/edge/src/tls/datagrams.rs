//! Settings of DTLS handshakes, translated for the DTLS engine.

use std::sync::Arc;

use conclave_dtls::{ClientPolicy as Ask, Context, Credential, Decision, Refused, Settings, Wrong};
use conclave_keys::Secret;
use conclave_system::clock;
use rustls::pki_types::CertificateDer;

use crate::tls::{ClientPolicy, Door, Policy, Sessions};

/// A certificate chain with its private key.
pub(crate) struct Shown {
    /// The end-entity certificate first.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// Private key, PKCS#8.
    pub(crate) key: Secret,
}

/// Returns whether a DTLS 1.2 handshake can use a key of this algorithm.
pub fn can_show(algorithm: &str) -> bool {
    algorithm != "Ed25519"
}

/// Makes a context for sessions that show one of `shown`. The error explains to the operator why
/// there can be none.
pub(crate) fn context(
    policy: &Policy,
    shown: &[Shown],
    door: &Door,
    sessions: Option<&Sessions>,
    client: Option<&Arc<ClientPolicy>>,
) -> Result<Context, String> {
    if !policy.allows_version_1_2() {
        return Err("the oldest accepted version is 1.3, and DTLS is 1.2 here".to_owned());
    }
    if shown.is_empty() {
        return Err("it has no key for DTLS: give it one of EC P-256, EC P-384 or RSA \
                    (clients of DTLS 1.2 cannot verify Ed25519)"
            .to_owned());
    }
    let chains: Vec<Vec<Vec<u8>>> =
        shown.iter().map(|one| one.chain.iter().map(|der| der.to_vec()).collect()).collect();
    let credentials = chains.iter().zip(shown);
    let credentials = credentials.map(|(chain, one)| Credential { chain, key: one.key.expose() });
    let credentials: Vec<_> = credentials.collect();
    let binding = sessions.map(|sessions| sessions.binding(door)).unwrap_or_default();
    let made = Context::new(Settings {
        credentials: &credentials,
        client: client.map_or(Ask::None, ask),
        cipher_suites: &policy.cipher_suites(),
        groups: &policy.groups(),
        alpn: door.alpn.clone(),
        binding: &binding,
        ticket_seconds: sessions.map_or(0, Sessions::ttl_s),
    });
    made.map_err(|error| error.to_string())
}

/// Wraps the decision of TLS handshakes. The engine calls it once for each chain of a client, and
/// again before a session resumes: the ticket is bound to all inputs of the decision but the time.
fn ask(client: &Arc<ClientPolicy>) -> Ask {
    let authorities = client.hints().map(<[u8]>::to_vec).collect();
    let judge = Arc::clone(client);
    let decision: Decision = Arc::new(move |chain| {
        let chain: Vec<_> = chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let checked = judge.check(&chain, clock::now().0 / 1_000);
        checked
            .map(|_| ())
            .map_err(|wrong| Refused { reason: wrong.reason.word(), detail: wrong.detail })
    });
    match client.is_required() {
        true => Ask::Required { authorities, decision },
        false => {
            let wrong = if client.aborts() { Wrong::Aborts } else { Wrong::IsIgnored };
            Ask::Optional { authorities, decision, wrong }
        }
    }
}
