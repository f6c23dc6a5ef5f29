//! The load generator, closed loop or open loop: many connections on one thread keep a window full, or keep
//! to a schedule.

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::{JoinSet, LocalSet};

use super::handshake;
use super::packets::{self, Version};
use super::session::{IN_FLIGHT_MAX, Session, Tally};
use super::ticker::Ticker;
use crate::cli::output;

/// How long a broker may take to accept a connection and its subscriptions.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// After this long without any answer, what is unanswered is given up.
pub const SILENCE_MAX: Duration = Duration::from_secs(5);
/// Read from a socket at once.
const BLOCK_BYTES: usize = 256 * 1024;
/// A schedule is looked at this often at most; requests that come due in between are sent together.
const TICK_LEAST: Duration = Duration::from_micros(50);
/// Requests that a connection writes before it looks at what came back.
const BURST_REQUESTS_MAX: usize = 256;
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Who asks, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    pub address: String,
    pub version: Version,
    pub qos: u8,
    pub connections: usize,
    /// In all; each belongs to one connection.
    pub devices: usize,
    pub features: usize,
    pub payload_bytes: Option<usize>,
    pub request_topic: String,
    pub result_topic: String,
    pub error_topic: String,
    pub login: Option<(String, String)>,
}

/// When requests leave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// When the one before it is answered: so many are unanswered at any time, over all connections.
    Window(usize),
    /// So many a second, whatever comes back.
    Rate(f64),
}

/// How long a run is, after its warm-up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Length {
    Time(Duration),
    Requests(u64),
}

/// One run.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    pub pace: Pace,
    pub warm_up: Duration,
    pub length: Length,
    /// A line a second on standard error.
    pub shows_progress: bool,
}

/// What a run gave.
pub struct Outcome {
    pub tally: Tally,
    /// From the end of the warm-up to the last answer.
    pub took: Duration,
    /// What ended the run before its time, after the warm-up.
    pub fault: Option<anyhow::Error>,
}

impl Outcome {
    pub fn unanswered(&self) -> u64 {
        self.tally.sent - self.tally.ended().min(self.tally.sent)
    }

    /// 0 when there was no answer at all.
    pub fn answers_per_s(&self) -> f64 {
        if self.took.is_zero() { 0.0 } else { self.tally.answered as f64 / self.took.as_secs_f64() }
    }
}

struct Connection {
    stream: TcpStream,
    session: RefCell<Session>,
    window: usize,
    /// There is something to write, or a window to fill.
    wake: Notify,
}

struct Shared {
    tally: RefCell<Tally>,
    block: RefCell<Vec<u8>>,
    /// Requests that may still be sent after the warm-up.
    budget: Cell<u64>,
    is_over: Cell<bool>,
    /// Something came to an end.
    progress: Notify,
}

/// Connects, runs, and disconnects. `at_start` is called when the warm-up is over,
/// and `at_end` after the last answer.
///
/// # Errors
/// When a connection cannot be made, or ends.
pub fn run(plan: &Plan, run: Run, at_start: impl FnOnce(), at_end: impl FnOnce()) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, drive(plan, run, at_start, at_end))
}

async fn drive(
    plan: &Plan,
    run: Run,
    at_start: impl FnOnce(),
    at_end: impl FnOnce(),
) -> anyhow::Result<Outcome> {
    let connections = connect_all(plan, run.pace).await?;
    let shared = Rc::new(Shared {
        tally: RefCell::new(Tally::new(Instant::now() + run.warm_up)),
        block: RefCell::new(vec![0; BLOCK_BYTES]),
        budget: Cell::new(u64::MAX),
        is_over: Cell::new(false),
        progress: Notify::new(),
    });
    let mut tasks = JoinSet::new();
    for connection in &connections {
        tasks.spawn_local(serve(connection.clone(), shared.clone(), run.pace));
    }
    let pacer = match run.pace {
        Pace::Window(_) => None,
        Pace::Rate(rate) => Some(tasks.spawn_local(keep_pace(connections.clone(), shared.clone(), rate))),
    };
    let begun = Cell::new(None);
    let measure = async {
        tokio::time::sleep(run.warm_up).await;
        at_start();
        let since = Instant::now();
        begun.set(Some(since));
        // What was sent in the warm-up does not count, however late it is answered.
        *shared.tally.borrow_mut() = Tally::new(since);
        if let Length::Requests(requests) = run.length {
            shared.budget.set(requests);
        }
        connections.iter().for_each(|connection| connection.wake.notify_one());
        until_over(&shared, &connections, run, since).await;
        shared.is_over.set(true);
        since
    };
    let (since, fault) = tokio::select! {
        since = measure => (since, None),
        Some(ended) = tasks.join_next() => {
            let fault = ended.context("a connection's task")?.err();
            let fault = fault.unwrap_or_else(|| anyhow::anyhow!("a connection ended"));
            match begun.get() {
                Some(since) => (since, Some(fault)),
                // Nothing has been measured yet.
                None => return Err(fault),
            }
        }
    };
    at_end();
    if let Some(pacer) = pacer {
        pacer.abort();
    }
    tasks.abort_all();
    for connection in &connections {
        // The broker may be gone, and then needs no goodbye.
        let _gone = connection.stream.try_write(&packets::disconnect());
    }
    let tally = shared.tally.borrow().clone();
    let took = tally.last_answer - since;
    Ok(Outcome { tally, took, fault })
}

