//! Commands for join tokens and access tokens.

use conclave_api::{join_token, problem::Problem, token::Create};
use conclave_client::{Change, Failure};

use super::{Asking, Done, change, confirm, removing, user};
use crate::{
    args::{JoinToken, Token},
    output::{self, Columns},
};

pub(super) async fn join_token(asking: &Asking, command: JoinToken) -> Done {
    let expires_in = match command {
        JoinToken::Create { expires_in } => expires_in,
        JoinToken::List => return list_join_tokens(asking).await,
        JoinToken::Revoke { id, changing } => {
            confirm(&asking.global, changing.is_sure(), &format!("the join token {id}"), &id)?;
            let done = asking.client()?.revoke_join_token(&id, &change(&changing)).await?;
            output::change(&asking.global, &format!("join token {id}: ended"), &done);
            return Ok(0);
        }
    };
    let create = join_token::Create { expires_in: Some(expires_in.as_secs()) };
    let made = asking.client()?.create_join_token(&create, &Change::default()).await?;
    let is_json = output::json(&asking.global, &made);
    if !is_json {
        output::advice(
            &asking.global,
            &format!("On the new node, until {}, once:\n", made.expires),
        );
        output::advice(&asking.global, &format!("  sudo conclave cluster join {}\n", made.address));
        output::advice(
            &asking.global,
            "and paste this token when asked (scripts: --token-file FILE):\n",
        );
        output::line(&made.token);
        output::advice(
            &asking.global,
            &format!(
                "\nIt carries the cluster's fingerprint {}, so the new node cannot be led astray.",
                made.fingerprint
            ),
        );
    }
    match output::lost() {
        None => Ok(0),
        Some(lost) => Err(Box::new(
            lost.why(format!("the new join token could not be shown; it expires {}", made.expires))
                .hint("conclave join-token create    makes another one"),
        )),
    }
}

async fn list_join_tokens(asking: &Asking) -> Done {
    let tokens = asking.client()?.join_tokens().await?.items;
    let columns = Columns {
        kind: "JoinToken",
        head: &["ID", "EXPIRES", "USED BY", "MADE", "BY"],
        wide: &[],
        name: |token: &join_token::Known| token.id.clone(),
    };
    output::list(&asking.global, &columns, &tokens, |token, _| {
        let used = token.used_by.map(|node| format!("node {node}"));
        vec![
            token.id.clone(),
            token.expires.clone(),
            used.unwrap_or_else(|| "-".to_owned()),
            token.made.clone(),
            token.made_by.clone(),
        ]
    });
    Ok(0)
}

pub(super) async fn token(asking: &Asking, command: Token) -> Done {
    let (client, global) = (asking.client()?, &asking.global);
    match command {
        Token::Create { name, granting, uses, expires_in, never_expires, missing } => {
            let create = Create {
                name,
                expires_in: expires_in.map(|time| time.as_secs()),
                never_expires,
                grant: granting.grant(uses),
            };
            let adding = Change { is_if_missing: missing.if_missing, ..Change::default() };
            let made = client.create_token(&create, &adding).await?;
            let is_json = output::json(global, &made);
            let Some(token) = &made.token else {
                let name = &made.about.name;
                if !is_json {
                    output::change(global, &format!("access token {name}"), &made.change);
                }
                return Ok(0);
            };
            if !is_json {
                output::line(token);
            }
            if let Some(lost) = output::lost() {
                return Err(revoked(asking, &made.about.id, lost).await);
            }
            if is_json {
                return Ok(0);
            }
            output::advice(
                global,
                "It is shown once and stored nowhere. Put it into a file and use: --address https://HOST:PORT --token-file FILE",
            );
        }
        Token::List => {
            let tokens = client.tokens().await?.items;
            let columns = Columns {
                kind: "Token",
                head: &["ID", "NAME", "MAY", "EXPIRES", "BY"],
                wide: &["MADE", "USES LEFT"],
                name: |token: &conclave_api::token::Token| token.id.clone(),
            };
            output::list(global, &columns, &tokens, |token, _| {
                vec![
                    token.id.clone(),
                    token.name.clone(),
                    user::may(token.grant.as_ref(), token.user.as_deref()),
                    token.expires.clone().unwrap_or_else(|| "never".to_owned()),
                    token.made_by.clone(),
                    token.made.clone(),
                    token.uses_left.map_or_else(|| "-".to_owned(), |uses| uses.to_string()),
                ]
            });
        }
        Token::Revoke { id, existing, changing } => {
            confirm(global, changing.is_sure(), &format!("the access token {id}"), &id)?;
            let done = client.revoke_token(&id, &removing(&changing, &existing)).await?;
            if output::json(global, &done) {
                return Ok(0);
            }
            output::change(global, &format!("access token {id}: ended"), &done.change);
            for made in &done.made_by_it {
                output::advice(global, &format!("   with it, because it had made it: {made}"));
            }
        }
        Token::Whoami => return user::who_am_i(asking).await,
    }
    Ok(0)
}

/// Revokes a token that nobody has, because it could not be written. Returns what to say about it.
async fn revoked(asking: &Asking, id: &str, lost: Problem) -> Failure {
    let revoked = match asking.client() {
        Ok(client) => client.revoke_token(id, &Change::default()).await.map(|_| ()),
        Err(failure) => Err(failure),
    };
    Box::new(match revoked {
        Ok(()) => {
            lost.why(format!("the new token {id} could not be shown, so it is revoked again"))
        }
        Err(failure) => lost
            .why(format!(
                "the new token {id} could not be shown, nor be revoked: {}",
                failure.title
            ))
            .hint(format!("conclave token revoke {id} --yes")),
    })
}
