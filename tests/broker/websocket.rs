//! MQTT over WebSocket: the handshake, messages and packets that begin and end where
//! they like, and what ends a connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use nearfar::broker::{Broker, Config, Limit, Limits, Listener};
use nearfar::testing::parse_broker;

use crate::support::certificates::{Authority, Files};
use crate::support::mqtt::{Client, Connect, PATIENCE, packet, start, trickle};
use crate::support::websocket::{
    ACCEPT, BINARY, CLOSE, CONTINUATION, FIN, Frame, PING, PONG, TEXT, WebSocket, ask, connect, frame,
    request, request_with,
};

/// A WebSocket listener, and a plain one behind it.
fn config() -> Config {
    let mut config = Config::loopback();
    let address = config.listeners[0].address;
    let websocket = Listener { websocket: Some(Default::default()), ..Listener::new("ws", address) };
    config.listeners.insert(0, websocket);
    config
}

fn start_both() -> (Broker, SocketAddr, SocketAddr) {
    let (broker, address) = start(config());
    let plain = broker.addresses()[1].1;
    (broker, address, plain)
}

fn client(address: SocketAddr, says: &Connect<'_>) -> Client<WebSocket<TcpStream>> {
    let (client, connack) = Client::over(WebSocket::over(connect(address)), says);
    assert_eq!((connack.first, connack.body[1]), (0x20, 0), "{connack:?}");
    client
}

/// A client that is connected, frame by frame.
fn frames(address: SocketAddr, says: &Connect<'_>) -> WebSocket<TcpStream> {
    client(address, says).stream
}

const PINGREQ: [u8; 2] = [0xc0, 0];
const PINGRESP: [u8; 2] = [0xd0, 0];

fn binary(payload: &[u8]) -> Frame {
    Frame { first: FIN | BINARY, payload: payload.to_vec() }
}

#[test]
fn both_versions_are_served_beside_clients_on_tcp() {
    let (_broker, address, plain) = start_both();
    let (mut old, mut new) = (client(address, &Connect::v3("old")), client(address, &Connect::v5("new")));
    let mut tcp = Client::v5(plain, "tcp");
    assert_eq!((old.subscribe("a", 1), new.subscribe("a", 1), tcp.subscribe("a", 1)), (1, 1, 1));
    old.publish("a", b"hello", 0);
    assert_eq!(old.receive().payload(), b"hello");
    assert_eq!(new.receive().payload5(), b"hello");
    assert_eq!(tcp.receive().payload5(), b"hello");
    new.publish("a", b"back", 0);
    assert_eq!(old.receive().payload(), b"back");
    old.disconnect();
    assert_eq!(new.receive().payload5(), b"back");
    new.disconnect();
}

#[test]
fn packets_larger_than_a_message_go_through_in_both_directions() {
    let (_broker, address, _) = start_both();
    let mut client = client(address, &Connect::v5("c"));
    client.subscribe("big", 1);
    let payload: Vec<u8> = (0..900_000u32).map(|n| (n % 251) as u8).collect();
    for _ in 0..5 {
        client.publish("big", &payload, 0);
    }
    for _ in 0..5 {
        assert!(client.receive().payload5() == payload);
    }
    client.disconnect();
}

#[test]
fn the_handshake_answers_key_and_subprotocol() {
    let (_broker, address, _) = start_both();
    for offer in [
        "Sec-WebSocket-Protocol: mqtt\r\n",
        "sec-websocket-protocol: mqttv3.1, mqtt\r\n",
        "Sec-WebSocket-Protocol: mqttv3.1\r\nSec-WebSocket-Protocol: mqtt\r\n",
    ] {
        let answer = ask(&mut connect(address), &request_with(offer)).to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 101 "), "{answer}");
        assert!(
            answer.contains(&format!("sec-websocket-accept: {}\r\n", ACCEPT.to_ascii_lowercase())),
            "{answer}"
        );
        assert!(answer.contains("sec-websocket-protocol: mqtt\r\n"), "{answer}");
        assert!(!answer.contains("extensions"), "{answer}");
    }
}

