//! A search for the dearest packets: what a client can send so that the thread of
//! all clients has the most to do for each byte, or the most in one go.
//!
//! Work is counted ([`work`](crate::broker::work)), so that a seed finds the same on
//! every machine; microseconds are told beside it. The packets of each kind grow from
//! one another: whichever was at least as dear as its parent is a parent itself.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::arena::{Arena, nobody};
use super::mutate::{Seed, Seeds};
use super::runtime;
use crate::broker::work::{self, BYTES_PER_UNIT, SLICE_UNITS};
use crate::mqtt::packet::{put_packet, put_varint};
use crate::sync::lock;

/// The largest packet's properties, which are gone through in one go, and a slice before and after that.
const UNITS_IN_A_ROW_MAX: u64 = ((1 << 20) / BYTES_PER_UNIT + 2 * SLICE_UNITS) as u64;
/// Packets of one attacker: so many, or fewer where they are large.
const PACKETS_MAX: usize = 12;
const BYTES: usize = 128 * 1_024;
/// Packets that come before those.
const PROLOGUE_MAX: usize = 200;
/// The most levels that a name has as a rule, what topics may have with the usual
/// bounds, and what there is room for.
const LEVELS: [usize; 4] = [20, 20, 130, 30_000];
/// What is left of the largest packet beside what its recipe fills it with.
const SPARE_BYTES: usize = 4_096;
/// What packets are there to search among.
const KINDS: [&str; 9] =
    ["SUBSCRIBE", "UNSUBSCRIBE", "PUBLISH", "CONNECT", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "DISCONNECT"];

/// What one connection has made the thread do.
#[derive(Default)]
struct Spent {
    units: AtomicU64,
    most_in_a_row: AtomicU64,
    longest: Mutex<Duration>,
}

/// A connection that is weighed each time it runs.
struct Weighed<F> {
    future: Pin<Box<F>>,
    spent: Arc<Spent>,
}

impl<F: Future> Future for Weighed<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let (before, began) = (work::spent(), Instant::now());
        let polled = self.future.as_mut().poll(context);
        let units = (work::spent() - before) as u64;
        self.spent.units.fetch_add(units, Ordering::Relaxed);
        self.spent.most_in_a_row.fetch_max(units, Ordering::Relaxed);
        let mut longest = lock(&self.spent.longest);
        *longest = longest.max(began.elapsed());
        polled
    }
}

/// What the packets are made of.
#[derive(Debug, Clone)]
struct Recipe {
    kind: &'static str,
    /// Filters of a list, user properties of anything else.
    count: usize,
    levels: usize,
    /// What the levels are filled with, in turn.
    words: Vec<&'static str>,
    ends_open: bool,
    distinct: bool,
    /// Of a PUBLISH.
    qos: u8,
    retain: bool,
    /// What the same client sends first: so many subscriptions or retained messages.
    prologue: Option<Box<Recipe>>,
}

impl Recipe {
    fn any(kind: &'static str, rng: &mut ChaCha8Rng) -> Self {
        let mut recipe = Self {
            kind,
            count: 1,
            levels: 1,
            words: vec!["a"],
            ends_open: false,
            distinct: true,
            qos: 0,
            retain: true,
            prologue: None,
        };
        for _ in 0..4 {
            recipe.change(rng);
        }
        recipe
    }

    fn change(&mut self, rng: &mut ChaCha8Rng) {
        match rng.random_range(0..10) {
            0 | 1 => self.count = (self.count * rng.random_range(1..50)).min(200_000),
            2 => {
                let most = LEVELS[rng.random_range(0..LEVELS.len())];
                self.levels = (self.levels * rng.random_range(1..6)).min(most);
            }
            7 => self.qos = rng.random_range(0..3),
            8 => self.retain = rng.random(),
            9 => {
                let kind = ["SUBSCRIBE", "PUBLISH"][rng.random_range(0..2)];
                let own = self.prologue.take().filter(|own| own.kind == kind && own.prologue.is_none());
                let mut own = own.unwrap_or_else(|| Box::new(Self { prologue: None, ..self.clone() }));
                own.kind = kind;
                own.change(rng);
                own.prologue = None;
                self.prologue = Some(own);
            }
            3 => self.words.push(["a", "b", "+", ""][rng.random_range(0..4)]),
            4 => drop(self.words.drain(1..)),
            5 => self.ends_open = rng.random(),
            _ => self.distinct = rng.random(),
        }
    }

