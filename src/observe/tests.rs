//! Metrics and status of a gateway in memory.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::mpsc;

use super::host::{HostReport, Part, Repair};
use super::metrics::Format;
use super::status::Status;
use super::view::{LastReload, View};
use super::{admin, http, metrics};
use crate::addr::Proto;
use crate::addr::ZoneId;
use crate::config::tests::{FakeHost, load_on};
use crate::config::{Config, MAX_ZONES};
use crate::device::memory;
use crate::reason::Reason;
use crate::translator::WorkerId;
use crate::worker::{self, Assignment, Saved, Started};

fn config() -> Config {
    let small = "[limits]\nsessions = 64\nbindings = 64\nblocks = 16\nhosts = 16\nfragment_bytes = 65536\n";
    let text = format!("{small}{}", include_str!("../../configs/nat64.toml"));
    load_on(&text, &FakeHost::new()).expect("a good file")
}

/// Two workers without traffic.
#[expect(clippy::disallowed_methods, reason = "the view reports uptimes by the real clock")]
fn view(config: &Config) -> (Arc<View>, Started) {
    let assignment = |worker| {
        let (device, _) = memory::pair(1).expect("descriptors");
        Assignment {
            settings: config.worker(WorkerId(worker), 2, 1, 1),
            device: Box::new(device),
            saved: Saved::default(),
        }
    };
    let started = worker::start(vec![assignment(0), assignment(1)], MAX_ZONES, 1).expect("threads");
    let view = View::new(config, &started.workers, None, tokio::time::Instant::now);
    (Arc::new(view), started)
}

