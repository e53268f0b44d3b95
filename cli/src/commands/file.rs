//! Commands on files, without a node: certificates, chains, requests.

use std::path::Path;

use conclave_api::problem::{Code, Location, Problem};
use conclave_client::Failure;
use conclave_pki::{
    builtin,
    certificate::{Certificate, CertificateError, read_bundle},
    chain::split_bundle,
    crl::Crl,
    csr::read_request,
    judge,
    key::{KeyError, read_private_key},
};
use serde::Serialize;

use super::{ATTENTION, Done, cert, check::Findings, key::passphrase, read_bytes};
use crate::{args::Global, output};

pub(super) fn unreadable(file: &Path, error: &CertificateError) -> Failure {
    let at = error.line().map(|line| (line, error.text()));
    refused(file, error.code(), error.to_string(), error.hint(), at)
}

/// Describes a private key that cannot be used.
pub(super) fn unusable(file: &Path, error: &KeyError) -> Failure {
    let at = error.line().map(|line| (line, error.text()));
    refused(file, error.code(), error.to_string(), error.hint(), at)
}

fn refused(
    file: &Path,
    code: &str,
    title: String,
    hint: &str,
    at: Option<(usize, Option<&str>)>,
) -> Failure {
    let code = Code::parse(code).unwrap_or(Code::Internal);
    let file = file.display().to_string();
    let problem = Problem::new(code, title).hint(hint.replace("INPUT", &file));
    Box::new(match at {
        Some((line, text)) => {
            let line = u64::try_from(line).unwrap_or(u64::MAX);
            problem.at(Location { file, line, text: text.map(str::to_owned) })
        }
        None => problem,
    })
}

pub(super) fn read(file: &Path) -> Result<Vec<Certificate>, Failure> {
    read_bundle(&read_bytes(file)?).map_err(|error| unreadable(file, &error))
}

/// Reads a file of certificates for a node. What is no text, such as DER or PKCS#12, does not get
/// through to it whole, so it is named here.
pub(super) fn certificate_text(file: &Path) -> Result<String, Failure> {
    text(file, |bytes| match read_bundle(bytes) {
        Err(error @ CertificateError::Foreign(_)) => Err(unreadable(file, &error)),
        _ => Ok(()),
    })
}

/// Reads a file of trusted certificates and revocation lists for a node. One in DER form is
/// converted.
pub(super) fn trusted_text(file: &Path) -> Result<String, Failure> {
    let bytes = read_bytes(file)?;
    if bytes.starts_with(&[0x30]) {
        let certificate = Certificate::from_der(&bytes).map(|one| one.pem());
        if let Ok(pem) = certificate.or_else(|_| Crl::from_der(&bytes).map(|one| one.pem())) {
            return Ok(pem);
        }
    }
    certificate_text(file)
}

/// Reads a file with a private key for a node, as [`certificate_text`].
pub(super) fn key_text(file: &Path) -> Result<String, Failure> {
    text(file, |bytes| match read_private_key(bytes, None) {
        Err(error @ KeyError::Foreign(_)) => Err(unusable(file, &error)),
        _ => Ok(()),
    })
}

fn text(file: &Path, check: impl Fn(&[u8]) -> Result<(), Failure>) -> Result<String, Failure> {
    match String::from_utf8(read_bytes(file)?) {
        Ok(text) => Ok(text),
        Err(error) => {
            check(error.as_bytes())?;
            Ok(String::from_utf8_lossy(error.as_bytes()).into_owned())
        }
    }
}

pub(super) fn show(global: &Global, file: &Path) -> Done {
    let all: Vec<_> = read(file)?.iter().map(conclave_node::shown_certificate).collect();
    cert::show_several(global, &all);
    Ok(0)
}

#[derive(Serialize)]
struct ShownRequest {
    subject: String,
    names: Vec<String>,
    algorithm: Option<String>,
    signature_ok: bool,
}

