//! A server that answers what S3 answers, for what moto has not: it evaluates no permission, and forgets headers of uploads in parts.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// It takes every object but those that are refused, and keeps what it was asked for. Each connection is one request.
pub(super) struct Bucket {
    pub(super) url: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Bucket {
    /// Refuses requests whose first line, in lower case, has this in it.
    pub(super) async fn that_refuses(what: &str) -> Self {
        Self::that_answers(what, "403 Forbidden", "AccessDenied").await
    }

    /// Has no good answer to those.
    pub(super) async fn that_fails_at(what: &str) -> Self {
        Self::that_answers(what, "500 Internal Server Error", "InternalError").await
    }

    async fn that_answers(what: &str, status: &'static str, code: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (what, heads) = (what.to_owned(), Arc::new(Mutex::new(Vec::new())));
        let kept = Arc::clone(&heads);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(answer(client, what.clone(), (status, code), Arc::clone(&kept)));
            }
        });
        Self { url, heads }
    }

    /// The heads of all requests so far, in lower case.
    pub(super) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

async fn answer(
    mut client: TcpStream,
    what: String,
    (wrong, code): (&'static str, &'static str),
    heads: Arc<Mutex<Vec<String>>>,
) {
    let (mut request, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    let head = loop {
        match client.read(&mut buffer).await {
            Ok(read) if read > 0 => request.extend(&buffer[..read]),
            _ => return,
        }
        let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if request.len() - end - 4 >= length.map_or(0, |length| length.parse().unwrap()) {
            break head;
        }
    };
    let first = head.lines().next().unwrap_or_default().to_owned();
    heads.lock().unwrap().push(head);
    let denied = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
    let begun = "<InitiateMultipartUploadResult><UploadId>u-1</UploadId></InitiateMultipartUploadResult>";
    let done = "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>";
    let (status, body) = match first {
        first if first.starts_with("head") => ("404 Not Found", ""),
        first if first.contains(&what) => (wrong, &*denied),
        first if first.starts_with("post") && first.contains("?uploads") => ("200 OK", begun),
        first if first.starts_with("post") => ("200 OK", done),
        first if first.starts_with("get") => ("200 OK", "<ListMultipartUploadsResult/>"),
        _ => ("200 OK", ""),
    };
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\netag: e\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    let _ = client.write_all(answer.as_bytes()).await;
}
