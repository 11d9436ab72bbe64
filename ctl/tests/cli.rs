//! The real program against a fake daemon: what it prints, and how it ends.

mod fake;

/// `margay node install-cni` and `uninstall-cni`.
#[path = "cli/cni.rs"]
mod cni;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
};

use fake::{Daemon, margay, scratch, scratch_in};
use serde_json::{Value, json};
use testkit::golden::assert_golden;

fn golden(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn assert_fails(output: &Output, code: i32, parts: &[&str]) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.starts_with("error: "), "{text}");
    for line in text.lines() {
        assert!(line.starts_with("error: ") || line.starts_with("help: "), "{text}");
    }
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn every_command_prints_what_it_always_printed() {
    let daemon = Daemon::start();
    let file = scratch("toml");
    fs::write(&file, "[bgp]\n").expect("a file can be written");
    let file_name = file.to_str().expect("UTF-8");
    let commands: [(&str, &[&str]); 16] = [
        ("status", &["status"]),
        ("peers", &["peers"]),
        ("peer-up", &["peers", "tor1"]),
        ("peer-down", &["peers", "spine2"]),
        ("routes", &["routes"]),
        ("explain", &["routes", "explain", "10.20.0.0/16"]),
        ("fib", &["fib"]),
        ("config-diff", &["config", "diff", file_name]),
        ("config-show", &["config", "show"]),
        ("workload-list", &["workload", "list"]),
        ("workload-show", &["workload", "show", "shop/web"]),
        ("workload-trace", &["workload", "trace", "10.10.0.7"]),
        ("policy-flows", &["policy", "flows"]),
        ("policy-show", &["policy", "show", "shop/web"]),
        ("policy-counters", &["policy", "show", "shop/web", "--counters=1"]),
        ("policy-trace", POLICY_TRACE),
    ];
    for (name, arguments) in commands {
        for format in ["table", "wide", "json", "yaml"] {
            let text = daemon.text(&[&["-o", format], arguments].concat());
            assert_golden(golden(&format!("{name}.{format}")), &text);
            if format == "json" {
                serde_json::from_str::<Value>(&text).expect("JSON");
            }
            let ends_in_blanks = text.lines().any(|line| line.ends_with(' '));
            assert!(!ends_in_blanks, "{name}.{format} has blanks at the end of a line");
        }
    }
    fs::remove_file(&file).expect("a file can be removed");
}

#[test]
fn packets_of_which_no_record_tells_and_records_left_out_are_told_of_once() {
    let daemon = Daemon::start();
    let output = daemon.margay(&["policy", "flows", "--follow"]);
    let told = String::from_utf8_lossy(&output.stderr);
    let warned = told.matches("warning: 7 packets stand in no record: they came too fast").count();
    assert_eq!(warned, 1, "{told}");
    let warned = told.matches("warning: 3 records are left out: they are read too slowly").count();
    assert_eq!(warned, 1, "{told}");
    assert!(told.contains("error: margay-policy-dp ended the stream"), "{told}");
}

const POLICY_TRACE: &[&str] = &[
    "policy",
    "trace",
    "--from",
    "shop/db",
    "--to",
    "shop/web",
    "--protocol",
    "tcp",
    "--port",
    "80",
];

#[test]
fn a_packet_to_be_traced_is_told_as_it_was_said() {
    let daemon = Daemon::start();
    let trace = |more: &[&str]| {
        let ends = ["policy", "trace", "--from", "10.0.0.1", "--to", "shop/web"];
        daemon.margay(&[&ends, more].concat())
    };
    let ping = trace(&["--protocol", "icmp", "--icmp-type", "3", "--icmp-code", "1"]);
    let parts = ["protocol: 1", "icmp_type: Some(3)", "icmp_code: Some(1)", "port: None"];
    assert_fails(&ping, 1, &parts);
    assert_fails(&ping, 1, &["from: \"10.0.0.1\"", "to: \"shop/web\""]);
    let ports = trace(&["--protocol", "1", "--port", "80", "--source-port", "7"]);
    assert_fails(&ports, 1, &["port: Some(80)", "source_port: Some(7)", "icmp_type: None"]);
    assert_fails(&trace(&["--protocol", "0"]), 2, &["UDPLite or a number from 1 to 255"]);
    assert_fails(&trace(&[]), 2, &["--protocol"]);
    assert_fails(&trace(&["--protocol", "tcp"]), 2, &["TCP goes to a port: say --port N"]);
    assert_fails(&daemon.margay(&["policy", "show", "shop/db"]), 1, &["shop/db is no endpoint"]);
    // Another daemon than that of everything else.
    let away =
        margay().args(["--policy-socket", "/nowhere/p.sock", "policy", "show", "a/b"]).output();
    let away = away.expect("margay runs");
    assert_fails(&away, 1, &["margay-policy-dp is not running", "MARGAY_POLICY_SOCKET"]);
}

