//! TLS and mutual TLS at a listener: who gets in, who does not, and certificates that change under way.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nearfar::broker::{
    Access, AccessRules, AttemptLimits, Authentication, Broker, BrokerError, Config, Guard, IdentitySource,
    Login, Tls, Users,
};
use nearfar::testing::parse_broker;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use crate::support::certificates::{Authority, Files, Stream, named};
use crate::support::mqtt::{self, Client, Connect, start};

fn config(tls: Tls) -> Config {
    let mut config = Config::loopback();
    config.listeners[0].tls = Some(tls);
    config
}

fn client(stream: Stream) -> Client<Stream> {
    let (client, connack) = Client::over(stream, &Connect::v5("c"));
    assert_eq!((connack.first, connack.body[1]), (0x20, 0), "{connack:?}");
    client
}

/// A message to itself.
fn assert_served<S: Read + Write>(client: &mut Client<S>) {
    assert_eq!(client.subscribe("echo", 0), 0);
    client.publish("echo", b"hello", 0);
    assert_eq!(client.receive().payload5(), b"hello");
}

/// The handshake, and a CONNECT whose answer never comes; returns what the client's TLS says about it.
fn refusal(mut stream: Stream) -> String {
    let said = stream.write_all(&Connect::v5("c").bytes()).and_then(|()| stream.flush());
    // In TLS 1.3 a client that lacks a certificate is told after its own part of the
    // handshake, when it reads.
    let heard = said.and_then(|()| stream.read_exact(&mut [0]));
    heard.expect_err("the broker answers").to_string()
}

#[test]
fn a_client_is_served_over_tls_1_2_and_1_3() {
    let authority = Authority::new("plant");
    let files = Files::new(&authority.server());
    let (_broker, address) = start(config(files.tls()));
    for version in [&TLS12, &TLS13] {
        let mut client = client(authority.connect_with(address, None, &[version]));
        assert_served(&mut client);
        client.disconnect();
    }
}

#[test]
fn more_than_any_buffer_goes_through_in_both_directions() {
    let authority = Authority::new("plant");
    let files = Files::new(&authority.server());
    let (_broker, address) = start(config(files.tls()));
    let mut client = client(authority.connect(address, None));
    client.subscribe("big", 1);
    let payload: Vec<u8> = (0..900_000u32).map(|n| (n % 251) as u8).collect();
    for _ in 0..5 {
        client.publish("big", &payload, 0);
    }
    for _ in 0..5 {
        assert!(client.receive().payload5() == payload);
    }
    client.disconnect();
}

#[test]
fn a_client_that_trusts_another_authority_does_not_connect() {
    let files = Files::new(&Authority::new("plant").server());
    let (_broker, address) = start(config(files.tls()));
    let error = refusal(Authority::new("other").connect(address, None));
    assert!(error.contains("UnknownIssuer"), "{error}");
}

#[test]
fn mutual_tls_wants_a_certificate_of_its_authority_and_says_so() {
    let (authority, devices) = (Authority::new("plant"), Authority::new("devices"));
    let files = Files::new(&authority.server());
    let (_broker, address) = start(config(files.mutual_tls(&devices)));
    let error = refusal(authority.connect(address, None));
    assert!(error.contains("CertificateRequired"), "{error}");
    let stranger = Authority::new("other").client("press-7");
    let error = refusal(authority.connect(address, Some(&stranger)));
    assert!(error.contains("UnknownCA") || error.contains("DecryptError"), "{error}");
    let mut client = client(authority.connect(address, Some(&devices.client("press-7"))));
    assert_served(&mut client);
}

/// Remembers who logs in.
#[derive(Default)]
struct Logins(Mutex<Vec<String>>);

impl Access for Logins {
    fn authenticate<'a>(&'a self, login: Login<'a>) -> Authentication<'a> {
        self.0.lock().unwrap().push(login.certificate.unwrap_or("nobody").to_owned());
        Box::pin(std::future::ready(Ok(login.certificate.map(Arc::from))))
    }
}

#[test]
fn the_certificates_name_is_the_user_whatever_the_client_says() {
    let (authority, devices) = (Authority::new("plant"), Authority::new("devices"));
    let files = Files::new(&authority.server());
    let logins = Arc::new(Logins::default());
    let tls = Tls { identity: Some(IdentitySource::CommonName), ..files.mutual_tls(&devices) };
    let (_broker, address) = start(Config { access: logins.clone(), ..config(tls) });
    let connect = Connect { login: Some(("admin", "secret")), ..Connect::v3("c") };
    Client::over(authority.connect(address, Some(&devices.client("press-7"))), &connect);
    assert_eq!(*logins.0.lock().unwrap(), ["press-7"]);
}

