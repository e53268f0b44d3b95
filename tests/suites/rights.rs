//! Who may do what: every request of the API, asked by every kind of login.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use conclave_api::operation::{Method, OPERATIONS};
use conclave_tests::{Cluster, Node, Pair, binary, has_program, wait_for};
use serde_json::{Value, json};

/// The right that each operation needs, as a person would expect it. `-` needs only a login, `socket`
/// the admin socket, `none` nothing.
const NEEDS: [(&str, &[&str]); 15] = [
    ("none", &["log_in", "account_login"]),
    ("-", &["openapi", "log_out", "who_am_i", "roles"]),
    (
        "socket",
        &["init", "join", "begin_restore", "restore_rows", "finish_restore", "rekey", "take_over"],
    ),
    (
        "read",
        &[
            "status",
            "nodes",
            "load",
            "exposed",
            "drained",
            "upgrade",
            "keyring",
            "unlocking",
            "tls",
            "tls_served",
            "tls_sessions",
            "listeners",
            "listener",
        ],
    ),
    (
        "read domain",
        &[
            "events",
            "domains",
            "domain",
            "domain_history",
            "key",
            "test_key",
            "common_names",
            "certificate",
            "chain",
            "client_auth",
            "smime_issuer",
            "smime_crl",
            "accounts",
            "account",
            "account_certificate",
        ],
    ),
    (
        "domain",
        &[
            "remove_smime_issuer",
            "create_account",
            "delete_account",
            "generate_account_key",
            "import_account_key",
            "export_account_key",
            "set_account_passphrase",
            "invite_owner",
            "withdraw_invitation",
            "create_domain",
            "set_domain",
            "delete_domain",
            "rename_domain",
            "rollback_domain",
            "import_key",
            "remove_key",
            "generate_key",
            "set_pending_key",
            "remove_pending_key",
            "remove_certificate",
            "set_client_auth",
            "clear_client_auth",
        ],
    ),
    (
        "certificate",
        &[
            "create_csr",
            "import_certificate",
            "self_sign",
            "refresh_certificate",
            "end_canary",
            "set_chain",
            "remove_chain",
            "import_smime_issuer",
            "self_sign_smime_issuer",
            "refresh_smime_issuer",
            "create_smime_csr",
            "set_smime_chain",
            "set_smime",
            "issue_account_certificate",
            "revoke_account_certificate",
        ],
    ),
    (
        "trust",
        &[
            "add_trusted",
            "remove_trusted",
            "set_recovery_key",
            "remove_recovery_key",
            "recover_account_key",
        ],
    ),
    ("read trust", &["trusted"]),
    ("listener", &["add_listener", "set_listener", "remove_listener"]),
    ("tls", &["set_tls", "flush_sessions"]),
    ("cluster", &["set_node", "remove_node", "drain", "resume", "transfer_leader", "finalize"]),
    ("keyring", &["rotate_authority", "forget_authority", "rotate_keyring", "seal", "unseal"]),
    ("backup", &["create_backup", "note_backup"]),
    (
        "user join audit",
        &[
            "join_tokens",
            "create_join_token",
            "revoke_join_token",
            "tokens",
            "create_token",
            "revoke_token",
            "users",
            "create_user",
            "user",
            "set_user",
            "delete_user",
            "make_code",
            "remove_code",
            "audit",
            "verify_audit",
            "keep_audit",
        ],
    ),
];

/// The rights of each role.
const ROLES: [(&str, &[&str]); 4] = [
    ("viewer", &["read"]),
    ("operator", &["read", "domain", "certificate"]),
    ("admin", &["read", "domain", "certificate", "listener", "tls", "cluster", "backup", "audit"]),
    ("security", &["read", "trust", "keyring", "join", "audit", "user"]),
];

/// Returns the right that an operation needs, and whether it is about a domain.
fn need(id: &str) -> (&'static str, bool) {
    let (group, _) = NEEDS.iter().find(|(_, ids)| ids.contains(&id)).unwrap_or_else(|| {
        panic!("{id} has no row here: say who may do it");
    });
    match (*group, id) {
        ("read domain" | "read trust", _) => ("read", true),
        ("user join audit", "join_tokens" | "create_join_token" | "revoke_join_token") => {
            ("join", false)
        }
        ("user join audit", "audit" | "verify_audit") => ("audit", false),
        ("user join audit", _) => ("user", false),
        (right @ ("domain" | "certificate" | "trust"), _) => (right, true),
        (right, _) => (right, false),
    }
}

