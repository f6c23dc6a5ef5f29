//! What a client that is refused leaves behind: one line that says who it was and why, and a count by reason.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use super::{access_files, write};
use crate::support::http::get;
use crate::support::mqtt::{Client, Connect, PATIENCE, packet, string};
use crate::support::process::{Process, nearfar_logging};
use crate::support::waiting::wait_until;

/// A broker of which the log is read, and its counts.
struct Watched {
    process: Process,
    /// Its listeners in the order of the ready line.
    addresses: Vec<SocketAddr>,
    http: SocketAddr,
}

impl Watched {
    fn start(arguments: &[&str]) -> Self {
        let arguments = [&["broker", "--http", "127.0.0.1:0"], arguments].concat();
        let process = Process::start(&mut nearfar_logging("info", &arguments));
        let ready = process.line();
        let part =
            |scheme: &str| ready.split(' ').find_map(|part| part.strip_prefix(scheme)).unwrap_or_default();
        let addresses = ["mqtt=", "mqtts=", "ws="].map(part);
        let addresses = addresses.iter().filter_map(|address| address.parse().ok()).collect();
        Self { addresses, http: part("http=").parse().unwrap(), process }
    }

    /// One with users: `press` has the password `secret` and may use `own/#` alone.
    fn guarded(directory: &Path) -> Self {
        let (users, _) = access_files(directory, "press");
        let rules = "[[rules]]\nallow = [\"publish\", \"subscribe\", \"will\"]\ntopics = [\"own/#\"]\n";
        let rules = write(directory, "acl.toml", rules);
        Self::start(&["--listen", "127.0.0.1:0", "--users", &users, "--acl", &rules])
    }

    fn connect(&self, connect: &Connect<'_>) -> u8 {
        Client::connect(self.addresses[0], connect).1.body[1]
    }

    /// The next line of the log with this reason.
    #[track_caller]
    fn line(&self, reason: &str) -> String {
        self.process.complaint_with(&format!("reason=\"{reason}\""))
    }

