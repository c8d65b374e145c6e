//! All formats for all processors in one call, against the sum of what their compression takes.

use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use super::{
    Median,
    contender::{Contender, Format, Setting},
    floor,
    measure::Run,
    payload::Payload,
};

/// The name that a filter goes by.
pub(super) const NAME: &str = "matrix";

/// Each format with the compression that it has by default, and how many packages of it there are.
const PARTS: [(Format, Setting, u8); 4] = [
    (Format::Deb, Setting::Zstd3, 2),
    (Format::Rpm, Setting::Zstd3, 2),
    (Format::Msi, Setting::Gzip6, 2),
    (Format::Pkg, Setting::Gzip6, 1),
];

/// What is run.
pub(super) struct Matrix {
    ours: (Contender, Vec<Run>),
    floors: Vec<(Contender, u8, Vec<Run>)>,
}

/// What all runs came to.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    pub(super) packages: u8,
    pub(super) ours: Median,
    /// Wall time of the compression of all packages, one after the other, each on all cores.
    pub(super) work_seconds: f64,
}

impl Matrix {
    pub(super) fn new(fleetctl: &Path, floor: &Path, payload: &Payload) -> anyhow::Result<Self> {
        let components = payload.matrix().context("could not lay out the matrix")?;
        let out = payload.dir.join("out").join(NAME);
        let ours = Contender::new("fleetctl", fleetctl, &out)
            .args(["package", "--type", "deb,rpm,msi,pkg", "--arch", "amd64,arm64"])
            .args(["--fleet-desktop", "--package-version=1.0.0", "--components"])
            .arg(components)
            .arg("--out-dir")
            .arg(&out);
        let floors = PARTS.map(|(format, setting, count)| {
            (floor::contender(floor, payload, format, setting), count, Vec::new())
        });
        Ok(Self { ours: (ours, Vec::new()), floors: floors.into() })
    }

    /// Runs everything once. A warm-up is not counted.
    pub(super) fn run(&mut self, warm_up: bool) -> anyhow::Result<()> {
        let floors = self.floors.iter_mut().map(|(floor, _, runs)| (&*floor, runs));
        let (ours, runs) = &mut self.ours;
        for (contender, runs) in floors.chain([(&*ours, runs)]) {
            let run = contender.run()?;
            if !warm_up {
                runs.push(run);
            }
        }
        Ok(())
    }

    pub(super) fn measured(&self) -> Measured {
        let work = self
            .floors
            .iter()
            .map(|(_, count, runs)| f64::from(*count) * Median::of(runs).wall_seconds);
        Measured {
            packages: PARTS.iter().map(|(.., count)| count).sum(),
            ours: Median::of(&self.ours.1),
            work_seconds: work.sum(),
        }
    }
}
