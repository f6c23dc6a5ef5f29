//! Every limit, reached: the client that reaches it is told by the standard's means,
//! it is counted, and nobody else notices.

mod memory;
mod schedules;
mod shares;
mod wait;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nearfar::broker::{Broker, Config, Dropped, Limit, Limits, OverRate, PendingPolicy};

use crate::support::mqtt::{Client, Connect, PATIENCE, Packet, packet, start, trickle};
use crate::support::waiting::wait_until;

fn with(limits: Limits) -> (Broker, SocketAddr) {
    start(Config { limits, ..Config::loopback() })
}

fn reached(broker: &Broker, limit: Limit) -> u64 {
    broker.statistics().limits_reached.of(limit)
}

/// Waits until a limit was reached that a client is not told of.
fn wait_for(broker: &Broker, limit: Limit) {
    let started = Instant::now();
    while reached(broker, limit) == 0 {
        assert!(started.elapsed() < PATIENCE, "{} is never reached", limit.name());
        std::thread::yield_now();
    }
}

/// A client that only watches: whatever others reach, it is served as before.
struct Bystander(Client);

impl Bystander {
    fn new(address: SocketAddr) -> Self {
        let mut client = Client::v5(address, "bystander");
        assert_eq!(client.subscribe("bystander", 1), 1);
        Self(client)
    }

    fn assert_unmoved(mut self) {
        self.0.publish("bystander", b"well", 0);
        assert_eq!(self.0.receive().payload5(), b"well");
    }
}

/// The reason in a PUBACK of MQTT 5; 0 when it has none.
fn puback_reason(client: &mut Client, topic: &str) -> u8 {
    client.send(&client.publish_bytes(topic, b"x", 2, 7, &[]));
    let puback = client.receive();
    assert_eq!((puback.first, puback.packet_id()), (0x40, 7));
    puback.body.get(2).copied().unwrap_or(0)
}

#[test]
fn an_address_has_so_many_sockets_and_other_addresses_their_own() {
    let (broker, address) = with(Limits { connections_per_address_max: 3, ..Limits::default() });
    let bystander = Bystander::new(address);
    let (_second, third) = (Client::v3(address, "2"), Client::v3(address, "3"));
    assert!(Client::open(address, false).connect_or_none("4").is_none());
    assert!(reached(&broker, Limit::ConnectionsPerAddress) >= 1);
    third.disconnect();
    let started = Instant::now();
    while Client::open(address, false).connect_or_none("4").is_none() {
        assert!(started.elapsed() < PATIENCE, "the place is not free again");
        std::thread::yield_now();
    }
    bystander.assert_unmoved();
}

#[test]
fn a_silent_socket_is_timed_out_and_counted() {
    let mut config = Config::loopback();
    config.listeners[0].connections.connect_timeout = Duration::from_millis(50);
    let (broker, address) = start(config);
    let bystander = Bystander::new(address);
    assert_eq!(Client::open(address, true).next(), None);
    wait_for(&broker, Limit::ConnectTimeout);
    bystander.assert_unmoved();
}

#[test]
fn more_clients_than_there_may_be_are_refused_and_counted() {
    let mut config = Config::loopback();
    config.router.connections_max = 1;
    let (broker, address) = start(config);
    let bystander = Bystander::new(address);
    let (_refused, connack) = Client::connect(address, &Connect::v5("2"));
    assert_eq!((connack.body[1], reached(&broker, Limit::Connections)), (0x97, 1));
    bystander.assert_unmoved();
}

#[test]
fn too_large_a_packet_ends_its_connection_alone() {
    let mut config = Config::loopback();
    config.listeners[0].connections.packet_bytes_max = 1_000;
    let (broker, address) = start(config);
    let bystander = Bystander::new(address);
    let mut client = Client::v5(address, "c");
    client.publish("t", &[0; 1_000], 0);
    assert_eq!(client.last().unwrap().body[0], 0x95);
    assert_eq!(reached(&broker, Limit::PacketBytes), 1);
    bystander.assert_unmoved();
}

