//! Who may be online, and whose session is kept: places that all clients share, given by shares.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::hello::Hello;
use crate::broker::bus::filter_shares::Room;
use crate::broker::limits::memory::Level;
use crate::broker::limits::reached::Limit;
use crate::broker::limits::refused::Cause;
use crate::broker::limits::shares::{Owner, Place};
use crate::broker::limits::standing::{Keeper, Roster, Standing, Worth};
use crate::broker::session::context::Context;
use crate::broker::work::Slice;

/// One place in so many is kept for owners that the broker knows: users, those who
/// are online or have a session, and those who were online lately. However many
/// strangers come with one connection each, these get in.
const RESERVED_ONE_IN: usize = 20;

/// Units of work to find the session that goes first.
const EVICTION_UNITS: usize = 100;

/// A client's place, until its connection or session gives it up.
pub struct Seated {
    pub context: Arc<Context>,
    keeper: Keeper,
}

impl Seated {
    pub fn new(context: &Arc<Context>, keeper: Keeper) -> Self {
        Self { context: context.clone(), keeper }
    }

    /// Whose it is.
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        self.context.registry.seat(&self.keeper, None);
    }
}

/// A place among the clients that are online.
///
/// # Errors
/// Why there is none: no memory for another client of its owner, or no place, not
/// even of an owner who has more.
pub fn admit(context: &Context, hello: &Hello) -> Result<Place, Cause> {
    let memory = &context.bus.memory;
    // Before anybody makes way for it.
    if memory.level() >= Level::Full && !memory.may_grow(&hello.owner) {
        return Err(Cause::Memory);
    }
    seat(context, hello).ok_or(Cause::Connections)
}

fn seat(context: &Context, hello: &Hello) -> Option<Place> {
    let (online, owner) = (&context.online, &hello.owner);
    let kept_free = if is_known(context, hello) { 0 } else { online.places_max() / RESERVED_ONE_IN };
    let own = || context.registry.take_place(&hello.client_id, hello.user.as_ref(), online);
    if let Some(place) = online.enter(owner, kept_free).or_else(own) {
        return Some(place);
    }
    let hog = online.gives_way(owner)?;
    // The one that idles longest.
    make_way(context, &context.connected, &hog, false, |_| Some(()))?;
    context.bus.reached.note_gave_way(Limit::Connections, &hog, owner);
    online.enter(owner, 0)
}

fn is_known(context: &Context, hello: &Hello) -> bool {
    matches!(hello.owner, Owner::User(_))
        || context.online.has(&hello.owner)
        || context.parked.has(&hello.owner)
        || context.registry.knows(&hello.client_id, hello.user.as_ref())
        || context.acquaintances.has(&hello.owner)
}

/// A place among the sessions that are kept for clients that are away; `None` when there is none.
pub fn keep(context: &Context, standing: &Standing) -> Option<Place> {
    let (parked, owner) = (&context.parked, &standing.owner);
    if let Some(place) = parked.enter(owner, 0) {
        return Some(place);
    }
    let gives_way = |hog: &Owner, below: Option<Worth>| {
        let rank = |other: &Standing| {
            let worth = other.worth();
            (worth != Worth::Online && below.is_none_or(|below| worth < below)).then_some(worth)
        };
        let given_way = make_way(context, &context.sessions, hog, true, rank);
        given_way.map(|_| context.bus.reached.note_gave_way(Limit::ParkedSessions, hog, owner))
    };
    let hog = parked.gives_way(owner);
    // Among an owner's own sessions only one that is worth less gives way: whoever floods
    // the broker with sessions that nothing waits for ends no session of his neighbours
    // behind the same address that has subscribed to something, or holds messages.
    hog.and_then(|hog| gives_way(&hog, None)).or_else(|| gives_way(owner, Some(standing.worth())))?;
    parked.enter(owner, 0)
}

