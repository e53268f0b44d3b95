//! Order of commands, bounds, and the end of the proxy.

use tokio::sync::watch;

use super::{refused::settings, *};
use crate::limits::{COMMAND_BYTES_MAX, ERRORS_MAX, RECIPIENTS_MAX};

#[test]
fn commands_have_an_order() {
    let scene = Scene::new(WithoutCertificate::Pass);
    let mut sender = scene.stranger();
    let mut check = |line: &str, code: &str| {
        let reply = sender.says(line);
        assert!(reply.starts_with(code), "{line}: {reply}");
    };
    check("MAIL FROM:<>", "503 ");
    check("EHLO mx.b.example", "500 ");
    check("LHLO mx.b.example", "250-");
    check("RCPT TO:<jim@a.example>", "503 ");
    check("DATA", "503 ");
    check("MAIL FROM:<> BODY=BINARYMIME", "555 ");
    check("MAIL FROM:<> BODY=8BITMIME", "250 ");
    check("MAIL FROM:<>", "503 ");
    check("RCPT TO:<unknown@a.example>", "550 ");
    check("DATA", "503 ");
    check("RCPT TO:<jim@a.example>", "250 ");
    check("RSET", "250 ");
    check("DATA", "503 ");
    check("VRFY jim", "252 ");
    check("QUIT", "221 ");
    assert_eq!(rest(&mut sender), "");
    let heard = scene.mailboxes.with("RCPT TO:<jim@");
    assert!(heard[0].commands.contains(&"MAIL FROM:<> BODY=8BITMIME".to_owned()), "{heard:?}");
}

#[test]
fn commands_that_come_at_once_are_answered_in_order() {
    let scene = Scene::new(WithoutCertificate::Pass);
    let mut sender = scene.sender();
    sender.sends(
        b"MAIL FROM:<>\r\nRCPT TO:<unknown@a.example>\r\nRCPT TO:<jim@a.example>\r\nDATA\r\n",
    );
    let replies: Vec<String> = (0..4).map(|_| sender.hears()[..3].to_owned()).collect();
    assert_eq!(replies, ["250", "550", "250", "354"]);
    sender.sends(MESSAGE.as_bytes());
    // The dot in it was not doubled, so it is the end, and what follows is a command.
    assert_eq!(sender.hears(), "250 2.0.0 Saved\r\n");
    assert!(sender.hears().starts_with("500 "));
}

#[test]
fn recipients_lines_and_errors_have_bounds() {
    let scene = Scene::new(WithoutCertificate::Pass);
    let mut sender = scene.sender();
    sender.says("MAIL FROM:<>");
    for number in 0..RECIPIENTS_MAX {
        let reply = sender.says(&format!("RCPT TO:<box{number}@a.example>"));
        assert!(reply.starts_with("250 "), "{number}: {reply}");
    }
    assert!(sender.says("RCPT TO:<jim@a.example>").starts_with("452 4.5.3 "));
    sender.says("DATA");
    assert_eq!(sender.delivers(MESSAGE, RECIPIENTS_MAX).len(), RECIPIENTS_MAX);

    let mut sender = scene.stranger();
    sender.sends(&vec![b'x'; COMMAND_BYTES_MAX + 1]);
    assert_eq!(rest(&mut sender), "421 4.4.2 Closing: a line is longer than 2048 bytes\r\n");
    let mut sender = scene.stranger();
    sender.sends(&b"HELO x\r\n".repeat(ERRORS_MAX));
    assert!(rest(&mut sender).ends_with("421 4.7.0 Too many errors\r\n"));
}

#[test]
fn a_draining_proxy_ends_what_was_begun_and_begins_nothing() {
    let scene = Scene::new(WithoutCertificate::Pass);
    let drains = watch::Sender::new(false);
    scene.mail.follow(drains.subscribe());
    let (mut idle, mut busy) = (scene.sender(), scene.sender());
    busy.begins(&["jim"]);
    drains.send_replace(true);
    assert!(rest(&mut idle).starts_with("421 4.3.2 "));
    assert!(rest(&mut scene.connected()).starts_with("421 4.3.2 "));
    assert_eq!(busy.delivers(MESSAGE, 1), ["250 2.0.0 Saved\r\n"]);
    assert!(rest(&mut busy).starts_with("421 4.3.2 "));
    drains.send_replace(false);
    let mut sender = loop {
        let mut sender = scene.connected();
        if sender.hears().starts_with("220 ") {
            break sender;
        }
    };
    sender.says("LHLO mx.b.example");
    sender.begins(&["jim"]);
    sender.sends(b"Subject: x\r\n");
    let Scene { mail, mailboxes, .. } = scene;
    assert_eq!(finish(mail, Duration::from_millis(10)), 1, "it is cut");
    assert_eq!(rest(&mut sender), "");
    let heard = mailboxes.with("RCPT");
    assert_eq!(heard.iter().map(|one| one.is_whole).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn a_unix_socket_is_taken_over_from_an_ended_process_alone() {
    let dir = tempfile::tempdir().unwrap();
    let listen = Place::Unix(dir.path().join("lmtp"));
    let open = || {
        let upstream = Place::parse("127.0.0.1:9").unwrap();
        let settings = Settings { listen: listen.clone(), upstream, ..settings() };
        Mail::open("n1", settings, Arc::new(Accounts), Arc::default())
    };
    let mail = open().unwrap();
    assert!(open().is_err(), "it is in use");
    assert_eq!(finish(mail, DEADLINE), 0);
    assert!(open().is_ok(), "the file that is left is in no use");
    std::fs::remove_file(dir.path().join("lmtp")).unwrap();
    std::fs::write(dir.path().join("lmtp"), "").unwrap();
    assert!(open().is_err(), "no socket is removed");
}

#[test]
fn a_silent_peer_is_given_up() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut peer, own) = tokio::io::duplex(64);
        let mut wire = crate::wire::Wire::new(Box::new(own));
        tokio::io::AsyncWriteExt::write_all(&mut peer, b"NOOP\n").await.unwrap();
        let line = wire.line(COMMAND_BYTES_MAX, Duration::from_millis(10)).await;
        assert!(matches!(line, Err(crate::wire::WireError::Slow)), "{line:?}");
    });
}
