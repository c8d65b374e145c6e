//! What devices and people say about themselves, brought into a form that can be stored.

use wire::{api::FieldError, orbit::DeviceIdentity, secret::MAX_SECRET_LEN as MAX_TEXT};

use super::errors::FieldErrors;

/// Cuts what is too long and drops what cannot be shown; refuses only what names the device.
pub(super) fn tidy_identity(device: DeviceIdentity) -> Result<DeviceIdentity, Vec<FieldError>> {
    let mut errors = FieldErrors::default();
    let hardware_uuid = device.hardware_uuid.trim().to_owned();
    let osquery_identifier = device.osquery_identifier.trim().to_owned();
    errors.refuse_if(hardware_uuid.is_empty(), "/hardware_uuid", "must not be empty");
    check_identifier(&mut errors, &hardware_uuid, "/hardware_uuid");
    check_identifier(&mut errors, &osquery_identifier, "/osquery_identifier");
    errors.into_result()?;
    Ok(DeviceIdentity {
        osquery_identifier: if osquery_identifier.eq_ignore_ascii_case(&hardware_uuid) {
            String::new()
        } else {
            osquery_identifier
        },
        hardware_uuid,
        hardware_serial: tidy(&device.hardware_serial),
        hostname: tidy(&device.hostname),
        platform: tidy(&device.platform),
        platform_like: tidy(&device.platform_like),
        computer_name: tidy(&device.computer_name),
        hardware_model: tidy(&device.hardware_model),
        machine_id: tidy_optional(device.machine_id.as_deref()),
        os_version: tidy_optional(device.os_version.as_deref()),
        cpu_type: tidy_optional(device.cpu_type.as_deref()),
        orbit_version: tidy_optional(device.orbit_version.as_deref()),
        end_user_email: tidy_optional(device.end_user_email.as_deref()),
    })
}

/// Refuses an identifier that is too long or holds control characters: cut or cleaned, it might
/// name another device.
pub(super) fn check_identifier(errors: &mut FieldErrors, identifier: &str, pointer: &str) {
    errors.refuse_if(
        identifier.len() > MAX_TEXT,
        pointer,
        format!("must have at most {MAX_TEXT} bytes"),
    );
    errors.refuse_if(
        identifier.chars().any(char::is_control),
        pointer,
        "must not contain control characters",
    );
}

/// `text` without control characters and outer blanks, cut to 255 bytes.
pub(super) fn tidy(text: &str) -> String {
    let mut clean: String =
        text.chars().filter(|letter| !letter.is_control()).take(MAX_TEXT + 1).collect();
    while clean.len() > MAX_TEXT {
        clean.pop();
    }
    clean.trim().to_owned()
}

/// The same, and nothing where nothing remains.
pub(super) fn tidy_optional(text: Option<&str>) -> Option<String> {
    text.map(tidy).filter(|text| !text.is_empty())
}

/// An e-mail address as it is compared: in lower case. What is plainly none is refused; whether
/// it works, only a mail would tell.
pub(super) fn tidy_email(errors: &mut FieldErrors, email: &str) -> String {
    let email = email.trim().to_lowercase();
    let plausible = email
        .split_once('@')
        .is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@'));
    let printable = !email.chars().any(|letter| letter.is_control() || letter.is_whitespace());
    errors.refuse_if(
        !plausible || !printable || email.len() > 254,
        "/email",
        "must be an e-mail address",
    );
    email
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tidy_text_is_short_and_printable(text in any::<String>()) {
            let clean = tidy(&text);
            prop_assert!(clean.len() <= MAX_TEXT);
            prop_assert!(!clean.chars().any(char::is_control));
            prop_assert_eq!(tidy(&clean), clean.clone());
        }
    }

    #[test]
    fn an_identifier_that_repeats_the_hardware_is_none() {
        let device = DeviceIdentity {
            hardware_uuid: "ABC".to_owned(),
            osquery_identifier: "abc".to_owned(),
            ..DeviceIdentity::default()
        };
        assert_eq!(tidy_identity(device).unwrap().osquery_identifier, "");
    }
}
