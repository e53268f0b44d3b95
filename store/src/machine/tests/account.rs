//! Accounts, and the issuers of their certificates.

use super::{audit::scene, token::granted, *};
use crate::{
    command::{
        AccountAction, AccountOf, CreateAccount, EnterAccount, InviteOwner, RelockAccount,
        RevokeAccountCertificate, SetAccountCertificate, SetAccountKey, SetSmimeIssuer,
    },
    limits::{CRL_URL_BYTES_MAX, EARLIER_KEYS_MAX, KEY_CERTIFICATES_MAX, RECOVERY_COPY_BYTES_MAX},
    state::StoredRow,
    wire,
};

fn address(text: &str) -> EmailAddress {
    EmailAddress::parse(text).unwrap()
}

fn of(domain: &str, account: &str) -> AccountOf {
    AccountOf { domain: name(domain), address: address(account) }
}

fn ann() -> AccountOf {
    of("shop.example", "ann@shop.example")
}

fn new(of: AccountOf) -> AccountAction {
    let id = AccountId([of.address.to_string().as_bytes()[0]; 16]);
    AccountAction::CreateAccount(CreateAccount { of, id, name: "Ann".to_owned() })
}

fn account_key(public: u8) -> AccountKey {
    AccountKey {
        algorithm: "EC P-256".to_owned(),
        public_key_der: vec![public],
        public_key: Fingerprint([public; 32]),
        purpose: KeyPurpose::SignAndEncrypt,
        sealed: sealed(1),
        passphrase: 1,
        recovery: None,
        assigned: UnixMillis(1),
        certificates: Vec::new(),
    }
}

fn set_key(of: AccountOf, public: u8) -> AccountAction {
    AccountAction::SetAccountKey(Box::new(SetAccountKey { of, key: account_key(public) }))
}

fn issued(of: AccountOf, public: u8, serial: u8, not_after: u64) -> AccountAction {
    let certificate = Certificate {
        der: vec![serial],
        public_key: Fingerprint([public; 32]),
        not_before: UnixMillis(0),
        not_after: UnixMillis(not_after),
    };
    let serial = Some(SerialNumber([serial; 16]));
    let certificate = AccountCertificate { certificate, serial, chain: Vec::new() };
    AccountAction::SetAccountCertificate(Box::new(SetAccountCertificate { of, certificate }))
}

fn revoke(of: AccountOf, serial: u8) -> AccountAction {
    let (serial, reason) = (SerialNumber([serial; 16]), RevocationReason::KeyCompromise);
    AccountAction::RevokeAccountCertificate(RevokeAccountCertificate {
        of,
        serials: vec![serial],
        reason,
    })
}

fn relock(publics: &[u8]) -> AccountAction {
    let secret = Sealed { nonce: [9; 12], ..sealed(1) };
    let keys = publics.iter().map(|one| (Fingerprint([*one; 32]), secret.clone())).collect();
    AccountAction::RelockAccount(Box::new(RelockAccount { of: ann(), keys }))
}

fn with_ann() -> (Scene, DomainId) {
    let mut scene = scene();
    scene.domain("shop.example", &["mail.shop.example", "*.shop.example"]);
    scene.done(new(ann()));
    let id = scene.state.domain(&name("shop.example")).unwrap().id;
    (scene, id)
}

#[test]
fn nothing_about_accounts_is_taken_below_level_5() {
    let mut scene = Scene::founded();
    scene.done(Action::SetLevel(4));
    scene.domain("shop.example", &[]);
    let expected = Rejection::LevelUnknown { level: 5, max: 4 };
    for action in [new(ann()), AccountAction::RemoveSmimeIssuer(name("shop.example"))] {
        assert_eq!(scene.rejected(action), expected);
    }
}

#[test]
fn an_account_belongs_to_the_domain_that_has_its_name() {
    let (mut scene, _) = with_ann();
    scene.domain("bank.example", &[]);
    assert_eq!(scene.rejected(new(ann())), Rejection::AccountExists(ann().address));
    let foreign = new(of("shop.example", "a@nowhere.example"));
    assert_eq!(scene.rejected(foreign), Rejection::DomainUnknown(name("nowhere.example")));
    // Limits to domains were judged by the name in the command.
    let forged = new(of("bank.example", "bob@shop.example"));
    assert!(matches!(scene.rejected(forged), Rejection::Stale(_)));
    scene.done(new(of("shop.example", "zoe@mail.shop.example")));
    scene.done(new(of("bank.example", "eve@bank.example")));
    let domain = scene.state.domain(&name("shop.example")).unwrap().clone();
    let listed = |after: Option<&EmailAddress>| -> Vec<String> {
        scene.state.accounts_of(&domain, after).map(|(one, _)| one.to_string()).collect()
    };
    assert_eq!(listed(None), ["zoe@mail.shop.example", "ann@shop.example"]);
    assert_eq!(listed(Some(&address("zoe@mail.shop.example"))), ["ann@shop.example"]);
    assert!(listed(Some(&ann().address)).is_empty());
    assert_eq!(scene.state.account_count(), 3);
}

