//! A broker that says exactly the bytes a test wants said, to one node at a time.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use nearfar::client::{Protocol, RemoteConfig};

use super::mqtt::{Client, PATIENCE, Packet, packet};

pub struct RawBroker {
    listener: TcpListener,
}

/// A node's connection, as its broker sees it.
pub struct Peer {
    pub client: Client,
    /// The body of its CONNECT.
    pub connect: Vec<u8>,
}

/// What a CONNACK says.
#[derive(Clone, Copy, Default)]
pub struct Welcome {
    pub session_present: bool,
    /// MQTT 5's receive maximum.
    pub receive_max: Option<u16>,
}

pub const NEW: Welcome = Welcome { session_present: false, receive_max: None };
pub const RESUMED: Welcome = Welcome { session_present: true, receive_max: None };

impl RawBroker {
    pub fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// For a node that wants its connection back at once.
    pub fn config(&self) -> RemoteConfig {
        remote(self.address(), "node")
    }

    /// The next connection, with its CONNECT read and not answered.
    pub fn accept(&self) -> Peer {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Client { stream, is_v5: true };
        let connect = client.receive();
        assert_eq!(connect.first, 0x10);
        client.is_v5 = connect.body[6] == 5;
        Peer { client, connect: connect.body }
    }

    /// The next connection, welcomed and subscribed, and what came before its SUBSCRIBE.
    pub fn welcome(&self, welcome: Welcome) -> (Peer, Vec<Packet>) {
        let mut peer = self.accept();
        peer.welcome(welcome);
        let before = peer.subscribed();
        (peer, before)
    }
}

/// A configuration for tests: a connection that is lost comes back at once.
pub fn remote(address: SocketAddr, client_id: &str) -> RemoteConfig {
    let config = RemoteConfig::new(address.ip().to_string(), address.port(), client_id);
    RemoteConfig { reconnect_wait_max: Duration::from_millis(50), ..config }
}

/// The same in MQTT 3.1.1.
pub fn remote_v3(address: SocketAddr, client_id: &str) -> RemoteConfig {
    RemoteConfig { protocol: Protocol::V311, ..remote(address, client_id) }
}

impl Peer {
    pub fn welcome(&mut self, welcome: Welcome) {
        let mut body = vec![u8::from(welcome.session_present), 0];
        if self.client.is_v5 {
            let properties =
                welcome.receive_max.map_or_else(Vec::new, |max| [&[33], &max.to_be_bytes()[..]].concat());
            body.push(properties.len() as u8);
            body.extend(properties);
        }
        self.client.send(&packet(0x20, &body));
    }

    /// Grants the subscription that comes, and acknowledges the status behind it. Returns what came before.
    pub fn subscribed(&mut self) -> Vec<Packet> {
        let mut before = Vec::new();
        let subscribe = loop {
            match self.client.receive() {
                packet if packet.first == 0x82 => break packet,
                packet => before.push(packet),
            }
        };
        self.client.send(&self.suback(&subscribe, 1));
        let status = self.client.receive();
        assert_eq!(status.topic(), "ml/inference/status/nearfar");
        self.taken(&status);
        before
    }

    pub fn suback(&self, subscribe: &Packet, code: u8) -> Vec<u8> {
        let mut body = subscribe.body[..2].to_vec();
        if self.client.is_v5 {
            body.push(0);
        }
        body.push(code);
        packet(0x90, &body)
    }

    /// Sends a request at QoS 1.
    pub fn request(&mut self, topic: &str, payload: &str, id: u16, is_duplicate: bool) {
        let flags = 2 | u8::from(is_duplicate) << 3;
        let bytes = self.client.publish_bytes(topic, payload.as_bytes(), flags, id, &[]);
        self.client.send(&bytes);
    }

    /// Acknowledges a publish of the node.
    pub fn taken(&mut self, publish: &Packet) {
        self.client.ack(0x40, publish.packet_id());
    }

    /// The next packet, which must be an answer.
    #[track_caller]
    pub fn answer(&mut self) -> Packet {
        let answer = self.client.receive();
        assert_eq!((answer.kind(), answer.qos()), (3, 1), "{answer:?}");
        answer
    }

    /// The next packet must be a PUBACK of the request `id`.
    #[track_caller]
    pub fn assert_acknowledged(&mut self, id: u16) {
        let ack = self.client.receive();
        assert_eq!((ack.first, ack.packet_id()), (0x40, id), "{ack:?}");
    }
}
