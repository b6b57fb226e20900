//! The server of `ratchet ui`, as a browser and as somebody who is none talks to it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
};

use crate::{running::Running, world::World};

/// A server that runs as long as the test.
#[derive(Debug)]
pub struct Page {
    /// The command.
    pub running: Running,
    /// What it printed.
    pub address: String,
    /// Where it listens.
    pub socket: SocketAddr,
    cookie: String,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The head, in lower case.
    pub head: String,
    /// What follows it.
    pub body: String,
}

impl Page {
    /// Starts it and lets itself in.
    pub fn open(world: &World) -> Self {
        let mut running = world.start(["ui", "--no-open"]);
        let address = running.prints("http://").trim().to_owned();
        let (origin, query) = address.split_once("/?").expect("an address with a token");
        let socket = origin.trim_start_matches("http://").parse().expect("an address of 127.0.0.1");
        let mut page = Self { running, address: address.clone(), socket, cookie: String::new() };
        let admitted = page.send(&format!("GET /?{query} HTTP/1.1"), &[("Host", &page.host())], "");
        let cookie = admitted.head.lines().find_map(|line| line.strip_prefix("set-cookie: "));
        let cookie = cookie.unwrap_or_else(|| panic!("no cookie: {admitted:?}"));
        cookie.split(';').next().unwrap_or_default().clone_into(&mut page.cookie);
        page
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.socket.to_string()
    }

    /// What the browser keeps.
    pub fn cookie(&self) -> &str {
        &self.cookie
    }

    /// Sends a request with exactly these headers.
    pub fn send(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut stream = self.stream(line, headers, body);
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Reply { status, head: head.to_lowercase().replace("\r\n", "\n"), body: body.to_owned() }
    }

    fn stream(&self, line: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.socket).expect("the server");
        let mut request = format!("{line}\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            request.extend([name, ": ", value, "\r\n"]);
        }
        request.extend(["\r\n", body]);
        stream.write_all(request.as_bytes()).expect("a request");
        stream
    }

    /// Asks for something as the page does.
    pub fn get(&self, path: &str) -> Reply {
        self.send(&format!("GET {path} HTTP/1.1"), &[("Host", &self.host()), ("Cookie", &self.cookie)], "")
    }

    /// Does something as the page does.
    pub fn post(&self, path: &str, body: &str) -> Reply {
        let origin = format!("http://{}", self.host());
        let headers = [
            ("Host", &*self.host()),
            ("Cookie", &*self.cookie),
            ("Origin", &*origin),
            ("Content-Type", "application/json"),
        ];
        self.send(&format!("POST {path} HTTP/1.1"), &headers, body)
    }

    /// The lines of a stream of events, one after the other.
    pub fn events(&self, path: &str) -> impl Iterator<Item = String> + use<> {
        let headers = [("Host", &*self.host()), ("Cookie", &*self.cookie)];
        let stream = self.stream(&format!("GET {path} HTTP/1.1"), &headers, "");
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        lines.filter_map(|line| line.strip_prefix("data: ").map(str::to_owned))
    }
}
