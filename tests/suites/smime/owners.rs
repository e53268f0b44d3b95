//! Owners of accounts, who serve themselves: invitations, logins, and what an owner may do.

use std::{net::SocketAddr, process::Command};

use conclave_tests::{Cluster, Node, Ran, authority, binary, wait_for};
use rcgen::{KeyPair, SanType};
use serde_json::{Value, json};

use super::{openssl, refused};

pub(crate) const ANN: &str = "ann@shop.example";
const PASSPHRASE: &str = "correct horse battery";

/// A cluster whose owners reach their pages at a listener, by the address of any node.
pub(crate) struct Owners {
    pub(crate) cluster: Cluster,
    port: u16,
    /// The authority of the certificate that they see.
    trusted: String,
}

impl Owners {
    /// Founds one with a domain that issues, and two accounts without keys.
    pub(crate) fn found(count: u8) -> Owners {
        let cluster = Cluster::configured(count, "account", "bind = \"127.0.0.1:0\"");
        let first = &cluster.nodes[0];
        let addresses: Vec<String> =
            cluster.nodes.iter().map(|node| node.address.to_string()).collect();
        let mut create = vec!["domain", "create", "shop.example"];
        create.extend(addresses.iter().flat_map(|address| ["--ip", address]));
        first.run(&create).ok();
        let root = authority("Test Root", None);
        let issued = root.issue(KeyPair::generate().unwrap(), |params| {
            let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
            params.subject_alt_names = vec![dns("shop.example")];
            let ips = cluster.nodes.iter().map(|node| SanType::IpAddress(node.address));
            params.subject_alt_names.extend(ips);
        });
        let trusted = first.file("root.pem", root.certificate.pem().as_bytes());
        let chain = first.file("chain.pem", issued.certificate.as_bytes());
        let key = first.file("chain.key", issued.key.as_bytes());
        first.run(&["cert", "import", "shop.example", &chain, "--key", &key]).ok();
        first.run(&["domain", "set", "shop.example", "--pki", "enabled"]).ok();
        first.run(&["smime", "self-sign", "shop.example"]).ok();
        for email in [ANN, "bob@shop.example"] {
            first.run(&["account", "create", email]).ok();
        }
        let port = cluster.free_port();
        let (bind, upstream) = (format!(":{port}"), owners_port(first).to_string());
        let words = ["listener", "add", "owners", "--bind", &bind, "--upstream", &upstream];
        first.run(&[&words[..], &["--proxy-to", "v2"]].concat()).ok();
        Owners { cluster, port, trusted }
    }

    /// Where owners reach their pages at a node.
    pub(crate) fn url(&self, node: &Node) -> String {
        format!("https://{}:{}", node.address, self.port)
    }

    /// Invites an owner. Returns the secret.
    pub(crate) fn invite(&self, node: &Node, email: &str) -> String {
        let made = node.run(&["account", "invite", email, "-o", "json"]).json();
        made["invitation"].as_str().unwrap().to_owned()
    }

    /// Runs a command as an owner does, on a machine of their own.
    fn run(&self, node: &Node, words: &[&str]) -> Ran {
        let url = self.url(node);
        let mut command = Command::new(binary("conclave"));
        command.args(["--address", &url]).args(words).env("SSL_CERT_FILE", &self.trusted);
        Ran::of(&mut command)
    }

    /// Logs an owner in, perhaps by an invitation. Returns the file with the session.
    fn log_in(&self, node: &Node, email: &str, passphrase: &str, invitation: Option<&str>) -> Ran {
        let pass = node.file("owner.pass", passphrase.as_bytes());
        let mut words = vec!["account", "login", email, "--passphrase-file", &pass, "-o", "json"];
        let file = invitation.map(|secret| node.file("owner.invitation", secret.as_bytes()));
        words.extend(file.iter().flat_map(|file| ["--invitation-file", file.as_str()]));
        self.run(node, &words)
    }

    fn session(&self, node: &Node, email: &str, invitation: Option<&str>) -> String {
        let session = self.log_in(node, email, PASSPHRASE, invitation).json();
        node.file(&format!("{email}.session"), session["token"].as_str().unwrap().as_bytes())
    }
}

