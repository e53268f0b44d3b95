//! The web page of a node with many domains, in a browser.

use conclave_tests::{Browser, Cluster, Way, wait_for};

/// Times that each page is opened.
const ROUNDS: usize = 15;
const PASSWORD: &str = "correct horse battery staple";

pub(crate) fn run(domains: usize) {
    let mut cluster = Cluster::start(1);
    let node = &mut cluster.nodes[0];
    let file = node.file("password", PASSWORD.as_bytes());
    node.run(&["user", "create", "alice", "--role", "admin", "--password-file", &file]).ok();
    node.stop();
    let config = node.dir.join("node.toml");
    conclave_node::testing::fill(&config, 0..u64::try_from(domains).unwrap()).unwrap();
    node.start();
    let said = node.said();
    let url = said.split_whitespace().find(|word| word.starts_with("https://")).unwrap();
    let Some(browser) = Browser::start(Way::Mouse) else { return };
    browser.open(&format!("{url}/ui"));
    browser.fill("user", "alice");
    browser.fill("password", PASSWORD);
    browser.press("Log in");
    browser.shows("Log out");
    // After a start the certificates are judged one after the other.
    measure(&browser, url, domains, "while they are judged");
    let mut left = usize::MAX;
    while left > 0 {
        left = wait_for("fewer domains to judge", || {
            let counts = &node.status()["domains"];
            let unchecked = usize::try_from(counts["unchecked"].as_u64()?).ok()?;
            (unchecked < left).then_some(unchecked)
        });
    }
    measure(&browser, url, domains, "all judged");
}

fn measure(browser: &Browser, url: &str, domains: usize, when: &str) {
    let pages = [
        ("overview", "", "Nodes"),
        ("domains by name", "/domains", "New domain"),
        ("domains by expiry", "/domains?sort=expiry", "New domain"),
        ("domains by a part of the name", "/domains?search=99", "New domain"),
        ("domains by state", "/domains?state=valid&sort=expiry", "New domain"),
    ];
    for (name, path, wanted) in pages {
        let opened: Vec<_> =
            (0..ROUNDS).map(|_| browser.open_anew(&format!("{url}/ui{path}"), wanted)).collect();
        let mut ready: Vec<f64> = opened.iter().map(|one| one.ready_ms).collect();
        ready.sort_by(f64::total_cmp);
        println!(
            "page      {domains:>9} domains, {when:<21}  {name:<30} {:>5.1} KiB, usable after {:.0} ms (median of {ROUNDS}), {:.0} ms at most",
            opened[0].bytes as f64 / 1024.0,
            ready[ROUNDS / 2],
            ready[ROUNDS - 1]
        );
    }
}