    fn name(&self, number: usize) -> String {
        let mut levels: Vec<_> =
            (0..self.levels).map(|at| self.words[(at + number) % self.words.len()].to_owned()).collect();
        if self.distinct {
            levels.push(number.to_string());
        }
        if self.ends_open {
            levels.push("#".to_owned());
        }
        let mut name = levels.join("/");
        name.truncate(usize::from(u16::MAX));
        name
    }

    /// The packets that it begins with, which carry nothing but their names.
    fn first_packets(&self, bytes_max: usize) -> Vec<u8> {
        let Some(prologue) = &self.prologue else { return Vec::new() };
        if prologue.kind == "SUBSCRIBE" {
            return prologue.packet(0, bytes_max);
        }
        let bare = Self { count: 1, ..(**prologue).clone() };
        (0..prologue.count.min(PROLOGUE_MAX)).flat_map(|round| bare.packet(round, bytes_max)).collect()
    }

    /// One of the packets, not larger than the broker takes.
    fn packet(&self, round: usize, bytes_max: usize) -> Vec<u8> {
        let bytes_max = bytes_max - SPARE_BYTES;
        let (mut body, first) = match self.kind {
            "SUBSCRIBE" => (self.list(bytes_max, Some(1)), 0x82),
            "UNSUBSCRIBE" => (self.list(bytes_max, None), 0xa2),
            "PUBLISH" => {
                let mut body = Vec::new();
                text(&mut body, &self.name(round).replace(['+', '#'], "a"));
                if self.qos > 0 {
                    body.extend([0, 7]);
                }
                (body, 0x30 | self.qos << 1 | u8::from(self.retain))
            }
            // With a will that has as many.
            "CONNECT" => (b"\0\x04MQTT\x05\x06\0\0".to_vec(), 0x10),
            "PUBACK" => (vec![0, 7, 0], 0x40),
            "PUBREC" => (vec![0, 7, 0], 0x50),
            "PUBREL" => (vec![0, 7, 0], 0x62),
            "PUBCOMP" => (vec![0, 7, 0], 0x70),
            _ => (vec![0], 0xe0),
        };
        match self.kind {
            "SUBSCRIBE" | "UNSUBSCRIBE" => {}
            "CONNECT" => {
                self.put_properties(&mut body, bytes_max / 2);
                text(&mut body, "co");
                self.put_properties(&mut body, bytes_max / 2);
                text(&mut body, "will");
                text(&mut body, "");
            }
            _ => self.put_properties(&mut body, bytes_max),
        }
        let mut packet = Vec::new();
        put_packet(&mut packet, first, &body);
        packet
    }

    fn list(&self, bytes_max: usize, options: Option<u8>) -> Vec<u8> {
        // No properties.
        let mut body = vec![0, 7, 0];
        for number in 0..self.count {
            text(&mut body, &self.name(number));
            body.extend(options);
            if body.len() > bytes_max {
                break;
            }
        }
        body
    }

    fn put_properties(&self, body: &mut Vec<u8>, bytes_max: usize) {
        let mut block = Vec::new();
        for number in 0..self.count {
            block.push(38);
            text(&mut block, if self.distinct { self.words[number % self.words.len()] } else { "" });
            text(&mut block, "");
            if block.len() > bytes_max {
                break;
            }
        }
        put_varint(body, block.len());
        body.extend(block);
    }
}

fn text(body: &mut Vec<u8>, text: &str) {
    body.extend((text.len() as u16).to_be_bytes());
    body.extend(text.as_bytes());
}

