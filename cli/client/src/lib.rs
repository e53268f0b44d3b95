//! Client of the admin API: asks any node, and retries where that is safe.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<conclave_api::problem::Problem>> {
//! use conclave_client::{Address, Client, Options};
//!
//! let address: Address = "unix:/run/conclave/admin.sock".parse()?;
//! let client = Client::new(&address, None, Options::default())?;
//! println!("{} nodes", client.status().await?.nodes.len());
//! # Ok(())
//! # }
//! ```

mod address;
mod nouns;
mod request;
mod trust;

pub use address::{ADDRESSES_MAX, AccessToken, Address};
pub use nouns::{AuditFilter, DomainFilter};
pub use request::{Change, Client, Download, Following, Options};

/// Error of a request, reported by a node or by this client.
pub type Failure = Box<conclave_api::problem::Problem>;