#[test]
fn too_long_a_client_id_is_refused_and_the_longest_is_not() {
    let (broker, address) = with(Limits { client_id_bytes_max: 30, ..Limits::default() });
    let bystander = Bystander::new(address);
    let (long, longest) = ("x".repeat(31), "x".repeat(30));
    assert_eq!(Client::connect(address, &Connect::v5(&long)).1.body[1], 0x85);
    assert_eq!(Client::connect(address, &Connect::v3(&long)).1.body, [0, 2]);
    Client::v3(address, &longest).disconnect();
    assert_eq!(reached(&broker, Limit::ClientIdBytes), 2);
    bystander.assert_unmoved();
}

#[test]
fn too_long_or_too_deep_a_topic_is_refused_in_every_packet_that_names_one() {
    let (broker, address) = with(Limits { topic_bytes_max: 20, topic_levels_max: 3, ..Limits::default() });
    let bystander = Bystander::new(address);
    let mut client = Client::v5(address, "c");
    let long = "x".repeat(21);
    for (topic, limit) in [(long.as_str(), Limit::TopicBytes), ("a/b/c/d", Limit::TopicLevels)] {
        let before = reached(&broker, limit);
        assert_eq!(puback_reason(&mut client, topic), 0x90, "{topic}");
        assert_eq!(client.subscribe(topic, 1), 0x8f, "{topic}");
        assert_eq!(Client::v3(address, "old").subscribe(topic, 1), 0x80, "{topic}");
        let mut connect = Connect::v5("w");
        connect.will = Some((topic, b"gone", 0, false, Vec::new()));
        assert_eq!(Client::connect(address, &connect).1.body[1], 0x90, "{topic}");
        assert_eq!(reached(&broker, limit) - before, 4, "{topic}");
    }
    assert_eq!(puback_reason(&mut client, "a/b/c"), 0);
    assert_eq!(client.subscribe("a/+/#", 1), 1);
    assert_eq!(client.subscribe("$share/a-group-with-a-long-name/a/+/#", 1), 1, "the group does not count");
    // An alias would be remembered with its topic.
    client.send(&client.publish_bytes(&long, b"x", 0, 0, &[35, 0, 1]));
    assert_eq!(client.last().unwrap().body[0], 0x90);
    bystander.assert_unmoved();
}

#[test]
fn one_client_has_so_many_subscriptions_and_all_have_so_many_filters() {
    let limits = Limits { subscriptions_per_client_max: 2, filters_max: 4, ..Limits::default() };
    let (broker, address) = with(limits);
    let bystander = Bystander::new(address);
    let mut client = Client::v5(address, "c");
    assert_eq!(["a", "b", "c", "a"].map(|filter| client.subscribe(filter, 0)), [0, 0, 0x97, 0]);
    assert_eq!(reached(&broker, Limit::SubscriptionsPerClient), 1);
    let mut other = Client::v5(address, "d");
    assert_eq!(["d", "e"].map(|filter| other.subscribe(filter, 0)), [0, 0x97]);
    assert_eq!((reached(&broker, Limit::Filters), broker.statistics().filters), (1, 4));
    bystander.assert_unmoved();
}

#[test]
fn one_client_has_so_many_subscriptions_that_overlap() {
    let (broker, address) = with(Limits { overlapping_subscriptions_max: 2, ..Limits::default() });
    let bystander = Bystander::new(address);
    let mut client = Client::v5(address, "c");
    let codes = ["x/1", "x/2", "x/3", "x/+", "+/1", "x/#", "+/2", "x/9", "x/+"]
        .map(|filter| client.subscribe(filter, 0));
    // Names do not count against each other, nor does what no topic falls under twice,
    // nor a subscription made again.
    assert_eq!(codes, [0, 0, 0, 0, 0, 0x97, 0, 0, 0]);
    assert_eq!(client.subscribe("$share/group/x/#", 0), 0x97, "a group has a copy of its own");
    assert_eq!(client.subscribe("$share/group/y/2", 0), 0, "one other matches it");
    assert_eq!(reached(&broker, Limit::OverlappingSubscriptions), 2);
    let mut other = Client::v3(address, "d");
    assert_eq!(["#", "+/#", "x/#"].map(|filter| other.subscribe(filter, 0)), [0, 0, 0x80]);
    assert_eq!(reached(&broker, Limit::OverlappingSubscriptions), 3);
    bystander.assert_unmoved();
}

