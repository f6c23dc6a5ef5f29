//! A node in a process of its own, and what the system says about that process.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::MODEL;
use crate::support::mqtt::Client;
use crate::support::process::{Ended, Process, ready_address, without_our_environment};

/// No wait is longer; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(30);
/// A fresh client is served in far less, unless something is wrong. The aim of 100
/// ms is printed, not asserted: the machine may be busy with something else.
const FRESH_CLIENT_MAX: Duration = Duration::from_secs(5);

/// The thread that makes router links ends only after ten idle seconds.
const THREADS_THAT_COME_AND_GO: usize = 1;

/// Small waits, so that slow clients are met with in time, and room for as many clients as the tests have.
const SETTINGS: &str = "\
    [router]\nmax_connections = 1500\n\
    [v4.1]\nlisten = \"127.0.0.1:0\"\n[v4.1.connections]\nconnection_timeout_ms = 500\n\
    [limits]\nconnections_per_address_max = 2000\nwrite_timeout_ms = 1000\n";

/// The program under abuse.
pub struct Node {
    process: Process,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

/// What a process holds.
#[derive(Debug, Clone, Copy)]
pub struct Vitals {
    pub descriptors: usize,
    pub threads: usize,
    pub resident_mib: f64,
    pub cpu: Duration,
}

impl Node {
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// With that many file descriptors at most, and with warnings on standard error.
    pub fn with_descriptors(descriptors_max: usize) -> Self {
        Self::start_with(Some(descriptors_max))
    }

    fn start_with(descriptors_max: Option<usize>) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("rumqttd.toml");
        std::fs::write(&file, SETTINGS).expect("it takes files");
        let limit = descriptors_max.map_or(String::new(), |max| format!("ulimit -n {max}; "));
        let mut command = Command::new("sh");
        let program = std::env::var("NEARFAR_SOAK_PROGRAM").ok();
        let program = program.as_deref().unwrap_or(env!("CARGO_BIN_EXE_nearfar"));
        command.args(["-c", &format!("{limit}exec \"$0\" \"$@\""), program]);
        command.args(["--log", "warn", "serve", MODEL, "--broker-config"]).arg(&file);
        let process = Process::start(without_our_environment(&mut command));
        let address = ready_address(&process.line());
        Self { process, address, _directory: directory }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.process.id())).expect("the node lives")
    }

    fn count(&self, name: &str) -> usize {
        std::fs::read_dir(format!("/proc/{}/{name}", self.process.id())).expect("the node lives").count()
    }

    pub fn vitals(&self) -> Vitals {
        let status = self.read("status");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
        let kib: f64 = resident.trim().trim_end_matches(" kB").parse().expect("a number of kilobytes");
        // The fields after the program's name, which ends with the last bracket: user and
        // system time, in hundredths.
        let stat = self.read("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("a split has a part").split(' ').collect();
        let hundredths: u64 = [fields[12], fields[13]].iter().map(|text| text.parse::<u64>().unwrap()).sum();
        Vitals {
            descriptors: self.count("fd"),
            threads: self.count("task"),
            resident_mib: kib / 1_024.0,
            cpu: Duration::from_millis(hundredths * 10),
        }
    }

    /// Waits until the node has let go of every socket and thread that it did not have `before`.
    pub fn settle(&self, before: Vitals) -> Vitals {
        let started = Instant::now();
        loop {
            let now = self.vitals();
            if now.descriptors <= before.descriptors
                && now.threads <= before.threads + THREADS_THAT_COME_AND_GO
            {
                return now;
            }
            assert!(started.elapsed() < PATIENCE, "left behind: {now:?}, before: {before:?}");
            std::thread::yield_now();
        }
    }

    /// Waits until no more is resident than that.
    pub fn settle_below(&self, resident_mib: f64) {
        let started = Instant::now();
        while self.vitals().resident_mib > resident_mib {
            assert!(started.elapsed() < PATIENCE, "memory grows: more than {resident_mib} MiB are left");
            std::thread::yield_now();
        }
    }

    /// How long a client takes that connects, subscribes, and gets its own message.
    pub fn serve_fresh_client(&self) -> Duration {
        let started = Instant::now();
        let mut client = Client::v3(self.address, "fresh");
        assert_eq!(client.subscribe("fresh", 1), 1);
        client.publish("fresh", b"well", 0);
        assert_eq!(client.receive().payload(), b"well");
        let taken = started.elapsed();
        client.disconnect();
        assert!(taken < FRESH_CLIENT_MAX, "a fresh client waited {taken:?}");
        taken
    }

    /// Ends it in an orderly way.
    pub fn stop(self) -> Ended {
        self.process.terminate()
    }
}