#[test]
fn a_handshake_that_is_none_is_refused_with_its_reason() {
    let (_broker, address, _) = start_both();
    for (request, status, why) in [
        (request_with(""), "400", "subprotocol `mqtt`"),
        (request_with("Sec-WebSocket-Protocol: mqttv3.1\r\n"), "400", "subprotocol `mqtt`"),
        (request_with("Sec-WebSocket-Protocol: MQTT\r\n"), "400", "subprotocol `mqtt`"),
        (request().replace("Upgrade: websocket\r\n", ""), "400", "pgrade"),
        (request().replace("Version: 13", "Version: 8"), "400", "Version"),
        (request().replace("Sec-WebSocket-Key", "Key"), "400", "Sec-WebSocket-Key"),
        (request().replace("GET", "POST"), "400", "method"),
        (request().replace("HTTP/1.1", "HTTP/1.0"), "400", "version"),
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), "400", "pgrade"),
        ("\0\r\n\r\n".to_owned(), "400", ""),
        (request_with(&format!("Cookie: {}\r\n", "x".repeat(10_000))), "431", "8192 bytes"),
        (request_with(&"X: y\r\n".repeat(200)), "400", ""),
    ] {
        let answer = ask(&mut connect(address), &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}\n{answer}");
        assert!(answer.contains(why), "{request}\n{answer}");
    }
}

#[test]
fn mqtt_without_websocket_ends_and_so_does_websocket_at_a_plain_listener() {
    let (_broker, address, plain) = start_both();
    let mut mqtt = Client::open(address, false);
    mqtt.send(&Connect::v3("c").bytes());
    mqtt.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(mqtt.next(), None);
    let mut websocket = connect(plain);
    websocket.write_all(request().as_bytes()).unwrap();
    assert!(!matches!(websocket.read(&mut [0]), Ok(1)));
}

#[test]
fn pages_of_other_origins_are_kept_out() {
    let mut config = config();
    let rules = config.listeners[0].websocket.as_mut().unwrap();
    rules.allowed_origins = vec!["https://plant.example".to_owned(), "http://localhost:8080".to_owned()];
    let (_broker, address) = start(config);
    for (origin, status) in [
        ("", "101"),
        ("Origin: https://plant.example\r\n", "101"),
        ("Origin: HTTPS://PLANT.example\r\n", "101"),
        ("Origin: http://localhost:8080\r\n", "101"),
        ("Origin: http://localhost\r\n", "403"),
        ("Origin: https://plant.example.evil\r\n", "403"),
        ("Origin: null\r\n", "403"),
        ("Origin: \u{fc}\r\n", "403"),
        ("Origin: https://plant.example\r\nOrigin: https://evil.example\r\n", "403"),
    ] {
        let answer =
            ask(&mut connect(address), &request_with(&format!("Sec-WebSocket-Protocol: mqtt\r\n{origin}")));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{origin}{answer}");
    }
}

#[test]
fn the_first_message_may_come_with_the_handshake() {
    let (_broker, address, _) = start_both();
    let mut stream = connect(address);
    let bytes = [request().as_bytes(), &frame(FIN | BINARY, &Connect::v3("c").bytes())].concat();
    stream.write_all(&bytes).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(&[FIN | BINARY, 4, 0x20, 2, 0, 0]) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
}

/// [MQTT-6.0.0-2]
#[test]
fn packets_may_span_messages_and_share_them() {
    let (_broker, address, _) = start_both();
    let mut websocket = WebSocket::over(connect(address));
    for byte in Connect::v5("c").bytes() {
        websocket.send(&frame(FIN | BINARY, &[byte]));
    }
    assert_eq!(websocket.frame().unwrap().payload[0], 0x20);
    websocket.send(&frame(FIN | BINARY, &PINGREQ.repeat(3)));
    let mut pongs = Vec::new();
    while pongs.len() < 6 {
        pongs.extend(websocket.frame().unwrap().payload);
    }
    assert_eq!(pongs, PINGRESP.repeat(3));
    // The end of one packet and the beginning of the next, and messages of nothing.
    websocket.send(&frame(FIN | BINARY, &PINGREQ[..1]));
    websocket.send(&frame(FIN | BINARY, &[]));
    websocket.send(&frame(FIN | BINARY, &[PINGREQ[1], PINGREQ[0]]));
    assert_eq!(websocket.frame().unwrap(), binary(&PINGRESP));
    websocket.send(&frame(FIN | BINARY, &PINGREQ[1..]));
    assert_eq!(websocket.frame().unwrap(), binary(&PINGRESP));
}

