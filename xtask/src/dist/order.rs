//! What `cargo xtask dist` is asked for, and how that is made.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, bail};
use wait4::Wait4 as _;
use xshell::Cmd;

use super::{
    Args,
    build::{self, Place, Purpose, Settings},
    inspect,
    manifest::{self, Manifest},
    program::{self, Panic, Program},
    symbols,
    target::{Choice, Reach, Target},
    toolchain::{self, Toolchain},
    universal,
};
use crate::{cross::Cross, terminal, workspace::Workspace};

/// What becomes of programs that an earlier run made of the same commit and that are not asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Earlier {
    Kept,
    Removed,
}

/// What is to be built, and with what.
#[derive(Debug)]
pub(super) struct Order {
    programs: Vec<&'static Program>,
    choice: Choice,
    toolchains: BTreeMap<&'static str, Toolchain>,
    purpose: Purpose,
}

/// The compiler that is preferred for `target`.
pub(super) fn toolchain(workspace: &Workspace, target: &Target) -> anyhow::Result<Toolchain> {
    let cross = Cross::new()?;
    toolchain::check_tools(workspace, &cross, &[target])?;
    toolchain::find(workspace, &cross, target, None)
}

impl Order {
    /// Fails if anything that is needed is not there.
    pub(super) fn new(
        workspace: &Workspace,
        args: &Args,
        purpose: Purpose,
    ) -> anyhow::Result<Self> {
        let programs = program::chosen(&args.programs)?;
        let choice = fitting(Choice::new(&args.targets)?, &programs)?;
        let cross = Cross::new()?;
        toolchain::check_tools(workspace, &cross, &choice.targets)?;
        let mut toolchains = BTreeMap::new();
        for target in &choice.targets {
            let toolchain = toolchain::find(workspace, &cross, target, args.toolchain)?;
            toolchains.insert(target.triple, toolchain);
        }
        Ok(Self { programs, choice, toolchains, purpose })
    }

    /// Says which compiler is taken for each target, and why none that is preferred.
    pub(super) fn explain(&self, workspace: &Workspace) -> anyhow::Result<()> {
        for target in &self.choice.targets {
            let toolchain = &self.toolchains[target.triple];
            let linker = build::linker(workspace, target)?;
            let (origin, name) = (toolchain.origin(), toolchain.name());
            terminal::note(&format!("{}: {origin} {name}, {linker}", target.triple));
            for reason in &toolchain.passed_over {
                terminal::note(&format!("{}: {reason}", target.triple));
            }
        }
        Ok(())
    }

    /// What the folders that are made are for.
    pub(super) fn reaches(&self) -> Vec<Reach> {
        let single = self.choice.targets.iter().map(|target| Reach::One(target));
        single.chain(self.choice.universal.then_some(Reach::Universal)).collect()
    }

    /// Builds at `place`; finished programs go to a folder for each target in `out`.
    pub(super) fn build(
        &self,
        workspace: &Workspace,
        place: &Place<'_>,
        out: (&Path, Earlier),
    ) -> anyhow::Result<()> {
        for reach in self.reaches() {
            self.fill(workspace, place, reach, out)?;
        }
        Ok(())
    }

    /// Makes one folder at `place`: finished programs go to `out`, below the name of `reach`.
    pub(super) fn fill(
        &self,
        workspace: &Workspace,
        place: &Place<'_>,
        reach: Reach,
        out: (&Path, Earlier),
    ) -> anyhow::Result<()> {
        alone(out.0, reach)
            .and_then(|_lock| self.make(workspace, place, reach, out))
            .with_context(|| format!("could not build for {}", reach.name()))
    }

    fn make(
        &self,
        workspace: &Workspace,
        place: &Place<'_>,
        reach: Reach,
        (out, earlier): (&Path, Earlier),
    ) -> anyhow::Result<()> {
        let dir = out.join(reach.name());
        fs::create_dir_all(&dir).with_context(|| format!("could not make `{}`", dir.display()))?;
        let parts = reach.parts();
        let target = parts.first().context("a folder is for some target")?;
        let toolchain = &self.toolchains[target.triple];
        let settings = Settings::new(workspace, place, target, toolchain)?;
        let linker = build::linker(workspace, target)?;
        let mut manifest = Manifest::new(place.version, reach);
        manifest.toolchain = &toolchain.version;
        manifest.linker = &linker;
        manifest.settings = Some(&settings);
        let programs = self.programs_for(reach);
        let earlier = if earlier == Earlier::Kept { manifest.earlier(&dir) } else { Vec::new() };
        let is_kept = |program: &&Program| earlier.iter().any(|name| name == program.name);
        let kept: Vec<_> = program::PROGRAMS
            .iter()
            .filter(|program| programs.contains(program) || is_kept(program))
            .collect();
        manifest::retract(&dir, reach, &kept)?;
        match reach {
            Reach::One(target) => {
                self.compile(workspace, place, &settings, (target, &programs, &dir))?;
            }
            Reach::Universal => join(&parts, &programs, out)?,
        }
        for program in &programs {
            let path = dir.join(reach.system().file_name(program.name));
            inspect::check(reach, program.name, &path)?;
            self.weigh(reach, program, &path)?;
        }
        manifest.describe(&kept, self.purpose);
        manifest.write(&dir)
    }

