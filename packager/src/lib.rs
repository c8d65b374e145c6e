//! Packages of the fleetd agent.
