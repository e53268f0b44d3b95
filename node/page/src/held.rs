//! What the node keeps between two requests of a browser: a change that waits for its confirmation,
//! and what a change has done. In memory, for minutes, for that browser alone.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use conclave_api::change::Change;
use data_encoding::HEXLOWER;
use tokio::time::sleep;

use crate::{form::FormKey, wish::Wish};

/// Longest time to wait for a confirmation. A pasted private key waits here meanwhile.
const HELD_FOR: Duration = Duration::from_secs(600);
/// Most things held, and most bytes of them. The oldest make room.
const HELD_MAX: usize = 256;
const HELD_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What has just been done, for the top of the next page.
#[derive(Clone, Default)]
pub(crate) struct Told {
    pub(crate) text: String,
    pub(crate) warnings: Vec<String>,
    /// The domain that can go back, and to which version.
    pub(crate) undo: Option<(String, u64)>,
}

enum Thing {
    Wish(Box<Wish>),
    Told(Told),
}

struct Entry {
    id: String,
    /// Signature of the browser's key: whose it is.
    owner: String,
    bytes: usize,
    thing: Thing,
}

type Entries = Arc<Mutex<VecDeque<Entry>>>;

/// The things that are held.
pub(crate) struct Held {
    entries: Entries,
    life: Duration,
}

impl Default for Held {
    fn default() -> Held {
        Held { entries: Entries::default(), life: HELD_FOR }
    }
}

impl Held {
    /// Holds a change until it is confirmed. Returns its id.
    pub(crate) fn hold(&self, key: &FormKey, wish: Wish) -> String {
        let (id, bytes) = (wish.operation.clone(), wish.body.len());
        self.add(Entry { id, owner: owner(key), bytes, thing: Thing::Wish(Box::new(wish)) })
    }

    /// Takes a change out.
    pub(crate) fn take(&self, key: &FormKey, id: &str) -> Option<Wish> {
        let mut entries = entries(&self.entries);
        let is_it = |one: &Entry| {
            one.id == id && one.owner == owner(key) && matches!(one.thing, Thing::Wish(_))
        };
        let place = entries.iter().position(is_it)?;
        match entries.remove(place)?.thing {
            Thing::Wish(wish) => Some(*wish),
            Thing::Told(_) => None,
        }
    }

    /// Notes what has been done. Returns the id under which the next page finds it.
    pub(crate) fn tell(&self, key: &FormKey, told: Told) -> String {
        self.add(Entry { id: new_id(), owner: owner(key), bytes: 0, thing: Thing::Told(told) })
    }

    /// Returns what has been done.
    pub(crate) fn told(&self, key: &FormKey, id: &str) -> Option<Told> {
        let entries = entries(&self.entries);
        let entry = entries.iter().find(|one| one.id == id && one.owner == owner(key))?;
        match &entry.thing {
            Thing::Told(told) => Some(told.clone()),
            Thing::Wish(_) => None,
        }
    }

    fn add(&self, entry: Entry) -> String {
        let id = entry.id.clone();
        let mut held = entries(&self.entries);
        held.push_back(entry);
        while held.len() > HELD_MAX || held.iter().map(|one| one.bytes).sum::<usize>() > HELD_BYTES_MAX
        {
            held.pop_front();
        }
        drop(held);
        tokio::spawn(forget(Arc::downgrade(&self.entries), id.clone(), self.life));
        id
    }
}

/// Wipes a thing when its time is over, whether it is asked for or not.
async fn forget(held: Weak<Mutex<VecDeque<Entry>>>, id: String, life: Duration) {
    sleep(life).await;
    if let Some(held) = held.upgrade() {
        entries(&held).retain(|one| one.id != id);
    }
}

fn entries(held: &Mutex<VecDeque<Entry>>) -> MutexGuard<'_, VecDeque<Entry>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

fn owner(key: &FormKey) -> String {
    key.sign("held")
}

/// Returns an id that nobody guesses. As the id of an operation it makes a second confirmation of
/// the same form harmless.
pub(crate) fn new_id() -> String {
    HEXLOWER.encode(&conclave_system::entropy::array::<16>())
}

impl From<&Change> for Told {
    fn from(change: &Change) -> Told {
        let object = match change.object.is_empty() {
            true => "The cluster",
            false => &change.object,
        };
        let served = &change.served;
        let all = served.nodes.len().saturating_add(served.missing.len());
        let missing = served.missing.iter().map(|node| {
            let reason = served.reasons.get(node).map_or("it has not answered yet", |why| why);
            format!("not yet on {node}: {reason}")
        });
        let text = match (change.changed, all) {
            (false, _) => format!("{object}: nothing to change"),
            (true, 0) => format!("{object}: changed"),
            (true, _) => {
                let (nodes, ms) = (served.nodes.len(), change.took_ms);
                format!("{object}: changed, in use on {nodes} of {all} nodes after {ms} ms")
            }
        };
        let before = change.version.filter(|version| change.changed && *version > 1);
        Told {
            text,
            warnings: change.warnings.iter().cloned().chain(missing).collect(),
            undo: before.map(|version| (change.object.clone(), version - 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, Method};

    use super::*;

    fn wish(bytes: usize) -> Wish {
        let mut wish = Wish::new("x", Method::POST, "/v1/x".to_owned());
        wish.body = vec![0; bytes].into();
        wish
    }

    #[tokio::test]
    async fn a_change_is_held_for_its_browser_for_a_while_and_once() {
        let held = Held::default();
        let (key, other) = (FormKey::of(&HeaderMap::new()), FormKey::of(&HeaderMap::new()));
        let id = held.hold(&key, wish(1));
        assert!(held.take(&other, &id).is_none());
        assert!(held.take(&key, &id).is_some());
        assert!(held.take(&key, &id).is_none());
        let told = held.tell(&key, Told { text: "done".to_owned(), ..Told::default() });
        assert!(held.told(&other, &told).is_none());
        assert_eq!(held.told(&key, &told).map(|told| told.text).as_deref(), Some("done"));
    }

    #[tokio::test]
    async fn a_change_that_nobody_confirms_is_wiped_in_time() {
        let held = Held { life: Duration::from_millis(10), ..Held::default() };
        held.hold(&FormKey::of(&HeaderMap::new()), wish(1));
        let is_gone = async {
            while !entries(&held.entries).is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), is_gone).await.unwrap();
    }

    #[tokio::test]
    async fn the_oldest_make_room() {
        let held = Held::default();
        let key = FormKey::of(&HeaderMap::new());
        let first = held.hold(&key, wish(HELD_BYTES_MAX / 2));
        let second = held.hold(&key, wish(HELD_BYTES_MAX / 2));
        let third = held.hold(&key, wish(1));
        assert!(held.take(&key, &first).is_none());
        assert!(held.take(&key, &second).is_some() && held.take(&key, &third).is_some());
    }
}
