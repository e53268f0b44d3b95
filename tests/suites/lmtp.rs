//! Mail that is stored encrypted: a node's LMTP proxy in front of a real Dovecot.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::Command,
};

use conclave_tests::{Cluster, DEADLINE, Node, has_program, wait_for};

use crate::starttls::servers::{Server, can_serve, dovecot_lmtp, postfix_before};

const PASSPHRASE: &str = "correct horse battery";
const MESSAGE: &str = "Received: from x by y\r\nFrom: ann@b.example\r\nTo: jim@shop.example\r\n\
    Subject: Plans\r\n\r\nHello\r\n..a line with dots\r\n";

/// A node with accounts of Jim and John, and a Dovecot with mailboxes of them and of Bob.
struct Scene {
    cluster: Cluster,
    dovecot: Server,
}

impl Scene {
    /// Starts them; none without Dovecot or openssl.
    fn start(settings: &str) -> Option<Scene> {
        if !has_program("openssl") || !can_serve("/usr/lib/dovecot/lmtp") {
            return None;
        }
        let (cluster, dovecot) = (Cluster::unfounded(1), dovecot_lmtp());
        let mut scene = Scene { cluster, dovecot };
        scene.configure(settings);
        scene.cluster.found();
        let node = scene.node();
        node.run(&["domain", "create", "shop.example"]).ok();
        node.run(&["smime", "self-sign", "shop.example"]).ok();
        let pass = node.file("account.pass", PASSPHRASE.as_bytes());
        for name in ["jim", "john"] {
            let email = format!("{name}@shop.example");
            node.run(&["account", "create", &email]).ok();
            node.run(&["account", "key", "generate", &email, "--passphrase-file", &pass]).ok();
            node.run(&["account", "cert", "issue", &email]).ok();
        }
        Some(scene)
    }

    fn node(&self) -> &Node {
        &self.cluster.nodes[0]
    }

    fn socket(&self) -> PathBuf {
        // Where other users may enter.
        self.dovecot.file("lmtp.sock").into()
    }

    /// Writes the section and starts the node anew.
    fn configure(&mut self, settings: &str) {
        let path = self.node().dir.join("node.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        let rest = config.get(config.find("[node]").unwrap()..).unwrap();
        let (socket, upstream) = (self.socket().display().to_string(), self.dovecot.ports[0]);
        let section = format!(
            "[lmtp]\nlisten = \"unix:{socket}\"\nupstream = \"{upstream}\"\n{settings}\n{rest}"
        );
        std::fs::write(&path, section).unwrap();
        let node = &mut self.cluster.nodes[0];
        node.stop();
        node.start();
    }

    fn sender(&self) -> Sender {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut sender = Sender(BufReader::new(stream));
        assert!(sender.hears().starts_with("220 node-1 "));
        assert!(sender.says("LHLO mx.b.example").starts_with("250-"));
        sender
    }

    /// Returns the messages in a mailbox, with CRLF as they were stored.
    fn messages(&self, name: &str) -> Vec<String> {
        let new = self.dovecot.file(&format!("mail/{name}@shop.example/Maildir/new"));
        let Ok(new) = std::fs::read_dir(new) else { return Vec::new() };
        new.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect()
    }

    /// Returns the only message in a mailbox.
    fn message(&self, name: &str) -> String {
        let all = self.messages(name);
        let [one] = all.as_slice() else { panic!("{name}: {all:?}") };
        one.clone()
    }

    /// Decrypts a message with openssl by the exported key of an account. Returns whether it could,
    /// and what it said.
    fn decrypted(&self, name: &str, message: &str) -> (bool, String) {
        let node = self.node();
        let pass = node.file("account.pass", PASSPHRASE.as_bytes());
        let of_file = node.file("p12.pass", b"of the file");
        let (email, out) = (format!("{name}@shop.example"), node.file("key.p12", b""));
        let export = ["account", "key", "export", &email, "--passphrase-file", &pass];
        node.run(&[&export[..], &["--out", &out, "--export-passphrase-file", &of_file]].concat())
            .ok();
        let run = |words: &[&str]| {
            let output = Command::new("openssl").args(words).current_dir(&node.dir).output();
            let output = output.unwrap();
            let said = [output.stdout, output.stderr].concat();
            (output.status.success(), String::from_utf8_lossy(&said).into_owned())
        };
        let read = ["pkcs12", "-in", "key.p12", "-passin", "pass:of the file", "-nodes"];
        let (is_read, said) = run(&[&read[..], &["-out", "key.pem"]].concat());
        assert!(is_read, "{said}");
        node.file("message", message.as_bytes());
        run(&["cms", "-decrypt", "-in", "message", "-inkey", "key.pem", "-recip", "key.pem"])
    }

    /// Asserts that a mailbox has one message, readable by exactly these accounts.
    fn is_for(&self, mailbox: &str, readers: &[&str]) {
        let message = self.message(mailbox);
        assert!(message.contains("Subject: Plans") && !message.contains("Hello"), "{message}");
        for name in ["jim", "john"] {
            let (is_read, said) = self.decrypted(name, &message);
            assert_eq!(is_read, readers.contains(&name), "{name}: {said}");
            assert!(!is_read || said.contains("Hello"), "{said}");
        }
    }
}

/// A sender that speaks LMTP.
struct Sender(BufReader<UnixStream>);

impl Sender {
    fn hears(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let start = reply.len();
            let bytes = self.0.read_line(&mut reply).unwrap();
            if bytes == 0 || reply.as_bytes().get(start + 3) != Some(&b'-') {
                return reply;
            }
        }
    }

