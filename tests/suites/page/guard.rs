//! The page against other sites, strangers and thieves.

use std::process::Command;

use conclave_tests::{Cluster, Node, Pair, wait_for};

use super::{PASSWORD, make_user, page};

/// Asks with curl: the head of the answer in lower case, and its body.
fn ask(words: &[&str]) -> (String, String) {
    let text = raw(words);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

/// A browser, by its cookies.
struct Visitor {
    cookies: String,
}

impl Visitor {
    fn come(page: &str) -> Visitor {
        let (head, _) = ask(&[&format!("{page}/login")]);
        let line = head.lines().find(|line| line.starts_with("set-cookie: ")).unwrap();
        assert!(line.contains("httponly") && line.contains("samesite=strict"), "{line}");
        assert!(line.contains("secure") && line.contains("path=/"), "{line}");
        // The value is in its own letters only in the answer itself.
        let text = raw(&[&format!("{page}/login")]);
        Visitor { cookies: cookie(&text, "__Host-conclave-form") }
    }

    fn signature(&self, page: &str, path: &str, form: &str) -> String {
        let (_, body) = ask(&["-b", &self.cookies, &format!("{page}{path}")]);
        let place = body.find(form).unwrap_or_else(|| panic!("no {form}: {body}"));
        let rest = &body[place..];
        let begin = rest.find("name=\"csrf\" value=\"").unwrap() + 19;
        rest[begin..].split('"').next().unwrap().to_owned()
    }

    fn log_in(&mut self, page: &str) {
        let signature = self.signature(page, "/login", "id=\"login\"");
        let fields = format!("csrf={signature}&user=alice&password={}", PASSWORD.replace(' ', "+"));
        let url = format!("{page}/login");
        let text = raw(&["-b", &self.cookies, "-d", &fields, &url]);
        self.cookies = format!("{}; {}", self.cookies, cookie(&text, "__Host-conclave-session"));
    }
}

/// The page of a node, and a user there who is logged in.
fn alice_at(node: &Node, roles: &str) -> (String, Visitor) {
    make_user(node, "alice", roles);
    let page = page(node);
    let mut alice = Visitor::come(&page);
    alice.log_in(&page);
    (page, alice)
}

/// The whole answer as it came.
fn raw(words: &[&str]) -> String {
    let output = Command::new("curl").args(["-sk", "-i", "--max-time", "20"]).args(words).output();
    String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
}

fn cookie(text: &str, name: &str) -> String {
    let begin = text.find(&format!("{name}=")).unwrap_or_else(|| panic!("no {name}: {text}"));
    text[begin..].split(';').next().unwrap().to_owned()
}

fn has_domain(node: &Node, name: &str) -> bool {
    node.run(&["domain", "list", "-o", "name"]).ok().lines().any(|line| line == name)
}

#[test]
fn strangers_see_the_login_and_nothing_else() {
    let cluster = Cluster::start(1);
    let page = page(&cluster.nodes[0]);
    for path in ["", "/domains", "/domains/x.example", "/audit", "/no/such"] {
        let (head, body) = ask(&[&format!("{page}{path}")]);
        assert!(
            head.starts_with("http/1.1 303 ") && head.contains("location: /ui/login"),
            "{head}"
        );
        assert!(
            body.is_empty() && head.contains("cache-control: no-store"),
            "{path}: {head} {body}"
        );
    }
    let (head, _) = ask(&[&format!("{page}/live/nodes")]);
    assert!(head.starts_with("http/1.1 401 "), "{head}");
    let (head, body) = ask(&[&format!("{page}/login?next=//evil.example")]);
    for wanted in [
        "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'",
        "frame-ancestors 'none'",
        "x-content-type-options: nosniff",
        "referrer-policy: same-origin",
        "cache-control: no-store",
    ] {
        assert!(head.contains(wanted), "{wanted}: {head}");
    }
    assert!(!body.contains("evil.example"), "{body}");
    // Nothing about the cluster, and nothing from elsewhere.
    assert!(!body.contains("node-1") && !body.contains("http://"), "{body}");
    let (head, _) =
        ask(&["-X", "POST", "-d", "do=domain.create&name=x.example", &format!("{page}/change")]);
    assert!(head.starts_with("http/1.1 303 "), "{head}");
}

#[test]
fn another_site_cannot_send_a_form() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let (page, alice) = alice_at(one, "operator,admin,security");
    let signature = alice.signature(&page, "/domains/new", "id=\"domain.create\"");
    let url = format!("{page}/change");
    let fields = |name: &str, csrf: &str| format!("csrf={csrf}&do=domain.create&name={name}");
    let own = fields("own.example", &signature);
    let (head, body) = ask(&["-b", &alice.cookies, "-d", &own, &url]);
    assert!(head.starts_with("http/1.1 200 ") && body.contains("Do it"), "{head} {body}");
    // Without the signature, with that of another browser, or sent from another site.
    let other = Visitor::come(&page).signature(&page, "/login", "id=\"login\"");
    for (csrf, header) in [
        ("", "X: y"),
        (other.as_str(), "X: y"),
        (signature.as_str(), "Sec-Fetch-Site: cross-site"),
        (signature.as_str(), "Sec-Fetch-Site: same-site"),
    ] {
        let fields = fields("foreign.example", csrf);
        let (head, body) = ask(&["-b", &alice.cookies, "-H", header, "-d", &fields, &url]);
        assert!(head.starts_with("http/1.1 403 ") && body.contains("X002"), "{header}: {head}");
        assert!(!body.contains("Do it"), "{body}");
    }
    // A change that waits belongs to its browser, and is made once.
    let id = body.split("name=\"id\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let confirm = body.split("name=\"csrf\" value=\"").find(|part| part.contains(id)).unwrap();
    let confirm = format!("csrf={}&id={id}", confirm.split('"').next().unwrap());
    let mut bob = Visitor::come(&page);
    bob.log_in(&page);
    let url = format!("{page}/change/confirm");
    let (head, _) = ask(&["-b", &bob.cookies, "-d", &confirm, &url]);
    assert!(head.starts_with("http/1.1 403 "), "{head}");
    assert!(!has_domain(one, "own.example"));
    let (head, _) = ask(&["-b", &alice.cookies, "-d", &confirm, &url]);
    assert!(head.starts_with("http/1.1 303 ") && has_domain(one, "own.example"), "{head}");
    // A second click finds what the first one has done.
    one.run(&["domain", "delete", "own.example", "--yes"]).ok();
    let (head, _) = ask(&["-b", &alice.cookies, "-d", &confirm, &url]);
    assert!(head.starts_with("http/1.1 303 ") && !has_domain(one, "own.example"), "{head}");
    assert!(!has_domain(one, "foreign.example"));
}

