//! The half that listens: answers are stamped, written and kept until the repeat is
//! over, which is when nothing can come any more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::time::{Duration, Instant};

use super::generator::Sent;
use super::{Clock, deployment_name};
use crate::deployment::Topics;
use crate::inference::ErrorCode;
use crate::lab::observation::{End, Observation, Stages};
use crate::network::DELAY_MAX;
use crate::node::Node;
use crate::requester::{Answer, Requester};
use crate::trial::choices::Choices;
use crate::trial::repeat::{Outcome, Repeat};
use crate::trial::{MessageType, Progress, Results, TrialError};

/// How long the collector waits for an answer before it looks at everything else.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Answers taken before it looks at everything else.
const ANSWERS_BATCH_MAX: usize = 1_024;
/// How long after the last request answers are waited for at most: what a network
/// holds back in both directions, and some more for the model.
const LAST_ANSWERS_WAIT_MAX: Duration = Duration::from_secs(2 * DELAY_MAX.as_secs() + 10);
/// How long the node may do nothing at all with requests that it has, before they are given up.
const STANDSTILL_MAX: Duration = Duration::from_secs(10);
/// How long nothing may have come when everything has ended: an answer is counted a moment before it leaves.
const QUIET: Duration = Duration::from_millis(200);
/// The fences' ids.
const BEHIND_REQUESTS: &str = "behind the last request";
const BEHIND_ANSWERS: &str = "behind the last answer";

/// What an experiment by the clock consists of.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    pub repeat: &'a Repeat,
    pub clock: Clock,
    pub topics: &'a [Topics],
    pub requester: &'a Requester,
    pub node: &'a Node,
}

/// Receives, writes and keeps.
pub struct Collector<'a> {
    setup: Setup<'a>,
    results: &'a mut dyn Results,
    progress: &'a mut dyn Progress,
    sent: Receiver<Sent>,
    /// The generator runs until it is dropped.
    generator: Option<SyncSender<()>>,
    /// By input, and by placement within it.
    outcomes: Vec<Option<Outcome>>,
    sent_by_placement: Vec<u64>,
    choices: Choices,
    answers: u64,
    last_answer_at: Instant,
    stage: Stage,
}

/// How far the repeat is. A fence is a message that this sends to its own connection
/// through the broker: when it is back, so is everything that the broker had before it.
enum Stage {
    /// Requests are being sent.
    Sending,
    /// The last request is sent; the fence behind it is under way.
    LastRequest { since: Instant },
    /// The node has every request; it is waited for until it has none. Of each
    /// placement, what it has received and has under way.
    Draining { since: Instant, seen: Vec<(u64, u64)>, changed_at: Instant },
    /// The node has ended every request; the fence behind its answers is under way or back.
    LastAnswer { since: Instant, is_back: bool },
    /// Nothing can come any more.
    Over,
}

impl<'a> Collector<'a> {
    pub fn new(
        setup: Setup<'a>,
        results: &'a mut dyn Results,
        progress: &'a mut dyn Progress,
        sent: Receiver<Sent>,
        generator: SyncSender<()>,
    ) -> Self {
        let placements = setup.topics.len();
        Self {
            results,
            progress,
            sent,
            generator: Some(generator),
            outcomes: vec![None; setup.repeat.due.len() * placements],
            sent_by_placement: vec![0; placements],
            choices: Choices::default(),
            answers: 0,
            last_answer_at: Instant::now(),
            stage: Stage::Sending,
            setup,
        }
    }

