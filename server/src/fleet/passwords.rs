//! Hashing passwords (argon2id) without letting it take the server down: as many at a time as
//! there are cores, a short queue, and a refusal beyond it.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread::available_parallelism,
};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use tokio::sync::Semaphore;
use wire::api::Hidden;

use super::errors::{Busy, FieldErrors};
use crate::config::auth::Password;

/// How many may wait for each core. A hash takes some tens of milliseconds, so the last in the
/// queue waits about a second.
const WAITING_PER_CORE: usize = 32;

#[derive(Debug)]
pub(super) struct Passwords {
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
}

impl Passwords {
    /// To be called within a runtime: the hash for people who do not exist is made at once, so that
    /// the first of them does not wait for it.
    pub(super) fn new() -> Self {
        tokio::task::spawn_blocking(dummy);
        let cores = available_parallelism().map_or(2, usize::from);
        Self {
            slots: Arc::new(Semaphore::new(cores)),
            waiting: AtomicUsize::new(0),
            max_waiting: cores * WAITING_PER_CORE,
        }
    }

    /// Hashes a password for keeping (PHC string).
    pub(super) async fn hash(&self, password: Hidden) -> Result<String, Busy> {
        self.work(move || hash_now(&password.0)).await
    }

    /// Whether `password` is the one that `hash` was made from. Without a hash it takes as long,
    /// and the answer is no.
    pub(super) async fn verify(
        &self,
        password: Hidden,
        hash: Option<String>,
    ) -> Result<bool, Busy> {
        self.work(move || {
            let known = hash.is_some();
            let hash = hash.unwrap_or_else(|| dummy().to_owned());
            let matches = PasswordHash::new(&hash).is_ok_and(|hash| {
                Argon2::default().verify_password(password.0.as_bytes(), &hash).is_ok()
            });
            known && matches
        })
        .await
    }

    async fn work<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let _place = Place::take(&self.waiting, self.max_waiting)?;
        let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(|_| Busy)?;
        let done = tokio::task::spawn_blocking(move || {
            let result = job();
            drop(slot);
            result
        });
        done.await.map_err(|_| Busy)
    }
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

fn hash_now(password: &str) -> String {
    let salt: [u8; 16] = rand::random();
    Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .expect("the default parameters are valid and the salt is long enough")
        .to_string()
}

/// The hash of a password that nobody has.
fn dummy() -> &'static str {
    static DUMMY: OnceLock<String> = OnceLock::new();
    DUMMY.get_or_init(|| hash_now(&super::secrets::new_token()))
}

/// Refuses passwords that the rules do not allow.
pub(super) fn check_password(errors: &mut FieldErrors, password: &str, rules: &Password) {
    let length = password.chars().count();
    errors.refuse_if(
        length < rules.min_length,
        "/password",
        format!("must have at least {} characters", rules.min_length),
    );
    errors.refuse_if(
        length > rules.max_length,
        "/password",
        format!("must have at most {} characters", rules.max_length),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_refuses_and_an_empty_one_admits_again() {
        let passwords = Passwords { max_waiting: 1, ..Passwords::new() };
        let word = || Hidden("correct horse".to_owned());
        let (first, second) = tokio::join!(passwords.hash(word()), passwords.hash(word()));
        assert_eq!((first.is_ok(), second), (true, Err(Busy)));
        let hash = passwords.hash(word()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_eq!(passwords.verify(word(), Some(hash)).await, Ok(true));
        assert_eq!(passwords.verify(word(), None).await, Ok(false));
    }
}
