//! A client that says exactly the bytes a test wants said, on a blocking socket.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use nearfar::broker::{Broker, Config, raise_open_files_max};

/// Far longer than anything here takes; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The tests of one target run side by side, and have their clients' sockets and the brokers' in one process.
pub fn start(config: Config) -> (Broker, SocketAddr) {
    raise_open_files_max().unwrap();
    let broker = Broker::start(config).unwrap();
    let address = broker.addresses()[0].1;
    (broker, address)
}

pub fn start_default() -> (Broker, SocketAddr) {
    start(Config::loopback())
}

/// A packet as it came: first byte and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub first: u8,
    pub body: Vec<u8>,
}

impl Packet {
    pub fn kind(&self) -> u8 {
        self.first >> 4
    }

    pub fn qos(&self) -> u8 {
        (self.first >> 1) & 3
    }

    pub fn is_retained(&self) -> bool {
        self.first & 1 == 1
    }

    pub fn is_dup(&self) -> bool {
        self.first & 8 == 8
    }

    fn after_topic(&self) -> usize {
        2 + usize::from(u16::from_be_bytes([self.body[0], self.body[1]]))
    }

    pub fn topic(&self) -> String {
        String::from_utf8(self.body[2..self.after_topic()].to_vec()).unwrap()
    }

    /// Of a PUBLISH: after the topic. Of an acknowledgement: at the front.
    pub fn packet_id(&self) -> u16 {
        let at = if self.kind() == 3 { self.after_topic() } else { 0 };
        u16::from_be_bytes([self.body[at], self.body[at + 1]])
    }

    fn properties_at(&self) -> usize {
        self.after_topic() + if self.qos() > 0 { 2 } else { 0 }
    }

    /// The property block of an MQTT 5 PUBLISH (shorter than 128 bytes).
    pub fn properties(&self) -> &[u8] {
        let at = self.properties_at();
        &self.body[at + 1..at + 1 + usize::from(self.body[at])]
    }

    pub fn payload5(&self) -> &[u8] {
        let at = self.properties_at();
        &self.body[at + 1 + usize::from(self.body[at])..]
    }

    pub fn payload(&self) -> &[u8] {
        &self.body[self.properties_at()..]
    }
}

pub fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut left = body.len();
    loop {
        let low = (left % 128) as u8;
        left /= 128;
        bytes.push(if left > 0 { low | 0x80 } else { low });
        if left == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

/// Topic, payload, QoS, RETAIN, and the property block of MQTT 5 without its length.
pub type Will<'a> = (&'a str, &'a [u8], u8, bool, Vec<u8>);

/// What a CONNECT says.
#[derive(Clone)]
pub struct Connect<'a> {
    pub client_id: &'a str,
    pub is_v5: bool,
    pub is_clean: bool,
    pub keep_alive_s: u16,
    /// The property block of MQTT 5, without its length.
    pub properties: Vec<u8>,
    pub will: Option<Will<'a>>,
    pub login: Option<(&'a str, &'a str)>,
}

impl<'a> Connect<'a> {
    pub fn v3(client_id: &'a str) -> Self {
        Self {
            client_id,
            is_v5: false,
            is_clean: true,
            keep_alive_s: 0,
            properties: Vec::new(),
            will: None,
            login: None,
        }
    }

    pub fn v5(client_id: &'a str) -> Self {
        Self { is_v5: true, ..Self::v3(client_id) }
    }

