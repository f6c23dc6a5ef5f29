//! In-process clients of the embedded broker.

use std::time::{Duration, Instant};

use nearfar::broker::{Broker, Config, LinkClosed, LinkSubscriber, SubscribeError};
use nearfar::mqtt::{Message, Properties, Qos};
use nearfar::testing::kill_router;

use crate::support::mqtt::{Client, PATIENCE, start};

const GRACE: Duration = Duration::from_secs(5);

fn broker() -> Broker {
    Broker::start(Config::without_listeners()).unwrap()
}

fn filters(filters: &[&str]) -> Vec<String> {
    filters.iter().map(|filter| (*filter).to_owned()).collect()
}

fn receive(subscriber: &mut LinkSubscriber, count: usize) -> Vec<Message> {
    let mut batch = Vec::new();
    while batch.len() < count {
        let room = count - batch.len();
        assert!(subscriber.receive(&mut batch, room).unwrap(), "closed after {} of {count}", batch.len());
    }
    batch
}

#[test]
fn a_message_arrives_with_its_qos_and_properties() {
    let broker = broker();
    let (publisher, mut subscriber) = broker.link("here").unwrap();
    subscriber.subscribe(&filters(&["a/+"])).unwrap();
    let properties = Properties {
        response_topic: Some("answers".to_owned()),
        correlation_data: Some(vec![0, 255].into()),
        user_properties: [("k", "v")].into_iter().collect(),
        message_expiry_s: Some(100),
        ..Properties::default()
    };
    let plain = Message::new("a/1", "one");
    let full = Message {
        qos: Qos::AtLeastOnce,
        properties: Some(Box::new(properties.clone())),
        ..Message::new("a/2", "two")
    };
    publisher.publish(&mut vec![plain, full]).unwrap();
    let got = receive(&mut subscriber, 2);
    assert_eq!(
        (&got[0].topic[..], &got[0].payload[..], got[0].qos),
        (&b"a/1"[..], &b"one"[..], Qos::AtMostOnce)
    );
    assert!(got[0].properties.is_none());
    assert_eq!(got[1].qos, Qos::AtLeastOnce);
    assert_eq!(got[1].properties.as_deref(), Some(&properties));
    broker.stop(GRACE);
}

#[test]
fn a_client_s_message_says_when_it_was_read() {
    let (broker, address) = start(Config::loopback());
    let (publisher, mut subscriber) = broker.link("here").unwrap();
    subscriber.subscribe(&filters(&["a"])).unwrap();
    let mut client = Client::v3(address, "sensor");
    let before = Instant::now();
    client.publish("a", b"1", 0);
    let read_at = receive(&mut subscriber, 1)[0].received_at.unwrap();
    assert!(before <= read_at && read_at <= Instant::now());
    publisher.publish(&mut vec![Message::new("a", "2")]).unwrap();
    assert_eq!(receive(&mut subscriber, 1)[0].received_at, None);
    broker.stop(GRACE);
}

#[test]
fn overlapping_filters_deliver_once() {
    let broker = broker();
    let (publisher, mut subscriber) = broker.link("here").unwrap();
    subscriber.subscribe(&filters(&["a/#", "a/b", "+/b"])).unwrap();
    publisher.publish(&mut vec![Message::new("a/b", "1"), Message::new("x/b", "2")]).unwrap();
    publisher.close();
    let mut batch = Vec::new();
    while subscriber.receive(&mut batch, 100).unwrap() {}
    let mut payloads: Vec<_> = batch.iter().map(|message| message.payload.clone()).collect();
    payloads.sort();
    assert_eq!(payloads, ["1", "2"]);
}

#[test]
fn retained_messages_come_first_and_say_so() {
    let broker = broker();
    let (publisher, mut subscriber) = broker.link("here").unwrap();
    let kept = Message { retain: true, ..Message::new("ü/state", "on") };
    publisher.publish(&mut vec![kept]).unwrap();
    subscriber.subscribe(&filters(&["ü/#"])).unwrap();
    publisher.publish(&mut vec![Message { retain: true, ..Message::new("ü/state", "off") }]).unwrap();
    let got = receive(&mut subscriber, 2);
    assert_eq!((&got[0].payload[..], got[0].retain), (&b"on"[..], true));
    assert_eq!((&got[1].payload[..], got[1].retain), (&b"off"[..], false));
    assert_eq!(got[1].topic, "ü/state");
}

