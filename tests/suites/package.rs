//! Files of the packages: the unit, the settings, the scripts, the chart and the role. That packages
//! install, upgrade and go again is tried by `cli/package/try` on a whole Debian.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use conclave_tests::{binary, has_program, run_alone};
use serde_json::Value;

/// Highest exposure of the unit by systemd-analyze, in tenths.
const EXPOSURE_MAX: &str = "20";
/// Scripts for `sh` and for `bash`.
const SCRIPTS: [(&str, &[&str]); 2] = [
    (
        "sh",
        &[
            "debian/preinst",
            "debian/postinst",
            "debian/prerm",
            "debian/postrm",
            "debian/settings",
            "debian/reload",
        ],
    ),
    ("bash", &["build", "try", "trial/system", "trial/steps"]),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("cli/package")
}

fn text(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

/// Runs a program on success, and gives what it printed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}{said}",
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The configuration file of the package, for the program of this test.
fn packaged_settings() -> String {
    run(Command::new(folder().join("debian/settings")).arg(binary("conclave")))
}

/// The unit with the programs of this checkout, since the package is not installed.
fn unit(dir: &Path) -> PathBuf {
    let mut text = text("debian/conclave.service");
    let reload = folder().join("debian/reload");
    for (installed, here) in
        [("/usr/bin/conclave ", binary("conclave")), ("/usr/lib/conclave/reload ", reload)]
    {
        assert!(text.contains(installed), "{text}");
        text = text.replace(installed, &format!("{} ", here.display()));
    }
    let path = dir.join("conclave.service");
    std::fs::write(&path, text).unwrap();
    path
}

/// Settings in a configuration file with their sections, also those in comments.
fn settings(text: &str) -> BTreeSet<String> {
    let (mut section, mut found) = (String::new(), BTreeSet::new());
    for line in text.lines() {
        let line = line.trim_start_matches("# ");
        if line.starts_with('[') {
            section = line.split(']').next().unwrap().to_owned();
        } else if let Some((name, _)) = line.split_once(" = ")
            && !name.contains(|c: char| !c.is_ascii_lowercase() && c != '_')
        {
            found.insert(format!("{section}] {name}"));
        }
    }
    found
}

/// Python with Helm's library and PyYAML; none, with the reason said, if it was not installed.
fn helm_python() -> Option<String> {
    let python = std::env::var("CONCLAVE_HELM_PYTHON").unwrap_or("python3".to_owned());
    let mut command = Command::new(&python);
    let found = command.args(["-c", "import helm_python, yaml"]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    assert!(std::env::var_os("CONCLAVE_TEST_ALL").is_none(), "no helm-python-sdk and PyYAML");
    println!("SKIPPED: no helm-python-sdk and PyYAML: ./test --all installs them");
    None
}

fn as_json(words: &[&str]) -> Option<Value> {
    let mut command = Command::new(helm_python()?);
    Some(serde_json::from_str(&run(command.arg(folder().join("helm/check")).args(words))).unwrap())
}

#[test]
fn the_unit_is_right_and_hardened() {
    if !has_program("systemd-analyze") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let unit = unit(dir.path());
    run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit));
    let offline = ["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_MAX];
    let said = run(Command::new("systemd-analyze").args(offline).arg(&unit));
    println!("{}", said.lines().last().unwrap_or_default());
}

/// What the program does under a service manager, and what the unit must say for it.
#[test]
fn the_unit_fits_the_program() {
    let unit = text("debian/conclave.service");
    for line in [
        "Type=notify",
        // MAINPID= of a process that takes over comes from no child of systemd.
        "NotifyAccess=all",
        "FileDescriptorStoreMax=512",
        "ExecStart=/usr/bin/conclave server run --config /etc/conclave/conclave.toml",
        "User=conclave",
        "AmbientCapabilities=CAP_NET_BIND_SERVICE",
        "LimitCORE=0",
    ] {
        assert!(unit.lines().any(|own| own == line), "{line}");
    }
    // The program sends no WATCHDOG=1, so systemd would kill it.
    assert!(!unit.contains("WatchdogSec="));
    let users = text("debian/conclave.sysusers");
    assert!(users.contains("\nu conclave - "), "{users}");
}

#[test]
fn the_packaged_settings_are_those_of_the_program() {
    let (packaged, printed) = (packaged_settings(), run_alone(&["config", "init"]).ok());
    assert_eq!(settings(&packaged), settings(&printed));
    assert!(settings(&printed).len() > 20, "{:?}", settings(&printed));
    // Nothing is set otherwise, but where the unlock key lies.
    let set = |text: &str| -> BTreeSet<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#') && line.contains(" = "));
        lines.map(|line| line.split('#').next().unwrap().trim().to_owned()).collect()
    };
    let unlock = "unlock = \"file:/etc/conclave/unlock.key\"".to_owned();
    let expected: BTreeSet<String> = set(&printed).into_iter().chain([unlock]).collect();
    assert_eq!(set(&packaged), expected);
    // The check wants directories that exist.
    let dir = tempfile::tempdir().unwrap();
    let here = packaged.replace("/etc/conclave", dir.path().to_str().unwrap());
    let path = dir.path().join("conclave.toml");
    std::fs::write(&path, here).unwrap();
    run_alone(&["config", "check", path.to_str().unwrap()]).ok();
}

