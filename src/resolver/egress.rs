//! Where answers leave: the sockets of the listeners, and the streams.

use std::os::fd::AsFd as _;
use std::rc::Rc;

use tokio::net::UdpSocket;

use super::client::Back;
use super::mmsg::Outgoing;

struct Outlet {
    socket: Rc<UdpSocket>,
    out: Outgoing,
}

/// Where answers leave, by the number of the listener.
#[derive(Default)]
pub(super) struct Outlets(Vec<Option<Outlet>>);

impl Outlets {
    pub(super) fn open(&mut self, number: usize, socket: Rc<UdpSocket>) {
        if self.0.len() <= number {
            self.0.resize_with(number + 1, || None);
        }
        self.0[number] = Some(Outlet { socket, out: Outgoing::default() });
    }

    pub(super) fn close(&mut self, number: usize) {
        if let Some(outlet) = self.0.get_mut(number) {
            *outlet = None;
        }
    }

    /// Gives a client the answer that `write` appends. `false` if the client has gone.
    pub(super) fn write(&mut self, back: &Back, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        match back {
            Back::Datagram(number, path) => {
                let Some(Some(outlet)) = self.0.get_mut(*number) else { return false };
                outlet.out.push(Some(*path), |bytes| {
                    write(bytes);
                    true
                })
            }
            Back::Stream(stream) => {
                let mut bytes = Vec::new();
                write(&mut bytes);
                stream.try_send(bytes).is_ok()
            }
        }
    }

    /// Gives a client this answer. `false` if the client has gone.
    pub(super) fn give(&mut self, back: &Back, answer: &[u8]) -> bool {
        self.write(back, |bytes| bytes.extend_from_slice(answer))
    }

    /// Sends all datagrams that wait; how many the kernel did not take.
    pub(super) fn send(&mut self) -> usize {
        let mut lost = 0;
        for outlet in self.0.iter_mut().flatten().filter(|outlet| !outlet.out.is_empty()) {
            let (count, why) = outlet.out.send(outlet.socket.as_fd());
            lost += count;
            if let Some(error) = why {
                tracing::debug!(%error, "{count} answers were not sent");
            }
        }
        lost
    }
}
