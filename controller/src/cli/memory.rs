//! How the server's memory comes from the kernel.
//!
//! glibc gives threads that meet in its allocator heaps of their own, eight for each processor, and what one thread frees in
//! its heap serves no other. The threads here take turns with the same short work, so a thousand jobs were spread over
//! sixteen heaps that were each half free. And it takes every block of 128 KiB and more from the kernel and gives it
//! back at once, which clears each piece of a push anew.
//!
//! Both are numbers in the allocator, and [`tune`] sets them: the one place of this program that calls what Rust cannot
//! check.

/// Heaps for a program with this many processors.
#[cfg(target_env = "gnu")]
fn heaps(processors: usize) -> i32 {
    if processors <= 2 { 2 } else { 4 }
}

/// Smallest block that is given back by itself, in bytes. Blocks of pushes have three mebibytes.
#[cfg(target_env = "gnu")]
const GIVEN_BACK: i32 = 8 << 20;

/// How much of the end of a heap may be free before it is given back, in bytes.
#[cfg(target_env = "gnu")]
const KEPT_FREE: i32 = 16 << 20;

/// Sets the numbers. Call it before threads are started: heaps that are there stay. Without glibc it does nothing.
pub fn tune() {
    #[cfg(target_env = "gnu")]
    {
        use nix::libc::{M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD};
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        for (name, number) in
            [(M_ARENA_MAX, heaps(processors)), (M_MMAP_THRESHOLD, GIVEN_BACK), (M_TRIM_THRESHOLD, KEPT_FREE)]
        {
            // SAFETY: mallopt(3) takes two numbers, keeps one under the allocator's own lock and touches nothing else.
            #[expect(unsafe_code, reason = "glibc has no other door to its allocator")]
            let taken = unsafe { nix::libc::mallopt(name, number) };
            if taken == 0 {
                tracing::debug!(name, number, "the allocator did not take a number");
            }
        }
    }
}
