//! TLS, certificates and passwords towards a broker elsewhere: our own, and Mosquitto where it is installed.

use std::any::Any;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use nearfar::Node;
use nearfar::broker::{self, AccessRules, AttemptLimits, Broker, Guard, Listener, Users};
use nearfar::client::{RemoteConfig, RemoteTls};
use nearfar::deployment::Config;
use nearfar::node::{NotReady, Readiness};

use crate::support::certificates::{Authority, Files, Identity};
use crate::support::mosquitto::mosquitto_with;
use crate::support::mqtt::{Client, Connect};
use crate::support::raw_broker;
use crate::support::{MODEL, PATIENCE, request};

/// A broker, and what keeps it and its files.
struct Started {
    address: SocketAddr,
    _keep: Box<dyn Any>,
}

/// Who signs what, and a node's own files.
struct Scene {
    authority: Authority,
    stranger: Authority,
    files: Files,
    node: Files,
}

impl Scene {
    fn new() -> Self {
        let (authority, stranger) = (Authority::new("plant"), Authority::new("elsewhere"));
        let files = Files::new(&authority.server());
        let node = Files::new(&authority.client("node"));
        node.put("ca.pem", &authority.pem());
        node.put("stranger.pem", &stranger.pem());
        Self { authority, stranger, files, node }
    }

    fn ours(&self, is_mutual: bool) -> Started {
        let tls = if is_mutual { self.files.mutual_tls(&self.authority) } else { self.files.tls() };
        let mut listener = Listener::new("tls", "127.0.0.1:0".parse().unwrap());
        listener.tls = Some(tls);
        let config = broker::Config { listeners: vec![listener], ..broker::Config::loopback() };
        let broker = Broker::start(config).unwrap();
        Started { address: broker.addresses()[0].1, _keep: Box::new(broker) }
    }

    fn mosquitto(&self, is_mutual: bool) -> Option<Started> {
        let file = |name: &str| self.files.file(name).display().to_string();
        let mut settings = format!(
            "allow_anonymous true\ncertfile {}\nkeyfile {}\n",
            file("server.pem"),
            file("server.key")
        );
        if is_mutual {
            self.files.put("clients.pem", &self.authority.pem());
            settings += &format!("cafile {}\nrequire_certificate true\n", file("clients.pem"));
        }
        let broker = mosquitto_with(&settings, |_| {})?;
        Some(Started { address: broker.address(), _keep: Box::new(broker) })
    }

    fn both(&self, is_mutual: bool) -> Vec<Started> {
        [Some(self.ours(is_mutual)), self.mosquitto(is_mutual)].into_iter().flatten().collect()
    }

    /// Its certificate is for `localhost`.
    fn config(&self, address: SocketAddr, ca: &str, shows_certificate: bool) -> RemoteConfig {
        let client = shows_certificate.then(|| (self.node.file("server.pem"), self.node.file("server.key")));
        let tls =
            RemoteTls { ca_file: self.node.file(ca), client, server_name: Some("localhost".to_owned()) };
        RemoteConfig { tls: Some(tls), ..raw_broker::remote(address, "node") }
    }

    /// A client's own certificate, in case it is asked for.
    fn sensor(&self) -> Identity {
        self.authority.client("sensor")
    }
}

fn node(config: RemoteConfig) -> Node {
    Node::builder().remote_broker(config).deployment(Config::edge(), MODEL).start().expect("a node starts")
}

fn assert_never_ready(node: &Node, parts: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match node.readiness() {
            Readiness::NotReady(reason) if parts.iter().all(|part| reason.contains(part)) => return,
            other => assert!(Instant::now() < deadline, "{parts:?} are not in {other:?}"),
        }
        std::thread::yield_now();
    }
}

#[test]
fn requests_and_answers_go_over_tls() {
    let scene = Scene::new();
    for broker in scene.both(false) {
        let node = node(scene.config(broker.address, "ca.pem", false));
        node.wait_until_ready(PATIENCE).unwrap();
        let stream = scene.authority.connect(broker.address, Some(&scene.sensor()));
        let (mut sensor, _) = Client::over(stream, &Connect::v3("sensor"));
        assert_eq!(sensor.subscribe("ml/inference/result/+", 0), 0);
        sensor.publish("ml/inference/request", request("s", 1).as_bytes(), 0);
        assert_eq!(sensor.receive().topic(), "ml/inference/result/s");
    }
}

#[test]
fn a_broker_that_another_authority_has_signed_for_is_not_spoken_to() {
    let scene = Scene::new();
    for broker in scene.both(false) {
        let node = node(scene.config(broker.address, "stranger.pem", false));
        assert_never_ready(&node, &["no TLS", "\"localhost\"", "stranger.pem"]);
    }
    assert!(scene.stranger.pem().contains("CERTIFICATE"));
}

