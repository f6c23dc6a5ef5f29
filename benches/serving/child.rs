//! The program under test, in a process of its own: this same binary, started again in a role.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nearfar::Node;
use nearfar::broker::{self, Broker};
use nearfar::deployment::Config;
use nearfar::wire::Members;

/// What the child does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The embedded broker and a client on its link that sends every request back.
    Echo,
    /// A node without a simulated network.
    Edge,
    /// A node 50 ms away each way, which tells its stages.
    Cloud,
}

const ROLE_FLAG: &str = "--role";
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/anomaly_detector");

impl Role {
    pub fn from_arguments(arguments: &[String]) -> Option<Self> {
        let at = arguments.iter().position(|argument| argument == ROLE_FLAG)?;
        Self::named(arguments.get(at + 1))
    }

    /// The role of that name.
    pub fn named(name: Option<&String>) -> Option<Self> {
        match name?.as_str() {
            "echo" => Some(Self::Echo),
            "edge" => Some(Self::Edge),
            "cloud" => Some(Self::Cloud),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Edge => "edge",
            Self::Cloud => "cloud",
        }
    }

    /// Runs until killed.
    pub fn run(self) {
        match self {
            Self::Echo => echo(),
            Self::Edge => serve(Config::edge(), broker::Config::loopback()),
            Self::Cloud => {
                let members = Members { stages_ms: true, ..Members::default() };
                let mut broker = broker::Config::loopback();
                broker.router.segment_bytes_max = CLOUD_SEGMENT_BYTES;
                serve(Config { members, ..Config::cloud() }, broker);
            }
        }
    }
}

/// Tens of thousands of answers come back in bursts, which a subscriber on busy cores takes a moment to read.
const CLOUD_SEGMENT_BYTES: usize = 8 << 20;

fn serve(config: Config, broker: broker::Config) {
    let node = Node::builder().embedded_broker(broker).deployment(config, MODEL).start();
    let node = node.expect("the node starts");
    println!("{}", node.mqtt_address().expect("it has a broker"));
    loop {
        std::thread::park();
    }
}

fn echo() {
    let broker = Broker::start(broker::Config::loopback()).expect("the broker starts");
    let (publisher, mut subscriber) = broker.link("echo").expect("the broker takes a link");
    subscriber.subscribe(&["ml/inference/request".to_owned()]).expect("it can subscribe");
    println!("{}", broker.addresses()[0].1);
    let mut batch = Vec::new();
    while subscriber.receive(&mut batch, 512).expect("the broker lives") {
        for message in &mut batch {
            message.topic = "ml/inference/result/bench".into();
        }
        publisher.publish(&mut batch).expect("the broker lives");
    }
}

/// A running child; killed when dropped.
pub struct Child {
    process: std::process::Child,
    address: SocketAddr,
    started_at: Instant,
}

impl Child {
    pub fn start(role: Role) -> Self {
        let started_at = Instant::now();
        let mut process = Command::new(std::env::current_exe().expect("a running program has a path"))
            .args([ROLE_FLAG, role.name()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the bench can start itself");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("its output is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says where it listens");
        let address = line.trim().parse().expect("it prints an address");
        Self { process, address, started_at }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Time since the process was started.
    pub fn age(&self) -> Duration {
        self.started_at.elapsed()
    }

    /// Resident memory, from Linux's /proc; NaN elsewhere.
    pub fn resident_mib(&self) -> f64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<f64>().ok());
        kib.map_or(f64::NAN, |kib| kib / 1024.0)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Killed on purpose: what is measured is over.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
