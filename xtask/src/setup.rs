//! `cargo xtask setup`: the Debian packages that building and testing need.

mod cross;

use std::{collections::BTreeSet, process::ExitCode};

use anyhow::{Context as _, bail};
use rustix::process::geteuid;
use xshell::cmd;

use crate::{dist::toolchain::Origin, platforms, terminal, workspace::Workspace};

/// What is needed, and what for. Rust and its linker are there already: xtask runs.
const PACKAGES: &[(&str, &str)] = &[
    ("gcc", "compiles the C parts of aws-lc, SQLite and zstd"),
    ("libc6-dev", "headers for the same"),
    ("git", "lists the files that are checked"),
    ("ca-certificates", "trust for what is downloaded here"),
    ("curl", "second opinion on the server's answers"),
    ("openssl", "second opinion on certificates and keys"),
    ("jq", "second opinion on JSON output"),
    ("binutils", "`ar` and `objdump`, second opinion on .deb files and programs"),
    ("zstd", "second opinion on compressed members"),
    ("xz-utils", "second opinion on compressed members"),
    ("rpm2cpio", "second opinion on .rpm payloads"),
    ("cpio", "unpacks what that gives"),
    ("llvm", "`llvm-objdump`, second opinion on programs for macOS"),
    ("libarchive-tools", "`bsdtar`, second opinion on .pkg files"),
    ("p7zip-full", "`7z`, third opinion on them, second on .msi files"),
    ("libxml2-utils", "`xmllint` checks the documents in them"),
    ("shellcheck", "finds what is not portable in scripts"),
    ("dpkg-dev", "Debian's own tools, peers in the benchmark"),
    ("rpm", "reads what we write, peer in the benchmark"),
    ("gnupg", "makes keys, second opinion on signatures of packages and repositories"),
    ("debsig-verify", "third opinion on signatures of .deb files"),
    ("dnf", "installs from the repositories that we make"),
    ("createrepo-c", "second opinion on their lists"),
    ("lintian", "Debian's judgement of our .deb"),
    ("rpmlint", "Fedora's judgement of our .rpm"),
    ("systemd", "`systemd-analyze` checks the unit"),
    ("swtpm", "a TPM for the agent's tests"),
    ("libtss2-tcti-swtpm0", "lets systemd-creds find it"),
    ("libtss2-esys-3.0.2-0", "systemd-creds uses TPMs with it"),
    ("libtss2-rc0", "and with it"),
    ("systemd-container", "boots the system that packages are installed in"),
    ("debootstrap", "makes that system"),
    ("ruby", "runs the formula that a release has for Homebrew"),
    ("unzip", "second opinion on archives for Windows"),
    ("minisign", "second opinion on signatures of releases"),
    ("msitools", "reads our .msi"),
    ("wixl", "peer in the benchmark"),
    ("cabextract", "reads the cabinets in them"),
    ("osslsigncode", "judges signatures for Windows"),
    ("softhsm2", "a token whose keys sign"),
    ("opensc", "`pkcs11-tool`, the way to it of programs that load no libraries"),
    ("postgresql-15", "the server's tests run on it, too"),
    ("pgbouncer", "the server's tests put it before PostgreSQL"),
    ("python3-aiosmtpd", "a mail server for the server's tests"),
    ("groff-base", "reads the manual pages that fleetctl generates"),
    ("skopeo", "reads our container image"),
    ("umoci", "unpacks it"),
    ("python3", "runs peers and checks"),
    ("dbus-daemon", "a session bus for the tests of fleet-desktop's icon"),
    ("faketime", "gives the agent a clock that is wrong"),
    ("python3-jwt", "second opinion on access tokens, forges others"),
    ("python3-jwcrypto", "third opinion on them"),
    ("python3-prometheus-client", "reads the metrics that the server tells"),
    ("python3-jsonschema", "judges the schema of fleet-package.toml"),
    ("python3-venv", "keeps apart what the benchmark and cross-compiling install"),
    ("gcc-mingw-w64-x86-64-win32", "compiles C and links for Windows on x86_64"),
    ("wine64", "runs programs for Windows on x86_64"),
    ("xvfb", "a screen that nobody sees, for icons of programs for Windows"),
    ("qemu-user-static", "runs programs for Linux on arm64"),
    ("file", "second opinion on programs that do not run here"),
    ("dnsmasq-base", "a name server for the programs of other systems"),
];

