//! Asking a cluster: any node, safe retry.
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

pub use address::{AccessToken, Address};
pub use request::{Change, Client, Options};

/// Why an answer is not the wished one.
pub type Failure = Box<conclave_api::problem::Problem>;
