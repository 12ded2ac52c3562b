//! HTTP for anyone who reaches a TCP port: connections, their time and their headers are bounded, since DNS64 needs
//! the descriptors and the memory.

use std::collections::VecDeque;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};

/// Bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Maximum number of connections. A further one closes the oldest.
    pub(super) connections: usize,
    /// Maximum lifetime of a connection, which serves one request.
    pub(super) total: Duration,
    /// Maximum size of the request line with the headers in bytes, at least 8,192.
    pub(super) header: usize,
}

/// The pause after a failed accept, for example because no descriptor is left.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` until the runtime ends.
pub(super) async fn serve(listener: TcpListener, router: Router, limits: Limits) {
    let mut open = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(why) => {
                tracing::debug!("metrics: {why}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        open.retain(|connection: &tokio::task::JoinHandle<()>| !connection.is_finished());
        if open.len() >= limits.connections
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
            // Its descriptor is closed once the task has ended.
            let _ = oldest.await;
        }
        open.push_back(tokio::spawn(respond(stream, router.clone(), limits)));
    }
}

/// Serves one request.
async fn respond(stream: TcpStream, router: Router, limits: Limits) {
    let mut http = http1::Builder::new();
    http.keep_alive(false).max_buf_size(limits.header).header_read_timeout(None);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // A client that leaves or is too slow is not an error of the gateway.
    let _ = tokio::time::timeout(limits.total, connection).await;
}
