//! Keys, certificates and chains of a document, compared with those of a domain.

use std::path::Path;

use conclave_api::{
    certificate::Import,
    change::Difference,
    domain::{Credential as Present, Domain},
    key::{self, Family},
    problem::{Code, Problem},
};
use conclave_client::Failure;
use conclave_node::{shown_certificate, shown_fingerprint, sorted_chain};
use conclave_pki::{
    certificate::{CertificateError, read_bundle},
    chain::split_bundle,
    key::{KeyAlgorithm, PrivateKey, read_private_key},
};

use super::request::{Request, Target};
use crate::commands::{
    document::{Credential, Key, Pem, pem},
    file,
    key::passphrase,
};

/// Requests and differences of one object.
#[derive(Default)]
pub(super) struct Work {
    pub(super) requests: Vec<Request>,
    pub(super) differences: Vec<Difference>,
}

impl Work {
    pub(super) fn differs(&mut self, what: &str, before: Option<String>, after: Option<String>) {
        self.differences.push(Difference { what: what.to_owned(), before, after });
    }
}

/// A certificate as compared: its SHA-256, those of its chain, and the words for people.
struct Bundle {
    text: String,
    leaf: String,
    chain: Vec<String>,
    words: String,
}

pub(in crate::commands) fn family_word(family: Family) -> &'static str {
    match family {
        Family::Ec => "ec",
        Family::Rsa => "rsa",
    }
}

/// Adds what makes the keys of a domain those of the document.
pub(super) fn compare(
    work: &mut Work,
    directory: &Path,
    target: &Target,
    present: Option<&Domain>,
    wanted: &[Credential],
    is_pruned: bool,
) -> Result<(), Failure> {
    let all = present.map_or(&[][..], |domain| domain.credentials.as_slice());
    let mut families = Vec::new();
    for one in wanted {
        families.push(compare_one(work, directory, target, present, one)?);
    }
    for gone in all.iter().filter(|one| is_pruned && !families.contains(&one.key.family)) {
        let family = family_word(gone.key.family);
        work.differs("private key", Some(key_words(&gone.key)), None);
        work.requests.push(Request::RemoveKey(target.clone(), family.to_owned()));
    }
    Ok(())
}

/// Returns the family of the key.
fn compare_one(
    work: &mut Work,
    directory: &Path,
    target: &Target,
    present: Option<&Domain>,
    wanted: &Credential,
) -> Result<Family, Failure> {
    let name = &target.name;
    let file = wanted.key.file.as_deref().map(|file| directory.join(file));
    let read = file.as_deref().map(|file| private_key(directory, file, &wanted.key)).transpose()?;
    let sha256 = match (&read, &wanted.key.sha256) {
        (Some((key, ..)), None) => shown_fingerprint(key.public_key_der()),
        (None, Some(sha256)) => sha256.replace(':', "").to_lowercase(),
        _ => return Err(malformed(format!("{name}: a key needs either file or sha256"))),
    };
    let known = present.and_then(|domain| known_key(domain, &sha256));
    let bundle =
        wanted.certificate.as_ref().map(|found| bundle(directory, found, &sha256)).transpose()?;
    let (family, algorithm) = match (&known, &read) {
        (Some(key), _) => (key.family, key.algorithm.clone()),
        (None, Some((key, ..))) => (family(key), key.algorithm().to_string()),
        (None, None) => return Err(key_missing(name, &sha256)),
    };
    let credentials = present.map_or(&[][..], |domain| domain.credentials.as_slice());
    let same = credentials.iter().find(|one| one.key.sha256 == sha256);
    let before = credentials.iter().find(|one| one.key.family == family);
    // A pending key stays pending until its certificate comes.
    if same.is_none() && (known.is_none() || bundle.is_some()) {
        let after = format!("{algorithm}, SHA-256 {sha256}");
        work.differs("private key", before.map(|one| key_words(&one.key)), Some(after));
    }
    let key = read.filter(|_| known.is_none()).map(|(_, text, passphrase)| (text, passphrase));
    match (bundle, key) {
        (Some(bundle), key) if !same.is_some_and(|one| is_same(one, &bundle)) => {
            compare_bundle(work, same.or(before), &bundle);
            let (key, passphrase) = key.map_or((None, None), |(key, pass)| (Some(key), pass));
            let import = Import {
                certificate: bundle.text,
                key,
                passphrase,
                allow_name_mismatch: wanted.allow_name_mismatch,
                allow_broken_chain: wanted.allow_broken_chain,
                sort: true,
                ..Import::default()
            };
            let family = known.map(|_| family_word(family).to_owned());
            work.requests.push(Request::ImportCertificate(
                target.clone(),
                family,
                Box::new(import),
            ));
        }
        (None, Some((key, passphrase))) => {
            let import = key::Import { key, passphrase };
            work.requests.push(Request::ImportKey(target.clone(), import));
        }
        _ => {}
    }
    Ok(family)
}

