//! Parts of commands and rows.

use std::collections::BTreeMap;

use serde_bytes::ByteBuf;

use crate::{id::*, record::*, time::UnixMillis};

pub(super) const TIME: UnixMillis = UnixMillis(1_800_000_000_123);

pub(super) fn bytes(text: &str) -> ByteBuf {
    ByteBuf::from(text.as_bytes().to_vec())
}

pub(super) fn domain_name(text: &str) -> DomainName {
    DomainName::parse(text).unwrap()
}

pub(super) fn server_name(text: &str) -> ServerName {
    ServerName::parse(text).unwrap()
}

pub(super) fn listener_name(text: &str) -> ListenerName {
    ListenerName::parse(text).unwrap()
}

pub(super) fn user_name(text: &str) -> UserName {
    UserName::parse(text).unwrap()
}

/// Returns a grant with every kind of limit.
pub(super) fn grant() -> Grant {
    use Right as R;
    let only = vec![
        R::Read,
        R::Domain,
        R::Certificate,
        R::Trust,
        R::Listener,
        R::Tls,
        R::Cluster,
        R::Join,
        R::Keyring,
        R::Backup,
        R::Audit,
        R::User,
    ];
    let limit = |name: &str, is_tree| DomainLimit { name: domain_name(name), is_tree };
    Grant {
        roles: vec![Role::Viewer, Role::Operator, Role::Admin, Role::Security],
        only,
        domains: vec![limit("shop.example", false), limit("example.org", true)],
        networks: vec![Network { address: "10.0.0.0".parse().unwrap(), prefix: 8 }],
        uses: Some(300),
        user: Some(UserId([7; 8])),
    }
}

pub(super) fn user() -> User {
    let login = CertificateLogin { issuer: fingerprint(6), name: "alice@example.org".to_owned() };
    User {
        id: UserId([7; 8]),
        password: Some("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".to_owned()),
        code: Some(sealed()),
        certificates: vec![login],
        grant: Grant { uses: None, user: None, ..grant() },
        credentials_changed: TIME,
        changed: stamp(principals()[0].clone()),
    }
}

pub(super) fn origin(has_remote: bool) -> Origin {
    let remote = has_remote.then(|| "2001:db8::7".parse().unwrap());
    Origin { node: NodeId(3), remote }
}

pub(super) fn audit_event(result: AuditResult) -> AuditEvent {
    let is_done = result == AuditResult::Done;
    let difference = AuditDifference {
        what: "PKI services".to_owned(),
        before: Some("test".to_owned()),
        after: None,
    };
    AuditEvent {
        time: TIME,
        principal: principals()[5].clone(),
        origin: Some(origin(is_done)),
        event: "domain.set".to_owned(),
        result,
        object: "shop.example".to_owned(),
        code: (!is_done).then(|| "X002".to_owned()),
        differences: if is_done { vec![difference] } else { Vec::new() },
        reason: is_done.then(|| "a reason — why".to_owned()),
        operation: is_done.then(|| OperationId::parse("op").unwrap()),
    }
}

pub(super) const AUDIT_RESULTS: [AuditResult; 3] =
    [AuditResult::Done, AuditResult::Denied, AuditResult::Failed];

pub(super) fn fingerprint(byte: u8) -> Fingerprint {
    Fingerprint([byte; 32])
}

pub(super) fn sealed() -> Sealed {
    Sealed { generation: Generation(2), nonce: [7; 12], ciphertext: b"ciphertext".to_vec() }
}

pub(super) fn stamp(principal: Principal) -> Stamp {
    Stamp { time: TIME, principal, reason: Some("a reason — why".to_owned()) }
}

pub(super) const PROOF: Proof = Proof { generation: Generation(2), mac: [9; 32] };

pub(super) const LAST_BACKUP: LastBackup =
    LastBackup { time: TIME, index: LogIndex(70_000), node: NodeId(2) };

pub(super) fn place() -> MemberPlace {
    MemberPlace { zone: "rack-7".to_owned() }
}

pub(super) fn departed() -> DepartedMember {
    DepartedMember {
        name: NodeName::parse("node-9").unwrap(),
        identity_der: b"identity".to_vec(),
        left: TIME,
        generation: Generation(2),
    }
}

pub(super) fn principals() -> [Principal; 9] {
    [
        Principal::Socket { uid: 1000 },
        Principal::Token { id: TokenId([1; 8]), name: "deploy".to_owned() },
        Principal::Node(NodeId(3)),
        Principal::Joiner(TokenId([2; 8])),
        Principal::SealedSocket { uid: 1000, node: NodeId(3) },
        Principal::User { name: user_name("alice"), session: TokenId([6; 8]) },
        Principal::Stranger,
        Principal::UserByCertificate { name: user_name("alice"), certificate: fingerprint(6) },
        Principal::Owner(EmailAddress::parse("Ann@shop.example").unwrap()),
    ]
}

pub(super) fn certificate() -> Certificate {
    Certificate {
        der: b"certificate".to_vec(),
        public_key: fingerprint(3),
        not_before: UnixMillis(1_700_000_000_000),
        not_after: UnixMillis(u64::MAX),
    }
}

