//! Conversations with clients.

use super::*;

const HELLO: &[u8] = b"<?xml version='1.0'?><stream:stream to='shop.example' version='1.0' \
    xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
const STARTTLS: &[u8] = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const PROCEED: &[u8] = b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";

#[test]
fn smtp_tells_clients_the_way_to_tls_and_nothing_else() {
    required(
        ListenerProtocol::Smtp,
        &[
            ToClient(b"220 mx.example ESMTP\r\n"),
            Client(b"ehlo client.example\r\n"),
            ToClient(b"250-mx.example\r\n250-ENHANCEDSTATUSCODES\r\n250 STARTTLS\r\n"),
            Client(b"HELO client.example\r\nNOOP\r\n"),
            ToClient(b"250 mx.example\r\n250 2.0.0 OK\r\n"),
            Client(b"HELP\r\nVRFY ann\r\n"),
            ToClient(
                b"214 2.0.0 Issue a STARTTLS command first\r\n\
                  530 5.7.0 Must issue a STARTTLS command first\r\n",
            ),
            Client(b"MAIL FROM:<a@client.example>\r\n"),
            ToClient(b"530 5.7.0 Must issue a STARTTLS command first\r\n"),
            Client(b"AUTH PLAIN AGEAYg==\r\n"),
            ToClient(b"530 5.7.0 Must issue a STARTTLS command first\r\n"),
            Client(b"EHLO\r\nSTARTTLS now\r\n\r\n"),
            ToClient(&b"501 5.5.4 Syntax error\r\n".repeat(3)),
            AwaitsClient,
            Client(b"STARTTLS\r\n"),
            ToClient(b"220 2.0.0 Ready to start TLS\r\n"),
            StartTls,
            // The client does not see the upstream's greeting, which would be its second.
            Upstream(b"220-mail ESMTP\r\n220 welcome\r\nmore"),
            Pass(b"", b"more"),
        ],
    );
    required(
        ListenerProtocol::Smtp,
        &[
            ToClient(b"220 mx.example ESMTP\r\n"),
            Client(b"QUIT\r\n"),
            ToClient(b"221 2.0.0 Bye\r\n"),
            Over,
        ],
    );
}

#[test]
fn smtp_shows_the_upstream_where_tls_is_optional() {
    optional(
        ListenerProtocol::Smtp,
        &[
            AwaitsUpstream,
            Upstream(b"220 mail ESMTP\r\n"),
            ToClient(b"220 mail ESMTP\r\n"),
            Client(b"EHLO client.example\r\n"),
            ToUpstream(b"EHLO client.example\r\n"),
            Upstream(b"250-mail\r\n250-SIZE 1000\r\n250 8BITMIME\r\n"),
            ToClient(b"250-mail\r\n250-STARTTLS\r\n250-SIZE 1000\r\n250 8BITMIME\r\n"),
            Client(b"RSET\r\n"),
            ToUpstream(b"RSET\r\n"),
            Upstream(b"250 2.0.0 Ok\r\n"),
            ToClient(b"250 2.0.0 Ok\r\n"),
            Client(b"HELP\r\n"),
            ToUpstream(b"HELP\r\n"),
            Upstream(b"214-help\r\n214 end\r\n"),
            ToClient(b"214-help\r\n214 end\r\n"),
            Client(b"MAIL FROM:<a@client.example>\r\n"),
            Pass(b"MAIL FROM:<a@client.example>\r\n", b""),
        ],
    );
    let greeted = [
        Upstream(b"220 mail ESMTP\r\n"),
        ToClient(b"220 mail ESMTP\r\n"),
        Client(b"EHLO c\r\n"),
        ToUpstream(b"EHLO c\r\n"),
    ];
    let check = |reply: &[u8], shown: &[u8]| {
        let rest = [Upstream(reply), ToClient(shown), AwaitsClient];
        optional(ListenerProtocol::Smtp, &[&greeted[..], &rest].concat());
    };
    check(b"250 mail\r\n", b"250-mail\r\n250 STARTTLS\r\n");
    check(b"250-mail\r\n250 STARTTLS\r\n", b"250-mail\r\n250 STARTTLS\r\n");
    check(b"502 no\r\n", b"502 no\r\n");
    // A server that accepts no clients is shown to the client unchanged.
    optional(
        ListenerProtocol::Smtp,
        &[Upstream(b"554 no\r\n"), ToClient(b"554 no\r\n"), Pass(b"", b"")],
    );
}