#[test]
fn one_client_gets_so_many_copies_from_shared_groups() {
    let (broker, address) = with(Limits { overlapping_subscriptions_max: 3, ..Limits::default() });
    let bystander = Bystander::new(address);
    let mut client = Client::v5(address, "c");
    let codes =
        ["$share/a/#", "$share/b/t/+", "$share/c/t/x", "$share/d/t/x", "$share/d/#", "t/#", "$share/d/u"]
            .map(|filter| client.subscribe(filter, 0));
    assert_eq!(codes, [0, 0, 0, 0x97, 0x97, 0x97, 0]);
    // A name of its own does not add to what the others match.
    assert_eq!(client.subscribe("t/x", 0), 0x97);
    assert_eq!(client.subscribe("u", 0), 0);
    assert_eq!(reached(&broker, Limit::OverlappingSubscriptions), 4);
    let mut publisher = Client::v5(address, "p");
    publisher.publish_acked("t/x", b"copied", false);
    assert_eq!([0; 3].map(|_| client.receive().payload5().to_vec()), [b"copied"; 3]);
    assert_eq!(client.until_pong(), []);
    // Another client has copies of its own, but those of the same groups are shared.
    let mut other = Client::v5(address, "o");
    assert_eq!(other.subscribe("$share/a/#", 0), 0);
    bystander.assert_unmoved();
}

#[test]
fn each_group_counts_as_a_filter_whoever_has_made_it() {
    let (broker, address) = with(Limits { filters_max: 3, ..Limits::default() });
    let mut clients = [Client::v5(address, "0"), Client::v5(address, "1")];
    assert_eq!(clients[0].subscribe("$share/a/#", 0), 0);
    assert_eq!(clients[0].subscribe("$share/b/#", 0), 0);
    assert_eq!(clients[1].subscribe("$share/c/#", 0), 0);
    assert_eq!(clients[1].subscribe("$share/a/#", 0), 0, "it is there");
    assert_eq!(broker.statistics().filters, 3);
    assert_eq!(clients[0].subscribe("$share/d/#", 0), 0x97);
    assert_eq!(clients[0].unsubscribe("$share/b/#").body.last(), Some(&0));
    assert_eq!((broker.statistics().filters, clients[0].subscribe("#", 0)), (2, 0));
}

#[test]
fn retained_messages_are_bounded_in_number_and_in_bytes_and_each_is_counted() {
    let (broker, address) =
        with(Limits { retained_messages_max: 2, retained_bytes_max: 2_000, ..Limits::default() });
    let bystander = Bystander::new(address);
    let mut client = Client::v3(address, "c");
    client.publish_acked("a", &[0; 2_000], true);
    for topic in ["a", "b", "c"] {
        client.publish_acked(topic, b"x", true);
    }
    assert_eq!((reached(&broker, Limit::RetainedBytes), reached(&broker, Limit::RetainedMessages)), (1, 1));
    let kept = broker.statistics();
    // Two topics and payloads, of a byte each, and what it takes to keep them.
    assert_eq!(kept.retained_messages, 2);
    assert!((200..2_000).contains(&kept.retained_bytes), "{kept:?}");
    bystander.assert_unmoved();
}

/// So many user properties of five bytes each in a packet: an empty name and an empty value.
fn empty_user_properties(count: usize) -> Vec<u8> {
    [38, 0, 0, 0, 0].repeat(count)
}