pub(super) fn domain_key(family: KeyFamily) -> DomainKey {
    DomainKey {
        family,
        algorithm: "EC P-256".to_owned(),
        public_key_der: b"public key".to_vec(),
        public_key: fingerprint(3),
        sealed: sealed(),
        assigned: TIME,
    }
}

pub(super) fn domain() -> Domain {
    let mut rsa = Credential::new(domain_key(KeyFamily::Rsa));
    rsa.key.algorithm = "RSA 2048".to_owned();
    Domain {
        id: DomainId([4; 16]),
        name: domain_name("shop.example"),
        aliases: vec![server_name("www.shop.example"), server_name("*.shop.example")],
        addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        mode: PkiMode::Enabled,
        credentials: vec![
            Credential {
                key: domain_key(KeyFamily::Ec),
                certificate: Some(certificate()),
                chain: Some(fingerprint(5)),
            },
            rsa,
        ],
        client_auth: Some(ClientAuth { issuer: fingerprint(6), is_required: true }),
        version: Version(9),
        changed: stamp(principals()[1].clone()),
    }
}

pub(super) fn cluster() -> Cluster {
    Cluster {
        id: ClusterId([8; 16]),
        name: ClusterName::parse("prod").unwrap(),
        authority_der: b"authority".to_vec(),
        authority_key: sealed(),
        generation: Generation(2),
        node_last: NodeId(3),
        founded: TIME,
    }
}

pub(super) fn member(id: u64, role: MemberRole) -> Member {
    Member {
        id: NodeId(id),
        name: NodeName::parse(&format!("node-{id}")).unwrap(),
        role,
        identity_der: b"identity".to_vec(),
        sealing_key: [9; 32],
        address: format!("node-{id}.example:7444"),
        joined: TIME,
    }
}

pub(super) fn generation() -> KeyringGeneration {
    let wraps = [(NodeId(1), bytes("wrap 1")), (NodeId(300), bytes("wrap 300"))];
    KeyringGeneration { wraps: BTreeMap::from(wraps), made: TIME }
}

pub(super) fn join_token(used: Option<TokenUse>) -> JoinToken {
    let made = stamp(principals()[0].clone());
    JoinToken { secret: sealed(), expires: TIME.plus(3_600_000), used, made }
}

pub(super) fn access_token(expires: Option<UnixMillis>) -> AccessToken {
    let made = stamp(principals()[2].clone());
    AccessToken { name: "deploy".to_owned(), secret: fingerprint(10), expires, made }
}

pub(super) fn listener(protocol: ListenerProtocol) -> Listener {
    Listener {
        name: listener_name(protocol.as_str()),
        protocol,
        address: None,
        port: 443,
        upstreams: vec!["127.0.0.1:8080".to_owned()],
        domain_upstreams: BTreeMap::new(),
        requires_tls: false,
        alpn: Vec::new(),
        proxy_from: Vec::new(),
        proxy_to: None,
        outgoing: None,
    }
}

/// Returns a listener with every option, even those that exclude each other.
pub(super) fn full_listener(proxy_to: ProxyVersion) -> Listener {
    let network = |address: &str, prefix| Network { address: address.parse().unwrap(), prefix };
    let shop = (domain_name("shop.example"), vec!["unix:/run/app.sock".to_owned()]);
    Listener {
        address: Some("2001:db8::2".parse().unwrap()),
        port: 65_535,
        upstreams: vec!["127.0.0.1:8080".to_owned(), "udp:127.0.0.1:5684".to_owned()],
        domain_upstreams: BTreeMap::from([shop]),
        requires_tls: true,
        alpn: vec!["h2".to_owned(), "http/1.1".to_owned()],
        proxy_from: vec![network("10.0.0.0", 8), network("fd00::", 8)],
        proxy_to: Some(proxy_to),
        outgoing: Some(Outgoing {
            server_name: Some("mx.example".to_owned()),
            starttls: Some(ListenerProtocol::Smtp),
        }),
        ..listener(ListenerProtocol::Imap)
    }
}

pub(super) fn tls_settings(log_level: TlsLogLevel, version_min: TlsVersion) -> TlsSettings {
    TlsSettings {
        log_level,
        session_ttl_s: 3_600,
        ticket_rotation_s: 600,
        version_min,
        process_target_domain: false,
        abort_on_wrong_client_certificate: true,
        cipher_suites: vec!["TLS_AES_128_GCM_SHA256".to_owned()],
        groups: vec!["X25519MLKEM768".to_owned(), "x25519".to_owned()],
        flushes: 2,
        version: Version(4),
    }
}

pub(super) fn session_key(active: Option<UnixMillis>) -> SessionKey {
    let (not_after, expires) = (TIME.plus(7_200_000), TIME.plus(14_400_000));
    SessionKey { sealed: sealed(), made: TIME, active, not_after, expires }
}

pub(super) fn long_crl() -> LongCrl {
    LongCrl { list: fingerprint(13), parts: 70, this_update: TIME }
}

pub(super) fn crl() -> Crl {
    Crl { der: bytes("revocation list"), this_update: TIME }
}

pub(super) const LISTENER_POLICY: ListenerPolicy =
    ListenerPolicy { requires_client_certificate: true, takes_server_certificates: false };
