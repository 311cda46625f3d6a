//! A system over HTTP: what each route answers, who is refused, and that nothing which is refused changes anything.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use issc::http::{Mode, Server, Service, Settings, openapi};
use issc::system::{Run, System, SystemSpec};
use serde_json::{Value, json};
use tungstenite::Message;
use tungstenite::client::IntoClientRequest;

/// A run in real time that somebody else waits for, and its server.
fn shown(token: Option<&str>) -> (Server, Run, tempfile::TempDir) {
    let spec = SystemSpec::shipped("loopback").unwrap().pace(1.0).seconds(1e6);
    let spec = spec.set("scene.waveform.bandwidth_hz", 1e5).unwrap().watched();
    let folder = tempfile::tempdir().unwrap();
    let token_file = token.map(|token| {
        let file = folder.path().join("token");
        std::fs::write(&file, token).unwrap();
        file
    });
    let service = Service::new(Mode::Guest);
    let settings = Settings { address: "127.0.0.1:0".into(), token_file, hosts: Vec::new() };
    let server = Server::start(&settings, Arc::clone(&service)).unwrap();
    let run = System::build(spec).unwrap().start().unwrap();
    service.show(&run).unwrap();
    (server, run, folder)
}

fn serving() -> (Server, Arc<Service>) {
    let spec = SystemSpec::shipped("loopback").unwrap().pace(1.0).seconds(1e6);
    let spec = spec.set("scene.waveform.bandwidth_hz", 1e5).unwrap().watched();
    let service = Service::new(Mode::Host(Box::new(spec)));
    let settings = Settings { address: "127.0.0.1:0".into(), ..Settings::default() };
    (Server::start(&settings, Arc::clone(&service)).unwrap(), service)
}

/// One answer.
struct Answer {
    status: u16,
    headers: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Asks once, with these headers beside the usual ones; `host` takes the place of the right one.
fn once(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| *name == "Host") {
        request += &format!("Host: {address}\r\n");
    }
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    // A server that refuses a long body need not read it.
    let _ = stream.write_all(format!("{request}\r\n{body}").as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer has a head");
    let headers = String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase();
    let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, headers, body: answer[end + 4..].to_vec() }
}

/// The same, again and again where it came too soon after others.
fn ask(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    loop {
        let answer = once(address, method, path, headers, body);
        if answer.status != 429 {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(60));
    }
}

fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, "GET", path, &[], "")
}

fn post(address: SocketAddr, path: &str, body: &Value) -> Answer {
    ask(address, "POST", path, &[], &body.to_string())
}

fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(since.elapsed() < Duration::from_secs(120), "{what} did not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Every route with its methods.
fn routes() -> Vec<(String, Vec<String>)> {
    let described = serde_json::to_value(openapi()).unwrap();
    let paths = described["paths"].as_object().unwrap();
    let methods = |item: &Value| item.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
    paths.iter().map(|(path, item)| (path.replace("{file}", "0.png"), methods(item))).collect()
}

#[test]
fn whatever_is_wrong_is_refused_and_changes_nothing() {
    let (server, run, _folder) = shown(None);
    let address = server.address();
    let before = run.watch().decisions().values;
    let bodies =
        ["", "{", "[]", "3", "{}", "{\"command\": 3}", "{\"command\": \"power_dbm=lots\"}", "{\"powr_dbm\": 1}"];
    let routes = routes();
    assert!(routes.len() >= 14, "{routes:?}");
    for (path, known) in &routes {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "TRACE"] {
            let is_known = known.iter().any(|known| known == method) || (method == "HEAD" && known[0] == "GET");
            let foreign: [&[(&str, &str)]; 4] = [
                &[("Origin", "http://evil.example")],
                &[("Origin", "null")],
                &[("Host", "evil.example")],
                &[("Host", "127.0.0.1:1")],
            ];
            for headers in foreign {
                let answer = ask(address, method, path, headers, "{\"command\": \"power_dbm=-3\"}");
                assert_eq!(answer.status, 403, "{method} {path} {headers:?}");
            }
            if is_known && path.ends_with("/stop") {
                continue;
            }
            for body in bodies.iter().take(if is_known { bodies.len() } else { 1 }) {
                let answer = ask(address, method, path, &[], body);
                assert!(answer.status < 500, "{method} {path} {body}: {}", answer.text());
                match is_known {
                    true if method == "GET" => {
                        assert!([200, 400, 404].contains(&answer.status), "{path}: {}", answer.text())
                    }
                    // Nothing of this is a change that could be carried out.
                    true if method != "HEAD" => {
                        assert!([400, 409].contains(&answer.status), "{method} {path} {body}: {}", answer.text());
                        assert!(!answer.json()["error"].as_str().unwrap().is_empty());
                    }
                    true => {}
                    false => assert_eq!(answer.status, 405, "{method} {path}"),
                }
            }
        }
    }
    let large = ask(address, "POST", "/api/v1/commands", &[], &"x".repeat((1 << 20) + 1));
    assert_eq!(large.status, 413, "{}", large.text());
    assert_eq!(get(address, "/api/v1/nothing").status, 404);
    for path in [
        "/api/v1/frames?last=0",
        "/api/v1/frames?lost=3",
        "/api/v1/pictures/0.png?side=left",
        "/api/v1/stream?topics=x",
    ] {
        assert_eq!(get(address, path).status, 400, "{path}");
    }
    assert_eq!(run.watch().decisions().values, before, "nothing was changed");
    assert_eq!(get(address, "/api/v1/status").json()["state"], "running");
}

