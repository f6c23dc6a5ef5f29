//! What a process takes of memory: with every buffer of the broker filled at once from
//! one address, under a bound, it stays within it and serves who has little; requests
//! under way are bounded by it too; and what is free goes back to the system.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::mqtt::{Client, Connect, PATIENCE, packet, string};
use crate::support::process::{Process, nearfar, nearfar_logging, ready_address};
use crate::support::prometheus::scrape;
use crate::support::{MODEL, request};

/// What the broker may hold, and what the process may take, which has a program, its
/// threads and an allocator beside that.
const MEMORY_MAX: usize = 96 << 20;
const PROCESS_BYTES_MAX: u64 = 256 << 20;
/// Addresses: of who takes everything, and of who has little.
const HOG: u8 = 2;
const CALM: u8 = 3;

/// A value of `/proc/PID/status` in bytes.
fn status(process: &Process, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    value.trim_start_matches(':').trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap() * 1_024
}

/// Whoever is refused or ended has been stopped, which is as good as served here.
fn hog(address: SocketAddr, connect: &Connect<'_>) -> Option<Client> {
    let mut client = Client::open_from(HOG, address, connect.is_v5);
    client.stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    client.stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    client.stream.write_all(&connect.bytes()).ok()?;
    Some(client)
}

/// Writes, whether or not anybody reads.
fn push(client: &mut Client, bytes: &[u8]) {
    let _stopped = client.stream.write_all(bytes);
}

fn subscribed(address: SocketAddr, connect: &Connect<'_>, filter: &str) -> Option<Client> {
    let mut client = hog(address, connect)?;
    let subscribe = client.subscribe_bytes(filter, 1, 9, &[]);
    push(&mut client, &subscribe);
    Some(client)
}

/// Sessions that are away, that do not read, that share, and that leave long wills,
/// all for what comes below `flood/`.
fn receivers(address: SocketAddr) -> Vec<Client> {
    let mut held = Vec::new();
    for n in 0..40 {
        let away = format!("away-{n}");
        drop(subscribed(address, &Connect::v5(&away).persistent(), "flood/#"));
        let [deaf, sharing, dying] = ["deaf", "sharing", "dying"].map(|kind| format!("{kind}-{n}"));
        held.extend(subscribed(address, &Connect::v5(&deaf), "flood/#"));
        held.extend(subscribed(address, &Connect::v5(&sharing), &format!("$share/{n}/flood/#")));
        let will = Some(("flood/will", &[7; 60_000][..], 1, true, Vec::new()));
        held.extend(hog(address, &Connect { will, ..Connect::v5(&dying) }));
    }
    held
}

/// Retained messages that are nothing but user properties, and large ones for everybody who receives.
fn flood(address: SocketAddr) -> Vec<Client> {
    let mut held: Vec<_> = hog(address, &Connect::v5("flood")).into_iter().collect();
    for client in &mut held {
        let properties = [38, 0, 0, 0, 0].repeat(50_000);
        for n in 0..150_u16 {
            let retained = client.publish_bytes(&format!("flood/retained/{n}"), b"x", 3, n + 1, &properties);
            push(client, &retained);
            let large = client.publish_bytes("flood/large", &[n as u8; 200_000], 2, n + 1_000, &[]);
            push(client, &large);
        }
    }
    held
}

/// Packets of a megabyte of which the last byte never comes, before CONNECT and after it.
fn half_sent(address: SocketAddr) -> Vec<Client> {
    let publish = [&[0x30, 0x80, 0x80, 0x3c, 0, 1, b'a'][..], &vec![0; 900_000]].concat();
    let connect = [&[0x10, 0x80, 0x80, 0x3c, 0, 4][..], b"MQTT\x05\x02\0\0", &vec![0; 900_000]].concat();
    let mut held = Vec::new();
    for n in 0..120 {
        if let Some(mut client) = hog(address, &Connect::v5(&format!("half-{n}"))) {
            push(&mut client, &publish);
            held.push(client);
        }
        let mut silent = Client::open_from(HOG, address, true);
        silent.stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        push(&mut silent, &connect);
        held.push(silent);
    }
    held
}

