//! The passage, network emulation: the simulated network that a deployment's messages pass, and how it is
//! exchanged while some are under way.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use super::Parcel;
use super::crossing::{Crossing, party};
use crate::deployment::ticket::Answer;
use crate::network::{Delay, DelayLine, Link, LinkProfile, Profile, Shape};
use crate::sync;

/// What lies between a deployment's sensors and its model.
pub struct Passage {
    /// Whether the delay line runs. Before it does, messages go straight on, and this is
    /// all that they ask for.
    is_simulated: AtomicBool,
    /// Read for a batch of messages at a time; written when the network is exchanged.
    in_force: RwLock<InForce>,
    line: DelayLine<Parcel>,
}

/// A network in force.
pub struct InForce {
    /// How often it has been exchanged.
    pub revision: u64,
    pub course: Course,
}

/// How messages pass a simulated network.
pub enum Course {
    /// All with the same latency, in order. Only at the start, when nothing can be under
    /// way with another one.
    Constant(Duration),
    Shaped(Crossing),
}

impl Passage {
    /// A passage through `profile`, of at most `in_flight_max` messages at a time, which
    /// is as many requests as the intake admits.
    pub fn new(profile: &Profile, in_flight_max: usize) -> Self {
        let course = match profile.shape() {
            Some(shape) => Course::Shaped(Crossing::new(shape)),
            None => Course::Constant(profile.as_constant().unwrap_or_default()),
        };
        Self {
            is_simulated: AtomicBool::new(false),
            in_force: RwLock::new(InForce { revision: 0, course }),
            line: DelayLine::new(in_flight_max),
        }
    }

    /// Whether messages must take the delay line.
    pub fn is_simulated(&self) -> bool {
        self.is_simulated.load(Ordering::Acquire)
    }

    /// From now on they must: the line runs.
    pub fn simulate(&self) {
        self.is_simulated.store(true, Ordering::Release);
    }

    pub fn line(&self) -> &DelayLine<Parcel> {
        &self.line
    }

    /// The network in force. It stays so while this is held: whoever decides about
    /// messages holds it until they are on the line.
    pub fn in_force(&self) -> RwLockReadGuard<'_, InForce> {
        sync::read(&self.in_force)
    }

    /// Puts `profile` in force, and returns how often the network has been exchanged now. What is
    /// under way stays under way as it was decided, and nothing of the same device arrives before it.
    pub fn exchange(&self, profile: &Profile) -> u64 {
        let shape = profile.shape().map_or_else(|| Arc::new(constant(profile)), Arc::clone);
        // Held for writing from the look on the line until the new network is in force: whoever decides about
        // messages holds it for reading until they are on the line, so none is missed.
        let mut in_force = sync::write(&self.in_force);
        let began = Instant::now();
        let (mut uplink, mut downlink) = (HashMap::new(), HashMap::new());
        self.line.look_through(|due, parcel| {
            let (arrivals, caller) = match parcel {
                Parcel::Up(ticket, _) => (&mut uplink, &ticket.caller),
                Parcel::Down(Answer { ticket, .. }, _) => (&mut downlink, &ticket.caller),
            };
            let last: &mut Duration = arrivals.entry(party(caller)).or_default();
            *last = due.saturating_duration_since(began).max(*last);
        });
        in_force.revision += 1;
        in_force.course =
            Course::Shaped(Crossing::following(Link::following(shape, uplink, downlink), began));
        in_force.revision
    }
}

/// A constant latency as a shape.
fn constant(profile: &Profile) -> Shape {
    let delay = Delay::constant(profile.as_constant().unwrap_or_default());
    let link = LinkProfile { delay, ..LinkProfile::default() };
    Shape { uplink: link.clone(), downlink: link, ..Shape::default() }
}
