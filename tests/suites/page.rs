//! The web page in a browser: with a mouse, without script, by keyboard alone.

mod guard;
mod looks;
mod owner;
mod smime;

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use conclave_tests::{Browser, Cluster, Node, Way, echo_upstream, probe, sign, wait_for};
use rustls::pki_types::{CertificateDer, pem::PemObject};

const PASSWORD: &str = "correct horse battery staple";
const BOBS_PASSWORD: &str = " another horse battery staple ";

/// The address of the page at a node.
fn page(node: &Node) -> String {
    let said = node.said();
    let url = said.split_whitespace().find(|word| word.starts_with("https://")).unwrap();
    format!("{url}/ui")
}

/// Makes a user who may do everything.
fn make_user(node: &Node, name: &str, roles: &str) {
    let file = node.file("password", PASSWORD.as_bytes());
    node.run(&["user", "create", name, "--role", roles, "--password-file", &file]).ok();
}

/// A person at the page of a node.
struct Person<'a> {
    browser: Browser,
    page: String,
    cluster: &'a Cluster,
    pictures: AtomicU32,
    way: Way,
}

impl Person<'_> {
    fn start(cluster: &Cluster, way: Way) -> Option<Person<'_>> {
        let browser = Browser::start(way)?;
        let page = page(&cluster.nodes[0]);
        Some(Person { browser, page, cluster, pictures: AtomicU32::new(0), way })
    }

    fn go(&self, path: &str) {
        self.browser.open(&format!("{}{path}", self.page));
    }

    fn picture(&self, name: &str) {
        let number = self.pictures.fetch_add(1, Relaxed);
        self.browser.picture(&format!("{:?}-{number:02}-{name}", self.way).to_lowercase());
    }

    fn log_in(&self, user: &str) {
        self.log_in_with(user, PASSWORD);
    }

    fn log_in_with(&self, user: &str, password: &str) {
        self.go("");
        self.browser.shows("Log in");
        self.browser.fill("user", user);
        self.browser.fill("password", password);
        self.browser.press("Log in");
        self.browser.shows("Log out");
    }

    /// Confirms what is shown, and waits until it is done.
    fn confirm(&self, name: &str) {
        self.browser.shows("Do it");
        self.picture(name);
        self.browser.press("Do it");
        self.browser.shows("in use on 3 of 3 nodes");
    }

    /// What a field has now.
    fn value(&self, id: &str) -> String {
        let script = format!("return document.getElementById('{id}').value");
        self.browser.run(&script).as_str().unwrap().to_owned()
    }

    /// Whether a box is ticked.
    fn is_ticked(&self, id: &str) -> bool {
        let script = format!("return document.getElementById('{id}').checked");
        self.browser.run(&script).as_bool().unwrap()
    }

    /// An object as the command line shows it.
    fn shown(&self, words: &[&str]) -> serde_json::Value {
        self.cluster.nodes[0].run(&[words, &["-o", "json"]].concat()).json()
    }

    /// Fills a field with a file's content, as a person pastes it. A keyboard would type for long.
    fn paste(&self, id: &str, file: &str) {
        let text = std::fs::read_to_string(file).unwrap();
        self.browser.fill(id, &text);
    }

    /// The signing request that the page shows, as a file; the page names it `wanted`.
    fn request(&self, wanted: &str) -> String {
        self.browser.shows("Give it to your authority");
        let text = self.browser.run("return document.querySelector('textarea').value");
        let file = self.browser.run("return document.querySelector('textarea').dataset.save");
        assert_eq!(file, wanted);
        self.cluster.nodes[0].file("page.csr", text.as_str().unwrap().as_bytes())
    }
}