/// One SUBSCRIBE that names everything again and again, and many long filters.
fn subscriptions(address: SocketAddr) -> Vec<Client> {
    let repeated = [&[0, 9, 0][..], &[string("#"), vec![0]].concat().repeat(5_000)].concat();
    let mut held: Vec<_> = hog(address, &Connect::v5("everything")).into_iter().collect();
    held.iter_mut().for_each(|client| push(client, &packet(0x82, &repeated)));
    for n in 0..10 {
        let filters: Vec<_> = (0..200)
            .flat_map(|f| [string(&format!("{n}/{f}/{}", "x/".repeat(60))), vec![0]].concat())
            .collect();
        if let Some(mut client) = hog(address, &Connect::v5(&format!("filters-{n}"))) {
            push(&mut client, &packet(0x82, &[&[0, 9, 0][..], &filters].concat()));
            held.push(client);
        }
    }
    held
}

/// How often something was not taken, or given up, for want of memory.
fn memory_reached(http: SocketAddr) -> f64 {
    let families = scrape(http);
    let limits = families.iter().find(|family| family.name == "nearfar_broker_limits_reached_total").unwrap();
    limits.samples.iter().find(|sample| sample.labels["limit"] == "memory_max").unwrap().value
}

#[test]
fn more_memory_than_there_is_is_warned_of_at_the_start_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rumqttd.toml");
    // A tebibyte, which is the most that may be written.
    fs::write(&file, "[limits]\nmemory_max = 1099511627776\n").unwrap();
    let arguments = ["broker", "--listen", "127.0.0.1:0", "--broker-config"];
    let process = Process::start(nearfar_logging("warn", &arguments).arg(&file));
    let told = process.complaint_with("memory_max is 1099511627776 bytes");
    assert!(told.contains("set memory_max to") && told.contains("control group"), "{told}");
    process.line();
    assert_eq!(process.terminate().code, Some(0));
}

#[test]
fn who_fills_every_buffer_at_once_ends_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rumqttd.toml");
    fs::write(&file, format!("[limits]\nmemory_max = {MEMORY_MAX}\nretained_bytes_max = 1000000000\n"))
        .unwrap();
    let arguments = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--broker-config"];
    let process = Process::start(nearfar(&["broker"]).args(arguments).arg(&file));
    let ready = process.line();
    let address = ready_address(&ready);
    let http = ready.split_once(" http=").unwrap().1.parse().unwrap();
    let mut calm = Client::open_from(CALM, address, true);
    calm.send(&Connect::v5("calm").bytes());
    assert_eq!(calm.receive().body[1], 0);
    assert_eq!(calm.subscribe("calm", 1), 1);
    let held = std::thread::scope(|scope| {
        let receivers = receivers(address);
        let attacks = [flood, half_sent, subscriptions].map(|attack| scope.spawn(move || attack(address)));
        let mut held = vec![receivers];
        held.extend(attacks.map(|attack| attack.join().unwrap()));
        held
    });
    calm.publish_acked("calm", b"still here", false);
    let received = calm.receive();
    assert_eq!(received.payload5(), b"still here");
    let reached = memory_reached(http);
    assert!(reached > 0.0, "it was never scarce, so this shows nothing");
    let peak = status(&process, "VmHWM");
    assert!(peak < PROCESS_BYTES_MAX, "{} MiB", peak >> 20);
    drop(held);
    process.terminate().assert_success();
}

/// Large requests, and the memory of the broker that they come through: an eighth of
/// it is for requests under way.
const LARGE_REQUESTS: usize = 200;
const SMALL_MEMORY_MAX: usize = 64 << 20;

