//! A cluster that has lost its quorum is recovered on a survivor.

use std::{collections::BTreeMap, path::Path};

use conclave_tests::{Cluster, Node, Ran, run_alone, wait_for};
use serde_json::Value;

fn recover(node: &Node, words: &[&str]) -> Ran {
    let config = node.dir.join("node.toml");
    let fixed = ["cluster", "recover", "--config", config.to_str().unwrap(), "-o", "json"];
    run_alone(&[&fixed[..], words].concat())
}

fn plan(node: &Node) -> Value {
    recover(node, &["--dry-run"]).json()
}

fn wipe(node: &Node) {
    std::fs::remove_dir_all(node.dir.join("data")).unwrap();
}

/// Every file of the log, with its content.
fn log_files(node: &Node) -> BTreeMap<String, Vec<u8>> {
    let dir = node.dir.join("data/raft/segments");
    let read = |path: &Path| std::fs::read(path).unwrap();
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.display().to_string(), read(&path))).collect()
}

fn create(node: &Node, name: &str) {
    node.run(&["--timeout", "30s", "domain", "create", name]).ok();
    node.run(&["--timeout", "30s", "key", "generate", name]).ok();
}

fn domains(node: &Node) -> Vec<String> {
    let listed =
        node.run(&["--timeout", "30s", "domain", "list", "--scope", "shared", "-o", "json"]);
    let listed = listed.json();
    let name = |one: &Value| {
        assert!(one["credentials"][0]["key"].is_object() || one["name"] != "key.example", "{one}");
        one["name"].as_str().unwrap().to_owned()
    };
    listed.as_array().unwrap().iter().map(name).collect()
}

fn check_all_there(node: &Node, names: &[String]) {
    let found = domains(node);
    for name in names {
        assert!(found.contains(name), "{name} is lost on {}: {found:?}", node.name);
    }
}

/// The problem about a recovery in a status.
fn recovered_problem(node: &Node) -> Option<Value> {
    let status = node.status();
    let problems = status["problems"].as_array().unwrap();
    problems.iter().find(|problem| problem["code"] == "R016").cloned()
}

fn wait_for_turn(node: &Node) {
    wait_for("the keyring is turned", || {
        (node.status()["keyring"]["generation"].as_u64() == Some(2)).then_some(())
    });
}

fn join(member: &Node, node: &Node) {
    let made = member.run(&["join-token", "create", "-o", "json"]).json();
    let token = node.file("token", made["token"].as_str().unwrap().as_bytes());
    let address = member.quic.to_string();
    node.run(&["--timeout", "60s", "cluster", "join", &address, "--token-file", &token]).ok();
}

#[test]
fn one_of_three_decides_again_with_every_acknowledged_write_that_it_had() {
    let mut cluster = Cluster::start(3);
    let mut acknowledged = Vec::new();
    for number in 0..6 {
        let name = format!("d{number}.example");
        create(&cluster.nodes[number % 3], &name);
        acknowledged.push(name);
    }
    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    wipe(&cluster.nodes[2]);
    let lost = cluster.nodes[0].run(&["--timeout", "3s", "domain", "create", "lost.example"]);
    assert!([6, 10].contains(&lost.code), "it cannot decide: {}{}", lost.out, lost.err);
    let running = recover(&cluster.nodes[0], &["--yes"]);
    assert_eq!((running.code, &running.problem()["code"]), (4, &"R017".into()), "{}", running.err);

    cluster.nodes[0].kill();
    a_look_changes_nothing(&cluster.nodes[0]);
    let done = recover(&cluster.nodes[0], &["--yes"]).json();
    assert_eq!((&done["changed"], &done["dry_run"]), (&true.into(), &false.into()), "{done}");
    let again = recover(&cluster.nodes[0], &["--yes"]).json();
    assert_eq!(again["changed"], false, "{again}");

    cluster.nodes[0].start();
    let term = wait_for("it leads", || {
        let status = cluster.nodes[0].status();
        let leads = status["cluster"]["leader"] == "node-1";
        leads.then(|| status["cluster"]["term"].as_u64().unwrap())
    });
    assert!(term > done["term"].as_u64().unwrap(), "a new term");
    create(&cluster.nodes[0], "after.example");
    acknowledged.push("after.example".to_owned());
    check_all_there(&cluster.nodes[0], &acknowledged);
    wait_for_turn(&cluster.nodes[0]);
    let told = wait_for("the status speaks of it", || {
        recovered_problem(&cluster.nodes[0])
            .filter(|problem| problem["text"].as_str().unwrap().contains("must be wiped"))
    });
    let text = told["text"].as_str().unwrap();
    let from = format!("from index {}", done["last_index"]);
    assert!(text.contains(&from) && text.contains("node-2, node-3"), "{text}");

    a_former_member_is_refused(&mut cluster, term);
    new_members_make_it_whole(&mut cluster, &acknowledged);
}

