//! Client certificates as logins of the admin API.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use conclave_tests::{Authority, Cluster, Node, authority, has_program, openssl, wait_for};
use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose as Purpose, SanType, SerialNumber, date_time_ymd,
};
use serde_json::Value;

fn sha256(file: &str) -> String {
    let shown = openssl(&["x509", "-in", file, "-noout", "-fingerprint", "-sha256"]);
    shown.trim().rsplit('=').next().unwrap().replace(':', "").to_lowercase()
}

/// A PEM file with a certificate for these names and its key.
fn identity(
    node: &Node,
    root: &Authority,
    file: &str,
    names: &[SanType],
    change: impl FnOnce(&mut CertificateParams),
) -> String {
    let issued = root.client(file, |params| {
        params.subject_alt_names.extend(names.iter().cloned());
        change(params);
    });
    let pem = format!("{}\n{}", issued.certificate, issued.key);
    let file = node.file(&format!("{file}.pem"), pem.as_bytes());
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    file
}

fn mail(text: &str) -> SanType {
    SanType::Rfc822Name(text.try_into().unwrap())
}

fn url(node: &Node) -> String {
    let said = node.said();
    said.split_whitespace().find(|word| word.starts_with("https://")).unwrap().to_owned()
}

/// Asks with a certificate. Returns the status and who the node sees.
fn ask(node: &Node, identity: &str, method: &str, path: &str) -> (u16, String) {
    let words =
        ["-sk", "--max-time", "20", "-w", "\n%{http_code}", "--cert", identity, "-X", method];
    let mut command = Command::new("curl");
    let output = command.args(words).arg(format!("{}{path}", url(node))).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap();
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let told = body["who"].as_str().or(body["code"].as_str()).unwrap_or_default().to_owned();
    (status.parse().unwrap(), told)
}

#[test]
fn a_certificate_is_the_login_of_the_user_whose_name_it_has() {
    if !has_program("curl") || !has_program("openssl") {
        return;
    }
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let (root, other) = (authority("People Root", None), authority("Other Root", None));
    let file = one.file("root.pem", root.certificate.pem().as_bytes());
    let issuer = sha256(&file);
    let certificate = format!("{issuer}=alice@shop.example");
    let create = ["user", "create", "alice", "--role", "operator", "--certificate", &certificate];
    // An authority that the cluster does not trust makes no login.
    let refused = one.run(&create);
    assert!(refused.code == 3 && refused.err.contains("T001"), "{}", refused.err);
    one.run(&["trust", "add", &file, "--scope", "cluster"]).ok();
    one.run(&create).ok();
    one.run(&["domain", "create", "shop.example"]).ok();
    let alice = mail("alice@shop.example");
    let right = identity(one, &root, "right", std::slice::from_ref(&alice), |_| {});
    let who = ask(one, &right, "GET", "/v1/whoami");
    assert_eq!(who.0, 200, "{who:?}");
    assert!(who.1.starts_with("user alice by certificate "), "{who:?}");
    assert_eq!(ask(one, &right, "DELETE", "/v1/domains/shop.example?dry_run=true").0, 200);
    assert_eq!(ask(one, &right, "GET", "/v1/audit"), (403, "X002".to_owned()));
    assert_eq!(ask(one, &right, "DELETE", "/v1/login").0, 400, "there is no session to end");
    let names = std::slice::from_ref(&alice);
    let of_server = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![Purpose::ServerAuth];
    };
    let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2026, 2, 1);
    let of_dns = SanType::DnsName("alice@shop.example".try_into().unwrap());
    for (why, wrong) in [
        ("another authority", identity(one, &other, "other", names, |_| {})),
        ("another name", identity(one, &root, "bob", &[mail("bob@shop.example")], |_| {})),
        ("a name of another kind", identity(one, &root, "dns", &[of_dns], |_| {})),
        ("a server", identity(one, &root, "server", names, of_server)),
        ("its time is over", identity(one, &root, "expired", names, expired)),
    ] {
        assert_eq!(ask(one, &wrong, "GET", "/v1/whoami"), (401, "X003".to_owned()), "{why}");
    }
    // The command line shows it from a context.
    let fingerprint = one.status()["cluster"]["fingerprint"].as_str().unwrap().to_owned();
    let home = one.dir.join("home");
    let run = |words: &[&str]| {
        let mut command = Command::new(conclave_tests::binary("conclave"));
        command.env("XDG_CONFIG_HOME", &home).env_remove("CONCLAVE_ADDRESS").args(words);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let address = url(one);
    let add = ["context", "add", "prod", "--nodes", &address, "--authority", &fingerprint];
    run(&[&add[..], &["--identity", &right]].concat());
    assert!(run(&["token", "whoami"]).starts_with("user alice by certificate"));
    run(&["domain", "set", "shop.example", "--pki", "enabled"]);
    let told = one.run(&["audit", "list", "--event", "domain.set", "-o", "json"]).json();
    assert!(told[0]["who"].as_str().unwrap().starts_with("user alice by certificate"), "{told}");
    // It ends with the user's name in the cluster, and with the trust in the authority.
    one.run(&["user", "set", "alice", "--role", "viewer"]).ok();
    assert_eq!(ask(one, &right, "DELETE", "/v1/domains/shop.example").0, 403);
    one.run(&["trust", "remove", &issuer, "--scope", "cluster", "--yes"]).ok();
    wait_for("the end of the login", || {
        (ask(one, &right, "GET", "/v1/whoami").0 == 401).then_some(())
    });
}

