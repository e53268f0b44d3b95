//! Commands for trusted certificates.

pub(super) mod verify;

use std::path::Path;

use conclave_api::{
    certificate::Certificate,
    problem::{Code, Problem},
    trust::{Add, Remove, Trusted, Type},
};
use conclave_client::Failure;
use conclave_pki::{
    builtin,
    certificate::{Certificate as PkiCertificate, read_many},
};
use serde::Serialize;

use super::{Asking, Done, cert, change, confirm, file, in_file, removing};
use crate::{
    args::Trust,
    output::{self, Columns},
};

pub(super) async fn run(asking: &Asking, command: Trust) -> Done {
    let global = &asking.global;
    let scope = global.scope.clone().unwrap_or_else(|| "cluster".to_owned());
    match command {
        Trust::Verify { chain, judging } | Trust::Explain { chain: Some(chain), judging } => {
            return verify::run(asking, &chain, &judging).await;
        }
        Trust::Explain { chain: None, judging } => return verify::explain(asking, &judging).await,
        Trust::Show { which } => show(asking, &scope, &which).await?,
        Trust::List { no_inherited, all } => list(asking, &scope, no_inherited, all).await?,
        Trust::Add { file, changing } => {
            let add = Add { certificates: file::trusted_text(&file)? };
            let done = asking.client()?.add_trusted(&scope, &add, &change(&changing)).await;
            let files = [("certificates", file.as_path())];
            let done = done.map_err(|failure| in_file(failure, &files))?;
            output::change(global, &format!("{scope}: added to the trusted certificates"), &done);
        }
        Trust::Remove { fingerprints, existing, changing } => {
            let what = format!(
                "{} trusted certificate(s) or revocation list(s) of {scope}",
                fingerprints.len()
            );
            confirm(global, changing.is_sure(), &what, &scope)?;
            let remove = Remove { fingerprints };
            let client = asking.client()?;
            let options = removing(&changing, &existing);
            let done = client.remove_trusted(&scope, &remove, &options).await?;
            output::change(
                global,
                &format!("{scope}: removed from the trusted certificates"),
                &done,
            );
        }
    }
    Ok(0)
}

/// Returns all trusted certificates and revocation lists for the scope. The built-in ones need no
/// node.
async fn trusted(asking: &Asking, scope: &str) -> Result<Vec<Trusted>, Failure> {
    if scope != "builtin" {
        return Ok(asking.client()?.trusted(scope).await?.items);
    }
    let builtin = builtin::certificates().iter().map(|one| {
        let shown = conclave_node::shown_certificate(one);
        Trusted {
            set: scope.to_owned(),
            own: false,
            of: Type::Certificate,
            subject: shown.subject,
            serial: shown.serial,
            not_before: shown.not_before,
            not_after: shown.not_after,
            sha256: shown.sha256,
            revoked: None,
            pem: shown.pem,
        }
    });
    Ok(builtin.collect())
}

/// A certificate, with the sets of a scope that contain it.
#[derive(Serialize)]
struct Found {
    sets: Vec<String>,
    certificate: Certificate,
}

async fn show(asking: &Asking, scope: &str, which: &str) -> Result<(), Failure> {
    let mut all = trusted(asking, scope).await?;
    all.retain(|one| one.of == Type::Certificate);
    let file = Path::new(which);
    let shown = match file.exists() {
        true => file::read(file)?,
        false => chosen(&all, scope, which)?,
    };
    let found = shown.iter().map(|one| {
        let certificate = conclave_node::shown_certificate(one);
        let holding = all.iter().filter(|other| other.sha256 == certificate.sha256);
        Found { sets: holding.map(|other| other.set.clone()).collect(), certificate }
    });
    let found: Vec<Found> = found.collect();
    if !output::is_table(&asking.global) {
        let named = |one: &Found| one.certificate.sha256.clone();
        let columns = Columns { kind: "TrustedCertificate", head: &[], wide: &[], name: named };
        output::list(&asking.global, &columns, &found, |_, _| Vec::new());
        return Ok(());
    }
    for (place, Found { sets, certificate }) in found.iter().enumerate() {
        if place > 0 {
            output::line("");
        }
        let sets = if sets.is_empty() { format!("none for {scope}") } else { sets.join(", ") };
        output::line(&format!("{:<15}{sets}", "In the sets"));
        cert::show(certificate);
    }
    Ok(())
}

/// Returns the one certificate whose fingerprint begins with `which`.
fn chosen(all: &[Trusted], scope: &str, which: &str) -> Result<Vec<PkiCertificate>, Failure> {
    let wanted = which.replace(':', "").to_ascii_lowercase();
    let mut found: Vec<&Trusted> =
        all.iter().filter(|one| one.sha256.starts_with(&wanted)).collect();
    found.dedup_by(|one, other| one.sha256 == other.sha256);
    let title = match found.as_slice() {
        [one] => {
            return read_many(one.pem.as_bytes(), 1)
                .map_err(|error| file::unreadable(Path::new(which), &error));
        }
        [] => format!("no certificate {which:?} counts for {scope}, and no file has this name"),
        several => format!("{which:?} is not clear: {} certificates begin so", several.len()),
    };
    let hint = format!("conclave trust list --scope {scope} --all");
    Err(Box::new(Problem::new(Code::TrustedCertificateUnknown, title).hint(hint)))
}

async fn list(asking: &Asking, scope: &str, no_inherited: bool, all: bool) -> Result<(), Failure> {
    let global = &asking.global;
    let mut items = trusted(asking, scope).await?;
    items.retain(|one| one.own || !no_inherited);
    let is_for_people = output::is_table(global);
    let builtin = items.iter().filter(|one| one.set == "builtin").count();
    if is_for_people && !all && scope != "builtin" {
        items.retain(|one| one.set != "builtin");
    }
    let columns = Columns {
        kind: "Trusted",
        head: &["SET", "ISSUED TO", "SERIAL", "FROM", "TILL", "FINGERPRINT"],
        wide: &["OWN"],
        name: |one: &Trusted| one.sha256.clone(),
    };
    output::list(global, &columns, &items, |one, is_wide| {
        let short = |text: &str, length: usize| match is_wide {
            true => text.to_owned(),
            false => text.get(..length).unwrap_or(text).to_owned(),
        };
        let day = |time: &str| short(time, 10);
        vec![
            one.set.clone(),
            subject(one),
            one.serial.clone(),
            day(&one.not_before),
            day(&one.not_after),
            short(&one.sha256, 16),
            if one.own { "yes" } else { "no" }.to_owned(),
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

/// Returns the subject of a certificate, or describes a revocation list.
fn subject(one: &Trusted) -> String {
    match one.of {
        Type::Certificate => one.subject.clone(),
        Type::Crl => {
            let revoked = one.revoked.unwrap_or_default();
            format!("revocation list of {}, {revoked} revoked", one.subject)
        }
    }
}
