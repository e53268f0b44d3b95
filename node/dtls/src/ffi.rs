//! The calls of OpenSSL that the `openssl` crate lacks, each behind a safe function.
//!
//! What holds for all of them: a reference of the `openssl` crate is proof that its object is
//! alive and, as OpenSSL objects have no lock, that no other thread uses it meanwhile (`Ssl` and
//! the builder are owned by whoever calls; the callbacks run within such a call). No callback
//! unwinds into C: what they call is either free of panics or caught.

#![expect(unsafe_code, reason = "foreign functions; argued at each place")]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    sync::{Arc, OnceLock, atomic::Ordering},
    time::Duration,
};

use foreign_types::{ForeignType, ForeignTypeRef};
use libc::{c_char, c_int, c_long, c_uchar, c_uint, c_void};
use openssl::{
    asn1::Asn1Time,
    cipher::Cipher,
    cipher_ctx::CipherCtxRef,
    error::ErrorStack,
    ex_data::Index,
    pkey::{PKey, Private},
    rand::rand_bytes,
    ssl::{Ssl, SslContextBuilder, SslOptions, SslRef},
    stack::{Stack, StackRef},
    x509::{X509, X509Ref, X509StoreContext, X509StoreContextRef, X509VerifyResult},
};
use openssl_sys as sys;

use crate::{
    limits,
    terms::{Terms, Wrong},
    ticket::Subkey,
};

/// Opaque to us: only its address is passed on.
enum BioAddr {}

type TicketCallback = unsafe extern "C" fn(
    *mut sys::SSL,
    *mut c_uchar,
    *mut c_uchar,
    *mut sys::EVP_CIPHER_CTX,
    *mut sys::EVP_MAC_CTX,
    c_int,
) -> c_int;
type VerifyCallback = unsafe extern "C" fn(*mut sys::X509_STORE_CTX, *mut c_void) -> c_int;
type TimerCallback = unsafe extern "C" fn(*mut sys::SSL, c_uint) -> c_uint;

// Signatures as in ssl.h, bio.h, x509_vfy.h and params.h of OpenSSL 3.6, which is built from
// source with this crate, so that no other version can come in between.
unsafe extern "C" {
    fn BIO_ADDR_new() -> *mut BioAddr;
    fn BIO_ADDR_free(address: *mut BioAddr);
    fn DTLSv1_listen(ssl: *mut sys::SSL, client: *mut BioAddr) -> c_int;
    fn DTLS_set_timer_cb(ssl: *mut sys::SSL, callback: TimerCallback);
    fn OSSL_PARAM_construct_utf8_string(
        key: *const c_char,
        text: *mut c_char,
        size: usize,
    ) -> sys::OSSL_PARAM;
    fn SSL_CTX_set_cert_verify_callback(
        context: *mut sys::SSL_CTX,
        callback: VerifyCallback,
        argument: *mut c_void,
    );
    fn SSL_CTX_set_timeout(context: *mut sys::SSL_CTX, seconds: c_long) -> c_long;
    fn SSL_CTX_set_tlsext_ticket_key_evp_cb(
        context: *mut sys::SSL_CTX,
        callback: TicketCallback,
    ) -> c_int;
    fn SSL_CTX_use_cert_and_key(
        context: *mut sys::SSL_CTX,
        certificate: *mut sys::X509,
        key: *mut sys::EVP_PKEY,
        chain: *mut sys::stack_st_X509,
        replace: c_int,
    ) -> c_int;
    fn SSL_SESSION_set_timeout(session: *mut sys::SSL_SESSION, seconds: c_long) -> c_long;
    fn SSL_has_pending(ssl: *const sys::SSL) -> c_int;
    fn SSL_set_options(ssl: *mut sys::SSL, options: u64) -> u64;
    fn X509_STORE_CTX_get0_untrusted(store: *const sys::X509_STORE_CTX) -> *mut sys::stack_st_X509;
}

const DTLS_CTRL_GET_TIMEOUT: c_int = 73;
const DTLS_CTRL_HANDLE_TIMEOUT: c_int = 74;
const SSL_CTRL_SET_MAX_CERT_LIST: c_int = 51;

