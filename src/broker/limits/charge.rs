//! Who takes memory, and what for: a charge for each buffer, which is told what the buffer takes.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use super::memory::{Memory, MemoryKind};
use super::shares::Owner;
use super::standing::{Keeper, Standing};

/// A change of less is not passed on, nor is one of less than a part of what a buffer takes already.
pub const STEP_BYTES: usize = 4 * 1024;
const STEP_PART: usize = 32;

/// What waits for someone, and can be given up in part.
pub trait Waiting: Send + Sync {
    /// Whether nobody takes anything out of it any more.
    fn is_closed(&self) -> bool;

    /// Drops the older half of what waits, if that is much. Returns how many messages that were.
    fn give_up_half(&self) -> u64;
}

/// Someone who takes memory, with any number of charges.
pub struct Holder {
    memory: Arc<Memory>,
    pub owner: Owner,
    /// Who can be told to give way, if anybody can.
    pub standing: Option<Arc<Standing>>,
    number: u64,
    held: AtomicUsize,
    /// Whom of those who had the session it was that was told to give way. 0 when nobody was.
    asked: AtomicU64,
    /// What was published for it and it has not taken.
    waiting: OnceLock<Weak<dyn Waiting>>,
    /// For the messages of the same owner that are retained.
    retained: OnceLock<Arc<Holder>>,
}

impl Holder {
    pub fn new(memory: Arc<Memory>, owner: Owner, standing: Option<Arc<Standing>>, number: u64) -> Arc<Self> {
        Arc::new(Self {
            memory,
            owner,
            standing,
            number,
            held: AtomicUsize::new(0),
            asked: AtomicU64::new(0),
            waiting: OnceLock::new(),
            retained: OnceLock::new(),
        })
    }

    /// What all of its charges take.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// The keeper of its session has been told to give way.
    pub fn note_asked(&self, keeper: &Keeper) {
        self.asked.store(keeper.generation, Ordering::Relaxed);
    }

    /// Whether it has been told to give way, and ends. One whom another connection takes
    /// the session over from does not do it.
    pub fn is_asked(&self) -> bool {
        let asked = self.asked.load(Ordering::Relaxed);
        asked != 0 && self.standing.as_ref().is_some_and(|standing| standing.keeper().generation == asked)
    }

    /// What is published for it waits there.
    pub fn set_waiting(&self, waiting: Weak<dyn Waiting>) {
        // A session has one queue for its whole life.
        self.waiting.get_or_init(|| waiting);
    }

    /// `None` once the session has ended.
    pub fn waiting(&self) -> Option<Arc<dyn Waiting>> {
        self.waiting.get().and_then(Weak::upgrade).filter(|waiting| !waiting.is_closed())
    }

    /// Who takes what is retained of its messages: they outlive it, and are given up otherwise.
    pub fn of_retained(&self) -> &Arc<Holder> {
        self.retained.get_or_init(|| self.memory.holder(self.owner.clone(), None))
    }

    /// Whether it may take more.
    pub fn may_grow(&self) -> bool {
        self.memory.may_grow(&self.owner)
    }

    /// A charge for something that takes `bytes`.
    pub fn charge(self: &Arc<Self>, kind: MemoryKind, bytes: usize) -> Charge {
        let mut charge = Charge { holder: Some((self.clone(), kind)), noted: 0 };
        charge.note(bytes);
        charge
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.memory.forget(self.number);
    }
}

/// What one buffer takes. Dropped, it takes nothing any more. The default counts nowhere.
#[derive(Default)]
pub struct Charge {
    holder: Option<(Arc<Holder>, MemoryKind)>,
    noted: usize,
}

impl Charge {
    /// The buffer takes this now.
    pub fn set(&mut self, bytes: usize) {
        if bytes.abs_diff(self.noted) >= STEP_BYTES.max(self.noted / STEP_PART) {
            self.note(bytes);
        }
    }

    /// Whether the buffer may take this.
    pub fn may_be(&self, bytes: usize) -> bool {
        self.covers(bytes) || self.holder.as_ref().is_none_or(|(holder, _)| holder.may_grow())
    }

    /// Whom it is counted to.
    pub fn owner(&self) -> Owner {
        self.holder.as_ref().map(|(holder, _)| holder.owner.clone()).unwrap_or_default()
    }

    /// Whether this holder is whom it is counted to.
    pub fn is_of(&self, holder: &Arc<Holder>) -> bool {
        self.holder.as_ref().is_some_and(|(own, _)| Arc::ptr_eq(own, holder))
    }

    /// Counts what was not taken, or given up, where it would have counted.
    pub fn note_refused(&self, count: u64) {
        if let Some((holder, _)) = &self.holder {
            holder.memory.note_refused(count);
        }
    }

    /// Whether this is no more than what is counted already, or so little more that it is not passed on.
    pub fn covers(&self, bytes: usize) -> bool {
        bytes < self.noted + STEP_BYTES
    }

    fn note(&mut self, bytes: usize) {
        let Some((holder, kind)) = &self.holder else { return };
        if bytes >= self.noted {
            holder.held.fetch_add(bytes - self.noted, Ordering::Relaxed);
        } else {
            holder.held.fetch_sub(self.noted - bytes, Ordering::Relaxed);
        }
        holder.memory.change(&holder.owner, *kind, self.noted, bytes);
        self.noted = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.noted > 0 {
            self.note(0);
        }
    }
}
