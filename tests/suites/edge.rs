//! Sockets, proxies before and behind, upstreams, and crowds.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, channel},
    },
    time::{Duration, Instant},
};

use conclave_tests::{
    Cluster, DEADLINE, Node, Pair, authority, client_config, echo_upstream, free_port, has_program,
    openssl, probe, wait_for,
};
use rustls::{ClientConnection, StreamOwned, pki_types::ServerName};

/// Debian's HAProxy with a configuration.
struct Haproxy {
    child: Child,
    address: SocketAddr,
}

impl Haproxy {
    /// `rest` is what follows the address that it listens on.
    fn start(node: &Node, name: &str, rest: &str) -> Haproxy {
        let ip = IpAddr::from(Ipv4Addr::LOCALHOST);
        let address = SocketAddr::new(ip, free_port(&[ip]));
        let text = format!(
            "defaults\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
             frontend f\n bind {address} {rest}\n"
        );
        let file = node.file(name, text.as_bytes());
        let child = Command::new("haproxy")
            .args(["-db", "-f", &file])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("haproxy", || TcpStream::connect(address).ok());
        Haproxy { child, address }
    }

    /// Answers HTTP with what the PROXY header before it said.
    fn behind(node: &Node) -> Haproxy {
        let answer = "accept-proxy\n mode http\n http-request return status 200 content-type \
             text/plain lf-string \"%[src]:%[src_port] %[dst]:%[dst_port] %[fc_pp_authority].\"";
        Haproxy::start(node, "behind.cfg", answer)
    }

    /// Passes connections on with a PROXY header.
    fn before(node: &Node, to: SocketAddr, how: &str) -> Haproxy {
        let rest =
            format!("\n mode tcp\n default_backend b\nbackend b\n mode tcp\n server s {to} {how}");
        Haproxy::start(node, &format!("{how}.cfg"), &rest)
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A handshake behind `first`, which goes out in the clear.
fn connect(
    tcp: TcpStream,
    first: &[u8],
    name: Option<&str>,
) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
    tcp.set_read_timeout(Some(DEADLINE))?;
    let mut config = client_config(rustls::ALL_VERSIONS).unwrap();
    config.enable_sni = name.is_some();
    let name = ServerName::try_from(name.unwrap_or("none.invalid").to_owned()).unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, tcp);
    stream.sock.write_all(first)?;
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

fn get(stream: &mut StreamOwned<ClientConnection, TcpStream>) -> String {
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // HAProxy ends without close_notify of its own; the node passes the end on properly.
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

fn add(node: &Node, name: &str, port: u16, upstreams: &[&str], more: &[&str]) {
    let bind = format!(":{port}");
    let upstreams = upstreams.iter().flat_map(|upstream| ["--upstream", upstream]);
    let words: Vec<&str> =
        ["listener", "add", name, "--bind", &bind].into_iter().chain(upstreams).collect();
    node.run(&[&words[..], more].concat()).ok();
}

#[test]
fn haproxy_before_and_behind_agree_on_who_the_client_is() {
    if !has_program("haproxy") {
        return;
    }
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example", "--pki", "test"]).ok();
    let behind = Haproxy::behind(one);
    let upstream = behind.address.to_string();
    for (how, to, authority) in
        [("send-proxy-v2-ssl", "v2", "shop.example."), ("send-proxy", "v1", ".")]
    {
        let port = cluster.free_port();
        add(one, to, port, &[&upstream], &["--proxy-from", "127.0.0.0/8", "--proxy-to", to]);
        let before = Haproxy::before(one, one.listener(port), how);
        let tcp = TcpStream::connect(before.address).unwrap();
        let client = tcp.local_addr().unwrap();
        let mut stream = connect(tcp, b"", Some("shop.example")).unwrap();
        assert_eq!(get(&mut stream), format!("{client} {} {authority}", before.address), "{how}");
    }
}

#[test]
fn a_header_counts_only_from_whom_it_is_expected_and_then_must_be_there() {
    let cluster = Cluster::start(1);
    let (one, echo) = (&cluster.nodes[0], echo_upstream().to_string());
    one.run(&["domain", "create", "shop.example", "--pki", "test"]).ok();
    let pair = Pair::make("shop.example");
    let (bundle, key) = one.pair_files(&pair);
    one.run(&["domain", "create", "seven.example", "--pki", "enabled", "--ip", "192.0.2.7"]).ok();
    let seven = Pair::make("seven.example");
    let (bundle_7, key_7) =
        (one.file("7.pem", seven.bundle().as_bytes()), one.file("7.key", seven.key.as_bytes()));
    one.run(&["cert", "import", "seven.example", &bundle_7, "--key", &key_7]).ok();
    one.run(&["cert", "import", "shop.example", &bundle, "--key", &key]).ok();
    let (open, trusted, other) = (cluster.free_port(), cluster.free_port(), cluster.free_port());
    add(one, "open", open, &[&echo], &[]);
    add(one, "trusted", trusted, &[&echo], &["--proxy-from", "127.0.0.0/8"]);
    add(one, "other", other, &[&echo], &["--proxy-from", "127.9.0.0/16"]);
    let header = b"PROXY TCP4 192.0.2.1 192.0.2.7 40000 443\r\n";
    let shown = |port: u16, first: &[u8], name: Option<&str>| {
        let stream = connect(TcpStream::connect(one.listener(port)).unwrap(), first, name).ok()?;
        Some(stream.conn.peer_certificates().unwrap()[0].to_vec())
    };
    // Its destination chooses the domain, unless the client names one.
    assert_eq!(shown(trusted, header, None).as_ref(), Some(&seven.der));
    assert_ne!(shown(trusted, b"PROXY UNKNOWN\r\n", None).as_ref(), Some(&seven.der));
    assert_ne!(shown(trusted, header, Some("shop.example")).as_ref(), Some(&seven.der));
    // Who must send one and does not, or sends rubbish, gets nothing.
    assert_eq!(shown(trusted, b"", Some("shop.example")), None);
    assert_eq!(shown(trusted, b"PROXY TCP4 nonsense\r\n", Some("shop.example")), None);
    // Everybody else's bytes are TLS.
    for port in [open, other] {
        assert_eq!(shown(port, header, Some("shop.example")), None);
        assert!(shown(port, b"", Some("shop.example")).is_some());
    }
}

/// A field of a PROXY header: its type and its value.
type Field = (u8, Vec<u8>);

/// An upstream that notes the fields of the PROXY header before each connection.
fn fields_upstream() -> (SocketAddr, Receiver<Vec<Field>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = [0; 16];
            stream.read_exact(&mut head).unwrap();
            let mut rest = vec![0; usize::from(u16::from_be_bytes([head[14], head[15]]))];
            stream.read_exact(&mut rest).unwrap();
            // Behind two addresses and two ports of IPv4.
            tell.send(fields(&rest[12..])).unwrap();
        }
    });
    (address, told)
}

