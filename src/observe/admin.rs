//! The admin socket: HTTP on a Unix socket, accessible by owner and group.

use std::fs::{self, Permissions};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::{self, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};

use super::health::Health;
use super::status::Status;
use super::view::View;
use crate::config::INNER;

/// Maximum number of names per zone in the status, those with the most queries.
const NAMES: usize = 100;

/// HTTP status of a reload that failed because the file is invalid.
pub const INVALID: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;

/// A request to reload the configuration. Its result goes to the sender.
pub type ReloadRequest = oneshot::Sender<Result<String, ReloadFailure>>;

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
    reloads: mpsc::Sender<ReloadRequest>,
}

/// Serves `GET /status`, `GET /health`, `GET /failures/NAME`, `GET /bindings/ADDRESS/PORT` and `POST /reload` on the
/// socket `path` until the runtime ends. Reload requests go to
/// `reloads`. Replaces an existing socket: it is of a killed
/// gateway, since the journal allows only one to run.
///
/// # Errors
/// The socket cannot be created.
pub async fn serve(path: &Path, view: Arc<View>, reloads: mpsc::Sender<ReloadRequest>) -> io::Result<()> {
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
        .route("/failures/{name}", get(failures))
        .route("/bindings/{address}/{port}", get(bindings))
        .route("/reload", post(reload))
        .with_state(Shared { view, reloads });
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

async fn reload(State(Shared { reloads, .. }): State<Shared>) -> Response {
    let (sender, result) = oneshot::channel();
    let stopping = || (StatusCode::SERVICE_UNAVAILABLE, "the gateway is stopping").into_response();
    if reloads.send(sender).await.is_err() {
        return stopping();
    }
    match result.await {
        Ok(Ok(done)) => done.into_response(),
        Ok(Err(ReloadFailure { invalid: true, message })) => (INVALID, message).into_response(),
        Ok(Err(ReloadFailure { message, .. })) => {
            (StatusCode::INTERNAL_SERVER_ERROR, message).into_response()
        }
        Err(_) => stopping(),
    }
}