/// Waits until the run's length is reached and what was sent is answered, or nothing comes any more.
async fn until_over(shared: &Shared, connections: &[Rc<Connection>], run: Run, since: Instant) {
    let mut shown = (since, 0);
    let mut heard = (since, 0);
    loop {
        let now = Instant::now();
        let (sent, ended) = {
            let tally = shared.tally.borrow();
            (tally.sent, tally.ended())
        };
        let is_sent = match run.length {
            Length::Time(time) => now - since >= time,
            Length::Requests(requests) => sent >= requests,
        };
        if is_sent {
            shared.is_over.set(true);
        }
        if ended != heard.1 {
            heard = (now, ended);
        }
        if run.shows_progress && now - shown.0 >= PROGRESS_EVERY {
            let rate = (ended - shown.1) as f64 / (now - shown.0).as_secs_f64();
            output::note(&format!(
                "{:>5.0} s: {rate:.0} answers/s, {} in flight",
                (now - since).as_secs_f64(),
                sent - ended
            ));
            shown = (now, ended);
        }
        if is_sent && ended >= sent {
            return;
        }
        // In a closed loop a lost answer would take its place in the window for ever, and the load would fade
        // away.
        if now - heard.0 >= SILENCE_MAX {
            if is_sent {
                return;
            }
            // Their places in the window are given to others.
            for connection in connections {
                connection.session.borrow_mut().give_up();
                connection.wake.notify_one();
            }
            heard.0 = now;
        }
        let next_look = match run.length {
            Length::Time(time) if !is_sent => (since + time).min(now + PROGRESS_EVERY),
            _ => now + Duration::from_millis(100),
        };
        if is_sent || matches!(run.length, Length::Requests(_)) {
            let next_look = tokio::time::sleep_until(next_look.into());
            tokio::select! {
                () = shared.progress.notified() => {}
                () = next_look => {}
            }
        } else {
            tokio::time::sleep_until(next_look.into()).await;
        }
    }
}

impl Shared {
    /// Whether nothing more is to be sent.
    fn is_spent(&self) -> bool {
        self.is_over.get() || self.budget.get() == 0
    }

    /// Takes one request's worth of what may still be sent. What was due in the warm-up,
    /// and is only sent after it, is no part of that.
    fn may_send(&self, due: Instant, tally: &Tally) -> bool {
        if self.is_spent() {
            return false;
        }
        let left = self.budget.get();
        if left != u64::MAX && due >= tally.since {
            self.budget.set(left - 1);
        }
        true
    }
}

/// Reads and writes one connection; in a closed loop it also fills the window.
async fn serve(connection: Rc<Connection>, shared: Rc<Shared>, pace: Pace) -> anyhow::Result<()> {
    loop {
        if matches!(pace, Pace::Window(_)) {
            connection.fill(&shared);
        }
        connection.write()?;
        let wants_write = !connection.session.borrow().unwritten().is_empty();
        tokio::select! {
            ready = connection.stream.readable() => {
                ready.context("the connection to the broker")?;
                connection.read(&shared)?;
            }
            ready = connection.stream.writable(), if wants_write => {
                ready.context("the connection to the broker")?;
            }
            () = connection.wake.notified() => {}
        }
    }
}

impl Connection {
    /// Sends as many requests as the window has room for.
    fn fill(&self, shared: &Shared) {
        let mut session = self.session.borrow_mut();
        let mut tally = shared.tally.borrow_mut();
        let now = Instant::now();
        for _ in 0..BURST_REQUESTS_MAX.max(self.window) {
            if session.in_flight >= self.window || !session.may_send() || !shared.may_send(now, &tally) {
                break;
            }
            session.request(now, &mut tally);
        }
    }

