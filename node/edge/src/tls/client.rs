//! Client certificates: the policy of a domain, and the check during a handshake.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use conclave_pki::{
    builtin,
    certificate::Certificate,
    crl::Crl,
    verify::{self, Purpose, Reason, Request, Rules},
};
use conclave_store::{
    id::Fingerprint,
    record::{Domain, ListenerPolicy, TlsSettings, TrustSet},
    state::State,
    time::UnixMillis,
};
use conclave_tls::{provider, verified_tls12};
use ring::digest;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::verify_tls13_signature_with_raw_key,
    pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};

use super::{Door, RevocationList, tickets};
use crate::tls::limits::PEER_CHAIN_MAX;

/// The identity of an authenticated client. All text comes from its certificate: escape it before
/// display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientIdentity {
    /// The certificate.
    pub(crate) certificate_der: Vec<u8>,
    /// Its subject (RFC 4514).
    pub(crate) subject: String,
    /// The common name of the subject.
    pub(crate) common_name: Option<String>,
    /// E-mail addresses of the subject alternative names.
    pub(crate) emails: Vec<String>,
    /// Its issuer (RFC 4514).
    pub(crate) issuer: String,
    /// SHA-256 of the certificate, lower-case hex.
    pub(crate) fingerprint: String,
    /// Whether the certificate is valid by the domain's trust and was issued by the chosen
    /// certificate.
    pub(crate) is_verified: bool,
}

/// Why a client certificate is not accepted; each reason has a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WrongReason {
    /// It, or a certificate above it, is outside its validity period.
    Expired,
    /// A revocation list names it or a certificate above it.
    Revoked,
    /// No path leads from it to the chosen certificate.
    Issuer,
    /// Its extended key usage excludes clients.
    Purpose,
    /// A signature is wrong.
    Signature,
    /// It breaks another rule or cannot be parsed.
    Malformed,
    /// An applicable revocation list cannot be used.
    Crl,
}

impl WrongReason {
    /// All reasons, in the order of their counters.
    pub(crate) const ALL: [WrongReason; 7] = [
        WrongReason::Expired,
        WrongReason::Revoked,
        WrongReason::Issuer,
        WrongReason::Purpose,
        WrongReason::Signature,
        WrongReason::Malformed,
        WrongReason::Crl,
    ];

    /// Returns one word for logs and counters.
    pub(crate) fn word(self) -> &'static str {
        match self {
            WrongReason::Expired => "client_certificate_expired",
            WrongReason::Revoked => "client_certificate_revoked",
            WrongReason::Issuer => "client_certificate_issuer",
            WrongReason::Purpose => "client_certificate_purpose",
            WrongReason::Signature => "client_certificate_signature",
            WrongReason::Malformed => "client_certificate_malformed",
            WrongReason::Crl => "client_certificate_crl",
        }
    }
}

/// A rejected client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) reason: WrongReason,
    /// Explanation in words; names from the certificate are escaped.
    pub(crate) detail: String,
}

impl Wrong {
    fn malformed(detail: impl ToString) -> Wrong {
        Wrong { reason: WrongReason::Malformed, detail: detail.to_string() }
    }

    /// Returns the rustls error for the matching alert of RFC 8446 §6.2.
    fn error(&self) -> Error {
        Error::InvalidCertificate(match self.reason {
            WrongReason::Expired => CertificateError::Expired,
            WrongReason::Revoked => CertificateError::Revoked,
            WrongReason::Issuer => CertificateError::UnknownIssuer,
            WrongReason::Purpose => CertificateError::InvalidPurpose,
            // bad_certificate: "corrupt, contained signatures that did not verify correctly".
            WrongReason::Signature | WrongReason::Malformed => CertificateError::BadEncoding,
            WrongReason::Crl => CertificateError::UnknownRevocationStatus,
        })
    }
}

impl From<verify::Refused> for Wrong {
    fn from(refused: verify::Refused) -> Wrong {
        let reason = match refused.reason {
            Reason::Dates => WrongReason::Expired,
            Reason::Revoked => WrongReason::Revoked,
            Reason::NoPath => WrongReason::Issuer,
            Reason::Signature => WrongReason::Signature,
            Reason::Crl => WrongReason::Crl,
            _ if refused.rule == "RFC 5280 §4.2.1.12" => WrongReason::Purpose,
            _ => WrongReason::Malformed,
        };
        Wrong { reason, detail: format!("{}: {}", refused.at_fault, refused.detail) }
    }
}