/// The port of a node for owners, as it says when it starts.
fn owners_port(node: &Node) -> SocketAddr {
    let said = node.said();
    let line = said.lines().rev().find_map(|line| line.trim().strip_prefix("account  "));
    line.unwrap().split(',').next().unwrap().parse().unwrap()
}

fn shown(node: &Node) -> Value {
    node.run(&["account", "show", ANN, "-o", "json"]).json()
}

fn events(node: &Node, event: &str) -> Vec<Value> {
    let words = ["audit", "list", "--event", event, "-o", "json"];
    node.run(&words).json().as_array().unwrap().clone()
}

#[test]
fn an_owner_enters_by_an_invitation_and_cares_for_the_account() {
    let owners = Owners::found(3);
    let [first, second, third] = owners.cluster.nodes.as_slice() else { panic!("three nodes") };
    let invitation = owners.invite(first, ANN);
    assert!(shown(second)["invited_until"].is_string());
    // What is wrong is refused, and uses nothing up.
    let wrong = owners.log_in(third, "bob@shop.example", PASSPHRASE, Some(&invitation));
    assert_eq!(wrong.problem()["code"], "A012");
    let wrong = owners.log_in(third, "nobody@shop.example", PASSPHRASE, Some(&invitation));
    assert_eq!(wrong.problem()["code"], "A012");
    assert_eq!(owners.log_in(third, ANN, "short", Some(&invitation)).problem()["code"], "A003");
    let session = owners.session(third, ANN, Some(&invitation));
    let again = owners.log_in(second, ANN, "another horse battery", Some(&invitation));
    assert_eq!(again.problem()["code"], "A012", "it is used once");
    // Who lost the answer and tries again is logged in.
    owners.log_in(second, ANN, PASSPHRASE, Some(&invitation)).ok();
    let account = shown(second);
    assert!(account["key"]["certificates"][0]["own"] == true, "{account}");
    assert!(account.get("invited_until").is_none() && account["receives"].is_string());
    let as_owner = |node: &Node, words: &[&str]| {
        owners.run(node, &[&["--token-file", &session][..], words].concat())
    };
    // One certificate after the other, at any node; what operators decide is not asked for.
    as_owner(first, &["account", "cert", "renew", ANN]).ok();
    let long = as_owner(first, &["account", "cert", "renew", ANN, "--days", "3000", "-o", "json"]);
    assert_eq!(long.problem()["code"], "X002");
    let client = as_owner(first, &["account", "cert", "renew", ANN, "--client", "-o", "json"]);
    assert_eq!(client.problem()["code"], "X002");
    let pass = third.file("owner.pass", PASSPHRASE.as_bytes());
    let of_file = third.file("p12.pass", b"of the file");
    let out = third.dir.join("ann.p12").display().to_string();
    let export = ["account", "key", "export", ANN, "--passphrase-file", &pass, "--out", &out];
    as_owner(third, &[&export[..], &["--export-passphrase-file", &of_file]].concat()).ok();
    let read = ["pkcs12", "-in", "ann.p12", "-passin", "pass:of the file", "-nodes"];
    assert!(openssl(third, &read).1.contains("BEGIN PRIVATE KEY"));
    as_owner(second, &["account", "key", "generate", ANN, "--passphrase-file", &pass]).ok();
    as_owner(second, &["account", "cert", "issue", ANN]).ok();
    as_owner(second, &["account", "cert", "revoke", ANN, "--yes"]).ok();
    assert!(shown(first)["key"]["certificates"][0]["revoked"].is_string());
    // A new passphrase ends every session; the operator sees that it was changed, and never a key.
    let new = third.file("new.pass", b"another horse battery");
    let words = ["account", "key", "passphrase", ANN, "--passphrase-file", &pass];
    as_owner(third, &[&words[..], &["--new-passphrase-file", &new]].concat()).ok();
    assert_eq!(as_owner(first, &["account", "show", ANN, "-o", "json"]).problem()["code"], "X003");
    assert_eq!(owners.log_in(first, ANN, PASSPHRASE, None).problem()["code"], "U003");
    owners.log_in(first, ANN, "another horse battery", None).ok();
    wait_for("the login in the trail", || {
        (!events(second, "account.login").is_empty()).then_some(())
    });
    for event in ["account.invite", "account.enter", "account_certificate.set", "account.login"] {
        let all = events(second, event);
        let by_owner = all.iter().any(|one| one["who"] == "owner of ann@shop.example");
        assert_eq!(by_owner, event != "account.invite", "{event}: {all:?}");
    }
    for node in [first, second, third] {
        let log = node.log();
        let secrets = [PASSPHRASE, "another horse battery", &invitation, "PRIVATE KEY"];
        assert!(!secrets.iter().any(|secret| log.contains(secret)), "{}", node.name);
    }
}

