//! Commands for certificates of domains.

use std::path::Path;

use conclave_api::{
    canary::End,
    certificate::{Certificate, Import, Refresh},
    problem::{Code, Problem},
};
use conclave_client::Failure;
use serde::Serialize;

use super::{
    Asking, Done, change, confirm, csr, file, in_file, key::passphrase, removing, write_file,
};
use crate::{
    args::{Cert, Global, Of, Taking},
    output::{self, Columns},
};

pub(super) async fn run(asking: &Asking, command: Cert) -> Done {
    let global = &asking.global;
    match command {
        Cert::Check { file, key, passphrase_file, names, anchors } => {
            let (key, passphrase) = (key.as_deref(), passphrase_file.as_deref());
            return file::check(global, &file, key, passphrase, &names, anchors.as_deref());
        }
        Cert::Show { file: Some(file), .. } => return file::show(global, &file),
        // Without a file there is a name: the argument parser requires one of the two.
        Cert::Show { name, file: None, of } => {
            let name = name.unwrap_or_default();
            match file_meant(&name) {
                Some(file) => return file::show(global, file),
                None => show_domain(asking, &name, of).await?,
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
            let (refresh, client) = (Refresh { days }, asking.client()?);
            let client = client.with_family(of.family);
            let done = client.refresh_certificate(&name, &refresh, &change(&changing)).await?;
            output::change(global, &format!("{name}: certificate refreshed"), &done);
            output::undo(global, &done);
        }
        Cert::Import(taking) => import(asking, *taking).await?,
        Cert::Canary { name, promote, stop: _, changing } => {
            let client = asking.client()?;
            let done = client.end_canary(&name, &End { promote }, &change(&changing)).await?;
            let what = if promote { "canary promoted" } else { "canary stopped" };
            output::change(global, &format!("{name}: {what}"), &done);
        }
        Cert::Export { name, of, chain, out } => {
            let client = asking.client()?.with_family(of.family);
            let mut pem = client.certificate(&name).await?.pem;
            if chain && let Ok(chain) = client.chain(&name).await {
                chain.certificates.iter().for_each(|certificate| pem.push_str(&certificate.pem));
            }
            write_file(out.as_deref(), &pem)?;
        }
        Cert::Remove { name, of, existing, changing } => {
            confirm(global, changing.is_sure(), &format!("the certificate of {name}"), &name)?;
            let client = asking.client()?.with_family(of.family);
            let done = client.remove_certificate(&name, &removing(&changing, &existing)).await?;
            output::change(global, &format!("{name}: certificate removed"), &done);
            output::undo(global, &done);
        }
    }
    Ok(0)
}

/// Returns the file of this name, if the name is one of a PEM file rather than of a domain.
fn file_meant(name: &str) -> Option<&Path> {
    let endings = ["pem", "crt", "cer", "cert", "der", "p7b", "p12", "pfx"];
    let path = Path::new(name);
    let has_ending = path.extension().is_some_and(|found| endings.iter().any(|one| found == *one));
    let is_file = name == "-" || name.contains('/') || has_ending;
    (is_file && (name == "-" || path.exists())).then_some(path)
}

/// Shows the certificates of a domain. If it has none, the node says what to do.
async fn show_domain(asking: &Asking, name: &str, of: Of) -> Result<(), Failure> {
    let (client, global) = (asking.client()?, &asking.global);
    let found = match of.family {
        Some(family) => vec![client.with_family(Some(family)).certificate(name).await?],
        None => {
            let both = client.domain(name).await?.credentials.into_iter();
            both.filter_map(|one| one.certificate).collect()
        }
    };
    match found.as_slice() {
        [] => client.certificate(name).await.map(|_| ()),
        [one] if output::object_of(global, "Certificate", name, one) => Ok(()),
        [one] => {
            show(one);
            Ok(())
        }
        several => {
            show_several(global, several);
            Ok(())
        }
    }
}

/// Shows several certificates, one after the other.
pub(super) fn show_several(global: &Global, several: &[Certificate]) {
    if !output::is_table(global) {
        let named = |one: &Certificate| one.sha256.clone();
        let columns = Columns { kind: "Certificate", head: &[], wide: &[], name: named };
        return output::list(global, &columns, several, |_, _| Vec::new());
    }
    for (place, one) in several.iter().enumerate() {
        if place > 0 {
            output::line("");
        }
        show(one);
    }
}

async fn import(asking: &Asking, taking: Taking) -> Result<(), Failure> {
    let Taking { name, of, file, key, passphrase_file, canary, linking, changing, .. } = taking;
    if !file.exists() && file != Path::new("-") && Path::new(&name).is_file() {
        let (file, given) = (file.display(), &name);
        let title = format!("{file} is no file, but {given} is: the domain comes first");
        let hint = format!("conclave cert import {file} {given}");
        return Err(Box::new(Problem::new(Code::Malformed, title).hint(hint)));
    }
    let import = Import {
        certificate: file::certificate_text(&file)?,
        key: key.as_deref().map(file::key_text).transpose()?,
        passphrase: passphrase(passphrase_file.as_deref())?,
        allow_name_mismatch: taking.allow_name_mismatch,
        allow_broken_chain: linking.allow_broken_chain,
        sort: linking.sort,
        canary: canary.clone(),
        soak_s: taking.soak.map(|soak| soak.as_secs()),
    };
    let mut files = vec![("certificate", file.as_path())];
    files.extend(key.as_deref().map(|key| ("key", key)));
    let client = asking.client()?.with_family(of.family);
    let done = client.import_certificate(&name, &import, &change(&changing)).await;
    let done = done.map_err(|failure| in_file(failure, &files))?;
    let Some(node) = canary else {
        output::change(&asking.global, &format!("{name}: certificate"), &done);
        output::undo(&asking.global, &done);
        return Ok(());
    };
    output::change(&asking.global, &format!("{name}: canary on {node}"), &done);
    let next = format!("conclave domain show {name}    or: conclave cert canary {name} --stop");
    output::next(&asking.global, &done, &next);
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
    let columns = Columns {
        kind: "DomainCertificate",
        head: &["DOMAIN", "ISSUED BY", "SERIAL", "KEY", "TILL", "LEFT"],
        wide: &["NAMES", "FROM", "SHA-256", "KEY SHA-256"],
        name: |one: &Listed| one.domain.clone(),
    };
    output::list(&asking.global, &columns, &all, |one, is_wide| {
        let found = &one.certificate;
        let (issuer, serial) = (found.issuer.clone(), found.serial.clone());
        let till = match is_wide {
            true => found.not_after.clone(),
            false => found.not_after.get(..10).unwrap_or(&found.not_after).to_owned(),
        };
        let left = format!("{}d", found.days_left);
        let names = found.names.join(" ");
        let (from, sha256) = (found.not_before.clone(), found.sha256.clone());
        let key = found.key_sha256.clone();
        let algorithm = found.algorithm.clone();
        vec![one.domain.clone(), issuer, serial, algorithm, till, left, names, from, sha256, key]
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
