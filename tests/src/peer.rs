//! Programs and keys that users have.

use std::{net::SocketAddr, path::PathBuf, process::Command};

use crate::Node;
use rustls::pki_types::{CertificateDer, pem::PemObject};

/// Whether a peer program is there; with CONCLAVE_TEST_ALL a missing one is a failure.
pub fn has_program(name: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {name}")]).output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        assert!(std::env::var_os("CONCLAVE_TEST_ALL").is_none(), "{name} is not installed");
        println!("SKIPPED: {name} is not installed");
    }
    found
}

/// The program of an earlier release; none, with the reason said, if it was not built.
pub fn earlier_program(version: &str) -> Option<PathBuf> {
    let dir = std::env::var_os("CONCLAVE_RELEASES").map(PathBuf::from);
    let program = dir.map(|dir| dir.join(version).join("conclave"));
    let found = program.filter(|program| program.exists());
    if found.is_none() {
        println!("SKIPPED: no program of {version}: tests/releases builds it from the history");
    }
    found
}

/// Memory that a process holds, in MiB.
pub fn resident_mib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() / 1024
}

/// What OpenSSL prints.
pub fn openssl(words: &[&str]) -> String {
    let output = Command::new("openssl").args(words).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{words:?}: {text}");
    text
}

/// Has an OpenSSL authority in the node's directory sign a request; gives the bundle's path.
pub fn sign(node: &Node, csr: &str, days: &str) -> String {
    let path = |name: &str| node.dir.join(name).to_str().unwrap().to_owned();
    let (key, root, leaf) = (path("ca.key"), path("ca.pem"), path("leaf.pem"));
    if !node.dir.join("ca.pem").exists() {
        let subject = ["-subj", "/CN=Test Root", "-keyout", &key, "-out", &root, "-days", "900"];
        let made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
        openssl(&[&made[..], &["-nodes"], &subject].concat());
    }
    let authority = ["-CA", &root, "-CAkey", &key, "-CAcreateserial", "-copy_extensions", "copy"];
    let made = ["x509", "-req", "-in", csr, "-days", days, "-out", &leaf];
    openssl(&[&made[..], &authority].concat());
    let bundle = [std::fs::read_to_string(&leaf).unwrap(), std::fs::read_to_string(&root).unwrap()];
    node.file("bundle.pem", bundle.concat().as_bytes())
}

/// The certificates that `openssl s_client` is shown, the domain's first, DER; none if there is no
/// handshake.
pub fn openssl_chain(address: SocketAddr, name: &str, more: &[&str]) -> Vec<Vec<u8>> {
    openssl_chain_of(address, &[&["-servername", name], more].concat())
}

/// The same, with these options alone.
pub fn openssl_chain_of(address: SocketAddr, options: &[&str]) -> Vec<Vec<u8>> {
    let output = Command::new("openssl")
        .args(["s_client", "-showcerts", "-connect", &address.to_string()])
        .args(options)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let certificates = CertificateDer::pem_slice_iter(&output.stdout);
    certificates.map(|certificate| certificate.unwrap().to_vec()).collect()
}

/// A certificate by an intermediate authority, with its key and chain, PEM.
pub struct Pair {
    /// Certificate.
    pub certificate: String,
    /// Certificate of its issuer.
    pub chain: String,
    /// Private key, PKCS#8.
    pub key: String,
    /// Certificate, DER.
    pub der: Vec<u8>,
    /// Certificate of its issuer, DER.
    pub chain_der: Vec<u8>,
    /// Private key, PKCS#8 DER.
    pub key_der: Vec<u8>,
}

impl Pair {
    /// A new pair for `name`.
    pub fn make(name: &str) -> Pair {
        Pair::with_days(name, -1, 365)
    }

    /// A new pair that is valid between these days from now.
    pub fn with_days(name: &str, from: i64, till: i64) -> Pair {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let day = |days: i64| {
            let seconds = i64::try_from(now).unwrap() + days * 86_400;
            let date = jiff::Timestamp::from_second(seconds).unwrap();
            let part = |format: &str| -> u8 { date.strftime(format).to_string().parse().unwrap() };
            rcgen::date_time_ymd(2000 + i32::from(part("%y")), part("%m"), part("%d"))
        };
        let issuer_key = rcgen::KeyPair::generate().unwrap();
        let mut issuer = rcgen::CertificateParams::new(Vec::new()).unwrap();
        issuer.distinguished_name.push(rcgen::DnType::CommonName, "Test Issuer");
        issuer.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer_certificate = issuer.self_signed(&issuer_key).unwrap();
        let issuer = rcgen::Issuer::new(issuer, issuer_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        (params.not_before, params.not_after) = (day(from), day(till));
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Pair {
            certificate: certificate.pem(),
            chain: issuer_certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().to_vec(),
            chain_der: issuer_certificate.der().to_vec(),
            key_der: key.serialize_der(),
        }
    }

    /// Certificate and chain in one text.
    pub fn bundle(&self) -> String {
        format!("{}{}", self.certificate, self.chain)
    }
}
