//! A runtime for openraft in which one seed decides everything: one thread, a virtual clock, a
//! scheduler that draws the next task, and one source of chance.
//!
//! Every task belongs to a node (0: the world outside). A node can be killed (its tasks are
//! dropped in the middle), paused (its tasks are not polled), and its clock can drift.

#![allow(
    missing_docs,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "only in tests/sim, where a panic ends the run with its seed"
)]

pub mod rng;
mod runtime;
mod time;
pub mod trace;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::ThreadId,
};

use rng::Rng;
pub use runtime::{Killed, SimJoin, SimRng, SimRt};
pub use time::{SimInstant, SimSleep, SimTimeout};

pub type Node = usize;
pub const WORLD: Node = 0;
const NODES_MAX: usize = 16;
/// The clock begins late enough that subtracting from it is safe.
const EPOCH: u64 = 1_000_000_000_000_000;
/// The future that [`run`] runs.
const MAIN: u64 = 0;
/// More polls than this without time passing is a livelock.
const POLLS_PER_INSTANT_MAX: u64 = 2_000_000;

type BoxedTask = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Exec {
    now: u64,
    next: u64,
    /// A task that is being polled is not in its place.
    tasks: BTreeMap<u64, (Node, Option<BoxedTask>, Waker)>,
    timers: BTreeMap<(u64, u64), Waker>,
    scheduler: Rng,
    chance: Rng,
    paused: [bool; NODES_MAX],
    drift_ppm: [i64; NODES_MAX],
    polls: u64,
    /// Nodes that die when the step that runs is over.
    doomed: Vec<Node>,
}

type Reaper = Box<dyn FnMut(Node)>;

thread_local! {
    static EXEC: RefCell<Option<Exec>> = const { RefCell::new(None) };
    /// Sorted by task, not by order of waking: who wakes whom first (tokio's watch draws that
    /// from an unseeded source) does not show.
    static READY: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    static NODE: Cell<Node> = const { Cell::new(WORLD) };
    static IS_KILLING: Cell<bool> = const { Cell::new(false) };
    static REAPER: RefCell<Option<Reaper>> = const { RefCell::new(None) };
}

fn exec<T>(work: impl FnOnce(&mut Exec) -> T) -> T {
    EXEC.with_borrow_mut(|exec| work(exec.as_mut().expect("outside of the simulation")))
}

struct TaskWaker(u64, ThreadId);

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        assert_eq!(self.1, std::thread::current().id(), "another thread woke a simulated task");
        READY.with_borrow_mut(|ready| {
            if let Err(place) = ready.binary_search(&self.0) {
                ready.insert(place, self.0);
            }
        });
    }
}

/// Nanoseconds since the simulation began.
pub fn since_start() -> u64 {
    EXEC.with_borrow(|exec| exec.as_ref().map_or(0, |exec| exec.now - EPOCH))
}

pub fn polls() -> u64 {
    exec(|exec| exec.polls)
}

pub fn task_count() -> usize {
    exec(|exec| exec.tasks.len())
}

pub fn spawn_on<T>(node: Node, future: T) -> SimJoin<T::Output>
where
    T: Future + Send + 'static,
    T::Output: Send + 'static,
{
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let task = async move {
        let _ = sender.send(future.await);
    };
    exec(|exec| {
        let id = exec.next;
        exec.next += 1;
        let waker = Waker::from(Arc::new(TaskWaker(id, std::thread::current().id())));
        waker.wake_by_ref();
        exec.tasks.insert(id, (node, Some(Box::pin(task)), waker));
    });
    SimJoin(receiver)
}

/// Drops all tasks of a node, wherever they are: the process is gone.
pub fn kill(node: Node) {
    let dropped: Vec<BoxedTask> = exec(|exec| {
        let ids: Vec<u64> =
            exec.tasks.iter().filter(|(_, task)| task.0 == node).map(|(id, _)| *id).collect();
        exec.paused[node] = false;
        ids.iter().filter_map(|id| exec.tasks.remove(id)?.1).collect()
    });
    // Destructors reach into the runtime; they run as the node.
    as_killed(node, || drop(dropped));
}

/// Drops something of a node as its death would.
pub fn as_killed(node: Node, work: impl FnOnce()) {
    let before = NODE.replace(node);
    let was_killing = IS_KILLING.replace(true);
    work();
    IS_KILLING.set(was_killing);
    NODE.set(before);
}

/// Whether what is dropped now is dropped by the death of its process, which says nothing to
/// anybody.
pub fn is_killing() -> bool {
    IS_KILLING.get()
}

/// The node of the task that runs.
pub fn node() -> Node {
    NODE.get()
}

/// The node dies as soon as the step that runs is over, before anything else sees what it did.
pub fn doom(node: Node) {
    exec(|exec| exec.doomed.push(node));
}

/// Who is told of doomed nodes, and kills them.
pub fn set_reaper(reaper: impl FnMut(Node) + 'static) {
    REAPER.set(Some(Box::new(reaper)));
}