#[test]
fn a_broker_whose_certificate_has_another_name_is_not_spoken_to() {
    let scene = Scene::new();
    for broker in scene.both(false) {
        let mut config = scene.config(broker.address, "ca.pem", false);
        config.tls.as_mut().unwrap().server_name = None;
        assert_never_ready(
            &node(config),
            &["no TLS", "\"127.0.0.1\"", "not valid for name", "only for localhost"],
        );
    }
}

#[test]
fn a_broker_that_wants_a_certificate_gets_the_nodes_own() {
    let scene = Scene::new();
    for broker in scene.both(true) {
        let with = node(scene.config(broker.address, "ca.pem", true));
        with.wait_until_ready(PATIENCE).unwrap();
        assert_never_ready(&node(scene.config(broker.address, "ca.pem", false)), &["ertificate"]);
    }
}

/// `nearfar` with the password `secret`, as mosquitto_passwd writes it, which our broker reads too.
const USERS: &str = "nearfar:$7$101$RZNRMURmfZsLDjOF$l9eT33kNLdrW0EPjMVJD5Zo0PFkav0Yy6qXCtfK2Q/OV/ss+e474xUNE5Lz9itntvWvMXCjdfubH8zYnRG0MKg==\n";

#[test]
fn a_password_lets_the_node_in_and_a_wrong_one_is_named() {
    let rules = "[[rules]]\nallow = [\"publish\", \"subscribe\", \"will\"]\ntopics = [\"#\"]\n";
    let (users, rules) = (Users::parse(USERS).unwrap(), AccessRules::from_toml(rules).unwrap());
    let guard = Guard::new(users, rules, AttemptLimits::default()).unwrap();
    let ours =
        Broker::start(broker::Config { access: Arc::new(guard), ..broker::Config::loopback() }).unwrap();
    let users_file = |directory: &std::path::Path| std::fs::write(directory.join("users"), USERS).unwrap();
    let mosquitto = mosquitto_with("allow_anonymous false\npassword_file DIRECTORY/users\n", users_file);
    for address in [Some(ours.addresses()[0].1), mosquitto.as_ref().map(|broker| broker.address())] {
        let Some(address) = address else { continue };
        let with = |password: &str| {
            let credentials = Some(("nearfar".to_owned(), password.to_owned()));
            node(RemoteConfig { credentials, ..raw_broker::remote(address, &format!("node-{password}")) })
        };
        with("secret").wait_until_ready(PATIENCE).unwrap();
        let wrong = with("wrong");
        let Err(NotReady(Readiness::NotReady(_))) = wrong.wait_until_ready(std::time::Duration::ZERO) else {
            panic!("a wrong password is enough")
        };
        // Mosquitto says "not authorized" where we say "bad user name or password".
        assert_never_ready(&wrong, &["refuses the connection", "remote.password_file"]);
    }
}

/// A certificate of openssl's, made once and kept beside the tests.
fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

#[test]
fn a_broker_s_own_certificate_of_openssl_s_is_trusted_as_its_authority() {
    for name in ["p256-sha512", "p521-sha512", "rsa-pss-signed", "ed25519"] {
        let [certificate, key] = ["pem", "key"].map(|end| fixture(&format!("{name}.{end}")));
        let mut broker = broker::Config::loopback();
        broker.listeners[0].tls = Some(broker::Tls {
            certificate_chain: certificate.clone(),
            key,
            client_authorities: None,
            identity: None,
        });
        let broker = Broker::start(broker).unwrap();
        let with = |ca_file: PathBuf| {
            let tls = RemoteTls { ca_file, client: None, server_name: Some("localhost".to_owned()) };
            node(RemoteConfig { tls: Some(tls), ..raw_broker::remote(broker.addresses()[0].1, "node") })
        };
        with(certificate).wait_until_ready(PATIENCE).unwrap();
        let stranger = with(fixture("p384-sha512.pem"));
        assert_never_ready(&stranger, &["no TLS", "signed itself", "p384-sha512.pem"]);
    }
}

#[test]
fn keys_that_do_not_fit_are_named_before_anything_is_connected() {
    let scene = Scene::new();
    scene.node.put("other.key", &scene.authority.client("other").key.serialize_pem());
    for (certificate, key, parts) in [
        ("server.pem", "other.key", ["remote.tls.client_key", "other.key"]),
        ("missing.pem", "server.key", ["remote.tls.client_certificate", "missing.pem"]),
        ("server.pem", "ca.pem", ["remote.tls.client_key", "ca.pem"]),
    ] {
        let files: [PathBuf; 2] = [certificate, key].map(|name| scene.node.file(name));
        let mut config = scene.config("127.0.0.1:1".parse().unwrap(), "ca.pem", false);
        config.tls.as_mut().unwrap().client = Some((files[0].clone(), files[1].clone()));
        let refused = Node::builder().remote_broker(config).deployment(Config::edge(), MODEL).start();
        let error = refused.expect_err("it is refused").to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}