pub(super) fn show_request(global: &Global, file: &Path) -> Done {
    let found = read_request(&read_bytes(file)?).map_err(|error| unreadable(file, &error))?;
    let shown = ShownRequest {
        subject: found.subject,
        names: found.names,
        algorithm: found.algorithm.map(|one| one.to_string()),
        signature_ok: found.is_signed,
    };
    let name = shown.names.first().unwrap_or(&shown.subject);
    if !output::object_of(global, "SigningRequest", name, &shown) {
        let field = |name: &str, text: &str| output::line(&format!("{name:<15}{text}"));
        field("Asked for", &shown.subject);
        field("Names", &shown.names.join(", "));
        field("Key", shown.algorithm.as_deref().unwrap_or("of a type that is not supported"));
        field("Signature", if shown.signature_ok { "ok" } else { "not that of its key" });
    }
    Ok(if shown.signature_ok { 0 } else { ATTENTION })
}

#[derive(Serialize)]
struct Checked {
    certificate: conclave_api::certificate::Certificate,
    #[serde(flatten)]
    findings: Findings,
}

pub(super) fn check(
    global: &Global,
    file: &Path,
    key_file: Option<&Path>,
    passphrase_file: Option<&Path>,
    names: &[String],
    anchors: Option<&Path>,
) -> Done {
    let bytes = read_bytes(file)?;
    let bundle = read_bundle(&bytes).map_err(|error| unreadable(file, &error))?;
    let key = match key_file {
        Some(path) => Some((path, read_bytes(path)?)),
        // The key may be in the same file.
        None if String::from_utf8_lossy(&bytes).contains("PRIVATE KEY-----") => Some((file, bytes)),
        None => None,
    };
    let secret = passphrase(passphrase_file)?;
    let key = key.map(|(path, pem)| {
        read_private_key(&pem, secret.as_ref().map(String::as_bytes))
            .map_err(|error| unusable(path, &error))
    });
    let key = key.transpose()?;
    let certified = key.as_ref().map(|key| key.public_key_der()).unwrap_or_default();
    let (leaf, rest) = split_bundle(bundle, certified)
        .ok_or_else(|| unreadable(file, &CertificateError::NoCertificate))?;
    let certificate = conclave_node::shown_certificate(&leaf);
    let mut findings = Findings::default();
    if let Some(key) = &key {
        let wrong = "it belongs to another private key";
        findings.judge(leaf.matches(key), "key matches".to_owned(), wrong.to_owned());
    }
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0);
    let (from, till) = (&certificate.not_before, &certificate.not_after);
    let is_current = (leaf.not_before()..=leaf.not_after()).contains(&now);
    let right = format!("dates fine until {till}");
    findings.judge(is_current, right, format!("valid only from {from} to {till}"));
    for name in names {
        let is_for = leaf.covers(name);
        findings.judge(is_for, format!("is for {name}"), format!("is not for {name}"));
    }
    let own = anchors.map(read).transpose()?.unwrap_or_default();
    judge(&mut findings, &leaf, &rest, own, now);
    let checked = Checked { certificate, findings };
    let name = file.display().to_string();
    if !output::object_of(global, "CertificateCheck", &name, &checked) {
        cert::show(&checked.certificate);
        checked.findings.show();
    }
    Ok(checked.findings.code())
}

/// Adds the findings about the chain, and where it leads.
fn judge(
    findings: &mut Findings,
    leaf: &Certificate,
    rest: &[Certificate],
    own: Vec<Certificate>,
    now: u64,
) {
    let sent: Vec<&Certificate> = std::iter::once(leaf).chain(rest).collect();
    let own_count = own.len();
    let anchors: Vec<Certificate> = own.into_iter().chain(builtin::anchors_of(&sent)).collect();
    let judgement = judge::judge(leaf, rest, &anchors, now);
    if let Some(place) = judgement.anchor
        && let Some(anchor) = anchors.get(place)
    {
        let set = if place < own_count { "given as trusted" } else { "builtin trust" };
        let count = rest.len();
        findings.right(format!("CA chain of {count} leads to {} ({set})", anchor.subject()));
    }
    for finding in judgement.findings.iter().map(conclave_node::shown_finding) {
        findings.add(finding.severity, &finding.text, finding.hint);
    }
}