#[test]
fn a_name_with_accounts_stays_with_its_domain() {
    let (mut scene, _) = with_ann();
    let zoe = of("shop.example", "zoe@mail.shop.example");
    scene.done(new(zoe.clone()));
    let remain = |text: &str| Rejection::AccountsRemain(ServerName::parse(text).unwrap());
    let aliases = |aliases: &[&str]| {
        let aliases = aliases.iter().map(|one| ServerName::parse(one).unwrap()).collect();
        let name = name("shop.example");
        Action::SetDomain(SetDomain { name, mode: None, aliases: Some(aliases), addresses: None })
    };
    assert_eq!(scene.rejected(aliases(&["*.shop.example"])), remain("mail.shop.example"));
    scene.done(aliases(&["mail.shop.example"]));
    let rename = Action::RenameDomain(name("shop.example"), name("store.example"));
    assert_eq!(scene.rejected(rename.clone()), remain("shop.example"));
    let delete = Action::DeleteDomain(name("shop.example"));
    assert_eq!(scene.rejected(delete.clone()), remain("shop.example"));
    scene.done(AccountAction::DeleteAccount(ann()));
    scene.done(rename);
    let zoe = AccountOf { domain: name("store.example"), ..zoe };
    scene.done(set_key(zoe.clone(), 1));
    let back = Action::RenameDomain(name("store.example"), name("shop.example"));
    scene.done(back);
    scene.done(AccountAction::DeleteAccount(of("shop.example", "zoe@mail.shop.example")));
    scene.done(delete);
}

#[test]
fn a_rollback_keeps_names_with_accounts() {
    let mut scene = scene();
    scene.domain("shop.example", &[]);
    let aliases = Some(vec![ServerName::parse("mail.shop.example").unwrap()]);
    let set = SetDomain { name: name("shop.example"), mode: None, aliases, addresses: None };
    scene.done(Action::SetDomain(set));
    let zoe = of("shop.example", "zoe@mail.shop.example");
    scene.done(new(zoe.clone()));
    let rollback = Action::RollbackDomain(name("shop.example"), Version(1));
    assert!(matches!(scene.rejected(rollback.clone()), Rejection::AccountsRemain(_)));
    scene.done(AccountAction::DeleteAccount(zoe));
    scene.done(rollback);
}

#[test]
fn earlier_keys_are_kept_and_none_comes_twice() {
    let (mut scene, _) = with_ann();
    let certify = issued(ann(), 1, 1, 99);
    assert_eq!(scene.rejected(certify.clone()), Rejection::AccountKeyMissing(ann().address));
    scene.done(set_key(ann(), 1));
    scene.done(certify);
    for public in 2..=u8::try_from(EARLIER_KEYS_MAX).unwrap() + 1 {
        scene.done(set_key(ann(), public));
    }
    assert!(matches!(scene.rejected(set_key(ann(), 100)), Rejection::TooMany { .. }));
    for public in [1, 17] {
        let known = Rejection::AccountKeyExists(ann().address);
        assert_eq!(scene.rejected(set_key(ann(), public)), known, "{public}");
    }
    let account = scene.state.account(&ann().address).unwrap();
    let kept: Vec<_> = scene.state.earlier_keys(account.id).collect();
    assert_eq!((kept.len(), account.earlier_keys), (16, 16));
    assert_eq!(kept[0].1.certificates.len(), 1, "with its certificate");
    assert!(matches!(
        scene.rejected(issued(ann(), 1, 2, 99)),
        Rejection::CertificateOfOtherKey { .. }
    ));
}

#[test]
fn another_passphrase_is_for_all_keys_of_an_account() {
    let (mut scene, _) = with_ann();
    for public in [1, 2, 3] {
        scene.done(set_key(ann(), public));
    }
    for wrong in [&[3][..], &[1, 2], &[3, 2, 1], &[1, 2, 4]] {
        assert!(matches!(scene.rejected(relock(wrong)), Rejection::Stale(_)), "{wrong:?}");
    }
    scene.done(relock(&[1, 2, 3]));
    let account = scene.state.account(&ann().address).unwrap().clone();
    let mut keys: Vec<_> = scene.state.earlier_keys(account.id).map(|(_, key)| key).collect();
    keys.extend(&account.key);
    assert_eq!(keys.len(), 3);
    assert!(keys.iter().all(|key| key.sealed.nonce == [9; 12]));
}

