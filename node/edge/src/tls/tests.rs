//! Handshakes inside the process: resumption, client certificates, ALPN and alerts.

use std::sync::Arc;

use arc_swap::ArcSwap;
use conclave_keys::{OpenedKey, SessionKeys};
use conclave_pki::certificate::Certificate;
use conclave_store::{
    id::{DomainId, DomainName, Fingerprint, Generation, ListenerName, Version},
    record::{
        Credential, Domain, DomainKey, KeyFamily, ListenerPolicy, PkiMode, Principal, Sealed,
        Stamp, TlsSettings, TlsVersion,
    },
    scope::Scope,
    time::UnixMillis,
};
use conclave_system::clock;
use conclave_tls::{any_certificate, group_name, provider};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, Error, HandshakeKind, ServerConfig,
    ServerConnection, SupportedProtocolVersion,
    client::Resumption,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
    sign::CertifiedKey,
};

use super::{client::tests as clients, *};

pub(super) const VERSIONS: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

/// A domain with a key and a certificate of its own.
struct Site {
    domain: Domain,
    shown: Arc<CertifiedKeys>,
}

fn site(number: u8) -> Site {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["shop.example".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().der().to_vec();
    let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let signing = rustls::crypto::ring::sign::any_supported_type(&der).unwrap();
    let chain = vec![CertificateDer::from(certificate.clone())];
    let shown = CertifiedKeys::new(vec![Arc::new(CertifiedKey::new(chain, signing))]);
    let public_key = Fingerprint::of(key.public_key_raw());
    let sealed = Sealed { generation: Generation(1), nonce: [0; 12], ciphertext: Vec::new() };
    let domain_key = DomainKey {
        family: KeyFamily::Ec,
        algorithm: "EC P-256".to_owned(),
        public_key_der: key.public_key_raw().to_vec(),
        public_key,
        sealed,
        assigned: UnixMillis(0),
    };
    let certificate = conclave_store::record::Certificate {
        der: certificate,
        public_key,
        not_before: UnixMillis(0),
        not_after: UnixMillis(u64::MAX),
    };
    let credential = Credential { key: domain_key, certificate: Some(certificate), chain: None };
    let stamp =
        Stamp { time: UnixMillis(0), principal: Principal::Socket { uid: 0 }, reason: None };
    let domain = Domain {
        id: DomainId([number; 16]),
        name: DomainName::parse("shop.example").unwrap(),
        aliases: Vec::new(),
        addresses: Vec::new(),
        mode: PkiMode::Enabled,
        credentials: vec![credential],
        client_auth: None,
        version: Version(1),
        changed: stamp,
    };
    Site { domain, shown }
}

pub(super) fn door(name: &str, alpn: &[&[u8]]) -> Door {
    let alpn = alpn.iter().map(|one| one.to_vec()).collect();
    Door { name: ListenerName::parse(name).unwrap(), alpn, policy: ListenerPolicy::default() }
}

fn keys() -> Arc<ArcSwap<SessionKeys>> {
    let key = OpenedKey::for_test(1, UnixMillis(1), clock::now().plus(3_600_000));
    Arc::new(ArcSwap::from_pointee(SessionKeys::for_test([key])))
}

/// A server of `site` at `door`, with session keys as every node has them.
fn server(
    site: &Site,
    door: &Door,
    settings: TlsSettings,
    client: Option<&Arc<ClientPolicy>>,
) -> (Arc<ServerConfig>, Option<Asking>) {
    let policy =
        Policy::new(NodeLimits { version_min: TlsVersion::V1_2, cipher_suites: Vec::new() })
            .with(settings);
    let own = client.map(|client| &**client);
    let sessions = Sessions::of(&keys(), Scope::Shared, &site.domain, own, &policy);
    let asking = client.map(|client| Asking::new(Arc::clone(client)));
    let shown = Arc::clone(&site.shown);
    let config = config(&policy, shown, door, Some(&sessions), asking.as_ref()).unwrap();
    (config, asking)
}

/// Makes a client. It accepts any certificate and keeps its tickets.
pub(super) fn client(
    version: &'static SupportedProtocolVersion,
    alpn: &[&[u8]],
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(any_certificate(provider()));
    let mut config = match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|one| one.to_vec()).collect();
    config.resumption = Resumption::in_memory_sessions(32);
    Arc::new(config)
}

