//! CA chains as people have them: doubled, mixed up, expired, incomplete. Every place that judges
//! one says the same.

use conclave_tests::{Authority, Cluster, Node, authority, authority_with, run_alone};
use rcgen::{CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};
use serde_json::Value;

/// A root, two intermediates below it, and what they issued for a domain.
struct Family {
    root: Authority,
    upper: Authority,
    lower: Authority,
    leaf: String,
    key: String,
}

const NAME: &str = "shop.example";

impl Family {
    fn new() -> Family {
        Family::with(|_| {}, |_| {})
    }

    /// One whose upper intermediate and whose leaf have other parameters.
    fn with(
        upper: impl FnOnce(&mut CertificateParams),
        leaf: impl FnOnce(&mut CertificateParams),
    ) -> Family {
        let root = authority("Root", None);
        let upper = authority_with("Upper", Some(&root), KeyPair::generate().unwrap(), upper);
        let lower = authority("Lower", Some(&upper));
        let (certificate, key) = issue(&lower, leaf);
        Family { root, upper, lower, leaf: certificate, key }
    }

    fn pem(&self) -> [String; 3] {
        [&self.lower, &self.upper, &self.root].map(|one| one.certificate.pem())
    }
}

fn issue(authority: &Authority, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let issued = authority.issue(KeyPair::generate().unwrap(), |params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName(NAME.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        change(params);
    });
    (issued.certificate, issued.key)
}

fn import(node: &Node, bundle: &str, key: &str, more: &[&str]) -> conclave_tests::Ran {
    let bundle = node.file("bundle.pem", bundle.as_bytes());
    let key = node.file("key.pem", key.as_bytes());
    let words = ["cert", "import", NAME, &bundle, "--key", &key, "-o", "json"];
    node.run(&[&words[..], more].concat())
}

/// Subjects of the chain that is sent now.
fn sent(node: &Node) -> Vec<String> {
    let shown = node.run(&["chain", "show", NAME, "-o", "json"]).json();
    let name = |one: &Value| one["subject"].as_str().unwrap().to_owned();
    shown.as_array().unwrap().iter().map(name).collect()
}

#[test]
fn bundles_in_any_shape_are_put_right() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", NAME]).ok();
    let family = Family::new();
    let [lower, upper, root] = family.pem();
    let (leaf, key) = (&family.leaf, &family.key);
    for (bundle, more, chain) in [
        (format!("{leaf}{lower}{upper}"), &[][..], &["CN=Lower", "CN=Upper"][..]),
        (format!("{leaf}{leaf}{lower}{lower}{upper}"), &[], &["CN=Lower", "CN=Upper"]),
        (format!("{key}{leaf}{lower}{upper}"), &[], &["CN=Lower", "CN=Upper"]),
        (format!("{lower}{upper}{leaf}"), &[], &["CN=Lower", "CN=Upper"]),
        (format!("{leaf}{lower}{upper}{root}"), &[], &["CN=Lower", "CN=Upper", "CN=Root"]),
        (format!("{leaf}{root}{upper}{lower}"), &["--sort"], &["CN=Lower", "CN=Upper", "CN=Root"]),
    ] {
        let done = import(one, &bundle, key, more).json();
        assert_eq!(sent(one), chain, "{done}");
    }
    let wrong = import(one, &format!("{leaf}{lower}{root}{upper}"), key, &[]);
    assert_eq!(wrong.problem()["code"], "H002", "{}", wrong.err);
    assert!(wrong.problem()["hint"].as_str().unwrap().contains("--sort"), "{}", wrong.err);
    // A certificate of another authority in the middle is named, and left out when that is asked.
    let stray = authority("Stranger", None).certificate.pem();
    let mixed = format!("{leaf}{lower}{stray}{upper}{root}");
    let wrong = import(one, &mixed, key, &[]);
    assert_eq!(wrong.code, 8);
    assert!(wrong.err.contains("CN=Stranger"), "{}", wrong.err);
    let done = import(one, &mixed, key, &["--sort"]).json();
    assert!(done["warnings"].to_string().contains("left out: CN=Stranger"), "{done}");
    assert_eq!(sent(one), ["CN=Lower", "CN=Upper", "CN=Root"]);
}

