//! What is not stored, and what the sender hears of it.

use super::*;

#[test]
fn replies_of_the_mailbox_server_stay_with_their_recipients() {
    let scene = Scene::new(WithoutCertificate::Pass);
    let mut sender = scene.sender();
    let replies = sender.begins(&["full", "jim", "unknown", "busy", "late"]);
    assert_eq!(replies[2], "550 5.1.1 No such mailbox\r\n");
    // 421 would say that this connection ends.
    assert_eq!(replies[3], "451 4.3.2 Going down\r\n");
    assert!(replies[4].starts_with("451 4.3.0 "), "no guess while certificates are not known");
    let replies = sender.delivers(MESSAGE, 2);
    assert_eq!(replies[0], "452-4.2.2 The mailbox\r\n452 4.2.2 is full\r\n");
    assert_eq!(replies[1], "250 2.0.0 Saved\r\n");
    assert_eq!(scene.counts(), [1, 0, 3, 1]);
}

#[test]
fn a_mailbox_server_that_fails_in_the_middle_fails_its_recipient_alone() {
    let scene = Scene::new(WithoutCertificate::Pass);
    let mut sender = scene.sender();
    sender.begins(&["cut", "jim"]);
    let long = format!("{MESSAGE}{}", "A line of the message\r\n".repeat(100_000));
    let replies = sender.delivers(&long, 2);
    assert_eq!(replies[0], "451 4.4.2 The connection to the mailbox server failed\r\n");
    assert_eq!(replies[1], "250 2.0.0 Saved\r\n");
    drop(sender);
    assert!(!scene.mailboxes.with("RCPT TO:<cut@")[0].is_whole);
    assert!(decrypted("jim", &scene.mailboxes.data("jim")).unwrap().len() > 2_000_000);
}

#[test]
fn a_mailbox_server_that_is_gone_is_told_as_such() {
    let scene = Scene::new(WithoutCertificate::Pass);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let upstream = Place::Tcp(nobody);
    let settings = Settings { upstream, ..settings() };
    let mail = Mail::open("n1", settings, Arc::new(Accounts), Arc::default()).unwrap();
    let scene = Scene { mail, ..scene };
    let mut sender = scene.stranger();
    let reply = sender.says("LHLO mx.b.example");
    assert_eq!(reply, "451 4.4.1 The mailbox server does not answer\r\n");
}

pub(super) fn settings() -> Settings {
    let place = Place::parse("127.0.0.1:0").unwrap();
    Settings {
        listen: place.clone(),
        upstream: place,
        without_certificate: WithoutCertificate::Defer,
        cipher: Cipher::Aes256Cbc,
        offers_dsn: false,
    }
}

#[test]
fn a_sender_that_leaves_before_the_end_stores_nothing() {
    let scene = Scene::new(WithoutCertificate::Pass);
    for message in [MESSAGE, &MESSAGE.repeat(1000)] {
        let mut sender = scene.sender();
        sender.begins(&["jim", "bob"]);
        sender.sends(message.replace("\r\n.", "\r\n..").as_bytes());
        sender.sends(b"\r\n.");
        drop(sender);
    }
    let all = scene.mailboxes.with("RCPT");
    assert!(all.len() == 4 && all.iter().all(|one| !one.is_whole), "{all:?}");
    assert_eq!(scene.counts(), [0; 4]);
}

#[test]
fn an_end_that_only_some_servers_know_smuggles_nothing() {
    for end in ["\n.\n", "\n.\r\n", "\r.\r\n", "\r.\r"] {
        let scene = Scene::new(WithoutCertificate::Pass);
        let mut sender = scene.sender();
        sender.begins(&["jim", "bob"]);
        let smuggled = format!(
            "Subject: x\r\n\r\nHello{end}MAIL FROM:<x@b.example>\r\nRCPT TO:<bob@a.example>\r\n\
             DATA\r\nSubject: forged\r\n\r\nForged\r\n.\r\n"
        );
        sender.sends(smuggled.as_bytes());
        for _ in 0..2 {
            assert!(sender.hears().starts_with("554 5.6.0 "), "{end:?}");
        }
        assert_eq!(sender.says("NOOP"), "250 2.0.0 Ok\r\n", "it was one message: {end:?}");
        drop(sender);
        let all = scene.mailboxes.with("RCPT");
        assert!(all.len() == 2 && all.iter().all(|one| !one.is_whole), "{end:?}: {all:?}");
        assert_eq!(scene.counts(), [0, 0, 0, 2]);
    }
}

#[test]
fn a_damaged_header_is_refused_only_where_it_must_be_encrypted() {
    let scene = Scene::new(WithoutCertificate::Pass);
    let mut sender = scene.sender();
    sender.begins(&["jim", "bob"]);
    let replies = sender.delivers("Subject: x\r\nno field\r\n\r\nHello\r\n", 2);
    assert!(replies[0].starts_with("554 5.6.0 "), "{replies:?}");
    assert_eq!(replies[1], "250 2.0.0 Saved\r\n");
    sender.begins(&["jim", "bob"]);
    let long = format!("X: {}\r\n\r\nHello\r\n", "x".repeat(crate::limits::HEAD_BYTES_MAX));
    let replies = sender.delivers(&long, 2);
    assert!(replies[0].starts_with("554 5.6.0 "), "{replies:?}");
    assert_eq!(replies[1], "250 2.0.0 Saved\r\n");
    // No header and no body is a message, too.
    sender.begins(&["jim", "bob"]);
    assert_eq!(sender.delivers("", 2), ["250 2.0.0 Saved\r\n"; 2]);
}
