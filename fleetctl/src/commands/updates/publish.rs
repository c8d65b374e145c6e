//! What changes the targets: add, remove, promote, pause, resume, renew; and their copy elsewhere.

use std::time::Duration;

use camino::Utf8PathBuf;
use clap::Args;
use update::{
    Addition, Channel, Component, Edit, Program, Promotion, UpdatePlatform,
    editor::{MirrorError, Pausing, Rollout, Stock},
    release::{SEEDS, Wave},
};

use wire::settings::parse_duration;

use super::{
    bucket,
    signing::{ChangeArgs, PathArgs, carry_out, carry_out_in, is_far, open},
};
use crate::{
    bucket::{BucketArgs, is_address},
    commands::expiry::now,
    exit::Stop,
    flags::Output,
    output::Table,
    session::Session,
};

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// File to publish
    #[arg(long, value_name = "FILE")]
    target: Utf8PathBuf,
    /// What it is: orbit, osqueryd, desktop, or an extension of osquery, as extensions/NAME
    #[arg(long, value_name = "PROGRAM")]
    name: Program,
    /// Where it runs: linux, linux-arm64, macos, macos-app, windows or windows-arm64
    #[arg(long)]
    platform: UpdatePlatform,
    /// Its version, X.Y.Z
    #[arg(long)]
    version: Channel,
    /// Channel to publish it on, besides its version: stable, edge, X or X.Y; may be repeated
    #[arg(short, long = "tag", value_name = "CHANNEL", value_delimiter = ',')]
    tags: Vec<Channel>,
    /// Publish no compressed file and no patches beside it, which agents would rather download
    #[arg(long)]
    no_compression: bool,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Target to remove, e.g. orbit/linux/1.2.3/orbit
    #[arg(value_name = "TARGET", required = true)]
    targets: Vec<String>,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PromoteArgs {
    /// What it is: orbit, osqueryd or desktop
    #[arg(long, value_name = "COMPONENT")]
    name: Component,
    /// The published version, or the channel that has it
    #[arg(long, value_name = "VERSION")]
    version: Channel,
    /// The channel it becomes the current version of
    #[arg(long, value_name = "CHANNEL")]
    to: Channel,
    /// Where it runs; may be repeated [default: everywhere that the version is published for]
    #[arg(long = "platform", value_name = "PLATFORM", value_delimiter = ',')]
    platforms: Vec<UpdatePlatform>,
    /// Who is to have it when: shares of the devices, and from when on: 1%,10%@24h,100%@3d
    #[arg(long, value_name = "SHARE[@AFTER]", value_delimiter = ',', value_parser = parse_wave)]
    waves: Vec<(u16, Duration)>,
    /// The oldest agent that can use it
    #[arg(long, value_name = "VERSION")]
    min_agent: Option<Channel>,
    /// Everybody is to have it now, whatever the waves say
    #[arg(long)]
    critical: bool,
    /// Devices with a later version are to go back to it
    #[arg(long)]
    allow_downgrade: bool,
    /// Share of the devices that may fail with it before the others wait, e.g. 5% [default: 100%]
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    max_failures: Option<u8>,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    /// What it is: orbit, osqueryd or desktop
    #[arg(long, value_name = "COMPONENT")]
    name: Component,
    /// On which channel
    #[arg(long)]
    channel: Channel,
    /// Where it runs; may be repeated [default: everywhere]
    #[arg(long = "platform", value_name = "PLATFORM", value_delimiter = ',')]
    platforms: Vec<UpdatePlatform>,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// Folder to bring up to date, made if it is not there; or a bucket, s3://BUCKET/PREFIX
    #[arg(value_name = "DIR|S3-ADDRESS")]
    to: Utf8PathBuf,
    #[command(flatten)]
    path: PathArgs,
    /// List what would be copied, and copy nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    bucket: BucketArgs,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct RenewArgs {
    /// Do it only when the metadata expires within this time: 12h, 4d
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    if_within: Option<Duration>,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RenewOneArgs {
    /// The role: root, targets or a delegated one
    role: String,
    #[command(flatten)]
    renew: RenewArgs,
}

pub(crate) async fn add(args: AddArgs, session: &Session) -> anyhow::Result<()> {
    if matches!(args.name, Program::Extension(_)) && args.platform == UpdatePlatform::MacosApp {
        return Err(Stop::usage(
            "extensions of osquery for macOS have --platform macos: no agent looks for them under macos-app",
        )
        .into());
    }
    let addition = Addition {
        file: args.target,
        program: args.name,
        platform: args.platform,
        version: args.version,
        tags: args.tags,
        is_compressed: !args.no_compression,
    };
    carry_out(&Edit::Add(vec![addition]), &args.change, session).await
}

pub(crate) async fn remove(args: RemoveArgs, session: &Session) -> anyhow::Result<()> {
    carry_out(&Edit::Remove(args.targets), &args.change, session).await
}

pub(crate) async fn promote(args: PromoteArgs, session: &Session) -> anyhow::Result<()> {
    let start = now();
    let waves = args.waves.into_iter().map(|(seeds, after)| {
        let start = start.checked_add(after);
        start.map(|start| Wave { seeds, start }).map_err(|_| too_late())
    });
    let edit = Edit::Promote(Promotion {
        component: args.name,
        platforms: args.platforms,
        version: args.version,
        channel: args.to,
        rollout: Rollout {
            waves: waves.collect::<Result<_, _>>()?,
            min_agent: args.min_agent,
            critical: args.critical,
            allow_downgrade: args.allow_downgrade,
            max_failure_percent: args.max_failures,
        },
    });
    carry_out(&edit, &args.change, session).await
}

fn too_late() -> Stop {
    Stop::usage("--waves goes beyond the end of the calendar")
}

/// `5%`.
fn parse_share(text: &str) -> Result<u8, &'static str> {
    let percent = text.strip_suffix('%').and_then(|it| it.parse().ok());
    percent.filter(|it| *it <= 100).ok_or("a share is from 0% to 100%, e.g. 5%")
}

