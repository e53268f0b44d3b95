//! The admin API over HTTPS, and the public pages, against strangers and revoked tokens.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use conclave_tests::{Cluster, DEADLINE, Node, binary, wait_for};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::Value;

/// Longest life of a connection without a token, see `node/admin/src/http/limits.rs`.
const GUEST_LIFE: Duration = Duration::from_secs(10);
/// More connections than any listener of HTTP has ever taken.
const CROWD: usize = 520;
/// Idle connections of a real flood.
const FLOOD: u64 = 10_000;
/// Memory by which a node may grow in it.
const FLOOD_MIB_MAX: u64 = 64;

fn url(node: &Node) -> String {
    let said = node.said();
    said.split_whitespace().find(|word| word.starts_with("https://")).unwrap().to_owned()
}

fn https(node: &Node) -> SocketAddr {
    url(node).trim_start_matches("https://").parse().unwrap()
}

fn public(node: &Node) -> SocketAddr {
    let said = node.said();
    said.split("public   http://").nth(1).unwrap().split('/').next().unwrap().parse().unwrap()
}

/// A command over HTTPS: its exit code, and the code of its problem.
fn run(node: &Node, token: &str, words: &[&str]) -> (i32, Value) {
    let file = node.file("access", token.as_bytes());
    let output = std::process::Command::new(binary("conclave"))
        .args(["--address", &url(node), "--token-file", &file, "-o", "json", "--timeout", "3s"])
        .args(words)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = output.status.code().unwrap();
    // Warnings are lines before it.
    let problem = told.trim().lines().last().map_or(Value::Null, |last| {
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{words:?}: {error}: {told}"))
    });
    (code, problem["code"].clone())
}

#[test]
fn a_revoked_token_changes_and_drains_nothing_on_a_node_that_is_cut_off() {
    let mut cluster = Cluster::start(3);
    let made = cluster.nodes[0]
        .run(&["token", "create", "deploy", "--role", "admin,security", "-o", "json"])
        .json();
    let (token, id) = (made["token"].as_str().unwrap(), made["id"].as_str().unwrap());
    assert_eq!(run(&cluster.nodes[2], token, &["domain", "create", "shop.example"]).0, 0);
    // Node 3 never hears of the revocation, and is alone then.
    cluster.nodes[2].kill();
    cluster.nodes[0].run(&["token", "revoke", id, "--yes"]).ok();
    cluster.nodes[0].kill();
    cluster.nodes[1].kill();
    cluster.nodes[2].start();
    let three = &cluster.nodes[2];
    let pair = conclave_tests::Pair::make("mine.example");
    let (bundle, _) = three.pair_files(&pair);
    for words in [
        &["node", "drain", "node-3"][..],
        &["node", "resume", "node-3"],
        &["domain", "create", "mine.example", "--scope", "local"],
        &["domain", "alias", "node-3.main", "--add", "mine.example"],
        &["trust", "add", &bundle, "--scope", "server"],
    ] {
        assert_eq!(run(three, token, words), (6, "R003".into()), "{words:?}");
    }
    let list = ["domain", "list", "--scope", "local", "--stale", "-o", "name"];
    let local = three.run(&list).ok();
    assert_eq!(local.trim(), "node-3.main");
    let drained = three.ask("GET", "nodes/node-3/drain", "");
    assert_eq!(drained.1["state"], "serving", "{drained:?}");
    // Who may open the socket needs no cluster for what is this node's own.
    three.run(&["domain", "create", "mine.example", "--scope", "local"]).ok();
    three.run(&["node", "drain", "node-3", "--deadline", "1s"]).ok();
}

#[test]
fn a_crowd_without_a_token_locks_out_nobody() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let made =
        one.run(&["token", "create", "deploy", "--role", "admin,security", "-o", "json"]).json();
    let token = made["token"].as_str().unwrap();
    let crowd = |to: SocketAddr| -> Vec<TcpStream> {
        (0..CROWD).map(|_| TcpStream::connect(to).unwrap()).collect()
    };
    let (_admin, _public) = (crowd(https(one)), crowd(public(one)));
    assert_eq!(run(one, token, &["domain", "list"]).0, 0);
    let mut stream = TcpStream::connect(public(one)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(b"GET /certificates/none.example HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
}

#[test]
fn ten_thousand_idle_connections_cost_little_and_lock_out_nobody() {
    let resource = rustix::process::Resource::Nofile;
    let mut limit = rustix::process::getrlimit(resource);
    limit.current = limit.maximum;
    rustix::process::setrlimit(resource, limit).unwrap();
    // Other tests of this process need descriptors too.
    let room = limit.maximum.unwrap_or(u64::MAX).saturating_sub(2_000);
    if room < FLOOD {
        assert!(std::env::var_os("CONCLAVE_TEST_ALL").is_none(), "ulimit -Hn: {limit:?}");
        println!("SKIPPED: at most {:?} open files are allowed here: ulimit -Hn", limit.maximum);
        return;
    }
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let made = one.run(&["token", "create", "reader", "--role", "viewer", "-o", "json"]).json();
    let token = made["token"].as_str().unwrap();
    let descriptors =
        || std::fs::read_dir(format!("/proc/{}/fd", one.process_id())).unwrap().count();
    let (mib, before) = (one.resident_mib(), descriptors());
    let begun = Instant::now();
    let _flood: Vec<TcpStream> =
        (0..FLOOD).map(|_| TcpStream::connect(https(one)).unwrap()).collect();
    let took = begun.elapsed();
    assert_eq!(run(one, token, &["domain", "list"]).0, 0);
    // At most what one address and the listener have places for, whatever waits at the door.
    let grown = one.resident_mib().saturating_sub(mib);
    let open = descriptors().saturating_sub(before);
    println!("{FLOOD} connections in {took:?}: {grown} MiB and {open} descriptors more");
    assert!(grown < FLOOD_MIB_MAX, "{grown} MiB more");
    assert!(open < 1_000, "{open} descriptors more");
}

fn tls(to: SocketAddr) -> StreamOwned<ClientConnection, TcpStream> {
    let tcp = TcpStream::connect(to).unwrap();
    tcp.set_read_timeout(Some(DEADLINE)).unwrap();
    let provider = conclave_tls::ring_provider();
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(conclave_tls::any_certificate(provider))
        .with_no_client_auth();
    let name = "node-1".try_into().unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), tcp)
}

