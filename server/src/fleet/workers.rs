//! Threads for work that takes a core for long: as many as there are cores, and nicer than those that
//! answer requests, which the system runs first whenever they have something to do.

use rayon::{ThreadPool, ThreadPoolBuilder};
use rustix::process::setpriority_process;

/// How much nicer: about a tenth of a core where another thread wants all of it.
const NICENESS: i32 = 10;

/// The threads; they end when this is dropped and the jobs are done.
#[derive(Debug)]
pub(super) struct Workers(Option<ThreadPool>);

impl Workers {
    /// Starts `count` threads. Where the system allows none, jobs are dropped.
    pub(super) fn start(name: &'static str, count: usize) -> Self {
        let threads = ThreadPoolBuilder::new().num_threads(count).thread_name(move |_| name.into());
        // Of this thread alone, as Linux has it. Where it is refused, hashing is as important as anything.
        let threads = threads.start_handler(|_| {
            let _as_it_is = setpriority_process(None, NICENESS);
        });
        // A job that panics is one that was not done.
        let started = threads.panic_handler(drop).build();
        if let Err(error) = &started {
            tracing::error!(error = error as &dyn std::error::Error, "could not start threads");
        }
        Self(started.ok())
    }

    /// Has `job` done as soon as a thread is free. One that is dropped is seen by whoever waits for it.
    pub(super) fn run(&self, job: impl FnOnce() + Send + 'static) {
        if let Some(threads) = &self.0 {
            threads.spawn_fifo(job);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc::channel, thread};

    use super::*;

    #[test]
    fn a_job_that_panics_takes_no_thread_with_it() {
        let workers = Workers::start("test", 1);
        let (tell, told) = channel();
        workers.run(|| panic!("on purpose"));
        workers.run(move || tell.send(thread::current().name().map(str::to_owned)).unwrap());
        assert_eq!(told.recv().unwrap().as_deref(), Some("test"));
    }
}
