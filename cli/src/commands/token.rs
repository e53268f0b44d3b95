//! Commands for join tokens, access tokens and the keyring.

use conclave_api::{join_token, token::Create};
use conclave_client::Change;

use super::{Asking, Done, change, confirm, removing};
use crate::{
    args::{JoinToken, Keyring, Token},
    output::{self, Columns},
};

pub(super) async fn join_token(asking: &Asking, command: JoinToken) -> Done {
    let JoinToken::Create { expires_in } = command;
    let create = join_token::Create { expires_in: Some(expires_in.as_secs()) };
    let made = asking.client()?.create_join_token(&create, &Change::default()).await?;
    if !output::json(&asking.global, &made) {
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
    Ok(0)
}

pub(super) async fn token(asking: &Asking, command: Token) -> Done {
    let (client, global) = (asking.client()?, &asking.global);
    match command {
        Token::Create { name, expires_in, missing } => {
            let create = Create { name, expires_in: expires_in.map(|time| time.as_secs()) };
            let change = Change { is_if_missing: missing.if_missing, ..Change::default() };
            let made = client.create_token(&create, &change).await?;
            if output::json(global, &made) {
                return Ok(0);
            }
            let Some(token) = &made.token else {
                let name = &made.about.name;
                output::change(global, &format!("access token {name}"), &made.change);
                return Ok(0);
            };
            output::line(token);
            output::advice(
                global,
                "It is shown once and stored nowhere. Put it into a file and use: --address https://HOST:PORT --token-file FILE",
            );
        }
        Token::List => {
            let tokens = client.tokens().await?.items;
            let columns = Columns {
                kind: "Token",
                head: &["ID", "NAME", "EXPIRES", "MADE", "BY"],
                wide: &[],
                name: |token: &conclave_api::token::Token| token.id.clone(),
            };
            output::list(global, &columns, &tokens, |token, _| {
                vec![
                    token.id.clone(),
                    token.name.clone(),
                    token.expires.clone().unwrap_or_else(|| "never".to_owned()),
                    token.made.clone(),
                    token.made_by.clone(),
                ]
            });
        }
        Token::Revoke { id, existing, changing } => {
            confirm(global, &changing, &format!("the access token {id}"), &id)?;
            let done = client.revoke_token(&id, &removing(&changing, &existing)).await?;
            output::change(global, &format!("access token {id}: ended"), &done);
        }
    }
    Ok(0)
}

pub(super) async fn keyring(asking: &Asking, command: Keyring) -> Done {
    let (client, global) = (asking.client()?, &asking.global);
    match command {
        Keyring::Status => {
            let keyring = client.keyring().await?;
            let name = format!("generation {}", keyring.generation);
            if !output::object(global, &name, &keyring) {
                output::line(&format!(
                    "Generation {} of {}, opened by {}",
                    keyring.generation,
                    keyring.generations,
                    keyring.members.join(" ")
                ));
                if keyring.sealed {
                    output::line("x  the answering node is sealed");
                }
            }
        }
        Keyring::Rotate { changing } => {
            let done = client.rotate_keyring(&change(&changing)).await?;
            output::change(global, &format!("keyring: {}", done.object), &done);
        }
    }
    Ok(0)
}
