//! The forms of answers: names, JSON, wide tables, silence, and what comes of an output that fails.

use std::{
    fs::File,
    io::Write,
    os::unix::fs::PermissionsExt,
    process::{Command, Output, Stdio},
};

use conclave_tests::{Cluster, Node, Pair, binary, run_alone};
use serde_json::Value;

fn command(node: &Node, words: &[&str]) -> Command {
    let mut command = Command::new(binary("conclave"));
    command.arg("--address").arg(format!("unix:{}", node.dir.join("admin.sock").display()));
    command.args(words).stdin(Stdio::null()).stderr(Stdio::piped());
    command
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a command whose output goes to a full disk.
fn run_full(node: &Node, words: &[&str]) -> Output {
    let full = File::options().write(true).open("/dev/full").unwrap();
    command(node, words).stdout(full).output().unwrap()
}

/// Runs a command whose reader has gone away.
fn run_unread(node: &Node, words: &[&str]) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command(node, words).stdout(writer).output().unwrap()
}

/// A node with one object of each kind.
fn furnished() -> Cluster {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let pair = Pair::make("shop.example");
    one.run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
    let (certificate, key) = one.pair_files(&pair);
    one.run(&["cert", "import", "shop.example", &certificate, "--key", &key]).ok();
    let root = one.file("root.pem", pair.chain.as_bytes());
    one.run(&["trust", "add", "--scope", "cluster", &root]).ok();
    one.run(&["token", "create", "deploy", "--role", "admin,security"]).ok();
    cluster.listen();
    cluster
}

#[test]
fn every_list_has_a_kind_and_a_wider_table_and_names_for_the_next_command() {
    let cluster = furnished();
    let one = &cluster.nodes[0];
    for (words, kind) in [
        (&["domain", "list"][..], "Domain"),
        (&["domain", "history", "shop.example"], "DomainVersion"),
        (&["cert", "list"], "DomainCertificate"),
        (&["chain", "show", "shop.example"], "Certificate"),
        (&["key", "test", "shop.example"], "KeyTest"),
        (&["listener", "list"], "Listener"),
        (&["trust", "list", "--no-inherited"], "Trusted"),
        (&["node", "list"], "Node"),
        (&["token", "list"], "Token"),
        (&["csr", "create", "shop.example", "--list-names"], "CommonName"),
        (&["explain", "--list"], "Explanation"),
    ] {
        let run = |form: &str| one.run(&[words, &["-o", form]].concat()).ok();
        let list: Value = serde_json::from_str(&run("json")).unwrap();
        assert_eq!(list["apiVersion"], "conclave/v1", "{words:?}: {list}");
        assert_eq!(list["kind"], format!("{kind}List"), "{words:?}");
        let items = list["items"].as_array().unwrap();
        assert!(!items.is_empty(), "{words:?}");
        let lines = run("jsonl");
        for line in lines.lines() {
            let item: Value = serde_json::from_str(line).unwrap();
            assert_eq!((&item["apiVersion"], &item["kind"]), (&"conclave/v1".into(), &kind.into()));
        }
        assert_eq!(lines.lines().count(), items.len(), "{words:?}");
        let names = run("name");
        assert_eq!(names.lines().count(), items.len(), "{words:?}: {names}");
        assert!(names.lines().all(|name| !name.contains(' ')), "{words:?}: {names}");
        let has_more = run("wide").len() > run("table").len();
        let is_narrow = matches!(kind, "CommonName" | "Token");
        assert!(has_more || is_narrow, "{words:?}: {}", run("wide"));
    }
    // The names are what the next command takes.
    let name = |words: &[&str]| one.run(&[words, &["-o", "name"]].concat()).ok();
    assert_eq!(name(&["domain", "show", "shop.example"]), "shop.example\n");
    assert_eq!(name(&["status"]), "node-1\n");
    let fingerprint = name(&["trust", "list", "--no-inherited"]);
    one.run(&["trust", "remove", fingerprint.trim(), "--yes"]).ok();
    let versions = name(&["domain", "history", "shop.example"]);
    assert_eq!(versions, "2\n1\n");
    one.run(&["domain", "rollback", "shop.example", "1"]).ok();
    let token = name(&["token", "list"]);
    one.run(&["token", "revoke", token.trim(), "--yes"]).ok();
}