#[test]
fn an_invitation_ends_with_the_token_or_user_who_made_it() {
    let (mut scene, _) = with_ann();
    let token = granted(&scene, 1, Grant::default());
    scene.done(token);
    let made_by = [
        Principal::Token { id: TokenId([1; 8]), name: "deploy".to_owned() },
        Principal::User { name: UserName::parse("eve").unwrap(), session: TokenId([9; 8]) },
    ];
    let invite = |by: &Principal| {
        let (sealed, by) = (sealed(1), by.clone());
        let invitation = Some(Invitation { sealed, expires: UnixMillis(u64::MAX), by });
        AccountAction::InviteOwner(InviteOwner { of: ann(), invitation })
    };
    let enter = |scene: &Scene, time| {
        let enter = EnterAccount { of: ann(), key: account_key(1) };
        let action = AccountAction::EnterAccount(Box::new(enter)).into();
        let command = Command { time: UnixMillis(time), ..scene.command(action) };
        apply(&scene.state, LogIndex(scene.index + 1), &command).outcome
    };
    let unknown = Outcome::Rejected(Rejection::InvitationUnknown(ann().address));
    let [by_token, by_user] = made_by.each_ref().map(invite);
    scene.done(by_token);
    assert!(matches!(enter(&scene, 1_000_000), Outcome::Done(_)));
    assert_eq!(enter(&scene, 1_000_001), unknown, "the token has ended");
    scene.done(Action::RevokeAccessToken(TokenId([1; 8])));
    assert_eq!(enter(&scene, 1), unknown, "the token was revoked");
    scene.done(by_user);
    assert_eq!(enter(&scene, 1), unknown, "there is no such user");
}

#[test]
fn an_invitation_is_used_once_and_what_its_passphrase_cannot_open_stays() {
    let (mut scene, _) = with_ann();
    let unknown = Rejection::InvitationUnknown(ann().address);
    let invite = |expires: Option<u64>| {
        let by = Principal::Socket { uid: 0 };
        let invitation =
            expires.map(|one| Invitation { sealed: sealed(1), expires: UnixMillis(one), by });
        AccountAction::InviteOwner(InviteOwner { of: ann(), invitation })
    };
    let enter = |public, passphrase| {
        let key = AccountKey { passphrase, ..account_key(public) };
        AccountAction::EnterAccount(Box::new(EnterAccount { of: ann(), key }))
    };
    assert_eq!(scene.rejected(invite(None)), unknown);
    assert_eq!(scene.rejected(enter(1, 1)), unknown);
    scene.done(invite(Some(u64::MAX)));
    scene.done(invite(None));
    assert_eq!(scene.rejected(enter(1, 1)), unknown, "it was withdrawn");
    scene.done(invite(Some(0)));
    assert_eq!(scene.rejected(enter(1, 1)), unknown, "it has ended");
    scene.done(invite(Some(u64::MAX)));
    assert!(matches!(scene.rejected(enter(1, 2)), Rejection::Stale(_)), "no such passphrase");
    let secrets = |scene: &Scene| {
        let account = scene.state.account(&ann().address).unwrap().clone();
        Record::Account(account.into()).sealed().len()
    };
    assert_eq!(secrets(&scene), 1, "the invitation is sealed anew with the rest");
    scene.done(enter(1, 1));
    assert_eq!(scene.rejected(enter(2, 2)), unknown, "it was used");
    scene.done(set_key(ann(), 2));
    scene.done(relock(&[1, 2]));
    // The passphrase is lost, and the owner is invited again.
    scene.done(invite(Some(u64::MAX)));
    assert_eq!(secrets(&scene), 2);
    scene.done(enter(3, 3));
    assert!(matches!(scene.rejected(set_key(ann(), 4)), Rejection::Stale(_)));
    assert!(matches!(scene.rejected(relock(&[1, 2, 3])), Rejection::Stale(_)));
    scene.done(relock(&[3]));
    let account = scene.state.account(&ann().address).unwrap();
    let of = |key: &AccountKey| (key.public_key.0[0], key.passphrase);
    let earlier: Vec<_> = scene.state.earlier_keys(account.id).map(|(_, key)| of(key)).collect();
    assert_eq!(earlier, [(1, 2), (2, 2)]);
    assert_eq!((of(account.key.as_ref().unwrap()), account.passphrase), ((3, 4), 4));
}

