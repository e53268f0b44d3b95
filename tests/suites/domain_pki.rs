//! What the pages of a domain's PKI do, on a real cluster, checked with OpenSSL.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use conclave_tests::{
    Cluster, Node, Pair, forge, has_program, openssl, openssl_chain, probe, sign,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};

fn code(node: &Node, words: &[&str]) -> (String, i32) {
    let ran = node.run(&[words, &["-o", "json"]].concat());
    (ran.problem()["code"].as_str().unwrap().to_owned(), ran.code)
}

#[test]
fn every_kind_of_key_goes_the_whole_way() {
    if !has_program("openssl") {
        return;
    }
    let cluster = Cluster::start(3);
    let port = cluster.listen();
    let one = &cluster.nodes[0];
    for kind in ["p256", "p384", "ed25519", "rsa2048", "rsa3072"] {
        let name = format!("{kind}.example");
        one.run(&["domain", "create", &name, "--alias", "www.shop.example", "--pki", "enabled"])
            .ok();
        one.run(&["--timeout", "60s", "key", "generate", &name, "--type", kind]).ok();
        let tested = one.run(&["key", "test", &name, "-o", "json"]).json();
        let all = tested.as_array().unwrap();
        assert_eq!(all.len(), 3, "{tested}");
        assert!(all.iter().all(|one| one["message"] == "Verification String is OK"), "{tested}");
        let csr = one.dir.join("shop.csr");
        let csr = csr.to_str().unwrap();
        let fields = [
            "--country",
            "US",
            "--province",
            "CA",
            "--city",
            "Zürich",
            "--organization",
            "ACME Yacht Rentals, Inc.",
            "--unit",
            "IT",
            "--contact",
            "admin@other.example",
            "--san",
            "192.0.2.7",
            "--san",
            "jo@shop.example",
        ];
        one.run(&[&["csr", "create", &name, "--out", csr][..], &fields].concat()).ok();
        let shown = openssl(&["req", "-in", csr, "-verify", "-noout", "-text", "-nameopt", "utf8"]);
        for part in ["verify OK", "O=ACME Yacht Rentals, Inc.", "L=Zürich", "C=US", "OU=IT"] {
            assert!(shown.contains(part), "{kind}: {part}: {shown}");
        }
        for name in [&name, "www.shop.example", "IP Address:192.0.2.7", "email:jo@shop.example"] {
            assert!(shown.contains(name), "{kind}: {name}: {shown}");
        }
        let bundle = sign(one, csr, "90");
        one.run(&["cert", "import", &name, &bundle]).ok();
        let expected = one.run(&["cert", "show", &name, "-o", "json"]).json()["sha256"].clone();
        for node in &cluster.nodes {
            let chain = openssl_chain(node.listener(port), &name, &[]);
            assert_eq!(chain.len(), 2, "{kind} on {}: leaf and root", node.name);
            let hash = ring::digest::digest(&ring::digest::SHA256, &chain[0]);
            let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(expected, hex.as_str(), "{kind} on {}", node.name);
        }
        one.run(&["domain", "delete", &name, "--yes"]).ok();
    }
}

#[test]
fn common_names_are_chosen_among_the_domains_own() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "mail.shop.example", "--alias", "imap.example"]).ok();
    one.run(&["domain", "create", "two.example"]).ok();
    let list = |name: &str| one.run(&["csr", "create", name, "--list-names", "-o", "name"]).ok();
    assert_eq!(list("mail.shop.example"), "mail.shop.example\nimap.example\n*.shop.example\n");
    assert_eq!(list("two.example"), "two.example\n*.two.example\n");
    assert_eq!(code(one, &["csr", "create", "two.example"]), ("K010".to_owned(), 3));
    one.run(&["key", "generate", "two.example"]).ok();
    assert!(one.run(&["key", "show", "two.example"]).ok().contains("EC P-256"), "by default");
    let words = ["csr", "create", "two.example", "--common-name", "other.example"];
    assert_eq!(code(one, &words), ("C008".to_owned(), 8));
    let words = ["cert", "self-sign", "two.example", "--contact", "nobody"];
    assert_eq!(code(one, &words), ("C008".to_owned(), 8));
    one.run(&["cert", "self-sign", "two.example", "--common-name", "*.two.example"]).ok();
    let shown = one.run(&["cert", "show", "two.example", "-o", "json"]).json();
    assert_eq!(shown["names"][0], "*.two.example", "the common name is among the names: {shown}");
}