#[test]
fn large_requests_under_way_are_bounded_by_the_memory_there_is() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rumqttd.toml");
    fs::write(&file, format!("[limits]\nmemory_max = {SMALL_MEMORY_MAX}\n")).unwrap();
    // So far away that no answer leaves while requests come.
    let far = ["serve", MODEL, "--cloud-latency", "3000", "--listen", "127.0.0.1:0", "--broker-config"];
    let process = Process::start(nearfar(&far).arg(&file));
    let address = ready_address(&process.line());
    let mut answers = Client::v5(address, "answers");
    assert_eq!(answers.subscribe("own/answers", 1), 1);
    let before = status(&process, "VmRSS");
    let mut sensor = Client::v5(address, "sensor");
    // What goes back with the answer is kept: correlation data of 64 KiB. A megabyte of
    // user properties is not.
    let correlation = [&[9, 0xff, 0xff][..], &[7; 65_535]].concat();
    let user_properties = [&[38, 0, 1, b'x', 0xc3, 0x50][..], &[b'y'; 50_000]].concat().repeat(18);
    let properties = [&[8][..], &string("own/answers"), &correlation, &user_properties].concat();
    let refused = thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..LARGE_REQUESTS {
                let payload = request("press", n as i64);
                let topic = "ml/inference/request";
                let bytes = sensor.publish_bytes(topic, payload.as_bytes(), 0, 0, &properties);
                sensor.send(&bytes);
            }
        });
        let bound = format!("take nearly {} bytes (IN_FLIGHT_BYTES_MAX)", SMALL_MEMORY_MAX / 8);
        let is_refused = |_: &usize| {
            let answer = answers.receive();
            let text = String::from_utf8_lossy(answer.payload5()).into_owned();
            let is_refused = text.contains("\"code\"");
            assert!(!is_refused || text.contains("OVERLOADED") && text.contains(&bound), "{text}");
            is_refused
        };
        (0..LARGE_REQUESTS).filter(is_refused).count()
    });
    // Of the others each holds 64 KiB.
    let most = SMALL_MEMORY_MAX / 8 / 65_535;
    assert!(LARGE_REQUESTS - refused >= most / 2, "{refused} were refused");
    assert!(refused > 0, "all of them were under way at once");
    let taken = status(&process, "VmHWM") - before;
    assert!(taken < SMALL_MEMORY_MAX as u64, "{} MiB", taken >> 20);
    process.terminate().assert_success();
}

/// Messages that wait for somebody, and what of the memory that they took may be left once they are gone.
const WAITING_MESSAGES: usize = 200_000;
const LEFT_PART: u64 = 3;

#[test]
fn memory_that_is_free_goes_back_to_the_system() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rumqttd.toml");
    fs::write(&file, "[limits]\npending_messages_max = 1000000\npending_bytes_max = 1000000000\n").unwrap();
    let file = file.to_str().unwrap();
    let process =
        Process::start(&mut nearfar(&["broker", "--listen", "127.0.0.1:0", "--broker-config", file]));
    let address = ready_address(&process.line());
    let away = Connect::v5("away").persistent();
    let mut client = Client::accepted(address, &away);
    assert_eq!(client.subscribe("flood/#", 1), 1);
    client.disconnect();
    let mut publisher = Client::v5(address, "publisher");
    let before = status(&process, "VmRSS");
    let publish = publisher.publish_bytes("flood/message", &[7; 100], 2, 1, &[]);
    for n in 0..WAITING_MESSAGES / 500 {
        publisher.send(&publish.repeat(500));
        (0..500).for_each(|_| assert_eq!(publisher.receive().first, 0x40));
        // Something that stays lies between what goes.
        publisher.publish_acked(&format!("kept/{n}"), b"x", true);
    }
    let taken = status(&process, "VmRSS") - before;
    assert!(taken > 40 << 20, "{} MiB", taken >> 20);
    Client::v5(address, "away").disconnect();
    let started = Instant::now();
    loop {
        let left = status(&process, "VmRSS").saturating_sub(before);
        if left <= taken / LEFT_PART {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{} of {} MiB are left", left >> 20, taken >> 20);
        thread::yield_now();
    }
    process.terminate().assert_success();
}
