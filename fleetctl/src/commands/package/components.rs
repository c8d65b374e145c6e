//! The programs that go into packages: found in a folder, or fetched from a repository.

mod universal;

use std::{collections::BTreeMap, fs, sync::Mutex};

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use packager::{
    Component, ComponentKind, Payload, Platform, SourceDate,
    payload::{Arch, Bundle, Content, Os},
};
use semver::Version;
use update::{
    Channel, LocalComponents, Progress, Repository, RepositoryConfig, TargetName, UpdatePlatform,
    repository::FetchError,
};

use super::{
    order::{Order, Origin},
    signing::{sign_bundle, sign_program},
};
use crate::{exit::Stop, session::Session};

/// A program on this machine.
struct Program {
    kind: ComponentKind,
    version: String,
    path: Utf8PathBuf,
    modified: Option<Timestamp>,
}

/// The payload of each platform asked for, and the date of the newest program in it. Archives are
/// unsqueezed into the folder `scratch`, which has to stay until the packages are built.
pub(crate) fn payloads(
    order: &Order,
    scratch: &Utf8Path,
    session: &Session,
) -> anyhow::Result<Vec<(Payload, SourceDate)>> {
    let platforms = order.platforms();
    let programs = match &order.origin {
        Origin::Folder(folder) => local(order, &platforms, [folder, scratch], session)?,
        Origin::Repository(config) => session.wait(remote(order, &platforms, config, session))?,
    };
    platforms
        .into_iter()
        .zip(programs)
        .map(|(platform, programs)| payload(order, platform, programs, scratch))
        .collect()
}