#[test]
fn scripts_of_the_packages_have_no_mistakes() {
    let has_shellcheck = has_program("shellcheck");
    for (shell, names) in SCRIPTS {
        for name in names {
            run(Command::new(shell).arg("-n").arg(folder().join(name)));
            if has_shellcheck {
                // Sourced files of others; words that expand in another shell; variables of debconf
                // and of the script that sources this one; functions of debconf.
                let but = "SC1091,SC2016,SC2034,SC2119,SC2154";
                let words = ["--severity=style", "--shell", shell, "--exclude", but];
                run(Command::new("shellcheck").args(words).arg(folder().join(name)));
            }
        }
    }
    let scripts = [text("debian/postrm"), text("debian/templates")].concat();
    assert!(scripts.contains("db_input high conclave/purge_data"), "a purge asks");
    assert!(scripts.contains("Default: false"), "and keeps the data by default");
}

#[test]
fn the_chart_renders_a_cluster_that_drains() {
    let Some(chart) = as_json(&[]) else { return };
    let objects = chart["objects"].as_array().unwrap();
    let of = |kind: &str| -> &Value {
        objects.iter().find(|one| one["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
    };
    let nodes = &of("StatefulSet")["spec"];
    assert_eq!(of("PodDisruptionBudget")["spec"]["maxUnavailable"], 1);
    let container = &nodes["template"]["spec"]["containers"][0];
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/livez");
    assert_eq!(container["startupProbe"]["httpGet"]["path"], "/startupz");
    let before_stop = container["lifecycle"]["preStop"]["exec"]["command"][2].as_str().unwrap();
    assert!(before_stop.contains("conclave node drain \"$POD_NAME\" --deadline 60s"));
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    let pod = &nodes["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert!(pod["terminationGracePeriodSeconds"].as_i64().unwrap() > 60 + 5);
    let files = of("ConfigMap")["data"].as_object().unwrap();
    assert_eq!(files.len(), 3);
    let version = &nodes["template"]["spec"]["containers"][0]["image"];
    assert_eq!(
        version,
        &format!("conclave:{}", env!("CARGO_PKG_VERSION")),
        "Chart.yaml: appVersion"
    );
    // Each file is one that a node takes.
    let dir = tempfile::tempdir().unwrap();
    for (name, file) in files {
        let here = file.as_str().unwrap().replace("/etc/conclave", dir.path().to_str().unwrap());
        let path = dir.path().join(name);
        std::fs::write(&path, here).unwrap();
        run_alone(&["config", "check", path.to_str().unwrap()]).ok();
    }
}

#[test]
fn the_files_for_containers_and_ansible_parse() {
    let path = |name: &str| folder().join(name).display().to_string();
    let Some(compose) = as_json(&["--yaml", &path("container/compose.yaml")]) else { return };
    let dir = tempfile::tempdir().unwrap();
    for number in 1..=3 {
        let name = format!("node-{number}");
        assert_eq!(compose["services"][&name]["configs"][0]["source"], name.as_str());
        let file = compose["configs"][&name]["content"].as_str().unwrap();
        let file = file.replace("/var/lib", dir.path().to_str().unwrap());
        std::fs::create_dir_all(dir.path().join("conclave-unlock")).unwrap();
        let path = dir.path().join("conclave.toml");
        std::fs::write(&path, file).unwrap();
        run_alone(&["config", "check", path.to_str().unwrap()]).ok();
    }
    let tasks = as_json(&["--yaml", &path("ansible/conclave/tasks/main.yml")]).unwrap();
    assert!(tasks.as_array().unwrap().len() > 5);
    let files = ["tasks", "handlers", "defaults"].map(|name| format!("{name}/main.yml"));
    let files = files.iter().map(String::as_str).chain(["templates/conclave.toml.j2"]);
    let lines: usize =
        files.map(|name| text(&format!("ansible/conclave/{name}")).lines().count()).sum();
    assert!(lines <= 60, "the role has {lines} lines");
}
