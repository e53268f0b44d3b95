//! The style, the script and the sign of the page.

use axum::{
    extract::Path,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    },
    response::{IntoResponse, Response},
};
use data_encoding::HEXLOWER;
use ring::digest::{SHA256, digest};

const FILES: [(&str, &str, &str); 3] = [
    ("style.css", "text/css; charset=utf-8", include_str!("../assets/style.css")),
    ("page.js", "text/javascript; charset=utf-8", include_str!("../assets/page.js")),
    ("icon.svg", "image/svg+xml", include_str!("../assets/icon.svg")),
];

/// Returns the path of a file. It changes with the file, so browsers may keep it for ever.
pub(crate) fn path(name: &str) -> String {
    let found = FILES.iter().find(|(one, ..)| *one == name);
    let hash = found.map(|(.., text)| HEXLOWER.encode(digest(&SHA256, text.as_bytes()).as_ref()));
    let hash = hash.unwrap_or_default();
    format!("/ui/assets/{name}?{}", hash.get(..12).unwrap_or_default())
}

/// Answers one of the files. They are for everybody, as the login needs them.
pub(crate) async fn file(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(one, ..)| *one == name) {
        Some((_, media_type, text)) => {
            let headers = [
                (CONTENT_TYPE, *media_type),
                (CACHE_CONTROL, "public, max-age=31536000, immutable"),
                (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ];
            (headers, *text).into_response()
        }
        None => (StatusCode::NOT_FOUND, "not found\n").into_response(),
    }
}
