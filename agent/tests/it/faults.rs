//! Each fault of server, network or disk: the right state, one clear line in the log, and all is
//! well once the fault is gone.

use std::time::Duration;

use wire::settings::{files, vars};

use crate::{
    device::{Device, Log, until},
    fleet::{Fleet, Mood, SECRET, authority},
    program::{Orbit, log_path, wait_until},
};

/// How long the agent waits for a server that says nothing.
const IMPATIENT: Duration = Duration::from_millis(500);

/// A fault while enrolling, as `mood` of the server: several attempts, one line that contains
/// `expected`, no key; then the mood turns good and the device enrolls.
async fn check_enrolling(mood: Mood, expected: &str) {
    let fleet = Fleet::start();
    let mut device = Device::of(&fleet);
    if mood == Mood::Silent {
        device.timeouts = IMPATIENT;
    }
    fleet.set_mood(mood.clone());
    let log = device
        .run(async |log| {
            until(|| fleet.memory().enrolls.len() >= 3).await;
            assert_eq!(device.node_key(), None, "{mood:?}");
            assert_eq!(log.complaints().len(), 1, "{mood:?}: {}", log.text());
            fleet.set_mood(Mood::Good);
            until(|| !fleet.memory().served.is_empty()).await;
        })
        .await;
    check_line(&log.complaints(), expected);
    assert_eq!(device.node_key().as_ref(), fleet.memory().issued.last());
}

/// The same while polling: the device stays enrolled.
async fn check_polling(mood: Mood, expected: &str) {
    let fleet = Fleet::start();
    let mut device = Device::of(&fleet);
    if mood == Mood::Silent {
        device.timeouts = IMPATIENT;
    }
    let log = device
        .run(async |log| {
            until(|| !fleet.memory().served.is_empty()).await;
            fleet.set_mood(mood.clone());
            let polls = fleet.memory().polls.len();
            until(|| fleet.memory().polls.len() >= polls + 4).await;
            until(|| !log.complaints().is_empty()).await;
            fleet.set_mood(Mood::Good);
            let served = fleet.memory().served.len();
            until(|| fleet.memory().served.len() > served + 1).await;
        })
        .await;
    check_line(&log.complaints(), expected);
    assert!(log.text().contains("<6>in contact with the server again"), "{}", log.text());
    assert_eq!(fleet.memory().issued.len(), 1, "{mood:?}: it must not enroll again");
}

fn check_line(complaints: &[String], expected: &str) {
    assert_eq!(complaints.len(), 1, "{complaints:#?}");
    assert!(complaints[0].contains(expected), "{expected:?} in {complaints:#?}");
    assert!(!complaints[0].contains(SECRET), "{complaints:#?}");
}

#[tokio::test]
async fn errors_of_the_server_are_waited_out() {
    check_enrolling(Mood::Status(500), "the server answers with an error (status 500)").await;
    check_polling(Mood::Status(502), "the server answers with an error (status 502)").await;
}

#[tokio::test]
async fn slow_answers_are_given_up_and_tried_again() {
    check_enrolling(Mood::Silent, "the server does not answer in time").await;
    check_polling(Mood::Silent, "the server does not answer in time").await;
}

#[tokio::test]
async fn captive_portals_are_not_taken_for_the_server() {
    check_enrolling(Mood::Portal(200), "not a Fleet server: it sends a web page").await;
    check_polling(Mood::Portal(200), "not a Fleet server: it sends a web page").await;
    check_polling(Mood::Portal(302), "not a Fleet server: it redirects elsewhere").await;
}

#[tokio::test]
async fn a_portal_that_asks_to_sign_in_does_not_cost_the_node_key() {
    check_polling(Mood::Portal(401), "not a Fleet server: it sends a web page").await;
}

#[tokio::test]
async fn huge_answers_are_not_read() {
    check_enrolling(Mood::Huge, "the server's answer is larger than 1048576 bytes").await;
    check_polling(Mood::Huge, "the server's answer is larger than 1048576 bytes").await;
}

#[tokio::test]
async fn an_address_that_is_no_fleet_server_is_tried_slowly() {
    check_enrolling(Mood::Status(404), "no `/api/fleet/orbit/enroll` on the server").await;
}

#[tokio::test]
async fn a_busy_server_is_obeyed() {
    let fleet = Fleet::start();
    let device = Device::of(&fleet);
    fleet.set_mood(Mood::Busy(1));
    let begun = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let log = device
        .run(async |_| {
            until(|| fleet.memory().enrolls.len() == 1).await;
            fleet.set_mood(Mood::Good);
            until(|| !fleet.memory().served.is_empty()).await;
        })
        .await;
    let took = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap() - begun;
    assert!(took >= Duration::from_secs(1), "{took:?}");
    check_line(&log.complaints(), "the server is busy (status 503) and asks to wait for 1 s");
}