    /// Collects until nothing can come any more.
    pub fn run(mut self, is_stopping: &AtomicBool) -> Result<Vec<Observation>, TrialError> {
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

    fn take_answers(&mut self) -> Result<(), TrialError> {
        let mut wait = LOOK_EVERY;
        for _ in 0..ANSWERS_BATCH_MAX {
            let Some(answer) = self.setup.requester.next(wait)? else { break };
            self.take_answer(&answer)?;
            wait = Duration::ZERO;
        }
        Ok(())
    }

    /// Notes what was sent; true when that was all.
    fn take_notes(&mut self) -> Result<bool, TrialError> {
        loop {
            match self.sent.try_recv() {
                Ok(sent) => self.take_note(&sent)?,
                Err(TryRecvError::Empty) => return Ok(false),
                Err(TryRecvError::Disconnected) => return Ok(true),
            }
        }
    }

    fn take_note(&mut self, sent: &Sent) -> Result<(), TrialError> {
        let due = self.setup.repeat.due[sent.input];
        let features =
            self.setup.repeat.inputs.features(self.setup.repeat.inputs.index(due.device, due.row)).len();
        let at_us = self.setup.clock.timestamp_us(due.at + sent.late);
        self.results.message(at_us, MessageType::Request, sent.bytes, features)?;
        self.sent_by_placement[sent.placement] += 1;
        let topic_bytes = self.setup.topics[sent.placement].request[0].len();
        let outcome = self.outcome(sent.input, sent.placement);
        outcome.sent_late = sent.late;
        outcome.request_bytes = (topic_bytes + sent.bytes) as u32;
        Ok(())
    }

    /// What is known of a request: its answer and the note that it was sent come in any order.
    fn outcome(&mut self, input: usize, placement: usize) -> &mut Outcome {
        let slot = input * self.setup.topics.len() + placement;
        self.outcomes[slot].get_or_insert_with(|| Outcome {
            sent_late: Duration::ZERO,
            total: None,
            end: End::Silent,
            stages: Stages::default(),
            prediction: None,
            request_bytes: 0,
            answer_bytes: 0,
            choice: None,
        })
    }

    fn take_answer(&mut self, answer: &Answer) -> Result<(), TrialError> {
        // What was sent is written before what came of it.
        self.take_notes()?;
        let id = answer.body.request_id.as_deref().unwrap_or_default();
        if [BEHIND_REQUESTS, BEHIND_ANSWERS].contains(&id) {
            self.pass(id);
            return Ok(());
        }
        let placement = self.setup.topics.iter().position(|topics| {
            [&topics.result, &topics.error].iter().any(|prefix| answer.topic.starts_with(prefix.as_str()))
        });
        let input = id.parse::<usize>().ok().filter(|input| *input < self.setup.repeat.due.len());
        let (Some(placement), Some(input)) = (placement, input) else { return Ok(()) };
        self.last_answer_at = answer.received_at;
        let since = answer.received_at.saturating_duration_since(self.setup.clock.began);
        let kind = if answer.body.prediction.is_some() { MessageType::Result } else { MessageType::Error };
        self.results.message(self.setup.clock.timestamp_us(since), kind, answer.bytes, 0)?;
        let due = self.setup.repeat.due[input];
        // Nothing where it comes from a placement that does not choose, or is an error.
        let words = answer.body.placement.as_deref().zip(answer.body.reason.as_deref());
        let choice = words.and_then(|(made_by, reason)| self.choices.of(made_by, reason));
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
        outcome.choice = choice;
        let stages = outcome.stages;
        self.answers += 1;
        self.progress.answered();
        if answer.body.prediction.is_some() && due.at >= self.setup.repeat.scenario.warm_up {
            let device = &self.setup.repeat.fleet.devices[due.device as usize];
            let name = &self.setup.repeat.scenario.placements[placement].name;
            self.results.answer(self.setup.clock.timestamp_us(due.at), device, name, &stages, total)?;
        }
        Ok(())
    }

    /// Looks how far the repeat is.
    fn advance(&mut self, all_is_sent: bool) -> Result<(), TrialError> {
        let now = Instant::now();
        let waited = |since: Instant| now.saturating_duration_since(since);
        if all_is_sent && self.answers == self.sent_by_placement.iter().sum::<u64>() {
            self.stage = Stage::Over;
        }
        match &mut self.stage {
            Stage::Sending if all_is_sent => {
                self.stage = Stage::LastRequest { since: now };
                self.send_fence(BEHIND_REQUESTS)?;
            }
            Stage::LastRequest { since }
            | Stage::Draining { since, .. }
            | Stage::LastAnswer { since, .. }
                if waited(*since) > LAST_ANSWERS_WAIT_MAX =>
            {
                self.stage = Stage::Over;
            }
            Stage::Draining { since, seen, changed_at } => {
                let now_seen = counts(&self.setup);
                let is_idle = now_seen.iter().all(|(_, in_flight)| *in_flight == 0);
                let mut both = now_seen.iter().zip(&self.sent_by_placement);
                let has_all = both.all(|((received, _), sent)| received >= sent);
                if *seen != now_seen {
                    (*seen, *changed_at) = (now_seen, now);
                } else if is_idle && (has_all || waited(*changed_at) > STANDSTILL_MAX) {
                    self.stage = Stage::LastAnswer { since: *since, is_back: false };
                    self.send_fence(BEHIND_ANSWERS)?;
                }
            }
            Stage::LastAnswer { is_back: true, .. } if waited(self.last_answer_at) > QUIET => {
                self.stage = Stage::Over;
            }
            Stage::Sending | Stage::LastRequest { .. } | Stage::LastAnswer { .. } | Stage::Over => {}
        }
        Ok(())
    }

    fn send_fence(&self, fence: &str) -> Result<(), TrialError> {
        let payload = format!("{{\"request_id\":\"{fence}\"}}");
        let topic = format!("{}/fence", self.setup.topics[0].result);
        Ok(self.setup.requester.sender().publish(&topic, payload.into_bytes())?)
    }

    /// A fence is back.
    fn pass(&mut self, fence: &str) {
        let now = Instant::now();
        match &mut self.stage {
            Stage::LastRequest { since } if fence == BEHIND_REQUESTS => {
                self.stage = Stage::Draining { since: *since, seen: Vec::new(), changed_at: now };
            }
            Stage::LastAnswer { is_back, .. } if fence == BEHIND_ANSWERS => {
                *is_back = true;
                self.last_answer_at = now;
            }
            _ => {}
        }
    }

    /// By placement, then by input; what was not sent is not among them.
    fn observations(self) -> Vec<Observation> {
        let placements = self.setup.topics.len();
        let mut outcomes = self.outcomes;
        let mut observations = Vec::with_capacity(outcomes.len());
        for placement in 0..placements {
            for input in 0..self.setup.repeat.due.len() {
                if let Some(outcome) = outcomes[input * placements + placement].take() {
                    observations.push(self.setup.repeat.observation(placement, input, outcome));
                }
            }
        }
        observations
    }
}

/// Of each placement, how many requests the node has received, and how many of them have not ended.
fn counts(setup: &Setup<'_>) -> Vec<(u64, u64)> {
    let placements = setup.repeat.scenario.placements.iter().enumerate();
    let statistics = placements.filter_map(|(at, placement)| {
        Some(setup.node.deployment(&deployment_name(at, &placement.name))?.statistics())
    });
    statistics.map(|one| (one.received, one.in_flight)).collect()
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