#[test]
fn settings_of_accounts_go_with_their_domain_and_not_with_its_issuer() {
    let (mut scene, id) = with_ann();
    let shop = || name("shop.example");
    let recovery_key = RecoveryKey { public_key: Fingerprint([6; 32]), sealed: sealed(1) };
    let url = |url: Option<&str>| AccountAction::SetCrlUrl(shop(), url.map(str::to_owned));
    scene.done(url(Some("http://shop.example/crl")));
    scene.done(url(Some("http://shop.example/crl")));
    scene.done(AccountAction::SetRecoveryKey(shop(), Some(recovery_key.clone())));
    let settings = scene.state.account_settings(id).unwrap();
    assert_eq!(settings.version, Version(2), "the same is no change");
    assert_eq!(settings.crl_url.as_deref(), Some("http://shop.example/crl"));
    let long = "x".repeat(CRL_URL_BYTES_MAX + 1);
    assert!(matches!(scene.rejected(url(Some(&long))), Rejection::TooMany { .. }));
    let copy = |bytes: usize| {
        let recovery_key = Fingerprint([6; 32]);
        let recovery = Some(RecoveryCopy { recovery_key, sealed_key: vec![0; bytes] });
        let key = AccountKey { recovery, ..account_key(1) };
        AccountAction::SetAccountKey(Box::new(SetAccountKey { of: ann(), key }))
    };
    let long = scene.rejected(copy(RECOVERY_COPY_BYTES_MAX + 1));
    assert!(matches!(long, Rejection::TooMany { .. }));
    scene.done(copy(RECOVERY_COPY_BYTES_MAX));
    scene.done(AccountAction::SetSmimeIssuer(Box::new(SetSmimeIssuer {
        domain: shop(),
        key: key(1, 1),
        certificate: None,
        chain: Vec::new(),
    })));
    scene.done(AccountAction::RemoveSmimeIssuer(shop()));
    assert!(scene.state.account_settings(id).is_some());
    scene.done(AccountAction::DeleteAccount(ann()));
    scene.done(Action::DeleteDomain(shop()));
    assert!(scene.state.account_settings(id).is_none());
}

#[test]
fn what_is_revoked_is_in_the_list_once_and_deleted_accounts_too() {
    let (mut scene, id) = with_ann();
    scene.done(new(of("shop.example", "bob@shop.example")));
    scene.done(set_key(ann(), 1));
    for (serial, not_after) in [(1, 1_000), (2, 1_000), (3, 1)] {
        scene.done(issued(ann(), 1, serial, not_after));
    }
    assert!(matches!(scene.rejected(issued(ann(), 1, 1, 9)), Rejection::Stale(_)));
    let foreign = revoke(of("shop.example", "bob@shop.example"), 1);
    assert!(matches!(scene.rejected(foreign), Rejection::SerialUnknown { .. }));
    scene.done(revoke(ann(), 1));
    let twice = Rejection::CertificateRevoked(SerialNumber([1; 16]));
    assert_eq!(scene.rejected(revoke(ann(), 1)), twice);
    let revoked = |scene: &Scene| -> Vec<u8> {
        scene.state.revocations(id).map(|(serial, _)| serial.0[0]).collect()
    };
    assert_eq!(revoked(&scene), [1]);
    scene.done(AccountAction::DeleteAccount(ann()));
    assert_eq!(revoked(&scene), [1, 2], "the third has expired");
    let list = scene.state.revocation_list(id);
    assert_eq!((list.changes, list.count), (2, 2));
    assert!(scene.state.issued_certificate(id, SerialNumber([2; 16])).is_none());
    scene.done(AccountAction::DeleteAccount(of("shop.example", "bob@shop.example")));
    scene.done(Action::DeleteDomain(name("shop.example")));
    assert!(revoked(&scene).is_empty());
    assert_eq!(scene.state.revocation_list(id), RevocationList::default());
}

#[test]
fn a_key_keeps_all_its_certificates_as_messages_name_them() {
    let (mut scene, id) = with_ann();
    scene.done(set_key(ann(), 1));
    let count = u8::try_from(KEY_CERTIFICATES_MAX).unwrap();
    for serial in 1..=count {
        // The first has expired.
        scene.done(issued(ann(), 1, serial, if serial == 1 { 1 } else { 1_000 }));
    }
    let more = issued(ann(), 1, count + 1, 1_000);
    assert!(matches!(scene.rejected(more), Rejection::TooMany { .. }));
    assert!(scene.state.issued_certificate(id, SerialNumber([1; 16])).is_some());
    scene.done(set_key(ann(), 2));
    scene.done(issued(ann(), 2, count + 1, 1_000));
}

