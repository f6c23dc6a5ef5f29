//! Who may connect, and to what: users, access rules and failed logins at the edge of the broker.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nearfar::broker::{
    AccessRules, AttemptLimits, Broker, Config, Guard, Limit, RefusedPublish, RefusedSubscription, Reload,
    Users, WideFilters,
};

use crate::support::mqtt::{self, Client, Connect, Packet, start};

/// Devices that write their own data and read their own orders, and a chief who reads all of it.
const RULES: &str = r#"
[[rules]]
allow = ["publish", "will"]
topics = ["data/%u/#"]
[[rules]]
deny = ["subscribe"]
topics = ["orders/+/secret"]
[[rules]]
allow = ["subscribe"]
topics = ["orders/%u/+", "clients/%c"]
[[rules]]
allow = ["subscribe"]
users = ["chief"]
topics = ["data/#"]
"#;

struct Guarded {
    broker: Broker,
    address: SocketAddr,
    guard: Arc<Guard>,
}

fn users(names: &[&str]) -> Users {
    let text = names.iter().fold(String::new(), |text, name| {
        Users::with_password(&text, name, &format!("{name}-secret")).unwrap()
    });
    Users::parse(&text).unwrap()
}

fn rules(text: &str) -> AccessRules {
    AccessRules::from_toml(text).unwrap()
}

fn guarded_with(limits: AttemptLimits, refused_publish: RefusedPublish) -> Guarded {
    let guard = Arc::new(Guard::new(users(&["press", "lathe", "chief"]), rules(RULES), limits).unwrap());
    let (broker, address) = start(Config { access: guard.clone(), refused_publish, ..Config::loopback() });
    Guarded { broker, address, guard }
}

fn guarded() -> Guarded {
    guarded_with(AttemptLimits::default(), RefusedPublish::Drop)
}

fn login<'a>(connect: Connect<'a>, user: &'a str, password: &'a str) -> Connect<'a> {
    Connect { login: Some((user, password)), ..connect }
}

fn secret(user: &str) -> &'static str {
    match user {
        "press" => "press-secret",
        "lathe" => "lathe-secret",
        _ => "chief-secret",
    }
}

impl Guarded {
    fn client<'a>(&self, connect: Connect<'a>, user: &'a str) -> Client {
        Client::accepted(self.address, &login(connect, user, secret(user)))
    }

    /// The code of the CONNACK.
    fn answer(&self, connect: &Connect<'_>) -> u8 {
        let (_client, connack) = Client::connect(self.address, connect);
        assert_eq!(connack.first, 0x20);
        connack.body[1]
    }
}

/// Publishes at QoS 1 to an MQTT 5 broker, and returns the reason code.
fn publish5(client: &mut Client, topic: &str, properties: &[u8]) -> u8 {
    client.send(&client.publish_bytes(topic, b"x", 2, 7, properties));
    let puback = client.receive();
    assert_eq!((puback.first, puback.packet_id()), (0x40, 7), "{puback:?}");
    puback.body.get(2).copied().unwrap_or(0)
}

fn response_topic(topic: &str) -> Vec<u8> {
    [&[8][..], &mqtt::string(topic)].concat()
}

fn is_publish(packet: &Packet, topic: &str) -> bool {
    packet.kind() == 3 && packet.topic() == topic
}

#[test]
fn the_right_password_lets_in_and_every_other_is_refused_with_the_standards_code() {
    let guarded = guarded();
    for (is_v5, refused, nameless) in [(false, 4, 5), (true, 0x86, 0x87)] {
        let connect = || Connect { is_v5, ..Connect::v3("c") };
        assert_eq!(guarded.answer(&login(connect(), "press", "press-secret")), 0);
        for (user, password) in [
            ("press", "wrong"),
            ("press", ""),
            ("press", "lathe-secret"),
            ("nobody", "press-secret"),
            ("", "x"),
        ] {
            let code = guarded.answer(&login(connect(), user, password));
            assert_eq!(code, refused, "{user:?} {password:?}");
            // Counted as failed; these tests come from one address.
        }
        assert_eq!(guarded.answer(&connect()), nameless);
    }
    assert_eq!(guarded.broker.statistics().refused_connections, 12);
}

