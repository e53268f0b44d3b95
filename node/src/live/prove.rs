//! A real handshake inside the process: does this node show what State says?

use std::sync::{Arc, Mutex, PoisonError, atomic::Ordering};

use conclave_store::{id::DomainName, record::PkiMode};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, ServerConnection,
    SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::{Live, Refusal, Scope};
use crate::edge::tls::{self, CertifiedKeys};

/// Rounds of messages that no handshake exceeds.
const ROUNDS_MAX: usize = 16;

impl Live {
    /// Whether proving the domain needs a handshake, which is work for another thread.
    pub(super) fn needs_handshake(&self, scope: Scope, name: &DomainName) -> bool {
        let index = self.shared.index.load();
        index.domain(scope, name).is_some_and(|served| match served.domain.mode {
            PkiMode::Disabled => false,
            PkiMode::Test => !self.shared.test_proved.load(Ordering::Acquire),
            PkiMode::Enabled => !served.proved.load(Ordering::Acquire),
        })
    }

    /// Proves that the name leads to the domain, and that a handshake shows the chain that State
    /// has, or is refused if State says so. The error says what is wrong. A key and a chain that
    /// a handshake has shown once are not shown again until one of them changes.
    pub(super) fn prove(&self, scope: Scope, name: &DomainName) -> Result<(), String> {
        let index = self.shared.index.load_full();
        let Some(served) = index.domain(scope, name) else { return Ok(()) };
        let chosen = index.find(Some(&name.to_string()), None, &self.shared.main_domain);
        // A shared domain of the same name goes before a local one.
        if !chosen.is_some_and(|one| Arc::ptr_eq(one, served) || one.scope < scope) {
            return Err("its name leads to another domain".to_owned());
        }
        let expected = match served.domain.mode {
            PkiMode::Disabled => Vec::new(),
            PkiMode::Test => chains(&self.shared.test.certified_keys()),
            PkiMode::Enabled => served.shows().map(|(_, certificates)| certificates).collect(),
        };
        let keys = served.certified_keys(&self.shared.keyring, &self.shared.test);
        let keys = match (keys, expected.is_empty()) {
            (Ok(keys), false) => keys,
            (Err(Refusal::Disabled | Refusal::Incomplete), true) => return Ok(()),
            (Err(refusal), _) => return Err(format!("{refusal:?}")),
            (Ok(_), true) => return Err("it is served, but should be refused".to_owned()),
        };
        let proved = match served.domain.mode {
            PkiMode::Test => &self.shared.test_proved,
            PkiMode::Disabled | PkiMode::Enabled => served.proved.as_ref(),
        };
        if chains(&keys) != expected {
            return Err("it would show other certificates".to_owned());
        }
        if proved.load(Ordering::Acquire) {
            return Ok(());
        }
        for key in keys.iter() {
            let one = CertifiedKeys::new(vec![Arc::clone(key)]);
            let server = tls::config(one).map_err(|error| error.to_string())?;
            let shown = handshake(server, name).map_err(|error| error.to_string())?;
            if shown != key.cert {
                return Err("a handshake shows another certificate".to_owned());
            }
        }
        proved.store(true, Ordering::Release);
        Ok(())
    }
}

fn chains(keys: &CertifiedKeys) -> Vec<Vec<CertificateDer<'static>>> {
    keys.iter().map(|key| key.cert.clone()).collect()
}

fn handshake(
    server: Arc<rustls::ServerConfig>,
    name: &DomainName,
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let seen = Arc::new(Seen::default());
    let verifier: Arc<dyn ServerCertVerifier> = seen.clone();
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_string())
        .map_err(|_| Error::General("not a server name".to_owned()))?;
    let mut client = ClientConnection::new(Arc::new(config), name)?;
    let mut server = ServerConnection::new(server)?;
    for _ in 0..ROUNDS_MAX {
        if !client.is_handshaking() && !server.is_handshaking() {
            break;
        }
        let mut bytes = Vec::new();
        let io = |error: std::io::Error| Error::General(error.to_string());
        client.write_tls(&mut bytes).map_err(io)?;
        feed(&bytes, |input| server.read_tls(input)).map_err(io)?;
        server.process_new_packets()?;
        bytes.clear();
        while server.wants_write() {
            server.write_tls(&mut bytes).map_err(io)?;
        }
        feed(&bytes, |input| client.read_tls(input)).map_err(io)?;
        client.process_new_packets()?;
    }
    if client.is_handshaking() {
        return Err(Error::General("the handshake does not end".to_owned()));
    }
    let chain = seen.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(chain)
}

fn feed(
    mut bytes: &[u8],
    mut read: impl FnMut(&mut dyn std::io::Read) -> std::io::Result<usize>,
) -> std::io::Result<()> {
    while !bytes.is_empty() {
        read(&mut bytes)?;
    }
    Ok(())
}

/// Notes what is presented; signatures are checked, trust is not the question here.
#[derive(Debug, Default)]
struct Seen(Mutex<Vec<CertificateDer<'static>>>);

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let presented = std::iter::once(end_entity).chain(intermediates);
        let presented = presented.map(|der| der.clone().into_owned()).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = presented;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &tls::provider().signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &tls::provider().signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::provider().signature_verification_algorithms.supported_schemes()
    }
}
