//! How a node unlocks: by a file, a systemd credential, a passphrase or shares; and what a node does
//! that is sealed at run time.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
    time::Duration,
};

use conclave_dtls::Connector;
use conclave_tests::{
    Cluster, DtlsClient, Node, binary, echo_datagrams, probe, probe_stream, wait_for,
};

const NAME: &str = "shop.example";
const PASSPHRASE: &str = "correct horse battery";
const PATIENCE: Duration = Duration::from_secs(20);

/// A node that was never started, with this setting.
fn new_node(unlock: &str) -> Cluster {
    let dir = tempfile::tempdir().unwrap();
    let address = IpAddr::from(Ipv4Addr::LOCALHOST);
    let node = Node::new(dir.path(), "node-1", address, "info");
    let file = node.dir.join("node.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{config}[keyring]\nunlock = \"{unlock}\"\n")).unwrap();
    Cluster { nodes: vec![node], dir }
}

/// Makes a domain that is served with a key.
fn furnish(cluster: &Cluster) -> u16 {
    let port = cluster.listen();
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", NAME, "--pki", "enabled"]).ok();
    one.run(&["key", "generate", NAME]).ok();
    one.run(&["cert", "self-sign", NAME]).ok();
    port
}

fn serves(node: &Node, port: u16) -> bool {
    probe(node.listener(port), NAME).is_ok()
}

fn code(ran: &conclave_tests::Ran) -> (i32, String) {
    (ran.code, ran.problem()["code"].as_str().unwrap_or_default().to_owned())
}

fn coded(exit: i32, code: &str) -> (i32, String) {
    (exit, code.to_owned())
}

fn wait_served(node: &Node, port: u16) {
    wait_for("it serves the key", || serves(node, port).then_some(()));
}

#[test]
fn a_node_that_is_sealed_at_run_time_uses_no_key_until_it_is_unsealed() {
    let cluster = Cluster::start(3);
    let port = furnish(&cluster);
    let datagrams = cluster.free_port();
    let (bind, upstream) = (format!(":{datagrams}"), format!("udp:{}", echo_datagrams()));
    let words = ["listener", "add", "dtls", "--protocol", "dtls", "--bind", &bind];
    cluster.nodes[0].run(&[&words[..], &["--upstream", &upstream]].concat()).ok();
    let connector = Connector::new(&[]).unwrap();
    let dtls = |node: &Node| {
        let at = node.listener(datagrams);
        DtlsClient::begin(&connector, at, Some(NAME), 1500).handshake(PATIENCE)
    };
    let leader = cluster.leader();
    let (sealed, other) = (&cluster.nodes[leader], &cluster.nodes[(leader + 1) % 3]);
    let (_, mut open) =
        probe_stream(sealed.listener(port), NAME, rustls::ALL_VERSIONS).expect("a connection");
    dtls(sealed).unwrap();
    sealed.run(&["keyring", "seal"]).ok();
    // No key is left for a handshake, a ticket or a datagram.
    assert!(!serves(sealed, port));
    assert!(dtls(sealed).is_err());
    let again = sealed.run(&["keyring", "seal", "-o", "json"]).json();
    assert_eq!((&again["changed"], &again["sealed"]), (&false.into(), &true.into()), "{again}");
    // An open connection stays.
    open.write_all(b"still here").unwrap();
    let mut echoed = [0; 10];
    open.read_exact(&mut echoed).unwrap();
    assert_eq!(&echoed, b"still here");
    // The leadership went to a node that can check who may order what, so all others can write.
    assert_ne!(cluster.leader(), leader);
    other.run(&["domain", "create", "more.example"]).ok();
    sealed.run(&["domain", "create", "typed.example"]).ok();
    assert!(serves(other, port));
    let status = wait_for("the status of all nodes says it", || {
        let status = other.run(&["status"]);
        status.out.contains("is sealed").then_some(status.out)
    });
    assert!(status.contains("conclave keyring unseal"), "{status}");
    let told = sealed.run(&["keyring", "status"]).ok();
    assert!(told.contains("it was sealed by conclave keyring seal"), "{told}");
    // A change of the keyring meanwhile is followed afterwards.
    other.run(&["keyring", "rotate"]).ok();
    let unlock = sealed.dir.join(format!("{}.unlock.key", sealed.name));
    let away = sealed.dir.join("away");
    std::fs::rename(&unlock, &away).unwrap();
    let refused = sealed.run(&["keyring", "unseal", "-o", "json"]);
    assert_eq!(code(&refused), coded(7, "S001"), "{}", refused.err);
    std::fs::rename(&away, &unlock).unwrap();
    sealed.run(&["keyring", "unseal"]).ok();
    wait_served(sealed, port);
    dtls(sealed).unwrap();
    wait_for("the other nodes to know", || {
        let nodes = other.status()["nodes"].as_array()?.clone();
        nodes.iter().all(|node| node["state"] == "ready").then_some(())
    });
    let done = other.run(&["domain", "create", "last.example", "-o", "json"]).json();
    assert_eq!(done["served"]["missing"], serde_json::json!([]), "{done}");
    let told = sealed.run(&["keyring", "unseal"]).ok();
    assert!(told.contains("unchanged"), "{told}");
}