#[test]
fn commands_take_effect_at_their_frame_and_refusals_are_the_command_lines_sentences() {
    let (server, run, _folder) = shown(None);
    let address = server.address();
    let answer = post(address, "/api/v1/commands", &json!({ "command": "power_dbm=-2", "at_frame": null }));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let frame = answer.json()["frame"].as_u64().unwrap();
    assert_eq!((&answer.json()["accepted"], &answer.json()["feasible"]), (&json!(true), &json!(true)));
    for (command, sentence) in [
        ("power_dbm=lots", "power_dbm: found `lots`; accepted: -200 to 100 dBm"),
        ("powr_dbm=1", "unknown key `powr_dbm`; the nearest known key is `power_dbm`"),
    ] {
        let answer = post(address, "/api/v1/commands", &json!({ "command": command, "at_frame": null }));
        assert_eq!((answer.status, answer.json()), (400, json!({ "error": sentence, "cause": "input" })));
    }
    let refused = post(address, "/api/v1/commands", &json!({ "command": "power_dbm=-90" }));
    assert_eq!((refused.status, &refused.json()["accepted"]), (409, &json!(false)));
    assert!(refused.json()["error"].as_str().unwrap().contains("hcrb_max_m2"), "{}", refused.text());
    let file = post(address, "/api/v1/commands", &json!({ "command": "weights=@/etc/passwd" }));
    assert_eq!(file.status, 400);
    // At a frame to come, and at one that is past.
    let then = frame + 100;
    let later = post(address, "/api/v1/commands", &json!({ "command": "power_dbm=-3", "at_frame": then }));
    assert_eq!(
        (later.status, later.json()["frame"].as_u64(), &later.json()["feasible"]),
        (200, Some(then), &Value::Null)
    );
    assert_eq!(post(address, "/api/v1/commands", &json!({ "command": "power_dbm=-3", "at_frame": 0 })).status, 409);
    let lines = until("the frame", || {
        let frames = get(address, "/api/v1/frames?last=1000").json()["frames"].clone();
        let has =
            |frame| frames.as_array().unwrap().iter().any(|line| line["frame"] == frame && line["sent"].is_object());
        has(then + 1).then_some(frames)
    });
    for line in lines.as_array().unwrap() {
        let (number, power) = (line["frame"].as_u64().unwrap(), line["sent"]["power_dbm"].as_f64());
        let Some(power) = power else { continue };
        let expected = if number < frame {
            0.0
        } else if number < then {
            -2.0
        } else {
            -3.0
        };
        assert!((power - expected).abs() < 0.01, "frame {number}: {power} dBm, {frame}, {then}");
    }
    let plan = get(address, "/api/v1/plan").json();
    assert_eq!(plan["values"]["power_dbm"], json!({ "frame": then, "value": "-3" }));
    let reason = |row: &Value| row["value"] == "-90" && row["reason"].as_str().unwrap().contains("hcrb_max_m2");
    assert!(plan["recent"].as_array().unwrap().iter().any(reason), "{plan}");
    // Keys are what they were made, and the first of two wrong ones leaves both as they were.
    let both = ask(address, "PATCH", "/api/v1/keys", &[], "{\"power_dbm\": -1.5, \"hcrb_max_m2\": -1}");
    assert_eq!(both.status, 400);
    let changed = ask(address, "PATCH", "/api/v1/keys", &[], "{\"power_dbm\": -1.5}");
    assert_eq!((changed.status, &changed.json()["keys"]["power_dbm"]["accepted"]), (200, &json!(true)));
    let later = ask(address, "PATCH", "/api/v1/keys", &[], "{\"scene.constraints.power_dbm\": -1.5}");
    assert!(later.status == 409 && later.json()["error"].as_str().unwrap().contains("issc serve"), "{}", later.text());
    let rows = get(address, "/api/v1/keys").json();
    let row = rows.as_array().unwrap().iter().find(|row| row["path"] == "power_dbm").unwrap();
    assert_eq!((&row["value"], &row["range"]), (&json!(-1.5), &json!([-200.0, 100.0])));
    run.stop();
}

