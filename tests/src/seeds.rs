//! Writes what fuzzing begins with, `DIRECTORY/TARGET/*`: keys, requests and certificates of
//! OpenSSL, those of the cases of path validation, what is said before TLS, datagrams.

#[path = "seeds/dtls.rs"]
mod dtls;

use std::{fs, path::Path, process::Command};

use base64::{Engine, engine::general_purpose::STANDARD};
use conclave_tests::{Forged, forge, fuzz};

fn main() {
    let directory = std::env::args().nth(1).expect("conclave-fuzz-seeds DIRECTORY");
    let directory = Path::new(&directory);
    dtls::seeds(directory);
    keys(directory);
    pkcs12(directory);
    requests(directory);
    for (target, name, content) in fuzz::clear_seeds().into_iter().chain(fuzz::mail_seeds()) {
        seed(directory, target, &name, &content);
    }
    let cases = include_str!("../fixtures/path_validation.txt");
    for line in cases.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        case(directory, &parts[0].replace([' ', '/'], "-"), parts[2], parts[3]);
    }
    for kind in ["ok", "revoked", "forged", "expired", "delta", "unknown", "indirect", "no-next"] {
        let made = forge("root key=rsa; leaf", Some(kind));
        let crl = made.crl.as_deref().unwrap_or_default();
        seed(directory, "crl", kind, &der(crl)[0]);
        seed(directory, "pem", &format!("crl-{kind}"), crl.as_bytes());
        if kind == "ok" {
            seed(directory, "chain", "pem", format!("{}{}", made.leaf, made.anchors).as_bytes());
        }
    }
}

fn seed(directory: &Path, target: &str, name: &str, content: &[u8]) {
    let directory = directory.join(target);
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(name), content).unwrap();
}

/// DER of each block.
fn der(pem: &str) -> Vec<Vec<u8>> {
    let blocks = pem.split("-----BEGIN ").skip(1);
    let body = |block: &str| {
        let lines = block.lines().skip(1).take_while(|line| !line.starts_with("-----"));
        STANDARD.decode(lines.collect::<String>()).unwrap()
    };
    blocks.map(body).collect()
}

fn openssl(words: &str) -> String {
    let output = Command::new("openssl").args(words.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn keys(directory: &Path) {
    let made = [
        "genrsa -traditional 2048",
        "genrsa 2048",
        "genrsa 1024",
        "genrsa -3 2048",
        "genrsa -aes128 -passout pass:passphrase 2048",
        "ecparam -genkey -name prime256v1",
        "ecparam -genkey -name secp384r1 -noout",
        "ecparam -genkey -name secp256k1",
        "genpkey -algorithm ed25519",
        "genpkey -algorithm ed448",
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521",
        "genpkey -algorithm ed25519 -aes-256-cbc -pass pass:passphrase",
    ];
    for (place, words) in made.into_iter().enumerate() {
        let pem = openssl(words);
        seed(directory, "key", &format!("{place}.pem"), pem.as_bytes());
        seed(directory, "pem", &format!("key-{place}"), pem.as_bytes());
        for (block, der) in der(&pem.replace(":", "")).iter().enumerate() {
            seed(directory, "key", &format!("{place}-{block}.der"), der);
        }
    }
    let key = directory.join("key/8.pem");
    for more in ["-v2 aes-128-cbc -iter 1", "-scrypt -scrypt_N 16", "-v2prf hmacWithSHA512 -iter 9"]
    {
        let words = format!("pkcs8 -topk8 -passout pass:passphrase -in {} {more}", key.display());
        let pem = openssl(&words);
        seed(directory, "key", &format!("{}.enc", more.len()), pem.as_bytes());
        seed(directory, "key", &format!("{}.enc.der", more.len()), &der(&pem)[0]);
    }
}

fn pkcs12(directory: &Path) {
    let (key, certificate) = (directory.join("key/10.pem"), directory.join("pkcs12.pem"));
    let (key, certificate) = (key.display(), certificate.display());
    openssl(&format!("req -x509 -key {key} -subj /CN=a.example -days 3650 -out {certificate}"));
    fs::create_dir_all(directory.join("pkcs12")).unwrap();
    let made = [
        "-iter 1",
        "-iter 1 -nomac",
        "-legacy -iter 1",
        "-nomac -keypbe NONE -certpbe NONE",
        "-nomac -keypbe NONE -certpbe NONE -name a -caname b",
        "-nomac -keypbe NONE -certpbe NONE -nocerts",
        "-nomac -keypbe NONE -certpbe NONE -nokeys",
        "-iter 1 -keypbe aes-128-cbc -certpbe aes-192-cbc -macalg sha512",
        "-iter 1 -legacy -keypbe PBE-SHA1-2DES -certpbe PBE-SHA1-RC2-128 -macalg sha384",
    ];
    for (place, more) in made.into_iter().enumerate() {
        let file = directory.join(format!("pkcs12/{place}"));
        let words = format!("-inkey {key} -in {certificate} {more} -out {}", file.display());
        openssl(&format!("pkcs12 -export -passout pass:passphrase {words}"));
    }
}

fn requests(directory: &Path) {
    let made = [
        "-newkey rsa:2048 -subj /CN=a.example",
        "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /C=US/O=ACME/CN=a.example/emailAddress=a@b.c -addext subjectAltName=DNS:a.example,IP:10.0.0.1,email:a@b.c,URI:http://a/",
        "-newkey ed25519 -subj / -addext basicConstraints=CA:TRUE",
        "-newkey ed448 -subj /CN=\u{fc}",
    ];
    for (place, words) in made.into_iter().enumerate() {
        let pem = openssl(&format!("req -new -nodes -keyout /dev/null {words}"));
        seed(directory, "request", &format!("{place}.pem"), pem.as_bytes());
        seed(directory, "request", &format!("{place}.der"), &der(&pem)[0]);
        seed(directory, "pem", &format!("request-{place}"), pem.as_bytes());
    }
}

fn case(directory: &Path, name: &str, certificates: &str, options: &str) {
    let crl = options.split_whitespace().find_map(|word| word.strip_prefix("crl="));
    let Forged { leaf, intermediates, anchors, crl } = forge(certificates, crl);
    let purpose = |word: &str| options.contains(word);
    let how: u8 = match () {
        () if purpose("purpose=client") => 1,
        () if purpose("purpose=email") => 2,
        () if purpose("purpose=any") => 3,
        () => 0,
    };
    let rules = if options.contains("path-only") { 4 } else { 0 };
    for signed in [0, 0x10] {
        let mut question = vec![how | rules | signed, 2, 0, 0];
        let crls = crl.as_deref().unwrap_or_default();
        for (kind, pem) in [(0, &*leaf), (1, &*intermediates), (2, &*anchors), (3, crls)] {
            for der in der(pem) {
                question.push(kind);
                question.extend(der);
            }
        }
        seed(directory, "path", &format!("{name}-{signed}"), &question);
    }
    let all = format!("{leaf}{intermediates}{anchors}");
    seed(directory, "certificate", &format!("{name}.pem"), all.as_bytes());
    seed(directory, "pem", name, all.as_bytes());
    for (place, der) in der(&all).iter().enumerate() {
        seed(directory, "certificate", &format!("{name}-{place}.der"), der);
    }
}
