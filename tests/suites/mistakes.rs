//! Every kind of wrong input has its own answer, and loses nothing.

use conclave_tests::{Cluster, Pair, Ran, binary, has_program};

fn check(ran: &Ran, code: &str, exit: i32) {
    assert_eq!((ran.problem()["code"].as_str(), ran.code), (Some(code), exit), "{}", ran.err);
    assert!(!ran.err.contains("Err("), "no debug form: {}", ran.err);
}

#[test]
fn wrong_keys_and_certificates_are_refused_by_name() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example"]).ok();
    let (pair, other) = (Pair::make("shop.example"), Pair::make("shop.example"));
    let certificate = one.file("c.pem", pair.certificate.as_bytes());
    let key = one.file("k.pem", pair.key.as_bytes());
    let run = |words: &[&str]| one.run(&[words, &["-o", "json"]].concat());
    check(&run(&["key", "import", "shop.example", &certificate]), "K004", 8);
    check(&run(&["cert", "import", "shop.example", &key, "--key", &certificate]), "K004", 8);
    let cut = one.file("cut.pem", &pair.key.as_bytes()[..80]);
    check(&run(&["key", "import", "shop.example", &cut]), "K006", 8);
    let cut = one.file("cut.pem", &pair.certificate.as_bytes()[..80]);
    check(&run(&["cert", "import", "shop.example", &cut, "--key", &key]), "C002", 8);
    let garbage = one.file("garbage", &vec![0xA5; 10_000_000]);
    check(&run(&["key", "import", "shop.example", &garbage]), "X008", 2);
    let garbage = one.file("garbage", &vec![0xA5; 500_000]);
    check(&run(&["key", "import", "shop.example", &garbage]), "K001", 8);
    check(&run(&["cert", "import", "shop.example", &certificate]), "K010", 3);
    run(&["key", "import", "shop.example", &key]).ok();
    assert_eq!(run(&["key", "import", "shop.example", &key]).json()["changed"], false);
    let another = one.file("another.pem", other.key.as_bytes());
    check(&run(&["key", "import", "shop.example", &another]), "K009", 4);
    let foreign = one.file("other.pem", other.certificate.as_bytes());
    check(&run(&["cert", "import", "shop.example", &foreign]), "C003", 8);
    run(&["cert", "import", "shop.example", &certificate]).ok();
    let shown = run(&["domain", "show", "shop.example"]).json();
    assert!(shown["credentials"][0]["certificate"].is_object(), "nothing was lost");
}

#[test]
fn weak_and_odd_keys_are_refused_by_their_names() {
    if !has_program("openssl") {
        return;
    }
    let cluster = Cluster::start(3);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example"]).ok();
    let file = one.dir.join("odd.pem");
    let file = file.to_str().unwrap();
    let curve = |name: &'static str| ["genpkey", "-algorithm", "EC", "-pkeyopt", name];
    for (make, name) in [
        (&["genrsa", "1024"][..], "RSA 1024 is too weak"),
        (&["genrsa", "-3", "2048"], "small exponent"),
        (&["genrsa", "-primes", "3", "2048"], "RSA 2048 with more than two primes"),
        (&["genpkey", "-algorithm", "rsa-pss"], "RSA-PSS"),
        (&["dsaparam", "-genkey", "-noout", "1024"], "DSA"),
        (&curve("ec_paramgen_curve:P-521"), "EC P-521"),
        (&curve("ec_paramgen_curve:secp256k1"), "EC secp256k1"),
        (&curve("ec_paramgen_curve:brainpoolP256r1"), "EC brainpoolP256r1"),
        (&["ecparam", "-genkey", "-name", "prime256v1", "-param_enc", "explicit"], "explicit"),
        (&["genpkey", "-algorithm", "x25519"], "X25519"),
        (&["genpkey", "-algorithm", "ed448"], "Ed448"),
    ] {
        let made = std::process::Command::new("openssl").args(make).output().unwrap();
        assert!(made.status.success(), "{make:?}");
        std::fs::write(file, &made.stdout).unwrap();
        let ran = one.run(&["key", "import", "shop.example", file, "-o", "json"]);
        check(&ran, "K003", 8);
        let problem = ran.problem();
        assert!(problem["title"].as_str().unwrap().contains(name), "{name}: {problem}");
        assert!(problem["hint"].as_str().unwrap().contains("rsa2048"), "{problem}");
    }
    let ran = one.run(&["key", "generate", "shop.example", "--type", "rsa1024", "-o", "json"]);
    check(&ran, "K003", 8);
    let shown = one.run(&["domain", "show", "shop.example", "-o", "json"]).json();
    assert_eq!(shown["credentials"], serde_json::json!([]), "nothing was taken");
}

