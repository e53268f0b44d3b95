//! Clients before a node before servers.

use std::{
    io::{Read, Write},
    sync::Arc,
};

use conclave_tests::{client_config, has_program, wait_for};
use rustls::{ClientConnection, StreamOwned, pki_types::ServerName};

use super::{Proxy, clear, connect, run, servers};

/// The bodies of all mails in the box.
fn mails(server: &servers::Server) -> Vec<String> {
    let Ok(new) = std::fs::read_dir(server.file("mail/box/new")) else { return Vec::new() };
    new.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect()
}

#[test]
fn postfix_gets_mail_from_real_clients_under_tls() {
    if !servers::can_serve("postfix") {
        return;
    }
    let (server, proxy) = (servers::postfix(), Proxy::start());
    let (required, optional) = proxy.both("smtp", server.ports[0]);
    let arrives = |subject: &str| {
        wait_for(subject, || mails(&server).iter().find(|one| one.contains(subject)).cloned());
    };
    for address in [required, optional] {
        let said = "EHLO client.example\r\nMAIL FROM:<a@client.example>\r\n\
                    RCPT TO:<b@shop.example>\r\nDATA\r\nSubject: openssl PORT\r\n\r\nhi\r\n.\r\n\
                    QUIT\r\n";
        let said = said.replace("PORT", &address.port().to_string());
        let shown = proxy.s_client("smtp", address, &said);
        assert!(!shown.contains("STARTTLS"), "TLS is not offered under TLS: {shown}");
        arrives(&format!("openssl {}", address.port()));
        proxy.gnutls("smtp", address);
        if has_program("swaks") {
            let (server, subject) = (address.to_string(), format!("swaks {}", address.port()));
            let header = format!("Subject: {subject}");
            let mail =
                ["--from", "a@client.example", "--to", "b@shop.example", "--header", &header];
            let tls = ["--tls", "--tls-verify", "--tls-ca-path", &proxy.ca];
            let name = ["--tls-sni", "shop.example", "--server", &server];
            let ran = run("swaks", &[&mail[..], &tls, &name].concat(), "");
            assert_eq!(ran.code, 0, "{}", ran.said);
            arrives(&subject);
        }
    }
    let refused = clear(required, b"EHLO c\r\nMAIL FROM:<a@client.example>\r\nQUIT\r\n");
    assert!(refused.contains("530 5.7.0"), "{refused}");
    assert!(!refused.contains("SIZE"), "nothing of the upstream is shown: {refused}");
    let mail = b"EHLO c\r\nMAIL FROM:<a@client.example>\r\nRCPT TO:<b@shop.example>\r\nDATA\r\n\
                 Subject: in the clear\r\n\r\nhi\r\n.\r\nQUIT\r\n";
    let shown = clear(optional, mail);
    assert!(shown.contains("250-STARTTLS") && shown.contains("SIZE"), "{shown}");
    arrives("in the clear");
    for address in [required, optional] {
        let answer = proxy.inject(address, true, b"EHLO c\r\nSTARTTLS\r\nRSET\r\n");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(!answer.contains("220 2.0.0"), "{answer}");
    }
}

#[test]
fn dovecot_is_reached_under_tls() {
    if !servers::can_serve("dovecot") {
        return;
    }
    let (server, proxy) = (servers::dovecot(), Proxy::start());
    for (protocol, port, said, expected) in [
        ("imap", 0, "a LOGIN ann secret\r\nb LOGOUT\r\n", "a OK"),
        ("pop3", 1, "USER ann\r\nPASS secret\r\nQUIT\r\n", "+OK Logged in"),
        (
            "sieve",
            2,
            "AUTHENTICATE \"PLAIN\" \"AGFubgBzZWNyZXQ=\"\r\nLOGOUT\r\n",
            "OK \"Logged in.\"",
        ),
    ] {
        let (required, optional) = proxy.both(protocol, server.ports[port]);
        for address in [required, optional] {
            let shown = proxy.s_client(protocol, address, said);
            assert!(shown.contains(expected), "{protocol}: {shown}");
            proxy.gnutls(protocol, address);
            if protocol != "sieve" {
                let url = format!("{protocol}://shop.example:{}/", address.port());
                let resolve = format!("shop.example:{}:127.0.0.1", address.port());
                let words = ["-sS", "--ssl-reqd", "--cacert", &proxy.ca, "--resolve", &resolve];
                let ran = run("curl", &[&words[..], &["-u", "ann:secret", &url]].concat(), "");
                assert_eq!(ran.code, 0, "{protocol}: {}", ran.said);
            }
        }
        let refused = clear(required, said.as_bytes());
        assert!(!refused.contains(expected), "{protocol}: {refused}");
        assert!(refused.to_uppercase().contains("STARTTLS") || refused.contains("STLS"));
        let shown = clear(optional, said.as_bytes());
        assert!(shown.contains(expected), "{protocol}: {shown}");
        let starttls: &[u8] = match protocol {
            "imap" => b"a STARTTLS\r\nb NOOP\r\n",
            "pop3" => b"STLS\r\nCAPA\r\n",
            _ => b"STARTTLS\r\nCAPABILITY\r\n",
        };
        for address in [required, optional] {
            proxy.inject(address, true, starttls);
        }
    }
}