#[test]
fn a_refreshed_certificate_keeps_its_serial_number() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example"]).ok();
    one.run(&["key", "generate", "shop.example"]).ok();
    assert_eq!(code(one, &["cert", "refresh", "shop.example"]), ("C010".to_owned(), 3));
    let words = ["cert", "self-sign", "shop.example", "--organization", "ACME", "--days", "10"];
    one.run(&words).ok();
    let show = || one.run(&["cert", "show", "shop.example", "-o", "json"]).json();
    let before = show();
    one.run(&["cert", "refresh", "shop.example", "--days", "400"]).ok();
    let after = show();
    for same in ["serial", "subject", "names", "key_sha256"] {
        assert_eq!(before[same], after[same], "{same}");
    }
    assert_ne!(before["sha256"], after["sha256"]);
    assert_eq!(after["days_left"], 399.max(after["days_left"].as_i64().unwrap()));
    let pair = Pair::make("shop.example");
    let (certificate, key) = one.pair_files(&pair);
    one.run(&["cert", "import", "shop.example", &certificate, "--key", &key]).ok();
    assert_eq!(code(one, &["cert", "refresh", "shop.example"]), ("C011".to_owned(), 8));
}

#[test]
fn certificates_for_others_and_out_of_date_are_refused() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example", "--alias", "www.shop.example"]).ok();
    let import = |pair: &Pair, more: &[&str]| {
        let certificate = one.file("c.pem", pair.bundle().as_bytes());
        let key = one.file("k.pem", pair.key.as_bytes());
        let words = ["cert", "import", "shop.example", &certificate, "--key", &key, "-o", "json"];
        one.run(&[&words[..], more].concat())
    };
    let other = Pair::make("other.example");
    let refused = import(&other, &[]);
    assert_eq!((refused.problem()["code"].as_str(), refused.code), (Some("C006"), 8));
    let title = refused.problem()["title"].as_str().unwrap().to_owned();
    assert!(title.contains("other.example") && title.contains("or its alias"), "{title}");
    let done = import(&other, &["--allow-name-mismatch"]).json();
    assert!(done["warnings"].to_string().contains("does not cover"), "{done}");
    let expired = Pair::with_days("shop.example", -20, -12);
    let refused = import(&expired, &[]);
    assert_eq!((refused.problem()["code"].as_str(), refused.code), (Some("C005"), 8));
    assert!(refused.err.contains("12 days ago"), "{}", refused.err);
    let future = Pair::with_days("shop.example", 2, 10);
    assert_eq!(import(&future, &[]).problem()["code"].as_str(), Some("C005"));
    let pair = Pair::make("www.shop.example");
    assert_eq!(import(&pair, &[]).code, 0, "one of its names is enough");
    let done = import(&pair, &[]).json();
    let told = done["warnings"].to_string();
    assert!(told.contains("in test mode") && told.contains("--pki enabled"), "{told}");
    let trusted_by = || {
        let shown = one.run(&["domain", "show", "shop.example", "-o", "json"]).json();
        shown["credentials"][0]["trusted_by"].as_str().map(str::to_owned)
    };
    assert_eq!(trusted_by(), None, "nobody trusts its issuer yet");
    let root = one.file("root.pem", pair.chain.as_bytes());
    one.run(&["trust", "add", "--scope", "cluster", &root]).ok();
    assert_eq!(trusted_by().as_deref(), Some("CN=Test Issuer (cluster trust)"));
}

