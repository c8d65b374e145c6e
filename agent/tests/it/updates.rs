//! Updates, from the pure core to the real program.

/// What a device makes of an offer, and what it remembers.
mod judgement;
/// The power goes at every operation on the disk.
mod power;
/// Which failures are held against a program.
mod probe;
/// A bad release on a thousand devices.
mod rollout;
/// The real `orbit` under a service manager, with a real repository.
mod takeover;
