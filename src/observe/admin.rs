//! The admin socket: HTTP on a Unix socket, accessible by owner and group.

use std::fs::{self, Permissions};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{self, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};

use super::dry_run::DryRun;
use super::health::Health;
use super::pool::PoolStatus;
use super::status::Status;
use super::trace;
use super::view::View;
use crate::config::INNER;

/// Maximum number of names per zone in the status, those with the most queries.
const NAMES: usize = 100;

/// HTTP status of a reload that failed because the file is invalid.
pub const INVALID: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;

/// A request to the gateway's main loop. Its result goes to the sender.
#[derive(Debug)]
pub enum Request {
    /// Reload the configuration.
    Reload(oneshot::Sender<Result<String, ReloadFailure>>),
    /// Validate the configuration and find out what a reload would change.
    DryRun(oneshot::Sender<Result<DryRun, ReloadFailure>>),
}

/// Why a reload failed. The old settings stay in effect, unless the message says otherwise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReloadFailure {
    /// Whether the file is invalid, rather than the host not ready for it.
    pub invalid: bool,
    /// The error, as text, and what is in effect if a part could not switch.
    pub message: String,
}

#[derive(Clone)]
struct Shared {
    view: Arc<View>,
    requests: mpsc::Sender<Request>,
}

/// Serves `GET /status`, `/health`, `/pool`, `/trace`, `/failures/NAME` and `/bindings/ADDRESS/PORT`, `POST /reload` and
/// `/reload/dry-run` on the socket `path` until the runtime ends. The `POST` requests go to `requests`. Replaces an existing socket: it is of a
/// killed gateway, since the journal allows only one to run.
///
/// # Errors
/// The socket cannot be created.
pub async fn serve(path: &Path, view: Arc<View>, requests: mpsc::Sender<Request>) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    if fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o660))?;
    let router = Router::new()
        .route("/status", get(status))
        .route("/health", get(health))
        .route("/pool", get(pool))
        .route("/trace", get(follow))
        .route("/failures/{name}", get(failures))
        .route("/bindings/{address}/{port}", get(bindings))
        .route("/reload", post(reload))
        .route("/reload/dry-run", post(dry_run))
        .with_state(Shared { view, requests });
    tokio::spawn(async move {
        if let Err(why) = axum::serve(listener, router).await {
            tracing::error!("admin socket: {why}");
        }
    });
    Ok(())
}

async fn status(State(Shared { view, .. }): State<Shared>) -> Response {
    let known = view.resolver_report(NAMES).await;
    json(&Status::of(&view, known.as_ref()))
}

async fn health(State(Shared { view, .. }): State<Shared>) -> Response {
    json(&Health::of(&view))
}

async fn pool(State(Shared { view, .. }): State<Shared>) -> Response {
    match view.inspector().pool().await {
        Ok(usage) => json(&PoolStatus::of(&view, &usage)),
        // A reload has changed pool4 meanwhile, or the gateway is stopping.
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// The packets that match the query, as JSON lines, until the client closes its connection.
async fn follow(State(Shared { view, .. }): State<Shared>, RawQuery(query): RawQuery) -> Response {
    match trace::filter(&view, query.as_deref().unwrap_or_default()) {
        Ok(filter) => Body::from_stream(trace::lines(view.inspector().trace(&filter))).into_response(),
        Err(why) => (StatusCode::BAD_REQUEST, why).into_response(),
    }
}

fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The present assignments that contain a port of an outside address, and the name of this gateway.
async fn bindings(
    State(Shared { view, .. }): State<Shared>,
    extract::Path((address, port)): extract::Path<(Ipv4Addr, u16)>,
) -> Response {
    let Some(log) = view.binding_log() else { return StatusCode::NOT_FOUND.into_response() };
    // With masquerading, the gateway translates to this address.
    let found = [log.find(address, port), log.find(INNER, port)].concat();
    json(&(found, log.node()))
}

/// The failures of a name that DNS64 remembers, one per line.
async fn failures(
    State(Shared { view, .. }): State<Shared>,
    extract::Path(name): extract::Path<String>,
) -> String {
    view.resolver_failures(&name).await.join("\n")
}

async fn reload(State(shared): State<Shared>) -> Response {
    shared.request(Request::Reload).await.map_or_else(|refused| refused, IntoResponse::into_response)
}

async fn dry_run(State(shared): State<Shared>) -> Response {
    shared.request(Request::DryRun).await.map_or_else(|refused| refused, |done| json(&done))
}

impl Shared {
    /// Sends a request to the main loop and waits for its result.
    async fn request<T>(
        &self,
        request: fn(oneshot::Sender<Result<T, ReloadFailure>>) -> Request,
    ) -> Result<T, Response> {
        let (sender, result) = oneshot::channel();
        let stopping = || (StatusCode::SERVICE_UNAVAILABLE, "the gateway is stopping").into_response();
        self.requests.send(request(sender)).await.map_err(|_| stopping())?;
        match result.await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(ReloadFailure { invalid: true, message })) => Err((INVALID, message).into_response()),
            Ok(Err(ReloadFailure { message, .. })) => {
                Err((StatusCode::INTERNAL_SERVER_ERROR, message).into_response())
            }
            Err(_) => Err(stopping()),
        }
    }
}
