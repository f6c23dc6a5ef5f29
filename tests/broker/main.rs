//! The embedded broker at its public edge: clients over raw sockets and in-process links.
//!
//! What a node answers belongs to `node`, what several nodes on one broker do to `cluster`, and what counts
//! the memory or the threads of its process to `alone`.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as a test does")]

#[path = "../support/mod.rs"]
mod support;

/// Clients that break rules or go away at the worst moment disturb neither the broker nor anybody else.
mod abuse;
/// Who may connect, and to what: users, access rules, failed logins.
mod access;
/// The statements of the MQTT standards, each test named after one; `docs/conformance.md` lists them all.
mod conformance {
    /// MQTT 3.1.1: packets and their contents.
    mod v3;
    /// MQTT 3.1.1: sessions, subscriptions and delivery.
    mod v3_sessions;
    /// MQTT 5: packets and their properties.
    mod v5;
    /// MQTT 5: publishing, subscriptions, sessions and delivery.
    mod v5_delivery;
}
/// Limits: who reaches one is told by the standard's means, is counted, and disturbs nobody else.
mod limits;
/// Clients within the broker's own process.
mod link;
/// What our broker promises beyond single statements of the standard, one promise a test.
mod protocol;
/// TLS and mutual TLS at a listener.
mod tls;
/// MQTT over WebSocket.
mod websocket;
