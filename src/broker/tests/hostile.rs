//! Tests: whatever bytes clients send, in whatever order, the broker lives, leaves nothing behind and
//! serves the next one. Whatever stands in an operator's files is read as it is meant, or refused.
//!
//! Seeded and bounded. `NEARFAR_FUZZ_ITERATIONS` says how many seeds each target tries,
//! `NEARFAR_FUZZ_SEED` the first one; a failure names its seed. The router runs on a thread of its own, so
//! a seed repeats what clients do, not every interleaving. [`mutate`] and [`Seeds`] know nothing of MQTT.

mod answers;
mod arena;
mod cost;
mod frames;
mod mutate;
mod packets;
mod peer;
mod rules;
mod rules_grammar;
mod users;
mod websocket;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tokio::runtime::Runtime;

use self::arena::Arena;
use self::mutate::{Seeds, mutate};
use self::packets::{Speaker, connect};
use self::peer::Peer;

/// A broker serves this many seeds before the next one takes its place, so that its
/// full tables do not hide the rest.
const SEEDS_PER_BROKER: u64 = 250;
/// Far longer than reading one of these texts takes, even where other tests keep the machine busy.
const TEXT_TIME_MAX: Duration = Duration::from_secs(30);

/// Runs `one` for every seed against brokers that are checked after each, and says how many packets it took.
fn campaign(name: &str, iterations_default: u64, one: impl AsyncFn(&mut Arena, &mut ChaCha8Rng)) {
    let runtime = runtime();
    let (mut packets, mut tried) = (0, 0);
    let mut reached = BTreeMap::new();
    let started = Instant::now();
    runtime.block_on(async {
        let mut seeds = Seeds::new(iterations_default).peekable();
        while seeds.peek().is_some() {
            let mut arena = Arena::start();
            let mut first = None;
            for mut seed in seeds.by_ref().take(SEEDS_PER_BROKER as usize) {
                seed.note_first(&mut first);
                let mut rng = seed.rng();
                one(&mut arena, &mut rng).await;
                arena.assert_well().await;
                tried += 1;
            }
            packets += arena.packets;
            for (limit, count) in arena.limits_reached().iter().filter(|(_, count)| *count > 0) {
                *reached.entry(limit).or_insert(0) += count;
            }
            arena.stop().await;
        }
    });
    let elapsed = started.elapsed();
    let rate = packets as f64 / elapsed.as_secs_f64();
    println!(
        "{name}: {tried} seeds, {packets} packets in {elapsed:.1?}, {rate:.0} a second; reached {reached:?}"
    );
}

/// Runs `one` for every seed, where there is nothing but a text to be read: none may
/// take longer than [`TEXT_TIME_MAX`].
fn text_campaign(name: &str, iterations_default: u64, mut one: impl FnMut(&mut ChaCha8Rng)) {
    let started = Instant::now();
    let (mut tried, mut longest) = (0, Duration::ZERO);
    for seed in Seeds::new(iterations_default) {
        let began = Instant::now();
        one(&mut seed.rng());
        let took = began.elapsed();
        assert!(took <= TEXT_TIME_MAX, "took {took:.1?}");
        longest = longest.max(took);
        tried += 1;
    }
    println!("{name}: {tried} seeds in {:.1?}, the longest took {longest:.1?}", started.elapsed());
}

fn runtime() -> Runtime {
    // As the broker's own: one thread.
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn mutated_packets_into_a_running_connection_never_harm_the_broker() {
    campaign("packets", 150, async |arena, rng| {
        // A broken packet mostly ends its connection, so there are several.
        for _ in 0..10 {
            let speaker = Speaker::any(rng);
            let mut peer = Peer::open(arena);
            peer.send(arena, &speaker.connect(rng), rng).await;
            let broken = rng.random_range(0.0..0.5);
            for _ in 0..rng.random_range(5..40) {
                let mut packet = speaker.packet(rng);
                if rng.random_bool(broken) {
                    mutate(&mut packet, rng);
                }
                peer.send(arena, &packet, rng).await;
                peer.read(rng).await;
                if peer.is_closed() {
                    break;
                }
            }
            peer.leave(rng).await;
        }
    });
}

#[test]
fn mutated_first_packets_are_refused_or_served() {
    campaign("first packets", 300, async |arena, rng| {
        for _ in 0..10 {
            let mut first = if rng.random_bool(0.9) { connect(rng) } else { Speaker::any(rng).packet(rng) };
            if rng.random_bool(0.9) {
                mutate(&mut first, rng);
            }
            let mut peer = Peer::open(arena);
            peer.send(arena, &first, rng).await;
            peer.read(rng).await;
            peer.leave(rng).await;
        }
    });
}

#[test]
fn sessions_of_several_clients_at_once_never_harm_the_broker() {
    campaign("sessions", 60, async |arena, rng| {
        let count = rng.random_range(2..7);
        let mut peers: Vec<Option<(Speaker, Peer)>> = (0..count).map(|_| None).collect();
        for _ in 0..rng.random_range(20..200) {
            let slot = &mut peers[rng.random_range(0..count)];
            match slot.take() {
                None => {
                    let speaker = Speaker::any(rng);
                    let mut peer = Peer::open(arena);
                    peer.send(arena, &speaker.connect(rng), rng).await;
                    *slot = Some((speaker, peer));
                }
                Some((_, peer)) if peer.is_closed() || rng.random_bool(0.03) => peer.leave(rng).await,
                Some((speaker, mut peer)) => {
                    act(arena, &speaker, &mut peer, rng).await;
                    *slot = Some((speaker, peer));
                }
            }
        }
        for (_, peer) in peers.into_iter().flatten() {
            peer.leave(rng).await;
        }
    });
}

/// One thing that a client does: mostly something valid, so that sessions get far.
async fn act(arena: &mut Arena, speaker: &Speaker, peer: &mut Peer, rng: &mut ChaCha8Rng) {
    match rng.random_range(0..20) {
        0..=11 => {
            let packet = speaker.packet(rng);
            peer.send(arena, &packet, rng).await;
        }
        12 => {
            let mut packet = speaker.packet(rng);
            mutate(&mut packet, rng);
            peer.send(arena, &packet, rng).await;
        }
        13..=17 => {
            peer.read(rng).await;
            for answer in peer.answers(rng) {
                peer.send(arena, &answer, rng).await;
            }
        }
        _ => tokio::task::yield_now().await,
    }
}
