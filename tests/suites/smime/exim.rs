//! Mail that Exim stores encrypted, by the recipe of docs/smime.md.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use conclave_tests::{Cluster, Node, binary, wait_for};
use tempfile::TempDir;

use super::{
    delivery::{block, mails, send},
    messages::{By, accounts, passphrase},
    with_issuer,
};
use crate::starttls::servers::{self, Server, can_serve};

/// Mails that arrive while no filter succeeds; of more in one session Exim tries none at once.
const MAILS: usize = 10;

/// Exim with the routers and transports of the book, and its files. Mail for john and for sales goes
/// to jim's mailbox.
struct Scene {
    cluster: Cluster,
    exim: Server,
    dir: TempDir,
}

impl Scene {
    /// None, with the reason said, if Exim cannot run here.
    fn start() -> Option<Scene> {
        let program = std::env::var("CONCLAVE_EXIM").unwrap_or("exim4".to_owned());
        if !can_serve(&program) {
            return None;
        }
        let cluster = with_issuer();
        let node = &cluster.nodes[0];
        accounts(node, &["jim", "john", "eve"]);
        node.run(&["account", "create", "new@shop.example"]).ok();
        let dir = servers::dir();
        let at = dir.path();
        let token = ["token", "create", "mail", "--role", "viewer", "--domain", "shop.example"];
        fs::write(at.join("token"), node.run(&token).ok()).unwrap();
        // One is no account of Conclave.
        let listed =
            ["jim", "john", "eve", "new", "sales"].map(|name| format!("{name}@shop.example\n"));
        fs::write(at.join("accounts"), listed.concat()).unwrap();
        fs::copy(binary("conclave"), at.join("conclave")).unwrap();
        let shown = at.display();
        servers::sh(&format!("cd {shown}; mkdir mail; chown nobody mail token; chmod 600 token"));
        let aliases = "aliases:\n  driver = redirect\n  \
            data = ${if inlist{$local_part}{john:sales}{jim@shop.example}}\n";
        let routers = format!("{aliases}{}", block("driver = accept", at, node));
        let transports = block("transport_filter", at, node);
        let exim = servers::exim(&program, &routers, &transports)?;
        let scene = Scene { cluster, exim, dir };
        scene.place_filter();
        Some(scene)
    }

    fn node(&self) -> &Node {
        &self.cluster.nodes[0]
    }

    fn at(&self) -> &Path {
        self.dir.path()
    }

    /// Writes the script of the book, with the address that the node has now.
    fn place_filter(&self) {
        let script = block("exec 2>>", self.at(), self.node());
        self.replace("encrypt", &script);
    }

    /// Puts a program in the place of another one, which may be running.
    fn replace(&self, name: &str, script: &str) {
        let new = self.at().join("new");
        fs::write(&new, script).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, self.at().join(name)).unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.exim.file("log/main")).unwrap_or_default()
    }

    /// The only mail with this number in a mailbox, once it is there.
    fn stored(&self, mailbox: &str, number: usize) -> String {
        let mailbox = format!("{mailbox}@shop.example");
        let found = wait_for(&format!("mail {number}"), || {
            let log = self.log();
            assert!(!log.contains(" ** "), "nothing bounces: {log}");
            mails(self.at(), &mailbox).remove(&format!("number {number}"))
        });
        assert_eq!(found.len(), 1, "mail {number} is there once");
        assert!(!found[0].contains("Secret"), "{}", found[0]);
        found[0].clone()
    }

    /// Checks who reads a mail, by the exit code.
    fn is_read(&self, stored: &str, number: usize, readers: &[(&str, i32)]) {
        let node = self.node();
        let file = node.file("stored.eml", stored.as_bytes());
        for (name, code) in readers {
            let read = node.run(&By::of(node, name).words(&["smime", "decrypt", &file]));
            let is_read = read.out.contains(&format!("Secret {number}"));
            assert_eq!((read.code, is_read), (*code, *code == 0), "{name}: {}", read.err);
        }
    }

    /// Waits until delivery of at least so many mails has failed for now, with this reason.
    fn wait_deferred(&self, count: usize, reason: &str) {
        wait_for(&format!("{count} deferred mails"), || {
            let log = self.log();
            let failed = log.lines().filter(|line| line.contains(" == ") && line.contains(reason));
            let mut ids: Vec<&str> = failed.filter_map(|line| line.split(' ').nth(2)).collect();
            ids.sort_unstable();
            ids.dedup();
            (ids.len() >= count).then_some(())
        });
    }

    /// Waits until Exim keeps nothing, and returns how many mails lie in jim's mailbox.
    fn wait_empty(&self) -> usize {
        wait_for("an empty queue", || {
            let queue = fs::read_dir(self.exim.file("spool/input")).unwrap();
            (queue.count() == 0).then_some(())
        });
        mails(self.at(), "jim@shop.example").values().map(Vec::len).sum()
    }
}

