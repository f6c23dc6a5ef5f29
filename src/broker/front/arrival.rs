//! A client's arrival: from its first byte to its place among those that are online,
//! or to the word that refuses it.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::handshake::{CONNECTING_BYTES, Fault, Hello, Refusal, connack, judge, read_connect};
use super::server::Server;
use crate::broker::access::Action;
use crate::broker::codec::reason::Reason;
use crate::broker::config::ConnectionLimits;
use crate::broker::limits::memory::{Charge, MemoryKind};
use crate::broker::limits::refused::Cause;
use crate::broker::limits::shares::{Owner, Place};
use crate::broker::limits::standing::{Keeper, Listed};
use crate::broker::session::Session;
use crate::broker::session::admission::{self, Seated};
use crate::broker::session::client::{Connection, READ_BLOCK_BYTES_FIRST};
use crate::broker::session::ending::{LINGER, linger};
use crate::broker::session::peer::{Peer, UnderWay};

/// What a client has sent that nothing has been made of yet.
pub struct Arrived {
    pub unread: BytesMut,
    pub under_way: UnderWay,
}

/// Serves one client over a stream, from CONNECT to the end.
pub async fn serve<R, W>(server: Arc<Server>, limits: ConnectionLimits, peer: Peer, mut reader: R, writer: W)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut unread = BytesMut::with_capacity(READ_BLOCK_BYTES_FIRST);
    let socket = server.bus.memory.holder(Owner::of(None, peer.address), None);
    let mut charge = socket.charge(MemoryKind::Connections, CONNECTING_BYTES);
    let met = tokio::select! {
        met = meet(&server, &limits, &peer, &mut reader, &mut unread, &mut charge) => met,
        () = server.stopped() => return,
    };
    let met = match met {
        Ok(None) => {
            tracing::debug!(listener = %peer.listener, peer = %peer.address, "left before CONNECT");
            return linger(reader, writer, LINGER).await;
        }
        Ok(Some(hello)) => Ok(hello),
        Err(Late(refusal)) => {
            server.turns.take().await;
            return note_refusal(&server, &peer, &refusal);
        }
        Err(Refused(refusal)) => Err(refusal),
    };
    let admitted = met.and_then(|hello| match admission::admit(&server, &hello) {
        Ok(place) => Ok((hello, place)),
        Err(cause) => Err(Refusal::of(&hello, Reason::QUOTA_EXCEEDED, cause)),
    });
    match admitted {
        Ok((hello, place)) => {
            drop((charge, socket));
            server.addresses.note_arrived(peer.socket);
            let arrived = Arrived { unread, under_way: peer.under_way };
            run(server, limits, hello, arrived, reader, writer, place).await;
        }
        Err(refusal) => refuse(&server, &peer, &refusal, reader, writer).await,
    }
}

/// Why a client does not come to be one.
enum NotMet {
    /// It has to be told.
    Refused(Refusal),
    /// It has had its time: the socket is closed without a word.
    Late(Refusal),
}

use NotMet::{Late, Refused};

/// Hears the client's CONNECT and judges it, in the time for both. `None` when it has left before.
async fn meet<R>(
    server: &Server,
    limits: &ConnectionLimits,
    peer: &Peer,
    reader: &mut R,
    unread: &mut BytesMut,
    charge: &mut Charge,
) -> Result<Option<Hello>, NotMet>
where
    R: AsyncRead + Unpin,
{
    let deadline = Instant::now() + limits.connect_timeout;
    let read = tokio::time::timeout_at(deadline, read_connect(server, limits, reader, unread, charge)).await;
    let frame = read.map_err(|_| Late(Refusal::silent(Fault::late(unread.len()))))?;
    let Some(frame) = frame.map_err(Refused)? else { return Ok(None) };
    match tokio::time::timeout_at(deadline, judge(server, limits, peer, &frame)).await {
        Ok(judged) => judged.map(Some).map_err(Refused),
        Err(_late) => Err(Late(Refusal::silent(Fault::login_late()))),
    }
}

/// Counts and tells that the client is not let in.
fn note_refusal(server: &Server, peer: &Peer, refusal: &Refusal) {
    let who = peer.who(&refusal.client_id, &refusal.user);
    server.bus.refuse(refusal.fault.cause, &refusal.fault.why, &who, "");
}

async fn refuse<R, W>(server: &Server, peer: &Peer, refusal: &Refusal, reader: R, mut writer: W)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    note_refusal(server, peer, refusal);
    if !refusal.answer.is_empty() {
        server.traffic.sent.packets.add(1);
        server.traffic.sent.bytes.add(refusal.answer.len() as u64);
    }
    // The client may be gone already, and then needs no answer.
    let _gone = writer.write_all(&refusal.answer).await;
    linger(reader, writer, LINGER).await;
}

async fn run<R, W>(
    server: Arc<Server>,
    limits: ConnectionLimits,
    mut hello: Hello,
    arrived: Arrived,
    mut reader: R,
    mut writer: W,
    place: Place,
) where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let assigned = hello.client_id.is_empty().then(|| server.assign_client_id());
    let client_id: Arc<str> = assigned.as_deref().unwrap_or(&hello.client_id).into();
    let acquired = server.registry.acquire(&client_id, hello.is_clean, hello.user.as_ref(), place).await;
    let Ok(mut acquired) = acquired else {
        let refusal = Refusal::of(&hello, Reason::CLIENT_ID_INVALID, Cause::ClientIdOfOther);
        return refuse(&server, &hello.peer, &refusal, reader, writer).await;
    };
    server.traffic.online_max.raise(server.online.taken() as u64);
    let is_present = acquired.session.is_some();
    let number = server.registry.next_number();
    let fresh = || Box::new(Session::new(number, hello.owner.clone()));
    let mut session = acquired.session.unwrap_or_else(fresh);
    let standing = session.standing.clone();
    let seated =
        Seated::new(&server, Keeper { client_id: client_id.clone(), generation: acquired.generation });
    standing.attach(seated.keeper().clone(), server.bus.now_ms());
    session.listed.get_or_insert_with(|| server.sessions.list(&standing.owner, &standing));
    let listed = server.connected.list(&hello.owner, &standing);
    let online = Online { since: Instant::now(), owner: hello.owner.clone(), seated, _listed: listed };
    session.expiry_s = hello.expiry_s;
    session.identity = hello.identity(client_id.clone());
    session.count_in(&server.bus.memory);
    let answer = connack(&server, &limits, &hello, is_present, assigned);
    let will = hello.will.take();
    let mut connection = Connection::new(server, client_id, &limits, &hello, session, arrived);
    connection.will = will;
    let source = connection.source(Action::Will);
    connection.will.iter_mut().filter(|will| will.retain).for_each(|will| will.source = source.clone());
    if let (Some(will), Some(holder)) = (&mut connection.will, &connection.session.holder) {
        will.count_to(holder);
    }
    if connection.server.config.tells_senders {
        let sender = connection.session.identity.sender();
        connection.will.iter_mut().for_each(|will| will.sender = Some(sender.clone()));
    }
    connection.output.raw(&answer);
    let end = connection.serve_until_end(&mut reader, &mut writer, &mut acquired.orders).await;
    drop(online);
    connection.finish(end, acquired.generation, acquired.orders, reader, writer).await;
}

/// A client's place among those that are online, while it lives.
struct Online {
    since: Instant,
    owner: Owner,
    seated: Seated,
    _listed: Listed,
}

impl Drop for Online {
    fn drop(&mut self) {
        self.seated.server.acquaintances.note(&self.owner, self.since.elapsed());
    }
}