fn fields(mut bytes: &[u8]) -> Vec<Field> {
    let mut all = Vec::new();
    while let [kind, high, low, rest @ ..] = bytes {
        let (value, after) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        all.push((*kind, value.to_vec()));
        bytes = after;
    }
    all
}

#[test]
fn the_upstream_learns_who_the_client_is_by_its_certificate() {
    if !has_program("openssl") {
        return;
    }
    let cluster = Cluster::start(1);
    let (one, port) = (&cluster.nodes[0], cluster.free_port());
    let (upstream, told) = fields_upstream();
    let root = authority("Client Root", None);
    let root_file = one.file("root.pem", root.certificate.pem().as_bytes());
    let (bundle, key) = one.pair_files(&Pair::make("shop.example"));
    one.run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
    one.run(&["cert", "import", "shop.example", &bundle, "--key", &key]).ok();
    one.run(&["trust", "add", &root_file, "--scope", "domain:shop.example"]).ok();
    let issuer = sha256(&root_file);
    one.run(&["client-auth", "set", "shop.example", "--issuer", &issuer]).ok();
    add(one, "tls", port, &[&upstream.to_string()], &["--proxy-to", "v2"]);
    let alice = root.client("alice", |params| {
        let email = "alice@mail.example".try_into().unwrap();
        params.subject_alt_names.push(rcgen::SanType::Rfc822Name(email));
    });
    let certificate = one.file("alice.pem", alice.certificate.as_bytes());
    let key = one.file("alice.key", alice.key.as_bytes());
    let place = one.listener(port).to_string();
    let own = ["-cert", certificate.as_str(), "-key", key.as_str()];
    for (identity, is_known) in [(&own[..], true), (&[], false)] {
        for version in ["-tls1_2", "-tls1_3"] {
            let words = ["s_client", "-connect", &place, "-servername", "shop.example", version];
            openssl(&[&words[..], identity].concat());
            let found = told.recv_timeout(DEADLINE).unwrap();
            let field = |kind: u8| {
                let mut values = found.iter().filter(|(one, _)| *one == kind);
                values.next().map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            };
            assert_eq!(field(0x02).as_deref(), Some("shop.example"), "server name");
            assert_eq!(field(0xe3).as_deref(), Some("shop.example"), "domain");
            let known = |text: &str| is_known.then(|| text.to_owned());
            assert_eq!(field(0xe0), known(&sha256(&certificate)), "fingerprint");
            assert_eq!(field(0xe1), known("alice@mail.example"), "e-mail address");
            assert_eq!(field(0xe2), known("CN=Client Root"), "issuer");
            let (_, tls) = found.iter().find(|(kind, _)| *kind == 0x20).unwrap();
            assert_eq!(tls[0], if is_known { 7 } else { 1 }, "what the client showed");
            assert_eq!(tls[1..5] == [0; 4], is_known, "the verdict");
            let name = fields(&tls[5..]).into_iter().find(|(kind, _)| *kind == 0x22);
            assert_eq!(name.map(|(_, value)| value), is_known.then(|| b"alice".to_vec()));
        }
    }
}