#[test]
fn the_certificates_name_has_the_rights_of_that_user_without_a_password() {
    let (authority, devices) = (Authority::new("plant"), Authority::new("devices"));
    let files = Files::new(&authority.server());
    let rules =
        AccessRules::from_toml("[[rules]]\nallow = [\"subscribe\"]\ntopics = [\"orders/%u\"]\n").unwrap();
    let guard = Arc::new(Guard::new(Users::default(), rules.clone(), AttemptLimits::default()).unwrap());
    let tls = Tls { identity: Some(IdentitySource::CommonName), ..files.mutual_tls(&devices) };
    let (_broker, address) = start(Config { access: guard.clone(), ..config(tls) });
    let mut press = client(authority.connect(address, Some(&devices.client("press-7"))));
    assert_eq!(press.subscribe("orders/press-7", 0), 0);
    assert_eq!(press.subscribe("orders/press-8", 0), 0x87);
    guard.replace(Users::default(), rules);
    assert_eq!(press.subscribe("orders/press-7", 0), 0, "a reload of the users is no matter of its");
}

#[test]
fn the_first_alternative_name_can_be_the_user() {
    let (authority, devices) = (Authority::new("plant"), Authority::new("devices"));
    let files = Files::new(&authority.server());
    let logins = Arc::new(Logins::default());
    let tls = Tls { identity: Some(IdentitySource::SubjectAltName), ..files.mutual_tls(&devices) };
    let (_broker, address) = start(Config { access: logins.clone(), ..config(tls) });
    let mut params = named("ignored");
    params.subject_alt_names = vec![rcgen::SanType::URI("urn:press:7".try_into().unwrap())];
    Client::over(authority.connect(address, Some(&devices.sign(params))), &Connect::v5("c"));
    assert_eq!(*logins.0.lock().unwrap(), ["urn:press:7"]);
}

#[test]
fn a_certificate_without_the_name_is_refused() {
    let (authority, devices) = (Authority::new("plant"), Authority::new("devices"));
    let files = Files::new(&authority.server());
    let logins = Arc::new(Logins::default());
    let tls = Tls { identity: Some(IdentitySource::SubjectAltName), ..files.mutual_tls(&devices) };
    let (_broker, address) = start(Config { access: logins.clone(), ..config(tls) });
    refusal(authority.connect(address, Some(&devices.client("press-7"))));
    assert!(logins.0.lock().unwrap().is_empty());
}

#[test]
fn plain_mqtt_at_a_tls_listener_ends_and_so_does_tls_at_a_plain_one() {
    let authority = Authority::new("plant");
    let files = Files::new(&authority.server());
    let mut config = config(files.tls());
    config.listeners.extend(Config::loopback().listeners);
    let (broker, encrypted) = start(config);
    let plain = broker.addresses()[1].1;
    assert!(Client::open(encrypted, false).connect_or_none("c").is_none());
    refusal(authority.connect(plain, None));
    assert_served(&mut client(authority.connect(encrypted, None)));
    assert_served(&mut Client::v5(plain, "p"));
}

#[test]
fn idle_connections_keep_nobody_waiting() {
    let authority = Authority::new("plant");
    let files = Files::new(&authority.server());
    let mut config = config(files.tls());
    // Longer than any client here waits.
    config.listeners[0].connections.connect_timeout = 3 * mqtt::PATIENCE;
    let (_broker, address) = start(config);
    let mut idle: Vec<_> = (0..200).map(|_| TcpStream::connect(address).unwrap()).collect();
    for half_open in idle.iter_mut().take(100) {
        // The first bytes of a ClientHello, and no more.
        half_open.write_all(&[0x16, 3, 1, 2, 0, 1]).unwrap();
    }
    assert_served(&mut client(authority.connect(address, None)));
}

#[test]
fn a_handshake_that_never_finishes_ends_in_time() {
    let authority = Authority::new("plant");
    let files = Files::new(&authority.server());
    let mut config = config(files.tls());
    config.listeners[0].connections.connect_timeout = Duration::from_millis(200);
    let (_broker, address) = start(config);
    let silent = TcpStream::connect(address).unwrap();
    let mut half_open = TcpStream::connect(address).unwrap();
    half_open.write_all(&[0x16, 3, 1, 2, 0, 1]).unwrap();
    for mut stream in [silent, half_open] {
        stream.set_read_timeout(Some(mqtt::PATIENCE)).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the broker closes it");
    }
}

