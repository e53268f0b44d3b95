//! `tls probe --starttls`: with listeners of every protocol, with a server of Debian, and with
//! servers that offer no TLS.

use std::net::SocketAddr;

use super::{Proxy, outgoing::scripted, servers};

const PROTOCOLS: [&str; 9] =
    ["smtp", "imap", "pop3", "xmpp", "xmpp-server", "ldap", "postgres", "sieve", "ftp"];

impl Proxy {
    fn probe(&self, address: SocketAddr, protocol: &str) -> conclave_tests::Ran {
        let address = address.to_string();
        let words = ["tls", "probe", &address, "--server-name", "shop.example"];
        self.node().run(&[&words[..], &["--starttls", protocol, "-o", "json"]].concat())
    }

    fn trust_own(&self) {
        self.node().run(&["trust", "add", "--scope", "domain:shop.example", &self.ca]).ok();
    }
}

#[test]
fn a_probe_starts_tls_by_the_command_of_each_protocol() {
    let proxy = Proxy::start();
    proxy.trust_own();
    for protocol in PROTOCOLS {
        // Nobody is there: the upstream is connected after the handshake.
        let address = proxy.listen(protocol, "127.0.0.1:9", &["--require-tls"]);
        let shown = proxy.probe(address, protocol).json();
        assert_eq!(shown["starttls"], protocol);
        assert_eq!(shown["version"], "TLSv1.3", "{protocol}");
        assert_eq!(shown["valid"], true, "{protocol}: {shown}");
        assert_eq!(shown["served"]["domain"], "shop.example", "{protocol}");
    }
    let address = proxy.listen("smtp", "127.0.0.1:9", &["--require-tls"]).to_string();
    let words = ["tls", "probe", &address, "--server-name", "shop.example"];
    let text = proxy.node().run(&[&words[..], &["--starttls", "smtp"]].concat()).ok();
    assert!(text.contains("started by the command of smtp"), "{text}");
    assert_eq!(proxy.node().run(&words).code, 6, "TLS does not come with the first byte");
    let wrong = proxy.node().run(&[&words[..], &["--starttls", "tls"]].concat());
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("one of smtp, imap, pop3"), "{}", wrong.err);
}

#[test]
fn a_probe_starts_tls_with_a_server_of_debian() {
    if !servers::can_serve("postfix") {
        return;
    }
    let proxy = Proxy::start();
    proxy.trust_own();
    let path = |name: &str| proxy.node().dir.join(name).to_str().unwrap().to_owned();
    let server = servers::postfix_with_tls(&path("k.pem"), &path("c.pem"));
    let shown = proxy.probe(server.ports[0], "smtp").json();
    assert_eq!(shown["valid"], true, "{shown}");
    assert_eq!(shown["starttls"], "smtp");
    drop(server);
    let refused = proxy.probe(servers::postfix().ports[0], "smtp");
    assert_eq!(refused.code, 6, "{}{}", refused.out, refused.err);
    assert_eq!(refused.problem()["detail"], "the server offers no TLS");
}

#[test]
fn a_probe_fails_closed_where_tls_cannot_be_started() {
    let proxy = Proxy::start();
    let check = |protocol: &str, lines: &'static [&'static [u8]], detail: &str| {
        let ran = proxy.probe(scripted(lines), protocol);
        assert_eq!(ran.code, 6, "{protocol}: {}{}", ran.out, ran.err);
        let problem = ran.problem();
        assert_eq!(problem["detail"], detail, "{protocol}");
        let title = problem["title"].as_str().unwrap();
        let ending = format!("starts no TLS by the command of {protocol}");
        assert!(title.ends_with(&ending), "{title}");
    };
    check("smtp", &[b"220 hi\r\n", b"250-m\r\n250 SIZE\r\n"], "the server offers no TLS");
    check("imap", &[b"* OK hi\r\n", b"* CAPABILITY A\r\nc1 OK\r\n"], "the server offers no TLS");
    check("pop3", &[b"+OK hi\r\n", b"-ERR what\r\n"], "the server offers no TLS");
    check("sieve", &[b"\"SASL\" \"\"\r\nOK\r\n"], "the server offers no TLS");
    check("postgres", &[b"N"], "the server offers no TLS");
    check("ftp", &[b"220 hi\r\n", b"502 no\r\n"], "the server does not start TLS");
    let features: &[&[u8]] = &[b"<stream:stream version='1.0'><stream:features/>"];
    check("xmpp", features, "the server offers no TLS");
    let unwilling: &[&[u8]] = &[b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\x00\x04\x00"];
    check("ldap", unwilling, "the server does not start TLS");
    let injected: &[&[u8]] = &[b"220 hi\r\n", b"250-m\r\n250 STARTTLS\r\n", b"220 go\r\n250 x\r\n"];
    check("smtp", injected, "data in the clear behind the start of TLS");
    let greets = "the server greets with \"HTTP/1.1 400 no\": TLS cannot be started";
    check("smtp", &[b"HTTP/1.1 400 no\r\n"], greets);
}