fn sha256(file: &str) -> String {
    let shown = openssl(&["x509", "-in", file, "-noout", "-fingerprint", "-sha256"]);
    shown.trim().rsplit('=').next().unwrap().replace(':', "").to_lowercase()
}

/// An upstream that says its word to everybody.
fn says(word: &'static [u8]) -> (SocketAddr, Arc<AtomicBool>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            if stopped.load(Ordering::Relaxed) {
                return;
            }
            stream.write_all(word).unwrap();
        }
    });
    (address, stop)
}

#[test]
fn upstreams_take_turns_and_one_that_is_gone_is_missed_by_nobody() {
    let cluster = Cluster::start(1);
    let (one, port) = (&cluster.nodes[0], cluster.free_port());
    one.run(&["domain", "create", "shop.example", "--pki", "test"]).ok();
    let ((first, stop), (second, _)) = (says(b"1"), says(b"2"));
    add(one, "tls", port, &[&first.to_string(), &second.to_string()], &[]);
    let ask = || {
        let tcp = TcpStream::connect(one.listener(port)).unwrap();
        let mut stream = connect(tcp, b"", Some("shop.example")).unwrap();
        let mut word = [0];
        stream.read_exact(&mut word).unwrap();
        word[0]
    };
    let said: Vec<u8> = (0..20).map(|_| ask()).collect();
    assert!(said.contains(&b'1') && said.contains(&b'2'), "{said:?}");
    stop.store(true, Ordering::Relaxed);
    // Lets it see that it is to stop.
    drop(TcpStream::connect(first));
    wait_for("the first is gone", || TcpStream::connect(first).is_err().then_some(()));
    assert!((0..20).all(|_| ask() == b'2'));
}

/// Greeting of the upstream to a client that connects for `name`; none without an upstream.
fn told(node: &Node, port: u16, name: &str) -> Option<u8> {
    let tcp = TcpStream::connect(node.listener(port)).ok()?;
    let mut stream = connect(tcp, b"", Some(name)).ok()?;
    let mut word = [0];
    stream.read_exact(&mut word).ok()?;
    Some(word[0])
}

#[test]
fn each_domain_has_its_own_upstream() {
    let cluster = Cluster::start(1);
    let (one, port) = (&cluster.nodes[0], cluster.free_port());
    for name in ["a.example", "b.example", "c.example"] {
        one.run(&["domain", "create", name, "--pki", "test"]).ok();
    }
    let ((a, _), (b, _), (rest, _)) = (says(b"a"), says(b"b"), says(b"-"));
    let (a, b) = (format!("a.example={a}"), format!("b.example={b}"));
    let more = ["--domain-upstream", &a, "--domain-upstream", &b];
    add(one, "tls", port, &[&rest.to_string()], &more);
    for _ in 0..5 {
        assert_eq!(told(one, port, "a.example"), Some(b'a'));
        assert_eq!(told(one, port, "b.example"), Some(b'b'));
        assert_eq!(told(one, port, "c.example"), Some(b'-'));
    }
}

/// A unix socket that says its word to everybody.
fn says_on_unix(path: &Path, word: &'static [u8]) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.write_all(word);
        }
    });
}

