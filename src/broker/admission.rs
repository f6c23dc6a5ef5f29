//! Who may be online, and whose session is kept: places that all clients share, given by shares.

use super::handshake::Hello;
use super::reached::Limit;
use super::server::Server;
use super::shares::{Owner, Place};
use super::standing::{Keeper, Roster, Standing, Worth};
use std::sync::Arc;

/// One place in so many is kept for owners that the broker knows: users, those who are online or have a session, and those who
/// were online lately. However many strangers come with one connection each, these get in.
const RESERVED_ONE_IN: usize = 20;

/// A client's place, until its connection or session gives it up.
pub(super) struct Seated {
    pub server: Arc<Server>,
    keeper: Keeper,
}

impl Seated {
    pub fn new(server: &Arc<Server>, keeper: Keeper) -> Self {
        Self { server: server.clone(), keeper }
    }

    /// Whose it is.
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        self.server.registry.seat(&self.keeper, None);
    }
}

/// A place among the clients that are online; `None` when there is none, not even of an owner who has more.
pub(super) fn admit(server: &Server, hello: &Hello) -> Option<Place> {
    let (online, owner) = (&server.online, &hello.owner);
    let kept_free = if is_known(server, hello) { 0 } else { online.places_max() / RESERVED_ONE_IN };
    let own = || server.registry.take_place(&hello.client_id, hello.user.as_ref(), online);
    if let Some(place) = online.enter(owner, kept_free).or_else(own) {
        return Some(place);
    }
    let hog = online.gives_way(owner)?;
    // The one that idles longest.
    if !make_way(server, &server.connected, &hog, false, |_| Some(())) {
        return None;
    }
    server.bus.reached.note_gave_way(Limit::Connections, &hog, owner);
    online.enter(owner, 0)
}

fn is_known(server: &Server, hello: &Hello) -> bool {
    matches!(hello.owner, Owner::User(_))
        || server.online.has(&hello.owner)
        || server.parked.has(&hello.owner)
        || server.registry.knows(&hello.client_id, hello.user.as_ref())
        || server.acquaintances.has(&hello.owner)
}

/// A place among the sessions that are kept for clients that are away; `None` when there is none.
pub(super) fn keep(server: &Server, standing: &Standing) -> Option<Place> {
    let (parked, owner) = (&server.parked, &standing.owner);
    if let Some(place) = parked.enter(owner, 0) {
        return Some(place);
    }
    let gives_way = |hog: &Owner, below: Option<Worth>| {
        let rank = |other: &Standing| {
            let worth = other.worth();
            (worth != Worth::Online && below.is_none_or(|below| worth < below)).then_some(worth)
        };
        let has_given_way = make_way(server, &server.sessions, hog, true, rank);
        has_given_way.then(|| server.bus.reached.note_gave_way(Limit::ParkedSessions, hog, owner))
    };
    let hog = parked.gives_way(owner);
    // Among an owner's own sessions only one that is worth less gives way: whoever floods the broker with sessions that nothing
    // waits for ends no session of his neighbours behind the same address that has subscribed to something, or holds messages.
    hog.and_then(|hog| gives_way(&hog, None)).or_else(|| gives_way(owner, Some(standing.worth())))?;
    parked.enter(owner, 0)
}

/// Tells the session of `owner` in `roster` that ranks first to give way. Whether there is one.
pub(super) fn make_way<R: Ord>(
    server: &Server,
    roster: &Roster,
    owner: &Owner,
    ends_session: bool,
    rank: impl Fn(&Standing) -> Option<R>,
) -> bool {
    let is_told = |own: &Standing| if own.is_told() { None } else { rank(own) };
    while let Some(first) = roster.first(owner, is_told) {
        first.tell();
        if server.registry.give_way(&first.keeper(), ends_session) {
            return true;
        }
    }
    false
}
