//! The Internet's web server, and an echo server for UDP beside it. A program of its own
//! (`gate64 lab web`), since it runs in another namespace.

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

/// Bytes of one piece of a made-up file.
const PIECE: usize = 64 << 10;

/// Serves until it is ended: `/` says who asks, `/bytes/N` has N bytes of noise, and what is PUT to
/// `/up/NAME` becomes the file NAME in `dir`.
///
/// # Errors
/// If an address can't be listened on.
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

/// Sends every datagram back; to [`WHO`] the answer is where it came from.
async fn echo_forever(socket: UdpSocket) -> std::io::Result<()> {
    let mut buffer = vec![0; 65_535];
    loop {
        let Ok((count, from)) = socket.recv_from(&mut buffer).await else { continue };
        // An answer that finds no way is the asker's to miss.
        let _ = match &buffer[..count] {
            WHO => socket.send_to(from.to_string().as_bytes(), from).await,
            data => socket.send_to(data, from).await,
        };
    }
}

async fn page(ConnectInfo(peer): ConnectInfo<SocketAddr>) -> String {
    format!("Hello! To this server you are {} port {}.\n", peer.ip(), peer.port())
}

/// Bytes that look like chance but come out the same each time.
async fn noise(UrlPath(count): UrlPath<usize>) -> Body {
    let pieces = futures_util::stream::unfold((count, 1u64), |(left, mut state)| async move {
        if left == 0 {
            return None;
        }
        let mut piece = vec![0; left.min(PIECE)];
        for word in piece.chunks_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
        }
        let left = left - piece.len();
        Some((Ok::<_, Infallible>(Bytes::from(piece)), (left, state)))
    });
    Body::from_stream(pieces)
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
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|e| failed(std::io::Error::other(e)))?;
        file.write_all(&piece).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)?;
    Ok(StatusCode::CREATED)
}

/// Starts the server in `namespace`; returns when it answers.
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
