//! Commands for users, roles and logins.

use std::path::{Path, PathBuf};

use super::{Asking, Done, adding, change, confirm, keyring, read_file, removing};
use crate::{
    args::{LoggingIn, RoleCommand, User},
    context::{session_file, write_private},
    output::{self, Columns},
};
use conclave_api::{
    grant::Grant,
    problem::{Code, Problem},
    user::{self, Create, Login, Session, Set},
};
use conclave_client::Failure;

pub(super) async fn run(asking: &Asking, command: User) -> Done {
    let (client, global) = (asking.client()?, &asking.global);
    match command {
        User::List => list(asking).await?,
        User::Show { name } => show(asking, &name).await?,
        User::Create { name, granting, showing, missing, changing } => {
            let has_certificate = !showing.certificate.is_empty();
            let password = match (&showing.password_file, has_certificate) {
                (None, true) => None,
                (file, _) => Some(password(asking, file.as_deref(), true)?),
            };
            let grant = granting.grant(None).unwrap_or_default();
            let certificates = showing.certificate;
            let create = Create { name: name.clone(), password, certificates, grant };
            let done = client.create_user(&create, &adding(&changing, &missing)).await?;
            output::change(global, &format!("user {name}: made"), &done);
            output::next(global, &done, &format!("conclave login {name}"));
        }
        User::Set { name, granting, certificate, changing } => {
            let certificates = (!certificate.is_empty()).then_some(certificate);
            let set = Set { password: None, certificates, grant: granting.grant(None) };
            let done = client.set_user(&name, &set, &change(&changing)).await?;
            output::change(global, &format!("user {name}: changed"), &done);
        }
        User::Password { name, password_file, changing } => {
            let password = Some(password(asking, password_file.as_deref(), true)?);
            let set = Set { password, ..Set::default() };
            let done = client.set_user(&name, &set, &change(&changing)).await?;
            output::change(global, &format!("user {name}: new password"), &done);
        }
        User::Code { name, remove: true, changing } => {
            let done = client.remove_code(&name, &change(&changing)).await?;
            output::change(global, &format!("user {name}: no code is asked for"), &done);
        }
        User::Code { name, remove: false, changing } => {
            let made = client.make_code(&name, &change(&changing)).await?;
            if output::json(global, &made) {
                return Ok(0);
            }
            output::line(&made.url);
            output::advice(
                global,
                "It is shown once: make a QR code of it, or type the secret into an authenticator app:",
            );
            output::advice(global, &format!("  {}", made.secret));
            if let Some(lost) = output::lost() {
                let hint = format!("conclave user code {name}    makes another one");
                return Err(Box::new(lost.hint(hint)));
            }
        }
        User::Delete { name, existing, changing } => {
            confirm(global, changing.is_sure(), &format!("the user {name}"), &name)?;
            let done = client.delete_user(&name, &removing(&changing, &existing)).await?;
            output::change(global, &format!("user {name}: deleted"), &done);
        }
    }
    Ok(0)
}

async fn list(asking: &Asking) -> Result<(), Failure> {
    let users = asking.client()?.users().await?.items;
    let columns = Columns {
        kind: "User",
        head: &["NAME", "MAY", "LOGS IN WITH", "SESSIONS"],
        wide: &["CHANGED", "BY"],
        name: |user: &user::User| user.name.clone(),
    };
    output::list(&asking.global, &columns, &users, |user, _| {
        vec![
            user.name.clone(),
            may(Some(&user.grant), None),
            logs_in_with(user),
            user.sessions.to_string(),
            user.changed.clone(),
            user.changed_by.clone(),
        ]
    });
    Ok(())
}

async fn show(asking: &Asking, name: &str) -> Result<(), Failure> {
    let user = asking.client()?.user(name).await?;
    if output::object_of(&asking.global, "User", &user.name, &user) {
        return Ok(());
    }
    output::line(&format!("{}  (changed {} by {})", user.name, user.changed, user.changed_by));
    output::line(&format!("May            {}", may(Some(&user.grant), None)));
    output::line(&format!("Logs in with   {}", logs_in_with(&user)));
    for certificate in &user.certificates {
        let (name, issuer) = (&certificate.name, &certificate.issuer);
        output::line(&format!("Certificate    {name}, issued by SHA-256 {issuer}"));
    }
    output::line(&format!("Sessions       {}", user.sessions));
    Ok(())
}

fn logs_in_with(user: &user::User) -> String {
    let ways = [
        (user.has_password && !user.has_code, "password"),
        (user.has_password && user.has_code, "password and code"),
        (!user.certificates.is_empty(), "certificate"),
    ];
    let ways: Vec<&str> = ways.into_iter().filter(|(is, _)| *is).map(|(_, way)| way).collect();
    ways.join(", ")
}

/// Describes a grant in one line.
pub(super) fn may(grant: Option<&Grant>, user: Option<&str>) -> String {
    if let Some(user) = user {
        return format!("what {user} may");
    }
    let Some(grant) = grant else { return "everything".to_owned() };
    let words = |list: &[String]| list.join(" ");
    let roles: Vec<String> = grant.roles.iter().map(ToString::to_string).collect();
    let only: Vec<String> = grant.only.iter().map(ToString::to_string).collect();
    let mut text = roles.join(" ");
    for (what, list) in
        [("only", words(&only)), ("for", words(&grant.domains)), ("from", words(&grant.networks))]
    {
        if !list.is_empty() {
            text.push_str(&format!(", {what} {list}"));
        }
    }
    text
}