#[test]
fn a_message_may_come_in_fragments_with_pings_between() {
    let (_broker, address, _) = start_both();
    let mut websocket = frames(address, &Connect::v5("c"));
    websocket.send(&frame(BINARY, &PINGREQ[..1]));
    websocket.send(&frame(FIN | PING, b"still there?"));
    assert_eq!(websocket.frame().unwrap(), Frame { first: FIN | PONG, payload: b"still there?".to_vec() });
    websocket.send(&frame(CONTINUATION, &[]));
    websocket.send(&frame(FIN | CONTINUATION, &PINGREQ[1..]));
    assert_eq!(websocket.frame().unwrap(), binary(&PINGRESP));
}

/// [MQTT-6.0.0-1]
#[test]
fn a_text_message_ends_the_connection_and_publishes_the_will() {
    let (_broker, address, plain) = start_both();
    let mut witness = Client::v3(plain, "witness");
    witness.subscribe("gone", 0);
    for (text, code) in [(&b"hello"[..], 1003), (&PINGREQ[..], 1007)] {
        let will = Some(("gone", &b"by text"[..], 0, false, Vec::new()));
        let mut websocket = frames(address, &Connect { will, ..Connect::v3("c") });
        websocket.send(&frame(FIN | TEXT, text));
        assert_eq!(websocket.close_code(), code);
        assert_eq!(witness.receive().payload(), b"by text");
    }
}

#[test]
fn frames_against_the_rules_end_the_connection() {
    let (_broker, address, _) = start_both();
    let unmasked = vec![FIN | BINARY, 2, PINGREQ[0], PINGREQ[1]];
    let huge = {
        let mut head = vec![FIN | BINARY, 0x80 | 127];
        head.extend(u64::MAX.to_be_bytes());
        head.extend([0; 4]);
        head
    };
    let too_large = {
        let mut head = vec![FIN | BINARY, 0x80 | 127];
        head.extend(((1u64 << 20) + 1).to_be_bytes());
        head.extend([0; 4]);
        head
    };
    for (bytes, code) in [
        (unmasked, 1002),
        (frame(FIN | 3, &[]), 1002),
        (frame(FIN | 0x40 | BINARY, &PINGREQ), 1002),
        (frame(FIN | CONTINUATION, &PINGREQ), 1002),
        (frame(PING, b"a fragment"), 1002),
        (frame(FIN | PING, &[0; 126]), 1002),
        (too_large, 1009),
        (huge, 1009),
    ] {
        let mut websocket = frames(address, &Connect::v5("c"));
        websocket.send(&bytes);
        assert_eq!(websocket.close_code(), code, "{bytes:?}");
    }
}

#[test]
fn a_message_of_many_fragments_may_not_grow_beyond_the_largest_packet() {
    let (_broker, address, _) = start_both();
    let mut websocket = frames(address, &Connect::v5("c"));
    websocket.send(&frame(BINARY, &[0; 1 << 19]));
    websocket.send(&frame(CONTINUATION, &[0; 1 << 19]));
    websocket.send(&frame(CONTINUATION, &[0]));
    assert_eq!(websocket.close_code(), 1009);
}

#[test]
fn a_close_is_answered_and_publishes_the_will() {
    let (_broker, address, plain) = start_both();
    let mut witness = Client::v3(plain, "witness");
    witness.subscribe("gone", 0);
    let will = Some(("gone", &b"by close"[..], 0, false, Vec::new()));
    let mut websocket = frames(address, &Connect { will, ..Connect::v3("c") });
    websocket.send(&frame(FIN | CLOSE, &1001u16.to_be_bytes()));
    assert_eq!(websocket.close_code(), 1001);
    assert_eq!(witness.receive().payload(), b"by close");
}