/// Returns both ends after the handshake, with tickets delivered, or the error that the client
/// sees.
pub(super) fn shake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
) -> Result<(ClientConnection, ServerConnection), Error> {
    let name = ServerName::try_from("shop.example").unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    for _ in 0..8 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut input = &bytes[..];
        while !input.is_empty() && server.read_tls(&mut input).is_ok() {}
        // The client learns the server's error by the alert.
        let _ = server.process_new_packets();
        bytes.clear();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut input = &bytes[..];
        while !input.is_empty() {
            client.read_tls(&mut input).unwrap();
            client.process_new_packets()?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok((client, server))
}

fn resumes(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> bool {
    let (_, server) = shake(client, server).unwrap();
    server.handshake_kind() == Some(HandshakeKind::Resumed)
}

#[test]
fn a_session_resumes_on_any_node_and_nowhere_else() {
    let (here, other) = (site(1), site(2));
    let door_443 = door("https", &[]);
    let defaults = TlsSettings::default;
    let node = || server(&here, &door_443, defaults(), None).0;
    let mut disabled = site(1);
    disabled.domain.credentials.clone_from(&here.domain.credentials);
    disabled.domain.mode = PkiMode::Test;
    let mut rekeyed = site(1);
    rekeyed.domain.id = here.domain.id;
    let renamed = Site { domain: Domain { aliases: vec![], ..here.domain.clone() }, ..site(1) };
    let flushed = TlsSettings { flushes: 1, ..defaults() };
    let asking = clients::authority("root").policy(false, true);
    let strangers = [
        ("another domain", server(&other, &door_443, defaults(), None).0),
        ("another listener", server(&here, &door("imaps", &[]), defaults(), None).0),
        ("after a flush", server(&here, &door_443, flushed, None).0),
        ("another mode", server(&disabled, &door_443, defaults(), None).0),
        ("another key", server(&rekeyed, &door_443, defaults(), None).0),
        ("another policy", server(&here, &door_443, defaults(), Some(&asking)).0),
    ];
    for version in VERSIONS {
        let client = client(version, &[], None);
        assert!(!resumes(&client, &node()), "the first is a full handshake");
        assert!(resumes(&client, &node()), "another node");
        assert!(resumes(&client, &node()), "and again, by the ticket of the second");
        let aliased = server(&renamed, &door_443, defaults(), None).0;
        assert!(resumes(&client, &aliased), "other aliases change nothing");
        for (what, stranger) in &strangers {
            assert!(resumes(&client, &node()), "a ticket is there");
            assert!(!resumes(&client, stranger), "{what}");
            assert!(!resumes(&client, &node()), "the ticket of {what} is none here");
        }
        let never = TlsSettings { session_ttl_s: 0, ..defaults() };
        assert!(!resumes(&client, &server(&here, &door_443, never, None).0), "no time to live");
    }
}

/// A hostile client shows each server the tickets of all others.
#[test]
fn no_ticket_ever_crosses_domains_or_policies() {
    let tries = std::env::var("CONCLAVE_TICKET_TRIES").ok();
    let tries: usize = tries.map_or(1_200, |text| text.parse().unwrap());
    let sites: Vec<Site> = (1..=4).map(site).collect();
    let policies = [None, Some(clients::authority("one").policy(false, false))];
    let mut servers = Vec::new();
    for site in &sites {
        for policy in &policies {
            let lenient =
                ListenerPolicy { takes_server_certificates: true, ..ListenerPolicy::default() };
            let lenient = Door { policy: lenient, ..door("https", &[]) };
            for door in [door("https", &[]), door("imaps", &[]), lenient] {
                let settings = TlsSettings::default();
                servers.push(server(site, &door, settings, policy.as_ref()).0);
            }
        }
    }
    let (mut tried, mut crossed) = (0, 0);
    'all: loop {
        for version in VERSIONS {
            for (place, from) in servers.iter().enumerate() {
                for (other, to) in servers.iter().enumerate() {
                    if place == other {
                        continue;
                    }
                    let client = client(version, &[], None);
                    assert!(!resumes(&client, from));
                    // The client offers the ticket, because both servers have the same name.
                    crossed += usize::from(resumes(&client, to));
                    tried += 1;
                    if tried == tries {
                        break 'all;
                    }
                }
            }
        }
    }
    assert_eq!(crossed, 0, "of {tried}");
}

#[test]
fn only_protocols_of_the_listener_are_agreed_on() {
    let site = site(1);
    let check = |own: &[&[u8]], offered: &[&[u8]], expected: Result<Option<&[u8]>, ()>| {
        for version in VERSIONS {
            let server = server(&site, &door("one", own), TlsSettings::default(), None).0;
            let shaken = shake(&client(version, offered, None), &server);
            let agreed = match &shaken {
                Ok((client, _)) => Ok(client.alpn_protocol()),
                Err(error) => {
                    let alert = AlertDescription::NoApplicationProtocol;
                    assert_eq!(*error, Error::AlertReceived(alert));
                    Err(())
                }
            };
            assert_eq!(agreed, expected, "{own:?} {offered:?}");
        }
    };
    check(&[b"imap"], &[b"imap"], Ok(Some(b"imap")));
    check(&[b"h2", b"http/1.1"], &[b"http/1.1", b"h2"], Ok(Some(b"h2")));
    check(&[b"imap"], &[b"http/1.1"], Err(()));
    check(&[b"imap"], &[], Ok(None));
    check(&[], &[b"http/1.1"], Ok(None));
}

#[test]
fn the_group_against_quantum_computers_is_agreed_on() {
    let server = server(&site(1), &door("one", &[]), TlsSettings::default(), None).0;
    let (client, _) = shake(&client(&rustls::version::TLS13, &[], None), &server).unwrap();
    let group = client.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group_name(group), "X25519MLKEM768");
}

