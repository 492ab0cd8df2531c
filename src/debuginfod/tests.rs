//! The client, against servers of its own on this machine.

use super::*;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::Arc;

/// A server that answers each path with what `answer` says; how often it was asked.
fn server(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            count.fetch_add(1, Ordering::Relaxed);
            let mut lines = BufReader::new(stream.try_clone().expect("a socket")).lines();
            let first = lines.next().and_then(Result::ok).unwrap_or_default();
            lines.find(|line| line.as_ref().is_ok_and(String::is_empty));
            let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
            let _ = stream.write_all(&answer(&path));
        }
    });
    (url, asked)
}

fn answer(status: &str, body: &[u8]) -> Vec<u8> {
    let len = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn id(byte: u8) -> BuildId {
    BuildId::new(&[byte; 20]).expect("20 bytes")
}

fn client(urls: &str, cache: &Path) -> Debuginfod {
    let variable = |name: &str| match name {
        "DEBUGINFOD_URLS" => Some(urls.into()),
        "DEBUGINFOD_CACHE_PATH" => Some(cache.into()),
        "DEBUGINFOD_TIMEOUT" => Some("2".into()),
        "DEBUGINFOD_MAXSIZE" => Some("1000".into()),
        _ => None,
    };
    Debuginfod::of(variable).expect("a server is named")
}

#[test]
fn a_file_is_fetched_once_and_its_absence_is_remembered() {
    let (url, asked) = server(|path| match path {
        path if path == format!("/buildid/{}/debuginfo", id(1)) => answer("200 OK", b"content"),
        _ => answer("404 Not Found", b"no"),
    });
    let dir = tempfile::tempdir().expect("a directory");
    let client = client(&format!("ima:permissive {url}"), dir.path());
    for _ in 0..2 {
        let fetched = client.fetch(&[id(1), id(2)]);
        assert_eq!(fetched.here, [id(1)]);
        assert_eq!(fetched.failed, None);
        assert_eq!(asked.load(Ordering::Relaxed), 2, "each once");
    }
    let kept = |id: BuildId| dir.path().join(id.to_string()).join("debuginfo");
    assert_eq!(fs::read(kept(id(1))).expect("kept"), b"content");
    assert_eq!(fs::read(kept(id(2))).expect("as elfutils does"), b"");
    fs::write(dir.path().join(MISS_FILE), "0").expect("ours");
    client.fetch(&[id(2)]);
    assert_eq!(
        asked.load(Ordering::Relaxed),
        3,
        "asked again after a while"
    );
}

#[test]
fn a_server_that_fails_is_passed_over_and_leaves_nothing_behind() {
    let (broken, _) = server(|_| answer("500 Internal Server Error", b""));
    let (cut, _) = server(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".to_vec());
    let (large, _) = server(|_| answer("200 OK", &[0; 1001]));
    let (whole, _) = server(|_| answer("200 OK", b"content"));
    let dir = tempfile::tempdir().expect("a directory");
    for bad in [&broken, &cut, &large] {
        let fetched = client(bad, dir.path()).fetch(&[id(1)]);
        assert_eq!(fetched.here, []);
        assert!(fetched.failed.is_some(), "{bad}");
        let left = fs::read_dir(dir.path().join(id(1).to_string()))
            .expect("made")
            .count();
        assert_eq!(left, 0);
    }
    let fetched = client(&format!("{broken} {cut} {whole}"), dir.path()).fetch(&[id(1)]);
    assert_eq!(fetched.here, [id(1)]);
}

#[test]
fn a_server_that_never_answers_costs_no_more_than_the_time_that_is_given() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let dir = tempfile::tempdir().expect("a directory");
    let begun = Instant::now();
    let ids: Vec<BuildId> = (0..40).map(id).collect();
    let fetched = client(&url, dir.path()).fetch(&ids);
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(fetched.here, []);
    assert!(fetched.failed.is_some());
}

#[test]
fn without_a_server_nothing_is_asked_and_the_cache_is_elfutils() {
    let with = |pairs: &[(&str, &str)]| {
        let pairs: Vec<(String, String)> = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Debuginfod::of(move |wanted| {
            let found = pairs.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.into())
        })
    };
    let home = ("HOME", "/nonexistent");
    assert_eq!(with(&[home]), None);
    assert_eq!(with(&[home, ("DEBUGINFOD_URLS", " ")]), None);
    let urls = ("DEBUGINFOD_URLS", "https://a/ http://b");
    let found = with(&[home, urls]).expect("servers");
    assert_eq!(found.servers, ["https://a", "http://b"]);
    assert_eq!(
        found.cache,
        Path::new("/nonexistent/.cache/debuginfod_client")
    );
    assert_eq!(found.timeout, TIMEOUT);
    let xdg = ("XDG_CACHE_HOME", "/x");
    let found = with(&[home, urls, xdg]).expect("servers");
    assert_eq!(found.cache, Path::new("/x/debuginfod_client"));
    let own = ("DEBUGINFOD_CACHE_PATH", "/own");
    let found = with(&[home, urls, xdg, own]).expect("servers");
    assert_eq!(found.cache, Path::new("/own"));
}