/// Where the objects of a command are, and every field the contract names for them.
type Promise = (&'static [&'static str], &'static str, &'static [&'static str]);

const CONTRACT: &[Promise] = &[
    (
        &["status"],
        "",
        &["node", "version", "router_id", "asn", "uptime_seconds", "peers", "routes", "datastore"],
    ),
    (&["status"], "/peers", &["total", "established"]),
    (POLICY_TRACE, "", &["verdict", "steps"]),
    (POLICY_TRACE, "/steps/1", &["tier", "policy", "rule", "action"]),
    (&["status"], "/routes/ipv4-unicast", &["paths", "best", "installed"]),
    (&["status"], "/datastore", &["type", "connected"]),
    (
        &["peers"],
        "/0",
        &[
            "name",
            "address",
            "asn",
            "local_asn",
            "state",
            "admin_state",
            "uptime_seconds",
            "flaps",
            "last_error",
            "families",
            "capabilities",
            "template",
        ],
    ),
    (&["peers"], "/1/last_error", &["direction", "code", "subcode", "text", "at"]),
    (&["peers"], "/2/families/ipv6-unicast", &["received", "accepted", "advertised"]),
    (&["peers", "tor1"], "", &["name", "state", "timers", "transport", "negotiated", "messages"]),
    (
        &["routes"],
        "/0",
        &[
            "prefix",
            "family",
            "best",
            "peer",
            "path_id",
            "next_hop",
            "next_hop_link_local",
            "as_path",
            "origin",
            "med",
            "local_pref",
            "communities",
            "large_communities",
            "ext_communities",
            "aggregator",
            "atomic_aggregate",
            "originator_id",
            "cluster_list",
            "stale",
            "rpki",
            "installed",
            "age_seconds",
            "reason",
            "multipath",
        ],
    ),
    (&["routes"], "/0/aggregator", &["asn", "address"]),
    (&["routes"], "/0/as_path/0", &["type", "asns"]),
    (&["fib"], "/0", &["prefix", "type", "next_hops", "metric", "table", "protocol", "in_kernel"]),
    (&["fib"], "/0/next_hops/0", &["address", "interface", "weight"]),
];

#[test]
fn json_has_every_field_of_the_contract_also_where_it_is_null() {
    let daemon = Daemon::start();
    for (command, pointer, fields) in CONTRACT {
        let answer = daemon.json(command);
        let object = answer.pointer(pointer).and_then(Value::as_object);
        let object = object.unwrap_or_else(|| panic!("{command:?} has no object at {pointer}"));
        let missing: Vec<_> = fields.iter().filter(|field| !object.contains_key(**field)).collect();
        assert!(missing.is_empty(), "{command:?} {pointer}: no {missing:?} in {object:?}");
    }
}

#[test]
fn monitor_prints_one_object_a_line_and_says_when_the_daemon_stops() {
    let daemon = Daemon::start();
    let output = daemon.margay(&["monitor"]);
    assert_golden(golden("monitor.jsonl"), &String::from_utf8_lossy(&output.stdout));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "error: the daemon ended the stream\n");

    let lines = |what| {
        let output = daemon.margay(&["monitor", what]);
        let lines = output.stdout.lines().map(|line| line.expect("UTF-8"));
        lines
            .map(|line| serde_json::from_str::<Value>(&line).expect("JSON")["event"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(lines("peers"), ["peer", "lost"]);
    assert_eq!(lines("routes"), ["route", "route", "lost"]);
}

#[test]
fn text_of_a_peer_cannot_steer_the_terminal() {
    let daemon = Daemon::start();
    for arguments in [&["peers"][..], &["peers", "spine2"]] {
        let text = daemon.text(arguments);
        assert!(text.contains("back?[31m at nine"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}

#[test]
fn the_order_of_global_options_and_commands_does_not_matter() {
    let daemon = Daemon::start();
    let socket = daemon.socket().to_str().expect("UTF-8");
    let expected = daemon.text(&["-o", "json", "routes", "explain", "10.20.0.0/16"]);
    for arguments in [
        ["--socket", socket, "-o", "json", "routes", "explain", "10.20.0.0/16"],
        ["routes", "--socket", socket, "-o", "json", "explain", "10.20.0.0/16"],
        ["routes", "explain", "10.20.0.0/16", "-o", "json", "--socket", socket],
        ["routes", "explain", "--socket", socket, "--output=json", "--no-color", "10.20.0.0/16"],
    ] {
        let output = margay().args(arguments).output().expect("margay runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{arguments:?}");
    }
}

#[test]
fn the_option_wins_over_the_environment() {
    let daemon = Daemon::start();
    let nowhere = daemon.margay(&["--socket", "/nonexistent/bgpd.sock", "status"]);
    assert_fails(&nowhere, 1, &["not running", "/nonexistent/bgpd.sock"]);
}

#[test]
fn nothing_found_is_an_empty_array_but_cannot_be_explained() {
    let daemon = Daemon::start();
    assert_eq!(daemon.text(&["-o", "json", "routes", "203.0.113.1"]), "[]\n");
    assert_eq!(daemon.text(&["-o", "yaml", "routes", "203.0.113.1"]), "[]\n");
    let table = daemon.text(&["routes", "203.0.113.1"]);
    assert!(table.starts_with("BEST  PREFIX"), "{table}");
    assert_eq!(table.lines().count(), 1, "{table}");
    let explain = daemon.margay(&["routes", "explain", "203.0.113.0/24"]);
    assert_fails(&explain, 1, &["there is no path for 203.0.113.0/24"]);
}

#[test]
fn workloads_are_chosen_by_namespace_and_network() {
    let daemon = Daemon::start();
    let pods = |arguments: &[&str]| {
        let rows = daemon.json(&[&["workload", "list"], arguments].concat());
        rows.as_array().expect("an array").len()
    };
    assert_eq!(pods(&[]), 3);
    assert_eq!(pods(&["-n", "vms"]), 1);
    assert_eq!(pods(&["--network", "margay"]), 2);
    assert_eq!(pods(&["--network", "other"]), 0);
    for command in ["show", "trace"] {
        let output = daemon.margay(&["workload", command, "shop/db"]);
        assert_fails(&output, 1, &["there is no workload shop/db"]);
    }
}

#[test]
fn an_unknown_peer_is_a_failure_of_every_command_that_names_one() {
    let daemon = Daemon::start();
    for arguments in [
        &["peers", "nobody"][..],
        &["peers", "reset", "nobody"],
        &["peers", "disable", "nobody", "--message", "tea"],
        &["peers", "enable", "nobody"],
        &["routes", "--received-from", "nobody", "-o", "json"],
        &["routes", "--advertised-to", "nobody"],
        &["routes", "explain", "10.0.0.0/8", "--to", "nobody"],
    ] {
        assert_fails(&daemon.margay(arguments), 1, &["no peer is named \"nobody\""]);
    }
}

#[test]
fn each_kind_of_reset_reaches_the_daemon() {
    let daemon = Daemon::start();
    assert_eq!(daemon.text(&["peers", "reset", "hard"]), "hard: session reset\n");
    for soft in ["in", "out", "both"] {
        daemon.text(&["peers", "reset", soft, "--soft", soft]);
    }
    let done = daemon.json(&["peers", "reset", "hard"]);
    assert_eq!(done, json!({"peer": "hard", "action": "session reset"}));
    assert_fails(&daemon.margay(&["peers", "reset", "x", "--soft", "up"]), 2, &["in, out, both"]);
}

#[test]
fn peers_named_like_commands_can_be_seen_and_reset() {
    let daemon = Daemon::start();
    let text = daemon.text(&["-o", "json", "peers", "--", "reset"]);
    assert!(text.contains("\"timers\""), "{text}");
    daemon.text(&["peers", "reset", "hard"]);
}

#[test]
fn own_routes_are_added_and_withdrawn() {
    let daemon = Daemon::start();
    let add = ["routes", "add", "10.1.0.0/16", "--next-hop", "10.0.0.9", "--community", "65001:1"];
    assert_eq!(daemon.text(&add), "10.1.0.0/16: added\n");
    assert_eq!(daemon.text(&["routes", "withdraw", "10.1.0.0/16"]), "10.1.0.0/16: withdrawn\n");
    let unknown = daemon.margay(&["routes", "withdraw", "10.2.0.0/16"]);
    assert_fails(&unknown, 1, &["10.2.0.0/16 is not a route of our own"]);
    let community = daemon.margay(&["routes", "add", "10.1.0.0/16", "--community", "blue"]);
    assert_fails(&community, 2, &["\"blue\" is not a community"]);
    let unmasked = daemon.margay(&["routes", "add", "10.1.2.3/16"]);
    assert_fails(&unmasked, 2, &["did you mean 10.1.0.0/16?"]);
}

#[test]
fn mistakes_on_the_command_line_exit_2_and_say_what_is_possible() {
    for (arguments, parts) in [
        (&["frob"][..], &["'frob'"][..]),
        (&[], &["status, peers, routes, fib, config, ipam, node, workload, policy, get, apply"]),
        (&["config"], &["check, diff, show, reload"]),
        (&["statu"], &["help: a similar subcommand exists: 'status'"]),
        (&["-o", "xml", "status"], &["table, wide, json, yaml"]),
        (&["routes", "10.0.0.0/33"], &["10.0.0.0/33", "neither a prefix"]),
        (&["routes", "--family", "ipv5"], &["ipv4-unicast, ipv6-unicast"]),
        (&["routes", "--pre-policy"], &["--received-from <PEER>"]),
        (&["routes", "--longer"], &["PREFIX|ADDRESS"]),
        (&["routes", "10.0.0.1", "--longer"], &["needs a prefix"]),
        (&["routes", "--limit", "0"], &["0 is not in 1.."]),
        (&["routes", "--best", "explain", "10.0.0.0/8"], &["--best does not belong"]),
        (&["routes", "10.0.0.0/8", "add", "10.0.0.0/8"], &["10.0.0.0/8 does not belong"]),
        (&["peers", "tor1", "reset", "tor1"], &["tor1 does not belong"]),
        (&["peers", "reset"], &["<NAME>"]),
        (&["monitor", "fib"], &["peers, routes"]),
        (&["routes", "add", "10.0.0.0/8", "--next-hop", "x"], &["--next-hop"]),
    ] {
        assert_fails(&margay().args(arguments).output().expect("margay runs"), 2, parts);
    }
    let long = "x".repeat(256);
    let disable = ["peers", "disable", "tor1", "--message", &long];
    let output = margay().args(disable).output().expect("margay runs");
    assert_fails(&output, 2, &["256 octets long, at most 255 fit"]);
}

#[test]
fn a_daemon_that_is_not_there_is_named_with_its_socket_and_how_to_start_it() {
    let socket = scratch("sock");
    let path = socket.to_str().expect("UTF-8");
    let run = || margay().args(["--socket", path, "peers"]).output().expect("margay runs");
    assert_fails(&run(), 1, &["not running", path, "help: start it: margay-bgpd --config"]);

    // A socket that a killed daemon left behind.
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a fresh path can be bound"));
    assert_fails(&run(), 1, &["not running: nobody listens on", path]);
    fs::remove_file(&socket).expect("a socket can be removed");
}

#[test]
fn a_daemon_that_dies_while_it_answers_is_named() {
    use std::io::Write;
    let path = scratch("sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("a fresh path");
    let daemon = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().expect("margay connects");
        // An empty SETTINGS frame, as every HTTP/2 server begins; then the end.
        connection.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).expect("margay listens");
        let mut begun = [0; 64];
        let _ = std::io::Read::read(&mut connection, &mut begun);
        drop(connection);
        drop(listener);
    });
    let socket = path.to_str().expect("UTF-8");
    let output = margay().args(["--socket", socket, "status"]).output().expect("margay runs");
    daemon.join().expect("it ends");
    fs::remove_file(&path).expect("a socket can be removed");
    assert_fails(&output, 1, &["margay-bgpd"]);
    assert!(!stderr(&output).contains("h2"), "{}", stderr(&output));
}

#[test]
fn an_invalid_file_names_every_fault_and_exits_2() {
    let daemon = Daemon::start();
    let file = scratch("toml");
    fs::write(&file, "hold-tme = 1\n").expect("a file can be written");
    let path = file.to_str().expect("UTF-8");
    let output = daemon.margay(&["config", "diff", path]);
    let first = format!("error: {path}:1: bgp.hold-tme: unknown key, did you mean hold-time?\n");
    let second = format!("error: {path}:2: bgp.asn: must be at least 1\n");
    assert_fails(&output, 2, &[&first, &second]);
    fs::remove_file(&file).expect("a file can be removed");
    assert_fails(&daemon.margay(&["config", "diff", path]), 1, &["cannot read", path]);
}

#[test]
fn a_reload_that_changes_nothing_says_so() {
    let daemon = Daemon::start();
    assert_eq!(daemon.text(&["config", "diff"]), "a reload would change nothing\n");
    assert_eq!(daemon.text(&["-o", "json", "config", "diff"]), "[]\n");
    assert!(daemon.text(&["config", "reload"]).contains("hold-time 90 -> 30"));
}

/// The program in a directory of its own, beside a `margay-bgpd` that is this script.
fn with_daemon_binary(script: &str, arguments: &[&str]) -> Output {
    let dir = scratch_in(Path::new(env!("CARGO_TARGET_TMPDIR")), "bin");
    fs::create_dir(&dir).expect("a fresh directory");
    let program = dir.join("margay");
    fs::hard_link(env!("CARGO_BIN_EXE_margay"), &program).expect("the program can be linked");
    // Written by a shell: what this process has open for writing, no thread of it can run.
    let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\" && chmod 755 \"$2\"";
    let written = Command::new("sh")
        .args(["-c", write, "sh", script])
        .arg(dir.join("margay-bgpd"))
        .status()
        .expect("sh runs");
    assert!(written.success(), "a script can be written");
    let output = Command::new(&program).args(arguments).output().expect("margay runs");
    fs::remove_dir_all(&dir).expect("the directory can be removed");
    output
}

#[test]
fn config_check_asks_the_daemon_beside_the_program() {
    let arguments = ["config", "check", "x.toml"];
    let valid = with_daemon_binary("test \"$*\" = '--config x.toml --check'", &arguments);
    assert_eq!(String::from_utf8_lossy(&valid.stdout), "x.toml: valid\n");
    assert!(valid.status.success());

    let refuse = "echo 'error: x.toml:3: bgp.asn: must be at least 1
  |
3 | asn = 0
  |       ^
warning: x.toml:4: odd' >&2; exit 2";
    let invalid = with_daemon_binary(refuse, &arguments);
    assert_eq!(invalid.status.code(), Some(2));
    let said = stderr(&invalid);
    assert!(said.starts_with("error: x.toml:3: bgp.asn: must be at least 1\n  |\n"), "{said}");
    assert_eq!(said.lines().count(), 5, "nothing is added to what the daemon says: {said}");

    let invalid = with_daemon_binary(refuse, &["-o", "json", "config", "check", "x.toml"]);
    assert_eq!(invalid.status.code(), Some(2));
    assert_eq!(stderr(&invalid), "");
    let result: Value = serde_json::from_slice(&invalid.stdout).expect("JSON");
    let expected = json!({
        "file": "x.toml",
        "valid": false,
        "errors": ["x.toml:3: bgp.asn: must be at least 1"],
        "warnings": ["x.toml:4: odd"],
    });
    assert_eq!(result, expected);

    let broken = with_daemon_binary("echo 'cannot map memory' >&2; exit 127", &arguments);
    assert_fails(&broken, 1, &["cannot map memory"]);
}

#[test]
fn many_routes_print_in_every_format_within_little_memory() {
    // Kept all at once they would need more than twice what is allowed.
    const COUNT: usize = 40_000;
    let daemon = Daemon::start();
    for format in ["table", "json", "yaml"] {
        let socket = daemon.socket().display();
        let program = env!("CARGO_BIN_EXE_margay");
        // Kilobytes of address space: what the program maps before it does anything, and a page.
        let script = format!(
            "ulimit -v 40000; exec {program} --socket {socket} -o {format} routes --limit {COUNT}"
        );
        let mut shell = Command::new("sh");
        let mut child = shell.args(["-c", &script]).stdout(Stdio::piped()).spawn().expect("sh");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let rows = stdout.lines().filter(|line| line.as_ref().is_ok_and(|l| l.contains(".0/24")));
        assert_eq!(rows.count(), COUNT, "{format}");
        assert!(child.wait().expect("it ends").success(), "{format}");
    }
}

#[test]
fn a_reader_that_has_enough_ends_the_program_without_a_word() {
    let daemon = Daemon::start();
    for format in ["table", "json", "yaml"] {
        let mut command = margay();
        command.arg("--socket").arg(daemon.socket());
        command.args(["-o", format, "routes", "--limit", "50000"]);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("margay runs");
        let mut first = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        stdout.read_line(&mut first).expect("a line");
        drop(stdout);
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(stderr(&output), "", "{format}");
        assert!(output.status.success(), "{format}");
    }
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let daemon = Daemon::start();
    let full = fs::File::options().write(true).open("/dev/full").expect("the kernel has it");
    let mut command = margay();
    command.arg("--socket").arg(daemon.socket()).arg("peers").stdout(full);
    let output = command.output().expect("margay runs");
    assert_fails(&output, 1, &["cannot write the output: no space left on device"]);
}

#[test]
fn help_version_completions_and_manual_need_no_daemon() {
    let run = |arguments: &[&str]| {
        let output = margay().args(arguments).output().expect("margay runs");
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    assert_eq!(run(&["--version"]), concat!("margay ", env!("CARGO_PKG_VERSION"), "\n"));
    for command in
        [&["status"][..], &["peers", "reset"], &["routes", "explain"], &["config", "diff"]]
    {
        run(&[command, &["--version"]].concat());
        let help = run(&[command, &["--help"]].concat());
        assert!(help.contains("--socket <PATH>"), "{help}");
    }
    assert!(run(&["completions", "bash"]).contains("complete -F _margay"));
    assert!(run(&["completions", "zsh"]).contains("#compdef margay"));
    assert!(run(&["completions", "fish"]).contains("complete -c margay"));
    let page = run(&["man"]);
    assert!(page.contains(".SH MARGAY ROUTES EXPLAIN\n"), "{page}");
    assert!(page.contains(".TP\n\\-\\-received\\-from <PEER>\n"), "{page}");
    assert_eq!(page.matches("Print version").count(), 1, "{page}");
    let dir = scratch("man");
    run(&["man", "--dir", dir.to_str().expect("UTF-8")]);
    assert!(dir.join("margay-routes-explain.1").is_file());
    fs::remove_dir_all(&dir).expect("a directory can be removed");
}

#[test]
fn a_selector_is_explained_and_matched_without_a_daemon() {
    let run =
        |arguments: &[&str]| margay().args(arguments).output().expect("margay can be started");
    let output = run(&["selector", "a in {\"z\",'x'}", "--labels", "a=x,b=y", "-o", "json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(found, json!({"canonical": "a in {\"x\", \"z\"}", "match": true}));
    let output = run(&["selector", "a == 'x,y'", "--label", "a=x,y"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("match      true"));
    // A label that is not there differs from every value.
    let output = run(&["selector", "a != 'b'", "-o", "json"]);
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).expect("JSON")["match"], true);
    assert_fails(&run(&["selector", "a = 'b'"]), 2, &["column 3", "=="]);
    assert_fails(&run(&["selector", "has(a)", "--labels", "a"]), 2, &["key=value"]);
}

#[test]
fn validate_tells_every_fault_and_lists_what_is_valid() {
    let file = scratch("yaml");
    let name = file.to_str().expect("UTF-8").to_owned();
    let run =
        |arguments: &[&str]| margay().args(arguments).output().expect("margay can be started");
    let pool =
        "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata:\n  name: a\nspec:\n  cidr: ";
    fs::write(&file, format!("{pool}10.0.0.0/16\n---\n{pool}10.0.0.1/16\n  blockSise: 26\n"))
        .expect("a file can be written");
    let output = run(&["validate", "-f", &name]);
    assert_fails(
        &output,
        2,
        &[
            "document 2, line 13",
            "spec.cidr",
            "line 14",
            "spec.blockSise",
            "did you mean blockSize",
        ],
    );
    assert_eq!(stderr(&output).lines().count(), 2, "{}", stderr(&output));
    fs::write(&file, format!("{pool}10.0.0.0/16\n  later: 1\n")).expect("a file can be written");
    assert_fails(&run(&["validate", "-f", &name]), 2, &["spec.later"]);
    let output = run(&["validate", "-f", &name, "--lenient", "-o", "json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("warning: "), "{}", stderr(&output));
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        found,
        json!([{"file": name, "document": 1, "line": 1, "kind": "IPPool", "namespace": null,
            "name": "a"}])
    );
    fs::write(&file, "# nothing\n").expect("a file can be written");
    assert_fails(&run(&["validate", "-f", &name]), 2, &["holds no resource"]);
    assert!(run(&["validate", "-f", &name, "--skip-empty"]).status.success());
    fs::remove_file(&file).expect("a file can be removed");
    assert_fails(&run(&["validate", "-f", &name]), 1, &["cannot read"]);
}
