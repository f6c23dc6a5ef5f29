//! A search for harm to memory: what a few clients can do so that the broker takes
//! more than it counts.
//!
//! Seeded and bounded as the searches in `src/broker/tests/hostile` are. What
//! clients do grows from what was worst before. The broker runs on threads of its
//! own, so a seed repeats what clients do, not every interleaving.

#[path = "../../src/broker/tests/hostile/mutate.rs"]
#[allow(dead_code, reason = "only the seeds are used here")]
mod mutate;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nearfar::broker::{Broker, Config, Limits};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use self::mutate::Seeds;
use crate::support::mqtt::{Client, Connect, PATIENCE, start};
use crate::{ALLOCATED, alone};

/// What is taken may be so many times what is counted,
const RATIO_MAX: f64 = 1.5;
/// and so much beside that: the router's buffers and tables, of which it gives
/// nothing back, and this test's own.
const SLACK_BYTES: f64 = 2e6;
/// Parties of clients, and how many each has, which all do the same: what is missing
/// for one shows with several.
const SLOTS: usize = 4;
const CLIENTS_EACH: usize = 6;
/// How often a client does something in a row, with so many bytes at most, and how
/// long it waits for a broker that does not read.
const TIMES_MAX: usize = 100;
const BYTES_MAX: usize = 1 << 19;
const WRITE_TIMEOUT: Duration = Duration::from_millis(50);
/// The broker has nothing to do any more when what it holds is the same for so long, to so many bytes.
const QUIET: Duration = Duration::from_millis(40);
const QUIET_BYTES: usize = 1_024;
/// How often it is looked at whether what seems to be too much is on its way to somebody.
const LOOKS_MAX: usize = 5;

/// What a party does, so many times where that makes sense.
#[derive(Debug, Clone)]
struct Step {
    party: usize,
    act: Act,
    times: usize,
}

#[derive(Debug, Clone)]
enum Act {
    /// Comes (back), with a will of so many bytes and so many user properties.
    Connect {
        is_persistent: bool,
        will_bytes: usize,
        properties: usize,
    },
    /// To what comes for this client; alone, or in a group.
    Subscribe {
        whose: usize,
        levels: usize,
        qos: u8,
        is_shared: bool,
    },
    /// For another party, or where that is beyond them for nobody; each behind so many
    /// bytes to nobody, sent together.
    Publish {
        whose: usize,
        levels: usize,
        flags: u8,
        bytes: usize,
        properties: usize,
        behind: usize,
        has_alias: bool,
    },
    /// All but the last bytes of a PUBLISH.
    Half {
        bytes: usize,
    },
    /// Takes what has come, and acknowledges nothing.
    Read,
    Leave {
        says_so: bool,
    },
}

impl Act {
    fn any(rng: &mut ChaCha8Rng) -> Self {
        let whose = rng.random_range(0..=SLOTS);
        let levels = pick(rng, &[1, 1, 2, 50]);
        let properties = pick(rng, &[0, 0, 1, 30, 2_000, 20_000]);
        match rng.random_range(0..12) {
            0 | 1 => {
                let will_bytes = pick(rng, &[0, 0, 10, 60_000]);
                Self::Connect { is_persistent: rng.random(), will_bytes, properties }
            }
            2..=4 => Self::Subscribe { whose, levels, qos: rng.random_range(0..3), is_shared: rng.random() },
            5..=8 => {
                let flags = rng.random_range(0..3) << 1 | u8::from(rng.random_bool(0.3));
                let bytes = pick(rng, &[1, 1, 100, 5_000, 50_000, 500_000]);
                let behind = pick(rng, &[0, 0, 0, 60_000]);
                let has_alias = rng.random_bool(0.2);
                Self::Publish { whose, levels, flags, bytes, properties, behind, has_alias }
            }
            9 => Self::Half { bytes: pick(rng, &[100, 5_000, 70_000, 900_000]) },
            10 => Self::Read,
            _ => Self::Leave { says_so: rng.random() },
        }
    }