#[test]
fn the_document_names_the_right_of_every_operation() {
    let document = conclave_api::openapi::document();
    for one in OPERATIONS {
        let (right, by_domain) = need(one.id);
        let right = if right == "-" { "login" } else { right };
        let found = &document["paths"][one.path][one.method.as_str().to_lowercase()];
        let expected = json!({ "name": right, "by_domain": by_domain });
        assert_eq!(found["x-conclave-right"], expected, "{}", one.id);
        let told = found["description"].as_str().unwrap();
        let is_right = !["none", "login", "socket"].contains(&right);
        assert_eq!(told.contains(&format!("Needs the right `{right}`.")), is_right, "{told}");
    }
}

/// A caller, and what it must be able to do.
struct Login {
    name: String,
    token: Option<String>,
    rights: BTreeSet<&'static str>,
    /// The only domain of the caller.
    domain: Option<&'static str>,
}

fn url(node: &Node) -> String {
    let said = node.said();
    said.split_whitespace().find(|word| word.starts_with("https://")).unwrap().to_owned()
}

/// Asks over HTTPS. Returns the status and the code of the problem.
fn ask(node: &Node, token: Option<&str>, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut command = std::process::Command::new("curl");
    command.args(["-sk", "--max-time", "20", "-X", method, "-w", "\n%{http_code}"]);
    command.args(["-H", "Content-Type: application/json", "--data-binary", body]);
    if let Some(token) = token {
        command.args(["-H", &format!("Authorization: Bearer {token}")]);
    }
    let output = command.arg(format!("{}{path}", url(node))).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap();
    let problem: Value = serde_json::from_str(body).unwrap_or_default();
    (status.parse().unwrap(), problem["code"].as_str().unwrap_or_default().to_owned())
}

fn token(node: &Node, name: &str, more: &[&str]) -> String {
    let words = [&["token", "create", name, "-o", "json"], more].concat();
    node.run(&words).json()["token"].as_str().unwrap().to_owned()
}

fn logins(node: &Node) -> Vec<Login> {
    let mut all = vec![Login {
        name: "nobody".to_owned(),
        token: None,
        rights: BTreeSet::new(),
        domain: None,
    }];
    let password = node.file("password", b"correct horse battery");
    for (role, rights) in ROLES {
        let rights: BTreeSet<_> = rights.iter().copied().collect();
        let made = token(node, role, &["--role", role]);
        all.push(Login {
            name: format!("token {role}"),
            token: Some(made),
            rights: rights.clone(),
            domain: None,
        });
        let made = token(node, role, &["--role", role, "--domain", "shop.example"]);
        all.push(Login {
            name: format!("token {role} of shop.example"),
            token: Some(made),
            rights: rights.clone(),
            domain: Some("shop.example"),
        });
        node.run(&["user", "create", role, "--role", role, "--password-file", &password]).ok();
        let session = node.run(&["login", role, "--password-file", &password, "-o", "json"]).json();
        all.push(Login {
            name: format!("user {role}"),
            token: Some(session["token"].as_str().unwrap().to_owned()),
            rights,
            domain: None,
        });
    }
    all
}

#[test]
fn every_request_is_for_those_whose_role_has_the_right() {
    if !has_program("curl") {
        return;
    }
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example"]).ok();
    one.run(&["domain", "create", "other.example"]).ok();
    let logins = logins(one);
    let mut asked = 0;
    for login in &logins {
        for operation in OPERATIONS {
            let (right, is_of_domain) = need(operation.id);
            for name in ["shop.example", "other.example"] {
                let set = match operation.path {
                    path if path.contains("/trust/") => "domain:",
                    path if path.starts_with("/v1/accounts/") => "ann@",
                    _ => "",
                };
                let name = if is_of_domain { name } else { "none" };
                let path = operation.path.replace("{name}", &format!("{set}{name}"));
                let path = path.replace("{id}", "0000000000000000").replace("{ip}", "-");
                // What is allowed must change nothing: a dry run, or a body that is refused.
                let path = match operation.method {
                    // It would follow: behind what is no position it ends at once.
                    _ if operation.id == "events" => format!("{path}?after=none"),
                    Method::Get => path,
                    _ => format!("{path}?dry_run=true"),
                };
                let body = if operation.method == Method::Get { "" } else { "{\"x\":1}" };
                let method = operation.method.as_str();
                let (status, code) = ask(one, login.token.as_deref(), method, &path, body);
                let is_own = login.domain.is_none_or(|own| {
                    is_of_domain && (name == own || !operation.path.contains("{name}"))
                });
                let is_allowed = match right {
                    "none" => true,
                    "-" => login.token.is_some(),
                    right => login.rights.contains(right) && is_own,
                };
                let who = format!("{} {method} {path}: {status} {code}", login.name);
                match is_allowed {
                    _ if right == "none" => assert_ne!(status, 403, "{who}"),
                    true => assert!(![401, 403].contains(&status), "{who}"),
                    false if login.token.is_none() => assert_eq!(status, 401, "{who}"),
                    false => assert_eq!((status, code.as_str()), (403, "X002"), "{who}"),
                }
                asked += 1;
                if !is_of_domain {
                    break;
                }
            }
        }
        // A path that does not exist is no way in.
        let (status, _) = ask(one, login.token.as_deref(), "GET", "/v1/../etc/passwd", "");
        assert_eq!(status, 404);
    }
    println!("{asked} cells of the matrix");
}

