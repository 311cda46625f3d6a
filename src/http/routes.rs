//! The routes and what they answer; their description as OpenAPI is made of the same functions.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use utoipa::openapi::OpenApi as Description;
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::guard::Guard;
use super::service::{self, Refusal, Service, key_rows, text};
use super::{metrics, stream};
use crate::blocks::Registry;
use crate::control::keys;
use crate::system::{Answer, Side};
use crate::{Cause, Error};

/// The largest body of a request: beams of 256 antennas in JSON have room.
const BODY_BYTES: usize = 1 << 20;
/// Readers of the stream at a time.
const READERS: usize = 64;
/// Longest message that a reader of the stream may send.
const MESSAGE_BYTES: usize = 1 << 14;
/// Commands that wait for their answer at a time.
const COMMANDS: usize = 8;
/// How long a command may wait for its answer.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// Frames that are shown where nobody says how many, and at most.
const FRAMES: (usize, usize) = (100, 1000);

/// The page's files: path, content type, text.
const FILES: [(&str, &str, &str); 4] = [
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    ("/page.js", "text/javascript; charset=utf-8", include_str!("page/page.js")),
    ("/plots.js", "text/javascript; charset=utf-8", include_str!("page/plots.js")),
];

/// What pages of ours may do: nothing that does not come from here.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(Clone)]
struct App {
    guard: Arc<Guard>,
    service: Arc<Service>,
    commands: Arc<Semaphore>,
}

/// What the API is, for `openapi.json`.
#[derive(OpenApi)]
#[openapi(info(
    title = "issc",
    description = "A system for integrated sensing and semantic communication, seen and steered while it runs. Errors are \
                   {\"error\": SENTENCE, \"cause\": CAUSE}. Where the server has a token every route but the page's and \
                   /healthz wants `Authorization: Bearer TOKEN`."
))]
struct Api;

fn described() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(status))
        .routes(routes!(get_keys, patch_keys))
        .routes(routes!(commands))
        .routes(routes!(frames))
        .routes(routes!(list_pictures))
        .routes(routes!(pictures))
        .routes(routes!(plan))
        .routes(routes!(blocks))
        .routes(routes!(flowgraph))
        .routes(routes!(report))
        .routes(routes!(run_start))
        .routes(routes!(run_stop))
        .routes(routes!(live_stream))
        .routes(routes!(describe))
        .routes(routes!(prometheus))
        .routes(routes!(health))
}

/// The API's description.
pub fn openapi() -> Description {
    described().split_for_parts().1
}

/// All routes behind their guard.
pub fn router(guard: Arc<Guard>, service: Arc<Service>) -> Router {
    let app = App { guard, service, commands: Arc::new(Semaphore::new(COMMANDS)) };
    let (mut router, _) = described().split_for_parts();
    for (path, kind, text) in FILES {
        router = router.route(path, get(move || async move { ([(header::CONTENT_TYPE, kind)], text) }));
    }
    router
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(middleware::from_fn_with_state(app.clone(), guarded))
        .with_state(app)
}

async fn guarded(State(app): State<App>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let open = path == "/healthz" || FILES.iter().any(|(file, ..)| *file == path);
    let mut response = match app.guard.check(request.method(), request.headers(), open) {
        Ok(()) => next.run(request).await,
        Err((status, sentence)) => Refusal::new(status, sentence).into_response(),
    };
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        json(self.status, &json!({ "error": self.error, "cause": self.cause }))
    }
}

fn json(status: StatusCode, value: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn good(value: &impl serde::Serialize) -> Result<Response, Refusal> {
    let value = serde_json::to_value(value).map_err(|error| Refusal::from(Error::internal(error.to_string())))?;
    Ok(json(StatusCode::OK, &value))
}

/// What waits or computes, away from the thread that serves all.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Refusal::from(Error::internal(format!("a request's thread: {error}"))))
}

fn body(bytes: Result<Bytes, BytesRejection>) -> Result<Value, Refusal> {
    let bytes = bytes.map_err(|rejection| {
        let status = rejection.status();
        let what =
            if status == StatusCode::PAYLOAD_TOO_LARGE { "the body is too large" } else { "the body is not whole" };
        Refusal::new(status, format!("{what}; accepted: up to {BODY_BYTES} bytes"))
    })?;
    let wrong = |error: String| Refusal::new(StatusCode::BAD_REQUEST, format!("the body: {error}; accepted: JSON"));
    serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))
}

type Parameters = Result<Query<HashMap<String, String>>, QueryRejection>;