    /// What it sends at the `n`th time.
    fn bytes(&self, client: &Client, n: usize) -> Vec<u8> {
        let packet_id = 1 + n as u16;
        match self {
            &Self::Subscribe { whose, levels, qos, is_shared } => {
                let group = if is_shared { "$share/g/" } else { "" };
                let filter = format!("{group}{whose}/{}", "x/".repeat(levels));
                // Another one each time, and one that finds everything.
                let filter = format!("{filter}{}", if n == 0 { "#".to_owned() } else { n.to_string() });
                client.subscribe_bytes(&filter, qos, packet_id, &[])
            }
            &Self::Publish { whose, levels, flags, bytes, properties, behind, has_alias } => {
                let mut packets = Vec::new();
                if behind > 0 {
                    packets.extend(client.publish_bytes("nobody", &vec![7; behind], 0, 0, &[]));
                }
                let topic = format!("{whose}/{}{n}", "x/".repeat(levels));
                let mut block = [38, 0, 0, 0, 0].repeat(properties);
                if has_alias {
                    block.extend([35, 0, 1 + (n % 60) as u8]);
                }
                packets.extend(client.publish_bytes(&topic, &vec![7; bytes], flags, packet_id, &block));
                packets
            }
            &Self::Half { bytes } => {
                let mut packet = client.publish_bytes("half", &vec![7; bytes], 0, 0, &[]);
                packet.pop();
                packet
            }
            Self::Connect { .. } | Self::Read | Self::Leave { .. } => Vec::new(),
        }
    }
}

fn pick(rng: &mut ChaCha8Rng, from: &[usize]) -> usize {
    from[rng.random_range(0..from.len())]
}

impl Step {
    fn any(rng: &mut ChaCha8Rng) -> Self {
        let party = rng.random_range(0..SLOTS);
        Self { party, act: Act::any(rng), times: pick(rng, &[1, 1, 10, TIMES_MAX]) }
    }
}

/// Clients that come first, then steps of any kind.
fn any_steps(rng: &mut ChaCha8Rng) -> Vec<Step> {
    let connect = |party| {
        let act = Act::Connect { is_persistent: party == 0, will_bytes: 0, properties: 0 };
        Step { party, act, times: 1 }
    };
    let mut steps: Vec<_> = (0..SLOTS).map(connect).collect();
    steps.extend((0..rng.random_range(4..20)).map(|_| Step::any(rng)));
    steps
}

/// A step more, or less, or another one, or one again.
fn change(steps: &mut Vec<Step>, rng: &mut ChaCha8Rng) {
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(0..steps.len());
        match rng.random_range(0..5) {
            0 if steps.len() > 1 => drop(steps.remove(at)),
            1 => steps[at] = Step::any(rng),
            2 => steps.push(steps[at].clone()),
            3 => steps[at].times = TIMES_MAX,
            _ => steps.insert(at, Step::any(rng)),
        }
    }
}

/// The clients of one run. Those that have been replaced, or have sent half a packet, stay where they are.
struct Crowd {
    address: SocketAddr,
    parties: [Vec<Client>; SLOTS],
    others: Vec<Client>,
}

impl Crowd {
    fn take(&mut self, step: &Step) {
        let party = &mut self.parties[step.party];
        match &step.act {
            Act::Connect { is_persistent, will_bytes, properties } => {
                let properties = [38, 0, 0, 0, 0].repeat(*properties);
                let connect = |n| {
                    let client_id = format!("{}-{n}", step.party);
                    connect(self.address, &client_id, *is_persistent, *will_bytes, &properties)
                };
                *party = (0..CLIENTS_EACH).filter_map(connect).collect();
            }
            Act::Read => party.iter_mut().for_each(read),
            Act::Leave { says_so } => {
                for mut client in party.drain(..).filter(|_| *says_so) {
                    send(&mut client, &[0xe0, 0]);
                }
            }
            act => {
                party.iter_mut().for_each(|client| act_often(client, act, step.times));
                if matches!(act, Act::Half { .. }) {
                    self.others.append(party);
                }
            }
        }
    }
}

fn act_often(client: &mut Client, act: &Act, times: usize) {
    let each = act.bytes(client, 1).len().max(1);
    for n in 0..times.min(BYTES_MAX / each).max(1) {
        let bytes = act.bytes(client, n);
        if !send(client, &bytes) {
            return;
        }
    }
}

fn connect(
    address: SocketAddr,
    client_id: &str,
    is_persistent: bool,
    will_bytes: usize,
    properties: &[u8],
) -> Option<Client> {
    let payload = vec![7; will_bytes];
    let will = (will_bytes > 0).then(|| ("will", &payload[..], 1, true, properties.to_vec()));
    // Both ways as many aliases as there may be.
    let own = [&[34, 0, 64][..], properties].concat();
    let connect = Connect { will, properties: own, ..Connect::v5(client_id) };
    let connect = if is_persistent { connect.persistent() } else { connect };
    let mut client = Client::open(address, true);
    client.stream.set_write_timeout(Some(WRITE_TIMEOUT)).unwrap();
    // The answer comes when nothing of the CONNECT is under way any more.
    (send(&mut client, &connect.bytes()) && client.next().is_some()).then_some(client)
}

