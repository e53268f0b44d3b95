//! State (domains, keys, certificates, members) and the rules by which commands change it.
//!
//! Pure: no clock, no randomness, no files, no sockets, no parsing of X.509. Every node that
//! applies the same commands in the same order holds the same [`state::State`], byte for byte.
//!
//! ```
//! use conclave_store::{
//!     command::{Action, Command, CreateDomain},
//!     id::{DomainId, DomainName, LogIndex, OperationId},
//!     machine,
//!     outcome::Outcome,
//!     record::{PkiMode, Principal},
//!     state::State,
//!     time::UnixMillis,
//! };
//!
//! let command = Command {
//!     operation: OperationId::parse("first").unwrap(),
//!     principal: Principal::Socket { uid: 0 },
//!     request: [0; 32],
//!     time: UnixMillis(1_800_000_000_000),
//!     reason: None,
//!     expects: Vec::new(),
//!     action: Action::CreateDomain(CreateDomain {
//!         id: DomainId([7; 16]),
//!         name: DomainName::parse("shop.example").unwrap(),
//!         aliases: Vec::new(),
//!         addresses: Vec::new(),
//!         mode: PkiMode::Test,
//!     }),
//!     origin: None,
//! };
//! let applied = machine::apply(&State::default(), LogIndex(1), &command);
//! assert!(matches!(applied.outcome, Outcome::Done(_)));
//! assert_eq!(applied.state.domains().count(), 1);
//! ```

pub mod change;
pub mod command;
pub mod id;
pub mod limits;
pub mod machine;
pub mod outcome;
pub mod record;
pub mod scope;
pub mod snapshot;
pub mod state;
pub mod time;
pub mod wire;

#[cfg(test)]
#[path = "../../tests/src/samples.rs"]
mod samples;
