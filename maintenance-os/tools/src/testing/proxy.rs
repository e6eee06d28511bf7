//! An HTTP proxy that knows CONNECT alone and, whatever host it is asked for, leads to one place. For tests; the
//! dispatcher's use it as well.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// The proxy; ends with the test process.
pub struct TinyProxy {
    /// `http://user:secret@127.0.0.1:PORT`.
    pub url: String,
    /// `host:port` of each CONNECT, and the credentials that came with it.
    pub asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl TinyProxy {
    /// Starts on a free port of the loopback; every tunnel leads to `to` (`host:port`).
    pub fn start(to: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://user:secret@{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, to) = (asked.clone(), to.to_owned());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, to) = (log.clone(), to.clone());
                thread::spawn(move || tunnel(stream, &to, &log));
            }
        });
        Self { url, asked }
    }
}

fn tunnel(client: TcpStream, to: &str, log: &Mutex<Vec<(String, String)>>) {
    let mut head = BufReader::new(client.try_clone().unwrap());
    let (mut wanted, mut credentials) = (String::new(), String::new());
    loop {
        let mut line = String::new();
        if head.read_line(&mut line).unwrap_or(0) <= 2 {
            break;
        }
        if let Some(rest) = line.strip_prefix("CONNECT ") {
            rest.split(' ').next().unwrap_or_default().clone_into(&mut wanted);
        } else if let Some(rest) = line.strip_prefix("Proxy-Authorization: ") {
            rest.trim().clone_into(&mut credentials);
        }
    }
    let mut client = client;
    if wanted.is_empty() {
        let _ = client.write_all(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n");
        return;
    }
    log.lock().unwrap().push((wanted, credentials));
    let mut server = TcpStream::connect(to).unwrap();
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
    let (mut from_server, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    thread::spawn(move || {
        let _ = std::io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(std::net::Shutdown::Write);
    });
    let _ = std::io::copy(&mut head, &mut server);
    let _ = server.shutdown(std::net::Shutdown::Write);
}
