//! S/MIME: certificates issued in a second by a cluster, and messages signed, verified, encrypted
//! and decrypted on one core; CMS alone beside OpenSSL's in the same process.

use std::{
    io::{Cursor, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use conclave_api::account::{Create, Generate, Issue, Purpose as KeyPurpose};
use conclave_pki::{
    certificate::Certificate,
    issue::{Account, Attributes, Purpose, Validity, smime_authority},
    key::{KeyAlgorithm, PrivateKey},
};
use conclave_smime::{
    cms::{self, Encryptor, Holder, Opening, SignWriter, SigningKey},
    message::{self, Encryption, Form},
};
use conclave_tests::Cluster;
use openssl::{
    cms::{CMSOptions, CmsContentInfo},
    pkey::{PKey, Private},
    stack::Stack,
    symm::Cipher,
    x509::X509,
};

use crate::{
    measure::Figures,
    writes::{client, committed},
};

const KIB: usize = 1024;
const NOW: u64 = 1_800_000_000;
const VALIDITY: Validity = Validity { not_before: NOW - 1_000, not_after: NOW + 1_000_000 };
const PASSPHRASE: &str = "a passphrase for many";
const IN_FLIGHT: usize = 256;
/// Certificates that one key may have, less the first.
const PER_ACCOUNT: u64 = 7;

pub(crate) fn run(time: Duration, accounts: u64) {
    issue(accounts);
    for bytes in [10 * KIB, 10 * KIB * KIB] {
        messages(time, bytes);
    }
}

/// Certificates for P-256 keys, durable on a quorum when they are acknowledged.
fn issue(accounts: u64) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cluster = Cluster::start(3);
    let leader = &cluster.nodes[cluster.leader()];
    leader.run(&["domain", "create", "shop.example"]).ok();
    leader.run(&["smime", "self-sign", "shop.example"]).ok();
    let client = client(&cluster, cluster.leader());
    let made = client.clone();
    let email = |number: u64| format!("a{number}@shop.example");
    runtime.block_on(async move {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..accounts {
            let client = made.clone();
            tasks.spawn(async move {
                let address = email(number);
                let create = Create { address: address.clone(), name: String::new() };
                client.create_account(&create, &committed()).await.unwrap();
                let passphrase = PASSPHRASE.to_owned();
                let purpose = KeyPurpose::SignAndEncrypt;
                let generate = Generate { algorithm: None, purpose, passphrase };
                client.generate_account_key(&address, &generate, &committed()).await.unwrap();
            });
            if tasks.len() >= 8 {
                tasks.join_next().await.unwrap().unwrap();
            }
        }
        tasks.join_all().await;
    });
    let begun = Instant::now();
    let total = accounts * PER_ACCOUNT;
    let times = runtime.block_on(async move {
        let next = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..IN_FLIGHT {
            let (client, next) = (client.clone(), Arc::clone(&next));
            tasks.spawn(async move {
                let mut times = Vec::new();
                loop {
                    let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if number >= total {
                        return times;
                    }
                    let issue = Issue { renew: true, ..Issue::default() };
                    let started = Instant::now();
                    let address = email(number % accounts);
                    let change = committed();
                    client.issue_account_certificate(&address, &issue, &change).await.unwrap();
                    times.push(started.elapsed());
                }
            });
        }
        tasks.join_all().await.concat()
    });
    println!(
        "smime     issue      {IN_FLIGHT} in flight {}",
        Figures::within(times, begun.elapsed())
    );
}

/// A person with a key, as both libraries have it.
struct Person {
    key: PrivateKey,
    certificate: Certificate,
    of_openssl: (PKey<Private>, X509),
}

fn people() -> Vec<Person> {
    let key = PrivateKey::generate(KeyAlgorithm::EcP256, &mut fill).unwrap();
    let attributes = Attributes { common_name: "Mail".to_owned(), ..Attributes::default() };
    let authority = smime_authority(&key, &attributes, [1; 16], VALIDITY).unwrap();
    let person = |number: u8| {
        let own = PrivateKey::generate(KeyAlgorithm::Rsa(2048), &mut fill).unwrap();
        let account = Account {
            public_key_der: own.public_key_der(),
            emails: &[format!("p{number}@a.example")],
            common_name: "P",
            purpose: Purpose::SignAndEncrypt,
            is_client: false,
            crl_url: None,
        };
        let certificate = account.issue(&key, &authority, [number; 16], VALIDITY).unwrap();
        let of_openssl = (
            PKey::private_key_from_pkcs8(own.pkcs8_der()).unwrap(),
            X509::from_der(certificate.der()).unwrap(),
        );
        Person { key: own, certificate, of_openssl }
    };
    (2..4).map(person).collect()
}

fn fill(bytes: &mut [u8]) {
    use ring::rand::{SecureRandom, SystemRandom};
    SystemRandom::new().fill(bytes).unwrap();
}

/// Repeats on this thread.
fn repeated(time: Duration, mut operation: impl FnMut()) -> Figures {
    let (begun, mut times) = (Instant::now(), Vec::new());
    while begun.elapsed() < time {
        let started = Instant::now();
        operation();
        times.push(started.elapsed());
    }
    Figures::of(times)
}

fn messages(time: Duration, bytes: usize) {
    let people = people();
    let line = "All work and no play makes a dull message, which nobody would want to read.\r\n";
    let head = "From: p2@a.example\r\nTo: p3@a.example\r\nMIME-Version: 1.0\r\n\
                Content-Type: text/plain\r\n\r\n";
    let mail = [head.as_bytes(), line.repeat(bytes / line.len()).as_bytes()].concat();
    let certificates: Vec<Certificate> = people.iter().map(|one| one.certificate.clone()).collect();
    let [ann, bob] = people.as_slice() else { panic!("two people") };
    let tell = |what: &str, who: &str, figures: Figures| {
        println!("smime     {what:<8} {who:<9} {:>6} KiB {figures}", bytes / KIB);
    };
    let signer = SigningKey { key: &ann.key, certificate: &ann.certificate, chain: &[], time: NOW };
    let encryption = Encryption::to(&certificates);
    let encrypt = || {
        let mut out = Vec::with_capacity(bytes * 2);
        message::encrypt(&mail[..], &mut out, &encryption, &mut fill).unwrap();
        out
    };
    let sign = || {
        let mut out = Vec::with_capacity(bytes * 2);
        message::sign(&mail[..], &mut out, &signer, Form::Opaque, &mut fill).unwrap();
        out
    };
    let (encrypted, signed) = (encrypt(), sign());
    tell("encrypt", "message", repeated(time, || drop(encrypt())));
    let holders = [Holder { key: &bob.key, certificate: &bob.certificate }];
    let decrypt = || {
        let (mut out, mut spool) = (Vec::with_capacity(bytes), Cursor::new(Vec::new()));
        message::decrypt(&encrypted[..], &mut out, &holders, &mut spool, &mut fill).unwrap();
    };
    tell("decrypt", "message", repeated(time, decrypt));
    tell("sign", "message", repeated(time, || drop(sign())));
    let verify = || {
        let mut out = Vec::with_capacity(bytes);
        message::verify(&signed[..], &mut out, Opening::default()).unwrap();
    };
    tell("verify", "message", repeated(time, verify));
    cms_alone(time, &mail, &signer, &encryption, holders, &tell);
    of_openssl(time, &mail, (&ann.of_openssl, &bob.of_openssl), &tell);
}

/// CMS in DER alone, as OpenSSL does it below: without the header and base64 of a message.
fn cms_alone(
    time: Duration,
    content: &[u8],
    signer: &SigningKey<'_>,
    encryption: &Encryption<'_>,
    holders: [Holder<'_>; 1],
    tell: &dyn Fn(&str, &str, Figures),
) {
    let Encryption { recipients, cipher, padding } = *encryption;
    let encrypt = || {
        let out = Vec::with_capacity(content.len() * 2);
        let mut out = Encryptor::new(out, recipients, cipher, padding, &mut fill).unwrap();
        out.write_all(content).unwrap();
        out.finish().unwrap()
    };
    let sign = || {
        let out = Vec::with_capacity(content.len() * 2);
        let mut out = SignWriter::new(out, *signer).unwrap();
        out.write_all(content).unwrap();
        out.finish().unwrap()
    };
    let (encrypted, signed) = (encrypt(), sign());
    tell("encrypt", "cms", repeated(time, || drop(encrypt())));
    let decrypt = || {
        let (mut out, mut spool) = (Vec::with_capacity(content.len()), Cursor::new(Vec::new()));
        cms::decrypt(&encrypted[..], &mut out, &holders, &mut spool, &mut fill).unwrap();
    };
    tell("decrypt", "cms", repeated(time, decrypt));
    tell("sign", "cms", repeated(time, || drop(sign())));
    let verify = || {
        let mut out = Vec::with_capacity(content.len());
        cms::verify(&signed[..], &mut out, Opening::default()).unwrap();
    };
    tell("verify", "cms", repeated(time, verify));
}

/// The same by OpenSSL.
fn of_openssl(
    time: Duration,
    content: &[u8],
    (ann, bob): (&(PKey<Private>, X509), &(PKey<Private>, X509)),
    tell: &dyn Fn(&str, &str, Figures),
) {
    let mut recipients = Stack::new().unwrap();
    for (_, certificate) in [ann, bob] {
        recipients.push(certificate.clone()).unwrap();
    }
    let flags = CMSOptions::BINARY;
    let encrypt = || {
        let made = CmsContentInfo::encrypt(&recipients, content, Cipher::aes_256_cbc(), flags);
        made.unwrap().to_der().unwrap()
    };
    let sign = || {
        let made = CmsContentInfo::sign(Some(&ann.1), Some(&ann.0), None, Some(content), flags);
        made.unwrap().to_der().unwrap()
    };
    let (encrypted, signed) = (encrypt(), sign());
    tell("encrypt", "openssl", repeated(time, || drop(encrypt())));
    let decrypt = || {
        CmsContentInfo::from_der(&encrypted).unwrap().decrypt(&bob.0, &bob.1).unwrap();
    };
    tell("decrypt", "openssl", repeated(time, decrypt));
    tell("sign", "openssl", repeated(time, || drop(sign())));
    let verify = || {
        let (mut out, flags) = (Vec::new(), CMSOptions::NO_SIGNER_CERT_VERIFY | flags);
        let mut read = CmsContentInfo::from_der(&signed).unwrap();
        read.verify(None, None, None, Some(&mut out), flags).unwrap();
    };
    tell("verify", "openssl", repeated(time, verify));
}
