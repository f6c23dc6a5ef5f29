//! The commands, one a file.

pub mod convert;
pub mod infer;
pub mod inspect;
