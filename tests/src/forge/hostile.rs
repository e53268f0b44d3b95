//! Inputs made to cost as much time and memory as possible, each of one megabyte at most.

use super::{
    NOON,
    der::{bits, boolean, context, integer, octets, oid, raw, sequence, set, text, utc_time},
    extensions::extension,
    key::Key,
    pem,
};

/// Bytes of all files of one question together.
const BYTES_MAX: usize = 1_000_000;
/// Content of the largest extension that a certificate of 64 KiB has room for.
const EXTENSION_BYTES: usize = 60_000;

/// What is handed to path validation.
pub struct Hostile {
    /// What is bad about it.
    pub name: &'static str,
    /// Certificate in question, PEM.
    pub leaf: String,
    /// Certificates beside it, PEM.
    pub intermediates: String,
    /// Trusted certificates, PEM.
    pub anchors: String,
    /// Revocation lists, DER.
    pub crls: Vec<Vec<u8>>,
}

/// A certificate to be made.
#[derive(Clone)]
struct Draft<'a> {
    subject: &'a [u8],
    issuer: &'a [u8],
    key: &'a Key,
    signer: &'a Key,
    serial: usize,
    extensions: Vec<Vec<u8>>,
    /// Algorithm and signature of one that is signed by nobody.
    signature: Option<(Vec<u8>, Vec<u8>)>,
}

impl Draft<'_> {
    fn der(&self) -> Vec<u8> {
        let algorithm = match &self.signature {
            Some((algorithm, _)) => algorithm.clone(),
            None => self.signer.algorithm(None),
        };
        let noon = i64::try_from(NOON).unwrap();
        let serial = u32::try_from(self.serial).unwrap() + 0x0100_0000;
        let tbs = sequence(&[
            context(0, &integer(&[2])),
            integer(&serial.to_be_bytes()),
            algorithm.clone(),
            self.issuer.to_vec(),
            sequence(&[utc_time(noon - 86_400), utc_time(noon + 86_400)]),
            self.subject.to_vec(),
            self.key.spki(),
            context(3, &sequence(&self.extensions)),
        ]);
        let signature = match &self.signature {
            Some((_, signature)) => signature.clone(),
            None => self.signer.sign(&tbs, None),
        };
        sequence(&[tbs, algorithm, bits(&signature)])
    }

    fn pem(&self) -> String {
        pem("CERTIFICATE", &self.der())
    }

    fn with(mut self, more: Vec<u8>) -> Self {
        self.extensions.push(more);
        self
    }
}

fn name(text_: &str) -> Vec<u8> {
    sequence(&[set(&[sequence(&[oid("2.5.4.3"), text(0x0c, text_)])])])
}

fn identifiers(key: &Key, signer: &Key) -> [Vec<u8>; 2] {
    [
        extension("2.5.29.14", false, &octets(&key.id())),
        extension("2.5.29.35", false, &sequence(&[raw(0x80, &signer.id())])),
    ]
}

fn authority<'a>(subject: &'a [u8], issuer: &'a [u8], key: &'a Key, signer: &'a Key) -> Draft<'a> {
    let mut extensions = identifiers(key, signer).to_vec();
    extensions.push(extension("2.5.29.19", true, &sequence(&[boolean(true)])));
    extensions.push(extension("2.5.29.15", true, &raw(3, &[1, 6])));
    Draft { subject, issuer, key, signer, serial: 0, extensions, signature: None }
}

fn leaf<'a>(subject: &'a [u8], issuer: &'a [u8], key: &'a Key, signer: &'a Key) -> Draft<'a> {
    let extensions = vec![identifiers(key, signer)[1].clone()];
    Draft { subject, issuer, key, signer, serial: 0, extensions, signature: None }
}

fn names(one: &[u8], bytes: usize) -> Vec<u8> {
    extension("2.5.29.17", false, &sequence(&[one.repeat(bytes / one.len())]))
}

fn shop() -> Vec<u8> {
    names(&text(0x82, "shop.example"), 14)
}

/// As many as there is room for, given what else is in the question.
fn fill(other: usize, mut one: impl FnMut(usize) -> String) -> String {
    let mut all = String::new();
    for serial in 0..1_000 {
        let next = one(serial);
        if other + all.len() + next.len() > BYTES_MAX {
            break;
        }
        all.push_str(&next);
    }
    all
}

/// All questions that must end in time.
pub fn hostile() -> Vec<Hostile> {
    let mut all = vec![];
    all.extend(graphs::all());
    all.extend(contents::all());
    all.extend(lists::all());
    all
}

/// The most that must still be judged.
pub fn longest() -> Hostile {
    lists::longest()
}

mod contents;
mod graphs;
mod lists;