#[test]
fn a_node_with_a_passphrase_needs_it_before_it_has_keys_and_after_each_start() {
    let mut cluster = new_node("passphrase");
    let one = &mut cluster.nodes[0];
    one.start();
    assert!(one.said().contains("SEALED"), "{}", one.said());
    assert!(one.said().contains("conclave keyring unseal"), "{}", one.said());
    let refused = one.run(&["cluster", "init", "--name", "test", "-o", "json"]);
    assert_eq!(code(&refused), coded(7, "S001"));
    assert!(refused.err.contains("conclave keyring unseal"), "{}", refused.err);
    let told = one.run(&["keyring", "status"]).ok();
    assert!(told.contains("its passphrase is not set yet"), "{told}");
    let (short, right) = (one.file("short", b"short\n"), one.file("right", PASSPHRASE.as_bytes()));
    let wrong = one.file("wrong", b"correct horse batteri");
    let unseal = |node: &Node, file: &str| {
        node.run(&["keyring", "unseal", "--passphrase-file", file, "-o", "json"])
    };
    assert_eq!(code(&unseal(one, &short)), coded(2, "X004"));
    assert_eq!(unseal(one, &right).code, 0);
    let made = one.run(&["cluster", "init", "--name", "test"]);
    assert!(made.code == 0 && !made.err.contains("unlock.key"), "{}", made.err);
    // The configuration names no file to go back to.
    let refused = one.run(&["keyring", "rekey", "--file", "-o", "json"]);
    assert_eq!(code(&refused), coded(2, "F001"), "{}", refused.err);
    let port = furnish(&cluster);
    let one = &mut cluster.nodes[0];
    assert!(serves(one, port));
    // A new process would be sealed, so it does not take over.
    let config = one.dir.join("node.toml");
    let ran = one.fail_to_take_over(config.to_str().unwrap());
    assert!(ran.err.contains("would be sealed"), "{}", ran.err);
    one.stop();
    one.start();
    assert!(!serves(one, port));
    let none = one.run(&["keyring", "unseal", "--share-file", &right, "-o", "json"]);
    assert_eq!(code(&none), coded(2, "X004"), "{}", none.err);
    assert_eq!(code(&unseal(one, &wrong)), coded(8, "S004"));
    let hasty = unseal(one, &right);
    assert_eq!(code(&hasty), coded(4, "S005"), "{}", hasty.err);
    wait_for("the pause is over", || (unseal(one, &right).code == 0).then_some(()));
    wait_served(one, port);
    // Through a pipe, as from a program that keeps passphrases.
    one.run(&["keyring", "seal"]).ok();
    assert!(!serves(one, port));
    let mut command = Command::new(binary("conclave"));
    let socket = format!("unix:{}", one.dir.join("admin.sock").display());
    command.args(["--address", &socket, "keyring", "unseal"]).stdin(Stdio::piped());
    let mut running = command.spawn().unwrap();
    running.stdin.take().unwrap().write_all(PASSPHRASE.as_bytes()).unwrap();
    assert!(running.wait().unwrap().success());
    wait_served(one, port);
    assert!(!one.log().contains("battery") && !one.said().contains("battery"));
    let kept = std::fs::read_to_string(one.dir.join("data/node-keys.json")).unwrap();
    assert!(kept.contains("\"format\":3") && !kept.contains("battery"), "{kept}");
}

