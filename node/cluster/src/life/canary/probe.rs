//! Probes of a canary: handshakes with its member, as a client makes them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use conclave_store::{
    id::ListenerName,
    record::{Canary, KeyFamily, Listener},
    state::State,
};
use conclave_tls::{ServerVerifier, provider};
use futures::future::join_all;
use rustls::{ClientConfig, Error, SignatureScheme, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{
    admit,
    life::limits::{PROBE_TIME_MAX, PROBED_LISTENERS_MAX},
};

/// What a probe has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// The certificate of the canary.
    Right,
    /// Something else, in words.
    Wrong(String),
    /// Nothing, in words.
    Silent(String),
}

/// Probes all listeners of the canary's member, each for one of the domain's names: with each
/// number of a look for the next one.
pub(super) async fn all(state: &State, canary: &Canary, look: usize) -> Vec<(ListenerName, Seen)> {
    let address = state.member(&canary.node).and_then(|member| member.address.rsplit_once(':'));
    let Some((host, _)) = address else { return Vec::new() };
    let host = host.trim_matches(['[', ']']);
    let names: Vec<String> = canary.domain.server_names().map(String::from).collect();
    let names: Vec<&String> = names.iter().filter(|name| !name.starts_with('*')).collect();
    let Some(name) = names.get(look % names.len().max(1)) else { return Vec::new() };
    let listeners = state.listeners().map(|(_, listener)| listener);
    let listeners = listeners.filter(|one| admit::is_probed(state, one, host.parse().ok()));
    let probes = listeners.take(PROBED_LISTENERS_MAX).map(async |listener: &Listener| {
        (listener.name.clone(), each(host, listener.port, name, canary).await)
    });
    join_all(probes).await
}

/// Probes one listener for every certificate of the canary.
async fn each(host: &str, port: u16, name: &str, canary: &Canary) -> Seen {
    for credential in &canary.domain.credentials {
        let Some(certificate) = &credential.certificate else { continue };
        let probing = handshake(host, port, name, &certificate.der, credential.key.family);
        let seen = match tokio::time::timeout(PROBE_TIME_MAX, probing).await {
            Ok(seen) => seen,
            Err(_) => Seen::Silent(format!("{host}:{port} does not answer")),
        };
        if seen != Seen::Right {
            return seen;
        }
    }
    Seen::Right
}

/// Asks for signatures by this family of keys only, so that the certificate of that family is shown.
async fn handshake(host: &str, port: u16, name: &str, leaf: &[u8], family: KeyFamily) -> Seen {
    let wrong = |error: &dyn std::fmt::Display| {
        Seen::Wrong(format!("a handshake with {host}:{port} for {name}: {error}"))
    };
    let is_shown = Arc::new(AtomicBool::new(false));
    let (expected, shown) = (leaf.to_vec(), Arc::clone(&is_shown));
    let is_wanted = |scheme| is_rsa(scheme) == (family == KeyFamily::Rsa);
    let verifier = ServerVerifier::asking(provider(), is_wanted, move |end_entity, _, _, _| {
        let is_right = **end_entity == *expected;
        shown.store(is_right, Ordering::Release);
        is_right.then_some(()).ok_or(Error::General("it shows another certificate".to_owned()))
    });
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map(|builder| builder.dangerous())
        .map(|builder| builder.with_custom_certificate_verifier(verifier))
        .map(|builder| builder.with_no_client_auth());
    let config = match config {
        Ok(config) => config,
        Err(error) => return wrong(&error),
    };
    let server_name = match ServerName::try_from(name.to_owned()) {
        Ok(name) => name,
        Err(error) => return wrong(&error),
    };
    let stream = match TcpStream::connect((host, port)).await {
        Ok(stream) => stream,
        Err(error) => return Seen::Silent(format!("{host}:{port}: {error}")),
    };
    let connecting = TlsConnector::from(Arc::new(config)).connect(server_name, stream);
    match connecting.await {
        Ok(_) => Seen::Right,
        // The server wants a certificate of the client. rustls verifies the server's signature
        // together with its certificate, and a wrong one would be another error.
        Err(error) if is_shown.load(Ordering::Acquire) && is_alert(&error) => Seen::Right,
        Err(error) => wrong(&error),
    }
}

fn is_alert(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    matches!(inner, Some(Error::AlertReceived(_)))
}

fn is_rsa(scheme: SignatureScheme) -> bool {
    use SignatureScheme as S;
    matches!(
        scheme,
        S::RSA_PSS_SHA256
            | S::RSA_PSS_SHA384
            | S::RSA_PSS_SHA512
            | S::RSA_PKCS1_SHA256
            | S::RSA_PKCS1_SHA384
            | S::RSA_PKCS1_SHA512
    )
}