#[test]
fn empty_user_properties_count_for_every_bound_in_bytes() {
    let (broker, address) = with(Limits {
        retained_bytes_max: 100_000,
        pending_bytes_max: 100_000,
        inflight_bytes_max: 100_000,
        ..Limits::default()
    });
    let bystander = Bystander::new(address);
    let mut away = Client::accepted(address, &Connect::v5("away").persistent());
    away.subscribe("t/+", 1);
    drop(away);
    let mut publisher = Client::v5(address, "p");
    for n in 0..20 {
        let properties = empty_user_properties(10_000);
        publisher.send(&publisher.publish_bytes(&format!("t/{n}"), b"x", 3, 7, &properties));
        assert_eq!(publisher.receive().first, 0x40);
    }
    let kept = broker.statistics();
    assert!(kept.retained_messages == 1 && kept.retained_bytes <= 100_000, "{kept:?}");
    assert!(reached(&broker, Limit::RetainedBytes) >= 19);
    wait_for(&broker, Limit::PendingBytes);
    bystander.assert_unmoved();
}

#[test]
fn sessions_of_absent_clients_are_bounded() {
    let (broker, address) = with(Limits { parked_sessions_max: 1, ..Limits::default() });
    let bystander = Bystander::new(address);
    for id in ["1", "2"] {
        Client::accepted(address, &Connect::v3(id).persistent()).disconnect();
    }
    wait_for(&broker, Limit::ParkedSessions);
    assert_eq!(broker.statistics().parked_sessions, 1);
    bystander.assert_unmoved();
}

#[test]
fn what_is_unacknowledged_is_bounded_in_bytes_as_well() {
    let (broker, address) = with(Limits { inflight_bytes_max: 15_000, ..Limits::default() });
    let bystander = Bystander::new(address);
    let mut subscriber = Client::v3(address, "s");
    subscriber.subscribe("t", 1);
    let mut publisher = Client::v3(address, "p");
    for n in 0..4 {
        publisher.publish_acked("t", &[n; 10_000], false);
    }
    let (first, second) = (subscriber.receive(), subscriber.receive());
    wait_for(&broker, Limit::InflightBytes);
    assert_eq!(subscriber.until_pong(), [], "twenty thousand bytes are on their way");
    for packet in [&first, &second] {
        subscriber.ack(0x40, packet.packet_id());
    }
    assert_eq!([subscriber.receive().payload()[0], subscriber.receive().payload()[0]], [2, 3]);
    bystander.assert_unmoved();
}

#[test]
fn unreleased_publishes_and_aliases_beyond_the_bounds_end_their_connection() {
    let (broker, address) = with(Limits { receive_max: 2, topic_aliases_max: 5, ..Limits::default() });
    let bystander = Bystander::new(address);
    let mut client = Client::v5(address, "c");
    for packet_id in 1..=3 {
        client.send(&client.publish_bytes("t", b"x", 4, packet_id, &[]));
    }
    assert_eq!((client.last().unwrap().body[0], reached(&broker, Limit::Receive)), (0x93, 1));
    let mut client = Client::v5(address, "c");
    client.send(&client.publish_bytes("t", b"x", 0, 0, &[35, 0, 6]));
    assert_eq!((client.last().unwrap().body[0], reached(&broker, Limit::TopicAliases)), (0x94, 1));
    bystander.assert_unmoved();
}

