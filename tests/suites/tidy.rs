//! The rules of the house, as far as a machine can see them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn files(ends_with: &str) -> Vec<PathBuf> {
    let (mut found, mut dirs) = (Vec::new(), vec![root()]);
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                dirs.push(path);
            } else if name.ends_with(ends_with) {
                found.push(path);
            }
        }
    }
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// Level of each crate; every arrow points to a lower level, none stays on its own.
const LEVELS: [(&str, &str, u32); 23] = [
    ("conclave-tests", "tests", 9),
    ("conclave", "cli", 8),
    ("conclave-jepsen", "jepsen", 8),
    ("conclave-node", "node", 7),
    ("conclave-admin", "node/admin", 6),
    ("conclave-cluster", "node/cluster", 5),
    ("conclave-edge", "node/edge", 4),
    ("conclave-keys", "node/keys", 3),
    ("conclave-mail", "node/mail", 3),
    ("conclave-client", "cli/client", 3),
    ("conclave-page", "node/page", 3),
    ("conclave-api", "node/api", 2),
    ("conclave-preface", "node/preface", 2),
    ("conclave-system", "node/system", 2),
    ("conclave-store-sled", "store/sled", 2),
    ("conclave-backup", "store/backup", 2),
    ("conclave-raft", "raft", 2),
    ("conclave-smime", "store/smime", 2),
    ("conclave-store", "store", 1),
    ("conclave-pki", "store/pki", 1),
    ("conclave-disk", "store/disk", 1),
    ("conclave-tls", "store/tls", 1),
    ("conclave-dtls", "node/dtls", 1),
];

/// Rooms inside the crates, lower ones first; those of a line are strangers to each other.
const ROOMS: [(&str, &[&[&str]]); 13] = [
    (
        "node/cluster/src",
        &[
            &[
                "inspect",
                "turns",
                "fault",
                "tls_names",
                "token",
                "membership",
                "recovered",
                "replica",
            ],
            &["observe", "local", "member", "authority", "rights", "logins", "followers"],
            &["config"],
            &["node", "trusted"],
            &["admit"],
            &["view", "life"],
            &["operate"],
        ],
    ),
    (
        "node/admin/src",
        &[
            &["http", "problem", "compress", "measured", "parameters"],
            &["health", "public", "fields", "position", "auth"],
            &["asked", "unsealing", "gate"],
            &["routes", "serve"],
            &["owners"],
        ],
    ),
    (
        "node/page/src",
        &[
            &["api", "assets", "cookie", "show"],
            &["form"],
            &["wish"],
            &["held"],
            &["visit"],
            &["pages", "login", "book", "owner"],
            &["change", "explain", "backup"],
        ],
    ),
    ("node/src", &[&["process", "examine"], &["boot"], &["testing"]]),
    (
        "raft/src",
        &[
            &["limits", "mutant"],
            &["rt"],
            &["types"],
            &["wire"],
            &["engine", "machine"],
            &["segments", "snapshot"],
            &["mark", "state_machine"],
            &["writer", "migrate", "network", "recover"],
            &["log"],
            &["raft"],
        ],
    ),
    (
        "store/src",
        &[
            &["time", "limits", "scope"],
            &["id"],
            &["record"],
            &["change", "command", "outcome"],
            &["wire"],
            &["state"],
            &["machine", "snapshot"],
        ],
    ),
    (
        "store/backup/src",
        &[&["limits"], &["header", "recipient", "part"], &["frame", "body"], &["read", "write"]],
    ),
    (
        "store/pki/src",
        &[
            &["limits", "rule", "element", "name", "base64"],
            &["budget", "content"],
            &["pem"],
            &["key"],
            &["certificate"],
            &["crl"],
            &["signature", "issue"],
            &["verify", "csr", "chain"],
            &["builtin", "judge"],
        ],
    ),
    ("store/smime/src", &[&["limits"], &["ber"], &["cms", "pkcs12", "lock"], &["message"]]),
    (
        "node/dtls/src",
        &[
            &["limits", "queue"],
            &["hello", "ticket"],
            &["cookie", "terms"],
            &["door", "session", "ffi"],
            &["engine"],
            &["context"],
            &["connector"],
        ],
    ),
    ("node/edge/src", &[&["tls"], &["live"], &["socket"]]),
    (
        "node/mail/src",
        &[
            &["limits", "counters", "data"],
            &["wire"],
            &["place"],
            &["settings", "reply"],
            &["command"],
            &["readers", "offers"],
            &["upstream"],
            &["delivery", "shared"],
            &["transfer"],
            &["session"],
            &["listener"],
        ],
    ),
    (
        "node/keys/src",
        &[
            &["limits"],
            &["seal"],
            &["wrap", "unlock", "proof", "passphrase", "password", "code", "share"],
            &["stored"],
            &["lock"],
            &["identity", "keyring"],
            &["sign", "session", "backup"],
        ],
    ),
];

