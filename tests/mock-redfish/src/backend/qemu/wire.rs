//! A network cable without DHCP: two sockets of QEMU's `stream` network, frames carried between them, and
//! DHCP frames dropped. QEMU's user network always answers DHCP, so the cable is where to stop it.
//!
//! ```text
//!   guest card ── stream ──▶ near │ Wire: drop UDP port 67/68 │ far ◀── stream ── hub ── user network
//! ```

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use tracing::debug;

/// Deadline for QEMU to connect both ends.
const CONNECT_DEADLINE: Duration = Duration::from_secs(60);
/// Largest frame, in bytes; QEMU's own limit is 69 KiB.
const FRAME_LIMIT: usize = 128 << 10;
/// UDP ports of DHCP.
const DHCP_PORTS: [u16; 2] = [67, 68];

/// A cable for one run of a machine.
#[derive(Debug)]
pub(crate) struct Wire {
    /// Where the guest's card connects, and where the network connects.
    pub ends: (SocketAddr, SocketAddr),
    task: JoinHandle<()>,
}

impl Wire {
    /// Listens for both ends.
    pub async fn lay() -> io::Result<Self> {
        let near = TcpListener::bind("127.0.0.1:0").await?;
        let far = TcpListener::bind("127.0.0.1:0").await?;
        let ends = (near.local_addr()?, far.local_addr()?);
        let task = tokio::spawn(async move {
            if let Err(error) = carry(near, far).await {
                debug!(%error, "network cable");
            }
        });
        Ok(Self { ends, task })
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(near: TcpListener, far: TcpListener) -> io::Result<()> {
    let both = async { tokio::try_join!(near.accept(), far.accept()) };
    let ((near, _), (far, _)) = tokio::time::timeout(CONNECT_DEADLINE, both).await??;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    tokio::select! {
        end = pump(near_in, far_out) => end,
        end = pump(far_in, near_out) => end,
    }
}

/// Carries frames one way: 4 bytes of length, then the frame.
async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
) -> io::Result<()> {
    let mut frame = Vec::new();
    loop {
        let length = from.read_u32().await? as usize;
        if length > FRAME_LIMIT {
            return Err(io::Error::other(format!("frame of {length} bytes")));
        }
        frame.resize(4 + length, 0);
        frame[..4].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        from.read_exact(&mut frame[4..]).await?;
        if !is_dhcp(&frame[4..]) {
            to.write_all(&frame).await?;
        }
    }
}

/// Whether an Ethernet frame carries DHCP over IPv4.
fn is_dhcp(frame: &[u8]) -> bool {
    if frame.get(12..14) != Some(&[0x08, 0x00]) || frame.get(23) != Some(&17) {
        return false;
    }
    let Some(first) = frame.get(14) else { return false };
    let udp = 14 + usize::from(first & 0x0f) * 4;
    let port = |at: usize| Some(u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?));
    [port(udp), port(udp + 2)].into_iter().flatten().any(|port| DHCP_PORTS.contains(&port))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    /// An IPv4 frame of that protocol and those ports.
    fn frame(protocol: u8, from: u16, to: u16) -> Vec<u8> {
        let mut frame = vec![0; 60];
        frame[12] = 0x08;
        frame[14] = 0x45;
        frame[23] = protocol;
        frame[34..36].copy_from_slice(&from.to_be_bytes());
        frame[36..38].copy_from_slice(&to.to_be_bytes());
        frame
    }

    #[test]
    fn dhcp_is_known_in_both_directions_and_nothing_else_is() {
        assert!(is_dhcp(&frame(17, 68, 67)));
        assert!(is_dhcp(&frame(17, 67, 68)));
        assert!(!is_dhcp(&frame(6, 68, 67)), "TCP");
        assert!(!is_dhcp(&frame(17, 53, 40_000)));
        assert!(!is_dhcp(&[0; 10]));
        assert!(!is_dhcp(&frame(17, 68, 67)[..35]));
    }

    #[tokio::test]
    async fn frames_pass_and_dhcp_does_not() {
        let wire = Wire::lay().await.unwrap();
        let mut near = TcpStream::connect(wire.ends.0).await.unwrap();
        let mut far = TcpStream::connect(wire.ends.1).await.unwrap();
        for sent in [frame(17, 68, 67), frame(17, 1, 2)] {
            near.write_u32(60).await.unwrap();
            near.write_all(&sent).await.unwrap();
        }
        assert_eq!(far.read_u32().await.unwrap(), 60);
        let mut came = vec![0; 60];
        far.read_exact(&mut came).await.unwrap();
        assert_eq!(came, frame(17, 1, 2));
    }
}
