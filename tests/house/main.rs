//! The house itself: what must hold of the source, its pages and its dependencies, whatever the program does.
//!
//! These tests read files of the repository and run nothing.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as a test does")]

/// No crate with a known security advisory in `Cargo.lock`.
mod advisories;
/// Every bound on the page is in the code, with its value.
mod bounds;
/// Which of our modules may import which.
mod import_table;
/// What the page for operators says of each warning and error.
mod log_lines;
/// The paths that a file names.
mod paths;
/// Which rooms inside a module may import which.
mod rooms_table;
/// The files that the others look at.
mod sources;
/// Width, imports and exceptions, where neither `cargo fmt` nor clippy looks.
mod style;
/// The tests' own order.
mod test_binaries;