#[test]
fn close_delivers_what_was_published_before_and_then_says_so() {
    let broker = broker();
    let (publisher, mut subscriber) = broker.link("here").unwrap();
    subscriber.subscribe(&filters(&["a"])).unwrap();
    let mut batch = (0..5_000).map(|n| Message::new("a", n.to_string())).collect();
    publisher.publish(&mut batch).unwrap();
    publisher.close();
    publisher.publish(&mut vec![Message::new("a", "too late")]).unwrap();
    let mut got = Vec::new();
    while subscriber.receive(&mut got, 64).unwrap() {}
    assert_eq!(got.len(), 5_000);
    assert!(got.iter().enumerate().all(|(n, message)| message.payload == n.to_string()));
}

#[test]
fn close_wakes_a_waiting_subscriber() {
    let broker = broker();
    let (publisher, mut subscriber) = broker.link("here").unwrap();
    subscriber.subscribe(&filters(&["a"])).unwrap();
    let waiting = std::thread::spawn(move || subscriber.receive(&mut Vec::new(), 1));
    publisher.close();
    assert_eq!(waiting.join().unwrap(), Ok(false));
}

#[test]
fn a_stopped_broker_closes_its_links() {
    let broker = broker();
    let (publisher, mut subscriber) = broker.link("here").unwrap();
    subscriber.subscribe(&filters(&["a"])).unwrap();
    let waiting = std::thread::spawn(move || subscriber.receive(&mut Vec::new(), 1));
    broker.stop(GRACE);
    assert_eq!(waiting.join().unwrap(), Err(LinkClosed));
    assert_eq!(publisher.publish(&mut vec![Message::new("a", "1")]), Err(LinkClosed));
}

#[test]
fn what_is_no_filter_is_refused() {
    let broker = broker();
    let (_publisher, mut subscriber) = broker.link("here").unwrap();
    for bad in ["", "a#", "$SYS/#"] {
        let refused = subscriber.subscribe(&filters(&[bad]));
        assert_eq!(refused, Err(SubscribeError::Filter { filter: bad.to_owned() }));
    }
}

#[test]
fn a_link_that_does_not_drain_loses_nothing_of_a_flood() {
    const MESSAGES: usize = 50_000;
    let mut config = Config::loopback();
    config.router.segment_bytes_max = 16 * 1024;
    config.router.segments_max = 2;
    let (broker, address) = start(config);
    let (_publisher, mut subscriber) = broker.link("slow").unwrap();
    subscriber.subscribe(&filters(&["flood/#", "flood/1"])).unwrap();
    let flood = std::thread::spawn(move || {
        let mut client = Client::v3(address, "flood");
        let mut acknowledgements = client.stream.try_clone().unwrap();
        std::thread::spawn(move || std::io::copy(&mut acknowledgements, &mut std::io::sink()));
        for n in 0..MESSAGES {
            let flags = if n % 2 == 0 { 0 } else { 2 };
            let topic = if n % 3 == 0 { "flood/0" } else { "flood/1" };
            client.send(&client.publish_bytes(topic, &(n as u32).to_be_bytes(), flags, 1, &[]));
        }
        client
    });
    // Nothing is taken until the router's log is as full as it gets: the publisher has been stopped.
    let mut published = 0;
    loop {
        std::thread::park_timeout(Duration::from_millis(20));
        let now = broker.statistics().published_messages;
        if now > 0 && now == published {
            break;
        }
        published = now;
    }
    assert!(published < MESSAGES as u64 / 2, "{published} went into a log of 32 KiB");
    let got = receive(&mut subscriber, MESSAGES);
    let in_order = |topic: &str| {
        let numbers: Vec<_> = got.iter().filter(|m| m.topic == topic).map(|m| m.payload.clone()).collect();
        assert!(numbers.is_sorted());
    };
    in_order("flood/0");
    in_order("flood/1");
    let mut numbers: Vec<_> = got.iter().map(|m| m.payload.clone()).collect();
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), MESSAGES);
    drop(flood.join().unwrap());
}