/// Where each `Ssl` keeps its [`Terms`].
pub(crate) fn terms_index() -> Result<Index<Ssl, Arc<Terms>>, ErrorStack> {
    static INDEX: OnceLock<Index<Ssl, Arc<Terms>>> = OnceLock::new();
    if let Some(index) = INDEX.get() {
        return Ok(*index);
    }
    let index = Ssl::new_ex_index()?;
    Ok(*INDEX.get_or_init(|| index))
}

fn terms(ssl: &SslRef) -> Option<Arc<Terms>> {
    ssl.ex_data(terms_index().ok()?).cloned()
}

/// Adds a certificate with its key and its own chain.
pub(crate) fn add_credential(
    builder: &mut SslContextBuilder,
    certificate: &X509Ref,
    key: &PKey<Private>,
    chain: &Stack<X509>,
) -> Result<(), ErrorStack> {
    // SAFETY: all four are alive for the call; OpenSSL takes references of its own to each.
    let done = unsafe {
        SSL_CTX_use_cert_and_key(
            builder.as_ptr(),
            certificate.as_ptr(),
            key.as_ptr(),
            chain.as_ptr(),
            1,
        )
    };
    if done == 1 { Ok(()) } else { Err(ErrorStack::get()) }
}

/// How long the context's sessions can be resumed.
pub(crate) fn set_session_seconds(builder: &mut SslContextBuilder, seconds: u32) {
    // SAFETY: sets a number of a context that is alive.
    unsafe { SSL_CTX_set_timeout(builder.as_ptr(), c_long::from(seconds)) };
}

/// Lets [`ticket`] choose the keys of tickets.
pub(crate) fn set_ticket_keys(builder: &mut SslContextBuilder) -> Result<(), ErrorStack> {
    // SAFETY: the callback is a function and has the signature that is asked for.
    let done = unsafe { SSL_CTX_set_tlsext_ticket_key_evp_cb(builder.as_ptr(), ticket) };
    if done == 1 { Ok(()) } else { Err(ErrorStack::get()) }
}

/// Lets [`decide`] judge client certificates instead of OpenSSL.
pub(crate) fn set_client_decision(builder: &mut SslContextBuilder) {
    // SAFETY: the callback is a function with the right signature, and uses no argument.
    unsafe { SSL_CTX_set_cert_verify_callback(builder.as_ptr(), decide, ptr::null_mut()) };
}

/// Bounds what a client can have kept of its messages; OpenSSL's default is 100 KiB.
pub(crate) fn set_message_bytes_max(builder: &mut SslContextBuilder) {
    let max = c_long::from(limits::CLIENT_CHAIN_BYTES_MAX);
    // SAFETY: this control sets a number of a context that is alive.
    unsafe {
        sys::SSL_CTX_ctrl(builder.as_ptr(), SSL_CTRL_SET_MAX_CERT_LIST, max, ptr::null_mut())
    };
}

/// Options of one session.
pub(crate) fn set_options(ssl: &Ssl, options: SslOptions) {
    // SAFETY: sets bits of an object that is alive.
    unsafe { SSL_set_options(ssl.as_ptr(), options.bits()) };
}

/// Whether records are left of a datagram that has been read.
pub(crate) fn has_pending(ssl: &SslRef) -> bool {
    // SAFETY: looks at an object that is alive.
    unsafe { SSL_has_pending(ssl.as_ptr()) == 1 }
}

/// Largest datagram from now on; whether OpenSSL takes it.
pub(crate) fn set_mtu(ssl: &SslRef, bytes: u16) -> bool {
    // SAFETY: sets a number of an object that is alive.
    unsafe { sys::SSL_set_mtu(ssl.as_ptr(), c_long::from(bytes)) > 0 }
}

/// Takes the ClientHello that stands in the queue as the one after the HelloVerifyRequest, so
/// that message numbers and hash go on from there.
pub(crate) fn listen(ssl: &SslRef) -> Result<bool, ErrorStack> {
    // SAFETY: the address is made and freed here, and not used if it could not be made. The
    // queue of `ssl` is set, and never says that it would block before the ClientHello is read.
    let answer = unsafe {
        let address = BIO_ADDR_new();
        if address.is_null() {
            return Err(ErrorStack::get());
        }
        let answer = DTLSv1_listen(ssl.as_ptr(), address);
        BIO_ADDR_free(address);
        answer
    };
    Ok(answer == 1)
}

