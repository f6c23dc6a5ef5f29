//! The accept loops, and what runs beside them for as long as the broker does.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::transport::{self, Entrance};
use crate::broker::bus::RouterOutput;
use crate::broker::bus::carrier::Answers;
use crate::broker::bus::carrier::watch;
use crate::broker::bus::fanout;
use crate::broker::bus::pulse::BEAT_EVERY;
use crate::broker::limits::addresses::{Entered, Place};
use crate::broker::limits::reached::Limit;
use crate::broker::limits::refused::Who;
use crate::broker::limits::shares::Owner;
use crate::broker::session::context::Context;
use crate::broker::session::pressure;
use crate::broker::session::turns;
use crate::broker::sys::Teller;
use crate::rate_limit::{RateLimit, WARN_EVERY};
use crate::tcp::Socket;

/// How long the accept loop rests when the system has no socket for it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long the router's thread may take to end.
const ROUTER_END_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves until it is told to stop, then says goodbye to every client and ends the router.
pub async fn run(
    context: Arc<Context>,
    listeners: Vec<(TcpListener, Entrance)>,
    output: RouterOutput,
    mut stopping: tokio::sync::watch::Receiver<Option<Duration>>,
) {
    let watch = tokio::spawn(watch_router(context.clone(), output.answers));
    let pressure = tokio::spawn(pressure::run(context.clone()));
    let beating = tokio::spawn(beat(context.clone()));
    let fanout = tokio::spawn(fanout::run(context.bus.clone(), output.connections));
    let teller = Teller::begin(&context).map(|teller| tokio::spawn(teller.run()));
    let mut accepting = JoinSet::new();
    for (listener, entrance) in listeners {
        accepting.spawn(accept(context.clone(), entrance, listener));
    }
    // An error means that the broker was dropped, which is an order to stop too.
    let grace = stopping.wait_for(Option::is_some).await.ok().and_then(|order| *order).unwrap_or_default();
    context.stop();
    let all_left = async { while accepting.join_next().await.is_some() {} };
    if tokio::time::timeout(grace, all_left).await.is_err() {
        tracing::debug!(clients = context.online.taken(), "clients cut off at the end of the grace");
    }
    drop(accepting);
    if let Some(teller) = teller {
        teller.abort();
    }
    beating.abort();
    context.bus.end_router();
    if tokio::time::timeout(ROUTER_END_TIMEOUT, watch).await.is_err() {
        tracing::error!("the broker's router does not end; its thread is left behind");
    }
    fanout.abort();
    pressure.abort();
}

/// Accepts connections from when the broker is open until it is stopped, then waits
/// for them to end. What comes earlier waits in the system's queue.
async fn accept(context: Arc<Context>, entrance: Entrance, listener: TcpListener) {
    let entrance = Arc::new(entrance);
    let settings = &entrance.listener;
    let mut warnings = RateLimit::new(WARN_EVERY);
    let mut connections = JoinSet::new();
    let mut accepted_in_a_row = 0;
    tokio::select! {
        () = context.opened() => {}
        () = context.stopped() => return,
    }
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = context.stopped() => break,
        };
        while connections.try_join_next().is_some() {}
        context.traffic.sockets.add(u64::from(accepted.is_ok()));
        match accepted {
            Ok((stream, peer)) => {
                // Without a place it is closed at once.
                if let Some(place) = place_for(&context, &entrance, peer.ip()) {
                    tracing::trace!(listener = %settings.name, %peer, "accepted");
                    transport::spawn(
                        &mut connections,
                        context.clone(),
                        entrance.clone(),
                        Socket::new(stream),
                        peer.ip(),
                        place,
                    );
                }
            }
            Err(error) => {
                // Mostly out of file descriptors. The connection stays in the system's queue, so
                // trying again at once would spin.
                if warnings.is_due() {
                    tracing::warn!(listener = %settings.name, %error, "cannot accept a connection");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        accepted_in_a_row += 1;
        if accepted_in_a_row == turns::PER_ROUND {
            // A flood: those who are in have their turn.
            accepted_in_a_row = 0;
            tokio::task::yield_now().await;
        }
        if !settings.next_connection_delay.is_zero() {
            tokio::time::sleep(settings.next_connection_delay).await;
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// A place for another socket of `peer`.
fn place_for(context: &Context, entrance: &Entrance, peer: IpAddr) -> Option<Place> {
    match context.addresses.enter(peer) {
        Ok(Entered { place, gave_way }) => {
            let newcomer = Owner::of(None, peer);
            let reached = &context.bus.reached;
            gave_way.iter().for_each(|hog| reached.note_gave_way(Limit::Connecting, hog, &newcomer));
            Some(place)
        }
        Err(cause) => {
            let who = Who { address: Some(peer), listener: &entrance.name, ..Who::default() };
            context.bus.refuse(cause, "", &who, "");
            None
        }
    }
}

/// Shows that the I/O thread comes round, and asks the others to.
async fn beat(context: Arc<Context>) {
    // An error means that the router has ended, which its watch reports.
    while context.bus.beat().is_ok() {
        context.bus.set_memory_aside();
        tokio::time::sleep(BEAT_EVERY).await;
    }
}

/// Tells of the router's end.
async fn watch_router(context: Arc<Context>, answers: Answers) {
    let cause = watch::until_end(&context.bus, answers).await;
    context.died(cause);
}
