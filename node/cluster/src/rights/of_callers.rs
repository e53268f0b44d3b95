//! What one caller may do.

use conclave_api::need::{About, Need};
use conclave_store::{
    command::{
        AccountAction, AccountOf, Action, CreateDomain, InviteOwner, RevokeAccountCertificate,
        SetDomain,
    },
    id::{AccountId, DomainId, DomainName, EmailAddress, ServerName, Version},
    record::{
        Account, DomainLimit, Grant, PkiMode, Principal, RevocationReason, Right, Role, Stamp,
    },
    time::UnixMillis,
};

use super::{Access, Owned, shown_right};

fn name(text: &str) -> DomainName {
    DomainName::parse(text).unwrap()
}

fn access(roles: &[Role], domains: &[(&str, bool)]) -> Access {
    let limit =
        |(text, is_tree): &(&str, bool)| DomainLimit { name: name(text), is_tree: *is_tree };
    let domains = domains.iter().map(limit).collect();
    Access::of(&Grant { roles: roles.to_vec(), domains, ..Grant::default() })
}

fn set(domain: &str, alias: &str) -> Action {
    let aliases = Some(vec![ServerName::parse(alias).unwrap()]);
    Action::SetDomain(SetDomain { name: name(domain), mode: None, aliases, addresses: None })
}

#[test]
fn a_limited_caller_gives_its_domain_no_name_outside_the_limit() {
    let one = access(&[Role::Operator], &[("shop.example", false)]);
    let tree = access(&[Role::Operator], &[("shop.example", true)]);
    let all = access(&[Role::Operator], &[]);
    let check = |alias: &str, expected: [bool; 3]| {
        let allowed = [&one, &tree, &all]
            .map(|access| access.check_action("x", &set("shop.example", alias), &[]).is_ok());
        assert_eq!(allowed, expected, "{alias}");
    };
    check("www.shop.example", [false, true, true]);
    check("*.shop.example", [false, true, true]);
    check("bank.example", [false, false, true]);
    check("*.example", [false, false, true]);
    // One that it has already is no new one.
    let present = [ServerName::parse("bank.example").unwrap()];
    assert!(one.check_action("x", &set("shop.example", "bank.example"), &present).is_ok());
    let rename = |new: &str| Action::RenameDomain(name("a.shop.example"), name(new));
    assert!(tree.check_action("x", &rename("b.shop.example"), &[]).is_ok());
    assert!(tree.check_action("x", &rename("b.example"), &[]).is_err());
    let create = |addresses: &[&str]| {
        Action::CreateDomain(CreateDomain {
            id: DomainId([1; 16]),
            name: name("new.shop.example"),
            aliases: Vec::new(),
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            mode: PkiMode::Test,
        })
    };
    assert!(tree.check_action("x", &create(&[]), &[]).is_ok());
    assert!(tree.check_action("x", &create(&["192.0.2.1"]), &[]).is_err(), "of any domain");
    assert!(tree.check_action("x", &Action::FlushSessions, &[]).is_err());
    assert!(all.check_action("x", &Action::SetLevel(9), &[]).is_err(), "not its right");
    assert!(
        access(&[Role::Admin, Role::Security], &[])
            .check_action("x", &Action::BeginRestore, &[])
            .is_err(),
        "for nodes alone"
    );
}

#[test]
fn nobody_covers_more_than_they_have() {
    let check = |one: &Access, other: &Access, expected: bool| {
        assert_eq!(one.covers(other), expected, "{one:?} {other:?}");
    };
    let (viewer, operator) = (access(&[Role::Viewer], &[]), access(&[Role::Operator], &[]));
    let tree = access(&[Role::Operator], &[("shop.example", true)]);
    let one = access(&[Role::Operator], &[("shop.example", false)]);
    let below = access(&[Role::Operator], &[("www.shop.example", false)]);
    let both = access(&[Role::Admin, Role::Security], &[]);
    check(&operator, &viewer, true);
    check(&viewer, &operator, false);
    check(&operator, &tree, true);
    check(&tree, &operator, false);
    check(&tree, &one, true);
    check(&tree, &below, true);
    check(&one, &tree, false);
    check(&one, &below, false);
    check(&both, &operator, true);
    check(&Access::everything(), &both, true);
    check(&both, &Access::everything(), false);
    check(&access(&[Role::Admin], &[]), &access(&[Role::Security], &[]), false);
}

