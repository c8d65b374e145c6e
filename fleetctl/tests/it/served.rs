//! A repository of updates over HTTP: to try it out, and as the server's own.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
};

use axum::{Router, extract::Path, http::StatusCode, routing::get};

use crate::{
    run::tool,
    server::{API_KEY, Server},
    updates::{ADD, updates, with_passphrases},
};

/// One request over a connection of its own: status line and headers, and the body.
fn ask(address: &str, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("{request}\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

#[test]
fn a_repository_is_served_to_try_it_out() {
    let home = with_passphrases();
    home.fleetctl(["updates", "init", "--path", "tuf"]).ok();
    home.write("secret.json", "{}");
    std::os::unix::fs::symlink("../../secret.json", home.path("tuf/repository/2.root.json.json"))
        .unwrap();
    let serve = ["updates", "serve", "--path", "tuf", "--listen", "127.0.0.1:0"];
    let mut child = home.start(serve);
    let mut said = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
    let address = said.split("http://").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let (head, body) = ask(&address, "GET /timestamp.json HTTP/1.1");
    assert!(head.starts_with("http/1.1 200") && head.contains("cache-control: no-cache"), "{head}");
    assert_eq!(body, std::fs::read_to_string(home.path("tuf/repository/timestamp.json")).unwrap());
    let tag = head.split("etag: ").nth(1).unwrap().lines().next().unwrap();
    let (head, _) = ask(&address, &format!("GET /timestamp.json HTTP/1.1\r\nIf-None-Match: {tag}"));
    assert!(head.starts_with("http/1.1 304"), "{head}");
    let (head, body) = ask(&address, "GET /1.root.json HTTP/1.1\r\nRange: bytes=0-0");
    assert!(head.starts_with("http/1.1 206") && head.contains("immutable"), "{head}");
    assert_eq!(body, "{");
    for path in ["/", "/.lock", "/../keys/root.pem", "/2.root.json.json", "/none.json"] {
        let (head, body) = ask(&address, &format!("GET {path} HTTP/1.1"));
        assert!(head.starts_with("http/1.1 404") && body.is_empty(), "{path}: {head}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Whoever is signed in to a server takes the trust in its repository from there.
#[test]
fn a_package_is_made_of_what_its_server_publishes() {
    let home = with_passphrases();
    home.write("orbit", "#!/bin/sh\necho orbit\n");
    home.fleetctl(["updates", "init", "--path", "tuf"]).ok();
    home.fleetctl([&ADD[..], &["--tag", "stable"]].concat()).ok();
    updates(&home, &["renew", "root"]).ok();
    let dir = home.path("tuf/repository");
    let file = move |Path(path): Path<String>| {
        let found = std::fs::read(dir.join(path)).map_err(|_| StatusCode::NOT_FOUND);
        async { found }
    };
    let server = Server::serving(Router::new().route("/updates/{*path}", get(file)));
    let package = [
        "package",
        "--type",
        "deb",
        "--without-osqueryd",
        "--fleet-url",
        &server.url,
        "--enroll-secret",
        "a secret",
        "--outfile",
        "agent.deb",
    ];
    let said = home.fleetctl(package).fails(2);
    assert!(said.contains("unless you are signed in to a server that publishes them"), "{said}");
    let signed_in = home.with("FLEET_URL", &server.url).with("FLEET_API_KEY", API_KEY);
    signed_in.fleetctl(package).ok();
    let deb = signed_in.path("agent.deb");
    tool("dpkg-deb", ["-x", deb.to_str().unwrap(), signed_in.path("out").to_str().unwrap()]);
    let settings = std::fs::read_to_string(signed_in.path("out/etc/default/orbit")).unwrap();
    assert!(settings.contains(&format!("{}/updates", server.url)), "{settings}");
    let pinned =
        tool("grep", ["-rl", "\"_type\": \"root\"", signed_in.path("out").to_str().unwrap()]);
    let pinned = std::fs::read(pinned.lines().next().unwrap()).unwrap();
    assert_eq!(pinned, std::fs::read(signed_in.path("tuf/repository/2.root.json")).unwrap());

    let gone = ["--fleet-url", "http://127.0.0.1:9"];
    let elsewhere = [&package[..4], &gone, &package[6..]].concat();
    signed_in.fleetctl(elsewhere).fails(2);
    std::fs::remove_dir_all(signed_in.path("tuf")).unwrap();
    let said = signed_in.fleetctl(package).fails(1);
    assert!(said.contains("has no repository of updates\nhelp: set `updates.dir`"), "{said}");
}