#[test]
fn a_pasted_key_never_comes_back_and_a_session_ends() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example"]).ok();
    let (page, alice) = alice_at(one, "operator,admin,security");
    let key = Pair::make("shop.example").key;
    let secret = key.lines().nth(1).unwrap().to_owned();
    let signature = alice.signature(&page, "/domains/shop.example", "id=\"key.import\"");
    let url = format!("{page}/change");
    // A right key, and one that is refused: the form comes back without it.
    for (sent, status) in [(key.clone(), "200"), (key.replace("-----END", "AAAA-----END"), "4")] {
        let file = one.file("form-key", sent.as_bytes());
        let words = ["-b", &alice.cookies, "--data-urlencode", &format!("key@{file}")];
        let fields = [
            "-d",
            &format!("csrf={signature}"),
            "-d",
            "do=key.import",
            "-d",
            "name=shop.example",
            "-d",
            "back=/ui/domains/shop.example",
            &url,
        ];
        let (head, body) = ask(&[&words[..], &fields[..]].concat());
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{head} {body}");
        assert!(!body.contains(&secret) && !body.contains("PRIVATE KEY-----\n"), "{body}");
    }
    // A file that holds a certificate and its key, in the field for certificates, and is refused.
    let pair = Pair::make("other.example");
    let secret = pair.key.lines().nth(1).unwrap().to_owned();
    let file = one.file("combined", [pair.certificate, pair.key].concat().as_bytes());
    let sent = format!("certificate@{file}");
    let words = ["-b", &alice.cookies, "--data-urlencode", &sent, "-d", "do=certificate.import"];
    let sealed = format!("csrf={signature}");
    let fields = ["-d", &sealed, "-d", "name=shop.example&back=/ui/domains/shop.example", &url];
    let (head, body) = ask(&[&words[..], &fields[..]].concat());
    assert!(head.starts_with("http/1.1 4"), "{head} {body}");
    assert!(!body.contains(&secret), "{body}");
    let signature = alice.signature(&page, "", "action=\"/ui/logout\"");
    let out = format!("{page}/logout");
    let (head, _) = ask(&["-b", &alice.cookies, "-d", &format!("csrf={signature}"), &out]);
    assert!(head.contains("max-age=0"), "{head}");
    let (head, _) = ask(&["-b", &alice.cookies, &format!("{page}/domains")]);
    assert!(head.starts_with("http/1.1 303 "), "the session has ended: {head}");
}