#[test]
fn imap_tells_clients_the_way_to_tls_and_nothing_else() {
    let greeting: &[u8] =
        b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] mx.example ready\r\n";
    let capability: &[u8] =
        b"* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\na OK CAPABILITY completed\r\n";
    required(
        ListenerProtocol::Imap,
        &[
            ToClient(greeting),
            Client(b"a capability\r\n"),
            ToClient(capability),
            Client(b"b LOGIN ann {6}\r\n"),
            ToClient(b"b NO [PRIVACYREQUIRED] Must issue a STARTTLS command first\r\n"),
            Client(b"b ID NIL\r\nb LANGUAGE\r\n"),
            ToClient(
                b"* ID NIL\r\nb OK ID completed\r\n\
                  b NO Only i-default is available before TLS\r\n",
            ),
            Client(b"c NOOP\r\nd+ NOOP\r\ne STARTTLS x\r\n"),
            ToClient(b"c OK completed\r\n* BAD Not a command\r\ne BAD Wrong arguments\r\n"),
            Client(b"f StartTLS\r\n"),
            ToClient(b"f OK Begin TLS negotiation now\r\n"),
            StartTls,
            Upstream(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] Dovecot\r\n"),
            Pass(b"", b""),
        ],
    );
    // Bytes after a non-synchronising literal are not a command.
    required(
        ListenerProtocol::Imap,
        &[
            ToClient(greeting),
            Client(b"b LOGIN ann {20+}\r\n"),
            ToClient(b"* BYE TLS must be started first\r\n"),
            Over,
        ],
    );
    let joined = [ToClient(greeting), Client(b"a STARTTLS\r\n")];
    let started = [ToClient(b"a OK Begin TLS negotiation now\r\n"), StartTls];
    let check = |upstream: &[u8], shown: &[u8]| {
        let rest = [Upstream(upstream), ToClient(shown), Over];
        required(ListenerProtocol::Imap, &[&joined[..], &started, &rest].concat());
    };
    // No client gets the identity that the upstream has preset.
    check(b"* PREAUTH welcome ann\r\n", b"* BYE the server is not available\r\n");
    check(b"* BYE too busy\r\n", b"* BYE too busy\r\n");
    check(b"HTTP/1.1 400 Bad Request\r\n", b"* BYE the server is not available\r\n");
}

