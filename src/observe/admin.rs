//! The admin socket: HTTP on a Unix socket, accessible by owner and group.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::UnixListener;

use super::status::Status;
use super::view::View;

/// Maximum number of names per zone in the status, those with the most queries.
const NAMES: usize = 100;

/// Serves `/status` on the socket `path` until the runtime ends. Replaces an existing socket: it is of a killed
/// gateway, since the journal allows only one to run.
///
/// # Errors
/// The socket cannot be created.
pub async fn serve(path: &Path, view: Arc<View>) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    if fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o660))?;
    let router = Router::new().route("/status", get(answer)).with_state(view);
    tokio::spawn(async move {
        if let Err(why) = axum::serve(listener, router).await {
            tracing::error!("admin socket: {why}");
        }
    });
    Ok(())
}

async fn answer(State(view): State<Arc<View>>) -> Response {
    let known = view.resolver_report(NAMES).await;
    match serde_json::to_vec(&Status::of(&view, known.as_ref())) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
