//! What the broker tells of itself below `$SYS/broker/`: who is told what, and that it is so.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nearfar::broker::{AccessRules, AttemptLimits, Broker, Config, Guard, Users, WideFilters};

use crate::support::mqtt::{Client, Connect, PATIENCE, Packet, packet, start, string};

/// Often, so that a test need not wait for it.
const INTERVAL: Duration = Duration::from_millis(20);
/// 2 texts, 23 figures, 9 loads over 3 spans.
const VALUES: usize = 52;

fn telling() -> Config {
    Config { sys_interval: INTERVAL, ..Config::loopback() }
}

/// One that tells once, when it starts.
fn telling_once() -> Config {
    Config { sys_interval: Duration::from_secs(86_400), ..Config::loopback() }
}

fn subscribe_bytes(filters: &[&str]) -> Vec<u8> {
    let filters: Vec<u8> = filters.iter().flat_map(|filter| [string(filter), vec![0]].concat()).collect();
    packet(0x82, &[&[0, 9][..], &filters].concat())
}

/// The last value of each topic among some packets.
fn values(packets: &[Packet]) -> BTreeMap<String, String> {
    let value = |packet: &Packet| String::from_utf8(packet.payload().to_vec()).unwrap();
    packets.iter().map(|packet| (packet.topic(), value(packet))).collect()
}

/// What a new client is told under a filter.
fn told(address: SocketAddr, filter: &str) -> BTreeMap<String, String> {
    let mut client = Client::v3(address, "observer");
    assert_eq!(client.subscribe(filter, 0), 0, "{filter}");
    values(&client.until_pong())
}

/// Follows one value until it is as expected.
fn wait_for_value(client: &mut Client, name: &str, is_it: impl Fn(u64) -> bool) -> u64 {
    let topic = format!("$SYS/broker/{name}");
    let began = Instant::now();
    loop {
        let packet = client.receive();
        if packet.kind() == 3 && packet.topic() == topic {
            let value = std::str::from_utf8(packet.payload()).unwrap().parse().unwrap();
            if is_it(value) {
                return value;
            }
            assert!(began.elapsed() < PATIENCE, "{topic} is {value}");
        }
    }
}

#[test]
fn a_subscription_to_everything_and_to_the_brokers_own_topics_is_made_whole() {
    let (broker, address) = start(telling_once());
    let mut client = Client::v3(address, "c");
    // As MQTT.js clients send it, which give up both filters when one is refused.
    client.send(&subscribe_bytes(&["#", "$SYS/#"]));
    assert_eq!(client.receive(), Packet { first: 0x90, body: vec![0, 9, 0, 0] });
    let packets = client.until_pong();
    assert!(packets.iter().all(Packet::is_retained));
    let values = values(&packets);
    assert_eq!(values.len(), VALUES, "{values:#?}");
    let version = &values["$SYS/broker/version"];
    assert_eq!(version, concat!("nearfar version ", env!("CARGO_PKG_VERSION")));
    assert_eq!(values["$SYS/broker/uptime"], "0 seconds");
    assert_eq!(values["$SYS/broker/load/bytes/sent/15min"], "0.00");
    let statistics = broker.statistics();
    assert_eq!((statistics.retained_messages, statistics.published_messages), (0, 0), "they are no client's");
}

#[test]
fn wildcards_do_not_bring_the_brokers_own_topics_and_filters_below_them_do() {
    let (_broker, address) = start(telling());
    let mut all = Client::v3(address, "all");
    all.subscribe("#", 0);
    all.subscribe("+/broker/version", 0);
    for (filter, found) in [
        ("$SYS/broker/version", 1),
        ("$SYS/broker/+/received", 2),
        ("$SYS/broker/clients/+", 7),
        ("$SYS/+/load/+/+/1min", 7),
        ("$SYS/broker/retained messages/count", 1),
        ("$SYS/other/#", 0),
        ("$SYS/#", VALUES),
    ] {
        assert_eq!(told(address, filter).len(), found, "{filter}");
    }
    assert_eq!(all.until_pong(), []);
}

