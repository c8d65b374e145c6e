//! Updates, from the pure core to the real program.

/// What a device makes of an offer, and what it remembers.
mod judgement;
/// Mirrors that are slow, busy, behind or expired, clocks that are wrong, and all three components.
mod mirrors;
/// The power goes at every operation on the disk.
mod power;
/// Which failures are held against a program.
mod probe;
/// A repository that is published in a folder.
mod releases;
/// A bad release on a thousand devices.
mod rollout;
/// The real `orbit` under a service manager, with a real repository.
mod takeover;
