//! Updates, from the pure core to the real program.

/// Archives whose entries lead out of them.
mod archives;
/// The real server, which counts.
mod counting;
/// What a device makes of an offer, and what it remembers.
mod judgement;
/// Mirrors that are slow, busy, behind or expired, clocks that are wrong, and all three components.
mod mirrors;
/// Patches from the version that runs to the next.
mod patches;
/// The power goes at every operation on the disk.
mod power;
/// Which failures are held against a program.
mod probe;
/// How the update server is reached: certificates, proxy, bandwidth; and which channel is asked for.
mod reach;
/// A repository that is published in a folder.
mod releases;
/// A bad release on a thousand devices.
mod rollout;
/// The real `orbit` under a service manager, with a real repository.
mod takeover;