#[test]
fn every_object_has_its_kind() {
    let cluster = furnished();
    let one = &cluster.nodes[0];
    let file = one.file("shown.pem", Pair::make("a.example").certificate.as_bytes());
    let csr = one.dir.join("shop.csr").to_str().unwrap().to_owned();
    one.run(&["csr", "create", "shop.example", "--out", &csr]).ok();
    let config = one.dir.join("node.toml").to_str().unwrap().to_owned();
    for (words, kind) in [
        (&["status"][..], "Status"),
        (&["domain", "show", "shop.example"], "Domain"),
        (&["domain", "check", "shop.example"], "DomainCheck"),
        (&["key", "show", "shop.example"], "Key"),
        (&["cert", "show", "shop.example"], "Certificate"),
        (&["cert", "show", &file], "CertificateList"),
        (&["cert", "check", &file], "CertificateCheck"),
        (&["csr", "show", &csr], "SigningRequest"),
        (&["client-auth", "show", "shop.example"], "ClientAuth"),
        (&["tls", "show"], "TlsSettings"),
        (&["tls", "sessions"], "TlsSessions"),
        (&["trust", "verify", &file, "--scope", "cluster"], "Verdict"),
        (&["keyring", "status"], "Keyring"),
        (&["config", "check", &config], "ConfigurationCheck"),
        (&["explain", "k002"], "Explanation"),
        (&["domain", "set", "shop.example", "--pki", "enabled", "--dry-run"], "Change"),
    ] {
        for form in ["json", "jsonl"] {
            let ran = one.run(&[words, &["-o", form]].concat());
            let shown: Value =
                serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{words:?}: {}", ran.err));
            assert_eq!(shown["apiVersion"], "conclave/v1", "{words:?}: {shown}");
            let of = shown["kind"].as_str().unwrap();
            assert!(of == kind || form == "jsonl" && kind.starts_with(of), "{words:?}: {shown}");
        }
    }
}

#[test]
fn an_output_that_fails_is_an_error_and_loses_no_secret() {
    let cluster = furnished();
    let one = &cluster.nodes[0];
    one.run(&["token", "create", "kept", "--role", "admin,security"]).ok();
    let tokens = || one.run(&["token", "list", "-o", "json"]).json().as_array().unwrap().len();
    assert_eq!(tokens(), 2);
    for words in [
        &["cert", "export", "shop.example"][..],
        &["domain", "list"],
        &["domain", "list", "-o", "json"],
        &["domain", "list", "-o", "name"],
        &["status"],
        &["csr", "create", "shop.example"],
        &["config", "init"],
        &["completion", "bash"],
        &["explain", "K002"],
        &["tls", "show"],
        &["token", "create", "lost", "--role", "admin,security"],
        &["token", "create", "lost", "--role", "admin,security", "-o", "json"],
        &["join-token", "create"],
        &["--help"],
        &["domain", "create", "--help"],
    ] {
        let output = run_full(one, words);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {}", err(&output));
        let said = err(&output);
        assert!(said.contains("X009") && said.contains("standard output"), "{words:?}: {said}");
    }
    // A reader that needs no more, as `head`, is no error; but one that misses a secret is.
    for words in [&["domain", "list"][..], &["explain", "--list"], &["status"], &["--help"]] {
        let output = run_unread(one, words);
        assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()), "{words:?}");
    }
    for words in
        [&["token", "create", "lost", "--role", "admin,security"][..], &["join-token", "create"]]
    {
        assert_eq!(run_unread(one, words).status.code(), Some(1), "{words:?}");
    }
    assert_eq!(tokens(), 2, "no token is left that nobody has");
}

#[test]
fn a_quiet_change_says_nothing() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    for words in [
        &["domain", "create", "shop.example"][..],
        &["key", "generate", "shop.example"],
        &["cert", "self-sign", "shop.example"],
        &["domain", "alias", "shop.example", "--add", "www.shop.example"],
        &["tls", "set", "--ttl", "1h"],
        &["node", "drain", "node-1", "--deadline", "1s"],
        &["node", "resume", "node-1"],
        &["domain", "delete", "shop.example", "--yes"],
    ] {
        let ran = one.run(&[&["-q"][..], words].concat());
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""), "{words:?}");
    }
    let token = one.run(&["-q", "token", "create", "deploy", "--role", "admin,security"]);
    assert!(token.out.starts_with("cvt_") && token.err.is_empty(), "a secret is requested data");
}

#[test]
fn a_wrong_command_is_one_object_too_and_names_no_option_from_the_environment() {
    for words in [
        &["domain", "creat", "-o", "json"][..],
        &["-o", "json", "cluster", "init"],
        &["status", "--output=json", "--colour"],
        &["-ojson", "--timeout", "soon", "status"],
    ] {
        let ran = run_alone(words);
        let problem = ran.problem();
        assert_eq!((ran.code, &problem["code"]), (2, &"X004".into()), "{words:?}");
        assert_eq!(problem["kind"], "Error", "{words:?}");
    }
    let output = Command::new(binary("conclave"))
        .args(["cluster", "init"])
        .env("CONCLAVE_ADDRESS", "unix:/nonexistent")
        .output()
        .unwrap();
    assert!(!err(&output).contains("--address"), "{}", err(&output));
    let ran = run_alone(&["domain", "list", "--address", "https://a:1;https://b:2"]);
    assert!(ran.code == 2 && ran.err.contains("not the address of a node"), "{}", ran.err);
}

