//! Hashing passwords without letting it take the server down: as many at a time as there are cores,
//! on threads of their own that let everything else go first, a short queue, and a refusal beyond it.

#[cfg(debug_assertions)]
use std::sync::Arc;
use std::{
    borrow::Cow,
    collections::BTreeSet,
    hint::black_box,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::available_parallelism,
};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::oneshot;
use wire::api::Hidden;

use super::{
    errors::Busy,
    metrics::{Stopwatch, durations},
    password_rules::normal,
    workers::Workers,
};
use crate::config::{HashKind, Password};

/// How many may wait for each core. A hash takes some tens of milliseconds, so the last in the
/// queue waits about a second; with bcrypt at cost 12, eight.
const WAITING_PER_CORE: usize = 32;

/// What bcrypt looks at, in bytes; its own terminator is one more.
const BCRYPT_MAX: usize = 71;

#[derive(Debug)]
pub(super) struct Passwords {
    method: Method,
    /// Each kind of hash that accounts have, as [`kind_of`] tells it: today's, and those of people who
    /// have not signed in since hashes are made otherwise.
    kinds: Mutex<BTreeSet<String>>,
    workers: Workers,
    waiting: AtomicUsize,
    max_waiting: usize,
    durations: Histogram,
    /// What the work was that sign-ins took, for the test that compares it. Release builds keep none.
    #[cfg(debug_assertions)]
    done: Arc<Mutex<Vec<String>>>,
}

/// How new passwords are hashed.
#[derive(Debug, Clone, Copy)]
struct Method {
    kind: HashKind,
    bcrypt_cost: u32,
}

impl Passwords {
    /// Threads that hash as configured, for accounts whose hashes are made so too.
    pub(super) fn new(config: &Password) -> Self {
        let method = Method { kind: config.hash, bcrypt_cost: config.bcrypt_cost };
        let cores = available_parallelism().map_or(2, usize::from);
        Self {
            method,
            kinds: Mutex::new(BTreeSet::from([method.today()])),
            workers: Workers::start("password", cores),
            waiting: AtomicUsize::new(0),
            max_waiting: cores * WAITING_PER_CORE,
            durations: durations(),
            #[cfg(debug_assertions)]
            done: Arc::default(),
        }
    }

    /// Hashes a password for keeping: `$argon2id$…` or `$2b$…`.
    pub(super) async fn hash(&self, password: Hidden) -> Result<String, Busy> {
        let method = self.method;
        self.work(move || method.hash(&normal(&password.0))).await
    }

    /// Whether `password` is the one that `hash` was made from; without a hash the answer is no. It is
    /// the work of one hash of each kind that accounts have, whosever this is: how long it takes tells
    /// neither that there is an account, nor that its hash is an old one.
    pub(super) async fn verify(
        &self,
        password: Hidden,
        hash: Option<String>,
    ) -> Result<bool, Busy> {
        let kinds = {
            let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
            kinds.extend(hash.as_deref().map(|hash| kind_of(hash).to_owned()));
            kinds.clone()
        };
        #[cfg(debug_assertions)]
        let done = Arc::clone(&self.done);
        self.work(move || {
            let password = normal(&password.0);
            let mut right = false;
            for kind in kinds {
                match hash.as_deref().filter(|hash| kind_of(hash) == kind) {
                    Some(hash) => right = matches(&password, hash),
                    None => drop(black_box(matches(&password, &nobodys(&kind)))),
                }
                #[cfg(debug_assertions)]
                done.lock().unwrap_or_else(PoisonError::into_inner).push(kind);
            }
            right
        })
        .await
    }

    /// Takes over which kinds of hash there are: one hash of each is given.
    pub(super) fn know(&self, hashes: &[String]) {
        let mut kinds = BTreeSet::from([self.method.today()]);
        kinds.extend(hashes.iter().map(|hash| kind_of(hash).to_owned()));
        *self.kinds.lock().unwrap_or_else(PoisonError::into_inner) = kinds;
    }

    /// With which function and parameters passwords were verified since the last time.
    #[cfg(debug_assertions)]
    pub(super) fn take_done(&self) -> Vec<String> {
        std::mem::take(&mut self.done.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether any of `hashes` was made from `password`.
    pub(super) async fn is_one_of(
        &self,
        password: Hidden,
        hashes: Vec<String>,
    ) -> Result<bool, Busy> {
        self.work(move || {
            let password = normal(&password.0);
            hashes.iter().any(|hash| matches(&password, hash))
        })
        .await
    }

    /// Whether `hash` was made otherwise than hashes are made now.
    pub(super) fn is_outdated(&self, hash: &str) -> bool {
        kind_of(hash) != self.method.today()
    }

    /// How long hashing took, with the wait before it.
    pub(super) fn durations(&self) -> &Histogram {
        &self.durations
    }

    /// How many are hashed or wait for it, and how many may.
    pub(super) fn queue(&self) -> (u64, u64) {
        (self.waiting.load(Ordering::SeqCst) as u64, self.max_waiting as u64)
    }

    async fn work<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let _place = Place::take(&self.waiting, self.max_waiting)?;
        let watch = Stopwatch::start();
        let (tell, told) = oneshot::channel();
        // Whoever gave up waiting is told nothing.
        self.workers.run(move || drop(tell.send(job())));
        let done = told.await.map_err(|_| Busy)?;
        watch.tell(&self.durations);
        Ok(done)
    }
}

/// How today's argon2id hashes begin.
const ARGON2_NOW: &str = "$argon2id$v=19$m=19456,t=2,p=1";

impl Method {
    /// The kind of the hashes that it makes.
    fn today(self) -> String {
        match self.kind {
            HashKind::Argon2id => ARGON2_NOW.to_owned(),
            HashKind::Bcrypt => format!("$2b${:02}", self.bcrypt_cost),
        }
    }

