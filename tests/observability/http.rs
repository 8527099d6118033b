//! The least HTTP client there is: one request, everything until the other side closes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("the body is JSON")
    }
}

pub fn tcp(address: SocketAddr, request: &str) -> Answer {
    let stream = TcpStream::connect(address).expect("somebody listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out is possible");
    exchange(stream, request)
}

pub fn unix(socket: &Path, request: &str) -> Answer {
    let stream = UnixStream::connect(socket).expect("somebody listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out is possible");
    exchange(stream, request)
}

/// Leaves the socket of somebody who is not there, as a killed daemon does.
pub fn leave_dead(socket: &Path) {
    drop(UnixListener::bind(socket).expect("the socket can be made"));
    // A child that another test starts just now listens, too, until it is another program.
    let dropped = Instant::now();
    while UnixStream::connect(socket).is_ok() {
        assert!(dropped.elapsed() < Duration::from_secs(10), "somebody listens on");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(socket.exists(), "std leaves the file");
}

/// `request` is a method and a path.
fn exchange(mut stream: impl Read + Write, request: &str) -> Answer {
    write!(stream, "{request} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").expect("it is sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the answer ends");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}
