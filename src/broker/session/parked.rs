//! Offline sessions, whose client is away: kept until it comes back or they expire, queueing what it must not
//! miss.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Session;
use super::admission::{self, Seated};
use super::context::Context;
use super::handover;
use super::pending::Kept;
use super::registry::Order;
use super::will::Will;
use crate::broker::bus::publication::Publication;
use crate::broker::config::PendingPolicy;
use crate::broker::limits::dropped::Dropped;
use crate::broker::limits::reached::Limit;
use crate::broker::limits::shares::Place;
use crate::broker::limits::standing::Keeper;
use crate::broker::work::Slice;
use crate::mqtt::Qos;

/// Units of work to keep a message for an absent client, beside what its bytes take.
pub const KEEP_UNITS: usize = 5;

/// A session that has lost its connection.
pub struct Leaving {
    pub client_id: Arc<str>,
    pub generation: u64,
    pub session: Box<Session>,
    /// Still to be published.
    pub will: Option<Will>,
}

impl Leaving {
    /// Hands the session to the client's new connection, unless one side wants it to end.
    pub async fn hand_over(
        mut self,
        context: &Context,
        is_clean: bool,
        reply: oneshot::Sender<Option<Box<Session>>>,
        slice: &mut Slice,
    ) {
        let ends = is_clean || self.session.expiry_s == 0;
        // A delayed will is for clients that stay away (MQTT 5, 3.1.3.2.2).
        let is_cancelled = !ends && self.will.as_ref().is_some_and(|will| will.said.delay_s > 0);
        if let Some(will) = self.will.take().filter(|_| !is_cancelled) {
            will.publish(context);
        }
        let mut session = Some(self.session);
        if let Some(ended) = session.take_if(|_| ends) {
            handover::end(context, &self.client_id, ended, slice).await;
        }
        if let Some(session) = &mut session {
            detach(context, session, slice).await;
        }
        // An error means that the newcomer is gone already; the session goes with it.
        let _gone = reply.send(session);
    }

    /// Ends the session, or keeps it in a task of its own if it outlives its connection.
    pub async fn leave(
        mut self,
        context: &Arc<Context>,
        mut orders: mpsc::Receiver<Order>,
        slice: &mut Slice,
    ) {
        if self.session.expiry_s > 0 && context.bus.life.is_serving() {
            self.session.live.standing.begin(self.session.worth());
            if let Some(place) = admission::keep(context, &self.session.live.standing) {
                if let Some(will) = self.will.take_if(|will| will.said.delay_s == 0) {
                    will.publish(context);
                }
                return self.park(context.clone(), orders, place);
            }
            context.bus.reached.note(Limit::ParkedSessions, &self.client_id);
            self.session.expiry_s = 0;
        }
        self.end(context, &mut orders, slice).await;
    }

    fn park(self, context: Arc<Context>, orders: mpsc::Receiver<Order>, place: Place) {
        let keeper = Keeper { client_id: self.client_id.clone(), generation: self.generation };
        context.registry.seat(&keeper, Some(place));
        let seated = Seated::new(&context, keeper);
        tokio::spawn(async move {
            self.wait(context, orders).await;
            drop(seated);
        });
    }

    /// Ends the session, or hands it over if another connection has asked for it meanwhile.
    async fn end(mut self, context: &Context, orders: &mut mpsc::Receiver<Order>, slice: &mut Slice) {
        if context.registry.release(&self.client_id, self.generation) {
            if let Some(will) = self.will.take() {
                will.publish(context);
            }
            return handover::end(context, &self.client_id, self.session, slice).await;
        }
        while let Some(order) = orders.recv().await {
            if let Order::HandOver { is_clean, reply } = order {
                return self.hand_over(context, is_clean, reply, slice).await;
            }
        }
    }

