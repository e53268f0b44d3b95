//! Trusted certificates: path validation by cases, and the four sets.

use std::process::Command;

use conclave_tests::{Cluster, NOON, forge, has_program, run_alone};
use serde_json::Value;

struct Case<'a> {
    name: &'a str,
    certificates: &'a str,
    options: Vec<(&'a str, &'a str)>,
    expected: &'a str,
}

impl Case<'_> {
    fn parse(line: &str) -> Case<'_> {
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        let [name, source, certificates, options, expected] = parts[..] else {
            panic!("not a case: {line}")
        };
        assert!(
            source.starts_with("RFC") || source.starts_with("NIST") || source.starts_with("BR"),
            "{name}: its source"
        );
        let pair = |word| str::split_once(word, '=').unwrap_or((word, ""));
        let options = options.split_whitespace().map(pair).collect();
        Case { name, certificates, options, expected }
    }

    fn option(&self, key: &str) -> Option<&str> {
        self.options.iter().find(|(found, _)| *found == key).map(|(_, value)| *value)
    }

    /// What `trust verify` says: `ok` or a code.
    fn answer(&self, dir: &std::path::Path) -> (String, Value) {
        let forged = forge(self.certificates, self.option("crl"));
        let file = |name: &str, content: &str| {
            let path = dir.join(name);
            std::fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let days: i64 = self.option("at").map_or(0, |days| days.parse().unwrap());
        let at = i64::try_from(NOON).unwrap() + days * 86_400;
        let at = jiff::Timestamp::from_second(at).unwrap().to_string();
        let (chain, anchors) =
            (file("leaf.pem", &forged.leaf), file("anchors.pem", &forged.anchors));
        let intermediates = file("intermediates.pem", &forged.intermediates);
        let purpose = self.option("purpose").unwrap_or("server");
        let mut words = vec!["trust", "verify", &chain, "--anchors", &anchors];
        words.extend(["--intermediates", &intermediates, "--at", &at, "--purpose", purpose]);
        words.extend(["-o", "json"]);
        match self.option("name") {
            Some(name) => words.extend(["--name", name]),
            None if purpose == "server" => words.extend(["--name", "shop.example"]),
            None => {}
        }
        let crl = forged.crl.map(|crl| file("crl.pem", &crl));
        if let Some(crl) = &crl {
            words.extend(["--crl", crl]);
        }
        if self.option("path-only").is_some() {
            words.push("--path-only");
        }
        for (option, word) in [("profile", "--profile"), ("depth", "--depth")] {
            words.extend(self.option(option).map(|value| [word, value]).into_iter().flatten());
        }
        let ran = run_alone(&words);
        let verdict: Value = serde_json::from_str(&ran.out)
            .unwrap_or_else(|error| panic!("{}: {error}: {}{}", self.name, ran.out, ran.err));
        let is_valid = verdict["valid"].as_bool().unwrap();
        assert_eq!(ran.code, if is_valid { 0 } else { 8 }, "{}", self.name);
        let is_read = !["C001", "C002", "C007"].contains(&verdict["reason"].as_str().unwrap_or(""));
        if !is_valid && is_read {
            let (rule, at_fault) = (verdict["rule"].as_str(), verdict["certificate"].as_str());
            assert!(rule.is_some_and(|rule| !rule.is_empty()), "{}: {verdict}", self.name);
            assert!(at_fault.is_some(), "{}: {verdict}", self.name);
        }
        let answer = if is_valid { "ok" } else { verdict["reason"].as_str().unwrap() };
        (answer.to_owned(), verdict)
    }
}

