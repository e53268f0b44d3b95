//! placeholder
use super::Done;
pub(super) async fn run() -> Done {
    Ok(0)
}