fn reap() {
    while let Some(node) = exec(|exec| exec.doomed.pop()) {
        let reaper = REAPER.take();
        if let Some(mut reaper) = reaper {
            reaper(node);
            REAPER.set(Some(reaper));
        }
    }
}

/// A moment of the world's clock, in nanoseconds since it began.
pub fn sleep_until_world(at: u64) -> SimSleep {
    SimSleep::at_world(EPOCH + at)
}

pub fn set_paused(node: Node, is_paused: bool) {
    exec(|exec| exec.paused[node] = is_paused);
}

pub fn set_drift(node: Node, ppm: i64) {
    exec(|exec| exec.drift_ppm[node] = ppm);
}

/// Runs the simulation until `main` is done; an error if a task panics or nothing can go on.
pub fn run<T>(seed: u64, main: impl Future<Output = T>) -> Result<T, String> {
    let me = std::thread::current().id();
    EXEC.set(Some(Exec {
        now: EPOCH,
        next: MAIN + 1,
        tasks: BTreeMap::new(),
        timers: BTreeMap::new(),
        scheduler: Rng::new(seed, 1),
        chance: Rng::new(seed, 2),
        paused: [false; NODES_MAX],
        drift_ppm: [0; NODES_MAX],
        polls: 0,
        doomed: Vec::new(),
    }));
    READY.set(vec![MAIN]);
    NODE.set(WORLD);
    let waker = Waker::from(Arc::new(TaskWaker(MAIN, me)));
    let mut main = Box::pin(main);
    let mut polls_at_now = 0;
    let result = loop {
        match next_ready() {
            Some(MAIN) => {
                if let Poll::Ready(value) = main.as_mut().poll(&mut Context::from_waker(&waker)) {
                    break Ok(value);
                }
            }
            Some(id) => {
                polls_at_now += 1;
                if polls_at_now > POLLS_PER_INSTANT_MAX {
                    break Err("livelock".to_owned());
                }
                if let Err(panic) = poll_task(id) {
                    break Err(panic);
                }
                reap();
            }
            None => {
                polls_at_now = 0;
                if !advance() {
                    break Err("deadlock: nothing is ready and no timer runs".to_owned());
                }
            }
        }
    };
    // What futures hold reaches into the runtime when it is dropped.
    as_killed(WORLD, || drop(main));
    loop {
        let tasks = exec(|exec| std::mem::take(&mut exec.tasks));
        if tasks.is_empty() {
            break;
        }
        as_killed(WORLD, || drop(tasks));
    }
    REAPER.set(None);
    EXEC.set(None);
    result
}

fn next_ready() -> Option<u64> {
    READY.with_borrow_mut(|ready| {
        exec(|exec| {
            ready.retain(|id| *id == MAIN || exec.tasks.contains_key(id));
            let is_paused = |id: &u64| exec.tasks.get(id).is_some_and(|task| exec.paused[task.0]);
            let may_run = |id: &u64| !is_paused(id);
            let count = ready.iter().filter(|id| may_run(id)).count() as u64;
            if count == 0 {
                return None;
            }
            let drawn = exec.scheduler.below(count) as usize;
            let place = ready.iter().enumerate().filter(|(_, id)| may_run(id)).nth(drawn)?.0;
            Some(ready.remove(place))
        })
    })
}

fn poll_task(id: u64) -> Result<(), String> {
    let Some((node, Some(mut task), waker, now)) = exec(|exec| {
        exec.polls += 1;
        let now = exec.now;
        let (node, task, waker) = exec.tasks.get_mut(&id)?;
        Some((*node, task.take(), waker.clone(), now))
    }) else {
        return Ok(());
    };
    trace::event(now - EPOCH, "poll", &[id, node as u64]);
    NODE.set(node);
    let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        task.as_mut().poll(&mut Context::from_waker(&waker))
    }));
    NODE.set(WORLD);
    match polled {
        Ok(Poll::Ready(())) => {
            exec(|exec| exec.tasks.remove(&id));
        }
        Ok(Poll::Pending) => {
            // It may have been killed meanwhile.
            let left = exec(|exec| match exec.tasks.get_mut(&id) {
                Some(place) => {
                    place.1 = Some(task);
                    None
                }
                None => Some(task),
            });
            drop(left);
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            return Err(format!(
                "{:.3} s: panic on node {node}: {}",
                (now - EPOCH) as f64 / 1e9,
                text.unwrap_or_default()
            ));
        }
    }
    Ok(())
}

/// Time passes to the next timer; false if there is none.
fn advance() -> bool {
    let woken = exec(|exec| {
        let (at, _) = *exec.timers.first_key_value()?.0;
        exec.now = exec.now.max(at);
        let later = exec.timers.split_off(&(exec.now + 1, 0));
        Some(std::mem::replace(&mut exec.timers, later))
    });
    let Some(woken) = woken else { return false };
    woken.into_values().for_each(Waker::wake);
    true
}