#[test]
fn an_owner_reaches_nothing_but_the_own_account() {
    let owners = Owners::found(1);
    let node = &owners.cluster.nodes[0];
    let session = owners.session(node, ANN, Some(&owners.invite(node, ANN)));
    owners.session(node, "bob@shop.example", Some(&owners.invite(node, "bob@shop.example")));
    let session = std::fs::read_to_string(session).unwrap();
    let token = node.run(&["token", "create", "t", "--role", "admin", "-o", "json"]).json();
    let token = token["token"].as_str().unwrap().rsplit_once('.').unwrap().0.to_owned();
    let ask = |base: &str, bearer: &str, method: &str, path: &str| {
        let mut command = Command::new("curl");
        command.args(["-sk", "-o", "/dev/null", "-w", "%{http_code}", "-X", method]);
        command.args(["-H", &format!("Authorization: Bearer {bearer}"), &format!("{base}{path}")]);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let (own, admin) = (owners.url(node), admin_url(node));
    assert_eq!(ask(&own, &session, "GET", "/v1/accounts/ann%40shop.example"), "200");
    assert_eq!(ask(&own, &session, "GET", "/v1/accounts/Ann%40SHOP.example"), "200");
    assert_eq!(ask(&admin, &session, "GET", "/v1/accounts/ann%40shop.example"), "200");
    assert_eq!(ask(&own, &session, "GET", "/v1/accounts/bob%40shop.example"), "403");
    for (method, path) in [
        ("POST", "/v1/accounts/bob%40shop.example/certificate"),
        ("POST", "/v1/accounts/bob%40shop.example/key/export"),
        ("PUT", "/v1/accounts/bob%40shop.example/passphrase"),
    ] {
        assert_eq!(ask(&own, &session, method, path), "403", "{path}");
    }
    for (method, path) in [
        ("DELETE", "/v1/accounts/ann%40shop.example"),
        ("POST", "/v1/accounts/ann%40shop.example/invitation"),
        ("POST", "/v1/accounts/ann%40shop.example/key/recovery"),
        ("GET", "/v1/domains"),
        ("GET", "/v1/domains/shop.example"),
        ("GET", "/v1/domains/shop.example/accounts"),
        ("GET", "/v1/status"),
        ("GET", "/v1/events"),
        ("GET", "/v1/audit"),
        ("POST", "/v1/tokens"),
    ] {
        assert_eq!(ask(&admin, &session, method, path), "403", "{path}");
        // The port of owners does not even have these, for operators neither.
        let at_own = ask(&own, &session, method, path);
        assert!(["403", "404", "405"].contains(&at_own.as_str()), "{path}: {at_own}");
    }
    assert_eq!(ask(&own, &token, "GET", "/v1/accounts/ann%40shop.example"), "401");
    assert_eq!(ask(&admin, &token, "GET", "/v1/accounts/ann%40shop.example"), "200");
    let forged = session.replace("cva_", "cva_A");
    assert_eq!(ask(&own, &forged, "GET", "/v1/accounts/ann%40shop.example"), "401");
    // Made again under the old address, the account is another one.
    node.run(&["account", "delete", ANN, "--yes"]).ok();
    assert_eq!(ask(&own, &session, "GET", "/v1/accounts/ann%40shop.example"), "401");
    node.run(&["account", "create", ANN]).ok();
    assert_eq!(ask(&own, &session, "GET", "/v1/accounts/ann%40shop.example"), "401");
    // Without a PROXY header nobody is heard.
    let direct = format!("http://{}", owners_port(node));
    assert_eq!(ask(&direct, &session, "GET", "/account"), "000");
}

fn admin_url(node: &Node) -> String {
    let said = node.said();
    let at = said.rfind("https://").unwrap();
    said[at..].lines().next().unwrap().trim().to_owned()
}

#[test]
fn guesses_cost_time_and_tell_nothing() {
    let owners = Owners::found(1);
    let node = &owners.cluster.nodes[0];
    owners.session(node, ANN, Some(&owners.invite(node, ANN)));
    let guess = |email: &str| owners.log_in(node, email, "not this passphrase", None).problem();
    // An account without a key and one that does not exist are refused in the same words.
    for email in [ANN, "bob@shop.example", "nobody@shop.example", "a@elsewhere.example"] {
        let problem = guess(email);
        assert_eq!(problem["code"], "U003", "{email}");
        assert_eq!(problem["title"], "the address or the passphrase is wrong", "{email}");
    }
    let long = "x".repeat(2_000);
    for email in [ANN, "nobody@shop.example"] {
        assert_eq!(owners.log_in(node, email, &long, None).problem()["code"], "U003", "{email}");
    }
    for email in [ANN, "nobody@shop.example"] {
        wait_for("a pause", || (guess(email)["code"] == "U004").then_some(()));
    }
    // A client elsewhere is not kept waiting: its address comes through the listener.
    assert_eq!(guess("bob@shop.example")["code"], "U003");
    let denied = events(node, "api.request");
    let is_guess = |one: &Value| {
        one["result"] == "denied" && one["object"].as_str().unwrap().ends_with("/login")
    };
    assert!(denied.iter().any(is_guess), "{denied:?}");
}

#[test]
fn a_lost_passphrase_is_replaced_and_the_mail_of_then_needs_the_old_one() {
    let owners = Owners::found(1);
    let node = &owners.cluster.nodes[0];
    owners.session(node, ANN, Some(&owners.invite(node, ANN)));
    let old_pass = node.file("old.pass", PASSPHRASE.as_bytes());
    let encrypted = |name: &str| {
        let letter =
            node.file("letter.eml", format!("Subject: {name}\r\n\r\n{name}\r\n").as_bytes());
        let out = node.dir.join(name).display().to_string();
        node.run(&["smime", "encrypt", &letter, "--to", ANN, "--out", &out]).ok();
        out
    };
    let first_mail = encrypted("first");
    owners.log_in(node, ANN, "a new horse battery", Some(&owners.invite(node, ANN))).ok();
    let second_mail = encrypted("second");
    let account = shown(node);
    assert_eq!(account["earlier"][0]["earlier_passphrase"], true, "{account}");
    assert_eq!(account["key"]["earlier_passphrase"], false);
    let new_pass = node.file("new.pass", b"a new horse battery");
    let decrypt = |mail: &str, pass: &str| {
        let words = ["smime", "decrypt", mail, "--as", ANN, "--passphrase-file", pass];
        node.run(&[&words[..], &["-o", "json"]].concat())
    };
    assert!(decrypt(&second_mail, &new_pass).ok().contains("second"));
    assert!(decrypt(&first_mail, &old_pass).ok().contains("first"));
    assert_eq!(decrypt(&first_mail, &new_pass).problem()["code"], "A010");
    let third_pass = node.file("third.pass", b"a third horse battery");
    let words = ["account", "key", "passphrase", ANN, "--passphrase-file", &new_pass];
    node.run(&[&words[..], &["--new-passphrase-file", &third_pass]].concat()).ok();
    assert!(decrypt(&second_mail, &third_pass).ok().contains("second"));
    assert!(decrypt(&first_mail, &old_pass).ok().contains("first"));
}

#[test]
fn an_invitation_ends_and_can_be_withdrawn() {
    let owners = Owners::found(1);
    let node = &owners.cluster.nodes[0];
    let withdrawn = owners.invite(node, ANN);
    node.run(&["account", "invite", ANN, "--withdraw"]).ok();
    let withdraw = ["account", "invite", ANN, "--withdraw"];
    assert_eq!(refused(node, &withdraw)["code"], "A012");
    let replaced = owners.invite(node, ANN);
    let valid = owners.invite(node, ANN);
    for wrong in [&withdrawn, &replaced, "cvi_1.1.00", "x"] {
        let refused = owners.log_in(node, ANN, PASSPHRASE, Some(wrong));
        assert_eq!(refused.problem()["code"], "A012", "{wrong}");
    }
    for wrong in ["59s", "31d"] {
        let words = ["account", "invite", ANN, "--expires-in", wrong];
        assert_eq!(refused(node, &words)["code"], "X004", "{wrong}");
    }
    // A turn of the keyring ends sessions, and no invitation. The address of the page will do, too.
    node.run(&["keyring", "rotate"]).ok();
    let url = format!("https://accounts.example/account/enter/x?invitation={valid}");
    owners.log_in(node, ANN, PASSPHRASE, Some(&url)).ok();
}

#[test]
fn an_invitation_gives_nothing_that_its_maker_does_not_have() {
    let owners = Owners::found(1);
    let node = &owners.cluster.nodes[0];
    let admin = admin_url(node);
    let invite = |name: &str, only: &[&str]| {
        let words = ["token", "create", name, "--role", "operator", "-o", "json"];
        let made = node.run(&[&words[..], only].concat()).json();
        let token = node.file(name, made["token"].as_str().unwrap().as_bytes());
        let mut command = Command::new(binary("conclave"));
        command.args(["--address", &admin, "--token-file", &token, "-o", "json"]);
        command.args(["account", "invite", ANN]);
        Ran::of(&mut command)
    };
    assert_eq!(invite("some", &["--only", "domain"]).problem()["code"], "X002");
    let made = invite("all", &[]).json()["invitation"].as_str().unwrap().to_owned();
    assert!(shown(node)["invited_until"].is_string());
    // It ends with the token that made it.
    let tokens = node.run(&["token", "list", "-o", "json"]).json();
    let maker = tokens.as_array().unwrap().iter().find(|one| one["name"] == "all").unwrap();
    node.run(&["token", "revoke", maker["id"].as_str().unwrap(), "--yes"]).ok();
    assert_eq!(shown(node)["invited_until"], Value::Null);
    let ended = owners.log_in(node, ANN, PASSPHRASE, Some(&made));
    assert_eq!(ended.problem()["code"], "A012");
    // Made twice under one id, the second one would not be the one that is open.
    let operation = "11111111-2222-7333-8444-555555555555";
    let words = ["account", "invite", ANN, "--operation", operation, "-o", "json"];
    let first = node.run(&words).json()["invitation"].as_str().unwrap().to_owned();
    assert_eq!(node.run(&words).problem()["code"], "V002");
    owners.log_in(node, ANN, PASSPHRASE, Some(&first)).ok();
}

#[test]
fn an_owner_does_not_choose_what_a_certificate_is_for() {
    let owners = Owners::found(1);
    let node = &owners.cluster.nodes[0];
    let session = owners.session(node, ANN, Some(&owners.invite(node, ANN)));
    let usages = |certificate: &Value| {
        node.file("leaf.pem", certificate["pem"].as_str().unwrap().as_bytes());
        openssl(node, &["x509", "-in", "leaf.pem", "-noout", "-ext", "extendedKeyUsage"]).1
    };
    let latest = || {
        let shown = node.run(&["account", "cert", "show", ANN, "-o", "json"]).json();
        usages(&shown["certificate"])
    };
    let as_owner =
        |words: &[&str]| owners.run(node, &[&["--token-file", &session][..], words].concat());
    // Not by a certificate of the owner's own making,
    let req = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let of = ["-subj", "/CN=ann", "-days", "9", "-addext", "subjectAltName=email:ann@shop.example"];
    let more = ["-addext", "extendedKeyUsage=clientAuth", "-keyout", "a.key", "-out", "a.pem"];
    assert!(openssl(node, &[&req[..], &of, &more].concat()).0);
    let to =
        ["pkcs12", "-export", "-inkey", "a.key", "-in", "a.pem", "-passout", "pass:of the file"];
    assert!(openssl(node, &[&to[..], &["-out", "a.p12"]].concat()).0);
    let (pass, of_file) =
        (node.file("owner.pass", PASSPHRASE.as_bytes()), node.file("p12.pass", b"of the file"));
    let file = node.dir.join("a.p12").display().to_string();
    let import = ["account", "key", "import", ANN, &file, "--file-passphrase-file", &of_file];
    as_owner(&[&import[..], &["--passphrase-file", &pass]].concat()).ok();
    assert!(latest().contains("TLS Web Client Authentication"));
    as_owner(&["account", "cert", "issue", ANN]).ok();
    assert!(!latest().contains("TLS Web Client Authentication"), "{}", latest());
    // but what an operator decided stays so.
    node.run(&["account", "cert", "renew", ANN, "--client"]).ok();
    as_owner(&["account", "cert", "renew", ANN]).ok();
    assert!(latest().contains("TLS Web Client Authentication"), "{}", latest());
}

#[test]
fn a_domain_with_a_recovery_key_can_open_what_was_made_under_it() {
    let owners = Owners::found(1);
    let node = &owners.cluster.nodes[0];
    owners.session(node, "bob@shop.example", Some(&owners.invite(node, "bob@shop.example")));
    let path = |name: &str| node.dir.join(name).display().to_string();
    let (private, public) = (path("recovery.key"), path("recovery.pub"));
    let made = ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "recovery.key"];
    assert!(openssl(node, &made).0);
    assert!(openssl(node, &["ec", "-in", "recovery.key", "-pubout", "-out", "recovery.pub"]).0);
    // An operator of domains may not turn it on: who can read the mail of others is for security.
    let operator = |right: &str| {
        let name = format!("by-{right}");
        let made = node.run(&["token", "create", &name, "--role", right, "-o", "json"]).json();
        node.file(&name, made["token"].as_str().unwrap().as_bytes())
    };
    let admin = admin_url(node);
    let set = |token: &str| {
        let way = ["--address", &admin, "--token-file", token, "-o", "json"];
        let words = ["smime", "recovery", "shop.example", &public];
        let mut command = Command::new(binary("conclave"));
        command.args(way).args(words);
        Ran::of(&mut command)
    };
    assert_eq!(set(&operator("operator")).problem()["code"], "X002");
    let done = set(&operator("security")).json();
    assert!(done["warnings"][0].as_str().unwrap().contains("holder"), "{done}");
    let wrong = ["smime", "recovery", "shop.example", &private];
    assert_eq!(refused(node, &wrong)["code"], "K003", "a private key is not taken");
    owners.session(node, ANN, Some(&owners.invite(node, ANN)));
    let issuer = node.run(&["smime", "show", "shop.example", "-o", "json"]).json();
    let account = shown(node);
    assert!(account["key"]["recovery_key"].is_string(), "{account}");
    assert_eq!(account["key"]["recovery_key"], issuer["recovery_key"]);
    let (of_file, out) = (node.file("p12.pass", b"of the file"), path("recovered.p12"));
    let recover = |email: &str, key: &str| {
        let words = ["account", "key", "recover", email, "--recovery-key", key, "--out", &out];
        node.run(&[&words[..], &["--export-passphrase-file", &of_file, "-o", "json"]].concat())
    };
    recover("Ann@SHOP.example", &private).ok();
    let read = ["pkcs12", "-in", "recovered.p12", "-passin", "pass:of the file", "-nodes"];
    let (is_read, said) = openssl(node, &read);
    assert!(is_read && said.contains("BEGIN PRIVATE KEY") && said.contains("S/MIME CA"), "{said}");
    let email = "bob@shop.example";
    assert_eq!(recover(email, &private).problem()["code"], "A013", "a key from before");
    assert!(
        openssl(node, &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "x.key"]).0
    );
    assert_eq!(recover(ANN, &path("x.key")).problem()["code"], "A013");
    assert_eq!(events(node, "account_key.recover").len(), 2, "each copy that was given out");
    node.run(&["smime", "recovery", "shop.example", "--remove", "--yes"]).ok();
    let pass = node.file("owner.pass", PASSPHRASE.as_bytes());
    node.run(&["account", "key", "generate", ANN, "--passphrase-file", &pass]).ok();
    assert!(shown(node)["key"].get("recovery_key").is_none());
    assert!(shown(node)["earlier"][0]["recovery_key"].is_string());
}

