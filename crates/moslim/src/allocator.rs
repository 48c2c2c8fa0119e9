//! How memory is taken from the operating system.

/// Lets the C library keep what was freed, for processes that take large blocks again and again.
///
/// As it is set otherwise, glibc gives blocks above 32 MB and the top of the heap back at once, and every new tensor pays for fresh pages.
/// There are as many heaps as cores: what a thread has freed in one of its own, others cannot take.
/// Call it before other threads are there; with another C library it does nothing.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code, reason = "a setting of the C library")]
    {
        const NEVER: libc::c_int = libc::c_int::MAX;
        const STEP: libc::c_int = 64 << 20;
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as libc::c_int);
        let settings = [
            (libc::M_MMAP_MAX, 0),
            (libc::M_TRIM_THRESHOLD, NEVER),
            (libc::M_TOP_PAD, STEP),
            (libc::M_ARENA_MAX, cores),
        ];
        for (parameter, value) in settings {
            // SAFETY: these parameters take any number.
            unsafe { libc::mallopt(parameter, value) };
        }
    }
}

/// Gives what was freed back to the operating system, so that what is resident is what is in use; with another C library nothing.
pub(crate) fn give_back_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code, reason = "a function of the C library")]
    // SAFETY: it takes any number and touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
