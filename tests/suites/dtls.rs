//! DTLS on the wire: the same domains, policies and limits as TLS, over datagrams.

use std::time::Duration;

use conclave_dtls::Connector;
use conclave_tests::{Cluster, DtlsClient, Node, Pair, echo_datagrams, wait_for};

const PATIENCE: Duration = Duration::from_secs(20);

/// Opens a listener for DTLS on every node, with an echo behind it; gives its port.
fn listen(cluster: &Cluster, more: &[&str]) -> u16 {
    let (port, upstream) = (cluster.free_port(), echo_datagrams());
    let (bind, upstream) = (format!(":{port}"), format!("udp:{upstream}"));
    let words = ["listener", "add", "dtls", "--protocol", "dtls", "--bind", &bind];
    cluster.nodes[0].run(&[&words[..], &["--upstream", &upstream], more].concat()).ok();
    port
}

/// A client whose handshake is done, or why it is not.
fn connect(node: &Node, port: u16, name: &str) -> Result<(DtlsClient, Vec<Vec<u8>>), String> {
    let connector = Connector::new(&[]).unwrap();
    let name = (name != "-").then_some(name);
    let mut client = DtlsClient::begin(&connector, node.listener(port), name, 1500);
    let facts = client.handshake(PATIENCE)?;
    Ok((client, facts.peer_chain))
}

#[test]
fn the_domain_that_a_client_names_is_served_and_its_words_reach_the_upstream() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let shop = Pair::make("shop.example");
    let (bundle, key) = one.pair_files(&shop);
    one.run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
    one.run(&["cert", "import", "shop.example", &bundle, "--key", &key]).ok();
    one.run(&["domain", "create", "off.example", "--pki", "disabled"]).ok();
    let port = listen(&cluster, &[]);
    let (mut client, chain) = connect(one, port, "shop.example").unwrap();
    assert!(chain == [shop.der, shop.chain_der]);
    assert!(client.is_echoed(b"are you there", PATIENCE));
    let large = vec![7; 4_000];
    assert!(client.is_echoed(&large, PATIENCE));
    let (_, test) = connect(one, port, "unknown.example").unwrap();
    assert_eq!(test.len(), 2, "the Main Domain stands in, in test mode");
    let (_, none) = connect(one, port, "-").unwrap();
    assert!(none == test);
    let refused = connect(one, port, "off.example").err().unwrap();
    assert!(refused.contains("access denied"), "{refused}");
    wait_for("a line", || one.log().contains("reason=\"disabled\"").then_some(()));
    client.close();
    let sessions = one.run(&["tls", "sessions", "-o", "json"]).json();
    assert_eq!(sessions["node"]["done"].as_u64(), Some(3), "{sessions}");
    assert_eq!(sessions["node"]["failed"]["disabled"].as_u64(), Some(1), "{sessions}");
}