/// Lines as others write them, each for the password "pump-secret":
/// `mosquitto_passwd` 2.1 by default, and with `-H sha512-pbkdf2`.
const WRITTEN_BY_OTHERS: [&str; 2] = [
    "pump:$argon2id$v=19$m=47104,t=1,p=1$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw$E1i0tKm5i8TY+wrAl01Q7qgOA3TzfHJDsKgH8p9Vys3XwacS9S1QugzmdOPeYYQMDGGEpgiX8g1r0yQq+FNUnQ",
    "pump:$7$1000$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==$Gd/YZqm4y86gf9aRzuVVj+SYSTWMtJSA1jNgWgsBVtDppawRsD3Dm8hxU9hrJXl11bUlwHN9Nj6o6kuTFO3Q6w==",
];

#[test]
fn users_of_mosquitto_2_1_log_in_also_behind_a_byte_order_mark() {
    for line in WRITTEN_BY_OTHERS {
        for text in [format!("{line}\n"), format!("\u{feff}{line}\r\n")] {
            let guard =
                Guard::new(Users::parse(&text).unwrap(), rules(RULES), AttemptLimits::default()).unwrap();
            let (_broker, address) = start(Config { access: Arc::new(guard), ..Config::loopback() });
            let code =
                |password| Client::connect(address, &login(Connect::v3("c"), "pump", password)).1.body[1];
            assert_eq!((code("pump-secret"), code("pump-secre")), (0, 4), "{text:?}");
        }
    }
}

#[test]
fn failed_logins_make_their_user_wait_also_with_the_right_password_and_no_other_user_of_the_address() {
    let limits =
        AttemptLimits { failed_logins_max: 3, forgiven_every: Duration::from_secs(3_600), addresses_max: 10 };
    let guarded = guarded_with(limits, RefusedPublish::Drop);
    for _ in 0..20 {
        assert_eq!(
            guarded.answer(&login(Connect::v3("c"), "press", "press-secret")),
            0,
            "success costs nothing"
        );
    }
    for _ in 0..3 {
        assert_eq!(guarded.answer(&login(Connect::v3("c"), "press", "wrong")), 4);
    }
    assert_eq!(guarded.answer(&login(Connect::v3("c"), "press", "wrong")), 3);
    assert_eq!(guarded.answer(&login(Connect::v5("c"), "press", "press-secret")), 0x97);
    for _ in 0..8 {
        assert_eq!(guarded.answer(&login(Connect::v5("c"), "lathe", "lathe-secret")), 0);
        assert_eq!(guarded.answer(&login(Connect::v5("c"), "press", "old")), 0x97);
    }
}

#[test]
fn who_guesses_many_names_from_one_address_has_to_wait_too() {
    let limits = AttemptLimits {
        failed_logins_max: 1,
        forgiven_every: Duration::from_secs(36_000),
        addresses_max: 10,
    };
    let guarded = guarded_with(limits, RefusedPublish::Drop);
    let guess = |name: usize| guarded.answer(&login(Connect::v5("c"), &format!("user-{name}"), "12345678"));
    let answers: Vec<_> = (0..12).map(guess).collect();
    assert_eq!(answers, [[0x86; 10].as_slice(), &[0x97; 2]].concat());
    assert_eq!(
        guarded.answer(&login(Connect::v3("c"), "press", "press-secret")),
        3,
        "its address has to wait"
    );
    let mut elsewhere = Client::open_from(2, guarded.address, true);
    elsewhere.send(&login(Connect::v5("press"), "press", "press-secret").bytes());
    assert_eq!(elsewhere.receive().body[1], 0);
}

#[test]
fn a_flood_of_wrong_passwords_holds_up_nobody_who_is_connected() {
    let limits = AttemptLimits { failed_logins_max: 10_000, ..AttemptLimits::default() };
    let guarded = guarded_with(limits, RefusedPublish::Drop);
    let mut client = guarded.client(Connect::v3("c"), "press");
    let mut flood: Vec<_> = (0..200).map(|_| Client::open(guarded.address, false)).collect();
    let connect = login(Connect::v3("f"), "press", "wrong").bytes();
    flood.iter_mut().for_each(|attacker| attacker.send(&connect));
    // The first subscription needs a new link to the router.
    assert_eq!(client.subscribe("orders/press/x", 0), 0);
    client.ping();
    assert!(
        flood.iter().any(Client::has_nothing),
        "the subscription did not wait until every password was checked"
    );
    let answers: Vec<_> =
        flood.iter_mut().filter_map(|attacker| attacker.next()).map(|connack| connack.body[1]).collect();
    assert!(answers.iter().all(|code| matches!(code, 3 | 4)), "{answers:?}");
    assert!(answers.contains(&3), "more came at once than may wait");
}

