//! `vtepctl` as a process against a served gateway.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use vtepd::api::Refused;
use vtepd::api::fdb::StationQuery;
use vtepd::api::types::Finding;
use vtepd::tables::BridgeIndex;
use vtepd::telemetry::DropReason;

use crate::gateway::{Gateway, serve};
use crate::http::leave_dead;

fn vtepctl(socket: &Path, arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vtepctl"))
        .env("VTEPD_SOCKET", socket)
        .args(arguments.split_whitespace())
        .output()
        .expect("vtepctl runs")
}

/// What it printed, where it succeeded and complained of nothing.
fn printed(socket: &Path, arguments: &str) -> String {
    let output = vtepctl(socket, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{arguments}: {:?} {errors}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

/// What it complained, where it failed with `status` and printed nothing.
fn complained(socket: &Path, arguments: &str, status: i32) -> String {
    let output = vtepctl(socket, arguments);
    assert_eq!(output.status.code(), Some(status), "{arguments}");
    assert!(output.stdout.is_empty(), "{arguments}");
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn tables_are_the_golden_ones() {
    let served = serve(Gateway::busy());
    let mut text = String::new();
    for arguments in [
        "show ports",
        "show bridges",
        "show bridges --vni 100",
        "show fdb",
        "show fdb --limit 1 --offset 1",
        "show fdb --offset 7",
        "show fdb --remote 10.0.0.2",
        "show fdb --static",
        "fdb history",
        "fdb history 02:00:00:00:00:01 --vni 100 --limit 1",
        "fdb history --vni 7",
        "fdb flush --port trunk0",
        "fdb unfreeze 02:00:00:00:00:02",
        "show bindings",
        "show bindings --address 192.0.2.1",
        "show bindings --vni 100 --limit 1",
        "show vteps",
        "show kernel",
        "show groups",
        "show groups --vni 7",
        "show entropy",
        "show drops",
        "show workers",
        "show config",
    ] {
        text += &format!("$ vtepctl {arguments}\n{}\n", printed(&served.socket, arguments));
    }
    crate::golden::compare("tables.txt", &text);
}

#[test]
fn json_is_what_the_socket_says() {
    let served = serve(Gateway::busy());
    let all =
        ["ports", "bridges", "fdb", "bindings", "vteps", "kernel", "groups", "entropy", "drops", "workers", "config"];
    for what in all {
        let text = printed(&served.socket, &format!("show {what} --json"));
        let told: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(told, crate::http::unix(&served.socket, &format!("GET /v1/{what}")).json(), "{what}");
    }
}

#[test]
fn what_is_flushed_is_what_the_arguments_say_and_nothing_without_any() {
    let served = serve(Gateway::busy());
    let flushed = || served.gateway.flushed.lock().expect("the lock").take();
    let all = "fdb flush --vni 100 --mac 02:00:00:00:00:01 --vtep 10.0.0.2";
    assert_eq!(printed(&served.socket, all), "1,234 entries flushed\n");
    let query = flushed().expect("it was asked for");
    assert_eq!((query.vni.map(|vni| vni.get()), query.port), (Some(100), None));
    assert_eq!(query.mac.map(|mac| mac.to_string()).as_deref(), Some("02:00:00:00:00:01"));
    assert_eq!(query.vtep, Some(crate::gateway::REMOTE_V4));
    assert_eq!(printed(&served.socket, "fdb flush --all"), "1,234 entries flushed\n");
    assert_eq!(flushed(), Some(StationQuery::default()));
    for wrong in ["fdb flush", "fdb flush --all --vni 1", "fdb flush --port a --vtep 10.0.0.2", "fdb flush --mac 1"] {
        let said = complained(&served.socket, wrong, 2);
        assert!(said.contains("Usage") || said.contains("--help"), "{wrong}: {said}");
    }
    assert!(complained(&served.socket, "fdb flush --port nowhere", 1).contains("no port is called `nowhere`"));
    // Nor does the socket take it that nothing is said.
    for wrong in ["", "?all=true&vni=1", "?vni=16777216", "?mac=1", "?port=a&color=red"] {
        let answer = crate::http::unix(&served.socket, &format!("POST /v1/fdb/flush{wrong}"));
        assert_eq!(answer.status, 400, "{wrong}");
    }
    assert_eq!(flushed().map(|query| query.port), Some(Some("nowhere".to_owned())));
}

#[test]
fn history_as_json_is_what_the_socket_says() {
    let served = serve(Gateway::busy());
    let text = printed(&served.socket, "fdb history --json");
    let told: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(told, crate::http::unix(&served.socket, "GET /v1/fdb/history").json());
    assert_eq!(told["items"][1]["change"], "moved");
    assert_eq!(told["items"][1]["to"]["port"], "trunk0");
}

#[test]
fn a_check_says_what_is_wrong_and_what_to_do_with_status_one() {
    let mut gateway = Gateway::busy();
    let well = serve(Gateway::busy());
    assert_eq!(
        printed(&well.socket, "check"),
        "Nothing is wrong. Looked at, of what the kernel says: bridges 2, stations 1,234, remote VTEPs 2; its FDB is \
         followed by zebra (812).\n"
    );
    let finding = |name: &str| Finding {
        name: name.to_owned(),
        what: "It is broken.".to_owned(),
        remedy: "`mend it`".to_owned(),
        commands: vec!["mend it".to_owned()],
    };
    let check = gateway.check.as_mut().unwrap();
    check.followers.clear();
    check.findings = vec![finding("first"), finding("second")];
    let ill = serve(gateway);
    let output = vtepctl(&ill.socket, "check");
    assert_eq!((output.status.code(), output.stderr.is_empty()), (Some(1), true));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("first\n  It is broken.\n  Remedy: `mend it`.\n\nsecond\n"), "{text}");
    assert!(text.contains("2 things are wrong") && text.ends_with("followed by nobody.\n"), "{text}");
    let output = vtepctl(&ill.socket, "check --json");
    assert_eq!(output.status.code(), Some(1));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told, crate::http::unix(&ill.socket, "GET /v1/check").json());
    let mut gateway = Gateway::busy();
    gateway.check = Err("the kernel's tables cannot be read: no".to_owned());
    assert!(complained(&serve(gateway).socket, "check", 1).contains("cannot be read"));
}

#[test]
fn drops_hide_zeros_unless_all_are_asked_for() {
    let served = serve(Gateway::busy());
    let shown = printed(&served.socket, "show drops");
    let all = printed(&served.socket, "show drops --all");
    for reason in DropReason::ALL {
        let line = |text: &str| text.lines().any(|line| line.contains(&format!(" {} ", reason.name())));
        assert!(line(&all) && all.contains(reason.help()), "{}", reason.name());
        assert_eq!(line(&shown), matches!(reason, DropReason::UnknownVni | DropReason::NoNextHop));
    }
}

#[test]
fn nothing_is_said_in_a_sentence() {
    let served = serve(Gateway::empty());
    for (arguments, sentence) in [
        ("show ports", "The gateway has no ports.\n"),
        ("show bridges", "The gateway has no bridges.\n"),
        ("show bridges --vni 7", "No bridge has VNI 7.\n"),
        ("show fdb", "The forwarding database is empty: no station was heard of within the ageing time.\n"),
        ("show fdb --mac 02:00:00:00:00:09", "No entry of the forwarding database matches.\n"),
        ("show kernel", "The kernel controls no bridge: none has `control = \"kernel\"`.\n"),
        ("show kernel --vni 7", "The kernel controls no bridge with VNI 7.\n"),
        ("show entropy", "There was no traffic from or to remote VTEPs of late.\n"),
        (
            "show bindings",
            "There is no MAC+IP binding: they are learned in bridges with `neighbour_suppression` or with `control = \
             \"kernel\"`.\n",
        ),
        ("show bindings --address 192.0.2.9", "No MAC+IP binding matches.\n"),
        ("show drops", "No packet was dropped.\n"),
        ("show workers", "The gateway has no workers.\n"),
    ] {
        assert_eq!(printed(&served.socket, arguments), sentence, "{arguments}");
    }
    assert!(printed(&served.socket, "show vteps").ends_with("No bridge has a remote VTEP.\n"));
}

#[test]
fn a_reload_prints_the_summary_or_the_diagnostics_as_they_are() {
    let served = serve(Gateway::busy());
    assert_eq!(printed(&served.socket, "reload"), "Nothing changed.\n");
    let diagnostics = "vtepd.toml:3:7: VNI 100 is in two bridges\n  |\n3 | vni = 100\n  |       ^^^\n";
    *served.gateway.reload.lock().unwrap() = Err(Refused::Wrong(diagnostics.to_owned()));
    assert_eq!(complained(&served.socket, "reload", 1), diagnostics);
}

#[test]
fn both_versions_are_told() {
    let served = serve(Gateway::busy());
    let text = printed(&served.socket, "version");
    assert!(text.starts_with(concat!("vtepctl ", env!("CARGO_PKG_VERSION"), "\n")), "{text}");
    assert!(text.contains("vtepd   1.2.3 on DPDK 22.11.5, up "), "{text}");
}

#[test]
fn without_a_daemon_it_says_which_socket_was_tried_and_how_to_start_one() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("none.sock");
    for dead in [false, true] {
        if dead {
            leave_dead(&socket);
        }
        let complaint = complained(&socket, "show ports", 1);
        assert!(complaint.contains(&socket.display().to_string()), "{complaint}");
        assert!(complaint.contains("vtepd --config") && complaint.contains("--socket"), "{complaint}");
    }
}

