//! The model in force: where workers and guests get it from, and how another one takes its place (hot swap).
//!
//! Whoever calls a model compares the number of his own with that of the one in force between two
//! batches, which costs him one load, and fetches the other where they differ: so a batch has one
//! model and one author, nobody stops, and what waits is answered by whichever is there when its turn comes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::detection::Memory;
use crate::inference::Author;
use crate::model::{Detector, Model, ModelInfo};
use crate::sync::lock;

/// A model as often as it is needed at once: for each worker, and one to copy for those who come later.
pub struct Copies {
    info: Arc<ModelInfo>,
    /// What all of them know of devices, if they remember.
    memory: Option<Memory>,
    models: Vec<Box<dyn Model>>,
    /// `None` when there can be one only.
    spare: Option<Box<dyn Model>>,
}

impl Copies {
    /// The detector's model for so many workers; `None` when they are several and it cannot be copied.
    pub fn of(detector: Detector, workers: usize) -> Option<Self> {
        let (info, model) = detector.into_parts();
        Self::made_of(Arc::new(info), model, workers)
    }

    /// A copy of this model, for so many other workers elsewhere; `None` when it cannot be copied. What it
    /// learns is its own: a request that both are asked would teach it twice.
    pub fn again(&self, workers: usize) -> Option<Self> {
        Self::made_of(Arc::clone(&self.info), self.spare.as_ref()?.apart()?, workers)
    }

    fn made_of(info: Arc<ModelInfo>, model: Box<dyn Model>, workers: usize) -> Option<Self> {
        let mut models = (1..workers).map(|_| model.replica()).collect::<Option<Vec<_>>>()?;
        let (spare, memory) = (model.replica(), model.memory().cloned());
        models.push(model);
        Some(Self { info, memory, models, spare })
    }

    /// What is known about the model.
    pub fn info(&self) -> &Arc<ModelInfo> {
        &self.info
    }

    fn takes_guests(&self) -> bool {
        self.spare.as_ref().is_some_and(|model| model.is_prompt())
    }
}

/// A model that one thread owns, and who its predictions are by.
pub struct Owned {
    pub model: Box<dyn Model>,
    pub by: Arc<Author>,
    pub info: Arc<ModelInfo>,
}

/// The model in force.
pub struct InForce {
    stock: Mutex<Stock>,
    /// Its author's, to be compared without the lock.
    revision: AtomicU64,
    /// Whether it is prompt and can be copied, so that a guest may have it.
    takes_guests: AtomicBool,
    /// Where all of them stand.
    placement: String,
}

struct Stock {
    by: Arc<Author>,
    copies: Copies,
}

impl InForce {
    /// The first one, at `placement`.
    pub fn new(placement: &str, copies: Copies) -> Self {
        Self {
            revision: AtomicU64::new(0),
            takes_guests: AtomicBool::new(copies.takes_guests()),
            stock: Mutex::new(Stock { by: author(placement, &copies.info, 0), copies }),
            placement: placement.to_owned(),
        }
    }

    /// Puts another one in its place, and returns its number.
    pub fn exchange(&self, copies: Copies) -> u64 {
        let mut stock = self.lock();
        let revision = stock.by.revision + 1;
        // The same detector, loaded again, goes on with the devices that it knows.
        if let (Some(memory), Some(before)) = (&copies.memory, &stock.copies.memory) {
            memory.take_over(before);
        }
        self.takes_guests.store(copies.takes_guests(), Ordering::Release);
        let by = author(&self.placement, &copies.info, revision);
        let before = std::mem::replace(&mut *stock, Stock { by, copies });
        // After the stock: whoever sees the new number finds the new model when he asks for it.
        self.revision.store(revision, Ordering::Release);
        drop(stock);
        // Not under the lock: a model may take its time to go.
        drop(before);
        revision
    }

    /// The number of the one in force.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Whether a guest may have it.
    pub fn takes_guests(&self) -> bool {
        self.takes_guests.load(Ordering::Acquire)
    }

    /// What is known about it.
    pub fn info(&self) -> Arc<ModelInfo> {
        Arc::clone(&self.lock().copies.info)
    }

    /// What it knows of devices, if it remembers.
    pub fn memory(&self) -> Option<Memory> {
        self.lock().copies.memory.clone()
    }

    /// Whether [`take`](Self::take) has something to give.
    pub fn has_one(&self) -> bool {
        let stock = self.lock();
        let Copies { models, spare, .. } = &stock.copies;
        !models.is_empty() || spare.is_some()
    }

    /// The model for one more thread; `None` where there can be one only and it is taken.
    pub fn take(&self) -> Option<Owned> {
        let mut stock = self.lock();
        let Copies { models, spare, info, .. } = &mut stock.copies;
        // A copy that panics must not take a worker and its batch with it.
        let copy = || catch_unwind(AssertUnwindSafe(|| spare.as_ref()?.replica())).ok().flatten();
        let model = models.pop().or_else(copy)?;
        let info = Arc::clone(info);
        Some(Owned { model, by: Arc::clone(&stock.by), info })
    }

    fn lock(&self) -> MutexGuard<'_, Stock> {
        // What can panic under the lock is caught there, so a poisoned one still holds a sound stock.
        lock(&self.stock)
    }
}

fn author(placement: &str, info: &ModelInfo, revision: u64) -> Arc<Author> {
    Arc::new(Author {
        placement: placement.to_owned(),
        model: info.name.clone(),
        version: info.version.clone(),
        threshold: info.threshold,
        revision,
        detects: info.detection.as_ref().map(|_| info.feature_names().into()),
    })
}