#[test]
fn imap_shows_the_upstream_where_tls_is_optional() {
    optional(
        ListenerProtocol::Imap,
        &[
            Upstream(b"* OK [CAPABILITY IMAP4rev1 ID AUTH=PLAIN] ready\r\n"),
            ToClient(b"* OK [CAPABILITY IMAP4rev1 ID AUTH=PLAIN STARTTLS] ready\r\n"),
            Client(b"1 CAPABILITY\r\n"),
            ToUpstream(b"1 CAPABILITY\r\n"),
            Upstream(b"* CAPABILITY IMAP4rev1 ID\r\n1 OK done\r\n"),
            ToClient(b"* CAPABILITY IMAP4rev1 ID STARTTLS\r\n1 OK done\r\n"),
            Client(b"2 LOGIN ann {6}\r\n"),
            Pass(b"2 LOGIN ann {6}\r\n", b""),
        ],
    );
    // What mail programs say first does not end the offer of TLS.
    optional(
        ListenerProtocol::Imap,
        &[
            Upstream(b"* OK [CAPABILITY IMAP4rev1 ID] ready\r\n"),
            ToClient(b"* OK [CAPABILITY IMAP4rev1 ID STARTTLS] ready\r\n"),
            Client(b"1 ID (\"name\" \"x\")\r\n"),
            ToUpstream(b"1 ID (\"name\" \"x\")\r\n"),
            Upstream(b"* ID NIL\r\n1 OK done\r\n"),
            ToClient(b"* ID NIL\r\n1 OK done\r\n"),
            Client(b"2 language de\r\n"),
            ToUpstream(b"2 language de\r\n"),
            Upstream(b"2 BAD what\r\n"),
            ToClient(b"2 BAD what\r\n"),
            Client(b"A[3] noop\r\n"),
            ToUpstream(b"A[3] noop\r\n"),
            Upstream(b"A[3] OK CAPABILITY none\r\n"),
            ToClient(b"A[3] OK CAPABILITY none\r\n"),
            Client(b"A[3] CAPABILITY\r\n"),
            ToUpstream(b"A[3] CAPABILITY\r\n"),
            Upstream(b"A[3] OK [CAPABILITY IMAP4rev1] CAPABILITY is done\r\n"),
            ToClient(b"A[3] OK [CAPABILITY IMAP4rev1 STARTTLS] CAPABILITY is done\r\n"),
            Client(b"A[3] STARTTLS\r\n"),
            ToClient(b"A[3] OK Begin TLS negotiation now\r\n"),
            StartTls,
        ],
    );
    // The octets of a literal are for the server.
    optional(
        ListenerProtocol::Imap,
        &[
            Upstream(b"* OK ready\r\n"),
            ToClient(b"* OK ready\r\n"),
            Client(b"1 ID ({4}\r\n"),
            Pass(b"1 ID ({4}\r\n", b""),
        ],
    );
    optional(
        ListenerProtocol::Imap,
        &[Upstream(b"* PREAUTH hi\r\n"), ToClient(b"* PREAUTH hi\r\n"), Pass(b"", b"")],
    );
}

#[test]
fn pop3_tells_clients_the_way_to_tls_and_nothing_else() {
    required(
        ListenerProtocol::Pop3,
        &[
            ToClient(b"+OK mx.example POP3\r\n"),
            Client(b"CAPA\r\nUSER ann\r\n"),
            ToClient(b"+OK\r\nSTLS\r\n.\r\n-ERR Must issue a STLS command first\r\n"),
            Client(b"STLS x\r\nstls\r\n"),
            ToClient(b"-ERR Syntax error\r\n+OK Begin TLS\r\n"),
            StartTls,
            Upstream(b"+OK <1.2@mail>\r\n"),
            Pass(b"", b""),
        ],
    );
    optional(
        ListenerProtocol::Pop3,
        &[
            Upstream(b"+OK <1.2@mail>\r\n"),
            ToClient(b"+OK <1.2@mail>\r\n"),
            Client(b"CAPA\r\n"),
            ToUpstream(b"CAPA\r\n"),
            Upstream(b"+OK\r\nUIDL\r\n.\r\n"),
            ToClient(b"+OK\r\nUIDL\r\nSTLS\r\n.\r\n"),
            Client(b"CAPA\r\n"),
            ToUpstream(b"CAPA\r\n"),
            Upstream(b"-ERR what?\r\n"),
            ToClient(b"+OK\r\nSTLS\r\n.\r\n"),
            // Outlook asks for the mechanisms first.
            Client(b"AUTH\r\n"),
            ToUpstream(b"AUTH\r\n"),
            Upstream(b"+OK\r\nPLAIN\r\n"),
            AwaitsAny,
            Upstream(b".\r\n"),
            ToClient(b"+OK\r\nPLAIN\r\n.\r\n"),
            AwaitsClient,
            // Some servers have one line only.
            Client(b"AUTH\r\n"),
            ToUpstream(b"AUTH\r\n"),
            AwaitsUpstream,
            Upstream(b"+OK what?\r\n"),
            ToClient(b"+OK what?\r\n"),
            AwaitsAny,
            Client(b"AUTH\r\n"),
            ToUpstream(b"AUTH\r\n"),
            Upstream(b"-ERR no\r\n"),
            ToClient(b"-ERR no\r\n"),
            Client(b"NOOP\r\n"),
            ToUpstream(b"NOOP\r\n"),
            Upstream(b"+OK\r\n"),
            ToClient(b"+OK\r\n"),
            Client(b"USER ann\r\n"),
            Pass(b"USER ann\r\n", b""),
        ],
    );
}

