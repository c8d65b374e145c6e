//! Patches from one version to the next: made when one is added, tried by who has the other, and of no
//! harm where they are of no use.

use std::{fs, io::Read as _, process::Command};

use axum::http::StatusCode;
use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest as _, Sha256};
use update::{Addition, Connection, Edit, Repository, RepositoryConfig, repository::Offer};

use crate::{
    clients::{VERSION, by_tuftool},
    fixture::{Fixture, fetch_stable, now, orbit_on, utf8},
    server::{Answer, Server},
};

/// Something that zstd makes a third of, and most of which is the same in every version.
fn program(version: u8) -> Vec<u8> {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut words = (0..40_000).flat_map(|_| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random & 0x0fff_00ff).to_le_bytes()
    });
    let mut bytes: Vec<u8> = words.by_ref().collect();
    for place in bytes.iter_mut().step_by(20_000) {
        *place = version;
    }
    bytes
}

/// A repository whose orbit 1.1.0 follows 1.0.0, the file of that patch, and the names of targets.
async fn patched() -> (Fixture, String) {
    let mut fixture = Fixture::new().await;
    for (version, content) in [("1.0.0", program(1)), ("1.1.0", program(2))] {
        let addition = Addition { is_compressed: true, ..fixture.orbit(version, &content) };
        fixture.add(&[addition]).await;
    }
    let files = patches(&fixture);
    let [file] = &files[..] else { panic!("{files:?}") };
    let file = file.clone();
    (fixture, file)
}

/// Where the patches are that are listed.
fn patches(fixture: &Fixture) -> Vec<String> {
    let listed = fixture.editor.status(now()).unwrap().targets.into_iter();
    let patches = listed.filter(|it| it.name.ends_with(".patch"));
    let place = |name: &str, sha256: &str| {
        let (dir, file) = name.rsplit_once('/').unwrap();
        format!("targets/{dir}/{sha256}.{file}")
    };
    patches.map(|it| place(&it.name, &it.sha256)).collect()
}

/// A reader with nothing in its cache.
fn reader(fixture: &Fixture, server: &Server, cache: &str) -> Repository {
    let cache_dir = fixture.path(cache);
    let config = RepositoryConfig { cache_dir, ..fixture.config(server.location()) };
    Repository::open(config).unwrap()
}

async fn offered(reader: &mut Repository) -> Offer {
    reader.refresh(now()).await.unwrap();
    reader.offer(&orbit_on("stable"), now()).await.unwrap().unwrap()
}

/// What somebody gets who has the file at `present`, and what they downloaded for it.
async fn brought(
    fixture: &Fixture,
    server: &Server,
    (cache, present): (&str, &Utf8Path),
) -> (Vec<u8>, Vec<String>) {
    let mut reader = reader(fixture, server, cache);
    let offer = offered(&mut reader).await;
    let path = reader.bring_over(&offer.file, Some(present), now()).await.unwrap();
    let asked = server.take_requests().into_iter().filter(|it| it.starts_with("targets/"));
    (fs::read(path).unwrap(), asked.collect())
}

/// The kinds of files that were asked for.
fn kinds(asked: &[String]) -> Vec<&str> {
    asked.iter().map(|it| it.rsplit_once('.').unwrap().1).collect()
}

#[tokio::test]
async fn whoever_has_the_version_before_downloads_a_patch_and_nothing_else() {
    let (fixture, file) = patched().await;
    let length =
        |file: &str| fs::metadata(fixture.editor.repository_dir().join(file)).unwrap().len();
    assert!(length(&file) < 2_000, "{}", length(&file));
    let server = Server::start(fixture.editor.repository_dir()).await;
    let present = fixture.write("present", &program(1));
    let (content, asked) = brought(&fixture, &server, ("first", &present)).await;
    assert!(content == program(2));
    assert_eq!(asked, [file]);
}

#[tokio::test]
async fn zstd_applies_what_is_published() {
    let (fixture, file) = patched().await;
    let present = fixture.write("present", &program(1));
    #[expect(clippy::disallowed_methods, reason = "somebody else's tool")]
    let mut zstd = Command::new("zstd");
    zstd.args(["-dc", "--patch-from", present.as_str()]);
    let output = zstd.arg(fixture.editor.repository_dir().join(file)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == program(2));
}