#[test]
fn certificates_name_the_revocation_list_of_their_domain() {
    let owners = Owners::found(1);
    let node = &owners.cluster.nodes[0];
    let pass = node.file("owner.pass", PASSPHRASE.as_bytes());
    let url = "http://pki.shop.example/certificates/shop.example/smime.crl";
    node.run(&["smime", "set", "shop.example", "--crl-url", url]).ok();
    assert_eq!(
        refused(node, &["smime", "set", "shop.example", "--crl-url", "nothing"])["code"],
        "X004"
    );
    node.run(&["account", "key", "generate", ANN, "--passphrase-file", &pass]).ok();
    let named = |words: &[&str]| {
        node.run(&[&["account", "cert", "renew", ANN][..], words].concat()).ok();
        let shown = node.run(&["account", "cert", "show", ANN, "-o", "json"]).json();
        let pem = shown["certificate"]["pem"].as_str().unwrap().to_owned();
        node.file("leaf.pem", pem.as_bytes());
        openssl(node, &["x509", "-in", "leaf.pem", "-noout", "-ext", "crlDistributionPoints"]).1
    };
    assert!(named(&[]).contains(url));
    assert!(named(&["--crl-url", "http://other.example/crl"]).contains("http://other.example/crl"));
    assert!(!named(&["--crl-url", ""]).contains("http"));
    node.run(&["smime", "set", "shop.example", "--crl-url", ""]).ok();
    assert!(!named(&[]).contains("http"));
    let path = "domains/shop.example/smime";
    let (status, _) = node.ask("PATCH", path, &json!({}).to_string());
    assert_eq!(status, 200, "a change of nothing");
}