/// Shortens the time to the first retransmission, which is 1 s by default.
pub(crate) fn set_retransmit_timer(ssl: &SslRef) {
    // SAFETY: the callback is a function with the right signature, and looks at no pointer.
    unsafe { DTLS_set_timer_cb(ssl.as_ptr(), next_timeout) };
}

extern "C" fn next_timeout(_: *mut sys::SSL, last_us: c_uint) -> c_uint {
    let us = |time: Duration| c_uint::try_from(time.as_micros()).unwrap_or(c_uint::MAX);
    let doubled = last_us.saturating_mul(2);
    doubled.clamp(us(limits::RETRANSMIT_FIRST), us(limits::RETRANSMIT_MAX))
}

/// Time until the last flight is to be repeated; `None` if it is not.
pub(crate) fn timer_left(ssl: &SslRef) -> Option<Duration> {
    let mut left = libc::timeval { tv_sec: 0, tv_usec: 0 };
    // SAFETY: this control writes one `struct timeval` where it is told to, and it may.
    let is_set = unsafe {
        sys::SSL_ctrl(ssl.as_ptr(), DTLS_CTRL_GET_TIMEOUT, 0, ptr::from_mut(&mut left).cast())
    };
    let seconds = u64::try_from(left.tv_sec).unwrap_or(0);
    let micros = u64::try_from(left.tv_usec).unwrap_or(0);
    (is_set == 1).then(|| Duration::from_secs(seconds) + Duration::from_micros(micros))
}

/// Repeats the last flight if it is time; false when it has been repeated too often.
pub(crate) fn repeat_flight(ssl: &SslRef) -> bool {
    // SAFETY: this control takes no argument, and `ssl` is alive.
    unsafe { sys::SSL_ctrl(ssl.as_ptr(), DTLS_CTRL_HANDLE_TIMEOUT, 0, ptr::null_mut()) >= 0 }
}

/// Judges the chain that a client presents: 1 goes on, 0 ends the handshake.
unsafe extern "C" fn decide(store: *mut sys::X509_STORE_CTX, _: *mut c_void) -> c_int {
    // SAFETY: OpenSSL passes a store context that is alive for this call and that nobody else
    // uses; its untrusted certificates are all that the client sent, and are not changed here.
    let (context, chain) = unsafe {
        let chain = X509_STORE_CTX_get0_untrusted(store);
        if chain.is_null() {
            return 0;
        }
        (X509StoreContextRef::from_ptr_mut(store), StackRef::<X509>::from_ptr(chain))
    };
    let judged = catch_unwind(AssertUnwindSafe(|| judge(context, chain)));
    if judged.as_ref().is_ok_and(|verdict| *verdict == Some(Ok(()))) {
        context.set_error(X509VerifyResult::OK);
        return 1;
    }
    // X509_V_ERR_CERT_REJECTED: the client is told bad_certificate, and no ticket says otherwise.
    const REJECTED: c_int = 28;
    // SAFETY: sets a number of a context that is alive.
    unsafe { sys::X509_STORE_CTX_set_error(store, REJECTED) };
    c_int::from(matches!(judged, Ok(Some(Err(Wrong::IsIgnored)))))
}

/// `None`: nobody could be asked.
fn judge(context: &X509StoreContextRef, chain: &StackRef<X509>) -> Option<Result<(), Wrong>> {
    let ssl = context.ex_data(X509StoreContext::ssl_idx().ok()?)?;
    let terms = terms(ssl)?;
    let presented = chain.iter().map(|x509| x509.to_der()).collect::<Result<Vec<_>, _>>().ok()?;
    let decision = terms.policy.decision.as_ref()?;
    if let Err(why) = decision(&presented) {
        let _ = terms.refusal.set(why); // one chain, one verdict
        return Some(Err(terms.policy.wrong));
    }
    let now = Asn1Time::from_unix(terms.unix_seconds).ok()?;
    let mut seconds = i64::from(terms.policy.ticket_seconds);
    for x509 in chain {
        let left = now.diff(x509.not_after()).ok()?;
        seconds = seconds.min(i64::from(left.days) * 86_400 + i64::from(left.secs));
    }
    terms.is_expired.store(seconds <= 0, Ordering::Relaxed);
    // SAFETY: the session belongs to `ssl`, which is in its handshake; a number is set, and
    // nothing is if there is no session.
    unsafe { SSL_SESSION_set_timeout(sys::SSL_get_session(ssl.as_ptr()), seconds.max(1)) };
    Some(Ok(()))
}

