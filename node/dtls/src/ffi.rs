//! OpenSSL calls missing in the `openssl` crate, each behind a safe function.
//!
//! Two arguments hold for all of them. A reference of the `openssl` crate proves that its object is
//! alive. OpenSSL objects have no lock, and no other thread uses one meanwhile: the caller owns the
//! `Ssl` or the builder, and callbacks run within such a call. No callback unwinds into C: the code
//! in it cannot panic, or the panic is caught.

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
    ticket::{Subkey, decode_chain, encode_chain},
};

/// OpenSSL's `BIO_ADDR`. Opaque: only its address is passed on.
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
type MakeTicketCallback = unsafe extern "C" fn(*mut sys::SSL, *mut c_void) -> c_int;
type OpenTicketCallback = unsafe extern "C" fn(
    *mut sys::SSL,
    *mut sys::SSL_SESSION,
    *const c_uchar,
    usize,
    c_int,
    *mut c_void,
) -> c_int;
type TimerCallback = unsafe extern "C" fn(*mut sys::SSL, c_uint) -> c_uint;

// Signatures as in ssl.h, bio.h, x509_vfy.h and params.h of OpenSSL 3.6. It is built from source
// with this crate, so the headers always match.
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
    fn SSL_CTX_set_session_ticket_cb(
        context: *mut sys::SSL_CTX,
        make: MakeTicketCallback,
        open: OpenTicketCallback,
        argument: *mut c_void,
    ) -> c_int;
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
    fn SSL_SESSION_get0_peer(session: *mut sys::SSL_SESSION) -> *mut sys::X509;
    fn SSL_SESSION_get0_ticket_appdata(
        session: *mut sys::SSL_SESSION,
        data: *mut *mut c_void,
        length: *mut usize,
    ) -> c_int;
    fn SSL_SESSION_set1_ticket_appdata(
        session: *mut sys::SSL_SESSION,
        data: *const c_void,
        length: usize,
    ) -> c_int;
    fn SSL_SESSION_set_timeout(session: *mut sys::SSL_SESSION, seconds: c_long) -> c_long;
    fn SSL_has_pending(ssl: *const sys::SSL) -> c_int;
    fn SSL_set_options(ssl: *mut sys::SSL, options: u64) -> u64;
    fn X509_STORE_CTX_get0_untrusted(store: *const sys::X509_STORE_CTX) -> *mut sys::stack_st_X509;
}

const DTLS_CTRL_GET_TIMEOUT: c_int = 73;
const DTLS_CTRL_HANDLE_TIMEOUT: c_int = 74;
const SSL_CTRL_SET_MAX_CERT_LIST: c_int = 51;

/// Returns the ex-data index of the [`Terms`] in each `Ssl`.
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