/// The parameters of a request, of which only these are known.
fn parameters(query: Parameters, known: &[&str]) -> Result<HashMap<String, String>, Refusal> {
    let Ok(Query(given)) = query else {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "the query cannot be read; accepted: NAME=VALUE&…"));
    };
    match given.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => {
            let accepted = if known.is_empty() { "none".into() } else { known.join(", ") };
            Err(Refusal::new(StatusCode::BAD_REQUEST, format!("parameter {name}; accepted: {accepted}")))
        }
        None => Ok(given),
    }
}

async fn no_route(uri: Uri) -> Response {
    Refusal::new(StatusCode::NOT_FOUND, format!("no route {}; accepted: see /api/v1/openapi.json", uri.path()))
        .into_response()
}

async fn no_method(method: Method, uri: Uri) -> Response {
    let sentence = format!("{method} {}; accepted: see /api/v1/openapi.json", uri.path());
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, sentence).into_response()
}

#[utoipa::path(get, path = "/api/v1/status", responses(
    (status = 200, description = "What the run is doing, over its last 100 frames: the keys of `issc status --json`"),
    (status = 404, description = "No run has been started")))]
async fn status(State(app): State<App>) -> Result<Response, Refusal> {
    good(&*app.service.watch()?.status())
}

#[utoipa::path(get, path = "/api/v1/keys", responses(
    (status = 200, description = "Every key: those of `issc keys --json`, `value` now and `next` at the next start")))]
async fn get_keys(State(app): State<App>) -> Result<Response, Refusal> {
    let service = app.service;
    let rows = aside(move || key_rows(service.watch().ok().as_ref(), &service.changes())).await?;
    good(&rows)
}

#[utoipa::path(patch, path = "/api/v1/keys",
    request_body(content = Map<String, Value>, description = "Keys with their new values; a live key changes the run, \
        others the next start (`issc serve`)"),
    responses((status = 200, description = "What became of each: an answer, or `next-start`"),
        (status = 400, description = "A key or value is wrong; nothing is changed"),
        (status = 409, description = "A live key was refused; what follows it is left as it was")))]
async fn patch_keys(State(app): State<App>, bytes: Result<Bytes, BytesRejection>) -> Result<Response, Refusal> {
    let Value::Object(given) = body(bytes)? else {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "the body: accepted: an object of keys and values"));
    };
    if given.is_empty() {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "the body: no key; accepted: one or more"));
    }
    // All are understood before the first is changed.
    let (mut live, mut later) = (Vec::new(), Vec::new());
    for (path, value) in given {
        let is_live = keys::live(&path).is_ok();
        match is_live {
            true => live.push((path.clone(), service::command(&format!("{path}={}", text(&value)))?)),
            false => later.push((path, value)),
        }
    }
    let mut outcome = Map::new();
    if !later.is_empty() {
        let (service, paths): (_, Vec<_>) =
            (Arc::clone(&app.service), later.iter().map(|(path, _)| path.clone()).collect());
        aside(move || service.change(later)).await??;
        outcome.extend(paths.into_iter().map(|path| (path, "next-start".into())));
    }
    for (path, command) in live {
        let answer = ask(&app, command, None).await?;
        let refused = !answer.accepted;
        let reason = answer.reason.clone().unwrap_or_default();
        outcome.insert(path.clone(), json!(answer));
        if refused {
            let error = format!("{path}: {reason}");
            let value = json!({ "error": error, "cause": Cause::Infeasible, "keys": outcome });
            return Ok(json(StatusCode::CONFLICT, &value));
        }
    }
    good(&json!({ "keys": outcome }))
}

/// A command to the run under way, and its answer.
async fn ask(app: &App, command: crate::system::Command, at_frame: Option<u64>) -> Result<Answer, Refusal> {
    let watch = app.service.watch()?;
    let Ok(permit) = Arc::clone(&app.commands).try_acquire_owned() else {
        return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, format!("{COMMANDS} commands wait; accepted: fewer")));
    };
    let asked = aside(move || {
        let answer = watch.command(command, at_frame);
        drop(permit);
        answer
    });
    match tokio::time::timeout(ANSWER_TIME, asked).await {
        Ok(answer) => Ok(answer??),
        Err(_) => Err(Refusal::new(
            StatusCode::CONFLICT,
            format!("no answer within {} s: the run does not go on; accepted: while it does", ANSWER_TIME.as_secs()),
        )),
    }
}

/// A live command.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CommandRequest {
    /// KEY=VALUE, as `issc set` takes it; weights as their JSON.
    command: String,
    /// The frame from which it is to hold; the next boundary where nothing is said.
    at_frame: Option<u64>,
}

#[utoipa::path(post, path = "/api/v1/commands", request_body = CommandRequest, responses(
    (status = 200, description = "`accepted`, `frame`, `feasible`, `reason`; `feasible` is null for a frame to come"),
    (status = 400, description = "Not understood"), (status = 404, description = "No run has been started"),
    (status = 409, description = "Refused; the answer's keys and the error's")))]