/// A bundle as authorities and other servers write it: in any order, with the key among it.
#[test]
fn a_bundle_may_be_in_any_order_and_hold_its_key() {
    let cluster = Cluster::start(3);
    let port = cluster.listen();
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
    let parts = |pair: &Pair| [pair.certificate.clone(), pair.chain.clone(), pair.key.clone()];
    for order in [[0, 1, 2], [2, 0, 1], [2, 1, 0], [0, 2, 1], [1, 0, 2], [1, 2, 0]] {
        let pair = Pair::make("shop.example");
        let text: String = order.iter().map(|place| parts(&pair)[*place].clone()).collect();
        let file = one.file("all.pem", text.as_bytes());
        // The key is named, or found in the file.
        let named = ["--key", &file];
        let more = if order[0] == 0 { &named[..] } else { &[] };
        one.run(&[&["cert", "import", "shop.example", &file][..], more].concat()).ok();
        for node in &cluster.nodes {
            let shown = conclave_tests::probe(node.listener(port), "shop.example").unwrap();
            let expected = [pair.der.clone(), pair.chain_der.clone()];
            assert_eq!(shown.chain, expected, "{order:?} on {}", node.name);
        }
    }
    // A key that belongs to none of the certificates, and one that is nobody's to use.
    let (pair, other) = (Pair::make("shop.example"), Pair::make("shop.example"));
    let run = |text: &str| {
        let file = one.file("all.pem", text.as_bytes());
        (one.run(&["cert", "import", "shop.example", &file, "-o", "json"]), file)
    };
    check(&run(&format!("{}{}", pair.bundle(), other.key)).0, "C003", 8);
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: DES-CBC,00\n\n\
               AA==\n-----END RSA PRIVATE KEY-----\n";
    let (ran, file) = run(&format!("{}{old}", pair.certificate));
    check(&ran, "K002", 8);
    assert_eq!(ran.problem()["location"]["file"], file.as_str(), "{}", ran.err);
    check(&run(&pair.key).0, "C007", 8);
}

#[test]
fn encrypted_keys_are_recognised_in_both_forms() {
    if !has_program("openssl") {
        return;
    }
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example"]).ok();
    for form in ["-traditional", ""] {
        let file = one.dir.join("encrypted.pem");
        let command = format!(
            "openssl genrsa 2048 2>/dev/null | openssl rsa -aes128 -passout pass:secret {form} -out {} 2>/dev/null",
            file.display()
        );
        assert!(
            std::process::Command::new("sh").args(["-c", &command]).status().unwrap().success()
        );
        let ran = one.run(&["key", "import", "shop.example", file.to_str().unwrap(), "-o", "json"]);
        check(&ran, "K002", 8);
        let problem = ran.problem();
        assert_eq!(problem["location"]["file"].as_str(), file.to_str(), "{problem}");
        assert!(problem["hint"].as_str().unwrap().contains("openssl pkey"), "{problem}");
        let right = one.file("right", b"secret\n");
        let wrong = one.file("wrong", b"other\n");
        let import = |passphrase: &str| {
            let file = file.to_str().unwrap();
            let words = ["key", "import", "shop.example", file, "--passphrase-file", passphrase];
            one.run(&[&words[..], &["-o", "json"]].concat())
        };
        if form.is_empty() {
            check(&import(&wrong), "K011", 8);
            import(&right).ok();
        } else {
            check(&import(&right), "K002", 8);
        }
    }
}