#[test]
fn shares_that_are_none_are_refused() {
    for group in &provider().kx_groups {
        let client = || group.start().unwrap();
        let refused = |share: &[u8]| group.start_and_complete(share).is_err();
        let good = client().pub_key().to_vec();
        assert!(!refused(&good));
        for length in [0, 1, good.len() - 32, good.len() - 1] {
            assert!(refused(&good[..length]), "{group:?} {length}");
        }
        assert!(refused(&[&good[..], &[0]].concat()), "{group:?}: a byte too many");
        let mut wrong = good.clone();
        wrong[good.len() - 32..].fill(0);
        assert!(refused(&wrong), "{group:?}: a point of small order, or none of the curve");
        if group.name() == rustls::NamedGroup::X25519MLKEM768 {
            let mut unreduced = good.clone();
            unreduced[..3].fill(0xff);
            assert!(refused(&unreduced), "a coefficient of 4095 (FIPS 203 §7.2)");
        }
        let server = group.start_and_complete(client().pub_key()).unwrap().pub_key;
        for length in [0, server.len() - 32, server.len() - 1] {
            assert!(client().complete(&server[..length]).is_err(), "{group:?} {length}");
        }
    }
}

#[test]
fn settings_leave_out_versions_suites_and_groups() {
    let check = |version, settings: TlsSettings, expected: Option<AlertDescription>| {
        let server = server(&site(1), &door("one", &[]), settings.clone(), None).0;
        let alert = shake(&client(version, &[], None), &server).err();
        assert_eq!(alert, expected.map(Error::AlertReceived), "{settings:?}");
    };
    let defaults = TlsSettings::default;
    let only_13 = TlsSettings { version_min: TlsVersion::V1_3, ..defaults() };
    check(&rustls::version::TLS12, only_13.clone(), Some(AlertDescription::ProtocolVersion));
    check(&rustls::version::TLS13, only_13, None);
    let suites = vec!["TLS_AES_128_GCM_SHA256".to_owned()];
    let only_aes = TlsSettings { cipher_suites: suites, ..defaults() };
    check(&rustls::version::TLS13, only_aes.clone(), None);
    check(&rustls::version::TLS12, only_aes, Some(AlertDescription::ProtocolVersion));
    let groups = TlsSettings { groups: vec!["secp384r1".to_owned()], ..defaults() };
    check(&rustls::version::TLS12, groups.clone(), None);
    check(&rustls::version::TLS13, groups, None);
}