#[tokio::test]
async fn a_server_that_is_down_is_waited_for() {
    let mut fleet = Fleet::start();
    let device = Device::of(&fleet);
    fleet.go_down();
    let log = device
        .run(async |log| {
            until(|| !log.complaints().is_empty()).await;
            assert_eq!(device.node_key(), None);
            fleet.come_up();
            until(|| !fleet.memory().served.is_empty()).await;
            fleet.go_down();
            until(|| log.complaints().len() == 2).await;
            fleet.come_up();
            let served = fleet.memory().served.len();
            until(|| fleet.memory().served.len() > served + 1).await;
        })
        .await;
    assert_eq!(log.complaints().len(), 2, "{}", log.text());
    for line in log.complaints() {
        assert!(line.contains("the server cannot be reached"), "{line}");
    }
    assert_eq!(fleet.memory().issued.len(), 1);
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_said_to_be_so() {
    let fleet = Fleet::start();
    let mut device = Device::of(&fleet);
    device.set(vars::FLEET_URL, "https://fleet.invalid/");
    let log = device.run(async |log| until(|| !log.complaints().is_empty()).await).await;
    check_line(&log.complaints(), "the server's name cannot be resolved");
}

#[tokio::test]
async fn an_unknown_authority_is_never_trusted() {
    let fleet = Fleet::start();
    let device = Device::of(&fleet);
    device.write(files::SERVER_CA, &authority().pem());
    let log = device
        .run(async |log| {
            until(|| !log.complaints().is_empty()).await;
            // The right certificate takes effect without a restart.
            device.write(files::SERVER_CA, &fleet.ca());
            until(|| !fleet.memory().served.is_empty()).await;
        })
        .await;
    check_line(&log.complaints(), "no trusted TLS connection to the server");
    assert!(log.complaints()[0].contains("invalid peer certificate"), "{}", log.text());
    assert_eq!(fleet.memory().enrolls.len(), 1);
}

/// The server has not moved and the connection is open, so nothing else makes the agent look again.
#[tokio::test]
async fn certificates_that_are_replaced_on_disk_count_from_the_next_request() {
    let fleet = Fleet::start();
    let device = Device::of(&fleet);
    let log = device.run(async |log| {
        until(|| !fleet.memory().served.is_empty()).await;
        device.write(files::SERVER_CA, &crate::fleet::authority().pem());
        until(|| log.text().contains("no trusted TLS connection")).await;
        device.write(files::SERVER_CA, &fleet.ca());
        until(|| log.text().contains("in contact with the server again")).await;
    });
    log.await;
    assert_eq!(fleet.memory().enrolls.len(), 1);
}

#[tokio::test]
async fn insecure_accepts_any_certificate() {
    let fleet = Fleet::start();
    let mut device = Device::of(&fleet);
    device.write(files::SERVER_CA, &authority().pem());
    device.set(vars::INSECURE, "true");
    device.enroll_with(&fleet).await;
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_there_is_one() {
    let fleet = Fleet::start_with_mutual_tls();
    let device = Device::of(&fleet);
    let log = device.run(async |log| until(|| !log.complaints().is_empty()).await).await;
    assert!(fleet.memory().enrolls.is_empty(), "{}", log.text());
    let (certificate, key) = fleet.issue();
    device.write(files::CLIENT_CERTIFICATE, &certificate);
    device.write(files::CLIENT_KEY, &key);
    device.enroll_with(&fleet).await;
}

#[tokio::test]
async fn a_client_certificate_that_is_replaced_on_disk_is_shown_from_the_next_request_on() {
    let fleet = Fleet::start_with_mutual_tls();
    let device = Device::of(&fleet);
    let replace = |(certificate, key): (String, String)| {
        device.write(files::CLIENT_CERTIFICATE, &certificate);
        device.write(files::CLIENT_KEY, &key);
    };
    replace(fleet.issue());
    let log = device.run(async |log| {
        until(|| !fleet.memory().served.is_empty()).await;
        replace(Fleet::start().issue());
        until(|| !log.complaints().is_empty()).await;
        replace(fleet.issue());
        until(|| log.text().contains("in contact with the server again")).await;
    });
    log.await;
    assert_eq!(fleet.memory().enrolls.len(), 1);
}

#[tokio::test]
async fn a_revoked_secret_is_tried_again_and_may_be_replaced() {
    let fleet = Fleet::start();
    let device = Device::of(&fleet);
    fleet.memory().secret = "another".to_owned();
    let log = device
        .run(async |_| {
            until(|| fleet.memory().enrolls.len() >= 3).await;
            device.write(files::ENROLL_SECRET, "another\n");
            until(|| !fleet.memory().served.is_empty()).await;
        })
        .await;
    check_line(&log.complaints(), "the server refuses the enroll secret");
}

#[tokio::test]
async fn a_missing_secret_is_waited_for() {
    let fleet = Fleet::start();
    let device = Device::of(&fleet);
    std::fs::remove_file(device.root().join(files::ENROLL_SECRET)).unwrap();
    let log = device
        .run(async |log| {
            until(|| !log.complaints().is_empty()).await;
            device.write(files::ENROLL_SECRET, SECRET);
            until(|| !fleet.memory().served.is_empty()).await;
        })
        .await;
    check_line(&log.complaints(), "there is no enroll secret");
}

#[tokio::test]
async fn rejected_node_key_enrolls_again() {
    let fleet = Fleet::start();
    let device = Device::of(&fleet);
    device.enroll_with(&fleet).await;
    let first = device.node_key().unwrap();
    fleet.memory().valid.clear();
    let log = device.enroll_with(&fleet).await;
    check_line(&log.complaints(), "does not accept the node key any more");
    let second = device.node_key().unwrap();
    assert_ne!(first, second);
    let polls = fleet.memory().polls.clone();
    let rejected = polls.iter().rposition(|key| *key == first).unwrap();
    assert_eq!(polls[rejected + 1], second, "the rejected key is shown once and never again");
}

#[tokio::test]
async fn a_key_is_replaced_without_losing_the_server() {
    let fleet = Fleet::start();
    let device = Device::of(&fleet);
    device.enroll_with(&fleet).await;
    let (first, next) = (device.node_key().unwrap(), format!("{:032}", 7));
    fleet.memory().next = Some(next.clone());
    let served = || fleet.memory().served.last() == Some(&next);
    let log = device.run(async |_| until(served).await).await;
    assert_eq!(log.complaints(), [""; 0]);
    assert_eq!(device.node_key().as_ref(), Some(&next));
    assert_eq!(fleet.memory().enrolls.len(), 1);
    fleet.memory().served.clear();
    device.run(async |_| until(served).await).await;
    assert!(!fleet.memory().served.contains(&first), "the old key is gone");
}

/// The deadline holds across a restart, and without a server.
#[tokio::test]
async fn the_server_has_more_logged_until_a_time() {
    let mut fleet = Fleet::start();
    let device = Device::of(&fleet);
    let details = |log: &Log| log.text().matches("\n<7>").count();
    let until_known = || device.read(files::DEBUG_UNTIL);
    assert_eq!(details(&device.enroll_with(&fleet).await), 0);
    fleet.memory().debug = Some(3600);
    let log = device.run(async |log| until(|| log.text().contains("more to be logged")).await);
    log.await;
    assert!(until_known().unwrap().trim().parse::<jiff::Timestamp>().is_ok());

    fleet.go_down();
    let log = device.run(async |log| until(|| details(log) > 0).await).await;
    assert!(log.text().contains("<7>could not fetch the agent's configuration"), "{}", log.text());
    fleet.come_up();
    fleet.memory().debug = None;
    let quiet = async |log: &Log| until(|| log.text().contains("as much is logged as")).await;
    device.run(quiet).await;
    assert_eq!(until_known(), None);

    fleet.go_down();
    // A clock that was wrong has written the one, and the other is over.
    for text in ["2999-01-01T00:00:00Z\n", "2001-01-01T00:00:00Z\n", "tomorrow"] {
        device.write(files::DEBUG_UNTIL, text);
        let log = device.run(async |log| until(|| !log.complaints().is_empty()).await).await;
        assert_eq!(details(&log), 0, "{text}: {}", log.text());
    }
}

/// A system without any authority: what is wrong is the server's certificate, and not the system.
#[tokio::test]
async fn a_system_that_trusts_nobody_still_speaks_tls() {
    let fleet = Fleet::start();
    let mut device = Device::of(&fleet);
    std::fs::remove_file(device.root().join(files::SERVER_CA)).unwrap();
    device.write("nobody.pem", "");
    device.set("SSL_CERT_FILE", device.root().join("nobody.pem").as_str());
    device.set("SSL_CERT_DIR", device.root().as_str());
    let orbit = Orbit::start(&device);
    let log = || std::fs::read_to_string(log_path(&device)).unwrap_or_default();
    wait_until("a complaint", || log().contains("invalid peer certificate: UnknownIssuer"));
    assert!(orbit.stop().success());
}

#[tokio::test]
async fn a_server_that_rejects_every_key_is_not_stormed() {
    let fleet = Fleet::start();
    let device = Device::of(&fleet);
    fleet.set_mood(Mood::Forgetful);
    let log = device.run(async |_| until(|| fleet.memory().enrolls.len() >= 4).await).await;
    check_line(&log.complaints(), "does not accept the node key any more");
    let mut polls = fleet.memory().polls.clone();
    let asked = polls.len();
    polls.dedup();
    assert_eq!(polls.len(), asked, "no key is shown twice");
}

#[tokio::test]
async fn a_disk_that_takes_no_key_does_not_cost_a_second_enrollment() {
    let fleet = Fleet::start();
    let device = Device::of(&fleet);
    // A directory in the place of the file: no rename succeeds, not even root's.
    let obstacle = device.root().join(files::NODE_KEY);
    let log = device
        .run(async |log| {
            std::fs::create_dir(&obstacle).unwrap();
            until(|| !log.complaints().is_empty()).await;
            assert!(fleet.memory().polls.is_empty(), "a key is saved before it is used");
            std::fs::remove_dir(&obstacle).unwrap();
            until(|| !fleet.memory().served.is_empty()).await;
        })
        .await;
    check_line(&log.complaints(), "could not keep the node key");
    assert_eq!(fleet.memory().issued.len(), 1);
}
