//! A command of each kind, and of each kind of part.

use super::{account, value::*};
use crate::{command::*, id::*, record::*, samples::variant};

fn command(principal: Principal, action: Action) -> Command {
    Command {
        operation: OperationId::parse("0123_operation-x").unwrap(),
        principal,
        request: [11; 32],
        time: TIME,
        reason: Some("a reason — why".to_owned()),
        expects: Vec::new(),
        action,
        origin: None,
    }
}

/// Returns commands of every kind, by their names.
pub(super) fn all() -> Vec<(String, Command)> {
    let mut all = Vec::new();
    let [socket, ..] = principals();
    let actions = cluster_actions().into_iter().chain(domain_actions()).chain(other_actions());
    let actions = actions.chain(member_actions()).chain(access_actions());
    for action in actions {
        all.push((variant(&action), command(socket.clone(), action)));
    }
    for action in account::actions() {
        all.push((variant(&action), command(socket.clone(), action.into())));
    }
    for protocol in ListenerProtocol::ALL {
        let action = Action::AddListener(listener(protocol));
        all.push((format!("AddListener {}", protocol.as_str()), command(socket.clone(), action)));
    }
    for principal in principals() {
        let named = format!("by {principal}");
        all.push((named, command(principal, Action::FlushSessions)));
    }
    let shop = RowKey::Domain(domain_name("shop.example"));
    let expects = vec![
        Expectation { key: shop, changed_at: Some(LogIndex(70_000)) },
        Expectation { key: RowKey::TlsSettings, changed_at: None },
    ];
    let bare = Command { reason: None, expects, ..command(socket, Action::FlushSessions) };
    all.push(("with expectations".to_owned(), bare));
    all
}

/// Returns commands with their origins.
pub(super) fn with_origin() -> Vec<(String, Command)> {
    let [socket, ..] = principals();
    let places = [("socket", false), ("address", true)];
    let made = places.map(|(name, has_remote)| {
        let command = command(socket.clone(), Action::FlushSessions);
        (name.to_owned(), Command { origin: Some(origin(has_remote)), ..command })
    });
    made.to_vec()
}

fn cluster_actions() -> Vec<Action> {
    let redeem = RedeemJoinToken {
        token: TokenId([1; 8]),
        member: member(2, MemberRole::Learner),
        wraps: vec![(Generation(1), bytes("wrap 1")), (Generation(2), bytes("wrap 2"))],
    };
    let rotate =
        RotateKeyring { generation: Generation(3), keyring: generation(), authority_key: sealed() };
    vec![
        Action::FoundCluster(Box::new(FoundCluster {
            cluster: cluster(),
            member: member(1, MemberRole::Voter),
            keyring: generation(),
        })),
        Action::CreateJoinToken(TokenId([1; 8]), join_token(None)),
        Action::RedeemJoinToken(Box::new(redeem)),
        Action::CreateAccessToken(TokenId([2; 8]), access_token(Some(TIME))),
        Action::RevokeAccessToken(TokenId([2; 8])),
        Action::RotateKeyring(Box::new(rotate)),
        Action::SetMainDomain(NodeId(1), domain_name("node-1.main")),
        Action::SetLevel(1),
    ]
}

fn member_actions() -> Vec<Action> {
    let turn = || TurnKeyring {
        rotate: RotateKeyring {
            generation: Generation(3),
            keyring: generation(),
            authority_key: sealed(),
        },
        proof: PROOF,
        members: vec![(NodeId(1), PROOF), (NodeId(300), PROOF)],
    };
    let remove = || RemoveMember { id: NodeId(2), turn: turn() };
    let join = |replaces| Join {
        token: TokenId([1; 8]),
        member: member(4, MemberRole::Voter),
        place: place(),
        wraps: vec![(Generation(3), bytes("wrap 3"))],
        proof: PROOF,
        replaces,
    };
    let key = RowKey::Domain(domain_name("shop.example"));
    let resealed =
        Resealed { key, changed_at: LogIndex(70_000), secrets: vec![sealed(), sealed()] };
    let proofs = [
        ProofOf::Generation(Generation(2)),
        ProofOf::Member(NodeId(1)),
        ProofOf::AccessToken(TokenId([2; 8])),
    ];
    let domain = Record::Domain(domain().into());
    vec![
        Action::Join(Box::new(join(None))),
        Action::Join(Box::new(join(Some(remove())))),
        Action::RemoveMember(Box::new(remove())),
        Action::SetMember(Box::new(SetMember {
            id: NodeId(2),
            address: Some("10.0.2.2:7444".to_owned()),
            role: Some(MemberRole::Learner),
            place: Some(place()),
        })),
        Action::TurnKeyring(Box::new(turn())),
        Action::Reseal(Box::new(Reseal {
            secrets: vec![resealed],
            proofs: proofs.map(|of| (of, PROOF)).to_vec(),
        })),
        Action::DropGenerations(Generation(3)),
        Action::AddAccessToken(TokenId([2; 8]), access_token(Some(TIME)), PROOF),
        Action::NoteBackup(LAST_BACKUP),
        Action::BeginRestore,
        Action::RestoreRows(vec![(RowKey::Domain(domain_name("shop.example")), domain)]),
        Action::FinishRestore,
        Action::RotateAuthority(Box::new(RotateAuthority {
            authority_der: serde_bytes::ByteBuf::from(vec![0x30, 1]),
            authority_key: sealed(),
            cross_der: serde_bytes::ByteBuf::from(vec![0x30, 2]),
        })),
        Action::ForgetAuthority,
    ]
}