#[test]
fn a_chain_is_in_order_or_sorted_or_refused() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example"]).ok();
    one.run(&["key", "generate", "shop.example"]).ok();
    let forged = forge("root as=intermediate; ca; ca; leaf", None);
    let split = |text: &str| -> Vec<String> {
        let parts = text.split_inclusive("-----END CERTIFICATE-----\n");
        parts.map(str::to_owned).collect()
    };
    let [root, middle, low] = &split(&forged.intermediates)[..] else { panic!("three") };
    let set = |parts: &[&String], more: &[&str]| {
        let text: String = parts.iter().map(|part| part.as_str()).collect();
        let file = one.file("chain.pem", text.as_bytes());
        one.run(&[&["chain", "set", "shop.example", &file, "-o", "json"][..], more].concat())
    };
    set(&[low, middle, root], &[]).ok();
    let wrong = set(&[root, low, middle], &[]);
    assert_eq!((wrong.problem()["code"].as_str(), wrong.code), (Some("H002"), 8));
    assert!(wrong.problem()["detail"].as_str().unwrap().contains("2, 3, 1"), "{}", wrong.err);
    set(&[root, low, middle], &["--sort"]).ok();
    let shown = one.run(&["chain", "show", "shop.example", "-o", "json"]).json();
    let subjects: Vec<_> =
        shown.as_array().unwrap().iter().map(|one| one["subject"].as_str()).collect();
    assert_eq!(subjects, [Some("CN=ca 2"), Some("CN=ca 1"), Some("CN=root 0")]);
    let missing = set(&[low, root], &[]);
    assert_eq!((missing.problem()["code"].as_str(), missing.code), (Some("H003"), 8));
    assert!(missing.problem()["title"].as_str().unwrap().contains("ca 2"), "{}", missing.err);
    let broken = set(&[low, root], &["--allow-broken-chain"]).json();
    assert!(broken["warnings"].to_string().contains("broken"), "{broken}");
    let old = forge("root as=intermediate till=-50; leaf", None).intermediates;
    let told = set(&[&old], &[]).json();
    assert!(
        told["warnings"].to_string().contains("CN=root 0 in the CA chain has expired"),
        "{told}"
    );
    one.run(&["chain", "remove", "shop.example", "--yes"]).ok();
    assert_eq!(code(one, &["chain", "show", "shop.example"]), ("H010".to_owned(), 3));
}