#[test]
fn sieve_tells_clients_the_way_to_tls_and_nothing_else() {
    let own: &[u8] = b"\"IMPLEMENTATION\" \"Conclave\"\r\n\"SASL\" \"\"\r\n\"SIEVE\" \"\"\r\n\
        \"STARTTLS\"\r\n\"VERSION\" \"1.0\"\r\nOK \"mx.example\"\r\n";
    required(
        ListenerProtocol::Sieve,
        &[
            ToClient(own),
            Client(b"Capability\r\n"),
            ToClient(own),
            Client(b"NOOP \"tag 1\"\r\nNOOP \"\x07\"\r\nLISTSCRIPTS\r\n"),
            ToClient(
                b"OK (TAG \"tag 1\") \"Done\"\r\nOK \"Done\"\r\n\
                  NO (ENCRYPT-NEEDED) \"Must issue a STARTTLS command first\"\r\n",
            ),
            Client(b"STARTTLS\r\n"),
            ToClient(b"OK \"Begin TLS negotiation now\"\r\n"),
            StartTls,
            // The server lists its capabilities again, as the client expects.
            Pass(b"", b""),
        ],
    );
    required(
        ListenerProtocol::Sieve,
        &[
            ToClient(own),
            Client(b"AUTHENTICATE \"PLAIN\" {8+}\r\n"),
            ToClient(b"BYE \"TLS must be started first\"\r\n"),
            Over,
        ],
    );
    let shown: &[u8] = b"\"SASL\" \"PLAIN\"\r\n\"NOTIFY\" {6}\r\nOK\r\n:)\r\nOK {2}\r\nhi\r\n";
    optional(
        ListenerProtocol::Sieve,
        &[
            Upstream(shown),
            ToClient(&[b"\"STARTTLS\"\r\n", shown].concat()),
            Client(b"LOGOUT\r\n"),
            Pass(b"LOGOUT\r\n", b""),
        ],
    );
}

#[test]
fn ftp_protects_the_control_connection_and_says_that_data_is_not() {
    required(
        ListenerProtocol::Ftp,
        &[
            ToClient(b"220 mx.example FTP\r\n"),
            Client(b"FEAT\r\n"),
            ToClient(b"211-Features:\r\n AUTH TLS\r\n PBSZ\r\n PROT\r\n211 End\r\n"),
            Client(b"SYST\r\nCLNT x\r\nHELP\r\n"),
            ToClient(b"215 UNIX Type: L8\r\n200 OK\r\n214 Issue AUTH TLS first\r\n"),
            Client(b"USER ann\r\nAUTH SSL\r\nPBSZ 0\r\n"),
            ToClient(
                b"530 Issue AUTH TLS first\r\n504 Use AUTH TLS\r\n503 Issue AUTH TLS first\r\n",
            ),
            Client(b"AUTH tls\r\n"),
            ToClient(b"234 AUTH TLS OK\r\n"),
            StartTls,
            Upstream(b"120 wait\r\n220-hello\r\n 221 not yet\r\n220 hello\r\n"),
            AwaitsClient,
            Client(b"PBSZ 0\r\nPROT P\r\nPROT C\r\nCCC\r\n"),
            ToClient(
                b"200 PBSZ=0\r\n536 Data connections are not protected here\r\n200 PROT C\r\n\
                  534 The control connection stays protected\r\n",
            ),
            Client(b"USER ann\r\n"),
            ToUpstream(b"USER ann\r\n"),
            AwaitsUpstream,
            Upstream(b"331 password?\r\n"),
            ToClient(b"331 password?\r\n"),
            Client(b"EPSV\r\n"),
            Pass(b"EPSV\r\n", b""),
        ],
    );
    optional(
        ListenerProtocol::Ftp,
        &[
            Upstream(b"220 hello\r\n"),
            ToClient(b"220 hello\r\n"),
            Client(b"FEAT\r\n"),
            ToUpstream(b"FEAT\r\n"),
            Upstream(b"211-Features:\r\n EPSV\r\n211 End\r\n"),
            ToClient(b"211-Features:\r\n EPSV\r\n AUTH TLS\r\n PBSZ\r\n PROT\r\n211 End\r\n"),
            Client(b"SYST\r\n"),
            ToUpstream(b"SYST\r\n"),
            Upstream(b"215 UNIX\r\n"),
            ToClient(b"215 UNIX\r\n"),
            // curl asks for SSL before it asks for TLS.
            Client(b"AUTH SSL\r\nPBSZ 0\r\n\r\n"),
            ToClient(b"504 Use AUTH TLS\r\n503 Issue AUTH TLS first\r\n501 Syntax error\r\n"),
            Client(b"USER ann\r\n"),
            Pass(b"USER ann\r\n", b""),
        ],
    );
}