#[test]
fn three_of_five_shares_unseal_a_node_also_over_https() {
    let mut cluster = Cluster::start(1);
    let port = furnish(&cluster);
    let one = &mut cluster.nodes[0];
    let token = one.run(&["-q", "token", "create", "deploy", "--role", "admin,security"]).ok();
    let token = one.file("token", token.as_bytes());
    let rekey = |node: &Node, name: &str| -> Vec<String> {
        let out = node.dir.join(name);
        let shown = out.to_str().unwrap();
        node.run(&["keyring", "rekey", "--unseal-shares", "3/5", "--shares-out", shown]).ok();
        assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::read_to_string(&out).unwrap().lines().map(str::to_owned).collect()
    };
    let impossible = one.run(&["keyring", "rekey", "--unseal-shares", "6/5", "-o", "json"]);
    assert_eq!(code(&impossible), coded(2, "X004"));
    let (old, shares) = (rekey(one, "old"), rekey(one, "shares"));
    assert_eq!(shares.len(), 5);
    assert!(shares[2].starts_with("cvs3-"), "{}", shares[2]);
    let unlock = one.dir.join("node-1.unlock.key");
    assert!(unlock.exists(), "the person deletes it");
    one.stop();
    one.start();
    assert!(one.said().contains("0 of 3"), "{}", one.said());
    assert!(!serves(one, port), "the old unlock key opens nothing");
    let give = |node: &Node, share: &str| {
        let file = node.file("share", share.as_bytes());
        node.run(&["keyring", "unseal", "--share-file", &file, "-o", "json"])
    };
    let first = give(one, &shares[0]);
    assert_eq!(first.code, 9, "still sealed: {}", first.err);
    let told = one.run(&["keyring", "status"]).ok();
    assert!(told.contains("1 of 3") || told.contains("given shares: 1"), "{told}");
    // The same two letters may occur elsewhere too, also in the beginning that makes it a share.
    let mut mistyped = shares[1].clone();
    mistyped.replace_range(10..12, if mistyped[10..12] == *"zz" { "yy" } else { "zz" });
    for (share, words) in [
        (&mistyped, "share 2 is mistyped"),
        (&old[1], "share 2 is of set"),
        (&token, "not a share"),
    ] {
        let refused = give(one, share);
        assert_eq!(code(&refused), coded(8, "S003"));
        assert!(refused.err.contains(words), "{}", refused.err);
    }
    // Over HTTPS: the node cannot check the token, but the holder of the shares may unseal it.
    let said = one.said();
    let url = said.split_whitespace().find(|word| word.starts_with("https://")).unwrap();
    // A node that starts sealed has only the certificate that other nodes know.
    let far = |token: &str, words: &[&str]| {
        let mut command = Command::new(binary("conclave"));
        command.args(["--address", url, "--token-file", token, "--timeout", "5s"]).args(words);
        command.args(["--node-name", "node-1.conclave.internal"]);
        command.stdin(Stdio::null()).output().unwrap()
    };
    let second = one.file("second", shares[3].as_bytes());
    let none = one.file("none", format!("cvt_{}.{}", "0".repeat(16), "0".repeat(64)).as_bytes());
    let stranger = far(&none, &["keyring", "unseal", "--share-file", &second]);
    assert_ne!(stranger.status.code(), Some(9), "a stranger gives no share");
    let output = far(&token, &["keyring", "unseal", "--share-file", &second]);
    assert_eq!(output.status.code(), Some(9), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("2 of 3 shares given"));
    assert!(!serves(one, port));
    let third = one.file("third", shares[4].as_bytes());
    assert_eq!(far(&token, &["keyring", "unseal", "--share-file", &third]).status.code(), Some(0));
    wait_served(one, port);
    // A stolen token must not lock others out.
    let (_, refused) = one.ask("GET", "keyring/unlocking", "");
    assert_eq!(refused["how"], "shares", "{refused}");
    // Back to the file: nobody is needed at a start.
    one.run(&["keyring", "rekey", "--file"]).ok();
    one.stop();
    one.start();
    wait_served(one, port);
    for text in shares.iter().map(|share| &share[10..]) {
        assert!(!one.log().contains(text));
    }
}