#[test]
fn the_environment_names_nodes_and_token_and_a_silent_node_is_passed_over() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let said = one.said();
    let url = said.split_whitespace().find(|word| word.starts_with("https://")).unwrap();
    let made =
        one.run(&["token", "create", "deploy", "--role", "admin,security", "-o", "json"]).json();
    let token = one.file("access", made["token"].as_str().unwrap().as_bytes());
    let run = |addresses: &str, words: &[&str]| {
        Command::new(binary("conclave"))
            .args(words)
            .env("CONCLAVE_ADDRESS", addresses)
            .env("CONCLAVE_TOKEN_FILE", &token)
            .output()
            .unwrap()
    };
    for (place, addresses) in
        [url.to_owned(), format!("https://127.0.0.1:1,{url}"), format!("unix:/nonexistent,{url}")]
            .iter()
            .enumerate()
    {
        let name = format!("d{place}.example");
        let output = run(addresses, &["domain", "create", &name]);
        assert!(output.status.success(), "{addresses}: {}", err(&output));
        assert!(err(&output).contains("mode 644"), "others can read the token: {}", err(&output));
        let shown = one.run(&["domain", "show", &name, "-o", "json"]).json();
        assert_eq!((&shown["version"], &shown["changed_by"]), (&1.into(), &"token deploy".into()));
    }
    std::fs::set_permissions(&token, PermissionsExt::from_mode(0o600)).unwrap();
    let output = run(url, &["domain", "list"]);
    assert_eq!(err(&output), "");
    let output = run("https://127.0.0.1:1,unix:/nonexistent", &["--timeout", "2s", "status"]);
    assert_eq!(output.status.code(), Some(6), "{}", err(&output));
    assert!(err(&output).contains("https://127.0.0.1:1"), "{}", err(&output));
}

#[test]
fn a_join_token_may_come_through_a_pipe_and_the_unlock_key_is_named() {
    let cluster = Cluster::unfounded(2);
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    let unlock = one.dir.join("node-1.unlock.key");
    std::fs::set_permissions(&unlock, PermissionsExt::from_mode(0o644)).unwrap();
    let made = one.run(&["cluster", "init", "--name", "test"]);
    assert!(made.err.contains(unlock.to_str().unwrap()), "{}", made.err);
    assert!(made.err.contains("mode 644"), "{}", made.err);
    let token = one.run(&["-q", "join-token", "create"]).ok();
    let mut join = command(two, &["cluster", "join", &one.quic.to_string(), "--timeout", "60s"]);
    let mut joining = join.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    joining.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
    let output = joining.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", err(&output));
    assert!(err(&output).contains("node-2.unlock.key"), "{}", err(&output));
}

#[test]
fn an_open_unlock_key_is_said_at_the_start() {
    let mut cluster = Cluster::unfounded(1);
    let one = &mut cluster.nodes[0];
    let unlock = one.dir.join("node-1.unlock.key");
    assert!(!one.said().contains("unlock key"), "{}", one.said());
    std::fs::set_permissions(&unlock, PermissionsExt::from_mode(0o644)).unwrap();
    one.stop();
    one.start();
    assert!(one.said().contains("chmod 600"), "{}", one.said());
}

#[test]
fn the_history_says_what_each_version_changed() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example"]).ok();
    one.run(&["key", "generate", "shop.example"]).ok();
    one.run(&["cert", "self-sign", "shop.example"]).ok();
    one.run(&["domain", "alias", "shop.example", "--add", "www.shop.example"]).ok();
    one.run(&["domain", "set", "shop.example", "--pki", "enabled"]).ok();
    one.run(&["domain", "rename", "shop.example", "store.example"]).ok();
    let remove = |reason| one.run(&["key", "remove", "store.example", "--yes", "--reason", reason]);
    let deceives = remove("a\u{1b}[2J");
    assert!(deceives.code == 2 && deceives.err.contains("one line"), "{}", deceives.err);
    remove("a \"word\"").ok();
    let history = one.run(&["domain", "history", "store.example", "-o", "json"]).json();
    let changes: Vec<String> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|version| {
            let words = version["changes"].as_array().unwrap().iter();
            words.map(|word| word.as_str().unwrap()).collect::<Vec<_>>().join("+")
        })
        .collect();
    let expected = ["key+certificate", "name", "pki", "aliases", "certificate", "key", "created"];
    assert_eq!(changes, expected);
    let table = one.run(&["domain", "history", "store.example"]).ok();
    assert!(table.contains("key, certificate"), "{table}");
    // Reasons from before 0.3.0 may hold anything, so each is escaped.
    assert!(table.contains("a \\\"word\\\""), "{table}");
}

