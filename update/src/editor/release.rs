//! Release manifests: written with what they tell of, in the same change.

use std::collections::{BTreeSet, HashMap};

use sha2::{Digest, Sha256};
use tough::schema::Target;

use super::{
    AdditionProblem, ChangeError, Promotion,
    add::{is_taken, list, published_as},
    change::{Change, NewFile, Source},
    document::sha256_hashes,
    published::Published,
};
use crate::{
    names::{Channel, Component, ProgramTarget, TargetName, UpdatePlatform},
    release::{Release, ReleaseError, ReleaseFile, ReleaseName, Wave, check_waves},
};

/// How a version is to reach devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rollout {
    /// Who may have it when; none: everybody at once.
    pub waves: Vec<Wave>,
    /// The oldest agent that can use it: one version.
    pub min_agent: Option<Channel>,
    /// Whether waves do not matter.
    pub critical: bool,
    /// Whether devices with a later version are to go back to it.
    pub allow_downgrade: bool,
    /// How many of a hundred devices may fail with it before the others wait; none: all of them.
    pub max_failure_percent: Option<u8>,
}

impl Rollout {
    fn check(&self) -> Result<(), ReleaseError> {
        check_waves(&self.waves)?;
        match self.min_agent.as_ref().filter(|it| !it.is_full_version()) {
            Some(given) => Err(ReleaseError::MinAgent { given: given.to_string() }),
            None => Ok(()),
        }
    }
}

/// Whether devices may begin with what is current on a channel.
#[derive(Debug, Clone)]
pub struct Pausing {
    /// What it is.
    pub component: Component,
    /// Where it runs; none: everywhere.
    pub platforms: Vec<UpdatePlatform>,
    /// The channel.
    pub channel: Channel,
    /// Whether nobody is to begin.
    pub is_paused: bool,
}

/// Makes a published version the current one of a channel.
pub(super) fn promote(published: &Published, promotion: &Promotion) -> Result<Change, ChangeError> {
    let Promotion { component, platforms, version, channel, rollout } = promotion;
    rollout.check()?;
    let mut change = Change::new(format!("promote {component} {version} to {channel}"));
    let (mut missing, mut problems) = (Vec::new(), Vec::new());
    let found = published_for(published, *component, version, platforms);
    for platform in found {
        let (from, to) = promotion.targets(platform);
        let Some((_, target)) = published.target(&from.to_string()) else {
            missing.push(from.to_string());
            continue;
        };
        let hash = &target.hashes.sha256;
        let becomes = ProgramTarget::from(to.clone());
        if is_taken(published, &becomes, hash) {
            problems.push(AdditionProblem::VersionTaken { target: becomes });
            continue;
        }
        let file = |name: &TargetName| published_as(&name.to_string(), hash);
        change.files.push(NewFile { from: Source::Published(file(&from)), to: file(&to) });
        list(&mut change, published, (&to.to_string(), &target));
        release(&mut change, published, (&to, &target), rollout);
    }
    if !problems.is_empty() {
        return Err(ChangeError::Unusable { problems });
    }
    if change.targets.is_empty() && missing.is_empty() {
        missing.push(format!("{component}/*/{version}"));
    }
    if missing.is_empty() { Ok(change) } else { Err(ChangeError::NoSuchTargets { missing }) }
}

/// The platforms asked for, else all that have the version.
fn published_for(
    published: &Published,
    component: Component,
    channel: &Channel,
    asked: &[UpdatePlatform],
) -> BTreeSet<UpdatePlatform> {
    if !asked.is_empty() {
        return asked.iter().copied().collect();
    }
    let names = published.roles().flat_map(|(_, targets)| targets.names());
    let parsed = names.filter_map(|name| name.parse::<TargetName>().ok());
    let theirs = parsed.filter(|name| name.component == component && name.channel == *channel);
    theirs.map(|name| name.platform).collect()
}

/// Lists the manifest that says that `name` is `target`.
fn release(
    change: &mut Change,
    published: &Published,
    (name, target): (&TargetName, &Target),
    rollout: &Rollout,
) {
    let told = target.custom.get("version").and_then(|it| it.as_str());
    let version = told.unwrap_or_else(|| name.channel.as_str());
    let manifest = Release {
        version: version.to_owned(),
        files: vec![ReleaseFile {
            target: kept_name(published, (name, target), version),
            length: target.length,
            sha256: hex::encode(&target.hashes.sha256),
        }],
        waves: rollout.waves.clone(),
        min_agent: rollout.min_agent.as_ref().map(|it| it.as_str().to_owned()),
        critical: rollout.critical,
        paused: false,
        allow_downgrade: rollout.allow_downgrade,
        max_failure_percent: rollout.max_failure_percent,
    };
    list_manifest(change, published, (&name_of(name), &manifest));
}

/// The target of the version itself, if it is still listed: that one never becomes another file.
fn kept_name(
    published: &Published,
    (name, target): (&TargetName, &Target),
    version: &str,
) -> String {
    let channel = version.parse().unwrap_or_else(|_| name.channel.clone());
    let kept = TargetName { channel, ..name.clone() }.to_string();
    let is_same = published.target(&kept).is_some_and(|(_, it)| it.hashes == target.hashes);
    if is_same { kept } else { name.to_string() }
}

fn name_of(name: &TargetName) -> ReleaseName {
    let TargetName { component, platform, channel } = name.clone();
    ReleaseName { component, platform, channel }
}

fn list_manifest(
    change: &mut Change,
    published: &Published,
    (name, manifest): (&ReleaseName, &Release),
) {
    let (name, bytes) = (name.to_string(), manifest.to_json());
    let hash = Sha256::digest(&bytes);
    let target = Target {
        length: bytes.len() as u64,
        hashes: sha256_hashes(&hash),
        custom: HashMap::new(),
        _extra: HashMap::new(),
    };
    change.files.push(NewFile { from: Source::Content(bytes), to: published_as(&name, &hash) });
    list(change, published, (&name, &target));
}

/// Brings the manifest of a channel, if it has one, up to date with a file that was added to it:
/// everybody may have it.
pub(super) fn follow(
    change: &mut Change,
    published: &Published,
    (name, target): (&TargetName, &Target),
) {
    let manifest = name_of(name).to_string();
    if !name.channel.is_full_version() && published.target(&manifest).is_some() {
        release(change, published, (name, target), &Rollout::default());
    }
}

/// Stops or lets go on what is current on a channel.
pub(super) fn pause(published: &Published, wanted: &Pausing) -> Result<Change, ChangeError> {
    let Pausing { component, platforms, channel, is_paused } = wanted;
    let verb = if *is_paused { "pause" } else { "resume" };
    let mut change = Change::new(format!("{verb} {component} on {channel}"));
    let mut missing = Vec::new();
    for platform in published_for(published, *component, channel, platforms) {
        let name = ReleaseName { component: *component, platform, channel: channel.clone() };
        match published.release(&name.to_string())? {
            Some(before) => {
                let after = Release { paused: *is_paused, ..before };
                list_manifest(&mut change, published, (&name, &after));
            }
            None => missing.push(name.to_string()),
        }
    }
    if change.targets.is_empty() && missing.is_empty() {
        missing.push(format!("{component}/*/{channel}/release.json"));
    }
    // A platform without a manifest is none that a rollout could be stopped on, unless asked for.
    if change.targets.is_empty() || (!missing.is_empty() && !platforms.is_empty()) {
        return Err(ChangeError::NoSuchTargets { missing });
    }
    Ok(change)
}
