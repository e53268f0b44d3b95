//! Private keys are nowhere in the clear, and nobody gets in without proof.

use conclave_tests::{Cluster, Node, Pair, probe, wait_for};

/// Every file of a node, its logs and what it said.
fn files(node: &Node) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut dirs = vec![node.dir.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.is_file() && !path.ends_with("canary.key") {
                found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
            }
        }
    }
    found
}

#[test]
fn a_canary_key_is_found_in_no_file_no_log_line_and_no_answer() {
    let cluster = Cluster::with_level(3, "trace");
    cluster.found();
    let port = cluster.listen();
    let one = &cluster.nodes[0];
    let pair = Pair::make("canary.example");
    let certificate = one.file("canary.pem", pair.bundle().as_bytes());
    let key = one.file("canary.key", pair.key.as_bytes());
    let mut answers = Vec::new();
    for words in [
        &["domain", "create", "canary.example", "--pki", "enabled", "-o", "json"][..],
        &["cert", "import", "canary.example", &certificate, "--key", &key, "-o", "json"],
        &["domain", "show", "canary.example", "-o", "json"],
        &["key", "show", "canary.example", "-o", "json"],
        &["cert", "export", "canary.example", "--chain"],
        &["domain", "list", "-o", "json"],
        &["status", "-o", "json"],
    ] {
        let ran = one.run(words);
        answers.push((words.join(" "), format!("{}{}", ran.out, ran.err).into_bytes()));
    }
    for node in &cluster.nodes {
        probe(node.listener(port), "canary.example").unwrap();
    }
    // The secret number itself, wherever DER or PKCS#1 would put it, and texts of it.
    let secret = &pair.key_der[36..68];
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let base64: Vec<u8> = pair.key.lines().nth(1).unwrap().as_bytes()[8..56].to_vec();
    let needles = [
        secret.to_vec(),
        hex.clone().into_bytes(),
        hex.to_uppercase().into_bytes(),
        base64,
        format!("{secret:?}").trim_matches(['[', ']']).as_bytes().to_vec(),
    ];
    let holds = |content: &[u8]| {
        needles.iter().any(|needle| content.windows(needle.len()).any(|part| part == needle))
    };
    assert!(holds(pair.key.as_bytes()) && holds(&pair.key_der), "the search would find it");
    for (name, content) in cluster.nodes.iter().flat_map(files).chain(answers) {
        assert!(!holds(&content), "the canary key is in {name}");
    }
}

#[test]
fn a_sealed_node_votes_and_replicates_but_serves_no_key() {
    let mut cluster = Cluster::start(3);
    let port = cluster.listen();
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
    one.run(&["key", "generate", "shop.example"]).ok();
    one.run(&["cert", "self-sign", "shop.example"]).ok();
    let (unlock, away) =
        (cluster.nodes[2].dir.join("node-3.unlock.key"), cluster.nodes[2].dir.join("away"));
    assert!(unlock.exists(), "made outside the data directory");
    cluster.nodes[2].kill();
    std::fs::rename(&unlock, &away).unwrap();
    cluster.nodes[2].start();
    assert!(cluster.nodes[2].said().contains("SEALED"));
    cluster.nodes[1].kill();
    // Two of three voters are a quorum only if the sealed one votes.
    let done = cluster.nodes[0]
        .run(&["--timeout", "30s", "domain", "create", "more.example", "-o", "json"])
        .json();
    assert!(done["served"]["missing"].to_string().contains("node-3"), "{done}");
    assert!(probe(cluster.nodes[2].listener(port), "shop.example").is_err());
    // The key test says where the key cannot be used, and why.
    let tested = cluster.nodes[0].run(&["key", "test", "shop.example", "-o", "json"]);
    assert_eq!(tested.code, 9, "{}", tested.err);
    let tested: serde_json::Value = serde_json::from_str(&tested.out).unwrap();
    let tested = &tested["items"];
    let said = |place: usize| (tested[place]["ok"].as_bool().unwrap(), &tested[place]["message"]);
    assert_eq!(said(0), (true, &"Verification String is OK".into()));
    assert!(!said(1).0 && said(1).1.as_str().unwrap().contains("does not answer"), "{tested}");
    assert!(!said(2).0 && said(2).1.as_str().unwrap().contains("sealed"), "{tested}");
    let checked = cluster.nodes[0].run(&["domain", "check", "shop.example"]);
    assert!(checked.code == 9 && checked.out.contains("x   node-3: "), "{}", checked.out);
    // It has another node seal for it.
    let generated = cluster.nodes[2].run(&["--timeout", "30s", "key", "generate", "more.example"]);
    generated.ok();
    cluster.nodes[2].kill();
    std::fs::rename(&away, &unlock).unwrap();
    cluster.nodes[2].start();
    wait_for("it serves the key again", || {
        probe(cluster.nodes[2].listener(port), "shop.example").ok()
    });
}

