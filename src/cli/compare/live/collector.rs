//! The half that listens: answers are stamped, written and kept until the repeat is over, which is when nothing can come any more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use nearfar::Node;
use nearfar::deployment::Topics;
use nearfar::inference::ErrorCode;
use nearfar::lab::observation::{End, Observation, Stages};
use nearfar::network::DELAY_MAX;

use super::generator::Sent;
use super::{Clock, deployment_name};
use crate::cli::compare::repeat::{Outcome, Repeat};
use crate::cli::compare::results::{MessageType, Results};
use crate::cli::requester::{Answer, Requester};

/// How long the collector waits for an answer before it looks at everything else.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Answers taken before it looks at everything else.
const ANSWERS_BATCH_MAX: usize = 1_024;
/// How long after the last request answers are waited for at most: what a network holds back in both directions, and some more for the
/// model.
const LAST_ANSWERS_WAIT_MAX: Duration = Duration::from_secs(2 * DELAY_MAX.as_secs() + 10);
/// How long the node may do nothing at all with requests that it has, before they are given up.
const STANDSTILL_MAX: Duration = Duration::from_secs(10);
/// How long nothing may have come when everything has ended: an answer is counted a moment before it leaves.
const QUIET: Duration = Duration::from_millis(200);
/// What stands before the number of a fence in its id.
const FENCE: &str = "fence ";

/// Receives, writes and keeps.
pub struct Collector<'a> {
    repeat: &'a Repeat,
    clock: Clock,
    topics: &'a [Topics],
    requester: &'a Requester,
    node: &'a Node,
    names: Vec<String>,
    results: &'a mut Results,
    bar: &'a ProgressBar,
    sent: Receiver<Sent>,
    /// The generator runs until it is dropped.
    generator: Option<SyncSender<()>>,
    /// By input, and by placement within it.
    outcomes: Vec<Option<Outcome>>,
    sent_by_placement: Vec<u64>,
    answers: u64,
    last_answer_at: Instant,
    stage: Stage,
}

/// How far the repeat is. A fence is a message that this sends to its own connection through the broker: when it is back, so is
/// everything that the broker had before it.
enum Stage {
    /// Requests are being sent.
    Sending,
    /// The last request is sent; its fence is under way.
    LastRequest { fence: u32, since: Instant },
    /// The node has every request; it is waited for until it has none.
    Draining { since: Instant, seen: Vec<(u64, u64)>, changed_at: Instant },
    /// The node has ended every request; the fence behind its answers is under way.
    LastAnswer { fence: u32, since: Instant },
    /// Nothing can come any more.
    Over,
}

impl<'a> Collector<'a> {
    #[expect(clippy::too_many_arguments, reason = "it is the one place where all parts of a repeat meet")]
    pub fn new(
        repeat: &'a Repeat,
        clock: Clock,
        topics: &'a [Topics],
        requester: &'a Requester,
        node: &'a Node,
        results: &'a mut Results,
        bar: &'a ProgressBar,
        sent: Receiver<Sent>,
        generator: SyncSender<()>,
    ) -> Self {
        let placements = &repeat.scenario.placements;
        Self {
            repeat,
            clock,
            topics,
            requester,
            node,
            names: placements.iter().enumerate().map(|(at, one)| deployment_name(at, &one.name)).collect(),
            results,
            bar,
            sent,
            generator: Some(generator),
            outcomes: vec![None; repeat.due.len() * placements.len()],
            sent_by_placement: vec![0; placements.len()],
            answers: 0,
            last_answer_at: Instant::now(),
            stage: Stage::Sending,
        }
    }

    /// Collects until nothing can come any more.
    pub fn run(mut self, is_stopping: &AtomicBool) -> anyhow::Result<Vec<Observation>> {
        while !matches!(self.stage, Stage::Over) {
            self.take_answers()?;
            // Once more, for those that have no answer.
            let all_is_sent = self.take_notes()?;
            self.results.flush()?;
            if is_stopping.load(Ordering::Acquire) {
                self.generator = None;
            }
            self.advance(all_is_sent)?;
        }
        Ok(self.observations())
    }

