//! How the page looks to everybody: axe-core on each page and state, in light and dark, on a desk and
//! on a phone; and how much there is to load.

use std::{path::PathBuf, sync::atomic::AtomicU32};

use conclave_tests::{Browser, Cluster, Node, Pair, Way, wait_for};

use super::{Person, make_user, page};

/// Pages that hold for every cluster, with the names of their pictures.
const PAGES: [(&str, &str); 26] = [
    ("", "overview"),
    ("/domains", "domains"),
    ("/domains/new", "domain-new"),
    ("/domains/shop.example", "domain"),
    ("/domains/two.example", "domain-with-two-keys"),
    ("/domains/shop%2Eexample", "domain-escaped"),
    ("/domains/shop.example/client-auth", "client-auth"),
    ("/domains/shop.example/smime", "smime"),
    ("/domains/two.example/smime", "smime-none"),
    ("/domains/shop.example/accounts", "accounts"),
    ("/domains/two.example/accounts", "accounts-none"),
    ("/domains/shop.example/accounts/ann@shop.example", "account"),
    ("/domains/shop.example/accounts/bob@shop.example", "account-new"),
    ("/domains/shop.example/trusted", "domain-trusted"),
    ("/domains/shop.example/history", "history"),
    ("/trusted/cluster", "trusted"),
    ("/tls", "tls"),
    ("/listeners", "listeners"),
    ("/listeners/https", "listener"),
    ("/cluster", "cluster"),
    ("/cluster/keyring", "keyring"),
    ("/audit?verify=1", "audit"),
    ("/administrators", "administrators"),
    ("/administrators/alice", "user"),
    ("/docs", "book"),
    ("/no/such/page", "not-found"),
];

/// Finds what is wider than the window.
const WIDE: &str = "const wide = document.documentElement.scrollWidth > WIDTH; return wide ? \
     [...document.querySelectorAll('main *, header *, footer *')].filter((one) => \
     one.getBoundingClientRect().right > WIDTH).map((one) => one.outerHTML.slice(0, 200)) : []";

/// Finds ids that a page has twice.
const TWICE: &str = "const ids = [...document.querySelectorAll('[id]')].map((one) => one.id); \
     return ids.filter((one, place) => ids.indexOf(one) !== place)";

/// The source of axe-core; none, with the reason said, if it is not installed.
pub(super) fn axe() -> Option<String> {
    let Some(programs) = std::env::var_os("CONCLAVE_CONTRACT") else {
        assert!(std::env::var_os("CONCLAVE_TEST_ALL").is_none(), "no axe-core");
        println!("SKIPPED: no axe-core: tests/contract/run installs it");
        return None;
    };
    let libraries = PathBuf::from(programs).join("../lib");
    let python = std::fs::read_dir(libraries).unwrap().map(|entry| entry.unwrap().path());
    let files = python.map(|dir| dir.join("site-packages/axe_playwright_python/axe.min.js"));
    let file = files.into_iter().find(|file| file.exists()).expect("axe-core is installed");
    Some(std::fs::read_to_string(file).unwrap())
}

