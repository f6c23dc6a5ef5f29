//! The `nearfar` program: the library's command line, on an allocator of its own.

use std::process::ExitCode;

/// Gives what is free back to the system within some seconds, from a thread of its own. glibc's allocator,
/// which the library and other systems keep, holds what lies below the last piece that is in use for ever.
#[cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    nearfar::main()
}
