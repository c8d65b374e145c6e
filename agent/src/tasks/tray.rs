//! `fleet-desktop` with its icon, in the session of whoever sits at the device: started there, started again
//! when it ends, and ended with the session, for another version, and with the agent.

use std::{process::Stdio, time::Duration};

use camino::{Utf8Path, Utf8PathBuf};
use tokio::{
    process::Child,
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{self, Instant},
};

use crate::{
    machine::{Backoff, LOOP, Pace, Retry},
    platform::{self, Session},
};

/// Between two looks at who sits there and which version is installed.
const LOOK: Duration = Duration::from_secs(20);

/// How long one may take to end.
const GRACE: Duration = Duration::from_secs(8);

/// How many looks in a row must find that nobody sits there: logind may be slow to answer.
const MISSES: u32 = 2;

/// How it fares, where that is news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    Well,
    /// It ends as often as it is started; how it last ended.
    Looping(String),
}

/// The agent's hold on the icon.
#[derive(Debug)]
pub struct Tray {
    words: mpsc::UnboundedReceiver<Word>,
    stop: oneshot::Sender<()>,
    keeper: JoinHandle<()>,
}

impl Tray {
    /// Begins to keep an icon of the agent below `root`, which is started again at osqueryd's pace. Needs
    /// a tokio runtime.
    #[must_use]
    pub fn start(root: Utf8PathBuf, pace: &Pace) -> Self {
        let (told, words) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let fortune = Fortune::new(pace.osqueryd);
        let keeper = Keeper { root, told, fortune, settled: pace.osqueryd_settled, running: None };
        let keeper = tokio::spawn(keeper.keep(stopped));
        Self { words, stop, keeper }
    }

    /// The next that is to be told of it.
    pub async fn word(&mut self) -> Option<Word> {
        self.words.recv().await
    }

    /// Ends it, and waits until it has ended.
    pub async fn end(self) {
        drop(self.stop);
        // Whoever keeps it waits no longer than it may take.
        let _ = self.keeper.await;
    }
}

struct Keeper {
    root: Utf8PathBuf,
    told: mpsc::UnboundedSender<Word>,
    fortune: Fortune,
    /// One that ran for so long runs well.
    settled: Duration,
    running: Option<Running>,
}

/// One that runs.
struct Running {
    session: Session,
    program: Utf8PathBuf,
    child: Child,
}

impl Keeper {
    async fn keep(mut self, stop: oneshot::Receiver<()>) {
        // Whatever is waited for, the wish to stop is heard at once.
        tokio::select! {
            _ = stop => {}
            () = self.go_on() => {}
        }
        if let Some(running) = self.running.take() {
            running.end().await;
        }
    }

    async fn go_on(&mut self) {
        loop {
            let pause = match wanted(&self.root).await {
                None => LOOK,
                Some((session, program)) => self.run(session, program).await,
            };
            time::sleep(pause).await;
        }
    }

    /// Runs one until it ends; gives the pause before the next.
    async fn run(&mut self, session: Session, program: Utf8PathBuf) -> Duration {
        // What an agent that was killed has left behind.
        session.hide_icon().await;
        let began = Instant::now();
        let mut command = session.show_icon(&program, &self.root);
        match command.stderr(Stdio::null()).spawn() {
            Ok(child) => self.running = Some(Running { session, program, child }),
            Err(error) => return self.ended(format!("could not be started: {error}"), began),
        }
        tracing::info!("fleet-desktop is started for whoever sits at the device");
        let mut missed = 0;
        while let Some(running) = &mut self.running {
            tokio::select! {
                status = running.child.wait() => {
                    self.running = None;
                    let how = status.map_or_else(|error| error.to_string(), |it| it.to_string());
                    return self.ended(how, began);
                }
                () = time::sleep(LOOK) => {}
            }
            self.prove(began);
            missed = if self.is_wanted().await { 0 } else { missed + 1 };
            if missed == MISSES {
                break;
            }
        }
        if let Some(running) = self.running.take() {
            running.end().await;
        }
        Duration::ZERO
    }

    /// Whether the one that runs is where one is to run, and which.
    async fn is_wanted(&self) -> bool {
        let Some(running) = &self.running else { return false };
        let wanted = wanted(&self.root).await;
        wanted.is_some_and(|it| it.0 == running.session && it.1 == running.program)
    }

    /// One that began then, and runs or has just ended, may have run for long enough.
    fn prove(&mut self, began: Instant) {
        if began.elapsed() >= self.settled
            && let Some(word) = self.fortune.settled()
        {
            self.tell(word);
        }
    }

    /// One has ended by itself; gives the pause before the next.
    fn ended(&mut self, how: String, began: Instant) -> Duration {
        tracing::warn!("fleet-desktop ended by itself: {how}");
        self.prove(began);
        let (pause, word) = self.fortune.ended(how);
        if let Some(word) = word {
            self.tell(word);
        }
        pause
    }

    fn tell(&self, word: Word) {
        // An agent that ends has no use for it.
        let _ = self.told.send(word);
    }
}

impl Running {
    /// Takes no longer than [`GRACE`]: one that stays is killed along with what holds it.
    async fn end(mut self) {
        let end = async {
            self.session.hide_icon().await;
            self.child.wait().await
        };
        let _ = time::timeout(GRACE, end).await;
    }
}

/// Where one is to run, and which; none: nowhere.
async fn wanted(root: &Utf8Path) -> Option<(Session, Utf8PathBuf)> {
    let program = platform::program(root, "desktop", "fleet-desktop");
    // The version that the pointer leads to at this moment: another is another program.
    let program = program.canonicalize_utf8().ok()?;
    Some((platform::session().await?, program))
}

/// How one after the other has fared.
#[derive(Debug)]
struct Fortune {
    retry: Retry,
    backoff: Backoff,
    /// How often in a row one has ended by itself, without having run well.
    crashes: u32,
    /// Whether the last word was that it runs well.
    told: Option<bool>,
}

impl Fortune {
    fn new(retry: Retry) -> Self {
        Self { retry, backoff: Backoff::default(), crashes: 0, told: None }
    }

    /// One has run for long enough.
    fn settled(&mut self) -> Option<Word> {
        self.backoff.reset();
        self.crashes = 0;
        (self.told.replace(true) != Some(true)).then_some(Word::Well)
    }

    /// One has ended by itself.
    fn ended(&mut self, how: String) -> (Duration, Option<Word>) {
        let pause = self.backoff.fail(self.retry);
        self.crashes = self.crashes.saturating_add(1);
        let is_news = self.crashes >= LOOP && self.told.replace(false) != Some(false);
        (pause, is_news.then_some(Word::Looping(how)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_told_once_and_so_is_its_end() {
        let mut fortune = Fortune::new(Pace::default().osqueryd);
        let end = |fortune: &mut Fortune, how: &str| {
            let (pause, word) = fortune.ended(how.to_owned());
            (pause.as_secs(), word)
        };
        for seconds in [1, 2, 4, 8] {
            assert_eq!(end(&mut fortune, "exit status: 1"), (seconds, None));
        }
        let told = Some(Word::Looping("exit status: 2".to_owned()));
        assert_eq!(end(&mut fortune, "exit status: 2"), (16, told));
        assert_eq!(end(&mut fortune, "exit status: 3"), (32, None));
        for _ in 0..40 {
            assert_eq!(end(&mut fortune, "exit status: 3"), (60, None));
        }
        assert_eq!(fortune.settled(), Some(Word::Well));
        assert_eq!(fortune.settled(), None);
        assert_eq!(end(&mut fortune, "exit status: 1"), (1, None));
    }
}
