//! `cargo xtask dist`: the programs for every system that they run on, built on one Linux machine,
//! small, with their symbols beside them, and checked for what they ask of that system.

mod build;
mod inspect;
mod macos;
mod manifest;
mod program;
mod reproduce;
mod symbols;
mod universal;

pub(crate) mod target;
pub(crate) mod toolchain;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

pub(crate) use self::build::Purpose;
use self::{
    build::{Place, Settings},
    manifest::Manifest,
    program::{Panic, Program},
    target::{Choice, System, Target, UNIVERSAL},
    toolchain::{Origin, Toolchain},
};
use crate::{cross::Cross, terminal, version, workspace::Workspace};

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Only this target, by its Rust name or `universal-apple-darwin`; may be repeated
    #[arg(long = "target", value_name = "TARGET")]
    pub(crate) targets: Vec<String>,
    /// Only this program; may be repeated
    #[arg(long = "bin", value_name = "PROGRAM")]
    pub(crate) programs: Vec<String>,
    /// Take the compiler from here and nowhere else
    #[arg(long, value_enum)]
    pub(crate) toolchain: Option<Origin>,
    /// Build in little time what is slow and big, to see it run; into `proof` instead of `dist`
    #[arg(long, conflicts_with = "check_reproducible")]
    pub(crate) proof: bool,
    /// Build a second time in another directory, and compare
    #[arg(long)]
    pub(crate) check_reproducible: bool,
}

/// Builds what is asked for into `<target directory>/dist/<target>/`.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> anyhow::Result<()> {
    let version = version::of_checkout(workspace)?;
    let place = Place { sources: &workspace.root, target: &workspace.target, version: &version };
    let purpose = if args.proof { Purpose::Proof } else { Purpose::Shipping };
    let out = workspace.target.join(purpose.folder());
    let order = Order::new(workspace, args, purpose)?;
    order.explain(workspace)?;
    order.build(workspace, &place, &out)?;
    if args.check_reproducible {
        let copy = reproduce::Copy::new(workspace)?;
        let (sources, target) = (copy.sources(), copy.target());
        let again = Place { sources: &sources, target: &target, version: &version };
        order.build(workspace, &again, &copy.out())?;
        for name in order.folders() {
            let files = reproduce::compare(&out.join(name), &copy.out().join(name))
                .with_context(|| format!("could not reproduce {name}"))?;
            terminal::line(&format!("{name}: {files} files, the same bytes from two directories"));
        }
    }
    Ok(())
}

/// Builds `programs` for the target called `triple`; gives the folder that they are in.
pub(crate) fn build(
    workspace: &Workspace,
    triple: &str,
    programs: &[&str],
    purpose: Purpose,
) -> anyhow::Result<PathBuf> {
    let args = Args {
        targets: vec![triple.to_owned()],
        programs: programs.iter().map(|name| (*name).to_owned()).collect(),
        proof: purpose == Purpose::Proof,
        ..Args::default()
    };
    run(workspace, &args)?;
    Ok(workspace.target.join(purpose.folder()).join(triple))
}

/// Fails with everything that keeps the program at `path` from being shipped for `triple`.
pub(crate) fn inspect(triple: &str, name: &str, path: &Path) -> anyhow::Result<()> {
    let choice = Choice::new(&[triple.to_owned()])?;
    let target = choice.targets.first().context("a target was asked for")?;
    inspect::check(target, name, path)
}

/// Builds the example `name` of `package` as programs are shipped; gives its path.
pub(crate) fn example(
    workspace: &Workspace,
    triple: &str,
    (package, name): (&str, &str),
) -> anyhow::Result<PathBuf> {
    let version = version::of_checkout(workspace)?;
    let place = Place { sources: &workspace.root, target: &workspace.target, version: &version };
    let args = Args { targets: vec![triple.to_owned()], ..Args::default() };
    let order = Order::new(workspace, &args, Purpose::Shipping)?;
    let target = order.choice.targets.first().context("a target was asked for")?;
    let settings = Settings::new(workspace, &place, target, &order.toolchains[target.triple])?;
    let profile = Purpose::Shipping.profile(Panic::Aborts);
    settings
        .cargo(workspace, &place, target, profile)?
        .args(program::packages(target, Panic::Aborts))
        .args(["--package", package, "--example", name])
        .run()?;
    Ok(place.target.join(triple).join(profile).join("examples").join(name))
}

/// What is to be built, and with what.
#[derive(Debug)]
struct Order {
    programs: Vec<&'static Program>,
    choice: Choice,
    toolchains: BTreeMap<&'static str, Toolchain>,
    purpose: Purpose,
}