#[test]
fn handshakes_count_among_the_sockets_that_may_be_open() {
    let authority = Authority::new("plant");
    let files = Files::new(&authority.server());
    let mut config = config(files.tls());
    config.router.connections_max = 1;
    config.listeners[0].connections.connect_timeout = 3 * mqtt::PATIENCE;
    let (_broker, address) = start(config);
    // One may be online and 256 be connecting; what comes after them is closed at once.
    let _idle: Vec<_> = (0..257).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut surplus = TcpStream::connect(address).unwrap();
    surplus.set_read_timeout(Some(mqtt::PATIENCE)).unwrap();
    assert_eq!(surplus.read(&mut [0]).unwrap(), 0, "the broker closes it");
}

#[test]
fn silent_handshakes_of_one_address_keep_no_other_out() {
    let authority = Authority::new("plant");
    let files = Files::new(&authority.server());
    let mut config = config(files.tls());
    config.router.connections_max = 1;
    config.listeners[0].connections.connect_timeout = 3 * mqtt::PATIENCE;
    let (_broker, address) = start(config);
    let mut silent: Vec<_> = (0..257).map(|_| Client::open_from(2, address, true)).collect();
    assert_served(&mut client(authority.connect(address, None)));
    assert_eq!(silent[0].next(), None, "the one that has waited longest is closed");
}

#[test]
fn the_time_limit_holds_for_handshake_and_connect_together() {
    let authority = Authority::new("plant");
    let files = Files::new(&authority.server());
    let mut config = config(files.tls());
    config.listeners[0].connections.connect_timeout = Duration::from_secs(2);
    let (_broker, address) = start(config);
    let mut stream = authority.connect(address, None);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).unwrap();
    }
    // It never says CONNECT.
    stream.sock.read_to_end(&mut Vec::new()).expect("the broker closes it");
}

#[test]
fn new_certificates_serve_new_clients_and_drop_nobody() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let files = Files::new(&old.server());
    let (broker, address) = start(config(files.tls()));
    let mut early = client(old.connect(address, None));
    files.write(&new.server());
    broker.reload().unwrap();
    let (mut late, _) = Client::over(new.connect(address, None), &Connect::v5("late"));
    assert_served(&mut late);
    assert_served(&mut early);
    assert!(refusal(old.connect(address, None)).contains("UnknownIssuer"));
}

#[test]
fn new_authorities_hold_for_new_clients() {
    let (authority, old, new) = (Authority::new("plant"), Authority::new("old"), Authority::new("new"));
    let files = Files::new(&authority.server());
    let (broker, address) = start(config(files.mutual_tls(&old)));
    let device = old.client("press-7");
    let mut early = client(authority.connect(address, Some(&device)));
    files.put("clients.pem", &new.pem());
    broker.reload().unwrap();
    refusal(authority.connect(address, Some(&device)));
    let (mut late, _) =
        Client::over(authority.connect(address, Some(&new.client("press-8"))), &Connect::v5("late"));
    assert_served(&mut late);
    assert_served(&mut early);
}

