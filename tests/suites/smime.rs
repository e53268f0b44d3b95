//! S/MIME: the issuer of a domain, accounts with keys and certificates, and revocation, as their
//! operators see them.

mod delivery;
mod exim;
mod messages;
mod mutt;
pub(crate) mod owners;

use std::{process::Command, time::Duration};

use conclave_pki::key::PrivateKey;
use conclave_smime::lock::{self, Context};
use conclave_store::{id::Fingerprint, record::RowKey};
use conclave_tests::{Cluster, Node, has_program, wait_for};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd};
use serde_json::Value;

use crate::domain_pki::public;

const PASSPHRASE: &str = "correct horse battery";

/// Runs openssl in the directory of a node. Returns whether it succeeded, and what it said.
pub(crate) fn openssl(node: &Node, words: &[&str]) -> (bool, String) {
    let output = Command::new("openssl").args(words).current_dir(&node.dir).output();
    let output = output.expect("openssl, of which the suites need version 3");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// Runs a command that is refused, and returns the problem.
fn refused(node: &Node, words: &[&str]) -> Value {
    node.run(&[words, &["-o", "json"]].concat()).problem()
}

/// Founds three nodes with a domain that issues on its own, made on the first.
fn with_issuer() -> Cluster {
    let cluster = Cluster::start(3);
    cluster.nodes[0].run(&["domain", "create", "shop.example"]).ok();
    cluster.nodes[0].run(&["smime", "self-sign", "shop.example"]).ok();
    cluster
}

/// Makes an account with a key and a certificate.
fn account(node: &Node, email: &str) {
    account_of(node, email, PASSPHRASE);
}

/// The same with a passphrase of its own.
fn account_of(node: &Node, email: &str, passphrase: &str) {
    let pass = node.file("account.pass", passphrase.as_bytes());
    node.run(&["account", "create", email, "--name", "Ann Lee"]).ok();
    node.run(&["account", "key", "generate", email, "--passphrase-file", &pass]).ok();
    node.run(&["account", "cert", "issue", email]).ok();
}

/// Writes a certificate, its authority and the list of revoked ones; returns what openssl says.
fn verified(node: &Node, email: &str) -> (bool, String) {
    let leaf = node.run(&["account", "cert", "show", email, "-o", "json"]).json();
    let pem = |value: &Value| value["pem"].as_str().unwrap().as_bytes().to_vec();
    let leaf_file = node.file("leaf.pem", &pem(&leaf["certificate"]));
    let authority = node.file("authority.pem", &pem(&leaf["chain"][0]));
    let crl = node.file("revoked.crl", b"");
    node.run(&["smime", "crl", "shop.example", "--out", &crl]).ok();
    let purpose = ["verify", "-x509_strict", "-purpose", "smimesign", "-crl_check"];
    openssl(node, &[&purpose[..], &["-CAfile", &authority, "-CRLfile", &crl, &leaf_file]].concat())
}

#[test]
fn a_revocation_on_one_node_is_in_the_list_of_another() {
    if !has_program("openssl") {
        return;
    }
    let cluster = with_issuer();
    let [first, second, third] = cluster.nodes.as_slice() else { panic!("three nodes") };
    account(first, "ann@shop.example");
    account(second, "bob@shop.example");
    for email in ["ann@shop.example", "bob@shop.example"] {
        let (is_good, said) = verified(third, email);
        assert!(is_good, "{email}: {said}");
    }
    let words = ["account", "cert", "revoke", "ann@shop.example", "--yes"];
    let reason = ["--revocation-reason", "key-compromise"];
    second.run(&[&words[..], &reason].concat()).ok();
    let (is_good, said) = verified(third, "ann@shop.example");
    assert!(!is_good && said.contains("revoked"), "{said}");
    let (is_good, said) = verified(third, "bob@shop.example");
    assert!(is_good, "{said}");
    let list = ["crl", "-in", "revoked.crl", "-noout", "-text"];
    let (_, text) = openssl(third, &list);
    assert!(text.contains("Key Compromise"), "{text}");
    // Everybody can have the list, at the address that certificates name.
    let path = "/certificates/shop.example/smime.crl";
    let (status, head, der) = public(third, "GET", path);
    assert!(status == 200 && head.contains("content-type: application/pkix-crl"), "{head}");
    third.file("public.crl", &der);
    let read = ["crl", "-inform", "DER", "-in", "public.crl", "-noout", "-text"];
    assert!(openssl(third, &read).1.contains("Key Compromise"));
    assert_eq!(public(third, "GET", "/certificates/elsewhere.example/smime.crl").0, 404);
    // A deleted account leaves its certificate in the list.
    first.run(&["account", "delete", "bob@shop.example", "--yes"]).ok();
    let crl = third.run(&["smime", "crl", "shop.example", "-o", "json"]).json();
    assert_eq!(crl["revoked"], 2);
    assert_ne!(public(third, "GET", path).2, der, "a revocation is public at once");
    let again = refused(first, &[&words[..], &reason].concat());
    assert!(again["title"].as_str().unwrap().contains("revoked already"), "{again}");
}

#[test]
fn an_issuer_that_ends_soon_is_told_by_the_status() {
    let cluster = Cluster::start(1);
    let node = &cluster.nodes[0];
    node.run(&["domain", "create", "shop.example"]).ok();
    let told = || {
        let status = node.status();
        let problems = status["problems"].as_array().unwrap().iter();
        let of_issuer = problems.filter(|one| one["text"].to_string().contains("S/MIME"));
        of_issuer.map(|one| one["code"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let import = |days: std::ops::Range<i64>| {
        let key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        let today = jiff::Timestamp::now().as_second();
        let at = |days: i64| {
            let seconds = (today + days * 24 * 60 * 60).unsigned_abs();
            date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
        };
        (authority.not_before, authority.not_after) = (at(days.start), at(days.end));
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let made = authority.self_signed(&key).unwrap();
        let file = node.file("issuer.pem", made.pem().as_bytes());
        let key = node.file("issuer.key", key.serialize_pem().as_bytes());
        node.run(&["smime", "import", "shop.example", &file, "--key", &key]).ok();
    };
    import(-30..300);
    assert!(told().is_empty());
    import(-300..30);
    assert_eq!(told(), ["C004"]);
    node.run(&["smime", "refresh", "shop.example"]).ok();
    assert!(told().is_empty());
}

#[test]
fn an_issuer_that_cannot_revoke_is_refused() {
    if !has_program("openssl") {
        return;
    }
    let cluster = Cluster::start(1);
    let node = &cluster.nodes[0];
    node.run(&["domain", "create", "shop.example"]).ok();
    let req = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let of = ["-subj", "/CN=CA", "-addext", "keyUsage=critical,keyCertSign"];
    let made = openssl(node, &[&req[..], &of, &["-keyout", "ca.key", "-out", "ca.pem"]].concat());
    assert!(made.0, "{}", made.1);
    let at = |name: &str| node.dir.join(name).display().to_string();
    let (certificate, key) = (at("ca.pem"), at("ca.key"));
    let import = ["smime", "import", "shop.example", &certificate, "--key", &key];
    let problem = refused(node, &import);
    assert!(problem.to_string().contains("cRLSign"), "{problem}");
}

#[test]
fn keys_are_exported_for_other_programs_and_come_back() {
    if !has_program("openssl") {
        return;
    }
    let cluster = with_issuer();
    let [first, second, _] = cluster.nodes.as_slice() else { panic!("three nodes") };
    account(first, "ann@shop.example");
    let pass = second.file("account.pass", PASSPHRASE.as_bytes());
    let of_file = second.file("p12.pass", b"of the file\n");
    let out = second.file("ann.p12", b"");
    let export = |pass: &str, more: &[&str]| {
        let words = ["account", "key", "export", "ann@shop.example", "--passphrase-file", pass];
        let to = ["--out", &out, "--export-passphrase-file", &of_file];
        second.run(&[&words[..], &to, more].concat())
    };
    let read = ["pkcs12", "-in", "ann.p12", "-passin", "pass:of the file", "-nodes"];
    for (more, of_openssl) in [(&[][..], &[][..]), (&["--legacy"], &["-legacy"])] {
        export(&pass, more).ok();
        let (is_read, said) = openssl(second, &[&read[..], of_openssl].concat());
        assert!(is_read && said.contains("BEGIN PRIVATE KEY"), "{said}");
        assert_eq!(said.matches("BEGIN CERTIFICATE").count(), 2, "with its issuer: {said}");
    }
    let wrong = second.file("wrong.pass", b"not this passphrase");
    assert_eq!(export(&wrong, &["-o", "json"]).problem()["code"], "A003");
    // An account of its own name takes the key of the file, on another node.
    first.run(&["account", "delete", "ann@shop.example", "--yes"]).ok();
    first.run(&["account", "create", "ann@shop.example"]).ok();
    let words = ["account", "key", "import", "ann@shop.example", "ann.p12"];
    let import = ["--file-passphrase-file", &of_file, "--passphrase-file", &pass];
    let import = [&words[..4], &[&*out], &import].concat();
    second.run(&import).ok();
    let shown = first.run(&["account", "show", "ann@shop.example", "-o", "json"]).json();
    assert_eq!(shown["key"]["certificates"][0]["own"], false, "others issued it: {shown}");
    first.run(&["account", "cert", "issue", "ann@shop.example"]).ok();
    let (is_good, said) = verified(first, "ann@shop.example");
    assert!(is_good, "{said}");
    for node in [first, second] {
        let log = node.log();
        assert!(!log.contains("PRIVATE KEY") && !log.contains(PASSPHRASE), "{}", node.name);
    }
}

#[test]
fn one_passphrase_is_for_all_keys_and_guessing_it_gets_slow() {
    if !has_program("openssl") {
        return;
    }
    let cluster = with_issuer();
    let node = &cluster.nodes[1];
    account(node, "ann@shop.example");
    let pass = node.file("account.pass", PASSPHRASE.as_bytes());
    let new = node.file("new.pass", b"another horse battery\n");
    let short = node.file("short.pass", b"short\n");
    // A key that nothing could be issued for is not made.
    let ed25519 = ["account", "key", "generate", "ann@shop.example", "--type", "ed25519"];
    let with_pass = ["--passphrase-file", &pass];
    assert_eq!(refused(node, &[&ed25519[..], &with_pass].concat())["code"], "K003");
    let generate =
        |pass| ["account", "key", "generate", "ann@shop.example", "--passphrase-file", pass];
    assert_eq!(refused(node, &generate(&new))["code"], "A003", "not that of the present key");
    node.run(&generate(&pass)).ok();
    let change = ["account", "key", "passphrase", "ann@shop.example", "--passphrase-file", &pass];
    let to = |new| [&change[..], &["--new-passphrase-file", new]].concat();
    assert_eq!(refused(node, &to(&short))["code"], "A003");
    node.run(&to(&new)).ok();
    node.run(&generate(&new)).ok();
    let shown = node.run(&["account", "show", "ann@shop.example", "-o", "json"]).json();
    assert_eq!(shown["earlier"].as_array().unwrap().len(), 2, "{shown}");
    // A guess is a denied login in the audit trail, in a dry run too.
    let tried = [&generate(&pass)[..], &["--dry-run"]].concat();
    let codes: Vec<Value> = (0..7).map(|_| refused(node, &tried)["code"].clone()).collect();
    assert_eq!((&codes[0], &codes[6]), (&"A003".into(), &"A004".into()), "{codes:?}");
    let denied = ["audit", "list", "--result", "denied", "-o", "json"];
    wait_for("the guesses in the audit trail", || {
        let entries = node.run(&denied).json();
        let is_guess = |one: &&Value| one["code"] == "A003";
        (entries.as_array()?.iter().filter(is_guess).count() >= 5).then_some(())
    });
}

#[test]
fn a_domain_that_may_not_issue_says_why_and_names_with_accounts_stay() {
    if !has_program("openssl") {
        return;
    }
    let cluster = Cluster::start(1);
    let node = &cluster.nodes[0];
    node.run(&["domain", "create", "shop.example"]).ok();
    node.run(&["key", "generate", "shop.example"]).ok();
    node.run(&["cert", "self-sign", "shop.example"]).ok();
    assert!(node.run(&["smime", "show", "shop.example"]).ok().contains("nothing yet"));
    let pass = node.file("account.pass", PASSPHRASE.as_bytes());
    let email = "ann@shop.example";
    node.run(&["account", "create", email]).ok();
    node.run(&["account", "key", "generate", email, "--passphrase-file", &pass]).ok();
    let problem = refused(node, &["account", "cert", "issue", email]);
    assert_eq!(problem["code"], "A006");
    assert!(problem["why"].as_str().unwrap().contains("basic constraints"), "{problem}");
    assert!(problem["hint"].as_str().unwrap().contains("conclave smime self-sign shop.example"));
    let delete = refused(node, &["domain", "delete", "shop.example", "--yes"]);
    assert_eq!(delete["code"], "A005");
    // An authority of openssl signs the request for the issuer.
    let request = node.file("issuer.csr", b"");
    node.run(&["smime", "csr", "shop.example", "--out", &request]).ok();
    let subject = ["-subj", "/CN=Root", "-addext", "keyUsage=keyCertSign,cRLSign", "-days", "99"];
    let root = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let files = ["-keyout", "root.key", "-out", "root.pem"];
    let made = openssl(node, &[&root[..], &files, &subject].concat());
    assert!(made.0, "{}", made.1);
    let sign = ["x509", "-req", "-in", "issuer.csr", "-CA", "root.pem", "-CAkey", "root.key"];
    let to = ["-copy_extensions", "copy", "-days", "90", "-out", "issuer.pem"];
    let signed = openssl(node, &[&sign[..], &to].concat());
    assert!(signed.0, "{}", signed.1);
    let issuer = node.dir.join("issuer.pem").display().to_string();
    node.run(&["smime", "import", "shop.example", &issuer]).ok();
    node.run(&["account", "cert", "issue", email]).ok();
    let shown = node.run(&["account", "cert", "show", email, "-o", "json"]).json();
    let pem = |value: &Value| value["pem"].as_str().unwrap().as_bytes().to_vec();
    node.file("leaf.pem", &pem(&shown["certificate"]));
    let verify = ["verify", "-purpose", "smimesign", "-CAfile", "root.pem", "-untrusted"];
    let (is_good, said) = openssl(node, &[&verify[..], &["issuer.pem", "leaf.pem"]].concat());
    assert!(is_good, "{said}");
}

#[test]
fn an_opened_store_has_no_account_key_without_its_passphrase() {
    if !has_program("openssl") {
        return;
    }
    let mut cluster = Cluster::start(1);
    let node = &mut cluster.nodes[0];
    node.run(&["domain", "create", "shop.example"]).ok();
    node.run(&["smime", "self-sign", "shop.example"]).ok();
    let req = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let of = ["-subj", "/CN=Ann", "-addext", "subjectAltName=email:ann@shop.example"];
    let made = openssl(node, &[&req[..], &of, &["-keyout", "ann.key", "-out", "ann.pem"]].concat());
    assert!(made.0, "{}", made.1);
    let write = ["pkcs12", "-export", "-inkey", "ann.key", "-in", "ann.pem", "-out", "ann.p12"];
    assert!(openssl(node, &[&write[..], &["-passout", "pass:of the file"]].concat()).0);
    let out = ["pkcs8", "-topk8", "-nocrypt", "-in", "ann.key", "-outform", "DER"];
    assert!(openssl(node, &[&out[..], &["-out", "ann.der"]].concat()).0);
    let pass = node.file("account.pass", PASSPHRASE.as_bytes());
    let of_file = node.file("p12.pass", b"of the file\n");
    let file = node.dir.join("ann.p12").display().to_string();
    node.run(&["account", "create", "ann@shop.example"]).ok();
    let import = ["account", "key", "import", "ann@shop.example", &file];
    let by = ["--file-passphrase-file", &of_file, "--passphrase-file", &pass];
    node.run(&[&import[..], &by].concat()).ok();
    node.stop();
    let der = std::fs::read(node.dir.join("ann.der")).unwrap();
    let key = PrivateKey::from_pkcs8_der(&der).unwrap();
    // The number of a P-256 key in PKCS#8.
    let number = &der[36..68];
    let opened = conclave_node::testing::opened(&node.dir.join("node.toml")).unwrap();
    let is_issuer = |(row, secret): &(RowKey, Vec<u8>)| {
        matches!(row, RowKey::SmimeIssuer(_)) && PrivateKey::from_pkcs8_der(secret).is_ok()
    };
    assert!(opened.iter().any(is_issuer), "secrets are opened");
    let holds = |secret: &[u8]| secret.windows(number.len()).any(|part| part == number);
    assert!(holds(&der), "the search would find it");
    for (row, secret) in &opened {
        assert!(!holds(secret), "{row:?} holds the key of the account");
    }
    let is_of_account = |(row, _): &&(RowKey, Vec<u8>)| matches!(row, RowKey::Account(_));
    let (_, locked) = opened.iter().find(is_of_account).unwrap();
    let key_id = Fingerprint::of(key.public_key_der()).0;
    let context = Context { address: "ann@shop.example", key_id: &key_id };
    assert!(lock::unlock(locked, "another passphrase", &context).is_err());
    let unlocked = lock::unlock(locked, PASSPHRASE, &context).unwrap();
    assert_eq!(unlocked.public_key_der(), key.public_key_der());
}

#[test]
fn accounts_and_issuers_are_changed_at_the_expected_version_only() {
    let cluster = with_issuer();
    let [first, second, _] = cluster.nodes.as_slice() else { panic!("three nodes") };
    account(first, "ann@shop.example");
    let version = |words: &[&str]| {
        let shown = second.run(&[words, &["-o", "json"]].concat()).json();
        shown["version"].as_u64().unwrap()
    };
    let of_account = || version(&["account", "show", "ann@shop.example"]);
    let of_issuer = || version(&["smime", "show", "shop.example"]);
    let changes: [(&[&str], &dyn Fn() -> u64); 5] = [
        (&["account", "cert", "renew", "ann@shop.example"], &of_account),
        (&["account", "invite", "ann@shop.example"], &of_account),
        (&["account", "cert", "revoke", "ann@shop.example", "--yes"], &of_account),
        (&["smime", "refresh", "shop.example"], &of_issuer),
        (&["smime", "remove", "shop.example", "--yes"], &of_issuer),
    ];
    for (words, version) in changes {
        let seen = version();
        let at = |version: u64| {
            let version = version.to_string();
            first.run(&[words, &["--if-version", &version, "-o", "json"]].concat())
        };
        for wrong in [seen - 1, seen + 1] {
            let refused = at(wrong);
            assert_eq!(refused.code, 4, "{words:?}");
            let title = refused.problem()["title"].as_str().unwrap().to_owned();
            assert!(title.ends_with(&format!("is {seen}, not {wrong}")), "{title}");
        }
        assert_eq!(version(), seen, "{words:?}");
        at(seen).ok();
    }
    // An issuer that is to be the first one has version 0; settings have none.
    let make = ["smime", "self-sign", "shop.example", "--if-version"];
    assert_eq!(refused(first, &[&make[..], &["3"]].concat())["code"], "V002");
    first.run(&[&make[..], &["0"]].concat()).ok();
    assert_eq!(refused(first, &[&make[..], &["0"]].concat())["code"], "V002");
    // Nor is a version passed over where there is nothing to change.
    for words in [["domain", "create", "shop.example"], ["account", "create", "ann@shop.example"]] {
        let words = [&words[..], &["--if-missing", "--if-version", "99"]].concat();
        assert_eq!(refused(first, &words)["code"], "V002", "{words:?}");
    }
    let url = ["--crl-url", "http://pki.shop.example/list.crl", "--if-version", "1"];
    let set = refused(first, &[&["smime", "set", "shop.example"][..], &url].concat());
    assert_eq!(set["code"], "X004", "{set}");
}