/// The client-certificate policy of a domain, as it holds on a listener; cheap to clone.
#[derive(Clone)]
pub(crate) struct ClientPolicy {
    trust: Arc<Trust>,
    is_required: bool,
    takes_servers: bool,
    aborts: bool,
}

/// The part of a policy that is the same on every listener.
struct Trust {
    /// The chosen certificate alone. It is trusted itself, so every valid path both leads to a
    /// trusted certificate and was issued by the chosen one. Empty if the certificate is no longer
    /// trusted, or if a revocation list cannot be read.
    anchors: Vec<Certificate>,
    /// Authorities among the trusted certificates, as intermediates. Clients need not send them.
    known: Vec<Certificate>,
    crls: Vec<Crl>,
    hints: Vec<DistinguishedName>,
    digest: [u8; 32],
}

impl ClientPolicy {
    /// Returns the policy of a domain, or none if the domain asks for no certificate. `state` must
    /// be the State that holds the domain, because the system set of that scope applies;
    /// `system_lists` are the revocation lists of that set.
    pub(crate) fn of(
        state: &State,
        domain: &Domain,
        settings: &TlsSettings,
        system_lists: &[RevocationList],
    ) -> Option<ClientPolicy> {
        let asked = domain.client_auth?;
        let sets = [TrustSet::Domain(domain.id), TrustSet::System];
        let mut hash = digest::Context::new(&digest::SHA256);
        let aborts = settings.abort_on_wrong_client_certificate;
        tickets::add(&mut hash, &asked.issuer.0);
        tickets::add(&mut hash, &[u8::from(asked.is_required), u8::from(aborts)]);
        let (mut known, mut crls) = (Vec::new(), Vec::new());
        let mut is_readable = true;
        for set in &sets {
            for (_, trusted) in state.trusted(set) {
                tickets::add(&mut hash, &trusted.der);
                known.extend(Certificate::from_der(&trusted.der).ok());
            }
            let own: Vec<RevocationList>;
            let lists = match set {
                TrustSet::System => system_lists,
                TrustSet::Domain(_) => {
                    own = RevocationList::of(state, set).collect();
                    &own
                }
            };
            for list in lists {
                tickets::add(&mut hash, &list.mark);
                is_readable &= list.crl.is_some();
                crls.extend(list.crl.clone());
            }
        }
        let is_chosen = |one: &&Certificate| Fingerprint::of(one.der()) == asked.issuer;
        let chosen = known.iter().find(is_chosen);
        let chosen = chosen.or_else(|| builtin::certificates().iter().find(is_chosen)).cloned();
        known.retain(|one| one.is_authority() && !is_chosen(&one));
        let subject = chosen.as_ref().and_then(Certificate::subject_der);
        let mut digest = [0; 32];
        digest.copy_from_slice(hash.finish().as_ref());
        let trust = Trust {
            anchors: chosen.filter(|_| is_readable).into_iter().collect(),
            known,
            crls,
            hints: subject.map(DistinguishedName::from).into_iter().collect(),
            digest,
        };
        let is_required = asked.is_required;
        Some(ClientPolicy { trust: trust.into(), is_required, takes_servers: false, aborts })
    }

    /// Returns the policy as it holds for clients of a listener.
    pub(crate) fn at(self: &Arc<Self>, door: &Door) -> Arc<ClientPolicy> {
        if door.policy == ListenerPolicy::default() {
            return Arc::clone(self);
        }
        let mut policy = ClientPolicy::clone(self);
        policy.is_required |= door.policy.requires_client_certificate;
        policy.takes_servers = door.policy.takes_server_certificates;
        Arc::new(policy)
    }

    /// Returns the hash of everything that the decision depends on; sessions are bound to it.
    pub(super) fn digest(&self) -> &[u8] {
        &self.trust.digest
    }

    /// Returns whether a wrong certificate ends the handshake. This also holds if a certificate is
    /// required: otherwise the client would be told that it sent none.
    pub(crate) fn aborts(&self) -> bool {
        self.aborts || self.is_required
    }