#[tokio::test]
async fn whoever_has_something_else_is_offered_no_patch() {
    let (fixture, _) = patched().await;
    let server = Server::start(fixture.editor.repository_dir()).await;
    for (cache, present) in [
        ("cache-1", fixture.write("another", &program(3))),
        ("cache-2", Utf8PathBuf::from("/nowhere/orbit")),
    ] {
        let (content, asked) = brought(&fixture, &server, (cache, &present)).await;
        assert!(content == program(2));
        assert_eq!(kinds(&asked), ["zst"], "{cache}");
    }
}

/// Gone, not to be had, changed, cut short or without an end.
#[tokio::test]
async fn a_patch_that_cannot_be_had_is_done_without() {
    let (fixture, file) = patched().await;
    let good = fs::read(fixture.editor.repository_dir().join(&file)).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    let present = fixture.write("present", &program(1));
    for (number, answer) in [
        Answer::Status(StatusCode::NOT_FOUND),
        Answer::Status(StatusCode::BAD_GATEWAY),
        Answer::Bytes(bad),
        Answer::Bytes(good[..good.len() - 1].to_vec()),
        Answer::CutOff(good[..20].to_vec()),
        Answer::Endless,
    ]
    .into_iter()
    .enumerate()
    {
        let server = Server::start(fixture.editor.repository_dir()).await;
        server.answer(&file, answer);
        let cache = format!("cache-{number}");
        let (content, asked) = brought(&fixture, &server, (&cache, &present)).await;
        assert!(content == program(2));
        assert_eq!(kinds(&asked), ["patch", "zst"], "{number}");
    }
}

/// A patch that was signed and makes something else: what it makes is not used, however much of it
/// there would be.
#[tokio::test]
async fn a_patch_that_makes_something_else_is_done_without() {
    let bomb = zstd::encode_all(std::io::repeat(0).take(1 << 30), 1).unwrap();
    let other = zstd::encode_all(&b"something else"[..], 1).unwrap();
    assert!(bomb.len() < program(2).len());
    for patch in [bomb, other, b"no zstd".to_vec()] {
        let temporary = tempfile::tempdir().unwrap();
        let dir = utf8(temporary.path());
        let (present, content) = (dir.join("present"), program(2));
        fs::write(&present, program(1)).unwrap();
        let hash = hex::encode(Sha256::digest(program(1)));
        let name = format!("orbit/linux/{VERSION}/orbit.{}.patch", &hash[..16]);
        let version = format!("orbit/linux/{VERSION}/orbit");
        let stable = orbit_on("stable").to_string();
        by_tuftool(dir, true, &[(&stable, &content), (&version, &content), (&name, &patch)]).await;
        let server = Server::start(dir).await;
        let mut reader = Repository::open(RepositoryConfig {
            pinned_root: fs::read(dir.join("root.json")).unwrap(),
            location: format!("{}/metadata", server.url()).parse().unwrap(),
            cache_dir: dir.join("cache"),
            connection: Connection::default(),
            offline: false,
        })
        .unwrap();
        let offer = offered(&mut reader).await;
        let path = reader.bring_over(&offer.file, Some(&present), now()).await.unwrap();
        assert!(fs::read(path).unwrap() == content);
        assert!(server.take_requests().iter().any(|it| it.ends_with(".patch")));
    }
}

#[tokio::test]
async fn a_version_and_its_patches_are_removed_together() {
    let (mut fixture, _) = patched().await;
    let name = "orbit/linux/1.1.0/orbit".to_owned();
    let done = fixture.apply(&Edit::Remove(vec![name.clone()])).await.unwrap();
    assert_eq!(done.targets.len(), 3, "{:?}", done.targets);
    assert_eq!(patches(&fixture), [""; 0]);
}

/// Whoever builds packages has no version before, and downloads the compressed file.
#[tokio::test]
async fn packages_are_made_of_compressed_files() {
    let (fixture, _) = patched().await;
    let server = Server::start(fixture.editor.repository_dir()).await;
    let fetched = fetch_stable(&mut reader(&fixture, &server, "packages")).await.unwrap();
    assert!(fs::read(&fetched.path).unwrap() == program(2));
    assert_eq!((fetched.version.as_str(), fetched.length), ("1.1.0", program(2).len() as u64));
    let asked = server.take_requests();
    let asked: Vec<_> = asked.iter().filter(|it| it.starts_with("targets/")).collect();
    assert!(asked.len() == 1 && asked[0].ends_with("orbit.zst"), "{asked:?}");
    let file = asked[0].clone();
    server.answer(&file, Answer::Bytes(b"another".to_vec()));
    let fetched = fetch_stable(&mut reader(&fixture, &server, "again")).await.unwrap();
    assert!(fs::read(&fetched.path).unwrap() == program(2));
}
