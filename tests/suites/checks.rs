//! Commands that look and judge: files without a node, domains on every node, trusted sets.

use std::path::Path;

use conclave_tests::{Cluster, Node, Pair, Ran, binary, forge, has_program, openssl, run_alone};
use serde_json::Value;

fn write(dir: &Path, name: &str, content: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

fn texts(list: &Value) -> String {
    list.as_array().unwrap().iter().map(|one| format!("{}\n", one.as_str().unwrap())).collect()
}

#[test]
fn a_file_is_judged_without_a_node() {
    let dir = tempfile::tempdir().unwrap();
    let (pair, other) = (Pair::make("shop.example"), Pair::make("shop.example"));
    let bundle = write(dir.path(), "bundle.pem", &pair.bundle());
    let key = write(dir.path(), "key.pem", &pair.key);
    let both = write(dir.path(), "both.pem", &format!("{}{}", pair.key, pair.bundle()));
    let check = |words: &[&str]| -> (Value, i32) {
        let ran = run_alone(&[&["cert", "check"], words, &["-o", "json"]].concat());
        (serde_json::from_str(&ran.out).unwrap(), ran.code)
    };
    for words in [&[&*bundle, "--key", &*key][..], &[&*both]] {
        let (found, code) = check(&[words, &["--name", "shop.example"]].concat());
        assert_eq!((code, &found["problems"]), (0, &serde_json::json!([])), "{found}");
        let checks = texts(&found["checks"]);
        for right in ["key matches", "dates fine", "is for shop.example"] {
            assert!(checks.contains(right), "{right}: {checks}");
        }
        assert!(texts(&found["notes"]).contains("clients must know it"), "{found}");
        assert_eq!(found["certificate"]["names"], serde_json::json!(["shop.example"]));
    }
    let foreign = write(dir.path(), "foreign.pem", &other.key);
    let expired = write(dir.path(), "old.pem", &Pair::with_days("shop.example", -9, -2).bundle());
    let unlinked = format!("{}{}", pair.certificate, other.chain);
    let unlinked = write(dir.path(), "unlinked.pem", &unlinked);
    for (words, wrong) in [
        (&[&*bundle, "--key", &*foreign][..], "it belongs to another private key"),
        (&[&*bundle, "--name", "shop.test"], "is not for shop.test"),
        (&[&*expired], "valid only from"),
        (&[&*unlinked], "nobody in the chain issued"),
    ] {
        let (found, code) = check(words);
        assert_eq!(code, 9, "{found}");
        assert!(texts(&found["problems"]).contains(wrong), "{wrong}: {found}");
        let ran = run_alone(&[&["cert", "check"], words].concat());
        assert!(ran.out.contains("\nx   ") && ran.out.contains(wrong), "{}", ran.out);
    }
    // All certificates of a file are shown, and mistakes are named with file and line.
    let shown = run_alone(&["cert", "show", "--file", &both]).ok();
    assert_eq!(shown.matches("Serial number").count(), 2, "{shown}");
    for (words, code) in [
        (["cert", "check", &key], "C007"),
        (["csr", "show", &bundle], "C007"),
        (["csr", "show", &key], "C007"),
        (["cert", "check", "/nonexistent"], "X008"),
    ] {
        let ran = run_alone(&[&words[..], &["-o", "json"]].concat());
        assert_eq!(ran.problem()["code"], code, "{words:?}: {}", ran.err);
    }
}

#[test]
fn a_request_is_shown_as_openssl_reads_it() {
    if !has_program("openssl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    for (kind, algorithm) in [
        (&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"][..], Some("EC P-384")),
        (&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], Some("RSA 2048")),
        (&["-algorithm", "ed25519"], Some("Ed25519")),
        (&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"], None),
    ] {
        let (key, csr) = (path("key.pem"), path("shop.csr"));
        openssl(&[&["genpkey", "-out", &key], kind].concat());
        let names = "subjectAltName=DNS:shop.example,IP:192.0.2.7,email:jo@shop.example";
        let subject = ["-subj", "/C=US/O=ACME/CN=shop.example", "-addext", names];
        openssl(&[&["req", "-new", "-key", &key, "-out", &csr][..], &subject].concat());
        let show = || -> (Value, i32) {
            let ran = run_alone(&["csr", "show", &csr, "-o", "json"]);
            (serde_json::from_str(&ran.out).unwrap(), ran.code)
        };
        let (shown, code) = show();
        assert_eq!(shown["algorithm"].as_str(), algorithm, "{shown}");
        // What this program cannot verify it does not call right.
        assert_eq!(
            (&shown["signature_ok"], code),
            match algorithm {
                Some(_) => (&Value::Bool(true), 0),
                None => (&Value::Bool(false), 9),
            }
        );
        assert_eq!(shown["subject"], "CN=shop.example, O=ACME, C=US");
        let names = serde_json::json!(["shop.example", "192.0.2.7", "jo@shop.example"]);
        assert_eq!(shown["names"], names);
        // Another signature is not that of its key.
        let der = path("shop.der");
        openssl(&["req", "-in", &csr, "-outform", "der", "-out", &der]);
        let mut bytes = std::fs::read(&der).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&der, bytes).unwrap();
        openssl(&["req", "-inform", "der", "-in", &der, "-out", &csr]);
        assert_eq!((&show().0["signature_ok"], show().1), (&Value::Bool(false), 9));
    }
}

fn check(node: &Node, name: &str) -> (String, String, String, i32) {
    let ran = node.run(&["domain", "check", name, "-o", "json"]);
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    let [checks, notes, problems] = ["checks", "notes", "problems"].map(|list| texts(&found[list]));
    assert_eq!(found["warnings"], serde_json::json!([]));
    (checks, notes, problems, ran.code)
}

#[test]
fn a_domain_is_checked_on_every_node() {
    let cluster = Cluster::start(3);
    let [one, two, three] = &cluster.nodes[..] else { panic!("three nodes") };
    one.run(&["domain", "create", "shop.example"]).ok();
    let (checks, _, problems, code) = check(two, "shop.example");
    assert!(checks.contains("test mode") && problems.is_empty() && code == 0, "{problems}");
    one.run(&["domain", "set", "shop.example", "--pki", "enabled"]).ok();
    let (_, _, problems, code) = check(two, "shop.example");
    assert!(problems.contains("no private key") && code == 9, "{problems}");
    let pair = Pair::make("shop.example");
    let (bundle, key) = one.pair_files(&pair);
    one.run(&["cert", "import", "shop.example", &bundle, "--key", &key]).ok();
    let (checks, notes, problems, code) = check(three, "shop.example");
    for node in ["node-1", "node-2", "node-3"] {
        assert!(checks.contains(&format!("{node}: Verification String is OK")), "{checks}");
    }
    assert!(notes.contains("clients must know it"), "{notes}");
    assert!(problems.is_empty() && code == 0, "{problems}");
    let root = one.file("root.pem", pair.chain.as_bytes());
    one.run(&["trust", "add", "--scope", "domain:shop.example", &root]).ok();
    let (checks, notes, ..) = check(three, "shop.example");
    assert!(checks.contains("leads to CN=Test Issuer (domain trust)"), "{checks}");
    assert_eq!(notes, "");
    one.run(&["domain", "alias", "shop.example", "--add", "www.shop.example"]).ok();
    let (_, _, problems, code) = check(three, "shop.example");
    assert!(problems.contains("does not cover www.shop.example") && code == 9, "{problems}");
    let table = three.run(&["domain", "check", "shop.example"]);
    assert!(table.out.contains("\nx   ") && table.code == 9, "{}", table.out);
    assert_eq!(one.run(&["domain", "check", "none.example"]).code, 3);
    // All certificates, those that end first before the others.
    one.run(&["domain", "create", "own.example", "--scope", "local"]).ok();
    one.run(&["key", "generate", "own.example"]).ok();
    one.run(&["cert", "self-sign", "own.example", "--days", "10"]).ok();
    let listed = one.run(&["cert", "list", "-o", "json"]).json();
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|one| &one["domain"]).collect();
    assert_eq!(names, ["own.example", "shop.example"]);
    assert!(one.run(&["cert", "list"]).ok().contains("CN=Test Issuer"));
}