#[test]
fn a_device_publishes_only_where_the_rules_let_it() {
    let guarded = guarded();
    let mut chief = guarded.client(Connect::v5("chief"), "chief");
    assert_eq!(chief.subscribe("data/#", 0), 0);
    let mut press = guarded.client(Connect::v5("p"), "press");
    assert_eq!(publish5(&mut press, "data/press/1", &[]), 0);
    for topic in ["data/lathe/1", "data", "orders/press/x", "other"] {
        assert_eq!(publish5(&mut press, topic, &[]), 0x87, "{topic}");
    }
    // QoS 2 is refused in its PUBREC; QoS 0 has no answer.
    press.send(&press.publish_bytes("data/lathe/1", b"x", 4, 8, &[]));
    let pubrec = press.receive();
    assert_eq!((pubrec.first, pubrec.packet_id(), pubrec.body[2]), (0x50, 8, 0x87));
    press.publish("data/lathe/1", b"x", 0);
    press.publish("data/press/2", b"x", 0);
    press.ping();
    let arrived = [chief.receive(), chief.receive()];
    assert!(
        is_publish(&arrived[0], "data/press/1") && is_publish(&arrived[1], "data/press/2"),
        "{arrived:?}"
    );
    assert_eq!(guarded.broker.statistics().refused_publishes, 6);
}

#[test]
fn a_refused_publish_of_3_1_1_is_acknowledged_and_dropped_or_ends_the_connection() {
    let dropping = guarded();
    let mut press = dropping.client(Connect::v3("p"), "press");
    press.publish_acked("data/lathe/1", b"x", false);
    press.ping();
    assert_eq!(dropping.broker.statistics().refused_publishes, 1);
    let strict = guarded_with(AttemptLimits::default(), RefusedPublish::Disconnect);
    let mut press = strict.client(Connect::v3("p"), "press");
    press.publish_acked("data/press/1", b"x", false);
    press.publish("data/lathe/1", b"x", 0);
    assert_eq!(press.last(), None);
    let mut press = strict.client(Connect::v5("p"), "press");
    assert_eq!(publish5(&mut press, "data/lathe/1", &[]), 0x87);
    press.ping();
}

#[test]
fn a_subscription_is_allowed_only_if_all_that_it_can_bring_is() {
    let guarded = guarded();
    let mut press = guarded.client(Connect::v5("my-id"), "press");
    for filter in ["orders/press/x", "orders/press/+", "clients/my-id", "$share/g/orders/press/x"] {
        // The second one overlaps what is denied to everyone, so it is refused too.
        let expected = if filter.ends_with('+') { 0x87 } else { 0 };
        assert_eq!(press.subscribe(filter, 0), expected, "{filter}");
    }
    for filter in [
        "#",
        "+",
        "orders/#",
        "orders/+/x",
        "orders/press/#",
        "orders/press/secret",
        "orders/lathe/x",
        "$share/g/#",
        "clients/+",
    ] {
        assert_eq!(press.subscribe(filter, 0), 0x87, "{filter}");
    }
    let mut old = guarded.client(Connect::v3("old"), "press");
    assert_eq!(old.subscribe("#", 0), 0x80);
    // Each filter of one SUBSCRIBE is judged for itself.
    let mut body = vec![0, 9, 0];
    for filter in ["#", "orders/press/y"] {
        body.extend(mqtt::string(filter));
        body.push(1);
    }
    press.send(&mqtt::packet(0x82, &body));
    assert_eq!(press.receive().body, [0, 9, 0, 0x87, 1]);
}