#[test]
fn prosody_is_reached_by_the_domain_of_the_stream() {
    if !servers::can_serve("prosody") {
        return;
    }
    let (server, proxy) = (servers::prosody(), Proxy::start());
    let header = |namespace: &str| {
        format!(
            "<stream:stream to='shop.example' version='1.0' xmlns='jabber:{namespace}' \
             xmlns:stream='http://etherx.jabber.org/streams'>"
        )
    };
    let starttls = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
    let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>\
                AGFubgBzZWNyZXQ=</auth></stream:stream>";
    let (required, optional) = proxy.both("xmpp", server.ports[0]);
    proxy.node().run(&["tls", "set", "--log-level", "debug"]).ok();
    for address in [required, optional] {
        let shown = proxy.s_client("xmpp", address, &format!("{}{auth}", header("client")));
        assert!(shown.contains("<success"), "{shown}");
        proxy.inject(address, false, format!("{}{starttls}<iq/>", header("client")).as_bytes());
    }
    // It names the address that it connects to, of which Prosody knows nothing.
    proxy.gnutls("xmpp", required);
    let said = format!("{}{auth}", header("client"));
    let refused = clear(required, said.as_bytes());
    assert!(refused.contains("<policy-violation") && !refused.contains("<success"), "{refused}");
    let shown = clear(optional, said.as_bytes());
    assert!(shown.contains(starttls) && shown.contains("<success"), "{shown}");
    assert!(
        proxy.node().log().contains("chosen=\"stream\""),
        "the log says how the domain was chosen"
    );
    let (required, _) = proxy.both("xmpp-server", server.ports[1]);
    let said = format!("{}</stream:stream>", header("server"));
    let shown = proxy.s_client("xmpp-server", required, &said);
    assert!(shown.contains("jabber:server:dialback"), "{shown}");
}

#[test]
fn slapd_is_reached_under_tls() {
    if !servers::can_serve("slapd") || !has_program("ldapsearch") {
        return;
    }
    let (server, proxy) = (servers::slapd(), Proxy::start());
    let (required, optional) = proxy.both("ldap", server.ports[0]);
    let entry = "dn: dc=shop,dc=example\nobjectClass: dcObject\nobjectClass: organization\n\
                 o: Shop\ndc: shop\n";
    let who = ["-x", "-D", "cn=admin,dc=shop,dc=example", "-w", "secret"];
    let at = |address: std::net::SocketAddr| format!("ldap://{address}");
    let ca = format!("LDAPTLS_CACERT={}", proxy.ca);
    let ask = |program: &str, more: &[&str], address, said: &str| {
        let at = at(address);
        run("env", &[&[&ca, program][..], &who, more, &["-H", &at]].concat(), said)
    };
    let added = ask("ldapadd", &["-ZZ"], required, entry);
    assert_eq!(added.code, 0, "{}", added.said);
    for address in [required, optional] {
        let found = ask("ldapsearch", &["-ZZ", "-b", "dc=shop,dc=example"], address, "");
        assert!(found.code == 0 && found.said.contains("o: Shop"), "{}", found.said);
        proxy.gnutls("ldap", address);
        let start = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
        proxy.inject(address, false, &[&start[..], b"\x30\x05\x02\x01\x02\x42\x00"].concat());
    }
    let refused = ask("ldapsearch", &["-b", "dc=shop,dc=example"], required, "");
    assert_eq!(refused.code, 13, "confidentialityRequired: {}", refused.said);
    let found = ask("ldapsearch", &["-b", "dc=shop,dc=example"], optional, "");
    assert!(found.code == 0 && found.said.contains("o: Shop"), "{}", found.said);
    let root = ["-b", "", "-s", "base", "+"];
    let shown = ask("ldapsearch", &root, required, "");
    assert_eq!(shown.code, 13, "a bind with a password is refused: {}", shown.said);
    let at = at(required);
    let shown = run("ldapsearch", &["-x", "-H", &at, "-b", "", "-s", "base", "+"], "");
    assert!(!shown.said.contains("secret"), "{}", shown.said);
}

