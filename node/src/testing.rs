//! Work with the data of a node that does not run: many domains or accounts at once, and what its
//! secrets hold.

mod accounts;

use std::{fs::File, io, ops::Range, path::Path, sync::Arc, time::Duration};

use conclave_api::problem::Problem;
use conclave_cluster::{
    admit,
    config::Config,
    fault::internal,
    membership::Membership,
    node::Node,
    replica::{Replica, Wait},
};
use conclave_keys::{Keyring, Purpose};
use conclave_pki::{
    certificate::Certificate,
    issue::{self, Validity},
    key::{KeyAlgorithm, PrivateKey},
};
use conclave_store::{
    command::{Action, Command, CreateDomain, SetCertificate},
    id::{DomainId, DomainName, NodeId},
    outcome::Outcome,
    record::{PkiMode, RowKey},
    scope::Scope,
    wire,
};
use conclave_system::{clock, entropy};
use serde_bytes::ByteBuf;
use tokio::task::JoinSet;

use crate::boot;

pub use accounts::fill_accounts;

/// Most commands in flight.
const IN_FLIGHT: usize = 2_048;
/// Number of keys for all domains, which share them because making keys would take most of the
/// time. Each domain has its own sealed copy.
const KEYS: u64 = 1_024;
/// Longest time for one command. The disk may be slow.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Longest time until the databases are closed: what the log has and they have not is written first.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(600);
const DAYS: u64 = 90;

/// Makes the domains `d{number}.example` for all `numbers` in a cluster with a single member, whose
/// process must not run. Each domain is enabled and has a P-256 key and a certificate. One
/// authority issues all certificates and is their chain. The domains share 1,024 keys. The commands
/// go through Raft's log, so that the disk looks as after real changes.
pub fn fill(config: &Path, numbers: Range<u64>) -> Result<(), Box<Problem>> {
    stopped(config, async |node, replica| {
        let filling = Arc::new(Filling::new(replica.clone(), Arc::clone(node.keyring()))?);
        let one = move |number| {
            let filling = Arc::clone(&filling);
            async move { filling.domain(number).await }
        };
        all(numbers, one).await
    })
}

/// Makes one object for each number, many at once.
async fn all<F>(numbers: Range<u64>, one: impl Fn(u64) -> F) -> Result<(), Problem>
where
    F: Future<Output = Result<(), Problem>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for number in numbers {
        if tasks.len() == IN_FLIGHT
            && let Some(done) = tasks.join_next().await
        {
            done.map_err(|error| internal("filling", error))??;
        }
        tasks.spawn(one(number));
    }
    tasks.join_all().await.into_iter().collect()
}

/// Opens all secrets in the State of a node whose process does not run, by its own unlock key.
/// Returns them with the keys of their rows.
pub fn opened(config: &Path) -> Result<Vec<(RowKey, Vec<u8>)>, Box<Problem>> {
    stopped(config, async |node, replica| {
        let point = replica.point();
        let mut all = Vec::new();
        for (key, row) in point.state.rows() {
            let secrets = conclave_keys::opened(node.keyring(), key, &row.record);
            let secrets = secrets.map_err(|error| internal("a secret", error))?;
            all.extend(secrets.iter().map(|secret| (key.clone(), secret.expose().to_vec())));
        }
        Ok(all)
    })
}

/// Works with the data of a node whose process does not run, and closes its databases.
fn stopped<T>(
    config: &Path,
    work: impl AsyncFnOnce(Node, Replica) -> Result<T, Problem>,
) -> Result<T, Box<Problem>> {
    let config = Config::read(config)?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| internal("runtime", error))?;
    let done = runtime.block_on(async {
        let node = boot::assemble(&config)?;
        let membership = Membership::read(node.data_dir()).ok().flatten();
        let membership = membership.ok_or_else(|| internal("this node has no cluster", ""))?;
        let replica = conclave_cluster::life::start(&node, &membership).await?;
        let done = work(node, replica.clone()).await?;
        let stopped = replica.raft().shutdown().await;
        stopped.map_err(|error| internal("the log did not stop cleanly", error))?;
        Ok::<T, Problem>(done)
    });
    drop(runtime);
    let done = done?;
    for home in ["state.v2/db", "local.v2/db"] {
        wait_until_closed(&config.data_dir.join(home))
            .map_err(|error| internal("the databases stay open", error))?;
    }
    Ok(done)
}