#[test]
fn without_permission_it_says_sudo_and_the_group() {
    let directory = tempfile::tempdir().unwrap();
    let allow = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let [program, socket] = ["vtepctl", "vtepd.sock"].map(|name| directory.path().join(name));
    // Copied by another process: a child that another test's thread starts meanwhile would have the file open for writing
    // as well, and nobody may run a file that somebody may write.
    assert!(Command::new("cp").args([Path::new(env!("CARGO_BIN_EXE_vtepctl")), &program]).status().unwrap().success());
    let _listener = UnixListener::bind(&socket).unwrap();
    allow(directory.path(), 0o755);
    allow(&program, 0o755);
    allow(&socket, 0o400);
    let mut command = Command::new(&program);
    command.arg("--socket").arg(&socket).arg("reload");
    if nix::unistd::geteuid().is_root() {
        // Root may do anything; the user `nobody` may not.
        command.uid(65534).gid(65534);
    }
    let output = command.output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    for word in ["no permission", "sudo", "usermod -aG vtepd", "vtepd.sock"] {
        assert!(complaint.contains(word), "{complaint}");
    }
}

#[test]
fn wrong_arguments_are_refused_with_status_two() {
    let socket = Path::new("/nonexistent/vtepd.sock");
    for arguments in [
        "",
        "show",
        "show nothing",
        "show fdb --mac 02",
        "show fdb --vni 16777216",
        "show bridges --vni 16777216",
        "show fdb --limit 0",
        "show fdb --static --learned",
        "reload x",
    ] {
        assert!(!complained(socket, arguments, 2).is_empty(), "{arguments}");
    }
    assert!(printed(socket, "--help").contains("Exit status"));
    assert!(printed(socket, "--version").starts_with("vtepctl "));
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    let mut gateway = Gateway::busy();
    // More than a pipe holds.
    let bridge = gateway.bridges[0].clone();
    gateway.bridges = (0..5000).map(|vni| vtepd::api::view::BridgeState { vni, ..bridge.clone() }).collect();
    gateway.bridges[0].index = BridgeIndex(1);
    let served = serve(gateway);
    let mut child = Command::new(env!("CARGO_BIN_EXE_vtepctl"))
        .args(["--socket", served.socket.to_str().unwrap(), "show", "bridges", "--limit", "5000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
