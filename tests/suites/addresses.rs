//! Members that come back at other addresses are found, while the cluster still has the old ones.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use conclave_tests::{Cluster, Node, wait_for};

/// Longest time from the restart until every node takes changes.
const BACK_WITHIN: Duration = Duration::from_secs(30);

/// Moves nodes into the network 127.0.`third`, all of them stopped at the same time.
fn move_nodes(cluster: &mut Cluster, third: u8, moving: &[usize]) {
    for one in moving {
        cluster.nodes[*one].stop();
    }
    for one in moving {
        let node = &mut cluster.nodes[*one];
        let fourth = u8::try_from(one + 1).unwrap();
        node.move_to(SocketAddr::from(([127, 0, third, fourth], node.quic.port())));
        node.start();
    }
    let started = Instant::now();
    for (one, node) in cluster.nodes.iter().enumerate() {
        let domain = format!("n{one}.moved{}.net{third}.example", moving[0]);
        node.run(&["--timeout", "30s", "domain", "create", &domain]).ok();
    }
    wait_for("the same digest everywhere", || {
        let digests: Vec<_> =
            cluster.nodes.iter().map(|node| node.status()["cluster"]["digest"].clone()).collect();
        (digests[0].is_string() && digests.iter().all(|one| *one == digests[0])).then_some(())
    });
    assert!(started.elapsed() < BACK_WITHIN, "{:?}", started.elapsed());
}

#[test]
fn a_member_with_another_address_is_found() {
    let mut cluster = Cluster::start(3);
    move_nodes(&mut cluster, 1, &[2]);
    let log = cluster.nodes[2].log();
    assert!(log.contains("cluster.address_changed"), "{log}");
}

#[test]
fn two_members_that_move_one_after_the_other_are_found() {
    let mut cluster = Cluster::start(3);
    move_nodes(&mut cluster, 1, &[0]);
    move_nodes(&mut cluster, 1, &[1]);
}

#[test]
fn all_members_that_move_at_once_find_each_other() {
    let mut cluster = Cluster::start(3);
    move_nodes(&mut cluster, 1, &[0, 1, 2]);
    // And once more, from where the cluster does not know them to be.
    move_nodes(&mut cluster, 2, &[0, 1, 2]);
}

/// The name is resolved when it is dialled, so a cluster of names needs no new addresses.
#[test]
fn a_member_joins_by_a_name_with_several_addresses() {
    let cluster = Cluster::unfounded(2);
    let [one, two] = &cluster.nodes[..] else { unreachable!() };
    one.run(&["cluster", "init", "--name", "test"]).ok();
    let token = cluster.join_token(two);
    // `localhost` is ::1 and 127.0.0.1; the member is at the second.
    let member = format!("localhost:{}", one.quic.port());
    two.run(&["--timeout", "60s", "cluster", "join", &member, "--token-file", &token]).ok();
}

/// Two processes with one identity: the copy is told so, and takes no calls away from the first.
#[test]
fn a_copied_data_directory_does_not_take_the_place_of_its_origin() {
    let cluster = Cluster::start(3);
    let [one, _, three] = &cluster.nodes[..] else { unreachable!() };
    let copies = cluster.dir.path().join("copies");
    std::fs::create_dir_all(&copies).unwrap();
    let mut cp = std::process::Command::new("cp");
    assert!(cp.arg("-r").arg(&three.dir).arg(&copies).status().unwrap().success());
    let mut copy = Node::existing(&copies, &three.name, three.quic);
    let config = copy.dir.join("node.toml");
    let (from, to) = (three.dir.display().to_string(), copy.dir.display().to_string());
    let text = std::fs::read_to_string(&config).unwrap().replace(&from, &to);
    std::fs::write(&config, text).unwrap();
    let place = std::net::UdpSocket::bind((three.address, 0)).unwrap().local_addr().unwrap();
    copy.move_to(place);
    copy.start();
    wait_for("a line about the copy", || copy.log().contains("cluster.cloned").then_some(()));
    let nodes = one.run(&["node", "list", "-o", "json"]).json();
    let address = nodes.as_array().unwrap().iter().find(|node| node["name"] == "node-3").unwrap();
    assert_eq!(address["address"], three.quic.to_string(), "{nodes}");
}