#[test]
fn broken_new_certificates_leave_the_old_ones_in_force_with_an_error() {
    let authority = Authority::new("plant");
    let files = Files::new(&authority.server());
    let (broker, address) = start(config(files.tls()));
    for broken in ["", "-----BEGIN CERTIFICATE-----\n!", &authority.server().certificate.pem()] {
        files.put("server.pem", broken);
        let error = broker.reload().unwrap_err();
        for part in ["listener loopback", "server.", "stay in force"] {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
        let mut client = client(authority.connect(address, None));
        assert_served(&mut client);
        client.disconnect();
    }
    files.write(&authority.server());
    broker.reload().unwrap();
    assert_served(&mut client(authority.connect(address, None)));
}

/// What `Broker::start` says about a listener's files.
fn fault(tls: Tls) -> String {
    match Broker::start(config(tls)) {
        Err(error @ BrokerError::Certificates { .. }) => error.to_string(),
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("it starts"),
    }
}

#[test]
fn files_that_cannot_be_used_are_named_at_the_start() {
    let authority = Authority::new("plant");
    let (server, other) = (authority.server(), authority.server());
    let good = Files::new(&server);
    let with = |name: &str, text: &str| {
        let files = Files::new(&server);
        files.put("clients.pem", &authority.pem());
        files.put(name, text);
        let tls = Tls { client_authorities: Some(files.file("clients.pem")), ..files.tls() };
        fault(tls)
    };
    let missing = Tls { key: good.file("nowhere.key"), ..good.tls() };
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (error, parts) in [
        (fault(missing), ["`keypath`", "nowhere.key", "nothing that can be read"]),
        (with("server.pem", ""), ["`certpath`", "server.pem", "an empty file"]),
        (with("server.pem", &server.key.serialize_pem()), ["`certpath`", "server.pem", "BEGIN CERTIFICATE"]),
        (with("server.pem", no_certificate), ["`certpath`", "server.pem", "not a certificate"]),
        (with("server.key", &other.key.serialize_pem()), ["`keypath`", "server.key", "does not belong"]),
        (with("server.key", &server.certificate.pem()), ["`keypath`", "server.key", "BEGIN PRIVATE KEY"]),
        (with("server.key", encrypted), ["`keypath`", "server.key", "an encrypted key"]),
        (with("server.key", "-----BEGIN PRIVATE KEY-----\n"), ["`keypath`", "server.key", "broken PEM"]),
        (with("clients.pem", "\n"), ["`capath`", "clients.pem", "BEGIN CERTIFICATE"]),
        (with("clients.pem", &"x".repeat(2 << 20)), ["`capath`", "clients.pem", "more than 1048576 bytes"]),
    ] {
        for part in parts.into_iter().chain(["listener loopback", "expected a PEM file"]) {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
    }
}

/// The configuration in `text`, whose paths are relative to the files.
fn read(files: &Files, text: &str) -> Result<Config, String> {
    parse_broker(None, text, files.path()).map_err(|error| error.to_string())
}

#[test]
fn rumqttd_toml_names_the_files_relative_to_itself() {
    let authority = Authority::new("plant");
    let files = Files::new(&authority.server());
    files.put("clients.pem", &authority.pem());
    let config = read(
        &files,
        "[v4.1]\nlisten = \"127.0.0.1:0\"\n[v4.1.tls]\ncertpath = \"server.pem\"\nkeypath = \"server.key\"\n\
         capath = \"clients.pem\"\nidentity = \"common_name\"\n",
    );
    let (_broker, address) = start(config.unwrap());
    assert_served(&mut client(authority.connect(address, Some(&authority.client("press-7")))));
}

#[test]
fn mistakes_in_rumqttd_toml_are_named_with_line_and_key() {
    let files = Files::new(&Authority::new("plant").server());
    files.put("empty.pem", "");
    let begin = "[v4.1]\nlisten = \"127.0.0.1:0\"\n[v4.1.tls]\n";
    let pair = "certpath = \"server.pem\"\nkeypath = \"server.key\"\n";
    for (text, parts) in [
        ("keypath = \"server.key\"".to_owned(), ["line 3", "`v4.1.tls.certpath`", "is missing"]),
        (
            "certpath = \"empty.pem\"\nkeypath = \"server.key\"".to_owned(),
            ["line 4", "`v4.1.tls.certpath`", "empty"],
        ),
        (
            "certpath = \"server.pem\"\nkeypath = \"\"".to_owned(),
            ["line 5", "`v4.1.tls.keypath`", "PEM file"],
        ),
        (format!("{pair}capath = \"none\""), ["line 6", "`v4.1.tls.capath`", "nothing that can be read"]),
        (format!("{pair}capaht = \"x\""), ["line 6", "`v4.1.tls.capaht`", "did you mean `capath`"]),
        (
            format!("{pair}identity = \"common_name\""),
            ["line 6", "`v4.1.tls.identity`", "`capath` beside it"],
        ),
        (format!("{pair}identity = \"name\""), ["line 6", "`v4.1.tls.identity`", "subject_alt_name"]),
    ] {
        let error = read(&files, &format!("{begin}{text}\n")).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
    }
}

#[test]
fn an_expired_certificate_is_served_with_for_the_clock_may_be_wrong() {
    let authority = Authority::new("plant");
    let files = Files::new(&authority.expired_server());
    let (_broker, address) = start(config(files.tls()));
    let error = refusal(authority.connect(address, None));
    assert!(error.contains("expired"), "{error}");
}
