//! The flow, a pipeline: the stages between intake and outbox, and who hands what to whom.

mod crossing;
mod departures;
mod passage;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::passage::Course;
use super::destination::Destination;
use super::outbox::PUBLISH_WAIT_MAX;
use super::ticket::{Admitted, Answer, Ticket};
use crate::inference::{ErrorCode, Outcome, Refusal, Stages};
use crate::ledger::Ledger;
use crate::network::{DelayLineFull, Profile};
use crate::worker::{Done, Guest, Job, Pool};

pub use self::departures::{Departing, Departures, departures};
pub use self::passage::Passage;

/// What the delay line carries.
pub enum Parcel {
    /// On the way to the model: valid features, or a refusal that the far end would make.
    Up(Box<Ticket>, Result<Vec<f32>, Refusal>),
    /// On the way back, since when.
    Down(Answer, Instant),
}

/// One thread's view of the deployment's stages: shared queues, and buffers of its own.
pub struct Flow {
    /// The simulated network, which may be exchanged.
    passage: Arc<Passage>,
    workers: Pool<Box<Ticket>>,
    end: Destination,
    /// How long this thread may wait for room towards a slow broker.
    publish_wait_max: Duration,
    /// Gathered for the model.
    jobs: Vec<Job<Box<Ticket>>>,
    /// Those of them that this thread does itself; empty in between.
    batch: Vec<Job<Box<Ticket>>>,
    /// Gathered for the way back.
    answers: Vec<Answer>,
    /// Gathered, and not to go that way.
    late: Vec<Answer>,
    /// What the workers did not take; empty in between.
    ended: Vec<Done<Box<Ticket>>>,
}

impl Clone for Flow {
    fn clone(&self) -> Self {
        Self {
            passage: Arc::clone(&self.passage),
            workers: self.workers.clone(),
            end: self.end.clone(),
            publish_wait_max: self.publish_wait_max,
            jobs: Vec::new(),
            batch: Vec::new(),
            answers: Vec::new(),
            late: Vec::new(),
            ended: Vec::new(),
        }
    }
}

