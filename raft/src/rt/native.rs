//! tokio, on threads of Raft's own.

use std::{future::Future, io, sync::Arc};

pub(crate) use openraft::impls::TokioRuntime as Rt;
use tokio::runtime::{Builder, Runtime};

use crate::limits::THREADS_MAX;

/// A runtime on which tasks can be started from anywhere.
#[derive(Clone)]
pub(crate) struct Handle(tokio::runtime::Handle);

impl Handle {
    /// The runtime that this code runs on.
    pub(crate) fn current() -> Handle {
        Handle(tokio::runtime::Handle::current())
    }

    /// Starts a task; its result can be awaited from any runtime.
    pub(crate) fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.0.spawn(task)
    }
}

/// Runs what waits for a disk off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Threads of Raft's own, so that work of the node above cannot hold a heartbeat up. They end
/// with the last clone.
#[derive(Clone)]
pub(crate) struct Threads(Arc<Owned>);

struct Owned(Option<Runtime>);

impl Drop for Owned {
    fn drop(&mut self) {
        // The last clone may go in an async task, where nothing may wait for threads.
        self.0.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

impl Threads {
    /// Starts them.
    pub(crate) fn start() -> io::Result<Threads> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let runtime = Builder::new_multi_thread()
            .worker_threads(cores.min(THREADS_MAX))
            .thread_name("raft")
            .enable_all()
            .build()?;
        Ok(Threads(Arc::new(Owned(Some(runtime)))))
    }

    /// Runs a future on them.
    pub(crate) async fn run<F>(&self, task: F) -> io::Result<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        match &self.0.0 {
            Some(runtime) => runtime.spawn(task).await.map_err(io::Error::other),
            None => Err(io::Error::other("the threads have ended")),
        }
    }
}
