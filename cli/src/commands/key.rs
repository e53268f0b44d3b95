//! Commands for private keys of domains.

use std::path::Path;

use conclave_api::key::{Generate, Import};
use conclave_client::Failure;

use super::{Asking, Done, change, confirm, in_file, read_file};
use crate::{args::Key, output};

pub(super) async fn run(asking: &Asking, command: Key) -> Done {
    let (client, global) = (asking.client()?, &asking.global);
    match command {
        Key::Generate { name, algorithm, changing } => {
            let generate = Generate { algorithm: Some(algorithm.clone()) };
            let done = client.generate_key(&name, &generate, &change(&changing)).await?;
            output::change(global, &format!("{name}: made a key ({algorithm})"), &done);
            let next = format!("conclave csr create {name}    or: conclave cert self-sign {name}");
            output::next(global, &done, &next);
        }
        Key::Import { name, file, passphrase_file, changing } => {
            let passphrase = passphrase(passphrase_file.as_deref())?;
            let import = Import { key: read_file(&file)?, passphrase };
            let done = client.import_key(&name, &import, &change(&changing)).await;
            let done = done.map_err(|failure| in_file(failure, &[("key", &file)]))?;
            output::change(global, &format!("{name}: took the key"), &done);
            let next =
                format!("conclave cert import {name} FILE    or: conclave cert self-sign {name}");
            output::next(global, &done, &next);
        }
        Key::Test { name } => {
            let tested = client.test_key(&name).await?.items;
            let head = ["NODE", "RESULT", "TOOK"];
            output::list(global, &tested, &head, |one| {
                let took = format!("{}.{:01} ms", one.took_us / 1_000, one.took_us % 1_000 / 100);
                vec![one.node.clone(), one.message.clone(), took]
            });
            return Ok(if tested.iter().all(|one| one.ok) { 0 } else { 9 });
        }
        Key::Show { name, of } => {
            let key = client.with_family(of.family).key(&name).await?;
            if !output::json(global, &key) {
                output::line(&format!(
                    "Private key    {}, sealed under generation {}",
                    key.algorithm, key.generation
                ));
                output::line(&format!("SHA-256        {}", key.sha256));
                output::line(&format!("Assigned       {}", key.assigned));
            }
        }
        Key::Remove { name, of, changing } => {
            let what = format!("the private key of {name}, its certificate and its CA chain");
            confirm(global, &changing, &what, &name)?;
            let done = client.with_family(of.family).remove_key(&name, &change(&changing)).await?;
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

/// Reads a passphrase: the first line of a file.
pub(super) fn passphrase(file: Option<&Path>) -> Result<Option<String>, Failure> {
    let text = file.map(read_file).transpose()?;
    Ok(text.map(|text| text.lines().next().unwrap_or_default().to_owned()))
}
