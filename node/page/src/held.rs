//! What the node keeps between two requests of a browser: a change that waits for its confirmation,
//! and what a change has done. In memory, for minutes, for that browser alone.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use conclave_api::change::Change;
use tokio::{task::AbortHandle, time::sleep};

use crate::{form::FormKey, wish::Wish};

/// Longest time to wait for a confirmation. A pasted private key waits here meanwhile.
const HELD_FOR: Duration = Duration::from_secs(600);
/// Most things held, in all and of one visitor, and most bytes of them. The oldest make room.
const HELD_MAX: usize = 256;
const HELD_EACH_MAX: usize = 16;
const HELD_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What has just been done, for the top of the next page.
#[derive(Clone, Default)]
pub(crate) struct Told {
    pub(crate) text: String,
    pub(crate) warnings: Vec<String>,
    /// How it is undone.
    pub(crate) undo: Option<Undo>,
}

/// The way back of a change of a domain.
#[derive(Clone)]
pub(crate) struct Undo {
    pub(crate) name: String,
    pub(crate) scope: String,
    /// The version that the change has made, and the one before.
    pub(crate) version: u64,
    pub(crate) to: u64,
}

enum Thing {
    Wish(Box<Wish>),
    Told(Told),
}

struct Entry {
    id: String,
    /// Signature of the browser's key: whose it is.
    owner: String,
    /// Who is logged in there.
    who: String,
    bytes: usize,
    thing: Thing,
    /// Wipes it in time.
    forgetting: AbortHandle,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.forgetting.abort();
    }
}

type Entries = Arc<Mutex<VecDeque<Entry>>>;

/// Whose a thing is: the browser's key, and who is logged in there.
#[derive(Clone, Copy)]
pub(crate) struct Owner<'v> {
    pub(crate) key: &'v FormKey,
    pub(crate) who: &'v str,
}

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
    pub(crate) fn hold(&self, owner: Owner<'_>, wish: Wish) -> String {
        let (id, bytes) = (wish.operation.clone(), wish.bytes());
        self.add(owner, id.clone(), bytes, Thing::Wish(Box::new(wish)));
        id
    }

    /// Takes a change out.
    pub(crate) fn take(&self, key: &FormKey, id: &str) -> Option<Wish> {
        let mut entries = entries(&self.entries);
        let is_it = |one: &Entry| {
            one.id == id && one.owner == owner(key) && matches!(one.thing, Thing::Wish(_))
        };
        let place = entries.iter().position(is_it)?;
        match &entries.remove(place)?.thing {
            Thing::Wish(wish) => Some((**wish).clone()),
            Thing::Told(_) => None,
        }
    }

    /// Returns what the form of a change had, which may still be confirmed.
    pub(crate) fn filled(&self, key: &FormKey, id: &str) -> Option<Vec<(String, String)>> {
        let entries = entries(&self.entries);
        let entry = entries.iter().find(|one| one.id == id && one.owner == owner(key))?;
        match &entry.thing {
            Thing::Wish(wish) => Some(wish.filled.clone()),
            Thing::Told(_) => None,
        }
    }

    /// Notes what has been done, for the next page.
    pub(crate) fn tell(&self, owner: Owner<'_>, id: &str, told: Told) {
        self.add(owner, id.to_owned(), told.text.len(), Thing::Told(told));
    }

    /// Wipes everything of a browser.
    pub(crate) fn forget(&self, key: &FormKey) {
        entries(&self.entries).retain(|one| one.owner != owner(key));
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

    fn add(&self, Owner { key, who }: Owner<'_>, id: String, bytes: usize, thing: Thing) {
        let who = who.to_owned();
        let forgetting = forget(Arc::downgrade(&self.entries), id.clone(), self.life);
        let forgetting = tokio::spawn(forgetting).abort_handle();
        let owner = owner(key);
        let mut held = entries(&self.entries);
        let same = held.iter().filter(|one| one.who == who).count();
        if same >= HELD_EACH_MAX
            && let Some(place) = held.iter().position(|one| one.who == who)
        {
            held.remove(place);
        }
        held.push_back(Entry { id, owner, who, bytes, thing, forgetting });
        let total = |held: &VecDeque<Entry>| held.iter().map(|one| one.bytes).sum::<usize>();
        while held.len() > HELD_MAX || total(&held) > HELD_BYTES_MAX {
            held.pop_front();
        }
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
            (true, 0) => format!("{object}: done"),
            (true, _) => {
                let (nodes, ms) = (served.nodes.len(), change.took_ms);
                format!("{object}: done, in use on {nodes} of {all} nodes after {ms} ms")
            }
        };
        Told {
            text,
            warnings: change.warnings.iter().cloned().chain(missing).collect(),
            undo: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, Method};

    use super::*;

    fn browser() -> FormKey {
        FormKey::of(&HeaderMap::new())
    }

    fn owner_of(key: &FormKey) -> Owner<'_> {
        Owner { key, who: "alice" }
    }

    fn wish(bytes: usize) -> Wish {
        let mut wish = Wish::new("x", Method::POST, "/v1/x".to_owned());
        wish.body = vec![0; bytes].into();
        wish.filled.push(("name".to_owned(), "kept.example".to_owned()));
        wish
    }

    #[tokio::test]
    async fn a_change_is_held_for_its_browser_and_once() {
        let held = Held::default();
        let (one, other) = (browser(), browser());
        let id = held.hold(owner_of(&one), wish(1));
        assert!(held.take(&other, &id).is_none() && held.filled(&other, &id).is_none());
        assert_eq!(held.filled(&one, &id).unwrap()[0].1, "kept.example");
        assert!(held.take(&one, &id).is_some());
        assert!(held.take(&one, &id).is_none());
        held.tell(owner_of(&one), &id, Told { text: "done".to_owned(), ..Told::default() });
        assert!(held.told(&other, &id).is_none());
        assert_eq!(held.told(&one, &id).map(|told| told.text).as_deref(), Some("done"));
        let id = held.hold(owner_of(&one), wish(1));
        held.forget(&one);
        assert!(held.take(&one, &id).is_none());
    }

    #[tokio::test]
    async fn a_change_that_nobody_confirms_is_wiped_in_time() {
        let held = Held { life: Duration::from_millis(10), ..Held::default() };
        held.hold(owner_of(&browser()), wish(1));
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
        let one = browser();
        let first = held.hold(owner_of(&one), wish(HELD_BYTES_MAX / 2));
        let second = held.hold(owner_of(&one), wish(HELD_BYTES_MAX / 2 - 1_000));
        let third = held.hold(owner_of(&one), wish(1_000));
        assert!(held.take(&one, &first).is_none());
        assert!(held.take(&one, &second).is_some() && held.take(&one, &third).is_some());
        let all: Vec<String> =
            (0..=HELD_EACH_MAX).map(|_| held.hold(owner_of(&one), wish(1))).collect();
        assert!(held.take(&one, &all[0]).is_none() && held.take(&one, &all[1]).is_some());
    }
}