/// Every panel of a domain, from nothing to a certificate that all nodes serve.
fn care_for_a_domain(person: &Person<'_>) {
    let (browser, one) = (&person.browser, &person.cluster.nodes[0]);
    person.go("/domains");
    browser.press("New domain");
    browser.fill("name", "shop.example");
    browser.fill("aliases", "www.shop.example");
    browser.tick("pki-enabled");
    browser.press("Continue");
    person.confirm("create");
    browser.choose("algorithm", "EC P-256");
    browser.press("Generate a key");
    person.confirm("key");
    browser.press("Generate a signing request");
    let request = person.request("shop.example.csr");
    person.picture("request");
    let bundle = sign(one, &request, "90");
    browser.press("Back");
    person.paste("certificate", &bundle);
    browser.press("Check and set");
    person.confirm("certificate");
    for node in &person.cluster.nodes {
        let shown = node.run(&["domain", "show", "shop.example", "-o", "json"]).json();
        let names = &shown["credentials"][0]["certificate"]["names"];
        assert!(names.to_string().contains("www.shop.example"), "{shown}");
    }
    try_on_one_node(person, &request);
    // The chain again, alone.
    browser.press("Another CA chain");
    person.paste("chain-ec", &one.dir.join("ca.pem").display().to_string());
    browser.press("Set the CA chain");
    browser.shows("Nothing would change");
}

/// A new certificate that one node serves first.
fn try_on_one_node(person: &Person<'_>, request: &str) {
    let (browser, one) = (&person.browser, &person.cluster.nodes[0]);
    let serial = || {
        let shown = person.shown(&["domain", "show", "shop.example"]);
        shown["credentials"][0]["certificate"]["serial"].clone()
    };
    let before = serial();
    browser.press("Set a certificate");
    person.paste("certificate", &sign(one, request, "80"));
    browser.press("More");
    browser.choose("canary", "node-2");
    browser.press("Check and set");
    browser.shows("only node-2 serves it");
    // Going back keeps what was typed and chosen.
    browser.press("Back");
    browser.shows("At first on one node alone");
    assert_eq!(person.value("canary"), "node-2");
    assert!(person.value("certificate").contains("BEGIN CERTIFICATE"));
    browser.press("Check and set");
    person.confirm("canary");
    browser.shows("node-2 alone serves the new certificate");
    assert_eq!(serial(), before);
    person.picture("canary-domain");
    browser.press("Serve it everywhere now");
    person.confirm("canary-promoted");
    assert_ne!(serial(), before);
}

/// What every page shows in the order of the manual's chapter, in one of the ways.
fn walk(way: Way) {
    let cluster = Cluster::start(3);
    let one = &cluster.nodes[0];
    make_user(one, "alice", "operator,admin,security");
    let Some(person) = Person::start(&cluster, way) else { return };
    let browser = &person.browser;
    person.go("/login");
    person.picture("login");
    browser.fill("user", "alice");
    browser.fill("password", "wrong horse battery staple");
    browser.press("Log in");
    browser.shows("U003");
    person.log_in("alice");
    person.picture("overview");
    care_for_a_domain(&person);
    self_signed(&person);
    trust(&person);
    settings(&person);
    cluster_life(&person);
    back_up(&person);
    go_back(&person);
    administrators(&person);
    person.go("/audit");
    browser.press("Check the chain");
    browser.shows("Chain unbroken");
    browser.shows("certificate.set");
    person.picture("audit");
    browser.press("Log out");
    browser.shows("Log in");
    person.go("/domains");
    browser.shows("Password");
    // The new user has the new password, and sees the domains alone.
    person.log_in_with("bob", BOBS_PASSWORD);
    browser.shows("shop.example");
    assert!(!browser.text().contains("self.example") && !browser.text().contains("Cluster"));
}

fn self_signed(person: &Person<'_>) {
    let browser = &person.browser;
    person.go("/domains/new");
    browser.fill("name", "self.example");
    browser.fill("aliases", "www.self.example");
    browser.press("Continue");
    browser.shows("Do it");
    browser.press("Back");
    browser.shows("New domain");
    assert_eq!(person.value("name"), "self.example");
    assert_eq!(person.value("aliases"), "www.self.example");
    browser.press("Continue");
    person.confirm("create-test");
    browser.choose("algorithm", "EC P-256");
    browser.press("Generate a key");
    person.confirm("key-test");
    browser.press("Generate a self-signed certificate");
    person.confirm("self-signed");
    browser.press("Refresh the self-signed certificate");
    browser.fill("reason", "once a year");
    person.confirm("refresh");
    assert_eq!(person.shown(&["domain", "show", "self.example"])["reason"], "once a year");
    browser.press("Remove the EC P-256 certificate …");
    browser.shows("Type self.example to go on");
    browser.fill("typed", "self.example");
    person.confirm("remove-certificate");
}

