//! The agent behind a forward proxy that wants a name and password: HTTP or SOCKS.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use wire::settings::{files, vars};

use crate::{
    by_the_book,
    desktop::fleet_desktop,
    device::{Device, until},
    fleet::Fleet,
};

/// An HTTP proxy that tunnels (RFC 9110, 9.3.6) and remembers the heads of the requests.
pub(crate) fn start_proxy(server: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, seen) = (client.unwrap(), Arc::clone(&seen));
            thread::spawn(move || tunnel(client, server, &seen));
        }
    });
    (address, heads)
}

/// Goes to `server` whatever name was asked for. Ends with either side.
fn tunnel(client: TcpStream, server: SocketAddr, seen: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap() == 0 {
            return;
        }
    }
    seen.lock().unwrap().push(head);
    let server = TcpStream::connect(server).unwrap();
    (&client).write_all(b"HTTP/1.1 200 Connected\r\n\r\n").unwrap();
    let (from_server, to_client) = (server.try_clone().unwrap(), client);
    thread::spawn(move || copy(from_server, to_client));
    copy(reader.into_inner(), server);
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _: io::Result<()> = to.shutdown(std::net::Shutdown::Both);
}

/// What a client of a SOCKS proxy said of itself, and how it named the server.
type Said = (Vec<u8>, u8);

/// A SOCKS proxy (RFC 1928) that wants a name and password (RFC 1929), remembers what it is told, and goes
/// to `server` whatever was asked for.
fn start_socks(server: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<Said>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&said);
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, heard) = (client.unwrap(), Arc::clone(&heard));
            thread::spawn(move || {
                heard.lock().unwrap().push(greet(&client));
                let server = TcpStream::connect(server).unwrap();
                let (from_server, to_client) =
                    (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || copy(from_server, to_client));
                copy(client, server);
            });
        }
    });
    (address, said)
}

fn greet(client: &TcpStream) -> Said {
    let mut to_client = client;
    let take = |count: usize| {
        let (mut bytes, mut from_client) = (vec![0; count], client);
        from_client.read_exact(&mut bytes).unwrap();
        bytes
    };
    let methods = take(2)[1];
    assert!(take(methods.into()).contains(&2), "it offers name and password");
    to_client.write_all(&[5, 2]).unwrap();
    let name = take(2)[1];
    let mut said = take(name.into());
    let password = take(1)[0];
    said.push(b':');
    said.extend(take(password.into()));
    to_client.write_all(&[1, 0]).unwrap();
    let kind = take(4)[3];
    let length = match kind {
        1 => 4,
        3 => take(1)[0].into(),
        _ => 16,
    };
    take(length + 2);
    to_client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
    (said, kind)
}

#[tokio::test]
async fn a_socks_proxy_is_given_its_password_and_resolves_the_name() {
    let fleet = Fleet::start();
    let (proxy, said) = start_socks(fleet.address);
    let mut device = Device::of(&fleet);
    device.set(vars::HTTPS_PROXY, &format!("socks5h://ann:pass%20word@{proxy}"));
    device.enroll_with(&fleet).await;
    check_said(&said);
}

fn check_said(said: &Mutex<Vec<Said>>) {
    let said = said.lock().unwrap();
    let expected = (b"ann:pass word".to_vec(), 3);
    assert!(!said.is_empty() && said.iter().all(|it| *it == expected), "{said:?}");
}

/// Nothing listens where the server is said to be: the proxy alone leads to it.
#[tokio::test]
async fn osqueryd_goes_where_the_agent_goes_through_a_proxy_that_it_does_not_know() {
    let fleet = Fleet::start();
    let (http, heads) = start_proxy(fleet.address);
    let (socks, said) = start_socks(fleet.address);
    for proxy in
        [format!("http://ann:pass%20word@{http}"), format!("socks5h://ann:pass%20word@{socks}")]
    {
        let mut device = by_the_book::device_of(&fleet);
        device.set(vars::FLEET_URL, "https://localhost:9/");
        device.set(vars::HTTPS_PROXY, &proxy);
        device
            .run(async |_| {
                until(|| by_the_book::was_answered(&device, "/distributed/write")).await;
                let server = by_the_book::osqueryds_server(&device);
                assert!(server.starts_with("localhost:") && server != "localhost:9", "{server}");
            })
            .await;
    }
    let heads = heads.lock().unwrap();
    assert!(heads.iter().all(|head| head.to_lowercase().contains("yw5uonbhc3mgd29yza==")));
    check_said(&said);
}

#[tokio::test]
async fn the_agent_tunnels_through_the_proxy_and_gives_it_its_password() {
    let fleet = Fleet::start();
    let (proxy, heads) = start_proxy(fleet.address);
    let mut device = Device::of(&fleet);
    device.set(vars::HTTPS_PROXY, &format!("http://ann:pass%20word@{proxy}"));
    device.enroll_with(&fleet).await;
    let heads = heads.lock().unwrap().clone();
    let port = fleet.address.port();
    assert!(heads[0].starts_with(&format!("CONNECT localhost:{port} HTTP/1.1\r\n")), "{heads:?}");
    // `ann:pass word` in base64.
    assert!(heads[0].to_lowercase().contains("proxy-authorization: basic yw5uonbhc3mgd29yza=="));
}

#[tokio::test]
async fn fleet_desktop_takes_the_agents_way_and_is_not_told_the_password() {
    let fleet = Fleet::start();
    let (proxy, heads) = start_proxy(fleet.address);
    let mut device = Device::of(&fleet);
    device.set(vars::HTTPS_PROXY, &format!("http://ann:pass%20word@{proxy}"));
    device.set(vars::FLEET_DESKTOP, "true");
    device.run(async |_| until(|| device.read(files::DESKTOP_TOKEN).is_some()).await).await;
    let link = device.read(files::DESKTOP_LINK).unwrap();
    assert!(link.contains(&proxy.to_string()) && !link.contains("ann"), "{link}");
    heads.lock().unwrap().clear();
    assert!(fleet_desktop(&device, &["status"]).status.success());
    let heads = heads.lock().unwrap();
    assert!(heads.len() == 1 && !heads[0].to_lowercase().contains("authorization"), "{heads:?}");
}

#[tokio::test]
async fn an_exempt_server_is_reached_directly() {
    let fleet = Fleet::start();
    let (proxy, heads) = start_proxy(fleet.address);
    let mut device = Device::of(&fleet);
    device.set(vars::HTTPS_PROXY, &format!("http://{proxy}"));
    device.set(vars::NO_PROXY, "example.com,localhost");
    device.enroll_with(&fleet).await;
    assert!(heads.lock().unwrap().is_empty());
}
