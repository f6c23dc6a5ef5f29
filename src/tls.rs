//! TLS in both directions: the files that people make with openssl, whom they let us trust, and every refusal
//! in words.
//!
//! What a listener of the embedded broker and a connection to a broker elsewhere have in common. Who listens
//! and who connects is not known here.

mod curves;
mod facts;
mod files;
mod names;
mod own;
mod provider;
mod recipe;
mod refusal;
#[cfg(test)]
mod tests;
mod trust;
mod words;

pub use self::facts::Facts;
pub use self::files::{Fault, authorities, certificates, private_key, sentence};
pub use self::own::{Unusable, own};
pub use self::provider::provider;
pub use self::trust::{Anchors, ClientTrust, ServerTrust};
pub use self::words::{Side, explained};
