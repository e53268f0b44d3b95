//! Keeps the open listening sockets in the descriptor store of the service manager, from which the
//! next process takes them.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::OwnedFd,
};

use conclave_edge::socket::{Edge, PassedSocket};

use crate::process::store;

/// Returns the listening sockets among those that the service manager gave to this process. Others
/// are closed.
pub(super) fn known(taken: Vec<OwnedFd>) -> Vec<PassedSocket> {
    let known = |socket| match PassedSocket::of(socket) {
        Ok(socket) => Some(socket),
        Err(error) => {
            tracing::warn!(event = "store.not_taken", %error);
            None
        }
    };
    taken.into_iter().filter_map(known).collect()
}

/// Stores new sockets and removes closed ones, until dropped. `stored` holds the names in the store
/// at the start.
pub(super) async fn keep(edge: Edge, mut stored: BTreeSet<String>) {
    let mut changes = edge.socket_changes();
    loop {
        changes.mark_unchanged();
        let kept = edge.passed_sockets().and_then(|open| put(&open, &mut stored));
        if let Err(error) = kept {
            tracing::warn!(event = "store.failed", %error, "a restart will refuse clients");
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

fn put(open: &[PassedSocket], stored: &mut BTreeSet<String>) -> std::io::Result<()> {
    let mut by_name: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for socket in open {
        by_name.entry(socket.name()).or_default().push(std::os::fd::AsFd::as_fd(socket));
    }
    let gone: Vec<String> =
        stored.iter().filter(|name| !by_name.contains_key(*name)).cloned().collect();
    for name in gone {
        store::remove(&name)?;
        stored.remove(&name);
    }
    for (name, sockets) in by_name {
        if !stored.contains(&name) {
            store::put(&name, &sockets)?;
            stored.insert(name);
        }
    }
    Ok(())
}
