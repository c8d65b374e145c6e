//! Threads for work that takes a core for long: as many as there are cores, and nicer than those that
//! answer requests, which the system runs first whenever they have something to do.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use rustix::process::setpriority_process;

/// How much nicer: about a tenth of a core where another thread wants all of it.
const NICENESS: i32 = 10;

pub(super) type Job = Box<dyn FnOnce() + Send>;

/// The threads; they end when this is dropped and the jobs are done.
#[derive(Debug)]
pub(super) struct Workers(Sender<Job>);

impl Workers {
    /// Starts `count` threads. Where the system allows fewer, there are fewer; without any, jobs are
    /// dropped.
    pub(super) fn start(name: &str, count: usize) -> Self {
        let (sender, jobs) = channel();
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..count {
            let jobs = Arc::clone(&jobs);
            let started = thread::Builder::new().name(name.to_owned()).spawn(move || work(&jobs));
            if let Err(error) = started {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "could not start a thread"
                );
            }
        }
        Self(sender)
    }

    /// Has `job` done as soon as a thread is free.
    pub(super) fn run(&self, job: Job) {
        // Without threads it is dropped, which whoever waits for it sees.
        let _dropped = self.0.send(job);
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    // Of this thread alone, as Linux has it. Where it is refused, hashing is as important as anything.
    let _as_it_is = setpriority_process(None, NICENESS);
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        // A job that panics is one that was not done; the thread goes on with the next.
        let _panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_panics_takes_no_thread_with_it() {
        let workers = Workers::start("test", 1);
        let (tell, told) = channel();
        workers.run(Box::new(|| panic!("on purpose")));
        workers
            .run(Box::new(move || tell.send(thread::current().name().map(str::to_owned)).unwrap()));
        assert_eq!(told.recv().unwrap().as_deref(), Some("test"));
    }
}