/// Waits until a database is closed: its own thread closes it some time after its last user.
#[expect(clippy::disallowed_methods, reason = "there is no event to wait for")]
fn wait_until_closed(path: &Path) -> io::Result<()> {
    let (file, deadline) = (File::open(path)?, std::time::Instant::now() + CLOSE_TIMEOUT);
    while let Err(error) = file.try_lock() {
        if std::time::Instant::now() > deadline {
            return Err(error.into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

struct Filling {
    replica: Replica,
    keyring: Arc<Keyring>,
    authority_key: PrivateKey,
    authority: Certificate,
    keys: Vec<PrivateKey>,
    validity: Validity,
}

impl Filling {
    fn new(replica: Replica, keyring: Arc<Keyring>) -> Result<Filling, Problem> {
        let now = clock::now().0 / 1_000;
        let validity = Validity { not_before: now, not_after: now + DAYS * 24 * 60 * 60 };
        let authority_key = key()?;
        let authority = issue::authority(&authority_key, "Many", entropy::array(), validity)
            .map_err(|error| internal("the authority", error))?;
        let keys = (0..KEYS).map(|_| key()).collect::<Result<_, _>>()?;
        Ok(Filling { replica, keyring, authority_key, authority, keys, validity })
    }

    async fn domain(&self, number: u64) -> Result<(), Problem> {
        let (id, text) = (DomainId(entropy::array()), format!("d{number}.example"));
        let name = DomainName::parse(&text).map_err(|error| internal("a name", error))?;
        self.execute(Action::CreateDomain(CreateDomain {
            id,
            name: name.clone(),
            aliases: Vec::new(),
            addresses: Vec::new(),
            mode: PkiMode::Enabled,
        }))
        .await?;
        let key = self.key(number)?;
        let leaf = issue::server(
            &self.authority_key,
            &self.authority,
            key.public_key_der(),
            std::slice::from_ref(&text),
            entropy::array(),
            self.validity,
        );
        let leaf = leaf.map_err(|error| internal("a certificate", error))?;
        let sealed = self.keyring.seal(Scope::Shared, Purpose::DomainKey(id), key.pkcs8_der());
        let sealed = sealed.map_err(|error| internal("a seal", error))?;
        self.execute(Action::SetCertificate(Box::new(SetCertificate {
            name,
            key: Some(admit::key_record(key, sealed, clock::now())),
            certificate: admit::record_of(&leaf),
            chain: Some(vec![ByteBuf::from(self.authority.der())]),
        })))
        .await
    }

    fn key(&self, number: u64) -> Result<&PrivateKey, Problem> {
        let place = usize::try_from(number % KEYS).unwrap_or(0);
        self.keys.get(place).ok_or_else(|| internal("a key", "missing"))
    }

    async fn execute(&self, action: Action) -> Result<(), Problem> {
        let command = Command::by_node(NodeId(0), entropy::array(), clock::now(), action);
        let bytes = wire::encode_command(&command).map_err(|error| internal("command", error))?;
        let done = self
            .replica
            .execute(&bytes, Wait::Committed, tokio::time::Instant::now() + TIMEOUT)
            .await;
        match done.map_err(|error| internal("not done", error))?.outcome {
            Outcome::Done(_) => Ok(()),
            Outcome::Rejected(rejection) => Err(internal("rejected", rejection)),
        }
    }
}

fn key() -> Result<PrivateKey, Problem> {
    PrivateKey::generate(KeyAlgorithm::EcP256, &mut entropy::fill)
        .map_err(|error| internal("a key", error))
}
