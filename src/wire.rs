//! JSON to vocabulary and back: the members, sizes and shapes of requests, results and errors.
//!
//! The names and meanings are a contract with clients that exist; see `docs/wire.md`. Topics
//! are not known here. [`client`] is the side that asks, the rest the one that answers.

mod answer;
pub mod client;
mod diagnose;
mod parse;
mod plain;
mod write;

pub(crate) use self::answer::is_answer;
pub use self::parse::Limits;
#[doc(hidden)]
pub use self::parse::{Rejected, parse_request, parse_request_of};
pub use self::write::Members;
#[doc(hidden)]
pub use self::write::{Answer, Contributions, write_error, write_result};
