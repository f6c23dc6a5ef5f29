//! A junction with its flows and threads against random schedules: every request
//! ends once, whatever becomes of its legs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::client::{ClientError, Publisher};
use crate::deployment::config::{Config, Window};
use crate::deployment::destination::Destination;
use crate::deployment::dispatcher::Dispatcher;
use crate::deployment::duplicates::Duplicates;
use crate::deployment::entrance::Entrance;
use crate::deployment::flow::Flow;
use crate::deployment::network_control::NetworkControl;
use crate::deployment::reply::{Reply, ReplyTo};
use crate::deployment::way::serve;
use crate::inference::{Caller, DeviceId, Urgency};
use crate::ledger::Statistics;
use crate::model::{Detector, Model, ModelError, ModelInfo};
use crate::mqtt::Message;
use crate::network::{Delay, LinkProfile, Loss, Profile, Shape};
use crate::placement::{self, Policy, Probing};
use crate::worker::{Copies, Pool};

/// Longer than any of this takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
const REQUESTS: u64 = 40;

/// Counts what is published for each request, by its number.
#[derive(Default)]
struct Published(Mutex<BTreeMap<u64, u32>>);

impl Publisher for Published {
    fn publish(&self, batch: &mut Vec<Message>, _wait: Duration) -> Result<(), ClientError> {
        let mut published = self.0.lock().unwrap();
        for message in batch.drain(..) {
            let body: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
            *published.entry(body["timestamp_us"].as_u64().unwrap()).or_default() += 1;
        }
        Ok(())
    }

    fn has_room_for(&self, _messages: usize) -> bool {
        true
    }

    fn stop_receiving(&self) {}
}

/// Its answer is its one input; there is none where that is one.
#[derive(Clone)]
struct Moody;

impl Model for Moody {
    fn inputs(&self) -> usize {
        1
    }

    fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
        predictions.extend_from_slice(rows);
        if rows.contains(&1.0) { Err(ModelError::Forward("it was told to".to_owned())) } else { Ok(()) }
    }
}

fn policy(rng: &mut ChaCha8Rng) -> Policy {
    let after = Duration::from_millis(1);
    [
        Policy::Deadline(Probing { answers_min: 3, ..Probing::default() }),
        Policy::CONFIDENCE,
        Policy::URGENCY,
        Policy::HEDGED,
        Policy::Hedged { first: Site::Edge, after },
        Policy::Hedged { first: Site::Cloud, after },
        Policy::Shadow,
    ][rng.random_range(0..7)]
}

/// A network that is slow, loses some messages and carries others twice, or none at all.
fn network(rng: &mut ChaCha8Rng) -> Profile {
    if rng.random_ratio(1, 3) {
        return Profile::NONE;
    }
    let mut link = || {
        let delay = Delay::constant(Duration::from_micros(rng.random_range(0..2_000)));
        let loss = Loss::independent(rng.random_range(0.0..0.3)).unwrap();
        LinkProfile { delay, loss, ..LinkProfile::default() }.duplicating(0.2).unwrap()
    };
    let (uplink, downlink) = (link(), link());
    Profile::shaped(Shape { seed: rng.random(), uplink, downlink, ..Shape::default() })
}

/// A hybrid without an intake.
struct Field {
    seed: u64,
    rng: ChaCha8Rng,
    junction: Junction,
    ledger: Arc<Ledger>,
    published: Arc<Published>,
    entrance: Entrance,
    flows: PerSite<Flow>,
    networks: [NetworkControl; 2],
    dispatcher: Dispatcher,
}