fn trust(person: &Person<'_>) {
    let (browser, one) = (&person.browser, &person.cluster.nodes[0]);
    person.go("/trusted/cluster");
    person.paste("certificates", &one.dir.join("ca.pem").display().to_string());
    browser.press("Set certificate");
    person.confirm("trust");
    browser.shows("CN=Test Root");
    person.picture("trusted");
    let leaf = one.dir.join("leaf.pem").display().to_string();
    person.paste("explained", &leaf);
    browser.press("Explain");
    browser.shows("It is trusted");
    browser.shows("the set cluster");
    person.picture("explained");
    person.go("/trusted/builtin");
    person.paste("explained", &leaf);
    browser.press("Explain");
    browser.shows("It is not trusted");
    browser.shows("H005");
    person.go("/domains/shop.example/client-auth");
    browser.choose("issuer", "Test Root (cluster)");
    browser.tick("required");
    browser.press("Update");
    person.confirm("client-auth");
    browser.shows("Without one they are refused");
    // What domains would lose is said before.
    person.go("/trusted/cluster");
    let marked = browser.run("return document.querySelector('[name=marked]').id");
    let marked = marked.as_str().unwrap();
    browser.tick(marked);
    browser.press("Remove the marked …");
    browser.shows("shop.example: leads to CN=Test Root, which is not trusted here");
    browser.shows("which is no longer trusted: none is valid");
    person.picture("trust-lost");
    browser.press("Back");
    browser.shows("Trust another one");
    assert!(person.is_ticked(marked));
    person.go("/domains/shop.example/client-auth");
    browser.choose("issuer", "nobody: do not ask");
    browser.press("Update");
    person.confirm("client-auth-off");
    person.go("/trusted/cluster");
    browser.tick(marked);
    browser.press("Remove the marked …");
    person.confirm("trust-removed");
    browser.shows("Nothing of its own");
}

fn settings(person: &Person<'_>) {
    let (browser, cluster) = (&person.browser, person.cluster);
    person.go("/tls");
    browser.fill("ttl_s", "999999999");
    browser.tick_off("abort");
    browser.press("Update");
    browser.shows("--ttl of 999999999 s is not possible");
    assert!(!person.is_ticked("abort"));
    browser.tick("abort");
    browser.fill("ttl_s", "3600");
    browser.choose("min_version", "TLS 1.3");
    browser.press("Update");
    person.confirm("tls");
    browser.shows("1 h");
    browser.press("Forget all sessions …");
    person.confirm("flush");
    let upstream = echo_upstream();
    person.go("/listeners");
    browser.fill("name", "https");
    browser.fill("bind", ":0");
    browser.fill("upstreams", &upstream.to_string());
    browser.press("Check and add");
    browser.shows("N003");
    person.picture("listener-refused");
    let port = cluster.free_port();
    browser.fill("bind", &format!(":{port}"));
    browser.press("Check and add");
    person.confirm("listener");
    let shown = cluster.nodes[0].run(&["domain", "show", "shop.example", "-o", "json"]).json();
    let wanted = shown["credentials"][0]["certificate"]["pem"].as_str().unwrap().to_owned();
    let wanted = CertificateDer::from_pem_slice(wanted.as_bytes()).unwrap();
    for node in &cluster.nodes {
        let address = SocketAddr::new(node.address, port);
        let seen = wait_for("a handshake", || probe(address, "www.shop.example").ok());
        assert_eq!(seen.chain[0], wanted.as_ref());
    }
    person.go("/listeners");
    browser.shows("open on node-3");
    person.picture("listeners");
    browser.press("https");
    browser.shows("Settings");
    let other = echo_upstream();
    browser.fill("upstreams", &format!("{upstream}, {other}"));
    browser.tick("requires_client_certificate");
    browser.press("Update");
    browser.shows("--require-client-certificate on");
    browser.press("Back");
    browser.shows("Settings");
    assert!(person.is_ticked("requires_client_certificate"));
    browser.tick_off("requires_client_certificate");
    browser.press("Update");
    person.confirm("listener-changed");
    let shown = person.shown(&["listener", "show", "https"]);
    assert_eq!(shown["upstreams"].as_array().unwrap().len(), 2, "{shown}");
    assert_eq!(shown["requires_client_certificate"], false);
    browser.press("Remove this listener …");
    browser.fill("typed", "https");
    person.confirm("listener-removed");
    browser.shows("There is no listener yet");
}

