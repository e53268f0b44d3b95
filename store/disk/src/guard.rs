//! Makes sled's syncs reach the device.
//!
//! sled ends each buffer write with `sync_file_range`, and falls back to `File::sync_all` if that
//! returns ENOSYS. This module defines the symbol for the whole process, so that it always returns
//! ENOSYS. A flush needs no second sync: it returns only when every buffer up to the call has been
//! written and synced by this path, in order.
//!
//! Returning success and syncing once after each flush would be cheaper. But then sled could
//! overwrite a segment on the device before its content is stable elsewhere.

#![expect(unsafe_code, reason = "defining and calling one C function; argued at each place")]

use crate::OpenError;

// SAFETY: the definition has libc's signature, touches no pointer and only sets errno. Any other
// caller of `sync_file_range` in this process also gets ENOSYS, which every caller must expect from
// a kernel without the call.
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

/// Checks that sled's calls reach the definition above: libc's own would return EBADF.
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
