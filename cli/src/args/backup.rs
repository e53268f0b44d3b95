//! Words for backups.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Subcommand)]
pub(crate) enum Backup {
    /// Makes a key pair for backups: FILE gets the private key, which never belongs on a node
    #[command(
        after_help = "Examples:\n  conclave backup keygen --out backup.key\n  conclave -q backup keygen --out backup.key > recipient.txt\nThe tool age-keygen makes the same."
    )]
    Keygen {
        /// New file for the private key, readable by you alone
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Writes a backup of the whole cluster, encrypted to a recipient
    #[command(
        after_help = "Examples:\n  conclave backup create --recipient age1... --out prod.backup\n  conclave backup create --recipient age1... --out-dir /backup --keep 14"
    )]
    Create(Creating),
    /// Shows the header of a backup and checks its signature, without a private key
    #[command(
        after_help = "Examples:\n  conclave backup inspect prod.backup\n  conclave backup inspect prod.backup -o json"
    )]
    Inspect {
        #[command(flatten)]
        source: Source,
    },
    /// Restores a backup in memory only and says what is wrong; exit code 9 if anything is
    #[command(
        after_help = "Examples:\n  conclave backup verify prod.backup --identity backup.key\n  conclave backup verify prod.backup --identity backup.key --authority FINGERPRINT"
    )]
    Verify {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        opening: Opening,
    },
    /// Founds a new cluster from a backup, on a node that belongs to none
    #[command(
        after_help = "Examples:\n  conclave backup restore prod.backup --identity backup.key\n  conclave backup restore prod.backup --identity backup.key --name prod-2"
    )]
    Restore {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        opening: Opening,
        /// Name of the new cluster [default: that of the old one]
        #[arg(long)]
        name: Option<String>,
    },
}

#[derive(Args)]
pub(crate) struct Creating {
    /// Public key to encrypt to, age1...; may be given several times, any one key opens it
    #[arg(long, required = true, value_name = "age1...")]
    pub(crate) recipient: Vec<String>,
    /// File for the backup; an existing one is replaced once the new one is complete
    #[arg(long, value_name = "FILE", required_unless_present = "out_dir")]
    pub(crate) out: Option<PathBuf>,
    /// Directory for the backup, under a name with the cluster and the time
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    pub(crate) out_dir: Option<PathBuf>,
    /// Keep the newest N backups of this cluster in the directory, and remove older ones
    #[arg(long, value_name = "N", requires = "out_dir")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep: Option<u32>,
    /// Back up the domains that are local to the asked node, too
    #[arg(long)]
    pub(crate) include_local: bool,
}

// A backup file. No doc comment, see Global.
#[derive(Args)]
pub(crate) struct Source {
    /// File with the backup
    pub(crate) file: PathBuf,
    /// Fingerprint of the cluster that must have made it [default: any cluster]
    #[arg(long, value_name = "FINGERPRINT")]
    pub(crate) authority: Option<String>,
}

// What opens a backup. No doc comment, see Global.
#[derive(Args)]
pub(crate) struct Opening {
    /// File with the private key of a recipient
    #[arg(long, value_name = "KEYFILE")]
    pub(crate) identity: PathBuf,
}
