//! Mail that Postfix and Dovecot store encrypted, by the recipe of docs/smime.md.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::Path,
    process::Command,
};

use conclave_tests::{Node, binary, has_program, wait_for};
use tempfile::TempDir;

use super::{
    messages::{By, accounts},
    with_issuer,
};
use crate::starttls::servers::{self, Server, can_serve};

/// Mails of the test that kills filters.
const MAILS: usize = 200;

/// The block of docs/smime.md that has this line, with the places of this test.
pub(super) fn block(begin: &str, at: &Path, node: &Node) -> String {
    let book = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/smime.md"));
    let book = book.unwrap();
    let mut blocks = book.split("```").skip(1).step_by(2).filter_map(|one| one.split_once('\n'));
    let found = blocks.find(|(_, text)| text.contains(begin));
    let (_, script) = found.unwrap_or_else(|| panic!("the book has no {begin:?}"));
    let said = node.said();
    let url = said.split_whitespace().find(|word| word.starts_with("https://")).unwrap();
    let at = at.display().to_string();
    script
        .replace("https://node-1.shop.example:7443", url.trim_end_matches('/'))
        .replace("/etc/postfix/conclave.token", &format!("{at}/token"))
        .replace("/etc/dovecot/conclave.token", &format!("{at}/token"))
        .replace("/etc/exim4/conclave.token", &format!("{at}/token"))
        .replace("/etc/dovecot/sieve-filter", &format!("{at}/bin"))
        .replace("conclave smime filter", &format!("{at}/conclave smime filter"))
        .replace("/usr/local/bin/", &format!("{at}/"))
        .replace("/etc/exim4/", &format!("{at}/"))
        .replace("user=vmail", "user=nobody")
        .replace("user = vmail", "user = nobody")
        .replace("/var/mail/", &format!("{at}/mail/"))
        .replace("dovecot-lda ", &format!("dovecot-lda -c {at}/dovecot.conf "))
}

/// Files for the user under whom Postfix runs the script.
fn place(node: &Node) -> TempDir {
    let dir = servers::dir();
    let at = dir.path();
    let shown = at.display();
    std::fs::copy(binary("conclave"), at.join("conclave")).unwrap();
    let token = ["token", "create", "mail", "--role", "viewer", "--domain", "shop.example"];
    std::fs::write(at.join("token"), node.run(&token).ok()).unwrap();
    let lda = format!(
        "log_path = {shown}/run/lda.log\nbase_dir = {shown}/run\nstate_dir = {shown}/run\n\
         protocols =\nssl = no\nfirst_valid_uid = 1\npostmaster_address = postmaster@shop.example\n"
    );
    let rules = format!(
        "{lda}protocol lda {{\nmail_plugins = sieve\n}}\nplugin {{\nsieve = file:{shown}/rule.sieve\n}}\n{}",
        block("sieve_plugins", at, node)
    );
    std::fs::create_dir(at.join("bin")).unwrap();
    for (name, text) in [
        ("dovecot.conf", lda),
        ("rules.conf", rules),
        ("rule.sieve", block("if not filter", at, node)),
        ("store-encrypted", block("# store-encrypted", at, node)),
        ("bin/encrypt", block("exec conclave", at, node)),
    ] {
        std::fs::write(at.join(name), text).unwrap();
    }
    servers::sh(&format!(
        "cd {shown}; mkdir mail run; chmod 755 store-encrypted bin/encrypt; chmod 600 token; \
         chown nobody mail run token"
    ));
    dir
}

/// Postfix that stores by the script, and tries again at once if that fails for now. Mail for john
/// goes to jim's mailbox.
fn postfix(at: &Path, node: &Node) -> Server {
    let main = format!(
        "smtpd_tls_security_level = none\nrecipient_delimiter = +\n\
         virtual_alias_maps = inline:{{ {{john@shop.example = jim@shop.example}} }}\n\
         minimal_backoff_time = 1s\nmaximal_backoff_time = 2s\nqueue_run_delay = 1s\n{}",
        block("virtual_transport = store", at, node)
    );
    servers::postfix_with(&main, &block("store unix", at, node))
}

/// Hands mails to Postfix in one session.
pub(super) fn send(postfix: &Server, to: &[&str], numbers: std::ops::Range<usize>) {
    let stream = TcpStream::connect(postfix.ports[0]).unwrap();
    let (mut lines, mut out) = (BufReader::new(stream.try_clone().unwrap()).lines(), stream);
    let mut expect = |code: &str| {
        loop {
            let line = lines.next().unwrap().unwrap();
            assert!(line.starts_with(code), "{line}");
            if !line[3..].starts_with('-') {
                return;
            }
        }
    };
    expect("220");
    out.write_all(b"EHLO client.example\r\n").unwrap();
    expect("250");
    for number in numbers {
        let mut mail = String::new();
        let recipients = to.iter().map(|to| (format!("RCPT TO:<{to}>"), "250"));
        let first = ("MAIL FROM:<a@client.example>".to_owned(), "250");
        let all = std::iter::once(first).chain(recipients);
        for (command, code) in all.chain([("DATA".to_owned(), "354")]) {
            out.write_all(format!("{command}\r\n").as_bytes()).unwrap();
            expect(code);
        }
        write!(mail, "From: a@client.example\r\nSubject: number {number}\r\n").unwrap();
        write!(mail, "Message-ID: <{number}@client.example>\r\n\r\nSecret {number}\r\n.\r\n")
            .unwrap();
        out.write_all(mail.as_bytes()).unwrap();
        expect("250");
    }
    out.write_all(b"QUIT\r\n").unwrap();
}