/// What a session that was away gets on its return, of ten messages of 100 bytes of
/// which so many are dropped; `None` when the session is gone.
fn kept_while_away(limits: Limits, dropped: u64) -> (Option<Vec<u8>>, Broker) {
    let (broker, address) = with(limits);
    let bystander = Bystander::new(address);
    let connect = Connect::v5("away").persistent();
    let mut client = Client::accepted(address, &connect);
    client.subscribe("t", 1);
    drop(client);
    let started = Instant::now();
    while broker.statistics().parked_sessions == 0 {
        assert!(started.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    let mut publisher = Client::v3(address, "p");
    for n in 0..10 {
        publisher.publish_acked("t", &[n; 9_900], false);
    }
    while broker.statistics().dropped_messages < dropped {
        assert!(started.elapsed() < PATIENCE, "{:?}", broker.statistics());
        std::thread::yield_now();
    }
    assert_eq!(broker.statistics().dropped.of(Dropped::QueueFull), dropped);
    assert_eq!(broker.statistics().dropped_messages, dropped);
    bystander.assert_unmoved();
    let (mut client, connack) = Client::connect(address, &connect);
    if connack.body[0] == 0 {
        return (None, broker);
    }
    let messages = client.until_pong();
    (Some(messages.iter().map(|packet: &Packet| packet.payload5()[0]).collect()), broker)
}

#[test]
fn a_session_that_is_away_keeps_the_oldest_or_the_newest_or_ends() {
    let limits = |pending_policy| Limits { pending_messages_max: 3, pending_policy, ..Limits::default() };
    for policy in [PendingPolicy::Hold, PendingPolicy::DropNewest] {
        let (kept, broker) = kept_while_away(limits(policy), 7);
        assert_eq!(kept.as_deref(), Some(&[0, 1, 2][..]), "{policy:?}");
        assert!(reached(&broker, Limit::PendingMessages) >= 1);
    }
    let (kept, _broker) = kept_while_away(limits(PendingPolicy::DropOldest), 7);
    assert_eq!(kept.as_deref(), Some(&[7, 8, 9][..]));
    // The fourth does not fit, and the three before it go with the session.
    let (kept, broker) = kept_while_away(limits(PendingPolicy::Disconnect), 4);
    assert_eq!((kept, reached(&broker, Limit::PendingMessages)), (None, 1));
}

#[test]
fn a_session_that_is_away_is_bounded_in_bytes_too() {
    let limits = Limits { pending_bytes_max: 25_000, ..Limits::default() };
    let (kept, broker) = kept_while_away(limits, 7);
    assert_eq!(kept.as_deref(), Some(&[0, 1, 2][..]), "the third exceeds the bound, and is the last one in");
    assert!(reached(&broker, Limit::PendingBytes) >= 1);
}

/// A client that acknowledges nothing of a hundred messages; its window is one.
fn slow(pending_policy: PendingPolicy) -> (Client, Broker, Bystander) {
    let mut config = Config::loopback();
    config.listeners[0].connections.inflight_messages_max = 1;
    config.limits = Limits { pending_messages_max: 3, pending_policy, ..Limits::default() };
    let (broker, address) = start(config);
    let bystander = Bystander::new(address);
    let mut client = Client::v5(address, "slow");
    client.subscribe("t", 1);
    let mut publisher = Client::v3(address, "p");
    for n in 0..100 {
        publisher.publish_acked("t", &[n], false);
    }
    (client, broker, bystander)
}

/// Acknowledges everything until the last message, and returns what came.
fn read_out(client: &mut Client) -> Vec<u8> {
    let mut got = Vec::new();
    while got.last() != Some(&99) {
        let packet = client.receive();
        got.push(packet.payload5()[0]);
        client.ack(0x40, packet.packet_id());
    }
    got
}

#[test]
fn for_a_slow_client_the_routers_log_holds_what_comes() {
    let (mut client, broker, bystander) = slow(PendingPolicy::Hold);
    wait_for(&broker, Limit::PendingMessages);
    assert_eq!(read_out(&mut client), (0..100).collect::<Vec<u8>>());
    assert_eq!(broker.statistics().dropped_messages, 0);
    bystander.assert_unmoved();
}

#[test]
fn a_slow_client_may_lose_the_oldest_instead() {
    let (mut client, broker, bystander) = slow(PendingPolicy::DropOldest);
    let started = Instant::now();
    while broker.statistics().dropped_messages < 96 {
        assert!(started.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    assert_eq!(read_out(&mut client), [0, 97, 98, 99]);
    bystander.assert_unmoved();
}

#[test]
fn a_slow_client_may_be_disconnected_instead_and_its_session_ends() {
    let (mut client, broker, bystander) = slow(PendingPolicy::Disconnect);
    assert_eq!(client.last().unwrap().body[0], 0x97);
    assert_eq!(reached(&broker, Limit::PendingMessages), 1);
    bystander.assert_unmoved();
}

#[test]
fn a_client_that_publishes_too_fast_is_slowed_down_and_loses_nothing() {
    let limits =
        Limits { publish_messages_per_s_max: 100, publish_burst_messages_max: 10, ..Limits::default() };
    let (broker, address) = with(limits);
    let bystander = Bystander::new(address);
    let mut subscriber = Client::v3(address, "s");
    subscriber.subscribe("t", 0);
    let mut fast = Client::v3(address, "fast");
    let started = Instant::now();
    fast.send(&fast.publish_bytes("t", b"x", 0, 0, &[]).repeat(60));
    fast.ping();
    // Ten at once and fifty at a hundred a second; the ping behind them waits too.
    assert!(started.elapsed() >= Duration::from_millis(490), "{:?}", started.elapsed());
    (0..60).for_each(|_| assert_eq!(subscriber.receive().payload(), b"x"));
    assert!(reached(&broker, Limit::PublishRate) >= 1);
    bystander.assert_unmoved();
}

#[test]
fn a_client_that_publishes_too_fast_may_be_disconnected_instead() {
    let limits = Limits {
        publish_messages_per_s_max: 1,
        publish_burst_messages_max: 10,
        publish_over_rate: OverRate::Disconnect,
        ..Limits::default()
    };
    let (broker, address) = with(limits);
    let bystander = Bystander::new(address);
    let mut fast = Client::v5(address, "fast");
    fast.send(&fast.publish_bytes("t", b"x", 0, 0, &[]).repeat(11));
    assert_eq!(fast.last().unwrap().body[0], 0x96);
    assert_eq!(reached(&broker, Limit::PublishRate), 1);
    bystander.assert_unmoved();
}

#[test]
fn a_client_that_reads_nothing_is_not_read_from_and_then_disconnected() {
    let limits =
        Limits { unread_bytes_max: 1_024, write_timeout: Duration::from_millis(200), ..Limits::default() };
    let (broker, address) = with(limits);
    let bystander = Bystander::new(address);
    let mut deaf = Client::v3(address, "deaf");
    // A ping costs two bytes in and two out, until the system's buffers and ours are full.
    let pings = [0xc0, 0].repeat(32 * 1_024);
    deaf.stream.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
    let started = Instant::now();
    while reached(&broker, Limit::WriteTimeout) == 0 {
        assert!(started.elapsed() < PATIENCE);
        // The broker reads nothing more, so this fails sooner or later.
        let _full = std::io::Write::write(&mut deaf.stream, &pings);
    }
    assert!(reached(&broker, Limit::UnreadBytes) >= 1);
    bystander.assert_unmoved();
}

/// A large PUBLISH, a byte at a time: far more than a client with a keep-alive of a
/// second can send before that is over.
fn drops() -> impl Iterator<Item = Vec<u8>> {
    let publish = packet(0x30, &[&[0, 1, b't'][..], &[0; 10_000]].concat());
    publish.into_iter().take(100).map(|byte| vec![byte])
}

#[test]
fn bytes_of_a_packet_that_does_not_end_keep_nobody_alive() {
    let (_broker, address) = with(Limits::default());
    let bystander = Bystander::new(address);
    let mut old = Client::accepted(address, &Connect { keep_alive_s: 1, ..Connect::v3("old") });
    let mut new = Client::accepted(address, &Connect { keep_alive_s: 1, ..Connect::v5("new") });
    assert!(trickle(&old.stream, drops()), "it outlives its keep-alive");
    assert_eq!(old.next(), None);
    assert!(trickle(&new.stream, drops()), "it outlives its keep-alive");
    assert_eq!(new.receive().body[0], 0x8d);
    bystander.assert_unmoved();
}

#[test]
fn a_packet_has_a_time_to_be_whole_also_without_a_keep_alive() {
    let limits = Limits { packet_timeout: Duration::from_millis(300), ..Limits::default() };
    let (broker, address) = with(limits);
    let bystander = Bystander::new(address);
    let mut quiet = Client::v3(address, "quiet");
    let (mut half, mut slow) = (Client::v5(address, "half"), Client::v3(address, "slow"));
    half.send(&[0xc0]);
    assert_eq!(half.last().unwrap().body[0], 0x97);
    assert!(trickle(&slow.stream, drops()), "its packet has all the time it likes");
    assert_eq!(slow.next(), None);
    assert_eq!(reached(&broker, Limit::PacketTimeout), 2);
    // Who has begun none is silent as long as it likes.
    quiet.ping();
    bystander.assert_unmoved();
}

#[test]
fn a_large_packet_on_a_slow_line_outlives_keep_alive_and_packet_timeout() {
    let limits = Limits { packet_timeout: Duration::from_millis(500), ..Limits::default() };
    let (_broker, address) = with(limits);
    let mut slow = Client::accepted(address, &Connect { keep_alive_s: 1, ..Connect::v3("slow") });
    slow.subscribe("t", 0);
    // Some 8 kB a second, for three seconds: the chunks are far enough apart that it
    // takes longer than each of the limits.
    let publish = packet(0x30, &[&[0, 1, b't'][..], &[7; 24_000]].concat());
    let (most, last) = publish.split_at(23_200);
    assert!(!trickle(&slow.stream, most.chunks(800).map(<[u8]>::to_vec)), "it is cut off");
    slow.send(last);
    assert_eq!(slow.receive().payload().len(), 24_000);
}

/// It is more than a connection is given in a row, and there is room in its window for all of it.
#[test]
fn what_waited_for_a_client_with_a_wide_window_comes_before_what_is_published_when_it_returns() {
    let mut config = Config::loopback();
    config.listeners[0].connections.inflight_messages_max = 60_000;
    let (broker, address) = start(config);
    let connect = Connect::v3("c").persistent();
    let mut client = Client::accepted(address, &connect);
    client.subscribe("t", 1);
    drop(client);
    wait_until("the session is not parked", || broker.statistics().parked_sessions > 0);
    let mut publisher = Client::v3(address, "p");
    let publish = |publisher: &mut Client, numbers: std::ops::Range<u16>| {
        for number in numbers {
            publisher.publish_acked("t", &number.to_be_bytes(), false);
        }
    };
    publish(&mut publisher, 0..900);
    // Acknowledged by nobody, so the second time all of it is sent again.
    for published_meanwhile in [900..1_000, 0..0] {
        let mut client = Client::accepted(address, &connect);
        let got: Vec<_> = std::thread::scope(|scope| {
            let publisher = &mut publisher;
            scope.spawn(move || publish(publisher, published_meanwhile));
            (0..1_000).map(|_| client.receive().payload().to_vec()).collect()
        });
        assert!(got.into_iter().eq((0..1_000_u16).map(|number| number.to_be_bytes().to_vec())));
        client.disconnect();
    }
}

/// The router's answer to a SUBSCRIBE comes behind messages that there is no room
/// for, and what would make room stands behind a PUBLISH that waits for that answer.
#[test]
fn a_full_queue_keeps_nobody_from_subscribing_and_publishing() {
    let mut config = Config::loopback();
    config.listeners[0].connections.inflight_messages_max = 1;
    config.limits = Limits { pending_messages_max: 1, ..Limits::default() };
    let (broker, address) = start(config);
    let mut client = Client::v3(address, "c");
    client.subscribe("t", 1);
    let mut publisher = Client::v3(address, "p");
    for n in 0..10 {
        publisher.publish_acked("t", &[n], false);
    }
    wait_for(&broker, Limit::PendingMessages);
    let first = client.receive();
    client.send(&client.subscribe_bytes("own", 0, 9, &[]));
    client.send(&client.publish_bytes("own", b"mine", 0, 0, &[]));
    client.ack(0x40, first.packet_id());
    let (mut got, mut has_suback, mut has_own) = (vec![first.payload()[0]], false, false);
    while !has_suback || !has_own || got.len() < 10 {
        match client.receive() {
            packet if packet.first == 0x90 => has_suback = true,
            packet if packet.topic() == "own" => has_own = true,
            packet => {
                got.push(packet.payload()[0]);
                client.ack(0x40, packet.packet_id());
            }
        }
    }
    assert_eq!(got, (0..10).collect::<Vec<u8>>());
}
