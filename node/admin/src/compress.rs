//! Which answers are compressed: those to reads, if they are long and JSON.
//!
//! An answer to a change may hold a new secret beside words of the caller, and the length of both
//! together would tell about the secret (the attack BREACH). Pages in HTML are not compressed either.

use axum::http::{Response, header::CONTENT_TYPE};
use tower_http::compression::{
    CompressionLayer,
    predicate::{Predicate, SizeAbove},
};

/// Shortest answer that is compressed, in bytes.
const BYTES_MIN: u16 = 1_024;

/// The mark of an answer that may be compressed.
#[derive(Debug, Clone, Copy)]
pub(super) struct MayCompress;

/// Which answers are compressed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Compressible(SizeAbove);

impl Predicate for Compressible {
    fn should_compress<B: axum::body::HttpBody>(&self, answer: &Response<B>) -> bool {
        let media = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_json = media.is_some_and(|media| media.starts_with("application/json"));
        let is_marked = answer.extensions().get::<MayCompress>().is_some();
        is_json && is_marked && self.0.should_compress(answer)
    }
}

/// Compresses answers for clients that say that they read gzip.
pub(super) fn layer() -> CompressionLayer<Compressible> {
    CompressionLayer::new().compress_when(Compressible(SizeAbove::new(BYTES_MIN)))
}