#[test]
fn an_issuer_has_versions_and_a_certificate_of_its_own_key() {
    let (mut scene, id) = with_ann();
    let set = |public: Option<u8>| {
        let certificate = public.map(|public| Certificate {
            der: vec![7],
            public_key: Fingerprint([public; 32]),
            not_before: UnixMillis(0),
            not_after: UnixMillis(1),
        });
        let (domain, key) = (name("shop.example"), key(1, 1));
        let set = SetSmimeIssuer { domain, key, certificate, chain: Vec::new() };
        AccountAction::SetSmimeIssuer(Box::new(set))
    };
    let missing = Rejection::SmimeIssuerUnknown(name("shop.example"));
    let remove = AccountAction::RemoveSmimeIssuer(name("shop.example"));
    assert_eq!(scene.rejected(remove.clone()), missing);
    scene.done(set(None));
    assert!(matches!(scene.rejected(set(Some(2))), Rejection::CertificateOfOtherKey { .. }));
    scene.done(set(Some(1)));
    scene.done(set(Some(1)));
    assert_eq!(scene.state.smime_issuer(id).unwrap().version, Version(2), "the same is no change");
    assert_eq!(scene.state.rows_before_generation(Generation(2)).0, 2, "with the authority");
    scene.done(remove);
    assert!(scene.state.smime_issuer(id).is_none());
}

#[test]
fn a_million_accounts_are_read_in_pages_at_once() {
    let account = Account {
        id: AccountId([1; 16]),
        name: String::new(),
        key: None,
        earlier_keys: 0,
        passphrase: 0,
        invitation: None,
        version: Version(1),
        changed: Stamp {
            time: UnixMillis(1),
            principal: Principal::Socket { uid: 0 },
            reason: None,
        },
    };
    let (mut scene, _) = with_ann();
    let domain = scene.state.domain(&name("shop.example")).unwrap().clone();
    let encoded = |record: &Record| wire::encode_row(LogIndex(1), record).unwrap();
    let stored =
        |key: &RowKey, row: &[u8]| StoredRow::read(&wire::encode_key(key).unwrap(), row).unwrap();
    let mut rows: Vec<StoredRow> =
        scene.state.rows().map(|(key, row)| stored(key, &encoded(&row.record))).collect();
    let row = encoded(&Record::Account(account.into()));
    rows.extend((0..1_000_000_u32).map(|number| {
        stored(&RowKey::Account(address(&format!("user{number:07}@shop.example"))), &row)
    }));
    scene.state = State::load(rows);
    assert_eq!(scene.state.account_count(), 1_000_001);
    let begin = std::time::Instant::now();
    let after = address("user0500000@shop.example");
    let page: Vec<_> = scene.state.accounts_of(&domain, Some(&after)).take(100).collect();
    let took = begin.elapsed();
    assert_eq!(page[99].0.to_string(), "user0500100@shop.example");
    assert!(took.as_millis() < 100, "{took:?}");
    let full = new(of("shop.example", "one-more@shop.example"));
    assert!(matches!(scene.rejected(full), Rejection::TooMany { .. }));
}

#[test]
fn mail_is_encrypted_to_the_latest_certificate_of_the_current_key_that_is_good() {
    let (mut scene, _) = with_ann();
    let receiving = |scene: &Scene, now: u64| {
        let found = scene.state.receiving_certificate(&ann().address, UnixMillis(now));
        found.map(|one| one.certificate.der[0])
    };
    scene.done(set_key(ann(), 1));
    assert_eq!(receiving(&scene, 5), None, "no certificate");
    scene.done(issued(ann(), 1, 10, 100));
    scene.done(issued(ann(), 1, 11, 50));
    assert_eq!(receiving(&scene, 5), Some(11), "the latest");
    assert_eq!(receiving(&scene, 60), Some(10), "the latest that is valid");
    assert_eq!(receiving(&scene, 101), None);
    scene.done(revoke(ann(), 11));
    assert_eq!(receiving(&scene, 5), Some(10), "not a revoked one");
    let key = AccountKey { purpose: KeyPurpose::Sign, ..account_key(2) };
    scene.done(AccountAction::SetAccountKey(Box::new(SetAccountKey { of: ann(), key })));
    scene.done(issued(ann(), 2, 12, 100));
    assert_eq!(receiving(&scene, 5), None, "neither a signing key nor an earlier one");
}