#[test]
fn a_copied_node_cannot_join_beside_the_original() {
    let mut cluster = Cluster::unfounded(3);
    cluster.nodes[1].stop();
    cluster.nodes[2].stop();
    let (from, to) = (&cluster.nodes[1].dir, &cluster.nodes[2].dir);
    std::fs::remove_dir_all(to.join("data")).unwrap();
    let copied = std::process::Command::new("cp").arg("-a").arg(from.join("data")).arg(to).status();
    assert!(copied.unwrap().success());
    std::fs::copy(from.join("node-2.unlock.key"), to.join("node-3.unlock.key")).unwrap();
    cluster.nodes[1].start();
    cluster.nodes[2].start();
    let [one, two, three] = &cluster.nodes[..] else { unreachable!() };
    one.run(&["cluster", "init", "--name", "test"]).ok();
    let member = one.quic.to_string();
    let join = |node: &Node| {
        let token = cluster.join_token(node);
        node.run(&["cluster", "join", &member, "--token-file", &token, "-o", "json"])
    };
    join(two).ok();
    let refused = join(three);
    assert_eq!((refused.code, refused.problem()["code"].as_str()), (4, Some("R007")));
    assert!(
        refused.err.contains("node-2 is a member with the keys of this node"),
        "{}",
        refused.err
    );
}

#[test]
fn only_a_fresh_token_of_this_cluster_lets_a_node_join_once() {
    let cluster = Cluster::unfounded(3);
    let [one, two, three] = &cluster.nodes[..] else { unreachable!() };
    one.run(&["cluster", "init", "--name", "test"]).ok();
    let again = one.run(&["cluster", "init", "--name", "again", "-o", "json"]);
    assert_eq!((again.code, again.problem()["code"].as_str()), (4, Some("R007")));
    let member = one.quic.to_string();
    let join = |node: &Node, token: &str| {
        let file = node.file("tried", token.as_bytes());
        let ran = node.run(&["cluster", "join", &member, "--token-file", &file, "-o", "json"]);
        (
            ran.code,
            if ran.code == 0 {
                String::new()
            } else {
                ran.problem()["code"].as_str().unwrap().to_owned()
            },
        )
    };
    let token = std::fs::read_to_string(cluster.join_token(two)).unwrap();
    assert_eq!(join(two, "hello"), (5, "J001".to_owned()));
    let fields: Vec<&str> = token.split('.').collect();
    let wrong_secret = format!("{}.{}.{}", fields[0], "00".repeat(32), fields[2]);
    assert_eq!(join(two, &wrong_secret), (5, "J002".to_owned()));
    let foreign = format!("{}.{}.{}", fields[0], fields[1], "11".repeat(32));
    assert_eq!(join(two, &foreign), (5, "J001".to_owned()));
    assert_eq!(join(two, &token), (0, String::new()));
    assert_eq!(join(three, &token), (5, "J002".to_owned()), "used");
    let short = one.run(&["join-token", "create", "--expires-in", "1s", "-o", "json"]).json();
    let short = short["token"].as_str().unwrap().to_owned();
    let made = std::time::Instant::now();
    wait_for("the token's second is over", || (made.elapsed().as_millis() > 1_100).then_some(()));
    assert_eq!(join(three, &short), (5, "J002".to_owned()), "expired");
}

#[test]
fn a_command_that_holds_a_key_leaves_no_core() {
    use std::process::{Command, Stdio};
    let mut child = Command::new(conclave_tests::binary("conclave"))
        .args(["key", "import", "shop.example", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let limits = format!("/proc/{}/limits", child.id());
    wait_for("a limit of cores", || {
        let limits = std::fs::read_to_string(&limits).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size"))?;
        let words: Vec<&str> = core.split_whitespace().collect();
        (words[4..6] == ["0", "0"]).then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
}