#[test]
fn figures_are_what_went_over_the_connections() {
    let (_broker, address) = start(telling());
    let mut observer = Client::v5(address, "observer");
    observer.subscribe("$SYS/broker/publish/#", 0);
    let connect = Connect::v3("publisher").bytes();
    let mut publisher = Client::v3(address, "publisher");
    let publish = publisher.publish_bytes("plant", &[b'x'; 100], 2, 7, &[]);
    for _ in 0..1_000 {
        publisher.send(&publish);
    }
    (0..1_000).for_each(|_| assert_eq!(publisher.receive().packet_id(), 7));
    let value = |name: &str, is_it: &dyn Fn(u64) -> bool| {
        let mut follower = Client::v3(address, name);
        follower.subscribe(&format!("$SYS/broker/{name}"), 0);
        wait_for_value(&mut follower, name, is_it)
    };
    assert_eq!(value("publish/messages/received", &|value| value >= 1_000), 1_000);
    assert_eq!(value("publish/bytes/received", &|value| value >= 100_000), 100_000);
    let least = (connect.len() + 1_000 * publish.len()) as u64;
    let received = value("bytes/received", &|value| value >= least);
    assert!(received < least + 1_000, "the observers have said little: {received}, {least}");
    let sent = value("bytes/sent", &|value| value >= 4_000);
    assert!(sent > 4_000, "{sent}");
    assert!(value("messages/received", &|value| value >= 1_003) < 1_050);
    assert_eq!(value("subscriptions/count", &|value| value == 2), 2, "the observer's and the follower's");
}

#[test]
fn clients_come_and_go_in_the_figures_and_what_waits_for_them() {
    let (_broker, address) = start(telling());
    let mut observer = Client::v3(address, "observer");
    let names =
        ["clients/connected", "clients/disconnected", "messages/stored", "shared_subscriptions/count"];
    let filters = names.map(|name| format!("$SYS/broker/{name}"));
    observer.send(&subscribe_bytes(&filters.each_ref().map(String::as_str)));
    let mut sleeper = Client::accepted(address, &Connect::v5("sleeper").persistent());
    wait_for_value(&mut observer, "clients/connected", |value| value == 2);
    sleeper.subscribe("plant", 1);
    sleeper.subscribe("$share/g/plant", 1);
    wait_for_value(&mut observer, "shared_subscriptions/count", |value| value == 1);
    sleeper.send(&[0xe0, 0]);
    drop(sleeper);
    wait_for_value(&mut observer, "clients/disconnected", |value| value == 1);
    for _ in 0..5 {
        observer.send(&observer.publish_bytes("plant", b"x", 2, 7, &[]));
    }
    observer.publish("kept", b"x", 1);
    wait_for_value(&mut observer, "messages/stored", |value| value == 6);
    let _fresh = Client::v5(address, "sleeper");
    wait_for_value(&mut observer, "messages/stored", |value| value == 1);
}

#[test]
fn nobody_publishes_among_the_brokers_own_topics() {
    let (_broker, address) = start(telling_once());
    let mut client = Client::v5(address, "c");
    client.subscribe("$SYS/#", 0);
    client.until_pong();
    for topic in ["$SYS/broker/version", "$SYS", "$SYS/mine"] {
        client.send(&client.publish_bytes(topic, b"mine", 3, 3, &[]));
        assert_eq!(client.receive().body, [0, 3, 0x87], "{topic}");
    }
    let will = Some(("$SYS/broker/version", &b"mine"[..], 0, true, Vec::new()));
    let (_refused, connack) = Client::connect(address, &Connect { will, ..Connect::v5("w") });
    assert!(connack.body[1] >= 0x80, "{connack:?}");
    assert_eq!(told(address, "$SYS/broker/version").len(), 1);
    assert_eq!(client.until_pong(), []);
}

#[test]
fn a_broker_that_is_to_tell_nothing_takes_the_subscription_all_the_same() {
    let (_broker, address) = start(Config { sys_interval: Duration::ZERO, ..Config::loopback() });
    assert!(told(address, "$SYS/#").is_empty());
}

