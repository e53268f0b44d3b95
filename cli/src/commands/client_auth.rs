//! Commands for client certificates of domains.

use conclave_api::client_auth::{ClientAuth as Asked, Set};

use super::{Asking, Done, change, removing};
use crate::{args::ClientAuth, output};

pub(super) async fn run(asking: &Asking, command: ClientAuth) -> Done {
    let (client, global) = (asking.client()?, &asking.global);
    match command {
        ClientAuth::Set { name, issuer, required, changing } => {
            let set = Set { issuer, required };
            let done = client.set_client_auth(&name, &set, &change(&changing)).await?;
            let how = if required { "required" } else { "asked for" };
            output::change(global, &format!("{name}: client certificates are {how}"), &done);
        }
        ClientAuth::Show { name } => {
            let shown = client.client_auth(&name).await?;
            if !output::object(global, &name, &shown) {
                output::line(&match &shown.client_auth {
                    None => format!("{name}: clients are not asked for a certificate"),
                    Some(asked) => format!("{name}: {}", words(asked)),
                });
                shown.problems.iter().for_each(|text| output::line(&format!("!  {text}")));
            }
        }
        ClientAuth::Clear { name, existing, changing } => {
            let done = client.clear_client_auth(&name, &removing(&changing, &existing)).await?;
            let text = format!("{name}: clients are no longer asked for a certificate");
            output::change(global, &text, &done);
        }
    }
    Ok(0)
}

/// Describes a client certificate policy.
pub(super) fn words(asked: &Asked) -> String {
    let how = if asked.required { "required" } else { "asked for" };
    let issuer = match (&asked.subject, &asked.set) {
        (Some(subject), Some(set)) => format!("{subject} ({set} trust, SHA-256 {})", asked.issuer),
        _ => format!("SHA-256 {}", asked.issuer),
    };
    format!("a certificate issued by {issuer} is {how}")
}