#[test]
fn pictures_status_flowgraph_and_blocks_are_shown() {
    let (server, run, _folder) = shown(None);
    let address = server.address();
    let kept = until("a picture", || {
        let kept = get(address, "/api/v1/pictures").json()["kept"].clone();
        kept.as_array().is_some_and(|kept| !kept.is_empty()).then_some(kept)
    });
    let index = kept[0]["index"].as_u64().unwrap();
    let picture = |side: &str| {
        let answer = get(address, &format!("/api/v1/pictures/{index}.png?side={side}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.headers.contains("content-type: image/png"));
        image::load_from_memory(&answer.body).unwrap().to_rgb8()
    };
    let (sent, received) = (picture("sent"), picture("received"));
    assert!(sent.dimensions() == received.dimensions() && sent != received);
    assert_eq!(get(address, "/api/v1/pictures/999999.png").status, 404);
    let status = get(address, "/api/v1/status").json();
    for key in ["state", "frame", "plan", "sinr_db", "targets", "receivers", "dropped", "latency_ms", "memory_bytes"] {
        assert!(status.get(key).is_some(), "{key}");
    }
    let graph = get(address, "/api/v1/flowgraph").json();
    assert_eq!((&graph["transmitter_m"], &graph["targets"][0]["id"]), (&json!([0.0, 0.0]), &json!("target")));
    assert!(graph["text"].as_str().unwrap().contains("[[chain]]") && graph["chains"].as_array().unwrap().len() > 3);
    assert!(get(address, "/api/v1/blocks").json()["blocks"].as_array().unwrap().len() > 10);
    assert_eq!(get(address, "/healthz").json()["running"], true);
    let described = get(address, "/api/v1/openapi.json").json();
    assert_eq!(described["info"]["title"], "issc");
    for (path, kind) in [("/", "text/html"), ("/page.js", "text/javascript"), ("/page.css", "text/css")] {
        let file = get(address, path);
        assert!(file.status == 200 && file.headers.contains(kind) && file.headers.contains("default-src 'none'"));
    }
    run.stop();
}

/// A metric's name and labels, held against the format's rules.
fn sample(line: &str) -> (String, f64) {
    let (name, rest) =
        line.split_at(line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap());
    let value = match rest.strip_prefix('{') {
        Some(labels) => {
            let (labels, value) = labels.rsplit_once("} ").unwrap();
            for label in labels.split("\",") {
                let (label, text) = label.split_once("=\"").unwrap();
                assert!(label.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
                assert!(!text.contains('\n'), "{line}");
            }
            value
        }
        None => rest.trim_start(),
    };
    (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
}

#[test]
fn metrics_are_prometheus_text_with_help_and_type_for_every_name() {
    let (server, run, _folder) = shown(None);
    until("frames", || run.status().frame.filter(|frame| *frame > 20));
    let answer = get(server.address(), "/metrics");
    assert!(answer.headers.contains("content-type: text/plain; version=0.0.4"), "{}", answer.headers);
    let (mut kinds, mut samples) = (std::collections::BTreeMap::new(), std::collections::BTreeMap::new());
    let text = answer.text();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(["gauge", "counter"].contains(&kind) && kinds.insert(name.to_owned(), kind.to_owned()).is_none());
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            assert!(text.contains(&format!("# HELP {name} ")), "{name}");
        } else if !line.starts_with('#') {
            let (name, value) = sample(line);
            assert!(kinds.contains_key(&name), "{line}: its type comes before it");
            samples.insert(line.rsplit_once(' ').unwrap().0.to_owned(), value);
        }
    }
    assert!(samples["issc_frames_sent_total"] > 20.0 && samples["issc_up"] == 1.0);
    assert!(samples["issc_sinr_db{node=\"communication-receiver\",kind=\"measured\"}"] > 5.0);
    run.stop();
}

#[test]
fn a_token_is_asked_for_by_every_route_that_tells_or_changes_something() {
    let token = "a-token-of-enough-length";
    let (server, run, _folder) = shown(Some(token));
    let address = server.address();
    for (path, methods) in routes() {
        for method in &methods {
            for headers in [&[][..], &[("Authorization", "Bearer a-token-of-enough-lengtH")]] {
                let expected = if path == "/healthz" { 200 } else { 401 };
                assert_eq!(ask(address, method, &path, headers, "").status, expected, "{method} {path}");
            }
        }
    }
    let bearer = format!("Bearer {token}");
    assert_eq!(ask(address, "GET", "/api/v1/status", &[("Authorization", &bearer)], "").status, 200);
    assert_eq!(get(address, "/").status, 200);
    let settings = Settings { address: "0.0.0.0:0".into(), ..Settings::default() };
    let error = Server::start(&settings, Service::new(Mode::Guest)).err().unwrap();
    assert!(error.exit_status() == 2 && error.to_string().contains("--http-token-file"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, token).unwrap();
    let settings = Settings { token_file: Some(file), ..settings };
    let error = Server::start(&settings, Service::new(Mode::Guest)).err().unwrap();
    assert!(error.exit_status() == 2 && error.to_string().contains("--http-host"), "{error}");
    let settings = Settings { hosts: vec!["radio.example".into()], ..settings };
    let open = Server::start(&settings, Service::new(Mode::Guest)).unwrap();
    let here: SocketAddr = ([127, 0, 0, 1], open.address().port()).into();
    let straight = ask(here, "GET", "/api/v1/status", &[("Authorization", &bearer)], "");
    assert_eq!(straight.status, 403, "it was not encrypted");
    run.stop();
}

type Socket = tungstenite::WebSocket<TcpStream>;

fn stream(address: SocketAddr, query: &str, origin: Option<&str>) -> Result<Socket, u16> {
    let mut request = format!("ws://{address}/api/v1/stream?{query}").into_client_request().unwrap();
    if let Some(origin) = origin {
        request.headers_mut().insert("Origin", origin.parse().unwrap());
    }
    let tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    match tungstenite::client(request, tcp) {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_stream_brings_events_in_order_status_and_arrays() {
    let (server, run, _folder) = shown(None);
    let address = server.address();
    assert_eq!(stream(address, "topics=events", Some("http://evil.example")).err(), Some(403));
    let mut socket = stream(address, "topics=events,status,spectrum,constellation,map,beams&rate=30", None).unwrap();
    let (mut sent, mut kinds, mut views) = (Vec::new(), std::collections::BTreeSet::new(), Vec::new());
    let wanted = ["beams", "constellation", "map", "spectrum"];
    let since = Instant::now();
    while sent.len() < 60 || wanted.iter().any(|topic| !views.iter().any(|(known, _): &(String, Value)| known == topic))
    {
        assert!(since.elapsed() < Duration::from_secs(120), "{kinds:?} {views:?}");
        match socket.read().unwrap() {
            Message::Text(text) => {
                let event: Value = serde_json::from_str(&text).unwrap();
                kinds.insert(event["event"].as_str().unwrap().to_owned());
                if event["event"] == "sent" {
                    sent.push(event["frame"].as_u64().unwrap());
                }
            }
            Message::Binary(bytes) => {
                let length = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
                let header: Value = serde_json::from_slice(&bytes[4..4 + length]).unwrap();
                let count: u64 = header["arrays"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|array| {
                        array["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).product::<u64>()
                    })
                    .sum();
                assert_eq!(bytes.len() as u64, 4 + length as u64 + 4 * count);
                let numbers = bytes[4 + length..].chunks_exact(4);
                assert!(numbers.map(|four| f32::from_le_bytes(four.try_into().unwrap())).all(f32::is_finite));
                views.push((header["topic"].as_str().unwrap().to_owned(), header));
            }
            _ => {}
        }
    }
    assert!(sent.windows(2).all(|pair| pair[1] == pair[0] + 1), "{sent:?}");
    for kind in ["sent", "received", "detections", "status"] {
        assert!(kinds.contains(kind), "{kind}: {kinds:?}");
    }
    let of = |topic: &str| views.iter().find(|(known, _)| known == topic).map(|(_, header)| header.clone()).unwrap();
    assert!(of("map")["facts"]["found"][0]["path_m"].as_f64().unwrap() > 0.0);
    assert!(of("constellation")["facts"]["sinr_db"].as_f64().unwrap() > 3.0);
    assert!(of("beams")["facts"]["bounds"][0]["covariance_m2"][0][0].as_f64().unwrap() > 0.0);
    let nodes: std::collections::BTreeSet<_> =
        views.iter().filter(|(topic, _)| topic == "spectrum").map(|(_, header)| header["node"].to_string()).collect();
    assert_eq!(nodes.len(), 2, "{nodes:?}");
    // The server's end is said.
    run.stop();
    drop(server);
    let closed = loop {
        match socket.read() {
            Ok(Message::Close(frame)) => break frame,
            Ok(_) => {}
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(u16::from(closed.unwrap().code), 1001);
}

#[test]
fn readers_are_counted_and_too_many_are_refused() {
    let (server, run, _folder) = shown(None);
    let sockets: Vec<_> = (0..64).map(|_| stream(server.address(), "topics=status&rate=1", None).unwrap()).collect();
    assert_eq!(stream(server.address(), "topics=status", None).err(), Some(429));
    drop(sockets);
    until("a free place", || stream(server.address(), "topics=status", None).ok());
    run.stop();
}

#[test]
fn a_served_system_is_started_changed_stopped_and_started_again() {
    let (server, service) = serving();
    let address = server.address();
    assert_eq!(get(address, "/api/v1/status").status, 404);
    assert_eq!(post(address, "/api/v1/run/stop", &Value::Null).status, 409);
    let wrong = ask(address, "PATCH", "/api/v1/keys", &[], "{\"scene.constraints.power_dbm\": 1e9}");
    assert!(wrong.status == 400 && wrong.json()["error"].as_str().unwrap().contains("accepted"), "{}", wrong.text());
    for key in ["scene", "http", "link.connect"] {
        let refused = ask(address, "PATCH", "/api/v1/keys", &[], &json!({ key: "x" }).to_string());
        assert_eq!(refused.status, 400, "{}", refused.text());
    }
    assert!(service.changes().is_empty());
    let kept = ask(address, "PATCH", "/api/v1/keys", &[], "{\"scene.constraints.power_dbm\": -2.5}");
    assert_eq!((kept.status, &kept.json()["keys"]["scene.constraints.power_dbm"]), (200, &json!("next-start")));
    let mut socket = stream(address, "topics=events&rate=20", None).unwrap();
    for round in 0..2 {
        let started = post(address, "/api/v1/run/start", &Value::Null);
        assert_eq!(started.status, 200, "{round}: {}", started.text());
        assert_eq!(post(address, "/api/v1/run/start", &Value::Null).status, 409);
        // The reader who was there before hears each run.
        let power = loop {
            let Message::Text(text) = socket.read().unwrap() else { continue };
            let event: Value = serde_json::from_str(&text).unwrap();
            if event["event"] == "sent" {
                break event["power_dbm"].as_f64().unwrap();
            }
        };
        assert!((power + 2.5).abs() < 0.01, "{power}");
        assert_eq!(post(address, "/api/v1/run/stop", &Value::Null).status, 200);
        until("the end", || (get(address, "/healthz").json()["running"] == false).then_some(()));
        assert_eq!(get(address, "/api/v1/status").json()["state"], "ended");
        let report = get(address, "/api/v1/report").json();
        assert!(report["frames_sent"].as_u64().unwrap() > 0);
        // What waits in the queue is of the run that has ended.
        socket.get_mut().set_read_timeout(Some(Duration::from_millis(400))).unwrap();
        while socket.read().is_ok() {}
        socket.get_mut().set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    }
}

/// The program itself, ended with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_command_line_serves_what_a_flowgraph_or_an_option_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    let graph = folder.path().join("seen.toml");
    let text = include_str!("../flowgraphs/loopback.toml");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    std::fs::write(&graph, format!("http = \"127.0.0.1:{port}\"\n{text}")).unwrap();
    let address: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
    let program = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_issc"));
        Program(command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    };
    let answers = || TcpStream::connect(address).ok().map(|_| get(address, "/healthz").json());
    let run = program(&["run", graph.to_str().unwrap(), "--pace", "1", "--seconds", "1000"]);
    assert_eq!(until("the run", answers)["serves"], false);
    drop(run);
    let serve = program(&["serve", "--http", &address.to_string()]);
    assert_eq!(until("the server", answers), json!({ "ok": true, "has_run": false, "running": false, "serves": true }));
    drop(serve);
    let refused =
        Command::new(env!("CARGO_BIN_EXE_issc")).args(["run", "--frames", "1", "--http", "0.0.0.0:0"]).output();
    let refused = refused.unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.lines().count() == 1 && said.contains("--http-token-file"), "{said}");
}
