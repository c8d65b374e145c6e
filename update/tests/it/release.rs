//! Release manifests: what they say, and when they change.

use std::fs;

use jiff::SignedDuration;
use proptest::prelude::*;
use update::{
    Component, Edit, Promotion,
    editor::{ChangeError, Pausing, Rollout},
    release::{Release, ReleaseError, SEEDS, Wave},
};

use crate::fixture::{Fixture, now};

fn wave(seeds: u16, hours: i64) -> Wave {
    Wave { seeds, start: now() + SignedDuration::from_hours(hours) }
}

fn promotion(waves: Vec<Wave>) -> Edit {
    Edit::Promote(Promotion {
        component: Component::Orbit,
        platforms: Vec::new(),
        version: "1.0.0".parse().unwrap(),
        channel: "stable".parse().unwrap(),
        rollout: Rollout { waves, ..Rollout::default() },
    })
}

/// The manifest of orbit for Linux on `stable`, as its file.
fn manifest(fixture: &Fixture) -> Release {
    let status = fixture.editor.status(now()).unwrap();
    let name = "orbit/linux/stable/release.json";
    let target = status.targets.iter().find(|it| it.name == name).unwrap();
    let file = format!("targets/orbit/linux/stable/{}.release.json", target.sha256);
    Release::from_json(&fs::read(fixture.editor.repository_dir().join(file)).unwrap()).unwrap()
}

fn pause(is_paused: bool) -> Edit {
    Edit::Pause(Pausing {
        component: Component::Orbit,
        platforms: Vec::new(),
        channel: "stable".parse().unwrap(),
        is_paused,
    })
}

#[tokio::test]
async fn a_rollout_is_signed_paused_and_goes_on() {
    let mut fixture = Fixture::with_orbit().await;
    let error = fixture.apply(&pause(true)).await.unwrap_err();
    assert!(matches!(error, ChangeError::NoSuchTargets { .. }), "{error:?}");
    let waves = vec![wave(21, 0), wave(205, 24), wave(SEEDS, 72)];
    fixture.apply(&promotion(waves.clone())).await.unwrap();
    let first = manifest(&fixture);
    assert_eq!((first.version.as_str(), &first.waves, first.paused), ("1.0.0", &waves, false));
    assert_eq!(first.files[0].target, "orbit/linux/1.0.0/orbit");
    fixture.apply(&pause(true)).await.unwrap();
    assert_eq!(manifest(&fixture), Release { paused: true, ..first.clone() });
    fixture.apply(&pause(false)).await.unwrap();
    assert_eq!(manifest(&fixture), first);
    // A file that is added to the channel is what the manifest tells of, at once and for everybody.
    fixture.publish_orbit("1.1.0", b"orbit, the second").await;
    let second = manifest(&fixture);
    assert_eq!((second.version.as_str(), second.waves.len()), ("1.1.0", 0));
    update::audit::audit(fixture.editor.repository_dir(), now()).await.unwrap();
}

#[tokio::test]
async fn channels_that_are_half_a_version_keep_their_manifest_current() {
    let mut fixture = Fixture::with_orbit().await;
    let channels = ["1", "1.0"].map(|it| it.parse::<update::Channel>().unwrap());
    for channel in &channels {
        let Edit::Promote(promotion) = promotion(Vec::new()) else { unreachable!() };
        let edit = Edit::Promote(Promotion { channel: channel.clone(), ..promotion });
        fixture.apply(&edit).await.unwrap();
    }
    let mut next = fixture.orbit("1.0.1", b"orbit, mended");
    next.tags = channels.to_vec();
    let done = fixture.add(&[next]).await;
    for channel in channels {
        assert!(done.targets.contains(&format!("orbit/linux/{channel}/release.json")), "{done:?}");
    }
}

#[tokio::test]
async fn the_oldest_agent_is_named_by_its_version() {
    let fixture = Fixture::with_orbit().await;
    for (given, is_fine) in [("edge", false), ("1.2", false), ("1.2.3", true)] {
        let Edit::Promote(promotion) = promotion(Vec::new()) else { unreachable!() };
        let rollout = Rollout { min_agent: Some(given.parse().unwrap()), ..Rollout::default() };
        let checked = fixture.editor.check(&Edit::Promote(Promotion { rollout, ..promotion }));
        let refused = matches!(
            checked,
            Err(ChangeError::Release(ReleaseError::MinAgent { given: it })) if it == given
        );
        assert_eq!(refused, !is_fine, "{given}");
    }
}

#[tokio::test]
async fn waves_that_leave_somebody_out_are_refused() {
    let fixture = Fixture::with_orbit().await;
    let waves = [
        vec![wave(100, 0)],
        vec![wave(0, 0), wave(SEEDS, 1)],
        vec![wave(200, 0), wave(100, 1), wave(SEEDS, 2)],
        vec![wave(100, 5), wave(SEEDS, 2)],
        vec![wave(SEEDS + 1, 0)],
    ];
    for waves in waves {
        let error = fixture.editor.check(&promotion(waves)).unwrap_err();
        assert!(matches!(error, ChangeError::Release(ReleaseError::Waves)), "{error:?}");
    }
}

#[test]
fn devices_come_wave_by_wave() {
    let waves = vec![wave(21, 0), wave(205, 24), wave(SEEDS, 72)];
    let json = serde_json::json!({"version": "1.0.0", "files": [], "waves": waves, "new": "field"});
    let release = Release::from_json(json.to_string().as_bytes()).unwrap();
    let due = |hours| {
        let then = now() + SignedDuration::from_hours(hours);
        (0..SEEDS).filter(|seed| release.is_due(*seed, then)).count()
    };
    assert_eq!([due(-1), due(0), due(23), due(24), due(72)], [0, 21, 21, 205, 2048]);
    let critical = Release { critical: true, ..release.clone() };
    assert!(critical.is_due(SEEDS - 1, now() - SignedDuration::from_hours(1)));
    let paused = Release { paused: true, ..critical };
    assert!(!paused.is_due(0, now() + SignedDuration::from_hours(100)));
}

#[test]
fn seeds_are_even_and_others_for_another_version() {
    let release = |version: &str| Release {
        version: version.to_owned(),
        files: Vec::new(),
        waves: Vec::new(),
        min_agent: None,
        critical: false,
        paused: false,
        allow_downgrade: false,
        max_failure_percent: None,
    };
    let (one, two) = (release("1.0.0"), release("1.0.1"));
    let devices: Vec<_> = (0..10_000).map(|number| format!("device-{number}")).collect();
    let first = devices.iter().filter(|it| one.seed(it) < SEEDS / 10).count();
    assert!((900..1100).contains(&first), "{first} of 10000 are in the first tenth");
    let again = devices.iter().filter(|it| one.seed(it) == two.seed(it)).count();
    assert!(again < 30, "{again} have the same seed twice");
}

proptest! {
    #[test]
    fn no_bytes_make_a_manifest_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(release) = Release::from_json(&bytes) {
            prop_assert_eq!(Release::from_json(&release.to_json()).unwrap(), release);
        }
    }
}