#[test]
fn wrong_words_are_refused_with_their_exit_codes() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let run = |words: &[&str]| one.run(&[words, &["-o", "json"]].concat());
    check(&run(&["domain", "create", "bad name"]), "D001", 2);
    check(&run(&["domain", "show", "none.example"]), "D002", 3);
    one.run(&["domain", "create", "shop.example", "--alias", "www.example"]).ok();
    check(&run(&["domain", "create", "www.example"]), "D003", 4);
    check(
        &run(&["domain", "set", "shop.example", "--pki", "test", "--if-version", "9"]),
        "V002",
        4,
    );
    check(
        &run(&["listener", "add", "x", "--bind", "nowhere", "--upstream", "127.0.0.1:1"]),
        "N003",
        2,
    );
    check(
        &run(&["listener", "add", "x", "--bind", ":9", "--upstream", "169.254.169.254:80"]),
        "N003",
        2,
    );
    let taken = std::net::TcpListener::bind((one.address, 0)).unwrap();
    let bind = taken.local_addr().unwrap().to_string();
    check(&run(&["listener", "add", "x", "--bind", &bind, "--upstream", "127.0.0.1:1"]), "N001", 2);
    // What has no version says so, rather than to look at none.
    let root = one.file("root.pem", Pair::make("x.example").chain.as_bytes());
    check(&run(&["trust", "add", "--scope", "cluster", &root, "--if-version", "1"]), "X004", 2);
    check(&run(&["domain", "create", "new.example", "--if-version", "1"]), "X004", 2);
    one.run(&["key", "generate", "shop.example"]).ok();
    one.run(&["cert", "self-sign", "shop.example"]).ok();
    for noun in ["domain delete", "key remove", "cert remove", "chain remove"] {
        let words: Vec<&str> = noun.split(' ').collect();
        let refused = run(&[&words[..], &["shop.example"]].concat());
        check(&refused, "X004", 2);
        assert!(refused.problem()["hint"].as_str().unwrap().contains("--yes"), "{noun}");
    }
    let shown = run(&["domain", "show", "shop.example"]).json();
    assert!(shown["credentials"][0]["certificate"].is_object(), "nothing is removed unasked");
    assert_eq!(one.run(&["nonsense"]).code, 2);
    let key = Pair::make("x.example").key;
    let secret = key.lines().nth(1).unwrap();
    for words in [&["domain", "set", "shop.example", "--pki", &key][..], &["domain", secret]] {
        let refused = one.run(words);
        assert!(refused.code == 2 && !refused.err.contains(&secret[..24]), "{}", refused.err);
    }
}

#[test]
fn an_operation_is_done_once_and_belongs_to_its_request() {
    let cluster = Cluster::start(3);
    let run = |place: usize, words: &[&str]| {
        cluster.nodes[place].run(&[words, &["--operation", "once", "-o", "json"]].concat())
    };
    let first = run(0, &["domain", "create", "shop.example"]).json();
    let again = run(1, &["domain", "create", "shop.example"]).json();
    assert_eq!(first["version"], again["version"], "the same answer from another node");
    check(&run(2, &["domain", "create", "other.example"]), "V003", 4);
}

#[test]
fn a_node_that_cannot_start_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("node.toml");
    let run = || {
        let output = std::process::Command::new(conclave_tests::binary("conclave"))
            .args(["server", "run", "--config"])
            .arg(&config)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = run();
    assert_eq!(code, Some(2));
    assert!(said.contains("cannot read the configuration file"), "{said}");
    std::fs::write(&config, "[node]\nname = \"n\"\ndata_dir = \"/tmp/n\"\ncolour = \"red\"\n")
        .unwrap();
    let (code, said) = run();
    assert_eq!(code, Some(2));
    assert!(said.contains("node.toml:4:1") && said.contains("colour"), "{said}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (bind, shown) = (taken.local_addr().unwrap(), dir.path().display());
    let text = format!(
        "[node]\nname = \"n\"\ndata_dir = \"{shown}/data\"\n[admin]\n\
         socket = \"{shown}/admin.sock\"\n[public]\nbind = \"{bind}\"\n"
    );
    std::fs::write(&config, text).unwrap();
    let (code, said) = run();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("error[N001]") && said.contains("[public] bind"), "{said}");
    // A file is no directory: said before anything is made.
    let text = "[node]\nname = \"n\"\ndata_dir = \"/dev/full/data\"\n";
    std::fs::write(&config, text).unwrap();
    let (code, said) = run();
    assert_eq!(code, Some(2));
    assert!(said.contains("error[F001]: [node] data_dir: /dev/full is not a directory"), "{said}");
}

#[test]
fn a_full_disk_at_start_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (data, config) = (dir.path().join("data"), dir.path().join("node.toml"));
    std::fs::create_dir(&data).unwrap();
    let text = format!(
        "[node]\nname = \"n\"\ndata_dir = {data:?}\naddresses = [\"127.0.0.1\"]\n\
         [cluster]\nbind = \"127.0.0.1:0\"\n[admin]\nsocket = {:?}\n",
        dir.path().join("admin.sock")
    );
    std::fs::write(&config, text).unwrap();
    // A file system of its own, full, that only this process sees.
    let script = "mount -t tmpfs -o size=64k none \"$1\" || exit 77
        head -c 65536 /dev/zero > \"$1/fill\"; exec \"$2\" server run --config \"$3\" -o json";
    let output = std::process::Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .args([data.as_os_str(), binary("conclave").as_os_str(), config.as_os_str()])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    if output.status.code() == Some(77) || said.starts_with("unshare:") {
        println!("SKIPPED: no file system can be mounted here: {said}");
        return;
    }
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("\"F002\"") && said.contains("No space left on device"), "{said}");
}