/// Who may only read gets pages without forms, and forms that are sent all the same are refused.
#[test]
fn a_viewer_reads_and_changes_nothing() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example"]).ok();
    one.run(&["smime", "self-sign", "shop.example"]).ok();
    one.run(&["account", "create", "ann@shop.example"]).ok();
    let (page, alice) = alice_at(one, "viewer");
    for path in [
        "",
        "/domains",
        "/domains/shop.example",
        "/domains/shop.example/smime",
        "/domains/shop.example/accounts",
        "/domains/shop.example/accounts/ann@shop.example",
        "/trusted",
        "/tls",
        "/listeners",
        "/cluster",
    ] {
        let (head, body) = ask(&["-b", &alice.cookies, &format!("{page}{path}")]);
        assert!(head.starts_with("http/1.1 200 "), "{path}: {head}");
        assert!(!body.contains("action=\"/ui/change\""), "{path}: {body}");
    }
    let (head, body) = ask(&["-b", &alice.cookies, &format!("{page}/audit")]);
    assert!(head.starts_with("http/1.1 403 ") && body.contains("X002"), "{head}");
    // A form of another user, filled in by hand.
    let fields = "do=domain.delete&name=shop.example";
    let (head, _) = ask(&["-b", &alice.cookies, "-d", fields, &format!("{page}/change")]);
    assert!(head.starts_with("http/1.1 403 "), "{head}");
    assert!(has_domain(one, "shop.example"));
}

/// Refused with the reason, and the form has what was wanted.
#[test]
fn nobody_gives_a_role_that_they_do_not_have() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    make_user(one, "bob", "viewer");
    let (page, alice) = alice_at(one, "viewer,security");
    let signature = alice.signature(&page, "/administrators/bob", "id=\"user.set\"");
    let url = format!("{page}/change");
    let ask_for = |role: &str| {
        let back = "back=/ui/administrators/bob";
        let fields = format!("csrf={signature}&do=user.set&name=bob&role={role}&{back}");
        ask(&["-b", &alice.cookies, "-d", &fields, &url])
    };
    let (head, body) = ask_for("admin");
    assert!(head.starts_with("http/1.1 403 "), "{head}");
    assert!(body.contains("nobody gives others more than they have"), "{body}");
    let box_of_admin = body.split("id=\"user.set-admin\"").nth(1).unwrap();
    assert!(box_of_admin.split('>').next().unwrap().contains("checked"), "{body}");
    let (head, body) = ask_for("security");
    assert!(head.starts_with("http/1.1 200 ") && body.contains("Do it"), "{head} {body}");
    let shown = one.run(&["user", "show", "bob", "-o", "json"]).json();
    assert_eq!(shown["grant"]["roles"], serde_json::json!(["viewer"]), "not confirmed");
}

/// A browser sends all of a form before it reads the answer.
#[test]
fn a_paste_that_is_too_long_gets_an_answer() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example"]).ok();
    let (page, alice) = alice_at(one, "operator,admin,security");
    let signature = alice.signature(&page, "/domains/shop.example", "id=\"certificate.import\"");
    let file = one.file("long", "x".repeat(7_000_000).as_bytes());
    let fields = format!("csrf={signature}&do=certificate.import&name=shop.example");
    let (sent, url) = (format!("certificate@{file}"), format!("{page}/change"));
    let back = "back=/ui/domains/shop.example";
    let words = ["-H", "Expect:", "-b", &alice.cookies, "-d", &fields, "-d", back];
    let (head, body) = ask(&[&words[..], &["--data-urlencode", &sent, &url]].concat());
    assert!(head.starts_with("http/1.1 413 "), "{head} {body}");
    assert!(body.contains("a form has at most 6144 KiB"), "{body}");
    assert!(body.contains("id=\"certificate.import\"") && body.len() < 100_000, "{body}");
}

/// The list says where a listener is open, and why not.
#[test]
fn a_listener_is_shown_with_its_state_on_every_node() {
    let cluster = Cluster::start(3);
    let one = &cluster.nodes[0];
    let port = cluster.free_port();
    let _taken = std::net::TcpListener::bind((cluster.nodes[1].address, port)).unwrap();
    let bind = format!(":{port}");
    let words = ["listener", "add", "https", "--bind", &bind, "--upstream", "127.0.0.1:9"];
    one.run(&words).ok();
    let (page, alice) = alice_at(one, "viewer");
    let listeners = || ask(&["-b", &alice.cookies, &format!("{page}/listeners")]).1;
    let body = wait_for("the reports", || {
        let body = listeners();
        (body.matches("✓</span> open</span> on node-").count() == 2).then_some(body)
    });
    assert!(body.contains("closed</span> on node-2<br>"), "{body}");
    assert!(!body.contains("closed</span> on node-1"), "{body}");
}
