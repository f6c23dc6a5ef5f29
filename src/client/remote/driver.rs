//! The connection's thread, a reconnecting loop: connects, and comes back after every loss until it is told
//! to leave.

use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

use super::backoff::Backoff;
use super::codec::Incoming;
use super::config::Config;
use super::connection::Ended;
use super::failures::{Failure, FailureCounters, Trouble};
use super::link::Link;
use super::outage::Outage;
use super::pulse::Pulse;
use super::queue;
use super::routes::Routes;
use super::session::Session;
use super::settlements::Settlements;
use super::transport::Dialer;
use super::{Phase, RemoteError, Shared};
use crate::client::{State, Status};
use crate::rate_limit::{RateLimit, WARN_EVERY};

/// How long a broker may take to accept a connection, with everything that belongs to it.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(10);
/// The most messages sent and unacknowledged towards a broker that does not say what it takes.
const WINDOW_MAX: u16 = 4_096;

/// A connection that ends earlier was of no use.
const SERVED_SHORTLY: Duration = Duration::from_secs(5);
/// From so many such ones in a row on it is said what may be the cause.
const EVICTIONS_TOLD: u32 = 3;

/// Starts the thread; it waits for [`Phase::Connecting`].
pub fn start(config: Config, status: Option<Status>) -> Result<(Arc<Shared>, JoinHandle<()>), RemoteError> {
    let dialer = Dialer::new(&config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (outbox, outgoing) = queue::queue(config.outbox_messages_max, config.outbox_bytes_max);
    let (phase, phases) = watch::channel(Phase::Preparing);
    let shared = Arc::new(Shared {
        config,
        status,
        online: Mutex::default(),
        outbox,
        runtime: runtime.handle().clone(),
        routes: Routes::default(),
        state: Mutex::new(State::Offline("connecting".to_owned())),
        changed: Condvar::new(),
        phase,
        wake: Arc::new(Notify::new()),
        pulse: Arc::new(Pulse::new()),
        failures: FailureCounters::default(),
    });
    let driver = Driver {
        shared: Arc::clone(&shared),
        dialer,
        phases,
        outgoing,
        session: Session::default(),
        settlements: Settlements::new(Arc::clone(&shared.wake)),
        announced: None,
        outage: None,
        evictions: 0,
        warnings: RateLimit::new(WARN_EVERY),
    };
    runtime.spawn(Arc::clone(&shared.pulse).beat());
    let thread = thread::Builder::new()
        .name("mqtt-remote".to_owned())
        .spawn(move || runtime.block_on(driver.run()))?;
    Ok((shared, thread))
}

pub struct Driver {
    pub shared: Arc<Shared>,
    dialer: Dialer,
    pub phases: watch::Receiver<Phase>,
    /// What is to be published, in order.
    pub outgoing: queue::Receiver,
    pub session: Session,
    pub settlements: Arc<Settlements>,
    /// What was last said in the log, so that each change is said once.
    announced: Option<State>,
    /// The outage that goes on, if one does.
    outage: Option<Outage>,
    /// How many connections in a row have ended soon after the broker had accepted them.
    evictions: u32,
    pub warnings: RateLimit,
}

impl Driver {
    async fn run(mut self) {
        // The sender is in `shared`, which we hold.
        self.phases.wait_for(|phase| *phase != Phase::Preparing).await.ok();
        let mut backoff = Backoff::new(self.shared.config.reconnect_wait_max);
        let mut random = rand_chacha::ChaCha8Rng::from_rng(&mut rand::rng());
        while !self.is_leaving() {
            let (ended, served) = self.connect_and_serve().await;
            let mut failure = match ended {
                Ended::Left => break,
                Ended::Lost(failure) => failure,
            };
            self.shared.failures.count(failure.trouble);
            self.shared.routes.end_closed();
            if self.note_eviction(&failure, served) {
                let client_id = &self.shared.config.client_id;
                failure.reason += &format!(
                    ", as it does each time soon after it accepts: perhaps another client has the client id {client_id:?} too \
                     (node_id, remote.client_id)"
                );
            }
            self.announce_failure(failure);
            backoff.note_served(served);
            let wait = backoff.next_wait(&mut random);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = self.phases.wait_for(|phase| *phase == Phase::Leaving) => {}
            }
        }
        self.shared.routes.end_all();
    }

    pub fn is_leaving(&self) -> bool {
        *self.phases.borrow() == Phase::Leaving
    }

    /// One connection. Returns how it ended, and how long the broker had let us in.
    async fn connect_and_serve(&mut self) -> (Ended, Duration) {
        let mut phases = self.phases.clone();
        let connected = tokio::select! {
            connected = tokio::time::timeout(CONNECT_WAIT_MAX, self.connect()) => connected,
            _ = phases.wait_for(|phase| *phase == Phase::Leaving) => return (Ended::Left, Duration::ZERO),
        };
        let failure = match connected {
            Ok(Ok(link)) => {
                let begun = Instant::now();
                return (self.serve(link).await, begun.elapsed());
            }
            Ok(Err(failure)) => failure,
            Err(_) => {
                let reason = format!("no answer within {} s", CONNECT_WAIT_MAX.as_secs());
                Trouble::NoAnswer.because(reason)
            }
        };
        (Ended::Lost(failure), Duration::ZERO)
    }

    /// Makes a connection, up to the broker's word that it accepts it.
    async fn connect(&mut self) -> Result<Link, Failure> {
        let config = &self.shared.config;
        let stream = self.dialer.dial(config).await?;
        let mut link = Link::new(stream, config);
        let status = self.shared.status.as_ref();
        link.codec.connect(config, status, &mut link.output).map_err(Failure::unreadable)?;
        let first = link.first_packet().await;
        match first.map_err(|failure| hint_at_tls(failure, config))? {
            Incoming::ConnAck(accepted) => {
                // Without a Receive Maximum MQTT 5 means 65,535 (3.2.2.3.3), and 3.1.1 has no word for it.
                // Our own bound holds for either: what is under way is kept here until it is acknowledged.
                let window = accepted.receive_max.unwrap_or(WINDOW_MAX).min(WINDOW_MAX);
                self.session.connected(usize::from(window), accepted.session_present);
                link.accepted(config, &accepted);
                Ok(link)
            }
            Incoming::Refused(reason) => {
                Err(Trouble::Refused.because(format!("the broker refuses the connection: {reason}")))
            }
            // No broker may send one before its CONNACK [MQTT-3.14.0-1]; if one does, its reason is worth
            // more to whoever reads the log than our complaint about it.
            Incoming::Disconnect(reason) => {
                Err(Trouble::Disconnected.because(format!("the broker ends the connection: {reason}")))
            }
            // A broker's first packet is a CONNACK [MQTT-3.2.0-1]; we offer no AUTH.
            _ => Err(Trouble::Protocol.because("what answers there is no MQTT broker")),
        }
    }

    /// Whether the broker has ended several connections in a row soon after it had accepted each: the
    /// standard wants that of one whose client id comes again [MQTT-3.1.4-3], and not every broker says so.
    fn note_eviction(&mut self, failure: &Failure, served: Duration) -> bool {
        let is_eviction = matches!(failure.trouble, Trouble::Lost | Trouble::Disconnected)
            && !served.is_zero()
            && served < SERVED_SHORTLY;
        self.evictions = if is_eviction { self.evictions.saturating_add(1) } else { 0 };
        self.evictions >= EVICTIONS_TOLD
    }

    pub fn announce_online(&mut self) {
        let now = Instant::now();
        if !matches!(self.announced, Some(State::Online)) {
            let after = self.outage.take().map(|outage| outage.length(now).to_string());
            info!(broker = self.shared.config.address(), after, "connected and subscribed");
        }
        self.set_state(State::Online);
    }

    /// Says why there is no connection, or none that is of use.
    pub fn announce_failure(&mut self, Failure { trouble, reason }: Failure) {
        let now = Instant::now();
        let (is_new, outage) = match &mut self.outage {
            Some(outage) => (false, outage),
            none => (true, none.insert(Outage::begin(now))),
        };
        let is_another = !matches!(&self.announced, Some(State::Offline(known)) if *known == reason);
        // Between two attempts with the same end nothing new is said, until it has lasted for long.
        if outage.is_due(now) || is_another {
            let lasted = (!is_new).then(|| outage.length(now).to_string());
            warn!(
                broker = self.shared.config.address(),
                reason = trouble.name(),
                why = reason,
                lasted,
                "no connection with the broker; trying again until there is one"
            );
        }
        self.set_state(State::Offline(reason));
    }

    fn set_state(&mut self, state: State) {
        self.announced = Some(state.clone());
        self.shared.set_state(state);
    }
}

/// What waits for a TLS handshake takes the first packet of MQTT for a broken one.
fn hint_at_tls(failure: Failure, config: &Config) -> Failure {
    match failure.trouble {
        Trouble::Lost | Trouble::Protocol if config.tls.is_none() => Failure {
            reason: format!("{}; does it want TLS there ([remote.tls])?", failure.reason),
            ..failure
        },
        _ => failure,
    }
}
