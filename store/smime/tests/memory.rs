//! A message of 100 MB goes through every step in a few megabytes of memory.
//!
//! The only test of its program, so that the peak is its own.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
};

use conclave_pki::{
    certificate::Certificate,
    issue::{Account, Attributes, Purpose, Validity, smime_authority},
    key::{KeyAlgorithm, PrivateKey},
};
use conclave_smime::{
    cms::{Cipher, Holder, Opening, SigningKey},
    message::{self, Encryption, Form},
};

const BODY_BYTES: u64 = 100_000_000;
const PEAK_BYTES_MAX: u64 = 64 * 1024 * 1024;

fn fill(bytes: &mut [u8]) {
    use ring::rand::{SecureRandom, SystemRandom};
    SystemRandom::new().fill(bytes).unwrap();
}

fn account() -> (PrivateKey, Certificate) {
    let key = PrivateKey::generate(KeyAlgorithm::EcP256, &mut fill).unwrap();
    let attributes = Attributes { common_name: "Example".to_owned(), ..Attributes::default() };
    let validity = Validity { not_before: 1_700_000_000, not_after: 2_600_000_000 };
    let authority = smime_authority(&key, &attributes, [1; 16], validity).unwrap();
    let account = Account {
        public_key_der: key.public_key_der(),
        emails: &["ann@a.example".to_owned()],
        common_name: "Ann",
        purpose: Purpose::SignAndEncrypt,
        is_client: false,
        crl_url: None,
    };
    let certificate = account.issue(&key, &authority, [2; 16], validity).unwrap();
    (key, certificate)
}

/// Returns a message with a body of [`BODY_BYTES`].
fn mail(header: &'static str) -> impl BufRead {
    let line = io::repeat(b'x').take(BODY_BYTES);
    BufReader::new(header.as_bytes().chain(line))
}

/// Returns the peak of resident memory in bytes, as the kernel counts it.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Counts what is written to it.
#[derive(Default)]
struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += u64::try_from(bytes.len()).unwrap();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_hundred_megabytes_pass_in_constant_memory() {
    let (key, certificate) = account();
    let signer =
        SigningKey { key: &key, certificate: &certificate, chain: &[], time: 1_800_000_000 };
    let holders = [Holder { key: &key, certificate: &certificate }];
    let recipients = [certificate.clone()];
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let create = |name: &str| BufWriter::new(File::create(path(name)).unwrap());
    let open = |name: &str| BufReader::new(File::open(path(name)).unwrap());

    let text = "From: ann@a.example\r\n\r\n";
    let binary = "From: ann@a.example\r\nContent-Type: application/octet-stream\r\n\
        Content-Transfer-Encoding: binary\r\n\r\n";
    for (header, form, cipher) in [
        (text, Form::Opaque, Cipher::Aes256Cbc),
        (text, Form::Detached, Cipher::Aes256Gcm),
        (binary, Form::Detached, Cipher::Aes128Cbc),
    ] {
        let encryption = Encryption { cipher, ..Encryption::to(&recipients) };
        message::sign_and_encrypt(
            mail(header),
            create("sent"),
            &signer,
            form,
            &encryption,
            &mut fill,
        )
        .unwrap();
        let mut spool = tempfile::tempfile().unwrap();
        let inside = create("inside");
        message::decrypt(open("sent"), inside, &holders, &mut spool, &mut fill).unwrap();
        let mut counter = Counter::default();
        let checked = message::verify(open("inside"), &mut counter, Opening::default()).unwrap();
        assert!(checked.is_from_signer && counter.0 >= BODY_BYTES, "{}", counter.0);
    }
    let peak = peak();
    assert!(peak < PEAK_BYTES_MAX, "{peak} bytes at the peak");
    println!("{peak} bytes at the peak");
}
