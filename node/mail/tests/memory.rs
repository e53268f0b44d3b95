//! A message of 100 MB goes through the proxy in a few megabytes of memory.
//!
//! The only test of its program, so that the peak is its own.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
};

use conclave_mail::{Certificates, Mail, NotReady, Outcome, Place, Settings, WithoutCertificate};
use conclave_pki::{
    issue::{Account, Attributes, Purpose, Validity, smime_authority},
    key::{KeyAlgorithm, PrivateKey},
};
use conclave_smime::cms::Cipher;
use conclave_store::id::EmailAddress;
use conclave_system::entropy;

const BODY_BYTES: usize = 100_000_000;
const PEAK_BYTES_MAX: u64 = 64 * 1024 * 1024;

struct One(Vec<u8>);

impl Certificates for One {
    fn of(&self, _: &EmailAddress) -> Result<Option<Vec<u8>>, NotReady> {
        Ok(Some(self.0.clone()))
    }
}

fn certificate() -> Vec<u8> {
    let key = PrivateKey::generate(KeyAlgorithm::EcP256, &mut entropy::fill).unwrap();
    let attributes = Attributes { common_name: "A".to_owned(), ..Attributes::default() };
    let validity = Validity { not_before: 1_700_000_000, not_after: 2_600_000_000 };
    let authority = smime_authority(&key, &attributes, [1; 16], validity).unwrap();
    let account = Account {
        public_key_der: key.public_key_der(),
        emails: &["jim@a.example".to_owned()],
        common_name: "Jim",
        purpose: Purpose::SignAndEncrypt,
        is_client: false,
        crl_url: None,
    };
    account.issue(&key, &authority, [2; 16], validity).unwrap().der().to_vec()
}

/// Takes one message on each connection and returns its size.
fn take(stream: TcpStream) -> u64 {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut bytes = 0;
    let say = |text: &str| (&stream).write_all(text.as_bytes()).unwrap();
    say("220 box\r\n");
    let mut line = String::new();
    while reader.read_line(&mut line).unwrap() > 0 && !line.starts_with("QUIT") {
        let is_data = line.starts_with("DATA");
        say(if is_data { "354 Go\r\n" } else { "250 Ok\r\n" });
        if is_data {
            while line != ".\r\n" {
                line.clear();
                bytes += u64::try_from(reader.read_line(&mut line).unwrap()).unwrap();
            }
            say("250 Saved\r\n");
        }
        line.clear();
    }
    bytes
}

/// Returns the peak of resident memory in bytes, as the kernel counts it.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn memory_does_not_grow_with_the_message() {
    let mailboxes = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = Settings {
        listen: Place::parse("127.0.0.1:0").unwrap(),
        upstream: Place::Tcp(mailboxes.local_addr().unwrap()),
        without_certificate: WithoutCertificate::Defer,
        cipher: Cipher::Aes256Cbc,
        offers_dsn: false,
    };
    let (counters, one) = (Arc::default(), Arc::new(One(certificate())));
    let mail = Mail::open("n1", settings, one, Arc::clone(&counters)).unwrap();
    let taking = std::thread::spawn(move || {
        let streams = mailboxes.incoming().take(3).map(Result::unwrap);
        let taken: Vec<_> = streams.map(|one| std::thread::spawn(move || take(one))).collect();
        taken.into_iter().map(|one| one.join().unwrap()).sum::<u64>()
    });
    let Place::Tcp(address) = mail.place() else { return };
    let mut stream = TcpStream::connect(address).unwrap();
    let start =
        "LHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<jim@a.example>\r\nRCPT TO:<jo@a.example>\r\nDATA\r\n";
    stream.write_all(start.as_bytes()).unwrap();
    stream.write_all(b"Subject: long\r\n\r\n").unwrap();
    let line = [&[b'x'; 98][..], b"\r\n"].concat().repeat(1000);
    for _ in 0..BODY_BYTES / line.len() {
        stream.write_all(&line).unwrap();
    }
    stream.write_all(b".\r\nQUIT\r\n").unwrap();
    let mut replies = String::new();
    stream.read_to_string(&mut replies).unwrap();
    assert!(replies.ends_with("250 Saved\r\n250 Saved\r\n221 2.0.0 Bye\r\n"), "{replies}");
    assert!(taking.join().unwrap() > 250_000_000, "two copies in base64");
    assert_eq!(counters.count(Outcome::Encrypted), 2);
    let peak = peak();
    assert!(peak < PEAK_BYTES_MAX, "{peak} bytes");
}
