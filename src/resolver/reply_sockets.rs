//! Sends answers: through the sockets of the UDP listeners, and into streams.

use std::os::fd::AsFd as _;
use std::rc::Rc;

use tokio::net::UdpSocket;

use super::client::ReplyPath;
use super::mmsg::Outgoing;

struct ReplySocket {
    socket: Rc<UdpSocket>,
    out: Outgoing,
}

/// The UDP listeners' sockets and their queued answers, by listener number.
#[derive(Default)]
pub(super) struct ReplySockets(Vec<Option<ReplySocket>>);

impl ReplySockets {
    pub(super) fn open(&mut self, number: usize, socket: Rc<UdpSocket>) {
        if self.0.len() <= number {
            self.0.resize_with(number + 1, || None);
        }
        self.0[number] = Some(ReplySocket { socket, out: Outgoing::default() });
    }

    pub(super) fn close(&mut self, number: usize) {
        if let Some(reply_socket) = self.0.get_mut(number) {
            *reply_socket = None;
        }
    }

    /// Queues the answer that `write` appends. `false` if the client has disconnected.
    pub(super) fn queue_with(&mut self, reply_path: &ReplyPath, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        match reply_path {
            ReplyPath::Datagram(number, path) => {
                let Some(Some(reply_socket)) = self.0.get_mut(*number) else { return false };
                reply_socket.out.push(Some(*path), |bytes| {
                    write(bytes);
                    true
                })
            }
            ReplyPath::Stream { answers, .. } => {
                let mut bytes = Vec::new();
                write(&mut bytes);
                answers.try_send(bytes).is_ok()
            }
        }
    }

    /// Queues an answer. `false` if the client has disconnected.
    pub(super) fn queue(&mut self, reply_path: &ReplyPath, answer: &[u8]) -> bool {
        self.queue_with(reply_path, |bytes| bytes.extend_from_slice(answer))
    }

    /// Sends all queued datagrams. Returns how many the kernel did not accept.
    pub(super) fn flush(&mut self) -> usize {
        let mut lost = 0;
        for reply_socket in self.0.iter_mut().flatten().filter(|reply_socket| !reply_socket.out.is_empty()) {
            let (count, why) = reply_socket.out.send(reply_socket.socket.as_fd());
            lost += count;
            if let Some(error) = why {
                tracing::debug!(%error, "{count} DNS answers were not sent");
            }
        }
        lost
    }
}
