//! What `rcodesign` of apple-codesign, the other implementation of Apple's signatures, finds in a package.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use xshell::cmd;

use crate::{cross::Cross, deployment::Desk, report::Report, terminal, workspace::Workspace};

/// As crates.io knows it.
const VERSION: &str = "0.29.0";

/// Certificates as Apple issues them to developers, by an authority that is none.
const CERTIFICATES: &str = "
certify() {
    openssl req -x509 -newkey rsa:2048 -nodes -keyout $1.key -out $1.one -subj \"/CN=$1/OU=TEAM123456\" \\
        -CA root.crt -CAkey root.key -addext basicConstraints=critical,CA:false \\
        -addext keyUsage=critical,digitalSignature -addext extendedKeyUsage=critical,$2 \\
        -addext 1.2.840.113635.100.6.1.$3=critical,DER:0500
    cat $1.one root.crt >$1.crt
}
umask 077
openssl req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.crt -subj /CN=authority \\
    -addext keyUsage=critical,keyCertSign -addext 1.2.840.113635.100.6.2.6=DER:0500
certify application codeSigning 13
certify installer 1.2.840.113635.100.4.13 14
";

/// Has a package made of `programs` and signed, and read by `rcodesign`.
pub(super) fn judge(
    workspace: &Workspace,
    desk: &Desk,
    programs: &Path,
    report: &mut Report,
) -> anyhow::Result<()> {
    let tool = installed(workspace)?;
    let rcodesign = tool.display();
    desk.run(&format!("set -e; {CERTIFICATES}"))?;
    desk.run("umask 077 && echo of-packages-alone-of-packages-alone >packed.txt")?;
    desk.run(&format!(
        "fleetctl package --type pkg --package-version 1.2.3 --without-osqueryd --enroll-secret-file packed.txt \\
         --fleet-url https://fleet.example.com --components '{}' --out-dir . \\
         --macos-certificate application.crt --macos-key application.key \\
         --macos-installer-certificate installer.crt --macos-installer-key installer.key",
        programs.display()
    ))?;
    let package = "fleetd-1.2.3.pkg";
    let signatures = |file: &str| desk.read(&format!("'{rcodesign}' print-signature-info {file}"));
    let outcome = signatures(package).and_then(|told| expect_each(&told, true));
    report.record("apple-codesign finds the package's signatures right", outcome);
    let outcome = change(&desk.dir, package, "changed.pkg")
        .and_then(|()| signatures("changed.pkg"))
        .and_then(|told| expect_each(&told, false));
    report.record("apple-codesign finds them wrong if the package was changed", outcome);
    desk.run(&format!(
        "mkdir members tree && bsdtar -xf {package} -C members && bsdtar -xf members/*/Payload -C tree"
    ))?;
    let signed = desk
        .read("find tree -type f -exec sh -c 'file -b \"$1\" | grep -q Mach-O' - {} \\; -print")?;
    ensure!(!signed.trim().is_empty(), "no program is in the package");
    for program in signed.lines() {
        let outcome = desk.run(&format!("'{rcodesign}' verify '{program}'")).map(drop);
        report.record(&format!("apple-codesign verifies {program}"), outcome);
    }
    Ok(())
}

/// The program, made by cargo if it is not there.
fn installed(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let root = Cross::new()?.dir()?.join(format!("rcodesign-{VERSION}"));
    let program = root.join("bin/rcodesign");
    if !program.exists() {
        terminal::note(&format!("installing apple-codesign {VERSION} from crates.io"));
        let sh = &workspace.sh;
        // What it notarizes with is left out.
        cmd!(sh, "cargo install apple-codesign --version {VERSION} --locked --debug --no-default-features --root {root}")
            .quiet()
            .run()?;
    }
    Ok(program)
}

/// Fails unless each signature, and what it is over, is found right, or each is found wrong.
fn expect_each(told: &str, right: bool) -> anyhow::Result<()> {
    for what in ["checksum", "rsa_signature", "cms_signature"] {
        let line = format!("{what}_verifies: {right}");
        ensure!(told.contains(&line), "there is no `{line}` in:\n{told}");
    }
    Ok(())
}

/// A copy with another digest of the list of its members, which is what the signatures are of.
fn change(dir: &Path, package: &str, copy: &str) -> anyhow::Result<()> {
    let mut bytes = fs::read(dir.join(package)).context("could not read the package")?;
    // A header of 28 bytes, which tells the length of the compressed list; after that comes its digest.
    let length = bytes.get(8..16).and_then(|it| it.try_into().ok()).map(u64::from_be_bytes);
    let place = usize::try_from(28 + length.context("the package has no header")?)?;
    *bytes.get_mut(place).context("the package has no digest")? ^= 1;
    fs::write(dir.join(copy), bytes).context("could not write the changed package")
}
