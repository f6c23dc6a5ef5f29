//! The way of messages to those who receive them, all in one order, and who waits before it.
//!
//! rumqttd's router carries them, behind a seam: a [`Feed`] takes parcels, an [`Outlet`] for each lane brings
//! them in the same order, and a ping that is fed is answered once everything before it has been read.
//! Whatever can do that may stand in its place: nothing but the file `rumqttd` knows who it is.

pub mod backlog;
pub mod lane;
pub mod lanes;
mod rumqttd;
pub mod turnstile;
pub mod watch;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

pub use self::rumqttd::{Answers, Arrival, Carrier, Feed, Outlet, Parcel, Parcels};

/// The carrier's thread has ended, or it has no room for another lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the broker's router has ended")]
pub struct CarrierGone;

/// Polls a future once and never suspends.
pub fn poll_now<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