#[test]
fn a_document_settles_with_a_chain_in_any_order() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let family = Family::new();
    let [lower, upper, root] = family.pem();
    let stray = authority("Stranger", None).certificate.pem();
    let mixed = format!("{root}{stray}{upper}{}{lower}", family.leaf);
    let bundle = one.file("mixed.pem", mixed.as_bytes());
    let key = one.file("key.pem", family.key.as_bytes());
    let document = format!(
        "[[domains]]\nname = \"{NAME}\"\n[[domains.credentials]]\n\
         key = {{ file = \"{key}\" }}\ncertificate = {{ file = \"{bundle}\" }}\n"
    );
    let file = one.file("shop.toml", document.as_bytes());
    let done = one.run(&["apply", "-f", &file, "-o", "json"]).json();
    assert_eq!(done["counts"]["changed"], 1, "{done}");
    assert_eq!(sent(one), ["CN=Lower", "CN=Upper", "CN=Root"]);
    for more in [&["--dry-run"][..], &[]] {
        let again = one.run(&[&["apply", "-f", &file, "-o", "json"][..], more].concat()).json();
        let told = (&again["changed"], &again["objects"], &again["counts"]["unchanged"]);
        assert_eq!(told, (&false.into(), &serde_json::json!([]), &1.into()), "{again}");
    }
}

#[test]
fn intermediates_that_clients_refuse_are_refused_and_named_everywhere() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", NAME, "--pki", "enabled"]).ok();
    type Change = fn(&mut CertificateParams);
    let old: Change = |params| params.not_after = date_time_ymd(2026, 6, 1);
    let early: Change = |params| params.not_before = date_time_ymd(2035, 6, 1);
    for (change, wrong) in [(old, "has expired"), (early, "is not valid yet")] {
        let family = Family::with(change, |_| {});
        let [lower, upper, root] = family.pem();
        let bundle = format!("{}{lower}{upper}", family.leaf);
        let refused = import(one, &bundle, &family.key, &[]);
        assert_eq!((refused.code, &refused.problem()["code"]), (8, &"C005".into()));
        let title = refused.problem()["title"].to_string();
        assert!(title.contains("CN=Upper") && title.contains(wrong), "{title}");
        assert!(refused.err.contains("--allow-broken-chain"), "{}", refused.err);
        let (bundle, key) = (one.file("bundle.pem", bundle.as_bytes()), one.dir.join("key.pem"));
        let key = key.to_str().unwrap();
        // The same by the chain alone, the same of a file without a node.
        one.run(&["cert", "import", NAME, &bundle, "--key", key, "--allow-broken-chain"]).ok();
        let chain = one.file("chain.pem", format!("{lower}{upper}").as_bytes());
        let refused = one.run(&["chain", "set", NAME, &chain, "-o", "json"]);
        assert_eq!((refused.code, &refused.problem()["code"]), (8, &"C005".into()));
        let said = format!("CN=Upper in the CA chain {wrong}");
        let root = one.file("root.pem", root.as_bytes());
        for words in [
            &["cert", "check", &bundle, "--anchors", &root][..],
            &["domain", "check", NAME],
            &["status"],
        ] {
            let ran = one.run(words);
            assert_eq!(ran.code, 9, "{words:?}: {}{}", ran.out, ran.err);
            assert!(ran.out.contains(&said), "{words:?}: {}", ran.out);
        }
        assert!(one.run(&["domain", "show", NAME]).out.contains(&said));
    }
}

#[test]
fn the_present_copy_of_an_expired_intermediate_is_named() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", NAME]).ok();
    let root = authority("Root", None);
    let key = KeyPair::generate().unwrap();
    let old = authority_with("Lower", Some(&root), key, |params| {
        params.not_after = date_time_ymd(2026, 6, 1);
    });
    let url = "http://ca.example/lower.cer";
    let (leaf, key) = issue(&old, |params| params.custom_extensions = vec![issuers_at(url)]);
    let refused = import(one, &format!("{leaf}{}", old.certificate.pem()), &key, &[]);
    assert_eq!(refused.code, 8);
    assert!(refused.problem()["hint"].as_str().unwrap().contains(url), "{}", refused.err);
}

