//! Routes of the admin API, one file per noun.

mod account;
mod audit;
mod backup;
mod canary;
mod certificate;
mod chain;
mod client_auth;
mod cluster;
mod csr;
mod domain;
mod event;
mod join_token;
mod key;
mod keyring;
mod listener;
mod load;
mod login;
mod node;
mod openapi;
mod role;
mod smime;
mod status;
mod take_over;
mod tls;
mod token;
mod trust;
mod user;

use axum::{
    Json, Router,
    extract::DefaultBodyLimit,
    http::{HeaderValue, header::CACHE_CONTROL},
    middleware::{from_fn_with_state, map_response},
    response::Response,
    routing::{delete, get, patch, post, put},
};
use conclave_api::{
    limits::BODY_BYTES_MAX,
    path,
    problem::{Code, Problem},
};
use conclave_cluster::node::Node;

use super::{compress, gate, measured, problem::Failed};

/// A JSON answer, or the problem that prevented it.
type Answer<T> = Result<Json<T>, Failed>;

/// Returns the router with every path of the API.
pub fn router(node: Node) -> Router {
    let routes = Router::new()
        .route(path::OPENAPI, get(openapi::show))
        .route(path::STATUS, get(status::show))
        .route(path::EVENTS, get(event::follow))
        .route(path::LOAD, get(load::list))
        .route(path::NODES, get(status::nodes))
        .route(path::NODE, patch(node::set).delete(node::remove))
        .route(path::NODE_EXPOSED, get(node::exposed))
        .route(path::NODE_DRAIN, get(node::show).post(node::drain).delete(node::resume))
        .route(path::NODE_TAKE_OVER, post(take_over::take_over))
        .route(path::CLUSTER, post(cluster::init))
        .route(path::CLUSTER_JOIN, post(cluster::join))
        .route(path::CLUSTER_TRANSFER_LEADER, post(cluster::transfer_leader))
        .route(path::CLUSTER_UPGRADE, get(cluster::upgrade))
        .route(path::CLUSTER_FINALIZE, post(cluster::finalize))
        .route(path::CLUSTER_ROTATE_AUTHORITY, post(cluster::rotate_authority))
        .route(path::CLUSTER_FORGET_AUTHORITY, post(cluster::forget_authority))
        .route(path::BACKUP, post(backup::create))
        .route(path::BACKUP_LAST, put(backup::note))
        .route(path::RESTORE, post(backup::begin))
        .route(path::RESTORE_ROWS, post(backup::rows))
        .route(path::RESTORE_FINISH, post(backup::end))
        .merge(access_routes())
        .merge(mail_routes())
        .route(path::KEYRING, get(keyring::show))
        .route(path::KEYRING_ROTATE, post(keyring::rotate))
        .route(path::KEYRING_UNLOCKING, get(keyring::unlocking))
        .route(path::KEYRING_SEAL, post(keyring::seal))
        .route(path::KEYRING_UNSEAL, post(keyring::unseal))
        .route(path::KEYRING_REKEY, post(keyring::rekey))
        .route(path::DOMAINS, get(domain::list).post(domain::create))
        .route(path::DOMAIN, get(domain::show).patch(domain::set).delete(domain::delete))
        .route(path::KEY, get(key::show).put(key::import).delete(key::remove))
        .route(path::KEY_GENERATE, post(key::generate))
        .route(path::KEY_PENDING, post(key::set_pending).delete(key::remove_pending))
        .route(
            path::CERTIFICATE,
            get(certificate::show).put(certificate::import).delete(certificate::remove),
        )
        .route(path::CERTIFICATE_SELF_SIGN, post(certificate::self_sign))
        .route(path::CERTIFICATE_REFRESH, post(certificate::refresh))
        .route(path::CANARY, post(canary::end))
        .route(path::KEY_TEST, get(key::test))
        .route(path::CSR, get(csr::choices).post(csr::create))
        .route(path::DOMAIN_RENAME, post(domain::rename))
        .route(path::DOMAIN_HISTORY, get(domain::history).post(domain::rollback))
        .route(path::CHAIN, get(chain::show).put(chain::set).delete(chain::remove))
        .route(
            path::CLIENT_AUTH,
            get(client_auth::show).put(client_auth::set).delete(client_auth::clear),
        )
        .route(path::TLS, get(tls::show).patch(tls::set))
        .route(path::TLS_SERVED, get(tls::served))
        .route(path::TLS_SESSIONS, get(tls::sessions))
        .route(path::TLS_FLUSH, post(tls::flush))
        .route(path::LISTENERS, get(listener::list).post(listener::add))
        .route(path::LISTENER, get(listener::show).patch(listener::set).delete(listener::remove))
        .route(path::TRUST, get(trust::list).post(trust::add))
        .route(path::TRUST_REMOVE, post(trust::remove));
    behind_the_gate(routes, node)
}

