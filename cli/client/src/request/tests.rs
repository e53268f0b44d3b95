//! Tests of requests.

use super::*;

#[test]
fn an_operation_id_is_a_uuid_that_tells_its_time() {
    let id = new_operation();
    let lengths: Vec<usize> = id.split('-').map(str::len).collect();
    assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
    assert_eq!(id.as_bytes()[14], b'7');
    assert!(b"89ab".contains(&id.as_bytes()[19]), "{id}");
    let made_ms = u64::from_str_radix(&id.replace('-', "")[..12], 16).unwrap();
    let now = now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(u64::try_from(now.as_millis()).unwrap() - made_ms < 60_000, "{id}");
    assert_ne!(id, new_operation());
}

fn create() -> conclave_api::domain::Create {
    conclave_api::domain::Create {
        name: "shop.example".to_owned(),
        aliases: Vec::new(),
        addresses: Vec::new(),
        scope: None,
        pki: None,
    }
}

/// Answers every connection to a socket with a refusal, and passes on the heads of requests.
fn refusing(path: &std::path::Path) -> tokio::sync::mpsc::Receiver<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::UnixListener::bind(path).unwrap();
    let (heads, received) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = vec![0; 65_536];
            let read = stream.read(&mut bytes).await.unwrap();
            // A client may open a connection and use another one.
            if read == 0 {
                continue;
            }
            let head = String::from_utf8_lossy(bytes.get(..read).unwrap()).into_owned();
            heads.send(head).await.unwrap();
            let problem = Problem::new(Code::NameTaken, "taken");
            let body = serde_json::to_string(&problem).unwrap();
            let answer = format!(
                "HTTP/1.1 409 Conflict\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    received
}

#[tokio::test]
async fn the_next_address_is_asked_under_the_same_operation_if_one_is_silent() {
    use tokio::io::AsyncReadExt;
    let place =
        |name: &str| std::env::temp_dir().join(format!("conclave-{name}-{}.sock", new_operation()));
    let (missing, silent, answering) = (place("missing"), place("silent"), place("answers"));
    // Accepts connections and never answers.
    let keeps = tokio::net::UnixListener::bind(&silent).unwrap();
    let mut heads = refusing(&answering);
    let addresses = [&missing, &silent, &answering].map(|path| Address::Unix(path.clone()));
    let options = Options { timeout: Duration::from_secs(3), ..Options::default() };
    let client = Client::among(addresses.to_vec(), None, options).unwrap();
    assert_eq!(client.for_one_node().err().unwrap().code, Code::Malformed);
    let failure = client.create_domain(&create(), &Change::default()).await.unwrap_err();
    // The answering node knows the operation, so the silence of the other one is settled.
    assert_eq!(failure.code, Code::NameTaken, "{}", failure.title);
    let operation = |head: &str| {
        let line = head.lines().find(|line| line.starts_with(OPERATION_HEADER));
        line.unwrap_or_else(|| panic!("{head}")).to_owned()
    };
    let second = operation(&heads.recv().await.unwrap());
    let first = loop {
        let (mut stream, _) = keeps.accept().await.unwrap();
        let mut bytes = vec![0; 65_536];
        let read = stream.read(&mut bytes).await.unwrap();
        // A client may open a connection and use another one.
        if read > 0 {
            break operation(&String::from_utf8_lossy(bytes.get(..read).unwrap()));
        }
    };
    assert_eq!(first, second);
    // The answering node is asked first from now on.
    let failure = client.create_domain(&create(), &Change::default()).await.unwrap_err();
    assert_eq!(failure.code, Code::NameTaken, "{}", failure.title);
    [silent, answering].iter().for_each(|path| std::fs::remove_file(path).unwrap());
}

#[tokio::test]
async fn an_error_names_all_addresses_if_none_answers() {
    let paths = ["/nonexistent/a", "/nonexistent/b"];
    let addresses = paths.map(|path| Address::Unix(path.into())).to_vec();
    let client = Client::among(addresses, None, Options::default()).unwrap();
    let failure = client.nodes().await.unwrap_err();
    let expected = "no node answers at unix:/nonexistent/a, unix:/nonexistent/b";
    assert_eq!((failure.code, failure.title.as_str()), (Code::NodeUnreachable, expected));
}

/// Found by jepsen: a node took a change and stopped, and its socket was gone at the next try.
/// The change then looked refused.
#[tokio::test]
async fn what_was_sent_stays_unknown_when_no_node_answers_any_more() {
    use tokio::io::AsyncReadExt;
    let path = std::env::temp_dir().join(format!("conclave-{}.sock", new_operation()));
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let gone = path.clone();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
        std::fs::remove_file(gone).unwrap();
    });
    let options = Options { timeout: Duration::from_secs(5), ..Options::default() };
    let client = Client::new(&Address::Unix(path), None, options).unwrap();
    let failure = client.create_domain(&create(), &Change::default()).await.unwrap_err();
    assert_eq!(failure.code, Code::OutcomeUnknown, "{}", failure.title);
}

fn socket(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("conclave-{name}-{}.sock", new_operation()))
}

#[tokio::test]
async fn requests_at_the_same_time_turn_once_from_a_silent_node() {
    let (missing, answering) = (socket("missing"), socket("answers"));
    let mut heads = refusing(&answering);
    tokio::spawn(async move { while heads.recv().await.is_some() {} });
    let other = socket("other");
    let addresses = [&missing, &answering, &other].map(|path| Address::Unix(path.clone()));
    let client = Client::among(addresses.to_vec(), None, Options::default()).unwrap();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let client = client.clone();
        running.spawn(async move {
            client.create_domain(&create(), &Change::default()).await.unwrap_err().code
        });
    }
    assert_eq!(running.join_all().await, vec![Code::NameTaken; 8]);
    assert_eq!(client.turns.load(Ordering::Relaxed), 1);
    // One that met the silence late does not turn back.
    assert_eq!((client.turn_from(0), client.turns.load(Ordering::Relaxed)), (1, 1));
    std::fs::remove_file(answering).unwrap();
}

#[tokio::test]
async fn what_belongs_to_one_node_is_changed_there_only() {
    let (silent, answering) = (socket("silent"), socket("answers"));
    let keeps = tokio::net::UnixListener::bind(&silent).unwrap();
    let mut heads = refusing(&answering);
    let addresses = [&silent, &answering].map(|path| Address::Unix(path.clone()));
    let options = Options { timeout: Duration::from_secs(1), ..Options::default() };
    let client = Client::among(addresses.to_vec(), None, options).unwrap();
    let local = client.with_scope(Some("local".to_owned()));
    let change = Change::default();
    let failure = local.create_domain(&create(), &change).await.unwrap_err();
    assert_eq!(failure.code, Code::Malformed, "{}", failure.title);
    let add = conclave_api::trust::Add { certificates: String::new() };
    let failure = client.add_trusted("server", &add, &change).await.unwrap_err();
    assert_eq!(failure.code, Code::Malformed, "{}", failure.title);
    // The silent node may have done it, and the other one does not know the operation.
    let failure = local.pinned().create_domain(&create(), &change).await.unwrap_err();
    assert_eq!(failure.code, Code::OutcomeUnknown, "{}", failure.title);
    assert!(heads.try_recv().is_err(), "the other node was asked");
    drop(keeps);
    [silent, answering].iter().for_each(|path| std::fs::remove_file(path).unwrap());
}
