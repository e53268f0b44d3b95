//! S/MIME and accounts on the page: a domain becomes an authority, and an account lives through it.

use std::{path::PathBuf, process::Command};

use conclave_tests::{Cluster, Way, has_program, sign, wait_for};

use super::{Person, make_user};
use crate::smime::openssl;

const ANN: &str = "ann@shop.example";
const PASSPHRASE: &str = " correct horse battery";
const NEXT_PASSPHRASE: &str = "another horse battery";

impl Person<'_> {
    /// Confirms what is shown after it has seen that no passphrase came back.
    fn confirm_secret(&self, name: &str) {
        self.browser.shows("Do it");
        let page = self.browser.run("return document.documentElement.outerHTML");
        let page = page.as_str().unwrap();
        assert!(
            ![PASSPHRASE, NEXT_PASSPHRASE].iter().any(|secret| page.contains(secret)),
            "{page}"
        );
        self.confirm(name);
    }

    /// The account as the command line shows it.
    fn ann(&self) -> serde_json::Value {
        self.shown(&["account", "show", ANN])
    }
}

fn live(way: Way) {
    let cluster = Cluster::start(3);
    let one = &cluster.nodes[0];
    make_user(one, "alice", "operator,admin,security");
    one.run(&["domain", "create", "shop.example"]).ok();
    let Some(person) = Person::start(&cluster, way) else { return };
    person.log_in("alice");
    become_authority(&person);
    make_account(&person);
    invite(&person);
    certify(&person);
    revoke(&person);
    change_keys(&person);
    find_and_delete(&person);
}

fn become_authority(person: &Person<'_>) {
    let browser = &person.browser;
    person.go("/domains/shop.example");
    browser.press("S/MIME");
    browser.shows("shop.example issues no certificates of accounts: ");
    browser.shows("Nothing signs its revocation list");
    browser.fill("organization", "ACME Boats");
    browser.press("Make a signing request");
    browser.shows("If the domain has no S/MIME key yet, it gets one");
    browser.press("Back");
    browser.shows("Kind of its key");
    assert_eq!(person.value("organization"), "ACME Boats");
    browser.press("Make a self-signed issuer");
    browser.shows("conclave smime self-sign shop.example");
    person.confirm("smime-issuer");
    browser.shows("shop.example issues certificates of accounts by an issuer of its own");
    person.picture("smime");
    let issuer = person.shown(&["smime", "show", "shop.example"]);
    assert!(issuer["certificate"]["subject"].as_str().unwrap().contains("ACME Boats"), "{issuer}");
    // Then an authority of openssl signs the same key.
    browser.press("Another certificate for its key");
    browser.press("Make a signing request");
    browser.press("Do it");
    let request = person.request("shop.example-smime.csr");
    browser.press("Back");
    browser.press("Set a certificate of another authority");
    person.paste("certificate", &sign(&person.cluster.nodes[0], &request, "800"));
    browser.press("Check and set");
    person.confirm("smime-certificate");
    browser.shows("CN=Test Root");
    let signed = person.shown(&["smime", "show", "shop.example"]);
    assert_eq!(signed["key"]["sha256"], issuer["key"]["sha256"]);
    assert_eq!(signed["chain"].as_array().unwrap().len(), 1, "{signed}");
}

fn make_account(person: &Person<'_>) {
    let browser = &person.browser;
    browser.press("Accounts");
    browser.shows("There is no account yet");
    browser.fill("new-address", "ann@elsewhere.example");
    browser.press("Create the account");
    browser.shows("no domain has the name elsewhere.example");
    browser.fill("new-address", ANN);
    browser.fill("person", "Ann Lee");
    browser.press("Create the account");
    person.confirm("account");
    browser.shows("The account has no key yet");
    browser.fill("passphrase", PASSPHRASE);
    browser.fill("repeated-passphrase", NEXT_PASSPHRASE);
    browser.press("Generate a key");
    browser.shows("the two passphrases are not the same");
    assert_eq!(person.value("passphrase"), "");
    browser.fill("passphrase", PASSPHRASE);
    browser.fill("repeated-passphrase", PASSPHRASE);
    browser.press("Generate a key");
    person.confirm_secret("account-key");
    browser.shows("EC P-256, for signing and encryption");
    browser.shows("The account has no certificate yet");
}

/// An invitation is shown once, and withdrawn. With a recovery key the page says who can open keys.
fn invite(person: &Person<'_>) {
    let (browser, one) = (&person.browser, &person.cluster.nodes[0]);
    browser.shows("Its owner alone");
    browser.press("Invite the owner to another passphrase");
    browser.shows("It is shown once, used once");
    browser.press("Do it");
    browser.shows("Valid until");
    assert!(person.value("shown-1").starts_with("cvi_"), "{}", browser.text());
    browser.press("Back");
    browser.shows("The owner has an invitation until");
    browser.press("Withdraw the invitation");
    person.confirm("account-withdrawn");
    assert!(person.ann().get("invited_until").is_none());
    if !has_program("openssl") {
        return;
    }
    let made = ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "recovery.key"];
    openssl(one, &made);
    openssl(one, &["ec", "-in", "recovery.key", "-pubout", "-out", "recovery.pub"]);
    person.go("/domains/shop.example/smime");
    browser.shows("Their owners alone");
    browser.press("Recovery key");
    person.paste("recovery-key", &one.dir.join("recovery.pub").display().to_string());
    browser.press("Set the recovery key …");
    browser.fill("typed", "shop.example");
    person.confirm("recovery-key");
    browser.shows("Their owners, and the holder of the recovery key");
    browser.press("Recovery key");
    browser.press("Remove the recovery key");
    person.confirm("recovery-key-removed");
    browser.shows("Their owners alone");
    browser.press("Another revocation list");
    browser.fill("crl_url", "http://pki.shop.example/smime.crl");
    browser.press("Set the address");
    person.confirm("crl-url");
    browser.shows("http://pki.shop.example/smime.crl");
    person.go(&format!("/domains/shop.example/accounts/{ANN}"));
}

