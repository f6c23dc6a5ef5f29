//! A client's arrival: from its first byte to its place among those that are online,
//! or to the word that refuses it.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::connection;
use super::handshake::{CONNECTING_BYTES, Fault, Refusal, connack, judge, read_connect};
use super::linger::{LINGER, linger};
use crate::broker::access::Action;
use crate::broker::codec::reason::Reason;
use crate::broker::config::ConnectionLimits;
use crate::broker::limits::charge::Charge;
use crate::broker::limits::memory::MemoryKind;
use crate::broker::limits::refused::Cause;
use crate::broker::limits::shares::{Owner, Place};
use crate::broker::limits::standing::{Keeper, Listed};
use crate::broker::session::Session;
use crate::broker::session::admission::{self, Seated};
use crate::broker::session::client::Client;
use crate::broker::session::context::Context;
use crate::broker::session::hello::{Arrived, Hello};
use crate::broker::session::input::READ_BLOCK_BYTES_FIRST;
use crate::broker::session::peer::Peer;
use crate::sync;

/// Serves one client over a stream, from CONNECT to the end.
pub async fn serve<R, W>(
    context: Arc<Context>,
    limits: ConnectionLimits,
    peer: Peer,
    mut reader: R,
    writer: W,
) where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut unread = BytesMut::with_capacity(READ_BLOCK_BYTES_FIRST);
    let socket = context.bus.memory.holder(Owner::of(None, peer.address), None);
    let mut charge = socket.charge(MemoryKind::Connections, CONNECTING_BYTES);
    let met = tokio::select! {
        met = meet(&context, &limits, &peer, &mut reader, &mut unread, &mut charge) => met,
        () = context.stopped() => return,
    };
    let met = match met {
        Ok(None) => {
            tracing::debug!(listener = %peer.listener, peer = %peer.address, "left before CONNECT");
            return linger(reader, writer, LINGER).await;
        }
        Ok(Some(hello)) => Ok(hello),
        Err(Late(refusal)) => {
            context.turns.take().await;
            return note_refusal(&context, &peer, &refusal);
        }
        Err(Refused(refusal)) => Err(refusal),
    };
    let admitted = met.and_then(|hello| match admission::admit(&context, &hello) {
        Ok(place) => Ok((hello, place)),
        Err(cause) => Err(Refusal::of(&hello, Reason::QUOTA_EXCEEDED, cause)),
    });
    match admitted {
        Ok((hello, place)) => {
            drop((charge, socket));
            context.addresses.note_arrived(peer.socket);
            let arrived = Arrived { unread, under_way: peer.under_way };
            run(context, limits, hello, arrived, reader, writer, place).await;
        }
        Err(refusal) => refuse(&context, &peer, &refusal, reader, writer).await,
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
    context: &Context,
    limits: &ConnectionLimits,
    peer: &Peer,
    reader: &mut R,
    unread: &mut BytesMut,
    charge: &mut Charge,
) -> Result<Option<Hello>, NotMet>
where
    R: AsyncRead + Unpin,
{
    let deadline = sync::after(Instant::now().into_std(), limits.connect_timeout).into();
    let read = tokio::time::timeout_at(deadline, read_connect(context, limits, reader, unread, charge)).await;
    let frame = read.map_err(|_| Late(Refusal::silent(Fault::late(unread.len()))))?;
    let Some(frame) = frame.map_err(Refused)? else { return Ok(None) };
    match tokio::time::timeout_at(deadline, judge(context, limits, peer, &frame)).await {
        Ok(judged) => judged.map(Some).map_err(Refused),
        Err(_late) => Err(Late(Refusal::silent(Fault::login_late()))),
    }
}

/// Counts and tells that the client is not let in.
fn note_refusal(context: &Context, peer: &Peer, refusal: &Refusal) {
    let who = peer.who(&refusal.client_id, &refusal.user);
    context.bus.refuse(refusal.fault.cause, &refusal.fault.why, &who, "");
}

async fn refuse<R, W>(context: &Context, peer: &Peer, refusal: &Refusal, reader: R, mut writer: W)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    note_refusal(context, peer, refusal);
    if !refusal.answer.is_empty() {
        context.traffic.sent.packets.add(1);
        context.traffic.sent.bytes.add(refusal.answer.len() as u64);
    }
    // The client may be gone already, and then needs no answer.
    let _gone = writer.write_all(&refusal.answer).await;
    linger(reader, writer, LINGER).await;
}

async fn run<R, W>(
    context: Arc<Context>,
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
    let assigned = hello.client_id.is_empty().then(|| context.assign_client_id());
    let client_id: Arc<str> = assigned.as_deref().unwrap_or(&hello.client_id).into();
    let acquired = context.registry.acquire(&client_id, hello.is_clean, hello.user.as_ref(), place).await;
    let Ok(mut acquired) = acquired else {
        let refusal = Refusal::of(&hello, Reason::CLIENT_ID_INVALID, Cause::ClientIdOfOther);
        return refuse(&context, &hello.peer, &refusal, reader, writer).await;
    };
    context.traffic.online_max.raise(context.online.taken() as u64);
    let is_present = acquired.session.is_some();
    let number = context.registry.next_number();
    let fresh = || Box::new(Session::new(number, hello.owner.clone()));
    let mut session = acquired.session.unwrap_or_else(fresh);
    let standing = session.live.standing.clone();
    let seated =
        Seated::new(&context, Keeper { client_id: client_id.clone(), generation: acquired.generation });
    standing.attach(seated.keeper().clone(), context.bus.now_ms());
    session.live.listed.get_or_insert_with(|| context.sessions.list(&standing.owner, &standing));
    let listed = context.connected.list(&hello.owner, &standing);
    let online = Online { since: Instant::now(), owner: hello.owner.clone(), seated, _listed: listed };
    session.expiry_s = hello.expiry_s;
    session.identity = hello.identity(client_id.clone());
    session.count_in(&context.bus.memory);
    let answer = connack(&context, &limits, &hello, is_present, assigned);
    let will = hello.will.take();
    let mut client = Client::new(context, client_id, &limits, &hello, session, arrived, Instant::now());
    client.will = will;
    let source = client.source(Action::Will);
    client.will.iter_mut().filter(|will| will.said.retain).for_each(|will| will.source = source.clone());
    if let (Some(will), Some(holder)) = (&mut client.will, &client.session.live.holder) {
        will.count_to(holder);
    }
    if client.context.config.tells_senders {
        let sender = client.session.identity.sender();
        client.will.iter_mut().for_each(|will| will.sender = Some(sender.clone()));
    }
    client.output.raw(&answer);
    let end = connection::serve(&mut client, &mut reader, &mut writer, &mut acquired.orders).await;
    drop(online);
    connection::finish(client, end, acquired.generation, acquired.orders, reader, writer).await;
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
        self.seated.context.acquaintances.note(&self.owner, self.since.elapsed());
    }
}