#[tokio::test]
async fn metrics_are_sums_over_workers_by_zone() {
    // id 6888-10
    let (view, started) = view(&config());
    let zone = Some(ZoneId(0));
    for counters in view.counters() {
        counters.zone(zone).packets_v6_to_v4.add(2);
        counters.zone(zone).sessions[Proto::Udp as usize].add(3);
        counters.zone(None).drops(Reason::NoZone).add(1);
    }
    view.counters()[1].handed_over.add(7);
    let text = metrics::render(&view, None, Format::OpenMetrics).expect("text");
    for line in [
        "gate64_packets_total{zone=\"floor-3\",direction=\"v6_to_v4\"} 4",
        "gate64_sessions{zone=\"floor-3\",protocol=\"udp\"} 6",
        "gate64_dropped_packets_total{zone=\"\",reason=\"no_zone\"} 2",
        "gate64_dropped_packets_total{zone=\"floor-3\",reason=\"no_zone\"} 0",
        "gate64_handed_over_packets_total{worker=\"0\"} 0",
        "gate64_handed_over_packets_total{worker=\"1\"} 7",
        "# TYPE gate64_blocks gauge",
        "# EOF",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    assert_eq!(text.matches("reason=").count(), 2 * Reason::COUNT);
    drop(started);
}

/// Sends a request to the admin socket; returns head and body of the response.
async fn ask(path: &Path, request: &str) -> (String, String) {
    let mut stream = UnixStream::connect(path).await.expect("served");
    let request = format!("{request} HTTP/1.0\r\nHost: gate64\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn a_reload_request_waits_for_its_result() {
    let (view, started) = view(&config());
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("admin.sock");
    let (sender, mut requests) = mpsc::channel::<admin::Request>(1);
    admin::serve(&path, view, sender).await.expect("a socket");
    let (head, _) = ask(&path, "GET /reload").await;
    assert!(head.starts_with("HTTP/1.0 405"), "{head}");
    let failure = |invalid| Err(admin::ReloadFailure { invalid, message: "not now".to_owned() });
    for (result, code, text) in [
        (Ok("reloaded".to_owned()), 200, "reloaded"),
        (failure(true), 422, "not now"),
        (failure(false), 500, "not now"),
    ] {
        let gateway = async {
            let Some(admin::Request::Reload(sender)) = requests.recv().await else { panic!("a reload") };
            sender.send(result).expect("a client");
        };
        let ((head, body), ()) = tokio::join!(ask(&path, "POST /reload"), gateway);
        assert!(head.starts_with(&format!("HTTP/1.0 {code} ")), "{head}");
        assert_eq!(body, text);
    }
    drop(requests);
    let (head, _) = ask(&path, "POST /reload").await;
    assert!(head.starts_with("HTTP/1.0 503"), "{head}");
    drop(started);
}

#[tokio::test]
async fn the_admin_socket_serves_the_status() {
    let (view, started) = view(&config());
    view.counters()[0].zone(Some(ZoneId(0))).drops(Reason::Denied).add(5);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("run/admin.sock");
    admin::serve(&path, view.clone(), mpsc::channel(1).0).await.expect("a socket");
    let (head, body) = ask(&path, "GET /status").await;
    assert!(head.starts_with("HTTP/1.0 200"), "{head}");
    let status: Status = serde_json::from_str(&body).expect("a status");
    assert_eq!(status.zones[0].drops["denied"], 5);
    assert_eq!(status.workers.len(), 2);
    // id W-plat-default
    assert_eq!(status.settings["wkp_private"], "false");
    assert_eq!(status.stateless, None);
    let text = status.to_string();
    for part in ["zone floor-3", "pref64    2001:db8:64::/96", "dropped   denied 5", "wkp_private      false"]
    {
        assert!(text.contains(part), "{part}\n{text}");
    }
    drop(started);
}

#[tokio::test]
async fn the_status_shows_repairs_and_problems() {
    let (view, started) = view(&config());
    let mut status = Status::of(&view, None);
    status.dropped_without_zone = [("source_address".to_owned(), 3)].into();
    status.dns64.without_zone = [("no_zone".to_owned(), 4)].into();
    let text = status.to_string();
    assert!(text.contains("\nno zone\n  dropped   source_address 3\n  dns64     no_zone 4\n"), "{text}");
    let mut report =
        HostReport { problems: vec!["the forward chain drops".to_owned()], ..HostReport::default() };
    report.repairs[Part::Route as usize] = 2;
    report
        .last
        .push_back(Repair { at: view.now(), what: "the route to 2001:db8:64::/96 was missing".to_owned() });
    view.report(|condition| condition.host = report);
    let message = "line 3: unknown key".to_owned();
    view.report(|condition| {
        condition.last_reload =
            Some(LastReload { succeeded: false, at: view.now(), unix_seconds: 0, message });
    });
    let text = Status::of(&view, None).to_string();
    for part in [
        "\nproblem: the forward chain drops\n",
        "\nlast reload  0 s ago  failed: line 3: unknown key\n",
        "\nrepairs of this host  route 2\n  0 s ago  the route to 2001:db8:64::/96 was missing\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let metrics = metrics::render(&view, None, Format::Classic).expect("text");
    assert!(metrics.contains("gate64_host_repairs_total{part=\"route\"} 2\n"), "{metrics}");
    assert!(metrics.contains("gate64_host_problems 1\n"), "{metrics}");
    drop(started);
}

#[tokio::test]
async fn stateless_translation_has_its_own_counters() {
    let config = load_on(include_str!("../../configs/siit.toml"), &FakeHost::new()).expect("a good file");
    let (view, started) = view(&config);
    for counters in view.counters() {
        counters.zone(None).packets_v4_to_v6.add(3);
        counters.zone(None).bytes_v4_to_v6.add(2048);
    }
    let text = Status::of(&view, None).to_string();
    assert!(
        text.contains("stateless, 3 mappings\n  to IPv4   0 packets, 0 B\n  to IPv6   6 packets, 4.0 KiB"),
        "{text}"
    );
    let metrics = metrics::render(&view, None, Format::OpenMetrics).expect("text");
    assert!(metrics.contains("gate64_packets_total{zone=\"\",direction=\"v4_to_v6\"} 6"));
    drop(started);
}

#[tokio::test]
async fn a_file_that_is_not_a_socket_stays() {
    let (view, started) = view(&config());
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("precious");
    std::fs::write(&path, "data").expect("written");
    admin::serve(&path, view, mpsc::channel(1).0).await.expect_err("in use");
    assert_eq!(std::fs::read_to_string(&path).expect("still there"), "data");
    drop(started);
}

#[tokio::test]
async fn the_client_chooses_the_format() {
    let (addr, started) = served(http::Limits { connections: 8, total: LONG, header: 8192 }).await;
    let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let classic = "text/plain; version=0.0.4; charset=utf-8";
    for (accept, kind, counter, ends) in [
        (
            "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n",
            open,
            "gate64_packets ",
            true,
        ),
        ("Accept: text/plain\r\nAccept: Application/OpenMetrics-Text\r\n", open, "gate64_packets ", true),
        ("", classic, "gate64_packets_total ", false),
        ("Accept: */*\r\n", classic, "gate64_packets_total ", false),
        ("Accept: application/openmetrics-text;q=0,text/plain\r\n", classic, "gate64_packets_total ", false),
    ] {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: gate64\r\n{accept}\r\n");
        let text = received(&mut send(addr, &request).await).await;
        assert!(text.contains(&format!("content-type: {kind}\r\n")), "{accept}{text}");
        assert!(text.contains(&format!("# TYPE {counter}counter\n")), "{accept}{text}");
        assert_eq!(text.ends_with("# EOF\n"), ends, "{accept}{text}");
        assert!(text.contains("gate64_packets_total{zone=\"floor-3\",direction=\"v6_to_v4\"} 0\n"), "{text}");
        assert!(text.contains("\ngate64_limit{table=\"sessions\"} 64\n"), "{text}");
        assert!(text.contains("\nprocess_cpu_seconds_total "), "{text}");
    }
    drop(started);
}

#[tokio::test]
async fn the_last_reload_is_a_metric() {
    let (view, started) = view(&config());
    let render = || metrics::render(&view, None, Format::Classic).expect("text");
    assert!(!render().contains("gate64_last_reload"), "absent before the first");
    for (succeeded, line) in
        [(false, "gate64_last_reload_successful 0\n"), (true, "gate64_last_reload_successful 1\n")]
    {
        view.report(|condition| {
            condition.last_reload = Some(LastReload {
                succeeded,
                at: view.now(),
                unix_seconds: 1_800_000_000,
                message: String::new(),
            });
        });
        assert!(
            render().contains(line) && render().contains("gate64_last_reload_timestamp_seconds 1800000000\n")
        );
    }
    drop(started);
}

const LONG: Duration = Duration::from_secs(20);

/// Serves the metrics with these limits.
async fn served(limits: http::Limits) -> (SocketAddr, Started) {
    let (view, started) = view(&config());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let addr = listener.local_addr().expect("bound");
    tokio::spawn(http::serve(listener, metrics::router(view), limits));
    (addr, started)
}

async fn send(to: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.expect("connects");
    // The server may have closed it already.
    let _ = stream.write_all(text.as_bytes()).await;
    stream
}

/// What the server sends before it closes the connection.
async fn received(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let end = tokio::time::timeout(LONG, stream.read_to_end(&mut bytes)).await;
    let _ = end.expect("the server closes the connection");
    String::from_utf8_lossy(&bytes).into_owned()
}

const REQUEST: &str =
    "GET /metrics HTTP/1.1\r\nHost: gate64\r\nAccept: application/openmetrics-text;version=1.0.0\r\n\r\n";
const HALF: &str = "GET /metrics HTTP/1.1\r\nX: ";

#[tokio::test]
async fn many_half_open_requests_do_not_prevent_a_scrape() {
    let limits = http::Limits { connections: 8, total: Duration::from_secs(3600), header: 8192 };
    let (addr, started) = served(limits).await;
    let mut slow = Vec::new();
    for _ in 0..400 {
        slow.push(send(addr, HALF).await);
    }
    let text = received(&mut send(addr, REQUEST).await).await;
    assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("# EOF\n"), "{text}");
    for stream in &mut slow[..400 - limits.connections] {
        assert_eq!(received(stream).await, "", "the oldest are closed");
    }
    drop(started);
}

#[tokio::test]
async fn a_half_open_request_ends_in_time() {
    let limits = http::Limits { connections: 8, total: Duration::from_millis(20), header: 8192 };
    let (addr, started) = served(limits).await;
    assert_eq!(received(&mut send(addr, HALF).await).await, "");
    assert_eq!(received(&mut send(addr, "").await).await, "");
    drop(started);
}

#[tokio::test]
async fn a_connection_serves_one_request_with_bounded_headers() {
    let limits = http::Limits { connections: 8, total: LONG, header: 8192 };
    let (addr, started) = served(limits).await;
    let text = received(&mut send(addr, &format!("{REQUEST}{REQUEST}")).await).await;
    assert_eq!(text.matches("HTTP/1.1 200").count(), 1, "{text}");
    let long = format!("{HALF}{}\r\n\r\n", "x".repeat(20_000));
    let text = received(&mut send(addr, &long).await).await;
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    drop(started);
}
