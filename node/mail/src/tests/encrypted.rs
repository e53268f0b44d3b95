//! What is stored, and for whom it is readable.

use conclave_smime::message::{Kind, kind};

use super::*;

#[test]
fn each_recipient_gets_a_message_that_only_its_account_reads() {
    for cipher in [Cipher::Aes256Cbc, Cipher::Aes256Gcm] {
        let scene = Scene::of(WithoutCertificate::Defer, cipher);
        let mut sender = scene.sender();
        assert_eq!(sender.begins(&["jim", "john"]), ["250 2.1.5 Ok\r\n"; 2]);
        assert_eq!(sender.delivers(MESSAGE, 2), ["250 2.0.0 Saved\r\n"; 2]);
        // A connection takes more than one message.
        sender.begins(&["Jim+folder"]);
        assert_eq!(sender.delivers(MESSAGE, 1), ["250 2.0.0 Saved\r\n"]);
        assert!(sender.says("QUIT").starts_with("221 "));
        for (mailbox, reader, other) in
            [("jim", "jim", "john"), ("john", "john", "jim"), ("Jim+folder", "jim", "john")]
        {
            let data = scene.mailboxes.data(mailbox);
            let text = String::from_utf8(data.clone()).unwrap();
            assert!(text.starts_with("Received: from x by y\r\n"), "the trace stays: {text}");
            assert!(!text.contains("Hello"), "{text}");
            assert!(
                decrypted(reader, &data).unwrap().ends_with("\r\n\r\nHello\r\n.\r\n..dots\r\n")
            );
            assert!(decrypted(other, &data).is_err());
        }
        for one in scene.mailboxes.with("RCPT") {
            assert_eq!(
                one.commands[0], "LHLO mx.b.example",
                "the mailbox server traces the sender"
            );
            let recipients = one.commands.iter().filter(|line| line.starts_with("RCPT"));
            assert_eq!(recipients.count(), 1, "no recipient learns of the others");
        }
        assert_eq!(scene.counts(), [3, 0, 0, 0]);
    }
}

#[test]
fn a_redirected_message_is_for_both_accounts() {
    let scene = Scene::new(WithoutCertificate::Defer);
    let mut sender = scene.sender();
    sender.begins(&["jim ORCPT=rfc822;john@a.example"]);
    sender.delivers(MESSAGE, 1);
    sender.begins(&["john ORCPT=rfc822;nobody@a.example NOTIFY=NEVER"]);
    sender.delivers(MESSAGE, 1);
    drop(sender);
    let data = scene.mailboxes.data("jim");
    assert!(decrypted("jim", &data).is_ok() && decrypted("john", &data).is_ok());
    let data = scene.mailboxes.data("john");
    assert!(decrypted("jim", &data).is_err() && decrypted("john", &data).is_ok());
    let handed = "RCPT TO:<john@a.example> ORCPT=rfc822;nobody@a.example NOTIFY=NEVER";
    assert_eq!(scene.mailboxes.with(handed).len(), 1, "parameters go on as they came");
}

#[test]
fn encrypted_messages_go_through_byte_for_byte() {
    let scene = Scene::new(WithoutCertificate::Defer);
    let mut sender = scene.sender();
    sender.begins(&["jim"]);
    sender.delivers(MESSAGE, 1);
    drop(sender);
    let once = String::from_utf8(scene.mailboxes.data("jim")).unwrap();
    let of_pgp = "Content-Type: multipart/encrypted; boundary=x\r\nX: \0\u{e9}\r\n\r\n--x\r\n.\r\n";
    // Only the content says what it is.
    let named =
        once.replace("smime-type=enveloped-data;", "").replace("smime-type=enveloped-data", "");
    for message in [once.as_str(), of_pgp, named.as_str()] {
        assert_eq!(kind(message.as_bytes()).unwrap(), Kind::Encrypted, "{message}");
        let mut sender = scene.sender();
        sender.begins(&["john"]);
        assert_eq!(sender.delivers(message, 1), ["250 2.0.0 Saved\r\n"]);
        drop(sender);
        let all = scene.mailboxes.with("RCPT TO:<john@");
        assert_eq!(String::from_utf8_lossy(&all.last().unwrap().data), message);
    }
    assert_eq!(scene.counts(), [1, 3, 0, 0]);
}

#[test]
fn a_recipient_without_a_certificate_is_answered_as_configured() {
    let check = |setting: WithoutCertificate, expected: &str| {
        let scene = Scene::new(setting);
        let mut sender = scene.sender();
        let replies = sender.begins(&["jim", "bob", "unknown"]);
        assert!(replies[1].starts_with(expected), "{replies:?}");
        assert_eq!(replies[2], "550 5.1.1 No such mailbox\r\n", "whatever is configured");
        let count = replies.iter().filter(|one| one.starts_with("250 ")).count();
        assert_eq!(sender.delivers(MESSAGE, count).len(), count);
        drop(sender);
        assert!(decrypted("jim", &scene.mailboxes.data("jim")).is_ok());
        let bob = scene.mailboxes.with("RCPT TO:<bob@");
        match setting {
            WithoutCertificate::Pass => {
                assert_eq!(String::from_utf8_lossy(&bob[0].data), MESSAGE, "as it came");
                assert_eq!(scene.counts(), [1, 1, 0, 1]);
            }
            _ => assert!(!bob[0].is_whole && bob[0].data.is_empty()),
        }
    };
    check(WithoutCertificate::Pass, "250 2.1.5 Ok\r\n");
    check(WithoutCertificate::Defer, "451 4.7.5 ");
    check(WithoutCertificate::Reject, "550 5.7.5 ");
}
