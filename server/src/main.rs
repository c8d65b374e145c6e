//! `fleet-server`: arguments in, exit code out.

use std::{net::SocketAddr, process::ExitCode};

use anyhow::Context as _;
use camino::Utf8PathBuf;
use clap::{Args, Parser, Subcommand, ValueEnum};
use sd_notify::NotifyState;
use server::{
    Clock, Config, Fleet, certificate,
    config::{ConfigError, Overrides},
    fleet::setup::SETUP_CODE_HOURS,
    health,
    http::{access, openapi},
    serve::Bound,
};
use tracing_subscriber::EnvFilter;
use wire::{OrgId, api::MAX_PAGE};

/// musl's own has one lock for all threads, and is slow without others, too.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Admits devices and people, and answers their agents, browsers and scripts.
#[derive(Debug, Parser)]
#[command(name = "fleet-server", version = wire::VERSION)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What to log: a level, or `target=level,…`.
    #[arg(long, global = true, env = "FLEET_SERVER_LOG", default_value = "info")]
    log: String,
    /// How to log.
    #[arg(long, global = true, env = "FLEET_SERVER_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT.
    Serve(ServeArgs),
    /// Bring the database's schema up to date, and end.
    ///
    /// On PostgreSQL as the role of --migrate-database, which owns the database; the role of
    /// --database gets the rights that serving needs.
    Migrate(ServeArgs),
    /// Ask the server that runs here with this configuration whether it is ready.
    ///
    /// Exit code 0: it is. 1: it is not, or it shows another certificate than the configured one.
    Health(ServeArgs),
    /// Make a private CA and a server certificate, for trial use.
    Cert(CertArgs),
    /// Print the OpenAPI 3.1 document.
    Openapi,
    /// Print the table of roles, permissions and routes (Markdown).
    Permissions,
    /// About the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// About the keys that sign access tokens.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// About the audit trails that no organization's people can read.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Print the version.
    Version,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Report every problem, or print the effective configuration, secrets masked.
    Check(ServeArgs),
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// List the keys that are not gone, the oldest first.
    List(ServeArgs),
    /// Let another key take over, in five minutes, when everybody has read the published keys anew.
    Rotate(RotateArgs),
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// List whose trails there are: the server's own, and each organization's, deleted ones too.
    List(ServeArgs),
    /// Print the events of a trail, one JSON object a line.
    Export(ExportArgs),
}

#[derive(Debug, Args)]
struct ExportArgs {
    /// The organization's id, as `list` has it [default: the server's own trail].
    #[arg(long, value_name = "ID")]
    organization: Option<OrgId>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Args)]
struct RotateArgs {
    /// At once, and refuse every access token that was signed before: for a key that others know.
    /// Sessions go on; their refresh tokens are not signed.
    #[arg(long)]
    now: bool,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// Configuration file (YAML).
    #[arg(long, env = "FLEET_SERVER_CONFIG", value_name = "FILE")]
    config: Option<Utf8PathBuf>,
    /// Address and port to listen on [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Where the database and logs are kept [default: /var/lib/fleet-server for root, else below
    /// $XDG_DATA_HOME].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<Utf8PathBuf>,
    /// `postgres://…`, or `sqlite:` and a path [default: fleet.db in the data directory].
    #[arg(long, env = "FLEET_SERVER_DATABASE", hide_env_values = true, value_name = "URL")]
    database: Option<String>,
    /// `postgres://…` of the role that owns the database, to bring the schema up to date with.
    #[arg(long, env = "FLEET_SERVER_MIGRATE_DATABASE", hide_env_values = true, value_name = "URL")]
    migrate_database: Option<String>,
    /// The server's certificate and chain.
    #[arg(long, value_name = "PEM")]
    tls_certificate: Option<Utf8PathBuf>,
    /// Its private key.
    #[arg(long, value_name = "PEM")]
    tls_key: Option<Utf8PathBuf>,
}

#[derive(Debug, Args)]
struct CertArgs {
    /// Where to write ca.pem, server.pem and server.key.
    #[arg(long, value_name = "DIR")]
    out_dir: Utf8PathBuf,
    /// A name or address that the server is reached by; may be repeated.
    #[arg(long = "host", value_name = "NAME", required = true, num_args = 1..)]
    hosts: Vec<String>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_logging(&cli);
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::from(if error.is::<ConfigError>() { 2 } else { 1 })
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(args) => serve(args.load()?),
        Command::Migrate(args) => migrate(&args.load()?),
        Command::Health(args) => health(&args.load()?),
        Command::Cert(args) => make_certificate(&args),
        Command::Openapi => {
            print(&(serde_json::to_string_pretty(&openapi::document())? + "\n"));
            Ok(())
        }
        Command::Permissions => {
            print(&access::markdown());
            Ok(())
        }
        Command::Config(ConfigCommand::Check(args)) => {
            print(&serde_norway::to_string(&args.load()?)?);
            Ok(())
        }
        Command::Keys(KeysCommand::List(args)) => list_keys(args.load()?),
        Command::Keys(KeysCommand::Rotate(args)) => rotate_keys(args.serve.load()?, args.now),
        Command::Audit(AuditCommand::List(args)) => list_trails(args.load()?),
        Command::Audit(AuditCommand::Export(args)) => {
            export_trail(args.serve.load()?, args.organization)
        }
        Command::Version => {
            print(&format!("fleet-server {}\n", wire::VERSION));
            Ok(())
        }
    }
}