/// Rooms that the production code of a file uses by `crate::…`.
fn rooms_used(source: &str) -> BTreeSet<String> {
    let code = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let code: String = code.lines().filter(is_code).flat_map(|line| [line, "\n"]).collect();
    let word = |text: &str| -> String {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut used = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let Some(list) = rest.strip_prefix('{') else {
            used.insert(word(rest));
            continue;
        };
        let (mut depth, mut is_start) = (0, true);
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => is_start = true,
                c if c.is_alphabetic() && depth == 0 && is_start => {
                    used.insert(word(&list[at..]));
                    is_start = false;
                }
                _ => {}
            }
        }
    }
    used
}

#[test]
fn no_room_knows_a_higher_one_or_its_neighbour() {
    for (folder, levels) in ROOMS {
        let level = |room: &str| levels.iter().position(|rooms| rooms.contains(&room));
        let sources = root().join(folder);
        for path in files(".rs").into_iter().filter(|path| path.starts_with(&sources)) {
            let inside = path.strip_prefix(&sources).unwrap();
            let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
            let room = first.trim_end_matches(".rs");
            let shown = inside.to_str().unwrap();
            let is_test = shown.contains("tests") || shown.contains("samples");
            if room == "lib" || is_test {
                continue;
            }
            let own = level(room).unwrap_or_else(|| panic!("{folder}: no level for {room}"));
            let mut source = read(&path);
            if inside.components().count() == 1 {
                source = source.replace("super::", "crate::");
            }
            for used in rooms_used(&source).iter().filter(|used| *used != room) {
                let is_below = level(used).is_none_or(|used| used < own);
                assert!(is_below, "{folder}/{shown} must not use {used}");
            }
        }
    }
}

#[test]
fn the_api_orders_no_command_by_itself() {
    let sources = root().join("node/admin/src");
    for path in files(".rs").into_iter().filter(|path| path.starts_with(&sources)) {
        let text = read(&path);
        for call in [".execute(", ".apply(", "replica::Replica", "local::Local"] {
            assert!(!text.contains(call), "{}: {call}", path.display());
        }
    }
}

#[test]
fn rooms_are_found_in_every_form_of_a_use() {
    let source = "use crate::{\n    a::{b, c},\n    d,\n    e::f,\n};\nuse crate::g::H;\nlet x = crate::i::j();";
    let expected = ["a", "d", "e", "g", "i"].map(str::to_owned);
    assert_eq!(rooms_used(source), BTreeSet::from(expected));
}

#[test]
fn every_arrow_points_down() {
    for (name, folder, level) in LEVELS {
        let manifest = read(&root().join(folder).join("Cargo.toml"));
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{folder}");
        for (other, _, other_level) in LEVELS {
            if manifest.contains(&format!("\n{other}.workspace")) {
                assert!(other_level < level, "{name} must not depend on {other}");
            }
        }
    }
}

#[test]
fn files_are_short_and_named_after_what_they_hold() {
    for path in files(".rs") {
        let lines = read(&path).lines().count();
        assert!(lines <= 600, "{} has {lines} lines", path.display());
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let vague = ["mod", "util", "utils", "common", "helpers", "misc", "manager"];
        assert!(!vague.contains(&name.as_str()), "{}", path.display());
    }
}

#[test]
fn unsafe_stands_in_two_files() {
    let allowed = ["store/disk/src/guard.rs", "node/dtls/src/ffi.rs"];
    // Put together so that this file does not find itself.
    let lint = ["unsafe", "_code"].concat();
    for path in files(".rs") {
        let is_allowed = allowed.iter().any(|allowed| path.ends_with(allowed));
        assert!(is_allowed || !read(&path).contains(&lint), "{}", path.display());
    }
}

#[test]
fn comments_use_plain_words() {
    let banned =
        ["whoever", "somebody", "of before", "of now", "shall", "not any more", "by chance"];
    for path in files(".rs").iter().filter(|path| !path.ends_with("tidy.rs")) {
        for (at, line) in read(path).lines().enumerate() {
            let Some(comment) = line.trim_start().strip_prefix("//") else { continue };
            let words = format!(" {} ", comment.replace(|c: char| !c.is_alphanumeric(), " "));
            let words = words.to_lowercase();
            for word in banned {
                let shown = format!("{}:{}", path.display(), at + 1);
                assert!(!words.contains(&format!(" {word} ")), "{shown}: {word}");
            }
        }
    }
}

