//! The floor: the same bytes compressed, hashed and written with all cores, and nothing else. The
//! packager's example of that name does it.

use super::{
    contender::{Contender, Format, Setting},
    payload::Payload,
};
use crate::workspace::Workspace;

pub(super) fn contender(
    workspace: &Workspace,
    payload: &Payload,
    format: Format,
    setting: Setting,
) -> Contender {
    let program = workspace.target.join("release").join("examples").join("floor");
    let hash = match format {
        Format::Deb => "none",
        Format::Rpm => "sha256",
    };
    let name = format!("floor-{}-{}", format.as_str(), setting.as_str());
    let out = payload.dir.join("out").join(name);
    let mut args = vec![setting.as_str().to_owned(), hash.to_owned()];
    args.push(out.join("bytes.floor").to_string_lossy().into_owned());
    args.extend(payload.files().map(|file| file.to_string_lossy().into_owned()));
    Contender::new("floor", &program, args, &out)
}
