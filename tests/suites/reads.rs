//! Reads: where an answer stands in the order of changes, pages, chosen members, and compression.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    os::unix::net::UnixStream,
};

use conclave_tests::{Cluster, Node};
use serde_json::Value;

struct Answer {
    status: u16,
    head: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn number(&self, name: &str) -> u64 {
        self.head[name].parse().unwrap()
    }
}

fn ask(node: &Node, method: &str, path: &str, head: &str, body: &str) -> Answer {
    let mut stream = UnixStream::connect(node.dir.join("admin.sock")).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} /v1/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\
         {head}\r\n{body}"
    )
    .unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let head = lines.map(|line| line.split_once(": ").unwrap());
    let head = head.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Answer { status, head, body: bytes[end + 4..].to_vec() }
}

fn get(node: &Node, path: &str) -> Answer {
    ask(node, "GET", path, "", "")
}

#[test]
fn what_was_written_at_one_node_is_read_at_another() {
    let mut cluster = Cluster::start(3);
    let leader = format!("node-{}", cluster.leader() + 1);
    for number in 0..20 {
        let (writer, reader) = (&cluster.nodes[number % 3], &cluster.nodes[(number + 1) % 3]);
        let body = format!("{{\"name\":\"d{number}.example\"}}");
        let made = ask(writer, "POST", "domains?wait=committed", "", &body);
        assert_eq!(made.status, 200);
        let index = made.number("conclave-index");
        assert!(index >= made.json()["index"].as_u64().unwrap());
        assert_eq!(made.head["conclave-node"], format!("node-{}", number % 3 + 1));
        assert_eq!(made.head["conclave-leader"], leader);
        // Without asking the leader, and yet not older than the change.
        let head = format!("Conclave-Min-Index: {index}\r\n");
        let path = format!("domains/d{number}.example?consistency=local");
        let read = ask(reader, "GET", &path, &head, "");
        assert_eq!(read.status, 200, "{number}: {}", String::from_utf8_lossy(&read.body));
        assert!(read.number("conclave-index") >= index);
    }
    let late = ask(
        &cluster.nodes[0],
        "GET",
        "domains?timeout_ms=200",
        "Conclave-Min-Index: 99999999\r\n",
        "",
    );
    assert_eq!(
        (late.status, late.json()["code"].as_str().unwrap().to_owned()),
        (503, "R005".to_owned())
    );
    let wrong = ask(&cluster.nodes[0], "GET", "domains", "Conclave-Min-Index: soon\r\n", "");
    assert_eq!(wrong.status, 400);
    // What is local has an order of its own.
    let local = get(&cluster.nodes[0], "domains?scope=local");
    assert!(local.status == 200 && !local.head.contains_key("conclave-index"), "{:?}", local.head);
    // Without a leader the header says so, and the rest is answered.
    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    conclave_tests::wait_for("no leader", || {
        let alone = get(&cluster.nodes[0], "domains?consistency=local");
        (alone.status == 200 && !alone.head.contains_key("conclave-leader")).then_some(())
    });
}

#[test]
fn lists_come_in_pages_and_with_the_wanted_members_alone() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let password = one.file("password", b"correct horse battery");
    for number in 0..7 {
        one.run(&["domain", "create", &format!("d{number}.example")]).ok();
        one.run(&["token", "create", "reader", "--role", "viewer"]).ok();
        let user = format!("u{number}");
        let words = ["user", "create", &user, "--role", "viewer", "--password-file", &password];
        one.run(&words).ok();
        one.run(&["join-token", "create"]).ok();
    }
    for list in ["domains", "tokens", "users", "join-tokens", "audit", "trust/builtin"] {
        let whole = get(one, &format!("{list}?limit=1000")).json();
        assert_eq!(whole["next"], Value::Null, "{list}");
        let (mut items, mut after) = (Vec::new(), String::new());
        loop {
            let page = get(one, &format!("{list}?limit=3{after}")).json();
            let got = page["items"].as_array().unwrap();
            assert!((1..=3).contains(&got.len()), "{list}: {page}");
            items.extend(got.clone());
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        assert_eq!(Value::from(items), whole["items"], "{list}");
    }
    let some = get(one, "domains?fields=name,pki&limit=2").json();
    for item in some["items"].as_array().unwrap() {
        let members: Vec<&str> = item.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["name", "pki"], "{item}");
    }
    assert_eq!((&some["kind"], &some["next"]), (&"List".into(), &"d1.example".into()));
    let object = get(one, "status?fields=nodes").json();
    assert_eq!(object.as_object().unwrap().len(), 1, "{object}");
    for (path, told) in [
        ("domains?fields=nmae", "\"nmae\" is not a member"),
        ("domains?fields=", "is not a member"),
        ("openapi.json?fields=paths", "fields is for reads"),
    ] {
        let wrong = get(one, path);
        let title = wrong.json()["title"].as_str().unwrap().to_owned();
        assert!(wrong.status == 400 && title.contains(told), "{path}: {title}");
    }
    let wrong = ask(one, "POST", "domains?fields=index", "", "{\"name\":\"x.example\"}");
    assert_eq!(wrong.status, 400);
    // What is local has an order of its own.
    let local = get(&cluster.nodes[0], "domains?scope=local");
    assert!(local.status == 200 && !local.head.contains_key("conclave-index"), "{:?}", local.head);
    assert_eq!(get(one, "domains/x.example").status, 404, "refused before it was done");
}

#[test]
fn long_reads_are_compressed_and_secrets_never() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let gzip = "Accept-Encoding: gzip\r\n";
    let plain = get(one, "trust/builtin");
    let small = ask(one, "GET", "trust/builtin", gzip, "");
    assert_eq!(small.head["content-encoding"], "gzip");
    assert_eq!(small.head["cache-control"], "no-store");
    assert!(
        small.body.len() * 10 < plain.body.len() * 7,
        "{} {}",
        small.body.len(),
        plain.body.len()
    );
    // An answer to a change may hold a secret beside words of the caller.
    let names: Vec<String> =
        (0..60).map(|number| format!("\"www{number}.shop.example\"")).collect();
    let body = format!("{{\"name\":\"shop.example\",\"aliases\":[{}]}}", names.join(","));
    assert_eq!(ask(one, "POST", "domains", "", &body).status, 200);
    one.run(&["key", "generate", "shop.example"]).ok();
    let made = ask(one, "POST", "domains/shop.example/csr", gzip, "");
    assert!(made.status == 200 && made.body.len() > 1_024, "{}", made.body.len());
    assert!(!made.head.contains_key("content-encoding"), "{:?}", made.head);
    assert!(!plain.head.contains_key("content-encoding"));
}
