//! Health over HTTP as probes and people ask for it, and what cannot be done to that port.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nearfar::broker::Broker;
use nearfar::client::RemoteConfig;
use nearfar::http::{Config, HttpError, Refusal, Server};
use nearfar::model::{Model, ModelError, ModelInfo};
use nearfar::mqtt::Qos;
use nearfar::node::{NodeBuilder, Observer};
use nearfar::testing::{block_io_thread, kill_router};
use nearfar::{Detector, Node, broker, deployment};

use crate::support::gate::Gate;
use crate::support::http::{Reply, ask, get};
use crate::support::{MODEL, PATIENCE, Sensor};

fn node() -> NodeBuilder {
    Node::builder().deployment(deployment::Config::edge(), MODEL)
}

fn server(observer: Observer) -> Server {
    Server::start(Config::loopback(), observer).unwrap()
}

fn health(address: SocketAddr) -> [Reply; 2] {
    ["/health/live", "/health/ready"].map(|path| get(address, path))
}

#[track_caller]
fn assert_health(address: SocketAddr, live: u16, ready: u16, reason: &str) {
    let [is_live, is_ready] = health(address);
    assert_eq!((is_live.status, is_ready.status), (live, ready), "{is_live:?} {is_ready:?}");
    assert!(is_ready.body.contains(reason), "{is_ready:?}");
}

#[test]
fn a_node_that_answers_is_alive_and_ready() {
    let node = node().start().unwrap();
    let server = server(node.observer());
    assert!(server.address().ip().is_loopback() && server.address().port() != 0);
    assert_health(server.address(), 200, 200, "ready\n");
    let index = get(server.address(), "/");
    assert_eq!(index.status, 200);
    for path in ["/health/live", "/health/ready", "/metrics"] {
        assert!(index.body.contains(path), "{index:?}");
    }
}

#[test]
fn a_node_that_starts_or_has_ended_is_alive_and_not_ready() {
    let observer = Observer::default();
    let server = server(observer.clone());
    assert_health(server.address(), 200, 503, "not ready: the node starts");
    let node = node().observer(&observer).start().unwrap();
    assert_health(server.address(), 200, 200, "ready");
    node.stop();
    assert_health(server.address(), 200, 503, "not ready: the node has stopped");
}

#[test]
fn a_node_whose_broker_is_away_is_alive_and_not_ready() {
    // Bound and dropped: nobody listens there.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let node = node().remote_broker(RemoteConfig::new("127.0.0.1", nobody.port(), "away")).start().unwrap();
    let server = server(node.observer());
    assert_health(server.address(), 200, 503, "not ready: ");
}

#[test]
fn a_node_whose_router_has_died_is_neither() {
    let node = node().start().unwrap();
    let server = server(node.observer());
    kill_router(node.broker().unwrap());
    node.wait_for_failure(PATIENCE).expect("the node notices");
    assert_health(server.address(), 503, 503, "failed: ");
}

/// Asks until the node is ready or not, as is expected, for that reason.
#[track_caller]
fn assert_becomes(address: SocketAddr, status: u16, reason: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let [is_live, is_ready] = health(address);
        if is_ready.status == status && is_live.status == status && is_ready.body.contains(reason) {
            return;
        }
        assert!(Instant::now() < deadline, "{is_live:?} {is_ready:?}");
    }
}

#[test]
fn a_node_whose_broker_comes_no_further_is_neither_until_it_does() {
    let stalled_after = Duration::from_secs(3);
    let config = broker::Config { stalled_after, ..broker::Config::loopback() };
    let node = node().embedded_broker(config).start().unwrap();
    let server = server(node.observer());
    let (until, blocks) = std::sync::mpsc::channel();
    block_io_thread(node.broker().unwrap(), blocks);
    assert_becomes(server.address(), 503, "stalled: the broker's I/O thread has not come round");
    drop(until);
    assert_becomes(server.address(), 200, "ready");
}

/// A model that says it is prompt, and does not return to the intake that calls it until the gate lets it.
struct StopsIntake(Arc<Gate>);

impl Model for StopsIntake {
    fn inputs(&self) -> usize {
        1
    }

    fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
        if thread::current().name().is_some_and(|name| name.starts_with("intake-")) {
            self.0.pass(rows[0]);
        }
        predictions.extend_from_slice(rows);
        Ok(())
    }

    fn replica(&self) -> Option<Box<dyn Model>> {
        Some(Box::new(Self(Arc::clone(&self.0))))
    }

    fn is_prompt(&self) -> bool {
        true
    }
}