#[test]
fn a_connection_ends_with_its_first_refusal_or_soon() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    for request in ["GET /v1/status", "GET /nowhere", "DELETE /v1/domains/shop.example"] {
        let mut stream = tls(https(one));
        let head = "HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer cvt_no";
        stream.write_all(format!("{request} {head}\r\n\r\n").as_bytes()).unwrap();
        let mut answer = Vec::new();
        // The end is what counts, however it is told.
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap().to_lowercase();
        assert!(answer.starts_with("http/1.1 40"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        assert!(answer.contains("cache-control: no-store"), "{answer}");
    }
    assert!(one.log().contains("api.refused"), "{}", one.log());
    // One that asks for nothing, and one that never ends its request.
    let begun = Instant::now();
    let mut silent = TcpStream::connect(https(one)).unwrap();
    silent.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut slow = tls(https(one));
    slow.write_all(b"POST /v1/domains HTTP/1.1\r\nHost: x\r\nX: ").unwrap();
    let mut rest = Vec::new();
    let _ = silent.read_to_end(&mut rest);
    let _ = slow.read_to_end(&mut rest);
    assert!(begun.elapsed() < GUEST_LIFE + Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// Programs read the log too: a number is a number, and a path is a path.
#[test]
fn a_change_is_one_line_of_json_in_the_log() {
    let mut cluster = Cluster::start(1);
    let one = &mut cluster.nodes[0];
    one.stop();
    let path = one.dir.join("node.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replace("format = \"text\"", "format = \"json\"")).unwrap();
    one.start();
    one.run(&["--timeout", "60s", "domain", "create", "shop.example"]).ok();
    let fields = wait_for("the line of the change", || {
        let log = one.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut fields = lines.map(|mut line| line["fields"].take());
        fields.find(|fields| fields["path"] == "/v1/domains")
    });
    assert_eq!((&fields["event"], &fields["method"]), (&"api.change".into(), &"POST".into()));
    assert!(fields["took_ms"].is_u64() && fields["status"] == 200, "{fields}");
}

/// Asks over HTTPS: the head of the answer in lower case, and its body.
fn ask(node: &Node, request: &str) -> (String, Value) {
    let mut stream = tls(https(node));
    write!(stream, "{}\r\nHost: x\r\nConnection: close\r\n\r\n", request.replace(" | ", "\r\n"))
        .unwrap();
    let mut answer = Vec::new();
    // The end is what counts, however it is told.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), serde_json::from_str(body).unwrap_or_default())
}

#[test]
fn requests_beside_the_document_are_refused_as_http_has_it() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let role = ["--role", "admin,operator,security", "-o", "json"];
    let made = one.run(&[&["token", "create", "all"], &role[..]].concat()).json();
    let token = made["token"].as_str().unwrap();
    let check = |request: &str, status: u16, code: &str, header: &str| {
        let (head, body) = ask(one, &request.replace("TOKEN", token));
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{request}: {head}");
        assert_eq!(body["code"], code, "{request}: {body}");
        assert!(head.contains("content-type: application/problem+json"), "{request}: {head}");
        assert!(head.contains(header), "{request}: {head}");
    };
    let logged_in = "HTTP/1.1 | Authorization: Bearer TOKEN";
    check("PUT /v1/tls HTTP/1.1", 401, "X003", "www-authenticate: bearer\r\n");
    // The path of the login is for strangers, and so are its methods.
    check("TRACE /v1/login HTTP/1.1", 405, "X012", "allow: post, delete\r\n");
    check("PUT /v1/login HTTP/1.1", 405, "X012", "allow: post, delete\r\n");
    check(&format!("PUT /v1/tls {logged_in}"), 405, "X012", "allow: get, head, patch\r\n");
    check(&format!("PUT /v1/status {logged_in}"), 405, "X012", "allow: get, head\r\n");
    check(
        &format!("POST /v1/domains/a {logged_in}"),
        405,
        "X012",
        "allow: get, head, patch, delete",
    );
    check("GET /v1/status HTTP/1.1", 401, "X003", "www-authenticate: bearer\r\n");
    let unlocking = format!("GET /v1/keyring/unlocking?timeout_ms=null {logged_in}");
    check(&unlocking, 400, "X004", "");
    let not_ascii = " | If-Match: \"1\" | Idempotency-Key: \u{e9}";
    check(&format!("DELETE /v1/domains/a {logged_in}{not_ascii}"), 400, "X004", "");
    // No object: what serde would take for one by the order of its members.
    let array = " | Content-Length: 11 | Connection: close\r\n\r\n[null,null]";
    check(&format!("POST /v1/keyring/unseal {logged_in}{array}"), 400, "X004", "");
    // No text at all, in a name.
    check(&format!("GET /v1/domains/%ff {logged_in}"), 400, "X004", "");
    check(&format!("DELETE /v1/domains/%ff/key {logged_in}"), 400, "X004", "");
}
