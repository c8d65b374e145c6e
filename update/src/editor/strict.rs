//! The part of TUF that every client reads. What we sign keeps to it.
//!
//! Each rule is there because some client refuses what breaks it: fractions of seconds, fields that
//! are empty or unknown, keys of other kinds, key ids that are no hashes, targets without SHA-256.

use serde_json::{Map, Value};

use super::document::SPEC_VERSION;

/// What in `signed`, the signed part of a metadata file, not every client would read.
pub(super) fn problems(signed: &Value) -> Vec<String> {
    let kind = signed["_type"].as_str().unwrap_or_default().to_owned();
    let mut rules = Rules { kind, problems: Vec::new() };
    rules.check(signed);
    rules.problems
}

struct Rules {
    kind: String,
    problems: Vec<String>,
}

impl Rules {
    fn check(&mut self, signed: &Value) {
        self.demand(signed["spec_version"] == SPEC_VERSION, "another version of the specification");
        self.demand(signed["version"].as_u64().is_some_and(|it| it > 0), "no version");
        let expires = signed["expires"].as_str().unwrap_or_default();
        self.demand(expires.len() == 20 && expires.ends_with('Z'), "an expiry in no whole second");
        self.demand(!has_fraction(signed), "a number that is not whole");
        match self.kind.as_str() {
            "root" => self.check_root(signed),
            "targets" => self.check_targets(signed),
            "timestamp" => self.check_timestamp(signed),
            "snapshot" => {}
            _ => self.demand(false, "an unknown type"),
        }
    }

    fn check_root(&mut self, signed: &Value) {
        self.demand(signed["consistent_snapshot"] == true, "no consistent snapshots");
        let mut roles: Vec<_> = object(&signed["roles"]).map(|(name, _)| name.as_str()).collect();
        roles.sort_unstable();
        self.demand(roles == ["root", "snapshot", "targets", "timestamp"], "other roles");
        self.check_keys(&signed["keys"]);
    }

    fn check_targets(&mut self, signed: &Value) {
        for (name, target) in object(&signed["targets"]) {
            let hash = target["hashes"]["sha256"].as_str().unwrap_or_default();
            self.demand(hash.len() == 64, format_args!("no SHA-256 of `{name}`"));
            let custom = target.get("custom");
            let is_filled = custom.is_none_or(|it| it.as_object().is_some_and(|it| !it.is_empty()));
            self.demand(is_filled, format_args!("an empty `custom` of `{name}`"));
        }
        let Some(delegations) = signed.get("delegations") else { return };
        self.demand(only(delegations, &["keys", "roles"]), "an unknown field of delegations");
        self.check_keys(&delegations["keys"]);
        for role in delegations["roles"].as_array().into_iter().flatten() {
            let known = ["name", "keyids", "threshold", "paths", "terminating"];
            self.demand(only(role, &known), "an unknown field of a delegated role");
            self.demand(role["paths"].as_array().is_some_and(|it| !it.is_empty()), "no paths");
        }
    }

    fn check_timestamp(&mut self, signed: &Value) {
        self.demand(only(&signed["meta"], &["snapshot.json"]), "more than the snapshot");
    }

    fn check_keys(&mut self, keys: &Value) {
        for (id, key) in object(keys) {
            let schemes = ["ed25519", "ecdsa-sha2-nistp256", "rsassa-pss-sha256"];
            let scheme = key["scheme"].as_str().unwrap_or_default();
            let is_plain = only(key, &["keytype", "scheme", "keyval"])
                && only(&key["keyval"], &["public"])
                && matches!(key["keytype"].as_str(), Some("ed25519" | "ecdsa" | "rsa"));
            self.demand(is_plain && schemes.contains(&scheme), format_args!("an unusual key {id}"));
            let canonical = crate::verify::canonical(key).unwrap_or_default();
            let hash = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(canonical));
            self.demand(hash == *id, format_args!("a key with another id than its hash, {id}"));
        }
    }

    fn demand(&mut self, holds: bool, problem: impl std::fmt::Display) {
        if !holds {
            self.problems.push(format!("the {} metadata has {problem}", self.kind));
        }
    }
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn only(value: &Value, known: &[&str]) -> bool {
    value.as_object().is_some_and(|it| it.keys().all(|key| known.contains(&key.as_str())))
}

fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => !number.is_u64() && !number.is_i64(),
        Value::Array(items) => items.iter().any(has_fraction),
        Value::Object(fields) => fields.values().any(has_fraction),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PUBLIC: &str = "0707070707070707070707070707070707070707070707070707070707070707";

    fn id_of(key: &Value) -> String {
        let canonical = crate::verify::canonical(key).unwrap();
        hex::encode(<sha2::Sha256 as sha2::Digest>::digest(canonical))
    }

    fn key() -> Value {
        json!({ "keytype": "ed25519", "scheme": "ed25519", "keyval": { "public": PUBLIC } })
    }

    fn keys(key: &Value) -> Value {
        json!({ id_of(key): key })
    }

    fn metadata(kind: &str, fields: &Value) -> Value {
        let mut signed = json!({
            "_type": kind, "spec_version": "1.0.31", "version": 1,
            "expires": "2026-03-08T12:00:00Z",
        });
        signed.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        signed
    }

    fn root() -> Value {
        let role = json!({ "keyids": [id_of(&key())], "threshold": 1 });
        let roles = json!({ "root": role, "snapshot": role, "targets": role, "timestamp": role });
        let keys = keys(&key());
        metadata("root", &json!({ "consistent_snapshot": true, "keys": keys, "roles": roles }))
    }

    fn targets() -> Value {
        let target = json!({ "length": 1, "hashes": { "sha256": PUBLIC }, "custom": { "a": 1 } });
        let role = json!({
            "name": "orbit", "keyids": [id_of(&key())], "threshold": 1, "terminating": true,
            "paths": ["orbit/*"],
        });
        let delegations = json!({ "keys": keys(&key()), "roles": [role] });
        metadata("targets", &json!({ "targets": { "a": target }, "delegations": delegations }))
    }

    fn timestamp() -> Value {
        metadata("timestamp", &json!({ "meta": { "snapshot.json": { "version": 1 } } }))
    }

    /// Puts `value` at `path`; its last part may be new.
    fn with(mut signed: Value, path: &[&str], value: Value) -> Value {
        let mut place = &mut signed;
        for part in path {
            place = match part.parse::<usize>() {
                Ok(index) => &mut place[index],
                Err(_) => &mut place[*part],
            };
        }
        *place = value;
        signed
    }

    fn without(mut signed: Value, path: &[&str], field: &str) -> Value {
        let place = path.iter().fold(&mut signed, |place, part| &mut place[*part]);
        place.as_object_mut().unwrap().remove(field).unwrap();
        signed
    }

    #[test]
    fn what_is_written_here_keeps_every_rule() {
        let snapshot = metadata("snapshot", &json!({ "meta": { "targets.json": {} } }));
        for signed in [root(), targets(), snapshot, timestamp()] {
            assert_eq!(problems(&signed), [""; 0], "{signed}");
        }
    }

    #[test]
    fn each_rule_is_kept_by_itself() {
        let target = ["targets", "a"];
        let custom = ["targets", "a", "custom"];
        let role = ["delegations", "roles", "0"];
        let of_key = |field: &str, value: Value| {
            let key = with(key(), &[field], value);
            with(root(), &["keys"], keys(&key))
        };
        let secret = json!({ "public": PUBLIC, "private": "" });
        let broken = [
            (with(root(), &["_type"], json!("mirrors")), "an unknown type"),
            (with(root(), &["spec_version"], json!("1.0")), "another version of the specification"),
            (with(root(), &["version"], json!(0)), "no version"),
            (without(root(), &[], "version"), "no version"),
            (with(root(), &["expires"], json!("2026-03-08T12:00:00.5Z")), "no whole second"),
            (with(root(), &["expires"], json!("2026-03-08T12:00:00+00:00")), "no whole second"),
            (with(root(), &["consistent_snapshot"], json!(false)), "no consistent snapshots"),
            (without(root(), &[], "consistent_snapshot"), "no consistent snapshots"),
            (with(root(), &["roles", "mirrors"], json!({})), "other roles"),
            (without(root(), &["roles"], "snapshot"), "other roles"),
            (with(root(), &["keys"], json!({ PUBLIC: key() })), "another id than its hash"),
            (of_key("scheme", json!("ecdsa-sha2-nistp384")), "an unusual key"),
            (of_key("keytype", json!("sphincs")), "an unusual key"),
            (of_key("keyid_hash_algorithms", json!(["sha256"])), "an unusual key"),
            (of_key("keyval", secret), "an unusual key"),
            (without(targets(), &["targets", "a", "hashes"], "sha256"), "no SHA-256 of `a`"),
            (with(targets(), &["targets", "a", "hashes", "sha256"], json!("00")), "no SHA-256"),
            (with(targets(), &custom, json!({})), "an empty `custom` of `a`"),
            (with(targets(), &custom, Value::Null), "an empty `custom` of `a`"),
            (with(targets(), &[&target[..], &["length"]].concat(), json!(1.5)), "not whole"),
            (with(targets(), &["targets", "a", "custom", "a"], json!([[0.5]])), "not whole"),
            (with(targets(), &["delegations", "more"], json!(1)), "field of delegations"),
            (with(targets(), &[&role[..], &["more"]].concat(), json!(1)), "of a delegated role"),
            (with(targets(), &[&role[..], &["paths"]].concat(), json!([])), "no paths"),
            (
                with(targets(), &["delegations", "keys"], json!({ PUBLIC: key() })),
                "another id than its hash",
            ),
            (with(timestamp(), &["meta", "targets.json"], json!({})), "more than the snapshot"),
        ];
        for (signed, expected) in broken {
            let [problem] = &problems(&signed)[..] else {
                panic!("{expected}: {:?} in {signed}", problems(&signed))
            };
            assert!(problem.contains(expected), "{problem} is not {expected}");
        }
    }
}