    fn write(&self) -> anyhow::Result<()> {
        let mut session = self.session.borrow_mut();
        while !session.unwritten().is_empty() {
            match self.stream.try_write(session.unwritten()) {
                Ok(bytes) => session.note_written(bytes),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("the connection to the broker"),
            }
        }
        Ok(())
    }

    fn read(&self, shared: &Shared) -> anyhow::Result<()> {
        let mut block = shared.block.borrow_mut();
        match self.stream.try_read(&mut block) {
            Ok(0) => bail!("the broker closed the connection"),
            Ok(bytes) => {
                let now = Instant::now();
                self.session.borrow_mut().take(&block[..bytes], now, &mut shared.tally.borrow_mut())?;
                if shared.is_over.get() || shared.budget.get() != u64::MAX {
                    shared.progress.notify_one();
                }
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error).context("the connection to the broker"),
        }
    }
}

/// Sends the requests of an open loop when they are due, one connection after another.
async fn keep_pace(connections: Vec<Rc<Connection>>, shared: Rc<Shared>, rate: f64) -> anyhow::Result<()> {
    let start = Instant::now();
    // From the start, not from the request before: a delay is made up for, and the rate stays what was asked
    // for.
    let due_at = |number: u64| start + Duration::from_secs_f64(number as f64 / rate);
    let ticker = Ticker::start()?;
    let mut number = 0;
    while !shared.is_spent() {
        let now = Instant::now();
        while due_at(number) <= now {
            let connection = &connections[(number % connections.len() as u64) as usize];
            {
                let (mut session, mut tally) = (connection.session.borrow_mut(), shared.tally.borrow_mut());
                // What the broker does not take now is late, and its latency counts from when it was due.
                if !session.may_send() || !shared.may_send(due_at(number), &tally) {
                    break;
                }
                session.request(due_at(number), &mut tally);
            }
            number += 1;
            if number.is_multiple_of(BURST_REQUESTS_MAX as u64) {
                flush(&connections)?;
                tokio::task::yield_now().await;
            }
        }
        flush(&connections)?;
        // The runtime's own timer counts in milliseconds, in which 100 requests may be due.
        ticker.wait_until(due_at(number).max(now + TICK_LEAST)).await;
    }
    flush(&connections)?;
    // The connections' own tasks go on reading; only an error ends a run.
    std::future::pending().await
}

fn flush(connections: &[Rc<Connection>]) -> anyhow::Result<()> {
    for connection in connections {
        if connection.session.borrow().unwritten().is_empty() {
            continue;
        }
        connection.write()?;
        if !connection.session.borrow().unwritten().is_empty() {
            // Its task waits until the socket takes more.
            connection.wake.notify_one();
        }
    }
    Ok(())
}

/// `part` of `whole` things dealt out one by one to `hands`.
fn share(whole: usize, hands: usize, part: usize) -> usize {
    whole / hands + usize::from(part < whole % hands)
}

async fn connect_all(plan: &Plan, pace: Pace) -> anyhow::Result<Vec<Rc<Connection>>> {
    ensure!(plan.devices >= plan.connections, "--devices: every connection needs a device of its own");
    let mut connections = Vec::with_capacity(plan.connections);
    let mut first_device = 0;
    // Short, for it is part of every request.
    let name = format!("b{:06x}", rand::random::<u32>() >> 8);
    for index in 0..plan.connections {
        let devices = first_device..first_device + share(plan.devices, plan.connections, index);
        first_device = devices.end;
        let window = match pace {
            Pace::Window(window) => share(window, plan.connections, index),
            Pace::Rate(_) => IN_FLIGHT_MAX,
        };
        let devices: Vec<_> = devices.map(|device| format!("{name}-{device}")).collect();
        let client_id = format!("{name}-c{index}");
        let connecting = handshake::open(plan, &client_id, &devices);
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
        let (stream, session) =
            connected.with_context(|| format!("no MQTT broker answers at {}", plan.address))??;
        let session = RefCell::new(session);
        connections.push(Rc::new(Connection { stream, session, window, wake: Notify::new() }));
    }
    Ok(connections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_dealt_out() {
        let parts: Vec<_> = (0..4).map(|part| share(10, 4, part)).collect();
        assert_eq!(parts, [3, 3, 2, 2]);
    }
}