    fn take_answers(&mut self) -> anyhow::Result<()> {
        let mut wait = LOOK_EVERY;
        for _ in 0..ANSWERS_BATCH_MAX {
            let Some(answer) = self.requester.next(wait)? else { break };
            self.take_answer(&answer)?;
            wait = Duration::ZERO;
        }
        Ok(())
    }

    /// Notes what was sent; true when that was all.
    fn take_notes(&mut self) -> anyhow::Result<bool> {
        loop {
            match self.sent.try_recv() {
                Ok(sent) => self.take_note(&sent)?,
                Err(TryRecvError::Empty) => return Ok(false),
                Err(TryRecvError::Disconnected) => return Ok(true),
            }
        }
    }

    fn take_note(&mut self, sent: &Sent) -> anyhow::Result<()> {
        let due = self.repeat.due[sent.input];
        let features = self.repeat.inputs.features(self.repeat.inputs.index(due.device, due.row)).len();
        let at_us = self.clock.timestamp_us(due.at + sent.late);
        self.results.message(at_us, MessageType::Request, sent.bytes, features)?;
        self.sent_by_placement[sent.placement] += 1;
        let topic_bytes = self.topics[sent.placement].request[0].len();
        let outcome = self.outcome(sent.input, sent.placement);
        outcome.sent_late = sent.late;
        outcome.request_bytes = (topic_bytes + sent.bytes) as u32;
        Ok(())
    }

    /// What is known of a request: its answer and the note that it was sent come in any order.
    fn outcome(&mut self, input: usize, placement: usize) -> &mut Outcome {
        let slot = input * self.topics.len() + placement;
        self.outcomes[slot].get_or_insert_with(|| Outcome {
            sent_late: Duration::ZERO,
            total: None,
            end: End::Silent,
            stages: Stages::default(),
            prediction: None,
            request_bytes: 0,
            answer_bytes: 0,
        })
    }

    fn take_answer(&mut self, answer: &Answer) -> anyhow::Result<()> {
        // What was sent is written before what came of it.
        self.take_notes()?;
        let id = answer.body.request_id.as_deref().unwrap_or_default();
        if let Some(fence) = id.strip_prefix(FENCE) {
            return self.pass(fence);
        }
        let placement = self.topics.iter().position(|topics| {
            [&topics.result, &topics.error].iter().any(|prefix| answer.topic.starts_with(prefix.as_str()))
        });
        let input = id.parse::<usize>().ok().filter(|input| *input < self.repeat.due.len());
        let (Some(placement), Some(input)) = (placement, input) else { return Ok(()) };
        self.last_answer_at = answer.received_at;
        let since = answer.received_at.saturating_duration_since(self.clock.began);
        let kind = if answer.body.prediction.is_some() { MessageType::Result } else { MessageType::Error };
        self.results.message(self.clock.timestamp_us(since), kind, answer.bytes, 0)?;
        let due = self.repeat.due[input];
        let outcome = self.outcome(input, placement);
        if outcome.total.is_some() {
            // A copy that the network made: the first one counts.
            return Ok(());
        }
        let total = since.saturating_sub(due.at);
        outcome.total = Some(total);
        outcome.end = end(answer);
        outcome.prediction = answer.body.prediction;
        outcome.answer_bytes = (answer.topic.len() + answer.bytes) as u32;
        outcome.stages = stages(answer);
        let stages = outcome.stages;
        self.answers += 1;
        self.bar.inc(1);
        if answer.body.prediction.is_some() && due.at >= self.repeat.scenario.warm_up {
            let device = &self.repeat.fleet.devices[due.device as usize];
            let name = &self.repeat.scenario.placements[placement].name;
            self.results.answer(self.clock.timestamp_us(due.at), device, name, &stages, total)?;
        }
        Ok(())
    }