#[test]
fn nothing_is_left_half_done() {
    // Put together so that this file does not find itself.
    let words = [
        ["to", "do!"].concat(),
        ["unimple", "mented!"].concat(),
        ["dbg", "!("].concat(),
        ["FIX", "ME"].concat(),
        ["#[ign", "ore]"].concat(),
    ];
    for path in files(".rs") {
        let text = read(&path);
        for word in &words {
            assert!(!text.contains(word.as_str()), "{word} in {}", path.display());
        }
    }
}

#[test]
fn versions_stand_in_the_root_manifest_only() {
    for (_, folder, _) in LEVELS {
        let manifest = read(&root().join(folder).join("Cargo.toml"));
        let section = manifest.split("dependencies]\n").skip(1).collect::<String>();
        for line in section.lines().take_while(|line| !line.starts_with("[[")) {
            let is_ok = line.is_empty()
                || line.starts_with('[')
                || line.starts_with('#')
                || line.contains("workspace = true");
            assert!(is_ok, "{folder}: {line}");
        }
    }
}

/// sled panics on some damage, and OpenSSL's callbacks catch panics: both rest on unwinding.
#[test]
fn a_panic_unwinds_in_every_profile() {
    let manifest = read(&root().join("Cargo.toml"));
    assert!(manifest.lines().all(|line| !line.trim_start().starts_with("panic")));
}

/// A dependency of the tests alone, which makes builds of the whole workspace one kind: see there.
const FOR_ITS_FEATURES: &str = "proptest";

#[test]
fn no_dependency_is_unused() {
    for (_, folder, _) in LEVELS {
        let manifest = read(&root().join(folder).join("Cargo.toml"));
        let sources = root().join(folder);
        let is_inner = |path: &Path| {
            LEVELS.iter().any(|(_, other, _)| {
                other.len() > folder.len()
                    && other.starts_with(folder)
                    && path.starts_with(root().join(other))
            })
        };
        let own = files(".rs").into_iter().filter(|path| path.starts_with(&sources));
        let mut own: String = own.filter(|path| !is_inner(path)).map(|path| read(&path)).collect();
        if own.contains("tests/src/samples.rs") {
            own.push_str(&read(&root().join("tests/src/samples.rs")));
        }
        let section = manifest.split("dependencies]\n").skip(1).collect::<String>();
        for line in section.lines().filter(|line| line.contains("workspace = true")) {
            let line = line.trim_start_matches("[dev-");
            let name = line.split(['.', ' ']).next().unwrap();
            let module = name.replace('-', "_");
            let is_used = (folder, name) == ("tests", FOR_ITS_FEATURES)
                || own.contains(&format!("{module}::"))
                || own.contains(&format!("use {module}"));
            assert!(is_used, "{folder} does not use {name}");
        }
    }
}

#[test]
fn every_line_of_the_table_of_dependencies_is_used() {
    let table = read(&root().join("Cargo.toml"));
    let table = table.split("[workspace.dependencies]\n").nth(1).unwrap();
    let manifests: String =
        LEVELS.iter().map(|(_, folder, _)| read(&root().join(folder).join("Cargo.toml"))).collect();
    for line in table.lines().take_while(|line| !line.starts_with('[')) {
        let Some((name, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let is_used = manifests.contains(&format!("\n{name}.workspace"))
            || manifests.contains(&format!("\n{name} = {{ workspace"));
        assert!(is_used, "no crate uses {name}");
    }
}

#[test]
fn the_feature_table_has_every_row_and_names_tests_that_exist() {
    let table = read(&root().join("docs/features.md"));
    // By the names of files, and of the directories beside them.
    let mut sources: BTreeMap<String, String> = BTreeMap::new();
    for path in files(".rs") {
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        sources.entry(stem).or_default().push_str(&read(&path));
    }
    let counts = [('A', 20), ('B', 7), ('C', 6), ('D', 3), ('E', 4), ('F', 6), ('G', 7), ('H', 10)];
    let wanted: BTreeSet<String> = counts
        .iter()
        .flat_map(|(letter, count)| (1..=*count).map(move |number| format!("{letter}{number}")))
        .collect();
    let mut found = BTreeSet::new();
    for line in table.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        if !wanted.contains(cells[0]) {
            continue;
        }
        assert!(found.insert(cells[0].to_owned()), "{} is in the table twice", cells[0]);
        assert!(["works", "in part", "not yet"].contains(&cells[2]), "{line}");
        if cells[2] == "not yet" {
            continue;
        }
        for test in cells[3].split(", ") {
            let (place, name) = test.trim_matches('`').rsplit_once("::").expect(test);
            let mut places = place.rsplit("::").filter_map(|part| sources.get(part));
            let is_there = places.any(|text| text.contains(&format!("fn {name}(")));
            assert!(is_there, "{}: no test {test}", cells[0]);
        }
    }
    assert_eq!(found, wanted);
}