impl Field {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let config = Config::edge();
        let (ledger, published) = (Arc::<Ledger>::default(), Arc::<Published>::default());
        let duplicates = Duplicates::new(Window { requests_max: 0, ..Window::default() });
        let publisher = published.clone();
        let outbox = Outbox::new(&config, publisher, ledger.clone(), duplicates);
        let placement = placement::Config {
            cloud_timeout: Duration::from_millis(rng.random_range(1..5)),
            ..placement::Config::new(policy(&mut rng))
        };
        let chooser = Chooser::new(placement, None);
        let junction = Junction::new("hybrid", chooser, rng.random_range(1..200), outbox);
        let networks = [network(&mut rng), network(&mut rng)];
        let flow = |site: Site| {
            let (name, network) = (site.as_str(), &networks[site as usize]);
            let detector = Detector::from_parts(ModelInfo::new("moody", 1), Box::new(Moody));
            let workers = Pool::new(config.worker, name, Copies::of(detector, 1).unwrap());
            let destination = Destination::Junction(Box::new(junction.clone()), site);
            let flow = Flow::new(network, 1_000, workers, destination);
            serve(&flow, name, 1).unwrap();
            let control = NetworkControl::start("hybrid", name, network, &flow).unwrap();
            (flow, control)
        };
        let [(edge, at_edge), (cloud, at_cloud)] = Site::ALL.map(flow);
        let flows = PerSite { edge, cloud };
        let dispatcher = Dispatcher::start("hybrid", junction.clone(), flows.clone()).unwrap();
        let entrance = Entrance::hybrid(junction.clone(), flows.clone());
        let networks = [at_edge, at_cloud];
        Self { seed, rng, junction, ledger, published, entrance, flows, networks, dispatcher }
    }

    fn request(&mut self, number: u64) -> Admitted {
        let now = Instant::now();
        let caller = Caller {
            device_id: Some(DeviceId::new(self.rng.random_range(0..3).to_string()).unwrap()),
            timestamp_us: Some(number as i64),
            request_id: None,
        };
        let deadline =
            self.rng.random_ratio(1, 3).then(|| now + Duration::from_micros(self.rng.random_range(0..4_000)));
        let urgency = Urgency::ALL.get(self.rng.random_range(0..5)).copied();
        let ticket = Ticket::new(caller, Reply::Mqtt(ReplyTo::default()), now, deadline, number);
        let feature = [0.1, 0.45, 0.55, 0.9, 1.0][self.rng.random_range(0..5)];
        (Box::new(Ticket { urgency, ..ticket }), Ok(vec![feature]))
    }

    fn send(&mut self) {
        let mut sent = 0;
        while sent < REQUESTS {
            let batch = self.rng.random_range(1..6).min(REQUESTS - sent);
            let mut admitted = (sent..sent + batch).map(|number| self.request(number)).collect();
            self.ledger.receive(batch as usize);
            self.entrance.admit(&mut admitted, None);
            sent += batch;
        }
    }

    fn wait_until_all_have_ended(&self) {
        let left = self.ledger.wait_until_drained(Instant::now() + PATIENCE);
        assert_eq!(left, 0, "seed {}: so many of {REQUESTS} requests have not ended", self.seed);
    }

    /// Ends the threads: what they have counted as answered is published then.
    fn close(self) -> Ended {
        self.flows.iter().for_each(|(_, flow)| flow.close());
        self.junction.shared().close();
        self.dispatcher.close().unwrap().join().unwrap();
        self.networks.iter().flat_map(NetworkControl::close).for_each(|stage| stage.join().unwrap());
        assert!(self.flows.iter().all(|(_, flow)| flow.workers().join()), "seed {}", self.seed);
        let published = std::mem::take(&mut *self.published.0.lock().unwrap());
        Ended { statistics: self.ledger.statistics(), published }
    }
}

/// What has become of all requests.
struct Ended {
    statistics: Statistics,
    published: BTreeMap<u64, u32>,
}

#[test]
fn every_request_ends_once_whatever_becomes_of_its_legs() {
    for seed in 0..40 {
        let mut field = Field::new(seed);
        field.send();
        field.wait_until_all_have_ended();
        let Ended { statistics, published } = field.close();
        assert!(statistics.is_conserved(), "seed {seed}: {statistics:?}");
        assert!(published.values().all(|count| *count == 1), "seed {seed}: {published:?}");
        // What both sites have lost without a word ends too, and nothing is published.
        let lost = statistics.errors.get("NETWORK_LOST").copied().unwrap_or_default();
        assert_eq!(published.len() as u64 + lost, REQUESTS, "seed {seed}");
    }
}
