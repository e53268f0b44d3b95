//! The production runtime: tokio on threads dedicated to Raft.

use std::{future::Future, io, sync::Arc};

pub(crate) use openraft::impls::TokioRuntime as Rt;
use tokio::runtime::{Builder, Runtime};

use crate::limits::THREADS_MAX;

/// Handle of a runtime, to start tasks on it from anywhere.
#[derive(Clone)]
pub(crate) struct Handle(tokio::runtime::Handle);

impl Handle {
    /// Returns the handle of the runtime that runs this code.
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

/// Runs blocking disk work off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Threads dedicated to Raft, so that other work of the node cannot delay a heartbeat. They end
/// when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Threads(Arc<Owned>);

struct Owned(Option<Runtime>);

impl Drop for Owned {
    fn drop(&mut self) {
        // The last clone may be dropped in an async task, where a blocking shutdown of the runtime
        // panics.
        self.0.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

impl Threads {
    /// Starts the threads.
    pub(crate) fn start() -> io::Result<Threads> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let runtime = Builder::new_multi_thread()
            .worker_threads(cores.min(THREADS_MAX))
            .thread_name("raft")
            .enable_all()
            .build()?;
        Ok(Threads(Arc::new(Owned(Some(runtime)))))
    }

    /// Runs a future on these threads.
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
