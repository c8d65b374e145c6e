//! What devices and people say about themselves, brought into a form that can be stored.

use unicode_normalization::UnicodeNormalization as _;
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

/// An e-mail address as it is compared: in lower case, and composed (NFKC), so that spellings that
/// differ in bytes alone are one. Mail goes to what is stored, never to what somebody typed.
pub(super) fn fold_email(email: &str) -> String {
    let fold = |text: &str| text.nfkc().collect::<String>().to_lowercase();
    // Lower case may bring letters that compose once more.
    fold(&fold(email.trim()))
}

/// Whether an address is stored in the form that it is compared in.
pub(super) fn is_folded(email: &str) -> bool {
    fold_email(email) == email
}

/// Letters that nobody sees, or that turn others round: Unicode's `Default_Ignorable_Code_Point` and the
/// marks of direction.
fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// An e-mail address as it is compared. What is plainly none is refused; whether it works, only a
/// mail would tell.
pub(super) fn tidy_email(errors: &mut FieldErrors, email: &str) -> String {
    let email = fold_email(email);
    let plausible = email
        .split_once('@')
        .is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@'));
    let unfit =
        |letter: char| letter.is_control() || letter.is_whitespace() || is_invisible(letter);
    let printable = !email.chars().any(unfit);
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

        #[test]
        fn a_folded_address_stays_as_it_is(text in any::<String>()) {
            let folded = fold_email(&text);
            let again = fold_email(&folded);
            prop_assert_eq!(again.trim(), folded.trim());
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