    /// Keeps the session until its client comes back, or it expires.
    async fn wait(mut self, context: Arc<Context>, mut orders: mpsc::Receiver<Order>) {
        let left_at = Instant::now();
        let expiry_s = self.session.expiry_s;
        let expires_at = (expiry_s != u32::MAX).then(|| left_at + seconds(expiry_s));
        let mut slice = Slice::new();
        detach(&context, &mut self.session, &mut slice).await;
        loop {
            let will_at = self.will.as_ref().map(|will| left_at + seconds(will.said.delay_s.min(expiry_s)));
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(Order::HandOver { is_clean, reply }) => return self.hand_over(&context, is_clean, reply, &mut slice).await,
                    Some(Order::GiveWay { .. }) => {
                        self.session.expiry_s = 0;
                        slice = context.turns.take().await;
                        return self.end(&context, &mut orders, &mut slice).await;
                    }
                    // Its rights are looked at when its client is back.
                    Some(Order::Review(reviewing)) => reviewing.begin(),
                    Some(Order::End(_)) | None => return,
                },
                () = until(expires_at) => {
                    context.traffic.expired.add(1);
                    // Many may expire at once.
                    slice = context.turns.take().await;
                    return self.end(&context, &mut orders, &mut slice).await;
                }
                () = until(will_at) => {
                    if let Some(will) = self.will.take() {
                        will.publish(&context);
                    }
                }
                () = self.session.live.mailbox.arrival(), if takes_more(&context, &self.session) => {
                    if slice.is_over() {
                        slice = context.turns.slice(&slice).await;
                    }
                    queue_some(&context, &mut self.session, &mut slice);
                    self.session.live.standing.note(self.session.worth());
                    self.session.tell_holding(&context.traffic);
                    if self.session.expiry_s == 0 {
                        return self.end(&context, &mut orders, &mut slice).await;
                    }
                }
            }
        }
    }
}

fn seconds(s: u32) -> Duration {
    Duration::from_secs(s.into())
}

pub async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// Whether what comes for an absent client is queued. Where publishers wait for clients that are
/// online, what they were told is sure lies in the mailbox behind a full queue, and stays there.
fn takes_more(context: &Context, session: &Session) -> bool {
    let limits = &context.config.limits;
    limits.pending_policy != PendingPolicy::Wait || session.pending.full(limits).is_none()
}

/// Copies what is in flight, so that it does not pin the large blocks it was read in.
async fn detach(context: &Context, session: &mut Session, slice: &mut Slice) {
    for index in 0..session.inflight.len() {
        slice.spend_bytes(session.inflight.detach(index));
        context.turns.go_on(slice, 1).await;
    }
}

/// Queues what has come for an absent client, as far as the slice goes.
fn queue_some(context: &Context, session: &mut Session, slice: &mut Slice) {
    let mailbox = session.live.mailbox.clone();
    let skipped = mailbox.take_skipped();
    if skipped.total() > 0 {
        let client_id = session.live.standing.keeper().client_id;
        context.bus.dropped.note(Dropped::Lagged, &client_id, &skipped.topic, skipped.lagged);
        context.bus.dropped.note(Dropped::Memory, &client_id, &skipped.topic, skipped.for_memory);
    }
    while session.expiry_s > 0
        && takes_more(context, session)
        && !slice.is_over()
        && let Some(copy) = mailbox.take()
    {
        slice.spend(KEEP_UNITS);
        slice.spend_bytes(copy.publication.payload.len());
        keep(context, session, copy.publication, &copy.subscriptions);
    }
}

/// Queues a message for an absent client: QoS 1 and 2 only, and as the policy has it when the queue is full.
pub fn keep(
    context: &Context,
    session: &mut Session,
    publication: Arc<Publication>,
    subscriptions: &[usize],
) {
    let topic = publication.topic.clone();
    let note = |session: &Session, reason, count| {
        let client_id = session.live.standing.keeper().client_id;
        context.bus.dropped.note(reason, &client_id, &topic, count);
    };
    let accepted = session.accept(publication, subscriptions, &*context.config.access);
    if let Some(delivery) = accepted.filter(|delivery| delivery.qos > Qos::AtMostOnce) {
        let kept = match session.expiry_s {
            0 => return note(session, Dropped::SessionEnded, 1),
            _ => session.pending.keep(delivery, &context.config.limits),
        };
        match kept {
            Kept::Yes => {}
            Kept::Dropped(count, limit) => {
                context.bus.reached.count(limit);
                note(session, limit.into(), count);
            }
            Kept::Ends(limit) => {
                context.bus.reached.note(limit, "a client that is away: its session ends");
                note(session, limit.into(), 1 + session.pending.len() as u64);
                session.pending.clear();
                session.expiry_s = 0;
            }
        }
    }
}