#[test]
fn after_disconnect_and_at_the_brokers_end_the_websocket_is_closed() {
    let (broker, address, _) = start_both();
    let mut leaving = frames(address, &Connect::v5("leaving"));
    leaving.send(&frame(FIN | BINARY, &[0xe0, 0]));
    assert_eq!(leaving.frame().unwrap().first, FIN | CLOSE);
    // The broker waits for the answer, so neither side meets a closed socket.
    leaving.send(&frame(FIN | CLOSE, &[]));
    assert_eq!(leaving.frame().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    let mut staying = frames(address, &Connect::v5("staying"));
    let stopping = std::thread::spawn(move || broker.stop(PATIENCE));
    let goodbye = staying.frame().unwrap();
    assert_eq!((goodbye.first, goodbye.payload[0], goodbye.payload[2]), (FIN | BINARY, 0xe0, 0x8b));
    assert_eq!(staying.frame().unwrap().first, FIN | CLOSE);
    stopping.join().unwrap();
}

#[test]
fn handshakes_that_never_finish_keep_nobody_waiting_and_end_in_time() {
    let mut config = config();
    config.listeners[0].connections.connect_timeout = Duration::from_secs(2);
    let (_broker, address) = start(config);
    let silent = connect(address);
    let mut half = connect(address);
    half.write_all(b"GET /mqtt HTTP/1.1\r\nHost: ").unwrap();
    let without_connect = WebSocket::over(connect(address)).stream;
    client(address, &Connect::v5("c")).ping();
    for mut stream in [silent, half, without_connect] {
        match stream.read_to_end(&mut Vec::new()) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
}

#[test]
fn websocket_over_tls_is_served_with_the_certificates_name() {
    let (authority, devices) = (Authority::new("plant"), Authority::new("devices"));
    let files = Files::new(&authority.server());
    let mut config = config();
    config.listeners[0].tls = Some(files.mutual_tls(&devices));
    assert_eq!(config.listeners[0].scheme(), "wss");
    let (_broker, address) = start(config);
    let stream = WebSocket::over(authority.connect(address, Some(&devices.client("press-7"))));
    let (mut client, _) = Client::over(stream, &Connect::v5("c"));
    client.subscribe("big", 1);
    let payload = vec![7; 500_000];
    client.publish("big", &payload, 0);
    assert!(client.receive().payload5() == payload);
    client.disconnect();
}

#[test]
fn rumqttd_toml_has_websocket_listeners_and_their_mistakes_are_named() {
    let text = "[ws.1]\nlisten = \"127.0.0.1:0\"\nallowed_origins = [\"http://localhost:8080\"]\n[ws.2]\nname = \"any\"\n\
                listen = \"127.0.0.1:0\"\nconnections.max_payload_size = 100\n";
    let config = parse_broker(None, text, Path::new("")).unwrap();
    let [one, any] = &config.listeners[..] else { panic!("two listeners") };
    assert_eq!((one.name.as_str(), one.scheme(), any.name.as_str()), ("ws-1", "ws", "any"));
    assert_eq!(one.websocket.as_ref().unwrap().allowed_origins, ["http://localhost:8080"]);
    assert_eq!(any.connections.packet_bytes_max, 100);
    for wrong in
        ["[\"localhost\"]", "[\"http://a/\"]", "[\"http://a/b\"]", "[\"*\"]", "[5]", "[]", "\"http://a\""]
    {
        let text = format!("[ws.1]\nlisten = \"127.0.0.1:0\"\nallowed_origins = {wrong}\n");
        let error = parse_broker(None, &text, Path::new("")).unwrap_err();
        assert_eq!(error.line(), Some(3), "{wrong}: {error}");
        assert!(error.key.starts_with("ws.1.allowed_origins"), "{wrong}: {error}");
    }
}

/// The reason in the DISCONNECT that comes, be it behind pongs.
fn goodbye(socket: &mut WebSocket<TcpStream>) -> u8 {
    loop {
        let frame = socket.frame().unwrap();
        if frame.first == FIN | BINARY {
            assert_eq!(frame.payload[0], 0xe0, "{frame:?}");
            return frame.payload[2];
        }
        assert_eq!(frame.first, FIN | PONG, "{frame:?}");
    }
}

#[test]
fn neither_bytes_nor_pings_nor_empty_messages_of_a_websocket_keep_anybody_alive() {
    let (_broker, address, _) = start_both();
    let says = Connect { keep_alive_s: 1, ..Connect::v5("c") };
    let publish = packet(0x30, &[&[0, 1, b't', 0][..], &[0; 10_000]].concat());
    let message = frame(FIN | BINARY, &publish);
    let bytes: Vec<_> = publish.iter().take(100).map(|byte| frame(FIN | BINARY, &[*byte])).collect();
    let part: Vec<_> = message.iter().take(100).map(|byte| vec![*byte]).collect();
    let empty_parts = std::iter::once(frame(BINARY, &[])).chain(vec![frame(CONTINUATION, &[]); 100]);
    for (what, chunks) in [
        ("bytes, a message each", bytes),
        ("bytes of one message", part),
        ("empty messages", vec![frame(FIN | BINARY, &[]); 100]),
        ("empty parts of a message", empty_parts.collect()),
        ("pongs that nobody asked for", vec![frame(FIN | PONG, &[1; 100]); 100]),
    ] {
        let mut socket = frames(address, &says);
        assert!(trickle(&socket.stream, chunks), "{what}");
        assert_eq!(goodbye(&mut socket), 0x8d, "{what}");
    }
    let mut socket = frames(address, &says);
    let started = Instant::now();
    let mut pings = std::iter::from_fn(|| {
        socket.send(&frame(FIN | PING, b"still here"));
        (started.elapsed() < PATIENCE).then(|| socket.frame().unwrap())
    });
    let last = pings.find(|frame| frame.first != FIN | PONG).unwrap();
    assert_eq!((last.payload[0], last.payload[2]), (0xe0, 0x8d), "pings");
}

#[test]
fn a_part_of_a_message_has_a_time_to_be_whole_also_without_a_keep_alive() {
    let limits = Limits { packet_timeout: Duration::from_millis(300), ..Limits::default() };
    let (broker, address) = start(Config { limits, ..config() });
    let mut quiet = client(address, &Connect::v5("quiet"));
    let publish = frame(FIN | BINARY, &packet(0x30, &[&[0, 1, b't', 0][..], &[0; 1_000]].concat()));
    for (what, part) in [
        ("a part of a frame", publish[..500].to_vec()),
        ("a part of a message", frame(BINARY, &[0x30, 100])),
        ("a part of a message, and a ping", [frame(BINARY, &[0x30, 100]), frame(FIN | PING, b"x")].concat()),
        ("a part of a packet", frame(FIN | BINARY, &[0x30, 100])),
    ] {
        let mut socket = frames(address, &Connect::v5("half"));
        socket.send(&part);
        assert_eq!(goodbye(&mut socket), 0x97, "{what}");
    }
    assert_eq!(broker.statistics().limits_reached.of(Limit::PacketTimeout), 4);
    quiet.stream.send(&frame(FIN | PING, b"a ping is no packet"));
    assert_eq!(quiet.stream.frame().unwrap().first, FIN | PONG);
    quiet.ping();
}

#[test]
fn messages_that_are_not_whole_count_for_the_bound_on_memory() {
    const MEMORY_MAX: usize = 32 << 20;
    let mut config = config();
    config.limits.memory_max = Some(MEMORY_MAX);
    config.listeners[0].connections.connect_timeout = PATIENCE;
    let (broker, address) = start(config);
    // Sixty megabytes in all.
    let message = frame(FIN | BINARY, &vec![0; 1_000_000]);
    let sockets: Vec<_> = (0..100)
        .map(|_| {
            let mut socket = connect(address);
            ask(&mut socket, &request());
            // It may be ended before it has said all of it.
            socket.write_all(&message[..600_000]).ok();
            socket
        })
        .collect();
    let began = Instant::now();
    while broker.statistics().limits_reached.of(Limit::Memory) == 0 {
        assert!(began.elapsed() < PATIENCE, "{:?}", broker.statistics());
        std::thread::yield_now();
    }
    let used = broker.statistics().memory;
    assert!(used.total() > MEMORY_MAX / 2 && used.total() <= MEMORY_MAX, "{used:?}");
    drop(sockets);
}
