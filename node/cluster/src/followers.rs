//! Places of those who follow the events of this node.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use conclave_store::record::Principal;

/// Most streams of events of one node.
pub(crate) const FOLLOWERS_MAX: usize = 64;
/// Most of them for one caller, so that one does not keep out the others.
pub(crate) const FOLLOWERS_EACH_MAX: usize = 16;

/// The places; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Followers(Arc<Mutex<BTreeMap<String, usize>>>);

/// A place. Dropping it frees it.
pub(crate) struct FollowerPlace {
    followers: Followers,
    who: String,
}

impl Followers {
    /// Takes a place for a caller; `None` if there is none.
    pub(crate) fn take(&self, who: &Principal) -> Option<FollowerPlace> {
        let who = match who {
            Principal::Token { id, .. } => format!("token {id}"),
            Principal::User { name, .. } | Principal::UserByCertificate { name, .. } => {
                format!("user {name}")
            }
            other => other.to_string(),
        };
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let own = taken.get(&who).copied().unwrap_or_default();
        if all >= FOLLOWERS_MAX || own >= FOLLOWERS_EACH_MAX {
            return None;
        }
        taken.insert(who.clone(), own + 1);
        Some(FollowerPlace { followers: self.clone(), who })
    }
}

impl Drop for FollowerPlace {
    fn drop(&mut self) {
        let mut taken = self.followers.0.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.who) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.remove(&self.who)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_does_not_keep_out_the_others() {
        let followers = Followers::default();
        let one = Principal::Socket { uid: 1 };
        let mut own: Vec<_> =
            (0..FOLLOWERS_EACH_MAX).map(|_| followers.take(&one).unwrap()).collect();
        assert!(followers.take(&one).is_none());
        assert!(followers.take(&Principal::Socket { uid: 2 }).is_some());
        own.pop();
        assert!(followers.take(&one).is_some());
        let uids = 10..10 + u32::try_from(FOLLOWERS_MAX).unwrap();
        let others = uids.filter_map(|uid| followers.take(&Principal::Socket { uid }));
        assert_eq!(others.collect::<Vec<_>>().len(), FOLLOWERS_MAX - own.len());
    }
}
