//! `nearfar health`: asks a running node whether it answers, for supervisors that
//! run a command, such as Docker's HEALTHCHECK.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail};

use super::output;
use crate::config;
use crate::http::{LIVE, PORT_DEFAULT, READY};

/// How long each step may take: to connect, to send, and each part of the answer.
const STEP_TIME_MAX: Duration = Duration::from_secs(3);
/// Answers are a line; what is longer does not come from us.
const ANSWER_BYTES_MAX: u64 = 16 * 1_024;

#[derive(clap::Args)]
pub struct Args {
    /// Where the node serves health and metrics: its http= in the ready line, or a URL
    #[arg(default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT_DEFAULT)), value_parser = config::http_url)]
    address: SocketAddr,
    /// Ask whether the process should go on, rather than whether it answers requests
    #[arg(long)]
    live: bool,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let path = if args.live { LIVE } else { READY };
    let answer =
        ask(args.address, path).with_context(|| format!("http://{}{path} does not answer", args.address))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split(' ').nth(1) {
        Some("200") => Ok(output::line(body.trim())?),
        Some("503") => bail!("{}", body.trim()),
        _ => {
            bail!("http://{}{path} is no node's: found {:?}", args.address, head.lines().next().unwrap_or(""))
        }
    }
}

fn ask(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, STEP_TIME_MAX)?;
    stream.set_read_timeout(Some(STEP_TIME_MAX))?;
    stream.set_write_timeout(Some(STEP_TIME_MAX))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
