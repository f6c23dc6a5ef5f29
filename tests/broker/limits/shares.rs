//! What all clients share and one of them takes whole: others get their part of it
//! all the same, and lose nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use nearfar::broker::{Access, Authentication, Broker, Config, Limit, Limits, Login};

use crate::limits::reached;
use crate::support::mqtt::{Client, Connect, PATIENCE, Packet, start};

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

    /// Comes back to its session, where so many messages wait: their payloads. `None`
    /// when the session is gone.
    fn come_back(self, address: SocketAddr, client_id: &str, waiting: usize) -> Option<Vec<Vec<u8>>> {
        let (mut client, connack) = self.try_connect(address, Connect::v5(client_id).persistent());
        assert_eq!(connack.body[1], 0, "{connack:?}");
        (connack.body[0] == 1).then(|| (0..waiting).map(|_| client.receive().payload5().to_vec()).collect())
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
        assert_eq!(other.come_back(address, "before", 2), Some(vec![b"1".to_vec(), b"2".to_vec()]));
        assert_eq!(other.come_back(address, "after", 1), Some(vec![b"2".to_vec()]));
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
        assert_eq!(here.come_back(address, id, 1), Some(vec![b"1".to_vec()]), "{id}");
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
    assert!(Who::Address(2).come_back(address, "2", 0).is_some());
    assert!(Who::Address(5).come_back(address, "5", 0).is_none());
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

/// Subscribes to so many filters of its own, and says how many were granted.
fn subscribe_many(client: &mut Client, name: &str, count: usize) -> usize {
    (0..count).filter(|number| client.subscribe(&format!("{name}/{number}"), 1) == 1).count()
}

#[test]
fn filters_that_one_takes_whole_leave_room_for_others() {
    for (hog, other) in PAIRS {
        let limits = Limits { filters_max: 100, subscriptions_per_client_max: 30, ..Limits::default() };
        let (broker, address) = broker(limits, 1_000);
        let mut parked = hog.connect(address, Connect::v5("parked").persistent());
        assert_eq!(subscribe_many(&mut parked, "parked", 25), 25);
        parked.disconnect();
        let mut hogs: Vec<_> =
            (0..3).map(|number| hog.connect(address, Connect::v5(&number.to_string()))).collect();
        let granted: usize =
            hogs.iter_mut().zip(["a", "b", "c"]).map(|(hog, name)| subscribe_many(hog, name, 25)).sum();
        assert_eq!((granted, broker.statistics().filters), (75, 100));
        let mut client = other.connect(address, Connect::v5("other").persistent());
        assert_eq!(subscribe_many(&mut client, "other", 25), 25, "the session that waits makes room");
        wait_until(&broker, |now| now.filters == 100 && now.parked_sessions == 0);
        assert_eq!(client.subscribe("other/25", 1), 1, "then a connection of the hog's");
        assert_eq!(hogs[0].last().unwrap().body[0], 0x97);
        hogs[1..].iter_mut().for_each(Client::ping);
        wait_until(&broker, |now| now.filters == 76);
        assert_eq!(broker.statistics().gave_way.of(Limit::Filters), 2);
        // What the other one has it keeps, however much the hog wants.
        let mut again = hog.connect(address, Connect::v5("again"));
        assert_eq!(subscribe_many(&mut again, "again", 30), 24);
        Client::v3(address, "p").publish_acked("other/7", b"7", false);
        assert_eq!(client.receive().payload5(), b"7");
    }
}

#[test]
fn a_filter_is_counted_to_whoever_still_subscribes_to_it() {
    let limits = Limits { filters_max: 20, ..Limits::default() };
    let (broker, address) = broker(limits, 1_000);
    let mut maker = Who::Address(2).connect(address, Connect::v5("maker"));
    let mut user = Who::Address(3).connect(address, Connect::v5("user"));
    for client in [&mut maker, &mut user] {
        assert_eq!(subscribe_many(client, "t", 20), 20);
    }
    maker.disconnect();
    wait_until(&broker, |now| now.connections == 1);
    let mut newcomer = Who::Address(4).connect(address, Connect::v5("newcomer"));
    assert_eq!(newcomer.subscribe("$share/g/new", 1), 1);
    assert_eq!(user.last().unwrap().body[0], 0x97, "it had all of them");
    wait_until(&broker, |now| now.filters == 1);
}

#[test]
fn strangers_behind_one_address_share_its_filters_and_a_users_devices_are_no_strangers() {
    for (who, code) in [(Who::Address(2), 1), (Who::User("press"), 0x97)] {
        let (_broker, address) = broker(Limits { filters_max: 20, ..Limits::default() }, 1_000);
        let mut hog = who.connect(address, Connect::v5("hog"));
        assert_eq!(subscribe_many(&mut hog, "hog", 20), 20);
        assert_eq!(who.connect(address, Connect::v5("other")).subscribe("other", 1), code);
    }
}

#[test]
fn silent_sockets_of_one_address_keep_no_other_out() {
    let mut config = Config::loopback();
    config.router.connections_max = 10;
    config.listeners[0].connections.connect_timeout = PATIENCE;
    let (broker, address) = start(config);
    let mut silent: Vec<_> = (0..280).map(|_| Client::open_from(2, address, true)).collect();
    assert_eq!(silent.pop().unwrap().next(), None, "266 may be open");
    let mut others: Vec<_> =
        (0..3).map(|number| Who::Address(3).connect(address, Connect::v5(&number.to_string()))).collect();
    others.iter_mut().for_each(Client::ping);
    assert!(silent[..3].iter_mut().all(|longest| longest.next().is_none()), "who has waited longest goes");
    assert!(broker.statistics().gave_way.of(Limit::Connecting) >= 3);
    drop(silent);
    // Who has said CONNECT stays, however many come.
    let flood: Vec<_> =
        (0..280).map(|number| Client::open_from(4 + (number % 4) as u8, address, true)).collect();
    others.iter_mut().for_each(Client::ping);
    drop(flood);
}

/// The topics retained under a filter.
fn retained(address: SocketAddr, filter: &str) -> Vec<String> {
    let mut reader = Client::v5(address, "reader");
    assert_eq!(reader.subscribe(filter, 0), 0);
    // They follow the SUBACK at once.
    reader.until_pong().iter().map(Packet::topic).collect()
}

#[test]
fn retained_messages_that_one_takes_whole_leave_room_for_others() {
    for (hog, other) in PAIRS {
        let limits = Limits { retained_messages_max: 20, retained_bytes_max: 100_000, ..Limits::default() };
        let (broker, address) = broker(limits, 1_000);
        let before = broker.statistics().retained_messages;
        let mut press = other.connect(address, Connect::v5("press"));
        press.publish_acked("press/state", b"on", true);
        let mut hogs = hog.connect(address, Connect::v5("hog"));
        for number in 0..30 {
            hogs.publish_acked(&format!("hog/{number}"), b"x", true);
        }
        let kept = broker.statistics().retained_messages;
        assert_eq!((before, kept), (0, 20));
        press.publish_acked("press/order", b"7", true);
        let mut topics = retained(address, "#");
        topics.sort_unstable();
        assert_eq!(topics.len(), 20, "{topics:?}");
        assert!(
            topics[18..] == ["press/order", "press/state"] && !topics.contains(&"hog/0".to_owned()),
            "{topics:?}"
        );
        assert_eq!(broker.statistics().gave_way.of(Limit::RetainedMessages), 1);
        // In bytes too: what is large takes the place of what the hog has most of.
        for topic in ["hog/1", "hog/2"] {
            hogs.publish_acked(topic, b"", true);
        }
        hogs.publish_acked("hog/large", &[0; 70_000], true);
        press.publish_acked("press/large", &[0; 30_000], true);
        assert!(retained(address, "+/large").contains(&"press/large".to_owned()));
        assert!(broker.statistics().gave_way.of(Limit::RetainedBytes) >= 1);
    }
}