#[test]
fn a_group_shares_the_brokers_own_topics_and_no_bound_of_clients_is_theirs() {
    let mut config = telling();
    config.limits.retained_messages_max = 0;
    let (_broker, address) = start(config);
    let mut members = ["one", "other"].map(|name| Client::v3(address, name));
    for member in &mut members {
        assert_eq!(member.subscribe("$share/g/$SYS/broker/clients/#", 0), 0);
    }
    let _third = Client::v3(address, "third");
    for member in &mut members {
        assert!(member.receive().topic().starts_with("$SYS/broker/clients/"));
    }
    assert_eq!(told(address, "$SYS/#").len(), VALUES);
}

fn users() -> Users {
    let text = ["chief", "press"]
        .iter()
        .fold(String::new(), |text, name| Users::with_password(&text, name, "secret").unwrap());
    Users::parse(&text).unwrap()
}

fn guarded(rules: &str, wide_filters: WideFilters) -> (Broker, SocketAddr, Arc<Guard>) {
    let rules = AccessRules::from_toml(rules).unwrap();
    let guard = Arc::new(Guard::new(users(), rules, AttemptLimits::default()).unwrap());
    let (broker, address) = start(Config { access: guard.clone(), wide_filters, ..telling() });
    (broker, address, guard)
}

fn user<'a>(name: &'a str) -> Connect<'a> {
    Connect { login: Some((name, "secret")), ..Connect::v3(name) }
}

#[test]
fn with_rules_those_are_told_whom_the_rules_name_and_what_they_name() {
    let rules = "[[rules]]\ndeny = [\"subscribe\"]\ntopics = [\"plant/secret\"]\n\
         [[rules]]\nallow = [\"subscribe\"]\nusers = [\"chief\"]\ntopics = [\"#\", \"$SYS/broker/clients/#\", \"$SYS/broker/version\"]\n\
         [[rules]]\nallow = [\"subscribe\", \"publish\"]\ntopics = [\"#\"]\n";
    for wide_filters in [WideFilters::Refuse, WideFilters::Withhold] {
        let (_broker, address, guard) = guarded(rules, wide_filters);
        let mut press = Client::accepted(address, &user("press"));
        // `#` in a rule is not about the broker's own topics, no more than it is in a subscription.
        press.send(&subscribe_bytes(&["plant/+", "$SYS/#", "$SYS/broker/version", "$share/g/$SYS/#"]));
        let plant = if wide_filters == WideFilters::Refuse { 0x80 } else { 0 };
        assert_eq!(press.receive().body, [0, 9, plant, 0, 0, 0]);
        let mut chief = Client::accepted(address, &user("chief"));
        chief.subscribe("$SYS/#", 0);
        let told = values(&chief.until_pong());
        let expected =
            |topic: &String| topic.starts_with("$SYS/broker/clients/") || topic.ends_with("version");
        assert_eq!(told.len(), 8, "{told:?}");
        assert!(told.keys().all(expected), "{told:?}");
        // Live ones too.
        let _third = Client::accepted(address, &Connect { client_id: "third", ..user("press") });
        assert!(wait_for_value(&mut chief, "clients/connected", |value| value == 3) == 3);
        assert_eq!(press.until_pong(), []);
        guard.replace(users(), AccessRules::from_toml(&rules.replace("chief", "press")).unwrap());
        let _fourth = Client::accepted(address, &Connect { client_id: "fourth", ..user("chief") });
        wait_for_value(&mut press, "clients/connected", |value| value == 4);
        chief.until_pong();
        let _fifth = Client::accepted(address, &Connect { client_id: "fifth", ..user("chief") });
        wait_for_value(&mut press, "clients/connected", |value| value == 5);
        assert_eq!(chief.until_pong(), [], "the rules let it have them no more");
    }
}

#[test]
fn a_rule_about_the_brokers_own_topics_is_about_reading_them() {
    let rule = |action: &str, topic: &str| {
        AccessRules::from_toml(&format!("[[rules]]\nallow = [\"{action}\"]\ntopics = [\"{topic}\"]\n"))
    };
    assert!(rule("subscribe", "$SYS/#").is_ok());
    for (action, topic) in [("publish", "$SYS/#"), ("will", "$SYS/x"), ("subscribe", "$other/#")] {
        let error = rule(action, topic).unwrap_err();
        assert_eq!(error.line(), Some(3), "{error}");
        assert!(error.to_string().contains("$SYS/"), "{error}");
    }
}
