//! Certificate verifiers. They differ in the peers that they accept; all check signatures by the
//! same code.

use std::{fmt, sync::Arc};

use ring::digest::{SHA256, digest};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, UnixTime},
    server::{
        ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

/// Verifies a server's signature of TLS 1.2 (RFC 5246 §7.4.3).
pub fn verified_tls12(
    provider: &CryptoProvider,
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let algorithms = &provider.signature_verification_algorithms;
    verify_tls12_signature(message, certificate, signed, algorithms)
}

/// Verifies a peer's signature of TLS 1.3 (RFC 8446 §4.4.3).
pub fn verified_tls13(
    provider: &CryptoProvider,
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let algorithms = &provider.signature_verification_algorithms;
    verify_tls13_signature(message, certificate, signed, algorithms)
}

/// Verifier of server certificates with a function that accepts or refuses.
///
/// The function gets the end-entity certificate, the intermediates as presented, the dialled name
/// and the time.
pub struct ServerVerifier<F> {
    provider: Arc<CryptoProvider>,
    schemes: Vec<SignatureScheme>,
    accept: F,
}

impl<F> ServerVerifier<F>
where
    F: Fn(
            &CertificateDer<'_>,
            &[CertificateDer<'_>],
            &ServerName<'_>,
            UnixTime,
        ) -> Result<(), Error>
        + Send
        + Sync
        + 'static,
{
    /// Returns a verifier with the function `accept`.
    pub fn new(provider: Arc<CryptoProvider>, accept: F) -> Arc<ServerVerifier<F>> {
        ServerVerifier::asking(provider, |_| true, accept)
    }

    /// The same, and asks the server for signatures of these kinds only: a server with several
    /// certificates shows the one whose key makes them.
    pub fn asking(
        provider: Arc<CryptoProvider>,
        is_wanted: impl Fn(SignatureScheme) -> bool,
        accept: F,
    ) -> Arc<ServerVerifier<F>> {
        let mut schemes = provider.signature_verification_algorithms.supported_schemes();
        schemes.retain(|scheme| is_wanted(*scheme));
        Arc::new(ServerVerifier { provider, schemes, accept })
    }
}

impl<F> fmt::Debug for ServerVerifier<F> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ServerVerifier")
    }
}

