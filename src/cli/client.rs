//! The client's side of the control socket: HTTP over a Unix socket, one request a connection.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::api::types::Failure;

/// Where the gateway keeps its sockets.
const SOCKET_DIRECTORY: &str = "/run/vtepd";

/// Longer than the gateway takes before it says that something hangs.
const TIMEOUT: Duration = Duration::from_secs(40);

/// Longer than it takes before it says that a reload goes on.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(160);

/// Where the gateway is told to read its config file again.
pub(super) const RELOAD: &str = "/v1/reload";

/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, Error)]
pub(super) enum ClientError {
    #[error(
        "no vtepd answers at {}: {source}\nIs it running? `systemctl start vtepd` or `vtepd --config FILE` starts it; \
         `--socket PATH` names another socket.",
        socket.display()
    )]
    NoDaemon { socket: PathBuf, source: io::Error },
    #[error(
        "no permission to use {}\nUse sudo, or join the group that owns the socket: `sudo usermod -aG vtepd $USER`.",
        socket.display()
    )]
    Permission { socket: PathBuf },
    #[error("several gateways run here: {}\nName one with `--socket PATH`.", list(sockets))]
    Several { sockets: Vec<PathBuf> },
    #[error("{} does not answer within {} s", socket.display(), waited.as_secs())]
    Timeout { socket: PathBuf, waited: Duration },
    #[error(
        "the gateway's answer is longer than {} MiB\nAsk for less (`--limit`, or a bridge or an address), or read it with \
         `curl --unix-socket {} 'http://vtepd{path}'`.", longest >> 20, socket.display()
    )]
    TooLong { longest: usize, socket: PathBuf, path: String },
    #[error("the gateway broke off: {0}")]
    Broken(String),
    #[error(
        "the gateway's answer is not understood: {0}\nAre vtepd and vtepctl of one version? See `vtepctl version`."
    )]
    NotUnderstood(serde_json::Error),
    /// The gateway's own words.
    #[error("{}", .0.trim_end())]
    Refused(String),
}

fn list(sockets: &[PathBuf]) -> String {
    sockets.iter().map(|socket| socket.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Asks one gateway.
#[derive(Debug)]
pub(super) struct Client {
    socket: Option<PathBuf>,
}

impl Client {
    /// A client of the gateway at `socket`, or of the one that is found.
    pub(super) fn new(socket: Option<PathBuf>) -> Self {
        Self { socket }
    }

    /// Reads something as JSON.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        serde_json::from_slice(&self.ask(Method::GET, path)?).map_err(ClientError::NotUnderstood)
    }

    /// Reads something as text.
    pub(super) fn get_text(&self, path: &str) -> Result<String, ClientError> {
        String::from_utf8(self.ask(Method::GET, path)?.into()).map_err(|error| ClientError::Broken(error.to_string()))
    }

    /// Has something done.
    pub(super) fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        serde_json::from_slice(&self.ask(Method::POST, path)?).map_err(ClientError::NotUnderstood)
    }

    fn ask(&self, method: Method, path: &str) -> Result<Bytes, ClientError> {
        let socket = match &self.socket {
            Some(socket) => socket.clone(),
            None => find_socket(Path::new(SOCKET_DIRECTORY))?,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| ClientError::Broken(error.to_string()))?;
        let waited = if path == RELOAD { RELOAD_TIMEOUT } else { TIMEOUT };
        let answer =
            runtime.block_on(async { tokio::time::timeout(waited, exchange(&socket, method, path, MAX_ANSWER)).await });
        let (status, body) = answer.map_err(|_| ClientError::Timeout { socket, waited })??;
        if status.is_success() {
            return Ok(body);
        }
        match serde_json::from_slice::<Failure>(&body) {
            Ok(failure) => Err(ClientError::Refused(failure.error)),
            Err(_) => Err(ClientError::Broken(format!("HTTP status {status}"))),
        }
    }
}

async fn exchange(
    socket: &Path,
    method: Method,
    path: &str,
    longest: usize,
) -> Result<(StatusCode, Bytes), ClientError> {
    let broken = |error: hyper::Error| ClientError::Broken(error.to_string());
    let stream = tokio::net::UnixStream::connect(socket).await.map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => ClientError::Permission { socket: socket.to_owned() },
        _ => ClientError::NoDaemon { socket: socket.to_owned(), source },
    })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Its errors also come out of the request that is sent on it.
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "vtepd")
        .body(Empty::<Bytes>::new())
        .map_err(|error| ClientError::Broken(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), longest).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            ClientError::TooLong { longest, socket: socket.to_owned(), path: path.to_owned() }
        } else {
            ClientError::Broken(error.to_string())
        }
    });
    Ok((status, body?.to_bytes()))
}

/// The only socket in `directory`, or the default one where there is none.
fn find_socket(directory: &Path) -> Result<PathBuf, ClientError> {
    let mut sockets: Vec<PathBuf> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket()))
        .map(|entry| entry.path())
        .collect();
    let default = directory.join("vtepd.sock");
    sockets.sort();
    match sockets.as_slice() {
        [] => Ok(default),
        [only] => Ok(only.clone()),
        several if several.contains(&default) => Ok(default),
        _ => Err(ClientError::Several { sockets }),
    }
}

/// `text` as a value in a query (RFC 3986, 2.1): everything but unreserved characters as `%XX`.
pub(super) fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    #[test]
    fn the_only_socket_is_found_and_several_are_asked_about() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        assert_eq!(find_socket(directory.path()).unwrap(), path("vtepd.sock"));
        fs::write(path("notes.txt"), "no socket").unwrap();
        let _demo = UnixListener::bind(path("demo.sock")).unwrap();
        assert_eq!(find_socket(directory.path()).unwrap(), path("demo.sock"));
        let _second = UnixListener::bind(path("lab.sock")).unwrap();
        let error = find_socket(directory.path()).unwrap_err().to_string();
        assert!(error.contains("demo.sock") && error.contains("lab.sock") && error.contains("--socket"), "{error}");
        let _default = UnixListener::bind(path("vtepd.sock")).unwrap();
        assert_eq!(find_socket(directory.path()).unwrap(), path("vtepd.sock"));
    }

    #[test]
    fn an_answer_beyond_the_bound_is_not_read_and_what_to_do_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("demo.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let gateway = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).unwrap() > 0);
            let (head, body) = ("HTTP/1.1 200 OK\r\ncontent-length: 2097152\r\n\r\n", vec![b'x'; 2 << 20]);
            // The client reads no further than it wants to.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = runtime.block_on(exchange(&socket, Method::GET, "/v1/config", 1 << 20));
        let error = answer.unwrap_err().to_string();
        assert!(error.contains("longer than 1 MiB") && error.contains("http://vtepd/v1/config"), "{error}");
        drop(runtime);
        gateway.join().unwrap();
    }

    #[test]
    fn a_query_value_is_encoded() {
        assert_eq!(percent_encode("trunk-0_a.b~"), "trunk-0_a.b~");
        assert_eq!(percent_encode("a b&c=ü%"), "a%20b%26c%3D%C3%BC%25");
    }
}
