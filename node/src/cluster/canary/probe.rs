//! Probes of a canary: handshakes with its member, as a client makes them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use conclave_store::{
    id::ListenerName,
    record::{Canary, Credential, KeyFamily, Listener},
    state::State,
};
use conclave_tls::{any_certificate, provider};
use futures::future::join_all;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{
    admit,
    cluster::limits::{PROBE_TIME_MAX, PROBED_LISTENERS_MAX},
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
        let Some(expected) = Expected::of(credential) else { continue };
        let expected = Arc::new(expected);
        let probing = handshake(host, port, name, &expected);
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

async fn handshake(host: &str, port: u16, name: &str, expected: &Arc<Expected>) -> Seen {
    let wrong = |error: &dyn std::fmt::Display| {
        Seen::Wrong(format!("a handshake with {host}:{port} for {name}: {error}"))
    };
    let verifier: Arc<dyn ServerCertVerifier> = Arc::<Expected>::clone(expected);
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
        // The server wants a certificate of the client, after it has shown its own.
        Err(error) if expected.is_shown.load(Ordering::Acquire) && is_alert(&error) => Seen::Right,
        Err(error) => wrong(&error),
    }
}

fn is_alert(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    matches!(inner, Some(Error::AlertReceived(_)))
}

/// A verifier that accepts one certificate only, and asks for signatures of its kind of key.
#[derive(Debug)]
struct Expected {
    leaf: Vec<u8>,
    family: KeyFamily,
    any: Arc<dyn ServerCertVerifier>,
    /// Whether the certificate was shown and its key used.
    is_shown: AtomicBool,
}

impl Expected {
    /// Returns the verifier for a credential; none if it has no certificate.
    fn of(credential: &Credential) -> Option<Expected> {
        let leaf = credential.certificate.as_ref()?.der.clone();
        let (family, any) = (credential.key.family, any_certificate(provider()));
        Some(Expected { leaf, family, any, is_shown: AtomicBool::new(false) })
    }

    fn note(&self, verified: HandshakeSignatureValid) -> HandshakeSignatureValid {
        self.is_shown.store(true, Ordering::Release);
        verified
    }
}

impl ServerCertVerifier for Expected {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match **end_entity == *self.leaf {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(Error::General("it shows another certificate".to_owned())),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.any.verify_tls12_signature(message, cert, dss).map(|verified| self.note(verified))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.any.verify_tls13_signature(message, cert, dss).map(|verified| self.note(verified))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        use SignatureScheme as S;
        let is_rsa = |scheme: &S| {
            let pss = [S::RSA_PSS_SHA256, S::RSA_PSS_SHA384, S::RSA_PSS_SHA512];
            let pkcs1 = [S::RSA_PKCS1_SHA256, S::RSA_PKCS1_SHA384, S::RSA_PKCS1_SHA512];
            pss.contains(scheme) || pkcs1.contains(scheme)
        };
        let mut schemes = self.any.supported_verify_schemes();
        schemes.retain(|scheme| is_rsa(scheme) == (self.family == KeyFamily::Rsa));
        schemes
    }
}