#[test]
fn a_missing_intermediate_is_said_with_its_address() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", NAME, "--pki", "enabled"]).ok();
    let url = "http://ca.example/lower.cer";
    let family = Family::with(|_| {}, |params| params.custom_extensions = vec![issuers_at(url)]);
    let done = import(one, &family.leaf, &family.key, &[]).json();
    let [lower, upper, _] = family.pem();
    let warned = done["warnings"].to_string();
    assert!(
        warned.contains("is neither sent with it nor trusted here") && warned.contains(url),
        "{warned}"
    );
    for words in [&["domain", "check", NAME][..], &["status"]] {
        let ran = one.run(words);
        assert_eq!(ran.code, 9, "{words:?}: {}", ran.out);
        assert!(
            ran.out.contains("is neither sent with it nor trusted here"),
            "{words:?}: {}",
            ran.out
        );
    }
    let chain = one.file("chain.pem", format!("{lower}{upper}").as_bytes());
    one.run(&["chain", "set", NAME, &chain]).ok();
    assert_eq!(one.run(&["status"]).code, 0, "{}", one.run(&["status"]).out);
    // The middle one missing: which one, and that the last has no place.
    let [_, _, root] = family.pem();
    let gap = one.file("chain.pem", format!("{lower}{root}").as_bytes());
    let refused = one.run(&["chain", "set", NAME, &gap, "-o", "json"]);
    assert_eq!(refused.problem()["code"], "H003", "{}", refused.err);
    let title = refused.problem()["title"].to_string();
    assert!(title.contains("CN=Lower") && title.contains("CN=Root"), "{title}");
}

/// Authority information access (RFC 5280 §4.2.2.1) with the place of the issuer's certificate.
fn issuers_at(url: &str) -> CustomExtension {
    let method = [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x02];
    let part = |tag: u8, content: &[u8]| -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        [&[tag, length], content].concat()
    };
    let one = part(0x30, &[&method[..], &part(0x86, url.as_bytes())].concat());
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], part(0x30, &one))
}

#[test]
fn of_cross_signed_issuers_the_valid_one_is_used() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", NAME, "--pki", "enabled"]).ok();
    let (old_root, new_root) = (authority("Old Root", None), authority("New Root", None));
    let key = KeyPair::generate().unwrap();
    let again = KeyPair::from_pem(&key.serialize_pem()).unwrap();
    let by_old = authority_with("Middle", Some(&old_root), key, |params| {
        params.not_after = date_time_ymd(2026, 6, 1);
    });
    let by_new = authority_with("Middle", Some(&new_root), again, |_| {});
    let (leaf, key) = issue(&by_new, |_| {});
    let root = one.file("root.pem", new_root.certificate.pem().as_bytes());
    one.run(&["trust", "add", &root, "--scope", "cluster"]).ok();
    let [old, new] = [&by_old, &by_new].map(|one| one.certificate.pem());
    for bundle in [format!("{leaf}{new}{old}"), format!("{leaf}{old}{new}")] {
        let done = import(one, &bundle, &key, &["--sort"]).json();
        let warned = done["warnings"].to_string();
        assert!(!warned.contains("broken"), "{warned}");
        assert_eq!(one.run(&["status"]).code, 0, "{}", one.run(&["status"]).out);
    }
}

#[test]
fn the_certificate_at_fault_is_the_one_that_is_blamed() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let family = Family::with(|params| params.is_ca = rcgen::IsCa::ExplicitNoCa, |_| {});
    let [lower, upper, root] = family.pem();
    let anchors = write("root.pem", &root);
    let bundle = write("bundle.pem", &format!("{}{lower}{upper}", family.leaf));
    let ran = run_alone(&["cert", "check", &bundle, "--anchors", &anchors]);
    assert_eq!(ran.code, 9, "{}", ran.out);
    let blamed = ran.out.lines().find(|line| line.starts_with("x ")).unwrap().to_owned();
    assert!(blamed.contains("CN=Upper"), "{blamed}");
    let (leaf, more) =
        (write("leaf.pem", &family.leaf), write("more.pem", &format!("{lower}{upper}")));
    let ran =
        run_alone(&["trust", "verify", &leaf, "--intermediates", &more, "--anchors", &anchors]);
    assert_ne!(ran.code, 0);
    assert!(format!("{}{}", ran.out, ran.err).contains("CN=Upper"), "{}{}", ran.out, ran.err);
}