#[test]
fn a_login_ends_with_its_certificate_and_with_a_list_that_revokes_it() {
    if !has_program("curl") || !has_program("openssl") {
        return;
    }
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let root = authority("People Root", None);
    let file = one.file("root.pem", root.certificate.pem().as_bytes());
    let issuer = sha256(&file);
    one.run(&["trust", "add", &file, "--scope", "cluster"]).ok();
    let create = |name: &str, of: &str| {
        let certificate = format!("{issuer}={of}@shop.example");
        one.run(&["user", "create", name, "--role", "viewer", "--certificate", &certificate])
    };
    create("alice", "alice").ok();
    create("bob", "bob").ok();
    // A certificate is the login of one user.
    let refused = create("carol", "alice");
    assert!(refused.code == 4 && refused.err.contains("U002"), "{}", refused.err);
    let both = [mail("alice@shop.example"), mail("bob@shop.example")];
    let of_both = identity(one, &root, "both", &both, |_| {});
    assert_eq!(ask(one, &of_both, "GET", "/v1/whoami").0, 401);
    let with_serial = |params: &mut CertificateParams| {
        params.serial_number = Some(SerialNumber::from(7));
    };
    let revoked = identity(one, &root, "revoked", &both[..1], with_serial);
    assert_eq!(ask(one, &revoked, "GET", "/v1/whoami").0, 200);
    let short = identity(one, &root, "short", &both[1..], |params| {
        // Certificates have whole seconds.
        let end = jiff::Timestamp::now() + Duration::from_secs(20);
        let since_epoch = Duration::from_secs(end.as_second().unsigned_abs());
        params.not_after = date_time_ymd(1970, 1, 1) + since_epoch;
    });
    let streams = [&revoked, &short].map(|identity| {
        let mut command = Command::new("curl");
        command.args(["-skN", "--max-time", "60", "--cert", identity]);
        command.arg(format!("{}/v1/events", url(one))).stdout(Stdio::piped());
        let mut stream = command.spawn().unwrap();
        let mut lines = BufReader::new(stream.stdout.take().unwrap()).lines();
        // It has begun.
        assert!(lines.next().unwrap().unwrap().starts_with("id: "));
        (stream, lines)
    });
    let crl = one.file("crl.pem", root.revoke(7).as_bytes());
    one.run(&["trust", "add", &crl, "--scope", "cluster"]).ok();
    assert_eq!(ask(one, &revoked, "GET", "/v1/whoami"), (401, "X003".to_owned()));
    for (mut stream, lines) in streams {
        let lines: Vec<String> = lines.map(Result::unwrap).collect();
        assert!(stream.wait().unwrap().success(), "the node ends it");
        let text = lines.join("\n");
        assert!(text.contains("event: problem") && text.contains("X003"), "{text}");
    }
}