/// Starts `node` with a deployment whose intake is stopped by a request through the
/// broker at `address`, and lets it go again.
fn assert_tells_of_a_stopped_intake(node: NodeBuilder, address: Option<SocketAddr>, reason: &str) {
    let gate = Arc::new(Gate::default());
    let detector = Detector::from_parts(ModelInfo::new("test", 1), Box::new(StopsIntake(Arc::clone(&gate))));
    let node = node.deployment(deployment::Config::edge(), detector).start().unwrap();
    let server = server(node.observer());
    node.wait_until_ready(PATIENCE).unwrap();
    let sensor = Sensor::connect(address.or(node.mqtt_address()).unwrap());
    let mut sent = 0;
    // A worker may have some of them first.
    while gate.begun().is_empty() {
        sent += 1;
        sensor.publish("ml/inference/request", Qos::AtMostOnce, r#"{"device_id":"a","features":[0.5]}"#);
        while gate.begun().is_empty() && node.deployment("edge").unwrap().statistics().received < sent {
            thread::yield_now();
        }
    }
    assert_becomes(server.address(), 503, reason);
    gate.open();
    assert_becomes(server.address(), 200, "ready");
    node.stop();
}

const STALLED_AFTER: Duration = Duration::from_secs(2);

#[test]
fn a_node_whose_intake_comes_no_further_is_neither_until_it_does() {
    let config = broker::Config { stalled_after: STALLED_AFTER, ..broker::Config::loopback() };
    let reason = "stalled: the intake of deployment edge has taken nothing from the broker";
    assert_tells_of_a_stopped_intake(Node::builder().embedded_broker(config), None, reason);
}

#[test]
fn a_node_whose_intake_comes_no_further_is_neither_with_a_broker_elsewhere_too() {
    let broker = Broker::start(broker::Config::loopback()).unwrap();
    let address = broker.addresses()[0].1;
    let remote = RemoteConfig::new(address.ip().to_string(), address.port(), "node");
    let remote = RemoteConfig { stalled_after: STALLED_AFTER, ..remote };
    let reason = "stalled: the intake of deployment edge has taken nothing from the connection";
    assert_tells_of_a_stopped_intake(Node::builder().remote_broker(remote), Some(address), reason);
}

#[test]
fn only_reading_is_possible_and_only_of_what_there_is() {
    let server = server(Observer::default());
    let address = server.address();
    let head = ask(address, "HEAD /health/live HTTP/1.1\r\nHost: nearfar\r\n\r\n");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert!(head.head.contains("content-length: 6"), "{}", head.head);
    let posted = ask(address, "POST /metrics HTTP/1.1\r\nHost: nearfar\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(posted.status, 405);
    assert!(posted.head.contains("allow: get, head"), "{}", posted.head);
    let unknown = get(address, "/metrics/../secret");
    assert_eq!(unknown.status, 404);
    assert!(unknown.body.contains("/metrics"), "{unknown:?}");
    assert_eq!(get(address, "/health/live?probe=1").status, 200);
}

/// Waits until something was refused for this reason: an answer is there before its connection has ended.
#[track_caller]
fn assert_refused(address: SocketAddr, refusal: Refusal) {
    let none = format!("\nnearfar_http_refused_total{{reason=\"{}\"}} 0\n", refusal.name());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = get(address, "/metrics").body;
        if page.contains("nearfar_http_refused_total") && !page.contains(&none) {
            return;
        }
        assert!(Instant::now() < deadline, "{page}");
    }
}

#[test]
fn what_is_no_request_is_refused() {
    let server = server(Observer::default());
    assert_eq!(ask(server.address(), "MQTT\r\n\r\n").status, 400);
    let long = format!("GET / HTTP/1.1\r\nHost: nearfar\r\nX: {}\r\n\r\n", "x".repeat(8 * 1_024));
    assert_eq!(ask(server.address(), &long).status, 431);
    assert_eq!(get(server.address(), "/nothing").status, 404);
    assert_eq!(ask(server.address(), "POST / HTTP/1.1\r\nHost: nearfar\r\n\r\n").status, 405);
    for refusal in [Refusal::NotHttp, Refusal::TooLarge, Refusal::NotFound, Refusal::Method] {
        assert_refused(server.address(), refusal);
    }
}

#[test]
fn connections_that_say_nothing_end_and_lock_nobody_out() {
    let server = server(Observer::default());
    let mut silent: Vec<_> = (0..64).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    assert_eq!(get(server.address(), "/health/live").status, 200);
    assert_refused(server.address(), Refusal::ConnectionsMax);
    for connection in &mut silent {
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(connection.read(&mut [0; 16]).unwrap(), 0, "the server hangs up");
    }
}

#[test]
fn an_address_in_use_is_refused_with_address_and_advice() {
    let taken = server(Observer::default());
    let error = Server::start(Config { listen: taken.address() }, Observer::default()).err().unwrap();
    assert!(matches!(error, HttpError::Bind { .. }));
    let message = error.to_string();
    assert!(message.contains(&taken.address().to_string()) && message.contains("--http"), "{message}");
}

#[test]
fn a_server_that_is_dropped_gives_its_port_back() {
    let server = server(Observer::default());
    let address = server.address();
    let mut open = TcpStream::connect(address).unwrap();
    drop(server);
    open.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(matches!(open.read(&mut [0; 16]), Ok(0) | Err(_)), "open connections end");
    drop(open);
    assert!(TcpStream::connect(address).is_err());
}