/// Packages in one call of apt-get. Big calls fail more often, and lose more when they do.
const AT_ONCE: usize = 6;

/// The exit code when something must be installed by somebody else.
const USAGE: u8 = 2;

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Install nothing, only say what is missing
    #[arg(long)]
    check: bool,
    /// List the packages with the reason for each
    #[arg(long)]
    list: bool,
    /// Get ready to build for other systems, too: zig from PyPI, standard libraries from rustup, or
    /// from Debian's compiler where rustup has none
    #[arg(long)]
    cross: bool,
    /// With `--cross`: only for this target; may be repeated
    #[arg(long = "target", value_name = "TARGET", requires = "cross")]
    targets: Vec<String>,
    /// With `--cross`: take compilers from here and nowhere else
    #[arg(long, value_enum, requires = "cross")]
    toolchain: Option<Origin>,
}

impl Args {
    /// What the tests need.
    pub(crate) fn of_tests() -> Self {
        let targets = platforms::targets().map(str::to_owned).collect();
        Self { cross: true, targets, ..Self::default() }
    }
}

/// Installs what is missing when run as root; otherwise prints the line to run.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> anyhow::Result<ExitCode> {
    if args.list {
        for (package, reason) in PACKAGES {
            terminal::line(&format!("{package:<18} {reason}"));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let missing = missing(workspace)?;
    if missing.is_empty() {
        return get_ready(workspace, args);
    }
    if args.check || !geteuid().is_root() {
        terminal::error(&format!("{} Debian packages are missing; run:", missing.len()));
        terminal::line(&format!(
            "  sudo apt-get update && sudo apt-get install --no-install-recommends -y {}",
            missing.join(" ")
        ));
        return Ok(ExitCode::from(USAGE));
    }
    install(workspace, &missing)?;
    let still = self::missing(workspace)?;
    if !still.is_empty() {
        bail!("apt-get installed no {}", still.join(", "));
    }
    get_ready(workspace, args)
}

/// What is not a package of Debian.
fn get_ready(workspace: &Workspace, args: &Args) -> anyhow::Result<ExitCode> {
    if args.cross && !args.check {
        cross::run(workspace, &args.targets, args.toolchain)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn missing(workspace: &Workspace) -> anyhow::Result<Vec<&'static str>> {
    let sh = &workspace.sh;
    let format = "${Package} ${db:Status-Status}\n";
    let listing = cmd!(sh, "dpkg-query --show --showformat={format}").quiet().read().context(
        "could not ask dpkg what is installed; the tests need Debian 12 or a system like it",
    )?;
    let installed: BTreeSet<_> =
        listing.lines().filter_map(|line| line.strip_suffix(" installed")).collect();
    let names = PACKAGES.iter().map(|(name, _)| *name);
    Ok(names.filter(|name| !installed.contains(name)).collect())
}

fn install(workspace: &Workspace, packages: &[&str]) -> anyhow::Result<()> {
    let sh = &workspace.sh;
    terminal::heading(&format!("Installing {}", packages.join(" ")));
    let _quiet = sh.push_env("DEBIAN_FRONTEND", "noninteractive");
    cmd!(sh, "apt-get update -q").run()?;
    for some in packages.chunks(AT_ONCE) {
        let install = || cmd!(sh, "apt-get install -q -y --no-install-recommends {some...}").run();
        install().or_else(|_| install())?;
    }
    Ok(())
}
