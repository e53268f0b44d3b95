//! Names: international ones, and addresses as names of certificates.

use conclave_tests::{Cluster, Pair, has_program, openssl, openssl_chain_of, run_alone, sign};

#[test]
fn international_names_are_taken_as_people_write_them() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let (name, spelled) = ("xn--bcher-kva.example", "bücher.example");
    one.run(&["domain", "create", "BÜCHER.example", "--pki", "enabled"]).ok();
    one.run(&["domain", "alias", spelled, "--add", "*.Bücher.example"]).ok();
    let shown = one.run(&["domain", "show", spelled, "-o", "json"]).json();
    assert_eq!((&shown["name"], &shown["unicode_name"]), (&name.into(), &spelled.into()));
    assert_eq!(shown["aliases"], serde_json::json!(["*.xn--bcher-kva.example"]));
    let page = one.run(&["domain", "show", name]).ok();
    assert!(page.contains("xn--bcher-kva.example (bücher.example)"), "{page}");
    assert!(page.contains("*.xn--bcher-kva.example (*.bücher.example)"), "{page}");
    one.run(&["domain", "alias", name, "--remove", "*.BÜCHER.example."]).ok();
    // Names that are none are refused with the label at fault.
    for (wrong, label) in [("a.xn--zzzzzz.example", "xn--zzzzzz"), ("a.b\u{378}.example", "b")] {
        let ran = one.run(&["domain", "create", wrong, "-o", "json"]);
        let problem = ran.problem();
        assert_eq!(problem["code"], "D001", "{problem}");
        assert!(problem["title"].as_str().unwrap().contains(label), "{problem}");
    }
    let pair = Pair::make(name);
    let (bundle, key) = one.pair_files(&pair);
    one.run(&["cert", "import", spelled, &bundle, "--key", &key]).ok();
    let anchors = one.file("root.pem", pair.chain.as_bytes());
    for asked in [spelled, name, "bücher.example."] {
        let checked = run_alone(&["cert", "check", &bundle, "--name", asked, "-o", "json"]);
        assert!(checked.out.contains("is for xn--bcher-kva.example"), "{}", checked.out);
        let words = ["trust", "verify", &bundle, "--anchors", &anchors, "--path-only", "--name"];
        run_alone(&[&words[..], &[asked]].concat()).ok();
    }
    let port = cluster.free_port();
    let (bind, upstream) = (format!(":{port}"), conclave_tests::echo_upstream().to_string());
    let words = ["--protocol", "xmpp", "--require-tls", "--bind", &bind, "--upstream", &upstream];
    one.run(&[&["listener", "add", "im"][..], &words].concat()).ok();
    if has_program("openssl") {
        for to in [spelled, name, "BÜCHER.example"] {
            let words = ["-noservername", "-starttls", "xmpp", "-xmpphost", to];
            let chain = openssl_chain_of(one.listener(port), &words);
            assert_eq!(chain.first(), Some(&pair.der), "{to}");
        }
    }
}

#[test]
fn a_certificate_for_the_address_of_a_domain_is_one_of_the_domain() {
    if !has_program("openssl") {
        return;
    }
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let address = one.listener(1).ip().to_string();
    one.run(&["domain", "create", "edge.example", "--ip", &address, "--pki", "enabled"]).ok();
    one.run(&["key", "generate", "edge.example"]).ok();
    let csr = one.dir.join("edge.csr");
    let csr = csr.to_str().unwrap();
    // An authority that gives certificates for addresses wants neither a common name nor others.
    let words = ["csr", "create", "edge.example", "--san", &address, "--only-san", "--out", csr];
    let said = one.run(&words).err;
    assert!(said.contains("no CN"), "{said}");
    let shown = openssl(&["req", "-in", csr, "-noout", "-text"]);
    assert!(shown.contains("Subject Alternative Name: critical"), "{shown}");
    assert!(!shown.contains("edge.example") && shown.contains(&address), "{shown}");
    let bundle = sign(one, csr, "6");
    let root = one.dir.join("ca.pem");
    one.run(&["trust", "add", root.to_str().unwrap(), "--scope", "domain:edge.example"]).ok();
    let imported = one.run(&["cert", "import", "edge.example", &bundle, "-o", "json"]).json();
    assert!(imported["warnings"].to_string().contains("for addresses only"), "{imported}");
    one.run(&["domain", "check", "edge.example"]).ok();
    let listed = one.run(&["csr", "create", "edge.example", "--list-names", "-o", "name"]).ok();
    assert!(listed.lines().any(|line| line == address), "{listed}");
    // With a common name, and beside the names of the domain.
    let words = ["csr", "create", "edge.example", "--common-name", &address, "--out", csr];
    one.run(&words).ok();
    let shown = openssl(&["req", "-in", csr, "-noout", "-subject", "-text"]);
    assert!(shown.contains("DNS:edge.example") && shown.contains("IP Address:"), "{shown}");
    // An empty common name is none, and the names of the domain stay.
    let words = ["csr", "create", "edge.example", "--common-name", "", "--out", csr];
    one.run(&words).ok();
    let shown = openssl(&["req", "-in", csr, "-noout", "-subject", "-text"]);
    assert!(shown.contains("DNS:edge.example") && !shown.contains("CN"), "{shown}");
    let words = ["cert", "self-sign", "edge.example", "--common-name", "", "-o", "json"];
    assert_eq!(one.run(&words).problem()["code"], "C008");
    // The hint of a refusal is a command that works.
    one.run(&["domain", "create", "far.example", "--pki", "enabled"]).ok();
    let far = Pair::make("192.0.2.77");
    let (bundle, key) = one.pair_files(&far);
    let import = ["cert", "import", "far.example", &bundle, "--key", &key, "-o", "json"];
    let refused = one.run(&import).problem();
    let hint = refused["hint"].as_str().unwrap_or_default().to_owned();
    let hinted: Vec<&str> = hint.split("    or:").next().unwrap().split(' ').skip(1).collect();
    assert_eq!(hinted, ["domain", "set", "far.example", "--ip", "192.0.2.77"], "{refused}");
    one.run(&hinted).ok();
    one.run(&import).ok();
}
