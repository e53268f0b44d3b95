//! Members that come back at other addresses are found, while the cluster still has the old ones.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use conclave_tests::{Cluster, wait_for};

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
