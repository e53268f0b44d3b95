//! Client certificates that a listener requires or takes, with OpenSSL as client.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
};

use conclave_tests::{
    Authority, Cluster, Node, Pair, authority, echo_upstream, has_program, openssl, wait_for,
};
use rcgen::ExtendedKeyUsagePurpose as Purpose;

/// Sends a word through a connection of OpenSSL. Returns whether it came back.
fn is_let_in(place: SocketAddr, words: &[&str]) -> bool {
    let mut client = Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", &place.to_string()])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // A refused client is gone already.
    let _ = client.stdin.as_mut().unwrap().write_all(b"ping\n");
    let lines = BufReader::new(client.stdout.take().unwrap()).lines();
    let found = lines.map_while(Result::ok).any(|line| line.ends_with("ping"));
    let _ = client.kill();
    client.wait().unwrap();
    found
}

/// Makes an enabled domain whose clients may be asked for certificates of `root`.
fn domain(node: &Node, name: &str, root: &str) {
    let (bundle, key) = node.pair_files(&Pair::make(name));
    node.run(&["domain", "create", name, "--pki", "enabled"]).ok();
    node.run(&["cert", "import", name, &bundle, "--key", &key]).ok();
    node.run(&["trust", "add", root, "--scope", &format!("domain:{name}")]).ok();
}

fn sha256(file: &str) -> String {
    let shown = openssl(&["x509", "-in", file, "-noout", "-fingerprint", "-sha256"]);
    shown.trim().rsplit('=').next().unwrap().replace(':', "").to_lowercase()
}

/// Makes a client certificate with these purposes. Returns the words that show it.
fn client(node: &Node, root: &Authority, name: &str, purposes: &[Purpose]) -> [String; 4] {
    let issued = root.client(name, |params| {
        params.extended_key_usages = purposes.to_vec();
        let peer = "peer.example".try_into().unwrap();
        params.subject_alt_names.push(rcgen::SanType::DnsName(peer));
    });
    let certificate = node.file(&format!("{name}.pem"), issued.certificate.as_bytes());
    let key = node.file(&format!("{name}.key"), issued.key.as_bytes());
    ["-cert".to_owned(), certificate, "-key".to_owned(), key]
}

