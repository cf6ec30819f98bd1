use std::collections::BTreeMap;

use crate::Target;
use crate::testing::{in_time, target};
use tokio::net::UnixListener;

const DOCKER: &str = "kind = 'container'\nengine = 'docker'\n";

#[test]
fn what_is_wrong_is_told_with_its_key() {
    let complaint = |keys: &str| {
        let table = format!("{DOCKER}{keys}").parse().unwrap();
        Target::from_table("c", table).unwrap_err()
    };
    let cases = [
        ("action = 'attach'", "containers", "their labels"),
        ("action = 'run'\ncontainers = ['a']", "action", "unknown value"),
        ("action = 'exec'\ncontainers = ['a']", "argv", "is empty"),
        ("action = 'exec'\ncontainers = ['a']\nargv = ['sh']", "argv", "absolute"),
        ("action = 'exec'\ncontainers = ['a']\nargv = ['/bin/sh']\nenv = { '' = 'x' }", "env", "variable"),
        ("action = 'attach'\ncontainers = ['a']\nargv = ['/bin/sh']", "argv", "does nothing"),
        ("action = 'attach'\ncontainers = ['a']\nlines = 3", "lines", "which has tty"),
        ("action = 'logs'\ncontainers = ['a']\ntty = true", "tty", "which has lines, since, timestamps, raw"),
        ("action = 'logs'\ncontainers = ['a']\nmodes = ['rw']", "modes", "kind container cannot"),
        ("action = 'attach'\nlabels = { a = '[' }", "labels.a", "\"[\""),
        ("action = 'attach'\ncontainers = ['a']\nsocket = 'docker.sock'", "socket", "absolute"),
    ];
    for (keys, key, words) in cases {
        let error = complaint(keys);
        assert_eq!(error.key.as_deref(), Some(key), "{keys}: {}", error.message);
        assert!(error.message.contains(words), "{keys}: {}", error.message);
    }
}

#[test]
fn labels_alone_leave_a_choice() {
    let by_label = target(&format!("{DOCKER}action = 'attach'\nlabels = {{ console = 'yes' }}"));
    assert_eq!((by_label.info().params, by_label.info().terminal), (vec!["container".to_owned()], true));
    let one = target(&format!("{DOCKER}action = 'logs'\ncontainers = ['web']"));
    assert_eq!((one.info().params.len(), one.info().terminal), (0, false));
    for name in ["../images", "a/json", "a?b", "a%2fb", "-a"] {
        let given = BTreeMap::from([("container".to_owned(), name.to_owned())]);
        assert!(by_label.bind(&given).is_err(), "{name}");
    }
}

#[tokio::test]
async fn what_is_no_engine_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("docker.sock");
    let table = format!("{DOCKER}action = 'attach'\ncontainers = ['a']\nsocket = '{}'", path.display());
    let probe = async || in_time(target(&table).probe()).await.unwrap_err().message;
    assert!(probe().await.starts_with("Docker Engine is not running ("));
    assert!(probe().await.contains("does not exist): start it with `systemctl start docker.service`"));
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            use tokio::io::AsyncWriteExt;
            let _ = stream.write_all(b"220 mail.example ESMTP\r\n").await;
        }
    });
    let said = probe().await;
    assert!(said.contains("is no container engine") && said.contains("correct `socket`"), "{said}");
}
