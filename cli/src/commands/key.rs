//! Commands for private keys of domains.

use std::path::Path;

use conclave_api::{
    domain::Domain,
    key::{Generate, Import, Key, Test},
};
use conclave_client::Failure;

use super::{ATTENTION, Asking, Done, adding, confirm, file, in_file, read_file, removing};
use crate::{
    args,
    output::{self, Columns},
};

pub(super) async fn run(asking: &Asking, command: args::Key) -> Done {
    let (client, global) = (asking.client()?, &asking.global);
    match command {
        args::Key::Generate { name, algorithm, missing, changing } => {
            let generate = Generate { algorithm: Some(algorithm.clone()) };
            let done = client.generate_key(&name, &generate, &adding(&changing, &missing)).await?;
            output::change(global, &format!("{name}: made a key ({algorithm})"), &done);
            let next = format!("conclave csr create {name}    or: conclave cert self-sign {name}");
            output::next(global, &done, &next);
        }
        args::Key::Import { name, file, passphrase_file, missing, changing } => {
            let passphrase = passphrase(passphrase_file.as_deref())?;
            let import = Import { key: file::key_text(&file)?, passphrase };
            let done = client.import_key(&name, &import, &adding(&changing, &missing)).await;
            let done = done.map_err(|failure| in_file(failure, &[("key", &file)]))?;
            output::change(global, &format!("{name}: took the key"), &done);
            let next =
                format!("conclave cert import {name} FILE    or: conclave cert self-sign {name}");
            output::next(global, &done, &next);
        }
        args::Key::Test { name } => {
            let tested = client.test_key(&name).await?.items;
            let columns = Columns {
                kind: "KeyTest",
                head: &["NODE", "RESULT", "TOOK"],
                wide: &["MICROSECONDS"],
                name: |one: &Test| one.node.clone(),
            };
            output::list(global, &columns, &tested, |one, _| {
                let took = format!("{}.{:01} ms", one.took_us / 1_000, one.took_us % 1_000 / 100);
                vec![one.node.clone(), one.message.clone(), took, one.took_us.to_string()]
            });
            return Ok(if tested.iter().all(|one| one.ok) { 0 } else { ATTENTION });
        }
        args::Key::Show { name, of } => {
            let keys = match of.family {
                Some(family) => vec![client.with_family(Some(family)).key(&name).await?],
                None => all(&client.domain(&name).await?),
            };
            show(asking, &name, &keys).await?;
        }
        args::Key::Remove { name, of, pending: true, existing, changing } => {
            confirm(global, changing.is_sure(), &format!("the pending key of {name}"), &name)?;
            let options = removing(&changing, &existing);
            let done = client.with_family(of.family).remove_pending_key(&name, &options).await?;
            output::change(global, &format!("{name}: pending key removed"), &done);
        }
        args::Key::Remove { name, of, pending: false, existing, changing } => {
            let what = format!("the private key of {name}, its certificate and its CA chain");
            confirm(global, changing.is_sure(), &what, &name)?;
            let options = removing(&changing, &existing);
            let done = client.with_family(of.family).remove_key(&name, &options).await?;
            output::change(
                global,
                &format!("{name}: key, certificate and CA chain removed"),
                &done,
            );
            output::undo(global, &done);
        }
    }
    Ok(0)
}

/// Returns the keys of a domain, each with the one of its family that waits for its certificate.
fn all(domain: &Domain) -> Vec<Key> {
    let pending = |key: &Key| domain.pending_keys.iter().find(|one| one.family == key.family);
    let keys = domain
        .credentials
        .iter()
        .map(|one| Key { pending: pending(&one.key).cloned().map(Box::new), ..one.key.clone() });
    keys.collect()
}

/// Shows the keys of a domain. If it has none, the node says what to do.
async fn show(asking: &Asking, name: &str, keys: &[Key]) -> Result<(), Failure> {
    let global = &asking.global;
    match keys {
        [] => asking.client()?.key(name).await.map(|_| ()),
        [key] if output::object_of(global, "Key", name, key) => Ok(()),
        several if several.len() > 1 && !output::is_table(global) => {
            let named = |one: &Key| one.sha256.clone();
            let columns = Columns { kind: "Key", head: &[], wide: &[], name: named };
            output::list(global, &columns, several, |_, _| Vec::new());
            Ok(())
        }
        keys => {
            for (place, key) in keys.iter().enumerate() {
                if place > 0 {
                    output::line("");
                }
                let (algorithm, generation) = (&key.algorithm, key.generation);
                output::line(&format!(
                    "Private key    {algorithm}, sealed under generation {generation}"
                ));
                output::line(&format!("SHA-256        {}", key.sha256));
                output::line(&format!("Assigned       {}", key.assigned));
                if let Some(pending) = &key.pending {
                    output::line(&format!("Pending key    {}", pending_words(pending)));
                }
            }
            Ok(())
        }
    }
}

/// Describes a key that waits for its certificate.
pub(super) fn pending_words(key: &Key) -> String {
    format!("{}, waits for its certificate, SHA-256 {}", key.algorithm, key.sha256)
}

/// Reads a passphrase: the first line of a file.
pub(super) fn passphrase(file: Option<&Path>) -> Result<Option<String>, Failure> {
    let text = file.map(read_file).transpose()?;
    Ok(text.map(|text| text.lines().next().unwrap_or_default().to_owned()))
}
