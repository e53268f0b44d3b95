//! Words of documents: applying and exporting.

use std::path::PathBuf;

use clap::Args as ClapArgs;

// Arguments of apply. No doc comment, see Global.
#[derive(ClapArgs)]
pub(crate) struct Applying {
    /// Document, TOML or JSON; - for standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Remove what the sections of the document do not name; Main Domains stay
    #[arg(long)]
    pub(crate) prune: bool,
    /// Only show what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask before removing
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

// Arguments of export. No doc comment, see Global.
#[derive(ClapArgs)]
pub(crate) struct Exporting {
    /// Directory for the document, with a file for each certificate; it is made if it is missing
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) dir: Option<PathBuf>,
}
