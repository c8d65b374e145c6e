//! Where people signed in from, by a database in MaxMind's format that the test writes: see its
//! specification, version 2.0.

use std::{fs, net::Ipv4Addr};

use camino::Utf8PathBuf;
use serde_json::{Value, json};
use server::{Clock, Fleet};

use crate::harness::{Engine, PASSWORD, TestServer, runtime};

/// A value as the format has it, of the field `name`: only short ones.
fn value(name: &str, of: &Value) -> Vec<u8> {
    match of {
        Value::String(text) => {
            let length = u8::try_from(text.len()).unwrap();
            assert!(length < 29);
            [&[(2 << 5) | length], text.as_bytes()].concat()
        }
        Value::Number(number) => {
            let bytes = number.as_u64().unwrap().to_be_bytes();
            match name {
                "build_epoch" => [&[8, 2], &bytes[..]].concat(),
                "node_count" => [&[(6 << 5) | 4], &bytes[4..]].concat(),
                _ => [&[(5 << 5) | 2], &bytes[6..]].concat(),
            }
        }
        Value::Object(fields) => {
            let mut bytes = vec![(7 << 5) | u8::try_from(fields.len()).unwrap()];
            for (name, field) in fields {
                bytes.extend(value("", &json!(name)));
                bytes.extend(value(name, field));
            }
            bytes
        }
        Value::Array(_) => vec![0, 4],
        Value::Null | Value::Bool(_) => unreachable!(),
    }
}

/// A database that knows one address, and `place` of it.
fn database(address: Ipv4Addr, place: &Value) -> Vec<u8> {
    let nodes: u32 = 32;
    let mut file = Vec::new();
    for depth in 0..nodes {
        let next = if depth + 1 == nodes { nodes + 16 } else { depth + 1 };
        let goes_right = (address.to_bits() >> (31 - depth)) & 1 == 1;
        let records = if goes_right { [nodes, next] } else { [next, nodes] };
        for record in records {
            file.extend(&record.to_be_bytes()[1..]);
        }
    }
    file.extend([0; 16]);
    file.extend(value("", place));
    file.extend(b"\xab\xcd\xefMaxMind.com");
    file.extend(value(
        "",
        &json!({
            "binary_format_major_version": 2, "binary_format_minor_version": 0, "build_epoch": 1,
            "database_type": "GeoLite2-City", "description": {}, "ip_version": 4, "languages": [],
            "node_count": nodes, "record_size": 24,
        }),
    ));
    file
}

/// Rows: E13
#[test]
fn a_list_of_sessions_tells_the_places_that_are_known() {
    runtime().block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join("places.mmdb")).unwrap();
        let place = json!({
            "city": {"names": {"en": "Troms\u{f8}"}}, "country": {"names": {"en": "Norway"}},
        });
        fs::write(&path, database(Ipv4Addr::new(192, 0, 2, 7), &place)).unwrap();
        let known = |config: &mut server::Config| config.auth.session.places = Some(path.clone());
        let server = TestServer::start_with(Engine::Sqlite, known).await;
        let owner = server.owner().await;
        let login = json!({"email": owner.email, "password": PASSWORD, "client": "cli"});
        for address in ["192.0.2.7", "192.0.2.8"] {
            server.post("/auth/login").from(address).json(login.clone()).await.expect(200);
        }
        let listed = server.get("/auth/sessions").by(&owner).await.expect(200).json();
        let place_of = |address: &str| {
            let sessions = listed["items"].as_array().unwrap();
            sessions.iter().find(|it| it["address"] == address).unwrap()["place"].clone()
        };
        assert_eq!(place_of("192.0.2.7"), "Troms\u{f8}, Norway");
        assert_eq!(place_of("192.0.2.8"), Value::Null);
    });
}

#[test]
fn a_database_of_places_that_is_none_keeps_the_server_from_starting() {
    runtime().block_on(async {
        let server = TestServer::start(Engine::Sqlite).await;
        let mut config = server.fleet.config().clone();
        let path = config.data_dir.join("places.mmdb");
        for text in [None, Some("no database")] {
            if let Some(text) = text {
                fs::write(&path, text).unwrap();
            }
            config.auth.session.places = Some(path.clone());
            let refused = Fleet::open(config.clone(), Clock::System).await.err().unwrap();
            assert!(refused.to_string().contains("places.mmdb"), "{refused}");
        }
    });
}
