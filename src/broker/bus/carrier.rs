//! The way of a message through rumqttd's router, and who waits before it.

pub mod backlog;
pub mod lane;
pub mod poison;
pub mod router;
pub mod turnstile;