    fn says(&mut self, line: &str) -> String {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
        self.hears()
    }

    /// Begins a transaction, and returns the replies to these recipients of shop.example.
    fn begins(&mut self, recipients: &[&str]) -> Vec<String> {
        assert!(self.says("MAIL FROM:<ann@b.example>").starts_with("250 "));
        let rcpt = |one: &&str| {
            let (name, parameters) = one.split_once(' ').unwrap_or((one, ""));
            self.says(&format!("RCPT TO:<{name}@shop.example> {parameters}"))
        };
        recipients.iter().map(rcpt).collect()
    }

    /// Sends a message, and returns this many replies.
    fn delivers(&mut self, message: &str, count: usize) -> Vec<String> {
        assert!(self.says("DATA").starts_with("354 "));
        let stuffed = message.replace("\r\n.", "\r\n..");
        self.0.get_mut().write_all(format!("{stuffed}.\r\n").as_bytes()).unwrap();
        (0..count).map(|_| self.hears()).collect()
    }
}

#[test]
fn mail_is_stored_for_its_account_alone_and_statuses_are_those_of_the_mailboxes() {
    let Some(mut scene) = Scene::start("") else { return };
    let mut sender = scene.sender();
    let replies = sender.begins(&["jim", "nobody", "John+lists", "bob"]);
    assert!(replies[1].starts_with("550 5.1.1 <nobody@shop.example>"), "{replies:?}");
    assert!(replies[3].starts_with("451 4.7.5 "), "{replies:?}");
    let stored = sender.delivers(MESSAGE, 2);
    assert!(stored.iter().all(|reply| reply.starts_with("250 2.0.0 ")), "{stored:?}");
    drop(sender);
    scene.is_for("jim", &["jim"]);
    scene.is_for("john", &["john"]);
    assert!(scene.messages("bob").is_empty());
    let trace = scene.message("jim");
    assert!(trace.contains("Received: from mx.b.example"), "{trace}");
    // Sealed or not: certificates are public.
    scene.node().run(&["keyring", "seal"]).ok();
    let mut sender = scene.sender();
    sender.begins(&["jim"]);
    assert!(sender.delivers(MESSAGE, 1)[0].starts_with("250 "));
    assert_eq!(scene.messages("jim").len(), 2);
    scene.configure("without_certificate = \"reject\"");
    assert!(scene.sender().begins(&["bob"])[0].starts_with("550 5.7.5 "));
    scene.configure("without_certificate = \"pass\"\ncipher = \"aes256-gcm\"");
    let mut sender = scene.sender();
    sender.begins(&["bob", "john"]);
    sender.delivers(MESSAGE, 2);
    let passed = scene.message("bob").replace('\n', "\r\n");
    assert!(passed.ends_with(MESSAGE), "{passed}");
    let authenticated = scene.messages("john").into_iter();
    assert!(authenticated.into_iter().any(|one| one.contains("authEnveloped-data")));
    let log = scene.node().log();
    assert!(!log.contains("Plans") && !log.contains("Hello"), "{log}");
}

#[test]
fn a_revoked_certificate_is_not_encrypted_to() {
    let Some(scene) = Scene::start("without_certificate = \"reject\"") else { return };
    let mut sender = scene.sender();
    assert!(sender.begins(&["jim"])[0].starts_with("250 "));
    assert!(sender.says("RSET").starts_with("250 "));
    scene.node().run(&["account", "cert", "revoke", "jim@shop.example", "--yes"]).ok();
    assert!(sender.begins(&["jim"])[0].starts_with("550 5.7.5 "));
}

#[test]
fn a_redirected_message_is_for_both_and_encrypted_mail_stays() {
    let Some(scene) = Scene::start("") else { return };
    let mut sender = scene.sender();
    sender.begins(&["jim ORCPT=rfc822;john@shop.example"]);
    sender.delivers(MESSAGE, 1);
    scene.is_for("jim", &["jim", "john"]);
    let once = scene.message("jim");
    let begin = once.find("Received: from x by y").unwrap();
    let sent = once.get(begin..).unwrap().replace('\n', "\r\n");
    sender.begins(&["john"]);
    assert!(sender.delivers(&sent, 1)[0].starts_with("250 "));
    let stored = scene.message("john").replace('\n', "\r\n");
    assert!(stored.ends_with(&sent), "byte for byte: {stored}");
}