fn a_look_changes_nothing(node: &Node) {
    let before = log_files(node);
    let planned = plan(node);
    let former: Vec<&str> = planned["former"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(former, ["node-2", "node-3"]);
    assert_eq!((&planned["node"], &planned["cluster"]), (&"node-1".into(), &"test".into()));
    let [last, committed, later] = ["last_index", "committed_index", "uncommitted_entries"]
        .map(|field| planned[field].as_u64().unwrap());
    assert!(last > 10 && committed + later == last, "{planned}");
    assert_eq!((&planned["uncommitted_kept"], &planned["dry_run"]), (&true.into(), &true.into()));
    assert_eq!(plan(node), planned, "the same again");
    let unsure = recover(node, &[]);
    assert!(unsure.code != 0 && unsure.err.contains("--yes"), "{}", unsure.err);
    assert!(log_files(node) == before, "nothing was written to the log");
    assert!(!node.dir.join("data/recovered.json").exists());
    let shown = run_alone(&[
        "cluster",
        "recover",
        "--dry-run",
        "--config",
        node.dir.join("node.toml").to_str().unwrap(),
    ]);
    let shown = shown.ok();
    for part in ["may be missing", "highest term and index", "node-3", "must be wiped"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

/// The other one was not wiped: it starts with all that it had, and changes nothing.
fn a_former_member_is_refused(cluster: &mut Cluster, term: u64) {
    cluster.nodes[1].start();
    wait_for("it is refused", || cluster.nodes[0].log().contains("refused a node").then_some(()));
    wait_for("it knows, and says what to do", || {
        let log = cluster.nodes[1].log();
        let is_told =
            log.contains("removed from the cluster") && log.contains("empty its data directory");
        is_told.then_some(())
    });
    // Some rounds of elections, as many as it takes to order these.
    for number in 0..5 {
        create(&cluster.nodes[0], &format!("calm{number}.example"));
    }
    let (own, former) = (cluster.nodes[0].status(), cluster.nodes[1].status());
    assert_eq!(own["cluster"]["term"].as_u64(), Some(term), "no election: {own}");
    assert_eq!(
        (&own["cluster"]["leader"], &own["cluster"]["voters"]),
        (&"node-1".into(), &1.into())
    );
    assert_eq!(former["cluster"]["health"], "no-quorum", "{former}");
    let shown = cluster.nodes[1].run(&["domain", "show", "calm0.example", "--stale"]);
    assert_eq!(shown.code, 3, "it gets nothing new: {}", shown.out);
    cluster.nodes[1].kill();
}

fn new_members_make_it_whole(cluster: &mut Cluster, acknowledged: &[String]) {
    for place in [1, 2] {
        if place == 1 {
            wipe(&cluster.nodes[1]);
        }
        cluster.nodes[place].start();
        join(&cluster.nodes[0], &cluster.nodes[place]);
    }
    for node in &cluster.nodes {
        check_all_there(node, acknowledged);
    }
    wait_for("three voters, and nothing is left to do", || {
        let status = cluster.nodes[2].status();
        let is_whole = status["cluster"]["voters"] == 3 && status["cluster"]["health"] == "healthy";
        is_whole.then_some(())
    });
    // One may fail again.
    cluster.nodes[0].kill();
    create(&cluster.nodes[1], "whole.example");
}

#[test]
fn of_two_survivors_the_one_with_the_higher_position_has_every_write() {
    let mut cluster = Cluster::start(5);
    let leader = cluster.leader();
    let mut others = (0..5).filter(|place| *place != leader);
    let (early, late) = (others.next().unwrap(), others.next().unwrap());
    create(&cluster.nodes[early], "both.example");
    cluster.nodes[early].kill();
    let mut acknowledged = vec!["both.example".to_owned()];
    for number in 0..5 {
        let name = format!("late{number}.example");
        create(&cluster.nodes[late], &name);
        acknowledged.push(name);
    }
    cluster.nodes.iter_mut().for_each(|node| node.kill());
    for place in (0..5).filter(|place| ![early, late].contains(place)) {
        wipe(&cluster.nodes[place]);
    }
    let position = |place: usize| {
        let plan = plan(&cluster.nodes[place]);
        (plan["last_term"].as_u64().unwrap(), plan["last_index"].as_u64().unwrap())
    };
    assert!(position(early) < position(late), "{:?} {:?}", position(early), position(late));
    let done = recover(&cluster.nodes[late], &["--yes"]).json();
    assert_eq!(done["former"].as_array().unwrap().len(), 4);
    cluster.nodes[late].start();
    check_all_there(&cluster.nodes[late], &acknowledged);
    wipe(&cluster.nodes[early]);
    cluster.nodes[early].start();
    join(&cluster.nodes[late], &cluster.nodes[early]);
    check_all_there(&cluster.nodes[early], &acknowledged);
}

#[test]
fn a_sealed_node_is_recovered_and_turns_the_keyring_when_it_is_unsealed() {
    let mut cluster = Cluster::start(2);
    create(&cluster.nodes[0], "key.example");
    cluster.nodes.iter_mut().for_each(|node| node.kill());
    let one = &mut cluster.nodes[0];
    recover(one, &["--yes"]).ok();
    let found = std::fs::read_dir(&one.dir).unwrap().map(|entry| entry.unwrap().path());
    let unlock = found.into_iter().find(|path| path.to_str().unwrap().ends_with("unlock.key"));
    let (unlock, away) = (unlock.unwrap(), one.dir.join("away"));
    std::fs::rename(&unlock, &away).unwrap();
    one.start();
    one.run(&["--timeout", "30s", "domain", "create", "sealed.example"]).ok();
    let told = wait_for("the status says that it is sealed", || recovered_problem(one));
    assert_eq!(told["severity"], "error", "{told}");
    assert!(told["text"].as_str().unwrap().contains("sealed"), "{told}");
    assert_eq!(one.status()["keyring"]["generation"], 1);
    one.stop();
    std::fs::rename(&away, &unlock).unwrap();
    one.start();
    wait_for_turn(one);
    check_all_there(one, &["key.example".to_owned(), "sealed.example".to_owned()]);
}