/// A deploy hook's token leaked: what could be done with it.
#[test]
fn a_leaked_deploy_token_is_worth_one_import_and_nothing_else() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example"]).ok();
    one.run(&["domain", "create", "bank.example"]).ok();
    let limits = ["--role", "operator", "--only", "certificate", "--domain", "shop.example"];
    let leaked = token(one, "deploy", &limits);
    let file = one.file("leaked", leaked.as_bytes());
    let run = |words: &[&str]| {
        let output = std::process::Command::new(binary("conclave"))
            .args(["--address", &url(one), "--token-file", &file, "-o", "json"])
            .args(words)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let last: Value = told
            .lines()
            .last()
            .map_or(Value::Null, |last| serde_json::from_str(last).unwrap_or_default());
        (output.status.code().unwrap(), last["code"].as_str().unwrap_or_default().to_owned())
    };
    let (pair, bank) = (Pair::make("shop.example"), Pair::make("bank.example"));
    let (bundle, key) = one.pair_files(&pair);
    assert_eq!(run(&["cert", "import", "shop.example", &bundle, "--key", &key]).0, 0);
    let (bundle, key) = one.pair_files(&bank);
    for words in [
        &["cert", "import", "bank.example", &bundle, "--key", &key][..],
        &["domain", "create", "new.example"],
        &["domain", "delete", "shop.example", "--yes"],
        &["domain", "alias", "shop.example", "--add", "bank.example"],
        &["domain", "set", "shop.example", "--pki", "disabled"],
        &["domain", "show", "shop.example"],
        &["key", "generate", "shop.example"],
        &["key", "remove", "shop.example", "--yes"],
        &["cert", "remove", "shop.example", "--yes"],
        &["trust", "add", &bundle, "--scope", "cluster"],
        &["trust", "add", &bundle, "--scope", "domain:shop.example"],
        &["token", "create", "more", "--role", "operator"],
        &["token", "list"],
        &["join-token", "create"],
        &["user", "create", "me", "--role", "admin", "--password-file", &key],
        &["node", "drain", "node-1"],
        &["cluster", "transfer-leader"],
        &["keyring", "rotate"],
        &["keyring", "seal"],
        &["listener", "add", "x", "--bind", "127.0.0.1:9999", "--upstream", "127.0.0.1:1"],
        &["tls", "flush", "--yes"],
        &["audit", "list"],
        &["status"],
    ] {
        assert_eq!(run(words), (5, "X002".to_owned()), "{words:?}");
    }
    // All of it is in the trail.
    wait_for("the refused requests in the audit trail", || {
        let denied = ["audit", "list", "--who", "token deploy", "--result", "denied", "-o", "json"];
        let entries = one.run(&denied).json();
        (entries.as_array().unwrap().len() >= 20).then_some(())
    });
}