#[test]
fn every_case_of_path_validation_is_answered_as_its_source_says() {
    let cases = include_str!("../fixtures/path_validation.txt");
    let lines = cases.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let cases: Vec<Case<'_>> = lines.map(Case::parse).collect();
    assert!(cases.len() >= 120, "{} cases", cases.len());
    let dir = tempfile::tempdir().unwrap();
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let (answer, verdict) = case.answer(dir.path());
            (answer != case.expected)
                .then(|| format!("{}: {answer}, not {}: {verdict}", case.name, case.expected))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn openssl_agrees_on_a_plain_chain() {
    if !has_program("openssl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (certificates, is_valid) in
        [("root; ca; leaf", true), ("root; ca sig=flipped; leaf", false)]
    {
        let forged = forge(certificates, None);
        let file = |name: &str, content: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let checked = Command::new("openssl")
            .args(["verify", "-x509_strict", "-attime", &NOON.to_string(), "-CAfile"])
            .arg(file("anchors.pem", &forged.anchors))
            .arg("-untrusted")
            .arg(file("intermediates.pem", &forged.intermediates))
            .arg(file("leaf.pem", &forged.leaf))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert_eq!(checked.status.success(), is_valid, "{certificates}: {said}");
    }
}

#[test]
fn hostile_graphs_end_in_time() {
    // Every authority has the same name and another key, and each may have issued each.
    let many = "ca cn=Same by=1; ".repeat(200);
    let certificates = format!("root; root cn=Same as=nothing; {many} leaf");
    let dir = tempfile::tempdir().unwrap();
    let line = format!("hostile | RFC 5280 §6.1 | {certificates} | | H009");
    let case = Case::parse(&line);
    let started = std::time::Instant::now();
    let (answer, verdict) = case.answer(dir.path());
    assert!(["H005", "H007", "H009"].contains(&answer.as_str()), "{verdict}");
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}

fn fingerprints(listed: &Value, set: &str) -> Vec<String> {
    let rows = listed.as_array().unwrap().iter().filter(|one| one["set"] == set);
    rows.map(|one| one["sha256"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn sets_are_listed_with_what_they_inherit_and_changed_one_by_one() {
    let cluster = Cluster::start(3);
    let [one, two, three] = &cluster.nodes[..] else { panic!("three nodes") };
    one.run(&["domain", "create", "shop.example"]).ok();
    one.run(&["--scope", "local", "domain", "create", "own.example"]).ok();
    let root = |name: &str| forge(&format!("root cn={name}; leaf"), None);
    let (cluster_root, domain_root, server_root) = (root("C"), root("D"), root("S"));
    let both = format!("{}{}", root("X").anchors, root("Y").anchors);
    let add = |node: &conclave_tests::Node, scope: &str, pem: &str| {
        let file = node.file("root.pem", pem.as_bytes());
        node.run(&["trust", "add", "--scope", scope, &file]).ok()
    };
    add(one, "cluster", &cluster_root.anchors);
    add(two, "domain:shop.example", &domain_root.anchors);
    add(one, "server", &server_root.anchors);
    add(one, "domain:own.example", &both);
    let list = |node: &conclave_tests::Node, scope: &str| {
        node.run(&["trust", "list", "--scope", scope, "-o", "json"]).json()
    };
    // Shared domain: its own, the cluster's, the built-in ones. On every node.
    let listed = list(three, "domain:shop.example");
    let count = |listed: &Value, set| fingerprints(listed, set).len();
    assert_eq!((count(&listed, "domain"), count(&listed, "cluster")), (1, 1), "{listed}");
    assert_eq!(count(&listed, "server"), 0);
    assert!(count(&listed, "builtin") > 100);
    let owned: Vec<_> =
        listed.as_array().unwrap().iter().filter(|one| one["own"] == true).collect();
    assert_eq!(owned.len(), 1, "only its own can be removed");
    assert_eq!(owned[0]["set"], "domain");
    // Local domain: its own, the node's, the built-in ones. On this node only.
    let listed = list(one, "domain:own.example");
    assert_eq!((count(&listed, "domain"), count(&listed, "server")), (2, 1), "{listed}");
    assert_eq!(count(&list(two, "server"), "server"), 0, "another node's set is its own");
    // The system: the node's, the cluster's, the built-in ones.
    let listed = list(one, "server");
    assert_eq!((count(&listed, "server"), count(&listed, "cluster")), (1, 1), "{listed}");
    let table = one.run(&["trust", "list", "--scope", "domain:own.example", "--all"]).ok();
    let head = table.lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(head, "SET ISSUED TO SERIAL FROM TILL FINGERPRINT");
    for set in ["domain", "server", "builtin"] {
        assert!(table.lines().any(|line| line.starts_with(set)), "{set}: {table}");
    }
    // Several at once, by the beginning of their fingerprints; inherited ones stay.
    let own = fingerprints(&list(one, "domain:own.example"), "domain");
    let words =
        ["trust", "remove", "--scope", "domain:own.example", "--yes", &own[0][..12], &own[1]];
    one.run(&words).ok();
    assert_eq!(count(&list(one, "domain:own.example"), "domain"), 0);
    let inherited = &fingerprints(&list(one, "domain:shop.example"), "cluster")[0];
    let refused = one.run(&[
        "trust",
        "remove",
        "--scope",
        "domain:shop.example",
        "--yes",
        inherited,
        "-o",
        "json",
    ]);
    assert_eq!((refused.problem()["code"].as_str(), refused.code), (Some("T001"), 3));
    let leaf = one.file("leaf.pem", cluster_root.leaf.as_bytes());
    let refused = one.run(&["trust", "add", "--scope", "cluster", &leaf, "-o", "json"]);
    assert_eq!((refused.problem()["code"].as_str(), refused.code), (Some("T002"), 8));
    // The answer names the set.
    let verify = |scope: &str, pem: &str| {
        let leaf = one.file("leaf.pem", pem.as_bytes());
        let at = jiff::Timestamp::from_second(i64::try_from(NOON).unwrap()).unwrap().to_string();
        one.run(&["trust", "verify", &leaf, "--scope", scope, "--at", &at, "-o", "json"])
    };
    let found: Value =
        serde_json::from_str(&verify("domain:shop.example", &cluster_root.leaf).ok()).unwrap();
    assert_eq!((&found["valid"], &found["set"]), (&true.into(), &"cluster".into()), "{found}");
    assert_eq!(verify("domain:shop.example", &server_root.leaf).code, 8);
    assert_eq!(verify("server", &server_root.leaf).code, 0);
}

#[test]
fn two_who_edit_one_set_at_once_lose_nothing() {
    let cluster = Cluster::start(3);
    let run = |node: &conclave_tests::Node, who: &str| {
        for number in 0..10 {
            let pem = forge(&format!("root cn={who}{number}; leaf"), None).anchors;
            let file = node.file("root.pem", pem.as_bytes());
            node.run(&["trust", "add", "--scope", "cluster", &file]).ok();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| run(&cluster.nodes[0], "a"));
        scope.spawn(|| run(&cluster.nodes[1], "b"));
    });
    let words = ["trust", "list", "--scope", "cluster", "--no-inherited", "-o", "json"];
    let listed = cluster.nodes[2].run(&words).json();
    assert_eq!(fingerprints(&listed, "cluster").len(), 20);
    // Who wants to be sure of what they saw says so, and is refused if it has changed.
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example"]).ok();
    let file = one.file("root.pem", forge("root; leaf", None).anchors.as_bytes());
    let words = ["trust", "add", "--scope", "domain:shop.example", &file, "--if-version", "1"];
    one.run(&words).ok();
    assert_eq!(one.run(&words).code, 4, "it is at version 2 now");
}
