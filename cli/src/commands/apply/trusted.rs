//! Trust sets of a document, compared with those of the cluster.

use std::path::Path;

use conclave_api::trust::{Add, Remove, Trusted};
use conclave_client::Failure;
use conclave_node::shown_fingerprint;
use conclave_pki::{
    crl::read_trusted,
    limits::{CERTIFICATES_MAX, PEM_BYTES_MAX},
};

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

/// Most entries that one request removes: a change has at most 64 KiB.
const REMOVED_MAX: usize = 512;

/// A certificate or revocation list of the document.
pub(super) struct Entry {
    sha256: String,
    pem: String,
    words: String,
}

/// Reads the certificates and revocation lists that a set should have.
pub(super) fn entries(directory: &Path, wanted: &Pem) -> Result<Vec<Entry>, Failure> {
    let (text, path) = pem(directory, wanted, "trusted certificates", file::trusted_text)?;
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut entries = Vec::new();
    let mut lines_before = 0;
    for part in parts(&text) {
        let unreadable = |error| {
            let mut failure = file::unreadable(&path, &error);
            if let Some(location) = &mut failure.location {
                location.line = location.line.saturating_add(lines_before);
            }
            failure
        };
        let (certificates, crls) = read_trusted(part.as_bytes()).map_err(unreadable)?;
        for one in &certificates {
            let (sha256, pem) = (shown_fingerprint(one.der()), one.pem());
            entries.push(Entry { sha256, pem, words: one.subject() });
        }
        for one in &crls {
            let sha256 = shown_fingerprint(&one.issuer_der().map_err(unreadable)?);
            let words = format!("revocation list of {}, number {}", one.issuer(), one.number());
            entries.push(Entry { sha256, pem: one.pem(), words });
        }
        let lines = part.matches('\n').count();
        lines_before += u64::try_from(lines).unwrap_or(u64::MAX);
    }
    Ok(entries)
}

/// Splits PEM text before some of its blocks. A set may have more entries than one input.
fn parts(text: &str) -> Vec<&str> {
    let begins = text.match_indices("\n-----BEGIN ").map(|(at, _)| at + 1);
    let mut parts = Vec::new();
    let (mut start, mut last, mut blocks) = (0, 0, 0);
    for at in begins.chain([text.len()]) {
        blocks += 1;
        if last > start && (blocks > CERTIFICATES_MAX || at - start > PEM_BYTES_MAX) {
            parts.extend(text.get(start..last));
            (start, blocks) = (last, 1);
        }
        last = at;
    }
    parts.extend(text.get(start..));
    parts
}

/// Adds what the set lacks.
pub(super) fn add(work: &mut Work, set: &TrustSet, present: &[Trusted], wanted: &[Entry]) {
    let is_present = |entry: &Entry| {
        present.iter().any(|one| one.sha256 == entry.sha256 && one.pem.trim() == entry.pem.trim())
    };
    let mut text = String::new();
    let add = |text: String| Request::AddTrusted(set.clone(), Add { certificates: text });
    for entry in wanted.iter().filter(|entry| !is_present(entry)) {
        work.differs("trusted", None, Some(entry.words.clone()));
        if !text.is_empty() && text.len() + entry.pem.len() > REQUEST_BYTES_MAX {
            work.requests.push(add(std::mem::take(&mut text)));
        }
        text.push_str(&entry.pem);
        text.push('\n');
    }
    if !text.is_empty() {
        work.requests.push(add(text));
    }
}

/// Removes what the document does not name.
pub(super) fn remove(work: &mut Work, set: &TrustSet, present: &[Trusted], wanted: &[Entry]) {
    let is_gone = |one: &&Trusted| wanted.iter().all(|entry| entry.sha256 != one.sha256);
    let gone: Vec<&Trusted> = present.iter().filter(is_gone).collect();
    gone.iter().for_each(|one| work.differs("trusted", Some(one.subject.clone()), None));
    for gone in gone.chunks(REMOVED_MAX) {
        let fingerprints = gone.iter().map(|one| one.sha256.clone()).collect();
        work.requests.push(Request::RemoveTrusted(set.clone(), Remove { fingerprints }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = include_str!("../demo/demo-certificate.pem");

    #[test]
    fn a_set_may_have_more_entries_than_one_input() {
        let block = CERTIFICATE.trim_end();
        let text = format!("# roots\n{}", format!("{block}\n# next\n").repeat(200));
        let found = entries(Path::new(""), &Pem::Text(text.clone())).unwrap();
        assert_eq!(found.len(), 200);
        assert_eq!(parts(&text).concat(), text);
        let long = format!("{}{block}\n", "# a long remark\n".repeat(10_000)).repeat(20);
        assert!(long.len() > 2 * PEM_BYTES_MAX);
        assert_eq!(entries(Path::new(""), &Pem::Text(long)).unwrap().len(), 20);
    }

    #[test]
    fn the_line_of_a_damaged_block_is_that_of_the_whole_text() {
        let block = format!("{}\n", CERTIFICATE.trim_end());
        let good = block.repeat(100);
        let bad = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
        let text = Pem::Text(format!("{good}{bad}"));
        let failure = entries(Path::new(""), &text).err().unwrap();
        let line = u64::try_from(good.lines().count()).unwrap();
        let found = failure.location.as_ref().map(|at| at.line).unwrap();
        assert!((line + 1..=line + 3).contains(&found), "{found} is not after {line}");
    }
}
