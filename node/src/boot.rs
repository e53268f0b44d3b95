//! Start and stop of a node: reads the configuration, starts the node, and waits for a signal or
//! for the process that takes over.

mod attention;
mod limits;
mod mail;
mod parts;
mod reload;
mod signals;
mod start;
mod store;
mod take_over;

use std::{
    collections::BTreeSet,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use conclave_api::problem::{Code, Problem};
use conclave_edge::socket::{self, PassedSocket};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
};

use conclave_cluster::{
    config::Config,
    fault::internal,
    node::Node,
    observe::log::{self, Level},
};
use conclave_mail::Mail;
use limits::{RESTART_PAUSE, TASKS_TIMEOUT};
use parts::Parts;
use reload::Reload;
use signals::StopSignals;
use take_over::{Predecessor, Successor, wait_released};

use crate::process;

/// Runs a node until a signal or a fatal error stops it, or another process takes it over. With
/// `take_over`, takes over the running node first, whose connections then have this time to end.
/// `say` receives the lines for the terminal.
pub(crate) fn run(
    path: &Path,
    take_over: Option<Duration>,
    say: &dyn Fn(&str),
) -> Result<(), Problem> {
    let started = Instant::now();
    let config = Config::read(path)?;
    config.check_machine()?;
    let addresses = config.check_addresses();
    // Before any thread starts, as that of a collector: it changes the environment.
    let taken = process::store::take();
    let collector = config.log.otlp.as_deref().map(|url| (url, config.name.as_str()));
    let log_level = log::start(&config.log.level, config.log.format, collector)?;
    if let Err(problem) = addresses {
        tracing::warn!(event = "config.address_missing", "{}", problem.title);
    }
    process::harden();
    let mut adopted = store::known(taken);
    let mut predecessor = None;
    if let Some(deadline) = take_over {
        predecessor = Predecessor::find(&config, deadline)?;
        if predecessor.is_none() {
            say("  no node answers at the admin socket: this is an ordinary start");
        }
    }
    // What can fail comes before the running node stops anything.
    let parts = Parts::make(&config)?;
    if let Some(predecessor) = &mut predecessor {
        adopted.extend(predecessor.take_sockets());
        parts.edge.hold_datagrams();
        predecessor.stop()?;
    }
    let stored = adopted.iter().map(PassedSocket::name).collect();
    parts.edge.adopt(adopted);
    let log_level = Arc::new(log_level);
    let (stop, mail) = (None, None);
    let process = Process { path, log_level, say, parts, stored, stop, mail, is_back: false };
    process.run(started, predecessor)
}

/// Assembles a node without opening its sockets.
#[cfg(feature = "testing")]
pub(crate) fn assemble(config: &Config) -> Result<Node, Problem> {
    Parts::make(config)?.node()
}

/// The process of a node. The node lives once in it, and again each time that a take-over fails.
struct Process<'a> {
    path: &'a Path,
    log_level: Arc<Level>,
    say: &'a dyn Fn(&str),
    parts: Parts,
    /// Names of the sockets that the service manager may have stored.
    stored: BTreeSet<String>,
    stop: Option<StopSignals>,
    /// The LMTP proxy. After a take-over its transactions end here.
    mail: Option<Mail>,
    /// Whether a take-over has failed. From then on the process serves whatever fails at a start.
    is_back: bool,
}

/// How a life of the node has ended.
enum Ended {
    Stopped,
    NotStarted(Box<Problem>),
    Leaving(Successor),
}