/// Returns the router with the paths that are for owners of accounts.
pub(crate) fn owner_router(node: Node) -> Router {
    let routes = owner_routes()
        .route(path::ACCOUNT, get(account::show))
        .route(path::WHO_AM_I, get(role::who_am_i));
    behind_the_gate(routes, node)
}

fn behind_the_gate(routes: Router<Node>, node: Node) -> Router {
    routes
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(node.clone(), gate::pass))
        .layer(from_fn_with_state(node.clone(), measured::count))
        .layer(compress::layer())
        .layer(map_response(uncached))
        .with_state(node)
}

/// Routes about who may do what, and what was done.
fn access_routes() -> Router<Node> {
    Router::new()
        .route(path::JOIN_TOKENS, get(join_token::list).post(join_token::create))
        .route(path::JOIN_TOKEN, delete(join_token::revoke))
        .route(path::WHO_AM_I, get(role::who_am_i))
        .route(path::ROLES, get(role::list))
        .route(path::LOGIN, post(login::open).delete(login::close))
        .route(path::USERS, get(user::list).post(user::create))
        .route(path::USER, get(user::show).patch(user::set).delete(user::delete))
        .route(path::USER_CODE, post(user::make_code).delete(user::remove_code))
        .route(path::AUDIT, get(audit::list))
        .route(path::AUDIT_VERIFY, get(audit::verify))
        .route(path::AUDIT_KEEP, put(audit::keep))
        .route(path::TOKENS, get(token::list).post(token::create))
        .route(path::TOKEN, delete(token::revoke))
}

/// Routes for S/MIME.
fn mail_routes() -> Router<Node> {
    Router::new()
        .route(
            path::SMIME,
            get(smime::show).put(smime::import).patch(smime::set).delete(smime::remove),
        )
        .route(
            path::SMIME_RECOVERY_KEY,
            put(smime::set_recovery_key).delete(smime::remove_recovery_key),
        )
        .route(path::SMIME_SELF_SIGN, post(smime::self_sign))
        .route(path::SMIME_REFRESH, post(smime::refresh))
        .route(path::SMIME_CSR, post(smime::create_csr))
        .route(path::SMIME_CHAIN, put(smime::set_chain))
        .route(path::SMIME_CRL, get(smime::crl))
        .route(path::DOMAIN_ACCOUNTS, get(account::list))
        .route(path::ACCOUNTS, post(account::create))
        .route(path::ACCOUNT, get(account::show).delete(account::delete))
        .route(path::ACCOUNT_KEY_RECOVERY, post(account::copy_for_recovery))
        .route(path::ACCOUNT_INVITATION, post(account::invite).delete(account::withdraw))
        .merge(owner_routes())
}

/// Routes that the owner of an account may use too.
fn owner_routes() -> Router<Node> {
    Router::new()
        .route(path::ACCOUNT_LOGIN, post(account::log_in))
        .route(path::ACCOUNT_KEY, post(account::generate_key).put(account::import_key))
        .route(path::ACCOUNT_KEY_EXPORT, post(account::export_key))
        .route(path::ACCOUNT_PASSPHRASE, put(account::set_passphrase))
        .route(path::ACCOUNT_CERTIFICATE, get(account::certificate).post(account::issue))
        .route(path::ACCOUNT_CERTIFICATE_REVOKE, post(account::revoke))
}

/// Forbids caches to keep an answer: it may hold a token.
async fn uncached(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn unknown() -> Failed {
    Problem::new(Code::NotFound, "no such path in this API").into()
}