fn payload(
    order: &Order,
    platform: Platform,
    programs: Vec<Program>,
    scratch: &Utf8Path,
) -> anyhow::Result<(Payload, SourceDate)> {
    let newest = programs.iter().filter_map(|program| program.modified).max();
    let components = programs
        .into_iter()
        .map(|program| {
            let made_for = (program.kind, platform);
            let path = sign_program(program.path, made_for, order, scratch)?;
            let program = Program { path, ..program };
            let component = open(&program, platform, order.version.as_ref(), scratch)?;
            signed(component, order, scratch)
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let payload =
        Payload::new(platform, components).context("could not put the programs together")?;
    Ok((payload, newest.map_or(SourceDate::from_unix(0), source_date)))
}

/// Programs that are files have been signed; bundles are signed when they are open.
fn signed(component: Component, order: &Order, scratch: &Utf8Path) -> anyhow::Result<Component> {
    let content = match component.content {
        Content::Bundle(bundle) => {
            Content::Bundle(sign_bundle(bundle, component.kind, order, scratch)?)
        }
        program @ Content::Program(_) => program,
    };
    Ok(Component { content, ..component })
}

fn open(
    program: &Program,
    platform: Platform,
    package_version: Option<&Version>,
    scratch: &Utf8Path,
) -> anyhow::Result<Component> {
    let Program { kind, path, .. } = program;
    let version = match package_version {
        Some(version) if *kind == ComponentKind::Orbit => version.clone(),
        _ => Version::parse(&program.version)
            .with_context(|| format!("could not understand the version of `{path}`"))?,
    };
    let opened = if platform.os == Os::Macos && Bundle::is_archive(path).unwrap_or_default() {
        let scratch = scratch.join(format!("{kind}.tar"));
        Component::open_bundle(*kind, version, [path, &scratch], platform)
    } else {
        Component::open(*kind, version, path, platform)
    };
    opened.map_err(|error| Stop::usage(format!("{:#}", anyhow::Error::new(error))).into())
}

/// A date outside of what installers can hold becomes the nearest that they can.
fn source_date(at: Timestamp) -> SourceDate {
    let seconds = at.as_second().clamp(0, i64::from(u32::MAX));
    SourceDate::from_unix(u32::try_from(seconds).expect("it was clamped"))
}

fn local(
    order: &Order,
    platforms: &[Platform],
    [folder, scratch]: [&Utf8Path; 2],
    session: &Session,
) -> anyhow::Result<Vec<Vec<Program>>> {
    let own = wire::VERSION;
    let components = LocalComponents {
        dir: folder.to_owned(),
        default_version: order.version.as_ref().map_or_else(|| own.to_owned(), Version::to_string),
    };
    let programs = platforms.iter();
    let all =
        programs.map(|&platform| local_programs(order, (&components, scratch), platform, session));
    all.collect()
}

/// What the folder has for one platform. A folder without osqueryd gives the agent alone.
fn local_programs(
    order: &Order,
    (components, scratch): (&LocalComponents, &Utf8Path),
    platform: Platform,
    session: &Session,
) -> anyhow::Result<Vec<Program>> {
    let place = |kind| (component(kind), update_platform(platform, kind));
    let has = |kind| {
        let (component, platform) = place(kind);
        components.has(component, platform)
    };
    let parts = |kind| {
        let may = platform.os == Os::Macos && !has(kind);
        may.then(|| universal::parts(&components.dir, kind)).flatten()
    };
    let mut kinds = kinds(order);
    let osqueryd = ComponentKind::Osqueryd;
    if kinds.contains(&osqueryd) && !has(osqueryd) && parts(osqueryd).is_none() {
        session.shell.note(format!("`{}` has no osqueryd: the agent goes alone", components.dir));
        kinds.retain(|kind| *kind != osqueryd);
    }
    let told = |error| Stop::usage(format!("--components {:#}", anyhow::Error::new(error)));
    let whole: Vec<_> = kinds.iter().copied().filter(|kind| parts(*kind).is_none()).collect();
    let wanted: Vec<_> = whole.iter().map(|&kind| place(kind)).collect();
    let mut found = components.locate(&wanted).map_err(told)?.into_iter();
    let programs = kinds.into_iter().map(|kind| {
        let (path, version, newest) = match parts(kind) {
            Some(parts) => {
                let newest = modified(&parts[0])?.max(modified(&parts[1])?);
                let version = components.version_of(&parts[0]).map_err(told)?;
                (universal::join(&parts, kind, scratch)?, version, newest)
            }
            None => {
                let (path, version) = found.next().expect("all that is whole was found");
                let newest = modified(&path)?;
                (path, version, newest)
            }
        };
        Ok(Program { kind, version, path, modified: newest })
    });
    programs.collect()
}

fn modified(path: &Utf8Path) -> anyhow::Result<Option<Timestamp>> {
    let modified = fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .with_context(|| format!("could not read `{path}`"))?;
    Ok(Timestamp::try_from(modified).ok())
}

async fn remote(
    order: &Order,
    platforms: &[Platform],
    config: &RepositoryConfig,
    session: &Session,
) -> anyhow::Result<Vec<Vec<Program>>> {
    let now = super::super::expiry::now();
    let mut repository = Repository::open(config.clone())?;
    repository.refresh(now).await.map_err(|error| {
        let help = error.help();
        Stop::advised(error, help)
    })?;
    let kinds = kinds(order);
    let bars = Bars::new(session);
    let mut all = Vec::new();
    for &platform in platforms {
        let wanted: Vec<_> = kinds.iter().map(|&kind| target(order, kind, platform)).collect();
        let fetched = repository.fetch(&wanted, now, &|progress| bars.show(progress)).await;
        let fetched = fetched.map_err(|error| advise(error, &kinds))?;
        let programs = kinds.iter().zip(fetched).map(|(&kind, fetched)| Program {
            kind,
            version: fetched.version,
            path: fetched.path,
            modified: fetched.modified,
        });
        all.push(programs.collect());
    }
    Ok(all)
}

fn advise(error: FetchError, kinds: &[ComponentKind]) -> Stop {
    let lacks_osqueryd = matches!(&error, FetchError::NoSuchTargets { missing, .. }
        if missing.iter().all(|name| name.starts_with("osqueryd/")));
    let help = if lacks_osqueryd && kinds.contains(&ComponentKind::Osqueryd) {
        let either =
            "publish it with `fleetctl updates add`, or leave it out with --without-osqueryd";
        Some(either.to_owned())
    } else {
        error.help()
    };
    Stop::advised(error, help)
}

fn kinds(order: &Order) -> Vec<ComponentKind> {
    ComponentKind::ALL
        .into_iter()
        .filter(|kind| match kind {
            ComponentKind::Orbit => true,
            ComponentKind::Osqueryd => order.with_osqueryd,
            ComponentKind::Desktop => order.spec.settings().fleet_desktop,
        })
        .collect()
}

fn target(order: &Order, kind: ComponentKind, platform: Platform) -> TargetName {
    let channel: &Channel = match kind {
        ComponentKind::Orbit => &order.channels.orbit,
        ComponentKind::Osqueryd => &order.channels.osqueryd,
        ComponentKind::Desktop => &order.channels.desktop,
    };
    TargetName {
        component: component(kind),
        platform: update_platform(platform, kind),
        channel: channel.clone(),
    }
}

fn component(kind: ComponentKind) -> update::Component {
    match kind {
        ComponentKind::Orbit => update::Component::Orbit,
        ComponentKind::Osqueryd => update::Component::Osqueryd,
        ComponentKind::Desktop => update::Component::Desktop,
    }
}

/// Where a repository has `kind` for `platform`. On macOS osqueryd is a bundle.
fn update_platform(platform: Platform, kind: ComponentKind) -> UpdatePlatform {
    match (platform.os, platform.arch, kind) {
        (Os::Linux, Arch::Arm64, _) => UpdatePlatform::LinuxArm64,
        (Os::Linux, Arch::Amd64 | Arch::Universal, _) => UpdatePlatform::Linux,
        (Os::Windows, Arch::Arm64, _) => UpdatePlatform::WindowsArm64,
        (Os::Windows, Arch::Amd64 | Arch::Universal, _) => UpdatePlatform::Windows,
        (Os::Macos, _, ComponentKind::Osqueryd) => UpdatePlatform::MacosApp,
        (Os::Macos, _, ComponentKind::Orbit | ComponentKind::Desktop) => UpdatePlatform::Macos,
    }
}

/// A bar for each component that is fetched, made when it is first heard of.
struct Bars {
    progress: crate::output::Progress,
    bars: Mutex<BTreeMap<(update::Component, UpdatePlatform), (crate::output::Steps, u64)>>,
}

impl Bars {
    fn new(session: &Session) -> Self {
        Self { progress: session.shell.progress(), bars: Mutex::new(BTreeMap::new()) }
    }

    fn show(&self, at: Progress) {
        let Ok(mut bars) = self.bars.lock() else { return };
        let (bar, done) = bars.entry((at.component, at.platform)).or_insert_with(|| {
            let what = format!("{} {}", at.component, at.platform);
            (self.progress.bytes(what, Some(at.total)), 0)
        });
        bar.add(at.done.saturating_sub(*done));
        *done = at.done;
        if at.done == at.total {
            bar.finish();
        }
    }
}
