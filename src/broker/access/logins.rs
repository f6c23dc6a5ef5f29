//! Passwords are checked on a thread of their own, because that takes tens of milliseconds on purpose.
//!
//! The I/O thread never hashes, and neither does the thread that makes router links. What was right
//! once is remembered, so that a thousand devices that come back at once are not a thousand hashes.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::sync::oneshot;

use super::login_queue::{Busy, LoginQueue};
use super::password::StoredPassword;
use crate::sync::lock;

/// Logins that wait to be checked; for a further one the last of the address with
/// most of them is told to come again, or itself.
const LOGINS_WAITING_MAX: usize = 64;
/// Right logins that are remembered; beyond, the oldest is forgotten.
const REMEMBERED_LOGINS_MAX: usize = 4_096;

/// A login fingerprint: nothing can be learnt from it without the key, which never leaves the process.
type Fingerprint = [u8; 32];

struct Job {
    stored: StoredPassword,
    password: String,
    answer: oneshot::Sender<bool>,
}

#[derive(Default)]
struct Remembered {
    known: HashSet<Fingerprint>,
    oldest_first: VecDeque<Fingerprint>,
}

/// Checks passwords.
pub struct Logins {
    jobs: Arc<LoginQueue<Job>>,
    /// As long as a block of the hash, which is what HMAC takes as it is.
    key: [u8; 64],
    remembered: Mutex<Remembered>,
}

impl Logins {
    /// Starts the thread; it ends when this is dropped.
    pub fn start() -> io::Result<Self> {
        let jobs = Arc::new(LoginQueue::new(LOGINS_WAITING_MAX));
        let queue = jobs.clone();
        std::thread::Builder::new().name("mqtt-login".to_owned()).spawn(move || check_all(&queue))?;
        Ok(Self { jobs, key: rand::random(), remembered: Mutex::default() })
    }

    /// Whether `password`, which came from `peer`, is what is `stored` for `user`.
    pub async fn check(
        &self,
        peer: IpAddr,
        user: &str,
        password: &str,
        stored: &StoredPassword,
    ) -> Result<bool, Busy> {
        let fingerprint = self.fingerprint(&[user, password, &stored.to_string()]);
        if lock(&self.remembered).known.contains(&fingerprint) {
            return Ok(true);
        }
        let is_right = self.hash(peer, password, stored).await?;
        if is_right {
            lock(&self.remembered).add(fingerprint);
        }
        Ok(is_right)
    }

    /// Checks a password that cannot be right, for as long as that takes.
    pub async fn pretend(&self, peer: IpAddr, password: &str, decoy: &StoredPassword) -> Result<(), Busy> {
        self.hash(peer, password, decoy).await.map(drop)
    }

    /// A number that is always the same for this name, and that nobody outside can foresee.
    pub fn number_of(&self, name: &str) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.fingerprint(&[name])[..8]);
        u64::from_le_bytes(first)
    }

    async fn hash(&self, peer: IpAddr, password: &str, stored: &StoredPassword) -> Result<bool, Busy> {
        let (answer, checked) = oneshot::channel();
        let job = Job { stored: stored.clone(), password: password.to_owned(), answer };
        self.jobs.put(peer, job)?;
        checked.await.map_err(|_| Busy)
    }

    fn fingerprint(&self, parts: &[&str]) -> Fingerprint {
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        for part in parts {
            // With its length in front, so that no two lists of parts are written the same way.
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }
}

impl Remembered {
    fn add(&mut self, fingerprint: Fingerprint) {
        if !self.known.insert(fingerprint) {
            return;
        }
        self.oldest_first.push_back(fingerprint);
        if self.oldest_first.len() > REMEMBERED_LOGINS_MAX
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

impl Drop for Logins {
    fn drop(&mut self) {
        self.jobs.close();
    }
}

fn check_all(queue: &LoginQueue<Job>) {
    while let Some(job) = queue.take() {
        // A client that has given up needs no hash.
        if !job.answer.is_closed() {
            let is_right = job.stored.is(job.password.as_bytes());
            // It may give up meanwhile.
            let _gone = job.answer.send(is_right);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn stored(password: &str) -> StoredPassword {
        StoredPassword::new(password).unwrap()
    }

    #[tokio::test]
    async fn a_right_login_is_remembered_until_the_password_changes() {
        let logins = Logins::start().unwrap();
        let (old, new) = (stored("old"), stored("new"));
        assert!(logins.check(PEER, "a", "old", &old).await.is_ok_and(|is_right| is_right));
        assert!(logins.check(PEER, "a", "wrong", &old).await.is_ok_and(|is_right| !is_right));
        assert_eq!(lock(&logins.remembered).known.len(), 1);
        assert!(logins.check(PEER, "a", "old", &old).await.is_ok_and(|is_right| is_right));
        assert!(logins.check(PEER, "a", "old", &new).await.is_ok_and(|is_right| !is_right));
        assert!(logins.check(PEER, "b", "old", &new).await.is_ok_and(|is_right| !is_right));
    }

    #[test]
    fn only_so_many_logins_are_remembered() {
        let mut remembered = Remembered::default();
        for number in 0..=REMEMBERED_LOGINS_MAX {
            let mut fingerprint = [0; 32];
            fingerprint[..8].copy_from_slice(&number.to_le_bytes());
            remembered.add(fingerprint);
            remembered.add(fingerprint);
        }
        assert_eq!(remembered.known.len(), REMEMBERED_LOGINS_MAX);
        assert_eq!(remembered.oldest_first.len(), REMEMBERED_LOGINS_MAX);
        assert!(!remembered.known.contains(&[0; 32]), "the oldest is forgotten");
    }

    #[test]
    fn parts_that_are_split_otherwise_are_another_login() {
        let logins = Logins::start().unwrap();
        assert_ne!(logins.fingerprint(&["ab", "c"]), logins.fingerprint(&["a", "bc"]));
        assert_eq!(logins.number_of("a"), logins.number_of("a"));
    }
}