/// `10%@24h`: how many of the seeds, and after what time.
fn parse_wave(text: &str) -> Result<(u16, Duration), String> {
    let (share, after) = text.split_once('@').map_or((text, None), |(share, it)| (share, Some(it)));
    let percent: Option<u16> = share.strip_suffix('%').and_then(|it| it.parse().ok());
    let percent = percent.filter(|it| (1..=100).contains(it));
    let percent = percent.ok_or("a wave is a share from 1% to 100%, e.g. 10% or 10%@24h")?;
    let after = match after {
        Some(after) => parse_duration(after).map_err(|error| error.to_string())?,
        None => Duration::ZERO,
    };
    Ok(((percent * (SEEDS / 4)).div_ceil(25), after))
}

pub(crate) async fn pause(
    args: PauseArgs,
    is_paused: bool,
    session: &Session,
) -> anyhow::Result<()> {
    let edit = Edit::Pause(Pausing {
        component: args.name,
        platforms: args.platforms,
        channel: args.channel,
        is_paused,
    });
    carry_out(&edit, &args.change, session).await
}

pub(crate) async fn publish(args: &PublishArgs, session: &Session) -> anyhow::Result<()> {
    let editor = open(&args.path.path)?;
    let to = args.to.as_str();
    let names = if is_address(to) {
        let plan = |stock: &Stock| editor.upload(stock, now()).map_err(unusable);
        bucket::publish(to, &args.bucket, plan, args.dry_run).await?
    } else if args.dry_run {
        editor.missing_in(&args.to, now()).map_err(unusable)?
    } else {
        editor.mirror(&args.to, now()).map_err(unusable)?.copy_all()?
    };
    let head = if args.dry_run { "would be copied" } else { "copied" };
    session.shell.data(args.output.format, &names, |names| {
        Table::list([head], names.iter().map(|name| [name.to_string()]))
    })
}

/// A folder that cannot be a copy is the command line's mistake.
fn unusable(error: MirrorError) -> anyhow::Error {
    if matches!(error, MirrorError::AnotherRepository { .. } | MirrorError::Newer { .. }) {
        return Stop::usage(error.to_string()).into();
    }
    error.into()
}

pub(crate) async fn renew_one(args: RenewOneArgs, session: &Session) -> anyhow::Result<()> {
    renew(&args.role, args.renew, session).await
}

pub(crate) async fn renew(role: &str, args: RenewArgs, session: &Session) -> anyhow::Result<()> {
    let edit = Edit::Renew(role.to_owned());
    let editor = open(&args.change.path.path)?;
    if let Some(within) = args.if_within {
        let expires = editor.expiry(role)?;
        let expires = expires.ok_or_else(|| Stop::usage(format!("there is no role `{role}`")))?;
        if is_far(expires, within) {
            session.shell.note(format!("the {role} metadata is valid until {expires}"));
            return Ok(());
        }
    }
    carry_out_in(editor, (&edit, Vec::new()), &args.change, session).await
}
