//! The executor as openraft sees it.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use openraft::{OptionalSend, async_runtime::AsyncRuntime, impls::TokioRuntime};

use super::{
    NODE, exec, run, spawn_on,
    time::{Elapsed, SimInstant, SimSleep, SimTimeout},
};

/// A task's end.
pub struct SimJoin<T>(pub(super) tokio::sync::oneshot::Receiver<T>);

#[derive(Debug)]
pub struct Killed;

impl std::fmt::Display for Killed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("the task was killed")
    }
}

impl std::error::Error for Killed {}

impl<T> Future for SimJoin<T> {
    type Output = Result<T, Killed>;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_err(|_| Killed)
    }
}

/// The simulation's chance, as openraft draws from it.
pub struct SimRng;

impl rand::TryRng for SimRng {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|value| (value >> 32) as u32)
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(exec(|exec| exec.chance.next()))
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.iter_mut().for_each(|byte| *byte = exec(|exec| exec.chance.next()) as u8);
        Ok(())
    }
}

#[derive(Debug)]
pub struct SimRt;

impl AsyncRuntime for SimRt {
    type JoinError = Killed;
    type JoinHandle<T: OptionalSend + 'static> = SimJoin<T>;
    type Sleep = SimSleep;
    type Instant = SimInstant;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = SimTimeout<T>;
    type ThreadLocalRng = SimRng;
    // Without a runtime around them tokio's channels are plain data with wakers.
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = <TokioRuntime as AsyncRuntime>::Watch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> SimJoin<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        spawn_on(NODE.get(), future)
    }
    fn sleep(duration: Duration) -> SimSleep {
        SimSleep::after(duration)
    }
    fn sleep_until(deadline: SimInstant) -> SimSleep {
        SimSleep::until(deadline)
    }
    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> SimTimeout<F> {
        SimTimeout { future: Box::pin(future), sleep: SimSleep::after(duration) }
    }
    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: SimInstant,
        future: F,
    ) -> SimTimeout<F> {
        SimTimeout { future: Box::pin(future), sleep: SimSleep::until(deadline) }
    }
    fn is_panic(_: &Killed) -> bool {
        false
    }
    fn thread_rng() -> SimRng {
        SimRng
    }
    fn new(_threads: usize) -> SimRt {
        SimRt
    }
    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        run(0, future).expect("runs")
    }
    fn spawn_blocking<F, T>(work: F) -> impl Future<Output = Result<T, std::io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        async move { Ok(work()) }
    }
}