fn cluster_life(person: &Person<'_>) {
    let (browser, one) = (&person.browser, &person.cluster.nodes[0]);
    person.go("/cluster");
    browser.press("Make a join token");
    browser.shows("This is shown once");
    let token = browser.run("return document.querySelector('input[readonly]').value");
    assert!(token.as_str().unwrap().starts_with("cvj_"), "{token}");
    person.picture("join-token");
    browser.press("Back");
    browser.choose("node-name", "node-3");
    browser.press("Drain");
    browser.shows("takes no new connections");
    browser.press("Do it");
    browser.shows("Done: Drain node-3");
    wait_for("the drain", || (one.status()["nodes"][2]["state"] == "draining").then_some(()));
    person.go("/cluster");
    browser.shows("draining");
    person.picture("cluster");
    browser.choose("node-name", "node-3");
    browser.press("Let it serve again");
    browser.press("Do it");
    browser.shows("Done: Let node-3 serve again");
    let role = || one.status()["nodes"][2]["role"].as_str().unwrap().to_owned();
    for (button, wanted) in [("Make it a learner", "learner"), ("Make it a voter", "follower")] {
        browser.choose("node-name", "node-3");
        browser.press(button);
        browser.press("Do it");
        // A learner or a new voter may be the last one that serves it.
        browser.shows("node-3: done");
        wait_for("the role", || (role() == wanted).then_some(()));
        person.go("/cluster");
    }
    // Not to the one that leads.
    let to = &person.cluster.nodes[(person.cluster.leader() + 1) % 3].name;
    browser.choose("to", to);
    browser.press("Hand over the leadership");
    browser.press("Do it");
    browser.shows("Done: Hand over");
    wait_for("the new leader", || (one.status()["cluster"]["leader"] == "node-2").then_some(()));
}

/// A backup that the browser keeps can be opened.
fn back_up(person: &Person<'_>) {
    let (browser, one) = (&person.browser, &person.cluster.nodes[0]);
    let key = one.dir.join("backup.key").display().to_string();
    let recipient = one.run(&["backup", "keygen", "--out", &key]).ok();
    browser.keep_downloads_in(&one.dir.join("downloads"));
    person.go("/cluster");
    browser.fill("recipients", "age1nothing");
    browser.press("Back up now");
    browser.shows("B0");
    assert_eq!(person.value("recipients"), "age1nothing");
    browser.fill("recipients", recipient.trim());
    browser.press("Back up now");
    let file = wait_for("the backup", || {
        let mut files = std::fs::read_dir(one.dir.join("downloads")).ok()?;
        files.find_map(|file| {
            let path = file.unwrap().path();
            path.extension().is_some_and(|ending| ending == "backup").then_some(path)
        })
    });
    let file = file.display().to_string();
    // It fails if a byte is missing.
    one.run(&["backup", "verify", &file, "--identity", &key]).ok();
}

