//! The stats thread over loopback TCP and a Unix socket.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use vtepd::api::{Endpoints, Refused, ServeError, StatsThread};
use vtepd::telemetry::Exposition;

use crate::gateway::{Gateway, KERNEL_WAIT, Served, serve, serve_impatiently, serve_with};
use crate::http::{leave_dead, tcp, unix};

fn spawn(endpoints: &Endpoints) -> Result<StatsThread, ServeError> {
    StatsThread::spawn(endpoints, Arc::new(Gateway::empty()))
}

#[test]
fn metrics_are_served_as_open_metrics() {
    let served = serve(Gateway::busy());
    let answer = tcp(served.stats.metrics_address(), "GET /metrics");
    assert_eq!(answer.status, 200);
    assert!(
        answer.head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{}",
        answer.head
    );
    assert_eq!(answer.body, Exposition::new(Arc::clone(&served.gateway)).encode().unwrap());
}

#[test]
fn the_scrape_endpoint_serves_nothing_of_the_control_socket() {
    let served = serve(Gateway::busy());
    for request in ["GET /v1/config", "POST /v1/reload", "GET /"] {
        assert_eq!(tcp(served.stats.metrics_address(), request).status, 404, "{request}");
    }
    assert_eq!(tcp(served.stats.metrics_address(), "POST /metrics").status, 405);
}

#[test]
fn readiness_says_what_it_waits_for() {
    let served = serve(Gateway::busy());
    assert_eq!(tcp(served.stats.metrics_address(), "GET /readyz").status, 200);
    served.gateway.ready.store(false, Ordering::Relaxed);
    let answer = tcp(served.stats.metrics_address(), "GET /readyz");
    assert_eq!((answer.status, &*answer.body), (503, "worker 1 has not started\n"));
}

/// After this time without a heartbeat a thread is stuck.
const STUCK: Duration = Duration::from_millis(300);

