//! Makes sled sync for real.
//!
//! sled ends each buffer write with `sync_file_range`; where that answers ENOSYS it calls
//! `File::sync_all`. This module defines the symbol for the whole process, so that it always
//! does. One device sync per flush is enough: `flush` returns only when every buffer up to the
//! call has been written and synced by this very path, in order.

#![expect(unsafe_code, reason = "defining and calling one C function; argued at each place")]

use crate::OpenError;

// SAFETY: the definition has libc's signature, touches no pointer and only sets errno. Nothing
// else in this process may call `sync_file_range`; whoever does is told that it does not exist,
// which every caller must expect from a kernel without it.
#[unsafe(no_mangle)]
extern "C" fn sync_file_range(
    _descriptor: libc::c_int,
    _offset: libc::off64_t,
    _length: libc::off64_t,
    _flags: libc::c_uint,
) -> libc::c_int {
    // SAFETY: errno of the calling thread is always valid to write.
    unsafe { *libc::__errno_location() = libc::ENOSYS };
    -1
}

/// Proves that the symbol that sled calls is the one above: libc's own would answer EBADF.
pub fn self_check() -> Result<(), OpenError> {
    // SAFETY: descriptor -1 is never open, so even libc's own would do nothing.
    let answer = unsafe { libc::sync_file_range(-1, 0, 0, 0) };
    let errno = std::io::Error::last_os_error().raw_os_error();
    if answer == -1 && errno == Some(libc::ENOSYS) { Ok(()) } else { Err(OpenError::GuardMissing) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_guard_is_in_force_in_every_program_that_links_this_crate() {
        super::self_check().unwrap();
    }
}
