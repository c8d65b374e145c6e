//! Programs that are published compressed, too: what is downloaded, and what when it is of no use.

use std::{fs, process::Command};

use axum::http::StatusCode;
use sha2::{Digest as _, Sha256};
use update::{
    Addition, Edit, Repository,
    repository::{BringError, Offer},
};

use crate::{
    fixture::{Fixture, now, orbit_on, terms},
    roles::{all_keys, delegation},
    server::{Answer, Server},
};

/// Something that compresses well.
fn program() -> Vec<u8> {
    (0..40_000_u32).flat_map(|number| (number / 7).to_le_bytes()).collect()
}

/// A repository with such an orbit 1.1.0, and what the repository calls its compressed file.
async fn compressed() -> (Fixture, String) {
    let mut fixture = Fixture::with_orbit().await;
    let addition = Addition { is_compressed: true, ..fixture.orbit("1.1.0", &program()) };
    fixture.add(&[addition]).await;
    let file = file_of(&fixture, "orbit/linux/1.1.0/orbit.zst").unwrap();
    (fixture, file)
}

/// Where a target's file is published.
fn file_of(fixture: &Fixture, name: &str) -> Option<String> {
    let status = fixture.editor.status(now()).unwrap();
    let target = status.targets.iter().find(|it| it.name == name)?;
    let (dir, file) = name.rsplit_once('/').unwrap();
    Some(format!("targets/{dir}/{}.{file}", target.sha256))
}

async fn offered(reader: &mut Repository) -> Offer {
    reader.refresh(now()).await.unwrap();
    reader.offer(&orbit_on("stable"), now()).await.unwrap().unwrap()
}

async fn bring(reader: &mut Repository) -> Result<Vec<u8>, BringError> {
    let offer = offered(reader).await;
    Ok(fs::read(reader.bring(&offer.file, now()).await?).unwrap())
}

/// What was asked for below `targets/`, since the last call.
fn asked(server: &Server) -> Vec<String> {
    server.take_requests().into_iter().filter(|it| it.starts_with("targets/")).collect()
}

#[tokio::test]
async fn the_compressed_file_is_downloaded_and_nothing_else() {
    let (fixture, file) = compressed().await;
    let server = Server::start(fixture.editor.repository_dir()).await;
    let mut reader = fixture.reader(server.location());
    let offer = offered(&mut reader).await;
    let length = fs::metadata(fixture.editor.repository_dir().join(&file)).unwrap().len();
    assert_eq!(reader.missing_bytes(&offer.file, now()).await.unwrap(), length);
    assert!(bring(&mut reader).await.unwrap() == program());
    assert_eq!(asked(&server), [file.as_str()]);
    assert!(bring(&mut reader).await.unwrap() == program());
    assert_eq!(asked(&server), [""; 0], "it is here");
}

#[test]
fn zstd_unpacks_what_is_published() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (fixture, file) = runtime.block_on(compressed());
    #[expect(clippy::disallowed_methods, reason = "somebody else's tool")]
    let mut zstd = Command::new("zstd");
    let output = zstd.args(["-dc"]).arg(fixture.editor.repository_dir().join(file)).output();
    let output = output.unwrap();
    assert!(output.status.success() && output.stdout == program());
}

/// Gone, another one, or cut short: what every mirror that is in order has is the file itself.
#[tokio::test]
async fn a_compressed_file_that_is_of_no_use_is_done_without() {
    let (fixture, file) = compressed().await;
    let good = fs::read(fixture.editor.repository_dir().join(&file)).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    let whole = file_of(&fixture, "orbit/linux/1.1.0/orbit").unwrap();
    for answer in [
        Answer::Status(StatusCode::NOT_FOUND),
        Answer::Status(StatusCode::BAD_GATEWAY),
        Answer::Bytes(bad),
        Answer::Bytes(good[..good.len() - 1].to_vec()),
        Answer::Endless,
    ] {
        let server = Server::start(fixture.editor.repository_dir()).await;
        server.answer(&file, answer);
        let dir = tempfile::tempdir().unwrap();
        let cache_dir = crate::fixture::utf8(dir.path()).to_owned();
        let config = update::RepositoryConfig { cache_dir, ..fixture.config(server.location()) };
        let mut reader = Repository::open(config).unwrap();
        assert!(bring(&mut reader).await.unwrap() == program());
        assert_eq!(asked(&server), [file.as_str(), whole.as_str()]);
    }
}

/// A network that breaks down would break down over the larger file, too.
#[tokio::test]
async fn a_compressed_file_that_was_cut_off_is_gone_on_with() {
    let (fixture, file) = compressed().await;
    let good = fs::read(fixture.editor.repository_dir().join(&file)).unwrap();
    let server = Server::start(fixture.editor.repository_dir()).await;
    server.answer(&file, Answer::CutOff(good[..100].to_vec()));
    let mut reader = fixture.reader(server.location());
    let error = bring(&mut reader).await.unwrap_err();
    assert!(matches!(error, BringError::Download { .. }), "{error:?}");
    assert_eq!(asked(&server), [file.as_str()]);
    let offer = offered(&mut reader).await;
    let parts = reader.parts_of(&offer.file, None, now()).await;
    reader.keep_only(&parts.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    server.forget(&file);
    server.take_ranges();
    assert!(bring(&mut reader).await.unwrap() == program());
    assert_eq!((asked(&server), server.take_ranges()), (vec![file], vec!["bytes=100-".to_owned()]));
}

#[tokio::test]
async fn what_compression_does_not_help_is_published_as_it_is() {
    let mut fixture = Fixture::with_orbit().await;
    let noise: Vec<u8> = (0..200_u32).flat_map(|it| Sha256::digest(it.to_le_bytes())).collect();
    let addition = Addition { is_compressed: true, ..fixture.orbit("1.1.0", &noise) };
    fixture.add(&[addition]).await;
    assert_eq!(file_of(&fixture, "orbit/linux/1.1.0/orbit.zst"), None);
}

#[tokio::test]
async fn a_version_and_its_compressed_file_are_removed_together() {
    let (mut fixture, _) = compressed().await;
    let name = "orbit/linux/1.1.0/orbit";
    let done = fixture.apply(&Edit::Remove(vec![name.to_owned()])).await.unwrap();
    assert_eq!(done.targets, [name.to_owned(), format!("{name}.zst")]);
}

/// A signer of programs alone is not asked to sign for something else, and nobody in their place.
#[tokio::test]
async fn no_compressed_file_is_listed_by_another_role() {
    let mut fixture = Fixture::with_own_keys().await;
    fixture.apply(&delegation(&fixture, "orbit", "orbit/*/*/orbit")).await.unwrap();
    let addition = Addition { is_compressed: true, ..fixture.orbit("1.1.0", &program()) };
    let done = fixture.editor.apply(&Edit::Add(vec![addition]), &terms(&all_keys(&fixture))).await;
    assert_eq!(done.unwrap().targets, ["orbit/linux/1.1.0/orbit", "orbit/linux/stable/orbit"]);
}
