//! The formula for [Homebrew](https://docs.brew.sh/Formula-Cookbook), on macOS and Linux.

use super::{DESCRIPTION, Download, Subject};
use crate::dist::target::{Cpu, System};

const INSTALL: &str = r##"
  def install
    bin.install "fleetctl"
    bash_completion.install "completions/fleetctl.bash" => "fleetctl"
    fish_completion.install "completions/fleetctl.fish"
    zsh_completion.install "completions/_fleetctl"
    man1.install Dir["man/man1/*.1"]
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/fleetctl --version")
  end
end
"##;

/// The formula's file name and text; None if neither system was built.
pub(super) fn formula(subject: &Subject<'_>) -> Option<(String, String)> {
    let of = |system| {
        architectures(subject.download(system, Cpu::X86_64), subject.download(system, Cpu::Aarch64))
    };
    let (macos, linux) = (of(System::Macos), of(System::Linux));
    let blocks = [block(2, "on_macos", &macos), block(2, "on_linux", &linux)].concat();
    if blocks.is_empty() {
        return None;
    }
    let Subject { version, homepage, .. } = subject;
    let head = format!(
        "class Fleetctl < Formula\n  desc \"{DESCRIPTION}\"\n  homepage \"{homepage}\"\n  \
         version \"{version}\"\n  license any_of: [\"Apache-2.0\", \"MIT\"]\n"
    );
    Some(("fleetctl.rb".to_owned(), [head, blocks, INSTALL.to_owned()].concat()))
}

/// One archive if it is for both.
fn architectures(intel: Option<&Download>, arm: Option<&Download>) -> String {
    if let (Some(intel), Some(arm)) = (intel, arm)
        && intel.url == arm.url
    {
        return source(4, intel);
    }
    let one = |name, download: Option<&Download>| {
        download.map_or_else(String::new, |it| block(4, name, &source(6, it)))
    };
    let both = [one("on_intel", intel), one("on_arm", arm)].concat();
    both.trim_start_matches('\n').to_owned()
}

fn source(indent: usize, download: &Download) -> String {
    let Download { url, sha256, .. } = download;
    format!("{:indent$}url \"{url}\"\n{:indent$}sha256 \"{sha256}\"\n", "", "")
}

/// Nothing, if there is nothing to go into it.
fn block(indent: usize, name: &str, inside: &str) -> String {
    if inside.is_empty() {
        return String::new();
    }
    format!("\n{:indent$}{name} do\n{inside}{:indent$}end\n", "", "")
}