#[test]
fn messages_of_clients_and_links_reach_each_other() {
    let (broker, address) = start(Config::loopback());
    let (publisher, mut subscriber) = broker.link("here").unwrap();
    subscriber.subscribe(&filters(&["up/+"])).unwrap();
    let mut client = Client::v5(address, "c");
    client.subscribe("down/#", 1);
    client.send(&client.publish_bytes("up/c", b"ask", 2, 1, &[8, 0, 6, b'd', b'o', b'w', b'n', b'/', b'c']));
    let asked = receive(&mut subscriber, 1).remove(0);
    assert_eq!((&asked.payload[..], asked.qos), (&b"ask"[..], Qos::AtLeastOnce));
    let reply_topic = asked.properties.unwrap().response_topic.unwrap();
    publisher
        .publish(&mut vec![Message { qos: Qos::AtLeastOnce, ..Message::new(reply_topic, "answer") }])
        .unwrap();
    assert_eq!(client.receive().first, 0x40);
    let answer = client.receive();
    assert_eq!((answer.payload5(), answer.qos()), (&b"answer"[..], 1));
}

#[test]
fn a_link_outrun_by_another_link_is_told_off_in_the_statistics_and_does_not_block_clients() {
    let mut config = Config::loopback();
    config.router.segment_bytes_max = 2_048;
    config.router.segments_max = 2;
    let (broker, address) = start(config);
    let (publisher, mut subscriber) = broker.link("here").unwrap();
    subscriber.subscribe(&filters(&["t"])).unwrap();
    // The first delivery marks the place from which skipped ones are counted.
    publisher.publish(&mut vec![Message::new("t", "first")]).unwrap();
    receive(&mut subscriber, 1);
    publisher.publish(&mut (0..5_000).map(|n| Message::new("t", n.to_string())).collect()).unwrap();
    let mut got = 0;
    while got + broker.statistics().dropped_messages < 5_000 {
        got += receive(&mut subscriber, 1).len() as u64;
    }
    assert!(broker.statistics().dropped_messages > 0);
    let mut client = Client::v3(address, "c");
    for n in 0..1_000u32 {
        client.publish("t", &n.to_be_bytes(), 0);
    }
    assert_eq!(receive(&mut subscriber, 1_000)[999].payload[..], 999u32.to_be_bytes());
}

#[test]
fn a_batch_of_any_size_reaches_the_clients_whole() {
    const MESSAGES: u32 = 20_000;
    let (broker, address) = start(Config::loopback());
    let (publisher, _subscriber) = broker.link("here").unwrap();
    let mut client = Client::v3(address, "c");
    client.subscribe("burst", 0);
    let payload = |n: u32| [&n.to_be_bytes()[..], &[0; 96]].concat();
    publisher.publish(&mut (0..MESSAGES).map(|n| Message::new("burst", payload(n))).collect()).unwrap();
    for n in 0..MESSAGES {
        assert_eq!(client.receive().payload()[..4], n.to_be_bytes());
    }
    assert_eq!(broker.statistics().dropped_messages, 0);
}

#[test]
fn a_publisher_that_waits_is_told_when_the_router_dies() {
    let (broker, address) = start(Config::loopback());
    let (publisher, _subscriber) = broker.link("here").unwrap();
    let mut client = Client::v3(address, "c");
    client.subscribe("t", 0);
    let publishing = std::thread::spawn(move || {
        loop {
            let mut batch = (0..1_000).map(|_| Message::new("t", vec![0; 10_000])).collect();
            if let Err(closed) = publisher.publish(&mut batch) {
                return closed;
            }
        }
    });
    client.receive();
    kill_router(&broker);
    assert_eq!(publishing.join().unwrap(), LinkClosed);
}

#[test]
fn a_watched_link_that_takes_nothing_is_told_until_it_does() {
    let config = Config { stalled_after: Duration::from_secs(3), ..Config::without_listeners() };
    let broker = Broker::start(config).unwrap();
    let (publisher, mut subscriber) = broker.link("watched").unwrap();
    let (_unwatched, _ignored) = broker.link("unwatched").unwrap();
    subscriber.subscribe(&filters(&["a"])).unwrap();
    subscriber.watch("whoever receives");
    let deadline = Instant::now() + PATIENCE;
    let told = loop {
        assert!(Instant::now() < deadline, "nobody is told");
        match broker.stalled() {
            Some(reason) if reason.starts_with("whoever receives has taken nothing") => break reason,
            _ => std::thread::yield_now(),
        }
    };
    assert!(told.ends_with(" s"), "{told}");
    publisher.publish(&mut vec![Message::new("a", "1")]).unwrap();
    let got = receive(&mut subscriber, 1);
    assert_eq!(got[0].payload, "1", "a sign of progress is no message");
    assert!(!broker.stalled().is_some_and(|reason| reason.contains("whoever")));
}