    /// How often something was refused, or a connection ended, for this reason.
    fn count(&self, what: &str, reason: &str) -> u64 {
        let page = get(self.http, "/metrics").body;
        let has = |line: &&str| {
            let is_it = if what == "end" {
                line.starts_with("nearfar_broker_connections_ended_total{")
            } else {
                line.starts_with("nearfar_broker_refused_total{")
                    && line.contains(&format!("what=\"{what}\""))
            };
            is_it && line.contains(&format!("reason=\"{reason}\""))
        };
        let line = page.lines().find(has).unwrap_or_else(|| panic!("no {what} {reason} in {page}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Asserts that the next refusal for this reason was told of once, with all of these parts, and counted.
    #[track_caller]
    fn assert_told(&self, what: &str, reason: &str, parts: &[&str]) {
        let line = self.line(reason);
        let verb = if what == "end" { "connection ended" } else { &format!("{what} refused") };
        for part in [&[verb, "127.0.0.1"], parts].concat() {
            assert!(line.contains(part), "{part:?} is not in {line}");
        }
        assert!(!line.contains("secret"), "{line}");
        assert_eq!(self.count(what, reason), 1, "{line}");
    }
}

fn login<'a>(connect: Connect<'a>, user: &'a str, password: &'a str) -> Connect<'a> {
    Connect { login: Some((user, password)), ..connect }
}

/// Says `bytes` on a connection of its own, and waits until it is closed.
fn say(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    // How it is closed is of no interest here: with data unread the system makes it a reset.
    stream.read_to_end(&mut Vec::new()).ok();
}

#[test]
fn a_refused_connect_says_who_and_why_and_a_forbidden_will_is_no_wrong_password() {
    let directory = tempfile::tempdir().unwrap();
    let watched = Watched::guarded(directory.path());
    let press = |connect| login(connect, "press", "secret");
    assert_eq!(watched.connect(&login(Connect::v5("pump-1"), "press", "secret-2")), 0x86);
    watched.assert_told("connection", "bad_credentials", &["client_id=\"pump-1\"", "user=\"press\"", "INFO"]);
    assert_eq!(watched.connect(&Connect::v5("pump-2")), 0x87);
    watched.assert_told("connection", "anonymous", &["client_id=\"pump-2\"", "listener="]);
    let will = |topic, properties| Connect {
        will: Some((topic, b"gone", 0, false, properties)),
        ..press(Connect::v5("pump-3"))
    };
    assert_eq!(watched.connect(&will("others/will", vec![])), 0x87);
    watched.assert_told("connection", "will_forbidden", &["pump-3", "user=\"press\"", "others/will"]);
    let answers = [&[8][..], &string("others/answers")].concat();
    assert_eq!(watched.connect(&will("own/will", answers)), 0x87);
    watched.assert_told("connection", "will_response_topic", &["pump-3", "press", "others/answers"]);
    assert_eq!(watched.connect(&press(Connect { is_clean: false, ..Connect::v3("") })), 2);
    watched.assert_told("connection", "client_id_invalid", &["press"]);
    let long = "x".repeat(300);
    assert_eq!(watched.connect(&press(Connect::v5(&long))), 0x85);
    watched.assert_told("connection", "client_id_bytes_max", &["(300 bytes)", "press", "WARN"]);
    let method =
        Connect { properties: [&[21][..], &string("SCRAM")].concat(), ..press(Connect::v5("pump-4")) };
    assert_eq!(watched.connect(&method), 0x8c);
    watched.assert_told("connection", "authentication_method", &["pump-4"]);
    let tiny = Connect { properties: vec![39, 0, 0, 0, 10], ..press(Connect::v5("pump-5")) };
    Client::connect(watched.addresses[0], &tiny);
    watched.assert_told("connection", "client_takes_too_little", &["pump-5"]);
    assert_eq!(watched.count("connection", "bad_credentials"), 1, "none of the others looks like one");
    let total = get(watched.http, "/metrics").body;
    assert!(total.contains("\nnearfar_broker_connections_refused_total 8\n"), "{total}");
    watched.process.terminate();
}

#[test]
fn a_first_packet_that_is_no_connect_says_what_it_is_instead() {
    let watched = Watched::start(&["--listen", "127.0.0.1:0"]);
    let address = watched.addresses[0];
    say(address, b"GET / HTTP/1.1\r\n\r\n");
    let line = watched.line("not_mqtt");
    assert!(line.contains("HTTP") && line.contains("[ws]"), "{line}");
    say(address, &[0x16, 3, 1, 0, 200, 1]);
    let line = watched.line("not_mqtt");
    assert!(line.contains("TLS to a listener without TLS"), "{line}");
    assert_eq!(watched.count("connection", "not_mqtt"), 2);
    say(address, &[0xc0, 0]);
    watched.assert_told("connection", "no_connect", &["kind 12"]);
    let connect = |level| packet(0x10, &[&string("MQTT")[..], &[level, 2, 0, 0], &string("c")].concat());
    say(address, &connect(3));
    watched.assert_told("connection", "unsupported_version", &["level 3"]);
    say(address, &packet(0x10, b"\0\x04HTTP\x04\x02\0\0\0\0"));
    watched.assert_told("connection", "malformed_connect", &[]);
    say(address, &[0x10, 0xff, 0xff, 0xff, 0x7f]);
    watched.assert_told("connection", "packet_bytes_max", &["WARN"]);
    // Whoever leaves without a word, such as a probe of the port, was not refused.
    drop(TcpStream::connect(address).unwrap());
    Client::v3(address, "c").disconnect();
    let page = get(watched.http, "/metrics").body;
    assert!(page.contains("\nnearfar_broker_connections_refused_total 6\n"), "{page}");
    watched.process.terminate();
}

#[test]
fn what_fails_before_connect_is_told_and_counted_too() {
    let directory = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    write(directory.path(), "server.pem", &own.cert.pem());
    write(directory.path(), "server.key", &own.signing_key.serialize_pem());
    let tls = "tls = { certpath = \"server.pem\", keypath = \"server.key\" }\n";
    let listener = "listen = \"127.0.0.1:0\"\nconnections = { connection_timeout_ms = 500 }\n";
    let text = format!(
        "[v4.1]\n{listener}[v4.2]\n{listener}{tls}[ws.1]\n{listener}allowed_origins = [\"http://plant.example\"]\n\
         [limits]\nconnections_per_address_max = 3\n"
    );
    let file = write(directory.path(), "broker.toml", &text);
    let watched = Watched::start(&["--broker-config", &file]);
    let [mqtt, mqtts, ws] = watched.addresses[..] else { panic!("{:?}", watched.addresses) };
    say(mqtts, &Connect::v3("c").bytes());
    watched.assert_told("connection", "not_tls", &["MQTT without TLS", "listener=\"v4-2\""]);
    say(mqtts, &[0x16, 3, 1, 0, 4, 1, 0, 0, 0]);
    watched.assert_told("connection", "tls_failed", &["listener=\"v4-2\""]);
    say(mqtts, &[0x16, 3, 1, 2]);
    watched.assert_told("connection", "tls_timeout", &["WARN", "not over in time"]);
    say(mqtt, &[0x10]);
    watched.assert_told("connection", "connect_timeout", &["1 bytes came"]);
    say(ws, b"GET / HTTP/1.1\r\n");
    watched.assert_told("connection", "websocket_timeout", &["listener=\"ws-1\""]);
    say(ws, &Connect::v3("c").bytes());
    watched.assert_told("connection", "not_websocket", &["MQTT without WebSocket"]);
    let upgrade = |more: &str| {
        format!(
            "GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        )
    };
    say(ws, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    watched.assert_told("connection", "websocket_failed", &["pgrade"]);
    say(ws, upgrade("").as_bytes());
    watched.assert_told("connection", "websocket_protocol", &["subprotocol `mqtt`"]);
    say(ws, upgrade("Sec-WebSocket-Protocol: mqtt\r\nOrigin: http://evil.example\r\n").as_bytes());
    watched.assert_told("connection", "websocket_origin", &["http://evil.example"]);
    say(ws, upgrade(&format!("Cookie: {}\r\n", "x".repeat(10_000))).as_bytes());
    watched.assert_told("connection", "websocket_too_large", &["8192 bytes"]);
    let _three: Vec<_> = (0..3).map(|number| Client::v3(mqtt, &format!("c{number}"))).collect();
    say(mqtt, &[]);
    watched.assert_told("connection", "connections_per_address_max", &["WARN"]);
    watched.process.terminate();
}

#[test]
fn a_refused_publish_or_subscription_names_client_user_and_topic() {
    let directory = tempfile::tempdir().unwrap();
    let watched = Watched::guarded(directory.path());
    let mut client = Client::accepted(watched.addresses[0], &login(Connect::v5("pump-1"), "press", "secret"));
    client.publish("others/1", b"x", 0);
    client.ping();
    let who = ["client_id=\"pump-1\"", "user=\"press\""];
    let with = |topic| [who[0], who[1], topic];
    watched.assert_told("publish", "rules", &with("topic=\"others/1\""));
    client.publish("$SYS/1", b"x", 0);
    client.ping();
    watched.assert_told("publish", "reserved_topic", &with("topic=\"$SYS/1\""));
    client.send(&client.publish_bytes("own/1", b"x", 0, 0, &[&[8][..], &string("others/2")].concat()));
    client.ping();
    watched.assert_told("publish", "response_topic", &with("topic=\"own/1\""));
    assert_eq!(client.subscribe("others/+", 0), 0x87);
    watched.assert_told("subscription", "rules", &with("topic=\"others/+\""));
    client.publish(&"own/".repeat(1_100), b"x", 0);
    client.ping();
    watched.assert_told("publish", "topic_bytes_max", &who);
    assert_eq!(client.subscribe(&"own/".repeat(200), 0), 0x8f);
    watched.assert_told("subscription", "topic_levels_max", &who);
    let page = get(watched.http, "/metrics").body;
    assert!(page.contains("\nnearfar_broker_publishes_refused_total 3\n"), "what the rules refused: {page}");
    watched.process.terminate();
}

#[test]
fn a_message_that_is_not_retained_is_told_with_client_and_topic() {
    let directory = tempfile::tempdir().unwrap();
    let text =
        "[v4.1]\nlisten = \"127.0.0.1:0\"\n[limits]\nretained_messages_max = 1\nretained_bytes_max = 2000\n";
    let file = write(directory.path(), "broker.toml", text);
    let watched = Watched::start(&["--broker-config", &file]);
    let mut client = Client::v5(watched.addresses[0], "pump-1");
    client.subscribe("#", 0);
    let mut publish = |topic: &str, payload: &[u8]| {
        client.send(&client.publish_bytes(topic, payload, 3, 7, &[]));
        // It is delivered, and acknowledged without a complaint, in whichever order.
        let packets = [client.receive(), client.receive()];
        assert!(packets.iter().any(|packet| packet.kind() == 3 && packet.topic() == topic), "{packets:?}");
        assert!(packets.iter().any(|packet| packet.kind() == 4 && packet.body == [0, 7]), "{packets:?}");
    };
    publish("a", b"x");
    publish("b", b"x");
    let parts = ["WARN", "client_id=\"pump-1\"", "topic=\"b\"", "it was delivered, and is not kept"];
    watched.assert_told("retain", "retained_messages_max", &parts);
    publish("a", &[b'x'; 3_000]);
    watched.assert_told("retain", "retained_bytes_max", &["topic=\"a\""]);
    watched.process.terminate();
}

#[test]
fn a_connection_that_the_broker_ends_says_so_with_the_reason() {
    let watched = Watched::start(&["--listen", "127.0.0.1:0"]);
    let address = watched.addresses[0];
    let mut client = Client::v5(address, "pump-1");
    client.send(&Connect::v5("pump-1").bytes());
    client.last();
    watched.assert_told("end", "protocol_error", &["client_id=\"pump-1\"", "INFO"]);
    let mut first = Client::v5(address, "twin");
    let _second = Client::v5(address, "twin");
    first.last();
    watched.assert_told("end", "taken_over", &["client_id=\"twin\""]);
    let mut silent = Client::accepted(address, &Connect { keep_alive_s: 1, ..Connect::v5("asleep") });
    silent.last();
    watched.assert_told("end", "keep_alive_timeout", &["client_id=\"asleep\""]);
    Client::v5(address, "polite").disconnect();
    drop(Client::v5(address, "gone"));
    wait_until("an end is not counted", || {
        watched.count("end", "disconnect") + watched.count("end", "lost") >= 2
    });
    watched.process.terminate();
}

#[test]
fn a_flood_of_refusals_is_counted_each_and_told_of_now_and_then() {
    let directory = tempfile::tempdir().unwrap();
    let watched = Watched::guarded(directory.path());
    for number in 0..200 {
        assert_eq!(watched.connect(&Connect::v5(&format!("c{number}\nfake line"))), 0x87);
    }
    assert_eq!(watched.count("connection", "anonymous"), 200);
    let ended = watched.process.terminate();
    let lines = ended.stderr.lines().filter(|line| line.contains("anonymous")).count();
    assert!((1..=6).contains(&lines), "{lines} lines");
    assert!(!ended.stderr.lines().any(|line| line.starts_with("fake line")), "{}", ended.stderr);
}

#[test]
fn a_delivery_that_is_dropped_says_whose_it_was_and_why() {
    let watched = Watched::start(&["--listen", "127.0.0.1:0"]);
    let small = Connect { properties: vec![39, 0, 0, 0, 50], ..Connect::v5("pump-1") };
    let mut client = Client::accepted(watched.addresses[0], &small);
    assert_eq!(client.subscribe("own/t", 1), 1);
    let mut publisher = Client::v5(watched.addresses[0], "pump-2");
    for payload in [&[0; 100][..], &[0; 100], b"small"] {
        publisher.publish_acked("own/t", payload, false);
    }
    assert_eq!(client.receive().payload5(), b"small");
    let line = watched.process.complaint_with("deliveries dropped");
    for part in ["reason=\"too_large_for_client\"", "client_id=\"pump-1\"", "topic=\"own/t\"", "WARN"] {
        assert!(line.contains(part), "{part:?} is not in {line}");
    }
    let page = get(watched.http, "/metrics").body;
    let counted = "nearfar_broker_deliveries_dropped_total{reason=\"too_large_for_client\"} 2\n";
    assert!(page.contains(counted), "{page}");
    watched.process.terminate();
}
