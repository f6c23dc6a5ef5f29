//! How a router is ended that offers no way to end it.

use bytes::Bytes;
use rumqttd::protocol::{Packet, Publish};

/// No filter matches it: the router's matching leaves out every topic that starts with `$`.
const POISON_TOPIC: &[u8] = b"$nearfar/end";
/// What rumqttd calls the thread of the router with id 0.
const ROUTER_THREAD: &str = "router-0";

/// A payload that ends the thread of the router which drops it.
///
/// The router holds a sender to its own channel, so it never ends by itself, and it
/// offers no event for it. Unwinding from a drop on its thread ends it;
/// `resume_unwind` does not call the panic hook, so nothing is printed.
struct Poison;

impl AsRef<[u8]> for Poison {
    fn as_ref(&self) -> &[u8] {
        b"end"
    }
}

impl Drop for Poison {
    fn drop(&mut self) {
        let thread = std::thread::current();
        if thread.name() == Some(ROUTER_THREAD) && !std::thread::panicking() {
            std::panic::resume_unwind(Box::new("the router was asked to end"));
        }
    }
}

/// The packet that ends the router's thread; it drops everything that the router holds.
pub fn packet() -> Packet {
    let payload = Bytes::from_owner(Poison);
    Packet::Publish(Publish::new(Bytes::from_static(POISON_TOPIC), payload, false), None)
}
