//! Files as people give them: of other forms than PEM, under other labels, with odd keys.

use std::process::Command;

use conclave_tests::{Cluster, Node, Pair, has_program, openssl, wait_for};
use serde_json::Value;

/// Files made from one certificate and its key.
struct Files<'a> {
    node: &'a Node,
}

impl Files<'_> {
    fn path(&self, name: &str) -> String {
        self.node.dir.join(name).to_str().unwrap().to_owned()
    }

    /// Runs openssl; a word `@NAME` stands for the file of that name.
    fn make(&self, words: &[&str]) {
        let words: Vec<String> = words
            .iter()
            .map(|word| word.strip_prefix('@').map_or((*word).to_owned(), |name| self.path(name)))
            .collect();
        openssl(&words.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

/// Title and hint, whichever way a command reports them.
fn told(node: &Node, words: &[&str]) -> (String, String) {
    let ran = node.run(&[words, &["-o", "json"]].concat());
    assert_eq!(ran.code, 8, "{words:?}: {}{}", ran.out, ran.err);
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    match serde_json::from_str::<Value>(&ran.out) {
        Ok(verdict) => (text(&verdict, "detail"), text(&verdict, "hint")),
        Err(_) => (text(&ran.problem(), "title"), text(&ran.problem(), "hint")),
    }
}

#[test]
fn every_reader_names_other_forms_with_a_command_that_works() {
    if !has_program("openssl") {
        return;
    }
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let files = Files { node: one };
    one.run(&["domain", "create", "shop.example"]).ok();
    let pair = Pair::make("shop.example");
    let (certificate, key) = one.pair_files(&pair);
    let own = ["-in", &certificate];
    files.make(&[&["x509", "-outform", "DER", "-out", "@a.der"], &own[..]].concat());
    let p7b = ["crl2pkcs7", "-nocrl", "-certfile", &certificate, "-out"];
    files.make(&[&p7b[..], &["@a.p7b"]].concat());
    files.make(&[&p7b[..], &["@b.p7b", "-outform", "DER"]].concat());
    let p12 = ["pkcs12", "-export", "-inkey", &key, "-passout", "pass:", "-out", "@a.p12"];
    files.make(&[&p12[..], &own].concat());
    let text = std::fs::read_to_string(&certificate).unwrap();
    let mark = [0xff, 0xfe].into_iter();
    let units: Vec<u8> = mark.chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    one.file("a.utf16", &units);
    for (file, name) in [
        ("a.der", "a certificate in DER form"),
        ("a.p7b", "PKCS#7"),
        ("b.p7b", "PKCS#7"),
        ("a.p12", "PKCS#12"),
        ("a.utf16", "UTF-16"),
    ] {
        let file = files.path(file);
        let mut hints = Vec::new();
        for words in [
            &["cert", "import", "shop.example", &file, "--key", &key][..],
            &["chain", "set", "shop.example", &file],
            &["trust", "add", "--scope", "cluster", &file],
            &["cert", "check", &file],
            &["cert", "show", &file],
            &["trust", "show", "--scope", "cluster", &file],
            &["trust", "verify", &file],
            &["trust", "verify", &certificate, "--anchors", &file],
            &["trust", "verify", &certificate, "--intermediates", &file],
        ] {
            let (title, hint) = told(one, words);
            if words[1] == "add" && file.ends_with(".der") {
                assert!(title.contains("is no authority"), "it is read: {title}");
                continue;
            }
            assert!(title.contains(name), "{words:?}: {title}");
            hints.push(hint);
        }
        hints.dedup();
        let [hint] = &hints[..] else { panic!("{file}: {hints:?}") };
        let command = hint.split("    then").next().unwrap();
        let command = command.replace("-nodes", "-nodes -passin pass:");
        let ran = Command::new("sh").args(["-c", &command]).output().unwrap();
        assert!(ran.status.success(), "{hint}: {}", String::from_utf8_lossy(&ran.stderr));
        let made = format!("{file}.pem");
        one.run(&["cert", "import", "shop.example", &made, "--key", &key]).ok();
    }
    for file in ["a.p12", "a.utf16", "b.p7b"] {
        let (title, hint) = told(one, &["key", "import", "shop.example", &files.path(file)]);
        assert!(title.contains("PKCS#") || title.contains("UTF-16"), "{title}");
        assert!(hint.contains(&files.path(file)), "{hint}");
    }
}

#[test]
fn a_hint_about_a_passphrase_does_not_name_the_key_as_its_file() {
    if !has_program("openssl") {
        return;
    }
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let files = Files { node: one };
    one.run(&["domain", "create", "shop.example"]).ok();
    let (certificate, _) = one.pair_files(&Pair::make("shop.example"));
    files.make(&["genpkey", "-algorithm", "ed25519", "-aes128", "-pass", "pass:x", "-out", "@k"]);
    let key = files.path("k");
    for words in [
        &["key", "import", "shop.example", &key][..],
        &["cert", "import", "shop.example", &certificate, "--key", &key],
        &["cert", "check", &certificate, "--key", &key],
    ] {
        let (_, hint) = told(one, words);
        assert!(hint.starts_with("add --passphrase-file FILE "), "{words:?}: {hint}");
        assert!(hint.contains(&format!("openssl pkey -in {key} -out {key}.plain")), "{hint}");
    }
}

#[test]
fn trust_settings_of_openssl_are_dropped_with_a_warning_or_heard() {
    if !has_program("openssl") {
        return;
    }
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let files = Files { node: one };
    let subject = ["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt"];
    let subject = [&subject[..], &["ec_paramgen_curve:P-256", "-subj", "/CN=Own Root"]].concat();
    files.make(&[&subject[..], &["-keyout", "@root.key", "-out", "@root.pem"]].concat());
    let trusted = ["x509", "-in", "@root.pem", "-trustout", "-out"];
    files.make(&[&trusted[..], &["@trusted", "-addtrust", "emailProtection"]].concat());
    files.make(&[&trusted[..], &["@rejected", "-addreject", "serverAuth"]].concat());
    let add = |name: &str| {
        one.run(&["trust", "add", "--scope", "cluster", &files.path(name), "-o", "json"])
    };
    let done = add("trusted").json();
    let warnings = done["warnings"].to_string();
    assert!(warnings.contains("OpenSSL's trust settings behind CN=Own Root"), "{done}");
    let listed = one.run(&["trust", "list", "--scope", "cluster", "-o", "json"]).json();
    assert!(listed.to_string().contains("CN=Own Root"), "{listed}");
    let refused = add("rejected");
    assert_eq!(refused.code, 8);
    let problem = refused.problem();
    assert_eq!(problem["code"], "C007", "{problem}");
    assert!(problem["title"].as_str().unwrap().contains("not to be trusted"), "{problem}");
}

#[test]
fn a_broken_frame_is_shown_with_its_line() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let pair = Pair::make("shop.example");
    let joined = format!("{}{}", pair.certificate.trim_end(), pair.chain);
    let joined = joined.replace("----------BEGIN", "-------BEGIN");
    let file = one.file("joined.pem", joined.as_bytes());
    let line = pair.certificate.trim_end().lines().count();
    one.run(&["domain", "create", "shop.example"]).ok();
    for words in [&["cert", "import", "shop.example", &file][..], &["cert", "check", &file]] {
        let ran = one.run(words);
        assert_eq!(ran.code, 8, "{}", ran.err);
        let place = format!("{file}:{line}\n");
        assert!(ran.err.contains(&place), "{words:?}: {}", ran.err);
        assert!(ran.err.contains("BEGIN CERTIFICATE-----\n"), "{words:?}: {}", ran.err);
        assert!(ran.err.contains(" | ^^^^^"), "{words:?}: {}", ran.err);
    }
}

#[test]
fn rsa_of_any_size_is_served_on_every_node() {
    if !has_program("openssl") {
        return;
    }
    let cluster = Cluster::start(3);
    let port = cluster.listen();
    let one = &cluster.nodes[0];
    let files = Files { node: one };
    let datagrams = cluster.free_port();
    let bind = format!(":{datagrams}");
    let words = ["listener", "add", "dtls", "--protocol", "dtls", "--bind", &bind];
    one.run(&[&words[..], &["--upstream", "udp:127.0.0.1:9"]].concat()).ok();
    let large = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/rsa8192.pem");
    std::fs::copy(large, files.path("8192.key")).unwrap();
    for bits in ["2056", "3000", "8192"] {
        let (name, key) = (format!("rsa{bits}.example"), files.path(&format!("{bits}.key")));
        if bits != "8192" {
            openssl(&["genrsa", "-out", &key, bits]);
        }
        one.run(&["domain", "create", &name, "--pki", "enabled"]).ok();
        // A young cluster learns within a second that every member signs with such keys.
        wait_for("the level of the cluster", || {
            let ran = one.run(&["key", "import", &name, &key, "-o", "json"]);
            (ran.code == 0).then_some(()).or_else(|| {
                assert_eq!(ran.problem()["code"], "V001", "{}", ran.err);
                None
            })
        });
        let tested = one.run(&["key", "test", &name, "-o", "json"]).json();
        assert!(tested.as_array().unwrap().iter().all(|one| one["ok"] == true), "{tested}");
        let request = files.path("request");
        one.run(&["csr", "create", &name, "--out", &request]).ok();
        assert!(openssl(&["req", "-in", &request, "-verify", "-noout", "-text"]).contains(bits));
        one.run(&["cert", "self-sign", &name]).ok();
        let root = files.path("root.pem");
        let shown = one.run(&["cert", "show", &name, "-o", "json"]).json();
        std::fs::write(&root, shown["pem"].as_str().unwrap()).unwrap();
        for node in &cluster.nodes {
            for (port, version) in [(port, "-tls1_2"), (port, "-tls1_3"), (datagrams, "-dtls1_2")] {
                let address = node.listener(port).to_string();
                let client = ["s_client", "-connect", &address, "-servername", &name, version];
                let more = ["-CAfile", &root, "-verify_return_error"];
                let ran = Command::new("openssl")
                    .args([&client[..], &more].concat())
                    .stdin(std::process::Stdio::null())
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&ran.stdout).into_owned();
                assert!(said.contains("Verify return code: 0"), "{bits} {version}: {said}");
                assert!(said.contains(&format!("Server public key is {bits} bit")), "{said}");
            }
        }
        one.run(&["domain", "delete", &name, "--yes"]).ok();
    }
}