#[test]
fn postgresql_is_reached_under_tls() {
    let Some(programs) = servers::postgres_dir() else {
        assert!(std::env::var_os("CONCLAVE_TEST_ALL").is_none(), "PostgreSQL is not installed");
        println!("SKIPPED: PostgreSQL is not installed");
        return;
    };
    if !servers::can_serve("setpriv") || !has_program("psql") {
        return;
    }
    let (server, proxy) = (servers::postgres(&programs), Proxy::start());
    let (required, optional) = proxy.both("postgres", server.ports[0]);
    let ask = |address: std::net::SocketAddr, more: &str| {
        let target = format!(
            "host=shop.example hostaddr=127.0.0.1 port={} user=ann password=secret \
             dbname=postgres sslrootcert={} {more}",
            address.port(),
            proxy.ca
        );
        run("psql", &["-At", "-c", "select 6 * 7", &target], "")
    };
    for address in [required, optional] {
        let found = ask(address, "sslmode=verify-full");
        assert!(found.code == 0 && found.said.contains("42"), "{}", found.said);
        proxy.gnutls("postgres", address);
        proxy.inject(address, false, b"\0\0\0\x08\x04\xd2\x16\x2fx");
        direct(address);
    }
    let refused = ask(required, "sslmode=disable");
    assert!(refused.code != 0 && refused.said.contains("TLS is required"), "{}", refused.said);
    let found = ask(optional, "sslmode=disable");
    assert!(found.code == 0 && found.said.contains("42"), "{}", found.said);
    for address in [required, optional] {
        directly_by_libpq(address, &proxy.ca);
    }
    // A request of cancelling is passed on: the server closes, as it does for a wrong key.
    let cancel = [&b"\0\0\0\x10\x04\xd2\x16\x2e"[..], &[7; 8]].concat();
    assert_eq!(clear(required, &cancel), "");
}

/// A query of libpq, which knows direct TLS since PostgreSQL 17 and Debian 12 does not have; by the
/// package `psycopg`, whose Python the environment names.
fn directly_by_libpq(address: std::net::SocketAddr, ca: &str) {
    let python = std::env::var("CONCLAVE_PSYCOPG_PYTHON").unwrap_or("python3".to_owned());
    if run(&python, &["-c", "import psycopg"], "").code != 0 {
        let is_needed = std::env::var_os("CONCLAVE_TEST_ALL").is_some();
        assert!(!is_needed, "{python} knows no psycopg");
        println!("SKIPPED: {python} knows no psycopg");
        return;
    }
    // There is no way back from direct TLS: without it there is no answer.
    let script = format!(
        "import psycopg\nwith psycopg.connect('host=shop.example hostaddr=127.0.0.1 port={} \
         user=ann password=secret dbname=postgres sslrootcert={ca} sslmode=verify-full \
         sslnegotiation=direct') as one:\n    \
         print(one.execute('select 6 * 7').fetchone()[0], one.pgconn.ssl_in_use)",
        address.port()
    );
    let found = run(&python, &["-c", &script], "");
    assert!(found.code == 0 && found.said.contains("42 True"), "{}", found.said);
}

/// TLS from the first byte, as PostgreSQL 17 has it: only with its application protocol.
fn direct(address: std::net::SocketAddr) {
    let dial = |protocols: &[&[u8]]| {
        let mut config = client_config(rustls::ALL_VERSIONS).unwrap();
        config.alpn_protocols = protocols.iter().map(|one| one.to_vec()).collect();
        let name = ServerName::try_from("shop.example").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        StreamOwned::new(connection, connect(address))
    };
    let startup = b"\0\0\0\x26\0\x03\0\0user\0ann\0database\0postgres\0\0";
    let startup = [&[0, 0, 0, u8::try_from(startup.len()).unwrap()], &startup[4..]].concat();
    let mut stream = dial(&[b"postgresql"]);
    stream.write_all(&startup).unwrap();
    let mut kind = [0];
    stream.read_exact(&mut kind).unwrap();
    assert_eq!(kind, *b"R", "the server asks for a password");
    // Another protocol, and none.
    for protocols in [&[&b"http/1.1"[..]][..], &[]] {
        let mut stream = dial(protocols);
        assert!(stream.write_all(&startup).and_then(|()| stream.read_exact(&mut kind)).is_err());
    }
}

#[test]
fn vsftpd_has_a_protected_control_connection() {
    if !servers::can_serve("vsftpd") {
        return;
    }
    let (server, proxy) = (servers::vsftpd(), Proxy::start());
    let (required, optional) = proxy.both("ftp", server.ports[0]);
    let ask = |address: std::net::SocketAddr, more: &[&str]| {
        let url = format!("ftp://shop.example:{}/file.txt", address.port());
        let resolve = format!("shop.example:{}:127.0.0.1", address.port());
        let words = ["-sS", "--cacert", &proxy.ca, "--resolve", &resolve, &url];
        run("curl", &[more, &words].concat(), "")
    };
    for address in [required, optional] {
        let found = ask(address, &["--ftp-ssl-control"]);
        assert!(found.code == 0 && found.said.contains("hello by ftp"), "{}", found.said);
        // A client that wants data protected gets none unprotected.
        let refused = ask(address, &["--ssl-reqd"]);
        assert_eq!(refused.code, 64, "CURLE_USE_SSL_FAILED: {}", refused.said);
        assert!(!refused.said.contains("hello by ftp"), "{}", refused.said);
        proxy.gnutls("ftp", address);
        proxy.inject(address, true, b"AUTH TLS\r\nUSER anonymous\r\n");
    }
    let refused = ask(required, &[]);
    assert!(refused.code != 0 && !refused.said.contains("hello by ftp"), "{}", refused.said);
    let found = ask(optional, &[]);
    assert!(found.code == 0 && found.said.contains("hello by ftp"), "{}", found.said);
}
