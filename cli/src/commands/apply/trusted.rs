//! Trust sets of a document, compared with those of the cluster.

use std::path::Path;

use conclave_api::trust::{Add, Remove, Trusted};
use conclave_client::Failure;
use conclave_node::shown_fingerprint;
use conclave_pki::crl::read_trusted;

use super::{
    credential::Work,
    request::{Request, TrustSet},
};
use crate::commands::{
    document::{Pem, pem},
    file,
};

/// Longest PEM text of one request: a change has at most 64 KiB, and PEM is longer than DER.
const REQUEST_BYTES_MAX: usize = 56 * 1024;

/// A certificate or revocation list of the document.
struct Entry {
    sha256: String,
    pem: String,
    words: String,
}

fn entries(directory: &Path, wanted: &Pem) -> Result<Vec<Entry>, Failure> {
    let text = pem(directory, wanted)?;
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let path = match wanted {
        Pem::Text(_) => Path::new("trusted certificates"),
        Pem::File { file } => file.as_path(),
    };
    let unreadable = |error| file::unreadable(path, &error);
    let (certificates, crls) = read_trusted(text.as_bytes()).map_err(unreadable)?;
    let mut entries = Vec::new();
    for one in &certificates {
        let (sha256, pem) = (shown_fingerprint(one.der()), one.pem());
        entries.push(Entry { sha256, pem, words: one.subject() });
    }
    for one in &crls {
        let sha256 = shown_fingerprint(&one.issuer_der().map_err(unreadable)?);
        let words = format!("revocation list of {}, number {}", one.issuer(), one.number());
        entries.push(Entry { sha256, pem: one.pem(), words });
    }
    Ok(entries)
}

/// Adds what the set lacks.
pub(super) fn add(
    work: &mut Work,
    directory: &Path,
    set: &TrustSet,
    present: &[Trusted],
    wanted: &Pem,
) -> Result<(), Failure> {
    let is_present = |entry: &Entry| {
        present.iter().any(|one| one.sha256 == entry.sha256 && one.pem.trim() == entry.pem.trim())
    };
    let mut text = String::new();
    let add = |text: String| Request::AddTrusted(set.clone(), Add { certificates: text });
    for entry in entries(directory, wanted)?.into_iter().filter(|entry| !is_present(entry)) {
        work.differs("trusted", None, Some(entry.words));
        if !text.is_empty() && text.len() + entry.pem.len() > REQUEST_BYTES_MAX {
            work.requests.push(add(std::mem::take(&mut text)));
        }
        text.push_str(&entry.pem);
        text.push('\n');
    }
    if !text.is_empty() {
        work.requests.push(add(text));
    }
    Ok(())
}

/// Removes what the document does not name.
pub(super) fn remove(
    work: &mut Work,
    directory: &Path,
    set: &TrustSet,
    present: &[Trusted],
    wanted: &Pem,
) -> Result<(), Failure> {
    let wanted = entries(directory, wanted)?;
    let is_gone = |one: &&Trusted| wanted.iter().all(|entry| entry.sha256 != one.sha256);
    let gone: Vec<&Trusted> = present.iter().filter(is_gone).collect();
    gone.iter().for_each(|one| work.differs("trusted", Some(one.subject.clone()), None));
    if !gone.is_empty() {
        let fingerprints = gone.iter().map(|one| one.sha256.clone()).collect();
        work.requests.push(Request::RemoveTrusted(set.clone(), Remove { fingerprints }));
    }
    Ok(())
}
