//! The steps of the demonstration, in order.

use std::net::Ipv6Addr;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{Icmpv6Packet, Icmpv6Repr, IpAddress};

use super::names::{self, Names};
use super::world::{CLIENT, DNS, SERVER, World, pref64};
use crate::lab::LabError;
use crate::output::outln;

/// A name with only an A record.
const NAME: &str = "www.v4only.example";
/// The page that the server returns.
const PAGE: &str = "Hello! This server has never heard of IPv6.\n";

fn heading(number: u32, text: &str) {
    outln!("\n{number}. {text}");
}

fn failed(what: impl std::fmt::Display) -> LabError {
    LabError::DemoFailed(what.to_string())
}

/// Runs and prints all steps. The file of the last step has `bytes` bytes.
pub(super) fn run_steps(world: &mut World, bytes: usize) -> Result<(), LabError> {
    outln!("A host that has only IPv6 fetches a page from a server that has only IPv4.");
    outln!("Hosts and links are simulated in memory; DNS64 and NAT64 are those of the daemon.\n");
    outln!("  the host      {CLIENT}, no IPv4");
    outln!("  its DNS64     {DNS}, on the gateway");
    outln!("  the server    {NAME}, {SERVER}, no IPv6");
    outln!("  the gateway   pref64 {}, pool4 192.0.2.64/28", pref64());
    let there = resolve(world)?;
    ping(world, there)?;
    page(world, there)?;
    download(world, there, bytes)?;
    outln!("\nPackets translated, on one core:\n\n{}", world.tally);
    Ok(())
}

fn resolve(world: &mut World) -> Result<Ipv6Addr, LabError> {
    heading(1, &format!("The host asks for the IPv6 address of {NAME}."));
    let names = Names::new(NAME);
    let (ask, answer) = (world.client.udp(49_153)?, world.gateway.udp(53)?);
    let to = (IpAddress::Ipv6(DNS), 53);
    world.client.udp_mut(ask).send_slice(&names.query()?, to).map_err(failed)?;
    let mut found = None;
    world.until("the answer to a DNS query", |world| {
        let now = world.now();
        if let Ok((query, from)) = world.gateway.udp_mut(answer).recv() {
            let (answered, from) = (names.answer(now, query)?, from.endpoint);
            for line in &answered.upstream {
                outln!("        the DNS64 asks its name server: {line}");
            }
            outln!("        it answers: {} ({})", answered.outcome, answered.outcome.meaning().trim());
            world.gateway.udp_mut(answer).send_slice(&answered.message, from).map_err(failed)?;
        }
        if let Ok((response, _)) = world.client.udp_mut(ask).recv() {
            found = Some(names::address(response)?);
        }
        Ok(found.is_some())
    })?;
    let (found, ttl) = found.ok_or_else(|| failed("no answer"))?;
    outln!("   The host receives the answer: {NAME} AAAA {found}, TTL {ttl} s.");
    outln!("   Its last 32 bits are {SERVER}.");
    Ok(found)
}

fn ping(world: &mut World, there: Ipv6Addr) -> Result<(), LabError> {
    heading(2, "The host pings that address. Each packet is shown before and (=>) after translation.");
    let socket = world.client.icmp(0x6446)?;
    let echo = Icmpv6Repr::EchoRequest { ident: 0x6446, seq_no: 1, data: b"gate64" };
    let buffer =
        world.client.icmp_mut(socket).send(echo.buffer_len(), IpAddress::Ipv6(there)).map_err(failed)?;
    echo.emit(&CLIENT, &there, &mut Icmpv6Packet::new_unchecked(buffer), &ChecksumCapabilities::default());
    world.until("the echo's reply", |world| Ok(world.client.icmp_mut(socket).recv().is_ok()))
}

fn page(world: &mut World, there: Ipv6Addr) -> Result<(), LabError> {
    heading(3, "The host opens a TCP connection to the address, requests the page, receives it, and closes.");
    let (client, server) = (world.client.tcp(), world.server.tcp());
    world.server.tcp_mut(server).listen(80).map_err(failed)?;
    world.client.connect(client, (IpAddress::Ipv6(there), 80), 49_152)?;
    let (mut asked, mut answered, mut page) = (false, false, Vec::new());
    world.until("the page", |world| {
        let socket = world.client.tcp_mut(client);
        if !asked && socket.can_send() {
            let request = format!("GET / HTTP/1.0\r\nHost: {NAME}\r\n\r\n");
            asked = socket.send_slice(request.as_bytes()).map_err(failed)? > 0;
        }
        if socket.can_recv() {
            socket.recv(|data| (data.len(), page.extend_from_slice(data))).map_err(failed)?;
        }
        if answered && !socket.may_recv() {
            socket.close();
        }
        let socket = world.server.tcp_mut(server);
        if socket.can_recv() && !answered {
            socket.recv(|data| (data.len(), ())).map_err(failed)?;
            let response = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{PAGE}", PAGE.len());
            answered = socket.send_slice(response.as_bytes()).map_err(failed)? > 0;
            socket.close();
        }
        Ok(answered && !world.server.tcp_mut(server).is_open())
    })?;
    let text = String::from_utf8_lossy(&page);
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    if body != PAGE {
        return Err(failed(format!("the page came out as {text:?}")));
    }
    outln!("   The page: {}", body.trim_end());
    Ok(())
}

fn download(world: &mut World, there: Ipv6Addr, bytes: usize) -> Result<(), LabError> {
    heading(4, &format!("The same with a file of {} MiB; packets are not shown.", bytes >> 20));
    world.verbose = false;
    let (client, server) = (world.client.tcp(), world.server.tcp());
    world.server.tcp_mut(server).listen(80).map_err(failed)?;
    world.client.connect(client, (IpAddress::Ipv6(there), 80), 49_154)?;
    let (mut sent, mut received) = (0, 0);
    world.until("the file", |world| {
        let socket = world.server.tcp_mut(server);
        if socket.can_send() && sent < bytes {
            let count = |room: &mut [u8]| {
                let take = room.len().min(bytes - sent);
                for (at, byte) in room[..take].iter_mut().enumerate() {
                    *byte = noise(sent + at);
                }
                (take, take)
            };
            sent += socket.send(count).map_err(failed)?;
        }
        let socket = world.client.tcp_mut(client);
        if socket.can_recv() {
            let (good, count) = socket
                .recv(|data| {
                    let good = data.iter().enumerate().all(|(at, byte)| *byte == noise(received + at));
                    (data.len(), (good, data.len()))
                })
                .map_err(failed)?;
            if !good {
                return Err(failed(format!("the file differs after byte {received}")));
            }
            received += count;
        }
        Ok(received == bytes)
    })?;
    world.verbose = true;
    outln!("   All bytes arrived unchanged.");
    Ok(())
}

/// The byte of the file at offset `at`; adjacent segments differ.
fn noise(at: usize) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demonstration_succeeds() {
        let mut world = World::new(None).unwrap();
        run_steps(&mut world, 256 << 10).unwrap();
    }
}