    fn hash(self, password: &str) -> String {
        match self.kind {
            HashKind::Argon2id => {
                let salt: [u8; 16] = rand::random();
                Argon2::default()
                    .hash_password_with_salt(password.as_bytes(), &salt)
                    .expect("the default parameters are valid and the salt is long enough")
                    .to_string()
            }
            HashKind::Bcrypt => {
                bcrypt::non_truncating_hash(for_bcrypt(password).as_ref(), self.bcrypt_cost)
                    .expect("the cost was checked, and what is longer was shortened")
            }
        }
    }
}

/// How a hash was made, which is how much work it is: all of it but salt and digest.
fn kind_of(hash: &str) -> &str {
    let fields = if hash.starts_with("$2") { 2 } else { 3 };
    let end = hash.match_indices('$').nth(fields).map_or(hash.len(), |(at, _)| at);
    &hash[..end]
}

/// A hash of that kind which is nobody's: salt and digest are zeros.
fn nobodys(kind: &str) -> String {
    if kind.starts_with("$2") {
        return format!("{kind}${:.<53}", "");
    }
    format!("{kind}${:A<22}${:A<43}", "", "")
}

fn matches(password: &str, hash: &str) -> bool {
    if hash.starts_with("$2") {
        return bcrypt::verify(for_bcrypt(password).as_ref(), hash).unwrap_or(false);
    }
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

/// What bcrypt hashes: the password, or a digest in base64 of one that it would cut.
fn for_bcrypt(password: &str) -> Cow<'_, [u8]> {
    if password.len() <= BCRYPT_MAX {
        return Cow::Borrowed(password.as_bytes());
    }
    let key = hmac::Key::new(hmac::HMAC_SHA384, b"fleetd password of more than 71 bytes");
    let digest = hmac::sign(&key, password.as_bytes());
    Cow::Owned(STANDARD_NO_PAD.encode(digest).into_bytes())
}

/// A place in the queue, given up when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, max: usize) -> Result<Self, Busy> {
        let before = waiting.fetch_add(1, Ordering::SeqCst);
        let place = Self(waiting);
        if before >= max { Err(Busy) } else { Ok(place) }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word() -> Hidden {
        Hidden("correct horse".to_owned())
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_an_empty_one_admits_again() {
        let passwords = Passwords { max_waiting: 1, ..Passwords::new(&Password::default()) };
        let (first, second) = tokio::join!(passwords.hash(word()), passwords.hash(word()));
        assert_eq!((first.is_ok(), second), (true, Err(Busy)));
        let hash = passwords.hash(word()).await.unwrap();
        assert!(hash.starts_with(ARGON2_NOW), "{hash}");
        assert!(!passwords.is_outdated(&hash));
        assert_eq!(passwords.verify(word(), Some(hash)).await, Ok(true));
        assert_eq!(passwords.verify(word(), None).await, Ok(false));
    }

    /// The work of the hash which is nobody's is no less than that of one which is somebody's.
    #[test]
    fn a_hash_of_nobody_is_read_like_any_other() {
        let argon2 = PasswordHash::new(&nobodys(ARGON2_NOW)).unwrap();
        assert_eq!(argon2.hash.map(|it| it.len()), Some(32));
        assert!(bcrypt::verify("anything", &nobodys("$2b$04")).is_ok_and(|right| !right));
        let bcrypt: bcrypt::HashParts = nobodys("$2b$04").parse().unwrap();
        assert_eq!(bcrypt.get_cost(), 4);
    }

    #[tokio::test]
    async fn bcrypt_cuts_nothing_and_tells_its_cost() {
        let cheap = Password { hash: HashKind::Bcrypt, bcrypt_cost: 4, ..Password::default() };
        let passwords = Passwords::new(&cheap);
        for length in [1, 70, 71, 72, 73, 128] {
            let password = "ä".repeat(length);
            let hash = passwords.hash(Hidden(password.clone())).await.unwrap();
            assert!(hash.starts_with("$2b$04$") && !passwords.is_outdated(&hash), "{hash}");
            let check = async |text: String| {
                passwords.verify(Hidden(text), Some(hash.clone())).await.unwrap()
            };
            assert!(check(password.clone()).await);
            assert!(!check(format!("{password}x")).await);
            assert!(!check(password[2..].to_owned()).await);
        }
        let dearer = Passwords::new(&Password { bcrypt_cost: 5, ..cheap });
        let old = passwords.hash(word()).await.unwrap();
        assert!(dearer.is_outdated(&old));
        assert_eq!(dearer.verify(word(), Some(old)).await, Ok(true));
        let argon2 = Passwords::new(&Password::default()).hash(word()).await.unwrap();
        assert!(dearer.is_outdated(&argon2));
        assert_eq!(dearer.verify(word(), Some(argon2)).await, Ok(true));
    }
}
