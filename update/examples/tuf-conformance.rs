//! The reading half of this crate behind the command protocol of tuf-conformance, the suite that TUF
//! clients are judged by (`CLIENT-CLI.md` there).
//!
//! ```text
//! cargo build -p fleetd-update --example tuf-conformance
//! pytest tuf_conformance --entrypoint target/debug/examples/tuf-conformance
//! ```
//!
//! What is trusted is kept in `--metadata-dir`, below `state/` as everywhere and copied from there to
//! where the suite looks for it.

use std::{collections::BTreeMap, error::Error, fs, io::Write as _, process::ExitCode};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use update::{Connection, Repository, RepositoryConfig};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The root that everything is verified from, below the directory of metadata.
const PINNED: &str = "state/pinned-root.json";

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut cause: Option<&dyn Error> = Some(&*error);
            while let Some(error) = cause {
                let _ = writeln!(std::io::stderr(), "{error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Outcome<()> {
    let call = Call::parse(arguments)?;
    match call.command.as_str() {
        "init" => call.init(),
        "refresh" | "download" => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let outcome = runtime.block_on(call.fetch());
            // Whatever was verified before something failed is trusted all the same.
            call.show()?;
            outcome
        }
        other => Err(format!("`{other}` is no command").into()),
    }
}

/// The command line, taken apart.
struct Call {
    command: String,
    root: Option<Utf8PathBuf>,
    options: BTreeMap<String, String>,
    targets: Vec<String>,
}

impl Call {
    fn parse(arguments: &[String]) -> Outcome<Self> {
        let (mut words, mut options, mut targets) = (Vec::new(), BTreeMap::new(), Vec::new());
        let mut arguments = arguments.iter();
        while let Some(word) = arguments.next() {
            match word.strip_prefix("--") {
                None => words.push(word.clone()),
                Some(name) => {
                    let value = arguments.next().ok_or_else(|| format!("`{word}` has no value"))?;
                    if name == "target-name" {
                        targets.push(value.clone());
                    } else {
                        options.insert(name.to_owned(), value.clone());
                    }
                }
            }
        }
        let mut words = words.into_iter();
        let command = words.next().ok_or("there is no command")?;
        Ok(Self { command, root: words.next().map(Into::into), options, targets })
    }

    fn option(&self, name: &str) -> Outcome<&str> {
        Ok(self.options.get(name).ok_or_else(|| format!("`--{name}` is missing"))?)
    }

    fn metadata_dir(&self) -> Outcome<&Utf8Path> {
        self.option("metadata-dir").map(Utf8Path::new)
    }

    fn init(&self) -> Outcome<()> {
        let root = fs::read(self.root.as_ref().ok_or("there is no root to trust")?)?;
        let dir = self.metadata_dir()?;
        fs::create_dir_all(dir.join("state"))?;
        fs::write(dir.join(PINNED), &root)?;
        fs::write(dir.join("root.json"), &root)?;
        Ok(())
    }

    async fn fetch(&self) -> Outcome<()> {
        let dir = self.metadata_dir()?;
        let targets = self.options.get("target-base-url");
        let mut repository = Repository::open(RepositoryConfig {
            location: self.option("metadata-url")?.parse()?,
            pinned_root: fs::read(dir.join(PINNED))?,
            cache_dir: dir.join("state"),
            connection: Connection {
                targets: targets.map(|url| url.parse()).transpose()?,
                ..Connection::default()
            },
            offline: false,
        })?;
        let now = now();
        repository.refresh(now).await?;
        for name in &self.targets {
            let file = repository.find(name, now).await?;
            let file = file.ok_or_else(|| format!("there is no `{name}`"))?;
            let fetched = repository.bring(&file, now).await?;
            let place = Utf8Path::new(self.option("target-dir")?).join(name.replace('/', "%2F"));
            // A file that is there already stays as it is.
            if fs::read(&place).ok() != Some(fs::read(&fetched)?) {
                fs::copy(fetched, place)?;
            }
        }
        Ok(())
    }

    /// Copies what is trusted to where the suite looks for it.
    fn show(&self) -> Outcome<()> {
        let dir = self.metadata_dir()?;
        let Ok(stores) = dir.join("state/metadata").read_dir_utf8() else { return Ok(()) };
        for entry in dir.read_dir_utf8()?.filter_map(Result::ok) {
            if entry.path().extension() == Some("json") && entry.file_name() != "root.json" {
                fs::remove_file(entry.path())?;
            }
        }
        for store in stores.filter_map(Result::ok) {
            for entry in store.path().read_dir_utf8()?.filter_map(Result::ok) {
                if entry.path().extension() == Some("json") {
                    fs::copy(entry.path(), dir.join(entry.file_name()))?;
                }
            }
        }
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "this program is asked now")]
fn now() -> Timestamp {
    Timestamp::now()
}