/// A user with limits, a new password, and a token from its beginning to its end.
fn administrators(person: &Person<'_>) {
    let browser = &person.browser;
    person.go("/administrators");
    browser.press("New user");
    browser.fill("user-name", "bob");
    browser.fill("user-password", PASSWORD);
    browser.tick("user.create-viewer");
    browser.press("Make the user");
    browser.shows("viewer");
    person.confirm("user");
    browser.press("bob");
    browser.tick("user.set-operator");
    browser.fill("user.set-domains", ".shop.example");
    browser.fill("user.set-networks", "127.0.0.0/8");
    browser.press("Update");
    person.confirm("user-changed");
    let shown = person.shown(&["user", "show", "bob"]);
    assert_eq!(shown["grant"]["roles"], serde_json::json!(["viewer", "operator"]), "{shown}");
    assert_eq!(shown["grant"]["domains"][0], ".shop.example");
    assert!(person.is_ticked("user.set-operator"));
    person.picture("user");
    browser.fill("password", BOBS_PASSWORD);
    browser.press("Set the password");
    browser.shows("All sessions of the user end");
    person.confirm("user-password");
    person.go("/administrators");
    browser.press("New token");
    browser.fill("token-name", "deploy");
    browser.tick("token.create-viewer");
    browser.press("Make the token");
    browser.press("Do it");
    browser.shows("This is shown once");
    browser.press("Back");
    browser.press("Revoke deploy");
    browser.shows("It ends at once");
    person.confirm("token-revoked");
    let tokens = person.shown(&["token", "list"]);
    assert!(!tokens.to_string().contains("deploy"), "{tokens}");
}

fn go_back(person: &Person<'_>) {
    let browser = &person.browser;
    person.go("/domains/shop.example/trusted");
    person.paste("certificates", &person.cluster.nodes[0].dir.join("ca.pem").display().to_string());
    browser.press("Set certificate");
    person.confirm("domain-trust");
    person.go("/domains/shop.example/history");
    browser.shows("trusted certificates");
    browser.press("Back to version 1");
    person.confirm("rollback");
    let shown = person.cluster.nodes[0].run(&["domain", "show", "shop.example", "-o", "json"]);
    assert!(shown.json()["credentials"].as_array().unwrap().is_empty());
    person.go("/domains/shop.example/history");
    person.picture("history");
}

#[test]
fn the_chapter_is_done_with_a_mouse() {
    walk(Way::Mouse);
}

#[test]
fn the_chapter_is_done_without_script() {
    walk(Way::NoScript);
}

#[test]
fn the_chapter_is_done_by_keyboard_alone() {
    walk(Way::Keyboard);
}

/// Two people at one domain: who comes second sees what the first has done.
#[test]
fn a_stale_form_shows_both_versions() {
    let cluster = Cluster::start(3);
    let one = &cluster.nodes[0];
    make_user(one, "alice", "operator,admin,security");
    one.run(&["domain", "create", "shop.example"]).ok();
    let Some(person) = Person::start(&cluster, Way::NoScript) else { return };
    let browser = &person.browser;
    person.log_in("alice");
    person.go("/domains/shop.example");
    one.run(&["domain", "set", "shop.example", "--pki", "disabled", "--reason", "night"]).ok();
    browser.fill("aliases", "www.shop.example");
    browser.press("Update the names");
    browser.shows("It was changed meanwhile");
    browser.shows("night");
    person.picture("stale");
    browser.press("Do mine on top");
    browser.shows("in use on 3 of 3 nodes");
    let shown = one.run(&["domain", "show", "shop.example", "-o", "json"]).json();
    assert_eq!(
        (&shown["pki"], &shown["aliases"][0]),
        (&"disabled".into(), &"www.shop.example".into())
    );
    // What is refused is said where it was typed, and nothing is typed twice.
    person.go("/domains/new");
    browser.fill("name", "no name");
    browser.fill("aliases", "kept.example");
    browser.press("Continue");
    browser.shows("D001");
    assert_eq!(browser.run("return document.querySelector('#aliases').value"), "kept.example");
    person.picture("refused");
    // Going back undoes it.
    person.go("/domains/new");
    browser.fill("name", "undo.example");
    browser.press("Continue");
    person.confirm("undo-create");
    browser.press("Log out");
    browser.shows("Password");
}