/// Reads a password from a file or asks for it.
fn password(asking: &Asking, file: Option<&Path>, is_new: bool) -> Result<String, Failure> {
    match file {
        Some(file) => Ok(read_file(file)?.trim_end_matches(['\r', '\n']).to_owned()),
        None => keyring::secret(&asking.global, "Password: ", is_new),
    }
}

pub(super) async fn roles(asking: &Asking, command: RoleCommand) -> Done {
    let RoleCommand::List = command;
    let roles = asking.client()?.roles().await?.items;
    let columns = Columns {
        kind: "Role",
        head: &["ROLE", "RIGHTS", "WHAT IT IS FOR"],
        wide: &[],
        name: |role: &conclave_api::grant::RoleRights| role.role.to_string(),
    };
    output::list(&asking.global, &columns, &roles, |role, _| {
        let rights: Vec<String> = role.rights.iter().map(ToString::to_string).collect();
        vec![role.role.to_string(), rights.join(" "), role.text.clone()]
    });
    Ok(0)
}

pub(super) async fn who_am_i(asking: &Asking) -> Done {
    let me = asking.client()?.who_am_i().await?;
    if output::object(&asking.global, &me.who, &me) {
        return Ok(0);
    }
    let rights: Vec<String> = me.rights.iter().map(ToString::to_string).collect();
    output::line(&me.who);
    output::line(&format!("Rights    {}", rights.join(" ")));
    if !me.domains.is_empty() {
        output::line(&format!("Domains   {}", me.domains.join(" ")));
    }
    if let Some(expires) = &me.expires {
        output::line(&format!("Expires   {expires}"));
    }
    if let Some(uses) = me.uses_left {
        output::line(&format!("Changes   {uses} left"));
    }
    Ok(0)
}

pub(super) async fn log_in(asking: &Asking, logging_in: LoggingIn) -> Done {
    let LoggingIn { user, authority: _, password_file, code, save } = logging_in;
    // Known before a session is made that could not be kept.
    let kept = if save { Some(session_of_context(asking)?) } else { None };
    let client = asking.client()?;
    let password = password(asking, password_file.as_deref(), false)?;
    let session = client.log_in(&Login { user, password, code }).await?;
    let expires = &session.expires;
    if let Some((name, file)) = kept {
        write_private(&file, &session.token)?;
        let text = format!("{name}: logged in until {expires}; end it with conclave logout");
        output::success(&asking.global, &text);
        return Ok(0);
    }
    let text = format!(
        "The session ends at {expires}. Use it with --token-file FILE; end it with conclave logout."
    );
    show_session(asking, &session, &text)?;
    Ok(0)
}

/// Shows the token of a session, with advice for people.
pub(super) fn show_session(
    asking: &Asking,
    session: &Session,
    advice: &str,
) -> Result<(), Failure> {
    if !output::json(&asking.global, session) {
        output::line(&session.token);
        output::advice(&asking.global, advice);
    }
    match output::lost() {
        None => Ok(()),
        Some(lost) => Err(Box::new(lost.why("the token of the session could not be shown"))),
    }
}

/// Returns the context in use, and the file of its session.
fn session_of_context(asking: &Asking) -> Result<(String, PathBuf), Failure> {
    match super::asked(&asking.global)? {
        (_, Some((name, context))) if context.token.is_none() && context.identity.is_none() => {
            Ok((name.clone(), session_file(&name)?))
        }
        (_, context) => {
            let title = match context {
                Some((name, _)) => format!("the context {name} has a login, and needs no session"),
                None => "--save needs a context to keep the session for".to_owned(),
            };
            Err(Box::new(
                Problem::new(Code::Malformed, title)
                    .hint("conclave context add NAME --nodes ADDRESSES --authority SHA-256"),
            ))
        }
    }
}

pub(super) async fn log_out(asking: &Asking) -> Done {
    // What a context keeps is removed with the session that it is the token of.
    let shown = super::token_file(&asking.global, false);
    let kept = session_of_context(asking).ok();
    let kept = kept.filter(|(_, file)| shown.is_none_or(|shown| shown == *file));
    let forget = || kept.as_ref().map_or(Ok(()), |(name, _)| super::context::end_session(name));
    let client = match (asking.client(), &kept) {
        // Nothing can be ended with a damaged session.
        (Err(_), Some((_, file))) if file.exists() => {
            forget()?;
            output::success(&asking.global, "session: was damaged, and is forgotten");
            return Ok(0);
        }
        (client, _) => client?,
    };
    match client.log_out().await {
        Ok(done) => {
            forget()?;
            output::change(&asking.global, "session: ended", &done);
            Ok(0)
        }
        Err(failure) if failure.code == Code::NotLoggedIn && kept.is_some() => {
            forget()?;
            output::success(&asking.global, "session: had ended already");
            Ok(0)
        }
        Err(failure) if failure.code == Code::Malformed => Err(Box::new(
            Problem::new(Code::Malformed, "there is no session to end")
                .hint("--token-file FILE with the token of the session"),
        )),
        Err(failure) => Err(failure),
    }
}
