//! Events: one who follows what changes misses nothing, at whatever node.

use std::{
    cell::RefCell,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use conclave_tests::{Cluster, Node, binary, wait_for};
use serde_json::Value;

/// A process that follows, and what it has written.
struct Follower {
    process: Child,
    lines: Receiver<String>,
    /// Events that were read and not asked for.
    passed: RefCell<Vec<Value>>,
}

impl Follower {
    fn start(nodes: &[&Node], words: &[&str]) -> Follower {
        let sockets =
            nodes.iter().map(|node| format!("unix:{}", node.dir.join("admin.sock").display()));
        let address = sockets.collect::<Vec<_>>().join(",");
        Follower::at(&address, words)
    }

    fn at(address: &str, words: &[&str]) -> Follower {
        let mut command = Command::new(binary("conclave"));
        command.args(["--address", address, "events", "-o", "jsonl"]).args(words);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Follower { process, lines, passed: RefCell::default() }
    }

    /// The next event that `is_wanted` takes.
    fn next(&self, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).expect("an event in time");
            let event: Value = serde_json::from_str(&line).unwrap();
            if is_wanted(&event) {
                return event;
            }
            self.passed.borrow_mut().push(event);
        }
    }

    /// An event that `is_wanted` takes, whether it has passed already or comes.
    fn find(&self, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let passed = self.passed.borrow().iter().find(|event| is_wanted(event)).cloned();
        passed.unwrap_or_else(|| self.next(is_wanted))
    }

    fn stop(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Its exit code and what it said last.
    fn end(self) -> (i32, String) {
        let output = self.process.wait_with_output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

fn is(event: &str) -> impl Fn(&Value) -> bool {
    move |one: &Value| one["event"] == event
}

#[test]
fn a_follower_misses_nothing_when_its_node_dies() {
    let mut cluster = Cluster::start(3);
    let follower = {
        let nodes: Vec<&Node> = cluster.nodes.iter().collect();
        Follower::start(&nodes, &[])
    };
    // A stream begins with who leads, and how each node is.
    let leader = follower.next(is("leader.now"));
    assert!(leader["object"].as_str().unwrap().starts_with("node-"), "{leader}");
    let ready = follower.next(is("node.now"));
    assert_eq!(ready["differences"][0]["after"], "ready", "{ready}");
    let create = |cluster: &Cluster, number: u32| {
        let name = format!("d{number}.example");
        cluster.nodes[2].run(&["domain", "create", &name, "--reason", "so"]).ok();
    };
    (0..5).for_each(|number| create(&cluster, number));
    let first = follower.next(is("domain.create"));
    assert_eq!((&first["object"], &first["reason"]), (&"d0.example".into(), &"so".into()));
    assert!(first["who"].as_str().unwrap().starts_with("uid "), "{first}");
    // The follower asked the first node of its list.
    cluster.nodes[0].kill();
    (5..10).for_each(|number| create(&cluster, number));
    for number in 1..10 {
        let event = follower.next(is("domain.create"));
        assert_eq!(event["object"], format!("d{number}.example"), "in order, each once");
    }
    let gone = follower.find(|one| {
        let (event, object, now) = (&one["event"], &one["object"], &one["differences"][0]["after"]);
        event == "node.now" && object == "node-1" && now == "unreachable"
    });
    assert_eq!(gone["differences"][0]["before"], "ready", "{gone}");
    // A drain and its end are each told, to one that waits.
    for (word, state) in [("drain", "draining"), ("resume", "ready")] {
        cluster.nodes[1].run(&["node", word, "node-3"]).ok();
        follower.next(|one| {
            one["event"] == "node.now"
                && one["object"] == "node-3"
                && one["differences"][0]["after"] == state
        });
    }
    // Any position goes on at any node.
    let position = first["position"].as_str().unwrap();
    let words = ["events", "--after", position, "--kind", "domain", "--count", "9", "-o", "jsonl"];
    let (two, three) = (cluster.nodes[1].run(&words).ok(), cluster.nodes[2].run(&words).ok());
    assert_eq!(two, three);
    follower.stop();
    assert_eq!(two.lines().count(), 9, "{two}");
    assert!(two.contains("d9.example") && !two.contains("d0.example"), "{two}");
}

/// One who hears nothing of what it asks for knows all the same where it is.
#[test]
fn a_quiet_follower_goes_on_from_where_it_was() {
    let position = |line: &str| {
        let (index, sequence) = line.strip_prefix("id: ")?.split_once('.')?;
        Some((index.parse::<u64>().unwrap(), sequence.parse::<u64>().unwrap()))
    };
    let mut cluster = Cluster::start(3);
    let first = cluster.nodes[0].run(&["domain", "create", "first.example", "-o", "json"]).json();
    let follower = {
        let nodes: Vec<&Node> = cluster.nodes.iter().collect();
        Follower::start(&nodes, &["--kind", "leader,tls"])
    };
    follower.next(is("leader.now"));
    // It follows, and was told no event with a position. A change while no node tells it anything:
    cluster.nodes[0].kill();
    cluster.nodes[2].run(&["tls", "set", "--ttl", "1h"]).ok();
    follower.next(is("tls.set"));
    follower.stop();
    // The node tells the position when it begins, and after some silence.
    let mut stream = UnixStream::connect(cluster.nodes[1].dir.join("admin.sock")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(b"GET /v1/events?kind=trust HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let mut positions = lines.filter_map(|line| position(&line));
    let begin = positions.next().unwrap();
    let made = cluster.nodes[2].run(&["domain", "create", "shop.example", "-o", "json"]).json();
    let then = positions.find(|(index, _)| *index >= made["index"].as_u64().unwrap()).unwrap();
    assert!(then.1 > begin.1, "{begin:?} {then:?}");
    // A position never comes before an event that it is behind, however much there is to tell.
    let mut stream = UnixStream::connect(cluster.nodes[1].dir.join("admin.sock")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let first = first["index"].as_u64().unwrap();
    write!(stream, "GET /v1/events?after={first} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let told = lines.take_while(|line| !line.contains("shop.example")).collect::<Vec<_>>();
    let positions: Vec<(u64, u64)> = told.iter().filter_map(|line| position(line)).collect();
    assert_eq!(positions[0].0, first, "{told:?}");
    assert!(positions.is_sorted_by(|one, next| one.1 < next.1), "{told:?}");
    assert!(told.iter().any(|line| line.contains("tls.set")), "{told:?}");
    assert!(positions.last().unwrap().1 <= then.1, "{told:?}");
}

#[test]
fn what_comes_after_a_change_is_told_behind_its_index() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let made = one.run(&["domain", "create", "shop.example", "-o", "json"]).json();
    let index = made["index"].to_string();
    one.run(&["domain", "set", "shop.example", "--pki", "enabled"]).ok();
    one.run(&["tls", "set", "--ttl", "1h"]).ok();
    let told = one.run(&[
        "events",
        "--after",
        &index,
        "--kind",
        "domain,tls",
        "--count",
        "2",
        "-o",
        "jsonl",
    ]);
    let told: Vec<Value> =
        told.ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&told[0]["event"], &told[1]["event"]), (&"domain.set".into(), &"tls.set".into()));
    assert_eq!(told[0]["differences"][0]["before"], "test");
    // Behind what never was, or is of another history, nothing is made up.
    for (after, code, exit) in [
        (format!("{index}.9999"), "X013", 4),
        ("1.3".to_owned(), "X013", 4),
        ("nowhere".to_owned(), "X004", 2),
        ("99999999".to_owned(), "R005", 6),
    ] {
        let ran = one.run(&["events", "--after", &after, "-o", "json", "--timeout", "1s"]);
        assert_eq!((ran.problem()["code"].as_str().unwrap(), ran.code), (code, exit), "{after}");
    }
    // Nothing about those who log in is told here.
    one.run(&["token", "create", "reader", "--role", "viewer"]).ok();
    one.run(&["domain", "create", "last.example"]).ok();
    let follower = Follower::start(&[one], &["--after", &index]);
    let mut seen = Vec::new();
    while !seen.contains(&"domain.create".to_owned()) {
        seen.push(follower.next(|_| true)["event"].as_str().unwrap().to_owned());
    }
    follower.stop();
    assert!(!seen.iter().any(|event| event.starts_with("token.")), "{seen:?}");
}

/// Follows with a token that is limited to `shop.example`. Returns its id too.
fn follow_shop(node: &Node, words: &[&str]) -> (Follower, String) {
    let create =
        ["token", "create", "watch", "--role", "viewer", "--domain", "shop.example", "-o", "json"];
    let made = node.run(&create).json();
    let file = node.file("watch.token", made["token"].as_str().unwrap().as_bytes());
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let said = node.said();
    let address = said.split_whitespace().find(|word| word.starts_with("https://")).unwrap();
    let follower = Follower::at(address, &[words, &["--token-file", &file]].concat());
    (follower, made["id"].as_str().unwrap().to_owned())
}

#[test]
fn a_limited_follower_sees_its_domain_and_ends_with_its_token() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example"]).ok();
    let (follower, id) = follow_shop(one, &[]);
    // Wait until it follows: then an event of another domain would come first.
    wait_for("the follower", || {
        one.run(&["domain", "create", "bank.example", "--if-missing"]).ok();
        one.run(&["domain", "set", "shop.example", "--pki", "enabled"]).ok();
        one.run(&["domain", "set", "shop.example", "--pki", "test"]).ok();
        follower.lines.recv_timeout(Duration::from_millis(100)).ok().inspect(|line| {
            assert!(line.contains("shop.example"), "{line}");
        })
    });
    one.run(&["domain", "delete", "bank.example", "--yes"]).ok();
    // A domain that comes and goes by its name: the other name is none of its business, and neither
    // is who did it.
    for (from, to) in [("shop.example", "secret.example"), ("secret.example", "shop.example")] {
        one.run(&["domain", "rename", from, to, "--reason", "merger"]).ok();
        let renamed = follower.next(is("domain.rename"));
        assert_eq!(renamed["object"], "shop.example");
        let text = renamed.to_string();
        assert!(!text.contains("secret") && !text.contains("merger"), "{text}");
        assert!(!text.contains("uid"), "{text}");
    }
    one.run(&["domain", "delete", "shop.example", "--yes"]).ok();
    let last = follower.next(|event| {
        assert_eq!(event["object"], "shop.example");
        event["event"] == "domain.delete"
    });
    assert!(last["position"].is_string(), "{last}");
    let revoked = Instant::now();
    one.run(&["token", "revoke", &id, "--yes"]).ok();
    let (code, said) = follower.end();
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("X003"), "{said}");
    assert!(revoked.elapsed() < Duration::from_secs(10), "{:?}", revoked.elapsed());
}

#[test]
fn a_limited_follower_sees_the_accounts_of_its_domain_alone() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example", "--alias", "mail.shop.example"]).ok();
    one.run(&["domain", "create", "bank.example"]).ok();
    let (follower, _) = follow_shop(one, &["--kind", "smime,account", "--after", "1"]);
    let pass = one.file("pass", b"correct horse battery");
    let key = ["--passphrase-file", pass.as_str()];
    for (domain, email) in
        [("bank.example", "bob@bank.example"), ("shop.example", "ann@mail.shop.example")]
    {
        one.run(&["smime", "self-sign", domain]).ok();
        one.run(&["account", "create", email]).ok();
        one.run(&[&["account", "key", "generate", email][..], &key].concat()).ok();
        one.run(&["account", "cert", "issue", email]).ok();
        one.run(&["account", "delete", email, "--yes"]).ok();
    }
    let expected = [
        ("smime", "smime.set"),
        ("account", "account.create"),
        ("account", "account_key.set"),
        ("account", "account_certificate.set"),
        ("account", "account.delete"),
    ];
    for (kind, event) in expected {
        // Everything of the other domain came before, and is not told.
        let told = follower.next(|_| true);
        assert_eq!((&told["kind"], &told["event"]), (&kind.into(), &event.into()), "{told}");
        let is_of_shop = told["object"].as_str().unwrap().ends_with("shop.example");
        assert!(is_of_shop, "{told}");
    }
    follower.stop();
}