#[test]
fn a_certificate_is_shown_as_openssl_reads_it() {
    if !has_program("openssl") {
        return;
    }
    let cluster = Cluster::start(3);
    let [one, two, _] = &cluster.nodes[..] else { panic!("three nodes") };
    one.run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
    one.run(&["key", "generate", "shop.example"]).ok();
    let csr = one.file("shop.csr", b"");
    let fields =
        ["--country", "US", "--organization", "ACME, Inc.", "--contact", "jo@acme.example"];
    one.run(&[&["csr", "create", "shop.example", "--out", &csr][..], &fields].concat()).ok();
    let bundle = sign(one, &csr, "90");
    one.run(&["cert", "import", "shop.example", &bundle]).ok();
    let shown = two.run(&["cert", "show", "shop.example", "-o", "json"]).json();
    let pem = two.file("shown.pem", shown["pem"].as_str().unwrap().as_bytes());
    let field = |option: &[&str]| {
        let words = ["x509", "-in", &pem, "-noout", "-nameopt", "RFC2253,sep_comma_plus_space"];
        let text = openssl(&[&words[..], option].concat());
        text.trim().split_once('=').unwrap().1.replace(':', "").to_lowercase()
    };
    let told = |name: &str| shown[name].as_str().unwrap().replace(':', "").to_lowercase();
    assert_eq!(told("serial"), field(&["-serial"]));
    assert_eq!(told("sha256"), field(&["-fingerprint", "-sha256"]));
    assert_eq!(told("issuer"), "cn=test root");
    for part in ["CN=shop.example", "O=ACME\\, Inc.", "C=US", "jo@acme.example"] {
        assert!(shown["subject"].as_str().unwrap().contains(part), "{part}: {shown}");
    }
    let time = |name: &str| shown[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let dates = openssl(&["x509", "-in", &pem, "-noout", "-dates", "-dateopt", "iso_8601"]);
    for name in ["not_before", "not_after"] {
        let line = format!(
            "{}={}",
            name.replace("not_b", "notB").replace("not_a", "notA"),
            time(name).strftime("%F %TZ")
        );
        assert!(dates.contains(&line), "{line}: {dates}");
    }
    assert!((89..=90).contains(&shown["days_left"].as_i64().unwrap()), "{shown}");
    assert_eq!(shown["algorithm"], "EC P-256");
    let table = two.run(&["cert", "show", "shop.example"]).ok();
    for head in ["Issued to", "Issued by", "Names", "Serial number", "Valid", "Key", "SHA-256"] {
        assert!(table.contains(&format!("\n{head}")) || table.starts_with(head), "{table}");
    }
    // The state of its chain: which certificate it leads to, once that is trusted.
    let root = one.dir.join("ca.pem");
    one.run(&["trust", "add", "--scope", "cluster", root.to_str().unwrap()]).ok();
    let table = two.run(&["domain", "show", "shop.example"]).ok();
    assert!(table.contains("leads to CN=Test Root (cluster trust)"), "{table}");
}

#[test]
fn a_missing_link_is_named_with_its_address_and_never_fetched() {
    if !has_program("openssl") {
        return;
    }
    let cluster = Cluster::start(3);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example"]).ok();
    one.run(&["key", "generate", "shop.example"]).ok();
    let csr = one.file("shop.csr", b"");
    one.run(&["csr", "create", "shop.example", "--out", &csr]).ok();
    sign(one, &csr, "90");
    // A client that fetched it would be seen here.
    let watched = std::net::TcpListener::bind((one.address, 0)).unwrap();
    watched.set_nonblocking(true).unwrap();
    let url = format!("http://{}/issuer.der", watched.local_addr().unwrap());
    let extensions =
        format!("subjectAltName=DNS:shop.example\nauthorityInfoAccess=caIssuers;URI:{url}\n");
    let extensions = one.file("extensions", extensions.as_bytes());
    let path = |name: &str| one.dir.join(name).to_str().unwrap().to_owned();
    let (leaf, root, key) = (path("leaf.pem"), path("ca.pem"), path("ca.key"));
    let made = ["x509", "-req", "-in", &csr, "-out", &leaf, "-extfile", &extensions, "-days", "9"];
    openssl(&[&made[..], &["-CA", &root, "-CAkey", &key, "-CAcreateserial"]].concat());
    let other = Pair::make("shop.example").chain;
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    let bundle = one.file("c.pem", [read(&leaf), other].concat().as_bytes());
    let refused = one.run(&["cert", "import", "shop.example", &bundle, "-o", "json"]);
    assert_eq!((refused.problem()["code"].as_str(), refused.code), (Some("H003"), 8));
    let hint = refused.problem()["hint"].as_str().unwrap().to_owned();
    assert!(hint.contains(&url) && hint.contains("--allow-broken-chain"), "{hint}");
    assert!(refused.err.contains("CN=Test Root"), "the issuer is named: {}", refused.err);
    let fetched = watched.accept().map_err(|error| error.kind());
    assert_eq!(fetched.err(), Some(std::io::ErrorKind::WouldBlock), "nobody fetched it");
    // With the issuer in place of the other, in any order.
    let bundle = one.file("c.pem", [read(&root), read(&leaf)].concat().as_bytes());
    one.run(&["cert", "import", "shop.example", &bundle]).ok();
}

#[test]
fn a_domain_is_renamed_and_its_certificate_stays() {
    let cluster = Cluster::start(3);
    let port = cluster.listen();
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
    let pair = Pair::make("shop.example");
    let (certificate, key) = one.pair_files(&pair);
    one.run(&["cert", "import", "shop.example", &certificate, "--key", &key]).ok();
    let done = one.run(&["domain", "rename", "shop.example", "store.example", "-o", "json"]).json();
    assert!(done["warnings"].to_string().contains("not for store.example"), "{done}");
    for node in &cluster.nodes {
        assert_eq!(probe(node.listener(port), "store.example").unwrap().chain[0], pair.der);
        let shown = probe(node.listener(port), "shop.example").unwrap();
        assert_ne!(shown.chain[0], pair.der, "the old name means the Main Domain now");
    }
    let shown = one.run(&["domain", "show", "store.example", "-o", "json"]).json();
    assert!(shown["problems"].to_string().contains("store.example"), "the mismatch is shown");
    assert_eq!(code(one, &["domain", "show", "shop.example"]), ("D002".to_owned(), 3));
    one.run(&["domain", "create", "shop.example"]).ok();
    let taken = code(one, &["domain", "rename", "store.example", "shop.example"]);
    assert_eq!(taken, ("D003".to_owned(), 4));
    let main = code(one, &["domain", "rename", "store.example", "node-1.main"]);
    assert_eq!(main, ("D003".to_owned(), 4), "a Main Domain is never shared");
}

#[test]
fn every_version_is_kept_and_can_be_had_back() {
    let cluster = Cluster::start(3);
    let port = cluster.listen();
    let [one, two, three] = &cluster.nodes[..] else { panic!("three nodes") };
    one.run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
    let import = |reason: &str| {
        let pair = Pair::make("shop.example");
        let (certificate, key) = one.pair_files(&pair);
        let words =
            ["cert", "import", "shop.example", &certificate, "--key", &key, "--reason", reason];
        one.run(&words).ok();
        pair
    };
    let (first, second) = (import("first"), import("second"));
    let history = two.run(&["domain", "history", "shop.example", "-o", "json"]).json();
    let history = history.as_array().unwrap();
    assert_eq!(history.len(), 3, "{history:?}");
    assert_eq!((&history[0]["reason"], &history[0]["current"]), (&"second".into(), &true.into()));
    assert_eq!((&history[1]["reason"], &history[1]["version"]), (&"first".into(), &2.into()));
    for version in history {
        assert!(version["changed_by"].as_str().unwrap().starts_with("uid "), "{version}");
        assert!(version["changed"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    }
    let shown = |name: &str| -> Vec<_> {
        let nodes = cluster.nodes.iter();
        nodes.map(|node| probe(node.listener(port), name).unwrap().chain).collect()
    };
    let of = |pair: &Pair| vec![vec![pair.der.clone(), pair.chain_der.clone()]; 3];
    assert_eq!(shown("shop.example"), of(&second));
    // The old key, certificate and chain come back together, on all nodes.
    two.run(&["domain", "rollback", "shop.example", "2", "--reason", "undo"]).ok();
    assert_eq!(shown("shop.example"), of(&first));
    three.run(&["domain", "rollback", "shop.example", "3"]).ok();
    assert_eq!(shown("shop.example"), of(&second));
    assert_eq!(code(one, &["domain", "rollback", "shop.example", "99"]), ("V004".to_owned(), 3));
    // Sixteen earlier ones are kept, and chains go with the last version that sends them.
    for _ in 0..20 {
        one.run(&["domain", "set", "shop.example", "--pki", "test", "--wait", "committed"]).ok();
        one.run(&["domain", "set", "shop.example", "--pki", "enabled", "--wait", "committed"]).ok();
    }
    let history = three.run(&["domain", "history", "shop.example", "-o", "json"]).json();
    assert_eq!(history.as_array().unwrap().len(), 17);
    assert_eq!(code(one, &["domain", "rollback", "shop.example", "2"]), ("V004".to_owned(), 3));
    one.run(&["domain", "delete", "shop.example", "--yes"]).ok();
}

/// What the public port answers: status, head and body.
pub(crate) fn public(node: &Node, method: &str, path: &str) -> (u16, String, Vec<u8>) {
    let said = node.said();
    let address = said.split("public   http://").nth(1).unwrap().split('/').next().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let split = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..split].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head, answer[split + 4..].to_vec())
}

fn certificates(pem: &[u8]) -> Vec<Vec<u8>> {
    CertificateDer::pem_slice_iter(pem).map(|one| one.unwrap().to_vec()).collect()
}

#[test]
fn anybody_may_have_the_certificate_of_an_enabled_domain() {
    let cluster = Cluster::start(3);
    let port = cluster.listen();
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example", "--pki", "test"]).ok();
    one.run(&["key", "generate", "shop.example"]).ok();
    let unit = "<b>\"Boats\" & 'Co'</b>";
    one.run(&["cert", "self-sign", "shop.example", "--unit", unit]).ok();
    let page = "/certificates/shop.example";
    for node in &cluster.nodes {
        assert_eq!(public(node, "GET", page).0, 404, "in test mode");
    }
    one.run(&["domain", "set", "shop.example", "--pki", "enabled"]).ok();
    for node in &cluster.nodes {
        let (status, head, body) = public(node, "GET", page);
        let body = String::from_utf8(body).unwrap();
        assert_eq!(status, 200, "{head}");
        assert!(head.contains("content-type: text/html; charset=utf-8"), "{head}");
        assert!(head.contains("default-src 'none'"), "{head}");
        assert!(body.contains("&lt;b&gt;") && !body.contains("<b>"), "{body}");
        let shown = probe((node.address, port).into(), "shop.example").unwrap();
        let (status, head, der) = public(node, "GET", &format!("{page}/certificate.cer"));
        assert!(status == 200 && head.contains("content-type: application/pkix-cert"), "{head}");
        assert_eq!(der, shown.chain[0], "what the page gives is what is served");
        let (status, head, pem) = public(node, "GET", &format!("{page}/certificate.pem"));
        let media_type = "content-type: application/pem-certificate-chain";
        assert!(status == 200 && head.contains(media_type), "{head}");
        assert_eq!(certificates(&pem), shown.chain);
    }
    // A certificate with its CA chain, taken through another node.
    let pair = Pair::make("shop.example");
    let (bundle, key) = cluster.nodes[1].pair_files(&pair);
    cluster.nodes[1].run(&["cert", "import", "shop.example", &bundle, "--key", &key]).ok();
    for node in &cluster.nodes {
        let (_, _, pem) = public(node, "GET", &format!("{page}/certificate.pem"));
        assert_eq!(certificates(&pem), [pair.der.clone(), pair.chain_der.clone()]);
    }
    let (status, head, _) = public(one, "GET", "/certificates/SHOP.example/certificate.cer");
    assert!(status == 200 && head.contains("filename=\"shop.example.cer\""), "{head}");
    // Nothing else is reachable there.
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/v1/status"),
        ("GET", "/v1/domains/shop.example/key"),
        ("GET", "/certificates"),
        ("GET", "/certificates/node-1.main"),
        ("GET", "/certificates/..%2fshop.example"),
        ("GET", "/certificates/%ff"),
        ("GET", "/certificates/none.example"),
        ("POST", page),
        ("DELETE", "/v1/domains/shop.example"),
    ] {
        let (status, _, body) = public(one, method, path);
        assert_eq!((status, body.as_slice()), (404, &b"not found\n"[..]), "{method} {path}");
    }
}
