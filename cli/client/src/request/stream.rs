//! Requests whose answer is a stream, and requests whose body is not JSON.

use std::time::Duration;

use conclave_api::{
    backup::{Create, Restored},
    path,
    problem::{Code, Problem},
};
use reqwest::Method;

use super::{Client, GRACE, Target, failure};
use crate::Failure;

/// A backup on its way.
pub struct Download {
    response: reqwest::Response,
    /// Longest wait for the next piece.
    limit: Duration,
    address: String,
}

impl Download {
    /// Returns the next piece; none at the end.
    pub async fn next(&mut self) -> Result<Option<impl AsRef<[u8]> + use<>>, Failure> {
        match tokio::time::timeout(self.limit, self.response.chunk()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(error)) => Err(self.broken(super::deepest(&error))),
            Err(_) => Err(self.broken(format!("nothing came for {} s", self.limit.as_secs()))),
        }
    }

    fn broken(&self, why: String) -> Failure {
        let title = format!("{} ended the backup before its end", self.address);
        let problem = Problem::new(Code::BackupIncomplete, title).detail(why);
        failure(problem.hint("repeat the command; the node's log says why: event backup.ended"))
    }
}

impl Client {
    /// Asks a node for a backup. The next node is asked if one does not answer or is sealed.
    pub async fn create_backup(&self, create: &Create) -> Result<Download, Failure> {
        let mut left = if self.is_for_one() { 1 } else { self.targets.len() };
        let mut turn = self.turns.load(super::Ordering::Relaxed);
        loop {
            let target = self.target(turn).ok_or_else(|| {
                failure(Problem::new(Code::NodeUnreachable, "no address of a node is given"))
            })?;
            left = left.saturating_sub(1);
            match self.backup_of(target, create).await {
                Ok(download) => return Ok(download),
                Err(failure) if left == 0 || !is_for_another(failure.code) => return Err(failure),
                Err(_) => turn = self.turn_from(turn),
            }
        }
    }

    async fn backup_of(&self, target: &Target, create: &Create) -> Result<Download, Failure> {
        let mut query = vec![("timeout_ms", self.options.timeout.as_millis().to_string())];
        if self.options.is_stale {
            query.push(("consistency", "local".to_owned()));
        }
        let request = target.request(Method::POST, path::BACKUP).query(&query).json(create);
        let request = match &self.bearer {
            Some(bearer) => request.bearer_auth(bearer),
            None => request,
        };
        let limit = self.options.timeout + GRACE;
        let address = target.address.to_string();
        let response = match tokio::time::timeout(limit, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(self.transport(target, &error).problem),
            Err(_) => {
                let title = format!("{address} gives no answer in time");
                return Err(failure(Problem::new(Code::NodeUnreachable, title)));
            }
        };
        if response.status().is_success() {
            return Ok(Download { response, limit, address });
        }
        let status = response.status();
        let body = response.bytes().await.unwrap_or_default();
        Err(match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => failure(problem),
            Err(_) => failure(
                Problem::new(Code::Internal, "the node's answer cannot be read")
                    .detail(format!("status {status}")),
            ),
        })
    }

    /// Sends rows of a backup. Safe to repeat: a row that was restored is restored again.
    pub async fn restore_rows(&self, rows: &[u8]) -> Result<Restored, Failure> {
        let query = [("timeout_ms", self.options.timeout.as_millis().to_string())];
        self.send(None, |target| {
            target.request(Method::POST, path::RESTORE_ROWS).query(&query).body(rows.to_vec())
        })
        .await
    }

    /// Returns the same client with another time limit for each request.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Client {
        let mut client = self.clone();
        client.options.timeout = timeout;
        client
    }

    /// Returns the time limit of each request.
    pub fn timeout(&self) -> Duration {
        self.options.timeout
    }
}

/// Returns whether another node may make the backup that this one does not.
fn is_for_another(code: Code) -> bool {
    matches!(
        code,
        Code::NodeUnreachable
            | Code::NotAllowed
            | Code::Sealed
            | Code::NoCluster
            | Code::NoLeader
            | Code::BackupBusy
            | Code::NotFound
    )
}