#[test]
fn client_certificates_are_accepted_refused_or_ignored() {
    use AlertDescription as Alert;
    let (own, stranger) = (clients::authority("root"), clients::authority("stranger"));
    let site = site(1);
    let fine = |_: &mut CertificateParams| {};
    let expired = |params: &mut CertificateParams| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
    };
    let servers_only = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    let cases: [(&str, Option<clients::Identity>, Option<Alert>); 5] = [
        ("fine", Some(own.issue(fine)), None),
        ("expired", Some(own.issue(expired)), Some(Alert::CertificateExpired)),
        ("another issuer", Some(stranger.issue(fine)), Some(Alert::UnknownCA)),
        ("not for clients", Some(own.issue(servers_only)), Some(Alert::UnsupportedCertificate)),
        ("none", None, Some(Alert::CertificateRequired)),
    ];
    for version in VERSIONS {
        for (what, identity, alert) in &cases {
            for (is_required, aborts) in
                [(true, true), (true, false), (false, true), (false, false)]
            {
                let policy = own.policy(is_required, aborts);
                let door = door("one", &[]);
                let (server, asking) = server(&site, &door, TlsSettings::default(), Some(&policy));
                let identity = identity.as_ref().map(clients::Identity::own);
                let has_one = identity.is_some();
                let shaken = shake(&client(version, &[], identity), &server);
                let is_let_in = match (what, has_one) {
                    (&"fine", _) => true,
                    (_, false) => !is_required,
                    _ => !is_required && !aborts,
                };
                let about = format!("{what} required {is_required} aborts {aborts} {version:?}");
                let expected = if is_let_in { None } else { alert.map(Error::AlertReceived) };
                assert_eq!(shaken.err(), expected, "{about}");
                let answer = asking.as_ref().unwrap().answer();
                assert_eq!(answer.is_some(), has_one, "{about}");
                let is_known = answer.is_some_and(Result::is_ok);
                assert_eq!(is_known, *what == "fine", "{about}");
            }
        }
    }
}

#[test]
fn a_session_ends_with_the_certificate_of_its_client_and_a_wrong_one_begins_none() {
    let own = clients::authority("root");
    let (site, door) = (site(1), door("one", &[]));
    let policy = own.policy(false, false);
    let node = || server(&site, &door, TlsSettings::default(), Some(&policy));
    for version in VERSIONS {
        let identity = own.issue(|_| {});
        let owner = client(version, &[], Some(identity.own()));
        assert!(!resumes(&owner, &node().0));
        let (config, asking) = node();
        assert!(resumes(&owner, &config), "it resumes with its certificate");
        let until = asking.unwrap().session_until().unwrap();
        let leaf = Certificate::from_der(&identity.chain[0]).unwrap();
        assert_eq!(until.0, leaf.not_after() * 1_000, "never longer than the certificate");
        let wrong = clients::authority("stranger").issue(|_| {});
        let stranger = client(version, &[], Some(wrong.own()));
        assert!(!resumes(&stranger, &node().0));
        assert!(!resumes(&stranger, &node().0), "ignored each time");
    }
}

#[test]
fn the_chosen_authority_is_named_and_a_chain_may_lead_to_it() {
    let own = clients::authority("root");
    let between = own.below("between");
    let site = site(1);
    for version in VERSIONS {
        let policy = own.policy(true, true);
        let (server, asking) =
            server(&site, &door("one", &[]), TlsSettings::default(), Some(&policy));
        let identity = between.issue(|_| {});
        shake(&client(version, &[], Some(identity.own())), &server).unwrap();
        let asking = asking.unwrap();
        let client = asking.answer().unwrap().as_ref().unwrap();
        assert_eq!(client.issuer, "CN=between");
        use rustls::server::danger::ClientCertVerifier;
        let hints = asking.root_hint_subjects();
        let subject = Certificate::from_der(&own.der()).unwrap().subject_der().unwrap();
        assert_eq!(hints.iter().map(AsRef::as_ref).collect::<Vec<_>>(), [&subject[..]]);
        // The reverse: the intermediate did not issue this certificate.
        let policy = between.policy(true, true);
        let (server, _) =
            self::server(&site, &door("one", &[]), TlsSettings::default(), Some(&policy));
        let alert = shake(&client_of(version, &own), &server).unwrap_err();
        assert_eq!(alert, Error::AlertReceived(AlertDescription::UnknownCA));
    }
}

fn client_of(
    version: &'static SupportedProtocolVersion,
    authority: &clients::Authority,
) -> Arc<ClientConfig> {
    client(version, &[], Some(authority.issue(|_| {}).own()))
}
