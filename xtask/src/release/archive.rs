//! Archives: `.tar.zst`, and `.zip` for Windows. Sorted, dated like the commit, owned by root.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use anyhow::Context as _;
use jiff::{Timestamp, tz::TimeZone};
use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

use super::{
    Release,
    built::{Program, Target},
    contents::Generated,
};

/// Compressing threads. Any number gives the same bytes, but none at all gives others.
const ZSTD_THREADS: u32 = 2;

/// The earliest and latest years that a zip file can hold.
const ZIP_YEARS: std::ops::RangeInclusive<i16> = 1980..=2107;

/// A file to be packed.
#[derive(Debug)]
struct Entry {
    bytes: Vec<u8>,
    executable: bool,
}

/// By path within the archive.
type Entries = BTreeMap<String, Entry>;

/// Writes the archive of `target`, and the one with its symbols.
pub(super) fn write(
    release: &Release<'_>,
    target: &Target,
    generated: &Generated,
) -> anyhow::Result<()> {
    let entries = programs(release, target, generated)?;
    let name = target.archive(&release.version.text);
    if target.is_windows() {
        zip(&release.dir.join(name), &entries, release.version.date)?;
    } else {
        tar_zst(release, &name, &entries)?;
    }
    let folder = release.name(&format!("{}-symbols", target.name()));
    tar_zst(release, &format!("{folder}.tar.zst"), &symbols(target, &folder)?)
}

/// Programs and what belongs to them, in one folder.
fn programs(
    release: &Release<'_>,
    target: &Target,
    generated: &Generated,
) -> anyhow::Result<Entries> {
    let folder = release.name(target.name());
    let mut entries = Entries::new();
    let mut add = |name: &str, bytes: Vec<u8>, executable: bool| {
        entries.insert(format!("{folder}/{name}"), Entry { bytes, executable });
    };
    for program in &target.programs {
        add(&target.reach.system().file_name(program.name), read(&program.path)?, true);
    }
    let reference = target.program("fleetctl").map(|_| &generated.reference);
    for (name, bytes) in generated.documents.iter().chain(reference.into_iter().flatten()) {
        add(name, bytes.clone(), false);
    }
    Ok(entries)
}

fn symbols(target: &Target, folder: &str) -> anyhow::Result<Entries> {
    let mut entries = Entries::new();
    for Program { symbols, .. } in &target.programs {
        let name = symbols.file_name().unwrap_or_default().to_string_lossy();
        let entry = Entry { bytes: read(symbols)?, executable: false };
        entries.insert(format!("{folder}/{name}"), entry);
    }
    Ok(entries)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("could not read `{}`", path.display()))
}

fn tar_zst(release: &Release<'_>, name: &str, entries: &Entries) -> anyhow::Result<()> {
    let path = release.dir.join(name);
    let write = || -> io::Result<()> {
        let mut encoder = zstd::Encoder::new(File::create(&path)?, release.compression)?;
        encoder.multithread(ZSTD_THREADS)?;
        encoder.include_checksum(true)?;
        tar(&mut encoder, entries, release.version.date)?;
        encoder.finish()?.sync_all()
    };
    write().with_context(|| format!("could not write `{}`", path.display()))
}

fn tar(out: impl Write, entries: &Entries, date: i64) -> io::Result<()> {
    let mut tar = tar::Builder::new(out);
    for folder in folders(entries) {
        let mut header = header(tar::EntryType::Directory, 0o755, date);
        header.set_size(0);
        tar.append_data(&mut header, folder, io::empty())?;
    }
    for (path, entry) in entries {
        let mode = if entry.executable { 0o755 } else { 0o644 };
        let mut header = header(tar::EntryType::Regular, mode, date);
        header.set_size(entry.bytes.len() as u64);
        tar.append_data(&mut header, path, entry.bytes.as_slice())?;
    }
    tar.into_inner()?.flush()
}

fn header(kind: tar::EntryType, mode: u32, date: i64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(date.max(0).unsigned_abs());
    header
}

/// All folders above the files, the outer before the inner.
fn folders(entries: &Entries) -> BTreeSet<String> {
    let above = |path: &String| {
        let cuts: Vec<_> = path.match_indices('/').map(|(at, _)| path[..at].to_owned()).collect();
        cuts
    };
    entries.keys().flat_map(above).map(|folder| format!("{folder}/")).collect()
}

fn zip(path: &Path, entries: &Entries, date: i64) -> anyhow::Result<()> {
    let problem = || format!("could not write `{}`", path.display());
    let mut zip = ZipWriter::new(File::create(path).with_context(problem)?);
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(9))
        .last_modified_time(zip_date(date));
    for (name, entry) in entries {
        let mode = if entry.executable { 0o755 } else { 0o644 };
        zip.start_file(name.as_str(), options.unix_permissions(mode)).with_context(problem)?;
        zip.write_all(&entry.bytes).with_context(problem)?;
    }
    zip.finish().with_context(problem)?.sync_all().with_context(problem)
}

/// The nearest date that a zip file can hold.
fn zip_date(date: i64) -> DateTime {
    let date = Timestamp::from_second(date).unwrap_or(Timestamp::UNIX_EPOCH);
    let date = date.to_zoned(TimeZone::UTC).datetime();
    let small = |part: i8| part.unsigned_abs();
    if !ZIP_YEARS.contains(&date.year()) {
        return DateTime::default();
    }
    DateTime::from_date_and_time(
        date.year().unsigned_abs(),
        small(date.month()),
        small(date.day()),
        small(date.hour()),
        small(date.minute()),
        small(date.second()),
    )
    .unwrap_or_default()
}