impl Process<'_> {
    fn run(
        mut self,
        started: Instant,
        mut predecessor: Option<Predecessor>,
    ) -> Result<(), Problem> {
        loop {
            let runtime = runtime(Builder::new_multi_thread())?;
            let ended = runtime.block_on(self.life(started, predecessor.take()));
            // All that is left of the node ends here: its databases close.
            runtime.shutdown_timeout(TASKS_TIMEOUT);
            let is_over = match ended? {
                Ended::Stopped => true,
                Ended::NotStarted(problem) if self.is_back => self.pause(&problem)?,
                Ended::NotStarted(problem) => return Err(*problem),
                Ended::Leaving(successor) => self.leave(successor)?,
            };
            if is_over {
                return Ok(());
            }
            self.is_back = true;
        }
    }

    async fn life(
        &mut self,
        started: Instant,
        predecessor: Option<Predecessor>,
    ) -> Result<Ended, Problem> {
        // Before anything else: by default the signal would end the process.
        let hangup =
            signal(SignalKind::hangup()).map_err(|error| internal("cannot take signals", error))?;
        let node = match start::start(&self.parts, self.say, predecessor).await {
            Ok((node, mail)) => {
                self.mail = mail;
                node
            }
            Err(problem) => return Ok(Ended::NotStarted(Box::new(problem))),
        };
        // Before anybody hears that it is ready, and may stop it: a signal would end the process.
        let stop = self.stop.get_or_insert_with(StopSignals::new);
        (self.say)(&format!("ready after {:.1} s", started.elapsed().as_secs_f64()));
        process::notify_ready();
        node.observed().note_started();
        let reload = Reload::new(self.path.to_owned(), Arc::clone(&self.log_level), hangup);
        tokio::spawn(reload.run(node.clone(), self.parts.config.clone()));
        let stored = std::mem::take(&mut self.stored);
        let storing = process::store::is_there()
            .then(|| tokio::spawn(store::keep(node.edge().clone(), stored)));
        attend(&node, &mut self.mail, stop, storing).await
    }

    /// Serves from memory until the successor serves, then finishes the connections. Returns whether
    /// the process is over; otherwise the successor has failed.
    fn leave(&mut self, successor: Successor) -> Result<bool, Problem> {
        if !wait_released(&self.parts.config) {
            tracing::error!(event = "take_over.failed", "the data directory does not get free");
            return Ok(false);
        }
        let runtime = runtime(Builder::new_current_thread())?;
        let (edge, say, mail) = (&self.parts.edge, self.say, &mut self.mail);
        let left = runtime.block_on(async {
            let stop = self.stop.get_or_insert_with(StopSignals::new);
            tokio::select! {
                serving = successor.wait_serving() => if let Err(error) = serving {
                    tracing::error!(event = "take_over.failed", %error, "this process serves on");
                    say(&format!("!  the new process failed ({error}): this one serves on"));
                    return false;
                },
                reason = stop.wait() => {
                    tracing::info!(event = "node.stopping", reason);
                    edge.shutdown(socket::limits::STOP_TIMEOUT).await;
                    return true;
                }
            }
            edge.leave().await;
            if let Err(error) = successor.give_datagrams() {
                tracing::warn!(event = "take_over.alone", %error, "the new process has gone");
            }
            say("  taken over: this process finishes its connections");
            let deadline = successor.deadline();
            let finishing =
                async { tokio::join!(edge.finish(deadline), finish(mail.take(), deadline)).0 };
            let closed = tokio::select! {
                closed = finishing => closed,
                _ = stop.wait() => edge.finish(socket::limits::STOP_TIMEOUT).await,
            };
            tracing::info!(event = "take_over.left", closed);
            true
        });
        // Not dropped: a wait for the successor may block a thread.
        runtime.shutdown_background();
        Ok(left)
    }

    /// Waits before the next start of a node that serves from memory. Returns whether a signal ends
    /// the process.
    fn pause(&mut self, problem: &Problem) -> Result<bool, Problem> {
        let (title, detail) = (&problem.title, problem.detail.as_deref().unwrap_or_default());
        tracing::error!(
            event = "take_over.memory_only",
            title,
            detail,
            "TLS is served from memory only, without changes and without an admin API; this \
             process tries again, or: stop it, and start a new one"
        );
        let runtime = runtime(Builder::new_current_thread())?;
        let stop = self.stop.get_or_insert_with(StopSignals::new);
        Ok(runtime.block_on(async {
            tokio::select! {
                () = tokio::time::sleep(RESTART_PAUSE) => false,
                _ = stop.wait() => {
                    self.parts.edge.shutdown(socket::limits::STOP_TIMEOUT).await;
                    true
                }
            }
        }))
    }
}

fn runtime(mut builder: Builder) -> Result<Runtime, Problem> {
    builder.enable_all().build().map_err(|error| internal("cannot start", error))
}

/// Waits until the node must stop, or until another process takes over.
async fn attend(
    node: &Node,
    mail: &mut Option<Mail>,
    stop: &mut StopSignals,
    storing: Option<JoinHandle<()>>,
) -> Result<Ended, Problem> {
    let (mut fatal, mut requests) = (node.fatal(), node.take_over_requests());
    loop {
        tokio::select! {
            reason = stop.wait() => {
                tracing::info!(event = "node.stopping", reason);
                // The sockets stay in the store: their backlogs wait for the next process.
                storing.inspect(JoinHandle::abort);
                return end(node, mail.take()).await.map(|()| Ended::Stopped);
            }
            Ok(reason) = async { fatal.wait_for(Option::is_some).await.map(|reason| reason.clone()) } => {
                let reason = reason.unwrap_or_default();
                return Err(Problem::new(Code::DataUnusable, "this node cannot go on").detail(reason)
                    .hint("look at its disk and its log, then start it again; the other nodes go on"));
            }
            Some(request) = requests.recv() => match Successor::meet(request, node.edge()).await {
                Ok(successor) => {
                    tracing::info!(event = "take_over.leaving");
                    release(node, mail.as_mut()).await;
                    return Ok(Ended::Leaving(successor));
                }
                Err(error) => tracing::warn!(event = "take_over.failed", %error),
            },
        }
    }
}

/// Stops the node with its connections.
async fn end(node: &Node, mail: Option<Mail>) -> Result<(), Problem> {
    process::notify_stopping();
    node.observed().note_stopping();
    let deadline = socket::limits::STOP_TIMEOUT;
    tokio::join!(node.edge().shutdown(deadline), finish(mail, deadline));
    if let Some(member) = node.member() {
        member.replica.hand_over().await;
        member.stop().await.map_err(|error| internal("the log did not stop cleanly", error))?;
    }
    // Saves the next start the check whether another process answers on it.
    let _ = std::fs::remove_file(&node.config().admin_socket);
    Ok(())
}

/// Lets the transactions of the LMTP proxy end.
async fn finish(mail: Option<Mail>, deadline: Duration) {
    if let Some(mail) = mail {
        let cut = mail.finish(deadline).await;
        if cut > 0 {
            tracing::warn!(event = "lmtp.cut", cut, "their senders try them again");
        }
    }
}

/// Stops the node without its connections.
async fn release(node: &Node, mail: Option<&mut Mail>) {
    node.observed().note_stopping();
    // The next process needs its place, and it must not hold the databases.
    if let Some(mail) = mail {
        mail.close().await;
    }
    if let Some(member) = node.member() {
        member.replica.hand_over().await;
        if let Err(error) = member.stop().await {
            tracing::error!(event = "take_over.log_not_stopped", %error);
        }
    }
    let _ = std::fs::remove_file(&node.config().admin_socket);
}