#[test]
fn a_path_that_names_no_domain_of_the_caller_is_refused() {
    let one = access(&[Role::Operator, Role::Security], &[("shop.example", false)]);
    let check = |right, about, path: Option<&str>, expected: bool| {
        assert_eq!(
            one.check("x", Need::Right(shown_right(right), about), path, None).is_ok(),
            expected,
            "{path:?}"
        );
    };
    check(Right::Read, About::Domain, Some("shop.example"), true);
    check(Right::Read, About::Domain, Some("SHOP.example."), true);
    check(Right::Read, About::Domain, Some("bank.example"), false);
    check(Right::Read, About::Domain, Some("../shop.example"), false);
    check(Right::Read, About::Domain, None, false);
    check(Right::Read, About::Cluster, None, false);
    check(Right::Trust, About::TrustSet, Some("domain:shop.example"), true);
    check(Right::Trust, About::TrustSet, Some("cluster"), false);
    check(Right::Tls, About::Cluster, None, false);
    assert!(one.check("x", Need::Socket, None, None).is_err());
    assert!(Access::everything().check("x", Need::Socket, None, None).is_ok());
    assert!(
        Access::nothing()
            .check("x", Need::Right(shown_right(Right::Read), About::Some), None, None)
            .is_err()
    );
}

#[test]
fn an_owner_cares_for_the_own_account_and_nothing_else() {
    let address = |text: &str| EmailAddress::parse(text).unwrap();
    let shop = DomainName::parse("shop.example").unwrap();
    let id = AccountId([1; 16]);
    let owned = Owned { address: address("ann@shop.example"), id, passphrase: 2 };
    let owner = Access::of_owner(owned, &shop);
    let may = |about, account: Option<&str>| {
        let need = Need::Right(shown_right(Right::Domain), about);
        let account = account.map(address);
        owner.check("x", need, Some("shop.example"), account.as_ref()).is_ok()
    };
    assert!(may(About::OwnAccount, Some("Ann@shop.example")));
    for other in [None, Some("bob@shop.example"), Some("ann@mail.shop.example")] {
        assert!(!may(About::OwnAccount, other), "{other:?}");
    }
    let others = [About::Account, About::Domain, About::Cluster, About::TrustSet, About::Some];
    for about in others {
        assert!(!may(about, Some("ann@shop.example")), "{about:?}");
    }
    assert!(owner.check("x", Need::Socket, None, None).is_err());
    let of = |text: &str| AccountOf { domain: shop.clone(), address: address(text) };
    let revoke = |text: &str| {
        let (serials, reason) = (Vec::new(), RevocationReason::KeyCompromise);
        AccountAction::RevokeAccountCertificate(RevokeAccountCertificate {
            of: of(text),
            serials,
            reason,
        })
    };
    let acts = |action: AccountAction| owner.check_action("x", &action.into(), &[]).is_ok();
    assert!(acts(revoke("ann@shop.example")) && !acts(revoke("bob@shop.example")));
    assert!(!acts(AccountAction::DeleteAccount(of("ann@shop.example"))));
    let invite = InviteOwner { of: of("ann@shop.example"), invitation: None };
    assert!(!acts(AccountAction::InviteOwner(invite)));
    assert!(owner.check_action("x", &Action::DeleteDomain(shop.clone()), &[]).is_err());
    assert!(owner.check_domain("x", &DomainName::parse("bank.example").unwrap()).is_err());
    assert!(!Access::all_rights().covers(&owner), "nobody gives out what an owner has");
    // Judged again by the account as it is: a request may wait for its body for a minute.
    let account = |id: u8, passphrase| Account {
        id: AccountId([id; 16]),
        name: String::new(),
        key: None,
        earlier_keys: 0,
        passphrase,
        invitation: None,
        version: Version(1),
        changed: Stamp {
            time: UnixMillis(0),
            principal: Principal::Socket { uid: 0 },
            reason: None,
        },
    };
    assert!(owner.check_owned(&account(1, 2)).is_ok());
    assert!(owner.check_owned(&account(1, 3)).is_err(), "another passphrase");
    assert!(owner.check_owned(&account(2, 2)).is_err(), "another account of that address");
    assert!(Access::all_rights().check_owned(&account(2, 3)).is_ok());
}