/// Chooses the key that seals (`is_sealing` 1) or opens a ticket: 0 none, 1 this one, 2 this one
/// but give a new ticket.
unsafe extern "C" fn ticket(
    ssl: *mut sys::SSL,
    name: *mut c_uchar,
    iv: *mut c_uchar,
    cipher: *mut sys::EVP_CIPHER_CTX,
    mac: *mut sys::EVP_MAC_CTX,
    is_sealing: c_int,
) -> c_int {
    let (name, iv) = (name.cast::<[u8; 16]>(), iv.cast::<[u8; 16]>());
    // SAFETY: OpenSSL passes objects that are alive for this call. The name has 16 bytes and the
    // initialisation vector EVP_MAX_IV_LENGTH, which is 16; they are two arrays to be written
    // when sealing, and two parts of the client's ticket, only to be read, when opening.
    let chosen = unsafe {
        let (ssl, cipher) = (SslRef::from_ptr(ssl), CipherCtxRef::from_ptr_mut(cipher));
        if is_sealing == 1 {
            seal(ssl, &mut *name, &mut *iv, cipher).map(|subkey| (subkey, 1))
        } else {
            open(ssl, &*name, &*iv, cipher)
        }
    };
    chosen.map_or(0, |(subkey, answer)| if set_mac(mac, &subkey) { answer } else { 0 })
}

fn seal(
    ssl: &SslRef,
    name: &mut [u8; 16],
    iv: &mut [u8; 16],
    cipher: &mut CipherCtxRef,
) -> Option<Subkey> {
    let terms = terms(ssl)?;
    // A session whose client certificate was ignored is not to be resumed as one that has it.
    if terms.refusal.get().is_some() || terms.is_expired.load(Ordering::Relaxed) {
        return None;
    }
    let key = terms.tickets.as_ref()?.seal.as_ref()?;
    let subkey = key.subkey(&terms.policy.binding)?;
    rand_bytes(iv).ok()?;
    cipher.encrypt_init(Some(Cipher::aes_256_cbc()), Some(&*subkey.cipher), Some(&*iv)).ok()?;
    name.copy_from_slice(key.name());
    Some(subkey)
}

fn open(
    ssl: &SslRef,
    name: &[u8; 16],
    iv: &[u8; 16],
    cipher: &mut CipherCtxRef,
) -> Option<(Subkey, c_int)> {
    let terms = terms(ssl)?;
    let tickets = terms.tickets.as_ref()?;
    let key = tickets.named(name)?;
    let subkey = key.subkey(&terms.policy.binding)?;
    cipher.decrypt_init(Some(Cipher::aes_256_cbc()), Some(&*subkey.cipher), Some(iv)).ok()?;
    Some((subkey, if tickets.is_sealing(key) { 1 } else { 2 }))
}

fn set_mac(mac: *mut sys::EVP_MAC_CTX, subkey: &Subkey) -> bool {
    let mut digest = *b"SHA256\0";
    // SAFETY: `mac` is the context that the callback was given. The parameters point to `digest`
    // and a literal, which both end in zero and outlive the call; OpenSSL copies what they say.
    unsafe {
        let parameters = [
            OSSL_PARAM_construct_utf8_string(c"digest".as_ptr(), digest.as_mut_ptr().cast(), 0),
            sys::OSSL_PARAM_construct_end(),
        ];
        sys::EVP_MAC_init(mac, subkey.mac.as_ptr(), subkey.mac.len(), parameters.as_ptr()) == 1
    }
}

/// Has a client offer a session.
#[cfg(test)]
pub(crate) fn offer_session(ssl: &Ssl, session: &openssl::ssl::SslSessionRef) {
    // SAFETY: OpenSSL takes a reference of its own; a session of another kind of context is
    // refused by it.
    assert_eq!(unsafe { sys::SSL_set_session(ssl.as_ptr(), session.as_ptr()) }, 1);
}
