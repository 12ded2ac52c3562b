//! Prometheus metrics, read from the counters at each scrape.

mod classic;
mod families;
mod process;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use super::health::Health;
use super::http::{self, Limits};
use super::view::View;
use crate::resolver::Report;

/// Bounds of the listener. A scrape takes milliseconds; Prometheus gives up after 10 s.
const LIMITS: Limits = Limits { connections: 64, total: Duration::from_secs(10), header: 8192 };

/// Time between attempts to listen on an address in use.
const RETRY: Duration = Duration::from_secs(10);

/// Serves `/metrics` on `listen` until the runtime ends. An address in use or not available is a warning, since packets
/// and names matter more than metrics; it is tried again every ten seconds.
pub async fn serve(listen: SocketAddr, view: Arc<View>) {
    let listener = TcpListener::bind(listen).await;
    if let Err(why) = &listener {
        tracing::warn!("no metrics yet, the address {listen} cannot be used: {why}");
    }
    tokio::spawn(async move {
        let listener = match listener {
            Ok(listener) => listener,
            Err(_) => retry(listen).await,
        };
        http::serve(listener, router(view), LIMITS).await;
    });
}

async fn retry(listen: SocketAddr) -> TcpListener {
    loop {
        tokio::time::sleep(RETRY).await;
        if let Ok(listener) = TcpListener::bind(listen).await {
            tracing::info!("metrics on {listen}");
            return listener;
        }
    }
}

pub(super) fn router(view: Arc<View>) -> Router {
    let healthz = get(|State(view): State<Arc<View>>| async move {
        answer_health(&view, view.condition().stuck.is_none())
    });
    let readyz =
        get(
            |State(view): State<Arc<View>>| async move { answer_health(&view, Health::of(&view).is_ready()) },
        );
    Router::new()
        .route("/metrics", get(answer))
        .route("/healthz", healthz)
        .route("/readyz", readyz)
        .with_state(view)
}

/// The checks as text, with the code 200 or 503.
fn answer_health(view: &View, good: bool) -> Response {
    let code = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Health::of(view).to_string()).into_response()
}

/// A text format of metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format of Prometheus, version 0.0.4: for clients that do not ask for OpenMetrics.
    Classic,
}

impl Format {
    /// The format that a client asks for: OpenMetrics if the `Accept` header names it.
    fn accepted(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut types = values.flat_map(|value| value.split(','));
        let is_refused = |parameters: &str| {
            parameters.split(';').filter_map(|p| p.trim().strip_prefix("q=")).any(|q| q.parse() == Ok(0.0))
        };
        let named = types.any(|entry| {
            let (kind, parameters) = entry.split_once(';').unwrap_or((entry, ""));
            kind.trim().eq_ignore_ascii_case("application/openmetrics-text") && !is_refused(parameters)
        });
        if named { Self::OpenMetrics } else { Self::Classic }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

async fn answer(State(view): State<Arc<View>>, headers: HeaderMap) -> Response {
    let report = view.resolver_report(0).await;
    let format = Format::accepted(&headers);
    match render(&view, report, format) {
        Ok(text) => {
            ([(header::CONTENT_TYPE, format.content_type()), (header::VARY, "Accept")], text).into_response()
        }
        Err(fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// All metrics as text. `report` is that of the resolver, if there is one.
///
/// # Errors
/// Never in practice: writing to a string cannot fail.
pub fn render(view: &Arc<View>, report: Option<Report>, format: Format) -> Result<String, fmt::Error> {
    let mut gateway = Registry::with_prefix("gate64");
    gateway.register_collector(Box::new(families::Scrape(Arc::clone(view), report)));
    // By convention the metrics of a process have no prefix of the program.
    let mut process = Registry::default();
    process.register_collector(Box::new(process::Process::read()));
    let mut out = String::new();
    text::encode_registry(&mut out, &gateway)?;
    text::encode_registry(&mut out, &process)?;
    text::encode_eof(&mut out)?;
    Ok(match format {
        Format::OpenMetrics => out,
        Format::Classic => classic::from_open_metrics(&out),
    })
}