async fn commands(State(app): State<App>, bytes: Result<Bytes, BytesRejection>) -> Result<Response, Refusal> {
    let request: CommandRequest = serde_json::from_value(body(bytes)?).map_err(|error| {
        let accepted = "{\"command\": \"KEY=VALUE\", \"at_frame\": FRAME or null}";
        Refusal::new(StatusCode::BAD_REQUEST, format!("the body: {error}; accepted: {accepted}"))
    })?;
    let answer = ask(&app, service::command(&request.command)?, request.at_frame).await?;
    let mut value = json!(answer);
    if answer.accepted {
        return Ok(json(StatusCode::OK, &value));
    }
    value["error"] = json!(answer.reason);
    value["cause"] = json!(Cause::Infeasible);
    Ok(json(StatusCode::CONFLICT, &value))
}

#[utoipa::path(get, path = "/api/v1/frames", params(
    ("last" = Option<u32>, Query, description = "How many, 1 to 1000; 100 where nothing is said")),
    responses((status = 200, description = "What was said of the last frames: `sent`, `received`, `detections`"),
        (status = 400, description = "A wrong number")))]
async fn frames(State(app): State<App>, query: Parameters) -> Result<Response, Refusal> {
    let given = parameters(query, &["last"])?;
    let last = match given.get("last") {
        None => FRAMES.0,
        Some(text) => text.parse().ok().filter(|last| (1..=FRAMES.1).contains(last)).ok_or_else(|| {
            Refusal::new(StatusCode::BAD_REQUEST, format!("last={text}; accepted: 1 to {}", FRAMES.1))
        })?,
    };
    let hub = Arc::clone(app.service.hub());
    let frames = aside(move || hub.frames(last)).await?;
    good(&json!({ "frames": frames }))
}

#[utoipa::path(get, path = "/api/v1/pictures", responses(
    (status = 200, description = "The pictures that are kept, the newest first, and what became of the last ones"),
    (status = 404, description = "No run has been started")))]
async fn list_pictures(State(app): State<App>) -> Result<Response, Refusal> {
    let kept = app.service.watch()?.pictures();
    let line = |(node, index, sent)| json!({ "node": node, "index": index, "sent": sent });
    let kept: Vec<_> = kept.into_iter().map(line).collect();
    good(&json!({ "kept": kept, "events": app.service.hub().pictures() }))
}

#[utoipa::path(get, path = "/api/v1/pictures/{file}", params(
    ("file" = String, Path, description = "NUMBER.png"),
    ("side" = Option<String>, Query, description = "`sent` or `received`, which holds where nothing is said"),
    ("receiver" = Option<String>, Query, description = "The communication receiver's id; any where nothing is said")),
    responses((status = 200, description = "The picture", content_type = "image/png"),
        (status = 400, description = "A wrong parameter"), (status = 404, description = "It is not kept")))]
async fn pictures(
    State(app): State<App>,
    file: Result<Path<String>, PathRejection>,
    query: Parameters,
) -> Result<Response, Refusal> {
    let given = parameters(query, &["side", "receiver"])?;
    let side = match given.get("side").map(String::as_str) {
        Some("sent") => Side::Sent,
        None | Some("received") => Side::Received,
        Some(other) => {
            let sentence = format!("side={other}; accepted: sent, received");
            return Err(Refusal::new(StatusCode::BAD_REQUEST, sentence));
        }
    };
    let Path(file) = file.map_err(|_| Refusal::new(StatusCode::NOT_FOUND, "the path; accepted: NUMBER.png"))?;
    let number = file.strip_suffix(".png").and_then(|number| number.parse().ok());
    let number =
        number.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, format!("picture {file}; accepted: NUMBER.png")))?;
    let (watch, receiver) = (app.service.watch()?, given.get("receiver").cloned());
    let png = aside(move || {
        let picture = watch.picture(number, side, receiver.as_deref());
        let picture = picture.map_err(|error| Refusal::new(StatusCode::NOT_FOUND, error.to_string()))?;
        let mut png = Vec::new();
        let written = picture.write_to(&mut Cursor::new(&mut png), image::ImageFormat::Png);
        written.map_err(|error| Refusal::from(Error::internal(format!("picture {number}: {error}"))))?;
        Ok::<_, Refusal>(png)
    });
    Ok(([(header::CONTENT_TYPE, "image/png")], png.await??).into_response())
}

#[utoipa::path(get, path = "/api/v1/plan", responses(
    (status = 200, description = "The plan in force, `recent` changes of plan with their reasons, `values` by commands"),
    (status = 404, description = "No run has been started")))]
