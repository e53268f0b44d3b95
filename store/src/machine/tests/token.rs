//! Tokens with grants, and users.

use super::{
    audit::{PROOF, scene},
    *,
};
use crate::{
    command::{GrantToken, PutUser, RevokeTokens},
    limits::{GRANT_LIMITS_MAX, SESSIONS_MAX},
};

fn token(scene: &Scene, expires: Option<u64>) -> AccessToken {
    AccessToken {
        name: "deploy".to_owned(),
        secret: Fingerprint([1; 32]),
        expires: expires.map(UnixMillis),
        made: Stamp {
            time: UnixMillis(scene.index),
            principal: Principal::Socket { uid: 0 },
            reason: None,
        },
    }
}

/// Makes a token that ends at 1,000,000 ms.
pub(super) fn granted(scene: &Scene, id: u8, grant: Grant) -> Action {
    let (id, token) = (TokenId([id; 8]), token(scene, Some(1_000_000)));
    Action::GrantToken(Box::new(GrantToken { id, token, grant, proof: PROOF }))
}

fn by(scene: &Scene, id: u8, action: Action) -> Command {
    let principal = Principal::Token { id: TokenId([id; 8]), name: "deploy".to_owned() };
    Command { principal, ..scene.command(action) }
}

#[test]
fn a_token_makes_as_many_changes_as_it_may() {
    let mut scene = scene();
    let grant = Grant { roles: vec![Role::Operator], uses: Some(2), ..Grant::default() };
    let action = granted(&scene, 1, grant);
    scene.done(action);
    for name in ["a.example", "b.example"] {
        let command = by(&scene, 1, create(name, Vec::new()));
        assert!(matches!(scene.apply(&command), Outcome::Done(_)));
        // A retry, and what is refused, are no changes.
        assert!(matches!(scene.apply(&command), Outcome::Done(_)));
        let refused = by(&scene, 1, create(name, Vec::new()));
        assert!(matches!(scene.apply(&refused), Outcome::Rejected(_)));
    }
    assert_eq!(scene.state.token_uses(&TokenId([1; 8])), Some(0));
    let third = by(&scene, 1, create("c.example", Vec::new()));
    let expected = Outcome::Rejected(Rejection::TokenUsedUp(TokenId([1; 8])));
    assert_eq!(scene.apply(&third), expected);
}

#[test]
fn tokens_leave_with_all_that_belongs_to_them() {
    let mut scene = scene();
    for id in [1, 2] {
        let grant = Grant { uses: Some(2), ..Grant::default() };
        let action = granted(&scene, id, grant);
        scene.done(action);
    }
    let rows = scene.state.row_count();
    let access = vec![TokenId([1; 8]), TokenId([2; 8])];
    scene.done(Action::RevokeTokens(RevokeTokens { access: access.clone(), join: Vec::new() }));
    // Four rows of each; one operation and one entry of the audit trail more.
    assert_eq!(scene.state.row_count(), rows - 8 + 2);
    let again = RevokeTokens { access, join: Vec::new() };
    let expected = Rejection::AccessTokenUnknown(TokenId([1; 8]));
    assert_eq!(scene.rejected(Action::RevokeTokens(again)), expected);
}

#[test]
fn a_token_without_a_grant_cannot_be_made_any_longer() {
    let mut scene = scene();
    let made = token(&scene, None);
    let expected = Rejection::Stale(RowKey::Level);
    assert_eq!(scene.rejected(Action::AddAccessToken(TokenId([1; 8]), made, PROOF)), expected);
    let domains = (0..=GRANT_LIMITS_MAX)
        .map(|number| DomainLimit { name: name(&format!("d{number}.example")), is_tree: false });
    let wide = granted(&scene, 1, Grant { domains: domains.collect(), ..Grant::default() });
    assert!(matches!(scene.rejected(wide), Rejection::TooMany { .. }));
    let one = granted(&scene, 1, Grant::default());
    scene.done(one.clone());
    assert_eq!(scene.rejected(one), Rejection::Stale(RowKey::AccessToken(TokenId([1; 8]))));
}

fn user(id: u8, credentials_changed: u64) -> User {
    User {
        id: UserId([id; 8]),
        password: Some("$argon2id$".to_owned()),
        code: None,
        certificates: Vec::new(),
        grant: Grant { roles: vec![Role::Viewer], ..Grant::default() },
        credentials_changed: UnixMillis(credentials_changed),
        changed: Stamp {
            time: UnixMillis(1),
            principal: Principal::Socket { uid: 0 },
            reason: None,
        },
    }
}

fn put(user: User, is_new: bool) -> Action {
    let name = UserName::parse("alice").unwrap();
    Action::PutUser(Box::new(PutUser { name, user, proof: PROOF, is_new }))
}

#[test]
fn sessions_end_with_what_was_logged_in_with() {
    let mut scene = scene();
    let alice = UserName::parse("alice").unwrap();
    assert_eq!(scene.rejected(put(user(1, 1), false)), Rejection::UserUnknown(alice.clone()));
    scene.done(put(user(1, 1), true));
    assert_eq!(scene.rejected(put(user(2, 1), true)), Rejection::UserExists(alice.clone()));
    assert_eq!(scene.rejected(put(user(2, 1), false)), Rejection::UserUnknown(alice.clone()));
    let login = |scene: &mut Scene, id| {
        let grant = Grant { user: Some(UserId([1; 8])), ..Grant::default() };
        let action = granted(scene, id, grant);
        scene.done(action);
    };
    for id in 1..=20 {
        login(&mut scene, id);
    }
    let sessions =
        |scene: &Scene| scene.state.sessions().map(|(id, _)| id.0[0]).collect::<Vec<_>>();
    let kept: Vec<u8> = (21 - u8::try_from(SESSIONS_MAX).unwrap()..=20).collect();
    assert_eq!(sessions(&scene), kept, "the oldest have made room");
    let told = scene.state.audit_last().unwrap().1.event.event.clone();
    assert_eq!(told, "user.login");
    // Other rights are not another password.
    let admin = Grant { roles: vec![Role::Admin], ..Grant::default() };
    scene.done(put(User { grant: admin, ..user(1, 1) }, false));
    assert_eq!(sessions(&scene), kept);
    scene.done(put(user(1, 2), false));
    assert!(sessions(&scene).is_empty());
    login(&mut scene, 1);
    scene.done(Action::RemoveUser(alice.clone()));
    assert!(sessions(&scene).is_empty());
    assert!(scene.state.proof(ProofOf::User(UserId([1; 8]))).is_none());
    assert_eq!(scene.rejected(Action::RemoveUser(alice.clone())), Rejection::UserUnknown(alice));
}

#[test]
fn sessions_that_have_expired_make_room_for_any_login() {
    let mut scene = scene();
    let grant = Grant { user: Some(UserId([1; 8])), ..Grant::default() };
    let first = granted(&scene, 1, grant);
    scene.done(first);
    let grant = Grant { user: Some(UserId([2; 8])), ..Grant::default() };
    let mut second = scene.command(granted(&scene, 2, grant));
    second.time = UnixMillis(1_000_001);
    assert!(matches!(scene.apply(&second), Outcome::Done(_)));
    let left: Vec<TokenId> = scene.state.sessions().map(|(id, _)| id).collect();
    assert_eq!(left, [TokenId([2; 8])]);
}