/// Starts a node anew with this list of places for unix sockets.
fn allow(node: &mut Node, places: &[&Path]) {
    node.kill();
    let file = node.dir.join("node.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    let config = config.split("[upstream]").next().unwrap();
    std::fs::write(&file, format!("{config}[upstream]\nunix = {places:?}\n")).unwrap();
    node.start();
}

#[test]
fn a_unix_socket_is_an_upstream_only_where_the_configuration_lists_it() {
    let mut cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example", "--pki", "test"]).ok();
    let dir = one.dir.join("app");
    std::fs::create_dir(&dir).unwrap();
    says_on_unix(&dir.join("web.sock"), b"w");
    says_on_unix(&one.dir.join("other.sock"), b"o");
    let upstream = |path: &Path| format!("unix:{}", path.display());
    let web = upstream(&dir.join("web.sock"));
    let refused = |node: &Node, name: &str, port: u16, upstream: &str| {
        let bind = format!(":{port}");
        let words = ["listener", "add", name, "--bind", &bind, "--upstream", upstream];
        let ran = node.run(&words);
        assert_eq!(ran.code, 2, "{}{}", ran.out, ran.err);
        assert!(ran.err.contains("[upstream] unix of this node does not allow"), "{}", ran.err);
    };
    refused(one, "web", cluster.free_port(), &web);
    allow(&mut cluster.nodes[0], &[&dir]);
    let (one, port) = (&cluster.nodes[0], cluster.free_port());
    add(one, "web", port, &[&web], &[]);
    assert_eq!(told(one, port, "shop.example"), Some(b'w'));
    refused(one, "other", cluster.free_port(), &upstream(&one.dir.join("other.sock")));
    // A link leads nowhere but to what is listed, whenever it was made.
    let moving = dir.join("moving.sock");
    std::os::unix::fs::symlink(dir.join("web.sock"), &moving).unwrap();
    let link = cluster.free_port();
    add(one, "link", link, &[&upstream(&moving)], &[]);
    assert_eq!(told(one, link, "shop.example"), Some(b'w'));
    std::fs::remove_file(&moving).unwrap();
    std::os::unix::fs::symlink(one.dir.join("other.sock"), &moving).unwrap();
    assert_eq!(told(one, link, "shop.example"), None);
    // A path that is listed no more is not used, and the list of listeners says why.
    allow(&mut cluster.nodes[0], &[]);
    let one = &cluster.nodes[0];
    assert_eq!(told(one, port, "shop.example"), None);
    wait_for("the reason", || {
        let shown = one.run(&["listener", "list", "-o", "json"]).ok();
        shown.contains("does not allow").then_some(())
    });
}

/// What must stand nowhere as it is: it would move the cursor, end a text early, turn its
/// direction, or hide in it.
const DECEIVING: [char; 5] = ['\u{1b}', '\0', '\u{202e}', '\u{2066}', '\u{200b}'];

#[test]
fn names_that_deceive_reach_nobody_as_they_are() {
    if !has_program("openssl") {
        return;
    }
    let cluster = Cluster::with_level(1, "debug");
    cluster.found();
    let (one, port) = (&cluster.nodes[0], cluster.free_port());
    let (upstream, told) = fields_upstream();
    let name = format!("mallory{},CN=alice", DECEIVING.iter().collect::<String>());
    let root = authority(&format!("Root {name}"), None);
    let stranger = authority(&format!("Stranger {name}"), None);
    let root_file = one.file("root.pem", root.certificate.pem().as_bytes());
    let scope = ["--scope", "domain:shop.example"];
    one.run(&["domain", "create", "shop.example", "--pki", "test"]).ok();
    let mut shown = one.run(&[&["trust", "add", &root_file][..], &scope].concat()).ok();
    let auth = ["client-auth", "set", "shop.example", "--issuer", &sha256(&root_file)];
    one.run(&auth).ok();
    add(one, "tls", port, &[&upstream.to_string()], &["--proxy-to", "v2"]);
    let issue = |authority: &conclave_tests::Authority| {
        authority.client(&name, |params| {
            let email = "eve\u{1b}@mail.example".try_into().unwrap();
            params.subject_alt_names.push(rcgen::SanType::Rfc822Name(email));
            // SmtpUTF8Mailbox (RFC 9598 §3).
            let (oid, utf8) = (vec![1, 3, 6, 1, 5, 5, 7, 8, 9], "d\u{f6}rte\u{202e}@mail.example");
            params.subject_alt_names.push(rcgen::SanType::OtherName((oid, utf8.to_owned().into())));
        })
    };
    let place = one.listener(port).to_string();
    let words = ["s_client", "-connect", &place, "-servername", "shop.example", "-tls1_2"];
    let mut files = Vec::new();
    for (who, authority) in [("known", &root), ("stranger", &stranger)] {
        let issued = issue(authority);
        let certificate = one.file(&format!("{who}.pem"), issued.certificate.as_bytes());
        let key = one.file(&format!("{who}.key"), issued.key.as_bytes());
        let run = Command::new("openssl")
            .args(words)
            .args(["-cert", &certificate, "-key", &key])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(run.status.success(), who == "known", "{who}");
        files.push(certificate);
    }
    // To the upstream.
    let fields = told.recv_timeout(DEADLINE).unwrap();
    // The checksum (type 3) may have any bytes.
    let texts = fields.iter().filter(|(kind, _)| *kind != 0x03);
    let all = texts.flat_map(|(_, value)| value.clone()).collect::<Vec<u8>>();
    let fields = String::from_utf8_lossy(&all).into_owned();
    for part in ["mallory\\u{1b}\\u{0}\\u{202e}", "eve\\u{1b}@", "d\u{f6}rte\\u{202e}@"] {
        assert!(fields.contains(part), "{part} in {fields}");
    }
    // Lengths and flags of fields hold NUL.
    let is_kept = |text: &&char| **text != '\0' && fields.contains(**text);
    assert_eq!(DECEIVING.iter().find(is_kept), None, "{fields}");
    // In the log, of those who are let in and of those who are not.
    wait_for("both in the log", || {
        let log = one.log();
        let said =
            |event: &str| log.lines().any(|line| line.contains(event) && line.contains("mallory"));
        (said("tls.handshake") && said("tls.refused")).then_some(())
    });
    check_shown("log", &one.log());
    // On the terminal.
    shown += &one.run(&[&["trust", "list"][..], &scope].concat()).ok();
    shown += &one.run(&[&["trust", "list", "-o", "json"][..], &scope].concat()).ok();
    shown += &one.run(&["client-auth", "show", "shop.example"]).ok();
    shown += &one.run(&["cert", "show", "--file", &files[0]]).ok();
    for file in &files {
        let judging = ["--anchors", &root_file, "--purpose", "client"];
        let ran = one.run(&[&["trust", "verify", file][..], &judging].concat());
        shown += &format!("{}{}", ran.out, ran.err);
    }
    assert!(shown.matches("mallory\\u{1b}").count() > 4, "{shown}");
    check_shown("terminal", &shown);
}

/// Fails if something is shown that deceives.
fn check_shown(place: &str, text: &str) {
    for line in text.lines() {
        let found = DECEIVING.into_iter().find(|c| line.contains(*c));
        assert_eq!(found, None, "{place}: {}", line.escape_debug());
    }
}

/// How long an honest client waits for a handshake and a byte there and back.
fn honest(node: &Node, port: u16) -> Duration {
    let mut times: Vec<Duration> = (0..100)
        .map(|_| {
            let begun = Instant::now();
            let tcp = TcpStream::connect(node.listener(port)).unwrap();
            let mut stream = connect(tcp, b"", Some("shop.example")).unwrap();
            stream.write_all(b"x").unwrap();
            stream.read_exact(&mut [0]).unwrap();
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[98]
}

fn descriptors(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()
}

#[test]
fn a_crowd_that_does_nothing_shuts_out_nobody() {
    if !has_program("prlimit") {
        return;
    }
    // As many as this process has descriptors for; 10,000 of each with a limit of 20,100.
    let own = std::process::id().to_string();
    let raised = Command::new("prlimit").args(["--pid", &own, "--nofile=20100:20100"]).output();
    let limit = if raised.unwrap().status.success() { 20_100 } else { 1_000 };
    let each = (limit - 100) / 2;
    let mut cluster = Cluster::start(1);
    cluster.nodes[0].kill();
    cluster.nodes[0].start_under(&["prlimit", "--nofile=4096:4096"]);
    let port = cluster.listen();
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example", "--pki", "test"]).ok();
    let quiet = honest(one, port).max(Duration::from_millis(20));
    let before = descriptors(one.process_id());
    let mut crowd = Vec::new();
    for _ in 0..each {
        let mut slow = TcpStream::connect(one.listener(port)).unwrap();
        let _ = slow.write_all(&[22, 3, 1, 2]);
        crowd.push(slow);
    }
    let among_slow = honest(one, port);
    for _ in 0..each {
        // Those for which there is no place learn so at once.
        let tcp = TcpStream::connect(one.listener(port)).unwrap();
        if let Ok(idle) = connect(tcp, b"", Some("shop.example")) {
            crowd.push(idle.sock);
        }
    }
    let among_all = honest(one, port);
    println!("p99: quiet {quiet:?}, among slow ones {among_slow:?}, among all {among_all:?}");
    assert!(among_slow < 3 * quiet && among_all < 3 * quiet);
    assert!(descriptors(one.process_id()) < 4_096);
    drop(crowd);
    let ended = Instant::now();
    wait_for("the descriptors are given back", || {
        (descriptors(one.process_id()) <= before + 20).then_some(())
    });
    assert!(ended.elapsed() < Duration::from_secs(5), "{:?}", ended.elapsed());
    assert!(honest(one, port) < 3 * quiet);
    assert!(probe(one.listener(port), "shop.example").is_ok());
}