/// Adds a certificate with its key and chain.
pub(crate) fn add_credential(
    builder: &mut SslContextBuilder,
    certificate: &X509Ref,
    key: &PKey<Private>,
    chain: &Stack<X509>,
) -> Result<(), ErrorStack> {
    // SAFETY: all four objects are alive during the call; OpenSSL takes its own references.
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

/// Sets how long sessions of the context can be resumed.
pub(crate) fn set_session_seconds(builder: &mut SslContextBuilder, seconds: u32) {
    // SAFETY: sets a number in a context that is alive.
    unsafe { SSL_CTX_set_timeout(builder.as_ptr(), c_long::from(seconds)) };
}

/// Installs the callbacks for tickets: [`ticket`] for their keys, [`make_ticket`] for what they hold
/// besides the session, and [`open_ticket`] for the decision whether a session resumes.
pub(crate) fn set_ticket_keys(builder: &mut SslContextBuilder) -> Result<(), ErrorStack> {
    // SAFETY: the callbacks are functions with the right signatures, and use no argument.
    let done = unsafe {
        SSL_CTX_set_tlsext_ticket_key_evp_cb(builder.as_ptr(), ticket) == 1
            && SSL_CTX_set_session_ticket_cb(
                builder.as_ptr(),
                make_ticket,
                open_ticket,
                ptr::null_mut(),
            ) == 1
    };
    if done { Ok(()) } else { Err(ErrorStack::get()) }
}

/// Installs [`decide`] as the verification of client certificates, in place of OpenSSL's.
pub(crate) fn set_client_decision(builder: &mut SslContextBuilder) {
    // SAFETY: the callback is a function with the right signature, and uses no argument.
    unsafe { SSL_CTX_set_cert_verify_callback(builder.as_ptr(), decide, ptr::null_mut()) };
}

/// Bounds the size of a client's handshake messages. OpenSSL's default is 100 KiB, and it takes the
/// largest record at least.
pub(crate) fn set_message_bytes_max(builder: &mut SslContextBuilder, bytes: u32) {
    let max = c_long::from(bytes);
    // SAFETY: this control sets a number in a context that is alive.
    unsafe {
        sys::SSL_CTX_ctrl(builder.as_ptr(), SSL_CTRL_SET_MAX_CERT_LIST, max, ptr::null_mut())
    };
}

/// Sets options of one session.
pub(crate) fn set_options(ssl: &Ssl, options: SslOptions) {
    // SAFETY: sets bits in an object that is alive.
    unsafe { SSL_set_options(ssl.as_ptr(), options.bits()) };
}

/// Returns whether records of a partially read datagram are left.
pub(crate) fn has_pending(ssl: &SslRef) -> bool {
    // SAFETY: only reads an object that is alive.
    unsafe { SSL_has_pending(ssl.as_ptr()) == 1 }
}

/// Sets the largest size of later datagrams. Returns whether OpenSSL accepts it.
pub(crate) fn set_mtu(ssl: &SslRef, bytes: u16) -> bool {
    // SAFETY: sets a number in an object that is alive.
    unsafe { sys::SSL_set_mtu(ssl.as_ptr(), c_long::from(bytes)) > 0 }
}

/// Processes the queued ClientHello as the one after a HelloVerifyRequest, so that OpenSSL
/// continues with the right message numbers and handshake hash.
pub(crate) fn listen(ssl: &SslRef) -> Result<bool, ErrorStack> {
    // SAFETY: the address is made and freed here, and is not used if it could not be made. The
    // queue of `ssl` is set, and does not report `WouldBlock` before the ClientHello is read.
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

/// Shortens the first retransmission timeout, which is 1 s by default.
pub(crate) fn set_retransmit_timer(ssl: &SslRef) {
    // SAFETY: the callback is a function with the right signature, and uses no pointer.
    unsafe { DTLS_set_timer_cb(ssl.as_ptr(), next_timeout) };
}

extern "C" fn next_timeout(_: *mut sys::SSL, last_us: c_uint) -> c_uint {
    let us = |time: Duration| c_uint::try_from(time.as_micros()).unwrap_or(c_uint::MAX);
    let doubled = last_us.saturating_mul(2);
    doubled.clamp(us(limits::RETRANSMIT_FIRST), us(limits::RETRANSMIT_MAX))
}

/// Returns the time until the next retransmission; `None` if none is pending.
pub(crate) fn timer_left(ssl: &SslRef) -> Option<Duration> {
    let mut left = libc::timeval { tv_sec: 0, tv_usec: 0 };
    // SAFETY: this control writes one `struct timeval`, and the pointer is to a valid one.
    let is_set = unsafe {
        sys::SSL_ctrl(ssl.as_ptr(), DTLS_CTRL_GET_TIMEOUT, 0, ptr::from_mut(&mut left).cast())
    };
    let seconds = u64::try_from(left.tv_sec).unwrap_or(0);
    let micros = u64::try_from(left.tv_usec).unwrap_or(0);
    (is_set == 1).then(|| Duration::from_secs(seconds) + Duration::from_micros(micros))
}

/// Retransmits the last flight if it is time. Returns false after the last attempt.
pub(crate) fn repeat_flight(ssl: &SslRef) -> bool {
    // SAFETY: this control takes no argument, and `ssl` is alive.
    unsafe { sys::SSL_ctrl(ssl.as_ptr(), DTLS_CTRL_HANDLE_TIMEOUT, 0, ptr::null_mut()) >= 0 }
}

/// Verification callback for a client's chain. Returns 1 to continue, 0 to end the handshake.
unsafe extern "C" fn decide(store: *mut sys::X509_STORE_CTX, _: *mut c_void) -> c_int {
    // SAFETY: OpenSSL passes a store context that is alive and not shared during this call. Its
    // untrusted certificates are all that the client sent, and are not changed here.
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
    // X509_V_ERR_CERT_REJECTED: the alert is bad_certificate, and the session does not record the
    // certificate as verified.
    const REJECTED: c_int = 28;
    // SAFETY: sets a number in a context that is alive.
    unsafe { sys::X509_STORE_CTX_set_error(store, REJECTED) };
    c_int::from(matches!(judged, Ok(Some(Err(Wrong::IsIgnored)))))
}

/// Calls the decision of the context. Returns `None` if it cannot be called.
fn judge(context: &X509StoreContextRef, chain: &StackRef<X509>) -> Option<Result<(), Wrong>> {
    let ssl = context.ex_data(X509StoreContext::ssl_idx().ok()?)?;
    let terms = terms(ssl)?;
    let presented = chain.iter().map(|x509| x509.to_der()).collect::<Result<Vec<_>, _>>().ok()?;
    let decision = terms.policy.decision.as_ref()?;
    if let Err(why) = decision(&presented) {
        let _ = terms.refusal.set(why); // called once per handshake
        return Some(Err(terms.policy.wrong));
    }
    let now = Asn1Time::from_unix(terms.unix_seconds).ok()?;
    let mut seconds = i64::from(terms.policy.ticket_seconds);
    for x509 in chain {
        let left = now.diff(x509.not_after()).ok()?;
        seconds = seconds.min(i64::from(left.days) * 86_400 + i64::from(left.secs));
    }
    terms.is_expired.store(seconds <= 0, Ordering::Relaxed);
    // SAFETY: the session belongs to `ssl`, which is in its handshake. The call sets a number, or
    // nothing if there is no session.
    unsafe { SSL_SESSION_set_timeout(sys::SSL_get_session(ssl.as_ptr()), seconds.max(1)) };
    Some(Ok(()))
}

/// Ticket key callback: chooses the key that seals (`is_sealing` 1) or opens a ticket. Returns 0
/// for no key, 1 for this key, 2 for this key and a new ticket.
unsafe extern "C" fn ticket(
    ssl: *mut sys::SSL,
    name: *mut c_uchar,
    iv: *mut c_uchar,
    cipher: *mut sys::EVP_CIPHER_CTX,
    mac: *mut sys::EVP_MAC_CTX,
    is_sealing: c_int,
) -> c_int {
    let (name, iv) = (name.cast::<[u8; 16]>(), iv.cast::<[u8; 16]>());
    // SAFETY: OpenSSL passes objects that are alive during this call. The name has 16 bytes, and
    // the initialisation vector EVP_MAX_IV_LENGTH, which is 16. When sealing, they are two arrays
    // to write. When opening, they are parts of the client's ticket and are only read.
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

/// Ticket callback before a ticket is sealed: adds the client's chain without its own certificate,
/// which OpenSSL keeps by itself. Returns 1 to go on.
unsafe extern "C" fn make_ticket(ssl: *mut sys::SSL, _: *mut c_void) -> c_int {
    // SAFETY: OpenSSL passes an object that is alive and not shared during this call. The session is
    // its own and copies the bytes. A resumed session has no chain here, and keeps what it has.
    unsafe {
        let chain = SslRef::from_ptr(ssl).peer_cert_chain();
        let chain = chain.iter().flat_map(|chain| chain.iter());
        let Some(bytes) = chain.map(|x509| x509.to_der().ok()).collect::<Option<Vec<_>>>() else {
            return 1;
        };
        let bytes = encode_chain(&bytes);
        let session = sys::SSL_get_session(ssl);
        if !bytes.is_empty() && bytes.len() <= limits::TICKET_CHAIN_BYTES_MAX && !session.is_null()
        {
            // If it fails, the ticket lacks the chain, and the session may not resume.
            SSL_SESSION_set1_ticket_appdata(session, bytes.as_ptr().cast(), bytes.len());
        }
    }
    1
}

/// Ticket callback after a ticket was opened (`status` 5, or 6 if a new one is due) or not. Returns
/// the same decision, or 2 for a full handshake with a new ticket.
unsafe extern "C" fn open_ticket(
    ssl: *mut sys::SSL,
    session: *mut sys::SSL_SESSION,
    _: *const c_uchar,
    _: usize,
    status: c_int,
    _: *mut c_void,
) -> c_int {
    const OPENED: c_int = 5;
    const OPENED_AND_OLD: c_int = 6;
    let (full_handshake, resumes, resumes_with_new) = (2, 3, 4);
    if session.is_null() || (status != OPENED && status != OPENED_AND_OLD) {
        return full_handshake;
    }
    // SAFETY: OpenSSL passes objects that are alive and not shared during this call. The bytes belong
    // to the session, which is not changed meanwhile.
    let (terms, made, chain) = unsafe {
        let (mut data, mut length) = (ptr::null_mut::<c_void>(), 0);
        let is_read = SSL_SESSION_get0_ticket_appdata(session, &raw mut data, &raw mut length) == 1;
        let sent = match is_read && !data.is_null() {
            true => std::slice::from_raw_parts(data.cast::<u8>().cast_const(), length),
            false => &[],
        };
        let peer = SSL_SESSION_get0_peer(session);
        let own = (!peer.is_null()).then(|| X509Ref::from_ptr(peer).to_der());
        let mut chain = own.into_iter().collect::<Result<Vec<_>, _>>().unwrap_or_default();
        chain.extend(decode_chain(sent));
        (terms(SslRef::from_ptr(ssl)), sys::SSL_SESSION_get_time(session), chain)
    };
    let may =
        catch_unwind(AssertUnwindSafe(|| terms.is_some_and(|terms| terms.resume(made, &chain))));
    match (may, status) {
        (Ok(true), OPENED) => resumes,
        (Ok(true), _) => resumes_with_new,
        _ => full_handshake,
    }
}

fn seal(
    ssl: &SslRef,
    name: &mut [u8; 16],
    iv: &mut [u8; 16],
    cipher: &mut CipherCtxRef,
) -> Option<Subkey> {
    let terms = terms(ssl)?;
    // A session whose client certificate was ignored must not resume as one with that certificate.
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
    // SAFETY: `mac` is the callback's own context. The parameters point to `digest` and a literal.
    // Both end in zero and outlive the call, and OpenSSL copies their contents.
    unsafe {
        let parameters = [
            OSSL_PARAM_construct_utf8_string(c"digest".as_ptr(), digest.as_mut_ptr().cast(), 0),
            sys::OSSL_PARAM_construct_end(),
        ];
        sys::EVP_MAC_init(mac, subkey.mac.as_ptr(), subkey.mac.len(), parameters.as_ptr()) == 1
    }
}

/// Makes a client offer a session.
#[cfg(test)]
pub(crate) fn offer_session(ssl: &Ssl, session: &openssl::ssl::SslSessionRef) {
    // SAFETY: OpenSSL takes its own reference, and refuses a session of an incompatible context.
    assert_eq!(unsafe { sys::SSL_set_session(ssl.as_ptr(), session.as_ptr()) }, 1);
}