#[test]
fn a_refused_subscription_says_why_or_does_not() {
    let config = Config { refused_subscription: RefusedSubscription::Unspecified, ..Config::loopback() };
    let (_broker, address) = start(config);
    // Topics that start with a dollar are nobody's, with rules or without, but for what
    // the broker tells of itself.
    assert_eq!(Client::v5(address, "new").subscribe("$other/#", 0), 0x80);
    assert_eq!(guarded().client(Connect::v5("new"), "press").subscribe("#", 0), 0x87);
}

#[test]
fn a_will_needs_a_right_of_its_own() {
    let guarded = guarded();
    let with_will = |topic, properties| Connect {
        will: Some((topic, b"gone", 0, false, properties)),
        ..Connect::v5("w")
    };
    assert_eq!(guarded.answer(&login(with_will("data/press/will", vec![]), "press", "press-secret")), 0);
    assert_eq!(guarded.answer(&login(with_will("data/lathe/will", vec![]), "press", "press-secret")), 0x87);
    let elsewhere = with_will("data/press/will", response_topic("data/lathe/answers"));
    assert_eq!(guarded.answer(&login(elsewhere, "press", "press-secret")), 0x87);
}

#[test]
fn answers_go_only_where_the_requester_may_publish_itself() {
    let guarded = guarded();
    let mut press = guarded.client(Connect::v5("p"), "press");
    assert_eq!(publish5(&mut press, "data/press/ask", &response_topic("data/press/answers")), 0);
    assert_eq!(publish5(&mut press, "data/press/ask", &response_topic("data/press/answers")), 0);
    assert_eq!(publish5(&mut press, "data/press/ask", &response_topic("data/lathe/answers")), 0x87);
    assert_eq!(publish5(&mut press, "data/press/ask", &response_topic("orders/press/x")), 0x87);
    assert_eq!(guarded.broker.statistics().refused_publishes, 2);
}

#[test]
fn one_users_client_id_and_session_are_not_for_another_user() {
    let guarded = guarded();
    let mut press = guarded.client(Connect::v5("shared-id").persistent(), "press");
    assert_eq!(press.subscribe("orders/press/x", 1), 1);
    assert_eq!(guarded.answer(&login(Connect::v5("shared-id"), "lathe", "lathe-secret")), 0x85);
    press.ping();
    press.disconnect();
    assert_eq!(guarded.answer(&login(Connect::v3("shared-id"), "lathe", "lathe-secret")), 2);
    let again = login(Connect::v5("shared-id").persistent(), "press", "press-secret");
    let (_press, connack) = Client::connect(guarded.address, &again);
    assert_eq!(connack.body[..2], [1, 0], "its own session is still there");
}

#[test]
fn new_rules_hold_from_the_next_packet_on_and_end_what_they_do_not_allow() {
    let guarded = guarded();
    let mut chief = guarded.client(Connect::v5("chief"), "chief");
    assert_eq!(chief.subscribe("data/#", 0), 0);
    assert_eq!(chief.subscribe("clients/chief", 0), 0);
    let mut press = guarded.client(Connect::v5("p"), "press");
    assert_eq!(publish5(&mut press, "data/press/1", &[]), 0);
    assert!(is_publish(&chief.receive(), "data/press/1"));
    let changed = "[[rules]]\nallow = [\"publish\", \"subscribe\"]\ntopics = [\"clients/%c\", \"data/press/2\"]\n\
                   [[rules]]\nallow = [\"publish\"]\ntopics = [\"clients/chief\"]\n";
    guarded.guard.replace(users(&["press", "lathe", "chief"]), rules(changed));
    assert_eq!(publish5(&mut press, "data/press/1", &[]), 0x87, "the topic that was allowed a moment ago");
    assert_eq!(publish5(&mut press, "data/press/2", &[]), 0);
    assert_eq!(publish5(&mut press, "clients/chief", &[]), 0);
    // Nobody was disconnected, and only the subscription that is still allowed brings anything.
    let arrived = chief.receive();
    assert!(is_publish(&arrived, "clients/chief"), "{arrived:?}");
    assert_eq!(chief.unsubscribe("data/#").body.last(), Some(&0x11), "it has ended");
    assert_eq!(chief.subscribe("data/press/2", 0), 0);
}

