//! What went wrong between us and the server, in words that help.

use reqwest::StatusCode;
use url::Url;
use wire::api::Problem;

use super::Reply;
use crate::exit::Stop;

/// Why the server refused.
pub(crate) fn refusal(reply: &Reply) -> Stop {
    let message = serde_json::from_slice(&reply.body)
        .map_or_else(|_| stranger(reply), |problem: Problem| told(&problem));
    let help = advice(reply).map(str::to_owned);
    if reply.status == StatusCode::UNAUTHORIZED {
        Stop::Unauthenticated { message, help }
    } else {
        Stop::Failed { message, help }
    }
}

fn told(problem: &Problem) -> String {
    let mut text = match &problem.detail {
        Some(detail) => format!("the server refused: {detail}"),
        None => format!("the server refused: {}", problem.title),
    };
    for error in &problem.errors {
        text.push_str(&format!("\n  - {}: {}", error.pointer, error.detail));
    }
    if let Some(instance) = &problem.instance {
        text.push_str(&format!(" ({instance})"));
    }
    text
}

fn stranger(reply: &Reply) -> String {
    let url = &reply.url;
    match &reply.location {
        Some(location) => format!("`{url}` leads elsewhere, to `{location}`"),
        None => format!("`{url}` answered {} without saying why", reply.status),
    }
}

fn advice(reply: &Reply) -> Option<&'static str> {
    let problem: Option<Problem> = serde_json::from_slice(&reply.body).ok();
    if problem.is_some_and(|problem| problem.kind == "/problems/step-up-required") {
        return Some("your password is asked for once more: `fleetctl login`, then try again");
    }
    match reply.status {
        StatusCode::FORBIDDEN if is_problem(reply, "/problems/password-expired") => {
            Some("set another with `fleetctl account renew-password`")
        }
        StatusCode::UNAUTHORIZED if !reply.url.path().contains("/auth/") => {
            Some("sign in with `fleetctl login`, or set FLEET_API_KEY")
        }
        status if status.is_redirection() => Some("give the server's own address as URL"),
        StatusCode::TOO_MANY_REQUESTS => Some("wait a minute and try again"),
        _ => None,
    }
}

fn is_problem(reply: &Reply, kind: &str) -> bool {
    serde_json::from_slice(&reply.body).is_ok_and(|problem: Problem| problem.kind == kind)
}

/// Why no answer came.
pub(crate) fn unreachable(url: &Url, error: reqwest::Error) -> Stop {
    let error = error.without_url();
    let server = url.origin().ascii_serialization();
    let causes = causes(&error);
    let help = if causes.contains("certificate") || causes.contains("UnknownIssuer") {
        "trust the server's CA: `fleetctl login --url URL --fleet-certificate PEM`, or FLEET_CERTIFICATE beside FLEET_URL; `fleetctl debug connection URL` tells more"
    } else {
        "`fleetctl debug connection URL` tells where it fails"
    };
    Stop::failed(format!("could not reach `{server}`: {causes}"), help)
}

/// The innermost cause says most; those around it repeat that there was an error.
pub(crate) fn causes(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it did not answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
