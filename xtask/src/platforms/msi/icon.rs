//! The icon of whoever signs in: started as Windows would, on a screen that nobody sees, and clicked by a
//! program.

use std::fs;

use anyhow::{Context as _, bail};

use super::{Course, SOON, Stage};
use crate::{
    platforms::wine::Prefix,
    process::{Daemon, wait_until},
};

/// The package.
const NAME: &str = "with-icon";

/// A version of fleet-desktop that comes later.
const OTHER: &str = "2.0.0";

/// What Windows starts when somebody signs in.
const RUN: &str = r"'HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Run'";

/// That, as a shell takes it.
const START: &str = r"'C:\Program Files\Orbit\bin\desktop\packaged\fleet-desktop.exe' tray";

const CLICK: &str = include_str!("../icon.c");

/// Where wine looks up what opens web pages.
const BROWSERS: &str = r"'HKCU\Software\Wine\WineBrowser'";

/// Goes where it is sent, and notes where that leads.
const BROWSER: &str = "#!/bin/sh
curl -sS -m 10 -o /dev/null -w '%{redirect_url}\\n' \"$1\" >> \"$(dirname \"$0\")/opened.txt\"
";

impl Course<'_, '_> {
    /// Leaves nothing installed.
    pub(super) fn icon(&mut self) {
        let mut shown = None;
        self.check("a package with fleet-desktop starts it when somebody signs in", |stage| {
            stage.make_with_icon()?;
            stage.install(NAME, "")?;
            stage.in_contact("")?;
            let token = || Ok(stage.file("identifier").exists().then_some(()));
            wait_until(SOON, token)?.context("the agent has made no desktop token")?;
            shown = Some(stage.sign_in()?);
            Ok(())
        });
        self.check("its icon is shown, and \"My device\" opens the device's page", |stage| {
            let shown = shown.as_ref().context("nobody has signed in")?;
            stage.click(shown)
        });
        self.check("another version that is installed shows the icon instead", |stage| {
            stage.install_other_icon()
        });
        self.check("removed, the icon ends and is started no more", |stage| {
            stage.remove(NAME, "")?;
            if let [icon, ..] = &stage.icons_shown()?[..] {
                bail!("`{icon}` shows it still");
            }
            stage.expect_absent("a start", &format!("reg query {RUN} /v fleet-desktop"))?;
            stage.expect_gone()
        });
    }
}

/// A screen with an icon.
struct Shown {
    display: String,
    _icon: Daemon,
    _screen: Daemon,
}

impl Stage<'_> {
    fn make_with_icon(&self) -> anyhow::Result<()> {
        let desk = &self.deployment.desk;
        let programs = self.components.display();
        desk.run(&format!(
            "mkdir iconic && cp '{programs}/orbit.exe' '{programs}/fleet-desktop.exe' iconic && fleetctl package --type msi --arch amd64 --components iconic --without-osqueryd --fleet-desktop --disable-keystore --fleet-certificate tls/ca.pem --fleet-url {} --enroll-secret-file secret.txt --package-version 1.0.0 --outfile {NAME}.msi",
            self.server
        ))
        .map(drop)
    }

    /// Does what Windows does with the value that the package has put there.
    fn sign_in(&self) -> anyhow::Result<Shown> {
        let desk = &self.deployment.desk;
        let value = self.wine(&format!("reg query {RUN} /v fleet-desktop"))?;
        let command = value.lines().find_map(|line| line.split_once("REG_SZ"));
        let (_, command) = command.context("nothing is started")?;
        if command.trim() != START.replace('\'', "\"") {
            bail!("`{}` is started", command.trim());
        }
        let screen =
            desk.start("screen", "Xvfb -displayfd 1 -screen 0 800x600x24 -nolisten tcp")?;
        let display = screen
            .wait_for("its number", |log| log.lines().find_map(|line| line.parse::<u16>().ok()))?;
        let display = format!(":{display}");
        let wine = self.prefix.command_on(&display);
        let icon =
            desk.start("icon", &format!("{wine} explorer /desktop=icons,800x600 {START}"))?;
        Ok(Shown { display, _icon: icon, _screen: screen })
    }

    fn click(&self, shown: &Shown) -> anyhow::Result<()> {
        let desk = &self.deployment.desk;
        let browser = desk.dir.join("browser");
        for (path, text) in [(&desk.dir.join("icon.c"), CLICK), (&browser, BROWSER)] {
            fs::write(path, text).context("could not write a program")?;
        }
        desk.run(
            "x86_64-w64-mingw32-gcc -municode -O2 -s -o click.exe icon.c && chmod +x browser",
        )?;
        self.wine(&format!("reg add {BROWSERS} /v Browsers /d '{}' /f", browser.display()))?;
        let click = Prefix::path(&desk.dir.join("click.exe"));
        let wine = self.prefix.command_on(&shown.display);
        let limit = SOON.as_secs();
        desk.read(&format!("timeout {limit} {wine} explorer /desktop=icons {click}"))?;
        let token = fs::read_to_string(self.file("identifier")).context("there is no token")?;
        let page = format!("{}/device/{token}", self.server);
        let opened = || fs::read_to_string(desk.dir.join("opened.txt")).unwrap_or_default();
        let seen =
            wait_until(SOON, || Ok(opened().lines().any(|line| line == page).then_some(())))?;
        // The page's address is a secret.
        seen.with_context(|| format!("{} other pages are opened", opened().lines().count()))
    }

    /// Does what an update does.
    fn install_other_icon(&self) -> anyhow::Result<()> {
        let desktop = self.file("bin/desktop");
        let (packaged, other) = (desktop.join("packaged"), desktop.join(OTHER));
        fs::create_dir(&other)
            .and_then(|()| {
                fs::copy(packaged.join("fleet-desktop.exe"), other.join("fleet-desktop.exe"))
            })
            .and_then(|_| fs::write(desktop.join("current"), OTHER))
            .context("could not install a version")?;
        let ending = format!(r"\{OTHER}\fleet-desktop.exe");
        let changed = wait_until(SOON, || {
            let icons = self.icons_shown()?;
            Ok(matches!(&icons[..], [icon] if icon.ends_with(&ending)).then_some(()))
        })?;
        changed.with_context(|| format!("there are {:?}", self.icons_shown()))
    }

    /// The programs that show one.
    fn icons_shown(&self) -> anyhow::Result<Vec<String>> {
        let mut paths: Vec<_> = self.programs()?.into_iter().map(|(_, path)| path).collect();
        paths.retain(|path| path.ends_with(r"\fleet-desktop.exe"));
        Ok(paths)
    }
}