fn certify(person: &Person<'_>) {
    let browser = &person.browser;
    browser.tick("client");
    browser.press("Issue a certificate");
    browser.shows("clients of TLS servers");
    person.confirm("account-certificate");
    browser.shows("valid");
    browser.press("Renew");
    browser.fill("days", "30");
    browser.press("Issue another certificate");
    browser.shows("--days 30");
    person.confirm("account-renewed");
    let ann = person.ann();
    assert_eq!(ann["key"]["certificates"].as_array().unwrap().len(), 2, "{ann}");
    assert_eq!(ann["name"], "Ann Lee");
    person.picture("account");
}

/// The latest certificate is revoked, and the list of another program has it.
fn revoke(person: &Person<'_>) {
    let (browser, one) = (&person.browser, &person.cluster.nodes[0]);
    browser.press("Revoke");
    browser.choose("revocation_reason", "the private key is known to others, or may be");
    browser.press("Revoke this certificate …");
    browser.shows("It stays revoked");
    browser.shows(&format!("Type {ANN} to go on"));
    browser.fill("typed", ANN);
    person.confirm("account-revoked");
    browser.shows("revoked");
    let ann = person.ann();
    let certificates = ann["key"]["certificates"].as_array().unwrap();
    let revoked: Vec<bool> = certificates.iter().map(|one| one["revoked"].is_string()).collect();
    assert_eq!(revoked, [true, false], "{ann}");
    let serial = certificates[0]["certificate"]["serial"].as_str().unwrap();
    person.go("/domains/shop.example/smime");
    browser.shows("1 certificate.");
    browser.keep_downloads_in(&one.dir.join("lists"));
    browser.press("Download the revocation list");
    let file: PathBuf = wait_for("the revocation list", || {
        let mut files = std::fs::read_dir(one.dir.join("lists")).ok()?;
        let path = files.find_map(|file| {
            let path = file.unwrap().path();
            path.extension().is_some_and(|ending| ending == "crl").then_some(path)
        })?;
        Some(path)
    });
    if has_program("openssl") {
        let words = ["crl", "-inform", "DER", "-noout", "-text", "-in"];
        let read = Command::new("openssl").args(words).arg(file).output().unwrap();
        let text = String::from_utf8_lossy(&read.stdout).into_owned();
        let serial = serial.replace(':', "").to_uppercase();
        let serial = serial.trim_start_matches('0');
        assert!(text.contains(serial) && text.contains("Key Compromise"), "{serial}: {text}");
    }
}

/// Another key wants the present passphrase, and all keys get another one.
fn change_keys(person: &Person<'_>) {
    let (browser, one) = (&person.browser, &person.cluster.nodes[0]);
    person.go(&format!("/domains/shop.example/accounts/{ANN}"));
    browser.press("Another key");
    browser.fill("passphrase", NEXT_PASSPHRASE);
    browser.press("Generate another key");
    browser.shows("A003");
    browser.fill("passphrase", PASSPHRASE);
    browser.press("Generate another key");
    browser.shows("The present key stays");
    person.confirm_secret("account-another-key");
    browser.shows("Earlier keys, for earlier mail");
    browser.press("Issue a certificate");
    person.confirm("account-another-certificate");
    browser.press("Another passphrase");
    browser.fill("old-passphrase", PASSPHRASE);
    browser.fill("new-passphrase", NEXT_PASSPHRASE);
    browser.fill("repeated-passphrase", NEXT_PASSPHRASE);
    browser.press("Set the passphrase");
    person.confirm_secret("account-passphrase");
    person.picture("account-with-keys");
    let pass = one.file("ann.pass", NEXT_PASSPHRASE.as_bytes());
    let (of_file, out) = (one.file("p12.pass", b"of the file"), one.file("ann.p12", b""));
    let words = ["account", "key", "export", ANN, "--passphrase-file", &pass, "--out", &out];
    one.run(&[&words[..], &["--export-passphrase-file", &of_file]].concat()).ok();
}

fn find_and_delete(person: &Person<'_>) {
    let (browser, one) = (&person.browser, &person.cluster.nodes[0]);
    one.run(&["account", "create", "bob@shop.example"]).ok();
    browser.press("Accounts");
    browser.shows("bob@shop.example");
    person.picture("accounts");
    browser.fill("address", "nobody");
    browser.press("Open");
    browser.shows("A001");
    browser.fill("address", "ann");
    browser.press("Open");
    browser.shows("For a mail program");
    browser.press("Delete this account …");
    browser.shows("Mail to its keys stays encrypted for ever");
    browser.fill("typed", ANN);
    person.confirm("account-deleted");
    browser.shows("bob@shop.example");
    let listed = one.run(&["account", "list", "shop.example", "-o", "name"]).ok();
    assert_eq!(listed.trim(), "bob@shop.example");
}

#[test]
fn an_account_lives_through_the_page_without_script() {
    live(Way::NoScript);
}

#[test]
fn an_account_lives_through_the_page_by_keyboard_alone() {
    live(Way::Keyboard);
}
