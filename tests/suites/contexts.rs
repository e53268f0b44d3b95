//! Contexts of the command line: clusters with names.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use conclave_tests::{Cluster, Node, binary};

struct Home(PathBuf);

impl Home {
    /// Runs a command of a user with this home: its exit code, output and errors.
    fn run(&self, words: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(binary("conclave"));
        command.env("HOME", &self.0).env_remove("XDG_CONFIG_HOME").env_remove("CONCLAVE_ADDRESS");
        let output = command
            .env_remove("CONCLAVE_TOKEN_FILE")
            .env_remove("CONCLAVE_CONTEXT")
            .args(words)
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn ok(&self, words: &[&str]) -> String {
        let (code, out, err) = self.run(words);
        assert_eq!(code, 0, "{words:?}: {err}");
        out
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(".config/conclave").join(name)
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn url(node: &Node) -> String {
    let said = node.said();
    said.split_whitespace().find(|word| word.starts_with("https://")).unwrap().to_owned()
}

#[test]
fn a_context_is_asked_and_keeps_a_session() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let home = Home(one.dir.join("home"));
    let password = one.file("password", b"correct horse battery");
    one.run(&["user", "create", "alice", "--role", "admin", "--password-file", &password]).ok();
    let fingerprint = one.status()["cluster"]["fingerprint"].as_str().unwrap().to_owned();
    let socket = format!("unix:{}", one.dir.join("admin.sock").display());
    // Without its authority nobody could tell this cluster from another one.
    let (code, _, told) = home.run(&["context", "add", "prod", "--nodes", &url(one)]);
    assert!(code == 2 && told.contains("--authority"), "{told}");
    home.ok(&["context", "add", "prod", "--nodes", &url(one), "--authority", &fingerprint]);
    home.ok(&["context", "add", "here", "--nodes", &socket]);
    let (code, _, told) = home.run(&["token", "whoami"]);
    assert!(code == 5 && told.contains("X003"), "no session yet: {told}");
    let told = home.ok(&["login", "alice", "--password-file", &password, "--save"]);
    assert!(told.starts_with("prod: logged in until") && !told.contains("cvt_"), "{told}");
    assert_eq!(home.ok(&["token", "whoami", "-o", "name"]).trim(), "user alice");
    assert!(home.ok(&["-c", "here", "token", "whoami", "-o", "name"]).starts_with("uid "));
    assert_eq!(
        (mode(&home.file("contexts.toml")), mode(&home.file("prod.session"))),
        (0o600, 0o600)
    );
    assert_eq!(home.ok(&["context", "list", "-o", "name"]), "here\nprod\n");
    let (code, _, told) = home.run(&["-c", "nowhere", "status"]);
    assert!(code == 3 && told.contains("no context"), "{told}");
    let (code, ..) = home.run(&["-c", "prod", "--address", &socket, "status"]);
    assert_eq!(code, 2, "either a context or an address");
    home.ok(&["logout"]);
    assert!(!home.file("prod.session").exists());
    assert_eq!(home.run(&["token", "whoami"]).0, 5);
    // A cluster that is not the one that was added gets nothing.
    let other = "00".repeat(32);
    home.ok(&["context", "add", "false", "--nodes", &url(one), "--authority", &other]);
    let (code, _, told) =
        home.run(&["-c", "false", "login", "alice", "--password-file", &password]);
    assert!(code == 6 && told.contains("X010"), "{told}");
    home.ok(&["context", "use", "here"]);
    home.ok(&["context", "remove", "prod"]);
    assert_eq!(home.ok(&["context", "list", "-o", "name"]), "false\nhere\n");
    // No home, or that of another user: no context is in use, and the machine's own node is asked.
    let none = Home("/proc/no-home".into());
    if !Path::new("/run/conclave/admin.sock").exists() {
        let (code, _, told) = none.run(&["status"]);
        assert!(code == 6 && told.contains("no node to ask"), "{told}");
    }
    assert_eq!(none.run(&["-c", "here", "status"]).0, 3, "one that is named must be there");
    std::fs::write(home.file("contexts.toml"), "nonsense").unwrap();
    let (code, _, told) = home.run(&["status"]);
    assert!(code == 2 && told.contains("contexts.toml"), "{told}");
}

#[test]
fn a_session_ends_where_it_was_begun_and_nowhere_else() {
    let (cluster, strangers) = (Cluster::start(1), Cluster::start(1));
    let (one, other) = (&cluster.nodes[0], &strangers.nodes[0]);
    let home = Home(one.dir.join("home"));
    let password = one.file("password", b"correct horse battery");
    one.run(&["user", "create", "alice", "--role", "admin,security", "--password-file", &password])
        .ok();
    let fingerprint =
        |node: &Node| node.status()["cluster"]["fingerprint"].as_str().unwrap().to_owned();
    let add = ["context", "add", "prod", "--nodes", &url(one), "--authority", &fingerprint(one)];
    home.ok(&add);
    let log_in = ["login", "alice", "--password-file", &password, "--save"];
    home.ok(&log_in);
    // Another token is shown: the session of the context stays.
    let mut made = home.ok(&["token", "create", "hook", "--role", "viewer"]);
    made.truncate(made.trim_end().len());
    let hook = one.file("hook.token", made.lines().last().unwrap().as_bytes());
    std::fs::set_permissions(&hook, PermissionsExt::from_mode(0o600)).unwrap();
    assert!(home.ok(&["token", "whoami", "--token-file", &hook, "-o", "name"]).contains("hook"));
    assert_ne!(home.run(&["logout", "--token-file", &hook]).0, 0, "a token is no session");
    assert_eq!(home.ok(&["token", "whoami", "-o", "name"]).trim(), "user alice");
    // The environment counts less than a context that is named, and more than the one in use.
    let who = |words: &[&str]| {
        let mut command = Command::new(binary("conclave"));
        command.env("HOME", &home.0).env_remove("XDG_CONFIG_HOME");
        command.env_remove("CONCLAVE_ADDRESS").env("CONCLAVE_TOKEN_FILE", &hook);
        String::from_utf8(command.args(words).output().unwrap().stdout).unwrap()
    };
    assert!(who(&["token", "whoami", "-o", "name"]).contains("hook"));
    assert_eq!(who(&["token", "whoami", "-c", "prod", "-o", "name"]).trim(), "user alice");
    // A session that the node has ended is forgotten; there is nothing else to do.
    one.run(&["user", "password", "alice", "--password-file", &password]).ok();
    assert_eq!(home.run(&["token", "whoami"]).0, 5);
    home.ok(&["logout"]);
    assert!(!home.file("prod.session").exists());
    // A damaged one cannot be ended, and is no use either.
    std::fs::write(home.file("prod.session"), "").unwrap();
    home.ok(&["logout"]);
    assert!(!home.file("prod.session").exists());
    // Another authority for the name: the old session is none of the new cluster.
    home.ok(&log_in);
    home.ok(&[
        "context",
        "add",
        "prod",
        "--nodes",
        &url(other),
        "--authority",
        &fingerprint(other),
    ]);
    assert!(!home.file("prod.session").exists());
    let (code, _, told) = home.run(&[&log_in[..4], &["--authority", &fingerprint(one)]].concat());
    assert!(code == 6 && told.contains("X010"), "{told}");
    // What a context has cannot be for another cluster, and one with a login keeps no session.
    home.ok(&[
        "context",
        "add",
        "mixed",
        "--nodes",
        &url(other),
        "--authority",
        &fingerprint(other),
        "--token",
        &hook,
    ]);
    let (code, _, told) = home.run(&["-c", "mixed", "status"]);
    assert!(code == 6 && told.contains("another cluster"), "{told}");
    let (code, _, told) = home.run(&[&["-c", "mixed"], &log_in[..]].concat());
    assert!(code == 2 && told.contains("has a login"), "{told}");
}