#[test]
fn swapped_and_short_words_are_understood_or_put_right() {
    let cluster = furnished();
    let one = &cluster.nodes[0];
    let file = one.file("swapped.pem", Pair::make("shop.example").certificate.as_bytes());
    let ran = one.run(&["cert", "import", &file, "shop.example"]);
    let hint = format!("conclave cert import shop.example {file}");
    assert!(ran.code == 2 && ran.err.contains(&hint), "{}", ran.err);
    assert!(one.run(&["cert", "show", &file]).ok().contains("shop.example"));
    // A new certificate is valid for as long as the one before, and no name is listed twice.
    one.run(&["domain", "create", "a.b.example", "--alias", "*.b.example"]).ok();
    one.run(&["key", "generate", "a.b.example"]).ok();
    one.run(&["cert", "self-sign", "a.b.example", "--days", "10"]).ok();
    one.run(&["cert", "refresh", "a.b.example"]).ok();
    let shown = one.run(&["cert", "show", "a.b.example", "-o", "json"]).json();
    assert!([9, 10].contains(&shown["days_left"].as_u64().unwrap()), "{shown}");
    let names = one.run(&["csr", "create", "a.b.example", "--list-names", "-o", "name"]).ok();
    assert_eq!(names, "a.b.example\n*.b.example\n");
    let ran = one.run(&["domain", "delete", "node-1.main", "--scope", "local", "--yes"]);
    assert!(ran.code == 0 && ran.err.contains("Main Domain"), "{}", ran.err);
}

#[test]
fn a_probe_knows_the_test_certificate_and_a_server_that_speaks_first() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let port = cluster.listen();
    let at = one.listener(port).to_string();
    let ran = one.run(&["tls", "probe", &at, "--server-name", "-"]);
    assert!(ran.out.contains("served by node-1 (this cluster)"), "{}", ran.out);
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = server.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in server.incoming() {
            stream.unwrap().write_all(b"220 mail.example ESMTP\r\n").unwrap();
        }
    });
    let ran = one.run(&["tls", "probe", &at]);
    let hint = format!("conclave tls probe {at} --starttls smtp");
    assert!(ran.code == 6 && ran.err.contains(&hint), "{}", ran.err);
}

#[test]
fn a_sealed_node_does_not_open_the_keyring() {
    let mut cluster = Cluster::start(3);
    let three = &mut cluster.nodes[2];
    three.stop();
    let unlock = three.dir.join("node-3.unlock.key");
    std::fs::rename(&unlock, three.dir.join("away")).unwrap();
    three.start();
    cluster.nodes[1].kill();
    let one = &cluster.nodes[0];
    conclave_tests::wait_for("both states", || {
        let shown = one.run(&["keyring", "status", "-o", "json"]).json();
        let is = |field: &str, name: &str| shown[field] == serde_json::json!([name]);
        (is("sealed_nodes", "node-3") && is("silent_nodes", "node-2")).then_some(())
    });
    let told = one.run(&["keyring", "status"]).ok();
    assert!(told.contains("opened by node-1\n"), "{told}");
    assert!(told.contains("sealed, so without private keys: node-3"), "{told}");
}

/// Answers a question on a terminal as soon as it appears, as `expect` does; gives what the terminal
/// showed, and whether it shows again what is typed.
fn ask_on_terminal(node: &Node, answer: &str) -> String {
    let script = "
import os, pty, select, sys, termios, time
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
shown, sent, end = b'', False, time.time() + 20
while time.time() < end and (not sent or os.waitpid(pid, os.WNOHANG)[0] == 0):
    if select.select([fd], [], [], 0.05)[0]:
        try:
            shown += os.read(fd, 4096)
        except OSError:
            break
    if b'Token: ' in shown and not sent:
        sent = True
        os.write(fd, sys.argv[1].encode())
echo = termios.tcgetattr(fd)[3] & termios.ECHO
print(shown.decode(), 'echo' if echo else 'silent')
";
    let address = format!("unix:{}", node.dir.join("admin.sock").display());
    let join = ["--timeout", "2s", "cluster", "join", "127.0.0.1:1"];
    let output = Command::new("python3")
        .args(["-c", script, answer])
        .arg(binary("conclave"))
        .args(["--address", &address])
        .args(join)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", err(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_token_that_is_typed_at_once_is_not_shown_and_the_terminal_is_put_right() {
    if !conclave_tests::has_program("python3") {
        return;
    }
    let cluster = Cluster::unfounded(1);
    let one = &cluster.nodes[0];
    for answer in ["cvj_typed.secret.token\n", "\u{3}"] {
        let shown = ask_on_terminal(one, answer);
        assert!(shown.contains("Token: ") && shown.ends_with("echo\n"), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}
