//! The pages for owners of accounts: a person enters by an invitation, and cares for the own key.

use std::path::PathBuf;

use conclave_tests::{Browser, Node, Way, wait_for};

use super::looks::{axe, look};
use crate::smime::{
    openssl,
    owners::{ANN, Owners},
};

const PASSPHRASE: &str = "correct horse battery";
const NEXT_PASSPHRASE: &str = "another horse battery";

fn serial(node: &Node) -> String {
    let shown = node.run(&["account", "show", ANN, "-o", "json"]).json();
    shown["key"]["certificates"][0]["certificate"]["serial"].as_str().unwrap().to_owned()
}

fn live(way: Way) {
    let owners = Owners::found(1);
    let node = &owners.cluster.nodes[0];
    let Some(browser) = Browser::start(way) else { return };
    let url = owners.url(node);
    browser.open(&url);
    browser.shows("Ask those who run your mail for an invitation");
    let invitation = owners.invite(node, ANN);
    browser.open(&format!("{url}/account/enter/ann%40shop.example?invitation={invitation}"));
    browser.shows("Choose a passphrase for ann@shop.example");
    let picture =
        |name: &str| browser.whole_picture(&format!("owner-{way:?}-{name}").to_lowercase());
    picture("enter");
    choose(&browser, PASSPHRASE, NEXT_PASSPHRASE);
    browser.shows("the two new passphrases are not the same");
    choose(&browser, PASSPHRASE, PASSPHRASE);
    browser.shows("Your account is ready.");
    browser.shows("Others can send you encrypted mail");
    picture("account");
    certify(&browser, node);
    change(&browser, node);
    download(&browser, way, node);
    // Used once: the link leads to the form, and no further.
    browser.open(&format!("{url}/account/enter/ann%40shop.example?invitation={invitation}"));
    choose(&browser, PASSPHRASE, PASSPHRASE);
    browser.shows("was used or withdrawn");
    assert!(!browser.text().contains("conclave "), "no commands for owners: {}", browser.text());
    leave(&browser, &url);
}

/// Sets the first passphrase of an account, typed twice.
fn choose(browser: &Browser, passphrase: &str, repeated: &str) {
    browser.fill("new-passphrase", passphrase);
    browser.fill("repeated-passphrase", repeated);
    browser.press("Set the passphrase");
}

fn certify(browser: &Browser, node: &Node) {
    let first = serial(node);
    browser.press("Renew");
    browser.shows("You have a new certificate.");
    assert_ne!(serial(node), first);
    browser.press("Revoke");
    browser.press("Revoke it for ever");
    browser.shows("The certificate is revoked.");
    browser.shows("revoked");
}

fn change(browser: &Browser, node: &Node) {
    browser.press("Another passphrase");
    browser.fill("old-passphrase", "not this passphrase");
    browser.fill("new-passphrase", NEXT_PASSPHRASE);
    browser.fill("repeated-passphrase", NEXT_PASSPHRASE);
    browser.press("Change the passphrase");
    browser.shows("the passphrase does not open the locked key");
    browser.press("Another passphrase");
    browser.fill("old-passphrase", PASSPHRASE);
    browser.fill("new-passphrase", NEXT_PASSPHRASE);
    browser.fill("repeated-passphrase", NEXT_PASSPHRASE);
    browser.press("Change the passphrase");
    browser.shows("The passphrase is changed.");
    browser.press("End this key");
    browser.fill("key-passphrase", NEXT_PASSPHRASE);
    browser.press("End the key");
    browser.shows("You have a new key. The certificates issued here for the old one are revoked.");
    browser.shows("of an earlier key");
    let account = node.run(&["account", "show", ANN, "-o", "json"]).json();
    let revoked = account["earlier"][0]["certificates"].as_array().unwrap();
    assert!(revoked.iter().all(|one| one["revoked"].is_string()), "{account}");
    assert!(account["receives"].is_string());
}

fn download(browser: &Browser, way: Way, node: &Node) {
    let dir = tempfile::tempdir().unwrap();
    browser.keep_downloads_in(dir.path());
    browser.fill("file-passphrase", NEXT_PASSPHRASE);
    browser.fill("file-new", "of the file");
    browser.fill("file-repeated", "of the file");
    browser.press("Download the file");
    let file: PathBuf = wait_for("the file", || {
        let names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        names.into_iter().find(|path| path.extension().is_some_and(|end| end == "p12"))
    });
    let file = file.display().to_string();
    let read = ["pkcs12", "-in", &file, "-passin", "pass:of the file", "-nodes"];
    let (is_read, said) = openssl(node, &read);
    assert!(is_read && said.contains("BEGIN PRIVATE KEY"), "{way:?}: {said}");
}

fn leave(browser: &Browser, url: &str) {
    browser.open(&format!("{url}/account"));
    browser.press("Log out");
    browser.shows("Log in");
    browser.open(&format!("{url}/account"));
    browser.shows("Passphrase");
    browser.fill("address", ANN);
    browser.fill("passphrase", PASSPHRASE);
    browser.press("Log in");
    browser.shows("the address or the passphrase is wrong");
    browser.fill("passphrase", NEXT_PASSPHRASE);
    browser.press("Log in");
    browser.shows("Your login ends in");
}

#[test]
fn an_owner_lives_with_the_mouse() {
    live(Way::Mouse);
}

#[test]
fn an_owner_lives_without_script() {
    live(Way::NoScript);
}

#[test]
fn the_pages_of_owners_are_for_everybody() {
    let Some(axe) = axe() else { return };
    let owners = Owners::found(1);
    let node = &owners.cluster.nodes[0];
    let Some(browser) = Browser::start(Way::Mouse) else { return };
    let url = owners.url(node);
    browser.open(&url);
    look(&browser, &axe, "owner-login");
    browser.look(1280, false);
    browser.fill("address", ANN);
    browser.fill("passphrase", PASSPHRASE);
    browser.press("Log in");
    browser.shows("the address or the passphrase is wrong");
    look(&browser, &axe, "owner-refused");
    browser.look(1280, false);
    let invitation = owners.invite(node, ANN);
    browser.open(&format!("{url}/account/enter/ann%40shop.example?invitation={invitation}"));
    look(&browser, &axe, "owner-enter");
    browser.look(1280, false);
    choose(&browser, PASSPHRASE, PASSPHRASE);
    browser.shows("Your account is ready.");
    browser.press("Another passphrase");
    look(&browser, &axe, "owner");
    browser.look(1280, false);
    browser.press("Revoke");
    browser.shows("Revoke it for ever");
    look(&browser, &axe, "owner-revoke");
}