#[test]
fn what_a_change_breaks_is_said_with_it() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
    let (bundle, key) = one.pair_files(&Pair::make("shop.example"));
    one.run(&["cert", "import", "shop.example", &bundle, "--key", &key]).ok();
    for (words, said) in [
        (&["domain", "alias", "shop.example", "--add", "w.shop.example"][..], "does not cover w."),
        (&["domain", "rollback", "shop.example", "1"], "no private key"),
        (&["domain", "rollback", "shop.example", "2"], "brings back the EC key"),
        (&["domain", "set", "shop.example", "--pki", "test"], ""),
        (&["domain", "set", "shop.example", "--pki", "enabled"], ""),
        (&["key", "remove", "shop.example", "--yes"], "no private key"),
    ] {
        let done = one.run(&[words, &["-o", "json"]].concat()).json();
        let warnings = done["warnings"].to_string();
        assert!(warnings.contains(said), "{words:?}: {done}");
        assert_eq!(said.is_empty(), done["warnings"].is_null(), "{done}");
    }
    let shown = one.run(&["domain", "show", "shop.example", "-o", "json"]).json();
    let version = shown["version"].to_string();
    let done = one.run(&["domain", "rollback", "shop.example", &version, "-o", "json"]).json();
    assert_eq!(done["changed"], false, "it is the present version: {done}");
}

#[test]
fn der_is_taken_where_help_says_so_and_never_lost_behind_pem() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example"]).ok();
    let pair = Pair::make("shop.example");
    let root = one.file("root.cer", &pair.chain_der);
    one.run(&["trust", "add", "--scope", "cluster", &root]).ok();
    let mixed = [pair.certificate.as_bytes(), &pair.chain_der].concat();
    let (mixed, key) = (one.file("mixed.pem", &mixed), one.file("k.pem", pair.key.as_bytes()));
    let ran = one.run(&["cert", "import", "shop.example", &mixed, "--key", &key]);
    assert!(ran.code == 8 && ran.err.contains("-inform DER"), "{}{}", ran.out, ran.err);
    // No key is made for a request that cannot be written.
    let words = ["csr", "create", "shop.example", "--new-key", "--out", "/nonexistent/x.csr"];
    assert_eq!(one.run(&words).code, 2);
    let shown = one.run(&["domain", "show", "shop.example", "-o", "json"]).json();
    assert!(shown["pending_keys"].is_null(), "{shown}");
}

#[test]
fn a_request_in_a_file_outlives_a_refusal_and_is_written_in_every_form() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example"]).ok();
    let (older, out) = ("an older request", one.file("shop.csr", b"an older request"));
    let create = ["csr", "create", "shop.example", "--out", &out, "-o"];
    let content = || std::fs::read_to_string(&out).unwrap();
    check(&one.run(&[&create[..], &["json"]].concat()), "K010", 3);
    assert_eq!(content(), older);
    one.run(&["key", "generate", "shop.example"]).ok();
    for form in ["json", "jsonl", "name", "table"] {
        std::fs::write(&out, older).unwrap();
        let said = one.run(&[&create[..], &[form]].concat()).ok();
        let written = content();
        assert!(written.starts_with("-----BEGIN CERTIFICATE REQUEST-----\n"), "{form}: {written}");
        if form.starts_with("json") {
            let shown: serde_json::Value = serde_json::from_str(&said).unwrap();
            assert_eq!(shown["pem"].as_str().map(str::trim), Some(written.trim()), "{form}");
        }
    }
}

#[test]
fn a_second_server_on_one_data_directory_is_told_so() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let config = std::fs::read_to_string(one.dir.join("node.toml")).unwrap();
    let config = config.replace("admin.sock", "other.sock");
    let config = config.replace(&format!("bind = \"{}\"", one.quic), "bind = \"127.0.0.1:0\"");
    let file = one.file("other.toml", config.as_bytes());
    let ran = conclave_tests::run_alone(&["server", "run", "--config", &file]);
    assert!(ran.code == 1 && ran.err.contains("another process uses"), "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("stop the other process"), "{}", ran.err);
}
