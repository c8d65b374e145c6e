//! Work done on many threads, whose results come back in the order in which it was handed out.

use std::{
    collections::VecDeque,
    io,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread,
};

/// How many threads there are at most: with what each has before it and behind it they take some
/// 40 MiB, and more would wait for whoever reads and writes.
const MOST: usize = 16;

/// Threads that make an `R` of each `J`. They end when this is dropped.
pub(crate) struct Workers<J, R> {
    jobs: Sender<(J, SyncSender<R>)>,
    /// Jobs under way, oldest first.
    pending: VecDeque<Receiver<R>>,
    ahead: usize,
}

impl<J: Send + 'static, R: Send + 'static> Workers<J, R> {
    /// Starts a thread called `name` for each of the `cores`, up to [`MOST`]. Each has a worker of
    /// its own, which may keep things from job to job.
    pub(crate) fn start<F: FnMut(J) -> R + Send + 'static>(
        name: &str,
        cores: NonZeroUsize,
        worker: impl Fn() -> F,
    ) -> io::Result<Self> {
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let threads = cores.get().min(MOST);
        for _ in 0..threads {
            let (queue, work) = (Arc::clone(&queue), worker());
            thread::Builder::new().name(name.into()).spawn(move || serve(&queue, work))?;
        }
        Ok(Self { jobs, pending: VecDeque::new(), ahead: threads * 2 + 2 })
    }

    /// Hands out a job. Gives back the oldest result when enough was under way already.
    pub(crate) fn hand_out(&mut self, job: J) -> io::Result<Option<R>> {
        let oldest = if self.pending.len() >= self.ahead { self.next()? } else { None };
        let (reply, result) = sync_channel(1);
        self.jobs.send((job, reply)).map_err(|_| stopped())?;
        self.pending.push_back(result);
        Ok(oldest)
    }

    /// The oldest result that has not been given back. None: there is nothing more.
    pub(crate) fn next(&mut self) -> io::Result<Option<R>> {
        let oldest = self.pending.pop_front();
        oldest.map(|result| result.recv().map_err(|_| stopped())).transpose()
    }
}

/// Works until there are no more jobs to come.
fn serve<J, R>(queue: &Mutex<Receiver<(J, SyncSender<R>)>>, mut work: impl FnMut(J) -> R) {
    loop {
        let job = match queue.lock() {
            Ok(queue) => queue.recv(),
            Err(_) => return,
        };
        let Ok((job, reply)) = job else { return };
        // Nobody listens any more once writing has failed.
        let _ = reply.send(work(job));
    }
}

fn stopped() -> io::Error {
    io::Error::other("a thread that compresses stopped")
}