#[test]
fn xmpp_names_the_domain_and_requires_tls() {
    let header = |from: &str| {
        format!(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
             xmlns:stream='http://etherx.jabber.org/streams' \
             id='07070707070707070707070707070707' from='{from}' xml:lang='en' version='1.0'>"
        )
    };
    let features = "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'>\
        <required/></starttls></stream:features>";
    let shop = header("shop.example") + features;
    required(
        ListenerProtocol::XmppClient,
        &[
            AwaitsClient,
            Client(HELLO),
            ToClient(shop.as_bytes()),
            Client(b"\n"),
            Client(STARTTLS),
            ToClient(PROCEED),
            StartTls,
            Pass(b"", b""),
        ],
    );
    let mut conversation = with_client(ListenerProtocol::XmppClient, manners(true)).unwrap();
    let turns = [Client(HELLO), ToClient(shop.as_bytes())];
    hold(conversation.as_mut(), &turns, usize::MAX);
    assert_eq!(conversation.stream_to(), Some("shop.example"));
    for to in ["bücher.example", "हिन्दी.example"] {
        let mut conversation = with_client(ListenerProtocol::XmppClient, manners(true)).unwrap();
        let said = format!("<stream:stream to='{to}' version='1.0'>");
        let shown = header(to) + features;
        let turns = [Client(said.as_bytes()), ToClient(shown.as_bytes()), AwaitsClient];
        hold(conversation.as_mut(), &turns, 1);
        assert_eq!(conversation.stream_to(), Some(to));
    }
    let long = b"<starttls xmlns=\"urn:ietf:params:xml:ns:xmpp-tls\"></starttls>";
    let turns = [Client(HELLO), ToClient(shop.as_bytes()), Client(long), ToClient(PROCEED)];
    required(ListenerProtocol::XmppClient, &[&turns[..], &[StartTls]].concat());
    let error = |condition: &str| {
        format!(
            "<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
             </stream:error></stream:stream>"
        )
    };
    let check = |said: &[u8], shown: String| {
        let turns = [Client(said), ToClient(shown.as_bytes()), Over];
        hold(
            with_client(ListenerProtocol::XmppClient, manners(true)).unwrap().as_mut(),
            &turns,
            usize::MAX,
        );
    };
    let main = header("mx.example");
    check(b"<stream:stream to='a&apos;b'>", main.clone() + &error("improper-addressing"));
    check(b"<!DOCTYPE x><stream:stream>", main.clone() + &error("not-well-formed"));
    check(b"GET / HTTP/1.1\r\n", main + &error("not-well-formed"));
    let auth = [HELLO, b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"].concat();
    check(&auth, shop.clone() + &error("policy-violation"));
}

#[test]
fn xmpp_adds_tls_to_the_features_where_it_is_optional() {
    let own = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
    let check = |features: &str, shown: String| {
        let header = "<stream:stream id='1' version='1.0'>";
        let said = format!("{header}{features}");
        let shown = format!("{header}{shown}");
        let turns = [
            Client(HELLO),
            ToUpstream(HELLO),
            Upstream(said.as_bytes()),
            ToClient(shown.as_bytes()),
            AwaitsClient,
            Client(b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"),
            Pass(b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", b""),
        ];
        hold(
            with_client(ListenerProtocol::XmppClient, manners(false)).unwrap().as_mut(),
            &turns,
            usize::MAX,
        );
    };
    let open = "<stream:features>";
    let rest = "<mechanisms><mechanism>PLAIN</mechanism></mechanisms></stream:features>";
    check(&format!("{open}{rest}"), format!("{open}{own}{rest}"));
    check(&format!("{open}{own}{rest}"), format!("{open}{own}{rest}"));
    check("<stream:features/>", format!("{open}{own}</stream:features>"));
}

/// Encodes an LDAPMessage from its id, its operation and the operation's content.
fn ldap(id: u8, operation: u8, content: &[u8]) -> Vec<u8> {
    let size = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
    let body = [&[2, 1, id, operation, size(content)], content].concat();
    [&[0x30, size(&body)], &body[..]].concat()
}

const START_TLS_NAME: &[u8] = b"\x80\x161.3.6.1.4.1.1466.20037";

#[test]
fn ldap_answers_the_request_for_tls_and_refuses_all_others() {
    let request = ldap(9, 0x77, START_TLS_NAME);
    let result = |id: u8, operation: u8, code: u8, text: &str, name: &[u8]| {
        let size = u8::try_from(text.len()).unwrap();
        let content = [&[0x0a, 1, code, 4, 0, 4, size], text.as_bytes(), name].concat();
        ldap(id, operation, &content)
    };
    let agreed = result(9, 0x78, 0, "", b"\x8a\x161.3.6.1.4.1.1466.20037");
    let refused = |id, operation| result(id, operation, 13, "TLS must be started first", b"");
    let bind = ldap(1, 0x60, b"\x02\x01\x03\x04\x00\x80\x00");
    let search = ldap(2, 0x63, b"\x04\x04dc=x\x0a\x01\x02");
    required(
        ListenerProtocol::Ldap,
        &[
            AwaitsClient,
            Client(&bind),
            ToClient(&refused(1, 0x61)),
            Client(&search),
            ToClient(&refused(2, 0x65)),
            Client(&ldap(3, 0x4a, b"dc=x")),
            ToClient(&refused(3, 0x6b)),
            Client(&ldap(4, 0x50, b"\x01")),
            AwaitsClient,
            Client(&request),
            ToClient(&agreed),
            StartTls,
            Pass(b"", b""),
        ],
    );
    let root = ldap(5, 0x63, b"\x04\x00\x0a\x01\x00");
    let entry = [
        &b"\x04\x00\x30\x30\x30\x2e\x04\x12supportedExtension\x31\x18\x04\x16"[..],
        b"1.3.6.1.4.1.1466.20037",
    ]
    .concat();
    let entry = [ldap(5, 0x64, &entry), result(5, 0x65, 0, "", b"")].concat();
    required(
        ListenerProtocol::Ldap,
        &[Client(&root), ToClient(&entry), Client(&ldap(6, 0x42, b"")), Over],
    );
    optional(ListenerProtocol::Ldap, &[Client(&bind), Pass(&bind, b"")]);
    // A look at the root entry does not end the offer of TLS.
    let (one, done) = (ldap(5, 0x64, b"\x04\x00\x30\x00"), result(5, 0x65, 0, "", b""));
    let answered = [&one[..], &done].concat();
    optional(
        ListenerProtocol::Ldap,
        &[
            Client(&root),
            ToUpstream(&root),
            AwaitsUpstream,
            Upstream(&answered),
            ToClient(&answered),
            AwaitsClient,
            Client(&request),
            ToClient(&agreed),
            StartTls,
        ],
    );
    optional(ListenerProtocol::Ldap, &[Client(&search), Pass(&search, b"")]);
    let goodbye = result(0, 0x78, 2, "not a message of LDAP", b"\x8a\x161.3.6.1.4.1.1466.20036");
    required(ListenerProtocol::Ldap, &[Client(b"G"), ToClient(&goodbye), Over]);
}

#[test]
fn ldap_ignores_controls_unless_they_are_critical() {
    let with = |controls: &[u8]| {
        let name = START_TLS_NAME;
        let size = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
        let body = [&[2, 1, 9, 0x77, size(name)], name, controls].concat();
        [&[0x30, size(&body)], &body[..]].concat()
    };
    let answer = |code: u8, text: &str| {
        let size = u8::try_from(text.len()).unwrap();
        let name = [b"\x8a", &START_TLS_NAME[1..]].concat();
        let content = [&[0x0a, 1, code, 4, 0, 4, size], text.as_bytes(), &name].concat();
        ldap(9, 0x78, &content)
    };
    // ManageDsaIT as Java's JNDI sends it: 2.16.840.1.113730.3.4.2, not critical.
    let manage = b"\x04\x172.16.840.1.113730.3.4.2";
    let controls = |all: &[&[u8]]| {
        let size = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
        let one = |rest: &&[u8]| {
            let control = [&manage[..], rest].concat();
            [&[0x30, size(&control)], &control[..]].concat()
        };
        let all: Vec<u8> = all.iter().flat_map(one).collect();
        [&[0xa0, size(&all)], &all[..]].concat()
    };
    let check = |controls: Vec<u8>, code: u8, text: &str| {
        for policy in [required, optional] {
            let (said, shown) = (with(&controls), answer(code, text));
            let turns = [Client(&said), ToClient(&shown)];
            let end: &[Turn<'_>] = match code {
                0 => &[StartTls],
                12 => &[AwaitsClient],
                _ => &[Over],
            };
            policy(ListenerProtocol::Ldap, &[&turns[..], end].concat());
        }
    };
    check(controls(&[b""]), 0, "");
    check(controls(&[b"\x01\x01\x00", b"\x04\x01x"]), 0, "");
    check(controls(&[]), 0, "");
    check(controls(&[b"\x01\x01\xff"]), 12, "no critical control is known here");
    check(controls(&[b"", b"\x01\x01\x01\x04\x00"]), 12, "no critical control is known here");
    check(b"\xa0\x02\x04\x00".to_vec(), 2, "malformed controls");
}

/// Encodes a first message of PostgreSQL.
fn postgres(code: u32, rest: &[u8]) -> Vec<u8> {
    let length = u32::try_from(8 + rest.len()).unwrap();
    [&length.to_be_bytes(), &code.to_be_bytes(), rest].concat()
}

#[test]
fn postgres_takes_requests_for_encryption_and_of_cancelling() {
    let (ssl, gss) = (postgres(80_877_103, b""), postgres(80_877_104, b""));
    let startup = postgres(0x0003_0000, b"user\0ann\0\0");
    required(
        ListenerProtocol::Postgres,
        &[Client(&gss), ToClient(b"N"), Client(&ssl), ToClient(b"S"), StartTls, Pass(b"", b"")],
    );
    let fatal = b"E\0\0\0\x55SFATAL\0VFATAL\0C28000\0\
        MTLS is required: connect with sslmode=verify-full\0\0";
    let size = u8::try_from(fatal.len() - 1).unwrap();
    let fatal = [&fatal[..4], &[size], &fatal[5..]].concat();
    required(ListenerProtocol::Postgres, &[Client(&startup), ToClient(&fatal), Over]);
    optional(ListenerProtocol::Postgres, &[Client(&startup), Pass(&startup, b"")]);
    let cancel = postgres(80_877_102, &[7; 8]);
    for policy in [required, optional] {
        policy(ListenerProtocol::Postgres, &[Client(&cancel), ToUpstream(&cancel), AwaitsUpstream]);
    }
}