fn access_actions() -> Vec<Action> {
    let token = access_token(Some(TIME));
    let put = |is_new| PutUser { name: user_name("alice"), user: user(), proof: PROOF, is_new };
    let cut = CutAudit { first: 70_000, previous: fingerprint(1), proof: PROOF };
    vec![
        Action::GrantToken(Box::new(GrantToken {
            id: TokenId([2; 8]),
            token,
            grant: grant(),
            proof: PROOF,
        })),
        Action::RevokeTokens(RevokeTokens {
            access: vec![TokenId([2; 8])],
            join: vec![TokenId([1; 8])],
        }),
        Action::PutUser(Box::new(put(true))),
        Action::PutUser(Box::new(put(false))),
        Action::RemoveUser(user_name("alice")),
        Action::NoteAudit(AUDIT_RESULTS.map(audit_event).to_vec()),
        Action::CutAudit(Box::new(cut)),
        Action::KeepAudit(70_000),
    ]
}

fn domain_actions() -> Vec<Action> {
    let shop = || domain_name("shop.example");
    let create = |mode| {
        let of = domain();
        let (id, name) = (of.id, of.name);
        Action::CreateDomain(CreateDomain {
            id,
            name,
            aliases: of.aliases,
            addresses: of.addresses,
            mode,
        })
    };
    let set = SetDomain {
        name: shop(),
        mode: Some(PkiMode::Enabled),
        aliases: Some(vec![server_name("*.shop.example")]),
        addresses: Some(Vec::new()),
    };
    let nothing = SetDomain { name: shop(), mode: None, aliases: None, addresses: None };
    let chain = || vec![bytes("issuer"), bytes("root")];
    let certificate = |key: Option<DomainKey>, chain| {
        let certificate = certificate();
        Action::SetCertificate(Box::new(SetCertificate { name: shop(), key, certificate, chain }))
    };
    let asked = ClientAuth { issuer: fingerprint(6), is_required: false };
    let part = AddCrlPart { list: fingerprint(13), number: 69, der: bytes("part") };
    let long = AddLongCrl { issuer: fingerprint(12), crl: long_crl() };
    let added =
        AddTrusted { certificates: vec![bytes("trusted")], crls: vec![(fingerprint(12), crl())] };
    vec![
        create(PkiMode::Disabled),
        create(PkiMode::Test),
        Action::SetDomain(set),
        Action::SetDomain(nothing),
        Action::DeleteDomain(shop()),
        Action::SetKey(shop(), Box::new(domain_key(KeyFamily::Ec))),
        Action::RemoveKey(shop(), KeyFamily::Rsa),
        certificate(Some(domain_key(KeyFamily::Rsa)), Some(chain())),
        certificate(None, None),
        Action::RemoveCertificate(shop(), KeyFamily::Ec),
        Action::SetChain(shop(), KeyFamily::Ec, chain()),
        Action::RemoveChain(shop(), KeyFamily::Ec),
        Action::AddTrusted(Some(shop()), Box::new(added.clone())),
        Action::AddTrusted(None, Box::new(added)),
        Action::RemoveTrusted(Some(shop()), vec![fingerprint(6)]),
        Action::AddCrlPart(Some(shop()), Box::new(part.clone())),
        Action::AddCrlPart(None, Box::new(part)),
        Action::AddLongCrl(Some(shop()), Box::new(long.clone())),
        Action::AddLongCrl(None, Box::new(long)),
        Action::RenameDomain(shop(), domain_name("store.example")),
        Action::RollbackDomain(shop(), Version(3)),
        Action::SetClientAuth(shop(), Some(asked)),
        Action::SetClientAuth(shop(), None),
        Action::SetPendingKey(shop(), Box::new(domain_key(KeyFamily::Ec))),
        Action::RemovePendingKey(shop(), KeyFamily::Ec),
        Action::StartCanary(Box::new(StartCanary {
            set: SetCertificate {
                name: shop(),
                key: Some(domain_key(KeyFamily::Rsa)),
                certificate: super::value::certificate(),
                chain: Some(chain()),
            },
            node: NodeId(2),
            until: TIME,
        })),
        Action::EndCanary(shop(), true),
        Action::EndCanary(shop(), false),
    ]
}

fn other_actions() -> Vec<Action> {
    let settings = |level, version| Action::SetTlsSettings(Box::new(tls_settings(level, version)));
    let (ticket, cookie) = (SessionKeyUse::Ticket, SessionKeyUse::Cookie);
    vec![
        Action::AddListener(full_listener(ProxyVersion::V1)),
        Action::AddListener(full_listener(ProxyVersion::V2)),
        Action::RemoveListener(listener_name("imap")),
        Action::SetListener(Box::new(full_listener(ProxyVersion::V2))),
        Action::PutListener(Box::new(PutListener {
            listener: full_listener(ProxyVersion::V2),
            policy: LISTENER_POLICY,
            is_new: true,
        })),
        settings(TlsLogLevel::Error, TlsVersion::V1_2),
        settings(TlsLogLevel::Info, TlsVersion::V1_3),
        settings(TlsLogLevel::Debug, TlsVersion::V1_3),
        Action::FlushSessions,
        Action::PublishSessionKey(ticket, SessionKeyId([1; 8]), session_key(None)),
        Action::ActivateSessionKey(cookie, SessionKeyId([2; 8])),
    ]
}