#[test]
fn mail_is_acknowledged_by_a_living_mailbox_server_alone() {
    let Some(mut scene) = Scene::start("") else { return };
    let mut sender = scene.sender();
    sender.begins(&["jim"]);
    assert!(sender.says("DATA").starts_with("354 "));
    sender.0.get_mut().write_all(&MESSAGE.repeat(1000).into_bytes()).unwrap();
    scene.dovecot.kill();
    sender.0.get_mut().write_all(b"\r\n.\r\n").unwrap();
    assert!(sender.hears().starts_with("451 4.4.2 "));
    let reply = sender.begins(&["jim"]).remove(0);
    assert!(reply.starts_with("451 4.4.1 "), "{reply}");
    assert!(scene.messages("jim").is_empty());
    let log = scene.node().log();
    assert!(log.contains("lmtp.upstream_failed") && log.contains("lmtp.upstream_down"), "{log}");
}

#[test]
fn a_drain_and_a_take_over_cut_no_transaction() {
    let Some(mut scene) = Scene::start("") else { return };
    let mut sender = scene.sender();
    sender.begins(&["jim"]);
    scene.node().run(&["node", "drain", "node-1", "--deadline", "1s"]).ok();
    let stream = UnixStream::connect(scene.socket()).unwrap();
    let mut refused = String::new();
    BufReader::new(stream).read_line(&mut refused).unwrap();
    assert!(refused.starts_with("421 4.3.2 "), "{refused}");
    assert!(sender.delivers(MESSAGE, 1)[0].starts_with("250 "));
    assert!(sender.hears().starts_with("421 4.3.2 "), "no further ones");
    scene.node().run(&["node", "resume", "node-1"]).ok();
    wait_for("the proxy", || {
        let mut greeting = String::new();
        BufReader::new(UnixStream::connect(scene.socket()).unwrap()).read_line(&mut greeting).ok();
        greeting.starts_with("220 ").then_some(())
    });
    let mut sender = scene.sender();
    sender.begins(&["john"]);
    let earlier = scene.cluster.nodes[0].take_over();
    let mut next = scene.sender();
    next.begins(&["john"]);
    assert!(next.delivers(MESSAGE, 1)[0].starts_with("250 "));
    assert!(sender.delivers(MESSAGE, 1)[0].starts_with("250 "));
    let mut rest = String::new();
    sender.0.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("421 "), "{rest}");
    drop(sender);
    earlier.wait_ended();
    assert_eq!(scene.messages("john").len(), 2);
}

/// Postfix in front, as docs/mail/lmtp.md sets it up.
#[test]
fn postfix_hands_mail_to_the_proxy() {
    if !can_serve("postfix") {
        return;
    }
    let Some(scene) = Scene::start("offer_dsn = true") else { return };
    let postfix = postfix_before(&scene.socket().display().to_string());
    let mut stream = std::net::TcpStream::connect(postfix.ports[0]).unwrap();
    let said = "EHLO mx.b.example\r\nMAIL FROM:<ann@b.example>\r\nRCPT TO:<john@shop.example>\r\n\
         RCPT TO:<bob@shop.example>\r\nRCPT TO:<nobody@shop.example>\r\nDATA\r\n";
    stream
        .write_all(format!("{said}{}.\r\nQUIT\r\n", MESSAGE.replace("\r\n.", "\r\n..")).as_bytes())
        .unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert!(answers.contains("queued"), "{answers}");
    let log = || std::fs::read_to_string(postfix.file("log")).unwrap_or_default();
    for status in
        ["dsn=2.0.0, status=sent", "dsn=4.7.5, status=deferred", "dsn=5.1.1, status=bounced"]
    {
        wait_for(status, || log().contains(status).then_some(()));
    }
    // A rule of John redirects his mail to Jim.
    assert!(scene.messages("john").is_empty());
    scene.is_for("jim", &["jim", "john"]);
}

#[test]
fn swaks_delivers_a_message() {
    if !has_program("swaks") {
        return;
    }
    let Some(scene) = Scene::start("") else { return };
    let socket = scene.socket().display().to_string();
    let to = ["--to", "jim@shop.example", "--from", "ann@b.example", "--protocol", "LMTP"];
    let mail = ["--socket", &socket, "--header", "Subject: Plans", "--body", "Hello"];
    let ran = Command::new("swaks").args(to).args(mail).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
    scene.is_for("jim", &["jim"]);
}