fn make_certificate(args: &CertArgs) -> anyhow::Result<()> {
    let files = certificate::make(&args.out_dir, &args.hosts, &Clock::System)?;
    say(&format!("wrote {}, {} and {}", files.authority, files.certificate, files.key));
    Ok(())
}

#[tokio::main]
async fn serve(config: Config) -> anyhow::Result<()> {
    let fleet = Fleet::open(config, Clock::System).await?;
    let stop = stop_requested().context("could not watch for signals")?;
    let code = fleet.new_setup_code().await.context("could not make a set-up code")?;
    if let Some(unmet) = fleet.config().auth.password.unmet() {
        tracing::warn!("{unmet}");
    }
    let bound = Bound::new(fleet.clone())?;
    let url = bound.url();
    say(&format!("listening on {url}"));
    if let Some(code) = code {
        let public =
            fleet.config().server.url.as_ref().map(|url| url.as_str().trim_end_matches('/'));
        let url = public.unwrap_or(&url);
        say(&format!("set it up with: fleetctl setup --url {url} --code {}", code.0));
        say(&format!("the code works for {SETUP_CODE_HOURS} hours; a restart makes a new one"));
    }
    tell_service_manager(NotifyState::Ready);
    bound.serve(stop).await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn list_keys(config: Config) -> anyhow::Result<()> {
    let fleet = Fleet::open(config, Clock::System).await?;
    for key in fleet.signing_keys().await.context("could not list the keys")? {
        let (state, from) = (key.state.as_str(), key.active_from);
        let until = key.gone_at.map_or_else(|| "-".to_owned(), |end| end.to_string());
        print(&format!("{} {} {state} {from} {until}\n", key.kid, key.alg));
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn rotate_keys(config: Config, now: bool) -> anyhow::Result<()> {
    let fleet = Fleet::open(config, Clock::System).await?;
    fleet.rotate_signing_key(now).await.context("could not rotate the keys")?;
    say(if now { "another key signs now" } else { "another key will sign in five minutes" });
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn list_trails(config: Config) -> anyhow::Result<()> {
    let fleet = Fleet::open(config, Clock::System).await?;
    for trail in fleet.trails().await.context("could not list the audit trails")? {
        let ended = trail.ended_at.map_or_else(|| "-".to_owned(), |end| end.to_string());
        print(&format!("{} {ended} {}\n", trail.org_id, trail.name));
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn export_trail(config: Config, organization: Option<OrgId>) -> anyhow::Result<()> {
    let fleet = Fleet::open(config, Clock::System).await?;
    let mut after = 0;
    loop {
        let page = fleet.trail_events(organization, (after, MAX_PAGE)).await;
        let page = page.context("could not read the audit trail")?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.seq;
        for event in &page {
            print(&(serde_json::to_string(event)? + "\n"));
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn migrate(config: &Config) -> anyhow::Result<()> {
    Fleet::migrate(config).await?;
    say("the schema is up to date");
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn health(config: &Config) -> anyhow::Result<()> {
    health::check(config).await?;
    print("ready\n");
    Ok(())
}

/// Tells systemd, if it waits to hear, that requests are answered or no longer taken.
fn tell_service_manager(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "could not tell the service manager");
    }
}

/// Done when SIGTERM or SIGINT arrives.
fn stop_requested() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        tell_service_manager(NotifyState::Stopping);
    })
}

impl ServeArgs {
    fn load(self) -> Result<Config, ConfigError> {
        let overrides = Overrides {
            listen: self.listen,
            data_dir: self.data_dir,
            database: self.database,
            migrate_database: self.migrate_database,
            tls_certificate: self.tls_certificate,
            tls_key: self.tls_key,
        };
        Config::load(self.config.as_deref(), overrides, default_data_dir())
    }
}

/// `/var/lib/fleet-server` for root, else below `$XDG_DATA_HOME` or `~/.local/share`.
#[expect(clippy::disallowed_methods, reason = "part of the configuration")]
fn default_data_dir() -> Utf8PathBuf {
    if rustix::process::geteuid().is_root() {
        return Utf8PathBuf::from("/var/lib/fleet-server");
    }
    let share = std::env::var("XDG_DATA_HOME").ok().filter(|dir| dir.starts_with('/'));
    let share = share.map(Utf8PathBuf::from).or_else(|| {
        let home = std::env::var("HOME").ok()?;
        Some(Utf8PathBuf::from(home).join(".local/share"))
    });
    share.unwrap_or_else(|| Utf8PathBuf::from(".")).join("fleet-server")
}

fn start_logging(cli: &Cli) {
    let filter = EnvFilter::try_new(&cli.log).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match cli.log_format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
}

#[expect(clippy::print_stderr, reason = "what an operator reads at start and at failure")]
fn say(line: &str) {
    eprintln!("{line}");
}

#[expect(clippy::print_stdout, reason = "what was asked for on the command line")]
fn print(text: &str) {
    print!("{text}");
}
