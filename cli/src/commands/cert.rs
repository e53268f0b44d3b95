//! Commands for certificates of domains.

use conclave_api::certificate::{Certificate, Import, Refresh};
use conclave_client::Failure;
use serde::Serialize;

use super::{
    Asking, Done, change, confirm, csr, file, in_file, key::passphrase, read_file, write_file,
};
use crate::{
    args::{Cert, Taking},
    output,
};

pub(super) async fn run(asking: &Asking, command: Cert) -> Done {
    let global = &asking.global;
    match command {
        Cert::Check { file, key, passphrase_file, names, anchors } => {
            let (key, passphrase) = (key.as_deref(), passphrase_file.as_deref());
            return file::check(global, &file, key, passphrase, &names, anchors.as_deref());
        }
        Cert::Show { file: Some(file), .. } => return file::show(global, &file),
        Cert::Show { name, file: None, of } => {
            // Without a file there is a name: the argument parser requires one of the two.
            let name = name.unwrap_or_default();
            let certificate = asking.client()?.with_family(of.family).certificate(&name).await?;
            if !output::json(global, &certificate) {
                show(&certificate);
            }
        }
        Cert::List => list(asking).await?,
        Cert::SelfSign { name, of, fields, days, changing } => {
            let (fields, client) = (csr::self_sign(fields, Some(days)), asking.client()?);
            let client = client.with_family(of.family);
            let done = client.self_sign(&name, &fields, &change(&changing)).await?;
            output::change(global, &format!("{name}: self-signed certificate"), &done);
            output::undo(global, &done);
        }
        Cert::Refresh { name, of, days, changing } => {
            let (refresh, client) = (Refresh { days: Some(days) }, asking.client()?);
            let client = client.with_family(of.family);
            let done = client.refresh_certificate(&name, &refresh, &change(&changing)).await?;
            output::change(global, &format!("{name}: certificate refreshed"), &done);
            output::undo(global, &done);
        }
        Cert::Import(taking) => import(asking, *taking).await?,
        Cert::Export { name, of, chain, out } => {
            let client = asking.client()?.with_family(of.family);
            let mut pem = client.certificate(&name).await?.pem;
            if chain && let Ok(chain) = client.chain(&name).await {
                chain.certificates.iter().for_each(|certificate| pem.push_str(&certificate.pem));
            }
            write_file(out.as_deref(), &pem)?;
        }
        Cert::Remove { name, of, changing } => {
            confirm(global, &changing, &format!("the certificate of {name}"), &name)?;
            let client = asking.client()?.with_family(of.family);
            let done = client.remove_certificate(&name, &change(&changing)).await?;
            output::change(global, &format!("{name}: certificate removed"), &done);
            output::undo(global, &done);
        }
    }
    Ok(0)
}

async fn import(asking: &Asking, taking: Taking) -> Result<(), Failure> {
    let Taking { name, of, file, key, passphrase_file, allow_name_mismatch, linking, changing } =
        taking;
    let import = Import {
        certificate: read_file(&file)?,
        key: key.as_deref().map(read_file).transpose()?,
        passphrase: passphrase(passphrase_file.as_deref())?,
        allow_name_mismatch,
        allow_broken_chain: linking.allow_broken_chain,
        sort: linking.sort,
    };
    let mut files = vec![("certificate", file.as_path())];
    files.extend(key.as_deref().map(|key| ("key", key)));
    let client = asking.client()?.with_family(of.family);
    let done = client.import_certificate(&name, &import, &change(&changing)).await;
    let done = done.map_err(|failure| in_file(failure, &files))?;
    output::change(&asking.global, &format!("{name}: certificate"), &done);
    output::undo(&asking.global, &done);
    Ok(())
}

async fn list(asking: &Asking) -> Result<(), Failure> {
    let mut all = Vec::new();
    for domain in asking.client()?.domains().await?.items {
        let certificates = domain.credentials.into_iter().filter_map(|one| one.certificate);
        all.extend(
            certificates.map(|certificate| Listed { domain: domain.name.clone(), certificate }),
        );
    }
    all.sort_by_key(|one| one.certificate.days_left);
    let head = ["DOMAIN", "ISSUED BY", "SERIAL", "KEY", "TILL", "LEFT"];
    output::list(&asking.global, &all, &head, |one| {
        let found = &one.certificate;
        let (issuer, serial) = (found.issuer.clone(), found.serial.clone());
        let till = found.not_after.get(..10).unwrap_or(&found.not_after).to_owned();
        let left = format!("{}d", found.days_left);
        vec![one.domain.clone(), issuer, serial, found.algorithm.clone(), till, left]
    });
    Ok(())
}

/// Entry of a list of certificates.
#[derive(Serialize)]
struct Listed {
    domain: String,
    certificate: Certificate,
}

pub(super) fn show(certificate: &Certificate) {
    let field = |name: &str, text: &str| output::line(&format!("{name:<15}{text}"));
    field("Issued to", &certificate.subject);
    field("Issued by", &certificate.issuer);
    if !certificate.names.is_empty() {
        field("Names", &certificate.names.join(", "));
    }
    field("Serial number", &certificate.serial);
    let (from, till, left) =
        (&certificate.not_before, &certificate.not_after, certificate.days_left);
    field("Valid", &format!("{from} to {till}, {left} days left"));
    field("Key", &format!("{}, SHA-256 {}", certificate.algorithm, certificate.key_sha256));
    field("SHA-256", &certificate.sha256);
}