/// Sends the packets of a recipe, and weighs what comes of them.
async fn weigh(arena: &mut Arena, recipe: &Recipe) -> (f64, u64, Duration) {
    let spent = Arc::new(Spent::default());
    let weighed = spent.clone();
    let (client, server_end) = tokio::io::duplex(64 * 1_024);
    let (reader, writer) = tokio::io::split(server_end);
    arena.serve(|context, limits| {
        let future =
            Box::pin(crate::broker::front::arrival::serve(context, limits, nobody(), reader, writer));
        Weighed { future, spent: weighed }
    });
    let (mut from, mut to) = tokio::io::split(client);
    let swallow =
        tokio::spawn(
            async move { while matches!(from.read(&mut [0; 4_096]).await, Ok(read) if read > 0) {} },
        );
    let packet_bytes_max = arena.packet_bytes_max();
    let first = recipe.packet(0, packet_bytes_max);
    let packets = (BYTES / first.len()).clamp(1, PACKETS_MAX);
    let mut bytes = Vec::new();
    if recipe.kind != "CONNECT" {
        bytes.extend(b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x02co");
    }
    bytes.extend(recipe.first_packets(packet_bytes_max));
    bytes.extend((0..packets).flat_map(|round| recipe.packet(round, packet_bytes_max)));
    bytes.extend([0xe0, 0]);
    arena.packets += packets as u64 + 3;
    // The broker may end the connection before it has read everything.
    let _ended = to.write_all(&bytes).await;
    drop(to);
    arena.assert_well().await;
    swallow.abort();
    let units = spent.units.load(Ordering::Relaxed);
    let longest = *lock(&spent.longest);
    (units as f64 / bytes.len() as f64, spent.most_in_a_row.load(Ordering::Relaxed), longest)
}

/// What was the dearest of one kind: a byte, the most in a row, and how long that took.
type Dearest = BTreeMap<&'static str, (f64, u64, Duration, Recipe)>;

/// With the usual bounds a seed takes as long as a dozen others, so that an
/// unoptimised build tries no more there whatever is asked for.
const USUAL_SEEDS_MAX: usize = if cfg!(debug_assertions) { 400 } else { usize::MAX };

async fn search(arena: &mut Arena, seeds: impl Iterator<Item = Seed>) -> Dearest {
    let mut dearest = Dearest::new();
    for seed in seeds {
        let mut rng = seed.rng();
        let kind = KINDS[rng.random_range(0..KINDS.len())];
        let parent = dearest.get(kind).filter(|_| rng.random_bool(0.8));
        let mut recipe = parent.map_or_else(|| Recipe::any(kind, &mut rng), |(.., best)| best.clone());
        recipe.change(&mut rng);
        let (cost, in_a_row, longest) = weigh(arena, &recipe).await;
        assert!(in_a_row <= UNITS_IN_A_ROW_MAX, "{in_a_row} units in a row: {recipe:?}");
        if dearest.get(kind).is_none_or(|(best, ..)| cost >= *best) {
            dearest.insert(kind, (cost, in_a_row, longest, recipe));
        }
    }
    dearest
}

fn search_and_tell(start: impl FnOnce() -> Arena, seeds: impl Iterator<Item = Seed>) {
    let dearest = runtime().block_on(async {
        let mut arena = start();
        let dearest = search(&mut arena, seeds).await;
        arena.stop().await;
        dearest
    });
    for (kind, (cost, in_a_row, longest, recipe)) in dearest {
        println!("{kind}: {cost:.2} units a byte, {in_a_row} in a row, {longest:.0?} at most: {recipe:?}");
    }
}

#[test]
fn no_packet_keeps_the_thread_for_longer_than_a_slice() {
    search_and_tell(Arena::start, Seeds::new(60));
}

#[test]
fn no_packet_keeps_the_thread_for_longer_than_a_slice_with_the_usual_bounds() {
    search_and_tell(Arena::with_default_bounds, Seeds::new(40).take(USUAL_SEEDS_MAX));
}
