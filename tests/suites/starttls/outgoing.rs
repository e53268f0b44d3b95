//! Clear connections in, TLS to a server out: the server is another listener of the node.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Command, Stdio},
};

use conclave_tests::{echo_upstream, has_program, wait_for};

use super::{Proxy, clear, connect, run, servers};

const NAME: [&str; 2] = ["--server-name", "shop.example"];

/// A server that says its lines, one for each line or message of its client.
pub fn scripted(lines: &'static [&'static [u8]]) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            for line in lines {
                let _ = stream.write_all(line);
                if stream.read(&mut [0; 4096]).unwrap_or(0) == 0 {
                    break;
                }
            }
        }
    });
    address
}

#[test]
fn outgoing_tls_verifies_the_server_by_the_trust_of_the_node() {
    let proxy = Proxy::start();
    let inner = proxy.listen("tls", &echo_upstream().to_string(), &[]).to_string();
    let outgoing = proxy.listen("outgoing-tls", &inner, &NAME);
    assert_eq!(clear(outgoing, b"hello"), "", "a clean end, and nothing of it is sent");
    let log = || proxy.node().log();
    wait_for("the reason in the log", || log().contains("outgoing.refused").then_some(()));
    assert!(log().contains("Test Authority"), "the certificate at fault: {}", log());
    proxy.node().run(&["trust", "add", "--scope", "cluster", &proxy.ca]).ok();
    let mut stream = connect(outgoing);
    stream.write_all(b"hello").unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"hello");
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "bye", "each direction ends by itself");
    let other = proxy.listen("outgoing-tls", &inner, &["--server-name", "other.example"]);
    assert_eq!(clear(other, b"hello"), "", "the name is checked");
    wait_for("the name in the log", || log().contains("other.example").then_some(()));
}

/// A server that asks for a certificate gets the Main Domain's.
#[test]
fn outgoing_tls_shows_the_certificate_of_the_main_domain_when_it_is_asked_for() {
    let proxy = Proxy::start();
    let one = proxy.node();
    one.run(&["trust", "add", "--scope", "cluster", &proxy.ca]).ok();
    one.run(&["domain", "set", "node-1.main", "--pki", "enabled"]).ok();
    one.run(&["key", "generate", "node-1.main"]).ok();
    one.run(&["cert", "self-sign", "node-1.main"]).ok();
    let port = proxy.cluster.free_port().to_string();
    let path = |name: &str| one.dir.join(name).to_str().unwrap().to_owned();
    let said = std::fs::File::create(one.dir.join("s_server")).unwrap();
    let mut server = Command::new("openssl")
        .args(["s_server", "-accept", &port, "-cert", &path("c.pem"), "-key", &path("k.pem")])
        .args(["-verify", "1", "-verify_quiet"])
        .stdin(Stdio::piped())
        .stdout(said.try_clone().unwrap())
        .stderr(said)
        .spawn()
        .unwrap();
    let upstream = format!("127.0.0.1:{port}");
    let shown = || std::fs::read_to_string(one.dir.join("s_server")).unwrap();
    wait_for("s_server", || shown().contains("ACCEPT").then_some(()));
    let outgoing = proxy.listen("outgoing-tls", &upstream, &NAME);
    let mut stream = connect(outgoing);
    stream.write_all(b"hello\n").unwrap();
    wait_for("the line", || shown().contains("hello").then_some(()));
    let _ = server.kill();
    let _ = server.wait();
    assert!(shown().contains("node-1.main"), "{}", shown());
}