/// Lets what is said to beat do so for a time.
fn beat_for(time: Duration, served: &Served, workers: &[usize], threads: &[usize]) {
    let until = Instant::now() + time;
    loop {
        served.gateway.control.rounds.increment();
        workers.iter().for_each(|&worker| served.gateway.workers[worker].telemetry.run.polls.increment());
        for &thread in threads {
            served.gateway.threads[thread].heartbeat.fetch_add(1, Ordering::Relaxed);
        }
        // Looked at in between, a heartbeat that moves is not taken for one that stands still.
        let _ = tcp(served.stats.metrics_address(), "GET /healthz");
        if Instant::now() >= until {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What is answered right after that: asked again where this machine stood still before the answer, and those that beat
/// with it.
fn just_after<T>(time: Duration, served: &Served, workers: &[usize], threads: &[usize], ask: impl Fn() -> T) -> T {
    beat_for(time, served, workers, threads);
    for _ in 0..20 {
        let began = Instant::now();
        beat_for(Duration::ZERO, served, workers, threads);
        let answer = ask();
        if began.elapsed() < STUCK {
            return answer;
        }
    }
    panic!("this machine stands still too often to tell");
}

#[test]
fn health_names_every_thread_that_is_stuck_and_recovers() {
    let served = serve_impatiently(Gateway::busy(), STUCK);
    let health = || tcp(served.stats.metrics_address(), "GET /healthz");
    let answer = just_after(Duration::ZERO, &served, &[0, 1], &[0, 1], health);
    assert_eq!((answer.status, &*answer.body), (200, "ok\n"));
    let answer = just_after(STUCK * 2, &served, &[0], &[0, 1], health);
    assert_eq!(answer.status, 503);
    assert!(
        answer.body.starts_with("worker 1 has not moved for ") && answer.body.lines().count() == 1,
        "{}",
        answer.body
    );
    assert_eq!(just_after(Duration::ZERO, &served, &[0, 1], &[0, 1], health).status, 200);
    std::thread::sleep(KERNEL_WAIT + STUCK);
    let answer = health();
    assert_eq!(answer.status, 503);
    for name in ["the control thread", "worker 0", "worker 1", "vtepd-netlink", "vtepd-kernel"] {
        assert!(answer.body.contains(name), "{}", answer.body);
    }
}

#[test]
fn a_thread_may_wait_for_the_kernel_as_long_as_that_may_take() {
    let served = serve_impatiently(Gateway::busy(), STUCK);
    let health = || tcp(served.stats.metrics_address(), "GET /healthz").body;
    let is_told = (0..20).any(|_| {
        let began = Instant::now();
        beat_for(Duration::ZERO, &served, &[0, 1], &[0, 1]);
        let said = just_after(STUCK + Duration::from_millis(100), &served, &[0, 1], &[0], health);
        // Where this machine stood still meanwhile, it may have been longer than that takes.
        let is_soon = began.elapsed() < KERNEL_WAIT;
        assert!(!is_soon || said == "ok\n", "{said}");
        is_soon
    });
    assert!(is_told, "this machine stands still too often to tell");
    let said = just_after(KERNEL_WAIT, &served, &[0, 1], &[0], health);
    assert!(said.starts_with("vtepd-kernel has not moved for "), "{said}");
    // And the other way round: what waits for nobody may not.
    let said = just_after(STUCK * 2, &served, &[0, 1], &[1], health);
    assert!(said.starts_with("vtepd-netlink has not moved for "), "{said}");
}

#[test]
fn a_check_finds_a_thread_that_is_stuck() {
    let served = serve_impatiently(Gateway::busy(), STUCK);
    let found = || unix(&served.socket, "GET /v1/check").json()["findings"].clone();
    let findings = just_after(STUCK * 2, &served, &[0, 1], &[1], found);
    assert_eq!(findings[0]["name"], "thread_stuck");
    assert!(findings[0]["what"].as_str().expect("text").contains(": vtepd-netlink has not moved for "), "{findings}");
    assert_eq!(findings.as_array().map(Vec::len), Some(1));
    let findings = just_after(Duration::ZERO, &served, &[0, 1], &[0, 1], found);
    assert_eq!(findings.as_array().map(Vec::len), Some(0));
}

#[test]
fn every_list_is_served_as_json() {
    let served = serve(Gateway::busy());
    let get = |path: &str| {
        let answer = unix(&served.socket, &format!("GET /v1/{path}"));
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert!(answer.head.contains("content-type: application/json"), "{path}");
        answer.json()
    };
    assert_eq!(get("ports")[0]["received_packets"], 1_234_567);
    assert_eq!(get("ports")[1]["link_mbps"], serde_json::Value::Null);
    let bridges = get("bridges");
    assert_eq!((&bridges["total"], &bridges["items"][0]["vni"]), (&2.into(), &100.into()));
    assert_eq!(bridges["items"][0]["traffic"]["access_received"]["packets"], 1200);
    assert_eq!(get("vteps")["remotes"]["items"][0]["next_hops"][0]["mac"], "02:00:00:bb:00:01");
    assert_eq!(get("vteps")["remotes"]["items"][1]["traffic"]["received"]["bytes"], 1500);
    assert_eq!(get("drops")["total"], 43);
    assert_eq!(get("workers")[0]["busy_seconds"], 0.25);
    assert_eq!(get("workers")[1]["burst"], serde_json::Value::Null);
    assert_eq!(get("config")["vtep"]["udp_port"], 4789);
    assert_eq!(get("version")["version"], "1.2.3");
}

#[test]
fn fdb_queries_filter_page_and_refuse_nonsense() {
    let served = serve(Gateway::busy());
    let fdb = |query: &str| unix(&served.socket, &format!("GET /v1/fdb?{query}"));
    let macs = |query: &str| {
        let page = fdb(query).json();
        let last = |entry: &serde_json::Value| entry["mac"].as_str().expect("a MAC")[16..].to_owned();
        (page["total"].as_u64().expect("a total"), page["items"].as_array().expect("items").iter().map(last).collect())
    };
    let some = |list: &[&str]| (list.len() as u64, list.iter().map(|&mac| mac.to_owned()).collect::<Vec<_>>());
    assert_eq!(macs(""), some(&["1", "2", "3"]));
    assert_eq!(macs("vni=100"), some(&["1", "2"]));
    assert_eq!(macs("mac=02:00:00:00:00:03"), some(&["3"]));
    assert_eq!(macs("port=trunk0&vni=100"), some(&["1"]));
    assert_eq!(macs("remote=10.0.0.2"), some(&["2"]));
    assert_eq!(macs("kind=static"), some(&["3"]));
    assert_eq!(macs("limit=1&offset=1"), (3, vec!["2".to_owned()]));
    for nonsense in ["vni=x", "mac=02", "kind=new", "remote=nowhere", "limit=-1", "colour=red"] {
        let answer = fdb(nonsense);
        assert_eq!(answer.status, 400, "{nonsense}");
        assert!(answer.json()["error"].is_string(), "{nonsense}");
    }
}

#[test]
fn what_is_not_there_and_wrong_methods_are_refused_with_a_reason() {
    let served = serve(Gateway::busy());
    let answer = unix(&served.socket, "GET /v1/nothing");
    assert_eq!((answer.status, &answer.json()["error"]), (404, &"there is no /v1/nothing".into()));
    assert_eq!(unix(&served.socket, "GET /v1/reload").status, 405);
    assert_eq!(unix(&served.socket, "POST /v1/ports").status, 405);
}

#[test]
fn a_reload_tells_what_changed_or_why_not() {
    let served = serve(Gateway::busy());
    let answer = unix(&served.socket, "POST /v1/reload");
    assert_eq!((answer.status, &answer.json()["summary"]), (200, &"Nothing changed.".into()));
    *served.gateway.reload.lock().unwrap() = Err(Refused::Wrong("vtepd.toml:3: VNI 100 twice".to_owned()));
    let answer = unix(&served.socket, "POST /v1/reload");
    assert_eq!((answer.status, &answer.json()["error"]), (422, &"vtepd.toml:3: VNI 100 twice".into()));
}

#[test]
fn the_status_says_whether_it_helps_to_ask_again() {
    let served = serve(Gateway::busy());
    let what = || "what it says".to_owned();
    let refusals = [
        (Refused::Wrong(what()), 422),
        (Refused::Unknown(what()), 404),
        (Refused::Busy(what()), 409),
        (Refused::GoesOn(what()), 504),
        (Refused::Stopping, 503),
    ];
    for (refused, status) in refusals {
        *served.gateway.reload.lock().unwrap() = Err(refused.clone());
        let answer = unix(&served.socket, "POST /v1/reload");
        assert_eq!((answer.status, &answer.json()["error"]), (status, &refused.to_string().into()));
    }
    assert_eq!(unix(&served.socket, "POST /v1/fdb/flush?port=nowhere").status, 404);
}

#[test]
fn a_config_too_long_for_json_is_given_as_toml() {
    let lines = "# a line of a config that is too long\n".repeat(500_000);
    let served = serve(Gateway { config: lines.clone(), ..Gateway::empty() });
    let answer = unix(&served.socket, "GET /v1/config");
    assert_eq!(answer.status, 422);
    let error = answer.json()["error"].as_str().expect("text").to_owned();
    assert!(error.starts_with("the config has 19 MiB") && error.contains("--json"), "{error}");
    let answer = unix(&served.socket, "GET /v1/config?format=toml");
    assert!(answer.status == 200 && answer.body == lines, "{}", answer.head);
}

#[test]
fn a_reload_that_hangs_holds_up_neither_health_nor_other_requests() {
    let served = serve(Gateway::busy());
    let hanging = served.gateway.reload.lock().unwrap();
    let (send, statuses) = std::sync::mpsc::channel();
    for _ in 0..2 {
        let (socket, send) = (served.socket.clone(), send.clone());
        std::thread::spawn(move || send.send(unix(&socket, "POST /v1/reload").status));
    }
    assert_eq!(statuses.recv().unwrap(), 409, "the second one is refused at once");
    assert_eq!(tcp(served.stats.metrics_address(), "GET /metrics").status, 200);
    assert_eq!(tcp(served.stats.metrics_address(), "GET /healthz").status, 200);
    assert_eq!(unix(&served.socket, "GET /v1/ports").status, 200);
    drop(hanging);
    assert_eq!(statuses.recv().unwrap(), 200);
}

#[test]
fn the_control_socket_is_for_owner_and_group_and_goes_with_the_daemon() {
    let served = serve(Gateway::empty());
    let mode = std::fs::metadata(&served.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let Served { stats, socket, .. } = served;
    stats.stop();
    assert!(!socket.exists());
}

#[test]
fn a_missing_socket_directory_is_made_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("run/vtepd.sock");
    let stats = spawn(&Endpoints::new(([127, 0, 0, 1], 0).into(), &socket)).unwrap();
    assert!(socket.exists());
    drop(stats);
    assert!(!directory.path().join("run").exists() && directory.path().exists());
}

#[test]
fn a_dead_daemons_socket_is_replaced_and_a_live_ones_refused() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("vtepd.sock");
    let endpoints = Endpoints::new(([127, 0, 0, 1], 0).into(), &socket);
    leave_dead(&socket);
    let stats = spawn(&endpoints).unwrap();
    let error = spawn(&endpoints).unwrap_err();
    assert!(matches!(error, ServeError::SocketLive { .. }), "{error}");
    assert!(error.to_string().contains("file_prefix"), "{error}");
    assert_eq!(unix(&socket, "GET /v1/version").status, 200, "the refused one did not harm it");
    drop(stats);
}

#[test]
fn a_file_in_the_sockets_place_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vtepd.sock");
    std::fs::write(&path, "precious").unwrap();
    let error = spawn(&Endpoints::new(([127, 0, 0, 1], 0).into(), &path)).unwrap_err();
    assert!(matches!(error, ServeError::NotASocket { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn another_daemons_socket_of_the_same_name_is_not_removed() {
    let served = serve(Gateway::empty());
    std::fs::remove_file(&served.socket).unwrap();
    let _other = UnixListener::bind(&served.socket).unwrap();
    let Served { stats, socket, .. } = served;
    stats.stop();
    assert!(socket.exists());
}

#[test]
fn an_address_that_is_taken_or_not_here_is_named_with_a_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("vtepd.sock");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = spawn(&Endpoints::new(address, &socket)).unwrap_err().to_string();
    assert!(error.contains(&address.to_string()) && error.contains("ss -ltnp"), "{error}");
    // 192.0.2.0/24 is for documentation (RFC 5737): no host has it.
    let error = spawn(&Endpoints::new(([192, 0, 2, 1], 0).into(), &socket)).unwrap_err();
    assert!(matches!(error, ServeError::ListenNotHere(_)), "{error}");
    assert!(!socket.exists(), "nothing is left behind");
}

#[test]
fn a_request_head_that_does_not_end_is_cut_off() {
    let served = serve(Gateway::empty());
    let mut stream = TcpStream::connect(served.stats.metrics_address()).unwrap();
    // Less than the server waits for a head: it is cut off for its length.
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
    // Writing fails as soon as the other side has closed.
    for _ in 0..64 {
        if stream.write_all(format!("X-Filler: {}\r\n", "x".repeat(1000)).as_bytes()).is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "it is cut off");
    }
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(tcp(served.stats.metrics_address(), "GET /healthz").status, 200);
}

#[test]
fn idle_connections_beyond_the_bound_wait_and_are_served_when_there_is_room() {
    let served = serve(Gateway::empty());
    let idle: Vec<_> = (0..32).map(|_| UnixStream::connect(&served.socket).unwrap()).collect();
    let mut waiting = UnixStream::connect(&served.socket).unwrap();
    waiting.write_all(b"GET /v1/version HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    waiting.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut answer = String::new();
    assert!(waiting.read_to_string(&mut answer).is_err(), "the 33rd was served: {answer}");
    drop(idle);
    waiting.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn clients_that_do_not_read_their_answers_are_cut_off_for_others() {
    let lines = "# more than a socket keeps for who does not read\n".repeat(200_000);
    let patience = Duration::from_secs(1);
    let served =
        serve_with(Gateway { config: lines, ..Gateway::empty() }, |endpoints| endpoints.reader_patience = patience);
    let ask = |path: &str| {
        let mut stream = UnixStream::connect(&served.socket).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        stream
    };
    let silent: Vec<_> = (0..32).map(|_| ask("/v1/config?format=toml")).collect();
    let mut waiting = ask("/v1/version");
    // Long before the end of a connection's lifetime.
    waiting.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(silent);
}