async fn plan(State(app): State<App>) -> Result<Response, Refusal> {
    let watch = app.service.watch()?;
    let mut plan = json!(watch.plan());
    let decisions = watch.decisions();
    plan["recent"] = json!(decisions.recent);
    plan["values"] = decisions
        .values
        .into_iter()
        .map(|(key, (frame, value))| (key, json!({ "frame": frame, "value": value })))
        .collect::<Map<_, _>>()
        .into();
    good(&plan)
}

#[utoipa::path(get, path = "/api/v1/blocks", responses(
    (status = 200, description = "The kinds of stages with their keys, as `issc blocks --json` prints them")))]
async fn blocks() -> Result<Response, Refusal> {
    good(&json!({ "blocks": Registry::shipped().descriptions() }))
}

#[utoipa::path(get, path = "/api/v1/flowgraph", responses(
    (status = 200, description = "What the run was made of: flowgraph, scene, receivers, targets, chains"),
    (status = 404, description = "No run has been started")))]
async fn flowgraph(State(app): State<App>) -> Result<Response, Refusal> {
    good(app.service.watch()?.about())
}

#[utoipa::path(get, path = "/api/v1/report", responses(
    (status = 200, description = "The report of the last run that ended here: what `issc run --json` prints"),
    (status = 404, description = "None has")))]
async fn report(State(app): State<App>) -> Result<Response, Refusal> {
    let service = app.service;
    good(&*aside(move || service.report()).await??)
}

#[utoipa::path(post, path = "/api/v1/run/start", responses(
    (status = 200, description = "A run is started, with `notes`"),
    (status = 400, description = "A key is wrong"),
    (status = 409, description = "One is under way, or this process does not start any")))]
async fn run_start(State(app): State<App>) -> Result<Response, Refusal> {
    let service = app.service;
    let notes = aside(move || service.start()).await??;
    good(&json!({ "started": true, "notes": notes }))
}

#[utoipa::path(post, path = "/api/v1/run/stop", responses(
    (status = 200, description = "Nothing new is sent; what is under way is worked off"),
    (status = 409, description = "None is under way")))]
async fn run_stop(State(app): State<App>) -> Result<Response, Refusal> {
    app.service.stop()?;
    good(&json!({ "stopping": true }))
}

#[utoipa::path(get, path = "/api/v1/stream", params(
    ("topics" = Option<String>, Query,
        description = "events, status, spectrum, constellation, map, beams, with commas; events,status where nothing is said"),
    ("rate" = Option<f64>, Query, description = "Times a second, 0.1 to 60; 10 where nothing is said")),
    responses((status = 101, description = "A WebSocket: events as text, arrays as binary messages"),
        (status = 400, description = "A wrong topic or rate, or no WebSocket"),
        (status = 429, description = "Too many readers")))]
async fn live_stream(
    State(app): State<App>,
    query: Parameters,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Refusal> {
    let given = parameters(query, &["topics", "rate"])?;
    let wish = stream::wish(given.get("topics").map(String::as_str), given.get("rate").map(String::as_str))?;
    let upgrade = upgrade.map_err(|_| {
        Refusal::new(StatusCode::BAD_REQUEST, "GET /api/v1/stream: accepted: a WebSocket's opening handshake")
    })?;
    let hub = Arc::clone(app.service.hub());
    let Some(seat) = hub.sit(wish.clone(), READERS) else {
        return Err(Refusal::new(
            StatusCode::TOO_MANY_REQUESTS,
            format!("{READERS} readers are here; accepted: fewer"),
        ));
    };
    let upgrade = upgrade.protocols(["issc"]).max_message_size(MESSAGE_BYTES).max_frame_size(MESSAGE_BYTES);
    Ok(upgrade.on_upgrade(move |socket| stream::serve(socket, hub, wish, seat)))
}

#[utoipa::path(get, path = "/api/v1/openapi.json", responses((status = 200, description = "This description")))]
async fn describe() -> Result<Response, Refusal> {
    good(&openapi())
}

#[utoipa::path(get, path = "/metrics", responses(
    (status = 200, description = "The status for Prometheus", content_type = "text/plain")))]
async fn prometheus(State(app): State<App>) -> Response {
    let status = app.service.watch().ok().map(|watch| watch.status());
    let page = metrics::page(status.as_deref(), app.service.hub().readers());
    ([(header::CONTENT_TYPE, metrics::TYPE)], page).into_response()
}

#[utoipa::path(get, path = "/healthz", responses((status = 200, description = "The server answers")))]
async fn health(State(app): State<App>) -> Result<Response, Refusal> {
    let service = app.service;
    let has_run = service.watch().is_ok();
    good(&json!({ "ok": true, "has_run": has_run, "running": service.is_running(), "serves": service.is_host() }))
}
