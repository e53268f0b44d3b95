//! An RSA and an EC certificate side by side (A19).

use conclave_tests::{Cluster, Node, has_program, openssl, openssl_chain, sign};

const NAME: &str = "shop.example";

/// Which certificate a client with these options is shown: `EC`, `RSA`, or none.
fn shown(node: &Node, port: u16, options: &[&str]) -> Option<&'static str> {
    let chain = openssl_chain(node.listener(port), NAME, options);
    let leaf = node.file("shown.der", chain.first()?);
    let text = openssl(&["x509", "-inform", "der", "-in", &leaf, "-noout", "-text"]);
    Some(if text.contains("rsaEncryption") { "RSA" } else { "EC" })
}

/// A key of that type, with a certificate that an OpenSSL authority issues for it.
fn certify(node: &Node, kind: &str, family: &str) {
    node.run(&["--timeout", "60s", "key", "generate", NAME, "--type", kind]).ok();
    let csr = node.file("shop.csr", b"");
    node.run(&["csr", "create", NAME, "--family", family, "--out", &csr]).ok();
    let bundle = sign(node, &csr, "90");
    node.run(&["cert", "import", NAME, &bundle]).ok();
}

#[test]
fn each_client_gets_the_certificate_that_it_can_verify() {
    if !has_program("openssl") {
        return;
    }
    let cluster = Cluster::start(3);
    let port = cluster.listen();
    let [one, two, three] = &cluster.nodes[..] else { panic!("three nodes") };
    one.run(&["domain", "create", NAME, "--pki", "enabled"]).ok();
    certify(one, "rsa2048", "rsa");
    certify(two, "p256", "ec");
    let clients: [(&[&str], Option<&str>); 8] = [
        (&[], Some("EC")),
        (&["-tls1_2"], Some("EC")),
        (&["-sigalgs", "ECDSA+SHA256"], Some("EC")),
        (&["-sigalgs", "RSA-PSS+SHA256"], Some("RSA")),
        (&["-sigalgs", "RSA-PSS+SHA256:ECDSA+SHA256"], Some("EC")),
        (&["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], Some("RSA")),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], Some("EC")),
        // A curve that neither certificate has.
        (&["-sigalgs", "ECDSA+SHA512"], None),
    ];
    for node in &cluster.nodes {
        for (options, expected) in clients {
            assert_eq!(shown(node, port, options), expected, "{} {options:?}", node.name);
        }
        let tested = node.run(&["key", "test", NAME, "-o", "json"]).json();
        assert!(tested.as_array().unwrap().iter().all(|one| one["ok"] == true), "{tested}");
    }
    // Both are shown; what could mean both is asked for; a chain finds its certificate by itself.
    for words in [["key", "show", NAME], ["cert", "show", NAME]] {
        let shown = one.run(&words).ok();
        assert!(shown.contains("RSA") && shown.contains("EC P-256"), "{words:?}: {shown}");
    }
    assert_eq!(one.run(&["key", "show", NAME, "-o", "json"]).json().as_array().unwrap().len(), 2);
    assert_eq!(one.run(&["cert", "show", NAME, "-o", "name"]).ok().lines().count(), 2);
    let ran = one.run(&["csr", "create", NAME]);
    assert!(ran.code == 2 && ran.err.contains("--family ec"), "{}", ran.err);
    let again = one.run(&["key", "generate", NAME, "--type", "p384"]);
    assert!(again.code == 4 && again.err.contains("an EC key already"), "{}", again.err);
    let root = one.dir.join("ca.pem");
    one.run(&["chain", "set", NAME, root.to_str().unwrap()]).ok();
    let shows = three.run(&["domain", "show", NAME, "-o", "json"]).json();
    let credentials = shows["credentials"].as_array().unwrap();
    let families: Vec<_> = credentials.iter().map(|one| &one["key"]["family"]).collect();
    assert_eq!(families, ["ec", "rsa"]);
    assert!(credentials.iter().all(|one| one["chain"].as_array().unwrap().len() == 1), "{shows}");
    assert_eq!(shows["problems"], serde_json::json!([]));
    // Without the EC key everybody gets the other; back again, on every node.
    let removed = three.run(&["key", "remove", NAME, "--family", "ec", "--yes"]);
    assert!(removed.code == 0 && removed.err.contains("keep the key"), "{}", removed.err);
    let version = shows["version"].to_string();
    for (change, expected) in [(None, "RSA"), (Some(["domain", "rollback", NAME, &version]), "EC")]
    {
        if let Some(words) = change {
            let ran = two.run(&words);
            assert!(ran.code == 0 && ran.err.contains("brings back the EC key"), "{}", ran.err);
        }
        for node in &cluster.nodes {
            assert_eq!(shown(node, port, &[]), Some(expected), "{} {change:?}", node.name);
        }
    }
    // A key without a certificate is told, and does not stop the other.
    two.run(&["cert", "remove", NAME, "--family", "ec", "--yes"]).ok();
    let shows = three.run(&["domain", "show", NAME, "-o", "json"]).json();
    assert_eq!(shows["problems"][0], "the EC key has no certificate: it is not used");
    assert_eq!(shown(one, port, &[]), Some("RSA"));
}

#[test]
fn a_key_of_the_other_family_comes_beside_and_says_so() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", NAME]).ok();
    one.run(&["key", "generate", NAME]).ok();
    let ran = one.run(&["--timeout", "60s", "key", "generate", NAME, "--type", "rsa2048"]);
    let told = [ran.out.as_str(), ran.err.as_str()].concat();
    assert!(told.contains("conclave key remove shop.example --family ec"), "{told}");
    assert_eq!(
        one.run(&["key", "show", NAME, "--family", "rsa", "-o", "json"]).json()["family"],
        "rsa"
    );
    one.run(&["key", "remove", NAME, "--family", "rsa", "--yes"]).ok();
    let ran = one.run(&["key", "show", NAME, "--family", "rsa"]);
    assert!(ran.code == 3 && ran.err.contains("has no RSA key"), "{}", ran.err);
}