#[test]
fn what_waited_in_a_session_is_not_delivered_once_its_right_is_gone() {
    let guarded = guarded();
    let persistent = || login(Connect::v5("chief").persistent(), "chief", "chief-secret");
    let mut chief = Client::accepted(guarded.address, &persistent());
    assert_eq!(chief.subscribe("data/#", 1), 1);
    chief.disconnect();
    let mut press = guarded.client(Connect::v5("p"), "press");
    assert_eq!(publish5(&mut press, "data/press/1", &[]), 0);
    guarded
        .guard
        .replace(users(&["press", "chief"]), rules("[[rules]]\nallow = [\"publish\"]\ntopics = [\"#\"]\n"));
    let mut chief = Client::accepted(guarded.address, &persistent());
    assert_eq!(chief.until_pong(), []);
}

#[test]
fn a_user_that_is_removed_is_disconnected_and_the_others_stay() {
    let guarded = guarded();
    let mut press = guarded.client(Connect::v5("p"), "press");
    let mut lathe = guarded.client(Connect::v5("l"), "lathe");
    guarded.guard.replace(users(&["lathe"]), rules(RULES));
    lathe.ping();
    press.publish("data/press/1", b"x", 0);
    let goodbye = press.receive();
    assert_eq!((goodbye.first, goodbye.body.first()), (0xe0, Some(&0x87)), "{goodbye:?}");
    assert_eq!(guarded.answer(&login(Connect::v5("p"), "press", "press-secret")), 0x86);
    lathe.ping();
}

/// Puts users and rules in force when the broker is told to reload.
struct Change(Arc<Guard>);

impl Reload for Change {
    fn reload(&self) -> Result<(), String> {
        self.0.replace(users(&["lathe"]), AccessRules::default());
        Ok(())
    }
}

/// Who sends nothing and is sent nothing would notice new rules only when its keep-alive is looked at, which
/// is every ten seconds.
#[test]
fn a_reload_finds_clients_that_are_idle_at_once() {
    const AT_ONCE: Duration = Duration::from_secs(5);
    let guard =
        Arc::new(Guard::new(users(&["press", "lathe"]), rules(RULES), AttemptLimits::default()).unwrap());
    let reloads: Vec<Arc<dyn Reload>> = vec![Arc::new(Change(guard.clone()))];
    let (broker, address) = start(Config { access: guard.clone(), reloads, ..Config::loopback() });
    let guarded = Guarded { broker, address, guard };
    let mut press = guarded.client(Connect::v5("p"), "press");
    let mut lathe = guarded.client(Connect::v5("l"), "lathe");
    assert_eq!(lathe.subscribe("orders/lathe/1", 0), 0);
    let begun = Instant::now();
    // More often than there is room for orders.
    for _ in 0..9 {
        guarded.broker.reload().unwrap();
    }
    let goodbye = press.receive();
    assert_eq!((goodbye.first, goodbye.body.first()), (0xe0, Some(&0x87)), "{goodbye:?}");
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    assert_eq!(lathe.unsubscribe("orders/lathe/1").body.last(), Some(&0x11), "the right to it is gone");
}

/// Everything is allowed but to subscribe to what is secret, and clients need not say who they are.
const NOTHING_SECRET: &str = r##"
[[rules]]
deny = ["subscribe"]
topics = ["+/secret/#"]
[[rules]]
allow = ["publish", "subscribe", "will"]
topics = ["#"]
"##;

/// A broker that withholds what wide filters may not bring.
fn withholding() -> Guarded {
    let guard = Guard::new(Users::default(), rules(NOTHING_SECRET), AttemptLimits::default());
    let guard = Arc::new(guard.unwrap().admitting_anonymous());
    let config = Config { access: guard.clone(), wide_filters: WideFilters::Withhold, ..Config::loopback() };
    let (broker, address) = start(config);
    Guarded { broker, address, guard }
}

/// The next message. One that is withheld would have come before one that was published after it.
fn next(client: &mut Client) -> String {
    let packet = client.receive();
    assert_eq!(packet.kind(), 3, "{packet:?}");
    String::from_utf8(packet.payload5().to_vec()).unwrap()
}

