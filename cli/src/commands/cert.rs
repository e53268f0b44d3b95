//! Certificates of domains.

use conclave_api::certificate::{Certificate, Import, Refresh};

use serde::Serialize;

use super::{Asking, Done, change, confirm, csr, in_file, key::passphrase, read_file, write_file};
use crate::{args::Cert, output};

pub(super) async fn run(asking: &Asking, command: Cert) -> Done {
    let (client, global) = (&asking.client, &asking.global);
    match command {
        Cert::SelfSign { name, of, fields, days, changing } => {
            let self_sign = csr::self_sign(fields, Some(days));
            let done = client
                .with_family(of.family)
                .self_sign(&name, &self_sign, &change(&changing))
                .await?;
            output::change(global, &format!("{name}: self-signed certificate"), &done);
        }
        Cert::Refresh { name, of, days, changing } => {
            let refresh = Refresh { days: Some(days) };
            let done = client
                .with_family(of.family)
                .refresh_certificate(&name, &refresh, &change(&changing))
                .await?;
            output::change(global, &format!("{name}: certificate refreshed"), &done);
        }
        Cert::Import {
            name,
            of,
            file,
            key,
            passphrase_file,
            allow_name_mismatch,
            linking,
            changing,
        } => {
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
            let done = client
                .with_family(of.family)
                .import_certificate(&name, &import, &change(&changing))
                .await;
            let done = done.map_err(|failure| in_file(failure, &files))?;
            output::change(global, &format!("{name}: certificate"), &done);
        }
        Cert::Show { name, of, .. } => {
            let certificate = client.with_family(of.family).certificate(&name).await?;
            if !output::json(global, &certificate) {
                show(&certificate);
            }
        }
        Cert::List => {
            let mut all = Vec::new();
            for domain in client.domains().await?.items {
                let certificates = domain.credentials.into_iter().filter_map(|one| one.certificate);
                all.extend(certificates.map(|certificate| (domain.name.clone(), certificate)));
            }
            all.sort_by_key(|(_, one)| one.days_left);
            let all: Vec<_> = all
                .into_iter()
                .map(|(domain, certificate)| Listed { domain, certificate })
                .collect();
            let head = ["DOMAIN", "ISSUED BY", "SERIAL", "KEY", "TILL", "LEFT"];
            output::list(global, &all, &head, |one| {
                let found = &one.certificate;
                let (issuer, serial) = (found.issuer.clone(), found.serial.clone());
                let till = found.not_after.get(..10).unwrap_or(&found.not_after).to_owned();
                let left = format!("{}d", found.days_left);
                vec![one.domain.clone(), issuer, serial, found.algorithm.clone(), till, left]
            });
        }
        // Done without a node.
        Cert::Check { .. } => {}
        Cert::Export { name, of, chain, out } => {
            let client = client.with_family(of.family);
            let mut pem = client.certificate(&name).await?.pem;
            if chain && let Ok(chain) = client.chain(&name).await {
                chain.certificates.iter().for_each(|certificate| pem.push_str(&certificate.pem));
            }
            write_file(out.as_deref(), &pem)?;
        }
        Cert::Remove { name, of, changing } => {
            confirm(global, &changing, &format!("the certificate of {name}"), &name)?;
            let done =
                client.with_family(of.family).remove_certificate(&name, &change(&changing)).await?;
            output::change(global, &format!("{name}: certificate removed"), &done);
        }
    }
    Ok(0)
}

/// A certificate of a domain, in a list.
#[derive(Serialize)]
struct Listed {
    domain: String,
    certificate: Certificate,
}

pub(super) fn show(certificate: &Certificate) {
    let field = |name: &str, text: &str| output::line(&format!("{name:<15}{text}"));
    field("Issued to", &certificate.subject);
    field("Issued by", &certificate.issuer);
    field("Names", &certificate.names.join(", "));
    field("Serial number", &certificate.serial);
    let (from, till, left) =
        (&certificate.not_before, &certificate.not_after, certificate.days_left);
    field("Valid", &format!("{from} to {till}, {left} days left"));
    field("Key", &format!("{}, SHA-256 {}", certificate.algorithm, certificate.key_sha256));
    field("SHA-256", &certificate.sha256);
}