impl Order {
    /// Fails if anything that is needed is not there.
    fn new(workspace: &Workspace, args: &Args, purpose: Purpose) -> anyhow::Result<Self> {
        let choice = Choice::new(&args.targets)?;
        let programs = program::chosen(&args.programs)?;
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
    fn explain(&self, workspace: &Workspace) -> anyhow::Result<()> {
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

    /// Names of the folders that are made.
    fn folders(&self) -> Vec<&'static str> {
        let single = self.choice.targets.iter().map(|target| target.triple);
        single.chain(self.choice.universal.then_some(UNIVERSAL)).collect()
    }

    fn build(&self, workspace: &Workspace, place: &Place<'_>, out: &Path) -> anyhow::Result<()> {
        for &target in &self.choice.targets {
            self.build_for(workspace, place, target, out)
                .with_context(|| format!("could not build for {}", target.triple))?;
        }
        if self.choice.universal {
            self.join(place, out)?;
        }
        Ok(())
    }

    fn build_for(
        &self,
        workspace: &Workspace,
        place: &Place<'_>,
        target: &'static Target,
        out: &Path,
    ) -> anyhow::Result<()> {
        let toolchain = &self.toolchains[target.triple];
        let settings = Settings::new(workspace, place, target, toolchain)?;
        let dir = out.join(target.triple);
        fs::create_dir_all(&dir).with_context(|| format!("could not make `{}`", dir.display()))?;
        manifest::retract(&dir);
        let mut manifest = Manifest::new(place.version, target.triple, target.minimum_system());
        let mut profiles = Vec::new();
        for panic in [Panic::Aborts, Panic::Unwinds] {
            let wanted = |program: &&Program| program.panic == panic && program.runs_on(target);
            let programs: Vec<_> = self.programs.iter().copied().filter(wanted).collect();
            if programs.is_empty() {
                continue;
            }
            let profile = self.purpose.profile(panic);
            let mut cargo = settings.cargo(workspace, place, target, profile)?;
            for program in &programs {
                cargo = cargo.args(["--bin", program.name]);
            }
            cargo.args(program::packages(target, panic)).run()?;
            let built = place.target.join(target.triple).join(build::folder_of(profile));
            for program in programs {
                self.finish(workspace, (target, program), &built, &dir)?;
                manifest.bins.push(program.name);
            }
            profiles.push(profile);
        }
        manifest.profile = profiles.join(", ");
        let linker = build::linker(workspace, target)?;
        manifest.toolchain = &toolchain.version;
        manifest.linker = &linker;
        manifest.settings = Some(&settings);
        manifest.write(&dir)
    }

    /// Splits symbols off, and checks what remains.
    fn finish(
        &self,
        workspace: &Workspace,
        (target, program): (&Target, &Program),
        built: &Path,
        dir: &Path,
    ) -> anyhow::Result<()> {
        let built = built.join(target.file_name(program.name));
        let path = symbols::split(workspace, (target, program.name), &built, dir)?;
        inspect::check(target, program.name, &path)?;
        self.weigh(target.triple, program, &path)
    }

    /// Tells the size, and fails if it is over the budget.
    fn weigh(&self, target: &str, program: &Program, path: &Path) -> anyhow::Result<()> {
        let size = fs::metadata(path).context("could not ask for a program's size")?.len();
        let line = format!("{target:<27} {:<13} {size:>11} bytes", program.name);
        terminal::line(&line);
        let copies = if target == UNIVERSAL { 2 } else { 1 };
        if self.purpose == Purpose::Shipping && size > copies * program.budget {
            bail!("`{}` has {size} bytes; its budget is {}", program.name, program.budget);
        }
        Ok(())
    }

    fn join(&self, place: &Place<'_>, out: &Path) -> anyhow::Result<()> {
        let dir = out.join(UNIVERSAL);
        fs::create_dir_all(&dir).with_context(|| format!("could not make `{}`", dir.display()))?;
        manifest::retract(&dir);
        let parts: Vec<_> =
            self.choice.targets.iter().filter(|target| target.system == System::Macos).collect();
        let mut manifest = Manifest::new(place.version, UNIVERSAL, "macOS 11.0");
        for program in
            self.programs.iter().filter(|program| program.systems.contains(&System::Macos))
        {
            for file in [program.name.to_owned(), format!("{}.debug", program.name)] {
                let paths: Vec<_> =
                    parts.iter().map(|part| out.join(part.triple).join(&file)).collect();
                universal::join(&paths, &dir.join(file))?;
            }
            let path = dir.join(program.name);
            inspect::check_universal(program.name, &path)?;
            self.weigh(UNIVERSAL, program, &path)?;
            manifest.bins.push(program.name);
        }
        let first = parts.first().context("a universal program has parts")?;
        manifest.toolchain = &self.toolchains[first.triple].version;
        manifest.profile = self.purpose.profile(Panic::Aborts).to_owned();
        manifest.write(&dir)
    }
}