    fn advance(&mut self, all_is_sent: bool) -> anyhow::Result<()> {
        let now = Instant::now();
        let is_all = all_is_sent && self.answers == self.sent_by_placement.iter().sum::<u64>();
        let waited = |since: Instant| now.saturating_duration_since(since);
        match &mut self.stage {
            _ if is_all => self.stage = Stage::Over,
            Stage::Sending if all_is_sent => {
                self.stage = Stage::LastRequest { fence: 1, since: now };
                self.send_fence(1)?;
            }
            Stage::Sending => {}
            Stage::LastRequest { since, .. } | Stage::Draining { since, .. }
                if waited(*since) > LAST_ANSWERS_WAIT_MAX =>
            {
                self.stage = Stage::Over;
            }
            Stage::LastRequest { .. } => {}
            Stage::Draining { since, seen, changed_at } => {
                let statistics = self.names.iter().filter_map(|name| self.node.statistics(name));
                let seen_now: Vec<_> = statistics.map(|one| (one.received, one.in_flight)).collect();
                let is_idle = seen_now.iter().all(|(_, in_flight)| *in_flight == 0);
                let has_all = seen_now
                    .iter()
                    .zip(&self.sent_by_placement)
                    .all(|((received, _), sent)| received >= sent);
                if *seen != seen_now {
                    (*seen, *changed_at) = (seen_now, now);
                } else if is_idle && (has_all || waited(*changed_at) > STANDSTILL_MAX) {
                    self.stage = Stage::LastAnswer { fence: 2, since: *since };
                    self.send_fence(2)?;
                }
            }
            Stage::LastAnswer { fence, since } => {
                let is_back = *fence == 0 && waited(self.last_answer_at) > QUIET;
                if is_back || waited(*since) > LAST_ANSWERS_WAIT_MAX {
                    self.stage = Stage::Over;
                }
            }
            Stage::Over => {}
        }
        Ok(())
    }

    fn send_fence(&self, fence: u32) -> anyhow::Result<()> {
        let payload = format!("{{\"request_id\":\"{FENCE}{fence}\"}}");
        self.requester.sender().publish(&format!("{}/fence", self.topics[0].result), payload.into_bytes())
    }

    /// A fence is back.
    fn pass(&mut self, fence: &str) -> anyhow::Result<()> {
        let now = Instant::now();
        match &mut self.stage {
            Stage::LastRequest { fence: expected, since } if fence == expected.to_string() => {
                self.stage = Stage::Draining { since: *since, seen: Vec::new(), changed_at: now };
            }
            Stage::LastAnswer { fence: expected, .. } if fence == expected.to_string() => {
                *expected = 0;
                self.last_answer_at = now;
            }
            _ => {}
        }
        Ok(())
    }

    /// By placement, then by input; what was not sent is not among them.
    fn observations(self) -> Vec<Observation> {
        let placements = self.topics.len();
        let mut outcomes = self.outcomes;
        let mut observations = Vec::with_capacity(outcomes.len());
        for placement in 0..placements {
            for input in 0..self.repeat.due.len() {
                if let Some(outcome) = outcomes[input * placements + placement].take() {
                    observations.push(self.repeat.observation(placement, input, outcome));
                }
            }
        }
        observations
    }
}

fn end(answer: &Answer) -> End {
    if answer.body.prediction.is_some() {
        return End::Answered;
    }
    let code = answer.body.code.as_deref().unwrap_or_default();
    let known = ErrorCode::ALL.iter().find(|known| known.as_str() == code);
    End::Refused(known.unwrap_or(&ErrorCode::Internal).as_str())
}

fn stages(answer: &Answer) -> Stages {
    let time =
        |ms: Option<f64>| Duration::try_from_secs_f64(ms.unwrap_or_default() / 1e3).unwrap_or_default();
    Stages {
        network: time(answer.body.cloud_latency_ms),
        queue: time(answer.body.stages_ms.as_ref().map(|stages| stages.queue)),
        inference: time(answer.body.inference_time_ms),
    }
}