impl Flow {
    /// A way through `network` to `workers` and back to `end`.
    pub fn new(
        network: &Profile,
        in_flight_max: usize,
        workers: Pool<Box<Ticket>>,
        end: Destination,
    ) -> Self {
        Self {
            passage: Arc::new(Passage::new(network, in_flight_max)),
            workers,
            end,
            publish_wait_max: PUBLISH_WAIT_MAX,
            jobs: Vec::new(),
            batch: Vec::new(),
            answers: Vec::new(),
            late: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// This flow for a thread that must not wait: what does not fit the outbox is dropped and counted.
    pub fn without_waiting(self) -> Self {
        Self { publish_wait_max: Duration::ZERO, ..self }
    }

    pub fn workers(&self) -> &Pool<Box<Ticket>> {
        &self.workers
    }

    pub fn passage(&self) -> &Passage {
        &self.passage
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        self.end.ledger()
    }

    /// Admitted requests, in order of arrival: onto the uplink, or straight to the
    /// model. The `guest` calls it on this thread where that is quicker.
    pub fn admit(&mut self, admitted: &mut Vec<Admitted>, guest: Option<&mut Guest<Box<Ticket>>>) {
        if !self.passage.is_simulated() {
            let now = Instant::now();
            for (ticket, request) in admitted.drain(..) {
                self.arrive(ticket, request, now);
            }
            return self.run_or_forward(guest);
        }
        let passage = Arc::clone(&self.passage);
        let in_force = passage.in_force();
        admitted.iter_mut().for_each(|(ticket, _)| ticket.revisions.there = in_force.revision);
        let one_way = match &in_force.course {
            Course::Constant(one_way) => *one_way,
            Course::Shaped(crossing) => return self.send_up(crossing, admitted),
        };
        let parcels = admitted.drain(..).map(|(mut ticket, request)| {
            ticket.network += one_way;
            let arrives_at = ticket.arrived_at + one_way;
            going_up(ticket, request, arrives_at)
        });
        let full = passage.line().send(parcels);
        self.refuse_full_line(full);
    }

    /// Legs of a hybrid's requests, which no guest may do: their answers lead to further ones.
    pub fn admit_legs(&mut self, legs: &mut Vec<Admitted>) {
        if !legs.is_empty() {
            self.admit(legs, None);
        }
    }

    /// Answers what needs no model at once: what was answered before, and what may not even start.
    pub fn answer_at_once(&mut self, answers: &mut Vec<Answer>) {
        self.end.send(answers, self.publish_wait_max);
    }

    /// Parcels whose time under way is over: requests to the model, which the `guest`
    /// calls on this thread where that is quicker, answers to `departures`.
    pub fn on_due(
        &mut self,
        due: &mut Vec<Parcel>,
        departures: &Departures,
        guest: Option<&mut Guest<Box<Ticket>>>,
    ) {
        let now = Instant::now();
        let mut leaving = Vec::with_capacity(due.len());
        for parcel in due.drain(..) {
            match parcel {
                // What the line was late by is no part of the network that was asked for, and is taken off
                // the way back.
                Parcel::Up(mut ticket, request) => {
                    ticket.stages.uplink = now.saturating_duration_since(ticket.arrived_at);
                    ticket.late = ticket.stages.uplink.saturating_sub(ticket.network);
                    self.arrive(ticket, request, now);
                }
                Parcel::Down(mut answer, since) => {
                    answer.ticket.stages.downlink = now.saturating_duration_since(since);
                    leaving.push(answer);
                }
            }
        }
        departures.send(leaving, &mut self.end);
        self.run_or_forward(guest);
    }

    /// Publishes what departs, until the delay line's thread has ended.
    pub fn depart(self, departing: Departing) {
        departing.run(self.end);
    }

    /// A batch that the model has seen.
    pub fn on_done(&mut self, done: &mut Vec<Done<Box<Ticket>>>) {
        self.count_batch(done);
        self.gather(done);
        self.send_back();
    }

    /// Counts the forward pass. One that failed and was tried again row by row counts
    /// once, with its last row's time.
    fn count_batch(&self, done: &[Done<Box<Ticket>>]) {
        // Those whose deadline had passed were not part of it.
        let rows = done.iter().filter(|done| !done.inference.is_zero());
        if let Some(last) = rows.clone().next_back() {
            self.ledger().batch(rows.count(), last.inference);
        }
    }

    /// Ends the threads: each worker once its queue is empty, the delay line at once.
    pub fn close(&self) {
        self.workers.close();
        self.passage.line().abandon();
    }

    /// At the model's end of the network.
    fn arrive(&mut self, ticket: Box<Ticket>, request: Result<Vec<f32>, Refusal>, now: Instant) {
        match request {
            Ok(features) => {
                let deadline = ticket.deadline;
                self.jobs.push(Job { features, context: ticket, queued_at: now, deadline });
            }
            Err(refusal) => self.answer(ticket, Err(refusal)),
        }
    }

    /// Gathered jobs are done at once by the `guest` where that is quicker, or else [go on](Self::forward).
    fn run_or_forward(&mut self, guest: Option<&mut Guest<Box<Ticket>>>) {
        // This thread must not wait for the broker; a worker may. The delay line takes every answer at once.
        let has_room = self.passage.is_simulated() || self.end.has_room_for(self.jobs.len());
        // To wake a worker takes longer than a small model does: done here, a single request's p50 was 0.76
        // times and the rate at a window of 100 1.06 times that of before (docs/performance.md).
        let is_quicker = has_room && self.jobs.len() <= DONE_AT_ONCE_MAX;
        if let Some(guest) = guest.filter(|_| is_quicker) {
            let (mut batch, mut done) = (std::mem::take(&mut self.batch), std::mem::take(&mut self.ended));
            while let Some(mut visit) = guest.enter(self.jobs.len()) {
                batch.extend(self.jobs.drain(..visit.jobs()));
                visit.run(&mut batch, &mut done);
                self.on_done(&mut done);
            }
            (self.batch, self.ended) = (batch, done);
        }
        self.forward();
    }

    /// Gathered jobs to the workers; gathered refusals, and those of a full queue, back to their senders.
    fn forward(&mut self) {
        let mut ended = std::mem::take(&mut self.ended);
        self.workers.submit(&mut self.jobs, &mut ended);
        self.gather(&mut ended);
        self.ended = ended;
        self.send_back();
    }

    fn gather(&mut self, done: &mut Vec<Done<Box<Ticket>>>) {
        for Done { context: mut ticket, outcome, queue, batch, inference } in done.drain(..) {
            ticket.stages = Stages { queue, batch, inference, ..ticket.stages };
            self.answer(ticket, outcome);
        }
    }

    /// Gathers an answer for the way back. A deadline is kept where the request came in:
    /// word of it has no way to go.
    fn answer(&mut self, ticket: Box<Ticket>, outcome: Outcome) {
        let is_late = matches!(&outcome, Err(refusal) if refusal.code == ErrorCode::DeadlineExceeded);
        let gathered = if is_late { &mut self.late } else { &mut self.answers };
        gathered.push(Answer { ticket, outcome });
    }

    /// Gathered answers: onto the downlink, or straight out.
    fn send_back(&mut self) {
        self.end.send(&mut self.late, self.publish_wait_max);
        if self.answers.is_empty() {
            return;
        }
        if !self.passage.is_simulated() {
            return self.end.send(&mut self.answers, self.publish_wait_max);
        }
        let passage = Arc::clone(&self.passage);
        let in_force = passage.in_force();
        self.answers.iter_mut().for_each(|answer| answer.ticket.revisions.back = in_force.revision);
        let one_way = match &in_force.course {
            Course::Constant(one_way) => *one_way,
            Course::Shaped(crossing) => return self.send_down(crossing),
        };
        let now = Instant::now();
        let parcels = self.answers.drain(..).map(|mut answer| {
            answer.ticket.network += one_way;
            // As if the uplink had been exact; but an answer does not overtake another on the
            // link, whichever of several workers made it.
            (now + one_way.saturating_sub(answer.ticket.late), Parcel::Down(answer, now))
        });
        let full = passage.line().send_in_order(parcels);
        self.refuse_full_line(full);
    }

    /// The bound on requests in flight makes this impossible; an answer is owed all the same.
    fn refuse_full_line(&mut self, sent: Result<(), DelayLineFull<Parcel>>) {
        let Err(DelayLineFull(parcels)) = sent else { return };
        let refused = parcels.into_iter().map(|parcel| {
            let (Parcel::Up(ticket, _) | Parcel::Down(Answer { ticket, .. }, _)) = parcel;
            let refusal =
                Refusal::new(ErrorCode::Overloaded, "the simulated network is full (in_flight_max)");
            Answer::refused(ticket, refusal)
        });
        self.answer_at_once(&mut refused.collect());
    }
}

/// A request on the uplink: it arrives, or its deadline passes before that.
fn going_up(
    ticket: Box<Ticket>,
    request: Result<Vec<f32>, Refusal>,
    arrives_at: Instant,
) -> (Instant, Parcel) {
    match ticket.deadline {
        Some(deadline) if deadline <= arrives_at => (deadline, Parcel::Up(ticket, Err(expired_on_the_way()))),
        _ => (arrives_at, Parcel::Up(ticket, request)),
    }
}

/// What becomes of a request whose deadline passes on the uplink, at that deadline.
fn expired_on_the_way() -> Refusal {
    Refusal::new(ErrorCode::DeadlineExceeded, "its deadline passed on the way to the model")
}

/// The most requests that the thread which brings them does itself; more are done
/// sooner by workers that share them.
const DONE_AT_ONCE_MAX: usize = 512;
