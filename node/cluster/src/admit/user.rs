//! Admission of users of the admin API, and of their logins.

use conclave_api::{
    problem::{Code, Problem},
    user::{Certificate, Create, Set},
};
use conclave_keys::{Claim, Purpose, Secret, hash_password, password_weakness};
use conclave_store::{
    command::{Action, GrantToken, PutUser},
    id::{Fingerprint, TokenId, UserId, UserName},
    limits::USER_CERTIFICATES_MAX,
    record::{AccessToken, CertificateLogin, Grant, Principal, RowKey, Stamp, User},
    time::UnixMillis,
};

use super::{Admitted, View, grant, token::check_covered};

const CERTIFICATE_NAME_BYTES_MAX: usize = 254;
/// Life of a login.
const SESSION_MS: u64 = 12 * 60 * 60 * 1_000;

/// A new user, with the password hashed: that takes time, and is done once.
pub struct NewUser {
    name: UserName,
    id: UserId,
    password: Option<String>,
    certificates: Vec<CertificateLogin>,
    grant: Grant,
}

impl NewUser {
    /// Checks a request and hashes its password. Takes a while.
    pub fn read(asked: Create, id: UserId) -> Result<NewUser, Problem> {
        let name = user_name(&asked.name)?;
        if asked.password.is_none() && asked.certificates.is_empty() {
            return Err(Problem::new(Code::Malformed, "a user needs a password or a certificate")
                .hint("--password-file FILE    or --certificate ISSUER=NAME"));
        }
        Ok(NewUser {
            name,
            id,
            password: asked.password.map(hashed).transpose()?,
            certificates: certificates(&asked.certificates)?,
            grant: grant::grant(&asked.grant, false)?,
        })
    }
}

/// What changes about a user.
pub struct SetUser {
    password: Option<String>,
    certificates: Option<Vec<CertificateLogin>>,
    grant: Option<Grant>,
    /// The secret of one-time codes: none to remove it.
    code: Option<Option<Secret>>,
}

impl SetUser {
    /// Checks a request and hashes its password. Takes a while.
    pub fn read(asked: Set) -> Result<SetUser, Problem> {
        Ok(SetUser {
            password: asked.password.map(hashed).transpose()?,
            certificates: asked.certificates.as_deref().map(certificates).transpose()?,
            grant: asked.grant.map(|asked| grant::grant(&asked, false)).transpose()?,
            code: None,
        })
    }

    /// Asks for one-time codes by this secret from now on, or for none.
    pub fn code(secret: Option<Secret>) -> SetUser {
        SetUser { password: None, certificates: None, grant: None, code: Some(secret) }
    }
}

/// Parses the name of a user.
pub fn user_name(text: &str) -> Result<UserName, Problem> {
    UserName::parse(text).map_err(|error| Problem::new(Code::Malformed, error.to_string()))
}

fn hashed(password: String) -> Result<String, Problem> {
    let password = Secret::new(password.into_bytes());
    if let Some(weakness) = password_weakness(&password) {
        return Err(Problem::new(Code::Malformed, weakness));
    }
    hash_password(&password)
        .ok_or_else(|| Problem::new(Code::Internal, "the password could not be hashed"))
}

fn certificates(asked: &[Certificate]) -> Result<Vec<CertificateLogin>, Problem> {
    if asked.len() > USER_CERTIFICATES_MAX {
        let title = format!("a user has at most {USER_CERTIFICATES_MAX} certificates");
        return Err(Problem::new(Code::Malformed, title));
    }
    let one = |asked: &Certificate| {
        let issuer = Fingerprint::parse(&asked.issuer).ok_or_else(|| {
            let title = format!("{:?} is not the SHA-256 of a certificate", asked.issuer);
            Problem::new(Code::Malformed, title)
                .hint("conclave trust list --scope cluster    shows those that are trusted")
        })?;
        let is_name = (1..=CERTIFICATE_NAME_BYTES_MAX).contains(&asked.name.len())
            && asked.name.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_name {
            let title = format!("{:?} is no name of a certificate", asked.name);
            return Err(Problem::new(Code::Malformed, title));
        }
        Ok(CertificateLogin { issuer, name: asked.name.to_ascii_lowercase() })
    };
    asked.iter().map(one).collect()
}

/// Creates a user.
pub fn create_user(view: &View<'_>, new: &NewUser) -> Result<Admitted, Problem> {
    check_covered(view.access, &new.grant)?;
    check_certificates(view, &new.name, &new.certificates)?;
    if view.is_if_missing && view.state.user(&new.name).is_some() {
        return Ok(Admitted::nothing(&new.name, vec![RowKey::User(new.name.clone())]));
    }
    let user = User {
        id: new.id,
        password: new.password.clone(),
        code: None,
        certificates: new.certificates.clone(),
        grant: new.grant.clone(),
        credentials_changed: view.now,
        changed: stamp(view),
    };
    put(view, new.name.clone(), user, true)
}