/// What a command says at the given moment, from NOON of the forged certificates.
fn at_noon(run: impl Fn(&[&str]) -> Ran, words: &[&str]) -> (Value, i32) {
    let noon = i64::try_from(conclave_tests::NOON).unwrap();
    let noon = jiff::Timestamp::from_second(noon).unwrap().to_string();
    let ran = run(&[words, &["--at", &noon, "-o", "json"]].concat());
    (serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{}", ran.err)), ran.code)
}

#[test]
fn a_trusted_certificate_is_shown_and_explained() {
    let cluster = Cluster::start(3);
    let [one, two, three] = &cluster.nodes[..] else { panic!("three nodes") };
    one.run(&["domain", "create", "shop.example"]).ok();
    let forged = forge("root cn=Partner; ca; leaf", None);
    let root = one.file("root.pem", forged.anchors.as_bytes());
    let chain =
        one.file("chain.pem", format!("{}{}", forged.leaf, forged.intermediates).as_bytes());
    let scope = ["--scope", "domain:shop.example"];
    let explain = |words: &[&str]| {
        at_noon(|words| three.run(words), &[&["trust", "explain"], words, &scope].concat())
    };
    let (verdict, code) = explain(&[&chain]);
    assert_eq!((&verdict["reason"], code), (&Value::from("H005"), 8), "{verdict}");
    one.run(&["trust", "add", "--scope", "cluster", &root]).ok();
    let (verdict, code) = explain(&[&chain]);
    assert_eq!((&verdict["valid"], &verdict["set"], code), (&true.into(), &"cluster".into(), 0));
    // Without a file: the sets in their order, and what they make of the domain's certificate.
    let pair = Pair::make("shop.example");
    let (bundle, key) = two.pair_files(&pair);
    two.run(&["cert", "import", "shop.example", &bundle, "--key", &key]).ok();
    let issuer = two.file("issuer.pem", pair.chain.as_bytes());
    let now = || {
        let ran =
            two.run(&[&["trust", "explain", "--path-only", "-o", "json"], &scope[..]].concat());
        (serde_json::from_str::<Value>(&ran.out).unwrap(), ran.code)
    };
    let (told, code) = now();
    assert_eq!((&told["certificates"][0]["valid"], code), (&false.into(), 8), "{told}");
    two.run(&["trust", "add", "--scope", "domain:shop.example", &issuer]).ok();
    let (told, code) = now();
    assert_eq!((&told["certificates"][0]["set"], code), (&"domain".into(), 0), "{told}");
    let sets: Vec<_> = told["sets"].as_array().unwrap().iter().map(|one| &one["set"]).collect();
    assert_eq!(sets, ["domain", "cluster", "builtin"]);
    let table = two.run(&[&["trust", "explain", "--path-only"], &scope[..]].concat()).ok();
    assert!(
        table.contains("domain   1 certificate\n") && table.contains("valid, by the domain set")
    );
    // One certificate whole: by the beginning of its fingerprint, or as a file, with its sets.
    let show =
        |words: &[&str]| three.run(&[&["trust", "show"], words, &scope, &["-o", "json"]].concat());
    let found = show(&[&root]).json();
    assert_eq!(found[0]["sets"], serde_json::json!(["cluster"]), "{found}");
    let fingerprint = found[0]["certificate"]["sha256"].as_str().unwrap();
    assert_eq!(show(&[&fingerprint[..12]]).json(), found);
    assert_eq!(show(&[&chain]).json()[0]["sets"], serde_json::json!([]));
    let unknown = show(&["ffffffffffff"]);
    assert_eq!((unknown.problem()["code"].as_str(), unknown.code), (Some("T001"), 3));
    let table = three.run(&[&["trust", "show", &root], &scope[..]].concat()).ok();
    for part in ["In the sets    cluster", "Issued to      CN=Partner", "Serial number", "Valid"] {
        assert!(table.contains(part), "{part}: {table}");
    }
}

#[test]
fn the_built_in_set_needs_no_node_and_says_nothing_about_e_mail() {
    let listed = run_alone(&["trust", "list", "--scope", "builtin", "-o", "json"]).json();
    let all = listed.as_array().unwrap();
    let count = all.len();
    assert!(count > 100 && all.iter().all(|one| one["own"] == false && one["serial"] != ""));
    let explain = |more: &[&str]| {
        let words = ["trust", "explain", "--scope", "builtin", "-o", "json"];
        run_alone(&[&words[..], more].concat()).json()["sets"][0]["count"].clone()
    };
    assert_eq!(explain(&[]), count);
    assert_eq!(explain(&["--purpose", "email"]), 0, "the roots speak for servers only");
    // A root of the set is valid by it, for servers; for e-mail nothing is.
    let dir = tempfile::tempdir().unwrap();
    let root = write(dir.path(), "root.pem", all[0]["pem"].as_str().unwrap());
    let verify = |purpose: &str| {
        let words = ["trust", "verify", &root, "--scope", "builtin", "--path-only", "--purpose"];
        run_alone(&[&words[..], &[purpose]].concat()).code
    };
    assert_eq!((verify("any"), verify("email")), (0, 8));
    // The set is empty at first. It gets a certificate of another set.
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let online = || {
        let words = ["trust", "verify", &root, "--scope", "cluster", "--path-only"];
        one.run(&[&words[..], &["--purpose", "email", "-o", "json"]].concat())
    };
    assert_eq!(online().code, 8);
    one.run(&["trust", "add", "--scope", "cluster", &root]).ok();
    assert_ne!(serde_json::from_str::<Value>(&online().out).unwrap()["reason"], "H005");
    let refused = one.run(&["trust", "add", "--scope", "builtin", &root, "-o", "json"]);
    assert_eq!(refused.problem()["code"], "T003");
}

#[test]
fn whoever_waits_is_told_why() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example"]).ok();
    one.signal("STOP");
    let generate = ["--timeout", "2s", "key", "generate", "shop.example", "--type", "rsa4096"];
    let [told, quiet, json] =
        [&[][..], &["-q"], &["-o", "json"]].map(|more| one.run(&[&generate[..], more].concat()));
    // On a terminal a line turns, and goes before the answer comes.
    let command = format!(
        "{} --address unix:{} --timeout 2s key generate shop.example",
        binary("conclave").display(),
        one.dir.join("admin.sock").display()
    );
    let terminal = has_program("script").then(|| {
        let script = std::process::Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .env("TERM", "xterm")
            .output()
            .unwrap();
        String::from_utf8_lossy(&script.stdout).into_owned()
    });
    one.signal("CONT");
    if let Some(said) = terminal {
        let (before, after) = said.split_once("error[R004]").or(said.split_once("error")).unwrap();
        assert!(before.contains("making a key of type p256"), "{said}");
        let cleared = before.rfind("\u{1b}[2K").unwrap();
        assert!(!before[cleared..].contains("making"), "{said:?}");
        assert!(!after.contains("making"), "{said:?}");
    }
    assert!(told.err.starts_with("making a key of type rsa4096"), "{}", told.err);
    assert!(quiet.err.starts_with("error[R004]"), "{}", quiet.err);
    assert_eq!(json.problem()["code"], "R004");
    // What is done at once says nothing.
    let ran = one.run(&["domain", "list"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
}