fn add(node: &Node, name: &str, port: u16, more: &[&str]) -> String {
    let (bind, upstream) = (format!(":{port}"), echo_upstream().to_string());
    let words = ["listener", "add", name, "--bind", &bind, "--upstream", &upstream];
    let ran = node.run(&[&words[..], more].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    ran.err
}

#[test]
fn a_listener_that_requires_certificates_cannot_be_walked_around() {
    if !has_program("openssl") {
        return;
    }
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let root = authority("Client Root", None);
    let file = one.file("root.pem", root.certificate.pem().as_bytes());
    for name in ["admin.example", "www.example", "other.example"] {
        domain(one, name, &file);
    }
    let issuer = sha256(&file);
    let (port, mail) = (cluster.free_port(), cluster.free_port());
    let place = one.listener(port);
    assert!(!add(one, "tls", port, &[]).contains("without one"), "nothing is required yet");
    let required = ["client-auth", "set", "admin.example", "--issuer", &issuer, "--required"];
    let ran = one.run(&required);
    assert_eq!(ran.code, 0, "{}", ran.err);
    for part in ["listener tls", "walked around", "--require-client-certificate on"] {
        assert!(ran.err.contains(part), "{part}: {}", ran.err);
    }
    one.run(&["client-auth", "set", "www.example", "--issuer", &issuer]).ok();
    let warned = add(one, "mail", mail, &["--protocol", "smtp"]);
    assert!(warned.contains("admin.example requires client certificates"), "{warned}");
    let own = client(one, &root, "alice", &[Purpose::ClientAuth]);
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let goes = |name: &[&str], identity: &[&str]| is_let_in(place, &[name, identity].concat());
    let (admin, www) = (["-servername", "admin.example"], ["-servername", "www.example"]);
    assert!(!goes(&admin, &[]) && goes(&admin, &own));
    assert!(goes(&www, &[]), "the way around");
    // The listener requires it of everybody.
    for name in ["tls", "mail"] {
        let set = ["listener", "set", name, "--require-client-certificate", "on"];
        let ran = one.run(&set);
        assert!(ran.code == 0 && !ran.err.contains("without one"), "{}", ran.err);
    }
    wait_for("the way around to close", || (!goes(&www, &[])).then_some(()));
    assert!(goes(&admin, &own) && goes(&www, &own));
    assert!(!goes(&admin, &[]) && !goes(&["-noservername"], &[]));
    // A domain that asks for none is not served here, whatever the client has.
    let other = ["-servername", "other.example"];
    assert!(!goes(&other, &[]) && !goes(&other, &own) && !goes(&["-noservername"], &own));
    assert!(one.log().contains("asks_for_no_client_certificate"), "{}", one.log());
    let repeated = one.run(&required);
    assert!(repeated.code == 0 && !repeated.err.contains("walked around"), "{}", repeated.err);
    // Nobody goes on in the clear.
    let mut clear = BufReader::new(TcpStream::connect(one.listener(mail)).unwrap());
    let mut line = String::new();
    clear.read_line(&mut line).unwrap();
    clear.get_mut().write_all(b"MAIL FROM:<a@b.example>\r\n").unwrap();
    line.clear();
    clear.read_line(&mut line).unwrap();
    assert!(line.starts_with("530 "), "{line}");
    let shown = one.run(&["listener", "show", "tls", "-o", "json"]).json();
    assert_eq!(shown["requires_client_certificate"], true, "{shown}");
    // A later listener of this name does not have it.
    one.run(&["listener", "remove", "tls", "--yes"]).ok();
    add(one, "tls", port, &[]);
    wait_for("the new listener", || goes(&www, &[]).then_some(()));
}

#[test]
fn certificates_of_servers_are_taken_where_a_listener_says_so() {
    if !has_program("openssl") {
        return;
    }
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let root = authority("Peer Root", None);
    let file = one.file("root.pem", root.certificate.pem().as_bytes());
    domain(one, "im.example", &file);
    let issuer = sha256(&file);
    one.run(&["client-auth", "set", "im.example", "--issuer", &issuer, "--required"]).ok();
    let (strict, open) = (cluster.free_port(), cluster.free_port());
    let protocol = ["--protocol", "xmpp-server", "--require-tls"];
    add(one, "strict", strict, &protocol);
    add(one, "peers", open, &[&protocol[..], &["--take-server-certificates"]].concat());
    for (name, purposes, at_strict, at_open) in [
        ("server", &[Purpose::ServerAuth][..], false, true),
        ("client", &[Purpose::ClientAuth], true, true),
        ("both", &[Purpose::ServerAuth, Purpose::ClientAuth], true, true),
        ("mail", &[Purpose::EmailProtection], false, false),
    ] {
        let own = client(one, &root, name, purposes);
        for (port, expected) in [(strict, at_strict), (open, at_open)] {
            let words = ["-starttls", "xmpp-server", "-xmpphost", "im.example"];
            let own = own.iter().map(String::as_str);
            let words: Vec<&str> = words.into_iter().chain(own).collect();
            assert_eq!(is_let_in(one.listener(port), &words), expected, "{name} at {port}");
        }
    }
    assert!(one.log().contains("client_certificate_purpose"), "{}", one.log());
    let refused = ["--protocol", "outgoing-tls", "--take-server-certificates", "-o", "json"];
    let words = ["listener", "add", "out", "--bind", ":1", "--upstream", "a.example:1"];
    let ran = one.run(&[&words[..], &refused].concat());
    assert_eq!(ran.problem()["code"], "N006", "{}", ran.err);
}
