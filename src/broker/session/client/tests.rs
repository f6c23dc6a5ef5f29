use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::*;
use crate::broker::bus::carrier::poll_now;
use crate::broker::bus::mailbox::Copy;
use crate::broker::bus::publication::Publication;
use crate::broker::bus::{Bus, RouterOutput};
use crate::broker::config::{Config, OverRate};
use crate::broker::limits::shares::Owner;
use crate::broker::session::peer::UnderWay;
use crate::broker::session::subscription::Options;
use crate::mqtt::Qos;

const S: Duration = Duration::from_secs(1);
const PINGREQ: [u8; 2] = [0xc0, 0];
const PINGRESP: [u8; 2] = [0xd0, 0];

/// A client without a socket, and the broker around it, from whose router nobody but the test takes.
struct Rig {
    client: Client,
    output: RouterOutput,
    now: Instant,
}

fn hello(version: Version) -> Hello {
    let peer = Peer {
        address: IpAddr::from(Ipv4Addr::LOCALHOST),
        listener: "test".into(),
        socket: 0,
        identity: None,
        under_way: UnderWay::default(),
    };
    Hello {
        version,
        client_id: "c".to_owned(),
        is_clean: true,
        keep_alive_s: 10,
        expiry_asked_s: 0,
        expiry_s: 0,
        window: 1,
        packet_bytes_max: usize::MAX,
        aliases_max: 0,
        will: None,
        server_keep_alive_s: None,
        user: None,
        is_certified: false,
        is_local: true,
        owner: Owner::Node,
        peer,
    }
}

impl Rig {
    fn new(configure: impl FnOnce(&mut Config)) -> Self {
        Self::of(Box::new(Session::new(1, Owner::Node)), configure)
    }

    fn of(session: Box<Session>, configure: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::without_listeners();
        configure(&mut config);
        let (bus, output) = Bus::start(&config).unwrap();
        let context = Arc::new(Context::new(config, bus));
        let now = Instant::now();
        let arrived = Arrived { unread: Default::default(), under_way: UnderWay::default() };
        let (limits, hello) = (ConnectionLimits::default(), hello(Version::V311));
        let mut client = Client::new(context, "c".into(), &limits, &hello, session, arrived, now);
        assert!(client.take_up().unwrap());
        client.handle_start(now).unwrap();
        let mut rig = Self { client, output, now };
        rig.round();
        rig
    }

    /// A round, as the loop does it before it waits.
    fn round(&mut self) -> Round {
        let round = self.client.poll_round(self.now).unwrap();
        self.client.wants_write(false, self.now);
        self.client.wants_read(self.now);
        round
    }

    fn read(&mut self, bytes: &[u8]) -> Result<(), Reason> {
        self.client.input.unread.extend_from_slice(bytes);
        self.client.handle_read(bytes.len(), self.now)?;
        self.round();
        Ok(())
    }

    fn pass(&mut self, time: Duration) -> Result<Option<End>, Reason> {
        self.now += time;
        self.client.handle_timeout(self.now)
    }

    /// What is written, which the client takes.
    fn written(&mut self) -> Vec<u8> {
        let written = self.client.output.unwritten().to_vec();
        self.client.handle_written(written.len(), self.now);
        self.round();
        written
    }

    /// Something is published for the client at QoS 1.
    fn arrive(&mut self, payload: &'static [u8]) {
        let (topic, payload) = (Bytes::from_static(b"t"), Bytes::from_static(payload));
        let publication = Publication { topic, payload, qos: Qos::AtLeastOnce, ..Publication::default() };
        let copy = Copy { publication: Arc::new(publication), subscriptions: Arc::from([1]) };
        assert!(self.client.session.live.mailbox.put(copy));
        self.round();
    }

    fn published(&self) -> u64 {
        self.client.context.statistics().published_messages
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.client.context.bus.end_router();
    }
}

/// A session that has subscribed to everything at QoS 1.
fn subscribed() -> Box<Session> {
    let mut session = Box::new(Session::new(1, Owner::Node));
    session.live.mailbox.widen(usize::MAX);
    let options =
        Options { qos: Qos::AtLeastOnce, no_local: false, retain_as_published: false, identifier: None };
    assert_eq!(session.upsert("#", "#", None, options), 1);
    session
}

/// A PUBLISH of 3.1.1 to the topic `t`.
fn publish(qos: u8, packet_id: u8) -> Vec<u8> {
    let id: &[u8] = if qos > 0 { &[0, packet_id] } else { &[] };
    [&[0x30 | qos << 1, 4 + id.len() as u8, 0, 1, b't'], id, b"x"].concat()
}

/// What arrives, as the client is sent it.
fn sent(first: u8, packet_id: u8, payload: u8) -> Vec<u8> {
    vec![first, 6, 0, 1, b't', 0, packet_id, payload]
}

