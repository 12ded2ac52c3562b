//! `gate64 lab web`: the Internet's web server, with a UDP echo server. A separate process, since it runs
//! in another namespace.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Path as UrlPath, State};
use axum::http::StatusCode;
use axum::routing::{get, put};
use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, UdpSocket};

use super::probe::{ECHO_PORT, WHO};
use super::{Daemon, Deadline, LabError, Namespace};

/// Chunk size of generated files, in bytes.
const CHUNK: usize = 64 << 10;

/// Serves until the process is killed. `/` shows the client's address, `/bytes/N` returns N pseudo-random
/// bytes, and a PUT to `/up/NAME` writes the file NAME in `dir`.
///
/// # Errors
/// If a listen address cannot be bound.
pub(super) fn serve(listen: &[SocketAddr], dir: PathBuf) -> Result<(), LabError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(LabError::io("starting the web server"))?;
    runtime.block_on(async {
        let routes = Router::new()
            .route("/", get(page))
            .route("/bytes/{count}", get(noise))
            .route("/up/{name}", put(upload))
            .with_state(dir);
        let mut servers = tokio::task::JoinSet::new();
        for addr in listen {
            let listener = TcpListener::bind(addr).await.map_err(LabError::io(addr.to_string()))?;
            let service = routes.clone().into_make_service_with_connect_info::<SocketAddr>();
            servers.spawn(async move { axum::serve(listener, service).await });
            let echo = SocketAddr::new(addr.ip(), ECHO_PORT);
            let socket = UdpSocket::bind(echo).await.map_err(LabError::io(echo.to_string()))?;
            servers.spawn(echo_forever(socket));
        }
        while let Some(ended) = servers.join_next().await {
            if let Ok(Err(source)) = ended {
                return Err(LabError::Io { what: "web server".to_owned(), source });
            }
        }
        Ok(())
    })
}

/// Echoes datagrams. The reply to [`WHO`] is the sender's address.
async fn echo_forever(socket: UdpSocket) -> std::io::Result<()> {
    let mut buffer = vec![0; 65_535];
    loop {
        let Ok((count, from)) = socket.recv_from(&mut buffer).await else { continue };
        // Send errors are ignored: the sender retries.
        let _ = match &buffer[..count] {
            WHO => socket.send_to(from.to_string().as_bytes(), from).await,
            data => socket.send_to(data, from).await,
        };
    }
}

async fn page(ConnectInfo(peer): ConnectInfo<SocketAddr>) -> String {
    format!("Hello! To this server you are {} port {}.\n", peer.ip(), peer.port())
}

/// Pseudo-random bytes, the same for each request.
async fn noise(UrlPath(count): UrlPath<usize>) -> Body {
    let chunks = futures_util::stream::unfold((count, 1u64), |(left, mut state)| async move {
        if left == 0 {
            return None;
        }
        let mut chunk = vec![0; left.min(CHUNK)];
        for word in chunk.chunks_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
        }
        let left = left - chunk.len();
        Some((Ok::<_, Infallible>(Bytes::from(chunk)), (left, state)))
    });
    Body::from_stream(chunks)
}

async fn upload(
    State(dir): State<PathBuf>,
    UrlPath(name): UrlPath<String>,
    body: Body,
) -> Result<StatusCode, (StatusCode, String)> {
    let failed = |e: std::io::Error| (StatusCode::INTERNAL_SERVER_ERROR, e.to_string());
    if name.contains(['/', '.']) {
        return Ok(StatusCode::BAD_REQUEST);
    }
    let mut file = tokio::fs::File::create(dir.join(name)).await.map_err(failed)?;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|e| failed(std::io::Error::other(e)))?;
        file.write_all(&chunk).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)?;
    Ok(StatusCode::CREATED)
}

/// Starts the server in `namespace`. Returns when it answers.
pub(super) fn start(
    program: &Path,
    namespace: &Namespace,
    dir: &Path,
    listen: &[&str],
) -> Result<Daemon, LabError> {
    let line = format!("{} lab web {} {}", program.display(), dir.display(), listen.join(" "));
    let mut web = namespace.daemon(&line, &dir.join(format!("web-{}.log", namespace.name())))?;
    let probe = namespace.run(&format!("curl -s -m 2 http://{}/", listen[0])).limit(3);
    web.ready(Deadline::after(10), "the web server answers", |_| {
        probe.outcome().is_ok_and(|out| out.stdout.starts_with("Hello!"))
    })?;
    Ok(web)
}