    /// Programs that are asked for and run there.
    fn programs_for(&self, reach: Reach) -> Vec<&'static Program> {
        self.programs.iter().copied().filter(|program| program.runs_on(reach.system())).collect()
    }

    /// Has cargo build `programs`, and splits symbols off into `dir`. Tells what it took.
    fn compile(
        &self,
        workspace: &Workspace,
        place: &Place<'_>,
        settings: &Settings,
        (target, programs, dir): (&'static Target, &[&'static Program], &Path),
    ) -> anyhow::Result<()> {
        let mut took = Duration::ZERO;
        for panic in [Panic::Aborts, Panic::Unwinds] {
            let programs: Vec<_> =
                programs.iter().filter(|program| program.panic == panic).collect();
            if programs.is_empty() {
                continue;
            }
            let profile = self.purpose.profile(panic);
            let mut cargo = settings.cargo(workspace, place, target, profile)?;
            for program in &programs {
                cargo = cargo.args(["--bin", program.name]);
            }
            took += processor_time(cargo.args(program::packages(target.system, panic)))?;
            let built = place.target.join(target.triple).join(build::folder_of(profile));
            for program in programs {
                let built = built.join(target.system.file_name(program.name));
                symbols::split(workspace, (target, program.name), &built, dir)?;
            }
        }
        let seconds = took.as_secs_f64();
        terminal::line(&format!("{:<27} {seconds:.0} s of processor time", target.triple));
        Ok(())
    }

    /// Tells the size, and fails if it is over the budget.
    fn weigh(&self, reach: Reach, program: &Program, path: &Path) -> anyhow::Result<()> {
        let size = fs::metadata(path).context("could not ask for a program's size")?.len();
        let target = reach.name();
        terminal::line(&format!("{target:<27} {:<13} {size:>11} bytes", program.name));
        let budget = program.budget * reach.parts().len() as u64;
        if self.purpose == Purpose::Shipping && size > budget {
            bail!("`{}` has {size} bytes; its budget is {budget}", program.name);
        }
        Ok(())
    }
}

/// Waits until nobody else fills the folder of `reach` below `out`: platforms are tried while others are
/// measured. Whoever has the lock has it until it is dropped.
fn alone(out: &Path, reach: Reach) -> anyhow::Result<File> {
    let path = out.join(format!("{}.lock", reach.name()));
    fs::create_dir_all(out)
        .and_then(|()| File::create(&path))
        .and_then(|file| file.lock().map(|()| file))
        .with_context(|| format!("could not lock `{}`", path.display()))
}

/// Runs `cmd`; gives what it and all that it started took of the processors.
fn processor_time(cmd: Cmd<'_>) -> anyhow::Result<Duration> {
    let shown = cmd.to_string();
    let mut child =
        Command::from(cmd).spawn().with_context(|| format!("could not start `{shown}`"))?;
    let used = child.wait4().with_context(|| format!("could not wait for `{shown}`"))?;
    if !used.status.success() {
        bail!("`{shown}` failed ({})", used.status);
    }
    Ok(used.rusage.utime + used.rusage.stime)
}

/// Leaves out what none of `programs` runs on; fails if nothing remains.
fn fitting(mut choice: Choice, programs: &[&Program]) -> anyhow::Result<Choice> {
    let fits = |reach: Reach| programs.iter().any(|program| program.runs_on(reach.system()));
    choice.targets.retain(|target| fits(Reach::One(target)));
    choice.universal &= fits(Reach::Universal);
    if choice.targets.is_empty() {
        let names: Vec<_> = programs.iter().map(|program| program.name).collect();
        bail!("`{}` runs on no target that was asked for", names.join("`, `"));
    }
    Ok(choice)
}

/// Makes one program of those of `parts`, and of their symbols.
fn join(parts: &[&Target], programs: &[&Program], out: &Path) -> anyhow::Result<()> {
    let dir = out.join(Reach::Universal.name());
    for program in programs {
        for file in [program.name.to_owned(), program.symbols()] {
            let paths: Vec<_> =
                parts.iter().map(|part| out.join(part.triple).join(&file)).collect();
            universal::join(&paths, &dir.join(file))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitting(targets: &[&str], programs: &[&str]) -> anyhow::Result<Vec<&'static str>> {
        let owned =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let choice = Choice::new(&owned(targets))?;
        let choice = super::fitting(choice, &program::chosen(&owned(programs))?)?;
        Ok(choice.targets.iter().map(|target| target.triple).collect())
    }

    #[test]
    fn a_folder_is_filled_by_one_alone_and_others_beside_it() {
        let out = tempfile::TempDir::new().unwrap();
        let [one, other] = [0, 1].map(|at| Reach::One(&super::super::target::TARGETS[at]));
        let held = alone(out.path(), one).unwrap();
        let beside = alone(out.path(), other).unwrap();
        let path = out.path().join(format!("{}.lock", one.name()));
        let second = File::open(&path).unwrap();
        assert!(second.try_lock().is_err());
        drop((held, beside));
        assert!(second.try_lock().is_ok());
    }

    #[test]
    fn a_target_that_no_program_runs_on_is_left_out() {
        let linux = ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"];
        assert_eq!(fitting(&[], &["fleet-server"]).unwrap(), linux);
        assert_eq!(
            fitting(&[linux[0], "aarch64-apple-darwin"], &["fleet-server"]).unwrap(),
            [linux[0]]
        );
        let error = fitting(&["x86_64-pc-windows-gnu"], &["fleet-server"]).unwrap_err();
        assert_eq!(error.to_string(), "`fleet-server` runs on no target that was asked for");
    }
}
