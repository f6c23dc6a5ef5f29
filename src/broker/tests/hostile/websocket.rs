//! Tests: MQTT in WebSocket messages, through our adapter into a connection.

use std::cell::Cell;
use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tokio::io::DuplexStream;

use super::answers::answers;
use super::arena::{Arena, nobody};
use super::campaign;
use super::frames::{carrying, odd_frame, odd_request, request};
use super::mutate::mutate;
use super::packets::{Speaker, plain_connect};
use super::peer::Peer;
use crate::broker::config::{ConnectionLimits, WebSocket};
use crate::broker::front::arrival;
use crate::broker::front::websocket::{HandshakeFailure, MqttStream, shake_hands};
use crate::broker::limits::charge::Charge;
use crate::broker::session::context::Context;

/// From here on a campaign is long enough to say how far its clients got.
const CONNECTIONS_TELLING: u32 = 100;

/// A WebSocket listener's part of a connection.
async fn serve(context: Arc<Context>, limits: ConnectionLimits, mut stream: DuplexStream) {
    match shake_hands(&mut stream, &WebSocket::default()).await {
        Ok(tail) => {
            let stream = MqttStream::new(stream, tail, limits.packet_bytes_max, Charge::default()).await;
            let (reader, writer) = tokio::io::split(stream);
            arrival::serve(context, limits, nobody(), reader, writer).await;
        }
        Err(HandshakeFailure::Lost(_)) => {}
        Err(HandshakeFailure::Refused { status, why, .. }) => {
            // Without one the client did not speak HTTP.
            assert!(status.is_none_or(|status| status.is_client_error()), "{status:?} {why}");
        }
    }
}

#[test]
fn what_a_proper_websocket_client_sends_reaches_mqtt() {
    campaign("websocket, intact", 100, async |arena, rng| {
        let (mut peer, server_end) = Peer::pair();
        arena.serve(|context, limits| serve(context, limits, server_end));
        let session = [plain_connect(), b"\xc0\x00".to_vec()].concat();
        let bytes = [vec![request()], carrying(&session, rng)].concat();
        arena.packets += 2;
        peer.send_all(&bytes.concat(), rng).await;
        let answered = |received: &[u8]| answers(received).packets == [0x20, 0xd0];
        assert!(peer.read_until(answered).await, "{:?}", answers(peer.received()));
    });
}

#[test]
fn mutated_websocket_frames_never_harm_the_broker() {
    let (connections, upgraded, connected) = (Cell::new(0), Cell::new(0), Cell::new(0));
    campaign("websocket", 100, async |arena, rng| {
        for _ in 0..5 {
            let (mut peer, server_end) = Peer::pair();
            arena.serve(|context, limits| serve(context, limits, server_end));
            converse(arena, &mut peer, rng).await;
            peer.hang_up(rng).await;
            let answers = answers(peer.received());
            connections.set(connections.get() + 1);
            upgraded.set(upgraded.get() + u32::from(answers.status == Some(101)));
            connected.set(connected.get() + u32::from(answers.have_connack()));
        }
    });
    let [connections, upgraded, connected] = [connections, upgraded, connected].map(Cell::into_inner);
    println!("websocket: {connections} connections, {upgraded} upgraded, {connected} with a CONNACK");
    if connections >= CONNECTIONS_TELLING {
        assert!(upgraded * 2 > connections, "only {upgraded} of {connections} handshakes were accepted");
        assert!(connected * 4 > connections, "only {connected} of {connections} reached MQTT");
    }
}

/// A handshake, a CONNECT and some packets, each of them mostly sound.
async fn converse(arena: &mut Arena, peer: &mut Peer, rng: &mut ChaCha8Rng) {
    let mut handshake = if rng.random_bool(0.05) { odd_request(rng) } else { request() };
    if rng.random_bool(0.1) {
        mutate(&mut handshake, rng);
    }
    peer.send_all(&handshake, rng).await;
    let speaker = Speaker::any(rng);
    let broken = rng.random_range(0.0..0.4);
    for index in 0..rng.random_range(2..25) {
        let packet = if index == 0 { speaker.connect(rng) } else { speaker.packet(rng) };
        for mut frame in carrying(&packet, rng) {
            if index > 0 && rng.random_bool(broken) {
                match rng.random_range(0..3) {
                    0 => frame = odd_frame(rng),
                    _ => mutate(&mut frame, rng),
                }
            }
            peer.send(arena, &frame, rng).await;
        }
        peer.read(rng).await;
        if peer.is_closed() {
            return;
        }
    }
}
