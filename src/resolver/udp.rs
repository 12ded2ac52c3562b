//! The UDP loop of one listener.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::service::{Service, Start};
use crate::dns64::Transport;

/// Largest query that is read whole; a longer one is cut, and then refused as malformed.
const QUERY: usize = 4_096;
/// How long to leave a socket alone that gave an error.
const PAUSE: Duration = Duration::from_millis(10);

/// Answers until `stop` fires or is dropped, then lets what is in flight end.
pub(super) async fn serve(service: Arc<Service>, socket: UdpSocket, mut stop: oneshot::Receiver<()>) {
    let socket = Arc::new(socket);
    let mut exchanges = JoinSet::new();
    let mut buffer = vec![0; QUERY];
    loop {
        tokio::select! {
            _ = &mut stop => break,
            Some(_) = exchanges.join_next() => {}
            received = socket.recv_from(&mut buffer) => match received {
                Ok((len, client)) => match service.begin(client.ip(), Transport::Udp, &buffer[..len]) {
                    Start::Nothing => {}
                    Start::Answer(answer) => log(socket.try_send_to(&answer, client)),
                    Start::Running(running) => {
                        let (service, socket) = (Arc::clone(&service), Arc::clone(&socket));
                        exchanges.spawn(async move {
                            if let Some(answer) = service.finish(running).await {
                                log(socket.send_to(&answer, client).await);
                            }
                        });
                    }
                },
                Err(error) => {
                    tracing::debug!(%error, "receiving a query");
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
    while exchanges.join_next().await.is_some() {}
}

fn log(sent: io::Result<usize>) {
    if let Err(error) = sent {
        tracing::debug!(%error, "sending an answer");
    }
}