#[test]
fn one_and_a_half_times_its_keep_alive_is_all_that_a_client_may_be_silent() {
    let mut rig = Rig::new(|_| {});
    assert!(rig.pass(Duration::from_millis(14_900)).unwrap().is_none());
    assert_eq!(rig.pass(Duration::from_millis(100)).err(), Some(Reason::KEEP_ALIVE));
}

#[test]
fn a_whole_packet_begins_the_keep_alive_anew_and_a_part_of_one_does_not() {
    let mut rig = Rig::new(|_| {});
    assert!(rig.pass(10 * S).unwrap().is_none());
    rig.read(&PINGREQ).unwrap();
    assert_eq!(rig.written(), PINGRESP);
    assert!(rig.pass(14 * S).unwrap().is_none());
    rig.read(&PINGREQ[..1]).unwrap();
    // The byte has bought it two milliseconds.
    assert_eq!(rig.pass(S + Duration::from_millis(2)).err(), Some(Reason::KEEP_ALIVE));
}

#[test]
fn the_silence_of_a_client_that_is_not_read_from_does_not_count() {
    let mut rig = Rig::new(|config| {
        config.limits.unread_bytes_max = 1;
        config.limits.write_timeout = 7_200 * S;
    });
    rig.read(&PINGREQ).unwrap();
    assert!(!rig.client.wants_read(rig.now), "it has not read its answer");
    assert!(rig.pass(3_600 * S).unwrap().is_none());
    assert_eq!(rig.written(), PINGRESP);
    assert!(rig.client.wants_read(rig.now));
    assert!(rig.pass(14 * S).unwrap().is_none(), "it begins when the client is read from again");
    assert_eq!(rig.pass(S).err(), Some(Reason::KEEP_ALIVE));
}

#[test]
fn a_packet_has_its_time_to_be_whole() {
    let mut rig = Rig::new(|config| config.limits.packet_timeout = 5 * S);
    rig.read(&PINGREQ[..1]).unwrap();
    assert_eq!(rig.client.poll_timeout(rig.now), rig.now + 5 * S);
    assert!(rig.pass(4 * S).unwrap().is_none());
    assert!(matches!(rig.pass(S).unwrap(), Some(End::Overdue)));
}

#[test]
fn a_client_that_takes_nothing_of_what_is_written_is_given_up() {
    let mut rig = Rig::new(|config| config.limits.write_timeout = 5 * S);
    rig.read(&PINGREQ).unwrap();
    assert!(rig.pass(4 * S).unwrap().is_none());
    assert!(matches!(rig.pass(S).unwrap(), Some(End::Lost(Ended::WriteTimeout))));
}

#[test]
fn a_qos_2_publish_goes_out_once_however_often_it_comes_before_its_release() {
    let mut rig = Rig::new(|_| {});
    for _ in 0..2 {
        rig.read(&publish(2, 7)).unwrap();
        assert_eq!((rig.written(), rig.published()), (vec![0x50, 2, 0, 7], 1));
    }
    assert!(rig.client.session.receiving.contains(&7));
    rig.read(&[0x62, 2, 0, 7]).unwrap();
    assert_eq!((rig.written(), rig.client.session.receiving.len()), (vec![0x70, 2, 0, 7], 0));
    rig.read(&publish(2, 7)).unwrap();
    assert_eq!(rig.published(), 2, "its number is free again");
}

#[test]
fn what_the_window_has_no_room_for_waits_for_the_acknowledgement_before_it() {
    let mut rig = Rig::of(subscribed(), |_| {});
    rig.arrive(b"1");
    rig.arrive(b"2");
    assert_eq!(rig.written(), sent(0x32, 1, b'1'));
    assert_eq!((rig.client.session.inflight.len(), rig.client.session.pending.len()), (1, 1));
    rig.read(&[0x40, 2, 0, 9]).unwrap();
    assert_eq!(rig.written(), [0; 0], "nobody was sent a message of that number");
    rig.read(&[0x40, 2, 0, 1]).unwrap();
    assert_eq!(rig.written(), sent(0x32, 2, b'2'));
}

#[test]
fn what_the_last_connection_left_unacknowledged_is_sent_again_and_says_so() {
    let mut rig = Rig::of(subscribed(), |_| {});
    rig.arrive(b"1");
    assert_eq!(rig.written(), sent(0x32, 1, b'1'));
    let session = std::mem::replace(&mut rig.client.session, Box::new(Session::new(0, Owner::Node)));
    let mut next = Rig::of(session, |_| {});
    assert_eq!(next.written(), sent(0x3a, 1, b'1'));
}