/// Whether the broker has taken it all.
fn send(client: &mut Client, bytes: &[u8]) -> bool {
    client.stream.write_all(bytes).is_ok()
}

fn read(client: &mut Client) {
    client.stream.set_nonblocking(true).unwrap();
    let mut block = [0; 64 * 1_024];
    // Until nothing has come, or nothing will.
    while client.stream.read(&mut block).is_ok_and(|read| read > 0) {}
    client.stream.set_nonblocking(false).unwrap();
}

fn unbounded() -> Config {
    let many = 1 << 30;
    let limits = Limits {
        pending_bytes_max: many,
        inflight_bytes_max: many,
        pending_messages_max: many,
        retained_bytes_max: many,
        memory_max: Some(many),
        ..Limits::default()
    };
    // What it tells of itself would never be quiet.
    Config { limits, sys_interval: Duration::ZERO, ..Config::loopback() }
}

/// What is counted and what is taken.
fn held(broker: &Broker) -> (usize, usize) {
    (broker.statistics().memory.total(), ALLOCATED.allocated())
}

/// The same once the broker has nothing more to do.
fn settled(broker: &Broker) -> (usize, usize) {
    let began = Instant::now();
    let (mut before, mut since) = (held(broker), Instant::now());
    while since.elapsed() < QUIET {
        std::thread::yield_now();
        let now = held(broker);
        if now.0.abs_diff(before.0).max(now.1.abs_diff(before.1)) > QUIET_BYTES {
            (before, since) = (now, Instant::now());
        }
        assert!(began.elapsed() < PATIENCE, "it never comes to rest");
    }
    before
}

/// Bytes that are counted and that are taken more than before the steps. What
/// connections leave that have ended may take a moment.
fn grown(steps: &[Step]) -> (f64, f64) {
    let (broker, address) = start(unbounded());
    let (counted_before, taken_before) = settled(&broker);
    let mut crowd = Crowd { address, parties: Default::default(), others: Vec::new() };
    steps.iter().for_each(|step| crowd.take(step));
    let began = Instant::now();
    let mut looks = 0;
    loop {
        let (counted, taken) = settled(&broker);
        let grown = (counted as f64 - counted_before as f64, taken as f64 - taken_before as f64);
        looks += 1;
        // A large packet that is worked off may look like rest.
        let may_be_passing = grown.1 > grown.0 + SLACK_BYTES / 4.0 && looks < LOOKS_MAX;
        if !may_be_passing && !is_wrong(grown) || began.elapsed() > PATIENCE {
            return grown;
        }
    }
}

fn is_wrong((counted, taken): (f64, f64)) -> bool {
    taken > RATIO_MAX * counted + SLACK_BYTES
}

#[test]
fn whatever_clients_do_no_more_is_taken_than_is_counted() {
    let _alone = alone();
    let mut worst: Option<(f64, Vec<Step>)> = None;
    let (mut tried, began) = (0, Instant::now());
    for seed in Seeds::new(20) {
        let mut rng = seed.rng();
        let parent = worst.as_ref().filter(|_| rng.random_bool(0.5));
        let mut steps = parent.map_or_else(|| any_steps(&mut rng), |(_, steps)| steps.clone());
        change(&mut steps, &mut rng);
        let grown = grown(&steps);
        let (counted, taken) = grown;
        assert!(
            !is_wrong(grown),
            "{:.1} MB are taken and {:.1} counted: {steps:#?}",
            taken / 1e6,
            counted / 1e6
        );
        // How near it is to what may be.
        let ratio = (taken - SLACK_BYTES) / counted.max(1.0);
        if worst.as_ref().is_none_or(|(most, _)| ratio >= *most) {
            println!("seed {tried}: {:.2} MB taken, {:.2} counted", taken / 1e6, counted / 1e6);
            worst = Some((ratio, steps));
        }
        tried += 1;
    }
    println!("{tried} seeds in {:.1?}; the worst were {:?}", began.elapsed(), worst.map(|(_, steps)| steps));
}
