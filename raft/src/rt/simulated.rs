//! The simulated runtime, with the interface of the production one.

use std::{future::Future, io};

use openraft::async_runtime::AsyncRuntime;

pub(crate) use super::sim::SimRt as Rt;

#[derive(Clone)]
pub(crate) struct Handle;

impl Handle {
    pub(crate) fn current() -> Handle {
        Handle
    }

    pub(crate) fn spawn<F>(&self, task: F) -> <Rt as AsyncRuntime>::JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        Rt::spawn(task)
    }
}

/// Runs the work inline. The simulation adds the latency of disks elsewhere.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    work()
}

#[derive(Clone)]
pub(crate) struct Threads;

impl Threads {
    pub(crate) fn start() -> io::Result<Threads> {
        Ok(Threads)
    }

    pub(crate) async fn run<F: Future>(&self, task: F) -> io::Result<F::Output> {
        Ok(task.await)
    }
}