/// Whether the session of `newcomer` may subscribe to `filter`, or to it in a group. Where there is
/// room for another filter only without somebody else's, a session of whoever has most ends, and
/// all of its filters with it: a session that goes on with a part of its subscriptions would be a
/// lie to its client, whereas one that has ended is told, or finds no session when it comes back.
pub fn makes_room_for(
    context: &Context,
    newcomer: &Standing,
    filter: &str,
    group: Option<&str>,
    slice: &mut Slice,
) -> bool {
    let room = context.bus.subscriptions().room(filter, group, newcomer);
    let sessions = &context.sessions;
    let (hog, evicted) = match room {
        Room::Free => return true,
        Room::None => return false,
        Room::FromOwner(hog) => {
            slice.spend(EVICTION_UNITS);
            let with_filters = |own: &Standing| {
                let has_any = own.filters.load(Ordering::Relaxed) > 0 && !own.is_evicted();
                has_any.then(|| own.worth())
            };
            let evicted = make_way(context, sessions, &hog, true, with_filters);
            (hog, evicted)
        }
        Room::FromSession(number) => {
            slice.spend(EVICTION_UNITS);
            let that_one = |own: &Standing| (own.session == number).then_some(());
            (newcomer.owner.clone(), make_way(context, sessions, &newcomer.owner, true, that_one))
        }
    };
    let Some(evicted) = evicted else { return false };
    // Its filters go a moment later, when its task runs.
    context.bus.subscriptions().evict(&evicted);
    context.bus.reached.note_gave_way(Limit::Filters, &hog, &newcomer.owner);
    true
}

/// Tells the session of `owner` in `roster` that ranks first to give way. `None` when there is none.
pub fn make_way<R: Ord>(
    context: &Context,
    roster: &Roster,
    owner: &Owner,
    ends_session: bool,
    rank: impl Fn(&Standing) -> Option<R>,
) -> Option<Arc<Standing>> {
    let is_told = |own: &Standing| if own.is_told() { None } else { rank(own) };
    roster.ranked(owner, is_told).into_iter().find(|first| {
        first.tell();
        context.registry.give_way(&first.keeper(), ends_session)
    })
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::super::peer::{Peer, UnderWay};
    use super::*;
    use crate::broker::bus::Bus;
    use crate::broker::codec::Version;
    use crate::broker::config::{Config, Limits};
    use crate::broker::limits::memory::MemoryKind;

    fn hello(address: IpAddr) -> Hello {
        let listener = "v5".into();
        let peer = Peer { address, listener, socket: 0, identity: None, under_way: UnderWay::default() };
        Hello {
            version: Version::V5,
            client_id: "c".to_owned(),
            is_clean: true,
            keep_alive_s: 0,
            expiry_asked_s: 0,
            expiry_s: 0,
            window: 1,
            packet_bytes_max: 1_024,
            aliases_max: 0,
            will: None,
            server_keep_alive_s: None,
            user: None,
            is_certified: false,
            is_local: true,
            owner: Owner::of(None, address),
            peer,
        }
    }

    #[test]
    fn whoever_there_is_no_memory_for_is_refused_before_anybody_makes_way() {
        const MEMORY_MAX: usize = 16 << 20;
        let limits = Limits { memory_max: Some(MEMORY_MAX), ..Limits::default() };
        let mut config = Config { limits, ..Config::without_listeners() };
        config.router.connections_max = 4;
        let (bus, _output) = Bus::start(&config).unwrap();
        let context = Context::new(config, bus);
        let [hog, other] = [2, 3].map(|host| IpAddr::from(Ipv4Addr::new(127, 0, 0, host)));
        let other_owner = Owner::of(None, other);
        let places: Vec<_> = (0..4).filter_map(|_| context.online.enter(&other_owner, 0)).collect();
        let standing = Standing::new(1, other_owner.clone());
        let _listed = context.connected.list(&other_owner, &standing);
        let holder = context.bus.memory.holder(Owner::of(None, hog), None);
        let _all = holder.charge(MemoryKind::Queues, MEMORY_MAX / 100 * 95);
        assert_eq!(admit(&context, &hello(hog)).err(), Some(Cause::Memory));
        assert!(!standing.is_told());
        assert_eq!(admit(&context, &hello(other)).err(), Some(Cause::Connections));
        drop(places);
        assert!(admit(&context, &hello(other)).is_ok());
        context.bus.end_router();
    }
}