#[test]
fn exim_stores_mail_encrypted_for_the_mailbox_and_the_original_recipient() {
    let Some(scene) = Scene::start() else { return };
    send(&scene.exim, &["john@shop.example"], 0..1);
    let stored = scene.stored("jim", 0);
    scene.is_read(&stored, 0, &[("jim", 0), ("john", 0), ("eve", 8)]);
    // The filter warns that sales is no account: that is no part of the message.
    send(&scene.exim, &["sales@shop.example"], 1..2);
    let stored = scene.stored("jim", 1);
    assert!(stored.starts_with("Received: "), "{stored}");
    scene.is_read(&stored, 1, &[("jim", 0), ("john", 8)]);
    let warned = fs::read_to_string(scene.at().join("mail/encrypt.log")).unwrap();
    assert!(warned.contains("sales@shop.example"), "{warned}");
    // Two recipients, one in another case and with an extension, are two mailboxes.
    send(&scene.exim, &["Eve+list@Shop.Example", "jim@shop.example"], 2..3);
    scene.is_read(&scene.stored("eve", 2), 2, &[("eve", 0), ("jim", 8)]);
    scene.is_read(&scene.stored("jim", 2), 2, &[("jim", 0), ("eve", 8)]);
    assert_eq!(scene.wait_empty(), 3);
}

#[test]
fn exim_keeps_mail_while_the_filter_fails_and_loses_none() {
    let Some(mut scene) = Scene::start() else { return };
    send(&scene.exim, &["new@shop.example"], 0..1);
    scene.wait_deferred(1, "process failed (75)");
    assert!(mails(scene.at(), "new@shop.example").is_empty());
    let node = scene.node();
    let pass = node.file("new.pass", passphrase("new").as_bytes());
    let of = ["new@shop.example", "--passphrase-file", &pass];
    node.run(&[&["account", "key", "generate"], &of[..]].concat()).ok();
    node.run(&["account", "cert", "issue", "new@shop.example"]).ok();
    scene.is_read(&scene.stored("new", 0), 0, &[("new", 0), ("jim", 8)]);
    // No node answers, and then each filter is killed in the middle of a message.
    scene.cluster.nodes[0].stop();
    send(&scene.exim, &["jim@shop.example"], 1..MAILS + 1);
    scene.wait_deferred(1 + MAILS, "process failed (75)");
    scene.cluster.nodes[0].start();
    scene.replace("encrypt", "#!/bin/sh\nhead -c 99; kill -KILL $$\n");
    scene.wait_deferred(2, "process failed (-9)");
    assert!(mails(scene.at(), "jim@shop.example").is_empty());
    scene.place_filter();
    for number in 1..=MAILS {
        scene.is_read(&scene.stored("jim", number), number, &[("jim", 0)]);
    }
    assert_eq!(scene.wait_empty(), MAILS, "none is there twice");
}
