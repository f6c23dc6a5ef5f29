//! What all clients share and one of them takes whole: others get their part of it all the same, and lose nothing.

use crate::mqtt::{Client, Connect, PATIENCE, Packet, start};
use crate::reached;
use nearfar::broker::{Access, Authentication, Broker, Config, Limit, Limits, Login};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// Believes whoever says a name, so that no test waits for a password's hash.
struct Gullible;

impl Access for Gullible {
    fn authenticate<'a>(&'a self, login: Login<'a>) -> Authentication<'a> {
        let user = login.credentials.map(|said| said.username.into());
        Box::pin(std::future::ready(Ok(user)))
    }
}

fn broker(limits: Limits, connections_max: usize) -> (Broker, SocketAddr) {
    let mut config = Config { limits, access: Arc::new(Gullible), ..Config::loopback() };
    config.router.connections_max = connections_max;
    start(config)
}

/// Who a client is to the broker: one of the addresses, or one of the users.
#[derive(Clone, Copy)]
enum Who {
    Address(u8),
    User(&'static str),
}

/// Whoever takes everything, and whoever else there is.
const PAIRS: [(Who, Who); 2] = [(Who::Address(2), Who::Address(3)), (Who::User("hog"), Who::User("press"))];

impl Who {
    /// Connects, and returns the CONNACK as well.
    fn try_connect(self, address: SocketAddr, connect: Connect<'_>) -> (Client, Packet) {
        let (host, login) = match self {
            Self::Address(host) => (host, None),
            Self::User(user) => (1, Some((user, "secret"))),
        };
        let mut client = Client::open_from(host, address, connect.is_v5);
        client.send(&Connect { login, ..connect }.bytes());
        let connack = client.receive();
        (client, connack)
    }

    fn connect(self, address: SocketAddr, connect: Connect<'_>) -> Client {
        let (client, connack) = self.try_connect(address, connect);
        assert_eq!((connack.first, connack.body[1]), (0x20, 0), "{connack:?}");
        client
    }

    /// Leaves a session behind that has subscribed to `filter`.
    fn park(self, address: SocketAddr, client_id: &str, filter: Option<&str>) {
        let mut client = self.connect(address, Connect::v5(client_id).persistent());
        if let Some(filter) = filter {
            assert_eq!(client.subscribe(filter, 1), 1);
        }
        client.disconnect();
    }

