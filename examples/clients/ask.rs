//! Rust, with its standard library alone: one answer, then one as it comes. A program of some size takes a client such
//! as `reqwest`, and `serde_json`; what goes over the wire is this.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;

/// Sends one request; gives the lines of the answer's body as they come.
fn ask(body: &str) -> io::Result<impl Iterator<Item = String>> {
    let base = env::var("OPENAI_BASE_URL").expect("OPENAI_BASE_URL");
    let key = env::var("OPENAI_API_KEY").expect("OPENAI_API_KEY");
    let address = base.strip_prefix("http://").expect("an http:// address");
    let (host, path) = address.split_once('/').expect("a path, such as /v1");
    let mut socket = TcpStream::connect(host)?;
    write!(
        socket,
        "POST /{path}/chat/completions HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut lines = BufReader::new(socket).lines().map_while(Result::ok);
    let status = lines.next().unwrap_or_default();
    assert!(status.starts_with("HTTP/1.1 200"), "{status}");
    Ok(lines.skip_while(|line| !line.is_empty()).skip(1))
}

/// The text of the first `"content":"…"` of a line.
fn content(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("\"content\":\"")?;
    rest.split_once('"').map(|(text, _)| text)
}

fn main() -> io::Result<()> {
    let question = r#"{"role":"user","content":"What does a penstock do?"}"#;
    for line in ask(&format!(r#"{{"model":"fast","messages":[{question}]}}"#))? {
        if let Some(text) = content(&line) {
            println!("whole: {text}");
        }
    }

    let question = r#"{"role":"user","content":"Count: [[say one two three]]"}"#;
    print!("streamed: ");
    for line in ask(&format!(
        r#"{{"model":"fast","messages":[{question}],"stream":true}}"#
    ))? {
        if let Some(data) = line.strip_prefix("data: ") {
            print!("{}", content(data).unwrap_or(""));
            io::stdout().flush()?;
        }
    }
    println!();
    Ok(())
}
