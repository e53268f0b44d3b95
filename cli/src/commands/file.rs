//! Files looked at without a node: certificates, chains, requests.

use std::path::Path;

use conclave_api::problem::{Code, Location, Problem};
use conclave_client::Failure;
use conclave_pki::{
    builtin,
    certificate::{Certificate, CertificateError, read_certificates},
    chain::{self, split_bundle},
    csr::read_request,
    key::read_private_key,
    verify::{Purpose, Request, Rules, verify},
};
use serde::Serialize;

use super::{Done, cert, key::passphrase, read_bytes};
use crate::{
    args::{Cert, Command, Csr, Global},
    output,
};

/// Does the command if it needs no node.
pub(super) fn run_offline(global: &Global, command: &Command) -> Option<Done> {
    match command {
        Command::Csr(Csr::Show { file }) => Some(show_request(global, file)),
        Command::Cert(Cert::Show { file: Some(file), .. }) => Some(show(global, file)),
        Command::Cert(Cert::Check { file, key, passphrase_file, names }) => {
            Some(check(global, file, key.as_deref(), passphrase_file.as_deref(), names))
        }
        _ => None,
    }
}

fn unreadable(file: &Path, error: &CertificateError) -> Failure {
    refused(file, error.code(), error.to_string(), error.hint(), error.line())
}

fn refused(file: &Path, code: &str, title: String, hint: &str, line: Option<usize>) -> Failure {
    let code = Code::ALL.iter().copied().find(|one| one.as_str() == code).unwrap_or(Code::X007);
    let file = file.display().to_string();
    let problem = Problem::new(code, title).hint(hint.replace("FILE", &file));
    Box::new(match line {
        Some(line) => {
            let line = u64::try_from(line).unwrap_or(u64::MAX);
            problem.at(Location { file, line, text: None })
        }
        None => problem,
    })
}

fn read(file: &Path) -> Result<Vec<Certificate>, Failure> {
    read_certificates(&read_bytes(file)?).map_err(|error| unreadable(file, &error))
}

fn show(global: &Global, file: &Path) -> Done {
    let all: Vec<_> = read(file)?.iter().map(conclave_node::shown_certificate).collect();
    if !output::json(global, &all) {
        for (place, one) in all.iter().enumerate() {
            if place > 0 {
                output::line("");
            }
            cert::show(one);
        }
    }
    Ok(0)
}

#[derive(Serialize)]
struct ShownRequest {
    subject: String,
    names: Vec<String>,
    algorithm: Option<String>,
    signature_ok: bool,
}

fn show_request(global: &Global, file: &Path) -> Done {
    let found = read_request(&read_bytes(file)?).map_err(|error| unreadable(file, &error))?;
    let shown = ShownRequest {
        subject: found.subject,
        names: found.names,
        algorithm: found.algorithm.map(|one| one.to_string()),
        signature_ok: found.is_signed,
    };
    if !output::json(global, &shown) {
        let field = |name: &str, text: &str| output::line(&format!("{name:<15}{text}"));
        field("Asked for", &shown.subject);
        field("Names", &shown.names.join(", "));
        field("Key", shown.algorithm.as_deref().unwrap_or("of a type that is not supported"));
        field("Signature", if shown.signature_ok { "ok" } else { "not that of its key" });
    }
    Ok(if shown.signature_ok { 0 } else { 9 })
}

/// What was looked at, and what is wrong.
#[derive(Serialize)]
struct Checked {
    certificate: conclave_api::certificate::Certificate,
    checks: Vec<String>,
    problems: Vec<String>,
}

fn check(
    global: &Global,
    file: &Path,
    key_file: Option<&Path>,
    passphrase_file: Option<&Path>,
    names: &[String],
) -> Done {
    let bundle = read(file)?;
    let key = key_file.map(|path| {
        let secret = passphrase(passphrase_file)?;
        read_private_key(&read_bytes(path)?, secret.as_ref().map(String::as_bytes)).map_err(
            |error| refused(path, error.code(), error.to_string(), error.hint(), error.line()),
        )
    });
    let key = key.transpose()?;
    let certified = key.as_ref().map(|key| key.public_key_der()).unwrap_or_default();
    let (leaf, rest) = split_bundle(bundle, certified)
        .ok_or_else(|| unreadable(file, &CertificateError::NoCertificate))?;
    let shown = conclave_node::shown_certificate(&leaf);
    let mut checked = Checked { certificate: shown, checks: Vec::new(), problems: Vec::new() };
    let mut judge = |is_right: bool, right: String, wrong: String| {
        if is_right { checked.checks.push(right) } else { checked.problems.push(wrong) }
    };
    if let Some(key) = &key {
        let wrong = "it belongs to another private key";
        judge(leaf.matches(key), "key matches".to_owned(), wrong.to_owned());
    }
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0);
    let (from, till) = (&checked.certificate.not_before, &checked.certificate.not_after);
    let is_current = (leaf.not_before()..=leaf.not_after()).contains(&now);
    let dates = (format!("dates fine until {till}"), format!("valid only from {from} to {till}"));
    judge(is_current, dates.0, dates.1);
    for name in names {
        judge(leaf.covers(name), format!("is for {name}"), format!("is not for {name}"));
    }
    let linked = chain::check(Some(&leaf), &rest);
    let broken = linked.as_ref().err().map(ToString::to_string).unwrap_or_default();
    judge(linked.is_ok(), format!("CA chain of {}: links fine", rest.len()), broken);
    checked.checks.push(anchor(&leaf, &rest, now));
    if !output::json(global, &checked) {
        cert::show(&checked.certificate);
        checked.checks.iter().for_each(|text| output::line(&format!("ok  {text}")));
        checked.problems.iter().for_each(|text| output::line(&format!("x   {text}")));
    }
    Ok(if checked.problems.is_empty() { 0 } else { 9 })
}

/// Whether everybody trusts it; a private authority is no fault.
fn anchor(leaf: &Certificate, rest: &[Certificate], at: u64) -> String {
    let anchors = builtin::certificates();
    let path = verify(&Request {
        certificate: leaf,
        intermediates: rest,
        anchors,
        crls: &[],
        purpose: Purpose::Any,
        name: None,
        at,
        rules: Rules::Path,
    });
    match path.ok().and_then(|path| anchors.get(path.anchor)) {
        Some(anchor) => format!("leads to {} (built-in trust)", anchor.subject()),
        None => "leads to no built-in certificate: clients must know its authority".to_owned(),
    }
}
