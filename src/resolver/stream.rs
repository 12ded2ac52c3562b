//! TCP, by hickory-server: it frames, closes idle connections, and takes one query of a connection
//! after the other. How many connections there are it does not bound; what they ask is bounded like
//! the rest.

use std::sync::Arc;

use hickory_server::net::runtime::Time;
use hickory_server::proto::op::{Header, HeaderCounts, Message, Metadata, ResponseCode};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;

use super::service::{Service, Start};
use crate::dns64::Transport;

/// Hands hickory-server's requests to the service.
pub(super) struct Handler(pub(super) Arc<Service>);

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, reply: R) -> ResponseInfo {
        let answer = match self.0.begin(request.src().ip(), Transport::Tcp, request.as_slice()) {
            Start::Nothing => return nothing_sent(request),
            Start::Answer(answer) => answer,
            Start::Running(running) => match self.0.finish(running).await {
                Some(answer) => answer,
                None => return nothing_sent(request),
            },
        };
        send(request, reply, &answer).await
    }
}

/// hickory-server takes records, not bytes. An answer that was passed on untouched and that hickory
/// can't read becomes SERVFAIL here; over UDP the client has it as it is.
async fn send<R: ResponseHandler>(request: &Request, mut reply: R, answer: &[u8]) -> ResponseInfo {
    let mut builder = MessageResponseBuilder::from_message_request(request);
    let sent = match Message::from_vec(answer) {
        Ok(message) => {
            if let Some(edns) = &message.edns {
                builder.edns(edns);
            }
            let (answers, authorities) = (message.answers.iter(), message.authorities.iter());
            let additionals = message.additionals.iter();
            let response = builder.build(message.metadata, answers, authorities, [], additionals);
            reply.send_response(response).await
        }
        Err(error) => {
            tracing::debug!(%error, "an answer that can't be sent over TCP");
            let response = builder.error_msg(&request.metadata, ResponseCode::ServFail);
            reply.send_response(response).await
        }
    };
    sent.unwrap_or_else(|_| nothing_sent(request))
}

fn nothing_sent(request: &Request) -> ResponseInfo {
    let metadata = Metadata::response_from_request(&request.metadata);
    Header { metadata, counts: HeaderCounts::default() }.into()
}
