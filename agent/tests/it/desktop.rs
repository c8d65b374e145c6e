//! The desktop token's life, and what `fleet-desktop` makes of it.

use std::{
    fs::{self, File, FileTimes},
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output},
    time::{Duration, SystemTime},
};

use agent::desktop::redirect::Redirect;
use serde_json::Value;
use url::Url;
use wire::settings::{files, vars};

use crate::{
    device::{Device, until},
    fleet::{Fleet, Mood},
};

pub(crate) fn with_desktop(fleet: &Fleet) -> Device {
    let mut device = Device::of(fleet);
    device.set(vars::FLEET_DESKTOP, "true");
    device
}

pub(crate) fn fleet_desktop(device: &Device, arguments: &[&str]) -> Output {
    #[expect(clippy::disallowed_methods, reason = "tests start the program that they test")]
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-desktop"));
    command.env_clear().env(vars::ROOT_DIR, device.root().as_str()).args(arguments);
    command.output().unwrap()
}

#[tokio::test]
async fn a_token_is_told_to_the_server_and_kept_for_the_user_alone() {
    let fleet = Fleet::start();
    let device = with_desktop(&fleet);
    device.run(async |_| until(|| device.read(files::DESKTOP_TOKEN).is_some()).await).await;
    let token = device.read(files::DESKTOP_TOKEN).unwrap();
    assert_eq!(fleet.memory().tokens, std::slice::from_ref(&token));
    assert!(uuid::Uuid::try_parse(&token).is_ok());
    let mode = fs::metadata(device.root().join(files::DESKTOP_TOKEN)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!device.read(files::DESKTOP_LINK).unwrap().contains(&token));
}

/// An icon that the system starts at sign-in asks whether there is a link.
#[tokio::test]
async fn a_device_that_is_to_have_no_icon_any_more_has_no_link_either() {
    let fleet = Fleet::start();
    let mut device = with_desktop(&fleet);
    device.enroll_with(&fleet).await;
    assert!(device.read(files::DESKTOP_LINK).is_some());
    device.set(vars::FLEET_DESKTOP, "false");
    device.enroll_with(&fleet).await;
    assert_eq!(device.read(files::DESKTOP_LINK), None);
}

#[tokio::test]
async fn a_token_is_renewed_after_an_hour_and_not_before() {
    let fleet = Fleet::start();
    let device = with_desktop(&fleet);
    let path = device.root().join(files::DESKTOP_TOKEN);
    device
        .run(async |_| {
            until(|| path.exists()).await;
            let served = fleet.memory().served.len();
            until(|| fleet.memory().served.len() > served + 3).await;
            assert_eq!(fleet.memory().tokens.len(), 1, "it is young");
            #[expect(clippy::disallowed_methods, reason = "the file is made to look old")]
            let old = SystemTime::now() - Duration::from_secs(3_601);
            let file = File::options().write(true).open(&path).unwrap();
            file.set_times(FileTimes::new().set_modified(old)).unwrap();
            until(|| fleet.memory().tokens.len() == 2).await;
        })
        .await;
}

#[tokio::test]
async fn a_token_that_the_server_has_forgotten_is_replaced_and_it_is_asked_once_in_a_while_only() {
    let fleet = Fleet::start();
    let device = with_desktop(&fleet);
    device.run(async |_| until(|| device.read(files::DESKTOP_TOKEN).is_some()).await).await;
    let first = device.read(files::DESKTOP_TOKEN);
    fleet.memory().tokens.clear();
    fleet.memory().summaries = 0;
    device
        .run(async |_| {
            until(|| fleet.memory().tokens.len() == 1).await;
            let served = fleet.memory().served.len();
            until(|| fleet.memory().served.len() > served + 5).await;
        })
        .await;
    let second = device.read(files::DESKTOP_TOKEN);
    assert!(second != first && second.as_ref() == fleet.memory().tokens.last());
    let asked = || {
        let memory = fleet.memory();
        (memory.tokens.len(), memory.summaries)
    };
    assert_eq!(asked(), (1, 1));
    // Where the server takes it, it stays.
    device
        .run(async |_| {
            until(|| fleet.memory().summaries == 2).await;
            let served = fleet.memory().served.len();
            until(|| fleet.memory().served.len() > served + 5).await;
        })
        .await;
    assert_eq!(asked(), (1, 2));
    assert_eq!(device.read(files::DESKTOP_TOKEN), second);
}

#[tokio::test]
async fn a_token_that_the_server_does_not_take_delays_nothing() {
    let fleet = Fleet::start();
    let device = with_desktop(&fleet);
    fleet.memory().aside = Mood::Silent;
    device.run(async |_| until(|| fleet.memory().served.len() > 3).await).await;
    assert_eq!(device.read(files::DESKTOP_TOKEN), None);
}

/// The polls, thirty in that second, go on.
#[tokio::test]
async fn a_server_that_is_busy_with_tokens_is_told_one_when_it_wants_to_be() {
    let fleet = Fleet::start();
    let device = with_desktop(&fleet);
    fleet.memory().aside = Mood::Busy(1);
    let told = || {
        let is_about_tokens = |(path, _): &&(String, _)| path.ends_with("/device_token");
        fleet.memory().signatures.iter().filter(is_about_tokens).count()
    };
    let begun = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    device
        .run(async |_| {
            until(|| told() == 1).await;
            fleet.memory().aside = Mood::Good;
            until(|| device.read(files::DESKTOP_TOKEN).is_some()).await;
        })
        .await;
    let took = SystemTime::UNIX_EPOCH.elapsed().unwrap() - begun;
    assert!(took >= Duration::from_secs(1), "{took:?}");
    assert_eq!(told(), 2);
}

#[tokio::test]
async fn a_device_without_fleet_desktop_has_no_token() {
    let fleet = Fleet::start();
    let device = Device::of(&fleet);
    device.enroll_with(&fleet).await;
    assert_eq!(device.read(files::DESKTOP_TOKEN), None);
    let output = fleet_desktop(&device, &["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("desktop.json"));
}

#[tokio::test]
async fn fleet_desktop_shows_what_the_server_knows_until_the_token_is_replaced() {
    let fleet = Fleet::start();
    let device = with_desktop(&fleet);
    device.run(async |_| until(|| device.read(files::DESKTOP_TOKEN).is_some()).await).await;
    let output = fleet_desktop(&device, &["status"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("device     laptop\n") && text.contains("status     online\n"), "{text}");
    let output = fleet_desktop(&device, &["status", "--output", "json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["os_version"], "Debian 12");

    let token = device.read(files::DESKTOP_TOKEN).unwrap();
    fleet.memory().tokens.push("another".to_owned());
    let output = fleet_desktop(&device, &["status"]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(errors.contains("status 401") && !errors.contains(&token), "{errors}");
}

#[tokio::test]
async fn a_browser_is_led_on_once_and_nobody_else_is() {
    let target = "https://fleet.example.com/device/secret";
    let redirect = Redirect::to(Url::parse(target).unwrap()).await.unwrap();
    let url = redirect.url().unwrap();
    assert!(!url.as_str().contains("secret"));
    let serving = tokio::spawn(redirect.serve());
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap();
    let guess = url.join("/guess").unwrap();
    assert_eq!(client.get(guess).send().await.unwrap().status(), 404);
    let answer = client.get(url.clone()).send().await.unwrap();
    assert_eq!(answer.status(), 303);
    assert_eq!(answer.headers()["location"], target);
    assert!(serving.await.unwrap());
    assert!(client.get(url).send().await.is_err(), "it works once");
}