#[test]
fn what_a_token_made_ends_with_it() {
    if !has_program("curl") {
        return;
    }
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let first = token(one, "first", &["--role", "admin,security"]);
    let make = |token: &str, name: &str, role: &str| {
        let body = json!({ "name": name, "grant": { "roles": [role] } }).to_string();
        let mut command = std::process::Command::new("curl");
        command.args(["-sk", "-X", "POST", "--data-binary", &body]);
        command.args(["-H", &format!("Authorization: Bearer {token}")]);
        let output = command.arg(format!("{}/v1/tokens", url(one))).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let second = make(&first, "second", "security")["token"].as_str().unwrap().to_owned();
    // Nobody gives others more than they have.
    assert_eq!(make(&second, "more", "admin")["code"], "X002");
    let third = make(&second, "third", "security")["token"].as_str().unwrap().to_owned();
    assert_eq!(ask(one, Some(&third), "GET", "/v1/whoami", "").0, 200);
    let id = first.strip_prefix("cvt_").unwrap().split('.').next().unwrap().to_owned();
    let revoked = one.run(&["token", "revoke", &id, "--yes", "-o", "json"]).json();
    assert_eq!(revoked["made_by_it"].as_array().unwrap().len(), 2, "{revoked}");
    for token in [&first, &second, &third] {
        assert_eq!(ask(one, Some(token), "GET", "/v1/whoami", ""), (401, "X003".to_owned()));
    }
}

#[test]
fn tokens_have_an_end_a_network_and_a_number_of_uses() {
    if !has_program("curl") {
        return;
    }
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let elsewhere = token(one, "elsewhere", &["--role", "viewer", "--from", "192.0.2.0/24"]);
    assert_eq!(ask(one, Some(&elsewhere), "GET", "/v1/domains", "").0, 403);
    let here = token(one, "here", &["--role", "viewer", "--from", "127.0.0.0/8"]);
    assert_eq!(ask(one, Some(&here), "GET", "/v1/domains", "").0, 200);
    let twice = token(one, "twice", &["--role", "operator", "--uses", "2"]);
    for name in ["a.example", "b.example"] {
        let body = json!({ "name": name }).to_string();
        assert_eq!(ask(one, Some(&twice), "POST", "/v1/domains", &body).0, 200);
    }
    let body = json!({ "name": "c.example" }).to_string();
    assert_eq!(ask(one, Some(&twice), "POST", "/v1/domains", &body), (403, "X011".to_owned()));
    let short = token(one, "short", &["--role", "viewer", "--expires-in", "1s"]);
    wait_for("the end of the token", || {
        (ask(one, Some(&short), "GET", "/v1/domains", "").0 == 401).then_some(())
    });
    let tokens = one.run(&["token", "list", "-o", "json"]).json();
    let has_end = |token: &Value| token["expires"].is_string();
    assert!(tokens.as_array().unwrap().iter().all(has_end), "{tokens}");
}

#[test]
fn passwords_cannot_be_guessed_and_codes_count_once() {
    if !has_program("curl") {
        return;
    }
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let password = one.file("password", b"correct horse battery");
    let user = ["user", "create", "alice", "--role", "viewer", "--password-file", &password];
    one.run(&user).ok();
    let log_in = |user: &str, password: &str, code: Option<&str>| {
        let body = json!({ "user": user, "password": password, "code": code }).to_string();
        ask(one, None, "POST", "/v1/login", &body)
    };
    assert_eq!(log_in("alice", "correct horse battery", None).0, 200);
    // The same words for a user that does not exist.
    let (wrong, nobody) = (log_in("alice", "wrong", None), log_in("mallory", "wrong", None));
    assert_eq!((wrong.clone(), nobody), (wrong.clone(), wrong));
    let slowed = (0..40).map(|_| log_in("alice", "wrong password", None));
    let slowed: Vec<_> = slowed.filter(|(status, _)| *status == 429).collect();
    assert!(slowed.len() >= 30, "{slowed:?}");
    // Neither do those who know the password get in meanwhile. On a slow machine a place may have
    // become free: then guessing goes on.
    wait_for("the right password to wait too", || {
        (0..20).for_each(|_| drop(log_in("alice", "wrong password", None)));
        (log_in("alice", "correct horse battery", None).1 == "U004").then_some(())
    });
    // The socket is another way in, so the operator is not locked out.
    one.run(&["user", "list"]).ok();
    let bob = ["user", "create", "bob", "--role", "viewer", "--password-file", &password];
    one.run(&bob).ok();
    let made = one.run(&["user", "code", "bob", "-o", "json"]).json();
    assert!(made["url"].as_str().unwrap().starts_with("otpauth://totp/"), "{made}");
    assert_eq!(log_in("bob", "correct horse battery", None), (401, "U003".to_owned()));
    let denied = ["audit", "list", "--event", "user.login", "--result", "denied", "-o", "json"];
    wait_for("the refused logins in the audit trail", || {
        let entries = one.run(&denied).json();
        (!entries.as_array().unwrap().is_empty()).then_some(())
    });
    let all = one.run(&["audit", "list", "-o", "json"]).ok();
    assert!(!all.contains("correct horse") && !all.contains("wrong password"), "{all}");
}

#[test]
fn large_and_slow_bodies_are_bounded() {
    if !has_program("curl") {
        return;
    }
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let made = token(one, "operator", &["--role", "operator"]);
    let large = one.file("large", &vec![b' '; 100 * 1024 * 1024]);
    // Asked whether it may send, the node says no before anything of it.
    let head = "Content-Length: 104857600\r\nExpect: 100-continue\r\n\r\n";
    let mut stream = UnixStream::connect(one.dir.join("admin.sock")).unwrap();
    write!(stream, "POST /v1/domains HTTP/1.1\r\nHost: x\r\n{head}").unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
    let begun = std::time::Instant::now();
    for token in [None, Some(made.as_str())] {
        let (status, _) = ask(one, token, "POST", "/v1/domains", &format!("@{large}"));
        assert!([0, 401, 413].contains(&status), "{status}");
    }
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    // A header cannot be smuggled in by a name.
    let path = "/v1/domains/x%0d%0aSet-Cookie:%20a=b";
    let (status, _) = ask(one, Some(&made), "GET", path, "");
    assert_eq!(status, 422);
}