#[test]
fn a_node_unlocks_with_a_systemd_credential() {
    let mut cluster = new_node("credential:conclave");
    let one = &mut cluster.nodes[0];
    let credentials = one.dir.join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    let variable = format!("CREDENTIALS_DIRECTORY={}", credentials.display());
    let config = one.dir.join("node.toml");
    let checked = one.run(&["config", "check", config.to_str().unwrap()]);
    assert_eq!(checked.code, 0, "the credential exists only in the unit: {}", checked.err);
    let mut command = Command::new(binary("conclave"));
    command.args(["server", "run", "--config"]).arg(&config);
    let output = command.env_remove("CREDENTIALS_DIRECTORY").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("[keyring] unlock: the credential conclave: systemd passes none"),
        "{said}"
    );
    let key = credentials.join("conclave");
    std::fs::write(&key, "0123456789abcdef".repeat(4)).unwrap();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o400)).unwrap();
    one.start_under(&["env", &variable]);
    one.run(&["cluster", "init", "--name", "test"]).ok();
    let told = one.run(&["keyring", "status"]).ok();
    assert!(told.contains("unsealed, unlocks with the systemd credential conclave"), "{told}");
    let port = furnish(&cluster);
    let one = &mut cluster.nodes[0];
    assert!(serves(one, port));
    one.stop();
    std::fs::rename(&key, credentials.join("away")).unwrap();
    one.start_under(&["env", &variable]);
    assert!(one.said().contains("the credential conclave does not exist"), "{}", one.said());
    assert!(!serves(one, port));
    std::fs::rename(credentials.join("away"), &key).unwrap();
    one.run(&["keyring", "unseal"]).ok();
    wait_served(one, port);
    one.stop();
    one.start_under(&["env", &variable]);
    wait_served(one, port);
}

#[test]
fn an_unlock_key_that_others_can_use_makes_no_new_node_and_is_told_of_an_old_one() {
    let mut cluster = Cluster::start(1);
    let one = &mut cluster.nodes[0];
    let unlock = one.dir.join("node-1.unlock.key");
    let open = || std::fs::set_permissions(&unlock, PermissionsExt::from_mode(0o644)).unwrap();
    open();
    one.stop();
    one.start();
    let problem = wait_for("the status tells", || {
        let status = one.status();
        let problems = status["problems"].as_array().unwrap();
        problems.iter().find(|problem| problem["code"] == "S002").cloned()
    });
    assert!(problem["hint"].as_str().unwrap().contains("chmod 600"), "{problem}");
    let told = one.run(&["keyring", "status"]).ok();
    assert!(told.contains("mode 644"), "{told}");
    one.stop();
    std::fs::remove_dir_all(one.dir.join("data")).unwrap();
    let config = one.dir.join("node.toml");
    let ran = conclave_tests::run_alone(&["server", "run", "--config", config.to_str().unwrap()]);
    assert!(ran.code == 2 && ran.err.contains("chmod 600"), "{}", ran.err);
    assert!(!one.dir.join("data/node-keys.json").exists());
}