    /// Returns whether a handshake without a certificate fails.
    pub(crate) fn is_required(&self) -> bool {
        self.is_required
    }

    /// Returns the subjects of the accepted authorities, DER.
    pub(crate) fn hints(&self) -> impl Iterator<Item = &[u8]> {
        self.trust.hints.iter().map(AsRef::as_ref)
    }

    /// Returns the identity in a certificate that was accepted earlier.
    pub(crate) fn accepted(certificate_der: &[u8]) -> Result<ClientIdentity, Wrong> {
        Certificate::from_der(certificate_der).map(|leaf| identity(&leaf)).map_err(Wrong::malformed)
    }

    /// Checks a client's chain at a time in seconds since 1970. Returns the identity and the expiry
    /// of the certificate.
    pub(crate) fn check(
        &self,
        chain: &[CertificateDer<'_>],
        at: u64,
    ) -> Result<(ClientIdentity, UnixMillis), Wrong> {
        if chain.len() > PEER_CHAIN_MAX {
            return Err(Wrong::malformed("more certificates than any honest chain has"));
        }
        let read = |der: &CertificateDer<'_>| Certificate::from_der(der).map_err(Wrong::malformed);
        let (leaf, others) =
            chain.split_first().ok_or_else(|| Wrong::malformed("no certificate"))?;
        let leaf = read(leaf)?;
        let mut intermediates = others.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        intermediates.extend(self.trust.known.iter().cloned());
        let judge = |purpose| {
            verify::verify(&Request {
                certificate: &leaf,
                intermediates: &intermediates,
                anchors: &self.trust.anchors,
                crls: &self.trust.crls,
                is_list_required: false,
                purpose,
                name: None,
                at,
                rules: Rules::Path,
                depth: None,
            })
            .map_err(Wrong::from)
        };
        match judge(Purpose::Client) {
            Err(wrong) if self.takes_servers && wrong.reason == WrongReason::Purpose => {
                judge(Purpose::Server)?
            }
            judged => judged?,
        };
        let until = UnixMillis(leaf.not_after().saturating_mul(1_000));
        Ok((identity(&leaf), until))
    }
}

fn identity(leaf: &Certificate) -> ClientIdentity {
    ClientIdentity {
        certificate_der: leaf.der().to_vec(),
        subject: leaf.subject(),
        common_name: leaf.common_name(),
        emails: leaf.emails(),
        issuer: leaf.issuer(),
        fingerprint: Fingerprint::of(leaf.der()).to_string(),
        is_verified: true,
    }
}

/// The client-certificate verifier of one connection.
#[derive(Clone)]
pub(crate) struct Asking(Arc<Asked>);

struct Asked {
    policy: Arc<ClientPolicy>,
    answer: OnceLock<Result<ClientIdentity, Wrong>>,
    /// Expiry of the sessions of this connection, in milliseconds since 1970.
    until: AtomicU64,
}

impl std::fmt::Debug for Asking {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Asking")
    }
}

impl Asking {
    pub(crate) fn new(policy: Arc<ClientPolicy>) -> Asking {
        let (answer, until) = (OnceLock::new(), AtomicU64::new(u64::MAX));
        Asking(Arc::new(Asked { policy, answer, until }))
    }

    pub(crate) fn policy(&self) -> &ClientPolicy {
        &self.0.policy
    }

    /// Returns the verdict about the certificate shown in this handshake, if one was shown.
    pub(crate) fn answer(&self) -> Option<&Result<ClientIdentity, Wrong>> {
        self.0.answer.get()
    }

    /// Returns the expiry for new sessions. None forbids resumption, because the certificate was
    /// wrong.
    pub(super) fn session_until(&self) -> Option<UnixMillis> {
        match self.answer() {
            Some(Err(_)) => None,
            _ => Some(UnixMillis(self.0.until.load(Ordering::Relaxed))),
        }
    }

    /// Caps this connection's sessions at the resumed session's expiry.
    pub(super) fn resumes_until(&self, until: UnixMillis) {
        self.0.until.fetch_min(until.0, Ordering::Relaxed);
    }
}