/// The mails in a mailbox: their subject, and each text.
pub(super) fn mails(at: &Path, mailbox: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let new = at.join(format!("mail/{mailbox}/Maildir/new"));
    for file in std::fs::read_dir(new).into_iter().flatten() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let subject = text.lines().find_map(|line| line.strip_prefix("Subject: "));
        found.entry(subject.unwrap().to_owned()).or_default().push(text);
    }
    found
}

fn is_delivered(postfix: &Server) -> bool {
    let queued = |queue: &str| {
        let find = format!("find {} -type f | wc -l", postfix.file(queue));
        let found = Command::new("sh").args(["-c", &find]).output().unwrap().stdout;
        String::from_utf8(found).unwrap().trim() != "0"
    };
    !["queue/incoming", "queue/active", "queue/deferred", "queue/maildrop"]
        .iter()
        .any(|one| queued(one))
}

#[test]
fn postfix_and_dovecot_store_mail_encrypted_and_killed_filters_lose_none() {
    if !can_serve("postfix") || !has_program("doveconf") {
        return;
    }
    let cluster = with_issuer();
    let node = &cluster.nodes[0];
    accounts(node, &["jim", "john", "eve"]);
    let dir = place(node);
    let at = dir.path();
    let postfix = postfix(at, node);
    send(&postfix, &["john@shop.example"], 0..1);
    let first = wait_for("the first mail", || {
        let log = || std::fs::read_to_string(postfix.file("log")).unwrap_or_default();
        let is_refused =
            ["status=bounced", "status=deferred"].iter().any(|one| log().contains(one));
        assert!(!is_refused, "{}", log());
        mails(at, "jim@shop.example").remove("number 0")
    });
    assert!(!first[0].contains("Secret"), "{}", first[0]);
    let stored = node.file("stored.eml", first[0].as_bytes());
    for name in ["jim", "john"] {
        let read = node.run(&By::of(node, name).words(&["smime", "decrypt", &stored])).ok();
        assert!(read.contains("Secret 0"), "{name}: {read}");
    }
    let refused =
        node.run(&By::of(node, "eve").words(&["smime", "decrypt", &stored, "-o", "json"]));
    assert_eq!(refused.problem()["code"], "A010");
    // Two recipients, one in another case and with an extension, are two mailboxes.
    send(&postfix, &["Eve+list@Shop.Example", "jim@shop.example"], 1..2);
    wait_for("the mail for eve", || mails(at, "eve@shop.example").remove("number 1"));
    send(&postfix, &["jim@shop.example"], 2..MAILS + 1);
    let mut kills = 0;
    let stored = || mails(at, "jim@shop.example").len();
    for goal in (0..=MAILS).step_by(20) {
        wait_for(&format!("{goal} mails"), || {
            if goal <= MAILS / 2 {
                // One of those that run now, as the kernel does it when memory is short.
                let pattern = format!("{}/conclave smime filter", at.display());
                let killed = Command::new("pkill").args(["-KILL", "-o", "-f", &pattern]).status();
                kills += usize::from(killed.unwrap().success());
            }
            (stored() > goal).then_some(())
        });
    }
    wait_for("an empty queue", || is_delivered(&postfix).then_some(()));
    assert!(kills >= 5, "only {kills} filters were killed");
    for (subject, texts) in mails(at, "jim@shop.example") {
        assert_eq!(texts.len(), 1, "{subject} is there once");
        assert!(!texts[0].contains("Secret"), "{subject}");
    }
}

#[test]
fn a_rule_of_dovecot_stores_mail_encrypted() {
    if !can_serve("doveconf") {
        return;
    }
    let cluster = with_issuer();
    let node = &cluster.nodes[1];
    accounts(node, &["jim", "john", "eve"]);
    let dir = place(node);
    let at = dir.path();
    let deliver = || {
        let mail =
            "From: a@client.example\r\nTo: jim@shop.example\r\nSubject: one\r\n\r\nSecret\r\n";
        std::fs::write(at.join("mail.eml"), mail).unwrap();
        let at = at.display();
        servers::sh(&format!(
            "export HOME={at}/mail; cd {at}; setpriv --reuid nobody --regid nogroup --clear-groups \
             /usr/lib/dovecot/dovecot-lda -c rules.conf -o mail_location=maildir:{at}/mail/Maildir \
             -f a@client.example < mail.eml"
        ));
    };
    deliver();
    let log = std::fs::read_to_string(at.join("run/lda.log")).unwrap_or_default();
    let stored = mails(at, "").remove("one").unwrap_or_else(|| panic!("{log}"));
    assert!(!stored[0].contains("Secret"), "{}{log}", stored[0]);
    let file = node.file("stored.eml", stored[0].as_bytes());
    for (name, code) in [("jim", 0), ("john", 0), ("eve", 8)] {
        let read = node.run(&By::of(node, name).words(&["smime", "decrypt", &file]));
        assert_eq!((read.code, read.out.contains("Secret")), (code, code == 0), "{name}");
    }
    node.run(&["account", "delete", "jim@shop.example", "--yes"]).ok();
    deliver();
    assert_eq!(mails(at, "")["one"].len(), 1, "not beside those that are encrypted");
    let kept = std::fs::read_dir(at.join("mail/Maildir/.Not encrypted/new")).unwrap().count();
    assert_eq!(kept, 1, "kept where it is seen");
}