#[test]
fn accounts_and_settings_come_back_from_a_backup() {
    let cluster = Cluster::unfounded(2);
    let (old, new) = (&cluster.nodes[0], &cluster.nodes[1]);
    old.run(&["cluster", "init", "--name", "old"]).ok();
    old.run(&["domain", "create", "shop.example"]).ok();
    old.run(&["smime", "self-sign", "shop.example"]).ok();
    let url = "http://pki.shop.example/smime.crl";
    old.run(&["smime", "set", "shop.example", "--crl-url", url]).ok();
    let path = |name: &str| old.dir.join(name).display().to_string();
    let made = ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "recovery.key"];
    assert!(openssl(old, &made).0);
    assert!(openssl(old, &["ec", "-in", "recovery.key", "-pubout", "-out", "recovery.pub"]).0);
    old.run(&["smime", "recovery", "shop.example", &path("recovery.pub")]).ok();
    old.run(&["account", "create", ANN]).ok();
    let pass = old.file("owner.pass", PASSPHRASE.as_bytes());
    old.run(&["account", "key", "generate", ANN, "--passphrase-file", &pass]).ok();
    old.run(&["account", "cert", "issue", ANN]).ok();
    let login = ["account", "login", ANN, "--passphrase-file", &pass, "-o", "json"];
    let session = old.run(&login).json()["token"].as_str().unwrap().to_owned();
    let (identity, backup) = (path("identity"), path("whole.backup"));
    let keygen = old.run(&["backup", "keygen", "--out", &identity, "-o", "json"]).json();
    let recipient = keygen["recipient"].as_str().unwrap();
    old.run(&["backup", "create", "--recipient", recipient, "--out", &backup]).ok();
    new.run(&["backup", "restore", &backup, "--identity", &identity]).ok();
    let issuer = |node: &Node| {
        let shown = node.run(&["smime", "show", "shop.example", "-o", "json"]).json();
        (shown["crl_url"].clone(), shown["recovery_key"].clone())
    };
    assert!(issuer(old).1.is_string());
    assert_eq!(issuer(new), issuer(old));
    assert_eq!(shown(new)["key"]["sha256"], shown(old)["key"]["sha256"]);
    new.run(&login).ok();
    let (of_file, out) = (old.file("p12.pass", b"of the file"), path("recovered.p12"));
    let recover = ["account", "key", "recover", ANN, "--recovery-key", &path("recovery.key")];
    let to = ["--out", &out, "--export-passphrase-file", &of_file];
    new.run(&[&recover[..], &to].concat()).ok();
    // What the owner gets next has a copy there, too: the recovery key was sealed anew.
    new.run(&["account", "key", "generate", ANN, "--passphrase-file", &pass]).ok();
    assert_eq!(shown(new)["key"]["recovery_key"], issuer(old).1);
    // A session is one of its own cluster.
    let asked = Ran::of(
        Command::new("curl")
            .args(["-sk", "-o", "/dev/null", "-w", "%{http_code}", "-H"])
            .arg(format!("Authorization: Bearer {session}"))
            .arg(format!("{}/v1/accounts/ann%40shop.example", admin_url(new))),
    );
    assert_eq!(asked.out, "401");
}
