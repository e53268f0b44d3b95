//! Commands for the issuers of S/MIME certificates.

use std::path::Path;

use conclave_api::{
    certificate::Refresh,
    smime::{Chain, Import, Issuer, Set, SetRecoveryKey, Subject},
};
use conclave_client::Failure;

use super::{
    Asking, Done, cert, change, check_writable, confirm, file, in_file, key::passphrase, message,
    read_file, removing, write_file,
};
use crate::{
    args::{Smime, SmimeSubject},
    output,
};

pub(super) async fn run(asking: &Asking, command: Smime) -> Done {
    match command {
        Smime::Sign(asked) => return message::sign(asking, *asked).await,
        Smime::Verify(asked) => return message::verify(asking, *asked).await,
        Smime::Encrypt(asked) => return message::encrypt(asking, *asked).await,
        Smime::Decrypt(asked) => return message::decrypt(asking, *asked).await,
        Smime::Filter(asked) => return Ok(message::filter(asking, *asked).await),
        Smime::Show { name } => {
            let issuer = asking.client()?.smime_issuer(&name).await?;
            if !output::object_of(&asking.global, "SmimeIssuer", &name, &issuer) {
                show(&issuer);
            }
        }
        Smime::Csr { name, subject, out } => csr(asking, &name, subject, out.as_deref()).await?,
        Smime::Crl { name, out } => crl(asking, &name, out.as_deref()).await?,
        changing => change_issuer(asking, changing).await?,
    }
    Ok(0)
}

async fn change_issuer(asking: &Asking, command: Smime) -> Result<(), Failure> {
    let (client, global) = (asking.client()?, &asking.global);
    match command {
        Smime::Import { name, file, key, passphrase_file, changing } => {
            let import = Import {
                certificate: file::certificate_text(&file)?,
                key: key.as_deref().map(file::key_text).transpose()?,
                passphrase: passphrase(passphrase_file.as_deref())?,
            };
            let mut files = vec![("certificate", file.as_path())];
            files.extend(key.as_deref().map(|key| ("key", key)));
            let done = client.import_smime_issuer(&name, &import, &change(&changing)).await;
            let done = done.map_err(|failure| in_file(failure, &files))?;
            output::change(global, &format!("{name}: S/MIME issuer"), &done);
        }
        Smime::SelfSign { name, subject, days, changing } => {
            let subject = converted(subject, Some(days));
            let done = client.self_sign_smime_issuer(&name, &subject, &change(&changing)).await?;
            output::change(global, &format!("{name}: self-signed S/MIME issuer"), &done);
            output::next(global, &done, &format!("conclave account create NAME@{name}"));
        }
        Smime::Refresh { name, days, changing } => {
            let refresh = Refresh { days };
            let done = client.refresh_smime_issuer(&name, &refresh, &change(&changing)).await?;
            output::change(global, &format!("{name}: S/MIME issuer refreshed"), &done);
        }
        Smime::Chain { name, file, changing } => {
            let chain = Chain { chain: read_file(&file)? };
            let done = client.set_smime_chain(&name, &chain, &change(&changing)).await;
            let done = done.map_err(|failure| in_file(failure, &[("chain", &file)]))?;
            output::change(global, &format!("{name}: chain of the S/MIME issuer"), &done);
        }
        Smime::Remove { name, existing, changing } => {
            confirm(global, changing.is_sure(), &format!("the S/MIME issuer of {name}"), &name)?;
            let done = client.remove_smime_issuer(&name, &removing(&changing, &existing)).await?;
            output::change(global, &format!("{name}: S/MIME issuer removed"), &done);
        }
        Smime::Set { name, crl_url, changing } => {
            let set = Set { crl_url: Some(crl_url) };
            let done = client.set_smime(&name, &set, &change(&changing)).await?;
            output::change(global, &format!("{name}: settings of accounts"), &done);
        }
        Smime::Recovery { name, file: Some(file), changing, .. } => {
            let set = SetRecoveryKey { public_key: read_file(&file)? };
            let done = client.set_recovery_key(&name, &set, &change(&changing)).await;
            let done = done.map_err(|failure| in_file(failure, &[("recovery key", &file)]))?;
            output::change(global, &format!("{name}: recovery key"), &done);
        }
        Smime::Recovery { name, changing, .. } => {
            confirm(global, changing.is_sure(), &format!("the recovery key of {name}"), &name)?;
            let done = client.remove_recovery_key(&name, &change(&changing)).await?;
            output::change(global, &format!("{name}: recovery key removed"), &done);
        }
        // The others change nothing.
        _ => {}
    }
    Ok(())
}

async fn csr(
    asking: &Asking,
    name: &str,
    subject: SmimeSubject,
    out: Option<&Path>,
) -> Result<(), Failure> {
    // Before a key is made for it.
    out.map(check_writable).transpose()?;
    let csr = asking.client()?.create_smime_csr(name, &converted(subject, None)).await?;
    if out.is_some() {
        write_file(out, &csr.pem)?;
    }
    if output::object_of(&asking.global, "SigningRequest", name, &csr) {
        return Ok(());
    }
    if out.is_none() {
        write_file(None, &csr.pem)?;
    }
    let next = format!("conclave smime import {name} CERT.pem");
    output::advice(&asking.global, &format!("Next: send it to your authority, then: {next}"));
    Ok(())
}

async fn crl(asking: &Asking, name: &str, out: Option<&Path>) -> Result<(), Failure> {
    let crl = asking.client()?.smime_crl(name).await?;
    if out.is_some() {
        write_file(out, &crl.pem)?;
    }
    if output::object_of(&asking.global, "SmimeCrl", name, &crl) {
        return Ok(());
    }
    match out {
        Some(out) => {
            let (out, revoked, next) = (out.display(), crl.revoked, &crl.next_update);
            let text = format!("Wrote {out}  ({revoked} revoked, valid until {next})");
            output::advice(&asking.global, &text);
        }
        None => write_file(None, &crl.pem)?,
    }
    Ok(())
}

fn converted(subject: SmimeSubject, days: Option<u32>) -> Subject {
    let SmimeSubject { algorithm, common_name, country, organization, unit } = subject;
    Subject { algorithm, common_name, country, organization, unit, days }
}

fn show(issuer: &Issuer) {
    let of = match (issuer.own, issuer.may_issue) {
        (true, _) => format!("an issuer of its own, version {}", issuer.version),
        (false, true) => "the certificate of the domain".to_owned(),
        (false, false) => "nothing yet".to_owned(),
    };
    let may = match (&issuer.why, &issuer.hint) {
        (None, _) => "yes".to_owned(),
        (Some(why), None) => format!("no: {why}"),
        (Some(why), Some(hint)) => format!("no: {why}    mend it: {hint}"),
    };
    output::line(&format!("{:<15}{}", "Domain", issuer.domain));
    output::line(&format!("{:<15}{of}", "Issued by"));
    output::line(&format!("{:<15}{may}", "Issues"));
    output::line(&format!("{:<15}{}", "Revoked", issuer.revoked));
    if let Some(url) = &issuer.crl_url {
        output::line(&format!("{:<15}{url}", "CRL URL"));
    }
    if let Some(key) = &issuer.recovery_key {
        output::line(&format!("{:<15}SHA-256 {key}: its holder can open new keys", "Recovery key"));
    }
    if let Some(key) = &issuer.key {
        output::line(&format!("{:<15}{}, SHA-256 {}", "S/MIME key", key.algorithm, key.sha256));
    }
    for certificate in issuer.certificate.iter().chain(&issuer.chain) {
        output::line("");
        cert::show(certificate);
    }
}
