//! Messages signed, verified, encrypted, filtered and decrypted by the accounts of a cluster.

use std::path::Path;

use conclave_tests::{Cluster, Node, has_program, run_alone};
use serde_json::Value;

use super::{account_of, openssl, refused, with_issuer};

const LETTER: &str = "Received: from elsewhere\r\nFrom: Ann Lee <ann@shop.example>\r\n\
    To: bob@shop.example\r\nSubject: =?utf-8?Q?Gr=C3=BCn?=\r\nMIME-Version: 1.0\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
    Hello B\u{f6}b,\r\n.\r\nFrom here on it goes.\r\n";

/// Words that name an account and the file with its passphrase.
pub(super) struct By {
    pub(super) email: String,
    pub(super) pass: String,
}

impl By {
    pub(super) fn of(node: &Node, name: &str) -> By {
        let pass = node.file(&format!("{name}.pass"), passphrase(name).as_bytes());
        By { email: format!("{name}@shop.example"), pass }
    }

    pub(super) fn words<'a>(&'a self, words: &[&'a str]) -> Vec<&'a str> {
        [words, &["--as", &self.email, "--passphrase-file", &self.pass]].concat()
    }
}

pub(super) fn passphrase(name: &str) -> String {
    format!("the passphrase of {name}\n")
}

/// Makes accounts, each with a passphrase of its own, a key and a certificate.
pub(super) fn accounts(node: &Node, names: &[&str]) {
    for name in names {
        account_of(node, &format!("{name}@shop.example"), &passphrase(name));
    }
}

pub(super) fn verdict(node: &Node, file: &str) -> (i32, Value) {
    let ran = node.run(&["smime", "verify", file, "-o", "json"]);
    let text = if ran.out.is_empty() { &ran.err } else { &ran.out };
    (ran.code, serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

fn body(message: &str) -> &str {
    message.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

#[test]
fn the_chapter_is_walked_on_three_nodes_and_one_dies_between() {
    let mut cluster = with_issuer();
    accounts(&cluster.nodes[0], &["ann", "bob", "eve"]);
    let signed = {
        let first = &cluster.nodes[0];
        let letter = first.file("letter.eml", LETTER.as_bytes());
        let signed = first.run(&By::of(first, "ann").words(&["smime", "sign", &letter])).ok();
        assert!(signed.contains("multipart/signed"), "{signed}");
        signed
    };
    cluster.nodes[1].kill();
    let third = &cluster.nodes[2];
    let of_signed = third.file("signed.eml", signed.as_bytes());
    let (code, found) = verdict(third, &of_signed);
    assert_eq!((code, &found["valid"]), (0, &Value::Bool(true)), "{found}");
    let signer = &found["signers"][0];
    assert_eq!(signer["emails"][0], "ann@shop.example");
    assert_eq!(signer["verdict"]["set"], "issuer", "by the issuer of the domain: {found}");
    let told = third.run(&["smime", "verify", &of_signed]).ok();
    assert!(told.contains("valid, by the issuer set") && told.contains("whose certificate"));
    // Encrypted to both, by hand and on the way into a mailbox.
    let to = ["--to", "ann@shop.example", "--to", "bob@shop.example"];
    let encrypted = third.run(&[&["smime", "encrypt", &of_signed][..], &to].concat()).ok();
    let filter = ["smime", "filter", "--to", "ann@shop.example", "--also", "bob@shop.example"];
    let filtered = third.run_with(&filter, signed.as_bytes()).ok();
    for (name, message) in [("encrypted.eml", encrypted), ("filtered.eml", filtered)] {
        assert!(message.starts_with("Received: from elsewhere\r\n"), "{message}");
        assert!(!message.contains("it goes"), "{message}");
        let file = third.file(name, message.as_bytes());
        for name in ["ann", "bob"] {
            let read = third.run(&By::of(third, name).words(&["smime", "decrypt", &file])).ok();
            assert_eq!(body(&read), body(&signed), "as it was signed, for {name}");
            let read = third.file("read.eml", read.as_bytes());
            assert_eq!(verdict(third, &read).0, 0, "the signature inside is right");
        }
        let words = By::of(third, "eve");
        let refused = third.run(&words.words(&["smime", "decrypt", &file, "-o", "json"]));
        assert_eq!((refused.out.as_str(), &refused.problem()["code"]), ("", &"A010".into()));
    }
    as_a_desktop_client_reads_it(third);
    let revoke = ["account", "cert", "revoke", "ann@shop.example", "--yes"];
    third.run(&[&revoke[..], &["--revocation-reason", "key-compromise"]].concat()).ok();
    let (code, found) = verdict(third, &of_signed);
    let reason = &found["signers"][0]["verdict"]["reason"];
    assert_eq!((code, &found["valid"]), (8, &Value::Bool(false)), "{found}");
    assert!(found["signers"][0]["verdict"]["detail"].to_string().contains("revoked"), "{reason}");
    // Also where the certificates were still valid, and with the list in a file.
    let ended =
        |more: &[&str]| third.run(&[&["smime", "verify", &of_signed, "-o", "json"], more].concat());
    assert_eq!(ended(&["--at", "2030-01-01"]).code, 8);
    let issuer = third.run(&["smime", "show", "shop.example", "-o", "json"]).json();
    let issuer = issuer["certificate"]["pem"].as_str().unwrap().to_owned();
    let issuer = third.file("issuer.pem", issuer.as_bytes());
    let list = third.file("issuer.crl", b"");
    third.run(&["smime", "crl", "shop.example", "--out", &list]).ok();
    let unchecked = ended(&["--anchors", &issuer]).json();
    assert_eq!(unchecked["signers"][0]["revocation_checked"], false, "{unchecked}");
    assert_eq!(ended(&["--anchors", &issuer, "--crl", &list]).code, 8);
    let encrypt = ["smime", "encrypt", &of_signed, "--to", "ann@shop.example", "-o", "json"];
    assert_eq!(third.run(&encrypt).problem()["code"], "A011", "to a revoked certificate");
    // What was encrypted before is read all the same.
    let file = third.dir.join("filtered.eml").display().to_string();
    third.run(&By::of(third, "ann").words(&["smime", "decrypt", &file])).ok();
}

/// The same key in another program, by PKCS#12.
fn as_a_desktop_client_reads_it(node: &Node) {
    if !has_program("openssl") {
        return;
    }
    let By { email, pass } = By::of(node, "bob");
    let of_file = node.file("p12.pass", b"of the file\n");
    let out = node.file("bob.p12", b"");
    let export = ["account", "key", "export", &email, "--passphrase-file", &pass];
    let to = ["--out", &out, "--export-passphrase-file", &of_file];
    node.run(&[&export[..], &to].concat()).ok();
    let taken = ["pkcs12", "-in", "bob.p12", "-passin", "pass:of the file", "-nodes"];
    let taken = openssl(node, &[&taken[..], &["-out", "bob.pem"]].concat());
    assert!(taken.0, "{}", taken.1);
    let decrypt = ["cms", "-decrypt", "-in", "filtered.eml", "-inkey", "bob.pem"];
    let (is_read, said) = openssl(node, &[&decrypt[..], &["-recip", "bob.pem"]].concat());
    assert!(is_read && said.contains("here on it goes."), "{said}");
}

#[test]
fn a_filter_never_loses_a_message() {
    let cluster = with_issuer();
    let node = &cluster.nodes[1];
    accounts(node, &["jim", "john"]);
    node.run(&["account", "create", "new@shop.example"]).ok();
    let filter = |words: &[&str], input: &[u8]| {
        node.run_with(&[&["smime", "filter"][..], words].concat(), input)
    };
    let encrypted = filter(&["--to", "jim@shop.example"], LETTER.as_bytes()).ok();
    // What is encrypted already stays as it is, even for those without a certificate.
    for to in ["john@shop.example", "new@shop.example", "nobody@elsewhere.example"] {
        assert_eq!(filter(&["--to", to], encrypted.as_bytes()).ok(), encrypted);
    }
    for to in ["new@shop.example", "nobody@shop.example", "nobody@elsewhere.example"] {
        for (what, code) in [("pass", 0), ("defer", 75), ("reject", 69)] {
            let ran = filter(&["--to", to, "--without-certificate", what], LETTER.as_bytes());
            assert_eq!(ran.code, code, "{to} {what}: {}", ran.err);
            assert_eq!(ran.out, if code == 0 { LETTER } else { "" }, "{to} {what}");
        }
        // A rule's account without one is as above; what is no account is left out.
        let also = ["--to", "jim@shop.example", "--also", to];
        let code = if to == "new@shop.example" { 75 } else { 0 };
        assert_eq!(filter(&also, LETTER.as_bytes()).code, code, "{to}");
        let pass = [&also[..], &["--without-certificate", "pass"]].concat();
        let for_jim = filter(&pass, LETTER.as_bytes()).ok();
        let file = node.file("jim.eml", for_jim.as_bytes());
        node.run(&By::of(node, "jim").words(&["smime", "decrypt", &file])).ok();
    }
    assert_eq!(filter(&["--to", "jim@shop.example"], b"not a message\r\n\r\n").code, 65);
    // In whatever case it arrives, and with what looks like CMS and is none.
    let odd = "Content-Type: application/pkcs7-mime; name=x.p7m\r\n\
               Content-Transfer-Encoding: base64\r\n\r\n!!!!\r\n";
    for mail in [LETTER, odd] {
        let stored = filter(&["--to", "Jim@Shop.Example"], mail.as_bytes()).ok();
        assert!(stored.contains("enveloped-data") && !stored.contains("it goes"), "{stored}");
    }
    // Whatever else is wrong, the mail server tries again.
    let words = ["smime", "filter", "--to", "jim@shop.example"];
    let nowhere = ["--address", "unix:/nonexistent/admin.sock"];
    assert_eq!(run_alone(&[&nowhere[..], &words].concat()).code, 75, "no node");
    assert_eq!(run_alone(&["smime", "filter", "--to"]).code, 75, "wrong words");
    assert_eq!(run_alone(&["smime", "-o", "json", "filter", "--bad"]).code, 75, "options between");
    assert_eq!(run_alone(&["smime", "filter", "--help"]).code, 0);
}

#[test]
fn what_was_changed_is_refused_and_writes_nothing() {
    let cluster = with_issuer();
    let node = &cluster.nodes[2];
    accounts(node, &["ann", "bob"]);
    let letter = node.file("letter.eml", LETTER.as_bytes());
    let ann = By::of(node, "ann");
    for form in [&[][..], &["--opaque"]] {
        let signed = node.run(&ann.words(&[&["smime", "sign", &letter][..], form].concat())).ok();
        // A changed letter of the text, or of its base64.
        let changed = match form.is_empty() {
            true => signed.replace("it goes", "it went"),
            false => {
                // In the text, at the start of the signature's base64.
                let at = signed.len() - body(&signed).len() + 100;
                let other = if signed.as_bytes()[at] == b'A' { "B" } else { "A" };
                [&signed[..at], other, &signed[at + 1..]].concat()
            }
        };
        let file = node.file("changed.eml", changed.as_bytes());
        let ran = node.run(&["smime", "verify", &file, "--out", "-"]);
        assert_eq!((ran.code, ran.out.as_str()), (8, ""), "{form:?}: {}", ran.err);
        // Another author on the envelope alone: the one that counts is signed.
        let other = signed.replacen("ann@shop.example", "bob@shop.example", 1);
        let file = node.file("other.eml", other.as_bytes());
        let (code, found) = verdict(node, &file);
        assert_eq!((code, &found["from"][0]), (0, &"ann@shop.example".into()), "{form:?}");
        // Signed by another account than the author's.
        let bob = By::of(node, "bob");
        let forged = node.run(&bob.words(&[&["smime", "sign", &letter][..], form].concat())).ok();
        let file = node.file("forged.eml", forged.as_bytes());
        let (code, found) = verdict(node, &file);
        assert_eq!((code, &found["from_is_signer"]), (8, &Value::Bool(false)), "{form:?}");
    }
    for cipher in ["aes256-cbc", "aes256-gcm"] {
        let words = ["smime", "encrypt", &letter, "--to", "bob@shop.example", "--cipher", cipher];
        let sign = ["--sign-as", &ann.email, "--passphrase-file", &ann.pass];
        let encrypted = node.run(&[&words[..], &sign].concat()).ok();
        let file = node.file("encrypted.eml", encrypted.as_bytes());
        let bob = By::of(node, "bob");
        let out = node.dir.join("read.eml");
        let to = ["smime", "decrypt", &file, "--out", out.to_str().unwrap()];
        node.run(&bob.words(&to)).ok();
        assert_eq!(mode(&out), 0o600, "only its owner reads what was secret");
        assert_eq!(verdict(node, out.to_str().unwrap()).0, 0, "{cipher}");
        // The last block, without which nothing is sure.
        let end = encrypted.trim_end().len() - 8;
        let other = if encrypted.as_bytes()[end] == b'A' { "B" } else { "A" };
        let changed = [&encrypted[..end], other, &encrypted[end + 1..]].concat();
        let file = node.file("changed.eml", changed.as_bytes());
        let ran = node.run(&bob.words(&["smime", "decrypt", &file]));
        assert_eq!((ran.code, ran.out.as_str()), (8, ""), "{cipher}: {}", ran.err);
    }
}

#[test]
fn a_key_for_encryption_signs_nothing_that_is_valid() {
    if !has_program("openssl") {
        return;
    }
    let cluster = Cluster::start(1);
    let node = &cluster.nodes[0];
    node.run(&["domain", "create", "shop.example"]).ok();
    node.run(&["smime", "self-sign", "shop.example"]).ok();
    let By { email, pass } = By::of(node, "ann");
    node.run(&["account", "create", &email]).ok();
    let generate = ["account", "key", "generate", &email, "--passphrase-file", &pass];
    node.run(&[&generate[..], &["--purpose", "encrypt"]].concat()).ok();
    node.run(&["account", "cert", "issue", &email]).ok();
    let of_file = node.file("p12.pass", b"of the file\n");
    let out = node.file("ann.p12", b"");
    let export = ["account", "key", "export", &email, "--passphrase-file", &pass];
    let to = ["--out", &out, "--export-passphrase-file", &of_file];
    node.run(&[&export[..], &to].concat()).ok();
    let taken = ["pkcs12", "-in", "ann.p12", "-passin", "pass:of the file", "-nodes"];
    assert!(openssl(node, &[&taken[..], &["-out", "ann.pem"]].concat()).0);
    node.file("letter.eml", LETTER.replace('\u{f6}', "o").as_bytes());
    let sign = ["cms", "-sign", "-in", "letter.eml", "-signer", "ann.pem", "-inkey", "ann.pem"];
    let (is_made, said) =
        openssl(node, &[&sign[..], &["-from", &email, "-out", "signed.eml"]].concat());
    assert!(is_made, "{said}");
    let (code, found) = verdict(node, &node.dir.join("signed.eml").display().to_string());
    assert_eq!((code, &found["valid"]), (8, &Value::Bool(false)), "{found}");
}

#[test]
fn the_issuer_of_a_domain_vouches_for_no_address_of_another() {
    if !has_program("openssl") {
        return;
    }
    let cluster = Cluster::start(1);
    let node = &cluster.nodes[0];
    // An authority outside that the domain evil.example uses, which certifies what it likes.
    let req = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let of = ["-subj", "/CN=Evil", "-addext", "keyUsage=critical,keyCertSign,cRLSign"];
    let files = ["-keyout", "evil.key", "-out", "evil.pem"];
    let made = openssl(node, &[&req[..], &of, &files].concat());
    assert!(made.0, "{}", made.1);
    for domain in ["shop.example", "evil.example"] {
        node.run(&["domain", "create", domain]).ok();
    }
    let at = |name: &str| node.dir.join(name).display().to_string();
    let (issuer, key) = (at("evil.pem"), at("evil.key"));
    node.run(&["smime", "import", "evil.example", &issuer, "--key", &key]).ok();
    node.run(&["smime", "self-sign", "shop.example"]).ok();
    let letter = LETTER.replace("\u{f6}", "o");
    node.file("letter.eml", letter.as_bytes());
    for (names, code) in [
        ("email:x@evil.example", 8),
        ("email:ann@shop.example", 8),
        ("email:ann@shop.example,email:x@evil.example", 8),
    ] {
        let asked = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
        let of = ["-nodes", "-subj", "/CN=Ann", "-keyout", "ann.key", "-out", "ann.csr"];
        assert!(openssl(node, &[&asked[..], &of].concat()).0);
        let text = format!(
            "subjectAltName={names}\nextendedKeyUsage=emailProtection\n\
             keyUsage=critical,digitalSignature\nbasicConstraints=CA:FALSE\n"
        );
        node.file("ann.ext", text.as_bytes());
        let sign = ["x509", "-req", "-in", "ann.csr", "-CA", "evil.pem", "-CAkey", "evil.key"];
        let to = ["-extfile", "ann.ext", "-days", "9", "-out", "ann.pem"];
        assert!(openssl(node, &[&sign[..], &to].concat()).0);
        let write =
            ["cms", "-sign", "-in", "letter.eml", "-signer", "ann.pem", "-inkey", "ann.key"];
        let from = ["-from", "ann@shop.example", "-out", "forged.eml"];
        assert!(openssl(node, &[&write[..], &from].concat()).0);
        let (found, said) = verdict(node, &at("forged.eml"));
        assert_eq!((found, &said["valid"]), (code, &Value::Bool(false)), "{names}: {said}");
        let is_vouched = said["signers"][0]["verdict"]["valid"] == true;
        assert_eq!(is_vouched, names == "email:x@evil.example", "{names}: {said}");
    }
}

#[test]
fn an_x25519_key_receives_and_never_signs() {
    let cluster = Cluster::start(1);
    let node = &cluster.nodes[0];
    node.run(&["domain", "create", "shop.example"]).ok();
    node.run(&["smime", "self-sign", "shop.example"]).ok();
    let ann = By::of(node, "ann");
    node.run(&["account", "create", &ann.email]).ok();
    let generate = ["account", "key", "generate", &ann.email, "--type", "x25519"];
    let generate = [&generate[..], &["--passphrase-file", &ann.pass]].concat();
    let for_domain = vec!["key", "generate", "shop.example", "--type", "x25519"];
    for words in [generate.clone(), [&generate[..], &["--purpose", "sign"]].concat(), for_domain] {
        let problem = refused(node, &words);
        assert_eq!(problem["code"], "K003", "{problem}");
        assert!(problem["hint"].to_string().contains("--purpose encrypt"), "{problem}");
    }
    node.run(&[&generate[..], &["--purpose", "encrypt"]].concat()).ok();
    node.run(&["account", "cert", "issue", &ann.email]).ok();
    let letter = node.file("letter.eml", LETTER.as_bytes());
    let sent = node.run(&["smime", "encrypt", &letter, "--to", &ann.email]).ok();
    assert!(!sent.contains("From here on"), "{sent}");
    let sent = node.file("sent.eml", sent.as_bytes());
    let read = node.run(&ann.words(&["smime", "decrypt", &sent])).ok();
    assert_eq!(body(&read), body(LETTER));
    let signed = node.run(&ann.words(&["smime", "sign", &letter]));
    assert!(signed.code != 0 && signed.out.is_empty(), "{}", signed.out);
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn mail_to_an_earlier_key_and_an_earlier_certificate_is_read() {
    let cluster = Cluster::start(1);
    let node = &cluster.nodes[0];
    node.run(&["domain", "create", "shop.example"]).ok();
    node.run(&["smime", "self-sign", "shop.example"]).ok();
    accounts(node, &["ann"]);
    let ann = By::of(node, "ann");
    let letter = node.file("letter.eml", LETTER.as_bytes());
    let encrypt = ["smime", "encrypt", &letter, "--to", &ann.email];
    let mut sent = vec![node.run(&encrypt).ok()];
    node.run(&["account", "cert", "renew", &ann.email]).ok();
    sent.push(node.run(&encrypt).ok());
    for kind in ["p384", "rsa2048"] {
        let generate = ["account", "key", "generate", &ann.email, "--type", kind];
        node.run(&[&generate[..], &["--passphrase-file", &ann.pass]].concat()).ok();
        node.run(&["account", "cert", "issue", &ann.email]).ok();
        sent.push(node.run(&encrypt).ok());
    }
    sent.push(node.run(&[&encrypt[..], &["--oaep"]].concat()).ok());
    for (number, message) in sent.iter().enumerate() {
        let file = node.file("sent.eml", message.as_bytes());
        let read = node.run(&ann.words(&["smime", "decrypt", &file])).ok();
        assert_eq!(body(&read), body(LETTER), "message {number}");
    }
}