#[test]
fn a_client_that_is_too_fast_waits_until_it_is_not() {
    let mut rig = Rig::new(|config| {
        config.limits.publish_messages_per_s_max = 1;
        config.limits.publish_burst_messages_max = 1;
    });
    rig.read(&[publish(1, 1), publish(1, 2), PINGREQ.to_vec()].concat()).unwrap();
    let Wait::Pace(until) = rig.client.waiting.why else { panic!("{:?}", rig.client.waiting.why) };
    assert_eq!((until - rig.now).as_secs(), 1);
    assert_eq!((rig.written(), rig.published()), (vec![0x40, 2, 0, 1], 1));
    assert!(!rig.client.wants_read(rig.now), "what comes now comes behind it");
    rig.now = until;
    rig.client.handle_wait_over(rig.now).unwrap();
    rig.round();
    assert_eq!(rig.client.waiting.why, Wait::No);
    assert_eq!(rig.written(), [&[0x40, 2, 0, 2][..], &PINGRESP].concat());
}

#[test]
fn a_client_that_is_too_fast_is_told_to_go_where_that_is_the_policy() {
    let mut rig = Rig::new(|config| {
        config.limits.publish_messages_per_s_max = 1;
        config.limits.publish_burst_messages_max = 1;
        config.limits.publish_over_rate = OverRate::Disconnect;
    });
    rig.read(&publish(0, 0)).unwrap();
    assert_eq!(rig.read(&publish(0, 0)), Err(Reason::MESSAGE_RATE_TOO_HIGH));
}

#[test]
fn publishes_wait_for_room_on_the_lane_and_go_on_when_they_are_called() {
    let mut rig = Rig::new(|_| {});
    // SUBSCRIBE to `t`, so that what it publishes takes room on the way to the connections.
    rig.read(&[0x82, 6, 0, 1, 0, 1, b't', 0]).unwrap();
    assert_eq!(rig.written(), [0x90, 3, 0, 1, 0]);
    let all = 300;
    rig.read(&publish(0, 0).repeat(all)).unwrap();
    assert_eq!(rig.client.waiting.why, Wait::Turn);
    let before = rig.published();
    assert!((1..all as u64).contains(&before), "{before}");
    for _ in 0..before {
        while rig.output.connections.recv().unwrap().is_none() {}
        rig.output.connections.lane.frees_publishers();
    }
    assert!(poll_now(rig.client.waiting.visit.called()).is_some());
    rig.client.handle_wait_over(rig.now).unwrap();
    assert_eq!((rig.client.waiting.why, rig.published()), (Wait::No, all as u64));
}

#[test]
fn no_publish_that_wants_an_answer_is_taken_while_the_broker_drains() {
    let mut rig = Rig::new(|_| {});
    rig.client.context.bus.drain();
    rig.read(&[publish(0, 0), publish(1, 1)].concat()).unwrap();
    assert_eq!((rig.client.waiting.why, rig.published()), (Wait::Answers, 1));
    rig.round();
    assert_eq!((rig.client.waiting.why, rig.written()), (Wait::Answers, Vec::new()));
}

#[test]
fn long_work_is_left_where_its_slice_is_over_and_goes_on_in_the_next() {
    let mut rig = Rig::new(|_| {});
    let filters = (b'a'..=b'z').flat_map(|first| (b'a'..=b'd').map(move |second| [0, 2, first, second, 0]));
    let list: Vec<u8> = filters.flatten().collect();
    let body = 2 + list.len();
    let head = [0x82, (body % 128) as u8 | 0x80, (body / 128) as u8, 0, 1];
    rig.read(&[&head[..], &list].concat()).unwrap();
    let mut slices = 1;
    while rig.client.output.unwritten().is_empty() {
        assert!(rig.client.wants_slice());
        assert!(!rig.client.wants_read(rig.now));
        rig.client.handle_slice(Slice::new(), rig.now).unwrap();
        rig.round();
        slices += 1;
    }
    assert!(slices > 3, "{slices}");
    assert_eq!(rig.written()[0], 0x90);
    assert!(rig.client.wants_read(rig.now));
}

#[test]
fn a_session_is_taken_over_by_whoever_comes_with_its_id() {
    let mut rig = Rig::new(|_| {});
    let (reply, _session) = oneshot::channel();
    let end = rig.client.handle_order(Some(Order::HandOver { is_clean: true, reply })).unwrap();
    assert!(matches!(end, End::TakenOver { is_clean: true, .. }));
    assert_eq!(end.reason(), Some(Reason::TAKEN_OVER));
}

#[test]
fn what_was_published_before_the_broker_stops_is_written_before_goodbye() {
    let mut rig = Rig::of(subscribed(), |_| {});
    rig.arrive(b"1");
    assert!(rig.client.handle_order(Some(Order::End(Reason::SHUTTING_DOWN))).is_none());
    assert_eq!(rig.round(), Round::Idle, "it is not written yet");
    let written = rig.client.output.unwritten().len();
    rig.client.handle_written(written, rig.now);
    assert_eq!(rig.round(), Round::Left);
}