#[test]
fn a_wide_filter_brings_what_is_allowed_and_nothing_else_live_retained_or_after_an_absence() {
    let guarded = withholding();
    let mut publisher = Client::v5(guarded.address, "p");
    publisher.publish_acked("a/secret", b"kept secret", true);
    publisher.publish_acked("a/open", b"kept open", true);
    let connect = Connect::v5("s").persistent();
    let mut client = Client::accepted(guarded.address, &connect);
    assert_eq!(client.subscribe("a/secret/#", 1), 0x87, "nothing of it is allowed");
    assert_eq!(client.subscribe("#", 1), 1);
    assert_eq!(next(&mut client), "kept open");
    publisher.publish_acked("a/secret/b", b"secret", false);
    publisher.publish_acked("a/b", b"open", false);
    assert_eq!(next(&mut client), "open");
    client.disconnect();
    publisher.publish_acked("a/secret/b", b"secret, away", false);
    publisher.publish_acked("a/b", b"open, away", false);
    let (mut client, connack) = Client::connect(guarded.address, &connect);
    assert_eq!(connack.body[..2], [1, 0]);
    // Two were not acknowledged before.
    assert_eq!([(); 3].map(|()| next(&mut client)), ["kept open", "open", "open, away"]);
}

#[test]
fn a_shared_subscription_gives_a_message_to_a_member_that_may_have_it() {
    let guarded = withholding();
    let only = "[[rules]]\ndeny = [\"subscribe\"]\nclient_ids = [\"clerk\"]\ntopics = [\"secret\"]\n\
                [[rules]]\nallow = [\"publish\", \"subscribe\"]\ntopics = [\"#\"]\n";
    guarded.guard.replace(Users::default(), rules(only));
    let mut clerk = Client::v5(guarded.address, "clerk");
    let mut chief = Client::v5(guarded.address, "chief");
    assert_eq!([clerk.subscribe("$share/g/#", 0), chief.subscribe("$share/g/#", 0)], [0, 0]);
    let mut publisher = Client::v5(guarded.address, "p");
    for _ in 0..6 {
        publisher.publish_acked("secret", b"secret", false);
        assert_eq!(next(&mut chief), "secret");
    }
    chief.disconnect();
    publisher.publish_acked("secret", b"for nobody", false);
    publisher.publish_acked("open", b"open", false);
    assert_eq!(next(&mut clerk), "open");
}

#[test]
fn a_rule_that_takes_a_part_away_withholds_it_from_then_on() {
    let guarded = withholding();
    guarded.guard.replace(
        Users::default(),
        rules("[[rules]]\nallow = [\"publish\", \"subscribe\"]\ntopics = [\"#\"]\n"),
    );
    let mut client = Client::v5(guarded.address, "s");
    client.subscribe("a/#", 0);
    let mut publisher = Client::v5(guarded.address, "p");
    publisher.publish_acked("a/secret", b"1", false);
    assert_eq!(next(&mut client), "1");
    guarded.guard.replace(Users::default(), rules(NOTHING_SECRET));
    publisher.publish_acked("a/secret", b"2", false);
    publisher.publish_acked("a/b", b"3", false);
    assert_eq!(next(&mut client), "3");
}

/// The retained messages that a new client of the chief's is given, and a new
/// in-process subscriber; both get the same.
fn retained(guarded: &Guarded) -> Vec<String> {
    let mut chief = guarded.client(Connect::v3("reader"), "chief");
    assert_eq!(chief.subscribe("data/#", 0), 0);
    let mut topics: Vec<_> = chief.until_pong().iter().map(Packet::topic).collect();
    let (publisher, mut subscriber) = guarded.broker.link("reader").unwrap();
    subscriber.subscribe(&["data/#".to_owned()]).unwrap();
    publisher.close();
    let (mut batch, mut found) = (Vec::new(), Vec::new());
    while subscriber.receive(&mut batch, 100).unwrap() {
        found.extend(batch.drain(..).map(|message| String::from_utf8(message.topic.to_vec()).unwrap()));
    }
    topics.sort_unstable();
    found.sort_unstable();
    assert_eq!(topics, found);
    topics
}