    pub fn persistent(self) -> Self {
        let mut properties = self.properties;
        if self.is_v5 {
            properties.extend([17, 0xff, 0xff, 0xff, 0xff]);
        }
        Self { is_clean: false, properties, ..self }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut flags = u8::from(self.is_clean) << 1;
        if let Some((_, _, qos, retain, _)) = &self.will {
            flags |= 4 | qos << 3 | u8::from(*retain) << 5;
        }
        if self.login.is_some() {
            flags |= 0xc0;
        }
        let mut body = string("MQTT");
        body.extend([if self.is_v5 { 5 } else { 4 }, flags]);
        body.extend(self.keep_alive_s.to_be_bytes());
        if self.is_v5 {
            body.extend(&packet(0, &self.properties)[1..]);
        }
        body.extend(string(self.client_id));
        if let Some((topic, payload, _, _, properties)) = &self.will {
            if self.is_v5 {
                body.extend(&packet(0, properties)[1..]);
            }
            body.extend(string(topic));
            body.extend((payload.len() as u16).to_be_bytes());
            body.extend(*payload);
        }
        if let Some((user, password)) = self.login {
            body.extend(string(user));
            body.extend(string(password));
        }
        packet(0x10, &body)
    }
}

/// Sends one chunk after the other, a tenth of a second apart, until the broker says
/// something or closes the connection. Whether it did.
pub fn trickle(mut socket: &TcpStream, chunks: impl IntoIterator<Item = Vec<u8>>) -> bool {
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let is_answered = chunks.into_iter().any(|chunk| {
        let is_gone = socket.write_all(&chunk).is_err();
        let nothing_came =
            |error: std::io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        is_gone || !socket.peek(&mut [0]).is_err_and(nothing_came)
    });
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    is_answered
}

/// A client over any stream; over TCP unless said otherwise.
pub struct Client<S = TcpStream> {
    pub stream: S,
    pub is_v5: bool,
}

impl Client {
    pub fn open(address: SocketAddr, is_v5: bool) -> Self {
        Self::prepared(TcpStream::connect(address).unwrap(), is_v5)
    }

    /// Connects from another loopback address than the others: 127.0.0.`host`.
    pub fn open_from(host: u8, address: SocketAddr, is_v5: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let stream = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind((Ipv4Addr::new(127, 0, 0, host), 0).into()).unwrap();
            socket.connect(address).await.unwrap().into_std().unwrap()
        });
        stream.set_nonblocking(false).unwrap();
        Self::prepared(stream, is_v5)
    }

    fn prepared(stream: TcpStream, is_v5: bool) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, is_v5 }
    }

    /// Connects, and returns the CONNACK as well.
    pub fn connect(address: SocketAddr, connect: &Connect<'_>) -> (Self, Packet) {
        let mut client = Self::open(address, connect.is_v5);
        client.send(&connect.bytes());
        let connack = client.receive();
        (client, connack)
    }

    pub fn v3(address: SocketAddr, client_id: &str) -> Self {
        Self::accepted(address, &Connect::v3(client_id))
    }

    pub fn v5(address: SocketAddr, client_id: &str) -> Self {
        Self::accepted(address, &Connect::v5(client_id))
    }

    pub fn accepted(address: SocketAddr, connect: &Connect<'_>) -> Self {
        let (client, connack) = Self::connect(address, connect);
        assert_eq!((connack.first, connack.body[1]), (0x20, 0), "{connack:?}");
        client
    }
}

