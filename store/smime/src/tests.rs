//! Messages against other programs, damage and every kind of body.

mod bodies;
mod damage;
mod encrypted;
mod others;
mod signed;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use conclave_pki::{
    certificate::Certificate,
    issue::{Account, Attributes, Purpose, Validity, smime_authority},
    key::{KeyAlgorithm, PrivateKey},
};

use crate::cms::{Holder, SigningKey};

pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const RSA: KeyAlgorithm = KeyAlgorithm::Rsa(2048);
const VALIDITY: Validity = Validity { not_before: 1_700_000_000, not_after: 2_600_000_000 };

pub(crate) const MAIL: &str = "From: Ann <ann@a.example>\r\nTo: bob@a.example\r\n\
    Subject: A test\r\nReceived: by b.example\r\nMIME-Version: 1.0\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\r\nHello\r\n\r\nWorld = 1\r\n";
pub(crate) const BODY: &str = "Hello\r\n\r\nWorld = 1\r\n";

pub(crate) fn fill(bytes: &mut [u8]) {
    use ring::rand::{SecureRandom, SystemRandom};
    SystemRandom::new().fill(bytes).unwrap();
}

/// Owner of a key and a certificate, both also as files.
pub(crate) struct Person {
    pub(crate) key: PrivateKey,
    pub(crate) certificate: Certificate,
    pub(crate) key_file: String,
    pub(crate) certificate_file: String,
}

/// Authority and accounts, made once.
pub(crate) struct World {
    directory: tempfile::TempDir,
    pub(crate) authority_file: String,
    pub(crate) authority: Certificate,
    people: Vec<Person>,
}

pub(crate) fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let key = PrivateKey::generate(KeyAlgorithm::EcP256, &mut fill).unwrap();
        let attributes =
            Attributes { common_name: "Example Mail".to_owned(), ..Attributes::default() };
        let authority = smime_authority(&key, &attributes, [1; 16], VALIDITY).unwrap();
        let write = |name: String, content: String| {
            let path = directory.path().join(name);
            std::fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let person = |algorithm: KeyAlgorithm| {
            let own = PrivateKey::generate(algorithm, &mut fill).unwrap();
            let purpose = match algorithm {
                KeyAlgorithm::Ed25519 => Purpose::Sign,
                KeyAlgorithm::X25519 => Purpose::Encrypt,
                _ => Purpose::SignAndEncrypt,
            };
            let account = Account {
                public_key_der: own.public_key_der(),
                emails: &["ann@a.example".to_owned()],
                common_name: "Ann",
                purpose,
                is_client: false,
                crl_url: None,
            };
            let mut serial = [0; 16];
            fill(&mut serial);
            let certificate = account.issue(&key, &authority, serial, VALIDITY).unwrap();
            let pem = format!(
                "-----BEGIN PRIVATE KEY-----\n{}-----END PRIVATE KEY-----\n",
                data_encoding::BASE64_MIME.encode(own.pkcs8_der())
            );
            let key_file = write(format!("{algorithm}.key"), pem);
            let certificate_file = write(format!("{algorithm}.pem"), certificate.pem());
            Person { key: own, certificate, key_file, certificate_file }
        };
        let all = [
            RSA,
            KeyAlgorithm::EcP256,
            KeyAlgorithm::EcP384,
            KeyAlgorithm::Ed25519,
            KeyAlgorithm::X25519,
        ];
        let people = all.map(person).into();
        let authority_file = write("authority.pem".to_owned(), authority.pem());
        World { directory, authority_file, authority, people }
    })
}

pub(crate) fn person(algorithm: KeyAlgorithm) -> &'static Person {
    world().people.iter().find(|person| person.key.algorithm() == algorithm).unwrap()
}

impl Person {
    pub(crate) fn signer(&self) -> SigningKey<'_> {
        SigningKey { key: &self.key, certificate: &self.certificate, chain: &[], time: NOW }
    }

    pub(crate) fn holder(&self) -> Holder<'_> {
        Holder { key: &self.key, certificate: &self.certificate }
    }
}

/// Writes a file that lives as long as the tests, under a name that is not used twice.
pub(crate) fn file(content: &[u8]) -> String {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let path: PathBuf = world().directory.path().join(format!("file{count}"));
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Runs another program; `None` where there is none.
pub(crate) fn run(program: &str, arguments: &[&str], input: &[u8]) -> Option<Output> {
    run_in(Path::new("."), program, arguments, input)
}

fn run_in(dir: &Path, program: &str, arguments: &[&str], input: &[u8]) -> Option<Output> {
    let child = Command::new(program)
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        assert!(std::env::var_os("CONCLAVE_TEST_ALL").is_none(), "{program} is not installed");
        eprintln!("SKIPPED: {program} is not installed");
        return None;
    };
    // A program that refuses its input early closes it.
    let _ = child.stdin.take().unwrap().write_all(input);
    Some(child.wait_with_output().unwrap())
}

/// Runs another program that must succeed; `None` where there is none.
pub(crate) fn succeed(program: &str, arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    Some(checked(program, arguments, run(program, arguments, input)?))
}

/// The same in a directory, without input.
pub(crate) fn succeed_in(dir: &Path, program: &str, arguments: &[&str]) -> Option<Vec<u8>> {
    Some(checked(program, arguments, run_in(dir, program, arguments, &[])?))
}

fn checked(program: &str, arguments: &[&str], output: Output) -> Vec<u8> {
    let [said, errors] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{program} {arguments:?}: {said}{errors}");
    output.stdout
}