/// Changes a user.
pub fn set_user(view: &View<'_>, name: &str, set: &SetUser) -> Result<Admitted, Problem> {
    let name = user_name(name)?;
    let present = known(view, &name)?;
    let mut user = present.clone();
    // Who sets the password of another could log in as that one.
    check_covered(view.access, &present.grant)?;
    if let Some(grant) = &set.grant {
        check_covered(view.access, grant)?;
        user.grant = grant.clone();
    }
    if let Some(certificates) = &set.certificates {
        check_certificates(view, &name, certificates)?;
        user.certificates = certificates.clone();
    }
    if set.password.is_some() {
        user.password = set.password.clone();
    }
    if let Some(code) = &set.code {
        let seal = |secret| view.seal(Purpose::UserCode(user.id), secret);
        user.code = code.as_ref().map(seal).transpose()?;
    }
    if user.password.is_none() && user.certificates.is_empty() {
        return Err(Problem::new(Code::Malformed, "a user needs a password or a certificate"));
    }
    if user == *present {
        return Ok(Admitted::nothing(&name, vec![RowKey::User(name.clone())]));
    }
    let is_same_login = user.password == present.password
        && user.code == present.code
        && user.certificates == present.certificates;
    if !is_same_login {
        user.credentials_changed = view.now;
    }
    user.changed = stamp(view);
    let expected = view.state.expectation(RowKey::User(name.clone()));
    Ok(put(view, name, user, false)?.expecting(expected))
}

fn put(view: &View<'_>, name: UserName, user: User, is_new: bool) -> Result<Admitted, Problem> {
    let proof = view.node.keyring().prove(&Claim::user(&name, &user));
    let proof = proof.map_err(|error| view.sealed_problem(&error))?;
    let object = name.clone();
    let put = PutUser { name, user, proof, is_new };
    Ok(Admitted::new(Action::PutUser(Box::new(put)), object))
}

/// Deletes a user.
pub fn delete_user(_view: &View<'_>, name: &str) -> Result<Admitted, Problem> {
    let name = user_name(name)?;
    Ok(Admitted::new(Action::RemoveUser(name.clone()), name))
}

/// Makes the token of a login. `made` names the user.
pub(crate) fn login(
    view: &View<'_>,
    name: &UserName,
    (id, secret): (TokenId, &[u8; 32]),
    user: UserId,
) -> Result<Admitted, Problem> {
    let present = view.state.user(name).filter(|present| present.id == user);
    let gone = || Problem::new(Code::NotLoggedIn, "the user was removed in the meantime");
    present.ok_or_else(gone)?;
    let principal = Principal::User { name: name.clone(), session: id };
    let token = AccessToken {
        name: format!("login of {name}"),
        secret: Fingerprint::of(secret),
        expires: Some(view.now.plus(SESSION_MS)),
        made: Stamp { time: view.now, principal, reason: None },
    };
    let grant = Grant { user: Some(user), ..Grant::default() };
    let proof = view.node.keyring().prove(&Claim::access_token(id, &token, Some(&grant)));
    let proof = proof.map_err(|error| view.sealed_problem(&error))?;
    let expected = view.state.expectation(RowKey::User(name.clone()));
    let action = Action::GrantToken(Box::new(GrantToken { id, token, grant, proof }));
    Ok(Admitted::new(action, name).expecting(expected))
}

fn known<'s>(view: &View<'s>, name: &UserName) -> Result<&'s User, Problem> {
    view.state.user(name).ok_or_else(|| {
        Problem::new(Code::UserUnknown, format!("no user {name}")).hint("conclave user list")
    })
}

/// Refuses a certificate whose authority the cluster does not trust, and one that is the login of
/// another user.
fn check_certificates(
    view: &View<'_>,
    name: &UserName,
    certificates: &[CertificateLogin],
) -> Result<(), Problem> {
    let mut others = view.state.users().filter(|(other, _)| *other != name);
    // By whatever authority: one of them may stand above another, and a certificate fit both.
    let is_taken =
        |one: &CertificateLogin| certificates.iter().any(|wanted| wanted.name == one.name);
    let other = others.find(|(_, user)| user.certificates.iter().any(is_taken));
    if let Some((other, _)) = other {
        let title = format!("{other} logs in with a certificate of this name already");
        return Err(Problem::new(Code::UserExists, title).hint("conclave user show NAME"));
    }
    let trusted = |issuer: &Fingerprint| {
        let set = conclave_store::record::TrustSet::System;
        view.state.trusted(&set).any(|(fingerprint, _)| fingerprint == *issuer)
    };
    match certificates.iter().find(|one| !trusted(&one.issuer)) {
        None => Ok(()),
        Some(one) => {
            let title = format!("the cluster does not trust the certificate {}", one.issuer);
            Err(Problem::new(Code::TrustedCertificateUnknown, title)
                .hint("conclave trust add FILE --scope cluster"))
        }
    }
}

fn stamp(view: &View<'_>) -> Stamp {
    let (principal, reason) = (view.principal.clone(), view.reason.map(str::to_owned));
    Stamp { time: view.now, principal, reason }
}

/// Returns when a login made at this time ends.
pub(crate) fn session_end(made: UnixMillis) -> UnixMillis {
    made.plus(SESSION_MS)
}