impl Client {
    /// Whether nothing can be read now.
    pub fn has_nothing(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

impl<S: Read + Write> Client<S> {
    /// Says CONNECT on an open stream, and returns the CONNACK as well.
    pub fn over(stream: S, connect: &Connect<'_>) -> (Self, Packet) {
        let mut client = Self { stream, is_v5: connect.is_v5 };
        client.send(&connect.bytes());
        let connack = client.receive();
        (client, connack)
    }

    /// Says CONNECT on an open socket, which the broker may have closed already.
    pub fn connect_or_none(mut self, client_id: &str) -> Option<Self> {
        self.stream.write_all(&Connect::v3(client_id).bytes()).ok()?;
        let connack = self.next()?;
        (connack.body == [0, 0]).then_some(self)
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next packet; `None` when the broker closed the connection.
    pub fn next(&mut self) -> Option<Packet> {
        let mut first = [0];
        match self.stream.read(&mut first) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                return None;
            }
            // The system does not resume a read with a time limit after the process stood still.
            Err(error) if error.kind() == ErrorKind::Interrupted => return self.next(),
            Err(error) => panic!("nothing came: {error}"),
        }
        let (mut length, mut shift, mut byte) = (0, 0, [0x80]);
        while byte[0] & 0x80 != 0 {
            self.stream.read_exact(&mut byte).unwrap();
            length |= usize::from(byte[0] & 0x7f) << shift;
            shift += 7;
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        Some(Packet { first: first[0], body })
    }

    pub fn receive(&mut self) -> Packet {
        self.next().expect("the broker closed the connection")
    }

    /// Reads everything until the broker closes the connection; the last packet is returned.
    pub fn last(&mut self) -> Option<Packet> {
        let mut last = None;
        while let Some(packet) = self.next() {
            last = Some(packet);
        }
        last
    }

    pub fn ping(&mut self) {
        self.send(&[0xc0, 0]);
        assert_eq!(self.receive().first, 0xd0);
    }

    /// Everything that came before the answer to a ping.
    pub fn until_pong(&mut self) -> Vec<Packet> {
        self.send(&[0xc0, 0]);
        let mut packets = Vec::new();
        loop {
            match self.receive() {
                packet if packet.first == 0xd0 => return packets,
                packet => packets.push(packet),
            }
        }
    }

    pub fn subscribe_bytes(&self, filter: &str, options: u8, packet_id: u16, properties: &[u8]) -> Vec<u8> {
        let mut body = packet_id.to_be_bytes().to_vec();
        if self.is_v5 {
            body.push(properties.len() as u8);
            body.extend(properties);
        }
        body.extend(string(filter));
        body.push(options);
        packet(0x82, &body)
    }

    /// Subscribes, and returns the code of the SUBACK.
    pub fn subscribe(&mut self, filter: &str, options: u8) -> u8 {
        self.send(&self.subscribe_bytes(filter, options, 9, &[]));
        let suback = self.receive();
        assert_eq!((suback.first, suback.packet_id()), (0x90, 9), "{suback:?}");
        *suback.body.last().unwrap()
    }

    /// Unsubscribes, and returns the UNSUBACK.
    pub fn unsubscribe(&mut self, filter: &str) -> Packet {
        let mut body = 10u16.to_be_bytes().to_vec();
        if self.is_v5 {
            body.push(0);
        }
        body.extend(string(filter));
        self.send(&packet(0xa2, &body));
        self.receive()
    }

    pub fn publish_bytes(
        &self,
        topic: &str,
        payload: &[u8],
        flags: u8,
        packet_id: u16,
        properties: &[u8],
    ) -> Vec<u8> {
        let mut body = string(topic);
        if flags & 6 != 0 {
            body.extend(packet_id.to_be_bytes());
        }
        if self.is_v5 {
            // Their length is written as a packet's is.
            body.extend(&packet(0, properties)[1..]);
        }
        body.extend(payload);
        packet(0x30 | flags, &body)
    }

    /// Publishes at QoS 0; `flags` may hold RETAIN (1).
    pub fn publish(&mut self, topic: &str, payload: &[u8], flags: u8) {
        self.send(&self.publish_bytes(topic, payload, flags, 0, &[]));
    }

    /// Publishes at QoS 1 and waits for the PUBACK.
    pub fn publish_acked(&mut self, topic: &str, payload: &[u8], retain: bool) {
        self.send(&self.publish_bytes(topic, payload, 2 | u8::from(retain), 7, &[]));
        let puback = self.receive();
        assert_eq!((puback.first, puback.packet_id()), (0x40, 7), "{puback:?}");
    }

    pub fn ack(&mut self, first: u8, packet_id: u16) {
        self.send(&packet(first, &packet_id.to_be_bytes()));
    }

    pub fn disconnect(mut self) {
        self.send(&[0xe0, 0]);
        assert_eq!(self.next(), None);
    }
}