/// Violations that axe-core sees on the present page, once no colour of it changes any longer.
fn violations(browser: &Browser, axe: &str) -> Vec<String> {
    browser.run(axe);
    let found = browser.run_async(
        "const done = arguments[arguments.length - 1]; \
         Promise.all(document.getAnimations().map((one) => one.finished)).then(() => \
         axe.run(document, { resultTypes: ['violations'] })).then((found) => done(found.violations.map((one) => one.id + ': ' + \
         one.nodes.map((node) => node.html + ' ' + node.failureSummary).join(' | '))), \
         (error) => done(['axe failed: ' + error]));",
    );
    found.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

/// Looks at the present page in each way, and keeps pictures.
pub(super) fn look(browser: &Browser, axe: &str, name: &str) {
    let mut wrong = Vec::new();
    let twice = browser.run(TWICE);
    assert!(twice.as_array().unwrap().is_empty(), "{name} has ids twice: {twice}");
    for (width, is_dark) in [(1280, false), (1280, true), (320, false), (320, true)] {
        browser.look(width, is_dark);
        let found = violations(browser, axe);
        let scheme = if is_dark { "dark" } else { "light" };
        wrong.extend(found.into_iter().map(|one| format!("{name} at {width}, {scheme}: {one}")));
        let wide = browser.run(&WIDE.replace("WIDTH", &width.to_string()));
        assert!(wide.as_array().unwrap().is_empty(), "{name} is too wide for {width}: {wide}");
        browser.whole_picture(&format!("look-{name}-{width}-{scheme}"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A cluster with something on every page.
fn furnished() -> Cluster {
    let cluster = Cluster::start(3);
    let one = &cluster.nodes[0];
    make_user(one, "alice", "operator,admin,security");
    let pair = Pair::make("shop.example");
    one.run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
    let bundle = one.file("chain.pem", [pair.certificate, pair.chain.clone()].concat().as_bytes());
    let key = one.file("key.pem", pair.key.as_bytes());
    one.run(&["cert", "import", "shop.example", &bundle, "--key", &key]).ok();
    one.run(&["domain", "create", "bücher.example"]).ok();
    one.run(&["domain", "create", "two.example"]).ok();
    for (kind, family) in [("p256", "ec"), ("rsa2048", "rsa")] {
        one.run(&["key", "generate", "two.example", "--type", kind]).ok();
        one.run(&["cert", "self-sign", "two.example", "--family", family]).ok();
    }
    one.run(&["domain", "create", "broken.example", "--pki", "enabled"]).ok();
    let root = one.file("root.pem", pair.chain.as_bytes());
    for scope in ["cluster", "domain:shop.example"] {
        one.run(&["trust", "add", &root, "--scope", scope]).ok();
    }
    let next = Pair::make("shop.example");
    let bundle = one.file("next.pem", [next.certificate, next.chain].concat().as_bytes());
    let key = one.file("next-key.pem", next.key.as_bytes());
    let words = ["cert", "import", "shop.example", &bundle, "--key", &key, "--canary", "node-2"];
    one.run(&words).ok();
    let port = format!(":{}", cluster.free_port());
    one.run(&["listener", "add", "https", "--bind", &port, "--upstream", "127.0.0.1:9"]).ok();
    one.run(&["token", "create", "monitoring", "--role", "viewer"]).ok();
    one.run(&["join-token", "create"]).ok();
    certify(one);
    cluster
}

/// Makes an issuer, an account with keys and certificates, and one without.
fn certify(node: &Node) {
    node.run(&["smime", "self-sign", "shop.example", "--organization", "ACME Boats"]).ok();
    let pass = node.file("ann.pass", b"correct horse battery");
    let ann = "ann@shop.example";
    node.run(&["account", "create", ann, "--name", "Ann Lee"]).ok();
    let certificate = |what: &str, more: &[&str]| {
        node.run(&[&["account", "cert", what, ann][..], more].concat()).ok();
    };
    for reason in ["superseded", "key-compromise"] {
        node.run(&["account", "key", "generate", ann, "--passphrase-file", &pass]).ok();
        certificate("issue", &[]);
        certificate("renew", &["--days", "730"]);
        certificate("revoke", &["--revocation-reason", reason, "--yes"]);
    }
    certificate("issue", &[]);
    node.run(&["account", "create", "bob@shop.example"]).ok();
}

#[test]
fn every_page_and_state_is_for_everybody() {
    let Some(axe) = axe() else { return };
    let mut cluster = furnished();
    {
        let Some(person) = Person::start(&cluster, Way::Mouse) else { return };
        person.go("/login");
        look(&person.browser, &axe, "login");
        person.log_in("alice");
        for (path, name) in PAGES {
            person.go(path);
            look(&person.browser, &axe, name);
            if path.starts_with("/domains/") && path != "/domains/new" {
                let here = "return document.querySelectorAll('.tabs [aria-current]').length";
                assert_eq!(person.browser.run(here), 1, "{path} says which page it is");
            }
        }
        let browser = &person.browser;
        browser.look(1280, false);
        person.go("/domains/new");
        browser.fill("name", "no name");
        browser.press("Continue");
        browser.shows("D001");
        look(&person.browser, &axe, "refused");
        browser.look(1280, false);
        person.go("/administrators");
        browser.press("New user");
        browser.press("New token");
        look(&person.browser, &axe, "administrators-new");
        browser.look(1280, false);
        person.go("/domains/shop.example/accounts/ann@shop.example");
        for part in ["Another key", "Another passphrase", "Renew", "Revoke"] {
            browser.press(part);
        }
        look(&person.browser, &axe, "account-open");
        browser.look(1280, false);
        person.go("/domains/new");
        browser.fill("name", "new.example");
        browser.press("Continue");
        browser.shows("Do it");
        look(&person.browser, &axe, "confirm");
        browser.look(1280, false);
        browser.press("Do it");
        browser.shows("in use on 3 of 3 nodes");
        look(&person.browser, &axe, "done");
    }
    without_a_quorum(&mut cluster, &axe);
}

/// One node of three is left: it still shows how things are.
fn without_a_quorum(cluster: &mut Cluster, axe: &str) {
    let Some(person) = Person::start(cluster, Way::Mouse) else { return };
    person.log_in("alice");
    let Person { browser, page, .. } = person;
    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    let (pictures, way) = (AtomicU32::new(0), Way::Mouse);
    let person = Person { browser, page, cluster, pictures, way };
    wait_for("the loss", || {
        person.go("");
        person.browser.text().contains("changes are off").then_some(())
    });
    look(&person.browser, axe, "no-quorum");
    person.go("/cluster");
    look(&person.browser, axe, "no-quorum-cluster");
}

/// A sealed node says so, and how it is opened.
#[test]
fn a_sealed_node_shows_how_it_is_opened() {
    let Some(axe) = axe() else { return };
    let mut cluster = Cluster::start(3);
    let one = &mut cluster.nodes[0];
    make_user(one, "alice", "admin");
    let made = one.run(&["token", "create", "opener", "--role", "security", "-o", "json"]).json();
    one.run(&["keyring", "rekey", "--unseal-shares", "2/3"]).ok();
    one.run(&["keyring", "seal"]).ok();
    let Some(person) = Person::start(&cluster, Way::Mouse) else { return };
    person.go("");
    person.browser.press("Is this node sealed?");
    person.browser.shows("Access token");
    look(&person.browser, &axe, "sealed-token");
    person.browser.look(1280, false);
    person.browser.fill("token", made["token"].as_str().unwrap());
    person.browser.press("Go on");
    person.browser.shows("This node is sealed");
    person.browser.shows("0 of 2 shares");
    look(&person.browser, &axe, "sealed");
    person.browser.look(1280, false);
    person.browser.fill("share", "not a share");
    person.browser.press("Give the share");
    person.browser.shows("S003");
}

#[test]
fn the_first_page_is_small_and_asks_nobody_else() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    make_user(one, "alice", "operator,admin,security");
    let Some(person) = Person::start(&cluster, Way::Mouse) else { return };
    person.log_in("alice");
    let opened = person.browser.open_anew(&page(one), "Nodes");
    println!("first page: {} bytes, interactive after {} ms", opened.bytes, opened.ready_ms);
    assert!(opened.bytes <= 60 * 1024, "{} bytes", opened.bytes);
    let own = person.browser.run("return location.origin");
    assert!(opened.origins.iter().all(|origin| own == origin.as_str()), "{:?}", opened.origins);
}