impl ClientCertVerifier for Asking {
    fn client_auth_mandatory(&self) -> bool {
        self.0.policy.is_required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.0.policy.trust.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain: Vec<_> = std::iter::once(end_entity).chain(intermediates).cloned().collect();
        let checked = self.0.policy.check(&chain, now.as_secs()).map(|(identity, until)| {
            self.resumes_until(until);
            identity
        });
        let ended = match &checked {
            Err(wrong) if self.0.policy.aborts() => Err(wrong.error()),
            _ => Ok(ClientCertVerified::assertion()),
        };
        // rustls asks only once per connection, so the cell is still empty.
        let _ = self.0.answer.set(checked);
        ended
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verified_tls12(&provider(), message, cert, dss)
    }

    /// Verifies with the bare key. rustls would apply its own rules to the certificate; ours
    /// already decided.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let cert = Certificate::from_der(cert)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let key = SubjectPublicKeyInfoDer::from(cert.public_key_der());
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
        KeyPair, SanType,
    };
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

    use super::*;

    pub(in crate::tls) struct Authority {
        issuer: Issuer<'static, KeyPair>,
        der: CertificateDer<'static>,
        above: Vec<CertificateDer<'static>>,
    }

    pub(in crate::tls) struct Identity {
        pub(in crate::tls) chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    }

    impl Identity {
        pub(in crate::tls) fn own(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
            (self.chain.clone(), self.key.clone_key())
        }
    }

    fn authority_params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    pub(in crate::tls) fn authority(name: &str) -> Authority {
        let (params, key) = (authority_params(name), KeyPair::generate().unwrap());
        let der = params.self_signed(&key).unwrap().der().clone();
        Authority { issuer: Issuer::new(params, key), der, above: Vec::new() }
    }

    impl Authority {
        pub(in crate::tls) fn der(&self) -> Vec<u8> {
            self.der.to_vec()
        }

        pub(in crate::tls) fn below(&self, name: &str) -> Authority {
            let (params, key) = (authority_params(name), KeyPair::generate().unwrap());
            let der = params.signed_by(&key, &self.issuer).unwrap().der().clone();
            Authority { issuer: Issuer::new(params, key), der: der.clone(), above: vec![der] }
        }

        pub(in crate::tls) fn issue(
            &self,
            change: impl FnOnce(&mut CertificateParams),
        ) -> Identity {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.distinguished_name.push(DnType::CommonName, "client");
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params.use_authority_key_identifier_extension = true;
            change(&mut params);
            let leaf = params.signed_by(&key, &self.issuer).unwrap().der().clone();
            let chain = std::iter::once(leaf).chain(self.above.iter().cloned()).collect();
            let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
            Identity { chain, key }
        }

        pub(in crate::tls) fn policy(&self, is_required: bool, aborts: bool) -> Arc<ClientPolicy> {
            let anchor = Certificate::from_der(&self.der).unwrap();
            let hints = vec![DistinguishedName::from(anchor.subject_der().unwrap())];
            let digest = Fingerprint::of(&[&self.der[..], &[u8::from(is_required)]].concat()).0;
            let (known, crls) = (Vec::new(), Vec::new());
            let anchors = vec![anchor];
            let trust = Arc::new(Trust { anchors, known, crls, hints, digest });
            Arc::new(ClientPolicy { trust, is_required, takes_servers: false, aborts })
        }
    }

    #[test]
    fn certificates_that_only_name_servers_are_accepted_where_a_listener_says_so() {
        use ExtendedKeyUsagePurpose::{ClientAuth, EmailProtection, ServerAuth};
        let authority = authority("root");
        let strict = authority.policy(true, true);
        let lenient = ClientPolicy { takes_servers: true, ..ClientPolicy::clone(&strict) };
        let now = conclave_system::clock::now().0 / 1_000;
        let check = |usages: &[ExtendedKeyUsagePurpose], by_strict: bool, by_lenient: bool| {
            let identity = authority.issue(|params| {
                params.extended_key_usages = usages.to_vec();
                // As all servers have: without one, they are no servers for the verifier.
                let name = "peer.example".try_into().unwrap();
                params.subject_alt_names.push(SanType::DnsName(name));
            });
            for (policy, is_right) in [(&*strict, by_strict), (&lenient, by_lenient)] {
                let reason = policy.check(&identity.chain, now).err().map(|wrong| wrong.reason);
                assert_eq!(reason, (!is_right).then_some(WrongReason::Purpose), "{usages:?}");
            }
        };
        check(&[ServerAuth], false, true);
        check(&[ClientAuth], true, true);
        check(&[ServerAuth, ClientAuth], true, true);
        check(&[], true, true);
        check(&[EmailProtection], false, false);
    }

    #[test]
    fn a_revocation_list_that_cannot_be_read_revokes_all() {
        use conclave_store::{
            command::{Action, AddTrusted, Command, CreateDomain},
            id::{DomainId, DomainName, LogIndex, OperationId},
            machine,
            outcome::Outcome,
            record::{ClientAuth, Crl as StoredCrl, PkiMode, Principal, TlsSettings},
        };
        let authority = authority("root");
        let name = DomainName::parse("shop.example").unwrap();
        let done = |state: State, number: u64, action: Action| {
            let command = Command {
                operation: OperationId::parse(&format!("op{number}")).unwrap(),
                principal: Principal::Socket { uid: 0 },
                request: [0; 32],
                time: UnixMillis(1),
                reason: None,
                expects: Vec::new(),
                action,
                origin: None,
            };
            let applied = machine::apply(&state, LogIndex(number), &command);
            assert!(matches!(applied.outcome, Outcome::Done(_)), "{:?}", applied.outcome);
            applied.state
        };
        let trusted = |crls| AddTrusted { certificates: vec![authority.der.to_vec().into()], crls };
        let create = CreateDomain {
            id: DomainId([1; 16]),
            name: name.clone(),
            aliases: Vec::new(),
            addresses: Vec::new(),
            mode: PkiMode::Enabled,
        };
        let asked = ClientAuth { issuer: Fingerprint::of(&authority.der), is_required: true };
        let mut state = done(State::default(), 1, Action::CreateDomain(create));
        let add = |crls| Action::AddTrusted(Some(name.clone()), Box::new(trusted(crls)));
        state = done(state, 2, add(Vec::new()));
        state = done(state, 3, Action::SetClientAuth(name.clone(), Some(asked)));
        let identity = authority.issue(|_| {});
        let now = conclave_system::clock::now().0 / 1_000;
        let reason = |state: &State| {
            let settings = TlsSettings::default();
            let domain = state.domain(&name).unwrap();
            let policy = ClientPolicy::of(state, domain, &settings, &[]).unwrap();
            policy.check(&identity.chain, now).err().map(|wrong| wrong.reason)
        };
        assert_eq!(reason(&state), None);
        let list =
            StoredCrl { der: b"of a later version".to_vec().into(), this_update: UnixMillis(1) };
        let state = done(state, 4, add(vec![(Fingerprint([7; 32]), list)]));
        assert_eq!(reason(&state), Some(WrongReason::Issuer));
    }

    /// Code points stand for characters that would move the cursor, change the text direction or
    /// end the text early.
    #[test]
    fn names_of_clients_are_escaped() {
        let authority = authority("root");
        let identity = authority.issue(|params| {
            let name = "mallory\u{1b}[2J\u{202e}\0,CN=alice";
            params.distinguished_name.push(DnType::CommonName, name);
            let email = "eve\u{1b}@mail.example".try_into().unwrap();
            params.subject_alt_names.push(SanType::Rfc822Name(email));
            let other = "d\u{f6}rte\u{202e}@mail.example".to_owned();
            let oid = vec![1, 3, 6, 1, 5, 5, 7, 8, 9];
            params.subject_alt_names.push(SanType::OtherName((oid, other.into())));
        });
        let policy = authority.policy(true, true);
        let (client, _) =
            policy.check(&identity.chain, conclave_system::clock::now().0 / 1_000).unwrap();
        let name = "mallory\\u{1b}[2J\\u{202e}\\u{0}\\,CN=alice";
        assert_eq!(client.common_name.as_deref(), Some(name));
        assert_eq!(client.subject, format!("CN={name}"));
        let emails = ["eve\\u{1b}@mail.example", "d\u{f6}rte\\u{202e}@mail.example"];
        assert_eq!(client.emails, emails);
    }
}