fn compare_bundle(work: &mut Work, before: Option<&Present>, bundle: &Bundle) {
    let present = before.and_then(|one| one.certificate.as_ref());
    if present.map(|one| &one.sha256) != Some(&bundle.leaf) {
        let before = present.map(|one| format!("serial {} until {}", one.serial, one.not_after));
        work.differs("certificate", before, Some(bundle.words.clone()));
    }
    let chain: Vec<&String> =
        before.iter().flat_map(|one| &one.chain).map(|one| &one.sha256).collect();
    if !bundle.chain.is_empty() && bundle.chain.iter().ne(chain.iter().copied()) {
        let words = |count: usize| (count > 0).then(|| format!("{count} certificates"));
        work.differs("CA chain", words(chain.len()), words(bundle.chain.len()));
    }
}

/// Returns whether a domain has this certificate. A file without a chain leaves the chain as it is.
fn is_same(present: &Present, bundle: &Bundle) -> bool {
    let leaf = present.certificate.as_ref().map(|one| &one.sha256);
    let chain = present.chain.iter().map(|one| &one.sha256);
    leaf == Some(&bundle.leaf) && (bundle.chain.is_empty() || chain.eq(&bundle.chain))
}

fn known_key<'d>(domain: &'d Domain, sha256: &str) -> Option<&'d key::Key> {
    let keys = domain.credentials.iter().map(|one| &one.key);
    keys.chain(&domain.pending_keys).find(|key| key.sha256 == sha256)
}

fn key_words(key: &key::Key) -> String {
    format!("{}, SHA-256 {}", key.algorithm, key.sha256)
}

fn family(key: &PrivateKey) -> Family {
    match key.algorithm() {
        KeyAlgorithm::Rsa(_) => Family::Rsa,
        _ => Family::Ec,
    }
}

/// Reads a key file: the key, its text and its passphrase.
fn private_key(
    directory: &Path,
    path: &Path,
    key: &Key,
) -> Result<(PrivateKey, String, Option<String>), Failure> {
    let text = file::key_text(path)?;
    let file = key.passphrase_file.as_deref().map(|file| directory.join(file));
    let passphrase = passphrase(file.as_deref())?;
    let read = read_private_key(text.as_bytes(), passphrase.as_deref().map(str::as_bytes));
    let read = read.map_err(|error| file::unusable(path, &error))?;
    Ok((read, text, passphrase))
}

/// Reads the certificate of a key and its chain.
fn bundle(directory: &Path, found: &Pem, sha256: &str) -> Result<Bundle, Failure> {
    let (text, path) = pem(directory, found, "certificate", file::certificate_text)?;
    let all = read_bundle(text.as_bytes()).map_err(|error| file::unreadable(&path, &error))?;
    // The certificate of the key may stand anywhere, and the node sorts what is left.
    let of_key = all.iter().find(|one| shown_fingerprint(one.public_key_der()) == sha256);
    let public_key_der = of_key.map(|one| one.public_key_der().to_vec()).unwrap_or_default();
    let (leaf, rest) = split_bundle(all, &public_key_der)
        .ok_or_else(|| file::unreadable(&path, &CertificateError::NoCertificate))?;
    let chain = sorted_chain(&leaf, rest).iter().map(|one| shown_fingerprint(one.der())).collect();
    let leaf = shown_certificate(&leaf);
    let words = format!("serial {} until {}", leaf.serial, leaf.not_after);
    Ok(Bundle { text, leaf: leaf.sha256, chain, words })
}

fn key_missing(name: &str, sha256: &str) -> Failure {
    let problem = Problem::new(Code::KeyMissing, format!("{name} does not have the key {sha256}"))
        .why("a document holds no private key, and this one says that the domain has it")
        .hint("write key = { file = \"PATH\" } in its place");
    Box::new(problem)
}

pub(super) fn malformed(title: String) -> Failure {
    Box::new(Problem::new(Code::Malformed, title))
}