    /// Comes back to its session, and reads what waited there; `None` when the session is gone.
    fn come_back(self, address: SocketAddr, client_id: &str) -> Option<Vec<Packet>> {
        let (mut client, connack) = self.try_connect(address, Connect::v5(client_id).persistent());
        assert_eq!(connack.body[1], 0, "{connack:?}");
        let waited = client.until_pong();
        client.disconnect();
        (connack.body[0] == 1).then_some(waited)
    }
}

fn wait_until(broker: &Broker, is_so: impl Fn(&nearfar::broker::Statistics) -> bool) {
    let started = Instant::now();
    while !is_so(&broker.statistics()) {
        assert!(started.elapsed() < PATIENCE, "{:?}", broker.statistics());
        std::thread::yield_now();
    }
}

#[test]
fn sessions_that_one_takes_whole_leave_room_for_others_and_what_waits_for_them() {
    for (hog, other) in PAIRS {
        let (broker, address) = broker(Limits { parked_sessions_max: 50, ..Limits::default() }, 1_000);
        other.park(address, "before", Some("t"));
        for number in 0..60 {
            // Some of them have messages too, which does not make them worth more than another's.
            let filter = (number % 2 == 0).then_some("t");
            hog.park(address, &format!("hog-{number}"), filter);
        }
        wait_until(&broker, |now| now.parked_sessions == 50);
        Client::v3(address, "p").publish_acked("t", b"1", false);
        other.park(address, "after", Some("t"));
        wait_until(&broker, |now| now.connections == 0 && now.parked_sessions == 50);
        assert!(broker.statistics().gave_way.of(Limit::ParkedSessions) >= 1);
        Client::v3(address, "p").publish_acked("t", b"2", false);
        let payloads = |id| -> Vec<Vec<u8>> {
            let waited = other.come_back(address, id).expect("its session is there");
            waited.iter().map(|packet| packet.payload5().to_vec()).collect()
        };
        assert_eq!(
            (payloads("before"), payloads("after")),
            (vec![b"1".to_vec(), b"2".to_vec()], vec![b"2".to_vec()])
        );
    }
}

#[test]
fn sessions_behind_one_address_that_hold_something_outlive_those_that_hold_nothing() {
    let (broker, address) = broker(Limits { parked_sessions_max: 20, ..Limits::default() }, 1_000);
    let here = Who::Address(2);
    here.park(address, "before", Some("t"));
    for number in 0..40 {
        here.park(address, &format!("bare-{number}"), None);
    }
    wait_until(&broker, |now| now.connections == 0);
    here.park(address, "after", Some("t"));
    wait_until(&broker, |now| now.connections == 0 && now.parked_sessions == 20);
    Client::v3(address, "p").publish_acked("t", b"1", false);
    for id in ["before", "after"] {
        assert_eq!(here.come_back(address, id).map(|waited| waited.len()), Some(1), "{id}");
    }
}

#[test]
fn where_everybody_has_little_a_full_bound_is_full() {
    let (broker, address) = broker(Limits { parked_sessions_max: 3, ..Limits::default() }, 1_000);
    for host in 2..=5 {
        Who::Address(host).park(address, &host.to_string(), Some("t"));
        wait_until(&broker, |now| now.connections == 0);
    }
    assert_eq!((reached(&broker, Limit::ParkedSessions), broker.statistics().parked_sessions), (1, 3));
    assert!(
        Who::Address(2).come_back(address, "2").is_some()
            && Who::Address(5).come_back(address, "5").is_none()
    );
}

#[test]
fn connections_that_one_takes_whole_leave_room_for_others() {
    for (hog, other) in PAIRS {
        let (broker, address) = broker(Limits::default(), 40);
        let mut idle: Vec<_> =
            (0..40).map(|number| hog.connect(address, Connect::v5(&format!("hog-{number}")))).collect();
        let refused = hog.try_connect(address, Connect::v5("one-more")).1;
        assert_eq!(refused.body[1], 0x97);
        let mut client = other.connect(address, Connect::v5("other"));
        client.ping();
        assert_eq!(idle[0].last().unwrap().body[0], 0x97, "the one that idles longest is told why it goes");
        idle[1..].iter_mut().for_each(Client::ping);
        wait_until(&broker, |now| now.connections == 40);
        assert_eq!(
            (broker.statistics().gave_way.of(Limit::Connections), reached(&broker, Limit::Connections)),
            (1, 1)
        );
    }
}

#[test]
fn a_client_that_comes_back_takes_its_own_place_where_all_are_taken() {
    let (broker, address) = broker(Limits::default(), 2);
    let here = Who::Address(2);
    let mut first = here.connect(address, Connect::v5("1"));
    let _second = here.connect(address, Connect::v5("2"));
    let mut again = here.connect(address, Connect::v5("1"));
    assert_eq!(first.last().unwrap().body[0], 0x8e);
    again.ping();
    assert_eq!((broker.statistics().connections, reached(&broker, Limit::Connections)), (2, 0));
}

#[test]
fn some_places_are_kept_for_those_who_are_known() {
    let (broker, address) = broker(Limits::default(), 40);
    Who::Address(200).park(address, "known", None);
    wait_until(&broker, |now| now.connections == 0);
    // Two of forty are kept.
    let strangers: Vec<_> =
        (2..40).map(|host| Who::Address(host).connect(address, Connect::v5(&host.to_string()))).collect();
    let refused = Who::Address(40).try_connect(address, Connect::v5("stranger")).1;
    assert_eq!((strangers.len(), refused.body[1]), (38, 0x97));
    Who::User("press").connect(address, Connect::v5("user")).ping();
    Who::Address(200).connect(address, Connect::v5("known").persistent()).ping();
    assert_eq!(broker.statistics().gave_way.of(Limit::Connections), 0);
}
