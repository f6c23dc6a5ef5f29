//! The front door: sockets, and what is said on them until a client is let in.

pub mod arrival;
pub mod certificates;
pub mod connection;
pub mod first_words;
pub mod handshake;
pub mod identity;
pub mod linger;
pub mod server;
pub mod tls;
pub mod transport;
pub mod websocket;
pub mod writing;
