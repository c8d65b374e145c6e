//! The floor: the same bytes compressed, hashed and written with all cores, and nothing else. The
//! packager's example of that name does it.

use std::path::Path;

use super::{
    contender::{Contender, Format, Setting},
    payload::Payload,
};

pub(super) fn contender(
    program: &Path,
    payload: &Payload,
    format: Format,
    setting: Setting,
) -> Contender {
    let hash = match format {
        Format::Deb | Format::Msi | Format::Pkg => "none",
        Format::Rpm => "sha256",
    };
    // The streams that dpkg, rpm, Windows and macOS read.
    let shape = match format {
        Format::Deb | Format::Rpm => "pieces",
        Format::Msi => "cabinet",
        Format::Pkg => "stream",
    };
    let name = format!("floor-{}-{}", format.as_str(), setting.as_str());
    let out = payload.dir.join("out").join(name);
    let floor = Contender::new("floor", program, &out)
        .arg(setting.as_str())
        .arg(hash)
        .arg(shape)
        .arg(out.join("bytes.floor"));
    payload.files(format).fold(floor, Contender::arg)
}
