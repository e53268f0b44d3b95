//! A hundred domains with keys of all types: the right certificate at every step on every node.

use std::path::Path;

use conclave_tests::{Cluster, Node, has_program, openssl, probe, sign};
use rustls::pki_types::{CertificateDer, pem::PemObject};

const DOMAINS: usize = 100;
const KINDS: [&str; 6] = ["p256", "p384", "ed25519", "rsa2048", "rsa3072", "rsa4096"];
/// Keys of each RSA size that OpenSSL makes; several domains import the same one, because making
/// them is slow and not the point. The first domain of each type makes its own.
const RSA_KEYS: usize = 3;

fn certificates(file: &Path) -> Vec<Vec<u8>> {
    let pem = std::fs::read(file).unwrap();
    CertificateDer::pem_slice_iter(&pem).map(|one| one.unwrap().to_vec()).collect()
}

fn name(number: usize) -> String {
    format!("{}-{number}.example", KINDS[number % KINDS.len()])
}

struct Walk<'a> {
    cluster: &'a Cluster,
    node: &'a Node,
    port: u16,
    keys: &'a Path,
}

impl Walk<'_> {
    /// Every node shows these certificates for the domain.
    fn shows(&self, name: &str, expected: &[Vec<u8>], step: &str) {
        for node in &self.cluster.nodes {
            let shown = probe(node.listener(self.port), name).unwrap();
            assert_eq!(shown.chain, expected, "{name}: {step}, on {}", node.name);
        }
    }

    fn key(&self, name: &str, number: usize) {
        let kind = KINDS[number % KINDS.len()];
        let round = number / KINDS.len();
        if round > 0 && kind.starts_with("rsa") {
            let file = self.keys.join(format!("{kind}-{}.pem", round % RSA_KEYS));
            self.node.run(&["key", "import", name, file.to_str().unwrap()]).ok();
        } else {
            let words = ["--timeout", "120s", "key", "generate", name, "--type", kind];
            self.node.run(&words).ok();
        }
    }

    /// The whole way of one domain; gives what it shows at the end.
    fn domain(&self, number: usize) -> Vec<Vec<u8>> {
        let (node, name) = (self.node, name(number));
        node.run(&["domain", "create", &name, "--pki", "enabled"]).ok();
        self.key(&name, number);
        let csr = node.file("shop.csr", b"");
        node.run(&["csr", "create", &name, "--out", &csr]).ok();
        assert!(openssl(&["req", "-in", &csr, "-verify", "-noout"]).contains("verify OK"));
        sign(node, &csr, "90");
        let (leaf, root) = (node.dir.join("leaf.pem"), node.dir.join("ca.pem"));
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        node.run(&["cert", "import", &name, &path(&leaf)]).ok();
        self.shows(&name, &certificates(&leaf), "imported");
        node.run(&["chain", "set", &name, &path(&root)]).ok();
        let first = [certificates(&leaf), certificates(&root)].concat();
        self.shows(&name, &first, "with its chain");
        let bundle = sign(node, &csr, "90");
        let second = certificates(Path::new(&bundle));
        assert_ne!(first[0], second[0]);
        let done = node.run(&["cert", "import", &name, &bundle, "-o", "json"]).json();
        self.shows(&name, &second, "renewed");
        let version = done["version"].as_u64().unwrap();
        let rollback = |version: u64| {
            node.run(&["domain", "rollback", &name, &version.to_string()]).ok();
        };
        rollback(version - 1);
        self.shows(&name, &first, "rolled back");
        rollback(version);
        self.shows(&name, &second, "rolled back again");
        second
    }
}

/// OpenSSL makes the RSA keys, as many at once as there are processors.
fn make_keys(dir: &Path) {
    std::thread::scope(|scope| {
        for kind in KINDS.iter().filter(|kind| kind.starts_with("rsa")) {
            scope.spawn(move || {
                for number in 0..RSA_KEYS {
                    let file = dir.join(format!("{kind}-{number}.pem"));
                    let bits = kind.trim_start_matches("rsa");
                    openssl(&["genrsa", "-out", file.to_str().unwrap(), bits]);
                }
            });
        }
    });
}

#[test]
fn a_hundred_domains_with_keys_of_all_types_go_the_whole_way() {
    if !has_program("openssl") {
        return;
    }
    let mut cluster = Cluster::start(3);
    let port = cluster.listen();
    let keys = cluster.dir.path().to_owned();
    make_keys(&keys);
    // Three operators, each at another node.
    let shown: Vec<(usize, Vec<Vec<u8>>)> = std::thread::scope(|scope| {
        let operators = cluster.nodes.iter().enumerate().map(|(place, node)| {
            let walk = Walk { cluster: &cluster, node, port, keys: &keys };
            scope.spawn(move || {
                let own = (0..DOMAINS).filter(|number| number % 3 == place);
                own.map(|number| (number, walk.domain(number))).collect::<Vec<_>>()
            })
        });
        let operators: Vec<_> = operators.collect();
        operators.into_iter().flat_map(|operator| operator.join().unwrap()).collect()
    });
    assert_eq!(shown.len(), DOMAINS);
    // Nobody's work has disturbed another's, and a restart changes nothing.
    cluster.nodes[1].kill();
    cluster.nodes[1].start();
    conclave_tests::wait_for("the restarted node opens its port", || {
        probe(cluster.nodes[1].listener(port), &name(0)).ok()
    });
    let walk = Walk { cluster: &cluster, node: &cluster.nodes[0], port, keys: &keys };
    for (number, expected) in &shown {
        walk.shows(&name(*number), expected, "at the end");
    }
    let listed = cluster.nodes[2].run(&["cert", "list", "-o", "json"]).json();
    assert_eq!(listed.as_array().unwrap().len(), DOMAINS);
}