/// A press has left a retained message and a retained will, and the node itself a message among them.
fn leave_retained_messages(guarded: &Guarded) {
    let will = Some(("data/press/will", &b"gone"[..], 1, true, Vec::new()));
    let mut press = guarded.client(Connect { will, ..Connect::v5("p") }, "press");
    press.publish_acked("data/press/state", b"on", true);
    press.publish_acked("data/press/", b"", true);
    drop(press);
    let (node, _subscriber) = guarded.broker.link("node").unwrap();
    let message =
        nearfar::mqtt::Message { retain: true, ..nearfar::mqtt::Message::new("data/press/node", "on") };
    node.publish(&mut vec![message]).unwrap();
    let deadline = std::time::Instant::now() + mqtt::PATIENCE;
    while guarded.broker.statistics().retained_messages < 3 {
        assert!(std::time::Instant::now() < deadline, "the will is not published");
        std::thread::yield_now();
    }
}

#[test]
fn a_retained_message_is_withheld_once_its_publisher_has_lost_the_right_to_publish_it() {
    let guarded = guarded();
    leave_retained_messages(&guarded);
    let [node, state, will] = ["data/press/node", "data/press/state", "data/press/will"];
    assert_eq!(retained(&guarded), [node, state, will]);
    let everybody = || users(&["press", "lathe", "chief"]);
    let read = "[[rules]]\nallow = [\"subscribe\"]\nusers = [\"chief\"]\ntopics = [\"data/#\"]\n";
    let write = "[[rules]]\nallow = [\"publish\"]\ntopics = [\"data/%u/#\"]\n";
    guarded.guard.replace(everybody(), rules(read));
    assert_eq!(retained(&guarded), [node], "what the node published is its own");
    guarded.guard.replace(everybody(), rules(&format!("{read}{write}")));
    assert_eq!(retained(&guarded), [node, state], "a will needs a right of its own");
    guarded.guard.replace(users(&["lathe", "chief"]), rules(RULES));
    assert_eq!(retained(&guarded), [node], "a user that is gone has no rights");
    guarded.guard.replace(everybody(), rules(RULES));
    assert_eq!(retained(&guarded), [node, state, will], "nothing was lost meanwhile");
    // Whoever may publish takes the place of whoever may not.
    let all = "[[rules]]\nallow = [\"publish\"]\nusers = [\"lathe\"]\ntopics = [\"#\"]\n";
    guarded.guard.replace(everybody(), rules(&format!("{read}{all}")));
    guarded.client(Connect::v3("l"), "lathe").publish_acked(state, b"off", true);
    assert_eq!(retained(&guarded), [node, state]);
}

#[test]
fn retained_messages_outlive_their_publishers_rights_where_that_is_wanted() {
    let guard = Arc::new(
        Guard::new(users(&["press", "lathe", "chief"]), rules(RULES), AttemptLimits::default()).unwrap(),
    );
    let config = Config { access: guard.clone(), check_retain_source: false, ..Config::loopback() };
    let (broker, address) = start(config);
    let guarded = Guarded { broker, address, guard };
    leave_retained_messages(&guarded);
    guarded
        .guard
        .replace(users(&["chief"]), rules("[[rules]]\nallow = [\"subscribe\"]\ntopics = [\"data/#\"]\n"));
    assert_eq!(retained(&guarded).len(), 3);
}

#[test]
fn an_address_whose_logins_fill_the_queue_keeps_no_other_from_logging_in() {
    let limits = AttemptLimits { failed_logins_max: 1_000, ..AttemptLimits::default() };
    let guarded = guarded_with(limits, RefusedPublish::Drop);
    let wrong = login(Connect::v5("guess"), "press", "wrong");
    let guessing: Vec<_> = (0..100)
        .map(|_| {
            let mut client = Client::open_from(2, guarded.address, true);
            client.send(&wrong.bytes());
            client
        })
        .collect();
    let waiting = || guarded.broker.statistics().limits_reached.of(Limit::LoginsWaiting);
    let started = Instant::now();
    while waiting() == 0 {
        assert!(started.elapsed() < mqtt::PATIENCE, "the queue is never full");
        std::thread::yield_now();
    }
    for user in ["press", "lathe"] {
        let mut client = Client::open_from(3, guarded.address, true);
        client.send(&login(Connect::v5(user), user, secret(user)).bytes());
        assert_eq!(client.receive().body[1], 0, "{user}");
    }
    drop(guessing);
}
