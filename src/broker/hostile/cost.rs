//! A search for the dearest packets: what a client can send so that the thread of all clients has the most to do for each byte, or the most in
//! one go.
//!
//! Work is counted ([`work`](super::super::work)), so that a seed finds the same on every machine; microseconds are told beside it. The packets
//! grow from one another: whichever was dearer than its parent is a parent itself.

use super::super::codec::put_varint;
use super::super::work::{self, SLICE_UNITS};
use super::arena::{Arena, nobody};
use super::mutate::Seeds;
use super::runtime;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A slice, the last piece of work in it, and what a session that ends begins with.
const UNITS_IN_A_ROW_MAX: u64 = 3 * SLICE_UNITS as u64;
/// Packets of one attacker.
const PACKETS: usize = 12;

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
        let mut longest = self.spent.longest.lock().unwrap_or_else(PoisonError::into_inner);
        *longest = longest.max(began.elapsed());
        polled
    }
}

/// What the packets of a list are made of.
#[derive(Debug, Clone)]
struct Recipe {
    kind: &'static str,
    filters: usize,
    levels: usize,
    /// What the levels are filled with, in turn.
    words: Vec<&'static str>,
    ends_open: bool,
    distinct: bool,
}

impl Recipe {
    fn any(rng: &mut ChaCha8Rng) -> Self {
        let mut recipe = Self {
            kind: "SUBSCRIBE",
            filters: 1,
            levels: 1,
            words: vec!["a"],
            ends_open: false,
            distinct: true,
        };
        for _ in 0..4 {
            recipe.change(rng);
        }
        recipe
    }

    fn change(&mut self, rng: &mut ChaCha8Rng) {
        match rng.random_range(0..7) {
            0 => self.kind = ["SUBSCRIBE", "UNSUBSCRIBE", "PUBLISH"][rng.random_range(0..3)],
            1 => self.filters = (self.filters * rng.random_range(1..8)).min(400),
            2 => self.levels = (self.levels * rng.random_range(1..6)).min(20),
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
        levels.join("/")
    }

    fn packet(&self, round: usize) -> Vec<u8> {
        let mut body = Vec::new();
        let first = match self.kind {
            "PUBLISH" => {
                text(&mut body, &self.name(round).replace(['+', '#'], "a"));
                0x31
            }
            kind => {
                body.extend([0, 7]);
                for number in 0..self.filters {
                    text(&mut body, &self.name(number));
                    body.extend((kind == "SUBSCRIBE").then_some(1));
                }
                if kind == "SUBSCRIBE" { 0x82 } else { 0xa2 }
            }
        };
        let mut packet = vec![first];
        put_varint(&mut packet, body.len());
        packet.extend(body);
        packet
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
    arena.serve(|server, limits| {
        let future = Box::pin(super::super::connection::serve(server, limits, nobody(), reader, writer));
        Weighed { future, spent: weighed }
    });
    let (mut from, mut to) = tokio::io::split(client);
    let swallow =
        tokio::spawn(
            async move { while matches!(from.read(&mut [0; 4_096]).await, Ok(read) if read > 0) {} },
        );
    let mut bytes = b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02co".to_vec();
    bytes.extend((0..PACKETS).flat_map(|round| recipe.packet(round)));
    bytes.extend([0xe0, 0]);
    arena.packets += PACKETS as u64 + 2;
    // The broker may end the connection before it has read everything.
    let _ended = to.write_all(&bytes).await;
    drop(to);
    arena.assert_well().await;
    swallow.abort();
    let units = spent.units.load(Ordering::Relaxed);
    let longest = *spent.longest.lock().unwrap_or_else(PoisonError::into_inner);
    (units as f64 / bytes.len() as f64, spent.most_in_a_row.load(Ordering::Relaxed), longest)
}

#[test]
fn no_packet_keeps_the_thread_for_longer_than_a_slice() {
    let mut dearest: BTreeMap<&str, (f64, u64, Duration, Recipe)> = BTreeMap::new();
    let mut parent: Option<(f64, Recipe)> = None;
    runtime().block_on(async {
        let mut arena = Arena::start();
        for seed in Seeds::new(60) {
            let mut rng = seed.rng();
            let mut recipe = parent
                .as_ref()
                .filter(|_| rng.random_bool(0.8))
                .map_or_else(|| Recipe::any(&mut rng), |(_, best)| best.clone());
            recipe.change(&mut rng);
            let (cost, in_a_row, longest) = weigh(&mut arena, &recipe).await;
            assert!(in_a_row <= UNITS_IN_A_ROW_MAX, "{in_a_row} units in a row: {recipe:?}");
            if parent.as_ref().is_none_or(|(best, _)| cost >= *best) {
                parent = Some((cost, recipe.clone()));
            }
            if dearest.get(recipe.kind).is_none_or(|(best, ..)| cost > *best) {
                dearest.insert(recipe.kind, (cost, in_a_row, longest, recipe));
            }
        }
        arena.stop().await;
    });
    for (kind, (cost, in_a_row, longest, recipe)) in dearest {
        println!("{kind}: {cost:.2} units a byte, {in_a_row} in a row, {longest:.0?} at most: {recipe:?}");
    }
}