impl<F> ServerCertVerifier for ServerVerifier<F>
where
    F: Fn(
            &CertificateDer<'_>,
            &[CertificateDer<'_>],
            &ServerName<'_>,
            UnixTime,
        ) -> Result<(), Error>
        + Send
        + Sync,
{
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        (self.accept)(end_entity, intermediates, server_name, now)
            .map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verified_tls12(&self.provider, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verified_tls13(&self.provider, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// Returns a verifier for every certificate whose key the server has. For probes: the caller
/// validates the chain that the connection recorded, or only shows it.
pub fn any_certificate(provider: Arc<CryptoProvider>) -> Arc<dyn ServerCertVerifier> {
    ServerVerifier::new(provider, |_, _, _, _| Ok(()))
}

/// Returns a verifier for servers with a certificate issued by the authority with this SHA-256
/// fingerprint, for the name that is asked for. The server sends the authority's certificate along,
/// and those between, if its present authority is a later one.
pub fn issued_to(
    provider: Arc<CryptoProvider>,
    authority_fingerprint: [u8; 32],
) -> Arc<dyn ServerCertVerifier> {
    let algorithms = provider.signature_verification_algorithms.all;
    ServerVerifier::new(provider, move |end_entity, intermediates, name, now| {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verified(&parsed, intermediates, authority_fingerprint, now, algorithms)?;
        verify_server_name(&parsed, name)
    })
}

/// The same for any name: the authority issues only for the nodes of one cluster.
pub fn issued_by(
    provider: Arc<CryptoProvider>,
    authority_fingerprint: [u8; 32],
) -> Arc<dyn ServerCertVerifier> {
    let algorithms = provider.signature_verification_algorithms.all;
    ServerVerifier::new(provider, move |end_entity, intermediates, _, now| {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verified(&parsed, intermediates, authority_fingerprint, now, algorithms)
    })
}

/// Validates a chain up to the authority with this fingerprint, which must be part of it.
fn verified(
    end_entity: &ParsedCertificate<'_>,
    intermediates: &[CertificateDer<'_>],
    authority_fingerprint: [u8; 32],
    now: UnixTime,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Result<(), Error> {
    let is_authority =
        |der: &&CertificateDer<'_>| digest(&SHA256, der).as_ref() == authority_fingerprint;
    let authority =
        intermediates.iter().find(is_authority).ok_or(CertificateError::UnknownIssuer)?;
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone().into_owned())?;
    verify_server_cert_signed_by_trust_anchor(end_entity, &roots, intermediates, now, algorithms)
}

/// Verifier of client certificates for any certificate whose key the client has, and for clients
/// without one. The caller must look up the key after the handshake.
#[derive(Debug)]
pub struct AnyClientWithKey(pub Arc<CryptoProvider>);

impl ClientCertVerifier for AnyClientWithKey {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        ParsedCertificate::try_from(end_entity).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verified_tls12(&self.0, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verified_tls13(&self.0, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    use super::*;
    use crate::ring_provider;

    /// Returns an authority, and a certificate issued by it.
    fn issued() -> (CertificateDer<'static>, CertificateDer<'static>) {
        let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&authority_key).unwrap();
        let issuer = Issuer::from_params(&params, &authority_key);
        let leaf = CertificateParams::new(vec!["node-1".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &issuer).unwrap();
        (authority.der().clone(), leaf.der().clone())
    }

    fn judged(
        verifier: &dyn ServerCertVerifier,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'static>],
    ) -> Result<(), Error> {
        let name = ServerName::try_from("any.example").unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
        verifier.verify_server_cert(leaf, chain, &name, &[], now).map(drop)
    }

    #[test]
    fn an_authority_is_known_by_its_fingerprint_only() {
        let ((authority, leaf), (other, _)) = (issued(), issued());
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, &authority).as_ref());
        let verifier = issued_by(ring_provider(), fingerprint);
        let verifier = verifier.as_ref();
        assert_eq!(judged(verifier, &leaf, std::slice::from_ref(&authority)), Ok(()));
        assert!(judged(verifier, &leaf, &[]).is_err(), "the authority is not sent along");
        assert!(judged(verifier, &leaf, std::slice::from_ref(&other)).is_err());
        let (_, foreign) = issued();
        assert!(judged(verifier, &foreign, &[authority]).is_err(), "by another authority");
    }

    #[test]
    fn a_name_counts_where_it_is_asked_for() {
        let (authority, leaf) = issued();
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, &authority).as_ref());
        let verifier = issued_to(ring_provider(), fingerprint);
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
        let judged = |name: &'static str| {
            let name = ServerName::try_from(name).unwrap();
            let chain = std::slice::from_ref(&authority);
            verifier.verify_server_cert(&leaf, chain, &name, &[], now).map(drop)
        };
        assert_eq!(judged("node-1"), Ok(()));
        let other = judged("node-2").unwrap_err();
        assert!(matches!(
            other,
            Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })
        ));
    }

    #[test]
    fn an_earlier_authority_leads_to_the_next_one() {
        let keys = [(); 3].map(|()| KeyPair::generate().unwrap());
        let params = |name: &str| {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            params
        };
        let (earlier, next) = (params("earlier"), params("next"));
        let of = |params: &CertificateParams| params.self_signed(&keys[0]).unwrap().der().clone();
        let authority = of(&earlier);
        let by_earlier = Issuer::from_params(&earlier, &keys[0]);
        let cross = next.signed_by(&keys[1], &by_earlier).unwrap().der().clone();
        let leaf = CertificateParams::new(vec!["node-1".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&keys[2], &Issuer::from_params(&next, &keys[1])).unwrap();
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, &authority).as_ref());
        let verifier = issued_by(ring_provider(), fingerprint);
        let whole = [cross, authority.clone()];
        assert_eq!(judged(verifier.as_ref(), leaf.der(), &whole), Ok(()));
        assert!(judged(verifier.as_ref(), leaf.der(), &[authority]).is_err(), "no way to it");
    }

    #[test]
    fn a_probe_takes_any_certificate() {
        let (_, leaf) = issued();
        assert_eq!(judged(any_certificate(ring_provider()).as_ref(), &leaf, &[]), Ok(()));
    }
}
