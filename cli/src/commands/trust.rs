//! Trusted certificates.

mod verify;

use conclave_api::trust::{Add, Remove, Trusted, Type};

use super::{Asking, Done, change, confirm, in_file, read_file};
use crate::{
    args::{Global, Trust},
    output,
};

/// What needs no node.
pub(super) fn run_offline(global: &Global, command: &Trust) -> Option<Done> {
    match command {
        Trust::Verify(asked) | Trust::Explain(asked) if verify::is_offline(global, asked) => {
            Some(verify::offline(global, asked))
        }
        _ => None,
    }
}

pub(super) async fn run(asking: &Asking, command: Trust) -> Done {
    let (client, global) = (&asking.client, &asking.global);
    let scope = global.scope.clone().unwrap_or_else(|| "cluster".to_owned());
    match command {
        Trust::Verify(asked) | Trust::Explain(asked) => {
            return verify::online(asking, &asked).await;
        }
        Trust::List { no_inherited, all } => list(asking, &scope, no_inherited, all).await?,
        Trust::Add { file, changing } => {
            let add = Add { certificates: read_file(&file)? };
            let done = client.add_trusted(&scope, &add, &change(&changing)).await;
            let files = [("certificates", file.as_path())];
            let done = done.map_err(|failure| in_file(failure, &files))?;
            output::change(global, &format!("{scope}: added to the trusted certificates"), &done);
        }
        Trust::Remove { fingerprints, changing } => {
            let what = format!(
                "{} trusted certificate(s) or revocation list(s) of {scope}",
                fingerprints.len()
            );
            confirm(global, &changing, &what, &scope)?;
            let remove = Remove { fingerprints };
            let done = client.remove_trusted(&scope, &remove, &change(&changing)).await?;
            output::change(
                global,
                &format!("{scope}: removed from the trusted certificates"),
                &done,
            );
        }
    }
    Ok(0)
}

async fn list(
    asking: &Asking,
    scope: &str,
    no_inherited: bool,
    all: bool,
) -> Result<(), conclave_client::Failure> {
    let global = &asking.global;
    let mut items = asking.client.trusted(scope).await?.items;
    items.retain(|one| one.own || !no_inherited);
    let is_for_people = output::is_table(global);
    let builtin = items.iter().filter(|one| one.set == "builtin").count();
    if is_for_people && !all && scope != "builtin" {
        items.retain(|one| one.set != "builtin");
    }
    let head = ["SET", "ISSUED TO", "SERIAL", "FROM", "TILL", "FINGERPRINT"];
    output::list(global, &items, &head, |one| {
        let day = |time: &str| time.get(..10).unwrap_or(time).to_owned();
        vec![
            one.set.clone(),
            subject(one),
            one.serial.clone(),
            day(&one.not_before),
            day(&one.not_after),
            one.sha256.get(..16).unwrap_or(&one.sha256).to_owned(),
        ]
    });
    if is_for_people && !all && scope != "builtin" && builtin > 0 {
        output::advice(
            global,
            &format!("and {builtin} built-in ones  (--all shows them, --no-inherited hides this)"),
        );
    }
    Ok(())
}

/// Whom it was issued to; or which list it is.
fn subject(one: &Trusted) -> String {
    match one.of {
        Type::Certificate => one.subject.clone(),
        Type::Crl => {
            let revoked = one.revoked.unwrap_or_default();
            format!("revocation list of {}, {revoked} revoked", one.subject)
        }
    }
}