#[test]
fn outgoing_starttls_reaches_real_servers() {
    let proxy = Proxy::start();
    proxy.node().run(&["trust", "add", "--scope", "cluster", &proxy.ca]).ok();
    let check = |protocol: &str, upstream: SocketAddr, said: &[u8], expected: &str| {
        let inner = proxy.listen(protocol, &upstream.to_string(), &["--require-tls"]).to_string();
        let more = [&NAME[..], &["--starttls", protocol]].concat();
        let shown = clear(proxy.listen("outgoing-tls", &inner, &more), said);
        assert!(shown.contains(expected), "{protocol}: {shown}");
    };
    if servers::can_serve("postfix") {
        let server = servers::postfix();
        let said = b"EHLO c\r\nMAIL FROM:<a@client.example>\r\nQUIT\r\n";
        check("smtp", server.ports[0], said, "250 2.1.0 Ok");
    }
    if servers::can_serve("dovecot") {
        let server = servers::dovecot();
        check("imap", server.ports[0], b"a LOGIN ann secret\r\nb LOGOUT\r\n", "a OK");
        let said = b"USER ann\r\nPASS secret\r\nQUIT\r\n";
        check("pop3", server.ports[1], said, "+OK Logged in");
        let said = b"AUTHENTICATE \"PLAIN\" \"AGFubgBzZWNyZXQ=\"\r\nLOGOUT\r\n";
        check("sieve", server.ports[2], said, "Logged in");
    }
    if servers::can_serve("prosody") {
        let server = servers::prosody();
        let said = b"<stream:stream to='shop.example' version='1.0' xmlns='jabber:client' \
            xmlns:stream='http://etherx.jabber.org/streams'>\
            <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>\
            AGFubgBzZWNyZXQ=</auth></stream:stream>";
        check("xmpp", server.ports[0], said, "<success");
    }
    let ask = |protocol: &str, upstream: SocketAddr| {
        let inner = proxy.listen(protocol, &upstream.to_string(), &["--require-tls"]).to_string();
        proxy.listen("outgoing-tls", &inner, &[&NAME[..], &["--starttls", protocol]].concat())
    };
    if servers::can_serve("slapd") && has_program("ldapsearch") {
        let server = servers::slapd();
        let at = format!("ldap://{}", ask("ldap", server.ports[0]));
        let words = ["-x", "-H", &at, "-b", "", "-s", "base", "+"];
        let found = run("ldapsearch", &words, "");
        assert!(found.said.contains("namingContexts: dc=shop"), "{}", found.said);
    }
    let programs = servers::postgres_dir().filter(|_| servers::can_serve("setpriv"));
    if let Some(programs) = programs.filter(|_| has_program("psql")) {
        let server = servers::postgres(&programs);
        // By default it asks for TLS first, which there is none of on this side.
        let port = ask("postgres", server.ports[0]).port();
        let target = format!("host=127.0.0.1 port={port} user=ann password=secret dbname=postgres");
        let found = run("psql", &["-At", "-c", "select 6 * 7", &target], "");
        assert!(found.code == 0 && found.said.contains("42"), "{}", found.said);
    }
    if servers::can_serve("vsftpd") {
        let server = servers::vsftpd();
        check("ftp", server.ports[0], b"USER anonymous\r\nQUIT\r\n", "331");
    }
}

#[test]
fn outgoing_starttls_fails_closed() {
    let proxy = Proxy::start();
    let check = |protocol: &str, lines: &'static [&'static [u8]], reason: &str| {
        let more = [&NAME[..], &["--starttls", protocol]].concat();
        let outgoing = proxy.listen("outgoing-tls", &scripted(lines).to_string(), &more);
        let mut stream = connect(outgoing);
        let mut shown = String::new();
        stream.read_to_string(&mut shown).unwrap();
        assert!(shown.contains("no TLS with the server"), "{protocol}: {shown}");
        wait_for(reason, || proxy.node().log().contains(reason).then_some(()));
    };
    check("smtp", &[b"220 hi\r\n", b"250-m\r\n250 SIZE\r\n"], "offers no TLS");
    check("imap", &[b"* PREAUTH hi\r\n"], "greets with \"* PREAUTH hi\": TLS cannot be started");
    check("pop3", &[b"+OK hi\r\n", b"-ERR what\r\n"], "offers no TLS");
    let injected: &[&[u8]] = &[b"220 hi\r\n", b"250-m\r\n250 STARTTLS\r\n", b"220 go\r\n250 x\r\n"];
    check("smtp", injected, "behind the start of TLS");
}
